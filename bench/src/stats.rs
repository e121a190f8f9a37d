//! Medians, and how sure they are.

use crate::crowd::buyer as random;

/// Resamples of a bootstrap.
const RESAMPLES: u64 = 2_000;

/// A median with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The lower end of the 95% interval.
    pub low: f64,
    /// The upper end of the 95% interval.
    pub high: f64,
}

/// The middle of `samples`, or the mean of the two in the middle; NaN of none.
///
/// ```
/// assert_eq!(sellout_bench::stats::median(&[3.0, 1.0, 2.0]), 2.0);
/// ```
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    middle(&mut samples.to_vec())
}

/// The median of `samples` and its 95% interval by the percentile bootstrap (B. Efron, *Bootstrap Methods: Another
/// Look at the Jackknife*, 1979). The same samples give the same interval.
///
/// ```
/// let estimate = sellout_bench::stats::estimate(&[1.0, 1.1, 0.9, 1.0, 1.2]);
/// assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
/// ```
#[must_use]
pub fn estimate(samples: &[f64]) -> Estimate {
    let count = samples.len() as u64;
    let mut resample = vec![0.0; samples.len()];
    let resampled = (0..RESAMPLES).map(|round| {
        for (place, sample) in (0..count).zip(&mut resample) {
            *sample = samples[drawn(round * count + place, samples.len())];
        }
        middle(&mut resample)
    });
    let mut medians: Vec<f64> = resampled.collect();
    medians.sort_by(f64::total_cmp);
    let at = |per_mille: usize| medians[(medians.len() - 1) * per_mille / 1_000];
    Estimate { median: median(samples), low: at(25), high: at(975) }
}

/// The `number`-th of a repeatable sequence of places below `below`.
fn drawn(number: u64, below: usize) -> usize {
    let scaled = (u128::from(random(number)) * below as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

fn middle(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let half = samples.len() / 2;
    match samples {
        [] => f64::NAN,
        _ if samples.len() % 2 == 1 => samples[half],
        _ => f64::midpoint(samples[half - 1], samples[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    /// Samples spread evenly and in no order over `center` +- `spread`.
    fn samples(count: u64, center: f64, spread: f64) -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a sample need not be exact")]
        let unit = |number| (random(number) >> 11) as f64 / (1_u64 << 53) as f64;
        (0..count).map(|number| center + spread * (2.0 * unit(number) - 1.0)).collect()
    }

    #[test]
    fn a_median_is_in_the_middle_and_an_outlier_does_not_move_it() {
        assert!(near(median(&[5.0, 1.0, 3.0]), 3.0));
        assert!(near(median(&[4.0, 1.0, 3.0, 2.0]), 2.5));
        assert!(near(median(&[1.0, 2.0, 1e9]), 2.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn an_interval_holds_its_median_and_repeats() {
        let samples = samples(15, 2.0, 0.5);
        let once = estimate(&samples);
        assert!(once.low < once.median && once.median < once.high, "{once:?}");
        assert_eq!(once, estimate(&samples));
    }

    #[test]
    fn an_interval_is_a_point_if_all_samples_agree() {
        assert_eq!(estimate(&[2.0; 9]), Estimate { median: 2.0, low: 2.0, high: 2.0 });
    }

    #[test]
    fn an_interval_narrows_with_more_samples_and_widens_with_noise() {
        let width = |samples: Vec<f64>| {
            let Estimate { low, high, .. } = estimate(&samples);
            high - low
        };
        assert!(width(samples(200, 1.0, 0.2)) < width(samples(8, 1.0, 0.2)));
        assert!(width(samples(20, 1.0, 0.02)) < width(samples(20, 1.0, 0.2)));
    }

    #[test]
    fn two_that_differ_are_told_apart_and_two_that_do_not_are_not() {
        let same = estimate(&samples(20, 1.0, 0.1));
        assert!(same.low < 1.0 && 1.0 < same.high, "{same:?}");
        let faster = estimate(&samples(20, 1.3, 0.1));
        assert!(faster.low > 1.0, "{faster:?}");
    }
}
