//! The result as a person reads it in ten seconds.

mod story;

use std::{
    fmt::{self, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style as Paint};

use super::{Ending, LatencyFigures, Report, StageFigures, UnitFigures, Verdict};
use crate::{measure::Percentiles, number::count, verify::Invariant};

/// How the result is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Colours, on a terminal.
    pub colour: bool,
    /// One line only.
    pub quiet: bool,
}

/// The result as text.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = if style.quiet { verdict(&mut text, report, style) } else { whole(&mut text, report, style) };
    text
}

fn whole(text: &mut String, report: &Report, style: Style) -> fmt::Result {
    verdict(text, report, style)?;
    if !report.story.is_empty() {
        writeln!(text, "  {}", report.story)?;
    }
    writeln!(text)?;
    sales(text, report)?;
    stages(text, &report.stages)?;
    writeln!(text)?;
    let real_time = span(Duration::from_millis(report.duration_ms));
    let scenario_time = span(Duration::from_millis(report.scenario_ms));
    writeln!(
        text,
        "crowd      {} people, {} first visits; {scenario_time} of the sale in {real_time}, at {}x",
        grouped(report.crowd.people),
        grouped(report.crowd.visits),
        report.speed
    )?;
    story::tell(text, report)?;
    requests(text, report)?;
    latencies(text, report)?;
    match &report.journal {
        Some(journal) => writeln!(
            text,
            "journal    {} records, {} bytes, {} sales",
            grouped(journal.records),
            grouped(journal.bytes),
            grouped(journal.sales)
        )?,
        None => writeln!(text, "journal    none")?,
    }
    match &report.ledger {
        Some(ledger) => writeln!(
            text,
            "ledger     {} sales, {} missing, {} twice",
            grouped(ledger.sales),
            grouped(ledger.missing),
            grouped(ledger.duplicates)
        )?,
        None => writeln!(text, "ledger     none")?,
    }
    writeln!(
        text,
        "generator  {} thread(s), {:.0}% of one processor; a clock read costs {:.0}ns, a record {:.0}ns; seed {}",
        report.threads,
        report.generator_cpu_share * 100.0,
        report.clock_cost_ns.clock_read,
        report.clock_cost_ns.record,
        report.seed
    )?;
    proof(text, report, style)
}

/// The first line: how it ended, what was sold, and whether the latencies count.
fn verdict(text: &mut String, report: &Report, style: Style) -> fmt::Result {
    let (mark, colour) = match report.ending {
        Ending::SoldRight => ("sold right", AnsiColor::Green),
        Ending::SoldWrong => ("SOLD WRONG", AnsiColor::Red),
        Ending::CouldNotFinish => ("COULD NOT FINISH", AnsiColor::Red),
        Ending::StoppedByHand => ("stopped by hand, sold right until then", AnsiColor::Yellow),
    };
    let timing = match report.verdict {
        Verdict::Valid => painted("valid", AnsiColor::Green, style),
        Verdict::GeneratorLimited => painted("generator-limited", AnsiColor::Yellow, style),
    };
    write!(text, "{}: {}", report.scenario, painted(mark, colour, style))?;
    if let Some(why) = why(report) {
        write!(text, ": {why}")?;
    }
    let sums = &report.sums.units;
    let offered = (sums.stock + sums.added).saturating_sub(sums.withdrawn);
    write!(text, "; {} of {} units sold", grouped(sums.sold), grouped(offered))?;
    for (units, what) in [(sums.unknown, "in doubt"), (sums.held, "on hold"), (sums.free, "left over")] {
        if units > 0 {
            write!(text, ", {} {what}", grouped(units))?;
        }
    }
    writeln!(text, "; {timing}: {}; seed {}", report.verdict_reason, report.seed)
}

/// The first thing that went wrong.
fn why(report: &Report) -> Option<String> {
    match report.ending {
        Ending::SoldWrong => {
            let broken = report.invariants.iter().find(|invariant| !invariant.holds);
            broken.map(|Invariant { name, evidence, .. }| format!("{name}: {evidence}"))
        }
        Ending::CouldNotFinish => report.failures.first().cloned(),
        Ending::SoldRight | Ending::StoppedByHand => None,
    }
}

/// At most so many sales are shown; of very many not even that.
const SALES_SHOWN: usize = 20;

/// Of more sales than a report lists, so many are shown.
const BUSIEST_SHOWN: usize = 5;

fn sales(text: &mut String, report: &Report) -> fmt::Result {
    let sums = &report.sums;
    let all = sums.sales == count(report.sales.len());
    let sales = &report.sales[..report.sales.len().min(if all { SALES_SHOWN } else { BUSIEST_SHOWN })];
    let widest = sales.iter().map(|sale| sale.sale.len()).fold(5, usize::max);
    writeln!(
        text,
        "{:widest$} {:>10} {:>10} {:>8} {:>10} {:>9} {:>10} {:>9}  sold out after",
        "sale", "stock", "sold", "held", "free", "oversold", "undersold", "over cap"
    )?;
    for sale in sales {
        let sold_out = sale.sold_out_ms.map_or_else(|| "never".to_owned(), |ms| span(Duration::from_millis(ms)));
        units(text, widest, &sale.sale, &sale.units)?;
        writeln!(text, "  {sold_out}")?;
    }
    let shown = count(sales.len());
    if sums.sales > shown {
        write!(text, "... and {} more sales", grouped(sums.sales - shown))?;
        if !all {
            let (asked_for, sold_out) = (grouped(sums.asked_for), grouped(sums.sold_out));
            write!(text, "; {asked_for} of all were asked for, {sold_out} are sold out; the busiest are shown")?;
        }
        writeln!(text)?;
    }
    if sums.sales > 1 {
        units(text, widest, "all", &sums.units)?;
        writeln!(text)?;
    }
    Ok(())
}

/// Where units are: the columns of a sale, or of all.
fn units(text: &mut String, widest: usize, name: &str, units: &UnitFigures) -> fmt::Result {
    let UnitFigures { stock, sold, held, free, oversold, undersold, over_cap, .. } = *units;
    let [stock, sold, held, free] = [stock, sold, held, free].map(grouped);
    let [oversold, undersold, over_cap] = [oversold, undersold, over_cap].map(grouped);
    write!(text, "{name:widest$} {stock:>10} {sold:>10} {held:>8} {free:>10} {oversold:>9} {undersold:>10}")?;
    write!(text, " {over_cap:>9}")
}

/// The stages, where there is more than one.
fn stages(text: &mut String, stages: &[StageFigures]) -> fmt::Result {
    if stages.len() < 2 {
        return Ok(());
    }
    let widest = stages.iter().map(|stage| stage.stage.len()).fold(5, usize::max);
    writeln!(
        text,
        "\n{:widest$} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9}  refused most",
        "stage", "visits", "requests", "registered", "held", "paid", "p50", "p99"
    )?;
    for stage in stages {
        let mut refused: Vec<_> = stage.refused.iter().collect();
        refused.sort_unstable_by_key(|(_, times)| std::cmp::Reverse(**times));
        let refused =
            refused.iter().take(2).map(|(name, times)| format!("{} {}", grouped(**times), name.replace('_', " ")));
        writeln!(
            text,
            "{:widest$} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9}  {}",
            stage.stage,
            grouped(stage.visits),
            grouped(stage.requests),
            grouped(stage.registered),
            grouped(stage.held),
            grouped(stage.confirmed),
            short(stage.response_ns.p50),
            short(stage.response_ns.p99),
            refused.collect::<Vec<_>>().join(", ")
        )?;
    }
    Ok(())
}

fn requests(text: &mut String, report: &Report) -> fmt::Result {
    let requests = &report.requests;
    writeln!(
        text,
        "requests   {} offered, {} started, {} completed, {} unsent",
        grouped(requests.offered),
        grouped(requests.started),
        grouped(requests.completed),
        grouped(requests.unsent)
    )?;
    writeln!(
        text,
        "holds      {} granted: {} confirmed ({} late), {} cancelled, {} expired, {} still open",
        grouped(requests.held),
        grouped(requests.confirmed),
        grouped(requests.paid_late),
        grouped(requests.cancelled),
        grouped(requests.expired),
        grouped(requests.still_held + requests.unknown)
    )?;
    let mut refused: Vec<_> = requests.refused.iter().collect();
    refused.sort_unstable_by_key(|(_, times)| std::cmp::Reverse(**times));
    let refused = refused.into_iter().map(|(name, times)| format!("{} {}", grouped(*times), name.replace('_', " ")));
    let refused: Vec<_> = refused.collect();
    writeln!(text, "refused    {}", if refused.is_empty() { "none".to_owned() } else { refused.join(", ") })
}

fn latencies(text: &mut String, report: &Report) -> fmt::Result {
    let label = if report.verdict == Verdict::Valid { "" } else { "  (the generator's, not the target's)" };
    writeln!(
        text,
        "{:10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}{label}",
        "real time", "p50", "p90", "p99", "p99.9", "p99.99", "max"
    )?;
    let LatencyFigures { count, response, service, lag, .. } = &report.latency_ns;
    for (name, figures) in [("response", response), ("service", service), ("lag", lag)] {
        latency(text, name, *count, figures)?;
    }
    let confirm = &report.confirm_latency_ns;
    latency(text, "confirm", confirm.count, &confirm.response)
}

/// A row of percentiles; of nothing there are none.
fn latency(text: &mut String, name: &str, count: u64, figures: &Percentiles) -> fmt::Result {
    let Percentiles { p50, p90, p99, p99_9, p99_99, max } = *figures;
    write!(text, "  {name:8}")?;
    for nanos in [p50, p90, p99, p99_9, p99_99, max] {
        let shown = if count > 0 { short(nanos) } else { "none".to_owned() };
        write!(text, " {shown:>9}")?;
    }
    writeln!(text)
}

fn proof(text: &mut String, report: &Report, style: Style) -> fmt::Result {
    let holding = report.invariants.iter().filter(|invariant| invariant.holds).count();
    writeln!(text, "proof      {holding} of {} invariants hold", report.invariants.len())?;
    for invariant in &report.invariants {
        let mark = if invariant.holds {
            painted("ok", AnsiColor::Green, style)
        } else {
            painted("BROKEN", AnsiColor::Red, style)
        };
        writeln!(text, "  {mark} {}: {}", invariant.name, invariant.evidence)?;
    }
    for failure in &report.failures {
        writeln!(text, "  {} {failure}", painted("failed", AnsiColor::Red, style))?;
    }
    Ok(())
}

fn painted(word: &str, colour: AnsiColor, style: Style) -> String {
    if style.colour {
        let paint = Paint::new().fg_color(Some(colour.into())).bold();
        format!("{paint}{word}{paint:#}")
    } else {
        word.to_owned()
    }
}

/// A count with its thousands apart: 2,099.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds in the unit that leaves two to four digits.
fn short(nanos: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    match UNITS.iter().find(|(unit, _)| nanos >= *unit) {
        Some((unit, name)) => format!("{}.{:02}{name}", nanos / unit, nanos % unit * 100 / unit),
        None => format!("{nanos}ns"),
    }
}

/// A span without the digits that nobody reads.
fn span(span: Duration) -> String {
    let rounded = if span >= Duration::from_mins(1) { Duration::from_secs(span.as_secs()) } else { span };
    humantime::format_duration(rounded).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(2_099), "2,099");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(short(312), "312ns");
        assert_eq!(short(2_050), "2.05us");
        assert_eq!(short(50_000_000), "50.00ms");
        assert_eq!(span(Duration::from_millis(61_234)), "1m 1s");
    }
}
