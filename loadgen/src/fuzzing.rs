//! What must hold whatever stands in a scenario or a trace: the bodies of the fuzz targets, which the tests replay on
//! the inputs that fuzzing has kept, in `engine/fuzz/corpus`.
//!
//! Each takes any bytes. It panics if a promise is broken, and that is what a fuzzer looks for.

use std::path::Path;

use crate::{
    arrivals::{Curve, Schedule, Segment, Spacing, trace},
    scenario::Scenario,
};

/// More than the longest message.
const MOST_MESSAGE: usize = 12 * 1_024;

/// Arrivals that are drawn of each curve.
const ARRIVALS: usize = 64;

/// A scenario is read into sales that an engine takes and curves of which arrivals can be drawn, or refused by line.
///
/// # Panics
/// If that does not hold.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match Scenario::parse(text, "own.toml", Path::new("no-traces-here")) {
        Ok(scenario) => {
            assert!(scenario.visits().is_finite() && scenario.visits() >= 1.0, "{} visits", scenario.visits());
            assert!(
                scenario.sales.iter().all(|sale| sale.spec(sellout::Timestamp::MIN, &scenario.sales).check().is_ok())
            );
            curves_can_be_drawn(scenario.arrivals.into_iter().map(|arrivals| arrivals.curve).collect());
        }
        Err(error) => names_file_and_line(&error.to_string(), &["own.toml:", "no-traces-here"]),
    }
}

/// A trace is read into as many seconds as it has rows, and the quiet between them, or refused by line.
///
/// # Panics
/// If that does not hold.
pub fn traced(bytes: &[u8]) {
    match trace::parse(bytes, "own.csv", 2.0) {
        Ok(segments) => {
            let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
            assert!(segments.len() <= 2 * lines, "{} segments of {lines} lines", segments.len());
            assert!(segments.iter().all(|segment| segment.visits().is_finite() && segment.seconds() >= 1.0));
            curves_can_be_drawn(vec![Curve { starts: 0.0, segments, spacing: Spacing::Even }]);
        }
        Err(error) => names_file_and_line(&error.to_string(), &["own.csv:"]),
    }
}

/// Arrivals come in order, and inside the curve.
fn curves_can_be_drawn(curves: Vec<Curve>) {
    let ends = curves.iter().map(Curve::ends).fold(0.0, f64::max);
    let total: f64 = curves.iter().flat_map(|curve| &curve.segments).map(Segment::visits).sum();
    let mut before = 0;
    for (place, arrival) in Schedule::new(&curves.into(), 7, 0, 1).take(ARRIVALS).enumerate() {
        assert!(arrival.due_ns >= before, "arrival {place} at {} ns comes after one at {before} ns", arrival.due_ns);
        assert!(
            crate::number::real(arrival.due_ns) <= (ends * 1e9).max(0.0) * (1.0 + 1e-9) + 1.0,
            "{arrival:?} {ends}"
        );
        before = arrival.due_ns;
    }
    assert!(total >= 0.0, "{total} visits");
}

fn names_file_and_line(message: &str, starts: &[&str]) {
    assert!(starts.iter().any(|start| message.contains(start)), "which file? {message}");
    assert!(message.len() <= MOST_MESSAGE, "a message of {} bytes", message.len());
    assert!(!message.chars().any(|character| character.is_control() && character != '\n'), "{message:?}");
    assert!(message.contains(|character: char| character.is_ascii_digit()) || message.contains("no rows"), "{message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every input that fuzzing has kept for a target.
    fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/fuzz/corpus").join(target);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let path = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path();
        entries.map(path).map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
    }

    fn replay(target: &str, body: fn(&[u8])) {
        let inputs = corpus(target);
        assert!(!inputs.is_empty(), "fuzzing has kept nothing for {target}");
        for (path, bytes) in inputs {
            let held = std::panic::catch_unwind(|| body(&bytes));
            assert!(held.is_ok(), "{path} breaks what must hold");
        }
    }

    #[test]
    fn whatever_stands_in_a_scenario_it_is_read_or_refused_by_line() {
        replay("scenario", scenario);
    }

    #[test]
    fn whatever_stands_in_a_trace_it_is_read_or_refused_by_line() {
        replay("trace", traced);
    }

    #[test]
    #[should_panic(expected = "which file?")]
    fn control_a_message_without_its_file_is_caught() {
        names_file_and_line("line 3: a stock of 0", &["own.toml:"]);
    }

    #[test]
    #[should_panic(expected = "a message of")]
    fn control_a_message_that_shows_all_of_a_file_is_caught() {
        names_file_and_line(&format!("own.toml:1: {}", "x".repeat(1 << 20)), &["own.toml:"]);
    }
}
