//! Who may buy, where not everyone may: a set that grows and is read without a lock.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::core::{Buyer, roster::Roster};

/// Registered buyers. Adding one costs one search, and now and then a copy of all.
pub(crate) struct Registered {
    /// Nothing for a sale where nobody is.
    roster: ArcSwapOption<Roster>,
}

impl Registered {
    pub(crate) fn new() -> Self {
        Self { roster: ArcSwapOption::empty() }
    }

    #[inline]
    pub(crate) fn contains(&self, buyer: Buyer) -> bool {
        self.roster.load().as_ref().is_some_and(|roster| roster.contains(buyer))
    }

    /// Adds buyers. Callers take turns: a roster has one writer.
    pub(crate) fn add(&self, buyers: &[Buyer]) {
        let mut roster = self.roster.load_full();
        for &buyer in buyers {
            let with_room = match roster {
                Some(roster) if !roster.is_full() => roster,
                full => {
                    let larger = Arc::new(full.map_or_else(Roster::new, |full| full.grown()));
                    self.roster.store(Some(Arc::clone(&larger)));
                    larger
                }
            };
            with_room.insert(buyer);
            roster = Some(with_room);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.roster.load().as_ref().map_or(0, |roster| roster.len())
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("buyers", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_added_in_any_batch_is_in_and_nobody_else() {
        let registered = Registered::new();
        for batch in [0..100_u64, 100..101, 101..103, 50..200] {
            registered.add(&batch.map(Buyer::from).collect::<Vec<_>>());
        }
        assert_eq!(registered.len(), 200);
        assert!((0..200).all(|number| registered.contains(Buyer::from(number))));
        assert!(!registered.contains(Buyer::from(200)));
    }
}
