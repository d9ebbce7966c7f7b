//! libFuzzer's way into [`posthole_fuzz::frames`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_fuzz::frames(data));
