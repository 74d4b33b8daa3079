//! Every limit, a named number, once.
//!
//! A limit is checked before memory is allocated for what it limits. The limits a program may
//! change are the defaults of [`ConnectOptions`](crate::ConnectOptions) and
//! [`ListenOptions`](crate::ListenOptions); the others are fixed.

use std::time::Duration;

/// Largest payload of one message, in bytes, inclusive (16 MiB). A smaller value can be set per
/// connection; a larger one cannot, since a stock level-0 peer would refuse it.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Largest payload of a frame on channel 0, the handshake's and control messages, in bytes, inclusive
/// (protocol.md, "Frame"). During the handshake it holds for every channel.
pub const MAX_HANDSHAKE: usize = 16 * 1024;

/// Longest name of a protocol in a handshake, in bytes.
pub const MAX_PROTOCOL: usize = 32;

/// Longest version in a handshake, in bytes.
pub const MAX_VERSION: usize = 16;

/// Most channel entries in one handshake message, counted before duplicates are dropped.
pub const MAX_CHANNELS: usize = 256;

/// Longest `peer_id`, in bytes.
pub const MAX_PEER_ID: usize = 128;

/// Longest shared secret, in bytes.
pub const MAX_AUTH_TOKEN: usize = 4096;

/// Total time a handshake may take, from accept or connect to the last byte.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client of a listening socket that other servers share may take from being granted a place to taking it,
/// before others are served meanwhile.
pub const GRANT_PATIENCE: Duration = Duration::from_millis(100);

/// Unfinished handshakes per listener. One more drops the oldest.
pub const MAX_HALF_OPEN: usize = 256;

/// Finished handshakes that wait for an `accept`. At this number the listener stops taking
/// connections from the kernel's backlog.
pub const MAX_READY: usize = 128;

/// Accepts that may be pending on one listener in a context.
pub const MAX_ACCEPTS: usize = 1024;

/// Refusals a listener remembers until [`Listener::take_refusals`](crate::Listener::take_refusals).
pub const MAX_REFUSALS: usize = 64;

/// Connections the kernel holds for a listener before `accept`.
pub const LISTEN_BACKLOG: i32 = 1024;

/// Connections taken from the backlog in one turn, so that a flood cannot starve handshakes.
pub const ACCEPT_BATCH: usize = 64;

/// How long a listener stops accepting after the process ran out of descriptors or memory.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Received bytes that may wait for the application, per connection. At this bound reading
/// pauses; it goes on at half. The true bound is this plus one message.
pub const RECV_QUEUE: usize = 8 * 1024 * 1024;

/// Bytes that may wait to be sent, per connection. Above it a sender waits its turn.
pub const SEND_QUEUE: usize = 8 * 1024 * 1024;

/// What a queued message is charged beside its payload, so that empty messages are bounded too.
pub const MESSAGE_OVERHEAD: usize = 64;

/// What it is charged for each descriptor that comes with it, so that descriptors nobody takes are bounded too. They are
/// scarcer than bytes: a process has 1024 unless it asks for more. A channel that nobody reads keeps 16 in [`WINDOW_START`],
/// 256 in [`WINDOW`] and 1024 in [`WINDOW_DATA`], and those of one message more. With 1024 bytes each, [`WINDOW`] alone would
/// be worth all that a process has; with much more than 4096, a sender in the smallest window would wait after every message.
pub const DESCRIPTOR_OVERHEAD: usize = 4096;

/// Calls that may wait for their turn, or for a place at the other side; and the places that this side gives, unless told
/// otherwise.
pub const MAX_CALLS: usize = 1024;

/// Operations (receives, sends, calls, …) that may be pending on one connection.
pub const MAX_OPS: usize = 16 * 1024;

/// Control messages accepted from the other side in one second; one more ends the connection.
pub const CONTROL_RATE: u32 = 1000;

/// Pings this side starts in one second. Together with [`MAX_PINGS`] it stays below [`CONTROL_RATE`], so
/// that an answering peer with the same limits never takes honest pings for a flood, however late it reads.
pub const PING_RATE: u32 = CONTROL_RATE / 4;

/// Pings of this side that may be unanswered at a time.
pub const MAX_PINGS: usize = CONTROL_RATE as usize / 4;

/// Largest payload of a level-1 control frame, in bytes.
pub const MAX_CONTROL_FRAME: usize = 1024;

/// Largest payload of a level-1 frame that is skipped because its type is unknown.
pub const MAX_SKIPPED_FRAME: usize = 16 * 1024;

/// Most bytes of extensions in front of a message.
pub const MAX_EXTENSIONS: usize = 1024;

/// Longest idempotency key, and longest trace context, in bytes.
pub const MAX_KEY: usize = 64;

/// Most descriptors that go with one message.
pub const MAX_FDS: usize = 4;

/// Most features in a handshake.
pub const MAX_FEATURES: usize = 64;

/// Longest name of a feature, in bytes.
pub const MAX_FEATURE_NAME: usize = 64;

/// Bytes of a message that go into one frame, so that nothing waits long behind a large message.
pub const FRAGMENT: usize = 256 * 1024;

/// Bytes that a sender writes of a large message, and that a turn at the carrier moves, before anybody else has one.
pub const WRITTEN_AT_ONCE: usize = 4 * FRAGMENT;

/// Credit every channel starts with, in charged bytes.
pub const WINDOW_START: u64 = 64 * 1024;

/// Credit of COMMAND, TELEMETRY and ERROR, as far as [`WINDOWS`] allows.
pub const WINDOW: u64 = 1024 * 1024;

/// Credit of DATA and the program's channels, as far as [`WINDOWS`] allows.
pub const WINDOW_DATA: u64 = 4 * 1024 * 1024;

/// Credit of all channels of a connection together; each has [`WINDOW_START`] in any case.
pub const WINDOWS: u64 = 16 * 1024 * 1024;

/// Credit of each direction of a stream.
pub const STREAM_WINDOW: u64 = 256 * 1024;

/// Charged bytes that may wait on a channel whose policy is to drop, or inside a cork.
pub const CHANNEL_QUEUE: usize = 4 * 1024 * 1024;

/// Bytes of level-1 control frames that may wait to be sent while more is read, beside the ends of the calls that are
/// served at a time.
pub const CONTROL_QUEUE: usize = 256 * 1024;

/// Most bytes of the frame that ends a call without an answer.
pub const CALL_END: usize = 96;

/// Answers to pings, and on level 0 to shutdown requests, that the other side has not read.
pub const MAX_UNREAD_ANSWERS: usize = 1024;

/// Shortest keepalive.
pub const MIN_KEEPALIVE: Duration = Duration::from_millis(50);

/// The first pause of a link between two attempts, and the longest.
pub const LINK_DELAY: Duration = Duration::from_millis(10);
/// See [`LINK_DELAY`].
pub const LINK_MAX_DELAY: Duration = Duration::from_secs(2);
/// Longest pause a link may be told to make.
pub const MAX_LINK_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Events that a link keeps for the program; further messages wait with the connection, against its credit.
pub const LINK_EVENTS: usize = 64;

/// Requests that a thread in [`Link::serve`](crate::Link::serve) may be inside of at a time: one more takes stack for
/// handler and wait.
pub const LINK_NESTING: usize = 64;

/// How long one attempt of a link to connect may take.
pub const LINK_ATTEMPT: Duration = Duration::from_secs(5);

/// Events kept for [`log::drain`](crate::log::drain).
pub const LOG_EVENTS: usize = 1024;

/// How long the reason for ending a connection may take to leave.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often is looked after what nothing can watch, because the process has no descriptor left to be woken by, or the
/// kernel no room for one more to watch.
pub const UNWATCHED: Duration = Duration::from_millis(5);

/// Longest a blocking wait polls before it sleeps, in [`Spin::Auto`](crate::Spin::Auto).
pub const MAX_SPIN: Duration = Duration::from_micros(20);

/// The same for a new try to find the other side awake, which has to wake up first.
pub const MAX_TRIED_SPIN: Duration = Duration::from_micros(60);

/// Shortest such polling: less finds nobody and is only lost.
pub const MIN_SPIN: Duration = Duration::from_micros(5);

/// Longest polling that [`Spin::Micros`](crate::Spin::Micros) may ask for.
pub const MAX_FIXED_SPIN: Duration = Duration::from_millis(10);

/// Callers that take turns at one connection. While more wait, the process's I/O thread attends to it.
pub const MAX_LEADING_CALLERS: usize = if cfg!(shuttle) { 2 } else { 8 };

/// Longest socket path, in bytes. Every supported system takes at least this much.
pub const MAX_SOCKET_PATH: usize = 100;

/// Longest per-user name, in bytes.
pub const MAX_NAME: usize = 64;

/// Most schema files in one directory.
pub const MAX_SCHEMAS: usize = 256;

/// Largest schema file, in bytes.
pub const MAX_SCHEMA_FILE: usize = 256 * 1024;

/// Deepest nesting of arrays and objects in a message of channel 0, the handshake's and control messages, and in a schema
/// and a payload that is validated: all are walked recursively.
pub const MAX_JSON_DEPTH: usize = 64;
