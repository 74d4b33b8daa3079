package hostlane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	hostlane "github.com/hostlane/hostlane/go"
)

func TestErrorsMatchTheStandardLibrary(t *testing.T) {
	for _, c := range []struct {
		err      error
		standard error
	}{
		{hostlane.ErrClosed, net.ErrClosed},
		{hostlane.ErrUnsupported, errors.ErrUnsupported},
		{hostlane.ErrCancelled, context.Canceled},
		{hostlane.ErrConnectionRefused, syscall.ECONNREFUSED},
		{hostlane.ErrNotFound, fs.ErrNotExist},
		{hostlane.ErrAddressInUse, syscall.EADDRINUSE},
		{hostlane.ErrPermissionDenied, fs.ErrPermission},
		{hostlane.ErrTimeout, os.ErrDeadlineExceeded},
		{hostlane.ErrConnectionLost, syscall.ECONNRESET},
		{hostlane.ErrPeerClosed, io.EOF},
		{hostlane.ErrUnsafeDirectory, fs.ErrPermission},
		{hostlane.ErrTooManyFiles, syscall.EMFILE},
		{hostlane.ErrTruncated, io.ErrUnexpectedEOF},
		{hostlane.ErrAuthenticationFailed, fs.ErrPermission},
		{hostlane.ErrRefused, syscall.ECONNREFUSED},
		{hostlane.ErrTooManyHandshakes, syscall.ECONNREFUSED},
	} {
		wrapped := fmt.Errorf("while trying: %w", c.err)
		if !errors.Is(wrapped, c.standard) {
			t.Errorf("%v does not match %v", c.err, c.standard)
		}
	}
	if errors.Is(hostlane.ErrClosed, hostlane.ErrPeerClosed) || errors.Is(hostlane.ErrBadMagic, io.EOF) {
		t.Error("different causes match")
	}
}

func TestErrorTellsEverything(t *testing.T) {
	_, err := hostlane.Dial(testCtx(t), testAddr(t))
	var e *hostlane.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T", err)
	}
	if e.Code != 202 || e.Code.String() != "not_found" || !e.Retryable() || e.Timeout() || e.MaybeSent {
		t.Errorf("%#v", e)
	}
	if text := err.Error(); !strings.HasPrefix(text, "hostlane: not_found: ") {
		t.Errorf("text %q", text)
	}
	if !hostlane.ErrTimeout.Timeout() || !os.IsTimeout(hostlane.ErrTimeout) {
		t.Error("a timeout is not a timeout")
	}
	if text := hostlane.ErrTimeout.Error(); text != "hostlane: timeout: the deadline passed first" {
		t.Errorf("text %q", text)
	}
	if text := hostlane.Code(7).String(); text != "code_7" {
		t.Errorf("unknown code %q", text)
	}
}

func TestMessageThatWasNotReceived(t *testing.T) {
	mustBe(t, hostlane.Message{}.Reply(testCtx(t), nil), hostlane.ErrInvalidArgument)
}
