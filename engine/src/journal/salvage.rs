//! Salvage: what can still be read of a damaged journal, and where the rest was.
//!
//! ```text
//! | header | frame | ?????? | frame | frame |  | header? | frame |  (no file)  | header | frame | ?????? 000
//!            1..3     4..6    7..9    10         11..       11..     14..20       21..     21       22..?
//! ```
//!
//! Holds true: it opens files for reading only. It gives the records of frames that hold in their place, each number
//! once and in order, and takes nothing else for a frame: a frame's checksum covers the journal's salt, which nobody
//! knows who has not read the folder, and its place. So bytes that a customer chose are never taken for one, nor is a
//! frame that stands elsewhere. Where a frame should follow and none does it goes on at the next one that holds, in
//! this file or a later one; the number of that one's first record tells how many are lost.
//!
//! Where no header tells the salt the frames do: it is the one under which most of them hold, and at least two. Nobody
//! else can have written these: what customers choose is text, and a frame begins with bytes that no text has.
//!
//! What a crash leaves of the last write is no damage: nobody was told of it. Nor is what lies behind the last frame of
//! a segment whose successor goes on with the next number.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    disk::{Disk, FolderLock, FsDisk},
    error::OpenError,
    frame::records,
    record::Record,
    segment::{Block, Found, HEADER_BLOCK, Identity, SegmentReader, VERSION, file_name, segment_number},
    tail::behind,
    torn::ROTTEN,
};

const NO_HEADER: &str = "its header does not hold";

/// A part of a journal that can't be read: what lies between two of its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Where something is wrong, in the order of files and offsets. Never empty.
    pub places: Vec<DamagedPlace>,
    /// How many records are lost in it: orders, and all else that a journal notes. None if nothing that can be read
    /// follows, which alone would tell.
    pub records: Option<u64>,
}

impl Damage {
    /// A file that holds no records, and can't be read.
    pub(crate) fn of_file(error: &OpenError) -> Option<Self> {
        let (file, offset, why) = match error {
            OpenError::Corrupt { file, offset, why } => (file, *offset, why.clone()),
            OpenError::NewerVersion { file, .. } => (file, 0, error.to_string()),
            _ => return None,
        };
        let place = DamagedPlace { file: file.clone(), offset, bytes: 0, why };
        Some(Self { places: vec![place], records: Some(0) })
    }
}

/// A place where a journal can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedPlace {
    /// The file.
    pub file: PathBuf,
    /// The first byte that can't be read.
    pub offset: u64,
    /// How many bytes can't be read from there; 0 if what should be there is missing.
    pub bytes: u64,
    /// What was found there.
    pub why: String,
}

/// What comes next in a damaged journal.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The records of a frame, and where it stands.
    Frame {
        file: PathBuf,
        offset: u64,
        records: Vec<Record>,
    },
    Damage(Damage),
}

/// A segment that is being read.
#[derive(Debug)]
struct Open {
    reader: SegmentReader,
    segment: u32,
    /// Where the next frame should be.
    end: u64,
    /// The last record, if the segment was rewritten.
    last: u64,
    /// Whether its header says where it begins; otherwise it may tell what was told before.
    has_header: bool,
}

/// Reads a journal from its beginning to its end, whatever is between.
#[derive(Debug)]
pub(crate) struct Salvage {
    disk: Arc<dyn Disk>,
    _lock: Option<Box<dyn FolderLock>>,
    files: VecDeque<u32>,
    /// The file that should be next.
    following: u32,
    identity: Option<Identity>,
    /// Under which frames are checked where the header doesn't hold.
    salt: Option<u64>,
    open: Option<Open>,
    /// The number of the next record.
    next: u64,
    /// What is wrong since the last frame; false if it is no harm, should no record be lost or should it be elsewhere.
    places: Vec<(DamagedPlace, bool)>,
    ready: VecDeque<Piece>,
}

impl Salvage {
    /// The journal in `dir`. Nobody can open it meanwhile.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if somebody has it: what is being written looks like damage. Others if it can't be read.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        let disk = FsDisk::at(dir);
        let lock = disk.lock_to_read().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse { dir: dir.to_owned() },
            _ => OpenError::io_at(dir, "lock", error),
        })?;
        Ok(Self { _lock: lock, ..Self::on(Arc::new(disk))? })
    }

    /// The journal on `disk`, at rest.
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let names = disk.list().map_err(|error| OpenError::io_at(disk.path(), "list", error))?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        let mut salvage = Self {
            disk,
            _lock: None,
            files: VecDeque::new(),
            following: 1,
            identity: None,
            salt: None,
            open: None,
            next: 1,
            places: Vec::new(),
            ready: VecDeque::new(),
        };
        let mut begins_at = None;
        for &segment in &numbers {
            if let Block::Header(header) = salvage.read(segment)?.1
                && header.segment == segment
            {
                salvage.identity.get_or_insert(header.identity);
                // As in `chain`: the last that begins with record 1 tells what those before it told.
                begins_at = begins_at.max((header.first == 1).then_some(segment));
            }
        }
        salvage.salt = salvage.identity.map(|identity| identity.salt);
        for &segment in &numbers {
            if salvage.salt.is_none() {
                let guessed = salvage.read(segment)?.0.salt_by_frames();
                salvage.salt = guessed.map_err(|error| salvage.failed(segment, error))?;
            }
        }
        let lowest = numbers.first().copied().unwrap_or(1);
        salvage.following = match begins_at {
            Some(first) => first,
            None if lowest == 1 || matches!(salvage.read(lowest)?.1, Block::Unreadable) => lowest,
            None => lowest - 1,
        };
        salvage.files = numbers.into_iter().filter(|number| *number >= salvage.following).collect();
        Ok(salvage)
    }

    /// Whose journal it is; none if no header holds.
    pub(crate) fn engine_id(&self) -> Option<u64> {
        self.identity.map(|identity| identity.engine_id)
    }

    /// The next frame that holds, or what is between; none at the end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Piece>, OpenError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            match self.open.take() {
                Some(open) => self.step(open)?,
                None => match self.files.pop_front() {
                    Some(segment) => self.begin(segment)?,
                    None => return Ok(self.end()),
                },
            }
        }
    }

    fn read(&self, segment: u32) -> Result<(SegmentReader, Block), OpenError> {
        SegmentReader::open(self.disk.as_ref(), segment).map_err(|error| self.failed(segment, error))
    }

    fn failed(&self, segment: u32, error: io::Error) -> OpenError {
        OpenError::io(self.disk.as_ref(), "read", &file_name(segment), error)
    }

    fn note(&mut self, segment: u32, (offset, end): (u64, u64), why: impl Into<String>, for_sure: bool) {
        let file = self.disk.path().join(file_name(segment));
        self.places.push((DamagedPlace { file, offset, bytes: end - offset, why: why.into() }, for_sure));
    }

    /// Record `to` comes next, as what stands at `offset` of a segment says: so many are lost as it is ahead.
    fn advance(&mut self, to: u64, segment: u32, offset: u64) {
        let lost = to.saturating_sub(self.next);
        let last = to.saturating_sub(1);
        let is_known = self.places.iter().any(|(_, for_sure)| *for_sure);
        self.places.retain(|(place, for_sure)| *for_sure || lost > 0 && (place.bytes > 0 || !is_known));
        if lost > 0 && self.places.is_empty() {
            self.note(segment, (offset, offset), format!("records {} to {last} should be before it", self.next), true);
        }
        self.next = self.next.max(to);
        self.tell(Some(lost));
    }

    fn tell(&mut self, records: Option<u64>) {
        let places: Vec<_> = self.places.drain(..).map(|(place, _)| place).collect();
        if !places.is_empty() {
            self.ready.push_back(Piece::Damage(Damage { places, records }));
        }
    }

    /// Opens the file of `segment`.
    fn begin(&mut self, segment: u32) -> Result<(), OpenError> {
        self.miss(segment);
        self.following = segment.saturating_add(1);
        let (mut reader, block) = self.read(segment)?;
        let failed = |error| OpenError::io(self.disk.as_ref(), "read", &file_name(segment), error);
        let begin = HEADER_BLOCK as u64;
        let header = match block {
            Block::Header(header) if header.segment == segment && self.identity == Some(header.identity) => {
                self.advance(header.first, segment, 0);
                self.open = Some(Open { reader, segment, end: begin, last: header.last, has_header: true });
                return Ok(());
            }
            Block::Header(header) => Some(header),
            Block::Newer { .. } | Block::Unreadable => None,
        };
        let used = reader.rest(0).map_err(failed)?.junk_end.unwrap_or_default();
        if let Some(header) = header {
            let why = if header.segment == segment {
                "it belongs to another journal".to_owned()
            } else {
                format!("it is segment {}, under another's name", header.segment)
            };
            self.note(segment, (0, used), why, true);
            return Ok(());
        }
        if self.files.is_empty() && used <= begin {
            // Its making was cut short.
            return Ok(());
        }
        let why = match block {
            Block::Newer { version } => format!("it says that it has format {version}, later than {VERSION}"),
            _ => NO_HEADER.to_owned(),
        };
        let Some(salt) = self.salt else {
            self.note(segment, (0, used), format!("{why}, and without it no frame can be checked"), true);
            return Ok(());
        };
        reader.assume(salt);
        self.note(segment, (0, used.min(begin)), why, true);
        self.open = Some(Open { reader, segment, end: begin, last: 0, has_header: false });
        Ok(())
    }

    /// Notes that files before that of `segment` are not there.
    fn miss(&mut self, segment: u32) {
        if self.following < segment {
            let also = match segment - self.following {
                1 => String::new(),
                more => format!(", and {} behind it", more - 1),
            };
            self.note(self.following, (0, 0), format!("the file is missing{also}"), true);
        }
    }

    /// Reads on in a segment: a frame, or what is between it and the next.
    fn step(&mut self, mut open: Open) -> Result<(), OpenError> {
        let failed = |error| OpenError::io(self.disk.as_ref(), "read", &file_name(open.segment), error);
        if let Some(found) = open.reader.find(open.end).map_err(failed)? {
            self.frame(&mut open, &found);
            self.open = Some(open);
        } else if let Some(found) = open.reader.find_from(open.end).map_err(failed)? {
            self.note(open.segment, (open.end, found.offset), "no frame that holds is here", true);
            self.open = Some(Open { end: found.offset, ..open });
        } else {
            self.finish(open)?;
        }
        Ok(())
    }

    /// Gives the records of a frame, as far as they were not given before.
    fn frame(&mut self, open: &mut Open, found: &Found) {
        let (segment, header) = (open.segment, found.header);
        open.end = found.end;
        if open.has_header && header.first < self.next {
            let why = format!("it begins with record {}, where {} belongs", header.first, self.next);
            self.note(segment, (found.offset, found.end), why, true);
            return;
        }
        self.advance(header.first, segment, found.offset);
        let (mut number, mut count, mut given) = (header.first, 0, Vec::new());
        let mut strange = None;
        for record in records(open.reader.payload(found)) {
            match record {
                Ok(record) => {
                    let end = number.saturating_add(record.span());
                    given.extend(behind(record, number, end, self.next));
                    (number, count) = (end, count + 1);
                }
                Err(error) => strange = Some(format!("record {number} can't be read: {error}")),
            }
        }
        if strange.is_none() && count != header.records {
            strange = Some(format!("{count} records where {} were written", header.records));
        }
        if let Some(why) = strange {
            self.note(segment, (found.offset, found.end), why, true);
            return;
        }
        self.next = self.next.max(number);
        if !given.is_empty() {
            let file = self.disk.path().join(file_name(segment));
            self.ready.push_back(Piece::Frame { file, offset: found.offset, records: given });
        }
    }

    /// No frame follows in a segment.
    fn finish(&mut self, mut open: Open) -> Result<(), OpenError> {
        let Open { segment, end, last, .. } = open;
        let failed = |error| OpenError::io(self.disk.as_ref(), "read", &file_name(segment), error);
        let junk_end = open.reader.rest(end).map_err(failed)?.junk_end;
        let is_last = self.files.is_empty() && last == 0;
        match junk_end {
            Some(junk_end) if !is_last => self.note(segment, (end, junk_end), "no frame that holds is here", false),
            Some(junk_end) if !open.reader.is_torn(end, junk_end).map_err(failed)? => {
                self.note(segment, (end, junk_end), ROTTEN, true);
            }
            // What a crash leaves of the last write.
            Some(_) => {}
            // At the very end it is left out: nothing is missing.
            None => self.note(segment, (end, end), "zeros, or the file's end, in a frame's place", false),
        }
        if last > 0 {
            self.advance(last.saturating_add(1), segment, end);
            if self.files.is_empty() {
                // It was made when the next one was there.
                self.miss(self.following.saturating_add(1));
            }
        }
        Ok(())
    }

    /// There are no more files.
    fn end(&mut self) -> Option<Piece> {
        self.places.retain(|(place, for_sure)| *for_sure || place.bytes > 0);
        self.tell(None);
        self.ready.pop_front()
    }
}
