//! Who may buy what, as far as a worker knows from the answers that its own people got.
//!
//! What is *surely* so was answered before the request that it is held against; what is *possibly* so was asked for.

use crate::{
    clock::ScaledClock,
    number::index,
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
    registered: Noted,
    /// Who registered, in that order: whose links may be borrowed.
    with_link: Vec<(SaleIndex, Person)>,
    bought: Noted,
}

/// A byte a person for each of the few sales that it matters for.
#[derive(Default)]
struct Noted {
    workers: usize,
    sales: Vec<(SaleIndex, Vec<u8>)>,
}

/// What is noted of a person.
const POSSIBLY: u8 = 1;
const SURELY: u8 = 2;

impl Noted {
    const fn of_workers(workers: usize) -> Self {
        Self { workers, sales: Vec::new() }
    }

    fn get(&self, sale: SaleIndex, person: Person) -> u8 {
        let noted = self.sales.iter().find(|(noted, _)| *noted == sale);
        noted.and_then(|(_, people)| people.get(index(person.into()) / self.workers)).copied().unwrap_or(0)
    }

    /// Notes more than was known; what was known before.
    fn note(&mut self, sale: SaleIndex, person: Person, what: u8) -> u8 {
        let known = self.sales.iter().position(|(noted, _)| *noted == sale).unwrap_or_else(|| {
            self.sales.push((sale, Vec::new()));
            self.sales.len() - 1
        });
        let people = &mut self.sales[known].1;
        let place = index(person.into()) / self.workers;
        if people.len() <= place {
            people.resize(place + 1, 0);
        }
        let before = people[place];
        people[place] = before.max(what);
        before
    }
}

impl<'a> Admission<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        people: &'a People<'a>,
        clock: &'a ScaledClock,
        opening: &Opening,
        workers: usize,
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
            registered: Noted::of_workers(workers),
            with_link: Vec::new(),
            bought: Noted::of_workers(workers),
        }
    }

    /// Notes a registration; whether it is news.
    pub(super) fn registered(&mut self, sale: SaleIndex, person: Person, surely: bool) -> bool {
        let what = if surely { SURELY } else { POSSIBLY };
        let known = self.registered.note(sale, person, what);
        if surely && known < SURELY && self.scenario.sales[sale].audience == AudiencePlan::Invited {
            self.with_link.push((sale, person));
        }
        known < what
    }

    /// Notes that somebody pays, or has paid.
    pub(super) fn bought(&mut self, sale: SaleIndex, person: Person, surely: bool) {
        if self.lets_in.contains(&sale) {
            self.bought.note(sale, person, if surely { SURELY } else { POSSIBLY });
        }
    }

    /// Whose link somebody uses, if any.
    pub(super) fn link(&self, sale: SaleIndex, person: Person, any: impl FnOnce() -> usize) -> Option<Person> {
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
        let place = any().checked_rem(self.with_link.len())?;
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
            AudiencePlan::BuyersOf(other) => self.known(other, self.bought.get(other, person)),
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
        self.known(sale, self.registered.get(sale, person))
    }

    fn known(&self, sale: SaleIndex, noted: u8) -> Admitted {
        Admitted { surely: noted == SURELY, possibly: noted > 0 || self.is_resumed(sale) }
    }

    fn is_resumed(&self, sale: SaleIndex) -> bool {
        self.resumed.get(sale).copied().unwrap_or(false)
    }
}
