//! Operations a second, of several threads that start together.
//!
//! What holds:
//! - Every thread has prepared before any begins; the time runs from the first one's beginning to the last one's end.
//! - Operations are dealt to the threads in consecutive ranges that differ by at most one in length.

use std::{
    ops::Range,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Operations that did what they were meant to, as the workers counted them.
    pub done: u64,
    /// From the first worker's beginning to the last one's end.
    pub elapsed: Duration,
}

impl Measured {
    /// Operations a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53 operations")]
        let done = self.done as f64;
        done / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Runs `work` on `threads` threads at once, `operations` in all, each on what `prepare` made of its share.
///
/// `prepare` runs on the worker's own thread, before the time does. `work` says how many of its operations did what
/// they were meant to.
///
/// # Panics
/// If a worker panics.
///
/// ```
/// use sellout_bench::contended::measure;
///
/// let measured = measure(2, 1_000, |share| share, |share| share.map(std::hint::black_box).count() as u64);
/// assert_eq!(measured.done, 1_000);
/// ```
pub fn measure<T>(
    threads: usize,
    operations: u64,
    prepare: impl Fn(Range<u64>) -> T + Sync,
    work: impl Fn(T) -> u64 + Sync,
) -> Measured {
    let barrier = Barrier::new(threads);
    let (barrier, prepare, work) = (&barrier, &prepare, &work);
    thread::scope(|scope| {
        let start = |share| {
            scope.spawn(move || {
                let prepared = prepare(share);
                barrier.wait();
                let begun = Instant::now();
                let done = work(prepared);
                (done, begun, Instant::now())
            })
        };
        let workers: Vec<_> = shares(threads, operations).map(start).collect();
        let ended = workers.into_iter().map(|worker| worker.join().expect("a worker ends by itself"));
        let (done, begun, ended) = ended
            .reduce(|(done, begun, ended), next| (done + next.0, begun.min(next.1), ended.max(next.2)))
            .unwrap_or_else(|| (0, Instant::now(), Instant::now()));
        Measured { done, elapsed: ended.duration_since(begun) }
    })
}

/// `operations` in `threads` consecutive ranges.
fn shares(threads: usize, operations: u64) -> impl Iterator<Item = Range<u64>> {
    let threads = threads as u64;
    let bound = move |thread: u64| operations / threads * thread + (operations % threads).min(thread);
    (0..threads).map(move |thread| bound(thread)..bound(thread + 1))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_operation_is_dealt_once() {
        for (threads, operations) in [(1, 10), (3, 10), (4, 3), (8, 8_000_001)] {
            let mut next = 0;
            for share in shares(threads, operations) {
                assert_eq!(share.start, next);
                next = share.end;
            }
            assert_eq!(next, operations);
        }
    }

    #[test]
    fn everybody_has_prepared_before_anybody_begins() {
        let prepared = AtomicUsize::new(0);
        let prepare = |_| {
            thread::sleep(Duration::from_millis(5));
            // SeqCst: a test need not be fast.
            prepared.fetch_add(1, Ordering::SeqCst)
        };
        let measured = measure(4, 4, prepare, |_| u64::from(prepared.load(Ordering::SeqCst) == 4));
        assert_eq!(measured.done, 4);
    }

    #[test]
    fn preparing_takes_no_time() {
        let nap = Duration::from_millis(200);
        let measured = measure(2, 2, |_| thread::sleep(nap), |()| 1);
        assert!(measured.elapsed < nap, "{measured:?}");
    }
}
