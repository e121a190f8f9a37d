//! Words of which each thread has one of its own: a cache line each, or, in a small sale, one word for all.
//!
//! What holds: a thread's number names the same stripe for as long as the sale lives. A single bare word takes no
//! line of its own: the units that it counts are gone before threads on it could slow each other down for long.

use crossbeam_utils::CachePadded;

/// One `T` a stripe.
#[derive(Debug)]
pub(crate) enum Stripes<T> {
    /// One for all, in place.
    Bare(T),
    /// A line each.
    Padded(Box<[CachePadded<T>]>),
}

impl<T> Stripes<T> {
    /// `count` padded stripes, each as `make` says.
    pub(crate) fn padded(count: usize, make: impl FnMut(usize) -> T) -> Self {
        Self::Padded((0..count.max(1)).map(make).map(CachePadded::new).collect())
    }

    /// A bare word if one is enough, and padded stripes otherwise.
    pub(crate) fn new(count: usize, mut make: impl FnMut(usize) -> T) -> Self {
        if count <= 1 { Self::Bare(make(0)) } else { Self::padded(count, make) }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bare(_) => 1,
            Self::Padded(stripes) => stripes.len(),
        }
    }

    /// The stripe of `home`, any number.
    #[inline]
    pub(crate) fn at(&self, home: usize) -> &T {
        match self {
            Self::Bare(one) => one,
            Self::Padded(stripes) => &stripes[home % stripes.len()],
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).map(|stripe| self.at(stripe))
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_number_names_a_stripe_and_a_bare_one_is_everybodys() {
        let stripes = Stripes::new(3, |stripe| stripe);
        assert_eq!((0..7).map(|home| *stripes.at(home)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
        let bare = Stripes::new(1, |stripe| stripe);
        assert!(matches!(bare, Stripes::Bare(0)));
        assert_eq!((bare.len(), *bare.at(9), bare.iter().count()), (1, 0, 1));
        assert!(matches!(Stripes::padded(1, |stripe| stripe), Stripes::Padded(_)));
    }
}
