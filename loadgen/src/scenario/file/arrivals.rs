//! `[[arrivals]]`: a shape each, and what its people come for.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{
    super::phases::{Meaning, Phase, Ramp, Spike, Step, Trace},
    Source,
    sales::Sales,
};
use crate::{
    arrivals::Curve,
    scenario::{Arrivals, AudiencePlan, Purpose, SalePlan, ScenarioError},
};

/// More first visits than that come to no sale; the instants of more could not be told apart either.
const MOST_VISITS: f64 = 1e12;

/// The stage of people who register, and of those who buy, unless the file calls it something else.
const USUAL_STAGES: [&str; 2] = ["register", "sale"];

/// One entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArrivalsTable {
    stage: Option<String>,
    registers_for: Option<String>,
    wants: Option<String>,
    step: Option<Step>,
    ramp: Option<Ramp>,
    spike: Option<Spike>,
    poisson: Option<Step>,
    trace: Option<Trace>,
}

impl ArrivalsTable {
    /// The one shape that is said.
    fn phase(&self) -> Option<Phase<'_>> {
        let said = [
            self.step.as_ref().map(Phase::Step),
            self.ramp.as_ref().map(Phase::Ramp),
            self.spike.as_ref().map(Phase::Spike),
            self.poisson.as_ref().map(Phase::Poisson),
            self.trace.as_ref().map(Phase::Trace),
        ];
        let mut said = said.into_iter().flatten();
        let only = said.next()?;
        said.next().is_none().then_some(only)
    }

    fn purpose(&self, sales: &Sales) -> Result<Purpose, String> {
        let place = |name: &String| {
            sales
                .place(name)
                .ok_or_else(|| format!("people come for {name:?}; expected the name of one of the [[sales]]"))
        };
        match (&self.registers_for, &self.wants) {
            (None, None) => Ok(Purpose::Wishes),
            (None, Some(name)) => place(name).map(Purpose::Wants),
            (Some(name), None) => {
                let sale = place(name)?;
                let lets_in = |other: &SalePlan| other.audience == AudiencePlan::RegisteredFor(sale);
                if sales.plans[sale].is_registered_for() || sales.plans.iter().any(lets_in) {
                    Ok(Purpose::RegistersFor(sale))
                } else {
                    let expected = "a sale with an audience, a registration window or messages";
                    Err(format!("nobody needs to register for {name:?}; expected {expected}"))
                }
            }
            (Some(_), Some(_)) => Err("expected either `registers_for` or `wants`".to_owned()),
        }
    }
}

/// Reads the arrivals, and the names of their stages in the order of their first entries.
pub(super) fn read(
    tables: &Spanned<Vec<Spanned<ArrivalsTable>>>,
    sales: &Sales,
    folder: &Path,
    source: &Source<'_>,
) -> Result<(Vec<String>, Vec<Arrivals>), ScenarioError> {
    let mut stages: Vec<String> = Vec::new();
    let mut arrivals: Vec<Arrivals> = Vec::new();
    for spanned in tables.get_ref() {
        let table = spanned.get_ref();
        let Some(phase) = table.phase() else {
            return Err(source.wrong(spanned, "expected one of `step`, `ramp`, `spike`, `poisson`, `trace`"));
        };
        let purpose = table.purpose(sales).map_err(|problem| source.wrong(spanned, problem))?;
        let usual = USUAL_STAGES[usize::from(!matches!(purpose, Purpose::RegistersFor(_)))];
        let stage = table.stage.as_deref().unwrap_or(usual);
        let place = stages.iter().position(|known| known == stage).unwrap_or_else(|| {
            stages.push(stage.to_owned());
            stages.len() - 1
        });
        let previous_end = arrivals.last().map_or(0.0, |arrivals| arrivals.curve.ends());
        match phase.curve(previous_end, folder)? {
            Meaning::Curve(curve) => arrivals.push(Arrivals { curve, stage: place, purpose }),
            Meaning::Nonsense(problem) => return Err(source.wrong(spanned, problem)),
        }
    }
    let visits = arrivals.iter().map(|arrivals| Curve::visits(&arrivals.curve)).sum::<f64>();
    // A sum that is no number is in no range.
    if !(0.0..=MOST_VISITS).contains(&visits) {
        let problem = format!("{visits:e} visits; expected at most {MOST_VISITS:e} in all [[arrivals]] together");
        return Err(source.wrong(tables, problem));
    }
    if visits < 1.0 {
        return Err(source.wrong(tables, "nobody comes; expected [[arrivals]] with at least one visit"));
    }
    Ok((stages, arrivals))
}
