package hostlane_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The reader of the vectors: files to cases, and which of them are played.

// vector is what every case has.
type vector struct{ ID string }

func (v vector) id() string { return v.ID }

// unfit is why a case is not played; most can be.
func (v vector) unfit() string { return "" }

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

// into decodes the value of a step.
func into[T any](t *testing.T, value json.RawMessage) T {
	t.Helper()
	var v T
	must(t, json.Unmarshal(value, &v))
	return v
}

// playable is a case that is a test of its own.
type playable interface {
	id() string
	unfit() string
	play(t *testing.T)
}

// each plays the cases of a file, and counts by reason those that are not played.
func each[T playable](t *testing.T, file string) {
	t.Helper()
	left, played := map[string]int{}, 0
	for _, c := range cases[T](t, file) {
		if reason := c.unfit(); reason != "" {
			left[reason]++
			continue
		}
		played++
		t.Run(c.id(), c.play)
	}
	t.Logf("%d cases played", played)
	for reason, count := range left {
		t.Logf("%d cases not played: %s", count, reason)
	}
}
