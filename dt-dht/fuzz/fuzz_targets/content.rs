#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dt_dht_fuzz::content(data));
