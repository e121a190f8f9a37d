//! What is said to a buyer, and the id under which it is said once.

use std::{fmt, num::ParseIntError, str::FromStr, sync::Arc};

use crate::core::{Buyer, Invitation, Timestamp, Token};

/// The id of a message: the number of the journal's record that it follows from, and its place among that record's
/// messages. Later messages have greater ids. As text `17-0`, which is what a Redis stream calls its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The record, counted from 1.
    pub record: u64,
    /// The place among its messages, counted from 0.
    pub part: u32,
}

impl MessageId {
    /// Before the first message.
    pub const START: Self = Self { record: 0, part: 0 };
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.record, self.part)
    }
}

/// A text is no message id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no message id: write record-part, as in 17-0")]
pub struct MessageIdError {
    /// The text.
    pub text: String,
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let parse = |(record, part): (&str, &str)| {
            let id = Self { record: record.parse()?, part: part.parse()? };
            Ok::<_, ParseIntError>(id)
        };
        let id = text.split_once('-').and_then(|parts| parse(parts).ok());
        // One spelling an id: no plus, no leading zero.
        id.filter(|id| id.to_string() == text).ok_or_else(|| MessageIdError { text: text.to_owned() })
    }
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageKind {
    /// The sale is near.
    Reminder,
    /// The way to the sale.
    PurchaseLink {
        /// Good for this buyer and this sale only.
        invitation: Invitation,
    },
    /// An order is paid.
    Confirmation {
        /// The order's number in the sale.
        sequence: u64,
        /// The token of the hold that was sold, or of the basket.
        order: Token,
        /// Units.
        quantity: u32,
    },
    /// An order is on its way.
    ShippingNotice {
        /// The order's number in the sale.
        sequence: u64,
    },
}

/// One message to one buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its id, the same whenever the journal is read.
    pub id: MessageId,
    /// The sale's name.
    pub sale: Arc<str>,
    /// To whom.
    pub buyer: Buyer,
    /// When what it tells of happened: the announcement, the order, the shipping.
    pub at: Timestamp,
    /// What it says.
    pub kind: MessageKind,
}

/// One line without its end, with tabs between the fields: id, instant, sale, buyer, then `reminder`, or `link` and
/// the invitation, or `confirmation` and the order's number, quantity and token, or `shipping` and the order's number.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, sale, buyer, at, kind } = self;
        write!(f, "{id}\t{at}\t{sale}\t{buyer}\t")?;
        match kind {
            MessageKind::Reminder => write!(f, "reminder"),
            MessageKind::PurchaseLink { invitation } => write!(f, "link\t{invitation}"),
            MessageKind::Confirmation { sequence, order, quantity } => {
                write!(f, "confirmation\t{sequence}\t{quantity}\t{order}")
            }
            MessageKind::ShippingNotice { sequence } => write!(f, "shipping\t{sequence}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        for id in [MessageId::START, MessageId { record: 17, part: 3 }, MessageId { record: u64::MAX, part: u32::MAX }]
        {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "-", "1", "1-", "-1", "+1-0", "01-0", "1-00", "1-0 ", "1-4294967296", "1-0-0"] {
            assert_eq!(text.parse::<MessageId>(), Err(MessageIdError { text: text.to_owned() }));
        }
        assert!(MessageId { record: 2, part: 9 } < MessageId { record: 10, part: 0 });
    }
}
