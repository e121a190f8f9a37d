//! Whether what concurrent calls were answered can be explained by one call at a time.
//!
//! A history has, for each call, what was asked and answered, and when. It is linearizable if every call can be given
//! an instant between its beginning and its answer so that a sequential [`Model`], asked in the order of these
//! instants, says the same (M. Herlihy and J. Wing, 1990). A model may say that a call takes effect in several steps,
//! each at an instant of its own: then it states a weaker promise, and states it exactly.
//!
//! What holds:
//! - The search is complete: a history is refused only if no choice of instants explains it.
//! - It goes through the history once, with every world that may be true so far (G. Lowe, *Testing for
//!   linearizability*, 2017: just-in-time linearization, with the worlds kept as a set). Steps are taken only when an
//!   answer needs them; who can wait, waits.
//! - Memory is bounded: worlds that don't matter any more are forgotten, and a history that needs more than
//!   [`MOST_WORLDS`] at once is an error, never accepted.
//! - A call that was never answered may have taken effect, in part or not at all.
//!
//! ```
//! use sellout_testkit::linearizable::{Doing, History, Model, Operation, Step, check};
//!
//! /// A register that holds one number.
//! struct Register;
//!
//! impl Model for Register {
//!     type State = u64;
//!     type Call = Option<u64>; // Some: write it; None: read
//!     type Answer = u64;
//!     type Progress = ();
//!
//!     fn initial(&self) -> u64 {
//!         0
//!     }
//!
//!     fn steps(&self, state: &u64, doing: &Doing<'_, Self>, next: &mut Vec<Step<Self>>) {
//!         let after = doing.call.unwrap_or(*state);
//!         if doing.says(&after) {
//!             next.push(Step::Done(after));
//!         }
//!     }
//! }
//!
//! let operation = |thread, call, answer, called, answered| Operation {
//!     thread,
//!     call,
//!     called,
//!     answer: Some((answer, answered)),
//! };
//! let mut history = History::from(vec![operation(0, Some(1), 1, 0, 3), operation(1, None, 0, 1, 2)]);
//! check(&Register, &history)?; // read while the write was under way: the old number is fine
//! history.push(operation(1, None, 0, 4, 5));
//! assert!(check(&Register, &history).is_err()); // and stale after its answer
//! # Ok::<(), sellout_testkit::linearizable::Contradiction>(())
//! ```

use std::{
    collections::HashSet,
    error::Error,
    fmt::{self, Debug, Write},
    hash::Hash,
    mem,
    sync::atomic::{AtomicU64, Ordering},
};

#[cfg(test)]
mod tests;

/// More worlds than any history of a few threads has.
pub const MOST_WORLDS: usize = 1 << 17;
/// Calls shown of a history that can't be explained.
const SHOWN: usize = 24;

/// What is right, one step at a time.
pub trait Model {
    /// All that answers depend on. Two states from which everything goes on in the same way are best equal.
    type State: Clone + Eq + Hash + Debug;
    /// What is asked.
    type Call: Debug;
    /// What is answered.
    type Answer: Debug + PartialEq;
    /// How far a call is that takes effect in several steps; `()` if each has one.
    type Progress: Clone + Eq + Hash + Debug + Default;

    /// How it begins.
    fn initial(&self) -> Self::State;

    /// Every step that the call may take next from `state`. None: it can't, so far. The last step of a call that was
    /// answered is there only if the answer is right.
    fn steps(&self, state: &Self::State, doing: &Doing<'_, Self>, next: &mut Vec<Step<Self>>);
}

/// A call that is under way.
#[derive(Debug)]
pub struct Doing<'a, M: Model + ?Sized> {
    /// Its place in the history.
    pub number: u32,
    /// What is asked.
    pub call: &'a M::Call,
    /// What will be answered; none if it never is.
    pub answer: Option<&'a M::Answer>,
    /// How far it is.
    pub progress: &'a M::Progress,
}

impl<M: Model + ?Sized> Doing<'_, M> {
    /// Whether the call's answer is this one, or unknown.
    #[must_use]
    pub fn says(&self, answer: &M::Answer) -> bool {
        self.answer.is_none_or(|said| said == answer)
    }
}

/// A step of a call.
#[derive(Debug)]
pub enum Step<M: Model + ?Sized> {
    /// More steps follow.
    On(M::State, M::Progress),
    /// It was the last one.
    Done(M::State),
}

/// One call of a history. Instants are ordered numbers; where two are equal the calls overlap.
#[derive(Debug, Clone)]
pub struct Operation<C, A> {
    /// Who called.
    pub thread: usize,
    /// What was asked.
    pub call: C,
    /// When.
    pub called: u64,
    /// What was answered, and when; none if it never was.
    pub answer: Option<(A, u64)>,
}

/// What some threads asked and were answered.
#[derive(Debug, Clone)]
pub struct History<C, A>(Vec<Operation<C, A>>);

impl<C, A> Default for History<C, A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C, A> History<C, A> {
    /// One more call.
    pub fn push(&mut self, operation: Operation<C, A>) {
        self.0.push(operation);
    }

    /// How many calls there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The calls, as they were put in.
    #[must_use]
    pub fn operations(&self) -> &[Operation<C, A>] {
        &self.0
    }

    /// Pairs of calls that overlap: how dense it is.
    #[must_use]
    pub fn overlaps(&self) -> usize {
        let mut open = 0;
        let mut pairs = 0;
        for event in self.events() {
            match event {
                Event::Called(_) => {
                    pairs += open;
                    open += 1;
                }
                Event::Answered(_) => open -= 1,
            }
        }
        pairs
    }

    /// What happened, in its order; of two at one instant a beginning is first, so that they overlap.
    fn events(&self) -> impl Iterator<Item = Event> {
        let mut events = Vec::with_capacity(2 * self.0.len());
        for (number, operation) in (0_u32..).zip(&self.0) {
            events.push((operation.called, 0, Event::Called(number)));
            events.extend(operation.answer.as_ref().map(|(_, at)| (*at, 1, Event::Answered(number))));
        }
        events.sort_by_key(|(at, order, _)| (*at, *order));
        events.into_iter().map(|(_, _, event)| event)
    }
}

impl<C, A> From<Vec<Operation<C, A>>> for History<C, A> {
    fn from(operations: Vec<Operation<C, A>>) -> Self {
        Self(operations)
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Called(u32),
    Answered(u32),
}

/// Gives out instants that respect what happened before what, in any thread.
#[derive(Debug, Default)]
pub struct Instants(AtomicU64);

impl Instants {
    /// The next instant: later than all that were given before.
    pub fn next(&self) -> u64 {
        // SeqCst: one order of all instants, which no call's own effects may pass; a clock's readings can.
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Makes a call, and notes what was asked, answered, and when.
    pub fn note<C, A>(&self, thread: usize, call: C, act: impl FnOnce(&C) -> A) -> Operation<C, A> {
        let called = self.next();
        let answer = act(&call);
        Operation { thread, call, called, answer: Some((answer, self.next())) }
    }
}

/// A history that no order explains, or that is too wide to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    shown: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Error for Contradiction {}

/// One way in which the history may have gone so far: the state, and how far each open call is; `None` is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World<S, P> {
    state: S,
    open: Vec<(u32, Option<P>)>,
}

/// Whether the model explains the history, and how much there was to look at.
///
/// # Errors
/// [`Contradiction`] shows the calls around the first answer that nothing explains.
pub fn check<M: Model>(model: &M, history: &History<M::Call, M::Answer>) -> Result<Checked, Contradiction> {
    check_within(MOST_WORLDS, model, history)
}

fn check_within<M: Model>(
    most: usize,
    model: &M,
    history: &History<M::Call, M::Answer>,
) -> Result<Checked, Contradiction> {
    let mut worlds = vec![World { state: model.initial(), open: Vec::new() }];
    let mut checked = Checked { calls: history.len(), worlds: 0, widest: 1 };
    for event in history.events() {
        match event {
            Event::Called(number) => {
                for world in &mut worlds {
                    world.open.push((number, Some(M::Progress::default())));
                }
            }
            Event::Answered(number) => {
                let before = mem::take(&mut worlds);
                let seen = explain(most, model, history, before.clone(), number, &mut worlds);
                checked.worlds += seen;
                checked.widest = checked.widest.max(seen);
                if seen > most {
                    let shown = format!("more than {most} worlds: too many calls overlap to say");
                    return Err(Contradiction { shown });
                }
                if worlds.is_empty() {
                    return Err(Contradiction { shown: show(history, number, &before) });
                }
            }
        }
    }
    Ok(checked)
}

/// What a check looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Calls in the history.
    pub calls: usize,
    /// Worlds in all.
    pub worlds: usize,
    /// The most worlds for one answer.
    pub widest: usize,
}

/// From `before`, every world in which the call `number` has just been done, without it. Says how many were seen.
///
/// A world in which it is done is not gone on with: the steps of the others can be taken later as well.
fn explain<M: Model>(
    most: usize,
    model: &M,
    history: &History<M::Call, M::Answer>,
    before: Vec<World<M::State, M::Progress>>,
    number: u32,
    done: &mut Vec<World<M::State, M::Progress>>,
) -> usize {
    let mut seen: HashSet<_> = before.iter().cloned().collect();
    let mut open = before;
    let mut next = Vec::new();
    let mut ended = HashSet::new();
    while let Some(mut world) = open.pop() {
        let place = world.open.iter().position(|(open, _)| *open == number).expect("it was called");
        if world.open[place].1.is_none() {
            world.open.remove(place);
            if ended.insert(world.clone()) {
                done.push(world);
            }
            continue;
        }
        for place in 0..world.open.len() {
            let (who, Some(progress)) = &world.open[place] else { continue };
            let Operation { call, answer, .. } = &history.0[*who as usize];
            let doing = Doing { number: *who, call, answer: answer.as_ref().map(|(answer, _)| answer), progress };
            model.steps(&world.state, &doing, &mut next);
            for step in next.drain(..) {
                let (state, progress) = match step {
                    Step::On(state, progress) => (state, Some(progress)),
                    Step::Done(state) => (state, None),
                };
                let mut after = World { state, open: world.open.clone() };
                after.open[place].1 = progress;
                if seen.insert(after.clone()) {
                    open.push(after);
                }
            }
        }
        if seen.len() > most {
            break;
        }
    }
    seen.len()
}

/// The calls up to the answer of `number`, the latest of them, and what may have been true before it.
fn show<C: Debug, A: Debug, S: Debug, P: Debug>(
    history: &History<C, A>,
    number: u32,
    before: &[World<S, P>],
) -> String {
    let refused = &history.0[number as usize];
    let until = refused.answer.as_ref().map_or(u64::MAX, |(_, at)| *at);
    let mut calls: Vec<_> = (0_u32..).zip(&history.0).filter(|(_, call)| call.called <= until).collect();
    calls.sort_by_key(|(_, call)| call.called);
    let mut text = String::from("no order of these calls explains the answer marked with >\n");
    if calls.len() > SHOWN {
        let _never_fails = writeln!(text, "  .. {} calls before", calls.len() - SHOWN);
    }
    for (which, operation) in calls.iter().skip(calls.len().saturating_sub(SHOWN)) {
        let mark = if *which == number { '>' } else { ' ' };
        let _never_fails = match &operation.answer {
            Some((answer, at)) if *at <= until => writeln!(
                text,
                "{mark} thread {} [{:>4}, {at:>4}] {:?} -> {answer:?}",
                operation.thread, operation.called, operation.call
            ),
            _ => writeln!(
                text,
                "{mark} thread {} [{:>4},     ) {:?} is under way",
                operation.thread, operation.called, operation.call
            ),
        };
    }
    let _never_fails = writeln!(text, "before it, {} worlds were possible, such as", before.len());
    for world in before.iter().take(2) {
        let _never_fails = writeln!(text, "  {:?}", world.state);
    }
    text
}
