//! Many short tries at once, on several threads: each has a seed of its own, and says what it did.
//!
//! What holds: the seeds of a batch follow each other without a gap; a try that loses something, or panics, ends the
//! batch and is known by its seed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use sellout::sim::Simulation;

use super::{Tried, Verdict, histories, watch::End};

/// What one try did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Orders that were acknowledged.
    pub(super) acknowledged: u64,
    /// What else was done, and how often.
    pub(super) counts: Vec<(&'static str, u64)>,
}

/// Which seeds are tried, and how many at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeds {
    pub(super) first: u64,
    pub(super) most: u64,
    pub(super) threads: u64,
}

/// Simulates the seed's life: engine, disk, Redis and clock.
pub(super) fn simulate(seed: u64) -> Result<Done, String> {
    let tried = Simulation::new(seed).run().map_err(|lost| lost.to_string())?;
    let counts = vec![
        ("steps", tried.steps),
        ("power cuts", tried.power_cuts),
        ("kills", tried.kills),
        ("disk faults", tried.disk_faults),
        ("rotten bits", tried.rots),
        ("compactions", tried.compactions),
        ("bad tokens", tried.tokens),
        ("network faults", tried.network_faults),
        ("Redis faults", tried.redis_faults),
        ("failovers", tried.failovers),
        ("messages", tried.messages),
    ];
    Ok(Done { acknowledged: tried.orders, counts })
}

/// Records the seed's history on real threads, and explains it.
pub(super) fn explain(seed: u64) -> Result<Done, String> {
    let tried = histories::check_one(seed)?;
    let count = |number: usize| number as u64;
    let counts = vec![
        ("calls", count(tried.calls)),
        ("overlaps", count(tried.overlaps)),
        ("on a journal", u64::from(tried.journaled)),
    ];
    Ok(Done { acknowledged: 0, counts })
}

/// Tries the seeds until all are tried, it is over, or one has lost something.
pub(super) fn run(seeds: Seeds, end: &End, one: impl Fn(u64) -> Result<Done, String> + Sync) -> Tried {
    let (next, lost) = (AtomicU64::new(0), AtomicBool::new(false));
    let lane = || {
        let mut tried = Tried::new(0, 0, Verdict::default());
        // Relaxed: a flag that only ends the work, and a number that each gets once.
        while !end.is_over() && !lost.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= seeds.most {
                break;
            }
            let seed = seeds.first.wrapping_add(place);
            tried.tries += 1;
            match catch_unwind(AssertUnwindSafe(|| one(seed))).unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(done) => {
                    tried.acknowledged += done.acknowledged;
                    done.counts.into_iter().for_each(|(what, times)| tried.count(what, times));
                }
                Err(what) => {
                    // Relaxed: as above.
                    lost.store(true, Ordering::Relaxed);
                    tried.lost_by = Some(seed);
                    tried.verdict.wrong(|| what);
                }
            }
        }
        tried
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..seeds.threads).map(|_| scope.spawn(lane)).collect();
        let lanes = lanes.into_iter().map(|lane| lane.join().expect("what panics is caught"));
        lanes.reduce(Tried::and).unwrap_or_else(|| Tried::new(0, 0, Verdict::default()))
    })
}

pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without a word"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::Watch;

    fn batch(threads: u64, one: impl Fn(u64) -> Result<Done, String> + Sync) -> Tried {
        run(Seeds { first: 40, most: 20, threads }, &Watch::start(None, std::sync::Arc::default()).end(), one)
    }

    #[test]
    fn every_seed_is_tried_once_and_what_was_done_is_added_up() {
        let tried = batch(3, |seed| Ok(Done { acknowledged: seed, counts: vec![("steps", 2)] }));
        assert_eq!((tried.tries, tried.acknowledged), (20, (40..60).sum()));
        assert_eq!((tried.counts, tried.lost_by), (vec![("steps", 40)], None));
        assert!(tried.verdict.is_good());
    }

    #[test]
    fn control_a_seed_that_loses_something_or_panics_is_named() {
        let loses = |seed| if seed == 47 { Err("an order".to_owned()) } else { Ok(Done::default()) };
        let panics = |seed| if seed == 47 { panic!("an order") } else { Ok(Done::default()) };
        for tried in [batch(3, loses), batch(3, panics), batch(1, loses)] {
            assert_eq!((tried.lost_by, tried.verdict.wrong), (Some(47), 1));
            assert!(tried.verdict.findings[0].contains("an order"), "{tried:?}");
        }
        assert_eq!(batch(1, panics).tries, 8, "it ends with the loss");
    }

    #[test]
    fn a_simulation_and_a_history_say_what_they_did() {
        let [simulated, explained] = [simulate(1), explain(1)].map(|done| done.expect("nothing is lost").counts);
        assert_eq!(simulated[0].0, "steps");
        assert!(simulated[0].1 > 0 && explained[0].1 > 0, "{simulated:?} {explained:?}");
    }
}
