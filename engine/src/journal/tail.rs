//! The tail: reads the journal while it is being written, for delivery and audit.
//!
//! Holds true: it opens files for reading only and takes no lock; it gives records in order, frame by frame, with
//! memory for one frame; it never passes the limit that the writer calls durable. What the limit promises and the
//! files don't hold is damage, and so is a valid frame behind the end of the valid prefix.
//!
//! Without a limit it reads to the end of the valid prefix, which may be ahead of what is acknowledged: right for
//! an audit of a journal at rest, wrong for delivery.

use std::{io, path::Path, sync::Arc};

use super::{
    Lsn,
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
    offset: u64,
    next: u64,
}

impl Position {
    /// The beginning of any journal.
    pub(crate) const START: Self = Self { segment: 1, offset: HEADER_BLOCK as u64, next: 1 };

    /// The last record before it.
    pub(crate) const fn lsn(self) -> Lsn {
        Lsn(self.next - 1)
    }
}

/// A reader that can come back later for more.
#[derive(Debug)]
pub(crate) struct Tail {
    disk: Arc<dyn Disk>,
    position: Position,
    reader: Option<SegmentReader>,
    identity: Option<Identity>,
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
        let mut tail = Self { disk, position: Position::START, reader: None, identity: None };
        tail.reader()?;
        Ok(tail)
    }

    /// Where it stands: behind the last frame that it gave.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Goes to a position that this journal's tail had before.
    pub(crate) fn rewind(&mut self, position: Position) {
        self.position = position;
        self.reader = None;
    }

    /// Puts the records of the next frame into `out`, emptied first; false if there is none up to `limit`.
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
                return self.none(limit, "the file is missing or was never finished");
            }
            if let Some(found) = self.find()? {
                return self.take(&found, limit, out);
            }
            if let Some((reader, header)) = self.open_segment(self.position.segment + 1)? {
                // The next segment was made after the last frame of this one: look again, now that it is seen.
                if let Some(found) = self.find()? {
                    return self.take(&found, limit, out);
                }
                if header.first != self.position.next {
                    let why = format!(
                        "record {} should follow; the next file starts with {}",
                        self.position.next, header.first
                    );
                    return Err(self.corrupt(why));
                }
                self.position = Position { segment: header.segment, offset: HEADER_BLOCK as u64, ..self.position };
                self.reader = Some(reader);
                continue;
            }
            if limit.is_none() {
                let name = file_name(self.position.segment);
                let reader = self.reader.as_mut().expect("opened above");
                let rest = reader.rest(self.position.offset);
                let rest = rest.map_err(|error| OpenError::io(self.disk.as_ref(), "read", &name, error))?;
                if let Some(later) = rest.later_frame {
                    // A writer may have been between the two: what is missing for good is missing now, too.
                    if let Some(found) = self.find()? {
                        return self.take(&found, limit, out);
                    }
                    return Err(self.corrupt(format!("no valid frame is here, but one follows at byte {later}")));
                }
                if self.is_rotten(rest.junk_end)? {
                    // As above: half of a frame may have been read before it was written, and half after.
                    if let Some(found) = self.find()? {
                        return self.take(&found, limit, out);
                    }
                    if self.is_rotten(rest.junk_end)? {
                        return Err(self.corrupt(ROTTEN.to_owned()));
                    }
                }
            }
            return self.none(limit, "a durable frame is missing");
        }
    }

    /// There is no frame: the end, unless the limit says that there is one.
    fn none(&self, limit: Option<Lsn>, why: &str) -> Result<bool, OpenError> {
        if limit.is_some() { Err(self.corrupt(why.to_owned())) } else { Ok(false) }
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

    /// Gives the records of the frame that was just found, if it is within the limit.
    fn take(&mut self, found: &Found, limit: Option<Lsn>, out: &mut Vec<Record>) -> Result<bool, OpenError> {
        let header = found.header;
        if header.first != self.position.next {
            return Err(self.corrupt(format!("record {} where {} belongs", header.first, self.position.next)));
        }
        if limit.is_some_and(|limit| limit < Lsn(header.last())) {
            return Ok(false);
        }
        let reader = self.reader.as_ref().expect("a segment is open");
        for record in records(reader.payload(found)) {
            match record {
                Ok(record) => out.push(record),
                Err(error) => {
                    let number = header.first + out.len() as u64;
                    out.clear();
                    return Err(self.corrupt(format!("record {number} can't be read: {error}")));
                }
            }
        }
        if out.len() as u64 != u64::from(header.records) {
            let count = out.len();
            out.clear();
            return Err(self.corrupt(format!("{count} records where {} were written", header.records)));
        }
        self.position = Position { offset: found.end, next: header.last() + 1, ..self.position };
        Ok(true)
    }

    /// The reader of the position's segment; none if the segment isn't there yet.
    fn reader(&mut self) -> Result<Option<&mut SegmentReader>, OpenError> {
        if self.reader.is_none()
            && let Some((reader, header)) = self.open_segment(self.position.segment)?
        {
            self.identity = Some(header.identity);
            self.reader = Some(reader);
        }
        Ok(self.reader.as_mut())
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
