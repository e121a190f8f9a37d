//! Dice that fall the same way for the same seed.

use crate::crowd::buyer as mixed;

/// A repeatable sequence of numbers (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Dice {
    next: u64,
}

impl Dice {
    /// The dice of `seed` for what `places` name, one within the other: another place has other dice.
    ///
    /// ```
    /// use sellout_bench::torture::Dice;
    ///
    /// let fall = |places: &[u64]| Dice::of(7, places).number();
    /// assert_eq!(fall(&[1, 2]), fall(&[1, 2]));
    /// assert_ne!(fall(&[1, 2]), fall(&[2, 1]));
    /// ```
    #[must_use]
    pub fn of(seed: u64, places: &[u64]) -> Self {
        Self { next: places.iter().fold(mixed(seed), |sum, place| mixed(sum ^ mixed(*place))) }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        mixed(self.next)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let scaled = (u128::from(self.number()) * u128::from(end)) >> 64;
        u64::try_from(scaled).unwrap_or_default()
    }

    /// Whether this is the one time in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `things`, if there is any.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        let place = self.below(things.len() as u64);
        things.get(usize::try_from(place).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_end_and_reach_all_of_it() {
        let mut dice = Dice::of(1, &[]);
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[usize::try_from(dice.below(6)).expect("small")] += 1;
        }
        assert!(seen.iter().all(|times| *times > 50), "{seen:?}");
        assert_eq!((dice.below(0), dice.pick::<u8>(&[])), (0, None));
    }
}
