//! What every language binding shares, and the only crate they depend on: the core API, a table of
//! generation-checked handles, the panic guard, and errors flattened into plain values.

mod flat;
mod guard;
pub mod handle;

pub use flat::Flat;
pub use guard::guard;
pub use hostlane::*;

/// The code a call is failed with whose handler threw, panicked, or gave what is no answer, in every language that has such
/// handlers; the data says what happened, for people.
pub const HANDLER_FAILED: u32 = 1;
