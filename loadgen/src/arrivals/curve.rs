//! A rate curve: visits a second over time, made of segments whose integral and its inverse are closed formulas.
//!
//! The vocabulary for spikes (start, steepness, magnitude, plateau, decay) is that of Bodik et al., "Characterizing,
//! Modeling, and Generating Workload Spikes for Stateful Services", SOCC 2010.

/// A stretch of time in which the rate follows one formula.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Segment {
    /// From one rate to another in a straight line.
    Linear {
        /// How long it lasts, in scenario seconds.
        seconds: f64,
        /// Visits a second at its start.
        from: f64,
        /// Visits a second at its end.
        to: f64,
    },
    /// Exponential decay: after each `mean` seconds the rate is 1/e of what it was.
    Decay {
        /// How long it lasts, in scenario seconds.
        seconds: f64,
        /// Visits a second at its start.
        from: f64,
        /// The time constant, in scenario seconds.
        mean: f64,
    },
}

impl Segment {
    /// How long it lasts, in scenario seconds.
    #[must_use]
    pub const fn seconds(&self) -> f64 {
        match *self {
            Self::Linear { seconds, .. } | Self::Decay { seconds, .. } => seconds,
        }
    }

    /// Visits in its first `elapsed` seconds: the integral of the rate.
    #[must_use]
    pub fn visits_until(&self, elapsed: f64) -> f64 {
        match *self {
            Self::Linear { seconds, from, to } if seconds > 0.0 => {
                elapsed * (((to - from) / (2.0 * seconds)).mul_add(elapsed, from))
            }
            Self::Linear { .. } => 0.0,
            Self::Decay { from, mean, .. } => from * mean * -(-elapsed / mean).exp_m1(),
        }
    }

    /// Visits in all of it.
    #[must_use]
    pub fn visits(&self) -> f64 {
        self.visits_until(self.seconds())
    }

    /// Seconds from its start until `visits` came: the inverse of [`Segment::visits_until`].
    ///
    /// `visits` lies between 0 and [`Segment::visits`]; the answer never lies outside the segment.
    #[must_use]
    pub fn seconds_until(&self, visits: f64) -> f64 {
        let answer = match *self {
            Self::Linear { seconds, from, to } => {
                let bend = (to - from) / seconds;
                let root = from.mul_add(from, 2.0 * bend * visits).max(0.0).sqrt();
                2.0 * visits / (from + root)
            }
            Self::Decay { from, mean, .. } => -mean * (-visits / (from * mean)).ln_1p(),
        };
        if answer.is_finite() { answer.clamp(0.0, self.seconds()) } else { self.seconds() }
    }

    /// The same curve with every rate multiplied.
    #[must_use]
    pub(crate) fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Linear { seconds, from, to } => Self::Linear { seconds, from: from * factor, to: to * factor },
            Self::Decay { seconds, from, mean } => Self::Decay { seconds, from: from * factor, mean },
        }
    }
}

/// How visits lie on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Spacing {
    /// Evenly: the count up to any instant is the integral of the rate, to within one.
    #[default]
    Even,
    /// At random: a Poisson process with the curve as its rate.
    Random,
}

/// One phase of a crowd: when it starts, how its rate goes, how the visits lie on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// When it starts, in scenario seconds after the start of the run.
    pub starts: f64,
    /// Its stretches, one after the other.
    pub segments: Vec<Segment>,
    /// How visits lie on it.
    pub spacing: Spacing,
}

impl Curve {
    /// Visits in all of it: the integral of its rate.
    #[must_use]
    pub fn visits(&self) -> f64 {
        self.segments.iter().map(Segment::visits).sum()
    }

    /// Visits until an instant, in scenario seconds after the start of the run.
    #[must_use]
    pub fn visits_by(&self, instant: f64) -> f64 {
        let mut left = instant - self.starts;
        let mut visits = 0.0;
        for segment in &self.segments {
            if left <= 0.0 {
                break;
            }
            visits += segment.visits_until(left.min(segment.seconds()));
            left -= segment.seconds();
        }
        visits
    }

    /// When it ends, in scenario seconds after the start of the run.
    #[must_use]
    pub fn ends(&self) -> f64 {
        self.starts + self.segments.iter().map(Segment::seconds).sum::<f64>()
    }

    /// The highest rate, in visits a second.
    #[must_use]
    pub fn peak(&self) -> f64 {
        let highest = |segment: &Segment| match *segment {
            Segment::Linear { from, to, .. } => from.max(to),
            Segment::Decay { from, .. } => from,
        };
        self.segments.iter().map(highest).fold(0.0, f64::max)
    }

    /// The same curve with all its rates multiplied so that `visits` people come.
    #[must_use]
    pub(crate) fn with_visits(mut self, visits: f64) -> Self {
        let factor = visits / self.visits();
        for segment in &mut self.segments {
            *segment = segment.scaled(factor);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    //! Properties: `seconds_until` inverts `visits_until`; neither leaves its segment; the integral never falls.

    use proptest::prelude::*;

    use super::*;

    fn any_segment() -> impl Strategy<Value = Segment> {
        prop_oneof![
            (0.01_f64..1e4, 0.0_f64..1e5, 0.0_f64..1e5).prop_map(|(seconds, from, to)| Segment::Linear {
                seconds,
                from,
                to
            }),
            (0.01_f64..1e4, 0.001_f64..1e5, 0.01_f64..1e3).prop_map(|(seconds, from, mean)| Segment::Decay {
                seconds,
                from,
                mean
            }),
        ]
    }

    proptest! {
        #[test]
        fn the_inverse_of_the_integral_comes_back(segment in any_segment(), part in 0.0_f64..1.0) {
            let visits = segment.visits() * part;
            let seconds = segment.seconds_until(visits);
            prop_assert!((0.0..=segment.seconds()).contains(&seconds));
            let back = segment.visits_until(seconds);
            prop_assert!((back - visits).abs() <= 1e-6 * segment.visits().max(1.0), "{back} {visits}");
        }

        #[test]
        fn the_integral_never_falls(segment in any_segment(), a in 0.0_f64..1.0, b in 0.0_f64..1.0) {
            let (early, late) = (a.min(b) * segment.seconds(), a.max(b) * segment.seconds());
            prop_assert!(segment.visits_until(early) <= segment.visits_until(late) * (1.0 + 1e-9) + 1e-9);
        }
    }
}
