//! Holds that come and go: how much of a disk the journal takes, and how long it takes to open it again, before and
//! after a compaction.

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use sellout::{CompactError, CreateError, Engine, JournalError, OpenError, SaleSpec};

use crate::crowd::buyer;

/// Units on sale, all of them held and given back again and again.
const UNITS: u32 = 2_000;
/// No hold falls due while it is measured.
const HOUR: Duration = Duration::from_hours(1);

/// Why it could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChurnError {
    /// The folder for the journal.
    #[error("no folder for a journal: {0}; name another place with --dir")]
    Folder(#[source] io::Error),
    /// The sale could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The journal could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal has failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal could not be compacted.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// The figures could not be shown.
    #[error("the figures could not be written to the standard output: {0}")]
    Show(#[from] io::Error),
}

/// A journal at rest.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct AtRest {
    /// What its files take.
    pub disk_bytes: u64,
    /// How many segments there are.
    pub segments: u32,
    /// How long it takes to open it.
    pub recovery_s: f64,
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Churn {
    /// Holds that were made and cancelled.
    pub holds: u64,
    /// Before the compaction.
    pub before: AtRest,
    /// How long the compaction took.
    pub compaction_s: f64,
    /// After it.
    pub after: AtRest,
}

impl Churn {
    /// Makes and cancels `holds` holds on a journal in a new folder under `dir`, which is removed afterwards.
    ///
    /// # Errors
    /// [`ChurnError`] if the folder can't be used.
    pub fn measure(holds: u64, dir: &Path) -> Result<Self, ChurnError> {
        let folder = tempfile::Builder::new().prefix("sellout-churn-").tempdir_in(dir).map_err(ChurnError::Folder)?;
        let journal = folder.path().join("journal");
        let engine = Engine::open(&journal)?;
        let sale = engine.create(SaleSpec::new("mx3", UNITS).hold_for(HOUR))?;
        let mut made = 0;
        while made < holds {
            // Each round is written down twice: as it is held, and as it has ended.
            let round = (holds - made).min(UNITS.into());
            let tokens: Vec<_> = (made..made + round)
                .filter_map(|number| sale.reserve(buyer(number), 1).ok())
                .map(|hold| hold.token())
                .collect();
            engine.tick(engine.now());
            for token in &tokens {
                // It can't have ended: it was made a moment ago, and lasts an hour.
                let _cancelled = sale.cancel(token);
            }
            engine.tick(engine.now());
            made += round;
        }
        engine.close()?;
        drop(sale);
        let (before, engine) = at_rest(&journal)?;
        let began = Instant::now();
        engine.compact()?;
        let compaction_s = began.elapsed().as_secs_f64();
        engine.close()?;
        let (after, _) = at_rest(&journal)?;
        Ok(Self { holds: made, before, compaction_s, after })
    }

    /// Writes the figures for people.
    ///
    /// # Errors
    /// What `out` says.
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { holds, before, compaction_s, after } = self;
        writeln!(out, "{holds} holds made and cancelled, of {UNITS} units; compacted in {compaction_s:.2} s")?;
        writeln!(out, "{:<20} {:>10} {:>10} {:>10}", "", "MiB", "segments", "open, s")?;
        for (name, AtRest { disk_bytes, segments, recovery_s }) in [("as it was", before), ("compacted", after)] {
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let mebibytes = *disk_bytes as f64 / f64::from(1 << 20);
            writeln!(out, "{name:<20} {mebibytes:>10.1} {segments:>10} {recovery_s:>10.3}")?;
        }
        Ok(())
    }
}

/// Opens the journal, and says what that took.
fn at_rest(journal: &Path) -> Result<(AtRest, Engine), ChurnError> {
    let disk_bytes = disk_bytes(journal).map_err(ChurnError::Folder)?;
    let began = Instant::now();
    let engine = Engine::open(journal)?;
    let recovery_s = began.elapsed().as_secs_f64();
    let segments = engine.journal_stats().map_or(0, |stats| stats.segments);
    Ok((AtRest { disk_bytes, segments, recovery_s }, engine))
}

fn disk_bytes(folder: &Path) -> io::Result<u64> {
    std::fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_leave_behind_is_measured_and_shown() {
        let churn = Churn::measure(10_000, &std::env::temp_dir()).expect("there is a place for temporary files");
        let [before, after] = [churn.before, churn.after].map(|at_rest| at_rest.disk_bytes);
        // Ten thousand holds fit into one segment, which is not compacted while it is written to.
        assert!(before > 100_000 && after >= before, "{churn:?}");
        assert_eq!((churn.holds, churn.before.segments, churn.after.segments), (10_000, 1, 1));
        let mut shown = Vec::new();
        churn.show(&mut shown).expect("memory");
        let shown = String::from_utf8(shown).expect("text");
        assert!(shown.contains("10000 holds") && shown.contains("compacted"), "{shown}");
    }
}
