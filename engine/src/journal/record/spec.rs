//! The rules of a sale as bytes: the first rules as they always were, and behind them those that came later.
//!
//! Holds true: a spec that uses none of the later rules has the bytes that it always had. The labels of listed units
//! are not here: they stand before, in records of their own.

use super::{
    DecodeError,
    bytes::{Input, put_instant, put_option, put_span, put_text, put_u32, put_u64},
};
use crate::spec::{Amounts, Audience, SaleSpec, Units, WaitOrder, Waitlist};

const EVERYONE: u8 = 0;
const REGISTERED: u8 = 1;
const REGISTERED_FOR: u8 = 2;
const BUYERS_OF: u8 = 3;
const INVITED: u8 = 4;

const ALIKE: u8 = 0;
const NUMBERED: u8 = 1;
const LISTED: u8 = 2;
const AMOUNTS: u8 = 3;

const FIRST_COME: u8 = 0;
const LOTTERY: u8 = 1;

/// Whether the spec has rules that the first layout can't say.
pub(super) fn is_later(spec: &SaleSpec) -> bool {
    !matches!(spec.audience, Audience::Everyone | Audience::Registered)
        || spec.units != Units::Alike
        || spec.waitlist.is_some()
        || [spec.everyone_from, spec.registers_from, spec.registers_until, spec.reminds_at, spec.links_at]
            .iter()
            .any(Option::is_some)
}

/// The first rules, but for the audience.
fn put_first(out: &mut Vec<u8>, spec: &SaleSpec) {
    put_text(out, &spec.name);
    put_u32(out, spec.stock);
    put_u32(out, spec.cap);
    put_u32(out, spec.largest);
    put_span(out, spec.hold);
    put_span(out, spec.grace);
    put_instant(out, spec.opens_at);
    put_instant(out, spec.closes_at);
}

pub(super) fn put_spec(out: &mut Vec<u8>, spec: &SaleSpec) {
    put_first(out, spec);
    put_audience(out, &spec.audience);
    if !is_later(spec) {
        return;
    }
    for instant in [spec.everyone_from, spec.registers_from, spec.registers_until, spec.reminds_at, spec.links_at] {
        put_instant(out, instant);
    }
    match &spec.units {
        Units::Alike => out.push(ALIKE),
        Units::Numbered { first } => {
            out.push(NUMBERED);
            put_u32(out, *first);
        }
        Units::Listed(_) => out.push(LISTED),
        Units::Amounts(Amounts { budget, floor, ceiling, seed }) => {
            out.push(AMOUNTS);
            put_u64(out, *budget);
            put_u32(out, *floor);
            put_u32(out, *ceiling);
            put_u64(out, *seed);
        }
    }
    put_option(out, spec.waitlist, |out, Waitlist { room, accept_within, order }| {
        put_u32(out, room);
        put_span(out, accept_within);
        match order {
            WaitOrder::FirstCome => out.push(FIRST_COME),
            WaitOrder::Lottery { seed } => {
                out.push(LOTTERY);
                put_u64(out, seed);
            }
        }
    });
}

fn put_audience(out: &mut Vec<u8>, audience: &Audience) {
    match audience {
        Audience::Everyone => out.push(EVERYONE),
        Audience::Registered => out.push(REGISTERED),
        Audience::RegisteredFor(sale) => {
            out.push(REGISTERED_FOR);
            put_text(out, sale);
        }
        Audience::BuyersOf(sale) => {
            out.push(BUYERS_OF);
            put_text(out, sale);
        }
        Audience::Invited => out.push(INVITED),
    }
}

impl Input<'_> {
    /// A spec in the first layout, or with the later rules behind it.
    pub(super) fn spec(&mut self, later: bool) -> Result<SaleSpec, DecodeError> {
        let mut spec = SaleSpec {
            name: self.text("sale name")?.to_owned(),
            stock: self.u32()?,
            cap: self.u32()?,
            largest: self.u32()?,
            hold: self.span("hold")?,
            grace: self.span("grace")?,
            opens_at: self.instant("opening")?,
            closes_at: self.instant("closing")?,
            ..SaleSpec::new("", 0)
        };
        spec.audience = self.audience()?;
        if later {
            spec.everyone_from = self.instant("opening for everyone")?;
            spec.registers_from = self.instant("registration's opening")?;
            spec.registers_until = self.instant("registration's end")?;
            spec.reminds_at = self.instant("reminder")?;
            spec.links_at = self.instant("link")?;
            spec.units = self.units()?;
            spec.waitlist = self.option("waitlist", Self::waitlist)?;
        }
        // One spelling: the later layout is there for what the first one can't say, and only for that.
        if is_later(&spec) != later {
            return Err(DecodeError::Value { field: "layout", value: later.into() });
        }
        Ok(spec)
    }

    fn audience(&mut self) -> Result<Audience, DecodeError> {
        Ok(match self.u8()? {
            EVERYONE => Audience::Everyone,
            REGISTERED => Audience::Registered,
            REGISTERED_FOR => Audience::RegisteredFor(self.text("sale name")?.to_owned()),
            BUYERS_OF => Audience::BuyersOf(self.text("sale name")?.to_owned()),
            INVITED => Audience::Invited,
            value => return Err(DecodeError::Value { field: "audience", value: value.into() }),
        })
    }

    fn units(&mut self) -> Result<Units, DecodeError> {
        Ok(match self.u8()? {
            ALIKE => Units::Alike,
            NUMBERED => Units::Numbered { first: self.u32()? },
            LISTED => Units::Listed([].into()),
            AMOUNTS => Units::Amounts(Amounts {
                budget: self.u64()?,
                floor: self.u32()?,
                ceiling: self.u32()?,
                seed: self.u64()?,
            }),
            value => return Err(DecodeError::Value { field: "units", value: value.into() }),
        })
    }

    fn waitlist(&mut self) -> Result<Waitlist, DecodeError> {
        Ok(Waitlist {
            room: self.u32()?,
            accept_within: self.span("time to accept")?,
            order: match self.u8()? {
                FIRST_COME => WaitOrder::FirstCome,
                LOTTERY => WaitOrder::Lottery { seed: self.u64()? },
                value => return Err(DecodeError::Value { field: "order", value: value.into() }),
            },
        })
    }
}
