//! One sale's stock: permits, slots, cap table and deadlines, put together.
//!
//! The order of steps is what makes a refusal honest:
//!
//! ```text
//! reserve   gate -> cap attempt -> permit -> slot -> cap committed -> units -> held -> deadline noted
//! end       held -> free (compare-and-swap) -> end noted -> cap share back -> units back -> slot findable
//!                -> permit back, gate moved
//! confirm   held -> confirming (compare-and-swap)  ...journal...  -> sold -> cap bought, sold counted
//! ```
//!
//! A buyer who may not buy takes no permit; a permit that was taken always becomes a hold. Time comes in as
//! milliseconds since the sale's base instant.

use std::fmt;

use super::{
    Buyer, End,
    cap::{Attempt, CapRefusal, CapTable},
    deadlines::Deadlines,
    permits::{Denied, Gate, Mark, Permits},
    slots::{BLOCK, Meta, Slots, Snapshot, State, VALUE_MAX},
    stripes::Stripes,
    supply::Supply,
    sync::{AtomicU64, MODEL, Ordering},
    units::Pool,
};

mod changes;
#[cfg(all(test, sellout_loom))]
mod loom_tests;
mod parts;
mod queue;
mod refusal;
mod restore;
#[cfg(all(test, sellout_shuttle))]
mod shuttle_histories;
#[cfg(all(test, sellout_shuttle))]
mod shuttle_tests;
mod stock;
#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests;
mod units;

pub(crate) use units::Whereabouts;

pub(crate) use parts::Marks;
pub(crate) use refusal::Refusal;

/// What one buyer may have, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Units a buyer, at first: see `limit`.
    pub(crate) cap: u32,
    /// Units a hold.
    pub(crate) largest: u32,
    /// From the hold to its deadline, in milliseconds.
    pub(crate) hold: u64,
    /// From the deadline to the hold's expiry, in milliseconds.
    pub(crate) grace: u64,
}

/// How an allocator is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// For how many threads at once.
    pub(crate) stripes: usize,
    /// What the cap table hashes under.
    pub(crate) key: [u8; 16],
    /// Whether the sale opens later.
    pub(crate) scheduled: bool,
    /// Whether changes are to be drained.
    pub(crate) journaled: bool,
    /// Slots of the first chunk, where a journal has them; by the stock otherwise.
    pub(crate) first_slots: Option<u32>,
}

/// Which hold: a slot, and which of the slot's holds, made under which token keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct HoldId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) key_epoch: u16,
}

/// A hold as it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) id: HoldId,
    /// Its deadline, as an offset.
    pub(crate) due: u64,
}

/// Who has it, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) buyer: Buyer,
    pub(crate) quantity: u32,
}

/// Where a hold stands when somebody wants to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Held {
        share: Share,
        due: u64,
        snapshot: Snapshot,
    },
    Confirming(Share),
    Sold {
        share: Share,
        sequence: u64,
    },
    /// The slot's latest hold, ended so.
    Ended(End),
    /// An earlier hold of a slot that has been used since, or one that never was.
    Gone,
}

/// The units of one sale, counted from the slots and not from counters of sales.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) free: u64,
    pub(crate) held: u64,
    pub(crate) sold: u64,
}

/// One sale's stock.
///
/// The gate stands first and what is seldom looked at last: whoever places an allocator in front of words that are
/// written all the time keeps the gate's cache line out of their reach. Words that are written all the time here are
/// in stripes with a line each; a sale too small for stripes has everything together.
#[repr(C)]
pub(crate) struct Allocator {
    permits: Permits,
    rules: Rules,
    /// Units a buyer.
    limit: AtomicU64,
    /// Units a hold: the rules' largest, or the limit if that is less.
    largest: AtomicU64,
    deadlines: Deadlines,
    supply: Supply,
    slots: Slots,
    cap: CapTable,
    /// Which unit is which, if they have faces.
    units: Option<Box<Pool>>,
    /// Not zero if a slot has changed since the changes were last drained; counted only if `journaled`.
    changed: AtomicU64,
    /// Not zero if a hold has ended since the ends were last drained; counted only if `journaled`.
    ended: AtomicU64,
    /// Units sold, by stripe; each only rises.
    sold: Stripes<AtomicU64>,
    /// Units on offer, sold or not: stock + added - withdrawn.
    total: AtomicU64,
    /// Slots that are out of generations.
    retired: AtomicU64,
    /// Chunks that may be used: memory for them is taken with the first hold.
    chunks: AtomicU64,
    /// Slots beyond one a unit.
    spare: u32,
    journaled: bool,
}

impl Allocator {
    /// A sale whose `stock` is free.
    pub(crate) fn new(rules: Rules, stock: u32, plan: Plan) -> Self {
        let Plan { stripes, key, scheduled, journaled, first_slots } = plan;
        let most = usize::try_from(stock / 256).unwrap_or(usize::MAX).max(if MODEL { stripes } else { 1 });
        let shelves = stripes.clamp(1, most);
        let units = u64::from(stock);
        let permits = match shelves {
            1 => Permits::small(units, scheduled),
            _ => Permits::new(units, if rules.largest == 1 { shelves } else { 1 }, scheduled),
        };
        let shelf_count = u32::try_from(shelves).expect("at most as many as units");
        let run = if MODEL { 1 } else { (stock / (4 * shelf_count)).clamp(1, 4 * BLOCK) };
        let spare = run * shelf_count + 16;
        let slots = Slots::new(first_slots.unwrap_or(if MODEL { stock + shelf_count } else { stock + spare }));
        Self {
            limit: AtomicU64::new(rules.cap.into()),
            largest: AtomicU64::new(rules.largest.min(rules.cap).into()),
            rules,
            permits,
            supply: Supply::new(shelves, run),
            slots,
            cap: CapTable::new(stock, key),
            deadlines: Deadlines::new(),
            units: None,
            total: AtomicU64::new(u64::from(stock)),
            sold: Stripes::new(shelves, |_| AtomicU64::new(0)),
            changed: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            journaled,
            spare,
            retired: AtomicU64::new(0),
            chunks: AtomicU64::new(1),
        }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Units a buyer may have now.
    #[inline]
    pub(crate) fn limit(&self) -> u32 {
        // Relaxed: a number by itself; who comes after an answered change reads it.
        u32::try_from(self.limit.load(Ordering::Relaxed)).expect("a cap")
    }

    /// Units that a hold may have now.
    #[inline]
    pub(crate) fn largest(&self) -> u32 {
        self.rules.largest.min(self.limit())
    }

    /// Whether a hold may have `units` now.
    #[inline]
    pub(crate) fn allows(&self, units: u32) -> bool {
        // Relaxed: as in `limit`.
        u64::from(units) <= self.largest.load(Ordering::Relaxed)
    }

    /// Changes what a buyer may have from now on. What buyers have stays theirs.
    pub(crate) fn set_limit(&self, cap: u32) {
        // Relaxed: as in `limit`.
        self.limit.store(cap.into(), Ordering::Relaxed);
        self.largest.store(self.rules.largest.min(cap).into(), Ordering::Relaxed);
    }

    pub(crate) fn gate(&self) -> Gate {
        self.permits.gate()
    }

    pub(crate) fn set(&self, mark: Mark) -> bool {
        self.permits.set(mark)
    }

    pub(crate) fn clear(&self, mark: Mark) -> bool {
        self.permits.clear(mark)
    }

    /// For how many threads at once it is laid out.
    pub(crate) fn stripes(&self) -> usize {
        self.sold.len()
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Holds `quantity` units for `buyer` from `now`. `home` is the calling thread's stripe.
    ///
    /// # Memory ordering
    /// A hold that was ended before this call began, in the sense of happens-before, counts: its units are free
    /// and its buyer's share is given back.
    #[inline]
    pub(crate) fn reserve(
        &self,
        buyer: Buyer,
        quantity: u32,
        now: u64,
        home: usize,
        key_epoch: u16,
    ) -> Result<Made, Refusal> {
        self.reserve_entered(buyer, quantity, now, home, key_epoch, |_| {})
    }

    /// As `reserve`; `entered` is told the slot while it is still the caller's own. What it notes of the slot is there
    /// before anybody can see the hold.
    #[inline]
    pub(crate) fn reserve_entered(
        &self,
        buyer: Buyer,
        quantity: u32,
        now: u64,
        home: usize,
        key_epoch: u16,
        entered: impl FnOnce(u32),
    ) -> Result<Made, Refusal> {
        let gate = self.permits.gate();
        if !gate.is_open() {
            return Err(self.refuse(gate, false));
        }
        let attempt = self.begin(buyer, quantity)?;
        if let Err(denied) = self.permits.take(home, u64::from(quantity)) {
            self.cap.abort(attempt);
            return Err(self.denied(denied));
        }
        self.make(attempt, quantity, now, home, key_epoch, entered)
    }

    /// Begins an attempt of `buyer`, which takes nothing yet.
    #[inline]
    fn begin(&self, buyer: Buyer, quantity: u32) -> Result<Attempt, Refusal> {
        self.cap.begin(buyer, quantity, self.limit()).map_err(|refusal| match refusal {
            CapRefusal::Limit { held, bought } => Refusal::Limit { held, bought },
            CapRefusal::UnderWay => Refusal::UnderWay,
        })
    }

    /// Makes the hold of an attempt that has its permits.
    #[inline]
    fn make(
        &self,
        attempt: Attempt,
        quantity: u32,
        now: u64,
        home: usize,
        key_epoch: u16,
        entered: impl FnOnce(u32),
    ) -> Result<Made, Refusal> {
        self.make_due(attempt, quantity, self.due(now), home, key_epoch, entered)
    }

    /// As `make`, with a deadline of its own.
    #[inline]
    fn make_due(
        &self,
        attempt: Attempt,
        quantity: u32,
        due: u64,
        home: usize,
        key_epoch: u16,
        entered: impl FnOnce(u32),
    ) -> Result<Made, Refusal> {
        let (slot, meta) = self.enter(attempt, quantity, home, key_epoch)?;
        entered(slot);
        let generation = self.slots.hold(slot, due, meta);
        self.deadlines.note(&self.slots, slot, due);
        self.note_change(slot);
        Ok(Made { id: HoldId { slot, generation, key_epoch }, due })
    }

    /// Finds the slot of an attempt that has its permits, enters its units in the cap table, and chooses them.
    ///
    /// From the slot's next word on others may end the hold, so the buyer's share is in the table before, and the units
    /// are with the slot.
    #[inline]
    fn enter(&self, attempt: Attempt, quantity: u32, home: usize, key_epoch: u16) -> Result<(u32, Meta), Refusal> {
        let Some(slot) = self.supply.pop(&self.slots, home).or_else(|| self.first_slot(home)) else {
            self.permits.give(home, u64::from(quantity));
            self.cap.abort(attempt);
            return Err(self.nothing_free());
        };
        self.cap.commit(&attempt, quantity);
        self.enter_units(slot, quantity);
        Ok((slot, Meta { cell: attempt.cell(), quantity, key_epoch }))
    }

    /// The deadline of a hold made at `now`, as its slot's word carries it: no bound may lie behind it.
    #[inline]
    pub(crate) fn due(&self, now: u64) -> u64 {
        now.saturating_add(self.rules.hold).min(VALUE_MAX)
    }

    /// Holds one unit for each of `buyers`, or says why not, in their order.
    ///
    /// Every attempt is begun before any permit is taken, and the permits are taken in one step: a buyer who may
    /// not buy never has a permit, and no permit is taken without a buyer.
    pub(crate) fn reserve_each(
        &self,
        buyers: &[Buyer],
        now: u64,
        home: usize,
        key_epoch: u16,
        mut answer: impl FnMut(Buyer, Result<Made, Refusal>),
    ) {
        const BATCH: usize = 32;
        for chunk in buyers.chunks(BATCH) {
            let gate = self.permits.gate();
            if !gate.is_open() {
                let refusal = self.refuse(gate, false);
                for buyer in chunk {
                    answer(*buyer, Err(refusal));
                }
                continue;
            }
            let mut attempts: [_; BATCH] = std::array::from_fn(|_| None);
            let mut begun = 0;
            for (buyer, attempt) in chunk.iter().zip(&mut attempts) {
                *attempt = self.cap.begin(*buyer, 1, self.limit()).ok();
                begun += u64::from(attempt.is_some());
            }
            let mut permits = self.permits.take_up_to(home, begun);
            for (buyer, attempt) in chunk.iter().zip(&mut attempts) {
                let Some(attempt) = attempt.take() else {
                    // Refused by the cap, or twice in this batch: by now the first of the two is decided.
                    answer(*buyer, self.reserve(*buyer, 1, now, home, key_epoch));
                    continue;
                };
                if permits == 0 {
                    self.cap.abort(attempt);
                    answer(*buyer, self.reserve(*buyer, 1, now, home, key_epoch));
                    continue;
                }
                permits -= 1;
                answer(*buyer, self.make(attempt, 1, now, home, key_epoch, |_| {}));
            }
        }
    }

    /// Takes units for a payment that came after its hold had expired, and begins its confirmation at once.
    pub(crate) fn reacquire(&self, share: Share, home: usize, key_epoch: u16) -> Result<HoldId, Refusal> {
        let Share { buyer, quantity } = share;
        let attempt = self.begin(buyer, quantity)?;
        if let Err(refusal) = self.take_late(home, quantity) {
            self.cap.abort(attempt);
            return Err(refusal);
        }
        let (slot, meta) = self.enter(attempt, quantity, home, key_epoch)?;
        let generation = self.slots.hold_confirming(slot, meta);
        Ok(HoldId { slot, generation, key_epoch })
    }

    /// The hold that the next one in this slot will be, under `key_epoch`. The slot must be the caller's own.
    pub(crate) fn next_hold(&self, slot: u32, key_epoch: u16) -> HoldId {
        HoldId { slot, generation: self.slots.load(slot).generation(), key_epoch }
    }

    /// Where the hold stands.
    pub(crate) fn standing(&self, id: HoldId) -> Standing {
        let (_, capacity) = self.supply.fresh();
        if u64::from(id.slot) >= capacity {
            return Standing::Gone;
        }
        loop {
            let snapshot = self.slots.load(id.slot);
            let meta = self.slots.meta(id.slot);
            if snapshot.generation() != id.generation {
                return match snapshot.state() {
                    State::Free(Some(end)) if snapshot.generation() == id.generation + 1 => Standing::Ended(end),
                    _ => Standing::Gone,
                };
            }
            let standing = match snapshot.state() {
                // A part is named by its basket's token, and by no other.
                State::Free(_) | State::Retired | State::Part { .. } => return Standing::Gone,
                State::Held { due } => Standing::Held { share: self.share(meta), due, snapshot },
                State::Confirming => Standing::Confirming(self.share(meta)),
                State::Sold { sequence } => Standing::Sold { share: self.share(meta), sequence },
            };
            // What was read beside the word belongs to it only if the word is still the same.
            if self.slots.load(id.slot) == snapshot {
                return if meta.key_epoch == id.key_epoch { standing } else { Standing::Gone };
            }
        }
    }

    /// Whether the slot's hold of that generation has ended unsold.
    pub(crate) fn has_passed(&self, slot: u32, generation: u32) -> bool {
        let (_, capacity) = self.supply.fresh();
        if u64::from(slot) >= capacity {
            return false;
        }
        let snapshot = self.slots.load(slot);
        snapshot.generation() > generation
            || (snapshot.generation() == generation && snapshot.state() == State::Retired)
    }

    /// Whose a sold or confirming slot is; it can't change any more.
    pub(crate) fn share_of(&self, slot: u32) -> Share {
        self.share(self.slots.meta(slot))
    }

    /// Whether the buyer has bought a unit: see `CapTable::bought`.
    pub(crate) fn has_bought(&self, buyer: Buyer) -> bool {
        self.cap.bought(buyer) > 0
    }

    fn share(&self, meta: Meta) -> Share {
        Share { buyer: self.cap.buyer(meta.cell), quantity: meta.quantity }
    }

    /// Decides for a confirmation, from the very word of `standing`.
    pub(crate) fn begin_confirm(&self, slot: u32, from: Snapshot) -> bool {
        self.slots.begin_confirm(slot, from).is_ok()
    }

    /// The confirmation of a hold stands: it is sold.
    pub(crate) fn settle(&self, slot: u32, generation: u32, sequence: u64, home: usize) {
        let meta = self.slots.meta(slot);
        self.slots.settle(slot, generation, sequence);
        self.cap.settle(meta.cell, meta.quantity);
        // Release: whoever reads this count with Acquire sees the slot sold.
        self.sold.at(home).fetch_add(u64::from(meta.quantity), Ordering::Release);
    }

    /// Marks the sale sold out if it is; true for the one who marks it.
    pub(crate) fn mark_sold_out(&self) -> bool {
        let gate = self.permits.gate();
        !gate.sold_out() && self.unsold() == 0 && self.permits.mark_sold_out(gate)
    }

    /// Ends a hold unsold, from the very word of `standing`. Says whether it ended a time in which nothing was free.
    pub(crate) fn end(&self, slot: u32, from: Snapshot, end: End, home: usize) -> Result<bool, Snapshot> {
        let meta = self.slots.meta(slot);
        let reusable = self.slots.release(slot, from, end)?;
        // Whoever gets the share or the unit is to find this end: see `changes`.
        self.note_change(slot);
        self.note_end(slot);
        self.cap.release(meta.cell, meta.quantity);
        self.leave_units(slot, meta.quantity);
        if reusable {
            self.supply.push(&self.slots, home, slot);
        } else {
            // Relaxed: a count, see `wants_chunks`.
            self.retired.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.permits.give(home, u64::from(meta.quantity)))
    }

    /// Moves a hold's deadline, from the very word of `standing`.
    pub(crate) fn extend(&self, slot: u32, from: Snapshot, due: u64) -> bool {
        let extended = self.slots.extend(slot, from, due).is_ok();
        if extended {
            self.note_change(slot);
        }
        extended
    }

    /// Ends every hold whose grace is over at `now`, and shows each: who had it, and when it had fallen due.
    /// True if that ended a time in which nothing was free.
    ///
    /// What `look` sees of a slot belongs to the hold that then ends.
    pub(crate) fn expire<T>(
        &self,
        now: u64,
        home: usize,
        look: impl Fn(u32) -> T,
        mut expired: impl FnMut(HoldId, Share, T),
    ) -> bool {
        let Some(until) = now.checked_sub(self.rules.grace) else { return false };
        let mut restocked = false;
        self.deadlines.sweep(&self.slots, until, |slot, snapshot| {
            let meta = self.slots.meta(slot);
            let (share, seen_before) = (self.share(meta), look(slot));
            // If it fails, a confirmation, a cancellation or an extension came first, and has its own effect.
            match self.end(slot, snapshot, End::Expired, home) {
                Ok(first) => {
                    restocked |= first;
                    let id = HoldId { slot, generation: snapshot.generation(), key_epoch: meta.key_epoch };
                    expired(id, share, seen_before);
                }
                Err(seen) => {
                    if let State::Held { due } = seen.state() {
                        self.deadlines.note(&self.slots, slot, due);
                    }
                }
            }
        });
        restocked
    }

    /// An offset before which no hold falls due.
    pub(crate) fn next_due(&self) -> u64 {
        self.deadlines.earliest()
    }

    /// Shows what happens beside an attempt of the buyer that is not decided yet; then it fails.
    #[cfg(test)]
    pub(crate) fn beside_an_attempt(&self, buyer: Buyer, happens: impl FnOnce()) {
        let attempt = self.cap.begin(buyer, 1, self.rules.cap).expect("the buyer has no other attempt");
        happens();
        self.cap.abort(attempt);
    }
}

impl fmt::Debug for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocator")
            .field("rules", &self.rules)
            .field("gate", &self.permits.gate())
            .field("total", &self.total())
            .field("sold", &self.sold())
            .finish_non_exhaustive()
    }
}
