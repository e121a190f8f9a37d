//! What one segment's file says, byte by byte.
//!
//! Properties: 1. a header is taken only if its version allows for all that it says; 2. a reader finds what is in the
//! file, to its very last byte, and takes no memory for what only claims to be; 3. a writer fills a segment to its last
//! byte, and fills up no more of the file than it was told.

use super::*;
use crate::journal::{frame::FrameBuffer, sim_disk::SimDisk};

const IDENTITY: Identity = Identity { engine_id: 7, salt: 0x5eed };
const BEGIN: u64 = HEADER_BLOCK as u64;

fn header(version: u32, last: u64) -> SegmentHeader {
    SegmentHeader { identity: IDENTITY, segment: 1, first: 1, epoch: 1, last, version }
}

fn disk() -> (SimDisk, Arc<dyn Disk>) {
    let disk = SimDisk::new(3);
    (disk.clone(), Arc::new(disk))
}

/// Appends a frame of one record with that many bytes of payload, a multiple of 8.
fn append(writer: &mut SegmentWriter, payload: usize) {
    let mut buffer = FrameBuffer::new(MAX_PAYLOAD);
    buffer.begin();
    buffer.push(|out| out.resize(out.len() + payload - 4, 7));
    let written: io::Result<()> = buffer.write(|frame, part| writer.append(frame, part, 1));
    written.unwrap();
}

fn length(disk: &SimDisk) -> u64 {
    disk.with_file(&file_name(1), |bytes| bytes.len() as u64)
}

#[test]
fn a_header_says_no_more_than_its_version_knows() {
    for (version, last, holds) in [(0, 0, false), (1, 0, true), (1, 5, false), (2, 0, true), (2, 5, true)] {
        let block = SegmentHeader::decode(&header(version, last).encode());
        match block {
            Block::Header(found) => assert_eq!((holds, found), (true, header(version, last))),
            Block::Unreadable => assert!(!holds, "{version}, {last}"),
            Block::Newer { .. } => panic!("{version} is known"),
        }
    }
    assert!(matches!(SegmentHeader::decode(&header(3, 0).encode()), Block::Newer { version: 3 }));
}

#[test]
fn a_segment_is_filled_to_its_last_byte_and_its_file_as_far_as_it_was_told() {
    let (sim, disk) = disk();
    // Five frames of 104 bytes, in steps of two.
    let sizes = Sizes { segment_bytes: BEGIN + 5 * 104, fill_bytes: 208 };
    let mut writer = SegmentWriter::create(&disk, header(VERSION, 0), sizes).unwrap();
    let mut filled = Vec::new();
    for _ in 0..5 {
        append(&mut writer, 72);
        filled.push(length(&sim) - BEGIN);
    }
    assert_eq!((writer.segment(), writer.end(), writer.name()), (1, BEGIN + 5 * 104, file_name(1)));
    // The steps are counted from the file's beginning: 4,160 is the 20th.
    assert_eq!(filled, [272, 272, 480, 480, 520]);
    append(&mut writer, 72);
    assert_eq!((writer.segment(), writer.name()), (2, file_name(2)));
}

#[test]
fn a_frame_that_is_larger_than_a_segment_has_one_of_its_own() {
    let (_, disk) = disk();
    let sizes = Sizes { segment_bytes: BEGIN + 104, fill_bytes: 1 };
    let mut writer = SegmentWriter::create(&disk, header(VERSION, 0), sizes).unwrap();
    let mut segments = Vec::new();
    for payload in [400, 400, 72, 72] {
        append(&mut writer, payload);
        segments.push(writer.segment());
    }
    assert_eq!(segments, [1, 2, 3, 4], "none is left empty");
}

#[test]
fn a_file_that_is_full_to_the_byte_is_not_filled_up_before_it_must() {
    let (sim, disk) = disk();
    let sizes = Sizes { segment_bytes: 1 << 20, fill_bytes: 1_024 };
    let mut writer = SegmentWriter::create(&disk, header(VERSION, 0), sizes).unwrap();
    append(&mut writer, 512 - FRAME_HEADER);
    append(&mut writer, 512 - FRAME_HEADER);
    assert_eq!((writer.end(), length(&sim)), (BEGIN + 1_024, BEGIN + 1_024));
    append(&mut writer, 8);
    assert_eq!(length(&sim), BEGIN + 2_048);
}

#[test]
fn a_frame_is_found_to_the_files_last_byte_and_what_claims_more_takes_no_memory() {
    let (sim, disk) = disk();
    let sizes = Sizes { segment_bytes: u64::MAX, fill_bytes: 1 };
    let mut writer = SegmentWriter::create(&disk, header(VERSION, 0), sizes).unwrap();
    // Longer than what is read at once.
    append(&mut writer, 2 * READ_AHEAD);
    assert_eq!(length(&sim), writer.end());
    let (mut reader, _) = SegmentReader::open(&sim, 1).unwrap();
    let found = reader.find(BEGIN).unwrap().expect("it is whole");
    assert_eq!((found.end, reader.payload(&found).len()), (writer.end(), 2 * READ_AHEAD));
    sim.with_file(&file_name(1), |bytes| bytes.truncate(bytes.len() - 1));
    let (mut reader, _) = SegmentReader::open(&sim, 1).unwrap();
    assert!(reader.find(BEGIN).unwrap().is_none());
    assert_eq!(reader.window.len(), READ_AHEAD, "there is less than it claims");
}

#[test]
fn what_lies_behind_is_told_to_the_files_last_byte() {
    let (sim, disk) = disk();
    let sizes = Sizes { segment_bytes: u64::MAX, fill_bytes: 1 };
    let mut writer = SegmentWriter::create(&disk, header(VERSION, 0), sizes).unwrap();
    append(&mut writer, 72);
    let end = writer.end();
    let rest = |behind: &[u8]| {
        sim.with_file(&file_name(1), |bytes| {
            bytes.truncate(usize::try_from(end).unwrap());
            bytes.extend_from_slice(behind);
        });
        SegmentReader::open(&sim, 1).unwrap().0.rest(end).unwrap()
    };
    assert_eq!(rest(&[]), Rest::default());
    assert_eq!(rest(&[0; 100]), Rest::default());
    assert_eq!(rest(&[0, 0, 1, 0, 0, 0, 0, 0, 0]).junk_end, Some(end + 8));
    assert_eq!(rest(&[1; 13]), Rest { later_frame: None, junk_end: Some(end + 13) });
    // In a file that is longer than what is read at once.
    let far = vec![0; READ_AHEAD + 40];
    assert_eq!(rest(&[&far[..], &[1; 3]].concat()).junk_end, Some(end + far.len() as u64 + 3));
}

#[test]
fn headers_lead_to_the_frame_that_has_a_record() {
    let (sim, disk) = disk();
    let sizes = Sizes { segment_bytes: u64::MAX, fill_bytes: 4_096 };
    let header = SegmentHeader { first: 10, ..header(VERSION, 0) };
    let mut writer = SegmentWriter::create(&disk, header, sizes).unwrap();
    let mut begins = Vec::new();
    for payload in [72, 8, 400, 16] {
        begins.push((writer.end(), writer.next()));
        append(&mut writer, payload);
    }
    let (reader, _) = SegmentReader::open(&sim, 1).unwrap();
    for (offset, number) in &begins {
        assert_eq!(reader.hop(&header, *number).unwrap(), (*offset, *number));
    }
    assert_eq!(reader.hop(&header, 99).unwrap(), begins[3], "the last one that begins before it");
    assert_eq!(reader.hop(&header, 3).unwrap(), begins[0]);
    // A file that ends within a header ends the way.
    sim.with_file(&file_name(1), |bytes| bytes.truncate(usize::try_from(begins[3].0).unwrap() + FRAME_HEADER));
    assert_eq!(reader.hop(&header, 99).unwrap(), begins[3]);
    sim.with_file(&file_name(1), |bytes| bytes.truncate(usize::try_from(begins[3].0).unwrap() + FRAME_HEADER - 1));
    assert_eq!(reader.hop(&header, 99).unwrap(), begins[2]);
}
