//! Facts and counters of a connection and of a listener.

use std::ffi::c_char;

use hostlane_bridge::{ChannelStats, Code, Depth, Error, Info, ListenerStats, Result, Stats};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out};
use crate::error::hostlane_error_t;
use crate::listener::hostlane_listener_t;
use crate::objects::Handle;
use crate::peer::hostlane_peer_t;

/// Who the other side is and what the handshake agreed on. Constant for the life of the connection. Texts are terminated.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_info_t {
    /// Process id of the other side when it connected or listened, from the kernel. May be reused: never decide by it.
    /// 0 where the kernel cannot tell: tcp:, and stdio: over pipes.
    pub pid: i32,
    /// User id of the other side, from the kernel; UINT32_MAX where it cannot tell.
    pub uid: u32,
    /// Group id of the other side, from the kernel; UINT32_MAX where it cannot tell.
    pub gid: u32,
    /// Wire level (docs/protocol.md).
    pub level: u32,
    /// Largest payload that this side sends and accepts, in bytes.
    pub max_message: u64,
    /// Calls of this side that the other side serves at a time.
    pub max_calls: u64,
    /// The other side asks for a sign of life when it hears nothing for so long, in milliseconds. 0: it does not.
    pub peer_keepalive_ms: i64,
    /// The name the listening side gave to the connecting one, such as "peer-7"; the same on both.
    pub peer_id: [c_char; 136],
    /// Random id of this endpoint: 32 hexadecimal digits.
    pub instance: [c_char; 40],
    /// The other side's id; empty when it told none.
    pub peer_instance: [c_char; 40],
    /// What moves the bytes: "unix", "tcp", "inproc", "fd", "stdio" or "spawn".
    pub carrier: [c_char; 16],
    /// Agreed features beyond the level, separated by spaces.
    pub features: [c_char; 256],
    /// Agreed channels, in the order the connecting side asked for them.
    pub channels: [u16; 256],
    /// Number of `channels`.
    pub channels_len: usize,
}

/// A bounded queue.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_depth_t {
    /// Messages in it now.
    pub messages: u64,
    /// Bytes it is charged for now: payloads, 64 for each message, and 4096 for each descriptor that goes with one.
    pub bytes: u64,
    /// The most bytes it was ever charged for.
    pub peak_bytes: u64,
}

/// What a connection did since its handshake.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_stats_t {
    /// Messages accepted for sending, over all channels.
    pub messages_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Messages that arrived, replies among them, over all channels.
    pub messages_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Calls that this side put on the wire: the operating system took a byte of them.
    pub calls: u64,
    /// Calls of this side that have a place at the other: no answer has come, also of those that were given up. Wire
    /// level 1 only, as the next four.
    pub open_calls: u64,
    /// Calls of the other side that arrived and got a place.
    pub calls_served: u64,
    /// Calls of the other side that have a place: the operating system has no whole answer yet, or they were given up and
    /// the program still has them.
    pub open_served: u64,
    /// Calls that had left and ended without an answer because this side gave them up or their time
    /// was over; not those that were lost with the connection.
    pub calls_cancelled: u64,
    /// Frames that came for calls that had ended; they are dropped.
    pub late: u64,
    /// Operations that wait now.
    pub pending_operations: u64,
    /// Received messages that wait for the program.
    pub receive_queue: hostlane_depth_t,
    /// Messages that wait for the operating system.
    pub send_queue: hostlane_depth_t,
}

/// What one channel of a connection did since the handshake.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_channel_stats_t {
    /// Messages accepted for sending.
    pub messages_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Messages that arrived, replies among them.
    pub messages_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Messages that wait for the program now.
    pub queued: u64,
    /// What they are charged: their payload bytes, 64 for each, and 4096 for each of their descriptors. Wire level 1 only,
    /// as everything below.
    pub queued_bytes: u64,
    /// The most of it ever.
    pub queued_bytes_peak: u64,
    /// Messages that wait to be sent now.
    pub send_queued: u64,
    /// What they are charged.
    pub send_queued_bytes: u64,
    /// The most of it ever.
    pub send_queued_bytes_peak: u64,
    /// Charged bytes the other side would take now.
    pub send_credit: u64,
    /// Messages this side dropped by the policy of the channel.
    pub dropped: u64,
    /// Messages the other side says it dropped.
    pub dropped_by_peer: u64,
}

/// What a listener did so far, and what it holds now.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_listener_stats_t {
    /// Connections taken from the kernel.
    pub connections: u64,
    /// Handshakes that ended well.
    pub accepted: u64,
    /// Handshakes refused, for whatever reason.
    pub refused: u64,
    /// Handshakes running now.
    pub half_open: u64,
    /// Peers that wait for hostlane_accept() now.
    pub ready: u64,
    /// Times accepting paused because descriptors or memory ran out.
    pub pauses: u64,
}

/// Tells who is on the other side of a peer. Never blocks; works on peers of any driver.
/// Errors: HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_info(
    peer: hostlane_peer_t,
    info: *mut hostlane_info_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `info`.
        let out = unsafe { Out::new(info, "info") }?;
        out.set(flat_info(&peer.info()?)?);
        Ok(())
    })
}

/// The address a peer connected to, or that of the listener that accepted it, as hostlane_listener_address() gives it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_peer_address(
    peer: hostlane_peer_t,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    // SAFETY: the contract of the header for `buf` and `len`.
    peer.call(err, |peer| unsafe { args::copy_text(&peer.info()?.address, buf, cap, len) })
}

/// Reads the counters of a peer. Never blocks; works on peers of any driver.
/// Errors: HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stats(
    peer: hostlane_peer_t,
    stats: *mut hostlane_stats_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `stats`.
        let out = unsafe { Out::new(stats, "stats") }?;
        out.set(flat_stats(&peer.stats()?));
        Ok(())
    })
}

/// Reads the counters of one channel of a peer.
/// Errors: HOSTLANE_E_INVALID_CHANNEL when it was not agreed, HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stats_on(
    peer: hostlane_peer_t,
    channel: u16,
    stats: *mut hostlane_channel_stats_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `stats`.
        let out = unsafe { Out::new(stats, "stats") }?;
        out.set(stats_on(&peer.stats()?, channel)?);
        Ok(())
    })
}

/// Reads the counters of a listener. Never blocks; works on listeners of any driver.
/// Errors: HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_listener_stats(
    listener: hostlane_listener_t,
    stats: *mut hostlane_listener_stats_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    listener.call(err, |listening| {
        // SAFETY: the contract of the header for `stats`.
        let out = unsafe { Out::new(stats, "stats") }?;
        out.set(flat_listener(&listening.listener.stats()?));
        Ok(())
    })
}

pub(crate) fn flat_info(info: &Info) -> Result<hostlane_info_t> {
    let mut channels = [0; 256];
    for (slot, channel) in channels.iter_mut().zip(&info.channels) {
        *slot = channel.number();
    }
    Ok(hostlane_info_t {
        pid: info.credentials.map_or(0, |who| who.pid),
        uid: info.credentials.map_or(u32::MAX, |who| who.uid),
        gid: info.credentials.map_or(u32::MAX, |who| who.gid),
        level: info.level.into(),
        max_message: info.max_message as u64,
        max_calls: info.max_calls as u64,
        peer_keepalive_ms: info.peer_keepalive.map_or(0, |every| i64::try_from(every.as_millis()).unwrap_or(i64::MAX)),
        peer_id: terminated(&info.peer_id)?,
        instance: terminated(&info.instance)?,
        peer_instance: terminated(info.peer_instance.as_deref().unwrap_or_default())?,
        carrier: terminated(info.carrier)?,
        features: terminated(&info.features.join(" "))?,
        channels,
        channels_len: info.channels.len(),
    })
}

/// A text in an array of C. All of them are bounded by the handshake; a longer one is a fault of this library, which is
/// said rather than cut.
fn terminated<const N: usize>(text: &str) -> Result<[c_char; N]> {
    let mut array = [0; N];
    if text.len() >= N {
        return Err(Error::new(Code::Internal, format!("{text:?} is too long for hostlane_info_t")));
    }
    for (slot, byte) in array.iter_mut().zip(text.bytes()) {
        *slot = byte as c_char;
    }
    Ok(array)
}

pub(crate) fn flat_stats(stats: &Stats) -> hostlane_stats_t {
    let sum = |counter: fn(&ChannelStats) -> u64| stats.channels.iter().map(counter).sum();
    hostlane_stats_t {
        messages_sent: sum(|channel| channel.messages_sent),
        bytes_sent: sum(|channel| channel.bytes_sent),
        messages_received: sum(|channel| channel.messages_received),
        bytes_received: sum(|channel| channel.bytes_received),
        calls: stats.calls,
        open_calls: stats.open_calls as u64,
        calls_served: stats.calls_served,
        open_served: stats.open_served as u64,
        calls_cancelled: stats.calls_cancelled,
        late: stats.late,
        pending_operations: stats.pending_operations as u64,
        receive_queue: flat_depth(stats.receive_queue),
        send_queue: flat_depth(stats.send_queue),
    }
}

pub(crate) fn stats_on(stats: &Stats, channel: u16) -> Result<hostlane_channel_stats_t> {
    let one = stats.channels.iter().find(|entry| entry.channel.number() == channel);
    one.map(flat_channel)
        .ok_or_else(|| Error::new(Code::InvalidChannel, format!("channel {channel} is not one of this connection")))
}

fn flat_depth(depth: Depth) -> hostlane_depth_t {
    hostlane_depth_t { messages: depth.messages as u64, bytes: depth.bytes as u64, peak_bytes: depth.peak_bytes as u64 }
}

fn flat_channel(stats: &ChannelStats) -> hostlane_channel_stats_t {
    hostlane_channel_stats_t {
        messages_sent: stats.messages_sent,
        bytes_sent: stats.bytes_sent,
        messages_received: stats.messages_received,
        bytes_received: stats.bytes_received,
        queued: stats.queued as u64,
        queued_bytes: stats.queued_bytes as u64,
        queued_bytes_peak: stats.queued_bytes_peak as u64,
        send_queued: stats.send_queued as u64,
        send_queued_bytes: stats.send_queued_bytes as u64,
        send_queued_bytes_peak: stats.send_queued_bytes_peak as u64,
        send_credit: stats.send_credit,
        dropped: stats.dropped,
        dropped_by_peer: stats.dropped_by_peer,
    }
}

fn flat_listener(stats: &ListenerStats) -> hostlane_listener_stats_t {
    hostlane_listener_stats_t {
        connections: stats.connections,
        accepted: stats.accepted,
        refused: stats.refused.values().sum(),
        half_open: stats.half_open as u64,
        ready: stats.ready as u64,
        pauses: stats.pauses,
    }
}
