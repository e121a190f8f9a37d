//! The queue of one sale, call by call.

use super::*;

#[test]
fn what_comes_back_is_for_the_queue_and_for_whoever_may_have_it() {
    let allocator = allocator(RULES, 2, 1);
    let [first, second] = [1, 2].map(|number| reserve(&allocator, number, 0).expect("two units").id);
    assert!(end(&allocator, first, End::Cancelled, 0));
    assert_eq!(allocator.open_queue(), Err(Refusal::Fewer { free: 1 }));
    assert!(!allocator.serves_queue(), "nobody waits");
    reserve(&allocator, 3, 0).expect("a unit came back");
    assert_eq!((allocator.open_queue(), allocator.open_queue()), (Ok(true), Ok(false)), "one is the first to find out");
    assert!(!allocator.serves_queue(), "nothing is free");
    assert!(end(&allocator, second, End::Cancelled, 0));
    assert!(allocator.serves_queue());
    assert!(matches!(reserve(&allocator, 4, 0), Err(Refusal::AllHeld { on_hold: 2, first: false, .. })));
    assert!(allocator.set(Mark::Paused));
    assert!(!allocator.serves_queue());
    assert_eq!((allocator.open_queue(), allocator.admit()), (Err(Refusal::Paused), Err(Refusal::Paused)));
    assert!(allocator.clear(Mark::Paused));
    assert_eq!(allocator.within_cap(buyer(3)), Err(Refusal::Limit { held: 1, bought: 0 }));
    assert_eq!(allocator.offer(buyer(3), 50, 0, KEY).err(), Some(Refusal::Limit { held: 1, bought: 0 }));
    assert_eq!(allocator.free(), 1, "who may not have it takes none");
    assert_eq!(allocator.within_cap(buyer(5)), Ok(()));
    let made = allocator.offer(buyer(5), 50, 0, KEY).expect("it is the head's");
    assert_eq!((made.due, allocator.share_of(made.id.slot).buyer), (50, buyer(5)));
    assert!(matches!(allocator.offer(buyer(6), 50, 0, KEY).err(), Some(Refusal::AllHeld { first: false, .. })));
    assert_eq!(allocator.within_cap(buyer(6)), Ok(()), "an offer of nothing leaves nothing");
    assert!(!allocator.close_queue(0), "nothing is free by that");
    assert!(end(&allocator, made.id, End::Cancelled, 0));
    assert!(!allocator.close_queue(0), "nobody waited any more");
    reserve(&allocator, 7, 0).expect("it is anybody's");
}

#[test]
fn a_queue_that_is_left_gives_up_what_came_back_for_it() {
    let allocator = allocator(RULES, 1, 1);
    let made = reserve(&allocator, 1, 0).expect("a unit");
    assert_eq!(allocator.open_queue(), Ok(true));
    assert!(end(&allocator, made.id, End::Cancelled, 0));
    assert!(allocator.close_queue(0), "a unit is free by that");
    reserve(&allocator, 2, 0).expect("it is anybody's");
    allocator.restore_queue();
    assert!(allocator.gate().queued());
}

#[test]
fn an_operators_mark_stands_against_a_basket_and_not_against_a_late_payment() {
    let allocator = allocator(RULES, 2, 1);
    assert_eq!(allocator.admit(), Ok(()));
    assert!(allocator.set(Mark::Closed));
    assert_eq!(allocator.try_for(buyer(1), 1, Marks::Respected).err(), Some(Refusal::Closed));
    let attempt = allocator.try_for(buyer(1), 1, Marks::Passed).expect("it was paid");
    assert_eq!(allocator.within_cap(buyer(1)), Err(Refusal::UnderWay));
    allocator.leave(attempt);
    assert_eq!(allocator.within_cap(buyer(1)), Ok(()));
}
