#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dt_acl_fuzz::decoders(data));
