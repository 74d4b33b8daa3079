package hostlane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// The side under test of the vectors.

// hold is how long nothing may come where nothing is to come.
const hold = 15 * time.Millisecond

// subject is a listener with its one client, or a connection, while the test is its other side.
type subject struct {
	t        *testing.T
	raw      raw
	listener *hostlane.Listener
	peers    chan result[*hostlane.Peer]
	made     *result[*hostlane.Peer]
}

type result[T any] struct {
	value T
	err   error
}

// later runs what may wait.
func later[T any](run func() (T, error)) chan result[T] {
	done := make(chan result[T], 1)
	go func() {
		value, err := run()
		done <- result[T]{value, err}
	}()
	return done
}

func newSubject(t *testing.T, role string, opts ...hostlane.Option) *subject {
	t.Helper()
	s := &subject{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	// Somebody has to wait for bytes to be moved, and what waits for a message takes it.
	bystander := listen(t)
	go bystander.Accept(ctx)
	if role == "server" {
		s.listener = listen(t, opts...)
		s.peers = later(func() (*hostlane.Peer, error) { return s.listener.Accept(ctx) })
		s.raw = raw{t, rawDial(t, s.listener)}
		return s
	}
	server, err := net.ListenUnix("unix", &net.UnixAddr{Name: testAddr(t), Net: "unix"})
	must(t, err)
	defer server.Close()
	s.peers = later(func() (*hostlane.Peer, error) { return hostlane.Dial(ctx, server.Addr().String(), opts...) })
	must(t, server.SetDeadline(time.Now().Add(patience)))
	conn, err := server.AcceptUnix()
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	s.raw = raw{t, conn}
	return s
}

// outcome is the connection, or why there is none.
func (s *subject) outcome() (*hostlane.Peer, string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.made == nil; {
		select {
		case made := <-s.peers:
			s.made = &made
			if made.err == nil {
				s.t.Cleanup(func() { made.value.Close() })
			}
		case <-time.After(time.Millisecond):
			if s.listener != nil {
				refusals, err := s.listener.Refusals()
				must(s.t, err)
				if len(refusals) > 0 {
					return nil, refusals[0].Code.String()
				}
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the handshake does not end")
		}
	}
	if s.made.err != nil {
		return nil, nameOf(s.made.err)
	}
	return s.made.value, ""
}

func (s *subject) peer() *hostlane.Peer {
	s.t.Helper()
	peer, refused := s.outcome()
	if peer == nil {
		s.t.Fatalf("there is no connection: %s", refused)
	}
	return peer
}

// end is why the connection is over.
func (s *subject) end() string {
	s.t.Helper()
	peer, refused := s.outcome()
	for peer != nil {
		if _, err := peer.Recv(testCtx(s.t)); err != nil {
			return nameOf(err)
		}
	}
	return refused
}

// handshake reads one frame of level 0.
func (s *subject) handshake() []byte {
	s.t.Helper()
	channel, payload, err := readFrame(s.raw.conn)
	if err != nil || channel != control {
		s.t.Fatalf("a handshake was expected, not %q on channel %d, %v", payload, channel, err)
	}
	return payload
}

// level1 is a server under test whose client offers level 1, up to its own READY.
func level1(t *testing.T, opts ...hostlane.Option) *subject {
	t.Helper()
	s := newSubject(t, "server", opts...)
	s.raw.put(frame(control, strings.TrimSuffix(hello, "}")+`,"hostlane":{"versions":[1],"instance":"`+strings.Repeat("0", 32)+`"}}`))
	s.handshake()
	return s
}

// feed writes chunks, and holds what comes of them against what is expected: messages, and then the end.
func (s *subject) feed(chunks []byteValue, eof bool, messages []hostlane.Message, end []string) []hostlane.Message {
	s.t.Helper()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for _, chunk := range chunks {
			s.raw.conn.Write(chunk) // whoever found a fault hangs up in the middle
		}
		if eof {
			s.raw.conn.CloseWrite()
		}
	}()
	var got []hostlane.Message
	for _, want := range messages {
		m, err := s.peer().Recv(testCtx(s.t))
		must(s.t, err)
		if m.Channel != want.Channel || !bytes.Equal(m.Data, want.Data) {
			s.t.Fatalf("%d bytes on channel %d", len(m.Data), m.Channel)
		}
		got = append(got, m)
	}
	<-writing
	if end == nil {
		ctx, cancel := context.WithTimeout(context.Background(), hold)
		defer cancel()
		_, err := s.peer().Recv(ctx)
		mustBe(s.t, err, context.DeadlineExceeded)
	} else if is := s.end(); !slices.Contains(end, is) {
		s.t.Errorf("it is %s, want one of %v", is, end)
	}
	return got
}

// side is a server or client of offers.json and grants.json, or that of a transcript.
type side struct {
	Features []string
	Secret   *string
	Demand   bool
}

// unfit is why the side cannot be had.
func (s side) unfit() string {
	for _, feature := range s.Features {
		if feature != "fds" {
			return "a feature that this language does not have"
		}
	}
	return ""
}

// options are those of the side, which has these channels.
func (s side) options(channels ...hostlane.Channel) []hostlane.Option {
	opts := []hostlane.Option{hostlane.WithChannels(channels...)}
	for range s.Features {
		opts = append(opts, hostlane.WithFiles())
	}
	if s.Secret != nil {
		opts = append(opts, hostlane.WithSecret(*s.Secret))
	}
	if s.Demand {
		opts = append(opts, hostlane.WithLevel(hostlane.LevelOne))
	}
	return opts
}

// nameOf gives the name in the error table, whatever Go's form of the error is.
func nameOf(err error) string {
	var e *hostlane.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &e):
		return e.Code.String()
	}
	return fmt.Sprint(err)
}
