//! A primary, a replica, and three sentinels that watch them.
//!
//! What holds: as for a single server. The sentinels' name for the primary holds its port, so that no group takes
//! another's sentinels for its own.

use std::{
    fs,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    PATIENCE, eventually,
    redis_server::{RedisServer, free_port, keep},
};

/// How long a primary must be silent before a sentinel gives it up. A replica whose link was down for ten times as
/// long isn't chosen.
const DOWN_AFTER_MS: &str = "1500";

/// A sentinel, and the shell that keeps it.
#[derive(Debug)]
struct Sentinel {
    port: u16,
    keeper: Option<Child>,
    _folder: TempDir,
}

impl Sentinel {
    /// What it says to `SENTINEL question name`, a line a word; nothing if it says nothing.
    #[expect(clippy::unwrap_used, reason = "these are the assertions of tests")]
    fn ask(&self, question: &str, name: &str) -> String {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let Ok(mut connection) = client.get_connection() else { return String::new() };
        let answer = redis::cmd("SENTINEL").arg(question).arg(name).query::<redis::Value>(&mut connection);
        let mut words = String::new();
        if let Ok(answer) = answer {
            write_words(&answer, &mut words);
        }
        words
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// Two servers, of which one is the primary, and three sentinels that fail over with a quorum of two.
///
/// Its calls panic when something is missing or does not answer.
#[derive(Debug)]
pub struct RedisSentinels {
    sentinels: Vec<Sentinel>,
    /// The first primary, and its replica.
    pub servers: [RedisServer; 2],
    name: String,
}

#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::must_use_candidate,
    reason = "these are the assertions of tests: see the type"
)]
impl RedisSentinels {
    /// Three sentinels that know of each other, of the primary and of its replica.
    pub fn start() -> Self {
        let primary = RedisServer::start();
        let replica = RedisServer::replica_of(&primary);
        let name = format!("shop-{}", primary.port());
        let sentinels = (0..3).map(|_| sentinel(&name, primary.port())).collect();
        let group = Self { sentinels, servers: [primary, replica], name };
        for at in 0..3 {
            eventually("the sentinels know each other and the replica", || {
                let known = |word: &str| group.sentinels[at].ask(word, &group.name).matches("\nname\n").count();
                known("sentinels") == 2
                    && known("replicas") == 1
                    && group.sentinels[at].ask("ckquorum", &group.name).starts_with("OK 3")
            });
        }
        group
    }

    /// The URL of whoever is the primary.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis-sentinel://{}/{}", hosts.join(","), self.name)
    }

    /// The port of the primary as the sentinel number `at` has it.
    pub fn primary_port(&self, at: usize) -> u16 {
        let answer = self.sentinels[at].ask("get-master-addr-by-name", &self.name);
        // An empty line, the host, the port.
        answer.lines().nth(2).and_then(|port| port.parse().ok()).unwrap()
    }
}

fn write_words(value: &redis::Value, words: &mut String) {
    match value {
        redis::Value::BulkString(word) => {
            words.push_str(&String::from_utf8_lossy(word));
            words.push('\n');
        }
        redis::Value::SimpleString(word) => words.push_str(word),
        redis::Value::Array(values) => {
            words.push('\n');
            for value in values {
                write_words(value, words);
            }
        }
        _ => {}
    }
}

/// A sentinel that answers and watches the primary called `name`.
fn sentinel(name: &str, primary: u16) -> Sentinel {
    for _ in 0..10 {
        let sentinel = launch(name, primary);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if sentinel.ask("get-master-addr-by-name", name).contains(&primary.to_string()) {
                return sentinel;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Somebody else took the port between our look and its bind.
    }
    panic!("a sentinel did not answer on ten ports in a row");
}

#[expect(clippy::unwrap_used, reason = "these are the assertions of tests")]
fn launch(name: &str, primary: u16) -> Sentinel {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let path = folder.path().join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {name} {DOWN_AFTER_MS}\nsentinel failover-timeout {name} 4000\n",
        folder.path().display()
    );
    fs::write(&path, text).unwrap();
    let keeper = keep(&[path.to_str().unwrap(), "--sentinel"]);
    Sentinel { port, keeper: Some(keeper), _folder: folder }
}
