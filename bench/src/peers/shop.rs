//! A shop for one thread: the map and the count that a lock protects.

use std::{collections::HashMap, hash::BuildHasher};

use super::Answer;

/// What a buyer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Share {
    pub(super) held: u32,
    pub(super) bought: u32,
}

impl Share {
    /// Whether `units` more keep the cap.
    #[inline]
    pub(super) fn has_room(self, units: u32, cap: u32) -> bool {
        self.held + self.bought + units <= cap
    }

    /// Sells what is held; false if that is nothing.
    #[inline]
    pub(super) fn confirm(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        self.bought += held;
        held > 0
    }
}

#[derive(Debug)]
pub(super) struct Shop<S> {
    pub(super) free: u64,
    cap: u32,
    shares: HashMap<u64, Share, S>,
}

impl<S: BuildHasher + Default> Shop<S> {
    pub(super) fn new(stock: u32, cap: u32) -> Self {
        Self { free: stock.into(), cap, shares: HashMap::with_capacity_and_hasher(stock as usize, S::default()) }
    }

    #[inline]
    pub(super) fn reserve(&mut self, buyer: u64, units: u32) -> Answer {
        let Some(left) = self.free.checked_sub(units.into()) else { return Answer::SoldOut };
        let share = self.shares.entry(buyer).or_default();
        if !share.has_room(units, self.cap) {
            return Answer::LimitReached;
        }
        share.held += units;
        self.free = left;
        Answer::Held
    }

    #[inline]
    pub(super) fn confirm(&mut self, buyer: u64) -> bool {
        self.shares.get_mut(&buyer).is_some_and(Share::confirm)
    }
}
