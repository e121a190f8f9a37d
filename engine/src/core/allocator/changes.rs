//! What has changed since a journal last looked: one bit for each slot, whatever happens to it how often.
//!
//! A journal looks once a tick, and is a tick behind. But what frees a unit, or a buyer's share, must be in the journal
//! before the order that uses it: `note_end` comes before either is given back, so whoever got them finds it with
//! `has_ends`, and writes the ends first.
//!
//! What holds: a change is either seen by the round that is under way, or starts another; what is shown of a slot is
//! one state that it had, word, key epoch and share together. Rounds take turns.

use super::{Allocator, Share};
use crate::core::{
    Buyer,
    slots::{BLOCK, Snapshot, State},
    sync::{AtomicU64, Ordering},
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
                shown += self.drain_block(number, &block[1], &mut changed);
            }
        }
        None
    }

    /// Shows the changes of the blocks in which holds have ended, until no more have: a hold that is shown on the way
    /// may have the unit of another that has ended meanwhile, in a block that was passed already.
    pub(crate) fn drain_ends(&self, mut changed: impl FnMut(u32, Snapshot, u16, Share)) {
        // AcqRel: the words are looked at after this; see `note_end`.
        while self.ended.swap(0, Ordering::AcqRel) != 0 {
            self.drain_ends_once(&mut changed);
        }
    }

    pub(super) fn drain_ends_once(&self, changed: &mut impl FnMut(u32, Snapshot, u16, Share)) {
        for (first, chunk) in self.slots.present() {
            for (number, [word]) in (0_u32..).zip(&chunk.ends) {
                // AcqRel: as in `drain_block`, for the words of ends.
                let mut bits = word.swap(0, Ordering::AcqRel);
                while bits != 0 {
                    let block = number * 64 + bits.trailing_zeros();
                    self.drain_block(first / BLOCK + block, &chunk.blocks[block as usize][1], changed);
                    bits &= bits - 1;
                }
            }
        }
    }

    /// Whether holds have ended that no round has shown.
    #[inline]
    pub(crate) fn has_ends(&self) -> bool {
        // Acquire: in step with `note_end`; the permit or the share that came back has brought its ends along.
        self.ended.load(Ordering::Acquire) != 0
    }

    /// Shows the changes of one block; how many there were.
    fn drain_block(&self, number: u32, word: &AtomicU64, changed: &mut impl FnMut(u32, Snapshot, u16, Share)) -> u32 {
        // AcqRel: Acquire sees the changed slots; a read-modify-write on both sides, so that a change is either seen
        // here or finds the sale's word cleared and sets it.
        let mut bits = word.swap(0, Ordering::AcqRel);
        let count = bits.count_ones();
        while bits != 0 {
            self.show(number * BLOCK + bits.trailing_zeros(), changed);
            bits &= bits - 1;
        }
        count
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

    /// A hold has ended; noted before anything of it is given back, and after `note_change`.
    #[inline]
    pub(super) fn note_end(&self, slot: u32) {
        if !self.journaled {
            return;
        }
        let (number, place) = self.slots.place(slot);
        let block = place / BLOCK;
        // AcqRel: as in `note_change`, with the block's word of changes in the slot's place.
        self.slots.chunk(number).ends[block as usize / 64][0].fetch_or(1 << (block % 64), Ordering::AcqRel);
        // Relaxed: the looks are as in `note_change`. Release: who finds it set finds what it stands for.
        if self.ended.load(Ordering::Relaxed) == 0 {
            self.ended.store(1, Ordering::Release);
        }
    }
}
