//! Time is an effect: the engine asks a [`Clock`], a real one or one that a test moves by hand.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

use crate::core::Timestamp;

/// Says what time it is.
///
/// Successive answers must never go back, also when several threads ask. `reserve` asks on its hot path.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Called once a tick: a good moment to look at what [`Clock::now`] hasn't the time for.
    fn resync(&self) {}
}

/// The machine's clock: wall-clock time as it was when this value was made, moved on by a clock that nobody sets.
///
/// It counts the time that the machine sleeps, as soon as a tick finds it out, and does not follow a later step of
/// the wall clock: a hold can neither live for ever nor die at once because somebody set the date. Its resolution is
/// the kernel's coarse tick, 1 to 10 ms, for which a look costs a few nanoseconds.
#[derive(Debug)]
pub struct SystemClock {
    /// What the wall clock showed, less what the machine had run and slept until then; in milliseconds.
    boot: u64,
    /// Milliseconds that the machine has slept since boot.
    slept: AtomicU64,
}

impl SystemClock {
    /// Reads the wall clock, once.
    #[must_use]
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let slept = slept();
        let boot =
            Timestamp::MIN.plus(wall).as_millis().saturating_sub(millis_since_boot(ClockId::MonotonicCoarse) + slept);
        Self { boot, slept: AtomicU64::new(slept) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Timestamp {
        // Relaxed: it only rises, and nothing is published by it.
        let slept = self.slept.load(Ordering::Relaxed);
        Timestamp::from_millis(self.boot + slept + millis_since_boot(ClockId::MonotonicCoarse))
    }

    fn resync(&self) {
        // Relaxed: as in `now`.
        self.slept.fetch_max(slept(), Ordering::Relaxed);
    }
}

/// Milliseconds slept since boot; two clocks are read one after the other, so only whole seconds count.
fn slept() -> u64 {
    let asleep = millis_since_boot(ClockId::Boottime).saturating_sub(millis_since_boot(ClockId::Monotonic));
    asleep / 1_000 * 1_000
}

#[inline]
fn millis_since_boot(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}

/// A clock that stands still until it is moved: for tests, simulations and replays.
///
/// ```
/// use sellout::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::starting_at(Timestamp::from_millis(1_000));
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(clock.now(), Timestamp::from_millis(1_005));
/// ```
#[derive(Debug, Default)]
pub struct ManualClock {
    millis: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `instant`.
    #[must_use]
    pub fn starting_at(instant: Timestamp) -> Self {
        Self { millis: AtomicU64::new(instant.as_millis()) }
    }

    /// Moves the clock on by `span`, in whole milliseconds; it stops at [`Timestamp::MAX`].
    pub fn advance(&self, span: Duration) {
        let later = |millis| Some(Timestamp::from_millis(millis).plus(span).as_millis());
        // Relaxed: the instant is the whole message; nothing else is published by it.
        let _always = self.millis.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Moves the clock to `instant`; a clock that is already later stays.
    pub fn advance_to(&self, instant: Timestamp) {
        // Relaxed: as in `advance`.
        self.millis.fetch_max(instant.as_millis(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        // Relaxed: as in `advance`.
        Timestamp::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_never_goes_back_and_is_near_the_wall_clock() {
        let clock = SystemClock::new();
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        assert!(Timestamp::MIN.plus(wall).since(last) < Duration::from_mins(1));
    }

    #[test]
    fn manual_clock_never_goes_back() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(10));
        clock.advance_to(Timestamp::from_millis(3));
        assert_eq!(clock.now(), Timestamp::from_millis(10));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }
}
