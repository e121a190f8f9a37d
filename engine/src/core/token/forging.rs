//! Forging: tokens that no key has made, at random and as near as can be to one that a key has made.
//!
//! The same guesses are put to checks that are weaker than the real one, as controls: those take some of them.

use super::{EpochKeys, FIELD_BITS, FIELD_MASK, Fields, Token, TokenError, TokenKeys, keyed, seal_under};

const SECRET: [u8; 32] = [7; 32];
const RANDOM: u64 = 200_000;

fn keys() -> TokenKeys {
    TokenKeys::new(SECRET, vec![11, 22, 33])
}

/// A step of splitmix64.
fn mixed(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *seed;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Tokens at random, of the present key epoch: whoever has seen one token knows its first 12 bits.
fn random(keys: &TokenKeys) -> impl Iterator<Item = Token> {
    let epoch = u64::from(keys.key_epoch()) << FIELD_BITS;
    let mut seed = 20_140_401;
    (0..RANDOM).map(move |_| Token { head: epoch | (mixed(&mut seed) & FIELD_MASK), tag: mixed(&mut seed) })
}

/// Every token that differs from `one` in one or two bits, and those that mix it with `other`.
fn near(one: Token, other: Token) -> Vec<Token> {
    let mut tokens = vec![Token { tag: other.tag, ..one }, Token { head: other.head, ..one }];
    let flipped = |bits: u128| {
        let bits = one.as_u128() ^ bits;
        let half = |shift: u32| u64::try_from((bits >> shift) & u128::from(u64::MAX)).expect("masked");
        Token { head: half(64), tag: half(0) }
    };
    for first in 0..128 {
        tokens.extend((first..128).map(|second| flipped((1 << first) | (1 << second))));
    }
    tokens
}

/// How many of the tokens a check takes.
fn taken(tokens: impl IntoIterator<Item = Token>, check: impl Fn(&Token) -> Result<Fields, TokenError>) -> usize {
    tokens.into_iter().filter(|token| check(token).is_ok()).count()
}

#[test]
fn no_token_at_random_or_near_a_genuine_one_is_taken() {
    let keys = keys();
    let [one, other] = [0, 1].map(|slot| keys.seal(Fields { key_epoch: keys.key_epoch(), generation: 5, slot }));
    assert_eq!(taken([one, other], |token| keys.open(token)), 2, "genuine ones are");
    assert_eq!(taken(random(&keys), |token| keys.open(token)), 0);
    assert_eq!(taken(near(one, other), |token| keys.open(token)), 0);
}

#[test]
fn no_token_of_another_engine_opening_or_copy_is_taken() {
    let ours = keys();
    let others = [
        TokenKeys::new([8; 32], vec![11, 22, 33]),
        TokenKeys::new(SECRET, vec![11, 22, 34]),
        TokenKeys::new(SECRET, vec![11, 22, 33, 44]),
    ];
    for other in others {
        // Also as if the other had the same key epoch: only the keys tell them apart then.
        for key_epoch in [other.key_epoch(), ours.key_epoch()] {
            let fields = |slot| Fields { key_epoch, generation: 5, slot };
            let tokens = (0..1_000).map(|slot| seal_under(&other.present, fields(slot)));
            assert_eq!(taken(tokens, |token| ours.open(token)), 0);
        }
    }
}

#[test]
fn control_a_tag_of_which_twelve_bits_are_compared_is_guessed() {
    let keys = keys();
    let short_sighted = |token: &Token| {
        let plain = (token.head ^ keyed(&keys.present.mask, token.tag)) & FIELD_MASK;
        let tag = keyed(&keys.present.tag, (token.head & !FIELD_MASK) | plain);
        if (tag ^ token.tag) >> 52 == 0 { Ok(NOTHING) } else { Err(TokenError::Forged) }
    };
    assert!(taken(random(&keys), short_sighted) > 10);
}

#[test]
fn control_fields_that_the_tag_does_not_cover_are_changed() {
    let EpochKeys { tag: key, .. } = &keys().present;
    // The tag is over the generation alone, and the fields stand as they are.
    let tag = |head: u64| keyed(key, head >> super::SLOT_BITS);
    let genuine = |slot: u64| Token { head: (5 << super::SLOT_BITS) | slot, tag: tag(5 << super::SLOT_BITS) };
    let careless = |token: &Token| if token.tag == tag(token.head) { Ok(NOTHING) } else { Err(TokenError::Forged) };
    assert!(taken(near(genuine(0), genuine(1)), careless) > 30);
}

const NOTHING: Fields = Fields { key_epoch: 0, generation: 0, slot: 0 };
