// The Go agent: one JSON object a line, operations in, outcomes out. See
// docs/conformance.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hostlane/hostlane/go"
)

// shownBytes is the longest reply that is shown as text.
const shownBytes = 256

type object = map[string]any

// outcome is what came of a call.
type outcome struct {
	reply hostlane.Message
	err   error
}

// started is a call in the hands of a goroutine.
type started struct {
	done chan outcome
	stop context.CancelFunc
}

// end is one end of a connection: the listening one, or the connecting one.
type end struct {
	listener  *hostlane.Listener
	accepted  chan *hostlane.Peer
	connected *hostlane.Peer
	started   map[int]started
	service   *service
}

// peer is the connection; of a listener the first that is accepted.
func (e *end) peer() (*hostlane.Peer, error) {
	if e.connected == nil && e.accepted != nil {
		select {
		case e.connected = <-e.accepted:
		case <-time.After(wait):
		}
	}
	if e.connected == nil {
		return nil, hostlane.ErrNotFound
	}
	return e.connected, nil
}

func (e *end) run(a *asked) (object, error) {
	switch a.Op {
	case "hello":
		return object{"lang": "go", "features": []string{"inproc", "tcp", "unix"}}, nil
	case "listen":
		return e.listen(a)
	case "connect":
		return e.connect(a)
	case "seen":
		return e.service.report(), nil
	case "chained":
		return e.service.chains.report(a.Chain), nil
	case "forget":
		e.service.chains.forget()
		return object{}, nil
	case "refusals":
		refusals, err := e.listener.Refusals()
		names := []string{}
		for _, refusal := range refusals {
			names = append(names, refusal.Code.String())
		}
		return object{"refused": names}, err
	case "wait":
		call := <-e.started[a.ID].done
		return shown(call)
	case "cancel":
		e.started[a.ID].stop()
		return object{}, nil
	case "reset":
		return e.reset(), nil
	}
	p, err := e.peer()
	if err != nil {
		return nil, err
	}
	ctx, stop := a.within()
	defer stop()
	switch a.Op {
	case "serve":
		go e.service.serve(p)
		return object{}, nil
	case "call":
		reply, err := p.Request(ctx, a.payload(), a.callOptions()...)
		return shown(outcome{reply, err})
	case "calls":
		return calls(ctx, p, a), nil
	case "start":
		ctx, stop := a.within()
		call := started{make(chan outcome, 1), stop}
		e.started[a.ID] = call
		go func() {
			reply, err := p.Request(ctx, a.payload(), a.callOptions()...)
			call.done <- outcome{reply, err}
		}()
		return object{}, nil
	case "send":
		if a.Channel == 0 {
			a.Channel = hostlane.ChannelData
		}
		for number := range a.Count {
			if err := p.Send(ctx, a.Channel, numbered(number, a.Size)); err != nil {
				return nil, err
			}
		}
		return object{}, nil
	case "stream":
		return openStream(ctx, p, a)
	case "chain":
		return extend(p, a), nil
	case "info":
		info := p.Info()
		return object{
			"level": info.Level, "max_message": info.MaxMessage, "carrier": info.Carrier, "channels": info.Channels,
		}, nil
	case "stats":
		return stats(p, a)
	case "ping":
		_, err := p.Ping(ctx)
		return object{}, err
	case "drain":
		return object{}, p.Drain(ctx)
	case "close":
		return object{}, p.Close()
	}
	return nil, fmt.Errorf("no operation %s", a.Op)
}

func (e *end) listen(a *asked) (object, error) {
	listener, err := hostlane.Listen(a.Address, a.options()...)
	if err != nil {
		return nil, err
	}
	e.listener, e.accepted = listener, make(chan *hostlane.Peer, 1)
	go acceptAll(listener, e.service, e.accepted, a.Serve == nil || *a.Serve == 1)
	return object{"address": listener.Addr()}, nil
}

// acceptAll has every connection served; the first is the one of the operations.
func acceptAll(listener *hostlane.Listener, service *service, accepted chan<- *hostlane.Peer, serve bool) {
	for first := true; ; first = false {
		p, err := listener.Accept(context.Background())
		if err != nil {
			return
		}
		if first {
			accepted <- p
		}
		if serve {
			go func() {
				service.serve(p)
				if !first {
					p.Close()
				}
			}()
		}
	}
}

func (e *end) connect(a *asked) (object, error) {
	ctx, stop := a.within()
	defer stop()
	p, err := hostlane.Dial(ctx, a.Address, a.options()...)
	if err != nil {
		return nil, err
	}
	e.connected = p
	if a.Serve == nil || *a.Serve == 1 {
		go e.service.serve(p)
	}
	return object{}, nil
}

func (e *end) reset() object {
	if e.listener != nil {
		e.listener.Close()
	}
	if e.connected == nil && len(e.accepted) > 0 {
		e.connected = <-e.accepted
	}
	if e.connected != nil {
		e.connected.Close()
	}
	*e = *newEnd()
	return object{}
}

// calls makes many at once, each with a number of its own behind its text.
func calls(ctx context.Context, p *hostlane.Peer, a *asked) object {
	var mu sync.Mutex
	var all sync.WaitGroup
	right, wrong, errs := 0, 0, map[string]int{}
	for number := range a.Count {
		all.Add(1)
		go func() {
			defer all.Done()
			text := fmt.Appendf(nil, "%s %d", a.Text, number)
			reply, err := p.Request(ctx, text, a.callOptions()...)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				errs[described(err)["name"].(string)]++
			case bytes.Equal(reply.Data, text):
				right++
			default:
				wrong++
			}
		}()
	}
	all.Wait()
	return object{"right": right, "wrong": wrong, "errors": errs}
}

// openStream has items go both ways; what comes back is numbered, too.
func openStream(ctx context.Context, p *hostlane.Peer, a *asked) (object, error) {
	s, err := p.OpenStream(ctx, a.payload(), a.callOptions()...)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for number := range a.Count {
		if err := s.Send(ctx, numbered(number, a.ItemSize)); err != nil {
			return nil, err
		}
	}
	if a.Finish == nil || *a.Finish == 1 {
		if err := s.CloseSend(ctx); err != nil {
			return nil, err
		}
	}
	items, ordered := 0, true
	for {
		item, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return object{"items": items, "ordered": ordered, "reply": string(s.Reply())}, nil
		}
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(string(item), ".")
		ordered = ordered && digits == strconv.Itoa(items)
		items++
	}
}

func stats(p *hostlane.Peer, a *asked) (object, error) {
	if a.Channel == 0 {
		a.Channel = hostlane.ChannelData
	}
	all, err := p.Stats()
	one, errOn := p.StatsOn(a.Channel)
	return object{
		"open_calls": all.OpenCalls, "calls_served": all.CallsServed, "open_served": all.OpenServed,
		"calls_cancelled": all.CallsCancelled, "sent": one.MessagesSent, "dropped": one.Dropped,
		"dropped_by_peer": one.DroppedByPeer,
	}, errors.Join(err, errOn)
}

// shown is a reply, for the runner to judge.
func shown(call outcome) (object, error) {
	if call.err != nil {
		return nil, call.err
	}
	data := call.reply.Data
	told := object{"len": len(data), "sha256": fmt.Sprintf("%x", sha256.Sum256(data)), "text": nil}
	if len(data) <= shownBytes {
		told["text"] = string(data)
	}
	return told, nil
}

func described(err error) object {
	told := object{"name": err.Error(), "sent": "no"}
	var known *hostlane.Error
	var remote *hostlane.RemoteError
	if errors.As(err, &remote) {
		told["status"], told["data"] = remote.Code, string(remote.Data)
	}
	if errors.As(err, &known) {
		told["name"] = known.Code.String()
		if known.MaybeSent {
			told["sent"] = "maybe"
		}
	} else if slices.Contains([]error{context.DeadlineExceeded, context.Canceled}, err) {
		// Nothing was sent.
		told["name"] = map[error]string{context.DeadlineExceeded: "timeout", context.Canceled: "cancelled"}[err]
	}
	return told
}

func newEnd() *end {
	return &end{started: map[int]started{}, service: newService()}
}

func main() {
	ends := map[string]*end{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		a := &asked{}
		if err := json.Unmarshal(lines.Bytes(), a); err != nil {
			log.Fatal(err)
		}
		if ends[a.End] == nil {
			ends[a.End] = newEnd()
		}
		start := time.Now()
		value, err := ends[a.End].run(a)
		told := object{"ms": float64(time.Since(start).Nanoseconds()) / 1e6}
		if err != nil {
			told["error"] = described(err)
		} else {
			told["ok"] = value
		}
		if err := out.Encode(told); err != nil {
			log.Fatal(err)
		}
	}
}
