//! What is left to do for a confirmed sale once the journal has it on disk.

use std::sync::{Arc, Weak};

use super::{
    events::EventKind,
    inner::{EngineInner, home},
    state::SaleInner,
};
use crate::{core::allocator::HoldId, journal::Settle};

/// One sale that waits for the sync of its record.
///
/// It refers weakly to the engine, whose journal it lies in: an engine that is dropped takes it along.
pub(crate) struct Settlement {
    pub(crate) engine: Weak<EngineInner>,
    pub(crate) sale: Arc<SaleInner>,
    pub(crate) id: HoldId,
    pub(crate) sequence: u64,
}

impl Settle for Settlement {
    fn settle(self) {
        settle(&self.sale, self.id, self.sequence);
        self.sale.note_durable(self.sequence);
        if let Some(engine) = self.engine.upgrade() {
            announce(&engine, &self.sale, self.id, self.sequence);
        }
    }
}

/// The hold is sold.
pub(crate) fn settle(sale: &SaleInner, id: HoldId, sequence: u64) {
    sale.allocator.settle(id.slot, id.generation, sequence, home());
}

/// Tells who listens.
pub(crate) fn announce(engine: &EngineInner, sale: &SaleInner, id: HoldId, sequence: u64) {
    if engine.hub.is_silent() {
        return;
    }
    let share = sale.allocator.share_of(id.slot);
    let (buyer, quantity, token) = (share.buyer, share.quantity, engine.token(sale, id));
    engine.publish(sale, EventKind::Confirmed { buyer, quantity, token, sequence });
    if sale.allocator.mark_sold_out() {
        engine.publish(sale, EventKind::SoldOut);
    }
}
