//! Torn or rotten: what is left of a last frame that does not hold.
//!
//! Holds true: what a crash can leave of a write is always called torn, so a journal that was only torn opens. What
//! is called rotten was written whole, so it may have been acknowledged, and is never overwritten.
//!
//! A frame is written over zeros, and a disk writes sectors whole or not at all. So a write that a crash has cut short
//! leaves zeros: a sector's part of the frame is missing, or the frame's end, if the process died while the system
//! took the bytes; or its beginning, if the next opening died while it cleared what was left. Rot leaves the frame
//! where it was. Where a frame has such zeros of its own, rot of one bit is still found: the checksum tells which. So
//! is rot of one bit in a frame behind which a crash has left a part of the next: that one lacks a part, and the frame
//! before it was durable when it was begun.
//!
//! The limit: rot that turns to zeros the frame's first byte, a whole sector's part of it, or its end from some byte
//! on, can't be told from a torn write; one bit is enough where a frame without padding ends with a byte of one set
//! bit. Nor can rot of more than one bit (or of one, in a frame beyond what is searched) that makes the length greater,
//! or in a frame behind which a part of the next was left, or which has such zeros of its own, as one that ends with a
//! zero byte; the padding sees to it that few do.

use super::frame::{FRAME_HEADER, FrameHeader, Place, records};

/// What is said of a last frame that is not torn.
pub(crate) const ROTTEN: &str = "the last frame was written whole, and does not hold: this is no torn write";
/// What every disk writes whole or not at all; larger sectors are made of these.
const SECTOR: u64 = 512;
/// The largest frame in which the one bit is looked for: in a larger one a bit may fit by chance.
const SEARCHED: usize = 64 << 10;
/// The polynomial of CRC-32, its bits reflected.
pub(super) const POLYNOMIAL: u32 = 0xedb8_8320;

/// A frame that is whole but for one bit.
struct Rotten {
    /// The byte that has the bit.
    at: usize,
    length: usize,
}

/// Whether `left` may be what a crash left of a write at `place`; behind it are zeros for good.
///
/// Where the next write was begun, the frame before was durable: nothing that it lacks was taken by a crash.
pub(crate) fn is_torn(left: &[u8], place: Place) -> bool {
    let is_last = |rotten: &Rotten| rotten.length >= left.len();
    let lost = |rotten: Rotten| is_last(&rotten) && may_be_lost(rotten.at, left, place.offset);
    lacks_a_part(left, place.offset) && rotten(left, place).is_none_or(lost)
}

/// Whether a crash, too, can have taken the byte at `at`: with its sector, or with all that follows.
fn may_be_lost(at: usize, left: &[u8], offset: u64) -> bool {
    let start = usize::try_from(offset % SECTOR).expect("below 512");
    let sector = (start + at) / 512 * 512;
    let part = sector.saturating_sub(start)..(sector + 512 - start).min(left.len());
    [left.get(part), left.get(at..)].into_iter().any(|part| part.is_none_or(is_zeros))
}

fn is_zeros(part: &[u8]) -> bool {
    part.iter().all(|&byte| byte == 0)
}

/// Whether `left` lacks a part that a crash can take away.
fn lacks_a_part(left: &[u8], offset: u64) -> bool {
    if left.first().is_none_or(|&byte| byte == 0) || lacks_a_sector(left, offset) {
        return true;
    }
    match header(left) {
        Some(header) if header.frame_length() == left.len() => left.last() == Some(&0),
        Some(header) => header.frame_length() > left.len(),
        None => left.len() <= FRAME_HEADER,
    }
}

/// Whether the part that lies in some sector is zeros.
fn lacks_a_sector(left: &[u8], offset: u64) -> bool {
    let first = usize::try_from(SECTOR - offset % SECTOR).expect("at most 512");
    let (first, others) = left.split_at(first.min(left.len()));
    is_zeros(first) || others.chunks(512).any(is_zeros)
}

/// The header at the front of `left`.
fn header(left: &[u8]) -> Option<FrameHeader> {
    let mut bytes = [0; FRAME_HEADER];
    let length = left.len().min(FRAME_HEADER);
    bytes[..length].copy_from_slice(&left[..length]);
    FrameHeader::parse(&bytes)
}

/// The frame at the front of `left` that is whole but for one bit.
fn rotten(left: &[u8], place: Place) -> Option<Rotten> {
    let mut frame = left[..left.len().min(SEARCHED)].to_vec();
    frame.resize(frame.len().max(FRAME_HEADER), 0);
    // A bit of the header can make it another frame, of another length.
    let in_header = (0..FRAME_HEADER * 8).find_map(|bit| {
        frame[bit / 8] ^= 1 << (bit % 8);
        let whole = whole(&mut frame, place);
        frame[bit / 8] ^= 1 << (bit % 8);
        whole.map(|length| Rotten { at: bit / 8, length })
    });
    in_header.or_else(|| in_payload(&mut frame, place))
}

/// The same, if the bit is behind the header.
fn in_payload(frame: &mut Vec<u8>, place: Place) -> Option<Rotten> {
    let header = header(frame).filter(|header| header.frame_length() <= SEARCHED)?;
    frame.resize(header.frame_length(), 0);
    let wrong = header.difference(frame, place)?;
    // What a wrong bit does to the checksum depends on nothing but how many bytes follow it.
    let mut effects: [u32; 8] = std::array::from_fn(|bit| step(1 << bit));
    for at in (FRAME_HEADER..frame.len()).rev() {
        if let Some(bit) = effects.iter().position(|&effect| effect == wrong) {
            frame[at] ^= 1 << bit;
            return whole(frame, place).map(|length| Rotten { at, length });
        }
        effects = effects.map(step);
    }
    None
}

/// The length of the frame with which `frame` begins, if it holds, with every record in it.
fn whole(frame: &mut Vec<u8>, place: Place) -> Option<usize> {
    let header = header(frame)?;
    let length = header.frame_length();
    if length > SEARCHED {
        return None;
    }
    let before = frame.len();
    frame.resize(length.max(before), 0);
    let holds = header.holds(&frame[..length], place);
    let payload = &frame[FRAME_HEADER..FRAME_HEADER + header.payload];
    let whole = holds && records(payload).try_fold(0, |count, record| record.map(|_| count + 1)) == Ok(header.records);
    frame.truncate(before);
    whole.then_some(length)
}

/// The effect of a change on the checksum after one more byte.
fn step(effect: u32) -> u32 {
    (0..8).fold(effect, |effect, _| if effect & 1 == 0 { effect >> 1 } else { effect >> 1 ^ POLYNOMIAL })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            frame::{FrameBuffer, MAX_PAYLOAD, seal},
            record::{ConfirmedRecord, Record},
        },
        *,
    };
    use crate::{
        End, PaymentId,
        core::{Buyer, Timestamp},
    };

    /// Where a frame has its payload's length.
    const LENGTH: usize = 4;

    /// A frame at `offset`, its trailing zeros left out, as a reader sees it.
    fn frame(offset: u64, notes: u32, ends_with_zero: bool) -> Vec<u8> {
        let mut buffer = FrameBuffer::new(MAX_PAYLOAD);
        buffer.begin();
        for sale in 0..notes {
            let (slot, generation, at) = (1, 2, Timestamp::from_millis(0x0102_0304_0506_0708));
            buffer.push(|out| Record::Ended { sale, slot, generation, end: End::Expired, at }.encode(out));
        }
        if ends_with_zero {
            buffer.push(|out| ends_with_zero_record(notes).encode(out));
        }
        let mut sealed = Vec::new();
        let written: Result<(), ()> = buffer.write(|frame, part| {
            seal(frame, part, 10, 4, place(offset));
            sealed = frame.to_vec();
            Ok(())
        });
        written.unwrap();
        assert_eq!(sealed.last() == Some(&0), ends_with_zero);
        sealed
    }

    /// A record whose last byte is zero, behind `notes` others, and which leaves nothing to be padded.
    fn ends_with_zero_record(notes: u32) -> Record {
        let sold = |length: usize| {
            Record::Confirmed(ConfirmedRecord {
                sale: 0x0a0b,
                sequence: 7,
                slot: 9,
                generation: 3,
                key_epoch: 1,
                buyer: Buyer::from(10_001),
                quantity: 2,
                at: Timestamp::from_millis(0x0102_0304_0506_0708),
                payment: PaymentId::new(&"p".repeat(length)).unwrap(),
                replaces: None,
            })
        };
        let before = usize::try_from(notes).unwrap() * 26;
        let fits = (1..9).map(sold).find(|record| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            (before + 4 + bytes.len()) % 8 == 0
        });
        fits.unwrap()
    }

    fn place(offset: u64) -> Place {
        Place { salt: 0x5eed, segment: 3, offset }
    }

    fn left(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        bytes.resize(end.next_multiple_of(8), 0);
        bytes
    }

    /// Frames of one sector and of several, with their headers in one and across two.
    fn frames() -> impl Iterator<Item = (u64, Vec<u8>)> {
        [4_096, 4_608 - 8, 4_608 - 16, 4_608 - 200].into_iter().flat_map(|offset| {
            [(1, false), (40, false), (0, true), (21, true)].map(|(notes, zero)| (offset, frame(offset, notes, zero)))
        })
    }

    #[test]
    fn one_wrong_bit_is_always_rot() {
        for (offset, frame) in frames() {
            for bit in (0..frame.len() * 8).filter(|bit| frame.len() < 256 || bit % 13 == 0) {
                let mut rotten = frame.clone();
                rotten[bit / 8] ^= 1 << (bit % 8);
                // The last bit of all may be cut off, too.
                if rotten[bit / 8..].iter().any(|&byte| byte != 0) {
                    assert!(!is_torn(&left(rotten), place(offset)), "bit {bit} of {} at {offset}", frame.len());
                }
            }
        }
    }

    /// The frame was durable when the next one was begun.
    #[test]
    fn one_wrong_bit_is_rot_whatever_a_crash_has_left_of_the_next_write_behind_it() {
        for (offset, first) in frames() {
            let end = offset + first.len() as u64;
            for next in [frame(end, 2, false), frame(end, 60, false), frame(end, 3_000, false)] {
                for kept in [1, 33, 60, next.len() - 600.min(next.len() / 2), next.len() - 1] {
                    let mut torn = [first.clone(), next[..kept].to_vec()].concat();
                    if kept > 2_048 {
                        // A sector is lost, too.
                        let lost = usize::try_from((end + 1_024).next_multiple_of(512) - offset).unwrap();
                        torn[lost..lost + 512].fill(0);
                    }
                    assert!(is_torn(&left(torn[first.len()..].to_vec()), place(end)), "what is behind it is torn");
                    for bit in (0..first.len() * 8).filter(|bit| *bit < 256 || bit % 29 == 0) {
                        let mut rotten = torn.clone();
                        rotten[bit / 8] ^= 1 << (bit % 8);
                        let length = first.len();
                        assert!(
                            !is_torn(&left(rotten), place(offset)),
                            "bit {bit} of {length} at {offset}, {kept} kept"
                        );
                    }
                }
            }
        }
    }

    /// Buyers of zeros, but for one bit in the second sector: it is lost with its sector, or alone.
    #[test]
    fn a_bit_that_a_crash_can_take_with_its_sector_is_no_proof_of_rot() {
        let sealed = |others: u64| {
            let buyer = |number: usize| Buyer::from(if number == 40 { 1 } else { others });
            let mut buffer = FrameBuffer::new(MAX_PAYLOAD);
            buffer.begin();
            buffer.push(|out| Record::encode_registered(1, &(0..200).map(buyer).collect::<Vec<_>>(), out));
            let mut sealed = Vec::new();
            let written: Result<(), ()> = buffer.write(|frame, part| {
                seal(frame, part, 10, 4, place(4_096));
                sealed = frame.to_vec();
                Ok(())
            });
            written.unwrap();
            sealed
        };
        let torn = |mut frame: Vec<u8>| {
            let at = (512..1_024).find(|at| frame[*at] == 1).unwrap();
            frame[at] = 0;
            is_torn(&left(frame), place(4_096))
        };
        assert!(torn(sealed(0)), "its sector has nothing else");
        assert!(!torn(sealed(2)), "its sector is there");
    }

    #[test]
    fn a_wrong_byte_is_rot_unless_it_is_a_zero_at_either_end() {
        for (offset, frame) in frames().filter(|(_, frame)| frame.last() != Some(&0)) {
            for at in 0..frame.len() {
                let mut rotten = frame.clone();
                rotten[at] = !rotten[at];
                // The length may then be any, and the end with it.
                if !(4..8).contains(&at) {
                    assert!(!is_torn(&left(rotten), place(offset)), "byte {at} of {} at {offset}", frame.len());
                }
            }
        }
    }

    #[test]
    fn whatever_a_crash_leaves_of_a_write_is_torn() {
        for (offset, frame) in frames() {
            let start = usize::try_from(offset % SECTOR).unwrap();
            for cut in (0..frame.len()).filter(|cut| frame.len() < 256 || cut % 5 == 0) {
                let mut torn = frame.clone();
                torn[cut..].fill(0);
                let whole = torn == frame;
                assert!(whole || is_torn(&left(torn), place(offset)), "cut at {cut} of {} at {offset}", frame.len());
                let mut cleared = frame.clone();
                cleared[..=cut].fill(0);
                assert!(is_torn(&left(cleared), place(offset)), "cleared to {cut} of {} at {offset}", frame.len());
            }
            let sectors = (start + frame.len()).div_ceil(512);
            for kept in 0..(1_u32 << sectors.min(10)) - 1 {
                let mut torn = frame.clone();
                for (at, byte) in torn.iter_mut().enumerate() {
                    if kept >> ((start + at) / 512).min(31) & 1 == 0 {
                        *byte = 0;
                    }
                }
                let whole = torn == frame;
                assert!(
                    whole || is_torn(&left(torn), place(offset)),
                    "sectors {kept:b} of {} at {offset}",
                    frame.len()
                );
            }
        }
    }

    #[test]
    fn what_rot_of_a_last_frame_is_taken_for_a_torn_write_and_what_is_not() {
        let offset = 4_096;
        let rotten = |mut frame: Vec<u8>, changes: &[(usize, u8)]| {
            for &(at, bits) in changes {
                frame[at] ^= bits;
            }
            is_torn(&left(frame), place(offset))
        };
        let plain = || frame(offset, 40, false);
        // Zeros where a crash leaves them: the first byte, a sector, the end; and there one bit may be all there is.
        assert!(rotten(plain(), &[(0, 0xf5)]));
        let mut sector = plain();
        sector[512..1_024].fill(0);
        assert!(is_torn(&left(sector), place(offset)));
        let unpadded = || frame(offset, 4, false);
        assert_eq!((unpadded().len(), unpadded().last()), (FRAME_HEADER + 4 * 26, Some(&1)));
        assert!(rotten(unpadded(), &[(FRAME_HEADER + 4 * 26 - 1, 1)]));
        // A greater length, by more than a bit, and not a smaller one.
        assert_eq!(plain()[LENGTH..LENGTH + 2], (40_u16 * 26).to_le_bytes());
        assert!(rotten(plain(), &[(LENGTH + 1, 0x18)]) && !rotten(plain(), &[(LENGTH + 1, 0x10)]));
        assert!(!rotten(plain(), &[(LENGTH, 0x10), (LENGTH + 1, 4)]));
        // More than a bit where the frame ends with a zero, and not elsewhere.
        let zero = || frame(offset, 21, true);
        assert!(rotten(zero(), &[(40, 3)]) && !rotten(zero(), &[(40, 1)]) && !rotten(plain(), &[(40, 3)]));
        // One bit in a frame that is too large to search, and has such zeros.
        let large = frame(offset, 2_600, true);
        assert!(large.len() > SEARCHED && rotten(large.clone(), &[(40, 1)]));
        assert!(!rotten(frame(offset, 2_600, false), &[(40, 1)]));
    }

    #[test]
    fn control_without_the_look_for_one_bit_some_rot_would_pass_for_torn() {
        let offset = 4_096;
        let mut rotten = frame(offset, 0, true);
        rotten[40] ^= 1;
        assert!(
            lacks_a_part(&rotten, offset) && super::rotten(&rotten, place(offset)).map(|rotten| rotten.at) == Some(40)
        );
    }

    #[test]
    fn control_without_the_zeros_every_torn_write_would_pass_for_rot() {
        let offset = 4_096;
        let mut torn = frame(offset, 40, false);
        torn[512..1_024].fill(0);
        assert!(lacks_a_part(&torn, offset) && rotten(&torn, place(offset)).is_none());
    }
}
