//! Reading beside another process that sells and compacts.
//!
//! Properties of every reading that begins after an order was acknowledged:
//! 1. it comes to its end, and takes no file that is replaced or taken away meanwhile for damage;
//! 2. it tells every order that was acknowledged before it began, under its number and its id, once and in order;
//! 3. what it tells is the beginning of what the journal tells in the end.
//!
//! Negative controls: a reading that lacks an order, has one twice, or has another one in its place.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use super::{compaction::open_small, *};
use crate::{JournalReader, Salvage, Salvaged};

/// Where the other process sells.
const SHOP: &str = "SELLOUT_TEST_SHOP";
const SELLS: &str = "engine::tests::beside::a_shop_sells_right_while_it_compacts_again_and_again";

fn read(dir: &Path) -> Result<Vec<String>, OpenError> {
    JournalReader::open(dir)?
        .enumerate()
        .map(|(place, order)| {
            let (_, order) = order?;
            assert_eq!(order.sequence, place as u64 + 1);
            Ok(order.order)
        })
        .collect()
}

/// Says what of the properties does not hold.
fn judge(reading: &[String], acknowledged: usize, end: &[String]) -> Result<(), String> {
    match reading.iter().zip(end).position(|(one, other)| one != other) {
        Some(place) => Err(format!("order {place} is another")),
        None if reading.len() < acknowledged => Err(format!("{} of {acknowledged}", reading.len())),
        None if reading.len() > end.len() => Err(format!("{} of {}", reading.len(), end.len())),
        None => Ok(()),
    }
}

/// Sells, and lets ten holds end for each order; compacts whenever a segment is full. Says what it does.
fn sell(dir: &Path, says: &mut dyn Write, goes_on: &mut dyn FnMut(u64) -> bool) {
    let world = open_small(dir, START);
    let sale = world.sale(books(100_000));
    let (mut buyer, mut compactions) = (0, 0);
    while goes_on(compactions) {
        for _ in 0..10 {
            buyer += 1;
            sale.cancel(&hold(&sale, buyer)).unwrap();
        }
        buyer += 1;
        let Confirmation::Confirmed(receipt) = pay(&sale, &hold(&sale, buyer)) else { panic!("it was just held") };
        writeln!(says, "sold {}", receipt.order).unwrap();
        world.engine.sync().unwrap();
        if world.engine.compact().unwrap().is_some_and(|compacted| compacted.segments > 0) {
            compactions += 1;
            writeln!(says, "compacted {compactions}").unwrap();
        }
    }
    assert!(sale.audit().holds());
    world.engine.close().unwrap();
}

#[test]
fn a_shop_sells_right_while_it_compacts_again_and_again() {
    if let Some(dir) = env::var_os(SHOP) {
        // In the other process, until its standard input ends.
        let (told, ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            let _ = told.send(());
        });
        return sell(Path::new(&dir), &mut io::stdout(), &mut |_| ended.try_recv().is_err());
    }
    let (_folder, dir) = folder();
    sell(&dir, &mut io::sink(), &mut |compactions| compactions < 3);
    assert!(read(&dir).unwrap().len() > 3);
}

/// The other process, and what it says.
struct Shop {
    process: Child,
    said: BufReader<ChildStdout>,
    sold: Vec<String>,
    compactions: u64,
}

impl Shop {
    fn open(dir: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap());
        let process = process.args(["--exact", SELLS, "--nocapture"]).env(SHOP, dir);
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said, sold: Vec::new(), compactions: 0 }
    }

    /// Hears one line; false at the end.
    fn hear(&mut self) -> bool {
        let mut line = String::new();
        if self.said.read_line(&mut line).unwrap() == 0 {
            return false;
        }
        if let Some(order) = line.trim().strip_prefix("sold ") {
            self.sold.push(order.to_owned());
        }
        self.compactions += u64::from(line.starts_with("compacted "));
        true
    }
}

#[test]
fn a_reading_beside_a_process_that_sells_and_compacts_is_right_and_a_salvage_says_that_it_is_in_use() {
    let (_folder, dir) = folder();
    let mut shop = Shop::open(&dir);
    let mut readings = Vec::new();
    for compactions in 1..=20 {
        while shop.compactions < compactions {
            assert!(shop.hear(), "it has ended early");
        }
        let acknowledged = shop.sold.len();
        readings.push((read(&dir).unwrap(), acknowledged));
        assert!(matches!(Salvage::open(&dir), Err(OpenError::InUse { .. })));
    }
    drop(shop.process.stdin.take());
    while shop.hear() {}
    assert!(shop.process.wait().unwrap().success());
    let end = read(&dir).unwrap();
    assert_eq!(end, shop.sold, "what was acknowledged is what was sold");
    assert!(Salvage::open(&dir).unwrap().all(|piece| matches!(piece, Ok(Salvaged::Order(_)))));
    for (reading, acknowledged) in &readings {
        assert_eq!(judge(reading, *acknowledged, &end), Ok(()));
        // Negative controls.
        for place in [0, acknowledged / 2, acknowledged - 1] {
            let mut lacks = reading[..*acknowledged].to_vec();
            let order = lacks.remove(place);
            assert!(judge(&lacks, *acknowledged, &end).is_err());
            let mut twice = reading.clone();
            twice.insert(place, order);
            assert!(judge(&twice, *acknowledged, &end).is_err());
            let mut other = reading.clone();
            other[place] = end[(place + 1) % end.len()].clone();
            assert!(judge(&other, *acknowledged, &end).is_err());
        }
    }
}

#[test]
fn a_reading_that_stands_anywhere_goes_on_after_the_journal_was_compacted_and_sold_from() {
    let (_folder, dir) = folder();
    sell(&dir, &mut io::sink(), &mut |compactions| compactions < 2);
    let orders = read(&dir).unwrap().len();
    let mut moved = 0;
    for place in 0..=orders {
        let (_folder, dir) = copy(&dir);
        let mut reader = JournalReader::open(&dir).unwrap();
        let mut told: Vec<_> = reader.by_ref().take(place).map(Result::unwrap).collect();
        let world = open_small(&dir, START);
        let sale = world.engine.sale("books").unwrap();
        for buyer in 0..40 {
            pay(&sale, &hold(&sale, 1_000_000 + buyer));
        }
        moved += world.engine.compact().unwrap().unwrap().segments;
        pay(&sale, &hold(&sale, 2_000_000));
        told.extend(reader.map(Result::unwrap));
        let whole: Vec<_> = JournalReader::open(&dir).unwrap().map(Result::unwrap).collect();
        assert_eq!(told, whole, "from order {place} on");
        assert_eq!(told.len(), orders + 41);
    }
    assert!(moved as usize > 2 * orders, "each time several segments became one");
}
