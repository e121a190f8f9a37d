//! Units with a face: who has which.

use super::*;

fn whereabouts(allocator: &Allocator) -> Vec<(u32, Whereabouts)> {
    let mut all = Vec::new();
    allocator.each_unit(|whereabouts, unit| all.push((unit, whereabouts)));
    all.sort_unstable_by_key(|(unit, _)| *unit);
    all
}

#[test]
fn each_unit_is_in_one_place_from_its_choice_to_its_end() {
    const SEVERAL: Rules = Rules { cap: 4, largest: 4, hold: 100, grace: 10 };
    let allocator = allocator(SEVERAL, 6, 1).with_units(6);
    assert_eq!(allocator.numbers(), 6);
    assert_eq!(allocator.units_of(0, 0), None, "there is no such hold");
    let hold = |number, quantity| allocator.reserve(buyer(number), quantity, 0, 0, KEY).expect("enough").id;
    let (one, other) = (hold(1, 2), hold(2, 3));
    let of = |id: HoldId| {
        allocator.units_of(id.slot, id.generation).map(|mut units| {
            units.sort_unstable();
            units
        })
    };
    let (first, second) = (of(one).expect("held"), of(other).expect("held"));
    assert_eq!((first.len(), second.len()), (2, 3));
    assert!(first.iter().all(|unit| !second.contains(unit)));
    assert_eq!(of(HoldId { generation: one.generation + 1, ..one }), None, "that hold is still to come");
    assert!(confirm(&allocator, other, 1, 0));
    assert_eq!(of(other), Some(second.clone()), "what is sold keeps them");
    let expected = |unit: u32| match unit {
        unit if first.contains(&unit) => Whereabouts::Held,
        unit if second.contains(&unit) => Whereabouts::Sold,
        _ => Whereabouts::Free,
    };
    assert_eq!(whereabouts(&allocator), (0..6).map(|unit| (unit, expected(unit))).collect::<Vec<_>>());
    assert!(end(&allocator, one, End::Cancelled, 0));
    assert_eq!(of(one), None);
    let free = whereabouts(&allocator).into_iter().filter(|(_, whereabouts)| *whereabouts == Whereabouts::Free);
    assert_eq!(free.count(), 3);
    // Two of the three are taken off; the third is what the next hold has.
    assert_eq!(allocator.withdraw(2, 0), 2);
    let gone = allocator.withdraw_units(2);
    let last = of(hold(3, 1)).expect("held");
    let mut all = [gone, last, second].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn units_come_back_from_a_journal_as_they_were() {
    let allocator = allocator(RULES, 4, 1).with_units(4);
    allocator.restore_slots();
    let id = HoldId { slot: 0, generation: 5, key_epoch: KEY };
    allocator.restore(id, Share { buyer: buyer(1), quantity: 1 }, State::Held { due: 100 });
    allocator.restore_units(0, &[1]);
    allocator.restore_fresh(1);
    allocator.restore_free_units(3, [0, 2].into_iter());
    let (held, free) = (Whereabouts::Held, Whereabouts::Free);
    assert_eq!(whereabouts(&allocator), [(0, free), (1, held), (2, free), (3, free)]);
    assert_eq!(allocator.units_of(0, 5), Some(vec![1]));
    let plain = super::allocator(RULES, 4, 1);
    assert_eq!((plain.numbers(), plain.withdraw_units(2), whereabouts(&plain)), (0, vec![], vec![]));
    assert_eq!(plain.units_of(0, 0), Some(vec![]), "units that are alike are not told apart");
}
