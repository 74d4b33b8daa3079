package hostlane_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	hostlane "github.com/hostlane/hostlane/go"
)

// The vectors of frames: of level 0, of level 1, and what control frames and extensions say.

// ending gives the errors that an end stands for, nil where the connection goes on.
func ending(t *testing.T, end json.RawMessage) []string {
	t.Helper()
	switch {
	case string(end) == `"more"`:
		return nil
	case string(end) == `"clean"`:
		return []string{"peer_closed"}
	case end[0] == '"':
		return []string{into[string](t, end)}
	}
	return into[[]string](t, end)
}

type framesCase struct {
	vector
	Limit  int
	Chunks []byteValue
	EOF    bool
	Expect struct {
		Frames []struct {
			Channel hostlane.Channel
			Payload byteValue
		}
		End json.RawMessage
	}
}

func (c framesCase) unfit() string {
	for _, f := range c.Expect.Frames {
		if f.Channel == 0 || f.Channel > 4 && f.Channel < 256 {
			return "a frame on a channel that is no program's"
		}
	}
	if c.Limit < 1 {
		return "a limit that no connection has"
	}
	return ""
}

func (c framesCase) play(t *testing.T) {
	channels := []hostlane.Channel{1, 2, 3, 4}
	var messages []hostlane.Message
	for _, f := range c.Expect.Frames {
		if !slices.Contains(channels, f.Channel) {
			channels = append(channels, f.Channel)
		}
		messages = append(messages, hostlane.Message{Channel: f.Channel, Data: f.Payload})
	}
	s := newSubject(t, "server", hostlane.WithChannels(channels...), hostlane.WithMaxMessage(c.Limit))
	hello, err := json.Marshal(map[string]any{"protocol": "ipcprims", "version": "1.0", "channels": channels})
	must(t, err)
	s.raw.put(frame(control, string(hello)))
	s.handshake()
	s.peer()
	s.feed(c.Chunks, c.EOF, messages, ending(t, c.Expect.End))
}

type controlCase struct {
	vector
	Payload byteValue
	Expect  struct {
		Type  string
		Error json.RawMessage
	}
}

func (c controlCase) play(t *testing.T) {
	conn, peer := rawPair(t)
	later(func() (int, error) { return conn.Write(frame(control, string(c.Payload))) })
	if c.Expect.Type == "shutdown_force" {
		c.Expect.Error = []byte(`"peer_closed"`)
	}
	if c.Expect.Error != nil {
		_, err := peer.Recv(testCtx(t))
		if !strings.Contains(string(c.Expect.Error), `"`+nameOf(err)+`"`) {
			t.Errorf("it is %v, want %s", err, c.Expect.Error)
		}
		return
	}
	// What comes next is the answer to it, or the one to the ping behind it.
	later(func() (hostlane.Message, error) { return peer.Recv(testCtx(t)) })
	want := map[string]string{"ping": "pong", "shutdown_request": "shutdown_ack"}[c.Expect.Type]
	if want == "" {
		later(func() (int, error) { return conn.Write(frame(control, `{"type":"ping"}`)) })
		want = "pong"
	}
	_, payload, err := readFrame(conn)
	must(t, err)
	if string(payload) != `{"type":"`+want+`"}` {
		t.Errorf("answered with %s", payload)
	}
}

type frames1Case struct {
	vector
	MaxMessage int `json:"max_message"`
	Ready, EOF bool
	Chunks     []byteValue
	Expect     struct {
		Items []struct {
			Type    string
			Channel hostlane.Channel
			Payload byteValue
		}
		End json.RawMessage
	}
}

func (c frames1Case) unfit() string {
	for _, item := range c.Expect.Items {
		switch item.Type {
		case "MESSAGE", "PING", "READY", "CREDIT":
		default:
			return "a frame that takes a call, a secret or another ending to be right"
		}
	}
	return ""
}

func (c frames1Case) play(t *testing.T) {
	var messages []hostlane.Message
	for _, item := range c.Expect.Items {
		if item.Type == "MESSAGE" {
			messages = append(messages, hostlane.Message{Channel: item.Channel, Data: item.Payload})
		}
	}
	s := level1(t, hostlane.WithMaxMessage(c.MaxMessage))
	if c.Ready {
		s.raw.put(frame1(ready, 0, 0, 0, ""))
		s.peer()
	}
	s.feed(c.Chunks, c.EOF, messages, ending(t, c.Expect.End))
}

type extensionsCase struct {
	vector
	Form    string
	Payload byteValue
	Expect  struct {
		Extensions struct {
			Idempotency, Trace byteValue
			DeadlineUS         *uint64 `json:"deadline_us"`
		}
		Rest  byteValue
		Error []string
	}
}

func (c extensionsCase) unfit() string {
	if told := c.Expect.Extensions.DeadlineUS; told != nil && *told < 1_000_000 {
		return "a deadline that may pass before a program takes the call"
	}
	return ""
}

func (c extensionsCase) play(t *testing.T) {
	s := level1(t)
	if c.Form == "ready" {
		s.feed([]byteValue{frame1(ready, 0, 0, 0, string(c.Payload))}, false, nil, c.Expect.Error)
		return
	}
	s.raw.put(frame1(ready, 0, 0, 0, ""))
	chunk := []byteValue{frame1(request, whole|flagExt, 1, 1, string(c.Payload))}
	if c.Expect.Error != nil {
		s.feed(chunk, false, nil, c.Expect.Error)
		return
	}
	m := s.feed(chunk, false, []hostlane.Message{{Channel: 1, Data: c.Expect.Rest}}, nil)[0]
	want := hostlane.Extra{
		IdempotencyKey: string(c.Expect.Extensions.Idempotency), Trace: string(c.Expect.Extensions.Trace),
	}
	if m.Extra == nil {
		m.Extra = &hostlane.Extra{}
	}
	if m.Extra.IdempotencyKey != want.IdempotencyKey || m.Extra.Trace != want.Trace {
		t.Errorf("%+v, want %+v", m.Extra, want)
	}
}

type control1Case struct {
	vector
	Type    string
	Payload byteValue
	Expect  struct {
		Fields *struct {
			Code  *uint32
			Token byteValue
		}
		Error []string
	}
}

func (c control1Case) unfit() string {
	if c.Expect.Error == nil && c.Type != "PING" && c.Type != "PONG" && c.Type != "CLOSE" {
		return "a frame that takes a call or a handshake to be right"
	}
	return ""
}

func (c control1Case) play(t *testing.T) {
	var kind byte
	for number, name := range kinds {
		if name == c.Type {
			kind = number
		}
	}
	s := level1(t)
	s.raw.put(frame1(ready, 0, 0, 0, ""))
	s.peer()
	end := c.Expect.Error
	if c.Type == "CLOSE" && end == nil {
		end = []string{"connection_lost"}
		if name := hostlane.Code(*c.Expect.Fields.Code); name.Meaning() != hostlane.Code(0).Meaning() {
			end = []string{name.String()}
		}
		if end[0] == "closed" {
			end = []string{"peer_closed"}
		}
	}
	s.feed([]byteValue{frame1(kind, 0, 0, 0, string(c.Payload))}, false, nil, end)
	if c.Type == "PING" && end == nil {
		for o := range s.raw.frames1() {
			if kinds[o.kind] == "PONG" {
				if !bytes.Equal(o.payload, c.Expect.Fields.Token) {
					t.Errorf("PONG of %x", o.payload)
				}
				return
			}
		}
		t.Error("PING has no answer")
	}
}
