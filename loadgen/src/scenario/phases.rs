//! The phases of `[[arrivals]]` as people write them, and the rate curves that they mean.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::error::ScenarioError;
use crate::{
    arrivals::{Curve, Segment, Spacing, trace},
    units::{Offset, Rate, Span},
};

/// The shape of one `[[arrivals]]` entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase<'a> {
    Step(&'a Step),
    Ramp(&'a Ramp),
    Spike(&'a Spike),
    Poisson(&'a Step),
    Trace(&'a Trace),
}

/// A constant rate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    at: Option<Offset>,
    rate: Rate,
    lasts: Span,
    spacing: Option<Spacing>,
}

/// A rate that goes from one value to another in a straight line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ramp {
    at: Option<Offset>,
    from: Rate,
    to: Rate,
    lasts: Span,
    spacing: Option<Spacing>,
}

/// A rise, a plateau, an exponential decay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spike {
    at: Option<Offset>,
    /// The rate at its top; or else `visits`.
    peak: Option<Rate>,
    /// How many come in all of it; or else `peak`.
    visits: Option<u32>,
    /// How long the rate takes to its top.
    #[serde(default)]
    rise: Option<Span>,
    /// How long it stays there.
    plateau: Option<Span>,
    /// After how long the rate has fallen to 1/e.
    decay: Span,
    /// How long the decay is followed; eight times `decay` if it isn't said.
    tail: Option<Span>,
    spacing: Option<Spacing>,
}

/// A recorded crowd.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trace {
    at: Option<Offset>,
    file: PathBuf,
    scale: Option<f64>,
    spacing: Option<Spacing>,
}

/// What a phase means: a curve, or why it means none.
pub(super) enum Meaning {
    Curve(Curve),
    Nonsense(String),
}

impl Phase<'_> {
    /// The curve of this phase; without an instant of its own it starts at `previous_end`.
    pub(super) fn curve(self, previous_end: f64, folder: &Path) -> Result<Meaning, ScenarioError> {
        let starts = |at: Option<Offset>| at.map_or(previous_end, |at| at.0.as_secs_f64());
        let even = Spacing::Even;
        Ok(Meaning::Curve(match self {
            Self::Step(step) => step.curve(starts(step.at), even),
            Self::Poisson(step) => step.curve(starts(step.at), Spacing::Random),
            Self::Ramp(ramp) => {
                let seconds = ramp.lasts.0.as_secs_f64();
                let segments = vec![Segment::Linear { seconds, from: ramp.from.0, to: ramp.to.0 }];
                Curve { starts: starts(ramp.at), segments, spacing: ramp.spacing.unwrap_or(even) }
            }
            Self::Spike(spike) => return Ok(spike.curve(starts(spike.at))),
            Self::Trace(trace) => {
                let scale = trace.scale.unwrap_or(1.0);
                if !(scale > 0.0 && scale.is_finite()) {
                    return Ok(Meaning::Nonsense(format!("a scale of {scale}; expected a number above 0")));
                }
                if !stays_below(&trace.file) {
                    let problem = "a trace elsewhere; expected a path that leads to a file beside or below this one";
                    return Ok(Meaning::Nonsense(problem.to_owned()));
                }
                let segments = trace::read(&folder.join(&trace.file), scale)?;
                Curve { starts: starts(trace.at), segments, spacing: trace.spacing.unwrap_or(even) }
            }
        }))
    }
}

/// Whether a path leads nowhere but down: a scenario from a stranger must not show lines of other files.
fn stays_below(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

impl Step {
    fn curve(&self, starts: f64, usual: Spacing) -> Curve {
        let seconds = self.lasts.0.as_secs_f64();
        let segments = vec![Segment::Linear { seconds, from: self.rate.0, to: self.rate.0 }];
        Curve { starts, segments, spacing: self.spacing.unwrap_or(usual) }
    }
}

impl Spike {
    fn curve(&self, starts: f64) -> Meaning {
        let mean = self.decay.0.as_secs_f64();
        if mean <= 0.0 {
            return Meaning::Nonsense("a decay of 0s; expected a span above 0".to_owned());
        }
        let seconds = |span: Option<Span>| span.map_or(0.0, |span| span.0.as_secs_f64());
        let tail = self.tail.map_or(8.0 * mean, |tail| tail.0.as_secs_f64());
        let top = self.peak.map_or(1.0, |peak| peak.0);
        let segments = vec![
            Segment::Linear { seconds: seconds(self.rise), from: 0.0, to: top },
            Segment::Linear { seconds: seconds(self.plateau), from: top, to: top },
            Segment::Decay { seconds: tail, from: top, mean },
        ];
        let curve = Curve { starts, segments, spacing: self.spacing.unwrap_or_default() };
        match (self.peak, self.visits) {
            (Some(_), None) => Meaning::Curve(curve),
            (None, Some(visits)) if curve.visits() > 0.0 => Meaning::Curve(curve.with_visits(f64::from(visits))),
            (None, Some(_)) => Meaning::Nonsense("a spike of no length; expected a tail above 0s".to_owned()),
            _ => Meaning::Nonsense("expected either `peak` or `visits` in a spike".to_owned()),
        }
    }
}
