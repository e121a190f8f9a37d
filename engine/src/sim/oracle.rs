//! What was promised to whom, as those know it who were told.
//!
//! What holds: nothing here looks into the engine. What an answer promises is noted when it is given, together with
//! whether it is durable by then; what is unknown stays unknown until an answer tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    hash::Hasher as _,
};

use siphasher::sip::SipHasher24;

use crate::{Audience, Confirmation, Message, Pending, Receipt, Timestamp, Token, WaitOrder};

pub(super) type Checked<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
pub(super) use ensure;

/// The sales: one with a waitlist, one for the registered, one of units with labels or amounts, one for whom the seed
/// wants: the invited, who bought a coat, or who is registered for the seats.
pub(super) const NAMES: [&str; 4] = ["coats", "seats", "codes", "encore"];
/// Units, sale by sale.
pub(super) type PerSale = [u32; NAMES.len()];
/// The place of a hold that is a basket.
pub(super) const BASKET: usize = NAMES.len();

/// One hold, or one basket, as its buyer knows it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what is known of a hold, each for itself")]
pub(super) struct Ticket {
    /// The number of its sale, or `BASKET`.
    pub(super) place: usize,
    /// Its units, sale by sale.
    pub(super) units: PerSale,
    pub(super) token: Token,
    pub(super) buyer: u64,
    /// Deadlines that it may have after a crash; the last one is the present one.
    pub(super) deadlines: Vec<Timestamp>,
    pub(super) durable: bool,
    pub(super) ended: bool,
    pub(super) end_durable: bool,
    /// Payments that were reported for it.
    pub(super) payments: Vec<u64>,
    pub(super) receipt: Option<Receipt>,
    pub(super) refunded: bool,
    /// It was sold after it had ended.
    pub(super) late: bool,
    /// Which units it has, by sale and number, if they were looked at.
    pub(super) faces: Option<Vec<(usize, u32)>>,
}

impl Ticket {
    pub(super) fn quantity(&self) -> u32 {
        self.units.iter().sum()
    }

    /// On hold, sold, or what nobody can say yet.
    pub(super) fn standing(&self) -> Standing {
        match (self.receipt, self.payments.is_empty()) {
            (Some(_), _) => Standing::Sold,
            _ if self.refunded => Standing::Over,
            (None, false) => Standing::Unknown,
            (None, true) if self.ended => Standing::Over,
            (None, true) => Standing::Held,
        }
    }
}

/// What becomes of a ticket's units, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Held,
    Sold,
    Over,
    /// It was paid, and the answer is still to come.
    Unknown,
}

/// An answer that isn't durable yet.
pub(super) enum Waiting {
    Pending(Pending),
    Told(Confirmation),
}

/// A place on a waitlist.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) ticket: u64,
    pub(super) durable: bool,
}

/// What operators made of a sale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// What it was last changed to; unknown after a change of which nobody knows whether it is durable.
    pub(super) cap: Option<u32>,
    pub(super) window: Option<(Option<Timestamp>, Option<Timestamp>)>,
    pub(super) paused: Option<bool>,
    pub(super) closed: bool,
    pub(super) perhaps_closed: bool,
    /// The highest cap so far.
    pub(super) highest: u32,
    /// Units that were added or withdrawn for certain, and such of which nobody knows.
    pub(super) added: u32,
    pub(super) perhaps_added: u32,
    pub(super) withdrawn: u32,
    pub(super) perhaps_withdrawn: u32,
}

impl Rules {
    pub(super) fn new(cap: u32) -> Self {
        Self {
            cap: Some(cap),
            window: Some((None, None)),
            paused: Some(false),
            closed: false,
            perhaps_closed: false,
            highest: cap,
            added: 0,
            perhaps_added: 0,
            withdrawn: 0,
            perhaps_withdrawn: 0,
        }
    }
}

/// Everything that was promised.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) tickets: Vec<Ticket>,
    pub(super) tokens: BTreeMap<String, usize>,
    pub(super) waiting: Vec<(usize, Waiting)>,
    /// How many payments were reported: the number of the last one.
    pub(super) paid: u64,
    pub(super) rules: Vec<Rules>,
    pub(super) halted: Option<bool>,
    /// The latest ticket of a key.
    pub(super) keys: BTreeMap<(usize, u64, u64), usize>,
    /// Who waits.
    pub(super) places: BTreeMap<(usize, u64), Place>,
    /// The order of each waitlist.
    pub(super) lines: Vec<WaitOrder>,
    /// Whom each sale is for, and from when it is for everyone.
    pub(super) audiences: Vec<(Audience, Option<Timestamp>)>,
    /// What lets whom into which sale.
    pub(super) invitations: BTreeMap<(usize, u64), String>,
    /// Who is registered for the seats for certain; and who may be after a crash, each with whether it was told.
    pub(super) registered: BTreeSet<u64>,
    pub(super) perhaps_registered: BTreeMap<u64, bool>,
    /// Orders that were shipped, and whether that is certain.
    pub(super) shipped: BTreeMap<(usize, u64), bool>,
    /// Messages that were read.
    pub(super) told: Vec<Message>,
}

impl Oracle {
    /// A hold was made, or offered.
    pub(super) fn made(
        &mut self,
        place: usize,
        units: PerSale,
        buyer: u64,
        token: Token,
        deadline: Timestamp,
    ) -> Checked {
        let before = self.tokens.insert(token.to_string(), self.tickets.len());
        ensure!(before.is_none(), "G1: buyer {buyer} was given the units of another hold, {token}");
        self.tickets.push(Ticket {
            place,
            units,
            token,
            buyer,
            deadlines: vec![deadline],
            durable: false,
            ended: false,
            end_durable: false,
            payments: Vec::new(),
            receipt: None,
            refunded: false,
            late: false,
            faces: None,
        });
        for (number, units) in units.into_iter().enumerate() {
            let (held, sold, _) = self.share(number, Some(buyer));
            let highest = self.rules[number].highest;
            ensure!(
                units == 0 || held + sold <= u64::from(highest),
                "G6: buyer {buyer} has {held} units on hold and {sold} bought, the limit was never above {highest}"
            );
        }
        Ok(())
    }

    /// A payment's answer that is durable.
    pub(super) fn learn(&mut self, index: usize, answer: Confirmation) -> Checked {
        let ticket = &mut self.tickets[index];
        match answer {
            Confirmation::Confirmed(receipt)
            | Confirmation::PaidLate(receipt)
            | Confirmation::AlreadyConfirmed(receipt) => {
                ensure!(!ticket.refunded, "G3: refunded, then sold: {receipt:?}");
                ensure!(ticket.receipt.is_none_or(|before| before == receipt), "G4: another receipt: {receipt:?}");
                ensure!(receipt.quantity == ticket.quantity(), "G1: sold as another quantity: {receipt:?}");
                ticket.late |= ticket.receipt.is_none() && ticket.ended;
                ticket.receipt = Some(receipt);
            }
            Confirmation::CancelledBefore
            | Confirmation::HoldForgotten
            | Confirmation::PaidLateSoldOut
            | Confirmation::PaidLateOverCap => {
                ensure!(ticket.receipt.is_none(), "G3: sold, then refunded: {answer:?}");
                ensure!(ticket.ended, "G3: refunded while it is held: {answer:?}");
                ticket.refunded = true;
            }
        }
        Ok(())
    }

    /// Units on hold and sold, and such of which nobody knows: of one sale, and of one buyer or all.
    pub(super) fn share(&self, number: usize, buyer: Option<u64>) -> (u64, u64, u64) {
        let (mut held, mut sold, mut unknown) = (0, 0, 0);
        for ticket in self.tickets.iter().filter(|ticket| buyer.is_none_or(|buyer| ticket.buyer == buyer)) {
            let units = u64::from(ticket.units[number]);
            match ticket.standing() {
                Standing::Held => held += units,
                Standing::Sold => sold += units,
                Standing::Unknown => unknown += units,
                Standing::Over => {}
            }
        }
        (held, sold, unknown)
    }

    /// Whether the sale is for `buyer`, as far as it is known.
    pub(super) fn admits(&self, number: usize, buyer: u64, invited: bool, now: Timestamp) -> Option<bool> {
        let (audience, everyone_from) = &self.audiences[number];
        if everyone_from.is_some_and(|from| now >= from) {
            return Some(true);
        }
        match audience {
            Audience::Everyone => Some(true),
            Audience::Invited => Some(invited),
            Audience::Registered | Audience::RegisteredFor(_) => match self.perhaps_registered.get(&buyer) {
                _ if self.registered.contains(&buyer) => Some(true),
                Some(told) => told.then_some(true),
                None => Some(false),
            },
            Audience::BuyersOf(_) => match self.share(0, Some(buyer)) {
                (_, 0, 0) => Some(false),
                (_, 0, _) => None,
                _ => Some(true),
            },
        }
    }

    /// Whom the sale's waitlist serves before `buyer`, though `buyer` was served.
    pub(super) fn passed(&self, number: usize, buyer: u64) -> Option<u64> {
        let rank = |buyer: u64, place: &Place| match self.lines[number] {
            WaitOrder::FirstCome => (0, place.ticket),
            WaitOrder::Lottery { seed } => (WaitOrder::draw(seed, buyer.into()), place.ticket),
        };
        let served = rank(buyer, self.places.get(&(number, buyer))?);
        let waiting = self.places.range((number, 0)..(number + 1, 0));
        waiting.filter(|((_, other), place)| rank(*other, place) < served).map(|((_, other), _)| *other).next()
    }

    /// Everything that was answered so far is durable.
    pub(super) fn all_durable(&mut self) -> Checked {
        for ticket in &mut self.tickets {
            ticket.durable = true;
            ticket.end_durable = ticket.ended;
            ticket.deadlines.drain(..ticket.deadlines.len() - 1);
        }
        self.places.values_mut().for_each(|place| place.durable = true);
        self.registered.extend(self.perhaps_registered.iter().filter(|(_, told)| **told).map(|(buyer, _)| *buyer));
        self.perhaps_registered.retain(|_, told| !*told);
        for (index, waiting) in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Told(answer) => self.learn(index, answer)?,
                Waiting::Pending(pending) => self.waiting.push((index, Waiting::Pending(pending))),
            }
        }
        Ok(())
    }
}

/// What happened, step by step: as one number, and as a story for who asks.
#[derive(Default)]
pub(super) struct Trace {
    hasher: SipHasher24,
    story: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(told: bool) -> Self {
        Self { hasher: SipHasher24::new(), story: told.then(Vec::new) }
    }

    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        struct Into<'a>(&'a mut SipHasher24);
        impl fmt::Write for Into<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        let _never_fails = Into(&mut self.hasher).write_fmt(what);
        if let Some(story) = &mut self.story {
            story.push(what.to_string());
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    pub(super) fn story(self) -> Vec<String> {
        self.story.unwrap_or_default()
    }
}
