// Package hostlane gives processes on one host a fast, safe, framed lane to
// each other: a program written in Go talks to one written in Rust, C, C++,
// Python or Node over a local socket.
//
// One side calls [Listen] and accepts, the other calls [Dial]; from then on both
// hold a [Peer] and are equal. A message travels on a channel and keeps its
// boundaries. [Peer.Send] is one-way, [Peer.Request] is a call answered by
// [Message.Reply] or [Message.Fail], a [Stream] is a call with many items both ways.
// [Peer.Serve] and [Listener.Serve] hand every message to a [Handler]; [Peer.Recv] and
// [Peer.Messages] receive by hand, [Peer.SendBatch] and [Peer.RecvBatch] move many at a
// time.
//
// A [Link] joins two instances of one program, whichever of them is there first.
// [EnableLog] and [DrainLog] tell what happens to all of them.
//
// Two hostlane peers agree on wire level 1. With a peer on level 0 there are no call
// ids, streams, priorities or credit; each method says what it does then.
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
// The deadline and the cancellation of a call travel: the other side finds them in
// [Message.Context], and passes them on by making its own calls with that context.
//
// # Errors
//
// Every other failure is an [*Error]; test it with errors.Is against the
// sentinels of this package, or against the standard library's error for the
// same cause: ErrPeerClosed is also io.EOF, ErrClosed is also net.ErrClosed,
// ErrTimeout is also os.ErrDeadlineExceeded. What the program on the other side failed a
// call with is a [*RemoteError]. The numbers are the same in every language.
//
// # Ownership and goroutines
//
// All methods may be called from many goroutines at once. Payloads passed in are
// only read during the call; payloads handed out are Go memory and belong to the
// caller. Close is idempotent and wakes every waiter with ErrClosed; a Peer, Listener or
// Link that is never closed is closed when the garbage collector finds it,
// which [WithLogger] makes visible.
//
// The bytes on the wire are specified in docs/protocol.md of the project.
package hostlane
