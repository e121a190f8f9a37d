//! Messages: everybody who should be told is told once, nobody else is, and in order.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::{
    EXPIRY_SLACK, Replies, Scene,
    invariant::Invariants,
    log::{HoldEnd, HoldRecord},
};
use crate::{
    number::{count, nanos},
    scenario::WhatChanges,
    target::{DeliveredMessage, MessageKind, MessageProof, SaleIndex},
};

/// The messages, compared with what should have been sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MessageFigures {
    /// How many were delivered, by kind.
    pub delivered: BTreeMap<&'static str, u64>,
    /// How many should have been delivered and weren't.
    pub missing: u64,
    /// How many were delivered again.
    pub twice: u64,
    /// How many went to people whom they are not for.
    pub strangers: u64,
    /// How many came before an earlier one.
    pub out_of_order: u64,
}

/// How often somebody must be told something, and how often at most.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    least: u64,
    most: u64,
}

type Key = (MessageKind, SaleIndex, u64);

/// Compares the delivered messages with who registered and who bought.
pub(super) fn check(
    scene: &Scene<'_>,
    replies: &Replies,
    proof: &MessageProof,
    invariants: &mut Invariants,
) -> MessageFigures {
    let mut figures = MessageFigures::default();
    let due = due(scene, replies);
    let mut times: HashMap<Key, u64> = HashMap::new();
    let mut ids = HashSet::with_capacity(proof.messages.len());
    let mut confirmed: HashSet<(SaleIndex, u64)> = HashSet::new();
    let (mut last, mut first_wrong) = (0, None);
    for message in &proof.messages {
        let DeliveredMessage { id, kind, sale, buyer, sequence } = *message;
        *figures.delivered.entry(kind.name()).or_default() += 1;
        let told = format_args!("the {} of buyer {buyer} (message {id})", kind.name()).to_string();
        if !ids.insert(id) {
            figures.twice += 1;
            first_wrong.get_or_insert_with(|| format!("{told} was delivered twice"));
            continue;
        }
        if id < last {
            figures.out_of_order += 1;
            first_wrong.get_or_insert_with(|| format!("{told} came after message {last}"));
        }
        last = last.max(id);
        if let (MessageKind::Confirmation, Some(sequence)) = (kind, sequence) {
            confirmed.insert((sale, sequence));
        }
        if let (MessageKind::ShippingNotice, Some(sequence)) = (kind, sequence)
            && !confirmed.contains(&(sale, sequence))
        {
            figures.out_of_order += 1;
            first_wrong.get_or_insert_with(|| format!("{told} came before the confirmation of order {sequence}"));
        }
        let known = times.entry((kind, sale, buyer)).or_default();
        *known += 1;
        let most = due.get(&(kind, sale, buyer)).map_or(0, |due| due.most);
        if *known > most && !scene.is_resumed(sale) {
            let (which, what) = if most > 0 {
                (&mut figures.twice, "once more than it should")
            } else {
                (&mut figures.strangers, "to somebody whom it is not for")
            };
            *which += 1;
            first_wrong.get_or_insert_with(|| format!("{told} was sent {what}"));
        }
    }
    for ((kind, sale, buyer), due) in &due {
        let missing = due.least.saturating_sub(times.get(&(*kind, *sale, *buyer)).copied().unwrap_or(0));
        figures.missing += missing;
        if missing > 0 {
            let name = &scene.sales[*sale].name;
            first_wrong.get_or_insert_with(|| format!("{name}: buyer {buyer} never got the {}", kind.name()));
        }
    }
    let all = count(proof.messages.len());
    invariants.check("messages_once", first_wrong, || format!("{all} messages, each once and in order"));
    figures
}

/// Who must be told what.
fn due(scene: &Scene<'_>, replies: &Replies) -> HashMap<Key, Due> {
    let mut all: HashMap<Key, Due> = HashMap::new();
    let mut tell = |kind, sale, buyer, surely: bool| {
        let due = all.entry((kind, sale, buyer)).or_default();
        due.most += 1;
        due.least += u64::from(surely);
    };
    for (place, plan) in scene.sales.iter().enumerate() {
        for (kind, at) in [(MessageKind::Reminder, plan.reminds_at), (MessageKind::PurchaseLink, plan.links_at)] {
            let Some(at) = at else { continue };
            let told_ns = scene.clock.real_ns(at).saturating_add(nanos(EXPIRY_SLACK));
            let over = told_ns <= scene.ended_ns;
            if plan.registered_beforehand {
                (scene.registered)().for_each(|buyer| tell(kind, place, buyer, over));
            }
            for registration in replies.registrations.iter().filter(|registration| registration.sale == place) {
                tell(kind, place, registration.buyer, over && registration.surely);
            }
        }
    }
    for sale in scene
        .opening
        .sales
        .iter()
        .zip(0..)
        .flat_map(|(opening, place)| opening.confirmed.iter().filter_map(move |sale| Some((place, sale.buyer?))))
    {
        tell(MessageKind::Confirmation, sale.0, sale.1, true);
    }
    let ships = scene.changes.iter().filter(|record| record.change.what == WhatChanges::Ship);
    let ships: HashMap<SaleIndex, (u64, u64)> = ships
        .filter_map(|record| Some((record.change.sale?, (record.exchange.called_ns, record.exchange.replied_ns))))
        .collect();
    for hold in &replies.holds {
        if matches!(hold.end, HoldEnd::Sold(_) | HoldEnd::SoldLate(_) | HoldEnd::Unknown { .. }) {
            tell(MessageKind::Confirmation, hold.sale, hold.buyer, hold.is_sold());
        }
        if let (Some((from, until)), Some((called_ns, replied_ns))) = (sold_in(hold), ships.get(&hold.sale))
            && from <= *replied_ns
        {
            tell(MessageKind::ShippingNotice, hold.sale, hold.buyer, until < *called_ns);
        }
    }
    all
}

/// When a hold was sold: from its call to its reply, which may never have come.
const fn sold_in(hold: &HoldRecord) -> Option<(u64, u64)> {
    match hold.end {
        HoldEnd::Sold(exchange) | HoldEnd::SoldLate(exchange) => Some((exchange.called_ns, exchange.replied_ns)),
        HoldEnd::Unknown { called_ns } => Some((called_ns, u64::MAX)),
        _ => None,
    }
}
