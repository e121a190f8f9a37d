//! Tokens: what a hold is called outside the process.
//!
//! ```text
//! 128 bits | key epoch 12 | generation 22 + slot 30, encrypted | tag 64 |     as 26 characters of base32
//! ```
//!
//! A synthetic-IV construction (P. Rogaway and T. Shrimpton, *Deterministic Authenticated-Encryption*, Eurocrypt
//! 2006) over `SipHash-2-4`: the tag is a keyed hash of the plain fields, and the fields are masked by another
//! keyed hash of the tag. Nobody without the keys can make a token or read from it how many were sold; a token
//! can be verified without looking at the slot, so one whose slot was used again is known as genuine and old.
//!
//! Keys belong to a key epoch, one for each opening of the engine; the first epoch's number is drawn from the
//! engine's secret, so a token of another engine almost never has an epoch that this one has had. An epoch's keys
//! also depend on that opening's incarnation, a random number: two copies of one journal make different tokens.

use std::{fmt, hash::Hasher, str::FromStr, sync::LazyLock};

use data_encoding::{Encoding, Specification};
use siphasher::{sip::SipHasher24, sip128};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::slots::GENERATION_BITS;

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod forging;

/// Bits of a slot's number among all sales of an engine.
pub(crate) const SLOT_BITS: u32 = 30;
const FIELD_BITS: u32 = GENERATION_BITS + SLOT_BITS;
const FIELD_MASK: u64 = (1 << FIELD_BITS) - 1;
const EPOCH_MASK: u16 = (1 << 12) - 1;
/// How many openings back a token is known.
pub(crate) const EPOCHS: usize = 1 << 12;
const TEXT: usize = 26;

/// A hold's name outside the process: 26 characters, letters and digits only, upper or lower case.
///
/// It fits into a URL or a QR code as it is. It says nothing about buyer, price or how much was sold, and only
/// the engine that made it can read it. Its text is parsed without looking at a sale; whether it is genuine is
/// found out by [`Sale::confirm`](crate::Sale::confirm), [`Sale::cancel`](crate::Sale::cancel) and
/// [`Sale::extend`](crate::Sale::extend).
///
/// ```
/// use sellout::{Engine, SaleSpec, Token};
///
/// let engine = Engine::in_memory();
/// let sale = engine.create(SaleSpec::new("books", 200))?;
/// let text = sale.reserve(7, 1)?.token().to_string();
/// assert_eq!(text.len(), 26);
/// assert_eq!(text.to_lowercase().parse::<Token>()?, text.parse::<Token>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    head: u64,
    tag: u64,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text doesn't have 26 characters.
    #[error("a token has 26 characters, this text has {length}: it was cut or padded on its way")]
    Length {
        /// Characters in the text.
        length: usize,
    },
    /// A character that no token has.
    #[error("a token has only letters and digits, not what stands at place {at}: it was damaged on its way")]
    Character {
        /// Its place, from 0.
        at: usize,
    },
    /// No key of this engine made it.
    #[error("this token was not made by this engine: it was forged or mistyped; don't ship, and refund a payment")]
    Forged,
    /// It belongs to a hold of another sale of this engine.
    #[error("this token belongs to the sale {sale:?} of this engine: ask that sale", sale = sale.as_str())]
    OtherSale {
        /// That sale.
        sale: SaleName,
    },
    /// It is a basket's: units of several sales.
    #[error("this token is a basket's: ask Engine::baskets, which has all of it")]
    Basket,
    /// It was made by another engine, or by this one before its journal was replaced.
    #[error("this token was made by another engine: ask the one that made it")]
    OtherEngine,
}

/// A sale's name, by value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SaleName {
    bytes: [u8; 64],
    length: u8,
}

impl SaleName {
    /// `name` must have passed `SaleSpec::check`.
    pub(crate) fn new(name: &str) -> Self {
        let mut bytes = [0; 64];
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self { bytes, length: u8::try_from(length).expect("at most 64") }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for SaleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Crockford's alphabet: no I, L, O or U; what people write for them is read as the digits.
pub(crate) static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.translate.from.push_str("abcdefghjkmnpqrstvwxyzIiLlOo");
    specification.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ111100");
    specification.encoding().expect("32 distinct symbols, none of them translated")
});

impl Token {
    /// The 128 bits that its text stands for.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        ((self.head as u128) << 64) | self.tag as u128
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.head.to_be_bytes());
        bytes[8..].copy_from_slice(&self.tag.to_be_bytes());
        let mut text = [0; TEXT];
        BASE32.encode_mut(&bytes, &mut text);
        f.write_str(str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

/// Shows only the first characters: a whole token lets whoever reads the log end the hold.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:.6}..)", self.to_string())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() != TEXT {
            return Err(TokenError::Length { length: text.chars().count() });
        }
        let mut bytes = [0; 16];
        match BASE32.decode_mut(text.as_bytes(), &mut bytes) {
            Ok(16) => {}
            Ok(_) => return Err(TokenError::Length { length: TEXT }),
            Err(partial) => return Err(TokenError::Character { at: partial.error.position }),
        }
        let [head, tag] = [0, 8].map(|at| bytes[at..at + 8].try_into().map(u64::from_be_bytes).expect("8 bytes"));
        Ok(Self { head, tag })
    }
}

/// What a token names, once it is known to be genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) key_epoch: u16,
    pub(crate) generation: u32,
    /// The slot's number among all sales of the engine.
    pub(crate) slot: u32,
}

/// The keys of one epoch.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct EpochKeys {
    tag: [u8; 16],
    mask: [u8; 16],
}

/// What makes and reads tokens: an engine's secret, and the key epochs that it has had.
pub(crate) struct TokenKeys {
    secret: [u8; 32],
    first: u16,
    /// The incarnation of each opening, the present one last. Never empty.
    incarnations: Vec<u64>,
    present: EpochKeys,
}

impl TokenKeys {
    /// The keys of an engine that was opened as each of `incarnations` in turn, and is now the last of them.
    pub(crate) fn new(secret: [u8; 32], incarnations: Vec<u64>) -> Self {
        debug_assert!(!incarnations.is_empty(), "an engine is opened at least once");
        let first = u16::try_from(derive_word(&secret, b"first key epoch") & u64::from(EPOCH_MASK)).expect("12 bits");
        let mut keys = Self { secret, first, incarnations, present: EpochKeys { tag: [0; 16], mask: [0; 16] } };
        keys.present = keys.epoch(0);
        keys
    }

    /// The present key epoch.
    #[inline]
    pub(crate) fn key_epoch(&self) -> u16 {
        let past = u16::try_from((self.incarnations.len() - 1) & usize::from(EPOCH_MASK)).expect("12 bits");
        (self.first + past) & EPOCH_MASK
    }

    /// How many openings ago `key_epoch` was the present one; at most 4,095.
    pub(crate) fn age(&self, key_epoch: u16) -> usize {
        usize::from(self.key_epoch().wrapping_sub(key_epoch) & EPOCH_MASK)
    }

    /// The keys of `age` openings ago, which must be one that was.
    fn epoch(&self, age: usize) -> EpochKeys {
        let incarnation = self.incarnations[self.incarnations.len() - 1 - age].to_le_bytes();
        let label = |name: &[u8]| [name, &incarnation].concat();
        EpochKeys { tag: derive(&self.secret, &label(b"token tag")), mask: derive(&self.secret, &label(b"token mask")) }
    }

    /// The token of a hold that was made in one of the engine's key epochs.
    pub(crate) fn seal(&self, fields: Fields) -> Token {
        match self.age(fields.key_epoch) {
            0 => seal_under(&self.present, fields),
            age => seal_under(&self.epoch(age.min(self.incarnations.len() - 1)), fields),
        }
    }

    /// Reads a token of this engine.
    ///
    /// The tag is compared in constant time; how long the rest takes depends only on what the token shows openly.
    pub(crate) fn open(&self, token: &Token) -> Result<Fields, TokenError> {
        let key_epoch = u16::try_from(token.head >> FIELD_BITS).expect("12 bits");
        match self.age(key_epoch) {
            0 => open_under(&self.present, token),
            age if age < self.incarnations.len() => open_under(&self.epoch(age), token),
            _ => Err(TokenError::OtherEngine),
        }
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("key_epoch", &self.key_epoch()).finish_non_exhaustive()
    }
}

impl Drop for TokenKeys {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// A key for one purpose, from the secret.
pub(crate) fn derive(secret: &[u8; 32], purpose: &[u8]) -> [u8; 16] {
    use sip128::Hasher128;
    let (outer, inner) = secret.split_at(16);
    let mut hasher = sip128::SipHasher24::new_with_key(outer.try_into().expect("16 bytes"));
    hasher.write(inner);
    hasher.write(purpose);
    hasher.finish128().as_bytes()
}

fn derive_word(secret: &[u8; 32], purpose: &[u8]) -> u64 {
    let key = derive(secret, purpose);
    u64::from_le_bytes(key[..8].try_into().expect("8 bytes"))
}

fn keyed(key: &[u8; 16], word: u64) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write_u64(word);
    hasher.finish()
}

fn seal_under(keys: &EpochKeys, fields: Fields) -> Token {
    let epoch = u64::from(fields.key_epoch) << FIELD_BITS;
    let plain = (u64::from(fields.generation) << SLOT_BITS) | u64::from(fields.slot);
    let tag = keyed(&keys.tag, epoch | plain);
    Token { head: epoch | (plain ^ (keyed(&keys.mask, tag) & FIELD_MASK)), tag }
}

fn open_under(keys: &EpochKeys, token: &Token) -> Result<Fields, TokenError> {
    let epoch = token.head & !FIELD_MASK;
    let plain = (token.head ^ keyed(&keys.mask, token.tag)) & FIELD_MASK;
    let tag = keyed(&keys.tag, epoch | plain);
    if !bool::from(tag.ct_eq(&token.tag)) {
        return Err(TokenError::Forged);
    }
    let part = |word: u64| u32::try_from(word).expect("at most 30 bits");
    Ok(Fields {
        key_epoch: u16::try_from(epoch >> FIELD_BITS).expect("12 bits"),
        generation: part(plain >> SLOT_BITS),
        slot: part(plain & ((1 << SLOT_BITS) - 1)),
    })
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields() -> impl Strategy<Value = Fields> {
        (0_u32..1 << GENERATION_BITS, 0_u32..1 << SLOT_BITS).prop_map(|(generation, slot)| Fields {
            key_epoch: 0,
            generation,
            slot,
        })
    }

    proptest! {
        #[test]
        fn a_token_comes_back_as_itself_through_text_in_any_case(fields in fields(), opening in 1_usize..5_000) {
            let keys = TokenKeys::new([7; 32], vec![1; opening]);
            let fields = Fields { key_epoch: keys.key_epoch(), ..fields };
            let text = keys.seal(fields).to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            for text in [text.clone(), text.to_lowercase(), text.replace('0', "O").replace('1', "l")] {
                prop_assert_eq!(keys.open(&text.parse().unwrap()), Ok(fields));
            }
        }

        #[test]
        fn every_changed_bit_is_noticed(fields in fields(), bit in 0_u32..128) {
            let keys = TokenKeys::new([7; 32], vec![1, 2, 3]);
            let token = keys.seal(Fields { key_epoch: keys.key_epoch(), ..fields });
            let changed = if bit < 64 {
                Token { tag: token.tag ^ (1 << bit), ..token }
            } else {
                Token { head: token.head ^ (1 << (bit - 64)), ..token }
            };
            prop_assert!(matches!(keys.open(&changed), Err(TokenError::Forged | TokenError::OtherEngine)));
        }

        #[test]
        fn any_text_is_a_token_or_a_typed_refusal(text in ".{0,40}") {
            let _: Result<Token, TokenError> = text.parse();
        }
    }

    #[test]
    fn neighbouring_slots_have_nothing_in_common() {
        let keys = TokenKeys::new([9; 32], vec![1]);
        let heads = (0..1_000)
            .map(|slot| keys.seal(Fields { key_epoch: keys.key_epoch(), generation: 0, slot }).head & FIELD_MASK);
        let heads: Vec<u64> = heads.collect();
        let rising = heads.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((400..600).contains(&rising), "{rising} of 999 neighbours rise: the slot's number shows through");
    }

    #[test]
    fn tokens_of_an_earlier_opening_stay_good_and_those_of_another_engine_do_not() {
        let early = TokenKeys::new([7; 32], vec![1, 2]);
        let token = early.seal(Fields { key_epoch: early.key_epoch(), generation: 5, slot: 6 });
        assert!(TokenKeys::new([7; 32], vec![1, 2, 3, 4]).open(&token).is_ok());
        assert_eq!(TokenKeys::new([7; 32], vec![1]).open(&token), Err(TokenError::OtherEngine), "not made yet");
        assert_eq!(TokenKeys::new([7; 32], vec![1, 9]).open(&token), Err(TokenError::Forged), "a copy of the journal");
        assert!(TokenKeys::new([8; 32], vec![1, 2]).open(&token).is_err());
    }

    #[test]
    fn the_tokens_of_a_secret_are_frozen() {
        let keys = TokenKeys::new([7; 32], vec![1, 2, 3]);
        let first = TokenKeys::new([7; 32], vec![1]).key_epoch();
        assert_eq!((first, keys.key_epoch(), TokenKeys::new([8; 32], vec![1]).key_epoch()), (3_544, 3_546, 1_865));
        let text = |key_epoch| keys.seal(Fields { key_epoch, generation: 5, slot: 6 }).to_string();
        assert_eq!([text(first), text(first + 2)], ["VP6VCC82RXQS07Q9BBJKFW6V68", "VPJDSY9X01E1DZZE8WEGVAG9W8"]);
    }

    #[test]
    fn an_epoch_that_is_not_known_is_anothers_and_harms_nobody() {
        let keys = TokenKeys::new([7; 32], vec![1, 2, 3]);
        for key_epoch in 0..=EPOCH_MASK {
            let forged = Token { head: u64::from(key_epoch) << FIELD_BITS, tag: 0 };
            let expected = if keys.age(key_epoch) < 3 { TokenError::Forged } else { TokenError::OtherEngine };
            assert_eq!(keys.open(&forged), Err(expected), "of {} openings ago", keys.age(key_epoch));
            // An order of an opening that is no longer known still has a token to be shown by.
            let token = keys.seal(Fields { key_epoch, generation: 5, slot: 6 });
            assert_eq!(keys.open(&token).is_ok(), keys.age(key_epoch) < 3);
        }
    }

    #[test]
    fn a_sales_name_is_kept_as_it_is() {
        for name in ["b", "books.2014_04-08", &"n".repeat(64)] {
            assert_eq!(SaleName::new(name).as_str(), name);
        }
    }

    #[test]
    fn a_cut_or_padded_text_says_so() {
        assert_eq!("".parse::<Token>(), Err(TokenError::Length { length: 0 }));
        assert_eq!("0".repeat(25).parse::<Token>(), Err(TokenError::Length { length: 25 }));
        assert_eq!("0".repeat(27).parse::<Token>(), Err(TokenError::Length { length: 27 }));
        assert_eq!(("0".repeat(20) + "!00000").parse::<Token>(), Err(TokenError::Character { at: 20 }));
        assert_eq!(("0".repeat(25) + "Z").parse::<Token>(), Err(TokenError::Character { at: 25 }), "spare bits");
    }
}
