//! The schedule: the instants at which one worker's people come, in order, from the curves and the seed alone.
//!
//! Each worker has a part of every curve. With even spacing it takes every n-th visit of the curve; at random it
//! draws a Poisson process of an n-th of the rate (a Poisson process that is split at random is made of Poisson
//! processes). Phases that overlap are merged as they are drawn.

use std::sync::Arc;

use super::curve::{Curve, Spacing};
use crate::{
    chance::Dice,
    number::{count, real, whole},
};

/// Scenario nanoseconds in a second.
const SECOND: f64 = 1e9;

/// One arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When, in scenario nanoseconds after the start of the run.
    pub due_ns: u64,
    /// The place of its curve.
    pub phase: usize,
}

/// One worker's arrivals, in scenario nanoseconds after the start of the run, in order.
///
/// Its memory depends on the number of phases only.
#[derive(Debug)]
pub struct Schedule {
    streams: Vec<Stream>,
}

/// One worker's part of one phase.
#[derive(Debug)]
struct Stream {
    curves: Arc<[Curve]>,
    phase: usize,
    segment: usize,
    /// Seconds and visits before the present segment.
    seconds_before: f64,
    visits_before: f64,
    workers: f64,
    /// The visit that comes next, on the axis of the curve's integral.
    visit: f64,
    dice: Dice,
    next_ns: Option<u64>,
}

impl Schedule {
    /// The arrivals of worker `worker` of `workers` on `curves` under the master `seed`.
    #[must_use]
    pub fn new(curves: &Arc<[Curve]>, seed: u64, worker: usize, workers: usize) -> Self {
        let mut dice = Dice::of_worker(seed, worker);
        let stream = |phase| {
            let mut stream = Stream {
                curves: Arc::clone(curves),
                phase,
                segment: 0,
                seconds_before: 0.0,
                visits_before: 0.0,
                workers: real(count(workers)),
                visit: 0.0,
                dice: dice.fork(),
                next_ns: None,
            };
            stream.visit = match curves[phase].spacing {
                Spacing::Even => real(count(worker)) + 0.5,
                Spacing::Random => stream.dice.exponential(stream.workers),
            };
            stream.next_ns = stream.locate();
            stream
        };
        Self { streams: (0..curves.len()).map(stream).collect() }
    }

    /// When the next arrival is due; `None` once all have come.
    #[must_use]
    pub fn peek(&self) -> Option<u64> {
        self.streams.iter().filter_map(|stream| stream.next_ns).min()
    }

    /// How many arrivals that did not come yet are due by `until_ns`, without drawing them: a crowd that nobody could
    /// serve has billions. At random it is the number to be expected.
    #[must_use]
    pub fn due_by(&self, until_ns: u64) -> u64 {
        self.streams.iter().map(|stream| stream.due_by(until_ns)).sum()
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let stream = match self.streams.as_mut_slice() {
            [only] => only,
            many => many.iter_mut().min_by_key(|stream| stream.next_ns.unwrap_or(u64::MAX))?,
        };
        let arrival = Arrival { due_ns: stream.next_ns?, phase: stream.phase };
        stream.advance();
        Some(arrival)
    }
}

impl Stream {
    fn advance(&mut self) {
        self.visit += match self.curves[self.phase].spacing {
            Spacing::Even => self.workers,
            Spacing::Random => self.dice.exponential(self.workers),
        };
        self.next_ns = self.locate();
    }

    fn due_by(&self, until_ns: u64) -> u64 {
        if self.next_ns.is_none_or(|next_ns| next_ns > until_ns) {
            return 0;
        }
        let curve = &self.curves[self.phase];
        let left = curve.visits_by(real(until_ns) / SECOND) - self.visit;
        1 + whole((left / self.workers).max(0.0))
    }

    /// The instant of the present visit, or `None` beyond the curve's end.
    fn locate(&mut self) -> Option<u64> {
        let curve = &self.curves[self.phase];
        loop {
            let segment = curve.segments.get(self.segment)?;
            let visits = segment.visits();
            if self.visit < self.visits_before + visits {
                let inside = segment.seconds_until(self.visit - self.visits_before);
                return Some(whole((curve.starts + self.seconds_before + inside) * SECOND));
            }
            self.visits_before += visits;
            self.seconds_before += segment.seconds();
            self.segment += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    //! Properties: with even spacing the count up to any instant is the integral to within one, however many workers
    //! share it; at random it is the integral to within what chance allows; a schedule is in order; the same seed
    //! gives the same schedule, another seed another one.

    use proptest::prelude::*;

    use super::{super::curve::Segment, *};

    fn any_curves(spacing: Spacing) -> impl Strategy<Value = Arc<[Curve]>> {
        let linear = (0.1_f64..20.0, 0.0_f64..200.0, 0.0_f64..200.0).prop_map(|(seconds, from, to)| Segment::Linear {
            seconds,
            from,
            to,
        });
        let decay = (0.1_f64..20.0, 1.0_f64..200.0, 0.1_f64..5.0).prop_map(|(seconds, from, mean)| Segment::Decay {
            seconds,
            from,
            mean,
        });
        let segments = prop::collection::vec(prop_oneof![linear, decay], 1..5);
        let curve = (0.0_f64..10.0, segments).prop_map(move |(starts, segments)| Curve { starts, segments, spacing });
        prop::collection::vec(curve, 1..4).prop_map(Arc::from)
    }

    fn due(schedule: Schedule) -> impl Iterator<Item = u64> {
        schedule.map(|arrival| arrival.due_ns)
    }

    fn all_workers(curves: &Arc<[Curve]>, seed: u64, workers: usize) -> Vec<u64> {
        let mut all: Vec<u64> =
            (0..workers).flat_map(|worker| due(Schedule::new(curves, seed, worker, workers))).collect();
        all.sort_unstable();
        all
    }

    fn integral_until(curves: &[Curve], instant: f64) -> f64 {
        curves.iter().map(|curve| curve.visits_by(instant)).sum()
    }

    proptest! {
        #[test]
        fn even_counts_follow_the_integral(
            curves in any_curves(Spacing::Even), workers in 1_usize..5, part in 0.0_f64..1.0,
        ) {
            let all = all_workers(&curves, 1, workers);
            let end = curves.iter().map(Curve::ends).fold(0.0, f64::max) * part;
            let came = real(count(all.iter().filter(|&&due| due <= whole(end * SECOND)).count()));
            let slack = real(count(curves.len())) * 0.51 + 1e-3;
            prop_assert!((came - integral_until(&curves, end)).abs() <= slack);
        }

        #[test]
        fn random_counts_follow_the_integral_as_far_as_chance_allows(
            curves in any_curves(Spacing::Random), workers in 1_usize..5, seed in any::<u64>(),
        ) {
            let came = real(count(all_workers(&curves, seed, workers).len()));
            let mean: f64 = curves.iter().map(Curve::visits).sum();
            prop_assert!((came - mean).abs() <= 6.0 * mean.sqrt() + 6.0, "{came} of {mean}");
        }

        #[test]
        fn the_seed_fixes_the_schedule_and_it_is_in_order(curves in any_curves(Spacing::Random), seed in any::<u64>()) {
            let once: Vec<u64> = due(Schedule::new(&curves, seed, 1, 3)).collect();
            let again: Vec<u64> = due(Schedule::new(&curves, seed, 1, 3)).collect();
            prop_assert_eq!(&once, &again);
            prop_assert!(once.is_sorted());
            if once.len() > 3 {
                let other: Vec<u64> = due(Schedule::new(&curves, seed ^ 1, 1, 3)).collect();
                prop_assert_ne!(once, other);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_due_is_counted_without_drawing_it(
            curves in any_curves(Spacing::Even), workers in 1_usize..4, taken in 0_usize..300, part in 0.0_f64..1.1,
        ) {
            let end = whole(curves.iter().map(Curve::ends).fold(0.0, f64::max) * part * SECOND);
            for worker in 0..workers {
                let mut schedule = Schedule::new(&curves, 1, worker, workers);
                let _ = schedule.by_ref().take(taken).count();
                let told = schedule.due_by(end);
                let drawn = count(due(schedule).filter(|due| *due <= end).count());
                prop_assert!(told.abs_diff(drawn) <= count(curves.len()), "{told} {drawn}");
            }
        }
    }

    #[test]
    fn nobody_comes_while_the_rate_is_zero() {
        let still = Segment::Linear { seconds: 5.0, from: 0.0, to: 0.0 };
        let busy = Segment::Linear { seconds: 1.0, from: 10.0, to: 10.0 };
        let curves: Arc<[Curve]> =
            Arc::from([Curve { starts: 2.0, segments: vec![still, busy, still], spacing: Spacing::Even }]);
        let all: Vec<u64> = due(Schedule::new(&curves, 1, 0, 1)).collect();
        assert_eq!(all.len(), 10);
        assert!(all.iter().all(|due| (7_000_000_000..8_000_000_000).contains(due)));
    }
}
