//! Waiting for units that come back: joining, looking, leaving, and what people do with an offer.

use super::{Worker, buying::Request};
use crate::{
    number::{index, real, whole},
    people::{People, Person},
    runner::timers::{Action, Errand},
    scenario::Paying,
    target::{AcceptReply, Held, JoinReply, LeaveReply, Line, SaleIndex, Session, WaitReply},
    verify::log::{Exchange, QueueFate, QueueRecord},
};

/// Who leaves a queue leaves it at this look.
const LEAVES_AT_LOOK: u32 = 2;

impl<S: Session> Worker<'_, S> {
    /// Joins the queue of a sale that has no unit free, if the person is one who does; whether it is waiting now.
    pub(super) fn joins(&mut self, request: &Request) -> bool {
        let Request { errand, person, line: Line { sale, .. }, .. } = *request;
        let stage = self.stage(errand);
        let may = self.run.scenario.sales[sale].waitlist.is_some() && self.people.waits(person);
        if may && self.queued.contains(&(sale, person)) {
            // It waits already, since another stage.
            return true;
        }
        if !may || !self.fates.start_waiting(stage, person) {
            return false;
        }
        let (reply, joined) =
            self.queue_request(errand, |session, buyer| session.join(sale, buyer), person, request.exchange.replied_ns);
        let counts = &mut self.log.stages[stage].counts;
        counts.joins += 1;
        match reply {
            JoinReply::Joined(place) => {
                counts.joined += 1;
                let at_join = Exchange { called_ns: joined.replied_ns, replied_ns: joined.replied_ns };
                let buyer = People::buyer(person);
                let fate = QueueFate::Waiting;
                let number = u32::try_from(self.log.queues.len()).unwrap_or(u32::MAX);
                self.log.queues.push(QueueRecord { sale, buyer, place, joined, still_queued: at_join, fate });
                self.errands.push(errand);
                self.queued.insert((sale, person));
                self.look_later(number, 1, joined.replied_ns);
                return true;
            }
            JoinReply::Failed => self.note_failure(),
            JoinReply::Full | JoinReply::NothingToWaitFor | JoinReply::NotYou => {}
        }
        self.fates.stop_waiting(stage, person);
        false
    }

    /// Sends a request about a queue and counts it.
    fn queue_request<R>(
        &mut self,
        errand: Errand,
        ask: impl FnOnce(&mut S, u64) -> R,
        person: Person,
        intended_ns: u64,
    ) -> (R, Exchange) {
        let called_ns = self.run.clock.elapsed_ns();
        let reply = ask(&mut self.session, People::buyer(person));
        let exchange = Exchange { called_ns, replied_ns: self.run.clock.elapsed_ns() };
        self.answered(errand, intended_ns, exchange);
        (reply, exchange)
    }

    fn look_later(&mut self, place: u32, looks: u32, now: u64) {
        let every = real(self.run.clock.real_ns(self.run.scenario.waiting.every.0));
        let wait = whole(self.dice.between(0.5, 1.5) * every);
        self.timers.set(now.saturating_add(wait), Action::Look { place, looks });
    }

    /// Looks whether the turn has come; who leaves looks a last time before.
    pub(super) fn look(&mut self, place: u32, looks: u32, intended_ns: u64) {
        let number = index(place.into());
        let QueueRecord { sale, buyer, .. } = self.log.queues[number];
        let person = Person::try_from(buyer - 1).unwrap_or(Person::MAX);
        let errand = self.errands[number];
        let stage = self.stage(errand);
        let (reply, exchange) =
            self.queue_request(errand, |session, buyer| session.waiting(sale, buyer), person, intended_ns);
        self.log.stages[stage].counts.looks += 1;
        match reply {
            WaitReply::Queued(_) => {
                self.log.queues[number].still_queued = exchange;
                let waited_ns = exchange.replied_ns.saturating_sub(self.log.queues[number].joined.replied_ns);
                let patience = self.run.scenario.waiting.patience;
                let gives_up = patience.is_some_and(|patience| waited_ns > self.run.clock.real_ns(patience.0));
                if gives_up || (looks == LEAVES_AT_LOOK && self.people.leaves_the_queue(person)) {
                    self.leave(number, sale, person, exchange.replied_ns);
                } else {
                    self.look_later(place, looks.saturating_add(1), exchange.replied_ns);
                }
            }
            WaitReply::Offered(held) => {
                self.resolve(number, QueueFate::Offered(exchange));
                self.log.stages[stage].counts.offered += 1;
                self.offered(errand, person, sale, held, exchange);
            }
            WaitReply::Gone => self.resolve(number, QueueFate::Gone(exchange)),
            WaitReply::Failed => {
                self.note_failure();
                self.look_later(place, looks, exchange.replied_ns);
            }
        }
    }

    /// Ends somebody's time in a queue.
    fn resolve(&mut self, number: usize, fate: QueueFate) {
        let queue = &mut self.log.queues[number];
        queue.fate = fate;
        let person = Person::try_from(queue.buyer - 1).unwrap_or(Person::MAX);
        self.queued.remove(&(queue.sale, person));
        let stage = self.stage(self.errands[number]);
        self.fates.stop_waiting(stage, person);
    }

    fn leave(&mut self, number: usize, sale: SaleIndex, person: Person, intended_ns: u64) {
        let errand = self.errands[number];
        let stage = self.stage(errand);
        let (reply, exchange) =
            self.queue_request(errand, |session, buyer| session.leave(sale, buyer), person, intended_ns);
        self.log.stages[stage].counts.leaves += 1;
        match reply {
            LeaveReply::Left => self.resolve(number, QueueFate::Left(exchange)),
            // The turn came just before: it is taken after all.
            LeaveReply::NotQueued => {
                let place = u32::try_from(number).unwrap_or(u32::MAX);
                self.look_later(place, LEAVES_AT_LOOK + 1, exchange.replied_ns);
            }
            LeaveReply::Failed => {
                self.note_failure();
                let place = u32::try_from(number).unwrap_or(u32::MAX);
                self.look_later(place, LEAVES_AT_LOOK + 1, exchange.replied_ns);
            }
        }
    }

    /// An offer is a hold: it is paid, accepted first for the full time, or left to run out.
    fn offered(&mut self, errand: Errand, person: Person, sale: SaleIndex, held: Held<S::Ticket>, seen: Exchange) {
        let ticket = held.ticket.clone();
        // Before it was seen, the place in the queue stands for it.
        let exchange = Exchange { called_ns: seen.replied_ns, ..seen };
        let line = Line { sale, quantity: 1 };
        let request = Request { errand, person, line, exchange, refusals: 1, borrowed: false };
        let hold = self.granted(&request, held, true);
        if !self.people.pays_an_offer(person) {
            return self.pays(hold, Paying::Never);
        }
        if self.people.accepts_first(person) {
            let (reply, exchange) =
                self.queue_request(errand, |session, _| session.accept(sale, &ticket), person, seen.replied_ns);
            let stage = self.stage(errand);
            self.log.stages[stage].counts.accepts += 1;
            let record = &self.log.holds[index(hold.into())];
            let due = match reply {
                AcceptReply::Accepted { deadline } => self.due(sale, deadline),
                _ => crate::verify::log::Due { deadline_ns: record.deadline_ns, lapses_ns: record.lapses_ns },
            };
            self.log.holds[index(hold.into())].accept_replied(reply, exchange, due);
            match reply {
                AcceptReply::Accepted { .. } => {}
                AcceptReply::Ended => {
                    self.own[index(hold.into())].ticket = None;
                    return;
                }
                AcceptReply::Failed => self.note_failure(),
            }
        }
        self.pays(hold, Paying::AtOnce);
    }
}
