package hostlane

import (
	"context"
	"iter"
	"log/slog"
	"runtime"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
	"github.com/hostlane/hostlane/go/internal/loop"
)

// Peer is one end of a connection. All its methods may be called from many
// goroutines at once.
type Peer struct {
	loop    *loop.Loop
	handle  capi.Peer
	info    Info
	cleanup runtime.Cleanup
}

// Dial connects to addr and finishes the handshake, both within ctx.
//
// It fails with ErrInvalidAddress, ErrAddressTooLong or ErrUnsupported for the
// address itself; with ErrNotFound or ErrConnectionRefused when nobody serves it;
// with ErrRefused, ErrNoCommonChannel, ErrVersionMismatch, ErrProtocolMismatch,
// ErrBadHandshake or ErrAuthenticationFailed when the two sides do not agree; and
// with ErrTimeout when the handshake timeout passes before ctx does.
func Dial(ctx context.Context, addr string, opts ...Option) (*Peer, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return nil, err
	}
	l, failure := loop.Shared()
	if failure != nil {
		return nil, errorOf(failure)
	}
	o := collect(opts)
	ev := l.Await(ctx, l.Context.Connect(addr, &o.capi, ms))
	if err := failureOf(ctx, &ev); err != nil {
		return nil, err
	}
	return newPeer(l, ev.Peer, o.logger)
}

func newPeer(l *loop.Loop, handle capi.Peer, logger *slog.Logger) (*Peer, error) {
	raw, failure := handle.Info()
	if failure != nil {
		handle.Close()
		return nil, errorOf(failure)
	}
	p := &Peer{loop: l, handle: handle, info: infoOf(raw)}
	// Only a net for a forgotten Close: the handle is a plain value, so the cleanup
	// needs nothing of the Peer that is gone.
	p.cleanup = runtime.AddCleanup(p, func(handle capi.Peer) {
		warnLeak(logger, "peer")
		handle.Close()
	}, handle)
	return p, nil
}

func warnLeak(logger *slog.Logger, kind string) {
	if logger != nil {
		logger.Warn("hostlane: a " + kind + " was never closed; closed by the garbage collector")
	}
}

// Send sends data as one message and returns once the kernel has all of it.
//
// When ctx ends before the first byte left, nothing was sent and the connection
// is intact; when it ends inside the frame, the connection is closed and the error
// is an *Error whose MaybeSent is set. It fails with ErrInvalidChannel for a
// channel that was not agreed, ErrPayloadTooLarge above the limit, ErrQueueFull,
// ErrClosed, and ErrPeerClosed or ErrConnectionLost when the other side is gone.
func (p *Peer) Send(ctx context.Context, channel Channel, data []byte) error {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return err
	}
	ev := p.loop.Await(ctx, p.loop.Context.Send(p.handle, uint16(channel), data, ms))
	return p.end(ctx, &ev)
}

// Recv returns the next message of any channel, in order of arrival. When ctx
// ends first, nothing is lost: call again.
//
// After the other side ended and everything received was handed out it gives
// ErrPeerClosed, or ErrConnectionLost or ErrTruncated when the end was not clean;
// after this side's Close it gives ErrClosed. A peer that breaks the protocol
// gives ErrBadMagic, ErrFrameTooLarge, ErrUnknownChannel, ErrUnknownControl,
// ErrBadControl or ErrControlFlood.
func (p *Peer) Recv(ctx context.Context) (Message, error) {
	return p.recv(ctx, capi.AnyChannel)
}

// RecvOn is Recv for one channel; messages of other channels stay for their own
// receivers.
func (p *Peer) RecvOn(ctx context.Context, channel Channel) (Message, error) {
	return p.recv(ctx, int32(channel))
}

func (p *Peer) recv(ctx context.Context, channel int32) (Message, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return Message{}, err
	}
	ev := p.loop.Await(ctx, p.loop.Context.Recv(p.handle, channel, ms))
	return p.message(ctx, &ev)
}

// Request sends data as a call on ChannelCommand and returns the reply. Calls on
// one connection are answered in order; further calls queue until it is their
// turn, and ErrQueueFull ends the queue.
//
// When ctx ends while the call is queued it is just removed. When the call was
// already sent, the error is an *Error whose MaybeSent is set, and the connection
// is closed, so that a late reply can never answer the next call; whatever else
// uses it gets ErrConnectionLost. It fails otherwise as Send and Recv do.
func (p *Peer) Request(ctx context.Context, data []byte) (Message, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return Message{}, err
	}
	ev := p.loop.Await(ctx, p.loop.Context.Request(p.handle, data, ms))
	return p.message(ctx, &ev)
}

// Messages iterates over what Recv returns. It ends quietly when either side
// closes; any other error, the context's included, is yielded once as the last
// element.
func (p *Peer) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := p.Recv(ctx)
			if err != nil && ended(err) {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func ended(err error) bool {
	e, ok := err.(*Error)
	return ok && (e.Code == CodePeerClosed || e.Code == CodeClosed)
}

// Ping returns the time of one round trip to the other side.
func (p *Peer) Ping(ctx context.Context) (time.Duration, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return 0, err
	}
	ev := p.loop.Await(ctx, p.loop.Context.Ping(p.handle, ms))
	return ev.RTT, p.end(ctx, &ev)
}

// Drain ends the connection in agreement with the other side: no new sends, calls
// in flight finish, then it is closed. Messages already received stay readable
// until Close. When ctx ends first the connection is closed all the same.
func (p *Peer) Drain(ctx context.Context) error {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return err
	}
	ev := p.loop.Await(ctx, p.loop.Context.Drain(p.handle, ms))
	return p.end(ctx, &ev)
}

// Info returns what was agreed in the handshake and who the other side is.
func (p *Peer) Info() Info { return p.info }

// Stats returns the counters of the connection.
func (p *Peer) Stats() (Stats, error) {
	raw, failure := p.handle.Stats()
	runtime.KeepAlive(p)
	if failure != nil {
		return Stats{}, errorOf(failure)
	}
	return statsOf(raw), nil
}

// Close ends the connection at once and wakes every waiter with ErrClosed. It is
// idempotent and never waits.
func (p *Peer) Close() error {
	p.cleanup.Stop()
	failure := p.handle.Close()
	runtime.KeepAlive(p)
	return closeError(failure)
}

// closeError makes Close idempotent: closing what is closed changes nothing.
func closeError(failure *capi.Failure) error {
	if failure != nil && Code(failure.Status) == CodeClosed {
		return nil
	}
	return errorOf(failure)
}

// end keeps p alive to here: a Peer collected while its operation waits would be
// closed under it.
func (p *Peer) end(ctx context.Context, ev *capi.Event) error {
	runtime.KeepAlive(p)
	return failureOf(ctx, ev)
}

func (p *Peer) message(ctx context.Context, ev *capi.Event) (Message, error) {
	if err := p.end(ctx, ev); err != nil {
		return Message{}, err
	}
	return Message{Channel: Channel(ev.Channel), Data: ev.Data, peer: p}, nil
}
