//! Servers that answer and can't serve: one that still loads its data, a replica whose primary is gone, a cluster of
//! which a part is gone. It is said which of them it is, and delivery goes on by itself when it has passed.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

#[path = "support/shop.rs"]
mod shop;

use std::thread;

use sellout::ledger::{Connection, LedgerDriver, LedgerError};
use sellout_testkit::{RedisCluster, RedisServer, eventually};
use shop::{Shop, assert_goes_on, fault, fields, options};

/// What the server at `url` says to `words`, while it may refuse everything else.
fn say(url: &str, words: &[&str]) -> redis::RedisResult<redis::Value> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
}

#[track_caller]
fn assert_shows(driver: &LedgerDriver, expected: &LedgerError) {
    eventually(&expected.to_string(), || match driver.status().connection {
        Connection::Broken { error, .. } => error == *expected,
        _ => false,
    });
}

#[test]
fn a_redis_that_loads_its_data_is_said_to_and_gets_what_it_lost() {
    // A key takes so long that all of them would take minutes, and between some of them it looks who is there.
    let slow = ["--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024"];
    let arguments = [slow.as_slice(), &["--rdbcompression", "no"]].concat();
    let (mut server, shop) = (RedisServer::start_with(&arguments, None), Shop::with(&["mx3"]));
    let url = server.url();
    let driver = shop.deliver(&url, options());
    shop.sell("mx3", 300);
    shop.assert_delivered(&driver, &url, |_| &server);
    let fill = "for i = 1, 3000 do redis.call('SET', 'other:' .. i, string.rep('x', 100)) end";
    say(&url, &["EVAL", fill, "0"]).unwrap();
    server.tell("SAVE");
    shop.sell("mx3", 200);
    shop.assert_delivered(&driver, &url, |_| &server);

    let loading = LedgerError::Loading { address: format!("127.0.0.1:{}", server.port()) };
    thread::scope(|scope| {
        // It comes back when it has loaded; it loads fast once we have seen that it is said.
        let back = scope.spawn(|| server.restart());
        assert_shows(&driver, &loading);
        assert!(!back.is_finished(), "it loads");
        shop.sell("mx3", 200);
        assert_shows(&driver, &loading);
        assert!(driver.status().backlog() >= 200);
        say(&url, &["CONFIG", "SET", "key-load-delay", "0"]).unwrap();
    });
    assert!(loading.to_string().contains("goes on when it is done"), "{loading}");
    shop.assert_delivered(&driver, &url, |_| &server);
}

#[test]
fn a_replica_whose_primary_is_gone_is_said_to_be_a_replica() {
    let server = RedisServer::start_with(&["--replica-serve-stale-data", "no"], None);
    let (shop, url) = (Shop::with(&["mx3"]), server.url());
    let driver = shop.deliver(&url, options());
    shop.sell("mx3", 100);
    shop.assert_delivered(&driver, &url, |_| &server);
    let nobody = RedisServer::stopped(&[], None);
    server.tell(&format!("REPLICAOF 127.0.0.1 {}", nobody.port()));
    let said = say(&url, &["GET", "k"]).unwrap_err();
    assert_eq!(said.code(), Some("MASTERDOWN"), "{said}");
    shop.sell("mx3", 100);
    let address = format!("127.0.0.1:{}", server.port());
    assert_shows(&driver, &LedgerError::ReadOnly { address });
    shop.sell("mx3", 100);
    assert!(driver.status().backlog() >= 100);
    server.tell("REPLICAOF NO ONE");
    shop.assert_delivered(&driver, &url, |_| &server);
}

#[test]
fn a_cluster_that_lacks_a_shard_and_so_serves_none_is_said_to_be_down() {
    let mut cluster = RedisCluster::start();
    for node in &cluster.nodes {
        node.tell("CONFIG SET cluster-require-full-coverage yes");
    }
    let key = |sale: &str| format!("sellout:{{{sale}}}:sales");
    // One whose shard stays.
    let sale = (0..99).map(|number| format!("sale-{number}")).find(|sale| cluster.owner(&key(sale)) == 1).unwrap();
    let (shop, url) = (Shop::with(&[&sale]), cluster.url());
    let driver = shop.deliver(&url, options());
    shop.sell(&sale, 100);
    shop.assert_delivered(&driver, &url, |_| &cluster.nodes[1]);
    for node in [3, 0] {
        cluster.nodes[node].kill();
    }
    let is_down = |error: &LedgerError| matches!(error, LedgerError::ClusterDown { sale: named, .. } if *named == sale);
    shop.sell(&sale, 100);
    eventually("the cluster is said to be down", || {
        // As long as the others haven't noticed, delivery goes on.
        shop.sell(&sale, 1);
        fault(&driver.status(), &sale).is_some_and(|error| is_down(&error))
    });
    assert!(cluster.nodes[1].ask::<String>("CLUSTER INFO").contains("cluster_state:fail"));
    shop.sell(&sale, 100);
    assert!(driver.status().backlog() >= 100);
    assert_eq!(driver.status().connection, Connection::Connected);

    // Whoever would rather have half a cluster than none says so, as the message does.
    let said = fault(&driver.status(), &sale).unwrap().to_string();
    assert!(said.contains("CLUSTER INFO") && said.contains("cluster-require-full-coverage"), "{said}");
    for node in &cluster.nodes {
        if node.is_running() {
            node.tell("CONFIG SET cluster-require-full-coverage no");
        }
    }
    assert_goes_on(&shop, &driver, &sale);
    assert_eq!(fields(&cluster.nodes[1], &sale), shop.sold(&sale));
    for node in [0, 3] {
        cluster.nodes[node].restart();
    }
    shop.assert_delivered(&driver, &url, |_| &cluster.nodes[1]);
}
