//! Holds for those who wait: made from what came back for the queue, with a deadline of their own.
//!
//! What holds: a head who may not have a unit takes none; one thread at a time opens, serves and closes the queue, as
//! `permits::queue` asks for.

use super::{Allocator, Buyer, Made, Refusal, VALUE_MAX};
use crate::core::permits::Unqueueable;

#[cfg(all(test, sellout_shuttle))]
mod shuttle_tests;

impl Allocator {
    /// Opens the queue for the first who waits, or says why nobody can wait. True for the one who found out that
    /// nothing is free.
    pub(crate) fn open_queue(&self) -> Result<bool, Refusal> {
        loop {
            let gate = self.permits.gate();
            if gate.is_barred() {
                return Err(self.refuse(gate, false));
            }
            if self.unsold() == 0 {
                // If the mark fails, a unit has come meanwhile; that everything was sold is true all the same.
                return Err(Refusal::SoldOut { first: self.permits.mark_sold_out(gate) });
            }
            match self.permits.open_queue() {
                Ok(first) => return Ok(first),
                Err(Unqueueable::Free(free)) => return Err(Refusal::Fewer { free }),
                // It was marked, and a unit has come meanwhile: look again.
                Err(Unqueueable::SoldOut(_)) if self.unsold() > 0 => {}
                Err(Unqueueable::SoldOut(_)) => return Err(Refusal::SoldOut { first: false }),
            }
        }
    }

    /// Nobody waits any more. True if somebody did, and something is free by that.
    pub(crate) fn close_queue(&self, home: usize) -> bool {
        self.permits.gate().queued() && self.permits.close_queue(home)
    }

    /// Recovery: somebody waits. After everything else is put back.
    pub(crate) fn restore_queue(&self) {
        self.permits.restore_queue();
    }

    /// Whether units may be had for the queue: nothing but the queue itself stands in the way.
    pub(crate) fn serves_queue(&self) -> bool {
        let gate = self.permits.gate();
        gate.queued() && !gate.is_barred() && self.permits.free() > 0
    }

    /// Whether `buyer` could have one unit more, by the cap.
    pub(crate) fn within_cap(&self, buyer: Buyer) -> Result<(), Refusal> {
        let attempt = self.begin(buyer, 1)?;
        self.cap.abort(attempt);
        Ok(())
    }

    /// Holds a unit that came back for the queue, for `buyer`, who is its head, until the offset `due`.
    pub(crate) fn offer(&self, buyer: Buyer, due: u64, home: usize, key_epoch: u16) -> Result<Made, Refusal> {
        let attempt = self.begin(buyer, 1)?;
        if !self.permits.take_for_queue(home) {
            self.cap.abort(attempt);
            return Err(self.nothing_free());
        }
        self.make_due(attempt, 1, due.min(VALUE_MAX), home, key_epoch, |_| {})
    }

    /// An attempt of the buyer's that never ends.
    #[cfg(test)]
    pub(crate) fn begin_attempt(&self, buyer: Buyer) -> impl Sized + use<> {
        self.cap.begin(buyer, 1, self.limit())
    }
}
