//! The form of a sale in Redis: its keys, and the text of one record.
//!
//! The text of a record never changes once it is written: a batch that comes again is compared with it byte for
//! byte. Another form would need other keys.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::{Buyer, PaymentId, SoldRecord, Timestamp};

/// The two keys of one sale. The braces are a hash tag: both live in one slot of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) ledger: String,
    pub(super) sales: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, sale: &str) -> Self {
        Self { ledger: format!("{prefix}:{{{sale}}}:ledger"), sales: format!("{prefix}:{{{sale}}}:sales") }
    }
}

/// Whether `prefix` may stand before a hash tag: printable ASCII without braces and spaces, 1 to 64 bytes.
pub(super) fn is_prefix(prefix: &str) -> bool {
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte))
}

#[derive(Serialize, Deserialize)]
struct Row {
    buyer: String,
    quantity: u32,
    payment: String,
    at: String,
    order: String,
}

/// The text of `record`: what stands in the field of its sequence.
pub(crate) fn text(record: &SoldRecord) -> String {
    let row = Row {
        buyer: record.buyer.to_string(),
        quantity: record.quantity,
        payment: record.payment.to_string(),
        at: record.at.to_string(),
        order: record.order.clone(),
    };
    serde_json::to_string(&row).expect("a struct of texts and a number has a JSON form")
}

/// The record whose text this is, as far as it can be read.
pub(super) fn parse(sequence: u64, text: &str) -> Option<SoldRecord> {
    let row: Row = serde_json::from_str(text).ok()?;
    Some(SoldRecord {
        sequence,
        buyer: buyer(&row.buyer)?,
        quantity: row.quantity,
        payment: PaymentId::new(&row.payment).ok()?,
        at: instant(&row.at)?,
        order: row.order,
    })
}

/// The inverse of [`Buyer`]'s `Display`.
fn buyer(text: &str) -> Option<Buyer> {
    match text.strip_prefix('h') {
        Some(digits) if digits.len() == 32 && digits.is_ascii() => {
            let (high, low) = digits.split_at(16);
            Some(Buyer::from_words(u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?))
        }
        Some(_) => None,
        None => text.parse().ok().map(|number: u64| Buyer::from(number)),
    }
}

/// The inverse of [`Timestamp`]'s `Display`, which calls what no calendar has "never".
fn instant(text: &str) -> Option<Timestamp> {
    if text == "never" {
        return Some(Timestamp::MAX);
    }
    let instant: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(instant.as_millisecond()).ok().map(Timestamp::from_millis)
}

/// 128 bits that stand for an order id, so that a sale of millions is compared in 16 bytes a record.
pub(super) fn fingerprint(order: &str) -> u128 {
    let mut hasher = SipHasher24::new();
    hasher.write(order.as_bytes());
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(buyer: Buyer, millis: u64) -> SoldRecord {
        let payment = PaymentId::new("pi_\"quoted\\\"").unwrap();
        SoldRecord::new(7, buyer, 2, payment, Timestamp::from_millis(millis), "01JQ")
    }

    #[test]
    fn the_text_of_a_record_is_pinned() {
        let at = Timestamp::from_millis(1_775_008_800_123);
        let record = SoldRecord::new(1, Buyer::from(42), 1, PaymentId::from(9), at, "01JQ");
        let expected = r#"{"buyer":"42","quantity":1,"payment":"9","at":"2026-04-01T02:00:00.123Z","order":"01JQ"}"#;
        assert_eq!(text(&record), expected);
    }

    #[test]
    fn a_record_survives_its_text() {
        for buyer in [Buyer::from(0), Buyer::from(u64::MAX), Buyer::keyed(&[3; 16], b"li.wei")] {
            for millis in [0, 1, 999, 1_775_008_800_000, 1_775_008_800_120, u64::MAX] {
                let record = record(buyer, millis);
                assert_eq!(parse(7, &text(&record)).unwrap(), record);
            }
        }
    }

    #[test]
    fn what_is_no_record_does_not_parse() {
        for text in ["", "{}", "17", r#"{"buyer":"h12","quantity":1,"payment":"9","at":"never","order":""}"#] {
            assert_eq!(parse(1, text), None, "{text}");
        }
    }

    #[test]
    fn both_keys_share_one_hash_tag() {
        let keys = Keys::new("sellout", "mx3");
        assert_eq!((keys.ledger.as_str(), keys.sales.as_str()), ("sellout:{mx3}:ledger", "sellout:{mx3}:sales"));
        assert!(is_prefix("shop-7:sellout"));
        assert!(["", "a b", "a{", "}"].iter().all(|prefix| !is_prefix(prefix)));
    }
}
