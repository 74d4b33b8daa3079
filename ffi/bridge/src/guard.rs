//! Keeping panics on this side of a language boundary.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hostlane::{Code, Error, Result};

/// Runs the body of an exported function. A panic becomes the error `panic`, since unwinding into
/// another language is undefined.
pub fn guard<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing half-changed can be seen afterwards: core's locks survive a panic with complete state.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(Error::new(Code::Panic, text(&*payload))))
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a fault inside hostlane").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let error = guard::<()>(|| panic!("at {}", 7)).unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Panic, "at 7"));
        assert_eq!(guard(|| Ok(3)).unwrap(), 3);
    }
}
