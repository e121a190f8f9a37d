//! A thread of its own for the ledger, for programs without tokio.

use std::{fmt, panic, sync::Arc, thread, time::Duration};

use tokio::{runtime, sync::oneshot};

use super::{LedgerError, LedgerStatus, RedisLedger, Undelivered};

/// A running ledger on a thread named `sellout-ledger`.
///
/// Dropping it tells the thread to stop and does not wait; [`LedgerDriver::stop`] waits. Both are harmless at any
/// point: what was not delivered is delivered by the next run.
#[must_use = "a driver that is dropped stops delivering"]
pub struct LedgerDriver {
    ledger: Arc<RedisLedger>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LedgerDriver {
    pub(super) fn start(ledger: RedisLedger) -> Result<Self, LedgerError> {
        let ledger = Arc::new(ledger);
        let failed = |error: std::io::Error| LedgerError::Thread { reason: error.to_string() };
        // tokio looks up host names on a thread beside this one, under the same name.
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("sellout-ledger")
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let running = Arc::clone(&ledger);
        let deliver = move || {
            runtime.block_on(running.run(async {
                // A driver that was dropped counts as one that was told to stop.
                let _ = stopped.await;
            }));
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("sellout-ledger".to_owned()).spawn(deliver).map_err(failed)?;
        Ok(Self { ledger, stop: Some(stop), thread: Some(thread) })
    }

    /// What is delivered, and what stands in the way.
    #[must_use]
    pub fn status(&self) -> LedgerStatus {
        self.ledger.status()
    }

    /// Waits until everything that is durable now is seen in Redis.
    ///
    /// # Errors
    /// [`Undelivered`] if that takes longer than `within`.
    pub fn wait_delivered(&self, within: Duration) -> Result<(), Undelivered> {
        let goal = self.ledger.goal();
        if self.ledger.board.until_blocking(&goal, within) {
            Ok(())
        } else {
            Err(self.ledger.status().undelivered(within))
        }
    }

    /// Stops delivering, waits for the thread, and says how far it got.
    ///
    /// # Panics
    /// If the [`Source`](super::Source) panicked in the thread, with its panic.
    pub fn stop(mut self) -> LedgerStatus {
        self.signal();
        if let Some(Err(payload)) = self.thread.take().map(thread::JoinHandle::join) {
            panic::resume_unwind(payload);
        }
        self.ledger.status()
    }

    fn signal(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that has ended by itself no longer listens.
            let _ = stop.send(());
        }
    }
}

impl Drop for LedgerDriver {
    fn drop(&mut self) {
        self.signal();
    }
}

impl fmt::Debug for LedgerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerDriver").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}
