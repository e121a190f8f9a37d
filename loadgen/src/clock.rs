//! Two times in one run: scenario time, which the shop and its rules see, and real time, in which latencies count.
//!
//! `scenario time = base + real time since the start x speed`. Before the start the clock stands still, so that
//! preparing a sale (registering 250,000 people) takes no scenario time.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use sellout::{Clock, Timestamp};

use crate::{
    number::{nanos, real, whole},
    units::Speed,
};

/// Nanoseconds in a millisecond.
const MILLI: f64 = 1e6;

/// The clock of a run, for the shop and for the generator.
///
/// ```
/// use sellout::{Clock, Timestamp};
/// use sellout_loadgen::{clock::ScaledClock, units::Speed};
///
/// let clock = ScaledClock::standing_at(Timestamp::from_millis(5), Speed(60.0));
/// assert_eq!(clock.now(), Timestamp::from_millis(5));
/// clock.start(Timestamp::from_millis(7));
/// assert!(clock.now() >= Timestamp::from_millis(7));
/// ```
#[derive(Debug)]
pub struct ScaledClock {
    standing_at: Timestamp,
    speed: f64,
    started: OnceLock<Start>,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    real: Instant,
    base: Timestamp,
}

impl ScaledClock {
    /// A clock that shows `instant` until it is started.
    #[must_use]
    pub fn standing_at(instant: Timestamp, speed: Speed) -> Self {
        Self { standing_at: instant, speed: speed.0, started: OnceLock::new() }
    }

    /// Lets time run from `base`, or from where the clock stands if that is later. A second start changes nothing.
    pub fn start(&self, base: Timestamp) {
        self.started.get_or_init(|| Start { real: Instant::now(), base: base.max(self.standing_at) });
    }

    /// The scenario instant at which the run started; where the clock stands if it did not start yet.
    #[must_use]
    pub fn base(&self) -> Timestamp {
        self.started.get().map_or(self.standing_at, |start| start.base)
    }

    /// Real nanoseconds since the start; 0 before it.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.started.get().map_or(0, |start| nanos(start.real.elapsed()))
    }

    /// Real nanoseconds that a span of scenario time takes.
    #[must_use]
    pub fn real_ns(&self, scenario: Duration) -> u64 {
        whole(real(nanos(scenario)) / self.speed)
    }

    /// The first real nanosecond since the start at which this clock shows `instant` or later.
    #[must_use]
    pub fn real_ns_of(&self, instant: Timestamp) -> u64 {
        let millis = instant.as_millis().saturating_sub(self.base().as_millis());
        whole((real(millis) * MILLI / self.speed).ceil())
    }

    /// What this clock shows, or showed, at a real nanosecond since the start.
    #[must_use]
    pub fn at_real_ns(&self, elapsed_ns: u64) -> Timestamp {
        let millis = whole(real(elapsed_ns) * self.speed / MILLI);
        Timestamp::from_millis(self.base().as_millis().saturating_add(millis))
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        self.at_real_ns(self.elapsed_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_and_scenario_time_agree_at_every_instant() {
        for speed in [0.5, 1.0, 7.0, 60.0, 600.0] {
            let clock = ScaledClock::standing_at(Timestamp::from_millis(1_000), Speed(speed));
            for millis in (0..100_000).step_by(37) {
                let instant = Timestamp::from_millis(1_000 + millis);
                assert!(clock.at_real_ns(clock.real_ns_of(instant) + 1) >= instant);
                assert!(clock.at_real_ns(clock.real_ns_of(instant).saturating_sub(2)) <= instant);
            }
        }
    }

    #[test]
    fn the_clock_never_goes_behind_where_it_stood() {
        let clock = ScaledClock::standing_at(Timestamp::from_millis(1_000), Speed(1.0));
        clock.start(Timestamp::from_millis(10));
        assert!(clock.now() >= Timestamp::from_millis(1_000));
    }
}
