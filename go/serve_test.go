package hostlane_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

func TestHandlersAreBoundedAndAllRun(t *testing.T) {
	const calls = many / 2
	for _, most := range []int{-1, 1, 2, 7, 100} {
		client, server := pair(t)
		var running, peak atomic.Int32
		serve(t, server, func(ctx context.Context, m hostlane.Message) {
			now := running.Add(1)
			for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
			}
			time.Sleep(100 * time.Microsecond) // its work
			running.Add(-1)
			if err := m.Reply(ctx, m.Data); err != nil {
				t.Error(err)
			}
		}, hostlane.WithMaxHandlers(most))
		var all sync.WaitGroup
		for range calls {
			all.Add(1)
			go func() {
				defer all.Done()
				if _, err := client.Request(testCtx(t), []byte("x")); err != nil {
					t.Error(err)
				}
			}()
		}
		all.Wait()
		if limit := int32(max(most, 1)); peak.Load() > limit || limit > 1 && peak.Load() < 2 {
			t.Errorf("%d handlers ran at a time, the bound is %d", peak.Load(), limit)
		}
	}
}

func TestBlockedHandlersBlockNobody(t *testing.T) {
	client, server := pair(t)
	release := make(chan struct{})
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		if string(m.Data) == "block" {
			<-release
		}
		expect(t, m.Reply(context.Background(), nil), nil)
	}, hostlane.WithMaxHandlers(3))
	done := make(chan error, 2)
	for range 2 {
		go func() { _, err := client.Request(testCtx(t), []byte("block")); done <- err }()
	}
	for range 50 {
		_, err := client.Request(testCtx(t), nil)
		must(t, err)
	}
	close(release)
	must(t, <-done)
	must(t, <-done)
}

func TestOneWayMessagesAreServedInOrder(t *testing.T) {
	client, server := pair(t)
	var got []byte
	serve(t, server, func(ctx context.Context, m hostlane.Message) {
		if !m.IsRequest() {
			got = append(got, m.Data...)
			return
		}
		expect(t, m.Reply(ctx, nil), nil)
	})
	for i := range 200 {
		must(t, client.Send(testCtx(t), hostlane.ChannelCommand, []byte{byte(i)}))
	}
	_, err := client.Request(testCtx(t), nil)
	must(t, err)
	for i, b := range got {
		if int(b) != i || len(got) != 200 {
			t.Fatalf("received %v", got)
		}
	}
}

func TestServeEnds(t *testing.T) {
	_, server := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	before := waiting()
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, func(context.Context, hostlane.Message) {}) }()
	eventually(t, "serving", func() bool { return waiting() > before })
	cancel()
	mustBe(t, <-done, context.Canceled)

	client, server := pair(t)
	entered := make(chan struct{})
	go func() {
		done <- server.Serve(context.Background(), func(ctx context.Context, m hostlane.Message) {
			close(entered)
			<-ctx.Done()
		})
	}()
	go client.Request(context.Background(), nil)
	<-entered
	must(t, client.Close())
	must(t, <-done)

	conn, broken := rawPair(t)
	write(t, conn, []byte("XXXXXXXX"))
	mustBe(t, broken.Serve(context.Background(), nothing), hostlane.ErrBadMagic)
}

func TestListenerServesManyConnections(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- l.Serve(ctx, func(ctx context.Context, m hostlane.Message) { expect(t, m.Reply(ctx, m.Data), nil) })
	}()
	var all sync.WaitGroup
	for _, level := range []hostlane.Level{hostlane.LevelZero, hostlane.LevelOne, hostlane.LevelAuto} {
		for range 5 {
			all.Add(1)
			go func() {
				defer all.Done()
				peer, err := hostlane.Dial(testCtx(t), l.Addr(), hostlane.WithLevel(level))
				if err != nil {
					t.Error(err)
					return
				}
				defer peer.Close()
				for range 20 {
					if reply, err := peer.Request(testCtx(t), []byte("hello")); err != nil || string(reply.Data) != "hello" {
						t.Errorf("%q, %v", reply.Data, err)
					}
				}
			}()
		}
	}
	all.Wait()
	open, err := hostlane.Dial(testCtx(t), l.Addr())
	must(t, err)
	defer open.Close()
	_, err = open.Request(testCtx(t), nil)
	must(t, err)
	cancel()
	mustBe(t, <-done, context.Canceled)
	_, err = open.Recv(testCtx(t))
	mustBe(t, err, hostlane.ErrPeerClosed)

	other := listen(t)
	go func() { done <- other.Serve(context.Background(), nothing) }()
	must(t, other.Close())
	must(t, <-done)
}

func TestAHandlerMayEndItsGoroutine(t *testing.T) {
	for _, most := range []int{1, 2, 100} {
		client, server := pair(t)
		ctx, cancel := context.WithCancel(context.Background())
		var got atomic.Int32
		done := make(chan error, 1)
		go func() {
			done <- server.Serve(ctx, func(ctx context.Context, m hostlane.Message) {
				got.Add(1)
				if string(m.Data) == "reply" {
					expect(t, m.Reply(ctx, nil), nil)
				}
				runtime.Goexit()
			}, hostlane.WithMaxHandlers(most))
		}()
		var all sync.WaitGroup
		for i := range 200 {
			must(t, client.Send(testCtx(t), hostlane.ChannelData, []byte("one way")))
			all.Add(1)
			go func() {
				defer all.Done()
				if i%2 == 0 {
					_, err := client.Request(testCtx(t), []byte("reply"))
					expect(t, err, nil)
				} else {
					_, err := client.Request(testCtx(t), nil)
					expect(t, err, hostlane.ErrCallAbandoned)
				}
			}()
		}
		all.Wait()
		eventually(t, "everything handled", func() bool { return got.Load() == 400 })
		cancel()
		mustBe(t, <-done, context.Canceled)
	}
}
