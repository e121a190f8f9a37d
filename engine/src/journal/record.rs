//! Records: what the journal says happened, and their bytes.
//!
//! Holds true: `decode` gives back what `encode` was given, never panics on any bytes, and takes nothing that
//! `encode` could not have written: an unknown kind, a trailing byte or a value out of range is an error. Integers
//! are little-endian. The layout is hand-written and frozen: a new field is a new kind, or a new journal version.

use std::time::Duration;

use crate::{
    core::{Buyer, End, Timestamp, allocator::HoldId},
    payment::{PaymentId, PaymentIdError},
    spec::{Audience, SaleSpec},
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The journal was opened: the first record of an epoch.
    Opened { epoch: u32, incarnation: u64, at: Timestamp },
    /// A sale came to be, on the slots `base .. base + slots`.
    SaleCreated { sale: u32, base: u32, slots: u32, at: Timestamp, spec: SaleSpec },
    /// A sale was changed by its owner.
    SaleChanged { sale: u32, at: Timestamp, change: Change },
    /// These buyers may buy, besides those registered before.
    Registered { sale: u32, buyers: Vec<Buyer> },
    /// A unit was put aside.
    Held(HeldRecord),
    /// A hold ended unsold.
    Ended { sale: u32, slot: u32, generation: u32, end: End, at: Timestamp },
    /// A hold expired: whose it was, in case it is paid all the same.
    Expired { sale: u32, hold: HoldId, buyer: Buyer, quantity: u32, at: Timestamp },
    /// A hold was paid.
    Confirmed(ConfirmedRecord),
    /// An expired hold was paid, and the payment is to be refunded: over the cap, or because nothing was free.
    LateRefused { sale: u32, hold: HoldId, over_cap: bool, at: Timestamp, payment: PaymentId },
}

/// A hold as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldRecord {
    pub(crate) sale: u32,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) key_epoch: u16,
    pub(crate) buyer: Buyer,
    pub(crate) quantity: u32,
    pub(crate) deadline: Timestamp,
}

/// A confirmed sale as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfirmedRecord {
    pub(crate) sale: u32,
    pub(crate) sequence: u64,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) key_epoch: u16,
    pub(crate) buyer: Buyer,
    pub(crate) quantity: u32,
    pub(crate) at: Timestamp,
    pub(crate) payment: PaymentId,
    /// The expired hold in whose place it was sold.
    pub(crate) replaces: Option<HoldId>,
}

/// What an owner can change about a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added { units: u32 },
    Withdrawn { units: u32 },
    Paused,
    Resumed,
    Closed,
    Extent { base: u32, slots: u32 },
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it ends too early")]
    Truncated,
    #[error("{bytes} bytes follow its end")]
    Trailing { bytes: usize },
    #[error("its kind {kind} is unknown")]
    Kind { kind: u8 },
    #[error("its {field} is {value}, which is none of the known values")]
    Value { field: &'static str, value: u64 },
    #[error("its {field} is not UTF-8")]
    Text { field: &'static str },
    #[error("its payment id is not one: {0}")]
    Payment(#[from] PaymentIdError),
}

mod kind {
    pub(super) const OPENED: u8 = 1;
    pub(super) const SALE_CREATED: u8 = 2;
    pub(super) const SALE_CHANGED: u8 = 3;
    pub(super) const REGISTERED: u8 = 4;
    pub(super) const HELD: u8 = 5;
    pub(super) const ENDED: u8 = 6;
    pub(super) const CONFIRMED: u8 = 7;
    pub(super) const LATE_REFUSED: u8 = 8;
    pub(super) const EXPIRED: u8 = 9;
}

mod change {
    pub(super) const ADDED: u8 = 1;
    pub(super) const WITHDRAWN: u8 = 2;
    pub(super) const PAUSED: u8 = 3;
    pub(super) const RESUMED: u8 = 4;
    pub(super) const CLOSED: u8 = 5;
    pub(super) const EXTENT: u8 = 6;
}

const CANCELLED: u8 = 1;
const EXPIRED: u8 = 2;
const EVERYONE: u8 = 0;
const REGISTERED_ONLY: u8 = 1;
const BUYER_BYTES: usize = 16;

impl Record {
    /// Appends the record's bytes to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opened { epoch, incarnation, at } => {
                out.push(kind::OPENED);
                put_u32(out, *epoch);
                put_u64(out, *incarnation);
                put_u64(out, at.as_millis());
            }
            Self::SaleCreated { sale, base, slots, at, spec } => {
                out.push(kind::SALE_CREATED);
                put_u32(out, *sale);
                put_u32(out, *base);
                put_u32(out, *slots);
                put_u64(out, at.as_millis());
                put_spec(out, spec);
            }
            Self::SaleChanged { sale, at, change } => {
                out.push(kind::SALE_CHANGED);
                put_u32(out, *sale);
                put_u64(out, at.as_millis());
                put_change(out, *change);
            }
            Self::Registered { sale, buyers } => Self::encode_registered(*sale, buyers, out),
            Self::Held(held) => {
                out.push(kind::HELD);
                put_u32(out, held.sale);
                put_u32(out, held.slot);
                put_u32(out, held.generation);
                put_u16(out, held.key_epoch);
                put_buyer(out, held.buyer);
                put_u32(out, held.quantity);
                put_u64(out, held.deadline.as_millis());
            }
            Self::Ended { sale, slot, generation, end, at } => {
                out.push(kind::ENDED);
                put_u32(out, *sale);
                put_u32(out, *slot);
                put_u32(out, *generation);
                out.push(match end {
                    End::Cancelled => CANCELLED,
                    End::Expired => EXPIRED,
                });
                put_u64(out, at.as_millis());
            }
            Self::Confirmed(confirmed) => {
                out.push(kind::CONFIRMED);
                put_u32(out, confirmed.sale);
                put_u64(out, confirmed.sequence);
                put_u32(out, confirmed.slot);
                put_u32(out, confirmed.generation);
                put_u16(out, confirmed.key_epoch);
                put_buyer(out, confirmed.buyer);
                put_u32(out, confirmed.quantity);
                put_u64(out, confirmed.at.as_millis());
                put_text(out, confirmed.payment.as_str());
                out.push(u8::from(confirmed.replaces.is_some()));
                if let Some(replaced) = confirmed.replaces {
                    put_hold(out, replaced);
                }
            }
            Self::Expired { sale, hold, buyer, quantity, at } => {
                out.push(kind::EXPIRED);
                put_u32(out, *sale);
                put_hold(out, *hold);
                put_buyer(out, *buyer);
                put_u32(out, *quantity);
                put_u64(out, at.as_millis());
            }
            Self::LateRefused { sale, hold, over_cap, at, payment } => {
                out.push(kind::LATE_REFUSED);
                put_u32(out, *sale);
                put_hold(out, *hold);
                out.push(u8::from(*over_cap));
                put_u64(out, at.as_millis());
                put_text(out, payment.as_str());
            }
        }
    }

    /// Appends the bytes of [`Record::Registered`] for buyers that the caller keeps.
    pub(crate) fn encode_registered(sale: u32, buyers: &[Buyer], out: &mut Vec<u8>) {
        out.push(kind::REGISTERED);
        put_u32(out, sale);
        put_u32(out, u32::try_from(buyers.len()).expect("a batch splits longer lists before"));
        out.reserve(buyers.len() * BUYER_BYTES);
        for buyer in buyers {
            put_buyer(out, *buyer);
        }
    }

    /// Reads the record that `bytes` are, whole.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that `encode` does not write.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input { rest: bytes };
        let record = match input.u8()? {
            kind::OPENED => Self::Opened { epoch: input.u32()?, incarnation: input.u64()?, at: input.timestamp()? },
            kind::SALE_CREATED => Self::SaleCreated {
                sale: input.u32()?,
                base: input.u32()?,
                slots: input.u32()?,
                at: input.timestamp()?,
                spec: input.spec()?,
            },
            kind::SALE_CHANGED => {
                Self::SaleChanged { sale: input.u32()?, at: input.timestamp()?, change: input.change()? }
            }
            kind::REGISTERED => Self::Registered { sale: input.u32()?, buyers: input.buyers()? },
            kind::HELD => Self::Held(HeldRecord {
                sale: input.u32()?,
                slot: input.u32()?,
                generation: input.u32()?,
                key_epoch: input.u16()?,
                buyer: input.buyer()?,
                quantity: input.u32()?,
                deadline: input.timestamp()?,
            }),
            kind::ENDED => Self::Ended {
                sale: input.u32()?,
                slot: input.u32()?,
                generation: input.u32()?,
                end: input.end()?,
                at: input.timestamp()?,
            },
            kind::CONFIRMED => Self::Confirmed(ConfirmedRecord {
                sale: input.u32()?,
                sequence: input.u64()?,
                slot: input.u32()?,
                generation: input.u32()?,
                key_epoch: input.u16()?,
                buyer: input.buyer()?,
                quantity: input.u32()?,
                at: input.timestamp()?,
                payment: PaymentId::new(input.text("payment id")?)?,
                replaces: if input.flag("replacement")? { Some(input.hold()?) } else { None },
            }),
            kind::EXPIRED => Self::Expired {
                sale: input.u32()?,
                hold: input.hold()?,
                buyer: input.buyer()?,
                quantity: input.u32()?,
                at: input.timestamp()?,
            },
            kind::LATE_REFUSED => Self::LateRefused {
                sale: input.u32()?,
                hold: input.hold()?,
                over_cap: input.flag("reason")?,
                at: input.timestamp()?,
                payment: PaymentId::new(input.text("payment id")?)?,
            },
            kind => return Err(DecodeError::Kind { kind }),
        };
        match input.rest.len() {
            0 => Ok(record),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_buyer(out: &mut Vec<u8>, buyer: Buyer) {
    let (high, low) = buyer.words();
    put_u64(out, high);
    put_u64(out, low);
}

fn put_hold(out: &mut Vec<u8>, hold: HoldId) {
    put_u32(out, hold.slot);
    put_u32(out, hold.generation);
    put_u16(out, hold.key_epoch);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u16(out, u16::try_from(text.len()).expect("names and payment ids have at most 64 bytes"));
    out.extend_from_slice(text.as_bytes());
}

fn put_span(out: &mut Vec<u8>, span: Duration) {
    put_u64(out, span.as_secs());
    put_u32(out, span.subsec_nanos());
}

fn put_instant(out: &mut Vec<u8>, instant: Option<Timestamp>) {
    out.push(u8::from(instant.is_some()));
    put_u64(out, instant.unwrap_or_default().as_millis());
}

fn put_spec(out: &mut Vec<u8>, spec: &SaleSpec) {
    put_text(out, &spec.name);
    put_u32(out, spec.stock);
    put_u32(out, spec.cap);
    put_u32(out, spec.largest);
    put_span(out, spec.hold);
    put_span(out, spec.grace);
    put_instant(out, spec.opens_at);
    put_instant(out, spec.closes_at);
    out.push(match spec.audience {
        Audience::Everyone => EVERYONE,
        Audience::Registered => REGISTERED_ONLY,
    });
}

fn put_change(out: &mut Vec<u8>, change: Change) {
    match change {
        Change::Added { units } => {
            out.push(change::ADDED);
            put_u32(out, units);
        }
        Change::Withdrawn { units } => {
            out.push(change::WITHDRAWN);
            put_u32(out, units);
        }
        Change::Paused => out.push(change::PAUSED),
        Change::Resumed => out.push(change::RESUMED),
        Change::Closed => out.push(change::CLOSED),
        Change::Extent { base, slots } => {
            out.push(change::EXTENT);
            put_u32(out, base);
            put_u32(out, slots);
        }
    }
}

/// What is left to read.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::Value { field, value: value.into() }),
        }
    }

    fn hold(&mut self) -> Result<HoldId, DecodeError> {
        Ok(HoldId { slot: self.u32()?, generation: self.u32()?, key_epoch: self.u16()? })
    }

    fn timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        self.u64().map(Timestamp::from_millis)
    }

    fn buyer(&mut self) -> Result<Buyer, DecodeError> {
        Ok(Buyer::from_words(self.u64()?, self.u64()?))
    }

    fn buyers(&mut self) -> Result<Vec<Buyer>, DecodeError> {
        let count = usize::try_from(self.u32()?).map_err(|_| DecodeError::Truncated)?;
        // The bytes are there before memory is asked for: a count alone can't make it large.
        let length = count.checked_mul(BUYER_BYTES).ok_or(DecodeError::Truncated)?;
        let mut list = Input { rest: self.take(length)? };
        (0..count).map(|_| list.buyer()).collect()
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = usize::from(self.u16()?);
        str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Text { field })
    }

    fn span(&mut self, field: &'static str) -> Result<Duration, DecodeError> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        if nanos >= 1_000_000_000 {
            return Err(DecodeError::Value { field, value: nanos.into() });
        }
        Ok(Duration::new(seconds, nanos))
    }

    fn instant(&mut self, field: &'static str) -> Result<Option<Timestamp>, DecodeError> {
        match (self.u8()?, self.timestamp()?) {
            (0, Timestamp::MIN) => Ok(None),
            (1, instant) => Ok(Some(instant)),
            (value, _) => Err(DecodeError::Value { field, value: value.into() }),
        }
    }

    fn spec(&mut self) -> Result<SaleSpec, DecodeError> {
        Ok(SaleSpec {
            name: self.text("sale name")?.to_owned(),
            stock: self.u32()?,
            cap: self.u32()?,
            largest: self.u32()?,
            hold: self.span("hold")?,
            grace: self.span("grace")?,
            opens_at: self.instant("opening")?,
            closes_at: self.instant("closing")?,
            audience: match self.u8()? {
                EVERYONE => Audience::Everyone,
                REGISTERED_ONLY => Audience::Registered,
                value => return Err(DecodeError::Value { field: "audience", value: value.into() }),
            },
        })
    }

    fn change(&mut self) -> Result<Change, DecodeError> {
        Ok(match self.u8()? {
            change::ADDED => Change::Added { units: self.u32()? },
            change::WITHDRAWN => Change::Withdrawn { units: self.u32()? },
            change::PAUSED => Change::Paused,
            change::RESUMED => Change::Resumed,
            change::CLOSED => Change::Closed,
            change::EXTENT => Change::Extent { base: self.u32()?, slots: self.u32()? },
            value => return Err(DecodeError::Value { field: "change", value: value.into() }),
        })
    }

    fn end(&mut self) -> Result<End, DecodeError> {
        match self.u8()? {
            CANCELLED => Ok(End::Cancelled),
            EXPIRED => Ok(End::Expired),
            value => Err(DecodeError::Value { field: "end", value: value.into() }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! Properties: 1. what was encoded is decoded; 2. arbitrary bytes never panic; 3. what decodes encodes to the
    //! same bytes, so that there is one spelling of a record; 4. no shorter or longer spelling is taken.

    use proptest::prelude::*;

    use super::*;

    fn timestamps() -> impl Strategy<Value = Timestamp> {
        any::<u64>().prop_map(Timestamp::from_millis)
    }

    fn buyers() -> impl Strategy<Value = Buyer> {
        any::<(u64, u64)>().prop_map(|(high, low)| Buyer::from_words(high, low))
    }

    fn spans() -> impl Strategy<Value = Duration> {
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
    }

    fn specs() -> impl Strategy<Value = SaleSpec> {
        let numbers = any::<(u32, u32, u32, bool)>();
        let window = (proptest::option::of(timestamps()), proptest::option::of(timestamps()));
        ("[A-Za-z0-9._-]{1,64}", numbers, spans(), spans(), window).prop_map(
            |(name, (stock, cap, largest, everyone), hold, grace, (opens_at, closes_at))| SaleSpec {
                name,
                stock,
                cap,
                largest,
                hold,
                grace,
                opens_at,
                closes_at,
                audience: if everyone { Audience::Everyone } else { Audience::Registered },
            },
        )
    }

    fn changes() -> impl Strategy<Value = Change> {
        prop_oneof![
            any::<u32>().prop_map(|units| Change::Added { units }),
            any::<u32>().prop_map(|units| Change::Withdrawn { units }),
            Just(Change::Paused),
            Just(Change::Resumed),
            Just(Change::Closed),
            any::<(u32, u32)>().prop_map(|(base, slots)| Change::Extent { base, slots }),
        ]
    }

    /// Any record.
    pub(crate) fn records() -> impl Strategy<Value = Record> {
        prop_oneof![
            (any::<(u32, u64)>(), timestamps()).prop_map(|((epoch, incarnation), at)| Record::Opened {
                epoch,
                incarnation,
                at
            }),
            (any::<(u32, u32, u32)>(), timestamps(), specs())
                .prop_map(|((sale, base, slots), at, spec)| { Record::SaleCreated { sale, base, slots, at, spec } }),
            (any::<u32>(), timestamps(), changes()).prop_map(|(sale, at, change)| Record::SaleChanged {
                sale,
                at,
                change
            }),
            (any::<u32>(), proptest::collection::vec(buyers(), 0..20))
                .prop_map(|(sale, buyers)| Record::Registered { sale, buyers }),
            (any::<(u32, u32, u32, u16, u32)>(), buyers(), timestamps()).prop_map(
                |((sale, slot, generation, key_epoch, quantity), buyer, deadline)| {
                    Record::Held(HeldRecord { sale, slot, generation, key_epoch, buyer, quantity, deadline })
                }
            ),
            (any::<(u32, u32, u32, bool)>(), timestamps()).prop_map(|((sale, slot, generation, paid), at)| {
                let end = if paid { End::Cancelled } else { End::Expired };
                Record::Ended { sale, slot, generation, end, at }
            }),
            (any::<(u32, u64, u32, u32, u16, u32)>(), buyers(), timestamps(), "[!-~]{1,64}").prop_map(
                |((sale, sequence, slot, generation, key_epoch, quantity), buyer, at, payment)| {
                    let payment = PaymentId::new(&payment).unwrap();
                    Record::Confirmed(ConfirmedRecord {
                        sale,
                        sequence,
                        slot,
                        generation,
                        key_epoch,
                        buyer,
                        quantity,
                        at,
                        payment,
                        replaces: (slot % 2 == 0).then_some(HoldId { slot: sale, generation, key_epoch }),
                    })
                }
            ),
            (any::<(u32, u32, u32, u16, u32)>(), buyers(), timestamps()).prop_map(
                |((sale, slot, generation, key_epoch, quantity), buyer, at)| {
                    Record::Expired { sale, hold: HoldId { slot, generation, key_epoch }, buyer, quantity, at }
                }
            ),
            (any::<(u32, u32, u32, u16, bool)>(), timestamps(), "[!-~]{1,64}").prop_map(
                |((sale, slot, generation, key_epoch, over_cap), at, payment)| {
                    let payment = PaymentId::new(&payment).unwrap();
                    Record::LateRefused { sale, hold: HoldId { slot, generation, key_epoch }, over_cap, at, payment }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(record in records()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_have_one_spelling(
            kind in 0..11_u8,
            tail in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [vec![kind], tail].concat();
            if let Ok(record) = Record::decode(&bytes) {
                let mut again = Vec::new();
                record.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn every_cut_and_every_extension_is_refused(record in records()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            for length in 0..bytes.len() {
                prop_assert!(Record::decode(&bytes[..length]).is_err());
            }
            bytes.push(0);
            prop_assert_eq!(Record::decode(&bytes), Err(DecodeError::Trailing { bytes: 1 }));
        }

        #[test]
        fn a_changed_byte_is_never_the_same_record(
            record in records(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_ne!(Record::decode(&bytes), Ok(record));
        }
    }

    #[test]
    fn unknown_values_are_named() {
        assert_eq!(Record::decode(&[]), Err(DecodeError::Truncated));
        assert_eq!(Record::decode(&[0]), Err(DecodeError::Kind { kind: 0 }));
        assert_eq!(Record::decode(&[200]), Err(DecodeError::Kind { kind: 200 }));
        let mut bytes = Vec::new();
        Record::Ended { sale: 1, slot: 2, generation: 3, end: End::Expired, at: Timestamp::MIN }.encode(&mut bytes);
        bytes[13] = 9;
        assert_eq!(Record::decode(&bytes), Err(DecodeError::Value { field: "end", value: 9 }));
    }

    #[test]
    fn a_count_alone_takes_no_memory() {
        let bytes = [&[kind::REGISTERED][..], &1_u32.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
        assert_eq!(Record::decode(&bytes), Err(DecodeError::Truncated));
    }
}
