//! What is printed: results on stdout, progress and errors on stderr. The only module that does.

use std::{
    io::{self, IsTerminal, Stderr, Stdout, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    report::{Report, Style, grouped, render},
    runner::Progress,
};

/// The two streams and how they may look.
#[derive(Debug)]
pub(super) struct Console {
    stdout: Stdout,
    stderr: Stderr,
    colour: bool,
    quiet: bool,
}

impl Console {
    pub(super) fn new(no_color: bool, quiet: bool) -> Self {
        let forbidden = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (stdout, stderr) = (io::stdout(), io::stderr());
        Self { colour: !forbidden && stdout.is_terminal(), quiet, stdout, stderr }
    }

    /// Prints a result. A reader that went away is no error: nobody is left to be told.
    pub(super) fn result(&self, text: &str) {
        let mut stdout = self.stdout.lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    pub(super) fn report(&self, report: &Report) {
        self.result(&render(report, Style { colour: self.colour, quiet: self.quiet }));
    }

    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(self.stderr.lock(), "{text}");
        }
    }

    pub(super) fn error(&self, text: &str) {
        let _ = writeln!(self.stderr.lock(), "error: {text}");
    }

    /// A progress bar for `units`, where there is a terminal to show it.
    pub(super) fn progress(&self, units: u64) -> Bar {
        let shown = !self.quiet && self.stderr.is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let plain = ProgressStyle::with_template("{bar:20} {pos}/{len} sold  {msg}");
        let bar = ProgressBar::with_draw_target(Some(units), target);
        Bar(bar.with_style(plain.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

/// The progress bar of a run.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn show(&self, progress: &Progress) {
        self.0.set_position(progress.sold);
        let scenario = humantime::format_duration(Duration::from_secs(progress.scenario.as_secs()));
        let (requests, held) = (grouped(progress.requests), grouped(progress.held));
        self.0.set_message(format!("{scenario}, {requests} requests, {held} held"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
