package hostlane_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The raw side of the vectors: what it writes, and the frames that it reads.

// raw is the other side of whatever is tested.
type raw struct {
	t    *testing.T
	conn *net.UnixConn
}

// put writes bytes and waits until they were read, or nobody will.
func (r raw) put(b []byte) {
	r.t.Helper()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		r.conn.Write(b) // whoever found a fault hangs up in the middle
	}()
	select {
	case <-writing:
	case <-time.After(patience):
		r.t.Fatal("what arrives is not read")
	}
	control, err := r.conn.SyscallConn()
	must(r.t, err)
	eventually(r.t, "the bytes are read", func() bool {
		var unread int32
		gone := false
		must(r.t, control.Control(func(fd uintptr) {
			_, err := syscall.Getpeername(int(fd))
			_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&unread)))
			gone = err != nil || errno != 0
		}))
		return unread == 0 || gone
	})
}

// out is what the side under test sent: a frame, put together if it carries a message.
type out struct {
	kind      byte
	flags     byte
	channel   uint16
	id        uint64
	payload   []byte
	status    *uint32
	deadline  *uint64
	isMessage bool
}

var kinds = map[byte]string{
	0x03: "AUTH", 0x04: "READY", 0x05: "PING", 0x06: "PONG", 0x07: "GOAWAY", 0x08: "DRAIN_ACK", 0x09: "CLOSE", 0x0A: "ERROR",
	0x0B: "CREDIT", 0x0C: "CANCEL", 0x0D: "REFUSE", 0x10: "MESSAGE", 0x11: "REQUEST", 0x12: "RESPONSE", 0x13: "STREAM",
}

const (
	flagFirst, flagLast, flagExt, flagFin, flagStream = 0x01, 0x02, 0x04, 0x08, 0x10
	auth, kindClose, kindCredit, kindCancel           = 0x03, 0x09, 0x0B, 0x0C
)

// frames1 reads level 1 from now on.
func (r raw) frames1() chan out {
	found := make(chan out, 1024)
	go frames1(r.conn, found)
	return found
}

// frames1 reads frames of level 1 until the stream ends.
func frames1(r io.Reader, found chan<- out) {
	defer close(found)
	open := map[uint16]*out{}
	for {
		var header [16]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return
		}
		payload := make([]byte, binary.LittleEndian.Uint32(header[:]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		o := out{
			kind: header[4], flags: header[5], channel: binary.LittleEndian.Uint16(header[6:]),
			id: binary.LittleEndian.Uint64(header[8:]), payload: payload,
		}
		if kinds[o.kind] == "" {
			continue // NOP, GREASE and the like
		}
		if o.kind < 0x10 {
			found <- o
			continue
		}
		o.isMessage = true
		if o.flags&flagExt != 0 {
			length := 2 + int(binary.LittleEndian.Uint16(o.payload))
			o.extensions(o.payload[2:length])
			o.payload = o.payload[length:]
		}
		if o.flags&(flagFirst|flagLast) == flagFirst {
			o.payload = o.payload[4:]
		}
		if o.flags&flagFirst == 0 {
			first := open[o.channel]
			first.payload = append(first.payload, o.payload...)
			first.flags |= o.flags & flagLast
			o = *first
		}
		if o.flags&flagLast == 0 {
			open[o.channel] = &o
			continue
		}
		found <- o
	}
}

func (o *out) extensions(b []byte) {
	for len(b) >= 4 {
		kind, length := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		value := b[4 : 4+length]
		switch kind {
		case 1:
			told := binary.LittleEndian.Uint64(value)
			o.deadline = &told
		case 4:
			status := binary.LittleEndian.Uint32(value)
			o.status = &status
		}
		b = b[4+length:]
	}
}

// proofOf is what a side proves a secret by.
func proofOf(secret string, connector bool, request, response []byte) []byte {
	side := byte('a')
	if connector {
		side = 'c'
	}
	asked, answered := sha256.Sum256(request), sha256.Sum256(response)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(append([]byte("hostlane auth 1"), side))
	mac.Write(asked[:])
	mac.Write(answered[:])
	return mac.Sum(nil)
}
