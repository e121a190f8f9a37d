//! Units with a face: which unit of a sale a hold has.
//!
//! The permit decides who may have a unit, the pool only says which one: never-used numbers first, in their order,
//! then those that came back. An alike sale has no pool.
//!
//! ```text
//! fresh ---> | 0 1 2 .. | .. capacity        numbers that no hold has had
//! list: tag | unit -> unit -> unit           numbers that came back
//! slot: first -> unit -> unit                the units of one hold
//! ```
//!
//! | word | its unit or slot is free | in a hold |
//! |---|---|---|
//! | link of a unit | the list | who makes the hold, before its slot is held |
//! | first of a slot | nobody | who makes the hold, before its slot is held |
//!
//! What holds:
//! - Units in `fresh` and in the list are never fewer than permits for which nobody has taken units yet: a unit is
//!   pushed before its permit is given back. So who has a permit finds its unit, and waits for nobody.
//! - A unit is in `fresh`, in the list, in the chain of one slot, or in the hands of one thread.
//! - The list's head carries a tag that moves with every push and pop: a head that was read long ago can't be
//!   exchanged although it names the same unit again.
//! - A slot's chain changes only while the slot is its owner's alone. Who reads it beside that believes it only if
//!   the slot's word is unchanged afterwards.

use std::{fmt, ops::Range};

use crossbeam_utils::CachePadded;

use super::sync::{AtomicU64, MODEL, OnceBox, Ordering, zeroed};

#[cfg(all(test, sellout_loom))]
mod loom_tests;

const INDEX_MASK: u64 = 0xffff_ffff;
const TAG: u64 = 1 << 32;
/// Chunks of words: the first has at least one, and all together are named by a `u32`.
const CHUNKS: usize = 33;
const CHUNK_LEAST: u32 = if MODEL { 1 } else { 64 };

/// The units of one sale that has them numbered, from 0.
pub(crate) struct Pool {
    /// The first unit that no hold has had.
    fresh: CachePadded<AtomicU64>,
    /// How many units there are, those that were withdrawn included.
    capacity: AtomicU64,
    /// `tag | unit + 1` of the units that came back; 0 for none.
    list: CachePadded<AtomicU64>,
    /// `unit + 1` of the unit behind each in its list or hold; 0 for none.
    links: Words,
    /// `unit + 1` of each slot's first unit.
    firsts: Words,
}

impl Pool {
    /// A pool of `units` units, all fresh.
    pub(crate) fn new(units: u32) -> Self {
        Self {
            fresh: CachePadded::new(AtomicU64::new(0)),
            capacity: AtomicU64::new(u64::from(units)),
            list: CachePadded::new(AtomicU64::new(0)),
            links: Words::new(units),
            firsts: Words::new(units),
        }
    }

    /// Adds `units` fresh units; their permits are given afterwards.
    pub(crate) fn grow(&self, units: u32) {
        // Release: who has one of their permits finds them.
        self.capacity.fetch_add(u64::from(units), Ordering::Release);
    }

    /// Takes the units of a hold that is about to be made in `slot`. The caller has their permits, and the slot.
    #[inline]
    pub(crate) fn enter(&self, slot: u32, quantity: u32) {
        let mut last = None;
        self.take(quantity, |unit| {
            // Release: who reads this beside an earlier hold's word, with Acquire, will not find that word again.
            // The store that makes the slot held publishes the chain.
            self.links.at(unit).store(0, Ordering::Release);
            let before = last.map_or_else(|| self.firsts.at(slot), |before| self.links.at(before));
            // Release: as above.
            before.store(u64::from(unit) + 1, Ordering::Release);
            last = Some(unit);
        });
    }

    /// Puts the `quantity` units of a hold that has ended back, as one piece. Before their permits are given back,
    /// and before the slot can be found.
    #[inline]
    pub(crate) fn leave(&self, slot: u32, quantity: u32) {
        let (mut first, mut last) = (None, None);
        self.chain(slot, quantity, |unit| {
            first = first.or(Some(unit));
            last = Some(unit);
        });
        if let (Some(first), Some(last)) = (first, last) {
            self.push(first, last);
        }
    }

    /// Takes `count` units, whose permits the caller has.
    pub(crate) fn take(&self, count: u32, mut taken: impl FnMut(u32)) {
        let mut wanted = count;
        while wanted > 0 {
            let found = self.find(wanted).expect("who has a permit finds its unit");
            wanted -= found.end - found.start;
            found.for_each(&mut taken);
        }
    }

    /// Shows the units of a slot's hold, at most `quantity`. They are that hold's if the slot's word is the same
    /// before and after.
    pub(crate) fn chain(&self, slot: u32, quantity: u32, mut unit: impl FnMut(u32)) {
        // Acquire: pairs with the Releases of `enter` and `push`; a second look at the slot's word comes after this.
        let mut next = self.firsts.at(slot).load(Ordering::Acquire);
        for _ in 0..quantity {
            let Some(index) = next.checked_sub(1) else { return };
            let index = u32::try_from(index).expect("a unit's number");
            unit(index);
            // Acquire: as above.
            next = self.links.at(index).load(Ordering::Acquire);
        }
    }

    /// Up to `wanted` fresh units, or one that came back. `None` if there were none: then the caller has no permit.
    #[inline]
    fn find(&self, wanted: u32) -> Option<Range<u32>> {
        loop {
            // Acquire: pairs with the Release of `grow`, which came before some of the permits.
            let capacity = self.capacity.load(Ordering::Acquire);
            if let Some(units) = self.claim(capacity, wanted) {
                return Some(units);
            }
            if let Some(unit) = self.pop() {
                return Some(unit..unit + 1);
            }
            // Whoever emptied the list may have had the permit of a unit that was added since we looked.
            // Acquire: comes after the look at the list, which brought along what its poppers had seen.
            if self.capacity.load(Ordering::Acquire) == capacity {
                return None;
            }
        }
    }

    #[inline]
    fn claim(&self, capacity: u64, wanted: u32) -> Option<Range<u32>> {
        let number = |unit: u64| u32::try_from(unit).expect("a unit's number");
        // Acquire: who finds them used up has seen what their takers had seen, as in `find`.
        let mut start = self.fresh.load(Ordering::Acquire);
        loop {
            if start >= capacity {
                return None;
            }
            let end = (start + u64::from(wanted)).min(capacity);
            // AcqRel: as above, for whoever comes next. Acquire on failure: the value seen may end the loop.
            match self.fresh.compare_exchange_weak(start, end, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(number(start)..number(end)),
                Err(seen) => start = seen,
            }
        }
    }

    /// Puts a chain of units on top of the list.
    fn push(&self, first: u32, last: u32) {
        // Relaxed: the compare-and-swap decides.
        let mut head = self.list.load(Ordering::Relaxed);
        loop {
            // Release: who reads this as the link of the hold that has ended will not find that hold's word again.
            self.links.at(last).store(head & INDEX_MASK, Ordering::Release);
            let next = (head & !INDEX_MASK).wrapping_add(TAG) | (u64::from(first) + 1);
            // Release: publishes the links to whoever pops them. Relaxed on failure: tried again.
            match self.list.compare_exchange_weak(head, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    fn pop(&self) -> Option<u32> {
        // Acquire: pairs with the Release of `push`; an empty list brings along what its poppers had seen.
        let mut head = self.list.load(Ordering::Acquire);
        loop {
            let unit = u32::try_from((head & INDEX_MASK).checked_sub(1)?).expect("masked");
            // Relaxed: the head's Acquire orders it. If the unit was popped and is in a hold by now, this is no link
            // of the list, but then the tag has moved too.
            let after = self.links.at(unit).load(Ordering::Relaxed);
            let next = (head & !INDEX_MASK).wrapping_add(TAG) | after;
            // AcqRel: Acquire takes the unit over; Release keeps the pushes below it visible to the next popper, and
            // shows it what we have seen. Acquire on failure: the new head's link is read next.
            match self.list.compare_exchange_weak(head, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(unit),
                Err(seen) => head = seen,
            }
        }
    }

    /// How many units there are, those that were withdrawn included.
    pub(crate) fn capacity(&self) -> u32 {
        // Acquire: pairs with the Release of `grow`.
        u32::try_from(self.capacity.load(Ordering::Acquire)).expect("units are bounded by MAX_STOCK")
    }

    /// Shows the units that are free. Exact at rest; beside others, at most as many as there are.
    pub(crate) fn free(&self, mut unit: impl FnMut(u32)) {
        let capacity = self.capacity();
        // Acquire: at rest this reads every finished operation.
        let fresh = self.fresh.load(Ordering::Acquire).min(u64::from(capacity));
        let fresh = u32::try_from(fresh).expect("at most the capacity");
        (fresh..capacity).for_each(&mut unit);
        // Acquire: as above; the links are read after it.
        let mut next = self.list.load(Ordering::Acquire) & INDEX_MASK;
        for _ in 0..fresh {
            let Some(index) = next.checked_sub(1) else { return };
            let index = u32::try_from(index).expect("masked");
            unit(index);
            // Acquire: as for the head.
            next = self.links.at(index).load(Ordering::Acquire);
        }
    }

    /// Recovery: units below `fresh` are known to the journal, and are put back one by one.
    pub(crate) fn restore_fresh(&self, fresh: u32) {
        // Relaxed: nobody else is there yet.
        self.fresh.fetch_max(u64::from(fresh), Ordering::Relaxed);
    }

    /// Recovery: the unit is free.
    pub(crate) fn restore_free(&self, unit: u32) {
        self.push(unit, unit);
    }

    /// Recovery: the slot's hold has these units.
    pub(crate) fn restore_chain(&self, slot: u32, units: &[u32]) {
        let mut word = self.firsts.at(slot);
        for &unit in units {
            // Relaxed: nobody else is there yet.
            word.store(u64::from(unit) + 1, Ordering::Relaxed);
            word = self.links.at(unit);
        }
        // Relaxed: as above.
        word.store(0, Ordering::Relaxed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// One chunk of words.
type Chunk = Box<[[AtomicU64; 1]]>;

/// A word for each index, all zero at first, in chunks that double the whole and come with their first use.
struct Words {
    first_log2: u32,
    chunks: [OnceBox<Chunk>; CHUNKS],
}

impl Words {
    /// One chunk for the indices below `count`, and further ones beyond.
    fn new(count: u32) -> Self {
        let first_log2 = count.max(CHUNK_LEAST).next_power_of_two().ilog2();
        Self { first_log2, chunks: std::array::from_fn(|_| OnceBox::new()) }
    }

    #[inline]
    fn at(&self, index: u32) -> &AtomicU64 {
        let number = (index >> self.first_log2).checked_ilog2().map_or(0, |log2| log2 + 1);
        let start = if number == 0 { 0 } else { 1 << (self.first_log2 + number - 1) };
        let length = if number == 0 { 1 << self.first_log2 } else { start };
        let chunk = self.chunks[number as usize].get_or_init(|| Box::new(zeroed(length as usize)));
        &chunk[(index - start) as usize][0]
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;

    fn taken(pool: &Pool, count: u32) -> Vec<u32> {
        let mut units = Vec::new();
        pool.take(count, |unit| units.push(unit));
        units
    }

    fn chain(pool: &Pool, slot: u32, quantity: u32) -> Vec<u32> {
        let mut units = Vec::new();
        pool.chain(slot, quantity, |unit| units.push(unit));
        units
    }

    fn free(pool: &Pool) -> Vec<u32> {
        let mut units = Vec::new();
        pool.free(|unit| units.push(unit));
        units.sort_unstable();
        units
    }

    #[test]
    fn every_word_has_one_place_and_starts_at_zero() {
        let words = Words::new(100);
        for index in 0..5_000_u32 {
            assert_eq!(words.at(index).swap(u64::from(index) + 1, Ordering::Relaxed), 0, "index {index}");
        }
        for index in 0..5_000_u32 {
            assert_eq!(words.at(index).load(Ordering::Relaxed), u64::from(index) + 1);
        }
    }

    #[test]
    fn fresh_units_come_in_their_order_and_returned_ones_afterwards() {
        let pool = Pool::new(7);
        pool.enter(3, 2);
        pool.enter(9, 3);
        assert_eq!((chain(&pool, 3, 2), chain(&pool, 9, 3)), (vec![0, 1], vec![2, 3, 4]));
        pool.leave(9, 3);
        assert_eq!(free(&pool), [2, 3, 4, 5, 6]);
        pool.enter(9, 4);
        assert_eq!(chain(&pool, 9, 4), [5, 6, 2, 3]);
        pool.grow(2);
        assert_eq!(taken(&pool, 3), [7, 8, 4]);
        assert!(free(&pool).is_empty());
        assert_eq!(pool.find(1), None);
    }

    #[test]
    fn what_recovery_puts_back_is_there() {
        let pool = Pool::new(6);
        pool.restore_fresh(4);
        pool.restore_chain(2, &[3, 0]);
        for unit in [2, 1] {
            pool.restore_free(unit);
        }
        assert_eq!(chain(&pool, 2, 2), [3, 0]);
        assert_eq!(free(&pool), [1, 2, 4, 5]);
        pool.leave(2, 2);
        assert_eq!(taken(&pool, 6), [4, 5, 3, 0, 1, 2]);
    }
}
