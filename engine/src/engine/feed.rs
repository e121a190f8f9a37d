//! The feed: an engine's durable orders, read back from its journal for delivery.
//!
//! Nothing is kept for a sink that is away: the backlog is in the journal. One reader goes forward through it for
//! all sales and keeps what it meets for the others, up to a bound; who needs what was dropped, or asks again from
//! further back, is served by a second reader that starts where an index says.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    inner::EngineInner,
    orders::Order,
    source::{Identity, SaleHead, SoldRecord, Source},
    state::SaleInner,
};
use crate::journal::{OpenError, Position, Record, Tail};

/// Orders kept for all sales together.
const KEPT: usize = if cfg!(test) { 1 << 6 } else { 1 << 16 };
/// Orders between two places in a sale's index.
const APART: u64 = if cfg!(test) { 16 } else { 512 };

/// What the readers know of one sale.
#[derive(Default)]
struct Shelf {
    /// Orders in sequence, without a gap.
    kept: VecDeque<Order>,
    /// The last order that the forward reader has met.
    met: u64,
    /// The first order of a frame, and where that frame starts.
    index: Vec<(u64, Position)>,
}

struct Readers {
    forward: Tail,
    frame: Vec<Record>,
    by_sale: HashMap<u32, Shelf>,
    kept: usize,
}

/// An engine's durable orders. Made by [`Engine::source`](crate::Engine::source).
pub(crate) struct Feed {
    engine: Arc<EngineInner>,
    readers: Mutex<Readers>,
}

impl Feed {
    pub(crate) fn open(engine: &Arc<EngineInner>) -> Result<Option<Self>, OpenError> {
        let Some(journal) = &engine.journal else { return Ok(None) };
        let forward = journal.tail()?;
        let readers = Readers { forward, frame: Vec::new(), by_sale: HashMap::new(), kept: 0 };
        Ok(Some(Self { engine: Arc::clone(engine), readers: Mutex::new(readers) }))
    }

    fn record(&self, order: &Order) -> SoldRecord {
        let Order { sequence, buyer, quantity, payment, at, .. } = *order;
        let id = order.id(|sale, hold| {
            let sale = Arc::clone(&self.engine.catalogue.read().sales[sale as usize]);
            Ok::<_, std::convert::Infallible>(self.engine.token(&sale, hold))
        });
        let Ok(id) = id;
        SoldRecord::new(sequence, buyer, quantity, payment, at, id)
    }

    fn orders(&self, sale: &SaleInner, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), OpenError> {
        let Some(journal) = &self.engine.journal else { return Ok(()) };
        let durable = journal.durable();
        let mut readers = self.readers.lock();
        loop {
            let readers = &mut *readers;
            let shelf = readers.by_sale.entry(sale.number).or_default();
            while shelf.kept.front().is_some_and(|order| order.sequence <= after) {
                shelf.kept.pop_front();
                readers.kept -= 1;
            }
            if shelf.kept.front().is_some_and(|order| order.sequence == after + 1) {
                out.extend(shelf.kept.iter().take(limit).map(|order| self.record(order)));
                return Ok(());
            }
            if shelf.met > after {
                let from = shelf.index.partition_point(|(first, _)| *first <= after + 1);
                let Some((_, place)) = from.checked_sub(1).and_then(|at| shelf.index.get(at)) else { return Ok(()) };
                return self.again(sale, *place, (after, shelf.met), limit, out);
            }
            if !readers.advance(durable)? {
                return Ok(());
            }
        }
    }

    /// Reads from an earlier place, for one sale: what is beyond `after`, up to `met`, which is there. Behind that may
    /// lie whatever the other sales have sold since.
    fn again(
        &self,
        sale: &SaleInner,
        place: Position,
        (after, met): (u64, u64),
        limit: usize,
        out: &mut Vec<SoldRecord>,
    ) -> Result<(), OpenError> {
        let Some(journal) = &self.engine.journal else { return Ok(()) };
        let mut tail = journal.tail()?;
        tail.rewind(place);
        let there = usize::try_from(met - after).unwrap_or(usize::MAX);
        let (mut frame, wanted) = (Vec::new(), out.len() + limit.min(there));
        while out.len() < wanted && tail.next_frame(Some(journal.durable()), &mut frame)? {
            for order in frame.iter().flat_map(Order::all_in) {
                if order.sale == sale.number && order.sequence > after && out.len() < wanted {
                    out.push(self.record(&order));
                }
            }
        }
        Ok(())
    }
}

impl Readers {
    /// Reads one more frame, for all sales; false at the end.
    fn advance(&mut self, durable: crate::journal::Lsn) -> Result<bool, OpenError> {
        let place = self.forward.position();
        if !self.forward.next_frame(Some(durable), &mut self.frame)? {
            return Ok(false);
        }
        for order in self.frame.iter().flat_map(Order::all_in) {
            let shelf = self.by_sale.entry(order.sale).or_default();
            if shelf.index.last().is_none_or(|(first, _)| order.sequence >= first + APART) {
                shelf.index.push((order.sequence, place));
            }
            shelf.met = order.sequence;
            let follows = shelf.kept.back().is_none_or(|last| last.sequence + 1 == order.sequence);
            if follows && self.kept < KEPT {
                shelf.kept.push_back(order);
                self.kept += 1;
            }
        }
        Ok(true)
    }
}

impl Source for Feed {
    fn identity(&self) -> Identity {
        self.engine.identity()
    }

    fn sales(&self) -> Vec<SaleHead> {
        let catalogue = self.engine.catalogue.read();
        catalogue
            .sales
            .iter()
            .filter(|sale| !sale.is_desk())
            .map(|sale| SaleHead::new(&*sale.name, sale.durable_sequence()))
            .collect()
    }

    fn sold(&self) -> Vec<SaleHead> {
        let sold = self.engine.sold.lock();
        sold.iter().map(|sale| SaleHead::new(&*sale.name, sale.durable_sequence())).collect()
    }

    fn read(&self, sale: &str, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), String> {
        let Some(sale) = self.engine.sale(sale) else { return Err(format!("no sale is called {sale:?}")) };
        self.orders(&sale, after, limit, out).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("engine", &self.engine).finish_non_exhaustive()
    }
}
