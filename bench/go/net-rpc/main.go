// Command net-rpc is net/rpc over a Unix socket. It has no one-way messages: they are
// calls without an answer, as many in flight as in fly64.
package main

import (
	"net"
	"net/rpc"
	"sync"

	"github.com/hostlane/hostlane/bench/go/frame"
)

const window = 64

// Works is what the server offers. A connection has one of its own, so that its
// stream is counted alone.
type Works struct {
	mutex   sync.Mutex
	service frame.Service
	waiting map[uint64][]byte
	next    uint64
}

// Told is a one-way message. net/rpc starts a goroutine for each, which may overtake
// one another: they are put in order by their number.
type Told struct {
	Number  uint64
	Message []byte
}

// Ask answers a message.
func (w *Works) Ask(message []byte, reply *[]byte) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	answer, err := w.service.Handle(message)
	*reply = answer
	return err
}

// Tell counts a message.
func (w *Works) Tell(told Told, _ *struct{}) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.waiting[told.Number] = told.Message
	for {
		message, ok := w.waiting[w.next]
		if !ok {
			return nil
		}
		delete(w.waiting, w.next)
		w.next++
		if _, err := w.service.Handle(message); err != nil {
			return err
		}
	}
}

type client struct {
	rpc  *rpc.Client
	told chan *rpc.Call
	// Calls on their way, and the number of the next.
	pending int
	number  uint64
}

func connect(addr string) (frame.Client, error) {
	c, err := rpc.Dial("unix", addr)
	if err != nil {
		return nil, err
	}
	return &client{rpc: c, told: make(chan *rpc.Call, window)}, nil
}

func (c *client) Call(request []byte) ([]byte, error) {
	var reply []byte
	err := c.rpc.Call("Works.Ask", request, &reply)
	return reply, err
}

func (c *client) Send(message []byte) error {
	if c.pending == window {
		if err := c.wait(); err != nil {
			return err
		}
	}
	// The arguments are written before Go returns.
	c.rpc.Go("Works.Tell", Told{c.number, message}, nil, c.told)
	c.pending++
	c.number++
	return nil
}

func (c *client) wait() error {
	c.pending--
	return (<-c.told).Error
}

func (c *client) Finish(message []byte) ([]byte, error) {
	for c.pending > 0 {
		if err := c.wait(); err != nil {
			return nil, err
		}
	}
	return c.Call(message)
}

func (c *client) Close() error { return c.rpc.Close() }

func serve(addr string) error {
	listener, err := net.Listen("unix", addr)
	if err != nil {
		return err
	}
	frame.Ready(addr)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		server := rpc.NewServer()
		if err := server.Register(&Works{waiting: map[uint64][]byte{}}); err != nil {
			return err
		}
		go server.ServeConn(conn)
	}
}

func main() { frame.Main(serve, connect) }
