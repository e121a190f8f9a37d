//! How the models are run: every interleaving of a scene, and every value that a weak memory may show in it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Explores `scene` whole.
pub(crate) fn explore(scene: impl Fn() + Sync + Send + 'static) {
    run(None, None, scene);
}

/// Explores `scene` with at most `preemptions` of a thread that could have gone on: for scenes of three threads,
/// whose whole space is out of reach. Every fault that the negative controls have needs two at most.
pub(crate) fn explore_within(preemptions: usize, scene: impl Fn() + Sync + Send + 'static) {
    run(Some(preemptions), None, scene);
}

/// Explores as much of `scene` as 15 seconds allow, with at most two preemptions: for scenes whose space is out of
/// reach even so. It proves nothing about the rest.
pub(crate) fn explore_a_part_of(scene: impl Fn() + Sync + Send + 'static) {
    run(Some(2), Some(Duration::from_secs(15)), scene);
}

fn run(preemptions: Option<usize>, time: Option<Duration>, scene: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_duration = time;
    builder.max_branches = 20_000;
    let explored = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&explored);
    let begun = std::time::Instant::now();
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        scene();
    });
    let name = std::thread::current().name().unwrap_or("scene").to_owned();
    eprintln!("{name}: {} executions in {:?}", explored.load(Ordering::Relaxed), begun.elapsed());
}
