//! `loadgen run`: a scenario against the engine, in this process.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sellout::{Clock, SystemClock};
use tempfile::TempDir;

use super::{
    Failure, RunArguments,
    console::Console,
    repeated::{has_secret, repeated},
};
use crate::{
    clock::ScaledClock,
    exit::Exit,
    play::{Settings, play},
    runner::{Ack, AckLog, read_acks},
    scenario::{Scenario, ScenarioError},
    target::engine::{EngineOptions, EngineTarget, RedisOptions},
};

pub(super) fn run(arguments: &RunArguments, console: &Console) -> Result<Exit, Failure> {
    let scenario = Scenario::find(&arguments.scenario).map_err(|error| scenario_failure(&error))?;
    for output in &arguments.output {
        output.check().map_err(|error| Failure::could_not_run(&error))?;
    }
    let (acks, earlier_acks) = arguments.acks.as_deref().map_or_else(|| Ok((None, Vec::new())), open_acks)?;
    let speed = arguments.speed.unwrap_or(scenario.speed);
    let clock = Arc::new(ScaledClock::standing_at(SystemClock::new().now(), speed));
    let mut journal = Journal::open(arguments.journal.as_deref())?;
    let target = EngineTarget::open(EngineOptions {
        clock: Arc::clone(&clock),
        journal: journal.path(),
        redis: arguments.redis.as_ref().map(|url| RedisOptions {
            url: url.clone(),
            prefix: arguments.redis_prefix.clone(),
            wait: arguments.redis_wait.0,
        }),
    })
    .map_err(|error| Failure::could_not_run(&error))?;
    if let Some(note) = target.note() {
        console.note(note);
    }
    if std::env::args_os().any(|word| has_secret(&word.to_string_lossy())) {
        console.note("the password in --redis can be read by every user of this machine: set LOADGEN_REDIS instead");
    }
    let bar = console.progress(scenario.units());
    let settings = Settings {
        speed,
        seed: arguments.seed,
        workers: arguments.workers(),
        clock,
        stop: stop_by_hand()?,
        acks,
        earlier_acks,
        lag_bound: arguments.lag_bound(),
        command_line: repeated(std::env::args_os()),
        scenario,
    };
    let played = play(&target, &settings, &mut |progress| bar.show(progress));
    drop(bar);
    let report = played.map_err(|error| Failure::could_not_run(&error))?;
    if report.resumed {
        let before = report.sums.units.sold_before;
        console.note(&format!("went on with the sale in the journal: {before} units had been sold before"));
    }
    console.report(&report);
    for output in &arguments.output {
        output.write(&report).map_err(|error| Failure::could_not_run(&error))?;
    }
    if target.undelivered() {
        console.note(&format!("the sales that Redis lacks are in the journal {}", journal.keep()));
    }
    Ok(report.exit())
}

/// What is wrong in the text is the user's to mend, what can't be read may be the machine's.
fn scenario_failure(error: &ScenarioError) -> Failure {
    if error.is_unreadable() { Failure::could_not_run(error) } else { Failure::usage(error) }
}

fn open_acks(path: &Path) -> Result<(Option<AckLog>, Vec<Ack>), Failure> {
    let failure = |error| Failure::could_not_run(&format!("can't use {}: {error}", path.display()));
    let log = AckLog::append(path).map_err(failure)?;
    let earlier = read_acks(path).map_err(failure)?;
    Ok((Some(log), earlier))
}

/// A flag that the first Ctrl-C (or SIGTERM, or SIGHUP) sets; the second one ends the process at once.
fn stop_by_hand() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        // Relaxed: the flag is the whole message.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::could_not_run(&format!("can't watch for Ctrl-C: {error}")))?;
    Ok(stop)
}

/// The journal folder: the user's, which stays, or a temporary one, which goes.
enum Journal {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Journal {
    fn open(given: Option<&Path>) -> Result<Self, Failure> {
        match given {
            Some(path) => Ok(Self::Kept(path.to_owned())),
            None => tempfile::Builder::new()
                .prefix("loadgen-journal-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| Failure::could_not_run(&format!("can't make a temporary journal folder: {error}"))),
        }
    }

    /// Lets a temporary folder stay, too; its path.
    fn keep(&mut self) -> String {
        if let Self::Temporary(folder) = self {
            folder.disable_cleanup(true);
        }
        self.path().display().to_string()
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Kept(path) => path.clone(),
            Self::Temporary(folder) => folder.path().to_owned(),
        }
    }
}
