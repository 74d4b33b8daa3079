// Package framing is a hand-written net.UnixConn: a message is its length (4 bytes,
// little-endian) and that many bytes.
package framing

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/hostlane/hostlane/bench/go/frame"
)

const (
	header = 4
	copied = 4096       // a longer message is not copied behind its header
	chunk  = 256 * 1024 // what a batching end reads and writes at once
)

// End is one end of a connection.
type End struct {
	conn   *net.UnixConn
	reader *bufio.Reader // none reads one message at a time
	writer *bufio.Writer // none writes one message at a time
	buffer []byte
	// have and expected serve to read one message with one call: the next is taken
	// to be as long as the one before.
	have, expected int
}

func newEnd(conn *net.UnixConn, batched bool) *End {
	e := &End{conn: conn, buffer: make([]byte, 64*1024), expected: header}
	if batched {
		e.reader = bufio.NewReaderSize(conn, chunk)
		e.writer = bufio.NewWriterSize(conn, chunk)
	}
	return e
}

// Write sends a message, or keeps it until Flush.
func (e *End) Write(message []byte) error {
	if e.writer != nil {
		var head [header]byte
		binary.LittleEndian.PutUint32(head[:], uint32(len(message)))
		if _, err := e.writer.Write(head[:]); err != nil {
			return err
		}
		_, err := e.writer.Write(message)
		return err
	}
	if len(message) <= copied {
		frame := make([]byte, header, header+copied)
		binary.LittleEndian.PutUint32(frame, uint32(len(message)))
		_, err := e.conn.Write(append(frame, message...))
		return err
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(message)))
	buffers := net.Buffers{head, message}
	_, err := buffers.WriteTo(e.conn)
	return err
}

// Flush sends what is kept.
func (e *End) Flush() error {
	if e.writer == nil {
		return nil
	}
	return e.writer.Flush()
}

// Has tells whether Read would not have to wait.
func (e *End) Has() bool {
	if e.reader == nil || e.reader.Buffered() < header {
		return false
	}
	head, err := e.reader.Peek(header)
	return err == nil && e.reader.Buffered() >= header+int(binary.LittleEndian.Uint32(head))
}

// Read returns the next message, valid until the next read; io.EOF at the end.
func (e *End) Read() ([]byte, error) {
	if e.reader != nil {
		return e.readBatched()
	}
	for e.have < header {
		n, err := e.conn.Read(e.buffer[e.have:max(e.expected, header)])
		if err != nil {
			return nil, err
		}
		e.have += n
	}
	end := header + int(binary.LittleEndian.Uint32(e.buffer))
	if end > len(e.buffer) {
		e.buffer = append(e.buffer[:e.have], make([]byte, end-e.have)...)
	}
	if e.have < end {
		if _, err := io.ReadFull(e.conn, e.buffer[e.have:end]); err != nil {
			return nil, err
		}
		e.have = end
	}
	e.expected = end
	if e.have > end {
		return nil, errors.New("messages came together that are read one by one")
	}
	e.have = 0
	return e.buffer[header:end], nil
}

func (e *End) readBatched() ([]byte, error) {
	head, err := e.reader.Peek(header)
	if err != nil {
		return nil, err
	}
	length := int(binary.LittleEndian.Uint32(head))
	if header+length <= chunk {
		whole, err := e.reader.Peek(header + length)
		if err != nil {
			return nil, err
		}
		_, err = e.reader.Discard(header + length)
		return whole[header:], err
	}
	if _, err := e.reader.Discard(header); err != nil {
		return nil, err
	}
	if length > len(e.buffer) {
		e.buffer = make([]byte, length)
	}
	_, err = io.ReadFull(e.reader, e.buffer[:length])
	return e.buffer[:length], err
}

type client struct{ *End }

// Connector makes clients.
func Connector(batched bool) frame.Connect {
	return func(addr string) (frame.Client, error) {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: addr, Net: "unix"})
		if err != nil {
			return nil, err
		}
		return client{newEnd(conn, batched)}, nil
	}
}

func (c client) take() ([]byte, error) {
	if !c.Has() {
		if err := c.Flush(); err != nil {
			return nil, err
		}
	}
	return c.Read()
}

func (c client) Call(request []byte) ([]byte, error) {
	if err := c.Write(request); err != nil {
		return nil, err
	}
	return c.take()
}

func (c client) Send(message []byte) error             { return c.Write(message) }
func (c client) Finish(message []byte) ([]byte, error) { return c.Call(message) }
func (c client) Close() error                          { return c.conn.Close() }

func (c client) Fly(window int, next func() []byte, landed func([]byte) error) error {
	pending := 0
	post := func() error {
		request := next()
		if request == nil {
			return nil
		}
		pending++
		return c.Write(request)
	}
	for range window {
		if err := post(); err != nil {
			return err
		}
	}
	for pending > 0 {
		reply, err := c.take()
		if err != nil {
			return err
		}
		if err := landed(reply); err != nil {
			return err
		}
		pending--
		if err := post(); err != nil {
			return err
		}
	}
	return nil
}

// Server serves all clients, each in a goroutine.
func Server(batched bool) func(addr string) error {
	return func(addr string) error {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
		if err != nil {
			return err
		}
		frame.Ready(addr)
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return err
			}
			go func() {
				if err := answer(newEnd(conn, batched)); err != nil {
					fmt.Fprintln(os.Stderr, "error:", err)
				}
			}()
		}
	}
}

func answer(e *End) error {
	defer e.conn.Close()
	var service frame.Service
	for {
		if !e.Has() {
			if err := e.Flush(); err != nil {
				return err
			}
		}
		message, err := e.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		reply, err := service.Handle(message)
		if err != nil {
			return err
		}
		if reply == nil {
			continue
		}
		if err := e.Write(reply); err != nil {
			return err
		}
	}
}
