package capi

// #include "hostlane.h"
import "C"

// Listener is the handle of a listening socket.
type Listener struct{ id C.hostlane_listener_t }

// Listen binds addr.
func Listen(addr string, o *Options) (Listener, *Failure) {
	var l Listener
	var cerr *C.hostlane_error_t
	bytes, size := lendText(addr)
	raw, unpin := o.listen()
	defer unpin()
	status := C.hostlane_listen(bytes, size, &raw, &l.id, &cerr)
	return l, failure(status, &cerr)
}

// Address tells the served address in its full form.
func (l Listener) Address() (string, *Failure) {
	return text(func(buf *C.char, room C.size_t, size *C.size_t, cerr **C.hostlane_error_t) C.hostlane_status_t {
		return C.hostlane_listener_address(l.id, buf, room, size, cerr)
	})
}

// Close closes the listener; the handle gives CLOSED from then on.
func (l Listener) Close() *Failure {
	var cerr *C.hostlane_error_t
	return failure(C.hostlane_listener_close(l.id, &cerr), &cerr)
}

// Refusal is a client that was turned away.
type Refusal struct {
	Status        int32
	PID, UID, GID uint32
}

// Refusals takes the remembered refusals, oldest first.
func (l Listener) Refusals() ([]Refusal, *Failure) {
	var all []Refusal
	for {
		var cerr *C.hostlane_error_t
		var part [BatchSize]C.hostlane_refusal_t
		var n C.size_t
		if f := failure(C.hostlane_listener_refusals(l.id, &part[0], BatchSize, &n, &cerr), &cerr); f != nil {
			return nil, f
		}
		for _, r := range part[:n] {
			all = append(all, Refusal{int32(r.status), uint32(r.pid), uint32(r.uid), uint32(r.gid)})
		}
		if n < BatchSize {
			return all, nil
		}
	}
}
