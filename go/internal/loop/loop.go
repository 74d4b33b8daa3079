// Package loop waits, in Go's network poller, for the operations of the one
// hostlane context of the process.
//
// The context has a single descriptor that is readable whenever it has something
// to tell. Of the goroutines that wait, one leads: it parks on the descriptor,
// drains what has finished in short C calls and hands each result to its waiter.
// The leader gets its own result without any other goroutine being woken, which
// makes a round trip as fast as one on a bare socket; a goroutine that only hands
// over would cost half as much again. While nobody leads, a guard watches the
// descriptor, so that nothing ever depends on somebody waiting.
//
// Before it parks the leader may look for a moment; see spinner.
//
// What goroutines start at the same time goes into C in one call; see outgoing.
//
// No C call ever blocks, so a waiting goroutine costs no operating-system thread.
package loop

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// Loop is the context of the process and the goroutines that wait on it.
type Loop struct {
	// Context starts the operations that Await waits for.
	Context capi.Context

	fd      int   // of the context
	seat    *seat // parked on by the leader
	guard   guard // parked on by the guard, armed while nobody leads
	out     outgoing
	spinner spinner
	batch   batch // used by whoever drains
	left    bool  // by whoever drained last: the context has more

	mu sync.Mutex
	// leading tells that a goroutine drains the context, or parks to do so; chief is its
	// waiter, nil for the guard.
	leading bool
	chief   *waiter
	// guarded tells that the guard is armed.
	guarded bool
	// ends is Done of the context that cancels the chief's operation, and unwatch ends
	// that. It stays from one leader to the next, who often has the same context.
	ends    <-chan struct{}
	unwatch func() bool
	// waiting holds who waits for which pending operation.
	waiting map[uint64]*waiter
	// early holds results that came in between the start of an operation and the
	// moment its starter asked for them.
	early map[uint64]capi.Event
	// broken is set, with the lock held, when the context itself failed: nothing will
	// complete any more.
	broken atomic.Pointer[capi.Failure]
}

// waiter gets the result of one operation: in event, told by done, or by call.
type waiter struct {
	event capi.Event
	done  chan struct{} // one slot, so that handing over never blocks the leader
	call  func(capi.Event)

	// start is what the outgoing queue has to start; id is its number once it is
	// pending, and given tells that it is to be cancelled then. Both belong to Loop.mu.
	start capi.Op
	id    uint64
	given bool
}

var waiters = sync.Pool{New: func() any { return &waiter{done: make(chan struct{}, 1)} }}

func (w *waiter) recycle() {
	*w = waiter{done: w.done}
	waiters.Put(w)
}

// batch is the memory between the C call and the hand-over.
type batch struct {
	events [capi.BatchSize]capi.Event
	owners [capi.BatchSize]*waiter
}

// Do starts op and waits for its result, as Await does.
func (l *Loop) Do(ctx context.Context, op *capi.Op) capi.Event {
	if !combinable(op) {
		return l.Await(ctx, l.Context.Start(op))
	}
	w := waiters.Get().(*waiter)
	w.start = *op
	if l.submit(w) {
		l.lead(ctx, w)
	}
	return l.follow(ctx, w)
}

// Await returns the finished form of ev, which was just started with ctx. When ctx
// ends first the operation is cancelled, and the answer to that is awaited, not
// assumed: either the cancellation or a result that was faster, such as a message
// that would be lost if it were thrown away. It comes at once.
func (l *Loop) Await(ctx context.Context, ev capi.Event) capi.Event {
	if !ev.Pending() {
		return ev
	}
	w := waiters.Get().(*waiter)
	l.mu.Lock()
	l.enlist(ev.Op, w)
	l.mu.Unlock()
	l.lead(ctx, w)
	return l.follow(ctx, w)
}

// Notify has call called when the pending operation op finishes, however it does;
// from any goroutine, which it must not keep waiting.
func (l *Loop) Notify(op uint64, call func(capi.Event)) {
	w := &waiter{call: call}
	l.mu.Lock()
	l.enlist(op, w)
	finished := w.id == 0
	l.mu.Unlock()
	if finished {
		call(w.event)
	}
}

// Denotify undoes Notify, if the call has not been made and will not be. The
// operation is to be awaited by somebody else then.
func (l *Loop) Denotify(op uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.waiting[op]; w == nil || w.call == nil {
		return false
	}
	delete(l.waiting, op)
	return true
}

// follow waits for the result that another goroutine hands over, or that the caller
// handed to itself as the leader.
func (l *Loop) follow(ctx context.Context, w *waiter) capi.Event {
	select {
	case <-w.done: // a leader's own result spares it the costlier choice below
	default:
		select {
		case <-w.done:
		case <-ctx.Done():
			// An operation that has just finished is unknown to the core; its result
			// is on the way and wins.
			l.giveUp(w)
			<-w.done
		}
	}
	event := w.event
	w.recycle()
	return event
}

// giveUp cancels what w waits for, as soon as it has been started.
func (l *Loop) giveUp(w *waiter) {
	l.mu.Lock()
	id := w.id
	w.given = true
	l.mu.Unlock()
	if id != 0 {
		l.Context.Cancel(id)
	}
}

// enlist makes w wait for op, or gives it the result that is here already. Call it
// with the lock held.
func (l *Loop) enlist(op uint64, w *waiter) {
	if result, ok := l.early[op]; ok {
		delete(l.early, op)
		w.finish(result)
		return
	}
	if failure := l.broken.Load(); failure != nil {
		w.finish(capi.Event{Op: op, Status: failure.Status, Failure: failure})
		return
	}
	w.id = op
	l.waiting[op] = w
}

// finish gives w its result. One that is to be called is called by the caller.
func (w *waiter) finish(event capi.Event) {
	w.event = event
	if w.call == nil {
		w.done <- struct{}{}
	}
}

// watch makes sure that somebody watches the descriptor. Call it with the lock held.
func (l *Loop) watch() {
	if l.leading || l.guarded || l.broken.Load() != nil {
		return
	}
	l.guarded = true
	if err := l.guard.arm(); err != nil {
		l.breakDown(capi.OSFailure("arm the guard", err))
	}
}

// lead makes the owner of w the leader, if w still waits and there is none, until
// something was handed out, to it or to another: that one is running now and the most
// likely to wait again, so it should lead.
func (l *Loop) lead(ctx context.Context, w *waiter) {
	for l.claim(ctx, w) {
		served := l.leadOnce()
		if l.resign(); served {
			return
		}
	}
}

// claim makes the owner of w the leader.
func (l *Loop) claim(ctx context.Context, w *waiter) bool {
	l.mu.Lock()
	// Only what is in the map has neither finished nor is still to be started.
	if l.leading || l.broken.Load() != nil || w.id == 0 || l.waiting[w.id] != w {
		l.mu.Unlock()
		return false
	}
	l.leading, l.chief = true, w
	known := l.follows(ctx)
	l.mu.Unlock()
	if known && ctx.Err() != nil {
		l.giveUp(w) // what was to do so may have been here before
	}
	return true
}

// follows makes the end of ctx cancel the operation of the chief, who is parked and
// cannot look at it: cancelling finishes the operation, which wakes the chief. It tells
// whether that was so before. Call it with the lock held.
func (l *Loop) follows(ctx context.Context) (known bool) {
	done := ctx.Done()
	if done == l.ends {
		return true
	}
	if l.unwatch != nil {
		l.unwatch()
	}
	l.ends, l.unwatch = done, nil
	if done != nil {
		l.unwatch = context.AfterFunc(ctx, func() { l.ended(done) })
	}
	return false
}

func (l *Loop) ended(done <-chan struct{}) {
	l.mu.Lock()
	var op uint64
	if l.chief != nil && l.ends == done {
		op = l.chief.id
	}
	l.mu.Unlock()
	if op != 0 {
		l.Context.Cancel(op)
	}
}

// leadOnce waits, drains, and tells whether somebody was served. In a crowd the processor
// is for those who have something to do.
func (l *Loop) leadOnce() bool {
	if l.out.crowd.Load() == 0 && l.spinner.worth() {
		l.sendAway()
		if l.spinner.spin(l.fd) {
			return l.drain() > 0
		}
	}
	if err := l.seat.park(); err != nil {
		return l.fail(capi.OSFailure("wait for the context", err)) > 0
	}
	return l.drain() > 0
}

// sendAway sends the guard away, and tells whether there is something to do already.
func (l *Loop) sendAway() bool {
	l.mu.Lock()
	if l.guarded {
		l.guarded = false
		if err := l.guard.disarm(); err != nil {
			l.breakDown(capi.OSFailure("disarm the guard", err))
		}
	}
	l.mu.Unlock()
	return readable(l.fd)
}

// resign makes room for the next leader; until there is one the guard watches. What is left
// changes nothing about the descriptor: a goroutine of its own leads until all is taken.
func (l *Loop) resign() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chief = nil
	if l.left {
		go l.goOn()
		return
	}
	l.leading = false
	l.watch()
}

// goOn leads where somebody left something.
func (l *Loop) goOn() {
	l.drain()
	for l.left {
		runtime.Gosched() // those who were woken go first
		l.drain()
	}
	l.resign()
}

// standBy is the goroutine of the guard: it drains what comes while nobody leads. It
// never leaves Read, which would miss a change before the next.
func (l *Loop) standBy() {
	err := l.guard.conn.Read(func(uintptr) bool {
		l.guard.forget()
		l.mu.Lock()
		leads := !l.leading && l.broken.Load() == nil // what it was told may be over
		if leads {
			l.leading, l.guarded = true, false
		}
		l.mu.Unlock()
		if leads {
			l.drain()
			l.resign()
		}
		return false
	})
	l.fail(capi.OSFailure("wait for the context", err))
}

// turns are those in which a leader takes what the context has, at most: a peer that never
// stops sending would keep a goroutine from its own result for as long as it likes.
const turns = 8

// drain hands out what the context has, says in left whether that was not all, and returns
// how many goroutines it woke. Only who leads calls it.
func (l *Loop) drain() (woken int) {
	l.left = false
	for turn := 1; ; turn++ {
		n, more, failure := l.Context.Process(l.batch.events[:])
		if failure != nil {
			return woken + l.fail(failure)
		}
		events, owners := l.batch.events[:n], l.batch.owners[:n]
		l.assign(events, owners)
		for i, w := range owners {
			switch {
			case w == nil:
			case w.call != nil:
				w.call(events[i])
			default:
				w.done <- struct{}{}
				woken++
			}
		}
		clear(events)
		clear(owners)
		if woken > 1 {
			l.ExpectMany()
		}
		if l.left = more && turn == turns; l.left || !more {
			return woken
		}
	}
}

// assign gives each event to its waiter, who is woken after the lock is gone.
func (l *Loop) assign(events []capi.Event, owners []*waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		ev := &events[i]
		w := l.waiting[ev.Op]
		if w == nil {
			l.early[ev.Op] = *ev
			continue
		}
		delete(l.waiting, ev.Op)
		if w.call == nil {
			w.event = *ev
		}
		owners[i] = w
	}
}

// fail ends every wait, now and later: without the context nothing completes.
func (l *Loop) fail(failure *capi.Failure) (woken int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.breakDown(failure)
}

// examine ends every wait if a fault took the context along, of which its descriptor
// tells nothing.
func (l *Loop) examine() {
	if l.Context.Gone() {
		l.fail(capi.Lost())
	}
}

// breakDown is fail with the lock held.
func (l *Loop) breakDown(failure *capi.Failure) (woken int) {
	if l.Context.Gone() {
		failure = capi.Lost() // whatever showed it
	}
	if !l.broken.CompareAndSwap(nil, failure) {
		failure = l.broken.Load() // what came first is the cause
	}
	for op, w := range l.waiting {
		delete(l.waiting, op)
		event := capi.Event{Op: op, Status: failure.Status, Failure: failure}
		if w.call != nil {
			go w.call(event)
		} else {
			w.finish(event) // w may be another's from here on
		}
		woken++
	}
	l.seat.wake() // whatever is wrong with it; the leader has its result
	return woken
}
