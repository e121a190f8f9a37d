//! The report: a table for people, JSON rows for tools.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::contest::Row;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The table could not be shown.
    #[error("the table could not be written to the standard output: {0}")]
    Table(#[from] io::Error),
    /// The file could not be written.
    #[error("the rows could not be written to {}: {source}: choose another file with -o", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Writes the table's head.
///
/// # Errors
/// What `out` says.
pub fn head(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "millions a second; ratio with its 95% interval")?;
    writeln!(out)?;
    let (row, threads, ours, other) = ("row", "threads", "ours", "other");
    writeln!(out, "{row:<16} {threads:>7} {ours:>9} {other:>9} {:>7}  {:<16} other is", "ratio", "interval")
}

/// Writes one row of the table.
///
/// # Errors
/// What `out` says.
pub fn line(out: &mut dyn Write, row: &Row) -> io::Result<()> {
    let Row { name, threads, ours, other, other_name, ratio, low, high, .. } = row;
    let interval = format!("{low:.2} .. {high:.2}");
    let [ours, other] = [ours, other].map(|rate| rate / 1e6);
    writeln!(out, "{name:<16} {threads:>7} {ours:>9.2} {other:>9.2} {ratio:>7.2}  {interval:<16} {other_name}")?;
    out.flush()
}

/// A file for the rows: made before anything is measured, so that minutes of work are not lost to a mistyped name.
#[derive(Debug)]
pub struct RowsFile {
    path: PathBuf,
    file: File,
}

impl RowsFile {
    /// Makes the file at `path`, or empties it.
    ///
    /// # Errors
    /// [`ReportError::File`] if it can't be written.
    pub fn create(path: &Path) -> Result<Self, ReportError> {
        let path = path.to_owned();
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(ReportError::File { path, source }),
        }
    }

    /// Writes all rows, as a JSON array of objects.
    ///
    /// # Errors
    /// [`ReportError::File`] if the file can't be written.
    pub fn save(mut self, rows: &[Row]) -> Result<(), ReportError> {
        let text = serde_json::to_string_pretty(rows).map_err(io::Error::from);
        let written = text.and_then(|text| writeln!(self.file, "{text}"));
        written.map_err(|source| ReportError::File { path: self.path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        name: "accept",
        unit: "holds a second",
        threads: 2,
        ours: 20e6,
        other: 10e6,
        other_name: "peer",
        ratio: 2.0,
        low: 1.9,
        high: 2.1,
    };

    #[test]
    fn a_row_has_the_fields_that_tools_read() {
        let json = serde_json::to_value([ROW]).expect("plain data");
        let row = json[0].as_object().expect("an object");
        let mut fields: Vec<_> = row.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["high", "low", "name", "other", "other_name", "ours", "ratio", "threads", "unit"]);
    }

    #[test]
    fn head_and_rows_stand_in_the_same_columns() {
        let mut out = Vec::new();
        head(&mut out).expect("memory");
        line(&mut out, &ROW).expect("memory");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines[0].find("interval"), lines[1].find("1.90"));
        assert_eq!(lines[0].find("other is"), lines[1].find("peer"));
    }
}
