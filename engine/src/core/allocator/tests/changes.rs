//! What a drain shows, and when there is something to be shown.

use super::*;

const NOBODY: Share = Share { buyer: Buyer::from_words(0, 0), quantity: 0 };

#[test]
fn changes_are_shown_in_portions_and_each_once() {
    let allocator = allocator(RULES, 256, 1);
    assert!(!allocator.has_changes() && !allocator.has_ends());
    let made: Vec<Made> = (0..256).map(|number| reserve(&allocator, number, 0).expect("256 units")).collect();
    assert!(allocator.has_changes());
    let (mut shown, mut from, mut portions) = (Vec::new(), Some(0), Vec::new());
    while let Some(block) = from {
        let before = shown.len();
        from = allocator.drain_changes(block, 100, |slot, _, _, _| shown.push(slot));
        portions.push(shown.len() - before);
    }
    // Whole blocks of 64, until there are enough.
    assert_eq!(portions, [128, 128, 0]);
    shown.sort_unstable();
    let mut slots: Vec<u32> = made.iter().map(|made| made.id.slot).collect();
    slots.sort_unstable();
    assert_eq!(shown, slots);
    assert!(!allocator.has_changes());
    assert!(end(&allocator, made[9].id, End::Cancelled, 0));
    assert!(allocator.has_changes() && allocator.has_ends());
    let mut free = Vec::new();
    allocator.drain_changes(0, u32::MAX, |slot, word, _, share| free.push((slot, word.state(), share)));
    assert_eq!(free, [(made[9].id.slot, State::Free(Some(End::Cancelled)), NOBODY)]);
    assert!(!allocator.has_changes());
}

#[test]
fn ends_are_shown_in_large_chunks_and_in_later_ones() {
    const UNITS: u64 = 20_000;
    let allocator = allocator(RULES, 5_000, 1);
    allocator.grow(allocator.chunks_for(UNITS));
    allocator.add(u32::try_from(UNITS).expect("few") - 5_000, 0);
    let made: Vec<Made> = (0..UNITS).map(|number| reserve(&allocator, number, 0).expect("enough")).collect();
    allocator.drain_changes(0, u32::MAX, |_, _, _, _| ());
    let mut ended: Vec<u32> = Vec::new();
    for made in made.iter().step_by(997) {
        assert!(end(&allocator, made.id, End::Expired, 0));
        ended.push(made.id.slot);
    }
    let mut shown = Vec::new();
    allocator.drain_ends(|slot, word, _, share| {
        // Every cell of the cap table is somebody's, also the one that a free slot's link would name.
        assert_eq!((word.state(), share), (State::Free(Some(End::Expired)), NOBODY));
        shown.push(slot);
    });
    ended.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, ended);
}
