//! libFuzzer's way into [`posthole_fuzz::pair`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::pair(data));
