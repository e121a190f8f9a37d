//! What is said of a folder in which a file is missing.
//!
//! Properties: 1. the file that is missing is named, or the one whose header has rotted, if that may be why; 2. a file
//! that the system can't read is not taken for one that isn't there.

use std::sync::Arc;

use super::{super::*, *};
use crate::journal::{
    disk::FsDisk,
    sim_disk::{Fault, SimDisk},
    tests::{SMALL, note},
};

/// A journal of several segments.
fn written() -> SimDisk {
    let disk = SimDisk::new(4);
    let journal: Journal<()> = Journal::open(Arc::new(disk.clone()), SMALL, &mut |_| Ok(())).unwrap();
    for id in 0..100 {
        let ((), end) = journal.append(|batch| batch.push(&note(id))).unwrap();
        journal.commit(end).unwrap();
    }
    assert!(journal.segment() > 4);
    drop(journal);
    disk
}

/// The file that is named, and why.
fn refused(disk: &SimDisk) -> (String, String) {
    let Err(OpenError::Corrupt { file, offset: 0, why }) = Chain::of(disk) else { panic!("it is damaged") };
    (file.file_name().unwrap().to_str().unwrap().to_owned(), why)
}

#[test]
fn what_is_missing_at_the_beginning_is_named() {
    let disk = written();
    disk.lose(&file_name(1));
    assert_eq!(refused(&disk).0, file_name(1));
    disk.lose(&file_name(2));
    assert_eq!(refused(&disk).0, file_name(2), "the nearest one that must be there");
    assert!(refused(&disk).1.contains("missing"));
    // It may have been rewritten, and stand for those before it.
    disk.rot(&file_name(3), 100);
    assert_eq!(refused(&disk).0, file_name(3));
    assert!(refused(&disk).1.contains("header"));
}

#[test]
fn a_gap_is_named_or_what_may_have_left_it() {
    let disk = written();
    disk.lose(&file_name(2));
    assert_eq!(refused(&disk).0, file_name(2));
    disk.rot(&file_name(1), 100);
    assert_eq!(refused(&disk).0, file_name(2), "what stands before a gap has not left it");
    disk.rot(&file_name(3), 100);
    assert_eq!(refused(&disk).0, file_name(3));
}

#[test]
fn a_file_that_cant_be_read_is_not_one_that_isnt_there() {
    let disk = written();
    assert!(matches!(header_block(&disk, 99), Ok(None)));
    let calls = disk.calls();
    disk.fault_at(calls + 1, Fault::Error(io::ErrorKind::PermissionDenied));
    let failed = header_block(&disk, 1);
    assert!(matches!(failed, Err(OpenError::ReadOnly { what: "read", .. })), "{failed:?}");
    assert!(matches!(header_block(&disk, 1), Ok(Some(Block::Header(_)))));
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(file_name(1), folder.path().join(file_name(1))).unwrap();
    let failed = header_block(&FsDisk::at(folder.path()), 1);
    assert!(matches!(failed, Err(OpenError::Io { what: "read", .. })), "it names itself: {failed:?}");
}
