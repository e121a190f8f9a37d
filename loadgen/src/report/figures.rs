//! The figures that every run has: crowd, sales, requests, latencies, journal.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    measure::{Latencies, Percentiles},
    play::HoldFigures,
    runner::Outcome,
    scenario::SalePlan,
    target::{Refusal, Totals},
    verify::SaleProof,
};

/// Who came.
#[derive(Debug, Clone, Serialize)]
pub struct CrowdFigures {
    /// People.
    pub people: u64,
    /// First visits that the arrival curves ask for.
    pub visits: u64,
}

/// Where the units of a sale are, or of all sales together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UnitFigures {
    /// Units at the start.
    pub stock: u64,
    /// Units added since.
    pub added: u64,
    /// Units withdrawn since.
    pub withdrawn: u64,
    /// Units sold.
    pub sold: u64,
    /// Units sold by an earlier run, included in `sold`.
    pub sold_before: u64,
    /// Units on hold at the end.
    pub held: u64,
    /// Units left.
    pub free: u64,
    /// Units whose confirmation has an unknown outcome.
    pub unknown: u64,
    /// Units beyond the stock.
    pub oversold: u64,
    /// Units left over although somebody was refused while they were free.
    pub undersold: u64,
    /// Buyers above the cap.
    pub over_cap: u64,
}

/// One sale, by the replies; `added` and `withdrawn` by the target.
#[derive(Debug, Clone, Serialize)]
pub struct SaleFigures {
    /// Its name.
    pub sale: String,
    /// Where its units are.
    #[serde(flatten)]
    pub units: UnitFigures,
    /// Requests for units, those that were refused included.
    pub asked: u64,
    /// Scenario milliseconds from the opening until the last unit was sold.
    pub sold_out_ms: Option<u64>,
    /// Scenario milliseconds from the opening until no unit was free.
    pub all_held_ms: Option<u64>,
}

/// The requests, and what became of them.
#[derive(Debug, Clone, Serialize)]
pub struct RequestFigures {
    /// Requests that were due.
    pub offered: u64,
    /// Requests that were sent.
    pub started: u64,
    /// Requests that were answered.
    pub completed: u64,
    /// Requests that were due and were not sent.
    pub unsent: u64,
    /// Requests for units among those that were sent.
    pub reserves: u64,
    /// Reports of payments among those that were sent.
    pub confirms: u64,
    /// Requests to give a hold back among those that were sent.
    pub cancels: u64,
    /// Holds that were granted.
    pub held: u64,
    /// Holds that became sales.
    pub confirmed: u64,
    /// Sales among them that were paid after the hold had run out.
    pub paid_late: u64,
    /// Holds that were given back.
    pub cancelled: u64,
    /// Holds that ran out.
    pub expired: u64,
    /// Holds that were still open at the end.
    pub still_held: u64,
    /// Holds whose confirmation has an unknown outcome.
    pub unknown: u64,
    /// Registrations among those that were sent.
    pub registers: u64,
    /// Requests for baskets among the requests for units.
    pub baskets: u64,
    /// Requests to join a queue among those that were sent.
    pub joins: u64,
    /// Questions whether the turn has come among those that were sent.
    pub looks: u64,
    /// Holds that were offered to somebody whose turn had come, included in `held`.
    pub turns: u64,
    /// Requests to leave a queue among those that were sent.
    pub leaves: u64,
    /// Offers that were accepted first among those that were sent.
    pub accepts: u64,
    /// Buyers who told others.
    pub shares: u64,
    /// People who came because of that.
    pub drawn: u64,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The three latencies, in nanoseconds of real time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LatencyFigures {
    /// How many requests they are of.
    pub count: u64,
    /// False if the generator was the limit: the figures are not the target's.
    pub of_target: bool,
    /// From the intended start to the end.
    pub response: Percentiles,
    /// From the real start to the end.
    pub service: Percentiles,
    /// From the intended to the real start.
    pub lag: Percentiles,
}

/// The journal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct JournalFigures {
    /// Records of every kind.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Confirmed sales.
    pub sales: u64,
}

/// All sales together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SaleSums {
    /// How many sales.
    pub sales: u64,
    /// Sales that somebody asked for.
    pub asked_for: u64,
    /// Sales of which every unit is sold.
    pub sold_out: u64,
    /// Where their units are.
    #[serde(flatten)]
    pub units: UnitFigures,
}

impl UnitFigures {
    fn add(&mut self, other: &Self) {
        self.stock += other.stock;
        self.added += other.added;
        self.withdrawn += other.withdrawn;
        self.sold += other.sold;
        self.sold_before += other.sold_before;
        self.held += other.held;
        self.free += other.free;
        self.unknown += other.unknown;
        self.oversold += other.oversold;
        self.undersold += other.undersold;
        self.over_cap += other.over_cap;
    }
}

impl SaleSums {
    pub(super) fn add(&mut self, sale: &SaleFigures) {
        let units = &sale.units;
        self.sales += 1;
        self.asked_for += u64::from(sale.asked > 0);
        self.sold_out += u64::from(units.sold > 0 && units.free + units.held + units.unknown == 0);
        self.units.add(units);
    }
}

impl SaleFigures {
    pub(super) fn new(plan: &SalePlan, proof: &SaleProof, totals: Option<Totals>) -> Self {
        let stock = u64::from(plan.stock);
        // Holds run out while the target is asked: within what the replies allow, its own figure is the exact one.
        let held = totals.map_or(proof.held, |totals| totals.held.clamp(proof.held_surely, proof.held));
        let totals = totals.unwrap_or_default();
        let offered = (stock + totals.added).saturating_sub(totals.withdrawn);
        let units = UnitFigures {
            stock,
            added: totals.added,
            withdrawn: totals.withdrawn,
            sold: proof.sold,
            sold_before: proof.sold_before,
            held,
            free: offered.saturating_sub(proof.sold + proof.unknown + held),
            unknown: proof.unknown,
            oversold: proof.oversold,
            undersold: proof.undersold,
            over_cap: proof.over_cap,
        };
        let (sold_out_ms, all_held_ms) = (proof.sold_out_ms, proof.all_held_ms);
        Self { sale: plan.name.clone(), units, asked: proof.asked, sold_out_ms, all_held_ms }
    }
}

impl RequestFigures {
    pub(super) fn new(outcome: &Outcome, holds: HoldFigures) -> Self {
        let counts = &outcome.counts;
        let refused = Refusal::NAMES.iter().zip(counts.refused).filter(|(_, times)| *times > 0);
        Self {
            offered: counts.offered(),
            started: counts.started,
            completed: counts.completed,
            unsent: counts.unsent,
            reserves: counts.reserves,
            confirms: counts.confirms,
            cancels: counts.cancels,
            held: holds.held,
            confirmed: holds.confirmed,
            paid_late: holds.paid_late,
            cancelled: holds.cancelled,
            expired: holds.expired,
            still_held: holds.still_held,
            unknown: holds.unknown,
            registers: counts.registers,
            baskets: counts.baskets,
            joins: counts.joins,
            looks: counts.looks,
            turns: counts.offered,
            leaves: counts.leaves,
            accepts: counts.accepts,
            shares: counts.shares,
            drawn: counts.drawn,
            refused: refused.map(|(name, times)| (*name, times)).collect(),
        }
    }
}

impl LatencyFigures {
    pub(super) fn new(latencies: &Latencies, of_target: bool) -> Self {
        Self {
            count: latencies.response.len(),
            of_target,
            response: Percentiles::from(&latencies.response),
            service: Percentiles::from(&latencies.service),
            lag: Percentiles::from(&latencies.lag),
        }
    }
}
