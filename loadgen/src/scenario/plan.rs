//! A sale as a scenario plans it; instants count from the start of the run.

use std::{sync::Arc, time::Duration};

use sellout::{Amounts, Audience, SaleSpec, Timestamp, Units, WaitOrder, Waitlist};

use crate::target::SaleIndex;

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
    /// Who may buy.
    pub audience: AudiencePlan,
    /// Whether a share of the crowd registered before the run; else people register while it runs, or nobody does.
    pub registered_beforehand: bool,
    /// From when everybody may buy, whatever the audience.
    pub everyone_from: Option<Duration>,
    /// When registration opens, if it has a window.
    pub registers_from: Option<Duration>,
    /// When registration ends, if it has a window.
    pub registers_until: Option<Duration>,
    /// When who registered is reminded.
    pub reminds_at: Option<Duration>,
    /// When who registered gets the purchase link.
    pub links_at: Option<Duration>,
    /// What its units are.
    pub units: UnitsPlan,
    /// The queue for units that come back, if it has one.
    pub waitlist: Option<WaitlistPlan>,
    /// Its weight in what people want.
    pub weight: f64,
}

/// Who may buy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudiencePlan {
    /// Everybody.
    #[default]
    Everyone,
    /// Who registered for this sale.
    Registered,
    /// Who registered for that other sale.
    RegisteredFor(SaleIndex),
    /// Who bought a unit of that other sale.
    BuyersOf(SaleIndex),
    /// Who has an invitation: the purchase link that who registered gets.
    Invited,
}

/// What the units of a sale are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnitsPlan {
    /// One is as good as the other.
    #[default]
    Alike,
    /// Each has a number, from `first` on.
    Numbered {
        /// The number of the first unit.
        first: u32,
    },
    /// Each has a label of its own: a seat, a serial number, a coupon code.
    Listed(Arc<[Box<str>]>),
    /// Each is an amount of money.
    Amounts(AmountsPlan),
}

/// Random amounts that add up to a budget; in cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmountsPlan {
    /// What they add up to.
    pub budget: u64,
    /// The least of an amount.
    pub floor: u32,
    /// The most of an amount.
    pub ceiling: u32,
    /// What they are drawn from.
    pub seed: u64,
}

/// A queue for units that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitlistPlan {
    /// How many people may wait.
    pub room: u32,
    /// How long the one to whom a unit is offered has to accept it.
    pub accept_within: Duration,
    /// Who comes first.
    pub order: WaitOrderPlan,
}

/// Who comes first in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitOrderPlan {
    /// Who joined first.
    #[default]
    FirstCome,
    /// Who is drawn first.
    Lottery {
        /// The published seed.
        seed: u64,
    },
}

impl SalePlan {
    /// The engine's spec of this sale in a run that starts at `base`; `sales` are all of the scenario's.
    pub fn spec(&self, base: Timestamp, sales: &[Self]) -> SaleSpec {
        let name_of = |place: SaleIndex| sales.get(place).map_or_else(String::new, |sale| sale.name.clone());
        let audience = match self.audience {
            AudiencePlan::Everyone => Audience::Everyone,
            AudiencePlan::Registered => Audience::Registered,
            AudiencePlan::Invited => Audience::Invited,
            AudiencePlan::RegisteredFor(place) => Audience::RegisteredFor(name_of(place)),
            AudiencePlan::BuyersOf(place) => Audience::BuyersOf(name_of(place)),
        };
        let mut spec = SaleSpec::new(&self.name, self.stock)
            .cap(self.cap)
            .largest(self.largest)
            .hold_for(self.hold)
            .grace(self.grace)
            .opens_at(base.plus(self.opens_at))
            .audience(audience)
            .units(self.units.spec());
        let mut say = |at: Option<Duration>, of: fn(SaleSpec, Timestamp) -> SaleSpec| {
            if let Some(at) = at {
                spec = of(spec.clone(), base.plus(at));
            }
        };
        say(self.closes_at, SaleSpec::closes_at);
        say(self.everyone_from, SaleSpec::everyone_from);
        say(self.registers_from, SaleSpec::registers_from);
        say(self.registers_until, SaleSpec::registers_until);
        say(self.reminds_at, SaleSpec::reminds_at);
        say(self.links_at, SaleSpec::links_at);
        match self.waitlist {
            Some(WaitlistPlan { room, accept_within, order }) => {
                spec.waitlist(Waitlist { room, accept_within, order: order.spec() })
            }
            None => spec,
        }
    }

    /// Whether a unit of it can be told from another.
    #[must_use]
    pub fn has_faces(&self) -> bool {
        self.units != UnitsPlan::Alike
    }

    /// Whether only some may buy, at least at first.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.audience != AudiencePlan::Everyone
    }

    /// Whether registering for it means something: an audience, or messages to who registered.
    #[must_use]
    pub const fn is_registered_for(&self) -> bool {
        matches!(self.audience, AudiencePlan::Registered | AudiencePlan::Invited)
            || self.reminds_at.is_some()
            || self.links_at.is_some()
            || self.registers_from.is_some()
            || self.registers_until.is_some()
    }
}

impl UnitsPlan {
    fn spec(&self) -> Units {
        match self {
            Self::Alike => Units::Alike,
            Self::Numbered { first } => Units::Numbered { first: *first },
            Self::Listed(labels) => Units::Listed(Arc::clone(labels)),
            Self::Amounts(AmountsPlan { budget, floor, ceiling, seed }) => {
                Units::Amounts(Amounts { budget: *budget, floor: *floor, ceiling: *ceiling, seed: *seed })
            }
        }
    }
}

impl WaitOrderPlan {
    const fn spec(self) -> WaitOrder {
        match self {
            Self::FirstCome => WaitOrder::FirstCome,
            Self::Lottery { seed } => WaitOrder::Lottery { seed },
        }
    }
}
