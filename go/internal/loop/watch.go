package loop

import (
	"os"
	"syscall"
)

// watch is one way to wait for the context: a poll set that holds nothing but the
// context and is itself in Go's poller, so that conn is readable when the context
// is. Go's poller tells changes only; the methods make up for that.
type watch struct {
	set, context int
	conn         syscall.RawConn
}

func newWatch(context int, events uint32) (watch, error) {
	set, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return watch{}, err
	}
	w := watch{set: set, context: context}
	// Go's poller takes only what is non-blocking already. File.Fd must never be
	// called: it would set the descriptor blocking again.
	if err := syscall.SetNonblock(set, true); err != nil {
		syscall.Close(set)
		return watch{}, err
	}
	file := os.NewFile(uintptr(set), "hostlane") // owns the set from here on
	if err := w.control(syscall.EPOLL_CTL_ADD, events); err != nil {
		file.Close()
		return watch{}, err
	}
	w.conn, err = file.SyscallConn()
	if err != nil {
		file.Close()
	}
	return w, err
}

// ready tells whether the context has something to do. What was not ready now
// wakes the next who parks on conn, also if it happens before he does. An
// interrupted look counts as ready: it is taken again.
func (w watch) ready() bool {
	var event [1]syscall.EpollEvent
	n, err := syscall.EpollWait(w.set, event[:], 0)
	return n > 0 || err != nil
}

func (w watch) control(change int, events uint32) error {
	return syscall.EpollCtl(w.set, change, w.context, &syscall.EpollEvent{Events: events})
}

// edge is what syscall.EPOLLET is to the kernel.
const edge = 1 << 31

// newLeaderWatch is for the leader: always on, and ready tells the present state.
func newLeaderWatch(context int) (watch, error) { return newWatch(context, syscall.EPOLLIN) }

// newGuardWatch is for the guard: off until it is armed. The kernel forgets what
// ready has told, and only then tells the same again when it is armed anew.
func newGuardWatch(context int) (watch, error) { return newWatch(context, edge) }

// arm makes conn readable when the context is, also when it is so already.
func (w watch) arm() error { return w.control(syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|edge) }

// disarm lets conn rest, whatever the context does.
func (w watch) disarm() error { return w.control(syscall.EPOLL_CTL_MOD, edge) }
