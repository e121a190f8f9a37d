//! Failovers that lose what Redis had acknowledged, by Sentinel and in a Redis Cluster, and slots that move: Redis is
//! given again what it lost, and has nothing twice.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

#[path = "support/shop.rs"]
mod shop;

use sellout::ledger::{Connection, LedgerDriver, LedgerError};
use sellout_testkit::{RedisCluster, RedisSentinels, eventually};
use shop::{Shop, assert_goes_on, fault, fields, options};

#[test]
fn a_lagging_replica_promoted_by_sentinel_is_given_what_it_lacks() {
    let (mut group, shop) = (RedisSentinels::start(), Shop::with(&["mx3", "festival"]));
    let url = group.url();
    let driver = shop.deliver(&url, options());
    shop.sell("mx3", 300);
    shop.assert_delivered(&driver, &url, |_| &group.servers[0]);
    let [primary, replica] = &group.servers;
    eventually("the replica has them, too", || fields(replica, "mx3") == 300);

    replica.fall_behind(primary);
    shop.sell("mx3", 200);
    shop.sell("festival", 100);
    shop.assert_delivered(&driver, &url, |_| &group.servers[0]);
    assert_eq!((fields(replica, "mx3"), fields(replica, "festival")), (300, 0), "these will be lost");

    group.servers[0].kill();
    eventually("the loss shows", || matches!(driver.status().connection, Connection::Broken { .. }));
    shop.sell("mx3", 200);
    shop.sell("festival", 100);
    eventually("the replica is promoted", || group.servers[1].is_primary());
    shop.sell("mx3", 100);
    shop.assert_delivered(&driver, &url, |_| &group.servers[1]);
}

#[test]
fn sentinels_that_know_no_such_primary_are_said_to() {
    let (group, shop) = (RedisSentinels::start(), Shop::with(&["mx3"]));
    let url = format!("{}-other", group.url());
    let driver = shop.deliver(&url, options());
    shop.sell("mx3", 10);
    eventually("it shows", || {
        matches!(driver.status().connection, Connection::Broken { error: LedgerError::NoSuchPrimary { .. }, .. })
    });
}

/// A cluster, and a shop with one sale on each of its primaries.
struct Scene {
    cluster: RedisCluster,
    shop: Shop,
    sales: Vec<String>,
    driver: LedgerDriver,
}

impl Scene {
    fn new() -> Self {
        let cluster = RedisCluster::start();
        let mut sales = vec![String::new(); 3];
        for name in (0..).map(|number| format!("sale-{number}")) {
            let owner = cluster.owner(&key(&name, "ledger"));
            if sales[owner].is_empty() {
                sales[owner] = name;
            }
            if sales.iter().all(|sale| !sale.is_empty()) {
                break;
            }
        }
        let shop = Shop::with(&sales.iter().map(String::as_str).collect::<Vec<_>>());
        let driver = shop.deliver(&cluster.url(), options());
        Self { cluster, shop, sales, driver }
    }

    fn sell(&self, count: u64) {
        self.sales.iter().for_each(|sale| self.shop.sell(sale, count));
    }

    #[track_caller]
    fn assert_delivered(&self) {
        let home = |sale: &str| &self.cluster.nodes[self.cluster.owner(&key(sale, "sales"))];
        self.shop.assert_delivered(&self.driver, &self.cluster.url(), home);
    }

    /// Sets both ends of a slot's move.
    fn set_slot(&self, slot: u16, nodes: &[usize], what: &str) {
        for node in nodes {
            self.cluster.nodes[*node].tell(&format!("CLUSTER SETSLOT {slot} {what}"));
        }
    }
}

fn key(sale: &str, which: &str) -> String {
    format!("sellout:{{{sale}}}:{which}")
}

#[test]
fn a_lagging_replica_promoted_in_a_cluster_is_given_what_it_lacks() {
    let mut scene = Scene::new();
    scene.sell(200);
    scene.assert_delivered();
    let lost = scene.sales[0].clone();
    let [primary, replica] = [&scene.cluster.nodes[0], &scene.cluster.nodes[3]];
    eventually("the replica has them, too", || replica_fields(&scene, 3, &lost) == 200);

    replica.fall_behind(primary);
    scene.sell(150);
    scene.assert_delivered();
    assert_eq!(replica_fields(&scene, 3, &lost), 200, "150 will be lost");

    scene.cluster.nodes[0].kill();
    scene.sell(150);
    for other in &scene.sales[1..] {
        assert_goes_on(&scene.shop, &scene.driver, other);
    }
    eventually("the replica is promoted", || scene.cluster.nodes[3].is_primary());
    scene.sell(50);
    scene.assert_delivered();

    scene.cluster.nodes[0].restart();
    eventually("the old primary is a replica in step", || scene.cluster.nodes[0].is_in_step());
    scene.sell(50);
    scene.assert_delivered();
}

#[test]
fn a_shard_that_is_gone_stops_its_own_sales_and_no_other() {
    let mut scene = Scene::new();
    scene.sell(100);
    scene.assert_delivered();
    for node in [3, 0] {
        scene.cluster.nodes[node].kill();
    }
    scene.sell(100);
    eventually("the loss shows", || fault(&scene.driver.status(), &scene.sales[0]).is_some());
    for _ in 0..5 {
        scene.sell(20);
        for other in &scene.sales[1..] {
            assert_goes_on(&scene.shop, &scene.driver, other);
        }
    }
    assert!(scene.driver.status().backlog() >= 100);
    assert_eq!(scene.driver.status().connection, Connection::Connected);
    // It comes back without anything.
    for node in [0, 3] {
        scene.cluster.nodes[node].restart();
    }
    scene.assert_delivered();

    for node in &mut scene.cluster.nodes {
        node.kill();
    }
    scene.sell(100);
    eventually("nobody is left", || {
        matches!(scene.driver.status().connection, Connection::Broken { error: LedgerError::NoNode { .. }, .. })
    });
    scene.sell(100);
    for node in &mut scene.cluster.nodes {
        node.restart();
    }
    scene.assert_delivered();
}

/// As it looks while a shard fails over, to who asks at the wrong moment.
#[test]
fn a_slot_that_nobody_has_is_looked_for_until_somebody_has_it() {
    let scene = Scene::new();
    scene.sell(100);
    scene.assert_delivered();
    let slot = scene.cluster.slot(&key(&scene.sales[0], "sales"));
    for node in &scene.cluster.nodes {
        node.tell(&format!("CLUSTER DELSLOTS {slot}"));
    }
    scene.sell(100);
    eventually("it shows that nobody has the slot", || {
        let fault = fault(&scene.driver.status(), &scene.sales[0]);
        matches!(fault, Some(LedgerError::ClusterDown { reason, .. }) if reason.contains("nobody has the slot"))
    });
    for other in &scene.sales[1..] {
        assert_goes_on(&scene.shop, &scene.driver, other);
    }
    scene.cluster.nodes[0].tell(&format!("CLUSTER ADDSLOTS {slot}"));
    assert_goes_on(&scene.shop, &scene.driver, &scene.sales[0]);
    scene.assert_delivered();
}

#[test]
fn a_slot_that_moves_during_delivery_takes_its_sale_along() {
    let scene = Scene::new();
    scene.sell(200);
    scene.assert_delivered();
    let (sale, other) = (scene.sales[0].as_str(), scene.sales[1].as_str());
    let slot = scene.cluster.slot(&key(sale, "sales"));
    let (source, target) = (0, 1);
    let (from, to) = (&scene.cluster.nodes[source], &scene.cluster.nodes[target]);
    scene.set_slot(slot, &[target], &format!("IMPORTING {}", scene.cluster.id(source)));
    scene.set_slot(slot, &[source], &format!("MIGRATING {}", scene.cluster.id(target)));
    // Open, and nothing has moved yet.
    scene.sell(100);
    assert_goes_on(&scene.shop, &scene.driver, sale);

    // One key here, the other there: nobody can run the script.
    let migrate = |which: &str| from.tell(&format!("MIGRATE 127.0.0.1 {} {} 0 5000", to.port(), key(sale, which)));
    migrate("sales");
    scene.sell(100);
    let resharding = LedgerError::Resharding { sale: sale.to_owned() };
    eventually("it is on its way", || fault(&scene.driver.status(), sale).as_ref() == Some(&resharding));
    assert_goes_on(&scene.shop, &scene.driver, other);

    // Both keys are there, and the slot still here: ASK.
    migrate("ledger");
    scene.sell(100);
    assert_goes_on(&scene.shop, &scene.driver, sale);
    assert_eq!(from.ask::<u64>(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), 0);
    assert_eq!(to.ask::<u64>(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), 2);

    // It is theirs: MOVED.
    scene.set_slot(slot, &[target, source, 2], &format!("NODE {}", scene.cluster.id(target)));
    scene.sell(100);
    scene.assert_delivered();
    assert_eq!(scene.cluster.owner(&key(sale, "sales")), target);
}

#[test]
fn one_server_of_a_cluster_behind_a_plain_url_is_told_apart() {
    let scene = Scene::new();
    let driver = scene.shop.deliver(&scene.cluster.nodes[0].url(), options());
    scene.sell(10);
    eventually("it shows", || matches!(fault(&driver.status(), &scene.sales[1]), Some(LedgerError::IsCluster { .. })));
    drop(driver);
    scene.assert_delivered();
}

/// What a replica in a cluster has.
fn replica_fields(scene: &Scene, replica: usize, sale: &str) -> u64 {
    scene.cluster.ask_copy(replica, &format!("HLEN {}", key(sale, "sales")))
}
