//! The roster: a set of buyers that grows, is read by everybody and filled by one writer at a time.
//!
//! ```text
//! cell | high xor 1 | low |      0 in the first word: empty
//! ```
//!
//! No identity has 1 as its upper half: a number has 0 there, and a hashed account its topmost bit. Cells lie in open
//! addressing with linear probing under a random key, and are filled up to three quarters; then the writer makes a
//! roster twice as large and shows that one. A cell that is filled never changes: an empty cell ends a look, and
//! whoever comes after an `insert` finds the buyer.

use std::hash::{BuildHasher, RandomState};

use super::{
    Buyer,
    sync::{AtomicU64, MODEL, Ordering, zeroed},
};

const SMALLEST: usize = if MODEL { 4 } else { 16 };

/// A set of buyers, of fixed room.
pub(crate) struct Roster {
    cells: Box<[[AtomicU64; 2]]>,
    key: RandomState,
    count: AtomicU64,
}

impl Roster {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { cells: zeroed(SMALLEST), key: RandomState::new(), count: AtomicU64::new(0) }
    }

    /// How many are on it.
    pub(crate) fn len(&self) -> usize {
        // Relaxed: a count; the writer's own, or a report.
        usize::try_from(self.count.load(Ordering::Relaxed)).expect("at most as many as cells")
    }

    /// Whether there is no room for another one.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.cells.len() / 4 * 3
    }

    /// One with the same buyers, and twice the room.
    pub(crate) fn grown(&self) -> Self {
        let larger = Self { cells: zeroed(self.cells.len() * 2), key: self.key.clone(), count: AtomicU64::new(0) };
        for [high, low] in &self.cells {
            // Relaxed: the writer's own.
            let (high, low) = (high.load(Ordering::Relaxed), low.load(Ordering::Relaxed));
            if high != 0 {
                larger.insert(Buyer::from_words(high ^ 1, low));
            }
        }
        larger
    }

    /// Puts a buyer on it; false if it was there. Only one caller at a time, and only if it is not full.
    pub(crate) fn insert(&self, buyer: Buyer) -> bool {
        let (high, low) = words(buyer);
        for place in self.places(buyer) {
            let cell = &self.cells[place];
            // Relaxed: the writer's own.
            match (cell[0].load(Ordering::Relaxed), cell[1].load(Ordering::Relaxed)) {
                (0, _) => {
                    // Relaxed: published by the store that follows.
                    cell[1].store(low, Ordering::Relaxed);
                    // Release: publishes the lower half; pairs with the Acquire in `contains`.
                    cell[0].store(high, Ordering::Release);
                    // Relaxed: as in `len`.
                    self.count.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
                same if same == (high, low) => return false,
                _ => {}
            }
        }
        unreachable!("it is not full")
    }

    /// Whether a buyer is on it.
    pub(crate) fn contains(&self, buyer: Buyer) -> bool {
        let (high, low) = words(buyer);
        for place in self.places(buyer) {
            let cell = &self.cells[place];
            // Acquire: pairs with the Release of `insert`; the lower half is there.
            match cell[0].load(Ordering::Acquire) {
                0 => return false,
                // Relaxed: after the above, and it never changes again.
                found if found == high && cell[1].load(Ordering::Relaxed) == low => return true,
                _ => {}
            }
        }
        false
    }

    /// Where a buyer may be, in order.
    fn places(&self, buyer: Buyer) -> impl Iterator<Item = usize> + use<> {
        let mask = self.cells.len() - 1;
        // In a model all meet in one cell, the same one in every run.
        let hash = if MODEL { 0 } else { self.key.hash_one(buyer) };
        let home = usize::try_from(hash & mask as u64).expect("below a length");
        (0..=mask).map(move |distance| (home + distance) & mask)
    }
}

/// A buyer as a cell has it.
fn words(buyer: Buyer) -> (u64, u64) {
    let (high, low) = buyer.words();
    (high ^ 1, low)
}

#[cfg(all(test, sellout_loom))]
mod loom_tests {
    //! What is proved: who was put on the roster before somebody looks is found, and who was not is not.

    use loom::{sync::Arc, thread};

    use super::*;
    use crate::core::models::explore;

    /// Buyer 0 has the lower half of an empty cell.
    fn a_look_beside_an_entry(insert: fn(&Roster, Buyer)) {
        let roster = Arc::new(Roster::new());
        let told = Arc::new(AtomicU64::new(0));
        let (theirs, their_word) = (Arc::clone(&roster), Arc::clone(&told));
        let writer = thread::spawn(move || {
            insert(&theirs, Buyer::from(5));
            insert(&theirs, Buyer::from(6));
            // Release: whoever hears of it comes after both.
            their_word.store(1, Ordering::Release);
        });
        // Acquire: pairs with the Release above.
        let heard = told.load(Ordering::Acquire) == 1;
        let found = [5, 6].map(|number| roster.contains(Buyer::from(number)));
        assert!(found == [true; 2] || !heard, "told of the entries, and found {found:?}");
        assert!(!roster.contains(Buyer::from(0)), "nobody has put this one on it");
        writer.join().expect("no panic");
    }

    #[test]
    fn who_is_on_the_roster_is_found_and_nobody_else() {
        explore(|| a_look_beside_an_entry(|roster, buyer| assert!(roster.insert(buyer))));
    }

    #[test]
    #[should_panic(expected = "nobody has put this one on it")]
    fn control_an_upper_half_that_shows_first_lets_a_stranger_in() {
        explore(|| {
            a_look_beside_an_entry(|roster, buyer| {
                let (high, low) = words(buyer);
                let empty = |place: &usize| roster.cells[*place][0].load(Ordering::Relaxed) == 0;
                // At the home of buyer 0, where that one is looked for.
                let place = roster.places(Buyer::from(0)).find(empty).expect("room");
                roster.cells[place][0].store(high, Ordering::Release);
                roster.cells[place][1].store(low, Ordering::Relaxed);
            });
        });
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_everybody_as_it_grows() {
        let mut roster = Roster::new();
        let all: Vec<Buyer> =
            (0..5_000).map(Buyer::from).chain((0..5_000).map(|low| Buyer::from_words(1 << 63, low))).collect();
        for &buyer in &all {
            if roster.is_full() {
                roster = roster.grown();
            }
            assert!(!roster.contains(buyer) && roster.insert(buyer) && !roster.insert(buyer));
        }
        assert_eq!(roster.len(), all.len());
        assert!(all.iter().all(|buyer| roster.contains(*buyer)));
        assert!((5_000..6_000).all(|number| !roster.contains(Buyer::from(number))));
        assert!(roster.cells.len() < 3 * all.len());
    }

    #[test]
    fn buyers_who_differ_in_one_bit_are_not_mistaken_for_each_other() {
        // The topmost bit is that of every hashed account.
        let buyer = |bit: u32| match bit {
            64.. => Buyer::from_words((1 << 63) | (1 << (bit - 64)), 0),
            _ => Buyer::from_words(1 << 63, 1 << bit),
        };
        let mut roster = Roster::new();
        for bit in (0..127).step_by(4) {
            if roster.is_full() {
                roster = roster.grown();
            }
            assert!(!roster.contains(buyer(bit)) && roster.insert(buyer(bit)), "bit {bit}");
        }
        assert!((0..127).all(|bit| roster.contains(buyer(bit)) == (bit % 4 == 0)));
        assert!(!roster.contains(Buyer::from_words(1 << 63, 0)));
    }
}
