//! Who buys, and what there is to buy: the same buyers in the same order for everybody who is measured.

use std::time::Duration;

use sellout::{Engine, Sale, SaleSpec};

/// The `number`-th buyer: a bijection (`SplitMix64`'s, after G. Steele, D. Lea and C. Flood, OOPSLA 2014), so that
/// buyers are distinct and come in no order that a table could profit from.
///
/// ```
/// use sellout_bench::crowd::buyer;
///
/// assert_ne!(buyer(1), buyer(2));
/// ```
#[inline]
#[must_use]
pub const fn buyer(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The rules that benches use: open at once, one unit a buyer, and no hold falls due while one runs.
pub fn spec(stock: u32) -> SaleSpec {
    SaleSpec::new("bench", stock).hold_for(Duration::from_hours(1))
}

/// A sale in memory, with its engine behind it.
///
/// # Panics
/// If the rules of `spec` can't be kept.
#[must_use]
pub fn sale(spec: SaleSpec) -> Sale {
    Engine::in_memory().create(spec).expect("a bench asks for rules that can be kept")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::buyer;

    #[test]
    fn buyers_are_distinct() {
        assert_eq!((0..10_000).map(buyer).collect::<HashSet<_>>().len(), 10_000);
    }
}
