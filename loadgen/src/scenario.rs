//! A scenario: what is sold, who comes when, and how people behave.
//!
//! A scenario is a TOML file; the built-in ones are files too. Whatever it can't mean is an error that names the line
//! and what was expected there: unknown keys, stocks beyond the maximum, a crowd that wants a sale that isn't there.

mod builtin;
mod crowd;
mod error;
mod file;
mod phases;

use std::{path::Path, time::Duration};

use sellout::{Audience, SaleSpec, Timestamp};

pub use self::{
    builtin::{built_in, built_ins},
    crowd::{Bots, Crowd, DoubleClicks, Paying, Payment, Retries, Returning},
    error::ScenarioError,
};
use crate::{arrivals::Curve, units::Speed};

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
    /// When they come.
    pub arrivals: Vec<Curve>,
    /// Who asks again after a refusal.
    pub retries: Retries,
    /// Who clicks twice.
    pub double_clicks: DoubleClicks,
    /// Who asks by machine.
    pub bots: Bots,
    /// How people pay.
    pub payment: Payment,
}

/// One sale of a scenario; instants count from the start of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct SalePlan {
    /// Its name.
    pub name: String,
    /// Units on offer.
    pub stock: u32,
    /// At most so many units a buyer.
    pub cap: u32,
    /// At most so many units in one hold.
    pub largest: u32,
    /// How long a buyer has to pay.
    pub hold: Duration,
    /// How long a hold is kept after its deadline for a payment on its way.
    pub grace: Duration,
    /// When units may be had from.
    pub opens_at: Duration,
    /// When no new hold is made any more.
    pub closes_at: Option<Duration>,
    /// Whether only registered people may buy.
    pub registered_only: bool,
    /// Its weight in what people want.
    pub weight: f64,
}

impl SalePlan {
    /// The engine's spec of this sale in a run that starts at `base`.
    pub fn spec(&self, base: Timestamp) -> SaleSpec {
        let audience = if self.registered_only { Audience::Registered } else { Audience::Everyone };
        let spec = SaleSpec::new(&self.name, self.stock)
            .cap(self.cap)
            .largest(self.largest)
            .hold_for(self.hold)
            .grace(self.grace)
            .opens_at(base.plus(self.opens_at))
            .audience(audience);
        match self.closes_at {
            Some(closes_at) => spec.closes_at(base.plus(closes_at)),
            None => spec,
        }
    }
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
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: name_or_path.to_owned(), source })?;
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
        self.arrivals.iter().map(Curve::visits).sum()
    }
}
