//! What can go wrong, and what to do about it.
//!
//! Holds true: every message names the file and the next step; none carries a secret.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::disk::Disk;

/// Why a journal can't be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another engine of this one, has the folder.
    #[error("journal {dir:?} is in use: stop the process that has it, or choose another folder")]
    InUse {
        /// The journal's folder.
        dir: PathBuf,
    },
    /// The path is there, but isn't a folder.
    #[error("{dir:?} is not a folder: a journal is a folder of its own; move the file away or choose another path")]
    NotADirectory {
        /// The path as given.
        dir: PathBuf,
    },
    /// The journal was written by a later version of this library.
    #[error("{file:?} has format {version}, this library reads up to {supported}: use the newer library again")]
    NewerVersion {
        /// The file that says so.
        file: PathBuf,
        /// Its format.
        version: u32,
        /// The latest format that is understood here.
        supported: u32,
    },
    /// Bytes that were durable have changed or are gone.
    #[error("{file:?} is damaged at byte {offset}: {why}; nothing was changed: restore the folder from a copy")]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// The first byte that can't be relied on.
        offset: u64,
        /// What was found there.
        why: String,
    },
    /// The disk is full.
    #[error("no space left while it tried to {what} {path:?}: free some space and open it again")]
    Full {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder can't be written to.
    #[error("not allowed to {what} {path:?}: make the folder and its files writable for this user")]
    ReadOnly {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other failure of the system.
    #[error("could not {what} {path:?}: {source}; check the disk, then open it again")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Every record is whole, but together they can't be: more was sold than there was.
    #[error("journal {dir:?} contradicts itself: {why}; no sale was opened: report this as a bug, with a copy of it")]
    Contradiction {
        /// The journal's folder.
        dir: PathBuf,
        /// The contradiction.
        why: String,
    },
    /// A record is whole but contradicts what came before it.
    #[error("record {record} in {file:?} at byte {offset} contradicts what came before: {why}; report this as a bug")]
    Replay {
        /// The file it is in.
        file: PathBuf,
        /// Where its frame starts.
        offset: u64,
        /// The record's number.
        record: u64,
        /// The contradiction.
        why: String,
    },
}

impl OpenError {
    /// The system's answer to `what`, done to the file `name`.
    pub(crate) fn io(disk: &dyn Disk, what: &'static str, name: &str, source: io::Error) -> Self {
        Self::io_at(&disk.path().join(name), what, source)
    }

    /// The system's answer to `what`, done to `path`.
    pub(crate) fn io_at(path: &Path, what: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotADirectory => Self::NotADirectory { dir: path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { what, path, source },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { what, path, source }
            }
            _ => Self::Io { what, path, source },
        }
    }

    /// Damage at `offset` of the file `name`.
    pub(crate) fn corrupt(disk: &dyn Disk, name: &str, offset: u64, why: impl Into<String>) -> Self {
        Self::Corrupt { file: disk.path().join(name), offset, why: why.into() }
    }
}

/// Why the journal takes no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A write or a sync failed. What was not acknowledged before has an unknown outcome.
    #[error("the journal stopped: {why}; outcomes since then are unknown: open it again to learn them")]
    Failed {
        /// What failed first.
        why: String,
    },
    /// It was closed.
    #[error("the journal is closed: open it again")]
    Closed,
}

/// Why a journal was not compacted. The sale goes on, and the next compaction begins anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// Another compaction of this journal is at work.
    #[error("a compaction is under way: wait for it")]
    UnderWay,
    /// It was asked to end early, because the driver that began it is dropped. Nothing was changed.
    #[error("the compaction was called off; nothing was changed")]
    CalledOff,
    /// The journal has failed.
    #[error("not compacted: {0}")]
    Stopped(#[from] JournalError),
    /// The segments can't be read.
    #[error("not compacted, nothing was changed: {0}")]
    Read(OpenError),
    /// The system refused: the disk is full, or fails. The journal is whole, in its old form or in its new one.
    #[error("could not {what} {path:?}: {source}; the journal is whole: see to the disk, then compact again")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was written does not tell the same as what it should replace, so it did not replace it.
    #[error("the compacted journal would not tell the same: {why}; nothing was changed: report this as a bug")]
    Differs {
        /// The difference.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    //! What the system says is told by what to do about it.

    use super::*;

    #[test]
    fn each_answer_of_the_system_is_told_by_what_to_do() {
        let told = |kind: io::ErrorKind| OpenError::io_at(Path::new("j/1"), "write", kind.into()).to_string();
        for (kind, what_to_do) in [
            (io::ErrorKind::NotADirectory, "a journal is a folder of its own"),
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::QuotaExceeded, "free some space"),
            (io::ErrorKind::ReadOnlyFilesystem, "make the folder and its files writable"),
            (io::ErrorKind::PermissionDenied, "make the folder and its files writable"),
            (io::ErrorKind::Other, "check the disk"),
        ] {
            let told = told(kind);
            assert!(told.contains(what_to_do) && told.contains("j/1"), "{kind}: {told}");
        }
    }
}
