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
	logger  *slog.Logger
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
	p := &Peer{loop: l, handle: handle, info: infoOf(raw), logger: logger}
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

// Send sends data as one message and returns once the kernel has all of it, or, beside
// other goroutines, once it is queued behind theirs.
//
// On a channel on which the other side has no room for more, it does what the
// channel's [Policy] says. When ctx ends before the first byte left, nothing was sent
// and the connection is intact; when it ends inside the frame, the connection is closed
// and the error is an *Error whose MaybeSent is set. It fails with ErrInvalidChannel for
// a channel that was not agreed, ErrPayloadTooLarge above the limit, ErrWouldBlock,
// ErrQueueFull, ErrDraining, ErrClosed, and ErrPeerClosed or ErrConnectionLost when the
// other side is gone.
func (p *Peer) Send(ctx context.Context, channel Channel, data []byte, opts ...CallOption) error {
	if channel == 0 {
		return noChannel()
	}
	op := capi.Op{Kind: capi.Send, Channel: int32(channel), Data: data}
	ev, err := p.do(ctx, &op, channel, opts)
	if err != nil {
		return err
	}
	return p.end(ctx, &ev)
}

// noChannel refuses channel 0, the library's own; with C it would be that of the options.
func noChannel() error {
	return &Error{Code: CodeInvalidChannel, Msg: "a channel number lies between 1 and 65535"}
}

// Recv returns the next message of any channel, in order of arrival. When ctx
// ends first, nothing is lost: call again.
//
// After the other side ended and everything received was handed out it gives
// ErrPeerClosed, or ErrConnectionLost or ErrTruncated when the end was not clean;
// after this side's Close it gives ErrClosed. A peer that breaks the protocol
// gives ErrProtocolError, ErrBadMagic, ErrFrameTooLarge, ErrUnknownChannel,
// ErrUnknownFrame, ErrUnknownControl, ErrBadControl, ErrCreditExceeded or
// ErrControlFlood. One that answers no keepalive gives ErrPeerUnresponsive.
func (p *Peer) Recv(ctx context.Context) (Message, error) {
	return p.recv(ctx, capi.AnyChannel)
}

// RecvOn is Recv for one channel; messages of other channels stay for their own
// receivers.
func (p *Peer) RecvOn(ctx context.Context, channel Channel) (Message, error) {
	return p.recv(ctx, int32(channel))
}

func (p *Peer) recv(ctx context.Context, channel int32) (Message, error) {
	op := capi.Op{Kind: capi.Recv, Channel: channel}
	ev, err := p.do(ctx, &op, 0, nil)
	if err != nil {
		return Message{}, err
	}
	return p.message(ctx, &ev)
}

// Request sends data as a call and returns the reply. Any number of goroutines may
// call at a time, and replies come in any order; calls above what the other side serves
// at a time (its [WithMaxCalls]) wait until it is their turn, and ErrQueueFull ends the
// queue.
//
// The other side is told the deadline of ctx. When ctx ends, the call is cancelled, the
// other side is told that too, and the connection goes on; when the call was already
// sent, the error is an *Error whose MaybeSent is set. Level 0 knows no call ids: there
// calls are answered one after the other, on ChannelCommand alone, and the end of ctx
// closes the connection when the call was sent, so that a late reply can never answer
// the next call.
//
// It fails with a [*RemoteError] when the program on the other side failed the call, and
// with ErrCallAbandoned when it let the call go; otherwise as Send and Recv do.
func (p *Peer) Request(ctx context.Context, data []byte, opts ...CallOption) (Message, error) {
	op := capi.Op{Kind: capi.Request, Data: data}
	ev, err := p.do(ctx, &op, 0, opts)
	if err != nil {
		return Message{}, err
	}
	return p.message(ctx, &ev)
}

// do starts op with what opts say, and waits for its end.
func (p *Peer) do(ctx context.Context, op *capi.Op, channel Channel, opts []CallOption) (capi.Event, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return capi.Event{}, err
	}
	op.Peer, op.TimeoutMS = p.handle, ms
	if len(opts) > 0 {
		o := collectCall(opts)
		if channel == 0 {
			op.Channel = int32(o.channel)
		} else {
			o.channel, o.named = channel, true
		}
		with, done, err := o.with()
		if err != nil {
			return capi.Event{}, err
		}
		defer done()
		op.With = with
	}
	return p.loop.Do(ctx, op), nil
}

// Messages iterates over what Recv returns; Serve is the easier way to answer requests,
// RecvBatch the faster one to receive much. It ends quietly when either side
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
	ev, err := p.do(ctx, &capi.Op{Kind: capi.Ping}, 0, nil)
	if err != nil {
		return 0, err
	}
	return ev.RTT, p.end(ctx, &ev)
}

// Drain ends the connection in agreement with the other side: neither starts anything
// new, which gives ErrDraining there, calls in flight are answered, then it is closed.
// Messages already received stay readable until Close. When ctx ends first the
// connection is closed all the same.
func (p *Peer) Drain(ctx context.Context) error {
	ev, err := p.do(ctx, &capi.Op{Kind: capi.Drain}, 0, nil)
	if err != nil {
		return err
	}
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

// StatsOn returns the counters of one channel. It fails with ErrInvalidChannel when the
// channel was not agreed.
func (p *Peer) StatsOn(channel Channel) (ChannelStats, error) {
	raw, failure := p.handle.StatsOn(uint16(channel))
	runtime.KeepAlive(p)
	if failure != nil {
		return ChannelStats{}, errorOf(failure)
	}
	return channelStatsOf(raw), nil
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

// received takes over a message that nobody serves: a request that is forgotten is
// abandoned by the garbage collector.
func (p *Peer) received(r *capi.Received) Message {
	m := newMessage(p, r, context.Background())
	if m.call != nil {
		m.call.keep()
	}
	return m
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
	return p.received(&ev.Received), nil
}
