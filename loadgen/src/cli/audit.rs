//! `loadgen audit`: what a journal has, against what was acknowledged, and against what stands in Redis.

use std::fmt::{Display, Write};

use sellout::ledger::SaleComparison;

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
    let books = JournalBooks::read(&arguments.journal).map_err(|error| Failure::could_not_run(&error))?;
    for (name, orders, units) in books.sums() {
        findings.line(&format_args!("{name}: {} units sold in {} orders", grouped(units), grouped(orders as u64)));
    }
    if books.sums().next().is_none() {
        findings.line(&"no confirmed sale in the journal");
    }
    if let Some(damage) = &books.damage {
        findings.judge(false, &format_args!("journal_reads: {damage}"));
        findings.line(
            &"  The orders above stand before the damage and are whole; what came after it can't be told here. Keep a \
              copy of the folder, and put back the file that is named from a backup or another disk.",
        );
    }
    if let Some(url) = &arguments.redis {
        ledger(arguments, &books, url, &mut findings)?;
    }
    if let Some(path) = &arguments.acks {
        let acks = read_acks(path)
            .map_err(|error| Failure::could_not_run(&format!("can't read {}: {error}", path.display())))?;
        let journalled = books.journalled().map_err(|error| Failure::could_not_run(&error))?;
        let found = journalled.iter().map(|sale| (sale.sale.as_str(), sale.order)).collect();
        let invariant = kept(&acks, &found);
        findings.judge(invariant.holds, &format_args!("{}: {}", invariant.name, invariant.evidence));
    }
    console.result(&findings.text);
    Ok(if findings.broken { Exit::InvariantBroken } else { Exit::Good })
}

/// Compares with Redis, and delivers what is missing there if that is asked for.
fn ledger(arguments: &AuditArguments, books: &JournalBooks, url: &str, findings: &mut Findings) -> Result<(), Failure> {
    let AuditArguments { journal, redis_prefix: prefix, redis_wait: wait, .. } = arguments;
    let compare = || books.compare(url, prefix).map_err(|error| Failure::could_not_run(&error));
    let mut comparisons = compare()?;
    if arguments.repair && comparisons.iter().any(|sale| !sale.is_exact()) {
        if books.damage.is_some() {
            findings.line(&"nothing is delivered from a damaged journal");
        } else {
            let before: u64 = comparisons.iter().map(|sale| sale.missing).sum();
            findings.line(&format_args!("{} orders are missing in Redis: delivering them", grouped(before)));
            if let Err(error) = deliver(journal, url, prefix, wait.0) {
                findings.judge(false, &format_args!("delivery: {error}"));
            }
            comparisons = compare()?;
        }
    }
    for sale in &comparisons {
        findings.judge(sale.is_exact(), &format_args!("ledger {}: {}", sale.sale, told(sale)));
    }
    Ok(())
}

/// A comparison in words, each with what to do.
fn told(sale: &SaleComparison) -> String {
    let SaleComparison { expected, found, missing, duplicates, different, watermark, units, expected_units, .. } = sale;
    if sale.is_exact() {
        return format!("all {} orders are in Redis, each once", grouped(*expected));
    }
    let [expected, found, watermark] = [expected, found, watermark].map(|number| grouped(*number));
    let mut what = vec![format!("{found} in Redis where the journal has {expected}")];
    if *missing > 0 {
        what.push(format!("{} missing: --repair delivers them", grouped(*missing)));
    }
    if *duplicates > 0 {
        let why = "the journal is not the newest, or they are another engine's; nothing here takes them out";
        what.push(format!("{} there twice or under a number that the journal has not: {why}", grouped(*duplicates)));
    }
    if *different > 0 {
        let why = "they were changed by hand, or are another engine's; look which of the two is right";
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
