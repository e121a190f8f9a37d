//! Confirming a hold: from the payment to the journal.
//!
//! With a journal, everything between looking at the slot and appending the record happens under the append lock:
//! a hold is confirming exactly if its record is appended, records stand in the order of the decisions, and a
//! second confirmation of the same hold finds its position already handed out. Holds are journaled a tick late, but
//! the end of a hold whose unit or share this order uses stands before the order, in the same append, and so does
//! which units the order has.
//!
//! ```text
//!                      standing           decision                 record       answer, once durable
//! held, in time        held -> confirming                          confirmed    Confirmed
//! held, overdue        held -> confirming                          confirmed    PaidLate
//! confirming, sold     -                                           -            AlreadyConfirmed
//! expired, in the book a new permit and slot, confirming at once   confirmed    PaidLate
//! expired, none free   kept in the book                            late refused PaidLateSoldOut
//! cancelled            -                                           its end      CancelledBefore
//! used again since     -                                           its end      HoldForgotten
//! ```
//!
//! When the process dies before the sync, the outcome is what the journal then has; nobody was told anything.

use std::sync::Arc;

use super::{
    answers::{ConfirmError, Confirmation, Receipt},
    baskets,
    detail::write_detail,
    inner::home,
    late::{Late, Reason},
    pending::{Pending, Verdict},
    sale::{Hold, Sale},
    settle::{Settlement, announce_all, settle},
    tick::write_ends,
};
use crate::{
    core::{
        End, Timestamp, Token,
        allocator::{HoldId, Refusal, Share, Standing},
    },
    journal::{Batch, ConfirmedRecord, Record},
    payment::PaymentId,
};

/// What was decided, before anything is written.
#[derive(Clone, Copy)]
enum Decision {
    /// A hold has become an order.
    Sold {
        id: HoldId,
        share: Share,
        late: bool,
        /// The expired hold in whose place it was sold.
        replaces: Option<HoldId>,
    },
    /// Decided before.
    Before(Verdict),
    /// A late payment is refused, and stays so.
    Refused(Reason),
}

impl Sale {
    /// Sells a hold, against the payment `payment`: the answer is known once the handle has been waited for.
    ///
    /// Call it as often as the provider reports; the first call sells, the others get the same receipt.
    ///
    /// # Errors
    /// [`ConfirmError`] if the token isn't this sale's, the journal has stopped, a late payment meets another attempt
    /// of its buyer, or, without a journal, another report of the same payment is being decided.
    ///
    /// ```
    /// use sellout::{Confirmation, Engine, PaymentId, SaleSpec};
    ///
    /// let engine = Engine::in_memory();
    /// let sale = engine.create(SaleSpec::new("books", 200))?;
    /// let token = sale.reserve(7, 1)?.token();
    /// let payment = PaymentId::new("pi_3MtwBw")?;
    /// let Confirmation::Confirmed(receipt) = sale.confirm(&token, payment)?.wait()? else { panic!("paid in time") };
    /// assert_eq!(sale.confirm(&token, payment)?.wait()?, Confirmation::AlreadyConfirmed(receipt));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn confirm(&self, token: &Token, payment: impl Into<PaymentId>) -> Result<Pending, ConfirmError> {
        self.confirm_id(self.open_token(token)?, payment.into())
    }

    fn confirm_id(&self, id: HoldId, payment: PaymentId) -> Result<Pending, ConfirmError> {
        let now = self.engine.now();
        let Some(journal) = &self.engine.journal else {
            let decision = self.decide(id, now)?;
            return Ok(Pending::ready(self, self.carry_out(decision)?));
        };
        // Looked at once before the lock: what is cold gets warm without making others wait.
        std::hint::black_box(self.inner.allocator.standing(id));
        let appended = journal.append(|batch| {
            let decision = self.decide(id, now)?;
            Ok::<_, ConfirmError>(self.record(id, decision, payment, now, batch))
        });
        let (verdict, position) = appended.map_err(ConfirmError::Stopped)?;
        let verdict = verdict?;
        if journal.is_behind(position) {
            // Whoever confirms without ever waiting pays here for the memory that it would take.
            journal.commit(position).map_err(ConfirmError::OutcomeUnknown)?;
        }
        // An order that is settled is durable: there is nothing of its own to wait for.
        let settled = matches!(verdict, Verdict::Known(Confirmation::AlreadyConfirmed(_)));
        Ok(if settled { Pending::ready(self, verdict) } else { Pending::at(self, position, verdict) })
    }

    /// Decides what becomes of the hold, and takes what that needs. With a journal, under its append lock.
    fn decide(&self, id: HoldId, now: Timestamp) -> Result<Decision, ConfirmError> {
        let allocator = &self.inner.allocator;
        loop {
            return Ok(match allocator.standing(id) {
                Standing::Held { share, due, snapshot } => {
                    if !allocator.begin_confirm(id.slot, snapshot) {
                        continue;
                    }
                    let late = self.inner.offset(now) >= due.saturating_add(allocator.rules().grace);
                    Decision::Sold { id, share, late, replaces: None }
                }
                Standing::Confirming(share) => Decision::Before(Verdict::Earlier(id, share)),
                Standing::Sold { share, sequence } => {
                    Decision::Before(Verdict::Known(Confirmation::AlreadyConfirmed(self.receipt(id, share, sequence))))
                }
                // The book comes first: after a crash it may know better than the slot how the hold has ended.
                ended @ (Standing::Ended(_) | Standing::Gone) => match self.decide_late(id, now)? {
                    None if ended == Standing::Ended(End::Cancelled) => known(Confirmation::CancelledBefore),
                    None => known(Confirmation::HoldForgotten),
                    Some(decision) => decision,
                },
            });
        }
    }

    /// Decides about a payment for a hold that has expired, if it is still in the book.
    fn decide_late(&self, id: HoldId, now: Timestamp) -> Result<Option<Decision>, ConfirmError> {
        let mut book = self.inner.late.lock();
        let Some(late) = book.get(id) else { return Ok(None) };
        Ok(Some(match late {
            Late::Refused(reason) => known(refused(reason)),
            Late::Reacquired(new) => Decision::Before(match self.inner.allocator.standing(new) {
                Standing::Sold { share, sequence } => {
                    Verdict::Known(Confirmation::AlreadyConfirmed(self.receipt(new, share, sequence)))
                }
                Standing::Confirming(share) => Verdict::Earlier(new, share),
                standing => unreachable!("it was confirming when it was noted: {standing:?}"),
            }),
            Late::Expired(share) => {
                // The key of the expired hold, if it has one, stands for what is sold in its place.
                let mut key = self.inner.keys.resume(id);
                let key_epoch = self.engine.keys.key_epoch();
                let taken = if self.inner.is_desk() {
                    baskets::reacquire(&self.inner, book.lines(id), share.buyer, now, key_epoch)
                } else {
                    self.inner.allocator.reacquire(share, home(), key_epoch)
                };
                let reason = match taken {
                    Ok(new) => {
                        if let Some(key) = &mut key {
                            key.name(new, share.quantity);
                        }
                        book.set(id, Late::Reacquired(new));
                        self.engine.activate(&self.inner);
                        return Ok(Some(Decision::Sold { id: new, share, late: true, replaces: Some(id) }));
                    }
                    Err(Refusal::UnderWay) => return Err(ConfirmError::AttemptUnderWay),
                    Err(Refusal::Limit { .. }) => Reason::OverCap,
                    Err(_) => Reason::SoldOut,
                };
                book.set(id, Late::Refused(reason));
                Decision::Refused(reason)
            }
        }))
    }

    /// Numbers an order and writes down what was decided. Under the append lock.
    fn record(
        &self,
        asked: HoldId,
        decision: Decision,
        payment: PaymentId,
        at: Timestamp,
        batch: &mut Batch<'_, Settlement>,
    ) -> Verdict {
        let sale = self.inner.number;
        match decision {
            Decision::Before(verdict) => {
                if matches!(verdict, Verdict::Known(Confirmation::CancelledBefore | Confirmation::HoldForgotten)) {
                    self.write_end(asked, at, batch);
                }
                verdict
            }
            Decision::Refused(reason) => {
                let over_cap = reason == Reason::OverCap;
                batch.push(&Record::LateRefused { sale, hold: asked, over_cap, at, payment });
                Verdict::Known(refused(reason))
            }
            Decision::Sold { id, share, late, replaces } => {
                // What this order uses was given back by holds that ended: their ends stand before it.
                write_ends(&self.inner, at, batch);
                let sequence = self.inner.next_sequence(true, 0);
                let HoldId { slot, generation, key_epoch } = id;
                let Share { buyer, quantity } = share;
                let parts = if self.inner.is_desk() {
                    let sold = baskets::Sold { id, buyer, sequence, payment, at, replaces };
                    baskets::write_sold(&self.inner, &sold, batch)
                } else {
                    write_detail(&self.inner, slot, generation, batch);
                    batch.push(&Record::Confirmed(ConfirmedRecord {
                        sale,
                        sequence,
                        slot,
                        generation,
                        key_epoch,
                        buyer,
                        quantity,
                        at,
                        payment,
                        replaces,
                    }));
                    Vec::new()
                };
                let engine = Arc::downgrade(&self.engine);
                batch.settle_with(Settlement { engine, sale: Arc::clone(&self.inner), id, sequence, parts });
                Verdict::Known(sold(self.receipt(id, share, sequence), late))
            }
        }
    }

    /// A payment is to be refunded because its hold has ended: the end, which the journal may not have yet, is durable
    /// before anybody is told so. Otherwise a crash could bring the hold back, and the next report would sell it. It is
    /// written by itself: whoever ended the hold may not have noted it yet.
    fn write_end(&self, asked: HoldId, at: Timestamp, batch: &mut Batch<'_, Settlement>) {
        let HoldId { slot, generation, .. } = asked;
        if self.inner.allocator.has_passed(slot, generation) {
            batch.push(&Record::Ended { sale: self.inner.number, slot, generation, end: End::Cancelled, at });
        }
    }

    /// Without a journal: numbers and settles an order at once. Who reports a payment while another thread does just
    /// that has nothing to wait for: the number is not known yet.
    fn carry_out(&self, decision: Decision) -> Result<Verdict, ConfirmError> {
        Ok(match decision {
            Decision::Before(Verdict::Earlier(..)) => return Err(ConfirmError::AttemptUnderWay),
            Decision::Before(verdict) => verdict,
            Decision::Refused(reason) => Verdict::Known(refused(reason)),
            Decision::Sold { id, share, late, .. } => {
                let sequence = self.inner.next_sequence(false, home());
                let parts = baskets::number(&self.inner, id, false);
                for part in &parts {
                    settle(&part.sale, part.id, part.sequence);
                }
                settle(&self.inner, id, sequence);
                announce_all(&self.engine, &self.inner, id, sequence, &parts);
                Verdict::Known(sold(self.receipt(id, share, sequence), late))
            }
        })
    }

    pub(super) fn receipt(&self, id: HoldId, share: Share, sequence: u64) -> Receipt {
        let Share { buyer, quantity } = share;
        let quantity = if self.inner.is_desk() { baskets::quantity(&self.inner, id.slot) } else { quantity };
        Receipt { sequence, order: self.token(id), buyer, quantity }
    }
}

impl Hold<'_> {
    /// Sells the hold, as [`Sale::confirm`] does, without a token.
    ///
    /// # Errors
    /// As [`Sale::confirm`].
    pub fn confirm(self, payment: impl Into<PaymentId>) -> Result<Pending, ConfirmError> {
        self.sale.confirm_id(self.id, payment.into())
    }
}

fn known(confirmation: Confirmation) -> Decision {
    Decision::Before(Verdict::Known(confirmation))
}

fn sold(receipt: Receipt, late: bool) -> Confirmation {
    if late { Confirmation::PaidLate(receipt) } else { Confirmation::Confirmed(receipt) }
}

fn refused(reason: Reason) -> Confirmation {
    match reason {
        Reason::SoldOut => Confirmation::PaidLateSoldOut,
        Reason::OverCap => Confirmation::PaidLateOverCap,
    }
}
