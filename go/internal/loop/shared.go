package loop

import (
	"sync"
	"sync/atomic"

	"github.com/hostlane/hostlane/go/internal/capi"
)

var (
	shared   atomic.Pointer[Loop]
	creating sync.Mutex
)

func init() {
	capi.Faulted = func() {
		if l := shared.Load(); l != nil {
			go l.examine() // its lock may be held here
		}
	}
}

// Shared returns the loop of the process, made at the first call, and again when its
// context was lost. A failure, such as having no descriptor left, is reported and the
// next call tries again.
func Shared() (*Loop, *capi.Failure) {
	if l := shared.Load(); l != nil && l.broken.Load() == nil {
		return l, nil
	}
	creating.Lock()
	defer creating.Unlock()
	if l := shared.Load(); l != nil {
		if l.broken.Load() == nil {
			return l, nil
		}
		l.abandon()
	}
	if failure := capi.CheckVersion(); failure != nil {
		return nil, failure
	}
	c, fd, failure := capi.NewContext()
	if failure != nil {
		return nil, failure
	}
	l, err := newLoop(c, fd)
	if err != nil {
		c.Close()
		return nil, capi.OSFailure("watch the context descriptor", err)
	}
	shared.Store(l)
	return l, nil
}

// abandon gives back what a loop that broke down has: nobody waits on it any more, and
// the other sides of its connections are told.
func (l *Loop) abandon() {
	l.Context.Abandon()
	l.seat.file.Close()
	l.guard.file.Close() // which ends standBy
}

func newLoop(c capi.Context, fd int) (*Loop, error) {
	s, err := newSeat(fd)
	if err != nil {
		return nil, err
	}
	g, err := newGuard(fd)
	if err != nil {
		s.file.Close()
		return nil, err
	}
	l := &Loop{
		Context: c,
		fd:      fd,
		seat:    s,
		guard:   g,
		waiting: make(map[uint64]*waiter),
		early:   make(map[uint64]capi.Event),
	}
	s.before = l.sendAway
	l.mu.Lock()
	l.watch()
	l.mu.Unlock()
	go l.standBy()
	return l, nil
}
