//! The same nouns for programs on tokio: what waits elsewhere is awaited here.
//!
//! ```no_run
//! # async fn example() -> hostlane::Result<()> {
//! let peer = hostlane::aio::connect("engine").await?;
//! let reply = peer.start(b"status")?.await?;
//! # Ok(()) }
//! ```
//!
//! **Who moves the bytes.** Every runtime has one [`Context`](crate::Context), and with it one descriptor at the runtime's
//! reactor, for all its peers and listeners. Nothing is started per connection or per operation. When
//! the descriptor becomes ready while a single future waits, that future is woken, moves bytes and finds its own
//! result. When several wait, or none, the one task that each runtime has for this does it and wakes whose
//! operations ended: a future that waits need not be polled (it may stand in an arm of `select!` whose neighbour runs),
//! and must not stop the others. Whatever future is polled while there is something to do does it, too.
//!
//! **Giving up.** All futures may be dropped at any time: the operation is cancelled and nothing is lost. A receive takes
//! its message, item or client only in the very poll that returns it. A message that had not begun to leave is
//! withdrawn; one that had is finished. Dropping a [`Call`] tells the other side. So
//! `tokio::time::timeout` and `select!` are the deadlines here. Three things end with their future by their
//! nature: a connect, a call, and a drain, which closes the connection.
//!
//! **Where.** Peers and listeners belong to the runtime they were made in, may be used from any other, and end with theirs:
//! then everything on them gives `closed`.
//!
//! Connecting and binding give `wrong_driver` outside of a runtime, and panic, as everything of tokio's, in a
//! runtime whose I/O is not enabled.

mod board;
mod call;
mod driver;
mod listener;
mod message;
mod peer;
mod stream;

pub use call::Call;
pub use listener::Listener;
pub use message::Message;
pub use peer::{Peer, connect, connect_with};
pub use stream::Stream;
