//! The nouns a program uses.

pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod info;
pub(crate) mod listener;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod payload;
pub(crate) mod peer;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod wait;
