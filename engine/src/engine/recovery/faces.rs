//! Units with a face, as the journal has them: which unit each hold has, and which are withdrawn.
//!
//! A hold's units are told by a record before its own, again each time that the hold is told; the last one counts.
//! What is not in a living hold and not withdrawn is free.
//!
//! What holds: every living hold of such a sale has as many units as its quantity says, and no unit is in two holds,
//! or in a hold and withdrawn: all else is a contradiction. Within an append a unit's next hold may be told before
//! the end of its last one, so this is looked at when all records are told.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    journal::Change,
    spec::{SaleSpec, Units},
};

/// Labels and units whose record is told, and what they are for is not: a process that ends in between leaves them
/// for nothing.
#[derive(Default, PartialEq)]
pub(super) struct Unfinished {
    labels: BTreeMap<u32, Vec<Box<str>>>,
    withdrawn: BTreeMap<u32, Vec<u32>>,
}

impl Unfinished {
    pub(super) fn listed(&mut self, sale: u32, labels: Vec<Box<str>>) {
        self.labels.entry(sale).or_default().extend(labels);
    }

    pub(super) fn withdrawn(&mut self, sale: u32, units: Vec<u32>) {
        self.withdrawn.entry(sale).or_default().extend(units);
    }

    /// The journal was opened again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The labels of a sale that is created, put into its rules.
    pub(super) fn complete(&mut self, sale: u32, spec: &mut SaleSpec) -> Result<(), String> {
        let labels = self.labels.remove(&sale);
        match (&mut spec.units, labels) {
            (Units::Listed(listed), Some(labels)) => *listed = labels.into(),
            (_, None) => {}
            (_, Some(_)) => return Err(format!("{}: labels for units that have none", spec.name)),
        }
        spec.units.check(spec.stock).map_err(|error| format!("{}: {error}", spec.name))
    }
}

/// The units of one hold. Most holds have one.
#[derive(PartialEq)]
enum Few {
    One(u32),
    Many(Box<[u32]>),
}

impl Few {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(unit) => std::slice::from_ref(unit),
            Self::Many(units) => units,
        }
    }
}

/// What the records have told of one sale's units.
#[derive(Default, PartialEq)]
pub(super) struct Told {
    /// By slot: the generation that was told last, and its units.
    holds: Vec<(u32, Few)>,
    withdrawn: Vec<u32>,
    /// The labels of units that were added, addition by addition.
    pub(super) labels: Vec<Arc<[Box<str>]>>,
}

impl Told {
    /// The slot's hold of that generation has these units.
    pub(super) fn hold(&mut self, slot: u32, generation: u32, units: Vec<u32>) {
        let index = slot as usize;
        while self.holds.len() <= index {
            self.holds.push((0, Few::Many([].into())));
        }
        let units = if let [unit] = units[..] { Few::One(unit) } else { Few::Many(units.into()) };
        self.holds[index] = (generation, units);
    }

    /// The units of the slot's hold of that generation.
    pub(super) fn of(&self, slot: u32, generation: u32) -> &[u32] {
        match self.holds.get(slot as usize) {
            Some((told, units)) if *told == generation => units.as_slice(),
            _ => &[],
        }
    }

    /// Forgets the units of generations below that of their slot: nothing can come of them.
    pub(super) fn settle(&mut self, generation: impl Fn(u32) -> u32) {
        for (slot, (told, units)) in (0..).zip(&mut self.holds) {
            if *told < generation(slot) {
                (*told, *units) = (0, Few::Many([].into()));
            }
        }
        let is_told = |(_, units): &(u32, Few)| !units.as_slice().is_empty();
        self.holds.truncate(self.holds.iter().rposition(is_told).map_or(0, |last| last + 1));
    }

    /// Every hold that was told last in its slot: slot, generation and units.
    pub(super) fn told(&self) -> impl Iterator<Item = (u32, u32, &[u32])> {
        let told = (0..).zip(&self.holds).map(|(slot, (generation, units))| (slot, *generation, units.as_slice()));
        told.filter(|(.., units)| !units.is_empty())
    }

    /// The sale was changed: what that needs was told before.
    pub(super) fn change(
        &mut self,
        spec: &SaleSpec,
        sale: u32,
        change: Change,
        unfinished: &mut Unfinished,
    ) -> Result<(), String> {
        let named = |result: Option<()>, what: &str| result.ok_or_else(|| format!("sale {sale}: {what}"));
        match change {
            Change::Added { units } => {
                let labels = unfinished.labels.remove(&sale).unwrap_or_default();
                let needed = if matches!(spec.units, Units::Listed(_)) { units as usize } else { 0 };
                named((labels.len() == needed).then_some(()), "units are added without their labels")?;
                if needed > 0 {
                    self.labels.push(labels.into());
                }
                let fixed = matches!(spec.units, Units::Amounts(_));
                named((!fixed).then_some(()), "units are added to amounts that add up")
            }
            Change::Withdrawn { units } => {
                let withdrawn = unfinished.withdrawn.remove(&sale).unwrap_or_default();
                let needed = if spec.units == Units::Alike { 0 } else { units as usize };
                named((withdrawn.len() == needed).then_some(()), "nothing says which units are withdrawn")?;
                self.withdrawn.extend(withdrawn);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Marks the units that the `living` holds have and those that are withdrawn, of `numbers`.
    pub(super) fn marks(&self, numbers: u64, living: impl Iterator<Item = (u32, u32)>) -> Result<Marks, String> {
        let mut marks = Marks { numbers, words: Vec::new() };
        for (slot, generation) in living {
            for &unit in self.of(slot, generation) {
                marks.mark(unit)?;
            }
        }
        for &unit in &self.withdrawn {
            marks.mark(unit)?;
        }
        Ok(marks)
    }
}

/// Units that are not free, a bit each.
pub(super) struct Marks {
    numbers: u64,
    words: Vec<u64>,
}

impl Marks {
    fn mark(&mut self, unit: u32) -> Result<(), String> {
        if u64::from(unit) >= self.numbers {
            return Err(format!("unit {unit} of {}", self.numbers));
        }
        let index = unit as usize / 64;
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let bit = 1 << (unit % 64);
        if self.words[index] & bit != 0 {
            return Err(format!("unit {unit} is in two holds, or withdrawn as well"));
        }
        self.words[index] |= bit;
        Ok(())
    }

    /// From which unit on all are free, and no hold is known to have had one.
    pub(super) fn fresh(&self) -> u32 {
        let last = self.words.iter().rposition(|word| *word != 0);
        let end = last.map_or(0, |at| at as u64 * 64 + u64::from(64 - self.words[at].leading_zeros()));
        u32::try_from(end.min(self.numbers)).expect("units are u32")
    }

    /// The units below `fresh` that are free, the highest first: what is put back last is taken first.
    pub(super) fn free(&self) -> impl Iterator<Item = u32> {
        let is_free = |unit: &u32| self.words[*unit as usize / 64] & (1 << (unit % 64)) == 0;
        (0..self.fresh()).rev().filter(is_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_living_hold_has_is_free() {
        let mut told = Told::default();
        told.hold(3, 7, vec![64, 2]);
        told.hold(1, 0, vec![5]);
        told.hold(3, 8, vec![66]);
        told.withdrawn.push(0);
        assert_eq!((told.of(3, 7), told.of(3, 8), told.of(9, 0)), (&[][..], &[66][..], &[][..]));
        let marks = told.marks(70, [(3, 8), (1, 0)].into_iter()).unwrap();
        assert_eq!(marks.fresh(), 67);
        let expected: Vec<u32> = (0..67).rev().filter(|unit| ![0, 5, 66].contains(unit)).collect();
        assert_eq!(marks.free().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_unit_in_two_places_is_a_contradiction() {
        let mut told = Told::default();
        told.hold(0, 0, vec![4]);
        told.hold(1, 0, vec![4]);
        assert!(told.marks(9, [(0, 0), (1, 1)].into_iter()).is_ok(), "the second hold has ended");
        assert!(told.marks(9, [(0, 0), (1, 0)].into_iter()).is_err());
        assert!(told.marks(4, [(0, 0)].into_iter()).is_err(), "there is no such unit");
        told.withdrawn.push(4);
        assert!(told.marks(9, [(0, 0)].into_iter()).is_err());
    }
}
