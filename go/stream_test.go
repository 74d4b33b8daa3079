package hostlane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// streams is a connection whose server hands every stream to handler.
func streams(t *testing.T, handler func(ctx context.Context, m hostlane.Message, s *hostlane.Stream)) (client *hostlane.Peer) {
	client, server := pair(t)
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		s, err := m.Stream()
		expect(t, err, nil)
		if again, err := m.Stream(); again != s || err != nil || !m.IsStream() {
			t.Errorf("the stream of a message changed: %v", err)
		}
		if s.CallID() == 0 || s.CallID() != m.CallID() {
			t.Errorf("the stream of call %d is that of %d", m.CallID(), s.CallID())
		}
		handler(ctx, m, s)
	})
	return client
}

func TestStreamBothWays(t *testing.T) {
	client := streams(t, func(ctx context.Context, m hostlane.Message, s *hostlane.Stream) {
		n := 0
		for item, err := range s.Items(ctx) {
			expect(t, err, nil)
			expect(t, s.Send(ctx, append([]byte("echo of "), item...)), nil)
			n++
		}
		expect(t, m.Reply(ctx, fmt.Append(nil, n)), nil)
	})
	for _, items := range []int{0, 1, many} {
		s, err := client.OpenStream(testCtx(t), []byte("open"))
		must(t, err)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range items {
				expect(t, s.Send(testCtx(t), fmt.Append(nil, i)), nil)
			}
			expect(t, s.CloseSend(testCtx(t)), nil)
			if err := s.Send(testCtx(t), nil); !isOneOf(err, hostlane.CodeInvalidArgument, hostlane.CodeCallEnded) {
				t.Errorf("an item after the last: %v", err)
			}
		}()
		got := 0
		for item, err := range s.Items(testCtx(t)) {
			must(t, err)
			if want := fmt.Sprint("echo of ", got); string(item) != want {
				t.Fatalf("received %q, want %q", item, want)
			}
			got++
		}
		if got != items || string(s.Reply()) != fmt.Sprint(items) {
			t.Errorf("%d of %d items came back, and the answer %q", got, items, s.Reply())
		}
		_, err = s.Recv(testCtx(t))
		if !errors.Is(err, io.EOF) && !errors.Is(err, hostlane.ErrCallEnded) {
			t.Errorf("behind the end: %v", err)
		}
		<-sent
		must(t, s.Close())
		must(t, s.Close())
	}
}

func TestStreamThatNobodyReadsIsBounded(t *testing.T) {
	const item, most = 64 << 10, 100
	stop := make(chan struct{})
	client := streams(t, func(ctx context.Context, m hostlane.Message, s *hostlane.Stream) {
		if string(m.Data) == "ignore" {
			<-stop
		}
		expect(t, m.Reply(context.Background(), []byte("done")), nil)
	})
	s, err := client.OpenStream(testCtx(t), []byte("ignore"))
	must(t, err)
	defer s.Close()
	sent := 0
	for ; sent < most; sent++ {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		err := s.Send(ctx, make([]byte, item))
		cancel()
		if err != nil {
			mustBe(t, err, context.DeadlineExceeded)
			break
		}
	}
	if sent == 0 || sent == most {
		t.Errorf("%d items of %d bytes were taken unread", sent, item)
	}
	// It stops nobody else.
	other, err := client.OpenStream(testCtx(t), nil)
	must(t, err)
	defer other.Close()
	_, err = other.Recv(testCtx(t))
	mustBe(t, err, io.EOF)
	close(stop)
	_, err = s.Recv(testCtx(t))
	mustBe(t, err, io.EOF)
	if string(s.Reply()) != "done" {
		t.Errorf("answer %q", s.Reply())
	}
}

func TestStreamOfManyBytesNeedsLittleMemory(t *testing.T) {
	const item, items = 64 << 10, 2 * many
	client := streams(t, func(ctx context.Context, m hostlane.Message, s *hostlane.Stream) {
		n := 0
		for item, err := range s.Items(ctx) {
			expect(t, err, nil)
			n += len(item)
		}
		expect(t, m.Reply(ctx, fmt.Append(nil, n)), nil)
	})
	s, err := client.OpenStream(testCtx(t), nil)
	must(t, err)
	defer s.Close()
	before := resident(t)
	payload := make([]byte, item)
	for range items {
		must(t, s.Send(testCtx(t), payload))
	}
	must(t, s.CloseSend(testCtx(t)))
	_, err = s.Recv(testCtx(t))
	mustBe(t, err, io.EOF)
	if string(s.Reply()) != fmt.Sprint(item*items) {
		t.Errorf("the other side counted %s bytes", s.Reply())
	}
	if grown := resident(t) - before; grown > 64<<10 {
		t.Errorf("%d MiB went through, and the process grew by %d KiB", item*items>>20, grown)
	}
}

func TestStreamThatIsFailedOrGivenUp(t *testing.T) {
	ended := make(chan error, 1)
	client := streams(t, func(ctx context.Context, m hostlane.Message, s *hostlane.Stream) {
		switch string(m.Data) {
		case "fail":
			expect(t, m.Fail(ctx, 5, []byte("no")), nil)
		case "wait":
			expect(t, s.Send(ctx, []byte("here")), nil)
			_, err := s.Recv(context.Background())
			ended <- err
		}
	})
	s, err := client.OpenStream(testCtx(t), []byte("fail"))
	must(t, err)
	_, err = s.Recv(testCtx(t))
	var remote *hostlane.RemoteError
	if !errors.As(err, &remote) || remote.Code != 5 || string(remote.Data) != "no" {
		t.Errorf("got %v", err)
	}
	mustBe(t, s.Send(testCtx(t), nil), hostlane.ErrCallEnded)
	must(t, s.Close())

	s, err = client.OpenStream(testCtx(t), []byte("let go"))
	must(t, err)
	_, err = s.Recv(testCtx(t))
	mustBe(t, err, hostlane.ErrCallAbandoned)

	// A request whose caller leaves before anybody received it is received by nobody.
	open := func(ctx context.Context) *hostlane.Stream {
		s, err := client.OpenStream(ctx, []byte("wait"))
		must(t, err)
		_, err = s.Recv(testCtx(t))
		must(t, err)
		return s
	}
	s = open(testCtx(t))
	must(t, s.Close())
	mustBe(t, <-ended, hostlane.ErrCallEnded)
	_, err = s.Recv(testCtx(t))
	mustBe(t, err, hostlane.ErrClosed)

	ctx, cancel := context.WithCancel(context.Background())
	s = open(ctx)
	cancel()
	mustBe(t, <-ended, hostlane.ErrCallEnded)

	open(testCtx(t)) // and forgotten
	eventually(t, "the forgotten stream is given up", func() bool { runtime.GC(); return len(ended) > 0 })
	mustBe(t, <-ended, hostlane.ErrCallEnded)
	runtime.KeepAlive(s)
}
