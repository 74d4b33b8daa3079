package loop

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// Link drives one link: a goroutine parks on its descriptor in Go's poller, takes all
// results in one short C call and hands each to its waiter. What arrives stays in the
// core, where it holds the other side back, until somebody receives.
type Link struct {
	Handle capi.Link

	poller nest
	// arrived has a token when there may be something to receive; ended is closed when
	// the link is over and all results have been handed out.
	arrived chan struct{}
	ended   chan struct{}

	mu      sync.Mutex
	waiting map[uint64]*waiter
	// early holds results that came in between the start of an operation and the moment
	// its starter asked for them.
	early  map[uint64]capi.Event
	broken *capi.Failure
	closed bool

	// receiving holds a token while somebody receives, who owns inbox and events then.
	receiving chan struct{}
	inbox     *capi.LinkBatch
	received  [capi.BatchSize]capi.Event
	events    []capi.Event // of received, those that nobody took
}

// OpenLink opens a link and starts its goroutine, which ends with the link.
func OpenLink(addr string, o *capi.LinkOptions) (*Link, *capi.Failure) {
	if failure := capi.CheckVersion(); failure != nil {
		return nil, failure
	}
	handle, failure := capi.OpenLink(addr, o)
	if failure != nil {
		return nil, failure
	}
	l := &Link{
		Handle:    handle,
		arrived:   make(chan struct{}, 1),
		ended:     make(chan struct{}),
		waiting:   make(map[uint64]*waiter),
		early:     make(map[uint64]capi.Event),
		receiving: make(chan struct{}, 1),
		inbox:     new(capi.LinkBatch),
	}
	if failure := l.watch(); failure != nil {
		handle.Close()
		return nil, failure
	}
	go l.drive()
	return l, nil
}

func (l *Link) watch() *capi.Failure {
	fd, failure := l.Handle.FD()
	if failure != nil {
		return failure
	}
	own, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return capi.OSFailure("watch the link", errno)
	}
	poller, err := inPoller(int(own))
	if err != nil {
		return capi.OSFailure("watch the link", err)
	}
	l.poller = poller
	return nil
}

// drive is the life of the goroutine.
func (l *Link) drive() {
	defer l.poller.file.Close()
	batch := new(capi.LinkBatch)
	var events [capi.BatchSize]capi.Event
	parked := false
	step := func(fd uintptr) bool {
		woken := parked
		parked = true
		return woken || readable(int(fd))
	}
	for {
		parked = false
		err := l.poller.conn.Read(step)
		failure := l.turn(batch, events[:])
		if failure == nil && err != nil {
			failure = capi.OSFailure("wait for the link", err)
		}
		if failure != nil {
			l.fail(failure)
			return
		}
	}
}

// turn hands out all results.
func (l *Link) turn(batch *capi.LinkBatch, events []capi.Event) *capi.Failure {
	for {
		n, more, waiting, failure := l.Handle.Turn(batch, events)
		if failure != nil {
			return failure
		}
		if waiting {
			l.tell()
		}
		for i := range events[:n] {
			l.finish(events[i])
			events[i] = capi.Event{}
		}
		if !more {
			return nil
		}
	}
}

// tell wakes somebody who receives.
func (l *Link) tell() {
	select {
	case l.arrived <- struct{}{}:
	default: // told already
	}
}

func (l *Link) finish(event capi.Event) {
	l.mu.Lock()
	w := l.waiting[event.Op]
	if w == nil {
		l.early[event.Op] = event
	}
	delete(l.waiting, event.Op)
	l.mu.Unlock()
	switch {
	case w == nil:
	case w.call != nil:
		w.call(event)
	default:
		w.finish(event)
	}
}

// enlist makes w wait for op, or tells that it has its result.
func (l *Link) enlist(op uint64, w *waiter) (finished bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if event, ok := l.early[op]; ok {
		delete(l.early, op)
		w.event = event
		return true
	}
	if l.broken != nil {
		w.event = over(op, l.broken)
		return true
	}
	l.waiting[op] = w
	return false
}

// over is the end of an operation whose link is gone: what became of it nobody knows.
func over(op uint64, failure *capi.Failure) capi.Event {
	f := *failure
	f.MaybeSent = true
	return capi.Event{Op: op, Status: f.Status, Failure: &f}
}

// Await waits for the result of what was just started with ctx. When ctx ends first the
// call is given up, and the answer to that awaited; it comes at once.
func (l *Link) Await(ctx context.Context, started capi.Event) capi.Event {
	if !started.Pending() {
		return started
	}
	w := waiters.Get().(*waiter)
	if !l.enlist(started.Op, w) {
		select {
		case <-w.done:
		case <-ctx.Done():
			l.Handle.Cancel(started.Op)
			<-w.done
		}
	}
	event := w.event
	w.recycle()
	return event
}

// Notify has call called when op finishes, from any goroutine.
func (l *Link) Notify(op uint64, call func(capi.Event)) {
	w := &waiter{call: call}
	if l.enlist(op, w) {
		call(w.event)
	}
}

// Receive waits for the next event.
func (l *Link) Receive(ctx context.Context) (capi.Event, *capi.Failure, error) {
	select {
	case l.receiving <- struct{}{}:
	case <-ctx.Done():
		return capi.Event{}, nil, ctx.Err()
	}
	defer func() { <-l.receiving }()
	if l.IsClosed() {
		l.abandon()
	}
	for over := false; len(l.events) == 0; {
		n, more, failure := l.Handle.Events(l.inbox, l.received[:])
		if failure != nil {
			return capi.Event{}, failure, nil
		}
		l.events = l.received[:n]
		if more {
			l.tell()
		}
		if n > 0 {
			break
		}
		if over {
			return capi.Event{}, l.broken, nil
		}
		select {
		case <-l.arrived:
		case <-l.ended:
			over = true // what came until then is received first
		case <-ctx.Done():
			return capi.Event{}, nil, ctx.Err()
		}
	}
	event := l.events[0]
	l.events[0] = capi.Event{}
	l.events = l.events[1:]
	return event, nil, nil
}

// fail ends every wait, now and later.
func (l *Link) fail(failure *capi.Failure) {
	l.mu.Lock()
	l.broken = failure
	left := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for op, w := range left {
		if event := over(op, failure); w.call != nil {
			w.call(event)
		} else {
			w.finish(event)
		}
	}
	close(l.ended)
}

// Close ends the link and wakes everybody who waits. Only the first time gives no failure.
func (l *Link) Close() *capi.Failure {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	failure := l.Handle.Close()
	l.poller.file.SetReadDeadline(time.Unix(1, 0)) // the goroutine finds out by itself, or by this
	if first {
		go l.discard()
	}
	return failure
}

// discard abandons what was received and nobody took.
func (l *Link) discard() {
	l.receiving <- struct{}{}
	defer func() { <-l.receiving }()
	l.abandon()
}

func (l *Link) abandon() {
	for _, event := range l.events {
		if !event.Message.IsZero() {
			event.Message.Free()
		}
	}
	l.events = nil
}

// IsClosed tells whether Close was called.
func (l *Link) IsClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
