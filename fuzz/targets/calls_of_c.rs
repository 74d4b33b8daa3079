#![no_main]

// Nothing of it is named here: the calls are made by C.
use hostlane_c_linked as _;

unsafe extern "C" {
    fn random_calls(data: *const u8, size: usize);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // SAFETY: as many bytes as it says, read during the call; libFuzzer calls from one thread.
    unsafe { random_calls(data.as_ptr(), data.len()) }
});
