//! Segments: the journal's files, each a header block and frames over zeros.
//!
//! ```text
//! block of 4096 bytes: magic "SELLOUTJ" | version u32 | segment u32 | engine id u64 | salt u64
//!                      | first record number u64 | epoch u32 | last record number u64 | zeros | crc32 u32
//! frames, each at a multiple of 8, then zeros up to the end of the file
//! ```
//!
//! Holds true: a segment is durable, header and name, before its first frame is written, and it is made only when
//! every frame of the one before is durable. So a header that can't be read belongs to a segment whose making was
//! cut short, if it is the last and holds nothing but zeros; otherwise it is damage. And a header's first record
//! number proves that all records before it were durable.
//!
//! The last record number stands in a segment that was rewritten, and says where it ends; it is 0 in all others, which
//! grow. Version 1 had neither rewritten segments nor that field, and no frame beyond 8 MiB; a segment that was begun
//! then is continued as it is, and followed by another before such a frame: who reads version 1 alone would take it for
//! a torn one.
//!
//! Frames are written over zeros that are there already: the file does not grow at each commit, and a sync writes
//! data alone.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use super::{
    disk::{Access, Disk, DiskFile},
    frame::{ALIGNMENT, FRAME_HEADER, FrameHeader, MAGIC as FRAME_MAGIC, MAX_PAYLOAD, Part, Place, seal},
    torn::is_torn,
};

/// The format that is written here, and the latest that is read.
pub(crate) const VERSION: u32 = 2;
/// The first format, in which no segment is rewritten.
const FIRST_VERSION: u32 = 1;
/// Where frames start.
pub(crate) const HEADER_BLOCK: usize = 4_096;

const MAGIC: [u8; 8] = *b"SELLOUTJ";
const CRC_AT: usize = HEADER_BLOCK - 4;
const SALT_AT: usize = 24;
/// How much is read at once.
const READ_AHEAD: usize = 256 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A segment's file name.
pub(crate) fn file_name(segment: u32) -> String {
    format!("{segment:08}.journal")
}

/// The segment that `name` is the file of.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".journal")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// What all segments of a journal share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) engine_id: u64,
    pub(crate) salt: u64,
}

/// Without the salt: bytes that a customer chose must never pass for a frame.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("engine_id", &self.engine_id).finish_non_exhaustive()
    }
}

/// What a segment says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    pub(crate) segment: u32,
    pub(crate) first: u64,
    pub(crate) epoch: u32,
    /// The last record, if the segment was rewritten; otherwise 0.
    pub(crate) last: u64,
    /// The format that it is in.
    pub(crate) version: u32,
}

/// What a header block turned out to be.
#[derive(Debug)]
pub(crate) enum Block {
    Header(SegmentHeader),
    Newer { version: u32 },
    Unreadable,
}

impl SegmentHeader {
    fn encode(&self) -> [u8; HEADER_BLOCK] {
        let mut block = [0; HEADER_BLOCK];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            block[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&self.version.to_le_bytes());
        put(&self.segment.to_le_bytes());
        put(&self.identity.engine_id.to_le_bytes());
        put(&self.identity.salt.to_le_bytes());
        put(&self.first.to_le_bytes());
        put(&self.epoch.to_le_bytes());
        put(&self.last.to_le_bytes());
        let crc = crc32fast::hash(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Whether a frame with `payload` bytes may stand in the segment.
    const fn takes(&self, payload: usize) -> bool {
        self.version > FIRST_VERSION || payload <= MAX_PAYLOAD
    }

    /// Whether it stands for segments that are not there any more.
    pub(crate) const fn is_rewritten(&self) -> bool {
        self.last > 0
    }

    /// The salts that a header block which doesn't hold may have had: as it stands there, or with the one byte of it
    /// changed that makes the block hold.
    fn salts(block: &[u8]) -> Vec<u64> {
        let salt_of = |block: &[u8]| u64::from_le_bytes(*block[SALT_AT..].first_chunk().expect("a whole block"));
        let mut salts = vec![salt_of(block)];
        let mut block = block.to_vec();
        for at in SALT_AT..SALT_AT + 8 {
            let found = block[at];
            for byte in 0..=u8::MAX {
                block[at] = byte;
                if let Block::Header(header) = Self::decode(&block) {
                    salts.push(header.identity.salt);
                }
            }
            block[at] = found;
        }
        salts
    }

    /// What the bytes at the beginning of a segment say.
    pub(crate) fn decode(block: &[u8]) -> Block {
        fn field<const N: usize>(block: &[u8], at: usize) -> Option<[u8; N]> {
            block.get(at..)?.first_chunk().copied()
        }
        let read = || {
            let version = u32::from_le_bytes(field(block, 8)?);
            if field(block, 0)? != MAGIC {
                return None;
            }
            // The version comes before the checksum: a newer format may keep its checksum elsewhere.
            if version > VERSION {
                return Some(Block::Newer { version });
            }
            if field(block, CRC_AT)? != crc32fast::hash(&block[..CRC_AT]).to_le_bytes() || version < FIRST_VERSION {
                return None;
            }
            let last = u64::from_le_bytes(field(block, 44)?);
            if version == FIRST_VERSION && last > 0 {
                return None;
            }
            Some(Block::Header(Self {
                segment: u32::from_le_bytes(field(block, 12)?),
                identity: Identity {
                    engine_id: u64::from_le_bytes(field(block, 16)?),
                    salt: u64::from_le_bytes(field(block, SALT_AT)?),
                },
                first: u64::from_le_bytes(field(block, 32)?),
                epoch: u32::from_le_bytes(field(block, 40)?),
                last,
                version,
            }))
        };
        read().unwrap_or(Block::Unreadable)
    }
}

/// A valid frame in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) header: FrameHeader,
    pub(crate) offset: u64,
    pub(crate) end: u64,
}

/// What lies behind the last frame of a segment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Where a valid frame follows.
    pub(crate) later_frame: Option<u64>,
    /// Where zeros begin for good, if there is anything else.
    pub(crate) junk_end: Option<u64>,
}

/// Reads a segment from front to back, with memory for one frame and what is read ahead.
pub(crate) struct SegmentReader {
    file: Box<dyn DiskFile>,
    segment: u32,
    salt: u64,
    window: Vec<u8>,
    window_at: u64,
    filled: usize,
}

/// Where it is, and nothing of what was read.
impl fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentReader").field("segment", &self.segment).finish_non_exhaustive()
    }
}

impl SegmentReader {
    /// Opens the file of `segment` and reads its header block.
    pub(crate) fn open(disk: &dyn Disk, segment: u32) -> io::Result<(Self, Block)> {
        Self::open_named(disk, &file_name(segment), segment)
    }

    /// As `open`, of a file that has another name so far.
    pub(crate) fn open_named(disk: &dyn Disk, name: &str, segment: u32) -> io::Result<(Self, Block)> {
        let file = disk.open(name, Access::Read)?;
        let mut reader = Self { file, segment, salt: 0, window: Vec::new(), window_at: 0, filled: 0 };
        reader.load(0, HEADER_BLOCK)?;
        let block = SegmentHeader::decode(reader.bytes(0, HEADER_BLOCK.min(reader.filled)));
        if let Block::Header(header) = &block {
            reader.salt = header.identity.salt;
        }
        Ok((reader, block))
    }

    /// The valid frame at `offset`.
    pub(crate) fn find(&mut self, offset: u64) -> io::Result<Option<Found>> {
        if !self.load(offset, FRAME_HEADER)? {
            return Ok(None);
        }
        let header = self.bytes(offset, FRAME_HEADER).first_chunk().and_then(FrameHeader::parse);
        let Some(header) = header else { return Ok(None) };
        let length = header.frame_length();
        let place = Place { salt: self.salt, segment: self.segment, offset };
        if !self.load(offset, length)? || !header.holds(self.bytes(offset, length), place) {
            return Ok(None);
        }
        Ok(Some(Found { header, offset, end: offset + length as u64 }))
    }

    /// The first valid frame at `offset` or behind it.
    pub(crate) fn find_from(&mut self, offset: u64) -> io::Result<Option<Found>> {
        let mut at = offset;
        while self.load(at, FRAME_HEADER)? {
            if self.bytes(at, FRAME_MAGIC.len()) == FRAME_MAGIC
                && let Some(found) = self.find(at)?
            {
                return Ok(Some(found));
            }
            at += ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// Reads frames under `salt`, where the header doesn't tell.
    pub(crate) fn assume(&mut self, salt: u64) {
        self.salt = salt;
    }

    /// The salt under which frames of this segment hold although its header doesn't: as the header has it, if that is
    /// wrong elsewhere or in one byte of it; otherwise the one under which most of them do, and at least two.
    pub(crate) fn salt_by_frames(&mut self) -> io::Result<Option<u64>> {
        if !self.load(0, HEADER_BLOCK)? {
            return Ok(None);
        }
        for salt in SegmentHeader::salts(self.bytes(0, HEADER_BLOCK)) {
            self.assume(salt);
            if self.find_from(HEADER_BLOCK as u64)?.is_some() {
                return Ok(Some(salt));
            }
        }
        let (mut told, mut at) = (BTreeMap::<u64, u32>::new(), HEADER_BLOCK as u64);
        while self.load(at, FRAME_HEADER)? {
            let header = self.bytes(at, FRAME_HEADER).first_chunk().and_then(FrameHeader::parse);
            if let Some(header) = header
                && self.load(at, header.frame_length())?
            {
                *told.entry(header.salt(self.bytes(at, header.frame_length()), self.segment, at)).or_default() += 1;
            }
            at += ALIGNMENT as u64;
        }
        let most = told.values().copied().max().unwrap_or_default();
        let mut salts = told.into_iter().filter(|(_, frames)| *frames == most && most > 1);
        // Of two that are as good nothing tells which is right.
        Ok(salts.next().filter(|_| salts.next().is_none()).map(|(salt, _)| salt))
    }

    /// Where the frame with record `number` is, and with which record it begins, as far as the frames' headers lead
    /// from the segment's beginning: the last frame that begins no later. Whoever reads it there checks it.
    pub(crate) fn hop(&self, header: &SegmentHeader, number: u64) -> io::Result<(u64, u64)> {
        let (mut place, mut next) = ((HEADER_BLOCK as u64, header.first), HEADER_BLOCK as u64);
        loop {
            let mut bytes = [0; FRAME_HEADER];
            if self.file.read_at(&mut bytes, next)? < FRAME_HEADER {
                return Ok(place);
            }
            match FrameHeader::parse(&bytes) {
                Some(frame) if (place.1..=number).contains(&frame.first) => {
                    place = (next, frame.first);
                    next += frame.frame_length() as u64;
                }
                _ => return Ok(place),
            }
        }
    }

    /// The whole frame that was just found.
    pub(crate) fn frame(&self, found: &Found) -> &[u8] {
        self.bytes(found.offset, found.header.frame_length())
    }

    /// The payload of the frame that was just found.
    pub(crate) fn payload(&self, found: &Found) -> &[u8] {
        &self.frame(found)[FRAME_HEADER..FRAME_HEADER + found.header.payload]
    }

    /// Looks through all that follows `offset`.
    pub(crate) fn rest(&mut self, offset: u64) -> io::Result<Rest> {
        let mut rest = Rest::default();
        let mut at = offset;
        while self.load(at, 1)? {
            let available = self.filled - self.start_of(at);
            let step = available.min(ALIGNMENT);
            let bytes = self.bytes(at, step);
            if bytes.iter().any(|&byte| byte != 0) {
                let magic = bytes.starts_with(&FRAME_MAGIC);
                rest.junk_end = Some(at + step as u64);
                if magic && rest.later_frame.is_none() && self.find(at)?.is_some() {
                    rest.later_frame = Some(at);
                }
            }
            at += ALIGNMENT as u64;
        }
        Ok(rest)
    }

    /// Whether what lies between `offset` and `junk_end`, where zeros begin for good, may be a torn write.
    pub(crate) fn is_torn(&mut self, offset: u64, junk_end: u64) -> io::Result<bool> {
        // The file may end within the last word.
        let there = junk_end.min(self.file.length()?) - offset;
        let length = usize::try_from(there).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if !self.load(offset, length)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = self.bytes(offset, length);
        Ok(is_torn(left, Place { salt: self.salt, segment: self.segment, offset }))
    }

    /// Forgets what was read ahead: a writer may have changed it since.
    pub(crate) fn forget(&mut self) {
        self.filled = 0;
    }

    fn start_of(&self, offset: u64) -> usize {
        usize::try_from(offset - self.window_at).expect("an offset in the window")
    }

    fn bytes(&self, offset: u64, length: usize) -> &[u8] {
        let start = self.start_of(offset);
        &self.window[start..start + length]
    }

    /// Makes `length` bytes from `offset` readable; says whether the file has that many.
    fn load(&mut self, offset: u64, length: usize) -> io::Result<bool> {
        let end = offset + length as u64;
        if offset >= self.window_at && end <= self.window_at + self.filled as u64 {
            return Ok(true);
        }
        // What only looks like a frame may claim any length: memory is taken for what is there.
        if length > READ_AHEAD && end > self.file.length()? {
            return Ok(false);
        }
        let wanted = length.max(READ_AHEAD);
        if self.window.len() < wanted {
            // Nothing of what it has is kept: new memory is zeros already, and needs no writing.
            self.window = vec![0; wanted];
        }
        self.filled = 0;
        self.window_at = offset;
        self.filled = self.file.read_at(&mut self.window[..wanted], offset)?;
        Ok(self.filled >= length)
    }
}

/// Sizes that tests shrink.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// A segment that would exceed this many bytes is followed by another.
    pub(crate) segment_bytes: u64,
    /// Segments are filled with zeros in steps of this many bytes.
    pub(crate) fill_bytes: u64,
}

/// Appends frames to the last segment, and makes the next one when it is full.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    header: SegmentHeader,
    sizes: Sizes,
    end: u64,
    allocated: u64,
    next: u64,
}

impl SegmentWriter {
    /// Makes the segment that `header` describes, durable, over whatever an unfinished making left.
    pub(crate) fn create(disk: &Arc<dyn Disk>, header: SegmentHeader, sizes: Sizes) -> io::Result<Self> {
        let writer = Self::draft(disk, &file_name(header.segment), header, sizes)?;
        disk.sync_directory()?;
        Ok(writer)
    }

    /// Makes the segment under the name `name`, which is not durable yet.
    pub(crate) fn draft(disk: &Arc<dyn Disk>, name: &str, header: SegmentHeader, sizes: Sizes) -> io::Result<Self> {
        let header = SegmentHeader { version: VERSION, ..header };
        let file = disk.open(name, Access::Create)?;
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        let allocated = file.length()?;
        let end = HEADER_BLOCK as u64;
        Ok(Self { disk: Arc::clone(disk), file, header, sizes, end, allocated, next: header.first })
    }

    /// Goes on behind the last frame of a segment that was read, and makes sure that what was read is durable.
    ///
    /// It writes `last_frame` (or the header, if there is no frame) and the zeros behind it once more: when a sync
    /// fails, the system keeps the page and calls it clean. The next process reads it well, and a sync alone would not
    /// write it.
    pub(crate) fn resume(
        disk: &Arc<dyn Disk>,
        header: SegmentHeader,
        sizes: Sizes,
        next: u64,
        behind: Behind<'_>,
    ) -> io::Result<Self> {
        let Behind { last_frame, end, junk_end } = behind;
        let Some(last_frame) = last_frame else {
            let mut writer = Self::create(disk, header, sizes)?;
            writer.clear(writer.allocated.max(junk_end.unwrap_or_default()))?;
            return Ok(writer);
        };
        let file = disk.open(&file_name(header.segment), Access::Write)?;
        file.write_at(last_frame, end - last_frame.len() as u64)?;
        file.sync_data()?;
        let allocated = file.length()?;
        let mut writer = Self { disk: Arc::clone(disk), file, header, sizes, end, allocated, next };
        writer.clear(allocated.max(junk_end.unwrap_or_default()))?;
        Ok(writer)
    }

    /// Overwrites what lies behind the end, torn or not to be seen, with zeros.
    fn clear(&mut self, junk_end: u64) -> io::Result<()> {
        if junk_end > self.end {
            self.zero(self.end, junk_end)?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_at(&ZEROS[..length], at)?;
            at += length as u64;
        }
        Ok(())
    }

    /// The number that the next record gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The segment's file name.
    pub(crate) fn name(&self) -> String {
        file_name(self.header.segment)
    }

    /// The segment's number.
    pub(crate) fn segment(&self) -> u32 {
        self.header.segment
    }

    /// Where the next frame starts.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Writes one frame and makes it durable.
    pub(crate) fn append(&mut self, frame: &mut [u8], part: Part, epoch: u32) -> io::Result<()> {
        self.append_spanning(frame, part, epoch, u64::from(part.records))
    }

    /// As `append`, of records that stand for `span` numbers.
    pub(crate) fn append_spanning(&mut self, frame: &mut [u8], part: Part, epoch: u32, span: u64) -> io::Result<()> {
        let length = frame.len() as u64;
        let holds_frames = self.end > HEADER_BLOCK as u64;
        let is_full = holds_frames && self.end + length > self.sizes.segment_bytes;
        if is_full || !self.header.takes(part.payload) {
            self.rotate(epoch)?;
        }
        let place = Place { salt: self.header.identity.salt, segment: self.header.segment, offset: self.end };
        seal(frame, part, self.next, epoch, place);
        self.file.write_at(frame, self.end)?;
        let end = self.end + length;
        if end > self.allocated {
            let filled = end.next_multiple_of(self.sizes.fill_bytes.max(1)).min(self.sizes.segment_bytes).max(end);
            self.zero(end, filled)?;
            self.allocated = filled;
        }
        self.file.sync_data()?;
        self.end = end;
        self.next += span;
        Ok(())
    }

    fn rotate(&mut self, epoch: u32) -> io::Result<()> {
        let segment = self.header.segment.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        debug_assert!(!self.header.is_rewritten(), "what is rewritten is one segment");
        let header = SegmentHeader { segment, first: self.next, epoch, ..self.header };
        *self = Self::create(&self.disk, header, self.sizes)?;
        Ok(())
    }
}

/// What recovery found at the end of the last segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behind<'a> {
    /// The last frame's bytes.
    pub(crate) last_frame: Option<&'a [u8]>,
    /// Where it ends.
    pub(crate) end: u64,
    /// Where a torn frame behind it ends.
    pub(crate) junk_end: Option<u64>,
}
