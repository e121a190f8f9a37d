//! Baskets: units of several sales, all of them or none.
//!
//! ```text
//! take   attempts, in the order of the sales -> permits, in that order -> parts entered -> basket's slot held
//! end    basket's word (compare-and-swap) -> each part ended or sold by whoever won
//! ```
//!
//! What holds:
//! - The basket's own slot decides: confirm, cancel and expiry race for its word, and the winner alone ends the parts.
//! - Permits are taken in one order by everybody, and nobody waits while holding some: whoever of two baskets gets the
//!   last unit of the first sale that both want can't lose a later one to the other. So of baskets that want the same
//!   units one gets them.
//! - Units that are taken and not decided count as held: others are told "all held", and never "sold out".
//! - What is in a basket is written before its slot is held, and not again before it has ended: what was read under a
//!   word belongs to it if the word is exchanged, or found unchanged, afterwards.

use std::fmt;

use super::{
    Buyer,
    allocator::{Allocator, HoldId, Marks, Refusal},
    slots::{CHUNKS, Slots},
    sync::{AtomicU64, OnceBox, Ordering, zeroed},
};

#[cfg(all(test, sellout_loom))]
mod loom_tests;

/// The most different sales in one basket.
pub(crate) const MOST: usize = 8;

/// So many units of a sale, in a basket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sale: u32,
    pub(crate) quantity: u32,
}

/// A basket's units in one sale, and the slot where they stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BasketPart {
    pub(crate) line: Line,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What is wanted of one sale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want<'a> {
    pub(crate) allocator: &'a Allocator,
    pub(crate) quantity: u32,
    /// When the basket falls due, as this sale counts.
    pub(crate) due: u64,
}

/// Why there is no basket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Which of the wants could not be had.
    pub(crate) place: usize,
    pub(crate) why: Refusal,
    /// Those before it of which units had been taken, and whose return ended a time in which nothing was free.
    pub(crate) restocked: Vec<usize>,
}

/// Takes what is wanted of every sale and enters it as parts, or takes nothing. Everybody must name sales in one order,
/// each once.
pub(crate) fn take(
    wants: &[Want<'_>],
    buyer: Buyer,
    marks: Marks,
    home: usize,
    key_epoch: u16,
) -> Result<Vec<HoldId>, Missed> {
    let missed = |place, why, restocked| Missed { place, why, restocked };
    let mut attempts = Vec::with_capacity(wants.len());
    for (place, want) in wants.iter().enumerate() {
        match want.allocator.try_for(buyer, want.quantity, marks) {
            Ok(attempt) => attempts.push(attempt),
            Err(why) => {
                for (attempt, want) in attempts.into_iter().zip(wants) {
                    want.allocator.leave(attempt);
                }
                return Err(missed(place, why, Vec::new()));
            }
        }
    }
    let mut taken = Vec::with_capacity(wants.len());
    let mut attempts = attempts.into_iter();
    for (place, want) in wants.iter().enumerate() {
        let attempt = attempts.next().expect("as many as wants");
        match want.allocator.take(attempt, want.quantity, marks, home) {
            Ok(units) => taken.push(units),
            Err(why) => {
                for (attempt, want) in attempts.zip(&wants[place + 1..]) {
                    want.allocator.leave(attempt);
                }
                let back = taken.into_iter().zip(wants).enumerate();
                let ended = back.filter_map(|(at, (units, want))| want.allocator.put_back(units, home).then_some(at));
                return Err(missed(place, why, ended.collect()));
            }
        }
    }
    let mut parts = Vec::with_capacity(wants.len());
    let mut taken = taken.into_iter();
    for (place, want) in wants.iter().enumerate() {
        let units = taken.next().expect("as many as wants");
        match want.allocator.enter_part(units, want.due, home, key_epoch) {
            Ok(part) => parts.push(part),
            Err(why) => {
                // The sale has used up its slots. What was entered was never seen as a basket.
                let mut restocked = end_parts(wants, &parts, home);
                let back = taken.zip(&wants[place + 1..]).zip(place + 1..);
                restocked
                    .extend(back.filter_map(|((units, want), at)| want.allocator.put_back(units, home).then_some(at)));
                return Err(missed(place, why, restocked));
            }
        }
    }
    Ok(parts)
}

/// Gives back parts that never became a basket; which of the sales have units again.
pub(crate) fn end_parts(wants: &[Want<'_>], parts: &[HoldId], home: usize) -> Vec<usize> {
    let ended = wants.iter().zip(parts).enumerate();
    let cancelled = super::End::Cancelled;
    ended.filter_map(|(at, (want, part))| want.allocator.end_part(part.slot, cancelled, home).then_some(at)).collect()
}

type Words = [AtomicU64; 2 * MOST];

/// What is in each basket, by the basket's slot.
pub(crate) struct Table {
    chunks: [OnceBox<Box<[Words]>>; CHUNKS],
}

const QUANTITY_BITS: u32 = 32;

impl Table {
    /// No memory is taken before the first basket.
    pub(crate) fn new() -> Self {
        Self { chunks: std::array::from_fn(|_| OnceBox::new()) }
    }

    fn words(&self, slots: &Slots, slot: u32) -> &Words {
        let (number, place) = slots.place(slot);
        let chunk = self.chunks[number].get_or_init(|| Box::new(zeroed(slots.chunk(number).len())));
        &chunk[place as usize]
    }

    /// Writes down what is in the basket of `slot`, which must be the caller's own, before it is held.
    pub(crate) fn fill(&self, slots: &Slots, slot: u32, parts: &[BasketPart]) {
        debug_assert!(parts.len() <= MOST);
        let words = self.words(slots, slot);
        for (place, pair) in words.chunks_exact(2).enumerate() {
            let (first, second) = parts.get(place).map_or((0, 0), |part| {
                let Line { sale, quantity } = part.line;
                let first = (u64::from(sale) << 32) | u64::from(part.slot);
                (first, (u64::from(part.generation) << QUANTITY_BITS) | u64::from(quantity))
            });
            // Release: who reads this beside an earlier basket's word, with Acquire, will not find that word again. The
            // store of the slot's word publishes it.
            pair[0].store(first, Ordering::Release);
            pair[1].store(second, Ordering::Release);
        }
    }

    /// What is in the basket of `slot`. Valid for the word that was loaded before, if that is exchanged or found
    /// unchanged afterwards.
    pub(crate) fn parts(&self, slots: &Slots, slot: u32) -> Vec<BasketPart> {
        let low = |word: u64| u32::try_from(word & 0xffff_ffff).expect("masked");
        let mut parts = Vec::new();
        for pair in self.words(slots, slot).chunks_exact(2) {
            // Acquire: pairs with the Release of `fill`; the second look at the slot's word comes after these.
            let (first, second) = (pair[0].load(Ordering::Acquire), pair[1].load(Ordering::Acquire));
            if low(second) == 0 {
                break;
            }
            let line = Line { sale: low(first >> 32), quantity: low(second) };
            parts.push(BasketPart { line, slot: low(first), generation: low(second >> QUANTITY_BITS) });
        }
        parts
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    //! Properties: 1. a basket of which one part can't be entered leaves nothing behind; 2. the largest basket is read
    //! as it was written.

    use super::*;
    use crate::core::{
        allocator::{Plan, Rules},
        slots::GENERATION_BITS,
    };

    const RULES: Rules = Rules { cap: 1, largest: 1, hold: 10, grace: 1 };

    fn sale(stock: u32) -> Allocator {
        let plan = Plan { stripes: 1, key: [7; 16], scheduled: false, journaled: false, first_slots: None };
        Allocator::new(RULES, stock, plan)
    }

    /// A sale with units, and no slot that has a generation left.
    fn without_slots(stock: u32) -> Allocator {
        let sale = sale(stock);
        sale.restore_slots();
        let capacity = sale.slots().capacity(1);
        (0..capacity).for_each(|slot| sale.restore_free(slot, 1 << GENERATION_BITS, None));
        sale.restore_fresh(capacity);
        sale
    }

    #[test]
    fn a_basket_of_which_one_sale_has_no_slots_leaves_nothing_behind() {
        for place in 0..3 {
            let sales: Vec<_> = (0..3).map(|at| if at == place { without_slots(5) } else { sale(3 + at) }).collect();
            let wants: Vec<_> = sales.iter().map(|allocator| Want { allocator, quantity: 1, due: 10 }).collect();
            let free = || sales.iter().map(Allocator::free).collect::<Vec<_>>();
            let before = free();
            let missed = take(&wants, Buyer::from(1), Marks::Respected, 0, 0).expect_err("there is no slot");
            assert_eq!((missed.place, missed.restocked), (place as usize, Vec::new()));
            assert_eq!(free(), before);
            for (at, sale) in (0..).zip(&sales).filter(|(at, _)| *at != place) {
                assert!(sale.reserve(Buyer::from(1), 1, 0, 0, 0).is_ok(), "the buyer's share of sale {at} is back");
            }
        }
    }

    #[test]
    fn the_largest_basket_is_read_as_it_was_written() {
        let (sale, table) = (sale(2), Table::new());
        sale.restore_slots();
        let part = |number: u32| BasketPart {
            line: Line { sale: u32::MAX - number, quantity: 1 + number },
            slot: u32::MAX / 2 + number,
            generation: (1 << GENERATION_BITS) - 1 - number,
        };
        let all: Vec<_> = (0..u32::try_from(MOST).expect("a few")).map(part).collect();
        table.fill(sale.slots(), 1, &all);
        table.fill(sale.slots(), 0, &all[..2]);
        assert_eq!(table.parts(sale.slots(), 1), all);
        assert_eq!(table.parts(sale.slots(), 0), all[..2]);
    }
}
