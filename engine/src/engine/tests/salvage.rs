//! The orders of a damaged journal: whatever was done before, and wherever the damage is.
//!
//! Properties of random lives and random damage:
//! 1. every order in a frame of which no byte has changed is told, once and in its turn; nothing else is;
//! 2. what is told of it is what the whole journal tells; only its id, or its sale's name, may be lost;
//! 3. an order that is not told lies between two that are, or a damage behind the last one is told: what is told before
//!    and behind, and what is lost, are together what was sold;
//! 4. where nothing was changed, nothing is lost.
//!
//! Negative controls: a salvage that skips an order, one that shows it twice, one that makes one up, and one that tells
//! another id.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Range,
};

use proptest::prelude::*;

use super::{
    compaction::open_small,
    machine::{Machine, Setup, lives},
    *,
};
use crate::{Damage, JournalReader, Salvage, Salvaged, SalvagedOrder, journal::SimDisk};

/// Where something stands: the file's name, and which bytes.
type Part = (String, Range<u64>);

/// A journal at rest, and what was sold.
struct Written {
    dir: PathBuf,
    orders: Vec<(SalvagedOrder, Part)>,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn told(dir: &Path) -> Vec<Salvaged> {
    Salvage::open(dir).unwrap().map(Result::unwrap).collect()
}

impl Written {
    fn at(dir: &Path) -> Self {
        let mut orders = Vec::new();
        for (piece, sold) in told(dir).into_iter().zip(JournalReader::open(dir).unwrap()) {
            let Salvaged::Order(order) = piece else { panic!("{piece:?} in a whole journal") };
            assert_eq!((order.sale.clone(), order.order.clone()), sold.unwrap());
            let bytes = fs::read(&order.file).unwrap();
            let length = usize::try_from(order.offset).unwrap() + 4;
            let payload = u32::from_le_bytes(*bytes[length..].first_chunk().unwrap());
            let end = order.offset + (32 + u64::from(payload)).next_multiple_of(8);
            let part = (name(&order.file), order.offset..end);
            orders.push((order, part));
        }
        assert_eq!(orders.len(), JournalReader::open(dir).unwrap().count());
        Self { dir: dir.to_owned(), orders }
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.dir).unwrap().map(|entry| name(&entry.unwrap().path()));
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".journal")).collect();
        names.sort();
        names
    }

    /// Says what of the properties does not hold, if `changed` are the bytes that are not as they were.
    fn judge(&self, told: &[Salvaged], changed: &[Part]) -> Result<(), String> {
        let is_whole = |(file, bytes): &Part| {
            !changed.iter().any(|(other, part)| other == file && part.start < bytes.end && bytes.start < part.end)
        };
        let has_salt = self.files().iter().any(|file| is_whole(&(file.clone(), 0..4_096)));
        let whole: Vec<_> = self.orders.iter().filter(|(_, part)| is_whole(part)).map(|(order, _)| order).collect();
        let orders: Vec<_> = told.iter().filter_map(order_in).collect();
        if orders.len() != whole.len() && (has_salt || !orders.is_empty()) {
            return Err(format!("{} orders are told where {} are whole", orders.len(), whole.len()));
        }
        let is_lossless = told.iter().all(|piece| matches!(piece, Salvaged::Order(_)) || lost_in(piece) == Some(0));
        for (order, original) in orders.iter().zip(&whole) {
            let mut known = (*order).clone();
            if !is_lossless && order.order.order.is_empty() {
                known.order.order.clone_from(&original.order.order);
            }
            if !is_lossless && order.sale.starts_with('#') {
                known.sale.clone_from(&original.sale);
            }
            if known != **original {
                return Err(format!("{order:?} is told where {original:?} is whole"));
            }
        }
        // Where each order stands in what is told: the first that is whole is the first that is told, and so on.
        let mut places = (0..told.len()).filter(|at| order_in(&told[*at]).is_some());
        let last_damage = told.iter().rposition(|piece| order_in(piece).is_none());
        let mut told_last = HashMap::new();
        for (order, _) in self.orders.iter().filter(|(_, part)| is_whole(part)) {
            told_last.insert(&order.sale, (order.order.sequence, places.next()));
        }
        for (order, _) in self.orders.iter().filter(|(_, part)| !is_whole(part)) {
            let is_between = match told_last.get(&order.sale) {
                Some((sequence, _)) if *sequence > order.order.sequence => true,
                Some((_, place)) => last_damage > *place,
                None => last_damage.is_some(),
            };
            if !is_between && !self.looks_torn(changed) {
                return Err(format!("{order:?} is not told, nor that it may be lost"));
            }
        }
        let lost: Option<u64> = told.iter().filter(|piece| order_in(piece).is_none()).map(lost_in).sum();
        if lost.is_some_and(|lost| self.orders.len() as u64 > orders.len() as u64 + lost * 3)
            && !self.looks_torn(changed)
        {
            // A basket's record has at most three orders.
            return Err(format!(
                "{} orders are told of {}, and {lost:?} records lost",
                orders.len(),
                self.orders.len()
            ));
        }
        Ok(())
    }

    /// Whether the end of the last file was changed, which may be as a crash leaves it, or gone.
    fn looks_torn(&self, changed: &[Part]) -> bool {
        let files = self.files();
        let last = files.last().unwrap();
        changed.iter().any(|(file, part)| file >= last && part.end - part.start > 1)
    }
}

fn order_in(piece: &Salvaged) -> Option<&SalvagedOrder> {
    match piece {
        Salvaged::Order(order) => Some(order),
        Salvaged::Damage(_) => None,
    }
}

fn lost_in(piece: &Salvaged) -> Option<u64> {
    match piece {
        Salvaged::Damage(Damage { records, .. }) => *records,
        Salvaged::Order(_) => Some(0),
    }
}

/// What happens to a file.
#[derive(Debug, Clone)]
enum Harm {
    Flip { bits: u8 },
    Zeros,
    Garbage { length: u16, seed: u64 },
    Cut,
    Gone,
}

fn harms() -> impl Strategy<Value = (usize, u64, Harm)> {
    let harm = prop_oneof![
        6 => (1..=u8::MAX).prop_map(|bits| Harm::Flip { bits }),
        3 => Just(Harm::Zeros),
        3 => (1_u16..3_000, any::<u64>()).prop_map(|(length, seed)| Harm::Garbage { length, seed }),
        1 => Just(Harm::Cut),
        1 => Just(Harm::Gone),
    ];
    (any::<usize>(), any::<u64>(), harm)
}

/// Does harm to a copy of the journal; says what was changed.
fn harm(dir: &Path, files: &[String], (which, at, harm): &(usize, u64, Harm)) -> Option<Part> {
    let file = &files[which % files.len()];
    let path = dir.join(file);
    let Ok(mut bytes) = fs::read(&path) else { return None };
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default() as u64 + 1;
    let at = at % used;
    let place = usize::try_from(at).unwrap();
    let changed = match harm {
        Harm::Flip { bits } => {
            bytes[place] ^= bits;
            at..at + 1
        }
        Harm::Zeros => {
            let start = at / 512 * 512;
            let end = (start + 512).min(bytes.len() as u64);
            bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(0);
            start..end
        }
        Harm::Garbage { length, seed } => {
            let end = (place + usize::from(*length)).min(bytes.len());
            for (index, byte) in bytes[place..end].iter_mut().enumerate() {
                *byte = seed.wrapping_mul(2 * index as u64 + 1).to_le_bytes()[7];
            }
            at..end as u64
        }
        Harm::Cut => {
            bytes.truncate(place);
            at..u64::MAX
        }
        Harm::Gone => {
            fs::remove_file(&path).unwrap();
            return Some((file.clone(), 0..u64::MAX));
        }
    };
    fs::write(&path, &bytes).unwrap();
    Some((file.clone(), changed))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_damaged_every_order_that_is_whole_is_told_and_no_other(
        worn in any::<bool>(),
        ops in lives(40..100),
        damages in proptest::collection::vec(proptest::collection::vec(harms(), 1..4), 30),
    ) {
        let setup = Setup { seed: 1, stripes: 1, buffered: false, worn };
        let mut machine = Machine::begin(setup, SimDisk::new(1));
        for op in &ops {
            machine.step(op);
        }
        machine.mend();
        machine.world.engine.sync().unwrap();
        let (_folder, dir) = machine.save();
        let written = Written::at(&dir);
        for harms in &damages {
            let (_folder, dir) = copy(&dir);
            let changed: Vec<_> = harms.iter().filter_map(|one| harm(&dir, &written.files(), one)).collect();
            let told = elsewhere(told(&dir), &written.dir);
            prop_assert_eq!(written.judge(&told, &changed), Ok(()), "{:?}", changed);
        }
    }
}

/// The same, as if it was told of the folder `dir`.
fn elsewhere(told: Vec<Salvaged>, dir: &Path) -> Vec<Salvaged> {
    let moved = |piece| match piece {
        Salvaged::Order(order) => Salvaged::Order(SalvagedOrder { file: dir.join(name(&order.file)), ..order }),
        piece @ Salvaged::Damage(_) => piece,
    };
    told.into_iter().map(moved).collect()
}

/// Two sales with orders in several openings, segments and runs of slots, at rest.
fn shop() -> (tempfile::TempDir, Written) {
    let (folder, dir) = folder();
    for opening in 0..4 {
        let world = open_small(&dir, START);
        let sale = match world.engine.sale("books") {
            Ok(sale) => sale,
            Err(_) => world.sale(books(10)),
        };
        let mugs = match opening {
            2 => Some(world.sale(SaleSpec::new("mugs", 50))),
            3 => Some(world.engine.sale("mugs").unwrap()),
            _ => None,
        };
        for buyer in 0..10 {
            pay(&sale, &hold(&sale, opening * 10 + buyer));
            if let Some(mugs) = &mugs {
                pay(mugs, &hold(mugs, opening * 10 + buyer));
            }
        }
        sale.add_stock(10).unwrap();
        world.engine.close().unwrap();
    }
    let written = Written::at(&dir);
    assert!(written.files().len() > 3 && written.orders.len() == 60, "{:?}", written.files());
    (folder, written)
}

#[test]
fn an_order_whose_opening_sale_or_slots_are_lost_is_told_without_what_rests_on_them() {
    let (_folder, written) = shop();
    let (mut nameless, mut without_id, mut with_id) = (0, 0, 0);
    for file in &written.files() {
        let (_copy, dir) = copy(&written.dir);
        fs::remove_file(dir.join(file)).unwrap();
        let told = elsewhere(told(&dir), &written.dir);
        assert_eq!(written.judge(&told, &[(file.clone(), 0..u64::MAX)]), Ok(()), "{file}");
        for order in told.iter().filter_map(order_in) {
            nameless += usize::from(order.sale.starts_with('#'));
            *(if order.order.order.is_empty() { &mut without_id } else { &mut with_id }) += 1;
        }
    }
    assert!(nameless > 0 && without_id > 0 && with_id > 0, "{nameless} {without_id} {with_id}");
}

#[test]
fn an_order_has_its_id_although_an_opening_before_it_is_lost() {
    let (_folder, written) = shop();
    // The damage is where no sale was created and no slots were added: in the third opening's own frame, which is the
    // first behind the last order of the second.
    let (_, (file, bytes)) = &written.orders[19];
    let (_copy, dir) = copy(&written.dir);
    let path = dir.join(file);
    let mut contents = fs::read(&path).unwrap();
    for from in (bytes.end..contents.len() as u64).step_by(8) {
        let from = usize::try_from(from).unwrap();
        if contents[from..].starts_with(&[0xf5, 0x5e, 0x11, 7]) && contents[from + 36] == 1 {
            // A record of the first kind: an opening.
            contents[from + 40] ^= 1;
            fs::write(&path, &contents).unwrap();
            let told = elsewhere(told(&dir), &written.dir);
            let at = from as u64;
            assert_eq!(written.judge(&told, &[(file.clone(), at..at + 48)]), Ok(()));
            // The last opening's orders are of keys that were told; those of the opening that is lost have no ids.
            let id_of = |number: usize| {
                let original = &written.orders[number].0;
                let it = |order: &&SalvagedOrder| order.offset == original.offset && order.file == original.file;
                told.iter().filter_map(order_in).find(it).unwrap().order.order.clone()
            };
            assert_eq!((id_of(59), id_of(19)), [59, 19].map(|at| written.orders[at].0.order.order.clone()).into());
            assert_eq!(id_of(20), "");
            return;
        }
    }
    panic!("no opening in {file} behind byte {}", bytes.end);
}

#[test]
fn a_damaged_journal_that_somebody_has_open_is_not_salvaged_and_not_opened_meanwhile() {
    let (_folder, dir) = folder();
    let world = open_small(&dir, START);
    assert!(matches!(Salvage::open(&dir), Err(OpenError::InUse { .. })));
    drop(world);
    let salvage = Salvage::open(&dir).unwrap();
    let again = Engine::open(&dir);
    assert!(matches!(again, Err(OpenError::InUse { .. })), "{again:?}");
    drop(salvage);
    Engine::open(&dir).unwrap().close().unwrap();
}

#[test]
fn without_the_secret_orders_are_told_without_their_ids() {
    let (_folder, written) = shop();
    for rotten in [None, Some(b"SELLOUTK and nothing else".to_vec())] {
        let (_copy, dir) = copy(&written.dir);
        match rotten {
            None => fs::remove_file(dir.join("secret")).unwrap(),
            Some(bytes) => fs::write(dir.join("secret"), bytes).unwrap(),
        }
        let told = told(&dir);
        let Salvaged::Damage(damage) = &told[0] else { panic!("{:?}", told[0]) };
        assert_eq!((name(&damage.places[0].file).as_str(), damage.records), ("secret", Some(0)));
        let orders: Vec<_> = told.iter().filter_map(order_in).collect();
        assert_eq!(orders.len(), written.orders.len());
        assert!(orders.iter().all(|order| order.order.order.is_empty() && !order.sale.starts_with('#')));
    }
}

#[test]
fn a_rewritten_segment_is_salvaged_as_others_are() {
    let (_folder, written) = shop();
    let (_copy, dir) = copy(&written.dir);
    let world = open_small(&dir, START);
    assert!(world.engine.compact().unwrap().unwrap().segments > 1);
    world.engine.close().unwrap();
    let written = Written::at(&dir);
    assert_eq!(written.orders.len(), 60);
    let mut places = BTreeMap::new();
    for file in written.files() {
        let used = fs::read(dir.join(&file)).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64;
        for at in (0..used).step_by(101) {
            let (_copy, dir) = copy(&dir);
            let changed = harm(&dir, std::slice::from_ref(&file), &(0, at, Harm::Flip { bits: 4 })).unwrap();
            let told = elsewhere(told(&dir), &written.dir);
            *places.entry(file.clone()).or_insert(0) += told.iter().filter(|piece| order_in(piece).is_none()).count();
            assert_eq!(written.judge(&told, std::slice::from_ref(&changed)), Ok(()), "{changed:?}");
        }
    }
    assert!(places.len() == 2 && places.values().all(|&count| count > 0), "{places:?}");
}

#[test]
fn control_a_salvage_that_skips_repeats_invents_or_renames_an_order_is_caught() {
    let (_folder, written) = shop();
    let (_copy, dir) = copy(&written.dir);
    let files = written.files();
    let changed = [harm(&dir, &files[1..2], &(0, 4_300, Harm::Flip { bits: 4 })).unwrap()];
    let honest = elsewhere(told(&dir), &written.dir);
    assert_eq!(written.judge(&honest, &changed), Ok(()));
    for at in 0..honest.len() {
        let mut told = honest.clone();
        let piece = told.remove(at);
        assert!(written.judge(&told, &changed).is_err(), "{piece:?} is skipped");
        let Salvaged::Order(order) = &piece else { continue };
        let mut told = honest.clone();
        told.insert(at, piece.clone());
        assert!(written.judge(&told, &changed).is_err(), "{order:?} is there twice");
        for (quantity, id) in [(2, order.order.order.as_str()), (1, "TC671SDPWQW884QGNC3WFMF0Q4")] {
            let mut other = order.clone();
            (other.order.quantity, other.order.order) = (quantity, id.to_owned());
            let mut told = honest.clone();
            told[at] = Salvaged::Order(other);
            assert!(written.judge(&told, &changed).is_err(), "{order:?} is told otherwise");
        }
    }
}
