//! How far a run is: counters that the workers move in large steps, for whoever watches.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sellout::Clock;

use crate::clock::ScaledClock;

/// Counters of all workers together; they lag by a few thousand requests.
#[derive(Debug, Default)]
pub struct Live {
    requests: AtomicU64,
    held: AtomicU64,
    sold: AtomicU64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Scenario time since the start.
    pub scenario: Duration,
    /// Requests answered.
    pub requests: u64,
    /// Units that were ever put on hold.
    pub held: u64,
    /// Units sold.
    pub sold: u64,
}

impl Live {
    /// Adds what a worker did since it last told.
    pub(super) fn add(&self, step: &mut Progress) {
        if *step == Progress::default() {
            return;
        }
        // Relaxed: each counter stands for itself; nothing is concluded from two of them.
        self.requests.fetch_add(step.requests, Ordering::Relaxed);
        self.held.fetch_add(step.held, Ordering::Relaxed);
        self.sold.fetch_add(step.sold, Ordering::Relaxed);
        *step = Progress::default();
    }

    pub(super) fn progress(&self, clock: &ScaledClock) -> Progress {
        // Relaxed: as in `add`.
        Progress {
            scenario: clock.now().since(clock.base()),
            requests: self.requests.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
            sold: self.sold.load(Ordering::Relaxed),
        }
    }
}
