//! Pure state machines over atomics: no I/O, no clock, no thread, no async. Time comes in as an argument.
//!
//! ```text
//! allocator   one sale's stock, put together
//!   permits     the right to a unit, and the gate that refuses with one load
//!   supply      where a free slot is found
//!   slots       a hold from its making to its one end
//!   deadlines   when holds fall due
//!   cap         what each buyer has
//!   stripes     words of which each thread has one of its own
//!   units       which unit a hold has, where they have faces
//! baskets     units of several sales, all or nothing
//! amounts     random amounts that add up to a budget
//! window      when a sale sells, and can be moved
//! token       what leaves the process: text that can't be forged
//! invitation  what lets one buyer into one sale
//! roster      a set of buyers that grows
//! ```

pub(crate) mod allocator;
pub(crate) mod amounts;
pub(crate) mod baskets;
pub(crate) mod buyer;
pub(crate) mod cap;
pub(crate) mod deadlines;
pub(crate) mod invitation;
#[cfg(all(test, sellout_loom))]
mod models;
pub(crate) mod permits;
pub(crate) mod roster;
pub(crate) mod slots;
pub(crate) mod stripes;
pub(crate) mod supply;
mod sync;
pub(crate) mod timestamp;
pub(crate) mod token;
pub(crate) mod units;
pub(crate) mod window;

pub use buyer::Buyer;
pub use invitation::{Invitation, InvitationError};
pub use slots::End;
pub use timestamp::Timestamp;
pub use token::{SaleName, Token, TokenError};

/// The most units one sale can have on offer: 67,108,864.
pub const MAX_STOCK: u32 = 1 << 26;

/// The most units one buyer can hold and buy in one sale: 262,143.
pub const MAX_CAP: u32 = (1 << 18) - 1;
