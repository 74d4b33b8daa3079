package capi

// #include "hostlane.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Kind says what an Op does.
type Kind int32

// The operations that a context starts.
const (
	Send         Kind = C.HOSTLANE_SUBMIT_SEND
	Request      Kind = C.HOSTLANE_SUBMIT_REQUEST
	Reply        Kind = C.HOSTLANE_SUBMIT_REPLY
	Fail         Kind = C.HOSTLANE_SUBMIT_FAIL
	Recv         Kind = C.HOSTLANE_SUBMIT_RECV
	Readable     Kind = C.HOSTLANE_SUBMIT_READABLE
	CallEnded    Kind = C.HOSTLANE_SUBMIT_CALL_ENDED
	StreamSend   Kind = C.HOSTLANE_SUBMIT_STREAM_SEND
	StreamFinish Kind = C.HOSTLANE_SUBMIT_STREAM_FINISH
	StreamRecv   Kind = C.HOSTLANE_SUBMIT_STREAM_RECV
	Ping         Kind = C.HOSTLANE_SUBMIT_PING
	Drain        Kind = C.HOSTLANE_SUBMIT_DRAIN
	SendNext     Kind = C.HOSTLANE_SUBMIT_SEND_NEXT
)

// AnyChannel receives from every channel.
const AnyChannel = int32(C.HOSTLANE_ANY_CHANNEL)

// Op is one operation to start. What its kind does not need is zero. The message of a
// Reply or Fail that finishes at once, and well, is freed.
type Op struct {
	Kind      Kind
	Code      uint32
	Channel   int32
	Peer      Peer
	Stream    Stream
	Message   Message
	Data      []byte
	TimeoutMS int64
	With      *With
}

// With is what may go with a call, a stream or a message.
type With struct {
	DeadlineMS int64
	Channel    uint16
	Key        []byte
	Trace      []byte
	FDs        []int32
}

// raw pins what it points to, for the length of one call. A key or trace that is set
// but empty is passed on for the core to judge.
func (w *With) raw() (raw C.hostlane_call_options_t, unpin func()) {
	C.hostlane_call_options_init(&raw, C.sizeof_hostlane_call_options_t)
	var pin runtime.Pinner
	raw.deadline_ms = C.int64_t(w.DeadlineMS)
	raw.channel = C.uint16_t(w.Channel)
	raw.idempotency_key, raw.idempotency_key_len = keep(&pin, w.Key != nil, w.Key), C.size_t(len(w.Key))
	raw.trace, raw.trace_len = keep(&pin, w.Trace != nil, w.Trace), C.size_t(len(w.Trace))
	raw.fds, raw.fds_len = (*C.int32_t)(keep(&pin, len(w.FDs) > 0, w.FDs)), C.size_t(len(w.FDs))
	return raw, pin.Unpin
}

// submission is the room for one operation that C reads, typed without pointers so
// that cgo need not search it: all it points to is C memory.
type submission [C.sizeof_hostlane_submission_t / 8]uint64

func (s *submission) raw() *C.hostlane_submission_t {
	return (*C.hostlane_submission_t)(unsafe.Pointer(s))
}

func (s *submission) words() *C.uint64_t { return (*C.uint64_t)(unsafe.Pointer(s)) }

// set writes everything but the payload's place.
func (s *submission) set(op *Op) {
	raw := s.raw()
	raw.kind = C.int32_t(op.Kind)
	raw.code = C.uint32_t(op.Code)
	raw.peer = op.Peer.id
	raw.stream = op.Stream.id
	raw.message = op.Message.raw
	raw.len = C.size_t(len(op.Data))
	raw.timeout_ms = C.int64_t(op.TimeoutMS)
	raw.channel = C.int32_t(op.Channel)
}

// Batch is operations to start in one call, and the memory for it, which is used
// again. Its payloads are copied.
type Batch struct {
	submissions []submission
	payloads    []byte
	events      []slot
}

// Reset empties the batch.
func (b *Batch) Reset() {
	b.submissions = b.submissions[:0]
	b.payloads = b.payloads[:0]
}

// Add puts op behind the others. It must have no With.
func (b *Batch) Add(op *Op) {
	b.submissions = append(b.submissions, submission{})
	s := &b.submissions[len(b.submissions)-1]
	s.set(op)
	s.raw().offset = C.size_t(len(b.payloads))
	b.payloads = append(b.payloads, op.Data...)
}

// Len is the number of operations.
func (b *Batch) Len() int { return len(b.submissions) }

// Bytes is the size of all payloads.
func (b *Batch) Bytes() int { return len(b.payloads) }

// Sent tells whether operation i was a send that finished, without more ado.
func (b *Batch) Sent(i int) bool { return b.events[i].raw().kind == C.HOSTLANE_EVENT_SENT }

// Take gives the event of operation i. Each may be taken once.
func (b *Batch) Take(i int) Event { return taken(b.events[i].raw(), nil) }
