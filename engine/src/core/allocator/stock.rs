//! How many units there are, and slots for them.
//!
//! What holds: units are added to the total before they can be taken, and taken before they leave it; slots are made,
//! and met by every sweep and drain, before they can be used; there are always `spare` more of them than units.

use super::{Allocator, Count, Share};
use crate::core::{
    slots::{CHUNKS, State},
    sync::Ordering,
};

impl Allocator {
    /// Puts `units` more on offer. The slots for them must be there: see `chunks_for`.
    pub(crate) fn add(&self, units: u32, home: usize) -> bool {
        if let Some(pool) = &self.units {
            pool.grow(units);
        }
        // AcqRel: "everything is sold" must not be concluded from the old total once the units can be taken.
        self.total.fetch_add(u64::from(units), Ordering::AcqRel);
        self.permits.give(home, u64::from(units))
    }

    /// Takes up to `units` free units off offer; says how many. Which ones, if that matters, `withdraw_units` says.
    pub(crate) fn withdraw(&self, units: u32, home: usize) -> u32 {
        let taken = self.permits.take_off(home, u64::from(units));
        // AcqRel: as in `add`; until here the units count as on hold, which they are.
        self.total.fetch_sub(taken, Ordering::AcqRel);
        u32::try_from(taken).expect("at most what was asked for")
    }

    /// How many chunks of slots `units` on offer need.
    pub(crate) fn chunks_for(&self, units: u64) -> usize {
        let needed = units + u64::from(self.spare);
        let enough = |chunks: &usize| u64::from(self.slots.capacity(*chunks)) >= needed;
        (1..=CHUNKS).find(enough).expect("stock is bounded by MAX_STOCK")
    }

    /// Lets the slots of the first `chunks` chunks be used: at once, or with the first hold if there was none so far.
    pub(crate) fn grow(&self, chunks: usize) {
        // Release: who finds too few slots finds that there may be more.
        self.chunks.fetch_max(chunks as u64, Ordering::Release);
        if self.supply.fresh().1 > 0 {
            self.prepare(chunks);
        }
    }

    /// Makes the first `chunks` chunks, meets every sweep and drain that may not have seen them, and only then lets
    /// their slots be used.
    pub(super) fn prepare(&self, chunks: usize) {
        for number in 0..chunks {
            self.slots.chunk(number);
        }
        self.deadlines.meet();
        // AcqRel: as `meet`, for the drain of changes.
        self.changed.fetch_or(0, Ordering::AcqRel);
        self.supply.grow(self.slots.capacity(chunks));
    }

    /// Whether so many slots are out of generations that more are needed; chunks then wanted.
    pub(crate) fn wants_chunks(&self) -> Option<usize> {
        // Relaxed: a count; the next tick looks again.
        let retired = self.retired.load(Ordering::Relaxed);
        (retired > u64::from(self.spare / 2)).then(|| self.chunks_for(self.total() + 2 * retired))
    }

    /// Counts units: free by the permits, held and sold slot by slot. Exact at rest.
    pub(crate) fn count(&self) -> Count {
        let mut count = Count { free: self.permits.free(), ..Count::default() };
        for (first, chunk) in self.slots.present() {
            for slot in (first..).take(chunk.len()) {
                match self.slots.load(slot).state() {
                    State::Held { .. } | State::Part { .. } | State::Confirming => {
                        count.held += u64::from(self.slots.meta(slot).quantity);
                    }
                    State::Sold { .. } => count.sold += u64::from(self.slots.meta(slot).quantity),
                    State::Free(_) | State::Retired => {}
                }
            }
        }
        count
    }

    /// Shows what is sold, slot by slot: whose it is, and under which sequence. Exact at rest.
    pub(crate) fn sold_slots(&self, mut sold: impl FnMut(Share, u64)) {
        for (first, chunk) in self.slots.present() {
            for slot in (first..).take(chunk.len()) {
                if let State::Sold { sequence } = self.slots.load(slot).state() {
                    sold(self.share(self.slots.meta(slot)), sequence);
                }
            }
        }
    }

    /// Free units, as the permits have them.
    pub(crate) fn free(&self) -> u64 {
        self.permits.free()
    }

    /// Stock + added - withdrawn.
    pub(crate) fn total(&self) -> u64 {
        // Acquire: pairs with `add` and `withdraw`.
        self.total.load(Ordering::Acquire)
    }

    /// Units sold, summed over stripes that only rise: never more than were sold when this returns.
    pub(crate) fn sold(&self) -> u64 {
        // Acquire: pairs with the Release of `settle`.
        self.sold.iter().map(|stripe| stripe.load(Ordering::Acquire)).sum()
    }

    /// Units on offer that are not sold. Zero proves that everything was sold at some instant of the call: what
    /// is sold only rises, is read first, and never exceeds the total.
    pub(super) fn unsold(&self) -> u64 {
        let sold = self.sold();
        self.total().saturating_sub(sold)
    }

    /// A slot where there was none: the memory for slots is taken when the first hold is made.
    #[cold]
    pub(super) fn first_slot(&self, home: usize) -> Option<u32> {
        // Acquire: pairs with the Release of `grow`.
        let chunks = usize::try_from(self.chunks.load(Ordering::Acquire)).expect("at most 27");
        if self.supply.fresh().1 < u64::from(self.slots.capacity(chunks)) {
            self.prepare(chunks);
        }
        // Also if another thread has made them just now: that was after we had looked.
        self.supply.pop(&self.slots, home)
    }
}
