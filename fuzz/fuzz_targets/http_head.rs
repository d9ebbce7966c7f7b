//! libFuzzer's way into [`posthole_fuzz::http_head`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::http_head(data));
