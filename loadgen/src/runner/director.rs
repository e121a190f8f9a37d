//! The director: makes the scenario's changes at their instants, while the workers are at work.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::Run;
use crate::{
    target::Target,
    verify::log::{ChangeRecord, Exchange},
};

/// No sleep is longer, so that the end is seen.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// What the director did.
#[derive(Debug, Default)]
pub(super) struct Direction {
    pub(super) changes: Vec<ChangeRecord>,
    pub(super) failure: Option<String>,
    pub(super) ended_ns: u64,
}

/// Makes every change at its instant, also those after the last visit, unless the run is stopped or over.
pub(super) fn direct<T: Target>(run: &Run<'_>, target: &T) -> Direction {
    let mut direction = Direction::default();
    for change in run.scenario.changes.iter().filter(|change| change.at <= run.scenario.gives_up) {
        if !wait_until(run.clock.real_ns(change.at), run) {
            break;
        }
        let called_ns = run.clock.elapsed_ns();
        let answer = target.change(change);
        let replied_ns = run.clock.elapsed_ns();
        direction.ended_ns = replied_ns;
        match answer {
            Ok(units) => {
                let exchange = Exchange { called_ns, replied_ns };
                direction.changes.push(ChangeRecord { change: *change, exchange, units });
            }
            Err(error) => {
                let what = change.what.name();
                direction.failure.get_or_insert_with(|| format!("a change ({what}) could not be made: {error}"));
            }
        }
    }
    direction
}

/// Waits; false if the run was stopped meanwhile.
fn wait_until(due_ns: u64, run: &Run<'_>) -> bool {
    loop {
        if is_stopped(run.stop) {
            return false;
        }
        let left = due_ns.saturating_sub(run.clock.elapsed_ns());
        if left == 0 {
            return true;
        }
        thread::sleep(Duration::from_nanos(left).min(LONGEST_SLEEP));
    }
}

fn is_stopped(stop: &AtomicBool) -> bool {
    // Relaxed: the flag is the whole message.
    stop.load(Ordering::Relaxed)
}
