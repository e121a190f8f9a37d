//! The model, on short histories whose right answers are known: each wrong one beside it is refused.

use super::*;
use crate::linearizable::{Contradiction, History, Operation, check};

const BOOKS: SaleModel = SaleModel { total: 2, free: 2, sold: 0, cap: 2, hold_ms: 20, grace_ms: 5, scattered: false };

type Call = Operation<SaleCall, SaleAnswer>;

fn reserve(buyer: u64) -> SaleCall {
    SaleCall::Reserve { buyer, quantity: 1 }
}

fn held(hold: u32) -> SaleAnswer {
    SaleAnswer::Held { hold, due_ms: 20 }
}

/// One call after the other.
fn in_turn(calls: &[(SaleCall, SaleAnswer)]) -> Vec<Call> {
    let at =
        |(place, (call, answer)): (u64, &(SaleCall, SaleAnswer))| beside(0, *call, 10 * place, *answer, 10 * place + 9);
    (0..).zip(calls).map(at).collect()
}

fn beside(thread: usize, call: SaleCall, called: u64, answer: SaleAnswer, answered: u64) -> Call {
    Operation { thread, call, called, answer: Some((answer, answered)) }
}

fn verdict(model: SaleModel, calls: Vec<Call>) -> Result<(), Contradiction> {
    check(&model, &History::from(calls)).map(|_| ())
}

/// The calls in turn are right with the answer `right` at the end, and with none of `wrong`.
#[track_caller]
fn only(model: SaleModel, before: &[(SaleCall, SaleAnswer)], last: SaleCall, right: SaleAnswer, wrong: &[SaleAnswer]) {
    let with = |answer| {
        let mut calls = before.to_vec();
        calls.push((last, answer));
        verdict(model, in_turn(&calls))
    };
    assert_eq!(with(right), Ok(()));
    for answer in wrong {
        assert!(with(*answer).is_err(), "{answer:?} was let through");
    }
}

const REFUSALS: [SaleAnswer; 4] = [SaleAnswer::AllHeld, SaleAnswer::SoldOut, SaleAnswer::Paused, SaleAnswer::UnderWay];

#[test]
fn who_may_have_a_unit_gets_it_and_no_reason_against() {
    only(BOOKS, &[], reserve(1), held(1), &REFUSALS);
    only(BOOKS, &[], reserve(1), held(1), &[SaleAnswer::Held { hold: 1, due_ms: 19 }, SaleAnswer::Done]);
    let twice = [(reserve(1), held(1))];
    only(BOOKS, &twice, reserve(1), held(2), &[held(1), SaleAnswer::LimitReached { held: 1, bought: 0 }]);
}

#[test]
fn all_held_becomes_sold_out_with_the_last_payment() {
    let (confirm, cancel) = (SaleCall::Confirm { hold: 1 }, SaleCall::Cancel { hold: 2 });
    let mut calls = vec![(reserve(1), held(1)), (reserve(2), held(2))];
    let wrong = [SaleAnswer::SoldOut, held(3), SaleAnswer::TooFewFree { free: 1 }, SaleAnswer::Paused];
    only(BOOKS, &calls, reserve(3), SaleAnswer::AllHeld, &wrong);
    calls.push((confirm, SaleAnswer::Confirmed { order: 1 }));
    only(BOOKS, &calls, reserve(3), SaleAnswer::AllHeld, &wrong);
    let mut sold = calls.clone();
    sold.push((SaleCall::Confirm { hold: 2 }, SaleAnswer::Confirmed { order: 2 }));
    only(BOOKS, &sold, reserve(3), SaleAnswer::SoldOut, &[SaleAnswer::AllHeld, held(3)]);
    sold.push((SaleCall::Add { units: 1 }, SaleAnswer::Done));
    only(BOOKS, &sold, reserve(3), held(3), &REFUSALS);
    calls.push((cancel, SaleAnswer::Cancelled));
    only(BOOKS, &calls, reserve(3), held(3), &REFUSALS);
}

#[test]
fn a_limit_is_told_with_what_the_buyer_has() {
    let one = SaleModel { cap: 1, ..BOOKS };
    let mut calls = vec![(reserve(1), held(1))];
    let limit = |held, bought| SaleAnswer::LimitReached { held, bought };
    only(one, &calls, reserve(1), limit(1, 0), &[limit(0, 1), held(2), SaleAnswer::UnderWay]);
    calls.push((SaleCall::Confirm { hold: 1 }, SaleAnswer::Confirmed { order: 1 }));
    only(one, &calls, reserve(1), limit(0, 1), &[limit(1, 0), held(2)]);
    let cancelled = [(reserve(1), held(1)), (SaleCall::Cancel { hold: 1 }, SaleAnswer::Cancelled)];
    only(one, &cancelled, reserve(1), held(2), &[limit(1, 0), limit(0, 0)]);
    let two = SaleCall::Reserve { buyer: 2, quantity: 2 };
    let few = SaleAnswer::TooFewFree { free: 1 };
    only(BOOKS, &calls[..1], two, few, &[SaleAnswer::AllHeld, SaleAnswer::TooFewFree { free: 0 }, held(2)]);
}

#[test]
fn a_hold_has_one_end_and_everybody_learns_which() {
    let (confirm, cancel) = (SaleCall::Confirm { hold: 1 }, SaleCall::Cancel { hold: 1 });
    let extend = SaleCall::Extend { hold: 1, by_ms: 7 };
    let extended = SaleAnswer::Extended { due_ms: 27 };
    let confirmed = SaleAnswer::Confirmed { order: 9 };
    let ended = SaleAnswer::Ended;
    let held_once = [(reserve(1), held(1))];
    only(BOOKS, &held_once, extend, extended, &[SaleAnswer::Extended { due_ms: 20 }, SaleAnswer::Overdue]);
    let paid = [held_once[0], (confirm, confirmed)];
    only(
        BOOKS,
        &paid,
        confirm,
        SaleAnswer::AlreadyConfirmed { order: 9 },
        &[SaleAnswer::AlreadyConfirmed { order: 8 }, confirmed, SaleAnswer::CancelledBefore, SaleAnswer::UnderWay],
    );
    only(BOOKS, &paid, cancel, ended(SaleEnd::Confirmed), &[SaleAnswer::Cancelled, ended(SaleEnd::BeingConfirmed)]);
    only(BOOKS, &paid, extend, ended(SaleEnd::Confirmed), &[extended, ended(SaleEnd::LongAgo)]);
    let over = [held_once[0], (cancel, SaleAnswer::Cancelled)];
    only(BOOKS, &over, cancel, ended(SaleEnd::Cancelled), &[SaleAnswer::Cancelled, ended(SaleEnd::LongAgo)]);
    only(BOOKS, &over, confirm, SaleAnswer::CancelledBefore, &[confirmed, SaleAnswer::Forgotten]);
    let overtaken = [over[0], over[1], (reserve(2), held(2))];
    for right in [SaleAnswer::CancelledBefore, SaleAnswer::Forgotten] {
        only(BOOKS, &overtaken, confirm, right, &[confirmed]);
    }
    let twice = [held_once[0], (reserve(2), held(2)), (confirm, confirmed)];
    let second = SaleCall::Confirm { hold: 2 };
    only(BOOKS, &twice, second, SaleAnswer::Confirmed { order: 10 }, &[confirmed, SaleAnswer::CancelledBefore]);
}

#[test]
fn a_hold_expires_with_the_first_tick_after_its_grace_and_can_be_paid_until_then() {
    let after = |span_ms, expired| {
        vec![
            (reserve(1), held(1)),
            (SaleCall::Pass { span_ms }, SaleAnswer::Done),
            (SaleCall::Tick, SaleAnswer::Ticked { expired }),
        ]
    };
    let (confirm, cancel) = (SaleCall::Confirm { hold: 1 }, SaleCall::Cancel { hold: 1 });
    let (confirmed, late) = (SaleAnswer::Confirmed { order: 1 }, SaleAnswer::PaidLate { order: 1 });
    only(BOOKS, &after(24, 0), confirm, confirmed, &[late, SaleAnswer::PaidLateSoldOut]);
    only(BOOKS, &after(25, 1), confirm, late, &[confirmed, SaleAnswer::PaidLateSoldOut, SaleAnswer::Forgotten]);
    only(BOOKS, &after(25, 1)[..2], confirm, late, &[confirmed]);
    only(BOOKS, &after(25, 1), cancel, SaleAnswer::Ended(SaleEnd::Expired), &[SaleAnswer::Cancelled]);
    only(
        BOOKS,
        &after(24, 0)[..2],
        SaleCall::Tick,
        SaleAnswer::Ticked { expired: 0 },
        &[SaleAnswer::Ticked { expired: 1 }],
    );
    only(
        BOOKS,
        &after(25, 1)[..2],
        SaleCall::Tick,
        SaleAnswer::Ticked { expired: 1 },
        &[SaleAnswer::Ticked { expired: 0 }],
    );
    let extend = SaleCall::Extend { hold: 1, by_ms: 5 };
    only(BOOKS, &after(21, 0), extend, SaleAnswer::Overdue, &[SaleAnswer::Extended { due_ms: 25 }]);
    only(BOOKS, &after(20, 0), extend, SaleAnswer::Extended { due_ms: 25 }, &[SaleAnswer::Overdue]);
}

#[test]
fn a_late_payment_takes_what_is_free_and_its_refusal_stands() {
    let one = SaleModel { total: 1, free: 1, cap: 1, ..BOOKS };
    let confirm = SaleCall::Confirm { hold: 1 };
    let mut calls = vec![
        (reserve(1), held(1)),
        (SaleCall::Pass { span_ms: 25 }, SaleAnswer::Done),
        (SaleCall::Tick, SaleAnswer::Ticked { expired: 1 }),
        (reserve(2), SaleAnswer::Held { hold: 2, due_ms: 45 }),
    ];
    let (sold_out, late) = (SaleAnswer::PaidLateSoldOut, SaleAnswer::PaidLate { order: 1 });
    only(one, &calls, confirm, sold_out, &[late, SaleAnswer::PaidLateOverCap]);
    calls.push((confirm, sold_out));
    calls.push((SaleCall::Cancel { hold: 2 }, SaleAnswer::Cancelled));
    only(one, &calls, confirm, sold_out, &[late]);
    let again = [calls[0], calls[1], calls[2], (reserve(1), SaleAnswer::Held { hold: 2, due_ms: 45 })];
    only(one, &again, confirm, SaleAnswer::PaidLateOverCap, &[late, sold_out]);
    let paid = [calls[0], calls[1], calls[2], (confirm, late)];
    only(one, &paid, confirm, SaleAnswer::AlreadyConfirmed { order: 1 }, &[late, sold_out]);
    only(one, &paid, reserve(2), SaleAnswer::SoldOut, &[SaleAnswer::AllHeld]);
}

#[test]
fn units_that_come_and_go_are_counted() {
    let withdrawn = |units| SaleAnswer::Withdrawn { units };
    let calls = [(reserve(1), held(1))];
    only(BOOKS, &calls, SaleCall::Withdraw { units: 3 }, withdrawn(1), &[withdrawn(0), withdrawn(2), withdrawn(3)]);
    let scattered = SaleModel { scattered: true, ..BOOKS };
    for right in [withdrawn(0), withdrawn(1)] {
        only(scattered, &calls, SaleCall::Withdraw { units: 3 }, right, &[withdrawn(2)]);
    }
    let gone = [calls[0], (SaleCall::Withdraw { units: 3 }, withdrawn(1))];
    only(BOOKS, &gone, reserve(2), SaleAnswer::AllHeld, &[held(2), SaleAnswer::SoldOut]);
    let paused = [(SaleCall::Pause, SaleAnswer::Done)];
    only(BOOKS, &paused, reserve(1), SaleAnswer::Paused, &[held(1), SaleAnswer::AllHeld]);
    let resumed = [paused[0], (SaleCall::Resume, SaleAnswer::Done)];
    only(BOOKS, &resumed, reserve(1), held(1), &[SaleAnswer::Paused]);
}

#[test]
fn a_double_click_is_told_so_only_while_the_other_click_is_undecided() {
    let one = SaleModel { cap: 1, ..BOOKS };
    let clicks = |second: u64| {
        vec![beside(0, reserve(1), 0, held(1), 10), beside(1, reserve(1), second, SaleAnswer::UnderWay, second + 1)]
    };
    assert_eq!(verdict(one, clicks(5)), Ok(()));
    assert!(verdict(one, clicks(11)).is_err(), "the first was decided: the limit is reached");
    let mut of_another = clicks(5);
    of_another[0].call = reserve(2);
    assert!(verdict(one, of_another).is_err(), "nobody else's click is a reason");
    let both = |third| {
        let click = |thread| beside(thread, reserve(1), 0, SaleAnswer::UnderWay, 9);
        let mut clicks = vec![click(0), click(1)];
        clicks.extend(third);
        verdict(one, clicks)
    };
    assert!(both(None).is_err(), "one of them is decided by its own merits");
    assert_eq!(both(Some(beside(2, reserve(1), 0, held(1), 9))), Ok(()));
}

#[test]
fn what_another_call_is_just_giving_back_may_be_seen_as_not_back_yet_but_not_once_it_has_answered() {
    let one = SaleModel { total: 1, free: 1, cap: 1, ..BOOKS };
    let cancel = SaleCall::Cancel { hold: 1 };
    let beside_cancel = |asked: u64, answer| {
        verdict(
            one,
            vec![
                beside(0, reserve(1), 0, held(1), 1),
                beside(0, cancel, 2, SaleAnswer::Cancelled, 10),
                beside(1, cancel, 3, SaleAnswer::Ended(SaleEnd::Cancelled), 4),
                beside(1, reserve(2), asked, answer, asked + 1),
            ],
        )
    };
    assert_eq!(beside_cancel(5, SaleAnswer::AllHeld), Ok(()));
    assert_eq!(beside_cancel(5, held(2)), Ok(()));
    assert!(beside_cancel(11, SaleAnswer::AllHeld).is_err());
    assert!(beside_cancel(5, SaleAnswer::SoldOut).is_err());
}

#[test]
fn a_reserve_that_has_looked_before_a_pause_may_take_its_unit_after_it_and_no_later_one_may() {
    let one = SaleModel { total: 1, free: 1, cap: 1, ..BOOKS };
    let after_pause = |called| {
        verdict(
            one,
            vec![
                beside(0, reserve(1), 0, held(1), 1),
                beside(1, SaleCall::Pause, 3, SaleAnswer::Done, 4),
                beside(0, SaleCall::Cancel { hold: 1 }, 5, SaleAnswer::Cancelled, 6),
                beside(2, reserve(2), called, held(2), 9),
            ],
        )
    };
    assert_eq!(after_pause(2), Ok(()));
    assert!(after_pause(5).is_err());
}

#[test]
fn of_two_who_race_for_the_end_of_a_hold_one_wins() {
    let race = |confirmed, cancelled| {
        verdict(
            BOOKS,
            vec![
                beside(0, reserve(1), 0, held(1), 1),
                beside(0, SaleCall::Confirm { hold: 1 }, 2, confirmed, 9),
                beside(1, SaleCall::Cancel { hold: 1 }, 2, cancelled, 9),
            ],
        )
    };
    let (confirmed, before) = (SaleAnswer::Confirmed { order: 1 }, SaleAnswer::CancelledBefore);
    assert_eq!(race(confirmed, SaleAnswer::Ended(SaleEnd::BeingConfirmed)), Ok(()));
    assert_eq!(race(before, SaleAnswer::Cancelled), Ok(()));
    assert!(race(confirmed, SaleAnswer::Cancelled).is_err());
    assert!(race(before, SaleAnswer::Ended(SaleEnd::Confirmed)).is_err());
}

#[test]
fn a_payment_that_was_never_answered_may_have_sold_the_hold_or_not() {
    let seen = |answer| {
        let mut calls = in_turn(&[(reserve(1), held(1))]);
        calls.push(Operation { thread: 0, call: SaleCall::Confirm { hold: 1 }, called: 20, answer: None });
        calls.push(beside(1, SaleCall::Cancel { hold: 1 }, 30, answer, 31));
        verdict(BOOKS, calls)
    };
    for answer in [SaleAnswer::Cancelled, SaleAnswer::Ended(SaleEnd::Confirmed)] {
        assert_eq!(seen(answer), Ok(()));
    }
    assert!(seen(SaleAnswer::Ended(SaleEnd::Expired)).is_err());
}
