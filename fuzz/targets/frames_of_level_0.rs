#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostlane::fuzzing::frames_of_level_0(data));
