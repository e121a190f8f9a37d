//! The stories lie in `examples/`, one file each; the book shows what they print. Here is what they share, and here the
//! pages of the book become doctests.

use std::{fs, io, path::Path};

use sellout::Timestamp;

#[cfg(doctest)]
mod book;

/// The time of day in Beijing, where the stories happened.
///
/// ```
/// use sellout::Timestamp;
///
/// let ten_sharp = Timestamp::from_millis(1_396_317_600_000);
/// assert_eq!(sellout_examples::beijing(ten_sharp), "10:00:00");
/// ```
#[must_use]
pub fn beijing(instant: Timestamp) -> String {
    let seconds = instant.as_millis() / 1_000 + 8 * 3_600;
    format!("{:02}:{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Copies a journal's folder as it is now: what is left of it when the power goes at this moment.
///
/// # Errors
/// If a file can't be read or written.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
