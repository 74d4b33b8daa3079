package capi

/*
#cgo noescape hostlane_context_recv_batch
#cgo nocallback hostlane_context_recv_batch
#include "hostlane.h"
*/
import "C"

import (
	"bytes"
	"unsafe"
)

// Inbox is the memory that a batch of messages is received into, used again. They
// are in it until the next RecvBatch.
type Inbox struct {
	buffer  []byte
	entries []entry
	n       int
}

// inboxBytes is how much of a batch is copied at a time; a larger message comes in
// memory of its own.
const inboxBytes = 64 << 10

// entry is a hostlane_entry_t, typed without pointers; see slot.
type entry [C.sizeof_hostlane_entry_t / 8]uint64

func (e *entry) raw() *C.hostlane_entry_t { return (*C.hostlane_entry_t)(unsafe.Pointer(e)) }

// NewInbox makes room for at most most messages.
func NewInbox(most int) *Inbox {
	return &Inbox{buffer: make([]byte, inboxBytes), entries: make([]entry, most)}
}

// Cap is the most messages it takes.
func (in *Inbox) Cap() int { return len(in.entries) }

// Len is the number of messages in it.
func (in *Inbox) Len() int { return in.n }

// RecvBatch receives what is there, at most most messages. When nothing is, in stays
// empty and the event is pending: it finishes when something has come.
func (c Context) RecvBatch(p Peer, in *Inbox, most int, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	var n C.size_t
	in.n = 0
	room, size := lend(in.buffer)
	status := C.hostlane_context_recv_batch(c.id, p.id, C.int64_t(timeoutMS), room, size,
		in.entries[0].raw(), C.size_t(min(most, len(in.entries))), &n, ev.raw(), &cerr)
	in.n = int(n)
	return c.started(status, ev.raw(), nil, &cerr)
}

// Each hands out the messages, once. Apart, each payload has memory of its own;
// otherwise they share it.
func (in *Inbox) Each(apart bool, use func(Received)) {
	var shared []byte
	if !apart {
		shared = bytes.Clone(in.buffer[:in.used()])
	}
	for i := range in.entries[:in.n] {
		raw := in.entries[i].raw()
		r := Received{Channel: uint16(raw.channel), CallID: uint64(raw.call_id), TimeoutMS: int64(raw.timeout_ms)}
		switch at, size := raw.offset, int(raw.len); {
		case at == C.HOSTLANE_NO_ROOM:
			var len C.size_t
			data := unsafe.Pointer(C.hostlane_message_data(raw.message, &len))
			r.Data, r.Lease = clone(unsafe.Slice((*byte)(data), int(len)))
		case size == 0:
			r.Data = []byte{}
		case apart:
			r.Data = bytes.Clone(in.buffer[at:][:size])
		default:
			r.Data = shared[at:][:size:size]
		}
		if raw.message != nil {
			r.keep(raw.message, raw.flags)
			if r.Message.raw == nil {
				C.hostlane_message_free(&raw.message)
			}
		}
		use(r)
	}
	in.n = 0
}

// used is how much of the buffer has payloads in it: they lie one behind the other.
func (in *Inbox) used() int {
	for i := in.n - 1; i >= 0; i-- {
		if raw := in.entries[i].raw(); raw.offset != C.HOSTLANE_NO_ROOM {
			return int(raw.offset + raw.len)
		}
	}
	return 0
}
