//! Failovers: a shop sells without a pause while the primary of its Redis dies, or stands still, and a replica that
//! lags takes over; then the old primary comes back, and it happens the other way round.
//!
//! What holds: what is acknowledged is kept beside the engine; each failover loses orders that Redis had
//! acknowledged, and what the replica lacks when its primary is lost is counted; who is primary afterwards is asked and
//! not assumed; at the end Redis is compared with the journal, and read by hand by who knows only what was
//! acknowledged.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sellout::{Engine, Sale, SaleSpec};
use sellout_testkit::{RedisCluster, RedisSentinels, RedisServer, StandStill};

use super::{
    Dice, TortureError, Tried, Verdict, Watch,
    batch::panicked,
    delivery::{self, PATIENCE},
    kills::Broken,
};

/// How a primary is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It is killed, and comes back empty.
    Killed,
    /// It stands still until another has taken over, and wakes up with orders that nobody else has.
    StandsStill,
}

/// Units of a sale: more than are sold in a try, at a buyer every [`PACE`].
const STOCK: u32 = 200_000;
/// Between two buyers: time for Redis to catch up, however fast the journal is.
const PACE: Duration = Duration::from_millis(1);
/// Primaries of a cluster; number `n + SHARDS` replicates number `n`.
const SHARDS: usize = 3;

/// Servers that fail over by themselves.
enum Group {
    Sentinels(Box<RedisSentinels>),
    Cluster(RedisCluster),
}

impl Group {
    fn url(&self) -> String {
        match self {
            Self::Sentinels(sentinels) => sentinels.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    fn server(&self, number: usize) -> &RedisServer {
        match self {
            Self::Sentinels(sentinels) => &sentinels.servers[number],
            Self::Cluster(cluster) => &cluster.nodes[number],
        }
    }

    /// How many orders of `sale` a server has, be it a replica.
    fn orders(&self, number: usize, sale: &str) -> u64 {
        let question = format!("HLEN {}", key(sale, "sales"));
        match self {
            Self::Sentinels(sentinels) => sentinels.servers[number].ask(&question),
            Self::Cluster(cluster) => cluster.ask_copy(number, &question),
        }
    }

    /// Of two servers the primary, and the one that follows it and has what it has; none while that is open.
    fn roles(&self, [one, other]: [usize; 2]) -> Option<[usize; 2]> {
        let stands =
            |[primary, replica]: &[usize; 2]| self.server(*primary).is_primary() && self.server(*replica).is_in_step();
        [[one, other], [other, one]].into_iter().find(stands)
    }

    fn server_mut(&mut self, number: usize) -> &mut RedisServer {
        match self {
            Self::Sentinels(sentinels) => &mut sentinels.servers[number],
            Self::Cluster(cluster) => &mut cluster.nodes[number],
        }
    }
}

/// A shop that sells, and what it has acknowledged: payments, sale by sale.
struct Shop {
    engine: Engine,
    sales: Vec<Sale>,
    acknowledged: Mutex<BTreeMap<usize, BTreeSet<u64>>>,
}

impl Shop {
    fn open(journal: &Path, names: &[String]) -> Result<Self, String> {
        let engine = Engine::open(journal).map_err(|error| error.to_string())?;
        let specs = names.iter().map(|name| SaleSpec::new(name.clone(), STOCK)).collect();
        let sales = engine.create_many(specs).map_err(|error| error.to_string())?;
        Ok(Self { engine, sales, acknowledged: Mutex::default() })
    }

    /// Sells to buyer after buyer until `stop`: what has become of Redis is nothing to it.
    fn sell(&self, stop: &AtomicBool) -> Result<(), String> {
        // Relaxed: the flag is the whole message.
        for buyer in (1..).take_while(|_| !stop.load(Ordering::Relaxed)) {
            for (place, sale) in self.sales.iter().enumerate() {
                let hold = sale.reserve(buyer, 1).map_err(|error| error.to_string())?;
                let pending = hold.confirm(buyer).map_err(|error| error.to_string())?;
                pending.wait().map_err(|error| error.to_string())?;
                self.acknowledged().entry(place).or_default().insert(buyer);
            }
            thread::sleep(PACE);
        }
        Ok(())
    }

    fn acknowledged(&self) -> MutexGuard<'_, BTreeMap<usize, BTreeSet<u64>>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group of servers that fails over there and back while a shop sells.
pub(super) fn attempt(seed: u64, broken: Option<Broken>, watch: &Watch) -> Result<Tried, TortureError> {
    delivery::redis_is_here()?;
    let mut folder = tempfile::Builder::new().prefix("sellout-torture-").tempdir().map_err(TortureError::Folder)?;
    let mut tried = Tried::new(1, 0, Verdict::default());
    let journal = folder.path().join("journal");
    // The servers' own calls panic when something doesn't come about.
    let done = catch_unwind(AssertUnwindSafe(|| fail_over(seed, &journal, broken, watch, &mut tried)));
    if let Err(why) = done.unwrap_or_else(|panic: Box<dyn Any + Send>| Err(panicked(&*panic))) {
        tried.verdict.wrong(|| why);
    }
    if !tried.verdict.is_good() {
        folder.disable_cleanup(true);
        tried.kept = Some(folder.path().to_owned());
    }
    Ok(tried)
}

fn fail_over(
    seed: u64,
    journal: &Path,
    broken: Option<Broken>,
    watch: &Watch,
    tried: &mut Tried,
) -> Result<(), String> {
    let mut dice = Dice::of(seed, &[]);
    // In turn, so that any two seeds in a row try both.
    let is_cluster = seed % 2 == 1;
    let (mut group, names, pair) = if is_cluster {
        let cluster = RedisCluster::start();
        let shard = usize::try_from(dice.below(SHARDS as u64)).unwrap_or(0);
        let names = one_sale_a_shard(&cluster);
        (Group::Cluster(cluster), names, [shard, shard + SHARDS])
    } else {
        (Group::Sentinels(Box::new(RedisSentinels::start())), vec!["mx3".to_owned()], [0, 1])
    };
    // The sale whose orders will be lost.
    let hot = if is_cluster { names[pair[0]].clone() } else { names[0].clone() };
    let shop = Shop::open(journal, &names)?;
    let mut driver = Some(delivery::deliver(&group.url(), &shop.engine)?);
    let stop = AtomicBool::new(false);
    let failed_over = thread::scope(|scope| {
        let seller = scope.spawn(|| shop.sell(&stop));
        let failed_over = catch_unwind(AssertUnwindSafe(|| {
            let mut ways = [Loss::Killed, Loss::StandsStill];
            ways.rotate_left(usize::from(dice.below(2) == 1));
            for way in ways {
                if watch.is_stopped() {
                    break;
                }
                // A machine that is busy for too long makes them fail over by themselves, too.
                let [primary, replica] = until_some("one is primary, the other follows", || group.roles(pair))?;
                until_it_lags(&group, primary, replica, &hot, 1 + dice.below(60))?;
                if broken == Some(Broken::LeavesRedis) {
                    // Redis has everything a last time: what it lacks later, the failover has lost.
                    stop.store(true, Ordering::Relaxed);
                    until("the shop has closed", || seller.is_finished())?;
                    let driver = driver.take().ok_or("nobody delivers")?;
                    driver.wait_delivered(PATIENCE).map_err(|error| error.to_string())?;
                    driver.stop();
                }
                let (kept, had) = (group.orders(replica, &hot), group.orders(primary, &hot));
                let still = lose(&mut group, primary, way);
                until("the replica is promoted", || group.server(replica).is_primary())?;
                tried.count(if is_cluster { "in a cluster" } else { "by sentinel" }, 1);
                tried.count("lost by Redis", had - kept);
                group.server(replica).listen_again();
                match still {
                    Some(still) => drop(still),
                    None => group.server_mut(primary).restart(),
                }
                tried.count(if way == Loss::Killed { "killed" } else { "stood still" }, 1);
                let [primary, _] = until_some("the old primary follows", || group.roles(pair))?;
                if driver.is_none() {
                    break;
                }
                until("the new primary has what was lost", || group.orders(primary, &hot) >= had)?;
                watch.note(|| "failovers: one more".to_owned());
            }
            Ok(())
        }));
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
        let sold = seller.join().unwrap_or_else(|panic| Err(panicked(&*panic)));
        failed_over.unwrap_or_else(|panic| Err(panicked(&*panic))).and(sold)
    });
    failed_over?;
    if let Some(driver) = &driver {
        driver.wait_delivered(PATIENCE).map_err(|error| error.to_string())?;
    }
    let acknowledged = shop.acknowledged();
    for (place, payments) in &*acknowledged {
        tried.acknowledged += payments.len() as u64;
        // Its keys are where all nodes say.
        let home = match &group {
            Group::Sentinels(_) => until_some("one is primary, the other follows", || group.roles(pair))?[0],
            Group::Cluster(cluster) => cluster.owner(&key(&names[*place], "sales")),
        };
        if driver.is_some() {
            let found = found(group.server(home), &names[*place])?;
            read_by_hand(&names[*place], payments, &found, &mut tried.verdict);
        }
    }
    delivery::compare(&group.url(), &shop.engine, &mut tried.verdict);
    Ok(())
}

/// The primary is lost; if it stands still, as long as the answer lives.
fn lose(group: &mut Group, primary: usize, way: Loss) -> Option<StandStill> {
    match way {
        Loss::Killed => {
            group.server_mut(primary).kill();
            None
        }
        Loss::StandsStill => Some(group.server(primary).stand_still()),
    }
}

/// Lets the replica lag by at least `lag` orders of `sale`.
fn until_it_lags(group: &Group, primary: usize, replica: usize, sale: &str, lag: u64) -> Result<(), String> {
    group.server(replica).fall_behind(group.server(primary));
    let kept = group.orders(replica, sale);
    until("the replica lags", || group.orders(primary, sale) >= kept + lag)
}

/// The payments in Redis, as it has them.
fn found(server: &RedisServer, sale: &str) -> Result<Vec<u64>, String> {
    let records: BTreeMap<String, String> = server.ask(&format!("HGETALL {}", key(sale, "sales")));
    let payment = |record: &String| {
        let record: serde_json::Value = serde_json::from_str(record).map_err(|error| error.to_string())?;
        let payment = record["payment"].as_str().and_then(|payment| payment.parse().ok());
        payment.ok_or_else(|| format!("a record without a payment: {record}"))
    };
    records.values().map(payment).collect()
}

/// What was acknowledged is found once, and nothing else.
fn read_by_hand(sale: &str, acknowledged: &BTreeSet<u64>, found: &[u64], verdict: &mut Verdict) {
    let distinct: BTreeSet<u64> = found.iter().copied().collect();
    let missing = acknowledged.difference(&distinct).count();
    verdict.missing(missing as u64, || format!("{sale}: {missing} acknowledged payments, read by hand"));
    for _ in distinct.len()..found.len() {
        verdict.twice(|| format!("{sale}: a payment stands in two records, read by hand"));
    }
    let strangers = distinct.difference(acknowledged).count();
    verdict.unless(strangers == 0, || format!("{sale}: {strangers} payments that nobody has made, read by hand"));
}

/// Names of sales, of which each primary has one.
fn one_sale_a_shard(cluster: &RedisCluster) -> Vec<String> {
    let mut names = vec![String::new(); SHARDS];
    for name in (0..).map(|number| format!("sale-{number}")) {
        let owner = cluster.owner(&key(&name, "sales"));
        if names[owner].is_empty() {
            names[owner] = name;
        }
        if names.iter().all(|name| !name.is_empty()) {
            break;
        }
    }
    names
}

fn key(sale: &str, which: &str) -> String {
    format!("sellout:{{{sale}}}:{which}")
}

/// Looks until `done`.
fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    until_some(what, || done().then_some(()))
}

/// Looks until there is an answer.
fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = look() {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            return Err(format!("waited {PATIENCE:?} in vain: {what}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_what_is_missing_there_twice_or_strange_is_read_by_hand() {
        let judged = |found: &[u64]| {
            let mut verdict = Verdict::default();
            read_by_hand("mx3", &[1, 2, 3].into(), found, &mut verdict);
            [verdict.missing, verdict.twice, verdict.wrong]
        };
        assert_eq!(judged(&[3, 1, 2]), [0, 0, 0]);
        assert_eq!(judged(&[1]), [2, 0, 0]);
        assert_eq!(judged(&[1, 2, 3, 3, 3]), [0, 2, 0]);
        assert_eq!(judged(&[1, 2, 3, 4]), [0, 0, 1]);
    }
}
