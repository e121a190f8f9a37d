//! Journals that no engine wrote.
//!
//! What must hold of each:
//! 1. It is opened or refused, and takes memory for its bytes and for the stock that its sales declare, no more.
//! 2. A refusal names the folder, damage the file and the offset; and damage has changed no byte.
//! 3. One that was opened adds up, sells on, and is the same when it is opened again.
//! 4. A record that is read at all has one spelling: it encodes to the bytes that it was read from.
//! 5. A salvage comes to an end; of a journal that was opened it tells every order, and no damage.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::shelf::Shelf;
use crate::{
    Audit, Engine, ManualClock, OpenError, Salvage, Salvaged, Timestamp,
    engine::JournalReader,
    journal::{
        Change, Disk, FrameBuffer, Identity, JournalOptions, Record, SECRET_FILE, Salvage as SalvagedJournal,
        SegmentHeader, SegmentWriter, Sizes, Tail, VERSION, file_name,
    },
};

/// Bytes that the segments before the last one have at most.
const SEGMENT_BYTES: u64 = 8 << 10;

/// Larger stocks are left out: memory follows the stock, and a fuzzer would look for nothing else.
const MOST_STOCK: u32 = 1 << 12;

const SIZES: Sizes = Sizes { segment_bytes: SEGMENT_BYTES, fill_bytes: 64 };

/// The folder's secret as a journal writes it, and the journal's random numbers, as a [`Shelf`] draws them.
const SECRET: [u8; 32] = [0x5e; 32];
const IDENTITY: Identity = Identity { engine_id: u64::from_le_bytes([0x5e; 8]), salt: u64::from_le_bytes([0x5e; 8]) };

/// The input: a byte of which bit 0 says that segments have headers of their own, bit 1 that the secret's file is the
/// first part; then parts, each its length in two bytes and so many bytes.
///
/// # Panics
/// If one of the properties at the top of this file does not hold.
pub fn journal_bytes(input: &[u8]) {
    let Some((&shape, mut rest)) = input.split_first() else { return };
    let shelf = Shelf::default();
    if shape & 2 == 0 {
        keep_secret(&shelf);
    } else {
        let secret = part(&mut rest, u16::MAX.into()).map_or_else(Vec::new, |(_, part)| part.to_vec());
        shelf.with(SECRET_FILE, |contents| *contents = secret);
    }
    for segment in 1..=4 {
        let Some((_, part)) = part(&mut rest, u16::MAX.into()) else { break };
        if shape & 1 == 0 {
            let first = if segment == 1 { 1 } else { u64::from(part.first().copied().unwrap_or_default()) };
            begin(&shelf, segment, first);
        }
        shelf.with(&file_name(segment), |contents| contents.extend_from_slice(part));
    }
    holds(&shelf);
}

/// The input: records, each with its length in the lower 12 of 16 bits, and in the uppermost one whether a frame
/// begins with it. A record that opens an epoch always begins a frame, of that epoch.
///
/// # Panics
/// If one of the properties at the top of this file does not hold.
pub fn journal_records(mut input: &[u8]) {
    let shelf = Shelf::default();
    keep_secret(&shelf);
    let disk: Arc<dyn Disk> = Arc::new(shelf.clone());
    let mut writer = SegmentWriter::create(&disk, header(1, 1), SIZES).expect("a shelf never fails");
    let mut frame = Frame { buffer: FrameBuffer::new(usize::MAX), epoch: 1, writer: &mut writer };
    frame.add(|out| Record::Opened { epoch: 1, incarnation: 7, at: Timestamp::from_millis(1_000) }.encode(out));
    while let Some((begins, bytes)) = part(&mut input, 0xfff) {
        let record = Record::decode(bytes);
        if let Ok(record) = &record {
            let mut again = Vec::new();
            record.encode(&mut again);
            assert_eq!(again, bytes, "a second spelling of {record:?}");
        }
        match record {
            Ok(record) if is_large(&record) => {}
            Ok(Record::Opened { epoch, .. }) => frame.next(epoch),
            _ if begins => frame.next(frame.epoch),
            _ => {}
        }
        if !Record::decode(bytes).is_ok_and(|record| is_large(&record)) {
            frame.add(|out| out.extend_from_slice(bytes));
        }
    }
    frame.next(1);
    holds(&shelf);
}

/// The records of a journal, as input of [`journal_records`].
struct Frame<'a> {
    buffer: FrameBuffer,
    epoch: u32,
    writer: &'a mut SegmentWriter,
}

impl Frame<'_> {
    fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.buffer.begin();
        self.buffer.push(encode);
    }

    /// Ends the frame; the next one is of `epoch`.
    fn next(&mut self, epoch: u32) {
        let (writer, own) = (&mut *self.writer, self.epoch);
        self.buffer.write(|frame, part| writer.append(frame, part, own)).expect("a shelf never fails");
        self.buffer.clear(0);
        self.epoch = epoch;
    }
}

/// What is left out: it would only show that memory follows the stock.
fn is_large(record: &Record) -> bool {
    match record {
        Record::SaleCreated { slots, spec, .. } => {
            spec.stock > MOST_STOCK
                || *slots > 2 * MOST_STOCK
                || spec.waitlist.is_some_and(|list| list.room > MOST_STOCK)
        }
        Record::SaleChanged { change: Change::Added { units } | Change::Withdrawn { units }, .. } => {
            *units > MOST_STOCK
        }
        Record::SaleChanged { change: Change::Extent { slots, .. }, .. } => *slots > 2 * MOST_STOCK,
        // There is an end of epochs, and a journal says so.
        Record::Opened { epoch, .. } => *epoch > u32::MAX / 2,
        _ => false,
    }
}

/// Takes the next part: whether its uppermost bit is set, and as many bytes as `mask` leaves of its length.
fn part<'a>(rest: &mut &'a [u8], mask: usize) -> Option<(bool, &'a [u8])> {
    let (length, behind) = rest.split_first_chunk()?;
    let length = u16::from_le_bytes(*length);
    let (part, behind) = behind.split_at((usize::from(length) & mask).min(behind.len()));
    *rest = behind;
    Some((length >> 15 == 1, part))
}

fn keep_secret(shelf: &Shelf) {
    crate::journal::keep_secret(shelf).expect("a shelf never fails");
}

fn header(segment: u32, first: u64) -> SegmentHeader {
    SegmentHeader { identity: IDENTITY, segment, first, epoch: 1, last: 0, version: VERSION }
}

/// Begins a segment with a header that holds.
fn begin(shelf: &Shelf, segment: u32, first: u64) {
    let disk: Arc<dyn Disk> = Arc::new(shelf.clone());
    SegmentWriter::create(&disk, header(segment, first), SIZES).expect("a shelf never fails");
}

fn open(shelf: &Shelf) -> Result<(Engine, Arc<ManualClock>), OpenError> {
    let clock = Arc::new(ManualClock::default());
    let options = JournalOptions {
        segment_bytes: SEGMENT_BYTES,
        fill_bytes: SIZES.fill_bytes,
        ..JournalOptions::at(Timestamp::from_millis(1_000))
    };
    let engine =
        Engine::options().clock(Arc::clone(&clock) as _).stripes(1).open_on(Arc::new(shelf.clone()), options)?;
    Ok((engine, clock))
}

/// The properties at the top of this file.
fn holds(shelf: &Shelf) {
    let before = shelf.image();
    let salvaged = salvage(shelf);
    let (engine, clock) = match open(shelf) {
        Ok(opened) => opened,
        Err(error) => return refusal_holds(shelf, &before, &error),
    };
    adds_up(&engine);
    let known: u64 = engine.audit().iter().map(|audit| audit.orders).sum();
    assert_eq!(orders(shelf), known, "a reader and the engine see other orders");
    assert_eq!(salvaged, (known, 0), "a salvage and the engine see other orders, or it sees damage");
    if let Some(mut outbox) = engine.outbox().expect("the journal was just read") {
        while {
            let mut messages = Vec::new();
            outbox.read(64, &mut messages).expect("the same");
            !messages.is_empty()
        } {}
    }
    sells_on(&engine, &clock);
    let closed = engine.audit();
    engine.close().expect("a shelf never fails");
    let (again, _clock) = open(shelf).expect("what was opened and closed well is opened again");
    assert_eq!(again.audit(), closed, "another state after it was opened again");
}

fn refusal_holds(shelf: &Shelf, before: &BTreeMap<String, Vec<u8>>, error: &OpenError) {
    let message = error.to_string();
    assert!(message.contains("/shelf"), "which journal? {message}");
    match error {
        OpenError::Corrupt { file, .. } | OpenError::Replay { file, .. } => {
            assert!(message.contains(&file.display().to_string()) && message.contains("at byte"), "{message}");
            assert_eq!(&shelf.image(), before, "a journal that is refused was changed: {message}");
        }
        OpenError::NewerVersion { .. } | OpenError::Contradiction { .. } => {}
        error => panic!("a shelf never fails: {error}"),
    }
}

fn adds_up(engine: &Engine) {
    let broken: Vec<Audit> = engine.audit().into_iter().filter(|audit| !audit.holds()).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

fn orders(shelf: &Shelf) -> u64 {
    let tail = Tail::on(Arc::new(shelf.clone())).expect("the journal was just read");
    let mut orders = 0;
    for order in JournalReader::of(tail, SECRET) {
        order.expect("the journal was just read");
        orders += 1;
    }
    orders
}

/// How many orders a salvage tells, and how many damages.
fn salvage(shelf: &Shelf) -> (u64, u64) {
    let journal = SalvagedJournal::on(Arc::new(shelf.clone())).expect("a shelf never fails");
    let (mut orders, mut damages) = (0, 0);
    for piece in Salvage::of(journal, Some(SECRET)) {
        match piece.expect("a shelf never fails") {
            Salvaged::Order(_) => orders += 1,
            Salvaged::Damage(damage) => {
                assert!(!damage.places.is_empty(), "a damage that is nowhere");
                damages += 1;
            }
        }
    }
    (orders, damages)
}

/// Buys, cancels and lets time pass, as long as the sales go along with it.
fn sells_on(engine: &Engine, clock: &ManualClock) {
    for sale in engine.sales() {
        for buyer in [7, 8] {
            if let Ok(hold) = sale.reserve(buyer, 1) {
                let token = hold.token();
                if buyer == 7 {
                    sale.cancel(&token).expect("it was just made");
                } else {
                    let paid = sale.confirm(&token, 1_001).expect("it was just made").wait();
                    paid.expect("a shelf never fails");
                }
            }
        }
    }
    adds_up(engine);
    for hours in [0, 1, 24 * 366] {
        clock.advance(Duration::from_hours(hours));
        engine.tick(engine.now());
        adds_up(engine);
    }
}
