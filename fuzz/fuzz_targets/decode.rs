#![no_main]
#![allow(missing_docs, unsafe_code)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringleader_fuzz::decode::run(bytes));
