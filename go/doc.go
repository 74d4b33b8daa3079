// Package hostlane gives processes on one host a fast, safe, framed lane to
// each other: a program written in Go talks to one written in Rust, C, C++,
// Python or Node over a local socket.
//
// One side calls [Listen] and accepts, the other calls [Dial]; from then on both
// hold a [Peer] and are equal. A message travels on a channel and keeps its
// boundaries. [Peer.Send] is one-way, [Peer.Request] is a call answered by
// [Message.Reply], [Peer.Recv] and [Peer.Messages] receive.
//
// # Waiting
//
// Everything that waits takes a context. The context's deadline is the deadline
// of the operation, and its cancellation ends the wait at once. Both give an error
// that errors.Is finds to be the context's own: that error itself when nothing was
// sent, otherwise an [*Error] around it whose MaybeSent is set. A waiting goroutine
// costs no operating-system thread: all waits of the process share one descriptor in
// Go's network poller.
//
// # Errors
//
// Every other failure is an [*Error]; test it with errors.Is against the
// sentinels of this package, or against the standard library's error for the
// same cause: ErrPeerClosed is also io.EOF, ErrClosed is also net.ErrClosed,
// ErrTimeout is also os.ErrDeadlineExceeded. The numbers are the same in every
// language.
//
// # Ownership and goroutines
//
// All methods may be called from many goroutines at once. Payloads passed in are
// only read during the call; payloads handed out are Go memory and belong to the
// caller. Close is idempotent and wakes every waiter with ErrClosed; a Peer or
// Listener that is never closed is closed when the garbage collector finds it,
// which [WithLogger] makes visible.
//
// The bytes on the wire are specified in docs/protocol.md of the project.
package hostlane
