package hostlane_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// journal is a log for tests.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func dial(t *testing.T, addr string) *hostlane.Peer {
	t.Helper()
	peer, err := hostlane.Dial(testCtx(t), addr)
	must(t, err)
	t.Cleanup(func() { peer.Close() })
	return peer
}

// panics is what a handler does with a bug.
func panics(ctx context.Context, m hostlane.Message) {
	switch string(m.Data) {
	case "text":
		panic("on purpose")
	case "error":
		panic(errors.New("an error"))
	case "runtime":
		var none map[string]int
		none["x"] = 1
	case "answered":
		m.Reply(ctx, m.Data)
		panic("too late")
	}
	m.Reply(ctx, m.Data)
}

func mustFail(t *testing.T, err error, text string) {
	t.Helper()
	var remote *hostlane.RemoteError
	if !errors.As(err, &remote) || remote.Code != hostlane.HandlerFailed || !strings.HasPrefix(string(remote.Data), text) {
		t.Fatalf("got %v, want a handler that failed with %q", err, text)
	}
}

func TestAPanicOfAHandlerFailsItsCallAtOnce(t *testing.T) {
	var log journal
	l := listen(t, hostlane.WithLogger(log.logger()))
	served := make(chan error, 1)
	go func() { served <- l.Serve(context.Background(), panics, hostlane.WithMaxHandlers(2)) }()
	peer := dial(t, l.Addr())
	for range 10 {
		for data, text := range map[string]string{
			"text": "panic: on purpose", "error": "panic: an error", "runtime": "panic: assignment to entry in nil map",
		} {
			_, err := peer.Request(testCtx(t), []byte(data))
			mustFail(t, err, text)
		}
		must(t, peer.Send(testCtx(t), hostlane.ChannelData, []byte("text")))
		for _, data := range []string{"answered", "fine"} {
			reply, err := peer.Request(testCtx(t), []byte(data))
			must(t, err)
			if string(reply.Data) != data {
				t.Fatalf("got %q", reply.Data)
			}
		}
	}
	must(t, l.Close())
	must(t, <-served)
	for _, word := range []string{"on purpose", "an error", "nil map", "too late", "misuse_test.go"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("%q is not in the log", word)
		}
	}
}

func TestAPanicOfAHandlerOfALinkFailsItsCall(t *testing.T) {
	var log journal
	addr := testAddr(t)
	serving, err := hostlane.OpenLink(addr, hostlane.WithConnection(hostlane.WithLogger(log.logger())))
	must(t, err)
	calling, err := hostlane.OpenLink(addr)
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- serving.Serve(context.Background(), panics) }()
	_, err = calling.Request(testCtx(t), []byte("text"))
	mustFail(t, err, "panic: on purpose")
	_, err = calling.Request(testCtx(t), []byte("fine"))
	must(t, err)
	must(t, calling.Close())
	must(t, serving.Close())
	must(t, <-served)
	if !strings.Contains(log.String(), "on purpose") {
		t.Error("the panic is not in the log")
	}
}

func TestAClosedListenerEndsWhatItServes(t *testing.T) {
	l := listen(t)
	entered, release := make(chan struct{}), make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- l.Serve(context.Background(), func(ctx context.Context, m hostlane.Message) {
			close(entered)
			<-release
			expect(t, m.Reply(ctx, m.Data), nil)
		})
	}()
	busy, idle := dial(t, l.Addr()), dial(t, l.Addr())
	answered := make(chan error, 1)
	go func() {
		_, err := busy.Request(testCtx(t), []byte("under way"))
		answered <- err
	}()
	<-entered
	must(t, l.Close())
	_, err := idle.Recv(testCtx(t))
	mustBe(t, err, hostlane.ErrPeerClosed)
	close(release)
	must(t, <-answered)
	select {
	case err := <-served:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("a client that stays keeps Serve from ending")
	}
}

func TestWrongOptionsAndUseAfterClose(t *testing.T) {
	invalid := map[string][]hostlane.Option{
		"no channels":       {hostlane.WithChannels()},
		"channel 5":         {hostlane.WithChannels(5)},
		"empty secret":      {hostlane.WithSecret("")},
		"level":             {hostlane.WithLevel(7)},
		"calls":             {hostlane.WithMaxCalls(-1)},
		"keepalive":         {hostlane.WithKeepalive(time.Millisecond)},
		"negative":          {hostlane.WithKeepalive(-time.Second)},
		"hardly negative":   {hostlane.WithKeepalive(-1)},
		"handshake":         {hostlane.WithHandshakeTimeout(-1)},
		"message":           {hostlane.WithMaxMessage(-1)},
		"policy":            {hostlane.WithPolicy(hostlane.ChannelData, 9)},
		"policy of channel": {hostlane.WithPolicy(300, hostlane.PolicyLatest)},
	}
	for name, opts := range invalid {
		for kind, open := range map[string]func(string) error{
			"Dial":   func(addr string) error { _, err := hostlane.Dial(testCtx(t), addr, opts...); return err },
			"Listen": func(addr string) error { _, err := hostlane.Listen(addr, opts...); return err },
			"OpenLink": func(addr string) error {
				_, err := hostlane.OpenLink(addr, hostlane.WithConnection(opts...))
				return err
			},
		} {
			err := open(testAddr(t))
			if !errors.Is(err, hostlane.ErrInvalidArgument) && !errors.Is(err, hostlane.ErrInvalidChannel) {
				t.Errorf("%s with %s: %v", kind, name, err)
			}
		}
	}

	client, server := pair(t)
	mustBe(t, client.Serve(context.Background(), nil), hostlane.ErrInvalidArgument)
	ctx := testCtx(t)
	must(t, client.Close())
	must(t, client.Close())
	for name, use := range map[string]func() error{
		"Request":    func() error { _, err := client.Request(ctx, nil); return err },
		"Send":       func() error { return client.Send(ctx, hostlane.ChannelData, nil) },
		"Recv":       func() error { _, err := client.Recv(ctx); return err },
		"Ping":       func() error { _, err := client.Ping(ctx); return err },
		"OpenStream": func() error { _, err := client.OpenStream(ctx, nil); return err },
	} {
		if err := use(); !errors.Is(err, hostlane.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	// A nil option is none.
	must(t, server.Close())
	must(t, server.Serve(ctx, panics, nil))
}
