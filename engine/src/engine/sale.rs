//! A sale as its users see it: reserve, confirm, cancel, extend, and what operators do while it runs.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Engine,
    answers::{CancelError, Cancelled, ChangeError, Ended, ExtendError, Rejection},
    audit::Audit,
    events::EventKind,
    faces::write_withdrawn,
    inner::{EngineInner, home},
    state::{SaleInner, SaleState},
    tick::write_ends,
};
use crate::{
    core::{
        Buyer, End, Invitation, SaleName, Timestamp, Token, TokenError,
        allocator::{HoldId, Made, Refusal, Standing},
        permits::Mark,
        token::Fields,
    },
    journal::{Change, Record},
    spec::LONGEST_HOLD,
};

/// One sale of an engine. Cheap to clone; all clones are the same sale.
///
/// # Consistency
/// `reserve` is linearizable: it takes its unit, or finds that none is free, at one instant between call and
/// answer. A unit whose return was answered before the call began can be had. Units that another call is just
/// giving back may be seen as not back yet. Aggregates such as [`Sale::audit`] are read part by part.
#[derive(Clone)]
pub struct Sale {
    pub(crate) engine: Arc<EngineInner>,
    pub(crate) inner: Arc<SaleInner>,
}

/// Units that wait for their payment. Dropping it changes nothing: the hold ends by its token, or expires.
#[derive(Clone, Copy)]
#[must_use = "without its token a hold can only expire"]
pub struct Hold<'sale> {
    pub(crate) sale: &'sale Sale,
    pub(crate) id: HoldId,
    pub(super) buyer: Buyer,
    pub(super) quantity: u32,
    pub(super) deadline: Timestamp,
}

impl Hold<'_> {
    /// The hold's name outside the process.
    #[must_use]
    pub fn token(&self) -> Token {
        self.sale.token(self.id)
    }

    /// Until when it can be paid, this instant included.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Who has it.
    #[must_use]
    pub fn buyer(&self) -> Buyer {
        self.buyer
    }

    /// How many units it has.
    #[must_use]
    pub fn quantity(&self) -> u32 {
        self.quantity
    }

    /// Cancels it, as [`Sale::cancel`] does.
    ///
    /// # Errors
    /// [`CancelError::Ended`] if it had ended before.
    pub fn cancel(self) -> Result<Cancelled, CancelError> {
        self.sale.cancel_hold(self.id)
    }
}

impl fmt::Debug for Hold<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("sale", &self.sale.name())
            .field("buyer", &self.buyer)
            .field("quantity", &self.quantity)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Sale {
    /// The sale's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// When it opens, if that was not at once.
    #[must_use]
    pub fn opens_at(&self) -> Option<Timestamp> {
        self.inner.opens_at()
    }

    /// When it closes by itself, if it does.
    #[must_use]
    pub fn closes_at(&self) -> Option<Timestamp> {
        self.inner.closes_at()
    }

    /// Whether it sells now.
    #[must_use]
    pub fn state(&self) -> SaleState {
        self.inner.state(self.engine.now())
    }

    /// Puts `quantity` units on hold for `buyer`. Takes no lock and does no I/O.
    ///
    /// # Errors
    /// [`Rejection`] says why not. "Sold out" is said only if every unit is sold, "all held" only if none is free.
    ///
    /// # Memory ordering
    /// What happened before an answered `cancel`, expiry or `add_stock` is seen by whoever gets the unit.
    #[inline]
    pub fn reserve(&self, buyer: impl Into<Buyer>, quantity: u32) -> Result<Hold<'_>, Rejection> {
        self.reserve_admitted(buyer.into(), quantity, None)
    }

    /// As [`Sale::reserve`], for a buyer who may bring an invitation.
    #[inline]
    pub(super) fn reserve_admitted(
        &self,
        buyer: Buyer,
        quantity: u32,
        invitation: Option<&Invitation>,
    ) -> Result<Hold<'_>, Rejection> {
        self.check_quantity(quantity)?;
        if self.inner.allocator.gate().is_only_sold_out() {
            // Most of a crowd ends here: it needs neither the time nor the buyer, and pays for nothing that follows.
            return Err(Rejection::SoldOut);
        }
        self.reserve_or_refuse(buyer, quantity, invitation)
    }

    /// Not inlined: whoever is told "sold out" should not save the registers that only this needs.
    #[inline(never)]
    fn reserve_or_refuse(
        &self,
        buyer: Buyer,
        quantity: u32,
        invitation: Option<&Invitation>,
    ) -> Result<Hold<'_>, Rejection> {
        let made = self.make(buyer, quantity, invitation, |_| {})?;
        Ok(self.held(buyer, quantity, made))
    }

    #[inline]
    pub(super) fn check_quantity(&self, asked: u32) -> Result<(), Rejection> {
        let allocator = &self.inner.allocator;
        if asked > 0 && allocator.allows(asked) {
            return Ok(());
        }
        Err(Rejection::BadQuantity { asked, largest: allocator.largest() })
    }

    /// Makes a hold. `entered` is told its slot before anybody can see the hold.
    #[inline]
    pub(super) fn make(
        &self,
        buyer: Buyer,
        quantity: u32,
        invitation: Option<&Invitation>,
        entered: impl FnOnce(u32),
    ) -> Result<Made, Rejection> {
        if self.inner.allocator.gate().is_only_sold_out() {
            // It needs neither the time nor the buyer.
            return Err(Rejection::SoldOut);
        }
        let now = self.engine.now();
        self.admit_sale(now)?;
        self.admit_buyer(buyer, invitation, now)?;
        let key_epoch = self.engine.keys.key_epoch();
        let offset = self.inner.offset(now);
        self.engine.activate(&self.inner);
        let made = self.inner.allocator.reserve_entered(buyer, quantity, offset, home(), key_epoch, entered);
        made.map_err(|refusal| self.rejection(refusal, now))
    }

    /// Puts one unit on hold for each of `buyers`; `answers` gets one answer a buyer, in their order.
    ///
    /// For event loops that find many requests waiting: permits are taken together. A buyer may come twice.
    pub fn reserve_many<'sale>(&'sale self, buyers: &[Buyer], answers: &mut Vec<Result<Hold<'sale>, Rejection>>) {
        let now = self.engine.now();
        answers.reserve(buyers.len());
        if self.inner.spec.audience != crate::spec::Audience::Everyone || self.admit_sale(now).is_err() {
            answers.extend(buyers.iter().map(|&buyer| self.reserve(buyer, 1)));
            return;
        }
        let key_epoch = self.engine.keys.key_epoch();
        let offset = self.inner.offset(now);
        self.engine.activate(&self.inner);
        self.inner.allocator.reserve_each(buyers, offset, home(), key_epoch, |buyer, answer| {
            answers.push(match answer {
                Ok(made) => Ok(self.held(buyer, 1, made)),
                Err(refusal) => Err(self.rejection(refusal, now)),
            });
        });
    }

    /// Ends a hold; its units are on sale again before this answers. Takes no lock and does no I/O.
    ///
    /// # Errors
    /// [`CancelError`] if the token isn't this sale's, or the hold had ended before.
    pub fn cancel(&self, token: &Token) -> Result<Cancelled, CancelError> {
        self.cancel_hold(self.open_token(token)?)
    }

    /// Moves a hold's deadline later by `by`, for a buyer who is just typing a card number.
    ///
    /// # Errors
    /// [`ExtendError`] if the token isn't this sale's, the hold has ended or is overdue, or it would last too long.
    pub fn extend(&self, token: &Token, by: Duration) -> Result<Timestamp, ExtendError> {
        let id = self.open_token(token)?;
        let now = self.engine.now();
        loop {
            let (due, snapshot) = match self.inner.allocator.standing(id) {
                Standing::Held { due, snapshot, .. } => (self.inner.instant(due), snapshot),
                standing => return Err(ExtendError::Ended(ended(standing))),
            };
            if now > due {
                return Err(ExtendError::Overdue { due });
            }
            let (asked, latest) = (due.plus(by), now.plus(LONGEST_HOLD));
            if asked > latest {
                return Err(ExtendError::TooLong { asked, latest });
            }
            if self.inner.allocator.extend(id.slot, snapshot, self.inner.offset(asked)) {
                return Ok(asked);
            }
        }
    }

    /// Puts `units` more on sale; numbered ones go on counting. Durable when it answers.
    ///
    /// # Errors
    /// [`ChangeError`] if the stock would be too large, the sale is closed, its units need labels or add up to a
    /// budget, or the journal doesn't take it.
    pub fn add_stock(&self, units: u32) -> Result<(), ChangeError> {
        if self.engine.add_stock(&self.inner, units, None)? {
            self.publish(EventKind::Restocked);
        }
        Ok(())
    }

    /// Takes up to `units` free units off sale, those included that wait for the head of the waitlist; says how many.
    /// Durable when it answers.
    ///
    /// # Errors
    /// [`ChangeError::FixedBudget`] if the units add up to a budget. [`ChangeError::Journal`] if the journal doesn't
    /// take it: the units stay off sale until the engine is opened again.
    pub fn withdraw(&self, units: u32) -> Result<u32, ChangeError> {
        let mut changes = self.inner.admin.lock();
        self.inner.check_withdrawal()?;
        let units = self.inner.allocator.withdraw(units, home());
        let which = self.inner.allocator.withdraw_units(units);
        changes.withdrawn += u64::from(units);
        let (sale, at) = (self.inner.number, self.engine.now());
        self.engine.write(|batch| {
            // The units may have come from holds that have just ended: their ends stand before this.
            write_ends(&self.inner, at, batch);
            write_withdrawn(sale, &which, batch);
            batch.push(&Record::SaleChanged { sale, at, change: Change::Withdrawn { units } });
        })?;
        Ok(units)
    }

    /// Makes no more holds until [`Sale::resume`]; holds already made may be paid. At once, and durable when it
    /// answers.
    ///
    /// # Errors
    /// [`ChangeError::Journal`] if the journal doesn't take it; the sale is paused all the same.
    pub fn pause(&self) -> Result<(), ChangeError> {
        let _turn = self.inner.admin.lock();
        self.inner.allocator.set(Mark::Paused);
        self.engine.write_change(&self.inner, Change::Paused)
    }

    /// Sells again after a pause. Durable when it answers.
    ///
    /// # Errors
    /// [`ChangeError::Journal`] if the journal doesn't take it; the sale stays paused.
    pub fn resume(&self) -> Result<(), ChangeError> {
        let _turn = self.inner.admin.lock();
        self.engine.write_change(&self.inner, Change::Resumed)?;
        self.inner.allocator.clear(Mark::Paused);
        Ok(())
    }

    /// Ends the sale: no more holds, for good; holds already made may be paid. At once, and durable when it answers.
    ///
    /// # Errors
    /// [`ChangeError::Journal`] if the journal doesn't take it; the sale is closed all the same.
    pub fn close(&self) -> Result<(), ChangeError> {
        let _turn = self.inner.admin.lock();
        self.inner.allocator.set(Mark::Closed);
        self.engine.write_change(&self.inner, Change::Closed)
    }

    /// Where every unit is, counted now.
    #[must_use]
    pub fn audit(&self) -> Audit {
        self.inner.audit()
    }

    /// The engine that the sale belongs to.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::from_inner(Arc::clone(&self.engine))
    }

    /// The refusals that need no buyer.
    #[inline]
    pub(super) fn admit_sale(&self, now: Timestamp) -> Result<(), Rejection> {
        let (opens_at, closes_at) = self.inner.window.get();
        if now >= closes_at {
            return Err(Rejection::Closed);
        }
        if let Err(refusal) = self.inner.allocator.admit() {
            if refusal == Refusal::Scheduled && self.open_if_due(now) {
                return self.inner.allocator.admit().map_err(|refusal| self.rejection(refusal, now));
            }
            return Err(self.rejection(refusal, now));
        }
        // The mark says the same, but for an instant in which the window is moved.
        if now < opens_at { Err(Rejection::NotOpen { opens_at }) } else { Ok(()) }
    }

    /// Opens the sale if its time has come. True if it is open by now.
    #[cold]
    fn open_if_due(&self, now: Timestamp) -> bool {
        if self.inner.open_if_due(now) {
            self.publish(EventKind::Opened);
        }
        !self.inner.allocator.gate().is_scheduled()
    }

    #[inline]
    pub(super) fn held(&self, buyer: Buyer, quantity: u32, made: Made) -> Hold<'_> {
        let hold = Hold { sale: self, id: made.id, buyer, quantity, deadline: self.inner.instant(made.due) };
        if !self.engine.hub.is_silent() {
            let deadline = hold.deadline;
            self.publish(EventKind::Held { buyer, quantity, token: hold.token(), deadline });
        }
        hold
    }

    /// Whether `buyer` may take `quantity` units now, as far as that can be said before anything is taken.
    pub(super) fn may_take(&self, buyer: Buyer, quantity: u32, now: Timestamp) -> Result<(), Rejection> {
        self.check_quantity(quantity)?;
        self.admit_sale(now)?;
        self.admit_buyer(buyer, None, now)
    }

    /// What the shop is told.
    #[inline]
    pub(super) fn rejection(&self, refusal: Refusal, now: Timestamp) -> Rejection {
        match refusal {
            Refusal::Scheduled => Rejection::NotOpen { opens_at: self.inner.opens_at().unwrap_or(now) },
            Refusal::Closed => Rejection::Closed,
            Refusal::Paused => Rejection::Paused,
            Refusal::Limit { held, bought } => {
                Rejection::LimitReached { held, bought, limit: self.inner.allocator.limit() }
            }
            Refusal::UnderWay => Rejection::AttemptUnderWay,
            Refusal::Fewer { free } => Rejection::TooFewFree { free },
            Refusal::AllHeld { on_hold, next_due, first } => {
                if first {
                    self.publish(EventKind::AllHeld);
                }
                Rejection::AllHeld { on_hold, next_due: self.inner.instant(next_due) }
            }
            Refusal::SoldOut { first } => {
                if first {
                    self.publish(EventKind::SoldOut);
                }
                Rejection::SoldOut
            }
        }
    }

    pub(crate) fn cancel_hold(&self, id: HoldId) -> Result<Cancelled, CancelError> {
        loop {
            let (share, snapshot) = match self.inner.allocator.standing(id) {
                Standing::Held { share, snapshot, .. } => (share, snapshot),
                standing => return Err(CancelError::Ended(ended(standing))),
            };
            if let Ok(restocked) = self.inner.allocator.end(id.slot, snapshot, End::Cancelled, home()) {
                if !self.engine.hub.is_silent() {
                    self.publish(EventKind::Cancelled { buyer: share.buyer, quantity: share.quantity });
                    if restocked {
                        self.publish(EventKind::Restocked);
                    }
                }
                return Ok(Cancelled { quantity: share.quantity });
            }
        }
    }

    /// The hold that a token names, if it is a token of this sale.
    pub(crate) fn open_token(&self, token: &Token) -> Result<HoldId, TokenError> {
        let Fields { key_epoch, generation, slot } = self.engine.keys.open(token)?;
        match self.inner.local(slot) {
            Some(slot) => Ok(HoldId { slot, generation, key_epoch }),
            None => Err(match self.engine.sale_with_slot(slot) {
                Some(sale) if sale.is_desk() => TokenError::Basket,
                Some(sale) => TokenError::OtherSale { sale: SaleName::new(&sale.name) },
                // Genuine, but of no sale that the journal knows: it was restored to an earlier state.
                None => TokenError::OtherEngine,
            }),
        }
    }

    pub(crate) fn token(&self, id: HoldId) -> Token {
        self.engine.token(&self.inner, id)
    }

    pub(crate) fn publish(&self, kind: EventKind) {
        self.engine.publish(&self.inner, kind);
    }
}

pub(super) fn ended(standing: Standing) -> Ended {
    match standing {
        Standing::Sold { .. } => Ended::Confirmed,
        Standing::Held { .. } | Standing::Confirming(_) => Ended::BeingConfirmed,
        Standing::Ended(end) => end.into(),
        Standing::Gone => Ended::LongAgo,
    }
}

impl fmt::Debug for Sale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
