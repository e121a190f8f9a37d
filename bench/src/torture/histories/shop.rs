//! A sale of this library, asked in the words of the model.
//!
//! What holds: each answer is translated, and none is softened; what the model has no word for is an error.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sellout::{
    Buyer, CancelError, ConfirmError, Confirmation, Ended, Engine, ExtendError, ManualClock, PaymentId, Rejection,
    Sale, SaleSpec, Timestamp, Token,
};
use sellout_testkit::sale_model::{SaleAnswer, SaleCall, SaleEnd, SaleModel};
use tempfile::TempDir;

use super::{Program, Shop};

const START: Timestamp = Timestamp::from_millis(1_775_008_800_000);
/// Buyers who have come before: none of those who come later.
const OTHERS: u64 = 1_000_000;

/// A sale on an engine of its own, in memory or on a journal in a folder of its own.
#[derive(Debug)]
pub struct EngineShop {
    sale: Sale,
    clock: Arc<ManualClock>,
    tokens: Mutex<Vec<(u32, Token)>>,
    _folder: Option<TempDir>,
}

impl EngineShop {
    /// The sale of a program, as its model says that it is at first.
    ///
    /// # Errors
    /// The folder can't be written, or the sale not be brought to where it is to begin.
    pub fn open(program: &Program) -> Result<Self, String> {
        let SaleModel { total, sold, cap, hold_ms, grace_ms, .. } = program.model;
        let clock = Arc::new(ManualClock::starting_at(START));
        let options = Engine::options().clock(clock.clone()).stripes(if program.model.scattered { 4 } else { 1 });
        let (engine, folder) = if program.journaled {
            let folder = TempDir::new().map_err(told)?;
            (options.open(folder.path().join("sales.journal")).map_err(told)?, Some(folder))
        } else {
            (options.in_memory(), None)
        };
        let spec = SaleSpec::new("history", total)
            .cap(cap)
            .largest(program.largest)
            .hold_for(Duration::from_millis(hold_ms))
            .grace(Duration::from_millis(grace_ms));
        let sale = engine.create(spec).map_err(told)?;
        for number in 0..sold {
            let hold = sale.reserve(OTHERS + u64::from(number), 1).map_err(told)?;
            drop(hold.confirm(PaymentId::from(1)).map_err(told)?);
        }
        if program.worn && sold == 0 {
            // Slots that were never used come first: from here on a hold gets the place of one that has ended.
            for number in 0..2 * u64::from(total) + 64 {
                sale.reserve(OTHERS + number, 1).map_err(told)?.cancel().map_err(told)?;
            }
        }
        engine.sync().map_err(told)?;
        Ok(Self { sale, clock, tokens: Mutex::default(), _folder: folder })
    }

    /// Every unit is somewhere.
    ///
    /// # Errors
    /// The audit that doesn't hold.
    pub fn audit(&self) -> Result<(), String> {
        let audit = self.sale.audit();
        if audit.holds() { Ok(()) } else { Err(format!("a unit is lost: {audit}")) }
    }

    fn token(&self, name: u32) -> Result<Token, String> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tokens.iter().find(|(known, _)| *known == name);
        found.map(|(_, token)| *token).ok_or_else(|| format!("no hold is called {name}"))
    }

    fn reserve(&self, buyer: u64, quantity: u32, name: u32) -> Result<SaleAnswer, String> {
        Ok(match self.sale.reserve(Buyer::from(buyer), quantity) {
            Ok(hold) => {
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push((name, hold.token()));
                SaleAnswer::Held { hold: name, due_ms: offset(hold.deadline()) }
            }
            Err(Rejection::Paused) => SaleAnswer::Paused,
            Err(Rejection::LimitReached { held, bought, .. }) => SaleAnswer::LimitReached { held, bought },
            Err(Rejection::AttemptUnderWay) => SaleAnswer::UnderWay,
            Err(Rejection::TooFewFree { free }) => SaleAnswer::TooFewFree { free: u32::try_from(free).map_err(told)? },
            Err(Rejection::AllHeld { .. }) => SaleAnswer::AllHeld,
            Err(Rejection::SoldOut) => SaleAnswer::SoldOut,
            Err(other) => return Err(told(other)),
        })
    }

    fn confirm(&self, token: &Token) -> Result<SaleAnswer, String> {
        let pending = match self.sale.confirm(token, PaymentId::from(1)) {
            Ok(pending) => pending,
            Err(ConfirmError::AttemptUnderWay) => return Ok(SaleAnswer::UnderWay),
            Err(other) => return Err(told(other)),
        };
        Ok(match pending.wait().map_err(told)? {
            Confirmation::Confirmed(receipt) => SaleAnswer::Confirmed { order: receipt.sequence },
            Confirmation::PaidLate(receipt) => SaleAnswer::PaidLate { order: receipt.sequence },
            Confirmation::AlreadyConfirmed(receipt) => SaleAnswer::AlreadyConfirmed { order: receipt.sequence },
            Confirmation::PaidLateSoldOut => SaleAnswer::PaidLateSoldOut,
            Confirmation::PaidLateOverCap => SaleAnswer::PaidLateOverCap,
            Confirmation::CancelledBefore => SaleAnswer::CancelledBefore,
            Confirmation::HoldForgotten => SaleAnswer::Forgotten,
            other => return Err(format!("an answer without a word in the model: {other:?}")),
        })
    }

    fn extend(&self, token: &Token, by_ms: u64) -> Result<SaleAnswer, String> {
        Ok(match self.sale.extend(token, Duration::from_millis(by_ms)) {
            Ok(deadline) => SaleAnswer::Extended { due_ms: offset(deadline) },
            Err(ExtendError::Overdue { .. }) => SaleAnswer::Overdue,
            Err(ExtendError::Ended(how)) => SaleAnswer::Ended(end(how)?),
            Err(other) => return Err(told(other)),
        })
    }
}

impl Shop for EngineShop {
    fn answer(&self, call: &SaleCall, name: u32) -> Result<SaleAnswer, String> {
        let done = SaleAnswer::Done;
        match *call {
            SaleCall::Reserve { buyer, quantity } => self.reserve(buyer, quantity, name),
            SaleCall::Confirm { hold } => self.confirm(&self.token(hold)?),
            SaleCall::Extend { hold, by_ms } => self.extend(&self.token(hold)?, by_ms),
            SaleCall::Cancel { hold } => match self.sale.cancel(&self.token(hold)?) {
                Ok(_) => Ok(SaleAnswer::Cancelled),
                Err(CancelError::Ended(how)) => Ok(SaleAnswer::Ended(end(how)?)),
                Err(other) => Err(told(other)),
            },
            SaleCall::Pass { span_ms } => {
                self.clock.advance(Duration::from_millis(span_ms));
                Ok(done)
            }
            SaleCall::Tick => {
                let engine = self.sale.engine();
                let ticked = engine.tick(engine.now());
                Ok(SaleAnswer::Ticked { expired: u32::try_from(ticked.expired).map_err(told)? })
            }
            SaleCall::Add { units } => self.sale.add_stock(units).map(|()| done).map_err(told),
            SaleCall::Withdraw { units } => {
                self.sale.withdraw(units).map(|units| SaleAnswer::Withdrawn { units }).map_err(told)
            }
            SaleCall::Pause => self.sale.pause().map(|()| done).map_err(told),
            SaleCall::Resume => self.sale.resume().map(|()| done).map_err(told),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
fn told<E: ToString>(error: E) -> String {
    error.to_string()
}

fn offset(instant: Timestamp) -> u64 {
    instant.as_millis() - START.as_millis()
}

fn end(how: Ended) -> Result<SaleEnd, String> {
    Ok(match how {
        Ended::Confirmed => SaleEnd::Confirmed,
        Ended::BeingConfirmed => SaleEnd::BeingConfirmed,
        Ended::Cancelled => SaleEnd::Cancelled,
        Ended::Expired => SaleEnd::Expired,
        Ended::LongAgo => SaleEnd::LongAgo,
        other => return Err(format!("a hold that has ended so: {other}")),
    })
}
