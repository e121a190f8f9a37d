//! What salvage promises, of journals with real damage.
//!
//! Properties, for any change of the files:
//! 1. exactly the frames of which no byte has changed are given, each once, in order, with their records;
//! 2. what is given and what is said to be lost are together what was written;
//! 3. every byte that was changed lies in a place that is named; where nothing was changed, no place is;
//! 4. no file is changed.
//!
//! Negative controls: a salvage that skips a frame that can be read, one that takes a frame twice, and one that leaves
//! out a damage. A frame that somebody made up is taken only if it knows the journal's salt and its own place.

use std::{collections::BTreeMap, ops::Range, path::Path};

use super::{super::*, *};
use crate::journal::{
    disk::Access,
    frame::{FrameBuffer, MAX_PAYLOAD, Place, seal},
    sim_disk::SimDisk,
    tests::{SMALL, note},
};

/// A frame as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    segment: u32,
    bytes: Range<u64>,
    first: u64,
    records: Vec<Record>,
}

/// What a salvage tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    frames: Vec<(u32, u64, Vec<Record>)>,
    damages: Vec<Damage>,
}

fn told(disk: &SimDisk) -> Told {
    let before = files(disk);
    let (mut salvage, mut told) = (Salvage::on(Arc::new(disk.clone())).unwrap(), Told::default());
    while let Some(piece) = salvage.next_piece().unwrap() {
        match piece {
            Piece::Frame { file, offset, records } => told.frames.push((number(&file), offset, records)),
            Piece::Damage(damage) => told.damages.push(damage),
        }
    }
    assert_eq!(files(disk), before, "a salvage changes nothing");
    told
}

fn number(file: &Path) -> u32 {
    segment_number(file.file_name().unwrap().to_str().unwrap()).unwrap()
}

fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    disk.names().into_iter().map(|name| (name.clone(), disk.with_file(&name, |bytes| bytes.clone()))).collect()
}

/// A journal at rest, and what was written to it.
struct Written {
    disk: SimDisk,
    frames: Vec<Frame>,
}

impl Written {
    fn new(commits: u32) -> Self {
        let disk = SimDisk::new(5);
        for life in 0..2 {
            let journal: Journal<()> = Journal::open(Arc::new(disk.clone()), SMALL, &mut |_| Ok(())).unwrap();
            for commit in 0..commits {
                // Some fill no word: their frames end with a padding.
                let ids = (life * commits + commit) * 8..(life * commits + commit) * 8 + 1 + commit % 5;
                let ((), end) = journal.append(|batch| ids.for_each(|id| batch.push(&note(id)))).unwrap();
                journal.commit(end).unwrap();
            }
            journal.close().unwrap();
        }
        let mut frames = Vec::new();
        for name in disk.names() {
            let Some(segment) = segment_number(&name) else { continue };
            let (mut reader, _) = SegmentReader::open(&disk, segment).unwrap();
            let mut end = HEADER_BLOCK as u64;
            while let Some(found) = reader.find(end).unwrap() {
                let read = records(reader.payload(&found)).map(Result::unwrap).collect();
                frames.push(Frame { segment, bytes: end..found.end, first: found.header.first, records: read });
                end = found.end;
            }
        }
        Self { disk, frames }
    }

    fn records(&self) -> u64 {
        self.frames.iter().map(|frame| frame.records.len() as u64).sum()
    }

    fn segments(&self) -> u32 {
        self.frames.last().unwrap().segment
    }

    /// Where the last frame of a segment ends.
    fn used(&self, segment: u32) -> u64 {
        self.frames.iter().rfind(|frame| frame.segment == segment).unwrap().bytes.end
    }

    /// Says what of the properties does not hold, if `changed` says which bytes of a segment are not as they were.
    fn judge(&self, told: &Told, changed: &[(u32, Range<u64>)]) -> Result<(), String> {
        let is_changed = |segment: u32, bytes: &Range<u64>| {
            changed.iter().any(|(other, part)| *other == segment && part.start < bytes.end && bytes.start < part.end)
        };
        let whole = self.frames.iter().filter(|frame| !is_changed(frame.segment, &frame.bytes));
        let whole: Vec<_> = whole.map(|frame| (frame.segment, frame.bytes.start, frame.records.clone())).collect();
        if told.frames != whole {
            let of = |frames: &[(u32, u64, Vec<Record>)]| frames.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>();
            return Err(format!("{:?} are given where {:?} are whole", of(&told.frames), of(&whole)));
        }
        let given: u64 = whole.iter().map(|(_, _, records)| records.len() as u64).sum();
        let lost: Option<u64> = told.damages.iter().map(|damage| damage.records).sum();
        let adds_up = match lost {
            Some(lost) => given + lost == self.records(),
            // Only what stands behind everything that can be read is not counted.
            None => told.damages.iter().rev().skip(1).all(|damage| damage.records.is_some()),
        };
        if !adds_up {
            return Err(format!("{given} are given and {lost:?} lost of {}: {:?}", self.records(), told.damages));
        }
        let places: Vec<_> = told.damages.iter().flat_map(|damage| &damage.places).collect();
        let named = |segment: u32, at: u64| {
            let covers = |place: &DamagedPlace| {
                // Behind the last frame of a segment nothing but the place's beginning can be told.
                let end = place.offset + place.bytes;
                let is_last = !told.frames.iter().any(|(other, at, _)| *other == segment && *at >= end);
                number(&place.file) == segment && at >= place.offset && (is_last || at < end)
            };
            places.iter().any(|place| covers(place))
        };
        for (segment, part) in changed {
            if let Some(at) = (part.start..part.end.min(self.used(*segment))).find(|at| !named(*segment, *at)) {
                return Err(format!("byte {at} of {segment} is in none of {places:?}"));
            }
        }
        let touched = changed.iter().any(|(segment, part)| part.start < self.used(*segment));
        if touched == places.is_empty() {
            return Err(format!("changed: {touched}, and {places:?}"));
        }
        let key = |place: &&DamagedPlace| (number(&place.file), place.offset);
        if !places.iter().map(key).is_sorted() {
            return Err(format!("not in order: {places:?}"));
        }
        Ok(())
    }

    #[track_caller]
    fn check(&self, disk: &SimDisk, changed: &[(u32, Range<u64>)]) {
        self.judge(&told(disk), changed).unwrap_or_else(|why| panic!("{changed:?}: {why}"));
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

#[test]
fn a_whole_journal_is_given_whole() {
    let written = Written::new(20);
    assert!(written.segments() > 3);
    written.check(&written.disk, &[]);
}

#[test]
fn whatever_byte_is_flipped_all_other_frames_are_given_and_what_is_lost_is_counted() {
    let written = Written::new(20);
    for segment in 1..=written.segments() {
        let step = |at: u64| if (48..4_088).contains(&at) { 97 } else { 3 };
        let mut at = 0;
        while at < written.used(segment) {
            // More than a bit of the last frame may pass for a torn write: see `torn`.
            let is_last = segment == written.segments() && at >= written.frames.last().unwrap().bytes.start;
            for change in [1 << (at % 8), if is_last { 1 << (at % 7) } else { 0xff }] {
                let disk = written.disk.copy();
                disk.with_file(&file_name(segment), |bytes| bytes[index(at)] ^= change);
                written.check(&disk, &[(segment, at..at + 1)]);
            }
            at += step(at);
        }
    }
}

#[test]
fn wherever_a_sector_turns_to_zeros_all_frames_beside_it_are_given() {
    let written = Written::new(20);
    for segment in 1..=written.segments() {
        let used = written.used(segment);
        for start in (0..used).step_by(512).filter(|start| start + 512 < used || segment < written.segments()) {
            let disk = written.disk.copy();
            let changed = disk.with_file(&file_name(segment), |bytes| {
                let end = (start + 512).min(bytes.len() as u64);
                let had_any = bytes[index(start)..index(end)].iter().any(|&byte| byte != 0);
                bytes[index(start)..index(end)].fill(0);
                had_any.then_some((segment, start..end))
            });
            let changed: Vec<_> = changed.into_iter().collect();
            written.check(&disk, &changed);
        }
    }
}

#[test]
fn a_file_that_is_missing_cut_or_anothers_is_named_and_the_others_are_given() {
    let written = Written::new(20);
    let last = written.segments();
    for segment in 1..last {
        let missing = written.disk.copy();
        missing.lose(&file_name(segment));
        written.check(&missing, &[(segment, 0..u64::MAX)]);
        for at in [0, 100, 4_096, 4_099, 4_500, 4_700] {
            let cut = written.disk.copy();
            cut.with_file(&file_name(segment), |bytes| bytes.truncate(index(at)));
            // A frame of which the end is gone is not whole from its beginning on.
            let frame = written.frames.iter().find(|frame| frame.segment == segment && frame.bytes.contains(&at));
            let header = (segment, 0..u64::from(at < 4_096));
            written.check(&cut, &[header, (segment, frame.map_or(4_096, |frame| frame.bytes.start)..u64::MAX)]);
        }
        let other = Written::new(3);
        let foreign = other.disk.with_file(&file_name(1), |bytes| {
            let mut bytes = bytes.clone();
            bytes[24] ^= 1;
            let crc = crc32fast::hash(&bytes[..HEADER_BLOCK - 4]);
            bytes[HEADER_BLOCK - 4..HEADER_BLOCK].copy_from_slice(&crc.to_le_bytes());
            bytes
        });
        if segment > 1 {
            let mixed = written.disk.copy();
            mixed.with_file(&file_name(segment), |bytes| bytes.clone_from(&foreign));
            written.check(&mixed, &[(segment, 0..u64::MAX)]);
        }
    }
    let gone = written.disk.copy();
    (2..last).for_each(|segment| gone.lose(&file_name(segment)));
    let told = told(&gone);
    let changed: Vec<_> = (2..last).map(|segment| (segment, 0..u64::MAX)).collect();
    assert_eq!((told.damages.len(), told.damages[0].places.len()), (1, 1), "one place for all that are gone together");
    let ours: Vec<_> = changed.iter().take(1).cloned().collect();
    assert!(told.damages[0].places[0].why.contains("behind it"), "{told:?}");
    assert!(written.judge(&told, &ours).unwrap_err().contains("are given where"), "more than one file is missing");
}

#[test]
fn of_two_damages_each_is_named_and_what_is_between_them_is_given() {
    let written = Written::new(20);
    let frames = &written.frames;
    for (one, first) in frames.iter().enumerate().step_by(3) {
        for second in frames[one + 2..].iter().step_by(2) {
            let disk = written.disk.copy();
            let changed = [first, second].map(|frame| {
                let at = frame.bytes.start + 33;
                disk.with_file(&file_name(frame.segment), |bytes| bytes[index(at)] ^= 0x20);
                (frame.segment, at..at + 1)
            });
            let told = told(&disk);
            assert_eq!(told.damages.len(), 2, "{changed:?}");
            written.judge(&told, &changed).unwrap();
        }
    }
}

#[test]
fn a_journal_of_one_file_is_read_without_its_header_as_long_as_two_frames_are_whole() {
    let written = Written::new(2);
    assert_eq!(written.segments(), 1);
    for at in (0..4_096).filter(|at| *at < 48 || at % 401 == 0 || *at > 4_090) {
        for change in [1, 0x80, 0xff] {
            let disk = written.disk.copy();
            disk.with_file(&file_name(1), |bytes| bytes[at] ^= change);
            written.check(&disk, &[(1, at as u64..at as u64 + 1)]);
        }
    }
    // Nothing of the salt is left: the frames tell it, as long as two are whole.
    let disk = written.disk.copy();
    disk.with_file(&file_name(1), |bytes| bytes[..4_096].fill(0));
    written.check(&disk, &[(1, 0..4_096)]);
    let mut changed = vec![(1, 0..4_096)];
    for (bit, frame) in written.frames.iter().enumerate().skip(1) {
        let at = frame.bytes.start + 10;
        disk.with_file(&file_name(1), |bytes| bytes[index(at)] ^= 1 << bit);
        changed.push((1, at..at + 1));
        if bit + 2 < written.frames.len() {
            written.check(&disk, &changed);
        }
    }
    let told = told(&disk);
    assert!(told.frames.is_empty() && told.damages[0].places[0].why.contains("no frame can be checked"), "{told:?}");
    assert_eq!((told.damages[0].places[0].bytes, told.damages[0].records), (written.used(1), None));
}

#[test]
fn what_a_crash_leaves_of_the_last_write_is_no_damage() {
    let written = Written::new(3);
    let last = written.frames.last().unwrap();
    let disk = written.disk.copy();
    disk.with_file(&file_name(last.segment), |bytes| bytes[index(last.bytes.end) - 9..].fill(0));
    let told = told(&disk);
    assert!(told.damages.is_empty(), "{told:?}");
    assert_eq!(told.frames.len(), written.frames.len() - 1);
}

/// A frame that no journal has written.
fn made_up(first: u64, place: Place) -> Vec<u8> {
    let mut buffer = FrameBuffer::new(MAX_PAYLOAD);
    buffer.begin();
    buffer.push(|out| note(666).encode(out));
    let mut fake = Vec::new();
    let sealed: Result<(), ()> = buffer.write(|frame, part| {
        seal(frame, part, first, 1, place);
        fake = frame.to_vec();
        Ok(())
    });
    sealed.unwrap();
    fake
}

#[test]
fn a_frame_that_somebody_made_up_is_taken_only_with_the_salt_and_its_place() {
    let written = Written::new(20);
    let hole = written.frames[3].clone();
    let salt = Salvage::on(Arc::new(written.disk.clone())).unwrap().identity.unwrap().salt;
    let here = Place { salt, segment: hole.segment, offset: hole.bytes.start + 8 };
    for (place, taken) in [
        (here, true),
        (Place { salt: 0, ..here }, false),
        (Place { segment: here.segment + 1, ..here }, false),
        (Place { offset: here.offset - 8, ..here }, false),
        (Place { offset: hole.bytes.start, ..here }, false),
    ] {
        let fake = made_up(hole.first, place);
        let disk = written.disk.copy();
        disk.with_file(&file_name(hole.segment), |bytes| {
            bytes[index(hole.bytes.start)..index(hole.bytes.start) + 8].fill(0xee);
            bytes[index(here.offset)..index(here.offset) + fake.len()].copy_from_slice(&fake);
        });
        let told = told(&disk);
        assert_eq!(told.frames.iter().any(|(_, _, records)| records.contains(&note(666))), taken, "{place:?}");
    }
}

#[test]
fn two_made_up_frames_under_a_salt_of_their_own_are_not_taken_where_more_are_the_journals() {
    let written = Written::new(2);
    let end = written.used(1);
    let place = |offset| Place { salt: 99, segment: 1, offset };
    let one = made_up(written.records() + 1, place(end));
    let two = made_up(written.records() + 2, place(end + one.len() as u64));
    let disk = written.disk.copy();
    disk.with_file(&file_name(1), |bytes| {
        bytes[..512].fill(0);
        bytes.resize(index(end) + 1_024, 0);
        bytes[index(end)..][..one.len() + two.len()].copy_from_slice(&[one, two].concat());
    });
    let said = told(&disk);
    assert!(said.frames.iter().all(|(_, _, records)| !records.contains(&note(666))), "{said:?}");
    assert_eq!(said.frames.len(), written.frames.len());
    // The control: where fewer of the journal's own are whole these two are taken; where as many, nothing tells.
    for (bit, frame) in written.frames.iter().enumerate() {
        disk.with_file(&file_name(1), |bytes| bytes[index(frame.bytes.start) + 10] ^= 1 << bit);
        let frames = match written.frames.len() - 1 - bit {
            0 | 1 => 2,
            2 => 0,
            whole => whole,
        };
        assert_eq!(told(&disk).frames.len(), frames);
    }
}

#[test]
fn control_a_salvage_that_skips_or_repeats_a_frame_or_leaves_out_a_damage_is_caught() {
    let written = Written::new(20);
    let disk = written.disk.copy();
    let broken = &written.frames[written.frames.len() / 2];
    disk.with_file(&file_name(broken.segment), |bytes| bytes[index(broken.bytes.start) + 20] ^= 1);
    let changed = [(broken.segment, broken.bytes.start + 20..broken.bytes.start + 21)];
    let honest = told(&disk);
    written.judge(&honest, &changed).unwrap();
    for skipped in 0..honest.frames.len() {
        let mut told = honest.clone();
        told.frames.remove(skipped);
        assert!(written.judge(&told, &changed).is_err(), "{skipped} is skipped");
        let mut told = honest.clone();
        told.frames.insert(skipped, honest.frames[skipped].clone());
        assert!(written.judge(&told, &changed).is_err(), "{skipped} is there twice");
    }
    let silent = Told { damages: Vec::new(), ..honest.clone() };
    assert!(written.judge(&silent, &changed).is_err());
    let mut wrong = honest;
    wrong.damages[0].records = wrong.damages[0].records.map(|lost| lost + 1);
    assert!(written.judge(&wrong, &changed).is_err(), "one too many is said to be lost");
}

/// The places that are told, by file, offset and reason.
fn places(told: &Told) -> Vec<(u32, u64, &str)> {
    let place = |place: &'_ DamagedPlace| (number(&place.file), place.offset);
    let all = told.damages.iter().flat_map(|damage| &damage.places);
    all.map(|it| (place(it).0, place(it).1, it.why.as_str())).collect()
}

/// Changes the header of a segment so that it holds.
fn with_header(disk: &SimDisk, segment: u32, change: impl FnOnce(&mut [u8])) {
    disk.with_file(&file_name(segment), |bytes| {
        change(&mut bytes[..HEADER_BLOCK]);
        let crc = crc32fast::hash(&bytes[..HEADER_BLOCK - 4]);
        bytes[HEADER_BLOCK - 4..HEADER_BLOCK].copy_from_slice(&crc.to_le_bytes());
    });
}

#[test]
fn whose_journal_it_is_stands_in_any_header_that_holds() {
    let written = Written::new(20);
    let journal: Journal<()> = Journal::open(Arc::new(written.disk.copy()), SMALL, &mut |_| Ok(())).unwrap();
    let of = |disk: &SimDisk| Salvage::on(Arc::new(disk.clone())).unwrap().engine_id();
    let disk = written.disk.copy();
    for segment in 1..=written.segments() {
        assert_eq!(of(&disk), Some(journal.engine_id()));
        disk.rot(&file_name(segment), 100);
    }
    assert_eq!(of(&disk), None);
}

#[test]
fn a_file_with_anothers_header_is_told_by_what_is_wrong_with_it() {
    let written = Written::new(20);
    let foreign = written.disk.copy();
    with_header(&foreign, 2, |header| header[24] ^= 1);
    assert_eq!(places(&told(&foreign)), [(2, 0, "it belongs to another journal")]);
    let misplaced = written.disk.copy();
    with_header(&misplaced, 2, |header| header[12] = 3);
    assert_eq!(places(&told(&misplaced)), [(2, 0, "it is segment 3, under another's name")]);
    let newer = written.disk.copy();
    newer.with_file(&file_name(2), |bytes| bytes[8] = 9);
    let told = told(&newer);
    assert_eq!(places(&told), [(2, 0, "it says that it has format 9, later than 2")]);
    assert_eq!(told.frames.len(), written.frames.len(), "its frames are those of a format that is known");
}

#[test]
fn files_that_are_missing_together_are_counted_wherever_they_are() {
    let written = Written::new(20);
    let lose = |lost: Range<u32>| {
        let disk = written.disk.copy();
        lost.for_each(|segment| disk.lose(&file_name(segment)));
        disk
    };
    assert_eq!(places(&told(&lose(2..3))), [(2, 0, "the file is missing")]);
    assert_eq!(places(&told(&lose(2..5))), [(2, 0, "the file is missing, and 2 behind it")]);
    // How many were before the first that is there nothing tells but the numbers of its records.
    assert_eq!(places(&told(&lose(1..4))), [(3, 0, "the file is missing")]);
    let disk = lose(1..4);
    disk.rot(&file_name(4), 100);
    assert_eq!(places(&told(&disk)), [(4, 0, NO_HEADER)], "it may have stood for those before it");
    assert_eq!(told(&disk).damages[0].records, told(&lose(1..4)).damages[0].records);
}

#[test]
fn what_is_wrong_at_the_end_of_a_file_is_told_beside_the_next_that_is_missing() {
    let written = Written::new(20);
    let last = written.frames.iter().rfind(|frame| frame.segment == 2).unwrap();
    let disk = written.disk.copy();
    disk.with_file(&file_name(2), |bytes| bytes[index(last.bytes.start) + 20] ^= 1);
    disk.lose(&file_name(3));
    let found = places(&told(&disk)).into_iter().map(|(file, offset, _)| (file, offset)).collect::<Vec<_>>();
    assert_eq!(found, [(2, last.bytes.start), (3, 0)]);
}

#[test]
fn numbers_that_are_left_out_between_two_frames_are_told() {
    let written = Written::new(20);
    let last = written.frames.last().unwrap();
    let salt = Salvage::on(Arc::new(written.disk.clone())).unwrap().identity.unwrap().salt;
    let place = Place { salt, segment: last.segment, offset: last.bytes.end };
    let frame = made_up(written.records() + 4, place);
    let disk = written.disk.copy();
    disk.with_file(&file_name(last.segment), |bytes| {
        bytes.resize(index(last.bytes.end) + frame.len(), 0);
        bytes[index(last.bytes.end)..].copy_from_slice(&frame);
    });
    let told = told(&disk);
    assert_eq!(told.damages.iter().map(|damage| damage.records).collect::<Vec<_>>(), [Some(3)]);
    assert_eq!(places(&told)[0].1, last.bytes.end);
    assert_eq!(told.frames.last().unwrap().2, [note(666)]);
}

#[test]
fn a_file_whose_making_was_cut_short_is_no_damage_but_hides_none_before_it() {
    let written = Written::new(20);
    let (last, end) = (written.segments(), written.used(written.segments()));
    let disk = written.disk.copy();
    disk.open(&file_name(last + 1), Access::Create).unwrap().write_at(&[0; 600], 0).unwrap();
    assert_eq!(told(&disk), told(&written.disk));
    disk.with_file(&file_name(last), |bytes| {
        bytes.resize(bytes.len().max(index(end) + 64), 0);
        bytes[index(end) + 3] = 1;
    });
    let told = told(&disk);
    assert_eq!(places(&told), [(last, end, "no frame that holds is here")]);
    assert_eq!((told.damages[0].records, told.frames.len()), (None, written.frames.len()));
}
