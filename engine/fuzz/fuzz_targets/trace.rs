//! A trace is read, or refused by line.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sellout_loadgen::fuzzing::traced(bytes));
