// Command link is one half of a pair: two of them, in whatever order, greet each other;
// when one leaves, another may join.
//
//	link ADDR NAME
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	hostlane "github.com/hostlane/hostlane/go"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: link ADDR NAME")
		os.Exit(64)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// README-begin
func run(ctx context.Context, addr, name string) error {
	link, err := hostlane.OpenLink(addr)
	if err != nil {
		return err
	}
	defer link.Close()
	go link.Serve(ctx, func(ctx context.Context, m hostlane.Message) {
		m.Reply(ctx, fmt.Appendf(nil, "%s got: %s", name, m.Data))
	})
	greeting, err := link.Request(ctx, []byte("hello from "+name))
	if err != nil {
		return err
	}
	if serving, _ := link.IsServing(); serving {
		fmt.Println("serving")
	} else {
		fmt.Println("connected")
	}
	fmt.Println(string(greeting.Data))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// README-end
