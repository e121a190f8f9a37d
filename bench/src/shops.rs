//! Very many sales in one engine: what an idle one costs, how long creation and recovery take, and whether the one
//! that everybody wants is slowed by the others.

use std::{
    fs,
    hint::black_box,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sellout::{CreateError, Engine, OpenError, SaleSpec};

use crate::{
    contended::measure,
    contest::{Contest, Row, Subject},
    crowd::buyer,
};

/// Units of a shop.
const UNITS: u32 = 200;
/// Units of the sale that everybody wants.
const HOT_UNITS: u32 = if cfg!(test) { 10_000 } else { 1_000_000 };
/// No hold of it falls due while it is measured.
const HOUR: Duration = Duration::from_hours(1);
/// Ticks that are timed together.
const TICKS: u32 = 20;
/// Threads on it.
const THREADS: usize = 2;

/// Why the shops could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShopsError {
    /// The folder for the journal.
    #[error("the folder {}: {source}: name another with --dir", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The sales could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The journal could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The figures could not be shown.
    #[error("the figures could not be written to the standard output: {0}")]
    Show(#[from] io::Error),
}

/// What very many sales came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Shops {
    /// Sales, all open.
    pub sales: u32,
    /// How long their creation took, the journal's sync included.
    pub creation_s: f64,
    /// Memory that the process has more, at rest, than before.
    pub created_bytes: u64,
    /// How long it took to open the journal again.
    pub recovery_s: f64,
    /// Memory that the process has more, at rest after recovery, than before.
    pub recovered_bytes: u64,
    /// How long a tick takes while nobody has come.
    pub idle_tick_s: f64,
    /// Memory that the process has more, once every sale has had a hold.
    pub visited_bytes: u64,
    /// How long a tick takes then, if nothing has changed since the last one.
    pub visited_tick_s: f64,
    /// Bytes of the journal's records, before anybody came.
    pub journal_bytes: u64,
    /// The hot sale's rate among all the others, by its rate alone.
    pub hot: Row,
}

impl Shops {
    /// Measures `sales` shops, on a journal in a new folder under `dir`, which is removed afterwards.
    ///
    /// # Errors
    /// [`ShopsError`] if the folder can't be used.
    pub fn measure(sales: u32, dir: &Path, rounds: usize) -> Result<Self, ShopsError> {
        let folder = Folder::create(dir)?;
        let before = resident_bytes();
        let began = Instant::now();
        let engine = Engine::open(&folder.0)?;
        engine.create_many((0..sales).map(shop).collect())?;
        let creation_s = began.elapsed().as_secs_f64();
        let created_bytes = resident_bytes().saturating_sub(before);
        drop(engine);
        let began = Instant::now();
        let engine = Engine::open(&folder.0)?;
        let recovery_s = began.elapsed().as_secs_f64();
        let recovered_bytes = resident_bytes().saturating_sub(before);
        let journal_bytes = engine.journal_stats().map_or(0, |stats| stats.bytes);
        let idle_tick_s = tick_s(&engine);
        visit_all(&engine);
        let visited_tick_s = tick_s(&engine);
        let visited_bytes = resident_bytes().saturating_sub(before);
        drop(engine);
        let hot = hot(sales).hold(rounds);
        Ok(Self {
            sales,
            creation_s,
            created_bytes,
            recovery_s,
            recovered_bytes,
            idle_tick_s,
            visited_bytes,
            visited_tick_s,
            journal_bytes,
            hot,
        })
    }

    /// Shows the figures.
    ///
    /// # Errors
    /// What `out` says.
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { sales, creation_s, created_bytes, recovery_s, recovered_bytes, journal_bytes, hot, .. } = self;
        let each = |bytes: &u64| bytes / u64::from(*sales).max(1);
        let mib = |bytes: &u64| bytes >> 20;
        writeln!(out, "{sales} open sales of {UNITS} units")?;
        writeln!(out)?;
        writeln!(out, "{:<24} {:>8} {:>14} {:>13}", "what", "seconds", "resident MiB", "bytes a sale")?;
        for (name, seconds, bytes) in
            [("creation, journaled", creation_s, created_bytes), ("recovery", recovery_s, recovered_bytes)]
        {
            writeln!(out, "{name:<24} {seconds:>8.2} {:>14} {:>13}", mib(bytes), each(bytes))?;
        }
        let Self { idle_tick_s, visited_bytes, visited_tick_s, .. } = self;
        writeln!(out, "{:<24} {idle_tick_s:>8.4} {:>14} {:>13}", "a tick, nobody came", "-", "-")?;
        let visited = [mib(visited_bytes), each(visited_bytes)];
        writeln!(out, "{:<24} {visited_tick_s:>8.4} {:>14} {:>13}", "a tick, a hold in each", visited[0], visited[1])?;
        writeln!(out, "{:<24} {:>8} {:>14} {:>13}", "journal, on disk", "-", mib(journal_bytes), each(journal_bytes))?;
        writeln!(out)?;
        let Row { ours, other, ratio, low, high, threads, .. } = hot;
        let [ours, other] = [ours, other].map(|rate| rate / 1e6);
        write!(out, "hot sale, {threads} threads: {ours:.2} million holds a second among them, {other:.2} alone; ")?;
        writeln!(out, "ratio {ratio:.2}, {low:.2} .. {high:.2}")
    }
}

/// One hold in each sale.
fn visit_all(engine: &Engine) {
    for (number, sale) in (0..).zip(engine.sales()) {
        assert!(sale.reserve(buyer(number), 1).is_ok(), "every shop has units");
    }
}

/// How long a tick takes that has nothing to do: the mean of some, after one that had.
fn tick_s(engine: &Engine) -> f64 {
    engine.tick(engine.now());
    let began = Instant::now();
    for _ in 0..TICKS {
        engine.tick(engine.now());
    }
    began.elapsed().as_secs_f64() / f64::from(TICKS)
}

/// The hot sale among `sales` others, against itself alone.
fn hot(sales: u32) -> Contest {
    let crowded = Engine::in_memory();
    crowded.create_many((0..sales).map(shop).collect()).expect("names differ");
    let ours = Subject::new("among", move || rate(&crowded));
    let alone = Subject::new("alone", || rate(&Engine::in_memory()));
    Contest { name: "hot-sale", unit: "holds a second", threads: THREADS, ours, others: vec![alone] }
}

/// Holds a second in a new sale of `engine`.
fn rate(engine: &Engine) -> f64 {
    let number = engine.sales().len();
    let hot = SaleSpec::new(format!("hot-{number}"), HOT_UNITS).hold_for(HOUR);
    let sale = engine.create(hot).expect("a new name");
    let measured = measure(
        THREADS,
        HOT_UNITS.into(),
        |share| share,
        |share| share.filter(|&number| black_box(sale.reserve(buyer(number), 1)).is_ok()).count() as u64,
    );
    assert_eq!(measured.done, u64::from(HOT_UNITS), "a run did not do the work that it measures");
    measured.per_second()
}

fn shop(number: u32) -> SaleSpec {
    SaleSpec::new(format!("shop-{:06}", number + 1), UNITS)
}

/// A folder that goes away with this.
struct Folder(PathBuf);

impl Folder {
    fn create(dir: &Path) -> Result<Self, ShopsError> {
        let path = dir.join(format!("sellout-shops-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(ShopsError::Folder { path, source }),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("sellout-bench: the folder {} stays: {error}", self.0.display());
        }
    }
}

/// Memory of this process that is resident now; 0 where the system doesn't say.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_shops_are_measured_and_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let shops = Shops::measure(50, dir.path(), 1).expect("it can be written to");
        assert!(shops.journal_bytes > 50 * 64 && shops.hot.ratio > 0.0, "{shops:?}");
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0, "the journal is removed");
        let mut out = Vec::new();
        shops.show(&mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        for line in ["50 open sales of 200 units", "creation, journaled", "recovery", "hot sale, 2 threads"] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Shops::measure(1, Path::new("/nowhere"), 1).expect_err("there is no such folder");
        assert!(error.to_string().contains("--dir"), "{error}");
    }
}
