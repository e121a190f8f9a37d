//! What rewriting promises, on a disk that breaks in every way it can.
//!
//! Properties, for a crash or an error at every single call to the disk, in lives that rewrite their journal:
//! 1. every acknowledged record that stays is replayed, once, in order, under its number;
//! 2. every number is told of, by a record or as skipped;
//! 3. a reader that stands anywhere goes on with the next record that it has not seen;
//! 4. a failed rewriting changes nothing, and the journal goes on.
//!
//! Negative controls: a draft that is renamed before it is synced, old segments that are removed before the new name is
//! durable, and a rewriting that leaves out a record that stays.

use std::sync::Arc;

use super::{super::*, Rewriting};
use crate::journal::{
    disk::{Access, Disk},
    error::CompactError,
    salvage::{Damage, Piece, Salvage},
    segment::{
        Block, HEADER_BLOCK, Identity, SegmentHeader, SegmentReader, SegmentWriter, Sizes, VERSION, file_name,
        segment_number,
    },
    sim_disk::{Fault, Flaw},
};
use crate::{End, core::Timestamp};

/// Smaller still: what is written in a moment is worth rewriting.
const SMALL: JournalOptions = JournalOptions { segment_bytes: 4_096 + 700, fill_bytes: 500, ..tests::SMALL };

/// Every third stays.
fn record(id: u64) -> Record {
    let at = Timestamp::from_millis(id);
    if id.is_multiple_of(3) {
        Record::Shipped { sale: 0, sequence: id, at }
    } else {
        Record::Ended { sale: 0, slot: 1, generation: 2, end: End::Expired, at }
    }
}

/// Keeps what stays, and carries one record that says how many records that pass there were.
#[derive(Default)]
struct Simple {
    passed: u64,
    last: u64,
    /// Leaves out a record that stays.
    forgets: bool,
    /// Keeps also what passes.
    keeps_all: bool,
    /// What to do while it reads.
    meanwhile: Option<Box<dyn FnMut()>>,
}

impl Rewrite for Simple {
    fn read(&mut self, number: u64, record: Record) -> Result<(), String> {
        if number != self.last + 1 {
            return Err(format!("{number} follows {}", self.last));
        }
        self.last += record.span();
        self.passed += passed(&record);
        if let Record::Carried { carried: Carried::Begins { last_ticket, .. }, .. } = record {
            self.passed = last_ticket;
        }
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile();
        }
        Ok(())
    }

    fn read_all(&mut self) {
        self.last = 0;
    }

    fn stays(&mut self, record: &Record) -> bool {
        let forgotten = matches!(record, Record::Shipped { .. }) && std::mem::take(&mut self.forgets);
        (self.keeps_all || !record.passes()) && !forgotten
    }

    fn carried(&self) -> impl Iterator<Item = Record> {
        let carried = Carried::Begins { last_ticket: self.passed, offered: None };
        std::iter::once(Record::Carried { sale: 0, carried })
    }

    fn verify(&mut self, number: u64, record: Record) -> Result<(), String> {
        self.read(number, record)
    }

    fn verified(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn goes_on(&self) -> bool {
        true
    }
}

/// How many records that pass it tells of, or replaces.
fn passed(record: &Record) -> u64 {
    u64::from(record.passes() && !record.is_rewritten())
}

/// What somebody knows who has read a journal.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Known {
    /// What stays, by number.
    stays: Vec<(u64, Record)>,
    passed: u64,
    next: u64,
}

impl Known {
    fn take(&mut self, record: Record) {
        let number = self.next + 1;
        self.next += record.span();
        match record {
            Record::Carried { carried: Carried::Begins { last_ticket, .. }, .. } => self.passed = last_ticket,
            record if record.passes() => self.passed += passed(&record),
            record => self.stays.push((number, record)),
        }
    }
}

type Plain = Journal<()>;

fn open(disk: &SimDisk) -> Result<(Plain, Known), OpenError> {
    let mut known = Known::default();
    let journal = Journal::open(Arc::new(disk.clone()), SMALL, &mut |record| {
        known.take(record);
        Ok(())
    })?;
    Ok((journal, known))
}

/// What a reader finds from where it stands.
fn read_on(tail: &mut Tail, limit: Option<Lsn>, known: &mut Known) -> Result<(), OpenError> {
    let mut frame = Vec::new();
    while tail.next_frame(limit, &mut frame)? {
        frame.drain(..).for_each(|record| known.take(record));
        assert_eq!(tail.position().lsn(), Lsn(known.next), "every number is told of");
    }
    Ok(())
}

/// What the world outside knows.
#[derive(Default)]
struct Life {
    used: u64,
    /// Everything that was appended, the openings included, as far as it may be there.
    all: Vec<Record>,
    acknowledged: usize,
}

impl Life {
    fn expected(&self, length: usize) -> Known {
        let mut known = Known::default();
        self.all[..length].iter().for_each(|record| known.take(record.clone()));
        known
    }

    /// Opens, compares, appends, rewrites, and reads along, until it ends or the disk fails.
    fn live(&mut self, disk: &SimDisk, rounds: u32) -> Result<(), String> {
        let (journal, known) = match open(disk) {
            Ok(opened) => opened,
            Err(error @ (OpenError::Corrupt { .. } | OpenError::NewerVersion { .. } | OpenError::InUse { .. })) => {
                return Err(format!("refused: {error}"));
            }
            Err(_) => return Ok(()),
        };
        let there = usize::try_from(known.next).unwrap();
        if there < self.acknowledged || there > self.all.len() {
            return Err(format!("{there} records, of {} acknowledged", self.acknowledged));
        }
        if known != self.expected(there) {
            return Err(format!("{known:?} is there, and not {:?}", self.expected(there)));
        }
        self.all.truncate(there);
        let (epoch, incarnation) = (journal.epoch(), journal.incarnation());
        self.all.push(Record::Opened { epoch, incarnation, at: SMALL.now });
        self.acknowledged = self.all.len();
        let read = || Tail::on(Arc::new(disk.clone()));
        let Ok(mut tail) = read() else { return Ok(()) };
        let (mut along, mut stood) = (Known::default(), Vec::new());
        for round in 0..rounds {
            let mut end = Lsn(0);
            for size in [1, u64::from(round % 3), 5] {
                let records: Vec<_> = (self.used..self.used + size).map(record).collect();
                self.used += size;
                end = journal.append(|batch| records.iter().for_each(|record| batch.push(record))).unwrap().1;
                self.all.extend(records);
            }
            if journal.commit(end).is_err() {
                return Ok(());
            }
            self.acknowledged = self.all.len();
            if round % 2 == 1 && read_on(&mut tail, Some(journal.durable()), &mut along).is_err() {
                return self.after_failure(&journal, disk);
            }
            stood.push((tail.position(), along.clone()));
            if round % 4 == 3 {
                match journal.rewrite(&mut Simple::default()) {
                    Ok(_) => {}
                    Err(CompactError::Differs { why }) => return Err(why),
                    Err(_) => return self.after_failure(&journal, disk),
                }
            }
        }
        // Whoever stands anywhere, also where a segment was that is gone, finds the same.
        for (position, mut known) in stood.into_iter().step_by(3) {
            let Ok(mut tail) = read() else { return Ok(()) };
            tail.rewind(position);
            let Ok(()) = read_on(&mut tail, Some(journal.durable()), &mut known) else {
                return self.after_failure(&journal, disk);
            };
            let expected = self.expected(self.acknowledged);
            // What was carried may come after what it tells of was read.
            if (known.next, &known.stays) != (expected.next, &expected.stays) {
                return Err(format!("from {position:?}: {known:?}, and not {expected:?}"));
            }
        }
        Ok(())
    }

    /// Reading or rewriting has failed: if the power didn't go, everything is there, and the journal goes on.
    fn after_failure(&mut self, journal: &Plain, disk: &SimDisk) -> Result<(), String> {
        let new = record(self.used);
        self.used += 1;
        self.all.push(new.clone());
        let ((), end) = journal.append(|batch| batch.push(&new)).unwrap();
        if journal.commit(end).is_err() {
            return if disk.list().is_err() {
                Ok(())
            } else {
                Err("a failed rewriting stopped the journal".to_owned())
            };
        }
        self.acknowledged = self.all.len();
        let mut known = Known::default();
        let read = Tail::on(Arc::new(disk.clone())).and_then(|mut tail| read_on(&mut tail, None, &mut known));
        read.map_err(|error| error.to_string())?;
        if known == self.expected(self.acknowledged) { Ok(()) } else { Err(format!("{known:?} is there")) }
    }
}

const ROUNDS: u32 = 8;

/// The calls of an undisturbed life: up to its first rewriting, and all.
fn calls_of_a_life() -> (u64, u64) {
    let (shorter, disk) = (SimDisk::new(1), SimDisk::new(1));
    Life::default().live(&shorter, 3).unwrap();
    Life::default().live(&disk, ROUNDS).unwrap();
    (shorter.calls(), disk.calls())
}

/// Runs a life with `fault` at call `call`, and what is left of it after a crash, twice.
fn life_with(call: u64, seed: u64, fault: Fault, flaw: Option<Flaw>) -> Result<(), String> {
    let mut disk = flaw.map_or_else(|| SimDisk::new(seed), |flaw| SimDisk::flawed(seed, flaw));
    let mut life = Life::default();
    disk.fault_at(call, fault);
    life.live(&disk, ROUNDS)?;
    for run in 0..2 {
        disk = disk.after_crash(seed * 31 + run);
        life.live(&disk, 4)?;
    }
    Ok(())
}

fn sweep(seeds: u64, fault: Fault, flaw: Option<Flaw>) -> Result<(), String> {
    let (first, last) = calls_of_a_life();
    for call in first..=last {
        for seed in 0..seeds {
            life_with(call, seed, fault, flaw).map_err(|why| format!("call {call}, seed {seed}: {why}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_crash_at_any_call_of_a_rewriting_loses_nothing() {
    sweep(2, Fault::Crash, None).unwrap();
}

#[test]
fn an_error_at_any_call_of_a_rewriting_loses_nothing_and_the_journal_goes_on() {
    sweep(1, Fault::Error(std::io::ErrorKind::StorageFull), None).unwrap();
}

#[test]
fn control_a_draft_that_is_renamed_before_it_is_synced_is_caught() {
    sweep(3, Fault::Crash, Some(Flaw::UnsyncedDraft)).unwrap_err();
}

#[test]
fn control_segments_that_are_removed_before_the_new_name_is_durable_are_caught() {
    sweep(3, Fault::Crash, Some(Flaw::UnsyncedRename)).unwrap_err();
}

/// A journal of several segments; what was appended.
fn written() -> (SimDisk, Plain, Life) {
    let disk = SimDisk::new(4);
    let (mut life, (journal, _)) = (Life::default(), open(&disk).unwrap());
    for id in 0..90 {
        let ((), end) = journal.append(|batch| batch.push(&record(id))).unwrap();
        journal.commit(end).unwrap();
        life.all.push(record(id));
    }
    (disk, journal, life)
}

/// The same, rewritten once.
fn rewritten() -> (SimDisk, Plain, Life) {
    let (disk, journal, life) = written();
    let before = journal.stats();
    let compacted = journal.rewrite(&mut Simple::default()).unwrap();
    let after = journal.stats();
    assert!(compacted.segments > 3 && compacted.dropped > 30, "{compacted:?}");
    assert_eq!(after.bytes, before.bytes - compacted.bytes_before + compacted.bytes_after);
    assert_eq!((after.segments, after.records), (2, before.records));
    assert!(after.passing_bytes < before.passing_bytes / 3, "{after:?}, and before {before:?}");
    (disk, journal, life)
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".journal")).collect()
}

#[test]
fn what_is_left_is_one_segment_and_the_one_that_is_written_to() {
    let (disk, journal, _) = rewritten();
    let names = segments(&disk);
    assert_eq!(names.len(), 2, "{names:?}");
    let stats = journal.stats();
    assert_eq!((stats.compactions, stats.failed_compactions), (1, 0));
    assert_eq!(journal.rewrite(&mut Simple::default()).unwrap(), Compacted::default(), "nothing is full");
    drop(journal);
    let (journal, known) = open(&disk).unwrap();
    assert_eq!((known.next, known.passed), (91, 60));
    assert!((stats.bytes + 1..stats.bytes + 100).contains(&journal.stats().bytes), "one more opening");
    assert_eq!(journal.stats().passing_bytes, stats.passing_bytes);
}

#[test]
fn what_is_left_out_is_told_by_how_many_and_until_when() {
    let (disk, journal, _) = rewritten();
    drop(journal);
    let (mut number, mut told) = (0, 0);
    let reread = Plain::open(Arc::new(disk), SMALL, &mut |record| {
        number += record.span();
        if let Record::Skipped { count, latest } = record {
            // Record 1 is the opening, and the next is that of instant 0.
            assert_eq!(latest, Timestamp::from_millis(number - 2), "{count} up to {number}");
            told += count;
        }
        Ok(())
    });
    reread.unwrap();
    assert!(told > 30, "{told}");
}

#[test]
fn what_passes_and_stays_is_counted_once_however_often_it_is_rewritten() {
    let disk = SimDisk::new(4);
    let (journal, _) = open(&disk).unwrap();
    for _ in 0..3 {
        for id in 0..40 {
            let ((), end) = journal.append(|batch| batch.push(&record(id))).unwrap();
            journal.commit(end).unwrap();
        }
        journal.rewrite(&mut Simple { keeps_all: true, ..Simple::default() }).unwrap();
        let stats = journal.stats();
        assert!(stats.passing_bytes < SMALL.segment_bytes && !stats.compaction_due, "{stats:?}");
    }
}

#[test]
fn rot_anywhere_in_a_rewritten_segment_is_refused_also_in_its_last_frame() {
    let (disk, journal, _) = rewritten();
    drop(journal);
    let name = &segments(&disk)[0];
    let length = disk.with_file(name, |bytes| bytes.len());
    for at in (0..length).filter(|at| !(8..12).contains(at)) {
        let rotten = disk.copy();
        rotten.with_file(name, |bytes| bytes[at] ^= 4);
        assert!(matches!(open(&rotten), Err(OpenError::Corrupt { .. })), "byte {at}");
        if at >= HEADER_BLOCK {
            let mut tail = Tail::on(Arc::new(rotten)).unwrap();
            assert!(read_on(&mut tail, None, &mut Known::default()).is_err(), "byte {at}");
        }
    }
    for cut in [HEADER_BLOCK, length - 1] {
        let torn = disk.copy();
        torn.with_file(name, |bytes| bytes.truncate(cut));
        assert!(matches!(open(&torn), Err(OpenError::Corrupt { .. })), "cut at {cut}");
    }
}

/// Of the files that it replaces a crash may have left any: what is wrong is not that others of them are gone.
#[test]
fn a_rotten_header_of_a_rewritten_segment_is_named_whatever_is_left_over_before_it() {
    let (old, disk) = (written().0, rewritten().0.copy());
    let name = &segments(&disk)[0];
    let replaced: Vec<_> = segments(&old).into_iter().filter(|old| old < name).collect();
    assert!(replaced.len() > 3, "{replaced:?}");
    for left in 0_u32..1 << replaced.len() {
        let rotten = disk.copy();
        for (_, name) in (0..).zip(&replaced).filter(|(at, _)| left & 1 << at != 0) {
            let bytes = old.with_file(name, |bytes| bytes.clone());
            rotten.open(name, Access::Create).unwrap().write_at(&bytes, 0).unwrap();
        }
        assert!(open(&rotten.copy()).is_ok(), "{left:b}");
        rotten.rot(name, 100 * 8);
        let before = rotten.names();
        let refused = open(&rotten);
        assert!(
            matches!(&refused, Err(OpenError::Corrupt { file, .. }) if file.ends_with(name)),
            "{left:b}: {refused:?}"
        );
        assert_eq!(rotten.names(), before);
    }
}

#[test]
fn a_rewritten_segment_whose_successor_is_gone_is_refused() {
    let (disk, journal, _) = rewritten();
    drop(journal);
    let names = segments(&disk);
    disk.lose(&names[1]);
    assert!(matches!(open(&disk), Err(OpenError::Corrupt { file, .. }) if file.ends_with(&names[1])));
}

/// No lock of the journal's is held while it is rewritten, but that of a second rewriting.
#[test]
fn appends_and_commits_go_on_while_it_is_rewritten_and_a_second_rewriting_is_refused() {
    let (_, journal, _) = rewritten();
    for id in 0..40 {
        let ((), end) = journal.append(|batch| batch.push(&record(id))).unwrap();
        journal.commit(end).unwrap();
    }
    let journal = Arc::new(journal);
    let (other, before) = (Arc::clone(&journal), journal.durable());
    let meanwhile = move || {
        let ((), end) = other.append(|batch| batch.push(&record(1))).unwrap();
        other.commit(end).unwrap();
        assert!(matches!(other.rewrite(&mut Simple::default()), Err(CompactError::UnderWay)));
    };
    let mut simple = Simple { meanwhile: Some(Box::new(meanwhile)), ..Simple::default() };
    assert!(journal.rewrite(&mut simple).unwrap().segments > 1);
    assert!(journal.durable() > before);
}

#[test]
fn a_full_disk_leaves_the_journal_as_it_was_and_it_is_not_tried_again_at_once() {
    let (disk, journal, _) = rewritten();
    let more = |count| {
        let ((), end) = journal.append(|batch| (0..count).for_each(|id| batch.push(&record(id)))).unwrap();
        journal.commit(end).unwrap();
    };
    while !journal.is_rewriting_due() {
        more(10);
    }
    let before = (segments(&disk), journal.stats());
    // The first calls read: the draft's first write is among those that follow.
    let reads = disk.calls();
    let mut read = Simple::default();
    super::read(journal.disk(), &super::prefix(&disk, journal.segment()).unwrap().unwrap(), &mut read).unwrap();
    disk.fault_at(disk.calls() + (disk.calls() - reads) + 4, Fault::Error(std::io::ErrorKind::StorageFull));
    let refused = journal.rewrite(&mut Simple::default()).unwrap_err();
    assert!(matches!(refused, CompactError::Io { .. }), "{refused:?}");
    assert_eq!(segments(&disk), before.0);
    assert!(!disk.names().iter().any(|name| name == super::DRAFT), "no draft is left");
    let after = journal.stats();
    assert_eq!((after.bytes, after.failed_compactions, after.compaction_due), (before.1.bytes, 1, false));
    more(10);
    assert!(!journal.is_rewriting_due(), "another segment is written before");
    while !journal.is_rewriting_due() {
        more(10);
    }
    assert!(journal.rewrite(&mut Simple::default()).unwrap().segments > 1, "it is tried again later");
}

#[test]
fn it_is_rewritten_when_a_third_of_it_can_go() {
    let (journal, _) = open(&SimDisk::new(4)).unwrap();
    let more = |ids: &mut dyn Iterator<Item = u64>| {
        let ((), end) = journal.append(|batch| ids.for_each(|id| batch.push(&record(id)))).unwrap();
        journal.commit(end).unwrap();
    };
    for _ in 0..100 {
        more(&mut (0..10).map(|id| 3 * id));
    }
    assert!(journal.stats().bytes > 6 * SMALL.segment_bytes && journal.stats().passing_bytes == 0);
    while !journal.is_rewriting_due() {
        let stats = journal.stats();
        assert!(stats.passing_bytes < stats.bytes / 3, "{stats:?}");
        more(&mut std::iter::once(1));
    }
    let stats = journal.stats();
    assert!(stats.passing_bytes >= stats.bytes / 3, "{stats:?}");
}

#[test]
fn control_a_rewriting_that_leaves_out_what_stays_is_found() {
    let disk = SimDisk::new(4);
    let mut life = Life::default();
    life.live(&disk, 3).unwrap();
    let (journal, _) = open(&disk).unwrap();
    let (epoch, incarnation) = (journal.epoch(), journal.incarnation());
    life.all.push(Record::Opened { epoch, incarnation, at: SMALL.now });
    for id in 0..40 {
        let ((), end) = journal.append(|batch| batch.push(&record(id))).unwrap();
        journal.commit(end).unwrap();
        life.all.push(record(id));
    }
    life.acknowledged = life.all.len();
    journal.rewrite(&mut Simple { forgets: true, ..Simple::default() }).unwrap();
    drop(journal);
    assert!(life.live(&disk, 0).unwrap_err().contains("is there, and not"));
}

#[test]
fn a_journal_knows_how_many_files_it_has() {
    let rewriting = Rewriting::new(3);
    assert_eq!((rewriting.segments(3), rewriting.segments(7)), (1, 5));
}

/// What a salvage tells: the numbers of records that are given, and the damages.
fn salvaged(disk: &SimDisk) -> (u64, Vec<Damage>) {
    let mut salvage = Salvage::on(Arc::new(disk.clone())).unwrap();
    let (mut given, mut damages) = (0, Vec::new());
    while let Some(piece) = salvage.next_piece().unwrap() {
        match piece {
            Piece::Frame { records, .. } => given += records.iter().map(Record::span).sum::<u64>(),
            Piece::Damage(damage) => damages.push(damage),
        }
    }
    (given, damages)
}

#[test]
fn a_salvage_counts_what_the_end_of_a_rewritten_segment_has_lost_and_misses_its_successor() {
    let (disk, journal, _) = rewritten();
    let all = journal.stats().records;
    drop(journal);
    let names = segments(&disk);
    assert_eq!(salvaged(&disk), (all, Vec::new()));
    // The last frame of the rewritten one.
    let cut = disk.copy();
    cut.with_file(&names[0], |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let (given, damages) = salvaged(&cut);
    assert_eq!((damages.len(), damages[0].records), (1, Some(all - given)));
    assert!(given < all && damages[0].places[0].file.ends_with(&names[0]), "{damages:?}");
    // Whoever was rewritten had a successor.
    disk.lose(&names[1]);
    let (_, damages) = salvaged(&disk);
    assert_eq!((damages.len(), damages[0].records), (1, None));
    assert!(damages[0].places[0].file.ends_with(&names[1]), "{damages:?}");
}

#[test]
fn a_journal_whose_last_file_is_empty_goes_on_behind_a_rewritten_segment() {
    let (disk, journal, _) = rewritten();
    drop(journal);
    let (rewritten, last) = (&segments(&disk)[0], &segments(&disk)[1]);
    disk.with_file(last, |bytes| bytes.fill(0));
    for _ in 0..3 {
        let (journal, _) = open(&disk).unwrap();
        let ((), end) = journal.append(|batch| batch.push(&record(3))).unwrap();
        journal.commit(end).unwrap();
    }
    assert_eq!(segments(&disk), [rewritten.clone(), last.clone()]);
}

/// Says of every segment in which epoch it was begun, and in which epochs its frames were written.
fn epochs(disk: &SimDisk) -> Vec<(u32, Vec<u32>)> {
    let of = |name: String| {
        let (mut reader, block) = SegmentReader::open(disk, segment_number(&name)?).unwrap();
        let Block::Header(header) = block else { panic!("{name}: {block:?}") };
        let (mut end, mut epochs) = (HEADER_BLOCK as u64, Vec::new());
        while let Some(found) = reader.find(end).unwrap() {
            epochs.push(found.header.epoch);
            end = found.end;
        }
        Some((header.epoch, epochs))
    };
    disk.names().into_iter().filter_map(of).collect()
}

#[test]
fn a_header_says_in_which_epoch_its_segment_was_begun() {
    let disk = SimDisk::new(4);
    for _ in 0..3 {
        let (journal, _) = open(&disk).unwrap();
        for id in 0..30 {
            let ((), end) = journal.append(|batch| batch.push(&record(id))).unwrap();
            journal.commit(end).unwrap();
        }
    }
    let check = |disk: &SimDisk| {
        let mut before = 1;
        for (begun, written) in epochs(disk) {
            assert!((before..=written[0]).contains(&begun), "{begun} after {before}, and then {written:?}");
            before = *written.last().unwrap();
        }
        before
    };
    // One more opening, in the segment that an earlier one has begun.
    drop(open(&disk).unwrap());
    assert_eq!((check(&disk), epochs(&disk).last().unwrap().0), (4, 3));
    // The making of the next one is cut short, and taken up in a later epoch.
    disk.open(&file_name(u32::try_from(segments(&disk).len()).unwrap() + 1), Access::Create).unwrap();
    let (journal, _) = open(&disk).unwrap();
    assert_eq!(check(&disk), 5);
    journal.rewrite(&mut Simple::default()).unwrap();
    assert_eq!((segments(&disk).len(), check(&disk)), (2, 5));
}

#[test]
fn a_journal_of_the_first_format_is_rewritten_into_the_present_one() {
    let (disk, journal, _) = written();
    drop(journal);
    for name in segments(&disk) {
        disk.with_file(&name, |bytes| {
            bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
            let crc = crc32fast::hash(&bytes[..HEADER_BLOCK - 4]);
            bytes[HEADER_BLOCK - 4..HEADER_BLOCK].copy_from_slice(&crc.to_le_bytes());
        });
    }
    let (journal, before) = open(&disk).unwrap();
    assert!(journal.rewrite(&mut Simple::default()).unwrap().segments > 3);
    drop(journal);
    let (_, after) = open(&disk).unwrap();
    assert_eq!(after.passed, before.passed);
    // The opening that has rewritten it is one record more.
    assert_eq!(after.stays[..before.stays.len()], before.stays);
}

#[test]
fn a_draft_that_lacks_its_end_or_has_another_is_refused() {
    let (_, journal, _) = rewritten();
    let header = super::prefix(journal.disk().as_ref(), journal.segment());
    assert!(header.unwrap().is_none(), "what was rewritten is not rewritten again before something follows it");
    let sizes = Sizes { segment_bytes: u64::MAX, fill_bytes: 1 };
    let made = |last: u64| {
        let disk = SimDisk::new(4);
        let identity = Identity { engine_id: 7, salt: 0x5eed };
        let header = SegmentHeader { identity, segment: 3, first: 1, epoch: 1, last, version: VERSION };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut draft = super::Draft::new(SegmentWriter::draft(&shared, super::DRAFT, header, sizes).unwrap());
        for id in 0..20 {
            // Two frames.
            draft.begin_epoch(&disk, 1 + u32::from(id > 10)).unwrap();
            draft.keep(&disk, &record(3 * id)).unwrap();
        }
        let end = draft.finish(&disk).unwrap();
        (disk, header, end)
    };
    let verify = |disk: &SimDisk, header, end| super::verify(disk, &header, end, &mut Simple::default());
    let (disk, header, end) = made(20);
    verify(&disk, header, end).unwrap();
    assert!(verify(&disk, header, end + 8).is_err(), "it is shorter");
    assert!(verify(&disk, SegmentHeader { epoch: 2, ..header }, end).is_err(), "it has another header");
    let (short, header, end) = made(21);
    assert!(verify(&short, header, end).is_err(), "it tells of fewer records than it should");
    let (rotten, header, end) = made(20);
    rotten.with_file(super::DRAFT, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(verify(&rotten, header, end).is_err(), "its last frame does not hold");
}

#[test]
fn one_file_is_not_rewritten_and_of_two_the_first_is() {
    let disk = SimDisk::new(4);
    let (journal, _) = open(&disk).unwrap();
    assert_eq!(journal.rewrite(&mut Simple::default()).unwrap(), Compacted::default());
    let mut id = 0;
    while journal.segment() == 1 {
        let ((), end) = journal.append(|batch| batch.push(&record(id))).unwrap();
        journal.commit(end).unwrap();
        id += 1;
    }
    assert_eq!(journal.rewrite(&mut Simple::default()).unwrap().segments, 1);
    assert_eq!(segments(&disk).len(), 2);
    while journal.segment() < 6 {
        let ((), end) = journal.append(|batch| batch.push(&record(id))).unwrap();
        journal.commit(end).unwrap();
        id += 1;
    }
    assert_eq!(journal.rewrite(&mut Simple::default()).unwrap().segments, 5, "one that was rewritten, and four more");
}

#[test]
fn frames_of_a_rewritten_segment_are_written_when_they_are_full_and_no_record_tells_of_none() {
    let disk = SimDisk::new(4);
    let options = JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::at(Timestamp::MIN) };
    let open = || {
        let mut replayed = Vec::new();
        let journal = Plain::open(Arc::new(disk.clone()), options, &mut |record| {
            replayed.push(record);
            Ok(())
        });
        (journal.unwrap(), replayed)
    };
    for _ in 0..2 {
        let (journal, _) = open();
        for _ in 0..30 {
            // The last one stays: what was carried follows it, and is left out when it is carried anew.
            let ((), end) = journal.append(|batch| (0..3_001).for_each(|id| batch.push(&record(id)))).unwrap();
            journal.commit(end).unwrap();
        }
        assert!(journal.rewrite(&mut Simple::default()).unwrap().segments > 1);
    }
    let (_, replayed) = open();
    assert!(!replayed.iter().any(|record| matches!(record, Record::Skipped { count: 0, .. })));
    let rewritten = segment_number(&segments(&disk)[0]).unwrap();
    let (mut reader, _) = SegmentReader::open(&disk, rewritten).unwrap();
    let (mut end, mut payloads) = (HEADER_BLOCK as u64, Vec::new());
    while let Some(found) = reader.find(end).unwrap() {
        payloads.push(found.header.payload as u64);
        end = found.end;
    }
    // A record has less than 64 bytes; a frame ends early only where an epoch does, and at the end.
    let full = payloads.iter().filter(|payload| **payload > super::TOGETHER - 64).count();
    assert!(payloads.len() > 3 && full + 3 >= payloads.len(), "{payloads:?}");
    assert!(payloads.iter().all(|payload| *payload <= super::TOGETHER + 1_024), "{payloads:?}");
}
