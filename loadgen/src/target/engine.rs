//! The engine in this process as a target: in the journal folder, with its driver, on the run's clock.

mod delivery;
mod session;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use sellout::{Buyer, Clock, Digest, Driver, Engine, JournalReader, Sale, SoldRecord, Timestamp, Token};

use self::delivery::Delivery;
pub use self::{
    delivery::RedisOptions,
    session::{EnginePending, EngineSession, EngineTicket},
};
use super::{
    JournalProof, JournalledSale, LedgerProof, Opening, OrderId, Preparation, SaleIndex, SaleOpening, Target,
    TargetError, Totals,
};
use crate::{clock::ScaledClock, scenario::SalePlan};

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
    sales: OnceLock<Vec<Sale>>,
}

impl EngineTarget {
    /// Opens the engine.
    ///
    /// # Errors
    /// [`TargetError`] if the journal or Redis can't be used. A Redis that nobody serves yet is no error.
    pub fn open(options: EngineOptions) -> Result<Self, TargetError> {
        let clock = EngineClock { standing_at: options.clock.now(), clock: options.clock };
        let engine = Engine::options().clock(Arc::new(clock)).open(&options.journal).map_err(failed)?;
        let delivery = options.redis.map(|redis| Delivery::open(&engine, redis)).transpose()?;
        let driver = Mutex::new(Some(engine.drive()));
        Ok(Self { engine, journal: options.journal, driver, delivery, sales: OnceLock::new() })
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

    fn register(sale: &Sale, wanted: &SalePlan, plan: &Preparation<'_>) -> Result<(), TargetError> {
        if !wanted.registered_beforehand {
            return Ok(());
        }
        let registered: Vec<Buyer> = (plan.registered)().map(Buyer::from).collect();
        sale.register(&registered).map_err(failed)
    }

    fn sales(&self) -> &[Sale] {
        self.sales.get().map_or(&[], Vec::as_slice)
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

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Target for EngineTarget {
    type Session = EngineSession;

    fn name(&self) -> &'static str {
        "engine"
    }

    fn prepare(&self, plan: &Preparation<'_>) -> Result<Opening, TargetError> {
        let earlier = journalled_sales(&self.journal)?;
        let (mut sales, mut openings) = (Vec::new(), Vec::new());
        for wanted in plan.sales {
            if let Ok(sale) = self.engine.sale(&wanted.name) {
                let audit = sale.audit();
                if audit.stock != u64::from(wanted.stock) {
                    return Err(TargetError(format!(
                        "the journal has the sale {:?} with {} units, the scenario with {}: play the scenario that \
                         the journal was begun with, or use another journal",
                        wanted.name, audit.stock, wanted.stock
                    )));
                }
                // The earlier run may have been killed before everybody was registered.
                Self::register(&sale, wanted, plan)?;
                let confirmed = earlier.iter().filter(|order| order.sale == wanted.name).cloned().collect();
                openings.push(SaleOpening { resumed: true, opens_at: sale.opens_at(), held: audit.held, confirmed });
                sales.push(sale);
                continue;
            }
            let sale = self.engine.create(wanted.spec(plan.base)).map_err(failed)?;
            Self::register(&sale, wanted, plan)?;
            openings.push(SaleOpening::default());
            sales.push(sale);
        }
        if let Some(delivery) = &self.delivery {
            let resumed = openings.iter().any(|opening| opening.resumed);
            delivery.start(&sales.iter().map(Sale::name).collect::<Vec<_>>(), resumed)?;
        }
        self.sales.get_or_init(|| sales);
        Ok(Opening { sales: openings, latest: Some(self.engine.now()) })
    }

    fn session(&self) -> EngineSession {
        EngineSession::new(self.sales().to_vec())
    }

    fn totals(&self, sale: SaleIndex) -> Result<Option<Totals>, TargetError> {
        let Some(sale) = self.sales().get(sale) else { return Ok(None) };
        // Holds whose time has come are ended before the sums are taken.
        self.engine.tick(self.engine.now());
        let audit = sale.audit();
        Ok(Some(Totals {
            stock: audit.stock,
            added: audit.added,
            withdrawn: audit.withdrawn,
            sold: audit.sold,
            held: audit.held,
            free: audit.free,
            digest: Some(audit.digest.as_u128()),
        }))
    }

    fn journal(&self) -> Result<Option<JournalProof>, TargetError> {
        // From here on nobody appends, so that the journal can be read to its end.
        drop(self.driver.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.engine.sync().map_err(failed)?;
        let sales = journalled_sales(&self.journal)?;
        let stats = self.engine.journal_stats().unwrap_or_default();
        let digests = journal_digests(&self.journal)?;
        Ok(Some(JournalProof { records: stats.records, bytes: stats.bytes, sales, digests }))
    }

    fn ledger(&self) -> Result<Option<LedgerProof>, TargetError> {
        let Some(delivery) = &self.delivery else { return Ok(None) };
        let names: Vec<&str> = self.sales().iter().map(Sale::name).collect();
        delivery.finish(&names).map(Some)
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
pub fn journalled_sales(journal: &Path) -> Result<Vec<JournalledSale>, TargetError> {
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

fn journal_digests(journal: &Path) -> Result<Vec<(String, u128)>, TargetError> {
    let mut digests: Vec<(String, Digest)> = Vec::new();
    for order in JournalReader::open(journal).map_err(failed)? {
        let (sale, order) = order.map_err(failed)?;
        let place = digests.iter().position(|(name, _)| *name == sale).unwrap_or_else(|| {
            digests.push((sale, Digest::default()));
            digests.len() - 1
        });
        digests[place].1.add(order.sequence, order.buyer, order.quantity);
    }
    Ok(digests.into_iter().map(|(name, digest)| (name, digest.as_u128())).collect())
}

/// The order that a token names.
fn order_id(text: &str) -> Result<OrderId, TargetError> {
    let token: Token = text.parse().map_err(failed)?;
    Ok(OrderId(token.as_u128()))
}

fn failed(error: impl fmt::Display) -> TargetError {
    TargetError(error.to_string())
}
