//! What a journal tells of itself.
//!
//! Holds true: it is a report; its figures are read one after the other, and may be one commit apart.

/// How much a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JournalStats {
    /// Durable records, those of former runs and those that were dropped since included.
    pub records: u64,
    /// Bytes of the frames that are there.
    pub bytes: u64,
    /// Those of them, at most, that the next compaction drops: records of holds, of their ends and of waitlists,
    /// written since the last compaction or before the first. What is still wanted of them is as little as what is
    /// held.
    pub passing_bytes: u64,
    /// Files.
    pub segments: u32,
    /// Compactions since it was opened.
    pub compactions: u64,
    /// Compactions that failed since it was opened.
    pub failed_compactions: u64,
    /// Whether [`Engine::compact`](crate::Engine::compact) is worth its work now: of all bytes, more than a segment and
    /// more than a third are passing. A [driver](crate::Engine::drive) does it then by itself.
    pub compaction_due: bool,
}
