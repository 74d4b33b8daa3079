//! How a waiting thread is woken by others, and by the clock: two descriptors of its own, each made when
//! it is first needed.
//!
//! A thread that only waits to be told sleeps on its [`ThreadBell`]. One that polls a descriptor of
//! somebody else's beside has a [`ThreadAlarm`] instead, which is both its bell and its deadline: a
//! timeout of `poll` would be set and taken back by the kernel with every wait, which costs a tenth of a
//! round trip, while the alarm stays set over many waits.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::LocalKey;
use std::time::Instant;

use crate::os::poller::{Alarm, Bell};
use crate::os::{AsFd, BorrowedFd, fork};

/// Rung by anybody, polled by its thread.
#[derive(Debug)]
pub(crate) struct ThreadBell {
    bell: Bell,
    rung: AtomicBool,
    stamp: fork::Stamp,
}

impl ThreadBell {
    /// Wakes the thread, now or at its next sleep.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.bell.ring();
        }
    }

    /// Forgets earlier rings. Ring and clear happen under the lock of what is waited for.
    pub(crate) fn clear(&self) {
        if self.rung.swap(false, Ordering::Relaxed) {
            self.bell.clear();
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Rung by anybody or by the clock, polled by its thread.
#[derive(Debug)]
pub(crate) struct ThreadAlarm {
    alarm: Alarm,
    rung: AtomicBool,
    stamp: fork::Stamp,
}

impl ThreadAlarm {
    /// Wakes the thread, now or at its next sleep.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.alarm.set(Instant::now());
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

/// What a thread takes out for a wait and gives back afterwards.
pub(crate) trait Own: Sized + 'static {
    /// What stays with it while it is not used.
    type State: Default + Copy;
    fn make() -> Option<Self>;
    fn stamp(&self) -> fork::Stamp;
    /// What is left of the last wait. Taken out while a wait uses it, so that a wait inside another's
    /// interrupt hook has its own.
    fn spare() -> &'static LocalKey<Spare<Self>>;
}

type Spare<T> = RefCell<Option<(Arc<T>, <T as Own>::State)>>;

thread_local! {
    static BELL: Spare<ThreadBell> = const { RefCell::new(None) };
    static ALARM: Spare<ThreadAlarm> = const { RefCell::new(None) };
}

impl Own for ThreadBell {
    type State = ();

    fn make() -> Option<ThreadBell> {
        Some(ThreadBell { bell: Bell::new().ok()?, rung: AtomicBool::new(false), stamp: fork::Stamp::now() })
    }

    fn stamp(&self) -> fork::Stamp {
        self.stamp
    }

    fn spare() -> &'static LocalKey<Spare<ThreadBell>> {
        &BELL
    }
}

impl Own for ThreadAlarm {
    /// When it is set to ring.
    type State = Option<Instant>;

    fn make() -> Option<ThreadAlarm> {
        Some(ThreadAlarm { alarm: Alarm::new().ok()?, rung: AtomicBool::new(false), stamp: fork::Stamp::now() })
    }

    fn stamp(&self) -> fork::Stamp {
        self.stamp
    }

    fn spare() -> &'static LocalKey<Spare<ThreadAlarm>> {
        &ALARM
    }
}

/// A bell or an alarm in use by one wait. It goes back to its thread afterwards.
#[derive(Debug)]
pub(crate) struct Mine<T: Own> {
    own: Option<Arc<T>>,
    state: Cell<T::State>,
}

impl<T: Own> Mine<T> {
    /// For a wait of this thread; none when the process has no descriptor left. A forked child does not
    /// share its parent's.
    pub(crate) fn take() -> Option<Mine<T>> {
        // Gone only while the thread ends.
        let spare = T::spare().try_with(|place| place.borrow_mut().take()).ok().flatten();
        let spare = spare.filter(|(own, _)| own.stamp().current());
        let (own, state) = match spare {
            Some(spare) => spare,
            None => (Arc::new(T::make()?), T::State::default()),
        };
        Some(Mine { own: Some(own), state: Cell::new(state) })
    }
}

impl Mine<ThreadAlarm> {
    /// Forgets earlier rings and rings at `until` at the latest, perhaps earlier: an alarm that is set
    /// already is left alone, which costs nothing, and rings once for nothing. To be called under the lock
    /// of what is waited for, as `ring` is.
    pub(crate) fn set(&self, now: Instant, until: Option<Instant>) {
        let set = self.state.get();
        let over = self.rung.swap(false, Ordering::Relaxed) || set.is_some_and(|set| set <= now);
        let late = until.is_some_and(|until| set.is_none_or(|set| set > until));
        if over || late {
            match until {
                Some(until) => self.alarm.set(until),
                None => self.alarm.unset(),
            }
            self.state.set(until);
        }
    }
}

impl<T: Own> std::ops::Deref for Mine<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        // Taken by `drop` alone.
        self.own.as_ref().expect("a bell in use")
    }
}

impl<T: Own> Drop for Mine<T> {
    fn drop(&mut self) {
        let spare = self.own.take().map(|own| (own, self.state.get()));
        // A thread that is ending has no place for it any more; then it just closes.
        let _ = T::spare().try_with(|place| *place.borrow_mut() = spare);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::mpsc;
    use std::thread::ScopedJoinHandle;
    use std::time::{Duration, Instant};

    use crate::{Bytes, Channel, Code, ConnectOptions, ListenOptions, Listener, Peer, Result, Spin, Wait};

    const SOON: Duration = Duration::from_secs(10);
    const FOLLOWERS: u16 = 15;
    /// Far below any deadline here, far above what a busy machine does to a wake-up.
    const PROMPT: Duration = Duration::from_secs(2);

    fn follower(number: u16) -> Channel {
        Channel::new(300 + number).unwrap()
    }

    fn pair(spin: Spin) -> (Peer, Peer) {
        let place = tempfile::tempdir().unwrap();
        let address = place.path().join("pair.sock").display().to_string().parse().unwrap();
        let channels: Vec<Channel> = (0..FOLLOWERS).map(follower).chain([Channel::DATA]).collect();
        let listener = Listener::bind_with(&address, &ListenOptions::new().channels(&channels).spin(spin)).unwrap();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| listener.accept(SOON).unwrap());
            let options = ConnectOptions::new().channels(&channels).spin(spin);
            (Peer::connect_with(&address, &options, SOON).unwrap(), server.join().unwrap())
        })
    }

    /// Threads that can be interrupted by a signal whose handler does nothing.
    #[allow(unsafe_code)]
    mod signal {
        use std::ffi::{c_int, c_ulong};
        use std::sync::Once;

        const SIGUSR2: c_int = 12;

        unsafe extern "C" {
            fn pthread_self() -> c_ulong;
            fn pthread_kill(thread: c_ulong, signal: c_int) -> c_int;
            fn siginterrupt(signal: c_int, flag: c_int) -> c_int;
            fn signal(number: c_int, handler: usize) -> usize;
        }

        #[derive(Clone, Copy)]
        pub(super) struct Target(c_ulong);

        /// This thread.
        pub(super) fn target() -> Target {
            static ONCE: Once = Once::new();
            extern "C" fn nothing(_: c_int) {}
            // SAFETY: plain calls of the C library; the handler does nothing, which is always allowed.
            ONCE.call_once(|| unsafe {
                signal(SIGUSR2, nothing as *const () as usize);
                siginterrupt(SIGUSR2, 1);
            });
            // SAFETY: no preconditions.
            Target(unsafe { pthread_self() })
        }

        /// The thread has not been joined.
        pub(super) fn send(target: Target) {
            // SAFETY: a thread that was not joined has a valid id.
            assert_eq!(unsafe { pthread_kill(target.0, SIGUSR2) }, 0);
        }
    }

    fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + SOON;
        while !condition() {
            assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
            std::thread::yield_now();
        }
    }

    /// A leader waits at the socket; once all others wait too, it is interrupted, and its hook does `what`
    /// when everybody's message is in the socket. Returns how the leader ended.
    fn leader_is_interrupted(
        client: &Peer,
        server: &Peer,
        followers: u16,
        what: fn() -> ControlFlow<()>,
        goes_on: bool,
    ) -> std::thread::Result<Result<Bytes>> {
        std::thread::scope(|scope| {
            let (in_hook, entered) = mpsc::channel();
            let (leave, may_leave) = mpsc::channel();
            let (tell, told) = mpsc::channel();
            let leader = scope.spawn(move || {
                tell.send(signal::target()).unwrap();
                let mut entered = false;
                let mut hook = || {
                    // A signal may have been sent once too often.
                    if std::mem::replace(&mut entered, true) {
                        return ControlFlow::Continue(());
                    }
                    in_hook.send(()).unwrap();
                    may_leave.recv_timeout(SOON).unwrap();
                    what()
                };
                let wait = Wait::from(SOON).on_interrupt(&mut hook);
                client.recv_on(Channel::DATA, wait).map(|m| m.into_payload())
            });
            let target = told.recv_timeout(SOON).unwrap();
            until("the leader waits", || client.stats().unwrap().pending_operations == 1);
            let waiters: Vec<ScopedJoinHandle<'_, Instant>> = (0..followers)
                .map(|n| {
                    scope.spawn(move || {
                        client.recv_on(follower(n), SOON).unwrap();
                        Instant::now()
                    })
                })
                .collect();
            until("all wait", || client.stats().unwrap().pending_operations == 1 + usize::from(followers));
            // It may not be in the system call yet: again until it was interrupted.
            until("its hook runs", || {
                signal::send(target);
                entered.recv_timeout(Duration::from_millis(5)).is_ok()
            });
            let sent = Instant::now();
            (0..followers).for_each(|n| server.send(follower(n), b"!", SOON).unwrap());
            leave.send(()).unwrap();
            for waiter in waiters {
                let took = waiter.join().unwrap().saturating_duration_since(sent);
                assert!(took < PROMPT, "{took:?} after it was there");
            }
            if goes_on {
                server.send(Channel::DATA, b"late", SOON).unwrap();
            }
            leader.join()
        })
    }

    const CASES: [(Spin, u16); 4] =
        [(Spin::Auto, 5), (Spin::Off, FOLLOWERS), (Spin::Micros(30), FOLLOWERS), (Spin::Off, 1)];

    #[test]
    fn a_leader_that_is_cancelled_leaves_nobody_waiting() {
        for (spin, followers) in CASES {
            let (client, server) = pair(spin);
            let ended = leader_is_interrupted(&client, &server, followers, || ControlFlow::Break(()), false);
            assert_eq!(ended.unwrap().unwrap_err().code(), Code::Interrupted);
            // Nothing of it is left.
            server.send(Channel::DATA, b"next", SOON).unwrap();
            assert_eq!(client.recv(SOON).unwrap().payload(), "next");
        }
    }

    #[test]
    fn a_leader_that_goes_on_is_answered_too() {
        for (spin, followers) in CASES {
            let (client, server) = pair(spin);
            let ended = leader_is_interrupted(&client, &server, followers, || ControlFlow::Continue(()), true);
            assert_eq!(ended.unwrap().unwrap(), "late");
        }
    }

    #[test]
    fn a_leader_that_panics_leaves_nobody_waiting() {
        for (spin, followers) in CASES {
            let (client, server) = pair(spin);
            let ended = leader_is_interrupted(&client, &server, followers, || panic!("on purpose"), false);
            assert!(ended.is_err());
            assert_eq!(client.stats().unwrap().pending_operations, 0);
            server.send(Channel::DATA, b"next", SOON).unwrap();
            assert_eq!(client.recv(SOON).unwrap().payload(), "next");
        }
    }

    #[test]
    fn an_alarm_that_stays_set_from_an_earlier_wait_ends_no_later_one() {
        let (client, server) = pair(Spin::Off);
        for (short, long) in [(1, 60), (5, 40), (3, 3)] {
            let (short, long) = (Duration::from_millis(short), Duration::from_millis(long));
            // Leaves the alarm set for `short`.
            server.send(Channel::DATA, b"!", SOON).unwrap();
            client.recv(short + SOON / 100).unwrap();
            let _ = client.recv(short);
            let start = Instant::now();
            assert_eq!(client.recv(long).unwrap_err().code(), Code::Timeout);
            assert!(start.elapsed() >= long && start.elapsed() < long + PROMPT, "{:?}", start.elapsed());
            // And without a deadline it goes on past every one there was.
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| client.recv(Wait::forever()).map(|m| m.into_payload()));
                std::thread::sleep(long);
                server.send(Channel::DATA, b"at last", SOON).unwrap();
                assert_eq!(waiter.join().unwrap().unwrap(), "at last");
            });
        }
    }
}
