//! Messages in a stream of a Redis that fails over to a replica that lags, by Sentinel and in a Redis Cluster: the
//! stream is given again what it lost, and has nothing twice.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use sellout::{
    Audience, Engine, Message, MessageKind, SaleSpec, Timestamp,
    ledger::{Connection, MessagesDriver, Options, RedisMessages},
};
use sellout_testkit::{PATIENCE, RedisCluster, RedisSentinels, RedisServer, eventually};
use tempfile::TempDir;

const STREAM: &str = "sellout:{messages}:stream";
const BUYERS: u32 = 500;

/// Id, and fields with their values.
type Entry = (String, BTreeMap<String, String>);

/// An engine with a sale that has sent its buyers their links.
struct Shop {
    engine: Engine,
    buyers: u64,
    _folder: TempDir,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path().join("journal")).unwrap();
        let past = Timestamp::from_millis(1);
        let sale = engine.create(SaleSpec::new("mx3", BUYERS).audience(Audience::Registered).links_at(past)).unwrap();
        sale.register(&(0..u64::from(BUYERS)).map(Into::into).collect::<Vec<_>>()).unwrap();
        engine.tick(engine.now());
        Self { engine, buyers: 0, _folder: folder }
    }

    /// So many orders, and as many confirmations on their way.
    fn sell(&mut self, count: u64) {
        let sale = self.engine.sale("mx3").unwrap();
        for _ in 0..count {
            sale.reserve(self.buyers, 1).unwrap().confirm(self.buyers).unwrap().wait().unwrap();
            self.buyers += 1;
        }
    }

    fn deliver(&self, url: &str) -> MessagesDriver {
        let options = Options::default().retry(Duration::from_millis(10), Duration::from_millis(200));
        let mut options = options.batch(NonZeroU16::new(20).unwrap());
        options.look_every = Duration::from_millis(100);
        RedisMessages::new(url, self.engine.outbox().unwrap().unwrap(), options).unwrap().spawn().unwrap()
    }

    /// What the stream should have.
    fn entries(&self) -> Vec<Entry> {
        let mut messages = Vec::new();
        self.engine.outbox().unwrap().unwrap().read(usize::MAX, &mut messages).unwrap();
        messages.iter().map(entry).collect()
    }
}

fn entry(message: &Message) -> Entry {
    let mut fields = vec![("sale", message.sale.to_string()), ("buyer", message.buyer.to_string())];
    fields.push(("at", message.at.to_string()));
    match message.kind {
        MessageKind::PurchaseLink { invitation } => {
            fields.extend([("kind", "link".to_owned()), ("invitation", invitation.to_string())]);
        }
        MessageKind::Confirmation { sequence, order, quantity } => {
            fields.extend([("kind", "confirmation".to_owned()), ("sequence", sequence.to_string())]);
            fields.extend([("quantity", quantity.to_string()), ("order", order.to_string())]);
        }
        ref other => panic!("nobody was to get {other:?}"),
    }
    (message.id.to_string(), fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
}

fn stream(server: &RedisServer) -> Vec<Entry> {
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut both = redis::pipe();
    // A replica in a cluster sends away who asks for a key, unless told that a copy will do; others refuse the word.
    both.cmd("READONLY").cmd("XRANGE").arg(STREAM).arg("-").arg("+");
    let answers: Vec<redis::RedisResult<redis::Value>> = both.ignore_errors().query(&mut connection).unwrap();
    redis::from_redis_value(answers.into_iter().nth(1).unwrap().unwrap()).unwrap()
}

/// Messages that the stream lacks, and entries that it has more than once, or that are no messages.
fn faults(found: &[Entry], expected: &[Entry]) -> (usize, usize) {
    let mut counts = BTreeMap::new();
    for (_, fields) in found {
        *counts.entry(fields).or_insert(0_usize) += 1;
    }
    let lost = expected.iter().filter(|(_, fields)| !counts.contains_key(fields)).count();
    (lost, found.len() + lost - expected.len())
}

/// All messages are there once, in order and under their ids.
#[track_caller]
fn assert_delivered(shop: &Shop, driver: &MessagesDriver, server: &RedisServer) {
    if let Err(late) = driver.wait_delivered(PATIENCE) {
        panic!("{late}: {:?}", driver.status());
    }
    let (found, expected) = (stream(server), shop.entries());
    assert_eq!(faults(&found, &expected), (0, 0));
    assert_eq!(found, expected);
}

/// The replica falls behind the primary by 150 messages, which the primary has and acknowledged.
fn fall_behind(shop: &mut Shop, driver: &MessagesDriver, primary: &RedisServer, replica: &RedisServer) {
    shop.sell(100);
    assert_delivered(shop, driver, primary);
    eventually("the replica has them, too", || stream(replica) == shop.entries());
    replica.fall_behind(primary);
    shop.sell(150);
    assert_delivered(shop, driver, primary);
    assert_eq!(faults(&stream(replica), &shop.entries()), (150, 0), "these will be lost");
}

#[test]
fn messages_that_a_failover_by_sentinel_loses_are_delivered_again() {
    let (mut group, mut shop) = (RedisSentinels::start(), Shop::new());
    let driver = shop.deliver(&group.url());
    let [primary, replica] = &group.servers;
    fall_behind(&mut shop, &driver, primary, replica);
    group.servers[0].kill();
    eventually("the loss shows", || matches!(driver.status().connection, Connection::Broken { .. }));
    shop.sell(100);
    // As the sentinels say: the new primary hangs up on everybody once it is told to be one.
    eventually("the replica is promoted", || group.primary_port(0) == group.servers[1].port());
    shop.sell(50);
    assert_delivered(&shop, &driver, &group.servers[1]);
}

#[test]
fn messages_that_a_failover_in_a_cluster_loses_are_delivered_again() {
    let (mut cluster, mut shop) = (RedisCluster::start(), Shop::new());
    let driver = shop.deliver(&cluster.url());
    let owner = cluster.owner(STREAM);
    fall_behind(&mut shop, &driver, &cluster.nodes[owner], &cluster.nodes[owner + 3]);
    cluster.nodes[owner].kill();
    shop.sell(100);
    eventually("the replica is promoted", || cluster.nodes[owner + 3].is_primary());
    shop.sell(50);
    assert_delivered(&shop, &driver, &cluster.nodes[owner + 3]);
    // The old primary comes back with nothing, and becomes a replica.
    cluster.nodes[owner].restart();
    eventually("it is a replica in step", || cluster.nodes[owner].is_in_step());
    shop.sell(50);
    assert_delivered(&shop, &driver, &cluster.nodes[owner + 3]);
}

#[test]
fn control_messages_that_are_missing_or_there_twice_are_noticed() {
    let mut shop = Shop::new();
    shop.sell(10);
    let expected = shop.entries();
    assert_eq!(faults(&expected, &expected), (0, 0));
    assert_eq!(faults(&expected[..507], &expected), (3, 0));
    let again = [expected.as_slice(), &expected[..2]].concat();
    assert_eq!(faults(&again, &expected), (0, 2));
    assert_eq!(faults(&again[5..], &expected), (3, 0));
}
