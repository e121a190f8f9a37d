//! Models of the cap table: two cells a segment, up to three threads.
//!
//! What is proved:
//! - Two first attempts of one buyer never both get an entry, wherever their cells lie; one of them does.
//! - Who is told the limit is told the truth: the units are there.
//! - Attempts that end leave nothing: no units, no cell in use, and the next attempt succeeds.
//! - Buyers who collide, and buyers who need the next segment, don't disturb each other.
//! - Of holds of one buyer that end at once each is counted.
//! - Who has bought before somebody looks is found, and who is found has bought, whatever happens beside the look.
//!
//! For two attempts of one buyer to lie in different cells, another buyer's entry must go in between: that is the
//! `occupant` of these scenes.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::models::{explore_a_part_of, explore_within};

type Begin = fn(&CapTable, Buyer) -> Result<Attempt, CapRefusal>;

/// Under a cap of one unit.
fn begin(table: &CapTable, buyer: Buyer) -> Result<Attempt, CapRefusal> {
    table.begin(buyer, 1, 1)
}

/// A table, and buyers whose first cell is the same one.
fn table<const N: usize>() -> (Arc<CapTable>, [Buyer; N]) {
    let table = CapTable::new(1, [0; 16]);
    let mut neighbours = (0_u64..).map(Buyer::from).filter(|&buyer| table.home(table.hash(buyer), 0) == 0);
    let buyers = std::array::from_fn(|_| neighbours.next().unwrap());
    (Arc::new(table), buyers)
}

/// Begins, and commits what was begun.
fn buy(table: &CapTable, begin: Begin, buyer: Buyer) -> Result<CellIndex, CapRefusal> {
    let attempt = begin(table, buyer)?;
    table.commit(&attempt, 1);
    Ok(attempt.cell())
}

/// One buyer twice, cap 1; both would keep what they get.
fn one_buyer_twice(begin: Begin) {
    let (table, [occupant, buyer]) = table();
    let occupation = table.begin(occupant, 1, 1).unwrap();
    let theirs = Arc::clone(&table);
    let other = thread::spawn(move || {
        theirs.abort(occupation);
        buy(&theirs, begin, buyer)
    });
    let outcomes = [buy(&table, begin, buyer), other.join().unwrap()];
    let got = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(got, 1, "cap 1, and the outcomes {outcomes:?}");
    assert_eq!(table.totals(), (1, 0));
    assert!(matches!(begin(&table, buyer), Err(CapRefusal::Limit { held: 1, bought: 0 })));
}

/// One buyer twice, cap 1; whatever is begun is given up.
fn one_buyer_gives_up_twice(begin: Begin) {
    let (table, [occupant, buyer]) = table();
    let occupation = table.begin(occupant, 1, 1).unwrap();
    let theirs = Arc::clone(&table);
    let give_up = move |table: &CapTable| match begin(table, buyer) {
        Ok(attempt) => table.abort(attempt),
        Err(refusal) => assert_eq!(refusal, CapRefusal::UnderWay, "nobody has got anything"),
    };
    let other = thread::spawn(move || {
        theirs.abort(occupation);
        give_up(&theirs);
    });
    give_up(&table);
    other.join().unwrap();
    assert_eq!(table.totals(), (0, 0));
    let cells = table.present().flat_map(|segment| segment.cells.iter());
    let states: Vec<State> = cells.map(|cell| Entry(cell[0].load(Ordering::Acquire)).state()).collect();
    assert!(states.iter().all(|state| matches!(state, State::Empty | State::Vacant)), "a leak: {states:?}");
    assert!(begin(&table, buyer).is_ok(), "refused with nobody else there");
}

/// One buyer three times, cap 1.
fn one_buyer_three_times(begin: Begin) {
    let (table, [occupant, buyer]) = table();
    let occupation = table.begin(occupant, 1, 1).unwrap();
    let theirs = Arc::clone(&table);
    let first = thread::spawn(move || {
        theirs.abort(occupation);
        buy(&theirs, begin, buyer)
    });
    let theirs = Arc::clone(&table);
    let second = thread::spawn(move || buy(&theirs, begin, buyer));
    let outcomes = [buy(&table, begin, buyer), first.join().unwrap(), second.join().unwrap()];
    let got = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(got, 1, "cap 1, and the outcomes {outcomes:?}");
    assert_eq!(table.totals(), (1, 0));
}

/// A cell goes from one buyer, who held a unit, to another, who asks twice and gets nothing.
fn a_cell_that_changes_hands(begin: Begin) {
    let (table, [before, buyer]) = table();
    let cell = buy(&table, begin, before).unwrap();
    let theirs = Arc::clone(&table);
    let other = thread::spawn(move || {
        theirs.release(cell, 1);
        if let Ok(attempt) = begin(&theirs, buyer) {
            theirs.abort(attempt);
        }
    });
    match begin(&table, buyer) {
        Ok(attempt) => table.abort(attempt),
        Err(refusal) => assert_eq!(refusal, CapRefusal::UnderWay, "this buyer has nothing"),
    }
    other.join().unwrap();
    assert_eq!(table.totals(), (0, 0));
}

/// Whose entry a cell is, read by somebody with a proof that is looked at again.
fn an_identity_beside_a_cell_that_changes_hands() {
    let (table, [before, buyer]) = table();
    let cell = buy(&table, begin, before).unwrap();
    let proof = Arc::new(AtomicU64::new(0));
    let (theirs, their_proof) = (Arc::clone(&table), Arc::clone(&proof));
    let other = thread::spawn(move || {
        // AcqRel: as the slot's word moves when its hold ends.
        their_proof.fetch_add(1, Ordering::AcqRel);
        theirs.release(cell, 1);
        let _ = buy(&theirs, begin, buyer);
    });
    let first = proof.load(Ordering::Acquire);
    let whose = table.buyer(cell);
    if first == 0 && proof.load(Ordering::Acquire) == 0 {
        assert_eq!(whose, before, "the proof was found unchanged");
    }
    other.join().unwrap();
}

/// Two holds of one buyer end at once: one is sold, the other comes back.
fn two_ends_of_one_buyer(release: fn(&CapTable, CellIndex)) {
    let (table, [buyer]) = table();
    let attempt = table.begin(buyer, 2, 2).unwrap();
    table.commit(&attempt, 2);
    let cell = attempt.cell();
    let theirs = Arc::clone(&table);
    let other = thread::spawn(move || theirs.settle(cell, 1));
    release(&table, cell);
    other.join().unwrap();
    assert_eq!(table.totals(), (0, 1), "held and bought: each end counts");
}

#[test]
fn of_two_holds_of_one_buyer_that_end_at_once_both_count() {
    explore_within(3, || two_ends_of_one_buyer(|table, cell| table.release(cell, 1)));
}

#[test]
#[should_panic(expected = "held and bought")]
fn control_a_count_that_is_stored_loses_an_end() {
    explore_within(3, || {
        two_ends_of_one_buyer(|table, cell| {
            let word = &table.cell(cell)[0];
            let entry = Entry(word.load(Ordering::Acquire));
            word.store(entry.with(entry.attempted(), entry.held() - 1, entry.bought()).0, Ordering::Release);
        });
    });
}

#[test]
fn of_two_attempts_of_one_buyer_one_gets_the_unit() {
    explore_within(3, || one_buyer_twice(begin));
}

#[test]
fn attempts_that_end_leave_nothing() {
    explore_within(3, || one_buyer_gives_up_twice(begin));
}

#[test]
fn of_three_attempts_of_one_buyer_one_gets_the_unit() {
    explore_a_part_of(|| one_buyer_three_times(begin));
}

#[test]
fn a_buyer_is_not_refused_for_what_the_cell_held_before() {
    explore_within(3, || a_cell_that_changes_hands(begin));
}

#[test]
fn an_identity_belongs_to_the_proof_under_which_it_was_read() {
    explore_within(3, an_identity_beside_a_cell_that_changes_hands);
}

/// Two buyers in one probe window, one of them twice, so that an attempt is withdrawn between them.
#[test]
fn colliding_buyers_do_not_disturb_each_other() {
    explore_a_part_of(|| {
        let (table, [occupant, buyer, neighbour]) = table();
        let occupation = table.begin(occupant, 1, 1).unwrap();
        let theirs = Arc::clone(&table);
        let first = thread::spawn(move || {
            theirs.abort(occupation);
            buy(&theirs, begin, buyer)
        });
        let theirs = Arc::clone(&table);
        let third = thread::spawn(move || buy(&theirs, begin, neighbour));
        let outcomes = [buy(&table, begin, buyer), first.join().unwrap()];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "cap 1: {outcomes:?}");
        assert!(third.join().unwrap().is_ok(), "there is one attempt of this buyer");
        assert_eq!(table.totals(), (2, 0));
    });
}

/// Every window is full, and two buyers come at once.
fn two_buyers_who_need_room(begin: Begin) {
    let (table, [one, two, three, four]) = table();
    let _ = (buy(&table, begin, one).unwrap(), buy(&table, begin, two).unwrap());
    let theirs = Arc::clone(&table);
    let other = thread::spawn(move || buy(&theirs, begin, three));
    assert!(buy(&table, begin, four).is_ok() && other.join().unwrap().is_ok());
    assert_eq!((table.totals(), table.segments()), ((4, 0), 2), "totals and segments");
}

#[test]
fn two_buyers_who_need_room_share_the_next_segment() {
    explore_within(3, || two_buyers_who_need_room(begin));
}

/// As `one_buyer_twice`, but one attempt needs the next segment and the other one doesn't.
#[test]
fn one_buyer_in_two_segments_gets_one_unit() {
    explore_within(3, || {
        let (table, [occupant, other, buyer]) = table();
        let occupation = table.begin(occupant, 1, 1).unwrap();
        let _ = buy(&table, begin, other).unwrap();
        let theirs = Arc::clone(&table);
        let second = thread::spawn(move || {
            theirs.abort(occupation);
            buy(&theirs, begin, buyer)
        });
        let outcomes = [buy(&table, begin, buyer), second.join().unwrap()];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "cap 1: {outcomes:?}");
        assert_eq!(table.totals(), (2, 0));
    });
}

type Look = fn(&CapTable, Buyer) -> u32;

/// A buyer whose cell lies behind another's buys; that other one goes, and somebody looks.
fn a_look_beside_a_purchase(bought: Look) {
    let (table, [occupant, buyer]) = table();
    let cell = buy(&table, begin, occupant).unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let (theirs, their_word) = (Arc::clone(&table), Arc::clone(&told));
    let other = thread::spawn(move || {
        let cell = buy(&theirs, begin, buyer).unwrap();
        theirs.settle(cell, 1);
        // Release: whoever hears of the purchase comes after it.
        their_word.store(1, Ordering::Release);
    });
    let theirs = Arc::clone(&table);
    let leaving = thread::spawn(move || theirs.release(cell, 1));
    // Acquire: pairs with the Release above.
    let heard = told.load(Ordering::Acquire) == 1;
    let units = bought(&table, buyer);
    assert!(units == 1 || !heard, "told of the purchase, and found nothing");
    assert_eq!(bought(&table, occupant), 0, "this buyer has bought nothing");
    other.join().unwrap();
    leaving.join().unwrap();
    assert_eq!(bought(&table, buyer), 1, "told of the purchase, and found nothing");
}

/// A cell goes from one buyer, who never paid, to another, who does; somebody asks for the first.
fn a_look_beside_a_cell_that_changes_hands(bought: Look) {
    let (table, [before, buyer]) = table();
    let cell = buy(&table, begin, before).unwrap();
    let theirs = Arc::clone(&table);
    let other = thread::spawn(move || {
        theirs.release(cell, 1);
        let cell = buy(&theirs, begin, buyer).unwrap();
        theirs.settle(cell, 1);
    });
    assert_eq!(bought(&table, before), 0, "this buyer has bought nothing");
    other.join().unwrap();
}

#[test]
fn who_has_bought_is_found() {
    explore_within(3, || a_look_beside_a_purchase(CapTable::bought));
}

#[test]
fn who_has_not_bought_is_not_found() {
    explore_within(3, || a_look_beside_a_cell_that_changes_hands(CapTable::bought));
}

/// `bought`, but a vacant cell ends the look.
fn bought_up_to_a_vacant_cell(table: &CapTable, buyer: Buyer) -> u32 {
    let (hash, segment) = (table.hash(buyer), table.segment(0));
    for distance in 0..table.window(0) {
        let cell = &segment.cells[table.position(hash, Place { segment: 0, distance }) as usize];
        let entry = Entry(cell[0].load(Ordering::Acquire));
        match entry.state() {
            State::Empty | State::Vacant => return 0,
            State::Live if is(cell, buyer, entry) => return u32::try_from(entry.bought()).unwrap(),
            _ => {}
        }
    }
    0
}

/// `bought`, but the identity is read before the word that it is believed under.
fn bought_by_whoever_was_there(table: &CapTable, buyer: Buyer) -> u32 {
    let (high, low) = buyer.words();
    let cell = &table.segment(0).cells[table.position(table.hash(buyer), Place { segment: 0, distance: 0 }) as usize];
    if cell[1].load(Ordering::Acquire) != high || cell[2].load(Ordering::Acquire) != low {
        return 0;
    }
    let entry = Entry(cell[0].load(Ordering::Acquire));
    if entry.state() == State::Live { u32::try_from(entry.bought()).unwrap() } else { 0 }
}

#[test]
#[should_panic(expected = "found nothing")]
fn control_a_look_that_ends_at_a_vacant_cell_misses_a_purchase() {
    explore_within(3, || a_look_beside_a_purchase(bought_up_to_a_vacant_cell));
}

#[test]
#[should_panic(expected = "this buyer has bought nothing")]
fn control_an_identity_without_its_word_finds_who_never_bought() {
    explore_within(3, || a_look_beside_a_cell_that_changes_hands(bought_by_whoever_was_there));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoVerify,
    NoFence,
    NoKill,
    RelaxedIdentity,
    GrowAgain,
}

fn begin_with(fault: Fault, table: &CapTable, buyer: Buyer) -> Result<Attempt, CapRefusal> {
    let hash = table.hash(buyer);
    loop {
        let decided = match table.find(hash, buyer) {
            Found::UnderWay => return Err(CapRefusal::UnderWay),
            Found::Live(cell, entry) => table.join(cell, entry, 1, 1),
            Found::Nowhere(candidate) => claim_with(fault, table, hash, buyer, candidate),
            Found::Full(segments) => {
                let next = if fault == Fault::GrowAgain { table.segments() } else { segments };
                table.grow(next);
                None
            }
        };
        if let Some(decided) = decided {
            return decided;
        }
    }
}

/// `claim`, with one fault.
fn claim_with(
    fault: Fault,
    table: &CapTable,
    hash: u64,
    buyer: Buyer,
    candidate: Candidate,
) -> Option<Result<Attempt, CapRefusal>> {
    let Candidate { place, position, seen } = candidate;
    let segment = table.segment(place.segment);
    let cell = &segment.cells[position as usize];
    let generation = if seen.state() == State::Empty { 0 } else { seen.generation() + 1 };
    let writing = Entry::new(State::Writing, generation);
    cell[0].compare_exchange(seen.0, writing.0, Ordering::Acquire, Ordering::Relaxed).ok()?;
    if fault == Fault::RelaxedIdentity {
        let (high, low) = buyer.words();
        cell[1].store(high, Ordering::Relaxed);
        cell[2].store(low, Ordering::Relaxed);
        segment.reach.fetch_max(u64::from(place.distance) + 1, Ordering::Relaxed);
        cell[0].store(Entry::new(State::Pending, generation).0, Ordering::Release);
    } else {
        publish(segment, cell, buyer, place, generation);
    }
    let pending = Entry::new(State::Pending, generation);
    let verdict = match fault {
        Fault::NoVerify => Verdict::Clear,
        Fault::RelaxedIdentity | Fault::GrowAgain => table.verify(hash, buyer, place),
        Fault::NoFence | Fault::NoKill => verify_with(fault, table, hash, buyer, place),
    };
    let live = pending.with(true, 0, 0);
    let won = matches!(verdict, Verdict::Clear)
        && cell[0].compare_exchange(pending.0, live.0, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if won {
        return Some(Ok(Attempt { cell: table.index(place.segment, position) }));
    }
    CapTable::withdraw(cell, pending);
    if matches!(verdict, Verdict::Elsewhere) { None } else { Some(Err(CapRefusal::UnderWay)) }
}

/// `verify` without its fence, or with it and without killing.
fn verify_with(fault: Fault, table: &CapTable, hash: u64, buyer: Buyer, mine: Place) -> Verdict {
    if fault != Fault::NoFence {
        fence(Ordering::SeqCst);
    }
    let segment = table.segment(0);
    for distance in 0..table.window(0) {
        let place = Place { segment: 0, distance };
        if place == mine {
            continue;
        }
        let cell = &segment.cells[table.position(hash, place) as usize];
        let entry = Entry(cell[0].load(Ordering::Acquire));
        let spared = fault == Fault::NoKill && entry.state() == State::Pending && place > mine;
        match if spared { Some(Verdict::Clear) } else { CapTable::contest(cell, buyer, place < mine) } {
            None => return Verdict::Clear,
            Some(Verdict::Clear) => {}
            Some(other) => return other,
        }
    }
    Verdict::Clear
}

#[test]
#[should_panic(expected = "cap 1")]
fn control_without_verifying_one_buyer_gets_two() {
    explore_within(3, || one_buyer_twice(|table, buyer| begin_with(Fault::NoVerify, table, buyer)));
}

#[test]
#[should_panic(expected = "cap 1")]
fn control_without_the_fence_one_buyer_gets_two() {
    explore_within(3, || one_buyer_twice(|table, buyer| begin_with(Fault::NoFence, table, buyer)));
}

#[test]
#[should_panic(expected = "cap 1")]
fn control_without_killing_one_buyer_gets_two() {
    explore_within(3, || one_buyer_twice(|table, buyer| begin_with(Fault::NoKill, table, buyer)));
}

#[test]
#[should_panic(expected = "this buyer has nothing")]
fn control_a_relaxed_identity_refuses_a_buyer_for_another() {
    explore_within(3, || a_cell_that_changes_hands(|table, buyer| begin_with(Fault::RelaxedIdentity, table, buyer)));
}

#[test]
#[should_panic(expected = "totals and segments")]
fn control_growing_by_what_is_absent_now_grows_twice() {
    explore_within(3, || two_buyers_who_need_room(|table, buyer| begin_with(Fault::GrowAgain, table, buyer)));
}
