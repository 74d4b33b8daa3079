// Command lane is hostlane: calls for round trips, messages on ChannelData for what is
// one-way, gathered like those of raw-batched, and a server that is Serve.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/hostlane/hostlane/bench/go/frame"
	hostlane "github.com/hostlane/hostlane/go"
)

// gathered is how many bytes of one-way messages leave together.
const gathered = 64 << 10

type client struct {
	peer *hostlane.Peer
	// waiting are the one-way messages that wait to leave, copied to room.
	waiting [][]byte
	room    []byte
}

func connect(addr string) (frame.Client, error) {
	peer, err := hostlane.Dial(context.Background(), addr)
	if err != nil {
		return nil, err
	}
	return &client{peer: peer, room: make([]byte, 0, gathered)}, nil
}

func (c *client) Call(request []byte) ([]byte, error) {
	reply, err := c.peer.Request(context.Background(), request)
	return reply.Data, err
}

func (c *client) Send(message []byte) error {
	if len(message) > gathered {
		if err := c.flush(); err != nil {
			return err
		}
		return c.peer.Send(context.Background(), hostlane.ChannelData, message)
	}
	if len(c.room)+len(message) > gathered {
		if err := c.flush(); err != nil {
			return err
		}
	}
	start := len(c.room)
	c.room = append(c.room, message...)
	c.waiting = append(c.waiting, c.room[start:])
	return nil
}

func (c *client) flush() error {
	_, err := c.peer.SendBatch(context.Background(), hostlane.ChannelData, c.waiting)
	c.waiting, c.room = c.waiting[:0], c.room[:0]
	return err
}

// Finish goes on the channel of the messages, which keeps their order.
func (c *client) Finish(message []byte) ([]byte, error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	reply, err := c.peer.Request(context.Background(), message, hostlane.OnChannel(hostlane.ChannelData))
	return reply.Data, err
}

func (c *client) Close() error { return c.peer.Close() }

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
			defer peer.Close()
			if err := answer(peer); err != nil {
				fmt.Fprintln(os.Stderr, "error:", err)
			}
		}()
	}
}

func answer(peer *hostlane.Peer) error {
	var service frame.Service
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	err := peer.Serve(ctx, func(ctx context.Context, message hostlane.Message) {
		reply, err := service.Handle(message.Data)
		if err == nil && reply != nil {
			err = message.Reply(ctx, reply)
		}
		if err != nil {
			stop(err)
		}
		message.Release()
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func main() { frame.Main(serve, connect) }
