//! A point in time, as an argument.
//!
//! `core` never asks a clock: whoever calls it says what time it is. One scale serves memory and journal:
//! milliseconds since the Unix epoch, as the engine's [`Clock`](crate::Clock) counts them.

use std::{fmt, time::Duration};

/// Milliseconds since the Unix epoch on the engine's own clock.
///
/// ```
/// use sellout::Timestamp;
/// use std::time::Duration;
///
/// let ten = Timestamp::from_millis(1_775_008_800_000);
/// let due = ten.plus(Duration::from_secs(900));
/// assert_eq!(due.since(ten), Duration::from_secs(900));
/// assert_eq!(ten.to_string(), "2026-04-01T02:00:00Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest instant.
    pub const MIN: Self = Self(0);
    /// An instant that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This instant moved later by `span`, in whole milliseconds; it stops at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this instant is; zero if it isn't.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readable = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        match readable {
            Some(instant) => write!(f, "{instant}"),
            None => f.write_str("never"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({} ms)", self.0)
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn instants_move_and_are_read_as_dates() {
        let opening = Timestamp::from_millis(1_396_922_400_000);
        assert_eq!(opening.to_string(), "2014-04-08T02:00:00Z");
        let later = opening.plus(Duration::from_micros(90_500));
        assert_eq!((later.as_millis(), later.since(opening)), (1_396_922_400_090, Duration::from_millis(90)));
        assert_eq!((opening.since(later), Timestamp::MAX.plus(Duration::MAX)), (Duration::ZERO, Timestamp::MAX));
        assert_eq!(Timestamp::MAX.to_string(), "never");
    }
}
