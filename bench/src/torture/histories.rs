//! Histories: threads that ask one small sale at the same time, and whether what they were answered can be explained
//! by one call at a time.
//!
//! Everything is tiny, so that every call is in another's way: a few units, a few buyers, holds that end within a few
//! calls. What may be answered is said by [`SaleModel`], which knows nothing of this library.
//!
//! What holds: a try is made from its seed, but for what the machine's threads do; instants are taken so that what
//! happened before a call is before it in the history, too; a panic in a call is a try that failed, and nobody waits
//! for ever.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use sellout_testkit::{
    linearizable::{History, Instants, Operation, check},
    sale_model::{SaleAnswer, SaleCall, SaleModel},
};

use super::Dice;

mod shop;

pub use shop::EngineShop;

/// Calls in all, whatever the number of threads.
const CALLS: usize = 42;
/// Of the holds that are known, calls are about one of so many latest.
const LATEST: usize = 4;

/// What sells: it answers calls of many threads.
pub trait Shop: Sync {
    /// Answers a call of the thread `thread`. A hold gets the name `name`, if it is one.
    ///
    /// # Errors
    /// What is no answer at all.
    fn answer(&self, call: &SaleCall, name: u32) -> Result<SaleAnswer, String>;
}

/// A history that was tried, and explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryTried {
    /// The seed that it was made from.
    pub seed: u64,
    /// Threads that called.
    pub threads: usize,
    /// Calls, all of them answered.
    pub calls: usize,
    /// Pairs of calls that overlapped.
    pub overlaps: usize,
    /// Worlds that were looked at to explain it.
    pub worlds: usize,
    /// Whether the sale was on a journal.
    pub journaled: bool,
}

impl fmt::Display for HistoryTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, threads, calls, overlaps, worlds, journaled } = self;
        let place = if *journaled { "on a journal" } else { "in memory" };
        write!(f, "seed {seed}: {calls} calls of {threads} threads {place}, {overlaps} overlaps, {worlds} worlds")
    }
}

/// Makes the history of `seed`, and explains it.
///
/// # Errors
/// What was answered wrongly, and the calls around it.
pub fn check_one(seed: u64) -> Result<HistoryTried, String> {
    let failed = |what: String| format!("history of seed {seed}: {what}");
    let program = Program::of(seed);
    let shop = EngineShop::open(&program).map_err(failed)?;
    let history = record(&shop, program.threads, program.rounds, |thread, step, known| {
        (step < CALLS / program.threads).then(|| program.call(thread, step, known))
    });
    let history = history.map_err(failed)?;
    let checked = check(&program.model, &history).map_err(|wrong| failed(wrong.to_string()))?;
    shop.audit().map_err(failed)?;
    Ok(HistoryTried {
        seed,
        threads: program.threads,
        calls: checked.calls,
        overlaps: history.overlaps(),
        worlds: checked.worlds,
        journaled: program.journaled,
    })
}

/// What is asked in one try.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The sale.
    pub model: SaleModel,
    /// Threads that call.
    pub threads: usize,
    /// Whether they meet before each call.
    pub rounds: bool,
    /// Whether the sale is on a journal.
    pub journaled: bool,
    /// Units a hold.
    pub largest: u32,
    /// Slots that were used before: a hold's place is used again soon.
    pub worn: bool,
    /// Buyers who ask.
    pub buyers: u64,
    /// What its calls are drawn from.
    pub seed: u64,
}

impl Program {
    /// The program of `seed`.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::of(seed, &[]);
        // Only a sale of several hundred units lays them out in stripes; all but a few are bought by others.
        let scattered = dice.one_in(3);
        let free = 1 + u32::try_from(dice.below(3)).unwrap_or_default();
        let sold = if scattered { 1_024 } else { 0 };
        let cap = 1 + u32::try_from(dice.below(3)).unwrap_or_default();
        let model = SaleModel { total: free + sold, free, sold, cap, hold_ms: 20, grace_ms: 5, scattered };
        let largest = if scattered { 1 } else { cap.min(2) };
        let threads = 2 + usize::try_from(dice.below(3)).unwrap_or_default();
        let (rounds, journaled, worn) = (!dice.one_in(3), dice.one_in(4), dice.one_in(2));
        Self { model, threads, rounds, journaled, largest, worn, buyers: 2 + dice.below(3), seed }
    }

    /// The `step`th call of a thread. Time is one thread's affair.
    fn call(&self, thread: usize, step: usize, known: &[u32]) -> SaleCall {
        let mut dice = Dice::of(self.seed, &[thread as u64, step as u64]);
        for _ in 0..dice.below(4) * dice.below(60) {
            std::hint::spin_loop();
        }
        let small = |number: u64| u32::try_from(number).unwrap_or_default();
        let recent = &known[known.len().saturating_sub(LATEST)..];
        let reserve = SaleCall::Reserve {
            buyer: dice.below(self.buyers),
            quantity: 1 + small(dice.below(u64::from(self.largest))),
        };
        let sort = dice.below(24);
        if sort < 9 {
            return reserve;
        }
        match (sort, dice.pick(recent).copied()) {
            (9..=11, Some(hold)) => SaleCall::Confirm { hold },
            (12..=15, Some(hold)) => SaleCall::Cancel { hold },
            (16, Some(hold)) => SaleCall::Extend { hold, by_ms: dice.below(9) },
            (17..=18, _) if thread == 0 => SaleCall::Pass { span_ms: dice.below(30) },
            (19..=23, _) if thread == 0 => SaleCall::Tick,
            (17, _) => SaleCall::Add { units: 1 },
            (18, _) => SaleCall::Withdraw { units: 1 + small(dice.below(2)) },
            (19, _) => SaleCall::Pause,
            (20..=21, _) => SaleCall::Resume,
            _ => reserve,
        }
    }
}

/// Lets `threads` threads ask the shop, and writes down what they were answered. `next` is told the thread, the step,
/// and the names of the holds that were answered so far; a thread for which it has nothing more is done.
///
/// # Errors
/// The panic of a call, or an answer that is none.
pub fn record(
    shop: &impl Shop,
    threads: usize,
    rounds: bool,
    next: impl Fn(usize, usize, &[u32]) -> Option<SaleCall> + Sync,
) -> Result<History<SaleCall, SaleAnswer>, String> {
    let (instants, known, meeting) = (Instants::default(), Mutex::new(Vec::new()), Meeting::default());
    let lane = |thread: usize| {
        let _stays = meeting.join();
        let mut operations: Vec<Operation<_, _>> = Vec::new();
        for step in 0.. {
            let names: Vec<u32> = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(call) = next(thread, step, &names) else { break };
            if rounds || step == 0 {
                meeting.wait(threads, step);
            }
            let name = u32::try_from(thread * 10_000 + step).unwrap_or(u32::MAX);
            let operation = instants.note(thread, call, |call| shop.answer(call, name));
            let Operation { thread, call, called, answer } = operation;
            let answer = match answer {
                Some((Ok(answer), at)) => Some((answer, at)),
                Some((Err(what), _)) => return Err(format!("thread {thread}: {call:?} was not answered: {what}")),
                None => None,
            };
            if let Some((SaleAnswer::Held { hold, .. }, _)) = answer {
                known.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
            }
            operations.push(Operation { thread, call, called, answer });
        }
        Ok(operations)
    };
    let lanes = thread::scope(|scope| {
        let lanes: Vec<_> = (0..threads).map(|thread| scope.spawn(move || lane(thread))).collect();
        lanes.into_iter().map(|lane| lane.join().map_err(|panic| panicked(&*panic))).collect::<Vec<_>>()
    });
    let mut history = History::default();
    for lane in lanes {
        lane??.into_iter().for_each(|operation| history.push(operation));
    }
    Ok(history)
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a call panicked: {}", text.unwrap_or("without a word"))
}

/// Where threads meet before a call: a short way to the same instant.
#[derive(Debug, Default)]
struct Meeting {
    /// Arrivals in all.
    arrived: AtomicUsize,
    /// Somebody has left, and will not come any more.
    over: AtomicBool,
}

/// Who has joined; when that ends, in any way, nobody waits any more.
struct Joined<'a>(&'a Meeting);

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        // Relaxed: only ends a wait.
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl Meeting {
    fn join(&self) -> Joined<'_> {
        Joined(self)
    }

    fn wait(&self, threads: usize, step: usize) {
        // Relaxed: who has arrived is all that is told.
        self.arrived.fetch_add(1, Ordering::Relaxed);
        for turn in 1_u64.. {
            // Relaxed: as above.
            let there = self.arrived.load(Ordering::Relaxed) >= threads * (step + 1);
            if there || self.over.load(Ordering::Relaxed) {
                return;
            }
            if turn.is_multiple_of(64) {
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}
