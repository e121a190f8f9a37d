//! What is left to do for a confirmed sale once the journal has it on disk.

use std::sync::{Arc, Weak};

use super::{
    baskets::SoldPart,
    events::EventKind,
    inner::{EngineInner, home},
    state::SaleInner,
};
use crate::{
    core::{
        Token,
        allocator::{HoldId, Share},
    },
    journal::Settle,
};

/// One sale that waits for the sync of its record.
///
/// It refers weakly to the engine, whose journal it lies in: an engine that is dropped takes it along.
pub(crate) struct Settlement {
    pub(crate) engine: Weak<EngineInner>,
    pub(crate) sale: Arc<SaleInner>,
    pub(crate) id: HoldId,
    pub(crate) sequence: u64,
    /// If it is a basket: its orders.
    pub(crate) parts: Vec<SoldPart>,
}

impl Settle for Settlement {
    fn settle(self) {
        for part in &self.parts {
            settle(&part.sale, part.id, part.sequence);
            part.sale.note_durable(part.sequence);
        }
        settle(&self.sale, self.id, self.sequence);
        self.sale.note_durable(self.sequence);
        if let Some(engine) = self.engine.upgrade() {
            for part in self.parts.iter().filter(|part| part.sequence == 1) {
                engine.sold.lock().push(Arc::clone(&part.sale));
            }
            if self.sequence == 1 && !self.sale.is_desk() {
                engine.sold.lock().push(Arc::clone(&self.sale));
            }
            announce_all(&engine, &self.sale, self.id, self.sequence, &self.parts);
        }
    }
}

/// The hold is sold.
pub(crate) fn settle(sale: &SaleInner, id: HoldId, sequence: u64) {
    sale.allocator.settle(id.slot, id.generation, sequence, home());
}

/// Tells who listens: of a basket, order by order.
pub(crate) fn announce_all(engine: &EngineInner, sale: &SaleInner, id: HoldId, sequence: u64, parts: &[SoldPart]) {
    if engine.hub.is_silent() {
        return;
    }
    let token = engine.token(sale, id);
    if sale.is_desk() {
        for part in parts {
            announce(engine, &part.sale, part.id.slot, token, part.sequence);
        }
    } else {
        announce(engine, sale, id.slot, token, sequence);
    }
}

fn announce(engine: &EngineInner, sale: &SaleInner, slot: u32, token: Token, sequence: u64) {
    let Share { buyer, quantity } = sale.allocator.share_of(slot);
    engine.publish(sale, EventKind::Confirmed { buyer, quantity, token, sequence });
    if sale.allocator.mark_sold_out() {
        engine.publish(sale, EventKind::SoldOut);
    }
}
