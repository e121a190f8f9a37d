//! Every confirmed sale reaches Redis once, whatever happens to Redis: against real servers, read back by `verify`.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

#[path = "support/shelf.rs"]
mod shelf;

use std::{
    io::{Read, Write},
    net::TcpListener,
    num::NonZeroU16,
    sync::Arc,
    thread,
    time::Duration,
};

use sellout::{
    Buyer, PaymentId, Timestamp,
    ledger::{
        Connection, Identity, LedgerDriver, LedgerError, Options, RedisLedger, SaleComparison, SaleHead, SoldRecord,
        Source, Writer, probe, verify,
    },
};
use sellout_testkit::{Fault, FaultProxy, Harm, PATIENCE, RedisServer, Way, eventually};
use shelf::Shelf;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Impatient, so that a test's failures pass quickly.
fn options() -> Options {
    let mut options = Options::default().retry(Duration::from_millis(10), Duration::from_millis(100));
    options.look_every = Duration::from_millis(100);
    options
}

fn small_batches() -> Options {
    options().batch(NonZeroU16::new(20).unwrap())
}

fn deliver(url: &str, source: &Arc<Shelf>, options: Options) -> LedgerDriver {
    RedisLedger::new(url, Arc::clone(source) as Arc<dyn Source>, options).unwrap().spawn().unwrap()
}

fn compare(server: &RedisServer, source: &Shelf) -> Vec<SaleComparison> {
    let digest =
        |record: &SoldRecord| u128::from(record.sequence).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    block_on(verify(&server.url(), source, &options(), digest)).unwrap()
}

#[track_caller]
fn assert_exact(server: &RedisServer, source: &Shelf) {
    for comparison in compare(server, source) {
        assert!(comparison.is_exact(), "{comparison:?}");
    }
}

#[track_caller]
fn assert_delivered(driver: &LedgerDriver, server: &RedisServer, source: &Shelf) {
    driver.wait_delivered(PATIENCE).unwrap();
    assert_exact(server, source);
}

fn delivered(driver: &LedgerDriver) -> u64 {
    driver.status().sales.iter().map(|sale| sale.delivered).sum()
}

fn fault(driver: &LedgerDriver, sale: &str) -> Option<LedgerError> {
    driver.status().sales.into_iter().find(|status| status.name == sale).and_then(|status| status.fault)
}

#[track_caller]
fn wait_for_fault(driver: &LedgerDriver, sale: &str, expected: &LedgerError) {
    eventually(&expected.to_string(), || fault(driver, sale).as_ref() == Some(expected));
}

#[test]
fn ten_thousand_sales_are_delivered_once() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 10_000);
    let driver = deliver(&server.url(), &shelf, options());
    assert_delivered(&driver, &server, &shelf);
    let status = driver.stop();
    assert_eq!((status.backlog(), status.connection), (0, Connection::Stopped));
}

#[test]
fn several_sales_are_delivered_side_by_side_as_they_are_sold() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    let driver = deliver(&server.url(), &shelf, small_batches());
    for round in 0..20 {
        for sale in ["mx3", "festival", "shoe.42"] {
            shelf.sell(sale, 1 + round * 7);
        }
        if round % 5 == 0 {
            assert_delivered(&driver, &server, &shelf);
        }
    }
    assert_delivered(&driver, &server, &shelf);
    assert_eq!(driver.status().sales.len(), 3);
}

#[test]
fn a_redis_that_dies_and_comes_back_empty_gets_every_sale() {
    let (mut server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 5_000);
    let driver = deliver(&server.url(), &shelf, small_batches());
    eventually("some are delivered", || delivered(&driver) > 1_000);
    server.kill();
    eventually("the loss shows", || matches!(driver.status().connection, Connection::Broken { .. }));
    shelf.sell("mx3", 5_000);
    assert!(driver.status().backlog() >= 5_000);
    server.restart();
    assert_delivered(&driver, &server, &shelf);
}

#[test]
fn a_redis_that_starts_late_gets_every_sale() {
    let (mut server, shelf) = (RedisServer::stopped(&[], None), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 100);
    let driver = deliver(&server.url(), &shelf, options());
    let late = driver.wait_delivered(Duration::from_secs(2)).unwrap_err();
    assert_eq!(late.backlog, 100);
    assert!(matches!(late.cause, Some(LedgerError::NobodyListens { .. })), "{late}");
    server.restart();
    assert_delivered(&driver, &server, &shelf);
}

#[test]
fn what_redis_loses_at_rest_is_delivered_again() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 1_500);
    let driver = deliver(&server.url(), &shelf, options());
    for loss in [
        "FLUSHALL",
        "SCRIPT FLUSH",
        "DEL sellout:{mx3}:sales",
        "DEL sellout:{mx3}:ledger",
        "HDEL sellout:{mx3}:sales 700",
    ] {
        assert_delivered(&driver, &server, &shelf);
        server.tell(loss);
        // Nobody waits or sells: the ledger finds out by itself.
        eventually(loss, || compare(&server, &shelf).iter().all(SaleComparison::is_exact));
        shelf.sell("mx3", 10);
    }
    assert_delivered(&driver, &server, &shelf);
}

#[test]
fn who_waits_is_not_told_of_what_redis_has_lost_since() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 1_500);
    let mut seldom = options();
    seldom.look_every = Duration::MAX;
    let driver = deliver(&server.url(), &shelf, seldom);
    for _ in 0..3 {
        assert_delivered(&driver, &server, &shelf);
        server.tell("FLUSHALL");
    }
}

#[test]
fn what_redis_loses_while_sales_go_on_is_delivered_again() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 10_000);
    let driver = deliver(&server.url(), &shelf, small_batches());
    for least in [1_000, 3_000] {
        eventually("some are delivered", || delivered(&driver) > least);
        server.tell("FLUSHALL");
    }
    assert_delivered(&driver, &server, &shelf);
}

#[test]
fn a_failover_that_loses_acknowledged_sales_loses_none() {
    let (server, empty, shelf) = (RedisServer::start(), RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 5_000);
    let driver = deliver(&server.url(), &shelf, small_batches());
    eventually("some are delivered", || delivered(&driver) > 1_000);
    // Our address becomes a replica of a server that has nothing, and then the primary.
    server.tell(&format!("REPLICAOF 127.0.0.1 {}", empty.port()));
    let read_only = |connection| matches!(connection, Connection::Broken { error: LedgerError::ReadOnly { .. }, .. });
    eventually("the replica is refused", || read_only(driver.status().connection));
    eventually("it has lost everything", || server.ask::<u64>("DBSIZE") == 0);
    shelf.sell("mx3", 5_000);
    server.tell("REPLICAOF NO ONE");
    assert_delivered(&driver, &server, &shelf);
}

#[test]
fn answers_that_come_too_late_deliver_no_sale_twice() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 5_000);
    let impatient = small_batches().timeouts(Duration::from_secs(1), Duration::from_millis(50));
    let driver = deliver(&server.url(), &shelf, impatient);
    for least in [500, 1_500, 2_500] {
        eventually("some are delivered", || delivered(&driver) > least);
        server.tell("CLIENT PAUSE 300 ALL");
        let late = |connection| matches!(connection, Connection::Broken { error: LedgerError::TimedOut { .. }, .. });
        eventually("an answer is late", || late(driver.status().connection));
    }
    assert_delivered(&driver, &server, &shelf);
}

#[test]
fn a_ledger_that_stops_anywhere_is_continued_by_the_next() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 3_000);
    for least in [0, 500, 1_500] {
        let driver = deliver(&server.url(), &shelf, small_batches());
        eventually("some are delivered", || delivered(&driver) > least);
        drop(driver);
    }
    let reopened = Arc::new(shelf.copy(2, 2));
    let driver = deliver(&server.url(), &reopened, options());
    assert_delivered(&driver, &server, &shelf);
}

#[test]
fn two_copies_of_one_journal_are_told_apart() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(5, 1)));
    shelf.sell("mx3", 50);
    let driver = deliver(&server.url(), &shelf, options());
    assert_delivered(&driver, &server, &shelf);

    let twin = deliver(&server.url(), &Arc::new(shelf.copy(5, 2)), options());
    wait_for_fault(&twin, "mx3", &LedgerError::Forked { sale: "mx3".to_owned(), ours: 5 });
    let old = deliver(&server.url(), &Arc::new(shelf.copy(4, 3)), options());
    let stale = LedgerError::StaleEpoch { sale: "mx3".to_owned(), found: "5".to_owned(), ours: 4 };
    wait_for_fault(&old, "mx3", &stale);

    shelf.sell("mx3", 50);
    assert_delivered(&driver, &server, &shelf);
    let newer = Arc::new(shelf.copy(6, 4));
    let successor = deliver(&server.url(), &newer, options());
    assert_delivered(&successor, &server, &newer);
    let fenced = LedgerError::StaleEpoch { sale: "mx3".to_owned(), found: "6".to_owned(), ours: 5 };
    wait_for_fault(&driver, "mx3", &fenced);
    assert_exact(&server, &newer);
}

#[test]
fn another_engine_with_a_sale_of_the_same_name_is_refused() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 50);
    assert_delivered(&deliver(&server.url(), &shelf, options()), &server, &shelf);
    let other = Arc::new(Shelf::of(Identity::new(8, 1, 1)));
    other.sell("mx3", 60);
    let driver = deliver(&server.url(), &other, options());
    let expected = LedgerError::OtherEngine { sale: "mx3".to_owned(), found: "0000000000000007".to_owned() };
    wait_for_fault(&driver, "mx3", &expected);
    assert_exact(&server, &shelf);
}

#[test]
fn a_restored_old_journal_stops_its_sale_and_no_other() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 40);
    let restored = Arc::new(shelf.copy(2, 2));
    shelf.sell("mx3", 20);
    assert_delivered(&deliver(&server.url(), &shelf, options()), &server, &shelf);

    let driver = deliver(&server.url(), &restored, options());
    let ahead = LedgerError::Ahead { sale: "mx3".to_owned(), watermark: 60, last: 40 };
    wait_for_fault(&driver, "mx3", &ahead);
    restored.sell("festival", 30);
    eventually("the other sale is delivered", || delivered(&driver) >= 30 && fault(&driver, "festival").is_none());

    // It sells on, past the watermark: its 41st to 60th sale are not the ones in Redis.
    (0..30).for_each(|_| restored.sell_otherwise("mx3"));
    wait_for_fault(&driver, "mx3", &LedgerError::Conflict { sale: "mx3".to_owned(), sequence: 60 });
    assert_exact(&server, &shelf);
}

#[test]
fn a_password_is_needed_and_never_shown() {
    let server = RedisServer::start_with(&[], Some("hunter2"));
    let (shelf, address) = (Arc::new(Shelf::new(1, 1)), format!("127.0.0.1:{}", server.port()));
    shelf.sell("mx3", 20);
    let without = format!("redis://{address}");
    let wrong = format!("redis://:hunter3@{address}");
    let ask = |url: &str| block_on(probe(url, PATIENCE));
    assert_eq!(ask(&without), Err(LedgerError::NeedsPassword { address: address.clone() }));
    assert_eq!(ask(&wrong), Err(LedgerError::WrongPassword { address: address.clone() }));
    assert_eq!(ask(&server.url()), Ok(()));

    let driver = deliver(&wrong, &shelf, options());
    eventually("the refusal shows", || matches!(driver.status().connection, Connection::Broken { .. }));
    let shown = format!("{driver:?} {:?} {}", driver.status(), driver.wait_delivered(Duration::ZERO).unwrap_err());
    assert!(shown.contains("refused the user or the password") && !shown.contains("hunter"), "{shown}");
    drop(driver);
    assert_delivered(&deliver(&server.url(), &shelf, options()), &server, &shelf);
}

#[test]
fn an_answer_that_is_cut_short_is_told_from_a_server_that_is_no_redis() {
    let server = RedisServer::start();
    let proxy = FaultProxy::before(server.port());
    let probed = |after| {
        proxy.plan([Some(Fault { way: Way::Replies, after, harm: Harm::Cut })]);
        let probed = block_on(probe(&proxy.url(), PATIENCE));
        assert!(proxy.carried()[0].struck);
        probed
    };
    let door = "+PONG\r\n".len() as u64;
    for after in 0..door {
        assert!(matches!(probed(after), Err(LedgerError::NotRedis { .. })), "{after}");
    }
    for after in door..door + 20 {
        assert!(matches!(probed(after), Err(LedgerError::Unreachable { .. })), "{after}");
    }
}

#[test]
fn probe_says_what_is_wrong() {
    let ask = |url: &str| block_on(probe(url, Duration::from_millis(500)));
    let primary = RedisServer::start();
    assert_eq!(ask(&primary.url()), Ok(()));
    assert_eq!(primary.ask::<u64>("DBSIZE"), 0);

    let replica = RedisServer::start();
    replica.tell(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    assert!(matches!(ask(&replica.url()), Err(LedgerError::ReadOnly { .. })));
    assert!(matches!(ask(&RedisServer::stopped(&[], None).url()), Err(LedgerError::NobodyListens { .. })));
    assert!(matches!(ask("http://127.0.0.1"), Err(LedgerError::Url { .. })));
    assert!(matches!(ask("redis://127.0.0.1/abc"), Err(LedgerError::Url { .. })));

    for (answer, expected) in
        [(Some("HTTP/1.1 400 Bad Request\r\n\r\n"), "not"), (Some(""), "not"), (None, "no answer")]
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let peer = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 64]);
            match answer {
                Some(answer) => client.write_all(answer.as_bytes()).unwrap(),
                None => while client.read(&mut [0; 64]).is_ok_and(|count| count > 0) {},
            }
        });
        match (ask(&url).unwrap_err(), expected) {
            (LedgerError::NotRedis { .. }, "not") | (LedgerError::TimedOut { .. }, "no answer") => {}
            (error, _) => panic!("{error:?} to {answer:?}"),
        }
        peer.join().unwrap();
    }
}

#[test]
fn options_and_urls_are_checked_at_once() {
    let new = |url: &str, options: Options| RedisLedger::new(url, Arc::new(Shelf::new(1, 1)), options).map(drop);
    assert!(matches!(new("localhost:6379", options()), Err(LedgerError::Url { .. })));
    assert!(matches!(new("redis://localhost", options().prefix("a{b}")), Err(LedgerError::Prefix { .. })));
    assert_eq!(new("redis://localhost", options()), Ok(()));
}

#[test]
fn verify_catches_what_delivery_must_not_do() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(1, 1)));
    shelf.sell("mx3", 30);
    let ledger = RedisLedger::new(&server.url(), Arc::clone(&shelf) as _, options()).unwrap();
    let record: String = {
        block_on(ledger.run(async { ledger.delivered(PATIENCE).await.unwrap() }));
        server.ask("HGET sellout:{mx3}:sales 7")
    };
    assert_exact(&server, &shelf);
    let tampered = |command: &str| {
        server.tell(command);
        let comparison = compare(&server, &shelf).remove(0);
        assert!(!comparison.is_exact(), "{command}");
        server.tell("FLUSHALL");
        block_on(ledger.run(async { ledger.delivered(PATIENCE).await.unwrap() }));
        assert_exact(&server, &shelf);
        (comparison.missing, comparison.duplicates, comparison.different)
    };
    assert_eq!(tampered("HDEL sellout:{mx3}:sales 7"), (1, 0, 0));
    assert_eq!(tampered("HSET sellout:{mx3}:sales 7 nothing"), (0, 0, 1));
    assert_eq!(tampered(&format!("HSET sellout:{{mx3}}:sales 31 {record}")), (0, 1, 0));
    assert_eq!(tampered(&format!("HSET sellout:{{mx3}}:sales 07 {record}")), (0, 1, 0));
    assert_eq!(tampered(&format!("HSET sellout:{{mx3}}:sales 8 {record}")), (0, 1, 1));
    assert_eq!(tampered("HINCRBY sellout:{mx3}:ledger units 1"), (0, 0, 0));
    assert_eq!(tampered("HINCRBY sellout:{mx3}:ledger last -1"), (0, 0, 0));
    assert_eq!(tampered("FLUSHALL"), (30, 0, 0));
}

#[test]
fn verify_says_who_delivered_and_what_is_there_is_read_back_by_number() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(5, 1)));
    let writer = |source: &Shelf| compare(&server, source).remove(0).writer;
    shelf.sell("mx3", 50);
    assert_eq!(writer(&shelf), Writer::Nobody);
    assert_delivered(&deliver(&server.url(), &shelf, options()), &server, &shelf);
    assert_eq!((writer(&shelf), writer(&shelf.copy(6, 2))), (Writer::Ours, Writer::Ours));
    assert_eq!(writer(&shelf.copy(4, 3)), Writer::LaterOpening { epoch: 5 });
    assert_eq!(writer(&shelf.copy(5, 2)), Writer::OtherCopy);
    let other = Shelf::of(Identity::new(8, 5, 1));
    other.sell("mx3", 50);
    assert_eq!(writer(&other), Writer::OtherEngine { engine: 7 });

    let read = |numbers| block_on(sellout::ledger::delivered(&server.url(), "mx3", numbers, &options())).unwrap();
    let sold = |numbers: std::ops::RangeInclusive<u64>| numbers.map(|number| Shelf::record("mx3", number));
    assert_eq!(read(10..=20), sold(10..=20).collect::<Vec<_>>());
    assert_eq!(read(48..=u64::MAX), sold(48..=50).collect::<Vec<_>>(), "up to the watermark");
    server.tell("HDEL sellout:{mx3}:sales 12");
    server.tell("HSET sellout:{mx3}:sales 13 nothing");
    assert_eq!(read(11..=14), sold(11..=11).chain(sold(14..=14)).collect::<Vec<_>>());
    server.tell("HSET sellout:{mx3}:ledger epoch often");
    assert_eq!(writer(&shelf), Writer::Unreadable);
}

#[test]
fn a_person_with_redis_cli_can_read_it() {
    let (server, shelf) = (RedisServer::start(), Arc::new(Shelf::new(3, 0xBEE)));
    shelf.sell("mx3", 3);
    assert_delivered(&deliver(&server.url(), &shelf, options()), &server, &shelf);
    let ledger = server.cli(&["HGETALL", "sellout:{mx3}:ledger"]);
    let sale = server.cli(&["HGET", "sellout:{mx3}:sales", "2"]);
    assert!(ledger.contains("\"last\"\n 8) \"3\"\n"), "{ledger}");
    assert!(sale.contains("10002") && sale.contains("2026-04-01T02:00:00.002Z"), "{sale}");
}
