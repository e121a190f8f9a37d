//! The driver: a thread for those who have no loop of their own, with a name, and only if it is asked for.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::inner::EngineInner;
use crate::journal::Journal;

/// A longer pace would take an instant beyond what the system can count.
const LONGEST: Duration = Duration::from_hours(24);

/// A thread called `sellout-driver` that ticks an engine and commits for everybody who waits. Dropping it makes the
/// thread do both once more and end.
#[must_use = "dropping the driver stops it"]
pub struct Driver {
    engine: Arc<EngineInner>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    pub(crate) fn start(engine: &Arc<EngineInner>, every: Duration) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (driven, stopped) = (Arc::clone(engine), Arc::clone(&stop));
        let thread = thread::Builder::new().name("sellout-driver".to_owned());
        let thread = thread.spawn(move || drive(&driven, &stopped, every))?;
        engine.driver.store(Arc::new(Some(thread.thread().clone())));
        // Release: who sees that there is a driver finds its thread.
        engine.driven.store(true, Ordering::Release);
        Ok(Self { engine: Arc::clone(engine), stop, thread: Some(thread) })
    }
}

/// Ticks at its pace; in between it commits whenever somebody waits.
fn drive(engine: &Arc<EngineInner>, stop: &Arc<AtomicBool>, every: Duration) {
    let (mut next, mut compactor) = (Instant::now(), Compactor::default());
    // Acquire: pairs with the Release of the driver's drop.
    while !stop.load(Ordering::Acquire) {
        let now = Instant::now();
        if now >= next {
            next = now + every.min(LONGEST);
            engine.tick(engine.now());
            compactor.look(engine, stop);
        } else if engine.journal.as_ref().is_some_and(Journal::has_pending) {
            engine.commit();
        } else {
            thread::park_timeout(next - now);
        }
    }
    engine.tick(engine.now());
    compactor.join();
}

/// Compacts the journal when that is due, on a thread that lives as long as it takes: no tick waits for it.
#[derive(Default)]
struct Compactor {
    thread: Option<JoinHandle<()>>,
}

impl Compactor {
    fn look(&mut self, engine: &Arc<EngineInner>, stop: &Arc<AtomicBool>) {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join();
        }
        if self.thread.is_some() || !engine.journal.as_ref().is_some_and(Journal::is_rewriting_due) {
            return;
        }
        let (engine, stop) = (Arc::clone(engine), Arc::clone(stop));
        let compact = move || {
            // Acquire: pairs with the Release of the driver's drop, which waits for this.
            let _counted = engine.compact(&|| !stop.load(Ordering::Acquire));
        };
        // Without a thread to spare it is tried again at the next tick.
        self.thread = thread::Builder::new().name("sellout-compactor".to_owned()).spawn(compact).ok();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has been reported there.
            let _ended = thread.join();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Release: from now on who waits commits for himself; the thread commits once more after it sees `stop`. Its
        // last look at what was appended takes the append lock: an append that it misses comes later, and finds this.
        self.engine.driven.store(false, Ordering::Release);
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic on that thread has been reported there; a drop must not panic again.
            let _ended = thread.join();
        }
        self.engine.driver.store(Arc::new(None));
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("engine", &self.engine).finish_non_exhaustive()
    }
}
