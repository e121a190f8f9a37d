//! The right to one unit: the only linearization point of `reserve`.
//!
//! Free units are counted in stripes; a thread takes from its own stripe first, then from the others', so
//! no unit is ever in transit where a refusal can't see it. A gate word beside them carries the marks by which a
//! refusal is decided with one load:
//!
//! ```text
//! gate   | returns: 48 bits | closes | halted | queued | scheduled | paused | closed | none free | sold out |
//! stripe | free units |   stripe | free units |   ...   (one stripe when a hold may have several units)
//! ```
//!
//! What holds:
//! - Between two returns the stripes only fall. `none free` is set only by a compare-and-swap from the very gate
//!   that was read before every stripe was seen empty, so at that instant all of them were, but for units of
//!   returns that are not answered yet.
//! - A return adds to its stripe first, then moves the gate's count of returns and clears `none free` and
//!   `sold out` in one step, and only then is answered.
//! - Units are taken by compare-and-swap from a count that suffices; no count ever dips below what is free.
//! - A sale of several units a hold has one stripe: "fewer than asked" is then one load as well.
//! - While the gate says that somebody is queued, what comes back goes where no taker looks: see `queue`.
//!
//! The order and the proof are in the book, chapter *Architecture*; the models are in `permits/loom_tests.rs`.

use std::fmt;

use super::{
    stripes::Stripes,
    sync::{AtomicU64, Ordering},
};

#[cfg(all(test, sellout_loom))]
mod loom_tests;
mod queue;

pub(crate) use queue::Unqueueable;

const SOLD_OUT: u64 = 1 << 0;
const NONE_FREE: u64 = 1 << 1;
const CLOSED: u64 = 1 << 2;
const PAUSED: u64 = 1 << 3;
const SCHEDULED: u64 = 1 << 4;
const QUEUED: u64 = 1 << 8;
const HALTED: u64 = 1 << 9;
/// Stands against nothing: whoever would answer "sold out" for good has to ask the clock first.
const CLOSES: u64 = 1 << 10;
/// Marks that an operator sets.
const OPERATORS: u64 = CLOSED | PAUSED | SCHEDULED | HALTED;
const ONE_RETURN: u64 = 1 << 16;

/// What the gate says: the marks, and how many returns there were.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate(u64);

impl Gate {
    /// Nothing stands in the way of taking a unit.
    #[inline]
    pub(crate) const fn is_open(self) -> bool {
        self.0 & (SOLD_OUT | NONE_FREE | QUEUED | OPERATORS) == 0
    }

    /// Nothing but "sold out" stands in the way: that is the answer, whoever asks and when.
    #[inline]
    pub(crate) const fn is_only_sold_out(self) -> bool {
        self.0 & (SOLD_OUT | CLOSES | OPERATORS) == SOLD_OUT
    }

    pub(crate) const fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// The sale is paused, by itself or with all others.
    pub(crate) const fn is_paused(self) -> bool {
        self.0 & (PAUSED | HALTED) != 0
    }

    pub(crate) const fn is_scheduled(self) -> bool {
        self.0 & SCHEDULED != 0
    }

    pub(crate) const fn none_free(self) -> bool {
        self.0 & NONE_FREE != 0
    }

    pub(crate) const fn sold_out(self) -> bool {
        self.0 & SOLD_OUT != 0
    }

    /// Somebody is queued: what comes back is not for newcomers.
    pub(crate) const fn queued(self) -> bool {
        self.0 & QUEUED != 0
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("returns", &(self.0 / ONE_RETURN))
            .field("queued", &self.queued())
            .field("scheduled", &self.is_scheduled())
            .field("paused", &self.is_paused())
            .field("closed", &self.is_closed())
            .field("none_free", &self.none_free())
            .field("sold_out", &self.sold_out())
            .finish()
    }
}

/// A mark that an operator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Closed,
    Paused,
    Scheduled,
    /// Every sale of the engine is paused: a mark of its own, so that it leaves nothing behind when it goes.
    Halted,
    /// The sale closes by itself.
    Closes,
}

impl Mark {
    const fn bit(self) -> u64 {
        match self {
            Self::Closed => CLOSED,
            Self::Paused => PAUSED,
            Self::Scheduled => SCHEDULED,
            Self::Halted => HALTED,
            Self::Closes => CLOSES,
        }
    }
}

/// Why no unit could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The gate stood against it: nothing was free, or an operator's mark.
    Gate(Gate),
    /// Every stripe was empty, and this call is the first to find it: it has set the mark.
    Emptied(Gate),
    /// Units were free, but fewer than asked for.
    Fewer {
        /// How many were free.
        free: u64,
    },
}

/// Free units and the gate before them.
#[derive(Debug)]
pub(crate) struct Permits {
    gate: AtomicU64,
    stripes: Stripes<AtomicU64>,
    /// Units that came back for the queue, and whether it is open: see `queue`. Written only while somebody is queued.
    queue: AtomicU64,
}

impl Permits {
    /// `units` free units over `stripes` stripes with a line each, `scheduled` or not.
    pub(crate) fn new(units: u64, stripes: usize, scheduled: bool) -> Self {
        let count = stripes.max(1) as u64;
        let share = |stripe: usize| units / count + u64::from((stripe as u64) < units % count);
        Self::of(Stripes::padded(stripes, |stripe| AtomicU64::new(share(stripe))), scheduled)
    }

    /// `units` free units of a small sale: one count beside the gate.
    pub(crate) fn small(units: u64, scheduled: bool) -> Self {
        Self::of(Stripes::Bare(AtomicU64::new(units)), scheduled)
    }

    fn of(stripes: Stripes<AtomicU64>, scheduled: bool) -> Self {
        Self { gate: AtomicU64::new(if scheduled { SCHEDULED } else { 0 }), stripes, queue: AtomicU64::new(0) }
    }

    /// What the gate says now.
    #[inline]
    pub(crate) fn gate(&self) -> Gate {
        // Acquire: pairs with the Release of `give`; who sees its gate sees the units that it added.
        Gate(self.gate.load(Ordering::Acquire))
    }

    /// Takes `units`, all or none, past an open gate.
    #[inline]
    pub(crate) fn take(&self, home: usize, units: u64) -> Result<(), Denied> {
        self.take_past(home, units, SOLD_OUT | NONE_FREE | QUEUED | OPERATORS)
    }

    /// Takes `units`, all or none, whatever an operator's mark says: for a payment that came late.
    pub(crate) fn take_late(&self, home: usize, units: u64) -> Result<(), Denied> {
        self.take_past(home, units, SOLD_OUT | NONE_FREE | QUEUED)
    }

    #[inline]
    fn take_past(&self, home: usize, units: u64, against: u64) -> Result<(), Denied> {
        loop {
            let gate = self.gate();
            if gate.0 & against != 0 {
                return Err(Denied::Gate(gate));
            }
            let mut most = 0;
            for step in 0..self.stripes.len() {
                match Self::take_from(self.stripes.at(home + step), units) {
                    Ok(()) => return Ok(()),
                    Err(free) => most = most.max(free),
                }
            }
            if most > 0 {
                return Err(Denied::Fewer { free: most });
            }
            if let Some(marked) = self.mark_none_free(gate) {
                return Err(Denied::Emptied(marked));
            }
        }
    }

    /// Takes up to `units`, from as many stripes as it needs, past an open gate. Says how many.
    pub(crate) fn take_up_to(&self, home: usize, units: u64) -> u64 {
        if !self.gate().is_open() {
            return 0;
        }
        self.drain(home, units)
    }

    /// Takes up to `units` from the stripes, whatever the gate says. Says how many.
    pub(crate) fn drain(&self, home: usize, units: u64) -> u64 {
        let mut taken = 0;
        for step in 0..self.stripes.len() {
            let stripe = self.stripes.at(home + step);
            // Relaxed: only a hint; the compare-and-swap decides.
            let mut free = stripe.load(Ordering::Relaxed);
            while free > 0 && taken < units {
                let some = free.min(units - taken);
                // AcqRel: Acquire takes over the freed slot of whoever gave the unit; Release keeps the chain of
                // takers whole. Relaxed on failure: the count is looked at again.
                match stripe.compare_exchange_weak(free, free - some, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => {
                        taken += some;
                        break;
                    }
                    Err(seen) => free = seen,
                }
            }
        }
        taken
    }

    /// Takes `units` from one stripe, or says how many it had.
    #[inline]
    fn take_from(stripe: &AtomicU64, units: u64) -> Result<(), u64> {
        // Acquire: an empty stripe that is part of a "none free" proof must not be an old value from before a
        // return whose gate was seen; coherence with that Acquire is what the proof needs.
        let mut free = stripe.load(Ordering::Acquire);
        while free >= units {
            // AcqRel: Acquire takes over the freed slot of whoever gave this unit (`give`); Release keeps later
            // takers in the chain. Acquire on failure: the value seen may end the loop as "empty".
            match stripe.compare_exchange_weak(free, free - units, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(seen) => free = seen,
            }
        }
        Err(free)
    }

    /// Every stripe was seen empty since `gate` was read: marks it so, unless a return came between.
    fn mark_none_free(&self, gate: Gate) -> Option<Gate> {
        let marked = gate.0 | NONE_FREE;
        // AcqRel: Release so that who sees the mark sees what led to it; Acquire in step with later gates.
        // Relaxed on failure: the gate is read again from the top.
        self.gate.compare_exchange(gate.0, marked, Ordering::AcqRel, Ordering::Relaxed).ok().map(|_| Gate(marked))
    }

    /// Marks `sold out` on the very `gate` under which every unit was seen sold; true for the one who has set it.
    ///
    /// The caller read the gate first, then that the units sold make up the whole stock.
    pub(crate) fn mark_sold_out(&self, gate: Gate) -> bool {
        if gate.sold_out() {
            return false;
        }
        // AcqRel, Relaxed on failure: as in `mark_none_free`; a return in between has changed the gate.
        self.gate.compare_exchange(gate.0, gate.0 | SOLD_OUT, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Puts `units` back on sale, or into the queue's hands. The slots they need must be findable before.
    ///
    /// True if this return ended a time in which somebody was told that nothing was free, or everything sold.
    pub(crate) fn give(&self, home: usize, units: u64) -> bool {
        if self.give_to_queue(units) {
            return false;
        }
        // Release: publishes the freed slot to the taker of the unit.
        self.stripes.at(home).fetch_add(units, Ordering::Release);
        // Relaxed: only a first guess for the compare-and-swap.
        let mut gate = self.gate.load(Ordering::Relaxed);
        loop {
            let next = gate.wrapping_add(ONE_RETURN) & !(NONE_FREE | SOLD_OUT);
            // AcqRel: Release publishes the units just added to whoever reads this gate with Acquire; Acquire
            // keeps successive gates in step. Relaxed on failure: tried again from the value seen.
            match self.gate.compare_exchange_weak(gate, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return gate & (NONE_FREE | SOLD_OUT) != 0 && gate & QUEUED == 0,
                Err(seen) => gate = seen,
            }
        }
    }

    /// Sets an operator's mark; true if it was not set before.
    pub(crate) fn set(&self, mark: Mark) -> bool {
        // AcqRel: the mark and what led to it are seen together.
        self.gate.fetch_or(mark.bit(), Ordering::AcqRel) & mark.bit() == 0
    }

    /// Clears an operator's mark; true if it was set before.
    pub(crate) fn clear(&self, mark: Mark) -> bool {
        // AcqRel: as in `set`.
        self.gate.fetch_and(!mark.bit(), Ordering::AcqRel) & mark.bit() != 0
    }

    /// Units that are free, stripe by stripe, and those that wait for the queue: exact at rest, in between at most off
    /// by what moves meanwhile.
    pub(crate) fn free(&self) -> u64 {
        // Acquire: at rest this reads every finished operation.
        self.stripes.iter().map(|stripe| stripe.load(Ordering::Acquire)).sum::<u64>() + self.for_queue()
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_unit_can_be_taken_from_any_home_and_then_none() {
        for home in 0..5 {
            let permits = Permits::new(7, 4, false);
            for _ in 0..7 {
                assert_eq!(permits.take(home, 1), Ok(()));
            }
            let Err(Denied::Emptied(gate)) = permits.take(home, 1) else { panic!("an eighth of seven units") };
            assert!(gate.none_free() && !gate.sold_out());
            assert!(permits.give(home + 1, 1));
            assert_eq!(permits.take(home, 1), Ok(()));
        }
    }

    #[test]
    fn several_units_are_all_or_none() {
        let permits = Permits::new(5, 1, false);
        assert_eq!(permits.take(0, 4), Ok(()));
        assert_eq!(permits.take(0, 2), Err(Denied::Fewer { free: 1 }));
        assert!(permits.gate().is_open(), "one unit is free: nobody may be told that none is");
        assert_eq!(permits.take(0, 1), Ok(()));
    }

    #[test]
    fn a_late_payment_passes_a_pause_but_not_an_empty_shelf() {
        let permits = Permits::new(1, 1, false);
        assert!(permits.set(Mark::Paused));
        assert!(!permits.set(Mark::Paused));
        assert!(matches!(permits.take(0, 1), Err(Denied::Gate(gate)) if gate.is_paused()));
        assert_eq!(permits.take_late(0, 1), Ok(()));
        assert!(matches!(permits.take_late(0, 1), Err(Denied::Emptied(gate)) if gate.none_free()));
        assert!(matches!(permits.take_late(0, 1), Err(Denied::Gate(_))), "only the first finds it out");
    }

    #[test]
    fn a_return_clears_the_sold_out_mark() {
        let permits = Permits::new(1, 2, false);
        assert_eq!(permits.take(0, 1), Ok(()));
        let Err(Denied::Emptied(gate)) = permits.take(0, 1) else { panic!("nothing is left") };
        assert_eq!(permits.take(0, 1), Err(Denied::Gate(gate)), "only the first finds it out");
        assert!(permits.mark_sold_out(gate));
        assert!(permits.gate().sold_out());
        permits.give(0, 1);
        assert!(permits.gate().is_open());
        assert!(!permits.mark_sold_out(gate), "a gate from before the return proves nothing");
    }

    const MARKS: [Mark; 5] = [Mark::Closed, Mark::Paused, Mark::Scheduled, Mark::Halted, Mark::Closes];

    #[test]
    fn each_mark_stands_alone_and_says_what_it_is() {
        for mark in MARKS {
            let permits = Permits::new(1, 1, false);
            assert!(permits.set(mark));
            let gate = permits.gate();
            let says = [gate.is_closed(), gate.is_paused(), gate.is_scheduled(), gate.sold_out(), gate.none_free()];
            let expected = [
                mark == Mark::Closed,
                matches!(mark, Mark::Paused | Mark::Halted),
                mark == Mark::Scheduled,
                false,
                false,
            ];
            assert_eq!(says, expected, "{mark:?}");
            assert_eq!(gate.is_open(), mark == Mark::Closes, "{mark:?}");
            assert_eq!(gate.is_barred(), mark != Mark::Closes, "{mark:?}");
            assert!(!gate.queued() && !gate.is_only_sold_out());
            // Whoever asks for many at once is held off as any other.
            assert_eq!(permits.take(0, 1).is_ok(), mark == Mark::Closes, "{mark:?}");
            assert_eq!(permits.take_up_to(0, 1), 0);
            assert_eq!(permits.free(), u64::from(mark != Mark::Closes));
            for other in MARKS {
                assert_eq!(permits.clear(other), other == mark);
            }
            assert!(permits.gate().is_open());
        }
        assert!(Permits::new(1, 1, true).gate().is_scheduled());
    }

    #[test]
    fn sold_out_is_the_answer_for_good_if_nothing_else_stands_there() {
        let permits = Permits::new(1, 1, false);
        assert_eq!(permits.take(0, 1), Ok(()));
        let Err(Denied::Emptied(gate)) = permits.take(0, 1) else { panic!("nothing is left") };
        assert!(!gate.is_open() && !gate.is_only_sold_out() && permits.mark_sold_out(gate));
        let gate = permits.gate();
        assert!(gate.none_free() && gate.is_only_sold_out() && !gate.is_open());
        assert!(!permits.mark_sold_out(gate), "it is marked once");
        for mark in MARKS {
            permits.set(mark);
            assert!(permits.gate().sold_out() && !permits.gate().is_only_sold_out(), "{mark:?}");
            permits.clear(mark);
        }
        assert!(permits.give(0, 1) && !permits.give(0, 1), "one return ends the time in which nothing was free");
    }

    #[test]
    fn as_many_as_are_wanted_are_taken_from_as_many_stripes_as_it_needs() {
        let permits = Permits::new(10, 4, false);
        for (wanted, got, left) in [(4, 4, 6), (0, 0, 6), (5, 5, 1), (5, 1, 0), (5, 0, 0)] {
            assert_eq!((permits.take_up_to(1, wanted), permits.free()), (got, left));
        }
    }

    #[test]
    fn what_is_taken_off_comes_from_the_stripes_and_from_the_queue() {
        let permits = Permits::new(2, 1, false);
        assert_eq!(permits.drain(0, 2), 2);
        assert_eq!(permits.open_queue(), Ok(true));
        assert!(!permits.give(0, 5), "it is for the queue, and for nobody who was told that nothing is free");
        assert_eq!((permits.free(), permits.gate().none_free()), (5, true));
        permits.stripes.at(0).fetch_add(2, Ordering::Relaxed);
        assert_eq!((permits.take_off(0, 3), permits.free()), (3, 4));
        assert_eq!((permits.take_off(0, 9), permits.free()), (4, 0));
        assert!(!permits.close_queue(0), "nothing is free by that");
    }

    #[test]
    fn whoever_is_queued_closes_the_gate_and_leaves_it_as_it_was() {
        let permits = Permits::new(2, 1, false);
        permits.restore_queue();
        assert!(permits.gate().queued() && !permits.gate().none_free() && !permits.gate().is_open());
        assert!(!permits.give(0, 1) && permits.take(0, 1).is_err() && permits.take_late(0, 1).is_err());
        assert_eq!((permits.for_queue(), permits.free()), (1, 3));
        assert!(permits.take_for_queue(0) && permits.take_for_queue(0));
        assert_eq!((permits.for_queue(), permits.free()), (0, 1), "what came back for it first, then what was there");
        assert!(permits.close_queue(0), "one is free by that");
        assert!(permits.gate().is_open() && permits.take(0, 1).is_ok());
    }

    #[test]
    fn withdrawing_takes_only_free_units() {
        let permits = Permits::new(10, 4, false);
        for _ in 0..4 {
            assert_eq!(permits.take(0, 1), Ok(()));
        }
        assert_eq!(permits.drain(0, 100), 6);
        assert_eq!(permits.free(), 0);
    }
}
