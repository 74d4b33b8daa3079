package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/hostlane/hostlane/go"
)

// came is what came of a chain: messages that each carry their number and the SHA-256
// over themselves and all before, so that whoever receives them knows what is missing,
// what came twice, in another order or changed. See docs/soak.md.
type came struct {
	next                                int // the number that is due
	head                                string
	lost, doubled, reordered, corrupted int
}

// chains are those that arrive at an end, by name.
type chains struct {
	mu  sync.Mutex
	all map[string]*came
}

// take takes a message into account; false if it is of no chain.
func (c *chains) take(message []byte) bool {
	parts := bytes.SplitN(message, []byte(" "), 5)
	if len(parts) < 5 || string(parts[0]) != "chain" {
		return false
	}
	name, head := string(parts[1]), string(parts[3])
	number, err := strconv.Atoi(string(parts[2]))
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all[name] == nil {
		c.all[name] = &came{}
	}
	of := c.all[name]
	if number < of.next {
		// It fills a gap if there is one.
		if of.lost > 0 {
			of.lost--
			of.reordered++
		} else {
			of.doubled++
		}
		return true
	}
	of.lost += number - of.next
	if number == of.next && head != headOf(of.head, name, number, parts[4]) {
		of.corrupted++
	}
	of.next, of.head = number+1, head
	return true
}

// report is what came of a chain so far.
func (c *chains) report(name string) object {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := came{}
	if known := c.all[name]; known != nil {
		of = *known
	}
	return object{
		"next": of.next, "head": of.head, "lost": of.lost, "doubled": of.doubled,
		"reordered": of.reordered, "corrupted": of.corrupted,
	}
}

func (c *chains) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.all)
}

// headOf is the head of a message behind another.
func headOf(before, name string, number int, body []byte) string {
	digest := sha256.New()
	fmt.Fprintf(digest, "%s%s %d ", before, name, number)
	digest.Write(body)
	return fmt.Sprintf("%x", digest.Sum(nil))
}

// chain is one that is sent.
type chain struct {
	*asked
	peer   *hostlane.Peer
	random uint32
	head   string
	next   int // messages that were sent
	wrong  int // what of them came back otherwise
	bytes  int
}

// extend sends a chain, and tells how far it came.
func extend(p *hostlane.Peer, a *asked) object {
	c := &chain{asked: a, peer: p, random: a.Seed}
	told := object{"error": "", "sent": ""}
	if err := c.send(); err != nil {
		failed := described(err)
		told["error"], told["sent"] = failed["name"], failed["sent"]
	}
	told["next"], told["head"], told["bytes"], told["wrong"] = c.next, c.head, c.bytes, c.wrong
	return told
}

func (c *chain) send() error {
	switch c.How {
	case "send":
		return c.exchange(func(ctx context.Context, message []byte) ([]byte, error) {
			return message, c.peer.Send(ctx, c.Channel, message)
		})
	case "call":
		return c.exchange(func(ctx context.Context, message []byte) ([]byte, error) {
			reply, err := c.peer.Request(ctx, message, c.callOptions()...)
			return reply.Data, err
		})
	}
	ctx, stop := c.within()
	defer stop()
	s, err := c.peer.OpenStream(ctx, []byte("stream echo"), c.callOptions()...)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := c.exchange(func(ctx context.Context, message []byte) ([]byte, error) {
		if err := s.Send(ctx, message); err != nil {
			return nil, err
		}
		return s.Recv(ctx)
	}); err != nil {
		return err
	}
	if err := s.CloseSend(ctx); err != nil {
		return err
	}
	_, err = s.Recv(ctx)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		c.wrong++
	}
	return err
}

// exchange sends the messages one after the other; one gives what comes back.
func (c *chain) exchange(one func(context.Context, []byte) ([]byte, error)) error {
	for number := range c.Count {
		message := c.message(number)
		ctx, stop := c.within()
		back, err := one(ctx, message)
		stop()
		if err != nil {
			return err
		}
		if !bytes.Equal(back, message) {
			c.wrong++
		}
		c.next++
	}
	return nil
}

// message is the next one; its body has up to two to the power of Bits bytes.
func (c *chain) message(number int) []byte {
	c.random = c.random*1_664_525 + 1_013_904_223
	width := (c.random >> 27) % (c.Bits + 1)
	body := make([]byte, (c.random>>7)&(1<<width-1))
	for at := range body {
		body[at] = byte((number + at) % 251)
	}
	c.head = headOf(c.head, c.Chain, number, body)
	message := fmt.Appendf(nil, "chain %s %d %s ", c.Chain, number, c.head)
	message = append(message, body...)
	c.bytes += len(message)
	return message
}
