//! Negative controls: what is wrong on purpose is found, in every run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{steps::receipt_of, *};
use crate::{RequestKey, core::End, engine::keys::hash};

/// What the machine says about it, if it finds anything.
fn finding(act: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(act)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().expect("a panic says something")).to_owned()))
}

const PLAIN: Setup = Setup { seed: 1, stripes: 1, buffered: false, worn: false };
const KILL: Crash = Crash { power: false, seed: 1, away_millis: 20_000, again: None };

fn reserve(sale: usize, buyer: u64) -> Op {
    Op::Reserve { sale, buyer, quantity: 1, key: Some(0) }
}

fn machine(ops: &[Op]) -> Machine {
    let mut machine = Machine::begin(PLAIN, SimDisk::new(1));
    for op in ops {
        machine.step(op);
    }
    machine
}

/// The life is as it must be until something is changed, by `change`, that nobody was told of; then `op` finds it.
#[track_caller]
fn assert_found(ops: &[Op], change: impl FnOnce(&mut Machine), op: &Op, expected: &str) {
    let mut machine = machine(ops);
    change(&mut machine);
    let found = finding(|| machine.step(op));
    assert!(
        found.as_ref().is_some_and(|found| found.contains(expected)),
        "{expected:?} is not what is said: {found:?}"
    );
}

#[test]
fn control_an_order_that_the_journal_never_had_is_missed() {
    let sold = |machine: &mut Machine| {
        machine.oracle.sell(0, 1);
        machine.oracle.committed();
    };
    assert_found(&[reserve(0, 1)], sold, &Op::Crash(KILL), "an acknowledged order is lost");
}

#[test]
fn control_an_order_that_nobody_paid_is_found() {
    let paid = |machine: &mut Machine| {
        let answer = machine.report(0, 77).unwrap().wait().unwrap();
        assert!(receipt_of(answer).is_some());
    };
    let fates = |machine: &mut Machine| {
        paid(machine);
        machine.oracle.sell(0, 78);
    };
    assert_found(&[reserve(0, 1)], fates, &Op::Crash(KILL), "orders that nobody paid");
    assert_found(&[reserve(0, 1)], paid, &Op::Sync, "0 are sold: coats");
}

#[test]
fn control_a_refund_that_was_never_decided_is_missed() {
    let refunded = |machine: &mut Machine| {
        let ticket = &mut machine.oracle.tickets[0];
        (ticket.fate, ticket.refunded) = (Fate::Refused, true);
        machine.oracle.committed();
    };
    let expired = [reserve(0, 1), Op::Pass { millis: 32_000 }, Op::Tick];
    assert_found(&expired, refunded, &Op::Crash(KILL), "to be refunded: Some(PaidLate(");
}

#[test]
fn control_a_unit_that_is_put_back_while_a_hold_has_it_is_found() {
    let put_back = |machine: &mut Machine| {
        let number = machine.oracle.tickets[0].faces[0].number;
        machine.sale(1).inner.allocator.restore_free_units(0, std::iter::once(number));
    };
    assert_found(&[reserve(1, 1)], put_back, &Op::Tick, "is in two places");
}

#[test]
fn control_a_line_in_another_order_is_contradicted() {
    let hold = |buyer| Op::Reserve { sale: 0, buyer, quantity: 1, key: None };
    let held = [0, 0, 1].map(hold).into_iter();
    let ops: Vec<_> =
        held.chain([5, 6].map(|buyer| Op::Join { sale: 0, buyer })).chain([Op::Cancel { which: 0 }]).collect();
    let reversed = |machine: &mut Machine| machine.oracle.shops[0].lines.last_mut().unwrap().reverse();
    assert_found(&ops, reversed, &Op::Tick, "somebody else than the head was offered a unit");
    assert_found(&ops, reversed, &Op::Sync, "buyer 6");
    // The same, with a place that only the oracle takes for durable.
    let durable = |machine: &mut Machine| machine.oracle.committed();
    assert_found(&ops, durable, &Op::Crash(KILL), "the line is []");
}

#[test]
fn control_a_basket_of_which_a_part_is_given_back_is_found() {
    let part = |machine: &mut Machine| {
        let sale = machine.sale(0);
        let slots = sale.inner.allocator.slots();
        let mut all = slots.present().flat_map(|(first, chunk)| (first..).take(chunk.len()));
        let slot = all.find(|slot| matches!(slots.load(*slot).state(), State::Part { .. })).unwrap();
        sale.inner.allocator.end_part(slot, End::Cancelled, 0);
    };
    let basket = Op::Basket { buyer: 1, units: [1, 1, 0, 0] };
    assert_found(&[basket], part, &Op::Sync, "the units are not as they must be");
}

#[test]
fn control_a_hold_that_was_only_in_memory_is_missed_and_one_that_was_ended_is_not() {
    let durable = |machine: &mut Machine| machine.oracle.tickets[0].durable = true;
    assert_found(&[reserve(0, 1)], durable, &Op::Crash(KILL), "a durable hold is gone");
    let ended = |machine: &mut Machine| machine.oracle.tickets[0].end_durable = true;
    assert_found(&[reserve(0, 1), Op::Sync], ended, &Op::Crash(KILL), "a hold has come back");
    let longer = |machine: &mut Machine| machine.oracle.tickets[0].deadlines[0] = START;
    assert_found(&[reserve(0, 1), Op::Sync], longer, &Op::Crash(KILL), "due at");
}

#[test]
fn control_a_hold_that_ends_behind_the_oracles_back_is_found() {
    let ended = |machine: &mut Machine| {
        machine.sale(1).cancel(&machine.oracle.tickets[0].token).unwrap();
    };
    assert_found(&[reserve(1, 1)], ended, &Op::Tick, "the units are not as they must be");
    // The same, and somebody else has the unit.
    let taken = |machine: &mut Machine| {
        ended(machine);
        let _held = machine.sale(1).reserve(2, 1).unwrap();
    };
    assert_found(&[reserve(1, 1)], taken, &Op::Tick, "what buyers have of seats");
}

#[test]
fn control_an_answer_that_is_no_answer_of_the_oracles_is_found() {
    let told = |machine: &mut Machine| machine.oracle.shops[0].rules[0].paused = true;
    assert_found(&[], told, &reserve(0, 1), "buyer 1 got 1 of 0");
    let told = |machine: &mut Machine| machine.sale(0).pause().unwrap();
    assert_found(&[], told, &reserve(0, 1), "buyer 1 was refused 1 of 0: the sale is paused");
    let capped = |machine: &mut Machine| machine.sale(0).inner.allocator.set_limit(1);
    assert_found(&[reserve(0, 1)], capped, &Op::Reserve { sale: 0, buyer: 1, quantity: 1, key: None }, "limit reached");
}

#[test]
fn control_a_key_that_is_forgotten_is_missed() {
    let forgets = |machine: &mut Machine| {
        let (sale, key) = (machine.sale(0), RequestKey::new("key-0").unwrap());
        sale.inner.keys.forget(hash(&sale.engine.request_key, Buyer::from(1), key.as_str()));
    };
    assert_found(&[reserve(0, 1)], forgets, &reserve(0, 1), "one key has two holds");
}

#[test]
fn control_what_operators_changed_is_missed_if_it_is_lost() {
    let change =
        |change: fn(&mut oracle::Rules)| move |machine: &mut Machine| change(&mut machine.oracle.shops[0].rules[0]);
    let lost = "what operators made of it is lost";
    assert_found(&[], change(|rules| rules.cap = 1), &Op::Crash(KILL), lost);
    assert_found(&[], change(|rules| rules.added = 1), &Op::Crash(KILL), lost);
    assert_found(&[], change(|rules| rules.withdrawn = 1), &Op::Crash(KILL), lost);
    assert_found(&[], change(|rules| rules.closed = true), &Op::Crash(KILL), lost);
    assert_found(&[], change(|rules| rules.opens = Some(START)), &Op::Crash(KILL), lost);
    assert_found(&[], change(|rules| rules.paused = true), &Op::Crash(KILL), "coats");
    assert_found(&[], |machine| machine.oracle.halted = vec![true], &Op::Crash(KILL), "the kill switch is false");
    let enrolled = |machine: &mut Machine| assert!(machine.oracle.registered.insert(8));
    assert_found(&[], enrolled, &Op::Crash(KILL), "somebody isn't registered any more");
    let shipped = |machine: &mut Machine| assert!(machine.oracle.shops[0].shipped.insert(1, true).is_none());
    assert_found(&[reserve(0, 1), Op::Pay { which: 0, waits: true }], shipped, &Op::Crash(KILL), "was shipped: Ok");
}

#[test]
fn control_a_message_that_changes_is_noticed() {
    let changed = |machine: &mut Machine| machine.told[0].buyer = Buyer::from(2);
    let ops = [reserve(0, 1), Op::Pay { which: 0, waits: true }, Op::Sync];
    assert_found(&ops, changed, &Op::Crash(KILL), "was before");
}

#[test]
fn control_units_that_cannot_be_sold_at_the_end_are_missed() {
    let machine = machine(&[reserve(1, 1)]);
    // Permits that nobody gave back.
    machine.sale(3).inner.allocator.withdraw(1, 0);
    let found = finding(|| machine.end());
    assert!(found.is_some_and(|found| found.contains("the units are not as they must be")));
}

#[test]
fn control_a_sync_that_lies_breaks_promises() {
    let buy = [reserve(1, 1), Op::Pay { which: 0, waits: true }, reserve(1, 2), Op::Pay { which: 0, waits: true }];
    let life = |seed, power| {
        let mut machine = machine(&buy[..2]);
        machine.disk.break_by(Flaw::LyingSync);
        buy[2..].iter().for_each(|op| machine.step(op));
        finding(|| machine.step(&Op::Crash(Crash { power, seed, away_millis: 20_000, again: None })))
    };
    let broken: Vec<_> = (0..20).filter_map(|seed| life(seed, true)).collect();
    assert!(broken.iter().any(|why| why.contains("an acknowledged order is lost")), "{broken:#?}");
    assert_eq!(life(0, false), None, "a process that is killed leaves the disk what it has");
}

/// Holds that come and go until the journal has several segments; then it is compacted.
fn compacting() -> Vec<Op> {
    let turn = |turn: u64| {
        let basket = Op::Basket { buyer: turn % BUYERS, units: [0, 1, 1, 1] };
        [reserve(1, turn % 4), basket, Op::Tick, Op::Cancel { which: 0 }, Op::Cancel { which: 1 }, Op::Tick]
    };
    (0..12).flat_map(turn).chain([reserve(0, 1), Op::Pay { which: 0, waits: true }, Op::Compact]).collect()
}

#[test]
fn control_a_compaction_that_is_not_synced_is_found_after_a_crash() {
    for flaw in [Flaw::UnsyncedDraft, Flaw::UnsyncedRename] {
        let life = |seed| {
            let crash = Op::Crash(Crash { power: true, seed, away_millis: 20_000, again: None });
            let ops: Vec<_> = compacting().into_iter().chain([crash]).collect();
            finding(|| assert!(run(PLAIN, SimDisk::flawed(seed, flaw), &ops) > 0))
        };
        let broken: Vec<_> = (0..20).filter_map(life).collect();
        assert!(broken.iter().any(|why| why.contains("it can't be opened again")), "{flaw:?}: {broken:#?}");
    }
}

/// Whatever goes wrong at any call to the disk from a compaction on: it, what is done beside it, and the next opening.
#[test]
fn a_fault_at_any_call_of_a_compaction_and_what_follows_it_breaks_no_promise() {
    let ops = compacting();
    let (before, compact) = ops.split_at(ops.len() - 1);
    let then = [Op::Join { sale: 0, buyer: 5 }, reserve(1, 2), Op::Pay { which: 0, waits: true }, Op::Tick];
    let after: Vec<_> = compact.iter().cloned().chain(then).chain([Op::Compact, Op::Reopen]).collect();
    let mut quiet = machine(before);
    let calls = quiet.disk.calls();
    after.iter().take(after.len() - 1).for_each(|op| quiet.step(op));
    let calls = quiet.disk.calls() - calls;
    assert!(quiet.compactions > 0 && calls > 25, "{} compactions, {calls} calls", quiet.compactions);
    let mut compactions = 0;
    for fault in [Fault::Crash, Fault::Error(std::io::ErrorKind::Other), Fault::Full] {
        for call in 1..=calls {
            let ops: Vec<_> = before.iter().cloned().chain([Op::Fault { calls: call, fault }]).collect();
            compactions += run(PLAIN, SimDisk::new(call), &[&ops[..], &after].concat());
        }
    }
    assert!(compactions > calls, "{compactions} compactions");
}
