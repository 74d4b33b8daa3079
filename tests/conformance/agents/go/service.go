package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hostlane/hostlane/go"
)

// handlerWait is the longest wait of a handler.
const handlerWait = 20 * time.Second

// service answers the other side of one end: the first word of a request says how.
type service struct {
	chains               chains
	mu                   sync.Mutex
	requests, cancelled  int
	messages, disordered int
	last                 map[hostlane.Channel]int
	err                  string
	held                 []hostlane.Message
	answered             chan struct{} // closed once what is held was answered
}

func newService() *service {
	return &service{
		chains: chains{all: map[string]*came{}}, last: map[hostlane.Channel]int{}, answered: make(chan struct{}),
	}
}

// serve serves until the connection ends.
func (s *service) serve(p *hostlane.Peer) {
	// The calls of this side tell how the connection ended.
	p.Serve(context.Background(), func(ctx context.Context, m hostlane.Message) {
		chained := s.chains.take(m.Data)
		// A call of level 0 is a plain message.
		if !m.IsRequest() && m.Channel != hostlane.ChannelCommand {
			if !chained {
				s.count(m)
			}
			return
		}
		s.mu.Lock()
		s.requests++
		s.mu.Unlock()
		if err := s.answer(ctx, p, m); err != nil {
			s.mu.Lock()
			s.err = described(err)["name"].(string)
			s.mu.Unlock()
		}
	})
}

// count takes a one-way message, which begins with a number that grows along its channel.
func (s *service) count(m hostlane.Message) {
	digits, _, _ := bytes.Cut(m.Data, []byte("."))
	number, err := strconv.Atoi(string(digits))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages++
	last, known := s.last[m.Channel]
	if err != nil || known && number <= last {
		s.disordered++
	}
	s.last[m.Channel] = number
}

// hold answers nobody before the Nth has come, then all in a random order: `hold N SEED`.
func (s *service) hold(ctx context.Context, m hostlane.Message, words []string) error {
	wanted, _ := strconv.Atoi(words[1])
	seed, _ := strconv.ParseUint(words[2], 10, 32)
	s.mu.Lock()
	s.held = append(s.held, m)
	held := s.held
	s.mu.Unlock()
	if len(held) < wanted {
		select {
		case <-s.answered:
		case <-ctx.Done():
		}
		return nil
	}
	random := uint32(seed)
	for last := len(held) - 1; last > 0; last-- {
		random = random*1_664_525 + 1_013_904_223
		other := int(random>>8) % (last + 1)
		held[last], held[other] = held[other], held[last]
	}
	defer close(s.answered)
	var errs []error
	for _, one := range held {
		errs = append(errs, one.Reply(context.Background(), one.Data))
	}
	return errors.Join(errs...)
}

func (s *service) answer(ctx context.Context, p *hostlane.Peer, m hostlane.Message) error {
	limited, stop := context.WithTimeout(context.Background(), handlerWait)
	defer stop()
	words := strings.Split(string(m.Data[:min(len(m.Data), 256)]), " ")
	rest := strings.Join(words[1:], " ")
	switch words[0] {
	case "hold":
		return s.hold(ctx, m, words)
	case "tell":
		return m.Reply(limited, told(m))
	case "sleep":
		ms, _ := strconv.Atoi(rest)
		time.Sleep(time.Duration(ms) * time.Millisecond)
	case "watch":
		select {
		case <-m.Context().Done():
		case <-limited.Done():
			return limited.Err()
		}
		s.mu.Lock()
		s.cancelled++
		s.mu.Unlock()
		return nil
	case "fail":
		code, _ := strconv.ParseUint(words[1], 10, 32)
		err := m.Fail(limited, uint32(code), []byte(strings.Join(words[2:], " ")))
		if errors.Is(err, hostlane.ErrUnsupported) {
			return m.Reply(limited, []byte("unsupported"))
		}
		return err
	case "abandon":
		return nil
	case "close":
		return p.Close()
	case "back":
		reply, err := p.Request(ctx, []byte(rest))
		if err != nil {
			return err
		}
		return m.Reply(limited, reply.Data)
	case "stream":
		return s.stream(limited, m, rest)
	case "extend":
		a := &asked{}
		if err := json.Unmarshal([]byte(rest), a); err != nil {
			return err
		}
		told, err := json.Marshal(extend(p, a))
		if err != nil {
			return err
		}
		return m.Reply(ctx, told)
	}
	return m.Reply(limited, m.Data)
}

// report is what came from the other side so far.
func (s *service) report() object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return object{
		"requests":  s.requests,
		"cancelled": s.cancelled,
		"messages":  s.messages,
		"ordered":   s.disordered == 0,
		"error":     s.err,
	}
}

// told is what came beside the payload: `tell`.
func told(m hostlane.Message) []byte {
	key, trace, deadline := "-", "-", "-"
	if m.Extra != nil && m.Extra.IdempotencyKey != "" {
		key = m.Extra.IdempotencyKey
	}
	if m.Extra != nil && m.Extra.Trace != "" {
		trace = m.Extra.Trace
	}
	if _, limited := m.Context().Deadline(); limited {
		deadline = "deadline"
	}
	return fmt.Appendf(nil, "%s %s %s %d", key, trace, deadline, m.Channel)
}

// stream sends every item back, for `stream echo`, or N items once the caller has
// finished, for `stream N`. The reply is the count.
func (s *service) stream(ctx context.Context, m hostlane.Message, how string) error {
	items, err := m.Stream()
	if err != nil {
		return m.Reply(ctx, []byte("no stream"))
	}
	defer items.Close()
	count := 0
	for {
		item, err := items.Recv(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		s.chains.take(item)
		if err == nil && how == "echo" {
			err = items.Send(ctx, item)
		}
		if err != nil {
			return err
		}
		count++
	}
	wanted, _ := strconv.Atoi(how)
	for number := range wanted {
		if err := items.Send(ctx, strconv.AppendInt(nil, int64(number), 10)); err != nil {
			return err
		}
	}
	return m.Reply(ctx, strconv.AppendInt(nil, int64(count), 10))
}
