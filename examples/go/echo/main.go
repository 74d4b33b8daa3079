// Command echo listens on an address and sends every message back on its own
// channel: messages on their channel, calls as their reply.
//
//	echo ADDR
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	hostlane "github.com/hostlane/hostlane/go"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: echo ADDR")
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// README-begin
func serve(ctx context.Context, addr string) error {
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
		go echo(ctx, peer)
	}
}

// README-end

func echo(ctx context.Context, peer *hostlane.Peer) {
	defer peer.Close()
	for m, err := range peer.Messages(ctx) {
		if err == nil {
			err = m.Reply(ctx, m.Data)
		}
		if err != nil && ctx.Err() == nil {
			log.Print(err)
			return
		}
	}
}
