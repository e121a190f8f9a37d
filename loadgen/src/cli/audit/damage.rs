//! What is told of a damaged journal.

use sellout::Damage;

use super::Findings;
use crate::{
    report::grouped,
    target::engine::{JournalDamage, Lost, SalvagedBooks, SalvagedSale},
};

/// Tells what can't be read, by file and offset, and sale by sale what can, and what is lost.
pub(super) fn tell(damage: &JournalDamage, findings: &mut Findings) {
    findings.judge(false, &format_args!("journal_reads: {}", damage.first));
    let salvaged = match &damage.salvaged {
        Ok(salvaged) => salvaged,
        Err(error) => {
            findings.line(&format_args!(
                "  The orders above stand before the damage. What stands behind it can't be told now: {error}"
            ));
            return;
        }
    };
    let places = salvaged.damages.iter().flat_map(|damage| &damage.places);
    let bytes = places.clone().map(|place| place.bytes).sum();
    let places = match places.count() {
        1 => "1 place".to_owned(),
        count => format!("{} places", grouped(count as u64)),
    };
    findings.line(&format_args!("  {} bytes in {places} can't be read:", grouped(bytes)));
    for (number, damage) in (1..).zip(&salvaged.damages) {
        each(number, damage, findings);
    }
    for (name, sale) in &salvaged.sales {
        let [(before, units_before), (behind, units_behind)] =
            sale.sums().map(|(orders, units)| (grouped(orders), grouped(units)));
        findings.line(&format_args!(
            "  {name}: {units_before} units in {before} orders stand before the damage, {units_behind} in {behind} \
             behind it"
        ));
        for lost in salvaged.lost(sale) {
            findings.line(&format_args!("    {}", told(&lost)));
        }
    }
    without_name_or_id(salvaged, findings);
    findings.line(
        &"  The orders above are whole: --export FILE writes them down. Copy the folder before anything else, and put \
          back the files that are named from a backup, if there is one; the book's page Operations says how to go on.",
    );
}

fn each(number: usize, damage: &Damage, findings: &mut Findings) {
    let records = match damage.records {
        None => "nothing behind it can be read, so nothing tells how many records are lost".to_owned(),
        Some(0) => "no record is lost".to_owned(),
        Some(1) => "1 record is lost".to_owned(),
        Some(records) => format!("{} records are lost", grouped(records)),
    };
    findings.line(&format_args!("  {number}. {records}"));
    for place in &damage.places {
        let bytes = if place.bytes > 0 { format!(" for {} bytes", grouped(place.bytes)) } else { String::new() };
        findings.line(&format_args!("     {} at byte {}{bytes}: {}", place.file.display(), place.offset, place.why));
    }
}

/// Orders that are lost, in words.
fn told(lost: &Lost) -> String {
    let (first, last) = (lost.damages.start(), lost.damages.end());
    let place = if first == last { format!("damage {first}") } else { format!("damages {first} to {last}") };
    let (from, to) = (lost.numbers.start(), lost.numbers.end());
    if !lost.is_sure() {
        let most = match lost.at_most {
            Some(records) => format!("at most {}, as many as records", grouped(records)),
            None => "nothing tells how many".to_owned(),
        };
        return format!("orders from number {from} on may be lost, {most}: {place}");
    }
    match lost.count() {
        1 => format!("1 order is lost for sure, number {from}: {place}"),
        count => format!("{} orders are lost for sure, numbers {from} to {to}: {place}", grouped(count)),
    }
}

fn without_name_or_id(salvaged: &SalvagedBooks, findings: &mut Findings) {
    let orders = salvaged.sales.values().flat_map(SalvagedSale::orders);
    let without_id = orders.filter(|order| order.order.order.is_empty()).count();
    if without_id > 0 {
        findings.line(&format_args!(
            "  {} orders have lost their ids: what these are made of can't be read",
            grouped(without_id as u64)
        ));
    }
    if salvaged.sales.keys().any(|name| name.starts_with('#')) {
        findings
            .line(&"  A sale that is told by its number, as #3, has lost its name. Other sales may be lost wholly.");
    }
}
