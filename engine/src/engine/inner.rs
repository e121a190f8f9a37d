//! What all handles of one engine share.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use crossbeam_queue::SegQueue;
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use super::{
    answers::ChangeError,
    events::{Event, EventKind, Hub},
    faces::write_labels,
    settle::Settlement,
    source::Identity,
    state::{Changes, Extent, SaleInner, Setting},
};
use crate::{
    clock::Clock,
    core::{
        MAX_STOCK, Timestamp, Token,
        allocator::HoldId,
        invitation::InvitationKey,
        permits::Mark,
        token::{Fields, SLOT_BITS, TokenKeys},
    },
    journal::{Batch, Change, Journal, JournalError, Record},
    spec::SaleSpec,
};

/// When a confirmation is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// After the journal was synced: an acknowledged sale survives power loss.
    #[default]
    Synced,
    /// At once: a crash can lose the sales that were confirmed since the journal was last synced, about one tick.
    Buffered,
}

/// The sales of an engine, by number, by name and by their slots.
#[derive(Default)]
pub(crate) struct Catalogue {
    pub(crate) sales: Vec<Arc<SaleInner>>,
    pub(crate) by_name: BTreeMap<Arc<str>, u32>,
    /// The first slot of each extent among all sales, and whose it is.
    pub(crate) by_slot: BTreeMap<u32, u32>,
    /// The first slot that no sale has.
    pub(crate) next_slot: u32,
    /// Every sale is paused, those to come included.
    pub(crate) halted: bool,
    /// What sales do by themselves, by when.
    pub(crate) agenda: BTreeSet<(Timestamp, u32, Due)>,
    /// What was due while its sale was over: it is taken up again if the sale's window is moved.
    pub(crate) withheld: BTreeSet<(Timestamp, u32, Due)>,
}

/// What a sale does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// It opens.
    Opens,
    /// It reminds those who registered.
    Reminds,
    /// It sends its purchase links.
    Links,
}

impl Catalogue {
    /// Adds a sale, with the slots that were added to it since it was created.
    pub(crate) fn insert(&mut self, sale: &Arc<SaleInner>, added: &[Extent]) {
        self.by_name.insert(Arc::clone(&sale.name), sale.number);
        self.claim(sale.number, sale.first_extent());
        for extent in added {
            self.claim(sale.number, *extent);
            sale.add_extent(*extent);
        }
        let SaleSpec { reminds_at, links_at, .. } = *sale.spec;
        let opens_at = sale.opens_at().filter(|_| sale.allocator.gate().is_scheduled());
        for (at, due) in [(opens_at, Due::Opens), (reminds_at, Due::Reminds), (links_at, Due::Links)] {
            self.agenda.extend(at.map(|at| (at, sale.number, due)));
        }
        if self.halted {
            sale.allocator.set(Mark::Halted);
        }
        self.sales.push(Arc::clone(sale));
    }

    /// The sale opens at another instant.
    pub(crate) fn reschedule(&mut self, sale: &SaleInner, from: Option<Timestamp>, to: Option<Timestamp>) {
        if let Some(from) = from {
            self.agenda.remove(&(from, sale.number, Due::Opens));
        }
        self.agenda.extend(to.map(|to| (to, sale.number, Due::Opens)));
        self.resume(sale);
    }

    pub(crate) fn claim(&mut self, sale: u32, extent: Extent) {
        self.by_slot.insert(extent.base, sale);
        self.next_slot = self.next_slot.max(extent.base + extent.length);
    }
}

/// Whether a token can name `slots` slots from `base` on.
pub(super) fn room(base: u32, slots: u32) -> bool {
    u64::from(base) + u64::from(slots) <= 1 << SLOT_BITS
}

pub(crate) struct EngineInner {
    pub(crate) clock: Arc<dyn Clock>,
    /// How far the engine's time is ahead of the clock's: it goes on from the journal's last instant.
    pub(crate) ahead: std::time::Duration,
    pub(crate) keys: TokenKeys,
    pub(crate) buyer_key: Zeroizing<[u8; 16]>,
    pub(crate) invitations: InvitationKey,
    /// What the keys of requests are hashed under.
    pub(crate) request_key: Zeroizing<[u8; 16]>,
    pub(crate) setting: Setting,
    pub(crate) durability: Durability,
    pub(crate) journal: Option<Journal<Settlement>>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) hub: Hub,
    /// Not needed by who has a sale's handle: `reserve`, `confirm` and `cancel` don't look here.
    pub(crate) catalogue: RwLock<Catalogue>,
    /// Held while all sales are paused, or go on, and the journal writes it.
    pub(crate) halting: Mutex<()>,
    /// Held while slots are named and the journal writes it.
    pub(crate) creation: Mutex<()>,
    /// Sales that have had a first hold since `tick` last looked.
    pub(crate) activated: SegQueue<Arc<SaleInner>>,
    /// Sales that have had a hold. Only `tick` looks.
    pub(crate) active: Mutex<Vec<Arc<SaleInner>>>,
    /// Sales that have an order on disk, in the order of their first ones: what a sink asks for again and again.
    pub(crate) sold: Mutex<Vec<Arc<SaleInner>>>,
    /// Whether a driver commits what is pending.
    pub(crate) driven: AtomicBool,
    /// Wakes the driver; set by it.
    pub(crate) driver: ArcSwap<Option<std::thread::Thread>>,
}

/// The calling thread's stripe, below 64; a sale takes it modulo the stripes that it has.
pub(crate) fn home() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static HOME: Cell<Option<usize>> = const { Cell::new(None) };
    }
    HOME.with(|home| {
        home.get().unwrap_or_else(|| {
            // Relaxed: a number, given once.
            let number = THREADS.fetch_add(1, Ordering::Relaxed);
            // An odd step: as many successive threads as there are stripes have a stripe each, and not a neighbour's.
            let spread = number.wrapping_mul(37) % 64;
            home.set(Some(spread));
            spread
        })
    })
}

impl EngineInner {
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().plus(self.ahead)
    }

    pub(crate) fn token(&self, sale: &SaleInner, id: HoldId) -> Token {
        let HoldId { slot, generation, key_epoch } = id;
        self.keys.seal(Fields { key_epoch, generation, slot: sale.global(slot) })
    }

    /// The sale that has this slot among all sales.
    pub(crate) fn sale_with_slot(&self, slot: u32) -> Option<Arc<SaleInner>> {
        let catalogue = self.catalogue.read();
        let (_, &number) = catalogue.by_slot.range(..=slot).next_back()?;
        let sale = &catalogue.sales[number as usize];
        sale.local(slot).map(|_| Arc::clone(sale))
    }

    pub(crate) fn sale(&self, name: &str) -> Option<Arc<SaleInner>> {
        let catalogue = self.catalogue.read();
        catalogue.by_name.get(name).map(|&number| Arc::clone(&catalogue.sales[number as usize]))
    }

    #[inline]
    pub(crate) fn publish(&self, sale: &SaleInner, kind: EventKind) {
        if !self.hub.is_silent() {
            self.hub.publish(&Event { sale: Arc::clone(&sale.name), at: self.now(), kind });
        }
    }

    /// The sale is about to have a hold. It is queued before it counts as queued: whoever stops in between keeps
    /// nobody else from queueing it.
    #[inline]
    pub(crate) fn activate(&self, sale: &Arc<SaleInner>) {
        if !sale.is_active() {
            self.queue(sale);
        }
    }

    #[cold]
    fn queue(&self, sale: &Arc<SaleInner>) {
        self.activated.push(Arc::clone(sale));
        sale.note_active();
    }

    /// The sales that `tick` has yet to learn of.
    pub(crate) fn newly_active(&self) -> impl Iterator<Item = Arc<SaleInner>> {
        std::iter::from_fn(|| self.activated.pop()).filter(|sale| sale.list())
    }

    /// Names the slots of the first `chunks` chunks, and lets them be used. The caller has the sale's `admin` lock.
    pub(crate) fn grow(&self, sale: &SaleInner, changes: &mut Changes, chunks: usize) -> Result<(), ChangeError> {
        while changes.chunks < chunks {
            let _turn = self.creation.lock();
            let slots = sale.allocator.slots();
            let first = slots.capacity(changes.chunks);
            let length = slots.capacity(changes.chunks + 1) - first;
            let base = self.catalogue.read().next_slot;
            if !room(base, length) {
                return Err(ChangeError::Full { most: 1 << SLOT_BITS });
            }
            self.write_change(sale, Change::Extent { base, slots: length })?;
            let extent = Extent { base, first, length };
            self.catalogue.write().claim(sale.number, extent);
            sale.add_extent(extent);
            changes.chunks += 1;
            sale.allocator.grow(changes.chunks);
        }
        Ok(())
    }

    /// Puts `units` more on sale, with their labels if they have any. True if that ended a time in which nothing was
    /// free.
    pub(crate) fn add_stock(
        &self,
        sale: &SaleInner,
        units: u32,
        labels: Option<Arc<[Box<str>]>>,
    ) -> Result<bool, ChangeError> {
        let mut changes = sale.admin.lock();
        if sale.allocator.gate().is_closed() {
            return Err(ChangeError::Closed);
        }
        sale.check_more(changes.added, units, labels.as_deref())?;
        let total = sale.allocator.total() + u64::from(units);
        if total > u64::from(MAX_STOCK) {
            return Err(ChangeError::Stock { add: units, total, most: MAX_STOCK });
        }
        self.grow(sale, &mut changes, sale.allocator.chunks_for(total))?;
        let (number, at) = (sale.number, self.now());
        self.write(|batch| {
            write_labels(number, labels.as_deref().unwrap_or_default(), batch);
            batch.push(&Record::SaleChanged { sale: number, at, change: Change::Added { units } });
        })?;
        changes.added += u64::from(units);
        if let (Some(faces), Some(labels)) = (&sale.faces, labels) {
            faces.list(labels);
        }
        Ok(sale.allocator.add(units, home()))
    }

    /// Appends what `build` pushes and waits until it is durable; nothing without a journal.
    pub(crate) fn write(&self, build: impl FnOnce(&mut Batch<'_, Settlement>)) -> Result<(), JournalError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let ((), lsn) = journal.append(build)?;
        journal.commit(lsn)
    }

    pub(crate) fn write_change(&self, sale: &SaleInner, change: Change) -> Result<(), ChangeError> {
        let at = self.now();
        Ok(self.write(|batch| batch.push(&Record::SaleChanged { sale: sale.number, at, change }))?)
    }

    /// Writes down what has changed, and waits until everything is durable.
    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        self.write_all_changes();
        journal.commit(journal.appended())?;
        journal.failure().map_or(Ok(()), Err)
    }

    /// Writes down everything, and takes nothing more.
    pub(crate) fn close(&self) -> Result<(), JournalError> {
        self.stop_sales();
        self.sync()?;
        self.journal.as_ref().map_or(Ok(()), Journal::close)
    }

    /// The journal has failed, or the engine is closed: no sale makes holds that nobody could confirm.
    pub(crate) fn stop_sales(&self) {
        for sale in &self.catalogue.read().sales {
            sale.allocator.set(Mark::Paused);
        }
    }

    /// Whose orders and messages these are.
    pub(crate) fn identity(&self) -> Identity {
        let journal = self.journal.as_ref();
        let identity = journal.map(|journal| (journal.engine_id(), journal.epoch(), journal.incarnation()));
        let (engine, epoch, incarnation) = identity.unwrap_or_default();
        Identity::new(engine, epoch, incarnation)
    }

    /// Lets the driver, if there is one, commit now; whether there is one.
    pub(crate) fn wake_driver(&self) -> bool {
        // Acquire: pairs with the Release of the driver's start; its thread is there to be woken.
        if !self.driven.load(Ordering::Acquire) {
            return false;
        }
        if let Some(thread) = self.driver.load().as_ref() {
            thread.unpark();
        }
        true
    }
}

/// Nobody has a handle any more: holds of the last tick are written down, as far as the journal takes it.
impl Drop for EngineInner {
    fn drop(&mut self) {
        let _nobody_waits = self.sync();
    }
}

impl fmt::Debug for EngineInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("dir", &self.dir)
            .field("sales", &self.catalogue.read().sales.len())
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}
