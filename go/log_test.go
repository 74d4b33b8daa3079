package hostlane_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// records is a slog.Handler that keeps what it gets.
type records struct {
	mu  sync.Mutex
	all []slog.Record
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }

func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record)
	return nil
}

func (r *records) taken() []slog.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

func attrs(record slog.Record) map[string]string {
	all := make(map[string]string)
	record.Attrs(func(a slog.Attr) bool {
		all[a.Key] = a.Value.String()
		return true
	})
	return all
}

// drained is everything that is kept now.
func drained(t *testing.T) []slog.Record {
	t.Helper()
	var into records
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	mustBe(t, hostlane.DrainLog(ctx, slog.New(&into)), context.Canceled)
	return into.all
}

// enable turns the log on, empty, for the length of a test.
func enable(t *testing.T, level slog.Level) {
	t.Helper()
	drained(t)
	hostlane.EnableLog(level)
	t.Cleanup(func() {
		hostlane.DisableLog()
		drained(t)
	})
}

func TestLogIsSilentByDefault(t *testing.T) {
	client, _ := pair(t)
	must(t, client.Close())
	if got := drained(t); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestLogOfAConnection(t *testing.T) {
	enable(t, slog.LevelInfo)
	var into records
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- hostlane.DrainLog(ctx, slog.New(&into)) }()
	client, _ := pair(t)
	eventually(t, "both records", func() bool { return len(into.taken()) == 2 })
	for _, r := range into.taken() {
		a := attrs(r)
		info := client.Info()
		if a["event"] != "connected" || a["peer"] != info.PeerID || a["address"] != info.Address || r.Level != slog.LevelInfo {
			t.Errorf("%v %v", r, a)
		}
		if _, ok := a["code"]; ok || time.Since(r.Time) > patience || r.Message == "" {
			t.Errorf("%v %v", r, a)
		}
	}
	must(t, client.Close())
	eventually(t, "its end", func() bool { return len(into.taken()) > 2 })
	if a := attrs(into.taken()[2]); a["event"] != "ended" || a["code"] == "" {
		t.Errorf("%v", a)
	}
	cancel()
	mustBe(t, <-done, context.Canceled)
}

func TestLogLevels(t *testing.T) {
	enable(t, slog.LevelWarn)
	l := listen(t, hostlane.WithSecret("right"))
	accept(t, l)
	_, err := hostlane.Dial(testCtx(t), l.Addr(), hostlane.WithSecret("wrong"))
	mustBe(t, err, hostlane.ErrAuthenticationFailed)
	eventually(t, "the refusal", func() bool { s, err := l.Stats(); return err == nil && s.Refused == 1 })
	client, _ := pair(t)
	must(t, client.Close())
	got := drained(t)
	if len(got) != 2 {
		t.Fatalf("got %v", got)
	}
	for _, r := range got {
		if a := attrs(r); r.Level != slog.LevelWarn || a["code"] != "authentication_failed" {
			t.Errorf("%v %v", r, a)
		}
	}
}

func TestLogCountsWhatIsLost(t *testing.T) {
	enable(t, slog.LevelDebug)
	const kept = 1024
	addr := testAddr(t)
	l, err := hostlane.Listen(addr)
	must(t, err)
	defer l.Close()
	for range kept/4 + 10 {
		client, server := connect(t, l)
		must(t, client.Close())
		must(t, server.Close())
	}
	got := drained(t)
	if len(got) != kept+1 || attrs(got[0])["dropped"] != "40" || got[0].Level != slog.LevelWarn {
		t.Errorf("%d records, the first %v", len(got), got[0])
	}
}
