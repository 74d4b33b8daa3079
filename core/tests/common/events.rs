//! An event loop round a context, which waits only by polling its descriptor.

use std::collections::HashMap;
use std::time::Duration;

use super::{Place, SOON};
use hostlane::{
    Completion, ConnectOptions, Context, ListenOptions, Listener, Message, Outcome, Peer, Progress, Result, Started,
};

pub struct Events {
    pub context: Context,
    done: HashMap<u64, Result<Outcome>>,
    /// Numbers of operations that were over at once, from the top downwards; those of contexts count upwards.
    last: u64,
}

/// Whether `fd` becomes readable within `limit`.
#[cfg(unix)]
pub fn readable(fd: &impl std::os::fd::AsFd, limit: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

impl Events {
    pub fn new() -> Events {
        Events { context: Context::new().unwrap(), done: HashMap::new(), last: u64::MAX }
    }

    /// Waits for the descriptor and does what there is to do.
    pub fn turn(&mut self) {
        assert!(self.turn_within(SOON), "the descriptor never became readable");
    }

    /// The same for at most `limit`; `false` when there was nothing.
    pub fn turn_within(&mut self, limit: Duration) -> bool {
        if !self.wait_within(limit) {
            return false;
        }
        loop {
            let mut out = Vec::new();
            let progress = self.context.process(16, &mut out).unwrap();
            self.file(out);
            if progress == Progress::Wait {
                return true;
            }
        }
    }

    #[cfg(unix)]
    fn wait_within(&mut self, limit: Duration) -> bool {
        readable(&self.context, limit)
    }

    /// No safe call waits for an event object here, so the context does, for a completion.
    #[cfg(windows)]
    fn wait_within(&mut self, limit: Duration) -> bool {
        match self.context.next(limit) {
            Ok(completion) => self.file(vec![completion]),
            Err(error) if error.code() == hostlane::Code::Timeout => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    fn file(&mut self, completions: Vec<Completion>) {
        for completion in completions {
            assert!(self.done.insert(completion.op, completion.result).is_none(), "completed twice");
        }
    }

    /// Files what a start gave, and gives it a number in any case.
    pub fn start(&mut self, started: Result<Started>) -> u64 {
        let result = match started {
            Ok(Started::Pending(op)) => return op,
            Ok(Started::Done(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        };
        self.last -= 1;
        self.done.insert(self.last, result);
        self.last
    }

    pub fn take(&mut self, op: u64) -> Option<Result<Outcome>> {
        self.done.remove(&op)
    }

    pub fn wait(&mut self, op: u64) -> Result<Outcome> {
        loop {
            if let Some(result) = self.done.remove(&op) {
                return result;
            }
            self.turn();
        }
    }

    pub fn finish(&mut self, started: Result<Started>) -> Result<Outcome> {
        match started? {
            Started::Done(outcome) => Ok(outcome),
            Started::Pending(op) => self.wait(op),
        }
    }

    pub fn recv(&mut self, peer: &Peer) -> Result<Message> {
        let started = self.context.recv(peer, None, None);
        match self.finish(started)? {
            Outcome::Message(message) => Ok(message),
            other => panic!("{other:?}"),
        }
    }

    pub fn reply(&mut self, started: Result<Started>) -> Result<Message> {
        match self.finish(started)? {
            Outcome::Reply(message) => Ok(message),
            other => panic!("{other:?}"),
        }
    }

    /// Both ends of a connection in this context.
    pub fn pair(&mut self, place: &Place) -> (Peer, Peer) {
        self.pair_with(place, &ConnectOptions::new(), &ListenOptions::new())
    }

    pub fn pair_with(&mut self, place: &Place, connect: &ConnectOptions, listen: &ListenOptions) -> (Peer, Peer) {
        let address = place.address("context.sock").parse().unwrap();
        let listener = Listener::bind_with(&address, listen).unwrap();
        let accept = self.context.accept(&listener, None);
        let accept = self.start(accept);
        let connect = self.context.connect(&address, connect, None);
        let Outcome::Connected(client) = self.finish(connect).unwrap() else { panic!() };
        let Outcome::Accepted(server) = self.wait(accept).unwrap() else { panic!() };
        (client, server)
    }
}
