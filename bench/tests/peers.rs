//! The peers keep what they are compared on: they sell exactly the stock, to distinct buyers, from several threads.
//!
//! - Demand above the stock: everything is sold, and nothing twice.
//! - Demand below the stock: every buyer gets what the cap allows, however often and from wherever each one asks.

use std::{
    collections::HashMap,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use sellout_bench::{
    contended::measure,
    crowd::buyer,
    peers::{Answer, DashCas, ParkingLotMutex, Peer, StdMutex},
};

const THREADS: usize = 4;
const STOCK: u32 = 2_000;

/// Everybody asks once, and there are three buyers for each unit.
fn sells_exactly_the_stock<P: Peer>() -> Result<(), String> {
    let shop = P::new(STOCK, 1);
    let attempt = |number: &u64| shop.reserve(buyer(*number), 1) == Answer::Held;
    let measured = measure(THREADS, 3 * u64::from(STOCK), |share| share, |share| share.filter(attempt).count() as u64);
    if measured.done == u64::from(STOCK) && shop.free() == 0 {
        return Ok(());
    }
    Err(format!("{}: {} of {STOCK} sold, {} left", P::NAME, measured.done, shop.free()))
}

/// Everybody asks from every thread for one unit at a time; there is stock for twice the demand.
fn keeps_the_cap<P: Peer>() -> Result<(), String> {
    const CAP: u32 = 3;
    let buyers = u64::from(STOCK) / u64::from(CAP) / 2;
    let shop = P::new(STOCK, CAP);
    let attempts = |_| {
        let ask = || (0..buyers).filter(|&number| shop.reserve(buyer(number), 1) == Answer::Held).count() as u64;
        (0..CAP).map(|_| ask()).sum()
    };
    let measured = measure(THREADS, THREADS as u64, |share| share, attempts);
    let expected = buyers * u64::from(CAP);
    if measured.done == expected && shop.free() == u64::from(STOCK) - expected {
        return Ok(());
    }
    Err(format!("{}: {} sold under a cap that allows {expected}", P::NAME, measured.done))
}

#[test]
fn peers_sell_exactly_the_stock_to_distinct_buyers() {
    for outcome in [
        sells_exactly_the_stock::<StdMutex>(),
        sells_exactly_the_stock::<ParkingLotMutex>(),
        sells_exactly_the_stock::<DashCas>(),
    ] {
        assert_eq!(outcome, Ok(()));
    }
}

#[test]
fn peers_keep_the_cap() {
    for outcome in [keeps_the_cap::<StdMutex>(), keeps_the_cap::<ParkingLotMutex>(), keeps_the_cap::<DashCas>()] {
        assert_eq!(outcome, Ok(()));
    }
}

#[test]
fn what_is_held_is_confirmed_once() {
    fn confirms_once<P: Peer>() {
        let shop = P::new(2, 1);
        assert!(!shop.confirm(7), "{}: nothing is held", P::NAME);
        assert_eq!(shop.reserve(7, 1), Answer::Held);
        assert!(shop.confirm(7));
        assert!(!shop.confirm(7), "{}: it is sold", P::NAME);
        assert_eq!(shop.reserve(7, 1), Answer::LimitReached, "{}: bought counts", P::NAME);
    }
    confirms_once::<StdMutex>();
    confirms_once::<ParkingLotMutex>();
    confirms_once::<DashCas>();
}

#[test]
fn a_batch_is_answered_one_by_one() {
    fn answers<P: Peer>() -> Vec<Answer> {
        let mut answers = Vec::new();
        P::new(2, 1).reserve_many(&[1, 1, 2, 3], &mut answers);
        answers
    }
    let expected = [Answer::Held, Answer::LimitReached, Answer::Held, Answer::SoldOut];
    assert_eq!(answers::<StdMutex>(), expected);
    assert_eq!(answers::<ParkingLotMutex>(), expected);
    assert_eq!(answers::<DashCas>(), expected);
}

/// Negative control: looks, and then takes. Whoever comes first looks, and takes when somebody else has taken
/// meanwhile: the race is there in every run, whatever the machine does with its threads.
struct LookThenTake {
    free: AtomicU64,
    cap: u32,
    shares: Mutex<HashMap<u64, u32>>,
    first_comes: AtomicBool,
    somebody_took: Condvar,
}

impl Peer for LookThenTake {
    const NAME: &'static str = "look, then take";

    fn new(stock: u32, cap: u32) -> Self {
        Self {
            free: AtomicU64::new(stock.into()),
            cap,
            shares: Mutex::default(),
            first_comes: AtomicBool::new(true),
            somebody_took: Condvar::new(),
        }
    }

    fn reserve(&self, buyer: u64, units: u32) -> Answer {
        // SeqCst: the order of the steps is what is wrong, not the ordering.
        let free = self.free.load(Ordering::SeqCst);
        let has = self.shares.lock().expect("nobody panics").get(&buyer).copied().unwrap_or_default();
        // SeqCst: as above.
        if self.first_comes.swap(false, Ordering::SeqCst) {
            let shares = self.shares.lock().expect("nobody panics");
            drop(self.somebody_took.wait_while(shares, |shares| shares.is_empty()).expect("nobody panics"));
        }
        if free < u64::from(units) {
            return Answer::SoldOut;
        }
        if has + units > self.cap {
            return Answer::LimitReached;
        }
        // SeqCst: as above.
        self.free.store(free - u64::from(units), Ordering::SeqCst);
        self.shares.lock().expect("nobody panics").insert(buyer, has + units);
        self.somebody_took.notify_all();
        Answer::Held
    }

    fn confirm(&self, _buyer: u64) -> bool {
        false
    }

    fn free(&self) -> u64 {
        // SeqCst: as above.
        self.free.load(Ordering::SeqCst)
    }
}

#[test]
fn a_peer_that_looks_and_then_takes_is_caught() {
    sells_exactly_the_stock::<LookThenTake>().unwrap_err();
    keeps_the_cap::<LookThenTake>().unwrap_err();
}
