//! `loadgen audit`: what a journal has, against what was acknowledged.

use std::{collections::BTreeMap, fmt::Write};

use super::{AuditArguments, Failure, console::Console};
use crate::{exit::Exit, play::kept, report::grouped, runner::read_acks, target::engine::journalled_sales};

pub(super) fn audit(arguments: &AuditArguments, console: &Console) -> Result<Exit, Failure> {
    let journalled = journalled_sales(&arguments.journal).map_err(|error| Failure::could_not_run(&error))?;
    let mut text = String::new();
    let mut units: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for sale in &journalled {
        let (orders, sold) = units.entry(&sale.sale).or_default();
        *orders += 1;
        *sold += u64::from(sale.quantity);
    }
    for (name, (orders, sold)) in &units {
        writeln!(text, "{name}: {} units sold in {} orders", grouped(*sold), grouped(*orders))
            .expect("writing to a string can't fail");
    }
    if units.is_empty() {
        text.push_str("no confirmed sale in the journal\n");
    }
    let mut exit = Exit::Good;
    if let Some(path) = &arguments.acks {
        let acks = read_acks(path)
            .map_err(|error| Failure::could_not_run(&format!("can't read {}: {error}", path.display())))?;
        let found = journalled.iter().map(|sale| (sale.sale.as_str(), sale.order)).collect();
        let invariant = kept(&acks, &found);
        let mark = if invariant.holds { "ok" } else { "BROKEN" };
        writeln!(text, "{mark} {}: {}", invariant.name, invariant.evidence).expect("writing to a string can't fail");
        if !invariant.holds {
            exit = Exit::InvariantBroken;
        }
    }
    console.result(&text);
    Ok(exit)
}
