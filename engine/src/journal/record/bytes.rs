//! The bytes of which records are made: little-endian integers, counted lists, and what may stand in them.
//!
//! Holds true: reading never panics, never takes memory for a count before the bytes are there, and never goes beyond
//! the end.

use std::time::Duration;

use super::{BUYER_BYTES, CANCELLED, DecodeError, EXPIRED};
use crate::core::{Buyer, End, Timestamp, allocator::HoldId};

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_buyer(out: &mut Vec<u8>, buyer: Buyer) {
    let (high, low) = buyer.words();
    put_u64(out, high);
    put_u64(out, low);
}

pub(super) fn put_hold(out: &mut Vec<u8>, hold: HoldId) {
    put_u32(out, hold.slot);
    put_u32(out, hold.generation);
    put_u16(out, hold.key_epoch);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u16(out, u16::try_from(text.len()).expect("names and payment ids have at most 64 bytes"));
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_span(out: &mut Vec<u8>, span: Duration) {
    put_u64(out, span.as_secs());
    put_u32(out, span.subsec_nanos());
}

pub(super) fn put_instant(out: &mut Vec<u8>, instant: Option<Timestamp>) {
    out.push(u8::from(instant.is_some()));
    put_u64(out, instant.unwrap_or_default().as_millis());
}

/// A list, counted.
pub(super) fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_u32(out, u32::try_from(items.len()).expect("lists are split before they get so long"));
    for item in items {
        put(out, item);
    }
}

/// A word that may be missing.
pub(super) fn put_option<T: Copy>(out: &mut Vec<u8>, value: Option<T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

pub(super) fn put_u128(out: &mut Vec<u8>, value: u128) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_end(out: &mut Vec<u8>, end: End) {
    out.push(match end {
        End::Cancelled => CANCELLED,
        End::Expired => EXPIRED,
    });
}

/// What is left to read.
pub(super) struct Input<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::Value { field, value: value.into() }),
        }
    }

    pub(super) fn hold(&mut self) -> Result<HoldId, DecodeError> {
        Ok(HoldId { slot: self.u32()?, generation: self.u32()?, key_epoch: self.u16()? })
    }

    pub(super) fn timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        self.u64().map(Timestamp::from_millis)
    }

    pub(super) fn buyer(&mut self) -> Result<Buyer, DecodeError> {
        Ok(Buyer::from_words(self.u64()?, self.u64()?))
    }

    pub(super) fn buyers(&mut self) -> Result<Vec<Buyer>, DecodeError> {
        let count = usize::try_from(self.u32()?).map_err(|_| DecodeError::Truncated)?;
        // The bytes are there before memory is asked for: a count alone can't make it large.
        let length = count.checked_mul(BUYER_BYTES).ok_or(DecodeError::Truncated)?;
        let mut list = Input { rest: self.take(length)? };
        (0..count).map(|_| list.buyer()).collect()
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = usize::from(self.u16()?);
        str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Text { field })
    }

    pub(super) fn span(&mut self, field: &'static str) -> Result<Duration, DecodeError> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        if nanos >= 1_000_000_000 {
            return Err(DecodeError::Value { field, value: nanos.into() });
        }
        Ok(Duration::new(seconds, nanos))
    }

    pub(super) fn instant(&mut self, field: &'static str) -> Result<Option<Timestamp>, DecodeError> {
        match (self.u8()?, self.timestamp()?) {
            (0, Timestamp::MIN) => Ok(None),
            (1, instant) => Ok(Some(instant)),
            (value, _) => Err(DecodeError::Value { field, value: value.into() }),
        }
    }

    pub(super) fn end(&mut self) -> Result<End, DecodeError> {
        match self.u8()? {
            CANCELLED => Ok(End::Cancelled),
            EXPIRED => Ok(End::Expired),
            value => Err(DecodeError::Value { field: "end", value: value.into() }),
        }
    }

    pub(super) fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_le_bytes)
    }

    /// A counted list whose items have at least `smallest` bytes each: a count alone can't ask for memory.
    pub(super) fn list<T>(
        &mut self,
        smallest: usize,
        item: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::try_from(self.u32()?).map_err(|_| DecodeError::Truncated)?;
        if count.checked_mul(smallest).is_none_or(|length| length > self.rest.len()) {
            return Err(DecodeError::Truncated);
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn option<T>(
        &mut self,
        field: &'static str,
        value: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.flag(field)? { value(self).map(Some) } else { Ok(None) }
    }
}
