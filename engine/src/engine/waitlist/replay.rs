//! Recovery of a waitlist: from its records back to the line and the offers.
//!
//! What holds: who is in the line was queued, once, and has not left since; an offer's record stands right before that
//! of its hold; an offer whose hold has another deadline by now was accepted.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::line::Line;
use crate::{
    core::{Buyer, Timestamp, allocator::HoldId},
    journal::{HeldRecord, Unqueued},
    spec::Waitlist,
};

/// A waitlist as the journal has it so far.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Replayed {
    places: BTreeMap<u64, Buyer>,
    waiting: HashSet<Buyer>,
    /// The last ticket that was given.
    last: u64,
    /// Whose hold comes next, and the ticket with which it was waited for.
    offered: Option<(u64, Buyer)>,
    offers: HashMap<Buyer, (HoldId, Timestamp)>,
    pub(super) passed_over: HashSet<Buyer>,
}

impl Replayed {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether nobody has ever waited.
    pub(crate) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// The last ticket, and who was offered the hold that comes next.
    pub(crate) fn begun(&self) -> (u64, Option<(u64, Buyer)>) {
        (self.last, self.offered)
    }

    /// Who waits, with the tickets, in their order.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u64, Buyer)> {
        self.places.iter().map(|(ticket, buyer)| (*ticket, *buyer))
    }

    /// Everything that was offered, the same way every time.
    pub(crate) fn sorted_offers(&self) -> impl Iterator<Item = (Buyer, HoldId, Timestamp)> {
        let mut offers: Vec<_> = self.offers().collect();
        offers.sort_unstable_by_key(|(buyer, ..)| buyer.words());
        offers.into_iter()
    }

    /// Whose turn it was in vain, the same way every time.
    pub(crate) fn sorted_passed_over(&self) -> impl Iterator<Item = Buyer> {
        let mut buyers: Vec<_> = self.passed_over.iter().copied().collect();
        buyers.sort_unstable_by_key(|buyer| buyer.words());
        buyers.into_iter()
    }

    /// Forgets the offers that are no longer open.
    pub(crate) fn settle(&mut self, is_open: impl Fn(HoldId, Timestamp) -> bool) {
        self.offers.retain(|_, (id, deadline)| is_open(*id, *deadline));
    }

    /// Begins anew, with what [`Replayed::begun`] said.
    pub(crate) fn begin(&mut self, last: u64, offered: Option<(u64, Buyer)>) {
        *self = Self { last, offered, ..Self::default() };
    }

    /// These wait.
    pub(crate) fn place(&mut self, places: Vec<(u64, Buyer)>) -> Result<(), String> {
        for (ticket, buyer) in places {
            if ticket > self.last || !self.waiting.insert(buyer) || self.places.insert(ticket, buyer).is_some() {
                return Err(format!("buyer {buyer} waits with ticket {ticket}, of {}, or not alone", self.last));
            }
        }
        Ok(())
    }

    /// These were offered a hold.
    pub(crate) fn offer(&mut self, offers: Vec<(Buyer, HoldId, Timestamp)>) {
        self.offers.extend(offers.into_iter().map(|(buyer, id, deadline)| (buyer, (id, deadline))));
    }

    /// It was the turn of these in vain.
    pub(crate) fn pass_over(&mut self, buyers: Vec<Buyer>) {
        self.passed_over.extend(buyers);
    }

    /// A buyer waits.
    pub(crate) fn queued(&mut self, ticket: u64, buyer: Buyer) -> Result<(), String> {
        if ticket <= self.last {
            return Err(format!("ticket {ticket} follows ticket {}", self.last));
        }
        if !self.waiting.insert(buyer) {
            return Err(format!("buyer {buyer} waits twice, the second time with ticket {ticket}"));
        }
        self.last = ticket;
        self.places.insert(ticket, buyer);
        self.passed_over.remove(&buyer);
        Ok(())
    }

    /// A buyer waits no more.
    pub(crate) fn unqueued(&mut self, ticket: u64, how: Unqueued, rules: Option<&Waitlist>) -> Result<(), String> {
        let buyer = self.places.remove(&ticket).ok_or_else(|| format!("nobody waits with ticket {ticket}"))?;
        self.waiting.remove(&buyer);
        match how {
            Unqueued::Left => {}
            Unqueued::Offered => self.offered = Some((ticket, buyer)),
            Unqueued::PassedOver => {
                if rules.is_some_and(|rules| self.passed_over.len() < rules.room as usize) {
                    self.passed_over.insert(buyer);
                }
            }
        }
        Ok(())
    }

    /// A hold: that of the buyer who was offered it, if one was.
    pub(crate) fn held(&mut self, held: &HeldRecord) -> Result<(), String> {
        let HeldRecord { slot, generation, key_epoch, buyer, deadline, .. } = *held;
        match self.offered.take() {
            None => Ok(()),
            Some((_, offered)) if offered == buyer => {
                self.offers.insert(buyer, (HoldId { slot, generation, key_epoch }, deadline));
                Ok(())
            }
            Some((_, offered)) => Err(format!("what buyer {offered} was offered is held by buyer {buyer}")),
        }
    }

    /// The journal ends here, or was opened again: an offer without its hold was torn off it, and was never made.
    pub(crate) fn ends(&mut self) {
        if let Some((ticket, buyer)) = self.offered.take() {
            self.waiting.insert(buyer);
            self.places.insert(ticket, buyer);
        }
    }

    /// The line. Tickets go on behind those that may have been lost with the last tick: at most as many could be
    /// known to somebody who waits as there are places.
    pub(super) fn line(&self, rules: &Waitlist) -> Line {
        let next = self.last.saturating_add(1);
        let mut line = Line::new(rules, next.saturating_add(u64::from(rules.room)));
        for (ticket, buyer) in &self.places {
            line.join(*ticket, *buyer);
        }
        line
    }

    /// Everything that was offered: whose, which hold, and until when.
    pub(super) fn offers(&self) -> impl Iterator<Item = (Buyer, HoldId, Timestamp)> {
        self.offers.iter().map(|(buyer, (id, deadline))| (*buyer, *id, *deadline))
    }
}
