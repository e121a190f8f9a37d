//! Models of the deadlines: holders beside a sweep.
//!
//! What is proved: when both have finished, a hold that the sweep did not show is covered by its block's bound, and
//! by the sale's, so that a later sweep shows it.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::{
    cap::CellIndex,
    models::{explore, explore_within},
    slots::Meta,
};

type Note = fn(&Deadlines, &Slots, u32, u64);
type Sweep = fn(&Deadlines, &Slots, u64) -> Vec<u32>;

const META: Meta = Meta { cell: CellIndex(0), quantity: 1, key_epoch: 0 };
const UNTIL: u64 = 5;

fn sweep(deadlines: &Deadlines, slots: &Slots, until: u64) -> Vec<u32> {
    let mut shown = Vec::new();
    deadlines.sweep(slots, until, |index, _| shown.push(index));
    shown
}

/// Slot 0 has been held until `UNTIL` and is swept, while slot 1 is held until `due`.
fn a_holder_beside_a_sweep(due: u64, note: Note, sweep: Sweep) {
    let (slots, deadlines) = (Arc::new(Slots::new(2)), Arc::new(Deadlines::new()));
    slots.hold(0, UNTIL, META);
    deadlines.note(&slots, 0, UNTIL);
    let (their_slots, theirs) = (Arc::clone(&slots), Arc::clone(&deadlines));
    let holder = thread::spawn(move || {
        their_slots.hold(1, due, META);
        note(&theirs, &their_slots, 1, due);
    });
    let shown = sweep(&deadlines, &slots, UNTIL);
    holder.join().unwrap();
    assert!(shown.contains(&0));
    if !shown.contains(&1) {
        let bounds = (bound(slots.block(1)[0].load(Ordering::Acquire)), deadlines.earliest());
        assert!(bounds.0 <= due && bounds.1 <= due, "a hold due at {due} behind the bounds {bounds:?}");
    }
}

/// Two sweeps at once, beside a holder.
fn two_sweeps_beside_a_holder(sweep: Sweep) {
    let (slots, deadlines) = (Arc::new(Slots::new(2)), Arc::new(Deadlines::new()));
    slots.hold(0, 7, META);
    deadlines.note(&slots, 0, UNTIL);
    let (their_slots, theirs) = (Arc::clone(&slots), Arc::clone(&deadlines));
    let other = thread::spawn(move || sweep(&theirs, &their_slots, UNTIL));
    let shown = sweep(&deadlines, &slots, UNTIL);
    assert!(shown.is_empty() && other.join().unwrap().is_empty(), "due later");
    let bounds = (bound(slots.block(0)[0].load(Ordering::Acquire)), deadlines.earliest());
    assert!(bounds.0 <= 7 && bounds.1 <= 7, "a hold due at 7 behind the bounds {bounds:?}");
}

#[test]
fn a_hold_made_beside_a_sweep_is_shown_or_covered() {
    for due in [UNTIL - 1, UNTIL + 2] {
        explore(move || a_holder_beside_a_sweep(due, Deadlines::note, sweep));
    }
}

/// Slot 0 is swept, while a chunk is made and slot 2 in it is held.
fn a_new_chunk_beside_a_sweep(meet: fn(&Deadlines)) {
    let (slots, deadlines) = (Arc::new(Slots::new(2)), Arc::new(Deadlines::new()));
    slots.hold(0, UNTIL, META);
    deadlines.note(&slots, 0, UNTIL);
    let (their_slots, theirs) = (Arc::clone(&slots), Arc::clone(&deadlines));
    let holder = thread::spawn(move || {
        their_slots.chunk(1);
        meet(&theirs);
        their_slots.hold(2, UNTIL + 2, META);
        theirs.note(&their_slots, 2, UNTIL + 2);
    });
    sweep(&deadlines, &slots, UNTIL);
    holder.join().unwrap();
    assert!(deadlines.earliest() <= UNTIL + 2, "a hold in a new chunk behind {}", deadlines.earliest());
}

#[test]
fn a_hold_in_a_new_chunk_is_covered() {
    explore(|| a_new_chunk_beside_a_sweep(Deadlines::meet));
}

#[test]
#[should_panic(expected = "a hold in a new chunk")]
fn control_a_chunk_that_meets_no_sweep_hides_a_hold() {
    explore(|| a_new_chunk_beside_a_sweep(|_| ()));
}

#[test]
fn two_sweeps_at_once_leave_every_hold_covered() {
    explore_within(4, || two_sweeps_beside_a_holder(sweep));
}

/// The fault: a bound that is low enough is not written, and so meets no sweep.
fn note_after_a_plain_look(deadlines: &Deadlines, slots: &Slots, index: u32, due: u64) {
    if bound(slots.block(index)[0].load(Ordering::Acquire)) > due {
        return deadlines.note(slots, index, due);
    }
    if deadlines.earliest.load(Ordering::Relaxed) > due {
        deadlines.earliest.fetch_min(due, Ordering::AcqRel);
    }
}

/// The fault: the bound is raised whatever was noted since the slots were looked at.
fn sweep_that_raises_whatever_came(deadlines: &Deadlines, slots: &Slots, until: u64) -> Vec<u32> {
    let mut shown = Vec::new();
    deadlines.earliest.swap(NEVER, Ordering::AcqRel);
    let remaining = sweep_block(slots, 0, until, &mut |index, _| shown.push(index));
    slots.block(0)[0].swap(bits(remaining), Ordering::AcqRel);
    deadlines.earliest.fetch_min(remaining, Ordering::AcqRel);
    shown
}

#[test]
#[should_panic(expected = "behind the bounds")]
fn control_a_plain_look_loses_a_hold() {
    explore(|| a_holder_beside_a_sweep(UNTIL + 2, note_after_a_plain_look, sweep));
}

#[test]
#[should_panic(expected = "behind the bounds")]
fn control_raising_whatever_came_loses_a_hold() {
    explore(|| a_holder_beside_a_sweep(UNTIL + 2, Deadlines::note, sweep_that_raises_whatever_came));
}
