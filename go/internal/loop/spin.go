package loop

import (
	"runtime"
	"time"
)

// spinner decides when the leader looks again and again for a moment before it parks. To
// park costs a wake-up, mostly on another processor, because the kernel does not take the
// one that wakes us through two poll sets for a good place. A look that finds something is
// much sooner, and one in vain is lost, so the spinner keeps score, as the core's does. It
// belongs to the leader.
type spinner struct{ score, waits int }

const (
	// spinFor is how long a leader looks at most: longer than the other side takes to wake
	// up, or two who sleep would never find each other awake.
	spinFor = 60 * time.Microsecond
	// spinBest is the best score. A look in vain costs as much as spinMiss others gained,
	// and without a score there is a new try after spinRetry waits.
	spinBest, spinMiss, spinRetry = 16, 4, 4096
)

// worth tells whether to spin now: not with a single processor, which the others need.
func (s *spinner) worth() bool {
	if s.waits--; s.waits < 0 {
		s.waits, s.score = spinRetry, 0
		if runtime.GOMAXPROCS(0) > 1 {
			s.score = spinBest
		}
	}
	return s.score > 0
}

// spin looks until the descriptor is readable, and tells whether.
func (s *spinner) spin(fd int) bool {
	for start := time.Now(); ; {
		if readable(fd) {
			s.score = min(s.score+1, spinBest)
			return true
		}
		if time.Since(start) > spinFor {
			s.score = max(s.score-spinMiss, 0)
			return false
		}
	}
}
