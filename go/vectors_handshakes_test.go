package hostlane_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	hostlane "github.com/hostlane/hostlane/go"
)

// The vectors of handshakes: requests and responses, offers and grants, proofs.

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

type requestCase struct {
	vector
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

func (c requestCase) unfit() string {
	if slices.ContainsFunc(c.Server.Channels, func(channel hostlane.Channel) bool { return channel > 4 && channel < 256 }) {
		return "a program cannot ask for a reserved channel to be served"
	}
	return ""
}

func (c requestCase) play(t *testing.T) {
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
}

type responseCase struct {
	vector
	Asked   []hostlane.Channel
	Payload byteValue
	Expect  struct {
		Channels []hostlane.Channel
		PeerID   string `json:"peer_id"`
		Error    []string
	}
}

func (c responseCase) play(t *testing.T) {
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
}

type offerCase struct {
	vector
	Server  side
	Payload byteValue
	Expect  struct {
		Level    int
		Features []string
		Auth     bool
		Refused  []string
	}
}

func (c offerCase) unfit() string { return c.Server.unfit() }

func (c offerCase) play(t *testing.T) {
	s := newSubject(t, "server", c.Server.options(1, 2)...)
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
}

// sameFeatures compares sets, but for what is there to be ignored.
func sameFeatures(got, want []string) bool {
	got = slices.DeleteFunc(slices.Clone(got), func(name string) bool { return strings.HasPrefix(name, "grease") })
	slices.Sort(got)
	want = slices.Clone(want)
	slices.Sort(want)
	return slices.Equal(got, want)
}

type grantCase struct {
	vector
	Client  side
	Payload byteValue
	Expect  struct {
		Level    int
		Features []string
		Auth     bool
		Error    []string
	}
}

func (c grantCase) unfit() string { return c.Client.unfit() }

func (c grantCase) play(t *testing.T) {
	s := newSubject(t, "client", c.Client.options(1, 2)...)
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
			s.raw.put(frame1(auth, 0, 0, 0, string(proofOf(*c.Client.Secret, false, request, c.Payload))))
		}
		s.raw.put(frame1(ready, 0, 0, 0, ""))
	}
	info := s.peer().Info()
	if info.Level != c.Expect.Level || !sameFeatures(info.Features, c.Expect.Features) {
		t.Errorf("%+v, want %+v", info, c.Expect)
	}
}

type proofCase struct {
	vector
	Secret, Request, Response byteValue
	Expect                    struct{ Connector, Acceptor byteValue }
}

func (c proofCase) play(t *testing.T) {
	connector := proofOf(string(c.Secret), true, c.Request, c.Response)
	acceptor := proofOf(string(c.Secret), false, c.Request, c.Response)
	if !bytes.Equal(connector, c.Expect.Connector) || !bytes.Equal(acceptor, c.Expect.Acceptor) {
		t.Errorf("%s: the raw side of these tests proves wrongly", c.ID)
	}
}
