//! Which units a hold has, where the sale's units have a face.
//!
//! What holds: a hold's units are taken after its permits and before its slot is held; when it has ended they are put
//! back before the slot is, and before the permits. So a free unit never has a hold, and a free permit never lacks
//! its unit. A sale whose units are alike has no pool, and nothing of this costs it more than a look.

use super::Allocator;
use crate::core::{slots::State, units::Pool};

/// Where a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    Free,
    Held,
    Sold,
}

impl Allocator {
    /// The same sale, with `numbers` units that can be told apart, those that were withdrawn included.
    pub(crate) fn with_units(mut self, numbers: u32) -> Self {
        self.units = Some(Box::new(Pool::new(numbers)));
        self
    }

    /// Chooses the units of a hold that is about to be made in `slot`.
    #[inline]
    pub(super) fn enter_units(&self, slot: u32, quantity: u32) {
        if let Some(pool) = &self.units {
            pool.enter(slot, quantity);
        }
    }

    /// Puts the units of a hold that has ended back; its slot can't be found so far.
    #[inline]
    pub(super) fn leave_units(&self, slot: u32, quantity: u32) {
        if let Some(pool) = &self.units {
            pool.leave(slot, quantity);
        }
    }

    /// The units that the slot's hold of that generation has: none if all are alike. `None` if it has ended unsold.
    pub(crate) fn units_of(&self, slot: u32, generation: u32) -> Option<Vec<u32>> {
        let Some(pool) = &self.units else { return Some(Vec::new()) };
        let (_, capacity) = self.supply.fresh();
        if u64::from(slot) >= capacity {
            return None;
        }
        loop {
            let snapshot = self.slots.load(slot);
            if snapshot.generation() != generation || matches!(snapshot.state(), State::Free(_) | State::Retired) {
                return None;
            }
            let quantity = self.slots.meta(slot).quantity;
            let mut units = Vec::new();
            pool.chain(slot, quantity, |unit| units.push(unit));
            // What was read beside the word belongs to it only if the word is still the same.
            if self.slots.load(slot) == snapshot {
                return Some(units);
            }
        }
    }

    /// The units of `count` permits that were just withdrawn: they belong to nobody any more.
    pub(crate) fn withdraw_units(&self, count: u32) -> Vec<u32> {
        let mut units = Vec::new();
        if let Some(pool) = &self.units {
            pool.take(count, |unit| units.push(unit));
        }
        units
    }

    /// How many units there have ever been; their numbers are below.
    pub(crate) fn numbers(&self) -> u32 {
        self.units.as_ref().map_or(0, |pool| pool.capacity())
    }

    /// Shows every unit that can be told apart: free ones from the pool, the others slot by slot. Exact at rest.
    pub(crate) fn each_unit(&self, mut unit: impl FnMut(Whereabouts, u32)) {
        let Some(pool) = &self.units else { return };
        pool.free(|free| unit(Whereabouts::Free, free));
        for (first, chunk) in self.slots.present() {
            for slot in (first..).take(chunk.len()) {
                let snapshot = self.slots.load(slot);
                let whereabouts = match snapshot.state() {
                    State::Free(_) | State::Retired => continue,
                    State::Sold { .. } => Whereabouts::Sold,
                    _ => Whereabouts::Held,
                };
                for number in self.units_of(slot, snapshot.generation()).unwrap_or_default() {
                    unit(whereabouts, number);
                }
            }
        }
    }

    /// Recovery: the slot's hold has these units.
    pub(crate) fn restore_units(&self, slot: u32, units: &[u32]) {
        if let Some(pool) = &self.units {
            pool.restore_chain(slot, units);
        }
    }

    /// Recovery: units from `fresh` on were never had, and of those below it these are free.
    pub(crate) fn restore_free_units(&self, fresh: u32, free: impl Iterator<Item = u32>) {
        if let Some(pool) = &self.units {
            pool.restore_fresh(fresh);
            free.for_each(|unit| pool.restore_free(unit));
        }
    }
}
