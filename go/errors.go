// Code generated from core/errors.toml by `cargo xtask gen`. DO NOT EDIT.

package hostlane

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// Code is the number of an error: the same number for the same cause in every
// language. Numbers are never reused; texts are for people.
type Code int32

// The numbers, by hundreds: 1xx the caller, 2xx the transport, 3xx the protocol,
// 4xx the schema, 5xx the remote program, 9xx hostlane itself.
const (
	// CodeInvalidArgument: An argument is outside what the function accepts.
	CodeInvalidArgument Code = 101
	// CodeInvalidAddress: The address is in none of the known forms.
	CodeInvalidAddress Code = 102
	// CodeAddressTooLong: The socket path is longer than 100 bytes; paths are never truncated.
	CodeAddressTooLong Code = 103
	// CodeClosed: The object was closed by this side.
	CodeClosed Code = 104
	// CodeInvalidHandle: The handle names no living object: it was never issued, was freed, or is of another kind.
	CodeInvalidHandle Code = 105
	// CodeForked: The object belongs to the parent process; a forked child opens its own.
	CodeForked Code = 106
	// CodeInvalidUTF8: A text argument is not valid UTF-8.
	CodeInvalidUTF8 Code = 107
	// CodeUnsupported: This build, this address form or this wire level cannot do it.
	CodeUnsupported Code = 108
	// CodeInterrupted: A signal arrived during the wait; nothing was lost, call again.
	CodeInterrupted Code = 109
	// CodeCancelled: The caller gave the operation up before it finished.
	CodeCancelled Code = 110
	// CodeInvalidChannel: The channel is reserved, or was not agreed in the handshake of this connection.
	CodeInvalidChannel Code = 111
	// CodePayloadTooLarge: The message is larger than this connection allows; nothing was sent.
	CodePayloadTooLarge Code = 112
	// CodeWrongDriver: A blocking call was made on an object that a context drives, or the other way round.
	CodeWrongDriver Code = 113
	// CodeAuthenticationRequired: This address form is only served and used with an authentication option.
	CodeAuthenticationRequired Code = 114
	// CodeWouldBlock: The channel has no credit now, and its policy is not to wait.
	CodeWouldBlock Code = 115
	// CodeCallEnded: The call was answered already, was given up by its caller, or ran out of time.
	CodeCallEnded Code = 116
	// CodeConnectionRefused: The address exists and nobody serves it.
	CodeConnectionRefused Code = 201
	// CodeNotFound: Nothing exists at the address.
	CodeNotFound Code = 202
	// CodeAddressInUse: Another process serves the address.
	CodeAddressInUse Code = 203
	// CodePermissionDenied: The operating system, or the identity check of this side, does not allow it.
	CodePermissionDenied Code = 204
	// CodeTimeout: The deadline passed first.
	CodeTimeout Code = 205
	// CodeConnectionLost: The connection ended while something was still expected of it.
	CodeConnectionLost Code = 206
	// CodePeerClosed: The other side ended the connection between two messages.
	CodePeerClosed Code = 207
	// CodeNotASocket: The path is a file of another kind; it was left untouched.
	CodeNotASocket Code = 208
	// CodeUnsafeDirectory: The runtime directory belongs to somebody else, is a link, or is open to others.
	CodeUnsafeDirectory Code = 209
	// CodeTooManyFiles: The process or the system has no file descriptor left.
	CodeTooManyFiles Code = 210
	// CodeQueueFull: A bounded queue is full; wait for running operations and try again.
	CodeQueueFull Code = 211
	// CodeIO: The operating system reported an error that has no number of its own here.
	CodeIO Code = 212
	// CodeDraining: The connection is being drained: nothing new can be started on it.
	CodeDraining Code = 213
	// CodePeerUnresponsive: The other side answered no keepalive in time: it is stopped or stuck.
	CodePeerUnresponsive Code = 214
	// CodeBadMagic: The bytes received are not a frame of this protocol.
	CodeBadMagic Code = 301
	// CodeFrameTooLarge: A frame declared more bytes than this side accepts; it was judged by its header alone.
	CodeFrameTooLarge Code = 302
	// CodeTruncated: The connection ended inside a frame.
	CodeTruncated Code = 303
	// CodeUnknownChannel: A frame arrived on a channel that was not agreed in the handshake.
	CodeUnknownChannel Code = 304
	// CodeUnknownControl: A control message arrived whose type this protocol does not know.
	CodeUnknownControl Code = 305
	// CodeBadControl: A control message is not valid JSON, or lacks its type.
	CodeBadControl Code = 306
	// CodeBadHandshake: A handshake message is not valid JSON, lacks a member, or breaks a limit.
	CodeBadHandshake Code = 307
	// CodeProtocolMismatch: The other side speaks another protocol.
	CodeProtocolMismatch Code = 308
	// CodeVersionMismatch: The two sides have no protocol version in common.
	CodeVersionMismatch Code = 309
	// CodeNoCommonChannel: The two sides have no channel in common.
	CodeNoCommonChannel Code = 310
	// CodeAuthenticationFailed: The secret or the identity of the connecting side was not accepted.
	CodeAuthenticationFailed Code = 311
	// CodeRefused: The server ended the handshake without giving a reason.
	CodeRefused Code = 312
	// CodeControlFlood: The other side sent more control messages than the limit allows.
	CodeControlFlood Code = 313
	// CodeTooManyHandshakes: The server had too many unfinished handshakes and dropped the oldest.
	CodeTooManyHandshakes Code = 314
	// CodeProtocolError: The other side broke a rule of the protocol.
	CodeProtocolError Code = 315
	// CodeUnknownFrame: A frame of unknown type was marked critical.
	CodeUnknownFrame Code = 316
	// CodeCreditExceeded: The other side sent more than it had credit for.
	CodeCreditExceeded Code = 317
	// CodeSchemaViolation: The message does not satisfy the schema of its channel.
	CodeSchemaViolation Code = 401
	// CodeBadSchema: A schema file cannot be loaded.
	CodeBadSchema Code = 402
	// CodeRemoteError: The program on the other side answered with an error.
	CodeRemoteError Code = 501
	// CodeCallAbandoned: The program on the other side let the call go without an answer.
	CodeCallAbandoned Code = 502
	// CodeInternal: A fault inside hostlane; please report it.
	CodeInternal Code = 901
	// CodePanic: A fault inside hostlane was caught at the language boundary; the object is no longer usable.
	CodePanic Code = 902
)

// The sentinels, for errors.Is.
var (
	// ErrInvalidArgument: An argument is outside what the function accepts.
	ErrInvalidArgument = &Error{Code: CodeInvalidArgument}
	// ErrInvalidAddress: The address is in none of the known forms.
	ErrInvalidAddress = &Error{Code: CodeInvalidAddress}
	// ErrAddressTooLong: The socket path is longer than 100 bytes; paths are never truncated.
	ErrAddressTooLong = &Error{Code: CodeAddressTooLong}
	// ErrClosed: The object was closed by this side.
	// It also matches net.ErrClosed.
	ErrClosed = &Error{Code: CodeClosed}
	// ErrInvalidHandle: The handle names no living object: it was never issued, was freed, or is of another kind.
	ErrInvalidHandle = &Error{Code: CodeInvalidHandle}
	// ErrForked: The object belongs to the parent process; a forked child opens its own.
	ErrForked = &Error{Code: CodeForked}
	// ErrInvalidUTF8: A text argument is not valid UTF-8.
	ErrInvalidUTF8 = &Error{Code: CodeInvalidUTF8}
	// ErrUnsupported: This build, this address form or this wire level cannot do it.
	// It also matches errors.ErrUnsupported.
	ErrUnsupported = &Error{Code: CodeUnsupported}
	// ErrInterrupted: A signal arrived during the wait; nothing was lost, call again.
	ErrInterrupted = &Error{Code: CodeInterrupted}
	// ErrCancelled: The caller gave the operation up before it finished.
	// It also matches context.Canceled.
	ErrCancelled = &Error{Code: CodeCancelled}
	// ErrInvalidChannel: The channel is reserved, or was not agreed in the handshake of this connection.
	ErrInvalidChannel = &Error{Code: CodeInvalidChannel}
	// ErrPayloadTooLarge: The message is larger than this connection allows; nothing was sent.
	ErrPayloadTooLarge = &Error{Code: CodePayloadTooLarge}
	// ErrWrongDriver: A blocking call was made on an object that a context drives, or the other way round.
	ErrWrongDriver = &Error{Code: CodeWrongDriver}
	// ErrAuthenticationRequired: This address form is only served and used with an authentication option.
	ErrAuthenticationRequired = &Error{Code: CodeAuthenticationRequired}
	// ErrWouldBlock: The channel has no credit now, and its policy is not to wait.
	ErrWouldBlock = &Error{Code: CodeWouldBlock}
	// ErrCallEnded: The call was answered already, was given up by its caller, or ran out of time.
	ErrCallEnded = &Error{Code: CodeCallEnded}
	// ErrConnectionRefused: The address exists and nobody serves it.
	// It also matches syscall.ECONNREFUSED.
	ErrConnectionRefused = &Error{Code: CodeConnectionRefused}
	// ErrNotFound: Nothing exists at the address.
	// It also matches fs.ErrNotExist.
	ErrNotFound = &Error{Code: CodeNotFound}
	// ErrAddressInUse: Another process serves the address.
	// It also matches syscall.EADDRINUSE.
	ErrAddressInUse = &Error{Code: CodeAddressInUse}
	// ErrPermissionDenied: The operating system, or the identity check of this side, does not allow it.
	// It also matches fs.ErrPermission.
	ErrPermissionDenied = &Error{Code: CodePermissionDenied}
	// ErrTimeout: The deadline passed first.
	// It also matches os.ErrDeadlineExceeded.
	ErrTimeout = &Error{Code: CodeTimeout}
	// ErrConnectionLost: The connection ended while something was still expected of it.
	// It also matches syscall.ECONNRESET.
	ErrConnectionLost = &Error{Code: CodeConnectionLost}
	// ErrPeerClosed: The other side ended the connection between two messages.
	// It also matches io.EOF.
	ErrPeerClosed = &Error{Code: CodePeerClosed}
	// ErrNotASocket: The path is a file of another kind; it was left untouched.
	ErrNotASocket = &Error{Code: CodeNotASocket}
	// ErrUnsafeDirectory: The runtime directory belongs to somebody else, is a link, or is open to others.
	// It also matches fs.ErrPermission.
	ErrUnsafeDirectory = &Error{Code: CodeUnsafeDirectory}
	// ErrTooManyFiles: The process or the system has no file descriptor left.
	// It also matches syscall.EMFILE.
	ErrTooManyFiles = &Error{Code: CodeTooManyFiles}
	// ErrQueueFull: A bounded queue is full; wait for running operations and try again.
	ErrQueueFull = &Error{Code: CodeQueueFull}
	// ErrIO: The operating system reported an error that has no number of its own here.
	ErrIO = &Error{Code: CodeIO}
	// ErrDraining: The connection is being drained: nothing new can be started on it.
	ErrDraining = &Error{Code: CodeDraining}
	// ErrPeerUnresponsive: The other side answered no keepalive in time: it is stopped or stuck.
	ErrPeerUnresponsive = &Error{Code: CodePeerUnresponsive}
	// ErrBadMagic: The bytes received are not a frame of this protocol.
	ErrBadMagic = &Error{Code: CodeBadMagic}
	// ErrFrameTooLarge: A frame declared more bytes than this side accepts; it was judged by its header alone.
	ErrFrameTooLarge = &Error{Code: CodeFrameTooLarge}
	// ErrTruncated: The connection ended inside a frame.
	// It also matches io.ErrUnexpectedEOF.
	ErrTruncated = &Error{Code: CodeTruncated}
	// ErrUnknownChannel: A frame arrived on a channel that was not agreed in the handshake.
	ErrUnknownChannel = &Error{Code: CodeUnknownChannel}
	// ErrUnknownControl: A control message arrived whose type this protocol does not know.
	ErrUnknownControl = &Error{Code: CodeUnknownControl}
	// ErrBadControl: A control message is not valid JSON, or lacks its type.
	ErrBadControl = &Error{Code: CodeBadControl}
	// ErrBadHandshake: A handshake message is not valid JSON, lacks a member, or breaks a limit.
	ErrBadHandshake = &Error{Code: CodeBadHandshake}
	// ErrProtocolMismatch: The other side speaks another protocol.
	ErrProtocolMismatch = &Error{Code: CodeProtocolMismatch}
	// ErrVersionMismatch: The two sides have no protocol version in common.
	ErrVersionMismatch = &Error{Code: CodeVersionMismatch}
	// ErrNoCommonChannel: The two sides have no channel in common.
	ErrNoCommonChannel = &Error{Code: CodeNoCommonChannel}
	// ErrAuthenticationFailed: The secret or the identity of the connecting side was not accepted.
	// It also matches fs.ErrPermission.
	ErrAuthenticationFailed = &Error{Code: CodeAuthenticationFailed}
	// ErrRefused: The server ended the handshake without giving a reason.
	// It also matches syscall.ECONNREFUSED.
	ErrRefused = &Error{Code: CodeRefused}
	// ErrControlFlood: The other side sent more control messages than the limit allows.
	ErrControlFlood = &Error{Code: CodeControlFlood}
	// ErrTooManyHandshakes: The server had too many unfinished handshakes and dropped the oldest.
	// It also matches syscall.ECONNREFUSED.
	ErrTooManyHandshakes = &Error{Code: CodeTooManyHandshakes}
	// ErrProtocolError: The other side broke a rule of the protocol.
	ErrProtocolError = &Error{Code: CodeProtocolError}
	// ErrUnknownFrame: A frame of unknown type was marked critical.
	ErrUnknownFrame = &Error{Code: CodeUnknownFrame}
	// ErrCreditExceeded: The other side sent more than it had credit for.
	ErrCreditExceeded = &Error{Code: CodeCreditExceeded}
	// ErrSchemaViolation: The message does not satisfy the schema of its channel.
	ErrSchemaViolation = &Error{Code: CodeSchemaViolation}
	// ErrBadSchema: A schema file cannot be loaded.
	ErrBadSchema = &Error{Code: CodeBadSchema}
	// ErrRemoteError: The program on the other side answered with an error.
	ErrRemoteError = &Error{Code: CodeRemoteError}
	// ErrCallAbandoned: The program on the other side let the call go without an answer.
	ErrCallAbandoned = &Error{Code: CodeCallAbandoned}
	// ErrInternal: A fault inside hostlane; please report it.
	ErrInternal = &Error{Code: CodeInternal}
	// ErrPanic: A fault inside hostlane was caught at the language boundary; the object is no longer usable.
	ErrPanic = &Error{Code: CodePanic}
)

// codeFacts is one row of the error table.
type codeFacts struct {
	name      string
	meaning   string
	retryable bool
	standard  error // the standard library's error for the same cause, or nil
}

var codeTable = map[Code]codeFacts{
	CodeInvalidArgument:        {"invalid_argument", "An argument is outside what the function accepts.", false, nil},
	CodeInvalidAddress:         {"invalid_address", "The address is in none of the known forms.", false, nil},
	CodeAddressTooLong:         {"address_too_long", "The socket path is longer than 100 bytes; paths are never truncated.", false, nil},
	CodeClosed:                 {"closed", "The object was closed by this side.", false, net.ErrClosed},
	CodeInvalidHandle:          {"invalid_handle", "The handle names no living object: it was never issued, was freed, or is of another kind.", false, nil},
	CodeForked:                 {"forked", "The object belongs to the parent process; a forked child opens its own.", false, nil},
	CodeInvalidUTF8:            {"invalid_utf8", "A text argument is not valid UTF-8.", false, nil},
	CodeUnsupported:            {"unsupported", "This build, this address form or this wire level cannot do it.", false, errors.ErrUnsupported},
	CodeInterrupted:            {"interrupted", "A signal arrived during the wait; nothing was lost, call again.", true, nil},
	CodeCancelled:              {"cancelled", "The caller gave the operation up before it finished.", false, context.Canceled},
	CodeInvalidChannel:         {"invalid_channel", "The channel is reserved, or was not agreed in the handshake of this connection.", false, nil},
	CodePayloadTooLarge:        {"payload_too_large", "The message is larger than this connection allows; nothing was sent.", false, nil},
	CodeWrongDriver:            {"wrong_driver", "A blocking call was made on an object that a context drives, or the other way round.", false, nil},
	CodeAuthenticationRequired: {"authentication_required", "This address form is only served and used with an authentication option.", false, nil},
	CodeWouldBlock:             {"would_block", "The channel has no credit now, and its policy is not to wait.", true, nil},
	CodeCallEnded:              {"call_ended", "The call was answered already, was given up by its caller, or ran out of time.", false, nil},
	CodeConnectionRefused:      {"connection_refused", "The address exists and nobody serves it.", true, syscall.ECONNREFUSED},
	CodeNotFound:               {"not_found", "Nothing exists at the address.", true, fs.ErrNotExist},
	CodeAddressInUse:           {"address_in_use", "Another process serves the address.", true, syscall.EADDRINUSE},
	CodePermissionDenied:       {"permission_denied", "The operating system, or the identity check of this side, does not allow it.", false, fs.ErrPermission},
	CodeTimeout:                {"timeout", "The deadline passed first.", true, os.ErrDeadlineExceeded},
	CodeConnectionLost:         {"connection_lost", "The connection ended while something was still expected of it.", true, syscall.ECONNRESET},
	CodePeerClosed:             {"peer_closed", "The other side ended the connection between two messages.", true, io.EOF},
	CodeNotASocket:             {"not_a_socket", "The path is a file of another kind; it was left untouched.", false, nil},
	CodeUnsafeDirectory:        {"unsafe_directory", "The runtime directory belongs to somebody else, is a link, or is open to others.", false, fs.ErrPermission},
	CodeTooManyFiles:           {"too_many_files", "The process or the system has no file descriptor left.", true, syscall.EMFILE},
	CodeQueueFull:              {"queue_full", "A bounded queue is full; wait for running operations and try again.", true, nil},
	CodeIO:                     {"io", "The operating system reported an error that has no number of its own here.", false, nil},
	CodeDraining:               {"draining", "The connection is being drained: nothing new can be started on it.", true, nil},
	CodePeerUnresponsive:       {"peer_unresponsive", "The other side answered no keepalive in time: it is stopped or stuck.", true, nil},
	CodeBadMagic:               {"bad_magic", "The bytes received are not a frame of this protocol.", false, nil},
	CodeFrameTooLarge:          {"frame_too_large", "A frame declared more bytes than this side accepts; it was judged by its header alone.", false, nil},
	CodeTruncated:              {"truncated", "The connection ended inside a frame.", true, io.ErrUnexpectedEOF},
	CodeUnknownChannel:         {"unknown_channel", "A frame arrived on a channel that was not agreed in the handshake.", false, nil},
	CodeUnknownControl:         {"unknown_control", "A control message arrived whose type this protocol does not know.", false, nil},
	CodeBadControl:             {"bad_control", "A control message is not valid JSON, or lacks its type.", false, nil},
	CodeBadHandshake:           {"bad_handshake", "A handshake message is not valid JSON, lacks a member, or breaks a limit.", false, nil},
	CodeProtocolMismatch:       {"protocol_mismatch", "The other side speaks another protocol.", false, nil},
	CodeVersionMismatch:        {"version_mismatch", "The two sides have no protocol version in common.", false, nil},
	CodeNoCommonChannel:        {"no_common_channel", "The two sides have no channel in common.", false, nil},
	CodeAuthenticationFailed:   {"authentication_failed", "The secret or the identity of the connecting side was not accepted.", false, fs.ErrPermission},
	CodeRefused:                {"refused", "The server ended the handshake without giving a reason.", false, syscall.ECONNREFUSED},
	CodeControlFlood:           {"control_flood", "The other side sent more control messages than the limit allows.", false, nil},
	CodeTooManyHandshakes:      {"too_many_handshakes", "The server had too many unfinished handshakes and dropped the oldest.", true, syscall.ECONNREFUSED},
	CodeProtocolError:          {"protocol_error", "The other side broke a rule of the protocol.", false, nil},
	CodeUnknownFrame:           {"unknown_frame", "A frame of unknown type was marked critical.", false, nil},
	CodeCreditExceeded:         {"credit_exceeded", "The other side sent more than it had credit for.", false, nil},
	CodeSchemaViolation:        {"schema_violation", "The message does not satisfy the schema of its channel.", false, nil},
	CodeBadSchema:              {"bad_schema", "A schema file cannot be loaded.", false, nil},
	CodeRemoteError:            {"remote_error", "The program on the other side answered with an error.", false, nil},
	CodeCallAbandoned:          {"call_abandoned", "The program on the other side let the call go without an answer.", false, nil},
	CodeInternal:               {"internal", "A fault inside hostlane; please report it.", false, nil},
	CodePanic:                  {"panic", "A fault inside hostlane was caught at the language boundary; the object is no longer usable.", false, nil},
}
