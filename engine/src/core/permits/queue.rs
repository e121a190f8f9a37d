//! Units for those who wait: while somebody is queued, what comes back is out of every newcomer's reach.
//!
//! ```text
//! queue  | open | units that came back |           never looked at by `take`
//!
//! open    gate: none free -> none free and queued (compare-and-swap); then the queue's word: open
//! give    the queue's word is open: add there, then count the return at the gate; else as ever, to a stripe
//! serve   take from the queue's word, then from the stripes
//! close   the queue's word: not open, and its units are taken out (swap); they go to a stripe;
//!         then the gate: not queued
//! ```
//!
//! What holds:
//! - `queued` is set by a compare-and-swap from a gate that says "none free": at that instant nothing was free, but
//!   for units of returns that are not answered yet.
//! - A return that begins after `open` was answered finds the word open, and adds its units there. No taker looks
//!   there, however old the gate is that it has read. The look and the addition are one compare-and-swap: what is
//!   added before `close` is moved by it, what comes later goes to a stripe.
//! - A return that looked before `open` may still add to a stripe. It was not answered when the queue was opened; the
//!   queue's server finds its units there, and so does a newcomer with a gate from before the queue.
//! - A stripe with a unit whose return was answered is never behind "none free": such a return clears the mark,
//!   queued or not. So `close` has nothing to clear but for what it moves itself.
//!
//! Only one thread at a time opens, serves and closes: whoever has the lock of the waitlist.

use super::{Gate, NONE_FREE, ONE_RETURN, OPERATORS, Ordering, Permits, QUEUED, SOLD_OUT};

#[cfg(all(test, sellout_loom))]
mod loom_tests;

/// The queue's word: what comes back goes here.
const OPEN: u64 = 1 << 63;

/// Why nobody can be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unqueueable {
    /// Units are free, so many in one stripe.
    Free(u64),
    /// The gate stands against it: everything is sold.
    SoldOut(Gate),
}

impl Gate {
    /// An operator's mark stands in the way of whoever wants a unit, queued or not.
    pub(crate) const fn is_barred(self) -> bool {
        self.0 & OPERATORS != 0
    }
}

impl Permits {
    /// Lets what comes back go to the queue from now on: only while nothing is free. True for the one who finds that
    /// out, and has set the mark.
    pub(crate) fn open_queue(&self) -> Result<bool, Unqueueable> {
        let mut first = false;
        loop {
            let gate = self.gate();
            if gate.sold_out() {
                return Err(Unqueueable::SoldOut(gate));
            }
            if !gate.queued() && !gate.none_free() {
                // Acquire: as in `take_from`; an empty stripe is part of a "none free" proof.
                let most = self.stripes.iter().map(|stripe| stripe.load(Ordering::Acquire)).max().unwrap_or(0);
                if most > 0 {
                    return Err(Unqueueable::Free(most));
                }
                first |= self.mark_none_free(gate).is_some();
                continue;
            }
            // AcqRel, Relaxed on failure: as in `mark_none_free`; a return in between has changed the gate.
            let queued = self.gate.compare_exchange(gate.0, gate.0 | QUEUED, Ordering::AcqRel, Ordering::Relaxed);
            if queued.is_ok() {
                // Release: who finds it open comes after the gate that says so; an open word keeps its units.
                self.queue.fetch_or(OPEN, Ordering::Release);
                return Ok(first);
            }
        }
    }

    /// Recovery: somebody is queued, whatever is free.
    pub(crate) fn restore_queue(&self) {
        // Relaxed: nobody else is there yet.
        self.gate.fetch_or(QUEUED, Ordering::Relaxed);
        self.queue.fetch_or(OPEN, Ordering::Relaxed);
    }

    /// Nobody waits any more: what comes back is for everybody, and so is what had come back for the queue. True if
    /// something is free by that.
    pub(crate) fn close_queue(&self, home: usize) -> bool {
        // AcqRel: Acquire takes over the freed slots of what came back; Release keeps the chain whole. One step: what
        // is not in `units` will find the word closed.
        let units = self.queue.swap(0, Ordering::AcqRel) & !OPEN;
        let mut marks = QUEUED;
        if units > 0 {
            // Release: publishes the freed slots to the takers of the units.
            self.stripes.at(home).fetch_add(units, Ordering::Release);
            marks |= NONE_FREE | SOLD_OUT;
        }
        // Relaxed: only a first guess for the compare-and-swap.
        let mut gate = self.gate.load(Ordering::Relaxed);
        loop {
            let next = gate.wrapping_add(ONE_RETURN) & !marks;
            // AcqRel, Relaxed on failure: as in `give`.
            match self.gate.compare_exchange_weak(gate, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return self.free() > 0,
                Err(seen) => gate = seen,
            }
        }
    }

    /// Takes a unit for the head of the queue: of those that came back for it, or of a return that looked before there
    /// was a queue.
    pub(crate) fn take_for_queue(&self, home: usize) -> bool {
        self.take_from_queue(1) == 1 || self.drain(home, 1) == 1
    }

    /// Takes up to `units` off sale, whatever the gate says and whoever waits for them. Says how many.
    pub(crate) fn take_off(&self, home: usize, units: u64) -> u64 {
        let taken = self.drain(home, units);
        taken + self.take_from_queue(units - taken)
    }

    /// Units that wait for the head of the queue.
    pub(super) fn for_queue(&self) -> u64 {
        // Acquire: at rest this reads every finished operation.
        self.queue.load(Ordering::Acquire) & !OPEN
    }

    fn take_from_queue(&self, units: u64) -> u64 {
        // Relaxed: only a first guess for the compare-and-swap.
        let mut queue = self.queue.load(Ordering::Relaxed);
        loop {
            let some = units.min(queue & !OPEN);
            if some == 0 {
                return 0;
            }
            // AcqRel: Acquire takes over the freed slots of whoever gave the units; Release keeps the chain of takers
            // whole. Relaxed on failure: the count is looked at again.
            match self.queue.compare_exchange_weak(queue, queue - some, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return some,
                Err(seen) => queue = seen,
            }
        }
    }

    /// Puts `units` into the queue's hands, if it is open.
    #[inline]
    pub(super) fn give_to_queue(&self, units: u64) -> bool {
        // Relaxed: a first guess; who comes after an answered `open_queue` finds it open all the same.
        let mut queue = self.queue.load(Ordering::Relaxed);
        while queue & OPEN != 0 {
            // Release: publishes the freed slots to whoever takes the units. Relaxed on failure: tried again from the
            // value seen.
            match self.queue.compare_exchange_weak(queue, queue + units, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    self.count_return();
                    return true;
                }
                Err(seen) => queue = seen,
            }
        }
        false
    }

    /// A return that is not for newcomers: none is free for them, but not everything is sold.
    fn count_return(&self) {
        // Relaxed: only a first guess for the compare-and-swap.
        let mut gate = self.gate.load(Ordering::Relaxed);
        loop {
            let next = gate.wrapping_add(ONE_RETURN) & !SOLD_OUT;
            // AcqRel: as in `give`: a gate from before this return proves nothing. Relaxed on failure: tried again.
            match self.gate.compare_exchange_weak(gate, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => gate = seen,
            }
        }
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;
    use crate::core::permits::{Denied, Mark};

    #[test]
    fn what_comes_back_while_somebody_is_queued_is_for_the_queue_alone() {
        let permits = Permits::new(1, 2, false);
        assert_eq!(permits.open_queue(), Err(Unqueueable::Free(1)), "whoever wants it can have it");
        assert_eq!(permits.take(0, 1), Ok(()));
        assert_eq!(permits.open_queue(), Ok(true), "the first to find nothing free");
        assert_eq!(permits.open_queue(), Ok(false));
        assert!(!permits.give(1, 1), "nothing is free for newcomers by that");
        assert!(matches!(permits.take(1, 1), Err(Denied::Gate(gate)) if gate.queued() && gate.none_free()));
        assert!(matches!(permits.take_late(1, 1), Err(Denied::Gate(gate)) if gate.queued()));
        assert_eq!((permits.take_up_to(0, 5), permits.free()), (0, 1));
        assert!(permits.take_for_queue(0));
        assert!(!permits.take_for_queue(0));
        permits.give(0, 1);
        assert!(permits.close_queue(1), "the last one left: the unit is everybody's");
        assert_eq!((permits.take(0, 1), permits.free()), (Ok(()), 0));
        assert_eq!(permits.open_queue(), Ok(true));
        assert!(!permits.close_queue(0), "nothing had come back");
        assert!(matches!(permits.take(0, 1), Err(Denied::Gate(gate)) if gate.none_free() && !gate.queued()));
        assert!(permits.give(0, 1));
        assert_eq!(permits.take(0, 1), Ok(()));
    }

    #[test]
    fn an_operator_may_withdraw_what_waits_for_the_queue() {
        let permits = Permits::new(1, 2, false);
        assert_eq!(permits.take(0, 1), Ok(()));
        assert_eq!(permits.open_queue(), Ok(true));
        permits.set(Mark::Paused);
        permits.give(0, 1);
        assert_eq!((permits.take_off(0, 5), permits.free()), (1, 0));
    }

    #[test]
    fn units_added_for_the_queue_end_sold_out() {
        let permits = Permits::new(1, 2, false);
        assert_eq!(permits.take(0, 1), Ok(()));
        assert_eq!(permits.open_queue(), Ok(true));
        let gate = permits.gate();
        assert!(permits.mark_sold_out(gate));
        assert!(matches!(permits.open_queue(), Err(Unqueueable::SoldOut(_))));
        permits.give(0, 1);
        assert!(!permits.gate().sold_out());
        assert!(!permits.mark_sold_out(gate), "a gate from before the return proves nothing");
    }
}
