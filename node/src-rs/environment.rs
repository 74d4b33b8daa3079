//! What one Node environment owns: its context, its peers and listeners by number, and the way back to JavaScript.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use hostlane_bridge::{Code, Completion, Context, Error, Listener, Peer, Result, Started, guard};
use napi::bindgen_prelude::{Env, Float64Array, Uint8Array};
use napi_derive::napi;

use crate::exchange::{self, Exchange};
use crate::wait::{Waiter, Wake};

/// The state of one environment. Everything happens on its JavaScript thread.
pub(crate) struct Environment {
    pub(crate) context: Context,
    waiter: Waiter,
    /// Operations under way that keep the process alive.
    held: Cell<f64>,
    exchange: RefCell<Exchange>,
    /// Room for completions, kept between drains.
    done: RefCell<Vec<Completion>>,
    peers: Objects<Peer>,
    listeners: Objects<Listener>,
}

thread_local! {
    /// The environments of this thread by their raw pointers: one, save where a host runs several on a thread or a program
    /// loads the addon twice. Taken out by the cleanup hook, before a pointer can be used for another environment.
    static ENVIRONMENTS: RefCell<Vec<(usize, Rc<Environment>)>> = const { RefCell::new(Vec::new()) };
}

/// Makes the environment. `wake` is called with nothing, once per batch, whenever `drain` has something to give; `slots` and
/// `bytes` are where outcomes are put.
#[napi(catch_unwind)]
pub fn open(env: Env, wake: Wake<'_>, mode: String, slots: Float64Array, bytes: Uint8Array) -> napi::Result<()> {
    let context = guard(Context::new).map_err(exception)?;
    let fd = context.fd().try_clone_to_owned()?;
    let waiter = match mode.as_str() {
        "poll" => Waiter::poll(&env, fd, &wake)?,
        _ => Waiter::thread(&env, fd, &wake)?,
    };
    let environment = Environment {
        context,
        waiter,
        held: Cell::new(0.0),
        exchange: RefCell::new(Exchange::new(slots, bytes)),
        done: RefCell::default(),
        peers: Objects::default(),
        listeners: Objects::default(),
    };
    let key = env.raw() as usize;
    ENVIRONMENTS.with_borrow_mut(|all| all.push((key, Rc::new(environment))));
    env.add_env_cleanup_hook(key, |key| {
        // Dropped outside the borrow: closing sockets is work.
        let gone: Vec<_> = ENVIRONMENTS.with_borrow_mut(|all| all.extract_if(.., |(other, _)| *other == key).collect());
        drop(gone);
    })?;
    Ok(())
}

/// Everything that finished since the last call, at most as many as there are slots: how many. If that is all of them, there
/// may be more to fetch at once.
#[napi(catch_unwind)]
pub fn drain(env: Env) -> napi::Result<u32> {
    let this = Environment::of(&env)?;
    let mut done = this.done.borrow_mut();
    let mut exchange = this.exchange.borrow_mut();
    let progress = guard(|| this.context.process(exchange.capacity(), &mut done));
    // A full batch has JavaScript call again at once. Else the wait is told to go on, before anything can fail below: the
    // descriptor is readable if there is more.
    if done.len() < exchange.capacity() {
        this.waiter.drained()?;
    }
    progress.map_err(exception)?;
    this.hold(-(done.len() as f64))?;
    exchange.begin();
    for Completion { op, result } in done.drain(..) {
        exchange.put(op, result, |peer| this.peers.insert(peer));
    }
    Ok(exchange.len())
}

/// What of one of the last outcomes is no number, once.
#[napi(catch_unwind)]
pub fn take(env: Env, place: u32) -> napi::Result<Option<exchange::Value>> {
    Ok(Environment::of(&env)?.exchange.borrow_mut().take(place))
}

/// Corrects how many operations keep the process alive: each one does from its start to its end, unless this takes it back.
#[napi(catch_unwind)]
pub fn hold(env: Env, change: f64) -> napi::Result<()> {
    Environment::of(&env)?.hold(change)
}

impl Environment {
    /// The environment of the running call.
    pub(crate) fn of(env: &Env) -> napi::Result<Rc<Environment>> {
        let key = env.raw() as usize;
        ENVIRONMENTS
            .with_borrow(|all| {
                all.iter().find(|(other, _)| *other == key).map(|(_, environment)| Rc::clone(environment))
            })
            .ok_or_else(|| napi::Error::from_reason("this environment was never opened, or has ended"))
    }

    /// Starts an operation: its id, or 0 if it is finished, its outcome in the first slot.
    pub(crate) fn start(&self, operation: impl FnOnce() -> Result<Started>) -> napi::Result<f64> {
        let outcome = match guard(operation) {
            Ok(Started::Pending(op)) => {
                self.hold(1.0)?;
                return Ok(exchange::double(op));
            }
            Ok(Started::Done(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        };
        let mut exchange = self.exchange.borrow_mut();
        exchange.begin();
        exchange.put(0, outcome, |peer| self.peers.insert(peer));
        Ok(0.0)
    }

    /// The wait keeps the process alive while there is something to wait for. The count may be below zero for a moment: between
    /// the end of an operation that was taken back, and JavaScript's word of it.
    fn hold(&self, change: f64) -> napi::Result<()> {
        let before = self.held.replace(self.held.get() + change);
        match (before > 0.0, self.held.get() > 0.0) {
            (false, true) => self.waiter.set_ref(true),
            (true, false) => self.waiter.set_ref(false),
            _ => Ok(()),
        }
    }

    /// The value of a call that is never under way, or nothing, the error in the first slot.
    pub(crate) fn value<T>(&self, call: impl FnOnce() -> Result<T>) -> Option<T> {
        match guard(call) {
            Ok(value) => Some(value),
            Err(error) => {
                let mut exchange = self.exchange.borrow_mut();
                exchange.begin();
                exchange.put(0, Err(error), |peer| self.peers.insert(peer));
                None
            }
        }
    }

    pub(crate) fn peers(&self) -> &Objects<Peer> {
        &self.peers
    }

    pub(crate) fn listeners(&self) -> &Objects<Listener> {
        &self.listeners
    }
}

/// Objects by number. A number is a double in JavaScript, so it counts up: it is never used again and stays below 2^53. (The
/// handles of the bridge carry a generation in their upper half, which a double would round away.)
pub(crate) struct Objects<T> {
    last: Cell<u64>,
    all: RefCell<HashMap<u64, Rc<T>>>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Objects { last: Cell::new(0), all: RefCell::default() }
    }
}

impl<T> Objects<T> {
    pub(crate) fn insert(&self, object: T) -> f64 {
        let id = self.last.get() + 1;
        self.last.set(id);
        self.all.borrow_mut().insert(id, Rc::new(object));
        exchange::double(id)
    }

    pub(crate) fn get(&self, id: f64) -> Result<Rc<T>> {
        let found = self.all.borrow().get(&(id as u64)).cloned();
        found.ok_or_else(|| Error::new(Code::InvalidHandle, "the object was collected"))
    }

    /// Lets the object go: nobody in JavaScript holds it any more.
    pub(crate) fn remove(&self, id: f64) {
        // Taken out first: to drop a peer is to close it, which is not to happen inside the borrow.
        let object = self.all.borrow_mut().remove(&(id as u64));
        drop(object);
    }
}

/// For the few failures that belong to no operation.
fn exception(error: Error) -> napi::Error {
    napi::Error::from_reason(error.to_string())
}
