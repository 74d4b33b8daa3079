package capi

/*
#cgo noescape hostlane_context_process
#cgo nocallback hostlane_context_process
#cgo noescape hostlane_context_recv
#cgo nocallback hostlane_context_recv
#cgo noescape hostlane_context_send
#cgo nocallback hostlane_context_send
#cgo noescape hostlane_context_request
#cgo nocallback hostlane_context_request
#cgo noescape hostlane_events_free
#cgo nocallback hostlane_events_free
#include "hostlane.h"
*/
import "C"

// AnyChannel receives from every channel.
const AnyChannel = int32(C.HOSTLANE_ANY_CHANNEL)

// Context drives every connection of the process and never waits itself.
type Context struct {
	id C.hostlane_context_t
	// slots receive finished events; only Process uses them, one call at a time.
	slots *[Batch]slot
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
	c.slots = new([Batch]slot)
	return c, int(own), nil
}

// Close gives a context back that was never used.
func (c Context) Close() { C.hostlane_context_close(c.id, nil) }

// Process fills events with operations that have finished and tells whether there
// may be more; if not, the descriptor becomes readable when there are.
func (c Context) Process(events []Event) (n int, more bool, f *Failure) {
	var cerr *C.hostlane_error_t
	var count C.size_t
	var left C.bool
	status := C.hostlane_context_process(c.id, c.slots[0].raw(), C.size_t(min(len(events), Batch)), &count, &left, &cerr)
	if f := failure(status, &cerr); f != nil {
		return 0, false, f
	}
	n = int(count)
	for i := range n {
		events[i] = eventOf(c.slots[i].raw())
	}
	if n > 0 {
		C.hostlane_events_free(c.slots[0].raw(), count)
	}
	return n, bool(left), nil
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
	return started(status, ev.raw(), &cerr)
}

// Accept starts waiting for a connection.
func (c Context) Accept(l Listener, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	status := C.hostlane_context_accept(c.id, l.id, C.int64_t(timeoutMS), ev.raw(), &cerr)
	return started(status, ev.raw(), &cerr)
}

// Recv starts waiting for a message on one channel, or on AnyChannel.
func (c Context) Recv(p Peer, channel int32, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	status := C.hostlane_context_recv(c.id, p.id, C.int32_t(channel), C.int64_t(timeoutMS), ev.raw(), &cerr)
	return started(status, ev.raw(), &cerr)
}

// Send starts sending data.
func (c Context) Send(p Peer, channel uint16, data []byte, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	bytes, size := lend(data)
	status := C.hostlane_context_send(c.id, p.id, C.uint16_t(channel), bytes, size, C.int64_t(timeoutMS), ev.raw(), &cerr)
	return started(status, ev.raw(), &cerr)
}

// Request starts a call.
func (c Context) Request(p Peer, data []byte, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	bytes, size := lend(data)
	status := C.hostlane_context_request(c.id, p.id, bytes, size, C.int64_t(timeoutMS), ev.raw(), &cerr)
	return started(status, ev.raw(), &cerr)
}

// Ping starts a ping.
func (c Context) Ping(p Peer, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	status := C.hostlane_context_ping(c.id, p.id, C.int64_t(timeoutMS), ev.raw(), &cerr)
	return started(status, ev.raw(), &cerr)
}

// Drain starts ending the connection in agreement with the other side.
func (c Context) Drain(p Peer, timeoutMS int64) Event {
	var ev slot
	var cerr *C.hostlane_error_t
	status := C.hostlane_context_drain(c.id, p.id, C.int64_t(timeoutMS), ev.raw(), &cerr)
	return started(status, ev.raw(), &cerr)
}
