//! Models of the permits: two stripes, up to three threads.
//!
//! What is proved:
//! - One unit goes to one buyer, and whoever asks for no more than is free gets it.
//! - A call that begins after a return has been answered isn't told "none free" or "sold out" unless the unit is
//!   gone again.
//!
//! Each scene takes the operation as an argument, so that a faulty one can be shown to fail in it.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::models::explore;

type Take = fn(&Permits, usize, u64) -> bool;
type Give = fn(&Permits, usize);
type MarkSoldOut = fn(&Permits, Gate);

const EVERY_MARK: u64 = SOLD_OUT | NONE_FREE | OPERATORS;

fn take(permits: &Permits, home: usize, units: u64) -> bool {
    permits.take(home, units).is_ok()
}

fn give(permits: &Permits, home: usize) {
    permits.give(home, 1);
}

fn mark_sold_out(permits: &Permits, gate: Gate) {
    permits.mark_sold_out(gate);
}

fn one_unit_and_two_buyers(take: Take) {
    let permits = Arc::new(Permits::new(1, 2, false));
    let theirs = Arc::clone(&permits);
    let other = thread::spawn(move || take(&theirs, 1, 1));
    let taken = u32::from(take(&permits, 0, 1)) + u32::from(other.join().unwrap());
    assert_eq!((taken, permits.free()), (1, 0));
}

fn one_unit_asked_for_beside_a_larger_wish(take: Take) {
    let permits = Arc::new(Permits::new(1, 1, false));
    let theirs = Arc::clone(&permits);
    let larger = thread::spawn(move || take(&theirs, 0, 2));
    assert!(take(&permits, 0, 1), "one unit is free, and nobody else can have it");
    assert!(!larger.join().unwrap());
    assert_eq!(permits.free(), 0);
}

/// One unit is free, one comes back, two want one: at every instant there is one for each who still wants it.
fn a_return_beside_two_buyers(take: Take, give: Give) {
    let permits = Arc::new(Permits::new(1, 2, false));
    let theirs = Arc::clone(&permits);
    let other = thread::spawn(move || take(&theirs, 1, 1));
    give(&permits, 1);
    assert!(take(&permits, 0, 1), "refused after a return was answered, with a unit free");
    assert!(other.join().unwrap(), "refused although a unit was free all the time");
    assert_eq!(permits.free(), 0);
}

/// One unit is free, one comes back, three want one: exactly two get one.
fn a_return_beside_three_buyers(take: Take, give: Give) {
    let permits = Arc::new(Permits::new(1, 2, false));
    let buyers: Vec<_> = (0..2)
        .map(|home| {
            let permits = Arc::clone(&permits);
            thread::spawn(move || take(&permits, home, 1))
        })
        .collect();
    give(&permits, 1);
    let mut taken = u32::from(take(&permits, 0, 1));
    for buyer in buyers {
        taken += u32::from(buyer.join().unwrap());
    }
    assert_eq!((taken, permits.free()), (2, 0), "the gate says {:?}", permits.gate());
}

/// Everything is sold; while somebody finds that out, a unit is added, and asked for.
fn an_addition_beside_the_sold_out_mark(mark: MarkSoldOut) {
    let permits = Arc::new(Permits::new(0, 2, false));
    let theirs = Arc::clone(&permits);
    let other = thread::spawn(move || mark(&theirs, theirs.gate()));
    permits.give(1, 1);
    assert!(permits.take(0, 1).is_ok(), "refused after an addition was answered, with its unit free");
    other.join().unwrap();
}

/// Everything is held; two returns and one refusal at once leave a gate that says what is there.
fn two_returns_beside_a_refusal(take: Take, give: Give) {
    let permits = Arc::new(Permits::new(0, 2, false));
    let returns: Vec<_> = (0..2)
        .map(|home| {
            let permits = Arc::clone(&permits);
            thread::spawn(move || give(&permits, home))
        })
        .collect();
    let taken = u64::from(take(&permits, 0, 1));
    for each in returns {
        each.join().unwrap();
    }
    assert_eq!(permits.free(), 2 - taken);
    assert!(permits.gate().is_open(), "units are free behind {:?}", permits.gate());
}

#[test]
fn one_unit_goes_to_one_of_two_buyers() {
    explore(|| one_unit_and_two_buyers(take));
}

#[test]
fn a_larger_wish_does_not_hide_the_unit_from_a_smaller_one() {
    explore(|| one_unit_asked_for_beside_a_larger_wish(take));
}

#[test]
fn after_a_return_was_answered_nobody_is_refused_for_it() {
    explore(|| a_return_beside_two_buyers(take, give));
}

#[test]
fn three_buyers_get_what_is_free_and_what_comes_back() {
    explore(|| a_return_beside_three_buyers(take, give));
}

#[test]
fn after_an_addition_was_answered_nobody_is_told_sold_out() {
    explore(|| an_addition_beside_the_sold_out_mark(mark_sold_out));
}

#[test]
fn returns_leave_the_gate_open_whatever_a_refusal_does() {
    explore(|| two_returns_beside_a_refusal(take, give));
}

/// The fault: a count is looked at and then written, by two at once.
fn take_by_load_and_store(permits: &Permits, home: usize, units: u64) -> bool {
    (0..permits.stripes.len()).any(|step| {
        let stripe = permits.stripes.at(home + step);
        let free = stripe.load(Ordering::Acquire);
        if free >= units {
            stripe.store(free - units, Ordering::Release);
        }
        free >= units
    })
}

/// The fault: the count dips below what is free until it is repaired.
fn take_by_subtraction_and_repair(permits: &Permits, home: usize, units: u64) -> bool {
    let stripe = permits.stripes.at(home);
    let before = stripe.fetch_sub(units, Ordering::AcqRel).cast_signed();
    let enough = before >= units.cast_signed();
    if !enough {
        stripe.fetch_add(units, Ordering::AcqRel);
    }
    enough
}

/// The fault: "none free" is set whatever has come back since the stripes were seen empty.
fn take_marking_any_gate(permits: &Permits, home: usize, units: u64) -> bool {
    if permits.gate().0 & EVERY_MARK != 0 {
        return false;
    }
    let stripes = permits.stripes.len();
    let taken = (0..stripes).any(|step| Permits::take_from(permits.stripes.at(home + step), units).is_ok());
    if !taken {
        permits.gate.fetch_or(NONE_FREE, Ordering::AcqRel);
    }
    taken
}

/// The fault: "none free" is set by a store, and so wipes out a return.
fn take_marking_by_store(permits: &Permits, home: usize, units: u64) -> bool {
    let gate = permits.gate();
    if gate.0 & EVERY_MARK != 0 {
        return false;
    }
    let stripes = permits.stripes.len();
    let taken = (0..stripes).any(|step| Permits::take_from(permits.stripes.at(home + step), units).is_ok());
    if !taken {
        permits.gate.store(gate.0 | NONE_FREE, Ordering::Release);
    }
    taken
}

/// The fault: the gate moves before the unit is there to be found.
fn give_behind_the_gate(permits: &Permits, home: usize) {
    let mut gate = permits.gate.load(Ordering::Relaxed);
    loop {
        let next = gate.wrapping_add(ONE_RETURN) & !(NONE_FREE | SOLD_OUT);
        match permits.gate.compare_exchange(gate, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => break,
            Err(seen) => gate = seen,
        }
    }
    permits.stripes.at(home).fetch_add(1, Ordering::Release);
}

/// The fault: the gate's marks are cleared, but no return is counted.
fn give_without_counting(permits: &Permits, home: usize) {
    permits.stripes.at(home).fetch_add(1, Ordering::Release);
    permits.gate.fetch_and(!(NONE_FREE | SOLD_OUT), Ordering::AcqRel);
}

/// The fault: "sold out" is set whatever has come since everything was seen sold.
fn mark_sold_out_on_any_gate(permits: &Permits, _: Gate) {
    permits.gate.fetch_or(SOLD_OUT, Ordering::AcqRel);
}

#[test]
#[should_panic(expected = "assertion")]
fn control_load_and_store_sells_one_unit_twice() {
    explore(|| one_unit_and_two_buyers(take_by_load_and_store));
}

#[test]
#[should_panic(expected = "one unit is free, and nobody else can have it")]
fn control_subtraction_and_repair_refuses_with_a_unit_free() {
    explore(|| one_unit_asked_for_beside_a_larger_wish(take_by_subtraction_and_repair));
}

#[test]
#[should_panic(expected = "refused")]
fn control_a_mark_on_any_gate_hides_a_return() {
    explore(|| a_return_beside_two_buyers(take_marking_any_gate, give));
}

#[test]
#[should_panic(expected = "refused")]
fn control_a_stored_mark_hides_a_return() {
    explore(|| a_return_beside_two_buyers(take_marking_by_store, give));
}

#[test]
#[should_panic(expected = "the gate says")]
fn control_a_mark_on_any_gate_starves_three_buyers() {
    explore(|| a_return_beside_three_buyers(take_marking_any_gate, give));
}

#[test]
#[should_panic(expected = "units are free behind")]
fn control_a_return_behind_the_gate_is_hidden_by_a_refusal() {
    explore(|| two_returns_beside_a_refusal(take, give_behind_the_gate));
}

#[test]
#[should_panic(expected = "refused")]
fn control_an_uncounted_return_is_hidden_by_a_refusal() {
    explore(|| a_return_beside_two_buyers(take, give_without_counting));
}

#[test]
#[should_panic(expected = "refused after an addition was answered")]
fn control_sold_out_on_any_gate_hides_an_addition() {
    explore(|| an_addition_beside_the_sold_out_mark(mark_sold_out_on_any_gate));
}
