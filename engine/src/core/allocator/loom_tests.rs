//! Models of the allocator's own parts: a change is never lost to the drain, and the first holds find their slots.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::models::{explore, explore_within};

type NoteChange = fn(&Allocator, u32);

const RULES: Rules = Rules { cap: 1, largest: 1, hold: 10, grace: 1 };

fn allocator() -> Arc<Allocator> {
    Arc::new(Allocator::new(RULES, 2, plan(1, 0, true)))
}

fn plan(stripes: usize, key: u8, journaled: bool) -> Plan {
    Plan { stripes, key: [key; 16], scheduled: false, journaled, first_slots: None }
}

fn drained(allocator: &Allocator) -> Vec<u32> {
    let mut shown = Vec::new();
    allocator.drain_changes(0, u32::MAX, |slot, _, _, _| shown.push(slot));
    shown
}

/// Slot 0 has changed and is drained, while slot 1 changes.
fn a_change_beside_a_drain(note: NoteChange) {
    let allocator = allocator();
    allocator.slots.block(0);
    allocator.note_change(0);
    let theirs = Arc::clone(&allocator);
    let other = thread::spawn(move || note(&theirs, 1));
    let mut shown = drained(&allocator);
    other.join().unwrap();
    shown.extend(drained(&allocator));
    shown.sort_unstable();
    assert_eq!(shown, [0, 1], "a change was lost, or shown twice");
}

#[test]
fn a_change_beside_a_drain_is_shown_now_or_by_the_next() {
    explore(|| a_change_beside_a_drain(Allocator::note_change));
}

/// The fault: `changed` is looked at before the slot's bit is set.
fn note_change_in_the_wrong_order(allocator: &Allocator, slot: u32) {
    if allocator.changed.load(Ordering::Relaxed) == 0 {
        allocator.changed.store(1, Ordering::Relaxed);
    }
    allocator.slots.block(slot)[1].fetch_or(1 << slot, Ordering::AcqRel);
}

#[test]
#[should_panic(expected = "a change was lost")]
fn control_a_look_before_the_bit_loses_a_change() {
    explore(|| a_change_beside_a_drain(note_change_in_the_wrong_order));
}

type FirstSlot = fn(&Allocator, usize) -> Option<u32>;

/// Two threads have a permit each, in a sale that has no slots yet.
fn two_first_holds(first_slot: FirstSlot) {
    let allocator = allocator();
    let theirs = Arc::clone(&allocator);
    let enter = move |allocator: &Allocator| {
        let slot = allocator.supply.pop(&allocator.slots, 0).or_else(|| first_slot(allocator, 0));
        slot.expect("there is a slot for every permit")
    };
    let other = thread::spawn(move || enter(&theirs));
    let mine = enter(&allocator);
    assert_ne!(mine, other.join().unwrap());
}

#[test]
fn whoever_makes_the_slots_both_first_holds_find_one() {
    explore_within(3, || two_first_holds(Allocator::first_slot));
}

/// The fault: slots that another thread has just made are not looked at again.
fn first_slot_for_its_maker_only(allocator: &Allocator, home: usize) -> Option<u32> {
    if allocator.supply.fresh().1 > 0 {
        return None;
    }
    allocator.first_slot(home)
}

#[test]
#[should_panic(expected = "there is a slot for every permit")]
fn control_slots_for_their_maker_only_refuse_a_permit() {
    explore_within(3, || two_first_holds(first_slot_for_its_maker_only));
}

type EndHold = fn(&Allocator, u32);

/// A unit's hold ends while somebody else waits for the unit: who gets it must find the end.
fn a_unit_passed_on(end: EndHold) {
    let allocator = Arc::new(Allocator::new(RULES, 1, plan(1, 0, true)));
    let made = allocator.reserve(Buyer::from(1), 1, 0, 0, 0).unwrap();
    let theirs = Arc::clone(&allocator);
    let other = thread::spawn(move || end(&theirs, made.id.slot));
    if allocator.permits.take(0, 1).is_ok() {
        assert!(allocator.has_ends(), "a unit was passed on without its end");
        let mut ended = Vec::new();
        allocator.drain_ends(|slot, snapshot, _, _| ended.push((slot, snapshot.state())));
        assert_eq!(ended, [(made.id.slot, State::Free(Some(End::Cancelled)))], "a unit was passed on without its end");
    }
    other.join().unwrap();
}

#[test]
fn who_gets_a_unit_finds_the_end_of_the_hold_that_had_it() {
    explore_within(3, || {
        a_unit_passed_on(|allocator, slot| {
            allocator.end(slot, allocator.slots.load(slot), End::Cancelled, 0).unwrap();
        });
    });
}

/// The fault: the unit is given back before its end is noted.
#[test]
#[should_panic(expected = "a unit was passed on without its end")]
fn control_an_end_noted_too_late_is_missed() {
    explore_within(3, || {
        a_unit_passed_on(|allocator, slot| {
            allocator.slots.release(slot, allocator.slots.load(slot), End::Cancelled).unwrap();
            allocator.note_change(slot);
            allocator.permits.give(0, 1);
            allocator.note_end(slot);
        });
    });
}

type EndOfUnits = fn(&Allocator, u32);

/// The hold of a unit that has a face ends, while somebody else wants the unit.
fn a_unit_with_a_face_passed_on(end: EndOfUnits) {
    let allocator = Arc::new(Allocator::new(RULES, 1, plan(1, 0, true)).with_units(1));
    let made = allocator.reserve(Buyer::from(1), 1, 0, 0, 0).unwrap();
    let theirs = Arc::clone(&allocator);
    let other = thread::spawn(move || end(&theirs, made.id.slot));
    let again = allocator.reserve(Buyer::from(2), 1, 0, 0, 0);
    if let Ok(Made { id, .. }) = again {
        assert_eq!(allocator.units_of(id.slot, id.generation), Some(vec![0]));
    }
    other.join().unwrap();
}

#[test]
fn who_gets_a_permit_gets_the_unit_that_came_back_with_it() {
    explore_within(3, || {
        a_unit_with_a_face_passed_on(|allocator, slot| {
            allocator.end(slot, allocator.slots.load(slot), End::Cancelled, 0).unwrap();
        });
    });
}

/// The fault: the slot and the permit are given back before the unit.
#[test]
#[should_panic(expected = "who has a permit finds its unit")]
fn control_a_unit_put_back_last_is_missed() {
    explore_within(3, || {
        a_unit_with_a_face_passed_on(|allocator, slot| {
            let meta = allocator.slots.meta(slot);
            allocator.slots.release(slot, allocator.slots.load(slot), End::Cancelled).unwrap();
            allocator.cap.release(meta.cell, meta.quantity);
            allocator.permits.give(0, 1);
            allocator.leave_units(slot, meta.quantity);
            allocator.supply.push(&allocator.slots, 0, slot);
        });
    });
}
