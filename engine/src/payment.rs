//! What the payment provider calls a payment.

use std::fmt;

use crate::text::{ShortText, Unfit};

/// The provider's name for a payment: 1 to 64 bytes of printable ASCII.
///
/// It is kept in the journal and delivered to the ledger, so that a sale can be traced to its money.
///
/// ```
/// use sellout::PaymentId;
///
/// let stripe = PaymentId::new("pi_3MtwBwLkdIwHu7ix28a3tqPa")?;
/// assert_eq!(stripe.as_str(), "pi_3MtwBwLkdIwHu7ix28a3tqPa");
/// assert_eq!(PaymentId::from(42_u64).as_str(), "42");
/// # Ok::<(), sellout::PaymentIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PaymentId(ShortText);

/// Why a text can't be a payment id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentIdError {
    /// It is empty, or longer than 64 bytes.
    #[error("a payment id has 1 to 64 bytes, this one has {length}: hash it, or store the provider's short reference")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// It has a byte that isn't printable ASCII.
    #[error("a payment id is printable ASCII without spaces, this one has byte 0x{byte:02x} at {at}: encode it first")]
    Byte {
        /// The offending byte.
        byte: u8,
        /// Its place, from 0.
        at: usize,
    },
}

impl PaymentId {
    /// Takes the provider's text.
    ///
    /// # Errors
    /// [`PaymentIdError`] if the text is empty, longer than 64 bytes, or not printable ASCII without spaces.
    pub fn new(text: &str) -> Result<Self, PaymentIdError> {
        ShortText::new(text).map(Self).map_err(|unfit| match unfit {
            Unfit::Length(length) => PaymentIdError::Length { length },
            Unfit::Byte { byte, at } => PaymentIdError::Byte { byte, at },
        })
    }

    /// The provider's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<u64> for PaymentId {
    fn from(number: u64) -> Self {
        Self::new(&number.to_string()).expect("a number is printable and has at most 20 digits")
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentId({self})")
    }
}
