package loop

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// nest is a descriptor in Go's poller, which tells changes only.
type nest struct {
	file *os.File
	conn syscall.RawConn
}

// inPoller gives the descriptor to Go's poller, which closes it, here if it fails.
func inPoller(fd int) (n nest, err error) {
	// Go's poller takes only what is non-blocking already. File.Fd must never be
	// called: it would set the descriptor blocking again.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nest{}, err
	}
	n.file = os.NewFile(uintptr(fd), "hostlane") // owns the descriptor from here on
	if n.conn, err = n.file.SyscallConn(); err != nil {
		n.file.Close()
	}
	return n, err
}

// seat is where the leader parks: the context's own descriptor. Go's poller forgets at
// each park what it told while nobody was parked.
type seat struct {
	nest
	// before is called by park when no change is missed any more, and tells whether there
	// is something to do already.
	before func() bool
	// step and parked are park's.
	step   func(uintptr) bool
	parked bool
}

func newSeat(context int) (*seat, error) {
	// The context keeps its own descriptor.
	own, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(context), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return nil, errno
	}
	n, err := inPoller(int(own))
	if err != nil {
		return nil, err
	}
	s := &seat{nest: n}
	s.step = func(uintptr) bool {
		woken := s.parked
		s.parked = true
		return woken || s.before()
	}
	return s, nil
}

// park waits until there may be something to do. One goroutine at a time may.
func (s *seat) park() error {
	s.parked = false
	return s.conn.Read(s.step)
}

// wake ends every park with an error.
func (s *seat) wake() error { return s.file.SetReadDeadline(time.Unix(1, 0)) }

// readable tells whether a descriptor is so now. When the kernel does not tell, it counts
// as such: it is looked at again.
func readable(fd int) bool {
	poll := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: 1} // POLLIN
	var now syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return n > 0 || errno != 0
}

// guard is a second way to wait for the context, that can be turned off: a poll set
// that holds nothing but the context and is itself in Go's poller.
type guard struct {
	nest
	set, context int
}

func newGuard(context int) (guard, error) {
	set, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return guard{}, err
	}
	g := guard{set: set, context: context}
	if g.nest, err = inPoller(set); err != nil {
		return guard{}, err
	}
	if err := g.control(syscall.EPOLL_CTL_ADD, edge); err != nil {
		g.file.Close()
		return guard{}, err
	}
	return g, nil
}

// edge is what syscall.EPOLLET is to the kernel.
const edge = 1 << 31

// arm makes conn readable when the context is, also when it is so already.
func (g guard) arm() error { return g.control(syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|edge) }

// disarm lets conn rest, whatever the context does.
func (g guard) disarm() error { return g.control(syscall.EPOLL_CTL_MOD, edge) }

// forget has the kernel forget what it has told, so that it tells the same again when it
// is armed anew.
func (g guard) forget() {
	var event [1]syscall.EpollEvent
	syscall.EpollWait(g.set, event[:], 0)
}

// control never waits, so Go's scheduler need not know.
func (g guard) control(change int, events uint32) error {
	event := syscall.EpollEvent{Events: events}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(g.set), uintptr(change), uintptr(g.context),
		uintptr(unsafe.Pointer(&event)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
