//! Bounds of one sale, at rest and while it is swept.
//!
//! Properties: 1. the sale's bound is the earliest due time of what is noted, before, in and after a sweep; 2. so is a
//! block's, and each note changes its word; 3. a sweep shows what is due and nothing else.

use super::*;
use crate::core::{cap::CellIndex, slots::Meta};

const META: Meta = Meta { cell: CellIndex(0), quantity: 1, key_epoch: 0 };

fn hold(deadlines: &Deadlines, slots: &Slots, index: u32, due: u64) {
    slots.hold(index, due, META);
    deadlines.note(slots, index, due);
}

fn word(slots: &Slots, index: u32) -> u64 {
    slots.block(index)[0].load(Ordering::Relaxed)
}

/// Sweeps and ends what is due; the slots, and what the sale's bound said meanwhile.
fn sweep(deadlines: &Deadlines, slots: &Slots, until: u64) -> (Vec<u32>, Vec<u64>) {
    let (mut ended, mut meanwhile) = (Vec::new(), Vec::new());
    deadlines.sweep(slots, until, |index, snapshot| {
        slots.release(index, snapshot, crate::core::End::Expired).expect("nobody else is here");
        ended.push(index);
        meanwhile.push(deadlines.earliest());
    });
    (ended, meanwhile)
}

#[test]
fn bounds_are_the_earliest_due_time_before_in_and_after_a_sweep() {
    let (deadlines, slots) = (Deadlines::new(), Slots::new(256));
    assert_eq!((deadlines.earliest(), bound(word(&slots, 0))), (NEVER, NEVER));
    // Two blocks, the second with one hold that is due, and the third with none.
    for (index, due) in [(3, 70), (5, 50), (7, 200), (5 + BLOCK, 60), (6 + BLOCK, 90), (9 + 2 * BLOCK, 300)] {
        hold(&deadlines, &slots, index, due);
    }
    let bounds = || [0, 1, 2, 3].map(|block| bound(word(&slots, block * BLOCK)));
    assert_eq!((deadlines.earliest(), bounds()), (50, [50, 60, 300, NEVER]));
    assert_eq!(sweep(&deadlines, &slots, 49), (vec![], vec![]));
    let notes = |word: u64| word >> BOUND_BITS;
    let before = [0, BLOCK, 2 * BLOCK].map(|index| notes(word(&slots, index)));
    assert_eq!(before, [3, 2, 1]);
    let (ended, meanwhile) = sweep(&deadlines, &slots, 70);
    assert_eq!((ended, meanwhile), (vec![3, 5, 5 + BLOCK], vec![50; 3]));
    assert_eq!((deadlines.earliest(), bounds()), (90, [200, 90, 300, NEVER]));
    assert_eq!([0, BLOCK, 2 * BLOCK].map(|index| notes(word(&slots, index))), before, "what was noted stays noted");
    let word_before = word(&slots, 0);
    hold(&deadlines, &slots, 3, 200);
    assert_ne!(word(&slots, 0), word_before, "a sweep under way finds out");
    assert_eq!(sweep(&deadlines, &slots, 400).0, [3, 7, 6 + BLOCK, 9 + 2 * BLOCK]);
    assert_eq!((deadlines.earliest(), bounds()), (NEVER, [NEVER; 4]));
    hold(&deadlines, &slots, 0, 500);
    assert_eq!((deadlines.earliest(), bounds()[0]), (500, 500));
}

#[test]
fn notes_of_a_block_wrap_and_leave_its_bound_alone() {
    let (deadlines, slots) = (Deadlines::new(), Slots::new(64));
    hold(&deadlines, &slots, 1, 80);
    slots.block(0)[0].fetch_or(!BOUND_MASK, Ordering::Relaxed);
    deadlines.note(&slots, 1, 80);
    assert_eq!((word(&slots, 0) >> BOUND_BITS, bound(word(&slots, 0))), (0, 80));
}

#[test]
fn a_part_of_a_basket_is_waited_for_and_not_ended() {
    let (deadlines, slots) = (Deadlines::new(), Slots::new(64));
    slots.hold_part(1, 50, META);
    deadlines.note(&slots, 1, 50);
    assert!(sweep(&deadlines, &slots, 60).0.is_empty());
    assert_eq!(deadlines.earliest(), 50);
}
