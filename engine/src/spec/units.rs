//! The faces of a sale's units: which of them can be had.

use std::{collections::HashSet, sync::Arc};

use super::{Amounts, Units};

/// The longest label, in bytes.
const LONGEST_LABEL: usize = 64;

/// Why units can't have these faces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaceError {
    /// There are more or fewer labels than units.
    #[error("{labels} labels for {units} units: give each unit one")]
    Labels {
        /// Labels as given.
        labels: usize,
        /// Units that need one.
        units: u32,
    },
    /// A label is empty or too long.
    #[error("label {label:?}: use 1 to 64 bytes")]
    Label {
        /// The label as given.
        label: String,
    },
    /// Two units would have the same label.
    #[error("label {label:?} is there twice: give each unit its own")]
    LabelTwice {
        /// The label.
        label: String,
    },
    /// The last unit's number would be too large.
    #[error("numbers from {first} on for {units} units end beyond {}: begin lower", u32::MAX)]
    Numbers {
        /// The first unit's number.
        first: u32,
        /// How many units there would be, those that were withdrawn included.
        units: u64,
    },
    /// The amounts can't add up to the budget within their bounds.
    #[error(
        "{units} amounts of {floor} to {ceiling} can't add up to {budget}: use a budget from the floor to the ceiling \
         for each, and a ceiling of at least 1 and the floor"
    )]
    Amounts {
        /// How many amounts there would be.
        units: u32,
        /// The budget as given, in cents.
        budget: u64,
        /// The floor as given, in cents.
        floor: u32,
        /// The ceiling as given, in cents.
        ceiling: u32,
    },
}

impl Units {
    /// Says whether `stock` units can have these faces.
    pub(crate) fn check(&self, stock: u32) -> Result<(), FaceError> {
        match self {
            Self::Alike => Ok(()),
            Self::Numbered { first } => check_numbers(*first, u64::from(stock)),
            Self::Listed(labels) => check_labels(&[], labels, stock),
            Self::Amounts(Amounts { budget, floor, ceiling, .. }) => {
                let all = |amount: u32| u64::from(amount) * u64::from(stock);
                if *ceiling == 0 || floor > ceiling || !(all(*floor)..=all(*ceiling)).contains(budget) {
                    let (budget, floor, ceiling) = (*budget, *floor, *ceiling);
                    return Err(FaceError::Amounts { units: stock, budget, floor, ceiling });
                }
                Ok(())
            }
        }
    }
}

/// Numbers from `first` on: `units` of them. Places, from 0, are numbers too.
pub(crate) fn check_numbers(first: u32, units: u64) -> Result<(), FaceError> {
    let numbers = u64::from(u32::MAX) - u64::from(first);
    if units > numbers { Err(FaceError::Numbers { first, units }) } else { Ok(()) }
}

/// There is a new label for each of `units`, and no label is there twice, those known before included.
pub(crate) fn check_labels(known: &[Arc<[Box<str>]>], new: &[Box<str>], units: u32) -> Result<(), FaceError> {
    if u32::try_from(new.len()) != Ok(units) {
        return Err(FaceError::Labels { labels: new.len(), units });
    }
    let mut seen: HashSet<&str> = known.iter().flat_map(|list| list.iter()).map(|label| &**label).collect();
    for label in new {
        if label.is_empty() || label.len() > LONGEST_LABEL {
            return Err(FaceError::Label { label: label.to_string() });
        }
        if !seen.insert(label) {
            return Err(FaceError::LabelTwice { label: label.to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed<const N: usize>(labels: [&str; N]) -> Units {
        Units::Listed(Arc::from(labels.map(Box::from)))
    }

    #[test]
    fn every_unit_has_a_label_of_its_own() {
        assert_eq!(listed(["A-1", "A-2"]).check(2), Ok(()));
        assert_eq!(listed(["A-1"]).check(2), Err(FaceError::Labels { labels: 1, units: 2 }));
        assert_eq!(listed(["A-1", "A-1"]).check(2), Err(FaceError::LabelTwice { label: "A-1".into() }));
        assert_eq!(listed(["A-1", ""]).check(2), Err(FaceError::Label { label: String::new() }));
        assert_eq!(listed([&"ö".repeat(32)]).check(1), Ok(()));
        assert!(matches!(listed([&"ö".repeat(33)]).check(1), Err(FaceError::Label { .. })));
    }

    #[test]
    fn numbers_and_amounts_stay_within_their_bounds() {
        assert_eq!(Units::Numbered { first: u32::MAX - 5 }.check(5), Ok(()));
        assert!(matches!(Units::Numbered { first: u32::MAX - 5 }.check(6), Err(FaceError::Numbers { .. })));
        let amounts = |budget, floor, ceiling| Units::Amounts(Amounts { budget, floor, ceiling, seed: 1 }).check(10);
        assert_eq!((amounts(10, 1, 5), amounts(50, 1, 5), amounts(0, 0, 1)), (Ok(()), Ok(()), Ok(())));
        for (budget, floor, ceiling) in [(9, 1, 5), (51, 1, 5), (10, 2, 1), (0, 0, 0)] {
            assert!(matches!(amounts(budget, floor, ceiling), Err(FaceError::Amounts { .. })));
        }
    }
}
