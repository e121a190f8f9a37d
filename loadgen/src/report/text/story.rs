//! What the story is about: a line or two each for messages, units, baskets, queues, shares, changes and many sales.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use super::{Report, grouped, span};
use crate::verify::{AmountFigures, FaceFigures};

/// At most so many sales whose units can be told apart are shown.
const FACES_SHOWN: usize = 5;

/// At most so many changes are shown.
const CHANGES_SHOWN: usize = 10;

pub(super) fn tell(text: &mut String, report: &Report) -> fmt::Result {
    if let Some(messages) = &report.messages {
        let kinds = messages.delivered.iter();
        let kinds: Vec<_> = kinds.map(|(kind, times)| format!("{} {}", grouped(*times), plural(kind))).collect();
        writeln!(
            text,
            "messages   {}; {} missing, {} twice, {} to strangers, {} out of order",
            if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") },
            messages.missing,
            messages.twice,
            messages.strangers,
            messages.out_of_order
        )?;
    }
    for face in report.faces.iter().take(FACES_SHOWN) {
        units(text, face)?;
    }
    if report.faces.len() > FACES_SHOWN {
        writeln!(text, "           ... and {} more sales with units of their own", report.faces.len() - FACES_SHOWN)?;
    }
    if let Some(baskets) = &report.baskets {
        writeln!(
            text,
            "baskets    {} asked for, {} held with {} units in {} lines: {} paid whole, {} returned whole",
            grouped(baskets.asked),
            grouped(baskets.held),
            grouped(baskets.units),
            grouped(baskets.lines),
            grouped(baskets.sold),
            grouped(baskets.returned)
        )?;
    }
    if let Some(queue) = &report.waitlist {
        writeln!(
            text,
            "waitlist   {} joined, {} turned away; {} offers: {} paid ({} accepted first), {} ran out; {} left, {} in \
             vain, {} still there",
            grouped(queue.joined),
            grouped(queue.turned_away),
            grouped(queue.offered),
            grouped(queue.paid),
            grouped(queue.accepted),
            grouped(queue.lapsed),
            grouped(queue.left),
            grouped(queue.gone),
            grouped(queue.waiting)
        )?;
    }
    if let Some(sharing) = &report.sharing {
        writeln!(
            text,
            "sharing    {} buyers told others, {} people came because of that",
            grouped(sharing.shares),
            grouped(sharing.drawn)
        )?;
    }
    changes(text, report)?;
    resources(text, report)
}

/// "2 reminders", "1 purchase links": names as they stand in reports, in the plural.
fn plural(kind: &str) -> String {
    format!("{}s", kind.replace('_', " "))
}

fn units(text: &mut String, face: &FaceFigures) -> fmt::Result {
    let FaceFigures { sale, kind, given, sold, amounts } = face;
    let (given, sold) = (grouped(*given), grouped(*sold));
    let Some(amounts) = amounts else {
        return writeln!(text, "units      {sale}: {kind}, {given} different ones given, {sold} sold, none twice");
    };
    let AmountFigures { budget_cents, sold_cents, drawn, min_cents, max_cents, mean_milli, .. } = *amounts;
    writeln!(
        text,
        "amounts    {sale}: {} of {} sold in {sold} amounts; {} drawn, from {} to {}, {} on average",
        money(sold_cents),
        money(budget_cents),
        grouped(drawn),
        money(min_cents.into()),
        money(max_cents.into()),
        money_of_milli(mean_milli)
    )?;
    if let (Some(sold), Some(held), Some(free)) = (amounts.sold_in_all_cents, amounts.held_cents, amounts.free_cents) {
        let [sum, sold, held, free] = [sold + held + free, sold, held, free].map(money);
        writeln!(text, "           in all, earlier runs included: {sold} sold + {held} on hold + {free} free = {sum}")?;
    }
    let means = |tenths: &[u64; 10]| tenths.map(money_of_milli).join(" ");
    writeln!(text, "           mean of each tenth, first to last drawn: {}", means(&amounts.tenths_as_drawn_milli))?;
    writeln!(text, "           and by place in the list: {}", means(&amounts.tenths_by_place_milli))
}

fn changes(text: &mut String, report: &Report) -> fmt::Result {
    for change in report.changes.iter().take(CHANGES_SHOWN) {
        let at = span(Duration::from_millis(change.at_ms));
        let sale = change.sale.as_deref().unwrap_or("all sales");
        let units = if change.units > 0 { format!(" {} units", grouped(change.units)) } else { String::new() };
        writeln!(text, "change     after {at}: {sale}: {}{units}", change.change)?;
    }
    let more = report.changes.len().saturating_sub(CHANGES_SHOWN);
    if more > 0 {
        writeln!(text, "           ... and {more} more changes")?;
    }
    Ok(())
}

fn resources(text: &mut String, report: &Report) -> fmt::Result {
    if let Some(resources) = &report.resources {
        let each = resources.resident_bytes.checked_div(resources.sales).unwrap_or(0);
        write!(
            text,
            "resources  {} MiB at rest for {} ({} bytes each), created in {}",
            grouped(resources.resident_bytes >> 20),
            sales(resources.sales),
            grouped(each),
            span(Duration::from_millis(resources.created_ms))
        )?;
        match resources.recovered_ms {
            Some(ms) => writeln!(text, ", recovered in {}", span(Duration::from_millis(ms)))?,
            None => writeln!(text)?,
        }
    }
    if let Some(reopened) = &report.reopened {
        let opened = span(Duration::from_millis(reopened.opened_ms));
        writeln!(text, "reopened   {} from a copy of the journal in {opened}", sales(reopened.sales))?;
    }
    Ok(())
}

fn sales(number: u64) -> String {
    if number == 1 { "1 sale".to_owned() } else { format!("{} sales", grouped(number)) }
}

/// Cents as money: 2.00.
fn money(cents: u64) -> String {
    format!("{}.{:02}", grouped(cents / 100), cents % 100)
}

/// Thousandths of a cent as money, rounded to the cent.
fn money_of_milli(milli: u64) -> String {
    money((milli + 500) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_for_people() {
        assert_eq!(money(0), "0.00");
        assert_eq!(money(300_000_001), "3,000,000.01");
        assert_eq!(money_of_milli(200_499), "2.00");
        assert_eq!(money_of_milli(200_500), "2.01");
    }
}
