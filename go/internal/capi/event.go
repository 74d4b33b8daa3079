package capi

// #include "hostlane.h"
import "C"

import (
	"bytes"
	"time"
	"unsafe"
)

// Batch is the most events that one Process hands out.
const Batch = 64

// Event is an operation that is pending or has finished, in Go memory.
type Event struct {
	// Op names a pending operation, and the finished one that Process hands out.
	Op uint64
	// Status is 0, or the number of the error that Failure describes.
	Status  int32
	Failure *Failure
	// Peer is the new connection of Connect and Accept.
	Peer Peer
	// Channel and Data are the message of Recv and Request. Data is never nil there.
	Channel uint16
	Data    []byte
	// RTT is the answer of Ping.
	RTT time.Duration

	pending bool
}

// Pending reports whether the operation goes on and completes through Process.
func (e *Event) Pending() bool { return e.pending }

// slot is the room for one event that C writes. It is typed without pointers on
// purpose: the payload of an empty message may be a small, dangling address, which
// Go's runtime takes for a fatal fault when it finds it in a pointer on a stack.
// It also spares cgo the search for Go pointers at every call.
type slot [C.sizeof_hostlane_event_t / 8]uint64

func (s *slot) raw() *C.hostlane_event_t { return (*C.hostlane_event_t)(unsafe.Pointer(s)) }

// started gives the event of an operation that was just started: pending, or
// finished at once, in which case its C memory is freed here.
func started(status C.hostlane_status_t, raw *C.hostlane_event_t, cerr **C.hostlane_error_t) Event {
	forceGC()
	if status != C.HOSTLANE_OK {
		return Event{Status: int32(status), Failure: failure(status, cerr)}
	}
	if raw.kind == C.HOSTLANE_EVENT_PENDING {
		return Event{Op: uint64(raw.op), pending: true}
	}
	ev := eventOf(raw)
	if raw.message != nil || raw.error != nil {
		C.hostlane_events_free(raw, 1)
	}
	return ev
}

// eventOf copies a finished event out of C memory.
func eventOf(raw *C.hostlane_event_t) Event {
	ev := Event{
		Op:      uint64(raw.op),
		Status:  int32(raw.status),
		Peer:    Peer{raw.peer},
		Channel: uint16(raw.channel),
		RTT:     time.Duration(raw.rtt_ns),
	}
	if raw.error != nil {
		ev.Failure = describe(raw.status, raw.error)
	}
	if raw.message != nil {
		ev.Data = copied(raw)
	}
	return ev
}

// copied looks at the payload pointer only when there is something behind it; see slot.
func copied(raw *C.hostlane_event_t) []byte {
	if raw.len == 0 {
		return []byte{}
	}
	return bytes.Clone(unsafe.Slice((*byte)(raw.data), int(raw.len)))
}
