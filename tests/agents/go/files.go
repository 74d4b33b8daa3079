package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// piece is the largest DATA message a file is cut into.
const piece = 256 << 10

// files echoes every file named on in and writes what came back to out, for the
// runner to judge.
func files(addr string, in io.Reader, out io.Writer) error {
	w := bufio.NewWriterSize(out, 1<<20)
	client := client{addr: addr}
	defer client.hangUp()
	paths := bufio.NewScanner(in)
	for paths.Scan() {
		if err := client.file(w, paths.Text()); err != nil {
			client.hangUp()
			fmt.Fprintf(w, "error %s\n", describe(err))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return paths.Err()
}

// client connects when it is needed, again after an error.
type client struct {
	addr string
	peer *hostlane.Peer
}

func (c *client) connect() (*hostlane.Peer, error) {
	if c.peer != nil {
		return c.peer, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	peer, err := hostlane.Dial(ctx, c.addr)
	if err == nil {
		c.peer = peer
	}
	return peer, err
}

func (c *client) hangUp() {
	if c.peer != nil {
		c.peer.Close()
		c.peer = nil
	}
}

func (c *client) file(w io.Writer, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	peer, err := c.connect()
	if err != nil {
		return err
	}
	echoed, times, err := pieces(peer, content)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "data %d %d\n", len(echoed), percentile(times, 50).Nanoseconds()); err != nil {
		return err
	}
	if _, err := w.Write(echoed); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	start := time.Now()
	reply, err := peer.Request(ctx, content)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "call %d %d\n", len(reply.Data), time.Since(start).Nanoseconds()); err != nil {
		return err
	}
	_, err = w.Write(reply.Data)
	return err
}

// pieces sends content as DATA messages, each after the echo of the one before.
// An empty file is one empty message.
func pieces(peer *hostlane.Peer, content []byte) (echoed []byte, times []time.Duration, err error) {
	echoed = make([]byte, 0, len(content))
	for rest := content; ; {
		part := rest[:min(piece, len(rest))]
		rest = rest[len(part):]
		start := time.Now()
		m, err := roundTrip(peer, part)
		if err != nil {
			return nil, nil, err
		}
		times = append(times, time.Since(start))
		echoed = append(echoed, m.Data...)
		if len(rest) == 0 {
			slices.Sort(times)
			return echoed, times, nil
		}
	}
}

func roundTrip(peer *hostlane.Peer, part []byte) (hostlane.Message, error) {
	sending, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := peer.Send(sending, hostlane.ChannelData, part); err != nil {
		return hostlane.Message{}, err
	}
	receiving, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return peer.RecvOn(receiving, hostlane.ChannelData)
}

// describe gives "NAME message" on one line.
func describe(err error) string {
	name := "io"
	var e *hostlane.Error
	switch {
	case errors.As(err, &e):
		name = e.Code.String()
	case errors.Is(err, context.DeadlineExceeded):
		name = hostlane.CodeTimeout.String()
	}
	return name + " " + strings.ReplaceAll(err.Error(), "\n", " ")
}
