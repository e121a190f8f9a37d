//! What measuring costs: a clock read, a histogram record, the processor time of a thread.

use std::{hint::black_box, time::Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::Latencies;
use crate::number::{nanos, real};

/// How many times each is done to be measured.
const ROUNDS: u32 = 20_000;

/// What measuring one request costs the generator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct MeasuringCost {
    /// Reading the clock once, in nanoseconds.
    pub clock_read: f64,
    /// Recording the three latencies of one request, in nanoseconds.
    pub record: f64,
}

impl MeasuringCost {
    /// Measures it, in under ten milliseconds.
    #[must_use]
    pub fn measured() -> Self {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            black_box(Instant::now());
        }
        let clock_read = real(nanos(started.elapsed())) / f64::from(ROUNDS);
        let mut latencies = Latencies::default();
        let started = Instant::now();
        for round in 0..u64::from(ROUNDS) {
            latencies.record(black_box(round), black_box(round + 90), black_box(round + 200 + round % 64));
        }
        let record = real(nanos(started.elapsed())) / f64::from(ROUNDS);
        black_box(&latencies);
        Self { clock_read, record }
    }
}

/// Processor time that the calling thread has used, in nanoseconds.
#[must_use]
pub fn cpu_ns_of_thread() -> u64 {
    cpu_ns(ClockId::ThreadCPUTime)
}

/// Processor time that this process has used, in nanoseconds.
#[must_use]
pub fn cpu_ns_of_process() -> u64 {
    cpu_ns(ClockId::ProcessCPUTime)
}

fn cpu_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
