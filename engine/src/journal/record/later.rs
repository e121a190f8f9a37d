//! The kinds of records that came after the first version: units with a face, waitlists, messages, baskets.

use super::{
    BasketConfirmedRecord, BasketHeldRecord, BasketPart, DecodeError, DetailRecord, LEFT, LINK, Line, Notice, OFFERED,
    PASSED_OVER, REMINDER, Record, Unqueued,
    bytes::{Input, put_buyer, put_hold, put_list, put_option, put_text, put_u32, put_u64, put_u128},
    kind,
};
use crate::payment::PaymentId;

impl Record {
    /// The kinds that came after the first version.
    pub(super) fn encode_later(&self, out: &mut Vec<u8>) {
        match self {
            Self::UnitsListed { sale, labels } => {
                out.push(kind::UNITS_LISTED);
                put_u32(out, *sale);
                put_list(out, labels, |out, label| put_text(out, label));
            }
            Self::Detail(detail) => {
                out.push(kind::DETAIL);
                put_u32(out, detail.sale);
                put_u32(out, detail.slot);
                put_u32(out, detail.generation);
                put_option(out, detail.key, put_u128);
                put_list(out, &detail.units, |out, unit| put_u32(out, *unit));
            }
            Self::UnitsWithdrawn { sale, units } => {
                out.push(kind::UNITS_WITHDRAWN);
                put_u32(out, *sale);
                put_list(out, units, |out, unit| put_u32(out, *unit));
            }
            Self::Queued { sale, ticket, buyer, at } => {
                out.push(kind::QUEUED);
                put_u32(out, *sale);
                put_u64(out, *ticket);
                put_buyer(out, *buyer);
                put_u64(out, at.as_millis());
            }
            Self::Unqueued { sale, ticket, how, at } => {
                out.push(kind::UNQUEUED);
                put_u32(out, *sale);
                put_u64(out, *ticket);
                out.push(match how {
                    Unqueued::Left => LEFT,
                    Unqueued::Offered => OFFERED,
                    Unqueued::PassedOver => PASSED_OVER,
                });
                put_u64(out, at.as_millis());
            }
            Self::Announced { sale, notice, at } => {
                out.push(kind::ANNOUNCED);
                put_u32(out, *sale);
                out.push(match notice {
                    Notice::Reminder => REMINDER,
                    Notice::Link => LINK,
                });
                put_u64(out, at.as_millis());
            }
            Self::Shipped { sale, sequence, at } => {
                out.push(kind::SHIPPED);
                put_u32(out, *sale);
                put_u64(out, *sequence);
                put_u64(out, at.as_millis());
            }
            Self::Halted { halted, at } => {
                out.push(kind::HALTED);
                out.push(u8::from(*halted));
                put_u64(out, at.as_millis());
            }
            Self::Skipped { count, latest } => {
                out.push(kind::SKIPPED);
                put_u64(out, *count);
                put_u64(out, latest.as_millis());
            }
            Self::Carried { sale, carried } => {
                out.push(kind::CARRIED);
                Self::encode_carried(*sale, carried, out);
            }
            other => other.encode_basket(out),
        }
    }

    fn encode_basket(&self, out: &mut Vec<u8>) {
        match self {
            Self::BasketHeld(held) => {
                out.push(kind::BASKET_HELD);
                put_u32(out, held.sale);
                put_hold(out, held.hold);
                put_buyer(out, held.buyer);
                put_u64(out, held.deadline.as_millis());
                put_list(out, &held.parts, |out, part| put_part(out, *part));
            }
            Self::BasketConfirmed(confirmed) => {
                out.push(kind::BASKET_CONFIRMED);
                put_u32(out, confirmed.sale);
                put_u64(out, confirmed.sequence);
                put_hold(out, confirmed.hold);
                put_buyer(out, confirmed.buyer);
                put_u64(out, confirmed.at.as_millis());
                put_text(out, confirmed.payment.as_str());
                put_option(out, confirmed.replaces, put_hold);
                put_list(out, &confirmed.parts, |out, (part, sequence)| {
                    put_part(out, *part);
                    put_u64(out, *sequence);
                });
            }
            Self::BasketExpired { sale, hold, buyer, lines, at } => {
                out.push(kind::BASKET_EXPIRED);
                put_u32(out, *sale);
                put_hold(out, *hold);
                put_buyer(out, *buyer);
                put_list(out, lines, |out, line| put_line(out, *line));
                put_u64(out, at.as_millis());
            }
            first => unreachable!("{first:?} is encoded with the kinds of the first version"),
        }
    }

    pub(super) fn decode_later(kind: u8, input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::UNITS_LISTED => Self::UnitsListed {
                sale: input.u32()?,
                labels: input.list(2, |input| input.text("label").map(Box::from))?,
            },
            kind::DETAIL => Self::Detail(DetailRecord {
                sale: input.u32()?,
                slot: input.u32()?,
                generation: input.u32()?,
                key: input.option("key", Input::u128)?,
                units: input.list(4, Input::u32)?,
            }),
            kind::UNITS_WITHDRAWN => Self::UnitsWithdrawn { sale: input.u32()?, units: input.list(4, Input::u32)? },
            kind::QUEUED => {
                Self::Queued { sale: input.u32()?, ticket: input.u64()?, buyer: input.buyer()?, at: input.timestamp()? }
            }
            kind::UNQUEUED => Self::Unqueued {
                sale: input.u32()?,
                ticket: input.u64()?,
                how: match input.u8()? {
                    LEFT => Unqueued::Left,
                    OFFERED => Unqueued::Offered,
                    PASSED_OVER => Unqueued::PassedOver,
                    value => return Err(DecodeError::Value { field: "reason", value: value.into() }),
                },
                at: input.timestamp()?,
            },
            kind::ANNOUNCED => Self::Announced {
                sale: input.u32()?,
                notice: match input.u8()? {
                    REMINDER => Notice::Reminder,
                    LINK => Notice::Link,
                    value => return Err(DecodeError::Value { field: "notice", value: value.into() }),
                },
                at: input.timestamp()?,
            },
            kind::SHIPPED => Self::Shipped { sale: input.u32()?, sequence: input.u64()?, at: input.timestamp()? },
            kind::BASKET_HELD => Self::BasketHeld(BasketHeldRecord {
                sale: input.u32()?,
                hold: input.hold()?,
                buyer: input.buyer()?,
                deadline: input.timestamp()?,
                parts: input.list(PART_BYTES, Input::part)?,
            }),
            kind::BASKET_CONFIRMED => Self::BasketConfirmed(BasketConfirmedRecord {
                sale: input.u32()?,
                sequence: input.u64()?,
                hold: input.hold()?,
                buyer: input.buyer()?,
                at: input.timestamp()?,
                payment: PaymentId::new(input.text("payment id")?)?,
                replaces: input.option("replacement", Input::hold)?,
                parts: input.list(PART_BYTES + 8, |input| Ok((input.part()?, input.u64()?)))?,
            }),
            kind::BASKET_EXPIRED => Self::BasketExpired {
                sale: input.u32()?,
                hold: input.hold()?,
                buyer: input.buyer()?,
                lines: input.list(LINE_BYTES, Input::line)?,
                at: input.timestamp()?,
            },
            kind::HALTED => Self::Halted { halted: input.flag("halt")?, at: input.timestamp()? },
            kind::SKIPPED => match input.u64()? {
                0 => return Err(DecodeError::Value { field: "count", value: 0 }),
                count => Self::Skipped { count, latest: input.timestamp()? },
            },
            kind::CARRIED => Self::decode_carried(input)?,
            kind => return Err(DecodeError::Kind { kind }),
        })
    }
}

pub(super) const LINE_BYTES: usize = 8;
pub(super) const PART_BYTES: usize = LINE_BYTES + 8;

pub(super) fn put_line(out: &mut Vec<u8>, line: Line) {
    put_u32(out, line.sale);
    put_u32(out, line.quantity);
}

pub(super) fn put_part(out: &mut Vec<u8>, part: BasketPart) {
    put_line(out, part.line);
    put_u32(out, part.slot);
    put_u32(out, part.generation);
}

impl Input<'_> {
    pub(super) fn line(&mut self) -> Result<Line, DecodeError> {
        Ok(Line { sale: self.u32()?, quantity: self.u32()? })
    }

    pub(super) fn part(&mut self) -> Result<BasketPart, DecodeError> {
        Ok(BasketPart { line: self.line()?, slot: self.u32()?, generation: self.u32()? })
    }
}
