//! Files that were not written by a journal are opened, or refused by file and offset.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sellout::fuzzing::journal_bytes(bytes));
