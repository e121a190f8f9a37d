//! One worker: the loop that sends what is due, and the people whose answers it gets.

mod admission;
mod buying;
mod paying;
mod queueing;

use std::{
    collections::{HashSet, VecDeque},
    hint, mem,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use self::admission::Admission;
use super::{
    LAST_CONFIRMATIONS, Run, StageLog,
    live::{Live, Progress},
    timers::{Action, Errand, Timers},
};
use crate::{
    arrivals::Schedule,
    chance::Dice,
    measure::cpu_ns_of_thread,
    number::{count, index, nanos},
    people::{Fates, People, Person},
    scenario::Purpose,
    target::{ConfirmReply, Opening, RegisterReply, SaleIndex, Session},
    verify::log::{Exchange, HoldRecord, QueueRecord, Registration, SaleLog},
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
    pub(super) stages: Vec<StageLog>,
    pub(super) holds: Vec<HoldRecord>,
    pub(super) sales: Vec<SaleLog>,
    pub(super) queues: Vec<QueueRecord>,
    pub(super) registrations: Vec<Registration>,
    pub(super) unsent: u64,
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
    /// No further report of the payment comes.
    last: bool,
    pending: P,
}

/// What a worker knows of one of its holds, beside the log.
struct Own<T> {
    /// Until its last use.
    ticket: Option<T>,
    errand: Errand,
    /// How many lines it has; they follow each other in the log.
    lines: u8,
}

/// Where a worker begins.
pub(super) struct Beginning<'a> {
    pub(super) people: &'a People<'a>,
    pub(super) opening: &'a Opening,
    pub(super) live: &'a Live,
    pub(super) place: usize,
    pub(super) schedule: Schedule,
    pub(super) fates: Fates,
}

pub(super) struct Worker<'a, S: Session> {
    run: &'a Run<'a>,
    session: S,
    people: &'a People<'a>,
    live: &'a Live,
    place: usize,
    schedule: Schedule,
    fates: Fates,
    admission: Admission<'a>,
    dice: Dice,
    timers: Timers,
    /// What belongs to each hold of the log.
    own: Vec<Own<S::Ticket>>,
    baskets: u64,
    /// What each of those who joined a queue came for.
    errands: Vec<Errand>,
    /// Who is in a queue now.
    queued: HashSet<(SaleIndex, Person)>,
    under_way: VecDeque<UnderWay<S::Pending>>,
    acks: String,
    untold: Progress,
    unpolled: u32,
    /// The latest instant that was read from the clock; while behind the schedule, what is due is judged by it.
    seen_ns: u64,
    log: WorkerLog,
}

impl<'a, S: Session> Worker<'a, S> {
    pub(super) fn new(run: &'a Run<'a>, session: S, beginning: Beginning<'a>) -> Self {
        let Beginning { people, opening, live, place, schedule, fates } = beginning;
        let scenario = run.scenario;
        let log = WorkerLog {
            stages: scenario.stages.iter().map(|_| StageLog::default()).collect(),
            holds: Vec::new(),
            sales: vec![SaleLog::default(); scenario.sales.len()],
            queues: Vec::new(),
            registrations: Vec::new(),
            unsent: 0,
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
            admission: Admission::new(scenario, people, run.clock, opening, run.workers),
            dice: Dice::of_worker(run.seed, place).fork(),
            timers: Timers::default(),
            own: Vec::new(),
            baskets: 0,
            errands: Vec::new(),
            queued: HashSet::new(),
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
        } else if let Some(arrival) = self.schedule.next() {
            let errand = Errand::try_from(arrival.phase).unwrap_or(Errand::MAX);
            if let Some(person) = self.fates.next_visitor(self.stage(errand)) {
                self.visit(errand, person, due);
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
            Action::AskAgain { errand, person, refusals } => {
                let stage = self.stage(errand);
                self.fates.stop_waiting(stage, person);
                if !self.fates.is_served(stage, person) {
                    self.ask(errand, person, 1, refusals, due);
                }
            }
            Action::SecondClick { errand, person } => self.shop(errand, person, due),
            Action::BotAsks { errand, person, left } => self.bot_asks(errand, person, left, due),
            Action::Drawn { errand } => {
                let stage = self.stage(errand);
                if let Some(person) = self.fates.next_newcomer(stage) {
                    self.log.stages[stage].counts.drawn += 1;
                    self.visit(errand, person, due);
                }
            }
            Action::Look { place, looks } => self.look(place, looks, due),
            Action::Pay { hold, again } => self.pay(index(hold.into()), again, due),
            Action::Cancel { hold } => self.cancel(index(hold.into()), due),
            Action::Lapse { hold } => self.own[index(hold.into())].ticket = None,
        }
    }

    fn stage(&self, errand: Errand) -> usize {
        self.run.scenario.arrivals[index(errand.into())].stage
    }

    fn purpose(&self, errand: Errand) -> Purpose {
        self.run.scenario.arrivals[index(errand.into())].purpose
    }

    fn visit(&mut self, errand: Errand, person: Person, due: u64) {
        let stage = self.stage(errand);
        self.log.stages[stage].counts.visits += 1;
        if let Purpose::RegistersFor(sale) = self.purpose(errand) {
            return self.register(errand, person, sale, due);
        }
        if self.people.is_bot(person) {
            return self.bot_asks(errand, person, self.run.scenario.bots.attempts.saturating_sub(1), due);
        }
        if self.people.clicks_twice(person) {
            let after = self.run.clock.real_ns(self.run.scenario.double_clicks.after.0);
            self.timers.set(due.saturating_add(after), Action::SecondClick { errand, person });
        }
        self.shop(errand, person, due);
    }

    fn bot_asks(&mut self, errand: Errand, person: Person, left: u32, due: u64) {
        if left > 0 {
            let every = self.run.clock.real_ns(self.run.scenario.bots.every.0);
            self.timers.set(due.saturating_add(every), Action::BotAsks { errand, person, left: left - 1 });
        }
        self.shop(errand, person, due);
    }

    fn register(&mut self, errand: Errand, person: Person, sale: SaleIndex, intended_ns: u64) {
        let buyer = People::buyer(person);
        let called_ns = self.run.clock.elapsed_ns();
        let reply = self.session.register(sale, buyer);
        let exchange = Exchange { called_ns, replied_ns: self.run.clock.elapsed_ns() };
        self.answered(errand, intended_ns, exchange);
        let counts = &mut self.log.stages[self.run.scenario.arrivals[index(errand.into())].stage].counts;
        counts.registers += 1;
        match reply {
            RegisterReply::Registered | RegisterReply::Already => {
                counts.registered += u64::from(reply == RegisterReply::Registered);
                if self.admission.registered(sale, person, true) {
                    self.log.registrations.push(Registration { sale, buyer, exchange, surely: true });
                }
            }
            RegisterReply::Failed => {
                if self.admission.registered(sale, person, false) {
                    self.log.registrations.push(Registration { sale, buyer, exchange, surely: false });
                }
                self.note_failure();
            }
            RegisterReply::TooEarly | RegisterReply::TooLate => {}
        }
    }

    /// Counts a request that was answered at once.
    fn answered(&mut self, errand: Errand, intended_ns: u64, exchange: Exchange) {
        let stage = self.stage(errand);
        let log = &mut self.log.stages[stage];
        log.counts.started += 1;
        log.counts.completed += 1;
        log.latencies.record(intended_ns, exchange.called_ns, exchange.replied_ns);
        self.seen_ns = exchange.replied_ns;
        self.log.in_target_ns += exchange.replied_ns - exchange.called_ns;
        self.untold.requests += 1;
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
        self.log.unsent += count(self.timers.requests_due(now)) + self.schedule.due_by(nanos(since_start));
        let patience_ns = now.saturating_add(nanos(LAST_CONFIRMATIONS));
        while !self.under_way.is_empty() && self.run.clock.elapsed_ns() < patience_ns {
            self.poll();
            thread::sleep(Duration::from_nanos(POLL_EVERY_NS));
        }
        for late in mem::take(&mut self.under_way) {
            let exchange = Exchange { called_ns: late.called_ns, replied_ns: self.run.clock.elapsed_ns() };
            for line in self.lines(late.hold) {
                self.log.holds[line].confirm_replied(ConfirmReply::Unknown, exchange);
            }
        }
        self.live.add(&mut self.untold);
        self.log.ended_ns = self.run.clock.elapsed_ns();
    }
}
