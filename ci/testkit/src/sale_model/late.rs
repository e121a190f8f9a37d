//! Payments, in time and too late.
//!
//! What holds: a hold is sold once, or never; what was said once about a payment is said again.

use super::{
    Account, Hold, Late, LookedAt, Next, Order, SaleAnswer, SaleModel, SaleProgress, SaleState, Stands, Step, Under,
    answer,
};

impl SaleModel {
    pub(super) fn confirm(&self, state: &SaleState, doing: &Under<'_>, name: u32, next: &mut Next) {
        let Some(&hold) = state.holds.get(&name) else { return };
        match *doing.progress {
            SaleProgress::Looked { now_ms } => match hold.stands {
                Stands::Held => self.sell(state, doing, name, now_ms, next),
                // Nothing is known of the order yet, and nobody has to wait for it.
                Stands::Confirming => answer(doing, SaleAnswer::UnderWay, next, || state.clone()),
                Stands::Sold => again(state, doing, &hold, next),
                Stands::Cancelled => {
                    answer(doing, SaleAnswer::CancelledBefore, next, || state.clone());
                    if hold.overtaken {
                        answer(doing, SaleAnswer::Forgotten, next, || state.clone());
                    }
                }
                Stands::Expired(late) => self.sell_late(state, doing, name, late, next),
            },
            SaleProgress::Taken { .. } => {
                let account = state.account(hold.buyer);
                let account = Account { held: account.held + hold.quantity, attempt: None, ..account };
                next.push(Step::On(state.with(hold.buyer, account).overtake(), SaleProgress::Decided));
            }
            SaleProgress::Decided => {
                let sold = state.with_hold(name, |hold| {
                    hold.stands = match hold.stands {
                        Stands::Expired(_) => Stands::Expired(Late::Sold),
                        _ => Stands::Sold,
                    }
                });
                next.push(Step::On(sold, SaleProgress::Settled));
            }
            SaleProgress::Settled => {
                let Account { held, bought, attempt } = state.account(hold.buyer);
                let (held, bought) = (held - hold.quantity, bought + hold.quantity);
                next.push(Step::On(state.with(hold.buyer, Account { held, bought, attempt }), SaleProgress::Bought));
            }
            SaleProgress::Bought => {
                let sold = state.sold + hold.quantity;
                next.push(Step::Done(SaleState { sold, ..state.clone() }));
            }
            SaleProgress::Refused => state.leave(doing.number, hold.buyer, next),
            _ => next.push(Step::On(state.clone(), SaleProgress::Looked { now_ms: state.now_ms })),
        }
    }

    /// Decides that the hold is sold.
    fn sell(&self, state: &SaleState, doing: &Under<'_>, name: u32, now_ms: u64, next: &mut Next) {
        let late = now_ms >= state.holds[&name].due_ms.saturating_add(self.grace_ms);
        if let Some(order) = order(state, doing, late) {
            let state = state.with_hold(name, |hold| (hold.stands, hold.order) = (Stands::Confirming, order));
            next.push(Step::On(state, SaleProgress::Decided));
        }
    }

    /// The hold has expired: other units are taken for it, as in an attempt of its buyer. A pause is no reason against.
    fn sell_late(&self, state: &SaleState, doing: &Under<'_>, name: u32, late: Late, next: &mut Next) {
        let hold = state.holds[&name];
        let account = state.account(hold.buyer);
        let mine = account.attempt.is_some_and(|(call, _)| call == doing.number);
        let LookedAt { limit, under_way } = self.look_at(account, hold.quantity, mine);
        let decide = |late| state.with_hold(name, |hold| hold.stands = Stands::Expired(late));
        match late {
            Late::Confirming => answer(doing, SaleAnswer::UnderWay, next, || state.clone()),
            // Another report of the same payment has decided meanwhile.
            _ if mine && late != Late::Unpaid => {
                let account = Account { attempt: None, ..account };
                next.push(Step::On(state.with(hold.buyer, account), doing.progress.clone()));
            }
            Late::Sold => again(state, doing, &hold, next),
            Late::SoldOut => answer(doing, SaleAnswer::PaidLateSoldOut, next, || state.clone()),
            Late::OverCap => answer(doing, SaleAnswer::PaidLateOverCap, next, || state.clone()),
            Late::Unpaid if mine => {
                if state.free < hold.quantity && doing.says(&SaleAnswer::PaidLateSoldOut) {
                    next.push(Step::On(decide(Late::SoldOut), SaleProgress::Refused));
                }
                if let Some(order) = order(state, doing, true)
                    && let Some(state) = state.taken(doing.number, hold.buyer, hold.quantity)
                {
                    let state = state.with_hold(name, |hold| {
                        (hold.stands, hold.order) = (Stands::Expired(Late::Confirming), order);
                    });
                    next.push(Step::On(state, SaleProgress::Taken { now_ms: 0 }));
                }
            }
            Late::Unpaid => {
                if limit.is_some() {
                    answer(doing, SaleAnswer::PaidLateOverCap, next, || decide(Late::OverCap));
                } else if account.attempt.is_none_or(|(_, taken)| !taken) {
                    let account = Account { attempt: Some((doing.number, false)), ..account };
                    next.push(Step::On(state.with(hold.buyer, account), doing.progress.clone()));
                }
                if under_way {
                    answer(doing, SaleAnswer::UnderWay, next, || state.clone());
                }
            }
        }
    }
}

/// It was sold before, under this number.
fn again(state: &SaleState, doing: &Under<'_>, hold: &Hold, next: &mut Next) {
    let right = match (doing.answer, hold.order) {
        (Some(SaleAnswer::AlreadyConfirmed { order }), Order::Number(before)) => *order == before,
        (Some(SaleAnswer::AlreadyConfirmed { .. }), Order::Unknown) | (None, _) => true,
        _ => false,
    };
    if right {
        next.push(Step::Done(state.clone()));
    }
}

/// The order that the hold becomes, if the answer says so: in time or late, and under a number of its own.
fn order(state: &SaleState, doing: &Under<'_>, late: bool) -> Option<Order> {
    let order = match (doing.answer, late) {
        (Some(SaleAnswer::Confirmed { order }), false) | (Some(SaleAnswer::PaidLate { order }), true) => {
            Order::Number(*order)
        }
        (None, _) => return Some(Order::Unknown),
        _ => return None,
    };
    state.holds.values().all(|hold| hold.order != order).then_some(order)
}
