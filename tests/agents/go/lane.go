package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	for m, err := range peer.Messages(ctx) {
		if err == nil && m.Channel == hostlane.ChannelCommand {
			err = m.Reply(ctx, strconv.AppendInt(nil, int64(counted), 10))
		} else if err == nil {
			counted++
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			return
		}
	}
}
