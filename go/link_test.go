package hostlane_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// partnerAddr makes this test binary run as the other side of a link; see TestMain.
const partnerAddr = "HOSTLANE_TEST_PARTNER"

// partner answers "PID: what was asked", dies when that is "die PID" of its own, and prints
// "true" when it comes up serving, "false" when not.
func partner(addr string) error {
	l, err := hostlane.OpenLink(addr)
	if err != nil {
		return err
	}
	defer l.Close()
	mine := fmt.Sprintf("die %d", os.Getpid())
	for {
		ev, err := l.Next(context.Background())
		if err != nil {
			return err
		}
		switch ev := ev.(type) {
		case hostlane.LinkUp:
			fmt.Println(ev.Serving)
		case hostlane.Message:
			if string(ev.Data) == mine {
				os.Exit(3)
			}
			if err := ev.Reply(context.Background(), fmt.Appendf(nil, "%d: %s", os.Getpid(), ev.Data)); err != nil {
				return err
			}
		}
	}
}

type process struct {
	*os.Process
	out *bufio.Reader
	cmd *exec.Cmd
}

func startPartner(t *testing.T, addr string) *process {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), partnerAddr+"="+addr)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	p := &process{cmd.Process, bufio.NewReader(out), cmd}
	t.Cleanup(p.end)
	return p
}

func (p *process) end() {
	p.Kill()
	p.cmd.Wait()
}

// serving waits until the process is up and tells whether it serves.
func (p *process) serving(t *testing.T) bool {
	t.Helper()
	line, err := p.out.ReadString('\n')
	must(t, err)
	return line == "true\n"
}

func (p *process) says(text string) string { return fmt.Sprintf("%d: %s", p.Pid, text) }

func openLink(t testing.TB, addr string, opts ...hostlane.LinkOption) *hostlane.Link {
	t.Helper()
	l, err := hostlane.OpenLink(addr, opts...)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// serveLink answers with name and what was asked; "fail" is failed.
func serveLink(t *testing.T, l *hostlane.Link, name string) {
	done := make(chan error, 1)
	go func() {
		done <- l.Serve(context.Background(), func(ctx context.Context, m hostlane.Message) {
			switch {
			case string(m.Data) == "fail":
				expect(t, m.Fail(ctx, 9, []byte("as asked")), nil)
			case m.IsRequest():
				expect(t, m.Reply(ctx, append([]byte(name+": "), m.Data...)), nil)
			}
		})
	}()
	t.Cleanup(func() {
		must(t, l.Close())
		must(t, <-done)
	})
}

func asked(t testing.TB, l *hostlane.Link, text string) string {
	t.Helper()
	reply, err := l.Request(testCtx(t), []byte(text))
	must(t, err)
	return string(reply.Data)
}

func up(t testing.TB, l *hostlane.Link) (serving bool) {
	t.Helper()
	ev, err := l.Next(testCtx(t))
	must(t, err)
	e, ok := ev.(hostlane.LinkUp)
	if !ok {
		t.Fatalf("got %#v", ev)
	}
	return e.Serving
}

func TestLinkCallsGoBothWays(t *testing.T) {
	addr := testAddr(t)
	a, b := openLink(t, addr), openLink(t, addr)
	serveLink(t, a, "a")
	serveLink(t, b, "b")
	if got := asked(t, a, "hello") + asked(t, b, "hello"); got != "b: helloa: hello" {
		t.Fatal(got)
	}
	if serving, known := a.IsServing(); !serving || !known {
		t.Error("the first does not serve")
	}
	if serving, known := b.IsServing(); serving || !known {
		t.Error("the second serves")
	}
	_, err := a.Request(testCtx(t), []byte("fail"))
	var remote *hostlane.RemoteError
	if !errors.As(err, &remote) || remote.Code != 9 || string(remote.Data) != "as asked" {
		t.Fatal(err)
	}
	must(t, a.Send(testCtx(t), []byte("one way")))
	info, err := a.Info()
	must(t, err)
	if info.Level != 1 || info.PID != os.Getpid() || info.MaxCalls != 1024 || info.PeerKeepalive != 0 || info.Address != addr {
		t.Errorf("%+v", info)
	}
	stats, err := a.Stats()
	must(t, err)
	if stats.Calls != 2 {
		t.Errorf("%+v", stats)
	}
	data, err := a.StatsOn(hostlane.ChannelData)
	must(t, err)
	if data.MessagesSent != 1 {
		t.Errorf("%+v", data)
	}
	_, err = a.StatsOn(300)
	mustBe(t, err, hostlane.ErrInvalidChannel)

	var all sync.WaitGroup
	large := strings.Repeat("x", 100_000)
	for i := range 64 {
		from, name := a, "b: "
		if i%2 == 0 {
			from, name = b, "a: "
		}
		all.Add(1)
		go func() {
			defer all.Done()
			for n := range 50 {
				text := fmt.Sprint(i, ".", n)
				if n == 25 {
					text += large
				}
				if reply, err := from.Request(testCtx(t), []byte(text)); err != nil || string(reply.Data) != name+text {
					t.Errorf("%d bytes, %v", len(reply.Data), err)
					return
				}
			}
		}()
	}
	all.Wait()
}

func TestOfTwoProcessesExactlyOneServesAndTheSurvivorGoesOn(t *testing.T) {
	var took []time.Duration
	for range 5 {
		addr := testAddr(t)
		both := []*process{startPartner(t, addr), startPartner(t, addr)}
		first, second := both[0].serving(t), both[1].serving(t)
		if first == second {
			t.Fatalf("both serve: %v", first)
		}
		if second {
			both[0], both[1] = both[1], both[0]
		}
		before := time.Now()
		both[0].end()
		third := openLink(t, addr)
		if got := asked(t, third, "hello"); got != both[1].says("hello") {
			t.Fatal(got)
		}
		took = append(took, time.Since(before))
		both[1].end()
		must(t, third.Close())
	}
	fast := 0
	for _, d := range took {
		if d < 500*time.Millisecond {
			fast++
		}
	}
	if fast < 3 {
		t.Errorf("took %v", took)
	}
}

func TestLostLinkCallFailsOnceUnlessItMayBeRepeated(t *testing.T) {
	addr := testAddr(t)
	other := startPartner(t, addr)
	l := openLink(t, addr)
	if got := asked(t, l, "hello"); got != other.says("hello") {
		t.Fatal(got)
	}
	fatal := fmt.Sprint("die ", other.Pid)
	_, err := l.Request(testCtx(t), []byte(fatal))
	mustBe(t, err, hostlane.ErrConnectionLost)
	if !maybeSent(err) {
		t.Errorf("%#v", err)
	}
	// Made while nobody is there, a call waits.
	other = startPartner(t, addr)
	if got := asked(t, l, "again"); got != other.says("again") {
		t.Fatal(got)
	}
	fatal = fmt.Sprint("die ", other.Pid)
	done := make(chan string, 1)
	go func() {
		reply, err := l.Request(testCtx(t), []byte(fatal), hostlane.IdempotencyKey("k"))
		expect(t, err, nil)
		done <- string(reply.Data)
	}()
	other.cmd.Wait()
	other = startPartner(t, addr)
	if got := <-done; got != other.says(fatal) {
		t.Fatal(got)
	}
}

func TestLinkEnds(t *testing.T) {
	missing := filepath.Join(testAddr(t), "missing")
	l := openLink(t, missing, hostlane.WithRetries(2), hostlane.WithDelay(time.Millisecond, 2*time.Millisecond))
	for range 2 {
		_, err := l.Next(testCtx(t))
		mustBe(t, err, hostlane.ErrNotFound)
		_, err = l.Request(testCtx(t), nil)
		mustBe(t, err, hostlane.ErrNotFound)
		mustBe(t, l.Send(testCtx(t), nil), hostlane.ErrNotFound)
		mustBe(t, l.Serve(testCtx(t), nothing), hostlane.ErrNotFound)
	}
	_, err := hostlane.OpenLink(missing, hostlane.WithRetries(0))
	mustBe(t, err, hostlane.ErrNotFound)

	addr := testAddr(t)
	once := openLink(t, addr, hostlane.WithReconnect(false))
	other := startPartner(t, addr)
	if !up(t, once) || other.serving(t) {
		t.Fatal("the second serves")
	}
	waits := make(chan error, 1)
	go func() {
		_, err := once.Request(testCtx(t), fmt.Appendf(nil, "die %d", other.Pid))
		waits <- err
	}()
	ev, err := once.Next(testCtx(t))
	must(t, err)
	down, ok := ev.(hostlane.LinkDown)
	if !ok || !isOneOf(down.Err, hostlane.CodePeerClosed, hostlane.CodeConnectionLost) {
		t.Fatalf("%#v", ev)
	}
	if err := <-waits; !isOneOf(err, hostlane.CodePeerClosed, hostlane.CodeConnectionLost) || !maybeSent(err) {
		t.Fatal(err)
	}
	_, err = once.Next(testCtx(t))
	mustBe(t, err, down.Err)
}

func TestClosingALinkWakesEverybody(t *testing.T) {
	l := openLink(t, testAddr(t))
	done := make(chan error)
	for range 3 {
		go func() { _, err := l.Next(context.Background()); done <- err }()
		go func() { _, err := l.Request(context.Background(), nil); done <- err }()
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(context.Background(), nothing) }()
	for range 2 {
		must(t, l.Close())
	}
	for range 6 {
		mustBe(t, <-done, hostlane.ErrClosed)
	}
	must(t, <-served)
	_, err := l.Next(testCtx(t))
	mustBe(t, err, hostlane.ErrClosed)
	_, err = l.Request(testCtx(t), nil)
	mustBe(t, err, hostlane.ErrClosed)
	mustBe(t, l.Send(testCtx(t), nil), hostlane.ErrClosed)
	_, err = l.Info()
	mustBe(t, err, hostlane.ErrClosed)
	if _, known := l.IsServing(); known {
		t.Error("a closed link serves")
	}
}

func TestContextsOfLinkCalls(t *testing.T) {
	addr := testAddr(t)
	a := openLink(t, addr)
	// While nobody is there.
	ctx, cancel := context.WithTimeout(testCtx(t), 20*time.Millisecond)
	defer cancel()
	_, err := a.Request(ctx, nil)
	if err != context.DeadlineExceeded {
		t.Fatalf("%#v", err)
	}
	_, err = a.Next(ctx)
	mustBe(t, err, context.DeadlineExceeded)
	mustBe(t, a.Serve(ctx, nothing), context.DeadlineExceeded)
	mustBe(t, a.Send(ctx, nil), context.DeadlineExceeded)

	b := openLink(t, addr)
	entered, left := make(chan context.Context), make(chan struct{})
	go a.Serve(testCtx(t), func(ctx context.Context, m hostlane.Message) {
		entered <- ctx
		<-ctx.Done()
		if err := m.Reply(context.Background(), nil); !isOneOf(err, hostlane.CodeCallEnded, hostlane.CodeClosed) {
			t.Error(err)
		}
		left <- struct{}{}
	})
	ctx, cancel = context.WithCancel(testCtx(t))
	done := make(chan error, 1)
	go func() { _, err := b.Request(ctx, nil); done <- err }()
	theirs := <-entered
	if deadline, ok := theirs.Deadline(); !ok || time.Until(deadline) > patience {
		t.Errorf("the deadline is %v", deadline)
	}
	cancel()
	err = <-done
	mustBe(t, err, context.Canceled)
	if !maybeSent(err) {
		t.Errorf("%#v", err)
	}
	<-left
	// The end of the connection ends it too.
	go func() { _, err := b.Request(testCtx(t), nil); done <- err }()
	<-entered
	must(t, b.Close())
	mustBe(t, <-done, hostlane.ErrClosed)
	<-left
}

func TestLinkServesInOrderAndBounded(t *testing.T) {
	addr := testAddr(t)
	a, b := openLink(t, addr), openLink(t, addr)
	var running, peak, got atomic.Int32
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		served <- a.Serve(ctx, func(ctx context.Context, m hostlane.Message) {
			peak.Store(max(peak.Load(), running.Add(1)))
			defer running.Add(-1)
			if m.IsRequest() {
				expect(t, m.Reply(ctx, nil), nil)
				runtime.Goexit()
			}
			if n := got.Add(1); byte(n-1) != m.Data[0] {
				t.Errorf("%d came as number %d", m.Data[0], n-1)
			}
			runtime.Goexit()
		}, hostlane.WithMaxHandlers(3))
	}()
	_, err := b.Request(testCtx(t), nil)
	must(t, err)
	for i := range 200 {
		must(t, b.Send(testCtx(t), []byte{byte(i)}, hostlane.OnChannel(hostlane.ChannelCommand)))
	}
	var all sync.WaitGroup
	for range 50 {
		all.Add(1)
		go func() {
			defer all.Done()
			_, err := b.Request(testCtx(t), nil)
			expect(t, err, nil)
		}()
	}
	all.Wait()
	if peak.Load() > 3 || got.Load() != 200 {
		t.Errorf("%d handlers at a time, %d messages", peak.Load(), got.Load())
	}
	cancel()
	mustBe(t, <-served, context.Canceled)
}

func TestLinkMessagesWaitForTheirReceiver(t *testing.T) {
	addr := testAddr(t)
	a, b := openLink(t, addr), openLink(t, addr)
	if !up(t, a) || up(t, b) {
		t.Fatal("the second serves")
	}
	// Far more than the link keeps: in the end the other side is told.
	payload := make([]byte, 64<<10)
	sent := 0
	for ; ; sent++ {
		payload[0] = byte(sent)
		if err := b.Send(testCtx(t), payload); err != nil {
			mustBe(t, err, hostlane.ErrWouldBlock)
			break
		}
	}
	for i := range sent {
		ev, err := a.Next(testCtx(t))
		must(t, err)
		if m := ev.(hostlane.Message); m.Data[0] != byte(i) || len(m.Data) != len(payload) || m.IsRequest() {
			t.Fatalf("message %d is %d", i, m.Data[0])
		}
	}
	// An answer to a one-way message goes back on its channel.
	must(t, b.Send(testCtx(t), nil))
	ev, err := a.Next(testCtx(t))
	must(t, err)
	must(t, ev.(hostlane.Message).Reply(testCtx(t), []byte("back")))
	ev, err = b.Next(testCtx(t))
	must(t, err)
	if m := ev.(hostlane.Message); string(m.Data) != "back" || m.Channel != hostlane.ChannelData {
		t.Fatalf("%+v", m)
	}
	// A request that is forgotten is abandoned, when it is collected or before.
	done := make(chan error, 1)
	go func() { _, err := b.Request(testCtx(t), nil); done <- err }()
	ev, err = a.Next(testCtx(t))
	must(t, err)
	ev.(hostlane.Message).Abandon()
	mustBe(t, <-done, hostlane.ErrCallAbandoned)
	_, err = ev.(hostlane.Message).Stream()
	mustBe(t, err, hostlane.ErrInvalidArgument)
}

func TestLinkOptionsThatAreWrong(t *testing.T) {
	addr := testAddr(t)
	for name, opt := range map[string]hostlane.LinkOption{
		"level 0":        hostlane.WithConnection(hostlane.WithLevel(hostlane.LevelZero)),
		"empty secret":   hostlane.WithConnection(hostlane.WithSecret("")),
		"negative delay": hostlane.WithDelay(-1, 0),
		"delay too long": hostlane.WithDelay(2*time.Second, time.Second),
	} {
		l, err := hostlane.OpenLink(addr, opt)
		if err == nil {
			l.Close()
		}
		if !errors.Is(err, hostlane.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := hostlane.OpenLink("stdio:")
	mustBe(t, err, hostlane.ErrUnsupported)
	_, err = hostlane.OpenLink("")
	mustBe(t, err, hostlane.ErrInvalidAddress)

	l := openLink(t, addr, hostlane.WithConnection(hostlane.WithSecret("s")), nil)
	mustBe(t, l.Send(testCtx(t), nil), hostlane.ErrConnectionLost)
	_, err = l.Request(testCtx(t), nil, hostlane.Files(os.Stdin))
	mustBe(t, err, hostlane.ErrUnsupported)
	_, err = l.Info()
	mustBe(t, err, hostlane.ErrConnectionLost)
}

func TestForgottenLinkIsClosed(t *testing.T) {
	addr := testAddr(t)
	func() {
		l, err := hostlane.OpenLink(addr)
		must(t, err)
		runtime.KeepAlive(l)
	}()
	eventually(t, "the address is free", func() bool {
		runtime.GC()
		l, err := hostlane.Listen(addr)
		if err != nil {
			return false
		}
		must(t, l.Close())
		return true
	})
}

func TestWaitingForALinkCostsNoThreads(t *testing.T) {
	l := openLink(t, testAddr(t))
	ctx, cancel := context.WithCancel(context.Background())
	before := threads(t)
	var all, started sync.WaitGroup
	for range many / 2 {
		all.Add(2)
		started.Add(2)
		go func() {
			defer all.Done()
			started.Done()
			_, err := l.Request(ctx, nil)
			expect(t, err, context.Canceled)
		}()
		go func() {
			defer all.Done()
			started.Done()
			_, err := l.Next(ctx)
			expect(t, err, context.Canceled)
		}()
	}
	started.Wait()
	if n := threads(t); n > before+6 {
		t.Errorf("%d goroutines wait, and %d threads became %d", many, before, n)
	}
	cancel()
	all.Wait()
}
