//! Who comes and how they behave: people, retries, double clicks, bots, payments.

use std::time::Duration;

use serde::Deserialize;

use crate::units::{Share, Span};

/// Who comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Crowd {
    /// How many different people there are.
    pub people: u32,
    /// The share of them who registered beforehand.
    pub registered: Share,
    /// Weights of asking for 1, 2, 3, ... units.
    pub quantities: Vec<f64>,
}

/// Who asks again after a refusal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct Retries {
    /// The share of people who do.
    pub share: Share,
    /// How often, at most.
    pub most: u32,
    /// How long they wait, on average; each time between half and one and a half of it.
    pub every: Span,
    /// After which refusals.
    pub on: Vec<Returning>,
}

impl Default for Retries {
    fn default() -> Self {
        let every = Span(Duration::from_secs(10));
        Self { share: Share(0.0), most: 1_000, every, on: vec![Returning::NotOpen, Returning::AllHeld] }
    }
}

/// A refusal after which people may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Returning {
    /// The sale isn't open yet.
    NotOpen,
    /// The sale is paused.
    Paused,
    /// Only others may buy now, and everybody may later.
    NotEligible,
    /// Another attempt of the same person is under way.
    AttemptUnderWay,
    /// Every unit is on hold: one may come back.
    AllHeld,
    /// The target failed to answer properly.
    Failed,
}

/// Who clicks twice.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoubleClicks {
    /// The share of people who do.
    pub share: Share,
    /// How long after the first click.
    pub after: Span,
}

impl Default for DoubleClicks {
    fn default() -> Self {
        Self { share: Share(0.0), after: Span(Duration::from_millis(300)) }
    }
}

/// Who asks by machine, whatever the answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bots {
    /// The share of people who are bots.
    pub share: Share,
    /// How often each of them asks.
    pub attempts: u32,
    /// How long between two attempts.
    pub every: Span,
}

impl Default for Bots {
    fn default() -> Self {
        Self { share: Share(0.0), attempts: 100, every: Span(Duration::from_secs(1)) }
    }
}

/// Who buys from several sales at once, all or nothing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Baskets {
    /// The share of people who do.
    pub share: Share,
    /// How many different sales, at most; at least two, each number as likely as the other.
    pub kinds: u32,
    /// How many units in all, at most.
    pub tickets: u32,
}

impl Default for Baskets {
    fn default() -> Self {
        Self { share: Share(0.0), kinds: 2, tickets: 4 }
    }
}

/// Who waits for units that come back, and what they do then.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Waiting {
    /// The share of people who join when they are told that all is held.
    pub share: Share,
    /// The share of those who wait and leave before their turn.
    pub leaves: Share,
    /// The share of those who pay and accept the offer first, to have the full time.
    pub accepts: Share,
    /// The share of those with an offer who pay.
    pub pays: Share,
    /// How often they look whether it is their turn.
    pub every: Span,
    /// How long they wait before they give up; for ever if it isn't said.
    pub patience: Option<Span>,
}

impl Default for Waiting {
    fn default() -> Self {
        let every = Span(Duration::from_secs(10));
        Self { share: Share(0.0), leaves: Share(0.0), accepts: Share(0.5), pays: Share(1.0), every, patience: None }
    }
}

/// Who tells others once they have paid.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sharing {
    /// The share of payers who do.
    pub share: Share,
    /// How many people each of them draws, on average; only people who have not come yet can be drawn.
    pub draws: f64,
    /// After how long they come, on average.
    pub after: Span,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { share: Share(0.0), draws: 1.0, after: Span(Duration::from_mins(1)) }
    }
}

/// What people do with messages that are not for them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Messages {
    /// The share of people without a purchase link who try somebody else's.
    pub borrowed: Share,
}

/// How people pay: weights of the ways, and how long they take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Payment {
    /// Weight of paying after `delay`.
    pub at_once: f64,
    /// Weight of paying in the second half of the hold.
    pub late: f64,
    /// Weight of paying at the very deadline.
    pub at_deadline: f64,
    /// Weight of paying after deadline and grace.
    pub after_deadline: f64,
    /// Weight of never paying: the unit comes back when the hold runs out.
    pub never: f64,
    /// Weight of a payment that the provider reports twice.
    pub twice: f64,
    /// Weight of giving the unit back.
    pub cancel: f64,
    /// How long "at once" takes, on average.
    pub delay: Span,
    /// Whether people who came back for a unit pay at once: they know what they want.
    pub returning_pay: bool,
}

impl Default for Payment {
    fn default() -> Self {
        Self {
            at_once: 1.0,
            late: 0.0,
            at_deadline: 0.0,
            after_deadline: 0.0,
            never: 0.0,
            twice: 0.0,
            cancel: 0.0,
            delay: Span(Duration::from_secs(20)),
            returning_pay: false,
        }
    }
}

/// A way of paying, or of not paying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Paying {
    /// Soon after getting the unit.
    AtOnce,
    /// In the second half of the hold.
    Late,
    /// At the very deadline.
    AtDeadline,
    /// After deadline and grace.
    AfterDeadline,
    /// Never.
    Never,
    /// Soon, and reported twice.
    Twice,
    /// Not at all: the unit is given back.
    Cancel,
}

impl Payment {
    /// The ways in the order of [`Payment::weights`].
    pub(crate) const WAYS: [Paying; 7] = [
        Paying::AtOnce,
        Paying::Late,
        Paying::AtDeadline,
        Paying::AfterDeadline,
        Paying::Never,
        Paying::Twice,
        Paying::Cancel,
    ];

    /// The weight of each way.
    #[must_use]
    pub const fn weights(&self) -> [f64; 7] {
        [self.at_once, self.late, self.at_deadline, self.after_deadline, self.never, self.twice, self.cancel]
    }
}
