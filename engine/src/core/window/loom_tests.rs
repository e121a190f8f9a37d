//! Models of the window: one thread moves it twice, another looks.
//!
//! What is proved: whoever looks sees one of the windows that there were, whole, and none from before a move that was
//! answered.

#![expect(clippy::unwrap_used, reason = "an unwrap in a model is its own failure")]

use loom::{sync::Arc, thread};

use super::*;
use crate::core::models::explore;

type Get = fn(&Window) -> (Timestamp, Timestamp);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The windows 1 to 2, 3 to 4 and 5 to 6 follow each other while somebody looks twice.
fn two_moves_beside_two_looks(get: Get) {
    let window = Arc::new(Window::new(Some(at(1)), Some(at(2))));
    let theirs = Arc::clone(&window);
    let mover = thread::spawn(move || {
        theirs.set(Some(at(3)), Some(at(4)));
        theirs.set(Some(at(5)), Some(at(6)));
    });
    let mut before = at(0);
    for _ in 0..2 {
        let (opens, closes) = get(&window);
        assert_eq!(closes.as_millis(), opens.as_millis() + 1, "half of one window and half of another");
        assert!(before <= opens, "back to an earlier window");
        before = opens;
    }
    mover.join().unwrap();
    assert_eq!(get(&window), (at(5), at(6)), "a move that was answered");
}

#[test]
fn a_look_sees_one_whole_window() {
    explore(|| two_moves_beside_two_looks(Window::get));
}

/// The fault: the version isn't looked at again.
fn get_once(window: &Window) -> (Timestamp, Timestamp) {
    let [opens, closes] = window.pair(window.version.load(Ordering::Acquire));
    (at(opens.load(Ordering::Acquire)), at(closes.load(Ordering::Acquire)))
}

#[test]
#[should_panic(expected = "half of one window")]
fn control_a_single_look_at_the_version_sees_two_halves() {
    explore(|| two_moves_beside_two_looks(get_once));
}
