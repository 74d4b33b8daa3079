package capi

/*
#cgo noescape hostlane_message_free
#cgo nocallback hostlane_message_free
#include "hostlane.h"
*/
import "C"

import "unsafe"

// Message is a request that waits for its answer, in C memory.
type Message struct{ raw *C.hostlane_message_t }

// IsZero tells whether it is none.
func (m Message) IsZero() bool { return m.raw == nil }

// Free lets a request go that was not answered. Once only.
func (m Message) Free() { C.hostlane_message_free(&m.raw) }

// Stream gives the stream that the request opened.
func (m Message) Stream() (Stream, *Failure) {
	var s Stream
	var cerr *C.hostlane_error_t
	return s, failure(C.hostlane_message_stream(m.raw, &s.id, &cerr), &cerr)
}

func details(raw *C.hostlane_message_t) *Details {
	d := &Details{}
	var size C.size_t
	if key := C.hostlane_message_idempotency_key(raw, &size); key != nil {
		d.Key = C.GoBytes(unsafe.Pointer(key), C.int(size))
	}
	if trace := C.hostlane_message_trace(raw, &size); trace != nil {
		d.Trace = C.GoBytes(unsafe.Pointer(trace), C.int(size))
	}
	var fds [C.HOSTLANE_MAX_FDS]C.int32_t
	if C.hostlane_message_take_fds(raw, &fds[0], &size, nil) == C.HOSTLANE_OK {
		for _, fd := range fds[:size] {
			d.FDs = append(d.FDs, int32(fd))
		}
	}
	return d
}
