package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// A raw frame is an eight-byte header, the length and what it is, and the payload.
const (
	rawHeader   = 8
	rawMessage  = 0
	rawQuestion = 1
)

// rawConn frames messages over a bare socket: one write per message, and buffers
// that are used again.
type rawConn struct {
	conn *net.UnixConn
	in   *bufio.Reader
	out  []byte
	data []byte
}

func newRawConn(conn *net.UnixConn) *rawConn {
	return &rawConn{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
}

func (c *rawConn) write(kind uint32, payload []byte) error {
	c.out = binary.LittleEndian.AppendUint32(c.out[:0], uint32(len(payload)))
	c.out = binary.LittleEndian.AppendUint32(c.out, kind)
	c.out = append(c.out, payload...)
	_, err := c.conn.Write(c.out)
	return err
}

// read returns a payload that is valid until the next read.
func (c *rawConn) read() (kind uint32, payload []byte, err error) {
	var header [rawHeader]byte
	if _, err := io.ReadFull(c.in, header[:]); err != nil {
		return 0, nil, err
	}
	size := int(binary.LittleEndian.Uint32(header[:4]))
	if cap(c.data) < size {
		c.data = make([]byte, size)
	}
	c.data = c.data[:size]
	_, err = io.ReadFull(c.in, c.data)
	return binary.LittleEndian.Uint32(header[4:]), c.data, err
}

func rawDial(path string, span time.Duration) (*rawConn, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return newRawConn(conn), conn.SetDeadline(time.Now().Add(span + deadline))
}

func rawServe(path string, serve func(*rawConn) error) error {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	go func() { <-ended; listener.Close() }()
	fmt.Println("ready", path)
	for {
		conn, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := serve(newRawConn(conn)); err != nil && err != io.EOF {
				fmt.Fprintln(os.Stderr, "agent:", err)
			}
		}()
	}
}

func rawEcho(c *rawConn) error {
	for {
		kind, payload, err := c.read()
		if err != nil {
			return err
		}
		if err := c.write(kind, payload); err != nil {
			return err
		}
	}
}

func rawSink(c *rawConn) error {
	counted := 0
	for {
		kind, _, err := c.read()
		if err != nil {
			return err
		}
		if kind == rawMessage {
			counted++
			continue
		}
		if err := c.write(kind, strconv.AppendInt(nil, int64(counted), 10)); err != nil {
			return err
		}
	}
}

func rawBench(path string, size int, span time.Duration) error {
	c, err := rawDial(path, span)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	message := make([]byte, size)
	return pingPong(span, func() error {
		if err := c.write(rawMessage, message); err != nil {
			return err
		}
		_, _, err := c.read()
		return err
	})
}

func rawStream(path string, size int, span time.Duration) error {
	c, err := rawDial(path, span)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	message := make([]byte, size)
	sent := 0
	start := time.Now()
	for time.Since(start) < span {
		if err := c.write(rawMessage, message); err != nil {
			return err
		}
		sent++
	}
	if err := c.write(rawQuestion, nil); err != nil {
		return err
	}
	_, answer, err := c.read()
	if err != nil {
		return err
	}
	return account(sent, size, time.Since(start), answer)
}
