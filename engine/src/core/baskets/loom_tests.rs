//! Models of baskets: of two that want the same units one gets them, what is read of one belongs to it, and units that
//! come back from one that fails are told to whoever was refused for them.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::{
    End,
    allocator::{Plan, Rules, Standing},
    models::{explore, explore_within},
    permits::Permits,
    slots::GENERATION_BITS,
};

/// Takes one unit of each in the order given, or gives back what it had: what `take` does with permits.
fn take_in_order(sales: [&Permits; 2]) -> bool {
    let [first, second] = sales;
    if first.take(0, 1).is_err() {
        return false;
    }
    if second.take(0, 1).is_ok() {
        return true;
    }
    first.give(0, 1);
    false
}

/// Two baskets want the last unit of each of two sales.
fn two_baskets(order_of_the_other: fn([&Permits; 2]) -> [&Permits; 2]) {
    let sales = Arc::new([Permits::new(1, 1, false), Permits::new(1, 1, false)]);
    let theirs = Arc::clone(&sales);
    let other = thread::spawn(move || take_in_order(order_of_the_other([&theirs[0], &theirs[1]])));
    let mine = take_in_order([&sales[0], &sales[1]]);
    let both = [mine, other.join().unwrap()];
    assert_eq!(both.iter().filter(|got| **got).count(), 1, "both went away empty, or one unit was sold twice");
    assert_eq!((sales[0].free(), sales[1].free()), (0, 0));
}

#[test]
fn of_two_baskets_that_want_the_same_units_one_gets_them() {
    explore(|| two_baskets(|sales| sales));
}

#[test]
#[should_panic(expected = "both went away empty")]
fn control_an_order_of_ones_own_lets_both_go_away_empty() {
    explore(|| two_baskets(|[first, second]| [second, first]));
}

const RULES: Rules = Rules { cap: 1, largest: 1, hold: 10, grace: 1 };

fn allocator(key: u8) -> Allocator {
    let plan = Plan { stripes: 1, key: [key; 16], scheduled: false, journaled: false, first_slots: None };
    Allocator::new(RULES, 1, plan)
}

struct Shop {
    desk: Allocator,
    table: Table,
}

impl Shop {
    /// A basket in the one slot that there is, with `quantity` in it to be known by.
    fn basket(&self, buyer: u64, quantity: u32) -> Option<HoldId> {
        let attempt = self.desk.try_for(buyer.into(), 1, Marks::Respected).ok()?;
        let place = self.desk.take(attempt, 1, Marks::Respected, 0).ok()?;
        let part = BasketPart { line: Line { sale: 0, quantity }, slot: 0, generation: 0 };
        let fill = |slot| self.table.fill(self.desk.slots(), slot, &[part]);
        self.desk.hold_basket(place, 0, 0, 0, fill).ok().map(|made| made.id)
    }

    /// Ends a basket, as `cancel` does; what was in it, for the one who ended it.
    fn end(&self, id: HoldId, read: fn(&Self, u32, &dyn Fn() -> bool) -> Option<Vec<BasketPart>>) -> Option<u32> {
        let Standing::Held { snapshot, .. } = self.desk.standing(id) else { return None };
        let ended = || self.desk.end(id.slot, snapshot, End::Cancelled, 0).is_ok();
        read(self, id.slot, &ended).map(|parts| parts[0].line.quantity)
    }
}

/// Two want to end one basket, and the other one makes the next in its slot as soon as it is free.
fn an_end_beside_another(read: fn(&Shop, u32, &dyn Fn() -> bool) -> Option<Vec<BasketPart>>) {
    let shop = Arc::new(Shop { desk: allocator(1), table: Table::new() });
    // Every slot has been used once: the next basket stands where the last one ended.
    shop.end(shop.basket(4, 4).unwrap(), |shop, slot, ended| {
        let parts = shop.table.parts(shop.desk.slots(), slot);
        ended().then_some(parts)
    });
    let first = shop.basket(1, 5).unwrap();
    let theirs = Arc::clone(&shop);
    let other = thread::spawn(move || {
        let mine = theirs.end(first, read);
        theirs.basket(2, 6);
        mine
    });
    let mine = shop.end(first, read);
    let both = [mine, other.join().unwrap()];
    assert_eq!(both.iter().flatten().collect::<Vec<_>>(), [&5], "one ends it, and has what was in it");
}

#[test]
fn who_ends_a_basket_has_what_was_in_it() {
    explore_within(3, || {
        an_end_beside_another(|shop, slot, ended| {
            let parts = shop.table.parts(shop.desk.slots(), slot);
            ended().then_some(parts)
        });
    });
}

#[test]
#[should_panic(expected = "one ends it, and has what was in it")]
fn control_a_look_after_the_end_finds_the_next_basket() {
    explore_within(3, || {
        an_end_beside_another(|shop, slot, ended| {
            if !ended() {
                return None;
            }
            // The fault: the slot is free, and maybe another's by now.
            Some(shop.table.parts(shop.desk.slots(), slot))
        });
    });
}

/// A sale with a unit, and no slot that has a generation left.
fn without_slots(key: u8) -> Allocator {
    let sale = allocator(key);
    sale.restore_slots();
    let slots = sale.slots().capacity(1);
    (0..slots).for_each(|slot| sale.restore_free(slot, 1 << GENERATION_BITS, None));
    sale.restore_fresh(slots);
    sale
}

/// A sale whose only unit somebody has.
fn without_units(key: u8) -> Allocator {
    let sale = allocator(key);
    sale.reserve(Buyer::from(9), 1, 0, 0, 0).unwrap();
    sale
}

type Take = fn(&[Want<'_>]) -> Result<Vec<HoldId>, Missed>;

fn take_all(wants: &[Want<'_>]) -> Result<Vec<HoldId>, Missed> {
    take(wants, Buyer::from(1), Marks::Respected, 0, 0)
}

/// A basket fails for what `lacking` lacks, beside somebody who wants the only unit of its other sale, `at`.
fn a_basket_that_fails_beside_a_buyer(at: usize, lacking: fn(u8) -> Allocator, take: Take) {
    let sales = [0, 1].map(|place| if place == at { allocator(1) } else { lacking(2) });
    let sales = Arc::new(sales);
    let theirs = Arc::clone(&sales);
    let other = thread::spawn(move || theirs[at].reserve(Buyer::from(2), 1, 0, 0, 0).err());
    let wants: Vec<_> = sales.iter().map(|allocator| Want { allocator, quantity: 1, due: 10 }).collect();
    let missed = take(&wants).unwrap_err();
    let told = matches!(other.join().unwrap(), Some(Refusal::AllHeld { first: true, .. }));
    if missed.place == at {
        assert!(missed.restocked.is_empty() && !told, "the other one has the unit");
        return;
    }
    let restocked = if told { vec![at] } else { Vec::new() };
    assert_eq!(missed.restocked, restocked, "the unit was missed, and came back: {told}");
}

#[test]
fn who_missed_the_unit_of_a_basket_that_fails_is_told_that_it_came_back() {
    for at in [0, 1] {
        explore_within(2, move || a_basket_that_fails_beside_a_buyer(at, without_slots, take_all));
        explore_within(2, move || a_basket_that_fails_beside_a_buyer(at, without_units, take_all));
    }
}

#[test]
#[should_panic(expected = "the unit was missed, and came back")]
fn control_a_basket_that_says_nothing_of_what_it_gave_back_is_noticed() {
    explore_within(2, || {
        a_basket_that_fails_beside_a_buyer(0, without_units, |wants| {
            take_all(wants).map_err(|missed| Missed { restocked: Vec::new(), ..missed })
        });
    });
}
