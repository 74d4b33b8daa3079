// Package frame is what the Go programs of the comparison share: works, payloads,
// clocks and the command line, as in the Rust frame.
package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
)

// The kinds of messages: what the receiver is asked to do.
const (
	request = 1 // send the same bytes back
	oneWay  = 2 // count
	finish  = 3 // report what was counted
)

const kindShift = 56

// messages are numbered, and filled with bytes that a receiver can check.
type messages struct {
	kind  uint64
	bytes []byte
	next  uint64
}

func newMessages(kind uint64, size int) *messages {
	m := &messages{kind: kind, bytes: make([]byte, size)}
	source := rand.New(rand.NewSource(int64(size)))
	source.Read(m.bytes[8:])
	return m
}

// take returns the next message, in the memory of the one before.
func (m *messages) take() []byte {
	binary.LittleEndian.PutUint64(m.bytes, m.kind<<kindShift|m.next)
	m.next++
	return m.bytes
}

func check(request, reply []byte) error {
	if !bytes.Equal(request, reply) {
		return fmt.Errorf("the reply is not the request: %d bytes for %d", len(reply), len(request))
	}
	return nil
}

// Service is what one connection's server remembers.
type Service struct {
	due *messages
}

// Handle judges one message and returns what to send back, nil for nothing. One-way
// messages have to come complete and in order.
func (s *Service) Handle(message []byte) ([]byte, error) {
	if len(message) < 8 {
		return nil, fmt.Errorf("a message of %d bytes", len(message))
	}
	switch message[7] {
	case request:
		return message, nil
	case oneWay:
		if s.due == nil || len(s.due.bytes) != len(message) {
			s.due = newMessages(oneWay, len(message))
		}
		if !bytes.Equal(message, s.due.take()) {
			return nil, fmt.Errorf("one-way message %d is not the one that was due", s.due.next-1)
		}
		return nil, nil
	case finish:
		counted := report(s.due)
		s.due = nil
		return counted, nil
	}
	return nil, fmt.Errorf("a message of kind %d", message[7])
}

func report(m *messages) []byte {
	var count uint64
	if m != nil {
		count = m.next
	}
	return binary.LittleEndian.AppendUint64(nil, count)
}
