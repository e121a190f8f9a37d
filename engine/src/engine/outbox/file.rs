//! A sink: one line a message, in a file.
//!
//! ```text
//! sellout-messages  1  engine                                   crc32
//! 17-0              instant  sale  buyer  kind  ..              crc32      tabs between the fields
//! ```
//!
//! Holds true:
//! - The file has its messages once, in the order of their ids. It grows by at most [`CHUNK`] bytes between two syncs,
//!   so whatever a crash leaves torn lies in the last `CHUNK` bytes: there the first line whose checksum does not hold
//!   ends the file, and is cut off with what follows. One that lies further ahead is damage, and refused.
//! - A failed write or sync is final for this opening. The next one writes the last `CHUNK` bytes once more before it
//!   syncs: the system may call a page clean whose sync has failed.
//! - The first line says whose messages these are.

use std::{
    fmt::{self, Write},
    io,
    path::{Path, PathBuf},
};

use super::{Message, MessageId, MessageSink};
use crate::{
    engine::source::Identity,
    journal::{Access, Disk, DiskFile, FsDisk},
};

/// The most that is written between two syncs.
const CHUNK: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };
const MAGIC: &str = "sellout-messages\t1\t";
/// The first line: magic, 16 digits, a tab, 8 digits and the end.
const HEADER: usize = MAGIC.len() + 16 + 1 + 8 + 1;

/// Messages as lines in a file, each once.
///
/// A line has the fields of [`Message`]'s text, a tab, and 8 hexadecimal digits: the CRC-32 (IEEE) of what comes before
/// the last tab. One sink has one file; read it while it grows, as far as its lines end and their checksums hold.
#[must_use = "it has only what is delivered to it"]
pub struct FileSink {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Whose messages these are: not known of an empty file.
    engine: Option<u64>,
    last: MessageId,
    end: u64,
    failed: bool,
}

/// Why a file can't take messages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileSinkError {
    /// The system refused.
    #[error("could not {doing} {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} is no file of messages: choose another name", path = .path.display())]
    NotMessages {
        /// The file.
        path: PathBuf,
    },
    /// It holds the messages of another engine.
    #[error("{path} has the messages of engine {found:016x}: choose another file", path = .path.display())]
    OtherEngine {
        /// The file.
        path: PathBuf,
        /// Whose they are.
        found: u64,
    },
    /// A line that was durable has changed.
    #[error("{path} is damaged at byte {offset}: move it away, and choose what to send again", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damage begins, at most.
        offset: u64,
    },
    /// A write or sync has failed before.
    #[error("an earlier write to {path} failed: open it again", path = .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
    },
}

impl FileSink {
    /// The messages in the file at `path`, which is made if it isn't there; its folder must be.
    ///
    /// # Errors
    /// [`FileSinkError`] if it can't be written, or holds something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileSinkError> {
        let path = path.as_ref();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(FileSinkError::NotMessages { path: path.to_owned() });
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self::on(&FsDisk::at(folder.unwrap_or(Path::new("."))), name)
    }

    pub(in crate::engine) fn on(disk: &dyn Disk, name: &str) -> Result<Self, FileSinkError> {
        let path = disk.path().join(name);
        let failed = |doing| {
            let path = path.clone();
            move |source| FileSinkError::Io { path, doing, source }
        };
        let file = disk.open(name, Access::Create).map_err(failed("open"))?;
        disk.sync_directory().map_err(failed("sync the folder of"))?;
        let length = file.length().map_err(failed("look at"))?;
        let mut head = [0; HEADER];
        let found = file.read_at(&mut head, 0).map_err(failed("read"))?;
        let engine = match parse_header(&head[..found]) {
            Some(engine) => Some(engine),
            None if length <= HEADER as u64 && is_torn_header(&head[..found]) => None,
            None => return Err(FileSinkError::NotMessages { path }),
        };
        let mut sink = Self { file, path, engine, last: MessageId::START, end: 0, failed: false };
        if engine.is_some() {
            sink.find_end(length)?;
        }
        if sink.end < length {
            sink.file.cut(sink.end).map_err(failed_on(&sink.path, "cut"))?;
        }
        sink.write_again()?;
        Ok(sink)
    }

    /// The last message that it has.
    #[must_use]
    pub fn last_id(&self) -> MessageId {
        self.last
    }

    /// Finds the last whole line. What comes before the last two chunks was synced, and is not looked at.
    fn find_end(&mut self, length: u64) -> Result<(), FileSinkError> {
        let mut start = length.saturating_sub(2 * CHUNK as u64).max(HEADER as u64);
        let mut bytes = self.bytes(start, length)?;
        if start > HEADER as u64 {
            // It begins within a line.
            let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
            bytes.drain(..line);
            start += line as u64;
        }
        let mut rest = &bytes[..];
        while let Some((id, length)) = whole_line(rest).filter(|(id, _)| *id > self.last) {
            self.last = id;
            rest = &rest[length..];
        }
        self.end = length - rest.len() as u64;
        if rest.len() > CHUNK || (self.end == start && start > HEADER as u64) {
            return Err(FileSinkError::Corrupt { path: self.path.clone(), offset: self.end });
        }
        Ok(())
    }

    /// What an earlier opening may have failed to sync is written once more.
    fn write_again(&mut self) -> Result<(), FileSinkError> {
        let start = self.end.saturating_sub(CHUNK as u64);
        let bytes = self.bytes(start, self.end)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_at(&bytes, start).map_err(failed_on(&self.path, "write"))?;
        self.file.sync_data().map_err(failed_on(&self.path, "sync"))
    }

    fn bytes(&self, start: u64, end: u64) -> Result<Vec<u8>, FileSinkError> {
        let mut bytes = vec![0; usize::try_from(end - start).expect("at most two chunks")];
        let found = self.file.read_at(&mut bytes, start).map_err(failed_on(&self.path, "read"))?;
        bytes.truncate(found);
        Ok(bytes)
    }

    /// Appends `lines`, which end with the message `last`, and syncs.
    fn append(&mut self, lines: &str, last: MessageId) -> Result<(), FileSinkError> {
        self.failed = true;
        self.file.write_at(lines.as_bytes(), self.end).map_err(failed_on(&self.path, "write"))?;
        self.file.sync_data().map_err(failed_on(&self.path, "sync"))?;
        (self.failed, self.last) = (false, last);
        self.end += lines.len() as u64;
        Ok(())
    }
}

impl MessageSink for FileSink {
    type Error = FileSinkError;

    fn last(&mut self, whose: Identity) -> Result<MessageId, FileSinkError> {
        if self.failed {
            return Err(FileSinkError::Failed { path: self.path.clone() });
        }
        match self.engine {
            Some(found) if found != whose.engine => {
                return Err(FileSinkError::OtherEngine { path: self.path.clone(), found });
            }
            Some(_) => {}
            None => {
                self.append(&header(whose.engine), MessageId::START)?;
                self.engine = Some(whose.engine);
            }
        }
        Ok(self.last)
    }

    fn take(&mut self, messages: &[Message]) -> Result<(), FileSinkError> {
        if self.failed || self.engine.is_none() {
            return Err(FileSinkError::Failed { path: self.path.clone() });
        }
        let (mut lines, mut line, mut last) = (String::new(), String::new(), self.last);
        for message in messages {
            if message.id <= last {
                continue;
            }
            line.clear();
            write!(line, "{message}").expect("a text takes any text");
            seal(&mut line);
            if lines.len() + line.len() > CHUNK {
                self.append(&lines, last)?;
                lines.clear();
            }
            lines.push_str(&line);
            last = message.id;
        }
        if lines.is_empty() { Ok(()) } else { self.append(&lines, last) }
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink").field("path", &self.path).field("last", &self.last).finish_non_exhaustive()
    }
}

fn failed_on(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> FileSinkError {
    let path = path.to_owned();
    move |source| FileSinkError::Io { path, doing, source }
}

fn header(engine: u64) -> String {
    let mut line = format!("{MAGIC}{engine:016x}");
    seal(&mut line);
    line
}

fn parse_header(bytes: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(bytes.get(MAGIC.len()..MAGIC.len() + 16)?).ok()?;
    let engine = u64::from_str_radix(digits, 16).ok()?;
    (bytes == header(engine).as_bytes()).then_some(engine)
}

/// Whether these bytes may be what is left of a first line that was being written.
fn is_torn_header(bytes: &[u8]) -> bool {
    let magic = &MAGIC.as_bytes()[..MAGIC.len().min(bytes.len())];
    bytes.iter().all(|byte| *byte == 0) || bytes.starts_with(magic)
}

/// Adds the checksum and the end to a line.
fn seal(line: &mut String) {
    let sum = crc32fast::hash(line.as_bytes());
    writeln!(line, "\t{sum:08x}").expect("a text takes any text");
}

/// The message of the line that `bytes` begin with, and the line's length; none if it isn't whole.
fn whole_line(bytes: &[u8]) -> Option<(MessageId, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = str::from_utf8(&bytes[..end]).ok()?;
    let (text, sum) = line.rsplit_once('\t')?;
    let is_whole = sum == format!("{:08x}", crc32fast::hash(text.as_bytes()));
    let id = text.split('\t').next()?.parse().ok()?;
    is_whole.then_some((id, end + 1))
}
