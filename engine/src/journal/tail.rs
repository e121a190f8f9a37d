//! The tail: reads the journal while it is being written, for delivery and audit.
//!
//! Holds true: it opens files for reading only and takes no lock; it gives records in order, frame by frame, with
//! memory for one frame; it never passes the limit that the writer calls durable. What the limit promises and the
//! files don't hold is damage, and so is a valid frame behind the end of the valid prefix, a file that is missing and
//! a header that does not hold: what opening refuses is never taken for the end. If the journal is rewritten
//! meanwhile it goes on in the file that it has open, and then in the one that has the record that it wants next.
//!
//! Without a limit it reads to the end of the valid prefix, which may be ahead of what is acknowledged: right for
//! an audit of a journal at rest, wrong for delivery.

use std::{io, path::Path, sync::Arc};

use super::{
    Lsn,
    chain::{Chain, covering, header_block, missing},
    disk::{Disk, FsDisk},
    error::OpenError,
    frame::records,
    record::Record,
    segment::{Block, Found, HEADER_BLOCK, Identity, SegmentHeader, SegmentReader, VERSION, file_name},
    torn::ROTTEN,
};

/// Where a [`Tail`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    segment: u32,
    /// The last record of that segment if it was rewritten, otherwise 0: tells it from what it replaced.
    last: u64,
    offset: u64,
    /// The number of the first record at `offset`. It is below `next` in the frame in which `next` lies.
    at: u64,
    next: u64,
}

impl Position {
    /// The beginning of any journal.
    pub(crate) const START: Self = Self { segment: 1, last: 0, offset: HEADER_BLOCK as u64, at: 1, next: 1 };

    /// The last record before it.
    pub(crate) const fn lsn(self) -> Lsn {
        Lsn(self.next - 1)
    }
}

/// How often a segment is looked for whose file was replaced or taken away meanwhile.
const LOOKS: usize = 1_000;

/// A reader that can come back later for more.
#[derive(Debug)]
pub(crate) struct Tail {
    disk: Arc<dyn Disk>,
    position: Position,
    reader: Option<SegmentReader>,
    identity: Option<Identity>,
    bytes: u64,
}

impl Tail {
    /// The beginning of the journal in `dir`.
    ///
    /// # Errors
    /// [`OpenError`] if there is no such folder, or its first segment is not to be read here.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::on(Arc::new(FsDisk::at(dir)))
    }

    /// The beginning of the journal on `disk`.
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        disk.list().map_err(|error| OpenError::io_at(disk.path(), "list", error))?;
        let mut tail = Self { disk, position: Position::START, reader: None, identity: None, bytes: 0 };
        tail.reader()?;
        Ok(tail)
    }

    /// Where it stands: behind the last frame that it gave.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whose journal it is; none before its first segment is there.
    pub(crate) fn engine_id(&self) -> Option<u64> {
        self.identity.map(|identity| identity.engine_id)
    }

    /// Whether the frame that was read last is of a segment that was rewritten.
    pub(crate) fn is_in_rewritten(&self) -> bool {
        self.position.last > 0
    }

    /// Bytes of the frames that it has read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Goes to a position that this journal's tail had before. The journal may have been rewritten since.
    pub(crate) fn rewind(&mut self, position: Position) {
        self.position = position;
        self.reader = None;
    }

    /// Puts the records of the next frame into `out`, emptied first; false if there is none up to `limit`.
    ///
    /// The first of them is the one behind the position; each stands for as many numbers as its span says.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] if what must be there isn't; the position stays.
    pub(crate) fn next_frame(&mut self, limit: Option<Lsn>, out: &mut Vec<Record>) -> Result<bool, OpenError> {
        out.clear();
        loop {
            if limit.is_some_and(|limit| limit < Lsn(self.position.next)) {
                return Ok(false);
            }
            if self.reader()?.is_none() {
                if self.is_end(limit, "the file is missing or was never finished")? {
                    return Ok(false);
                }
                continue;
            }
            if let Some(found) = self.find()? {
                match self.take(&found, limit, out)? {
                    Taken::All => return Ok(true),
                    Taken::Nothing => return Ok(false),
                    Taken::Passed => continue,
                }
            }
            let following = self.open_segment(self.position.segment + 1)?;
            let follows = |header: &SegmentHeader| [self.position.at, self.position.next] == [header.first; 2];
            match following {
                Some((reader, header)) if follows(&header) => {
                    // The next segment was made after the last frame of this one: look again, now that it is seen.
                    if self.find()?.is_none() {
                        let offset = HEADER_BLOCK as u64;
                        let Position { at, next, .. } = self.position;
                        self.position = Position { segment: header.segment, last: header.last, offset, at, next };
                        self.reader = Some(reader);
                    }
                    continue;
                }
                following => {
                    // What should follow may be in a segment that was rewritten meanwhile.
                    if self.has_moved()? {
                        self.locate()?;
                        continue;
                    }
                    if self.find()?.is_some() {
                        continue;
                    }
                    if let Some((_, header)) = following {
                        let (next, first) = (self.position.next, header.first);
                        return Err(
                            self.corrupt(format!("record {next} should follow; the next file starts with {first}"))
                        );
                    }
                }
            }
            if self.position.next <= self.position.last {
                return Err(self.corrupt(format!("record {} should follow", self.position.next)));
            }
            if limit.is_none() {
                let name = file_name(self.position.segment);
                let reader = self.reader.as_mut().expect("opened above");
                let rest = reader.rest(self.position.offset);
                let rest = rest.map_err(|error| OpenError::io(self.disk.as_ref(), "read", &name, error))?;
                if let Some(later) = rest.later_frame {
                    // A writer may have been between the two: what is missing for good is missing now, too.
                    if self.find()?.is_some() {
                        continue;
                    }
                    return Err(self.corrupt(format!("no valid frame is here, but one follows at byte {later}")));
                }
                if self.is_rotten(rest.junk_end)? {
                    // As above: half of a frame may have been read before it was written, and half after.
                    if self.find()?.is_some() {
                        continue;
                    }
                    if self.is_rotten(rest.junk_end)? {
                        return Err(self.corrupt(ROTTEN.to_owned()));
                    }
                }
            }
            if self.is_end(limit, "a durable frame is missing")? {
                return Ok(false);
            }
        }
    }

    /// There is no frame: the end, unless the limit says that there is one, or files that do. False if there is one by
    /// now.
    fn is_end(&mut self, limit: Option<Lsn>, why: &str) -> Result<bool, OpenError> {
        if limit.is_some() {
            return Err(self.corrupt(why.to_owned()));
        }
        let Some(damage) = self.damage_behind()? else { return Ok(true) };
        // A writer may have been between two looks: what is damaged for good is damaged now, too.
        if self.has_moved()? {
            self.locate()?;
            return Ok(false);
        }
        if self.reader.is_some() && self.open_segment(self.position.segment + 1)?.is_some() {
            return Ok(false);
        }
        Err(damage)
    }

    /// What is wrong with the files behind the one that was read to its end: there should be none, but one whose making
    /// was cut short.
    fn damage_behind(&self) -> Result<Option<OpenError>, OpenError> {
        let disk = self.disk.as_ref();
        let chain = match Chain::of(disk) {
            Err(damage @ OpenError::Corrupt { .. }) => return Ok(Some(damage)),
            chain => chain?,
        };
        let next = self.position.segment + u32::from(self.reader.is_some());
        for segment in next.max(chain.first)..=chain.last {
            let name = file_name(segment);
            let failed = |error| OpenError::io(disk, "read", &name, error);
            let (mut reader, block) = match SegmentReader::open(disk, segment) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(missing(disk, segment))),
                opened => opened.map_err(failed)?,
            };
            let unread = matches!(block, Block::Header(_) | Block::Newer { .. });
            if unread || segment < chain.last || reader.rest(HEADER_BLOCK as u64).map_err(failed)?.junk_end.is_some() {
                let why = if unread { "its records don't follow" } else { "its header does not hold" };
                return Ok(Some(OpenError::corrupt(disk, &name, 0, why)));
            }
        }
        Ok(None)
    }

    fn corrupt(&self, why: String) -> OpenError {
        OpenError::corrupt(self.disk.as_ref(), &file_name(self.position.segment), self.position.offset, why)
    }

    /// The frame at the position; bytes that were read before it was written are read again.
    fn find(&mut self) -> Result<Option<Found>, OpenError> {
        let reader = self.reader.as_mut().expect("a segment is open");
        let mut look = || {
            if let Some(found) = reader.find(self.position.offset)? {
                return Ok(Some(found));
            }
            reader.forget();
            reader.find(self.position.offset)
        };
        let name = file_name(self.position.segment);
        look().map_err(|error| OpenError::io(self.disk.as_ref(), "read", &name, error))
    }

    /// Whether what lies between the position and `junk_end` is no torn write.
    fn is_rotten(&mut self, junk_end: Option<u64>) -> Result<bool, OpenError> {
        let Some(junk_end) = junk_end else { return Ok(false) };
        let reader = self.reader.as_mut().expect("a segment is open");
        let torn = reader.is_torn(self.position.offset, junk_end);
        let name = file_name(self.position.segment);
        Ok(!torn.map_err(|error| OpenError::io(self.disk.as_ref(), "read", &name, error))?)
    }

    /// Gives the records of the frame that was just found, as far as they lie behind the position, if it is within the
    /// limit. What was rewritten was durable before: no limit is below it for long.
    fn take(&mut self, found: &Found, limit: Option<Lsn>, out: &mut Vec<Record>) -> Result<Taken, OpenError> {
        let (header, Position { at, next, last, .. }) = (found.header, self.position);
        if header.first != at {
            return Err(self.corrupt(format!("record {} where {at} belongs", header.first)));
        }
        if last == 0 && limit.is_some_and(|limit| limit < Lsn(header.last())) {
            return Ok(Taken::Nothing);
        }
        let reader = self.reader.as_ref().expect("a segment is open");
        let (mut number, mut count) = (at, 0);
        for record in records(reader.payload(found)) {
            let damage = match record {
                Ok(record) if record.is_rewritten() && last == 0 => {
                    format!("record {number} is none of a segment that was never rewritten")
                }
                Err(error) => format!("record {number} can't be read: {error}"),
                Ok(record) => {
                    let end = number.saturating_add(record.span());
                    out.extend(behind(record, number, end, next));
                    (number, count) = (end, count + 1);
                    continue;
                }
            };
            out.clear();
            return Err(self.corrupt(damage));
        }
        if count != u64::from(header.records) {
            out.clear();
            return Err(self.corrupt(format!("{count} records where {} were written", header.records)));
        }
        self.bytes += found.end - found.offset;
        self.position = Position { offset: found.end, at: number, next: next.max(number), ..self.position };
        Ok(if out.is_empty() { Taken::Passed } else { Taken::All })
    }

    /// The reader of the position's segment; none if the segment isn't there yet.
    fn reader(&mut self) -> Result<Option<&mut SegmentReader>, OpenError> {
        if self.reader.is_none() {
            match self.open_segment(self.position.segment)? {
                Some((reader, header)) if header.last == self.position.last => {
                    self.identity = Some(header.identity);
                    self.reader = Some(reader);
                }
                _ => self.locate()?,
            }
        }
        Ok(self.reader.as_mut())
    }

    /// Whether the record behind the position is in another file than the one that is open.
    fn has_moved(&self) -> Result<bool, OpenError> {
        let disk = self.disk.as_ref();
        let Some(segment) = covering(disk, self.position.next)? else { return Ok(false) };
        Ok(match header_block(disk, segment)? {
            Some(Block::Header(header)) => (segment, header.last) != (self.position.segment, self.position.last),
            _ => true,
        })
    }

    /// Opens the segment that has the record behind the position now, at the frame with that record.
    fn locate(&mut self) -> Result<(), OpenError> {
        self.reader = None;
        for _ in 0..LOOKS {
            let next = self.position.next;
            let Some(segment) = covering(self.disk.as_ref(), next)? else { return Ok(()) };
            let Some((reader, header)) = self.open_segment(segment)? else { continue };
            if header.first > next {
                continue;
            }
            let name = file_name(segment);
            let hopped = reader.hop(&header, next);
            let (offset, at) = hopped.map_err(|error| OpenError::io(self.disk.as_ref(), "read", &name, error))?;
            self.identity = Some(header.identity);
            self.position = Position { segment, last: header.last, offset, at, next };
            self.reader = Some(reader);
            return Ok(());
        }
        Ok(())
    }

    /// Opens a segment whose making was finished.
    fn open_segment(&self, segment: u32) -> Result<Option<(SegmentReader, SegmentHeader)>, OpenError> {
        let disk = self.disk.as_ref();
        let name = file_name(segment);
        let (reader, block) = match SegmentReader::open(disk, segment) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io(disk, "read", &name, error)),
        };
        match block {
            Block::Header(header)
                if header.segment != segment || self.identity.is_some_and(|id| id != header.identity) =>
            {
                Err(OpenError::corrupt(disk, &name, 0, "it belongs to another place or another journal"))
            }
            Block::Header(header) => Ok(Some((reader, header))),
            Block::Newer { version } => {
                Err(OpenError::NewerVersion { file: disk.path().join(name), version, supported: VERSION })
            }
            Block::Unreadable => Ok(None),
        }
    }
}

/// What became of a frame that was found.
enum Taken {
    /// Its records were given, as far as they were wanted.
    All,
    /// It is beyond the limit.
    Nothing,
    /// All of its records are before the position.
    Passed,
}

/// What of `record`, which stands for the numbers from `number` up to before `end`, is not before `next`.
pub(super) fn behind(record: Record, number: u64, end: u64, next: u64) -> Option<Record> {
    match record {
        record if number >= next => Some(record),
        _ if end <= next => None,
        Record::Skipped { latest, .. } => Some(Record::Skipped { count: end - next, latest }),
        record => Some(record),
    }
}
