//! Paying for a hold, giving it back, or letting it run out; and telling others.

use std::{fmt::Write, ops::Range};

use super::{UnderWay, Worker};
use crate::{
    chance::pick,
    number::{index, nanos, real, whole},
    people::Person,
    runner::timers::Action,
    scenario::{Paying, Payment},
    target::{Answer, CancelReply, ConfirmReply, Line, Pending, Session},
    verify::{
        EXPIRY_SLACK,
        log::{Exchange, HoldRecord},
    },
};

/// Of so many sales one is asked whether its units are still the ones that were held.
const UNITS_ASKED_EVERY: usize = 16;

impl<S: Session> Worker<'_, S> {
    /// Decides how a hold is paid, if it is; `returned` if its buyer had been refused before.
    pub(super) fn decide(&mut self, hold: u32, returned: bool) {
        let payment = &self.run.scenario.payment;
        let way = if returned && payment.returning_pay {
            Paying::AtOnce
        } else {
            Payment::WAYS[pick(&payment.weights(), self.dice.fraction())]
        };
        self.pays(hold, way);
    }

    /// Sets the timers of one way of paying.
    pub(super) fn pays(&mut self, hold: u32, way: Paying) {
        let record = &self.log.holds[index(hold.into())];
        let (deadline_ns, lapses_ns, now) = (record.deadline_ns, record.lapses_ns, record.held_ns);
        let left = real(deadline_ns.saturating_sub(now));
        let delay = real(self.run.clock.real_ns(self.run.scenario.payment.delay.0));
        let soon = now + whole(self.dice.exponential(delay).min(left * 0.9));
        match way {
            Paying::AtOnce => self.timers.set(soon, Action::Pay { hold, again: false }),
            Paying::Twice => self.timers.set(soon, Action::Pay { hold, again: true }),
            Paying::Cancel => self.timers.set(soon, Action::Cancel { hold }),
            Paying::Late => {
                let late = now + whole(left * self.dice.between(0.5, 0.98));
                self.timers.set(late, Action::Pay { hold, again: false });
            }
            Paying::AtDeadline => self.timers.set(deadline_ns, Action::Pay { hold, again: false }),
            Paying::AfterDeadline => {
                let after = lapses_ns + whole(self.dice.exponential(delay));
                self.timers.set(after, Action::Pay { hold, again: false });
            }
            Paying::Never => self.timers.set(lapses_ns + nanos(EXPIRY_SLACK), Action::Lapse { hold }),
        }
    }

    /// The places of a hold's lines in the log.
    pub(super) fn lines(&self, hold: usize) -> Range<usize> {
        hold..hold + usize::from(self.own[hold].lines)
    }

    pub(super) fn pay(&mut self, hold: usize, again: bool, intended_ns: u64) {
        let Some(ticket) = &self.own[hold].ticket else { return };
        let record = &self.log.holds[hold];
        let payment = self.run.payment(self.place, hold);
        let called_ns = self.run.clock.elapsed_ns();
        let answer = if record.basket.is_some() {
            self.session.confirm_basket(ticket, payment)
        } else {
            self.session.confirm(record.sale, ticket, payment)
        };
        let replied_ns = self.run.clock.elapsed_ns();
        let stage = self.stage(self.own[hold].errand);
        let counts = &mut self.log.stages[stage].counts;
        counts.confirms += 1;
        counts.started += 1;
        self.log.in_target_ns += replied_ns - called_ns;
        self.untold.requests += 1;
        for line in self.lines(hold) {
            self.log.holds[line].confirming(called_ns);
            self.admission.bought(self.log.holds[line].sale, self.person(line), false);
        }
        if again {
            let delay = real(self.run.clock.real_ns(self.run.scenario.payment.delay.0)) / 4.0;
            let second = replied_ns + whole(self.dice.exponential(delay));
            let report = u32::try_from(hold).unwrap_or(u32::MAX);
            self.timers.set(second, Action::Pay { hold: report, again: false });
        }
        match answer {
            Answer::Now(reply) => {
                let exchange = Exchange { called_ns, replied_ns };
                self.confirmed(hold, payment, intended_ns, exchange, reply);
                self.forget(hold, !again);
            }
            Answer::Later(pending) => {
                let under_way = UnderWay { hold, payment, intended_ns, called_ns, last: !again, pending };
                self.under_way.push_back(under_way);
            }
        }
        self.write_acks();
    }

    fn forget(&mut self, hold: usize, last: bool) {
        if last {
            self.own[hold].ticket = None;
        }
    }

    /// Takes the outcomes of confirmations in the order in which they were asked for.
    pub(super) fn poll(&mut self) {
        self.unpolled = 0;
        while let Some(first) = self.under_way.front_mut() {
            let Some(reply) = first.pending.poll() else { break };
            let replied_ns = self.run.clock.elapsed_ns();
            if let Some(UnderWay { hold, payment, intended_ns, called_ns, last, .. }) = self.under_way.pop_front() {
                self.confirmed(hold, payment, intended_ns, Exchange { called_ns, replied_ns }, reply);
                self.forget(hold, last);
            }
        }
        self.write_acks();
    }

    fn confirmed(&mut self, hold: usize, payment: u64, intended_ns: u64, exchange: Exchange, reply: ConfirmReply) {
        let errand = self.own[hold].errand;
        let stage = self.stage(errand);
        let log = &mut self.log.stages[stage];
        log.counts.completed += 1;
        log.confirmations.record(intended_ns, exchange.called_ns, exchange.replied_ns);
        for line in self.lines(hold) {
            self.log.holds[line].confirm_replied(reply, exchange);
        }
        match reply {
            ConfirmReply::Confirmed(order) | ConfirmReply::PaidLate(order) => {
                self.log.stages[stage].counts.confirmed += 1;
                for line in self.lines(hold) {
                    let (sale, quantity) = (self.log.holds[line].sale, self.log.holds[line].quantity);
                    self.untold.sold += u64::from(quantity);
                    self.admission.bought(sale, self.person(line), true);
                    if self.run.acks.is_some() {
                        let name = &self.run.scenario.sales[sale].name;
                        writeln!(self.acks, "{name},{order},{payment}").expect("writing to a string can't fail");
                    }
                }
                self.look_at_units(hold, matches!(reply, ConfirmReply::PaidLate(_)));
                self.tell_others(hold, exchange.replied_ns);
            }
            ConfirmReply::Failed | ConfirmReply::Unknown => self.note_failure(),
            _ => {}
        }
    }

    /// Asks which units were sold, if one may have become another, and now and then to be sure.
    fn look_at_units(&mut self, hold: usize, late: bool) {
        if !late && !hold.is_multiple_of(UNITS_ASKED_EVERY) {
            return;
        }
        let lines = self.lines(hold);
        let Some(ticket) = &self.own[hold].ticket else { return };
        let faced = |record: &HoldRecord| self.run.scenario.sales[record.sale].has_faces();
        if !self.log.holds[lines.clone()].iter().any(faced) {
            return;
        }
        let first = &self.log.holds[hold];
        let units = if first.basket.is_some() {
            let records = self.log.holds[lines.clone()].iter();
            let wanted: Vec<_> = records.map(|record| Line { sale: record.sale, quantity: record.quantity }).collect();
            self.session.units_of_basket(ticket, &wanted)
        } else {
            self.session.units(first.sale, ticket).map(|units| vec![units])
        };
        for (line, units) in lines.zip(units.into_iter().flatten()) {
            self.log.holds[line].sold_as(units);
        }
    }

    /// Who paid may share, and a share draws more people.
    fn tell_others(&mut self, hold: usize, now: u64) {
        let person = self.person(hold);
        if !self.people.shares(person) {
            return;
        }
        let sharing = &self.run.scenario.sharing;
        let errand = self.own[hold].errand;
        let stage = self.stage(errand);
        self.log.stages[stage].counts.shares += 1;
        let draws = whole(sharing.draws + self.dice.fraction());
        let after = real(self.run.clock.real_ns(sharing.after.0));
        for _ in 0..draws {
            self.timers.set(now + whole(self.dice.exponential(after)), Action::Drawn { errand });
        }
    }

    fn person(&self, hold: usize) -> Person {
        Person::try_from(self.log.holds[hold].buyer.saturating_sub(1)).unwrap_or(Person::MAX)
    }

    fn write_acks(&mut self) {
        if let Some(acks) = self.run.acks
            && !self.acks.is_empty()
        {
            acks.write(&mut self.acks);
        }
    }

    pub(super) fn cancel(&mut self, hold: usize, intended_ns: u64) {
        let Some(ticket) = self.own[hold].ticket.take() else { return };
        let record = &self.log.holds[hold];
        let called_ns = self.run.clock.elapsed_ns();
        let reply = if record.basket.is_some() {
            self.session.cancel_basket(&ticket)
        } else {
            self.session.cancel(record.sale, &ticket)
        };
        let exchange = Exchange { called_ns, replied_ns: self.run.clock.elapsed_ns() };
        let errand = self.own[hold].errand;
        let stage = self.stage(errand);
        self.log.stages[stage].counts.cancels += 1;
        self.answered(errand, intended_ns, exchange);
        for line in self.lines(hold) {
            self.log.holds[line].cancel_replied(reply, exchange);
        }
        if reply == CancelReply::Failed {
            self.note_failure();
        }
    }
}
