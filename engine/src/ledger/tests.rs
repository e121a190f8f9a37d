//! The script, alone and behind a network that fails; each proof with its negative control, a script that lacks the
//! check in question.

pub(super) mod network;
#[allow(dead_code, reason = "the black-box tests use the rest")]
#[path = "../../tests/support/shelf.rs"]
mod shelf;

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::{Value, aio::ConnectionLike};

use super::{
    dial::{Dialing, Wire},
    link::Link,
    link::Taken,
    row::Keys,
    *,
};
use crate::{Buyer, PaymentId, Timestamp};
use sellout_testkit::{PATIENCE, RedisServer, eventually};
use shelf::Shelf;

type Sequences = std::ops::RangeInclusive<u64>;

const OURS: Identity = Identity::new(7, 3, 30);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn records(sequences: Sequences) -> Vec<SoldRecord> {
    sequences.map(|sequence| Shelf::record("mx3", sequence)).collect()
}

/// A server and one way to hand batches to it.
struct Bench {
    server: RedisServer,
    endpoint: Endpoint,
    script: Script,
}

impl Bench {
    fn new(script: &str) -> Self {
        let server = RedisServer::start();
        let endpoint = Endpoint::parse(&server.url(), Arc::new(Tcp)).unwrap();
        Self { server, endpoint, script: Script::new(script) }
    }

    fn deliver(&self, identity: Identity, batch: &[SoldRecord]) -> Result<Taken, LedgerError> {
        let keys = Keys::new("sellout", "mx3");
        block_on(async {
            let mut link = Link::open(&self.endpoint, Options::default().limits()).await?;
            link.deliver(&self.script, &keys, identity, "mx3", batch).await
        })
    }

    fn dump(&self) -> [BTreeMap<String, String>; 2] {
        ["ledger", "sales"].map(|key| self.server.ask(&format!("HGETALL sellout:{{mx3}}:{key}")))
    }
}

/// The script with one piece taken out or changed.
fn broken(from: &str, to: &str) -> String {
    assert_eq!(DELIVER.matches(from).count(), 1, "{from}");
    DELIVER.replace(from, to)
}

#[test]
fn a_batch_that_lands_again_or_late_changes_nothing() {
    let repeats = |script: &str| {
        let bench = Bench::new(script);
        for batch in [1..=3, 4..=6] {
            assert_eq!(bench.deliver(OURS, &records(batch)), Ok(Taken::All));
        }
        let before = bench.dump();
        for late in [1..=3, 2..=5, 6..=6] {
            assert_eq!(bench.deliver(OURS, &records(late)), Ok(Taken::All));
        }
        before == bench.dump()
    };
    assert!(repeats(DELIVER));
    let blind = broken("if sequence > last then", "if true then");
    assert!(!repeats(&blind), "counting what is skipped must show");
}

#[test]
fn a_batch_beyond_the_watermark_is_refused_with_the_watermark() {
    let leaves_a_gap = |script: &str| {
        let bench = Bench::new(script);
        assert_eq!(bench.deliver(OURS, &records(1..=3)), Ok(Taken::All));
        bench.deliver(OURS, &records(5..=6))
    };
    assert_eq!(leaves_a_gap(DELIVER), Ok(Taken::Gap(3)));
    assert_eq!(leaves_a_gap(&broken("if expected > last + 1 then", "if false then")), Ok(Taken::All));
}

#[test]
fn a_record_that_differs_is_a_conflict_and_writes_nothing() {
    let rewrites = |script: &str| {
        let bench = Bench::new(script);
        assert_eq!(bench.deliver(OURS, &records(1..=3)), Ok(Taken::All));
        let before = bench.dump();
        let mut other = records(2..=9);
        other[1].order = "another".to_owned();
        let outcome = bench.deliver(OURS, &other);
        (outcome, before == bench.dump())
    };
    let conflict = LedgerError::Conflict { sale: "mx3".to_owned(), sequence: 3 };
    assert_eq!(rewrites(DELIVER), (Err(conflict), true));
    assert_eq!(
        rewrites(&broken("elseif found[index] ~= ARGV[at + 2] then", "elseif false then")),
        (Ok(Taken::All), false)
    );
}

#[test]
fn only_the_newest_opening_of_one_journal_may_write() {
    let later = |script: &str, identity: Identity| {
        let bench = Bench::new(script);
        assert_eq!(bench.deliver(OURS, &records(1..=3)), Ok(Taken::All));
        bench.deliver(identity, &records(3..=4))
    };
    let sale = || "mx3".to_owned();
    let outdated = LedgerError::StaleEpoch { sale: sale(), found: "3".to_owned(), ours: 2 };
    let other = LedgerError::OtherEngine { sale: sale(), found: format!("{:016x}", 7) };
    assert_eq!(later(DELIVER, Identity::new(7, 4, 40)), Ok(Taken::All));
    assert_eq!(later(DELIVER, Identity::new(7, 2, 20)), Err(outdated));
    assert_eq!(later(DELIVER, Identity::new(7, 3, 31)), Err(LedgerError::Forked { sale: sale(), ours: 3 }));
    assert_eq!(later(DELIVER, Identity::new(8, 9, 30)), Err(other));

    let no_epoch = broken("if stored_epoch > epoch then", "if false then");
    assert_eq!(later(&no_epoch, Identity::new(7, 2, 20)), Ok(Taken::All));
    let no_fork = broken("stored[3] ~= incarnation then", "false then");
    assert_eq!(later(&no_fork, Identity::new(7, 3, 31)), Ok(Taken::All));
    let no_engine = broken("if stored[1] and stored[1] ~= engine then", "if false then");
    assert_eq!(later(&no_engine, Identity::new(8, 9, 30)), Ok(Taken::All));
}

#[test]
fn a_batch_of_any_size_fits() {
    let bench = Bench::new(DELIVER);
    for batch in [1..=1, 2..=499, 500..=1_000, 1_001..=10_000, 1..=10_001] {
        assert_eq!(bench.deliver(OURS, &records(batch)), Ok(Taken::All));
    }
    let [ledger, sales] = bench.dump();
    let units: u32 = records(1..=10_001).iter().map(|record| record.quantity).sum();
    assert_eq!((ledger["last"].as_str(), ledger["units"].clone()), ("10001", units.to_string()));
    assert_eq!(sales.len(), 10_001);
}

/// Connections on which the watermarks, once they are remembered, are answered from memory, as a courier would that
/// doesn't look again after it has connected anew.
#[derive(Debug, Default)]
struct Remembering {
    asked: Arc<AtomicBool>,
    remembered: Arc<Mutex<Option<Vec<Value>>>>,
}

struct Memory {
    wire: Wire,
    asked: Arc<AtomicBool>,
    remembered: Arc<Mutex<Option<Vec<Value>>>>,
}

impl Dial for Remembering {
    fn dial<'a>(&'a self, address: &'a redis::ConnectionAddr) -> Dialing<'a> {
        let (asked, remembered) = (Arc::clone(&self.asked), Arc::clone(&self.remembered));
        Box::pin(async move { Ok(Wire::new(Memory { wire: Tcp.dial(address).await?, asked, remembered })) })
    }
}

impl ConnectionLike for Memory {
    fn req_packed_command<'a>(&'a mut self, command: &'a redis::Cmd) -> redis::RedisFuture<'a, Value> {
        self.wire.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> redis::RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let seen = self.wire.req_packed_commands(commands, offset, count).await?;
            let answers = self.remembered.lock().unwrap().clone().unwrap_or(seen);
            // Acquire, and take: whoever wants an answer remembered sees it done when the flag is down again.
            if self.asked.swap(false, Ordering::AcqRel) {
                *self.remembered.lock().unwrap() = Some(answers.clone());
            }
            Ok(answers)
        })
    }

    fn get_db(&self) -> i64 {
        self.wire.get_db()
    }
}

/// Delivers 100 sales to a Redis that then loses them all in a failover; what `verify` finds when the ledger has had
/// time to deliver them again.
fn through_a_failover(remember: bool) -> SaleComparison {
    let (mut server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 100);
    let dial = Arc::new(Remembering::default());
    let options = Options::default().retry(Duration::from_millis(1), Duration::from_millis(10));
    let ledger = RedisLedger::over(Arc::clone(&dial) as _, &server.url(), Arc::clone(&shelf) as _, options.clone());
    let driver = ledger.unwrap().spawn().unwrap();
    driver.wait_delivered(PATIENCE).unwrap();
    if remember {
        // Release: the answer that is remembered is one to a question asked from now on.
        dial.asked.store(true, Ordering::Release);
        eventually("an answer is remembered", || dial.remembered.lock().unwrap().is_some());
    }
    server.kill();
    eventually("the loss shows", || matches!(driver.status().connection, Connection::Broken { .. }));
    server.restart();
    let delivered = driver.wait_delivered(if remember { Duration::from_secs(1) } else { PATIENCE });
    assert_ne!(delivered.is_ok(), remember, "the script refuses to go on behind what isn't there: {delivered:?}");
    let url = server.url();
    let digest = |record: &SoldRecord| row::fingerprint(&record.order);
    block_on(verify(&url, &*shelf, &options, digest)).unwrap().pop().unwrap()
}

#[test]
fn what_a_failover_lost_is_seen_on_the_next_connection() {
    let comparison = through_a_failover(false);
    assert!(comparison.is_exact(), "{comparison:?}");
}

#[test]
fn control_a_courier_that_does_not_look_again_loses_what_a_failover_lost() {
    let comparison = through_a_failover(true);
    assert_eq!((comparison.missing, comparison.found), (100, 0), "{comparison:?}");
}

#[test]
fn what_callers_share_between_threads_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    fn sendable<T: Send>(_: &T) {}
    shared::<RedisLedger>();
    shared::<LedgerDriver>();
    shared::<LedgerStatus>();
    shared::<LedgerError>();
    shared::<Undelivered>();
    let ledger = RedisLedger::new("redis://127.0.0.1:1", Arc::new(Shelf::new(1, 1)), Options::default()).unwrap();
    sendable(&ledger.run(pending()));
}
