//! Facts and counters as plain JavaScript objects; `node/src/info.ts` documents their members.
#![allow(missing_docs, reason = "documented where programs see them")]

use hostlane_bridge as core;
use napi_derive::napi;

use crate::exchange::double;

#[napi(object, object_from_js = false)]
pub struct PeerInfo {
    pub peer_id: String,
    pub level: u8,
    pub features: Vec<String>,
    pub channels: Vec<u16>,
    pub instance: String,
    pub peer_instance: Option<String>,
    pub credentials: Option<Credentials>,
    pub carrier: &'static str,
    pub address: String,
    pub max_message: f64,
    pub max_calls: f64,
    pub peer_keepalive_ms: Option<f64>,
}

#[napi(object, object_from_js = false)]
pub struct Credentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl From<core::Info> for PeerInfo {
    fn from(info: core::Info) -> PeerInfo {
        PeerInfo {
            channels: info.channels.iter().map(|channel| channel.number()).collect(),
            peer_id: info.peer_id,
            level: info.level,
            features: info.features,
            instance: info.instance,
            peer_instance: info.peer_instance,
            credentials: info.credentials.map(Credentials::from),
            carrier: info.carrier,
            address: info.address,
            max_message: count(info.max_message),
            max_calls: count(info.max_calls),
            peer_keepalive_ms: info.peer_keepalive.map(|every| every.as_secs_f64() * 1e3),
        }
    }
}

impl From<core::Credentials> for Credentials {
    fn from(core::Credentials { pid, uid, gid }: core::Credentials) -> Credentials {
        Credentials { pid, uid, gid }
    }
}

#[napi(object, object_from_js = false)]
pub struct PeerStats {
    pub channels: Vec<ChannelStats>,
    pub receive_queue: Depth,
    pub send_queue: Depth,
    pub calls: f64,
    pub open_calls: f64,
    pub calls_served: f64,
    pub open_served: f64,
    pub calls_cancelled: f64,
    pub late: f64,
    pub pending_operations: f64,
}

#[napi(object, object_from_js = false)]
pub struct ChannelStats {
    pub channel: u16,
    pub messages_sent: f64,
    pub bytes_sent: f64,
    pub messages_received: f64,
    pub bytes_received: f64,
    pub queued: f64,
    pub queued_bytes: f64,
    pub queued_bytes_peak: f64,
    pub send_queued: f64,
    pub send_queued_bytes: f64,
    pub send_queued_bytes_peak: f64,
    pub send_credit: f64,
    pub dropped: f64,
    pub dropped_by_peer: f64,
}

#[napi(object, object_from_js = false)]
pub struct Depth {
    pub messages: f64,
    pub bytes: f64,
    pub peak_bytes: f64,
}

impl From<core::Stats> for PeerStats {
    fn from(stats: core::Stats) -> PeerStats {
        PeerStats {
            channels: stats.channels.iter().map(ChannelStats::from).collect(),
            receive_queue: Depth::from(&stats.receive_queue),
            send_queue: Depth::from(&stats.send_queue),
            calls: double(stats.calls),
            open_calls: count(stats.open_calls),
            calls_served: double(stats.calls_served),
            open_served: count(stats.open_served),
            calls_cancelled: double(stats.calls_cancelled),
            late: double(stats.late),
            pending_operations: count(stats.pending_operations),
        }
    }
}

impl From<&core::ChannelStats> for ChannelStats {
    fn from(stats: &core::ChannelStats) -> ChannelStats {
        ChannelStats {
            channel: stats.channel.number(),
            messages_sent: double(stats.messages_sent),
            bytes_sent: double(stats.bytes_sent),
            messages_received: double(stats.messages_received),
            bytes_received: double(stats.bytes_received),
            queued: count(stats.queued),
            queued_bytes: count(stats.queued_bytes),
            queued_bytes_peak: count(stats.queued_bytes_peak),
            send_queued: count(stats.send_queued),
            send_queued_bytes: count(stats.send_queued_bytes),
            send_queued_bytes_peak: count(stats.send_queued_bytes_peak),
            send_credit: double(stats.send_credit),
            dropped: double(stats.dropped),
            dropped_by_peer: double(stats.dropped_by_peer),
        }
    }
}

impl From<&core::Depth> for Depth {
    fn from(depth: &core::Depth) -> Depth {
        Depth { messages: count(depth.messages), bytes: count(depth.bytes), peak_bytes: count(depth.peak_bytes) }
    }
}

#[napi(object, object_from_js = false)]
pub struct ListenerStats {
    pub connections: f64,
    pub accepted: f64,
    pub refused: std::collections::HashMap<&'static str, f64>,
    pub half_open: f64,
    pub ready: f64,
    pub pauses: f64,
}

impl From<core::ListenerStats> for ListenerStats {
    fn from(stats: core::ListenerStats) -> ListenerStats {
        ListenerStats {
            connections: double(stats.connections),
            accepted: double(stats.accepted),
            refused: stats.refused.iter().map(|(code, &times)| (code.name(), double(times))).collect(),
            half_open: count(stats.half_open),
            ready: count(stats.ready),
            pauses: double(stats.pauses),
        }
    }
}

#[napi(object, object_from_js = false)]
pub struct Refusal {
    pub number: i32,
    pub message: String,
    pub credentials: Option<Credentials>,
}

impl From<core::Refusal> for Refusal {
    fn from(refusal: core::Refusal) -> Refusal {
        let core::Flat { number, message, .. } = core::Flat::from(&refusal.error);
        Refusal { number, message, credentials: refusal.credentials.map(Credentials::from) }
    }
}

#[napi(object, object_from_js = false)]
pub struct PeerEnd {
    pub number: i32,
    pub message: String,
}

impl From<core::Error> for PeerEnd {
    fn from(error: core::Error) -> PeerEnd {
        let core::Flat { number, message, .. } = core::Flat::from(&error);
        PeerEnd { number, message }
    }
}

fn count(value: usize) -> f64 {
    double(value as u64)
}
