//! One worker: the loop that sends what is due, and the people whose answers it gets.

use std::{collections::VecDeque, fmt::Write, hint, mem, sync::atomic::Ordering, thread, time::Duration};

use super::{
    LAST_CONFIRMATIONS, Run,
    live::{Live, Progress},
    timers::{Action, Timers},
};
use crate::{
    arrivals::Schedule,
    chance::{Dice, pick},
    measure::{Latencies, cpu_ns_of_thread},
    number::{count, index, nanos, real, whole},
    people::{Fates, People, Person},
    runner::Counts,
    scenario::{Paying, Payment, Returning},
    target::{Answer, ConfirmReply, Held, Pending, Refusal, SaleIndex, Session, Ticket},
    verify::{
        EXPIRY_SLACK,
        log::{Due, Exchange, HoldRecord, SaleLog},
    },
};

/// Shorter waits are spun: a sleep would come back too late.
const SPUN_NS: u64 = 60_000;
/// No sleep is longer, so that a stop is seen.
const LONGEST_SLEEP_NS: u64 = 20_000_000;
/// While confirmations are under way no sleep is longer.
const POLL_EVERY_NS: u64 = 200_000;
/// While busy, confirmations are polled after so many requests.
const POLL_EVERY_REQUESTS: u32 = 64;
/// While busy, progress is told and a stop is looked for after so many requests.
const TELL_EVERY_REQUESTS: u64 = 1_024;

/// What a worker brings back.
#[derive(Debug)]
pub(super) struct WorkerLog {
    pub(super) counts: Counts,
    pub(super) holds: Vec<HoldRecord>,
    pub(super) sales: Vec<SaleLog>,
    pub(super) latencies: Latencies,
    pub(super) confirmations: Latencies,
    pub(super) in_target_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) failure: Option<String>,
}

/// A confirmation under way.
struct UnderWay<P> {
    hold: usize,
    payment: u64,
    intended_ns: u64,
    called_ns: u64,
    pending: P,
}

pub(super) struct Worker<'a, S: Session> {
    run: &'a Run<'a>,
    session: S,
    people: &'a People<'a>,
    live: &'a Live,
    place: usize,
    schedule: Schedule,
    fates: Fates,
    dice: Dice,
    timers: Timers,
    /// The ticket of each hold of the log, until its last use.
    tickets: Vec<Option<S::Ticket>>,
    under_way: VecDeque<UnderWay<S::Pending>>,
    acks: String,
    untold: Progress,
    unpolled: u32,
    /// The latest instant that was read from the clock; while behind the schedule, what is due is judged by it.
    seen_ns: u64,
    log: WorkerLog,
}

impl<'a, S: Session> Worker<'a, S> {
    pub(super) fn new(
        run: &'a Run<'a>,
        session: S,
        people: &'a People<'a>,
        live: &'a Live,
        place: usize,
        schedule: Schedule,
        fates: Fates,
    ) -> Self {
        let log = WorkerLog {
            counts: Counts::default(),
            holds: Vec::new(),
            sales: vec![SaleLog::default(); run.scenario.sales.len()],
            latencies: Latencies::default(),
            confirmations: Latencies::default(),
            in_target_ns: 0,
            cpu_ns: 0,
            ended_ns: 0,
            failure: None,
        };
        Self {
            run,
            session,
            people,
            live,
            place,
            schedule,
            fates,
            dice: Dice::of_worker(run.seed, place).fork(),
            timers: Timers::default(),
            tickets: Vec::new(),
            under_way: VecDeque::new(),
            acks: String::new(),
            untold: Progress::default(),
            unpolled: 0,
            seen_ns: 0,
            log,
        }
    }

    /// Plays this worker's part to its end.
    pub(super) fn work(mut self) -> WorkerLog {
        let cpu_before = cpu_ns_of_thread();
        let gives_up_ns = self.run.clock.real_ns(self.run.scenario.gives_up);
        loop {
            let due = self.next_due();
            if due.is_none_or(|due| due > self.seen_ns) {
                self.seen_ns = self.run.clock.elapsed_ns();
            }
            let now = self.seen_ns;
            if now >= gives_up_ns {
                break;
            }
            match due {
                Some(due) if due <= now => self.do_next(due),
                None if self.under_way.is_empty() => break,
                due => {
                    self.poll();
                    self.live.add(&mut self.untold);
                    if self.is_stopped() {
                        break;
                    }
                    self.rest(now, due.unwrap_or(u64::MAX));
                }
            }
            if self.untold.requests >= TELL_EVERY_REQUESTS {
                self.live.add(&mut self.untold);
                if self.is_stopped() {
                    break;
                }
            }
        }
        self.finish();
        self.log.cpu_ns = cpu_ns_of_thread().saturating_sub(cpu_before);
        self.log
    }

    fn is_stopped(&self) -> bool {
        // Relaxed: the flag is the whole message.
        self.run.stop.load(Ordering::Relaxed)
    }

    fn next_due(&self) -> Option<u64> {
        match (self.next_arrival(), self.timers.next_due()) {
            (Some(arrival), Some(timer)) => Some(arrival.min(timer)),
            (arrival, timer) => arrival.or(timer),
        }
    }

    fn next_arrival(&self) -> Option<u64> {
        self.schedule.peek().map(|scenario_ns| self.run.clock.real_ns(Duration::from_nanos(scenario_ns)))
    }

    fn do_next(&mut self, due: u64) {
        if self.timers.next_due() == Some(due) {
            if let Some((due, action)) = self.timers.pop() {
                self.act(due, action);
            }
        } else {
            self.schedule.next();
            if let Some(person) = self.fates.next_visitor() {
                self.visit(person, due);
            }
        }
        self.unpolled += 1;
        if self.unpolled >= POLL_EVERY_REQUESTS {
            self.poll();
        }
    }

    fn rest(&self, now: u64, due: u64) {
        let longest = if self.under_way.is_empty() { LONGEST_SLEEP_NS } else { POLL_EVERY_NS };
        let wait = due.saturating_sub(now).min(longest);
        if wait > SPUN_NS {
            thread::sleep(Duration::from_nanos(wait - SPUN_NS));
        } else {
            hint::spin_loop();
        }
    }

    fn act(&mut self, due: u64, action: Action) {
        match action {
            Action::AskAgain { person, refusals } => {
                self.fates.stop_waiting(person);
                if !self.fates.is_served(person) {
                    self.ask(person, 1, refusals, due);
                }
            }
            Action::SecondClick { person } => {
                self.ask(person, self.people.quantity(person), 0, due);
            }
            Action::BotAsks { person, left } => self.bot_asks(person, left, due),
            Action::Pay { hold, again } => self.pay(index(hold.into()), again, due),
            Action::Cancel { hold } => self.cancel(index(hold.into()), due),
            Action::Lapse { hold } => self.tickets[index(hold.into())] = None,
        }
    }

    fn visit(&mut self, person: Person, due: u64) {
        if self.people.is_bot(person) {
            return self.bot_asks(person, self.run.scenario.bots.attempts.saturating_sub(1), due);
        }
        if self.people.clicks_twice(person) {
            let after = self.run.clock.real_ns(self.run.scenario.double_clicks.after.0);
            self.timers.set(due.saturating_add(after), Action::SecondClick { person });
        }
        self.ask(person, self.people.quantity(person), 0, due);
    }

    fn bot_asks(&mut self, person: Person, left: u32, due: u64) {
        if left > 0 {
            let every = self.run.clock.real_ns(self.run.scenario.bots.every.0);
            self.timers.set(due.saturating_add(every), Action::BotAsks { person, left: left - 1 });
        }
        self.ask(person, self.people.quantity(person), 0, due);
    }

    /// Asks for units.
    fn ask(&mut self, person: Person, quantity: u32, refusals: u32, intended_ns: u64) {
        let sale = self.people.sale(person);
        let called_ns = self.run.clock.elapsed_ns();
        let answer = self.session.reserve(sale, People::buyer(person), quantity);
        let replied_ns = self.run.clock.elapsed_ns();
        let exchange = Exchange { called_ns, replied_ns };
        self.log.counts.reserves += 1;
        self.answered(intended_ns, exchange);
        match answer {
            Ok(held) => self.held(person, sale, quantity, held, exchange, refusals > 0),
            Err(refusal) => self.refused(person, sale, quantity, refusal, exchange, refusals),
        }
    }

    fn answered(&mut self, intended_ns: u64, exchange: Exchange) {
        self.log.counts.started += 1;
        self.log.counts.completed += 1;
        self.seen_ns = exchange.replied_ns;
        self.log.latencies.record(intended_ns, exchange.called_ns, exchange.replied_ns);
        self.log.in_target_ns += exchange.replied_ns - exchange.called_ns;
        self.untold.requests += 1;
    }

    fn held(
        &mut self,
        person: Person,
        sale: SaleIndex,
        quantity: u32,
        held: Held<S::Ticket>,
        exchange: Exchange,
        returned: bool,
    ) {
        let plan = &self.run.scenario.sales[sale];
        let deadline_ns = self.run.clock.real_ns_of(held.deadline);
        let lapses_ns = self.run.clock.real_ns_of(held.deadline.plus(plan.grace));
        let due = Due { deadline_ns, lapses_ns };
        self.fates.serve(person);
        self.untold.held += u64::from(quantity);
        if plan.is_limited() && !self.people.is_registered(person) {
            self.log.sales[sale].outsiders_held += 1;
        }
        let buyer = People::buyer(person);
        let ticket = held.ticket.fingerprint();
        let place = u32::try_from(self.log.holds.len()).unwrap_or(u32::MAX);
        self.log.holds.push(HoldRecord::granted(sale, buyer, quantity, ticket, exchange, due));
        self.tickets.push(Some(held.ticket));
        self.decide(place, due, exchange.replied_ns, returned);
    }

    /// Decides how a hold is paid, if it is.
    fn decide(&mut self, hold: u32, due: Due, now: u64, returned: bool) {
        let payment = &self.run.scenario.payment;
        let way = if returned && payment.returning_pay {
            Paying::AtOnce
        } else {
            Payment::WAYS[pick(&payment.weights(), self.dice.fraction())]
        };
        let left = real(due.deadline_ns.saturating_sub(now));
        let delay = real(self.run.clock.real_ns(payment.delay.0));
        let soon = now + whole(self.dice.exponential(delay).min(left * 0.9));
        match way {
            Paying::AtOnce => self.timers.set(soon, Action::Pay { hold, again: false }),
            Paying::Twice => self.timers.set(soon, Action::Pay { hold, again: true }),
            Paying::Cancel => self.timers.set(soon, Action::Cancel { hold }),
            Paying::Late => {
                let late = now + whole(left * self.dice.between(0.5, 0.98));
                self.timers.set(late, Action::Pay { hold, again: false });
            }
            Paying::AtDeadline => self.timers.set(due.deadline_ns, Action::Pay { hold, again: false }),
            Paying::AfterDeadline => {
                let after = due.lapses_ns + whole(self.dice.exponential(delay));
                self.timers.set(after, Action::Pay { hold, again: false });
            }
            Paying::Never => self.timers.set(due.lapses_ns + nanos(EXPIRY_SLACK), Action::Lapse { hold }),
        }
    }

    fn refused(
        &mut self,
        person: Person,
        sale: SaleIndex,
        quantity: u32,
        refusal: Refusal,
        exchange: Exchange,
        refusals: u32,
    ) {
        let let_in = !self.run.scenario.sales[sale].is_limited() || self.people.is_registered(person);
        self.log.counts.refused[refusal.place()] += 1;
        self.log.sales[sale].refused(refusal, exchange, quantity, let_in);
        if refusal == Refusal::Failed {
            self.note_failure();
        }
        let retries = &self.run.scenario.retries;
        let comes_back = returning(refusal).is_some_and(|reason| retries.on.contains(&reason))
            && refusals < retries.most
            && !self.people.is_bot(person)
            && !self.fates.is_served(person)
            && self.people.is_patient(person)
            && self.fates.start_waiting(person);
        if comes_back {
            let every = real(self.run.clock.real_ns(retries.every.0));
            let wait = whole(self.dice.between(0.5, 1.5) * every);
            let from = match refusal {
                Refusal::NotOpen { opens_at } => self.run.clock.real_ns_of(opens_at).max(exchange.replied_ns),
                _ => exchange.replied_ns,
            };
            let again = Action::AskAgain { person, refusals: refusals + 1 };
            self.timers.set(from.saturating_add(wait), again);
        }
    }

    fn pay(&mut self, hold: usize, again: bool, intended_ns: u64) {
        let Some(ticket) = &self.tickets[hold] else { return };
        let sale = self.log.holds[hold].sale;
        let payment = self.run.payment(self.place, hold);
        let called_ns = self.run.clock.elapsed_ns();
        let answer = self.session.confirm(sale, ticket, payment);
        let replied_ns = self.run.clock.elapsed_ns();
        self.log.counts.confirms += 1;
        self.log.counts.started += 1;
        self.log.in_target_ns += replied_ns - called_ns;
        self.untold.requests += 1;
        self.log.holds[hold].confirming(called_ns);
        if again {
            let delay = real(self.run.clock.real_ns(self.run.scenario.payment.delay.0)) / 4.0;
            let second = replied_ns + whole(self.dice.exponential(delay));
            let report = u32::try_from(hold).unwrap_or(u32::MAX);
            self.timers.set(second, Action::Pay { hold: report, again: false });
        } else {
            self.tickets[hold] = None;
        }
        match answer {
            Answer::Now(reply) => self.confirmed(hold, payment, intended_ns, called_ns, replied_ns, reply),
            Answer::Later(pending) => {
                self.under_way.push_back(UnderWay { hold, payment, intended_ns, called_ns, pending });
            }
        }
        self.write_acks();
    }

    /// Takes the outcomes of confirmations in the order in which they were asked for.
    fn poll(&mut self) {
        self.unpolled = 0;
        while let Some(first) = self.under_way.front_mut() {
            let Some(reply) = first.pending.poll() else { break };
            let now = self.run.clock.elapsed_ns();
            if let Some(UnderWay { hold, payment, intended_ns, called_ns, .. }) = self.under_way.pop_front() {
                self.confirmed(hold, payment, intended_ns, called_ns, now, reply);
            }
        }
        self.write_acks();
    }

    fn confirmed(
        &mut self,
        hold: usize,
        payment: u64,
        intended_ns: u64,
        called_ns: u64,
        replied_ns: u64,
        reply: ConfirmReply,
    ) {
        self.log.counts.completed += 1;
        self.log.confirmations.record(intended_ns, called_ns, replied_ns);
        let record = &mut self.log.holds[hold];
        record.confirm_replied(reply, Exchange { called_ns, replied_ns });
        let (sale, quantity) = (record.sale, record.quantity);
        match reply {
            ConfirmReply::Confirmed(order) | ConfirmReply::PaidLate(order) => {
                self.untold.sold += u64::from(quantity);
                if self.run.acks.is_some() {
                    let name = &self.run.scenario.sales[sale].name;
                    writeln!(self.acks, "{name},{order},{payment}").expect("writing to a string can't fail");
                }
            }
            ConfirmReply::Failed | ConfirmReply::Unknown => self.note_failure(),
            _ => {}
        }
    }

    fn write_acks(&mut self) {
        if let Some(acks) = self.run.acks
            && !self.acks.is_empty()
        {
            acks.write(&mut self.acks);
        }
    }

    fn cancel(&mut self, hold: usize, intended_ns: u64) {
        let Some(ticket) = self.tickets[hold].take() else { return };
        let sale = self.log.holds[hold].sale;
        let called_ns = self.run.clock.elapsed_ns();
        let reply = self.session.cancel(sale, &ticket);
        let exchange = Exchange { called_ns, replied_ns: self.run.clock.elapsed_ns() };
        self.log.counts.cancels += 1;
        self.answered(intended_ns, exchange);
        self.log.holds[hold].cancel_replied(reply, exchange);
        if reply == crate::target::CancelReply::Failed {
            self.note_failure();
        }
    }

    fn note_failure(&mut self) {
        if let Some(failure) = self.session.take_failure() {
            self.log.failure.get_or_insert(failure);
        }
    }

    /// Counts what was due and not sent, and waits a while for confirmations under way.
    fn finish(&mut self) {
        let now = self.run.clock.elapsed_ns();
        let since_start = self.run.clock.at_real_ns(now).since(self.run.clock.base());
        self.log.counts.unsent += count(self.timers.requests_due(now)) + self.schedule.due_by(nanos(since_start));
        let patience_ns = now.saturating_add(nanos(LAST_CONFIRMATIONS));
        while !self.under_way.is_empty() && self.run.clock.elapsed_ns() < patience_ns {
            self.poll();
            thread::sleep(Duration::from_nanos(POLL_EVERY_NS));
        }
        for late in mem::take(&mut self.under_way) {
            let exchange = Exchange { called_ns: late.called_ns, replied_ns: self.run.clock.elapsed_ns() };
            self.log.holds[late.hold].confirm_replied(ConfirmReply::Unknown, exchange);
        }
        self.live.add(&mut self.untold);
        self.log.ended_ns = self.run.clock.elapsed_ns();
    }
}

/// The reason for which a person may come back, if it is one.
const fn returning(refusal: Refusal) -> Option<Returning> {
    match refusal {
        Refusal::NotOpen { .. } => Some(Returning::NotOpen),
        Refusal::Paused => Some(Returning::Paused),
        Refusal::AttemptUnderWay => Some(Returning::AttemptUnderWay),
        Refusal::AllHeld => Some(Returning::AllHeld),
        Refusal::Failed => Some(Returning::Failed),
        _ => None,
    }
}
