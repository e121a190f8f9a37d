//! The journal's effects: a folder, its files, and randomness.
//!
//! Holds true: nothing else in the journal touches the world, so a disk that fails, lies or forgets can stand in
//! for the real one. What is written is durable once `sync_data` of its file came back well; a new name is durable
//! once `sync_directory` did. No operation is tried again, except a system call that a signal cut short.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Something that unlocks the folder when it is dropped.
pub(crate) trait FolderLock: Send + Sync + fmt::Debug {}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading only; the file must be there.
    Read,
    /// Reading and writing; the file must be there.
    Write,
    /// Reading and writing; the file is made, empty, if it isn't there.
    Create,
}

/// A folder of files.
pub(crate) trait Disk: Send + Sync + fmt::Debug {
    /// The folder, for messages.
    fn path(&self) -> &Path;

    /// Takes the folder for this process and this value alone; `WouldBlock` if somebody has it.
    fn lock(&self) -> io::Result<Box<dyn FolderLock>>;

    /// The names of the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Gives the file `from` the name `to`, in the place of the file that has it; who has that one open keeps it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file's name away; who has it open keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes new names durable, and those that were taken away.
    fn sync_directory(&self) -> io::Result<()>;

    /// Writes a small file that only its owner may read: whole and durable, or not at all.
    fn write_small(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Fills `bytes` with what nobody can guess.
    fn entropy(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads from `offset` until `bytes` is full or the file ends; says how many bytes there were.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, extending the file if need be.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Takes away what lies beyond `length`.
    fn cut(&self, length: u64) -> io::Result<()>;

    /// Makes what was written durable, the file's length included.
    fn sync_data(&self) -> io::Result<()>;

    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// Draws a number that nobody can guess.
pub(crate) fn random_u64(disk: &dyn Disk) -> io::Result<u64> {
    let mut bytes = [0; 8];
    disk.entropy(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The name of the file whose lock stands for the folder's.
const LOCK: &str = "LOCK";

/// A folder of the machine's file system.
#[derive(Debug)]
pub(crate) struct FsDisk {
    folder: PathBuf,
}

impl FsDisk {
    /// The folder `path`, as it is.
    pub(crate) fn at(path: &Path) -> Self {
        Self { folder: path.to_owned() }
    }

    /// The folder `path`, made if it isn't there; only its owner may enter a folder made here.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::metadata(path)?.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Self::at(path))
    }

    /// Keeps everybody from writing here, and writes nothing: none if nobody ever did. `WouldBlock` if somebody has the
    /// folder.
    pub(crate) fn lock_to_read(&self) -> io::Result<Option<Box<dyn FolderLock>>> {
        let file = match File::open(self.folder.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(FsLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Disk for FsDisk {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn lock(&self) -> io::Result<Box<dyn FolderLock>> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(FsLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            // A name that is no UTF-8 is none of the journal's.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read).create(access == Access::Create);
        Ok(Box::new(FsFile { file: options.mode(0o600).open(self.folder.join(name))? }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn write_small(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.folder.join(format!("{name}.new"));
        // A draft that a crash left may have other permissions: the new one starts from nothing.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, self.folder.join(name))?;
        self.sync_directory()
    }

    fn entropy(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}

/// The lock lasts as long as the file is open, also when the process is killed.
#[derive(Debug)]
struct FsLock {
    _file: File,
}

impl FolderLock for FsLock {}

#[derive(Debug)]
struct FsFile {
    file: File,
}

impl DiskFile for FsFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
