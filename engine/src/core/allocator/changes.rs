//! What has changed since a journal last looked: one bit for each slot, whatever happens to it how often.
//!
//! What holds: a change is either seen by the round of `drain_changes` that is under way, or starts another; what is
//! shown of a slot is one state that it had, word, key epoch and share together.

use super::{Allocator, Share};
use crate::core::{
    Buyer,
    slots::{BLOCK, Snapshot, State},
    sync::Ordering,
};

impl Allocator {
    /// Shows slots that have changed since they were last shown, as they are now: word, key epoch and share.
    ///
    /// It begins at the block numbered `from` and stops after some `enough` of them; the answer is where to go on,
    /// or `None` at the end. A whole round starts from 0.
    pub(crate) fn drain_changes(
        &self,
        from: u32,
        enough: u32,
        mut changed: impl FnMut(u32, Snapshot, u16, Share),
    ) -> Option<u32> {
        // AcqRel: the blocks are looked at after this; see `note_change`.
        if from == 0 && self.changed.swap(0, Ordering::AcqRel) == 0 {
            return None;
        }
        let mut shown = 0;
        for (first, chunk) in self.slots.present() {
            for (number, block) in (first / BLOCK..).zip(&chunk.blocks) {
                if number < from {
                    continue;
                }
                if shown >= enough {
                    return Some(number);
                }
                // AcqRel: Acquire sees the changed slots; a read-modify-write on both sides, so that a change is
                // either seen here or finds `changed` cleared and sets it.
                let mut bits = block[1].swap(0, Ordering::AcqRel);
                shown += bits.count_ones();
                while bits != 0 {
                    self.show(number * BLOCK + bits.trailing_zeros(), &mut changed);
                    bits &= bits - 1;
                }
            }
        }
        None
    }

    /// Whether slots have changed since the last round of `drain_changes`.
    pub(crate) fn has_changes(&self) -> bool {
        // Relaxed: a hint; the round decides.
        self.changed.load(Ordering::Relaxed) != 0
    }

    fn show(&self, slot: u32, changed: &mut impl FnMut(u32, Snapshot, u16, Share)) {
        loop {
            let snapshot = self.slots.load(slot);
            let meta = self.slots.meta(slot);
            // While a slot is free its meta is a link: there is no share to read.
            let share = match snapshot.state() {
                State::Free(_) | State::Retired => Share { buyer: Buyer::from(0), quantity: 0 },
                _ => self.share(meta),
            };
            if self.slots.load(slot) == snapshot {
                return changed(slot, snapshot, meta.key_epoch, share);
            }
        }
    }

    #[inline]
    pub(super) fn note_change(&self, slot: u32) {
        if !self.journaled {
            return;
        }
        // AcqRel: Release publishes the slot's new word to the drain; Acquire, coming after a drain, sees
        // `changed` as that drain left it.
        let (_, place) = self.slots.place(slot);
        self.slots.block(slot)[1].fetch_or(1 << (place % BLOCK), Ordering::AcqRel);
        // Relaxed: see above.
        if self.changed.load(Ordering::Relaxed) == 0 {
            self.changed.store(1, Ordering::Relaxed);
        }
    }
}
