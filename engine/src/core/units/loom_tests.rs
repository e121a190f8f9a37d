//! Models of the pool: which unit a permit gets.
//!
//! What is proved:
//! - Whoever has a permit finds its unit with one search, whatever others take, give back and add; no unit is in two
//!   hands, and none is lost.
//! - What is read of a live hold's chain beside its end is that hold's units, or is not believed.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::{
    cap::CellIndex,
    models::{explore, explore_within},
    slots::{End, Meta, Slots},
};

/// A pool and the permits of its units, in two stripes.
struct Scene {
    pool: Pool,
    permits: [AtomicU64; 2],
}

impl Scene {
    /// `units` units, of which `returned` have been taken and given back, the lowest on top; all permits in stripe 0.
    fn new(units: u32, returned: u32) -> Arc<Self> {
        let pool = Pool::new(units);
        pool.restore_fresh(returned);
        (0..returned).rev().for_each(|unit| pool.restore_free(unit));
        Arc::new(Self { pool, permits: [AtomicU64::new(u64::from(units)), AtomicU64::new(0)] })
    }

    /// As `Permits`: from one's own stripe, then from the other's.
    fn permit(&self, home: usize) -> bool {
        [home, 1 - home].into_iter().any(|stripe| {
            let mut free = self.permits[stripe].load(Ordering::Acquire);
            while free > 0 {
                match self.permits[stripe].compare_exchange(free, free - 1, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return true,
                    Err(seen) => free = seen,
                }
            }
            false
        })
    }

    fn give_permit(&self, home: usize) {
        self.permits[home].fetch_add(1, Ordering::Release);
    }

    /// The unit of a permit, if there is a permit.
    fn unit(&self, home: usize) -> Option<u32> {
        self.permit(home).then(|| self.pool.find(1).expect("who has a permit finds its unit").start)
    }

    /// Every unit in a hand or in the pool, sorted.
    fn all(&self, hands: impl IntoIterator<Item = Option<u32>>) -> Vec<u32> {
        let mut all: Vec<u32> = hands.into_iter().flatten().collect();
        while let Some(units) = self.pool.find(1) {
            all.push(units.start);
            assert!(all.len() <= 8, "a list without an end: {all:?}");
        }
        all.sort_unstable();
        all
    }
}

type GiveBack = fn(&Scene, u32);

/// One thread takes a unit and gives it back, while another wants one or two of the two.
fn a_unit_given_back_beside_a_taker(give_back: GiveBack) {
    let scene = Scene::new(2, 0);
    let theirs = Arc::clone(&scene);
    let other = thread::spawn(move || {
        if let Some(unit) = theirs.unit(1) {
            give_back(&theirs, unit);
        }
    });
    let hands = [scene.unit(0), scene.unit(0)];
    other.join().unwrap();
    assert_eq!(scene.all(hands), [0, 1], "in hands: {hands:?}");
}

#[test]
fn whoever_has_a_permit_finds_its_unit() {
    explore(|| {
        a_unit_given_back_beside_a_taker(|scene, unit| {
            scene.pool.push(unit, unit);
            scene.give_permit(1);
        });
    });
}

/// The fault: the permit is given back before its unit.
#[test]
#[should_panic(expected = "who has a permit finds its unit")]
fn control_a_permit_before_its_unit_finds_none() {
    explore(|| {
        a_unit_given_back_beside_a_taker(|scene, unit| {
            scene.give_permit(1);
            scene.pool.push(unit, unit);
        });
    });
}

type Add = fn(&Scene);

/// A unit is added in the other stripe while two threads want one each.
fn a_unit_added_beside_two_takers(add: Add) {
    let scene = Scene::new(1, 1);
    let takers = [0, 1].map(|home| {
        let theirs = Arc::clone(&scene);
        thread::spawn(move || theirs.unit(home))
    });
    add(&scene);
    let hands = takers.map(|taker| taker.join().unwrap());
    assert_eq!(scene.all(hands), [0, 1], "in hands: {hands:?}");
}

#[test]
fn a_unit_that_is_added_is_found_with_its_permit() {
    explore_within(3, || {
        a_unit_added_beside_two_takers(|scene| {
            scene.pool.grow(1);
            scene.give_permit(1);
        });
    });
}

/// The fault: the permit of a new unit is given before the unit is there.
#[test]
#[should_panic(expected = "who has a permit finds its unit")]
fn control_a_permit_before_the_added_unit_finds_none() {
    explore_within(3, || {
        a_unit_added_beside_two_takers(|scene| {
            scene.give_permit(1);
            scene.pool.grow(1);
        });
    });
}

type Pop = fn(&Pool) -> Option<u32>;
type Push = fn(&Pool, u32);

/// One thread pops; the other pops two and puts the first one back: the same unit is on top of another list.
fn a_pop_beside_a_top_that_comes_back(pop: Pop, push: Push) {
    let scene = Scene::new(3, 0);
    scene.pool.restore_fresh(3);
    (0..3).rev().for_each(|unit| push(&scene.pool, unit));
    let theirs = Arc::clone(&scene);
    let other = thread::spawn(move || {
        let (first, second) = (pop(&theirs.pool), pop(&theirs.pool));
        if let Some(first) = first {
            push(&theirs.pool, first);
        }
        second
    });
    let hands = [pop(&scene.pool), other.join().unwrap()];
    assert_eq!(scene.all(hands), [0, 1, 2], "in hands: {hands:?}");
}

#[test]
fn a_top_unit_that_comes_back_is_not_mistaken_for_the_old_one() {
    explore(|| a_pop_beside_a_top_that_comes_back(Pool::pop, |pool, unit| pool.push(unit, unit)));
}

/// The fault: the head carries no tag.
#[test]
#[should_panic(expected = "in hands")]
fn control_a_head_without_a_tag_hands_a_unit_out_twice() {
    let push: Push = |pool, unit| {
        let mut head = pool.list.load(Ordering::Relaxed);
        loop {
            pool.links.at(unit).store(head, Ordering::Release);
            match pool.list.compare_exchange(head, u64::from(unit) + 1, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    };
    let pop: Pop = |pool| {
        let mut head = pool.list.load(Ordering::Acquire);
        loop {
            let unit = u32::try_from(head.checked_sub(1)?).expect("a unit's number");
            let after = pool.links.at(unit).load(Ordering::Relaxed);
            match pool.list.compare_exchange(head, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(unit),
                Err(seen) => head = seen,
            }
        }
    };
    explore(move || a_pop_beside_a_top_that_comes_back(pop, push));
}

type Read = fn(&Pool, &Slots) -> Option<Vec<u32>>;

/// A hold of units 0 and 1 ends and its units go to two other holds, while somebody reads which it has.
fn a_look_beside_an_end(read: Read) {
    const META: Meta = Meta { cell: CellIndex(0), quantity: 2, key_epoch: 0 };
    let (pool, slots) = (Arc::new(Pool::new(3)), Arc::new(Slots::new(2)));
    pool.enter(0, 2);
    slots.hold(0, 5, META);
    let (their_pool, their_slots) = (Arc::clone(&pool), Arc::clone(&slots));
    let look = thread::spawn(move || read(&their_pool, &their_slots));
    slots.release(0, slots.load(0), End::Cancelled).unwrap();
    pool.leave(0, 2);
    pool.enter(0, 2);
    slots.hold(0, 5, META);
    if let Some(units) = look.join().unwrap() {
        assert_eq!(units, [0, 1], "units that the hold did not have");
    }
    assert_eq!(chain(&pool), [2, 0]);
}

fn chain(pool: &Pool) -> Vec<u32> {
    let mut units = Vec::new();
    pool.chain(0, 2, |unit| units.push(unit));
    units
}

#[test]
fn units_read_beside_the_end_of_their_hold_are_its_own_or_not_believed() {
    explore(|| {
        a_look_beside_an_end(|pool, slots| {
            let word = slots.load(0);
            let units = chain(pool);
            (word.generation() == 0 && slots.load(0) == word).then_some(units)
        });
    });
}

/// The fault: the slot's word is not looked at again.
#[test]
#[should_panic(expected = "units that the hold did not have")]
fn control_units_read_without_a_second_look_are_another_holds() {
    explore(|| {
        a_look_beside_an_end(|pool, slots| {
            let word = slots.load(0);
            (word.generation() == 0).then(|| chain(pool))
        });
    });
}
