//! The listening half of the transport door: an address yields carriers.

use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::System::Pipes::{ConnectNamedPipe, DisconnectNamedPipe};

use super::Errno;
use super::carrier::{Carrier, Kind};
use super::event::Event;
use super::overlapped::Overlapped;
use super::pipe::{self, Instance, Path};
use super::poller::{AsFd, BorrowedFd};
use super::security::{OwnerOnly, User};
use crate::addr::Address;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::inproc::Inproc;

/// A place where connections arrive. What it gives ([`AsFd`]) is readable when [`accept`](ListenSocket::accept) has
/// news.
#[derive(Debug)]
pub(crate) struct ListenSocket {
    source: Source,
    address: Address,
}

#[derive(Debug)]
enum Source {
    Pipe(Pipe),
    Inproc(Inproc),
}

impl ListenSocket {
    pub(crate) fn bind(address: &Address, options: &Common, backlog: i32) -> Result<ListenSocket> {
        options.check()?;
        let source = match (Path::resolve(address, options)?, address) {
            (Some(path), _) => Source::Pipe(Pipe::bind(path)?),
            (None, Address::Inproc(name)) => Source::Inproc(Inproc::bind(name, backlog)?),
            (None, other) => {
                return Err(Error::new(Code::Unsupported, format!("on Windows nothing listens at {other} yet")));
            }
        };
        Ok(ListenSocket { source, address: address.clone() })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection, or `AGAIN`. `None` when there will be no other, which is never.
    pub(crate) fn accept(&self) -> Result<Option<Carrier>, Errno> {
        match &self.source {
            Source::Pipe(pipe) => pipe.accept().map(Some),
            Source::Inproc(inproc) => inproc.accept().map(Some),
        }
    }

    /// Whether who is not accepted here can be accepted by somebody else.
    pub(crate) fn shared(&self) -> bool {
        false
    }

    /// Turns clients away from now on.
    pub(crate) fn shut(&mut self) {
        match &self.source {
            Source::Pipe(pipe) => pipe.shut(),
            Source::Inproc(inproc) => inproc.shut(),
        }
    }
}

/// Whether an error of accepting is of one client, or over at once: what is not listed apart is.
pub(crate) fn passes(error: Errno) -> bool {
    !matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Pipe(pipe) => BorrowedFd { read: pipe.connected.as_handle(), write: None },
            Source::Inproc(inproc) => inproc.as_fd(),
        }
    }
}

/// A pipe with one instance that waits for a client. Others wait for that instance, as in a backlog.
#[derive(Debug)]
struct Pipe {
    path: Path,
    security: OwnerOnly,
    /// `None` once shut.
    state: Mutex<Option<State>>,
    /// Set while a client is there.
    connected: Arc<Event>,
}

#[derive(Debug)]
struct State {
    waiting: Waiting,
    /// A pipe of its own that can be there once. The instances of the pipe itself say nothing: those with a client
    /// live on when their listener has gone.
    _lock: OwnedHandle,
}

/// An instance that waits for its client.
#[derive(Debug)]
struct Waiting {
    instance: OwnedHandle,
    operation: Overlapped,
    there: bool,
}

impl Pipe {
    /// `address_in_use` while another listener has the name. Whatever else is there under it must be this user's.
    fn bind(path: Path) -> Result<Pipe> {
        let security = OwnerOnly::new()?;
        let failed = |e| Error::os(format_args!("listening at {}", path.text()), e);
        let lock = pipe::create(&path.lock(), Instance::Only, &security).map_err(|e| match e {
            Errno::ACCESS => Error::new(Code::AddressInUse, format!("{} has a listener", path.text())),
            e => failed(e),
        })?;
        let instance = match pipe::create(&path, Instance::First, &security) {
            // Connections of a listener that has gone.
            Err(Errno::ACCESS) => pipe::create(&path, Instance::Another, &security),
            made => made,
        };
        let instance = instance.map_err(failed)?;
        User::own()?.check_owner(instance.as_handle(), path.text())?;
        let connected = Arc::new(Event::new(false).map_err(failed)?);
        let mut waiting = Waiting { instance, operation: Overlapped::new(connected.clone()), there: false };
        waiting.begin().map_err(failed)?;
        Ok(Pipe { path, security, state: Mutex::new(Some(State { waiting, _lock: lock })), connected })
    }

    fn accept(&self) -> Result<Carrier, Errno> {
        let mut state = self.lock();
        let Some(State { waiting, .. }) = &mut *state else { return Err(Errno::AGAIN) };
        waiting.poll()?;
        // Before the instance is given away, so that the name is held all the time.
        let next = pipe::create(&self.path, Instance::Another, &self.security)?;
        let instance = waiting.replace(next)?;
        drop(state);
        Carrier::over(Kind::Pipe, instance, true).map_err(|_| Errno::NOMEM)
    }

    fn shut(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    #[allow(unsafe_code)]
    fn begin(&mut self) -> Result<(), Errno> {
        loop {
            let handle = self.instance.as_raw_handle();
            // SAFETY: the handle is open; the block stays where it is until the operation has ended, which `drop` sees to.
            match self.operation.begin(|block| unsafe { ConnectNamedPipe(handle, block) }) {
                Err(Errno::PIPE_CONNECTED) => self.there = true,
                Err(e) if e.is_end() => {
                    self.forget();
                    continue;
                }
                begun => begun?,
            }
            return Ok(());
        }
    }

    /// Who came has left again.
    #[allow(unsafe_code)]
    fn forget(&self) {
        // SAFETY: the handle is open. If it fails, so does the next attempt.
        unsafe { DisconnectNamedPipe(self.instance.as_raw_handle()) };
    }

    /// `AGAIN` unless the client is there.
    fn poll(&mut self) -> Result<(), Errno> {
        match self.operation.poll(&self.instance) {
            Some(Ok(_)) => self.there = true,
            // The thread that began it has ended.
            Some(Err(Errno::ABORTED)) => self.begin()?,
            Some(Err(e)) if e.is_end() => {
                self.forget();
                self.begin()?;
            }
            Some(Err(e)) => return Err(e),
            None => {}
        }
        if self.there { Ok(()) } else { Err(Errno::AGAIN) }
    }

    /// Waits at `next` from now on, and gives the instance whose client is there.
    fn replace(&mut self, next: OwnedHandle) -> Result<OwnedHandle, Errno> {
        let connected = std::mem::replace(&mut self.instance, next);
        self.there = false;
        self.begin()?;
        Ok(connected)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.operation.cancel(&self.instance);
    }
}
