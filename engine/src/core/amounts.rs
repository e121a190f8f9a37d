//! Random amounts that add up to a budget, to the cent.
//!
//! The journal keeps the parameters and not the amounts: they are made again at every recovery, on whatever machine.
//! So there is integer arithmetic only, and the same parameters give the same amounts for ever.
//!
//! ```text
//! everybody has the floor; what is left of the budget is dealt out:
//! 1  cuts     | x  x    x   x  |     uniform places in the rest, sorted: the gaps are the parts
//! 2  ceiling  what a part has beyond it is taken off, and dealt out again
//!             in passes of random shares, and at last to whoever has room
//! 3  shuffle  every order is as likely: no place is luckier than another
//! ```
//!
//! What holds:
//! - The sum is the budget, each amount is within floor and ceiling.
//! - The amounts are exchangeable: whatever steps 1 and 2 made, step 3 is a uniform shuffle that depends on neither.
//! - Random words are SipHash-2-4 of a counter under the seed; a range takes as many as it needs to be unbiased.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// Passes of random shares, each of which deals out about half of what is left.
const PASSES: u32 = 12;

/// `count` amounts of `floor` to `ceiling` that add up to `budget`.
///
/// # Panics
/// If they can't: `floor * count <= budget <= ceiling * count` is the caller's to keep.
pub(crate) fn amounts(count: u32, budget: u64, floor: u32, ceiling: u32, seed: u64) -> Box<[u32]> {
    let least = u64::from(floor) * u64::from(count);
    let rest = budget.checked_sub(least).expect("the budget is at least the floor for everybody");
    let width = u64::from(ceiling.checked_sub(floor).expect("the floor is at most the ceiling"));
    assert!(rest <= width * u64::from(count), "the budget is at most the ceiling for everybody");
    let mut words = Words { seed, counter: 0 };
    let mut parts = gaps(count, rest, &mut words);
    let excess = clip(&mut parts, width);
    deal(&mut parts, width, excess, &mut words);
    shuffle(&mut parts, &mut words);
    let amount = |part: u64| floor + u32::try_from(part).expect("at most from the floor to the ceiling");
    parts.into_iter().map(amount).collect()
}

/// Uniform spacings: `count` parts of `rest`, between uniform cuts.
fn gaps(count: u32, rest: u64, words: &mut Words) -> Vec<u64> {
    let Some(cuts) = count.checked_sub(1) else { return Vec::new() };
    let mut parts: Vec<u64> = (0..cuts).map(|_| words.below(rest + 1)).collect();
    parts.sort_unstable();
    parts.push(rest);
    let mut before = 0;
    for part in &mut parts {
        (before, *part) = (*part, *part - before);
    }
    parts
}

/// Takes off what parts have beyond `width`; how much that is.
fn clip(parts: &mut [u64], width: u64) -> u64 {
    parts.iter_mut().fold(0, |excess, part| {
        let over = part.saturating_sub(width);
        *part -= over;
        excess + over
    })
}

/// Deals out what was taken off: random shares of up to twice the mean, and then whatever there is room for.
fn deal(parts: &mut [u64], width: u64, mut excess: u64, words: &mut Words) {
    for _ in 0..PASSES {
        if excess == 0 {
            return;
        }
        let with_room = parts.iter().filter(|part| **part < width).count() as u64;
        let most = excess.div_ceil(with_room.max(1)).saturating_mul(2);
        for part in parts.iter_mut().filter(|part| **part < width) {
            let share = words.below(most + 1).min(width - *part).min(excess);
            *part += share;
            excess -= share;
        }
    }
    for part in parts {
        let share = excess.min(width - *part);
        *part += share;
        excess -= share;
    }
}

/// Fisher and Yates: every order is as likely.
fn shuffle(parts: &mut [u64], words: &mut Words) {
    for last in (1..parts.len()).rev() {
        let place = words.below(last as u64 + 1);
        parts.swap(last, usize::try_from(place).expect("a place in the slice"));
    }
}

/// Random words: SipHash-2-4 of 0, 1, 2, .. under the seed.
struct Words {
    seed: u64,
    counter: u64,
}

impl Words {
    fn next(&mut self) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.seed, 0);
        hasher.write(&self.counter.to_le_bytes());
        self.counter += 1;
        hasher.finish()
    }

    /// A number below `bound`, each as likely (D. Lemire, *Fast Random Integer Generation in an Interval*, 2019).
    fn below(&mut self, bound: u64) -> u64 {
        loop {
            let wide = u128::from(self.next()) * u128::from(bound);
            let low = wide & u128::from(u64::MAX);
            if low >= u128::from(bound.wrapping_neg() % bound) {
                return u64::try_from(wide >> 64).expect("the upper half of 128 bits");
            }
        }
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    //! Properties: 1. the sum is the budget; 2. every amount is within the bounds; 3. the same parameters give the
    //! same amounts, for ever; 4. no place gets more, or is the luckiest more often, than another.

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn amounts_add_up_within_their_bounds_and_come_again(
            count in 1_u32..400,
            floor in 0_u32..1_000,
            width in 0_u32..5_000,
            part in 0..=10_000_u64,
            seed: u64,
        ) {
            let ceiling = floor + width;
            let most = u64::from(width) * u64::from(count);
            let budget = u64::from(floor) * u64::from(count) + most * part / 10_000;
            let made = amounts(count, budget, floor, ceiling, seed);
            prop_assert_eq!(made.len(), count as usize);
            prop_assert_eq!(made.iter().map(|amount| u64::from(*amount)).sum::<u64>(), budget);
            prop_assert!(made.iter().all(|amount| (floor..=ceiling).contains(amount)));
            prop_assert_eq!(made, amounts(count, budget, floor, ceiling, seed));
        }
    }

    #[test]
    fn the_amounts_of_a_seed_are_frozen() {
        assert_eq!(*amounts(10, 2_000, 1, 20_000, 7), [248, 153, 446, 272, 66, 104, 137, 220, 234, 120]);
        assert_eq!(*amounts(10, 2_000, 150, 250, 7), [205, 192, 214, 167, 178, 220, 180, 250, 186, 208]);
        // Most are cut off at the ceiling, and what was cut off is dealt out in several passes.
        let clipped = amounts(20, 3_400, 100, 200, 7);
        assert_eq!(clipped[..10], [200, 122, 195, 200, 157, 129, 199, 160, 140, 120]);
        assert_eq!(clipped[10..], [129, 169, 197, 160, 181, 200, 182, 200, 200, 160]);
        assert_ne!(amounts(10, 2_000, 1, 20_000, 7), amounts(10, 2_000, 1, 20_000, 8));
    }

    #[test]
    fn the_bounds_may_leave_no_choice() {
        assert_eq!(*amounts(3, 15, 5, 5, 1), [5, 5, 5]);
        assert_eq!(*amounts(1, 7, 0, 7, 1), [7]);
        assert_eq!(*amounts(3, 0, 0, 9, 1), [0, 0, 0]);
        let most = u64::from(u32::MAX);
        assert_eq!(*amounts(2, 2 * most, 0, u32::MAX, 1), [u32::MAX; 2]);
    }

    #[test]
    fn what_the_passes_leave_goes_to_whoever_has_room() {
        const WIDTH: u64 = 1 << 20;
        const LEFT: u64 = 100;
        let (mut parts, mut words) = (vec![1; 1 << 16], Words { seed: 7, counter: 0 });
        // Nearly everybody is filled up, and a pass fills up about a half: so many passes there are not.
        let excess = (parts.len() as u64) * (WIDTH - 1) - LEFT;
        deal(&mut parts, WIDTH, excess, &mut words);
        assert_eq!(parts.iter().sum::<u64>(), excess + parts.len() as u64);
        let short = parts.iter().map(|part| WIDTH.checked_sub(*part).expect("at most the ceiling"));
        assert_eq!(short.sum::<u64>(), LEFT);
    }

    #[test]
    fn words_that_would_favour_some_numbers_are_thrown_away() {
        const BOUND: u64 = (1 << 63) + 1;
        let mut words = Words { seed: 7, counter: 0 };
        // Of 2^64 words nearly every second one is beyond the last whole multiple of such a bound.
        assert!((0..1_000).all(|_| words.below(BOUND) < BOUND));
        assert!((1_800..2_200).contains(&words.counter), "{} words for 1,000 numbers", words.counter);
    }

    #[test]
    fn a_million_and_a_half_amounts_add_up() {
        let made = amounts(1_500_000, 300_000_000, 1, 20_000, 7);
        assert_eq!(made.iter().map(|amount| u64::from(*amount)).sum::<u64>(), 300_000_000);
        assert!(made.iter().all(|amount| (1..=20_000).contains(amount)));
    }

    type Draw = fn(u64) -> Vec<u32>;

    const PLACES: u32 = 10;
    const BUDGET: u64 = 2_000_000;
    const ROUNDS: u32 = 20_000;

    /// How unlike the places are, over many seeds: by what they got, and by how often each was the luckiest. Each is
    /// a chi-squared of nine degrees of freedom where all places are alike, and then beyond 40 once in 130,000 times.
    fn unfairness(draw: Draw) -> [f64; 2] {
        let (rounds, places, mean) = (f64::from(ROUNDS), f64::from(PLACES), 200_000.0);
        let (mut sums, mut squares, mut luckiest) = ([0.0; PLACES as usize], 0.0, [0.0; PLACES as usize]);
        for seed in 0..u64::from(ROUNDS) {
            let made = draw(seed);
            let best = made.iter().max().expect("ten places");
            let share = 1.0 / made.iter().map(|amount| f64::from(u8::from(amount == best))).sum::<f64>();
            for ((sum, luck), amount) in sums.iter_mut().zip(&mut luckiest).zip(&made) {
                *luck += if amount == best { share } else { 0.0 };
                let beyond = f64::from(*amount) - mean;
                *sum += beyond;
                squares += beyond * beyond;
            }
        }
        // The sum is fixed, so places are correlated by -1 / (places - 1).
        let variance = squares / rounds / (places - 1.0);
        let by_amount = sums.iter().map(|sum| sum * sum / rounds / variance).sum();
        let expected = rounds / places;
        let by_luck = luckiest.iter().map(|count: &f64| (count - expected).powi(2) / expected).sum();
        [by_amount, by_luck]
    }

    #[test]
    fn no_place_gets_more_or_is_luckier_than_another() {
        let fair = |name: &str, draw: Draw| {
            let found = unfairness(draw);
            assert!(found.iter().all(|chi| *chi < 40.0), "{name}: {found:?}");
        };
        fair("far bounds", |seed| amounts(PLACES, BUDGET, 1, 2_000_000, seed).into_vec());
        fair("a near ceiling", |seed| amounts(PLACES, BUDGET, 1, 300_000, seed).into_vec());
    }

    /// The fault: each in turn takes a uniform share of what is left.
    fn whoever_comes_first_takes(seed: u64) -> Vec<u32> {
        let (mut words, mut left) = (Words { seed, counter: 0 }, BUDGET);
        let share = |place: u32| {
            let share = if place + 1 == PLACES { left } else { words.below(left + 1) };
            left -= share;
            u32::try_from(share).expect("at most the budget")
        };
        (0..PLACES).map(share).collect()
    }

    /// The fault: each in turn takes up to twice the mean of what is left. All get as much, but not as luckily.
    fn up_to_twice_the_mean(seed: u64) -> Vec<u32> {
        let (mut words, mut left) = (Words { seed, counter: 0 }, BUDGET);
        let share = |place: u32| {
            let behind = u64::from(PLACES - place);
            let share = if behind == 1 { left } else { words.below(2 * left / behind + 1) };
            left -= share;
            u32::try_from(share).expect("at most the budget")
        };
        (0..PLACES).map(share).collect()
    }

    #[test]
    fn control_shares_taken_in_turn_are_found_unfair() {
        let [by_amount, _] = unfairness(whoever_comes_first_takes);
        assert!(by_amount > 1_000.0, "{by_amount}");
        let [by_amount, by_luck] = unfairness(up_to_twice_the_mean);
        assert!(by_amount < 40.0, "it is fair by amount alone: {by_amount}");
        assert!(by_luck > 100.0, "{by_luck}");
    }
}
