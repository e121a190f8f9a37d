//! Rewriting: the first segments become one that leaves out what has passed.
//!
//! ```text
//! 1  read     all sealed segments, in order                     what stays, and what the rest leaves behind
//! 2  write    a draft: what stays, how much was skipped, and what is carried; each frame synced
//! 3  verify   read the draft, from the disk's side: it must tell the same
//! 4  rename   the draft takes the name of the last of those segments; the folder is synced
//! 5  remove   the others
//! ```
//!
//! Holds true:
//! - Whatever is cut short where, the folder has the old segments, or the new one: before 4 the draft has a name that
//!   no segment has, and from 4 on the others no longer count (see `chain`). Each tells everything.
//! - A record that stays has its number, and its bytes.
//! - Only whole, durable and settled segments are rewritten, by whoever has the folder's lock, one rewriting at a time.
//!   Neither appends nor commits wait for it: it takes none of their locks.
//! - A failure leaves the journal as it is. What is refused at 5 is left over, and harms nobody.
//!
//! What a record means is not for the journal to know: whoever rewrites it says what stays, and vouches for the rest.

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    Lsn,
    chain::{Chain, DRAFT, header_block},
    commit::{Journal, Settle},
    disk::Disk,
    error::{CompactError, OpenError},
    frame::{FrameBuffer, MAX_PAYLOAD, records},
    record::Record,
    segment::{Block, HEADER_BLOCK, SegmentHeader, SegmentReader, SegmentWriter, Sizes, VERSION, file_name},
    tail::Tail,
};
use crate::core::Timestamp;

/// A frame is written once it has so many bytes: small enough that no sync of the sale's waits long behind it.
const TOGETHER: u64 = 256 << 10;

/// What knows what records mean.
pub(crate) trait Rewrite {
    /// The first pass: every record that is there, with its number, in order.
    fn read(&mut self, number: u64, record: Record) -> Result<(), String>;

    /// The first pass is over.
    fn read_all(&mut self);

    /// The second pass, over the same records: whether this one stays.
    fn stays(&mut self, record: &Record) -> bool;

    /// What the records that don't stay have left behind.
    fn carried(&self) -> impl Iterator<Item = Record>;

    /// The third pass: every record of the draft, with its number, in order.
    fn verify(&mut self, number: u64, record: Record) -> Result<(), String>;

    /// Says whether the draft has told the same.
    fn verified(&mut self) -> Result<(), String>;

    /// Whether to go on. Asked before each frame.
    fn goes_on(&self) -> bool;
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Compacted {
    /// How many segments became one; 0 if there was nothing to compact: a compaction needs a segment that is full.
    pub segments: u32,
    /// Records that were there, and are not there any more.
    pub dropped: u64,
    /// Bytes of frames in those segments.
    pub bytes_before: u64,
    /// Bytes of frames in the one.
    pub bytes_after: u64,
}

/// What a journal knows of its rewritings.
#[derive(Debug)]
pub(super) struct Rewriting {
    turn: Mutex<()>,
    /// The first segment.
    first: AtomicU32,
    done: AtomicU64,
    failed: AtomicU64,
    not_before: AtomicU64,
}

impl Rewriting {
    /// Of a journal whose first segment is `first`.
    pub(super) fn new(first: u32) -> Self {
        let zero = || AtomicU64::new(0);
        let turn = Mutex::new(());
        Self { turn, first: AtomicU32::new(first), done: zero(), failed: zero(), not_before: zero() }
    }

    /// How many files there are when `last` is written to.
    pub(super) fn segments(&self, last: u32) -> u32 {
        // Relaxed: a report.
        (last + 1).saturating_sub(self.first.load(Ordering::Relaxed))
    }

    /// Rewritings that were done, and that failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        // Relaxed: a report.
        (self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// One has ended; if it has done nothing, the next is not before `later`.
    fn note(&self, rewritten: &Result<Compacted, CompactError>, later: u64) {
        let (not_before, count) = match rewritten {
            Err(CompactError::CalledOff) => return,
            Ok(Compacted { segments: 0, .. }) => (later, None),
            Ok(_) => (0, Some(&self.done)),
            Err(_) => (later, Some(&self.failed)),
        };
        // Relaxed: what is seen late is seen at the next look.
        self.not_before.store(not_before, Ordering::Relaxed);
        if let Some(count) = count {
            // Relaxed: a report.
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next one is not worth its work while fewer bytes may be dropped: the last one failed.
    pub(super) fn not_before(&self) -> u64 {
        // Relaxed: what is seen late is seen at the next look.
        self.not_before.load(Ordering::Relaxed)
    }
}

/// The segments that are rewritten.
struct Prefix {
    chain: Chain,
    /// The last of them.
    through: u32,
    /// The last record in them.
    last: u64,
    header: SegmentHeader,
}

/// What a pass over the old segments has counted.
#[derive(Default)]
struct Counted {
    bytes: u64,
    passing: u64,
}

impl<S: Settle> Journal<S> {
    /// Rewrites all segments but the one that is written to, as `rewrite` says.
    ///
    /// # Errors
    /// [`CompactError`]: the journal tells what it told.
    pub(crate) fn rewrite(&self, rewrite: &mut impl Rewrite) -> Result<Compacted, CompactError> {
        let Some(_turn) = self.rewriting.turn.try_lock() else { return Err(CompactError::UnderWay) };
        self.check()?;
        let rewritten = self.rewrite_prefix(rewrite);
        // Another segment is written before it is tried again: what is wrong may take its time.
        let later = self.passing().saturating_add(self.segment_bytes());
        self.rewriting.note(&rewritten, later);
        rewritten
    }

    fn rewrite_prefix(&self, rewrite: &mut impl Rewrite) -> Result<Compacted, CompactError> {
        let disk = self.disk();
        let Some(prefix) = prefix(disk.as_ref(), self.segment()).map_err(CompactError::Read)? else {
            return Ok(Compacted::default());
        };
        prefix.chain.tidy(disk.as_ref());
        let counted = read(disk, &prefix, rewrite)?;
        let written = write(disk, &prefix, rewrite);
        if written.is_err() {
            // If that fails, too, it is left over.
            let _harmless = disk.remove(DRAFT);
        }
        let (bytes_after, dropped) = written?;
        let refused = |what, name: &str| io_at(disk.as_ref(), what, name);
        let name = file_name(prefix.through);
        disk.rename(DRAFT, &name).map_err(refused("rename the draft of", &name))?;
        // From here on it is what is read and counted, even if the folder can't be synced now.
        self.note_rewritten(counted.bytes.saturating_sub(bytes_after), counted.passing);
        // Relaxed: a report.
        self.rewriting.first.store(prefix.through, Ordering::Relaxed);
        disk.sync_directory().map_err(refused("sync the folder of", &name))?;
        let old = prefix.chain.first..prefix.through;
        let segments = prefix.through - prefix.chain.first + 1;
        for name in old.map(file_name) {
            disk.remove(&name).map_err(refused("remove", &name))?;
        }
        Ok(Compacted { segments, dropped, bytes_before: counted.bytes, bytes_after })
    }
}

/// The segments before `writing`, if there is one among them that was not rewritten before.
fn prefix(disk: &dyn Disk, writing: u32) -> Result<Option<Prefix>, OpenError> {
    let chain = Chain::of(disk)?;
    let through = writing - 1;
    if through < chain.first {
        return Ok(None);
    }
    let header_of = |segment| match header_block(disk, segment)? {
        Some(Block::Header(header)) => Ok(header),
        _ => Err(OpenError::corrupt(disk, &file_name(segment), 0, "its header does not hold")),
    };
    let header = header_of(through)?;
    if header.is_rewritten() {
        return Ok(None);
    }
    let last = header_of(writing)?.first - 1;
    Ok(Some(Prefix { chain, through, last, header }))
}

/// Where a record comes from.
#[derive(Clone, Copy)]
struct Origin {
    epoch: u32,
    /// It stands in a segment that was rewritten before.
    rewritten: bool,
}

/// Hands every record of the prefix to `take`, with its number; says how many bytes their frames have.
fn each(
    disk: &Arc<dyn Disk>,
    prefix: &Prefix,
    mut take: impl FnMut(u64, Origin, Record) -> Result<(), CompactError>,
) -> Result<u64, CompactError> {
    let (limit, mut frame, mut epoch) = (Some(Lsn(prefix.last)), Vec::new(), 0);
    let mut tail = Tail::on(Arc::clone(disk)).map_err(CompactError::Read)?;
    loop {
        let mut number = tail.position().lsn().0 + 1;
        if !tail.next_frame(limit, &mut frame).map_err(CompactError::Read)? {
            return Ok(tail.bytes());
        }
        for record in frame.drain(..) {
            if let Record::Opened { epoch: begun, .. } = record {
                epoch = begun;
            }
            let span = record.span();
            take(number, Origin { epoch, rewritten: tail.is_in_rewritten() }, record)?;
            number += span;
        }
    }
}

/// The first pass.
fn read(disk: &Arc<dyn Disk>, prefix: &Prefix, rewrite: &mut impl Rewrite) -> Result<Counted, CompactError> {
    let (mut passing, mut scratch) = (0, Vec::new());
    let bytes = each(disk, prefix, |number, origin, record| {
        if !rewrite.goes_on() {
            return Err(CompactError::CalledOff);
        }
        // What passes and stays was counted when it was written, and not again once it is kept.
        if record.passes() && !origin.rewritten {
            scratch.clear();
            record.encode(&mut scratch);
            passing += 4 + scratch.len() as u64;
        }
        rewrite.read(number, record).map_err(|why| CompactError::Differs { why })
    })?;
    rewrite.read_all();
    Ok(Counted { bytes, passing })
}

/// The second pass and the third; says how many bytes of frames the draft has, and how many records it left out.
fn write(disk: &Arc<dyn Disk>, prefix: &Prefix, rewrite: &mut impl Rewrite) -> Result<(u64, u64), CompactError> {
    let header = SegmentHeader { first: 1, epoch: 1, last: prefix.last, version: VERSION, ..prefix.header };
    let failed = io_at(disk.as_ref(), "write", DRAFT);
    let sizes = Sizes { segment_bytes: u64::MAX, fill_bytes: 1 };
    let writer = SegmentWriter::draft(disk, DRAFT, header, sizes).map_err(failed)?;
    let mut draft = Draft::new(writer);
    let mut dropped = 0;
    each(disk, prefix, |_, origin, record| {
        draft.begin_epoch(disk.as_ref(), origin.epoch)?;
        if rewrite.stays(&record) {
            return draft.keep(disk.as_ref(), &record);
        }
        if !rewrite.goes_on() {
            return Err(CompactError::CalledOff);
        }
        dropped += u64::from(!record.is_rewritten());
        draft.skip(&record);
        Ok(())
    })?;
    for record in rewrite.carried() {
        draft.keep(disk.as_ref(), &record)?;
    }
    let end = draft.finish(disk.as_ref())?;
    let differs = |why| CompactError::Differs { why };
    verify(disk.as_ref(), &header, end, rewrite)?;
    rewrite.verified().map_err(differs)?;
    Ok((end - HEADER_BLOCK as u64, dropped))
}

/// The third pass.
fn verify(disk: &dyn Disk, header: &SegmentHeader, end: u64, rewrite: &mut impl Rewrite) -> Result<(), CompactError> {
    let failed = || io_at(disk, "read", DRAFT);
    let differs = |why: &str| CompactError::Differs { why: why.to_owned() };
    let (mut reader, block) = SegmentReader::open_named(disk, DRAFT, header.segment).map_err(failed())?;
    if !matches!(block, Block::Header(found) if found == *header) {
        return Err(differs("the draft has another header than was written"));
    }
    let (mut at, mut number) = (HEADER_BLOCK as u64, 1_u64);
    while let Some(found) = reader.find(at).map_err(failed())? {
        if found.header.first != number {
            return Err(differs("a frame of the draft has another number than was written"));
        }
        for record in records(reader.payload(&found)) {
            let record = record.map_err(|error| CompactError::Differs { why: error.to_string() })?;
            let span = record.span();
            rewrite.verify(number, record).map_err(|why| CompactError::Differs { why })?;
            number = number.saturating_add(span);
        }
        at = found.end;
    }
    if at != end || number != header.last + 1 {
        return Err(differs("the draft ends elsewhere than was written"));
    }
    Ok(())
}

/// The draft in the making.
struct Draft {
    writer: SegmentWriter,
    frames: FrameBuffer,
    /// What the open frame has: bytes, and numbers.
    bytes: u64,
    span: u64,
    epoch: u32,
    /// Records that were left out since the last one that stays.
    skipped: Option<(u64, Timestamp)>,
    scratch: Vec<u8>,
}

impl Draft {
    fn new(writer: SegmentWriter) -> Self {
        let frames = FrameBuffer::parting(MAX_PAYLOAD, MAX_PAYLOAD);
        Self { writer, frames, bytes: 0, span: 0, epoch: 1, skipped: None, scratch: Vec::new() }
    }

    /// Leaves a record out.
    fn skip(&mut self, record: &Record) {
        if record.span() > 0 {
            let (count, latest) = self.skipped.get_or_insert((0, Timestamp::MIN));
            *count += record.span();
            *latest = (*latest).max(record.at().unwrap_or_default());
        }
    }

    /// A frame is of one epoch.
    fn begin_epoch(&mut self, disk: &dyn Disk, epoch: u32) -> Result<(), CompactError> {
        if epoch != self.epoch {
            self.tell_skipped(disk)?;
            self.write(disk)?;
            self.epoch = epoch;
        }
        Ok(())
    }

    fn tell_skipped(&mut self, disk: &dyn Disk) -> Result<(), CompactError> {
        match self.skipped.take() {
            Some((count, latest)) => self.push(disk, &Record::Skipped { count, latest }),
            None => Ok(()),
        }
    }

    /// Writes a record down, behind how many were left out before it.
    fn keep(&mut self, disk: &dyn Disk, record: &Record) -> Result<(), CompactError> {
        self.tell_skipped(disk)?;
        self.push(disk, record)
    }

    fn push(&mut self, disk: &dyn Disk, record: &Record) -> Result<(), CompactError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        record.encode(&mut scratch);
        if self.bytes + scratch.len() as u64 > TOGETHER {
            self.write(disk)?;
        }
        self.frames.begin();
        self.bytes += self.frames.push(|out| out.extend_from_slice(&scratch));
        self.span += record.span();
        self.scratch = scratch;
        Ok(())
    }

    /// Writes the open frame.
    fn write(&mut self, disk: &dyn Disk) -> Result<(), CompactError> {
        let Self { writer, frames, epoch, span, .. } = self;
        // One frame: whatever would not fit was written before.
        let written = frames.write(|frame, part| writer.append_spanning(frame, part, *epoch, *span));
        frames.clear(MAX_PAYLOAD);
        (self.bytes, self.span) = (0, 0);
        written.map_err(io_at(disk, "write", DRAFT))
    }

    /// Writes what is left; says where the draft ends.
    fn finish(mut self, disk: &dyn Disk) -> Result<u64, CompactError> {
        self.tell_skipped(disk)?;
        self.write(disk)?;
        Ok(self.writer.end())
    }
}

/// The system's answer to `what`, done to the file `name`.
fn io_at(disk: &dyn Disk, what: &'static str, name: &str) -> impl FnOnce(io::Error) -> CompactError + use<> {
    let path = disk.path().join(name);
    move |source| CompactError::Io { what, path, source }
}
