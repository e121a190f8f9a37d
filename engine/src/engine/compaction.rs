//! Compaction: the journal without what has passed.
//!
//! What holds: of everything that the engine reads from its journal nothing changes. Orders, refunds, what operators
//! did, who registered, announcements and shipping stay as they were written, under their numbers, so messages keep
//! their ids and Redis can be filled again. What is dropped is holds and their ends, and places on waitlists; what they
//! have left behind is carried (`recovery::carried`).
//!
//! Nobody has to believe that: before the new file takes the place of the old ones it is read, and replayed, and must
//! tell what they tell. If it doesn't, they stay.

use std::{collections::HashMap, hash::Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

use super::{Engine, inner::EngineInner, recovery::Recovery};
use crate::journal::{Carried, CompactError, Compacted, DetailRecord, Record, Rewrite};

impl Engine {
    /// Rewrites the journal without what has passed: holds that have ended, and waiting that is over. `None` without a
    /// journal.
    ///
    /// It blocks for as long as it takes to read the journal twice and to write and read what stays, while the sale
    /// goes on; it takes about as much memory as recovery does, twice, and as much room on the disk as what stays.
    /// [`JournalStats::compaction_due`](crate::JournalStats::compaction_due) says whether it is worth that. A
    /// [driver](Engine::drive) calls it then, on a thread of its own.
    ///
    /// # Errors
    /// [`CompactError`]: nothing was lost, and the sale goes on. Of two at once, the second is refused.
    ///
    /// ```
    /// use sellout::{Engine, SaleSpec};
    /// # let folder = tempfile::tempdir()?;
    /// # let dir = folder.path().join("sales.journal");
    /// let engine = Engine::open(&dir)?;
    /// engine.create(SaleSpec::new("books", 200))?;
    /// let compacted = engine.compact()?.expect("there is a journal");
    /// assert_eq!(compacted.segments, 0, "its first segment isn't full yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self) -> Result<Option<Compacted>, CompactError> {
        self.inner.compact(&|| true)
    }
}

impl EngineInner {
    /// Compacts the journal, for as long as `goes_on` says so.
    pub(super) fn compact(&self, goes_on: &dyn Fn() -> bool) -> Result<Option<Compacted>, CompactError> {
        let Some(journal) = &self.journal else { return Ok(None) };
        journal.rewrite(&mut Rewriter::new(goes_on)).map(Some)
    }
}

/// What the engine learns from a journal: how everything is, and every record that stays for ever.
#[derive(Default)]
pub(super) struct Learnt {
    pub(super) recovery: Recovery,
    stays: SipHasher24,
    scratch: Vec<u8>,
}

impl Learnt {
    pub(super) fn take(&mut self, number: u64, record: Record) -> Result<(), String> {
        if !record.passes() {
            self.scratch.clear();
            record.encode(&mut self.scratch);
            self.stays.write_u64(number);
            self.stays.write_usize(self.scratch.len());
            self.stays.write(&self.scratch);
        }
        self.recovery.replay(record)
    }

    fn difference(&self, other: &Self) -> Option<String> {
        let stays = |learnt: &Self| learnt.stays.finish128().as_u128();
        if stays(self) != stays(other) {
            return Some("a record that stays for ever".to_owned());
        }
        self.recovery.difference(&other.recovery)
    }
}

/// The generation told last, and the places of the last records that told its key and its units.
type ToldLast = (u32, [Option<u64>; 2]);

/// The details that stand before orders, and stay with them.
#[derive(Default)]
struct Details {
    /// By sale and slot.
    last: HashMap<(u32, u32), ToldLast>,
    /// Places among all records that were read, rising once they are sorted.
    stay: Vec<u64>,
}

impl Details {
    fn look(&mut self, place: u64, record: &Record) {
        match record {
            Record::Detail(detail) | Record::Carried { carried: Carried::Detail(detail), .. } => {
                let DetailRecord { sale, slot, generation, key, units } = detail;
                let last = self.last.entry((*sale, *slot)).or_default();
                if last.0 != *generation {
                    *last = (*generation, [None; 2]);
                }
                for (last, told) in last.1.iter_mut().zip([key.is_some(), !units.is_empty()]) {
                    *last = if told { Some(place) } else { *last };
                }
            }
            Record::Confirmed(order) => self.order(order.sale, order.slot, order.generation),
            Record::BasketConfirmed(order) => {
                self.order(order.sale, order.hold.slot, order.hold.generation);
                for (part, _) in &order.parts {
                    self.order(part.line.sale, part.slot, part.generation);
                }
            }
            _ => {}
        }
    }

    fn order(&mut self, sale: u32, slot: u32, generation: u32) {
        if let Some((told, places)) = self.last.remove(&(sale, slot))
            && told == generation
        {
            self.stay.extend(places.into_iter().flatten());
        }
    }
}

/// Decides what stays, and sees to it that nothing is lost.
pub(super) struct Rewriter<'a> {
    goes_on: &'a dyn Fn() -> bool,
    old: Learnt,
    new: Learnt,
    details: Details,
    /// How many records were read, and how many of them were asked about.
    read: u64,
    asked: u64,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(goes_on: &'a dyn Fn() -> bool) -> Self {
        let (old, new) = (Learnt::default(), Learnt::default());
        Self { goes_on, old, new, details: Details::default(), read: 0, asked: 0 }
    }
}

impl Rewrite for Rewriter<'_> {
    fn read(&mut self, number: u64, record: Record) -> Result<(), String> {
        self.details.look(self.read, &record);
        self.read += 1;
        self.old.take(number, record)
    }

    fn read_all(&mut self) {
        self.details.last.clear();
        self.details.stay.sort_unstable();
        self.old.recovery.settle();
    }

    fn stays(&mut self, record: &Record) -> bool {
        let place = self.asked;
        self.asked += 1;
        !record.passes() || self.details.stay.binary_search(&place).is_ok()
    }

    fn carried(&self) -> impl Iterator<Item = Record> {
        self.old.recovery.carry()
    }

    fn verify(&mut self, number: u64, record: Record) -> Result<(), String> {
        self.new.take(number, record)
    }

    fn verified(&mut self) -> Result<(), String> {
        self.new.recovery.settle();
        self.old.difference(&self.new).map_or(Ok(()), Err)
    }

    fn goes_on(&self) -> bool {
        (self.goes_on)()
    }
}
