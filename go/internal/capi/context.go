package capi

/*
#cgo noescape hostlane_go_process
#cgo nocallback hostlane_go_process
#cgo noescape hostlane_go_submit
#cgo nocallback hostlane_go_submit
#cgo noescape hostlane_go_start
#cgo nocallback hostlane_go_start
#include <stdlib.h>
#include <string.h>
#include "hostlane.h"

// What follows takes structs as numbers, which is what they are to Go: cgo spares itself
// the search for Go pointers in them then. There are none.

// Frees the message of an answer that was given.
static void hostlane_go_answered(const hostlane_submission_t *s, const hostlane_event_t *event) {
	if ((s->kind == HOSTLANE_SUBMIT_REPLY || s->kind == HOSTLANE_SUBMIT_FAIL) && event->kind == HOSTLANE_EVENT_SENT) {
		hostlane_message_t *message = s->message;
		hostlane_message_free(&message);
	}
}

static hostlane_status_t hostlane_go_submit(hostlane_context_t c, const uint64_t *submissions, size_t n,
                                            const char *payloads, size_t len, uint64_t *slots, uint64_t *err) {
	const hostlane_submission_t *s = (const hostlane_submission_t *)submissions;
	hostlane_event_t *events = (hostlane_event_t *)slots;
	hostlane_status_t status = hostlane_context_submit(c, s, n, payloads, len, events, (hostlane_error_t **)err);
	for (size_t i = 0; status == HOSTLANE_OK && i < n; i++) {
		hostlane_go_answered(&s[i], &events[i]);
	}
	return status;
}

static hostlane_status_t hostlane_go_process(hostlane_context_t c, char *room, size_t capacity, uint64_t *slots,
                                             size_t cap, uint64_t *n, uint64_t *more, uint64_t *err) {
	size_t count = 0;
	bool left = false;
	hostlane_status_t status = hostlane_context_process_batch(c, room, capacity, (hostlane_event_t *)slots, cap, &count,
	                                                          &left, (hostlane_error_t **)err);
	*n = count;
	*more = left;
	return status;
}

// Starts one operation whose payload is at `data`. A payload that came at once, and
// nothing beside it, goes into `room`, so that nothing is left to free; the event
// has its length then and no address.
static hostlane_status_t hostlane_go_start(hostlane_context_t c, const uint64_t *submission, const char *data,
                                           const hostlane_call_options_t *with, char *room, size_t capacity,
                                           uint64_t *slot, uint64_t *error) {
	const hostlane_submission_t *s = (const hostlane_submission_t *)submission;
	hostlane_event_t *event = (hostlane_event_t *)slot;
	hostlane_error_t **err = (hostlane_error_t **)error;
	hostlane_call_options_t options;
	hostlane_status_t status;
	if (with == NULL && s->channel != 0 && s->kind == HOSTLANE_SUBMIT_REQUEST) {
		hostlane_call_options_init(&options, sizeof(options));
		options.channel = (uint16_t)s->channel;
		with = &options;
	}
	switch (s->kind) {
	case HOSTLANE_SUBMIT_SEND:
		status = with == NULL ? hostlane_context_send(c, s->peer, (uint16_t)s->channel, data, s->len, s->timeout_ms, event, err)
		                      : hostlane_context_send_with(c, s->peer, data, s->len, with, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_REQUEST:
		status = hostlane_context_request_with(c, s->peer, data, s->len, with, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_REPLY:
		status = hostlane_context_reply(c, s->message, data, s->len, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_FAIL:
		status = hostlane_context_fail(c, s->message, s->code, data, s->len, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_RECV:
		status = hostlane_context_recv(c, s->peer, s->channel, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_READABLE:
		status = hostlane_context_readable(c, s->peer, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_CALL_ENDED:
		status = hostlane_context_call_ended(c, s->message, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_STREAM_SEND:
		status = hostlane_context_stream_send(c, s->stream, data, s->len, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_STREAM_FINISH:
		status = hostlane_context_stream_finish(c, s->stream, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_STREAM_RECV:
		status = hostlane_context_stream_recv(c, s->stream, s->timeout_ms, event, err);
		break;
	case HOSTLANE_SUBMIT_PING:
		status = hostlane_context_ping(c, s->peer, s->timeout_ms, event, err);
		break;
	default:
		status = hostlane_context_drain(c, s->peer, s->timeout_ms, event, err);
		break;
	}
	if (status == HOSTLANE_OK) {
		hostlane_go_answered(s, event);
	}
	if (status == HOSTLANE_OK && event->message != NULL && event->flags == 0 && event->len != 0 && event->len <= capacity) {
		memcpy(room, event->data, event->len);
		hostlane_message_free(&event->message);
		event->data = NULL;
	}
	return status;
}
*/
import "C"

import "unsafe"

// Context drives every connection of the process and never waits itself.
type Context struct {
	id C.hostlane_context_t
	// memory is what Process writes to; one call at a time.
	memory *memory
}

// roomBytes holds the payloads of one Process; a larger one, or one that finds no
// room, comes in memory of its own.
const roomBytes = 256 << 10

// memory is C's own, because its events point into its room.
type memory struct {
	slots [BatchSize]slot
	room  [roomBytes]C.char
}

// NewContext makes a context and tells its descriptor, which stays its property.
func NewContext() (c Context, fd int, f *Failure) {
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_context_new(&c.id, &cerr), &cerr); f != nil {
		return Context{}, 0, f
	}
	var own C.int
	if f := failure(C.hostlane_context_fd(c.id, &own, &cerr), &cerr); f != nil {
		c.Close()
		return Context{}, 0, f
	}
	c.memory = (*memory)(C.calloc(1, C.size_t(unsafe.Sizeof(memory{})))) // cgo's calloc never fails
	return c, int(own), nil
}

// Close gives a context back that was never used.
func (c Context) Close() {
	C.hostlane_context_close(c.id, nil)
	C.free(unsafe.Pointer(c.memory))
}

// Gone tells whether the context is no longer usable.
func (c Context) Gone() bool {
	var own C.int
	return C.hostlane_context_fd(c.id, &own, nil) != C.HOSTLANE_OK
}

// Abandon gives back what it can of a context that was used: its memory may be lent to a
// call that has not returned.
func (c Context) Abandon() { C.hostlane_context_close(c.id, nil) }

// Process fills events with operations that have finished and tells whether there
// may be more; if not, the descriptor becomes readable when there are.
func (c Context) Process(events []Event) (n int, more bool, f *Failure) {
	var count, left, cerr C.uint64_t
	most := min(len(events), BatchSize)
	status := C.hostlane_go_process(c.id, &c.memory.room[0], roomBytes, c.memory.slots[0].words(), C.size_t(most),
		&count, &left, &cerr)
	if status != C.HOSTLANE_OK {
		return 0, false, c.failure(status, errorIn(&cerr))
	}
	n = int(count)
	for i := range n {
		events[i] = taken(c.memory.slots[i].raw(), nil)
	}
	return n, left != 0, nil
}

// errorIn gives the error that C wrote as a number.
func errorIn(cerr *C.uint64_t) **C.hostlane_error_t {
	return (**C.hostlane_error_t)(unsafe.Pointer(cerr))
}

// Cancel asks for the early end of a pending operation, which still completes
// through Process; an operation that has completed is left alone.
func (c Context) Cancel(op uint64) { C.hostlane_context_cancel(c.id, C.uint64_t(op), nil) }

// Connect starts connecting to addr.
func (c Context) Connect(addr string, o *Options, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	bytes, size := lendText(addr)
	raw, unpin := o.connect()
	defer unpin()
	status := C.hostlane_context_connect(c.id, bytes, size, &raw, C.int64_t(timeoutMS), ev.raw(), &cerr)
	return c.started(status, ev.raw(), nil, &cerr)
}

// Accept starts waiting for a connection.
func (c Context) Accept(l Listener, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	status := C.hostlane_context_accept(c.id, l.id, C.int64_t(timeoutMS), ev.raw(), &cerr)
	return c.started(status, ev.raw(), nil, &cerr)
}

// Start starts one operation, its payload straight from where it is.
func (c Context) Start(op *Op) Event {
	if op.With == nil {
		return c.start(op, nil)
	}
	with, unpin := op.With.raw()
	defer unpin()
	return c.start(op, &with)
}

func (c Context) start(op *Op, with *C.hostlane_call_options_t) Event {
	var s submission
	var ev slot
	var room [256]byte
	var cerr C.uint64_t
	s.set(op)
	status := C.hostlane_go_start(c.id, s.words(), chars(op.Data), with, chars(room[:]), C.size_t(len(room)), ev.words(), &cerr)
	return c.started(status, ev.raw(), room[:], errorIn(&cerr))
}

// Submit starts the operations of b, whose events then tell what came of each.
func (c Context) Submit(b *Batch) *Failure {
	var cerr C.uint64_t
	n := len(b.submissions)
	for len(b.events) < n {
		b.events = append(b.events, slot{})
	}
	forceGC()
	status := C.hostlane_go_submit(c.id, b.submissions[0].words(), C.size_t(n), chars(b.payloads), C.size_t(len(b.payloads)),
		b.events[0].words(), &cerr)
	return c.failure(status, errorIn(&cerr))
}

// started gives the event of an operation that was just started: pending, or
// finished at once, in which case its C memory is freed here. A payload without an
// address is in room.
func (c Context) started(status C.hostlane_status_t, raw *C.hostlane_event_t, room []byte, cerr **C.hostlane_error_t) Event {
	forceGC()
	if f := c.failure(status, cerr); f != nil {
		return Event{Status: f.Status, Failure: f}
	}
	return taken(raw, room)
}

// failure is the plain one for a call on the context. Nobody but a fault closes one that
// is in use, so where it is gone the call did not meet the user's close.
func (c Context) failure(status C.hostlane_status_t, cerr **C.hostlane_error_t) *Failure {
	f := failure(status, cerr)
	if status == C.HOSTLANE_E_CLOSED && c.Gone() {
		Faulted()
		return Lost()
	}
	return f
}

// chars lends bytes to C.
func chars(data []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(data))) }
