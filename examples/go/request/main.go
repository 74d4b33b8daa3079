// Command request makes one call and prints the reply.
//
//	request ADDR TEXT
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: request ADDR TEXT")
		os.Exit(64)
	}
	reply, err := request(os.Args[1], os.Args[2])
	if errors.Is(err, context.DeadlineExceeded) {
		err = hostlane.ErrTimeout
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(reply)
}

// README-begin
func request(addr, text string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	peer, err := hostlane.Dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer peer.Close()

	reply, err := peer.Request(ctx, []byte(text))
	if err != nil {
		return "", err // errors.Is(err, hostlane.ErrPeerClosed), context.DeadlineExceeded, …
	}
	return string(reply.Data), nil
}

// README-end
