//! Messages: who gets which, when, and each once, wherever the engine or the sink is killed.
//!
//! Properties of a story that is told to its end, whatever dies in between:
//! 1. every buyer gets every message that the story has for them: none is lost, none comes twice;
//! 2. ids rise: the messages of a buyer come in order, whatever reads them;
//! 3. the same journal gives the same messages under the same ids.
//!
//! Negative controls: a sink that forgets how far it got, and one that says it got further.

use std::{collections::BTreeMap, fs};

use super::*;
use crate::{
    Audience, DeliverError, FileSink, FileSinkError, Identity, Message, MessageId, MessageKind, MessageSink, SeekError,
    journal::{Access, Disk, Fault, Flaw, SimDisk},
};

const LIMIT: usize = 1_000_000;

/// Everything that the journal has to say so far.
fn messages(engine: &Engine) -> Vec<Message> {
    let mut messages = Vec::new();
    engine.outbox().unwrap().unwrap().read(LIMIT, &mut messages).unwrap();
    assert!(messages.windows(2).all(|pair| pair[0].id < pair[1].id), "ids rise");
    messages
}

/// Sale, buyer and kind of each message.
fn gist(messages: &[Message]) -> Vec<(String, u64, &'static str)> {
    let kind = |message: &Message| match message.kind {
        MessageKind::Reminder => "reminder",
        MessageKind::PurchaseLink { .. } => "link",
        MessageKind::Confirmation { .. } => "confirmation",
        MessageKind::ShippingNotice { .. } => "shipping",
    };
    let number = |buyer: Buyer| u64::try_from(buyer.as_u128()).unwrap();
    messages.iter().map(|message| (message.sale.to_string(), number(message.buyer), kind(message))).collect()
}

fn of(sale: &str, said: &[(u64, &'static str)]) -> Vec<(String, u64, &'static str)> {
    said.iter().map(|(buyer, kind)| (sale.to_owned(), *buyer, *kind)).collect()
}

fn register(sale: &Sale, buyers: impl IntoIterator<Item = u64>) {
    sale.register(&buyers.into_iter().map(Buyer::from).collect::<Vec<_>>()).unwrap();
}

fn buy(sale: &Sale, buyer: u64) {
    assert!(matches!(pay(sale, &hold(sale, buyer)), Confirmation::Confirmed(_)));
}

#[test]
fn notices_go_out_at_their_instant_and_to_who_comes_later_then() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let spec = SaleSpec::new("mx3", 9).audience(Audience::Registered).opens_at(START.plus(seconds(60)));
    let sale = world.sale(spec.reminds_at(START.plus(seconds(30))).links_at(START.plus(seconds(40))));
    register(&sale, [3, 1]);
    sale.enroll(2).unwrap();
    assert_eq!(world.pass(millis(29_999)).announced, 0);
    assert!(messages(&world.engine).is_empty());
    assert_eq!(world.pass(millis(1)).announced, 1);
    let reminders = [(3, "reminder"), (1, "reminder"), (2, "reminder")];
    assert_eq!(gist(&messages(&world.engine)), of("mx3", &reminders));
    sale.enroll(5).unwrap();
    assert_eq!(world.pass(millis(9_999)).announced, 0);
    assert_eq!(world.pass(millis(1)).announced, 1);
    let links = [(5, "reminder"), (3, "link"), (1, "link"), (2, "link"), (5, "link")];
    assert_eq!(gist(&messages(&world.engine)), of("mx3", &[&reminders[..], &links].concat()));
    register(&sale, [4, 5]);
    let late = [(4, "reminder"), (4, "link")];
    let all = messages(&world.engine);
    assert_eq!(gist(&all), of("mx3", &[&reminders[..], &links, &late].concat()));
    assert_eq!((all[0].at, all[4].at), (START.plus(seconds(30)), START.plus(seconds(40))));
    for message in &all {
        if let MessageKind::PurchaseLink { invitation } = message.kind {
            assert_eq!(invitation, sale.invitation(message.buyer));
        }
    }
    assert_eq!(world.pass(seconds(100)).announced, 0, "once");
}

#[test]
fn confirmations_and_shipping_notices_follow_the_orders() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(9).cap(3).largest(3));
    let token = sale.reserve(7, 3).unwrap().token();
    let pending = sale.confirm(&token, 1).unwrap();
    assert!(messages(&world.engine).is_empty(), "not durable yet");
    pending.wait().unwrap();
    buy(&sale, 8);
    sale.ship(2).unwrap();
    sale.ship(1).unwrap();
    let all = messages(&world.engine);
    let expected = [(7, "confirmation"), (8, "confirmation"), (8, "shipping"), (7, "shipping")];
    assert_eq!(gist(&all), of("books", &expected));
    assert_eq!(all[0].kind, MessageKind::Confirmation { sequence: 1, order: token, quantity: 3 });
    assert_eq!(all[3].kind, MessageKind::ShippingNotice { sequence: 1 });
    let id = all[0].id;
    assert_eq!(all[0].to_string(), format!("{id}\t{START}\tbooks\t7\tconfirmation\t1\t3\t{token}"));
}

#[test]
fn a_basket_is_confirmed_order_by_order_and_its_buyer_has_bought_in_each_sale() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (adults, children) = (world.sale(SaleSpec::new("adults", 9).cap(4).largest(4)), world.sale(books(9)));
    let spec = SaleSpec::new("mx3", 9).audience(Audience::BuyersOf("books".to_owned()));
    let mx3 = world.sale(spec.links_at(START));
    assert_eq!(world.pass(Duration::ZERO).announced, 1);
    let baskets = world.engine.baskets(BasketRules::new()).unwrap();
    let token = baskets.reserve(7, &[(&adults, 3), (&children, 1)]).unwrap().token();
    baskets.confirm(&token, 1).unwrap().wait().unwrap();
    children.ship(1).unwrap();
    let all = messages(&world.engine);
    let expected = [
        of("adults", &[(7, "confirmation")]),
        of("books", &[(7, "confirmation")]),
        of("mx3", &[(7, "link")]),
        of("books", &[(7, "shipping")]),
    ];
    assert_eq!(gist(&all), expected.concat());
    assert_eq!(all[0].kind, MessageKind::Confirmation { sequence: 1, order: token, quantity: 3 });
    assert_eq!(all[1].kind, MessageKind::Confirmation { sequence: 1, order: token, quantity: 1 });
    assert_eq!([all[0].id.record, all[0].id.record], [all[1].id.record, all[2].id.record]);
    assert!(mx3.reserve(7, 1).is_ok() && mx3.reserve(8, 1).is_err());
}

#[test]
fn the_notices_of_a_sale_for_those_registered_for_another_go_to_them() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let exchange = world.sale(SaleSpec::new("exchange", 9).links_at(START.plus(seconds(1))));
    register(&exchange, [1, 2]);
    // Announced: the list need not be kept any more, and is wanted again by sales that come later.
    assert_eq!(world.pass(seconds(1)).announced, 1);
    register(&exchange, [3]);
    let spec = |name: &str| SaleSpec::new(name, 9).audience(Audience::RegisteredFor("exchange".to_owned()));
    let mx3 = world.sale(spec("mx3").reminds_at(START.plus(seconds(2))));
    register(&exchange, [4]);
    register(&mx3, [9]);
    let last = world.sale(spec("last").links_at(START.plus(seconds(3))));
    assert_eq!(world.pass(seconds(1)).announced, 1);
    assert_eq!(world.pass(seconds(1)).announced, 1);
    register(&exchange, [5]);
    let expected = [
        of("exchange", &[(1, "link"), (2, "link"), (3, "link"), (4, "link")]),
        of("mx3", &[(1, "reminder"), (2, "reminder"), (3, "reminder"), (4, "reminder")]),
        of("last", &[(1, "link"), (2, "link"), (3, "link"), (4, "link")]),
        of("exchange", &[(5, "link")]),
        of("mx3", &[(5, "reminder")]),
        of("last", &[(5, "link")]),
    ];
    assert_eq!(gist(&messages(&world.engine)), expected.concat());
    assert!(last.reserve(5, 1).is_ok() && last.reserve(9, 1).is_err());
}

#[test]
fn the_notices_of_a_sale_for_buyers_of_another_go_to_each_buyer_once() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let coupon = world.sale(SaleSpec::new("coupon", 9).cap(2));
    buy(&coupon, 1);
    buy(&coupon, 1);
    let spec = SaleSpec::new("mx3", 9).audience(Audience::BuyersOf("coupon".to_owned()));
    let _mx3 = world.sale(spec.reminds_at(START.plus(seconds(1))).links_at(START.plus(seconds(2))));
    buy(&coupon, 2);
    assert_eq!(world.pass(seconds(1)).announced, 1);
    buy(&coupon, 3);
    buy(&coupon, 2);
    assert_eq!(world.pass(seconds(1)).announced, 1);
    buy(&coupon, 4);
    buy(&coupon, 4);
    let all = gist(&messages(&world.engine));
    let of_mx3: Vec<_> = all.iter().filter(|(sale, ..)| sale == "mx3").cloned().collect();
    let expected = [[(1, "reminder"), (2, "reminder"), (3, "reminder")], [(1, "link"), (2, "link"), (3, "link")]];
    let expected = [of("mx3", &expected.concat()), of("mx3", &[(4, "reminder"), (4, "link")])].concat();
    assert_eq!(of_mx3, expected);
    assert_eq!(all.len() - of_mx3.len(), 7, "a confirmation for each order");
}

#[test]
fn a_notice_is_announced_once_across_crashes_and_not_for_a_sale_that_is_over() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let due = START.plus(seconds(10));
    for name in ["due", "closed", "over"] {
        let spec = SaleSpec::new(name, 9).reminds_at(due).links_at(due.plus(seconds(10)));
        let sale = world.sale(if name == "over" { spec.closes_at(due) } else { spec });
        register(&sale, [1]);
    }
    world.engine.sale("closed").unwrap().close().unwrap();
    assert_eq!(world.engine.inner.catalogue.read().agenda.len(), 6);
    let (_before, before) = copy(&dir);
    assert_eq!(world.pass(seconds(10)).announced, 1);
    let (_after, after) = copy(&dir);
    for (dir, announced) in [(before, 1), (after, 0)] {
        let world = World::open_at(&dir, due.plus(seconds(5)));
        assert_eq!(world.pass(Duration::ZERO).announced, announced, "late is better than never");
        assert_eq!(gist(&messages(&world.engine)), of("due", &[(1, "reminder")]));
        assert_eq!(world.pass(seconds(5)).announced, 1);
        assert_eq!(gist(&messages(&world.engine)), of("due", &[(1, "reminder"), (1, "link")]));
    }
    // Without notices nothing is planned, and without a journal there is no outbox.
    let world = World::in_memory();
    world.sale(books(1));
    assert!(world.engine.inner.catalogue.read().agenda.is_empty());
    assert!(world.engine.outbox().unwrap().is_none());
}

#[test]
fn from_any_message_on_the_same_ones_follow() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    tell(&world, 0..STEPS.len());
    let all = messages(&world.engine);
    let mut outbox = world.engine.outbox().unwrap().unwrap();
    let mut seek = |after: MessageId| {
        let mut found = Vec::new();
        outbox.seek(after).map(|()| outbox.read(LIMIT, &mut found).unwrap()).map(|()| found)
    };
    assert_eq!(seek(MessageId::START).unwrap(), all);
    for (place, message) in all.iter().enumerate() {
        assert_eq!(seek(message.id).unwrap(), all[place + 1..]);
        let missing = MessageId { part: message.id.part + 1_000, ..message.id };
        assert!(matches!(seek(missing), Err(SeekError::NoSuchMessage { id }) if id == missing));
    }
    for (place, message) in all.iter().enumerate().rev() {
        assert_eq!(seek(message.id).unwrap(), all[place + 1..]);
    }
    for missing in [MessageId { record: 1, part: 0 }, MessageId { record: 10_000, part: 0 }] {
        assert!(matches!(seek(missing), Err(SeekError::NoSuchMessage { .. })));
    }
    // In small pieces, while the journal grows.
    let mut outbox = world.engine.outbox().unwrap().unwrap();
    let mut pieces = Vec::new();
    for limit in (1..=7).cycle().take(all.len()) {
        outbox.read(limit, &mut pieces).unwrap();
    }
    assert_eq!(pieces, all);
    buy(&coupon(&world), 20);
    outbox.read(LIMIT, &mut pieces).unwrap();
    assert_eq!(pieces, messages(&world.engine));
}

/// A story of two stages. Each step may be told twice: whoever was not answered asks again.
const STEPS: [fn(&World); 12] = [
    |world| {
        let coupon = SaleSpec::new("coupon", 50).audience(Audience::Registered);
        let _there = world.engine.create(coupon.reminds_at(at(10)).links_at(at(20)));
    },
    |world| register(&coupon(world), 0..20),
    |world| (20..25).for_each(|buyer| drop(coupon(world).enroll(buyer))),
    |world| until(world, 5),
    |world| until(world, 10),
    |world| (25..30).for_each(|buyer| drop(coupon(world).enroll(buyer))),
    |world| until(world, 20),
    |world| {
        let mx3 = SaleSpec::new("mx3", 9).audience(Audience::BuyersOf("coupon".to_owned()));
        let _there = world.engine.create(mx3.links_at(at(30)));
    },
    |world| (0..12).for_each(|buyer| try_to_buy(&coupon(world), buyer)),
    |world| until(world, 30),
    |world| (12..15).for_each(|buyer| try_to_buy(&coupon(world), buyer)),
    |world| (1..=5).for_each(|sequence| drop(coupon(world).ship(sequence))),
];

fn at(second: u64) -> Timestamp {
    START.plus(seconds(second))
}

fn coupon(world: &World) -> Sale {
    world.engine.sale("coupon").unwrap()
}

fn until(world: &World, second: u64) {
    world.clock.advance_to(at(second));
    world.engine.tick(world.engine.now());
}

fn try_to_buy(sale: &Sale, buyer: u64) {
    if let Ok(hold) = sale.reserve(buyer, 1) {
        pay(sale, &hold.token());
    }
}

fn tell(world: &World, steps: std::ops::Range<usize>) {
    STEPS[steps].iter().for_each(|step| step(world));
}

/// What the story has to say, however often.
fn expected() -> BTreeMap<(String, u64, &'static str), usize> {
    let mut said = BTreeMap::new();
    let mut say = |sale: &str, buyers: std::ops::Range<u64>, kind| {
        said.extend(buyers.map(|buyer| ((sale.to_owned(), buyer, kind), 1)));
    };
    say("coupon", 0..30, "reminder");
    say("coupon", 0..30, "link");
    say("coupon", 0..15, "confirmation");
    say("coupon", 0..5, "shipping");
    say("mx3", 0..15, "link");
    said
}

/// Messages that were lost, that came twice, and that came after a later one.
fn faults(taken: &[Message]) -> [usize; 3] {
    let mut found = BTreeMap::new();
    for said in gist(taken) {
        *found.entry(said).or_insert(0) += 1;
    }
    let expected = expected();
    assert!(found.keys().all(|said| expected.contains_key(said)), "nobody asked for that");
    let lost = expected.keys().filter(|said| !found.contains_key(said)).count();
    let twice = found.values().map(|count| count - 1).sum();
    let unordered = taken.windows(2).filter(|pair| pair[0].id >= pair[1].id).count();
    [lost, twice, unordered]
}

/// Keeps what it is given, and how far it got, as a sink on another machine would.
struct Shelf {
    taken: Vec<Message>,
    /// The last message that it was given, whatever became of it.
    offered: MessageId,
    /// It dies in the middle of this message, counted over all.
    dies_at: Option<usize>,
}

/// How a sink answers for its last message.
type Memory = fn(&Shelf) -> MessageId;

fn honest(shelf: &Shelf) -> MessageId {
    shelf.taken.last().map_or(MessageId::START, |message| message.id)
}

struct Remembered<'a> {
    shelf: &'a mut Shelf,
    memory: Memory,
}

impl MessageSink for Remembered<'_> {
    type Error = &'static str;

    fn last(&mut self, _whose: Identity) -> Result<MessageId, Self::Error> {
        Ok((self.memory)(self.shelf))
    }

    fn take(&mut self, messages: &[Message]) -> Result<(), Self::Error> {
        for message in messages {
            self.shelf.offered = message.id;
            if self.shelf.dies_at.is_some_and(|at| at == self.shelf.taken.len()) {
                self.shelf.dies_at = None;
                return Err("the power went");
            }
            self.shelf.taken.push(message.clone());
        }
        Ok(())
    }
}

fn deliver(world: &World, shelf: &mut Shelf, memory: Memory) {
    let mut outbox = world.engine.outbox().unwrap().unwrap();
    while let Err(error) = outbox.deliver(&mut Remembered { shelf: &mut *shelf, memory }) {
        assert!(matches!(error, DeliverError::Sink("the power went")), "{error}");
    }
}

/// Tells the story with a crash of the engine after step `crash`, whose answer is lost, so that it is told again;
/// delivers after every step to a sink that dies at message `dies_at`.
fn story(crash: usize, dies_at: Option<usize>, memory: Memory) -> Shelf {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let mut shelf = Shelf { taken: Vec::new(), offered: MessageId::START, dies_at };
    for step in 0..crash {
        tell(&world, step..step + 1);
        deliver(&world, &mut shelf, memory);
    }
    tell(&world, crash..crash + 1);
    // Delivered or not when the engine dies: every other time.
    if crash.is_multiple_of(2) {
        deliver(&world, &mut shelf, memory);
    }
    let (_copied, dir) = copy(&dir);
    let world = World::open_at(&dir, world.engine.now());
    for step in crash..STEPS.len() {
        tell(&world, step..step + 1);
        deliver(&world, &mut shelf, memory);
    }
    world.engine.sync().unwrap();
    deliver(&world, &mut shelf, memory);
    assert_eq!(messages(&world.engine).len(), expected().len());
    shelf
}

#[test]
fn each_buyer_gets_each_message_once_wherever_the_engine_crashes() {
    for crash in 0..STEPS.len() {
        assert_eq!(faults(&story(crash, None, honest).taken), [0, 0, 0], "after step {crash}");
    }
}

#[test]
fn each_buyer_gets_each_message_once_wherever_the_sink_dies() {
    for dies_at in (0..expected().len()).step_by(3) {
        assert_eq!(faults(&story(5, Some(dies_at), honest).taken), [0, 0, 0], "at message {dies_at}");
    }
}

#[test]
fn control_a_sink_that_forgets_how_far_it_got_says_things_twice() {
    let [lost, twice, unordered] = faults(&story(5, None, |_| MessageId::START).taken);
    assert!(lost == 0 && twice > 0 && unordered > 0, "{lost} {twice} {unordered}");
    let behind = |shelf: &Shelf| match shelf.taken.as_slice() {
        [.., before, _] => before.id,
        _ => MessageId::START,
    };
    assert!(faults(&story(5, None, behind).taken)[1] > 0);
}

#[test]
fn control_a_sink_that_says_it_has_what_it_lost_loses_it() {
    assert_eq!(faults(&story(5, Some(7), |shelf| shelf.offered).taken), [1, 0, 0]);
}

/// The story's journal, to be copied, and how its file of messages must look in the end.
fn told() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let (parent, dir) = folder();
    let world = World::open(&dir);
    tell(&world, 0..STEPS.len());
    let file = parent.path().join("messages.tsv");
    let mut sink = FileSink::open(&file).unwrap();
    let count = world.engine.outbox().unwrap().unwrap().deliver(&mut sink).unwrap();
    assert_eq!(count, expected().len() as u64);
    let whole = fs::read(&file).unwrap();
    (parent, dir, whole)
}

#[test]
fn a_file_that_is_cut_at_any_byte_is_completed_to_the_same_file() {
    let (_parent, dir, whole) = told();
    let world = World::open_at(&dir, at(60));
    let (all, whose) = (messages(&world.engine), world.engine.outbox().unwrap().unwrap().identity());
    for length in 0..whole.len() {
        let disk = SimDisk::new(7);
        drop(disk.open("m", Access::Create).unwrap());
        disk.with_file("m", |bytes| *bytes = whole[..length].to_vec());
        let mut sink = FileSink::on(&disk, "m").unwrap();
        let last = sink.last(whose).unwrap();
        sink.take(&all[all.partition_point(|message| message.id <= last)..]).unwrap();
        assert!(disk.with_file("m", |bytes| *bytes == whole), "cut at byte {length}");
        // What comes again is passed over.
        sink.take(&all).unwrap();
        assert!(disk.with_file("m", |bytes| *bytes == whole), "cut at byte {length}");
    }
    let lines = String::from_utf8(whole).unwrap();
    assert_eq!(lines.lines().count(), 1 + expected().len());
}

#[test]
fn a_file_whose_durable_lines_changed_or_that_is_anothers_is_refused_untouched() {
    let (parent, _dir, whole) = told();
    let file = parent.path().join("other.tsv");
    let mut changed = whole.clone();
    let far = whole.len() - 1_500;
    changed[far] ^= 1;
    fs::write(&file, &changed).unwrap();
    assert!(matches!(FileSink::open(&file), Err(FileSinkError::Corrupt { offset, .. }) if offset <= far as u64));
    assert_eq!(fs::read(&file).unwrap(), changed);
    for text in ["dear diary", "sellout-messages\t2\t", &"x".repeat(3_000)] {
        fs::write(&file, text).unwrap();
        assert!(matches!(FileSink::open(&file), Err(FileSinkError::NotMessages { .. })), "{text}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    assert!(matches!(FileSink::open(parent.path().join("no/where")), Err(FileSinkError::Io { .. })));
    fs::write(&file, &whole).unwrap();
    let (_strangers, strange) = folder();
    let stranger = World::open(&strange);
    let mut outbox = stranger.engine.outbox().unwrap().unwrap();
    let refused = outbox.deliver(&mut FileSink::open(&file).unwrap()).unwrap_err();
    assert!(matches!(refused, DeliverError::Sink(FileSinkError::OtherEngine { .. })), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn a_journal_that_was_restored_from_an_old_copy_delivers_nothing_to_a_sink_that_knows_more() {
    let (parent, dir, _whole) = told();
    let (_old, old) = copy(&dir);
    let world = World::open_at(&dir, at(60));
    buy(&coupon(&world), 29);
    let mut sink = FileSink::open(parent.path().join("messages.tsv")).unwrap();
    assert_eq!(world.engine.outbox().unwrap().unwrap().deliver(&mut sink).unwrap(), 2);
    let (last, restored) = (sink.last_id(), World::open_at(&old, at(60)));
    let refused = restored.engine.outbox().unwrap().unwrap().deliver(&mut sink).unwrap_err();
    assert!(matches!(refused, DeliverError::Outbox(SeekError::NoSuchMessage { id }) if id == last), "{refused}");
    assert_eq!(sink.last_id(), last);
}

/// Delivers to a file on `disk` until it has all; a crash or an error is followed by another opening. The first
/// refusal, if there is one.
fn on_a_disk(outbox: &mut Outbox, mut disk: SimDisk, seeds: std::ops::Range<u64>) -> Result<SimDisk, FileSinkError> {
    for seed in seeds {
        let delivered = FileSink::on(&disk, "m").and_then(|mut sink| {
            outbox.deliver(&mut sink).map_err(|error| match error {
                DeliverError::Sink(error) => error,
                DeliverError::Outbox(error) => panic!("{error}"),
            })
        });
        match delivered {
            Ok(_) => return Ok(disk),
            Err(FileSinkError::Io { .. }) => disk = disk.after_crash(seed),
            Err(error) => return Err(error),
        }
    }
    panic!("it never ends");
}

/// Lets call number `call` on a new disk end in `fault`; then delivers more, and lets the power go at rest.
fn with_a_fault(outbox: &mut Outbox, call: u64, fault: Fault, flaw: Option<Flaw>) -> Result<Vec<u8>, FileSinkError> {
    let disk = flaw.map_or_else(|| SimDisk::new(call), |flaw| SimDisk::flawed(call, flaw));
    disk.fault_at(call, fault);
    // A failed call without a crash: the same machine opens the file again.
    let first = FileSink::on(&disk, "m").map(|mut sink| drop(outbox.deliver(&mut sink)));
    let disk = if fault == Fault::Crash { disk.after_crash(call) } else { disk };
    drop(first);
    let disk = on_a_disk(outbox, disk, call..call + 3)?;
    let disk = on_a_disk(outbox, disk.after_crash(call + 7), call..call + 3)?;
    Ok(disk.with_file("m", |bytes| bytes.clone()))
}

fn calls_until_delivered(outbox: &mut Outbox) -> u64 {
    let disk = SimDisk::new(0);
    on_a_disk(outbox, disk.clone(), 0..1).unwrap();
    disk.calls()
}

#[test]
fn a_file_is_whole_after_a_crash_or_an_error_at_any_call() {
    let (_parent, dir, whole) = told();
    let world = World::open_at(&dir, at(60));
    let mut outbox = world.engine.outbox().unwrap().unwrap();
    let calls = calls_until_delivered(&mut outbox);
    assert!(calls > 10);
    for call in 1..=calls {
        for fault in [Fault::Crash, Fault::Error(std::io::ErrorKind::StorageFull)] {
            let found = with_a_fault(&mut outbox, call, fault, None).unwrap();
            assert!(found == whole, "{fault:?} at call {call}");
        }
    }
}

#[test]
fn control_a_disk_that_says_it_has_synced_is_found_out() {
    let (_parent, dir, _whole) = told();
    let world = World::open_at(&dir, at(60));
    let mut outbox = world.engine.outbox().unwrap().unwrap();
    let calls = calls_until_delivered(&mut outbox);
    let mut lying = (1..=calls).map(|call| with_a_fault(&mut outbox, call, Fault::Crash, Some(Flaw::LyingSync)));
    assert!(lying.any(|found| matches!(found, Err(FileSinkError::Corrupt { .. }))), "nothing was noticed");
}

#[test]
fn control_lines_that_a_failed_sync_left_clean_are_missed_if_not_written_again() {
    let (_parent, dir, _whole) = told();
    let world = World::open_at(&dir, at(60));
    let mut outbox = world.engine.outbox().unwrap().unwrap();
    let calls = calls_until_delivered(&mut outbox);
    let (fault, flaw) = (Fault::Error(std::io::ErrorKind::StorageFull), Some(Flaw::SkipsEqualWrites));
    let mut clean = (1..=calls).map(|call| with_a_fault(&mut outbox, call, fault, flaw));
    assert!(clean.any(|found| matches!(found, Err(FileSinkError::Corrupt { .. }))), "nothing was noticed");
}
