//! The tables behind the handles. C holds numbers, never pointers, so a stale or invented handle is an error code.

use std::cell::Cell;
use std::sync::Arc;

use hostlane_bridge::handle::Table;
use hostlane_bridge::{Call, Code, Context, Error, Link, Peer, Result, Stream};

use crate::abi::hostlane_status_t;
use crate::args::call;
use crate::call::hostlane_call_t;
use crate::context::hostlane_context_t;
use crate::error::hostlane_error_t;
use crate::link::hostlane_link_t;
use crate::listener::{Listening, hostlane_listener_t};
use crate::peer::hostlane_peer_t;
use crate::stream::hostlane_stream_t;

/// A handle of the header and the object it names.
pub(crate) trait Handle: Copy {
    type Object: Object<Handle = Self>;

    fn id(self) -> u64;

    /// Runs one entry point on the object. After a panic nobody knows its state, so it is closed.
    fn call(
        self,
        err: *mut *mut hostlane_error_t,
        body: impl FnOnce(&Self::Object) -> Result<()>,
    ) -> hostlane_status_t {
        // The status does not tell: an error of the same number may have come in as a value.
        let broken = Cell::new(false);
        let status = call(err, || {
            let object = get(self)?;
            broken.set(true);
            let result = body(&object);
            broken.set(false);
            result
        });
        if broken.get() {
            close(self, std::ptr::null_mut());
        }
        status
    }
}

/// An object that lives in a table.
pub(crate) trait Object: Sized + Send + Sync + 'static {
    type Handle: Handle<Object = Self>;

    fn handle(id: u64) -> Self::Handle;
    fn objects() -> &'static Table<Self>;
    fn close(&self);
}

/// Puts an object into its table; the handle is the caller's to close.
pub(crate) fn issue<T: Object>(object: T) -> T::Handle {
    T::handle(T::objects().insert(object))
}

/// The object, kept alive for the call even when another thread closes the handle meanwhile.
pub(crate) fn get<H: Handle>(handle: H) -> Result<Arc<H::Object>> {
    H::Object::objects().get(handle.id())
}

/// Closes the object and takes the handle back; threads that are inside the object keep it until they return.
pub(crate) fn close<H: Handle>(handle: H, err: *mut *mut hostlane_error_t) -> hostlane_status_t {
    call(err, || {
        H::Object::objects().remove(handle.id())?.close();
        Ok(())
    })
}

/// Takes an object out that its one use consumes. `closed` when it was taken before.
pub(crate) fn take<H: Handle>(handle: H) -> Result<H::Object> {
    let object = H::Object::objects().remove(handle.id())?;
    // Nobody else holds it: objects that are taken are used in no other way.
    Arc::into_inner(object).ok_or_else(|| Error::new(Code::Closed, "the handle is in use"))
}

macro_rules! object {
    ($kind:literal, $object:ty, $handle:ident, $table:ident, $close:expr) => {
        static $table: Table<$object> = Table::new($kind);

        impl Handle for $handle {
            type Object = $object;

            fn id(self) -> u64 {
                self.id
            }
        }

        impl Object for $object {
            type Handle = $handle;

            fn handle(id: u64) -> $handle {
                $handle { id }
            }

            fn objects() -> &'static Table<$object> {
                &$table
            }

            fn close(&self) {
                let close: fn(&Self) = $close;
                close(self);
            }
        }
    };
}

object!(1, Peer, hostlane_peer_t, PEERS, Peer::close);
object!(2, Listening, hostlane_listener_t, LISTENERS, |listening: &Listening| listening.listener.close());
object!(3, Context, hostlane_context_t, CONTEXTS, Context::close);
object!(4, Link, hostlane_link_t, LINKS, Link::close);
object!(5, Stream, hostlane_stream_t, STREAMS, Stream::close);
// A call is only ever taken, and then dropping it gives it up.
object!(6, Call, hostlane_call_t, CALLS, |_| ());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{HOSTLANE_E_CLOSED, HOSTLANE_E_INVALID_HANDLE, HOSTLANE_E_PANIC, HOSTLANE_OK};

    #[test]
    fn a_panic_closes_the_object_and_nothing_else() {
        let none = std::ptr::null_mut();
        let broken = issue(Context::new().unwrap());
        let other = issue(Context::new().unwrap());
        let told = || Err(Error::new(Code::Panic, "somebody else's"));
        assert_eq!(broken.call(none, |_| told()), HOSTLANE_E_PANIC);
        assert_eq!(broken.call(none, |_| Ok(())), HOSTLANE_OK);
        assert_eq!(broken.call(none, |_| panic!("injected")), HOSTLANE_E_PANIC);
        assert_eq!(broken.call(none, |_| Ok(())), HOSTLANE_E_CLOSED);
        assert_eq!(other.call(none, |_| Ok(())), HOSTLANE_OK);
        assert_eq!(close(other, none), HOSTLANE_OK);
        assert_eq!(close(other, none), HOSTLANE_E_CLOSED);
    }

    #[test]
    fn only_issued_handles_are_closed() {
        let context = issue(Context::new().unwrap());
        close(context, std::ptr::null_mut());
        let never = [0, 1, u64::MAX, context.id() + (1 << 40), context.id() & 0xffff_ffff];
        for id in never {
            let forged = hostlane_context_t { id };
            assert_eq!(forged.call(std::ptr::null_mut(), |_| Ok(())), HOSTLANE_E_INVALID_HANDLE);
        }
    }
}
