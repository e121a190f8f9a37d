//! When holds fall due: a lower bound for each block of slots, and one for the sale.
//!
//! No timer is kept for a hold. A sweep looks at the sale's bound, then at the blocks whose bound has passed,
//! then at the slots of those blocks. Extending a hold moves it later and leaves the bounds as they are.
//!
//! ```text
//! block's bound | holds noted: 24 bits | no hold falls due before: 40 bits |
//! ```
//!
//! What holds:
//! - A hold that was answered is at or after its block's bound, and its block's bound at or after the sale's, except
//!   that the sale's bound stands at `NEVER` while a sweep is under way.
//! - Holder and sweeper meet at the block's bound, and both look at it by read-modify-write: if the sweeper comes
//!   later, it sees the hold; if the holder comes later, it sees the sale's bound as the sweeper raised it and lowers
//!   it again.
//! - A block's bound is raised only by a compare-and-swap from the very word that was read before its slots were
//!   looked at: a hold noted in between leaves it low, for the next sweep.
//! - A sweep that stops half-way, or panics in what it calls, takes no hold out of the sight of the others.

use super::{
    slots::{BLOCK, Slots, Snapshot, State},
    sync::{AtomicU64, Ordering},
};

#[cfg(all(test, sellout_loom))]
mod loom_tests;
#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests;

/// No hold falls due.
pub(crate) const NEVER: u64 = u64::MAX;

const BOUND_BITS: u32 = 40;
const BOUND_MASK: u64 = (1 << BOUND_BITS) - 1;
const ONE_NOTE: u64 = 1 << BOUND_BITS;

/// The sale's bound: no hold falls due before it.
#[derive(Debug)]
pub(crate) struct Deadlines {
    earliest: AtomicU64,
    /// Sweeps under way: while there is one, `earliest` says nothing.
    sweeps: AtomicU64,
    /// The bound from which the latest sweep began.
    before: AtomicU64,
}

/// A sweep under way. However it ends, the sale's bound is lowered to what it leaves.
struct Sweep<'a> {
    deadlines: &'a Deadlines,
    remaining: u64,
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        // AcqRel: meets holders who have lowered it meanwhile.
        self.deadlines.earliest.fetch_min(self.remaining, Ordering::AcqRel);
        // Release: who finds no sweep under way finds the bound that this one left.
        self.deadlines.sweeps.fetch_sub(1, Ordering::Release);
    }
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self { earliest: AtomicU64::new(NEVER), sweeps: AtomicU64::new(0), before: AtomicU64::new(0) }
    }

    /// The offset before which no hold falls due. It may lag behind: the hold it stood for may have ended.
    #[inline]
    pub(crate) fn earliest(&self) -> u64 {
        // Acquire: who reads a sweep's `NEVER` finds that sweep counted. Relaxed: hints to callers.
        match self.earliest.load(Ordering::Acquire) {
            NEVER if self.sweeps.load(Ordering::Relaxed) > 0 => self.before.load(Ordering::Relaxed),
            earliest => earliest,
        }
    }

    /// A chunk of slots was made, of which no slot has been handed out: a sweep that comes after this finds the chunk,
    /// and whoever notes a hold in it after this sees the sale's bound as any other sweep raised it.
    pub(crate) fn meet(&self) {
        // AcqRel: meets the sweeps' swap; a read-modify-write, although nothing is changed.
        self.earliest.fetch_or(0, Ordering::AcqRel);
    }

    /// A hold was made in slot `index`, and can be seen by others.
    #[inline]
    pub(crate) fn note(&self, slots: &Slots, index: u32, due: u64) {
        let block = &slots.block(index)[0];
        // Relaxed: only a first guess for the compare-and-swap.
        let mut word = block.load(Ordering::Relaxed);
        loop {
            let next = (word.wrapping_add(ONE_NOTE) & !BOUND_MASK) | (word & BOUND_MASK).max(bits(due));
            // AcqRel: Release so that a sweep that comes after this sees the hold; Acquire so that, coming after a
            // sweep, we see the sale's bound as that sweep raised it. Relaxed on failure: tried again.
            match block.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(seen) => word = seen,
            }
        }
        // Relaxed: see above; usually an older hold's bound, and nothing is written.
        if self.earliest.load(Ordering::Relaxed) > due {
            // AcqRel: in step with the sweeps' swap.
            self.earliest.fetch_min(due, Ordering::AcqRel);
        }
    }

    /// Shows every hold that is due at `until` or before, and raises the bounds to what remains.
    pub(crate) fn sweep(&self, slots: &Slots, until: u64, mut due: impl FnMut(u32, Snapshot)) {
        // Acquire: who reads a sweep's `NEVER` finds that sweep counted. Relaxed: see there.
        if self.earliest.load(Ordering::Acquire) > until && self.sweeps.load(Ordering::Relaxed) == 0 {
            return;
        }
        // Relaxed: published by the swap below.
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        let before = self.earliest.load(Ordering::Relaxed);
        if before != NEVER {
            self.before.store(before, Ordering::Relaxed);
        }
        // AcqRel: the blocks are looked at after this; see `note`. Should this sweep fail, the old bound comes back.
        let mut sweep = Sweep { deadlines: self, remaining: self.earliest.swap(NEVER, Ordering::AcqRel) };
        let mut remaining = NEVER;
        for (first, chunk) in slots.present() {
            for (number, block) in (0_u32..).zip(&chunk.blocks) {
                // AcqRel: a read-modify-write, although nothing is changed; see the header.
                let word = block[0].fetch_or(0, Ordering::AcqRel);
                let mut bound = bound(word);
                if bound <= until {
                    bound = sweep_block(slots, first + number * BLOCK, until, &mut due);
                    bound = raise(&block[0], word, bound);
                }
                remaining = remaining.min(bound);
            }
        }
        sweep.remaining = remaining;
    }
}

/// The bound in a block's word: counted down from the top, so that a word of zeros says `NEVER`.
fn bound(word: u64) -> u64 {
    let bound = BOUND_MASK - (word & BOUND_MASK);
    if bound == BOUND_MASK { NEVER } else { bound }
}

/// The bits of a bound in a block's word.
fn bits(bound: u64) -> u64 {
    BOUND_MASK - bound.min(BOUND_MASK)
}

/// Raises a block's bound if nothing was noted since `word` was read. The bound that stands.
fn raise(block: &AtomicU64, word: u64, to: u64) -> u64 {
    let raised = (word & !BOUND_MASK) | bits(to);
    // AcqRel: a holder who comes after this sees the sale's bound as it was raised. Acquire on failure: as if the
    // block were looked at now, and found low.
    match block.compare_exchange(word, raised, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => to,
        Err(seen) => bound(seen),
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
        match snapshot.state() {
            State::Held { due: at } if at <= until => due(index, snapshot),
            // A part is ended with its basket: until then it stands for a unit that may come back.
            State::Held { due: at } | State::Part { due: at } => remaining = remaining.min(at),
            _ => {}
        }
    }
    remaining
}
