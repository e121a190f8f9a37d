//! Exactly-once delivery of messages to a Redis stream.
//!
//! | key | what |
//! |---|---|
//! | `sellout:{messages}:stream` | the messages, each an entry under its own id |
//! | `sellout:{messages}:writer` | `engine`, `epoch`, `incarnation`: whose they are |
//!
//! What holds true:
//! - every message gets into the stream, once and in the order of the ids, whatever is re-sent, reordered, timed out or
//!   failed over: an entry's id is the message's, and a stream takes no id that isn't greater than its last;
//! - the stream itself says how far it got, also when it was trimmed: nothing else could disagree with it. One that
//!   lost its tail in a failover says an earlier id, and is given the rest again from the journal;
//! - a journal that isn't the newest is refused and shown.
//!
//! Readers use consumer groups, and `XTRIM` what was read. A stream that is deleted is one that has nothing: it is
//! filled again.

mod carrier;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::{
    Connection, LedgerError, Options,
    dial::{Dial, Tcp},
    driver::{Worker, work_until},
    endpoint::Endpoint,
    row,
    script::Script,
};
use crate::{MessageId, Outbox, SeekError};

#[cfg(feature = "sim")]
pub(crate) use carrier::words;

use carrier::{Carrier, Keys};

/// The script that takes a batch.
pub(crate) const POST: &str = include_str!("messages/post.lua");

/// Why messages aren't delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessagesError {
    /// Redis can't be reached, or refuses.
    #[error(transparent)]
    Redis(#[from] LedgerError),
    /// The stream belongs to another engine.
    #[error("redis has the messages of engine {found}: use another key prefix")]
    OtherEngine {
        /// The engine it belongs to, as 16 hexadecimal digits.
        found: String,
    },
    /// The journal was opened again, elsewhere, since this process opened it.
    #[error("the journal was opened again as epoch {found}, this is epoch {ours}: stop this process")]
    StaleEpoch {
        /// The epoch in Redis.
        found: String,
        /// The epoch of this process.
        ours: u32,
    },
    /// A copy of the journal was opened as often as this one.
    #[error("another copy of the journal was opened as epoch {ours} too: stop one of the two processes")]
    Forked {
        /// The epoch of both.
        ours: u32,
    },
    /// Redis has a message that the journal doesn't have, or has another under its id.
    #[error("redis has message {id}, this journal another or none: it was restored; bring back the newer journal")]
    Ahead {
        /// The last id in the stream.
        id: MessageId,
    },
    /// A key holds something else.
    #[error("a key of the messages holds something that isn't theirs: move it away; delivery goes on by itself")]
    NotMessages,
    /// The journal can't be read.
    #[error("the journal can't be read ({reason}): nothing is lost; delivery tries again")]
    Journal {
        /// What it said.
        reason: String,
    },
}

impl MessagesError {
    /// The connection's own error, if it is one.
    fn of_connection(&self) -> Option<&LedgerError> {
        match self {
            Self::Redis(error) if error.is_of_connection() => Some(error),
            _ => None,
        }
    }
}

impl From<SeekError> for MessagesError {
    fn from(error: SeekError) -> Self {
        match error {
            SeekError::NoSuchMessage { id } => Self::Ahead { id },
            SeekError::Journal(error) => Self::Journal { reason: error.to_string() },
        }
    }
}

/// How far the messages have got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessagesStatus {
    /// The connection, with its last error.
    pub connection: Connection,
    /// The last message that Redis was seen to have.
    pub delivered: MessageId,
    /// Why delivery pauses. It is tried again by itself.
    pub fault: Option<MessagesError>,
}

/// Not every message was delivered in time. Nothing is lost: delivery goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("messages up to {delivered} were delivered within {waited:?}, not all{}", because(.cause.as_ref()))]
#[non_exhaustive]
pub struct Unsent {
    /// The last one that was.
    pub delivered: MessageId,
    /// How long was waited.
    pub waited: Duration,
    /// What stands in the way, if anything is known to.
    pub cause: Option<MessagesError>,
}

fn because(cause: Option<&MessagesError>) -> String {
    cause.map_or_else(|| ": wait longer, or look at the status".to_owned(), |cause| format!(": {cause}"))
}

/// Where the carrier writes what it sees.
#[derive(Debug, Default)]
struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    connection: Connection,
    delivered: Option<MessageId>,
    fault: Option<MessagesError>,
    /// Looks that were asked for, and the last of those after which everything was delivered.
    asked: u64,
    done: u64,
}

impl Board {
    fn write(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn status(&self) -> MessagesStatus {
        let state = self.state.lock();
        let (connection, fault) = (state.connection.clone(), state.fault.clone());
        MessagesStatus { connection, delivered: state.delivered.unwrap_or(MessageId::START), fault }
    }
}

/// Delivers the messages of an [`Outbox`] to a Redis stream.
///
/// ```no_run
/// use sellout::{Engine, ledger::{Options, RedisMessages}};
/// use std::time::Duration;
///
/// # fn deliver(engine: &Engine) -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = engine.outbox()?.expect("there is a journal");
/// let driver = RedisMessages::new("redis://127.0.0.1", outbox, Options::default())?.spawn()?;
/// driver.wait_delivered(Duration::from_secs(10))?;
/// driver.stop();
/// # Ok(())
/// # }
/// ```
#[must_use = "messages are delivered only while it runs"]
pub struct RedisMessages {
    endpoint: Endpoint,
    options: Options,
    board: Board,
    script: Script,
    /// Held by whoever runs: one batch is in flight, also if two callers run it.
    outbox: tokio::sync::Mutex<Outbox>,
}

impl RedisMessages {
    /// For the Redis at `url`, as for [`RedisLedger`](super::RedisLedger::new). It connects when it runs.
    ///
    /// # Errors
    /// [`LedgerError::Url`] or [`LedgerError::Prefix`] if one of them can't be used.
    pub fn new(url: &str, outbox: Outbox, options: Options) -> Result<Self, LedgerError> {
        Self::over(Arc::new(Tcp), url, outbox, options)
    }

    /// As [`RedisMessages::new`], over connections that `dial` makes.
    pub(crate) fn over(dial: Arc<dyn Dial>, url: &str, outbox: Outbox, options: Options) -> Result<Self, LedgerError> {
        let endpoint = Endpoint::parse(url, dial)?;
        if !row::is_prefix(&options.prefix) {
            return Err(LedgerError::Prefix { prefix: options.prefix });
        }
        let (script, outbox) = (Script::new(POST), tokio::sync::Mutex::new(outbox));
        Ok(Self { endpoint, options, board: Board::default(), script, outbox })
    }

    /// Delivers until `stop` is ready, through every failure: what is wrong shows in [`RedisMessages::status`].
    ///
    /// It can be dropped at any point, too. It needs a tokio runtime with I/O and time, and reads the journal from
    /// within. A second call waits for the first to end.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let work = async {
            let mut outbox = self.outbox.lock().await;
            let _sign = Sign { board: &self.board };
            let keys = Keys::new(&self.options.prefix);
            let Self { endpoint, options, board, script, .. } = self;
            Carrier { endpoint, options, board, script, keys, outbox: &mut outbox }.run().await
        };
        work_until(work, stop).await;
    }

    /// Delivers on a thread of its own, named `sellout-messages`, for programs without tokio.
    ///
    /// # Errors
    /// [`LedgerError::Thread`] if the operating system gives no thread.
    pub fn spawn(self) -> Result<MessagesDriver, LedgerError> {
        let (messages, worker) =
            Worker::start("sellout-messages", self, async |messages: &Self, stop| messages.run(stop).await)?;
        Ok(MessagesDriver { messages, worker })
    }

    /// What is delivered, and what stands in the way.
    #[must_use]
    pub fn status(&self) -> MessagesStatus {
        self.board.status()
    }
}

impl fmt::Debug for RedisMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisMessages")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

/// Messages on their way, on a thread named `sellout-messages`.
///
/// Dropping it tells the thread to stop and does not wait; [`MessagesDriver::stop`] waits. Both are harmless at any
/// point: what was not delivered is delivered by the next run.
#[derive(Debug)]
#[must_use = "a driver that is dropped stops delivering"]
pub struct MessagesDriver {
    messages: Arc<RedisMessages>,
    worker: Worker,
}

impl MessagesDriver {
    /// What is delivered, and what stands in the way.
    #[must_use]
    pub fn status(&self) -> MessagesStatus {
        self.messages.status()
    }

    /// Waits until every message that is durable now is seen in Redis, by a look that began after this call.
    ///
    /// # Errors
    /// [`Unsent`] if that takes longer than `within`.
    pub fn wait_delivered(&self, within: Duration) -> Result<(), Unsent> {
        let (board, deadline) = (&self.messages.board, std::time::Instant::now() + within);
        let mut state = board.state.lock();
        state.asked += 1;
        let look = state.asked;
        while state.done < look {
            if board.changed.wait_until(&mut state, deadline).timed_out() {
                let broken = match &state.connection {
                    Connection::Broken { error, .. } => Some(MessagesError::Redis(error.clone())),
                    _ => None,
                };
                let cause = broken.or_else(|| state.fault.clone());
                let delivered = state.delivered.unwrap_or(MessageId::START);
                return Err(Unsent { delivered, waited: within, cause });
            }
        }
        Ok(())
    }

    /// Stops delivering, waits for the thread, and says how far it got.
    ///
    /// # Panics
    /// If that thread panicked, with its panic.
    #[expect(clippy::must_use_candidate, reason = "it acts; how far it got is news for those who ask")]
    pub fn stop(mut self) -> MessagesStatus {
        self.worker.stop();
        self.messages.status()
    }
}

/// Says "stopped" when the run ends, however it ends.
struct Sign<'a> {
    board: &'a Board,
}

impl Drop for Sign<'_> {
    fn drop(&mut self) {
        self.board.write(|state| state.connection = Connection::Stopped);
    }
}
