//! The world of one engine: its disk, its clock, its Redis, and what delivers to it.
//!
//! What holds:
//! - one thread does everything, and time passes only when it is told to: the engine's by the clock, the ledger's by
//!   the runtime, which stands still;
//! - a process that has ended touches nothing any more: its disk is another one by then.

use std::{
    future::poll_fn,
    num::NonZeroU16,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::{runtime, time::sleep};

use super::{
    Flaw,
    dice::Dice,
    network::Network,
    redis::{Server, Trouble},
    rot::{Rotted, rot},
};
use crate::{
    Durability, Engine, Events, ManualClock, OpenError, Timestamp,
    journal::{self, Fault, JournalOptions, SimDisk},
    ledger::{Options, RedisLedger, RedisMessages},
};

/// What lets the ledger in.
const PASSWORD: &str = "a-shop";
const URL: &str = "redis://:a-shop@simulated";

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// The engine was closed.
    Closed,
    /// The process was killed; the machine goes on.
    Killed,
    /// The power went.
    Dark,
}

/// Something that delivers, for ever.
type Work = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) events: Events,
    pub(super) clock: Arc<ManualClock>,
    pub(super) network: Network,
    opening: Opening,
    disk: SimDisk,
    runtime: runtime::Runtime,
    work: Vec<Work>,
    /// Openings that failed.
    pub(super) in_vain: u64,
    /// What became of bits that flipped.
    pub(super) rotted: Vec<Rotted>,
    flaw: Option<Flaw>,
}

/// How the engine's journals are opened.
#[derive(Debug, Clone, Copy)]
struct Opening {
    durability: Durability,
    segment_bytes: u64,
}

fn open(disk: &SimDisk, clock: &Arc<ManualClock>, opening: Opening) -> Result<Engine, OpenError> {
    let Opening { durability, segment_bytes } = opening;
    let now = crate::Clock::now(&**clock);
    let sizes = JournalOptions { segment_bytes, fill_bytes: 500, ..JournalOptions::at(now) };
    // One stripe: which thread it is makes no difference.
    let options = Engine::options().clock(clock.clone()).stripes(1).durability(durability);
    options.open_on(Arc::new(disk.clone()), sizes)
}

impl World {
    pub(super) fn new(dice: &mut Dice, now: Timestamp, flaw: Option<Flaw>) -> Result<Self, String> {
        let disk = match flaw {
            Some(Flaw::LyingDisk) => SimDisk::flawed(dice.roll(), journal::Flaw::LyingSync),
            Some(Flaw::UnsyncedDraft) => SimDisk::flawed(dice.roll(), journal::Flaw::UnsyncedDraft),
            _ => SimDisk::new(dice.roll()),
        };
        let disk = disk.sectors(if dice.one_in(2) { 512 } else { 4_096 });
        let durability = if dice.one_in(4) { Durability::Buffered } else { Durability::Synced };
        // Small, so that there is something to compact.
        let opening = Opening { durability, segment_bytes: (4 << 10) + 500 + dice.below(4 << 10) };
        let server = Server::new(Some(PASSWORD));
        let server = if flaw == Some(Flaw::BlindScript) { server.that_counts_blindly() } else { server };
        let network = Network::new(server, dice.roll(), PASSWORD);
        if flaw == Some(Flaw::NoSecondLook) {
            network.rely_on_memory();
        }
        let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        let clock = Arc::new(ManualClock::starting_at(now));
        let engine = open(&disk, &clock, opening).map_err(|error| error.to_string())?;
        let events = engine.subscribe(512);
        let (work, in_vain, rotted) = (Vec::new(), 0, Vec::new());
        let mut world = Self { engine, events, clock, network, opening, disk, runtime, work, in_vain, rotted, flaw };
        world.employ(dice)?;
        Ok(world)
    }

    /// Whoever delivers begins.
    fn employ(&mut self, dice: &mut Dice) -> Result<(), String> {
        let batch = NonZeroU16::new(1 + u16::try_from(dice.below(6)).unwrap_or_default());
        let options = Options {
            batch: batch.unwrap_or(NonZeroU16::MIN),
            poll: Duration::from_millis(200),
            look_every: Duration::from_secs(2),
            ..Options::default()
        };
        let options = options.timeouts(Duration::from_millis(300), Duration::from_millis(500));
        let options = options.retry(Duration::from_millis(50), Duration::from_secs(1));
        let (source, outbox) = match (self.engine.source(), self.engine.outbox()) {
            (Ok(Some(source)), Ok(Some(outbox))) => (source, outbox),
            (source, outbox) => {
                let reasons = [source.err(), outbox.err()].map(|error| error.map(|error| error.to_string()));
                return Err(format!("nothing to deliver from: {reasons:?}"));
            }
        };
        let ledger = RedisLedger::over(Arc::new(self.network.clone()), URL, source, options.clone());
        let messages = RedisMessages::over(Arc::new(self.network.clone()), URL, outbox, options);
        let ledger = ledger.map_err(|error| error.to_string())?;
        let messages = messages.map_err(|error| error.to_string())?;
        self.work.push(Box::pin(async move { ledger.run(std::future::pending()).await }));
        self.work.push(Box::pin(async move { messages.run(std::future::pending()).await }));
        Ok(())
    }

    /// Lets whoever delivers work for `span`.
    pub(super) fn deliver(&mut self, span: Duration) {
        let Self { runtime, work, .. } = self;
        runtime.block_on(async {
            let mut end = pin!(sleep(span));
            poll_fn(|context| {
                for work in &mut *work {
                    let _for_ever = work.as_mut().poll(context);
                }
                end.as_mut().poll(context)
            })
            .await;
        });
    }

    /// When an answer is given.
    pub(super) fn durability(&self) -> Durability {
        self.opening.durability
    }

    /// Whether the journal takes nothing any more.
    pub(super) fn has_failed(&self) -> bool {
        self.disk.is_dark() || self.engine.has_failed()
    }

    /// Whether nothing is wrong with the disk, and nothing will be.
    pub(super) fn is_disk_sound(&self) -> bool {
        self.disk.is_sound()
    }

    /// Somebody makes room on the disk.
    pub(super) fn make_room(&self) {
        self.disk.set_room(None);
    }

    /// One of the disk's next calls goes wrong, at most the one that is `within` calls.
    pub(super) fn break_disk(&self, within: u64, dice: &mut Dice) {
        let fault = match dice.below(5) {
            0 => Fault::Full,
            1 | 2 => Fault::Error(std::io::ErrorKind::Other),
            _ => Fault::Crash,
        };
        self.disk.fault_at(self.disk.calls() + 1 + dice.below(within), fault);
    }

    /// The process ends, and another one begins on what is left, at `now` by the machine's clock.
    pub(super) fn end(&mut self, death: Death, now: Timestamp, faults: bool, dice: &mut Dice) -> Result<(), String> {
        // Who delivers ends with the process, in the middle of whatever it did.
        self.work.clear();
        self.disk = match death {
            Death::Dark => self.disk.after_crash(dice.roll()),
            _ if self.disk.is_dark() => self.disk.after_crash(dice.roll()),
            Death::Killed | Death::Closed => self.disk.after_kill(),
        };
        // Somebody has made room, if it was full.
        self.disk.set_room(None);
        self.clock = Arc::new(ManualClock::starting_at(now));
        if faults && dice.one_in(2) {
            let open = |disk: &SimDisk| open(disk, &self.clock, self.opening);
            self.rotted.push(rot(&self.disk, open, dice, self.flaw == Some(Flaw::RotForTorn))?);
        }
        loop {
            if faults && dice.one_in(4) {
                self.break_disk(12, dice);
            }
            match open(&self.disk, &self.clock, self.opening) {
                Ok(engine) => {
                    self.disk.fault_at(u64::MAX, Fault::Crash);
                    self.disk.set_room(None);
                    self.engine = engine;
                    if !self.has_failed() {
                        break;
                    }
                }
                Err(OpenError::Io { .. } | OpenError::Full { .. }) if faults => {}
                Err(other) => return Err(format!("G4: it can't be opened again: {other}")),
            }
            self.in_vain += 1;
            let dark = self.disk.is_dark() || dice.one_in(2);
            self.disk = if dark { self.disk.after_crash(dice.roll()) } else { self.disk.after_kill() };
            self.disk.set_room(None);
        }
        self.events = self.engine.subscribe(512);
        self.employ(dice)
    }

    /// Everything that was wrong with Redis, and on the way to it, is over.
    pub(super) fn heal(&mut self) {
        self.network.lose(0);
        self.network.server(|server| server.set_trouble(None));
        self.network.late_comes();
        self.network.server(|server| server.replicate(usize::MAX));
    }

    /// Redis gets into trouble, or out of it.
    pub(super) fn trouble(&mut self, dice: &mut Dice) -> Option<Trouble> {
        let troubles = [Trouble::Full, Trouble::ReadOnly, Trouble::Loading, Trouble::Down, Trouble::OtherPassword];
        let trouble = if dice.one_in(2) { None } else { dice.place(troubles.len()).map(|place| troubles[place]) };
        self.network.server(|server| server.set_trouble(trouble));
        trouble
    }
}
