//! The engine: a catalogue of sales, over a clock and a journal.
//!
//! It owns no hidden thread. Time acts on sales when [`Engine::tick`] is called, by a loop of the caller's own or by
//! a [driver](Engine::drive) that was asked for. `reserve` and `cancel` touch only the sale's atomics; what they
//! changed is written down a tick later. `confirm` is written before it is acknowledged.
//!
//! ```text
//! sale      what users call                 inner     what all handles share; catalogue, growth
//! confirm   from payment to journal         pending   waiting for the disk
//! tick      what time does                  driver    a thread that ticks
//! recovery  from records back to sales      late      expired holds that may still be paid
//! stages    who may buy, who may register   shipping  orders on their way
//! request   what users ask for              keys      which hold a request's key has made
//! feed      orders, for a sink              reader    orders, from a folder
//! salvage   orders, from a damaged one
//! waitlist  who is next when units come back
//! create    sales, one or very many         changes   the window, the cap, and the kill switch
//! faces     which unit is which             detail    what stands beside a hold's record
//! outbox    messages to buyers, for a sink
//! compaction  the journal without what has passed
//! ```

mod answers;
mod audience;
mod audit;
mod baskets;
mod changes;
mod compaction;
mod confirm;
mod create;
mod detail;
mod driver;
mod events;
mod faces;
mod feed;
mod inner;
mod keys;
mod late;
mod orders;
mod outbox;
mod pending;
mod reader;
mod recovery;
mod request;
mod sale;
mod salvage;
mod settle;
mod shipping;
mod source;
mod stages;
mod state;
#[cfg(test)]
mod tests;
mod tick;
mod waitlist;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use crossbeam_queue::SegQueue;
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use crate::{
    clock::{Clock, SystemClock},
    core::{
        Buyer, Timestamp,
        invitation::InvitationKey,
        token::{TokenKeys, derive},
    },
    journal::{Disk, FsDisk, Journal, JournalError, JournalOptions, JournalStats, OpenError},
    spec::SaleSpec,
};

pub use answers::{
    CancelError, Cancelled, ChangeError, ConfirmError, Confirmation, CreateError, Ended, EnrollError, Enrolled,
    ExtendError, NoSuchSale, Receipt, Rejection, ShipError, UnitsError,
};
pub use audit::{Audit, Digest};
pub use baskets::{Basket, BasketLine, BasketRejection, BasketRules, Baskets};
pub use driver::Driver;
pub use events::{Event, EventKind, Events};
pub use faces::{Face, FaceValue, Unit};
pub use inner::Durability;
pub use outbox::{
    Callback, DeliverError, FileSink, FileSinkError, Message, MessageId, MessageIdError, MessageKind, MessageSink,
    Outbox, SeekError,
};
pub use pending::Pending;
pub use reader::JournalReader;
pub use request::{Request, RequestKey, RequestKeyError};
pub use sale::{Hold, Sale};
pub use salvage::{Salvage, Salvaged, SalvagedOrder};
pub use source::{Identity, SaleHead, SoldRecord, Source};
pub use state::SaleState;
pub use tick::Ticked;
pub use waitlist::{AcceptError, JoinError, Left, Place, Waiting};

use feed::Feed;
use inner::EngineInner;
use recovery::Recovery;
use settle::Settlement;
use state::Setting;

/// How an engine is opened.
///
/// ```
/// use sellout::{Engine, ManualClock};
/// use std::sync::Arc;
///
/// let clock = Arc::new(ManualClock::default());
/// let engine = Engine::options().clock(clock.clone()).stripes(1).in_memory();
/// ```
#[derive(Clone)]
#[must_use]
pub struct Options {
    clock: Arc<dyn Clock>,
    durability: Durability,
    stripes: usize,
    secret: Option<Zeroizing<[u8; 32]>>,
}

/// Whether there is a secret is shown, and nothing of it.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clock, durability, stripes, secret } = self;
        f.debug_struct("Options")
            .field("clock", clock)
            .field("durability", durability)
            .field("stripes", stripes)
            .field("secret", &secret.as_ref().map(|_| "***"))
            .finish()
    }
}

impl Options {
    /// What time it is: by default a [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// When a confirmation is acknowledged: by default after the sync.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// For how many threads at once a sale is laid out, 1 to 64: by default four times the machine's.
    ///
    /// With 1, calls of one thread give the same slots, and so the same tokens, in every run.
    pub fn stripes(mut self, stripes: usize) -> Self {
        self.stripes = stripes.clamp(1, 64);
        self
    }

    /// The secret of an engine in memory, instead of a random one: for runs that must repeat exactly. A journal has
    /// a secret of its own.
    pub fn secret(mut self, secret: [u8; 32]) -> Self {
        self.secret = Some(Zeroizing::new(secret));
        self
    }

    /// An engine without a journal: for tests, and for stock that may be lost with the process.
    ///
    /// # Panics
    /// If the system gives no random bytes and no secret was set.
    #[must_use]
    pub fn in_memory(self) -> Engine {
        let secret = self.secret.clone().unwrap_or_else(|| {
            let mut secret = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *secret).expect("the system gives random bytes");
            secret
        });
        let setting = self.setting(&secret, false);
        self.assemble(&secret, vec![0], setting, None, Recovery::default())
    }

    /// An engine on the journal in the folder `dir`, which is made if it isn't there.
    ///
    /// Every acknowledged sale is back, and every journaled hold with its deadline and its token.
    ///
    /// # Errors
    /// [`OpenError`] if the folder is in use, not writable, full, damaged, or from a newer version.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Engine, OpenError> {
        let dir = dir.as_ref();
        let disk = FsDisk::create(dir).map_err(|error| OpenError::io_at(dir, "create", error))?;
        let options = JournalOptions::at(self.clock.now());
        self.open_on(Arc::new(disk), options)
    }

    /// An engine on the journal on `disk`.
    pub(crate) fn open_on(self, disk: Arc<dyn Disk>, options: JournalOptions) -> Result<Engine, OpenError> {
        let dir = disk.path().to_owned();
        let mut recovery = Recovery::default();
        let journal = Journal::open(disk, options, &mut |record| recovery.replay(record))?;
        recovery.ends();
        if let Err(why) = recovery.end_halves().and_then(|()| recovery.check()) {
            return Err(OpenError::Contradiction { dir, why });
        }
        let mut incarnations = recovery.take_incarnations();
        incarnations.push(journal.incarnation());
        let secret = Zeroizing::new(*journal.secret());
        let setting = self.setting(&secret, true);
        Ok(self.assemble(&secret, incarnations, setting, Some((journal, dir)), recovery))
    }

    fn setting(&self, secret: &[u8; 32], journaled: bool) -> Setting {
        Setting { stripes: self.stripes, cap_key: derive(secret, b"cap table"), journaled }
    }

    fn assemble(
        self,
        secret: &[u8; 32],
        incarnations: Vec<u64>,
        setting: Setting,
        journal: Option<(Journal<Settlement>, PathBuf)>,
        recovery: Recovery,
    ) -> Engine {
        // If the wall clock was set back since, time goes on from the journal's last instant all the same.
        let ahead = recovery.latest().since(self.clock.now());
        let (catalogue, active) = recovery.finish(&setting);
        let sold =
            catalogue.sales.iter().filter(|sale| !sale.is_desk() && sale.durable_sequence() > 0).cloned().collect();
        let (journal, dir) = journal.unzip();
        let inner = Arc::new(EngineInner {
            clock: self.clock,
            ahead,
            keys: TokenKeys::new(*secret, incarnations),
            buyer_key: Zeroizing::new(derive(secret, b"buyer")),
            invitations: InvitationKey::new(secret),
            request_key: Zeroizing::new(derive(secret, b"request key")),
            setting,
            durability: self.durability,
            journal,
            dir,
            hub: events::Hub::new(),
            catalogue: RwLock::new(catalogue),
            halting: Mutex::new(()),
            creation: Mutex::new(()),
            activated: SegQueue::new(),
            active: Mutex::new(active),
            sold: Mutex::new(sold),
            driven: AtomicBool::new(false),
            driver: ArcSwap::from_pointee(None),
        });
        if let Some(journal) = &inner.journal {
            let engine = Arc::downgrade(&inner);
            journal.on_failure(move || {
                if let Some(engine) = engine.upgrade() {
                    engine.stop_sales();
                }
            });
        }
        Engine { inner }
    }
}

/// Sells scarce things to crowds. Cheap to clone; all clones are the same engine.
///
/// ```
/// use sellout::{Confirmation, Engine, PaymentId, Rejection, SaleSpec};
///
/// let engine = Engine::in_memory(); // Engine::open("sales.journal")? keeps every sale through crashes
/// let sale = engine.create(SaleSpec::new("mx3", 1))?;
///
/// let hold = sale.reserve(7, 1)?;
/// assert!(matches!(sale.reserve(8, 1), Err(Rejection::AllHeld { on_hold: 1, .. })));
///
/// let paid = sale.confirm(&hold.token(), PaymentId::new("pi_1")?)?.wait()?;
/// assert!(matches!(paid, Confirmation::Confirmed(_)));
/// assert_eq!(sale.reserve(8, 1).unwrap_err(), Rejection::SoldOut);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

impl Engine {
    /// How to open one otherwise than by default.
    pub fn options() -> Options {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Options {
            clock: Arc::new(SystemClock::new()),
            durability: Durability::default(),
            stripes: (4 * threads).next_power_of_two().clamp(1, 64),
            secret: None,
        }
    }

    /// An engine on the journal in the folder `dir`, with the defaults: see [`Options::open`].
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().open(dir)
    }

    /// An engine without a journal: see [`Options::in_memory`].
    #[must_use]
    pub fn in_memory() -> Self {
        Self::options().in_memory()
    }

    pub(crate) fn from_inner(inner: Arc<EngineInner>) -> Self {
        Self { inner }
    }

    /// Creates a sale. Durable when it answers.
    ///
    /// # Errors
    /// [`CreateError`] if its rules can't be kept, its name is taken, or the journal doesn't take it.
    pub fn create(&self, spec: SaleSpec) -> Result<Sale, CreateError> {
        let inner = self.inner.create_one(spec)?;
        Ok(Sale { engine: Arc::clone(&self.inner), inner })
    }

    /// Creates many sales at once, in the order of `specs`, which is also that of the answer. Durable when it answers.
    ///
    /// All of them, or none: every spec is checked, and every name, before anything is written. A name that exists,
    /// or comes twice in `specs`, refuses all. Only a crash before the answer can leave a part of them, the first ones:
    /// create those that [`Engine::sale`] doesn't find.
    ///
    /// # Errors
    /// [`CreateError`] as for [`Engine::create`], for the first sale that can't be.
    ///
    /// ```
    /// use sellout::{Engine, SaleSpec};
    ///
    /// let engine = Engine::in_memory();
    /// let shops = (1..=1_000).map(|shop| SaleSpec::new(format!("shop-{shop}"), 200)).collect();
    /// let sales = engine.create_many(shops)?;
    /// assert_eq!((sales.len(), sales[6].name()), (1_000, "shop-7"));
    /// # Ok::<(), sellout::CreateError>(())
    /// ```
    pub fn create_many(&self, specs: Vec<SaleSpec>) -> Result<Vec<Sale>, CreateError> {
        let created = self.inner.create(specs)?;
        Ok(created.into_iter().map(|inner| Sale { engine: Arc::clone(&self.inner), inner }).collect())
    }

    /// The sale of that name.
    ///
    /// # Errors
    /// [`NoSuchSale`] if there is none.
    pub fn sale(&self, name: &str) -> Result<Sale, NoSuchSale> {
        match self.inner.sale(name).filter(|sale| !sale.is_desk()) {
            Some(inner) => Ok(Sale { engine: Arc::clone(&self.inner), inner }),
            None => Err(NoSuchSale { name: name.to_owned() }),
        }
    }

    /// All sales, in the order in which they were created.
    #[must_use]
    pub fn sales(&self) -> Vec<Sale> {
        let catalogue = self.inner.catalogue.read();
        let sale = |inner: &Arc<_>| Sale { engine: Arc::clone(&self.inner), inner: Arc::clone(inner) };
        catalogue.sales.iter().filter(|sale| !sale.is_desk()).map(sale).collect()
    }

    /// The identity of a buyer who is known by an account name, a UUID or any other bytes.
    ///
    /// The same bytes give the same buyer for as long as the journal lives.
    #[must_use]
    pub fn buyer(&self, account: &[u8]) -> Buyer {
        Buyer::keyed(&self.inner.buyer_key, account)
    }

    /// What time it is, on the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.now()
    }

    /// Lets time act, as it is at `now`: opens sales, ends overdue holds, and writes to the journal what has changed.
    ///
    /// Call it every few milliseconds with [`Engine::now`], or have a [driver](Engine::drive) do it. A unit of an
    /// expired hold is on sale again within one tick after its deadline and grace.
    #[expect(clippy::must_use_candidate, reason = "it acts; what it did is news for those who count")]
    pub fn tick(&self, now: Timestamp) -> Ticked {
        self.inner.tick(now)
    }

    /// Starts a thread that ticks every 5 ms and commits for everybody who waits: see [`Engine::drive_every`].
    ///
    /// # Panics
    /// If the system has no thread left.
    pub fn drive(&self) -> Driver {
        self.drive_every(Duration::from_millis(5))
    }

    /// Starts a thread called `sellout-driver` that ticks `every` so often. Dropping the driver ends it.
    ///
    /// # Panics
    /// If the system has no thread left.
    pub fn drive_every(&self, every: Duration) -> Driver {
        Driver::start(&self.inner, every).expect("the system has room for one more thread")
    }

    /// Subscribes to what happens from now on; `capacity` events may wait.
    pub fn subscribe(&self, capacity: usize) -> Events {
        self.inner.hub.subscribe(capacity)
    }

    /// Where every unit of every sale is, counted now.
    #[must_use]
    pub fn audit(&self) -> Vec<Audit> {
        self.sales().iter().map(Sale::audit).collect()
    }

    /// Makes everything that happened before durable, holds and cancellations included.
    ///
    /// For shops that hand out a payment link only once its hold can't be lost.
    ///
    /// # Errors
    /// [`JournalError`] if the journal has failed.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.inner.sync()
    }

    /// Ends the engine gracefully: no sale makes holds any more, and everything that happened is durable when this
    /// answers. Confirmations through other handles are refused from then on. The folder is free for the next
    /// opening once all handles are dropped.
    ///
    /// # Errors
    /// [`JournalError`] if the journal has failed.
    pub fn close(self) -> Result<(), JournalError> {
        self.inner.close()
    }

    /// Whether the journal has failed.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_failed(&self) -> bool {
        self.inner.journal.as_ref().is_some_and(|journal| journal.failure().is_some())
    }

    /// How much the journal holds, if there is one.
    #[must_use]
    pub fn journal_stats(&self) -> Option<JournalStats> {
        self.inner.journal.as_ref().map(Journal::stats)
    }

    /// The engine's durable orders, for a sink such as the Redis ledger; `None` without a journal.
    ///
    /// # Errors
    /// [`OpenError`] if the journal can't be read.
    pub fn source(&self) -> Result<Option<Arc<dyn Source>>, OpenError> {
        Ok(Feed::open(&self.inner)?.map(|feed| Arc::new(feed) as Arc<dyn Source>))
    }

    /// The engine's messages to buyers, for a sink; `None` without a journal.
    ///
    /// # Errors
    /// [`OpenError`] if the journal can't be read.
    pub fn outbox(&self) -> Result<Option<Outbox>, OpenError> {
        Outbox::open(&self.inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
