package loop

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// A fault inside the library closes the object it was in, here the context. Nobody waits
// for ever on it, and what begins later has a new one.
func TestAContextThatWasLostEndsWhatWaitsAndIsReplaced(t *testing.T) {
	l, failure := Shared()
	if failure != nil {
		t.Fatal(failure)
	}
	listener, failure := capi.Listen("inproc:lost-context", &capi.Options{})
	if failure != nil {
		t.Fatal(failure)
	}
	defer listener.Close()
	ended := make(chan capi.Event, 1)
	go func() { ended <- l.Await(context.Background(), l.Context.Accept(listener, -1)) }()
	for leads := false; !leads; runtime.Gosched() {
		l.mu.Lock()
		leads = l.leading
		l.mu.Unlock()
	}
	l.Context.Abandon()
	capi.Faulted()
	select {
	case event := <-ended:
		// Not by this side's close, which has a server end with success.
		if event.Status != capi.Lost().Status || event.Failure == nil || event.Failure.Status != event.Status {
			t.Fatalf("it ended otherwise: %+v", event)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it still waits")
	}
	next, failure := Shared()
	if failure != nil || next == l {
		t.Fatalf("there is no other: %v", failure)
	}
	if next.Context.Gone() {
		t.Fatal("the other is gone, too")
	}
}

// Whoever meets a lost context before it was noticed is told the same.
func TestACallOnAContextThatWasLostIsToldSo(t *testing.T) {
	c, _, failure := capi.NewContext()
	if failure != nil {
		t.Fatal(failure)
	}
	c.Abandon()
	var batch capi.Batch
	batch.Add(&capi.Op{})
	_, _, processed := c.Process(make([]capi.Event, 1))
	for name, failure := range map[string]*capi.Failure{
		"connect": c.Connect("inproc:lost-context", &capi.Options{}, capi.Forever).Failure,
		"accept":  c.Accept(capi.Listener{}, capi.Forever).Failure,
		"start":   c.Start(&capi.Op{}).Failure,
		"submit":  c.Submit(&batch),
		"process": processed,
	} {
		if failure == nil || failure.Status != capi.Lost().Status {
			t.Errorf("%s: %+v", name, failure)
		}
	}
}
