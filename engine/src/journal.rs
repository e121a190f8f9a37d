//! The journal: the local log in which every confirmed sale survives.
//!
//! ```text
//! folder/  LOCK               held by the one process that writes
//!          secret             32 random bytes, from which keys are made
//!          00000001.journal   a header block, then frames, then zeros
//!          00000002.journal
//!          rewritten.draft    while the first segments are rewritten
//! ```
//!
//! Holds true: what was acknowledged is found again, in order and once, after kill -9, power loss and torn writes
//! (guarantee G4). A failed write or sync is final: what it carried has an unknown outcome until the journal is
//! opened again, and nothing is tried a second time or taken back. Bytes that were durable and are no longer there
//! are an error that says where, never a shorter history.
//!
//! It owns no thread. Whoever first waits for a position writes for everybody who waits.
//!
//! Its first segments can be rewritten into one that leaves out what has passed: see `rewrite`. Records keep their
//! numbers, and orders stay for ever: the journal is what Redis is filled from again when a failover lost acknowledged
//! writes.

mod chain;
mod commit;
mod disk;
mod error;
mod frame;
mod record;
mod recovery;
mod rewrite;
mod salvage;
mod secret;
mod segment;
#[cfg(any(test, feature = "sim"))]
#[cfg_attr(not(test), expect(dead_code, reason = "some of its faults are for the journal's own tests"))]
mod sim_disk;
mod stats;
mod tail;
#[cfg(test)]
mod tests;
mod torn;

pub(crate) use commit::{Batch, Journal, JournalOptions, Settle};
pub(crate) use disk::{Access, Disk, DiskFile, FsDisk};
pub(crate) use record::{
    BasketConfirmedRecord, BasketHeldRecord, Carried, CarriedLate, CarriedNote, CarriedSlot, Change, ConfirmedRecord,
    DetailRecord, HeldRecord, Notice, Record, Unqueued,
};
pub(crate) use rewrite::Rewrite;
pub(crate) use salvage::{Piece, Salvage};
pub(crate) use secret::read_secret;
#[cfg(any(test, feature = "sim"))]
pub(crate) use sim_disk::{Fault, Flaw, SimDisk};
pub(crate) use tail::{Position, Tail};

/// What a fuzzer needs to write what no journal would.
#[cfg(any(test, fuzzing))]
pub(crate) use {
    disk::FolderLock,
    frame::FrameBuffer,
    secret::{SECRET_FILE, keep_secret},
    segment::{Identity, SegmentHeader, SegmentWriter, Sizes, VERSION, file_name},
};

pub use error::{CompactError, JournalError, OpenError};
pub use rewrite::Compacted;
pub use salvage::{Damage, DamagedPlace};
pub use stats::JournalStats;

/// A position in the journal: the number of the last record before it. Records count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Lsn(pub(crate) u64);
