package hostlane_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	hostlane "github.com/hostlane/hostlane/go"
)

// childAddr makes this test binary run as the other side, which serves childCalls calls at
// a time; see TestMain.
const (
	childAddr  = "HOSTLANE_TEST_CHILD"
	childCalls = "HOSTLANE_TEST_CHILD_CALLS"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(partnerAddr); addr != "" {
		fmt.Fprintln(os.Stderr, "partner:", partner(addr))
		os.Exit(1)
	}
	if addr := os.Getenv(childAddr); addr != "" {
		if err := child(addr, os.Getenv(childCalls)); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child sends one message and then receives without ever answering.
func child(addr, calls string) error {
	ctx := context.Background()
	most, err := strconv.Atoi(calls)
	if err != nil {
		return err
	}
	peer, err := hostlane.Dial(ctx, addr, hostlane.WithMaxCalls(most))
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := peer.Send(ctx, hostlane.ChannelData, []byte("alive")); err != nil {
		return err
	}
	var unanswered []hostlane.Message
	for m, err := range peer.Messages(ctx) {
		if err != nil {
			return err
		}
		unanswered = append(unanswered, m)
	}
	return nil
}

// startChild runs the child and returns it with its connection.
func startChild(t *testing.T, opts ...hostlane.Option) (*os.Process, *hostlane.Peer) {
	t.Helper()
	return startChildOf(t, listen(t, opts...), "0")
}

func startChildOf(t *testing.T, l *hostlane.Listener, calls string) (*os.Process, *hostlane.Peer) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childAddr+"="+l.Addr(), childCalls+"="+calls)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	peer, err := l.Accept(testCtx(t))
	must(t, err)
	t.Cleanup(func() { peer.Close() })
	if pid := peer.Info().PID; pid != cmd.Process.Pid {
		t.Fatalf("the other side is process %d, want %d", pid, cmd.Process.Pid)
	}
	m, err := peer.Recv(testCtx(t))
	must(t, err)
	if string(m.Data) != "alive" {
		t.Fatalf("received %q", m.Data)
	}
	return cmd.Process, peer
}

func TestKilledPeerEndsRecv(t *testing.T) {
	process, peer := startChild(t)
	before := waiting()
	done := make(chan error, 1)
	go func() { _, err := peer.Recv(context.Background()); done <- err }()
	eventually(t, "waiting", func() bool { return waiting() > before })
	must(t, process.Kill())
	mustBe(t, <-done, hostlane.ErrPeerClosed)
}

func TestKilledPeerEndsRequest(t *testing.T) {
	process, peer := startChild(t)
	done := make(chan error, 1)
	go func() { _, err := peer.Request(context.Background(), []byte("?")); done <- err }()
	// A ping behind the call comes back once the child has read the call.
	_, err := peer.Ping(testCtx(t))
	must(t, err)
	must(t, process.Kill())
	if err := <-done; !isOneOf(err, hostlane.CodeConnectionLost, hostlane.CodePeerClosed) {
		t.Fatalf("got %v, want connection_lost", err)
	} else if !err.(*hostlane.Error).MaybeSent {
		t.Error("the call had been sent")
	}
}

func TestStoppedPeerDoesNotOutlastTheDeadline(t *testing.T) {
	process, peer := startChild(t)
	must(t, process.Signal(syscall.SIGSTOP))
	const span = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	start := time.Now()
	_, err := peer.Request(ctx, []byte("?"))
	mustBe(t, err, context.DeadlineExceeded)
	if took := time.Since(start); took < span || took > span+time.Second {
		t.Errorf("took %v, the deadline was %v", took, span)
	}
}
