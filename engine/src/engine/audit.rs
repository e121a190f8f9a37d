//! The audit: the proof, for one sale, that nothing leaked and nothing was sold twice.

use std::{fmt, hash::Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::core::{Buyer, allocator::Count};

/// A digest of a sale's orders: the same wherever they are counted, in memory, in the journal or in the ledger.
///
/// It is the sum, modulo 2^128, of one hash an order: SipHash-2-4 with 128 bits and an all-zero key over sequence,
/// the buyer's upper and lower 64 bits and the quantity, each as 8 bytes, little endian. The sum doesn't depend on
/// the order of its parts; one missing, double or different order changes it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Digest(u128);

impl Digest {
    /// Counts one order in.
    pub fn add(&mut self, sequence: u64, buyer: Buyer, quantity: u32) {
        let mut hasher = SipHasher24::new();
        let (high, low) = buyer.words();
        for word in [sequence, high, low, u64::from(quantity)] {
            hasher.write(&word.to_le_bytes());
        }
        self.0 = self.0.wrapping_add(hasher.finish128().as_u128());
    }
}

impl Digest {
    /// The sum as a number.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Where every unit of a sale is.
///
/// Free units are counted from the permits, units held and sold slot by slot: no part is computed from another.
/// The figures are exact while nothing moves; while the sale runs they are read one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The sale's name.
    pub sale: String,
    /// Units at the start.
    pub stock: u64,
    /// Units added since.
    pub added: u64,
    /// Units withdrawn since.
    pub withdrawn: u64,
    /// Units sold.
    pub sold: u64,
    /// Units on hold, those being confirmed included.
    pub held: u64,
    /// Units free.
    pub free: u64,
    /// Orders: holds that were sold.
    pub orders: u64,
    /// The digest of the orders.
    pub digest: Digest,
}

impl Audit {
    pub(crate) fn new(sale: &str, stock: u64, added: u64, withdrawn: u64, count: Count) -> Self {
        let Count { free, held, sold } = count;
        let (orders, digest) = (0, Digest::default());
        Self { sale: sale.to_owned(), stock, added, withdrawn, sold, held, free, orders, digest }
    }

    /// Whether `stock + added - withdrawn == sold + held + free`.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.stock + self.added == self.withdrawn + self.sold + self.held + self.free
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sale, stock, added, withdrawn, sold, held, free, digest, .. } = self;
        let sign = if self.holds() { "=" } else { "IS NOT" };
        write!(
            f,
            "{sale}: {stock} + {added} added - {withdrawn} withdrawn {sign} {sold} sold + {held} held + {free} free"
        )?;
        write!(f, ", digest {digest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_ignores_order_and_notices_every_difference() {
        let orders = [(1, Buyer::from(7), 1), (2, Buyer::from(8), 2), (3, Buyer::from(7), 1)];
        let digest = |orders: &[(u64, Buyer, u32)]| {
            let mut digest = Digest::default();
            for &(sequence, buyer, quantity) in orders {
                digest.add(sequence, buyer, quantity);
            }
            digest
        };
        let whole = digest(&orders);
        assert_eq!(whole, digest(&[orders[2], orders[0], orders[1]]));
        assert_ne!(whole, digest(&orders[..2]));
        assert_ne!(whole, digest(&[orders[0], orders[1], orders[2], orders[2]]));
        assert_ne!(whole, digest(&[orders[0], orders[1], (3, Buyer::from(7), 2)]));
        assert_ne!(whole, digest(&[orders[0], orders[1], (4, Buyer::from(7), 1)]));
    }

    #[test]
    fn a_lost_unit_breaks_the_equation() {
        let count = Count { free: 3, held: 2, sold: 5 };
        assert!(Audit::new("a", 8, 3, 1, count).holds());
        assert!(!Audit::new("a", 8, 3, 0, count).holds());
    }
}
