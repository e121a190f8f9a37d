//! Asking for units, of one sale or of several, and what people do with the answer.

use super::{Own, Worker};
use crate::{
    number::{index, real, whole},
    people::{People, Person},
    runner::timers::{Action, Errand},
    scenario::{Purpose, Returning},
    target::{BasketRefusal, Held, HeldBasket, Line, Refusal, SaleIndex, Session, Ticket},
    verify::log::{BasketLine, Due, Exchange, HoldRecord},
};

/// A request for units, as far as its answer needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) errand: Errand,
    pub(super) person: Person,
    pub(super) line: Line,
    pub(super) exchange: Exchange,
    /// How often the person was refused before.
    pub(super) refusals: u32,
    /// With a purchase link that is somebody else's.
    pub(super) borrowed: bool,
}

impl<S: Session> Worker<'_, S> {
    /// Asks for what a person came for: the units of one sale, or a basket.
    pub(super) fn shop(&mut self, errand: Errand, person: Person, due: u64) {
        let basket = match self.purpose(errand) {
            Purpose::Wishes => self.people.basket(person),
            _ => None,
        };
        match basket {
            Some(lines) => self.ask_for_all(errand, person, &lines, due),
            None => self.ask(errand, person, self.people.quantity(person), 0, due),
        }
    }

    /// Asks for units of one sale, for no more than one hold may have.
    pub(super) fn ask(&mut self, errand: Errand, person: Person, quantity: u32, refusals: u32, intended_ns: u64) {
        let sale = match self.purpose(errand) {
            Purpose::Wants(sale) => sale,
            _ => self.people.sale(person),
        };
        let quantity = quantity.min(self.run.scenario.sales[sale].largest);
        let buyer = People::buyer(person);
        let dice = &mut self.dice;
        let link = self.admission.link(sale, person, || index(whole(dice.fraction() * 1e9)));
        let called_ns = self.run.clock.elapsed_ns();
        let answer = match link {
            None => self.session.reserve(sale, buyer, quantity),
            Some(of) => self.session.reserve_with(sale, buyer, quantity, People::buyer(of)),
        };
        let exchange = Exchange { called_ns, replied_ns: self.run.clock.elapsed_ns() };
        let borrowed = link.is_some_and(|of| of != person);
        let request = Request { errand, person, line: Line { sale, quantity }, exchange, refusals, borrowed };
        let stage = self.stage(errand);
        self.log.stages[stage].counts.reserves += 1;
        self.log.sales[sale].borrowed_tried += u64::from(borrowed);
        self.answered(errand, intended_ns, exchange);
        match answer {
            Ok(held) => {
                let hold = self.granted(&request, held, false);
                self.decide(hold, refusals > 0);
            }
            Err(refusal) => self.refused(&request, refusal),
        }
    }

    /// Asks for units of several sales, all or nothing.
    fn ask_for_all(&mut self, errand: Errand, person: Person, lines: &[Line], intended_ns: u64) {
        let called_ns = self.run.clock.elapsed_ns();
        let answer = self.session.reserve_basket(lines, People::buyer(person));
        let exchange = Exchange { called_ns, replied_ns: self.run.clock.elapsed_ns() };
        let stage = self.stage(errand);
        self.log.stages[stage].counts.reserves += 1;
        self.log.stages[stage].counts.baskets += 1;
        self.answered(errand, intended_ns, exchange);
        let request = |line| Request { errand, person, line, exchange, refusals: 0, borrowed: false };
        match answer {
            Ok(held) => self.all_held(lines, held, request),
            Err(BasketRefusal { line, refusal }) => {
                let line = line.min(lines.len() - 1);
                for (_, other) in lines.iter().enumerate().filter(|(place, _)| *place != line) {
                    self.log.sales[other.sale].asked += 1;
                    self.log.sales[other.sale].shadowed(exchange, other.quantity);
                }
                self.refused(&request(lines[line]), refusal);
            }
        }
    }

    fn all_held(&mut self, lines: &[Line], held: HeldBasket<S::Ticket>, request: impl Fn(Line) -> Request) {
        self.baskets += 1;
        // Above the workers' places, so that no two baskets have the same number.
        let basket = (self.baskets << 16) | crate::number::count(self.place);
        let lines_in_all = u8::try_from(lines.len()).unwrap_or(u8::MAX);
        let mut first = None;
        let mut units = held.units.into_iter();
        for (place, line) in (0..).zip(lines) {
            let part = Held::new(held.ticket.clone(), held.deadline).of(units.next().unwrap_or_default());
            let hold = self.granted(&request(*line), part, false);
            let record = &mut self.log.holds[index(hold.into())];
            record.basket = Some(BasketLine { basket, line: place, lines: lines_in_all });
            if first.is_none() {
                self.own[index(hold.into())].lines = lines_in_all;
                first = Some(hold);
            } else {
                self.own[index(hold.into())].ticket = None;
            }
        }
        if let Some(hold) = first {
            self.decide(hold, false);
        }
    }

    /// Writes a hold down; its place in the log.
    pub(super) fn granted(&mut self, request: &Request, held: Held<S::Ticket>, offered: bool) -> u32 {
        let Request { errand, person, line: Line { sale, quantity }, exchange, .. } = *request;
        let due = self.due(sale, held.deadline);
        let stage = self.stage(errand);
        self.fates.serve(stage, person);
        self.untold.held += u64::from(quantity);
        let log = &mut self.log.sales[sale];
        log.asked += u64::from(!offered);
        log.borrowed_held += u64::from(request.borrowed);
        log.outsiders_held += u64::from(!self.admission.judge(sale, person, exchange).possibly);
        self.log.stages[stage].counts.held += 1;
        let ticket = held.ticket.fingerprint();
        let place = u32::try_from(self.log.holds.len()).unwrap_or(u32::MAX);
        let mut record = HoldRecord::granted(sale, People::buyer(person), quantity, ticket, exchange, due);
        (record.units, record.offered) = (held.units, offered);
        self.log.holds.push(record);
        self.own.push(Own { ticket: Some(held.ticket), errand, lines: 1 });
        place
    }

    pub(super) fn due(&self, sale: SaleIndex, deadline: sellout::Timestamp) -> Due {
        let grace = self.run.scenario.sales[sale].grace;
        let clock = self.run.clock;
        Due { deadline_ns: clock.real_ns_of(deadline), lapses_ns: clock.real_ns_of(deadline.plus(grace)) }
    }

    fn refused(&mut self, request: &Request, refusal: Refusal) {
        let Request { errand, person, line: Line { sale, quantity }, exchange, refusals, borrowed } = *request;
        let stage = self.stage(errand);
        let is_shut_out = matches!(refusal, Refusal::NotEligible | Refusal::BadInvitation);
        let let_in = is_shut_out && !borrowed && self.admission.judge(sale, person, exchange).surely;
        self.log.stages[stage].counts.refused[refusal.place()] += 1;
        self.log.sales[sale].asked += 1;
        self.log.sales[sale].refused(refusal, exchange, quantity, let_in);
        if refusal == Refusal::Failed {
            self.note_failure();
        }
        if self.people.is_bot(person) || self.fates.is_served(stage, person) {
            return;
        }
        if refusal == Refusal::AllHeld && self.joins(request) {
            return;
        }
        let retries = &self.run.scenario.retries;
        let comes_back = returning(refusal).is_some_and(|reason| retries.on.contains(&reason))
            && refusals < retries.most
            && self.people.is_patient(person)
            && self.fates.start_waiting(stage, person);
        if comes_back {
            let every = real(self.run.clock.real_ns(retries.every.0));
            let wait = whole(self.dice.between(0.5, 1.5) * every);
            let from = match (refusal, self.run.scenario.sales[sale].everyone_from) {
                (Refusal::NotOpen { opens_at }, _) => self.run.clock.real_ns_of(opens_at).max(exchange.replied_ns),
                (Refusal::NotEligible | Refusal::BadInvitation, Some(everyone_from)) => {
                    self.run.clock.real_ns(everyone_from).max(exchange.replied_ns)
                }
                _ => exchange.replied_ns,
            };
            let again = Action::AskAgain { errand, person, refusals: refusals + 1 };
            self.timers.set(from.saturating_add(wait), again);
        }
    }
}

/// The reason for which a person may come back, if it is one.
const fn returning(refusal: Refusal) -> Option<Returning> {
    match refusal {
        Refusal::NotOpen { .. } => Some(Returning::NotOpen),
        Refusal::Paused => Some(Returning::Paused),
        Refusal::NotEligible | Refusal::BadInvitation => Some(Returning::NotEligible),
        Refusal::AttemptUnderWay => Some(Returning::AttemptUnderWay),
        Refusal::AllHeld => Some(Returning::AllHeld),
        Refusal::Failed => Some(Returning::Failed),
        _ => None,
    }
}
