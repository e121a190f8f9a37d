//! Every answer of the vocabulary, and the exact instant at which one turns into the next.

use super::*;
use crate::{
    CancelError, ConfirmError, Ended, ExtendError, TokenError, core::allocator::Standing, engine::answers::CreateError,
};

#[test]
fn all_held_and_sold_out_are_told_apart() {
    let world = World::in_memory();
    let sale = world.sale(books(2));
    let (first, second) = (hold(&sale, 1), hold(&sale, 2));
    let due = START.plus(seconds(60));
    assert_eq!(sale.reserve(3, 1).unwrap_err(), Rejection::AllHeld { on_hold: 2, next_due: due });
    assert!(matches!(pay(&sale, &first), Confirmation::Confirmed(_)));
    assert_eq!(sale.reserve(3, 1).unwrap_err(), Rejection::AllHeld { on_hold: 1, next_due: due });
    assert!(matches!(pay(&sale, &second), Confirmation::Confirmed(_)));
    assert_eq!(sale.reserve(3, 1).unwrap_err(), Rejection::SoldOut);
}

#[test]
fn a_sale_opens_and_closes_at_the_exact_millisecond() {
    let world = World::in_memory();
    let (opens_at, closes_at) = (START.plus(seconds(10)), START.plus(seconds(20)));
    let sale = world.sale(books(9).opens_at(opens_at).closes_at(closes_at));
    world.clock.advance(millis(9_999));
    assert_eq!(sale.reserve(1, 1).unwrap_err(), Rejection::NotOpen { opens_at });
    assert_eq!(sale.state(), SaleState::Scheduled { opens_at });
    world.clock.advance(millis(1));
    let token = hold(&sale, 1);
    world.clock.advance(millis(9_999));
    let _last = hold(&sale, 2);
    world.clock.advance(millis(1));
    assert_eq!(sale.reserve(3, 1).unwrap_err(), Rejection::Closed);
    assert_eq!(sale.state(), SaleState::Closed);
    assert!(matches!(pay(&sale, &token), Confirmation::Confirmed(_)), "a hold of a closed sale may be paid");
}

/// Without a journal there is nothing to wait for until the first report has its number.
#[test]
fn a_payment_reported_while_its_first_report_is_decided_is_reported_again() {
    let sale = World::in_memory().sale(books(2));
    let token = hold(&sale, 1);
    let id = sale.open_token(&token).unwrap();
    let Standing::Held { snapshot, .. } = sale.inner.allocator.standing(id) else { panic!("it is held") };
    assert!(sale.inner.allocator.begin_confirm(id.slot, snapshot));
    assert_eq!(sale.confirm(&token, 1).unwrap_err(), ConfirmError::AttemptUnderWay);
    sale.inner.allocator.settle(id.slot, id.generation, 1, 0);
    assert!(matches!(pay(&sale, &token), Confirmation::AlreadyConfirmed(receipt) if receipt.sequence == 1));
}

#[test]
fn only_the_audience_may_buy_and_others_take_nothing() {
    let world = World::in_memory();
    let sale = world.sale(books(5).audience(crate::Audience::Registered));
    sale.register(&[Buyer::from(1), world.engine.buyer(b"li")]).unwrap();
    assert_eq!(sale.reserve(2, 1).unwrap_err(), Rejection::NotEligible);
    let _ok = (hold(&sale, 1), sale.reserve(world.engine.buyer(b"li"), 1).unwrap());
    assert_eq!(sale.audit().held, 2);
}

#[test]
fn the_cap_counts_what_is_held_and_bought_and_gives_shares_back() {
    let world = World::in_memory();
    let sale = world.sale(books(20).cap(4).largest(3));
    let first = sale.reserve(1, 3).unwrap().token();
    assert_eq!(sale.reserve(1, 2).unwrap_err(), Rejection::LimitReached { held: 3, bought: 0, limit: 4 });
    assert!(matches!(pay(&sale, &first), Confirmation::Confirmed(receipt) if receipt.quantity == 3));
    let second = sale.reserve(1, 1).unwrap().token();
    assert_eq!(sale.reserve(1, 1).unwrap_err(), Rejection::LimitReached { held: 1, bought: 3, limit: 4 });
    assert_eq!(sale.cancel(&second).unwrap().quantity, 1);
    let _again = sale.reserve(1, 1).unwrap();
    assert_eq!(sale.reserve(2, 4).unwrap_err(), Rejection::BadQuantity { asked: 4, largest: 3 });
    assert_eq!(sale.reserve(2, 0).unwrap_err(), Rejection::BadQuantity { asked: 0, largest: 3 });
}

#[test]
fn fewer_units_than_asked_for_are_offered() {
    let world = World::in_memory();
    let sale = world.sale(books(5).cap(4).largest(4));
    let _three = sale.reserve(1, 3).unwrap();
    assert_eq!(sale.reserve(2, 3).unwrap_err(), Rejection::TooFewFree { free: 2 });
    assert_eq!(sale.reserve(2, 2).unwrap().quantity(), 2);
}

#[test]
fn a_payment_is_in_time_until_the_grace_is_over() {
    for (after, in_time) in [(0, true), (60_000, true), (60_001, true), (61_999, true), (62_000, false)] {
        let world = World::in_memory();
        let sale = world.sale(books(1));
        let token = hold(&sale, 1);
        world.clock.advance(millis(after));
        match pay(&sale, &token) {
            Confirmation::Confirmed(_) => assert!(in_time, "{after} ms"),
            Confirmation::PaidLate(_) => assert!(!in_time, "{after} ms"),
            other => panic!("{after} ms: {other:?}"),
        }
    }
}

#[test]
fn expiry_acts_at_the_end_of_the_grace_and_not_a_millisecond_earlier() {
    let world = World::in_memory();
    let sale = world.sale(books(1));
    let token = hold(&sale, 1);
    assert_eq!(world.pass(millis(61_999)).expired, 0);
    assert!(matches!(sale.reserve(2, 1).unwrap_err(), Rejection::AllHeld { .. }));
    assert_eq!(world.pass(millis(1)).expired, 1);
    assert_eq!(sale.cancel(&token).unwrap_err(), CancelError::Ended(Ended::Expired));
    assert!(sale.reserve(2, 1).is_ok());
}

#[test]
fn a_late_payment_gets_a_unit_if_one_is_free_and_hears_the_same_twice() {
    let world = World::in_memory();
    let sale = world.sale(books(2));
    let (late, later) = (hold(&sale, 1), hold(&sale, 2));
    assert_eq!(world.pass(seconds(62)).expired, 2);
    let taken = hold(&sale, 3);
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("one unit was free") };
    assert_eq!((receipt.buyer, receipt.quantity), (Buyer::from(1), 1));
    assert_eq!(pay(&sale, &late), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!(pay(&sale, &later), Confirmation::PaidLateSoldOut);
    sale.cancel(&taken).unwrap();
    assert_eq!(pay(&sale, &later), Confirmation::PaidLateSoldOut, "the refund is on its way: no unit as well");
    let audit = sale.audit();
    assert_eq!((audit.sold, audit.held, audit.free, audit.holds()), (1, 0, 1, true));
}

#[test]
fn a_late_payment_respects_the_cap() {
    let world = World::in_memory();
    let sale = world.sale(books(5));
    let late = hold(&sale, 1);
    world.pass(seconds(62));
    let _again = hold(&sale, 1);
    assert_eq!(pay(&sale, &late), Confirmation::PaidLateOverCap);
}

#[test]
fn every_end_happens_once_and_the_loser_learns_which() {
    let world = World::in_memory();
    let sale = world.sale(books(3));
    let (sold, cancelled) = (hold(&sale, 1), hold(&sale, 2));
    let Confirmation::Confirmed(receipt) = pay(&sale, &sold) else { panic!("in time") };
    assert_eq!(pay(&sale, &sold), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!(sale.cancel(&sold).unwrap_err(), CancelError::Ended(Ended::Confirmed));
    sale.cancel(&cancelled).unwrap();
    assert_eq!(sale.cancel(&cancelled).unwrap_err(), CancelError::Ended(Ended::Cancelled));
    assert_eq!(pay(&sale, &cancelled), Confirmation::CancelledBefore);
    assert_eq!(sale.extend(&cancelled, seconds(1)).unwrap_err(), ExtendError::Ended(Ended::Cancelled));
}

#[test]
fn a_stale_token_cannot_touch_the_next_hold_of_its_slot() {
    let world = World::in_memory();
    let sale = world.sale(SaleSpec::new("one", 1).hold_for(seconds(60)));
    let mut old = Vec::new();
    for buyer in 0..100 {
        let token = hold(&sale, buyer);
        sale.cancel(&token).unwrap();
        old.push(token);
    }
    let living = hold(&sale, 100);
    for token in old {
        let Err(CancelError::Ended(_)) = sale.cancel(&token) else { panic!("a stale token ended another's hold") };
        assert!(matches!(pay(&sale, &token), Confirmation::CancelledBefore | Confirmation::HoldForgotten));
    }
    assert!(matches!(pay(&sale, &living), Confirmation::Confirmed(_)));
}

#[test]
fn an_extended_hold_lives_longer_and_no_hold_lives_for_ever() {
    let world = World::in_memory();
    let sale = world.sale(books(1));
    let token = hold(&sale, 1);
    world.clock.advance(seconds(60));
    assert_eq!(sale.extend(&token, seconds(30)), Ok(START.plus(seconds(90))));
    assert_eq!(world.pass(millis(31_999)).expired, 0);
    assert!(matches!(sale.extend(&token, seconds(1)), Err(ExtendError::Overdue { .. })));
    assert_eq!(world.pass(millis(1)).expired, 1);
    let token = hold(&sale, 1);
    assert!(matches!(sale.extend(&token, seconds(400 * 86_400)), Err(ExtendError::TooLong { .. })));
}

#[test]
fn tokens_of_other_sales_and_engines_are_told_apart_from_forged_ones() {
    let (world, elsewhere) = (World::in_memory(), World::in_memory());
    let (books, cards) = (world.sale(books(9)), world.sale(SaleSpec::new("cards", 9)));
    let token = hold(&cards, 1);
    let refusal = books.confirm(&token, 1).unwrap_err();
    assert!(
        matches!(&refusal, ConfirmError::Token(TokenError::OtherSale { sale }) if sale.as_str() == "cards"),
        "{refusal}"
    );
    let foreign = hold(&elsewhere.sale(SaleSpec::new("books", 9)), 1);
    assert!(matches!(books.cancel(&foreign), Err(CancelError::Token(TokenError::OtherEngine | TokenError::Forged))));
    let text = token.to_string();
    let flipped = if text.ends_with('0') { "4" } else { "0" };
    let forged: Token = format!("{}{flipped}", &text[..25]).parse().unwrap();
    assert!(matches!(cards.cancel(&forged), Err(CancelError::Token(TokenError::Forged))));
}

#[test]
fn a_batch_gets_the_answers_that_single_calls_would_get() {
    let world = World::in_memory();
    let sale = world.sale(books(100));
    let buyers: Vec<Buyer> = (0..150).chain([3, 3]).map(Buyer::from).collect();
    let mut answers = Vec::new();
    sale.reserve_many(&buyers, &mut answers);
    assert_eq!(answers.len(), 152);
    let held = answers.iter().filter_map(|answer| answer.as_ref().ok());
    assert_eq!(held.map(Hold::buyer).collect::<Vec<_>>(), buyers[..100]);
    assert!(answers[100..150].iter().all(|answer| matches!(answer, Err(Rejection::AllHeld { on_hold: 100, .. }))));
    let world = World::in_memory();
    let sale = world.sale(books(100));
    answers = Vec::new();
    sale.reserve_many(&[7, 7, 8].map(Buyer::from), &mut answers);
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(Rejection::LimitReached { held: 1, bought: 0, limit: 1 })), "{:?}", answers[1]);
}

#[test]
fn a_name_is_taken_once_and_a_missing_one_says_so() {
    let world = World::in_memory();
    let _sale = world.sale(books(1));
    assert!(matches!(world.engine.create(books(1)), Err(CreateError::NameTaken { .. })));
    assert!(matches!(world.engine.create(SaleSpec::new("a b", 1)), Err(CreateError::Spec(_))));
    assert!(matches!(world.engine.create(SaleSpec::new("a", 0)), Err(CreateError::Spec(_))));
    assert!(world.engine.sale("nowhere").is_err());
}

#[test]
fn the_same_calls_with_the_same_secret_give_the_same_tokens() {
    let run = || {
        let clock = Arc::new(ManualClock::starting_at(START));
        let engine = Engine::options().clock(clock).stripes(1).secret([5; 32]).in_memory();
        let sale = engine.create(books(50)).unwrap();
        (0..50).map(|buyer| hold(&sale, buyer)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn handles_can_cross_threads() {
    fn check<T: Send + Sync>() {}
    check::<(Engine, Sale, Hold<'_>, Pending, Events, Driver, Token, Options)>();
}
