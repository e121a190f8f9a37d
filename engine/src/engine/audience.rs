//! Who may buy, where not everyone may: a set that grows in batches and is read without a lock.

use std::{collections::HashSet, fmt, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::core::Buyer;

type Layers = Vec<Arc<HashSet<Buyer>>>;

/// Registered buyers, in layers. A new batch is merged with the layers that aren't larger, so adding `n` buyers in
/// any batches costs `n log n`, and a look costs one search a layer, at most about 30.
pub(crate) struct Registered {
    /// Nothing for a sale where nobody is.
    layers: ArcSwapOption<Layers>,
}

impl Registered {
    pub(crate) fn new() -> Self {
        Self { layers: ArcSwapOption::empty() }
    }

    #[inline]
    pub(crate) fn contains(&self, buyer: Buyer) -> bool {
        self.layers.load().iter().flat_map(|layers| layers.iter()).any(|layer| layer.contains(&buyer))
    }

    /// Adds a batch. Callers take turns: the last one would win.
    pub(crate) fn add(&self, buyers: &[Buyer]) {
        let mut batch: HashSet<Buyer> = buyers.iter().copied().filter(|buyer| !self.contains(*buyer)).collect();
        if batch.is_empty() {
            return;
        }
        let mut layers = self.layers.load().as_deref().map_or_else(Vec::new, Vec::clone);
        while layers.last().is_some_and(|layer| layer.len() <= batch.len()) {
            batch.extend(layers.pop().iter().flat_map(|layer| layer.iter().copied()));
        }
        layers.push(Arc::new(batch));
        self.layers.store(Some(Arc::new(layers)));
    }

    pub(crate) fn len(&self) -> usize {
        self.layers.load().iter().flat_map(|layers| layers.iter()).map(|layer| layer.len()).sum()
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
        assert!(registered.layers.load().as_ref().unwrap().len() < 8);
    }
}
