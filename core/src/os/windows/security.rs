//! Who this process acts for, and pipes that belong to that user alone.

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    EqualSid, GetTokenInformation, OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER,
    TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::Errno;
use crate::error::{Code, Error, Result};

/// More than a `TOKEN_USER` with the largest security identifier takes, in words.
const TOKEN_WORDS: usize = 32;

/// The user of this process.
#[derive(Debug)]
pub(super) struct User {
    /// A `TOKEN_USER`, whose identifier lies behind it in the same memory.
    token: Box<[u64; TOKEN_WORDS]>,
    text: String,
}

impl User {
    /// Asked for once: it does not change while the process lives.
    pub(super) fn own() -> Result<&'static User> {
        static OWN: OnceLock<User> = OnceLock::new();
        if let Some(user) = OWN.get() {
            return Ok(user);
        }
        let user = User::ask().map_err(|e| Error::os("asking for the user of this process", e))?;
        Ok(OWN.get_or_init(|| user))
    }

    #[allow(unsafe_code)]
    fn ask() -> Result<User, Errno> {
        let mut token = null_mut();
        // SAFETY: the first is a constant that stands for this process; the last points to where the handle goes.
        if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
            return Err(Errno::last());
        }
        // SAFETY: it was just opened, and is nobody else's.
        let token = unsafe { OwnedHandle::from_raw_handle(token) };
        let mut user = Box::new([0u64; TOKEN_WORDS]);
        let mut len = size_of_val(&*user) as u32;
        // SAFETY: the memory is alive, aligned for what is asked for and as long as said.
        let told = unsafe {
            GetTokenInformation(token.as_raw_handle(), TokenUser, user.as_mut_ptr().cast(), len, &raw mut len)
        };
        if told == 0 {
            return Err(Errno::last());
        }
        let mut user = User { token: user, text: String::new() };
        let mut text = null_mut();
        // SAFETY: the identifier is the one that was just written; `text` points to where the string goes.
        if unsafe { ConvertSidToStringSidW(user.sid(), &raw mut text) } == 0 {
            return Err(Errno::last());
        }
        // SAFETY: the string ends with a zero, and is freed as the call demands after it was copied.
        user.text = unsafe {
            let len = (0..).take_while(|&at| *text.add(at) != 0).count();
            let copy = String::from_utf16_lossy(std::slice::from_raw_parts(text, len));
            LocalFree(text.cast());
            copy
        };
        Ok(user)
    }

    /// `S-1-…`.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    #[allow(unsafe_code)]
    fn sid(&self) -> PSID {
        // SAFETY: the memory holds a `TOKEN_USER` that the system wrote, and is aligned for it.
        unsafe { (*self.token.as_ptr().cast::<TOKEN_USER>()).User.Sid }
    }

    /// `permission_denied` unless the object is this user's. Somebody else may have taken the name first.
    #[allow(unsafe_code)]
    pub(super) fn check_owner(&self, object: BorrowedHandle<'_>, path: &str) -> Result<()> {
        let (mut owner, mut descriptor) = (null_mut(), null_mut());
        // SAFETY: the handle is open; owner and descriptor point to where the answers go, the others are not asked for.
        let status = unsafe {
            GetSecurityInfo(
                object.as_raw_handle(),
                SE_KERNEL_OBJECT,
                OWNER_SECURITY_INFORMATION,
                &raw mut owner,
                null_mut(),
                null_mut(),
                null_mut(),
                &raw mut descriptor,
            )
        };
        if status != ERROR_SUCCESS {
            return Err(Error::os(format_args!("asking for the owner of {path}"), Errno::from_raw(status)));
        }
        let _descriptor = Local(descriptor);
        // SAFETY: both are identifiers that the system made; that of the object lies in its descriptor, alive until here.
        if !owner.is_null() && unsafe { EqualSid(owner, self.sid()) } != 0 {
            return Ok(());
        }
        Err(Error::new(Code::PermissionDenied, format!("{path} belongs to another user")))
    }
}

/// Memory that the system gave and wants back.
#[derive(Debug)]
struct Local(*mut c_void);

#[allow(unsafe_code)]
impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: whoever made this value got the memory from a call that says to free it so.
        unsafe { LocalFree(self.0) };
    }
}

/// What a new pipe is made with: this user owns it and is the only one let in.
#[derive(Debug)]
pub(super) struct OwnerOnly(Local);

// SAFETY: the memory is only read, and freed by whoever drops it.
#[allow(unsafe_code)]
unsafe impl Send for OwnerOnly {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for OwnerOnly {}

impl OwnerOnly {
    #[allow(unsafe_code)]
    pub(super) fn new() -> Result<OwnerOnly> {
        let user = User::own()?.text();
        // The owner; a list that inherits nothing; one entry: all rights, to the owner.
        let text: Vec<u16> = format!("O:{user}G:{user}D:P(A;;GA;;;{user})\0").encode_utf16().collect();
        let mut descriptor = null_mut();
        // SAFETY: the text ends with a zero; `descriptor` points to where the answer goes, whose length is not asked for.
        let made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                null_mut(),
            )
        };
        if made == 0 {
            return Err(Error::os("making the access list of a pipe", Errno::last()));
        }
        Ok(OwnerOnly(Local(descriptor)))
    }

    /// Good as long as `self` is. The handle is closed in programs this process starts.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }
}
