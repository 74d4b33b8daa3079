//! Making, opening and naming pipes.

use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::time::Instant;

use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
    SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, GetNamedPipeClientProcessId, GetNamedPipeServerProcessId, PIPE_READMODE_BYTE,
    PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, PIPE_WAIT, WaitNamedPipeW,
};

use super::Errno;
use super::security::{OwnerOnly, User};
use crate::addr::Address;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::random;

/// What the system keeps of a pipe in each direction before a write has to wait: as much as a socket is asked for.
const BUFFER: u32 = 1024 * 1024;

/// A stream of bytes. Whoever comes from another machine is turned away by the system.
const MODE: u32 = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS;

/// The server is told who connects, and cannot act in that user's name.
const OPEN: u32 = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;

/// A pipe's name.
#[derive(Debug, Clone)]
pub(super) struct Path {
    text: String,
    /// With a zero behind it.
    wide: Vec<u16>,
}

impl Path {
    fn new(name: &str) -> Path {
        let text = format!(r"\\.\pipe\{name}");
        let wide = text.encode_utf16().chain([0]).collect();
        Path { text, wide }
    }

    /// `None` for the forms that are no pipe. `unsupported` for what users are said to be allowed.
    pub(super) fn resolve(address: &Address, options: &Common) -> Result<Option<Path>> {
        let path = match address {
            // A name is one user's: that of another with the same name is another pipe.
            Address::Name(name) => Path::new(&format!("hostlane-{}-{name}", User::own()?.text())),
            Address::Pipe(name) => Path::new(name),
            _ => return Ok(None),
        };
        if options.allow_uids.is_some() {
            return Err(Error::new(Code::Unsupported, "Windows tells no user ids, so allow_uids cannot be kept"));
        }
        Ok(Some(path))
    }

    /// One that nobody knows.
    pub(super) fn secret() -> Result<Path> {
        Ok(Path::new(&format!("hostlane~{}", random::hex_id()?)))
    }

    /// What a listener holds beside its pipe as long as it lives. No address has such a name.
    pub(super) fn lock(&self) -> Path {
        Path::new(&format!("{}~lock", &self.text[r"\\.\pipe\".len()..]))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// How often a pipe may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instance {
    /// The first, and any number after it.
    First,
    /// One more of a pipe that may be there.
    Another,
    /// The only one.
    Only,
}

/// Makes a server's end that nobody is connected to. `ACCESS` if another `First` or `Only` is there, or one that
/// belongs to somebody else.
#[allow(unsafe_code)]
pub(super) fn create(path: &Path, instance: Instance, security: &OwnerOnly) -> Result<OwnedHandle, Errno> {
    let attributes = security.attributes();
    let (first, most) = match instance {
        Instance::First => (FILE_FLAG_FIRST_PIPE_INSTANCE, PIPE_UNLIMITED_INSTANCES),
        Instance::Another => (0, PIPE_UNLIMITED_INSTANCES),
        Instance::Only => (FILE_FLAG_FIRST_PIPE_INSTANCE, 1),
    };
    let open = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first;
    // SAFETY: the name ends with a zero, and the attributes are alive as is what they point to; the rest are numbers.
    let handle =
        unsafe { CreateNamedPipeW(path.wide.as_ptr(), open, MODE, most, BUFFER, BUFFER, 0, &raw const attributes) };
    owned(handle).map_err(|e| if e == Errno::BUSY { Errno::ACCESS } else { e })
}

/// Connects to a pipe. `BUSY` while no instance of it waits for anybody.
#[allow(unsafe_code)]
pub(super) fn open(path: &Path) -> Result<OwnedHandle, Errno> {
    let access = GENERIC_READ | GENERIC_WRITE;
    // SAFETY: the name ends with a zero; no attributes and no template are given.
    let handle = unsafe { CreateFileW(path.wide.as_ptr(), access, 0, null(), OPEN_EXISTING, OPEN, null_mut()) };
    owned(handle)
}

#[allow(unsafe_code)]
fn owned(handle: HANDLE) -> Result<OwnedHandle, Errno> {
    if handle == INVALID_HANDLE_VALUE {
        return Err(Errno::last());
    }
    // SAFETY: it was just made, and is nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Waits until an instance waits for somebody, or until the deadline. That it is gone, too, ends the wait.
#[allow(unsafe_code)]
pub(super) fn wait(path: &Path, deadline: Option<Instant>) {
    /// Looked at this often for whoever gives no deadline.
    const SLICE: u32 = 1000;
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).as_millis());
    // Zero would mean the pipe's own time.
    let left = left.map_or(SLICE, |left| u32::try_from(left).map_or(SLICE, |left| left.clamp(1, SLICE)));
    // SAFETY: the name ends with a zero. How it ended is seen by the attempt that follows.
    unsafe { WaitNamedPipeW(path.wide.as_ptr(), left) };
}

/// Both ends of a pipe of this process: the server's and the client's.
pub(super) fn pair() -> Result<(OwnedHandle, OwnedHandle)> {
    let path = Path::secret()?;
    let failed = |e| Error::os("making a pipe", e);
    let server = create(&path, Instance::Only, &OwnerOnly::new()?).map_err(failed)?;
    let client = open(&path).map_err(failed)?;
    // Connected before anybody waited for it; to make sure that it is ours, whatever became of the name.
    User::own()?.check_owner(client.as_handle(), path.text())?;
    Ok((server, client))
}

/// The process at the other end.
#[allow(unsafe_code)]
pub(super) fn peer(pipe: &OwnedHandle, serving: bool) -> Result<u32, Errno> {
    let mut pid = 0;
    // SAFETY: the handle is open; `pid` is where the answer goes.
    let told = unsafe {
        match serving {
            true => GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut pid),
            false => GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut pid),
        }
    };
    if told == 0 { Err(Errno::last()) } else { Ok(pid) }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::ERROR_SUCCESS;
    use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT};
    use windows_sys::Win32::Security::{
        ACCESS_ALLOWED_ACE, ACL, DACL_SECURITY_INFORMATION, EqualSid, GetAce, GetSecurityDescriptorControl,
        OWNER_SECURITY_INFORMATION, SE_DACL_PROTECTED,
    };
    use windows_sys::Win32::System::SystemServices::ACCESS_ALLOWED_ACE_TYPE;

    use super::*;

    /// Asked of the pipe itself, as an auditor would.
    #[test]
    #[allow(unsafe_code)]
    fn a_pipe_lets_its_owner_in_and_nobody_else() {
        let path = Path::secret().unwrap();
        let made = create(&path, Instance::First, &OwnerOnly::new().unwrap()).unwrap();
        let (mut owner, mut list, mut descriptor) = (null_mut(), std::ptr::null_mut::<ACL>(), null_mut());
        // SAFETY: the handle is open, and everything asked for has a place to go. What comes back lies in `descriptor`,
        // which is not freed.
        unsafe {
            let status = GetSecurityInfo(
                made.as_raw_handle(),
                SE_KERNEL_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &raw mut owner,
                null_mut(),
                &raw mut list,
                null_mut(),
                &raw mut descriptor,
            );
            assert_eq!(status, ERROR_SUCCESS);
            assert!(!list.is_null(), "no list at all would let everybody in");
            assert_eq!((*list).AceCount, 1);
            let mut entry = null_mut();
            assert_ne!(GetAce(list, 0, &raw mut entry), 0);
            let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
            assert_eq!(u32::from((*entry).Header.AceType), ACCESS_ALLOWED_ACE_TYPE);
            assert_ne!(EqualSid((&raw mut (*entry).SidStart).cast(), owner), 0);
            let (mut control, mut revision) = (0, 0);
            assert_ne!(GetSecurityDescriptorControl(descriptor, &raw mut control, &raw mut revision), 0);
            assert_eq!(control & SE_DACL_PROTECTED, SE_DACL_PROTECTED, "it inherits nothing");
        }
        User::own().unwrap().check_owner(made.as_handle(), path.text()).unwrap();
    }

    #[test]
    fn only_this_machine_gets_in_and_the_name_is_taken_once() {
        assert_eq!(MODE & PIPE_REJECT_REMOTE_CLIENTS, PIPE_REJECT_REMOTE_CLIENTS);
        let (path, security) = (Path::secret().unwrap(), OwnerOnly::new().unwrap());
        let first = create(&path, Instance::First, &security).unwrap();
        // That a second `First` is refused is not asked for here: Wine 8 makes it. Listeners do not rely on it.
        create(&path, Instance::Another, &security).unwrap();
        drop(first);
        let only = create(&path.lock(), Instance::Only, &security).unwrap();
        assert_eq!(create(&path.lock(), Instance::Another, &security).err(), Some(Errno::ACCESS));
        drop(only);
        create(&path.lock(), Instance::Only, &security).unwrap();
    }

    #[test]
    fn names_are_one_users() {
        let resolve = |text: &str| Path::resolve(&text.parse().unwrap(), &Common::default()).unwrap();
        let user = User::own().unwrap().text();
        assert!(user.starts_with("S-1-"), "{user}");
        assert_eq!(resolve("pipe:engine").unwrap().text(), r"\\.\pipe\engine");
        assert_eq!(resolve("engine").unwrap().text(), format!(r"\\.\pipe\hostlane-{user}-engine"));
        assert!(resolve("tcp::7000").is_none());
    }
}
