//! libFuzzer's way into [`posthole_fuzz::paths`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::paths(data));
