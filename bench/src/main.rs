//! The command line: what to measure, and where the rows go.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};
use sellout_bench::{
    report::{self, ReportError, RowsFile},
    rows::{self, Size},
    shops::{Shops, ShopsError},
};

/// Measures sellout against what people would write instead.
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

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ratios(ratios) => ratios.run().map_err(|error| error.to_string()),
        Command::Shops(shops) => shops.run().map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
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
