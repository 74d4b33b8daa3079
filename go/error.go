package hostlane

import (
	"fmt"
	"strings"
)

// Error is a failure reported by hostlane. Compare it with errors.Is; the sentinel
// of the same Code matches whatever the text says.
type Error struct {
	// Code is the number of the error, the same in every language.
	Code Code
	// Msg tells a person what happened; it is never meant to be parsed.
	Msg string
	// MaybeSent reports that a part of the message may have reached the other
	// side. When it is false, nothing was sent and sending again is safe.
	MaybeSent bool

	// ended is the error of the context that ended the operation, or nil.
	ended error
}

// RemoteError is what the program on the other side failed a call with, by
// [Message.Fail]. It is also ErrRemoteError.
type RemoteError struct {
	// Code is the program's own number.
	Code uint32
	// Data is what it gave along; empty, never nil, for nothing.
	Data []byte
	// err is the same as the library reports it.
	err *Error
}

// Error returns "hostlane: remote_error: text".
func (e *RemoteError) Error() string { return e.Unwrap().Error() }

// Unwrap returns the [*Error] whose Code is CodeRemoteError.
func (e *RemoteError) Unwrap() error {
	if e.err == nil {
		return ErrRemoteError
	}
	return e.err
}

// Error returns "hostlane: name: text".
func (e *Error) Error() string {
	msg := e.Msg
	if msg == "" {
		// A sentence of its own, in the middle of another here.
		msg = strings.TrimSuffix(e.Code.Meaning(), ".")
		if msg != "" {
			msg = strings.ToLower(msg[:1]) + msg[1:]
		}
	}
	return "hostlane: " + e.Code.String() + ": " + msg
}

// Is reports whether target is a hostlane error of the same Code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Unwrap returns the error of the context that ended the operation, otherwise the
// standard library's error for the same cause, or nil.
func (e *Error) Unwrap() error {
	if e.ended != nil {
		return e.ended
	}
	return codeTable[e.Code].standard
}

// Timeout reports whether a deadline passed, as net.Error has it.
func (e *Error) Timeout() bool { return e.Code == CodeTimeout }

// Retryable reports whether the same call may succeed later without a change in
// the program.
func (e *Error) Retryable() bool { return codeTable[e.Code].retryable }

// String returns the name of the code in the error table, such as "peer_closed".
func (c Code) String() string {
	if facts, ok := codeTable[c]; ok {
		return facts.name
	}
	return fmt.Sprintf("code_%d", int32(c))
}

// Meaning returns the sentence that explains the code.
func (c Code) Meaning() string { return codeTable[c].meaning }
