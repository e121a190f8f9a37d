//! Delivery to Redis while the sale runs, and what stands there afterwards, read back without the library.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Commands, Connection};
use sellout::{
    Digest, Engine,
    ledger::{LedgerDriver, LedgerError, Options, RedisLedger, probe},
};
use serde::Deserialize;

use super::{failed, order_id};
use crate::target::{JournalledSale, LedgerProof, TargetError};

/// How long a connection to Redis, or an answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where sales are delivered.
#[derive(Clone)]
pub struct RedisOptions {
    /// The Redis.
    pub url: String,
    /// What its keys begin with.
    pub prefix: String,
    /// How long to wait for it, once everything is sold.
    pub wait: Duration,
}

/// Without the URL, which may have a password in it.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("prefix", &self.prefix).field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// The delivery of one run.
pub(super) struct Delivery {
    options: RedisOptions,
    ledger: Mutex<Option<RedisLedger>>,
    driver: Mutex<Option<LedgerDriver>>,
    away: Option<String>,
    behind: AtomicBool,
}

/// A record in Redis, as the book's chapter on operations describes it.
#[derive(Deserialize)]
struct Row {
    buyer: String,
    quantity: u32,
    payment: String,
    order: String,
}

impl Delivery {
    pub(super) fn open(engine: &Engine, options: RedisOptions) -> Result<Self, TargetError> {
        let source = engine.source().map_err(failed)?;
        let source = source.ok_or_else(|| TargetError("an engine without a journal delivers nothing".to_owned()))?;
        let settings = Options::default().prefix(&options.prefix);
        let ledger = RedisLedger::new(&options.url, source, settings).map_err(failed)?;
        let away = match probed(&options.url)? {
            Ok(()) => None,
            // It may come yet; what is sold meanwhile waits in the journal.
            Err(error @ (LedgerError::NobodyListens { .. } | LedgerError::Unreachable { .. })) => {
                Some(format!("{error}; the sale goes on, and its journal is delivered once Redis is there"))
            }
            Err(error) => return Err(failed(error)),
        };
        let (ledger, driver) = (Mutex::new(Some(ledger)), Mutex::new(None));
        Ok(Self { options, ledger, driver, away, behind: AtomicBool::new(false) })
    }

    pub(super) fn note(&self) -> Option<&str> {
        self.away.as_deref()
    }

    pub(super) fn is_behind(&self) -> bool {
        // Relaxed: asked after the run, by the thread that set it.
        self.behind.load(Ordering::Relaxed)
    }

    /// Begins to deliver. A Redis that has these sales from another journal is refused before anything is sold.
    pub(super) fn start(&self, sales: &[&str], resumed: bool) -> Result<(), TargetError> {
        if self.away.is_none() && !resumed {
            let mut connection = self.connect()?;
            for sale in sales {
                let rows: u64 = connection.hlen(self.key(sale)).map_err(failed)?;
                if rows > 0 {
                    return Err(TargetError(format!(
                        "Redis has {rows} sales under {:?} already, from another journal: use an empty database (the \
                         number at the URL's end), or --redis-prefix",
                        self.key(sale)
                    )));
                }
            }
        }
        let ledger = lock(&self.ledger).take();
        *lock(&self.driver) = ledger.map(|ledger| ledger.spawn().map_err(failed)).transpose()?;
        Ok(())
    }

    /// Waits until everything is delivered, and reads back what stands there.
    pub(super) fn finish(&self, sales: &[&str]) -> Result<LedgerProof, TargetError> {
        if let Some(driver) = lock(&self.driver).take() {
            // Relaxed: see `is_behind`.
            self.behind.store(true, Ordering::Relaxed);
            driver.wait_delivered(self.options.wait).map_err(failed)?;
            self.behind.store(false, Ordering::Relaxed);
            driver.stop();
        }
        let mut connection = self.connect()?;
        let mut proof = LedgerProof::default();
        for sale in sales {
            let mut digest = Digest::default();
            for (sequence, text) in self.rows(&mut connection, sale)? {
                let row: Row = serde_json::from_str(&text).map_err(|error| {
                    TargetError(format!("{:?} has {text:?} at {sequence}: {error}", self.key(sale)))
                })?;
                let buyer = row.buyer.parse::<u64>().ok();
                let number = sequence.parse().map_err(failed)?;
                digest.add(number, sellout::Buyer::from(buyer.unwrap_or_default()), row.quantity);
                proof.sales.push(JournalledSale {
                    sale: (*sale).to_owned(),
                    order: order_id(&row.order)?,
                    buyer,
                    quantity: row.quantity,
                    payment: row.payment,
                });
            }
            proof.digests.push(((*sale).to_owned(), digest.as_u128()));
        }
        Ok(proof)
    }

    /// All fields of a sale's hash: a scan may show one twice, so they are gathered by name.
    fn rows(&self, connection: &mut Connection, sale: &str) -> Result<HashMap<String, String>, TargetError> {
        let scan = connection.hscan::<_, (String, String)>(self.key(sale)).map_err(failed)?;
        scan.map(|row| row.map_err(failed)).collect()
    }

    fn key(&self, sale: &str) -> String {
        format!("{}:{{{sale}}}:sales", self.options.prefix)
    }

    fn connect(&self) -> Result<Connection, TargetError> {
        let client = redis::Client::open(self.options.url.as_str()).map_err(failed)?;
        let connection = client.get_connection_with_timeout(PATIENCE).map_err(failed)?;
        connection.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(connection)
    }
}

/// Whether the Redis can be used, or what it says instead.
fn probed(url: &str) -> Result<Result<(), LedgerError>, TargetError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    Ok(runtime.block_on(probe(url, PATIENCE)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("options", &self.options).finish_non_exhaustive()
    }
}
