//! Options structs: read whatever their size says, so that old programs and new libraries fit together.

use std::ffi::{OsStr, c_char};
use std::mem::{MaybeUninit, offset_of};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use hostlane_bridge::{Channel, Code, ConnectOptions, Error, Level, ListenOptions, Policy, Result, Secret, Spin};

use crate::args::{array, text};
use crate::batch::hostlane_bytes_t;

/// Control messages. Used by the library alone.
pub const HOSTLANE_CHANNEL_CONTROL: u16 = 0;
/// Calls and their replies.
pub const HOSTLANE_CHANNEL_COMMAND: u16 = 1;
/// One-way messages.
pub const HOSTLANE_CHANNEL_DATA: u16 = 2;
/// Measurements and logs.
pub const HOSTLANE_CHANNEL_TELEMETRY: u16 = 3;
/// Errors that a program reports to the other side.
pub const HOSTLANE_CHANNEL_ERROR: u16 = 4;
/// The first channel that programs number themselves; 5 to 255 are reserved.
pub const HOSTLANE_CHANNEL_USER: u16 = 256;

/// The highest level that both sides speak.
pub const HOSTLANE_LEVEL_AUTO: i32 = 0;
/// Level 0 alone, as a stock ipcprims peer.
pub const HOSTLANE_LEVEL_ZERO: i32 = 1;
/// Level 1 or nothing: HOSTLANE_E_VERSION_MISMATCH otherwise.
pub const HOSTLANE_LEVEL_ONE: i32 = 2;

/// Spins as long as it pays.
pub const HOSTLANE_SPIN_AUTO: i64 = 0;
/// Never spins.
pub const HOSTLANE_SPIN_OFF: i64 = -1;

/// A send without credit waits until its deadline.
pub const HOSTLANE_POLICY_BLOCK: i32 = 0;
/// It gets HOSTLANE_E_WOULD_BLOCK.
pub const HOSTLANE_POLICY_ERROR: i32 = 1;
/// The oldest messages that have not been sent make room; counted as dropped.
pub const HOSTLANE_POLICY_DROP_OLDEST: i32 = 2;
/// Only the newest message that has not been sent stays; the others are counted as dropped.
pub const HOSTLANE_POLICY_LATEST: i32 = 3;

/// What sends on a channel do when the other side has no room for more, on wire level 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_policy_t {
    /// HOSTLANE_POLICY_BLOCK and so on.
    pub policy: i32,
    /// The channel, one of the `channels` of the options.
    pub channel: u16,
}

/// How to connect. Fill it with hostlane_connect_options_init() first, then set what differs. The pointers are read
/// during the call that gets the options and not kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_connect_options_t {
    /// Size of this struct as the program knows it; set by hostlane_connect_options_init().
    pub size: usize,
    /// Channels to offer, without HOSTLANE_CHANNEL_CONTROL. NULL: 1 to 4.
    pub channels: *const u16,
    /// Number of `channels`, at most 256.
    pub channels_len: usize,
    /// Limit of the whole handshake, in milliseconds, beside the timeout of the call. 0: 5000.
    pub handshake_timeout_ms: i64,
    /// Token for a stock level-0 server, sent in clear, 1 to 4096 bytes of UTF-8; for other programs of hostlane there is
    /// `secret`. NULL: none. Empty but not NULL is refused.
    pub auth_token: *const c_char,
    /// Length of `auth_token`, in bytes.
    pub auth_token_len: usize,
    /// Largest payload to send or to accept, in bytes. 0: 16777216, which is also the most.
    pub max_message: u64,
    /// User ids the other side may run as. NULL: for a per-user name this user and root, elsewhere whoever the file mode
    /// of the socket lets in; refused for `unix:@name`, which has no file mode.
    pub allow_uids: *const u32,
    /// Number of `allow_uids`. 0 with an `allow_uids` that is not NULL: nobody.
    pub allow_uids_len: usize,
    /// Wire levels to agree to: HOSTLANE_LEVEL_AUTO and so on.
    pub level: i32,
    /// Not 0: messages may carry descriptors, where the other side agrees too; Unix-domain sockets alone.
    pub fds: i32,
    /// Secret that both sides prove to each other without sending it, 1 to 4096 bytes of UTF-8; demands wire level 1.
    /// NULL: none; mandatory for `tcp:`. Empty but not NULL is refused.
    pub secret: *const c_char,
    /// Length of `secret`, in bytes.
    pub secret_len: usize,
    /// Pings when nothing arrived for so long, in milliseconds, and ends the connection with
    /// HOSTLANE_E_PEER_UNRESPONSIVE when nothing arrives for twice as long again. 0: never; at least 50.
    pub keepalive_ms: i64,
    /// Calls of the other side that have a place here at a time: until the operating system has the whole answer, and if
    /// they were given up until the message is answered or freed. 0: HOSTLANE_MAX_CALLS; at most 16384.
    pub max_calls: u64,
    /// What sends do without credit, by channel. NULL: HOSTLANE_POLICY_DROP_OLDEST for HOSTLANE_CHANNEL_TELEMETRY,
    /// HOSTLANE_POLICY_BLOCK for the others.
    pub policies: *const hostlane_policy_t,
    /// Number of `policies`.
    pub policies_len: usize,
    /// How blocking waits look again and again for a moment before they sleep: HOSTLANE_SPIN_AUTO, HOSTLANE_SPIN_OFF, or
    /// up to so many microseconds before each sleep, at most 10000, for processors set aside for it.
    pub spin_us: i64,
    /// Program and arguments of a `spawn:` address, word for word, any bytes but NUL. The address is then `spawn:` with
    /// nothing behind it. NULL: what stands in the address.
    pub command: *const hostlane_bytes_t,
    /// Number of `command`.
    pub command_len: usize,
}

/// How to listen. Fill it with hostlane_listen_options_init() first, then set what differs. The pointers are read during
/// the call that gets the options and not kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_listen_options_t {
    /// Size of this struct as the program knows it; set by hostlane_listen_options_init().
    pub size: usize,
    /// Channels to grant, without HOSTLANE_CHANNEL_CONTROL. NULL: 1 to 4.
    pub channels: *const u16,
    /// Number of `channels`, at most 256.
    pub channels_len: usize,
    /// Limit of one client's whole handshake, in milliseconds. 0: 5000.
    pub handshake_timeout_ms: i64,
    /// Token that stock level-0 clients have to send, in clear, 1 to 4096 bytes of UTF-8; for other programs of hostlane
    /// there is `secret`. NULL: none. Empty but not NULL is refused.
    pub auth_token: *const c_char,
    /// Length of `auth_token`, in bytes.
    pub auth_token_len: usize,
    /// Largest payload to send or to accept, in bytes. 0: 16777216, which is also the most.
    pub max_message: u64,
    /// User ids that may connect. NULL: for a per-user name this user and root, elsewhere whoever the file mode of the
    /// socket lets in; refused for `unix:@name`, which has no file mode.
    pub allow_uids: *const u32,
    /// Number of `allow_uids`. 0 with an `allow_uids` that is not NULL: nobody.
    pub allow_uids_len: usize,
    /// Connections the kernel holds before they are accepted. 0: 1024.
    pub backlog: u32,
    /// Wire levels to agree to: HOSTLANE_LEVEL_AUTO and so on.
    pub level: i32,
    /// Not 0: messages may carry descriptors, where the other side agrees too; Unix-domain sockets alone.
    pub fds: i32,
    /// Secret that both sides prove to each other without sending it, 1 to 4096 bytes of UTF-8; demands wire level 1.
    /// NULL: none; mandatory for `tcp:`. Empty but not NULL is refused.
    pub secret: *const c_char,
    /// Length of `secret`, in bytes.
    pub secret_len: usize,
    /// Pings when nothing arrived for so long, in milliseconds, and ends the connection with
    /// HOSTLANE_E_PEER_UNRESPONSIVE when nothing arrives for twice as long again. 0: never; at least 50.
    pub keepalive_ms: i64,
    /// Calls of the other side that have a place here at a time: until the operating system has the whole answer, and if
    /// they were given up until the message is answered or freed. 0: HOSTLANE_MAX_CALLS; at most 16384.
    pub max_calls: u64,
    /// What sends do without credit, by channel. NULL: HOSTLANE_POLICY_DROP_OLDEST for HOSTLANE_CHANNEL_TELEMETRY,
    /// HOSTLANE_POLICY_BLOCK for the others.
    pub policies: *const hostlane_policy_t,
    /// Number of `policies`.
    pub policies_len: usize,
    /// How blocking waits look again and again for a moment before they sleep: HOSTLANE_SPIN_AUTO, HOSTLANE_SPIN_OFF, or
    /// up to so many microseconds before each sleep, at most 10000, for processors set aside for it.
    pub spin_us: i64,
}

/// Sets every member to its default and `size` to `size`, which is sizeof(hostlane_connect_options_t): no more than that is
/// written, whichever header the program was built with. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_connect_options_init(options: *mut hostlane_connect_options_t, size: usize) {
    // SAFETY: null or `size` writable bytes, by the contract of the header.
    unsafe { init(options, size) };
}

/// Sets every member to its default and `size` to `size`, which is sizeof(hostlane_listen_options_t): no more than that is
/// written, whichever header the program was built with. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_listen_options_init(options: *mut hostlane_listen_options_t, size: usize) {
    // SAFETY: null or `size` writable bytes, by the contract of the header.
    unsafe { init(options, size) };
}

/// A struct that starts with its size. Only plain C structs whose all-zero value is right for every member.
///
/// # Safety
/// `T` is `repr(C)`, starts with `size: usize`, and may hold any bit pattern.
pub(crate) unsafe trait Versioned: Copy {
    /// The size of the first published version of the struct: less is no such struct.
    const FIRST: usize;
}

// SAFETY: integers and pointers, `size` first.
unsafe impl Versioned for hostlane_connect_options_t {
    const FIRST: usize = offset_of!(Self, allow_uids_len) + size_of::<usize>();
}

// SAFETY: integers and pointers, `size` first.
unsafe impl Versioned for hostlane_listen_options_t {
    const FIRST: usize = offset_of!(Self, backlog) + size_of::<u32>();
}

/// Fills as much as the program has, which may be less or more than this library knows.
///
/// # Safety
/// Null, or `size` writable bytes.
pub(crate) unsafe fn init<T: Versioned>(target: *mut T, size: usize) {
    if target.is_null() || size < size_of::<usize>() {
        return;
    }
    // What is no struct of any version is marked as such.
    let size = if size > LARGEST { 0 } else { size };
    // SAFETY: writable by the promise of the caller, with room for the size as just checked.
    unsafe {
        target.cast::<u8>().write_bytes(0, size);
        target.cast::<usize>().write_unaligned(size);
    }
}

/// No options struct of any version is longer: a size beyond is an uninitialised struct, not a newer one.
const LARGEST: usize = 4096;

/// Reads a struct of any age; what an older program does not have is zero, the default of every member.
///
/// # Safety
/// `source` is not null and points to as many readable bytes as its leading size says.
pub(crate) unsafe fn read<T: Versioned>(source: *const T) -> Result<T> {
    // SAFETY: the size member is there whatever the age of the struct.
    let size = unsafe { source.cast::<usize>().read_unaligned() };
    if !(T::FIRST..=LARGEST).contains(&size) {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("size is {size}: fill the struct with its _init function and its sizeof first"),
        ));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are readable by the promise of the caller and fit into `value`.
    unsafe { value.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(source.cast(), known) };
    // SAFETY: the bytes behind, up to `size`, are readable by the same promise.
    let rest = unsafe { std::slice::from_raw_parts(source.cast::<u8>().add(known), size - known) };
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Error::new(
            Code::Unsupported,
            "the options set a member that this version of the library does not have",
        ));
    }
    // SAFETY: any bit pattern is a `T`, by the promise of the trait.
    Ok(unsafe { value.assume_init() })
}

/// Sets what the two kinds of options have in common. A macro, because core's builders share no type.
macro_rules! apply_common {
    ($built:ident, $raw:ident) => {
        // SAFETY: by the contract of the header the pointers are null or as long as their lengths say; nothing is kept.
        let (channels, token, uids) = unsafe {
            (
                array($raw.channels, $raw.channels_len, "options.channels")?,
                text($raw.auth_token, $raw.auth_token_len, "options.auth_token")?,
                array($raw.allow_uids, $raw.allow_uids_len, "options.allow_uids")?,
            )
        };
        if !$raw.channels.is_null() {
            let channels = channels.iter().map(|number| Channel::new(*number));
            $built = $built.channels(&channels.collect::<Result<Vec<_>>>()?);
        }
        if $raw.handshake_timeout_ms != 0 {
            let limit = u64::try_from($raw.handshake_timeout_ms).map_err(|_| {
                Error::new(Code::InvalidArgument, "options.handshake_timeout_ms is negative: a handshake has a limit")
            })?;
            $built = $built.handshake_timeout(Duration::from_millis(limit));
        }
        if !$raw.auth_token.is_null() {
            $built = $built.auth_token(Secret::new(token)?);
        }
        if $raw.max_message != 0 {
            $built = $built.max_message(usize::try_from($raw.max_message).unwrap_or(usize::MAX));
        }
        if !$raw.allow_uids.is_null() {
            $built = $built.allow_uids(uids);
        }
        // SAFETY: as above.
        let (secret, policies) = unsafe {
            (
                text($raw.secret, $raw.secret_len, "options.secret")?,
                array($raw.policies, $raw.policies_len, "options.policies")?,
            )
        };
        if !$raw.secret.is_null() {
            $built = $built.secret(Secret::new(secret)?);
        }
        $built = $built.level(level($raw.level)?).fds($raw.fds != 0);
        if $raw.keepalive_ms != 0 {
            let every = u64::try_from($raw.keepalive_ms)
                .map_err(|_| Error::new(Code::InvalidArgument, "options.keepalive_ms is negative"))?;
            $built = $built.keepalive(Duration::from_millis(every));
        }
        if $raw.max_calls != 0 {
            $built = $built.max_calls(usize::try_from($raw.max_calls).unwrap_or(usize::MAX));
        }
        $built = $built.spin(spin($raw.spin_us)?);
        for one in policies {
            $built = $built.policy(Channel::new(one.channel)?, policy(one.policy)?);
        }
    };
}

fn level(number: i32) -> Result<Level> {
    match number {
        HOSTLANE_LEVEL_AUTO => Ok(Level::Auto),
        HOSTLANE_LEVEL_ZERO => Ok(Level::Zero),
        HOSTLANE_LEVEL_ONE => Ok(Level::One),
        _ => Err(Error::new(Code::InvalidArgument, format!("options.level: {number} is none of HOSTLANE_LEVEL_"))),
    }
}

fn spin(micros: i64) -> Result<Spin> {
    match micros {
        HOSTLANE_SPIN_AUTO => Ok(Spin::Auto),
        HOSTLANE_SPIN_OFF => Ok(Spin::Off),
        _ => Ok(Spin::Micros(u32::try_from(micros).map_err(|_| {
            Error::new(Code::InvalidArgument, format!("options.spin_us: {micros} is not a number of microseconds"))
        })?)),
    }
}

fn policy(number: i32) -> Result<Policy> {
    match number {
        HOSTLANE_POLICY_BLOCK => Ok(Policy::Block),
        HOSTLANE_POLICY_ERROR => Ok(Policy::Error),
        HOSTLANE_POLICY_DROP_OLDEST => Ok(Policy::DropOldest),
        HOSTLANE_POLICY_LATEST => Ok(Policy::Latest),
        _ => Err(Error::new(Code::InvalidArgument, format!("options.policies: {number} is none of HOSTLANE_POLICY_"))),
    }
}

/// # Safety
/// Null, or options as the header describes them.
pub(crate) unsafe fn connect(options: *const hostlane_connect_options_t) -> Result<ConnectOptions> {
    let mut built = ConnectOptions::new();
    if !options.is_null() {
        // SAFETY: not null, and by the contract of the header as long as its size says.
        let raw = unsafe { read(options) }?;
        apply_common!(built, raw);
        if !raw.command.is_null() {
            // SAFETY: by the contract of the header as long as their lengths say; nothing is kept.
            let words = unsafe { array(raw.command, raw.command_len, "options.command")? };
            // SAFETY: as above.
            let words = words.iter().map(|word| unsafe { word.slice() }.map(OsStr::from_bytes));
            built = built.command(&words.collect::<Result<Vec<_>>>()?);
        }
    }
    Ok(built)
}

/// # Safety
/// Null, or options as the header describes them.
pub(crate) unsafe fn listen(options: *const hostlane_listen_options_t) -> Result<ListenOptions> {
    let mut built = ListenOptions::new();
    if !options.is_null() {
        // SAFETY: not null, and by the contract of the header as long as its size says.
        let raw = unsafe { read(options) }?;
        apply_common!(built, raw);
        if raw.backlog != 0 {
            let backlog = u16::try_from(raw.backlog)
                .map_err(|_| Error::new(Code::InvalidArgument, "options.backlog is more than 65535"))?;
            built = built.backlog(backlog);
        }
    }
    Ok(built)
}
