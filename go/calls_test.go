package hostlane_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// serve handles what arrives at p until the test is over.
func serve(t testing.TB, p *hostlane.Peer, handler hostlane.Handler, opts ...hostlane.ServeOption) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Serve(context.Background(), handler, opts...) }()
	t.Cleanup(func() {
		must(t, p.Close())
		must(t, <-done)
	})
}

func TestThousandCallsAnsweredInRandomOrder(t *testing.T) {
	const calls = many
	client, server := pair(t)
	go func() {
		var open []hostlane.Message
		for range calls {
			m, err := server.Recv(testCtx(t))
			if err != nil || !m.IsRequest() || m.CallID() == 0 {
				t.Errorf("received %+v, %v", m, err)
				return
			}
			open = append(open, m)
		}
		rand.Shuffle(calls, func(i, j int) { open[i], open[j] = open[j], open[i] })
		for _, m := range open {
			if err := m.Reply(testCtx(t), append([]byte("answer to "), m.Data...)); err != nil {
				t.Error(err)
			}
		}
	}()
	var all sync.WaitGroup
	for i := range calls {
		all.Add(1)
		go func() {
			defer all.Done()
			reply, err := client.Request(testCtx(t), fmt.Append(nil, i))
			if want := fmt.Sprint("answer to ", i); err != nil || string(reply.Data) != want {
				t.Errorf("call %d: %q, %v", i, reply.Data, err)
			}
		}()
	}
	all.Wait()
	stats, err := client.Stats()
	must(t, err)
	if stats.Calls != calls || stats.OpenCalls != 0 || stats.Late != 0 {
		t.Errorf("stats %+v", stats)
	}
}

func TestTimeoutIsKeptAndTheNextCallGetsItsOwnReply(t *testing.T) {
	client, server := pair(t)
	const span, times = 50 * time.Millisecond, 11
	var left [times]chan struct{}
	for i := range left {
		left[i] = make(chan struct{})
	}
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		if len(m.Data) != 1 {
			expect(t, m.Reply(ctx, m.Data), nil)
			return
		}
		<-ctx.Done() // by its own clock, or by the caller's word
		<-left[m.Data[0]]
		// It must not become the reply to the next call, even where nobody here knows yet
		// that its own is over.
		if err := m.Reply(context.Background(), m.Data); err != nil && !isOneOf(err, hostlane.CodeCallEnded, hostlane.CodeClosed) {
			t.Errorf("a late answer: %v", err)
		}
	})
	var off []time.Duration
	for i := range times {
		start := time.Now() // before the deadline counts
		ctx, cancel := context.WithTimeout(context.Background(), span)
		_, err := client.Request(ctx, []byte{byte(i)})
		off = append(off, time.Since(start)-span)
		cancel()
		close(left[i])
		mustBe(t, err, context.DeadlineExceeded)
		mustBe(t, err, hostlane.ErrTimeout)
		if !maybeSent(err) {
			t.Errorf("got %v, want the news that the call was sent", err)
		}
		reply, err := client.Request(testCtx(t), fmt.Append(nil, "call ", i))
		must(t, err)
		if string(reply.Data) != fmt.Sprint("call ", i) {
			t.Fatalf("call %d got %q", i, reply.Data)
		}
	}
	slices.Sort(off)
	if off[0] < 0 || off[times/2] > 20*time.Millisecond {
		t.Errorf("the deadline was missed by %v", off)
	}
}

func TestCancelIsSeenByTheOtherSide(t *testing.T) {
	client, server := pair(t)
	seen := make(chan error, 2)
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		if ctx != m.Context() {
			t.Error("the handler got another context than its request has")
		}
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		seen <- nil
		<-child.Done()
		seen <- context.Cause(child)
		expect(t, m.Reply(context.Background(), nil), hostlane.ErrCallEnded)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _, err := client.Request(ctx, nil); done <- err }()
	<-seen
	cancel()
	err := <-done
	mustBe(t, err, context.Canceled)
	mustBe(t, err, hostlane.ErrCancelled)
	if !maybeSent(err) {
		t.Errorf("got %v, want the news that the call was sent", err)
	}
	mustBe(t, <-seen, hostlane.ErrCallEnded)
	_, err = client.Ping(testCtx(t)) // the connection goes on
	must(t, err)
	stats, err := client.Stats()
	must(t, err)
	if stats.CallsCancelled != 1 {
		t.Errorf("stats %+v", stats)
	}
}

func TestContextOfARequestThatRanOutOfTimeSaysSo(t *testing.T) {
	client, server := pair(t)
	type known struct{ theirs, ours time.Time }
	seen := make(chan known, 1)
	ended := make(chan error, 2)
	sent := make(chan time.Time, 1)
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		ours, _ := ctx.Deadline()
		seen <- known{<-sent, ours}
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		<-child.Done()
		ended <- child.Err()
		ended <- ctx.Err()
	})
	const span = 60 * time.Millisecond
	testEnds := testCtx(t)
	for counted := 0; counted < 50; {
		must(t, testEnds.Err())
		ctx, cancel := context.WithTimeout(context.Background(), span)
		deadline, _ := ctx.Deadline()
		sent <- deadline
		_, err := client.Request(ctx, nil)
		cancel()
		if !maybeSent(err) {
			<-sent // nothing left before the deadline
			continue
		}
		at := <-seen
		child, own := <-ended, <-ended
		if errors.Is(err, hostlane.ErrCallAbandoned) && time.Now().After(deadline) {
			continue // the handler's clock rang first, and its end was here before this side looked at its own
		}
		mustBe(t, err, context.DeadlineExceeded)
		if at.ours.Sub(at.theirs) > 15*time.Millisecond {
			continue // too long under way for this machine to tell the two apart
		}
		counted++
		if own != context.DeadlineExceeded || child != own {
			t.Fatalf("call %d: its context ended with %v, a child with %v", counted, own, child)
		}
	}
}

func TestContextOfACallGivenUpBeforeItsDeadlineIsCancelled(t *testing.T) {
	client, server := pair(t)
	begun := make(chan struct{})
	ended := make(chan error)
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		begun <- struct{}{}
		<-ctx.Done()
		mustBe(t, context.Cause(ctx), hostlane.ErrCallEnded)
		ended <- ctx.Err()
	})
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		done := make(chan error, 1)
		go func() { _, err := client.Request(ctx, nil); done <- err }()
		<-begun
		cancel()
		mustBe(t, <-done, context.Canceled)
		if err := <-ended; err != context.Canceled {
			t.Fatalf("got %v", err)
		}
	}
}

func TestContextOfARequestEndsWithItsAnswerAndItsConnection(t *testing.T) {
	client, server := pair(t)
	call := func() hostlane.Message {
		go client.Request(context.Background(), nil)
		m, err := server.Recv(testCtx(t))
		must(t, err)
		return m
	}
	wait := func(what string, ctx context.Context) {
		t.Helper()
		select {
		case <-ctx.Done():
			mustBe(t, context.Cause(ctx), hostlane.ErrCallEnded)
		case <-time.After(patience):
			t.Fatalf("not ended by %s", what)
		}
	}
	answered := call()
	ctx := answered.Context()
	if _, ok := ctx.Deadline(); ok || ctx.Err() != nil {
		t.Error("a call without a deadline has one, or has ended")
	}
	must(t, answered.Reply(testCtx(t), nil))
	wait("the answer", ctx)
	mustBe(t, answered.Reply(testCtx(t), nil), hostlane.ErrCallEnded)
	mustBe(t, answered.Fail(testCtx(t), 1, nil), hostlane.ErrCallEnded)
	lost := call()
	ctx = lost.Context()
	must(t, ctx.Err())
	must(t, client.Close())
	wait("the end of the connection", ctx)
}

func TestNestedCallsInheritTheDeadline(t *testing.T) {
	a, b := pair(t)
	const depth = 5
	var handler func(p *hostlane.Peer) hostlane.Handler
	handler = func(p *hostlane.Peer) hostlane.Handler {
		return func(ctx context.Context, m hostlane.Message) {
			left := m.Data[0]
			deadline, ok := ctx.Deadline()
			if !ok || time.Until(deadline) > patience {
				t.Errorf("%d left: deadline %v, %v", left, deadline, ok)
			}
			answer := []byte("bottom")
			if left > 0 {
				reply, err := p.Request(ctx, []byte{left - 1})
				if err != nil {
					t.Error(err)
					return
				}
				answer = append(reply.Data, left)
			}
			if err := m.Reply(ctx, answer); err != nil {
				t.Error(err)
			}
		}
	}
	serve(t, a, handler(a))
	serve(t, b, handler(b))
	reply, err := a.Request(testCtx(t), []byte{depth})
	must(t, err)
	if want := "bottom\x01\x02\x03\x04\x05"; string(reply.Data) != want {
		t.Errorf("got %q, want %q", reply.Data, want)
	}
}

func TestNestedCallEndsWithTheOuterOne(t *testing.T) {
	a, b := pair(t)
	inner := make(chan error, 1)
	serve(t, a, func(ctx context.Context, m hostlane.Message) { <-ctx.Done() })
	serve(t, b, func(ctx context.Context, m hostlane.Message) {
		_, err := b.Request(ctx, nil)
		inner <- err
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _, err := a.Request(ctx, nil); done <- err }()
	eventually(t, "the inner call is open", func() bool {
		stats, err := b.Stats()
		must(t, err)
		return stats.OpenCalls == 1
	})
	cancel()
	mustBe(t, <-done, context.Canceled)
	mustBe(t, <-inner, context.Canceled)
}

func TestFailReachesTheCaller(t *testing.T) {
	client, server := pair(t)
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		expect(t, m.Fail(ctx, binary.LittleEndian.Uint32(m.Data), m.Data[4:]), nil)
	})
	for _, code := range []uint32{0, 7, 1<<32 - 1} {
		for _, data := range []string{"", "why", string(make([]byte, 100_000))} {
			_, err := client.Request(testCtx(t), append(binary.LittleEndian.AppendUint32(nil, code), data...))
			var remote *hostlane.RemoteError
			if !errors.As(err, &remote) || remote.Code != code || string(remote.Data) != data || remote.Data == nil {
				t.Fatalf("got %v, want code %d and %d bytes", err, code, len(data))
			}
			var e *hostlane.Error
			if !errors.Is(err, hostlane.ErrRemoteError) || !errors.As(err, &e) || e.Code != hostlane.CodeRemoteError {
				t.Errorf("%v is no remote error", err)
			}
		}
	}
}

func TestRequestThatIsLetGo(t *testing.T) {
	client, server := pair(t)
	abandoned := func(what string, let func(m hostlane.Message)) {
		t.Helper()
		done := make(chan error, 1)
		go func() { _, err := client.Request(testCtx(t), nil); done <- err }()
		m, err := server.Recv(testCtx(t))
		must(t, err)
		let(m)
		m = hostlane.Message{}
		eventually(t, what, func() bool { runtime.GC(); return len(done) > 0 })
		mustBe(t, <-done, hostlane.ErrCallAbandoned)
	}
	abandoned("abandoned", func(m hostlane.Message) { m.Abandon(); m.Abandon() })
	abandoned("forgotten", func(m hostlane.Message) {})
	abandoned("forgotten while its context is watched", func(m hostlane.Message) { m.Context().Done() })
	serve(t, server, func(ctx context.Context, m hostlane.Message) {})
	_, err := client.Request(testCtx(t), nil)
	mustBe(t, err, hostlane.ErrCallAbandoned)
}

func TestAnswerThatIsTooLargeCanBeReplaced(t *testing.T) {
	const limit = 1000
	client, server := pair(t, hostlane.WithMaxMessage(limit))
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		expect(t, m.Reply(ctx, make([]byte, limit+1)), hostlane.ErrPayloadTooLarge)
		expect(t, m.Fail(ctx, 9, []byte("too much")), nil)
	})
	_, err := client.Request(testCtx(t), nil)
	var remote *hostlane.RemoteError
	if !errors.As(err, &remote) || remote.Code != 9 {
		t.Fatalf("got %v", err)
	}
}

func TestWhatGoesWithACall(t *testing.T) {
	client, server := pair(t, hostlane.WithFiles(), hostlane.WithChannels(1, 2, 300))
	read, write, err := os.Pipe()
	must(t, err)
	defer read.Close()
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		if m.Extra == nil || m.Extra.IdempotencyKey != "key" || m.Extra.Trace != "trace" || len(m.Extra.Files) != 1 || m.Channel != 300 {
			t.Errorf("received %+v with %+v", m, m.Extra)
			return
		}
		_, err := m.Extra.Files[0].WriteString("through a file")
		expect(t, err, nil)
		expect(t, m.Extra.Files[0].Close(), nil)
		expect(t, m.Reply(ctx, nil), nil)
	})
	_, err = client.Request(testCtx(t), nil, hostlane.OnChannel(300), hostlane.IdempotencyKey("key"),
		hostlane.Trace("trace"), hostlane.Files(write))
	must(t, err)
	must(t, write.Close())
	text, err := io.ReadAll(read)
	must(t, err)
	if string(text) != "through a file" {
		t.Errorf("read %q", text)
	}

	must(t, server.Send(testCtx(t), hostlane.ChannelData, []byte("x"), hostlane.Trace("one way")))
	m, err := client.Recv(testCtx(t))
	must(t, err)
	if m.IsRequest() || m.Extra == nil || m.Extra.Trace != "one way" || string(m.Data) != "x" {
		t.Errorf("received %+v", m)
	}
	mustBe(t, m.Fail(testCtx(t), 1, nil), hostlane.ErrInvalidArgument)
	_, err = client.Request(testCtx(t), nil, hostlane.IdempotencyKey(""))
	mustBe(t, err, hostlane.ErrInvalidArgument)
}

func TestReleaseIsIdempotentAndSparesNobodyElse(t *testing.T) {
	client, server := pair(t)
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		expect(t, m.Reply(ctx, m.Data), nil)
		m.Release()
		m.Release()
	})
	for i := range 50 {
		payload := bytes.Repeat([]byte{byte(i)}, 100_000+i*10_000)
		reply, err := client.Request(testCtx(t), payload)
		must(t, err)
		if !bytes.Equal(reply.Data, payload) {
			t.Fatalf("%d bytes came back as %d others", len(payload), len(reply.Data))
		}
		if i%2 == 0 {
			reply.Release()
		}
	}
}
