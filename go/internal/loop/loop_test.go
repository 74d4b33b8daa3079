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
		if event.Failure == nil || event.Failure.Status != capi.Fault("").Status {
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
