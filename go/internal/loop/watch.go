package loop

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// nest is where a goroutine parks: a descriptor in Go's poller, which tells changes
// only, and forgets at the next park what it told while nobody was parked.
type nest struct {
	file *os.File
	conn syscall.RawConn
	// before is called by park when no change is missed any more, and tells whether there
	// is something to do already.
	before func() bool
	// step and parked are park's.
	step   func(uintptr) bool
	parked bool
}

func newNest(context int) (*nest, error) {
	// The context keeps its own descriptor.
	own, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(context), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return nil, errno
	}
	return inPoller(int(own))
}

// inPoller gives the descriptor to Go's poller, which closes it, here if it fails.
func inPoller(fd int) (*nest, error) {
	// Go's poller takes only what is non-blocking already. File.Fd must never be
	// called: it would set the descriptor blocking again.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	n := &nest{file: os.NewFile(uintptr(fd), "hostlane")} // owns the descriptor from here on
	n.step = func(uintptr) bool {
		woken := n.parked
		n.parked = true
		return woken || n.before()
	}
	var err error
	if n.conn, err = n.file.SyscallConn(); err != nil {
		n.file.Close()
		return nil, err
	}
	return n, nil
}

// park waits until there may be something to do. One goroutine at a time may.
func (n *nest) park() error {
	n.parked = false
	return n.conn.Read(n.step)
}

// wake ends every park with an error.
func (n *nest) wake() error { return n.file.SetReadDeadline(time.Unix(1, 0)) }

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
	*nest
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
	g.before = func() bool { return false } // arming it tells everything
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
