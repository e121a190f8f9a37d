//! Recovery: a sale is put back as a journal has it, by one thread, before anybody else knows the sale.

use super::{Allocator, HoldId, Share};
use crate::core::{
    End,
    cap::CellIndex,
    slots::{GENERATION_BITS, Meta, State},
    sync::Ordering,
};

impl Allocator {
    /// Makes the slots: they are about to be set.
    pub(crate) fn restore_slots(&self) {
        // Relaxed: nobody else is there yet.
        self.prepare(usize::try_from(self.chunks.load(Ordering::Relaxed)).expect("at most 27"));
    }

    /// Puts back a hold or a sale.
    pub(crate) fn restore(&self, id: HoldId, share: Share, state: State) {
        let attempt =
            self.cap.begin(share.buyer, share.quantity, u32::MAX).expect("recovery has one thread and no limit");
        self.cap.commit(&attempt, share.quantity);
        let taken = self.permits.drain(0, u64::from(share.quantity));
        debug_assert_eq!(taken, u64::from(share.quantity), "the journal has more units than the stock");
        let meta = Meta { cell: attempt.cell(), quantity: share.quantity, key_epoch: id.key_epoch };
        self.slots.restore(id.slot, state, id.generation, meta);
        match state {
            State::Held { due } | State::Part { due } => self.deadlines.note(&self.slots, id.slot, due),
            State::Sold { .. } => {
                self.cap.settle(attempt.cell(), share.quantity);
                // Relaxed: nobody else is there yet.
                self.sold.at(0).fetch_add(u64::from(share.quantity), Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// A slot that was used and is free now; its generation is the next one.
    pub(crate) fn restore_free(&self, slot: u32, generation: u32, end: Option<End>) {
        let meta = Meta { cell: CellIndex(0), quantity: 0, key_epoch: 0 };
        if generation >> GENERATION_BITS != 0 {
            // Relaxed: nobody else is there yet.
            self.retired.fetch_add(1, Ordering::Relaxed);
            return self.slots.restore(slot, State::Retired, generation - 1, meta);
        }
        self.slots.restore(slot, State::Free(end), generation, meta);
        self.supply.push(&self.slots, slot as usize, slot);
    }

    /// Slots from `fresh` on were never used.
    pub(crate) fn restore_fresh(&self, fresh: u32) {
        self.supply.skip_to(fresh);
    }
}
