//! Exactly-once delivery of confirmed sales to Redis.
//!
//! The journal is the truth; the ledger in Redis is a copy that others may read. For every sale there are two hashes
//! under one hash tag:
//!
//! | key | fields |
//! |---|---|
//! | `sellout:{<sale>}:ledger` | `engine`, `epoch`, `incarnation`: who writes; `last`: the watermark; `units`: so far |
//! | `sellout:{<sale>}:sales` | the sequence, in decimal -> the record, as JSON |
//!
//! What holds true:
//! - every durable sale gets into Redis, once, under its sequence, whatever is re-sent, reordered, timed out, or failed
//!   over: a batch is one script that skips what is there, compares it, and moves the watermark last;
//! - a Redis that lost acknowledged writes is delivered to again, from the journal, about a second after its return;
//! - a journal that isn't the newest (restored, or opened twice) is refused and shown, and overwrites nothing;
//! - the ledger owns no thread unless asked for one with [`RedisLedger::spawn`], and never slows down `confirm`.
//!
//! Messages to buyers go to a stream beside them: see [`RedisMessages`].
//!
//! It is not: a queue (nothing is ever taken out), or a backup (Redis has the confirmed sales, not the holds).
//!
//! Redis is one server, the primary that sentinels name, or a cluster: see [`RedisLedger::new`].
//!
//! Shape: [`Source`] gives records, a courier (one loop) carries them over a link (to one server or several), the board
//! shows how far it got, [`verify()`] proves it without trusting any of them.

mod cluster;
mod courier;
pub(crate) mod dial;
mod driver;
mod endpoint;
mod error;
mod link;
mod messages;
mod nodes;
mod row;
mod script;
mod sentinel;
mod server;
mod status;
#[cfg(test)]
mod tests;
pub(crate) mod verify;

use std::{fmt, num::NonZeroU16, sync::Arc, time::Duration};

pub use crate::{Identity, SaleHead, SoldRecord, Source};
pub use driver::LedgerDriver;
pub use error::LedgerError;
pub use link::probe;
pub use messages::{MessagesDriver, MessagesError, MessagesStatus, RedisMessages, Unsent};
pub use status::{Connection, LedgerStatus, SaleStatus, Undelivered};
pub use verify::{SaleComparison, Writer, delivered, verify};

#[cfg(feature = "sim")]
pub(crate) use messages::{POST, words as message_words};
#[cfg(feature = "sim")]
pub(crate) use row::text as row_text;

use courier::Courier;
use dial::{Dial, Limits, Tcp};
use driver::work_until;
use endpoint::Endpoint;
use script::Script;
use status::{Board, Goal};

/// The script that takes a batch.
pub(crate) const DELIVER: &str = include_str!("ledger/deliver.lua");

/// How the ledger delivers. The defaults suit a Redis in the same data centre.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Options {
    /// What the keys begin with: `sellout`.
    pub prefix: String,
    /// The most records in one batch: 512.
    pub batch: NonZeroU16,
    /// How long connecting may take: 2 s.
    pub connect_timeout: Duration,
    /// How long an answer may take: 5 s.
    pub response_timeout: Duration,
    /// The pause after a first failure: 50 ms. It doubles with every further one.
    pub retry_first: Duration,
    /// The longest pause between two attempts: 5 s.
    pub retry_most: Duration,
    /// How often the source is asked for new sales when all are delivered: every 10 ms.
    pub poll: Duration,
    /// How often the watermarks are read to find out whether Redis lost something: every second.
    pub look_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "sellout".to_owned(),
            batch: NonZeroU16::new(512).expect("512 isn't 0"),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            retry_first: Duration::from_millis(50),
            retry_most: Duration::from_secs(5),
            poll: Duration::from_millis(10),
            look_every: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// Keys begin with `prefix`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// At most `records` in one batch.
    pub fn batch(mut self, records: NonZeroU16) -> Self {
        self.batch = records;
        self
    }

    /// Connecting may take `connect`, an answer `response`.
    pub fn timeouts(mut self, connect: Duration, response: Duration) -> Self {
        self.connect_timeout = connect;
        self.response_timeout = response;
        self
    }

    /// Pauses after failures grow from `first` to `most`.
    pub fn retry(mut self, first: Duration, most: Duration) -> Self {
        self.retry_first = first;
        self.retry_most = most;
        self
    }

    fn limits(&self) -> Limits {
        Limits { connect: self.connect_timeout, response: self.response_timeout }
    }

    /// The pause after `failures` failures in a row before this one.
    fn pause(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.retry_first.saturating_mul(factor).min(self.retry_most)
    }
}

/// Delivers the confirmed sales of a [`Source`] to Redis.
///
/// ```no_run
/// use sellout::ledger::{Options, RedisLedger, Source};
/// use std::{sync::Arc, time::Duration};
///
/// # fn deliver(source: Arc<dyn Source>) -> Result<(), Box<dyn std::error::Error>> {
/// let ledger = RedisLedger::new("redis://127.0.0.1", source, Options::default())?;
/// let driver = ledger.spawn()?; // or, under tokio: ledger.run(stop).await
/// driver.wait_delivered(Duration::from_secs(10))?;
/// let status = driver.stop();
/// assert_eq!(status.backlog(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a ledger delivers only while it runs"]
pub struct RedisLedger {
    endpoint: Endpoint,
    source: Arc<dyn Source>,
    options: Options,
    board: Board,
    script: Script,
    /// Held by whoever runs: one batch in flight a sale, also if two callers run one ledger.
    turn: tokio::sync::Mutex<()>,
}

/// Everything that is said about a URL without connecting to it.
#[cfg(any(test, fuzzing))]
pub(crate) fn shown(url: &str) -> String {
    match Endpoint::parse(url, Arc::new(Tcp)) {
        Ok(endpoint) => format!("{endpoint:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}

impl RedisLedger {
    /// A ledger for the Redis at `url`. It connects when it runs.
    ///
    /// | URL | who gets the sales |
    /// |---|---|
    /// | `redis://[user][:password]@host[:port][/database]` | one server |
    /// | `redis-sentinel://[user][:password]@host[:port],host[:port]../primary[/database]` | who the sentinels name |
    /// | `redis-cluster://[user][:password]@host[:port],host[:port]..` | the servers of a cluster |
    ///
    /// # Errors
    /// [`LedgerError::Url`] or [`LedgerError::Prefix`] if one of them can't be used.
    pub fn new(url: &str, source: Arc<dyn Source>, options: Options) -> Result<Self, LedgerError> {
        Self::over(Arc::new(Tcp), url, source, options)
    }

    /// As [`RedisLedger::new`], over connections that `dial` makes.
    pub(crate) fn over(
        dial: Arc<dyn Dial>,
        url: &str,
        source: Arc<dyn Source>,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let endpoint = Endpoint::parse(url, dial)?;
        if !row::is_prefix(&options.prefix) {
            return Err(LedgerError::Prefix { prefix: options.prefix });
        }
        let (script, turn) = (Script::new(DELIVER), tokio::sync::Mutex::default());
        Ok(Self { endpoint, source, options, board: Board::new(), script, turn })
    }

    /// Delivers until `stop` is ready, through every failure: what is wrong shows in [`RedisLedger::status`].
    ///
    /// It can be dropped at any point, too. It needs a tokio runtime with I/O and time, and calls the source from
    /// within. A second call on the same ledger waits for the first to end.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let work = async {
            let _turn = self.turn.lock().await;
            let _sign = Sign { board: &self.board };
            let courier = Courier {
                endpoint: &self.endpoint,
                source: &*self.source,
                options: &self.options,
                board: &self.board,
                script: self.script.clone(),
            };
            courier.run().await
        };
        work_until(work, stop).await;
    }

    /// Delivers on a thread of its own, named `sellout-ledger`, for programs without tokio.
    ///
    /// # Errors
    /// [`LedgerError::Thread`] if the operating system gives no thread.
    pub fn spawn(self) -> Result<LedgerDriver, LedgerError> {
        LedgerDriver::start(self)
    }

    /// What is delivered, and what stands in the way.
    #[must_use]
    pub fn status(&self) -> LedgerStatus {
        self.board.status(self.source.sales())
    }

    /// Waits until everything that is durable now is seen in Redis, while somebody runs the ledger.
    ///
    /// Seen means: by a look that began after this call. An answer from before, which Redis may have lost since,
    /// doesn't count.
    ///
    /// # Errors
    /// [`Undelivered`] if that takes longer than `within`.
    pub async fn delivered(&self, within: Duration) -> Result<(), Undelivered> {
        let goal = self.goal();
        let waited = tokio::time::timeout(within, self.board.until(&goal)).await;
        waited.map_err(|_| self.status().undelivered(within))
    }

    fn goal(&self) -> Goal {
        self.board.goal(self.source.sold())
    }
}

impl fmt::Debug for RedisLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLedger")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

/// Says "stopped" when the run ends, however it ends.
struct Sign<'a> {
    board: &'a Board,
}

impl Drop for Sign<'_> {
    fn drop(&mut self) {
        self.board.connection(Connection::Stopped);
    }
}
