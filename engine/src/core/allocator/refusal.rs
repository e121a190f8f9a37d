//! Refusals: what the gate, an empty stripe or an operator's mark means for whoever wanted a unit.
//!
//! What holds: "sold out" is said only if every unit was sold at some instant of the call, "none free" only if none was
//! free.

use super::{Allocator, Denied, Gate};

/// Why there is no hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Scheduled,
    Closed,
    Paused,
    Limit {
        held: u32,
        bought: u32,
    },
    UnderWay,
    /// Some units are free, but fewer than asked for.
    Fewer {
        free: u64,
    },
    /// Nothing is free, and not everything is sold.
    AllHeld {
        on_hold: u64,
        /// An offset before which no hold falls due.
        next_due: u64,
        /// Nobody was told so since units were last free.
        first: bool,
    },
    SoldOut {
        /// Nobody was told so before.
        first: bool,
    },
}

impl Allocator {
    /// Whether anything may be had at all: one load, and the answer needs no buyer.
    #[inline]
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        let gate = self.permits.gate();
        if gate.is_open() { Ok(()) } else { Err(self.refuse(gate, false)) }
    }

    /// Takes permits for a payment that came late: an operator's mark does not stand against it, and is not the reason
    /// if there are none.
    pub(super) fn take_late(&self, home: usize, quantity: u32) -> Result<(), Refusal> {
        self.permits.take_late(home, u64::from(quantity)).map_err(|denied| match denied {
            Denied::Gate(gate) => self.no_unit(gate, false),
            Denied::Emptied(gate) => self.no_unit(gate, true),
            Denied::Fewer { free } => Refusal::Fewer { free },
        })
    }

    pub(super) fn denied(&self, denied: Denied) -> Refusal {
        match denied {
            Denied::Gate(gate) => self.refuse(gate, false),
            Denied::Emptied(gate) => self.refuse(gate, true),
            Denied::Fewer { free } => Refusal::Fewer { free },
        }
    }

    #[cold]
    pub(super) fn nothing_free(&self) -> Refusal {
        Refusal::AllHeld { on_hold: self.unsold(), next_due: self.deadlines.earliest(), first: false }
    }

    /// What a gate that isn't open means; `first` if the caller has just marked that nothing is free.
    #[inline]
    pub(super) fn refuse(&self, gate: Gate, first: bool) -> Refusal {
        if gate.is_scheduled() {
            return Refusal::Scheduled;
        }
        if gate.is_closed() {
            return Refusal::Closed;
        }
        if gate.is_paused() {
            return Refusal::Paused;
        }
        self.no_unit(gate, first)
    }

    /// What a gate means under which no unit could be taken.
    #[inline]
    pub(super) fn no_unit(&self, gate: Gate, first: bool) -> Refusal {
        if gate.sold_out() {
            return Refusal::SoldOut { first: false };
        }
        let on_hold = self.unsold();
        if on_hold == 0 {
            // If the mark fails, a unit has come meanwhile; that everything was sold is true all the same.
            return Refusal::SoldOut { first: self.permits.mark_sold_out(gate) };
        }
        Refusal::AllHeld { on_hold, next_due: self.deadlines.earliest(), first }
    }
}
