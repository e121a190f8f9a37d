//! Delivery to a real Redis, and the look at what has become of it.
//!
//! What holds: the comparison takes nothing from the delivery but the options.

use std::{
    num::NonZeroU16,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sellout::{
    Digest, Engine, SoldRecord, Source,
    ledger::{LedgerDriver, Options, RedisLedger, verify},
};

use super::{TortureError, Verdict};

/// How long Redis may take to get what it lacks, and whatever else is waited for.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// Impatient, and in small batches: many of them are cut by a fault.
pub(super) fn options() -> Options {
    let mut options = Options::default().retry(Duration::from_millis(5), Duration::from_millis(50));
    options = options.batch(NonZeroU16::new(16).expect("16 isn't 0"));
    options.look_every = Duration::from_millis(100);
    options
}

/// Whether a `redis-server` can be started here.
pub(super) fn redis_is_here() -> Result<(), TortureError> {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) { Ok(()) } else { Err(TortureError::NoRedis) }
}

/// Delivers what `engine` has sold and sells to the Redis at `url`, as long as the answer lives.
pub(super) fn deliver(url: &str, engine: &Engine) -> Result<LedgerDriver, String> {
    let ledger = RedisLedger::new(url, source(engine)?, options());
    ledger.and_then(RedisLedger::spawn).map_err(|error| error.to_string())
}

/// Every order of the journal is in Redis, once, as it is.
pub(super) fn compare(url: &str, engine: &Engine, verdict: &mut Verdict) {
    let compared = || {
        let (source, options) = (source(engine)?, options());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let digest = |record: &SoldRecord| {
            let mut digest = Digest::default();
            digest.add(record.sequence, record.buyer, record.quantity);
            digest.as_u128()
        };
        runtime.block_on(verify(url, &*source, &options, digest)).map_err(|error| error.to_string())
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

fn source(engine: &Engine) -> Result<Arc<dyn Source>, String> {
    let source = engine.source().map_err(|error| error.to_string())?;
    source.ok_or_else(|| "the engine has no journal".to_owned())
}
