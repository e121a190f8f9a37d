//! `loadgen audit`: what a journal has, also a damaged one, against what was acknowledged, and against what stands in
//! Redis.

mod damage;
mod export;

use std::{
    collections::HashSet,
    fmt::{Display, Write},
};

use sellout::{
    SoldRecord,
    ledger::{SaleComparison, Writer},
};

use self::export::Origin;

use super::{AuditArguments, Failure, console::Console};
use crate::{
    exit::Exit,
    play::kept,
    report::grouped,
    runner::read_acks,
    target::engine::{JournalBooks, deliver},
};

/// What was found, line by line.
#[derive(Debug, Default)]
struct Findings {
    text: String,
    broken: bool,
}

impl Findings {
    fn line(&mut self, line: &dyn Display) {
        writeln!(self.text, "{line}").expect("writing to a string can't fail");
    }

    fn judge(&mut self, holds: bool, line: &dyn Display) {
        self.broken |= !holds;
        let mark = if holds { "ok" } else { "BROKEN" };
        self.line(&format_args!("{mark} {line}"));
    }
}

pub(super) fn audit(arguments: &AuditArguments, console: &Console) -> Result<Exit, Failure> {
    let mut findings = Findings::default();
    // Before the journal: a shop that goes on selling meanwhile acknowledges what is there already.
    let acks = match &arguments.acks {
        Some(path) => Some(
            read_acks(path)
                .map_err(|error| Failure::could_not_run(&format!("can't read {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let mut books = JournalBooks::read(&arguments.journal).map_err(|error| Failure::could_not_run(&error))?;
    for (name, orders, units) in books.sums() {
        findings.line(&format_args!("{name}: {} units sold in {} orders", grouped(units), grouped(orders as u64)));
    }
    if books.sums().next().is_none() {
        findings.line(&"no confirmed sale in the journal");
    }
    if let Some(damage) = &books.damage {
        damage::tell(damage, &mut findings);
    }
    let mut filled = Vec::new();
    if let Some(url) = &arguments.redis {
        filled = ledger(arguments, &mut books, url, &mut findings)?;
    }
    if let Some(path) = &arguments.export {
        let filled: HashSet<_> = filled.iter().map(|(sale, order)| (sale.as_str(), order.sequence)).collect();
        let origin = |key| if filled.contains(&key) { Origin::Redis } else { Origin::Journal };
        let orders = books.orders().map(|(sale, order)| (sale, order, origin((sale, order.sequence))));
        let count = export::export(path, orders)
            .map_err(|error| Failure::could_not_run(&format!("can't write {}: {error}", path.display())))?;
        findings.line(&format_args!("{} orders are written to {}", grouped(count), path.display()));
    }
    if let Some(acks) = acks {
        let journalled = books.journalled().map_err(|error| Failure::could_not_run(&error))?;
        let found = journalled.iter().map(|sale| (sale.sale.as_str(), sale.order)).collect();
        let invariant = kept(&acks, &found);
        findings.judge(invariant.holds, &format_args!("{}: {}", invariant.name, invariant.evidence));
    }
    console.result(&findings.text);
    Ok(if findings.broken { Exit::InvariantBroken } else { Exit::Good })
}

/// Says which orders that the journal has lost stand in Redis; compares with Redis, and delivers what is missing there
/// if that is asked for.
fn ledger(
    arguments: &AuditArguments,
    books: &mut JournalBooks,
    url: &str,
    findings: &mut Findings,
) -> Result<Vec<(String, SoldRecord)>, Failure> {
    let AuditArguments { journal, redis_prefix: prefix, redis_wait: wait, .. } = arguments;
    let could_not = |error| Failure::could_not_run(&error);
    let filled = books.fill(url, prefix).map_err(could_not)?;
    for sale in filled.chunk_by(|one, other| one.0 == other.0) {
        let numbers: Vec<_> = sale.iter().map(|(_, order)| order.sequence).collect();
        findings.line(&format_args!("{}: of the orders that are lost, Redis has {}", sale[0].0, ranges(&numbers)));
    }
    let mut comparisons = books.compare(url, prefix).map_err(could_not)?;
    if arguments.repair && comparisons.iter().any(|sale| !sale.is_exact()) {
        if books.damage.is_some() {
            findings.line(&"nothing is delivered from a damaged journal");
        } else {
            let before: u64 = comparisons.iter().map(|sale| sale.missing).sum();
            findings.line(&format_args!("{} orders are missing in Redis: delivering them", grouped(before)));
            if let Err(error) = deliver(journal, url, prefix, wait.0) {
                findings.judge(false, &format_args!("delivery: {error}"));
            }
            comparisons = books.compare(url, prefix).map_err(could_not)?;
        }
    }
    for sale in &comparisons {
        findings.judge(sale.is_exact(), &format_args!("ledger {}: {}", sale.sale, told(sale, books.has_identity())));
    }
    Ok(filled)
}

/// Numbers in words, those that follow each other together.
fn ranges(numbers: &[u64]) -> String {
    let runs = numbers.chunk_by(|one, next| one + 1 == *next);
    let run = |run: &[u64]| match run {
        [one] => grouped(*one),
        run => format!("{} to {}", grouped(run[0]), grouped(run[run.len() - 1])),
    };
    runs.map(run).collect::<Vec<_>>().join(", ")
}

/// A comparison in words, each with what to do; and whose orders these are, if it is known whose journal it is.
fn told(sale: &SaleComparison, has_identity: bool) -> String {
    let SaleComparison { expected, found, missing, duplicates, different, watermark, units, expected_units, .. } = sale;
    if sale.is_exact() {
        return format!("all {} orders are in Redis, each once", grouped(*expected));
    }
    let [expected, found, watermark] = [expected, found, watermark].map(|number| grouped(*number));
    let mut what = vec![format!("{found} in Redis where the journal has {expected}")];
    what.extend(whose(sale.writer).filter(|_| has_identity));
    if *missing > 0 {
        what.push(format!("{} missing: --repair delivers them", grouped(*missing)));
    }
    if *duplicates > 0 {
        let why = "nothing here takes them out";
        what.push(format!("{} there twice or under a number that the journal has not: {why}", grouped(*duplicates)));
    }
    if *different > 0 {
        let why = "look which of the two is right";
        what.push(format!("{} other than in the journal: {why}", grouped(*different)));
    }
    if *missing == 0 && *duplicates == 0 && *different == 0 {
        let [units, expected_units] = [units, expected_units].map(|number| grouped(*number));
        what.push(format!(
            "the orders are right, but Redis says that it has {units} units up to {watermark}, and it should be \
             {expected_units} up to {expected}: somebody has changed that"
        ));
    }
    what.join("; ")
}

/// What Redis says of who delivered there, if it was somebody else, or nobody.
fn whose(writer: Writer) -> Option<String> {
    Some(match writer {
        Writer::OtherEngine { engine } => {
            format!("these are the orders of another engine, {engine:016x}: another journal, or another --redis-prefix")
        }
        Writer::LaterOpening { epoch } => {
            format!("delivered by opening {epoch} of this engine, which the journal doesn't know: it is an older copy")
        }
        Writer::OtherCopy => "delivered by another copy of this journal, which was opened as often".to_owned(),
        Writer::Unreadable => "who delivered them can't be read: the ledger's key was changed by hand".to_owned(),
        _ => return None,
    })
}
