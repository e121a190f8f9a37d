//! The command line: what people type, and what each command does with it.

mod audit;
mod console;
mod list;
mod repeated;
mod run;

use std::{fmt::Display, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use self::console::Console;
use crate::{
    exit::Exit,
    report::Output,
    units::{Span, Speed},
};

const EXAMPLES: &str = "\
Examples:
  loadgen list                                   the sales that come with the program
  loadgen run meizu-mx3                          2,099 phones, 300,000 people, and the proof
  loadgen run meizu-mx3 -o r.json --quiet        one line, and everything in a file
  loadgen run my-sale.toml --speed 600x          a sale of your own, ten minutes in a second
  loadgen run --help                             all about running a sale

Exit codes: 0 sold right; 1 could not run; 2 wrong usage; 4 the generator was too slow to measure;
99 sold wrong; 105 stopped by hand.";

const RUN_EXAMPLES: &str = "\
Examples:
  loadgen run meizu-mx3
  loadgen run postcards --speed 1000x --seed 7 -o r.json
  loadgen run meizu-mx3 --journal sales.journal --redis redis://127.0.0.1:6379
  loadgen run my-sale.toml

A scenario file, whole:
  name = \"mugs\"
  speed = \"60x\"

  [[sales]]
  name = \"mug\"
  stock = 500
  cap = 1                                # units a buyer
  hold = \"10m\"                           # time to pay
  opens_at = \"+10s\"                      # after the start

  [crowd]
  people = 20_000

  [[arrivals]]                           # step, ramp, spike, poisson or trace
  spike = { at = \"+10s\", visits = 20_000, plateau = \"2s\", decay = \"30s\" }

  [retries]                              # who comes back while units are on hold
  share = \"5%\"
  every = \"20s\"

  [payment]                              # weights
  at_once = 85
  never = 10
  cancel = 5

A recorded crowd: trace = { file = \"requests.csv\", scale = 2.0 } with lines of `second,requests`.";

const AUDIT_EXAMPLES: &str = "\
Examples:
  loadgen audit --journal sales.journal
  loadgen audit --journal sales.journal --acks acks.txt
  loadgen audit --journal sales.journal --redis redis://127.0.0.1 --repair
  loadgen audit --journal damaged.copy --redis redis://127.0.0.1 --export orders.jsonl

Without --repair nothing is written to journal and Redis, and a shop may go on selling meanwhile; compare with Redis
at rest. Of a damaged journal that no process has open, all is told: the places by file and offset; the orders before
the damage and behind it; those that are lost, by number, and with --redis which of them stand there.

Exit status: 0 all is equal, 99 something differs or the journal is damaged, 1 it can't be read, 2 a bad option.";

/// Replays a sell-out and says whether the shop sold right, and how fast.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// No colours; the variable `NO_COLOR` says the same.
    #[arg(long, global = true)]
    no_color: bool,
    /// One line on stdout, nothing on stderr but errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the sales that come with the program.
    List,
    /// Play a sale and prove what was sold.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArguments),
    /// Compare what a journal has with what was acknowledged, and with what stands in Redis.
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(AuditArguments),
}

/// What `loadgen run` takes.
#[derive(Debug, Args)]
struct RunArguments {
    /// A scenario that `loadgen list` shows, or a .toml file.
    scenario: String,
    /// How many scenario seconds pass in a real one, such as 60x; the scenario has its own default.
    #[arg(long)]
    speed: Option<Speed>,
    /// The master seed: the same seed plays the same crowd.
    #[arg(long, default_value_t = 20_140_401)]
    seed: u64,
    /// The journal folder; one that holds this sale already is opened again. Without it a temporary one is used.
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Deliver the confirmed sales to this Redis, and prove that each is there once. A URL with a password belongs
    /// into the variable: what stands on a command line can be read by every user of the machine.
    #[arg(long, value_name = "URL", env = "LOADGEN_REDIS", hide_env_values = true)]
    redis: Option<String>,
    /// What the keys in Redis begin with.
    #[arg(long, value_name = "WORD", default_value = "sellout")]
    redis_prefix: String,
    /// How long to wait for a Redis that is away, once everything is sold.
    #[arg(long, value_name = "SPAN", default_value = "30s")]
    redis_wait: Span,
    /// Write the report here; the extension chooses the form (.json). May be given several times.
    #[arg(long, short, value_name = "FILE")]
    output: Vec<Output>,
    /// Write a line for each confirmation that was acknowledged, for `loadgen audit` after a crash.
    #[arg(long, value_name = "FILE")]
    acks: Option<PathBuf>,
    /// Worker threads; by default one less than there are processors.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// The schedule lag at p99 above which latencies are not called the target's.
    #[arg(long, value_name = "SPAN", default_value = "50ms")]
    lag_bound: Span,
}

/// What `loadgen audit` takes.
#[derive(Debug, Args)]
struct AuditArguments {
    /// The journal folder.
    #[arg(long, value_name = "DIR")]
    journal: PathBuf,
    /// The acknowledgements that `loadgen run --acks` wrote.
    #[arg(long, value_name = "FILE")]
    acks: Option<PathBuf>,
    /// Compare with what was delivered to this Redis. A URL with a password belongs into the variable.
    #[arg(long, value_name = "URL", env = "LOADGEN_REDIS", hide_env_values = true)]
    redis: Option<String>,
    /// What the keys in Redis begin with.
    #[arg(long, value_name = "WORD", default_value = "sellout")]
    redis_prefix: String,
    /// How long the repair may take.
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    redis_wait: Span,
    /// Write every order that can be read to this new file, one JSON object a line; of a damaged journal, too, and with
    /// --redis also the lost ones that stand there.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Deliver to Redis what is missing there. The journal is opened for that, as by a shop: no shop may have it open.
    #[arg(long, requires = "redis")]
    repair: bool,
}

impl RunArguments {
    fn workers(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(|| (processors - 1).max(1), usize::from)
    }

    fn lag_bound(&self) -> Duration {
        self.lag_bound.0
    }
}

/// Why a command ended early, and with which exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn usage(error: &dyn Display) -> Self {
        Self { exit: Exit::Usage, message: error.to_string() }
    }

    fn could_not_run(error: &dyn Display) -> Self {
        Self { exit: Exit::CouldNotRun, message: error.to_string() }
    }
}

/// Does what the command line says.
#[must_use]
pub fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed stream is no reason to fail differently.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Good };
        }
    };
    let console = Console::new(arguments.no_color, arguments.quiet);
    let ended = match &arguments.command {
        Command::List => Ok(list::list(&console)),
        Command::Run(run) => run::run(run, &console),
        Command::Audit(audit) => audit::audit(audit, &console),
    };
    ended.unwrap_or_else(|failure| {
        console.error(&failure.message);
        failure.exit
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
