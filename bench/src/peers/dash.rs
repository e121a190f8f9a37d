//! A concurrent map, and the stock in one atomic beside it.
//!
//! The stock is taken while the buyer's shard is locked: of two attempts of one buyer the second sees the first
//! decided, and who finds no stock leaves no entry behind.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;

use super::{Answer, Peer, shop::Share};

/// `DashMap` under `foldhash`, and a compare-and-swap on the stock.
#[derive(Debug)]
pub struct DashCas {
    free: AtomicU64,
    cap: u32,
    shares: DashMap<u64, Share, RandomState>,
}

impl DashCas {
    #[inline]
    fn take(&self, units: u32) -> bool {
        let enough = |free: u64| free.checked_sub(units.into());
        // Relaxed: the shard's lock publishes the share; the count stands for itself.
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough).is_ok()
    }
}

impl Peer for DashCas {
    const NAME: &'static str = "DashMap + CAS";

    fn new(stock: u32, cap: u32) -> Self {
        let shares = DashMap::with_capacity_and_hasher(stock as usize, RandomState::default());
        Self { free: AtomicU64::new(stock.into()), cap, shares }
    }

    #[inline]
    fn reserve(&self, buyer: u64, units: u32) -> Answer {
        // Relaxed: a first look; the compare-and-swap decides.
        if self.free.load(Ordering::Relaxed) < u64::from(units) {
            return Answer::SoldOut;
        }
        match self.shares.entry(buyer) {
            Entry::Occupied(share) if !share.get().has_room(units, self.cap) => Answer::LimitReached,
            Entry::Vacant(_) if units > self.cap => Answer::LimitReached,
            _ if !self.take(units) => Answer::SoldOut,
            Entry::Occupied(mut share) => {
                share.get_mut().held += units;
                Answer::Held
            }
            Entry::Vacant(place) => {
                place.insert(Share { held: units, bought: 0 });
                Answer::Held
            }
        }
    }

    #[inline]
    fn confirm(&self, buyer: u64) -> bool {
        self.shares.get_mut(&buyer).is_some_and(|mut share| share.confirm())
    }

    fn free(&self) -> u64 {
        // Relaxed: exact at rest.
        self.free.load(Ordering::Relaxed)
    }
}
