package hostlane

import (
	"context"
	"errors"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// timeoutOf translates the context for the core: the milliseconds until its
// deadline, rounded up, so that the core never gives up before the context does.
// A context that has ended is reported before anything is started.
func timeoutOf(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return capi.Forever, nil
	}
	left := time.Until(deadline)
	if left <= 0 {
		return 0, context.DeadlineExceeded
	}
	return millisecondsUp(left), nil
}

// failureOf gives the error of a finished operation. What failed after its context
// ended is reported as the context's error, whatever the end looked like to the
// core; everything else is the core's judgement.
func failureOf(ctx context.Context, ev *capi.Event) error {
	if ev.Status == 0 {
		return nil
	}
	if Code(ev.Status) == CodeRemoteError {
		return errorOf(ev.Failure) // an answer, however late
	}
	if err := ctx.Err(); err != nil {
		return endedBy(err, ev.Failure)
	}
	// The core's clock may be ahead of the timer behind the context.
	if deadline, ok := ctx.Deadline(); ok && Code(ev.Status) == CodeTimeout && !time.Now().Before(deadline) {
		return endedBy(context.DeadlineExceeded, ev.Failure)
	}
	return errorOf(ev.Failure)
}

// endedBy gives the error of an operation that its context ended: the context's own,
// bare when nothing was sent, otherwise inside an Error that tells so.
func endedBy(err error, f *capi.Failure) error {
	if f == nil || !f.MaybeSent {
		return err
	}
	code := CodeCancelled
	if errors.Is(err, context.DeadlineExceeded) {
		code = CodeTimeout
	}
	return &Error{Code: code, Msg: err.Error() + " (" + f.Message + ")", MaybeSent: true, ended: err}
}

// errorOf gives the public error for what the C interface reported.
func errorOf(f *capi.Failure) error {
	if f == nil {
		return nil
	}
	err := &Error{Code: Code(f.Status), Msg: f.Message, MaybeSent: f.MaybeSent}
	if err.Code == CodeRemoteError {
		return &RemoteError{Code: f.RemoteStatus, Data: f.RemoteData, err: err}
	}
	return err
}
