//! A real Redis beside the process that sells: it is killed, too, with its file or without one.

use sellout::Engine;
use sellout_testkit::RedisServer;

use crate::torture::{Dice, TortureError, Verdict, delivery};

/// A Redis, and how it keeps what it has.
#[derive(Debug)]
pub(super) struct Ledger {
    server: RedisServer,
    pub(super) kills: u64,
}

impl Ledger {
    /// A server that keeps nothing, or what it had a second ago, or everything, as the dice fall.
    pub(super) fn start(dice: &mut Dice) -> Result<Self, TortureError> {
        delivery::redis_is_here()?;
        let keeps: [&[&str]; 3] = [
            &["--appendonly", "no"],
            &["--appendonly", "yes", "--appendfsync", "everysec"],
            &["--appendonly", "yes", "--appendfsync", "always"],
        ];
        let arguments = dice.pick(&keeps).copied().unwrap_or_default();
        Ok(Self { server: RedisServer::start_with(arguments, None), kills: 0 })
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// Kills it, and starts it again with what it has kept.
    pub(super) fn kill(&mut self) {
        self.server.kill();
        self.kills += 1;
        self.server.restart();
    }

    /// Takes everything from it.
    pub(super) fn empty(&self) {
        self.server.tell("FLUSHALL");
    }

    /// Delivers the rest of what `engine` has sold, and compares.
    pub(super) fn settle(&self, engine: &Engine, verdict: &mut Verdict) {
        let delivered = delivery::deliver(&self.url(), engine)
            .and_then(|driver| driver.wait_delivered(delivery::PATIENCE).map_err(|error| error.to_string()));
        if let Err(why) = delivered {
            verdict.wrong(|| why);
        }
        self.compare(engine, verdict);
    }

    /// Every order of the journal is in Redis, once, as it is.
    pub(super) fn compare(&self, engine: &Engine, verdict: &mut Verdict) {
        delivery::compare(&self.url(), engine, verdict);
    }
}
