package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	window = 64
	warmUp = 5 // the share of the time before anything is counted
)

var sizes = map[string]int{
	"rt64": 64, "rt64k": 64 << 10, "rt1m": 1 << 20,
	"fly64": 64, "oneway64": 64, "oneway1m": 1 << 20, "connect": 64, "idle": 64, "many": 64,
}

// stay has how many connections a client opens and keeps.
var stay = map[string]int{"idle": 1, "many": 1000}

// Client is one connection. Call may be used by many goroutines at once.
type Client interface {
	// Call sends a request and returns its reply, which is valid until the next call.
	Call(request []byte) ([]byte, error)
	// Send sends a message that has no reply. It may wait in a buffer.
	Send(message []byte) error
	// Finish sends the last message behind all that were sent and returns its reply.
	Finish(message []byte) ([]byte, error)
	Close() error
}

// Connect makes a connection.
type Connect func(addr string) (Client, error)

// Flyer is a client with a way of its own to keep requests in flight.
type Flyer interface {
	// Fly keeps window requests in flight, taking them from next until there are none,
	// and gives the replies to landed in the order of the requests.
	Fly(window int, next func() []byte, landed func([]byte) error) error
}

// Ready says that clients can connect.
func Ready(addr string) { fmt.Println("ready", addr) }

// Main is the command line that all programs share.
func Main(serve func(addr string) error, connect Connect) {
	if err := run(os.Args[1:], serve, connect); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string, serve func(addr string) error, connect Connect) error {
	if len(args) == 2 && args[0] == "server" {
		return serve(args[1])
	}
	if len(args) != 4 || args[0] != "client" || sizes[args[2]] == 0 {
		return fmt.Errorf("usage: server ADDR | client ADDR WORK SECONDS")
	}
	seconds, err := strconv.ParseFloat(args[3], 64)
	if err != nil {
		return err
	}
	var done outcome
	var open []Client
	if count := stay[args[2]]; count > 0 {
		open, done, err = gather(connect, args[1], count)
	} else {
		done, err = client(connect, args[1], args[2], time.Duration(seconds*float64(time.Second)))
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(done.line(args[2]))
	}
	if err != nil || open == nil {
		return err
	}
	// Whoever looks at them closes standard input.
	_, err = io.Copy(io.Discard, os.Stdin)
	for _, c := range open {
		err = errors.Join(err, c.Close())
	}
	return err
}

// outcome is what was measured.
type outcome struct {
	count uint64
	time  time.Duration
	times []time.Duration
}

type line struct {
	Work    string   `json:"work"`
	Count   uint64   `json:"count"`
	Seconds float64  `json:"seconds"`
	P50     *float64 `json:"p50_us"`
	P99     *float64 `json:"p99_us"`
	Bytes   uint64   `json:"bytes"`
}

func (o outcome) line(work string) line {
	slices.Sort(o.times)
	quantile := func(share float64) *float64 {
		if len(o.times) == 0 {
			return nil
		}
		us := float64(o.times[int(share*float64(len(o.times)-1))]) / 1000
		return &us
	}
	return line{work, o.count, o.time.Seconds(), quantile(0.5), quantile(0.99), o.count * uint64(sizes[work])}
}

func client(connect Connect, addr, work string, limit time.Duration) (outcome, error) {
	if work == "connect" {
		return connects(connect, addr, limit)
	}
	measure := map[string]func(Client, int, time.Duration) (outcome, error){
		"fly64": fly, "oneway64": streams, "oneway1m": streams,
	}[work]
	if measure == nil {
		measure = roundTrips
	}
	c, err := connect(addr)
	if err != nil {
		return outcome{}, err
	}
	defer c.Close()
	if _, err := measure(c, sizes[work], limit/warmUp); err != nil {
		return outcome{}, err
	}
	return measure(c, sizes[work], limit)
}

func roundTrips(c Client, size int, limit time.Duration) (outcome, error) {
	requests := newMessages(request, size)
	times := make([]time.Duration, 0, 1<<17)
	start := time.Now()
	for last := start; ; {
		sent := requests.take()
		reply, err := c.Call(sent)
		if err != nil {
			return outcome{}, err
		}
		if err := check(sent, reply); err != nil {
			return outcome{}, err
		}
		now := time.Now()
		times = append(times, now.Sub(last))
		last = now
		if now.Sub(start) >= limit {
			return outcome{requests.next, now.Sub(start), times}, nil
		}
	}
}

func fly(c Client, size int, limit time.Duration) (outcome, error) {
	if flyer, ok := c.(Flyer); ok {
		return flyInOrder(flyer, size, limit)
	}
	start := time.Now()
	end := start.Add(limit)
	var count atomic.Uint64
	var group sync.WaitGroup
	failures := make(chan error, window)
	for range window {
		group.Add(1)
		go func() {
			defer group.Done()
			requests := newMessages(request, size)
			for time.Now().Before(end) {
				sent := requests.take()
				reply, err := c.Call(sent)
				if err == nil {
					err = check(sent, reply)
				}
				if err != nil {
					failures <- err
					return
				}
			}
			count.Add(requests.next)
		}()
	}
	group.Wait()
	close(failures)
	return outcome{count.Load(), time.Since(start), nil}, <-failures
}

func flyInOrder(f Flyer, size int, limit time.Duration) (outcome, error) {
	const look = 32 // requests between two looks at the clock
	requests, due := newMessages(request, size), newMessages(request, size)
	start := time.Now()
	next := func() []byte {
		if requests.next%look == 0 && time.Since(start) >= limit {
			return nil
		}
		return requests.take()
	}
	landed := func(reply []byte) error { return check(due.take(), reply) }
	if err := f.Fly(window, next, landed); err != nil {
		return outcome{}, err
	}
	return outcome{due.next, time.Since(start), nil}, nil
}

// streams ends when the receiver has reported what it got.
func streams(c Client, size int, limit time.Duration) (outcome, error) {
	sent := newMessages(oneWay, size)
	burst := max(64<<10/size, 1)
	start := time.Now()
	for time.Since(start) < limit {
		for range burst {
			if err := c.Send(sent.take()); err != nil {
				return outcome{}, err
			}
		}
	}
	got, err := c.Finish(newMessages(finish, 64).take())
	spent := time.Since(start)
	if err == nil && !bytes.Equal(got, report(sent)) {
		err = fmt.Errorf("%d messages were sent and others were received", sent.next)
	}
	return outcome{sent.next, spent, nil}, err
}

func connects(connect Connect, addr string, limit time.Duration) (outcome, error) {
	requests := newMessages(request, sizes["connect"])
	var done outcome
	for done.time < limit {
		c, err := done.first(connect, addr, requests)
		if err != nil {
			return done, err
		}
		if err := c.Close(); err != nil {
			return done, err
		}
	}
	return done, nil
}

// gather opens connections that stay.
func gather(connect Connect, addr string, count int) ([]Client, outcome, error) {
	requests := newMessages(request, sizes["connect"])
	var done outcome
	var open []Client
	for range count {
		c, err := done.first(connect, addr, requests)
		if err != nil {
			return nil, done, err
		}
		open = append(open, c)
	}
	return open, done, nil
}

// first opens a connection and gets its first reply; how long both took is counted.
func (o *outcome) first(connect Connect, addr string, requests *messages) (Client, error) {
	sent := requests.take()
	start := time.Now()
	c, err := connect(addr)
	if err != nil {
		return nil, err
	}
	reply, err := c.Call(sent)
	spent := time.Since(start)
	if err == nil {
		err = check(sent, reply)
	}
	if err != nil {
		return nil, err
	}
	o.times = append(o.times, spent)
	o.time += spent
	o.count++
	return c, nil
}
