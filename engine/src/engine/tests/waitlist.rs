//! The waitlist: who is next, what an offer is, and that nobody else gets what comes back.

use std::collections::BTreeMap;

use super::*;
use crate::{
    AcceptError, BasketRejection, BasketRules, CancelError, Ended, JoinError, Left, Place, SpecError, WaitOrder,
    Waiting, Waitlist,
    engine::{answers::CreateError, events::EventKind},
    journal::{Fault, SimDisk},
};

const WITHIN: Duration = seconds(20);

fn waitlist(room: u32) -> Waitlist {
    Waitlist { room, accept_within: WITHIN, order: WaitOrder::FirstCome }
}

fn queued(sale: &Sale, buyer: u64) -> Option<u64> {
    match sale.waiting(buyer) {
        Waiting::Queued(place) => Some(place.ahead),
        _ => None,
    }
}

#[track_caller]
fn offered(sale: &Sale, buyer: u64) -> (Token, Timestamp) {
    match sale.waiting(buyer) {
        Waiting::Offered { token, accept_by } => (token, accept_by),
        other => panic!("buyer {buyer}: {other:?}"),
    }
}

fn join_all(sale: &Sale, buyers: impl IntoIterator<Item = u64>) {
    for buyer in buyers {
        sale.join(buyer).unwrap();
    }
}

fn tick(world: &World) -> Ticked {
    world.engine.tick(world.engine.now())
}

/// A sale of one unit, which buyer 1 has; buyers 11, 12, .. wait for it.
fn held_and_waited_for(world: &World, waiting: u64) -> (Sale, Token) {
    let sale = world.sale(books(1).waitlist(waitlist(100)));
    let token = hold(&sale, 1);
    for number in 1..=waiting {
        let Place { ticket, ahead, .. } = sale.join(10 + number).unwrap();
        assert_eq!((ticket, ahead), (number, number - 1));
    }
    (sale, token)
}

#[test]
fn what_comes_back_goes_to_the_head_and_to_nobody_else() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 3);
    let events = world.engine.subscribe(10);
    sale.cancel(&token).unwrap();
    assert!(matches!(sale.reserve(2, 1), Err(Rejection::AllHeld { .. })), "before anybody has ticked");
    assert!(matches!(sale.reserve(11, 1), Err(Rejection::AllHeld { .. })), "the head gets it by its turn");
    assert_eq!(tick(&world).offered, 1);
    assert!(matches!(sale.reserve(2, 1), Err(Rejection::AllHeld { .. })));
    let (offer, accept_by) = offered(&sale, 11);
    assert_eq!(accept_by, START.plus(WITHIN));
    assert_eq!((queued(&sale, 12), queued(&sale, 13), sale.queue_length()), (Some(0), Some(1), 2));
    let seen: Vec<EventKind> = std::iter::from_fn(|| events.try_next()).map(|event| event.kind).collect();
    assert!(
        matches!(seen[..], [EventKind::Cancelled { .. }, EventKind::Offered { token, .. }] if token == offer),
        "newcomers hear nothing of it: {seen:?}"
    );
    assert!(matches!(pay(&sale, &offer), Confirmation::Confirmed(_)), "an offer can be paid at once");
    assert_eq!(sale.waiting(11), Waiting::No);
    assert_eq!(sale.reserve(2, 1).unwrap_err(), Rejection::SoldOut);
    assert_eq!(sale.join(2).unwrap_err(), JoinError::Rejected(Rejection::SoldOut));
    assert_eq!(queued(&sale, 12), Some(0), "stock may be added");
    sale.add_stock(1).unwrap();
    assert!(matches!(sale.reserve(2, 1), Err(Rejection::AllHeld { .. })), "it is for the line, too");
    tick(&world);
    offered(&sale, 12);
    assert!(sale.audit().holds());
}

#[test]
fn a_place_is_for_who_finds_nothing_free_and_may_buy() {
    let world = World::in_memory();
    let plain = world.sale(SaleSpec::new("plain", 1));
    assert_eq!(plain.join(1).unwrap_err(), JoinError::NoWaitlist);
    assert_eq!((plain.waiting(1), plain.leave(1)), (Waiting::No, Ok(Left::Nothing)));
    let spec = books(2).waitlist(waitlist(2)).opens_at(START.plus(seconds(1))).closes_at(START.plus(seconds(100)));
    let sale = world.sale(spec.audience(crate::Audience::Registered));
    sale.register(&(1..10).map(Buyer::from).collect::<Vec<_>>()).unwrap();
    let opens_at = START.plus(seconds(1));
    assert_eq!(sale.join(3).unwrap_err(), JoinError::Rejected(Rejection::NotOpen { opens_at }));
    world.clock.advance(seconds(1));
    assert_eq!(sale.join(3).unwrap_err(), JoinError::UnitsFree);
    let _held = (hold(&sale, 1), hold(&sale, 2));
    let limit = Rejection::LimitReached { held: 1, bought: 0, limit: 1 };
    assert_eq!(sale.join(1).unwrap_err(), JoinError::Rejected(limit));
    assert_eq!(sale.join(10).unwrap_err(), JoinError::Rejected(Rejection::NotEligible));
    let place = sale.join(3).unwrap();
    assert_eq!(sale.join(3).unwrap(), place, "a double click");
    sale.pause().unwrap();
    assert_eq!(sale.join(4).unwrap_err(), JoinError::Rejected(Rejection::Paused));
    sale.resume().unwrap();
    sale.join(4).unwrap();
    assert_eq!(sale.join(5).unwrap_err(), JoinError::Full { room: 2 });
    assert_eq!(sale.leave(4), Ok(Left::Place));
    assert_eq!(sale.join(5).unwrap(), Place { ticket: 3, ahead: 1 }, "tickets don't come again");
    world.clock.advance(seconds(99));
    assert_eq!(sale.join(6).unwrap_err(), JoinError::Rejected(Rejection::Closed));
    for (room, accept_within) in [(0, WITHIN), (1, Duration::ZERO), (1, Duration::from_hours(366 * 24))] {
        let spec = books(1).waitlist(Waitlist { room, accept_within, order: WaitOrder::FirstCome });
        let refused = world.engine.create(SaleSpec { name: "other".to_owned(), ..spec });
        assert_eq!(refused.unwrap_err(), CreateError::Spec(SpecError::Waitlist { room, accept_within }));
    }
}

#[test]
fn who_needs_an_invitation_joins_with_it() {
    let world = World::in_memory();
    let sale = world.sale(books(1).waitlist(waitlist(2)).audience(crate::Audience::Invited));
    let _held = sale.request(1).invitation(&sale.invitation(1)).reserve().unwrap();
    assert_eq!(sale.join(2).unwrap_err(), JoinError::Rejected(Rejection::NotEligible));
    let other = sale.invitation(3);
    let refused = sale.request(2).invitation(&other).join().unwrap_err();
    assert_eq!(refused, JoinError::Rejected(Rejection::BadInvitation));
    let place = sale.request(3).invitation(&other).join().unwrap();
    assert_eq!((place.ahead, sale.waiting(3)), (0, Waiting::Queued(place)));
}

#[test]
fn who_leaves_makes_way_and_the_last_one_opens_the_sale_again() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 3);
    let events = world.engine.subscribe(10);
    assert_eq!(sale.leave(12), Ok(Left::Place));
    assert_eq!((sale.leave(12), sale.waiting(12)), (Ok(Left::Nothing), Waiting::No));
    assert_eq!((queued(&sale, 11), queued(&sale, 13)), (Some(0), Some(1)));
    sale.cancel(&token).unwrap();
    tick(&world);
    offered(&sale, 11);
    assert_eq!(sale.leave(11), Ok(Left::Offer), "an offer can be given back");
    assert_eq!(sale.waiting(11), Waiting::No);
    assert!(sale.reserve(2, 1).is_err());
    assert_eq!(sale.leave(13), Ok(Left::Place));
    assert_eq!(std::iter::from_fn(|| events.try_next()).last().map(|event| event.kind), Some(EventKind::Restocked));
    assert!(sale.reserve(2, 1).is_ok(), "nobody waits any more: it is everybody's");
}

#[test]
fn an_offer_that_lapses_goes_to_the_next() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 2);
    sale.cancel(&token).unwrap();
    tick(&world);
    let (first, accept_by) = offered(&sale, 11);
    let Err(JoinError::Offered { token: again, .. }) = sale.join(11) else { panic!("one offer at a time") };
    assert_eq!(again, first);
    world.clock.advance(WITHIN);
    offered(&sale, 11);
    world.clock.advance(millis(1));
    assert_eq!(sale.waiting(11), Waiting::No, "too late to accept");
    assert_eq!(sale.accept(&first).unwrap_err(), AcceptError::Lapsed { accept_by });
    assert_eq!(world.pass(millis(1_998)), Ticked::default(), "the grace is for payments on their way");
    let ticked = world.pass(millis(1));
    assert_eq!((ticked.expired, ticked.offered), (1, 1), "in one tick");
    let (second, _) = offered(&sale, 12);
    assert_eq!(sale.accept(&first).unwrap_err(), AcceptError::Ended(Ended::Expired));
    assert!(matches!(sale.reserve(2, 1), Err(Rejection::AllHeld { .. })), "it is on hold, and nobody waits");
    assert_eq!(pay(&sale, &first), Confirmation::PaidLateSoldOut);
    assert!(matches!(pay(&sale, &second), Confirmation::Confirmed(_)));
}

#[test]
fn a_late_payment_does_not_pass_the_line() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 1);
    sale.pause().unwrap();
    world.pass(seconds(62));
    assert_eq!(sale.audit().free, 1, "it has come back, and a paused sale offers nothing");
    assert_eq!(pay(&sale, &token), Confirmation::PaidLateSoldOut, "somebody waits for it");
    sale.resume().unwrap();
    tick(&world);
    offered(&sale, 11);
}

#[test]
fn an_accepted_offer_is_a_hold_as_any_other() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 1);
    sale.cancel(&token).unwrap();
    tick(&world);
    let (offer, _) = offered(&sale, 11);
    world.clock.advance(seconds(5));
    let deadline = START.plus(seconds(65));
    assert_eq!(sale.accept(&offer), Ok(deadline));
    assert_eq!(sale.waiting(11), Waiting::No);
    world.clock.advance(seconds(5));
    assert_eq!(sale.accept(&offer), Ok(deadline), "accepting again gives no more time");
    assert_eq!(world.pass(seconds(55)).expired, 0);
    assert!(matches!(pay(&sale, &offer), Confirmation::Confirmed(_)));
    assert_eq!(sale.accept(&offer).unwrap_err(), AcceptError::Ended(Ended::Confirmed));
    assert_eq!(sale.cancel(&offer).unwrap_err(), CancelError::Ended(Ended::Confirmed));
}

#[test]
fn a_paused_or_closed_sale_offers_nothing() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 2);
    sale.pause().unwrap();
    sale.cancel(&token).unwrap();
    assert_eq!(tick(&world).offered, 0);
    sale.resume().unwrap();
    assert_eq!(tick(&world).offered, 1);
    let (offer, _) = offered(&sale, 11);
    sale.close().unwrap();
    sale.cancel(&offer).unwrap();
    assert_eq!(tick(&world).offered, 0);
    assert_eq!(sale.leave(12), Ok(Left::Place));
    let audit = sale.audit();
    assert_eq!((audit.free, audit.holds()), (1, true));
}

#[test]
fn what_an_operator_changes_holds_for_who_waits_too() {
    let world = World::in_memory();
    let spec = books(1).cap(2).closes_at(START.plus(seconds(1_000)));
    let sale = world.sale(spec.waitlist(waitlist(10)));
    let token = hold(&sale, 1);
    join_all(&sale, [1, 11, 12]);
    world.engine.pause_all().unwrap();
    assert_eq!(sale.join(13).unwrap_err(), JoinError::Rejected(Rejection::Paused));
    sale.set_cap(1).unwrap();
    world.clock.advance(seconds(5));
    sale.move_window(None, Some(START.plus(seconds(5)))).unwrap();
    sale.add_stock(1).unwrap();
    assert_eq!(tick(&world).offered, 0, "all sales are halted, and this one is over");
    world.engine.resume_all().unwrap();
    assert_eq!(tick(&world).offered, 0, "it is over");
    sale.move_window(None, None).unwrap();
    assert_eq!(tick(&world).offered, 1);
    assert_eq!(sale.waiting(1), Waiting::PassedOver, "the new cap is one unit, which this buyer has");
    offered(&sale, 11);
    sale.cancel(&token).unwrap();
    world.engine.pause_all().unwrap();
    assert_eq!((tick(&world).offered, sale.audit().free), (0, 1), "a halt stands in the way of offers");
    world.engine.resume_all().unwrap();
    assert_eq!(tick(&world).offered, 1);
    offered(&sale, 12);
}

#[test]
fn withdrawn_units_are_taken_before_they_are_offered() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 1);
    sale.pause().unwrap();
    sale.cancel(&token).unwrap();
    assert_eq!(sale.withdraw(5), Ok(1));
    sale.resume().unwrap();
    assert_eq!(tick(&world).offered, 0);
    assert_eq!(queued(&sale, 11), Some(0));
    assert!(sale.audit().holds());
}

#[test]
fn a_head_at_the_cap_is_passed_over_and_told_so() {
    let world = World::in_memory();
    let sale = world.sale(books(2).cap(2).largest(2).waitlist(waitlist(10)));
    let both = sale.reserve(1, 2).unwrap().token();
    sale.join(11).unwrap();
    sale.join(12).unwrap();
    sale.cancel(&both).unwrap();
    // What two attempts of one buyer on their way past an old gate may end in.
    let taken = sale.inner.allocator.offer(Buyer::from(11), 60_000, 0, sale.engine.keys.key_epoch()).unwrap();
    let again = sale.inner.allocator.offer(Buyer::from(11), 60_000, 0, sale.engine.keys.key_epoch()).unwrap();
    assert_eq!(tick(&world).offered, 0, "nothing is free");
    sale.add_stock(1).unwrap();
    assert_eq!(tick(&world).offered, 1);
    assert_eq!(sale.waiting(11), Waiting::PassedOver);
    offered(&sale, 12);
    for id in [taken, again] {
        sale.cancel(&sale.token(id.id)).unwrap();
    }
    let _rest = sale.reserve(3, 2).unwrap();
    assert_eq!(sale.join(11).unwrap().ahead, 0, "another try");
    assert_eq!(queued(&sale, 11), Some(0));
}

#[test]
fn a_head_whose_other_attempt_never_ends_is_waited_for_and_then_passed_over() {
    let world = World::in_memory();
    let (sale, token) = held_and_waited_for(&world, 2);
    let _never = sale.inner.allocator.begin_attempt(Buyer::from(11));
    sale.cancel(&token).unwrap();
    assert_eq!(tick(&world).offered, 0);
    assert_eq!(world.pass(millis(999)).offered, 0);
    assert_eq!(world.pass(millis(1)).offered, 1);
    assert_eq!(sale.waiting(11), Waiting::PassedOver);
    offered(&sale, 12);
}

/// The rule as the book tells it, computed by somebody who has neither engine nor journal.
#[test]
fn a_lottery_is_drawn_by_the_published_rule_and_comes_out_the_same_again() {
    fn draw(seed: u64, buyer: u64) -> u64 {
        use std::hash::Hasher;
        let mut hasher = siphasher::sip::SipHasher24::new_with_keys(seed, 0);
        hasher.write(&[&0_u64.to_le_bytes()[..], &buyer.to_le_bytes()[..]].concat());
        hasher.finish()
    }
    for seed in [42, 43] {
        let lottery = Waitlist { order: WaitOrder::Lottery { seed }, ..waitlist(1_000) };
        let mut expected: Vec<u64> = (100..200).collect();
        expected.sort_by_key(|buyer| draw(seed, *buyer));
        assert_eq!(WaitOrder::draw(seed, Buyer::from(100)), draw(seed, 100));
        for rotation in [0, 37] {
            let world = World::in_memory();
            let sale = world.sale(books(1).waitlist(lottery));
            let mut token = hold(&sale, 1);
            let mut joining: Vec<u64> = (100..200).collect();
            joining.rotate_left(rotation);
            join_all(&sale, joining);
            for (ahead, buyer) in (0..).zip(&expected) {
                assert_eq!(queued(&sale, *buyer), Some(ahead));
            }
            for buyer in &expected {
                sale.cancel(&token).unwrap();
                assert_eq!(tick(&world).offered, 1);
                (token, _) = offered(&sale, *buyer);
            }
        }
    }
}

/// 30 of 100 never pay, whether they came first or were offered what came back.
#[test]
fn with_thirty_in_a_hundred_who_never_pay_everything_is_sold_and_every_return_went_to_the_head() {
    let world = World::in_memory();
    let sale = world.sale(books(1_000).waitlist(waitlist(10_000)));
    let events = world.engine.subscribe(100_000);
    let pays = |buyer: u64| buyer.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100 >= 30;
    let first: Vec<Token> = (0..1_000).map(|buyer| hold(&sale, buyer)).collect();
    let mut line: std::collections::VecDeque<u64> = (1_000..3_000).collect();
    join_all(&sale, line.iter().copied());
    for (buyer, token) in (0..).zip(&first) {
        if pays(buyer) {
            pay(&sale, token);
        }
    }
    let mut newcomer = 1_000_000;
    while sale.audit().sold < 1_000 {
        world.pass(seconds(7));
        newcomer += 1;
        assert!(sale.reserve(newcomer, 1).is_err(), "a newcomer has snatched a unit");
        while let Some(event) = events.try_next() {
            let EventKind::Offered { buyer, token, .. } = event.kind else { continue };
            let head = line.pop_front().unwrap();
            assert_eq!(buyer, Buyer::from(head), "the next in the line");
            if pays(head) {
                sale.accept(&token).unwrap();
                pay(&sale, &token);
            }
        }
    }
    let audit = sale.audit();
    assert_eq!((audit.sold, audit.held, audit.free), (1_000, 0, 0), "{audit}");
    assert!(!line.is_empty());
}

/// Another process opens the journal as it is now.
fn reopened(world: &World, dir: &Path) -> ((World, tempfile::TempDir), Sale) {
    let (copy, dir) = copy(dir);
    let other = World::open_at(&dir, world.engine.now());
    let sale = other.engine.sale("books").unwrap();
    ((other, copy), sale)
}

type Step<'a> = (&'a str, &'a dyn Fn(&BTreeMap<u64, Token>));

/// The process dies after every step that is durable; the next one finds the same line and the same offers.
#[test]
fn line_and_offers_survive_a_crash_at_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let sale = world.sale(books(2).waitlist(waitlist(100)));
    let (first, second) = (hold(&sale, 1), hold(&sale, 2));
    let mut offers: BTreeMap<u64, Token> = BTreeMap::new();
    let steps: [Step<'_>; 10] = [
        ("three join", &|_| join_all(&sale, 11..14)),
        ("one leaves", &|_| assert_eq!(sale.leave(12), Ok(Left::Place))),
        ("two units come back", &|_| {
            sale.cancel(&first).unwrap();
            sale.cancel(&second).unwrap();
        }),
        ("one joins, before they are offered", &|_| join_all(&sale, [14])),
        ("they are offered", &|_| assert_eq!(tick(&world).offered, 2)),
        ("one is accepted", &|offers| assert!(sale.accept(&offers[&11]).is_ok())),
        ("one is given back", &|_| assert_eq!(sale.leave(13), Ok(Left::Offer))),
        ("it is offered to the next", &|_| assert_eq!(tick(&world).offered, 1)),
        ("and lapses", &|_| assert_eq!(world.pass(seconds(22)).expired, 1)),
        ("one is paid", &|offers| assert!(matches!(pay(&sale, &offers[&11]), Confirmation::Confirmed(_)))),
    ];
    for (what, step) in steps {
        step(&offers);
        world.engine.sync().unwrap();
        let (_crashed, restored) = reopened(&world, dir.path());
        for buyer in 1..16 {
            let known = sale.waiting(buyer);
            assert_eq!(known, restored.waiting(buyer), "buyer {buyer}, after: {what}");
            if let Waiting::Offered { token, .. } = known {
                offers.insert(buyer, token);
            }
        }
        assert_eq!(sale.audit(), restored.audit(), "after: {what}");
        if sale.queue_length() > 0 {
            assert!(restored.reserve(99, 1).is_err(), "after: {what}");
            assert!(restored.join(100).unwrap().ticket > 4, "a ticket came again after: {what}");
        }
    }
    assert!(sale.reserve(99, 1).is_ok(), "nobody waits any more");
}

/// The power goes at any call of the disk, and what was not synced is torn.
#[test]
fn whenever_the_power_goes_a_buyer_is_in_the_line_or_has_the_offer() {
    for seed in 0..4 {
        for call in 1.. {
            if torn_at(seed, call) {
                assert!(call > 4, "the story goes to the disk");
                break;
            }
        }
    }
}

fn torn_at(seed: u64, call: u64) -> bool {
    let disk = SimDisk::new(seed);
    let clock = Arc::new(ManualClock::starting_at(START));
    let open = |disk: &SimDisk| {
        let options = Engine::options().clock(clock.clone()).stripes(1);
        options.open_on(Arc::new(disk.clone()), JournalOptions::at(START)).unwrap()
    };
    let world = World { engine: open(&disk), clock: clock.clone() };
    let sale = world.sale(books(2).waitlist(waitlist(100)));
    let held = [hold(&sale, 1), hold(&sale, 2)];
    join_all(&sale, 11..16);
    world.engine.sync().unwrap();

    disk.fault_at(disk.calls() + call, Fault::Crash);
    for token in &held {
        sale.cancel(token).unwrap();
    }
    tick(&world);
    let journal = world.engine.inner.journal.as_ref().unwrap();
    let lapses = journal.failure().is_none();
    if lapses {
        world.pass(seconds(22));
    }
    let whole = journal.failure().is_none();

    let torn = disk.after_crash(seed);
    let engine = open(&torn);
    let sale = engine.sale("books").unwrap();
    let mut line = Vec::new();
    for buyer in 11..16 {
        let holds = sale.inner.allocator.within_cap(Buyer::from(buyer)).is_err();
        match sale.waiting(buyer) {
            Waiting::Queued(_) => {
                assert!(!holds, "call {call}: buyer {buyer} waits for what is offered already");
                line.push(buyer);
            }
            _ => assert!(holds || lapses, "call {call}: buyer {buyer} has neither place nor offer"),
        }
    }
    assert_eq!(line, (16 - line.len() as u64..16).collect::<Vec<_>>(), "call {call}: served out of turn");
    assert!(line.len() >= if lapses { 1 } else { 3 });
    assert!(sale.audit().holds());
    whole
}

/// What is offered, and what a place rests on, was given back by holds whose ends may not be in the journal yet.
#[test]
fn an_offer_or_a_place_never_outlives_the_end_that_it_rests_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let sale = world.sale(books(1).waitlist(waitlist(100)));
    let (inner, now) = (&world.engine.inner, world.engine.now());
    let first = hold(&sale, 1);
    join_all(&sale, [11, 12]);
    world.engine.sync().unwrap();
    sale.cancel(&first).unwrap();
    assert_eq!(inner.serve(&sale.inner, now), 1);
    inner.commit();
    // A journal with two units held, of one, is refused.
    let (crashed, restored) = reopened(&world, dir.path());
    offered(&restored, 11);
    assert_eq!(queued(&restored, 12), Some(0));
    drop((crashed, restored));

    let (offer, _) = offered(&sale, 11);
    sale.cancel(&offer).unwrap();
    sale.join(11).unwrap();
    inner.commit();
    let (_crashed, restored) = reopened(&world, dir.path());
    assert_eq!(queued(&restored, 11), Some(1));
    assert!(restored.inner.allocator.within_cap(Buyer::from(11)).is_ok(), "a place whose buyer is at the cap");
}

#[test]
fn what_a_basket_gives_back_goes_to_the_head_and_no_basket_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let sale = world.sale(books(1).waitlist(waitlist(100)));
    let other = world.sale(SaleSpec::new("pens", 5));
    let baskets = world.engine.baskets(BasketRules::new()).unwrap();
    let both = [(&sale, 1), (&other, 1)];
    let basket = baskets.reserve(1, &both).unwrap();
    join_all(&sale, [11, 12]);
    world.engine.sync().unwrap();
    basket.cancel().unwrap();
    let Err(BasketRejection::Sale { why, .. }) = baskets.reserve(2, &both) else { panic!("it is for the line") };
    assert!(matches!(why, Rejection::AllHeld { .. }));
    assert_eq!((sale.audit().free, other.audit().free), (1, 5));
    assert_eq!(world.engine.inner.serve(&sale.inner, world.engine.now()), 1);
    world.engine.inner.commit();
    let (_crashed, restored) = reopened(&world, dir.path());
    offered(&restored, 11);
    assert_eq!((restored.audit().held, queued(&restored, 12)), (1, Some(0)));
}

#[test]
fn what_is_offered_has_its_face_and_keeps_it_across_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let seats = books(3).units(crate::Units::Numbered { first: 101 });
    let sale = world.sale(seats.waitlist(waitlist(100)));
    let held: Vec<Token> = (1..4).map(|buyer| hold(&sale, buyer)).collect();
    join_all(&sale, [11]);
    world.engine.sync().unwrap();
    let seat = sale.units(&held[1]).unwrap();
    sale.cancel(&held[1]).unwrap();
    assert_eq!(world.engine.inner.serve(&sale.inner, world.engine.now()), 1);
    world.engine.inner.commit();
    let (_crashed, restored) = reopened(&world, dir.path());
    for sale in [&sale, &restored] {
        let (offer, _) = offered(sale, 11);
        assert_eq!(sale.units(&offer).unwrap(), seat);
    }
}

/// Holds are journaled a tick late, places at once: after a crash the line may be there and the holds not.
#[test]
fn who_waited_for_holds_that_a_crash_has_lost_is_served_first() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let sale = world.sale(books(2).waitlist(waitlist(100)));
    let _lost = (hold(&sale, 1), hold(&sale, 2));
    join_all(&sale, 11..14);
    world.engine.inner.commit();
    let ((other, _copy), restored) = reopened(&world, dir.path());
    assert_eq!(restored.audit().free, 2);
    assert!(restored.reserve(2, 1).is_err(), "units are free, and they are for the line");
    assert_eq!(tick(&other).offered, 2);
    let (offer, _) = offered(&restored, 11);
    offered(&restored, 12);
    assert_eq!(queued(&restored, 13), Some(0));
    assert!(matches!(pay(&restored, &offer), Confirmation::Confirmed(_)));
}
