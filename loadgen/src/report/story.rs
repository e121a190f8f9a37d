//! The figures of what only some stories have: stages, baskets, queues, sharing, changes, resources.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    measure::Percentiles,
    number::{count, millis},
    play::{BasketCounts, QueueCounts},
    runner::{Outcome, StageLog},
    scenario::Scenario,
    target::{Refusal, ReopenProof, Resources},
    verify::log::ChangeRecord,
};

/// One stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageFigures {
    /// Its name.
    pub stage: String,
    /// First visits.
    pub visits: u64,
    /// Visits among them of people whom a buyer told.
    pub drawn: u64,
    /// Requests of every kind.
    pub requests: u64,
    /// Registrations that were accepted.
    pub registered: u64,
    /// Holds that were granted, a basket's lines one by one.
    pub held: u64,
    /// Holds that were paid, a basket once.
    pub confirmed: u64,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Real time from the intended start of a request to its answer, confirmations left out.
    pub response_ns: Percentiles,
}

/// Baskets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BasketFigures {
    /// Requests.
    pub asked: u64,
    /// Baskets that were granted.
    pub held: u64,
    /// Lines in them.
    pub lines: u64,
    /// Units in them.
    pub units: u64,
    /// Baskets that were paid.
    pub sold: u64,
    /// Baskets that were given back or ran out.
    pub returned: u64,
}

/// Queues for units that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WaitlistFigures {
    /// People who joined.
    pub joined: u64,
    /// People who found no room, or nothing to wait for.
    pub turned_away: u64,
    /// Offers that were seen.
    pub offered: u64,
    /// Offers among them that were accepted first, to have the full time.
    pub accepted: u64,
    /// Offers among them that were paid.
    pub paid: u64,
    /// Offers among them that ran out: the next in the queue got them.
    pub lapsed: u64,
    /// People who left before their turn.
    pub left: u64,
    /// People whose place was gone: every unit was sold, or the offer ran out unseen.
    pub gone: u64,
    /// People who were still waiting at the end.
    pub waiting: u64,
}

/// Who told others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SharingFigures {
    /// Buyers who did.
    pub shares: u64,
    /// People who came because of that.
    pub drawn: u64,
}

/// A change that was made while the crowd was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeFigures {
    /// When it was made, in scenario milliseconds after the start.
    pub at_ms: u64,
    /// The sale; `None` for all.
    pub sale: Option<String>,
    /// What was changed.
    pub change: &'static str,
    /// Units that were added, withdrawn or shipped.
    pub units: u64,
}

/// What the sales cost their target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ResourceFigures {
    /// Sales that were open.
    pub sales: u64,
    /// Resident memory that they added, before the first request.
    pub resident_bytes: u64,
    /// How long it took to create them.
    pub created_ms: u64,
    /// How long it took to open them again from the journal.
    pub recovered_ms: Option<u64>,
}

/// A second one, opened on a copy of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReopenFigures {
    /// How long it took to open.
    pub opened_ms: u64,
    /// Sales that were there again.
    pub sales: u64,
}

impl StageFigures {
    pub(super) fn of(name: &str, log: &StageLog) -> Self {
        let counts = &log.counts;
        let refused = Refusal::NAMES.iter().zip(counts.refused).filter(|(_, times)| *times > 0);
        Self {
            stage: name.to_owned(),
            visits: counts.visits,
            drawn: counts.drawn,
            requests: counts.started,
            registered: counts.registered,
            held: counts.held,
            confirmed: counts.confirmed,
            refused: refused.map(|(name, times)| (*name, times)).collect(),
            response_ns: Percentiles::from(&log.latencies.response),
        }
    }
}

impl BasketFigures {
    pub(super) fn of(outcome: &Outcome, counts: BasketCounts) -> Option<Self> {
        let BasketCounts { held, lines, units, sold } = counts;
        let asked = outcome.counts.baskets;
        (asked > 0).then(|| Self { asked, held, lines, units, sold, returned: held - sold })
    }
}

impl WaitlistFigures {
    pub(super) fn of(outcome: &Outcome, counts: QueueCounts) -> Option<Self> {
        let QueueCounts { offered, paid, left, gone, waiting } = counts;
        let (joins, joined) = (outcome.counts.joins, outcome.counts.joined);
        (joins > 0).then(|| Self {
            joined,
            turned_away: joins - joined,
            offered,
            accepted: outcome.counts.accepts,
            paid,
            lapsed: offered - paid,
            left,
            gone,
            waiting,
        })
    }
}

impl ChangeFigures {
    pub(super) fn of(scenario: &Scenario, record: &ChangeRecord) -> Self {
        Self {
            at_ms: millis(record.change.at),
            sale: record.change.sale.map(|sale| scenario.sales[sale].name.clone()),
            change: record.change.what.name(),
            units: record.units,
        }
    }
}

impl From<Resources> for ResourceFigures {
    fn from(resources: Resources) -> Self {
        Self {
            sales: resources.sales,
            resident_bytes: resources.resident_bytes,
            created_ms: millis(resources.created_in),
            recovered_ms: resources.recovered_in.map(millis),
        }
    }
}

impl From<&ReopenProof> for ReopenFigures {
    fn from(proof: &ReopenProof) -> Self {
        Self { opened_ms: millis(proof.opened_in), sales: count(proof.totals.len()) }
    }
}
