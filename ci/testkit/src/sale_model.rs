//! A sale, one step at a time, in plain numbers: what its calls may answer while others are under way.
//!
//! It is a [`Model`] for [`linearizable::check`](crate::linearizable::check), and knows nothing of the code that it
//! judges. Most calls take effect at one instant. Where the documented promise is weaker, the call has several steps
//! here, and what may happen between two of them is all that is conceded:
//!
//! ```text
//! reserve   looks at the clock and at the pause | begins its buyer's attempt | takes units | the share counts,
//!             and the attempt is over | the hold is there
//! refusal   as true at one instant; of a buyer whose attempt had begun, the attempt is over a step later
//! confirm   looks at the clock | decides | the hold is sold | the share is bought | the units count as sold
//! cancel    the hold has ended | the share is back | the units are back
//! tick      looks at the clock | each overdue hold, one after the other, as in cancel; all that were there at first
//! add       announced: not everything is sold | there | withdraw: taken | off the total
//! ```
//!
//! So a call may see a unit that another call is just giving back as not back yet, and a reserve that has looked before
//! a pause may take its unit after it. "Another attempt is under way" is right only while there is one that goes on, or
//! makes way for another: of attempts that overlap, one is decided by its own merits.

use std::collections::BTreeMap;

use crate::linearizable::{Doing, Model, Step};

mod late;
#[cfg(test)]
mod tests;
mod words;

pub use words::{SaleAnswer, SaleCall, SaleEnd};

/// The sale at first.
#[derive(Debug, Clone, Copy)]
pub struct SaleModel {
    /// Units on offer, those included that others hold for ever.
    pub total: u32,
    /// Units that are free.
    pub free: u32,
    /// Units that others have bought.
    pub sold: u32,
    /// Units a buyer may have.
    pub cap: u32,
    /// From a hold to its deadline.
    pub hold_ms: u64,
    /// From the deadline to the expiry.
    pub grace_ms: u64,
    /// Free units lie in several places, and a withdrawal that asks for "up to" so many goes through them once: it may
    /// miss what moves meanwhile.
    pub scattered: bool,
}

/// All that answers depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SaleState {
    now_ms: u64,
    paused: bool,
    free: u32,
    sold: u32,
    total: u32,
    /// Announced, and not there yet.
    coming: u32,
    /// Who has something, or an attempt under way.
    buyers: BTreeMap<u64, Account>,
    holds: BTreeMap<u32, Hold>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Account {
    held: u32,
    bought: u32,
    /// The call whose attempt is under way, and whether its units are taken.
    attempt: Option<(u32, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Hold {
    buyer: u64,
    quantity: u32,
    due_ms: u64,
    stands: Stands,
    order: Order,
    /// Another hold was made since it ended.
    overtaken: bool,
}

/// The number of a hold's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Order {
    None,
    Number(u64),
    /// It is one, but who sold it was never answered.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stands {
    Held,
    Confirming,
    Sold,
    Cancelled,
    Expired(Late),
}

/// What became of the payment for a hold that had expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Late {
    Unpaid,
    Confirming,
    Sold,
    SoldOut,
    OverCap,
}

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum SaleProgress {
    /// It has begun.
    #[default]
    Called,
    /// It has looked at the clock.
    Looked {
        /// What the clock said.
        now_ms: u64,
    },
    /// Its units are taken.
    Taken {
        /// What the clock said.
        now_ms: u64,
    },
    /// The share counts.
    Counted {
        /// What the clock said.
        now_ms: u64,
    },
    /// It is refused, and its attempt is not over yet.
    Refused,
    /// The hold is to be sold.
    Decided,
    /// The hold is sold.
    Settled,
    /// The share is bought.
    Bought,
    /// The hold has ended.
    HoldEnded,
    /// The share is back.
    ShareBack,
    /// A tick is under way.
    Ticking(Ticking),
    /// Units are announced, or taken off.
    Moving {
        /// How many.
        units: u32,
    },
}

/// How far a tick is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticking {
    now_ms: u64,
    /// What was overdue at first.
    must: Vec<u32>,
    /// The hold that has just ended, and whether its share is back.
    giving: Option<(u32, bool)>,
    expired: u32,
}

type Next = Vec<Step<SaleModel>>;
type Under<'a> = Doing<'a, SaleModel>;

impl Model for SaleModel {
    type State = SaleState;
    type Call = SaleCall;
    type Answer = SaleAnswer;
    type Progress = SaleProgress;

    fn initial(&self) -> SaleState {
        SaleState {
            now_ms: 0,
            paused: false,
            free: self.free,
            sold: self.sold,
            total: self.total,
            coming: 0,
            buyers: BTreeMap::new(),
            holds: BTreeMap::new(),
        }
    }

    fn steps(&self, state: &SaleState, doing: &Under<'_>, next: &mut Next) {
        match *doing.call {
            SaleCall::Reserve { buyer, quantity } => self.reserve(state, doing, buyer, quantity, next),
            SaleCall::Confirm { hold } => self.confirm(state, doing, hold, next),
            SaleCall::Cancel { hold } => cancel(state, doing, hold, next),
            SaleCall::Extend { hold, by_ms } => extend(state, doing, hold, by_ms, next),
            SaleCall::Pass { span_ms } => answer(doing, SaleAnswer::Done, next, || {
                let now_ms = state.now_ms + span_ms;
                SaleState { now_ms, ..state.clone() }
            }),
            SaleCall::Tick => self.tick(state, doing, next),
            SaleCall::Add { units } => add(state, doing, units, next),
            SaleCall::Withdraw { units } => self.withdraw(state, doing, units, next),
            SaleCall::Pause => {
                answer(doing, SaleAnswer::Done, next, || SaleState { paused: true, ..state.clone() });
            }
            SaleCall::Resume => {
                answer(doing, SaleAnswer::Done, next, || SaleState { paused: false, ..state.clone() });
            }
        }
    }
}

impl SaleModel {
    fn reserve(&self, state: &SaleState, doing: &Under<'_>, buyer: u64, quantity: u32, next: &mut Next) {
        let account = state.account(buyer);
        let mine = account.attempt.is_some_and(|(call, _)| call == doing.number);
        match *doing.progress {
            SaleProgress::Called => {
                state.refusals(doing, quantity, mine, next);
                let LookedAt { limit, under_way } = self.look_at(account, quantity, mine);
                if let Some(limit) = limit {
                    answer(doing, limit, next, || state.clone());
                }
                if under_way {
                    answer(doing, SaleAnswer::UnderWay, next, || state.clone());
                }
                if !state.paused {
                    next.push(Step::On(state.clone(), SaleProgress::Looked { now_ms: state.now_ms }));
                }
            }
            SaleProgress::Looked { now_ms } if mine => {
                state.refusals(doing, quantity, mine, next);
                // `Held` with whatever name and deadline: both are looked at when the hold is there.
                let held = doing.answer.is_none_or(|said| matches!(said, SaleAnswer::Held { .. }));
                if held && let Some(state) = state.taken(doing.number, buyer, quantity) {
                    next.push(Step::On(state, SaleProgress::Taken { now_ms }));
                }
            }
            SaleProgress::Looked { now_ms } => {
                let LookedAt { limit, under_way } = self.look_at(account, quantity, mine);
                if let Some(limit) = limit {
                    answer(doing, limit, next, || state.clone());
                } else if account.attempt.is_none_or(|(_, taken)| !taken) {
                    // Of two attempts that have just begun, either may make way for the other.
                    let account = Account { attempt: Some((doing.number, false)), ..account };
                    next.push(Step::On(state.with(buyer, account), SaleProgress::Looked { now_ms }));
                }
                if under_way {
                    answer(doing, SaleAnswer::UnderWay, next, || state.clone());
                }
            }
            SaleProgress::Taken { now_ms } => {
                let account = Account { held: account.held + quantity, attempt: None, ..account };
                next.push(Step::On(state.with(buyer, account).overtake(), SaleProgress::Counted { now_ms }));
            }
            SaleProgress::Counted { now_ms } => {
                let due_ms = now_ms + self.hold_ms;
                let hold = match doing.answer {
                    Some(SaleAnswer::Held { hold, .. }) => *hold,
                    // Nobody can name it.
                    _ => u32::MAX - doing.number,
                };
                if doing.says(&SaleAnswer::Held { hold, due_ms }) && !state.holds.contains_key(&hold) {
                    let stands = Stands::Held;
                    let mut state = state.clone();
                    let made = Hold { buyer, quantity, due_ms, stands, order: Order::None, overtaken: false };
                    state.holds.insert(hold, made);
                    next.push(Step::Done(state));
                }
            }
            _ => state.leave(doing.number, buyer, next),
        }
    }

    fn look_at(&self, account: Account, quantity: u32, mine: bool) -> LookedAt {
        let Account { held, bought, .. } = account;
        let limit = (held + bought + quantity > self.cap).then_some(SaleAnswer::LimitReached { held, bought });
        LookedAt { limit, under_way: !mine && account.attempt.is_some() }
    }

    fn tick(&self, state: &SaleState, doing: &Under<'_>, next: &mut Next) {
        let overdue = |hold: &Hold, now_ms: u64| {
            hold.stands == Stands::Held && hold.due_ms.saturating_add(self.grace_ms) <= now_ms
        };
        let SaleProgress::Ticking(ticking) = doing.progress else {
            let now_ms = state.now_ms;
            let must = state.holds.iter().filter(|(_, hold)| overdue(hold, now_ms)).map(|(name, _)| *name).collect();
            let ticking = Ticking { now_ms, must, giving: None, expired: 0 };
            next.push(Step::On(state.clone(), SaleProgress::Ticking(ticking)));
            return;
        };
        match ticking.giving {
            Some((name, false)) => {
                let hold = state.holds[&name];
                let ticking = Ticking { giving: Some((name, true)), ..ticking.clone() };
                next.push(Step::On(state.share_back(&hold), SaleProgress::Ticking(ticking)));
            }
            Some((name, true)) => {
                let free = state.free + state.holds[&name].quantity;
                let ticking = Ticking { giving: None, expired: ticking.expired + 1, ..ticking.clone() };
                next.push(Step::On(SaleState { free, ..state.clone() }, SaleProgress::Ticking(ticking)));
            }
            None => {
                let now_ms = ticking.now_ms;
                if !ticking.must.iter().any(|name| overdue(&state.holds[name], now_ms)) {
                    answer(doing, SaleAnswer::Ticked { expired: ticking.expired }, next, || state.clone());
                }
                let more = doing
                    .answer
                    .is_none_or(|said| matches!(said, SaleAnswer::Ticked { expired } if *expired > ticking.expired));
                for (name, _) in state.holds.iter().filter(|(_, hold)| more && overdue(hold, now_ms)) {
                    let state = state.with_hold(*name, |hold| hold.stands = Stands::Expired(Late::Unpaid));
                    let ticking = Ticking { giving: Some((*name, false)), ..ticking.clone() };
                    next.push(Step::On(state, SaleProgress::Ticking(ticking)));
                }
            }
        }
    }

    fn withdraw(&self, state: &SaleState, doing: &Under<'_>, asked: u32, next: &mut Next) {
        if let SaleProgress::Moving { units } = *doing.progress {
            let total = state.total - units;
            return answer(doing, SaleAnswer::Withdrawn { units }, next, || SaleState { total, ..state.clone() });
        }
        let most = asked.min(state.free);
        let least = if self.scattered { 0 } else { most };
        for units in (least..=most).filter(|&units| doing.says(&SaleAnswer::Withdrawn { units })) {
            let state = SaleState { free: state.free - units, ..state.clone() };
            next.push(Step::On(state, SaleProgress::Moving { units }));
        }
    }
}

/// What a buyer's account says to one more attempt.
struct LookedAt {
    limit: Option<SaleAnswer>,
    under_way: bool,
}

fn cancel(state: &SaleState, doing: &Under<'_>, name: u32, next: &mut Next) {
    let Some(&hold) = state.holds.get(&name) else { return };
    match doing.progress {
        SaleProgress::HoldEnded => next.push(Step::On(state.share_back(&hold), SaleProgress::ShareBack)),
        SaleProgress::ShareBack => {
            let free = state.free + hold.quantity;
            answer(doing, SaleAnswer::Cancelled, next, || SaleState { free, ..state.clone() });
        }
        _ if hold.stands == Stands::Held => {
            if doing.says(&SaleAnswer::Cancelled) {
                let state = state.with_hold(name, |hold| hold.stands = Stands::Cancelled);
                next.push(Step::On(state, SaleProgress::HoldEnded));
            }
        }
        _ => ended(state, doing, &hold, next),
    }
}

fn extend(state: &SaleState, doing: &Under<'_>, name: u32, by_ms: u64, next: &mut Next) {
    let Some(&hold) = state.holds.get(&name) else { return };
    let SaleProgress::Looked { now_ms } = *doing.progress else {
        next.push(Step::On(state.clone(), SaleProgress::Looked { now_ms: state.now_ms }));
        return;
    };
    if hold.stands != Stands::Held {
        ended(state, doing, &hold, next);
    } else if now_ms > hold.due_ms {
        answer(doing, SaleAnswer::Overdue, next, || state.clone());
    } else {
        let due_ms = hold.due_ms + by_ms;
        answer(doing, SaleAnswer::Extended { due_ms }, next, || state.with_hold(name, |hold| hold.due_ms = due_ms));
    }
}

/// What is said of a hold that has ended.
fn ended(state: &SaleState, doing: &Under<'_>, hold: &Hold, next: &mut Next) {
    let how = match hold.stands {
        Stands::Held | Stands::Confirming => SaleEnd::BeingConfirmed,
        Stands::Sold => SaleEnd::Confirmed,
        Stands::Cancelled => SaleEnd::Cancelled,
        Stands::Expired(_) => SaleEnd::Expired,
    };
    answer(doing, SaleAnswer::Ended(how), next, || state.clone());
    if hold.overtaken && hold.has_ended_unsold() {
        answer(doing, SaleAnswer::Ended(SaleEnd::LongAgo), next, || state.clone());
    }
}

fn add(state: &SaleState, doing: &Under<'_>, units: u32, next: &mut Next) {
    if let SaleProgress::Moving { units } = *doing.progress {
        let (total, free, coming) = (state.total + units, state.free + units, state.coming - units);
        return answer(doing, SaleAnswer::Done, next, || SaleState { free, total, coming, ..state.clone() });
    }
    let coming = state.coming + units;
    next.push(Step::On(SaleState { coming, ..state.clone() }, SaleProgress::Moving { units }));
}

/// The last step, if this is the answer.
fn answer(doing: &Under<'_>, said: SaleAnswer, next: &mut Next, state: impl FnOnce() -> SaleState) {
    if doing.says(&said) {
        next.push(Step::Done(state()));
    }
}

impl Hold {
    fn has_ended_unsold(&self) -> bool {
        matches!(self.stands, Stands::Cancelled | Stands::Expired(_))
    }
}

impl SaleState {
    fn account(&self, buyer: u64) -> Account {
        self.buyers.get(&buyer).copied().unwrap_or_default()
    }

    fn with(&self, buyer: u64, account: Account) -> Self {
        let mut state = self.clone();
        if account == Account::default() {
            state.buyers.remove(&buyer);
        } else {
            state.buyers.insert(buyer, account);
        }
        state
    }

    fn with_hold(&self, name: u32, change: impl FnOnce(&mut Hold)) -> Self {
        let mut state = self.clone();
        change(state.holds.get_mut(&name).expect("it was there before"));
        state
    }

    fn share_back(&self, hold: &Hold) -> Self {
        let account = self.account(hold.buyer);
        self.with(hold.buyer, Account { held: account.held - hold.quantity, ..account })
    }

    /// The units are taken: by the call whose attempt it is.
    fn taken(&self, call: u32, buyer: u64, quantity: u32) -> Option<Self> {
        let free = self.free.checked_sub(quantity)?;
        let mut state = self.with(buyer, Account { attempt: Some((call, true)), ..self.account(buyer) });
        state.free = free;
        Some(state)
    }

    /// Another hold has its place by now: whatever has ended before is overtaken, also if it ended after the units of
    /// that hold were taken.
    fn overtake(mut self) -> Self {
        for hold in self.holds.values_mut().filter(|hold| hold.has_ended_unsold()) {
            hold.overtaken = true;
        }
        self
    }

    /// Refusals that have nothing to do with the buyer: each is true at this instant.
    fn refusals(&self, doing: &Under<'_>, quantity: u32, mine: bool, next: &mut Next) {
        let reasons = [
            self.paused.then_some(SaleAnswer::Paused),
            (self.free == 0 && self.sold < self.total + self.coming).then_some(SaleAnswer::AllHeld),
            (self.sold == self.total).then_some(SaleAnswer::SoldOut),
            (0 < self.free && self.free < quantity).then_some(SaleAnswer::TooFewFree { free: self.free }),
        ];
        for _ in reasons.into_iter().flatten().filter(|reason| doing.says(reason)) {
            next.push(if mine { Step::On(self.clone(), SaleProgress::Refused) } else { Step::Done(self.clone()) });
        }
    }

    /// The attempt of a call that was refused is over.
    fn leave(&self, call: u32, buyer: u64, next: &mut Next) {
        let account = self.account(buyer);
        let mine = account.attempt.is_some_and(|(other, _)| other == call);
        let attempt = if mine { None } else { account.attempt };
        next.push(Step::Done(self.with(buyer, Account { attempt, ..account })));
    }
}
