//! What the journal promises, on a disk that breaks in every way it can, and on the real one.
//!
//! Properties, for a crash, an error or a full disk at every single call, with sectors of 512 and of 4,096 bytes:
//! 1. every acknowledged record is replayed, in order, once, and nothing is that was never appended; of an append that
//!    was not acknowledged, every record or none;
//! 2. what one opening replayed, every later one replays;
//! 3. epochs strictly increase;
//! 4. a journal that was only torn is never refused.
//!
//! Negative controls: a disk whose sync of files or of the folder lies breaks 1, and so do appends that are parted; one
//! that leaves out equal writes breaks 2; a fake frame that knows the salt and its place is believed.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    thread,
};

use super::disk::Disk;
use super::{
    disk::{Access, DiskFile, FolderLock},
    frame::{FrameBuffer, LARGEST_PAYLOAD, MAX_PAYLOAD, Place, seal},
    segment::{Block, HEADER_BLOCK, SegmentReader, file_name, segment_number},
    sim_disk::{Fault, Flaw},
    *,
};
use crate::End;
use crate::core::{Buyer, Timestamp};

/// Small enough that a short life rotates, fills and splits.
pub(super) const SMALL: JournalOptions = JournalOptions {
    now: Timestamp::MIN,
    segment_bytes: 4_096 + 1_100,
    fill_bytes: 700,
    frame_bytes: 300,
    append_bytes: LARGEST_PAYLOAD,
};

/// As they were once: an append beyond a frame is parted.
const PARTING: JournalOptions = JournalOptions { append_bytes: 300, ..SMALL };

type Plain = Journal<()>;

pub(super) fn note(id: u32) -> Record {
    Record::Ended { sale: id, slot: 1, generation: 2, end: End::Expired, at: Timestamp::from_millis(3) }
}

fn open(disk: &SimDisk) -> Result<(Plain, Vec<Record>), OpenError> {
    open_with(disk, SMALL)
}

fn open_with(disk: &SimDisk, options: JournalOptions) -> Result<(Plain, Vec<Record>), OpenError> {
    let mut seen = Vec::new();
    let journal = Journal::open(Arc::new(disk.clone()), options, &mut |record| {
        seen.push(record);
        Ok(())
    })?;
    Ok((journal, seen))
}

fn append<S: Settle>(journal: &Journal<S>, ids: impl IntoIterator<Item = u32>) -> Lsn {
    journal.append(|batch| ids.into_iter().for_each(|id| batch.push(&note(id)))).unwrap().1
}

/// What the world outside knows.
#[derive(Debug, Default, Clone)]
struct History {
    pushed: Vec<u32>,
    /// How many were pushed when each append ended.
    ends: Vec<usize>,
    acknowledged: usize,
    epoch: u32,
    used: u32,
}

impl History {
    fn check(&mut self, epoch: u32, replayed: &[Record]) -> Result<(), String> {
        let mut notes = Vec::new();
        let mut last = 0;
        for record in replayed {
            match record {
                Record::Opened { epoch, .. } if *epoch > last => last = *epoch,
                Record::Ended { sale, .. } if *record == note(*sale) => notes.push(*sale),
                other => return Err(format!("{other:?} was never appended there")),
            }
        }
        if epoch <= self.epoch.max(last) {
            return Err(format!("epoch {epoch} after {} and {last}", self.epoch));
        }
        if notes.len() < self.acknowledged || notes[..] != self.pushed[..notes.len().min(self.pushed.len())] {
            return Err(format!("{notes:?} is replayed of {:?}, {} acknowledged", self.pushed, self.acknowledged));
        }
        if !notes.is_empty() && !self.ends.contains(&notes.len()) {
            return Err(format!("an append was parted: {} of {:?}", notes.len(), self.ends));
        }
        self.ends.retain(|&end| end <= notes.len());
        self.epoch = epoch;
        self.acknowledged = notes.len();
        self.pushed = notes;
        Ok(())
    }

    /// One run of the process: open, compare, append and commit until it ends or the disk fails.
    fn live(&mut self, disk: &SimDisk, commits: u32) -> Result<(), String> {
        self.live_with(disk, commits, SMALL)
    }

    fn live_with(&mut self, disk: &SimDisk, commits: u32, options: JournalOptions) -> Result<(), String> {
        let (journal, replayed) = match open_with(disk, options) {
            Ok(opened) => opened,
            Err(error @ (OpenError::Corrupt { .. } | OpenError::NewerVersion { .. } | OpenError::InUse { .. })) => {
                return Err(format!("refused: {error}"));
            }
            Err(_) => return Ok(()),
        };
        self.check(journal.epoch(), &replayed)?;
        for commit in 0..commits {
            let mut end = Lsn(0);
            for size in [1, commit % 3, (commit % 4) * 7] {
                let ids = self.used..self.used + size;
                self.used += size;
                self.pushed.extend(ids.clone());
                self.ends.push(self.pushed.len());
                end = append(&journal, ids);
            }
            if journal.commit(end).is_err() {
                return Ok(());
            }
            self.acknowledged = self.pushed.len();
        }
        Ok(())
    }
}

const COMMITS: u32 = 7;

/// A kind of disk, and how it is written to.
#[derive(Debug, Clone, Copy)]
struct Scene {
    sector: usize,
    flaw: Option<Flaw>,
    options: JournalOptions,
    seeds: u64,
}

const SOUND: Scene = Scene { sector: 512, flaw: None, options: SMALL, seeds: 8 };
const LARGE_SECTORS: Scene = Scene { sector: 4_096, seeds: 4, ..SOUND };

const fn flawed(flaw: Flaw) -> Scene {
    Scene { flaw: Some(flaw), ..SOUND }
}

impl Scene {
    fn disk(&self, seed: u64) -> SimDisk {
        let disk = self.flaw.map_or_else(|| SimDisk::new(seed), |flaw| SimDisk::flawed(seed, flaw));
        disk.sectors(self.sector)
    }

    /// The number of calls of an undisturbed life of two runs.
    fn calls_of_a_life(&self) -> u64 {
        let (disk, mut history) = (SimDisk::new(1), History::default());
        self.live(&mut history, &disk, COMMITS).unwrap();
        self.live(&mut history, &disk, 2).unwrap();
        disk.calls()
    }

    fn live(&self, history: &mut History, disk: &SimDisk, commits: u32) -> Result<(), String> {
        history.live_with(disk, commits, self.options)
    }

    /// A crash at call `call`, then one within the next opening or soon after, then an undisturbed run, twice.
    fn crash_at(&self, call: u64, seed: u64) -> Result<(), String> {
        let (mut disk, mut history) = (self.disk(seed), History::default());
        for (run, call) in [call, 1 + (call * 7 + seed) % 60, 0].into_iter().enumerate() {
            disk.fault_at(call, Fault::Crash);
            self.live(&mut history, &disk, COMMITS)?;
            self.live(&mut history, &disk, 2)?;
            disk = disk.after_crash(seed * 31 + run as u64);
        }
        self.live(&mut history, &disk, 0)?;
        self.live(&mut history, &disk, 1)
    }

    /// An error at call `call`, a run of a new process without a crash, then a crash.
    fn error_at(&self, call: u64, seed: u64) -> Result<(), String> {
        let (disk, mut history) = (self.disk(seed), History::default());
        disk.fault_at(call, Fault::Error(io::ErrorKind::StorageFull));
        self.live(&mut history, &disk, COMMITS)?;
        self.live(&mut history, &disk, 2)?;
        let disk = disk.after_crash(seed);
        self.live(&mut history, &disk, 2)?;
        self.live(&mut history, &disk.after_crash(seed + 1), 1)
    }

    /// The disk is full from call `call` on, or from so many bytes on; the next process has room again.
    fn full_at(&self, call: u64, seed: u64) -> Result<(), String> {
        let (disk, mut history) = (self.disk(seed), History::default());
        if seed.is_multiple_of(2) {
            disk.fault_at(call, Fault::Full);
        } else {
            disk.set_room(Some(usize::try_from(call * 150 + seed).unwrap()));
        }
        self.live(&mut history, &disk, COMMITS)?;
        // Nothing was freed yet.
        self.live(&mut history, &disk, 2)?;
        let disk = if seed % 4 < 2 { disk.copy() } else { disk.after_crash(seed) };
        disk.set_room(None);
        self.live(&mut history, &disk, 2)?;
        self.live(&mut history, &disk.after_crash(seed + 1), 1)
    }

    fn sweep(&self, attempt: impl Fn(&Self, u64, u64) -> Result<(), String>) -> Result<(), String> {
        for call in 1..=self.calls_of_a_life() {
            for seed in 0..self.seeds {
                attempt(self, call, seed).map_err(|why| format!("call {call}, seed {seed}: {why}"))?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_crash_at_any_call_loses_nothing_that_was_acknowledged() {
    SOUND.sweep(Scene::crash_at).unwrap();
    LARGE_SECTORS.sweep(Scene::crash_at).unwrap();
}

#[test]
fn control_a_lying_sync_is_caught() {
    assert!(flawed(Flaw::LyingSync).sweep(Scene::crash_at).is_err());
}

#[test]
fn control_a_lying_sync_of_the_folder_is_caught() {
    assert!(flawed(Flaw::LyingDirectorySync).sweep(Scene::crash_at).is_err());
}

#[test]
fn control_a_crash_between_the_frames_of_an_append_that_was_parted_is_caught() {
    let caught = Scene { options: PARTING, ..SOUND }.sweep(Scene::crash_at).unwrap_err();
    assert!(caught.contains("an append was parted"), "{caught}");
}

#[test]
fn an_error_at_any_call_loses_nothing_that_was_acknowledged_or_replayed() {
    SOUND.sweep(Scene::error_at).unwrap();
    LARGE_SECTORS.sweep(Scene::error_at).unwrap();
}

#[test]
fn control_pages_that_a_failed_sync_left_clean_are_caught_if_not_written_again() {
    assert!(flawed(Flaw::SkipsEqualWrites).sweep(Scene::error_at).is_err());
}

#[test]
fn a_disk_that_is_full_from_any_call_or_byte_on_loses_nothing_that_was_acknowledged() {
    SOUND.sweep(Scene::full_at).unwrap();
    LARGE_SECTORS.sweep(Scene::full_at).unwrap();
}

/// A journal of one segment with `commits` frames of three notes; the frames' offsets and the end.
fn written(commits: u32) -> (SimDisk, Vec<u64>) {
    let disk = SimDisk::new(9);
    let options = JournalOptions { segment_bytes: 1 << 20, fill_bytes: 4_096, ..SMALL };
    let (journal, _) = open_with(&disk, options).unwrap();
    let mut ends = vec![4_096, 4_096 + journal.stats().bytes];
    for commit in 0..commits {
        journal.commit(append(&journal, commit * 3..commit * 3 + 3)).unwrap();
        ends.push(4_096 + journal.stats().bytes);
    }
    journal.close().unwrap();
    (disk, ends)
}

const FIRST: &str = "00000001.journal";

#[test]
fn rot_before_the_last_frame_is_refused_with_its_place() {
    let (disk, offsets) = written(4);
    let last = offsets[offsets.len() - 2];
    for at in 4_096..usize::try_from(last).unwrap() {
        let rotten = disk.copy();
        rotten.with_file(FIRST, |bytes| bytes[at] ^= 1 << (at % 8));
        let before = rotten.with_file(FIRST, |bytes| bytes.clone());
        let start = *offsets.iter().rfind(|&&offset| offset <= at as u64).unwrap();
        match open(&rotten) {
            Err(OpenError::Corrupt { file, offset, .. }) => {
                assert_eq!((file.as_path(), offset), (&*Path::new("sim").join(FIRST), start), "byte {at}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(rotten.with_file(FIRST, |bytes| bytes.clone()), before, "nothing is changed");
        let mut tail = Tail::on(Arc::new(rotten)).unwrap();
        assert!(matches!(read_all(&mut tail, None), Err(OpenError::Corrupt { offset, .. }) if offset == start));
    }
}

#[test]
fn a_frame_that_turned_to_zeros_before_the_last_is_refused() {
    let (disk, offsets) = written(4);
    let (from, to) = (usize::try_from(offsets[2]).unwrap(), usize::try_from(offsets[3]).unwrap());
    disk.with_file(FIRST, |bytes| bytes[from..to].fill(0));
    assert!(matches!(open(&disk), Err(OpenError::Corrupt { offset, .. }) if offset == offsets[2]));
}

#[test]
fn rot_in_the_header_block_is_refused() {
    let (disk, _) = written(1);
    for at in (0..4_096).filter(|at| !(8..12).contains(at)) {
        let rotten = disk.copy();
        rotten.with_file(FIRST, |bytes| bytes[at] ^= 0x10);
        assert!(matches!(open(&rotten), Err(OpenError::Corrupt { offset: 0, .. })), "byte {at}");
    }
}

#[test]
fn rot_of_any_bit_in_the_last_frame_is_refused_with_its_place_and_overwrites_nothing() {
    let (disk, offsets) = written(4);
    let last = offsets[offsets.len() - 2];
    let end = usize::try_from(offsets[offsets.len() - 1]).unwrap();
    for bit in usize::try_from(last).unwrap() * 8..end * 8 {
        let rotten = disk.copy();
        rotten.rot(FIRST, bit);
        let before = rotten.with_file(FIRST, |bytes| bytes.clone());
        assert!(matches!(open(&rotten), Err(OpenError::Corrupt { offset, .. }) if offset == last), "bit {bit}");
        assert_eq!(rotten.with_file(FIRST, |bytes| bytes.clone()), before, "nothing is changed");
        let mut tail = Tail::on(Arc::new(rotten)).unwrap();
        assert!(matches!(read_all(&mut tail, None), Err(OpenError::Corrupt { offset, .. }) if offset == last));
    }
}

/// A crash in the middle of the next commit hides no rot: what was acknowledged isn't overwritten with what is torn.
#[test]
fn rot_of_any_bit_in_the_last_whole_frame_is_refused_also_with_a_torn_write_behind_it() {
    let (disk, offsets) = written(4);
    let [from, end, next] = [3, 2, 1].map(|back| usize::try_from(offsets[offsets.len() - back]).unwrap());
    for kept in [1, 20, 60, next - end - 8] {
        let torn = disk.copy();
        torn.with_file(FIRST, |bytes| bytes[end + kept..].fill(0));
        assert_eq!(open(&torn.copy()).unwrap().1.len(), 1 + 9, "{kept}");
        for bit in from * 8..end * 8 {
            let rotten = torn.copy();
            rotten.rot(FIRST, bit);
            let before = rotten.with_file(FIRST, |bytes| bytes.clone());
            let refused = open(&rotten);
            let named = matches!(&refused, Err(OpenError::Corrupt { offset, .. }) if *offset == from as u64);
            assert!(named, "bit {bit}, {kept} kept: {refused:?}");
            assert_eq!(rotten.with_file(FIRST, |bytes| bytes.clone()), before, "nothing is changed");
        }
    }
}

/// The limit that `torn` documents: a sector's part of the last frame that turns to zeros is as if it was never
/// written.
#[test]
fn zeros_in_the_place_of_a_sectors_part_of_the_last_frame_are_taken_for_a_torn_write_and_overwritten() {
    let (disk, offsets) = written(4);
    let (from, to) = (offsets[offsets.len() - 2], offsets[offsets.len() - 1]);
    let [from, to] = [from, to].map(|at| usize::try_from(at).unwrap());
    let rotten = disk.copy();
    rotten.with_file(FIRST, |bytes| bytes[from..to.min(from.next_multiple_of(512))].fill(0));
    let (journal, replayed) = open(&rotten).unwrap();
    assert_eq!(replayed.len(), 1 + 9);
    let end = 4_096 + usize::try_from(journal.stats().bytes).unwrap();
    assert!(rotten.with_file(FIRST, |bytes| bytes[end..].iter().all(|&byte| byte == 0)));
    drop(journal);
    assert_eq!(open(&rotten).unwrap().1.len(), 1 + 9 + 1);
}

/// In every segment, headers and the zeros behind the frames included.
#[test]
fn rot_anywhere_in_a_journal_of_several_segments_is_refused_or_concerns_nothing_that_was_written() {
    let disk = SimDisk::new(2);
    History::default().live(&disk, 2 * COMMITS).unwrap();
    let whole = open(&disk.copy()).unwrap().1;
    let names: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".journal")).collect();
    assert!(names.len() > 3, "{names:?}");
    for name in &names {
        let bytes = disk.with_file(name, |bytes| bytes.clone());
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        for at in (0..bytes.len()).filter(|at| *at < 64 || at % [4, 64][usize::from((64..4_088).contains(at))] == 1) {
            let rotten = disk.copy();
            rotten.rot(name, at * 8 + at % 8);
            match open(&rotten) {
                Err(OpenError::Corrupt { file, offset, .. }) => {
                    assert_eq!(file, Path::new("sim").join(name), "byte {at}");
                    assert!(offset <= at as u64, "byte {at} is said to be {offset}");
                }
                Err(OpenError::NewerVersion { file, .. }) if (8..12).contains(&at) => {
                    assert_eq!(file, Path::new("sim").join(name));
                }
                Ok((_, replayed)) => {
                    assert!(at > end, "byte {at} of {name} was written, and its rot was not found");
                    assert_eq!(replayed, whole, "byte {at} of {name}");
                }
                Err(other) => panic!("byte {at} of {name}: {other}"),
            }
        }
    }
}

#[test]
fn rot_at_the_end_of_a_segment_that_others_follow_is_refused() {
    let disk = SimDisk::new(2);
    History::default().live(&disk, COMMITS).unwrap();
    let names: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".journal")).collect();
    assert!(names.len() > 2, "{names:?}");
    for name in &names[..names.len() - 1] {
        let rotten = disk.copy();
        let at = rotten.with_file(name, |bytes| {
            let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
            bytes[last] ^= 1;
            last as u64
        });
        match open(&rotten) {
            Err(OpenError::Corrupt { file, offset, .. }) => {
                assert_eq!(file, Path::new("sim").join(name));
                assert!((4_096..=at).contains(&offset));
            }
            other => panic!("{other:?}"),
        }
        let missing = disk.copy();
        missing.lose(name);
        assert!(matches!(open(&missing), Err(OpenError::Corrupt { file, .. }) if file == Path::new("sim").join(name)));
    }
}

#[test]
fn a_reader_without_a_limit_ends_at_the_end_and_takes_no_missing_file_or_rotten_header_for_it() {
    let disk = SimDisk::new(2);
    History::default().live(&disk, 2 * COMMITS).unwrap();
    let read = |disk: &SimDisk| Tail::on(Arc::new(disk.clone())).and_then(|mut tail| read_all(&mut tail, None));
    assert_eq!(read(&disk).unwrap(), open(&disk.copy()).unwrap().1);
    let names: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".journal")).collect();
    assert!(names.len() > 3, "{names:?}");
    for name in &names {
        let rotten = disk.copy();
        rotten.rot(name, 100 * 8);
        let refused = read(&rotten);
        assert!(matches!(&refused, Err(OpenError::Corrupt { .. })), "{name}: {refused:?}");
        let missing = disk.copy();
        missing.lose(name);
        // Nothing tells of a last file that is gone.
        if Some(name) != names.last() {
            let refused = read(&missing);
            assert!(matches!(&refused, Err(OpenError::Corrupt { .. })), "{name}: {refused:?}");
        }
    }
    // A last one whose making was cut short is none.
    let last = names.last().unwrap();
    let before = read(&disk).unwrap();
    let unfinished = disk.copy();
    let next = file_name(segment_number(last).unwrap() + 1);
    drop(unfinished.open(&next, Access::Create).unwrap());
    unfinished.with_file(&next, |bytes| bytes.resize(5_000, 0));
    assert_eq!(read(&unfinished).unwrap(), before);
}

#[test]
fn a_fake_frame_in_a_torn_tail_is_believed_only_with_the_salt_and_its_place() {
    let (disk, offsets) = written(2);
    let (last, end) = (usize::try_from(offsets[2]).unwrap(), usize::try_from(offsets[3]).unwrap());
    let salt = disk.with_file(FIRST, |bytes| u64::from_le_bytes(*bytes[24..].first_chunk().unwrap()));
    // As a text in the torn frame's payload.
    let within = last + 40;
    let place = Place { salt, segment: 1, offset: offsets[2] + 40 };
    let believed = |place| {
        let torn = disk.copy();
        let mut fake = FrameBuffer::new(MAX_PAYLOAD);
        fake.begin();
        fake.push(|out| note(666).encode(out));
        let put: Result<(), ()> = fake.write(|frame, part| {
            seal(frame, part, 9, 1, place);
            torn.with_file(FIRST, |bytes| {
                bytes[within..end].fill(0);
                bytes[within..within + frame.len()].copy_from_slice(frame);
                assert!(within + frame.len() < end);
            });
            Ok(())
        });
        put.unwrap();
        match open(&torn) {
            Ok((_, replayed)) => {
                assert_eq!(replayed.len(), 1 + 3);
                false
            }
            Err(OpenError::Corrupt { offset, .. }) => offset == offsets[2],
            Err(other) => panic!("{other}"),
        }
    };
    assert!(!believed(Place { salt: salt ^ 1, ..place }));
    assert!(!believed(Place { segment: 2, ..place }));
    assert!(!believed(Place { offset: offsets[2], ..place }));
    assert!(believed(place), "control: a frame that the journal itself wrote there is proof of rot");
}

#[test]
fn a_frame_that_holds_and_does_not_follow_is_refused() {
    let (disk, offsets) = written(2);
    let end = offsets[offsets.len() - 1];
    let salt = disk.with_file(FIRST, |bytes| u64::from_le_bytes(*bytes[24..].first_chunk().unwrap()));
    let opened = |epoch| Record::Opened { epoch, incarnation: 7, at: Timestamp::MIN };
    let skipped = Record::Skipped { count: 3, latest: Timestamp::MIN };
    // It has an opening and six notes, of epoch 1.
    for (first, epoch, record, for_recovery, for_readers) in [
        (8, 1, note(6), true, true),
        (9, 1, note(6), false, false),
        (7, 1, note(6), false, false),
        (8, 0, note(6), false, true),
        (8, 2, opened(2), true, true),
        (8, 1, opened(1), false, true),
        (8, 3, opened(2), false, true),
        (8, 1, skipped, false, false),
    ] {
        let longer = disk.copy();
        let mut frame = FrameBuffer::new(MAX_PAYLOAD);
        frame.begin();
        frame.push(|out| record.encode(out));
        let put: Result<(), ()> = frame.write(|frame, part| {
            seal(frame, part, first, epoch, Place { salt, segment: 1, offset: end });
            let at = usize::try_from(end).unwrap();
            longer.with_file(FIRST, |bytes| bytes[at..at + frame.len()].copy_from_slice(frame));
            Ok(())
        });
        put.unwrap();
        let read = read_all(&mut Tail::on(Arc::new(longer.clone())).unwrap(), None);
        assert_eq!(read.is_ok(), for_readers, "{first}, {epoch}, {record:?}: {read:?}");
        let opened = open(&longer);
        assert_eq!(opened.is_ok(), for_recovery, "{first}, {epoch}, {record:?}: {opened:?}");
        if let Err(error) = opened {
            assert!(matches!(error, OpenError::Corrupt { offset, .. } if offset == end), "{error}");
        }
    }
}

#[test]
fn a_failed_write_or_sync_is_final_and_settles_nothing() {
    for call_after in [1, 2] {
        let disk = SimDisk::new(3);
        let settled = Arc::new(AtomicUsize::new(0));
        let options = JournalOptions { segment_bytes: 1 << 20, fill_bytes: 1 << 16, ..SMALL };
        let journal = Journal::open(Arc::new(disk.clone()), options, &mut |_| Ok(())).unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        journal.on_failure(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let push = |id| {
            journal.append(|batch| {
                batch.push(&note(id));
                batch.settle_with(Count(Arc::clone(&settled)));
            })
        };
        let (first, good) = (journal.durable(), push(1).unwrap().1);
        journal.commit(good).unwrap();
        assert!(good > first && settled.load(Ordering::Relaxed) == 1);
        let lost = push(2).unwrap().1;
        let wakes = Arc::new(Wakes::default());
        assert!(journal.register(lost, &Waker::from(Arc::clone(&wakes))));
        disk.fault_at(disk.calls() + call_after, Fault::Error(io::ErrorKind::Other));
        let calls_at_failure = disk.calls() + call_after;
        assert!(matches!(journal.commit(lost), Err(JournalError::Failed { .. })));
        assert_eq!(disk.calls(), calls_at_failure, "nothing is tried again");
        assert!(matches!(journal.commit(lost), Err(JournalError::Failed { .. })));
        assert!(matches!(push(3), Err(JournalError::Failed { .. })));
        assert!(matches!(journal.close(), Err(JournalError::Failed { .. })));
        assert!(!journal.register(lost, Waker::noop()));
        assert_eq!(journal.commit(good), Ok(()), "what was acknowledged stays so");
        assert!(matches!(journal.failure(), Some(JournalError::Failed { .. })));
        assert_eq!(settled.load(Ordering::Relaxed), 1);
        assert_eq!((told.load(Ordering::Relaxed), wakes.0.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(disk.calls(), calls_at_failure, "nothing is written after a failure");
    }
}

#[test]
fn whoever_appends_is_told_when_too_much_waits() {
    let (journal, _) = open_with(&SimDisk::new(3), JournalOptions::at(Timestamp::MIN)).unwrap();
    assert!(journal.failure().is_none());
    let (before, end) = (journal.durable(), append(&journal, 0..1 << 16));
    assert_eq!(journal.appended(), end);
    assert!(!journal.is_behind(before) && !journal.is_behind(end));
    let end = append(&journal, [1]);
    assert!(journal.is_behind(end));
    journal.commit(end).unwrap();
    assert!(!journal.is_behind(end) && !journal.is_behind(append(&journal, [2])));
}

#[test]
fn followers_of_a_failed_commit_learn_of_it() {
    let disk = SimDisk::new(4);
    let journal = Journal::<()>::open(Arc::new(disk.clone()), SMALL, &mut |_| Ok(())).unwrap();
    disk.fault_at(disk.calls() + 2, Fault::Error(io::ErrorKind::Other));
    let ends: Vec<_> = (0..4).map(|id| append(&journal, [id])).collect();
    let start = Barrier::new(ends.len());
    thread::scope(|scope| {
        for end in ends {
            let (journal, start) = (&journal, &start);
            scope.spawn(move || {
                start.wait();
                assert!(matches!(journal.commit(end), Err(JournalError::Failed { .. })));
            });
        }
    });
}

#[test]
fn a_settlement_that_panics_stops_the_journal_and_leaves_nobody_waiting() {
    struct Bomb;
    impl Settle for Bomb {
        fn settle(self) {
            panic!("a bug");
        }
    }
    let journal = Journal::open(Arc::new(SimDisk::new(4)), SMALL, &mut |_| Ok(())).unwrap();
    let end = journal.append(|batch| {
        batch.push(&note(1));
        batch.settle_with(Bomb);
    });
    let end = end.unwrap().1;
    let led = thread::scope(|scope| scope.spawn(|| journal.commit(end)).join());
    assert!(led.is_err());
    assert!(matches!(journal.commit(end), Err(JournalError::Failed { .. })));
}

#[test]
fn an_append_that_panics_appends_nothing() {
    let disk = SimDisk::new(4);
    let (journal, _) = open(&disk).unwrap();
    append(&journal, [1]);
    let panicked = thread::scope(|scope| {
        let append = || {
            journal.append(|batch| {
                (50..90).for_each(|id| batch.push(&note(id)));
                panic!("a bug")
            })
        };
        scope.spawn(move || drop(append().map(|((), end)| end))).join()
    });
    assert!(panicked.is_err());
    append(&journal, [2]);
    journal.close().unwrap();
    drop(journal);
    assert_eq!(open(&disk).unwrap().1[1..], [note(1), note(2)]);
}

#[test]
fn an_empty_append_is_at_the_end_and_a_closed_journal_takes_nothing() {
    let disk = SimDisk::new(4);
    let (journal, _) = open(&disk).unwrap();
    assert_eq!(append(&journal, []), journal.durable());
    assert!(!journal.has_pending());
    let end = append(&journal, [1]);
    assert!(journal.has_pending() && journal.backlog() > 0);
    journal.close().unwrap();
    assert!(journal.is_durable(end) && !journal.has_pending());
    assert_eq!(journal.append(|_| panic!("does not run")).map(|((), end)| end), Err(JournalError::Closed));
}

#[test]
fn a_waker_is_woken_once_its_position_is_durable() {
    let (journal, _) = open(&SimDisk::new(5)).unwrap();
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&count));
    let end = append(&journal, [1]);
    assert!(journal.register(end, &waker) && journal.register(end, &waker));
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    journal.commit(end).unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1, "asking twice is kept once");
    assert!(!journal.register(end, &waker));
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_gone() {
    let disk = SimDisk::new(6);
    let (journal, _) = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::InUse { .. })));
    drop(journal);
    open(&disk).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let real = || Journal::<()>::open(Arc::new(FsDisk::at(folder.path())), SMALL, &mut |_| Ok(()));
    let journal = real().unwrap();
    let refused = real().unwrap_err();
    assert!(matches!(&refused, OpenError::InUse { dir } if dir == folder.path()), "{refused}");
    drop(journal);
    assert_eq!(real().unwrap().epoch(), 2);
}

#[test]
fn a_newer_version_is_refused_and_named() {
    let (disk, _) = written(1);
    disk.with_file(FIRST, |bytes| bytes[8] = 7);
    let refused = open(&disk).unwrap_err();
    assert!(matches!(refused, OpenError::NewerVersion { version: 7, supported: 2, .. }), "{refused}");
    assert!(matches!(Tail::on(Arc::new(disk)), Err(OpenError::NewerVersion { version: 7, .. })));
}

#[test]
fn a_secret_that_rotted_or_went_missing_is_refused() {
    let (disk, _) = written(1);
    for at in 0..48 {
        let rotten = disk.copy();
        rotten.with_file("secret", |bytes| bytes[at] ^= 0x80);
        let refused = open(&rotten).unwrap_err();
        assert!(matches!(refused, OpenError::Corrupt { .. } | OpenError::NewerVersion { .. }), "byte {at}: {refused}");
    }
    let (longer, newer) = (disk.copy(), disk.copy());
    longer.with_file("secret", |bytes| bytes.push(0));
    assert!(matches!(open(&longer), Err(OpenError::Corrupt { .. })));
    newer.with_file("secret", |bytes| bytes[8] = 2);
    assert!(matches!(open(&newer), Err(OpenError::NewerVersion { version: 2, supported: 1, .. })));
    disk.lose("secret");
    assert!(matches!(open(&disk), Err(OpenError::Corrupt { .. })));
    // One that can't be read is not one that isn't there: no other is made in its place.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("secret", folder.path().join("secret")).unwrap();
    let refused = Plain::open(Arc::new(FsDisk::at(folder.path())), SMALL, &mut |_| Ok(()));
    assert!(matches!(refused, Err(OpenError::Io { what: "read", .. })), "{refused:?}");
}

#[test]
fn a_contradiction_that_replay_finds_is_passed_on_with_its_place() {
    let (disk, offsets) = written(2);
    let refused = Plain::open(Arc::new(disk), SMALL, &mut |record| match record {
        Record::Ended { sale: 4, .. } => Err("no such sale".to_owned()),
        _ => Ok(()),
    });
    match refused {
        Err(OpenError::Replay { offset, record, why, .. }) => {
            assert_eq!((offset, record, why.as_str()), (offsets[2], 6, "no such sale"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn identities_last_and_the_secret_is_not_shown() {
    let disk = SimDisk::new(7);
    let (journal, _) = open(&disk).unwrap();
    let (engine_id, secret, incarnation) = (journal.engine_id(), *journal.secret(), journal.incarnation());
    assert!(!format!("{journal:?}").contains("secret"));
    assert_eq!(disk.with_file("secret", |bytes| bytes[12..44].to_vec()), secret);
    let other = open(&SimDisk::new(8)).unwrap().0;
    assert!(other.engine_id() != engine_id && *other.secret() != secret);
    drop(journal);
    let (journal, replayed) = open(&disk).unwrap();
    assert_eq!((journal.engine_id(), *journal.secret(), journal.epoch()), (engine_id, secret, 2));
    assert_ne!(journal.incarnation(), incarnation);
    assert_eq!(replayed, [Record::Opened { epoch: 1, incarnation, at: Timestamp::MIN }]);
}

fn read_all(tail: &mut Tail, limit: Option<Lsn>) -> Result<Vec<Record>, OpenError> {
    let (mut all, mut frame) = (Vec::new(), Vec::new());
    while tail.next_frame(limit, &mut frame)? {
        all.append(&mut frame);
    }
    Ok(all)
}

#[test]
fn a_tail_follows_across_rotation_and_stops_at_its_limit() {
    let disk = SimDisk::new(8);
    let (journal, _) = open(&disk).unwrap();
    let mut tail = Tail::on(Arc::new(disk.clone())).unwrap();
    let mut seen = Vec::new();
    let mut positions = vec![tail.position()];
    let mut limit = journal.durable();
    for id in 0..200 {
        seen.append(&mut read_all(&mut tail, Some(limit)).unwrap());
        assert_eq!((tail.position().lsn(), seen.len() as u64), (limit, limit.0));
        positions.push(tail.position());
        journal.commit(append(&journal, [id])).unwrap();
        assert!(read_all(&mut tail, Some(limit)).unwrap().is_empty(), "never past the limit");
        limit = journal.durable();
        if id % 3 == 0 {
            seen.append(&mut read_all(&mut tail, None).unwrap());
        }
    }
    seen.append(&mut read_all(&mut tail, Some(limit)).unwrap());
    assert_eq!(seen[1..], (0..200).map(note).collect::<Vec<_>>());
    assert!(disk.names().len() > 10);
    for position in positions {
        tail.rewind(position);
        let rest = read_all(&mut tail, Some(limit)).unwrap();
        assert_eq!(rest[..], seen[usize::try_from(position.lsn().0).unwrap()..]);
    }
    let missing = read_all(&mut tail, Some(Lsn(limit.0 + 1)));
    assert!(matches!(missing, Err(OpenError::Corrupt { .. })), "what the limit promises must be there");
}

#[test]
fn a_tail_gives_no_frame_that_goes_beyond_its_limit() {
    let (disk, _) = written(2);
    let mut tail = Tail::on(Arc::new(disk)).unwrap();
    // The opening is record 1; each frame has three more.
    for (limit, given) in [(3, 1), (4, 3), (6, 0), (7, 3)] {
        assert_eq!(read_all(&mut tail, Some(Lsn(limit))).unwrap().len(), given, "up to {limit}");
    }
}

#[test]
fn of_what_was_skipped_only_what_was_not_read_is_told() {
    let skipped = |count| Record::Skipped { count, latest: Timestamp::from_millis(9) };
    let behind = tail::behind;
    for (number, end, next, told) in [(5, 9, 4, Some(4)), (5, 9, 5, Some(4)), (5, 9, 7, Some(2)), (5, 9, 9, None)] {
        assert_eq!(behind(skipped(4), number, end, next), told.map(skipped), "{number}..{end} behind {next}");
    }
    assert_eq!(behind(note(1), 5, 6, 5), Some(note(1)));
    assert_eq!(behind(note(1), 5, 6, 6), None);
}

#[test]
fn a_tail_names_the_file_that_is_another_or_cant_be_read() {
    let disk = SimDisk::new(8);
    let (journal, _) = open(&disk).unwrap();
    for id in 0..100 {
        journal.commit(append(&journal, [id])).unwrap();
    }
    drop(journal);
    let refused = |disk: &SimDisk| match read_all(&mut Tail::on(Arc::new(disk.clone())).unwrap(), None) {
        Err(OpenError::Corrupt { file, why, .. }) => (file.file_name().unwrap().to_str().unwrap().to_owned(), why),
        other => panic!("{other:?}"),
    };
    let of = |segment| disk.with_file(&file_name(segment), |bytes| bytes.clone());
    let put = |segment, bytes: &[u8]| {
        let changed = disk.copy();
        changed.with_file(&file_name(segment), |file| *file = bytes.to_vec());
        refused(&changed)
    };
    let (file, why) = put(2, &of(3));
    assert!(file == file_name(2) && why.contains("belongs to another place"), "{file}: {why}");
    let mut foreign = of(2);
    foreign[16] ^= 1;
    let crc = crc32fast::hash(&foreign[..HEADER_BLOCK - 4]);
    foreign[HEADER_BLOCK - 4..HEADER_BLOCK].copy_from_slice(&crc.to_le_bytes());
    let (file, why) = put(2, &foreign);
    assert!(file == file_name(2) && why.contains("another journal"), "{file}: {why}");
    // Nothing but zeros is a file whose making was cut short only if it is the last.
    let (file, why) = put(2, &[0; 5_000]);
    assert!(file == file_name(2) && why.contains("header"), "{file}: {why}");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(FIRST, folder.path().join(FIRST)).unwrap();
    let failed = Tail::open(folder.path());
    assert!(matches!(failed, Err(OpenError::Io { what: "read", .. })), "{failed:?}");
}

#[test]
fn a_tail_without_a_limit_ends_before_a_torn_frame() {
    let (disk, offsets) = written(3);
    let torn = usize::try_from(offsets[offsets.len() - 2]).unwrap();
    disk.with_file(FIRST, |bytes| bytes[torn + 50..].fill(0));
    let mut tail = Tail::on(Arc::new(disk)).unwrap();
    assert_eq!(read_all(&mut tail, None).unwrap().len(), 1 + 6);
    assert_eq!(read_all(&mut tail, None).unwrap().len(), 0);
}

#[test]
fn a_long_list_of_buyers_and_a_large_append_come_back_whole() {
    let disk = SimDisk::new(8);
    let options = JournalOptions::at(Timestamp::MIN);
    let (journal, _) = open_with(&disk, options).unwrap();
    let buyers: Vec<_> = (0..600_000).map(Buyer::from).collect();
    let syncs = disk.syncs();
    let ((), end) =
        journal.append(|batch| batch.push(&Record::Registered { sale: 1, buyers: buyers.clone() })).unwrap();
    assert!(journal.backlog() > 8 << 20);
    journal.commit(end).unwrap();
    assert_eq!(disk.syncs() - syncs, 1, "one append, one frame");
    drop(journal);
    let mut read = Vec::new();
    for record in open_with(&disk, options).unwrap().1 {
        if let Record::Registered { buyers, .. } = record {
            read.extend(buyers);
        }
    }
    assert_eq!(read, buyers);
}

/// Makes the first segment one of format 1.
fn make_version_1(disk: &SimDisk) {
    disk.with_file(FIRST, |bytes| {
        bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..HEADER_BLOCK - 4]);
        bytes[HEADER_BLOCK - 4..HEADER_BLOCK].copy_from_slice(&crc.to_le_bytes());
    });
}

/// The files of format 1 that have a frame which format 1 doesn't know.
fn beyond_version_1(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| {
        let Some(segment) = segment_number(name) else { return false };
        let (mut reader, block) = SegmentReader::open(disk, segment).unwrap();
        let Block::Header(header) = block else { panic!("{name}: {block:?}") };
        let (mut end, mut beyond) = (HEADER_BLOCK as u64, false);
        while let Some(found) = reader.find(end).unwrap() {
            beyond |= header.version == 1 && found.header.payload > MAX_PAYLOAD;
            end = found.end;
        }
        beyond
    });
    names
}

fn append_buyers(journal: &Plain, count: u64) {
    let buyers: Vec<_> = (0..count).map(Buyer::from).collect();
    let ((), end) = journal.append(|batch| batch.push(&Record::Registered { sale: 1, buyers })).unwrap();
    journal.commit(end).unwrap();
}

#[test]
fn a_segment_of_version_1_is_followed_by_another_before_a_frame_that_version_1_does_not_know() {
    let options = JournalOptions::at(Timestamp::MIN);
    let disk = SimDisk::new(8);
    open_with(&disk, options).unwrap().0.close().unwrap();
    make_version_1(&disk);
    let (journal, _) = open_with(&disk, options).unwrap();
    append_buyers(&journal, 20_000);
    assert_eq!(journal.segment(), 1, "it is continued");
    append_buyers(&journal, 600_000);
    assert_eq!((journal.segment(), beyond_version_1(&disk)), (2, Vec::new()));
    append_buyers(&journal, 600_000);
    assert_eq!(journal.segment(), 2, "the second is of the present format, and takes it");
    drop(journal);
    let replayed = open_with(&disk, options).unwrap().1;
    let buyers: usize = replayed
        .iter()
        .map(|record| if let Record::Registered { buyers, .. } = record { buyers.len() } else { 0 })
        .sum();
    assert_eq!(buyers, 1_220_000);
}

#[test]
fn control_a_frame_that_version_1_does_not_know_is_found() {
    let options = JournalOptions::at(Timestamp::MIN);
    let disk = SimDisk::new(8);
    let (journal, _) = open_with(&disk, options).unwrap();
    append_buyers(&journal, 600_000);
    drop(journal);
    assert_eq!(beyond_version_1(&disk), Vec::<String>::new());
    make_version_1(&disk);
    assert_eq!(beyond_version_1(&disk), [FIRST]);
}

/// Counts when it settles.
#[derive(Debug)]
struct Count(Arc<AtomicUsize>);

impl Settle for Count {
    fn settle(self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The real disk, with its syncs counted.
#[derive(Debug)]
struct Counted {
    disk: FsDisk,
    syncs: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountedFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<AtomicUsize>,
}

impl Disk for Counted {
    fn path(&self) -> &Path {
        self.disk.path()
    }
    fn lock(&self) -> io::Result<Box<dyn FolderLock>> {
        self.disk.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CountedFile { file: self.disk.open(name, access)?, syncs: Arc::clone(&self.syncs) }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
    fn write_small(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_small(name, bytes)
    }
    fn entropy(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.disk.entropy(bytes)
    }
}

impl DiskFile for CountedFile {
    fn cut(&self, length: u64) -> io::Result<()> {
        self.file.cut(length)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

#[test]
fn four_threads_share_their_syncs_and_each_settlement_runs_once_before_its_commit_returns() {
    const THREADS: u32 = 4;
    const EACH: u32 = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions::at(Timestamp::MIN);
    let syncs = Arc::new(AtomicUsize::new(0));
    let disk = Counted { disk: FsDisk::create(folder.path()).unwrap(), syncs: Arc::clone(&syncs) };
    let journal = Journal::open(Arc::new(disk), options, &mut |_| Ok(())).unwrap();
    let before = syncs.load(Ordering::Relaxed);
    let total = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, total) = (&journal, &total);
            scope.spawn(move || {
                for id in thread * EACH..(thread + 1) * EACH {
                    let mine = Arc::new(AtomicUsize::new(0));
                    let ((), end) = journal
                        .append(|batch| {
                            batch.push(&note(id));
                            batch.settle_with(Count(Arc::clone(&mine)));
                            batch.settle_with(Count(Arc::clone(total)));
                        })
                        .unwrap();
                    journal.commit(end).unwrap();
                    assert_eq!(mine.load(Ordering::Relaxed), 1);
                }
            });
        }
        // Delivery reads along.
        let mut tail = Tail::open(folder.path()).unwrap();
        let mut read = 0;
        while read < 1 + usize::try_from(THREADS * EACH).unwrap() {
            read += read_all(&mut tail, Some(journal.durable())).unwrap().len();
            thread::yield_now();
        }
    });
    let commits = usize::try_from(THREADS * EACH).unwrap();
    assert_eq!(total.load(Ordering::Relaxed), commits);
    assert!(syncs.load(Ordering::Relaxed) - before <= commits);
    let stats = journal.stats();
    assert_eq!(stats.records, 1 + u64::from(THREADS * EACH));
    drop(journal);
    let mut ids = Vec::new();
    let again = Plain::open(Arc::new(FsDisk::at(folder.path())), options, &mut |record| {
        if let Record::Ended { sale, .. } = record {
            ids.push(sale);
        }
        Ok(())
    });
    assert!(again.unwrap().stats().bytes > stats.bytes);
    for thread in 0..THREADS {
        let own: Vec<_> = ids.iter().copied().filter(|id| id / EACH == thread).collect();
        assert_eq!(own, (thread * EACH..(thread + 1) * EACH).collect::<Vec<_>>(), "in each thread's order, once");
    }
}

#[test]
fn tails_read_along_across_rotations_on_the_real_disk() {
    const COUNT: u32 = 1_500;
    let folder = tempfile::tempdir().unwrap();
    let journal = Plain::open(Arc::new(FsDisk::at(folder.path())), SMALL, &mut |_| Ok(())).unwrap();
    thread::scope(|scope| {
        for limited in [true, false] {
            let tail = if limited { journal.tail() } else { Tail::open(folder.path()) };
            let (journal, mut tail) = (&journal, tail.unwrap());
            scope.spawn(move || {
                let mut seen = Vec::new();
                while seen.len() <= COUNT.try_into().unwrap() {
                    let limit = limited.then(|| journal.durable());
                    seen.append(&mut read_all(&mut tail, limit).unwrap());
                    thread::yield_now();
                }
                assert_eq!(seen[1..], (0..COUNT).map(note).collect::<Vec<_>>());
            });
        }
        for id in 0..COUNT {
            journal.commit(append(&journal, [id])).unwrap();
        }
    });
}

#[test]
fn on_the_real_disk_files_are_private_sized_ahead_and_survive_a_cut() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("sales.journal");
    let options = JournalOptions::at(Timestamp::MIN);
    let real = || {
        let mut count = 0;
        let disk = Arc::new(FsDisk::create(&folder).unwrap());
        let journal = Plain::open(disk, options, &mut |_| {
            count += 1;
            Ok(())
        });
        (journal.unwrap(), count)
    };
    let (journal, _) = real();
    journal.commit(append(&journal, [1, 2])).unwrap();
    let end = 4_096 + journal.stats().bytes;
    journal.commit(append(&journal, [3])).unwrap();
    drop(journal);
    let mode = |name| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("secret"), mode(FIRST)), (0o600, 0o600));
    assert_eq!(fs::metadata(folder.join(FIRST)).unwrap().len(), 1 << 20);
    fs::OpenOptions::new().write(true).open(folder.join(FIRST)).unwrap().set_len(end + 20).unwrap();
    assert_eq!(real().1, 3);
    fs::write(parent.path().join("file"), "").unwrap();
    assert_eq!(FsDisk::create(&parent.path().join("file")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
}

#[test]
fn the_real_disk_does_as_it_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("sales.journal");
    assert_eq!(FsDisk::create(&folder.join("deeper")).unwrap_err().kind(), io::ErrorKind::NotFound);
    let disk = FsDisk::create(&folder).unwrap();
    disk.write_small("small", b"first").unwrap();
    // What a crash has left of an earlier one.
    fs::write(folder.join("small.new"), "longer than the second").unwrap();
    disk.write_small("small", b"second").unwrap();
    assert_eq!(fs::read(folder.join("small")).unwrap(), b"second");
    let file = disk.open("one", Access::Create).unwrap();
    file.write_at(b"0123456789", 5).unwrap();
    file.cut(12).unwrap();
    let mut bytes = [9; 20];
    assert_eq!(file.read_at(&mut bytes, 3).unwrap(), 9);
    assert_eq!(bytes[..10], *b"\0\x000123456\x09");
    assert_eq!((file.length().unwrap(), file.read_at(&mut bytes, 12).unwrap()), (12, 0));
    disk.rename("one", "other").unwrap();
    let names = || {
        let mut names = FsDisk::create(&folder).unwrap().list().unwrap();
        names.sort_unstable();
        names
    };
    assert_eq!(names(), ["other", "small"]);
    disk.remove("other").unwrap();
    assert_eq!(names(), ["small"]);
    let mut drawn = [[0; 32]; 3];
    for bytes in &mut drawn {
        disk.entropy(bytes).unwrap();
    }
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != [0; 32]);
}

#[test]
fn journals_and_tails_may_move_between_threads() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Journal<Count>>();
    assert_send_sync::<Tail>();
    assert_send_sync::<OpenError>();
    assert_send_sync::<JournalError>();
}
