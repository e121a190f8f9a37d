//! Records that no journal wrote, in frames whose checksums hold.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sellout::fuzzing::journal_records(bytes));
