#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostlane::fuzzing::handshake_of_a_client(data));
