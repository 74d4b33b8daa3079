// Command lane is hostlane: calls for round trips, messages on ChannelData for what is
// one-way.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hostlane/hostlane/bench/go/frame"
	hostlane "github.com/hostlane/hostlane/go"
)

type client struct{ peer *hostlane.Peer }

func connect(addr string) (frame.Client, error) {
	peer, err := hostlane.Dial(context.Background(), addr)
	if err != nil {
		return nil, err
	}
	return client{peer}, nil
}

func (c client) Call(request []byte) ([]byte, error) {
	reply, err := c.peer.Request(context.Background(), request)
	return reply.Data, err
}

func (c client) Send(message []byte) error {
	return c.peer.Send(context.Background(), hostlane.ChannelData, message)
}

func (c client) Finish(message []byte) ([]byte, error) { return c.Call(message) }
func (c client) Close() error                          { return c.peer.Close() }

func serve(addr string) error {
	listener, err := hostlane.Listen(addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	frame.Ready(addr)
	for {
		peer, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go func() {
			if err := answer(peer); err != nil {
				fmt.Fprintln(os.Stderr, "error:", err)
			}
		}()
	}
}

func answer(peer *hostlane.Peer) error {
	defer peer.Close()
	var service frame.Service
	for {
		message, err := peer.Recv(context.Background())
		if errors.Is(err, hostlane.ErrPeerClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		reply, err := service.Handle(message.Data)
		if err != nil {
			return err
		}
		if reply == nil {
			continue
		}
		if err := message.Reply(context.Background(), reply); err != nil {
			return err
		}
	}
}

func main() { frame.Main(serve, connect) }
