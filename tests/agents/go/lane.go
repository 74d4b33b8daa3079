package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

func dial(addr string, span time.Duration) (context.Context, *hostlane.Peer, func(), error) {
	ctx, cancel := context.WithTimeout(context.Background(), span+deadline)
	peer, err := hostlane.Dial(ctx, addr)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return ctx, peer, func() { peer.Close(); cancel() }, nil
}

func bench(addr string, size int, span time.Duration) error {
	ctx, peer, done, err := dial(addr, span)
	if err != nil {
		return err
	}
	defer done()
	payload := bytes.Repeat([]byte{'x'}, size)
	return pingPong(span, func() error {
		reply, err := peer.Request(ctx, payload)
		if err == nil && len(reply.Data) != size {
			err = fmt.Errorf("sent %d bytes, received %d", size, len(reply.Data))
		}
		reply.Release()
		return err
	})
}

func stream(addr string, size int, span time.Duration) error {
	ctx, peer, done, err := dial(addr, span)
	if err != nil {
		return err
	}
	defer done()
	payload := bytes.Repeat([]byte{'x'}, size)
	sent := 0
	start := time.Now()
	for time.Since(start) < span {
		if err := peer.Send(ctx, hostlane.ChannelData, payload); err != nil {
			return err
		}
		sent++
	}
	reply, err := peer.Request(ctx, nil)
	if err != nil {
		return err
	}
	return account(sent, size, time.Since(start), reply.Data)
}

// batchMost is how many messages go into one call of SendBatch and RecvBatch.
const batchMost = 256

// batch is stream by SendBatch.
func batch(addr string, size int, span time.Duration) error {
	ctx, peer, done, err := dial(addr, span)
	if err != nil {
		return err
	}
	defer done()
	payloads := slices.Repeat([][]byte{bytes.Repeat([]byte{'x'}, size)}, batchMost)
	sent := 0
	start := time.Now()
	for time.Since(start) < span {
		n, err := peer.SendBatch(ctx, hostlane.ChannelData, payloads)
		sent += n
		if err != nil {
			return err
		}
	}
	// On the same channel, which alone keeps their order.
	reply, err := peer.Request(ctx, nil, hostlane.OnChannel(hostlane.ChannelData))
	if err != nil {
		return err
	}
	return account(sent, size, time.Since(start), reply.Data)
}

// flight makes calls from many goroutines at a time.
func flight(addr string, size int, span time.Duration) error {
	ctx, peer, done, err := dial(addr, span)
	if err != nil {
		return err
	}
	defer done()
	const callers = 64
	payload := bytes.Repeat([]byte{'x'}, size)
	counts := make(chan int, callers)
	failed := make(chan error, callers)
	start := time.Now()
	for range callers {
		go func() {
			n := 0
			for ; time.Since(start) < span; n++ {
				if _, err := peer.Request(ctx, payload); err != nil {
					failed <- err
					break
				}
			}
			counts <- n
		}()
	}
	total := 0
	for range callers {
		total += <-counts
	}
	select {
	case err := <-failed:
		return err
	default:
		return report(throughput{total, time.Since(start).Seconds(), total * size})
	}
}

// account reports a stream after checking the sink's count.
func account(sent, size int, took time.Duration, answer []byte) error {
	counted, err := strconv.Atoi(string(answer))
	if err != nil {
		return err
	}
	if counted != sent {
		return fmt.Errorf("sent %d messages, the sink counted %d", sent, counted)
	}
	return report(throughput{sent, took.Seconds(), sent * size})
}

func sink(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := hostlane.Listen(addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Println("ready", addr)
	for {
		peer, err := listener.Accept(ctx)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		go count(ctx, peer)
	}
}

func count(ctx context.Context, peer *hostlane.Peer) {
	defer peer.Close()
	counted := 0
	for {
		messages, err := peer.RecvBatch(ctx, 4*batchMost)
		for _, m := range messages {
			if !m.IsRequest() && m.Channel != hostlane.ChannelCommand {
				counted++
			} else if err = m.Reply(ctx, strconv.AppendInt(nil, int64(counted), 10)); err != nil {
				break
			}
		}
		if errors.Is(err, hostlane.ErrPeerClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			return
		}
	}
}
