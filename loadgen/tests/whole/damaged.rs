//! `loadgen audit` of damaged journals: what it tells adds up to what was sold, which the test knows.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    ops::Range,
    path::Path,
    process::{Output, Stdio},
};

use sellout::{Confirmation, Engine, JournalReader, SaleSpec, Salvage, Salvaged, SoldRecord, Token, Units};
use sellout_testkit::RedisServer;
use serde_json::Value;

use super::{Place, code, errors};

/// An order: where its frame stands, its sale, and what it is.
type Order = (Range<usize>, String, SoldRecord);

/// Sells in two sales, in two openings, and says what was sold.
fn sold(journal: &Path) -> Vec<Order> {
    for opening in 0..2 {
        let engine = Engine::open(journal).unwrap();
        let sale = |name| engine.sale(name).or_else(|_| engine.create(SaleSpec::new(name, 100).cap(100).largest(3)));
        let (mugs, cups) = (sale("mug").unwrap(), sale("cup").unwrap());
        for buyer in 0..30_u64 {
            let sale = if buyer % 3 == 0 { &cups } else { &mugs };
            let quantity = 1 + u32::try_from(buyer % 2).unwrap();
            sale.reserve(opening * 30 + buyer, quantity).unwrap().confirm(buyer).unwrap().wait().unwrap();
        }
        engine.close().unwrap();
    }
    let bytes = fs::read(journal.join("00000001.journal")).unwrap();
    let orders = Salvage::open(journal).unwrap().zip(JournalReader::open(journal).unwrap());
    let placed = orders.map(|(piece, sold)| {
        let Salvaged::Order(order) = piece.unwrap() else { panic!("damage in a whole journal") };
        assert_eq!((&order.sale, &order.order), (&sold.as_ref().unwrap().0, &sold.as_ref().unwrap().1));
        let start = usize::try_from(order.offset).unwrap();
        let payload = u32::from_le_bytes(*bytes[start + 4..].first_chunk().unwrap());
        let end = (start + 32 + usize::try_from(payload).unwrap()).next_multiple_of(8);
        (start..end, order.sale, order.order)
    });
    let orders: Vec<_> = placed.collect();
    assert_eq!(orders.len(), 60);
    orders
}

/// What an audit says of one sale, in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    /// Orders and units.
    before: (u64, u64),
    behind: (u64, u64),
    lost: Vec<(u64, u64)>,
    /// From which number on more may be lost, and how many at most.
    more: Option<(u64, Option<u64>)>,
}

fn numbers(text: &str) -> Vec<u64> {
    let digits = text.replace(',', "");
    digits.split(|it: char| !it.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Reads what an audit says of every sale.
fn said(text: &str) -> Result<BTreeMap<String, Said>, String> {
    let mut sales: BTreeMap<String, Said> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some((sale, sums)) = line.split_once(": ").filter(|(_, rest)| rest.contains("before the damage")) {
            sale.trim().clone_into(&mut name);
            let [units, orders, units_behind, orders_behind] = numbers(sums)[..] else { return Err(line.to_owned()) };
            let said = sales.entry(name.clone()).or_default();
            (said.before, said.behind) = ((orders, units), (orders_behind, units_behind));
        } else if line.contains("lost for sure") {
            let numbers = numbers(line.split_once(": ").unwrap().0);
            let said = sales.get_mut(&name).ok_or(line)?;
            said.lost.push(match numbers[..] {
                [1, one] => (one, one),
                [count, from, to] if to - from + 1 == count => (from, to),
                _ => return Err(line.to_owned()),
            });
        } else if line.contains("may be lost, ") {
            let numbers = numbers(line.split_once(": ").unwrap().0);
            sales.get_mut(&name).ok_or(line)?.more = Some((numbers[0], numbers.get(1).copied()));
        }
    }
    Ok(sales)
}

/// The places that an audit names in a file: where each begins and ends.
fn places(text: &str, file: &str) -> Vec<Range<usize>> {
    let named = text.lines().filter_map(|line| line.strip_prefix("     ")?.split_once(&format!("{file} at byte ")));
    let number = |text: &str| usize::try_from(numbers(text)[0]).unwrap();
    let place = |rest: &str| {
        let (place, _why) = rest.split_once(": ").unwrap();
        match place.split_once(" for ") {
            Some((start, bytes)) => number(start)..number(start) + number(bytes),
            None => number(place)..usize::MAX,
        }
    };
    named.map(|(_, rest)| place(rest)).collect()
}

/// Says whether what was said and exported is what is known: `changed` are the bytes that are not as they were.
fn judge(orders: &[Order], changed: &[Range<usize>], text: &str, exported: &[Value]) -> Result<(), String> {
    let is_whole = |frame: &Range<usize>| !changed.iter().any(|part| part.start < frame.end && frame.start < part.end);
    let first = changed.iter().map(|part| part.start).min().unwrap_or(usize::MAX);
    let whole: Vec<_> = orders.iter().filter(|(frame, ..)| is_whole(frame)).collect();
    let sales = said(text)?;
    if sales.len() != 2 && !changed.is_empty() {
        return Err(format!("of two sales only {sales:?} are told of"));
    }
    for (sale, told) in &sales {
        let of = |order: &&&Order| order.1 == *sale;
        let sum = |orders: Vec<&&Order>| {
            (orders.len() as u64, orders.iter().map(|(_, _, order)| u64::from(order.quantity)).sum::<u64>())
        };
        let before = sum(whole.iter().filter(of).filter(|(frame, ..)| frame.end <= first).collect());
        let behind = sum(whole.iter().filter(of).filter(|(frame, ..)| frame.end > first).collect());
        let last = whole.iter().filter(of).map(|(_, _, order)| order.sequence).max().unwrap_or_default();
        let sure: u64 = told.lost.iter().map(|(from, to)| to - from + 1).sum();
        let sold = orders.iter().filter(|order| order.1 == *sale).count() as u64;
        let at_the_end = sold - last;
        if (told.before, told.behind) != (before, behind) || before.0 + behind.0 + sure + at_the_end != sold {
            return Err(format!("{sale}: {told:?}, where {before:?} and {behind:?} are whole of {sold}"));
        }
        let is_lost = |number| told.lost.iter().any(|(from, to)| (*from..=*to).contains(&number));
        let wrong = orders.iter().filter(|order| order.1 == *sale && order.2.sequence <= last);
        if let Some((_, _, order)) = wrong.clone().find(|(frame, _, order)| is_lost(order.sequence) == is_whole(frame))
        {
            return Err(format!("{sale}: {told:?}, and order {}", order.sequence));
        }
        let more_may_be =
            told.more.is_some_and(|(from, most)| from == last + 1 && most.is_none_or(|most| at_the_end <= most));
        if at_the_end > 0 && !more_may_be {
            return Err(format!("{sale}: {told:?}, and the last {at_the_end} are lost"));
        }
    }
    let named = places(text, "00000001.journal");
    if let Some(part) = changed.iter().find(|part| !named.iter().any(|place| place.contains(&part.start))) {
        return Err(format!("bytes {part:?} are in none of {named:?}"));
    }
    let lines: Vec<_> = exported.iter().map(|line| (line["sale"].as_str(), line["order"].as_str())).collect();
    let mut known: Vec<_> =
        whole.iter().map(|(_, sale, order)| (Some(sale.as_str()), Some(order.order.as_str()))).collect();
    known.sort_by_key(|(sale, _)| *sale);
    if lines != known {
        return Err(format!("{} orders are exported where {} are whole", lines.len(), known.len()));
    }
    Ok(())
}

fn said_by(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &errors(output)
}

fn exported(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Audits a copy in which the bytes of `parts` are changed.
fn audit(place: &Place, change: impl FnOnce(&mut Vec<u8>), more: &[&str]) -> (i32, String, Vec<Value>) {
    let [copy, lines] = ["copy", "orders.jsonl"].map(|name| place.path(name));
    fs::create_dir(&copy).unwrap();
    for name in ["secret", "00000001.journal"] {
        fs::copy(place.path("j").join(name), copy.join(name)).unwrap();
    }
    let file = copy.join("00000001.journal");
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::write(&file, &bytes).unwrap();
    let arguments = [&["audit", "--journal", "copy", "--export", "orders.jsonl"], more].concat();
    let output = place.command(&arguments).output().unwrap();
    assert!(fs::read(&file).unwrap() == bytes && fs::read_dir(&copy).unwrap().count() == 2, "an audit changes nothing");
    let told = (code(&output), said_by(&output), exported(&lines));
    fs::remove_dir_all(copy).unwrap();
    fs::remove_file(lines).unwrap();
    told
}

/// Ranges of bytes that are hit, each by a name.
fn harms(orders: &[Order]) -> Vec<(&'static str, Vec<Range<usize>>)> {
    let frame = |number: usize| orders[number].0.clone();
    let sector = |at: usize| at / 512 * 512..at / 512 * 512 + 512;
    let byte = |at: usize| at..at + 1;
    vec![
        ("a byte of an order", vec![byte(frame(20).start + 40)]),
        ("a frame's magic", vec![byte(frame(7).start)]),
        ("a frame's length", vec![byte(frame(33).start + 5)]),
        ("a sector", vec![sector(frame(25).start)]),
        ("the first order of both sales", vec![byte(frame(0).start + 33), byte(frame(1).start + 33)]),
        ("two that are far apart", vec![byte(frame(10).start + 50), sector(frame(45).start)]),
        (
            "three, the last at the end",
            vec![byte(frame(3).end - 1), byte(frame(30).start + 8), byte(frame(59).start + 30)],
        ),
        ("the header", vec![byte(2_000)]),
        ("the header's salt, and an order", vec![byte(27), byte(frame(40).start + 36)]),
        ("the header's sector, and an order", vec![sector(0), byte(frame(41).start + 36)]),
    ]
}

#[test]
fn what_an_audit_tells_of_a_damaged_journal_adds_up_to_what_was_sold() {
    let place = Place::new();
    let orders = sold(&place.path("j"));
    let (exit, told, lines) = audit(&place, |_| {}, &[]);
    assert!(exit == 0 && told.contains("60 orders are written"), "{told}");
    assert_eq!((judge(&orders, &[], &told, &lines), lines[0]["from"].as_str()), (Ok(()), Some("journal")));
    for (what, parts) in harms(&orders) {
        let change = |bytes: &mut Vec<u8>| {
            for part in &parts {
                match part.len() {
                    1 => bytes[part.start] ^= 0x10,
                    _ => bytes[part.clone()].fill(0),
                }
            }
        };
        let (exit, told, lines) = audit(&place, change, &[]);
        assert!(exit == 99 && told.contains("BROKEN journal_reads: "), "{what}: {told}");
        assert_eq!(judge(&orders, &parts, &told, &lines), Ok(()), "{what}: {told}");
        // Negative controls: an audit that skips an order that can be read, or one that says nothing of a loss.
        for skipped in [0, lines.len() / 2, lines.len() - 1] {
            let mut lines = lines.clone();
            lines.remove(skipped);
            assert!(judge(&orders, &parts, &told, &lines).is_err(), "{what}: {skipped}");
        }
        for line in told.lines().filter(|line| line.contains("for sure") || line.contains("before the damage")) {
            let digit = line.find(|it: char| it.is_ascii_digit()).unwrap();
            let other = if line[digit..].starts_with('9') { "8" } else { "9" };
            let other = line.replacen(|it: char| it.is_ascii_digit(), other, 1);
            assert!(judge(&orders, &parts, &told.replacen(line, &other, 1), &lines).is_err(), "{what}: {line}");
            assert!(judge(&orders, &parts, &told.replacen(line, "", 1), &lines).is_err(), "{what}: {line}");
        }
        for line in told.lines().filter(|line| line.contains("00000001.journal at byte") && line.starts_with("     ")) {
            assert!(judge(&orders, &parts, &told.replacen(line, "", 1), &lines).is_err(), "{what}: {line}");
        }
    }
}

/// Fills a segment: the next order begins another.
fn fill(engine: &Engine) {
    let labels: Vec<Box<str>> = (0..1_050_000).map(|label| format!("{label:064}").into()).collect();
    let stock = u32::try_from(labels.len()).unwrap();
    engine.create(SaleSpec::new("seats", stock).units(Units::Listed(labels.into()))).unwrap();
}

#[test]
fn a_file_of_several_that_is_missing_or_cut_is_named_with_the_orders_that_are_lost() {
    let place = Place::new();
    let engine = Engine::open(place.path("j")).unwrap();
    let mugs = engine.create(SaleSpec::new("mug", 100)).unwrap();
    let sell = |buyer: u64| {
        mugs.reserve(buyer, 1).unwrap().confirm(buyer).unwrap().wait().unwrap();
    };
    (0..10).for_each(sell);
    fill(&engine);
    (10..16).for_each(sell);
    engine.close().unwrap();
    drop(mugs);
    let files = ["00000001.journal", "00000002.journal", "00000003.journal"];
    let order = |piece: Result<Salvaged, _>| match piece.unwrap() {
        Salvaged::Order(order) => order,
        other => panic!("{other:?}"),
    };
    let orders: Vec<_> = Salvage::open(place.path("j")).unwrap().map(order).collect();
    let in_file = |file: &str| orders.iter().filter(|order| order.file.ends_with(file)).count();
    assert_eq!(files.map(in_file), [10, 0, 6]);
    let half = orders[5].offset + 9;
    // What is lost: a file; its end; and what is told of it.
    for (file, cut, sums, lost) in [
        (files[1], None, "mug: 10 units in 10 orders stand before the damage, 6 in 6 behind it", None),
        (
            files[0],
            Some(half),
            "mug: 5 units in 5 orders stand before the damage, 6 in 6 behind it",
            Some("5 orders are lost for sure, numbers 6 to 10: damage 1"),
        ),
        (
            files[0],
            None,
            "#0: 0 units in 0 orders stand before the damage, 6 in 6 behind it",
            Some("10 orders are lost for sure, numbers 1 to 10: damage 1"),
        ),
    ] {
        let path = place.path("j").join(file);
        let kept = place.path("kept");
        fs::rename(&path, &kept).unwrap();
        if let Some(length) = cut {
            fs::write(&path, &fs::read(&kept).unwrap()[..usize::try_from(length).unwrap()]).unwrap();
        }
        let output = place.command(&["audit", "--journal", "j"]).output().unwrap();
        let told = said_by(&output);
        assert!(code(&output) == 99 && told.contains(file) && told.contains(sums), "{told}");
        assert_eq!(told.lines().find(|line| line.contains("for sure")).map(str::trim), lost, "{told}");
        fs::rename(&kept, &path).unwrap();
    }
    assert_eq!(code(&place.command(&["audit", "--journal", "j"]).output().unwrap()), 0);
}

#[test]
fn the_end_of_the_last_file_that_is_cut_off_is_found_by_what_was_acknowledged() {
    let place = Place::new();
    let orders = sold(&place.path("j"));
    let id = |order: &SoldRecord| format!("{:032x}", order.order.parse::<Token>().unwrap().as_u128());
    let acks = orders.iter().map(|(_, sale, order)| format!("{sale},{},{}\n", id(order), order.payment));
    let acks: String = acks.collect();
    fs::write(place.path("acks"), acks).unwrap();
    assert_eq!(code(&place.audit()), 0);
    let cut = orders[50].0.start as u64 + 20;
    let file = fs::File::options().write(true).open(place.path("j/00000001.journal")).unwrap();
    file.set_len(cut).unwrap();
    let output = place.audit();
    let told = said_by(&output);
    assert!(code(&output) == 99 && told.contains("BROKEN acknowledged_kept: 10 of 60"), "{told}");
}

#[test]
fn orders_that_a_damaged_journal_has_lost_are_read_back_from_redis() {
    let (place, server) = (Place::new(), RedisServer::start());
    let url = server.url();
    let orders = sold(&place.path("j"));
    let repair = place.command(&["audit", "--journal", "j", "--redis", &url, "--repair"]).output().unwrap();
    assert_eq!(code(&repair), 0, "{}", said_by(&repair));
    let lost = [orders[10].0.clone(), orders[30].0.clone(), orders[59].0.clone()];
    let change = |bytes: &mut Vec<u8>| lost.iter().for_each(|frame| bytes[frame.start + 36] ^= 1);
    let (exit, told, lines) = audit(&place, change, &["--redis", &url, "--repair"]);
    assert!(exit == 99 && !told.contains("nothing is delivered from a damaged journal"), "{told}");
    assert!(told.contains("of the orders that are lost, Redis has") && !told.contains("BROKEN ledger"), "{told}");
    let mut known: Vec<_> =
        orders.iter().map(|(_, sale, order)| (sale.clone(), order.sequence, order.order.clone())).collect();
    known.sort();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let found: Vec<_> = lines
        .iter()
        .map(|line| (text(line, "sale"), line["sequence"].as_u64().unwrap(), text(line, "order")))
        .collect();
    assert_eq!(found, known);
    assert_eq!(lines.iter().filter(|line| line["from"] == "redis").count(), 3);

    // Also if the journal doesn't tell any more whose it is: the orders that both have do.
    let nameless = |bytes: &mut Vec<u8>| {
        change(bytes);
        bytes[..512].fill(0);
    };
    let (exit, told, lines) = audit(&place, nameless, &["--redis", &url]);
    // The first order of a sale that is compared is behind nothing that is lost.
    assert!(exit == 99 && told.contains("Redis has") && !told.contains("another engine"), "{told}");
    assert_eq!(lines.len(), 60, "{told}");

    // What Redis lacks, too, is not made up: the comparison ends before it.
    server.tell("FLUSHALL");
    let (exit, told, lines) = audit(&place, change, &["--redis", &url, "--repair"]);
    assert!(exit == 99 && told.contains("nothing is delivered from a damaged journal"), "{told}");
    assert!(!told.contains("Redis has") && lines.len() == 57, "{told}");
    assert_eq!(server.ask::<u64>("DBSIZE"), 0);
}

#[test]
fn an_audit_says_whose_orders_stand_in_redis_if_they_are_not_the_journals() {
    let (place, server) = (Place::new(), RedisServer::start());
    let url = server.url();
    sold(&place.path("j"));
    sold(&place.path("k"));
    let audit = |journal: &str, more: &[&str]| {
        let output = place.command(&["audit", "--journal", journal, "--redis", &url]).args(more).output().unwrap();
        (code(&output), said_by(&output))
    };
    assert_eq!(audit("j", &["--repair"]).0, 0);
    let (exit, told) = audit("k", &[]);
    let engine: String = server.ask("HGET sellout:{mug}:ledger engine");
    assert!(exit == 99 && told.contains(&format!("the orders of another engine, {engine}")), "{told}");
    // They fill no gap either.
    let file = place.path("k/00000001.journal");
    let mut bytes = fs::read(&file).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (exit, told) = audit("k", &[]);
    assert!(exit == 99 && told.contains("another engine") && !told.contains("Redis has"), "{told}");
    // A copy that was opened less often than the journal that delivered last.
    fs::create_dir(place.path("old")).unwrap();
    for name in ["secret", "00000001.journal"] {
        fs::copy(place.path("j").join(name), place.path("old").join(name)).unwrap();
    }
    server.tell("HDEL sellout:{mug}:sales 7");
    assert_eq!(audit("j", &["--repair"]).0, 0);
    server.tell("HDEL sellout:{mug}:sales 7");
    let (exit, told) = audit("old", &[]);
    assert!(exit == 99 && told.contains("the journal doesn't know: it is an older copy"), "{told}");
}

#[test]
fn a_damaged_journal_that_is_in_use_is_said_to_be_and_told_of_when_it_is_not() {
    let place = Place::new();
    let orders = sold(&place.path("j"));
    let engine = Engine::open(place.path("j")).unwrap();
    let file = place.path("j/00000001.journal");
    let mut bytes = fs::read(&file).unwrap();
    bytes[orders[20].0.start + 40] ^= 1;
    fs::write(&file, bytes).unwrap();
    let audit = || place.command(&["audit", "--journal", "j"]).output().unwrap();
    let told = audit();
    assert_eq!(code(&told), 99);
    assert!(said_by(&told).contains("can't be told now") && said_by(&told).contains("in use"), "{}", said_by(&told));
    engine.close().unwrap();
    let told = audit();
    assert!(said_by(&told).contains("1 order is lost for sure"), "{}", said_by(&told));
}

#[test]
fn an_export_takes_nobodys_name_and_what_a_kill_leaves_is_unfinished() {
    let place = Place::new();
    sold(&place.path("j"));
    fs::write(place.path("mine"), "mine").unwrap();
    let output = place.command(&["audit", "--journal", "j", "--export", "mine"]).output().unwrap();
    assert!(code(&output) == 1 && errors(&output).contains("mine"), "{}", errors(&output));
    assert_eq!(fs::read_to_string(place.path("mine")).unwrap(), "mine");

    // The system ends the process at its first write beyond a kilobyte.
    let program = env!("CARGO_BIN_EXE_loadgen");
    let limited = format!("ulimit -c 0; ulimit -f 1; exec {program} audit --journal j --export orders.jsonl");
    let mut killed = std::process::Command::new("bash");
    let killed =
        killed.current_dir(place.path("")).args(["-c", &limited]).env_remove("LOADGEN_REDIS").output().unwrap();
    assert_eq!(killed.status.code(), None, "{}", said_by(&killed));
    assert!(!place.path("orders.jsonl").exists());
    let names = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("orders.jsonl.") && name.ends_with(".unfinished")).count(), 1);
    assert_eq!(code(&place.command(&["audit", "--journal", "j", "--export", "orders.jsonl"]).output().unwrap()), 0);
    assert_eq!(exported(&place.path("orders.jsonl")).len(), 60);
}

#[test]
fn acknowledgements_are_read_before_the_journal_so_that_a_shop_may_go_on_meanwhile() {
    let place = Place::new();
    let engine = Engine::open(place.path("j")).unwrap();
    let mugs = engine.create(SaleSpec::new("mug", 100)).unwrap();
    let pipe = place.path("acks");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut audit = place.command(&["audit", "--journal", "j", "--acks", "acks"]);
    let audit = audit.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Opens only when the audit reads: what is sold now was not there when the audit began.
    let mut acks = fs::File::options().write(true).open(&pipe).unwrap();
    let receipt = match mugs.reserve(1, 1).unwrap().confirm(1).unwrap().wait().unwrap() {
        Confirmation::Confirmed(receipt) => receipt,
        other => panic!("{other:?}"),
    };
    writeln!(acks, "mug,{:032x},1", receipt.order.as_u128()).unwrap();
    drop(acks);
    let output = audit.wait_with_output().unwrap();
    assert!(code(&output) == 0 && said_by(&output).contains("1 acknowledged confirmations"), "{}", said_by(&output));
}
