package hostlane

import (
	"context"
	"errors"
	"sync"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// Handler handles one message of the other side. When it returns, a request that it did
// not answer is abandoned, and a stream that it did not close is closed. ctx is
// m.Context() for a request, otherwise the context of Serve.
type Handler func(ctx context.Context, m Message)

// ServeOption changes one default of Serve.
type ServeOption func(*serveOptions)

type serveOptions struct{ handlers int }

// defaultHandlers bounds the handlers of one connection.
const defaultHandlers = 1024

// serveBatch is the most messages that one goroutine receives at a time.
const serveBatch = 64

// WithMaxHandlers sets how many handlers of one connection run at a time; while so many
// do, nothing more is received. The default is 1024; less than 1 is 1, which handles
// requests in order too.
func WithMaxHandlers(n int) ServeOption {
	return func(o *serveOptions) { o.handlers = max(n, 1) }
}

// Serve receives and handles every message, until the connection or ctx ends, and then
// until every handler has returned. Each request is handled in a goroutine of its own.
// One-way messages, which on level 0 are all, keep their order: what comes behind one
// waits until its handler has returned.
//
// It gives nil when either side closed the connection, the error of ctx, or what Recv
// would give. Calls by this side go on beside it; other receives would take messages
// away from it.
func (p *Peer) Serve(ctx context.Context, handler Handler, opts ...ServeOption) error {
	o := serveOptions{handlers: defaultHandlers}
	for _, set := range opts {
		set(&o)
	}
	s := &server{peer: p, ctx: ctx, handler: handler, most: o.handlers}
	s.goroutines.Add(1)
	s.receive(capi.Event{})
	s.goroutines.Wait()
	if ended(s.err) {
		return nil
	}
	return s.err
}

// Serve accepts connections and serves each as Peer.Serve does, until ctx ends or the
// listener is closed, and then until every handler has returned; it closes the
// connections. It gives nil after Close, the error of ctx, or what Accept would give.
// What ends one connection is not reported.
func (l *Listener) Serve(ctx context.Context, handler Handler, opts ...ServeOption) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		p, err := l.Accept(ctx)
		if errors.Is(err, ErrClosed) {
			return nil
		}
		if err != nil {
			stop()
			return err
		}
		connections.Add(1)
		go func() {
			defer connections.Done()
			defer p.Close()
			p.Serve(ctx, handler, opts...)
		}()
	}
}

// server is one Serve. At most one of its goroutines is the receiver. When messages have
// come, the receiver handles one of them itself, which spares a switch of goroutines.
// Meanwhile the loop keeps its place, and starts a new receiver if something comes; or,
// while there is no room for another handler, the place is vacant, for the first
// goroutine that is done.
type server struct {
	peer    *Peer
	ctx     context.Context
	handler Handler
	most    int

	// goroutines counts those at work, and the place that the loop keeps.
	goroutines sync.WaitGroup
	// err ended the last receiver.
	err error

	mu      sync.Mutex
	running int // handlers, those about to start among them
	vacant  bool
}

// receive is the life of a receiver, who is counted in goroutines. ready is what it has
// to wait for first, if anything.
func (s *server) receive(ready capi.Event) {
	defer s.goroutines.Done()
	for {
		mine, err := s.take(ready)
		if err != nil {
			s.err = err
			return
		}
		if mine.call == nil {
			ready = capi.Event{}
			continue
		}
		var left bool
		ready, left = s.leave()
		switch {
		case !left:
		case ready.Pending():
			s.goroutines.Add(1)
			s.peer.loop.Notify(ready.Op, func(ev capi.Event) { go s.receive(ev) })
		default: // more is here, or the end
			s.goroutines.Add(1)
			go s.receive(ready)
		}
		switch again := s.handle(mine); {
		case again:
			ready = capi.Event{}
		case left && ready.Pending() && s.peer.loop.Denotify(ready.Op):
			s.goroutines.Done()
		default:
			return
		}
	}
}

// take receives messages, as many as may be handled now. One-way messages it handles
// itself, in their order; requests it starts to handle, all but the last if nothing is
// behind it, which it returns. ready may have brought a message.
func (s *server) take(ready capi.Event) (mine Message, err error) {
	waited := ready.Pending()
	ready = s.peer.loop.Await(s.ctx, ready)
	if err := failureOf(s.ctx, &ready); err != nil {
		return mine, err
	}
	if ready.Data != nil {
		s.expect(1)
		m := newMessage(s.peer, &ready.Received, s.ctx)
		if waited || m.call == nil || s.full() {
			return s.begin(m, true), nil
		}
		s.begin(m, false) // more is likely to be here
	}
	in := inboxes.Get().(*capi.Inbox)
	defer inboxes.Put(in)
	s.mu.Lock()
	free := s.most - s.running // at least one, and the receiver alone takes it
	s.mu.Unlock()
	if err := s.peer.fill(s.ctx, in, min(serveBatch, free)); err != nil {
		return mine, err
	}
	n := in.Len()
	s.expect(n)
	if n > 1 {
		s.peer.loop.ExpectMany()
	}
	in.Each(true, func(r capi.Received) {
		n--
		mine = s.begin(newMessage(s.peer, &r, s.ctx), n == 0)
	})
	return mine, nil
}

// begin sees to it that m is handled, unless it is a request and the last: that it
// returns.
func (s *server) begin(m Message, last bool) (mine Message) {
	switch {
	case m.call == nil:
		s.handle(m)
	case last:
		return m
	default:
		s.goroutines.Add(1)
		go s.work(m)
	}
	return mine
}

func (s *server) expect(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running += n
}

func (s *server) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running == s.most
}

// leave gives the place of the receiver up. When another may take it at once, it returns
// what that one has to wait for.
func (s *server) leave() (ready capi.Event, left bool) {
	s.mu.Lock()
	s.vacant = s.running == s.most
	left = !s.vacant
	s.mu.Unlock()
	if left {
		op := capi.Op{Kind: capi.Recv, Channel: capi.AnyChannel, Peer: s.peer.handle, TimeoutMS: capi.Forever}
		ready = s.peer.loop.Context.Start(&op)
	}
	return ready, left
}

// work is the life of a goroutine that has one message to handle.
func (s *server) work(m Message) {
	if s.handle(m) {
		s.receive(capi.Event{})
	} else {
		s.goroutines.Done()
	}
}

// handle handles m, and tells whether the caller is the receiver now.
func (s *server) handle(m Message) (receiver bool) {
	if m.call == nil {
		s.handler(s.ctx, m)
	} else {
		s.handler(m.call, m)
		m.call.leave()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	receiver, s.vacant = s.vacant, false
	return receiver
}
