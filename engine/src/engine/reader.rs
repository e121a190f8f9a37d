//! The reader: a journal's orders, without opening an engine on it.

use std::{collections::VecDeque, fmt, path::Path};

use zeroize::Zeroizing;

use super::{
    orders::{Order, global},
    source::SoldRecord,
    state::Extent,
};
use crate::{
    core::{
        allocator::HoldId,
        token::{Fields, TokenKeys},
    },
    journal::{Change, OpenError, Record, Tail, read_secret},
};

/// Every order in a journal, in the order in which they were decided, with the name of its sale.
///
/// For audits of a journal at rest, also of a copy: it takes no lock, writes nothing, and needs memory for one batch.
///
/// ```
/// use sellout::{Engine, JournalReader, SaleSpec};
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("sales.journal");
/// let engine = Engine::open(&dir)?;
/// let sale = engine.create(SaleSpec::new("books", 200))?;
/// sale.reserve(7, 1)?.confirm(1_001)?.wait()?;
///
/// let orders: Vec<_> = JournalReader::open(&dir)?.collect::<Result<_, _>>()?;
/// assert_eq!((orders[0].0.as_str(), orders[0].1.sequence), ("books", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it reads as it is iterated over"]
pub struct JournalReader {
    tail: Tail,
    secret: Zeroizing<[u8; 32]>,
    incarnations: Vec<u64>,
    keys: Option<TokenKeys>,
    sales: Vec<Outline>,
    frame: Vec<Record>,
    ready: VecDeque<(String, SoldRecord)>,
}

/// What a token needs of a sale.
struct Outline {
    name: String,
    extents: Vec<Extent>,
}

impl JournalReader {
    /// The journal in `dir`, from its beginning.
    ///
    /// # Errors
    /// [`OpenError`] if there is no journal, or it can't be read here.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        Ok(Self::of(Tail::open(dir)?, *read_secret(dir)?.bytes()))
    }

    /// The journal of `tail`, from where it stands.
    pub(crate) fn of(tail: Tail, secret: [u8; 32]) -> Self {
        Self {
            tail,
            secret: Zeroizing::new(secret),
            incarnations: Vec::new(),
            keys: None,
            sales: Vec::new(),
            frame: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    fn take(&mut self, record: &Record) {
        match record {
            Record::Opened { incarnation, .. } => {
                self.incarnations.push(*incarnation);
                self.keys = Some(TokenKeys::new(*self.secret, self.incarnations.clone()));
            }
            Record::SaleCreated { base, slots, spec, .. } => {
                self.sales.push(Outline {
                    name: spec.name.clone(),
                    extents: vec![Extent { base: *base, first: 0, length: *slots }],
                });
            }
            Record::SaleChanged { sale, change: Change::Extent { base, slots }, .. } => {
                if let Some(outline) = self.sales.get_mut(*sale as usize) {
                    let first = outline.extents.last().map_or(0, |last| last.first + last.length);
                    outline.extents.push(Extent { base: *base, first, length: *slots });
                }
            }
            record => {
                let sold: Vec<_> = Order::all_in(record).filter_map(|order| self.sold(&order)).collect();
                self.ready.extend(sold);
            }
        }
    }

    fn sold(&self, order: &Order) -> Option<(String, SoldRecord)> {
        let Order { sale, sequence, buyer, quantity, payment, at, .. } = *order;
        let id = order.id(|sale, HoldId { slot, generation, key_epoch }| {
            let slot = self.sales.get(sale as usize).and_then(|outline| global(&outline.extents, slot)).ok_or(())?;
            Ok::<_, ()>(self.keys.as_ref().ok_or(())?.seal(Fields { key_epoch, generation, slot }))
        });
        let sold = SoldRecord::new(sequence, buyer, quantity, payment, at, id.ok()?);
        Some((self.sales.get(sale as usize)?.name.clone(), sold))
    }
}

impl Iterator for JournalReader {
    type Item = Result<(String, SoldRecord), OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(sold) = self.ready.pop_front() {
                return Some(Ok(sold));
            }
            let mut frame = std::mem::take(&mut self.frame);
            match self.tail.next_frame(None, &mut frame) {
                Ok(true) => frame.iter().for_each(|record| self.take(record)),
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
            self.frame = frame;
        }
    }
}

impl fmt::Debug for JournalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReader").field("tail", &self.tail).finish_non_exhaustive()
    }
}
