//! Slots: one for each hold, from its making to its one end.
//!
//! ```text
//! word | state 3 | generation 22 | 39: due (held, part), sequence (sold), how it ended (free) |
//! meta | cap cell 32 | quantity 18 | key epoch 12 |      while free: the next free slot
//!
//!            hold               begin_confirm                settle
//!  free ------------> held ----------------------> confirming ------> sold
//!   ^  (owner alone)   |  \____ extend: a later due ___/
//!   +------------------+
//!     release: cancelled or expired; the generation moves on in the same step
//!
//! A part of a basket: free -> part -> sold or free, by whoever decides for the basket.
//! ```
//!
//! | field | free | held | confirming, part | sold |
//! |---|---|---|---|---|
//! | word | its owner, by store | anyone, by compare-and-swap | whoever decided, here or for its basket | nobody |
//! | meta | its owner, or the free list | read only | read only | read only |
//!
//! What holds:
//! - Confirm, cancel and expire are each one compare-and-swap from the exact word: one wins, the others see how.
//! - A slot that is confirming can only become sold: neither expiry nor cancel can touch it.
//! - `meta` is written before the Release that makes the slot held, and not again before that hold has ended.
//! - A generation never comes back: a slot that has used them all is retired.

use std::fmt;

use super::{
    cap::CellIndex,
    sync::{AtomicU64, MODEL, OnceBox, Ordering, zeroed},
};

#[cfg(all(test, sellout_loom))]
mod loom_tests;

pub(crate) const GENERATION_BITS: u32 = 22;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const VALUE_BITS: u32 = 39;
/// The greatest due offset and sequence that a word can carry.
pub(crate) const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;
const STATE_SHIFT: u32 = VALUE_BITS + GENERATION_BITS;
pub(crate) const KEY_EPOCH_BITS: u32 = 12;
const QUANTITY_BITS: u32 = 18;

/// Slots that share one summary of deadlines and one word of changes.
pub(crate) const BLOCK: u32 = 64;
/// Chunks that a sale can have: the first has at least 2 slots, and all together are named by a `u32`.
pub(crate) const CHUNKS: usize = 27;

/// How a hold ended without a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// Somebody cancelled it.
    Cancelled,
    /// Its deadline and its grace passed without a payment.
    Expired,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// On offer, or handed to a thread that makes a hold; how the last hold ended, if there was one.
    Free(Option<End>),
    /// Held until a payment, a cancellation or its due time: an offset in milliseconds.
    Held { due: u64 },
    /// Being confirmed: waits for the journal.
    Confirming,
    /// Sold, under this sequence.
    Sold { sequence: u64 },
    /// Out of generations.
    Retired,
    /// Held as a part of a basket, which alone decides how it ends; it falls due with the basket.
    Part { due: u64 },
}

/// One look at a slot's word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    fn new(state: State, generation: u32) -> Self {
        let (tag, value) = match state {
            State::Free(None) => (0, 0),
            State::Free(Some(End::Cancelled)) => (0, 1),
            State::Free(Some(End::Expired)) => (0, 2),
            State::Held { due } => (1, due),
            State::Confirming => (2, 0),
            State::Sold { sequence } => (3, sequence),
            State::Retired => (4, 0),
            State::Part { due } => (5, due),
        };
        debug_assert!(value <= VALUE_MAX && u64::from(generation) <= GENERATION_MASK);
        Self((tag << STATE_SHIFT) | (u64::from(generation) << VALUE_BITS) | value)
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        let value = self.0 & VALUE_MAX;
        match (self.0 >> STATE_SHIFT, value) {
            (0, 0) => State::Free(None),
            (0, 1) => State::Free(Some(End::Cancelled)),
            (0, _) => State::Free(Some(End::Expired)),
            (1, due) => State::Held { due },
            (2, _) => State::Confirming,
            (3, sequence) => State::Sold { sequence },
            (4, _) => State::Retired,
            (_, due) => State::Part { due },
        }
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        u32::try_from((self.0 >> VALUE_BITS) & GENERATION_MASK).expect("22 bits")
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.state(), self.generation())
    }
}

/// What a hold is, beside its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The buyer's entry in the cap table.
    pub(crate) cell: CellIndex,
    /// Units.
    pub(crate) quantity: u32,
    /// The key epoch under which its token is made.
    pub(crate) key_epoch: u16,
}

impl Meta {
    fn pack(self) -> u64 {
        (u64::from(self.cell.0) << 32) | (u64::from(self.quantity) << KEY_EPOCH_BITS) | u64::from(self.key_epoch)
    }

    fn unpack(word: u64) -> Self {
        let low = |bits: u32, shift: u32| u32::try_from((word >> shift) & ((1 << bits) - 1)).expect("masked");
        Self {
            cell: CellIndex(low(32, 32)),
            quantity: low(QUANTITY_BITS, KEY_EPOCH_BITS),
            key_epoch: u16::try_from(low(KEY_EPOCH_BITS, 0)).expect("12 bits"),
        }
    }
}

type Slot = [AtomicU64; 2];
/// The bound of the deadlines in the block; and one bit for each slot that changed.
type Block = [AtomicU64; 2];

pub(crate) struct Chunk {
    slots: Box<[Slot]>,
    pub(crate) blocks: Box<[Block]>,
    /// One bit for each block in which a hold has ended.
    pub(crate) ends: Box<[[AtomicU64; 1]]>,
}

impl Chunk {
    /// How many slots it has.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// All slots of one sale, in chunks that double the whole.
pub(crate) struct Slots {
    first_log2: u32,
    first: OnceBox<Chunk>,
    /// The others, which most sales never have.
    more: OnceBox<[OnceBox<Chunk>; CHUNKS - 1]>,
}

impl Slots {
    /// Room for at least `count` slots. No memory is taken before the first hold.
    pub(crate) fn new(count: u32) -> Self {
        let first_log2 = count.max(if MODEL { 1 } else { BLOCK }).next_power_of_two().ilog2();
        Self { first_log2, first: OnceBox::new(), more: OnceBox::new() }
    }

    /// How many slots the first `chunks` chunks have together.
    pub(crate) fn capacity(&self, chunks: usize) -> u32 {
        if chunks == 0 { 0 } else { 1 << (self.first_log2 + u32::try_from(chunks).expect("at most 27") - 1) }
    }

    /// The chunk of slot `index`, and the slot's place in it.
    pub(crate) fn place(&self, index: u32) -> (usize, u32) {
        let number = (index >> self.first_log2).checked_ilog2().map_or(0, |log2| log2 + 1);
        let number = usize::try_from(number).expect("at most 27");
        (number, index - self.capacity(number))
    }

    pub(crate) fn chunk(&self, number: usize) -> &Chunk {
        let place = match number.checked_sub(1) {
            None => &self.first,
            Some(number) => &self.more.get_or_init(|| Box::new(std::array::from_fn(|_| OnceBox::new())))[number],
        };
        place.get_or_init(|| {
            let length = (self.capacity(number + 1) - self.capacity(number)) as usize;
            let blocks = length.div_ceil(BLOCK as usize);
            Box::new(Chunk { slots: zeroed(length), blocks: zeroed(blocks), ends: zeroed(blocks.div_ceil(64)) })
        })
    }

    /// The chunks that have memory, each with the index of its first slot.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u32, &Chunk)> {
        let chunks = std::iter::once(&self.first).chain(self.more.get().into_iter().flatten()).enumerate();
        chunks.filter_map(|(number, chunk)| chunk.get().map(|chunk| (self.capacity(number), chunk)))
    }

    #[inline]
    fn slot(&self, index: u32) -> &Slot {
        let (number, place) = self.place(index);
        &self.chunk(number).slots[place as usize]
    }

    #[inline]
    pub(crate) fn block(&self, index: u32) -> &Block {
        let (number, place) = self.place(index);
        &self.chunk(number).blocks[(place / BLOCK) as usize]
    }

    /// The slot's word.
    #[inline]
    pub(crate) fn load(&self, index: u32) -> Snapshot {
        // Acquire: pairs with the Release of `hold`; `meta` of a held slot can be read after it.
        Snapshot(self.slot(index)[0].load(Ordering::Acquire))
    }

    /// What the hold is. Valid for the word that was loaded before, if it is found unchanged afterwards.
    #[inline]
    pub(crate) fn meta(&self, index: u32) -> Meta {
        // Acquire: pairs with the Release of `hold` and `set_link`; a second look at the word, or a compare-and-swap
        // on it, comes after this.
        Meta::unpack(self.slot(index)[1].load(Ordering::Acquire))
    }

    /// Makes the hold. The slot must be the caller's own: popped from the free slots.
    #[inline]
    pub(crate) fn hold(&self, index: u32, due: u64, meta: Meta) -> u32 {
        self.make(index, State::Held { due: due.min(VALUE_MAX) }, meta)
    }

    /// Makes the hold with its confirmation begun: there is no instant at which anything could end it. The slot must
    /// be the caller's own, as for `hold`.
    pub(crate) fn hold_confirming(&self, index: u32, meta: Meta) -> u32 {
        self.make(index, State::Confirming, meta)
    }

    /// Makes a part of a basket. The slot must be the caller's own, as for `hold`.
    pub(crate) fn hold_part(&self, index: u32, due: u64, meta: Meta) -> u32 {
        self.make(index, State::Part { due: due.min(VALUE_MAX) }, meta)
    }

    #[inline]
    fn make(&self, index: u32, state: State, meta: Meta) -> u32 {
        let slot = self.slot(index);
        // Relaxed: whoever freed the slot handed it over through the free list's Release and Acquire.
        let generation = Snapshot(slot[0].load(Ordering::Relaxed)).generation();
        // Release: who reads this beside an earlier hold's word, with Acquire, will not find that word again.
        slot[1].store(meta.pack(), Ordering::Release);
        // Release: publishes `meta`, and through it the buyer's cell; pairs with the Acquire of `load`.
        slot[0].store(Snapshot::new(state, generation).0, Ordering::Release);
        generation
    }

    /// Sets a slot to what a journal says of it. For recovery, before anyone else knows the slots.
    pub(crate) fn restore(&self, index: u32, state: State, generation: u32, meta: Meta) {
        let slot = self.slot(index);
        // Relaxed: nobody else is there yet; the engine is shared afterwards.
        slot[1].store(meta.pack(), Ordering::Relaxed);
        slot[0].store(Snapshot::new(state, generation).0, Ordering::Relaxed);
    }

    /// Decides for a confirmation, against expiry and cancel.
    pub(crate) fn begin_confirm(&self, index: u32, from: Snapshot) -> Result<Snapshot, Snapshot> {
        self.swap(index, from, Snapshot::new(State::Confirming, from.generation()))
    }

    /// The confirmation stands. Only for whoever began it, of the slot or of the basket that it is a part of, once.
    pub(crate) fn settle(&self, index: u32, generation: u32, sequence: u64) {
        let sold = Snapshot::new(State::Sold { sequence: sequence.min(VALUE_MAX) }, generation);
        // Release: who sees it sold sees all that led to it. A store: nobody else may change a confirming slot.
        self.slot(index)[0].store(sold.0, Ordering::Release);
    }

    /// Ends a hold unsold. True if the slot can be used again.
    pub(crate) fn release(&self, index: u32, from: Snapshot, end: End) -> Result<bool, Snapshot> {
        let next = from.generation() + 1;
        let (state, generation) = if u64::from(next) > GENERATION_MASK {
            (State::Retired, from.generation())
        } else {
            (State::Free(Some(end)), next)
        };
        self.swap(index, from, Snapshot::new(state, generation))?;
        Ok(state != State::Retired)
    }

    /// Moves a hold's due time, later: the bounds that stand for it stay where they are.
    pub(crate) fn extend(&self, index: u32, from: Snapshot, due: u64) -> Result<Snapshot, Snapshot> {
        debug_assert!(matches!(from.state(), State::Held { due: before } if before <= due), "{from:?} to {due}");
        self.swap(index, from, Snapshot::new(State::Held { due: due.min(VALUE_MAX) }, from.generation()))
    }

    #[inline]
    fn swap(&self, index: u32, from: Snapshot, to: Snapshot) -> Result<Snapshot, Snapshot> {
        // AcqRel: the end comes after all that made the hold, and is seen with all that led to it. Acquire on
        // failure: the loser reads how it ended.
        let swap = self.slot(index)[0].compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire);
        swap.map(|_| to).map_err(Snapshot)
    }

    /// The link to the next free slot.
    pub(crate) fn link(&self, index: u32) -> u64 {
        // Relaxed: the tagged head's Acquire orders it; a stale link fails the head's compare-and-swap.
        self.slot(index)[1].load(Ordering::Relaxed)
    }

    /// Sets the link of a slot that is about to be pushed.
    pub(crate) fn set_link(&self, index: u32, next: u64) {
        // Release: who reads this as the meta of the hold that has ended will not find that hold's word again. The
        // push publishes it.
        self.slot(index)[1].store(next, Ordering::Release);
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("present", &self.present().count()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;

    const META: Meta = Meta { cell: CellIndex(77), quantity: 4, key_epoch: 4_095 };

    #[test]
    fn words_and_meta_come_back_as_they_were_packed() {
        for state in [
            State::Free(None),
            State::Free(Some(End::Cancelled)),
            State::Free(Some(End::Expired)),
            State::Held { due: VALUE_MAX },
            State::Confirming,
            State::Sold { sequence: VALUE_MAX },
            State::Retired,
            State::Part { due: VALUE_MAX },
        ] {
            let snapshot = Snapshot::new(state, (1 << GENERATION_BITS) - 1);
            assert_eq!((snapshot.state(), snapshot.generation()), (state, (1 << GENERATION_BITS) - 1));
        }
        let widest = Meta { cell: CellIndex(u32::MAX), quantity: (1 << 18) - 1, key_epoch: 0 };
        assert_eq!(Meta::unpack(widest.pack()), widest);
        assert_eq!(Meta::unpack(META.pack()), META);
    }

    #[test]
    fn every_index_has_its_own_place() {
        let slots = Slots::new(100);
        let mut expected = (0, 0);
        for index in 0..1_024 {
            assert_eq!(slots.place(index), expected, "slot {index}");
            expected.1 += 1;
            if slots.capacity(expected.0 + 1) == index + 1 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn a_hold_ends_once_and_its_generation_does_not_come_back() {
        let slots = Slots::new(1);
        let generation = slots.hold(0, 5, META);
        let held = slots.load(0);
        assert_eq!(slots.release(0, held, End::Expired), Ok(true));
        assert!(slots.begin_confirm(0, held).is_err(), "it has expired");
        assert_eq!(slots.load(0).state(), State::Free(Some(End::Expired)));
        assert_eq!(slots.hold(0, 5, META), generation + 1);
        assert!(slots.release(0, held, End::Cancelled).is_err(), "the old word must not end the next hold");
    }

    #[test]
    fn a_slot_out_of_generations_is_retired() {
        let slots = Slots::new(1);
        let last = (1 << GENERATION_BITS) - 1;
        slots.restore(0, State::Free(None), last, META);
        assert_eq!(slots.hold(0, 5, META), last);
        assert_eq!(slots.release(0, slots.load(0), End::Cancelled), Ok(false));
        assert_eq!(slots.load(0).state(), State::Retired);
    }
}
