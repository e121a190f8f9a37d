//! Group commit: many append, one writes for all who wait.
//!
//! Holds true:
//! - Records are numbered in the order of their appends, and become durable in that order.
//! - `commit` answers `Ok` only when the sync of the frame that carries the position came back, and every
//!   settlement up to it ran, once.
//! - A failed write or sync is final. Nothing is written after it, no settlement of its batch runs, and every
//!   commit that was not acknowledged before answers [`JournalError::Failed`]: its outcome is unknown.
//! - Two buffers: while the leader syncs one, appends go on into the other. An append waits for other appends, and
//!   never for the disk.
//!
//! There is no thread here. The first to call `commit` leads: it takes what was appended, writes it, settles it,
//! and wakes the followers, of whom one leads the next round if it must.
//!
//! Lock order: `desk`, `pending`, `progress`. Settlements run under `desk` only, so they may append, but must not
//! wait for a commit.

use std::{
    collections::BTreeMap,
    fmt, io, mem, ptr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{
    Lsn,
    disk::{Disk, FolderLock, random_u64},
    error::{JournalError, OpenError},
    frame::{FrameBuffer, LARGEST_PAYLOAD, MAX_PAYLOAD, Mark},
    record::Record,
    recovery::{Replay, recover},
    rewrite::Rewriting,
    secret::Secret,
    segment::{SegmentWriter, Sizes},
    stats::JournalStats,
    tail::Tail,
};
use crate::core::Timestamp;

/// Records that may wait for a commit: some 8 MiB of orders.
const BEHIND: u64 = 1 << 16;
/// Buyers in one record; a longer list becomes several.
const REGISTERED_TOGETHER: usize = 1 << 16;

/// What is to be done once a batch is durable, and never if it fails.
pub(crate) trait Settle: Send {
    /// Does it, on the leader's thread. It must be short and must not wait for a commit.
    fn settle(self);
}

impl Settle for () {
    fn settle(self) {}
}

/// How a journal is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalOptions {
    /// What time it is.
    pub(crate) now: Timestamp,
    /// A segment that would exceed this many bytes is followed by another.
    pub(crate) segment_bytes: u64,
    /// Segments are filled with zeros in steps of this many bytes.
    pub(crate) fill_bytes: u64,
    /// The payload up to which appends share a frame, at most 8 MiB.
    pub(crate) frame_bytes: usize,
    /// The payload up to which an append has a frame alone and isn't parted, at most 1 GiB.
    pub(crate) append_bytes: usize,
}

impl JournalOptions {
    /// The usual sizes: segments of 64 MiB, filled by 1 MiB; frames of 8 MiB, one append never parted.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            now,
            segment_bytes: 64 << 20,
            fill_bytes: 1 << 20,
            frame_bytes: MAX_PAYLOAD,
            append_bytes: LARGEST_PAYLOAD,
        }
    }
}

/// What was appended and not yet taken by a leader.
#[derive(Debug)]
struct Pending<S> {
    frames: FrameBuffer,
    settlements: Vec<S>,
    /// The number of the last record appended.
    end: u64,
    closed: bool,
}

/// The leader's own: the writer and the buffer that is not being appended to.
#[derive(Debug)]
struct Desk<S> {
    writer: SegmentWriter,
    frames: FrameBuffer,
    settlements: Vec<S>,
}

/// Who leads, who waits, and whether it is over.
#[derive(Debug, Default)]
struct Progress {
    leading: bool,
    failed: Option<JournalError>,
    /// By position, then by the waker's identity: a future that asks twice is kept once.
    wakers: BTreeMap<(u64, usize, usize), Waker>,
}

/// What is called when the journal fails.
type OnFailure = Box<dyn Fn() + Send + Sync>;

/// The journal, open for appending.
pub(crate) struct Journal<S> {
    pending: Mutex<Pending<S>>,
    desk: Mutex<Desk<S>>,
    progress: Mutex<Progress>,
    moved: Condvar,
    /// The number of the last record whose batch is durable and settled.
    durable: AtomicU64,
    appended: AtomicU64,
    failed: AtomicBool,
    bytes: AtomicU64,
    /// Bytes of records that may be dropped, since the last rewriting.
    passing: AtomicU64,
    /// The segment that is written to: all before it are whole, durable and settled.
    segment: AtomicU32,
    pub(super) rewriting: Rewriting,
    sizes: Sizes,
    on_failure: OnceLock<OnFailure>,
    told: AtomicBool,
    secret: Secret,
    engine_id: u64,
    epoch: u32,
    incarnation: u64,
    disk: Arc<dyn Disk>,
    _lock: Box<dyn FolderLock>,
}

impl<S> fmt::Debug for Journal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("epoch", &self.epoch)
            .field("durable", &self.durable)
            .field("appended", &self.appended)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// One append in the making: its records follow each other in the journal and, up to 1 GiB, are recovered together
/// or not at all.
#[derive(Debug)]
pub(crate) struct Batch<'a, S> {
    frames: &'a mut FrameBuffer,
    settlements: &'a mut Vec<S>,
    records: u64,
    /// Bytes of the records that tell of what passes.
    passing: u64,
}

impl<S> Batch<'_, S> {
    /// Adds a record. A long list of registered buyers becomes several records.
    pub(crate) fn push(&mut self, record: &Record) {
        match record {
            Record::Registered { sale, buyers } if buyers.len() > REGISTERED_TOGETHER => {
                for buyers in buyers.chunks(REGISTERED_TOGETHER) {
                    let _stays = self.push_with(|out| Record::encode_registered(*sale, buyers, out));
                }
            }
            record => {
                let size = self.push_with(|out| record.encode(out));
                if record.passes() {
                    self.passing += size;
                }
            }
        }
    }

    fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        self.records += 1;
        self.frames.push(encode)
    }

    /// Leaves what is to be done once the batch is durable.
    pub(crate) fn settle_with(&mut self, settlement: S) {
        self.settlements.push(settlement);
    }
}

/// Takes an append back when its closure panics.
struct Undo<'a, S> {
    pending: MutexGuard<'a, Pending<S>>,
    mark: Mark,
    settlements: usize,
    keep: bool,
}

impl<S> Drop for Undo<'_, S> {
    fn drop(&mut self) {
        if !self.keep {
            self.pending.frames.roll_back(self.mark);
            self.pending.settlements.truncate(self.settlements);
        }
    }
}

/// Stops the journal when a leader panics, so that no follower waits for ever.
struct Lead<'a, S: Settle> {
    journal: &'a Journal<S>,
    done: bool,
}

impl<S: Settle> Drop for Lead<'_, S> {
    fn drop(&mut self) {
        if !self.done {
            self.journal.fail("the commit's leader panicked".to_owned());
        }
    }
}

impl<S: Settle> Journal<S> {
    /// Locks the folder, hands every durable record to `replay` in order, and begins a new epoch, durably.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed unless it is a failed write.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        replay: &mut Replay<'_>,
    ) -> Result<Self, OpenError> {
        let lock = disk.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse { dir: disk.path().to_owned() },
            _ => OpenError::io_at(disk.path(), "lock", error),
        })?;
        let sizes = Sizes { segment_bytes: options.segment_bytes, fill_bytes: options.fill_bytes };
        let recovered = recover(&disk, sizes, replay)?;
        let mut writer = recovered.writer;
        let Some(epoch) = recovered.epoch.checked_add(1) else {
            return Err(OpenError::corrupt(disk.as_ref(), &writer.name(), 0, "its epochs are used up"));
        };
        let incarnation =
            random_u64(disk.as_ref()).map_err(|error| OpenError::io_at(disk.path(), "draw a number for", error))?;
        let mut frames = FrameBuffer::parting(options.frame_bytes, options.append_bytes);
        frames.begin();
        frames.push(|out| Record::Opened { epoch, incarnation, at: options.now }.encode(out));
        let bytes = recovered.bytes + frames.frame_bytes();
        let opened = frames.write(|frame, part| writer.append(frame, part, epoch));
        opened.map_err(|error| OpenError::io(disk.as_ref(), "write", &writer.name(), error))?;
        frames.clear(MAX_PAYLOAD);
        let (end, segment) = (writer.next() - 1, writer.segment());
        Ok(Self {
            pending: Mutex::new(Pending {
                frames: FrameBuffer::parting(options.frame_bytes, options.append_bytes),
                settlements: Vec::new(),
                end,
                closed: false,
            }),
            desk: Mutex::new(Desk { writer, frames, settlements: Vec::new() }),
            progress: Mutex::new(Progress::default()),
            moved: Condvar::new(),
            durable: AtomicU64::new(end),
            appended: AtomicU64::new(end),
            failed: AtomicBool::new(false),
            bytes: AtomicU64::new(bytes),
            passing: AtomicU64::new(recovered.passing),
            segment: AtomicU32::new(segment),
            rewriting: Rewriting::new(recovered.first),
            sizes,
            on_failure: OnceLock::new(),
            told: AtomicBool::new(false),
            secret: recovered.secret,
            engine_id: recovered.identity.engine_id,
            epoch,
            incarnation,
            disk,
            _lock: lock,
        })
    }

    /// The epoch that this opening began; larger than all before.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A random number of this opening: it differs when a restored copy begins the same epoch again.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// A random number of this journal, the same for ever.
    pub(crate) fn engine_id(&self) -> u64 {
        self.engine_id
    }

    /// The folder's secret.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        self.secret.bytes()
    }

    /// A reader of this journal, at its beginning; `durable` is its limit.
    ///
    /// # Errors
    /// [`OpenError`] if the first segment can't be read.
    pub(crate) fn tail(&self) -> Result<Tail, OpenError> {
        Tail::on(Arc::clone(&self.disk))
    }

    /// How much is durable.
    pub(crate) fn stats(&self) -> JournalStats {
        let (compactions, failed_compactions) = self.rewriting.counts();
        // Relaxed: a report; the numbers may be one commit apart.
        JournalStats {
            records: self.durable.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            passing_bytes: self.passing.load(Ordering::Relaxed),
            segments: self.rewriting.segments(self.segment.load(Ordering::Relaxed)),
            compactions,
            failed_compactions,
            compaction_due: self.is_rewriting_due(),
        }
    }

    /// Whether so much was written that may be dropped that rewriting is worth its work.
    pub(crate) fn is_rewriting_due(&self) -> bool {
        // Relaxed: what is seen late is seen at the next look.
        let (passing, bytes) = (self.passing.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        passing >= self.sizes.segment_bytes.max(bytes / 3).max(self.rewriting.not_before())
    }

    /// The segments that can be rewritten lie before this one: they are whole, durable and settled.
    pub(super) fn segment(&self) -> u32 {
        // Acquire: pairs with the Release in `lead`.
        self.segment.load(Ordering::Acquire)
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Bytes are not there any more; and `passing` bytes that could be dropped were, or are carried now.
    pub(super) fn note_rewritten(&self, bytes: u64, passing: u64) {
        // Relaxed: a report.
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.passing.fetch_sub(passing, Ordering::Relaxed);
    }

    /// Bytes that may be dropped, more or less.
    pub(super) fn passing(&self) -> u64 {
        // Relaxed: a report.
        self.passing.load(Ordering::Relaxed)
    }

    /// The size from which on a segment is followed by another.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.sizes.segment_bytes
    }

    /// Appends what `build` pushes, and says up to which position it goes: the position to commit.
    ///
    /// Appends wait for each other, so `build` should be short; it must not use the journal. If it panics, nothing
    /// was appended. Memory is the caller's to bound: once it `is_behind`, commit before appending more.
    ///
    /// # Errors
    /// [`JournalError`] if the journal failed or was closed; `build` did not run then.
    pub(crate) fn append<T>(&self, build: impl FnOnce(&mut Batch<'_, S>) -> T) -> Result<(T, Lsn), JournalError> {
        let mut pending = self.pending.lock();
        self.check()?;
        if pending.closed {
            return Err(JournalError::Closed);
        }
        let (mark, settlements) = (pending.frames.begin(), pending.settlements.len());
        let mut undo = Undo { pending, mark, settlements, keep: false };
        let Pending { frames, settlements, .. } = &mut *undo.pending;
        let mut batch = Batch { frames, settlements, records: 0, passing: 0 };
        let answer = build(&mut batch);
        let Batch { records, passing, .. } = batch;
        // Relaxed: a report.
        self.passing.fetch_add(passing, Ordering::Relaxed);
        undo.keep = true;
        undo.pending.end += records;
        let end = undo.pending.end;
        // Release: pairs with the Acquire in `has_pending`; whoever sees the position finds its records.
        self.appended.store(end, Ordering::Release);
        Ok((answer, Lsn(end)))
    }

    /// Bytes that were appended and wait for a commit.
    #[cfg(test)]
    pub(crate) fn backlog(&self) -> usize {
        self.pending.lock().frames.length()
    }

    /// Makes everything up to `lsn` durable, or waits until somebody else did.
    ///
    /// # Errors
    /// [`JournalError::Failed`]: what was not durable before has an unknown outcome.
    pub(crate) fn commit(&self, lsn: Lsn) -> Result<(), JournalError> {
        if self.is_durable(lsn) {
            return Ok(());
        }
        let mut progress = self.progress.lock();
        loop {
            if self.is_durable(lsn) {
                return Ok(());
            }
            if let Some(failed) = &progress.failed {
                return Err(failed.clone());
            }
            if progress.leading {
                self.moved.wait(&mut progress);
                continue;
            }
            progress.leading = true;
            drop(progress);
            let durable = self.lead();
            progress = self.progress.lock();
            // A position that was never handed out would be waited for in vain.
            debug_assert!(durable.is_none_or(|durable| durable >= lsn), "a position comes from this journal's append");
            if durable.is_some() {
                return Ok(());
            }
        }
    }

    /// Writes, syncs and settles what is pending. It says what is durable then, or nothing if it failed.
    fn lead(&self) -> Option<Lsn> {
        let mut lead = Lead { journal: self, done: false };
        let mut desk = self.desk.lock();
        let Desk { writer, frames, settlements } = &mut *desk;
        let end = {
            let mut pending = self.pending.lock();
            mem::swap(&mut pending.frames, frames);
            mem::swap(&mut pending.settlements, settlements);
            pending.end
        };
        let bytes = frames.frame_bytes();
        let written = frames.write(|frame, part| writer.append(frame, part, self.epoch));
        frames.clear(MAX_PAYLOAD);
        if let Err(error) = written {
            let why = format!("could not write {}: {error}", writer.name());
            settlements.clear();
            lead.done = true;
            drop(desk);
            self.fail(why);
            return None;
        }
        for settlement in settlements.drain(..) {
            settlement.settle();
        }
        settlements.shrink_to(1 << 16);
        // Relaxed: a report.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let segment = writer.segment();
        drop(desk);
        lead.done = true;
        self.advance(end);
        // Release: who finds the segment finds all before it settled; pairs with the Acquire in `segment`.
        self.segment.fetch_max(segment, Ordering::Release);
        Some(Lsn(end))
    }

    /// Acknowledges everything up to `end`.
    fn advance(&self, end: u64) {
        let mut progress = self.progress.lock();
        // Release: publishes what the settlements wrote; pairs with the Acquire in `durable`.
        self.durable.store(end, Ordering::Release);
        progress.leading = false;
        let later = progress.wakers.split_off(&(end + 1, 0, 0));
        let due = mem::replace(&mut progress.wakers, later);
        drop(progress);
        self.moved.notify_all();
        due.into_values().for_each(Waker::wake);
    }

    /// Stops the journal for good, and tells everybody.
    fn fail(&self, why: String) {
        let mut progress = self.progress.lock();
        progress.failed.get_or_insert(JournalError::Failed { why });
        progress.leading = false;
        let due = mem::take(&mut progress.wakers);
        // Release: pairs with the Acquire in `check` and `tell`, which then find the reason.
        self.failed.store(true, Ordering::Release);
        drop(progress);
        self.tell();
        self.moved.notify_all();
        due.into_values().for_each(Waker::wake);
    }

    /// Answers with the failure, if there was one.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        // Acquire: pairs with the Release in `fail`.
        if self.failed.load(Ordering::Acquire)
            && let Some(failed) = &self.progress.lock().failed
        {
            return Err(failed.clone());
        }
        Ok(())
    }

    /// Calls `call` once if the journal fails, or at once if it has. A second callback is not taken.
    pub(crate) fn on_failure(&self, call: impl Fn() + Send + Sync + 'static) {
        // A second one would change who hears of it: the first stays.
        let _ = self.on_failure.set(Box::new(call));
        // Acquire: pairs with the Release in `fail`. If it failed before the callback was there, nobody told it.
        if self.failed.load(Ordering::Acquire) {
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(call) = self.on_failure.get() {
            // AcqRel: of `fail` and `on_failure`, the first here calls.
            if !self.told.swap(true, Ordering::AcqRel) {
                call();
            }
        }
    }

    /// Whether so many records wait for a commit that whoever appended last should do it.
    pub(crate) fn is_behind(&self, end: Lsn) -> bool {
        end.0 > self.durable().0 + BEHIND
    }

    /// Why it stopped, if it has.
    pub(crate) fn failure(&self) -> Option<JournalError> {
        self.check().err()
    }

    /// The position of the last append.
    ///
    /// It waits for an append that is under way. Of an append and this look one comes first: this sees the append, or
    /// who appended sees all that was done before this, as a driver that ends must rely on.
    pub(crate) fn appended(&self) -> Lsn {
        Lsn(self.pending.lock().end)
    }

    /// The last position that is durable and settled.
    pub(crate) fn durable(&self) -> Lsn {
        // Acquire: pairs with the Release in `advance`; what the settlements wrote is seen.
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Whether everything up to `lsn` is durable and settled.
    pub(crate) fn is_durable(&self, lsn: Lsn) -> bool {
        self.durable() >= lsn
    }

    /// Whether something was appended that isn't durable yet and may still become so.
    pub(crate) fn has_pending(&self) -> bool {
        // Acquire: pairs with the Release in `append`; with the Release in `fail`, after which nothing gets durable.
        self.appended.load(Ordering::Acquire) > self.durable().0 && !self.failed.load(Ordering::Acquire)
    }

    /// Wakes `waker` once `lsn` is durable or the journal failed. False, and not registered, if that is so already.
    ///
    /// It does not commit: somebody must call `commit`.
    pub(crate) fn register(&self, lsn: Lsn, waker: &Waker) -> bool {
        let mut progress = self.progress.lock();
        if progress.failed.is_some() || self.is_durable(lsn) {
            return false;
        }
        let identity = (lsn.0, waker.data().addr(), ptr::from_ref(waker.vtable()).addr());
        progress.wakers.entry(identity).or_insert_with(|| waker.clone());
        true
    }

    /// Commits what is pending and takes nothing more. Dropping a journal commits nothing.
    ///
    /// # Errors
    /// As `commit`.
    pub(crate) fn close(&self) -> Result<(), JournalError> {
        let end = {
            let mut pending = self.pending.lock();
            pending.closed = true;
            pending.end
        };
        self.commit(Lsn(end))
    }
}
