//! The parts of baskets, and the slots in which baskets stand.
//!
//! A part is entered like a hold, permit and share first, and counts as held. It ends only by whoever has ended its
//! basket: nobody else changes its slot, so its word is read and then exchanged without a contest.

use super::{Allocator, Attempt, HoldId, Made, Refusal};
use crate::core::{Buyer, End, slots::State};

/// Units of one sale that are taken, and not entered yet.
#[derive(Debug)]
#[must_use = "units that are neither entered nor given back are lost"]
pub(crate) struct Taken {
    attempt: Attempt,
    quantity: u32,
}

/// What an operator's mark means for whoever takes units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// It stands against it.
    Respected,
    /// It doesn't: a payment that came late.
    Passed,
}

impl Allocator {
    /// Begins an attempt, which takes no unit yet: who may not buy never has a permit.
    pub(crate) fn try_for(&self, buyer: Buyer, quantity: u32, marks: Marks) -> Result<Attempt, Refusal> {
        if marks == Marks::Respected {
            self.admit()?;
        }
        self.begin(buyer, quantity)
    }

    /// Takes the units of an attempt; the attempt is over if there are none.
    pub(crate) fn take(&self, attempt: Attempt, quantity: u32, marks: Marks, home: usize) -> Result<Taken, Refusal> {
        let permits = match marks {
            Marks::Respected => self.permits.take(home, u64::from(quantity)).map_err(|denied| self.denied(denied)),
            Marks::Passed => self.take_late(home, quantity),
        };
        match permits {
            Ok(()) => Ok(Taken { attempt, quantity }),
            Err(refusal) => {
                self.cap.abort(attempt);
                Err(refusal)
            }
        }
    }

    /// The attempt is over, and took nothing.
    pub(crate) fn leave(&self, attempt: Attempt) {
        self.cap.abort(attempt);
    }

    /// Gives back what was not entered. True if that ended a time in which nothing was free.
    pub(crate) fn put_back(&self, taken: Taken, home: usize) -> bool {
        self.cap.abort(taken.attempt);
        self.permits.give(home, u64::from(taken.quantity))
    }

    /// Enters units as a part of a basket that falls due at `due`. Nobody else will end it.
    pub(crate) fn enter_part(&self, taken: Taken, due: u64, home: usize, key_epoch: u16) -> Result<HoldId, Refusal> {
        let (slot, meta) = self.enter(taken.attempt, taken.quantity, home, key_epoch)?;
        let generation = self.slots.hold_part(slot, due, meta);
        // Nothing expires by this: it is when a unit may come back, for those who are told "all held".
        self.deadlines.note(&self.slots, slot, due);
        Ok(HoldId { slot, generation, key_epoch })
    }

    /// Ends a part unsold; only for whoever ended its basket, once. True if that ended a time in which nothing was
    /// free.
    pub(crate) fn end_part(&self, slot: u32, end: End, home: usize) -> bool {
        let snapshot = self.slots.load(slot);
        debug_assert!(matches!(snapshot.state(), State::Part { .. }), "{snapshot:?}");
        self.end(slot, snapshot, end, home).expect("nobody else ends the part of a basket")
    }

    /// Makes the hold that a basket is; `fill` writes down what is in it before anybody can see it.
    pub(crate) fn hold_basket(
        &self,
        taken: Taken,
        now: u64,
        home: usize,
        key_epoch: u16,
        fill: impl FnOnce(u32),
    ) -> Result<Made, Refusal> {
        self.make_due(taken.attempt, taken.quantity, self.due(now), home, key_epoch, fill)
    }

    /// Makes a basket whose confirmation has begun, in the place of one that had expired.
    pub(crate) fn hold_basket_confirming(
        &self,
        taken: Taken,
        home: usize,
        key_epoch: u16,
        fill: impl FnOnce(u32),
    ) -> Result<HoldId, Refusal> {
        let (slot, meta) = self.enter(taken.attempt, taken.quantity, home, key_epoch)?;
        fill(slot);
        let generation = self.slots.hold_confirming(slot, meta);
        Ok(HoldId { slot, generation, key_epoch })
    }
}
