//! A disk in memory that keeps what a real one may lose.
//!
//! Holds true: what was not synced is kept, lost or torn by a seeded choice for each sector of 512 bytes, or of as many
//! as one likes, so that a write may survive in part and out of order; names survive in the order in which they were
//! made, and are gone in any order. A failed sync leaves its sectors readable and *clean*, as Linux does: a later sync
//! does not write them. Every call has a number, and any can fail or be the last before a crash, or the first that
//! finds the disk full. Bits rot where one says.

mod sectors;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use sectors::{Contents, Dice};

use super::{
    chain::DRAFT,
    disk::{Access, Disk, DiskFile, FolderLock},
};

/// What is written whole or not at all, unless a disk is told otherwise.
const SECTOR: usize = 512;

/// What happens at a chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails; the machine goes on.
    Error(io::ErrorKind),
    /// The power goes.
    Crash,
    /// From now on there is no room: no file grows and none is made, until there is room again.
    Full,
}

/// A way to be broken, as a negative control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// `sync_data` says yes and does nothing.
    LyingSync,
    /// `sync_directory` says yes and does nothing.
    LyingDirectorySync,
    /// `sync_data` of what will be a rewritten segment says yes and does nothing.
    UnsyncedDraft,
    /// `sync_directory` says yes and does nothing while the last name that was given is a rewritten segment's.
    UnsyncedRename,
    /// A write of what can be read there already is left out.
    SkipsEqualWrites,
}

#[derive(Debug, Clone)]
enum Naming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

fn apply(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Create(name, file) => {
            names.insert(name.clone(), *file);
        }
        Naming::Rename(from, to) => {
            let file = names.remove(from).expect("a file that was made before");
            names.insert(to.clone(), file);
        }
        Naming::Remove(name) => {
            names.remove(name);
        }
    }
}

#[derive(Debug, Clone)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    namings: Vec<Naming>,
    calls: u64,
    syncs: u64,
    fault: Option<(u64, Fault)>,
    flaw: Option<Flaw>,
    crashed: bool,
    locked: bool,
    dice: u64,
    /// The size of a sector.
    sector: usize,
    /// By how many bytes files may still grow.
    room: Option<usize>,
    /// Whether it keeps what there was after each sync.
    keeps: bool,
    kept: Vec<State>,
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            namings: Vec::new(),
            calls: 0,
            syncs: 0,
            fault: None,
            flaw: None,
            crashed: false,
            locked: false,
            dice: seed,
            sector: SECTOR,
            room: None,
            keeps: false,
            kept: Vec::new(),
        }
    }

    /// Counts a call; an error if it is to fail.
    fn call(&mut self) -> io::Result<()> {
        if self.crashed {
            return Err(io::Error::other("the power is gone"));
        }
        self.calls += 1;
        match self.fault {
            Some((at, Fault::Crash)) if at == self.calls => {
                self.crashed = true;
                Err(io::Error::other("the power went"))
            }
            Some((at, Fault::Error(kind))) if at == self.calls => Err(kind.into()),
            Some((at, Fault::Full)) if at == self.calls => {
                self.room = Some(0);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn dice(&mut self) -> Dice {
        let mut dice = Dice(self.dice);
        self.dice = dice.roll();
        dice
    }

    fn write(&mut self, file: usize, bytes: &[u8], offset: usize) -> io::Result<()> {
        let called = self.call();
        let mut dice = self.dice();
        let contents = &mut self.files[file];
        if called.is_err() {
            // What fails may have been done in part.
            let done = dice.below(bytes.len() + 1);
            contents.write(&bytes[..done], offset, self.sector);
            return called;
        }
        if let Some(room) = &mut self.room {
            let grows = (offset + bytes.len()).saturating_sub(contents.visible.len());
            let lacks = grows.saturating_sub(*room);
            *room = room.saturating_sub(grows);
            if lacks > 0 {
                contents.write(&bytes[..bytes.len().saturating_sub(lacks)], offset, self.sector);
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let equal = contents.visible.get(offset..offset + bytes.len()) == Some(bytes);
        if !(equal && self.flaw == Some(Flaw::SkipsEqualWrites)) {
            contents.write(bytes, offset, self.sector);
        }
        Ok(())
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        let called = self.call();
        self.syncs += u64::from(called.is_ok());
        match (&called, self.crashed) {
            (Ok(()), _) if self.flaw == Some(Flaw::UnsyncedDraft) && self.names.get(DRAFT) == Some(&file) => {}
            (Ok(()), _) if self.flaw != Some(Flaw::LyingSync) => self.files[file].sync(self.sector),
            (Err(_), false) => self.files[file].fail_sync(),
            _ => {}
        }
        if called.is_ok() && self.keeps {
            let mut kept = std::mem::take(&mut self.kept);
            kept.push(self.clone());
            self.kept = kept;
        }
        called
    }

    fn create(&mut self, name: &str) -> io::Result<usize> {
        self.call()?;
        if self.room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.files.len();
        self.files.push(Contents::default());
        self.note(Naming::Create(name.to_owned(), file));
        Ok(file)
    }

    /// Renames or removes the file `name`.
    fn name(&mut self, naming: Naming, name: &str) -> io::Result<()> {
        self.call()?;
        if !self.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.note(naming);
        Ok(())
    }

    fn note(&mut self, naming: Naming) {
        apply(&mut self.names, &naming);
        self.namings.push(naming);
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.call()?;
        let renamed = matches!(self.namings.last(), Some(Naming::Rename(from, _)) if from == DRAFT);
        if self.flaw == Some(Flaw::LyingDirectorySync) || (renamed && self.flaw == Some(Flaw::UnsyncedRename)) {
            return Ok(());
        }
        self.namings.clear();
        self.durable_names = self.names.clone();
        Ok(())
    }
}

/// A folder in memory. Clones are the same folder.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
    folder: PathBuf,
}

impl SimDisk {
    /// An empty folder; `seed` decides what is random.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), folder: PathBuf::from("sim") }
    }

    /// As it is, with sectors of `bytes`.
    pub(crate) fn sectors(self, bytes: usize) -> Self {
        self.state.lock().sector = bytes;
        self
    }

    /// Files may grow by so many bytes together, or by any.
    pub(crate) fn set_room(&self, bytes: Option<usize>) {
        self.state.lock().room = bytes;
    }

    /// As `new`, with a flaw.
    pub(crate) fn flawed(seed: u64, flaw: Flaw) -> Self {
        let disk = Self::new(seed);
        disk.break_by(flaw);
        disk
    }

    /// From now on it has this flaw.
    pub(crate) fn break_by(&self, flaw: Flaw) {
        self.state.lock().flaw = Some(flaw);
    }

    /// Lets `fault` happen at call number `call`, counted from 1.
    pub(crate) fn fault_at(&self, call: u64, fault: Fault) {
        self.state.lock().fault = Some((call, fault));
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// As it is, and from now on it keeps what there is after each sync.
    pub(crate) fn keeping(self) -> Self {
        self.state.lock().keeps = true;
        self
    }

    /// The folder as it was after each sync.
    pub(crate) fn kept(&self) -> Vec<Self> {
        let disk = |state: &State| {
            let state = State { keeps: false, ..state.clone() };
            Self { state: Arc::new(Mutex::new(state)), folder: self.folder.clone() }.copy()
        };
        self.state.lock().kept.iter().map(disk).collect()
    }

    /// From now on `seed` decides what is random.
    pub(crate) fn reseed(&self, seed: u64) {
        self.state.lock().dice = seed;
    }

    /// Syncs of files so far that came back well.
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// What the machine finds when the power is back.
    pub(crate) fn after_crash(&self, seed: u64) -> Self {
        let mut state = self.state.lock().clone();
        let mut dice = Dice(seed);
        let kept = dice.below(state.namings.len() + 1);
        let mut names = state.durable_names.clone();
        for (at, naming) in state.namings.iter().enumerate() {
            let survives = match naming {
                Naming::Remove(_) => dice.below(2) == 0,
                Naming::Create(..) | Naming::Rename(..) => at < kept,
            };
            if survives {
                apply(&mut names, naming);
            }
        }
        for contents in &mut state.files {
            contents.crash(&mut dice);
        }
        let state = State {
            files: state.files,
            names: names.clone(),
            durable_names: names,
            flaw: state.flaw,
            sector: state.sector,
            ..State::new(dice.roll())
        };
        Self { state: Arc::new(Mutex::new(state)), folder: self.folder.clone() }
    }

    /// What the next process finds when this one was killed: all that can be read is there, and what was not synced may
    /// still be lost when the power goes.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn after_kill(&self) -> Self {
        let state = self.state.lock().clone();
        let state = State { fault: None, locked: false, calls: 0, syncs: 0, ..state };
        Self { state: Arc::new(Mutex::new(state)), folder: self.folder.clone() }
    }

    /// Whether nothing has gone wrong, and nothing is about to: whoever wants that calls `fault_at` with `u64::MAX`.
    #[cfg(feature = "sim")]
    pub(crate) fn is_sound(&self) -> bool {
        let state = self.state.lock();
        !state.crashed && state.room.is_none() && state.fault.is_none_or(|(call, _)| call == u64::MAX)
    }

    /// Whether the power is gone.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_dark(&self) -> bool {
        self.state.lock().crashed
    }

    /// An independent copy of what is readable now, all of it durable.
    pub(crate) fn copy(&self) -> Self {
        let mut state = self.state.lock().clone();
        state.namings.clear();
        state.durable_names = state.names.clone();
        state.locked = false;
        state.fault = None;
        for contents in &mut state.files {
            *contents = Contents {
                visible: contents.visible.clone(),
                durable: contents.visible.clone(),
                ..Contents::default()
            };
        }
        Self { state: Arc::new(Mutex::new(state)), folder: self.folder.clone() }
    }

    /// The bytes of a file, to be read or damaged.
    pub(crate) fn with_file<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut state = self.state.lock();
        let file = state.names[name];
        let contents = &mut state.files[file];
        let answer = change(&mut contents.visible);
        contents.durable = contents.visible.clone();
        answer
    }

    /// Lets one bit of a file rot; it was durable, and stays as it is now.
    pub(crate) fn rot(&self, name: &str, bit: usize) {
        self.with_file(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }

    /// Takes a file away for good.
    pub(crate) fn lose(&self, name: &str) {
        let mut state = self.state.lock();
        state.names.remove(name).expect("a file that is there");
        state.durable_names = state.names.clone();
    }

    /// The names of the files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.state.lock().names.keys().cloned().collect()
    }
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn lock(&self) -> io::Result<Box<dyn FolderLock>> {
        let mut state = self.state.lock();
        state.call()?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { state: Arc::clone(&self.state) }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.state.lock().call()?;
        Ok(self.names())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let file = match state.names.get(name) {
            Some(&file) => file,
            None if access == Access::Create => state.create(name)?,
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), file, writable: access != Access::Read }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state.lock().name(Naming::Rename(from.to_owned(), to.to_owned()), from)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state.lock().name(Naming::Remove(name.to_owned()), name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state.lock().sync_names()
    }

    fn write_small(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let draft = format!("{name}.new");
        let file = state.create(&draft)?;
        state.write(file, bytes, 0)?;
        state.sync(file)?;
        state.name(Naming::Rename(draft.clone(), name.to_owned()), &draft)?;
        state.sync_names()
    }

    fn entropy(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut dice = self.state.lock().dice();
        bytes.fill_with(|| dice.roll().to_le_bytes()[0]);
        Ok(())
    }
}

#[derive(Debug)]
struct SimLock {
    state: Arc<Mutex<State>>,
}

impl FolderLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.state.lock().locked = false;
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("the file is in memory")
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    file: usize,
    writable: bool,
}

impl DiskFile for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.call()?;
        let visible = &state.files[self.file].visible;
        let rest = visible.get(place(offset)..).unwrap_or_default();
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(self.writable, "opened for reading");
        self.state.lock().write(self.file, bytes, place(offset))
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call()?;
        state.files[self.file].visible.truncate(place(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state.lock().sync(self.file)
    }

    fn length(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.call()?;
        Ok(state.files[self.file].visible.len() as u64)
    }
}
