//! What every language binding shares, and the only crate they depend on: the core API, a table of
//! generation-checked handles, the panic guard, and errors flattened into plain values.

mod flat;
mod guard;
pub mod handle;

pub use flat::Flat;
pub use guard::guard;
pub use hostlane::*;
