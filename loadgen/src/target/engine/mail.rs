//! Messages: read from the engine's outbox while the sale runs, so that a buyer has a link only once it was sent.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sellout::{Engine, Message, OpenError, Outbox};

use super::{failed, shop::Shop};
use crate::target::{DeliveredMessage, MessageKind, TargetError};

/// How long the postman rests when there is nothing to carry.
const REST: Duration = Duration::from_millis(2);

/// How many messages are carried at once.
const LOAD: usize = 4_096;

/// Carries the messages of one run.
pub(super) struct Postman {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<DeliveredMessage>, OpenError>>,
}

impl Postman {
    /// Sets out; `None` if there is no journal to read from.
    pub(super) fn start(engine: &Engine, shop: &Arc<Shop>) -> Result<Option<Self>, TargetError> {
        let Some(outbox) = engine.outbox().map_err(failed)? else { return Ok(None) };
        let ends = Arc::new(AtomicBool::new(false));
        let (flag, shop) = (Arc::clone(&ends), Arc::clone(shop));
        let carry = move || carry(outbox, &shop, &flag);
        let thread = thread::Builder::new().name("loadgen-postman".to_owned()).spawn(carry).map_err(failed)?;
        Ok(Some(Self { ends, thread }))
    }

    /// Carries what is left, and tells what was carried in all. Everything must be durable by now.
    pub(super) fn finish(self) -> Result<Vec<DeliveredMessage>, TargetError> {
        // Relaxed: what is left is read from the journal, not concluded from the flag.
        self.ends.store(true, Ordering::Relaxed);
        let carried =
            self.thread.join().map_err(|_| TargetError("the thread that carries messages died".to_owned()))?;
        carried.map_err(failed)
    }
}

fn carry(mut outbox: Outbox, shop: &Shop, ends: &AtomicBool) -> Result<Vec<DeliveredMessage>, OpenError> {
    let mut carried = Vec::new();
    let mut load = Vec::with_capacity(LOAD);
    loop {
        // Relaxed: see `finish`. Read before the outbox, so that nothing is left behind.
        let last = ends.load(Ordering::Relaxed);
        outbox.read(LOAD, &mut load)?;
        if load.is_empty() {
            if last {
                return Ok(carried);
            }
            thread::sleep(REST);
            continue;
        }
        let delivered = mem::take(&mut load);
        shop.sent(delivered.iter().filter_map(|message| match message.kind {
            sellout::MessageKind::PurchaseLink { invitation } => {
                Some((shop.place(&message.sale)?, buyer(message), invitation))
            }
            _ => None,
        }));
        carried.extend(delivered.iter().filter_map(|message| told(message, shop)));
    }
}

fn told(message: &Message, shop: &Shop) -> Option<DeliveredMessage> {
    let (kind, sequence) = match message.kind {
        sellout::MessageKind::Reminder => (MessageKind::Reminder, None),
        sellout::MessageKind::PurchaseLink { .. } => (MessageKind::PurchaseLink, None),
        sellout::MessageKind::Confirmation { sequence, .. } => (MessageKind::Confirmation, Some(sequence)),
        sellout::MessageKind::ShippingNotice { sequence } => (MessageKind::ShippingNotice, Some(sequence)),
        _ => return None,
    };
    let id = (u128::from(message.id.record) << 32) | u128::from(message.id.part);
    Some(DeliveredMessage { id, kind, sale: shop.place(&message.sale)?, buyer: buyer(message), sequence })
}

fn buyer(message: &Message) -> u64 {
    u64::try_from(message.buyer.as_u128()).unwrap_or(u64::MAX)
}
