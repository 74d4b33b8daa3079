package hostlane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	hostlane "github.com/hostlane/hostlane/go"
)

func TestRoundTrip(t *testing.T) {
	client, server := pair(t)
	ctx := testCtx(t)
	must(t, client.Send(ctx, hostlane.ChannelData, []byte("there")))
	m, err := server.Recv(ctx)
	must(t, err)
	if m.Channel != hostlane.ChannelData || string(m.Data) != "there" {
		t.Fatalf("received %d %q", m.Channel, m.Data)
	}
	must(t, m.Reply(ctx, []byte("and back")))
	back, err := client.RecvOn(ctx, hostlane.ChannelData)
	must(t, err)
	if back.Channel != hostlane.ChannelData || string(back.Data) != "and back" {
		t.Fatalf("received %d %q", back.Channel, back.Data)
	}
}

func TestRequestOfEverySize(t *testing.T) {
	client, server := pair(t)
	echo(t, server)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, size := range []int{0, 1, 255, 256, 4096, 65536, 300_000, 1 << 20, 16 << 20} {
		payload := bytes.Repeat(every, size/256+1)[:size]
		reply, err := client.Request(testCtx(t), payload)
		must(t, err)
		if reply.Channel != hostlane.ChannelCommand || !bytes.Equal(reply.Data, payload) || reply.Data == nil {
			t.Fatalf("%d bytes came back as %d bytes on channel %d", size, len(reply.Data), reply.Channel)
		}
	}
}

func TestEmptyMessage(t *testing.T) {
	client, server := pair(t)
	ctx := testCtx(t)
	must(t, client.Send(ctx, hostlane.ChannelData, nil))
	must(t, client.Send(ctx, hostlane.ChannelData, []byte{}))
	for range 2 {
		m, err := server.Recv(ctx)
		must(t, err)
		if m.Data == nil || len(m.Data) != 0 {
			t.Fatalf("received %#v", m.Data)
		}
	}
}

func TestLimitAndOneOver(t *testing.T) {
	const limit = 1000
	client, server := pair(t, hostlane.WithMaxMessage(limit))
	echo(t, server)
	ctx := testCtx(t)
	over := make([]byte, limit+1)
	mustBe(t, client.Send(ctx, hostlane.ChannelData, over), hostlane.ErrPayloadTooLarge)
	_, err := client.Request(ctx, over)
	mustBe(t, err, hostlane.ErrPayloadTooLarge)
	reply, err := client.Request(ctx, over[:limit])
	must(t, err)
	if len(reply.Data) != limit {
		t.Fatalf("%d bytes came back", len(reply.Data))
	}
}

func TestSenderMayReuseItsBuffer(t *testing.T) {
	client, server := pair(t)
	ctx := testCtx(t)
	buf := make([]byte, 8)
	for i := range 100 {
		copy(buf, fmt.Sprintf("%08d", i))
		must(t, client.Send(ctx, hostlane.ChannelData, buf))
	}
	for i := range 100 {
		m, err := server.Recv(ctx)
		must(t, err)
		if want := fmt.Sprintf("%08d", i); string(m.Data) != want {
			t.Fatalf("received %q, want %q", m.Data, want)
		}
	}
}

func TestChannelsKeepTheirMessages(t *testing.T) {
	client, server := pair(t, hostlane.WithChannels(hostlane.ChannelData, 256, 65535))
	ctx := testCtx(t)
	sent := []hostlane.Channel{256, 65535, hostlane.ChannelData}
	for _, c := range sent {
		must(t, client.Send(ctx, c, fmt.Append(nil, c)))
	}
	m, err := server.RecvOn(ctx, hostlane.ChannelData)
	must(t, err)
	if string(m.Data) != "2" {
		t.Fatalf("received %q on the data channel", m.Data)
	}
	for _, c := range sent[:2] {
		m, err := server.Recv(ctx)
		must(t, err)
		if m.Channel != c {
			t.Fatalf("received channel %d, want %d: arrival order", m.Channel, c)
		}
	}
	mustBe(t, client.Send(ctx, hostlane.ChannelTelemetry, nil), hostlane.ErrInvalidChannel)
	mustBe(t, client.Send(ctx, 0, nil), hostlane.ErrInvalidChannel)
	_, err = server.RecvOn(ctx, 300)
	mustBe(t, err, hostlane.ErrInvalidChannel)
}

func TestMessagesEndQuietly(t *testing.T) {
	client, server := pair(t)
	ctx := testCtx(t)
	for i := range 3 {
		must(t, client.Send(ctx, hostlane.ChannelData, []byte{byte(i)}))
	}
	must(t, client.Close())
	var got []byte
	for m, err := range server.Messages(ctx) {
		must(t, err)
		got = append(got, m.Data...)
	}
	if !bytes.Equal(got, []byte{0, 1, 2}) {
		t.Fatalf("received %v", got)
	}
	_, err := server.Recv(ctx)
	mustBe(t, err, hostlane.ErrPeerClosed)
	for range client.Messages(ctx) {
		t.Fatal("a closed peer yielded something")
	}
}

func TestMessagesYieldOtherErrorsOnce(t *testing.T) {
	_, server := pair(t)
	ctx, cancel := context.WithCancel(testCtx(t))
	cancel()
	yielded := 0
	for _, err := range server.Messages(ctx) {
		mustBe(t, err, context.Canceled)
		yielded++
	}
	if yielded != 1 {
		t.Fatalf("yielded %d times", yielded)
	}
}

func TestMessagesStopsWhenTold(t *testing.T) {
	client, server := pair(t)
	ctx := testCtx(t)
	for range 2 {
		must(t, client.Send(ctx, hostlane.ChannelData, []byte("x")))
	}
	for _, err := range server.Messages(ctx) {
		must(t, err)
		break
	}
	_, err := server.Recv(ctx) // the second is still there
	must(t, err)
}

func TestManyGoroutinesShareOnePeer(t *testing.T) {
	client, server := pair(t)
	for range 4 {
		echo(t, server)
	}
	var all sync.WaitGroup
	for i := range 100 {
		all.Add(1)
		go func() {
			defer all.Done()
			// Four echoes answer concurrently, so replies may swap; the payload is the same.
			payload := []byte(strings.Repeat("x", 10))
			for range 20 {
				reply, err := client.Request(testCtx(t), payload)
				if err != nil || !bytes.Equal(reply.Data, payload) {
					t.Errorf("goroutine %d: %q, %v", i, reply.Data, err)
					return
				}
			}
		}()
	}
	all.Wait()
}

func TestPing(t *testing.T) {
	client, server := pair(t)
	rtt, err := client.Ping(testCtx(t))
	must(t, err)
	if rtt <= 0 || rtt > patience {
		t.Fatalf("round trip %v", rtt)
	}
	_, err = server.Ping(testCtx(t))
	must(t, err)
}

func TestDrain(t *testing.T) {
	client, server := pair(t)
	ctx := testCtx(t)
	must(t, server.Send(ctx, hostlane.ChannelData, []byte("early")))
	must(t, client.Send(ctx, hostlane.ChannelData, []byte("last")))
	if _, err := client.Ping(ctx); err != nil { // what the server sent has arrived
		t.Fatal(err)
	}
	must(t, client.Drain(ctx))
	mustBe(t, client.Send(ctx, hostlane.ChannelData, nil), hostlane.ErrClosed)
	m, err := client.Recv(ctx)
	must(t, err)
	if string(m.Data) != "early" {
		t.Fatalf("received %q", m.Data)
	}
	m, err = server.Recv(ctx)
	must(t, err)
	if string(m.Data) != "last" {
		t.Fatalf("received %q", m.Data)
	}
	_, err = server.Recv(ctx)
	mustBe(t, err, hostlane.ErrPeerClosed)
}

func TestInfoAndStats(t *testing.T) {
	l := listen(t)
	client, server := connect(t, l)
	echo(t, server)
	_, err := client.Request(testCtx(t), make([]byte, 100))
	must(t, err)

	info := client.Info()
	if info.PID != os.Getpid() || info.UID != uint32(os.Getuid()) || info.GID != uint32(os.Getgid()) {
		t.Errorf("other side: %+v, want this process", info)
	}
	want := []hostlane.Channel{1, 2, 3, 4}
	if fmt.Sprint(info.Channels) != fmt.Sprint(want) {
		t.Errorf("channels %v, want %v", info.Channels, want)
	}
	stats, err := client.Stats()
	must(t, err)
	if stats.MessagesSent != 1 || stats.MessagesReceived != 1 || stats.BytesSent < 100 || stats.BytesReceived < 100 {
		t.Errorf("stats %+v after one call of 100 bytes", stats)
	}
	listening, err := l.Stats()
	must(t, err)
	if listening.Accepted != 1 || listening.Refused != 0 {
		t.Errorf("listener stats %+v after one connection", listening)
	}
}

func TestOptionsOfBothSides(t *testing.T) {
	ctx := testCtx(t)
	secret := listen(t, hostlane.WithAuthToken("sesame"))
	accepted := accept(t, secret)
	_, err := hostlane.Dial(ctx, secret.Addr(), hostlane.WithAuthToken("wrong"))
	mustBe(t, err, hostlane.ErrAuthenticationFailed)
	_, err = hostlane.Dial(ctx, secret.Addr())
	mustBe(t, err, hostlane.ErrAuthenticationFailed)
	trusted, err := hostlane.Dial(ctx, secret.Addr(), hostlane.WithAuthToken("sesame"))
	must(t, err)
	defer trusted.Close()
	accepted()
	refusals, err := secret.Refusals()
	must(t, err)
	if len(refusals) != 2 || refusals[0].Code != hostlane.CodeAuthenticationFailed || refusals[0].PID != os.Getpid() {
		t.Errorf("refusals %+v", refusals)
	}

	mine := uint32(os.Getuid())
	connect(t, listen(t, hostlane.WithAllowUIDs(mine)))
	others := listen(t, hostlane.WithAllowUIDs(mine+1))
	accept(t, others)
	_, err = hostlane.Dial(ctx, others.Addr())
	mustBe(t, err, hostlane.ErrPermissionDenied)
	closed := listen(t, hostlane.WithAllowUIDs())
	accept(t, closed)
	_, err = hostlane.Dial(ctx, closed.Addr())
	mustBe(t, err, hostlane.ErrPermissionDenied)

	apart := listen(t, hostlane.WithChannels(500))
	accept(t, apart)
	_, err = hostlane.Dial(ctx, apart.Addr(), hostlane.WithChannels(501))
	mustBe(t, err, hostlane.ErrNoCommonChannel)
}

func TestBacklogReachesTheKernel(t *testing.T) {
	l := listen(t, hostlane.WithBacklog(2)) // nobody accepts
	for held := 0; held <= 10; held++ {
		conn, err := net.Dial("unix", socketPath(l))
		if err != nil {
			if held < 2 || !errors.Is(err, syscall.EAGAIN) {
				t.Errorf("after %d connections: %v", held, err)
			}
			return
		}
		defer conn.Close()
	}
	t.Error("the kernel holds more connections than the backlog")
}

func TestOptionsThatAreWrong(t *testing.T) {
	for name, opt := range map[string]hostlane.Option{
		"no channel":        hostlane.WithChannels(),
		"control channel":   hostlane.WithChannels(0),
		"reserved channel":  hostlane.WithChannels(5),
		"empty token":       hostlane.WithAuthToken(""),
		"long token":        hostlane.WithAuthToken(strings.Repeat("x", 4097)),
		"negative limit":    hostlane.WithMaxMessage(-1),
		"limit too large":   hostlane.WithMaxMessage(16<<20 + 1),
		"negative deadline": hostlane.WithHandshakeTimeout(-1),
		"negative backlog":  hostlane.WithBacklog(-1),
		"backlog too large": hostlane.WithBacklog(65536),
	} {
		l, err := hostlane.Listen(testAddr(t), opt)
		if err == nil {
			l.Close()
			t.Errorf("%s: accepted", name)
			continue
		}
		if code := err.(*hostlane.Error).Code; code != hostlane.CodeInvalidArgument && code != hostlane.CodeInvalidChannel {
			t.Errorf("%s: %v", name, err)
		}
	}
}
