//! Models of the supply: one list, one run, two threads.
//!
//! What is proved:
//! - Whatever is popped and pushed at once, no slot is in two hands, and none is lost.
//! - Whoever has a permit finds a slot, also one that moves while it looks.
//! - Two threads of one stripe that refill its run at once hand out every slot once.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::models::{explore, explore_within};

type PopList = fn(&AtomicU64, &Slots) -> Option<u32>;
type Refill = fn(&Supply, &Slots) -> Option<u32>;

/// Three slots in one list, 0 on top; no runs.
fn three_in_a_list() -> (Arc<Supply>, Arc<Slots>) {
    let (slots, supply) = (Arc::new(Slots::new(4)), Arc::new(grown(0, 1, 1)));
    for index in [2, 1, 0] {
        supply.push(&slots, 0, index);
    }
    (supply, slots)
}

/// Every slot that is in a hand or in the list, sorted.
fn all_of(supply: &Supply, slots: &Slots, hands: impl IntoIterator<Item = Option<u32>>) -> Vec<u32> {
    let mut all: Vec<u32> = hands.into_iter().flatten().collect();
    while let Some(index) = Supply::pop_list(&supply.shelves.at(0).list, slots) {
        all.push(index);
        assert!(all.len() <= 8, "a list without an end: {all:?}");
    }
    all.sort_unstable();
    all
}

/// One thread pops; the other pops two and puts the first one back: the same slot is on top of another list.
fn a_pop_beside_a_top_that_comes_back(pop: PopList) {
    let (supply, slots) = three_in_a_list();
    let (their_supply, their_slots) = (Arc::clone(&supply), Arc::clone(&slots));
    let other = thread::spawn(move || {
        let list = &their_supply.shelves.at(0).list;
        let (first, second) = (pop(list, &their_slots), pop(list, &their_slots));
        if let Some(first) = first {
            their_supply.push(&their_slots, 0, first);
        }
        second
    });
    let mine = pop(&supply.shelves.at(0).list, &slots);
    let theirs = other.join().unwrap();
    assert_eq!(all_of(&supply, &slots, [mine, theirs]), [0, 1, 2], "in hands: {mine:?} {theirs:?}");
}

/// Two threads of one stripe with an empty run, and four never-used slots in runs of two.
fn two_refills_of_one_run(refill: Refill) {
    let (slots, supply) = (Arc::new(Slots::new(4)), Arc::new(grown(4, 1, 2)));
    let (their_supply, their_slots) = (Arc::clone(&supply), Arc::clone(&slots));
    let other = thread::spawn(move || refill(&their_supply, &their_slots));
    let mut hands = vec![refill(&supply, &slots), other.join().unwrap()];
    while let Some(index) = supply.pop_run(&slots, 0) {
        hands.push(Some(index));
        assert!(hands.len() <= 8, "a run without an end: {hands:?}");
    }
    assert_eq!(all_of(&supply, &slots, hands.iter().copied()), [0, 1, 2, 3], "in hands: {hands:?}");
}

fn pop_run(supply: &Supply, slots: &Slots) -> Option<u32> {
    supply.pop_run(slots, 0)
}

#[test]
fn a_top_that_comes_back_is_not_mistaken_for_the_old_one() {
    explore(|| a_pop_beside_a_top_that_comes_back(Supply::pop_list));
}

#[test]
fn two_refills_of_one_run_hand_out_every_slot_once() {
    explore(|| two_refills_of_one_run(pop_run));
}

#[test]
fn pushes_at_once_are_all_found() {
    explore(|| {
        let (slots, supply) = (Arc::new(Slots::new(4)), Arc::new(grown(0, 1, 1)));
        let (their_supply, their_slots) = (Arc::clone(&supply), Arc::clone(&slots));
        let other = thread::spawn(move || {
            their_supply.push(&their_slots, 0, 0);
            Supply::pop_list(&their_supply.shelves.at(0).list, &their_slots)
        });
        supply.push(&slots, 0, 1);
        let theirs = other.join().unwrap();
        assert!(theirs.is_some(), "it had pushed one itself");
        assert_eq!(all_of(&supply, &slots, [theirs]), [0, 1]);
    });
}

/// As many slots as units and one more for the stripe: whoever has a permit finds a slot, wherever the others are.
#[test]
fn whoever_has_a_permit_finds_a_slot() {
    explore_within(3, || {
        let (slots, supply) = (Arc::new(Slots::new(4)), Arc::new(grown(3, 2, 1)));
        let (their_supply, their_slots) = (Arc::clone(&supply), Arc::clone(&slots));
        let other = thread::spawn(move || {
            let index = their_supply.pop(&their_slots, 1).expect("two units, three slots");
            their_supply.push(&their_slots, 1, index);
            their_supply.pop(&their_slots, 1).expect("two units, three slots")
        });
        let mine = supply.pop(&slots, 0).expect("two units, three slots");
        assert_ne!(mine, other.join().unwrap());
    });
}

/// As many slots as units, since others are out of generations: one is free for whoever looks, and beside the look it
/// is taken, and another comes back where the look has passed.
fn a_slot_that_moves_beside_a_look(pop: fn(&Supply, &Slots, usize) -> Option<u32>) {
    let (slots, supply) = (Arc::new(Slots::new(2)), Arc::new(grown(2, 2, 1)));
    let [theirs, free] = [0, 1].map(|home| supply.pop(&slots, home).unwrap());
    supply.push(&slots, 1, free);
    let (their_supply, their_slots) = (Arc::clone(&supply), Arc::clone(&slots));
    let other = thread::spawn(move || {
        their_supply.push(&their_slots, 0, theirs);
        their_supply.pop(&their_slots, 1).expect("two units, two slots")
    });
    let mine = pop(&supply, &slots, 0).expect("whoever has a permit finds a slot");
    assert_ne!(mine, other.join().unwrap());
}

#[test]
fn a_slot_that_moves_is_found() {
    explore_within(3, || a_slot_that_moves_beside_a_look(Supply::pop));
}

#[test]
#[should_panic(expected = "whoever has a permit finds a slot")]
fn control_one_look_misses_a_slot_that_moves() {
    explore_within(3, || {
        a_slot_that_moves_beside_a_look(|supply, slots, home| {
            (home..home + 2).find_map(|home| Supply::pop_list(&supply.shelves.at(home).list, slots))
        });
    });
}

/// The fault: the head carries no tag.
fn pop_list_without_a_tag(list: &AtomicU64, slots: &Slots) -> Option<u32> {
    let mut head = list.load(Ordering::Acquire) & INDEX_MASK;
    loop {
        let index = u32::try_from(head.checked_sub(1)?).expect("masked");
        let after = slots.link(index) & INDEX_MASK;
        match list.compare_exchange(head, after, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(index),
            Err(seen) => head = seen,
        }
    }
}

/// As `three_in_a_list`, with lists whose heads carry no tag.
fn an_untagged_pop_beside_a_top_that_comes_back() {
    let push = |supply: &Supply, slots: &Slots, index: u32| {
        let list = &supply.shelves.at(0).list;
        let mut head = list.load(Ordering::Relaxed);
        loop {
            slots.set_link(index, head);
            match list.compare_exchange(head, u64::from(index) + 1, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    };
    let (slots, supply) = (Arc::new(Slots::new(4)), Arc::new(grown(0, 1, 1)));
    for index in [2, 1, 0] {
        push(&supply, &slots, index);
    }
    let (their_supply, their_slots) = (Arc::clone(&supply), Arc::clone(&slots));
    let other = thread::spawn(move || {
        let list = &their_supply.shelves.at(0).list;
        let (first, second) = (pop_list_without_a_tag(list, &their_slots), pop_list_without_a_tag(list, &their_slots));
        if let Some(first) = first {
            push(&their_supply, &their_slots, first);
        }
        second
    });
    let mine = pop_list_without_a_tag(&supply.shelves.at(0).list, &slots);
    let theirs = other.join().unwrap();
    assert_eq!(all_of(&supply, &slots, [mine, theirs]), [0, 1, 2], "in hands: {mine:?} {theirs:?}");
}

/// The fault: whoever refills writes its run over another's.
fn refill_by_store(supply: &Supply, _: &Slots) -> Option<u32> {
    let run = &supply.shelves.at(0).run;
    if let Some(index) = Supply::pop_front(run) {
        return Some(index);
    }
    let (start, end) = supply.claim_run()?;
    run.store((end << 32) | (start + 1), Ordering::Relaxed);
    u32::try_from(start).ok()
}

#[test]
#[should_panic(expected = "in hands")]
fn control_a_head_without_a_tag_hands_a_slot_out_twice() {
    explore(an_untagged_pop_beside_a_top_that_comes_back);
}

#[test]
#[should_panic(expected = "in hands")]
fn control_a_stored_run_loses_slots() {
    explore(|| two_refills_of_one_run(refill_by_store));
}

fn grown(capacity: u32, stripes: usize, run: u32) -> Supply {
    let supply = Supply::new(stripes, run);
    supply.grow(capacity);
    supply
}
