//! Seeded choices.
//!
//! What holds: a choice depends on the seed and on the choices before it, and on nothing else.

/// Splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is at least 1.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// Below `bound`, which is at least 1.
    pub(super) fn units(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).expect("it is below a number of 32 bits")
    }

    /// A place among `count`; none if there is none.
    pub(super) fn place(&mut self, count: usize) -> Option<usize> {
        let place = self.below(u64::try_from(count).ok().filter(|count| *count > 0)?);
        usize::try_from(place).ok()
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
