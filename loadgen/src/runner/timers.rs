//! What people will do next: a heap of instants, bounded by the people who are active.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::people::Person;

/// What people came for: the place of an entry of the scenario's arrivals.
pub(super) type Errand = u32;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// A person asks again after so many refusals.
    AskAgain { errand: Errand, person: Person, refusals: u32 },
    /// A person's second click.
    SecondClick { errand: Errand, person: Person },
    /// A bot's next attempt, with so many left after it.
    BotAsks { errand: Errand, person: Person, left: u32 },
    /// Somebody comes whom a buyer told.
    Drawn { errand: Errand },
    /// Somebody in a queue looks for the so-manieth time.
    Look { place: u32, looks: u32 },
    /// The provider reports the payment of a hold, and maybe once more afterwards.
    Pay { hold: u32, again: bool },
    /// A hold is given back.
    Cancel { hold: u32 },
    /// A hold that nobody pays has run out by now.
    Lapse { hold: u32 },
}

/// The worker's timers, earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(u64, Action)>>);

impl Timers {
    pub(super) fn set(&mut self, due_ns: u64, action: Action) {
        self.0.push(Reverse((due_ns, action)));
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Action)> {
        self.0.pop().map(|Reverse(timer)| timer)
    }

    /// How many requests were due by `now_ns`; the end of a hold that nobody pays is none.
    pub(super) fn requests_due(&self, now_ns: u64) -> usize {
        let is_request = |action: &Action| !matches!(action, Action::Lapse { .. });
        self.0.iter().filter(|Reverse((due_ns, action))| *due_ns <= now_ns && is_request(action)).count()
    }
}
