//! Frames: one group commit is one frame, one write and one sync.
//!
//! A frame, padded with zeros to 8 bytes, all integers little-endian:
//!
//! ```text
//! magic u32 | payload length u32 | crc32 u32 | records u32 | first record number u64 | epoch u32 | zero u32
//! payload: (length u32 | record)*
//! ```
//!
//! Holds true: a frame is whole or it is nothing. Its one checksum covers every byte of it, its padding included,
//! and binds it to its place (segment and offset) and to the journal's salt, which only the folder knows: bytes
//! that a customer chose (a payment id, an account number) never pass for a frame, wherever a torn write leaves
//! them.
//!
//! Why one checksum a frame and not one a record: a disk may write the sectors of one commit in any order. After a
//! power loss a batch of checksummed records can then be valid, torn, valid again: a harmless torn tail looks like
//! rot in the middle, or rot like a torn tail. A frame is acknowledged as a whole, so it is judged as a whole; and
//! since the next frame is written only after the sync of the last came back, at most one frame, the last, can be
//! torn. Hence the rule of recovery: no valid frame here, and a valid one anywhere later = rot, refuse; no valid
//! frame here and none later = the torn tail of a commit that nobody was told of, or nothing at all.
//!
//! Whether a last frame that does not hold is torn or has rotted, `torn` tells by what is left of it. So that the end
//! of a frame can be seen, its padding isn't zeros.
//!
//! The limit. A frame may begin in the sector in which the last one ended, so a sector must be written whole or not
//! at all, as disks promise: a device that tears within a sector can damage the frame before, which was acknowledged.
//!
//! A batch beyond the usual payload becomes several frames, and each is synced before the next is written. One sync
//! for all of them would let the second be whole while the first is torn, which is what rot looks like. But one
//! append is never parted: its records rest on each other, so it has one frame, however large.

use crc32fast::Hasher;

use super::{
    record::{DecodeError, Record},
    torn::POLYNOMIAL,
};

/// The bytes before the payload.
pub(crate) const FRAME_HEADER: usize = 32;
/// The payload, in bytes, up to which appends share a frame; also the largest record.
pub(crate) const MAX_PAYLOAD: usize = 8 << 20;
/// The largest payload, in bytes, of a frame that one append fills alone.
pub(crate) const LARGEST_PAYLOAD: usize = 1 << 30;
/// What a frame is padded with: any byte but zero, which is what a write that was cut short leaves.
const PADDING: u8 = 0xa5;
/// Frames start at multiples of this many bytes.
pub(crate) const ALIGNMENT: usize = 8;
/// Not printable, so that no text that a customer chose holds it.
pub(crate) const MAGIC: [u8; 4] = [0xf5, 0x5e, 0x11, 0x07];

const LENGTH_AT: usize = 4;
const CRC_AT: usize = 8;
const RECORDS_AT: usize = 12;
const FIRST_AT: usize = 16;
const EPOCH_AT: usize = 24;
const ZERO_AT: usize = 28;
/// The smallest record is a kind without fields.
const SMALLEST_ENTRY: usize = ENTRY_LENGTH + 1;
/// The bytes before each record.
const ENTRY_LENGTH: usize = 4;

/// The length with its padding.
const fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

/// Where a frame stands; its checksum holds nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) salt: u64,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
}

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload: usize,
    pub(crate) records: u32,
    pub(crate) first: u64,
    pub(crate) epoch: u32,
    crc: u32,
}

impl FrameHeader {
    /// The header that `bytes` may be; its checksum is still to be checked.
    pub(crate) fn parse(bytes: &[u8; FRAME_HEADER]) -> Option<Self> {
        if bytes[..LENGTH_AT] != MAGIC || word(bytes, ZERO_AT) != 0 {
            return None;
        }
        let first = u64::from(word(bytes, FIRST_AT)) | u64::from(word(bytes, FIRST_AT + 4)) << 32;
        let records = word(bytes, RECORDS_AT);
        let payload = usize::try_from(word(bytes, LENGTH_AT)).ok()?;
        let fewest = usize::try_from(records).ok()?.checked_mul(SMALLEST_ENTRY)?;
        if records == 0 || first == 0 || payload > LARGEST_PAYLOAD || payload < fewest {
            return None;
        }
        Some(Self { payload, records, first, epoch: word(bytes, EPOCH_AT), crc: word(bytes, CRC_AT) })
    }

    /// The frame's length in bytes, header and padding included.
    pub(crate) const fn frame_length(&self) -> usize {
        padded(FRAME_HEADER + self.payload)
    }

    /// The number of the frame's last record, where each record has one.
    pub(crate) const fn last(&self) -> u64 {
        self.first.saturating_add(self.records as u64 - 1)
    }

    /// Whether `frame`, the whole frame that starts with this header, is what was written at `place`.
    pub(crate) fn holds(&self, frame: &[u8], place: Place) -> bool {
        self.difference(frame, place) == Some(0)
    }

    /// By which bits the checksum of `frame`, the whole frame that starts with this header, is another at `place`.
    pub(crate) fn difference(&self, frame: &[u8], place: Place) -> Option<u32> {
        (frame.len() == self.frame_length()).then(|| checksum(frame, place) ^ self.crc)
    }

    /// A salt under which `frame`, the whole frame that starts with this header, holds at `offset` of `segment`: the
    /// checksums of a journal are the same under it as under its own, if this is a frame of it.
    pub(crate) fn salt(&self, frame: &[u8], segment: u32, offset: u64) -> u64 {
        let place = [&segment.to_le_bytes()[..], &offset.to_le_bytes()].concat();
        let parts = [&place, &frame[..CRC_AT], &frame[RECORDS_AT..]];
        // The checksum's register behind the salt, found backwards; then the word that leads to it, behind a zero word.
        let behind = parts.iter().rev().flat_map(|part| part.iter().rev()).fold(!self.crc, |it, byte| back(it, *byte));
        let mut zero_word = Hasher::new();
        zero_word.update(&[0; 4]);
        let word = !zero_word.finalize() ^ (0..4).fold(behind, |register, _| back(register, 0));
        u64::from(word) << 32
    }
}

/// The register of the checksum before it took in `byte`.
fn back(register: u32, byte: u8) -> u32 {
    let step = |register: u32, _| if register >> 31 == 1 { (register ^ POLYNOMIAL) << 1 | 1 } else { register << 1 };
    (0..8).fold(register, step) ^ u32::from(byte)
}

fn word(bytes: &[u8; FRAME_HEADER], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The checksum of `frame` at `place`, its own field left out.
fn checksum(frame: &[u8], place: Place) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&place.salt.to_le_bytes());
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(&frame[..CRC_AT]);
    hasher.update(&frame[RECORDS_AT..]);
    hasher.finalize()
}

/// Fills in the header of `frame`, whose payload and padding are there.
pub(crate) fn seal(frame: &mut [u8], part: Part, first: u64, epoch: u32, place: Place) {
    let length = u32::try_from(part.payload).expect("a payload has at most 1 GiB");
    frame[..LENGTH_AT].copy_from_slice(&MAGIC);
    frame[LENGTH_AT..CRC_AT].copy_from_slice(&length.to_le_bytes());
    frame[RECORDS_AT..FIRST_AT].copy_from_slice(&part.records.to_le_bytes());
    frame[FIRST_AT..EPOCH_AT].copy_from_slice(&first.to_le_bytes());
    frame[EPOCH_AT..ZERO_AT].copy_from_slice(&epoch.to_le_bytes());
    frame[ZERO_AT..FRAME_HEADER].fill(0);
    let crc = checksum(frame, place);
    frame[CRC_AT..RECORDS_AT].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the records of a frame whose checksum held.
pub(crate) fn records(payload: &[u8]) -> impl Iterator<Item = Result<Record, DecodeError>> + '_ {
    sized_records(payload).map(|record| record.map(|(record, _)| record))
}

/// As `records`, each with the bytes that it takes in the frame.
pub(crate) fn sized_records(payload: &[u8]) -> impl Iterator<Item = Result<(Record, u64), DecodeError>> + '_ {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = split_entry(rest).and_then(|(entry, others)| {
            rest = others;
            Ok((Record::decode(entry)?, (ENTRY_LENGTH + entry.len()) as u64))
        });
        if record.is_err() {
            rest = &[];
        }
        Some(record)
    })
}

fn split_entry(payload: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let (length, rest) = payload.split_first_chunk().ok_or(DecodeError::Truncated)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| DecodeError::Truncated)?;
    rest.split_at_checked(length).ok_or(DecodeError::Truncated)
}

/// One frame within a [`FrameBuffer`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    start: usize,
    pub(crate) payload: usize,
    pub(crate) records: u32,
}

impl Part {
    const fn end(&self) -> usize {
        padded(self.start + FRAME_HEADER + self.payload)
    }
}

/// Frames in the making: payloads where they will be written from, with room for the headers.
///
/// The records of one append stay in one frame, and so are recovered together or not at all, unless they alone
/// exceed the largest frame that there can be.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    closed: Vec<Part>,
    limit: usize,
    largest: usize,
    open_at: usize,
    open_records: u32,
    append_at: usize,
    append_records: u32,
}

/// A state of a [`FrameBuffer`] to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    bytes: usize,
    closed: usize,
    open_at: usize,
    open_records: u32,
}

impl FrameBuffer {
    /// An empty buffer whose frames have at most `limit` bytes of payload, unless one append alone has more.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn new(limit: usize) -> Self {
        Self::parting(limit, LARGEST_PAYLOAD)
    }

    /// An empty buffer whose frames have at most `limit` bytes of payload, unless one append alone has more; it is
    /// parted only if it has more than `largest`.
    pub(crate) fn parting(limit: usize, largest: usize) -> Self {
        Self {
            bytes: Vec::new(),
            closed: Vec::new(),
            limit: limit.min(MAX_PAYLOAD),
            largest: largest.min(LARGEST_PAYLOAD),
            open_at: 0,
            open_records: 0,
            append_at: 0,
            append_records: 0,
        }
    }

    /// The bytes so far.
    #[cfg(test)]
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that will be written, the last frame's padding included.
    pub(crate) fn frame_bytes(&self) -> u64 {
        padded(self.bytes.len()) as u64
    }

    /// Starts an append.
    pub(crate) fn begin(&mut self) -> Mark {
        self.append_at = self.bytes.len();
        self.append_records = self.open_records;
        Mark {
            bytes: self.bytes.len(),
            closed: self.closed.len(),
            open_at: self.open_at,
            open_records: self.open_records,
        }
    }

    /// Takes back all that was pushed since `mark`.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.closed.truncate(mark.closed);
        self.open_at = mark.open_at;
        self.open_records = mark.open_records;
    }

    /// Adds one record, which `encode` appends; says how many bytes it takes.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        if self.open_records == 0 {
            self.bytes.resize(self.open_at + FRAME_HEADER, 0);
            self.append_at = self.bytes.len();
        }
        let entry = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ENTRY_LENGTH]);
        encode(&mut self.bytes);
        let size = self.bytes.len() - entry;
        assert!(size <= MAX_PAYLOAD, "one record fits one frame");
        let length = u32::try_from(size - ENTRY_LENGTH).expect("checked: at most 8 MiB");
        self.bytes[entry..entry + ENTRY_LENGTH].copy_from_slice(&length.to_le_bytes());
        self.split_if_full(entry);
        self.open_records += 1;
        size as u64
    }

    /// Keeps the open frame, which now ends with the entry at `entry`, within the limit.
    fn split_if_full(&mut self, entry: usize) {
        if self.open_payload() <= self.limit {
            return;
        }
        let mut entry = entry;
        if self.append_records > 0 {
            // Appends before this one share the frame: they stay, this one moves to the next, whole.
            let moved = self.open_records - self.append_records;
            let start = self.append_at;
            self.cut(start, self.append_records);
            entry = entry - start + self.append_at;
            self.open_records = moved;
        }
        if self.open_payload() > self.largest && self.open_records > 0 {
            self.cut(entry, self.open_records);
        }
    }

    fn open_payload(&self) -> usize {
        self.bytes.len() - self.open_at - FRAME_HEADER
    }

    /// Closes the open frame with `records` records at `at`; what follows goes to a new one.
    fn cut(&mut self, at: usize, records: u32) {
        let moved = self.bytes.split_off(at);
        self.close(records);
        self.bytes.resize(self.open_at + FRAME_HEADER, 0);
        self.append_at = self.bytes.len();
        self.bytes.extend_from_slice(&moved);
    }

    fn close(&mut self, records: u32) {
        let part = Part { start: self.open_at, payload: self.open_payload(), records };
        self.bytes.resize(part.end(), PADDING);
        self.closed.push(part);
        self.open_at = part.end();
        self.open_records = 0;
        self.append_records = 0;
    }

    /// Closes the last frame and hands out all of them, in order, to be sealed and written.
    ///
    /// # Errors
    /// The first that `write` returns; later frames are not handed out.
    pub(crate) fn write<E>(&mut self, mut write: impl FnMut(&mut [u8], Part) -> Result<(), E>) -> Result<(), E> {
        if self.open_records > 0 {
            self.close(self.open_records);
        }
        for part in &self.closed {
            write(&mut self.bytes[part.start..part.end()], *part)?;
        }
        Ok(())
    }

    /// Empties the buffer; memory beyond `keep` bytes goes back.
    pub(crate) fn clear(&mut self, keep: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(keep);
        self.closed.clear();
        self.open_at = 0;
        self.open_records = 0;
        self.append_records = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Timestamp;

    const PLACE: Place = Place { salt: 0x5eed, segment: 3, offset: 4_096 };

    fn opened(epoch: u32) -> Record {
        Record::Opened { epoch, incarnation: 7, at: Timestamp::MIN }
    }

    fn frames(buffer: &mut FrameBuffer) -> Vec<(Vec<u8>, Part)> {
        let mut frames = Vec::new();
        let written: Result<(), ()> = buffer.write(|frame, part| {
            frames.push((frame.to_vec(), part));
            Ok(())
        });
        written.unwrap();
        frames
    }

    fn sealed() -> Vec<u8> {
        let mut buffer = FrameBuffer::new(MAX_PAYLOAD);
        buffer.begin();
        buffer.push(|out| opened(1).encode(out));
        buffer.push(|out| opened(2).encode(out));
        let (mut frame, part) = frames(&mut buffer).remove(0);
        seal(&mut frame, part, 10, 4, PLACE);
        frame
    }

    fn holds(frame: &[u8], place: Place) -> bool {
        let header = frame.first_chunk().and_then(FrameHeader::parse);
        header.is_some_and(|header| header.frame_length() <= frame.len() && header.holds(frame, place))
    }

    #[test]
    fn a_frame_holds_at_its_place_and_gives_its_records_back() {
        let frame = sealed();
        let header = FrameHeader::parse(frame.first_chunk().unwrap()).unwrap();
        assert!(holds(&frame, PLACE));
        assert_eq!((header.first, header.last(), header.epoch), (10, 11, 4));
        let payload = &frame[FRAME_HEADER..FRAME_HEADER + header.payload];
        assert_eq!(records(payload).collect::<Result<Vec<_>, _>>(), Ok(vec![opened(1), opened(2)]));
    }

    #[test]
    fn every_flipped_bit_and_every_other_place_is_noticed() {
        let frame = sealed();
        for bit in 0..frame.len() * 8 {
            let mut rotten = frame.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&rotten, PLACE), "bit {bit}");
        }
        assert!(!holds(&frame, Place { salt: 0, ..PLACE }));
        assert!(!holds(&frame, Place { segment: 4, ..PLACE }));
        assert!(!holds(&frame, Place { offset: 8, ..PLACE }));
    }

    #[test]
    fn what_no_frame_can_say_of_itself_is_no_header() {
        let mut header: [u8; FRAME_HEADER] = *sealed().first_chunk().unwrap();
        let mut set = |at: usize, bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
            FrameHeader::parse(&header)
        };
        let first = 7 << 32 | 5;
        assert_eq!(set(FIRST_AT, &u64::to_le_bytes(first)).unwrap().first, first);
        for (at, wrong, right) in [
            (0, [0x55; 4], MAGIC),
            (ZERO_AT, [0, 0, 1, 0], [0; 4]),
            (RECORDS_AT, [0; 4], u32::to_le_bytes(2)),
            // Two records of the smallest kind, and all that fits.
            (LENGTH_AT, u32::to_le_bytes(9), u32::to_le_bytes(10)),
            (LENGTH_AT, u32::to_le_bytes((1 << 30) + 1), u32::to_le_bytes(1 << 30)),
        ] {
            assert_eq!(set(at, &wrong), None, "{wrong:?} at {at}");
            assert!(set(at, &right).is_some(), "{right:?} at {at}");
        }
        assert_eq!(set(FIRST_AT, &[0; 8]), None);
    }

    #[test]
    fn an_append_that_fills_more_than_it_may_is_parted_where_it_is_full() {
        fn parts(appends: &[&[usize]]) -> Vec<u32> {
            let mut buffer = FrameBuffer::parting(100, 100);
            for append in appends {
                buffer.begin();
                for length in *append {
                    buffer.push(|out| out.resize(out.len() + length - ENTRY_LENGTH, 7));
                }
            }
            let frames = frames(&mut buffer);
            assert!(frames.iter().all(|(frame, part)| frame.len() == padded(FRAME_HEADER + part.payload)));
            frames.iter().map(|(_, part)| part.records).collect()
        }
        assert!(parts(&[]).is_empty());
        assert_eq!(parts(&[&[50, 50]]), [2]);
        assert_eq!(parts(&[&[50, 51]]), [1, 1]);
        assert_eq!(parts(&[&[150], &[100], &[1 + ENTRY_LENGTH]]), [1, 1, 1]);
        // What shares a frame leaves it whole; what is too much for one of its own is parted there.
        assert_eq!(parts(&[&[30], &[30, 60], &[10]]), [1, 3]);
        assert_eq!(parts(&[&[30], &[30, 80], &[10]]), [1, 1, 2]);
    }

    #[test]
    fn appends_stay_whole_unless_they_alone_exceed_the_largest_frame() {
        assert_eq!(sizes(FrameBuffer::new(100)), [3, 2, 9, 1]);
        assert_eq!(sizes(FrameBuffer::parting(100, 200)), [3, 2, 8, 2]);
        assert_eq!(sizes(FrameBuffer::parting(100, 100)), [3, 2, 4, 4, 2]);
    }

    /// Appends of 2, 1, 2, 9 and 1 records of 25 bytes: how many of them each frame has.
    fn sizes(mut buffer: FrameBuffer) -> Vec<u32> {
        for (append, size) in [2_u32, 1, 2, 9, 1].into_iter().enumerate() {
            buffer.begin();
            for _ in 0..size {
                buffer.push(|out| opened(u32::try_from(append).unwrap()).encode(out));
            }
        }
        let mut read = Vec::new();
        let mut sizes = Vec::new();
        for (frame, part) in frames(&mut buffer) {
            assert_eq!(frame.len() % ALIGNMENT, 0);
            let payload = &frame[FRAME_HEADER..FRAME_HEADER + part.payload];
            let records: Vec<_> = records(payload).map(Result::unwrap).collect();
            assert_eq!(records.len(), usize::try_from(part.records).unwrap());
            sizes.push(part.records);
            read.extend(records);
        }
        let expected = [(0, 2), (1, 1), (2, 2), (3, 9), (4, 1)];
        let expected: Vec<_> = expected.iter().flat_map(|&(append, size)| vec![opened(append); size]).collect();
        assert_eq!(read, expected);
        sizes
    }

    #[test]
    fn a_roll_back_leaves_no_byte_behind() {
        let mut plain = FrameBuffer::new(100);
        let mut rolled = FrameBuffer::new(100);
        for _ in 0..3 {
            plain.begin();
            plain.push(|out| opened(1).encode(out));
            rolled.begin();
            rolled.push(|out| opened(1).encode(out));
            let mark = rolled.begin();
            for _ in 0..9 {
                rolled.push(|out| opened(2).encode(out));
            }
            rolled.roll_back(mark);
        }
        let bytes = |buffer: &mut FrameBuffer| frames(buffer).into_iter().map(|(frame, _)| frame).collect::<Vec<_>>();
        assert_eq!(bytes(&mut rolled), bytes(&mut plain));
    }
}
