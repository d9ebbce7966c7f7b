//! libFuzzer's way into [`posthole_fuzz::server`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::server(data));
