//! One lock around everything: std's with its `SipHash` map, and `parking_lot`'s with a map under `foldhash`.

use std::{
    collections::hash_map::RandomState,
    sync::{self, PoisonError},
};

use super::{Answer, Peer, shop::Shop};

/// `std::sync::Mutex` around a `HashMap` with its default hasher.
#[derive(Debug)]
pub struct StdMutex(sync::Mutex<Shop<RandomState>>);

impl StdMutex {
    #[inline]
    fn shop(&self) -> sync::MutexGuard<'_, Shop<RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer for StdMutex {
    const NAME: &'static str = "std mutex + HashMap";

    fn new(stock: u32, cap: u32) -> Self {
        Self(sync::Mutex::new(Shop::new(stock, cap)))
    }

    #[inline]
    fn reserve(&self, buyer: u64, units: u32) -> Answer {
        self.shop().reserve(buyer, units)
    }

    #[inline]
    fn confirm(&self, buyer: u64) -> bool {
        self.shop().confirm(buyer)
    }

    fn free(&self) -> u64 {
        self.shop().free
    }

    fn reserve_many(&self, buyers: &[u64], answers: &mut Vec<Answer>) {
        let mut shop = self.shop();
        answers.extend(buyers.iter().map(|&buyer| shop.reserve(buyer, 1)));
    }
}

/// `parking_lot::Mutex` around a `HashMap` under `foldhash`.
#[derive(Debug)]
pub struct ParkingLotMutex(parking_lot::Mutex<Shop<foldhash::fast::RandomState>>);

impl Peer for ParkingLotMutex {
    const NAME: &'static str = "parking_lot mutex + HashMap (foldhash)";

    fn new(stock: u32, cap: u32) -> Self {
        Self(parking_lot::Mutex::new(Shop::new(stock, cap)))
    }

    #[inline]
    fn reserve(&self, buyer: u64, units: u32) -> Answer {
        self.0.lock().reserve(buyer, units)
    }

    #[inline]
    fn confirm(&self, buyer: u64) -> bool {
        self.0.lock().confirm(buyer)
    }

    fn free(&self) -> u64 {
        self.0.lock().free
    }

    fn reserve_many(&self, buyers: &[u64], answers: &mut Vec<Answer>) {
        let mut shop = self.0.lock();
        answers.extend(buyers.iter().map(|&buyer| shop.reserve(buyer, 1)));
    }
}
