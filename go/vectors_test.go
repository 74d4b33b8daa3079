package hostlane_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	hostlane "github.com/hostlane/hostlane/go"
)

// The shared vectors of tests/vectors, played against a real listener or a real connection: the test is the other
// side, at a raw socket. What the steps mean stands in tests/vectors/README.md.

// hold is how long nothing may come where nothing is to come.
const hold = 15 * time.Millisecond

// cases reads a file of vectors into cases.
func cases[T any](t *testing.T, file string) []T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "tests", "vectors", file))
	must(t, err)
	var document struct{ Cases []T }
	must(t, json.Unmarshal(text, &document))
	if len(document.Cases) == 0 {
		t.Fatalf("%s has no cases", file)
	}
	return document.Cases
}

// byteValue is a byte value of tests/vectors/README.md.
type byteValue []byte

func (b *byteValue) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '"':
		var digits string
		if err := json.Unmarshal(text, &digits); err != nil {
			return err
		}
		raw, err := hex.DecodeString(digits)
		*b = raw
		return err
	case '[':
		var parts []byteValue
		if err := json.Unmarshal(text, &parts); err != nil {
			return err
		}
		*b = byteValue{}
		for _, part := range parts {
			*b = append(*b, part...)
		}
		return nil
	}
	var part struct {
		Text  *string
		Hex   byteValue
		Times int
	}
	err := json.Unmarshal(text, &part)
	if part.Text != nil {
		*b = []byte(*part.Text)
	} else {
		*b = bytes.Repeat(part.Hex, part.Times)
	}
	return err
}

// skips counts what is not played, by reason.
type skips map[string]int

func (s skips) tell(t *testing.T, played int) {
	t.Helper()
	t.Logf("%d cases played", played)
	for reason, count := range s {
		t.Logf("%d cases not played: %s", count, reason)
	}
}

// nameOf gives the name in the error table, whatever Go's form of the error is.
func nameOf(err error) string {
	var e *hostlane.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &e):
		return e.Code.String()
	}
	return fmt.Sprint(err)
}

func TestVectorsOfTheErrorTable(t *testing.T) {
	type row struct {
		Number    int32
		Name, Doc string
		Retryable bool
	}
	known := map[int32]bool{}
	for _, c := range cases[row](t, "errors.json") {
		code := hostlane.Code(c.Number)
		known[c.Number] = true
		e := &hostlane.Error{Code: code}
		if got := (row{c.Number, code.String(), code.Meaning(), e.Retryable()}); got != c {
			t.Errorf("got %+v, want %+v", got, c)
		}
	}
	for number := range int32(1000) {
		if named := hostlane.Code(number).Meaning() != hostlane.Code(0).Meaning(); named != known[number] {
			t.Errorf("%d is in the table: %v", number, named)
		}
	}
}

// ---- the raw side -------------------------------------------------------------------------------------

// raw is the other side of whatever is tested.
type raw struct {
	t    *testing.T
	conn *net.UnixConn
}

// put writes bytes and waits until they were read, or nobody will.
func (r raw) put(b []byte) {
	r.t.Helper()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		r.conn.Write(b) // whoever found a fault hangs up in the middle
	}()
	select {
	case <-writing:
	case <-time.After(patience):
		r.t.Fatal("what arrives is not read")
	}
	control, err := r.conn.SyscallConn()
	must(r.t, err)
	eventually(r.t, "the bytes are read", func() bool {
		var unread int32
		gone := false
		must(r.t, control.Control(func(fd uintptr) {
			_, err := syscall.Getpeername(int(fd))
			_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&unread)))
			gone = err != nil || errno != 0
		}))
		return unread == 0 || gone
	})
}

// out is what the side under test sent: a frame, put together if it carries a message.
type out struct {
	kind      byte
	flags     byte
	channel   uint16
	id        uint64
	payload   []byte
	status    *uint32
	deadline  *uint64
	isMessage bool
}

var kinds = map[byte]string{
	0x03: "AUTH", 0x04: "READY", 0x05: "PING", 0x06: "PONG", 0x07: "GOAWAY", 0x08: "DRAIN_ACK", 0x09: "CLOSE", 0x0A: "ERROR",
	0x0B: "CREDIT", 0x0C: "CANCEL", 0x0D: "REFUSE", 0x10: "MESSAGE", 0x11: "REQUEST", 0x12: "RESPONSE", 0x13: "STREAM",
}

const (
	flagFirst, flagLast, flagExt, flagFin, flagStream = 0x01, 0x02, 0x04, 0x08, 0x10
	kindClose, kindCredit, kindCancel                 = 0x09, 0x0B, 0x0C
)

// frames1 reads frames of level 1 until the stream ends.
func frames1(r io.Reader, found chan<- out) {
	defer close(found)
	open := map[uint16]*out{}
	for {
		var header [16]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return
		}
		payload := make([]byte, binary.LittleEndian.Uint32(header[:]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		o := out{
			kind: header[4], flags: header[5], channel: binary.LittleEndian.Uint16(header[6:]),
			id: binary.LittleEndian.Uint64(header[8:]), payload: payload,
		}
		if kinds[o.kind] == "" {
			continue // NOP, GREASE and the like
		}
		if o.kind < 0x10 {
			found <- o
			continue
		}
		o.isMessage = true
		if o.flags&flagExt != 0 {
			length := 2 + int(binary.LittleEndian.Uint16(o.payload))
			o.extensions(o.payload[2:length])
			o.payload = o.payload[length:]
		}
		if o.flags&(flagFirst|flagLast) == flagFirst {
			o.payload = o.payload[4:]
		}
		if o.flags&flagFirst == 0 {
			first := open[o.channel]
			first.payload = append(first.payload, o.payload...)
			first.flags |= o.flags & flagLast
			o = *first
		}
		if o.flags&flagLast == 0 {
			open[o.channel] = &o
			continue
		}
		found <- o
	}
}

func (o *out) extensions(b []byte) {
	for len(b) >= 4 {
		kind, length := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		value := b[4 : 4+length]
		switch kind {
		case 1:
			told := binary.LittleEndian.Uint64(value)
			o.deadline = &told
		case 4:
			status := binary.LittleEndian.Uint32(value)
			o.status = &status
		}
		b = b[4+length:]
	}
}

// ---- the side under test ------------------------------------------------------------------------------

// subject is a listener with its one client, or a connection, while the test is its other side.
type subject struct {
	t        *testing.T
	raw      raw
	listener *hostlane.Listener
	peers    chan result[*hostlane.Peer]
	made     *result[*hostlane.Peer]
}

type result[T any] struct {
	value T
	err   error
}

// later runs what may wait.
func later[T any](run func() (T, error)) chan result[T] {
	done := make(chan result[T], 1)
	go func() {
		value, err := run()
		done <- result[T]{value, err}
	}()
	return done
}

func newSubject(t *testing.T, role string, opts ...hostlane.Option) *subject {
	t.Helper()
	s := &subject{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	// Somebody has to wait for bytes to be moved, and what waits for a message takes it.
	bystander := listen(t)
	go bystander.Accept(ctx)
	if role == "server" {
		s.listener = listen(t, opts...)
		s.peers = later(func() (*hostlane.Peer, error) { return s.listener.Accept(ctx) })
		s.raw = raw{t, rawDial(t, s.listener)}
		return s
	}
	server, err := net.ListenUnix("unix", &net.UnixAddr{Name: testAddr(t), Net: "unix"})
	must(t, err)
	defer server.Close()
	s.peers = later(func() (*hostlane.Peer, error) { return hostlane.Dial(ctx, server.Addr().String(), opts...) })
	must(t, server.SetDeadline(time.Now().Add(patience)))
	conn, err := server.AcceptUnix()
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	s.raw = raw{t, conn}
	return s
}

// outcome is the connection, or why there is none.
func (s *subject) outcome() (*hostlane.Peer, string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.made == nil; {
		select {
		case made := <-s.peers:
			s.made = &made
			if made.err == nil {
				s.t.Cleanup(func() { made.value.Close() })
			}
		case <-time.After(time.Millisecond):
			if s.listener != nil {
				refusals, err := s.listener.Refusals()
				must(s.t, err)
				if len(refusals) > 0 {
					return nil, refusals[0].Code.String()
				}
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the handshake does not end")
		}
	}
	if s.made.err != nil {
		return nil, nameOf(s.made.err)
	}
	return s.made.value, ""
}

func (s *subject) peer() *hostlane.Peer {
	s.t.Helper()
	peer, refused := s.outcome()
	if peer == nil {
		s.t.Fatalf("there is no connection: %s", refused)
	}
	return peer
}

// end is why the connection is over.
func (s *subject) end() string {
	s.t.Helper()
	peer, refused := s.outcome()
	for peer != nil {
		if _, err := peer.Recv(testCtx(s.t)); err != nil {
			return nameOf(err)
		}
	}
	return refused
}

// handshake reads one frame of level 0.
func (s *subject) handshake() []byte {
	s.t.Helper()
	channel, payload, err := readFrame(s.raw.conn)
	if err != nil || channel != control {
		s.t.Fatalf("a handshake was expected, not %q on channel %d, %v", payload, channel, err)
	}
	return payload
}

// answer is what a handshake says.
type answer struct {
	Channels []hostlane.Channel
	PeerID   string `json:"peer_id"`
	Error    *struct {
		Code int32
		Name string
	}
	Hostlane *struct {
		Versions []int
		Version  int
		Features []string
		Auth     json.RawMessage
	}
}

func (s *subject) parsed(payload []byte) answer {
	s.t.Helper()
	var a answer
	must(s.t, json.Unmarshal(payload, &a))
	return a
}

// refuses holds a refusal against the names that are right.
func (s *subject) refuses(a answer, names []string) {
	s.t.Helper()
	if a.Error == nil || !slices.Contains(names, a.Error.Name) || hostlane.Code(a.Error.Code).String() != a.Error.Name {
		s.t.Fatalf("%+v is no refusal with one of %v", a, names)
	}
}

// ---- one rule at a time -------------------------------------------------------------------------------

func TestVectorsOfRequests(t *testing.T) {
	type request struct {
		ID     string
		Server struct {
			Channels  []hostlane.Channel
			AuthToken *string `json:"auth_token"`
		}
		Payload byteValue
		Expect  struct {
			Channels []hostlane.Channel
			Refused  []string
		}
	}
	left, played := skips{}, 0
	for _, c := range cases[request](t, "framing/requests.json") {
		if slices.ContainsFunc(c.Server.Channels, func(channel hostlane.Channel) bool { return channel > 4 && channel < 256 }) {
			left["a program cannot ask for a reserved channel to be served"]++
			continue
		}
		played++
		t.Run(c.ID, func(t *testing.T) {
			opts := []hostlane.Option{hostlane.WithChannels(c.Server.Channels...)}
			if c.Server.AuthToken != nil {
				opts = append(opts, hostlane.WithAuthToken(*c.Server.AuthToken))
			}
			s := newSubject(t, "server", opts...)
			s.raw.put(frame(control, string(c.Payload)))
			a := s.parsed(s.handshake())
			if c.Expect.Refused != nil {
				s.refuses(a, c.Expect.Refused)
				if end := s.end(); !slices.Contains(c.Expect.Refused, end) {
					t.Errorf("refused with %s", end)
				}
				return
			}
			if !slices.Equal(a.Channels, c.Expect.Channels) || !slices.Equal(s.peer().Info().Channels, c.Expect.Channels) {
				t.Errorf("granted %v, want %v", a.Channels, c.Expect.Channels)
			}
		})
	}
	left.tell(t, played)
}

func TestVectorsOfResponses(t *testing.T) {
	type response struct {
		ID      string
		Asked   []hostlane.Channel
		Payload byteValue
		Expect  struct {
			Channels []hostlane.Channel
			PeerID   string `json:"peer_id"`
			Error    []string
		}
	}
	played := 0
	for _, c := range cases[response](t, "framing/responses.json") {
		played++
		t.Run(c.ID, func(t *testing.T) {
			s := newSubject(t, "client", hostlane.WithChannels(c.Asked...))
			if a := s.parsed(s.handshake()); !slices.Equal(a.Channels, c.Asked) {
				t.Fatalf("asked for %v", a.Channels)
			}
			s.raw.put(frame(control, string(c.Payload)))
			peer, refused := s.outcome()
			if c.Expect.Error != nil {
				if !slices.Contains(c.Expect.Error, refused) {
					t.Errorf("it is %q, want one of %v", refused, c.Expect.Error)
				}
				return
			}
			if peer == nil {
				t.Fatal(refused)
			}
			if info := peer.Info(); !slices.Equal(info.Channels, c.Expect.Channels) || info.PeerID != c.Expect.PeerID {
				t.Errorf("%+v", info)
			}
		})
	}
	skips{}.tell(t, played)
}

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

func TestVectorsOfFrames(t *testing.T) {
	type frames struct {
		ID     string
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
	left, played := skips{}, 0
	for _, c := range cases[frames](t, "framing/frames.json") {
		channels := []hostlane.Channel{1, 2, 3, 4}
		unusual := false
		for _, f := range c.Expect.Frames {
			unusual = unusual || f.Channel == 0 || f.Channel > 4 && f.Channel < 256
			if f.Channel >= 256 && !slices.Contains(channels, f.Channel) {
				channels = append(channels, f.Channel)
			}
		}
		if unusual {
			left["a frame on a channel that is no program's"]++
			continue
		}
		if c.Limit < 1 {
			left["a limit that no connection has"]++
			continue
		}
		played++
		t.Run(c.ID, func(t *testing.T) {
			s := newSubject(t, "server", hostlane.WithChannels(channels...), hostlane.WithMaxMessage(c.Limit))
			hello, err := json.Marshal(map[string]any{"protocol": "ipcprims", "version": "1.0", "channels": channels})
			must(t, err)
			s.raw.put(frame(control, string(hello)))
			s.handshake()
			s.peer()
			var messages []hostlane.Message
			for _, f := range c.Expect.Frames {
				messages = append(messages, hostlane.Message{Channel: f.Channel, Data: f.Payload})
			}
			s.feed(c.Chunks, c.EOF, messages, ending(t, c.Expect.End))
		})
	}
	left.tell(t, played)
}

func TestVectorsOfControl(t *testing.T) {
	type message struct {
		ID      string
		Payload byteValue
		Expect  struct {
			Type  string
			Error json.RawMessage
		}
	}
	answers := map[string]string{"ping": "pong", "shutdown_request": "shutdown_ack"}
	played := 0
	for _, c := range cases[message](t, "framing/control.json") {
		played++
		t.Run(c.ID, func(t *testing.T) {
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
			want := answers[c.Expect.Type]
			if want == "" {
				later(func() (int, error) { return conn.Write(frame(control, `{"type":"ping"}`)) })
				want = "pong"
			}
			_, payload, err := readFrame(conn)
			must(t, err)
			if string(payload) != `{"type":"`+want+`"}` {
				t.Errorf("answered with %s", payload)
			}
		})
	}
	skips{}.tell(t, played)
}

// level1 is a server under test whose client offers level 1, up to its own READY.
func level1(t *testing.T, opts ...hostlane.Option) *subject {
	t.Helper()
	s := newSubject(t, "server", opts...)
	s.raw.put(frame(control, strings.TrimSuffix(hello, "}")+`,"hostlane":{"versions":[1],"instance":"`+strings.Repeat("0", 32)+`"}}`))
	s.handshake()
	return s
}

// feed writes chunks, and holds what comes of them against what is expected: messages, and then the end.
func (s *subject) feed(chunks []byteValue, eof bool, messages []hostlane.Message, end []string) []hostlane.Message {
	s.t.Helper()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for _, chunk := range chunks {
			s.raw.conn.Write(chunk) // whoever found a fault hangs up in the middle
		}
		if eof {
			s.raw.conn.CloseWrite()
		}
	}()
	var got []hostlane.Message
	for _, want := range messages {
		m, err := s.peer().Recv(testCtx(s.t))
		must(s.t, err)
		if m.Channel != want.Channel || !bytes.Equal(m.Data, want.Data) {
			s.t.Fatalf("%d bytes on channel %d", len(m.Data), m.Channel)
		}
		got = append(got, m)
	}
	<-writing
	if end == nil {
		ctx, cancel := context.WithTimeout(context.Background(), hold)
		defer cancel()
		_, err := s.peer().Recv(ctx)
		mustBe(s.t, err, context.DeadlineExceeded)
	} else if is := s.end(); !slices.Contains(end, is) {
		s.t.Errorf("it is %s, want one of %v", is, end)
	}
	return got
}

func TestVectorsOfLevel1Frames(t *testing.T) {
	type frames struct {
		ID         string
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
	left, played := skips{}, 0
	for _, c := range cases[frames](t, "level1/frames.json") {
		var messages []hostlane.Message
		visible := true
		for _, item := range c.Expect.Items {
			switch item.Type {
			case "MESSAGE":
				messages = append(messages, hostlane.Message{Channel: item.Channel, Data: item.Payload})
			case "PING", "READY", "CREDIT":
			default:
				visible = false
			}
		}
		if !visible {
			left["a frame that takes a call, a secret or another ending to be right"]++
			continue
		}
		played++
		t.Run(c.ID, func(t *testing.T) {
			s := level1(t, hostlane.WithMaxMessage(c.MaxMessage))
			if c.Ready {
				s.raw.put(frame1(ready, 0, 0, 0, ""))
				s.peer()
			}
			s.feed(c.Chunks, c.EOF, messages, ending(t, c.Expect.End))
		})
	}
	left.tell(t, played)
}

func TestVectorsOfExtensions(t *testing.T) {
	type extensions struct {
		ID, Form string
		Payload  byteValue
		Expect   struct {
			Extensions struct {
				Idempotency, Trace byteValue
				DeadlineUS         *uint64 `json:"deadline_us"`
			}
			Rest  byteValue
			Error []string
		}
	}
	left, played := skips{}, 0
	for _, c := range cases[extensions](t, "level1/extensions.json") {
		if told := c.Expect.Extensions.DeadlineUS; told != nil && *told < 1_000_000 {
			left["a deadline that may pass before a program takes the call"]++
			continue
		}
		played++
		t.Run(c.ID, func(t *testing.T) {
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
		})
	}
	left.tell(t, played)
}

func TestVectorsOfLevel1Control(t *testing.T) {
	type message struct {
		ID, Type string
		Payload  byteValue
		Expect   struct {
			Fields *struct {
				Code  *uint32
				Token byteValue
			}
			Error []string
		}
	}
	left, played := skips{}, 0
	for _, c := range cases[message](t, "level1/control.json") {
		var kind byte
		for number, name := range kinds {
			if name == c.Type {
				kind = number
			}
		}
		if c.Expect.Error == nil && c.Type != "PING" && c.Type != "PONG" && c.Type != "CLOSE" {
			left["a frame that takes a call or a handshake to be right"]++
			continue
		}
		played++
		t.Run(c.ID, func(t *testing.T) {
			s := level1(t)
			s.raw.put(frame1(ready, 0, 0, 0, ""))
			s.peer()
			end := c.Expect.Error
			if c.Type == "CLOSE" && end == nil {
				end = []string{"remote_error"}
				if name := hostlane.Code(*c.Expect.Fields.Code); name.Meaning() != hostlane.Code(0).Meaning() {
					end = []string{name.String()}
				}
				if end[0] == "closed" {
					end = []string{"peer_closed"}
				}
			}
			s.feed([]byteValue{frame1(kind, 0, 0, 0, string(c.Payload))}, false, nil, end)
			if c.Type == "PING" && end == nil {
				k := &talk{subject: s, credit: map[[2]uint64]uint64{}}
				k.begin()
				for o := k.take(); ; o = k.take() {
					if kinds[o.kind] == "PONG" {
						if !bytes.Equal(o.payload, c.Expect.Fields.Token) {
							t.Errorf("PONG of %x", o.payload)
						}
						break
					}
				}
			}
		})
	}
	left.tell(t, played)
}

// side is a server or client of offers.json and grants.json.
type side struct {
	Features []string
	Secret   *string
	Demand   bool
}

// options are those of the side, and whether it can be had.
func (s side) options() (opts []hostlane.Option, possible bool) {
	opts = []hostlane.Option{hostlane.WithChannels(1, 2)}
	for _, feature := range s.Features {
		if feature != "fds" {
			return nil, false
		}
		opts = append(opts, hostlane.WithFiles())
	}
	if s.Secret != nil {
		opts = append(opts, hostlane.WithSecret(*s.Secret))
	}
	if s.Demand {
		opts = append(opts, hostlane.WithLevel(hostlane.LevelOne))
	}
	return opts, true
}

const noFeature = "a feature that this language does not have"

func TestVectorsOfOffers(t *testing.T) {
	type offer struct {
		ID      string
		Server  side
		Payload byteValue
		Expect  struct {
			Level    int
			Features []string
			Auth     bool
			Refused  []string
		}
	}
	left, played := skips{}, 0
	for _, c := range cases[offer](t, "level1/offers.json") {
		opts, possible := c.Server.options()
		if !possible {
			left[noFeature]++
			continue
		}
		played++
		t.Run(c.ID, func(t *testing.T) {
			s := newSubject(t, "server", opts...)
			s.raw.put(frame(control, string(c.Payload)))
			a := s.parsed(s.handshake())
			if c.Expect.Refused != nil {
				s.refuses(a, c.Expect.Refused)
				return
			}
			if (a.Hostlane != nil) != (c.Expect.Level == 1) {
				t.Fatalf("answered %+v, want level %d", a, c.Expect.Level)
			}
			if a.Hostlane == nil {
				if level := s.peer().Info().Level; level != 0 {
					t.Errorf("level %d", level)
				}
				return
			}
			if !sameFeatures(a.Hostlane.Features, c.Expect.Features) || (a.Hostlane.Auth != nil) != c.Expect.Auth {
				t.Errorf("answered %+v, want %+v", a.Hostlane, c.Expect)
			}
		})
	}
	left.tell(t, played)
}

// sameFeatures compares sets, but for what is there to be ignored.
func sameFeatures(got, want []string) bool {
	got = slices.DeleteFunc(slices.Clone(got), func(name string) bool { return strings.HasPrefix(name, "grease") })
	slices.Sort(got)
	want = slices.Clone(want)
	slices.Sort(want)
	return slices.Equal(got, want)
}

func TestVectorsOfGrants(t *testing.T) {
	type grant struct {
		ID      string
		Client  side
		Payload byteValue
		Expect  struct {
			Level    int
			Features []string
			Auth     bool
			Error    []string
		}
	}
	left, played := skips{}, 0
	for _, c := range cases[grant](t, "level1/grants.json") {
		opts, possible := c.Client.options()
		if !possible {
			left[noFeature]++
			continue
		}
		played++
		t.Run(c.ID, func(t *testing.T) {
			s := newSubject(t, "client", opts...)
			request := s.handshake()
			s.raw.put(frame(control, string(c.Payload)))
			if c.Expect.Error != nil {
				if _, refused := s.outcome(); !slices.Contains(c.Expect.Error, refused) {
					t.Errorf("it is %q, want one of %v", refused, c.Expect.Error)
				}
				return
			}
			if c.Expect.Level == 1 {
				if c.Expect.Auth {
					s.raw.put(frame1(0x03, 0, 0, 0, string(proofOf(*c.Client.Secret, false, request, c.Payload))))
				}
				s.raw.put(frame1(0x04, 0, 0, 0, ""))
			}
			info := s.peer().Info()
			if info.Level != c.Expect.Level || !sameFeatures(info.Features, c.Expect.Features) {
				t.Errorf("%+v, want %+v", info, c.Expect)
			}
		})
	}
	left.tell(t, played)
}

// proofOf is what a side proves a secret by.
func proofOf(secret string, connector bool, request, response []byte) []byte {
	side := byte('a')
	if connector {
		side = 'c'
	}
	asked, answered := sha256.Sum256(request), sha256.Sum256(response)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(append([]byte("hostlane auth 1"), side))
	mac.Write(asked[:])
	mac.Write(answered[:])
	return mac.Sum(nil)
}

func TestVectorsOfProofs(t *testing.T) {
	type proof struct {
		ID                        string
		Secret, Request, Response byteValue
		Expect                    struct{ Connector, Acceptor byteValue }
	}
	for _, c := range cases[proof](t, "level1/proofs.json") {
		connector := proofOf(string(c.Secret), true, c.Request, c.Response)
		acceptor := proofOf(string(c.Secret), false, c.Request, c.Response)
		if !bytes.Equal(connector, c.Expect.Connector) || !bytes.Equal(acceptor, c.Expect.Acceptor) {
			t.Errorf("%s: the raw side of these tests proves wrongly", c.ID)
		}
	}
}

// ---- whole conversations ------------------------------------------------------------------------------

type transcript struct {
	ID       string
	Role     string
	Channels []hostlane.Channel
	Secret   *string
	Demand   bool
	Limits   map[string]int
	Steps    []map[string]json.RawMessage
}

// options are those of the side under test, or why it cannot be had.
func (c transcript) options() (opts []hostlane.Option, reason string) {
	opts = []hostlane.Option{hostlane.WithChannels(c.Channels...)}
	for limit, value := range c.Limits {
		switch limit {
		case "max_message":
			opts = append(opts, hostlane.WithMaxMessage(value))
		case "max_calls":
			opts = append(opts, hostlane.WithMaxCalls(value))
		case "window", "stream_window":
			return nil, "a window of another size is no option"
		}
	}
	for _, channel := range c.Channels {
		opts = append(opts, hostlane.WithPolicy(channel, hostlane.PolicyBlock))
	}
	if c.Secret != nil {
		opts = append(opts, hostlane.WithSecret(*c.Secret))
	}
	if c.Demand {
		opts = append(opts, hostlane.WithLevel(hostlane.LevelOne))
	}
	for _, step := range c.Steps {
		if step["clock"] != nil {
			return nil, "the clock of a process cannot be set"
		}
		if does := string(step["does"]); strings.Contains(does, `"fin": true`) && !strings.Contains(does, `"payload": ""`) {
			return nil, "a program says the end of a stream apart from a payload"
		}
	}
	return opts, ""
}

// talk is one conversation under way.
type talk struct {
	*subject
	client            bool
	secret            string
	request, response []byte
	level             int
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

func TestVectorsOfTranscripts(t *testing.T) {
	for _, file := range []string{"framing/transcripts.json", "level1/transcripts.json"} {
		t.Run(strings.Split(file, "/")[0], func(t *testing.T) {
			left, played := skips{}, 0
			for _, c := range cases[transcript](t, file) {
				opts, reason := c.options()
				if reason != "" {
					left[reason]++
					continue
				}
				played++
				t.Run(c.ID, func(t *testing.T) { play(t, c, opts) })
			}
			left.tell(t, played)
		})
	}
}

func play(t *testing.T, c transcript, opts []hostlane.Option) {
	k := &talk{
		subject: newSubject(t, c.Role, opts...), client: c.Role == "client", credit: map[[2]uint64]uint64{},
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

// into decodes the value of a step.
func into[T any](t *testing.T, value json.RawMessage) T {
	t.Helper()
	var v T
	must(t, json.Unmarshal(value, &v))
	return v
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
	k.level = 1
	k.found = make(chan out, 1024)
	go frames1(k.raw.conn, k.found)
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
	k.raw.put(frame1(0x03, 0, 0, 0, string(proofOf(secret, connector, k.request, k.response))))
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
