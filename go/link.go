package hostlane

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
	"github.com/hostlane/hostlane/go/internal/loop"
)

// Link joins two instances of one program by an address; which of them serves is no
// matter of the program's. The first to open listens, the second connects, a third waits
// for a place. When one of a pair dies, the other takes over and the next one joins.
// Calls go both ways, on level 1. All its methods may be called from many goroutines at
// once.
//
// A call that was lost with its connection is repeated on the next one if it provably was
// not executed, or has an [IdempotencyKey]. Otherwise it fails once, with an [*Error]
// whose MaybeSent is set.
type Link struct {
	inner   *loop.Link
	addr    string
	logger  *slog.Logger
	cleanup runtime.Cleanup
}

// LinkOption changes one default of OpenLink.
type LinkOption func(*linkOptions)

type linkOptions struct {
	capi       capi.LinkOptions
	connection []Option
}

// WithConnection sets options of the connection, for whichever side this turns out to be.
func WithConnection(opts ...Option) LinkOption {
	return func(o *linkOptions) { o.connection = append(o.connection, opts...) }
}

// WithReconnect sets whether the link goes on after the other side was lost, which is the
// default. Otherwise it ends with the error of its first connection.
func WithReconnect(again bool) LinkOption {
	return func(o *linkOptions) { o.capi.NoReconnect = !again }
}

// WithRetries sets how many attempts in a row may fail before the link ends with the error
// of the last. Waiting for the other side, or as a third for a place, is no attempt; of
// connections in a row that lasted no longer than the next pause, each after the first is
// one that failed. The default is no bound; less than 1 is none.
func WithRetries(n int) LinkOption {
	retries := int64(n)
	if n < 1 {
		retries = capi.NoRetry
	}
	return func(o *linkOptions) { o.capi.Retries = min(retries, math.MaxUint32) }
}

// WithDelay sets the pause before the second attempt, doubled for each further one up to
// longest; each is shortened at random by up to half. Both are rounded up to a millisecond. The
// defaults, also for 0, are 10 milliseconds and 2 seconds.
func WithDelay(first, longest time.Duration) LinkOption {
	return func(o *linkOptions) {
		o.capi.DelayMS, o.capi.LongestMS = millisecondsUp(first), millisecondsUp(longest)
	}
}

// LinkEvent is what Next gives: a [LinkUp], a [LinkDown] or a [Message].
type LinkEvent interface{ linkEvent() }

// LinkUp tells that the other side is there.
type LinkUp struct {
	// Serving tells that this side is the one that listens.
	Serving bool
}

// LinkDown tells that the other side is gone; the link goes on trying, unless it was told
// otherwise.
type LinkDown struct {
	// Err is what ended the connection.
	Err error
}

func (LinkUp) linkEvent()   {}
func (LinkDown) linkEvent() {}
func (Message) linkEvent()  {}

// OpenLink opens a link at addr, an address that can be listened at and dialled. The first
// attempt is under way when it returns; a goroutine of the library, parked in Go's network
// poller, keeps the link alive from then on.
//
// It fails with ErrInvalidArgument for options that are wrong, ErrUnsupported for an
// address whose server is fixed, and as Listen does with what another attempt would not
// change.
func OpenLink(addr string, opts ...LinkOption) (*Link, error) {
	var o linkOptions
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	connection := collect(o.connection)
	o.capi.Connection = connection.capi
	inner, failure := loop.OpenLink(addr, &o.capi)
	if failure != nil {
		return nil, errorOf(failure)
	}
	logger := connection.logger
	l := &Link{inner: inner, addr: addr, logger: logger}
	l.cleanup = runtime.AddCleanup(l, func(inner *loop.Link) {
		warnLeak(logger, "link")
		inner.Close()
	}, inner)
	return l, nil
}

// Next returns the next event. When ctx ends first, nothing is lost: call again. What
// nobody takes holds the other side back. It fails with ErrClosed after Close, and, after
// the last event, with the error that ended the link.
func (l *Link) Next(ctx context.Context) (LinkEvent, error) {
	ev, err := l.receive(ctx)
	switch {
	case err != nil:
		return nil, err
	case ev.Link == capi.LinkUp:
		return LinkUp{Serving: ev.Serving}, nil
	case ev.Link == capi.LinkDown:
		return LinkDown{Err: errorOf(ev.Failure)}, nil
	}
	m := l.message(&ev.Received, context.Background())
	if m.call != nil {
		m.call.keep() // a request that is forgotten is abandoned by the garbage collector
	}
	return m, nil
}

func (l *Link) receive(ctx context.Context) (capi.Event, error) {
	defer runtime.KeepAlive(l)
	if err := ctx.Err(); err != nil {
		return capi.Event{}, err
	}
	ev, failure, err := l.inner.Receive(ctx)
	if failure != nil {
		return ev, errorOf(failure)
	}
	return ev, err
}

func (l *Link) message(r *capi.Received, parent context.Context) Message {
	m := messageOf(r)
	m.link = l
	if !r.Message.IsZero() {
		m.call = newCall(r, parent)
		m.call.link = l
	}
	return m
}

// Request sends data as a call and returns the reply; it waits for the other side where
// that is not there. ctx means what it means to [Peer.Request], and it fails as that does,
// with ErrUnsupported for [Files], and with the error that ended the link.
func (l *Link) Request(ctx context.Context, data []byte, opts ...CallOption) (Message, error) {
	defer runtime.KeepAlive(l)
	ms, err := timeoutOf(ctx)
	if err != nil {
		return Message{}, err
	}
	with, done, err := l.with(opts)
	if err != nil {
		return Message{}, err
	}
	started := l.inner.Handle.Start(data, with, ms)
	done()
	ev := l.inner.Await(ctx, started)
	if err := failureOf(ctx, &ev); err != nil {
		return Message{}, err
	}
	return l.message(&ev.Received, context.Background()), nil
}

// Send sends data as a one-way message, on ChannelData or the channel of [OnChannel]. It does
// not wait. It fails with ErrConnectionLost while the other side is not there, because the
// message is not kept for it, and with ErrWouldBlock while the other side does not take
// what was sent; otherwise as [Peer.Send] does, and with the error that ended the link.
func (l *Link) Send(ctx context.Context, data []byte, opts ...CallOption) error {
	defer runtime.KeepAlive(l)
	if err := ctx.Err(); err != nil {
		return err
	}
	with, done, err := l.with(opts)
	if err != nil {
		return err
	}
	defer done()
	if with == nil {
		with = &capi.With{}
	}
	return errorOf(l.inner.Handle.Send(data, with))
}

// with is what goes along, the channel included.
func (l *Link) with(opts []CallOption) (with *capi.With, done func(), err error) {
	o := collectCall(opts)
	with, done, err = o.with()
	if err == nil && with == nil && o.channel != 0 {
		with = &capi.With{Channel: uint16(o.channel)}
	}
	return with, done, err
}

func (l *Link) answer(m capi.Message, op *capi.Op) error {
	defer runtime.KeepAlive(l)
	if op.Kind == capi.Fail {
		return errorOf(l.inner.Handle.Fail(m, op.Code, op.Data))
	}
	return errorOf(l.inner.Handle.Reply(m, op.Data))
}

// callEnded has end called when no answer to m is wanted any more.
func (l *Link) callEnded(m capi.Message, end func()) {
	defer runtime.KeepAlive(l)
	if ev := l.inner.Handle.CallEnded(m); ev.Pending() {
		l.inner.Notify(ev.Op, func(capi.Event) { end() })
	} else {
		end()
	}
}

// Serve handles every message, until the link or ctx ends, and then until every handler
// has returned. Each request is handled in a goroutine of its own; one-way messages keep
// their order: what comes behind one waits until its handler has returned. Handlers may
// make calls on the link.
//
// It gives nil after Close, the error of ctx, or what ended the link.
func (l *Link) Serve(ctx context.Context, handler Handler, opts ...ServeOption) error {
	o, err := serving(handler, opts)
	if err != nil {
		return err
	}
	s := &linkServer{link: l, ctx: ctx, handler: handler, places: make(chan struct{}, o.handlers)}
	s.goroutines.Add(1)
	go s.receive()
	s.goroutines.Wait()
	if errors.Is(s.err, ErrClosed) && l.inner.IsClosed() {
		return nil
	}
	return s.err
}

// linkServer is one Serve.
type linkServer struct {
	link    *Link
	ctx     context.Context
	handler Handler
	// places holds a token for each handler that runs.
	places chan struct{}

	goroutines sync.WaitGroup
	err        error // ended the receiver
}

// receive is the life of the goroutine that receives. A handler that ends it by
// runtime.Goexit leaves the rest to another.
func (s *linkServer) receive() {
	ended := false
	defer func() {
		if !ended {
			s.goroutines.Add(1)
			go s.receive()
		}
		s.goroutines.Done()
	}()
	for {
		select {
		case s.places <- struct{}{}:
		case <-s.ctx.Done():
			s.err, ended = s.ctx.Err(), true
			return
		}
		ev, err := s.link.receive(s.ctx)
		if err != nil {
			s.err, ended = err, true
			return
		}
		if ev.Link != 0 {
			<-s.places
			continue
		}
		m := s.link.message(&ev.Received, s.ctx)
		if m.call == nil {
			s.handle(s.ctx, m)
			continue
		}
		s.goroutines.Add(1)
		go func() {
			defer s.goroutines.Done()
			s.handle(m.call, m)
		}()
	}
}

func (s *linkServer) handle(ctx context.Context, m Message) {
	defer func() {
		if value := recover(); value != nil {
			panicked(s.link.logger, m, value)
		}
		if m.call != nil {
			m.call.leave()
		}
		<-s.places
	}()
	s.handler(ctx, m)
}

// IsServing tells whether this side is the one that listens; known is false while there is
// no decision.
func (l *Link) IsServing() (serving, known bool) {
	is := l.inner.Handle.Serving()
	runtime.KeepAlive(l)
	return is == 1, is >= 0
}

// Info returns what was agreed with the other side and who it is. It fails with
// ErrConnectionLost while the other side is not there.
func (l *Link) Info() (Info, error) {
	raw, failure := l.inner.Handle.Info()
	runtime.KeepAlive(l)
	if failure != nil {
		return Info{}, errorOf(failure)
	}
	raw.Address = l.addr
	return infoOf(raw), nil
}

// Stats returns the counters of the connection. It fails with ErrConnectionLost while
// there is none.
func (l *Link) Stats() (Stats, error) {
	raw, failure := l.inner.Handle.Stats()
	runtime.KeepAlive(l)
	if failure != nil {
		return Stats{}, errorOf(failure)
	}
	return statsOf(raw), nil
}

// StatsOn returns the counters of one channel of the connection. It fails with
// ErrInvalidChannel when the channel was not agreed, ErrConnectionLost while there is no
// connection.
func (l *Link) StatsOn(channel Channel) (ChannelStats, error) {
	raw, failure := l.inner.Handle.StatsOn(uint16(channel))
	runtime.KeepAlive(l)
	if failure != nil {
		return ChannelStats{}, errorOf(failure)
	}
	return channelStatsOf(raw), nil
}

// Close ends the link at once: the address is free, the connection is closed, and every
// waiter gets ErrClosed. It is idempotent and never waits.
func (l *Link) Close() error {
	l.cleanup.Stop()
	failure := l.inner.Close()
	runtime.KeepAlive(l)
	return closeError(failure)
}
