//! The simulation: engine, disk, Redis and clock in one process, from one seed.
//!
//! ```text
//!  seed -> steps -> the real engine ---- simulated disk     loses, tears, fails, fills up, rots
//!             |          |  |
//!             |          |  +----------- manual clock       stands, jumps, goes back between two lives
//!             |          +-- the real ledger and messages -- network -- simulated Redis and its replica
//!             |                                              cuts, delays, repeats     restarts, fails over, refuses
//!             +--> oracle: what was promised to whom ------> checked after every step, every life, and at the end
//! ```
//!
//! What holds:
//! - the engine, its journal, the courier and the carrier are the ones that run in a shop, byte for byte; what is
//!   simulated is behind the traits through which they touch the world;
//! - the same seed gives the same run, to the last answer: [`Tried::digest`] is the proof;
//! - [`Flaw`]s are made outside of the engine, at its doors and under its feet: each is found.
//!
//! This is a tool for tests and for long runs, not for shops: it makes no promise to stay as it is. Built in the spirit
//! of `TigerBeetle`'s VOPR.

mod check;
mod dice;
mod doors;
mod network;
mod operators;
mod oracle;
mod redis;
mod rot;
mod steps;
#[cfg(test)]
mod tests;
mod world;

use std::{collections::BTreeSet, fmt, ops::AddAssign, time::Duration};

use dice::Dice;
use oracle::{Checked, NAMES, Oracle, Rules, Trace, ensure};
use world::{Death, World};

use crate::{Amounts, Audience, BasketRules, Buyer, ChangeError, SaleSpec, Timestamp, Units, WaitOrder, Waitlist};

/// How many buyers there are.
const BUYERS: u64 = 12;
const HOLD: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(2);
/// How long a sale may be for some only.
const EXCLUSIVE_SECS: u64 = 3_000;
/// When everything begins.
const START: Timestamp = Timestamp::from_millis(1_775_000_000_000);
/// Lines of a story that are kept for who reads it.
const LAST_LINES: usize = 40;

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn basket_rules() -> BasketRules {
    BasketRules::new().hold_for(HOLD).grace(GRACE)
}

/// A way to be broken, as a negative control: the simulation must find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// G1: a shop that gives a unit on hold to a second buyer.
    OneUnitForTwo,
    /// G2: a shop that says "sold out" while units are free.
    ShyShop,
    /// G3: a shop that says "cancelled" and hasn't cancelled.
    UnmadeCancel,
    /// G4: a disk whose sync lies.
    LyingDisk,
    /// G5: a script that counts whatever comes.
    BlindScript,
    /// G5: a ledger that relies on its memory instead of a look at what Redis has.
    NoSecondLook,
    /// G6: a shop that lets a buyer have a second account.
    SecondAccount,
    /// G4: a disk whose sync lies about what a compaction has written.
    UnsyncedDraft,
    /// G4: an opening that takes rot for a torn write.
    RotForTorn,
    /// G7: ticks that don't reach the engine.
    DeafTick,
    /// G8: a door that makes an invitation for whoever asks.
    OpenDoor,
    /// G8: a door that takes a token without its tag.
    UncheckedTag,
    /// G8: a door that sends an old token to the slot's next hold.
    SlotForToken,
    /// G12: a shop that gives what is offered to another in the line.
    JumpedLine,
    /// G10: a choice that the seed doesn't make.
    Unseeded,
}

/// What was tried, and nothing was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tried {
    /// Seeds.
    pub seeds: u64,
    /// Steps of users, operators, time and the world.
    pub steps: u64,
    /// Power cuts, each with another engine on what the disk kept.
    pub power_cuts: u64,
    /// Processes that were killed while the machine went on.
    pub kills: u64,
    /// Engines that were closed and opened again.
    pub closings: u64,
    /// Openings that failed because the disk did.
    pub openings_in_vain: u64,
    /// Faults of the disk: calls that failed, or were the last ones.
    pub disk_faults: u64,
    /// Things that went wrong with Redis.
    pub redis_faults: u64,
    /// Questions that were lost, answered to nobody, or came late.
    pub network_faults: u64,
    /// Failovers to a replica that may lag.
    pub failovers: u64,
    /// Restarts of Redis, with its data or without.
    pub restarts: u64,
    /// Compactions of the journal that dropped something.
    pub compactions: u64,
    /// Compactions that failed because the disk did.
    pub compactions_in_vain: u64,
    /// Bits that flipped between two lives.
    pub rots: u64,
    /// Those of them that were refused, with their place.
    pub rots_refused: u64,
    /// Buyers who weren't let in.
    pub strangers: u64,
    /// Tokens that were changed, guessed, old, or another sale's.
    pub tokens: u64,
    /// Times that the ledger was let work.
    pub deliveries: u64,
    /// Holds and baskets.
    pub holds: u64,
    /// Durable orders.
    pub orders: u64,
    /// Payments that are to be refunded.
    pub refunds: u64,
    /// Messages to buyers.
    pub messages: u64,
    /// Stands for everything that happened: the same for the same seed. Of several runs the sum, modulo 2^64.
    pub digest: u64,
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.closings += other.closings;
        self.openings_in_vain += other.openings_in_vain;
        self.disk_faults += other.disk_faults;
        self.redis_faults += other.redis_faults;
        self.network_faults += other.network_faults;
        self.failovers += other.failovers;
        self.restarts += other.restarts;
        self.compactions += other.compactions;
        self.compactions_in_vain += other.compactions_in_vain;
        self.rots += other.rots;
        self.rots_refused += other.rots_refused;
        self.strangers += other.strangers;
        self.tokens += other.tokens;
        self.deliveries += other.deliveries;
        self.holds += other.holds;
        self.orders += other.orders;
        self.refunds += other.refunds;
        self.messages += other.messages;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// A promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The simulation, to be run again.
    pub simulation: Simulation,
    /// After how many steps.
    pub step: u32,
    /// What was promised, and what was found instead.
    pub what: String,
    /// The last things that happened before.
    pub story: Vec<String>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { simulation, step, what, story } = self;
        let Simulation { seed, steps, faults, flaw } = simulation;
        writeln!(f, "seed {seed}, step {step}: {what}")?;
        for line in story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "replay it with Simulation::new({seed}).steps({steps}).faults({faults})")?;
        flaw.map_or(Ok(()), |flaw| write!(f, ".flaw(Flaw::{flaw:?})"))?;
        write!(f, ".run()")
    }
}

impl std::error::Error for Lost {}

/// One run, of one seed.
///
/// ```
/// use sellout::sim::Simulation;
///
/// let tried = Simulation::new(7).run()?;
/// assert_eq!(tried, Simulation::new(7).run()?);
/// # Ok::<(), sellout::sim::Lost>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a simulation does nothing before `run`"]
pub struct Simulation {
    seed: u64,
    steps: u32,
    faults: bool,
    flaw: Option<Flaw>,
}

impl Simulation {
    /// A run of `seed`, of 150 steps, with faults.
    pub const fn new(seed: u64) -> Self {
        Self { seed, steps: 150, faults: true, flaw: None }
    }

    /// How many steps.
    pub const fn steps(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }

    /// Whether disk and Redis have faults. Processes end in any case.
    pub const fn faults(mut self, faults: bool) -> Self {
        self.faults = faults;
        self
    }

    /// With a flaw.
    pub const fn flaw(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`Lost`] if a promise was broken: it says which one, what happened before, and how to see it again.
    pub fn run(self) -> Result<Tried, Lost> {
        self.attempt(false).map_err(|lost| {
            // The same again, and this time somebody listens.
            let told = self.attempt(true).err().filter(|told| (told.step, &told.what) == (lost.step, &lost.what));
            told.unwrap_or_else(|| Lost { story: vec!["it didn't happen a second time".to_owned()], ..lost })
        })
    }

    fn attempt(self, told: bool) -> Result<Tried, Lost> {
        let lost = |step, what, mut story: Vec<String>| {
            story.drain(..story.len().saturating_sub(LAST_LINES));
            Lost { simulation: self, step, what, story }
        };
        let mut run = Run::new(self, told).map_err(|what| lost(0, what, Vec::new()))?;
        for step in 1..=self.steps {
            if let Err(what) = run.step().and_then(|()| run.look()) {
                return Err(lost(step, what, run.trace.story()));
            }
        }
        match run.end() {
            Ok(tried) => Ok(Tried { seeds: 1, steps: self.steps.into(), ..tried }),
            Err(what) => Err(lost(self.steps + 1, what, run.trace.story())),
        }
    }
}

/// A run that is under way.
struct Run {
    dice: Dice,
    world: World,
    oracle: Oracle,
    trace: Trace,
    tried: Tried,
    faults: bool,
    flaw: Option<Flaw>,
    /// Labels that were given.
    labels: u32,
    /// Keys in Redis under which somebody else wrote.
    overwritten: BTreeSet<String>,
}

/// Choices that no seed makes.
fn unseeded() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // Relaxed: another number for every caller is all that is wanted.
    CALLS.fetch_add(1, Ordering::Relaxed)
}

impl Run {
    fn new(simulation: Simulation, told: bool) -> Checked<Self> {
        let Simulation { seed, faults, flaw, .. } = simulation;
        let mut dice = Dice::new(seed);
        let hidden = if flaw == Some(Flaw::Unseeded) { unseeded() } else { 0 };
        let world = World::new(&mut dice, START.plus(Duration::from_millis(hidden)), flaw)?;
        let (oracle, trace, tried) = (Oracle::default(), Trace::new(told), Tried::default());
        let overwritten = BTreeSet::new();
        let mut run = Self { dice, world, oracle, trace, tried, faults, flaw, labels: 0, overwritten };
        run.create()?;
        Ok(run)
    }

    /// The sales, as the seed wants them.
    fn create(&mut self) -> Checked {
        let dice = &mut self.dice;
        let list = |order| Waitlist { room: 4, accept_within: Duration::from_secs(8), order };
        let spec = |number: usize, stock, cap, largest| {
            SaleSpec::new(NAMES[number], stock).cap(cap).largest(largest).hold_for(HOLD).grace(GRACE)
        };
        let cap = 1 + dice.units(2);
        let mut coats = spec(0, 1 + dice.units(8), cap, cap);
        if !dice.one_in(4) {
            coats = coats.waitlist(list(WaitOrder::FirstCome));
        }
        let mut seats = spec(1, 5 + dice.units(20), 4, 3);
        if !dice.one_in(4) {
            seats = seats.units(Units::Numbered { first: 1 });
        }
        let registered = dice.one_in(2);
        if registered {
            seats = seats.audience(Audience::Registered).reminds_at(START.plus(Duration::from_secs(40)));
        }
        let stock = 2 + dice.units(5);
        let codes = spec(2, stock, 2, 1).waitlist(list(WaitOrder::Lottery { seed: dice.roll() }));
        let codes = match dice.below(4) {
            0 => codes,
            1 => {
                let budget = u64::from(stock) * 100;
                codes.units(Units::Amounts(Amounts { budget, floor: 1, ceiling: 300, seed: dice.roll() }))
            }
            _ => codes.units(Units::Listed((0..stock).map(|label| format!("code-{label}").into()).collect())),
        };
        let audience = match dice.below(3) {
            0 => Audience::Invited,
            1 => Audience::BuyersOf(NAMES[0].to_owned()),
            _ => Audience::RegisteredFor(NAMES[1].to_owned()),
        };
        let everyone_from = START.plus(Duration::from_secs(20 + dice.below(EXCLUSIVE_SECS - 20)));
        let mut encore = spec(3, 1 + dice.units(6), 3, 2).audience(audience).everyone_from(everyone_from);
        encore = encore.links_at(START.plus(Duration::from_secs(dice.below(100))));
        if dice.one_in(2) {
            encore = encore.waitlist(list(WaitOrder::FirstCome));
        }
        let specs = [coats, seats, codes, encore];
        self.oracle.rules = specs.iter().map(|spec| Rules::new(spec.cap)).collect();
        self.oracle.audiences = specs.iter().map(|spec| (spec.audience.clone(), spec.everyone_from)).collect();
        let order = |spec: &SaleSpec| spec.waitlist.as_ref().map_or(WaitOrder::FirstCome, |list| list.order);
        self.oracle.lines = specs.iter().map(order).collect();
        let created = self.world.engine.create_many(specs.to_vec()).map_err(|error| error.to_string())?;
        let known = BUYERS / 2;
        let buyers: Vec<Buyer> = (0..known).map(Buyer::from).collect();
        created[1].register(&buyers).map_err(|error| error.to_string())?;
        self.oracle.registered.extend(0..known);
        self.invite();
        self.world.engine.baskets(basket_rules()).map_err(|error| error.to_string())?;
        self.oracle.halted = Some(false);
        Ok(())
    }

    /// Everybody's time is over, what is left is sold, the faults end, and everything is delivered.
    fn end(&mut self) -> Checked<Tried> {
        self.faults = false;
        self.end_by(if self.world.has_failed() { Death::Dark } else { Death::Killed })?;
        self.come_to_rest()?;
        self.sell_the_rest()?;
        self.compact()?;
        self.end_by(Death::Dark)?;
        self.check_messages()?;
        self.deliver_the_rest()?;
        self.tried.orders = self.orders()?.iter().map(|orders| orders.len() as u64).sum();
        self.tried.refunds = self.oracle.tickets.iter().filter(|ticket| ticket.refunded).count() as u64;
        self.tried.network_faults = self.world.network.faults();
        self.tried.openings_in_vain = self.world.in_vain;
        self.tried.rots = self.world.rotted.len() as u64;
        self.tried.rots_refused =
            self.world.rotted.iter().filter(|rotted| **rotted == rot::Rotted::Refused).count() as u64;
        for audit in self.world.engine.audit() {
            self.trace.note(format_args!("{audit}"));
        }
        Ok(Tried { digest: self.trace.digest(), ..self.tried })
    }

    /// Every hold expires, whoever waits has a turn, and what was for some is for everyone.
    fn come_to_rest(&mut self) -> Checked {
        self.world.clock.advance(Duration::from_secs(EXCLUSIVE_SECS));
        self.world.engine.resume_all().map_err(|error| error.to_string())?;
        self.oracle.halted = Some(false);
        for (number, sale) in self.world.engine.sales().iter().enumerate() {
            let rules = &mut self.oracle.rules[number];
            if rules.closed {
                continue;
            }
            match sale.resume().and_then(|()| sale.move_window(None, None)) {
                Err(ChangeError::Closed) if rules.perhaps_closed => {
                    rules.closed = true;
                    continue;
                }
                done => done.map_err(|error| error.to_string())?,
            }
            (rules.paused, rules.window) = (Some(false), Some((None, None)));
        }
        for _ in 0..40 {
            self.world.clock.advance(Duration::from_secs(200));
            self.tick()?;
            let busy = |sale: &crate::Sale, closed: bool| {
                let audit = sale.audit();
                audit.held > 0 || (!closed && sale.queue_length() > 0 && audit.free > 0)
            };
            let sales = self.world.engine.sales();
            if !sales.iter().zip(&self.oracle.rules).any(|(sale, rules)| busy(sale, rules.closed)) {
                return Ok(());
            }
        }
        Err(format!("G7: it doesn't come to rest: {:?}", self.world.engine.audit()))
    }

    /// Whoever comes buys what is left: all of it.
    fn sell_the_rest(&mut self) -> Checked {
        for number in 0..NAMES.len() {
            if self.oracle.rules[number].closed {
                continue;
            }
            let sale = self.sale(number);
            if self.oracle.audiences[number].0 == Audience::Registered {
                let buyers: Vec<Buyer> = (1_000..1_100).map(Buyer::from).collect();
                sale.register(&buyers).map_err(|error| error.to_string())?;
                self.oracle.registered.extend(1_000..1_100);
            }
            for buyer in 1_000..1_000 + sale.audit().free {
                let hold = sale.reserve(buyer, 1).map_err(|why| format!("G2: {why}, with {}", sale.audit()))?;
                let mut units = oracle::PerSale::default();
                units[number] = 1;
                self.oracle.made(number, units, buyer, hold.token(), hold.deadline())?;
                self.oracle.paid += 1;
                let payment = self.oracle.paid;
                let index = self.oracle.tickets.len() - 1;
                self.oracle.tickets[index].payments.push(payment);
                let pending = self.report(number, &hold.token(), payment).map_err(|error| error.to_string())?;
                self.oracle.waiting.push((index, oracle::Waiting::Pending(pending)));
            }
        }
        self.sync()?;
        for (sale, rules) in self.world.engine.sales().iter().zip(&self.oracle.rules) {
            let audit = sale.audit();
            let all = audit.holds() && audit.held == 0 && (rules.closed || audit.free == 0);
            ensure!(all, "G2: not everything is sold: {audit}");
        }
        Ok(())
    }

    /// The faults of Redis end; in half a minute it must have everything, and whatever is repeated changes nothing.
    fn deliver_the_rest(&mut self) -> Checked {
        self.world.heal();
        for key in &self.overwritten {
            let text = |server: &mut redis::Server| matches!(server.entry(key), Some(redis::Entry::Text(_)));
            if self.world.network.server(text) {
                self.world.network.server(|server| server.remove(key));
            }
        }
        let mut found = self.check_redis();
        for _ in 0..30 {
            if found.is_ok() {
                break;
            }
            self.world.deliver(Duration::from_secs(1));
            found = self.check_redis();
        }
        found?;
        for _ in 0..6 {
            self.world.network.say_again();
            self.world.deliver(Duration::from_millis(700));
        }
        self.check_redis()
    }
}
