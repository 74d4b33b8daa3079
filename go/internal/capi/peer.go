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
