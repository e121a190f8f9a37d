//! Units with a face: fixed with the hold, kept with the order, back as themselves, across crashes.

use super::*;
use crate::{
    Amounts, BasketRules, ChangeError, Ended, Face, FaceError, SpecError, Unit, Units, UnitsError, WaitOrder, Waiting,
    Waitlist,
    engine::faces::Faces,
    journal::{Change, ConfirmedRecord, DetailRecord, HeldRecord, Record},
};

/// Another process opens the folder as a killed one left it.
fn crash(dir: &Path) -> (tempfile::TempDir, World) {
    let (parent, dir) = copy(dir);
    let world = World::open(&dir);
    (parent, world)
}

fn seats(stock: u32) -> SaleSpec {
    books(stock).cap(4).largest(4).units(Units::Numbered { first: 101 })
}

fn gifts(stock: u32, budget: u64) -> SaleSpec {
    SaleSpec::new("gifts", stock).hold_for(seconds(60)).grace(seconds(2)).units(Units::Amounts(Amounts {
        budget,
        floor: 1,
        ceiling: 20_000,
        seed: 7,
    }))
}

fn numbers(units: &[Unit]) -> Vec<u32> {
    let number = |unit: &Unit| match unit.face {
        Face::Number(number) => number,
        _ => panic!("{unit:?}"),
    };
    units.iter().map(number).collect()
}

fn labels(units: &[Unit]) -> Vec<&str> {
    let label = |unit| match unit {
        &Unit { face: Face::Label(ref label), .. } => &**label,
        other => panic!("{other:?}"),
    };
    units.iter().map(label).collect()
}

#[test]
fn units_are_fixed_with_the_hold_and_kept_with_the_order() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(seats(10));
    let first = sale.reserve(1, 3).unwrap();
    let second = sale.reserve(2, 2).unwrap();
    assert_eq!(numbers(&first.units()), [101, 102, 103], "next to each other");
    assert_eq!(numbers(&second.units()), [104, 105]);
    let tokens = [first.token(), second.token()];
    pay(&sale, &tokens[1]);
    assert_eq!(sale.units(&tokens[1]).unwrap(), second.units());
    world.engine.sync().unwrap();

    let (_copied, world) = crash(&dir);
    let sale = world.engine.sale("books").unwrap();
    assert_eq!(numbers(&sale.units(&tokens[0]).unwrap()), [101, 102, 103]);
    assert_eq!(numbers(&sale.units(&tokens[1]).unwrap()), [104, 105]);
    pay(&sale, &tokens[0]);
    assert_eq!(numbers(&sale.units(&tokens[0]).unwrap()), [101, 102, 103]);
    let third = sale.reserve(3, 4).unwrap();
    assert!(numbers(&third.units()).iter().all(|number| (106..=110).contains(number)));
}

#[test]
fn a_unit_comes_back_as_itself() {
    let world = World::in_memory();
    let sale = world.sale(seats(2));
    let (first, second) = (sale.reserve(1, 1).unwrap(), sale.reserve(2, 1).unwrap());
    assert_eq!((numbers(&first.units()), numbers(&second.units())), (vec![101], vec![102]));
    let token = first.token();
    first.cancel().unwrap();
    assert_eq!(sale.units(&token).unwrap_err(), UnitsError::Ended(Ended::Cancelled));
    assert_eq!(first.units(), []);
    assert_eq!(numbers(&sale.reserve(3, 1).unwrap().units()), [101]);
    world.pass(seconds(62));
    let both = sale.reserve(4, 2).unwrap();
    let mut numbers = numbers(&both.units());
    numbers.sort_unstable();
    assert_eq!(numbers, [101, 102]);
}

#[test]
fn alike_units_have_no_face() {
    let world = World::in_memory();
    let sale = world.sale(books(2));
    let token = hold(&sale, 1);
    assert_eq!(sale.units(&token).unwrap(), []);
    assert_eq!(sale.face_value(), None);
    sale.cancel(&token).unwrap();
    assert_eq!(sale.units(&token).unwrap_err(), UnitsError::Ended(Ended::Cancelled));
    assert_eq!(sale.add_listed(["A-1"]).unwrap_err(), ChangeError::NoLabels);
}

#[test]
fn a_payment_that_came_late_gets_whatever_unit_is_free() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(seats(2));
    let late = hold(&sale, 1);
    world.pass(seconds(62));
    let _other = hold(&sale, 2);
    let third = hold(&sale, 3);
    world.pass(seconds(30));
    sale.cancel(&third).unwrap();
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("one is free") };
    let units = sale.units(&receipt.order).unwrap();
    assert_eq!(sale.units(&late).unwrap(), units, "the token that the buyer has tells the same");
    let (_copied, world) = crash(&dir);
    let sale = world.engine.sale("books").unwrap();
    assert_eq!((sale.units(&receipt.order).unwrap(), sale.units(&late).unwrap()), (units.clone(), units));
}

#[test]
fn listed_units_have_their_labels_and_new_ones_need_theirs() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let list = |labels: &[&str]| Units::Listed(labels.iter().map(|label| Box::from(*label)).collect());
    let spec = |labels: &[&str]| books(2).cap(9).units(list(labels));
    let refused = world.engine.create(spec(&["A-1", "A-1"])).unwrap_err();
    let twice = FaceError::LabelTwice { label: "A-1".into() };
    assert_eq!(refused, CreateError::Spec(SpecError::Units(twice.clone())));
    let sale = world.sale(spec(&["A-1", "A-2"]));
    let first = sale.reserve(1, 1).unwrap();
    assert_eq!(labels(&first.units()), ["A-1"]);
    assert_eq!(sale.add_stock(1).unwrap_err(), ChangeError::NeedsLabels);
    assert_eq!(sale.add_listed(["B-1", "A-1"]).unwrap_err(), ChangeError::Units(twice));
    sale.add_listed(["B-1", "B-2"]).unwrap();
    sale.add_listed(["C-1"]).unwrap();
    let token = first.token();
    pay(&sale, &token);

    let (_copied, world) = crash(&dir);
    let sale = world.engine.sale("books").unwrap();
    assert_eq!(labels(&sale.units(&token).unwrap()), ["A-1"]);
    assert_eq!(
        sale.add_listed(["B-2"]).unwrap_err(),
        ChangeError::Units(FaceError::LabelTwice { label: "B-2".into() })
    );
    let mut rest: Vec<Unit> = (2..6).flat_map(|buyer| sale.reserve(buyer, 1).unwrap().units()).collect();
    rest.sort_unstable_by_key(|unit| unit.number);
    assert_eq!(labels(&rest), ["A-2", "B-1", "B-2", "C-1"]);
    assert!(matches!(sale.reserve(6, 1), Err(Rejection::AllHeld { on_hold: 4, .. })));
}

#[test]
fn numbers_go_on_and_withdrawn_ones_stay_out() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(seats(4));
    let kept = sale.reserve(1, 2).unwrap();
    assert_eq!(sale.withdraw(1).unwrap(), 1);
    sale.add_stock(3).unwrap();
    let token = kept.token();
    pay(&sale, &token);

    let (_copied, world) = crash(&dir);
    let sale = world.engine.sale("books").unwrap();
    assert_eq!(numbers(&sale.units(&token).unwrap()), [101, 102]);
    let mut rest: Vec<u32> = (2..6).flat_map(|buyer| numbers(&sale.reserve(buyer, 1).unwrap().units())).collect();
    rest.sort_unstable();
    assert_eq!(rest, [104, 105, 106, 107], "103 was withdrawn");
    assert!(sale.audit().holds());
}

#[test]
fn amounts_add_up_at_every_step_and_after_a_crash_in_the_middle() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(gifts(300, 60_000));
    let value = |sale: &Sale| {
        let value = sale.face_value().unwrap();
        assert!(value.holds(), "{value:?}");
        value
    };
    assert_eq!(value(&sale).free, 60_000);
    assert_eq!(sale.add_stock(1).unwrap_err(), ChangeError::FixedBudget);
    assert_eq!(sale.withdraw(1).unwrap_err(), ChangeError::FixedBudget);
    let mut sold = 0;
    for buyer in 0..200_u64 {
        let hold = sale.reserve(buyer, 1).unwrap();
        let [Unit { face: Face::Amount(amount), .. }] = hold.units()[..] else { panic!("one amount") };
        match buyer % 4 {
            0 => drop(hold.cancel().unwrap()),
            1 => {}
            _ => {
                pay(&sale, &hold.token());
                sold += u64::from(amount);
            }
        }
        assert_eq!(value(&sale).sold, sold);
    }
    world.engine.sync().unwrap();
    let before = value(&sale);

    let (_copied, world) = crash(&dir);
    let sale = world.engine.sale("gifts").unwrap();
    assert_eq!(value(&sale), before, "each amount is where it was");
    world.pass(seconds(62));
    assert_eq!((value(&sale).held, value(&sale).sold), (0, sold));
    for buyer in 1_000..1_200 {
        pay(&sale, &hold(&sale, buyer));
    }
    assert_eq!((value(&sale).sold, sale.reserve(2_000, 1).unwrap_err()), (60_000, Rejection::SoldOut));
}

#[test]
fn a_million_and_a_half_amounts_are_put_on_sale_and_counted() {
    let world = World::in_memory();
    let sale = world.sale(gifts(1_500_000, 300_000_000));
    let _held = hold(&sale, 1);
    let value = sale.face_value().unwrap();
    assert!(value.holds() && value.held > 0, "{value:?}");
}

/// Two threads buy a sale out, while a third of what they take comes back.
#[test]
fn of_two_threads_no_two_get_the_same_unit_and_every_unit_is_sold() {
    let (_parent, dir) = folder();
    let engine = Engine::open(&dir).unwrap();
    let sale = engine.create(seats(600).hold_for(seconds(600))).unwrap();
    let driver = engine.drive_every(millis(1));
    let sold: Vec<Vec<u32>> = thread::scope(|scope| {
        let buyers = [0_u64, 1].map(|thread| {
            let sale = &sale;
            scope.spawn(move || {
                let mut sold = Vec::new();
                for buyer in (thread..).step_by(2) {
                    let quantity = 1 + u32::try_from(buyer / 2 % 4).unwrap();
                    let hold = match sale.reserve(buyer, quantity) {
                        Ok(hold) => hold,
                        Err(Rejection::SoldOut) => return sold,
                        Err(_) => continue,
                    };
                    let units = hold.units();
                    assert_eq!(units.len(), quantity as usize);
                    if buyer / 2 % 3 == 0 && buyer < 1_000 {
                        hold.cancel().unwrap();
                        continue;
                    }
                    let token = hold.token();
                    pay(sale, &token);
                    assert_eq!(sale.units(&token).unwrap(), units);
                    sold.extend(numbers(&units));
                }
                sold
            })
        });
        buyers.map(|buyer| buyer.join().unwrap()).into()
    });
    drop(driver);
    let mut all = sold.concat();
    all.sort_unstable();
    assert_eq!(all, (101..=700).collect::<Vec<_>>());
    drop((sale, engine));
    let sale = World::open(&dir).engine.sale("books").unwrap();
    assert_eq!(sale.audit().sold, 600);
}

#[test]
fn what_comes_back_for_the_waitlist_is_offered_as_itself() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let waitlist = Waitlist { room: 9, accept_within: seconds(20), order: WaitOrder::FirstCome };
    let sale = world.sale(seats(3).waitlist(waitlist));
    let [first, _second, _third] = [1, 2, 3].map(|buyer| hold(&sale, buyer));
    sale.join(4).unwrap();
    sale.cancel(&first).unwrap();
    world.engine.tick(world.engine.now());
    let Waiting::Offered { token, .. } = sale.waiting(4) else { panic!("it came back for the head") };
    assert_eq!(numbers(&sale.units(&token).unwrap()), [101]);
    sale.accept(&token).unwrap();
    world.engine.sync().unwrap();

    let (_copied, world) = crash(&dir);
    let sale = world.engine.sale("books").unwrap();
    assert_eq!(numbers(&sale.units(&token).unwrap()), [101]);
    pay(&sale, &token);
    assert_eq!(numbers(&sale.units(&token).unwrap()), [101]);
}

/// A hall and its balcony are created together, with more labels than one record has.
#[test]
fn many_listed_sales_are_created_with_one_commit() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let list = |name: &str, count: u32| {
        let labels: Vec<Box<str>> = (0..count).map(|seat| format!("{name}-{seat}").into()).collect();
        SaleSpec::new(name, count).units(Units::Listed(labels.into()))
    };
    world.engine.create_many(vec![list("hall", 70_000), books(5), list("balcony", 3)]).unwrap();

    let (_copied, world) = crash(&dir);
    for (name, count) in [("hall", 70_000), ("balcony", 3)] {
        let sale = world.engine.sale(name).unwrap();
        let Some(Faces::Listed(lists)) = sale.inner.faces.as_deref() else { panic!("listed") };
        let labels: Vec<Box<str>> = lists.load().iter().flat_map(|list| list.iter().cloned()).collect();
        assert_eq!((labels.len(), &*labels[labels.len() - 1]), (count, format!("{name}-{}", count - 1).as_str()));
    }
}

#[test]
fn a_basket_has_its_units_and_keeps_them_across_a_crash() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (hall, gifts) = (world.sale(seats(6)), world.sale(gifts(5, 1_000)));
    let baskets = world.engine.baskets(BasketRules::new().hold_for(seconds(60)).grace(seconds(2))).unwrap();
    let units = |lines: Vec<BasketLine>| lines.into_iter().flat_map(|line| line.units).collect::<Vec<_>>();
    let [first, second] = [1, 2].map(|buyer| baskets.reserve(buyer, &[(&hall, 2), (&gifts, 1)]).unwrap());
    let [before, other] = [units(first.lines()), units(second.lines())];
    assert_eq!((numbers(&before[..2]), numbers(&other[..2])), (vec![101, 102], vec![103, 104]));
    let tokens = [first.token(), second.token()];
    assert!(matches!(first.confirm(1).unwrap().wait(), Ok(Confirmation::Confirmed(_))));
    world.engine.sync().unwrap();

    let (_copied, world) = crash(&dir);
    let baskets = world.engine.baskets(BasketRules::new()).unwrap();
    assert_eq!(units(baskets.lines(&tokens[0]).unwrap()), before);
    assert_eq!(units(baskets.lines(&tokens[1]).unwrap()), other);
    let gifts = world.engine.sale("gifts").unwrap();
    assert!(gifts.face_value().unwrap().holds());
    baskets.cancel(&tokens[1]).unwrap();
    let hall = world.engine.sale("books").unwrap();
    let mut rest = numbers(&hall.reserve(3, 4).unwrap().units());
    rest.sort_unstable();
    assert_eq!(rest, [103, 104, 105, 106]);
}

/// What recovery says of a journal to which these records were added.
fn contradiction(spec: SaleSpec, records: impl Fn(&Sale) -> Vec<Record>) -> Option<String> {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(spec);
    pay(&sale, &hold(&sale, 1));
    let records = records(&sale);
    world.engine.inner.write(|batch| records.iter().for_each(|record| batch.push(record))).unwrap();
    drop((sale, world));
    match Engine::open(&dir) {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn detail(slot: u32, units: Vec<u32>) -> Record {
    Record::Detail(DetailRecord { sale: 0, slot, generation: 0, key: None, units })
}

fn held(slot: u32) -> Record {
    let (key_epoch, deadline) = (0, START.plus(seconds(60)));
    Record::Held(HeldRecord { sale: 0, slot, generation: 0, key_epoch, buyer: Buyer::from(9), quantity: 1, deadline })
}

fn confirmed(slot: u32) -> Record {
    let (buyer, payment) = (Buyer::from(9), PaymentId::from(1));
    Record::Confirmed(ConfirmedRecord {
        sale: 0,
        sequence: 2,
        slot,
        generation: 0,
        key_epoch: 0,
        buyer,
        quantity: 1,
        at: START,
        payment,
        replaces: None,
    })
}

fn withdrawn(units: u32) -> Record {
    Record::SaleChanged { sale: 0, at: START, change: Change::Withdrawn { units } }
}

#[test]
fn units_that_contradict_themselves_are_refused() {
    assert_eq!(contradiction(seats(9), |_| vec![detail(5, vec![3]), held(5)]), None);
    assert_eq!(contradiction(seats(9), |_| vec![detail(5, vec![3]), confirmed(5)]), None);
    let found = |spec, records: Vec<Record>| contradiction(spec, |_| records.clone()).expect("a contradiction");
    let (twice, untold) = ("unit 0 is in two holds", "are told");
    assert!(found(seats(9), vec![detail(5, vec![0]), held(5)]).contains(twice));
    assert!(found(seats(9), vec![detail(5, vec![0]), confirmed(5)]).contains(twice));
    assert!(found(seats(9), vec![held(5)]).contains(untold));
    assert!(found(seats(9), vec![confirmed(5)]).contains(untold));
    assert!(found(seats(9), vec![detail(5, vec![9]), held(5)]).contains("unit 9 of 9"));
    assert!(found(seats(9), vec![withdrawn(1)]).contains("which units"));
    let unit_0 = Record::UnitsWithdrawn { sale: 0, units: vec![0] };
    assert!(found(seats(9), vec![unit_0, withdrawn(1)]).contains(twice));
    assert!(found(books(9), vec![detail(5, vec![3]), held(5)]).contains("alike"));
}

#[test]
fn labels_and_withdrawals_that_were_not_finished_are_nothing() {
    let spec = books(1).units(Units::Listed(Arc::from([Box::from("A-1")])));
    let labels = |sale| Record::UnitsListed { sale, labels: vec!["B-1".into()] };
    let unit_0 = Record::UnitsWithdrawn { sale: 0, units: vec![0] };
    assert_eq!(contradiction(spec, |_| vec![labels(0), labels(1), unit_0.clone()]), None);
}
