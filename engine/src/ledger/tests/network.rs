//! A network that fails at any byte: what is said to Redis and back is always the same, so it can be ended after every
//! single byte of it, held back until the client gives up, and said again later; or all of that in turn, as a seed
//! says. Afterwards everything is in Redis once, and nothing that was claimed meanwhile wasn't so.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    ops::{Range, RangeInclusive},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use redis::FromRedisValue;
use sellout_testkit::{Carried, Fault, FaultProxy, Harm, PATIENCE, RedisServer, Way};

use super::{super::*, broken, shelf::Shelf};

/// A server of its own, and the proxy before it.
pub(in crate::ledger) struct Scene {
    server: RedisServer,
    pub(in crate::ledger) proxy: FaultProxy,
    admin: Mutex<redis::Connection>,
}

impl Scene {
    fn new() -> Self {
        let server = RedisServer::start();
        let proxy = FaultProxy::before(server.port());
        let admin = Mutex::new(redis::Client::open(server.url()).unwrap().get_connection().unwrap());
        Self { server, proxy, admin }
    }

    /// As new, with `faults` on the coming connections.
    fn begin(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.proxy.plan(faults);
        for command in ["FLUSHALL", "SCRIPT FLUSH"] {
            self.ask::<redis::Value>(command);
        }
    }

    /// What Redis says to somebody who doesn't come through the proxy.
    pub(in crate::ledger) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut question = redis::cmd(words.next().unwrap());
        question.arg(words.collect::<Vec<_>>()).query(&mut *self.admin()).unwrap()
    }

    fn admin(&self) -> MutexGuard<'_, redis::Connection> {
        self.admin.lock().unwrap()
    }
}

/// Something that is delivered, in a conversation that is the same to the byte each time, if nothing disturbs it.
pub(in crate::ledger) trait Delivery: Sync {
    /// Delivers all of it, and gives up an answer so many times later than it usually does. Says whether it took
    /// somebody for no Redis, or what it claimed that wasn't so.
    fn deliver(&self, scene: &Scene, later: u32) -> Result<bool, String>;

    /// Whether Redis has all of it once.
    fn judge(&self, scene: &Scene) -> Result<(), String>;
}

/// What was wrong.
#[derive(Debug)]
pub(in crate::ledger) struct Flaw {
    /// Found when old requests had arrived once more, and not before.
    pub(in crate::ledger) late: bool,
    pub(in crate::ledger) what: String,
}

/// What is said when nothing disturbs.
pub(in crate::ledger) fn undisturbed(delivery: &dyn Delivery) -> Carried {
    record(&Scene::new(), delivery)
}

fn record(scene: &Scene, delivery: &dyn Delivery) -> Carried {
    scene.begin([]);
    // So patient that it doesn't give up by itself.
    delivery.deliver(scene, 1_000).and_then(|_| delivery.judge(scene)).unwrap();
    let mut carried = scene.proxy.carried();
    assert_eq!(carried.len(), 1, "it needs one connection");
    carried.remove(0)
}

/// A cut behind every byte that goes `way`.
pub(in crate::ledger) fn every_cut(said: &Carried, way: Way) -> Vec<Fault> {
    (0..bytes(said, way).len() as u64).map(|after| Fault { way, after, harm: Harm::Cut }).collect()
}

/// A silence before and behind every line, and within it: lines are what Redis's protocol is made of.
fn every_hold(said: &Carried, way: Way) -> Vec<Fault> {
    let bytes = bytes(said, way);
    let ends = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\r\n"));
    let offsets = std::iter::once(0).chain(ends.flat_map(|end| [end + 1, end + 2])).filter(|at| *at < bytes.len());
    offsets.map(|after| Fault { way, after: after as u64, harm: Harm::Hold }).collect()
}

fn bytes(carried: &Carried, way: Way) -> &[u8] {
    match way {
        Way::Requests => &carried.requests,
        Way::Replies => &carried.replies,
    }
}

/// One delivery for each fault, which strikes its first connection; during the next connection, and at the end, every
/// old request arrives once more.
pub(in crate::ledger) fn sweep(delivery: &dyn Delivery, said: &Carried, faults: &[Fault]) -> Vec<Flaw> {
    // Most of a delivery's time is spent waiting: for the other end, or to try again.
    const WORKERS: usize = 6;
    let (next, flaws) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let scene = Scene::new();
        assert!(record(&scene, delivery) == *said, "another conversation than the one that was recorded");
        // Relaxed: a number, given once.
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err((late, what)) = strike(&scene, delivery, said, *fault) {
                flaws.lock().unwrap().push(Flaw { late, what: format!("{fault:?}: {what}") });
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(faults.len()) {
            scope.spawn(work);
        }
    });
    flaws.into_inner().unwrap()
}

fn strike(scene: &Scene, delivery: &dyn Delivery, said: &Carried, fault: Fault) -> Result<(), (bool, String)> {
    // Where in the next connection what was held back arrives: anywhere, as it comes.
    let at = fault.after.wrapping_mul(7_919) % said.requests.len() as u64;
    let replay = (fault.harm == Harm::Hold).then_some(Fault { way: Way::Requests, after: at, harm: Harm::Replay });
    let mut carried = Vec::new();
    // A client that gives up soon may do so before its turn, where the machine stands still. Then it is tried again
    // with one that is more patient.
    for later in [1, 4, 16, 64] {
        scene.begin([Some(fault), replay]);
        let mistaken = delivery.deliver(scene, later).map_err(|what| (false, what))?;
        delivery.judge(scene).map_err(|what| (false, what))?;
        carried = scene.proxy.carried();
        if mistaken && carried[0].replies.starts_with(b"+PONG\r\n") {
            return Err((false, "a Redis that had answered was taken for something else".to_owned()));
        }
        if carried[0].struck {
            break;
        }
    }
    let after = usize::try_from(fault.after).unwrap();
    let passed = bytes(&carried[0], fault.way);
    assert!(carried[0].struck && carried.len() > 1, "{fault:?} did not strike");
    // Requests that were held back have arrived since.
    assert!(passed.starts_with(&bytes(said, fault.way)[..after]), "{fault:?} struck elsewhere");
    assert!(passed.len() == after || (fault.harm, fault.way) == (Harm::Hold, Way::Requests), "{fault:?} struck late");
    scene.proxy.replay();
    delivery.judge(scene).map_err(|what| (true, what))
}

/// Seeded choices: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Up to nine connections with faults of these kinds, as `seed` says.
fn mixture(seed: u64, said: &Carried, harms: &[Harm]) -> Vec<Option<Fault>> {
    let mut dice = Dice(seed);
    let connections = 1 + dice.below(9);
    let fault = |_| {
        let way = if dice.below(2) == 0 { Way::Requests } else { Way::Replies };
        // Beyond the end: a connection on which nothing goes wrong.
        let after = dice.below(bytes(said, way).len() as u64 * 5 / 4);
        let harm = harms[usize::try_from(dice.below(harms.len() as u64)).unwrap()];
        (dice.below(8) > 0).then_some(Fault { way, after, harm })
    };
    (0..connections).map(fault).collect()
}

/// Delivers through the mixture of `seed`, and once more everything at the end; gives back what was carried.
fn through(scene: &Scene, delivery: &dyn Delivery, faults: &[Option<Fault>]) -> Result<Vec<Carried>, String> {
    scene.begin(faults.iter().copied());
    // So patient that it is the faults that it gives up for.
    delivery.deliver(scene, 3)?;
    delivery.judge(scene)?;
    let carried = scene.proxy.carried();
    scene.proxy.replay();
    delivery.judge(scene).map(|()| carried)
}

/// The seeds that show something wrong, and how often a fault struck.
pub(in crate::ledger) fn mixtures(
    delivery: &dyn Delivery,
    said: &Carried,
    harms: &[Harm],
    seeds: Range<u64>,
) -> (Vec<String>, usize) {
    let scene = Scene::new();
    let (mut flaws, mut struck) = (Vec::new(), 0);
    for seed in seeds {
        let faults = mixture(seed, said, harms);
        match through(&scene, delivery, &faults) {
            Ok(carried) => struck += carried.iter().filter(|carried| carried.struck).count(),
            Err(what) => flaws.push(format!("{what}: again by the seed {seed}, which makes {faults:?}")),
        }
    }
    (flaws, struck)
}

/// Orders, delivered by the real loop with a script.
struct Orders {
    script: String,
    /// How long an answer may take.
    response: Duration,
    /// How long all of it may take.
    patience: Duration,
    /// The openings of the journal: in each it sells, and delivers, five more.
    openings: RangeInclusive<u32>,
}

impl Orders {
    fn new(script: &str) -> Self {
        Self { script: script.to_owned(), response: PATIENCE, patience: PATIENCE, openings: 1..=1 }
    }

    /// With a client that gives up soon.
    fn hasty(script: &str) -> Self {
        Self { response: Duration::from_millis(60), ..Self::new(script) }
    }

    fn sold(&self) -> u64 {
        5 * u64::from(*self.openings.end())
    }

    fn options(&self, later: u32) -> Options {
        let options = Options::default().batch(NonZeroU16::new(2).unwrap());
        let options = options.timeouts(PATIENCE, self.response * later);
        let mut options = options.retry(Duration::from_millis(1), Duration::from_millis(4));
        // So that nothing is said that depends on the time it takes.
        (options.poll, options.look_every) = (Duration::from_millis(1), Duration::from_hours(1));
        options
    }

    /// As [`is_mistaken`], for all that `status` claims.
    fn check(&self, status: &LedgerStatus, scene: &Scene) -> Result<bool, String> {
        let last: Option<u64> = scene.ask("HGET sellout:{mx3}:ledger last");
        let delivered = status.sales.iter().map(|sale| sale.delivered).max();
        if delivered > Some(last.unwrap_or_default()) {
            return Err(format!("{delivered:?} are claimed, {last:?} are there"));
        }
        if let Some(fault) = status.sales.iter().find_map(|sale| sale.fault.clone()) {
            return Err(format!("a fault of the sale is claimed: {fault}"));
        }
        is_mistaken(&status.connection, self.response < PATIENCE)
    }
}

/// Whether it takes somebody for no Redis: who hangs up at the first word may be one. If it says something else than
/// that the connection broke, where that is all that happens, it is wrong.
pub(in crate::ledger) fn is_mistaken(connection: &Connection, hasty: bool) -> Result<bool, String> {
    match connection {
        Connection::Broken { error: LedgerError::NotRedis { .. }, .. } => Ok(true),
        Connection::Broken { error: LedgerError::Unreachable { .. }, .. } => Ok(false),
        Connection::Broken { error: LedgerError::TimedOut { .. }, .. } if hasty => Ok(false),
        Connection::Broken { error, .. } => Err(format!("this was claimed: {error}")),
        _ => Ok(false),
    }
}

impl Delivery for Orders {
    fn deliver(&self, scene: &Scene, later: u32) -> Result<bool, String> {
        let mut mistaken = false;
        let mut shelf = Arc::new(Shelf::new(0, 0));
        shelf.sell("mx3", 5 * u64::from(self.openings.start() - 1));
        for opening in self.openings.clone() {
            shelf = Arc::new(shelf.copy(opening, opening.into()));
            shelf.sell("mx3", 3);
            let mut ledger =
                RedisLedger::new(&scene.proxy.url(), Arc::clone(&shelf) as _, self.options(later)).unwrap();
            ledger.script = Script::new(&self.script);
            let mut outcome = Ok(());
            let watched = async {
                for more in [0, 2] {
                    shelf.sell("mx3", more);
                    let (mut wait, mut seen) = (pin!(ledger.delivered(self.patience)), None);
                    let delivered = poll_fn(|context| {
                        let status = ledger.status();
                        if outcome.is_ok() && seen.as_ref() != Some(&status) {
                            outcome = self.check(&status, scene).map(|is| mistaken |= is);
                            seen = Some(status);
                        }
                        wait.as_mut().poll(context)
                    });
                    if let Err(late) = delivered.await {
                        outcome = Err(late.to_string());
                    }
                    if outcome.is_err() {
                        return;
                    }
                }
            };
            super::block_on(ledger.run(watched));
            outcome?;
        }
        Ok(mistaken)
    }

    fn judge(&self, scene: &Scene) -> Result<(), String> {
        let ledger: Vec<Option<u64>> = scene.ask("HMGET sellout:{mx3}:ledger last units");
        let sales: BTreeMap<u64, String> = scene.ask("HGETALL sellout:{mx3}:sales");
        let records = super::records(1..=self.sold());
        let units = records.iter().map(|record| u64::from(record.quantity)).sum();
        let expected = records.iter().map(|record| (record.sequence, row::text(record))).collect();
        if (ledger.as_slice(), &sales) == ([Some(self.sold()), Some(units)].as_slice(), &expected) {
            Ok(())
        } else {
            Err(format!("{ledger:?} {sales:?}"))
        }
    }
}

/// A script that counts what it is given, whether it has it or not.
fn blind() -> String {
    broken("if sequence > last then", "if true then")
}

#[test]
fn a_connection_that_ends_after_any_byte_delivers_every_order_once() {
    let orders = Orders::new(DELIVER);
    let said = undisturbed(&orders);
    let faults = [every_cut(&said, Way::Requests), every_cut(&said, Way::Replies)].concat();
    assert!(faults.len() > 3_000, "{}: the script alone has as many", faults.len());
    let flaws = sweep(&orders, &said, &faults);
    assert!(flaws.is_empty(), "{} of {}: {:?}", flaws.len(), faults.len(), &flaws[0]);
}

#[test]
fn control_a_script_that_counts_what_it_has_is_caught_by_a_cut_and_by_a_replay() {
    let orders = Orders::new(&blind());
    let said = undisturbed(&orders);
    let flaws = sweep(&orders, &said, &every_cut(&said, Way::Replies));
    for late in [false, true] {
        assert!(flaws.iter().any(|flaw| flaw.late == late), "late {late}: {flaws:?}");
    }
}

#[test]
fn control_a_script_that_appends_under_its_own_counter_is_caught_by_a_cut() {
    let appends = "for at = 5, #ARGV, 3 do
        redis.call('HSET', KEYS[2], redis.call('HLEN', KEYS[2]) + 1, ARGV[at + 2])
        redis.call('HINCRBY', KEYS[1], 'units', ARGV[at + 1])
    end
    local last = tostring(redis.call('HLEN', KEYS[2]))
    redis.call('HSET', KEYS[1], 'last', last)
    return { 'OK', last, '' }";
    let orders = Orders { patience: Duration::from_millis(500), ..Orders::new(appends) };
    let said = undisturbed(&orders);
    let flaws = sweep(&orders, &said, &every_cut(&said, Way::Replies));
    assert!(flaws.iter().any(|flaw| !flaw.late), "{flaws:?}");
}

#[test]
fn answers_and_requests_held_back_past_the_time_limit_deliver_every_order_once() {
    let orders = Orders::hasty(DELIVER);
    let said = undisturbed(&orders);
    let faults = [every_hold(&said, Way::Requests), every_hold(&said, Way::Replies)].concat();
    assert!(faults.len() > 100, "{}", faults.len());
    let flaws = sweep(&orders, &said, &faults);
    assert!(flaws.is_empty(), "{} of {}: {:?}", flaws.len(), faults.len(), &flaws[0]);
}

#[test]
fn control_a_script_that_counts_what_it_has_is_caught_by_what_was_held_back() {
    let orders = Orders::hasty(&blind());
    let said = undisturbed(&orders);
    let flaws = sweep(&orders, &said, &every_hold(&said, Way::Requests));
    assert!(flaws.iter().any(|flaw| !flaw.late), "{flaws:?}");
}

#[test]
fn cuts_silences_and_old_batches_in_any_mixture_and_restarts_deliver_every_order_once() {
    let mixed = |script: &str, seeds| {
        let said = undisturbed(&Orders::new(script));
        let orders = Orders { openings: 1..=3, ..Orders::hasty(script) };
        mixtures(&orders, &said, &[Harm::Cut, Harm::Cut, Harm::Hold, Harm::Replay], seeds)
    };
    let (flaws, struck) = mixed(DELIVER, 0..60);
    assert!(flaws.is_empty(), "{flaws:?}");
    // Fewer where the machine is so slow that clients give up by themselves.
    assert!(struck > 60, "{struck}");
    let (flaws, _) = mixed(&blind(), 0..10);
    assert!(!flaws.is_empty(), "counting what is skipped must show");
}

#[test]
fn a_mixture_of_faults_is_the_same_again_by_its_seed() {
    let orders = Orders { openings: 1..=3, ..Orders::new(DELIVER) };
    let said = undisturbed(&Orders::new(DELIVER));
    let mut distinct = BTreeSet::new();
    for seed in 0..20 {
        // Without silences: whether a client gives up is a matter of time.
        let faults = mixture(seed, &said, &[Harm::Cut, Harm::Replay]);
        let [once, again] = [0, 1].map(|_| through(&Scene::new(), &orders, &faults).unwrap());
        assert!(once == again, "seed {seed}");
        distinct.insert(format!("{once:?}"));
    }
    assert!(distinct.len() > 10, "{} mixtures of twenty seeds", distinct.len());
}

/// A replica that lags is promoted; then every batch that the old primary was given arrives at it, before the ledger
/// comes, and again when it has delivered.
fn old_batches_after_a_failover(script: &str) -> Result<(), String> {
    let scene = Scene::new();
    let replica = RedisServer::replica_of(&scene.server);
    let orders = |opening| Orders { openings: opening..=opening, ..Orders::new(script) };
    scene.begin([]);
    orders(1).deliver(&scene, 1)?;
    orders(1).judge(&scene)?;
    sellout_testkit::eventually("the replica has them, too", || {
        replica.ask::<u64>("HLEN sellout:{mx3}:sales") == orders(1).sold()
    });
    replica.fall_behind(&scene.server);
    orders(2).deliver(&scene, 1)?;
    orders(2).judge(&scene)?;
    replica.tell("REPLICAOF NO ONE");
    scene.proxy.lead_to(replica.port());
    let admin = redis::Client::open(replica.url()).unwrap().get_connection().unwrap();
    *scene.admin.lock().unwrap() = admin;
    assert_eq!(scene.proxy.replay(), 2, "the connections of two openings");
    orders(3).deliver(&scene, 1)?;
    orders(3).judge(&scene)?;
    scene.proxy.replay();
    orders(3).judge(&scene)
}

#[test]
fn old_batches_that_arrive_after_a_failover_and_a_restart_change_nothing() {
    assert_eq!(old_batches_after_a_failover(DELIVER), Ok(()));
    assert!(old_batches_after_a_failover(&blind()).is_err(), "counting what is skipped must show");
}
