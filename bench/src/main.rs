//! The command line: what to measure or to torture, and where the figures go.

use std::{
    fs::File,
    io::{self, Write},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};
use sellout_bench::{
    churn::{Churn, ChurnError},
    report::{self, ReportError, RowsFile},
    rows::{self, Size},
    shops::{Shops, ShopsError},
    torture::{
        self, Kind, Settings, TortureError, Watch,
        kills::{Broken, Life},
    },
};

/// How `torture` ends if something was lost: as `loadgen` does.
const LOST: u8 = 99;

/// Measures sellout against what people would write instead, and tortures it.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ratios(Ratios),
    Shops(ShopsArgs),
    Churn(ChurnArgs),
    Torture(TortureArgs),
    #[command(name = torture::kills::LIFE, hide = true)]
    Life(Life),
}

/// Compares sellout with its best peer, row by row, in one run.
///
/// Each row is measured in turn, A B B A over several rounds: the ratio is the median over pairs of neighbours, with
/// a 95% bootstrap interval. The row `control` compares sellout with itself: differences of that size are noise.
/// Only ratios carry from one machine to another. Nothing else should run meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sellout-bench ratios --quick
  sellout-bench ratios --only accept --only control -o ratios.json

Exit status: 0 measured, 1 the report could not be written, 2 a bad option.")]
struct Ratios {
    /// Smaller stock and fewer rounds: under a minute instead of several
    #[arg(long)]
    quick: bool,

    /// Measure this row only, on every number of threads that it has; may be repeated
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(rows::NAMES))]
    only: Vec<String>,

    /// Write the rows to FILE as well, as JSON: name, unit, threads, ours, other, `other_name`, ratio, low, high
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Measures very many sales in one engine: memory at rest, creation, recovery, and the hot one among them.
///
/// All sales are open at once and nobody visits them. Memory is what the process has more than at its start. The hot
/// sale is measured in turn with one that is alone in its engine; only that ratio carries from one machine to another.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sellout-bench shops
  sellout-bench shops --sales 10000 --dir /var/tmp

Exit status: 0 measured, 1 the journal or the output could not be written, 2 a bad option.")]
struct ShopsArgs {
    /// How many sales, of 200 units each
    #[arg(long, default_value_t = 400_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sales: u32,

    /// Where the journal is written for the time of the measurement; by default the system's place for such things
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Rounds of the hot sale, four runs each
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
}

impl ShopsArgs {
    fn run(&self) -> Result<(), ShopsError> {
        let dir = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let shops = Shops::measure(self.sales, &dir, self.rounds.into())?;
        Ok(shops.show(&mut io::stdout().lock())?)
    }
}

/// Measures what holds that come and go leave on the disk, before and after a compaction of the journal.
///
/// Two thousand units are held and given back again and again, on a journal; then it is opened, compacted, and opened
/// again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sellout-bench churn
  sellout-bench churn --holds 100000000 --dir /var/tmp

Exit status: 0 measured, 1 the journal or the output could not be written, 2 a bad option.")]
struct ChurnArgs {
    /// How many holds are made and cancelled
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    holds: u64,

    /// Where the journal is written for the time of the measurement; by default the system's place for such things
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ChurnArgs {
    fn run(&self) -> Result<(), ChurnError> {
        let dir = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        Ok(Churn::measure(self.holds, &dir)?.show(&mut io::stdout().lock())?)
    }
}

/// Tries for some time to make sellout lose an order, or sell one twice.
///
/// Each kind of trial has its turn. What is acknowledged is kept by whoever hears it, and compared with what is there
/// after each fault. At the end a table says what was tried and what was lost: nothing, or what, with the command that
/// tries it again. Ctrl-C ends it with the table so far.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sellout-bench torture --minutes 60
  sellout-bench torture --only kills --kills 1000 --tries 1
  sellout-bench torture --only seeds --tries 100000
  sellout-bench torture --minutes 10 --seed 42 --json torture.json

A try is one journal that is sold on (kills, redis), one group of servers that fails over there and back (failovers),
one simulated life (seeds), or one small sale that threads ask at the same time (histories). The first seed is that of
--seed, the next is one more.

Exit status: 0 nothing was lost, 99 something was, 1 it could not be tried, 2 a bad option.")]
struct TortureArgs {
    /// How long; 5 unless --tries says how much
    #[arg(long, value_name = "N", value_parser = minutes)]
    minutes: Option<Duration>,

    /// How many tries of each kind, instead of for how long
    #[arg(long, value_name = "N")]
    tries: Option<NonZeroU64>,

    /// The seed of the first try of each kind
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Try these only, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Kind>,

    /// Threads that sell, or try
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,

    /// Kills on one journal
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    kills: u64,

    /// Write the figures to FILE as well, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Break a promise, to see that it is noticed
    #[arg(long, hide = true)]
    broken: Option<Broken>,
}

impl TortureArgs {
    fn run(&self) -> Result<ExitCode, TortureError> {
        let mut settings = Settings::new(std::env::current_exe().map_err(TortureError::Process)?);
        if !self.only.is_empty() {
            settings.kinds.clone_from(&self.only);
        }
        (settings.seed, settings.tries, settings.broken) = (self.seed, self.tries, self.broken);
        (settings.threads, settings.kills) = (self.threads, self.kills);
        // Made before anything is tried, so that an hour of work is not lost to a mistyped name.
        let mut json = self.json.as_ref().map(File::create).transpose()?;
        let span = self.minutes.or(self.tries.is_none().then_some(Duration::from_mins(5)));
        let report = torture::run(&settings, &Watch::start(span, stop_by_hand()?))?;
        report.show(&mut io::stdout().lock())?;
        if let Some(json) = &mut json {
            let text = serde_json::to_string_pretty(&report).map_err(io::Error::from)?;
            writeln!(json, "{text}")?;
        }
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(LOST) })
    }
}

/// A span in minutes, also a part of one.
fn minutes(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|_| "use a number of minutes, such as 60 or 0.5".to_owned())? * 60.0;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A flag that the first Ctrl-C sets; the second one ends the process at once.
fn stop_by_hand() -> Result<Arc<AtomicBool>, TortureError> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        // Relaxed: the flag is the whole message.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| TortureError::Process(io::Error::other(error)))?;
    Ok(stop)
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ratios(ratios) => ratios.run().map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string()),
        Command::Shops(shops) => shops.run().map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string()),
        Command::Churn(churn) => churn.run().map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string()),
        Command::Torture(torture) => torture.run().map_err(|error| error.to_string()),
        Command::Life(life) => life.live().map(|life| match life {}),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sellout-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Ratios {
    fn run(&self) -> Result<(), ReportError> {
        let size = if self.quick { Size::QUICK } else { Size::FULL };
        let file = self.output.as_deref().map(RowsFile::create).transpose()?;
        let mut out = io::stdout().lock();
        report::head(&mut out)?;
        let mut measured = Vec::new();
        for contest in rows::rows(size, &self.only) {
            let row = contest.hold(size.rounds);
            report::line(&mut out, &row)?;
            measured.push(row);
        }
        file.map_or(Ok(()), |file| file.save(&measured))
    }
}
