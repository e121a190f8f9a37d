//! Who may buy what, as far as a worker knows from the answers that its own people got.
//!
//! What is *surely* so was answered before the request that it is held against; what is *possibly* so was asked for.

use std::collections::HashMap;

use crate::{
    clock::ScaledClock,
    people::{People, Person},
    scenario::{AudiencePlan, Scenario},
    target::{Opening, SaleIndex},
    verify::log::Exchange,
};

/// Whether somebody may buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) surely: bool,
    pub(super) possibly: bool,
}

impl Admitted {
    const YES: Self = Self { surely: true, possibly: true };
    const NO: Self = Self { surely: false, possibly: false };
}

pub(super) struct Admission<'a> {
    scenario: &'a Scenario,
    people: &'a People<'a>,
    clock: &'a ScaledClock,
    /// Sales in which an earlier run let in people whom this one doesn't know.
    resumed: Vec<bool>,
    /// Sales whose buyers another sale lets in.
    lets_in: Vec<SaleIndex>,
    registered: HashMap<(SaleIndex, Person), bool>,
    /// Who registered, in that order: whose links may be borrowed.
    with_link: Vec<(SaleIndex, Person)>,
    bought: HashMap<(SaleIndex, Person), bool>,
}

impl<'a> Admission<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        people: &'a People<'a>,
        clock: &'a ScaledClock,
        opening: &Opening,
    ) -> Self {
        let lets_in = scenario.sales.iter().filter_map(|sale| match sale.audience {
            AudiencePlan::BuyersOf(other) => Some(other),
            _ => None,
        });
        Self {
            scenario,
            people,
            clock,
            resumed: opening.sales.iter().map(|sale| sale.resumed).collect(),
            lets_in: lets_in.collect(),
            registered: HashMap::new(),
            with_link: Vec::new(),
            bought: HashMap::new(),
        }
    }

    /// Notes a registration; whether it is news.
    pub(super) fn registered(&mut self, sale: SaleIndex, person: Person, surely: bool) -> bool {
        let known = self.registered.insert((sale, person), surely);
        if known == Some(true) {
            self.registered.insert((sale, person), true);
        }
        if surely && known != Some(true) && self.scenario.sales[sale].audience == AudiencePlan::Invited {
            self.with_link.push((sale, person));
        }
        known.is_none_or(|known| surely && !known)
    }

    /// Notes that somebody pays, or has paid.
    pub(super) fn bought(&mut self, sale: SaleIndex, person: Person, surely: bool) {
        if self.lets_in.contains(&sale) {
            *self.bought.entry((sale, person)).or_default() |= surely;
        }
    }

    /// Whose link somebody uses, if any.
    pub(super) fn link(&self, sale: SaleIndex, person: Person, fraction: impl FnOnce() -> usize) -> Option<Person> {
        if self.scenario.sales[sale].audience != AudiencePlan::Invited {
            return None;
        }
        if self.is_registered(sale, person).surely {
            return Some(person);
        }
        if !self.people.borrows_a_link(person) {
            return None;
        }
        if self.scenario.sales[sale].registered_beforehand {
            return (0..self.scenario.crowd.people).find(|other| self.people.is_registered(*other));
        }
        let place = fraction().checked_rem(self.with_link.len())?;
        self.with_link.get(place).filter(|(of, _)| *of == sale).map(|(_, person)| *person)
    }

    /// Whether somebody was let in at a request.
    pub(super) fn judge(&self, sale: SaleIndex, person: Person, exchange: Exchange) -> Admitted {
        let plan = &self.scenario.sales[sale];
        let own = match plan.audience {
            AudiencePlan::Everyone => return Admitted::YES,
            AudiencePlan::Registered => self.is_registered(sale, person),
            // Whether the link has come is not known here.
            AudiencePlan::Invited => Admitted { surely: false, ..self.is_registered(sale, person) },
            AudiencePlan::RegisteredFor(other) => self.is_registered(other, person),
            AudiencePlan::BuyersOf(other) => self.known(other, self.bought.get(&(other, person))),
        };
        let everyone = plan.everyone_from.map(|from| self.clock.real_ns(from));
        Admitted {
            surely: own.surely || everyone.is_some_and(|from| exchange.called_ns > from),
            possibly: own.possibly
                || everyone.is_some_and(|from| exchange.replied_ns >= from)
                || (plan.everyone_from.is_some() && self.is_resumed(sale)),
        }
    }

    fn is_registered(&self, sale: SaleIndex, person: Person) -> Admitted {
        if self.scenario.sales[sale].registered_beforehand {
            return if self.people.is_registered(person) { Admitted::YES } else { Admitted::NO };
        }
        self.known(sale, self.registered.get(&(sale, person)))
    }

    fn known(&self, sale: SaleIndex, surely: Option<&bool>) -> Admitted {
        match surely {
            Some(true) => Admitted::YES,
            Some(false) => Admitted { surely: false, possibly: true },
            None => Admitted { surely: false, possibly: self.is_resumed(sale) },
        }
    }

    fn is_resumed(&self, sale: SaleIndex) -> bool {
        self.resumed.get(sale).copied().unwrap_or(false)
    }
}
