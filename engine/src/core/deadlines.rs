//! When holds fall due: a lower bound for each block of slots, and one for the sale.
//!
//! No timer is kept for a hold. A sweep looks at the sale's bound, then at the blocks whose bound has passed,
//! then at the slots of those blocks. Extending a hold moves it later and leaves the bounds as they are.
//!
//! What holds:
//! - A hold that was answered is at or after its block's bound, and its block's bound at or after the sale's.
//! - Holder and sweeper meet at the block's bound, and both change it by read-modify-write: if the sweeper comes
//!   later, it sees the hold; if the holder comes later, it sees the bounds that the sweeper raised and lowers
//!   them again.

use crossbeam_utils::CachePadded;

use super::{
    slots::{BLOCK, Slots, Snapshot, State},
    sync::{AtomicU64, Ordering},
};

/// No hold falls due.
pub(crate) const NEVER: u64 = u64::MAX;

/// The sale's bound: no hold falls due before it.
#[derive(Debug)]
pub(crate) struct Deadlines {
    earliest: CachePadded<AtomicU64>,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self { earliest: CachePadded::new(AtomicU64::new(NEVER)) }
    }

    /// The offset before which no hold falls due. It may lag behind: the hold it stood for may have ended.
    #[inline]
    pub(crate) fn earliest(&self) -> u64 {
        // Relaxed: a hint to callers; the sweep itself goes by the blocks.
        self.earliest.load(Ordering::Relaxed)
    }

    /// A hold was made in slot `index`, and can be seen by others.
    #[inline]
    pub(crate) fn note(&self, slots: &Slots, index: u32, due: u64) {
        // AcqRel: Release so that a sweep that comes after this sees the hold; Acquire so that, coming after a
        // sweep, we see the sale's bound as that sweep raised it.
        slots.block(index)[0].fetch_min(due, Ordering::AcqRel);
        // Relaxed: see above; usually an older hold's bound, and nothing is written.
        if self.earliest.load(Ordering::Relaxed) > due {
            self.earliest.fetch_min(due, Ordering::AcqRel);
        }
    }

    /// Shows every hold that is due at `until` or before, and raises the bounds to what remains.
    pub(crate) fn sweep(&self, slots: &Slots, until: u64, mut due: impl FnMut(u32, Snapshot)) {
        if self.earliest() > until {
            return;
        }
        // AcqRel: the blocks are looked at after this; see `note`.
        self.earliest.swap(NEVER, Ordering::AcqRel);
        let mut remaining = NEVER;
        for (first, chunk) in slots.present() {
            for (number, block) in (0_u32..).zip(&chunk.blocks) {
                // AcqRel: a read-modify-write, although nothing is changed; see the header.
                let mut bound = block[0].fetch_or(0, Ordering::AcqRel);
                if bound <= until {
                    // AcqRel: as above; the slots are looked at after this.
                    block[0].swap(NEVER, Ordering::AcqRel);
                    bound = sweep_block(slots, first + number * BLOCK, until, &mut due);
                    // AcqRel: meets holders who have lowered it meanwhile.
                    block[0].fetch_min(bound, Ordering::AcqRel);
                }
                remaining = remaining.min(bound);
            }
        }
        // AcqRel: meets holders who have lowered it meanwhile.
        self.earliest.fetch_min(remaining, Ordering::AcqRel);
    }
}

/// Shows the block's due holds; the earliest due time of the others.
fn sweep_block(slots: &Slots, first: u32, until: u64, due: &mut impl FnMut(u32, Snapshot)) -> u64 {
    let (_, place) = slots.place(first);
    let chunk = slots.chunk(slots.place(first).0);
    let length = u32::try_from(chunk.len()).expect("slots are u32");
    let mut remaining = NEVER;
    for index in first..first + BLOCK.min(length - place) {
        let snapshot = slots.load(index);
        if let State::Held { due: at } = snapshot.state() {
            if at <= until {
                due(index, snapshot);
            } else {
                remaining = remaining.min(at);
            }
        }
    }
    remaining
}
