//! The Node-API addon of hostlane: what `node/src/native.ts` loads, and nothing a program calls itself.
//!
//! One `environment::Environment` per Node environment (a worker thread is one of its own), used on its JavaScript thread
//! only. Every operation either is finished when the call that starts it returns, or gets an id; `wait` tells the JavaScript
//! side when there is something to fetch, and one `drain` fetches all of it through memory both sides share (`exchange`). What
//! JavaScript starts in one turn of its loop comes the same way in one `submit` (`submissions`). No thread of this library ever
//! runs JavaScript.
//!
//! Exports are plain functions on numbers: a call of a method on a wrapped object costs ten times as much.

// The attribute macro of napi writes unsafe glue. What is unsafe by hand, in `wait` and `exchange`, has its argument beside it.
#![allow(unsafe_code)]
// What napi exports has to be `pub`, and is reached by name from JavaScript, not by path.
#![allow(unreachable_pub)]

mod environment;
mod exchange;
mod fds;
mod ids;
mod info;
mod link;
mod listener;
mod log;
mod objects;
mod operations;
mod options;
mod peer;
mod submissions;
mod wait;
