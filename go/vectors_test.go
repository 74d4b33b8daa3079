package hostlane_test

import (
	"testing"

	hostlane "github.com/hostlane/hostlane/go"
)

// The shared vectors of tests/vectors, played against a real listener or a real connection: the test is the other
// side, at a raw socket. What the steps mean stands in tests/vectors/README.md.

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

// Handshakes.

func TestVectorsOfRequests(t *testing.T)  { each[requestCase](t, "framing/requests.json") }
func TestVectorsOfResponses(t *testing.T) { each[responseCase](t, "framing/responses.json") }
func TestVectorsOfOffers(t *testing.T)    { each[offerCase](t, "level1/offers.json") }
func TestVectorsOfGrants(t *testing.T)    { each[grantCase](t, "level1/grants.json") }

func TestVectorsOfProofs(t *testing.T) {
	for _, c := range cases[proofCase](t, "level1/proofs.json") {
		c.play(t)
	}
}

// Frames.

func TestVectorsOfFrames(t *testing.T)        { each[framesCase](t, "framing/frames.json") }
func TestVectorsOfControl(t *testing.T)       { each[controlCase](t, "framing/control.json") }
func TestVectorsOfLevel1Frames(t *testing.T)  { each[frames1Case](t, "level1/frames.json") }
func TestVectorsOfExtensions(t *testing.T)    { each[extensionsCase](t, "level1/extensions.json") }
func TestVectorsOfLevel1Control(t *testing.T) { each[control1Case](t, "level1/control.json") }

// Conversations.

func TestVectorsOfTranscripts(t *testing.T) {
	for _, level := range []string{"framing", "level1"} {
		t.Run(level, func(t *testing.T) { each[transcriptCase](t, level+"/transcripts.json") })
	}
}
