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
 * - The library installs no signal handler, raises no SIGPIPE and keeps no thread-local state.
 */

#ifndef HOSTLANE_H
#define HOSTLANE_H

/* Generated from ffi/c by `cargo xtask gen`; do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
 * The number of this binary interface. It changes when a program built with an older header could not run safely.
 */
#define HOSTLANE_ABI_VERSION 1

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
 * Why a call failed. Immutable: any number of threads may read one. Owned by the caller of the failed call, to be
 * freed once with hostlane_error_free().
 */
typedef struct hostlane_error_t hostlane_error_t;

/**
 * A received message. Immutable: any number of threads may read one. Owned by whoever received it, to be freed once with
 * hostlane_message_free(); it may outlive its peer.
 */
typedef struct hostlane_message_t hostlane_message_t;

/**
 * What every call that can fail returns: HOSTLANE_OK, or one of the HOSTLANE_E_ numbers. Numbers are never reused; a
 * newer library may return numbers that an older header does not list.
 */
typedef int32_t hostlane_status_t;

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
 * One operation of a context, finished or pending. Members that do not belong to the kind are zero.
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
     * The payload; belongs to `message` and is readable for as long as that.
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
     * The channel of the message.
     */
    uint16_t channel;
} hostlane_event_t;

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
     * Shared secret, 1 to 4096 bytes of UTF-8. NULL: none. Empty but not NULL is refused.
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
     * Bytes it is charged for now: payloads, and 64 for each message.
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
     * Calls that this side put on the wire.
     */
    uint64_t calls;
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
     * Shared secret every client has to show, 1 to 4096 bytes of UTF-8. NULL: none. Empty but not NULL is refused.
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
} hostlane_listen_options_t;

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
 * Waits for the next finished operation: poll and process in one call, for programs without a loop of their own. Free
 * the event with hostlane_events_free(event, 1).
 * Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED when a signal arrived (call again), HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_context_next(hostlane_context_t context,
                                        int64_t timeout_ms,
                                        hostlane_event_t *event,
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
 * it had finished already. A call that was sent ends its connection, like one that timed out. A number that is not
 * pending changes nothing.
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
 * Errors: HOSTLANE_E_INVALID_ARGUMENT, HOSTLANE_E_CLOSED.
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
 * The channel the message arrived on; 0 for NULL.
 */
uint16_t hostlane_message_channel(const hostlane_message_t *message);

/**
 * The payload: `*len` bytes (`len` may be NULL), readable until the message is freed. Never NULL for a message, even an
 * empty one; NULL for NULL.
 */
const uint8_t *hostlane_message_data(const hostlane_message_t *message, size_t *len);

/**
 * Answers a message with `len` bytes on the channel it came from; for a call this is its reply. The message stays
 * owned by the caller. Signals do not end this wait. Errors: those of hostlane_send().
 */
hostlane_status_t hostlane_reply(const hostlane_message_t *message,
                                 const void *data,
                                 size_t len,
                                 int64_t timeout_ms,
                                 hostlane_error_t **err);

/**
 * Frees `*message` and sets it to NULL. NULL, and a pointer to NULL, do nothing.
 */
void hostlane_message_free(hostlane_message_t **message);

/**
 * Sets every member to its default, and `size`. NULL does nothing.
 */
void hostlane_connect_options_init(hostlane_connect_options_t *options);

/**
 * Sets every member to its default, and `size`. NULL does nothing.
 */
void hostlane_listen_options_init(hostlane_listen_options_t *options);

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
 * Errors: HOSTLANE_E_INVALID_CHANNEL, HOSTLANE_E_PAYLOAD_TOO_LARGE, HOSTLANE_E_TIMEOUT, HOSTLANE_E_PEER_CLOSED,
 * HOSTLANE_E_CONNECTION_LOST, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
 */
hostlane_status_t hostlane_send(hostlane_peer_t peer,
                                uint16_t channel,
                                const void *data,
                                size_t len,
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
 * Calls the other side with `len` bytes and waits for its reply. On success the caller owns `*reply`. Calls of several
 * threads queue in order, one at a time on the wire. Signals do not end this wait.
 *
 * A call whose timeout passes after it was sent ends the connection, so that a late reply never answers the next call;
 * hostlane_error_sent() tells whether the other side may have seen it.
 *
 * Errors: those of hostlane_send() and hostlane_recv(), and HOSTLANE_E_QUEUE_FULL when 1024 calls wait already.
 */
hostlane_status_t hostlane_request(hostlane_peer_t peer,
                                   const void *data,
                                   size_t len,
                                   int64_t timeout_ms,
                                   hostlane_message_t **reply,
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
 * Closes the connection at once and gives the handle back. Every thread that waits in a call on the peer returns with
 * HOSTLANE_E_CLOSED. Never blocks. Closing twice changes nothing: the second call gives HOSTLANE_E_CLOSED.
 */
hostlane_status_t hostlane_close(hostlane_peer_t peer, hostlane_error_t **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HOSTLANE_H */
