//! A sale that goes on while Redis fails in each way that a single server can: the failure is said clearly, delivery
//! goes on by itself when its cause ends, and then Redis has every acknowledged sale once.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

#[path = "support/shop.rs"]
mod shop;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sellout::ledger::{
    Connection, Identity, LedgerDriver, LedgerError, Options, RedisLedger, SaleHead, SoldRecord, Source,
};
use sellout_testkit::{RedisServer, eventually};
use shop::{Shop, assert_goes_on, fault, fields, options};

/// A server, a shop that sells to it, and the ledger between them.
struct Scene {
    server: RedisServer,
    shop: Shop,
    driver: LedgerDriver,
}

impl Scene {
    /// A server with `arguments` that has the first 300 sales.
    fn with(arguments: &[&str], password: Option<&str>, options: Options) -> Self {
        let server = RedisServer::start_with(arguments, password);
        let shop = Shop::with(&["mx3", "festival"]);
        let driver = shop.deliver(&server.url(), options);
        let scene = Self { server, shop, driver };
        scene.sell();
        scene.assert_delivered();
        scene
    }

    fn new() -> Self {
        Self::with(&[], None, options())
    }

    fn sell(&self) {
        self.shop.sell("mx3", 200);
        self.shop.sell("festival", 100);
    }

    /// It shows `what` about the connection, and the sale goes on.
    #[track_caller]
    fn assert_shows(&self, what: &str, is_it: impl Fn(&LedgerError) -> bool) {
        self.sell();
        eventually(what, || match self.driver.status().connection {
            Connection::Broken { error, .. } => is_it(&error),
            _ => false,
        });
        self.sell();
        assert!(self.driver.status().backlog() >= 300);
    }

    /// It shows `expected` about the first sale, and the sale goes on.
    #[track_caller]
    fn assert_sale_shows(&self, expected: &LedgerError) {
        self.sell();
        eventually(&expected.to_string(), || fault(&self.driver.status(), "mx3").as_ref() == Some(expected));
        self.sell();
        assert!(self.driver.status().backlog() > 0);
    }

    #[track_caller]
    fn assert_delivered(&self) {
        self.shop.assert_delivered(&self.driver, &self.server.url(), |_| &self.server);
    }
}

fn is_down(error: &LedgerError) -> bool {
    matches!(error, LedgerError::NobodyListens { .. } | LedgerError::Unreachable { .. })
}

#[test]
fn a_redis_that_is_killed_with_a_log_goes_on_where_it_was() {
    let mut scene = Scene::with(&["--appendonly", "yes", "--appendfsync", "always"], None, options());
    for _ in 0..3 {
        let had = fields(&scene.server, "mx3");
        scene.server.kill();
        scene.assert_shows("it is down", is_down);
        scene.server.restart();
        assert!(fields(&scene.server, "mx3") >= had, "the log keeps what was acknowledged");
        scene.assert_delivered();
    }
}

#[test]
fn a_redis_that_is_killed_without_a_log_gets_everything_again() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.server.kill();
        scene.assert_shows("it is down", is_down);
        scene.server.restart();
        scene.assert_delivered();
    }
}

#[test]
fn a_full_redis_gets_the_rest_once_it_has_room() {
    let scene = Scene::new();
    scene.server.tell("CONFIG SET maxmemory-policy noeviction");
    scene.server.tell("CONFIG SET maxmemory 1");
    scene.assert_sale_shows(&LedgerError::OutOfMemory);
    let had = fields(&scene.server, "mx3");
    assert_eq!(had, 200, "nothing is taken in half");
    scene.server.tell("CONFIG SET maxmemory 0");
    scene.assert_delivered();
}

#[test]
fn a_redis_that_becomes_a_replica_and_a_primary_again_gets_what_it_lost() {
    let (scene, other) = (Scene::new(), RedisServer::start());
    scene.server.tell(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
    eventually("it has taken over that the other has nothing", || scene.server.ask::<u64>("DBSIZE") == 0);
    scene.assert_shows("it is read-only", |error| matches!(error, LedgerError::ReadOnly { .. }));
    scene.server.tell("REPLICAOF NO ONE");
    scene.assert_delivered();
}

#[test]
fn a_redis_that_stands_still_gets_nothing_twice() {
    let impatient = options().timeouts(Duration::from_secs(1), Duration::from_millis(200));
    let scene = Scene::with(&[], None, impatient);
    for _ in 0..2 {
        // Reads and writes wait, and run when it ends: after we gave them up.
        scene.server.tell("CLIENT PAUSE 1500 ALL");
        scene.assert_shows("it is late", |error| matches!(error, LedgerError::TimedOut { .. }));
        scene.server.tell("CLIENT UNPAUSE");
        scene.assert_delivered();
    }
}

#[test]
fn a_redis_that_forgets_its_scripts_is_told_them_again() {
    let scene = Scene::new();
    for _ in 0..5 {
        scene.server.tell("SCRIPT FLUSH");
        scene.sell();
        scene.assert_delivered();
    }
}

#[test]
fn a_password_that_is_changed_keeps_us_out_until_it_is_changed_back() {
    let scene = Scene::with(&[], Some("hunter2"), options());
    // Whoever is in stays in; the next connection isn't let in.
    let url = scene.server.url();
    let mut admin = redis::Client::open(url).unwrap().get_connection().unwrap();
    let tell = |admin: &mut redis::Connection, words: &[&str]| {
        let done: redis::RedisResult<redis::Value> = redis::cmd(words[0]).arg(&words[1..]).query(admin);
        assert!(done.is_ok(), "{words:?}: {done:?}");
    };
    tell(&mut admin, &["CONFIG", "SET", "requirepass", "another"]);
    scene.sell();
    tell(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    scene.assert_shows("the password is wrong", |error| matches!(error, LedgerError::WrongPassword { .. }));
    let shown = format!("{:?} {:?}", scene.driver, scene.driver.status());
    assert!(!shown.contains("hunter2"), "{shown}");
    tell(&mut admin, &["CONFIG", "SET", "requirepass", "hunter2"]);
    scene.assert_delivered();
}

#[test]
fn a_user_whose_rights_are_taken_away_is_told_so() {
    let scene = Scene::new();
    let forbidden = |error: &LedgerError| matches!(error, LedgerError::Forbidden { .. });
    scene.server.tell("ACL SETUSER default -eval -evalsha");
    scene.sell();
    eventually("it is forbidden", || fault(&scene.driver.status(), "mx3").as_ref().is_some_and(forbidden));
    scene.sell();
    scene.server.tell("ACL SETUSER default +@all");
    scene.assert_delivered();
}

#[test]
fn a_foreign_value_under_a_key_stops_its_sale_until_it_is_gone() {
    let scene = Scene::new();
    for key in ["sales", "ledger"] {
        scene.server.tell(&format!("RENAME sellout:{{mx3}}:{key} aside"));
        scene.server.tell(&format!("SET sellout:{{mx3}}:{key} foreign"));
        scene.assert_sale_shows(&LedgerError::WrongType { sale: "mx3".to_owned() });
        assert_goes_on(&scene.shop, &scene.driver, "festival");
        scene.server.tell(&format!("DEL sellout:{{mx3}}:{key} aside"));
        scene.assert_delivered();
    }
}

#[test]
fn a_redis_that_lacks_replicas_or_its_disk_is_said_to() {
    let scene = Scene::with(&["--save", "3600 1"], None, options());
    let address = format!("127.0.0.1:{}", scene.server.port());
    scene.server.tell("CONFIG SET min-replicas-to-write 1");
    scene.assert_sale_shows(&LedgerError::NoReplicas { address: address.clone() });
    scene.server.tell("CONFIG SET min-replicas-to-write 0");
    scene.assert_delivered();
    // Where its snapshot should go, there is something else.
    let (_, folder): (String, String) = scene.server.ask("CONFIG GET dir");
    let snapshot = std::path::Path::new(&folder).join("dump.rdb");
    std::fs::create_dir_all(snapshot.join("taken")).unwrap();
    scene.server.tell("BGSAVE");
    eventually("the snapshot has failed", || {
        scene.server.ask::<String>("INFO persistence").contains("rdb_last_bgsave_status:err")
    });
    scene.assert_sale_shows(&LedgerError::DiskFault { address });
    std::fs::remove_dir_all(&snapshot).unwrap();
    scene.server.tell("BGSAVE");
    scene.assert_delivered();
}

#[test]
fn a_redis_busy_with_a_script_is_said_to_be() {
    let scene = Scene::new();
    scene.server.tell("CONFIG SET lua-time-limit 10");
    let url = scene.server.url();
    let endless = std::thread::spawn(move || {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd("EVAL").arg("while true do end").arg(0).query::<redis::Value>(&mut connection)
    });
    scene.sell();
    let busy = |error: &LedgerError| matches!(error, LedgerError::Busy { .. });
    eventually("it is busy", || {
        let status = scene.driver.status();
        fault(&status, "mx3").as_ref().is_some_and(busy)
            || matches!(status.connection, Connection::Broken { error: LedgerError::Busy { .. }, .. })
    });
    scene.sell();
    scene.server.tell("SCRIPT KILL");
    assert!(endless.join().unwrap().is_err());
    scene.assert_delivered();
}

/// A journal that watches how much of it is read.
struct Watched {
    journal: Arc<dyn Source>,
    reads: AtomicU64,
    largest: AtomicUsize,
}

impl Source for Watched {
    fn identity(&self) -> Identity {
        self.journal.identity()
    }

    fn sales(&self) -> Vec<SaleHead> {
        self.journal.sales()
    }

    fn sold(&self) -> Vec<SaleHead> {
        self.journal.sold()
    }

    fn read(&self, sale: &str, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), String> {
        let read = self.journal.read(sale, after, limit, out);
        // Relaxed, here and below: counts of their own, that publish nothing.
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.largest.fetch_max(out.len(), Ordering::Relaxed);
        read
    }
}

#[test]
fn a_redis_that_is_away_for_long_leaves_its_backlog_in_the_journal() {
    let (mut server, shop) = (RedisServer::start(), Shop::with(&["mx3"]));
    let source = Arc::new(Watched { journal: shop.source(), reads: AtomicU64::new(0), largest: AtomicUsize::new(0) });
    let ledger = RedisLedger::new(&server.url(), Arc::clone(&source) as _, options()).unwrap();
    let driver = ledger.spawn().unwrap();
    shop.sell("mx3", 200);
    shop.assert_delivered(&driver, &server.url(), |_| &server);
    server.kill();
    let attempts = || match driver.status().connection {
        Connection::Broken { attempts, .. } => attempts,
        _ => 0,
    };
    eventually("it is down", || attempts() > 0);
    // Relaxed: see `Watched`; the look at the status comes after the loop's last read.
    let before = source.reads.load(Ordering::Relaxed);
    for _ in 0..20 {
        shop.sell("mx3", 1_000);
    }
    let tried = attempts();
    eventually("it is tried again and again", || attempts() > tried + 2);
    assert_eq!(driver.status().backlog(), 20_000);
    // Relaxed: as above.
    assert_eq!(source.reads.load(Ordering::Relaxed), before, "nothing is taken into memory that can't be delivered");

    server.restart();
    shop.assert_delivered(&driver, &server.url(), |_| &server);
    // Relaxed: as above.
    let (reads, largest) = (source.reads.load(Ordering::Relaxed) - before, source.largest.load(Ordering::Relaxed));
    assert_eq!(largest, 50, "one batch is in memory at a time");
    assert_eq!(reads, 20_200 / 50, "it is caught up in full batches, without one in vain");
}
