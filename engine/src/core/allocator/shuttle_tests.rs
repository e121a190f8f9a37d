//! Samples of the whole allocator under a scheduler that may stop any thread at any atomic.
//!
//! What is checked in every sample:
//! - A hold has one end; nobody is over the cap; free, held and sold add up to the total.
//! - "Sold out" is told only if some instant of the call saw every unit sold, and a hold or a refusal to whoever
//!   may have one.
//! - Where units have faces, each is in one place, and the free ones are as many as the permits.
//! - Afterwards everything can be ended, and the whole stock can be taken again, with its slots and its shares.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use std::collections::{HashMap, HashSet};

use shuttle::{
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::{Arc, Mutex},
    thread,
};

use super::*;

const SAMPLES: usize = 10_000;
const THREADS: usize = 3;
const STEPS: usize = 6;
const BUYERS: u64 = 4;
const KEY: u16 = 3;
/// A cap that nobody reaches.
const MANY: u32 = 1_000;

pub(super) type Reserve = fn(&Allocator, Buyer, u32, u64, usize) -> Result<Made, Refusal>;

/// What the threads know together: never looked at by the allocator.
#[derive(Default)]
struct Notes {
    made: Vec<HoldId>,
    /// Units whose addition has ended, less those whose withdrawal has begun: the total is never less.
    offered: i64,
    /// Units whose withdrawal has begun, whether or not they were there.
    leaving: i64,
    /// Units whose addition has begun.
    room: u64,
    /// Units whose confirmation has begun.
    begun: i64,
    ends: HashMap<(u32, u32), u32>,
}

pub(super) fn reserve(
    allocator: &Allocator,
    buyer: Buyer,
    quantity: u32,
    now: u64,
    home: usize,
) -> Result<Made, Refusal> {
    allocator.reserve(buyer, quantity, now, home, KEY)
}

pub(super) fn sample(scheduler: impl Scheduler + 'static, scene: impl Fn() + Send + Sync + 'static) {
    let begun = std::time::Instant::now();
    let mut config = shuttle::Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    let samples = shuttle::Runner::new(scheduler, config).run(scene);
    let name = std::thread::current().name().unwrap_or("scene").to_owned();
    eprintln!("{name}: {samples} samples in {:?}", begun.elapsed());
}

/// One random step of a thread.
fn act(allocator: &Allocator, notes: &Mutex<Notes>, reserve: Reserve, home: usize, now: u64) {
    let mut random = thread_rng();
    let quantity = random.gen_range(1..=allocator.rules().largest);
    let buyer = Buyer::from(random.gen_range(0..BUYERS));
    let step = random.gen_range(0..12);
    let picked = {
        let notes = notes.lock().unwrap();
        (!notes.made.is_empty()).then(|| notes.made[random.gen_range(0..notes.made.len())])
    };
    match (step, picked) {
        (0..=3, _) => {
            let least = least(notes);
            answered(notes, least, reserve(allocator, buyer, quantity, now, home));
        }
        (4, _) => {
            let least = least(notes);
            let buyers = [buyer, Buyer::from(random.gen_range(0..BUYERS))];
            let mut answers = Vec::new();
            allocator.reserve_each(&buyers, now, home, KEY, |_, answer| answers.push(answer));
            assert_eq!(answers.len(), 2);
            for answer in answers {
                answered(notes, least, answer);
            }
        }
        (5..=6, Some(id)) => confirm(allocator, notes, id, home),
        (7..=8, Some(id)) => {
            let Standing::Held { snapshot, .. } = allocator.standing(id) else { return };
            if allocator.end(id.slot, snapshot, End::Cancelled, home).is_ok() {
                ended(notes, id);
            }
        }
        (9, _) => {
            allocator.expire(now, home, |_| (), |id, _, ()| ended(notes, id));
        }
        (10, Some(id)) => {
            if let Standing::Held { due, snapshot, .. } = allocator.standing(id) {
                allocator.extend(id.slot, snapshot, due + 5);
            }
        }
        (11, _) if random.gen_bool(0.5) => {
            let room = {
                let mut notes = notes.lock().unwrap();
                notes.room += 1;
                notes.room
            };
            allocator.grow(allocator.chunks_for(room));
            allocator.add(1, home);
            notes.lock().unwrap().offered += 1;
        }
        (11, _) => {
            {
                let mut notes = notes.lock().unwrap();
                notes.offered -= 1;
                notes.leaving += 1;
            }
            let withdrawn = allocator.withdraw(1, home);
            allocator.withdraw_units(withdrawn);
            if withdrawn == 0 {
                notes.lock().unwrap().offered += 1;
            }
        }
        _ => {}
    }
}

fn confirm(allocator: &Allocator, notes: &Mutex<Notes>, id: HoldId, home: usize) {
    let Standing::Held { share, snapshot, .. } = allocator.standing(id) else { return };
    if allocator.begin_confirm(id.slot, snapshot) {
        notes.lock().unwrap().begun += i64::from(share.quantity);
        ended(notes, id);
        allocator.settle(id.slot, id.generation, 1, home);
    }
}

fn ended(notes: &Mutex<Notes>, id: HoldId) {
    let mut notes = notes.lock().unwrap();
    let ends = notes.ends.entry((id.slot, id.generation)).or_default();
    *ends += 1;
    assert_eq!(*ends, 1, "{id:?} ended twice");
}

/// The total at any instant from now on, as long as `leaving` does not move; and `leaving`.
fn least(notes: &Mutex<Notes>) -> (i64, i64) {
    let notes = notes.lock().unwrap();
    (notes.offered, notes.leaving)
}

/// An answer to a call that began at `least`.
fn answered(notes: &Mutex<Notes>, (offered, leaving): (i64, i64), answer: Result<Made, Refusal>) {
    let mut notes = notes.lock().unwrap();
    match answer {
        Ok(made) => notes.made.push(made.id),
        Err(Refusal::SoldOut { .. }) => {
            let least = offered - (notes.leaving - leaving);
            assert!(notes.begun >= least, "told sold out with {} of {least} units sold", notes.begun);
        }
        Err(Refusal::Limit { held, bought }) => assert!(held + bought > 0, "over the cap with nothing"),
        Err(_) => {}
    }
}

fn adds_up(allocator: &Allocator) -> Count {
    let count = allocator.count();
    assert_eq!(count.free + count.held + count.sold, allocator.total(), "{count:?}");
    assert_eq!(allocator.cap.totals(), (count.held, count.sold), "the cap table does not know the slots");
    assert_eq!(allocator.permits.free(), count.free);
    if allocator.units.is_some() {
        let (mut all, mut free) = (HashSet::new(), 0);
        allocator.each_unit(|whereabouts, unit| {
            assert!(all.insert(unit), "unit {unit} is in two places");
            free += u64::from(whereabouts == Whereabouts::Free);
        });
        assert_eq!((free, all.len() as u64), (count.free, allocator.total()), "a unit and its permit are apart");
    }
    count
}

fn shares(allocator: &Allocator, notes: &Notes) -> HashMap<u128, u32> {
    let mut shares = HashMap::new();
    for id in &notes.made {
        if let Standing::Held { share, .. } | Standing::Sold { share, .. } = allocator.standing(*id) {
            *shares.entry(share.buyer.as_u128()).or_default() += share.quantity;
        }
    }
    shares
}

fn a_sale(rules: Rules, stock: u32, reserve: Reserve) {
    run(rules, stock, reserve, Allocator::new(rules, stock, plan(2, 1, true)));
}

/// A sale whose units can be told apart.
fn a_sale_with_faces(rules: Rules, stock: u32) {
    run(rules, stock, reserve, Allocator::new(rules, stock, plan(2, 1, true)).with_units(stock));
}

fn run(rules: Rules, stock: u32, reserve: Reserve, allocator: Allocator) {
    let allocator = Arc::new(allocator);
    let notes = Arc::new(Mutex::new(Notes { offered: i64::from(stock), room: u64::from(stock), ..Notes::default() }));
    let threads: Vec<_> = (0..THREADS)
        .map(|home| {
            let (allocator, notes) = (Arc::clone(&allocator), Arc::clone(&notes));
            thread::spawn(move || (0..STEPS).for_each(|step| act(&allocator, &notes, reserve, home, 5 * step as u64)))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }

    let count = adds_up(&allocator);
    let notes = notes.lock().unwrap();
    assert_eq!(i64::try_from(allocator.total()), Ok(notes.offered));
    assert_eq!(notes.made.iter().map(|id| (id.slot, id.generation)).collect::<HashSet<_>>().len(), notes.made.len());
    let shares = shares(&allocator, &notes);
    assert!(shares.values().all(|&units| units <= rules.cap), "over the cap: {shares:?}");
    assert_eq!(u64::from(shares.values().sum::<u32>()), count.held + count.sold, "a hold that was not answered");

    let mut expired = 0;
    allocator.expire(1_000, 0, |_| (), |_, share, ()| expired += u64::from(share.quantity));
    assert_eq!(expired, count.held, "a hold that no sweep finds");
    let mut changes = 0;
    allocator.drain_changes(0, u32::MAX, |_, _, _, _| changes += 1);
    assert!(changes > 0 || notes.made.is_empty());
    for number in 0..BUYERS {
        let attempt = allocator.cap.begin(Buyer::from(number), 1, MANY);
        allocator.cap.abort(attempt.expect("no attempt is under way any more"));
    }
    let free = allocator.total() - count.sold;
    for number in 0..free {
        assert!(reserve(&allocator, Buyer::from(100 + number), 1, 0, 0).is_ok(), "{number} of {free}: a unit leaked");
    }
    let refusal = reserve(&allocator, Buyer::from(99), 1, 0, 0).unwrap_err();
    let right =
        if free == 0 { matches!(refusal, Refusal::SoldOut { .. }) } else { matches!(refusal, Refusal::AllHeld { .. }) };
    assert!(right, "{refusal:?} with {free} units held");
    adds_up(&allocator);
}

const SINGLE: Rules = Rules { cap: 1, largest: 1, hold: 12, grace: 1 };
const SEVERAL: Rules = Rules { cap: 3, largest: 2, hold: 12, grace: 1 };

#[test]
fn a_sale_of_single_units_holds_up_under_random_schedules() {
    sample(RandomScheduler::new(SAMPLES), || a_sale(SINGLE, 3, reserve));
}

#[test]
fn a_sale_of_single_units_holds_up_under_hostile_schedules() {
    sample(PctScheduler::new(4, SAMPLES), || a_sale(SINGLE, 3, reserve));
}

#[test]
fn a_sale_of_several_units_holds_up_under_random_schedules() {
    sample(RandomScheduler::new(SAMPLES), || a_sale(SEVERAL, 5, reserve));
}

#[test]
fn a_sale_of_several_units_holds_up_under_hostile_schedules() {
    sample(PctScheduler::new(4, SAMPLES), || a_sale(SEVERAL, 5, reserve));
}

#[test]
fn units_with_faces_hold_up_under_random_schedules() {
    sample(RandomScheduler::new(SAMPLES), || a_sale_with_faces(SINGLE, 3));
    sample(RandomScheduler::new(SAMPLES), || a_sale_with_faces(SEVERAL, 5));
}

#[test]
fn units_with_faces_hold_up_under_hostile_schedules() {
    sample(PctScheduler::new(4, SAMPLES), || a_sale_with_faces(SINGLE, 3));
    sample(PctScheduler::new(4, SAMPLES), || a_sale_with_faces(SEVERAL, 5));
}

/// More buyers than units at once: each unit goes to somebody, and only whoever came too late is refused.
#[test]
fn a_rush_sells_exactly_the_stock() {
    sample(RandomScheduler::new(SAMPLES), || {
        let allocator = Arc::new(Allocator::new(SINGLE, 3, plan(2, 1, false)));
        let threads: Vec<_> = (0..4)
            .map(|home| {
                let allocator = Arc::clone(&allocator);
                thread::spawn(move || {
                    let buyers = [2 * home as u64, 2 * home as u64 + 1].map(Buyer::from);
                    buyers.iter().filter(|&&buyer| reserve(&allocator, buyer, 1, 0, home).is_ok()).count()
                })
            })
            .collect();
        let taken: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(taken, 3);
        assert_eq!(adds_up(&allocator), Count { free: 0, held: 3, sold: 0 });
    });
}

/// The fault: the attempt of a buyer who got no unit is not given back.
fn reserve_without_abort(
    allocator: &Allocator,
    buyer: Buyer,
    quantity: u32,
    now: u64,
    home: usize,
) -> Result<Made, Refusal> {
    if allocator.gate().is_open() {
        let attempt = allocator.cap.begin(buyer, quantity, allocator.rules.cap);
        let attempt = attempt.map_err(|_| Refusal::UnderWay)?;
        if let Err(denied) = allocator.permits.take(home, u64::from(quantity)) {
            return Err(allocator.denied(denied));
        }
        allocator.permits.give(home, u64::from(quantity));
        allocator.cap.abort(attempt);
    }
    reserve(allocator, buyer, quantity, now, home)
}

/// The fault: the cap is looked at, and the share counted later.
pub(super) fn reserve_beside_the_cap(
    allocator: &Allocator,
    buyer: Buyer,
    quantity: u32,
    now: u64,
    home: usize,
) -> Result<Made, Refusal> {
    let limit = |refusal| match refusal {
        CapRefusal::Limit { held, bought } => Refusal::Limit { held, bought },
        CapRefusal::UnderWay => Refusal::UnderWay,
    };
    let seen = allocator.cap.begin(buyer, quantity, allocator.rules.cap).map_err(limit)?;
    allocator.cap.abort(seen);
    allocator.permits.take(home, u64::from(quantity)).map_err(|denied| allocator.denied(denied))?;
    let slot = allocator.supply.pop(&allocator.slots, home).or_else(|| allocator.first_slot(home));
    let slot = slot.expect("a permit is held");
    let attempt = allocator.cap.begin(buyer, quantity, MANY).map_err(limit)?;
    allocator.cap.commit(&attempt, quantity);
    let due = allocator.due(now);
    let generation = allocator.slots.hold(slot, due, Meta { cell: attempt.cell(), quantity, key_epoch: KEY });
    allocator.deadlines.note(&allocator.slots, slot, due);
    allocator.note_change(slot);
    Ok(Made { id: HoldId { slot, generation, key_epoch: KEY }, due })
}

#[test]
#[should_panic(expected = "no attempt is under way any more")]
fn control_an_attempt_that_is_not_given_back_is_found() {
    sample(RandomScheduler::new(SAMPLES), || a_sale(SINGLE, 3, reserve_without_abort));
}

#[test]
#[should_panic(expected = "assertion")]
fn control_a_share_counted_beside_the_cap_is_found() {
    sample(RandomScheduler::new(SAMPLES), || a_sale(SINGLE, 3, reserve_beside_the_cap));
}

pub(super) fn plan(stripes: usize, key: u8, journaled: bool) -> Plan {
    Plan { stripes, key: [key; 16], scheduled: false, journaled, first_slots: None }
}
