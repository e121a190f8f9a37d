//! Properties: 1. what was encoded is decoded; 2. arbitrary bytes never panic; 3. what decodes encodes to the
//! same bytes, so that there is one spelling of a record; 4. no shorter or longer spelling is taken.

use std::time::Duration;

use proptest::{option, prelude::*};

use super::*;
use crate::spec::{Amounts, Audience, Units, WaitOrder, Waitlist};

fn timestamps() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn buyers() -> impl Strategy<Value = Buyer> {
    any::<(u64, u64)>().prop_map(|(high, low)| Buyer::from_words(high, low))
}

fn spans() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

const NAME: &str = "[A-Za-z0-9._-]{1,64}";

fn audiences() -> impl Strategy<Value = Audience> {
    prop_oneof![
        2 => Just(Audience::Everyone),
        2 => Just(Audience::Registered),
        1 => NAME.prop_map(Audience::RegisteredFor),
        1 => NAME.prop_map(Audience::BuyersOf),
        1 => Just(Audience::Invited),
    ]
}

fn units() -> impl Strategy<Value = Units> {
    prop_oneof![
        4 => Just(Units::Alike),
        1 => any::<u32>().prop_map(|first| Units::Numbered { first }),
        // The labels stand in records of their own.
        1 => Just(Units::Listed([].into())),
        1 => any::<(u64, u32, u32, u64)>()
            .prop_map(|(budget, floor, ceiling, seed)| Units::Amounts(Amounts { budget, floor, ceiling, seed })),
    ]
}

fn waitlists() -> impl Strategy<Value = Waitlist> {
    (any::<(u32, u64, bool)>(), spans()).prop_map(|((room, seed, lottery), accept_within)| {
        let order = if lottery { WaitOrder::Lottery { seed } } else { WaitOrder::FirstCome };
        Waitlist { room, accept_within, order }
    })
}

fn instants() -> impl Strategy<Value = Option<Timestamp>> {
    option::weighted(0.3, timestamps())
}

fn specs() -> impl Strategy<Value = SaleSpec> {
    let rules = (any::<(u32, u32, u32)>(), spans(), spans(), audiences());
    let window = (option::of(timestamps()), option::of(timestamps()));
    let later =
        ([instants(), instants(), instants(), instants(), instants()], units(), option::weighted(0.2, waitlists()));
    (NAME, rules, window, later).prop_map(
        |(name, ((stock, cap, largest), hold, grace, audience), (opens_at, closes_at), (instants, units, waitlist))| {
            let [everyone_from, registers_from, registers_until, reminds_at, links_at] = instants;
            SaleSpec {
                name,
                stock,
                cap,
                largest,
                hold,
                grace,
                opens_at,
                closes_at,
                audience,
                everyone_from,
                registers_from,
                registers_until,
                reminds_at,
                links_at,
                units,
                waitlist,
            }
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
        (option::of(timestamps()), option::of(timestamps()))
            .prop_map(|(opens_at, closes_at)| Change::Window { opens_at, closes_at }),
        any::<u32>().prop_map(|cap| Change::Cap { cap }),
    ]
}

fn holds() -> impl Strategy<Value = HoldId> {
    any::<(u32, u32, u16)>().prop_map(|(slot, generation, key_epoch)| HoldId { slot, generation, key_epoch })
}

fn lines() -> impl Strategy<Value = Line> {
    any::<(u32, u32)>().prop_map(|(sale, quantity)| Line { sale, quantity })
}

fn parts() -> impl Strategy<Value = BasketPart> {
    (lines(), any::<(u32, u32)>()).prop_map(|(line, (slot, generation))| BasketPart { line, slot, generation })
}

fn payments() -> impl Strategy<Value = PaymentId> {
    "[!-~]{1,64}".prop_map(|text| PaymentId::new(&text).unwrap())
}

fn later_records() -> impl Strategy<Value = Record> {
    let few = 0..6;
    let why = prop_oneof![Just(Unqueued::Left), Just(Unqueued::Offered), Just(Unqueued::PassedOver)];
    let notice = prop_oneof![Just(Notice::Reminder), Just(Notice::Link)];
    prop_oneof![
        (any::<u32>(), proptest::collection::vec(".{0,16}", few.clone())).prop_map(|(sale, labels)| {
            Record::UnitsListed { sale, labels: labels.into_iter().map(Box::from).collect() }
        }),
        (any::<(u32, u32, u32)>(), option::of(any::<u128>()), proptest::collection::vec(any::<u32>(), few.clone()))
            .prop_map(|((sale, slot, generation), key, units)| {
                Record::Detail(DetailRecord { sale, slot, generation, key, units })
            }),
        (any::<u32>(), proptest::collection::vec(any::<u32>(), few.clone()))
            .prop_map(|(sale, units)| Record::UnitsWithdrawn { sale, units }),
        (any::<(u32, u64)>(), buyers(), timestamps()).prop_map(|((sale, ticket), buyer, at)| Record::Queued {
            sale,
            ticket,
            buyer,
            at
        }),
        (any::<(u32, u64)>(), why, timestamps()).prop_map(|((sale, ticket), how, at)| Record::Unqueued {
            sale,
            ticket,
            how,
            at
        }),
        (any::<u32>(), notice, timestamps()).prop_map(|(sale, notice, at)| Record::Announced { sale, notice, at }),
        (any::<(u32, u64)>(), timestamps()).prop_map(|((sale, sequence), at)| Record::Shipped { sale, sequence, at }),
        (any::<u32>(), holds(), buyers(), timestamps(), proptest::collection::vec(parts(), few.clone())).prop_map(
            |(sale, hold, buyer, deadline, parts)| {
                Record::BasketHeld(BasketHeldRecord { sale, hold, buyer, deadline, parts })
            }
        ),
        (
            any::<(u32, u64)>(),
            holds(),
            buyers(),
            (timestamps(), payments()),
            option::of(holds()),
            proptest::collection::vec((parts(), any::<u64>()), few.clone())
        )
            .prop_map(|((sale, sequence), hold, buyer, (at, payment), replaces, parts)| {
                let confirmed = BasketConfirmedRecord { sale, sequence, hold, buyer, at, payment, replaces, parts };
                Record::BasketConfirmed(confirmed)
            }),
        (any::<u32>(), holds(), buyers(), proptest::collection::vec(lines(), few), timestamps())
            .prop_map(|(sale, hold, buyer, lines, at)| Record::BasketExpired { sale, hold, buyer, lines, at }),
        (any::<bool>(), timestamps()).prop_map(|(halted, at)| Record::Halted { halted, at }),
    ]
}

fn carried() -> impl Strategy<Value = Record> {
    let few = 0..6;
    let end = prop_oneof![Just(None), Just(Some(End::Cancelled)), Just(Some(End::Expired))];
    let slots = prop_oneof![
        Just(CarriedSlot::Sold),
        (any::<u32>(), end).prop_map(|(generation, end)| CarriedSlot::Free { generation, end }),
        (any::<(u32, u16, u32, bool)>(), buyers(), timestamps()).prop_map(
            |((generation, key_epoch, quantity, part), buyer, deadline)| {
                CarriedSlot::Held { generation, key_epoch, buyer, quantity, deadline, part }
            }
        ),
    ];
    let notes = prop_oneof![
        (buyers(), any::<u32>(), proptest::collection::vec(lines(), 0..4))
            .prop_map(|(buyer, quantity, lines)| CarriedNote::Expired { buyer, quantity, lines }),
        holds().prop_map(CarriedNote::Reacquired),
        any::<bool>().prop_map(|over_cap| CarriedNote::Refused { over_cap }),
    ];
    let late = (holds(), any::<bool>(), notes);
    let late = late.prop_map(|(hold, in_order, note)| CarriedLate { hold, in_order, note });
    let place = || (any::<u64>(), buyers());
    let lists = prop_oneof![
        (any::<u64>(), option::of(place())).prop_map(|(last_ticket, offered)| Carried::Begins { last_ticket, offered }),
        (any::<u32>(), proptest::collection::vec(slots, few.clone()))
            .prop_map(|(first, slots)| Carried::Slots { first, slots }),
        (any::<(u32, u32)>(), option::of(any::<u128>()), proptest::collection::vec(any::<u32>(), few.clone()))
            .prop_map(|((slot, generation), key, units)| {
                Carried::Detail(DetailRecord { sale: 0, slot, generation, key, units })
            }),
        (any::<u32>(), proptest::collection::vec(parts(), few.clone()))
            .prop_map(|(slot, parts)| Carried::Basket { slot, parts }),
        proptest::collection::vec(late, few.clone()).prop_map(Carried::Late),
        proptest::collection::vec(place(), few.clone()).prop_map(Carried::Places),
        proptest::collection::vec((buyers(), holds(), timestamps()), few.clone()).prop_map(Carried::Offers),
        proptest::collection::vec(buyers(), few).prop_map(Carried::PassedOver),
    ];
    (any::<u32>(), lists).prop_map(|(sale, mut carried)| {
        if let Carried::Detail(detail) = &mut carried {
            detail.sale = sale;
        }
        Record::Carried { sale, carried }
    })
}

fn skipped() -> impl Strategy<Value = Record> {
    (1..u64::MAX, timestamps()).prop_map(|(count, latest)| Record::Skipped { count, latest })
}

/// Any record.
pub(crate) fn records() -> impl Strategy<Value = Record> {
    prop_oneof![4 => first_records(), 4 => later_records(), 1 => skipped(), 3 => carried()]
}

fn first_records() -> impl Strategy<Value = Record> {
    prop_oneof![
        (any::<(u32, u64)>(), timestamps()).prop_map(|((epoch, incarnation), at)| Record::Opened {
            epoch,
            incarnation,
            at
        }),
        (any::<(u32, u32, u32)>(), timestamps(), specs())
            .prop_map(|((sale, base, slots), at, spec)| { Record::SaleCreated { sale, base, slots, at, spec } }),
        (any::<u32>(), timestamps(), changes()).prop_map(|(sale, at, change)| Record::SaleChanged { sale, at, change }),
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
        kind in 0..25_u8,
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
fn each_rule_that_came_later_makes_a_spec_of_the_later_layout() {
    let plain = SaleSpec::new("books", 200);
    let later = is_later;
    assert!(!later(&plain) && !later(&SaleSpec { audience: Audience::Registered, ..plain.clone() }));
    let at = Some(Timestamp::from_millis(7));
    let waitlist = Waitlist { room: 1, accept_within: Duration::from_secs(1), order: WaitOrder::FirstCome };
    for spec in [
        SaleSpec { audience: Audience::RegisteredFor("first".to_owned()), ..plain.clone() },
        SaleSpec { audience: Audience::BuyersOf("first".to_owned()), ..plain.clone() },
        SaleSpec { audience: Audience::Invited, ..plain.clone() },
        SaleSpec { units: Units::Numbered { first: 1 }, ..plain.clone() },
        SaleSpec { waitlist: Some(waitlist), ..plain.clone() },
        SaleSpec { everyone_from: at, ..plain.clone() },
        SaleSpec { registers_from: at, ..plain.clone() },
        SaleSpec { registers_until: at, ..plain.clone() },
        SaleSpec { reminds_at: at, ..plain.clone() },
        SaleSpec { links_at: at, ..plain.clone() },
    ] {
        assert!(later(&spec), "{spec:?}");
    }
}

#[test]
fn a_count_alone_takes_no_memory() {
    let bytes = [&[kind::REGISTERED][..], &1_u32.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    assert_eq!(Record::decode(&bytes), Err(DecodeError::Truncated));
}
