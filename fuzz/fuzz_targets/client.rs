//! libFuzzer's way into [`posthole_fuzz::client`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::client(data));
