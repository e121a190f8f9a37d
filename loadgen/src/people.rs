//! The crowd: what each person is and wants, by a hash of seed and number, and one byte a person of what became of it.
//!
//! A person belongs to one worker: number modulo workers. Ten million people take ten megabytes, all workers together.

use crate::{
    chance::{of_person, pick},
    number::{count, index},
    scenario::Scenario,
    target::SaleIndex,
    units::Share,
};

/// A person of the crowd, from 0.
pub(crate) type Person = u32;

/// The questions that a person's hash answers.
mod about {
    pub(super) const REGISTERED: u64 = 1;
    pub(super) const BOT: u64 = 2;
    pub(super) const DOUBLE_CLICK: u64 = 3;
    pub(super) const PATIENT: u64 = 4;
    pub(super) const SALE: u64 = 5;
    pub(super) const QUANTITY: u64 = 6;
}

/// What people are and want; shared by all workers.
#[derive(Debug)]
pub(crate) struct People<'a> {
    scenario: &'a Scenario,
    seed: u64,
    /// The sums of the sales' weights up to each sale.
    wanted: Vec<f64>,
}

impl<'a> People<'a> {
    pub(crate) fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut sum = 0.0;
        let wanted = scenario.sales.iter().map(|sale| {
            sum += sale.weight;
            sum
        });
        Self { scenario, seed, wanted: wanted.collect() }
    }

    /// The buyer that a person is towards the shop.
    pub(crate) fn buyer(person: Person) -> u64 {
        u64::from(person) + 1
    }

    /// Everybody who registered beforehand, as buyers.
    pub(crate) fn registered_buyers(&self) -> impl Iterator<Item = u64> {
        (0..self.scenario.crowd.people).filter(|&person| self.is_registered(person)).map(Self::buyer)
    }

    /// Whether a person belongs to the share of people of whom something is true.
    fn is_among(&self, person: Person, about: u64, share: Share) -> bool {
        share.0 > 0.0 && of_person(self.seed, person.into(), about) < share.0
    }

    pub(crate) fn is_registered(&self, person: Person) -> bool {
        self.is_among(person, about::REGISTERED, self.scenario.crowd.registered)
    }

    pub(crate) fn is_bot(&self, person: Person) -> bool {
        self.is_among(person, about::BOT, self.scenario.bots.share)
    }

    pub(crate) fn clicks_twice(&self, person: Person) -> bool {
        self.is_among(person, about::DOUBLE_CLICK, self.scenario.double_clicks.share)
    }

    pub(crate) fn is_patient(&self, person: Person) -> bool {
        self.is_among(person, about::PATIENT, self.scenario.retries.share)
    }

    /// The sale that a person came for.
    pub(crate) fn sale(&self, person: Person) -> SaleIndex {
        let [.., all] = self.wanted.as_slice() else { return 0 };
        if self.wanted.len() == 1 {
            return 0;
        }
        let wish = of_person(self.seed, person.into(), about::SALE) * all;
        self.wanted.partition_point(|sum| *sum <= wish).min(self.wanted.len() - 1)
    }

    /// How many units a person asks for at the first visit.
    pub(crate) fn quantity(&self, person: Person) -> u32 {
        let quantities = &self.scenario.crowd.quantities;
        if quantities.len() == 1 {
            return 1;
        }
        let place = pick(quantities, of_person(self.seed, person.into(), about::QUANTITY));
        u32::try_from(place + 1).unwrap_or(u32::MAX)
    }
}

/// What became of one worker's people.
#[derive(Debug)]
pub(crate) struct Fates {
    worker: usize,
    workers: usize,
    bytes: Vec<u8>,
    visits: u64,
}

/// Has, or had, a unit.
const SERVED: u8 = 1;
/// Will come back.
const WAITING: u8 = 2;

impl Fates {
    pub(crate) fn new(people: u32, worker: usize, workers: usize) -> Self {
        let people = index(people.into());
        let mine = (people + workers - 1 - worker) / workers;
        Self { worker, workers, bytes: vec![0; mine], visits: 0 }
    }

    /// Whose visit comes next: everybody once, in order, and then again from the first.
    pub(crate) fn next_visitor(&mut self) -> Option<Person> {
        let mine = count(self.bytes.len());
        let place = index(self.visits.checked_rem(mine)?);
        self.visits += 1;
        Person::try_from(self.worker + place * self.workers).ok()
    }

    pub(crate) fn is_served(&self, person: Person) -> bool {
        self.bytes[self.place(person)] & SERVED != 0
    }

    pub(crate) fn serve(&mut self, person: Person) {
        let place = self.place(person);
        self.bytes[place] |= SERVED;
    }

    /// Notes that a person will come back; false if it was going to anyway.
    pub(crate) fn start_waiting(&mut self, person: Person) -> bool {
        let place = self.place(person);
        let was_waiting = self.bytes[place] & WAITING != 0;
        self.bytes[place] |= WAITING;
        !was_waiting
    }

    pub(crate) fn stop_waiting(&mut self, person: Person) {
        let place = self.place(person);
        self.bytes[place] &= !WAITING;
    }

    fn place(&self, person: Person) -> usize {
        index(person.into()) / self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_person_belongs_to_one_worker_and_comes_in_turn() {
        for workers in 1..5 {
            let mut all = Vec::new();
            for worker in 0..workers {
                let mut fates = Fates::new(10, worker, workers);
                all.extend((0..fates.bytes.len()).filter_map(|_| fates.next_visitor()));
            }
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(Fates::new(1, 3, 4).next_visitor(), None, "more workers than people");
    }

    #[test]
    fn after_the_last_person_the_first_comes_again() {
        let mut fates = Fates::new(3, 0, 1);
        let visitors: Vec<_> = (0..5).filter_map(|_| fates.next_visitor()).collect();
        assert_eq!(visitors, [0, 1, 2, 0, 1]);
    }
}
