//! What is compared with what.
//!
//! Every run is on a fresh sale of the same stock, by the same buyers, and checks that it did what it measures.

use std::{hint::black_box, ops::Range};

use sellout::{Buyer, Hold, PaymentId, Sale};

use crate::{
    contended::measure,
    contest::{Contest, Subject},
    crowd::{buyer, sale, spec},
    peers::{Answer, DashCas, ParkingLotMutex, Peer, StdMutex},
};

/// The names of all rows.
pub const NAMES: &[&str] = &["accept", "refuse", "accept-upto-4", "reserve-many-32", "confirm-typed", "control"];

/// Requests that an event loop finds waiting.
const BATCH: usize = 32;

/// How much is done in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Size {
    /// Units on sale, all of which are taken.
    pub stock: u32,
    /// Attempts that are refused.
    pub refusals: u64,
    /// Rounds of A B B A.
    pub rounds: usize,
}

impl Size {
    /// The size that is reported: a few minutes for all rows.
    pub const FULL: Self = Self { stock: 5_000_000, refusals: 100_000_000, rounds: 7 };

    /// A first impression: less than a minute for all rows.
    pub const QUICK: Self = Self { stock: 1_000_000, refusals: 10_000_000, rounds: 3 };
}

/// All rows at `size`, or those called one of `only`.
#[must_use]
pub fn rows(size: Size, only: &[String]) -> Vec<Contest> {
    let all = [
        accept(size, 1),
        accept(size, 2),
        refuse(size, 1),
        refuse(size, 2),
        accept_up_to_4(size, 2),
        reserve_many(size, 2),
        confirm_typed(size, 2),
        control(size, 2),
    ];
    let wanted = |row: &Contest| only.is_empty() || only.iter().any(|name| name == row.name);
    all.into_iter().filter(wanted).collect()
}

/// Distinct buyers take one unit each until nothing is left.
fn accept(size: Size, threads: usize) -> Contest {
    let ours = Subject::new("sellout", move || accept_ours(size, threads));
    let others = peers(Accept { size, threads });
    Contest { name: "accept", unit: "holds a second", threads, ours, others }
}

/// Ours against ours: how far from 1 a ratio can be by chance.
fn control(size: Size, threads: usize) -> Contest {
    let [ours, other] = ["sellout", "sellout"].map(|name| Subject::new(name, move || accept_ours(size, threads)));
    Contest { name: "control", unit: "holds a second", threads, ours, others: vec![other] }
}

fn accept_ours(size: Size, threads: usize) -> f64 {
    let sale = sale(spec(size.stock));
    all_of(size.stock.into(), threads, |number| black_box(sale.reserve(buyer(number), 1)).is_ok())
}

/// Everybody is refused: every unit is sold.
fn refuse(size: Size, threads: usize) -> Contest {
    let ours = Subject::new("sellout", move || {
        let sale = sold_out();
        all_of(size.refusals, threads, |number| black_box(sale.reserve(buyer(number), 1)).is_err())
    });
    let others = peers(Refuse { size, threads });
    Contest { name: "refuse", unit: "refusals a second", threads, ours, others }
}

/// Distinct buyers take one to four units at once.
fn accept_up_to_4(size: Size, threads: usize) -> Contest {
    let ours = Subject::new("sellout", move || {
        let sale = sale(spec(size.stock).cap(4).largest(4));
        all_of(baskets(size), threads, |number| black_box(sale.reserve(buyer(number), basket(number))).is_ok())
    });
    let others = peers(AcceptUpTo4 { size, threads });
    Contest { name: "accept-upto-4", unit: "holds a second", threads, ours, others }
}

/// As `accept`, 32 buyers a call.
fn reserve_many(size: Size, threads: usize) -> Contest {
    let ours = Subject::new("sellout", move || {
        let sale = sale(spec(size.stock));
        let measured = measure(
            threads,
            size.stock.into(),
            |share| share,
            |share| {
                let mut answers = Vec::with_capacity(BATCH);
                batches(share, Buyer::from, |batch| {
                    answers.clear();
                    sale.reserve_many(batch, &mut answers);
                    answers.iter().filter(|answer| answer.is_ok()).count()
                })
            },
        );
        checked(measured, size.stock.into())
    });
    let others = peers(ReserveMany { size, threads });
    Contest { name: "reserve-many-32", unit: "holds a second", threads, ours, others }
}

/// Holds made before, each by the thread that then confirms it.
fn confirm_typed(size: Size, threads: usize) -> Contest {
    let ours = Subject::new("sellout", move || {
        let sale = sale(spec(size.stock));
        let payment = payment();
        let hold = |number| sale.reserve(buyer(number), 1).expect("there is a unit for everybody");
        let prepare = |share: Range<u64>| share.map(hold).collect::<Vec<Hold<'_>>>();
        let confirm = |hold: &Hold<'_>| hold.confirm(payment).is_ok_and(|pending| pending.wait().is_ok());
        let work = |holds: Vec<Hold<'_>>| count(holds.iter().filter(|hold| black_box(confirm(hold))));
        checked(measure(threads, size.stock.into(), prepare, work), size.stock.into())
    });
    let others = peers(Confirm { size, threads });
    Contest { name: "confirm-typed", unit: "confirmations a second", threads, ours, others }
}

/// What is done to a peer of any type.
trait Task: Copy + 'static {
    fn rate<P: Peer>(self) -> f64;
}

fn peers(task: impl Task) -> Vec<Subject> {
    vec![peer::<StdMutex>(task), peer::<ParkingLotMutex>(task), peer::<DashCas>(task)]
}

fn peer<P: Peer>(task: impl Task) -> Subject {
    Subject::new(P::NAME, move || task.rate::<P>())
}

#[derive(Clone, Copy)]
struct Accept {
    size: Size,
    threads: usize,
}

impl Task for Accept {
    fn rate<P: Peer>(self) -> f64 {
        let shop = P::new(self.size.stock, 1);
        all_of(self.size.stock.into(), self.threads, |number| black_box(shop.reserve(buyer(number), 1)) == Answer::Held)
    }
}

#[derive(Clone, Copy)]
struct Refuse {
    size: Size,
    threads: usize,
}

impl Task for Refuse {
    fn rate<P: Peer>(self) -> f64 {
        let shop = P::new(1, 1);
        shop.reserve(u64::MAX, 1);
        all_of(self.size.refusals, self.threads, |number| black_box(shop.reserve(buyer(number), 1)) == Answer::SoldOut)
    }
}

#[derive(Clone, Copy)]
struct AcceptUpTo4 {
    size: Size,
    threads: usize,
}

impl Task for AcceptUpTo4 {
    fn rate<P: Peer>(self) -> f64 {
        let shop = P::new(self.size.stock, 4);
        all_of(baskets(self.size), self.threads, |number| {
            black_box(shop.reserve(buyer(number), basket(number))) == Answer::Held
        })
    }
}

#[derive(Clone, Copy)]
struct ReserveMany {
    size: Size,
    threads: usize,
}

impl Task for ReserveMany {
    fn rate<P: Peer>(self) -> f64 {
        let shop = P::new(self.size.stock, 1);
        let work = |share| {
            let mut answers = Vec::with_capacity(BATCH);
            batches(share, std::convert::identity, |batch| {
                answers.clear();
                shop.reserve_many(batch, &mut answers);
                answers.iter().filter(|answer| **answer == Answer::Held).count()
            })
        };
        checked(measure(self.threads, self.size.stock.into(), |share| share, work), self.size.stock.into())
    }
}

#[derive(Clone, Copy)]
struct Confirm {
    size: Size,
    threads: usize,
}

impl Task for Confirm {
    fn rate<P: Peer>(self) -> f64 {
        let shop = P::new(self.size.stock, 1);
        let prepare = |share: Range<u64>| {
            share.clone().for_each(|number| assert_eq!(shop.reserve(buyer(number), 1), Answer::Held));
            share
        };
        let work = |mut share: Range<u64>| count(share.by_ref().filter(|&number| shop.confirm(buyer(number))));
        checked(measure(self.threads, self.size.stock.into(), prepare, work), self.size.stock.into())
    }
}

/// A sale whose only unit is sold.
fn sold_out() -> Sale {
    let sale = sale(spec(1));
    let hold = sale.reserve(u64::MAX, 1).expect("the only unit is free");
    hold.confirm(payment()).and_then(sellout::Pending::wait).expect("nothing fails in memory");
    sale
}

fn payment() -> PaymentId {
    PaymentId::from(1)
}

/// Units in the `number`-th basket: one to four.
fn basket(number: u64) -> u32 {
    1 + u32::try_from(number % 4).expect("at most 3")
}

/// As many baskets as there is stock for: ten units in four.
fn baskets(size: Size) -> u64 {
    u64::from(size.stock) / 10 * 4
}

/// The rate at which `operation` succeeds for each number below `operations`.
fn all_of(operations: u64, threads: usize, operation: impl Fn(u64) -> bool + Sync) -> f64 {
    let work = |mut share: Range<u64>| count(share.by_ref().filter(|&number| operation(number)));
    checked(measure(threads, operations, |share| share, work), operations)
}

/// Shows `call` the buyers of `share` in batches, and adds up what it counts.
fn batches<B>(share: Range<u64>, identity: impl Fn(u64) -> B, mut call: impl FnMut(&[B]) -> usize) -> u64 {
    let mut batch = Vec::with_capacity(BATCH);
    let mut done = 0;
    for start in share.clone().step_by(BATCH) {
        batch.clear();
        batch.extend((start..share.end).take(BATCH).map(|number| identity(buyer(number))));
        done += call(&batch) as u64;
    }
    done
}

fn count(operations: impl Iterator) -> u64 {
    operations.count() as u64
}

/// A run that didn't do its work has no rate.
fn checked(measured: crate::contended::Measured, expected: u64) -> f64 {
    assert_eq!(measured.done, expected, "a run did not do the work that it measures");
    measured.per_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_named_and_does_its_work() {
        let size = Size { stock: 2_000, refusals: 2_000, rounds: 1 };
        let rows = rows(size, &[]);
        for name in NAMES {
            assert!(rows.iter().any(|row| row.name == *name), "{name}");
        }
        for row in rows {
            assert!(NAMES.contains(&row.name), "{}", row.name);
            let row = row.hold(size.rounds);
            assert!(row.ratio > 0.0 && row.low <= row.ratio && row.ratio <= row.high, "{row:?}");
        }
    }

    #[test]
    fn only_the_rows_that_were_asked_for_are_there() {
        let threads = |only: &[&str]| -> Vec<_> {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            rows(Size::QUICK, &only).iter().map(|row| (row.name, row.threads)).collect()
        };
        assert_eq!(threads(&["accept"]), [("accept", 1), ("accept", 2)]);
        assert_eq!(threads(&["control", "refuse"]), [("refuse", 1), ("refuse", 2), ("control", 2)]);
    }

    #[test]
    #[should_panic(expected = "did not do the work")]
    fn a_run_that_fails_has_no_rate() {
        all_of(10, 1, |number| number != 7);
    }
}
