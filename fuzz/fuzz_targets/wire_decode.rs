//! libFuzzer's way into [`posthole_fuzz::wire_decode`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::wire_decode(data));
