//! Samples of a sale with a line, under a scheduler that may stop any thread at any atomic.
//!
//! What is checked in every sample:
//! - Newcomers get no more units than came back in returns that had begun before a place was answered.
//! - Whoever waits is served in order, one unit each, until nothing is free.
//! - When the last one has left, everything that is free can be had by newcomers.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use std::collections::VecDeque;

use shuttle::{
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::{Arc, Mutex},
    thread,
};

use super::*;
use crate::core::{
    End,
    allocator::{HoldId, Plan, Rules},
};

const SAMPLES: usize = 10_000;
const STOCK: u32 = 3;
const RULES: Rules = Rules { cap: 1, largest: 1, hold: 100, grace: 1 };
const KEY: u16 = 3;

/// The line as the engine keeps it, under its lock; and who got what.
#[derive(Default)]
struct Line {
    waiting: VecDeque<u64>,
    joined: u64,
    served: Vec<u64>,
}

struct Scene {
    allocator: Allocator,
    line: Mutex<Line>,
    /// Whether a place was answered: never looked at by the allocator.
    answered: Mutex<bool>,
}

impl Scene {
    /// Every unit is on hold.
    fn new() -> (Arc<Self>, Vec<HoldId>) {
        let plan = Plan { stripes: 2, key: [1; 16], scheduled: false, journaled: true, first_slots: None };
        let allocator = Allocator::new(RULES, STOCK, plan);
        let held = (0..u64::from(STOCK)).map(|buyer| allocator.reserve(Buyer::from(buyer), 1, 0, 0, KEY).unwrap().id);
        let held = held.collect();
        (Arc::new(Self { allocator, line: Mutex::default(), answered: Mutex::new(false) }), held)
    }

    /// Joins the line, if nothing is free.
    fn join(&self, buyer: u64) -> bool {
        let mut line = self.line.lock().unwrap();
        let joins = self.allocator.open_queue().is_ok();
        if joins {
            line.waiting.push_back(buyer);
            line.joined += 1;
        }
        drop(line);
        *self.answered.lock().unwrap() |= joins;
        joins
    }

    fn leave(&self, buyer: u64, close: fn(&Allocator)) {
        let mut line = self.line.lock().unwrap();
        let before = line.waiting.len();
        line.waiting.retain(|other| *other != buyer);
        if before > 0 && line.waiting.is_empty() {
            close(&self.allocator);
        }
    }

    fn serve(&self) {
        let mut line = self.line.lock().unwrap();
        while let Some(head) = line.waiting.front().copied() {
            if self.allocator.offer(Buyer::from(head), 1_000, 0, KEY).is_err() {
                return;
            }
            line.waiting.pop_front();
            line.served.push(head);
            if line.waiting.is_empty() {
                self.allocator.close_queue(0);
            }
        }
    }

    /// Ends a hold; whether it began before a place was answered.
    fn give_back(&self, id: HoldId, home: usize) -> bool {
        let early = !*self.answered.lock().unwrap();
        let snapshot = self.allocator.slots.load(id.slot);
        self.allocator.end(id.slot, snapshot, End::Cancelled, home).unwrap();
        early
    }
}

fn sample(scheduler: impl Scheduler + 'static, scene: impl Fn() + Send + Sync + 'static) {
    let begun = std::time::Instant::now();
    let mut config = shuttle::Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    let samples = shuttle::Runner::new(scheduler, config).run(scene);
    let name = std::thread::current().name().unwrap_or("scene").to_owned();
    eprintln!("{name}: {samples} samples in {:?}", begun.elapsed());
}

type Reserve = fn(&Allocator, u64, usize) -> bool;

fn reserve(allocator: &Allocator, buyer: u64, home: usize) -> bool {
    allocator.reserve(Buyer::from(buyer), 1, 0, home, KEY).is_ok()
}

/// Three units come back while four join, newcomers ask, and the line is served.
fn a_line_beside_newcomers(reserve: Reserve) {
    let (scene, held) = Scene::new();
    let returns = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || held.iter().filter(|id| scene.give_back(**id, 1)).count())
    };
    let newcomers: Vec<_> = (0..2)
        .map(|home| {
            let scene = Arc::clone(&scene);
            thread::spawn(move || (0..3).filter(|step| reserve(&scene.allocator, 100 + 10 * home + step, 0)).count())
        })
        .collect();
    let joined: Vec<u64> = (10..14).filter(|buyer| scene.join(*buyer)).collect();
    scene.serve();
    let early = returns.join().unwrap();
    let taken: usize = newcomers.into_iter().map(|newcomer| newcomer.join().unwrap()).sum();
    scene.serve();

    assert!(taken <= early, "{taken} units were snatched, of {early} that came back before there was a line");
    let line = scene.line.lock().unwrap();
    assert_eq!(line.served, joined[..line.served.len()], "not in the order of the line");
    let count = scene.allocator.count();
    assert_eq!(count.held, (taken + line.served.len()) as u64);
    assert_eq!((count.free + count.held, scene.allocator.total()), (u64::from(STOCK), u64::from(STOCK)));
    assert!(line.waiting.is_empty() || count.free == 0, "{count:?}, and {} wait", line.waiting.len());
}

fn close(allocator: &Allocator) {
    allocator.close_queue(0);
}

/// Units come back while two join and leave again, and newcomers ask: afterwards everything is everybody's.
fn a_line_that_is_left(close: fn(&Allocator)) {
    let (scene, held) = Scene::new();
    let returns = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || held.iter().filter(|id| scene.give_back(**id, 1)).count())
    };
    let waits: Vec<_> = (10..12)
        .map(|buyer| {
            let scene = Arc::clone(&scene);
            thread::spawn(move || {
                if scene.join(buyer) {
                    scene.leave(buyer, close);
                }
            })
        })
        .collect();
    let mut taken = usize::from(reserve(&scene.allocator, 100, 0));
    let _early = returns.join().unwrap();
    for wait in waits {
        wait.join().unwrap();
    }
    taken += (101..110).filter(|buyer| reserve(&scene.allocator, *buyer, 0)).count();
    assert_eq!(taken, STOCK as usize, "stranded, behind {:?}", scene.allocator.gate());
}

#[test]
fn a_line_is_served_in_its_order_under_random_schedules() {
    sample(RandomScheduler::new(SAMPLES), || a_line_beside_newcomers(reserve));
}

#[test]
fn a_line_is_served_in_its_order_under_hostile_schedules() {
    sample(PctScheduler::new(4, SAMPLES), || a_line_beside_newcomers(reserve));
}

#[test]
fn a_line_that_is_left_leaves_everything_under_random_schedules() {
    sample(RandomScheduler::new(SAMPLES), || a_line_that_is_left(close));
}

#[test]
fn a_line_that_is_left_leaves_everything_under_hostile_schedules() {
    sample(PctScheduler::new(4, SAMPLES), || a_line_that_is_left(close));
}

/// The fault: a newcomer takes whatever is free, whoever it is for.
fn reserve_whatever_is_free(allocator: &Allocator, buyer: u64, home: usize) -> bool {
    let attempt = allocator.cap.begin(Buyer::from(buyer), 1, 1).unwrap();
    if allocator.permits.take_off(home, 1) == 1 {
        return allocator.make(attempt, 1, 0, home, KEY, |_| {}).is_ok();
    }
    allocator.cap.abort(attempt);
    false
}

/// The fault: the last one leaves, and the queue stays open.
fn close_never(_: &Allocator) {}

#[test]
#[should_panic(expected = "units were snatched")]
fn control_a_newcomer_who_takes_what_is_for_the_line_is_found() {
    sample(RandomScheduler::new(SAMPLES), || a_line_beside_newcomers(reserve_whatever_is_free));
}

#[test]
#[should_panic(expected = "stranded")]
fn control_a_queue_that_is_never_closed_is_found() {
    sample(RandomScheduler::new(SAMPLES), || a_line_that_is_left(close_never));
}
