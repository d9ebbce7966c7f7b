//! libFuzzer's way into [`posthole_fuzz::http_way`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::http_way(data));
