//! Chance: one master seed, a generator of its own for each worker, and traits of people that need no memory.
//!
//! A worker's generator is the master's, jumped ahead by 2^128 steps a worker: the streams never overlap. What a
//! person *is* (a bot, a double-clicker, patient) is a hash of seed and person, the same at every visit.

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};

use crate::number::real;

/// 2^-53: turns the upper 53 bits of a word into a fraction.
const FRACTION: f64 = 1.0 / 9_007_199_254_740_992.0;

/// A worker's random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// The generator of worker `worker` under the master `seed`.
    pub(crate) fn of_worker(seed: u64, worker: usize) -> Self {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        for _ in 0..worker {
            generator.jump();
        }
        Self(generator)
    }

    /// A generator that is independent of this one.
    pub(crate) fn fork(&mut self) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(self.0.next_u64()))
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn fraction(&mut self) -> f64 {
        real(self.0.next_u64() >> 11) * FRACTION
    }

    /// An exponentially distributed number: the gap between events that happen once in `mean` on average.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.fraction()).ln()
    }

    /// A number in `low..high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        self.fraction().mul_add(high - low, low)
    }
}

/// Scatters a word over 64 bits (the finaliser of `SplitMix64`, Steele, Lea and Flood 2014).
pub(crate) const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A number in `0.0..1.0` that belongs to `person` for the question `about`.
pub(crate) const fn of_person(seed: u64, person: u64, about: u64) -> f64 {
    real(mix(mix(seed ^ about).wrapping_add(person)) >> 11) * FRACTION
}

/// Which entry of `weights` the fraction falls on; the last one with a weight if rounding leaves it beyond.
pub(crate) fn pick(weights: &[f64], fraction: f64) -> usize {
    let mut left = fraction * weights.iter().sum::<f64>();
    let mut last = 0;
    for (place, weight) in weights.iter().enumerate() {
        if *weight > 0.0 {
            last = place;
            if left < *weight {
                return place;
            }
            left -= weight;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_draw_from_different_streams_and_the_same_seed_repeats_them() {
        let draw = |worker| {
            let mut dice = Dice::of_worker(7, worker);
            (0..4).map(|_| dice.fraction().to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }

    #[test]
    fn a_person_keeps_its_traits_and_shares_come_out_right() {
        let among = 100_000;
        let bots = (0..among).filter(|&person| of_person(3, person, 1) < 0.2).count();
        assert!((19_000..21_000).contains(&bots), "{bots}");
        assert_eq!(of_person(3, 5, 1).to_bits(), of_person(3, 5, 1).to_bits());
    }

    #[test]
    fn picking_never_lands_on_an_empty_weight() {
        for step in 0..1_000 {
            let place = pick(&[0.0, 1.0, 0.0, 3.0, 0.0], f64::from(step) / 1_000.0);
            assert!(place == 1 || place == 3);
        }
        assert_eq!(pick(&[0.0, 2.0, 0.0], 1.0), 1);
    }
}
