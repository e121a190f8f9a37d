//! Histories of calls at the same time: all are explained by one call at a time.
//!
//! Controls: small shops with a fault of order each, whose threads meet exactly where it matters: the fault shows in
//! every run. The same shop without its fault, and the real one, are explained.

use std::sync::{Barrier, Mutex};

use sellout_bench::torture::histories::{EngineShop, Program, Shop, check_one, record};
use sellout_testkit::{
    linearizable::check,
    sale_model::{SaleAnswer, SaleCall, SaleEnd, SaleModel},
};

#[test]
fn whatever_overlaps_is_answered_as_one_call_at_a_time() {
    let mut overlaps = 0;
    for seed in 0..250 {
        match check_one(seed) {
            Ok(tried) => overlaps += tried.overlaps,
            Err(wrong) => panic!("{wrong}"),
        }
    }
    assert!(overlaps > 0, "no two calls overlapped");
}

#[test]
fn a_program_is_the_same_for_the_same_seed() {
    let shown = |seed| format!("{:?}", Program::of(seed));
    assert_eq!(shown(7), shown(7));
    assert!((0..20).any(|seed| Program::of(seed).journaled) && (0..20).any(|seed| Program::of(seed).model.scattered));
}

const ONE_UNIT: SaleModel =
    SaleModel { total: 1, free: 1, sold: 0, cap: 1, hold_ms: 20, grace_ms: 5, scattered: false };

/// What is wrong with a shop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Looks whether a unit is free, and takes it later.
    LooksThenTakes,
    /// A unit that came back stays hidden behind "sold out".
    KeepsItsMark,
    /// Looks whether a hold has ended, and ends it later.
    EndsTwice,
}

/// A shop of one unit, in one lock; where it is faulty it lets go of the lock, and meets the other thread there.
struct Tiny {
    fault: Fault,
    meeting: Barrier,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    free: bool,
    marked: bool,
    hold: Option<SaleEnd>,
}

impl Tiny {
    fn new(fault: Fault) -> Self {
        let state = State { free: true, marked: false, hold: None };
        Self { fault, meeting: Barrier::new(2), state: Mutex::new(state) }
    }

    /// Looks, and acts by what it saw.
    fn looks(&self, here: Fault, act: impl Fn(State, &mut State) -> SaleAnswer) -> SaleAnswer {
        let mut state = self.state.lock().expect("nobody panics");
        let seen = *state;
        if self.fault == here {
            drop(state);
            self.meeting.wait();
            state = self.state.lock().expect("nobody panics");
        }
        act(seen, &mut state)
    }

    fn end(&self, how: SaleEnd, answer: SaleAnswer) -> SaleAnswer {
        self.looks(Fault::EndsTwice, |seen, state| {
            if let Some(before) = seen.hold {
                return if answer == SaleAnswer::Cancelled {
                    SaleAnswer::Ended(before)
                } else {
                    SaleAnswer::CancelledBefore
                };
            }
            state.hold = Some(how);
            if how == SaleEnd::Cancelled {
                state.free = true;
                state.marked &= self.fault == Fault::KeepsItsMark;
            }
            answer
        })
    }
}

impl Shop for Tiny {
    fn answer(&self, call: &SaleCall, name: u32) -> Result<SaleAnswer, String> {
        Ok(match call {
            SaleCall::Reserve { .. } => self.looks(Fault::LooksThenTakes, |seen, state| {
                if seen.free && !seen.marked {
                    (state.free, state.hold) = (false, None);
                    return SaleAnswer::Held { hold: name, due_ms: 20 };
                }
                state.marked = true;
                SaleAnswer::AllHeld
            }),
            SaleCall::Confirm { .. } => self.end(SaleEnd::Confirmed, SaleAnswer::Confirmed { order: 1 }),
            SaleCall::Cancel { .. } => self.end(SaleEnd::Cancelled, SaleAnswer::Cancelled),
            SaleCall::Pass { span_ms: 0 } => SaleAnswer::Done,
            other => return Err(format!("not asked here: {other:?}")),
        })
    }
}

/// What becomes of fixed calls of each thread.
fn tried(shop: &impl Shop, lanes: &[&[SaleCall]]) -> Result<(), String> {
    let next = |thread: usize, step: usize, _: &[u32]| lanes[thread].get(step).copied();
    let history = record(shop, lanes.len(), true, next)?;
    check(&ONE_UNIT, &history).map(|_| ()).map_err(|wrong| wrong.to_string())
}

fn real() -> EngineShop {
    let program = Program {
        model: ONE_UNIT,
        threads: 2,
        rounds: true,
        journaled: false,
        largest: 1,
        worn: false,
        ..Program::of(0)
    };
    EngineShop::open(&program).expect("in memory")
}

const fn reserve(buyer: u64) -> SaleCall {
    SaleCall::Reserve { buyer, quantity: 1 }
}

/// What the first thread's first hold is called.
const FIRST: u32 = 0;

#[track_caller]
fn only_the_fault_is_found(fault: Fault, lanes: &[&[SaleCall]]) {
    let found = tried(&Tiny::new(fault), lanes).expect_err("the fault shows in every run");
    assert!(found.contains("no order of these calls"), "{found}");
    assert_eq!(tried(&Tiny::new(Fault::None), lanes), Ok(()));
    assert_eq!(tried(&real(), lanes), Ok(()));
}

#[test]
fn control_a_shop_that_looks_and_then_takes_sells_one_unit_twice() {
    only_the_fault_is_found(Fault::LooksThenTakes, &[&[reserve(1)], &[reserve(2)]]);
}

#[test]
fn control_a_shop_that_keeps_its_mark_refuses_with_a_unit_free() {
    let calls = [reserve(1), reserve(2), SaleCall::Cancel { hold: FIRST }, reserve(2)];
    only_the_fault_is_found(Fault::KeepsItsMark, &[&calls]);
}

#[test]
fn control_a_shop_that_looks_before_it_ends_a_hold_ends_it_twice() {
    let payer = [reserve(1), SaleCall::Confirm { hold: FIRST }];
    // The first call only waits for the hold to be there.
    let other = [SaleCall::Pass { span_ms: 0 }, SaleCall::Cancel { hold: FIRST }];
    only_the_fault_is_found(Fault::EndsTwice, &[&payer, &other]);
}

/// A shop whose second call panics.
struct Breaks;

impl Shop for Breaks {
    fn answer(&self, _: &SaleCall, name: u32) -> Result<SaleAnswer, String> {
        assert_ne!(name, 1, "broken");
        Ok(SaleAnswer::Held { hold: name, due_ms: 20 })
    }
}

#[test]
fn control_a_call_that_panics_is_no_answer_and_leaves_nobody_waiting() {
    let found = tried(&Breaks, &[&[reserve(1), reserve(1)], &[reserve(2); 5]]).unwrap_err();
    assert!(found.contains("a call panicked") && found.contains("broken"), "{found}");
}
