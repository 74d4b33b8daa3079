package hostlane_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// The vectors of whole conversations. What the steps mean stands in tests/vectors/README.md.

type transcriptCase struct {
	vector
	side
	Role     string
	Channels []hostlane.Channel
	Limits   map[string]int
	Steps    []map[string]json.RawMessage
}

func (c transcriptCase) unfit() string {
	for _, window := range []string{"window", "stream_window"} {
		if _, told := c.Limits[window]; told {
			return "a window of another size is no option"
		}
	}
	for _, step := range c.Steps {
		if step["clock"] != nil {
			return "the clock of a process cannot be set"
		}
		if does := string(step["does"]); strings.Contains(does, `"fin": true`) && !strings.Contains(does, `"payload": ""`) {
			return "a program says the end of a stream apart from a payload"
		}
	}
	return ""
}

// options are those of the side under test.
func (c transcriptCase) options() []hostlane.Option {
	opts := c.side.options(c.Channels...)
	for limit, value := range c.Limits {
		switch limit {
		case "max_message":
			opts = append(opts, hostlane.WithMaxMessage(value))
		case "max_calls":
			opts = append(opts, hostlane.WithMaxCalls(value))
		}
	}
	for _, channel := range c.Channels {
		opts = append(opts, hostlane.WithPolicy(channel, hostlane.PolicyBlock))
	}
	return opts
}

func (c transcriptCase) play(t *testing.T) {
	k := &talk{
		subject: newSubject(t, c.Role, c.options()...), client: c.Role == "client", credit: map[[2]uint64]uint64{},
		ops: map[string]*operation{}, taken: map[string]hostlane.Message{}, streams: map[string]*hostlane.Stream{},
	}
	if c.Secret != nil {
		k.secret = *c.Secret
	}
	for i, step := range c.Steps {
		for name, value := range step {
			// Behind the step before the end, one CLOSE is nobody's business.
			k.over = k.over || i+1 < len(c.Steps) && c.Steps[i+1]["ends"] != nil && name != "closes"
			if k.step(name, value); t.Failed() {
				t.Fatalf("step %d, %s %s", i, name, value)
			}
		}
	}
	k.silent()
}

// talk is one conversation under way.
type talk struct {
	*subject
	client            bool
	secret            string
	request, response []byte
	found             chan out
	next              *out
	credit            map[[2]uint64]uint64
	ops               map[string]*operation
	taken             map[string]hostlane.Message
	streams           map[string]*hostlane.Stream
	over, hungUp      bool
}

// operation is something the program asked for.
type operation struct {
	done   chan result[[]byte]
	cancel context.CancelFunc
}

// ofCall is a step about a call, a message or an operation.
type ofCall struct {
	Type, What, Op, Call, Why string
	Channel                   *hostlane.Channel
	ID, Last, Code, Total     *uint64
	AtLeast                   uint64 `json:"at_least"`
	Payload                   *byteValue
	Token                     byteValue
	Stream, Fin, Proof        bool
	Status                    *uint32
	DeadlineUS                *uint64 `json:"deadline_us"`
	Error                     []string
	Sent                      string
	JSON                      any
	Level                     int
	Auth                      bool
}

func (c ofCall) bytes() []byte {
	if c.Payload == nil {
		return nil
	}
	return *c.Payload
}

func (k *talk) step(name string, value json.RawMessage) {
	t := k.t
	t.Helper()
	var names []string
	var c ofCall
	switch value[0] {
	case '[':
		json.Unmarshal(value, &names) // or parts of bytes
	case '{':
		must(t, json.Unmarshal(value, &c))
	}
	switch name {
	case "arrives":
		k.arrives(into[byteValue](t, value))
	case "proof":
		k.proves(into[string](t, value))
	case "eof":
		k.over, k.hungUp = true, true
		must(t, k.raw.conn.CloseWrite())
	case "asks":
		k.request = k.handshake()
		if a := k.parsed(k.request); a.Hostlane == nil || !slices.Contains(a.Hostlane.Versions, 1) || (a.Hostlane.Auth != nil) != c.Auth {
			t.Errorf("asked with %s", k.request)
		}
	case "answers":
		k.response = k.handshake()
		a := k.parsed(k.response)
		if got := a.Hostlane != nil && a.Hostlane.Version == 1; got != (c.Level == 1) || got && (a.Hostlane.Auth != nil) != c.Auth {
			t.Errorf("answered with %s", k.response)
		}
		if c.Level == 1 {
			k.begin()
		}
	case "refuses":
		k.refuses(k.parsed(k.handshake()), names)
	case "does":
		k.does(c)
	case "sends":
		k.sends(c)
	case "silent":
		k.silent()
	case "credits":
		channel := uint64(0)
		if c.Channel != nil {
			channel = uint64(*c.Channel)
		}
		id := uint64(0)
		if c.ID != nil {
			id = *c.ID
		}
		eventually(t, "the credit", func() bool {
			k.look(hold)
			return k.credit[[2]uint64{channel, id}] >= c.AtLeast
		})
	case "delivers":
		m, err := k.peer().Recv(testCtx(t))
		must(t, err)
		if m.Channel != *c.Channel || !bytes.Equal(m.Data, c.bytes()) || m.IsRequest() != (c.Call != "") || m.IsStream() != c.Stream {
			t.Errorf("received %d bytes on channel %d, a request: %v", len(m.Data), m.Channel, m.IsRequest())
		}
		if c.Call != "" {
			k.taken[c.Call] = m
		}
	case "item":
		item, err := k.stream(c.Call).Recv(testCtx(t))
		if err != nil || !bytes.Equal(item, c.bytes()) {
			t.Errorf("the item is %q, %v", item, err)
		}
	case "finished":
		if _, err := k.stream(into[string](t, value)).Recv(testCtx(t)); err != io.EOF {
			t.Errorf("no end but %v", err)
		}
	case "replies":
		reply := c.bytes()
		if value[0] == '"' {
			c.Call, reply = "request", into[byteValue](t, value)
		}
		if got, err := k.ended(c.Call); err != nil || !bytes.Equal(got, reply) {
			t.Errorf("the reply is %q, %v", got, err)
		}
	case "fails":
		k.fails(c)
	case "told":
		m := k.taken[c.Call]
		select {
		case <-m.Context().Done():
		case <-time.After(patience):
			t.Error("the program is not told")
		}
	case "ponged":
		_, err := k.ended("ping")
		must(t, err)
	case "drained":
		_, err := k.ended("drain")
		must(t, err)
	case "closes":
		o := k.take()
		if code := binary.LittleEndian.Uint32(append(o.payload, 0, 0, 0, 0)); o.kind != kindClose || !slices.Contains(names, hostlane.Code(code).String()) {
			t.Errorf("CLOSE was expected, not %+v", o)
		}
		k.silent()
		k.over = true
	case "ends":
		k.over = true
		if end := k.end(); !slices.Contains(names, end) {
			t.Errorf("the end is %s", end)
		}
	default:
		t.Fatal("a step that is not known here")
	}
}

// begin reads level 1 from now on.
func (k *talk) begin() {
	k.found = k.raw.frames1()
}

func (k *talk) arrives(b []byte) {
	if k.request == nil && !k.client {
		k.request = b[8:]
	}
	if k.client && k.request != nil && k.response == nil {
		k.response = b[8 : 8+binary.LittleEndian.Uint32(b[2:])]
		if k.parsed(k.response).Hostlane != nil {
			k.begin()
		}
	}
	k.raw.put(b)
}

func (k *talk) proves(which string) {
	secret, connector := k.secret, !k.client
	if which == "other-secret" {
		secret += "?"
	}
	if which == "reflected" {
		connector = !connector
	}
	k.raw.put(frame1(auth, 0, 0, 0, string(proofOf(secret, connector, k.request, k.response))))
}

// look waits for what goes out, and keeps it for take.
func (k *talk) look(limit time.Duration) {
	for k.next == nil && k.found != nil {
		select {
		case o, more := <-k.found:
			switch {
			case !more:
				return
			case o.kind == kindCredit:
				key := [2]uint64{uint64(o.channel), o.id}
				k.credit[key] = max(k.credit[key], binary.LittleEndian.Uint64(o.payload))
			case o.kind == kindClose && k.over, o.kind == kindCancel && k.hungUp:
			default:
				k.next = &o
			}
		case <-time.After(limit):
			return
		}
	}
}

func (k *talk) take() out {
	k.t.Helper()
	if k.look(patience); k.next == nil {
		k.t.Fatal("nothing goes out")
	}
	o := *k.next
	k.next = nil
	return o
}

func (k *talk) silent() {
	k.t.Helper()
	if k.found == nil {
		must(k.t, k.raw.conn.SetReadDeadline(time.Now().Add(hold)))
		if channel, payload, err := readFrame(k.raw.conn); err == nil {
			k.t.Errorf("went out: %q on channel %d", payload, channel)
		}
		must(k.t, k.raw.conn.SetReadDeadline(time.Now().Add(patience)))
		return
	}
	if k.look(hold); k.next != nil {
		k.t.Errorf("went out: %+v", *k.next)
	}
}

func (k *talk) sends(c ofCall) {
	t := k.t
	t.Helper()
	if c.Type == "" {
		k.sendsLevel0(c)
		return
	}
	o := k.take()
	same := kinds[o.kind] == c.Type && (c.Channel == nil || *c.Channel == hostlane.Channel(o.channel)) && (c.ID == nil || *c.ID == o.id)
	if o.isMessage {
		same = same && bytes.Equal(o.payload, c.bytes()) && reflect.DeepEqual(o.status, c.Status)
		same = same && (o.flags&flagFin != 0) == c.Fin && (o.flags&flagStream != 0) == c.Stream
		same = same && (c.DeadlineUS == nil || o.deadline != nil && *o.deadline > 0 && *o.deadline <= *c.DeadlineUS)
	}
	word := func(want *uint64, at, size int) {
		b := make([]byte, 8)
		if want != nil && len(o.payload) >= at+size {
			copy(b, o.payload[at:at+size])
			same = same && binary.LittleEndian.Uint64(b) == *want
		}
	}
	if !o.isMessage {
		word(c.Last, 0, 8)
		word(c.Total, 0, 8)
		if c.Type != "GOAWAY" {
			word(c.Code, 0, 4)
		}
		same = same && (c.Token == nil || bytes.Equal(c.Token, o.payload))
		same = same && (!c.Proof || bytes.Equal(o.payload, proofOf(k.secret, k.client, k.request, k.response)))
	}
	if !same {
		t.Errorf("went out: %+v", o)
	}
}

func (k *talk) sendsLevel0(c ofCall) {
	channel, payload, err := readFrame(k.raw.conn)
	must(k.t, err)
	same := channel == uint16(*c.Channel) && bytes.Equal(payload, c.bytes())
	if c.JSON != nil {
		var got map[string]any
		must(k.t, json.Unmarshal(payload, &got))
		if k.client {
			delete(got, "hostlane")
		}
		same = channel == uint16(*c.Channel) && reflect.DeepEqual(got, c.JSON)
	}
	if !same {
		k.t.Errorf("went out: %q on channel %d", payload, channel)
	}
}

// ---- what the program does ----------------------------------------------------------------------------

// begun runs an operation and returns once it has ended or waits in the connection, so that the next one comes behind it.
func (k *talk) begun(name string, run func(ctx context.Context) ([]byte, error)) {
	peer := k.peer()
	pending := func() uint64 {
		stats, err := peer.Stats()
		must(k.t, err)
		return stats.PendingOperations
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.t.Cleanup(cancel)
	before, ended := pending(), make(chan struct{})
	done := later(func() ([]byte, error) {
		defer close(ended)
		return run(ctx)
	})
	if name != "" {
		k.ops[name] = &operation{done, cancel}
	}
	eventually(k.t, "it begins", func() bool {
		select {
		case <-ended:
			return true
		default:
			return pending() > before
		}
	})
}

func (k *talk) does(c ofCall) {
	peer, payload := k.peer(), c.bytes()
	nothing := func(err error) ([]byte, error) { return nil, err }
	switch c.What {
	case "send":
		k.begun(c.Op, func(ctx context.Context) ([]byte, error) { return nothing(peer.Send(ctx, *c.Channel, payload)) })
	case "request", "call":
		k.calls(c, payload)
	case "cancel":
		if stream := k.streams[c.Call]; stream != nil {
			// Whoever waits for an item is told.
			k.begun(c.Call, func(ctx context.Context) ([]byte, error) { return stream.Recv(ctx) })
			must(k.t, stream.Close())
		} else {
			k.ops[c.Call].cancel()
		}
	case "reply":
		m := k.taken[c.Call]
		k.begun(c.Op, func(ctx context.Context) ([]byte, error) {
			if c.Status != nil {
				return nothing(m.Fail(ctx, *c.Status, payload))
			}
			return nothing(m.Reply(ctx, payload))
		})
	case "abandon":
		k.taken[c.Call].Abandon()
	case "item":
		stream := k.stream(c.Call)
		k.begun(c.Op, func(ctx context.Context) ([]byte, error) {
			if len(payload) > 0 || !c.Fin {
				if err := stream.Send(ctx, payload); err != nil || !c.Fin {
					return nil, err
				}
			}
			return nothing(stream.CloseSend(ctx))
		})
	case "ping":
		k.begun("ping", func(ctx context.Context) ([]byte, error) {
			_, err := peer.Ping(ctx)
			return nil, err
		})
	case "drain":
		k.begun("drain", func(ctx context.Context) ([]byte, error) { return nothing(peer.Drain(ctx)) })
	case "close":
		must(k.t, peer.Close())
	default:
		k.t.Fatalf("an operation that is not known here: %s", c.What)
	}
}

func (k *talk) calls(c ofCall, payload []byte) {
	peer := k.peer()
	if c.What == "request" {
		c.Op = "request"
	}
	var opts []hostlane.CallOption
	if c.Channel != nil {
		opts = append(opts, hostlane.OnChannel(*c.Channel))
	}
	if !c.Stream {
		k.begun(c.Op, func(ctx context.Context) ([]byte, error) {
			m, err := peer.Request(ctx, payload, opts...)
			return m.Data, err
		})
		return
	}
	stream, err := peer.OpenStream(context.Background(), payload, opts...)
	must(k.t, err)
	k.t.Cleanup(func() { stream.Close() })
	k.streams[c.Op] = stream
}

// stream is that of a call of either side.
func (k *talk) stream(call string) *hostlane.Stream {
	k.t.Helper()
	if k.streams[call] == nil {
		stream, err := k.taken[call].Stream()
		must(k.t, err)
		k.t.Cleanup(func() { stream.Close() })
		k.streams[call] = stream
	}
	return k.streams[call]
}

// ended is how an operation or a call ended.
func (k *talk) ended(name string) ([]byte, error) {
	k.t.Helper()
	if stream := k.streams[name]; stream != nil && k.ops[name] == nil {
		for {
			if _, err := stream.Recv(testCtx(k.t)); err == io.EOF {
				return stream.Reply(), nil
			} else if err != nil {
				return nil, err
			}
		}
	}
	select {
	case r := <-k.ops[name].done:
		return r.value, r.err
	case <-time.After(patience):
		k.t.Fatalf("%s does not end", name)
		return nil, nil
	}
}

func (k *talk) fails(c ofCall) {
	name := c.Call
	if name == "" {
		name = c.Op
	}
	_, err := k.ended(name)
	if err == nil || !slices.Contains(c.Error, nameOf(err)) {
		k.t.Errorf("it is %v", err)
	}
	if c.Sent != "" && maybeSent(err) != (c.Sent == "maybe") {
		k.t.Errorf("sent: %v is wrong of %v", maybeSent(err), err)
	}
	var remote *hostlane.RemoteError
	if c.Code != nil && (!errors.As(err, &remote) || uint64(remote.Code) != *c.Code || !bytes.Equal(remote.Data, c.bytes())) {
		k.t.Errorf("failed with %+v", remote)
	}
}
