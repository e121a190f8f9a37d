//! The crowd: what each person is and wants, by a hash of seed and number, and one byte a person of what became of it.
//!
//! A person belongs to one worker: number modulo workers. Ten million people take ten megabytes, all workers together.

use crate::{
    chance::{mix, of_person, pick},
    number::{count, index, whole},
    scenario::Scenario,
    target::{Line, SaleIndex},
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
    pub(super) const BASKET: u64 = 7;
    pub(super) const KINDS: u64 = 8;
    pub(super) const TICKETS: u64 = 9;
    pub(super) const WAITS: u64 = 10;
    pub(super) const LEAVES: u64 = 11;
    pub(super) const PAYS_OFFER: u64 = 12;
    pub(super) const ACCEPTS: u64 = 13;
    pub(super) const SHARES: u64 = 14;
    pub(super) const BORROWS: u64 = 15;
    /// From here on: the lines of a basket, one question each.
    pub(super) const LINES: u64 = 1_000;
}

/// How often a further sale of a basket is looked for before it goes without.
const LOOKS_FOR_ANOTHER: u64 = 32;

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

    pub(crate) fn waits(&self, person: Person) -> bool {
        self.is_among(person, about::WAITS, self.scenario.waiting.share)
    }

    pub(crate) fn leaves_the_queue(&self, person: Person) -> bool {
        self.is_among(person, about::LEAVES, self.scenario.waiting.leaves)
    }

    pub(crate) fn pays_an_offer(&self, person: Person) -> bool {
        self.is_among(person, about::PAYS_OFFER, self.scenario.waiting.pays)
    }

    pub(crate) fn accepts_first(&self, person: Person) -> bool {
        self.is_among(person, about::ACCEPTS, self.scenario.waiting.accepts)
    }

    pub(crate) fn shares(&self, person: Person) -> bool {
        self.is_among(person, about::SHARES, self.scenario.sharing.share)
    }

    pub(crate) fn borrows_a_link(&self, person: Person) -> bool {
        self.is_among(person, about::BORROWS, self.scenario.messages.borrowed)
    }

    /// The sale that a person came for.
    pub(crate) fn sale(&self, person: Person) -> SaleIndex {
        self.wish(of_person(self.seed, person.into(), about::SALE))
    }

    fn wish(&self, fraction: f64) -> SaleIndex {
        let [.., all] = self.wanted.as_slice() else { return 0 };
        if self.wanted.len() == 1 {
            return 0;
        }
        let wish = fraction * all;
        self.wanted.partition_point(|sum| *sum <= wish).min(self.wanted.len() - 1)
    }

    /// The basket that a person wants, if it is one: at least two sales, each as far as cap and largest hold allow.
    pub(crate) fn basket(&self, person: Person) -> Option<Vec<Line>> {
        let baskets = &self.scenario.baskets;
        if !self.is_among(person, about::BASKET, baskets.share) {
            return None;
        }
        let hash = |question| of_person(self.seed, person.into(), question);
        let up_to = |least: u32, most: u32, question| {
            least + u32::try_from(whole(hash(question) * f64::from(most - least + 1))).unwrap_or(0).min(most - least)
        };
        let kinds = index(up_to(2, baskets.kinds, about::KINDS).into());
        let mut lines = vec![Line { sale: self.sale(person), quantity: 1 }];
        for look in 0..LOOKS_FOR_ANOTHER {
            if lines.len() == kinds {
                break;
            }
            let sale = self.wish(hash(about::LINES + look));
            if lines.iter().all(|line| line.sale != sale) {
                lines.push(Line { sale, quantity: 1 });
            }
        }
        let units = up_to(baskets.kinds, baskets.tickets, about::TICKETS);
        for place in (0..lines.len()).cycle().take(index(units.into()).saturating_sub(lines.len())) {
            let line = &mut lines[place];
            let plan = &self.scenario.sales[line.sale];
            line.quantity = (line.quantity + 1).min(plan.cap).min(plan.largest);
        }
        (lines.len() > 1).then_some(lines)
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

/// What became of one worker's people, a stage.
#[derive(Debug)]
pub(crate) struct Fates {
    worker: usize,
    workers: usize,
    mine: usize,
    /// A byte a person, stage after stage.
    bytes: Vec<u8>,
    cursors: Vec<Cursor>,
}

/// Whose visit comes next in one stage.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    visits: u64,
    /// Where the stage begins, and how far each visitor is from the one before: the first stage goes through the
    /// people in order, the others in an order of their own, so that it isn't always the same people who come late.
    begins: u64,
    stride: u64,
}

/// Has, or had, a unit.
const SERVED: u8 = 1;
/// Will come back.
const WAITING: u8 = 2;

impl Fates {
    pub(crate) fn new(scenario: &Scenario, seed: u64, worker: usize, workers: usize) -> Self {
        let people = index(scenario.crowd.people.into());
        let mine = (people + workers - 1 - worker) / workers;
        let cursors = (0..count(scenario.stages.len())).map(|stage| Cursor::new(stage, seed, count(mine))).collect();
        Self { worker, workers, mine, bytes: vec![0; mine * scenario.stages.len()], cursors }
    }

    /// Whose visit comes next: everybody once, in the stage's order, and then again from the first.
    pub(crate) fn next_visitor(&mut self, stage: usize) -> Option<Person> {
        let mine = count(self.mine);
        let cursor = &mut self.cursors[stage];
        let place = (u128::from(cursor.visits) * u128::from(cursor.stride) + u128::from(cursor.begins))
            .checked_rem(u128::from(mine))?;
        cursor.visits += 1;
        Person::try_from(self.worker + usize::try_from(place).ok()? * self.workers).ok()
    }

    /// The next visitor if it is one who has not come yet.
    pub(crate) fn next_newcomer(&mut self, stage: usize) -> Option<Person> {
        if self.cursors[stage].visits < count(self.mine) { self.next_visitor(stage) } else { None }
    }

    pub(crate) fn is_served(&self, stage: usize, person: Person) -> bool {
        self.bytes[self.place(stage, person)] & SERVED != 0
    }

    pub(crate) fn serve(&mut self, stage: usize, person: Person) {
        let place = self.place(stage, person);
        self.bytes[place] |= SERVED;
    }

    /// Notes that a person will come back; false if it was going to anyway.
    pub(crate) fn start_waiting(&mut self, stage: usize, person: Person) -> bool {
        let place = self.place(stage, person);
        let was_waiting = self.bytes[place] & WAITING != 0;
        self.bytes[place] |= WAITING;
        !was_waiting
    }

    pub(crate) fn stop_waiting(&mut self, stage: usize, person: Person) {
        let place = self.place(stage, person);
        self.bytes[place] &= !WAITING;
    }

    fn place(&self, stage: usize, person: Person) -> usize {
        stage * self.mine + index(person.into()) / self.workers
    }
}

impl Cursor {
    fn new(stage: u64, seed: u64, people: u64) -> Self {
        if stage == 0 || people < 3 {
            return Self { visits: 0, begins: 0, stride: 1 };
        }
        let mut stride = mix(seed ^ mix(stage)) % people;
        while gcd(stride, people) != 1 {
            stride = (stride + 1) % people;
        }
        Self { visits: 0, begins: mix(seed.wrapping_add(stage)) % people, stride }
    }
}

const fn gcd(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn scenario(people: u32) -> Scenario {
        let text = format!(
            "name = \"own\"\n[[sales]]\nname = \"a\"\nstock = 9\ncap = 2\nlargest = 2\n[[sales]]\nname = \"b\"\n\
             stock = 9\n[[sales]]\nname = \"c\"\nstock = 9\n[crowd]\npeople = {people}\n[baskets]\nshare = 0.5\n\
             kinds = 3\ntickets = 4\n[[arrivals]]\nstep = {{ rate = 1, lasts = \"9s\" }}\n[[arrivals]]\n\
             stage = \"later\"\nstep = {{ rate = 1, lasts = \"9s\" }}\n"
        );
        Scenario::parse(&text, "own.toml", Path::new(".")).unwrap()
    }

    #[test]
    fn every_person_belongs_to_one_worker_and_comes_in_turn_in_every_stage() {
        let scenario = scenario(10);
        for (workers, stage) in (1..5).flat_map(|workers| [(workers, 0), (workers, 1)]) {
            let mut all = Vec::new();
            for worker in 0..workers {
                let mut fates = Fates::new(&scenario, 7, worker, workers);
                all.extend((0..fates.mine).filter_map(|_| fates.next_newcomer(stage)));
                assert_eq!(fates.next_newcomer(stage), None, "everybody has come");
            }
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn after_the_last_person_the_first_comes_again_and_stages_do_not_mix() {
        let mut fates = Fates::new(&scenario(3), 7, 0, 1);
        let visitors: Vec<_> = (0..5).filter_map(|_| fates.next_visitor(0)).collect();
        assert_eq!(visitors, [0, 1, 2, 0, 1]);
        fates.serve(0, 1);
        assert!(fates.is_served(0, 1) && !fates.is_served(1, 1));
        assert_eq!(Fates::new(&scenario(1), 7, 3, 4).next_visitor(0), None, "more workers than people");
    }

    #[test]
    fn a_basket_has_different_sales_and_no_more_than_they_allow() {
        let scenario = scenario(1_000);
        let people = People::new(&scenario, 7);
        let baskets: Vec<_> = (0..1_000).filter_map(|person| people.basket(person)).collect();
        assert!((400..600).contains(&baskets.len()), "{}", baskets.len());
        for lines in &baskets {
            let units: u32 = lines.iter().map(|line| line.quantity).sum();
            assert!((2..=3).contains(&lines.len()) && units <= 4);
            for (place, line) in lines.iter().enumerate() {
                assert!(lines[..place].iter().all(|other| other.sale != line.sale));
                assert!(line.quantity <= scenario.sales[line.sale].largest);
            }
        }
        assert!(baskets.iter().any(|lines| lines.len() == 3) && baskets.iter().any(|lines| lines.len() == 2));
    }
}
