//! One worker's way to the engine: direct calls.

use std::{fmt, sync::Arc};

use sellout::{
    AcceptError, BasketLine, BasketRejection, CancelError, Cancelled, ConfirmError, Confirmation, EnrollError,
    Enrolled, Face, Hold, JoinError, Left, PaymentId, Receipt, Rejection, Token, Unit, Waiting,
};

use super::shop::Shop;
use crate::target::{
    AcceptReply, Answer, BasketRefusal, CancelReply, ConfirmReply, Held, HeldBasket, HeldUnit, HeldUnits, JoinReply,
    LeaveReply, Line, OrderId, Pending, Place, Refusal, RegisterReply, SaleIndex, Session, Ticket, WaitReply,
};

/// One worker's way to the engine.
pub struct EngineSession {
    shop: Arc<Shop>,
    failure: Option<String>,
}

impl EngineSession {
    pub(super) const fn new(shop: Arc<Shop>) -> Self {
        Self { shop, failure: None }
    }

    fn fail(&mut self, error: &dyn fmt::Display) {
        self.failure.get_or_insert_with(|| error.to_string());
    }

    fn confirmation(&mut self, asked: Result<sellout::Pending, ConfirmError>) -> Answer<EnginePending> {
        match asked {
            Ok(pending) => Answer::Later(EnginePending(Some(pending))),
            Err(error) => {
                self.fail(&error);
                Answer::Now(match error {
                    ConfirmError::OutcomeUnknown(_) => ConfirmReply::Unknown,
                    _ => ConfirmReply::Failed,
                })
            }
        }
    }

    fn cancellation(&mut self, answer: Result<Cancelled, CancelError>) -> CancelReply {
        match answer {
            Ok(_) => CancelReply::Cancelled,
            Err(CancelError::Ended(_)) => CancelReply::AlreadyEnded,
            Err(error) => {
                self.fail(&error);
                CancelReply::Failed
            }
        }
    }

    fn refusal(&mut self, rejection: &Rejection) -> Refusal {
        match *rejection {
            Rejection::NotOpen { opens_at } => Refusal::NotOpen { opens_at },
            Rejection::Closed => Refusal::Closed,
            Rejection::Paused => Refusal::Paused,
            Rejection::NotEligible | Rejection::NotEligibleYet { .. } => Refusal::NotEligible,
            Rejection::BadInvitation => Refusal::BadInvitation,
            Rejection::LimitReached { .. } => Refusal::LimitReached,
            Rejection::AttemptUnderWay => Refusal::AttemptUnderWay,
            // If fewer units are free than were asked for, the rest is on hold or sold.
            Rejection::AllHeld { .. } | Rejection::TooFewFree { .. } => Refusal::AllHeld,
            Rejection::SoldOut => Refusal::SoldOut,
            Rejection::BadQuantity { .. } => Refusal::BadQuantity,
            _ => {
                self.fail(rejection);
                Refusal::Failed
            }
        }
    }

    /// The lines' units in the order in which they were asked for; none if all are alike.
    fn units_of(&self, lines: &[Line], parts: impl FnOnce() -> Vec<BasketLine>) -> Vec<HeldUnits> {
        if lines.iter().all(|line| !self.shop.is_faced(line.sale)) {
            return Vec::new();
        }
        let mut units = vec![HeldUnits::Alike; lines.len()];
        for part in parts() {
            let place = self.shop.place(part.sale.name());
            if let Some(line) = lines.iter().position(|line| Some(line.sale) == place) {
                units[line] = held_units(&part.units);
            }
        }
        units
    }
}

fn held(hold: &Hold<'_>, faced: bool) -> Held<EngineTicket> {
    let held = Held::new(EngineTicket(hold.token()), hold.deadline());
    if faced { held.of(held_units(&hold.units())) } else { held }
}

fn held_units(units: &[Unit]) -> HeldUnits {
    let held = |unit: &Unit| {
        let cents = if let Face::Amount(cents) = unit.face { cents } else { 0 };
        HeldUnit { place: unit.number, cents }
    };
    units.iter().map(held).collect()
}

const fn place(place: sellout::Place) -> Place {
    Place { ticket: place.ticket, ahead: place.ahead }
}

impl fmt::Debug for EngineSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSession").field("failure", &self.failure).finish_non_exhaustive()
    }
}

/// The engine's token.
#[derive(Debug, Clone)]
pub struct EngineTicket(Token);

impl Ticket for EngineTicket {
    fn fingerprint(&self) -> u128 {
        self.0.as_u128()
    }
}

/// A confirmation that waits for the disk.
#[derive(Debug)]
pub struct EnginePending(Option<sellout::Pending>);

impl Pending for EnginePending {
    fn poll(&mut self) -> Option<ConfirmReply> {
        let pending = self.0.take_if(|pending| pending.is_done())?;
        Some(match pending.wait() {
            Ok(confirmation) => reply(confirmation),
            Err(_) => ConfirmReply::Unknown,
        })
    }
}

impl Session for EngineSession {
    type Ticket = EngineTicket;
    type Pending = EnginePending;

    fn register(&mut self, sale: SaleIndex, buyer: u64) -> RegisterReply {
        let Some(sale) = self.shop.sales.get(sale) else { return RegisterReply::Failed };
        match sale.enroll(buyer) {
            Ok(Enrolled::New) => RegisterReply::Registered,
            Ok(_) => RegisterReply::Already,
            Err(EnrollError::Later { .. }) => RegisterReply::TooEarly,
            Err(EnrollError::Over { .. }) => RegisterReply::TooLate,
            Err(error) => {
                self.fail(&error);
                RegisterReply::Failed
            }
        }
    }

    fn reserve(&mut self, sale: SaleIndex, buyer: u64, quantity: u32) -> Result<Held<EngineTicket>, Refusal> {
        let Some(on_sale) = self.shop.sales.get(sale) else { return Err(Refusal::NoSuchSale) };
        let answer = on_sale.reserve(buyer, quantity).map(|hold| held(&hold, self.shop.is_faced(sale)));
        answer.map_err(|rejection| self.refusal(&rejection))
    }

    fn reserve_with(
        &mut self,
        sale: SaleIndex,
        buyer: u64,
        quantity: u32,
        link_of: u64,
    ) -> Result<Held<EngineTicket>, Refusal> {
        let Some(on_sale) = self.shop.sales.get(sale) else { return Err(Refusal::NoSuchSale) };
        let answer = match self.shop.link(sale, link_of) {
            Some(invitation) => on_sale.request(buyer).quantity(quantity).invitation(&invitation).reserve(),
            None => on_sale.reserve(buyer, quantity),
        };
        let answer = answer.map(|hold| held(&hold, self.shop.is_faced(sale)));
        answer.map_err(|rejection| self.refusal(&rejection))
    }

    fn reserve_basket(&mut self, lines: &[Line], buyer: u64) -> Result<HeldBasket<EngineTicket>, BasketRefusal> {
        let shop = Arc::clone(&self.shop);
        let items: Vec<_> = lines.iter().filter_map(|line| Some((shop.sales.get(line.sale)?, line.quantity))).collect();
        let Some(baskets) = &shop.baskets else { return Err(BasketRefusal { line: 0, refusal: Refusal::Failed }) };
        match baskets.reserve(buyer, &items) {
            Ok(basket) => {
                let units = self.units_of(lines, || basket.lines());
                Ok(HeldBasket::new(EngineTicket(basket.token()), basket.deadline(), units))
            }
            Err(BasketRejection::Sale { sale, why }) => {
                let place = shop.place(sale.as_str());
                let line = lines.iter().position(|line| Some(line.sale) == place).unwrap_or(0);
                Err(BasketRefusal { line, refusal: self.refusal(&why) })
            }
            Err(BasketRejection::AttemptUnderWay) => Err(BasketRefusal { line: 0, refusal: Refusal::AttemptUnderWay }),
            Err(error) => {
                self.fail(&error);
                Err(BasketRefusal { line: 0, refusal: Refusal::Failed })
            }
        }
    }

    fn confirm(&mut self, sale: SaleIndex, ticket: &EngineTicket, payment: u64) -> Answer<EnginePending> {
        let Some(sale) = self.shop.sales.get(sale) else { return Answer::Now(ConfirmReply::Failed) };
        let asked = sale.confirm(&ticket.0, PaymentId::from(payment));
        self.confirmation(asked)
    }

    fn cancel(&mut self, sale: SaleIndex, ticket: &EngineTicket) -> CancelReply {
        let Some(sale) = self.shop.sales.get(sale) else { return CancelReply::Failed };
        let answer = sale.cancel(&ticket.0);
        self.cancellation(answer)
    }

    fn confirm_basket(&mut self, ticket: &EngineTicket, payment: u64) -> Answer<EnginePending> {
        let Some(baskets) = &self.shop.baskets else { return Answer::Now(ConfirmReply::Failed) };
        let asked = baskets.confirm(&ticket.0, PaymentId::from(payment));
        self.confirmation(asked)
    }

    fn cancel_basket(&mut self, ticket: &EngineTicket) -> CancelReply {
        let Some(baskets) = &self.shop.baskets else { return CancelReply::Failed };
        let answer = baskets.cancel(&ticket.0);
        self.cancellation(answer)
    }

    fn units(&mut self, sale: SaleIndex, ticket: &EngineTicket) -> Option<HeldUnits> {
        self.shop.sales.get(sale)?.units(&ticket.0).ok().map(|units| held_units(&units))
    }

    fn units_of_basket(&mut self, ticket: &EngineTicket, lines: &[Line]) -> Option<Vec<HeldUnits>> {
        let parts = self.shop.baskets.as_ref()?.lines(&ticket.0).ok()?;
        Some(self.units_of(lines, || parts))
    }

    fn join(&mut self, sale: SaleIndex, buyer: u64) -> JoinReply {
        let Some(on_sale) = self.shop.sales.get(sale) else { return JoinReply::Failed };
        let answer = match self.shop.link(sale, buyer) {
            Some(invitation) => on_sale.request(buyer).invitation(&invitation).join(),
            None => on_sale.join(buyer),
        };
        match answer {
            Ok(queued) => JoinReply::Joined(place(queued)),
            Err(JoinError::UnitsFree | JoinError::Rejected(Rejection::SoldOut)) => JoinReply::NothingToWaitFor,
            Err(JoinError::Full { .. }) => JoinReply::Full,
            Err(JoinError::Offered { .. } | JoinError::Rejected(_)) => JoinReply::NotYou,
            Err(error) => {
                self.fail(&error);
                JoinReply::Failed
            }
        }
    }

    fn leave(&mut self, sale: SaleIndex, buyer: u64) -> LeaveReply {
        let Some(sale) = self.shop.sales.get(sale) else { return LeaveReply::Failed };
        match sale.leave(buyer) {
            Ok(Left::Nothing) => LeaveReply::NotQueued,
            Ok(_) => LeaveReply::Left,
            Err(error) => {
                self.fail(&error);
                LeaveReply::Failed
            }
        }
    }

    fn waiting(&mut self, sale: SaleIndex, buyer: u64) -> WaitReply<EngineTicket> {
        let Some(on_sale) = self.shop.sales.get(sale) else { return WaitReply::Failed };
        match on_sale.waiting(buyer) {
            Waiting::Queued(queued) => WaitReply::Queued(place(queued)),
            Waiting::Offered { token, accept_by } => {
                let units =
                    if self.shop.is_faced(sale) { on_sale.units(&token).unwrap_or_default() } else { Vec::new() };
                WaitReply::Offered(Held::new(EngineTicket(token), accept_by).of(held_units(&units)))
            }
            _ => WaitReply::Gone,
        }
    }

    fn accept(&mut self, sale: SaleIndex, ticket: &EngineTicket) -> AcceptReply {
        let Some(sale) = self.shop.sales.get(sale) else { return AcceptReply::Failed };
        match sale.accept(&ticket.0) {
            Ok(deadline) => AcceptReply::Accepted { deadline },
            Err(AcceptError::Lapsed { .. } | AcceptError::Ended(_)) => AcceptReply::Ended,
            Err(error) => {
                self.fail(&error);
                AcceptReply::Failed
            }
        }
    }

    fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

fn reply(confirmation: Confirmation) -> ConfirmReply {
    let order = |receipt: Receipt| OrderId(receipt.order.as_u128());
    match confirmation {
        Confirmation::Confirmed(receipt) => ConfirmReply::Confirmed(order(receipt)),
        Confirmation::AlreadyConfirmed(receipt) => ConfirmReply::AlreadyConfirmed(order(receipt)),
        Confirmation::PaidLate(receipt) => ConfirmReply::PaidLate(order(receipt)),
        Confirmation::PaidLateSoldOut | Confirmation::PaidLateOverCap => ConfirmReply::PaidLateSoldOut,
        Confirmation::CancelledBefore => ConfirmReply::CancelledBefore,
        _ => ConfirmReply::Forgotten,
    }
}
