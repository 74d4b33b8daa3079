//! The few functions of libuv the wait needs, looked up in the running program.
//!
//! They are not linked: an addon that names them as symbols fails to load in a host without libuv. libuv keeps its ABI within a
//! major version, and sizes are asked for at run time, so no header of one particular version is built in.

use std::alloc::Layout;
use std::ffi::{CStr, c_char, c_int, c_void};

use libloading::os::unix::Library;
use napi::bindgen_prelude::{Error, Result};

/// `uv_loop_t`, only ever behind a pointer.
pub(super) type Loop = c_void;
/// The public head of every libuv handle, `uv_poll_t` among them; the rest is libuv's own.
#[repr(C)]
pub(super) struct Handle {
    /// Free for the owner of the handle; libuv never touches it.
    pub(super) data: *mut c_void,
}

/// `uv_poll_cb`.
pub(super) type PollCallback = unsafe extern "C" fn(handle: *mut Handle, status: c_int, events: c_int);
/// `uv_close_cb`.
pub(super) type CloseCallback = unsafe extern "C" fn(handle: *mut Handle);

/// `UV_READABLE`.
pub(super) const READABLE: c_int = 1;
/// `UV_POLL` of `uv_handle_type`; checked against its name before use.
const POLL: c_int = 8;

/// The functions, by their names in libuv.
#[derive(Clone, Copy)]
pub(super) struct Uv {
    pub(super) poll_init: unsafe extern "C" fn(*mut Loop, *mut Handle, c_int) -> c_int,
    pub(super) poll_start: unsafe extern "C" fn(*mut Handle, c_int, PollCallback) -> c_int,
    pub(super) poll_stop: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) close: unsafe extern "C" fn(*mut Handle, CloseCallback),
    pub(super) reference: unsafe extern "C" fn(*mut Handle),
    pub(super) unreference: unsafe extern "C" fn(*mut Handle),
    /// Size and alignment of a `uv_poll_t` of this host.
    pub(super) poll_layout: Layout,
}

impl Uv {
    /// Finds the functions in the running program, or says which one is missing.
    pub(super) fn find() -> Result<Uv> {
        let program = Library::this();
        // SAFETY: each name is a function of libuv's public, stable ABI, and the field it goes to has its C signature.
        unsafe {
            let handle_size: unsafe extern "C" fn(c_int) -> usize = get(&program, c"uv_handle_size")?;
            let type_name: unsafe extern "C" fn(c_int) -> *const c_char = get(&program, c"uv_handle_type_name")?;
            let name = type_name(POLL);
            if name.is_null() || CStr::from_ptr(name) != c"poll" {
                return Err(Error::from_reason("this host numbers the handle types of libuv in another way"));
            }
            Ok(Uv {
                poll_init: get(&program, c"uv_poll_init")?,
                poll_start: get(&program, c"uv_poll_start")?,
                poll_stop: get(&program, c"uv_poll_stop")?,
                close: get(&program, c"uv_close")?,
                reference: get(&program, c"uv_ref")?,
                unreference: get(&program, c"uv_unref")?,
                poll_layout: Layout::from_size_align(handle_size(POLL), 16)
                    .map_err(|error| Error::from_reason(error.to_string()))?,
            })
        }
    }
}

/// # Safety
/// `T` is the C function pointer type of the symbol.
unsafe fn get<T: Copy>(program: &Library, name: &CStr) -> Result<T> {
    // SAFETY: handed on to the caller.
    unsafe { program.get::<T>(name.to_bytes_with_nul()) }
        .map(|symbol| *symbol)
        .map_err(|error| Error::from_reason(format!("this host has no {}: {error}", name.to_string_lossy())))
}
