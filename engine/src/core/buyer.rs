//! Who buys: any `u64`, or any bytes through a keyed 128-bit hash.

use std::{fmt, hash::Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

/// Marks an identity that is the hash of an account name, so that it can never equal a number.
const HASHED: u64 = 1 << 63;

/// A buyer's identity, 128 bits, compared whole.
///
/// Numbers are kept as they are. Account names, UUIDs and other bytes go through
/// [`Engine::buyer`](crate::Engine::buyer), which hashes them with the engine's own key: nobody outside can
/// choose names that collide.
///
/// ```
/// use sellout::{Buyer, Engine};
///
/// let engine = Engine::in_memory();
/// assert_eq!(Buyer::from(7).to_string(), "7");
/// assert_eq!(engine.buyer(b"li.wei"), engine.buyer(b"li.wei"));
/// assert_ne!(engine.buyer(b"li.wei"), engine.buyer(b"han.mei"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buyer {
    high: u64,
    low: u64,
}

impl Buyer {
    /// The identity of an account name under `key`.
    pub(crate) fn keyed(key: &[u8; 16], account: &[u8]) -> Self {
        let mut hasher = SipHasher24::new_with_key(key);
        hasher.write(account);
        let hash = hasher.finish128();
        Self { high: hash.h1 | HASHED, low: hash.h2 }
    }

    pub(crate) const fn from_words(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    pub(crate) const fn words(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// The 128 bits as one number: below 2^64 for buyers that are numbers.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        ((self.high as u128) << 64) | self.low as u128
    }
}

impl From<u64> for Buyer {
    fn from(number: u64) -> Self {
        Self { high: 0, low: number }
    }
}

/// A number in decimal, a hashed account as `h` and 32 hexadecimal digits.
impl fmt::Display for Buyer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.high == 0 { write!(f, "{}", self.low) } else { write!(f, "h{:016x}{:016x}", self.high, self.low) }
    }
}

impl fmt::Debug for Buyer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buyer({self})")
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    //! Properties: 1. an account is never a number, and two accounts are two buyers; 2. who an account is under a key
    //! is so for ever: journals have it.

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_account_is_no_number_and_no_other_account() {
        let accounts: Vec<_> = (0..256_u32).map(|name| Buyer::keyed(&[7; 16], &name.to_le_bytes())).collect();
        assert!(accounts.iter().all(|account| account.words().0 >= 1 << 63));
        let halves = |half: fn(Buyer) -> u64| accounts.iter().map(|account| half(*account)).collect::<HashSet<_>>();
        assert_eq!(halves(|account| account.words().0).len(), accounts.len());
        assert_eq!(halves(|account| account.words().1).len(), accounts.len());
        assert_ne!(accounts[0], Buyer::keyed(&[8; 16], &0_u32.to_le_bytes()));
    }

    #[test]
    fn who_an_account_is_is_frozen() {
        let key = std::array::from_fn(|place| u8::try_from(place).expect("below 16"));
        assert_eq!(Buyer::keyed(&key, b"li.wei").to_string(), "ha92ce9b07e9c4a0a511bcee067e63032");
        assert_eq!(Buyer::keyed(&key, b"li.wei").as_u128(), 0xa92c_e9b0_7e9c_4a0a_511b_cee0_67e6_3032);
    }
}
