//! Hand-written Unix sockets. A message is its length (4 bytes, little-endian) and that many bytes.
//!
//! | program | writes and reads | waits |
//! |---|---|---|
//! | `floor-blocking` | one of each for a message | in the kernel |
//! | `floor-batched` | as many messages in each as there are | in the kernel |
//! | `floor-polling` | one of each for a message | tries for up to 50 µs, then in the kernel |

mod carrier;
mod lane;
mod reader;
mod writer;

pub use carrier::{Blocking, Carrier, Polling};
pub use lane::{Lane, serve};
