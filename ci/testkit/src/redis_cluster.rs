//! A Redis Cluster of six processes: three primaries, and a replica of each.
//!
//! What holds: as for a single server. A node's bus is at its port and 10,000.

use std::net::TcpListener;

use crate::{RedisServer, eventually, redis_server::free_port};

/// Slots, and primaries.
const SLOTS: u16 = 16_384;
const PRIMARIES: usize = 3;

/// Six servers that make up a cluster. The primaries come first; number `n + 3` replicates number `n`.
///
/// Its calls panic when something is missing or does not answer.
#[derive(Debug)]
pub struct RedisCluster {
    /// The servers.
    pub nodes: Vec<RedisServer>,
}

#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::must_use_candidate,
    reason = "these are the assertions of tests: see the type"
)]
impl RedisCluster {
    /// A cluster that serves every slot, with every replica in step.
    pub fn start() -> Self {
        let nodes: Vec<RedisServer> = (0..2 * PRIMARIES).map(|_| node()).collect();
        let cluster = Self { nodes };
        for (at, node) in (1..).zip(&cluster.nodes) {
            node.tell(&format!("CLUSTER SET-CONFIG-EPOCH {at}"));
        }
        for (at, node) in cluster.nodes[..PRIMARIES].iter().enumerate() {
            let from = |at| at * usize::from(SLOTS) / PRIMARIES;
            let slots: Vec<_> = (from(at)..from(at + 1)).map(|slot| slot.to_string()).collect();
            node.tell(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
        }
        for node in &cluster.nodes[1..] {
            cluster.nodes[0].tell(&format!("CLUSTER MEET 127.0.0.1 {}", node.port()));
        }
        let everywhere = |what: &str, holds: &dyn Fn(&RedisServer) -> bool| {
            eventually(what, || cluster.nodes.iter().all(holds));
        };
        everywhere("all nodes have met", &|node| {
            let known = node.ask::<String>("CLUSTER NODES");
            known.lines().filter(|line| line.contains(" connected")).count() == 2 * PRIMARIES
                && !known.contains("handshake")
        });
        for at in 0..PRIMARIES {
            let replica = &cluster.nodes[at + PRIMARIES];
            let primary = cluster.id(at);
            replica.tell(&format!("CLUSTER REPLICATE {primary}"));
        }
        everywhere("the cluster serves all slots", &|node| {
            let info = node.ask::<String>("CLUSTER INFO");
            let known = node.ask::<String>("CLUSTER NODES");
            info.contains("cluster_state:ok") && known.matches("slave").count() == PRIMARIES
        });
        for replica in &cluster.nodes[PRIMARIES..] {
            eventually("the replica is in step", || replica.is_in_step());
        }
        cluster
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// What node number `node` answers, be it a replica: it is told that a copy will do.
    pub fn ask_copy<T: redis::FromRedisValue>(&self, node: usize, command: &str) -> T {
        let mut words = command.split(' ');
        let mut connection = redis::Client::open(self.nodes[node].url()).unwrap().get_connection().unwrap();
        let mut both = redis::pipe();
        both.cmd("READONLY").ignore().cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>());
        both.query::<(T,)>(&mut connection).unwrap().0
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> String {
        self.nodes[node].ask("CLUSTER MYID")
    }

    /// The slot of `key`.
    pub fn slot(&self, key: &str) -> u16 {
        self.alive()[0].1.ask(&format!("CLUSTER KEYSLOT {key}"))
    }

    /// The node that has the slot of `key`, as the nodes agree.
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        let named = |node: &RedisServer| {
            let ranges: Vec<(u16, u16, (String, u16))> = slots(node);
            let range = ranges.into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
            range.map(|(_, _, (_, port))| port)
        };
        let mut owner = None;
        eventually("the nodes agree on a slot's owner", || {
            let named: Vec<_> = self.alive().into_iter().map(|(_, node)| named(node)).collect();
            owner = named[0];
            owner.is_some() && named.iter().all(|other| *other == owner)
        });
        self.nodes.iter().position(|node| Some(node.port()) == owner).unwrap()
    }

    /// The nodes that run.
    fn alive(&self) -> Vec<(usize, &RedisServer)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()).collect()
    }
}

/// First slot, last slot, and the primary's host and port.
fn slots(node: &RedisServer) -> Vec<(u16, u16, (String, u16))> {
    let ranges: Vec<Vec<redis::Value>> = node.ask("CLUSTER SLOTS");
    let parse = |range: Vec<redis::Value>| {
        let mut range = range.into_iter();
        let [first, last] = [range.next()?, range.next()?].map(|slot| redis::from_redis_value::<u16>(slot).ok());
        let redis::Value::Array(primary) = range.next()? else { return None };
        let mut primary = primary.into_iter();
        let host = redis::from_redis_value::<String>(primary.next()?).ok()?;
        Some((first?, last?, (host, redis::from_redis_value::<u16>(primary.next()?).ok()?)))
    };
    ranges.into_iter().filter_map(parse).collect()
}

/// A server on a port whose bus is free, too.
fn node() -> RedisServer {
    let arguments = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-replica-validity-factor",
        "0",
        "--cluster-require-full-coverage",
        "no",
        "--cluster-config-file",
        "nodes.conf",
    ];
    for _ in 0..100 {
        let port = free_port();
        let bus = port.checked_add(10_000).filter(|bus| TcpListener::bind(("127.0.0.1", *bus)).is_ok());
        if bus.is_some()
            && let Some(server) = RedisServer::try_start(port, &arguments, None)
        {
            return server;
        }
    }
    panic!("no hundred ports had a free one 10,000 above");
}
