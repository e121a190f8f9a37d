//! Models of one slot: the race for its end, and what is read beside its word.
//!
//! What is proved:
//! - Of confirm, cancel and expire exactly one wins; each other one sees how.
//! - A word from before a hold's end does nothing to the slot's next hold.
//! - What is read between two equal looks at the word belongs to that word.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::models::{explore, explore_within};

type Release = fn(&Slots, Snapshot, End) -> Result<bool, Snapshot>;
type BeginConfirm = fn(&Slots, Snapshot) -> Result<Snapshot, Snapshot>;
type Write = fn(&Slots, u64);

const OLD: Meta = Meta { cell: CellIndex(1), quantity: 1, key_epoch: 1 };
const NEW: Meta = Meta { cell: CellIndex(2), quantity: 2, key_epoch: 2 };
const LINK: u64 = 3;

fn release(slots: &Slots, from: Snapshot, end: End) -> Result<bool, Snapshot> {
    slots.release(0, from, end)
}

fn begin_confirm(slots: &Slots, from: Snapshot) -> Result<Snapshot, Snapshot> {
    slots.begin_confirm(0, from)
}

fn write_link(slots: &Slots, link: u64) {
    slots.set_link(0, link);
}

/// A slot that is held, and the word of its hold.
fn held() -> (Arc<Slots>, Snapshot) {
    let slots = Arc::new(Slots::new(1));
    slots.hold(0, 7, OLD);
    let word = slots.load(0);
    (slots, word)
}

fn three_ends_of_one_hold(begin_confirm: BeginConfirm, release: Release) {
    let (slots, word) = held();
    let ends = [End::Cancelled, End::Expired].map(|end| {
        let slots = Arc::clone(&slots);
        thread::spawn(move || release(&slots, word, end).map(|_| State::Free(Some(end))).map_err(Snapshot::state))
    });
    let mut outcomes = vec![begin_confirm(&slots, word).map(Snapshot::state).map_err(Snapshot::state)];
    outcomes.extend(ends.map(|end| end.join().unwrap()));
    let won: Vec<State> = outcomes.iter().filter_map(|outcome| outcome.ok()).collect();
    assert_eq!(won.len(), 1, "one hold, these ends: {outcomes:?}");
    assert_eq!(slots.load(0).state(), won[0]);
    for lost in outcomes.iter().filter_map(|outcome| outcome.err()) {
        assert_eq!(lost, won[0], "a loser must see how it ended");
    }
}

/// A payment with an old word, while the hold ends and the slot is held again until the same time.
fn an_old_word_beside_the_next_hold(begin_confirm: BeginConfirm, release: Release) {
    let (slots, word) = held();
    let theirs = Arc::clone(&slots);
    let payment = thread::spawn(move || begin_confirm(&theirs, word).is_ok());
    let cancelled = release(&slots, word, End::Cancelled).is_ok();
    if cancelled {
        slots.hold(0, 7, NEW);
    }
    let paid = payment.join().unwrap();
    assert!(paid != cancelled, "paid {paid}, cancelled {cancelled}");
    if cancelled {
        assert_eq!(slots.load(0).state(), State::Held { due: 7 }, "the next hold was touched");
        assert_eq!(slots.meta(0), NEW);
    }
}

/// A look at a hold, while it ends, and its slot goes through the free list to the next hold.
fn a_look_beside_a_slot_that_moves_on(write: Write) {
    let (slots, word) = held();
    let theirs = Arc::clone(&slots);
    let look = thread::spawn(move || {
        let before = theirs.load(0);
        let meta = theirs.meta(0);
        if theirs.load(0) == before && matches!(before.state(), State::Held { .. }) {
            let expected = if before.generation() == 0 { OLD } else { NEW };
            assert_eq!(meta, expected, "this was read under {before:?}");
        }
    });
    slots.release(0, word, End::Expired).expect("nobody else ends it");
    write(&slots, LINK);
    slots.hold(0, 9, NEW);
    look.join().unwrap();
}

#[test]
fn one_of_confirm_cancel_and_expire_wins_and_the_others_see_how() {
    explore(|| three_ends_of_one_hold(begin_confirm, release));
}

#[test]
fn an_old_word_cannot_touch_the_next_hold() {
    explore(|| an_old_word_beside_the_next_hold(begin_confirm, release));
}

#[test]
fn what_is_read_beside_an_unchanged_word_belongs_to_it() {
    explore(|| a_look_beside_a_slot_that_moves_on(write_link));
}

#[test]
fn an_extension_and_an_expiry_do_not_both_succeed() {
    explore_within(3, || {
        let (slots, word) = held();
        let theirs = Arc::clone(&slots);
        let expiry = thread::spawn(move || theirs.release(0, word, End::Expired).is_ok());
        let extended = slots.extend(0, word, 9).is_ok();
        let expired = expiry.join().unwrap();
        assert!(extended != expired);
    });
}

/// The fault: the word is looked at, and then written.
fn begin_confirm_by_check_and_store(slots: &Slots, from: Snapshot) -> Result<Snapshot, Snapshot> {
    let seen = slots.load(0);
    if seen != from {
        return Err(seen);
    }
    let confirming = Snapshot::new(State::Confirming, from.generation());
    slots.slot(0)[0].store(confirming.0, Ordering::Release);
    Ok(confirming)
}

/// The fault: the generation stays.
fn release_in_the_same_generation(slots: &Slots, from: Snapshot, end: End) -> Result<bool, Snapshot> {
    slots.swap(0, from, Snapshot::new(State::Free(Some(end)), from.generation())).map(|_| true)
}

/// The fault: nothing orders the link after the end of the hold.
fn write_link_relaxed(slots: &Slots, link: u64) {
    slots.slot(0)[1].store(link, Ordering::Relaxed);
}

#[test]
#[should_panic(expected = "one hold, these ends")]
fn control_check_and_store_ends_a_hold_twice() {
    explore(|| three_ends_of_one_hold(begin_confirm_by_check_and_store, release));
}

#[test]
#[should_panic(expected = "paid true, cancelled true")]
fn control_a_generation_that_stays_lets_an_old_word_in() {
    explore(|| an_old_word_beside_the_next_hold(begin_confirm, release_in_the_same_generation));
}

#[test]
#[should_panic(expected = "this was read under")]
fn control_a_relaxed_link_is_read_as_a_share() {
    explore(|| a_look_beside_a_slot_that_moves_on(write_link_relaxed));
}
