//! A recorded crowd: a CSV of `second,requests`, one row a second, ascending; seconds that are missing were quiet.
//! Lines that begin with `#` and empty lines are left out, and so is a first line of column names.
//!
//! Holds true: whoever wrote the file, reading it takes memory for [`MOST_BYTES`] of text and [`MOST_ROWS`] rows at
//! most, and an error names the line and shows little of what stands there.

use std::{io::Read, path::Path};

use super::curve::Segment;
use crate::{
    number::real,
    shown::{WORD, shown},
};

/// More rows than that are refused: a row a second for 31 days. Tests need not write as many.
pub const MOST_ROWS: usize = if cfg!(any(test, fuzzing)) { 5_000 } else { 31 * 24 * 60 * 60 };

/// A longer file is refused: a trace of that many rows is shorter.
pub const MOST_BYTES: u64 = 64 << 20;

/// Why a trace can't be replayed; the message names the line and what was expected there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file can't be opened.
    #[error("can't open the trace {path}: {source}")]
    Open {
        /// The trace.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A line isn't what it should be.
    #[error("{path}:{line}: {problem}; expected `second,requests`, two whole numbers with the seconds ascending")]
    Line {
        /// The trace.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// It is longer than a recorded crowd can be.
    #[error(
        "{path}:{line}: the trace goes on beyond {MOST_BYTES} bytes or {MOST_ROWS} rows; expected a row a second for \
             at most 31 days: cut it, or replay a part"
    )]
    TooLong {
        /// The trace.
        path: String,
        /// The line, from 1, at which it was given up.
        line: u64,
    },
    /// There is no row.
    #[error("{path}: the trace has no rows; expected lines of `second,requests`")]
    Empty {
        /// The trace.
        path: String,
    },
}

/// Reads the trace at `path`, every count multiplied by `scale`.
///
/// # Errors
/// [`TraceError`] names the line that can't be read.
pub fn read(path: &Path, scale: f64) -> Result<Vec<Segment>, TraceError> {
    let name = path.display().to_string();
    let opened = std::fs::File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    });
    match opened {
        Ok(file) => parse(file, &name, scale),
        Err(source) => Err(TraceError::Open { path: name, source }),
    }
}

/// Reads a trace called `name` from `input`.
///
/// # Errors
/// [`TraceError`] names the line that can't be read.
pub fn parse(input: impl Read, name: &str, scale: f64) -> Result<Vec<Segment>, TraceError> {
    let mut rows = csv::ReaderBuilder::new();
    let rows = rows.has_headers(false).flexible(true).comment(Some(b'#')).trim(csv::Trim::All);
    // One byte beyond the limit shows that there is more.
    let mut rows = rows.from_reader(input.take(MOST_BYTES + 1));
    let (mut segments, mut count) = (Vec::new(), 0);
    let mut next_second: Option<u64> = None;
    let mut row = csv::StringRecord::new();
    loop {
        let wrong = |line, problem: String| TraceError::Line { path: name.to_owned(), line, problem };
        let line = rows.position().line();
        match rows.read_record(&mut row) {
            _ if rows.position().byte() > MOST_BYTES => {
                return Err(TraceError::TooLong { path: name.to_owned(), line });
            }
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                let line = error.position().map_or(line, csv::Position::line);
                return Err(wrong(line, "this is no UTF-8 text".to_owned()));
            }
            Err(error) => return Err(wrong(line, error.to_string())),
        }
        let line = row.position().map_or(line, csv::Position::line);
        if segments.is_empty() && row[0].eq_ignore_ascii_case("second") {
            continue;
        }
        count += 1;
        if count > MOST_ROWS {
            return Err(TraceError::TooLong { path: name.to_owned(), line });
        }
        if row.len() != 2 {
            return Err(wrong(line, format!("the number of fields is {}", row.len())));
        }
        let number = |field: &str| {
            field.parse::<u64>().map_err(|_| wrong(line, format!("{:?} is no count", shown(field, WORD))))
        };
        let (second, requests) = (number(&row[0])?, number(&row[1])?);
        let quiet = match next_second {
            None => 0,
            Some(next) if second >= next => second - next,
            Some(next) => return Err(wrong(line, format!("second {second} after second {}", next - 1))),
        };
        if quiet > 0 {
            segments.push(Segment::Linear { seconds: real(quiet), from: 0.0, to: 0.0 });
        }
        let rate = real(requests) * scale;
        segments.push(Segment::Linear { seconds: 1.0, from: rate, to: rate });
        next_second = second.checked_add(1);
        if next_second.is_none() {
            return Err(wrong(line, format!("second {second} is too late")));
        }
    }
    if segments.is_empty() { Err(TraceError::Empty { path: name.to_owned() }) } else { Ok(segments) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(text.as_bytes(), "t.csv", 1.0).unwrap_err().to_string()
    }

    #[test]
    fn rows_become_one_second_each_and_gaps_are_quiet() {
        let segments = parse("second,requests\n10,4\n11,6\n14,2\n".as_bytes(), "t.csv", 2.0).unwrap();
        let visits: Vec<f64> = segments.iter().map(Segment::visits).collect();
        let seconds: Vec<f64> = segments.iter().map(Segment::seconds).collect();
        assert_eq!(visits, [8.0, 12.0, 0.0, 4.0]);
        assert_eq!(seconds, [1.0, 1.0, 2.0, 1.0]);
    }

    #[test]
    fn a_bad_row_is_named_by_its_line_and_what_was_expected() {
        assert!(problem("second,requests\n0,1\n1,many\n").starts_with("t.csv:3: \"many\" is no count; expected"));
        assert!(problem("0,1\n5,2\n4,3\n").starts_with("t.csv:3: second 4 after second 5"));
        assert!(problem("0,1\n1,2,3\n").starts_with("t.csv:2: the number of fields is 3"));
        assert!(problem("0,1\n1\n").starts_with("t.csv:2: the number of fields is 1"));
        assert!(problem("0,-1\n").starts_with("t.csv:1:"));
        assert!(problem("second,requests\n").contains("no rows"));
        assert!(problem("18446744073709551615,1\n").contains("too late"));
    }

    #[test]
    fn a_trace_without_end_is_given_up_and_takes_no_more_memory_than_a_long_one() {
        // One line for ever, as `/dev/zero` has; and a row for every second until the end of time.
        let error = parse(std::io::repeat(b'1'), "t.csv", 1.0).unwrap_err();
        assert!(error.to_string().starts_with("t.csv:1: the trace goes on beyond"), "{error}");
        let rows = |count: usize| (0..count).map(|second| format!("{second},1")).collect::<Vec<_>>().join("\n");
        assert_eq!(parse(rows(MOST_ROWS).as_bytes(), "t.csv", 1.0).unwrap().len(), MOST_ROWS);
        let error = parse(rows(MOST_ROWS + 1).as_bytes(), "t.csv", 1.0).unwrap_err();
        assert!(matches!(error, TraceError::TooLong { line, .. } if line == MOST_ROWS as u64 + 1), "{error}");
    }

    #[test]
    fn a_field_without_end_is_shown_in_part_and_nothing_of_it_is_obeyed() {
        let error = problem(&format!("0,\u{1b}[2J{}\n", "9".repeat(1_000_000)));
        assert!(error.len() < 400 && !error.contains('\u{1b}'), "{error}");
        assert!(problem("0,NaN\n").starts_with("t.csv:1: \"NaN\" is no count"));
        assert!(problem("0,1e9\n").starts_with("t.csv:1: \"1e9\" is no count"));
        assert!(problem("0,99999999999999999999\n").contains("is no count"));
    }

    #[test]
    fn comments_empty_lines_and_other_line_ends_change_nothing() {
        let plain = parse("0,1\n1,2\n".as_bytes(), "t.csv", 1.0).unwrap();
        for text in ["# June\n\nSecond,Requests\n0,1\n# later\n1,2\n", "0,1\r\n\r\n1,2\r\n", "\u{feff}0, 1\n1, 2"] {
            assert_eq!(parse(text.as_bytes(), "t.csv", 1.0).unwrap(), plain, "{text:?}");
        }
    }

    #[test]
    fn a_trace_that_is_not_there_is_named() {
        let error = read(Path::new("nowhere.csv"), 1.0).unwrap_err();
        assert!(error.to_string().contains("nowhere.csv"));
        let error = read(Path::new("."), 1.0).unwrap_err();
        assert!(matches!(error, TraceError::Open { .. }), "{error}");
    }
}
