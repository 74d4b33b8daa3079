package hostlane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// operations are all the calls that wait, on objects where they have to.
func operations(t testing.TB) map[string]func(ctx context.Context) error {
	idle := listen(t)
	calling, _ := pair(t) // its other side never answers a call
	receiving, _ := pair(t)
	_, sending := rawPair(t) // its other side never reads
	fill(t, sending)
	return map[string]func(ctx context.Context) error{
		"Accept":  func(ctx context.Context) error { _, err := idle.Accept(ctx); return err },
		"Recv":    func(ctx context.Context) error { _, err := receiving.Recv(ctx); return err },
		"RecvOn":  func(ctx context.Context) error { _, err := receiving.RecvOn(ctx, 2); return err },
		"Request": func(ctx context.Context) error { _, err := calling.Request(ctx, []byte("?")); return err },
		"Send":    func(ctx context.Context) error { return sending.Send(ctx, 2, make([]byte, 1<<20)) },
	}
}

// fill starts a send that the other side never reads, so that the next has to wait.
func fill(t testing.TB, p *hostlane.Peer) {
	t.Helper()
	before := waiting()
	done := make(chan error, 1)
	go func() { done <- p.Send(context.Background(), hostlane.ChannelData, make([]byte, 16<<20)) }()
	t.Cleanup(func() {
		must(t, p.Close())
		if err := <-done; !isOneOf(err, hostlane.CodeClosed, hostlane.CodePeerClosed, hostlane.CodeConnectionLost) {
			t.Errorf("the send that filled the connection: %v", err)
		}
	})
	eventually(t, "the connection is full", func() bool { return waiting() > before })
}

func TestContextAlreadyEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, op := range operations(t) {
		t.Run(name, func(t *testing.T) { mustBe(t, op(ctx), context.Canceled) })
	}
	_, err := hostlane.Dial(ctx, testAddr(t))
	mustBe(t, err, context.Canceled)
}

func TestContextCancelledWhileWaiting(t *testing.T) {
	for name, op := range operations(t) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			before := waiting()
			done := make(chan error, 1)
			go func() { done <- op(ctx) }()
			eventually(t, "waiting", func() bool { return waiting() > before })
			cancel()
			mustBe(t, <-done, context.Canceled)
		})
	}
}

func TestContextDeadline(t *testing.T) {
	const span = 100 * time.Millisecond
	for name, op := range operations(t) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), span)
			defer cancel()
			start := time.Now()
			mustBe(t, op(ctx), context.DeadlineExceeded)
			if took := time.Since(start); took < span || took > span+time.Second {
				t.Errorf("took %v, the deadline was %v", took, span)
			}
		})
	}
}

func TestCancelledRecvLosesNothing(t *testing.T) {
	client, server := pair(t)
	cancelled := 0
	for i := range 500 {
		// A message and the cancellation race for the wait.
		ctx, cancel := context.WithCancel(context.Background())
		sent := make(chan error, 1)
		send := func() { sent <- client.Send(testCtx(t), hostlane.ChannelData, fmt.Append(nil, i)) }
		if i%2 == 0 {
			go cancel()
			go send()
		} else {
			go send()
			go cancel()
		}
		m, err := server.Recv(ctx)
		if err != nil {
			mustBe(t, err, context.Canceled)
			cancelled++
			m, err = server.Recv(testCtx(t))
		}
		must(t, err)
		must(t, <-sent)
		if want := fmt.Sprint(i); string(m.Data) != want {
			t.Fatalf("received %q, want %q", m.Data, want)
		}
		cancel()
	}
	t.Logf("%d of 500 waits were cancelled", cancelled)
}

func TestCancelledQueuedRequestKeepsTheLevel0Connection(t *testing.T) {
	client, server := pair(t, hostlane.WithLevel(hostlane.LevelZero))
	first := make(chan error, 1)
	go func() { _, err := client.Request(testCtx(t), []byte("first")); first <- err }()
	m, err := server.Recv(testCtx(t)) // the first call is on the wire
	must(t, err)
	before := waiting()
	ctx, cancel := context.WithCancel(context.Background())
	queued := make(chan error, 1)
	go func() { _, err := client.Request(ctx, []byte("queued")); queued <- err }()
	eventually(t, "queued", func() bool { return waiting() > before })
	cancel()
	if err := <-queued; err != context.Canceled {
		t.Errorf("got %#v, want the context's own error: nothing was sent", err)
	}
	must(t, m.Reply(testCtx(t), []byte("answer")))
	must(t, <-first)
}

func TestCancelledSentRequestClosesTheLevel0Connection(t *testing.T) {
	client, server := pair(t, hostlane.WithLevel(hostlane.LevelZero))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _, err := client.Request(ctx, []byte("?")); done <- err }()
	_, err := server.Recv(testCtx(t))
	must(t, err)
	cancel()
	ended := <-done
	mustBe(t, ended, context.Canceled)
	mustBe(t, ended, hostlane.ErrCancelled)
	if !maybeSent(ended) {
		t.Errorf("got %#v, want the news that the call was sent", ended)
	}
	_, err = server.Recv(testCtx(t))
	mustBe(t, err, hostlane.ErrPeerClosed)
	_, err = client.Request(testCtx(t), []byte("next"))
	mustBe(t, err, hostlane.ErrConnectionLost)
}

func TestDeadlineOfASentRequestTellsThatItWasSent(t *testing.T) {
	client, _ := pair(t) // nobody answers
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Request(ctx, []byte("?"))
	mustBe(t, err, context.DeadlineExceeded)
	mustBe(t, err, hostlane.ErrTimeout)
	if !maybeSent(err) || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("got %v (%#v), want the news that the call was sent", err, err)
	}
}

func TestCloseWakesEveryWaiter(t *testing.T) {
	l := listen(t)
	client, _ := connect(t, l)
	before := waiting()
	const each = 10
	done := make(chan error, 3*each)
	for range each {
		go func() { _, err := client.Recv(context.Background()); done <- err }()
		go func() { _, err := client.Request(context.Background(), nil); done <- err }()
		go func() { _, err := l.Accept(context.Background()); done <- err }()
	}
	eventually(t, "all waiting", func() bool { return waiting() == before+3*each })
	must(t, client.Close())
	must(t, l.Close())
	for range 3 * each {
		mustBe(t, <-done, hostlane.ErrClosed)
	}
}

func TestUseAfterCloseAndDoubleClose(t *testing.T) {
	l := listen(t)
	client, _ := connect(t, l)
	ctx := testCtx(t)
	for range 3 {
		must(t, client.Close())
		must(t, l.Close())
	}
	_, recv := client.Recv(ctx)
	_, on := client.RecvOn(ctx, 2)
	_, request := client.Request(ctx, nil)
	_, ping := client.Ping(ctx)
	_, stats := client.Stats()
	_, accept := l.Accept(ctx)
	_, counters := l.Stats()
	_, refusals := l.Refusals()
	for name, err := range map[string]error{
		"Send": client.Send(ctx, 2, nil), "Recv": recv, "RecvOn": on, "Request": request, "Ping": ping,
		"Drain": client.Drain(ctx), "Stats": stats, "Accept": accept, "listener Stats": counters, "Refusals": refusals,
	} {
		if !isCode(err, hostlane.CodeClosed) {
			t.Errorf("%s: %v, want closed", name, err)
		}
	}
	if len(client.Info().Channels) == 0 {
		t.Error("Info is a fact and outlives Close")
	}
	_, err := os.Lstat(socketPath(l))
	mustBe(t, err, os.ErrNotExist)
}

func isCode(err error, code hostlane.Code) bool {
	e, ok := err.(*hostlane.Error)
	return ok && e.Code == code
}

func TestConcurrentCloseAndUse(t *testing.T) {
	l := listen(t)
	for range 50 {
		client, server := connect(t, l)
		var all sync.WaitGroup
		for _, use := range []func() error{
			func() error { return client.Send(context.Background(), 2, []byte("x")) },
			func() error { _, err := client.Recv(context.Background()); return err },
			func() error { _, err := client.Request(context.Background(), nil); return err },
			func() error { _, err := client.Stats(); return err },
			client.Close,
			client.Close,
			server.Close,
		} {
			all.Add(1)
			go func() {
				defer all.Done()
				if err := use(); err != nil && !isOneOf(err, hostlane.CodeClosed, hostlane.CodePeerClosed, hostlane.CodeConnectionLost) {
					t.Error(err)
				}
			}()
		}
		all.Wait()
	}
}

func isOneOf(err error, codes ...hostlane.Code) bool {
	for _, code := range codes {
		if isCode(err, code) {
			return true
		}
	}
	return false
}

func TestWaitingGoroutinesCostNoThreads(t *testing.T) {
	// A few, for what else goes on; those of other tests stay.
	const total, few = many, 6
	before, limit := waiting(), threads(t)+few
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	wait := func(op func() error) {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := op(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
	}
	idle := listen(t)
	started := 0
	for range max(total/100, 1) {
		client, server := pair(t)
		for range 33 {
			wait(func() error { _, err := client.Request(ctx, nil); return err })
			wait(func() error { _, err := idle.Accept(ctx); return err })
		}
		for range 34 {
			wait(func() error { _, err := server.RecvOn(ctx, hostlane.ChannelData); return err })
		}
		started += 100
	}
	eventually(t, "all goroutines waiting", func() bool { return waiting() == before+started })
	if n := threads(t); n >= limit {
		t.Errorf("%d goroutines wait and the process has %d threads, want fewer than %d", started, n, limit)
	} else {
		t.Logf("%d goroutines wait, %d threads", started, n)
	}
	cancel()
	all.Wait()
}

func threads(t testing.TB) int { return status(t, "Threads: %d") }

func TestForgottenPeerIsClosedAndLogged(t *testing.T) {
	var log safeBuffer
	l := listen(t)
	accepted := accept(t, l)
	_, err := hostlane.Dial(testCtx(t), l.Addr(), hostlane.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	must(t, err)
	server := accepted()
	eventually(t, "leak warning", func() bool {
		runtime.GC()
		return strings.Contains(log.String(), "never closed")
	})
	_, err = server.Recv(testCtx(t))
	mustBe(t, err, hostlane.ErrPeerClosed)
}

type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
