package capi

// #include "hostlane.h"
import "C"

// Peer is the handle of a connection.
type Peer struct{ id C.hostlane_peer_t }

// Close closes the connection; the handle gives CLOSED from then on.
func (p Peer) Close() *Failure {
	var cerr *C.hostlane_error_t
	return failure(C.hostlane_close(p.id, &cerr), &cerr)
}

// Stream is the handle of the items of one call.
type Stream struct{ id C.hostlane_stream_t }

// OpenStream starts a call whose two sides send items.
func (p Peer) OpenStream(data []byte, with *With) (Stream, *Failure) {
	var s Stream
	var cerr *C.hostlane_error_t
	bytes, size := lend(data)
	raw, unpin := with.raw()
	defer unpin()
	status := C.hostlane_stream_open(p.id, bytes, size, &raw, &s.id, &cerr)
	return s, failure(status, &cerr)
}

// CallID is the number of its call; 0 when it was given back.
func (s Stream) CallID() uint64 {
	var id C.uint64_t
	if C.hostlane_stream_call_id(s.id, &id, nil) != C.HOSTLANE_OK {
		return 0
	}
	return uint64(id)
}

// Close gives the stream back, and its call up if this side opened it.
func (s Stream) Close() *Failure {
	var cerr *C.hostlane_error_t
	return failure(C.hostlane_stream_close(s.id, &cerr), &cerr)
}
