//! Inventory for flash sales.

mod clock;
mod core;
mod payment;
mod spec;

pub use clock::{Clock, ManualClock, SystemClock};
pub use core::{Buyer, End, MAX_CAP, MAX_STOCK, Timestamp, Token, TokenError};
pub use payment::{PaymentId, PaymentIdError};
pub use spec::{Audience, SaleSpec, SpecError};
