package hostlane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// Handler handles one message of the other side. When it returns, a request that it did
// not answer is abandoned, and a stream that it did not close is closed. ctx is
// m.Context() for a request, otherwise the context of Serve. A handler that ends its
// goroutine by runtime.Goexit has returned.
//
// A handler that panics fails its request with [HandlerFailed] and the text of the panic;
// Serve goes on. The panic is logged with its stack: by the logger of [WithLogger], else
// by slog.Default().
type Handler func(ctx context.Context, m Message)

// HandlerFailed is the Code of the [RemoteError] that a caller gets whose handler failed
// without an answer of its own, in every language; its Data says what happened.
const HandlerFailed = capi.HandlerFailed

// ServeOption changes one default of Serve.
type ServeOption func(*serveOptions)

type serveOptions struct{ handlers int }

// defaultHandlers bounds the handlers of one connection.
const defaultHandlers = 1024

// lastCalls is what a connection gets to end in good order once its listener is closed.
const lastCalls = 5 * time.Second

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
	o, err := serving(handler, opts)
	if err != nil {
		return err
	}
	s := &server{peer: p, ctx: ctx, handler: handler, most: o.handlers}
	// Not in this goroutine, which a handler might end.
	s.start(capi.Event{})
	s.goroutines.Wait()
	if ended(s.err) {
		return nil
	}
	return s.err
}

// Serve accepts connections and serves each as Peer.Serve does, until ctx ends or the
// listener is closed, and then until every handler has returned. When ctx ends it closes
// the connections; when the listener is closed it drains them, for 5 seconds at most. It
// gives nil after Close, the error of ctx, or what Accept would give. What ends one
// connection is not reported.
func (l *Listener) Serve(ctx context.Context, handler Handler, opts ...ServeOption) error {
	if _, err := serving(handler, opts); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	var mu sync.Mutex
	peers := make(map[*Peer]struct{})
	for {
		p, err := l.Accept(ctx)
		if errors.Is(err, ErrClosed) {
			mu.Lock()
			defer mu.Unlock()
			for p := range peers {
				connections.Add(1)
				go func() {
					defer connections.Done()
					p.lastCalls(ctx)
				}()
			}
			return nil
		}
		if err != nil {
			stop()
			return err
		}
		mu.Lock()
		peers[p] = struct{}{}
		mu.Unlock()
		connections.Add(1)
		go func() {
			defer connections.Done()
			defer p.Close()
			p.Serve(ctx, handler, opts...)
			mu.Lock()
			defer mu.Unlock()
			delete(peers, p)
		}()
	}
}

// lastCalls ends a connection in good order, if that is soon done.
func (p *Peer) lastCalls(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastCalls)
	defer cancel()
	if p.Drain(ctx) != nil {
		p.Close()
	}
}

// serving tells the options of a Serve, and whether there is a handler.
func serving(handler Handler, opts []ServeOption) (serveOptions, error) {
	o := serveOptions{handlers: defaultHandlers}
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	if handler == nil {
		return o, &Error{Code: CodeInvalidArgument, Msg: "the handler is nil"}
	}
	return o, nil
}

// panicked tells the caller of a request, and the program, that its handler panicked.
func panicked(logger *slog.Logger, m Message, value any) {
	if logger == nil {
		logger = slog.Default()
	}
	logger.Error("hostlane: a handler panicked", "panic", value, "stack", string(debug.Stack()))
	if m.call == nil {
		return
	}
	if err := m.Fail(m.call, HandlerFailed, fmt.Appendf(nil, "panic: %v", value)); err != nil && !errors.Is(err, ErrCallEnded) {
		logger.Warn("hostlane: the caller of a handler that panicked was not told", "error", err)
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

// receiver is the goroutine that receives, and what it has to do still. A handler that
// ends the goroutine by runtime.Goexit leaves that to another.
type receiver struct {
	*server
	// ready is what to wait for first, if anything; left tells that the loop waits for it.
	ready capi.Event
	left  bool
	// messages have been received and wait, in memory that is used again.
	messages []Message
	next     int
}

// start makes a new receiver.
func (s *server) start(ready capi.Event) {
	s.goroutines.Add(1)
	go (&receiver{server: s, ready: ready}).receive()
}

// receive is the life of a receiver, who is counted in goroutines.
func (r *receiver) receive() {
	defer r.goroutines.Done()
	for {
		if r.next == len(r.messages) {
			if err := r.take(); err != nil {
				r.err = err
				return
			}
			continue
		}
		m := r.messages[r.next]
		r.messages[r.next] = Message{}
		r.next++
		switch {
		case m.call == nil: // in order
			r.handle(m, r)
		case r.next < len(r.messages):
			r.goroutines.Add(1)
			go r.work(m)
		default:
			r.leave()
			if !r.goesOn(r.handle(m, r)) {
				return
			}
		}
	}
}

// goesOn tells whether r receives again after it handled a message: again if the place
// fell vacant meanwhile.
func (r *receiver) goesOn(again bool) bool {
	left := r.left
	r.left = false
	switch {
	case again:
		r.ready = capi.Event{}
	case !left:
		return false
	case r.peer.loop.Denotify(r.ready.Op):
		r.goroutines.Done() // the place that the loop kept
	default:
		return false
	}
	return true
}

// take receives messages, as many as may be handled now. ready may have brought one.
func (r *receiver) take() error {
	clear(r.messages)
	r.messages, r.next = r.messages[:0], 0
	ready := r.ready
	r.ready = capi.Event{}
	waited := ready.Pending()
	ready = r.peer.loop.Await(r.ctx, ready)
	if err := failureOf(r.ctx, &ready); err != nil {
		return err
	}
	if ready.Data != nil {
		r.expect(1)
		m := newMessage(r.peer, &ready.Received, r.ctx)
		if waited || m.call == nil || r.full() {
			r.messages = append(r.messages, m)
			return nil
		}
		r.goroutines.Add(1)
		go r.work(m) // more is likely to be here
	}
	in := inboxes.Get().(*capi.Inbox)
	defer inboxes.Put(in)
	r.mu.Lock()
	free := r.most - r.running // at least one, and the receiver alone takes it
	r.mu.Unlock()
	if err := r.peer.fill(r.ctx, in, min(serveBatch, free)); err != nil {
		return err
	}
	n := in.Len()
	r.expect(n)
	if n > 1 {
		r.peer.loop.ExpectMany()
	}
	in.Each(true, func(got capi.Received) {
		r.messages = append(r.messages, newMessage(r.peer, &got, r.ctx))
	})
	return nil
}

// leave gives the place of the receiver up, for as long as its owner handles a message:
// to the loop if another may receive.
func (r *receiver) leave() {
	r.mu.Lock()
	r.vacant = r.running == r.most
	vacant := r.vacant
	r.mu.Unlock()
	if vacant {
		return
	}
	op := capi.Op{Kind: capi.Recv, Channel: capi.AnyChannel, Peer: r.peer.handle, TimeoutMS: capi.Forever}
	ready := r.peer.loop.Context.Start(&op)
	if !ready.Pending() {
		r.start(ready) // more is here, or the end
		return
	}
	r.ready, r.left = ready, true
	r.goroutines.Add(1)
	s := r.server
	r.peer.loop.Notify(ready.Op, func(ev capi.Event) { go (&receiver{server: s, ready: ev}).receive() })
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

// work is the life of a goroutine that has one message to handle.
func (s *server) work(m Message) {
	if s.handle(m, nil) {
		(&receiver{server: s}).receive()
	} else {
		s.goroutines.Done()
	}
}

// handle handles m, and tells whether the caller is the receiver now. If the handler ends
// the goroutine, what r or work had to do behind it is done elsewhere.
func (s *server) handle(m Message, r *receiver) (receives bool) {
	returned := false
	defer func() {
		if !returned {
			if value := recover(); value != nil {
				panicked(s.peer.logger, m, value)
				returned = true
			}
		}
		receives = s.handled(m)
		switch {
		case returned:
		case r == nil && receives:
			go (&receiver{server: s}).receive()
		case r == nil:
			s.goroutines.Done()
		case m.call == nil || r.goesOn(receives):
			r.goroutines.Add(1)
			go r.receive()
		}
	}()
	if m.call == nil {
		s.handler(s.ctx, m)
	} else {
		s.handler(m.call, m)
	}
	returned = true
	return false
}

// handled is the end of a handler.
func (s *server) handled(m Message) (receives bool) {
	if m.call != nil {
		m.call.leave()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	receives, s.vacant = s.vacant, false
	return receives
}
