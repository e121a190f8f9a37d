//! Recovery: everything that is durable, in order, and a writer behind it.
//!
//! Holds true: a record is replayed once and in its place, or recovery refuses. The valid prefix may end only where
//! a torn commit can: at the end of the last segment, with no valid frame behind it, and with nothing behind it but
//! what a crash can leave of a write. Everything else that does not
//! hold is [`OpenError::Corrupt`] with the file and the offset, and then not a byte was changed.

use std::sync::Arc;

use super::{
    chain::{Chain, missing},
    disk::{Disk, random_u64},
    error::OpenError,
    frame::sized_records,
    record::Record,
    secret::{SECRET_FILE, Secret},
    segment::{
        Behind, Block, Found, HEADER_BLOCK, Identity, SegmentHeader, SegmentReader, SegmentWriter, Sizes, VERSION,
        file_name,
    },
    torn::ROTTEN,
};

/// The engine's own reader of records; an error says what the record contradicts.
pub(crate) type Replay<'a> = dyn FnMut(Record) -> Result<(), String> + 'a;

/// A journal that was read to its end.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) writer: SegmentWriter,
    pub(crate) secret: Secret,
    pub(crate) identity: Identity,
    /// The last epoch that was begun; 0 before the first.
    pub(crate) epoch: u32,
    /// Bytes of the frames that were read.
    pub(crate) bytes: u64,
    /// Bytes of the records in them that tell of what passes, where nothing was dropped yet.
    pub(crate) passing: u64,
    /// The first segment.
    pub(crate) first: u32,
}

/// Reads the journal on `disk`, which is locked, through `replay`; makes it if there is none.
pub(crate) fn recover(disk: &Arc<dyn Disk>, sizes: Sizes, replay: &mut Replay<'_>) -> Result<Recovered, OpenError> {
    let chain = Chain::of(disk.as_ref())?;
    let secret = match Secret::read(disk.as_ref())? {
        Some(secret) => secret,
        None if chain.last == 0 => Secret::create(disk.as_ref())?,
        None => return Err(OpenError::corrupt(disk.as_ref(), SECRET_FILE, 0, "it is missing, but segments are there")),
    };
    let mut scan = Scan { disk, replay, header: None, next: 1, epoch: 0, bytes: 0, passing: 0, last: None, end: 0 };
    for segment in chain.first..=chain.last {
        if !scan.segment(segment, segment == chain.last)? {
            break;
        }
    }
    let (epoch, bytes, passing) = (scan.epoch, scan.bytes, scan.passing);
    let (writer, identity) = scan.writer(chain.last, sizes)?;
    chain.tidy(disk.as_ref());
    Ok(Recovered { writer, secret, identity, epoch, bytes, passing, first: chain.first })
}

/// What has been read so far.
struct Scan<'a, 'r> {
    disk: &'a Arc<dyn Disk>,
    replay: &'a mut Replay<'r>,
    /// The last segment whose header could be read, with its reader.
    header: Option<(SegmentHeader, SegmentReader)>,
    next: u64,
    epoch: u32,
    bytes: u64,
    passing: u64,
    /// The last frame of that segment.
    last: Option<Found>,
    end: u64,
}

impl Scan<'_, '_> {
    /// Reads one segment; false if its making was cut short, which only the last one's can be.
    fn segment(&mut self, segment: u32, last: bool) -> Result<bool, OpenError> {
        let disk = self.disk.as_ref();
        let name = file_name(segment);
        let failed = |error| OpenError::io(disk, "read", &name, error);
        let (mut reader, block) = SegmentReader::open(disk, segment).map_err(failed)?;
        let header = match block {
            Block::Header(header) => header,
            Block::Newer { version } => {
                let file = disk.path().join(&name);
                return Err(OpenError::NewerVersion { file, version, supported: VERSION });
            }
            Block::Unreadable => {
                let rest = reader.rest(HEADER_BLOCK as u64).map_err(failed)?;
                if last && rest.junk_end.is_none() {
                    return Ok(false);
                }
                return Err(OpenError::corrupt(disk, &name, 0, "its header does not hold"));
            }
        };
        self.follows(segment, &header)?;
        (self.end, self.last) = (HEADER_BLOCK as u64, None);
        while let Some(found) = reader.find(self.end).map_err(failed)? {
            self.frame(&name, &header, &reader, &found)?;
        }
        if header.is_rewritten() {
            if self.next != header.last.saturating_add(1) {
                let why = format!("record {} should follow, up to {}", self.next, header.last);
                return Err(OpenError::corrupt(disk, &name, self.end, why));
            }
            if last {
                // It was made when the next one was there.
                return Err(missing(disk, segment + 1));
            }
        }
        self.header = Some((header, reader));
        Ok(true)
    }

    /// Checks that `header` goes on where the segment before ended.
    fn follows(&self, segment: u32, header: &SegmentHeader) -> Result<(), OpenError> {
        let disk = self.disk.as_ref();
        let strange = |why| Err(OpenError::corrupt(disk, &file_name(segment), 0, why));
        if header.segment != segment {
            return strange(format!("it is segment {}, under another's name", header.segment));
        }
        if let Some((before, _)) = &self.header {
            if header.identity != before.identity {
                return strange("it belongs to another journal".to_owned());
            }
            if header.first > self.next {
                let why = format!("record {} should follow; the next file starts with {}", self.next, header.first);
                return Err(OpenError::corrupt(disk, &file_name(segment - 1), self.end, why));
            }
        }
        if header.first != self.next {
            return strange(format!("it starts with record {}, not with {}", header.first, self.next));
        }
        Ok(())
    }

    fn frame(
        &mut self,
        name: &str,
        segment: &SegmentHeader,
        reader: &SegmentReader,
        found: &Found,
    ) -> Result<(), OpenError> {
        let header = found.header;
        let corrupt = |why| Err(OpenError::corrupt(self.disk.as_ref(), name, found.offset, why));
        if header.first != self.next || header.epoch < self.epoch {
            return corrupt(format!(
                "record {} of epoch {} where record {} of epoch {} or later belongs",
                header.first, header.epoch, self.next, self.epoch
            ));
        }
        let (mut count, mut number) = (0, self.next);
        for record in sized_records(reader.payload(found)) {
            let (record, size) = match record {
                Ok((record, _)) if record.is_rewritten() && !segment.is_rewritten() => {
                    return corrupt(format!("record {number} is none of a segment that was never rewritten"));
                }
                Ok(sized) => sized,
                Err(error) => return corrupt(format!("record {number} can't be read: {error}")),
            };
            if let Record::Opened { epoch, .. } = record {
                if epoch != header.epoch || epoch <= self.epoch {
                    let (frame, before) = (header.epoch, self.epoch);
                    return corrupt(format!(
                        "record {number} begins epoch {epoch} after {before}, in a frame of {frame}"
                    ));
                }
                self.epoch = epoch;
            }
            let span = record.span();
            if record.passes() && !segment.is_rewritten() {
                self.passing += size;
            }
            (self.replay)(record).map_err(|why| OpenError::Replay {
                file: self.disk.path().join(name),
                offset: found.offset,
                record: number,
                why,
            })?;
            count += 1;
            number = number.saturating_add(span);
        }
        if count != u64::from(header.records) {
            return corrupt(format!("{count} records where {} were written", header.records));
        }
        self.next = number;
        self.bytes += found.end - found.offset;
        (self.last, self.end) = (Some(*found), found.end);
        Ok(())
    }

    /// The writer that goes on in segment `last`.
    fn writer(mut self, last: u32, sizes: Sizes) -> Result<(SegmentWriter, Identity), OpenError> {
        let disk = self.disk;
        let Some((header, mut reader)) = self.header.take() else {
            let failed = |error| OpenError::io(disk.as_ref(), "create", &file_name(1), error);
            let engine_id = random_u64(disk.as_ref()).map_err(failed)?;
            let identity = Identity { engine_id, salt: random_u64(disk.as_ref()).map_err(failed)? };
            let header = SegmentHeader { identity, segment: 1, first: 1, epoch: 1, last: 0, version: VERSION };
            return Ok((SegmentWriter::create(disk, header, sizes).map_err(failed)?, identity));
        };
        let name = file_name(header.segment);
        let failed = |error| OpenError::io(disk.as_ref(), "read", &name, error);
        let rest = reader.rest(self.end).map_err(failed)?;
        if let Some(later) = rest.later_frame {
            let why = format!("no valid frame is here, but one follows at byte {later}: this is no torn write");
            return Err(OpenError::corrupt(disk.as_ref(), &name, self.end, why));
        }
        if let Some(junk_end) = rest.junk_end
            && !reader.is_torn(self.end, junk_end).map_err(failed)?
        {
            return Err(OpenError::corrupt(disk.as_ref(), &name, self.end, ROTTEN));
        }
        if header.segment < last {
            let name = file_name(last);
            let header = SegmentHeader { segment: last, first: self.next, epoch: self.epoch, last: 0, ..header };
            let writer = SegmentWriter::create(disk, header, sizes)
                .map_err(|error| OpenError::io(disk.as_ref(), "create", &name, error))?;
            return Ok((writer, header.identity));
        }
        let last_frame = match &self.last {
            Some(found) if reader.find(found.offset).map_err(failed)?.is_some() => Some(reader.frame(found)),
            Some(found) => {
                return Err(OpenError::corrupt(disk.as_ref(), &name, found.offset, "it changed while it was read"));
            }
            None => None,
        };
        let behind = Behind { last_frame, end: self.end, junk_end: rest.junk_end };
        let writer = disk
            .sync_directory()
            .and_then(|()| SegmentWriter::resume(disk, header, sizes, self.next, behind))
            .map_err(|error| OpenError::io(disk.as_ref(), "write", &name, error))?;
        Ok((writer, header.identity))
    }
}
