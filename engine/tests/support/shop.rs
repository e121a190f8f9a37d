//! A real engine on a real journal that sells, knows what was acknowledged, and delivers; and the two proofs that
//! Redis has all of it once: `verify`, and Redis read by hand.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use sellout::{
    Engine, SaleSpec,
    ledger::{LedgerDriver, LedgerError, LedgerStatus, Options, RedisLedger, Source, verify},
};
use sellout_testkit::{PATIENCE, RedisServer, eventually};
use tempfile::TempDir;

/// Impatient, so that a test's failures pass quickly; in batches so small that there are many of them.
pub(crate) fn options() -> Options {
    let options = Options::default().retry(Duration::from_millis(10), Duration::from_millis(200));
    let mut options = options.batch(NonZeroU16::new(50).unwrap());
    options.look_every = Duration::from_millis(100);
    options
}

/// An engine with some sales.
pub(crate) struct Shop {
    engine: Engine,
    /// The payments of each sale whose confirmations were acknowledged.
    acknowledged: RefCell<BTreeMap<String, BTreeSet<u64>>>,
    folder: TempDir,
}

impl Shop {
    pub(crate) fn with(sales: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path().join("journal")).unwrap();
        for sale in sales {
            engine.create(SaleSpec::new(*sale, 50_000)).unwrap();
        }
        let acknowledged = sales.iter().map(|sale| ((*sale).to_owned(), BTreeSet::new())).collect();
        Self { engine, acknowledged: RefCell::new(acknowledged), folder }
    }

    /// The same shop, closed and opened again on its journal. No ledger of it may run.
    #[allow(dead_code, reason = "not every test that sells opens it again")]
    pub(crate) fn reopened(self) -> Self {
        let Self { engine, acknowledged, folder } = self;
        drop(engine);
        Self { engine: Engine::open(folder.path().join("journal")).unwrap(), acknowledged, folder }
    }

    /// Sells `count` units, each to a buyer of its own, and returns when all are acknowledged: whatever has become of
    /// Redis, the sale goes on.
    pub(crate) fn sell(&self, sale: &str, count: u64) {
        let mut acknowledged = self.acknowledged.borrow_mut();
        let payments = acknowledged.get_mut(sale).unwrap();
        let first = payments.len() as u64 + 1;
        let handle = self.engine.sale(sale).unwrap();
        let confirm = |buyer| handle.reserve(buyer, 1).unwrap().confirm(buyer).unwrap();
        let confirmations: Vec<_> = (first..first + count).map(|buyer| (buyer, confirm(buyer))).collect();
        for (buyer, confirmation) in confirmations {
            confirmation.wait().unwrap();
            payments.insert(buyer);
        }
    }

    pub(crate) fn source(&self) -> Arc<dyn Source> {
        self.engine.source().unwrap().unwrap()
    }

    /// A ledger that runs.
    pub(crate) fn deliver(&self, url: &str, options: Options) -> LedgerDriver {
        RedisLedger::new(url, self.source(), options).unwrap().spawn().unwrap()
    }

    /// How many sales of `sale` are acknowledged.
    pub(crate) fn sold(&self, sale: &str) -> u64 {
        self.acknowledged.borrow()[sale].len() as u64
    }

    /// Waits until all is delivered; then nothing is missing and nothing there twice, as `verify` says, and as Redis
    /// says to a client that knows nothing of the ledger. `server` is where a sale's keys are.
    #[track_caller]
    pub(crate) fn assert_delivered<'a>(
        &self,
        driver: &LedgerDriver,
        url: &str,
        server: impl Fn(&str) -> &'a RedisServer,
    ) {
        if let Err(late) = driver.wait_delivered(PATIENCE) {
            panic!("{late}: {:?}", driver.status());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let digest = |record: &sellout::ledger::SoldRecord| u128::from(record.sequence).pow(2);
        let found = runtime.block_on(verify(url, &*self.source(), &options(), digest)).unwrap();
        assert_eq!(found.len(), self.acknowledged.borrow().len());
        for comparison in found {
            assert_eq!((comparison.missing, comparison.duplicates), (0, 0), "{comparison:?}");
            assert!(comparison.is_exact(), "{comparison:?}");
        }
        for (sale, expected) in &*self.acknowledged.borrow() {
            let (missing, twice) = self.read_by_hand(sale, expected, server(sale));
            assert_eq!((missing, twice), (0, 0), "{sale}");
        }
    }

    /// Acknowledged sales that Redis lacks, and sales that it has more than once or that nobody made.
    fn read_by_hand(&self, sale: &str, expected: &BTreeSet<u64>, server: &RedisServer) -> (usize, usize) {
        let records: BTreeMap<String, String> = server.ask(&format!("HGETALL sellout:{{{sale}}}:sales"));
        let payments: Vec<u64> = records.values().map(|record| payment(record)).collect();
        let distinct: BTreeSet<u64> = payments.iter().copied().collect();
        let missing = expected.difference(&distinct).count();
        let twice = payments.len() - distinct.len() + distinct.difference(expected).count();
        let last: Option<u64> = server.ask(&format!("HGET sellout:{{{sale}}}:ledger last"));
        assert_eq!(last.unwrap_or_default(), self.sold(sale), "the watermark of {sale}");
        (missing, twice)
    }
}

fn payment(record: &str) -> u64 {
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    record["payment"].as_str().unwrap().parse().unwrap()
}

/// How many sales of `sale` a server has.
pub(crate) fn fields(server: &RedisServer, sale: &str) -> u64 {
    server.ask(&format!("HLEN sellout:{{{sale}}}:sales"))
}

/// What stands in the way of one sale.
pub(crate) fn fault(status: &LedgerStatus, sale: &str) -> Option<LedgerError> {
    status.sales.iter().find(|status| status.name == sale).and_then(|status| status.fault.clone())
}

/// Waits until all acknowledged sales of `sale` are known to be in Redis, whatever becomes of the others.
#[track_caller]
pub(crate) fn assert_goes_on(shop: &Shop, driver: &LedgerDriver, sale: &str) {
    eventually(&format!("{sale} goes on"), || {
        let status = driver.status();
        status.sales.iter().any(|standing| standing.name == sale && standing.delivered == shop.sold(sale))
    });
}
