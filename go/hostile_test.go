package hostlane_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

func TestHostileFrames(t *testing.T) {
	oversized := binary.LittleEndian.AppendUint32([]byte("IP"), 16<<20+1)
	oversized = binary.LittleEndian.AppendUint16(oversized, 2)
	flood := []byte(strings.Repeat(string(frame(control, `{"type":"pong"}`)), 2000))
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"bad magic":           {[]byte("XX\x00\x00\x00\x00\x02\x00"), hostlane.ErrBadMagic},
		"http":                {[]byte("GET / HTTP/1.1\r\n\r\n"), hostlane.ErrBadMagic},
		"oversize":            {oversized, hostlane.ErrFrameTooLarge},
		"largest length":      {[]byte("IP\xff\xff\xff\xff\x02\x00"), hostlane.ErrFrameTooLarge},
		"unknown channel":     {frame(99, "x"), hostlane.ErrUnknownChannel},
		"unagreed channel":    {frame(256, "x"), hostlane.ErrUnknownChannel},
		"unknown control":     {frame(control, `{"type":"dance"}`), hostlane.ErrUnknownControl},
		"control not JSON":    {frame(control, "\x00\xff"), hostlane.ErrBadControl},
		"control untyped":     {frame(control, `{}`), hostlane.ErrBadControl},
		"control flood":       {flood, hostlane.ErrControlFlood},
		"after a good one":    {append(frame(2, "good"), "XX\x00\x00\x00\x00\x02\x00"...), hostlane.ErrBadMagic},
		"hidden in the queue": {append(frame(2, "good"), frame(99, "x")...), hostlane.ErrUnknownChannel},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := rawPair(t)
			go conn.Write(c.bytes) // the other side may hang up in the middle
			m, err := peer.Recv(testCtx(t))
			if err == nil {
				if string(m.Data) != "good" {
					t.Fatalf("received %q", m.Data)
				}
				_, err = peer.Recv(testCtx(t))
			}
			mustBe(t, err, c.want)
			_, err = peer.Recv(testCtx(t))
			if err == nil {
				t.Fatal("a broken connection went on")
			}
		})
	}
}

func TestTruncatedAtEveryByte(t *testing.T) {
	whole := frame(2, "hello")
	for n := range len(whole) + 1 {
		conn, peer := rawPair(t)
		write(t, conn, whole[:n])
		must(t, conn.Close())
		m, err := peer.Recv(testCtx(t))
		switch n {
		case 0:
			mustBe(t, err, hostlane.ErrPeerClosed)
		case len(whole):
			must(t, err)
			if string(m.Data) != "hello" {
				t.Fatalf("received %q", m.Data)
			}
			_, err = peer.Recv(testCtx(t))
			mustBe(t, err, hostlane.ErrPeerClosed)
		default:
			if mustBe(t, err, hostlane.ErrTruncated); t.Failed() {
				t.Fatalf("cut after %d bytes", n)
			}
		}
	}
}

func TestOneByteAtATimeAndManyAtOnce(t *testing.T) {
	conn, peer := rawPair(t)
	go func() {
		for _, b := range frame(2, "slow") {
			conn.Write([]byte{b})
		}
		var many []byte
		for i := range 1000 {
			many = append(many, frame(2, fmt.Sprint(i))...)
		}
		conn.Write(many)
	}()
	m, err := peer.Recv(testCtx(t))
	must(t, err)
	if string(m.Data) != "slow" {
		t.Fatalf("received %q", m.Data)
	}
	for i := range 1000 {
		m, err := peer.Recv(testCtx(t))
		must(t, err)
		if string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("received %q, want %d", m.Data, i)
		}
	}
}

func TestHostileClientsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		want  hostlane.Code
	}{
		"bad magic":        {[]byte("GET / HTTP/1.1\r\n\r\n"), hostlane.CodeBadMagic},
		"not JSON":         {frame(control, "hello"), hostlane.CodeBadHandshake},
		"invalid UTF-8":    {frame(control, "\xff\xfe"), hostlane.CodeBadHandshake},
		"member missing":   {frame(control, `{"protocol":"ipcprims"}`), hostlane.CodeBadHandshake},
		"control offered":  {frame(control, strings.Replace(hello, "[1,", "[0,", 1)), hostlane.CodeBadHandshake},
		"version no":       {frame(control, strings.Replace(hello, "1.0", "one", 1)), hostlane.CodeBadHandshake},
		"other protocol":   {frame(control, strings.Replace(hello, "ipcprims", "telegraph", 1)), hostlane.CodeProtocolMismatch},
		"other version":    {frame(control, strings.Replace(hello, "1.0", "2.0", 1)), hostlane.CodeVersionMismatch},
		"no channel":       {frame(control, strings.Replace(hello, "[1,2,3,4]", "[300]", 1)), hostlane.CodeNoCommonChannel},
		"too large":        {frame(control, strings.Repeat("x", 16<<10+1)), hostlane.CodeFrameTooLarge},
		"silent":           {nil, hostlane.CodeTimeout},
		"half a handshake": {frame(control, hello)[:20], hostlane.CodeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, hostlane.WithHandshakeTimeout(200*time.Millisecond))
			ctx, cancel := context.WithCancel(context.Background())
			accepting := make(chan error, 1)
			go func() { _, err := l.Accept(ctx); accepting <- err }()
			conn := rawDial(t, l)
			write(t, conn, c.bytes)
			var refusals []hostlane.Refusal
			eventually(t, "refused", func() bool {
				var err error
				refusals, err = l.Refusals()
				must(t, err)
				return len(refusals) > 0
			})
			if len(refusals) != 1 || refusals[0].Code != c.want {
				t.Errorf("refusals %+v, want %v", refusals, c.want)
			}
			// What the server did not read of the client makes the end a reset.
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the refused client was not hung up: %v", err)
			}
			stats, err := l.Stats()
			must(t, err)
			if stats.Refused != 1 {
				t.Errorf("stats %+v", stats)
			}
			cancel()
			mustBe(t, <-accepting, context.Canceled)
		})
	}
}

func TestHostileServers(t *testing.T) {
	for name, c := range map[string]struct {
		answer []byte // nil: none, and the connection stays open
		want   error
	}{
		"hangs up":         {[]byte{}, hostlane.ErrRefused},
		"bad magic":        {[]byte("HTTP/1.1 400 Bad Request\r\n"), hostlane.ErrBadMagic},
		"not JSON":         {frame(control, "welcome"), hostlane.ErrBadHandshake},
		"too large":        {frame(control, strings.Repeat(" ", 16<<10+1)), hostlane.ErrFrameTooLarge},
		"cut":              {frame(control, welcome)[:30], hostlane.ErrTruncated},
		"other protocol":   {frame(control, strings.Replace(welcome, "ipcprims", "telegraph", 1)), hostlane.ErrProtocolMismatch},
		"unasked channels": {frame(control, strings.Replace(welcome, "[1,", "[999,", 1)), hostlane.ErrBadHandshake},
		"silent":           {nil, hostlane.ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			addr := testAddr(t)
			server, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
			must(t, err)
			defer server.Close()
			hold := make(chan struct{})
			defer close(hold)
			go func() {
				conn, err := server.Accept()
				if err != nil {
					return // the test is over
				}
				defer conn.Close()
				if _, _, err := readFrame(conn); err != nil {
					t.Errorf("no handshake: %v", err)
				}
				if c.answer == nil {
					<-hold
				} else if _, err := conn.Write(c.answer); err != nil {
					t.Error(err)
				}
			}()
			_, err = hostlane.Dial(testCtx(t), addr, hostlane.WithHandshakeTimeout(200*time.Millisecond))
			mustBe(t, err, c.want)
		})
	}
}

func TestDialNobody(t *testing.T) {
	addr := testAddr(t)
	_, err := hostlane.Dial(testCtx(t), addr)
	mustBe(t, err, hostlane.ErrNotFound)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	must(t, dead.Close())
	_, err = hostlane.Dial(testCtx(t), addr)
	mustBe(t, err, hostlane.ErrConnectionRefused)
	_, err = hostlane.Dial(testCtx(t), "/"+strings.Repeat("x", 200))
	mustBe(t, err, hostlane.ErrAddressTooLong)
	_, err = hostlane.Dial(testCtx(t), "")
	mustBe(t, err, hostlane.ErrInvalidAddress)
	_, err = hostlane.Dial(testCtx(t), "/tmp/\xff")
	mustBe(t, err, hostlane.ErrInvalidUTF8)
}

func TestListenTwice(t *testing.T) {
	l := listen(t)
	_, err := hostlane.Listen(l.Addr())
	mustBe(t, err, hostlane.ErrAddressInUse)
	connect(t, l) // the first one is unharmed
}

func TestSilentClientsDelayNobody(t *testing.T) {
	l := listen(t)
	const silent = 100
	for range silent {
		rawDial(t, l)
	}
	dripping := rawDial(t, l)
	write(t, dripping, frame(control, hello)[:5])
	start := time.Now()
	client, server := connect(t, l)
	echo(t, server)
	_, err := client.Request(testCtx(t), []byte("hello"))
	must(t, err)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the honest client waited %v beside %d silent ones", took, silent)
	}
}

// frame1 is a frame of level 1.
func frame1(kind, flags byte, channel uint16, id uint64, payload string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint16(append(b, kind, flags), channel)
	return append(binary.LittleEndian.AppendUint64(b, id), payload...)
}

// Frames of level 1 that the tests need.
const (
	ready, message, request = 0x04, 0x10, 0x11
	whole, critical         = 0x03, 0x80
)

func TestHostileFramesOfLevel1(t *testing.T) {
	offer := strings.TrimSuffix(hello, "}") + `,"hostlane":{"versions":[1],"instance":"` + strings.Repeat("0", 32) + `"}}`
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"level 0 again":   {frame(2, "a whole header"), hostlane.ErrProtocolError},
		"type never used": {frame1(0x01, 0, 0, 0, ""), hostlane.ErrProtocolError},
		"even call id":    {frame1(request, whole, 1, 2, ""), hostlane.ErrProtocolError},
		"unknown type":    {frame1(0x40, critical, 0, 0, ""), hostlane.ErrUnknownFrame},
		"unagreed":        {frame1(message, whole, 256, 0, "x"), hostlane.ErrUnknownChannel},
		"over the credit": {bytes.Repeat(frame1(message, whole, 4, 0, strings.Repeat("x", 64<<10)), 17), hostlane.ErrCreditExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			conn := rawDial(t, l)
			write(t, conn, frame(control, offer))
			accepted := accept(t, l)
			if channel, payload, err := readFrame(conn); err != nil || channel != control {
				t.Fatalf("handshake answer on channel %d: %q, %v", channel, payload, err)
			}
			write(t, conn, frame1(ready, 0, 0, 0, ""))
			peer := accepted()
			go conn.Write(c.bytes) // the other side may hang up in the middle
			eventually(t, "the connection ends", func() bool {
				_, err := peer.Ping(testCtx(t))
				return err != nil
			})
			for m, err := range peer.Messages(testCtx(t)) {
				if err != nil {
					expect(t, err, c.want)
					return
				}
				if m.Channel != hostlane.ChannelError {
					t.Errorf("received %+v", m)
				}
			}
			t.Error("a broken connection ended quietly")
		})
	}
}
