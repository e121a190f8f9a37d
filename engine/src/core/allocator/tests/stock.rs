//! How many units and slots there are, and what recovery puts back.

use super::*;
use crate::core::slots::Slots;

#[test]
fn there_are_slots_for_what_is_on_offer_and_some_more() {
    // A run of ten and sixteen more than units: 66 slots, so a chunk of 128.
    let allocator = allocator(RULES, 40, 1);
    assert_eq!([0, 102, 103, 230, 231].map(|units| allocator.chunks_for(units)), [1, 1, 2, 2, 3]);
    let chunks = |slots: &Slots| slots.present().count();
    allocator.grow(2);
    assert_eq!(chunks(allocator.slots()), 0, "no memory before the first hold");
    let made = reserve(&allocator, 1, 0).expect("a unit");
    assert_eq!(chunks(allocator.slots()), 2);
    allocator.grow(3);
    assert_eq!(chunks(allocator.slots()), 3, "from then on at once");
    assert_eq!((allocator.free(), allocator.total()), (39, 40));
    assert!(confirm(&allocator, made.id, 7, 0));
    let mut sold = Vec::new();
    allocator.sold_slots(|share, sequence| sold.push((share, sequence)));
    assert_eq!(sold, [(Share { buyer: buyer(1), quantity: 1 }, 7)]);
}

#[test]
fn more_slots_are_wanted_when_half_of_what_is_spare_is_retired() {
    let allocator = allocator(RULES, 40, 1);
    allocator.restore_slots();
    let retire = |slots: std::ops::Range<u32>| {
        slots.for_each(|slot| allocator.restore_free(slot, 1 << GENERATION_BITS, Some(End::Cancelled)));
    };
    retire(0..13);
    assert_eq!(allocator.wants_chunks(), None);
    retire(13..14);
    assert_eq!(allocator.wants_chunks(), Some(1));
    // Twice as many as are retired, beside the 40 on offer and what is spare: 186.
    retire(14..60);
    assert_eq!(allocator.wants_chunks(), Some(2));
}

#[test]
fn what_recovery_puts_back_falls_due_is_sold_and_counts() {
    let allocator = allocator(RULES, 40, 1);
    allocator.restore_slots();
    let id = |slot| HoldId { slot, generation: 5, key_epoch: KEY };
    let share = |number| Share { buyer: buyer(number), quantity: 1 };
    allocator.restore(id(0), share(1), State::Held { due: 100 });
    allocator.restore(id(1), share(2), State::Sold { sequence: 3 });
    allocator.restore(id(2), share(3), State::Part { due: 90 });
    allocator.restore_fresh(3);
    assert_eq!(assert_adds_up(&allocator), Count { free: 37, held: 2, sold: 1 });
    assert_eq!(allocator.next_due(), 90);
    assert_eq!(allocator.within_cap(buyer(2)), Err(Refusal::Limit { held: 0, bought: 1 }));
    assert!(allocator.has_bought(buyer(2)) && !allocator.has_bought(buyer(1)));
    assert_eq!(expire(&allocator, 109), []);
    assert_eq!(expire(&allocator, 110), [(id(0), share(1))]);
    // The part stands for a unit that may come back, and nobody but its basket ends it.
    assert_eq!(allocator.next_due(), 90);
}
