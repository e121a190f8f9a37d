//! A Redis that is away for as long as it likes: what it misses is in the journal, and not in memory. This binary has
//! one test, because it measures the memory of its own process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use sellout::{
    Engine, Sale, SaleSpec,
    ledger::{Connection, Identity, LedgerDriver, Options, RedisLedger, SaleHead, SoldRecord, Source},
};
use sellout_testkit::{PATIENCE, RedisServer, eventually};
use tempfile::TempDir;

/// Orders while Redis is there, and again while it is away.
const ORDERS: u32 = 60_000;
/// What so many orders may take in memory while Redis is away: their slots and their buyers' entries, which are there
/// for the stock's sake, take a quarter of it. As records they would take more than twice as much.
const LEEWAY_KIB: u64 = 4_096;

/// The memory of this process.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// A journal; and a broken variant that takes what is sold into memory, and hands it out from there.
struct Shelf {
    journal: Arc<dyn Source>,
    hoard: Option<Mutex<Vec<SoldRecord>>>,
}

impl Source for Shelf {
    fn identity(&self) -> Identity {
        self.journal.identity()
    }

    fn sales(&self) -> Vec<SaleHead> {
        self.journal.sales()
    }

    fn read(&self, sale: &str, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), String> {
        let Some(hoard) = &self.hoard else { return self.journal.read(sale, after, limit, out) };
        let hoard = hoard.lock().unwrap();
        out.extend(hoard.iter().skip(usize::try_from(after).unwrap()).take(limit).cloned());
        Ok(())
    }
}

impl Shelf {
    /// What the broken variant does whenever something was sold.
    fn note(&self) {
        let Some(hoard) = &self.hoard else { return };
        let mut hoard = hoard.lock().unwrap();
        loop {
            let had = hoard.len();
            self.journal.read("mx3", had as u64, 512, &mut hoard).unwrap();
            if hoard.len() == had {
                return;
            }
        }
    }
}

/// An engine that sells, and the ledger that delivers.
struct Scene {
    server: RedisServer,
    sale: Sale,
    shelf: Arc<Shelf>,
    driver: LedgerDriver,
    _engine: Engine,
    _folder: TempDir,
}

impl Scene {
    fn new(hoards: bool) -> Self {
        let (server, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
        let engine = Engine::open(folder.path().join("journal")).unwrap();
        let sale = engine.create(SaleSpec::new("mx3", 2 * ORDERS)).unwrap();
        let journal = engine.source().unwrap().unwrap();
        let shelf = Arc::new(Shelf { journal, hoard: hoards.then(Mutex::default) });
        let options = Options::default().retry(Duration::from_millis(10), Duration::from_millis(50));
        let driver = RedisLedger::new(&server.url(), Arc::clone(&shelf) as _, options).unwrap().spawn().unwrap();
        Self { server, sale, shelf, driver, _engine: engine, _folder: folder }
    }

    /// Sells [`ORDERS`] units; says by how much the memory has grown.
    fn sell(&self, first: u64) -> u64 {
        let before = resident_kib();
        for from in (first..first + u64::from(ORDERS)).step_by(1_000) {
            let confirm = |buyer| self.sale.reserve(buyer, 1).unwrap().confirm(buyer).unwrap();
            let confirmations: Vec<_> = (from..from + 1_000).map(confirm).collect();
            for confirmation in confirmations {
                confirmation.wait().unwrap();
            }
            self.shelf.note();
        }
        resident_kib().saturating_sub(before)
    }

    /// How much memory the orders take while Redis is away; then it gets them all.
    fn away(&mut self) -> u64 {
        self.sell(0);
        self.driver.wait_delivered(PATIENCE).unwrap();
        self.server.kill();
        let attempts = || match self.driver.status().connection {
            Connection::Broken { attempts, .. } => attempts,
            _ => 0,
        };
        eventually("it is away", || attempts() > 0);
        let away = self.sell(u64::from(ORDERS));
        assert_eq!(self.driver.status().backlog(), u64::from(ORDERS));
        let tried = attempts();
        eventually("it is tried again and again", || attempts() > tried + 2);
        self.server.restart();
        self.driver.wait_delivered(PATIENCE).unwrap();
        assert_eq!(self.server.ask::<u32>("HLEN sellout:{mx3}:sales"), 2 * ORDERS);
        away
    }
}

#[test]
fn a_redis_that_is_away_takes_no_memory_for_what_it_misses() {
    let mut scene = Scene::new(false);
    let taken = scene.away();
    assert!(taken < LEEWAY_KIB, "{taken} KiB");
    // The first stays, so that nobody gets memory that it has given back.
    let mut hoarding = Scene::new(true);
    let hoarded = hoarding.away();
    assert!(hoarded > LEEWAY_KIB, "a ledger that hoards must show: {hoarded} KiB, and {taken} KiB of one that doesn't");
}
