//! One file for each command.

pub(crate) mod doctor;
pub(crate) mod echo;
pub(crate) mod envinfo;
pub(crate) mod info;
pub(crate) mod link;
pub(crate) mod listen;
pub(crate) mod request;
pub(crate) mod send;
pub(crate) mod stream;
pub(crate) mod version;
