//! Everything that the stories need, against a right shop and against each that is broken in one way.

use std::{path::Path, thread};

use sellout_loadgen::{
    exit::Exit,
    report::{Report, SALES_LISTED, Style, render},
    scenario::Scenario,
};

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
fn the_report_tells_the_story() {
    let report = report_of(Broken::Not, &settings(1));
    let json = serde_json::to_value(&report).unwrap();
    for key in [
        "/sums/sold",
        "/sums/sales",
        "/sales/0/asked",
        "/stages/0/stage",
        "/stages/0/registered",
        "/stages/2/held",
        "/stages/2/refused/not_eligible",
        "/stages/2/response_ns/p99",
        "/messages/delivered/reminder",
        "/messages/delivered/purchase_link",
        "/messages/delivered/confirmation",
        "/messages/delivered/shipping_notice",
        "/messages/missing",
        "/faces/0/kind",
        "/faces/0/given",
        "/faces/3/amounts/budget_cents",
        "/faces/3/amounts/tenths_as_drawn_milli/9",
        "/faces/3/amounts/tenths_by_place_milli/9",
        "/baskets/sold",
        "/waitlist/offered",
        "/waitlist/left",
        "/sharing/drawn",
        "/changes/0/change",
        "/changes/0/at_ms",
        "/resources/resident_bytes",
        "/reopened/sales",
        "/requests/registers",
        "/requests/turns",
    ] {
        assert!(json.pointer(key).is_some_and(|value| !value.is_null()), "{key}");
    }
    let text = render(&report, Style::default());
    for words in [
        "register ",
        "exchange ",
        "messages   ",
        "units      seat: listed",
        "amounts    cash: ",
        "mean of each tenth, first to last drawn: ",
        "baskets    ",
        "waitlist   ",
        "sharing    ",
        "change     after 22s: meadow: pause",
        "change     after 26s: phone: add 10 units",
        "change     after 30s: all sales: pause",
        "resources  1 MiB at rest for 5 sales",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Each, and the invariant that finds it.
const BREAKS: [(Broken, &str); 21] = [
    (Broken::TakesAnyInvitation, "audience_holds"),
    (Broken::LetsEverybodyIn, "audience_holds"),
    (Broken::ChangesTheUnit, "one_end"),
    (Broken::IgnoresThePause, "pause_holds"),
    (Broken::AddsNothing, "no_undersell"),
    (Broken::AddsTooMuch, "no_oversell"),
    (Broken::IgnoresTheNewCap, "cap_holds"),
    (Broken::SellsOneUnitTwice, "units_unique"),
    (Broken::GivesTooMuch, "amounts_add_up"),
    (Broken::LosesACent, "amounts_add_up"),
    (Broken::ChangesTheAmount, "amounts_add_up"),
    (Broken::SellsHalfABasket, "basket_whole"),
    (Broken::KeepsHalfABasket, "no_undersell"),
    (Broken::ServesNewcomersFirst, "waitlist_in_order"),
    (Broken::OffersToTheLast, "waitlist_in_order"),
    (Broken::OffersToNobody, "waitlist_in_order"),
    (Broken::RemindsTwice, "messages_once"),
    (Broken::ForgetsAConfirmation, "messages_once"),
    (Broken::MixesUpMessages, "messages_once"),
    (Broken::TellsAStranger, "messages_once"),
    (Broken::ReopensDifferently, "reopened_agrees"),
];

#[test]
fn each_shop_that_breaks_a_story_is_found_by_the_invariant_that_it_breaks() {
    let check = |(broken, invariant): &(Broken, &str)| {
        let report = report_of(*broken, &settings(1));
        let found = broken_invariants(&report);
        assert!(found.contains(invariant), "{broken:?} was not found by {invariant} but by {found:?}");
        assert_eq!(report.exit(), Exit::InvariantBroken);
    };
    // Each plays for two seconds, most of which it waits.
    for some in BREAKS.chunks(4) {
        thread::scope(|scope| some.iter().for_each(|each| drop(scope.spawn(move || check(each)))));
    }
}

#[test]
fn many_sales_are_told_in_few_lines() {
    let text = r#"
name = "street"
speed = "40x"
gives_up = "60s"

[[sales]]
name = "shop"
stock = 5
hold = "8s"
shops = 20_000
popularity = { hot = 10, share = "60%" }

[crowd]
people = 2_000

[[arrivals]]
step = { rate = "200/s", lasts = "10s" }
"#;
    let scenario = Scenario::parse(text, "street.toml", Path::new(".")).unwrap();
    let speed = scenario.speed;
    let report = report_of(Broken::Not, &settings_of(scenario, speed, 1, false));
    assert_right(&report);
    assert_eq!((report.sales.len(), report.sums.sales, report.sums.units.stock), (SALES_LISTED, 20_000, 100_000));
    assert!(report.sales[0].asked > 50 && report.sales.is_sorted_by(|one, other| one.asked >= other.asked));
    assert_eq!(report.sums.units.sold, report.requests.confirmed);
    let text = render(&report, Style::default());
    assert!(text.contains("... and 19,995 more sales") && text.lines().count() < 50, "{text}");
}
