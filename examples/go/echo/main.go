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
	if err := run(os.Args[1]); !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := hostlane.Listen(addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Println("ready", addr)
	return serve(ctx, listener)
}

// README-begin
func serve(ctx context.Context, listener *hostlane.Listener) error {
	return listener.Serve(ctx, func(ctx context.Context, m hostlane.Message) {
		err := m.Reply(ctx, m.Data)
		if err != nil && ctx.Err() == nil {
			log.Print(err)
		}
		m.Release()
	})
}

// README-end
