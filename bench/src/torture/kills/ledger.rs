//! A real Redis beside the process that sells: it is killed, too, with its file or without one.

use std::{
    num::NonZeroU16,
    process::{Command, Stdio},
    time::Duration,
};

use sellout::{
    Engine, SoldRecord,
    ledger::{Options, RedisLedger, verify},
};
use sellout_testkit::RedisServer;

use crate::torture::{Dice, TortureError, Verdict};

/// How long Redis may take to get what it lacks, at the end.
const PATIENCE: Duration = Duration::from_mins(2);

/// Impatient, and in small batches: many of them are cut by a kill.
pub(super) fn options() -> Options {
    let mut options = Options::default().retry(Duration::from_millis(5), Duration::from_millis(50));
    options = options.batch(NonZeroU16::new(16).expect("16 isn't 0"));
    options.look_every = Duration::from_millis(100);
    options
}

/// A Redis, and how it keeps what it has.
#[derive(Debug)]
pub(super) struct Ledger {
    server: RedisServer,
    pub(super) kills: u64,
}

impl Ledger {
    /// A server that keeps nothing, or what it had a second ago, or everything, as the dice fall.
    pub(super) fn start(dice: &mut Dice) -> Result<Self, TortureError> {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(TortureError::NoRedis);
        }
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
        if let Err(why) = self.deliver(engine) {
            verdict.wrong(|| why);
        }
        self.compare(engine, verdict);
    }

    fn deliver(&self, engine: &Engine) -> Result<(), String> {
        let source = engine.source().map_err(|error| error.to_string())?.ok_or("the engine has no journal")?;
        let ledger = RedisLedger::new(&self.url(), source, options()).map_err(|error| error.to_string())?;
        let driver = ledger.spawn().map_err(|error| error.to_string())?;
        driver.wait_delivered(PATIENCE).map_err(|error| error.to_string())
    }

    /// Every order of the journal is in Redis, once, as it is.
    pub(super) fn compare(&self, engine: &Engine, verdict: &mut Verdict) {
        let compared = || {
            let source = engine.source().map_err(|error| error.to_string())?.ok_or("the engine has no journal")?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let digest = |record: &SoldRecord| {
                let mut digest = sellout::Digest::default();
                digest.add(record.sequence, record.buyer, record.quantity);
                digest.as_u128()
            };
            let (url, options) = (self.url(), options());
            runtime.block_on(verify(&url, &*source, &options, digest)).map_err(|error| error.to_string())
        };
        match compared() {
            Err(why) => verdict.wrong(|| format!("Redis can't be compared: {why}")),
            Ok(sales) => {
                for sale in sales {
                    verdict.missing(sale.missing, || format!("in Redis: {sale:?}"));
                    for _ in 0..sale.duplicates {
                        verdict.twice(|| format!("in Redis: {sale:?}"));
                    }
                    let rest = sale.is_exact() || sale.missing + sale.duplicates > 0;
                    verdict.unless(rest, || format!("in Redis: {sale:?}"));
                }
            }
        }
    }
}
