//! Measures sellout against its peers, in turn and in one run: only ratios carry from one machine to another.
//!
//! ```text
//! rows        what is compared with what      peers       other ways to do the same work
//! contest     in turn, A B B A                crowd       who buys, and sales to buy from
//! stats       medians and intervals           contended   operations a second on several threads
//! report      the table and the JSON          shops        very many sales in one engine
//! torture     faults for as long as one likes, and what was lost by them
//! ```
//!
//! All but `torture` judge nothing. What one thread's operations cost is measured by the criterion benches in
//! `benches/`.

pub mod churn;
pub mod contended;
pub mod contest;
pub mod crowd;
pub mod peers;
pub mod report;
pub mod rows;
pub mod shops;
pub mod stats;
pub mod torture;
