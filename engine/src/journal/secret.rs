//! The folder's secret: 32 random bytes from which the engine makes its keys.
//!
//! Holds true: it is durable before the first segment is made, never changes, and leaves the process neither
//! through `Debug` nor through memory that was given back.

use std::{fmt, io, path::Path};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{
    disk::{Access, Disk, FsDisk},
    error::OpenError,
};

/// The file's name.
pub(crate) const SECRET_FILE: &str = "secret";

const MAGIC: [u8; 8] = *b"SELLOUTK";
const VERSION: u32 = 1;
const SECRET_AT: usize = 12;
const CRC_AT: usize = 44;
const FILE_BYTES: usize = 48;

/// 32 bytes that nobody else knows. Boxed, so that a move leaves no copy.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret(Box<[u8; 32]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the folder's secret; without one, `None`.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, OpenError> {
        let failed = |error| OpenError::io(disk, "read", SECRET_FILE, error);
        let file = match disk.open(SECRET_FILE, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // One byte more than it has shows what is too long.
        let mut block = Zeroizing::new([0; FILE_BYTES + 1]);
        let length = file.read_at(&mut *block, 0).map_err(failed)?;
        let bytes = &block[..length];
        let corrupt = |offset: usize, why| Err(OpenError::corrupt(disk, SECRET_FILE, offset as u64, why));
        let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
            return corrupt(bytes.len(), "it is cut short");
        };
        if *magic != MAGIC {
            return corrupt(0, "it is not the secret of a journal");
        }
        if let Some(version) = rest.first_chunk().map(|version| u32::from_le_bytes(*version))
            && version > VERSION
        {
            let file = disk.path().join(SECRET_FILE);
            return Err(OpenError::NewerVersion { file, version, supported: VERSION });
        }
        if bytes.len() != FILE_BYTES || crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return corrupt(0, "its checksum does not hold");
        }
        let mut secret = Self(Box::new([0; 32]));
        secret.0.copy_from_slice(&bytes[SECRET_AT..CRC_AT]);
        Ok(Some(secret))
    }

    /// Draws a secret and makes it durable.
    pub(crate) fn create(disk: &dyn Disk) -> Result<Self, OpenError> {
        let mut secret = Self(Box::new([0; 32]));
        disk.entropy(&mut *secret.0).map_err(|error| OpenError::io(disk, "draw", SECRET_FILE, error))?;
        let mut bytes = Zeroizing::new([0; FILE_BYTES]);
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..SECRET_AT].copy_from_slice(&VERSION.to_le_bytes());
        bytes[SECRET_AT..CRC_AT].copy_from_slice(secret.bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        disk.write_small(SECRET_FILE, &*bytes).map_err(|error| OpenError::io(disk, "write", SECRET_FILE, error))?;
        Ok(secret)
    }
}

/// Draws a secret for a folder that was put together by hand.
#[cfg(any(test, fuzzing))]
pub(crate) fn keep_secret(disk: &dyn Disk) -> Result<(), OpenError> {
    Secret::create(disk).map(drop)
}

/// The secret of the journal in `dir`, for a reader.
pub(crate) fn read_secret(dir: &Path) -> Result<Secret, OpenError> {
    let disk = FsDisk::at(dir);
    let missing = || OpenError::corrupt(&disk, SECRET_FILE, 0, "it is missing");
    Secret::read(&disk)?.ok_or_else(missing)
}
