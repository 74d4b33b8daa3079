//! The context's descriptor in the event loop itself: `uv_poll`, everything on the JavaScript thread.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;

use napi::bindgen_prelude::{Env, Error, JsValue, Result, check_status, sys};

use super::Wake;
use super::uv::{Handle, READABLE, Uv};

/// An active `uv_poll_t` on the event loop of one environment.
pub(crate) struct Poll(Rc<State>);

/// Shared by the addon and the handle. The handle's share is a raw pointer: libuv keeps it as the handle's data, Node as the
/// argument of the cleanup hook, and [`on_closed`], the last call there is for a handle, takes it back.
struct State {
    uv: Uv,
    handle: *mut Handle,
    env: sys::napi_env,
    wake: sys::napi_ref,
    async_context: sys::napi_async_context,
    /// What Node waits for while the handle closes; set by the cleanup hook, after which the handle is not touched any more.
    hook: Cell<sys::napi_async_cleanup_hook_handle>,
    /// A duplicate, so that the context may go before the handle does.
    _fd: OwnedFd,
}

impl Poll {
    pub(super) fn start(env: &Env, fd: OwnedFd, wake: &Wake<'_>) -> Result<Poll> {
        let uv = Uv::find()?;
        let raw = env.raw();
        let event_loop = env.get_uv_event_loop()?;
        let (wake, async_context) = references(raw, wake)?;

        // SAFETY: the layout is not of size zero: libuv gave it for a handle type it knows.
        let handle = unsafe { alloc_zeroed(uv.poll_layout) }.cast::<Handle>();
        if handle.is_null() {
            handle_alloc_error(uv.poll_layout);
        }
        // SAFETY: the loop is that of this environment, whose thread this is; the memory is of the size libuv asked for.
        if unsafe { (uv.poll_init)(event_loop.cast(), handle, fd.as_raw_fd()) } != 0 {
            // SAFETY: allocated above with this layout, and libuv did not take it.
            unsafe { dealloc(handle.cast(), uv.poll_layout) };
            return Err(Error::from_reason("the event loop cannot watch the descriptor of the context"));
        }

        let hook = Cell::new(ptr::null_mut());
        let state = Rc::new(State { uv, handle, env: raw, wake, async_context, hook, _fd: fd });
        let share = Rc::into_raw(Rc::clone(&state)).cast_mut().cast::<c_void>();
        // SAFETY: an initialised handle on its own thread, its memory ours until `on_closed`; `share` is valid until then too,
        // and the hook runs before it.
        let started = unsafe {
            (*handle).data = share;
            (uv.unreference)(handle);
            check_status!(sys::napi_add_async_cleanup_hook(raw, Some(clean_up), share, ptr::null_mut()))?;
            (uv.poll_start)(handle, READABLE, on_readable)
        };
        if started != 0 {
            // The hook closes the handle when the environment ends.
            return Err(Error::from_reason("the event loop refuses to watch the descriptor of the context"));
        }
        Ok(Poll(state))
    }

    pub(super) fn set_ref(&self, on: bool) {
        let State { uv, handle, hook, .. } = &*self.0;
        if !hook.get().is_null() {
            return;
        }
        // SAFETY: the handle is initialised and not closing, and this is its thread: `Poll` is not `Send`.
        unsafe { if on { (uv.reference)(*handle) } else { (uv.unreference)(*handle) } }
    }
}

/// The wake function, kept from being collected, and the async context its calls belong to.
fn references(env: sys::napi_env, wake: &Wake<'_>) -> Result<(sys::napi_ref, sys::napi_async_context)> {
    const NAME: &str = "hostlane";
    let mut name = ptr::null_mut();
    let mut reference = ptr::null_mut();
    let mut context = ptr::null_mut();
    // SAFETY: `env` is the environment of the call this runs in, `wake` a value of that call, the outputs are locals.
    unsafe {
        check_status!(sys::napi_create_reference(env, wake.value().value, 1, &raw mut reference))?;
        check_status!(sys::napi_create_string_utf8(env, NAME.as_ptr().cast(), NAME.len() as isize, &raw mut name))?;
        check_status!(sys::napi_async_init(env, ptr::null_mut(), name, &raw mut context))?;
    }
    Ok((reference, context))
}

/// `uv_poll_cb`: the descriptor is readable. (Or the wait on it failed; then the drain reports what is wrong with it.)
unsafe extern "C" fn on_readable(handle: *mut Handle, _status: c_int, _events: c_int) {
    // SAFETY: libuv passes the handle made in `start`. Its data is a share of the state, which only `on_closed` gives up, and
    // libuv makes no other call for a handle after that one.
    let state = unsafe { &*(*handle).data.cast_const().cast::<State>() };
    let env = state.env;
    let mut scope = ptr::null_mut();
    // SAFETY: libuv calls on the JavaScript thread while the environment lives: the handle stops in its cleanup hook. The scope
    // is closed on every way out; the values are made and used inside it.
    unsafe {
        if sys::napi_open_handle_scope(env, &raw mut scope) != sys::Status::napi_ok {
            return;
        }
        let (mut wake, mut receiver, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        if sys::napi_get_reference_value(env, state.wake, &raw mut wake) == sys::Status::napi_ok
            && sys::napi_get_global(env, &raw mut receiver) == sys::Status::napi_ok
        {
            // make_callback, not call_function: it also runs the promise jobs of the operations that are settled here.
            let status =
                sys::napi_make_callback(env, state.async_context, receiver, wake, 0, ptr::null(), &raw mut result);
            if status == sys::Status::napi_pending_exception {
                // As Node treats any exception of a callback: `uncaughtException`, or the end of the process.
                let mut exception = ptr::null_mut();
                if sys::napi_get_and_clear_last_exception(env, &raw mut exception) == sys::Status::napi_ok {
                    sys::napi_fatal_exception(env, exception);
                }
            }
            // Any other status means that the environment is being torn down and runs no JavaScript any more.
        }
        sys::napi_close_handle_scope(env, scope);
    }
}

/// Node's cleanup hook: the environment ends. Node keeps its event loop turning until the hook's handle is removed, which
/// [`on_closed`] does; a loop with a handle still in it would abort the process.
unsafe extern "C" fn clean_up(hook: sys::napi_async_cleanup_hook_handle, share: *mut c_void) {
    // SAFETY: `share` is the one of `start`, valid until `on_closed`, which cannot have run: only this closes the handle, and
    // Node calls a hook once, on the JavaScript thread.
    unsafe {
        let state = &*share.cast_const().cast::<State>();
        state.hook.set(hook);
        // What these two return does not matter any more: the environment frees what it still holds.
        sys::napi_delete_reference(state.env, state.wake);
        sys::napi_async_destroy(state.env, state.async_context);
        (state.uv.poll_stop)(state.handle);
        (state.uv.close)(state.handle, on_closed);
    }
}

/// `uv_close_cb`: libuv has let go of the handle.
unsafe extern "C" fn on_closed(handle: *mut Handle) {
    // SAFETY: called once per handle, after which libuv touches neither it nor its data. The share is the one `start` made, and
    // the memory was allocated there with this layout.
    unsafe {
        let state = Rc::from_raw((*handle).data.cast_const().cast::<State>());
        dealloc(handle.cast(), state.uv.poll_layout);
        sys::napi_remove_async_cleanup_hook(state.hook.get());
    }
}
