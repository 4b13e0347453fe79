#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dt_feed_fuzz::decoders(data));
