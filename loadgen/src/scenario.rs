//! A scenario: what is sold, who comes when, and how people behave.
//!
//! A scenario is a TOML file; the built-in ones are files too. Whatever it can't mean is an error that names the line
//! and what was expected there: unknown keys, stocks beyond the maximum, a crowd that wants a sale that isn't there.
//!
//! A file may come from a stranger: it can ask for the work of a crowd, but not for more memory than its sales need,
//! and for no file but traces beside or below it.

mod builtin;
mod change;
mod crowd;
mod error;
mod file;
mod phases;
mod plan;
mod stages;

use std::{fs::File, io::Read, path::Path, time::Duration};

pub use self::{
    builtin::{built_in, built_ins},
    change::{Change, WhatChanges},
    crowd::{Baskets, Bots, Crowd, DoubleClicks, Messages, Paying, Payment, Retries, Returning, Sharing, Waiting},
    error::ScenarioError,
    plan::{AmountsPlan, AudiencePlan, SalePlan, UnitsPlan, WaitOrderPlan, WaitlistPlan},
    stages::{Arrivals, Purpose},
};
use crate::{target::Ability, units::Speed};

/// What is sold, who comes when, and how people behave.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name, which is also the stem of its journal's sales.
    pub name: String,
    /// What happened, in a line.
    pub story: String,
    /// How many scenario seconds a real one has, unless the command line says otherwise.
    pub speed: Speed,
    /// When the last person leaves, even if the shop still says "all held".
    pub gives_up: Duration,
    /// What is sold.
    pub sales: Vec<SalePlan>,
    /// Who comes.
    pub crowd: Crowd,
    /// The names of the stages, in the order of the story.
    pub stages: Vec<String>,
    /// When they come, and for what.
    pub arrivals: Vec<Arrivals>,
    /// Who asks again after a refusal.
    pub retries: Retries,
    /// Who clicks twice.
    pub double_clicks: DoubleClicks,
    /// Who asks by machine.
    pub bots: Bots,
    /// Who buys from several sales at once.
    pub baskets: Baskets,
    /// Who waits for units that come back.
    pub waiting: Waiting,
    /// Who tells others.
    pub sharing: Sharing,
    /// What people do with messages that are not for them.
    pub messages: Messages,
    /// What changes while the crowd is there, in the order of the instants.
    pub changes: Vec<Change>,
    /// How people pay.
    pub payment: Payment,
}

/// A longer file is no scenario: a million labels take less.
const MOST_BYTES: u64 = 32 << 20;

/// What a file says, if it is short enough to be a scenario.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte beyond the limit shows that there is more.
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(std::io::Error::other(format!("it is longer than {MOST_BYTES} bytes: cut it")));
    }
    Ok(text)
}

impl Scenario {
    /// The built-in scenario of that name, or else the file at that path.
    ///
    /// # Errors
    /// [`ScenarioError`] if there is neither, or the file can't be read or understood.
    pub fn find(name_or_path: &str) -> Result<Self, ScenarioError> {
        if let Some(text) = built_in(name_or_path) {
            return Self::parse(text, name_or_path, Path::new("."));
        }
        let path = Path::new(name_or_path);
        let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        if !is_toml && !path.is_file() {
            return Err(error::unknown(name_or_path));
        }
        let text = read_text(path).map_err(|source| ScenarioError::Read { path: name_or_path.to_owned(), source })?;
        Self::parse(&text, name_or_path, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads a scenario from `text`; `source` names it in errors, traces are looked for in `folder`.
    ///
    /// # Errors
    /// [`ScenarioError`] names the line and what was expected there.
    pub fn parse(text: &str, source: &str, folder: &Path) -> Result<Self, ScenarioError> {
        file::read(text, source, folder)
    }

    /// Units on offer in all sales together.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.sales.iter().map(|sale| u64::from(sale.stock)).sum()
    }

    /// The visits that are expected: the integral of the arrival curves.
    #[must_use]
    pub fn visits(&self) -> f64 {
        self.arrivals.iter().map(|arrivals| arrivals.curve.visits()).sum()
    }

    /// What a target must be able to do, beyond selling to everybody or to who registered before.
    #[must_use]
    pub fn needs(&self) -> Vec<Ability> {
        let any = |is_so: fn(&SalePlan) -> bool| self.sales.iter().any(is_so);
        let comes = |is_so: fn(&Arrivals) -> bool| self.arrivals.iter().any(is_so);
        let registers = comes(|arrivals| matches!(arrivals.purpose, Purpose::RegistersFor(_)))
            || any(|sale| sale.registers_from.is_some() || sale.registers_until.is_some());
        let of_others = any(|sale| {
            matches!(sale.audience, AudiencePlan::RegisteredFor(_) | AudiencePlan::BuyersOf(_))
                || sale.everyone_from.is_some()
        });
        let needed = [
            (registers, Ability::Registration),
            (of_others, Ability::Audiences),
            (any(|sale| sale.audience == AudiencePlan::Invited), Ability::Invitations),
            (any(|sale| sale.reminds_at.is_some() || sale.links_at.is_some()), Ability::Messages),
            (any(SalePlan::has_faces), Ability::Faces),
            (any(|sale| sale.waitlist.is_some()), Ability::Waitlist),
            (self.baskets.share.0 > 0.0, Ability::Baskets),
            (!self.changes.is_empty(), Ability::Changes),
        ];
        needed.into_iter().filter(|(needed, _)| *needed).map(|(_, ability)| ability).collect()
    }
}
