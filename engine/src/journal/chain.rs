//! The chain: which of the folder's files are the journal.
//!
//! ```text
//! 00000001  00000002  00000003          a rewritten segment has the number of the last that it replaces,
//!  1..90     91..170   171..            and begins with record 1
//!           00000002  00000003
//!            1..170    171..
//! ```
//!
//! Holds true: of two files that begin with record 1 the one with the higher number tells everything that the other
//! and all in between tell: it got its name only when it was whole and durable. What has a lower number is left over
//! from a rewriting that was cut short, and so is a draft; whoever has the folder's lock takes them away.

#[cfg(test)]
mod tests;

use std::io;

use super::{
    disk::{Access, Disk},
    error::OpenError,
    segment::{Block, HEADER_BLOCK, SegmentHeader, VERSION, file_name, segment_number},
};

/// What a rewritten segment is called while it is being made.
pub(crate) const DRAFT: &str = "rewritten.draft";

/// The segments of a journal: `first..=last`; `last` is 0 if there is none.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Files that no longer count.
    pub(crate) left_over: Vec<String>,
}

impl Chain {
    /// Looks at the folder. The numbers must have no gap.
    pub(crate) fn of(disk: &dyn Disk) -> Result<Self, OpenError> {
        let names = list(disk)?;
        let numbers = segments(&names);
        let mut left_over: Vec<_> = names.iter().filter(|name| *name == DRAFT).cloned().collect();
        let Some(&last) = numbers.last() else { return Ok(Self { first: 1, last: 0, left_over }) };
        let first = match covering_of(disk, &numbers, 1)? {
            Some(first) => first,
            None => lowest(disk, &numbers)?,
        };
        let (old, chain) = numbers.split_at(numbers.partition_point(|number| *number < first));
        left_over.extend(old.iter().map(|number| file_name(*number)));
        for (expected, &number) in (first..).zip(chain) {
            if number != expected {
                return Err(gap(disk, &numbers, expected));
            }
        }
        Ok(Self { first, last, left_over })
    }

    /// Takes away what no longer counts. What the disk refuses to take away harms nobody: the next opening, or the next
    /// rewriting, tries again.
    pub(crate) fn tidy(&self, disk: &dyn Disk) {
        for name in &self.left_over {
            let _harmless = disk.remove(name);
        }
    }
}

/// No header begins with record 1: the first file is being made, or it is gone or damaged.
fn lowest(disk: &dyn Disk, numbers: &[u32]) -> Result<u32, OpenError> {
    match numbers[0] {
        1 => Ok(1),
        lowest => Err(gap(disk, numbers, lowest - 1)),
    }
}

/// The error for a gap at `segment`. It may be one that a rewritten segment has left, whose header then has rotted; it
/// is never the last. Otherwise the file is gone.
fn gap(disk: &dyn Disk, numbers: &[u32], segment: u32) -> OpenError {
    let (_, sealed) = numbers.split_last().expect("there is a file behind the gap");
    let rotten = sealed.iter().find(|&&number| number > segment && is_unreadable(disk, number));
    rotten.map_or_else(|| missing(disk, segment), |&rotten| unreadable(disk, rotten))
}

fn is_unreadable(disk: &dyn Disk, segment: u32) -> bool {
    matches!(header_block(disk, segment), Ok(Some(Block::Unreadable)))
}

fn unreadable(disk: &dyn Disk, segment: u32) -> OpenError {
    OpenError::corrupt(disk, &file_name(segment), 0, "its header does not hold")
}

/// The error for a segment that must be there.
pub(crate) fn missing(disk: &dyn Disk, segment: u32) -> OpenError {
    OpenError::corrupt(disk, &file_name(segment), 0, "the file is missing, later ones are there or were")
}

/// The segment in which record `number` is, or would be if it is the next: the highest that begins no later.
pub(crate) fn covering(disk: &dyn Disk, number: u64) -> Result<Option<u32>, OpenError> {
    covering_of(disk, &segments(&list(disk)?), number)
}

fn covering_of(disk: &dyn Disk, numbers: &[u32], number: u64) -> Result<Option<u32>, OpenError> {
    for &segment in numbers.iter().rev() {
        match header_block(disk, segment)? {
            Some(Block::Header(header)) if header.segment == segment && header.first <= number => {
                return Ok(Some(segment));
            }
            Some(Block::Newer { version }) => {
                let file = disk.path().join(file_name(segment));
                return Err(OpenError::NewerVersion { file, version, supported: VERSION });
            }
            // Whoever reads it says what is wrong with it.
            Some(Block::Header(_) | Block::Unreadable) | None => {}
        }
    }
    Ok(None)
}

/// The header block of a segment, if its file is there.
pub(crate) fn header_block(disk: &dyn Disk, segment: u32) -> Result<Option<Block>, OpenError> {
    let name = file_name(segment);
    let failed = |error| OpenError::io(disk, "read", &name, error);
    let file = match disk.open(&name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut block = [0; HEADER_BLOCK];
    let length = file.read_at(&mut block, 0).map_err(failed)?;
    Ok(Some(SegmentHeader::decode(&block[..length])))
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, OpenError> {
    disk.list().map_err(|error| OpenError::io_at(disk.path(), "list", error))
}

fn segments(names: &[String]) -> Vec<u32> {
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    numbers
}
