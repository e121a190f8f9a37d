#![doc = include_str!("../../README.md")]

mod clock;
mod core;
mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod journal;
#[cfg(feature = "redis")]
pub mod ledger;
mod payment;
#[cfg(feature = "sim")]
pub mod sim;
mod spec;
mod text;

pub use clock::{Clock, ManualClock, SystemClock};
pub use core::{Buyer, End, Invitation, InvitationError, MAX_CAP, MAX_STOCK, SaleName, Timestamp, Token, TokenError};
pub use engine::{
    AcceptError, Audit, Basket, BasketLine, BasketRejection, BasketRules, Baskets, Callback, CancelError, Cancelled,
    ChangeError, ConfirmError, Confirmation, CreateError, DeliverError, Digest, Driver, Durability, Ended, Engine,
    EnrollError, Enrolled, Event, EventKind, Events, ExtendError, Face, FaceValue, FileSink, FileSinkError, Hold,
    Identity, JoinError, JournalReader, Left, Message, MessageId, MessageIdError, MessageKind, MessageSink, NoSuchSale,
    Options, Outbox, Pending, Place, Receipt, Rejection, Request, RequestKey, RequestKeyError, Sale, SaleHead,
    SaleState, Salvage, Salvaged, SalvagedOrder, SeekError, ShipError, SoldRecord, Source, Ticked, Unit, UnitsError,
    Waiting,
};
pub use journal::{CompactError, Compacted, Damage, DamagedPlace, JournalError, JournalStats, OpenError};
pub use payment::{PaymentId, PaymentIdError};
pub use spec::{Amounts, Audience, FaceError, SaleSpec, SpecError, Units, WaitOrder, Waitlist};
