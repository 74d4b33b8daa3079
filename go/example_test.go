package hostlane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// exampleAddr is a socket path in a fresh directory.
func exampleAddr() (addr string, remove func()) {
	dir, err := os.MkdirTemp("", "hl")
	if err != nil {
		log.Fatal(err)
	}
	return filepath.Join(dir, "s"), func() { os.RemoveAll(dir) }
}

func Example() {
	addr, remove := exampleAddr()
	defer remove()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	listener, err := hostlane.Listen(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go func() {
		peer, err := listener.Accept(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		defer peer.Close()
		for m, err := range peer.Messages(context.Background()) {
			if err == nil {
				err = m.Reply(context.Background(), append([]byte("you said "), m.Data...))
			}
			if err != nil {
				log.Fatal(err)
			}
		}
	}()

	peer, err := hostlane.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	reply, err := peer.Request(ctx, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply.Data)
	// Output: you said hello
}

func ExamplePeer_Messages() {
	addr, remove := exampleAddr()
	defer remove()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	listener, err := hostlane.Listen(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go func() {
		peer, err := hostlane.Dial(ctx, addr)
		if err != nil {
			log.Fatal(err)
		}
		defer peer.Close()
		for _, text := range []string{"one", "two", "three"} {
			if err := peer.Send(ctx, hostlane.ChannelData, []byte(text)); err != nil {
				log.Fatal(err)
			}
		}
	}()

	peer, err := listener.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	for m, err := range peer.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", m.Data)
	}
	// Output:
	// one
	// two
	// three
}

func ExampleError() {
	addr, remove := exampleAddr()
	defer remove()
	_, err := hostlane.Dial(context.Background(), addr)
	fmt.Println(errors.Is(err, hostlane.ErrNotFound), errors.Is(err, os.ErrNotExist), errors.Is(err, io.EOF))

	var e *hostlane.Error
	if errors.As(err, &e) {
		fmt.Println(int(e.Code), e.Code, e.Retryable())
	}
	// Output:
	// true true false
	// 202 not_found true
}
