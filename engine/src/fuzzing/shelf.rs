//! A folder in memory, as fast as a fuzzer wants it. It never fails, loses nothing, and draws the same numbers each
//! time.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use crate::journal::{Access, Disk, DiskFile, FolderLock};

type Contents = Arc<Mutex<Vec<u8>>>;

/// The folder; its clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    files: Arc<Mutex<BTreeMap<String, Contents>>>,
    locked: Arc<AtomicBool>,
}

impl Shelf {
    /// Changes what a file holds; it is made if it isn't there.
    pub(super) fn with<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let file = Arc::clone(self.files.lock().entry(name.to_owned()).or_default());
        let mut contents = file.lock();
        change(&mut contents)
    }

    /// Every file and what it holds.
    pub(super) fn image(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.lock().iter().map(|(name, contents)| (name.clone(), contents.lock().clone())).collect()
    }
}

impl Disk for Shelf {
    fn path(&self) -> &Path {
        Path::new("/shelf")
    }

    fn lock(&self) -> io::Result<Box<dyn FolderLock>> {
        // Relaxed: one thread uses it.
        if self.locked.swap(true, Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(ShelfLock(Arc::clone(&self.locked))))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut files = self.files.lock();
        match files.get(name) {
            Some(file) => Ok(Box::new(ShelfFile(Arc::clone(file)))),
            None if access == Access::Create => {
                Ok(Box::new(ShelfFile(Arc::clone(files.entry(name.into()).or_default()))))
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_small(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(name, |contents| *contents = bytes.to_vec());
        Ok(())
    }

    fn entropy(&self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(0x5e);
        Ok(())
    }
}

#[derive(Debug)]
struct ShelfLock(Arc<AtomicBool>);

impl FolderLock for ShelfLock {}

impl Drop for ShelfLock {
    fn drop(&mut self) {
        // Relaxed: one thread uses it.
        self.0.store(false, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct ShelfFile(Contents);

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a place in memory")
}

impl DiskFile for ShelfFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.0.lock();
        let rest = contents.get(place(offset)..).unwrap_or_default();
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut contents = self.0.lock();
        let end = place(offset) + bytes.len();
        if contents.len() < end {
            contents.resize(end, 0);
        }
        contents[place(offset)..end].copy_from_slice(bytes);
        Ok(())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.0.lock().truncate(place(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
}
