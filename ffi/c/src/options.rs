//! Options structs: read whatever their size says, so that old programs and new libraries fit together.

use std::ffi::c_char;
use std::mem::{MaybeUninit, offset_of};
use std::time::Duration;

use hostlane_bridge::{Channel, Code, ConnectOptions, Error, ListenOptions, Result, Secret};

use crate::args::{array, text};

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
    /// Shared secret, 1 to 4096 bytes of UTF-8. NULL: none. Empty but not NULL is refused.
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
    /// Shared secret every client has to show, 1 to 4096 bytes of UTF-8. NULL: none. Empty but not NULL is refused.
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
}

/// Sets every member to its default, and `size`. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_connect_options_init(options: *mut hostlane_connect_options_t) {
    // SAFETY: null or writable, by the contract of the header; all bits zero is a value of the struct.
    unsafe { init(options) };
}

/// Sets every member to its default, and `size`. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_listen_options_init(options: *mut hostlane_listen_options_t) {
    // SAFETY: as above.
    unsafe { init(options) };
}

/// A struct that starts with its size. Only plain C structs whose all-zero value is right for every member.
///
/// # Safety
/// `T` is `repr(C)`, starts with `size: usize`, and may hold any bit pattern.
unsafe trait Versioned: Copy {
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

/// # Safety
/// Null or writable.
unsafe fn init<T: Versioned>(target: *mut T) {
    if !target.is_null() {
        // SAFETY: writable by the promise of the caller; zero and a leading size make a `T` by that of the trait.
        unsafe {
            target.write_bytes(0, 1);
            target.cast::<usize>().write(size_of::<T>());
        }
    }
}

/// No options struct of any version is longer: a size beyond is an uninitialised struct, not a newer one.
const LARGEST: usize = 4096;

/// Reads a struct of any age; what an older program does not have is zero, the default of every member.
///
/// # Safety
/// `source` is not null and points to as many readable bytes as its leading size says.
unsafe fn read<T: Versioned>(source: *const T) -> Result<T> {
    // SAFETY: the size member is there whatever the age of the struct.
    let size = unsafe { source.cast::<usize>().read_unaligned() };
    if !(T::FIRST..=LARGEST).contains(&size) {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("size is {size}: fill the struct with its _init function first"),
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
    };
}

/// # Safety
/// Null, or options as the header describes them.
pub(crate) unsafe fn connect(options: *const hostlane_connect_options_t) -> Result<ConnectOptions> {
    let mut built = ConnectOptions::new();
    if !options.is_null() {
        // SAFETY: not null, and by the contract of the header as long as its size says.
        let raw = unsafe { read(options) }?;
        apply_common!(built, raw);
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
