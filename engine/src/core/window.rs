//! When a sale sells: from one instant until another. Both can be moved while everybody looks.
//!
//! ```text
//! version | opens, closes | opens, closes |      the version's last bit says which pair stands
//! ```
//!
//! What holds: a look sees a pair that stood at some instant of the look, never half of one and half of another; it
//! waits for nobody, and is tried again only if the window was moved meanwhile. One thread at a time moves it: whoever
//! has the sale's `admin` lock. The pair that doesn't stand is written first, then the version.

use super::{
    Timestamp,
    sync::{AtomicU64, Ordering},
};

#[cfg(all(test, sellout_loom))]
mod loom_tests;

/// A window that can be moved. Instants in milliseconds; it opens at 0 if at once, and closes at `MAX` if never.
#[derive(Debug)]
pub(crate) struct Window {
    version: AtomicU64,
    pairs: [[AtomicU64; 2]; 2],
}

impl Window {
    pub(crate) fn new(opens_at: Option<Timestamp>, closes_at: Option<Timestamp>) -> Self {
        let (opens, closes) = (opens_at.unwrap_or(Timestamp::MIN), closes_at.unwrap_or(Timestamp::MAX));
        let pair = || [opens, closes].map(|instant| AtomicU64::new(instant.as_millis()));
        Self { version: AtomicU64::new(0), pairs: [pair(), pair()] }
    }

    /// When it opens and when it closes.
    #[inline]
    pub(crate) fn get(&self) -> (Timestamp, Timestamp) {
        loop {
            // Acquire: pairs with the Release of `set`; the pair that stands can be read.
            let version = self.version.load(Ordering::Acquire);
            let [opens, closes] = self.pair(version);
            // Acquire: pairs with the Releases of `set`; who reads a pair that is being written finds, below, that its
            // version stands no more.
            let pair = [opens.load(Ordering::Acquire), closes.load(Ordering::Acquire)].map(Timestamp::from_millis);
            // Relaxed: it comes after the loads above.
            if self.version.load(Ordering::Relaxed) == version {
                return (pair[0], pair[1]);
            }
        }
    }

    /// Moves it. Callers take turns.
    pub(crate) fn set(&self, opens_at: Option<Timestamp>, closes_at: Option<Timestamp>) {
        // Relaxed: the callers' lock orders it.
        let next = self.version.load(Ordering::Relaxed) + 1;
        let [opens, closes] = self.pair(next);
        // Release: who reads these finds the version, which the move before has stored, moved on from when they stood.
        opens.store(opens_at.unwrap_or(Timestamp::MIN).as_millis(), Ordering::Release);
        closes.store(closes_at.unwrap_or(Timestamp::MAX).as_millis(), Ordering::Release);
        // Release: publishes the pair.
        self.version.store(next, Ordering::Release);
    }

    fn pair(&self, version: u64) -> &[AtomicU64; 2] {
        &self.pairs[usize::from(version % 2 == 1)]
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_it_was_moved_last() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let window = Window::new(None, None);
        assert_eq!(window.get(), (Timestamp::MIN, Timestamp::MAX));
        for (opens, closes) in [(at(1), at(2)), (None, at(3)), (at(4), None)] {
            window.set(opens, closes);
            assert_eq!(window.get(), (opens.unwrap_or(Timestamp::MIN), closes.unwrap_or(Timestamp::MAX)));
        }
    }
}
