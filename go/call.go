package hostlane

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// call is a request of the other side, and the context that tells whether its answer is
// still wanted. The core is asked to tell only once somebody listens.
type call struct {
	peer     *Peer // or
	link     *Link
	id       uint64
	streams  bool
	parent   context.Context
	deadline time.Time
	late     time.Time // from here on its end is the deadline's; see lastMoments

	mu      sync.Mutex
	message capi.Message // the duty to answer; zero once it is fulfilled
	cleanup runtime.Cleanup
	kept    bool // by cleanup
	stream  *Stream
	context context.Context
}

// lastMoments of a call belong to its deadline. A caller whose deadline passes says the
// same as one that gives up, and its deadline is the earlier one by the time the request
// took to arrive. What is learnt this close to the deadline, or in the second half of a
// shorter call, is therefore left to the timer to tell.
const lastMoments = 20 * time.Millisecond

// longest is what a deadline says at most, in milliseconds: a hundred years. More may be no
// time.Duration, and later than any time.Time.
const longest = 100 * 365 * 24 * 3600 * 1000

func newCall(r *capi.Received, parent context.Context) *call {
	c := &call{id: r.CallID, streams: r.Stream, parent: parent, message: r.Message}
	if r.TimeoutMS >= 0 {
		// Whole milliseconds, rounded down: a context that ends before the call does would have
		// its handler abandon what should time out.
		left := time.Duration(min(r.TimeoutMS, longest)+1) * time.Millisecond
		c.deadline = time.Now().Add(left)
		c.late = c.deadline.Add(-min(lastMoments, left/2))
	}
	return c
}

// keep has the garbage collector abandon the call when it is forgotten.
func (c *call) keep() {
	c.kept = true
	c.cleanup = runtime.AddCleanup(c, capi.Message.Free, c.message)
}

// take gives the duty to answer to the caller; zero when it is fulfilled.
func (c *call) take() capi.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.message
	c.message = capi.Message{}
	if c.kept && !m.IsZero() {
		c.cleanup.Stop()
	}
	return m
}

// giveBack undoes take after an answer that was not accepted.
func (c *call) giveBack(m capi.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.message = m
	if c.kept {
		c.keep()
	}
}

func (c *call) abandon() {
	if m := c.take(); !m.IsZero() {
		m.Free()
		c.closeStream() // an open stream is a duty of its own
	}
}

// leave is the end of a handler.
func (c *call) leave() {
	c.abandon()
	c.closeStream()
}

func (c *call) closeStream() {
	c.mu.Lock()
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

func (c *call) answer(ctx context.Context, op capi.Op) error {
	if ctx == context.Context(c) {
		// The core knows whether the call goes on: it need not be watched for this.
		ctx = c.parent
	}
	ms, err := timeoutOf(ctx)
	if err != nil {
		return err
	}
	m := c.take()
	if m.IsZero() {
		return &Error{Code: CodeCallEnded, Msg: "the call was answered already"}
	}
	if c.link != nil {
		return c.answered(m, c.link.answer(m, &op))
	}
	op.Message, op.Peer, op.TimeoutMS = m, c.peer.handle, ms
	ev := c.peer.loop.Do(ctx, &op)
	if err := c.peer.end(ctx, &ev); err != nil {
		c.giveBack(m)
		return err
	}
	if ev.Op != 0 {
		m.Free() // of an answer that had to wait
	}
	return nil
}

// answered frees the message of an answer that was accepted.
func (c *call) answered(m capi.Message, err error) error {
	if err != nil {
		c.giveBack(m)
		return err
	}
	m.Free()
	return nil
}

func (c *call) openStream() (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream != nil {
		return c.stream, nil
	}
	if c.message.IsZero() {
		return nil, &Error{Code: CodeCallEnded, Msg: "the call was answered already"}
	}
	if c.link != nil {
		return nil, &Error{Code: CodeUnsupported, Msg: "a link has no streams"}
	}
	handle, failure := c.message.Stream()
	if failure != nil {
		return nil, errorOf(failure)
	}
	c.stream = newStream(c.peer, handle)
	return c.stream, nil
}

// watched gives the context that the core ends, from the first time on.
func (c *call) watched() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.context != nil {
		return c.context
	}
	watched, cancel := context.WithCancelCause(c.parent)
	end := func() { cancel(ErrCallEnded) }
	if !c.deadline.IsZero() {
		timed, stop := context.WithDeadline(watched, c.deadline)
		late := c.late // not c itself, which is let go when the program forgets it
		watched, end = timed, func() {
			if time.Now().Before(late) {
				cancel(ErrCallEnded)
				stop()
			}
		}
	}
	c.context = watched
	if c.message.IsZero() {
		end()
		return watched
	}
	if c.link != nil {
		c.link.callEnded(c.message, end)
		return watched
	}
	op := capi.Op{Kind: capi.CallEnded, Peer: c.peer.handle, Message: c.message, TimeoutMS: capi.Forever}
	if ev := c.peer.loop.Context.Start(&op); ev.Pending() {
		c.peer.loop.Notify(ev.Op, func(capi.Event) { end() })
	} else {
		end()
	}
	return watched
}

// The methods of context.Context.

func (c *call) Deadline() (time.Time, bool) {
	theirs, ok := c.parent.Deadline()
	if c.deadline.IsZero() || ok && theirs.Before(c.deadline) {
		return theirs, ok
	}
	return c.deadline, true
}

func (c *call) Done() <-chan struct{} { return c.watched().Done() }

func (c *call) Err() error { return c.watched().Err() }

// Value asks the watched context, because package context recognises its own contexts
// by a value, and spares a goroutine for each child then.
func (c *call) Value(key any) any { return c.watched().Value(key) }
