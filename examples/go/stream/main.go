// Command stream serves sums over a stream, and asks for one.
//
//	stream ADDR
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stream ADDR")
		os.Exit(64)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	listener, err := hostlane.Listen(addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	go listener.Serve(ctx, serve)

	peer, err := hostlane.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer peer.Close()
	return ask(ctx, peer)
}

// README-begin
func serve(ctx context.Context, m hostlane.Message) {
	sum := number(m.Data)
	stream, err := m.Stream()
	if err != nil {
		return // not what is served here
	}
	for item, err := range stream.Items(ctx) {
		if err != nil {
			return
		}
		sum += number(item)
		if stream.Send(ctx, fmt.Appendf(nil, "%d so far", sum)) != nil {
			return
		}
	}
	m.Reply(ctx, []byte(strconv.Itoa(sum)))
}

func ask(ctx context.Context, peer *hostlane.Peer) error {
	stream, err := peer.OpenStream(ctx, []byte("100"))
	if err != nil {
		return err
	}
	defer stream.Close()
	for n := 1; n <= 3; n++ {
		if err := stream.Send(ctx, []byte(strconv.Itoa(n))); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(ctx); err != nil {
		return err
	}
	for item, err := range stream.Items(ctx) {
		if err != nil {
			return err
		}
		fmt.Println(string(item))
	}
	fmt.Println("the sum is", number(stream.Reply()))
	return nil
}

// README-end

func number(text []byte) int {
	n, _ := strconv.Atoi(string(text)) // what is none counts as 0
	return n
}
