package hostlane

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/hostlane/hostlane/go/internal/capi"
	"github.com/hostlane/hostlane/go/internal/loop"
)

// Listener accepts connections at one address. All its methods may be called from
// many goroutines at once.
type Listener struct {
	loop    *loop.Loop
	handle  capi.Listener
	addr    string
	logger  *slog.Logger
	cleanup runtime.Cleanup
}

// Listen serves addr: binds it privately and replaces a socket that a dead process
// left behind, never one that is served.
//
// It fails with ErrInvalidAddress, ErrAddressTooLong, ErrUnsupported or
// ErrAuthenticationRequired for the address itself, ErrAddressInUse when it is
// served, ErrNotASocket when the path is a file of another kind, ErrUnsafeDirectory
// or ErrPermissionDenied.
func Listen(addr string, opts ...Option) (*Listener, error) {
	l, failure := loop.Shared()
	if failure != nil {
		return nil, errorOf(failure)
	}
	o := collect(opts)
	handle, failure := capi.Listen(addr, &o.capi)
	if failure != nil {
		return nil, errorOf(failure)
	}
	bound, failure := handle.Address()
	if failure != nil {
		handle.Close()
		return nil, errorOf(failure)
	}
	ln := &Listener{loop: l, handle: handle, addr: bound, logger: o.logger}
	logger := o.logger
	ln.cleanup = runtime.AddCleanup(ln, func(handle capi.Listener) {
		warnLeak(logger, "listener")
		handle.Close()
	}, handle)
	return ln, nil
}

// Accept returns the next connection whose handshake is complete. Handshakes run
// side by side from the first Accept on: a silent, slow or hostile client delays
// nobody, and is listed by Refusals. When ctx ends first, nothing is lost: a client
// that arrives later waits for the next Accept. It fails with ErrClosed after Close.
// Want of descriptors or memory is no failure: accepting pauses, which Stats counts,
// and the clients wait in the kernel.
func (l *Listener) Accept(ctx context.Context) (*Peer, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return nil, err
	}
	ev := l.loop.Await(ctx, l.loop.Context.Accept(l.handle, ms))
	runtime.KeepAlive(l)
	if err := failureOf(ctx, &ev); err != nil {
		return nil, err
	}
	return newPeer(l.loop, ev.Peer, l.logger)
}

// Addr returns the address that is served, in its full form; Dial accepts it.
func (l *Listener) Addr() string { return l.addr }

// Stats returns the counters of the listener.
func (l *Listener) Stats() (ListenerStats, error) {
	raw, failure := l.handle.Stats()
	runtime.KeepAlive(l)
	if failure != nil {
		return ListenerStats{}, errorOf(failure)
	}
	return ListenerStats(raw), nil
}

// Refusals returns and forgets the clients refused since the last call, oldest
// first. The list is bounded; Stats counts them all.
func (l *Listener) Refusals() ([]Refusal, error) {
	raw, failure := l.handle.Refusals()
	runtime.KeepAlive(l)
	if failure != nil {
		return nil, errorOf(failure)
	}
	return refusalsOf(raw), nil
}

// Close stops listening, removes the socket, ends unfinished handshakes and wakes
// every Accept with ErrClosed. Accepted peers live on. It is idempotent and never
// waits.
func (l *Listener) Close() error {
	l.cleanup.Stop()
	failure := l.handle.Close()
	runtime.KeepAlive(l)
	return closeError(failure)
}
