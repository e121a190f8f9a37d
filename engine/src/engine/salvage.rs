//! Salvage: the orders of a damaged journal that can still be read, and what can't be.

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    reader::{Books, Sold},
    source::{Identity, SoldRecord},
};
use crate::journal::{self, Damage, OpenError, Piece, read_secret};

/// Everything that a damaged journal still tells of its orders: before the damage and behind it, in the order in which
/// they were decided, and between them what can't be read.
///
/// An order is shown only if its frame's checksum holds: it was sold. The orders of a sale are numbered 1, 2, 3 and so
/// on, so a gap between two of them says how many are lost, and which. What operators changed, refunds and holds may be
/// lost, too, and nothing tells which: so no engine opens such a journal, and there is no repair; the book's page
/// *Operations* says what to do with it.
///
/// It writes nothing. While it is there nobody can open the journal.
///
/// ```
/// use sellout::{Engine, Salvage, SaleSpec, Salvaged};
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("sales.journal");
/// let engine = Engine::open(&dir)?;
/// let sale = engine.create(SaleSpec::new("books", 200))?;
/// sale.reserve(7, 1)?.confirm(1_001)?.wait()?;
/// engine.close()?;
/// # drop(sale);
///
/// for piece in Salvage::open(&dir)? {
///     match piece? {
///         Salvaged::Order(sold) => println!("{}: order {} is there", sold.sale, sold.order.sequence),
///         Salvaged::Damage(damage) => println!("{:?} records are lost", damage.records),
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it reads as it is iterated over"]
pub struct Salvage {
    journal: journal::Salvage,
    books: Books,
    ready: VecDeque<Salvaged>,
}

/// What comes next in a damaged journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Salvaged {
    /// An order that can be read.
    Order(SalvagedOrder),
    /// Something that can't.
    Damage(Damage),
}

/// An order of a damaged journal, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvagedOrder {
    /// The name of its sale; if that is lost, `#` and the number of the sale.
    pub sale: String,
    /// The order. Its id is empty if what it is made of is lost.
    pub order: SoldRecord,
    /// The file that it stands in.
    pub file: PathBuf,
    /// Where its frame begins.
    pub offset: u64,
}

impl Salvage {
    /// The journal in `dir`, from its beginning.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if an engine has it open: what is being written looks like damage. Others if the folder or
    /// its files can't be read at all.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let journal = journal::Salvage::open(dir)?;
        match read_secret(dir) {
            Ok(secret) => Ok(Self::of(journal, Some(*secret.bytes()))),
            Err(error @ (OpenError::Corrupt { .. } | OpenError::NewerVersion { .. })) => {
                let mut salvage = Self::of(journal, None);
                salvage.ready.extend(Damage::of_file(&error).map(Salvaged::Damage));
                Ok(salvage)
            }
            Err(error) => Err(error),
        }
    }

    /// Whose journal it is, and in which opening, as far as it was read and can be told.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.books.identity(self.journal.engine_id()?)
    }

    /// The names of the sales that were told of so far, also of those without an order, in no order.
    pub fn sales(&self) -> impl Iterator<Item = &str> {
        self.books.sales()
    }

    /// The journal that is read by `journal`.
    pub(crate) fn of(journal: journal::Salvage, secret: Option<[u8; 32]>) -> Self {
        Self { journal, books: Books::new(secret), ready: VecDeque::new() }
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Damage(damage) => {
                if damage.records != Some(0) {
                    self.books.lose();
                }
                self.ready.push_back(Salvaged::Damage(damage));
            }
            Piece::Frame { file, offset, records } => {
                for record in &records {
                    let sold = self.books.take(record).map(|Sold { sale, name, order }| {
                        let sale = name.unwrap_or_else(|| format!("#{sale}"));
                        Salvaged::Order(SalvagedOrder { sale, order, file: file.clone(), offset })
                    });
                    self.ready.extend(sold);
                }
            }
        }
    }
}

impl Iterator for Salvage {
    type Item = Result<Salvaged, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(salvaged) = self.ready.pop_front() {
                return Some(Ok(salvaged));
            }
            match self.journal.next_piece() {
                Ok(Some(piece)) => self.take(piece),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl fmt::Debug for Salvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salvage").field("journal", &self.journal).finish_non_exhaustive()
    }
}
