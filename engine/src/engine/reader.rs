//! The reader: a journal's orders, without opening an engine on it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    baskets,
    orders::{Order, global},
    source::{Identity, SoldRecord},
    state::Extent,
};
use crate::{
    core::{
        allocator::HoldId,
        token::{EPOCHS, Fields, Token, TokenKeys},
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
    books: Books,
    frame: Vec<Record>,
    ready: VecDeque<(String, SoldRecord)>,
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

    /// Whose journal it is, and in which opening, as far as it was read.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.books.identity(self.tail.engine_id()?)
    }

    /// The journal of `tail`, from where it stands.
    pub(crate) fn of(tail: Tail, secret: [u8; 32]) -> Self {
        Self { tail, books: Books::new(Some(secret)), frame: Vec::new(), ready: VecDeque::new() }
    }
}

impl Iterator for JournalReader {
    type Item = Result<(String, SoldRecord), OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(sold) = self.ready.pop_front() {
                return Some(Ok(sold));
            }
            match self.tail.next_frame(None, &mut self.frame) {
                Ok(true) => {
                    for record in &self.frame {
                        let sold = self.books.take(record);
                        self.ready.extend(sold.filter_map(|Sold { name, order, .. }| Some((name?, order))));
                    }
                }
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl fmt::Debug for JournalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReader").field("tail", &self.tail).finish_non_exhaustive()
    }
}

/// What orders are called: the names of sales, and what tokens are made of.
///
/// What holds: a name or an id that it tells is the one that the engine would tell. What rests on records that were
/// lost is not told.
pub(super) struct Books {
    secret: Option<Zeroizing<[u8; 32]>>,
    /// The incarnation of each opening; none of those that were lost.
    openings: Vec<Option<u64>>,
    keys: Option<TokenKeys>,
    sales: HashMap<u32, Outline>,
    /// Whether records were lost.
    lossy: bool,
}

/// What a token needs of a sale.
struct Outline {
    name: String,
    extents: Vec<Extent>,
}

/// An order, by the number of its sale and by what is known of its name.
pub(super) struct Sold {
    pub(super) sale: u32,
    pub(super) name: Option<String>,
    /// Its id is empty if it can't be told.
    pub(super) order: SoldRecord,
}

impl Books {
    /// Before the first record. Without a secret no order has an id.
    pub(super) fn new(secret: Option<[u8; 32]>) -> Self {
        let secret = secret.map(Zeroizing::new);
        Self { secret, openings: Vec::new(), keys: None, sales: HashMap::new(), lossy: false }
    }

    /// The last opening that was told of.
    pub(super) fn identity(&self, engine: u64) -> Option<Identity> {
        let epoch = u32::try_from(self.openings.len()).ok()?;
        Some(Identity::new(engine, epoch, self.openings.last().copied()??))
    }

    /// The sales whose names were told, without that of all baskets.
    pub(super) fn sales(&self) -> impl Iterator<Item = &str> {
        self.sales.values().map(|outline| outline.name.as_str()).filter(|name| *name != baskets::NAME)
    }

    /// Records were lost here.
    pub(super) fn lose(&mut self) {
        self.lossy = true;
    }

    /// Takes the next record; gives the orders in it.
    pub(super) fn take<'a>(&'a mut self, record: &'a Record) -> impl Iterator<Item = Sold> + 'a {
        match record {
            Record::Opened { epoch, incarnation, .. } => self.opened(*epoch, *incarnation),
            Record::SaleCreated { sale, base, slots, spec, .. } => {
                let extents = vec![Extent { base: *base, first: 0, length: *slots }];
                self.sales.insert(*sale, Outline { name: spec.name.clone(), extents });
            }
            // Its first slot is the one behind the last of those before, of which some may be lost.
            Record::SaleChanged { sale, change: Change::Extent { base, slots }, .. } if !self.lossy => {
                if let Some(outline) = self.sales.get_mut(sale) {
                    let first = outline.extents.last().map_or(0, |last| last.first + last.length);
                    outline.extents.push(Extent { base: *base, first, length: *slots });
                }
            }
            _ => {}
        }
        Order::all_in(record).map(|order| self.sold(&order))
    }

    fn opened(&mut self, epoch: u32, incarnation: u64) {
        if self.lossy {
            // Older ones are never looked for.
            let lost = (epoch as usize).saturating_sub(1 + self.openings.len());
            let lost = if lost > EPOCHS { EPOCHS + lost % EPOCHS } else { lost };
            self.openings.extend(std::iter::repeat_n(None, lost));
        }
        self.openings.push(Some(incarnation));
        let incarnations = self.openings.iter().map(|opening| opening.unwrap_or_default()).collect();
        self.keys = self.secret.as_deref().map(|secret| TokenKeys::new(*secret, incarnations));
    }

    fn sold(&self, order: &Order) -> Sold {
        let Order { sale, sequence, buyer, quantity, payment, at, .. } = *order;
        let id = order.id(|sale, hold| self.token(sale, hold).ok_or(()));
        let order = SoldRecord::new(sequence, buyer, quantity, payment, at, id.unwrap_or_default());
        Sold { sale, name: self.sales.get(&sale).map(|outline| outline.name.clone()), order }
    }

    fn token(&self, sale: u32, HoldId { slot, generation, key_epoch }: HoldId) -> Option<Token> {
        let keys = self.keys.as_ref()?;
        let opening = self.openings.len().checked_sub(1 + keys.age(key_epoch));
        if self.lossy && opening.and_then(|opening| self.openings[opening]).is_none() {
            return None;
        }
        let slot = global(&self.sales.get(&sale)?.extents, slot)?;
        Some(keys.seal(Fields { key_epoch, generation, slot }))
    }
}
