//! A real engine behind a network that fails at exact bytes: it is opened again and again on its journal, and a
//! replica is promoted; old batches of every opening and of every server arrive late. Every acknowledged order is in
//! Redis once.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "support/shop.rs"]
mod shop;

use std::time::Duration;

use sellout::ledger::{LedgerDriver, Options};
use sellout_testkit::{Fault, FaultProxy, Harm, PATIENCE, RedisServer, Way, eventually};
use shop::{Shop, fields, options};

/// The faults of the first connections of an opening: somewhere in the handshake, the look, the script, a batch, and
/// in answers. `opening` moves them.
fn faults(opening: u64) -> Vec<Option<Fault>> {
    let on = |way, after, harm| Some(Fault { way, after: after + 37 * opening, harm });
    vec![
        on(Way::Requests, 10, Harm::Cut),
        on(Way::Requests, 3_400, Harm::Hold),
        on(Way::Replies, 150, Harm::Cut),
        on(Way::Requests, 700, Harm::Replay),
        on(Way::Replies, 400, Harm::Hold),
        None,
    ]
}

fn hasty() -> Options {
    options().timeouts(PATIENCE, Duration::from_millis(300)).retry(Duration::from_millis(5), Duration::from_millis(20))
}

/// Until all is delivered, to `server`; then the ledger stops.
#[track_caller]
fn assert_delivered(shop: &Shop, driver: LedgerDriver, server: &RedisServer) {
    shop.assert_delivered(&driver, &server.url(), |_| server);
    driver.stop();
}

#[test]
fn an_engine_that_is_opened_again_behind_a_failing_network_delivers_every_order_once() {
    let primary = RedisServer::start();
    let replica = RedisServer::replica_of(&primary);
    let proxy = FaultProxy::before(primary.port());
    let mut shop = Shop::with(&["mx3"]);
    let mut struck = 0;
    for opening in 0..4 {
        proxy.plan(faults(opening));
        let driver = shop.deliver(&proxy.url(), hasty());
        shop.sell("mx3", 200);
        assert_delivered(&shop, driver, &primary);
        struck += proxy.carried().iter().filter(|carried| carried.struck).count();
        // Everything that this opening has said arrives again, before the next opening and after.
        let again = proxy.replay();
        assert!(again > 2, "{again} connections");
        shop = shop.reopened();
        let driver = shop.deliver(&proxy.url(), hasty());
        shop.sell("mx3", 50);
        assert_delivered(&shop, driver, &primary);
        proxy.replay();
        assert_delivered(&shop, shop.deliver(&primary.url(), options()), &primary);
    }
    assert!(struck > 8, "{struck}");

    eventually("the replica has them, too", || fields(&replica, "mx3") == 1_000);
    replica.fall_behind(&primary);
    proxy.plan([]);
    let driver = shop.deliver(&proxy.url(), hasty());
    shop.sell("mx3", 200);
    assert_delivered(&shop, driver, &primary);
    replica.tell("REPLICAOF NO ONE");
    assert_eq!(fields(&replica, "mx3"), 1_000, "the rest is lost");
    proxy.lead_to(replica.port());
    // Batches for the old primary arrive at the new one, before anybody has looked.
    assert_eq!(proxy.replay(), 1);
    shop = shop.reopened();
    let driver = shop.deliver(&proxy.url(), hasty());
    shop.sell("mx3", 50);
    assert_delivered(&shop, driver, &replica);
    proxy.replay();
    assert_delivered(&shop, shop.deliver(&replica.url(), options()), &replica);
}
