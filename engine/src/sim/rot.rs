//! Bit rot: a bit of what lies on the disk flips while nobody looks.
//!
//! What holds, or is found: the next opening refuses, names the file and a place no later than the bit, and changes
//! nothing; or the bit was in nothing that was written, and the engine is as without it. The only exception is the one
//! that the book makes: a last frame of which rot has left what a torn write leaves.

use super::{
    dice::Dice,
    oracle::{Checked, ensure},
};
use crate::{
    Engine, OpenError,
    journal::{Disk as _, SimDisk},
};

/// What becomes of a bit that flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotted {
    Refused,
    Harmless,
    PassedForTorn,
}

/// Every file with its bytes.
fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let bytes = |name: String| {
        let bytes = disk.with_file(&name, |bytes| bytes.clone());
        (name, bytes)
    };
    disk.names().into_iter().map(bytes).collect()
}

/// How an engine is.
fn state(engine: &Engine) -> String {
    let rules: Vec<_> = engine.sales().iter().map(crate::Sale::spec).collect();
    format!("{:?} {rules:?} {}", engine.audit(), engine.is_paused())
}

/// Whether rot at `at`, in the last segment, has left what a torn write leaves: no more of its sector, or of the file.
fn may_pass_for_torn(bytes: &[u8], at: usize) -> bool {
    let sector = (at / 512 + 1) * 512;
    [sector.min(bytes.len()), bytes.len()].iter().any(|end| bytes[at..*end].iter().all(|byte| *byte == 0))
}

/// Flips a bit of a copy of `disk`, and lets `open` open it. With `smoothed`, a negative control, what lies behind the
/// bit's sector is wiped, as by an opening that takes all rot for a torn write.
pub(super) fn rot(
    disk: &SimDisk,
    open: impl Fn(&SimDisk) -> Result<Engine, OpenError>,
    dice: &mut Dice,
    smoothed: bool,
) -> Checked<Rotted> {
    let (rotten, sound) = (disk.copy(), disk.copy());
    let names = rotten.names();
    let name = dice.place(names.len()).map(|place| &names[place]).ok_or("G4: the disk is empty")?;
    let bytes = rotten.with_file(name, |bytes| bytes.clone());
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Seldom where nothing was written.
    let within = if dice.one_in(8) { bytes.len() } else { (written + 16).min(bytes.len()) };
    let Some(bit) = dice.place(within * 8) else { return Ok(Rotted::Harmless) };
    let at = bit / 8;
    rotten.rot(name, bit);
    let is_last = names.iter().rfind(|name| name.ends_with(".journal")) == Some(name);
    let excused = is_last && may_pass_for_torn(&rotten.with_file(name, |bytes| bytes.clone()), at);
    if smoothed && at >= 4_096 {
        rotten.with_file(name, |bytes| bytes[at / 512 * 512..].fill(0));
        let later = names.iter().filter(|other| other.ends_with(".journal") && *other > name);
        later.for_each(|name| rotten.lose(name));
    }
    let before = contents(&rotten);
    let place = || format!("bit {bit} of {name}, of {} bytes with {written} written", bytes.len());
    match open(&rotten) {
        Err(OpenError::Corrupt { file, offset, why }) => {
            let right = file == disk.path().join(name) && offset <= at as u64;
            ensure!(right, "G4: {} has rotted, and {file:?} is refused at {offset}: {why}", place());
        }
        Err(OpenError::NewerVersion { file, .. }) => {
            ensure!(file == disk.path().join(name), "G4: {} has rotted, and {file:?} is refused", place());
        }
        Err(other) => return Err(format!("G4: {} has rotted: {other}", place())),
        Ok(engine) => {
            let told = state(&engine);
            let sound = open(&sound).map_err(|why| format!("G4: it can't be opened again: {why}"))?;
            if told == state(&sound) {
                return Ok(Rotted::Harmless);
            }
            ensure!(excused, "G4: {} has rotted, and was taken for a torn write", place());
            return Ok(Rotted::PassedForTorn);
        }
    }
    ensure!(contents(&rotten) == before, "G4: {} has rotted, was refused, and something was changed", place());
    Ok(Rotted::Refused)
}
