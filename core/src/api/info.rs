//! Who the other side is and what was agreed.

use std::time::Duration;

use crate::proto::channel::Channel;

/// Facts about a connection; they do not change while it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The name the accepting side gave to the connecting one, such as `peer-7`; the same on both.
    pub peer_id: String,
    /// Wire level of the connection (protocol.md).
    pub level: u8,
    /// Features beyond the level, agreed in the handshake.
    pub features: Vec<String>,
    /// Agreed channels, in the order the connecting side asked for them.
    pub channels: Vec<Channel>,
    /// Random id of this process's endpoint: 32 hex digits.
    pub instance: String,
    /// The other side's id, if it told one. On level 0 only the connecting side does.
    pub peer_instance: Option<String>,
    /// Who the kernel says the other side is; never from the wire. `None` where it cannot tell: TCP, and
    /// `stdio:` over pipes. Of a `spawn:` the child, as it was started. Of a Windows pipe the process alone.
    pub credentials: Option<Credentials>,
    /// What moves the bytes: `"unix"`, `"tcp"`, `"inproc"`, `"fd"`, `"stdio"`, `"spawn"` or `"pipe"`.
    pub carrier: &'static str,
    /// The address connected to, or the listener's.
    pub address: String,
    /// Largest payload this side accepts and sends, in bytes.
    pub max_message: usize,
    /// Calls of this side that the other side serves at a time.
    pub max_calls: usize,
    /// The other side asks for a sign of life when it hears nothing for so long. `None`: it does not.
    pub peer_keepalive: Option<Duration>,
}

/// Identity of the process at the other end when it connected or listened, from the kernel
/// (`SO_PEERCRED`). Use `uid` and `gid` for decisions; a `pid` may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: i32,
    /// User id. [`u32::MAX`] on Windows, which has none: a pipe lets its owner in alone.
    pub uid: u32,
    /// Group id. [`u32::MAX`] on Windows.
    pub gid: u32,
}
