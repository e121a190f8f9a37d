//! A thread of its own for the ledger, for programs without tokio.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    panic,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::{runtime, sync::oneshot};

use super::{LedgerError, LedgerStatus, RedisLedger, Undelivered};

/// Works until `stop` is ready.
pub(super) async fn work_until(work: impl Future<Output = Infallible>, stop: impl Future<Output = ()>) {
    let (mut stop, mut work) = (pin!(stop), pin!(work));
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        match work.as_mut().poll(context) {
            Poll::Ready(never) => match never {},
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// A running ledger on a thread named `sellout-ledger`.
///
/// Dropping it tells the thread to stop and does not wait; [`LedgerDriver::stop`] waits. Both are harmless at any
/// point: what was not delivered is delivered by the next run.
#[must_use = "a driver that is dropped stops delivering"]
pub struct LedgerDriver {
    ledger: Arc<RedisLedger>,
    worker: Worker,
}

impl LedgerDriver {
    pub(super) fn start(ledger: RedisLedger) -> Result<Self, LedgerError> {
        let (ledger, worker) =
            Worker::start("sellout-ledger", ledger, async |ledger: &RedisLedger, stop| ledger.run(stop).await)?;
        Ok(Self { ledger, worker })
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
    #[expect(clippy::must_use_candidate, reason = "it acts; how far it got is news for those who ask")]
    pub fn stop(mut self) -> LedgerStatus {
        self.worker.stop();
        self.ledger.status()
    }
}

impl fmt::Debug for LedgerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerDriver").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// A thread that delivers until it is told to stop, or dropped.
pub(super) struct Worker {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Becomes ready when the worker is to stop.
pub(super) struct Stop(oneshot::Receiver<()>);

impl Future for Stop {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // A driver that was dropped counts as one that was told to stop.
        Pin::new(&mut self.0).poll(context).map(|_| ())
    }
}

impl Worker {
    /// Starts a thread called `name` that does `deliver` with `what`.
    pub(super) fn start<T, F>(name: &str, what: T, deliver: F) -> Result<(Arc<T>, Self), LedgerError>
    where
        T: Send + Sync + 'static,
        F: AsyncFnOnce(&T, Stop) + Send + 'static,
    {
        let what = Arc::new(what);
        let failed = |error: std::io::Error| LedgerError::Thread { reason: error.to_string() };
        // tokio looks up host names on a thread beside this one, under the same name.
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name(name)
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let running = Arc::clone(&what);
        let work = move || {
            runtime.block_on(deliver(&running, Stop(stopped)));
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work).map_err(failed)?;
        Ok((what, Self { stop: Some(stop), thread: Some(thread) }))
    }

    /// Stops and waits for the thread; a panic in it goes on here.
    pub(super) fn stop(&mut self) {
        self.signal();
        if let Some(Err(payload)) = self.thread.take().map(thread::JoinHandle::join) {
            panic::resume_unwind(payload);
        }
    }

    fn signal(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that has ended by itself no longer listens.
            let _ = stop.send(());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signal();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("runs", &self.stop.is_some()).finish_non_exhaustive()
    }
}
