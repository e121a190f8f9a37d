//! Who may buy, from when, and who may still register; in memory and across crashes.

use std::collections::HashSet;

use super::*;
use crate::{
    Audience, ChangeError, CreateError, EnrollError, Enrolled, Invitation, JoinError, ShipError, SpecError, WaitOrder,
    Waiting, Waitlist,
};

/// Two sales: who may buy in the second one depends on the first.
fn stages(world: &World, audience: Audience) -> (Sale, Sale) {
    let exchange = world.sale(SaleSpec::new("exchange", 100));
    (exchange, world.sale(books(100).audience(audience)))
}

fn buy(sale: &Sale, buyer: u64) {
    assert!(matches!(pay(sale, &hold(sale, buyer)), Confirmation::Confirmed(_)));
}

/// The first of `buyers` who gets a hold without being one of `insiders`, and the first one of them who gets none.
fn faults(sale: &Sale, buyers: impl Iterator<Item = u64>, insiders: &HashSet<u64>) -> [Option<u64>; 2] {
    let mut faults = [None; 2];
    for buyer in buyers {
        let got = sale.reserve(buyer, 1);
        if let Err(rejection) = &got {
            assert!(matches!(rejection, Rejection::NotEligible | Rejection::NotEligibleYet { .. }), "{rejection}");
        }
        match (got.is_ok(), insiders.contains(&buyer)) {
            (true, false) => faults[0] = faults[0].or(Some(buyer)),
            (false, true) => faults[1] = faults[1].or(Some(buyer)),
            _ => {}
        }
    }
    faults
}

/// Fills each kind of audience with every third buyer, and lets all of them try, before and after a crash.
fn an_audience_of_every_third(spec: impl Fn(SaleSpec) -> SaleSpec) -> Vec<[Option<u64>; 2]> {
    let audiences = [
        Audience::Registered,
        Audience::RegisteredFor("exchange".to_owned()),
        Audience::BuyersOf("exchange".to_owned()),
    ];
    let insiders: HashSet<u64> = (0..60).filter(|buyer| buyer % 3 == 0).collect();
    let mut found = Vec::new();
    for audience in audiences {
        let (_parent, dir) = folder();
        let world = World::open(&dir);
        let exchange = world.sale(SaleSpec::new("exchange", 100));
        let sale = world.sale(spec(books(100).audience(audience.clone())));
        for &buyer in &insiders {
            match audience {
                Audience::Registered => assert_eq!(sale.enroll(buyer), Ok(Enrolled::New)),
                Audience::RegisteredFor(_) => exchange.register(&[Buyer::from(buyer)]).unwrap(),
                _ => buy(&exchange, buyer),
            }
        }
        // Who only holds a unit of the other sale has bought nothing.
        let _unpaid = (hold(&exchange, 1), exchange.cancel(&hold(&exchange, 2)).unwrap());
        found.push(faults(&sale, 0..30, &insiders));
        world.engine.tick(world.engine.now());
        let (_copied, dir) = copy(&dir);
        let world = World::open(&dir);
        found.push(faults(&world.engine.sale("books").unwrap(), 30..60, &insiders));
    }
    found
}

#[test]
fn nobody_outside_the_audience_gets_a_hold_and_everybody_inside_does() {
    let found = an_audience_of_every_third(|spec| spec);
    assert_eq!(found, [[None; 2]; 6]);
}

#[test]
fn control_a_sale_that_lets_everyone_in_is_found_out() {
    let found = an_audience_of_every_third(|spec| spec.everyone_from(START));
    assert_eq!(found, [[Some(1), None], [Some(31), None]].repeat(3));
}

#[test]
fn those_who_were_let_in_come_first_and_everyone_from_an_instant_on() {
    let world = World::in_memory();
    let from = START.plus(seconds(60));
    let spec = SaleSpec::new("mx3", 10).audience(Audience::Registered).opens_at(START.plus(seconds(30)));
    let sale = world.sale(spec.everyone_from(from));
    sale.enroll(1).unwrap();
    assert!(matches!(sale.reserve(1, 1), Err(Rejection::NotOpen { .. })));
    world.pass(seconds(30));
    assert!(sale.reserve(1, 1).is_ok());
    assert_eq!(sale.reserve(2, 1).unwrap_err(), Rejection::NotEligibleYet { from });
    world.pass(millis(29_999));
    assert_eq!(sale.reserve(2, 1).unwrap_err(), Rejection::NotEligibleYet { from });
    let mut answers = Vec::new();
    sale.reserve_many(&[Buyer::from(3), Buyer::from(4)], &mut answers);
    assert!(answers.iter().all(|answer| matches!(answer, Err(Rejection::NotEligibleYet { .. }))));
    world.pass(millis(1));
    assert!(sale.reserve(2, 1).is_ok());
    sale.reserve_many(&[Buyer::from(3), Buyer::from(4)], &mut answers);
    assert!(answers[2..].iter().all(Result::is_ok));
}

#[test]
fn an_audience_names_an_earlier_sale() {
    let world = World::in_memory();
    for audience in [Audience::BuyersOf("coupon".to_owned()), Audience::RegisteredFor("coupon".to_owned())] {
        for name in ["mx3", "coupon"] {
            let spec = SaleSpec::new(name, 10).audience(audience.clone());
            let missing = CreateError::NoSuchSale { name: "coupon".to_owned() };
            assert_eq!(world.engine.create(spec).unwrap_err(), missing);
        }
    }
    assert!(world.engine.sales().is_empty());
    world.sale(SaleSpec::new("coupon", 10));
    world.sale(SaleSpec::new("mx3", 10).audience(Audience::BuyersOf("coupon".to_owned())));
}

#[test]
fn registration_has_a_window_of_its_own() {
    let world = World::in_memory();
    let (from, until) = (START.plus(seconds(10)), START.plus(seconds(20)));
    let spec = SaleSpec::new("mx3", 10).registers_from(from).registers_until(until);
    assert_eq!(spec.clone().registers_until(from).check(), Err(SpecError::Registration { from, until: from }));
    let sale = world.sale(spec);
    world.pass(millis(9_999));
    assert_eq!(sale.enroll(1), Err(EnrollError::Later { from }));
    assert_eq!(sale.register(&[Buyer::from(1)]), Err(ChangeError::RegistersLater { from }));
    world.pass(millis(1));
    assert_eq!(sale.enroll(1), Ok(Enrolled::New));
    world.pass(millis(9_999));
    sale.register(&[Buyer::from(1), Buyer::from(2), Buyer::from(2)]).unwrap();
    assert_eq!(sale.inner.registered.len(), 2);
    world.pass(millis(1));
    assert_eq!(sale.enroll(3), Err(EnrollError::Over { until }));
    assert_eq!(sale.register(&[Buyer::from(1), Buyer::from(3)]), Err(ChangeError::RegistrationOver { until }));
    // Whose answer was lost is told what holds.
    assert_eq!(sale.enroll(2), Ok(Enrolled::Already));
    assert_eq!(sale.register(&[Buyer::from(1), Buyer::from(2)]), Ok(()));
}

#[test]
fn an_enrolment_is_durable_with_the_next_tick_and_before_the_order_that_rests_on_it() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(9).audience(Audience::Registered));
    assert_eq!(sale.enroll(1), Ok(Enrolled::New));
    let (_lost, before) = copy(&dir);
    world.engine.tick(world.engine.now());
    assert_eq!(sale.enroll(2), Ok(Enrolled::New));
    let (_kept, after) = copy(&dir);
    buy(&sale, 2);
    let (_paid, paid) = copy(&dir);
    let registered = |dir: &Path| World::open(dir).engine.sale("books").unwrap().inner.registered.len();
    assert_eq!([before, after, paid].map(|dir| registered(&dir)), [0, 1, 2]);
}

#[test]
fn an_invitation_lets_its_buyer_into_its_sale_and_nobody_else_anywhere() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (other, sale) = stages(&world, Audience::Invited);
    let (mine, theirs) = (sale.invitation(1), sale.invitation(2));
    assert_eq!(sale.reserve(1, 1).unwrap_err(), Rejection::NotEligible);
    let mut forged = mine.to_string();
    let last = if forged.pop() == Some('0') { '4' } else { '0' };
    forged.push(last);
    for wrong in [theirs, other.invitation(1), forged.parse().unwrap()] {
        assert_eq!(sale.request(1).invitation(&wrong).reserve().unwrap_err(), Rejection::BadInvitation);
    }
    assert_eq!(sale.request(2).invitation(&mine).reserve().unwrap_err(), Rejection::BadInvitation);
    assert!(mine.to_string()[..25].parse::<Invitation>().is_err());
    assert!(sale.request(1).invitation(&mine).reserve().is_ok());
    // It is checked wherever it is brought, and is no way around another audience.
    assert_eq!(other.request(1).invitation(&mine).reserve().unwrap_err(), Rejection::BadInvitation);
    let registered = world.sale(SaleSpec::new("mx3", 10).audience(Audience::Registered));
    assert_eq!(
        registered.request(1).invitation(&registered.invitation(1)).reserve().unwrap_err(),
        Rejection::NotEligible
    );

    let (_copied, dir) = copy(&dir);
    let again = World::open(&dir).engine.sale("books").unwrap();
    assert_eq!(again.invitation(2), theirs);
    assert!(again.request(2).invitation(&theirs).reserve().is_ok());
    let stranger = World::in_memory();
    let (_, strange) = stages(&stranger, Audience::Invited);
    assert_ne!(strange.invitation(1), mine);
    assert_eq!(strange.request(1).invitation(&mine).reserve().unwrap_err(), Rejection::BadInvitation);
}

#[test]
fn who_was_invited_may_wait_and_nobody_else() {
    let world = World::in_memory();
    let waitlist = Waitlist { room: 9, accept_within: seconds(10), order: WaitOrder::FirstCome };
    let sale = world.sale(books(1).audience(Audience::Invited).waitlist(waitlist));
    let [mine, theirs] = [1, 2].map(|buyer| sale.invitation(buyer));
    let taken = sale.request(1).invitation(&mine).reserve().unwrap();
    assert_eq!(sale.join(2).unwrap_err(), JoinError::Rejected(Rejection::NotEligible));
    assert_eq!(sale.request(3).invitation(&theirs).join().unwrap_err(), JoinError::Rejected(Rejection::BadInvitation));
    assert_eq!(sale.request(2).invitation(&theirs).join().unwrap().ahead, 0);
    taken.cancel().unwrap();
    world.engine.tick(world.engine.now());
    assert!(matches!(sale.waiting(2), Waiting::Offered { .. }));
}

#[test]
fn what_may_be_had_without_an_invitation_later_may_not_be_had_with_a_bad_one() {
    let world = World::in_memory();
    let from = START.plus(seconds(1));
    let sale = world.sale(books(9).audience(Audience::Invited).everyone_from(from));
    let theirs = sale.invitation(2);
    assert_eq!(sale.reserve(1, 1).unwrap_err(), Rejection::NotEligibleYet { from });
    world.pass(seconds(1));
    assert_eq!(sale.request(1).invitation(&theirs).reserve().unwrap_err(), Rejection::BadInvitation);
    assert!(sale.reserve(1, 1).is_ok());
}

#[test]
fn an_order_is_shipped_once_also_across_a_crash() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(9));
    let ours = [1, 2, 3].map(|buyer| hold(&sale, buyer));
    assert!(ours.iter().all(|token| matches!(pay(&sale, token), Confirmation::Confirmed(_))));
    for sequence in [0, 4, u64::MAX] {
        assert_eq!(sale.ship(sequence), Err(ShipError::NoSuchOrder { sequence }));
    }
    let (_before, before) = copy(&dir);
    sale.ship(2).unwrap();
    let (_after, after) = copy(&dir);
    for (dir, answer) in [(before, Ok(())), (after, Err(ShipError::ShippedBefore { sequence: 2 }))] {
        let sale = World::open(&dir).engine.sale("books").unwrap();
        assert_eq!(sale.ship(2), answer);
        assert_eq!(sale.ship(2), Err(ShipError::ShippedBefore { sequence: 2 }));
        assert_eq!((sale.ship(1), sale.ship(3)), (Ok(()), Ok(())));
    }
    world.engine.close().unwrap();
    assert!(matches!(sale.ship(3), Err(ShipError::Journal(_))));
    assert!(matches!(sale.ship(3), Err(ShipError::Journal(_))), "what was not shipped was not shipped before");
}

#[test]
fn without_a_journal_every_order_is_shipped_once() {
    let world = World::in_memory();
    let sale = world.sale(books(9));
    let Confirmation::Confirmed(receipt) = pay(&sale, &hold(&sale, 1)) else { panic!("in time") };
    let sequence = receipt.sequence;
    assert_eq!([sale.ship(sequence), sale.ship(sequence)], [Ok(()), Err(ShipError::ShippedBefore { sequence })]);
    assert_eq!(sale.ship(sequence + 1), Err(ShipError::NoSuchOrder { sequence: sequence + 1 }));
}
