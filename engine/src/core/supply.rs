//! Where a free slot is found: never-used ones first, in runs a stripe, then those that came back.
//!
//! The permit decides who may have a unit; the supply only says in which slot. Whoever holds a permit finds one:
//! there are as many slots as units, and one run more for each stripe.
//!
//! What holds:
//! - A slot is in one run, in one list, or in the hands of one thread.
//! - A list's head carries a tag that moves with every push and pop: a head that was read long ago can't be
//!   exchanged although it names the same slot again.

use std::fmt;

use super::{
    slots::Slots,
    stripes::Stripes,
    sync::{AtomicU64, Ordering, spin},
};

#[cfg(all(test, sellout_loom))]
mod loom_tests;

const INDEX_MASK: u64 = 0xffff_ffff;
const TAG: u64 = 1 << 32;

/// One stripe's share.
#[derive(Debug)]
struct Shelf {
    /// `next | end` of its run of never-used slots.
    run: AtomicU64,
    /// `tag | slot + 1` of the slots that came back; 0 for none.
    list: AtomicU64,
}

/// The free slots of one sale.
pub(crate) struct Supply {
    /// The first slot that no run has taken yet.
    fresh: AtomicU64,
    /// Slots that may be used.
    capacity: AtomicU64,
    run: u64,
    shelves: Stripes<Shelf>,
}

impl Supply {
    /// No slots yet; they will be handed to `stripes` stripes in runs of `run`.
    pub(crate) fn new(stripes: usize, run: u32) -> Self {
        Self {
            fresh: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
            run: u64::from(run.max(1)),
            shelves: Stripes::new(stripes, |_| Shelf { run: AtomicU64::new(0), list: AtomicU64::new(0) }),
        }
    }

    /// Lets the slots below `capacity` be used.
    pub(crate) fn grow(&self, capacity: u32) {
        // Release: the units of the new slots are given afterwards.
        self.capacity.fetch_max(u64::from(capacity), Ordering::Release);
    }

    /// Never-used slots that no run has yet, and the capacity.
    pub(crate) fn fresh(&self) -> (u64, u64) {
        // Relaxed: an estimate, for whoever decides to grow.
        let capacity = self.capacity.load(Ordering::Relaxed);
        (capacity.saturating_sub(self.fresh.load(Ordering::Relaxed)), capacity)
    }

    /// Recovery: slots below `fresh` are known to the journal and are pushed one by one if they are free.
    pub(crate) fn skip_to(&self, fresh: u32) {
        // Relaxed: nobody else is there yet.
        self.fresh.fetch_max(u64::from(fresh), Ordering::Relaxed);
    }

    /// A free slot for the holder of a permit; `None` only if the slots have run out of generations.
    #[inline]
    pub(crate) fn pop(&self, slots: &Slots, home: usize) -> Option<u32> {
        loop {
            // Acquire: the second look below comes after the search.
            let before = self.fresh.load(Ordering::Acquire);
            if let Some(index) = self.pop_run(slots, home) {
                return Some(index);
            }
            for step in 0..self.shelves.len() {
                let found = Self::pop_list(&self.shelves.at(home + step).list, slots);
                if found.is_some() {
                    return found;
                }
            }
            for step in 1..self.shelves.len() {
                if let Some(index) = Self::pop_front(&self.shelves.at(home + step).run) {
                    return Some(index);
                }
            }
            // Nothing anywhere although a permit is held: others have moved slots while we looked. If nothing can
            // have moved, the slots are exhausted.
            // Acquire: in step with the first look.
            if self.exhausted(slots) && self.fresh.load(Ordering::Acquire) == before {
                return None;
            }
            spin();
        }
    }

    /// Whether every slot is in use or retired; looked at only when a search found nothing.
    fn exhausted(&self, slots: &Slots) -> bool {
        use super::slots::State;
        let (left, capacity) = self.fresh();
        let capacity = u32::try_from(capacity).expect("slots are u32");
        left == 0 && (0..capacity).all(|index| !matches!(slots.load(index).state(), State::Free(_)))
    }

    /// From the home stripe's own run, refilled if it is used up.
    #[inline]
    fn pop_run(&self, slots: &Slots, home: usize) -> Option<u32> {
        let run = &self.shelves.at(home).run;
        if let Some(index) = Self::pop_front(run) {
            return Some(index);
        }
        // Relaxed: the compare-and-swap below decides.
        let seen = run.load(Ordering::Relaxed);
        let (start, end) = self.claim_run()?;
        let (next, until) = (seen & INDEX_MASK, seen >> 32);
        // Relaxed: a run carries only numbers; the slots themselves were never used.
        let refill = (end << 32) | (start + 1);
        if next < until || run.compare_exchange(seen, refill, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another thread of this stripe refilled it first: ours goes to the list.
            for index in (start + 1..end).rev() {
                self.push(slots, home, u32::try_from(index).expect("slots are u32"));
            }
        }
        Some(u32::try_from(start).expect("slots are u32"))
    }

    fn claim_run(&self) -> Option<(u64, u64)> {
        // Acquire: pairs with the Release of `grow`.
        let capacity = self.capacity.load(Ordering::Acquire);
        // Relaxed: numbers only; each is claimed once.
        let mut start = self.fresh.load(Ordering::Relaxed);
        loop {
            if start >= capacity {
                return None;
            }
            let end = (start + self.run).min(capacity);
            // AcqRel: `pop` tells by this word whether anything moved. Relaxed on failure: tried again.
            match self.fresh.compare_exchange_weak(start, end, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some((start, end)),
                Err(seen) => start = seen,
            }
        }
    }

    #[inline]
    fn pop_front(run: &AtomicU64) -> Option<u32> {
        // Relaxed: numbers only; the compare-and-swap gives each to one thread.
        let mut word = run.load(Ordering::Relaxed);
        loop {
            let (next, end) = (word & INDEX_MASK, word >> 32);
            if next >= end {
                return None;
            }
            // Relaxed: as above.
            match run.compare_exchange_weak(word, word + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(u32::try_from(next).expect("masked")),
                Err(seen) => word = seen,
            }
        }
    }

    /// Puts a free slot where others find it. Before its permit is given back.
    pub(crate) fn push(&self, slots: &Slots, home: usize, index: u32) {
        let list = &self.shelves.at(home).list;
        // Relaxed: the compare-and-swap decides.
        let mut head = list.load(Ordering::Relaxed);
        loop {
            slots.set_link(index, head & INDEX_MASK);
            let next = (head & !INDEX_MASK).wrapping_add(TAG) | (u64::from(index) + 1);
            // Release: publishes the link, and the slot's last word, to whoever pops it. Relaxed on failure.
            match list.compare_exchange_weak(head, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    fn pop_list(list: &AtomicU64, slots: &Slots) -> Option<u32> {
        // Acquire: pairs with the Release of `push`; the link can be read after it.
        let mut head = list.load(Ordering::Acquire);
        loop {
            let first = head & INDEX_MASK;
            if first == 0 {
                return None;
            }
            let index = u32::try_from(first - 1).expect("masked");
            // If the slot was popped and is in use by now, this is no link, but then the tag has moved too.
            let after = slots.link(index) & INDEX_MASK;
            let next = (head & !INDEX_MASK).wrapping_add(TAG) | after;
            // AcqRel: Acquire takes the slot over; Release keeps the pushes below it visible to the next popper.
            // Acquire on failure: the new head's link is read next.
            match list.compare_exchange_weak(head, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(index),
                Err(seen) => head = seen,
            }
        }
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply").field("fresh", &self.fresh()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::core::{
        cap::CellIndex,
        slots::{End, Meta},
    };

    const META: Meta = Meta { cell: CellIndex(0), quantity: 1, key_epoch: 0 };

    fn supply(capacity: u32, stripes: usize, run: u32) -> Supply {
        let supply = Supply::new(stripes, run);
        supply.grow(capacity);
        supply
    }

    #[test]
    fn every_slot_is_handed_out_once_from_any_stripe() {
        let (slots, supply) = (Slots::new(256), supply(256, 4, 16));
        let mut seen = HashSet::new();
        for turn in 0..256 {
            let index = supply.pop(&slots, turn).expect("256 slots");
            slots.hold(index, 1, META);
            assert!(seen.insert(index));
        }
        assert_eq!(supply.pop(&slots, 0), None);
    }

    #[test]
    fn a_run_that_another_stripe_has_begun_is_found_from_every_stripe() {
        for (owner, home) in (0..4).flat_map(|owner| (0..4).map(move |home| (owner, home))) {
            let (slots, supply) = (Slots::new(64), supply(16, 4, 16));
            let first = supply.pop(&slots, owner).expect("16 slots");
            slots.hold(first, 1, META);
            let mut seen = HashSet::from([first]);
            for _ in 1..16 {
                let index = supply.pop(&slots, home).expect("16 slots");
                slots.hold(index, 1, META);
                assert!(seen.insert(index));
            }
            assert_eq!(supply.pop(&slots, home), None);
        }
    }

    #[test]
    fn a_slot_that_came_back_is_found_from_every_stripe() {
        let (slots, supply) = (Slots::new(64), supply(64, 4, 16));
        for _ in 0..64 {
            let index = supply.pop(&slots, 0).expect("64 slots");
            slots.hold(index, 1, META);
        }
        for (home, stripe) in (0..4).flat_map(|home| (0..4).map(move |stripe| (home, stripe))) {
            slots.release(9, slots.load(9), End::Cancelled).expect("held");
            supply.push(&slots, stripe, 9);
            assert_eq!(supply.pop(&slots, home), Some(9));
            slots.hold(9, 1, META);
        }
    }
}
