//! Noticing that this process is a forked child of the one that opened an object.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::error::{Code, Error, Result};

static GENERATION: AtomicU32 = AtomicU32::new(0);
/// No `Once`: a fork while another thread is inside would leave it taken in the child for ever.
static HOOKED: AtomicBool = AtomicBool::new(false);

/// The process generation an object was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    pub(crate) fn now() -> Stamp {
        if !HOOKED.load(Ordering::Acquire) {
            // Two threads that come first both install it; then a fork counts twice, which is as good.
            install();
            HOOKED.store(true, Ordering::Release);
        }
        Stamp(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this is still the process that made the stamp. One load: cheap enough for every call.
    pub(crate) fn current(self) -> bool {
        self.0 == GENERATION.load(Ordering::Relaxed)
    }

    pub(crate) fn check(self) -> Result<()> {
        if self.current() {
            return Ok(());
        }
        Err(Error::new(Code::Forked, "the object belongs to the parent process; open one in the child"))
    }
}

#[allow(unsafe_code)]
fn install() {
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            parent: Option<unsafe extern "C" fn()>,
            child: Option<unsafe extern "C" fn()>,
        ) -> std::ffi::c_int;
    }
    unsafe extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the signature is POSIX's. `in_child` only touches a static atomic, which is allowed
    // between fork and exec, and the C library forgets the hook when this library is unloaded.
    let status = unsafe { pthread_atfork(None, None, Some(in_child)) };
    // Out of memory at load: without the hook a fork would go unnoticed, so no object may exist.
    assert_eq!(status, 0, "the fork hook could not be installed");
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::{CallOptions, Channel, Code, Listener, Peer};

    const SOON: Duration = Duration::from_secs(10);

    fn address(dir: &Path, name: &str) -> String {
        dir.join(name).display().to_string()
    }

    fn pair(dir: &Path) -> (Peer, Peer) {
        let listener = Listener::bind(&address(dir, "pair.sock")).unwrap();
        let client = address(dir, "pair.sock");
        let client = std::thread::spawn(move || Peer::connect(&client, SOON).unwrap());
        let server = listener.accept(SOON).unwrap();
        (client.join().unwrap(), server)
    }

    /// Runs `body` in a forked child and returns its exit status. `body` may allocate, since the C library
    /// makes its allocator usable after fork, and must take no lock that another test's thread could hold.
    #[allow(unsafe_code)]
    pub(crate) fn in_fork(body: impl FnOnce() -> u8) -> u8 {
        unsafe extern "C" {
            fn fork() -> i32;
            fn _exit(status: i32) -> !;
            fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
            fn alarm(seconds: u32) -> u32;
        }
        // SAFETY: plain POSIX calls; the child runs `body` and leaves without unwinding or exit handlers.
        unsafe {
            match fork() {
                0 => {
                    // One that waits for ever is killed.
                    alarm(20);
                    _exit(i32::from(body()))
                }
                pid => {
                    let mut status = 0;
                    assert_eq!(waitpid(pid, &mut status, 0), pid);
                    assert_eq!(status & 0x7f, 0, "the child was killed");
                    (status >> 8) as u8
                }
            }
        }
    }

    #[test]
    fn a_forked_child_is_told_and_the_parent_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let (client, server) = pair(place.path());
        let listener = Listener::bind(&address(place.path(), "other.sock")).unwrap();
        let path = place.path().join("other.sock");
        let status = in_fork(move || {
            let codes = [
                client.send(Channel::DATA, b"child", Duration::ZERO).unwrap_err().code(),
                client.recv(Duration::ZERO).unwrap_err().code(),
                client.start(b"child").unwrap_err().code(),
                client.info().unwrap_err().code(),
                listener.accept(Duration::ZERO).unwrap_err().code(),
                listener.take_refusals().unwrap_err().code(),
            ];
            client.close();
            listener.close();
            drop((client, listener));
            u8::from(codes == [Code::Forked; 6])
        });
        // The closure's objects were dropped in the parent as well, after the fork: only the server is left.
        assert_eq!(status, 1);
        assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
        assert!(!path.exists());
    }

    #[test]
    fn a_forked_child_never_meets_the_lock_of_an_inherited_connection() {
        let place = tempfile::tempdir().unwrap();
        let (client, server) = pair(place.path());
        let mut call = client.start(b"call").unwrap();
        server.send(Channel::DATA, b"message", SOON).unwrap();
        let (request, message) = (server.recv(SOON).unwrap(), client.recv(SOON).unwrap());
        let stream = client.open_stream(b"stream", CallOptions::new()).unwrap();
        let mut status = 0;
        // Both connections are locked while they ask for the second of their payloads.
        let first = || std::iter::once(b"first".as_slice());
        let forks = std::iter::once_with(|| {
            status = in_fork(|| {
                let states = [client.is_open(), !call.is_finished(), !call.is_done(), !request.is_cancelled()];
                let codes = [
                    call.try_wait(SOON).unwrap_err().code(),
                    call.try_wait(SOON).unwrap_err().code(),
                    message.fail(1, b"", SOON).unwrap_err().code(),
                    request.fail(1, b"", SOON).unwrap_err().code(),
                    message.wait_cancelled(SOON).unwrap_err().code(),
                    client.stats().unwrap_err().code(),
                    stream.recv(SOON).unwrap_err().code(),
                ];
                let nothing = stream.reply().is_none() && request.take_fds().is_empty() && !request.has_fds();
                stream.close();
                drop(client.cork());
                client.uncork();
                (states == [false; 4] && codes == [Code::Forked; 7] && nothing).into()
            });
            b"last".as_slice()
        });
        let mut forks = Some(forks);
        let outer = std::iter::once_with(|| {
            server.send_batch(Channel::DATA, first().chain(forks.take().into_iter().flatten()), SOON).unwrap();
            b"last".as_slice()
        });
        client.send_batch(Channel::DATA, first().chain(outer), SOON).unwrap();
        assert_eq!(status, 1);
        request.reply(b"reply", SOON).unwrap();
        assert_eq!(call.try_wait(SOON).unwrap().payload(), "reply");
        assert!(client.is_open());
    }

    #[test]
    fn a_forked_child_has_an_io_thread_of_its_own() {
        let place = tempfile::tempdir().unwrap();
        let (client, server) = pair(place.path());
        server.attach().unwrap();
        client.ping(SOON).unwrap();
        let other = tempfile::tempdir().unwrap();
        let status = in_fork(|| {
            assert_eq!(server.attach().unwrap_err().code(), Code::Forked);
            let (client, server) = pair(other.path());
            server.attach().unwrap();
            u8::from(client.ping(SOON).is_ok())
        });
        assert_eq!(status, 1);
        client.ping(SOON).unwrap();
    }

    #[test]
    fn closing_frees_the_address_although_a_child_lives() {
        let place = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&address(place.path(), "a.sock")).unwrap();
        let waiting = std::os::unix::net::UnixStream::connect(address(place.path(), "a.sock")).unwrap();
        let (mut hold, release) = std::os::unix::net::UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            // The child lives until the other end of `hold` is closed.
            let child = scope.spawn(|| {
                in_fork(|| {
                    let _ = std::io::Write::write(&mut hold, b"!");
                    let _ = std::io::Read::read(&mut hold, &mut [0; 1]);
                    0
                })
            });
            assert_eq!(std::io::Read::read(&mut &release, &mut [0; 1]).unwrap(), 1);
            listener.close();
            waiting.set_read_timeout(Some(SOON)).unwrap();
            let turned_away = std::io::Read::read(&mut &waiting, &mut [0; 64]);
            assert!(
                !matches!(turned_away, Err(ref e) if e.kind() == std::io::ErrorKind::WouldBlock),
                "{turned_away:?}"
            );
            Listener::bind(&address(place.path(), "a.sock")).unwrap();
            std::io::Write::write_all(&mut &release, b"!").unwrap();
            assert_eq!(child.join().unwrap(), 0);
        });
    }

    #[test]
    fn what_a_child_drops_stays_open_in_the_parent() {
        let place = tempfile::tempdir().unwrap();
        let (client, server) = pair(place.path());
        let listener = Listener::bind(&address(place.path(), "other.sock")).unwrap();
        let status = in_fork(|| {
            client.close();
            listener.close();
            server.close();
            7
        });
        assert_eq!(status, 7);
        client.send(Channel::DATA, b"still here", SOON).unwrap();
        assert_eq!(server.recv(SOON).unwrap().payload(), "still here");
        assert!(place.path().join("other.sock").exists());
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept(SOON).unwrap());
            Peer::connect(&address(place.path(), "other.sock"), SOON).unwrap();
        });
    }
}
