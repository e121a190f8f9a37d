//! Models of the queue: a return is for the head alone once a place was answered, and no return is stranded.
//!
//! What is proved:
//! - With somebody queued, a unit that comes back is out of a newcomer's reach, whichever gate the newcomer has read.
//! - A return beside the opening of the queue is found by the queue's server, if there is a queue, and by newcomers
//!   otherwise; beside its closing, by newcomers.
//! - Who is refused for a queue is refused for one that there is.
//! - Units that are added for the queue end "sold out", whoever is just marking it.
//!
//! Each scene takes the operation as an argument, so that a faulty one can be shown to fail in it.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::models::{explore, explore_within};

type Give = fn(&Permits, usize);
type Close = fn(&Permits, usize);
type Open = fn(&Permits) -> bool;
type Serve = fn(&Permits, usize) -> bool;

fn open(permits: &Permits) -> bool {
    permits.open_queue().is_ok()
}

fn give(permits: &Permits, home: usize) {
    permits.give(home, 1);
}

fn close(permits: &Permits, home: usize) {
    permits.close_queue(home);
}

fn serve(permits: &Permits, home: usize) -> bool {
    permits.take_for_queue(home)
}

/// The only unit is on hold; somebody queues, then the unit comes back, while a newcomer is on the way who may have
/// read the gate at any time.
fn a_newcomer_beside_a_queue(give: Give) {
    let permits = Arc::new(Permits::new(1, 2, false));
    permits.take(0, 1).unwrap();
    let theirs = Arc::clone(&permits);
    let newcomer = thread::spawn(move || theirs.take(1, 1).is_ok());
    permits.open_queue().unwrap();
    give(&permits, 1);
    assert!(!newcomer.join().unwrap(), "a newcomer has snatched the unit of the head");
    assert!(permits.take_for_queue(0), "the unit of the head is gone");
    assert_eq!(permits.free(), 0);
}

/// The only unit comes back while somebody wants to queue for it: whoever is right finds it.
fn a_return_beside_the_first_place(give: Give, serve: Serve) {
    let permits = Arc::new(Permits::new(1, 2, false));
    permits.take(0, 1).unwrap();
    let theirs = Arc::clone(&permits);
    let returned = thread::spawn(move || give(&theirs, 1));
    let queued = permits.open_queue().is_ok();
    returned.join().unwrap();
    let found = if queued { serve(&permits, 0) } else { permits.take(0, 1).is_ok() };
    assert!(found, "stranded: queued {queued}, behind {:?}", permits.gate());
    assert_eq!(permits.free(), 0);
}

/// One unit has come back for the queue, another comes back while the last one leaves: both are everybody's then.
fn a_return_beside_the_last_to_leave(give: Give, close: Close) {
    let permits = Arc::new(Permits::new(2, 2, false));
    permits.take(0, 1).unwrap();
    permits.take(1, 1).unwrap();
    permits.open_queue().unwrap();
    give(&permits, 0);
    let theirs = Arc::clone(&permits);
    let returned = thread::spawn(move || give(&theirs, 1));
    close(&permits, 0);
    let first = permits.take(1, 1).is_ok();
    returned.join().unwrap();
    assert!(first, "stranded: the first, behind {:?}", permits.gate());
    assert!(permits.take(0, 1).is_ok(), "stranded: the second, behind {:?}", permits.gate());
    assert_eq!(permits.free(), 0);
}

/// Somebody queues, and a newcomer asks, while a unit comes back: one of the two gets it, and it is not both.
fn a_return_beside_a_newcomer_and_the_first_place(give: Give) {
    let permits = Arc::new(Permits::new(1, 1, false));
    permits.take(0, 1).unwrap();
    let (first, second) = (Arc::clone(&permits), Arc::clone(&permits));
    let returned = thread::spawn(move || give(&first, 0));
    let newcomer = thread::spawn(move || second.take(0, 1).is_ok());
    let queued = permits.open_queue().is_ok();
    returned.join().unwrap();
    let taken = newcomer.join().unwrap();
    let found = if queued { permits.take_for_queue(0) } else { permits.take(0, 1).is_ok() };
    assert!(taken != found, "stranded or doubled: queued {queued}, taken {taken}, found {found}");
}

/// Two units come back while somebody wants to queue, and whoever gave the second back asks for it: refused only if
/// there is a queue.
fn two_returns_beside_the_first_place(open: Open) {
    let permits = Arc::new(Permits::new(2, 2, false));
    permits.take(0, 1).unwrap();
    permits.take(1, 1).unwrap();
    permits.take(0, 1).unwrap_err();
    let (first, second) = (Arc::clone(&permits), Arc::clone(&permits));
    let first = thread::spawn(move || give(&first, 0));
    let second = thread::spawn(move || {
        give(&second, 1);
        second.take(1, 1).is_ok()
    });
    let queued = open(&permits);
    first.join().unwrap();
    let taken = second.join().unwrap();
    assert!(taken || queued, "refused after a return was answered, and nobody is queued");
    assert_eq!(permits.free(), 2 - u64::from(taken));
}

/// Everything is sold while somebody is queued; a unit is added while somebody else finds out that all is sold.
fn an_addition_for_the_queue_beside_the_sold_out_mark(give: Give) {
    let permits = Arc::new(Permits::new(1, 1, false));
    permits.take(0, 1).unwrap();
    permits.open_queue().unwrap();
    let theirs = Arc::clone(&permits);
    // Its proof that all is sold is from before the addition.
    let gate = permits.gate();
    let other = thread::spawn(move || theirs.mark_sold_out(gate));
    give(&permits, 0);
    other.join().unwrap();
    assert!(!permits.gate().sold_out(), "sold out, after an addition was answered");
}

#[test]
fn no_newcomer_snatches_what_comes_back_for_the_head() {
    explore(|| a_newcomer_beside_a_queue(give));
}

#[test]
fn a_return_beside_the_first_place_is_found() {
    explore(|| a_return_beside_the_first_place(give, serve));
}

#[test]
fn a_return_beside_the_last_to_leave_is_everybodys() {
    explore(|| a_return_beside_the_last_to_leave(give, close));
}

#[test]
fn a_return_beside_a_newcomer_and_the_first_place_goes_to_one_of_them() {
    explore_within(3, || a_return_beside_a_newcomer_and_the_first_place(give));
}

#[test]
fn nobody_is_refused_for_a_place_that_is_refused() {
    explore_within(2, || two_returns_beside_the_first_place(open));
}

#[test]
fn units_added_for_the_queue_are_not_told_sold_out() {
    explore(|| an_addition_for_the_queue_beside_the_sold_out_mark(give));
}

/// The fault: the word is opened before the gate says that somebody is queued, and closed again if it can't.
fn open_the_word_first(permits: &Permits) -> bool {
    permits.queue.fetch_or(OPEN, Ordering::AcqRel);
    let gate = permits.gate();
    let queued = gate.0 | QUEUED;
    let swap = || permits.gate.compare_exchange(gate.0, queued, Ordering::AcqRel, Ordering::Relaxed);
    if gate.none_free() && swap().is_ok() {
        return true;
    }
    let units = permits.queue.swap(0, Ordering::AcqRel) & !OPEN;
    permits.give(0, units);
    false
}

/// The fault: what comes back goes to a stripe, and only the gate says whose it is.
fn give_to_a_stripe(permits: &Permits, home: usize) {
    permits.stripes.at(home).fetch_add(1, Ordering::Release);
    permits.count_return();
}

/// The fault: the word is looked at, and the unit added later, open or not.
fn give_after_a_look(permits: &Permits, home: usize) {
    if permits.queue.load(Ordering::Acquire) & OPEN == 0 {
        give(permits, home);
        return;
    }
    permits.queue.fetch_add(1, Ordering::AcqRel);
    permits.count_return();
}

/// The fault: the queue has it, but the gate does not say that there was a return.
fn give_without_counting(permits: &Permits, _: usize) {
    permits.queue.fetch_add(1, Ordering::Release);
    permits.gate.fetch_and(!SOLD_OUT, Ordering::AcqRel);
}

/// The fault: what came back is looked at, and the word closed later.
fn close_by_load_and_store(permits: &Permits, home: usize) {
    let units = permits.queue.load(Ordering::Acquire) & !OPEN;
    permits.queue.store(0, Ordering::Release);
    permits.gate.fetch_and(!QUEUED, Ordering::AcqRel);
    permits.give(home, units);
}

/// The fault: nobody is queued any more, and what had come back stays where no newcomer looks.
fn close_without_moving(permits: &Permits, _: usize) {
    permits.queue.fetch_and(!OPEN, Ordering::AcqRel);
    permits.gate.fetch_and(!QUEUED, Ordering::AcqRel);
}

/// The fault: only what came back for the queue is looked at.
fn serve_from_the_word_alone(permits: &Permits, _: usize) -> bool {
    permits.take_from_queue(1) == 1
}

#[test]
#[should_panic(expected = "a newcomer has snatched the unit of the head")]
fn control_a_return_to_a_stripe_is_snatched() {
    explore(|| a_newcomer_beside_a_queue(give_to_a_stripe));
}

#[test]
#[should_panic(expected = "refused after a return was answered")]
fn control_a_word_opened_before_the_gate_refuses_for_a_return() {
    explore_within(2, || two_returns_beside_the_first_place(open_the_word_first));
}

#[test]
#[should_panic(expected = "stranded")]
fn control_a_server_of_the_word_alone_misses_a_return() {
    explore(|| a_return_beside_the_first_place(give, serve_from_the_word_alone));
}

#[test]
#[should_panic(expected = "stranded")]
fn control_a_return_after_a_look_is_stranded() {
    explore(|| a_return_beside_the_last_to_leave(give_after_a_look, close));
}

#[test]
#[should_panic(expected = "stranded")]
fn control_a_queue_closed_by_load_and_store_strands_a_return() {
    explore(|| a_return_beside_the_last_to_leave(give, close_by_load_and_store));
}

#[test]
#[should_panic(expected = "stranded: the first")]
fn control_a_queue_closed_without_moving_strands_what_came_back() {
    explore(|| a_return_beside_the_last_to_leave(give, close_without_moving));
}

#[test]
#[should_panic(expected = "sold out, after an addition was answered")]
fn control_an_uncounted_return_to_the_queue_is_told_sold_out() {
    explore(|| an_addition_for_the_queue_beside_the_sold_out_mark(give_without_counting));
}
