#![doc = include_str!("../README.md")]

#[cfg(all(feature = "tokio", target_os = "linux"))]
pub mod aio;
pub mod limits;
pub mod log;

mod addr;
mod api;
mod driver;
mod error;
mod link;
mod os;
mod proto;
#[cfg(feature = "schema")]
pub mod schema;

pub use addr::Address;
pub use api::batch::{Batch, BatchMessage, Placed};
pub use api::call::{Call, CallOptions};
pub use api::info::{Credentials, Info};
pub use api::listener::{Listener, Refusal};
pub use api::message::Message;
pub use api::options::{ConnectOptions, ListenOptions, Spin};
pub use api::payload::Payload;
pub use api::peer::{Cork, Peer};
pub use api::stats::{ChannelStats, Depth, ListenerStats, Stats};
pub use api::stream::Stream;
pub use api::wait::Wait;
pub use driver::context::{Completion, Context, Outcome, Progress, Started};
pub use error::{Code, Error, Result, Sent};
pub use link::{Answer, HANDLER_FAILED, Link, LinkEvent, LinkOptions, LinkResult, Serving};
#[cfg(target_os = "linux")]
pub use os::rundir::runtime_directory;
pub use proto::Secret;
pub use proto::channel::Channel;
pub use proto::level1::Policy;
pub use proto::offer::Level;

/// What the bindings share with the core; no part of the API.
#[doc(hidden)]
pub use os::per_process::PerProcess;

/// What fuzz targets are made of.
#[cfg(fuzzing)]
#[doc(hidden)]
pub use proto::fuzz as fuzzing;

/// Reference-counted bytes, as payloads arrive.
pub use bytes::Bytes;
