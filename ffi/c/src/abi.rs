//! What a program checks before anything else: versions, and the words of the status numbers.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use hostlane_bridge::Code;

/// What every call that can fail returns: HOSTLANE_OK, or one of the HOSTLANE_E_ numbers. Numbers are never reused; a
/// newer library may return numbers that an older header does not list.
pub type hostlane_status_t = i32;

/// Wait without limit.
pub const HOSTLANE_FOREVER: i64 = -1;
/// Do not wait: take only what is there now.
pub const HOSTLANE_NO_WAIT: i64 = 0;

/// The number of this binary interface. It changes when a program built with an older header could not run safely: when a
/// function changes, or a struct that the library writes. Options, which the program writes, tell their size themselves.
pub const HOSTLANE_ABI_VERSION: u32 = 3;
/// The version of the library this header belongs to: HOSTLANE_VERSION_MAJOR.HOSTLANE_VERSION_MINOR.HOSTLANE_VERSION_PATCH.
pub const HOSTLANE_VERSION_MAJOR: u32 = 0;
/// See HOSTLANE_VERSION_MAJOR.
pub const HOSTLANE_VERSION_MINOR: u32 = 1;
/// See HOSTLANE_VERSION_MAJOR.
pub const HOSTLANE_VERSION_PATCH: u32 = 0;

const _: () = {
    const fn number(text: &str) -> u32 {
        match u32::from_str_radix(text, 10) {
            Ok(number) => number,
            Err(_) => panic!("a part of the package version is no number"),
        }
    }
    assert!(HOSTLANE_VERSION_MAJOR == number(env!("CARGO_PKG_VERSION_MAJOR")));
    assert!(HOSTLANE_VERSION_MINOR == number(env!("CARGO_PKG_VERSION_MINOR")));
    assert!(HOSTLANE_VERSION_PATCH == number(env!("CARGO_PKG_VERSION_PATCH")));
};

/// The HOSTLANE_ABI_VERSION of the loaded library. A program that loads the library at run time compares it with its own
/// and stops when they differ.
#[unsafe(no_mangle)]
pub extern "C" fn hostlane_abi_version() -> u32 {
    HOSTLANE_ABI_VERSION
}

/// The version of the loaded library, such as "1.2.3". A terminated string that is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn hostlane_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The name of a status, such as "timeout"; "ok" for HOSTLANE_OK, "unknown" for a number this library does not know.
/// A terminated string that is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn hostlane_status_name(status: hostlane_status_t) -> *const c_char {
    words(status).0
}

/// What a status means, in one sentence. A terminated string that is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn hostlane_status_meaning(status: hostlane_status_t) -> *const c_char {
    words(status).1
}

/// The table of core with a NUL behind each word, made at the first question.
static WORDS: OnceLock<Vec<(i32, CString, CString)>> = OnceLock::new();

fn words(status: hostlane_status_t) -> (*const c_char, *const c_char) {
    if status == crate::status::HOSTLANE_OK {
        return (c"ok".as_ptr(), c"The call succeeded.".as_ptr());
    }
    let table = WORDS.get_or_init(|| {
        let word = |text: &str| CString::new(text).unwrap_or_default();
        Code::ALL.iter().map(|code| (code.number(), word(code.name()), word(code.meaning()))).collect()
    });
    match table.binary_search_by_key(&status, |row| row.0) {
        Ok(at) => (table[at].1.as_ptr(), table[at].2.as_ptr()),
        Err(_) => (c"unknown".as_ptr(), c"A status that this version of the library does not know.".as_ptr()),
    }
}
