//! The cap table: how many units each buyer holds and has bought.
//!
//! A buyer has at most one entry, and only while an attempt is under way or units are held or bought: the table
//! is bounded by the stock, whatever the crowd. Entries lie in open addressing with linear probing, in segments
//! of doubling size; the next segment is made when a probe window is full, so a full table can't happen.
//!
//! ```text
//! cell  | word: state 3, attempt 1, generation 24, held 18, bought 18 | identity high | identity low |
//!
//!                  claim                publish               verified
//! empty, vacant ---------> writing ------------> pending -------------> live --+
//!        ^                                          | killed               ^   | attempt begun, committed,
//!        +------------------------------------------+                      +---+ aborted; units held, sold
//!        +--------------------------------------------------- no units, no attempt
//! ```
//!
//! How two first attempts of one buyer can't both get an entry (after C. Purcell and T. Harris, *Non-blocking
//! Hashtables with Open Addressing*, DISC 2005): each publishes its cell as pending, passes a sequentially
//! consistent fence, and looks at every cell where the other could be. Whoever passed the fence later sees the
//! other. Of two pending cells the one that is earlier in probe order wins: it kills the later one, which
//! withdraws. Who meets a live entry withdraws and joins it. Nobody waits.
//!
//! What holds:
//! - A cell that has once been used is never empty again, and a claim takes the first cell in probe order that
//!   is not in use: an empty cell ends a search.
//! - The identity is written only in state `writing`, by the claimant; who reads it under a word and then finds
//!   the word unchanged has read the identity of that word.
//! - The generation moves with every claim and never wraps (the cell is retired instead): a compare-and-swap
//!   from an exact word can't meet a later use of the cell.
//! - Counts change only by compare-and-swap; `attempt` is set by one attempt and cleared by it alone.

use std::{fmt, hash::Hasher};

use siphasher::sip::SipHasher13;

use super::{
    Buyer,
    sync::{AtomicU64, MODEL, OnceBox, Ordering, fence, zeroed},
};

mod bought;
#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod flooding;
#[cfg(all(test, sellout_loom))]
mod loom_tests;
#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests;

/// How far from its home a cell may lie.
const WINDOW: u32 = if MODEL { 2 } else { 128 };
/// More than a table can need: its cells would outnumber what an index can name.
const SEGMENTS: usize = 24;

const COUNT_BITS: u32 = 18;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const GENERATION_SHIFT: u32 = 2 * COUNT_BITS;
const GENERATION_MASK: u64 = (1 << 24) - 1;
const ATTEMPT: u64 = 1 << 60;
const STATE_SHIFT: u32 = 61;

/// One cell's word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Never used.
    Empty,
    /// Used before, free now.
    Vacant,
    /// Claimed; the identity is being written.
    Writing,
    /// The identity can be read; its claimant still looks for another entry of the same buyer.
    Pending,
    /// An earlier attempt of the same buyer has decided against this one; its claimant frees it.
    Killed,
    /// The buyer's one entry.
    Live,
    /// Out of generations: never used again.
    Retired,
}

impl Entry {
    const fn new(state: State, generation: u64) -> Self {
        Self(((state as u64) << STATE_SHIFT) | (generation << GENERATION_SHIFT))
    }

    const fn state(self) -> State {
        match self.0 >> STATE_SHIFT {
            0 => State::Empty,
            1 => State::Vacant,
            2 => State::Writing,
            3 => State::Pending,
            4 => State::Killed,
            5 => State::Live,
            _ => State::Retired,
        }
    }

    const fn generation(self) -> u64 {
        (self.0 >> GENERATION_SHIFT) & GENERATION_MASK
    }

    const fn held(self) -> u64 {
        (self.0 >> COUNT_BITS) & COUNT_MASK
    }

    const fn bought(self) -> u64 {
        self.0 & COUNT_MASK
    }

    const fn attempted(self) -> bool {
        self.0 & ATTEMPT != 0
    }

    /// The same entry with other counts; it becomes vacant, or retired, when nothing is left in it.
    const fn with(self, attempt: bool, held: u64, bought: u64) -> Self {
        if !attempt && held == 0 && bought == 0 {
            return self.vacated();
        }
        let counts = (held << COUNT_BITS) | bought;
        Self(Self::new(State::Live, self.generation()).0 | if attempt { ATTEMPT } else { 0 } | counts)
    }

    /// The cell after this use.
    const fn vacated(self) -> Self {
        let state = if self.generation() == GENERATION_MASK { State::Retired } else { State::Vacant };
        Self::new(state, self.generation())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.state(), self.generation())?;
        write!(f, " attempt {} held {} bought {}", self.attempted(), self.held(), self.bought())
    }
}

type Cell = [AtomicU64; 3];

struct Segment {
    cells: Box<[Cell]>,
    /// One more than the greatest distance from home at which a cell was ever claimed.
    reach: AtomicU64,
}

/// Where in the table a cell is; stable as long as its entry lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellIndex(pub(crate) u32);

/// One attempt to get units for a buyer. It must be committed or aborted.
#[derive(Debug)]
#[must_use = "an attempt that is neither committed nor aborted locks its buyer out"]
pub(crate) struct Attempt {
    cell: CellIndex,
}

impl Attempt {
    pub(crate) fn cell(&self) -> CellIndex {
        self.cell
    }
}

/// Why a buyer may not try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CapRefusal {
    /// With these units the buyer would be over the cap.
    Limit {
        /// Units on hold.
        held: u32,
        /// Units bought.
        bought: u32,
    },
    /// Another attempt of this buyer is not decided yet.
    UnderWay,
}

/// A place in probe order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: usize,
    distance: u32,
}

/// A cell in which a claim can be tried.
#[derive(Clone, Copy)]
struct Candidate {
    place: Place,
    position: u32,
    seen: Entry,
}

enum Found {
    Live(CellIndex, Entry),
    UnderWay,
    Nowhere(Candidate),
    /// Nowhere, and the probe windows of all these segments are full.
    Full(usize),
}

enum Verdict {
    Clear,
    Lost,
    Elsewhere,
}

/// The counts of every buyer who has units, or is about to.
pub(crate) struct CapTable {
    key: [u8; 16],
    first: u32,
    segment: OnceBox<Segment>,
    /// The others, which are made when probe windows are full.
    more: OnceBox<[OnceBox<Segment>; SEGMENTS - 1]>,
}

impl CapTable {
    /// A table for `stock` units, hashed under `key`. No memory is taken before the first attempt.
    pub(crate) fn new(stock: u32, key: [u8; 16]) -> Self {
        let first = if MODEL { 2 } else { stock + stock / 4 + 16 };
        Self { key, first, segment: OnceBox::new(), more: OnceBox::new() }
    }

    /// Begins an attempt of `buyer` to get `units` more, under a cap of `limit`.
    pub(crate) fn begin(&self, buyer: Buyer, units: u32, limit: u32) -> Result<Attempt, CapRefusal> {
        let hash = self.hash(buyer);
        loop {
            match self.find(hash, buyer) {
                Found::UnderWay => return Err(CapRefusal::UnderWay),
                Found::Live(cell, entry) => {
                    if let Some(decided) = self.join(cell, entry, units, limit) {
                        return decided;
                    }
                }
                // A payment that came late asks for what its hold had, and the cap may have been lowered since.
                Found::Nowhere(_) if units > limit => return Err(CapRefusal::Limit { held: 0, bought: 0 }),
                Found::Nowhere(candidate) => {
                    if let Some(decided) = self.claim(hash, buyer, candidate) {
                        return decided;
                    }
                }
                Found::Full(segments) => self.grow(segments),
            }
        }
    }

    /// The attempt got its units.
    pub(crate) fn commit(&self, attempt: &Attempt, units: u32) {
        self.update(attempt.cell, |entry| entry.with(false, entry.held() + u64::from(units), entry.bought()));
    }

    /// The attempt got nothing.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt ends once")]
    pub(crate) fn abort(&self, attempt: Attempt) {
        self.update(attempt.cell, |entry| entry.with(false, entry.held(), entry.bought()));
    }

    /// Units on hold came back.
    pub(crate) fn release(&self, cell: CellIndex, units: u32) {
        self.update(cell, |entry| entry.with(entry.attempted(), entry.held() - u64::from(units), entry.bought()));
    }

    /// Units on hold were sold.
    pub(crate) fn settle(&self, cell: CellIndex, units: u32) {
        let units = u64::from(units);
        self.update(cell, |entry| entry.with(entry.attempted(), entry.held() - units, entry.bought() + units));
    }

    /// Whose entry `cell` is. The caller must know that it is in use, and find its proof unchanged afterwards.
    pub(crate) fn buyer(&self, cell: CellIndex) -> Buyer {
        let [_, high, low] = self.cell(cell);
        // Acquire: pairs with the identity's Release in `publish`; the caller's second look at its proof comes after
        // these, and finds it changed if they belong to a later use of the cell.
        Buyer::from_words(high.load(Ordering::Acquire), low.load(Ordering::Acquire))
    }

    /// Units of all buyers, held and bought: exact at rest.
    #[cfg(test)]
    pub(crate) fn totals(&self) -> (u64, u64) {
        let cells = self.present().flat_map(|segment| segment.cells.iter());
        // Acquire: at rest this reads every finished operation.
        cells.map(|cell| Entry(cell[0].load(Ordering::Acquire))).fold((0, 0), |(held, bought), entry| {
            assert!(matches!(entry.state(), State::Empty | State::Vacant | State::Retired | State::Live), "{entry:?}");
            (held + entry.held(), bought + entry.bought())
        })
    }

    /// Segments that have memory.
    #[cfg(all(test, not(sellout_shuttle)))]
    pub(crate) fn segments(&self) -> usize {
        self.present().count()
    }

    fn hash(&self, buyer: Buyer) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        let (high, low) = buyer.words();
        hasher.write_u64(high);
        hasher.write_u64(low);
        hasher.finish()
    }

    fn length(&self, segment: usize) -> u32 {
        self.first << segment
    }

    fn segment(&self, number: usize) -> &Segment {
        let place = match number.checked_sub(1) {
            None => &self.segment,
            Some(number) => &self.more.get_or_init(|| Box::new(std::array::from_fn(|_| OnceBox::new())))[number],
        };
        place.get_or_init(|| {
            let length = self.length(number) as usize;
            Box::new(Segment { cells: zeroed(length), reach: AtomicU64::new(0) })
        })
    }

    /// A segment, if it has memory.
    #[inline]
    fn made(&self, number: usize) -> Option<&Segment> {
        match number.checked_sub(1) {
            None => self.segment.get(),
            Some(number) => self.more.get()?[number].get(),
        }
    }

    /// The segments that have memory.
    fn present(&self) -> impl Iterator<Item = &Segment> {
        (0..SEGMENTS).map_while(|number| self.made(number))
    }

    fn index(&self, segment: usize, position: u32) -> CellIndex {
        // All segments before this one together have `first * (2^segment - 1)` cells.
        CellIndex(self.first * ((1 << segment) - 1) + position)
    }

    fn cell(&self, index: CellIndex) -> &Cell {
        let segment = ((index.0 / self.first) + 1).ilog2() as usize;
        let position = index.0 - self.first * ((1 << segment) - 1);
        &self.segment(segment).cells[position as usize]
    }

    fn home(&self, hash: u64, segment: usize) -> u32 {
        let scaled = (u128::from(hash) * u128::from(self.length(segment))) >> 64;
        u32::try_from(scaled).expect("below a u32 length")
    }

    fn window(&self, segment: usize) -> u32 {
        WINDOW.min(self.length(segment))
    }

    fn position(&self, hash: u64, place: Place) -> u32 {
        let length = self.length(place.segment);
        let position = self.home(hash, place.segment) + place.distance;
        if position < length { position } else { position - length }
    }

    /// Looks for the buyer's entry, and for the first cell that a claim could take.
    fn find(&self, hash: u64, buyer: Buyer) -> Found {
        let mut candidate = None;
        let mut present = 0;
        for number in 0..SEGMENTS {
            let Some(segment) = self.made(number) else { break };
            present = number + 1;
            // Relaxed: a claim raises the reach before its fence, see `claim`; a smaller value read here only
            // hides entries that the fenced look of `verify` will meet.
            let reach = segment.reach.load(Ordering::Relaxed);
            for distance in 0..self.window(number) {
                let place = Place { segment: number, distance };
                let position = self.position(hash, place);
                let cell = &segment.cells[position as usize];
                // Acquire: pairs with the Release of `publish`; a pending or live word comes with its identity.
                let entry = Entry(cell[0].load(Ordering::Acquire));
                match entry.state() {
                    State::Empty => {
                        return Found::Nowhere(candidate.unwrap_or(Candidate { place, position, seen: entry }));
                    }
                    State::Vacant if candidate.is_none() => {
                        candidate = Some(Candidate { place, position, seen: entry });
                    }
                    State::Pending if is(cell, buyer, entry) => return Found::UnderWay,
                    State::Live if is(cell, buyer, entry) => return Found::Live(self.index(number, position), entry),
                    _ => {}
                }
                if u64::from(distance) >= reach && candidate.is_some() {
                    break;
                }
            }
        }
        candidate.map_or(Found::Full(present), Found::Nowhere)
    }

    /// Adds an attempt to a live entry, or says why not; `None` if the entry has changed.
    fn join(&self, cell: CellIndex, entry: Entry, units: u32, limit: u32) -> Option<Result<Attempt, CapRefusal>> {
        if entry.held() + entry.bought() + u64::from(units) > u64::from(limit) {
            let held = u32::try_from(entry.held()).expect("18 bits");
            let bought = u32::try_from(entry.bought()).expect("18 bits");
            return Some(Err(CapRefusal::Limit { held, bought }));
        }
        if entry.attempted() {
            return Some(Err(CapRefusal::UnderWay));
        }
        let begun = entry.with(true, entry.held(), entry.bought());
        // AcqRel: Acquire sees the counts' history; Release hands the word on. Relaxed on failure: looked up anew.
        let swap = self.cell(cell)[0].compare_exchange(entry.0, begun.0, Ordering::AcqRel, Ordering::Relaxed);
        swap.ok().map(|_| Ok(Attempt { cell }))
    }

    /// Claims a cell for a buyer who has none; `None` if the claim must be tried anew.
    fn claim(&self, hash: u64, buyer: Buyer, candidate: Candidate) -> Option<Result<Attempt, CapRefusal>> {
        let Candidate { place, position, seen } = candidate;
        let segment = self.segment(place.segment);
        let cell = &segment.cells[position as usize];
        let generation = if seen.state() == State::Empty { 0 } else { seen.generation() + 1 };
        let writing = Entry::new(State::Writing, generation);
        // Acquire: the identity is written after the cell is ours. Relaxed on failure: looked up anew.
        cell[0].compare_exchange(seen.0, writing.0, Ordering::Acquire, Ordering::Relaxed).ok()?;
        publish(segment, cell, buyer, place, generation);
        let pending = Entry::new(State::Pending, generation);
        match self.verify(hash, buyer, place) {
            Verdict::Clear => {
                let live = pending.with(true, 0, 0);
                // AcqRel: the word now stands for the buyer; Acquire on failure: killed by whom we then yield to.
                if cell[0].compare_exchange(pending.0, live.0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                    return Some(Ok(Attempt { cell: self.index(place.segment, position) }));
                }
                Self::withdraw(cell, pending);
                Some(Err(CapRefusal::UnderWay))
            }
            Verdict::Lost => {
                Self::withdraw(cell, pending);
                Some(Err(CapRefusal::UnderWay))
            }
            Verdict::Elsewhere => {
                Self::withdraw(cell, pending);
                None
            }
        }
    }

    /// After a cell was published at `mine`: is there another one of this buyer?
    fn verify(&self, hash: u64, buyer: Buyer, mine: Place) -> Verdict {
        // SeqCst: of two claimants who each published before their fence, the one whose fence comes later sees
        // the other's cell, and every used cell before it, below. Neither can miss the other.
        fence(Ordering::SeqCst);
        for number in 0..SEGMENTS {
            let Some(segment) = self.made(number) else { break };
            // Relaxed: after the fence, see `publish`.
            let reach = segment.reach.load(Ordering::Relaxed);
            for distance in 0..self.window(number).min(u32::try_from(reach).unwrap_or(u32::MAX)) {
                let place = Place { segment: number, distance };
                if place == mine {
                    continue;
                }
                let cell = &segment.cells[self.position(hash, place) as usize];
                match Self::contest(cell, buyer, place < mine) {
                    None => return Verdict::Clear,
                    Some(Verdict::Clear) => {}
                    Some(other) => return other,
                }
            }
        }
        Verdict::Clear
    }

    /// Settles with another cell of the probe sequence; `None` if it ends the sequence.
    fn contest(cell: &Cell, buyer: Buyer, it_is_earlier: bool) -> Option<Verdict> {
        loop {
            // Acquire: pairs with the Release of `publish`.
            let entry = Entry(cell[0].load(Ordering::Acquire));
            return match entry.state() {
                State::Empty => None,
                State::Live if is(cell, buyer, entry) => Some(Verdict::Elsewhere),
                State::Pending if is(cell, buyer, entry) => {
                    if it_is_earlier {
                        return Some(Verdict::Lost);
                    }
                    let killed = Entry::new(State::Killed, entry.generation());
                    // AcqRel: the loser learns of it by its own compare-and-swap. Relaxed on failure: looked at anew.
                    let swap = cell[0].compare_exchange(entry.0, killed.0, Ordering::AcqRel, Ordering::Relaxed);
                    if swap.is_err() {
                        continue;
                    }
                    Some(Verdict::Clear)
                }
                _ => Some(Verdict::Clear),
            };
        }
    }

    /// Frees a cell that did not become the buyer's entry; only its claimant may.
    fn withdraw(cell: &Cell, pending: Entry) {
        // Release: whoever claims the cell next comes after this use of it. A swap and not a compare: pending or
        // killed, it is ours to free.
        cell[0].swap(pending.vacated().0, Ordering::Release);
    }

    /// Makes segment `next`; every probe window of those before it was full. Whoever else saw so makes the same one.
    fn grow(&self, next: usize) {
        let named = next < SEGMENTS && u32::try_from(u64::from(self.first) << (next + 1)).is_ok();
        assert!(named, "at most MAX_STOCK entries and one a thread can't fill every window of 2^31 cells");
        self.segment(next);
    }

    fn update(&self, cell: CellIndex, next: impl Fn(Entry) -> Entry) {
        let word = &self.cell(cell)[0];
        // Relaxed: only a first guess for the compare-and-swap.
        let mut entry = Entry(word.load(Ordering::Relaxed));
        loop {
            debug_assert_eq!(entry.state(), State::Live, "{entry:?}");
            // AcqRel: every change of the counts comes after the one it builds on. Relaxed on failure: tried again.
            match word.compare_exchange_weak(entry.0, next(entry).0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => entry = Entry(seen),
            }
        }
    }
}

/// Writes the identity into a claimed cell and shows it.
fn publish(segment: &Segment, cell: &Cell, buyer: Buyer, place: Place, generation: u64) {
    let (high, low) = buyer.words();
    // Release: who reads this with Acquire under an earlier word will not find that word again; on its own the claim
    // that moved the word may be seen after this.
    cell[1].store(high, Ordering::Release);
    cell[2].store(low, Ordering::Release);
    let reach = u64::from(place.distance) + 1;
    // Relaxed: only ever rises, and the fence in `verify` orders it before any look that depends on it.
    if segment.reach.load(Ordering::Relaxed) < reach {
        segment.reach.fetch_max(reach, Ordering::Relaxed);
    }
    // Release: publishes the identity; pairs with the Acquire of `find` and `verify`.
    cell[0].store(Entry::new(State::Pending, generation).0, Ordering::Release);
}

/// Whether `entry`, read from `cell`, is `buyer`'s.
fn is(cell: &Cell, buyer: Buyer, entry: Entry) -> bool {
    let (high, low) = buyer.words();
    // Acquire: pairs with the identity's Release in `publish`; the second look at the word below comes after these.
    let same = cell[1].load(Ordering::Acquire) == high && cell[2].load(Ordering::Acquire) == low;
    // Relaxed: if the generation is still the same, nobody has written another identity in between. If it has moved,
    // that entry is gone: a later one of this buyer meets ours by the fence in `verify`.
    same && Entry(cell[0].load(Ordering::Relaxed)).generation() == entry.generation()
}

impl fmt::Debug for CapTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.present().count();
        f.debug_struct("CapTable").field("first", &self.first).field("segments", &segments).finish_non_exhaustive()
    }
}
