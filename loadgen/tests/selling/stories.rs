//! Everything that the stories need, against a right shop and against each that is broken in one way.

use std::path::Path;

use sellout_loadgen::{exit::Exit, report::Report, scenario::Scenario};

use crate::{broken_invariants, report_of, settings_of, shop::Broken};

/// A scenario with all of it.
fn settings(workers: usize) -> sellout_loadgen::play::Settings {
    let scenario = Scenario::parse(include_str!("stories.toml"), "stories.toml", Path::new(".")).unwrap();
    let speed = scenario.speed;
    settings_of(scenario, speed, workers, false)
}

#[track_caller]
fn assert_right(report: &Report) {
    assert_eq!(broken_invariants(report), [""; 0], "{:#?}", report.invariants);
    assert_eq!(report.exit(), Exit::Good, "{} {:?}", report.verdict_reason, report.failures);
}

#[test]
fn a_right_shop_plays_every_story() {
    for workers in [1, 3] {
        let report = report_of(Broken::Not, &settings(workers));
        assert_right(&report);
        let requests = &report.requests;
        assert_eq!(requests.started, requests.completed);
        let queued = requests.joins + requests.looks + requests.leaves + requests.accepts;
        let bought = requests.reserves + requests.confirms + requests.cancels;
        assert_eq!(requests.started, requests.registers + bought + queued);
        let refused: u64 = requests.refused.values().sum();
        assert_eq!(requests.reserves, requests.held - requests.turns + refused);
        for (what, times) in [
            ("registrations", requests.registers),
            ("baskets", requests.baskets),
            ("joins", requests.joins),
            ("looks", requests.looks),
            ("turns", requests.turns),
            ("leaves", requests.leaves),
            ("accepted offers", requests.accepts),
            ("shares", requests.shares),
            ("people drawn", requests.drawn),
        ] {
            assert!(times > 0, "no {what}");
        }
        for reason in ["not_eligible", "bad_invitation", "all_held", "paused"] {
            assert!(requests.refused.contains_key(reason), "{reason}");
        }
    }
}

#[test]
fn each_shop_that_breaks_a_story_is_found_by_the_invariant_that_it_breaks() {
    for (broken, invariant) in [
        (Broken::TakesAnyInvitation, "audience_holds"),
        (Broken::LetsEverybodyIn, "audience_holds"),
        (Broken::ChangesTheUnit, "one_end"),
        (Broken::IgnoresThePause, "pause_holds"),
        (Broken::AddsNothing, "no_undersell"),
        (Broken::AddsTooMuch, "no_oversell"),
        (Broken::IgnoresTheNewCap, "cap_holds"),
    ] {
        let report = report_of(broken, &settings(1));
        let found = broken_invariants(&report);
        assert!(found.contains(&invariant), "{broken:?} was not found by {invariant} but by {found:?}");
        assert_eq!(report.exit(), Exit::InvariantBroken);
    }
}
