package loop

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// outgoing combines what goroutines start at the same time. The first becomes the
// flusher and starts all that is queued; one that finds it busy queues and leaves. So
// a burst is one C call, and one write per connection.
type outgoing struct {
	mu    sync.Mutex
	queue []*waiter
	spare []*waiter
	busy  bool
	// crowd is above 0 while bursts are likely: the flusher then lets the others run
	// first. It sinks each time that nobody came.
	crowd atomic.Int32

	// batch and events belong to the flusher.
	batch  capi.Batch
	events []capi.Event
}

const (
	// patience is how many times the flusher may find that nobody came.
	patience = 4
	// smallPayload is the most bytes that are copied to be combined with others; a
	// larger payload leaves straight from where it is.
	smallPayload = 8 << 10
	// rounds is how often one caller flushes for others before it goes its own way.
	rounds = 8
)

// combinable tells whether op may be started together with others.
func combinable(op *capi.Op) bool { return op.With == nil && len(op.Data) <= smallPayload }

// ExpectMany tells that several goroutines are about to start something.
func (l *Loop) ExpectMany() { l.out.crowd.Store(patience) }

// submit starts what w has to start, or leaves it to the flusher that is at it. It
// tells whether w's operation has been started.
func (l *Loop) submit(w *waiter) bool {
	o := &l.out
	o.mu.Lock()
	o.queue = append(o.queue, w)
	if o.busy {
		o.mu.Unlock()
		return false
	}
	o.busy = true
	o.mu.Unlock()
	if o.crowd.Load() > 0 {
		runtime.Gosched()
	}
	l.flush()
	return true
}

// flush starts what is queued, as the flusher.
func (l *Loop) flush() {
	o := &l.out
	for range rounds {
		o.mu.Lock()
		queue := o.queue
		if len(queue) == 0 {
			o.busy = false
			o.mu.Unlock()
			return
		}
		o.queue, o.spare = o.spare[:0], nil
		o.mu.Unlock()

		if len(queue) > 1 {
			o.crowd.Store(patience)
		} else if o.crowd.Load() > 0 {
			o.crowd.Add(-1)
		}
		l.startAll(queue)

		clear(queue)
		o.mu.Lock()
		o.spare = queue
		o.mu.Unlock()
	}
	go l.flush()
}

// startAll starts the operations of queue, and gives each waiter its number or, if it
// has finished, its result.
func (l *Loop) startAll(queue []*waiter) {
	o := &l.out
	o.events = o.events[:0]
	if len(queue) == 1 {
		o.events = append(o.events, l.Context.Start(&queue[0].start))
	} else {
		o.batch.Reset()
		for _, w := range queue {
			o.batch.Add(&w.start)
		}
		failure := l.Context.Submit(&o.batch)
		for i := range queue {
			if failure != nil {
				o.events = append(o.events, capi.Event{Status: failure.Status, Failure: failure})
			} else {
				o.events = append(o.events, o.batch.Take(i))
			}
		}
	}
	for _, op := range l.enlistAll(queue) {
		l.Context.Cancel(op)
	}
	clear(o.events)
}

// enlistAll tells which operations were given up before they had a number.
func (l *Loop) enlistAll(queue []*waiter) (given []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range queue {
		ev := &l.out.events[i]
		if !ev.Pending() {
			w.finish(*ev)
			continue
		}
		if w.given {
			given = append(given, ev.Op)
		}
		l.enlist(ev.Op, w)
	}
	return given
}
