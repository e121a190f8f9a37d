//! Units with a face: what is told of them, and how they are added.
//!
//! Which unit a hold has is the allocator's affair, which knows places 0, 1, 2, ..; here they get their faces.
//!
//! What holds: a unit's face never changes, and no two units of a sale have the same place, number or label. A unit
//! is fixed when its hold is made, stays with it when it is sold, and comes back as itself when the hold ends unsold.
//! A payment that comes late gets whatever unit is free.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    answers::{ChangeError, UnitsError},
    events::EventKind,
    late::Late,
    sale::{Hold, Sale, ended},
    settle::Settlement,
    state::SaleInner,
};
use crate::{
    core::{
        Token,
        allocator::{HoldId, Standing, Whereabouts},
        amounts::amounts,
    },
    journal::{Batch, Record},
    spec::{Amounts, SaleSpec, Units, check_labels, check_numbers},
};

/// Labels in one record: at most 66 bytes each.
const LABELS_TOGETHER: usize = 1 << 16;
/// Units in one record of units that were withdrawn.
const UNITS_TOGETHER: usize = 1 << 20;

/// One unit of a sale whose units can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Unit {
    /// Its place among the sale's units, from 0: what the journal calls it.
    pub number: u32,
    /// What its buyer sees.
    pub face: Face,
}

/// What tells a unit from the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Face {
    /// Its number.
    Number(u32),
    /// Its label: a seat, a serial, a coupon code.
    Label(Box<str>),
    /// What it is worth, in cents.
    Amount(u32),
}

/// Where the money of a sale of amounts is, in cents: counted unit by unit, from the free ones and from the holds.
///
/// Exact while nothing moves; while the sale runs, units are read one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FaceValue {
    /// What all amounts must add up to.
    pub budget: u64,
    /// Amounts that are free.
    pub free: u64,
    /// Amounts on hold, those being confirmed included.
    pub held: u64,
    /// Amounts sold.
    pub sold: u64,
}

impl FaceValue {
    /// Whether `budget == free + held + sold`.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.budget == self.free + self.held + self.sold
    }
}

/// The faces of one sale's units.
pub(crate) enum Faces {
    Numbered {
        first: u32,
    },
    /// One list for the units that the sale had at the start, and one for each addition.
    Listed(ArcSwap<Vec<Arc<[Box<str>]>>>),
    Amounts {
        budget: u64,
        amounts: Box<[u32]>,
    },
}

impl Faces {
    /// The faces of a sale by these rules; `None` if its units are alike.
    pub(crate) fn new(spec: &SaleSpec) -> Option<Box<Self>> {
        Some(Box::new(match &spec.units {
            Units::Alike => return None,
            Units::Numbered { first } => Self::Numbered { first: *first },
            Units::Listed(labels) => Self::Listed(ArcSwap::from_pointee(vec![Arc::clone(labels)])),
            Units::Amounts(Amounts { budget, floor, ceiling, seed }) => {
                Self::Amounts { budget: *budget, amounts: amounts(spec.stock, *budget, *floor, *ceiling, *seed) }
            }
        }))
    }

    fn face(&self, number: u32) -> Face {
        match self {
            Self::Numbered { first } => Face::Number(first + number),
            Self::Listed(lists) => {
                let (lists, mut place) = (lists.load(), number as usize);
                let list = lists.iter().find(|list| {
                    let here = place < list.len();
                    place -= if here { 0 } else { list.len() };
                    here
                });
                Face::Label(list.map(|list| list[place].clone()).expect("units are listed before they can be had"))
            }
            Self::Amounts { amounts, .. } => Face::Amount(amounts[number as usize]),
        }
    }

    /// Says whether `units` more can be added to `numbers`, with these labels.
    fn check_more(&self, numbers: u64, units: u32, labels: Option<&[Box<str>]>) -> Result<(), ChangeError> {
        match (self, labels) {
            (Self::Amounts { .. }, _) => Err(ChangeError::FixedBudget),
            (Self::Numbered { first }, None) => Ok(check_numbers(*first, numbers + u64::from(units))?),
            (Self::Numbered { .. }, Some(_)) => Err(ChangeError::NoLabels),
            (Self::Listed(_), None) => Err(ChangeError::NeedsLabels),
            (Self::Listed(lists), Some(new)) => {
                check_numbers(0, numbers + u64::from(units))?;
                Ok(check_labels(&lists.load(), new, units)?)
            }
        }
    }

    /// Adds the labels of further units, before they can be had.
    pub(crate) fn list(&self, labels: Arc<[Box<str>]>) {
        if let Self::Listed(lists) = self {
            let mut longer = Vec::clone(&lists.load());
            longer.push(labels);
            lists.store(Arc::new(longer));
        }
    }
}

/// Writes down the labels of units; what creates or adds the units stands behind them.
pub(super) fn write_labels(sale: u32, labels: &[Box<str>], batch: &mut Batch<'_, Settlement>) {
    for part in labels.chunks(LABELS_TOGETHER) {
        batch.push(&Record::UnitsListed { sale, labels: part.to_vec() });
    }
}

/// Writes down which units are withdrawn; that they are stands behind.
pub(super) fn write_withdrawn(sale: u32, units: &[u32], batch: &mut Batch<'_, Settlement>) {
    for part in units.chunks(UNITS_TOGETHER) {
        batch.push(&Record::UnitsWithdrawn { sale, units: part.to_vec() });
    }
}

impl Sale {
    /// The units that a hold or an order has: none if the sale's units are alike. Takes no lock while the hold lives.
    ///
    /// The token of an expired hold that was paid late, and for which another unit could be had, names that one.
    ///
    /// # Errors
    /// [`UnitsError`] if the token isn't this sale's, or the hold has ended unsold.
    ///
    /// ```
    /// use sellout::{Engine, Face, SaleSpec, Units};
    ///
    /// let seats = SaleSpec::new("seats", 40).cap(2).largest(2).units(Units::Numbered { first: 1 });
    /// let sale = Engine::in_memory().create(seats)?;
    /// let hold = sale.reserve(7, 2)?;
    /// let units = sale.units(&hold.token())?;
    /// assert_eq!((units.len(), &units[0].face), (2, &Face::Number(1)));
    /// assert_eq!(units, hold.units());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn units(&self, token: &Token) -> Result<Vec<Unit>, UnitsError> {
        let id = self.open_token(token)?;
        if let Some(units) = self.units_of(id) {
            return Ok(units);
        }
        let late = self.inner.late.lock().get(id);
        if let Some(Late::Reacquired(new)) = late
            && let Some(units) = self.units_of(new)
        {
            return Ok(units);
        }
        Err(UnitsError::Ended(ended(self.inner.allocator.standing(id))))
    }

    /// Every unit that the sale has ever had on offer, free or not, in the order of their numbers; none if its units
    /// are alike. For the shop's own lists and checks.
    pub fn all_units(&self) -> impl Iterator<Item = Unit> + '_ {
        let numbers = if self.inner.faces.is_some() { self.inner.allocator.numbers() } else { 0 };
        let unit = |number| self.inner.faces.as_ref().map(|faces| Unit { number, face: faces.face(number) });
        (0..numbers).filter_map(unit)
    }

    /// Where the money of a sale of [amounts](crate::Units::Amounts) is, counted now; `None` if it has no amounts.
    #[must_use]
    pub fn face_value(&self) -> Option<FaceValue> {
        let Some(Faces::Amounts { budget, amounts }) = self.inner.faces.as_deref() else { return None };
        let mut value = FaceValue { budget: *budget, ..FaceValue::default() };
        self.inner.allocator.each_unit(|whereabouts, number| {
            let sum = match whereabouts {
                Whereabouts::Free => &mut value.free,
                Whereabouts::Held => &mut value.held,
                Whereabouts::Sold => &mut value.sold,
            };
            *sum += u64::from(amounts[number as usize]);
        });
        Some(value)
    }

    /// Puts further units on sale, where they are [listed](crate::Units::Listed): one for each of `labels`. Durable
    /// when it answers.
    ///
    /// # Errors
    /// [`ChangeError`] if a label isn't proper or is there already, or as [`Sale::add_stock`].
    pub fn add_listed(&self, labels: impl IntoIterator<Item = impl Into<Box<str>>>) -> Result<(), ChangeError> {
        let labels: Arc<[Box<str>]> = labels.into_iter().map(Into::into).collect();
        let units = u32::try_from(labels.len()).unwrap_or(u32::MAX);
        if self.engine.add_stock(&self.inner, units, Some(labels))? {
            self.publish(EventKind::Restocked);
        }
        Ok(())
    }

    fn units_of(&self, id: HoldId) -> Option<Vec<Unit>> {
        // A hold that was lost in a crash had the generation of the next one, but not its key epoch.
        if matches!(self.inner.allocator.standing(id), Standing::Ended(_) | Standing::Gone) {
            return None;
        }
        self.inner.units_at(id.slot, id.generation)
    }
}

impl SaleInner {
    /// The units of the slot's hold of that generation; `None` if it has ended unsold.
    pub(super) fn units_at(&self, slot: u32, generation: u32) -> Option<Vec<Unit>> {
        let numbers = self.allocator.units_of(slot, generation)?;
        let Some(faces) = &self.faces else { return Some(Vec::new()) };
        Some(numbers.into_iter().map(|number| Unit { number, face: faces.face(number) }).collect())
    }

    /// Whether `units` more may have the faces that they would have. Under `admin`.
    pub(super) fn check_more(&self, added: u64, units: u32, labels: Option<&[Box<str>]>) -> Result<(), ChangeError> {
        match &self.faces {
            Some(faces) => faces.check_more(u64::from(self.spec.stock) + added, units, labels),
            None if labels.is_some() => Err(ChangeError::NoLabels),
            None => Ok(()),
        }
    }

    /// Whether units may be taken off sale.
    pub(super) fn check_withdrawal(&self) -> Result<(), ChangeError> {
        match self.faces.as_deref() {
            Some(Faces::Amounts { .. }) => Err(ChangeError::FixedBudget),
            _ => Ok(()),
        }
    }
}

impl Hold<'_> {
    /// The units that it has: none if the sale's units are alike, or if the hold has ended since.
    ///
    /// They are fixed, and stay the same when the hold is sold. If it ends unsold they come back as themselves.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        self.sale.units_of(self.id).unwrap_or_default()
    }
}
