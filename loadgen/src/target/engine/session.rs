//! One worker's way to the engine: direct calls.

use sellout::{CancelError, ConfirmError, Confirmation, PaymentId, Receipt, Rejection, Sale, Token};

use crate::target::{Answer, CancelReply, ConfirmReply, Held, OrderId, Pending, Refusal, SaleIndex, Session, Ticket};

/// One worker's way to the engine.
#[derive(Debug)]
pub struct EngineSession {
    sales: Vec<Sale>,
    failure: Option<String>,
}

impl EngineSession {
    pub(super) fn new(sales: Vec<Sale>) -> Self {
        Self { sales, failure: None }
    }

    fn fail(&mut self, error: &dyn std::fmt::Display) {
        self.failure.get_or_insert_with(|| error.to_string());
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

    fn reserve(&mut self, sale: SaleIndex, buyer: u64, quantity: u32) -> Result<Held<EngineTicket>, Refusal> {
        let Some(sale) = self.sales.get(sale) else { return Err(Refusal::NoSuchSale) };
        let failure = match sale.reserve(buyer, quantity) {
            Ok(hold) => return Ok(Held::new(EngineTicket(hold.token()), hold.deadline())),
            Err(Rejection::NotOpen { opens_at }) => return Err(Refusal::NotOpen { opens_at }),
            Err(Rejection::Closed) => return Err(Refusal::Closed),
            Err(Rejection::Paused) => return Err(Refusal::Paused),
            Err(Rejection::NotEligible) => return Err(Refusal::NotEligible),
            Err(Rejection::LimitReached { .. }) => return Err(Refusal::LimitReached),
            Err(Rejection::AttemptUnderWay) => return Err(Refusal::AttemptUnderWay),
            // If fewer units are free than were asked for, the rest is on hold or sold.
            Err(Rejection::AllHeld { .. } | Rejection::TooFewFree { .. }) => return Err(Refusal::AllHeld),
            Err(Rejection::SoldOut) => return Err(Refusal::SoldOut),
            Err(Rejection::BadQuantity { .. }) => return Err(Refusal::BadQuantity),
            Err(rejection) => rejection,
        };
        self.fail(&failure);
        Err(Refusal::Failed)
    }

    fn confirm(&mut self, sale: SaleIndex, ticket: &EngineTicket, payment: u64) -> Answer<EnginePending> {
        let Some(sale) = self.sales.get(sale) else { return Answer::Now(ConfirmReply::Failed) };
        match sale.confirm(&ticket.0, PaymentId::from(payment)) {
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

    fn cancel(&mut self, sale: SaleIndex, ticket: &EngineTicket) -> CancelReply {
        let Some(sale) = self.sales.get(sale) else { return CancelReply::Failed };
        match sale.cancel(&ticket.0) {
            Ok(_) => CancelReply::Cancelled,
            Err(CancelError::Ended(_)) => CancelReply::AlreadyEnded,
            Err(error) => {
                self.fail(&error);
                CancelReply::Failed
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
