//! Latency histograms: fixed memory, three significant digits, real nanoseconds.
//!
//! `response` counts from the intended start, `service` from the real one, `lag` between the two. Only response says
//! what people waited; service alone is what coordinated omission leaves (Gil Tene, "How NOT to Measure Latency").

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Significant decimal digits.
const DIGITS: u8 = 3;

/// The three latencies of one kind of request.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// End minus intended start.
    pub response: Histogram<u64>,
    /// End minus start.
    pub service: Histogram<u64>,
    /// Start minus intended start.
    pub lag: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let empty = || Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("the bounds are constants in range");
        Self { response: empty(), service: empty(), lag: empty() }
    }
}

impl Latencies {
    /// Records one request, in real nanoseconds since the start of the run.
    pub fn record(&mut self, intended: u64, started: u64, ended: u64) {
        self.response.saturating_record(ended.saturating_sub(intended));
        self.service.saturating_record(ended.saturating_sub(started));
        self.lag.saturating_record(started.saturating_sub(intended));
    }

    /// Adds what another worker recorded.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in
            [(&mut self.response, &other.response), (&mut self.service, &other.service), (&mut self.lag, &other.lag)]
        {
            // All histograms have the same bounds, so no sample of the other can be refused.
            let _ = mine.add(theirs);
        }
    }
}

/// The figures of one histogram, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// 90% took at most this.
    pub p90: u64,
    /// 99% took at most this.
    pub p99: u64,
    /// 99.9% took at most this.
    pub p99_9: u64,
    /// 99.99% took at most this.
    pub p99_99: u64,
    /// The longest.
    pub max: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), p99_99: at(0.9999), max: histogram.max() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_start_shows_in_response_and_lag_but_not_in_service() {
        let mut latencies = Latencies::default();
        latencies.record(1_000, 201_000, 201_050);
        assert_eq!(Percentiles::from(&latencies.service).max, 50);
        assert!(Percentiles::from(&latencies.response).max >= 200_000);
        assert!(Percentiles::from(&latencies.lag).max >= 199_000);
    }

    #[test]
    fn merging_loses_no_sample() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(0, 0, 10);
        other.record(0, 0, u64::MAX);
        one.merge(&other);
        assert_eq!(one.response.len(), 2);
    }
}
