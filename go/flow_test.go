package hostlane_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// resident is the memory of the process, in KiB.
func resident(t testing.TB) int { return status(t, "VmRSS: %d kB") }

func status(t testing.TB, format string) int {
	t.Helper()
	file, err := os.Open("/proc/self/status")
	must(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), format, &n); err == nil {
			return n
		}
	}
	t.Fatalf("no %s in /proc/self/status", format)
	return 0
}

func TestBatches(t *testing.T) {
	client, server := pair(t)
	const messages = 5000
	var payloads [][]byte
	for i := range messages {
		payloads = append(payloads, fmt.Appendf(nil, "%0*d", i%100+1, i))
	}
	payloads[17] = nil
	payloads[3000] = make([]byte, 300_000) // larger than the memory of a batch
	sent := make(chan error, 1)
	go func() {
		n, err := client.SendBatch(testCtx(t), hostlane.ChannelData, payloads)
		if err == nil && n != messages {
			err = fmt.Errorf("sent %d", n)
		}
		sent <- err
	}()
	got := 0
	for got < messages {
		batch, err := server.RecvBatch(testCtx(t), 1000)
		must(t, err)
		if len(batch) == 0 || len(batch) > 1000 {
			t.Fatalf("a batch of %d", len(batch))
		}
		for _, m := range batch {
			if string(m.Data) != string(payloads[got]) || m.Data == nil || m.Channel != hostlane.ChannelData {
				t.Fatalf("message %d is %q on channel %d", got, m.Data, m.Channel)
			}
			got++
		}
	}
	must(t, <-sent)
	n, err := client.SendBatch(testCtx(t), hostlane.ChannelData, nil)
	if n != 0 || err != nil {
		t.Errorf("an empty batch: %d, %v", n, err)
	}
	_, err = server.RecvBatch(testCtx(t), 0)
	mustBe(t, err, hostlane.ErrInvalidArgument)
	n, err = client.SendBatch(testCtx(t), 99, payloads)
	mustBe(t, err, hostlane.ErrInvalidChannel)
	if n != 0 {
		t.Errorf("%d were sent on no channel", n)
	}
}

func TestABatchEndsWithWhatIsRefused(t *testing.T) {
	client, server := pair(t, hostlane.WithMaxMessage(1000))
	sent, err := client.SendBatch(testCtx(t), hostlane.ChannelData, [][]byte{
		make([]byte, 10), make([]byte, 2000), make([]byte, 10),
	})
	mustBe(t, err, hostlane.ErrPayloadTooLarge)
	if sent != 1 {
		t.Errorf("sent %d", sent)
	}
	must(t, client.Send(testCtx(t), hostlane.ChannelData, []byte("behind")))
	for _, size := range []int{10, len("behind")} {
		m, err := server.Recv(testCtx(t))
		must(t, err)
		if len(m.Data) != size {
			t.Errorf("%d bytes came instead of %d", len(m.Data), size)
		}
	}
}

func TestNothingIsSentOnChannelZero(t *testing.T) {
	client, _ := pair(t)
	ctx := testCtx(t)
	sent, err := client.SendBatch(ctx, 0, [][]byte{{1}})
	mustBe(t, err, hostlane.ErrInvalidChannel)
	if sent != 0 {
		t.Errorf("sent %d", sent)
	}
	mustBe(t, client.Send(ctx, 0, nil, hostlane.Trace("t")), hostlane.ErrInvalidChannel)
	mustBe(t, client.Send(ctx, 0, nil, hostlane.OnChannel(hostlane.ChannelData)), hostlane.ErrInvalidChannel)
	_, err = client.Request(ctx, nil, hostlane.OnChannel(0))
	mustBe(t, err, hostlane.ErrInvalidChannel)
	_, err = client.OpenStream(ctx, nil, hostlane.OnChannel(0))
	mustBe(t, err, hostlane.ErrInvalidChannel)
	must(t, client.Send(ctx, hostlane.ChannelData, nil, hostlane.OnChannel(0))) // means nothing there
	var wg sync.WaitGroup
	for range 50 { // what starts together becomes one call
		wg.Add(1)
		go func() {
			defer wg.Done()
			expect(t, client.Send(ctx, 0, nil), hostlane.ErrInvalidChannel)
		}()
	}
	wg.Wait()
	stats, err := client.Stats()
	must(t, err)
	if stats.MessagesSent != 1 {
		t.Errorf("%d were sent", stats.MessagesSent)
	}
}

func TestBatchTellsHowManyWereSent(t *testing.T) {
	client, server := pair(t)
	payloads := make([][]byte, 200)
	for i := range payloads {
		payloads[i] = make([]byte, 100_000)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	sent, err := client.SendBatch(ctx, hostlane.ChannelData, payloads) // nobody receives
	mustBe(t, err, context.DeadlineExceeded)
	if sent == 0 || sent == len(payloads) {
		t.Fatalf("sent %d of %d unread", sent, len(payloads))
	}
	must(t, client.Send(testCtx(t), hostlane.ChannelError, []byte("last")))
	got := 0
	for m, err := range server.Messages(testCtx(t)) {
		must(t, err)
		if m.Channel == hostlane.ChannelError {
			break
		}
		got++
	}
	for got < sent {
		batch, err := server.RecvBatch(testCtx(t), sent-got)
		must(t, err)
		got += len(batch)
	}
	stats, err := server.StatsOn(hostlane.ChannelData)
	must(t, err)
	if stats.MessagesReceived != uint64(sent) {
		t.Errorf("%d were sent, %d arrived", sent, stats.MessagesReceived)
	}
}

func TestBatchOfRequests(t *testing.T) {
	client, server := pair(t)
	done := make(chan error, 20)
	for range cap(done) {
		go func() { _, err := client.Request(testCtx(t), []byte("?")); done <- err }()
	}
	for answered := 0; answered < cap(done); {
		batch, err := server.RecvBatch(testCtx(t), 7)
		must(t, err)
		for _, m := range batch {
			must(t, m.Reply(testCtx(t), nil))
		}
		answered += len(batch)
	}
	for range cap(done) {
		must(t, <-done)
	}
}

func TestPolicies(t *testing.T) {
	const size, most = 100_000, 500
	client, server := pair(t, hostlane.WithChannels(1, 2, 300, 301, 302), hostlane.WithPolicy(300, hostlane.PolicyError),
		hostlane.WithPolicy(301, hostlane.PolicyDropOldest), hostlane.WithPolicy(302, hostlane.PolicyLatest))
	payload := func(i int) []byte { return append(make([]byte, size), byte(i), byte(i>>8)) }
	ctx := testCtx(t)

	refused := 0
	for i := range most {
		if err := client.Send(ctx, 300, payload(i)); err != nil {
			mustBe(t, err, hostlane.ErrWouldBlock)
			refused++
		}
	}
	if refused == 0 || refused == most {
		t.Errorf("%d of %d were refused", refused, most)
	}
	for _, c := range []hostlane.Channel{301, 302} {
		for i := range most {
			must(t, client.Send(ctx, c, payload(i)))
		}
		stats, err := client.StatsOn(c)
		must(t, err)
		if stats.Dropped == 0 || stats.SendQueue.Bytes > 8<<20 {
			t.Errorf("channel %d: %+v", c, stats)
		}
		if c == 302 && stats.SendQueue.Messages > 1 {
			t.Errorf("more than the latest is kept: %+v", stats)
		}
		var last hostlane.Message
		arrived := uint64(0)
		for arrived+stats.Dropped < most {
			last, err = server.RecvOn(ctx, c)
			must(t, err)
			arrived++
		}
		if i := int(last.Data[size]) | int(last.Data[size+1])<<8; i != most-1 {
			t.Errorf("the last on channel %d is %d", c, i)
		}
		theirs, err := server.StatsOn(c)
		must(t, err)
		if theirs.DroppedByPeer != stats.Dropped {
			t.Errorf("channel %d: %d were dropped, the other side knows of %d", c, stats.Dropped, theirs.DroppedByPeer)
		}
	}
	_, err := client.StatsOn(99)
	mustBe(t, err, hostlane.ErrInvalidChannel)
}

func TestDrainAnswersWhatWasAsked(t *testing.T) {
	client, server := pair(t)
	entered, release := make(chan struct{}), make(chan struct{})
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		if !m.IsRequest() {
			return
		}
		close(entered)
		<-release
		expect(t, m.Reply(ctx, []byte("answered")), nil)
	})
	type result struct {
		reply hostlane.Message
		err   error
	}
	asked := make(chan result, 1)
	go func() { m, err := client.Request(testCtx(t), nil); asked <- result{m, err} }()
	<-entered
	drained := make(chan error, 1)
	go func() { drained <- server.Drain(testCtx(t)) }()
	eventually(t, "draining", func() bool {
		err := client.Send(testCtx(t), hostlane.ChannelData, nil)
		return errors.Is(err, hostlane.ErrDraining)
	})
	_, err := client.Request(testCtx(t), nil)
	mustBe(t, err, hostlane.ErrDraining)
	if maybeSent(err) {
		t.Error("a refused call was sent")
	}
	close(release)
	r := <-asked
	must(t, r.err)
	if string(r.reply.Data) != "answered" {
		t.Errorf("received %q", r.reply.Data)
	}
	must(t, <-drained)
}

func TestCallsAboveTheOtherSidesLimitWait(t *testing.T) {
	const most, calls = 3, 30
	client, server := pair(t, hostlane.WithMaxCalls(most))
	var all sync.WaitGroup
	for range calls {
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := client.Request(testCtx(t), nil); err != nil {
				t.Error(err)
			}
		}()
	}
	for range calls {
		m, err := server.Recv(testCtx(t))
		must(t, err)
		stats, err := server.Stats()
		must(t, err)
		if stats.OpenServed > most {
			t.Errorf("%d calls are open", stats.OpenServed)
		}
		must(t, m.Reply(testCtx(t), nil))
	}
	all.Wait()
}

func TestSecret(t *testing.T) {
	l := listen(t, hostlane.WithSecret("sesame"))
	client, _ := connect(t, l, hostlane.WithSecret("sesame"))
	if client.Info().Level != 1 {
		t.Errorf("level %d", client.Info().Level)
	}
	accept(t, l)
	_, err := hostlane.Dial(testCtx(t), l.Addr(), hostlane.WithSecret("wrong"))
	mustBe(t, err, hostlane.ErrAuthenticationFailed)
	_, err = hostlane.Dial(testCtx(t), l.Addr())
	mustBe(t, err, hostlane.ErrAuthenticationFailed)
	_, err = hostlane.Listen("tcp:127.0.0.1:0")
	mustBe(t, err, hostlane.ErrAuthenticationRequired)
	tcp, err := hostlane.Listen("tcp:127.0.0.1:0", hostlane.WithSecret("sesame"))
	must(t, err)
	defer tcp.Close()
	far, near := connect(t, tcp, hostlane.WithSecret("sesame"))
	echo(t, near)
	reply, err := far.Request(testCtx(t), []byte("over TCP"))
	must(t, err)
	if string(reply.Data) != "over TCP" || far.Info().Carrier != "tcp" {
		t.Errorf("%q over %s", reply.Data, far.Info().Carrier)
	}
}

func TestStoppedPeerIsUnresponsive(t *testing.T) {
	process, peer := startChild(t, hostlane.WithKeepalive(100*time.Millisecond))
	must(t, process.Signal(syscall.SIGSTOP))
	_, err := peer.Recv(testCtx(t))
	mustBe(t, err, hostlane.ErrPeerUnresponsive)
}

func TestKilledPeerTellsWhatWasSent(t *testing.T) {
	const most, calls = 4, 10
	l := listen(t)
	process, peer := startChildOf(t, l, fmt.Sprint(most))
	done := make(chan error, calls)
	for range calls {
		go func() { _, err := peer.Request(context.Background(), []byte("?")); done <- err }()
	}
	eventually(t, "the calls are out, as far as the other side takes them", func() bool {
		stats, err := peer.Stats()
		must(t, err)
		return stats.OpenCalls == most && stats.PendingOperations == calls
	})
	must(t, process.Kill())
	sent := 0
	for range calls {
		err := <-done
		if !isOneOf(err, hostlane.CodeConnectionLost, hostlane.CodePeerClosed) {
			t.Errorf("got %v", err)
		}
		if maybeSent(err) {
			sent++
		}
	}
	if sent != most {
		t.Errorf("%d calls say that they may have been sent, want %d", sent, most)
	}
}
