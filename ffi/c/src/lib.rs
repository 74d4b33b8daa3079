//! The C interface: one `extern "C"` function per operation, translated to `hostlane-bridge` and nothing else.
//!
//! The comments on the functions become `include/hostlane.h` and are written for its readers; the conventions they
//! share are stated once, at the top of that header and in docs/c-api.md. Those conventions are also the safety
//! contract of every function here: a pointer argument is NULL or points to what its type and length say, valid for
//! the whole call, and outputs are not shared with another thread during the call.

#![allow(unsafe_code, reason = "the whole purpose of this crate is to take pointers from C")]
#![allow(non_camel_case_types, reason = "the names are those of the header")]
#![allow(clippy::too_many_arguments, reason = "C has no other way to say them")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all functions, above and in the header")]

mod args;
mod objects;

#[allow(missing_docs, reason = "generated")]
pub mod status;

pub mod abi;
pub mod batch;
pub mod call;
pub mod context;
pub mod error;
pub mod event;
pub mod info;
pub mod link;
pub mod listener;
pub mod log;
pub mod message;
pub mod options;
pub mod peer;
pub mod stream;
pub mod submit;
