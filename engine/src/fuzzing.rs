//! What must hold whatever comes from outside: the bodies of the fuzz targets, which the tests replay on the inputs
//! that fuzzing has kept, in `engine/fuzz/corpus`.
//!
//! ```text
//! journal_bytes     files that no journal wrote           shelf     the folder in memory that they lie in
//! journal_records   records that no engine wrote, in frames whose checksums hold
//! texts             tokens, invitations, ids, keys, URLs
//! ```
//!
//! Each takes any bytes. It panics if a promise is broken, and that is what a fuzzer looks for.

mod journal;
mod shelf;
mod texts;

pub use journal::{journal_bytes, journal_records};
pub use texts::texts;

#[cfg(test)]
mod tests {
    use std::{fs, panic, path::Path};

    /// Every input that fuzzing has kept for a target.
    pub(super) fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let path = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path();
        let inputs: Vec<_> =
            entries.map(path).map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
        assert!(!inputs.is_empty(), "fuzzing has kept nothing for {target}");
        inputs
    }

    fn replay(target: &str, body: fn(&[u8])) {
        for (path, bytes) in corpus(target) {
            assert!(panic::catch_unwind(|| body(&bytes)).is_ok(), "{path} breaks what must hold");
        }
    }

    #[test]
    fn whatever_stands_in_its_files_a_journal_is_opened_or_refused_by_file_and_offset() {
        replay("journal_bytes", super::journal_bytes);
    }

    #[test]
    fn whatever_its_records_say_a_journal_is_opened_and_adds_up_or_is_refused() {
        replay("journal_records", super::journal_records);
    }

    #[test]
    fn whatever_comes_as_text_opens_nothing_and_shows_no_secret() {
        replay("texts", super::texts);
    }
}
