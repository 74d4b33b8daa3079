package capi

/*
#cgo noescape hostlane_go_link_turn
#cgo nocallback hostlane_go_link_turn
#cgo noescape hostlane_go_link_events
#cgo nocallback hostlane_go_link_events
#cgo noescape hostlane_go_link_start
#cgo nocallback hostlane_go_link_start
#include "hostlane.h"

// As in context.go, structs are numbers here.

// A payload in the caller's memory is told by where it is there: no address of Go's is left in an event.
static void hostlane_go_placed(hostlane_event_t *events, size_t n, const char *room, size_t capacity) {
	for (size_t i = 0; i < n; i++) {
		uintptr_t at = (uintptr_t)events[i].data - (uintptr_t)room;
		if (events[i].data != NULL && events[i].message == NULL && at < capacity) {
			events[i].rtt_ns = at;
			events[i].data = NULL;
		}
	}
}

static hostlane_status_t hostlane_go_link_turn(hostlane_link_t link, char *room, size_t capacity, uint64_t *slots,
                                               size_t cap, uint64_t *n, uint64_t *more, uint64_t *waiting, uint64_t *err) {
	size_t count = 0;
	bool left = false, there = false;
	hostlane_status_t status = hostlane_link_turn(link, room, capacity, (hostlane_event_t *)slots, cap, &count, &left,
	                                              &there, (hostlane_error_t **)err);
	hostlane_go_placed((hostlane_event_t *)slots, count, room, capacity);
	*n = count;
	*more = left;
	*waiting = there;
	return status;
}

static hostlane_status_t hostlane_go_link_events(hostlane_link_t link, char *room, size_t capacity, uint64_t *slots,
                                                 size_t cap, uint64_t *n, uint64_t *more, uint64_t *err) {
	size_t count = 0;
	bool left = false;
	hostlane_status_t status = hostlane_link_events(link, room, capacity, (hostlane_event_t *)slots, cap, &count, &left,
	                                                (hostlane_error_t **)err);
	hostlane_go_placed((hostlane_event_t *)slots, count, room, capacity);
	*n = count;
	*more = left;
	return status;
}

static hostlane_status_t hostlane_go_link_start(hostlane_link_t link, const char *data, size_t len,
                                                const hostlane_call_options_t *with, int64_t timeout_ms, uint64_t *op,
                                                uint64_t *err) {
	return hostlane_link_start(link, data, len, with, timeout_ms, op, (hostlane_error_t **)err);
}
*/
import "C"

import "runtime"

// Link is the handle of a link.
type Link struct{ id C.hostlane_link_t }

// LinkOptions are what OpenLink may be told; Retries is C's, 0 for no bound.
type LinkOptions struct {
	Connection         Options
	NoReconnect        bool
	Retries            int64
	DelayMS, LongestMS int64
}

// NoRetry is the Retries of a link that ends at the first attempt that fails.
const NoRetry = int64(C.HOSTLANE_NO_RETRY)

// OpenLink opens a link at addr.
func OpenLink(addr string, o *LinkOptions) (Link, *Failure) {
	var l Link
	var cerr *C.hostlane_error_t
	bytes, size := lendText(addr)
	connect, unpinConnect := o.Connection.connect()
	defer unpinConnect()
	listen, unpinListen := o.Connection.listen()
	defer unpinListen()
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&connect)
	pin.Pin(&listen)
	var raw C.hostlane_link_options_t
	C.hostlane_link_options_init(&raw, C.sizeof_hostlane_link_options_t)
	raw.connect, raw.listen = &connect, &listen
	raw.retries, raw.delay_ms, raw.max_delay_ms = C.int64_t(o.Retries), C.int64_t(o.DelayMS), C.int64_t(o.LongestMS)
	if o.NoReconnect {
		raw.no_reconnect = 1
	}
	status := C.hostlane_link_open(bytes, size, &raw, &l.id, &cerr)
	return l, failure(status, &cerr)
}

// FD tells the descriptor, which stays the link's.
func (l Link) FD() (int, *Failure) {
	var own C.int32_t
	var cerr *C.hostlane_error_t
	f := failure(C.hostlane_link_fd(l.id, &own, &cerr), &cerr)
	return int(own), f
}

// LinkBatch is the memory that Turn and Events receive into, used again.
type LinkBatch struct {
	slots [BatchSize]slot
	room  [linkRoom]byte
}

// linkRoom holds the payloads of one batch; what finds no room comes in memory of its own.
const linkRoom = 32 << 10

func (b *LinkBatch) take(n C.uint64_t, events []Event) int {
	for i := range int(n) {
		raw := b.slots[i].raw()
		at := raw.rtt_ns
		raw.rtt_ns = 0
		events[i] = taken(raw, b.room[min(at, linkRoom):])
	}
	return int(n)
}

// Turn moves the link on and fills events with the results of what was started. It tells
// whether there may be more; if not, the descriptor becomes readable when there are. And
// it tells whether there is something for Events.
func (l Link) Turn(b *LinkBatch, events []Event) (n int, more, waiting bool, f *Failure) {
	var count, left, there, cerr C.uint64_t
	forceGC()
	status := C.hostlane_go_link_turn(l.id, chars(b.room[:]), linkRoom, b.slots[0].words(),
		C.size_t(min(len(events), BatchSize)), &count, &left, &there, &cerr)
	if status != C.HOSTLANE_OK {
		return 0, false, false, failure(status, errorIn(&cerr))
	}
	return b.take(count, events), left != 0, there != 0, nil
}

// Events takes what happened to the link and what arrived, without moving it on.
func (l Link) Events(b *LinkBatch, events []Event) (n int, more bool, f *Failure) {
	var count, left, cerr C.uint64_t
	forceGC()
	status := C.hostlane_go_link_events(l.id, chars(b.room[:]), linkRoom, b.slots[0].words(),
		C.size_t(min(len(events), BatchSize)), &count, &left, &cerr)
	if status != C.HOSTLANE_OK {
		return 0, false, failure(status, errorIn(&cerr))
	}
	return b.take(count, events), left != 0, nil
}

// Start starts a call, which comes back once, from Turn.
func (l Link) Start(data []byte, with *With, timeoutMS int64) Event {
	var op, cerr C.uint64_t
	var raw C.hostlane_call_options_t
	options := (*C.hostlane_call_options_t)(nil)
	if with != nil {
		var unpin func()
		raw, unpin = with.raw()
		defer unpin()
		options = &raw
	}
	forceGC()
	status := C.hostlane_go_link_start(l.id, chars(data), C.size_t(len(data)), options, C.int64_t(timeoutMS), &op, &cerr)
	if status != C.HOSTLANE_OK {
		return Event{Status: int32(status), Failure: failure(status, errorIn(&cerr))}
	}
	return PendingEvent(uint64(op))
}

// Cancel gives a started call up; it still comes back.
func (l Link) Cancel(op uint64) { C.hostlane_link_cancel(l.id, C.uint64_t(op), nil) }

// Send sends a one-way message.
func (l Link) Send(data []byte, with *With) *Failure {
	var cerr *C.hostlane_error_t
	bytes, size := lend(data)
	raw, unpin := with.raw()
	defer unpin()
	return failure(C.hostlane_link_send(l.id, bytes, size, &raw, &cerr), &cerr)
}

// Reply answers a request.
func (l Link) Reply(m Message, data []byte) *Failure {
	var cerr *C.hostlane_error_t
	bytes, size := lend(data)
	return failure(C.hostlane_link_reply(l.id, m.raw, bytes, size, &cerr), &cerr)
}

// Fail answers a request with an error.
func (l Link) Fail(m Message, code uint32, data []byte) *Failure {
	var cerr *C.hostlane_error_t
	bytes, size := lend(data)
	return failure(C.hostlane_link_fail(l.id, m.raw, C.uint32_t(code), bytes, size, &cerr), &cerr)
}

// CallEnded starts watching a request; the event is pending, and comes back from Turn.
func (l Link) CallEnded(m Message) Event {
	var op C.uint64_t
	var cerr *C.hostlane_error_t
	status := C.hostlane_link_call_ended(l.id, m.raw, &op, &cerr)
	if status != C.HOSTLANE_OK {
		return Event{Status: int32(status), Failure: failure(status, &cerr)}
	}
	return PendingEvent(uint64(op))
}

// Serving tells whether this side listens, negative while there is no decision.
func (l Link) Serving() int {
	serving := C.int32_t(-1)
	C.hostlane_link_is_serving(l.id, &serving, nil)
	return int(serving)
}

// Info tells who is on the other side, except for the address.
func (l Link) Info() (Info, *Failure) {
	var raw C.hostlane_info_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_link_info(l.id, &raw, &cerr), &cerr); f != nil {
		return Info{}, f
	}
	return info(&raw, ""), nil
}

// Stats reads the counters of the connection.
func (l Link) Stats() (Stats, *Failure) {
	var raw C.hostlane_stats_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_link_stats(l.id, &raw, &cerr), &cerr); f != nil {
		return Stats{}, f
	}
	return stats(&raw), nil
}

// StatsOn reads the counters of one channel.
func (l Link) StatsOn(channel uint16) (ChannelStats, *Failure) {
	var raw C.hostlane_channel_stats_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_link_stats_on(l.id, C.uint16_t(channel), &raw, &cerr), &cerr); f != nil {
		return ChannelStats{}, f
	}
	return channelStats(&raw), nil
}

// Close ends the link; the handle gives CLOSED from then on.
func (l Link) Close() *Failure {
	var cerr *C.hostlane_error_t
	return failure(C.hostlane_link_close(l.id, &cerr), &cerr)
}
