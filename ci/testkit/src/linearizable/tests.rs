//! The checker on registers and queues: what is known to be linearizable is accepted, what is known not to be is
//! refused.

use std::collections::VecDeque;

use super::*;

/// A register with compare-and-swap.
struct Register;

#[derive(Debug, Clone, Copy)]
enum Ask {
    Read,
    Write(u64),
    Swap { from: u64, to: u64 },
}

impl Model for Register {
    type State = u64;
    type Call = Ask;
    type Answer = u64;
    type Progress = ();

    fn initial(&self) -> u64 {
        0
    }

    fn steps(&self, state: &u64, doing: &Doing<'_, Self>, next: &mut Vec<Step<Self>>) {
        let after = match doing.call {
            Ask::Write(number) => *number,
            Ask::Swap { from, to } if from == state => *to,
            Ask::Read | Ask::Swap { .. } => *state,
        };
        // A write says what it wrote, the others what they found.
        let says = if matches!(doing.call, Ask::Write(_)) { after } else { *state };
        if doing.says(&says) {
            next.push(Step::Done(after));
        }
    }
}

fn call(thread: usize, call: Ask, called: u64, answer: u64, answered: u64) -> Operation<Ask, u64> {
    Operation { thread, call, called, answer: Some((answer, answered)) }
}

fn lost(thread: usize, call: Ask, called: u64) -> Operation<Ask, u64> {
    Operation { thread, call, called, answer: None }
}

fn explained(calls: Vec<Operation<Ask, u64>>) -> bool {
    check(&Register, &calls.into()).is_ok()
}

#[test]
fn what_one_order_explains_is_accepted() {
    // The read overlaps both writes, and sees either, or neither.
    for seen in [0, 1, 2] {
        assert!(explained(vec![
            call(0, Ask::Write(1), 0, 1, 9),
            call(1, Ask::Write(2), 1, 2, 8),
            call(2, Ask::Read, 2, seen, 3),
        ]));
    }
    // Both reads overlap both writes; the second sees the write that is later.
    assert!(explained(vec![
        call(0, Ask::Write(1), 0, 1, 9),
        call(1, Ask::Write(2), 1, 2, 8),
        call(2, Ask::Read, 2, 2, 3),
        call(2, Ask::Read, 4, 1, 5),
    ]));
}

#[test]
fn what_no_order_explains_is_refused() {
    // A number that was never written; a read that is stale; two readers who see the writes in other orders.
    assert!(!explained(vec![call(0, Ask::Read, 0, 7, 1)]));
    assert!(!explained(vec![call(0, Ask::Write(1), 0, 1, 1), call(1, Ask::Read, 2, 0, 3)]));
    assert!(!explained(vec![
        call(0, Ask::Write(1), 0, 1, 9),
        call(1, Ask::Write(2), 0, 2, 9),
        call(2, Ask::Read, 1, 1, 2),
        call(2, Ask::Read, 3, 2, 4),
        call(3, Ask::Read, 1, 2, 2),
        call(3, Ask::Read, 3, 1, 4),
    ]));
    // Back again: 1, 2, and 1 once more, which nobody has written twice.
    assert!(!explained(vec![
        call(0, Ask::Write(1), 0, 1, 9),
        call(1, Ask::Write(2), 0, 2, 9),
        call(2, Ask::Read, 1, 1, 2),
        call(2, Ask::Read, 3, 2, 4),
        call(2, Ask::Read, 5, 1, 6),
    ]));
    // Of two who swap from the same number one must find another.
    assert!(!explained(vec![
        call(0, Ask::Swap { from: 0, to: 1 }, 0, 0, 9),
        call(1, Ask::Swap { from: 0, to: 2 }, 0, 0, 9),
    ]));
}

#[test]
fn a_call_that_was_never_answered_may_have_happened_or_not() {
    for seen in [0, 1] {
        assert!(explained(vec![lost(0, Ask::Write(1), 0), call(1, Ask::Read, 5, seen, 6)]));
    }
    // Also late; but once, and not before it began.
    assert!(explained(vec![lost(0, Ask::Write(1), 0), call(1, Ask::Read, 5, 0, 6), call(1, Ask::Read, 7, 1, 8),]));
    assert!(!explained(vec![
        lost(0, Ask::Write(1), 0),
        call(1, Ask::Read, 5, 1, 6),
        call(1, Ask::Write(2), 7, 2, 8),
        call(1, Ask::Read, 9, 1, 10),
    ]));
    assert!(!explained(vec![call(1, Ask::Read, 0, 1, 1), lost(0, Ask::Write(1), 2)]));
}

#[test]
fn calls_that_touch_at_one_instant_overlap() {
    assert!(explained(vec![call(0, Ask::Write(1), 0, 1, 5), call(1, Ask::Read, 5, 0, 6)]));
    assert!(!explained(vec![call(0, Ask::Write(1), 0, 1, 5), call(1, Ask::Read, 6, 0, 7)]));
}

/// A counter of which an addition of `n` is seen one by one: a weaker promise, stated as steps.
struct OneByOne;

impl Model for OneByOne {
    type State = u64;
    type Call = Option<u64>;
    type Answer = u64;
    type Progress = u64;

    fn initial(&self) -> u64 {
        0
    }

    fn steps(&self, state: &u64, doing: &Doing<'_, Self>, next: &mut Vec<Step<Self>>) {
        match doing.call {
            None if doing.says(state) => next.push(Step::Done(*state)),
            None => {}
            Some(units) if doing.progress + 1 == *units => next.push(Step::Done(state + 1)),
            Some(_) => next.push(Step::On(state + 1, doing.progress + 1)),
        }
    }
}

#[test]
fn a_promise_in_steps_is_as_weak_as_it_says_and_no_weaker() {
    let operation = |thread, call, called, answer: u64, answered| Operation {
        thread,
        call,
        called,
        answer: Some((answer, answered)),
    };
    let seen = |first: u64, second: u64, after: u64| {
        let calls = vec![
            operation(0, Some(3), 0, 0, 9),
            operation(1, None, 1, first, 2),
            operation(1, None, 3, second, 4),
            operation(1, None, 10, after, 11),
        ];
        check(&OneByOne, &calls.into()).is_ok()
    };
    assert!(seen(1, 2, 3) && seen(0, 3, 3) && seen(2, 2, 3));
    assert!(!seen(2, 1, 3), "it never falls");
    assert!(!seen(1, 2, 2), "its answer is the end of it");
    assert!(!seen(4, 4, 3), "nor is it ever more");
}

/// A queue: the classic of the literature.
struct Queue;

impl Model for Queue {
    type State = VecDeque<u64>;
    type Call = Option<u64>;
    type Answer = Option<u64>;
    type Progress = ();

    fn initial(&self) -> VecDeque<u64> {
        VecDeque::new()
    }

    fn steps(&self, state: &VecDeque<u64>, doing: &Doing<'_, Self>, next: &mut Vec<Step<Self>>) {
        let mut after = state.clone();
        let answer = match doing.call {
            Some(number) => {
                after.push_back(*number);
                None
            }
            None => after.pop_front(),
        };
        if doing.says(&answer) {
            next.push(Step::Done(after));
        }
    }
}

#[test]
fn a_queue_that_forgets_its_order_is_refused() {
    let operation = |thread, call, called, answer: Option<u64>, answered| Operation {
        thread,
        call,
        called,
        answer: Some((answer, answered)),
    };
    let taken = |first, second, overlap: u64| {
        let calls = vec![
            operation(0, Some(1), 0, None, 1 + overlap),
            operation(1, Some(2), 2, None, 3),
            operation(0, None, 20, Some(first), 21),
            operation(1, None, 22, Some(second), 23),
        ];
        check(&Queue, &calls.into()).is_ok()
    };
    assert!(taken(1, 2, 0));
    assert!(!taken(2, 1, 0));
    assert!(taken(2, 1, 5), "they were put in at the same time");
    assert!(!taken(1, 1, 5));
}

#[test]
fn control_a_history_of_very_many_calls_at_once_is_not_accepted_unseen() {
    let mut history = History::default();
    for number in 0..12 {
        history.push(lost(number, Ask::Write(number as u64 + 1), 0));
    }
    history.push(call(30, Ask::Read, 1, 12, 2));
    assert!(check(&Register, &history).is_ok());
    let contradiction = check_within(1_000, &Register, &history).unwrap_err();
    assert!(contradiction.to_string().contains("too many calls overlap"), "{contradiction}");
}

#[test]
fn a_contradiction_shows_the_calls_around_it() {
    let mut history = History::from(vec![call(0, Ask::Write(1), 0, 1, 1), call(1, Ask::Read, 2, 0, 3)]);
    history.push(call(2, Ask::Read, 9, 1, 10));
    let shown = check(&Register, &history).unwrap_err().to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[1], "  thread 0 [   0,    1] Write(1) -> 1");
    assert_eq!(lines[2], "> thread 1 [   2,    3] Read -> 0");
    assert_eq!(lines[3], "before it, 1 worlds were possible, such as");
    assert_eq!(history.overlaps(), 0);
}

#[test]
fn instants_respect_what_happened_before_what() {
    let instants = Instants::default();
    let first = instants.note(0, (), |()| instants.next());
    let (inside, answered) = first.answer.unwrap();
    assert!(first.called < inside && inside < answered && answered < instants.next());
}
