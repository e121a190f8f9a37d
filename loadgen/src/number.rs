//! Conversions between counts, nanoseconds and the real numbers that rate curves are made of.
//!
//! The only place where a number changes its kind; each conversion says what it does at its ends.

use std::time::Duration;

/// A count as a real number; counts above 2^53 lose their last bits.
#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a run stay far below 2^53")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

/// The whole part of a real number; negative numbers and NaN become 0, large ones `u64::MAX`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the saturation is the contract")]
pub(crate) const fn whole(number: f64) -> u64 {
    number as u64
}

/// A length in memory as a count.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A count as an index; one that is beyond the address space becomes `usize::MAX`.
pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A span in whole nanoseconds; spans beyond 584 years become `u64::MAX`.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A span in whole milliseconds; beyond 584 million years it becomes `u64::MAX`.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
