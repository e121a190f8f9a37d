//! What the engine knows of one sale, behind every handle to it.
//!
//! | field | who changes it |
//! |---|---|
//! | allocator | everybody, lock-free |
//! | waitlist | `join`, `leave` and `tick`, under its lock |
//! | registered | `register` and `enroll`, under `admin` |
//! | shipped | `ship`, under its lock |
//! | late | `tick` and late confirmations, under its lock |
//! | keys | requests with a key, and late confirmations of their holds |
//! | extents | `add_stock` and `tick`, under `admin` |
//! | faces | `add_listed`, under `admin` |
//! | sequence | confirmations: under the journal's append lock, or a stripe's counter without a journal |
//!
//! Lock order: `admin` or `shipped`, the waitlist, then the journal's append lock, then `late`, then one map of
//! `keys`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::{
    audience::Registered,
    audit::Audit,
    baskets::{self, Desk},
    faces::Faces,
    keys::Keys,
    late::LateBook,
    shipping::Shipped,
    waitlist::{self, WaitState},
};
use crate::{
    core::{
        Timestamp,
        allocator::{Allocator, Plan, Rules},
        permits::Mark,
        stripes::Stripes,
        window::Window,
    },
    spec::SaleSpec,
};

/// Whether a sale sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaleState {
    /// It opens later.
    Scheduled {
        /// When.
        opens_at: Timestamp,
    },
    /// It sells.
    Open,
    /// It is paused; holds may be paid.
    Paused,
    /// It makes no holds any more; those already made may be paid.
    Closed,
}

/// Consecutive slots of the sale, as tokens number them among all sales of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The number of its first slot among all sales.
    pub(crate) base: u32,
    /// The index of its first slot in the sale.
    pub(crate) first: u32,
    /// How many slots it has.
    pub(crate) length: u32,
}

/// What operators have changed since the sale was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    pub(crate) added: u64,
    pub(crate) withdrawn: u64,
    /// Chunks of slots that have an extent.
    pub(crate) chunks: usize,
}

/// Where a sale comes from.
pub(crate) struct Origin {
    pub(crate) number: u32,
    pub(crate) name: Arc<str>,
    /// The rules, with the name taken out.
    pub(crate) spec: Arc<SaleSpec>,
    /// When it was created.
    pub(crate) at: Timestamp,
    /// Its first slot among all sales.
    pub(crate) base: u32,
}

/// The rules of the sale that was met last: sales that differ in nothing but their names keep them once.
#[derive(Default)]
pub(crate) struct Alike {
    last: Option<Arc<SaleSpec>>,
}

impl Alike {
    /// The name, and the rules without it.
    pub(crate) fn split(&mut self, mut spec: SaleSpec) -> (Arc<str>, Arc<SaleSpec>) {
        let name = std::mem::take(&mut spec.name).into();
        match &self.last {
            Some(last) if **last == spec => (name, Arc::clone(last)),
            _ => (name, Arc::clone(self.last.insert(Arc::new(spec)))),
        }
    }
}

/// One sale.
///
/// An engine may have hundreds of thousands of them: what most never need is behind a pointer. Words that everybody
/// reads lie in the middle, a cache line or two away from those that are written all the time: the reference counts
/// before them, the numbers of orders behind them.
#[repr(C)]
pub(crate) struct SaleInner {
    /// What its units look like, if they can be told apart.
    pub(crate) faces: Option<Box<Faces>>,
    pub(crate) late: Mutex<LateBook>,
    pub(crate) keys: Keys,
    pub(crate) admin: Mutex<Changes>,
    pub(crate) name: Arc<str>,
    pub(crate) registered: Registered,
    extents: Extents,
    pub(crate) number: u32,
    /// Who waits, where somebody can: an idle sale without a waitlist pays one pointer.
    pub(crate) waitlist: Option<Box<WaitState>>,
    /// Only the sale of all baskets has one.
    pub(crate) desk: Option<Box<Desk>>,
    /// The sale that the audience names.
    pub(super) named: Option<Arc<Self>>,
    /// Nothing before the first order is on its way.
    pub(crate) shipped: Mutex<Option<Box<Shipped>>>,
    /// Whether `tick` will learn that the sale has holds.
    active: AtomicBool,
    /// Whether `tick` has learnt it.
    listed: AtomicBool,
    /// Offsets in `allocator` count from here.
    pub(crate) base: Timestamp,
    /// The rules with which it was created, but for its name. The cap is the allocator's, the window stands beside.
    pub(crate) spec: Arc<SaleSpec>,
    pub(crate) window: Window,
    pub(crate) allocator: Allocator,
    /// The number that the next order gets in the journal.
    sequence: AtomicU64,
    /// The last order that is on disk.
    durable: AtomicU64,
    /// How many orders each stripe has numbered, where there is no journal.
    unjournaled: Stripes<AtomicU64>,
}

/// The sale's slots among all sales: those that it was created with, and those that were added.
struct Extents {
    first: Extent,
    more: ArcSwapOption<Vec<Extent>>,
}

impl Extents {
    #[inline]
    fn find(&self, wanted: impl Fn(&Extent) -> bool) -> Option<Extent> {
        if wanted(&self.first) {
            return Some(self.first);
        }
        self.more.load().iter().flat_map(|more| more.iter()).copied().find(wanted)
    }
}

impl SaleInner {
    /// A sale with its whole stock free.
    pub(crate) fn new(origin: Origin, setting: &Setting) -> Self {
        Self::changed(origin, Changes { chunks: 1, ..Changes::default() }, None, setting)
    }

    /// A sale as recovery finds it: with its stock as it was changed, and nothing sold or held yet.
    pub(crate) fn changed(origin: Origin, changes: Changes, first_slots: Option<u32>, setting: &Setting) -> Self {
        let Origin { number, name, spec, at, base } = origin;
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let rules = Rules { cap: spec.cap, largest: spec.largest, hold: millis(spec.hold), grace: millis(spec.grace) };
        let stock = u64::from(spec.stock) + changes.added - changes.withdrawn;
        let stock = u32::try_from(stock).expect("no change takes a stock beyond MAX_STOCK or below zero");
        let scheduled = spec.opens_at.is_some_and(|opens_at| opens_at > at);
        let Setting { stripes, cap_key: key, journaled } = *setting;
        let mut allocator = Allocator::new(rules, stock, Plan { stripes, key, scheduled, journaled, first_slots });
        let faces = Faces::new(&spec);
        if faces.is_some() {
            let numbers = u64::from(spec.stock) + changes.added;
            allocator =
                allocator.with_units(u32::try_from(numbers).expect("units are added only while they have numbers"));
        }
        allocator.grow(changes.chunks);
        if spec.closes_at.is_some() {
            allocator.set(Mark::Closes);
        }
        let first = Extent { base, first: 0, length: allocator.slots().capacity(1) };
        let unjournaled = if journaled { 1 } else { allocator.stripes() };
        Self {
            number,
            late: Mutex::new(LateBook::new(spec.stock)),
            keys: Keys::new(spec.stock),
            desk: (*name == *baskets::NAME).then(|| Box::new(Desk::new())),
            waitlist: waitlist::of(spec.waitlist),
            name,
            window: Window::new(spec.opens_at, spec.closes_at),
            spec,
            base: at,
            allocator,
            faces,
            registered: Registered::new(),
            named: None,
            shipped: Mutex::default(),
            admin: Mutex::new(changes),
            extents: Extents { first, more: ArcSwapOption::empty() },
            sequence: AtomicU64::new(1),
            durable: AtomicU64::new(0),
            unjournaled: Stripes::new(unjournaled, |_| AtomicU64::new(0)),
            active: AtomicBool::new(false),
            listed: AtomicBool::new(false),
        }
    }

    /// The sale, with the one that its audience names.
    pub(super) fn naming(mut self, named: Option<Arc<Self>>) -> Self {
        self.named = named;
        self
    }

    /// The rules with which it was created, whole.
    pub(crate) fn named_spec(&self) -> SaleSpec {
        SaleSpec { name: (*self.name).to_owned(), ..SaleSpec::clone(&self.spec) }
    }

    /// `instant` as an offset.
    #[inline]
    pub(crate) fn offset(&self, instant: Timestamp) -> u64 {
        instant.as_millis().saturating_sub(self.base.as_millis())
    }

    /// An offset as an instant.
    #[inline]
    pub(crate) fn instant(&self, offset: u64) -> Timestamp {
        Timestamp::from_millis(self.base.as_millis().saturating_add(offset))
    }

    /// Whether `tick` will learn that the sale has holds.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        // Acquire: pairs with the Release in `note_active`; the sale is in the queue.
        self.active.load(Ordering::Acquire)
    }

    /// The sale is in the queue from which `tick` learns of it.
    pub(crate) fn note_active(&self) {
        // Release: who finds it set finds the sale in the queue.
        self.active.store(true, Ordering::Release);
    }

    /// True for the first time: several may have put the sale into the queue. Only under the lock of `active`.
    pub(crate) fn list(&self) -> bool {
        // Relaxed: the lock orders it.
        !self.listed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.window.get().1
    }

    /// When it opens, if that was not at once.
    pub(crate) fn opens_at(&self) -> Option<Timestamp> {
        Some(self.window.get().0).filter(|opens_at| *opens_at > Timestamp::MIN)
    }

    /// When it closes by itself, if it does.
    pub(crate) fn closes_at(&self) -> Option<Timestamp> {
        Some(self.window.get().1).filter(|closes_at| *closes_at < Timestamp::MAX)
    }

    /// Whether it sells at `now`.
    pub(crate) fn state(&self, now: Timestamp) -> SaleState {
        let gate = self.allocator.gate();
        match self.window.get() {
            (_, closes_at) if gate.is_closed() || now >= closes_at => SaleState::Closed,
            (opens_at, _) if now < opens_at => SaleState::Scheduled { opens_at },
            _ if gate.is_paused() => SaleState::Paused,
            _ => SaleState::Open,
        }
    }

    /// Opens the sale if its time has come; true for the one who does.
    pub(crate) fn open_if_due(&self, now: Timestamp) -> bool {
        if now < self.window.get().0 || !self.allocator.gate().is_scheduled() || !self.allocator.clear(Mark::Scheduled)
        {
            return false;
        }
        // Whoever moves the window moves it first and sets the mark then: if that was the mark, this look sees it.
        if now < self.window.get().0 {
            self.allocator.set(Mark::Scheduled);
            return false;
        }
        true
    }

    /// The window was moved: the mark says so. True if the sale opened by that.
    pub(crate) fn move_window(
        &self,
        opens_at: Option<Timestamp>,
        closes_at: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        // The mark stands whenever the window closes: set before, and cleared after.
        if closes_at.is_some() {
            self.allocator.set(Mark::Closes);
        }
        self.window.set(opens_at, closes_at);
        if closes_at.is_none() {
            self.allocator.clear(Mark::Closes);
        }
        if opens_at.is_some_and(|opens_at| now < opens_at) {
            self.allocator.set(Mark::Scheduled);
        }
        self.open_if_due(now)
    }

    /// The number of the next order. With a journal, only under its append lock.
    pub(crate) fn next_sequence(&self, journaled: bool, home: usize) -> u64 {
        if journaled {
            // Relaxed: the append lock orders it.
            return self.sequence.fetch_add(1, Ordering::Relaxed);
        }
        let stripes = self.unjournaled.len();
        let stripe = home % stripes;
        // Relaxed: a number, given once.
        let count = self.unjournaled.at(stripe).fetch_add(1, Ordering::Relaxed);
        count * stripes as u64 + stripe as u64 + 1
    }

    /// Without a journal: whether an order has this number.
    pub(crate) fn has_numbered(&self, sequence: u64) -> bool {
        let stripes = self.unjournaled.len() as u64;
        let (count, stripe) = ((sequence - 1) / stripes, (sequence - 1) % stripes);
        // Relaxed: whoever asks for an order has been told its number.
        count < self.unjournaled.at(usize::try_from(stripe).expect("at most 64")).load(Ordering::Relaxed)
    }

    /// Recovery: orders up to `last` are in the journal.
    pub(crate) fn restore_sequence(&self, last: u64) {
        // Relaxed: recovery has one thread.
        self.sequence.fetch_max(last + 1, Ordering::Relaxed);
        self.durable.fetch_max(last, Ordering::Relaxed);
    }

    /// The order is on disk; called in sequence.
    pub(crate) fn note_durable(&self, sequence: u64) {
        // Release: who reads the number with Acquire finds the order settled.
        self.durable.fetch_max(sequence, Ordering::Release);
    }

    /// The last order that is on disk.
    pub(crate) fn durable_sequence(&self) -> u64 {
        // Acquire: pairs with the Release of `note_durable`.
        self.durable.load(Ordering::Acquire)
    }

    /// The slots that it was created with.
    pub(crate) fn first_extent(&self) -> Extent {
        self.extents.first
    }

    /// Names further slots; under `admin`, after the journal has them.
    pub(crate) fn add_extent(&self, extent: Extent) {
        let mut more = self.extents.more.load().as_deref().map_or_else(Vec::new, Vec::clone);
        more.push(extent);
        self.extents.more.store(Some(Arc::new(more)));
    }

    /// The slot's number among all sales.
    pub(crate) fn global(&self, slot: u32) -> u32 {
        let extent = self.extents.find(|extent| slot >= extent.first && slot - extent.first < extent.length);
        extent.map(|extent| extent.base + (slot - extent.first)).expect("a slot is named before it is used")
    }

    /// The slot of this sale with that number, if it is one.
    pub(crate) fn local(&self, global: u32) -> Option<u32> {
        let extent = self.extents.find(|extent| global >= extent.base && global - extent.base < extent.length);
        extent.map(|extent| extent.first + (global - extent.base))
    }

    /// The audit, counted now.
    pub(crate) fn audit(&self) -> Audit {
        let Changes { added, withdrawn, .. } = *self.admin.lock();
        let count = self.allocator.count();
        let mut audit = Audit::new(&self.name, u64::from(self.spec.stock), added, withdrawn, count);
        self.allocator.sold_slots(|share, sequence| {
            audit.orders += 1;
            audit.digest.add(sequence, share.buyer, share.quantity);
        });
        audit
    }
}

impl fmt::Debug for SaleInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sale").field("name", &self.name).field("allocator", &self.allocator).finish_non_exhaustive()
    }
}

/// What every sale of an engine is made with.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) stripes: usize,
    pub(crate) cap_key: [u8; 16],
    pub(crate) journaled: bool,
}
