//! What comes from outside as text.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sellout::fuzzing::texts(bytes));
