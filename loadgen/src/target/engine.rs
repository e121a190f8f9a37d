//! The engine in this process as a target: in the journal folder, with its driver, on the run's clock.

mod again;
mod books;
mod changing;
mod delivery;
mod mail;
mod prepare;
mod salvaged;
mod session;
mod shop;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use sellout::{Clock, Digest, Driver, Engine, FaceValue, JournalReader, Sale, SoldRecord, Timestamp, Token};

pub use self::{
    books::{JournalBooks, JournalDamage, deliver},
    delivery::RedisOptions,
    salvaged::{Lost, SalvagedBooks, SalvagedSale},
    session::{EnginePending, EngineSession, EngineTicket},
};
use self::{delivery::Delivery, mail::Postman, shop::Shop};
use super::{
    Ability, AmountTotals, FaceTotals, JournalProof, JournalledSale, LedgerProof, MessageProof, Opening, OrderId,
    Preparation, ReopenProof, Resources, SaleIndex, Target, TargetError, Totals,
};
use crate::{clock::ScaledClock, scenario::Change};

/// How the engine is opened.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The run's clock.
    pub clock: Arc<ScaledClock>,
    /// The journal folder; it may hold what an earlier run left.
    pub journal: PathBuf,
    /// The Redis that sales are delivered to.
    pub redis: Option<RedisOptions>,
}

/// The engine in this process.
pub struct EngineTarget {
    engine: Engine,
    journal: PathBuf,
    /// Ticks and commits while the sale runs.
    driver: Mutex<Option<Driver>>,
    delivery: Option<Delivery>,
    clock: Arc<dyn Clock>,
    shop: OnceLock<Arc<Shop>>,
    postman: Mutex<Option<Postman>>,
    cost: Mutex<Resources>,
}

impl EngineTarget {
    /// Opens the engine.
    ///
    /// # Errors
    /// [`TargetError`] if the journal or Redis can't be used. A Redis that nobody serves yet is no error.
    pub fn open(options: EngineOptions) -> Result<Self, TargetError> {
        let clock: Arc<dyn Clock> = Arc::new(EngineClock { standing_at: options.clock.now(), clock: options.clock });
        let engine = Engine::options().clock(Arc::clone(&clock)).open(&options.journal).map_err(failed)?;
        let delivery = options.redis.map(|redis| Delivery::open(&engine, redis)).transpose()?;
        let driver = Mutex::new(Some(engine.drive()));
        let (shop, postman, cost) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Ok(Self { engine, journal: options.journal, driver, delivery, clock, shop, postman, cost })
    }

    /// What its user should know before the run.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.delivery.as_ref().and_then(Delivery::note)
    }

    /// Whether there are sales that Redis should have and doesn't.
    #[must_use]
    pub fn undelivered(&self) -> bool {
        self.delivery.as_ref().is_some_and(Delivery::is_behind)
    }

    fn sales(&self) -> &[Sale] {
        self.shop.get().map_or(&[], |shop| &shop.sales)
    }
}

/// The run's clock, as the engine reads it.
///
/// An engine's time goes on from the latest instant in its journal: it stays ahead of its clock by the difference that
/// there was when it was opened. The run's clock is then started from that instant, and must not count the same
/// difference again.
#[derive(Debug)]
struct EngineClock {
    clock: Arc<ScaledClock>,
    standing_at: Timestamp,
}

impl Clock for EngineClock {
    fn now(&self) -> Timestamp {
        let ahead = self.clock.base().since(self.standing_at);
        Timestamp::from_millis(self.clock.now().as_millis().saturating_sub(millis(ahead)))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Target for EngineTarget {
    type Session = EngineSession;

    fn name(&self) -> &'static str {
        "engine"
    }

    fn offers(&self, _: Ability) -> bool {
        true
    }

    fn prepare(&self, plan: &Preparation<'_>) -> Result<Opening, TargetError> {
        let earlier = journalled_sales(&self.journal)?;
        let (shop, opening, cost) = prepare::prepare(&self.engine, plan, earlier)?;
        if let Some(delivery) = &self.delivery {
            let resumed = opening.sales.iter().any(|opening| opening.resumed);
            delivery.start(&shop.sales.iter().map(Sale::name).collect::<Vec<_>>(), resumed)?;
        }
        *lock(&self.cost) = cost;
        *lock(&self.postman) = Postman::start(&self.engine, &shop)?;
        self.shop.get_or_init(|| shop);
        Ok(opening)
    }

    fn session(&self) -> EngineSession {
        EngineSession::new(Arc::clone(self.shop.get().expect("a target is prepared before it is asked")))
    }

    fn change(&self, change: &Change) -> Result<u64, TargetError> {
        let shop = self.shop.get().expect("a target is prepared before it is changed");
        changing::change(&self.engine, shop, change)
    }

    fn settle(&self) -> Result<(), TargetError> {
        // From here on nobody ticks, so that nothing moves while the sums are taken; holds whose time has come are
        // ended before.
        drop(lock(&self.driver).take());
        self.engine.tick(self.engine.now());
        self.engine.sync().map_err(failed)
    }

    fn totals(&self, sale: SaleIndex) -> Result<Option<Totals>, TargetError> {
        Ok(self.sales().get(sale).map(totals))
    }

    fn faces(&self, sale: SaleIndex) -> Result<Option<FaceTotals>, TargetError> {
        Ok(self.sales().get(sale).map(|sale| {
            let audit = sale.audit();
            FaceTotals { units: audit.stock + audit.added - audit.withdrawn, amounts: amounts(sale) }
        }))
    }

    fn messages(&self) -> Result<Option<MessageProof>, TargetError> {
        let Some(postman) = lock(&self.postman).take() else { return Ok(None) };
        self.engine.sync().map_err(failed)?;
        Ok(Some(MessageProof { messages: postman.finish()? }))
    }

    fn journal(&self) -> Result<Option<JournalProof>, TargetError> {
        // From here on nobody appends, so that the journal can be read to its end.
        drop(lock(&self.driver).take());
        self.engine.sync().map_err(failed)?;
        let (mut sales, mut digests): (Vec<JournalledSale>, HashMap<String, Digest>) = Default::default();
        for order in JournalReader::open(&self.journal).map_err(failed)? {
            let (sale, order) = order.map_err(failed)?;
            let (sequence, buyer, quantity) = (order.sequence, order.buyer, order.quantity);
            match digests.get_mut(&sale) {
                Some(digest) => digest.add(sequence, buyer, quantity),
                None => digests.entry(sale.clone()).or_default().add(sequence, buyer, quantity),
            }
            sales.push(journalled((sale, order))?);
        }
        let stats = self.engine.journal_stats().unwrap_or_default();
        let digests = digests.into_iter().map(|(name, digest)| (name, digest.as_u128())).collect();
        Ok(Some(JournalProof { records: stats.records, bytes: stats.bytes, sales, digests }))
    }

    fn ledger(&self) -> Result<Option<LedgerProof>, TargetError> {
        let Some(delivery) = &self.delivery else { return Ok(None) };
        let names: Vec<&str> = self.sales().iter().map(Sale::name).collect();
        delivery.finish(&names).map(Some)
    }

    fn reopened(&self) -> Result<Option<ReopenProof>, TargetError> {
        let proof = again::reopened(&self.journal, Arc::clone(&self.clock), self.sales())?;
        lock(&self.cost).recovered_in = Some(proof.opened_in);
        Ok(Some(proof))
    }

    fn resources(&self) -> Option<Resources> {
        Some(*lock(&self.cost)).filter(|cost| cost.created_in > Duration::ZERO)
    }
}

impl fmt::Debug for EngineTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineTarget").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// Every confirmed sale in the journal folder at `journal`, without opening it for writing.
///
/// # Errors
/// [`TargetError`] if there is no journal, or it can't be read.
fn journalled_sales(journal: &Path) -> Result<Vec<JournalledSale>, TargetError> {
    JournalReader::open(journal).map_err(failed)?.map(|order| journalled(order.map_err(failed)?)).collect()
}

fn journalled((sale, order): (String, SoldRecord)) -> Result<JournalledSale, TargetError> {
    Ok(JournalledSale {
        sale,
        order: order_id(&order.order)?,
        buyer: u64::try_from(order.buyer.as_u128()).ok(),
        quantity: order.quantity,
        payment: order.payment.to_string(),
    })
}

/// The target's sums of a sale, as they are now.
fn totals(sale: &Sale) -> Totals {
    let audit = sale.audit();
    Totals {
        stock: audit.stock,
        added: audit.added,
        withdrawn: audit.withdrawn,
        sold: audit.sold,
        held: audit.held,
        free: audit.free,
        digest: Some(audit.digest.as_u128()),
    }
}

/// The amounts of a sale, where units are amounts.
fn amounts(sale: &Sale) -> Option<AmountTotals> {
    let FaceValue { budget, free, held, sold, .. } = sale.face_value()?;
    Some(AmountTotals { budget, free, held, sold })
}

/// The order that a token names; a basket's lines have the basket's token with their places behind it.
fn order_id(text: &str) -> Result<OrderId, TargetError> {
    let token = text.split_once('-').map_or(text, |(token, _)| token);
    let token: Token = token.parse().map_err(failed)?;
    Ok(OrderId(token.as_u128()))
}

fn failed(error: impl fmt::Display) -> TargetError {
    TargetError(error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
