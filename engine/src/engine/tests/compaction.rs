//! Compaction: a journal without what has passed tells everything that it told.
//!
//! Properties of a random life, told by its journal and by the compacted copy of it:
//! 1. recovery learns the same from both, the next generations of slots and the order of late books included;
//! 2. audits with their digests, waitlists, and the answers to every token are the same;
//! 3. the orders, for Redis, and the messages, under their ids, are the same;
//! 4. both go on selling.
//!
//! Negative controls: compactions that leave out the last life of a slot, an order, a refund, or who waits. Each is
//! found by what follows it, and refused by the engine's own look at what it wrote.

use proptest::prelude::*;

use super::{
    machine::{Machine, NAMES, Setup, cases, lives},
    *,
};
use crate::{
    CompactError, JournalReader, Message, WaitOrder, Waitlist,
    engine::{
        compaction::{Learnt, Rewriter},
        recovery::Recovery,
    },
    journal::{Carried, CarriedNote, CarriedSlot, JournalOptions, Record, Rewrite, SimDisk, Tail},
};

/// Segments so small that a short life fills several.
pub(super) fn small(now: Timestamp) -> JournalOptions {
    JournalOptions { segment_bytes: 4_096 + 1_500, fill_bytes: 512, ..JournalOptions::at(now) }
}

pub(super) fn open_small(dir: &Path, now: Timestamp) -> World {
    let clock = Arc::new(ManualClock::starting_at(now));
    let disk = Arc::new(FsDisk::create(dir).unwrap());
    World { engine: Engine::options().clock(clock.clone()).stripes(1).open_on(disk, small(now)).unwrap(), clock }
}

/// What recovery learns from the journal in a folder.
fn learnt(dir: &Path) -> Recovery {
    let (mut learnt, mut tail, mut frame) = (Learnt::default(), Tail::open(dir).unwrap(), Vec::new());
    loop {
        let mut number = tail.position().lsn().0 + 1;
        if !tail.next_frame(None, &mut frame).unwrap() {
            learnt.recovery.settle();
            return learnt.recovery;
        }
        for record in frame.drain(..) {
            let span = record.span();
            learnt.take(number, record).unwrap();
            number += span;
        }
    }
}

fn orders(dir: &Path) -> Vec<(String, SoldRecord)> {
    JournalReader::open(dir).unwrap().map(Result::unwrap).collect()
}

fn messages(engine: &Engine) -> Vec<Message> {
    let mut messages = Vec::new();
    engine.outbox().unwrap().unwrap().read(usize::MAX - 1, &mut messages).unwrap();
    messages
}

/// An answer without the token of an order that is only just made.
fn gist(answer: Confirmation) -> String {
    match answer {
        Confirmation::PaidLate(receipt) => format!("late: {}, {}", receipt.sequence, receipt.quantity),
        answer => format!("{answer:?}"),
    }
}

/// Compacts a copy of the journal in `dir`, and compares.
fn compare(dir: &Path, now: Timestamp, tokens: &[(usize, Token)]) {
    let ((_one, plain), (_other, compact)) = (copy(dir), copy(dir));
    let world = open_small(&compact, now);
    // If the life has just compacted it itself, there is nothing left to do here.
    world.engine.compact().unwrap();
    drop(world);
    drop(open_small(&plain, now));
    assert_eq!(orders(&plain), orders(&compact));
    let (plain, compact) = (open_small(&plain, now), open_small(&compact, now));
    assert_eq!(plain.engine.audit(), compact.engine.audit());
    assert_eq!(messages(&plain.engine), messages(&compact.engine));
    let sold = [&plain, &compact].map(|world| {
        let (source, mut sold) = (world.engine.source().unwrap().unwrap(), Vec::new());
        for name in NAMES {
            // A read may give less than there is.
            let first = sold.len();
            loop {
                let before = sold.len();
                source.read(name, (before - first) as u64, 1_000, &mut sold).unwrap();
                if sold.len() == before {
                    break;
                }
            }
        }
        sold
    });
    assert_eq!(sold[0], sold[1]);
    let told = [&plain, &compact].map(|world| {
        let mut told = Vec::new();
        for name in NAMES {
            let sale = world.engine.sale(name).unwrap();
            told.extend((0..9).map(|buyer| format!("{:?}", sale.waiting(buyer))));
            told.push(format!("{:?} {:?} {}", sale.spec(), sale.state(), sale.queue_length()));
        }
        let baskets = world.engine.baskets(BasketRules::new()).unwrap();
        for (sale, token) in tokens {
            let answer = match NAMES.get(*sale) {
                Some(name) => world.engine.sale(name).unwrap().confirm(token, 5),
                None => baskets.confirm(token, 5),
            };
            told.push(gist(answer.unwrap().wait().unwrap()));
        }
        told
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(plain.engine.audit(), compact.engine.audit());
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn whatever_was_done_a_compacted_journal_tells_the_same(worn in any::<bool>(), ops in lives(40..120)) {
        let setup = Setup { seed: 1, stripes: 1, buffered: false, worn };
        let mut machine = Machine::begin(setup, SimDisk::new(1));
        for op in &ops {
            machine.step(op);
        }
        machine.mend();
        machine.world.engine.sync().unwrap();
        let (_before, dir) = machine.save();
        let before = learnt(&dir);
        compare(&dir, machine.world.engine.now(), &machine.tokens());
        machine.world.engine.compact().unwrap();
        let (_after, dir) = machine.save();
        prop_assert_eq!(before.difference(&learnt(&dir)), None);
        machine.end();
    }
}

/// A story in which something of everything is wanted after its segment was compacted.
struct Story {
    world: World,
    dir: PathBuf,
    folder: tempfile::TempDir,
    order: Token,
    refunded: Token,
    cancelled: Token,
}

fn line() -> Waitlist {
    Waitlist { room: 9, accept_within: seconds(30), order: WaitOrder::FirstCome }
}

fn story() -> Story {
    let (folder, dir) = folder();
    let world = open_small(&dir, START);
    let sale = world.sale(books(2).waitlist(line()));
    let order = hold(&sale, 1);
    pay(&sale, &order);
    let late = hold(&sale, 2);
    world.engine.sync().unwrap();
    world.pass(seconds(63));
    let cancelled = hold(&sale, 3);
    assert_eq!(pay(&sale, &late), Confirmation::PaidLateSoldOut);
    for turn in 0..80 {
        world.clock.advance(millis(1));
        sale.extend(&cancelled, millis(turn)).unwrap();
        world.engine.sync().unwrap();
    }
    sale.join(4).unwrap();
    sale.join(5).unwrap();
    sale.cancel(&cancelled).unwrap();
    world.engine.tick(world.engine.now());
    for turn in 0..80 {
        assert_eq!(sale.join(10 + turn % 2).unwrap().ahead, 1);
        let _place = sale.leave(10 + turn % 2).unwrap();
        world.engine.sync().unwrap();
    }
    Story { world, dir, folder, order, refunded: late, cancelled }
}

#[test]
fn what_was_answered_before_a_compaction_stands_after_it_and_after_a_crash() {
    let Story { world, dir, folder: _folder, order, refunded, cancelled } = story();
    let before = (world.engine.audit(), messages(&world.engine), orders(&dir));
    let mut standing = world.engine.outbox().unwrap().unwrap();
    let mut reader = JournalReader::open(&dir).unwrap();
    let source = world.engine.source().unwrap().unwrap();
    let compacted = world.engine.compact().unwrap().unwrap();
    assert!(compacted.segments > 3 && compacted.bytes_after * 4 < compacted.bytes_before, "{compacted:?}");
    let (mut told, mut sold) = (Vec::new(), Vec::new());
    standing.read(100, &mut told).unwrap();
    source.read("books", 0, 100, &mut sold).unwrap();
    assert_eq!((&told, sold.len()), (&before.1, 1), "who has read before goes on");
    assert_eq!(reader.next().unwrap().unwrap(), before.2[0]);
    let (_parent, copied) = copy(&dir);
    for world in [world, open_small(&copied, START.plus(seconds(64)))] {
        let sale = world.engine.sale("books").unwrap();
        assert_eq!((world.engine.audit(), messages(&world.engine)), (before.0.clone(), before.1.clone()));
        assert!(matches!(pay(&sale, &order), Confirmation::AlreadyConfirmed(receipt) if receipt.sequence == 1));
        assert_eq!(pay(&sale, &refunded), Confirmation::PaidLateSoldOut);
        assert!(!matches!(pay(&sale, &cancelled), Confirmation::Confirmed(_)));
        assert!(matches!(sale.waiting(4), Waiting::Offered { .. }));
        assert!(matches!(sale.waiting(5), Waiting::Queued(place) if place.ahead == 0));
        assert!(world.engine.audit().iter().all(Audit::holds));
    }
}

/// Leaves out, or changes, what it says; looks at what it wrote only if it `looks`.
struct Cut<'a> {
    whole: Rewriter<'a>,
    leaves_out: fn(&mut Record) -> bool,
    looks: bool,
}

impl Rewrite for Cut<'_> {
    fn read(&mut self, number: u64, record: Record) -> Result<(), String> {
        self.whole.read(number, record)
    }

    fn read_all(&mut self) {
        self.whole.read_all();
    }

    fn stays(&mut self, record: &Record) -> bool {
        self.whole.stays(record) && !(self.leaves_out)(&mut record.clone())
    }

    fn carried(&self) -> impl Iterator<Item = Record> {
        self.whole.carried().filter_map(|mut record| (!(self.leaves_out)(&mut record)).then_some(record))
    }

    fn verify(&mut self, number: u64, record: Record) -> Result<(), String> {
        if self.looks { self.whole.verify(number, record) } else { Ok(()) }
    }

    fn verified(&mut self) -> Result<(), String> {
        if self.looks { self.whole.verified() } else { Ok(()) }
    }

    fn goes_on(&self) -> bool {
        true
    }
}

/// The engine refuses the broken compaction; without its look at what it wrote, the next opening knows other things.
fn caught(leaves_out: fn(&mut Record) -> bool) {
    let Story { world, dir, folder: _folder, .. } = story();
    let before = learnt(&dir);
    let journal = world.engine.inner.journal.as_ref().unwrap();
    let goes_on = || true;
    let broken = |looks| Cut { whole: Rewriter::new(&goes_on), leaves_out, looks };
    let refused = journal.rewrite(&mut broken(true)).unwrap_err();
    assert!(matches!(refused, CompactError::Differs { .. }), "{refused}");
    assert_eq!(before.difference(&learnt(&dir)), None, "nothing was changed");
    journal.rewrite(&mut broken(false)).unwrap();
    let (_parent, broken) = copy(&dir);
    let disk = Arc::new(FsDisk::at(&broken));
    let clock = Arc::new(ManualClock::starting_at(START));
    // It is refused, or it is found to know other things.
    if Engine::options().clock(clock).open_on(disk, small(START)).is_ok() {
        assert!(before.difference(&learnt(&dir)).is_some(), "nothing was found");
    }
}

#[test]
fn control_a_compaction_that_leaves_out_the_last_life_of_a_slot_is_caught() {
    caught(|record| {
        if let Record::Carried { carried: Carried::Slots { slots, .. }, .. } = record {
            let free = slots.iter_mut().find(|slot| matches!(slot, CarriedSlot::Free { generation: 1.., .. }));
            if let Some(slot) = free {
                *slot = CarriedSlot::Free { generation: 0, end: None };
            }
        }
        false
    });
}

#[test]
fn control_a_compaction_that_leaves_out_an_order_is_caught() {
    caught(|record| matches!(record, Record::Confirmed(_)));
}

#[test]
fn control_a_compaction_that_leaves_out_a_refund_is_caught() {
    caught(|record| {
        if let Record::Carried { carried: Carried::Late(notes), .. } = record {
            notes.retain(|late| !matches!(late.note, CarriedNote::Refused { .. }));
        }
        matches!(record, Record::LateRefused { .. })
    });
}

#[test]
fn control_a_compaction_that_leaves_out_who_waits_is_caught() {
    caught(|record| matches!(record, Record::Carried { carried: Carried::Places(_), .. }));
}

/// Holds that come and go for ever: the journal is as long as what is held and sold, and no longer.
#[test]
fn a_journal_in_which_holds_come_and_go_stays_bounded() {
    let (_parent, dir) = folder();
    let world = open_small(&dir, START);
    let sale = world.sale(books(3));
    let order = hold(&sale, 1_000_000);
    pay(&sale, &order);
    let (mut highest, mut records, mut compactions) = (0, 0, 0);
    for round in 0..600 {
        for token in [hold(&sale, round), hold(&sale, 1_000 + round)] {
            world.engine.sync().unwrap();
            sale.cancel(&token).unwrap();
        }
        world.engine.sync().unwrap();
        if world.engine.journal_stats().unwrap().compaction_due {
            let compacted = world.engine.compact().unwrap().unwrap();
            highest = highest.max(compacted.bytes_after);
            compactions += 1;
        }
        records = world.engine.journal_stats().unwrap().records;
    }
    let on_disk = |dir: &Path| -> u64 {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    assert!(compactions > 5 && records > 2_000, "{compactions} of {records} records");
    assert!(highest < 2_000, "what stays takes {highest} bytes");
    assert!(on_disk(&dir) < 6 * (4_096 + 1_500), "{} bytes", on_disk(&dir));
    // Recovery reads what is there.
    let (mut tail, mut frame, mut read) = (Tail::open(&dir).unwrap(), Vec::new(), 0);
    while tail.next_frame(None, &mut frame).unwrap() {
        read += frame.len();
    }
    assert!(read < 400, "{read} records are read of {records}");
    drop((sale, world));
    let world = open_small(&dir, START);
    let sale = world.engine.sale("books").unwrap();
    assert!(matches!(pay(&sale, &order), Confirmation::AlreadyConfirmed(receipt) if receipt.sequence == 1));
    assert_eq!(world.engine.journal_stats().unwrap().records, records + 1);
}

#[test]
fn a_driver_compacts_by_itself_while_the_sale_goes_on() {
    let (_parent, dir) = folder();
    let world = open_small(&dir, START);
    let sale = world.sale(books(3));
    let driver = world.engine.drive_every(millis(1));
    let mut buyer = 0;
    sellout_testkit::eventually("two compactions", || {
        buyer += 1;
        hold_and_cancel(&world, &sale, buyer);
        world.engine.journal_stats().is_some_and(|stats| stats.compactions > 1)
    });
    drop(driver);
    let stats = world.engine.journal_stats().unwrap();
    assert!(stats.failed_compactions == 0, "{stats:?}");
    drop((sale, world));
    assert!(open_small(&dir, START).engine.audit().iter().all(Audit::holds));
}

fn hold_and_cancel(world: &World, sale: &Sale, buyer: u64) {
    let token = hold(sale, buyer);
    world.engine.sync().unwrap();
    sale.cancel(&token).unwrap();
    world.engine.sync().unwrap();
}
