package hostlane_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// patience bounds what must happen in every test; nothing waits for it to pass.
const patience = 20 * time.Second

// testCtx ends when the test takes longer than patience.
func testCtx(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// testAddr is a socket path of the test's own, short enough for any system.
func testAddr(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hl")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// nothing is a handler to which nothing comes.
func nothing(context.Context, hostlane.Message) {}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustBe fails unless err is want; a context error must be the bare one, except when
// it tells that something may have been sent.
func mustBe(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	if (want == context.Canceled || want == context.DeadlineExceeded) && err != want && !maybeSent(err) {
		t.Fatalf("got %#v, want the context's own error", err)
	}
}

// expect is for other goroutines than the test's, which must not end: it fails unless err
// is want.
func expect(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

// maybeSent is how a program learns that sending again is not safe.
func maybeSent(err error) bool {
	var e *hostlane.Error
	return errors.As(err, &e) && e.MaybeSent
}

// eventually waits for a condition that other goroutines or processes bring about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// waiting counts the goroutines inside an operation of the library.
func waiting() int {
	buf := make([]byte, 8<<20)
	buf = buf[:runtime.Stack(buf, true)]
	return bytes.Count(buf, []byte("internal/loop.(*Loop).lead(")) + bytes.Count(buf, []byte("internal/loop.(*Loop).follow("))
}

func listen(t testing.TB, opts ...hostlane.Option) *hostlane.Listener {
	t.Helper()
	l, err := hostlane.Listen(testAddr(t), opts...)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// pair is a connection with both of its ends.
func pair(t testing.TB, opts ...hostlane.Option) (client, server *hostlane.Peer) {
	t.Helper()
	return connect(t, listen(t, opts...), opts...)
}

// accept starts accepting and returns what waits for the peer. A listener does its
// side of the handshake from its first Accept on.
func accept(t testing.TB, l *hostlane.Listener) (wait func() *hostlane.Peer) {
	t.Helper()
	type result struct {
		peer *hostlane.Peer
		err  error
	}
	ctx := testCtx(t)
	accepted := make(chan result, 1)
	go func() {
		peer, err := l.Accept(ctx)
		accepted <- result{peer, err}
	}()
	return func() *hostlane.Peer {
		t.Helper()
		r := <-accepted
		must(t, r.err)
		t.Cleanup(func() { must(t, r.peer.Close()) })
		return r.peer
	}
}

func connect(t testing.TB, l *hostlane.Listener, opts ...hostlane.Option) (client, server *hostlane.Peer) {
	t.Helper()
	accepted := accept(t, l)
	client, err := hostlane.Dial(testCtx(t), l.Addr(), opts...)
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	return client, accepted()
}

// echo answers everything until the connection ends.
func echo(t testing.TB, p *hostlane.Peer) {
	go func() {
		for m, err := range p.Messages(context.Background()) {
			if err == nil {
				err = m.Reply(context.Background(), m.Data)
			}
			if err != nil && !errors.Is(err, hostlane.ErrClosed) {
				t.Errorf("echo: %v", err)
			}
		}
	}()
}

// The raw side: the wire by hand, as docs/protocol.md describes it.

const (
	control = 0
	hello   = `{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4]}`
	welcome = `{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4],"peer_id":"peer-1"}`
)

func frame(channel uint16, payload string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("IP"), uint32(len(payload)))
	b = binary.LittleEndian.AppendUint16(b, channel)
	return append(b, payload...)
}

func readFrame(r io.Reader) (channel uint16, payload []byte, err error) {
	var header [8]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, binary.LittleEndian.Uint32(header[2:6]))
	_, err = io.ReadFull(r, payload)
	return binary.LittleEndian.Uint16(header[6:]), payload, err
}

// socketPath is the file behind the address of a test listener.
func socketPath(l *hostlane.Listener) string {
	const form = "unix:"
	addr := l.Addr()
	if len(addr) > len(form) && addr[:len(form)] == form {
		return addr[len(form):]
	}
	return addr
}

func rawDial(t testing.TB, l *hostlane.Listener) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socketPath(l), Net: "unix"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// rawPair is an accepted peer whose other side is driven by hand.
func rawPair(t testing.TB, opts ...hostlane.Option) (*net.UnixConn, *hostlane.Peer) {
	t.Helper()
	l := listen(t, opts...)
	conn := rawDial(t, l)
	write(t, conn, frame(control, hello))
	peer, err := l.Accept(testCtx(t))
	must(t, err)
	t.Cleanup(func() { must(t, peer.Close()) })
	if channel, payload, err := readFrame(conn); err != nil || channel != control {
		t.Fatalf("handshake answer on channel %d: %q, %v", channel, payload, err)
	}
	return conn, peer
}

func write(t testing.TB, conn *net.UnixConn, b []byte) {
	t.Helper()
	_, err := conn.Write(b)
	must(t, err)
}
