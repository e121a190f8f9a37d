//! Peers: what a competent user would write instead, with the parts that everybody knows.
//!
//! A peer has a map from the buyer to the buyer's units and a count of free units. It looks at the stock first,
//! keeps the cap, and finds a hold by its buyer. All maps are made large enough for the whole stock.
//!
//! That is less than sellout does: no token, no deadline and no expiry, no window, no cancellation, no journal.

mod dash;
mod mutex;
mod shop;

pub use dash::DashCas;
pub use mutex::{ParkingLotMutex, StdMutex};

/// What a peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The units are the buyer's.
    Held,
    /// Fewer units are free than were asked for.
    SoldOut,
    /// The buyer would have more than the cap allows.
    LimitReached,
}

/// Something that sells, and is compared with sellout.
pub trait Peer: Sync + Sized {
    /// What it is called in the report.
    const NAME: &'static str;

    /// A shop with `stock` units on sale, at most `cap` a buyer.
    fn new(stock: u32, cap: u32) -> Self;

    /// Holds `units` for `buyer`.
    fn reserve(&self, buyer: u64, units: u32) -> Answer;

    /// Sells what `buyer` holds; false if that is nothing.
    fn confirm(&self, buyer: u64) -> bool;

    /// Units that are neither held nor sold.
    fn free(&self) -> u64;

    /// Holds one unit for each of `buyers`.
    fn reserve_many(&self, buyers: &[u64], answers: &mut Vec<Answer>) {
        answers.extend(buyers.iter().map(|&buyer| self.reserve(buyer, 1)));
    }
}
