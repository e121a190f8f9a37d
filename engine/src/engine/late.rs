//! The late book: holds that expired, in case they are paid all the same.
//!
//! Bounded by the stock: the oldest is forgotten first. A refusal of a late payment is kept as long as its hold, and
//! what was sold all the same is kept for good: those are never more than there are units. So a provider who reports
//! twice hears the same twice, and nobody refunds what was shipped.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::core::{
    allocator::{HoldId, Share},
    baskets::Line,
};

/// What became of an expired hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// Expired, not paid so far.
    Expired(Share),
    /// Paid late, and sold by this hold instead.
    Reacquired(HoldId),
    /// Paid late, and refused.
    Refused(Reason),
}

/// Why a late payment is to be refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    SoldOut,
    OverCap,
}

/// Expired holds, the oldest first. A sale of which none has expired has no pages.
#[derive(Debug, PartialEq)]
pub(crate) struct LateBook {
    pages: Option<Box<Pages>>,
    room: u32,
}

#[derive(Debug, Default, PartialEq)]
struct Pages {
    entries: HashMap<HoldId, Late>,
    order: VecDeque<HoldId>,
    /// What was in expired baskets, as long as that may be wanted again.
    lines: HashMap<HoldId, Vec<Line>>,
}

/// A hold in the book, with all that the book knows of it.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) hold: HoldId,
    pub(crate) late: Late,
    /// What was in it, if it was a basket and that may be wanted again.
    pub(crate) lines: Vec<Line>,
    /// Whether it is forgotten in its turn.
    pub(crate) in_order: bool,
}

impl LateBook {
    /// A book that remembers as many holds as the sale has units, and a few for small ones.
    pub(crate) fn new(stock: u32) -> Self {
        Self { pages: None, room: stock.max(1_024) }
    }

    pub(crate) fn get(&self, id: HoldId) -> Option<Late> {
        self.pages.as_ref()?.entries.get(&id).copied()
    }

    /// Notes that a hold has expired, unless more is known of it.
    pub(crate) fn expire(&mut self, id: HoldId, share: Share) {
        if self.get(id).is_none() {
            self.set(id, Late::Expired(share));
        }
    }

    /// Notes that a basket has expired, and what was in it.
    pub(crate) fn expire_basket(&mut self, id: HoldId, share: Share, lines: Vec<Line>) {
        if self.get(id).is_none() {
            self.pages.get_or_insert_default().lines.insert(id, lines);
            self.set(id, Late::Expired(share));
        }
    }

    /// What was in an expired basket that nothing more is known of.
    pub(crate) fn lines(&self, id: HoldId) -> &[Line] {
        self.pages.as_ref().and_then(|pages| pages.lines.get(&id)).map_or(&[], Vec::as_slice)
    }

    /// What was in all of them.
    pub(crate) fn all_lines(&self) -> impl Iterator<Item = Line> {
        self.pages.iter().flat_map(|pages| pages.lines.values()).flatten().copied()
    }

    /// Whether nothing was ever noted.
    pub(crate) fn is_unused(&self) -> bool {
        self.pages.is_none()
    }

    /// Everything in the book: those that are forgotten in their turn, the oldest first, and then those that are not.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Noted> {
        self.pages.iter().flat_map(|pages| {
            let in_turn: HashSet<_> = pages.order.iter().collect();
            let mut for_good: Vec<_> = pages.entries.keys().filter(|hold| !in_turn.contains(hold)).collect();
            for_good.sort_unstable_by_key(|hold| (hold.slot, hold.generation, hold.key_epoch));
            let noted = |hold: HoldId, in_order| {
                let lines = pages.lines.get(&hold).cloned().unwrap_or_default();
                Noted { hold, late: pages.entries[&hold], lines, in_order }
            };
            let in_turn = pages.order.iter().map(move |hold| noted(*hold, true));
            in_turn.chain(for_good.into_iter().map(move |hold| noted(*hold, false)))
        })
    }

    /// Notes again what [`LateBook::notes`] of another book had, in its order.
    pub(crate) fn restore(&mut self, noted: Noted) {
        let Noted { hold, late, lines: inside, in_order } = noted;
        let Pages { entries, order, lines } = &mut **self.pages.get_or_insert_default();
        entries.insert(hold, late);
        if in_order {
            order.push_back(hold);
        }
        if !inside.is_empty() {
            lines.insert(hold, inside);
        }
    }

    /// Notes what became of a hold; the first note of an expired hold makes room if it must.
    pub(crate) fn set(&mut self, id: HoldId, late: Late) {
        let Pages { entries, order, lines } = &mut **self.pages.get_or_insert_default();
        if entries.insert(id, late).is_some() {
            lines.remove(&id);
            return;
        }
        order.push_back(id);
        if order.len() > self.room as usize
            && let Some(oldest) = order.pop_front()
            && !matches!(entries.get(&oldest), Some(Late::Reacquired(_)))
        {
            entries.remove(&oldest);
            lines.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Buyer;

    impl LateBook {
        fn lengths(&self) -> (usize, usize) {
            let pages = self.pages.as_ref().expect("a hold has expired");
            (pages.entries.len(), pages.order.len())
        }
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_the_book_stays_bounded() {
        let mut book = LateBook::new(1);
        let id = |slot| HoldId { slot, generation: 0, key_epoch: 0 };
        for slot in 0..5_000 {
            book.set(id(slot), Late::Expired(Share { buyer: Buyer::from(1), quantity: 1 }));
        }
        book.set(id(4_999), Late::Refused(Reason::SoldOut));
        assert_eq!(book.lengths(), (1_024, 1_024));
        assert_eq!(book.get(id(5_000 - 1_025)), None);
        assert!(book.get(id(5_000 - 1_024)).is_some());
        assert_eq!(book.get(id(4_999)), Some(Late::Refused(Reason::SoldOut)));
    }

    #[test]
    fn what_was_sold_late_is_never_forgotten() {
        let mut book = LateBook::new(1);
        let id = |slot| HoldId { slot, generation: 0, key_epoch: 0 };
        for slot in 0..5_000 {
            book.set(id(slot), Late::Expired(Share { buyer: Buyer::from(1), quantity: 1 }));
            if slot % 1_000 == 0 {
                book.set(id(slot), Late::Reacquired(id(slot + 10_000)));
            }
        }
        assert_eq!(book.get(id(0)), Some(Late::Reacquired(id(10_000))));
        assert_eq!(book.lengths(), (1_024 + 4, 1_024));
    }
}
