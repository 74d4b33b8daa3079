//! What the core tells about itself, as the dataclasses of `hostlane.types`.

use hostlane_bridge::{ChannelStats, Credentials, Depth, Info, ListenerStats, Refusal, Stats};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyDict, PyTuple};

type Object<'py> = Bound<'py, PyAny>;

/// An instance of the dataclass `name`.
fn dataclass<'py>(py: Python<'py>, name: &str, fields: &Bound<'py, PyDict>) -> PyResult<Object<'py>> {
    static TYPES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let types = TYPES.get_or_try_init(py, || py.import("hostlane.types").map(Bound::unbind))?;
    types.bind(py).getattr(name)?.call((), Some(fields))
}

/// `dataclass!(py, Name { field: value, … })`.
macro_rules! dataclass {
    ($py:ident, $name:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let fields = PyDict::new($py);
        $(fields.set_item(stringify!($field), $value)?;)*
        dataclass($py, stringify!($name), &fields)
    }};
}

pub(crate) fn info<'py>(py: Python<'py>, info: &Info) -> PyResult<Object<'py>> {
    dataclass!(
        py,
        Info {
            peer_id: &info.peer_id,
            level: info.level,
            features: PyTuple::new(py, &info.features)?,
            channels: PyTuple::new(py, info.channels.iter().map(|channel| channel.number()))?,
            instance: &info.instance,
            peer_instance: info.peer_instance.as_deref(),
            credentials: info.credentials.map(|ids| credentials(py, ids)).transpose()?,
            carrier: info.carrier,
            address: &info.address,
            max_message: info.max_message,
            max_calls: info.max_calls,
            peer_keepalive: info.peer_keepalive.map(|every| every.as_secs_f64()),
        }
    )
}

fn credentials(py: Python<'_>, credentials: Credentials) -> PyResult<Object<'_>> {
    dataclass!(py, Credentials { pid: credentials.pid, uid: credentials.uid, gid: credentials.gid })
}

pub(crate) fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Object<'py>> {
    let channels = stats.channels.iter().map(|one| channel(py, one)).collect::<PyResult<Vec<_>>>()?;
    dataclass!(
        py,
        Stats {
            channels: PyTuple::new(py, channels)?,
            receive_queue: depth(py, stats.receive_queue)?,
            send_queue: depth(py, stats.send_queue)?,
            calls: stats.calls,
            open_calls: stats.open_calls,
            calls_served: stats.calls_served,
            open_served: stats.open_served,
            calls_cancelled: stats.calls_cancelled,
            late: stats.late,
            pending_operations: stats.pending_operations,
        }
    )
}

fn channel<'py>(py: Python<'py>, stats: &ChannelStats) -> PyResult<Object<'py>> {
    dataclass!(
        py,
        ChannelStats {
            channel: stats.channel.number(),
            messages_sent: stats.messages_sent,
            bytes_sent: stats.bytes_sent,
            messages_received: stats.messages_received,
            bytes_received: stats.bytes_received,
            queued: stats.queued,
            queued_bytes: stats.queued_bytes,
            queued_bytes_peak: stats.queued_bytes_peak,
            send_queued: stats.send_queued,
            send_queued_bytes: stats.send_queued_bytes,
            send_queued_bytes_peak: stats.send_queued_bytes_peak,
            send_credit: stats.send_credit,
            dropped: stats.dropped,
            dropped_by_peer: stats.dropped_by_peer,
        }
    )
}

fn depth(py: Python<'_>, depth: Depth) -> PyResult<Object<'_>> {
    dataclass!(py, Depth { messages: depth.messages, bytes: depth.bytes, peak_bytes: depth.peak_bytes })
}

pub(crate) fn listener_stats<'py>(py: Python<'py>, stats: &ListenerStats) -> PyResult<Object<'py>> {
    let refused = stats.refused.iter().map(|(code, count)| (code.name(), *count));
    dataclass!(
        py,
        ListenerStats {
            connections: stats.connections,
            accepted: stats.accepted,
            refused: refused.into_py_dict(py)?,
            half_open: stats.half_open,
            ready: stats.ready,
            pauses: stats.pauses,
        }
    )
}

pub(crate) fn refusal<'py>(py: Python<'py>, refusal: &Refusal) -> PyResult<Object<'py>> {
    let code = refusal.error.code();
    dataclass!(
        py,
        Refusal {
            code: code.number(),
            kind: code.name(),
            message: refusal.error.message(),
            credentials: refusal.credentials.map(|ids| credentials(py, ids)).transpose()?,
        }
    )
}

pub(crate) fn link_up(py: Python<'_>, serves: bool) -> PyResult<Object<'_>> {
    dataclass!(py, LinkUp { serving: serves })
}

pub(crate) fn link_down(py: Python<'_>, error: PyErr) -> PyResult<Object<'_>> {
    dataclass!(py, LinkDown { error: error.into_value(py) })
}
