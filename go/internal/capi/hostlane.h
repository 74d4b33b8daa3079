/*
 * hostlane: fast, safe, framed messages between the processes of one host.
 *
 * Conventions, the same for every function (the long form is docs/c-api.md):
 *
 * - A call that can fail returns hostlane_status_t: HOSTLANE_OK, or the number of an error (HOSTLANE_E_...).
 * - Argument order: the object, inputs, outputs, and last `err`. Outputs are written on success only.
 * - `err` may be NULL. When it is not, a failed call stores a new error there, to be freed with
 *   hostlane_error_free(); the previous value of `*err` is neither read nor freed.
 * - Handles (hostlane_peer_t and so on) are plain values: copy them freely, use them from any thread. A handle that was
 *   closed gives HOSTLANE_E_CLOSED for ever, one that was never issued HOSTLANE_E_INVALID_HANDLE.
 * - A NULL pointer where one is needed, or a length without a pointer, gives HOSTLANE_E_INVALID_ARGUMENT.
 * - Strings are UTF-8 with a length, not terminated; other bytes give HOSTLANE_E_INVALID_UTF8.
 * - `timeout_ms` is in milliseconds: HOSTLANE_FOREVER (or any negative number) waits without limit, HOSTLANE_NO_WAIT (0)
 *   takes only what is there now.
 * - In the child after fork(), every use of an object of the parent gives HOSTLANE_E_FORKED.
 * - A fault inside the library gives HOSTLANE_E_PANIC; the object is closed and the process goes on.
 * - The library installs no signal handler and raises no SIGPIPE. A thread that has waited keeps two descriptors (its bell
 *   and its alarm) and a buffer for reading until it ends; nothing else is kept for a thread, no last error among it.
 */

#ifndef HOSTLANE_H
#define HOSTLANE_H

/* Generated from ffi/c by `cargo xtask gen`; do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The `offset` of an entry whose payload is not in the buffer but in its message. */
#define HOSTLANE_NO_ROOM SIZE_MAX

/**
 * Success: the call did what it says and wrote its outputs.
 */
#define HOSTLANE_OK 0

/**
 * An argument is outside what the function accepts.
 */
#define HOSTLANE_E_INVALID_ARGUMENT 101

/**
 * The address is in none of the known forms.
 */
#define HOSTLANE_E_INVALID_ADDRESS 102

/**
 * The socket path is longer than 100 bytes; paths are never truncated.
 */
#define HOSTLANE_E_ADDRESS_TOO_LONG 103

/**
 * The object was closed by this side.
 */
#define HOSTLANE_E_CLOSED 104

/**
 * The handle names no living object: it was never issued, was freed, or is of another kind.
 */
#define HOSTLANE_E_INVALID_HANDLE 105

/**
 * The object belongs to the parent process; a forked child opens its own.
 */
#define HOSTLANE_E_FORKED 106

/**
 * A text argument is not valid UTF-8.
 */
#define HOSTLANE_E_INVALID_UTF8 107

/**
 * This build, this address form or this wire level cannot do it.
 */
#define HOSTLANE_E_UNSUPPORTED 108

/**
 * A signal arrived during the wait; nothing was lost, call again.
 */
#define HOSTLANE_E_INTERRUPTED 109

/**
 * The caller gave the operation up before it finished.
 */
#define HOSTLANE_E_CANCELLED 110

/**
 * The channel is reserved, or was not agreed in the handshake of this connection.
 */
#define HOSTLANE_E_INVALID_CHANNEL 111

/**
 * The message is larger than this connection allows; nothing was sent.
 */
#define HOSTLANE_E_PAYLOAD_TOO_LARGE 112

/**
 * A blocking call was made on an object that a context drives, or the other way round.
 */
#define HOSTLANE_E_WRONG_DRIVER 113

/**
 * This address form is only served and used with an authentication option.
 */
#define HOSTLANE_E_AUTHENTICATION_REQUIRED 114

/**
 * The channel has no credit now, and its policy is not to wait.
 */
#define HOSTLANE_E_WOULD_BLOCK 115

/**
 * The call was answered already, was given up by its caller, or ran out of time.
 */
#define HOSTLANE_E_CALL_ENDED 116

/**
 * The address exists and nobody serves it.
 */
#define HOSTLANE_E_CONNECTION_REFUSED 201

/**
 * Nothing exists at the address.
 */
#define HOSTLANE_E_NOT_FOUND 202

/**
 * Another process serves the address.
 */
#define HOSTLANE_E_ADDRESS_IN_USE 203

/**
 * The operating system, or the identity check of this side, does not allow it.
 */
#define HOSTLANE_E_PERMISSION_DENIED 204

/**
 * The deadline passed first.
 */
#define HOSTLANE_E_TIMEOUT 205

/**
 * The connection ended while something was still expected of it.
 */
#define HOSTLANE_E_CONNECTION_LOST 206

/**
 * The other side ended the connection between two messages.
 */
#define HOSTLANE_E_PEER_CLOSED 207

/**
 * The path is a file of another kind; it was left untouched.
 */
#define HOSTLANE_E_NOT_A_SOCKET 208

/**
 * The runtime directory belongs to somebody else, is a link, or is open to others.
 */
#define HOSTLANE_E_UNSAFE_DIRECTORY 209

/**
 * The process or the system has no file descriptor left.
 */
#define HOSTLANE_E_TOO_MANY_FILES 210

/**
 * A bounded queue is full; wait for running operations and try again.
 */
#define HOSTLANE_E_QUEUE_FULL 211

/**
 * The operating system reported an error that has no number of its own here.
 */
#define HOSTLANE_E_IO 212

/**
 * The connection is being drained: nothing new can be started on it.
 */
#define HOSTLANE_E_DRAINING 213

/**
 * The other side answered no keepalive in time: it is stopped or stuck.
 */
#define HOSTLANE_E_PEER_UNRESPONSIVE 214

/**
 * The bytes received are not a frame of this protocol.
 */
#define HOSTLANE_E_BAD_MAGIC 301

/**
 * A frame declared more bytes than this side accepts; it was judged by its header alone.
 */
#define HOSTLANE_E_FRAME_TOO_LARGE 302

/**
 * The connection ended inside a frame.
 */
#define HOSTLANE_E_TRUNCATED 303

/**
 * A frame arrived on a channel that was not agreed in the handshake.
 */
#define HOSTLANE_E_UNKNOWN_CHANNEL 304

/**
 * A control message arrived whose type this protocol does not know.
 */
#define HOSTLANE_E_UNKNOWN_CONTROL 305

/**
 * A control message is not valid JSON, or lacks its type.
 */
#define HOSTLANE_E_BAD_CONTROL 306

/**
 * A handshake message is not valid JSON, lacks a member, or breaks a limit.
 */
#define HOSTLANE_E_BAD_HANDSHAKE 307

/**
 * The other side speaks another protocol.
 */
#define HOSTLANE_E_PROTOCOL_MISMATCH 308

/**
 * The two sides have no protocol version in common.
 */
#define HOSTLANE_E_VERSION_MISMATCH 309

/**
 * The two sides have no channel in common.
 */
#define HOSTLANE_E_NO_COMMON_CHANNEL 310

/**
 * The secret or the identity of the connecting side was not accepted.
 */
#define HOSTLANE_E_AUTHENTICATION_FAILED 311

/**
 * The server ended the handshake without giving a reason.
 */
#define HOSTLANE_E_REFUSED 312

/**
 * The other side sent more control messages than the limit allows.
 */
#define HOSTLANE_E_CONTROL_FLOOD 313

/**
 * The server had too many unfinished handshakes and dropped the oldest.
 */
#define HOSTLANE_E_TOO_MANY_HANDSHAKES 314

/**
 * The other side broke a rule of the protocol.
 */
#define HOSTLANE_E_PROTOCOL_ERROR 315

/**
 * A frame of unknown type was marked critical.
 */
#define HOSTLANE_E_UNKNOWN_FRAME 316

/**
 * The other side sent more than it had credit for.
 */
#define HOSTLANE_E_CREDIT_EXCEEDED 317

/**
 * The message does not satisfy the schema of its channel.
 */
#define HOSTLANE_E_SCHEMA_VIOLATION 401

/**
 * A schema file cannot be loaded.
 */
#define HOSTLANE_E_BAD_SCHEMA 402

/**
 * The program on the other side answered with an error.
 */
#define HOSTLANE_E_REMOTE_ERROR 501

/**
 * The program on the other side let the call go without an answer.
 */
#define HOSTLANE_E_CALL_ABANDONED 502

/**
 * A fault inside hostlane; please report it.
 */
#define HOSTLANE_E_INTERNAL 901

/**
 * A fault inside hostlane was caught at the language boundary; the object is no longer usable.
 */
#define HOSTLANE_E_PANIC 902

/**
 * Wait without limit.
 */
#define HOSTLANE_FOREVER -1

/**
 * Do not wait: take only what is there now.
 */
#define HOSTLANE_NO_WAIT 0

/**
 * The number of this binary interface. It changes when a program built with an older header could not run safely: when a
 * function changes, or a struct that the library writes. Options, which the program writes, tell their size themselves.
 */
#define HOSTLANE_ABI_VERSION 3

/**
 * The version of the library this header belongs to: HOSTLANE_VERSION_MAJOR.HOSTLANE_VERSION_MINOR.HOSTLANE_VERSION_PATCH.
 */
#define HOSTLANE_VERSION_MAJOR 0

/**
 * See HOSTLANE_VERSION_MAJOR.
 */
#define HOSTLANE_VERSION_MINOR 1

/**
 * See HOSTLANE_VERSION_MAJOR.
 */
#define HOSTLANE_VERSION_PATCH 0

/**
 * Bytes of a channel that a hostlane_cork() gathers.
 */
#define HOSTLANE_CHANNEL_QUEUE 4194304

/**
 * Most descriptors that go with one message.
 */
#define HOSTLANE_MAX_FDS 4

/**
 * Calls of one side that are open, or wait for their turn, at a time; also the default of `max_calls`.
 */
#define HOSTLANE_MAX_CALLS 1024

/**
 * The channel argument of hostlane_context_recv() that stands for all of them.
 */
#define HOSTLANE_ANY_CHANNEL -1

/**
 * Provably not received whole: safe to send again.
 */
#define HOSTLANE_SENT_NO 0

/**
 * The other side may have received it and acted upon it.
 */
#define HOSTLANE_SENT_MAYBE 1

/**
 * The operation goes on; it finishes as a later event with the same `op`.
 */
#define HOSTLANE_EVENT_PENDING 0

/**
 * A connect finished: `peer`.
 */
#define HOSTLANE_EVENT_CONNECTED 1

/**
 * An accept finished: `peer`.
 */
#define HOSTLANE_EVENT_ACCEPTED 2

/**
 * A receive finished: `message`, `channel`, `data`, `len`.
 */
#define HOSTLANE_EVENT_MESSAGE 3

/**
 * A request finished: `message`, `channel`, `data`, `len` of the reply.
 */
#define HOSTLANE_EVENT_REPLY 4

/**
 * A send finished.
 */
#define HOSTLANE_EVENT_SENT 5

/**
 * A ping finished: `rtt_ns`.
 */
#define HOSTLANE_EVENT_PONG 6

/**
 * A drain finished.
 */
#define HOSTLANE_EVENT_DRAINED 7

/**
 * The operation failed: `status`, `error`.
 */
#define HOSTLANE_EVENT_FAILED 8

/**
 * Something is there to receive, and nothing was taken.
 */
#define HOSTLANE_EVENT_READABLE 9

/**
 * A receive on a stream finished with an item: `message`, `data`, `len`.
 */
#define HOSTLANE_EVENT_ITEM 10

/**
 * A receive on a stream found the end: for the side that opened it that of the call, with the reply in `message`, `data`,
 * `len`; for the other side the opener's last word, without.
 */
#define HOSTLANE_EVENT_STREAM_END 11

/**
 * An answer to a request is no longer wanted.
 */
#define HOSTLANE_EVENT_CALL_ENDED 12

/**
 * The time of a timer has come.
 */
#define HOSTLANE_EVENT_TIMER 13

/**
 * The other side of a link is there: HOSTLANE_LINK_SERVING in `flags`, or not.
 */
#define HOSTLANE_EVENT_LINK_UP 14

/**
 * The other side of a link is gone: `status`, `error`.
 */
#define HOSTLANE_EVENT_LINK_DOWN 15

/**
 * The `retries` of a link that ends at the first attempt that fails.
 */
#define HOSTLANE_NO_RETRY -1

/**
 * In the `flags` of HOSTLANE_EVENT_LINK_UP: this side is the one that listens.
 */
#define HOSTLANE_LINK_SERVING 32

/**
 * Nothing is kept, as at the beginning. Of no event.
 */
#define HOSTLANE_LOG_OFF 0

/**
 * Something the program needs has stopped.
 */
#define HOSTLANE_LOG_ERROR 1

/**
 * Something was refused, lost or is about to be.
 */
#define HOSTLANE_LOG_WARN 2

/**
 * The ordinary course of a connection.
 */
#define HOSTLANE_LOG_INFO 3

/**
 * Every attempt.
 */
#define HOSTLANE_LOG_DEBUG 4

/**
 * The events that are kept until they are drained; above that the oldest go.
 */
#define HOSTLANE_LOG_EVENTS 1024

/**
 * Somebody waits for an answer.
 */
#define HOSTLANE_MESSAGE_REQUEST 1

/**
 * The request opened a stream: hostlane_message_stream().
 */
#define HOSTLANE_MESSAGE_STREAM 2

/**
 * It has an idempotency key: hostlane_message_idempotency_key().
 */
#define HOSTLANE_MESSAGE_KEY 4

/**
 * It has a trace: hostlane_message_trace().
 */
#define HOSTLANE_MESSAGE_TRACE 8

/**
 * Descriptors came with it: hostlane_message_take_fds().
 */
#define HOSTLANE_MESSAGE_FDS 16

/**
 * The code to fail a call with whose handler did not come to an answer, as the languages do whose handlers can throw or
 * panic; the data says what happened, for people.
 */
#define HOSTLANE_HANDLER_FAILED 1

/**
 * Control messages. Used by the library alone.
 */
#define HOSTLANE_CHANNEL_CONTROL 0

/**
 * Calls and their replies.
 */
#define HOSTLANE_CHANNEL_COMMAND 1

/**
 * One-way messages.
 */
#define HOSTLANE_CHANNEL_DATA 2

/**
 * Measurements and logs.
 */
#define HOSTLANE_CHANNEL_TELEMETRY 3

/**
 * Errors that a program reports to the other side.
 */
#define HOSTLANE_CHANNEL_ERROR 4

/**
 * The first channel that programs number themselves; 5 to 255 are reserved.
 */
#define HOSTLANE_CHANNEL_USER 256

/**
 * The highest level that both sides speak.
 */
#define HOSTLANE_LEVEL_AUTO 0

/**
 * Level 0 alone, as a stock ipcprims peer.
 */
#define HOSTLANE_LEVEL_ZERO 1

/**
 * Level 1 or nothing: HOSTLANE_E_VERSION_MISMATCH otherwise.
 */
#define HOSTLANE_LEVEL_ONE 2

/**
 * Spins as long as it pays.
 */
#define HOSTLANE_SPIN_AUTO 0

/**
 * Never spins.
 */
#define HOSTLANE_SPIN_OFF -1

/**
 * A send without credit waits until its deadline.
 */
#define HOSTLANE_POLICY_BLOCK 0

/**
 * It gets HOSTLANE_E_WOULD_BLOCK.
 */
#define HOSTLANE_POLICY_ERROR 1

/**
 * The oldest messages that have not been sent make room; counted as dropped.
 */
#define HOSTLANE_POLICY_DROP_OLDEST 2

/**
 * Only the newest message that has not been sent stays; the others are counted as dropped.
 */
#define HOSTLANE_POLICY_LATEST 3

/**
 * hostlane_context_send_with(): `peer`, the payload, `options`, `channel` (0: that of the options).
 */
#define HOSTLANE_SUBMIT_SEND 1

/**
 * hostlane_context_request_with(): `peer`, the payload, `options`, `channel` (0: that of the options).
 */
#define HOSTLANE_SUBMIT_REQUEST 2

/**
 * hostlane_context_reply(): `message`, the payload.
 */
#define HOSTLANE_SUBMIT_REPLY 3

/**
 * hostlane_context_fail(): `message`, `code`, the payload.
 */
#define HOSTLANE_SUBMIT_FAIL 4

/**
 * hostlane_context_recv(): `peer`, `channel`.
 */
#define HOSTLANE_SUBMIT_RECV 5

/**
 * hostlane_context_readable(): `peer`.
 */
#define HOSTLANE_SUBMIT_READABLE 6

/**
 * hostlane_context_call_ended(): `message`.
 */
#define HOSTLANE_SUBMIT_CALL_ENDED 7

/**
 * hostlane_context_stream_send(): `stream`, the payload.
 */
#define HOSTLANE_SUBMIT_STREAM_SEND 8

/**
 * hostlane_context_stream_finish(): `stream`.
 */
#define HOSTLANE_SUBMIT_STREAM_FINISH 9

/**
 * hostlane_context_stream_recv(): `stream`.
 */
#define HOSTLANE_SUBMIT_STREAM_RECV 10

/**
 * hostlane_context_ping(): `peer`.
 */
#define HOSTLANE_SUBMIT_PING 11

/**
 * hostlane_context_drain(): `peer`.
 */
#define HOSTLANE_SUBMIT_DRAIN 12

/**
 * HOSTLANE_SUBMIT_SEND, unless the operation before it in the call failed at once: then it is not started, and fails as that
 * did. So messages that are one behind the other end with the first that is refused.
 */
#define HOSTLANE_SUBMIT_SEND_NEXT 13

/**
 * Why a call failed. Immutable: any number of threads may read one. Owned by the caller of the failed call, to be
 * freed once with hostlane_error_free().
 */
typedef struct hostlane_error_t hostlane_error_t;

/**
 * A received message, a reply, or an item of a stream. Immutable: any number of threads may read one. Owned by whoever
 * received it, to be freed once with hostlane_message_free(); it may outlive its peer.
 *
 * A request, which HOSTLANE_MESSAGE_REQUEST tells, is answered once, by hostlane_reply() or hostlane_fail(), from any
 * thread, in any order. Freed without an answer it is let go: its caller gets HOSTLANE_E_CALL_ABANDONED. On wire level 0,
 * which has no call ids, nothing is a request: a call is answered by a message.
 */
typedef struct hostlane_message_t hostlane_message_t;

/**
 * What every call that can fail returns: HOSTLANE_OK, or one of the HOSTLANE_E_ numbers. Numbers are never reused; a
 * newer library may return numbers that an older header does not list.
 */
typedef int32_t hostlane_status_t;

/**
 * A connection to one other process. A value: copy it freely, use it from any thread, several at once. All zero is a
 * handle that was never issued.
 */
typedef struct {
    /**
     * Meaningless outside the library.
     */
    uint64_t id;
} hostlane_peer_t;

/**
 * Bytes of the caller, laid out as struct iovec is.
 */
typedef struct {
    /**
     * May be NULL when `len` is 0.
     */
    const void *data;
    /**
     * Length of `data`, in bytes.
     */
    size_t len;
} hostlane_bytes_t;

/**
 * One message of a batch that was received.
 */
typedef struct {
    /**
     * Where its payload starts in the buffer; HOSTLANE_NO_ROOM when there was too little room for it.
     */
    size_t offset;
    /**
     * Length of its payload, in bytes: with HOSTLANE_NO_ROOM what a buffer would have needed.
     */
    size_t len;
    /**
     * NULL for a one-way message that is in the buffer. Otherwise owned by the caller, to be freed with
     * hostlane_message_free(): the request to answer, or what came with the message (its trace, descriptors), and with
     * HOSTLANE_NO_ROOM its payload. hostlane_message_data() is empty when the payload is in the buffer.
     */
    hostlane_message_t *message;
    /**
     * hostlane_message_call_id().
     */
    uint64_t call_id;
    /**
     * hostlane_message_timeout_ms().
     */
    int64_t timeout_ms;
    /**
     * hostlane_message_flags().
     */
    uint32_t flags;
    /**
     * The channel it arrived on.
     */
    uint16_t channel;
} hostlane_entry_t;

/**
 * Operations on many peers and listeners that never block, and one descriptor that says when some of them finished.
 * A value like hostlane_peer_t; every call is safe from any thread.
 *
 * Each hostlane_context_ function that starts an operation writes an event: the finished operation (`op` 0), or kind
 * HOSTLANE_EVENT_PENDING with a number in `op`. A pending operation finishes exactly once, as an event of
 * hostlane_context_process() or hostlane_context_next() with the same `op`, also when it fails, times out or is
 * cancelled. Numbers are unique within their context and never reused.
 *
 * A peer belongs to the context that made it, a listener to the first context that accepts on it; blocking calls on
 * them give HOSTLANE_E_WRONG_DRIVER, as do context calls on a peer that was made by a blocking call.
 */
typedef struct {
    /**
     * Meaningless outside the library.
     */
    uint64_t id;
} hostlane_context_t;

/**
 * One operation of a context, finished or pending, or one event of a link. Members that do not belong to the kind are zero.
 */
typedef struct {
    /**
     * The number of the operation; 0 when it finished in the call that started it.
     */
    uint64_t op;
    /**
     * HOSTLANE_EVENT_PENDING and so on.
     */
    int32_t kind;
    /**
     * HOSTLANE_OK, or why the operation failed.
     */
    hostlane_status_t status;
    /**
     * The new peer, owned by the caller: hostlane_events_free() does not close it.
     */
    hostlane_peer_t peer;
    /**
     * Round-trip time of a ping, in nanoseconds.
     */
    uint64_t rtt_ns;
    /**
     * The payload. Belongs to `message` and is readable for as long as that; with hostlane_context_process_batch() it is
     * in the caller's buffer if there was room.
     */
    const uint8_t *data;
    /**
     * Length of `data`, in bytes.
     */
    size_t len;
    /**
     * The message, freed by hostlane_events_free(). To keep it, take the pointer and set this member to NULL.
     */
    hostlane_message_t *message;
    /**
     * The error, freed by hostlane_events_free(). To keep it, take the pointer and set this member to NULL.
     */
    hostlane_error_t *error;
    /**
     * hostlane_message_call_id() of a received message.
     */
    uint64_t call_id;
    /**
     * hostlane_message_timeout_ms() of a received message.
     */
    int64_t timeout_ms;
    /**
     * hostlane_message_flags() of a received message; of HOSTLANE_EVENT_LINK_UP whether this side serves.
     */
    uint32_t flags;
    /**
     * The channel of the message.
     */
    uint16_t channel;
} hostlane_event_t;

/**
 * What may go with a call, a stream or a message. Fill it with hostlane_call_options_init() first, then set what
 * differs. The pointers are read during the call that gets the options and not kept. Everything but a deadline, and
 * `channel` for a message, needs wire level 1 and gives HOSTLANE_E_UNSUPPORTED on level 0.
 */
typedef struct {
    /**
     * Size of this struct as the program knows it; set by hostlane_call_options_init().
     */
    size_t size;
    /**
     * How long the caller will wait, in milliseconds from now, as the other side is told. 0: the timeout of the call
     * where it has one. Waiting for the reply keeps its own limit. Not for messages.
     */
    int64_t deadline_ms;
    /**
     * Says that the call may be sent again under this key of 1 to 64 bytes. NULL: none. Not for messages.
     */
    const void *idempotency_key;
    /**
     * Length of `idempotency_key`, in bytes.
     */
    size_t idempotency_key_len;
    /**
     * Handed to the other program as it is; 1 to 64 bytes. NULL: none.
     */
    const void *trace;
    /**
     * Length of `trace`, in bytes.
     */
    size_t trace_len;
    /**
     * Descriptors for the other process. They are duplicated, so the caller's stay open and its own. Needs the feature
     * "fds" (hostlane_info()).
     */
    const int32_t *fds;
    /**
     * Number of `fds`, at most HOSTLANE_MAX_FDS.
     */
    size_t fds_len;
    /**
     * 0: HOSTLANE_CHANNEL_COMMAND for a call or a stream, HOSTLANE_CHANNEL_DATA for a message.
     */
    uint16_t channel;
} hostlane_call_options_t;

/**
 * A call that was started. A value: copy it freely; the first hostlane_call_wait() or hostlane_call_cancel() ends it. All
 * zero is a handle that was never issued.
 */
typedef struct {
    /**
     * Meaningless outside the library.
     */
    uint64_t id;
} hostlane_call_t;

/**
 * What sends on a channel do when the other side has no room for more, on wire level 1.
 */
typedef struct {
    /**
     * HOSTLANE_POLICY_BLOCK and so on.
     */
    int32_t policy;
    /**
     * The channel, one of the `channels` of the options.
     */
    uint16_t channel;
} hostlane_policy_t;

/**
 * How to connect. Fill it with hostlane_connect_options_init() first, then set what differs. The pointers are read
 * during the call that gets the options and not kept.
 */
typedef struct {
    /**
     * Size of this struct as the program knows it; set by hostlane_connect_options_init().
     */
    size_t size;
    /**
     * Channels to offer, without HOSTLANE_CHANNEL_CONTROL. NULL: 1 to 4.
     */
    const uint16_t *channels;
    /**
     * Number of `channels`, at most 256.
     */
    size_t channels_len;
    /**
     * Limit of the whole handshake, in milliseconds, beside the timeout of the call. 0: 5000.
     */
    int64_t handshake_timeout_ms;
    /**
     * Token for a stock level-0 server, sent in clear, 1 to 4096 bytes of UTF-8; for other programs of hostlane there is
     * `secret`. NULL: none. Empty but not NULL is refused.
     */
    const char *auth_token;
    /**
     * Length of `auth_token`, in bytes.
     */
    size_t auth_token_len;
    /**
     * Largest payload to send or to accept, in bytes. 0: 16777216, which is also the most.
     */
    uint64_t max_message;
    /**
     * User ids the other side may run as. NULL: for a per-user name this user and root, elsewhere whoever the file mode
     * of the socket lets in; refused for `unix:@name`, which has no file mode.
     */
    const uint32_t *allow_uids;
    /**
     * Number of `allow_uids`. 0 with an `allow_uids` that is not NULL: nobody.
     */
    size_t allow_uids_len;
    /**
     * Wire levels to agree to: HOSTLANE_LEVEL_AUTO and so on.
     */
    int32_t level;
    /**
     * Not 0: messages may carry descriptors, where the other side agrees too; Unix-domain sockets alone.
     */
    int32_t fds;
    /**
     * Secret that both sides prove to each other without sending it, 1 to 4096 bytes of UTF-8; demands wire level 1.
     * NULL: none; mandatory for `tcp:`. Empty but not NULL is refused.
     */
    const char *secret;
    /**
     * Length of `secret`, in bytes.
     */
    size_t secret_len;
    /**
     * Pings when nothing arrived for so long, in milliseconds, and ends the connection with
     * HOSTLANE_E_PEER_UNRESPONSIVE when nothing arrives for twice as long again. 0: never; at least 50.
     */
    int64_t keepalive_ms;
    /**
     * Calls of the other side that have a place here at a time: until the operating system has the whole answer, and if
     * they were given up until the message is answered or freed. 0: HOSTLANE_MAX_CALLS; at most 16384.
     */
    uint64_t max_calls;
    /**
     * What sends do without credit, by channel. NULL: HOSTLANE_POLICY_DROP_OLDEST for HOSTLANE_CHANNEL_TELEMETRY,
     * HOSTLANE_POLICY_BLOCK for the others.
     */
    const hostlane_policy_t *policies;
    /**
     * Number of `policies`.
     */
    size_t policies_len;
    /**
     * How blocking waits look again and again for a moment before they sleep: HOSTLANE_SPIN_AUTO, HOSTLANE_SPIN_OFF, or
     * up to so many microseconds before each sleep, at most 10000, for processors set aside for it.
     */
    int64_t spin_us;
    /**
     * Program and arguments of a `spawn:` address, word for word, any bytes but NUL. The address is then `spawn:` with
     * nothing behind it. NULL: what stands in the address.
     */
    const hostlane_bytes_t *command;
    /**
     * Number of `command`.
     */
    size_t command_len;
} hostlane_connect_options_t;

/**
 * A listening socket. A value: copy it freely, use it from any thread, several at once. All zero is a handle that was
 * never issued.
 */
typedef struct {
    /**
     * Meaningless outside the library.
     */
    uint64_t id;
} hostlane_listener_t;

/**
 * The items of one call, in both directions, each with a credit of its own: a stream nobody reads stops nobody else. A
 * value: copy it freely; one thread may send while another receives. All zero is a handle that was never issued.
 *
 * A stream of a peer that a context drives is used by that context's calls; the blocking ones give
 * HOSTLANE_E_WRONG_DRIVER.
 */
typedef struct {
    /**
     * Meaningless outside the library.
     */
    uint64_t id;
} hostlane_stream_t;

/**
 * Who the other side is and what the handshake agreed on. Constant for the life of the connection. Texts are terminated.
 */
typedef struct {
    /**
     * Process id of the other side when it connected or listened, from the kernel. May be reused: never decide by it.
     * 0 where the kernel cannot tell: tcp:, and stdio: over pipes.
     */
    int32_t pid;
    /**
     * User id of the other side, from the kernel; UINT32_MAX where it cannot tell.
     */
    uint32_t uid;
    /**
     * Group id of the other side, from the kernel; UINT32_MAX where it cannot tell.
     */
    uint32_t gid;
    /**
     * Wire level (docs/protocol.md).
     */
    uint32_t level;
    /**
     * Largest payload that this side sends and accepts, in bytes.
     */
    uint64_t max_message;
    /**
     * Calls of this side that the other side serves at a time.
     */
    uint64_t max_calls;
    /**
     * The other side asks for a sign of life when it hears nothing for so long, in milliseconds. 0: it does not.
     */
    int64_t peer_keepalive_ms;
    /**
     * The name the listening side gave to the connecting one, such as "peer-7"; the same on both.
     */
    char peer_id[136];
    /**
     * Random id of this endpoint: 32 hexadecimal digits.
     */
    char instance[40];
    /**
     * The other side's id; empty when it told none.
     */
    char peer_instance[40];
    /**
     * What moves the bytes: "unix", "tcp", "inproc", "fd", "stdio" or "spawn".
     */
    char carrier[16];
    /**
     * Agreed features beyond the level, separated by spaces.
     */
    char features[256];
    /**
     * Agreed channels, in the order the connecting side asked for them.
     */
    uint16_t channels[256];
    /**
     * Number of `channels`.
     */
    size_t channels_len;
} hostlane_info_t;

/**
 * A bounded queue.
 */
typedef struct {
    /**
     * Messages in it now.
     */
    uint64_t messages;
    /**
     * Bytes it is charged for now: payloads, 64 for each message, and 4096 for each descriptor that goes with one.
     */
    uint64_t bytes;
    /**
     * The most bytes it was ever charged for.
     */
    uint64_t peak_bytes;
} hostlane_depth_t;

/**
 * What a connection did since its handshake.
 */
typedef struct {
    /**
     * Messages accepted for sending, over all channels.
     */
    uint64_t messages_sent;
    /**
     * Their payload bytes.
     */
    uint64_t bytes_sent;
    /**
     * Messages that arrived, replies among them, over all channels.
     */
    uint64_t messages_received;
    /**
     * Their payload bytes.
     */
    uint64_t bytes_received;
    /**
     * Calls that this side put on the wire: the operating system took a byte of them.
     */
    uint64_t calls;
    /**
     * Calls of this side that have a place at the other: no answer has come, also of those that were given up. Wire
     * level 1 only, as the next four.
     */
    uint64_t open_calls;
    /**
     * Calls of the other side that arrived and got a place.
     */
    uint64_t calls_served;
    /**
     * Calls of the other side that have a place: the operating system has no whole answer yet, or they were given up and
     * the program still has them.
     */
    uint64_t open_served;
    /**
     * Calls that had left and ended without an answer because this side gave them up or their time
     * was over; not those that were lost with the connection.
     */
    uint64_t calls_cancelled;
    /**
     * Frames that came for calls that had ended; they are dropped.
     */
    uint64_t late;
    /**
     * Operations that wait now.
     */
    uint64_t pending_operations;
    /**
     * Received messages that wait for the program.
     */
    hostlane_depth_t receive_queue;
    /**
     * Messages that wait for the operating system.
     */
    hostlane_depth_t send_queue;
} hostlane_stats_t;

/**
 * What one channel of a connection did since the handshake.
 */
typedef struct {
    /**
     * Messages accepted for sending.
     */
    uint64_t messages_sent;
    /**
     * Their payload bytes.
     */
    uint64_t bytes_sent;
    /**
     * Messages that arrived, replies among them.
     */
    uint64_t messages_received;
    /**
     * Their payload bytes.
     */
    uint64_t bytes_received;
    /**
     * Messages that wait for the program now.
     */
    uint64_t queued;
    /**
     * What they are charged: their payload bytes, 64 for each, and 4096 for each of their descriptors. Wire level 1 only,
     * as everything below.
     */
    uint64_t queued_bytes;
    /**
     * The most of it ever.
     */
    uint64_t queued_bytes_peak;
    /**
     * Messages that wait to be sent now.
     */
    uint64_t send_queued;
    /**
     * What they are charged.
     */
    uint64_t send_queued_bytes;
    /**
     * The most of it ever.
     */
    uint64_t send_queued_bytes_peak;
    /**
     * Charged bytes the other side would take now.
     */
    uint64_t send_credit;
    /**
     * Messages this side dropped by the policy of the channel.
     */
    uint64_t dropped;
    /**
     * Messages the other side says it dropped.
     */
    uint64_t dropped_by_peer;
} hostlane_channel_stats_t;

/**
 * What a listener did so far, and what it holds now.
 */
typedef struct {
    /**
     * Connections taken from the kernel.
     */
    uint64_t connections;
    /**
     * Handshakes that ended well.
     */
    uint64_t accepted;
    /**
     * Handshakes refused, for whatever reason.
     */
    uint64_t refused;
    /**
     * Handshakes running now.
     */
    uint64_t half_open;
    /**
     * Peers that wait for hostlane_accept() now.
     */
    uint64_t ready;
    /**
     * Times accepting paused because descriptors or memory ran out.
     */
    uint64_t pauses;
} hostlane_listener_stats_t;

/**
 * How to listen. Fill it with hostlane_listen_options_init() first, then set what differs. The pointers are read during
 * the call that gets the options and not kept.
 */
typedef struct {
    /**
     * Size of this struct as the program knows it; set by hostlane_listen_options_init().
     */
    size_t size;
    /**
     * Channels to grant, without HOSTLANE_CHANNEL_CONTROL. NULL: 1 to 4.
     */
    const uint16_t *channels;
    /**
     * Number of `channels`, at most 256.
     */
    size_t channels_len;
    /**
     * Limit of one client's whole handshake, in milliseconds. 0: 5000.
     */
    int64_t handshake_timeout_ms;
    /**
     * Token that stock level-0 clients have to send, in clear, 1 to 4096 bytes of UTF-8; for other programs of hostlane
     * there is `secret`. NULL: none. Empty but not NULL is refused.
     */
    const char *auth_token;
    /**
     * Length of `auth_token`, in bytes.
     */
    size_t auth_token_len;
    /**
     * Largest payload to send or to accept, in bytes. 0: 16777216, which is also the most.
     */
    uint64_t max_message;
    /**
     * User ids that may connect. NULL: for a per-user name this user and root, elsewhere whoever the file mode of the
     * socket lets in; refused for `unix:@name`, which has no file mode.
     */
    const uint32_t *allow_uids;
    /**
     * Number of `allow_uids`. 0 with an `allow_uids` that is not NULL: nobody.
     */
    size_t allow_uids_len;
    /**
     * Connections the kernel holds before they are accepted. 0: 1024.
     */
    uint32_t backlog;
    /**
     * Wire levels to agree to: HOSTLANE_LEVEL_AUTO and so on.
     */
    int32_t level;
    /**
     * Not 0: messages may carry descriptors, where the other side agrees too; Unix-domain sockets alone.
     */
    int32_t fds;
    /**
     * Secret that both sides prove to each other without sending it, 1 to 4096 bytes of UTF-8; demands wire level 1.
     * NULL: none; mandatory for `tcp:`. Empty but not NULL is refused.
     */
    const char *secret;
    /**
     * Length of `secret`, in bytes.
     */
    size_t secret_len;
    /**
     * Pings when nothing arrived for so long, in milliseconds, and ends the connection with
     * HOSTLANE_E_PEER_UNRESPONSIVE when nothing arrives for twice as long again. 0: never; at least 50.
     */
    int64_t keepalive_ms;
    /**
     * Calls of the other side that have a place here at a time: until the operating system has the whole answer, and if
     * they were given up until the message is answered or freed. 0: HOSTLANE_MAX_CALLS; at most 16384.
     */
    uint64_t max_calls;
    /**
     * What sends do without credit, by channel. NULL: HOSTLANE_POLICY_DROP_OLDEST for HOSTLANE_CHANNEL_TELEMETRY,
     * HOSTLANE_POLICY_BLOCK for the others.
     */
    const hostlane_policy_t *policies;
    /**
     * Number of `policies`.
     */
    size_t policies_len;
    /**
     * How blocking waits look again and again for a moment before they sleep: HOSTLANE_SPIN_AUTO, HOSTLANE_SPIN_OFF, or
     * up to so many microseconds before each sleep, at most 10000, for processors set aside for it.
     */
    int64_t spin_us;
} hostlane_listen_options_t;

/**
 * How to open a link. Fill it with hostlane_link_options_init() first, then set what differs. The pointers are read
 * during the call that gets the options and not kept.
 */
typedef struct {
    /**
     * Size of this struct as the program knows it; set by hostlane_link_options_init().
     */
    size_t size;
    /**
     * How this side connects, where it does. NULL: the defaults.
     */
    const hostlane_connect_options_t *connect;
    /**
     * How this side listens, where it does. NULL: the defaults.
     */
    const hostlane_listen_options_t *listen;
    /**
     * Attempts in a row that may fail before the link ends. Waiting for the other side, or as a third for a place, is no
     * attempt; of connections in a row that lasted no longer than the next pause, each after the first is one that
     * failed. 0: no bound. HOSTLANE_NO_RETRY: none.
     */
    int64_t retries;
    /**
     * The pause before the second attempt, in milliseconds, doubled for each further one; each is shortened at random by
     * up to half. 0: 10.
     */
    int64_t delay_ms;
    /**
     * The longest pause, in milliseconds. 0: 2000, or `delay_ms` where that is more.
     */
    int64_t max_delay_ms;
    /**
     * Not 0: the link ends with its first connection, with the error that this ended with.
     */
    int32_t no_reconnect;
} hostlane_link_options_t;

/**
 * Two instances of one program, joined by an address; which of them serves is no matter of the program's. The first to
 * open listens, the second connects, a third waits for a place. When one of a pair dies, the other takes over and the
 * next one joins. Calls go both ways, on wire level 1. A value like hostlane_peer_t; every call is safe from any thread.
 *
 * Nothing happens by itself: a link lives while some thread waits in hostlane_link_next() or hostlane_link_request(),
 * or while an event loop, instead of that, polls its descriptor and calls hostlane_link_process().
 *
 * A call that was lost with its connection is repeated on the next one when it provably was not executed, or has an
 * idempotency key. Otherwise it fails once, with HOSTLANE_E_CONNECTION_LOST and HOSTLANE_SENT_MAYBE.
 *
 * A link that has ended, because its attempts ran out or it was not to go on, gives the error it ended with for ever.
 */
typedef struct {
    /**
     * Meaningless outside the library.
     */
    uint64_t id;
} hostlane_link_t;

/**
 * A client that was turned away before it became a peer.
 */
typedef struct {
    /**
     * Why: HOSTLANE_E_AUTHENTICATION_FAILED, HOSTLANE_E_VERSION_MISMATCH, HOSTLANE_E_TIMEOUT and so on.
     */
    hostlane_status_t status;
    /**
     * Process id of the client; 0 when the system does not tell.
     */
    int32_t pid;
    /**
     * User id of the client; UINT32_MAX when the system does not tell.
     */
    uint32_t uid;
    /**
     * Group id of the client; UINT32_MAX when the system does not tell.
     */
    uint32_t gid;
} hostlane_refusal_t;

/**
 * One event of the log. Texts are UTF-8, followed by a NUL, and readable until hostlane_log_events_free(). Addresses and
 * peer ids are in them, payloads and secrets never.
 */
typedef struct {
    /**
     * When, in microseconds since the beginning of 1970 (UTC), by the system's clock.
     */
    uint64_t unix_micros;
    /**
     * How much it matters: HOSTLANE_LOG_ERROR to HOSTLANE_LOG_DEBUG.
     */
    int32_t level;
    /**
     * Why, where there is a reason; otherwise HOSTLANE_OK.
     */
    hostlane_status_t code;
    /**
     * What happened, such as "connected"; the same name in every language.
     */
    const char *event;
    /**
     * The peer id of the connection; empty where there is none yet.
     */
    const char *peer;
    /**
     * Length of `peer`, in bytes.
     */
    size_t peer_len;
    /**
     * The address connected to, or the listener's.
     */
    const char *address;
    /**
     * Length of `address`, in bytes.
     */
    size_t address_len;
    /**
     * The details, for people.
     */
    const char *text;
    /**
     * Length of `text`, in bytes.
     */
    size_t text_len;
    /**
     * What the texts point into; freed by hostlane_log_events_free().
     */
    void *memory;
} hostlane_log_event_t;

/**
 * One operation of hostlane_context_submit(). Members that its kind does not name are ignored.
 */
typedef struct {
    /**
     * HOSTLANE_SUBMIT_SEND and so on.
     */
    int32_t kind;
    /**
     * What a request is failed with.
     */
    uint32_t code;
    /**
     * The connection. With the kinds that have a `message` or a `stream` it may be all zero; where it is not, what they
     * write is gathered with the rest.
     */
    hostlane_peer_t peer;
    /**
     * The stream.
     */
    hostlane_stream_t stream;
    /**
     * The request to answer or to watch. With HOSTLANE_SUBMIT_REPLY and HOSTLANE_SUBMIT_FAIL it is freed, whatever
     * comes of the operation, when `free_message` is not 0.
     */
    hostlane_message_t *message;
    /**
     * The payload. NULL: it is in the `payloads` of the call.
     */
    const void *data;
    /**
     * Where the payload starts in `payloads`, when `data` is NULL.
     */
    size_t offset;
    /**
     * Length of the payload, in bytes.
     */
    size_t len;
    /**
     * Limit of the operation, as everywhere.
     */
    int64_t timeout_ms;
    /**
     * What goes with a message or a call; may be NULL.
     */
    const hostlane_call_options_t *options;
    /**
     * The channel; HOSTLANE_ANY_CHANNEL for a receive from all of them.
     */
    int32_t channel;
    /**
     * Not 0: `message` is freed once it is answered.
     */
    int32_t free_message;
} hostlane_submission_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The HOSTLANE_ABI_VERSION of the loaded library. A program that loads the library at run time compares it with its own
 * and stops when they differ.
 */
uint32_t hostlane_abi_version(void);

/**
 * The version of the loaded library, such as "1.2.3". A terminated string that is never freed.
 */
const char *hostlane_version(void);

/**
 * The name of a status, such as "timeout"; "ok" for HOSTLANE_OK, "unknown" for a number this library does not know.
 * A terminated string that is never freed.
 */
const char *hostlane_status_name(hostlane_status_t status);

/**
 * What a status means, in one sentence. A terminated string that is never freed.
 */
const char *hostlane_status_meaning(hostlane_status_t status);

/**
 * Sends `n` messages of one channel, in order, in as few system calls as they allow, and returns when the operating
 * system has all of them. `payloads` are read during the call and not kept. Signals do not end this wait. After a
 * failure hostlane_stats_on() tells how many were accepted before it.
 *
 * Errors: those of hostlane_send().
 */
hostlane_status_t hostlane_send_batch(hostlane_peer_t peer,
                                      uint16_t channel,
                                      const hostlane_bytes_t *payloads,
                                      size_t n,
                                      int64_t timeout_ms,
                                      hostlane_error_t **err);

/**
 * Receives all that is there, at most `max` messages of any channel, waiting for the first. Their payloads lie one
 * behind the other in `buffer`, which has `capacity` bytes; `entries` has room for `max`, and `*n` gets their number. A
 * message that finds too little room is the last entry and keeps its payload (HOSTLANE_NO_ROOM): nothing is lost. A
 * `capacity` of 0 gives one message at a time that way.
 *
 * Errors: HOSTLANE_E_INVALID_ARGUMENT when `max` is 0, else those of hostlane_recv(), among them HOSTLANE_E_INTERRUPTED.
 */
hostlane_status_t hostlane_recv_batch(hostlane_peer_t peer,
                                      int64_t timeout_ms,
                                      void *buffer,
                                      size_t capacity,
                                      hostlane_entry_t *entries,
                                      size_t max,
                                      size_t *n,
                                      hostlane_error_t **err);

/**
 * hostlane_recv_batch() for a peer of a context. When something is there, `event` is HOSTLANE_EVENT_READABLE with `op` 0
 * and `*n` is at least 1. When nothing is, `*n` is 0 and `event` HOSTLANE_EVENT_PENDING: it finishes as
 * HOSTLANE_EVENT_READABLE, without messages, when something has come; call again then. The end of the connection is the
 * error of this call, or of the event, after all that had arrived.
 */
hostlane_status_t hostlane_context_recv_batch(hostlane_context_t context,
                                              hostlane_peer_t peer,
                                              int64_t timeout_ms,
                                              void *buffer,
                                              size_t capacity,
                                              hostlane_entry_t *entries,
                                              size_t max,
                                              size_t *n,
                                              hostlane_event_t *event,
                                              hostlane_error_t **err);

/**
 * Holds back what is sent, requested and replied on the peer, by whatever thread, until hostlane_uncork(): small writes
 * are then made in one go. Meanwhile hostlane_send() and hostlane_reply() return once a message is queued, and wait as
 * without a cork once HOSTLANE_CHANNEL_QUEUE bytes of a channel are; what fills a write leaves before, and a call that
 * waits in the peer leaves all. Corks count: the last hostlane_uncork() lets go. Works on peers of any driver; without
 * effect on wire level 0. Errors: HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_cork(hostlane_peer_t peer, hostlane_error_t **err);

/**
 * Ends one hostlane_cork(). One too many changes nothing. Errors: HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_uncork(hostlane_peer_t peer, hostlane_error_t **err);

/**
 * Sets every member to its default and `size` to `size`, which is sizeof(hostlane_call_options_t). NULL does nothing.
 */
void hostlane_call_options_init(hostlane_call_options_t *options, size_t size);

/**
 * Calls the other side with `len` bytes and waits for its reply. On success the caller owns `*reply`. The other side is
 * told how long the caller waits. Any number of calls may be open, of any number of threads; on wire level 0, and above
 * what the other side serves at a time, they queue in order. Signals do not end this wait.
 *
 * A call whose timeout passes is cancelled: the other side is told, the connection goes on, and hostlane_error_sent()
 * tells whether the other side may have seen it. Wire level 0 has no such message, so there the connection ends.
 *
 * HOSTLANE_E_REMOTE_ERROR when the program on the other side failed the call: hostlane_error_remote_status() and
 * hostlane_error_data() have what it said. HOSTLANE_E_CALL_ABANDONED when it let the call go. HOSTLANE_E_DRAINING when
 * the connection takes nothing new.
 *
 * Errors: also those of hostlane_send() and hostlane_recv(), and HOSTLANE_E_QUEUE_FULL when HOSTLANE_MAX_CALLS calls
 * wait already.
 */
hostlane_status_t hostlane_request(hostlane_peer_t peer,
                                   const void *data,
                                   size_t len,
                                   int64_t timeout_ms,
                                   hostlane_message_t **reply,
                                   hostlane_error_t **err);

/**
 * hostlane_request() with what `options` says; they may be NULL.
 */
hostlane_status_t hostlane_request_with(hostlane_peer_t peer,
                                        const void *data,
                                        size_t len,
                                        const hostlane_call_options_t *options,
                                        int64_t timeout_ms,
                                        hostlane_message_t **reply,
                                        hostlane_error_t **err);

/**
 * Starts a call and does not wait. `options` may be NULL. On success the caller owns `*started` and ends it with
 * hostlane_call_wait() or hostlane_call_cancel(). Errors: those of hostlane_request() that are found at once.
 */
hostlane_status_t hostlane_call_start(hostlane_peer_t peer,
                                      const void *data,
                                      size_t len,
                                      const hostlane_call_options_t *options,
                                      hostlane_call_t *started,
                                      hostlane_error_t **err);

/**
 * Waits for the reply of a started call, and ends the handle whatever comes of it: a call that timed out is cancelled.
 * On success the caller owns `*reply`. Signals do not end this wait.
 *
 * Errors: those of hostlane_request(), and HOSTLANE_E_CLOSED when the handle was waited for or cancelled before.
 */
hostlane_status_t hostlane_call_wait(hostlane_call_t started,
                                     int64_t timeout_ms,
                                     hostlane_message_t **reply,
                                     hostlane_error_t **err);

/**
 * Gives a started call up: the other side is told; on wire level 0 the connection ends when the call was sent. The
 * second call gives HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_call_cancel(hostlane_call_t started, hostlane_error_t **err);

/**
 * Makes a context. On success the caller owns `*context` and ends it with hostlane_context_close().
 * Errors: HOSTLANE_E_TOO_MANY_FILES, HOSTLANE_E_IO.
 */
hostlane_status_t hostlane_context_new(hostlane_context_t *context, hostlane_error_t **err);

/**
 * The descriptor to watch for reading, in poll, epoll or any event loop. It stays readable for as long as
 * hostlane_context_process() has something to do, and belongs to the context: never read it, never close it.
 * Errors: HOSTLANE_E_CLOSED, HOSTLANE_E_FORKED.
 */
hostlane_status_t hostlane_context_fd(hostlane_context_t context, int32_t *fd, hostlane_error_t **err);

/**
 * Does the work that is ready and hands out at most `cap` finished operations in `events`; `*n` gets their number.
 * Never blocks. `*more` (may be NULL) tells whether work is left: call again before waiting on the descriptor. Free the
 * batch with hostlane_events_free().
 *
 * Errors: HOSTLANE_E_INVALID_ARGUMENT when `cap` is 0, HOSTLANE_E_CLOSED. The failure of an operation is an event, never
 * an error of this call.
 */
hostlane_status_t hostlane_context_process(hostlane_context_t context,
                                           hostlane_event_t *events,
                                           size_t cap,
                                           size_t *n,
                                           bool *more,
                                           hostlane_error_t **err);

/**
 * hostlane_context_process() with the payloads one behind the other in `buffer`, which has `capacity` bytes. An event's
 * `data` then points there, and `message` is NULL unless there is something to do with it: a request to answer, a trace
 * or descriptors, or a payload that found no room. hostlane_events_free() is only needed for events that have a `message`
 * or an `error`. Never blocks: one short call for up to `cap` operations.
 */
hostlane_status_t hostlane_context_process_batch(hostlane_context_t context,
                                                 void *buffer,
                                                 size_t capacity,
                                                 hostlane_event_t *events,
                                                 size_t cap,
                                                 size_t *n,
                                                 bool *more,
                                                 hostlane_error_t **err);

/**
 * Waits for the next finished operation: poll and process in one call, for programs without a loop of their own. Free
 * the event with hostlane_events_free(event, 1).
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED when a signal arrived (call again), HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_context_next(hostlane_context_t context,
                                        int64_t timeout_ms,
                                        hostlane_event_t *event,
                                        hostlane_error_t **err);

/**
 * Waits for the next finished operation and hands out at most `cap` of them, as hostlane_context_process_batch() does:
 * poll and process in one call, for programs without a loop of their own.
 * Errors: those of hostlane_context_next(), and HOSTLANE_E_INVALID_ARGUMENT when `cap` is 0.
 */
hostlane_status_t hostlane_context_next_batch(hostlane_context_t context,
                                              int64_t timeout_ms,
                                              void *buffer,
                                              size_t capacity,
                                              hostlane_event_t *events,
                                              size_t cap,
                                              size_t *n,
                                              hostlane_error_t **err);

/**
 * Starts hostlane_connect(). Finishes as HOSTLANE_EVENT_CONNECTED with `peer`, owned by the caller.
 */
hostlane_status_t hostlane_context_connect(hostlane_context_t context,
                                           const char *addr,
                                           size_t addr_len,
                                           const hostlane_connect_options_t *options,
                                           int64_t timeout_ms,
                                           hostlane_event_t *event,
                                           hostlane_error_t **err);

/**
 * Starts hostlane_accept(). Finishes as HOSTLANE_EVENT_ACCEPTED with `peer`, owned by the caller.
 */
hostlane_status_t hostlane_context_accept(hostlane_context_t context,
                                          hostlane_listener_t listener,
                                          int64_t timeout_ms,
                                          hostlane_event_t *event,
                                          hostlane_error_t **err);

/**
 * Starts hostlane_recv(), or hostlane_recv_on() when `channel` is not HOSTLANE_ANY_CHANNEL. Finishes as
 * HOSTLANE_EVENT_MESSAGE.
 */
hostlane_status_t hostlane_context_recv(hostlane_context_t context,
                                        hostlane_peer_t peer,
                                        int32_t channel,
                                        int64_t timeout_ms,
                                        hostlane_event_t *event,
                                        hostlane_error_t **err);

/**
 * Starts hostlane_send(). `data` is read during the call and not kept. Finishes as HOSTLANE_EVENT_SENT.
 */
hostlane_status_t hostlane_context_send(hostlane_context_t context,
                                        hostlane_peer_t peer,
                                        uint16_t channel,
                                        const void *data,
                                        size_t len,
                                        int64_t timeout_ms,
                                        hostlane_event_t *event,
                                        hostlane_error_t **err);

/**
 * Starts hostlane_send_with(); `options` may be NULL. Finishes as HOSTLANE_EVENT_SENT.
 */
hostlane_status_t hostlane_context_send_with(hostlane_context_t context,
                                             hostlane_peer_t peer,
                                             const void *data,
                                             size_t len,
                                             const hostlane_call_options_t *options,
                                             int64_t timeout_ms,
                                             hostlane_event_t *event,
                                             hostlane_error_t **err);

/**
 * Starts hostlane_reply(). `data` is read during the call and not kept; the message stays the caller's. Finishes as
 * HOSTLANE_EVENT_SENT.
 */
hostlane_status_t hostlane_context_reply(hostlane_context_t context,
                                         const hostlane_message_t *message,
                                         const void *data,
                                         size_t len,
                                         int64_t timeout_ms,
                                         hostlane_event_t *event,
                                         hostlane_error_t **err);

/**
 * Starts hostlane_fail(). `data` is read during the call and not kept; the message stays the caller's. Finishes as
 * HOSTLANE_EVENT_SENT.
 */
hostlane_status_t hostlane_context_fail(hostlane_context_t context,
                                        const hostlane_message_t *message,
                                        uint32_t code,
                                        const void *data,
                                        size_t len,
                                        int64_t timeout_ms,
                                        hostlane_event_t *event,
                                        hostlane_error_t **err);

/**
 * Starts hostlane_message_wait_cancelled(). Finishes as HOSTLANE_EVENT_CALL_ENDED when an answer to the request is no
 * longer wanted: given, or its caller left, ran out of time or lost the connection. The message stays the caller's.
 */
hostlane_status_t hostlane_context_call_ended(hostlane_context_t context,
                                              const hostlane_message_t *message,
                                              int64_t timeout_ms,
                                              hostlane_event_t *event,
                                              hostlane_error_t **err);

/**
 * Waits until anything is there to receive, and takes nothing. Finishes as HOSTLANE_EVENT_READABLE, or fails with the end
 * of the connection. hostlane_context_recv_batch() does both.
 */
hostlane_status_t hostlane_context_readable(hostlane_context_t context,
                                            hostlane_peer_t peer,
                                            int64_t timeout_ms,
                                            hostlane_event_t *event,
                                            hostlane_error_t **err);

/**
 * Starts hostlane_stream_send(). `data` is read during the call and not kept. Finishes as HOSTLANE_EVENT_SENT.
 */
hostlane_status_t hostlane_context_stream_send(hostlane_context_t context,
                                               hostlane_stream_t stream,
                                               const void *data,
                                               size_t len,
                                               int64_t timeout_ms,
                                               hostlane_event_t *event,
                                               hostlane_error_t **err);

/**
 * Starts hostlane_stream_finish(). Finishes as HOSTLANE_EVENT_SENT.
 */
hostlane_status_t hostlane_context_stream_finish(hostlane_context_t context,
                                                 hostlane_stream_t stream,
                                                 int64_t timeout_ms,
                                                 hostlane_event_t *event,
                                                 hostlane_error_t **err);

/**
 * Starts hostlane_stream_recv(). Finishes as HOSTLANE_EVENT_ITEM, or as HOSTLANE_EVENT_STREAM_END.
 */
hostlane_status_t hostlane_context_stream_recv(hostlane_context_t context,
                                               hostlane_stream_t stream,
                                               int64_t timeout_ms,
                                               hostlane_event_t *event,
                                               hostlane_error_t **err);

/**
 * Finishes as HOSTLANE_EVENT_TIMER after `delay_ms` milliseconds, or a moment later.
 * Errors: HOSTLANE_E_INVALID_ARGUMENT when that time would never come, HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_context_timer(hostlane_context_t context,
                                         int64_t delay_ms,
                                         hostlane_event_t *event,
                                         hostlane_error_t **err);

/**
 * Starts hostlane_request(). `data` is read during the call and not kept. Finishes as HOSTLANE_EVENT_REPLY.
 */
hostlane_status_t hostlane_context_request(hostlane_context_t context,
                                           hostlane_peer_t peer,
                                           const void *data,
                                           size_t len,
                                           int64_t timeout_ms,
                                           hostlane_event_t *event,
                                           hostlane_error_t **err);

/**
 * Starts hostlane_request_with(); `options` may be NULL. Finishes as HOSTLANE_EVENT_REPLY.
 */
hostlane_status_t hostlane_context_request_with(hostlane_context_t context,
                                                hostlane_peer_t peer,
                                                const void *data,
                                                size_t len,
                                                const hostlane_call_options_t *options,
                                                int64_t timeout_ms,
                                                hostlane_event_t *event,
                                                hostlane_error_t **err);

/**
 * Starts hostlane_ping(). Finishes as HOSTLANE_EVENT_PONG with `rtt_ns`.
 */
hostlane_status_t hostlane_context_ping(hostlane_context_t context,
                                        hostlane_peer_t peer,
                                        int64_t timeout_ms,
                                        hostlane_event_t *event,
                                        hostlane_error_t **err);

/**
 * Starts hostlane_drain(). Finishes as HOSTLANE_EVENT_DRAINED.
 */
hostlane_status_t hostlane_context_drain(hostlane_context_t context,
                                         hostlane_peer_t peer,
                                         int64_t timeout_ms,
                                         hostlane_event_t *event,
                                         hostlane_error_t **err);

/**
 * Gives up the pending operation `op`, which then finishes as HOSTLANE_EVENT_FAILED with HOSTLANE_E_CANCELLED, unless
 * it had finished already. The other side is told of a call that was sent; on wire level 0, where it cannot be, the
 * connection ends. A number that is not pending changes nothing.
 */
hostlane_status_t hostlane_context_cancel(hostlane_context_t context, uint64_t op, hostlane_error_t **err);

/**
 * Closes the context and gives the handle back; a thread in hostlane_context_next() returns with HOSTLANE_E_CLOSED. Its
 * peers and listeners are closed with it; their handles still have to be given back. The events of operations that are
 * pending are gone with it, and its descriptor is closed: take it out of the event loop first. The second call gives
 * HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_context_close(hostlane_context_t context, hostlane_error_t **err);

/**
 * The number of the error, the same that the failed call returned; HOSTLANE_OK for NULL.
 */
hostlane_status_t hostlane_error_status(const hostlane_error_t *error);

/**
 * The text for people: what happened, to what. UTF-8, `*len` bytes, followed by a NUL; valid until the error is freed.
 * Never parse it: the number is the contract. Empty for a NULL error. Either output may be NULL.
 */
void hostlane_error_message(const hostlane_error_t *error, const char **text, size_t *len);

/**
 * Whether the same call may succeed later without a change in the program. False for NULL.
 */
bool hostlane_error_retryable(const hostlane_error_t *error);

/**
 * Whether the message of a failed send, request or reply may have reached the other side: HOSTLANE_SENT_NO or
 * HOSTLANE_SENT_MAYBE. HOSTLANE_SENT_NO for NULL and for calls that send nothing.
 */
int32_t hostlane_error_sent(const hostlane_error_t *error);

/**
 * For HOSTLANE_E_REMOTE_ERROR the code that the program on the other side failed the call with, which
 * hostlane_fail() gave; 0 for every other error and for NULL.
 */
uint32_t hostlane_error_remote_status(const hostlane_error_t *error);

/**
 * For HOSTLANE_E_REMOTE_ERROR the bytes that the program on the other side gave along: `*len` bytes (`len` may be NULL),
 * readable until the error is freed. Empty, and not NULL, for every other error; NULL for NULL.
 */
const uint8_t *hostlane_error_data(const hostlane_error_t *error,
                                   size_t *len);

/**
 * Frees `*error` and sets it to NULL. NULL, and a pointer to NULL, do nothing.
 */
void hostlane_error_free(hostlane_error_t **error);

/**
 * Frees the messages and errors of `n` events and nulls their pointers; peers stay open. NULL does nothing.
 */
void hostlane_events_free(hostlane_event_t *events, size_t n);

/**
 * Tells who is on the other side of a peer. Never blocks; works on peers of any driver.
 * Errors: HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_info(hostlane_peer_t peer, hostlane_info_t *info, hostlane_error_t **err);

/**
 * The address a peer connected to, or that of the listener that accepted it, as hostlane_listener_address() gives it.
 */
hostlane_status_t hostlane_peer_address(hostlane_peer_t peer,
                                        char *buf,
                                        size_t cap,
                                        size_t *len,
                                        hostlane_error_t **err);

/**
 * Reads the counters of a peer. Never blocks; works on peers of any driver.
 * Errors: HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_stats(hostlane_peer_t peer, hostlane_stats_t *stats, hostlane_error_t **err);

/**
 * Reads the counters of one channel of a peer.
 * Errors: HOSTLANE_E_INVALID_CHANNEL when it was not agreed, HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_stats_on(hostlane_peer_t peer,
                                    uint16_t channel,
                                    hostlane_channel_stats_t *stats,
                                    hostlane_error_t **err);

/**
 * Reads the counters of a listener. Never blocks; works on listeners of any driver.
 * Errors: HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_listener_stats(hostlane_listener_t listener,
                                          hostlane_listener_stats_t *stats,
                                          hostlane_error_t **err);

/**
 * Sets every member to its default and `size` to `size`, which is sizeof(hostlane_link_options_t). NULL does nothing.
 */
void hostlane_link_options_init(hostlane_link_options_t *options, size_t size);

/**
 * Opens a link at `addr`, an address that can be listened at and connected to; `options` may be NULL. The first attempt
 * is under way when it returns. On success the caller owns `*link` and ends it with hostlane_link_close().
 *
 * Errors: HOSTLANE_E_INVALID_ARGUMENT, HOSTLANE_E_INVALID_ADDRESS, HOSTLANE_E_ADDRESS_TOO_LONG, HOSTLANE_E_UNSUPPORTED
 * for an address whose server is fixed, HOSTLANE_E_TOO_MANY_FILES, and those of hostlane_listen() that another attempt
 * would not change, or that none is to follow.
 */
hostlane_status_t hostlane_link_open(const char *addr,
                                     size_t addr_len,
                                     const hostlane_link_options_t *options,
                                     hostlane_link_t *link,
                                     hostlane_error_t **err);

/**
 * Waits for the next event: HOSTLANE_EVENT_LINK_UP, HOSTLANE_EVENT_LINK_DOWN or HOSTLANE_EVENT_MESSAGE. Free it with
 * hostlane_events_free(event, 1). Messages that nobody takes hold the other side back.
 *
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED when a signal arrived (call again), HOSTLANE_E_CLOSED; after the
 * last event the error that ended the link.
 */
hostlane_status_t hostlane_link_next(hostlane_link_t link,
                                     int64_t timeout_ms,
                                     hostlane_event_t *event,
                                     hostlane_error_t **err);

/**
 * Calls the other side with `len` bytes and waits for its reply, also until the other side is there. `options` may be
 * NULL. The other side is told how long the caller waits. On success the caller owns
 * `*reply`. Signals do not end this wait.
 *
 * Errors: those of hostlane_request_with(), HOSTLANE_E_UNSUPPORTED for descriptors, and the error that ended the link.
 */
hostlane_status_t hostlane_link_request(hostlane_link_t link,
                                        const void *data,
                                        size_t len,
                                        const hostlane_call_options_t *options,
                                        int64_t timeout_ms,
                                        hostlane_message_t **reply,
                                        hostlane_error_t **err);

/**
 * Sends a one-way message; does not wait. `options` may be NULL.
 *
 * Errors: HOSTLANE_E_CONNECTION_LOST while the other side is not there, because the message is not kept for it;
 * HOSTLANE_E_WOULD_BLOCK while the other side does not take what was sent; those of hostlane_send_with(), and the error
 * that ended the link.
 */
hostlane_status_t hostlane_link_send(hostlane_link_t link,
                                     const void *data,
                                     size_t len,
                                     const hostlane_call_options_t *options,
                                     hostlane_error_t **err);

/**
 * Answers a request that the link handed out; does not wait. The message stays the caller's. Errors as of
 * hostlane_reply(), and HOSTLANE_E_WRONG_DRIVER for a message of another origin.
 */
hostlane_status_t hostlane_link_reply(hostlane_link_t link,
                                      const hostlane_message_t *message,
                                      const void *data,
                                      size_t len,
                                      hostlane_error_t **err);

/**
 * Answers a request that the link handed out with an error of the program's, as hostlane_fail() does; does not wait. The
 * message stays the caller's.
 */
hostlane_status_t hostlane_link_fail(hostlane_link_t link,
                                     const hostlane_message_t *message,
                                     uint32_t code,
                                     const void *data,
                                     size_t len,
                                     hostlane_error_t **err);

/**
 * Tells in `*serving` whether this side is the one that listens: 1, or 0 when it connected to the other, or -1 while
 * there is no decision.
 */
hostlane_status_t hostlane_link_is_serving(hostlane_link_t link, int32_t *serving, hostlane_error_t **err);

/**
 * hostlane_info() of the connection to the other side. Errors: HOSTLANE_E_CONNECTION_LOST while there is none.
 */
hostlane_status_t hostlane_link_info(hostlane_link_t link, hostlane_info_t *info, hostlane_error_t **err);

/**
 * hostlane_stats() of the connection to the other side. Errors: HOSTLANE_E_CONNECTION_LOST while there is none.
 */
hostlane_status_t hostlane_link_stats(hostlane_link_t link, hostlane_stats_t *stats, hostlane_error_t **err);

/**
 * hostlane_stats_on() of the connection to the other side. Errors: also HOSTLANE_E_CONNECTION_LOST while there is none.
 */
hostlane_status_t hostlane_link_stats_on(hostlane_link_t link,
                                         uint16_t channel,
                                         hostlane_channel_stats_t *stats,
                                         hostlane_error_t **err);

/**
 * The descriptor to watch for reading, in poll, epoll or any event loop, before hostlane_link_process(). It belongs to
 * the link: never read it, never close it. Once the link has ended it stays readable.
 */
hostlane_status_t hostlane_link_fd(hostlane_link_t link, int32_t *fd, hostlane_error_t **err);

/**
 * Starts a call for an event loop; does not wait. `options` may be NULL. The number in `*op` comes back once, as an event
 * of hostlane_link_process() or hostlane_link_turn(): HOSTLANE_EVENT_REPLY or HOSTLANE_EVENT_FAILED. `timeout_ms` limits
 * the call as that of hostlane_link_request(). Errors: HOSTLANE_E_QUEUE_FULL when HOSTLANE_MAX_CALLS calls are open, and
 * the error that ended the link.
 */
hostlane_status_t hostlane_link_start(hostlane_link_t link,
                                      const void *data,
                                      size_t len,
                                      const hostlane_call_options_t *options,
                                      int64_t timeout_ms,
                                      uint64_t *op,
                                      hostlane_error_t **err);

/**
 * Gives a started call up. It still comes back, as HOSTLANE_EVENT_FAILED with HOSTLANE_E_CANCELLED unless its result was
 * on its way already. Without effect on a number that came back or never was.
 */
hostlane_status_t hostlane_link_cancel(hostlane_link_t link,
                                       uint64_t op,
                                       hostlane_error_t **err);

/**
 * Watches a request that the link handed out, for an event loop: the number in `*op` comes back once, as
 * HOSTLANE_EVENT_CALL_ENDED, when no answer is wanted any more. Errors: HOSTLANE_E_INVALID_ARGUMENT for a one-way
 * message, HOSTLANE_E_WRONG_DRIVER for one of another origin.
 */
hostlane_status_t hostlane_link_call_ended(hostlane_link_t link,
                                           const hostlane_message_t *message,
                                           uint64_t *op,
                                           hostlane_error_t **err);

/**
 * Moves the link on without waiting and hands out at most `cap` events: what hostlane_link_start() and
 * hostlane_link_call_ended() have started, then what hostlane_link_next() would give; `*n` gets their number. `*more`
 * (may be NULL) tells whether there are more: call again before waiting on the descriptor. Free the batch with
 * hostlane_events_free().
 *
 * Payloads go into `buffer`, which has `capacity` bytes, as with hostlane_context_process_batch(); when it is NULL each
 * stays in its message.
 *
 * Errors: HOSTLANE_E_INVALID_ARGUMENT when `cap` is 0; when there is no event left, the error that ended the link.
 */
hostlane_status_t hostlane_link_process(hostlane_link_t link,
                                        void *buffer,
                                        size_t capacity,
                                        hostlane_event_t *events,
                                        size_t cap,
                                        size_t *n,
                                        bool *more,
                                        hostlane_error_t **err);

/**
 * hostlane_link_process() without what hostlane_link_next() would give: that stays in the link, where it holds the other
 * side back, for hostlane_link_events(). `*waiting` (may be NULL) tells whether there is any.
 */
hostlane_status_t hostlane_link_turn(hostlane_link_t link,
                                     void *buffer,
                                     size_t capacity,
                                     hostlane_event_t *events,
                                     size_t cap,
                                     size_t *n,
                                     bool *more,
                                     bool *waiting,
                                     hostlane_error_t **err);

/**
 * Hands out at most `cap` of the events that hostlane_link_turn() left in the link, without moving it on. Otherwise like
 * hostlane_link_process().
 */
hostlane_status_t hostlane_link_events(hostlane_link_t link,
                                       void *buffer,
                                       size_t capacity,
                                       hostlane_event_t *events,
                                       size_t cap,
                                       size_t *n,
                                       bool *more,
                                       hostlane_error_t **err);

/**
 * Ends the link at once and gives the handle back: the address is free, the connection is closed, and every thread that
 * waits in a call on the link returns with HOSTLANE_E_CLOSED. Never blocks. The second call gives HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_link_close(hostlane_link_t link, hostlane_error_t **err);

/**
 * Listens on `addr` (the address forms of docs/protocol.md). `options` may be NULL. The socket is private to the user
 * from its first instant; a stale one is replaced, a live one never. On success the caller owns `*listener` and ends it
 * with hostlane_listener_close(), which also removes the socket.
 *
 * Errors: HOSTLANE_E_INVALID_ADDRESS, HOSTLANE_E_ADDRESS_TOO_LONG, HOSTLANE_E_UNSUPPORTED, HOSTLANE_E_INVALID_CHANNEL,
 * HOSTLANE_E_AUTHENTICATION_REQUIRED, HOSTLANE_E_ADDRESS_IN_USE, HOSTLANE_E_NOT_A_SOCKET,
 * HOSTLANE_E_UNSAFE_DIRECTORY, HOSTLANE_E_NOT_FOUND, HOSTLANE_E_PERMISSION_DENIED, HOSTLANE_E_TOO_MANY_FILES.
 */
hostlane_status_t hostlane_listen(const char *addr,
                                  size_t addr_len,
                                  const hostlane_listen_options_t *options,
                                  hostlane_listener_t *listener,
                                  hostlane_error_t **err);

/**
 * Waits for the next client that finished its handshake. Handshakes run side by side, so a slow or silent client delays
 * nobody; clients that fail are counted and listed by hostlane_listener_refusals(). On success the caller owns `*peer`.
 *
 * A signal ends the wait with HOSTLANE_E_INTERRUPTED; nothing is lost, call again.
 *
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
 */
hostlane_status_t hostlane_accept(hostlane_listener_t listener,
                                  int64_t timeout_ms,
                                  hostlane_peer_t *peer,
                                  hostlane_error_t **err);

/**
 * The address of the listener in its canonical form. `*len` gets its length in bytes, which hostlane_listener_address(l,
 * NULL, 0, &len, err) tells beforehand. The text is not terminated.
 * Errors: HOSTLANE_E_INVALID_ARGUMENT when `cap` is too small, HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_listener_address(hostlane_listener_t listener,
                                            char *buf,
                                            size_t cap,
                                            size_t *len,
                                            hostlane_error_t **err);

/**
 * Takes at most `cap` refusals, oldest first, into `refusals`; `*n` gets their number, 0 when there are none. The
 * listener remembers the last 64; hostlane_listener_stats() counts all of them.
 * Errors: HOSTLANE_E_INVALID_ARGUMENT, also when `cap` is 0; HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_listener_refusals(hostlane_listener_t listener,
                                             hostlane_refusal_t *refusals,
                                             size_t cap,
                                             size_t *n,
                                             hostlane_error_t **err);

/**
 * Closes the listener at once, removes its socket and gives the handle back. Every thread in hostlane_accept() returns
 * with HOSTLANE_E_CLOSED; peers accepted before live on. The second call gives HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_listener_close(hostlane_listener_t listener, hostlane_error_t **err);

/**
 * Keeps the events of `level` and of what matters more from now on; those kept already stay. For the whole process. At
 * most HOSTLANE_LOG_EVENTS are kept. Errors: HOSTLANE_E_INVALID_ARGUMENT for what is none of HOSTLANE_LOG_.
 */
hostlane_status_t hostlane_log_enable(int32_t level, hostlane_error_t **err);

/**
 * What is kept now: HOSTLANE_LOG_OFF and so on.
 */
int32_t hostlane_log_level(void);

/**
 * Takes at most `cap` of the kept events, oldest first, into `events`; `*n` gets their number, 0 when there are none.
 * `*dropped` (may be NULL) gets the number of those that were dropped since the last time, because nobody took them: the
 * oldest go first. Never waits. Free the events with hostlane_log_events_free().
 * Errors: HOSTLANE_E_INVALID_ARGUMENT, also when `cap` is 0.
 */
hostlane_status_t hostlane_log_drain(hostlane_log_event_t *events,
                                     size_t cap,
                                     size_t *n,
                                     uint64_t *dropped,
                                     hostlane_error_t **err);

/**
 * Frees the texts of `n` events and nulls their pointers. NULL does nothing.
 */
void hostlane_log_events_free(hostlane_log_event_t *events, size_t n);

/**
 * The channel the message arrived on; 0 for an item of a stream and for NULL.
 */
uint16_t hostlane_message_channel(const hostlane_message_t *message);

/**
 * The payload: `*len` bytes (`len` may be NULL), readable until the message is freed. Never NULL for a message, even an
 * empty one; NULL for NULL.
 */
const uint8_t *hostlane_message_data(const hostlane_message_t *message, size_t *len);

/**
 * What the message is and has: HOSTLANE_MESSAGE_REQUEST and so on, or-ed. 0 for NULL.
 */
uint32_t hostlane_message_flags(const hostlane_message_t *message);

/**
 * Whether somebody waits for an answer. False for NULL.
 */
bool hostlane_message_is_request(const hostlane_message_t *message);

/**
 * The id of the call, unique in its connection; 0 for a one-way message and for NULL.
 */
uint64_t hostlane_message_call_id(const hostlane_message_t *message);

/**
 * How long the caller will still wait, in milliseconds, by this process's clock; 0 when its time is over,
 * HOSTLANE_FOREVER when it told no limit. Give it as `timeout_ms` to calls made on behalf of this one, so that nobody
 * works for a caller who has left.
 */
int64_t hostlane_message_timeout_ms(const hostlane_message_t *message);

/**
 * The key under which the caller may send this call again: `*len` bytes (`len` may be NULL), readable until the message
 * is freed. NULL when it gave none.
 */
const uint8_t *hostlane_message_idempotency_key(const hostlane_message_t *message, size_t *len);

/**
 * What the sender gave along to follow the message by: `*len` bytes (`len` may be NULL), readable until the message is
 * freed. NULL when it gave nothing.
 */
const uint8_t *hostlane_message_trace(const hostlane_message_t *message, size_t *len);

/**
 * Takes the descriptors that came with the message into `fds`, which has room for HOSTLANE_MAX_FDS; `*n` gets their
 * number, 0 the second time. The caller owns and closes them; those nobody takes are closed with the message.
 */
hostlane_status_t hostlane_message_take_fds(const hostlane_message_t *message,
                                            int32_t *fds,
                                            size_t *n,
                                            hostlane_error_t **err);

/**
 * Whether an answer is no longer wanted: given already, or the caller left, ran out of time, or lost the connection.
 * Looks at what has arrived, without waiting. False for a one-way message and for NULL.
 */
bool hostlane_message_is_cancelled(const hostlane_message_t *message);

/**
 * Waits until an answer is no longer wanted, as of hostlane_message_is_cancelled().
 *
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED when a signal arrived (call again), HOSTLANE_E_WRONG_DRIVER,
 * HOSTLANE_E_INVALID_ARGUMENT for a one-way message, HOSTLANE_E_UNSUPPORTED on wire level 0.
 */
hostlane_status_t hostlane_message_wait_cancelled(const hostlane_message_t *message,
                                                  int64_t timeout_ms,
                                                  hostlane_error_t **err);

/**
 * Answers with `len` bytes: a call with its reply, a one-way message with a message on its channel. The message stays
 * owned by the caller. Signals do not end this wait. Errors: HOSTLANE_E_CALL_ENDED when no answer is wanted any more,
 * and those of hostlane_send().
 */
hostlane_status_t hostlane_reply(const hostlane_message_t *message,
                                 const void *data,
                                 size_t len,
                                 int64_t timeout_ms,
                                 hostlane_error_t **err);

/**
 * Answers a call with an error of the program's: `code` and `len` bytes of data reach the caller, as
 * HOSTLANE_E_REMOTE_ERROR with hostlane_error_remote_status() and hostlane_error_data(). The message stays owned by the
 * caller. Signals do not end this wait.
 *
 * Errors: HOSTLANE_E_INVALID_ARGUMENT for a one-way message, HOSTLANE_E_UNSUPPORTED on wire level 0, else those of
 * hostlane_reply().
 */
hostlane_status_t hostlane_fail(const hostlane_message_t *message,
                                uint32_t code,
                                const void *data,
                                size_t len,
                                int64_t timeout_ms,
                                hostlane_error_t **err);

/**
 * Frees `*message` and sets it to NULL. NULL, and a pointer to NULL, do nothing. A request that was not answered is let
 * go.
 */
void hostlane_message_free(hostlane_message_t **message);

/**
 * Sets every member to its default and `size` to `size`, which is sizeof(hostlane_connect_options_t): no more than that is
 * written, whichever header the program was built with. NULL does nothing.
 */
void hostlane_connect_options_init(hostlane_connect_options_t *options,
                                   size_t size);

/**
 * Sets every member to its default and `size` to `size`, which is sizeof(hostlane_listen_options_t): no more than that is
 * written, whichever header the program was built with. NULL does nothing.
 */
void hostlane_listen_options_init(hostlane_listen_options_t *options,
                                  size_t size);

/**
 * Connects to `addr` (the address forms of docs/protocol.md, for example "name", "/path" or "unix:/path") and finishes
 * the handshake. `options` may be NULL. On success the caller owns `*peer` and ends it with hostlane_close().
 *
 * A signal ends the wait with HOSTLANE_E_INTERRUPTED; nothing is left behind, call again.
 *
 * Errors: HOSTLANE_E_INVALID_ADDRESS, HOSTLANE_E_ADDRESS_TOO_LONG, HOSTLANE_E_UNSUPPORTED, HOSTLANE_E_INVALID_CHANNEL,
 * HOSTLANE_E_AUTHENTICATION_REQUIRED, HOSTLANE_E_NOT_FOUND, HOSTLANE_E_CONNECTION_REFUSED,
 * HOSTLANE_E_PERMISSION_DENIED, HOSTLANE_E_NOT_A_SOCKET, HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, and the ways a
 * handshake fails (HOSTLANE_E_REFUSED, HOSTLANE_E_AUTHENTICATION_FAILED, HOSTLANE_E_VERSION_MISMATCH, ...).
 */
hostlane_status_t hostlane_connect(const char *addr,
                                   size_t addr_len,
                                   const hostlane_connect_options_t *options,
                                   int64_t timeout_ms,
                                   hostlane_peer_t *peer,
                                   hostlane_error_t **err);

/**
 * Sends `len` bytes on `channel` and returns when the whole message was handed to the operating system. `data` is read
 * during the call and not kept; it may be NULL when `len` is 0. Signals do not end this wait.
 *
 * HOSTLANE_E_TIMEOUT before the first byte left keeps the connection, and the message was not sent. In the middle of a
 * message it ends the connection, because a message that was begun cannot be taken back.
 *
 * On wire level 1 a channel on which the other side has no room left does what its policy says (hostlane_policy_t).
 *
 * Errors: HOSTLANE_E_INVALID_CHANNEL, HOSTLANE_E_PAYLOAD_TOO_LARGE, HOSTLANE_E_WOULD_BLOCK, HOSTLANE_E_TIMEOUT,
 * HOSTLANE_E_DRAINING, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST, HOSTLANE_E_CLOSED,
 * HOSTLANE_E_WRONG_DRIVER.
 */
hostlane_status_t hostlane_send(hostlane_peer_t peer,
                                uint16_t channel,
                                const void *data,
                                size_t len,
                                int64_t timeout_ms,
                                hostlane_error_t **err);

/**
 * hostlane_send() with what `options` says: `channel`, `trace`, `fds`. They may be NULL.
 *
 * Errors: also HOSTLANE_E_UNSUPPORTED for what the connection has no form for, HOSTLANE_E_INVALID_ARGUMENT for options
 * that are for calls alone.
 */
hostlane_status_t hostlane_send_with(hostlane_peer_t peer,
                                     const void *data,
                                     size_t len,
                                     const hostlane_call_options_t *options,
                                     int64_t timeout_ms,
                                     hostlane_error_t **err);

/**
 * Receives the next message of any channel, in the order of arrival; calls of the other side arrive on
 * HOSTLANE_CHANNEL_COMMAND. On success the caller owns `*message` and frees it with hostlane_message_free().
 *
 * Nothing is lost by HOSTLANE_E_TIMEOUT, nor by HOSTLANE_E_INTERRUPTED, which a signal causes: call again. After the
 * other side ended, what had arrived is still delivered, then HOSTLANE_E_PEER_CLOSED.
 *
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST,
 * HOSTLANE_E_TRUNCATED, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER, and the ways a frame can be wrong
 * (HOSTLANE_E_BAD_MAGIC, HOSTLANE_E_FRAME_TOO_LARGE, HOSTLANE_E_UNKNOWN_CHANNEL, ...).
 */
hostlane_status_t hostlane_recv(hostlane_peer_t peer,
                                int64_t timeout_ms,
                                hostlane_message_t **message,
                                hostlane_error_t **err);

/**
 * Receives the next message of one channel; messages of others stay for their own receivers. Otherwise like
 * hostlane_recv(). HOSTLANE_E_INVALID_CHANNEL when the channel was not agreed in the handshake.
 */
hostlane_status_t hostlane_recv_on(hostlane_peer_t peer,
                                   uint16_t channel,
                                   int64_t timeout_ms,
                                   hostlane_message_t **message,
                                   hostlane_error_t **err);

/**
 * Sends a ping and waits for the answer; `*rtt_ns` gets the round-trip time in nanoseconds. Signals do not end this
 * wait. HOSTLANE_E_TIMEOUT keeps the connection: a program that never receives cannot answer.
 *
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_QUEUE_FULL, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST,
 * HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
 */
hostlane_status_t hostlane_ping(hostlane_peer_t peer, int64_t timeout_ms, uint64_t *rtt_ns, hostlane_error_t **err);

/**
 * Ends the connection in good order: no new sends, calls in flight finish, the other side confirms. Messages that had
 * arrived stay readable until hostlane_close(), which is still needed. Signals do not end this wait.
 *
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_CONNECTION_LOST, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
 */
hostlane_status_t hostlane_drain(hostlane_peer_t peer, int64_t timeout_ms, hostlane_error_t **err);

/**
 * Has the process's I/O thread move this connection's bytes while no call on it does: the other side's pings are
 * answered, its messages collected within the limits, and its end is noticed, whatever the program does meanwhile. The
 * thread is one per process, runs nothing of the program's and takes no signals. A connection with a keepalive of either
 * side has it from the start. The second call changes nothing.
 *
 * Errors: HOSTLANE_E_WRONG_DRIVER for a peer of a context, HOSTLANE_E_TOO_MANY_FILES, HOSTLANE_E_IO, HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_attach(hostlane_peer_t peer,
                                  hostlane_error_t **err);

/**
 * Closes the connection at once and gives the handle back. Every thread that waits in a call on the peer returns with
 * HOSTLANE_E_CLOSED. Never blocks. Closing twice changes nothing: the second call gives HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_close(hostlane_peer_t peer, hostlane_error_t **err);

/**
 * Opens a stream with a request of `len` bytes. `options` may be NULL. Never waits, whatever drives the peer. On success
 * the caller owns `*stream` and ends it with hostlane_stream_close().
 *
 * Errors: HOSTLANE_E_UNSUPPORTED on wire level 0, else those of hostlane_request() that are found at once.
 */
hostlane_status_t hostlane_stream_open(hostlane_peer_t peer,
                                       const void *data,
                                       size_t len,
                                       const hostlane_call_options_t *options,
                                       hostlane_stream_t *stream,
                                       hostlane_error_t **err);

/**
 * The stream that a request opened: items both ways until the message is answered. On success the caller owns `*stream`
 * and ends it with hostlane_stream_close(); the duty to answer stays with the message, and as long as the stream is open
 * freeing the message does not abandon the call.
 *
 * Errors: HOSTLANE_E_INVALID_ARGUMENT when the message opened none.
 */
hostlane_status_t hostlane_message_stream(const hostlane_message_t *message,
                                          hostlane_stream_t *stream,
                                          hostlane_error_t **err);

/**
 * The id of the stream's call, unique in its connection; the same that hostlane_message_call_id() tells on the other
 * side. Errors: HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_stream_call_id(hostlane_stream_t stream, uint64_t *call_id, hostlane_error_t **err);

/**
 * Sends an item of `len` bytes; waits for credit, and until the operating system has all of it. `data` is read during the
 * call and not kept. Signals do not end this wait. HOSTLANE_E_TIMEOUT: an item that had not begun is withdrawn.
 *
 * Errors: HOSTLANE_E_CALL_ENDED when the call is over, HOSTLANE_E_INVALID_ARGUMENT after hostlane_stream_finish(),
 * HOSTLANE_E_PAYLOAD_TOO_LARGE, HOSTLANE_E_TIMEOUT, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST,
 * HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
 */
hostlane_status_t hostlane_stream_send(hostlane_stream_t stream,
                                       const void *data,
                                       size_t len,
                                       int64_t timeout_ms,
                                       hostlane_error_t **err);

/**
 * Says that this side sends no more; the other direction goes on. Errors: those of hostlane_stream_send().
 */
hostlane_status_t hostlane_stream_finish(hostlane_stream_t stream, int64_t timeout_ms, hostlane_error_t **err);

/**
 * Receives the next item. On success the caller owns `*item`, whose bytes hostlane_message_data() gives; NULL at the
 * end: for the side that opened the stream that of the call, whose reply hostlane_stream_reply() then has, for the other
 * side the opener's hostlane_stream_finish().
 *
 * Nothing is lost by HOSTLANE_E_TIMEOUT, nor by HOSTLANE_E_INTERRUPTED, which a signal causes: call again.
 *
 * Errors: HOSTLANE_E_REMOTE_ERROR when the other side failed the call, HOSTLANE_E_CALL_ABANDONED when it let it go,
 * HOSTLANE_E_CALL_ENDED, HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, HOSTLANE_E_CANCELLED when the stream was closed
 * meanwhile, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
 */
hostlane_status_t hostlane_stream_recv(hostlane_stream_t stream,
                                       int64_t timeout_ms,
                                       hostlane_message_t **item,
                                       hostlane_error_t **err);

/**
 * The reply that ended the call, for the side that opened the stream, after hostlane_stream_recv() gave the end; NULL
 * before, and on the other side. On success the caller owns `*reply`. A context hands it out with
 * HOSTLANE_EVENT_STREAM_END instead. Errors: HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_stream_reply(hostlane_stream_t stream, hostlane_message_t **reply, hostlane_error_t **err);

/**
 * Gives the stream back. For the side that opened it the call is given up unless it has ended: the other side is told,
 * and threads inside calls on the stream return with HOSTLANE_E_CANCELLED. On the other side the call goes on until its
 * message is answered or freed. Never blocks. The second call gives HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_stream_close(hostlane_stream_t stream, hostlane_error_t **err);

/**
 * Starts `n` operations in order, and writes what they send in as few system calls as they allow. `events` has room for
 * `n`: each is the finished operation, HOSTLANE_EVENT_PENDING with its number, or HOSTLANE_EVENT_FAILED with `op` 0 when it
 * could not be started; free them with hostlane_events_free(). A send or reply is finished when it is queued here. The
 * payloads are read during the call and not kept: each is at its `data`, or in `payloads`, which has `payloads_len` bytes
 * and may be NULL.
 *
 * Errors: HOSTLANE_E_INVALID_ARGUMENT for NULL arrays, HOSTLANE_E_CLOSED; then nothing was started and nothing freed. The
 * failure of one operation is an event, never an error of this call.
 */
hostlane_status_t hostlane_context_submit(hostlane_context_t context,
                                          const hostlane_submission_t *submissions,
                                          size_t n,
                                          const void *payloads,
                                          size_t payloads_len,
                                          hostlane_event_t *events,
                                          hostlane_error_t **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HOSTLANE_H */
