package capi

/*
#cgo noescape hostlane_events_free
#cgo nocallback hostlane_events_free
#include "hostlane.h"
*/
import "C"

import (
	"time"
	"unsafe"
)

// BatchSize is the most events that one Process hands out.
const BatchSize = 64

// Event is an operation that is pending or has finished, in Go memory.
type Event struct {
	// Op names a pending operation, and the finished one that Process hands out.
	Op uint64
	// Status is 0, or the number of the error that Failure describes.
	Status  int32
	Failure *Failure
	// Peer is the new connection of Connect and Accept.
	Peer Peer
	// Received is the message of Recv, Request and StreamRecv.
	Received
	// RTT is the answer of Ping.
	RTT time.Duration
	// Link tells what happened to a link, and Serving, with LinkUp, that this side is the
	// one that listens.
	Link    LinkState
	Serving bool
	// Ended tells that StreamRecv found the end of the stream; Data is nil then if
	// there is no reply.
	Ended bool

	pending bool
}

// LinkState is what an event tells about a link.
type LinkState int8

// What happened to a link. An event of LinkDown has a Failure.
const (
	LinkUp   LinkState = 1
	LinkDown LinkState = 2
)

// Pending reports whether the operation goes on and completes through Process.
func (e *Event) Pending() bool { return e.pending }

// PendingEvent is the event of an operation that is known to be pending.
func PendingEvent(op uint64) Event { return Event{Op: op, pending: true} }

// Received is a message that arrived.
type Received struct {
	Channel uint16
	// Data is never nil in a message.
	Data []byte
	// Message is set for a request, whose answer needs it.
	Message Message
	CallID  uint64
	// TimeoutMS is how long the caller of a request still waits, or Forever.
	TimeoutMS int64
	Stream    bool
	Details   *Details
	// Lease is that of a large payload.
	Lease *Lease
}

// Details are what few messages have.
type Details struct {
	Key, Trace []byte
	FDs        []int32
}

// slot is the room for one event that C writes. It is typed without pointers on
// purpose: the payload of an empty message may be a small, dangling address, which
// Go's runtime takes for a fatal fault when it finds it in a pointer on a stack.
// It also spares cgo the search for Go pointers at every call.
type slot [C.sizeof_hostlane_event_t / 8]uint64

func (s *slot) raw() *C.hostlane_event_t { return (*C.hostlane_event_t)(unsafe.Pointer(s)) }

func (s *slot) words() *C.uint64_t { return (*C.uint64_t)(unsafe.Pointer(s)) }

// taken copies an event out of C memory and frees what it does not keep.
func taken(raw *C.hostlane_event_t, room []byte) Event {
	ev := Event{
		Op:      uint64(raw.op),
		Status:  int32(raw.status),
		Peer:    Peer{raw.peer},
		RTT:     time.Duration(raw.rtt_ns),
		pending: raw.kind == C.HOSTLANE_EVENT_PENDING,
	}
	switch raw.kind {
	case C.HOSTLANE_EVENT_FAILED:
		ev.Failure = describe(raw.status, raw.error)
	case C.HOSTLANE_EVENT_LINK_UP:
		ev.Link, ev.Serving = LinkUp, raw.flags == C.HOSTLANE_LINK_SERVING
	case C.HOSTLANE_EVENT_LINK_DOWN:
		ev.Link, ev.Failure = LinkDown, describe(raw.status, raw.error)
	case C.HOSTLANE_EVENT_MESSAGE, C.HOSTLANE_EVENT_REPLY:
		ev.Received = received(raw, room)
	case C.HOSTLANE_EVENT_ITEM:
		ev.Data, ev.Lease = copied(raw, room)
	case C.HOSTLANE_EVENT_STREAM_END:
		ev.Ended = true
		if hasAddress(raw) || raw.len != 0 {
			ev.Data, ev.Lease = copied(raw, room)
		}
	}
	if raw.message != nil || raw.error != nil {
		C.hostlane_events_free(raw, 1)
	}
	return ev
}

// received takes over the message of a request.
func received(raw *C.hostlane_event_t, room []byte) Received {
	r := Received{
		Channel:   uint16(raw.channel),
		CallID:    uint64(raw.call_id),
		TimeoutMS: int64(raw.timeout_ms),
	}
	r.Data, r.Lease = copied(raw, room)
	if raw.flags != 0 {
		r.keep(raw.message, raw.flags)
		if r.Message.raw != nil {
			raw.message = nil
		}
	}
	return r
}

// keep fills in what a message with flags has.
func (r *Received) keep(message *C.hostlane_message_t, flags C.uint32_t) {
	r.Stream = flags&C.HOSTLANE_MESSAGE_STREAM != 0
	if flags&^(C.HOSTLANE_MESSAGE_REQUEST|C.HOSTLANE_MESSAGE_STREAM) != 0 {
		r.Details = details(message)
	}
	if flags&C.HOSTLANE_MESSAGE_REQUEST != 0 {
		r.Message = Message{message}
	}
}

// hasAddress looks at the payload pointer as a number; see slot.
func hasAddress(raw *C.hostlane_event_t) bool { return *(*uintptr)(unsafe.Pointer(&raw.data)) != 0 }

// copied looks at the payload pointer only when there is something behind it; see slot.
func copied(raw *C.hostlane_event_t, room []byte) ([]byte, *Lease) {
	switch n := int(raw.len); {
	case n == 0:
		return []byte{}, nil
	case !hasAddress(raw):
		return clone(room[:n])
	default:
		return clone(unsafe.Slice((*byte)(raw.data), n))
	}
}
