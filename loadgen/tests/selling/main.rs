//! Whole runs against a small shop: a right one passes, and each broken one is found by the invariant it breaks.

#![expect(clippy::unwrap_used, reason = "an unwrap in a test is the proof's own failure")]

mod shop;
mod stories;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use sellout::Timestamp;
use sellout_loadgen::{
    clock::ScaledClock,
    exit::Exit,
    play::{Settings, play},
    report::{Report, Style, render},
    runner::{Ack, AckLog, read_acks},
    scenario::{Scenario, built_ins},
    target::OrderId,
    units::Speed,
};
use shop::{Broken, Shop};

const SCENARIO: &str = r#"
name = "test"
speed = "40x"
gives_up = "80s"

[[sales]]
name = "mug"
stock = 60
cap = 1
hold = "8s"
grace = "1s"
opens_at = "+2s"
audience = "registered"

[[sales]]
name = "cup"
stock = 40
cap = 3
largest = 2
hold = "8s"
grace = "1s"

[crowd]
people = 3_000
registered = 0.8
quantities = [0.7, 0.3]
sales = { mug = 2, cup = 1 }

[[arrivals]]
spike = { at = "+1s", visits = 2_000, plateau = "1s", decay = "2s" }

[[arrivals]]
poisson = { at = "+3s", rate = "50/s", lasts = "10s" }

[retries]
share = "30%"
every = "2s"

[double_clicks]
share = "30%"
after = "20ms"

[bots]
share = "1%"
attempts = 20

[payment]
at_once = 55
late = 10
at_deadline = 4
after_deadline = 6
never = 10
twice = 10
cancel = 5
delay = "2s"
returning_pay = true
"#;

fn settings(workers: usize, stop: bool) -> Settings {
    let scenario = Scenario::parse(SCENARIO, "test.toml", Path::new(".")).unwrap();
    let speed = scenario.speed;
    settings_of(scenario, speed, workers, stop)
}

fn settings_of(scenario: Scenario, speed: Speed, workers: usize, stop: bool) -> Settings {
    Settings {
        speed,
        seed: 11,
        workers,
        clock: Arc::new(ScaledClock::standing_at(Timestamp::from_millis(1_000_000), speed)),
        stop: Arc::new(AtomicBool::new(stop)),
        acks: None,
        earlier_acks: Vec::new(),
        lag_bound: Duration::from_mins(1),
        command_line: Vec::new(),
        scenario,
    }
}

fn report_of(broken: Broken, settings: &Settings) -> Report {
    let shop = Shop::new(broken, Arc::clone(&settings.clock));
    play(&shop, settings, &mut |_| {}).unwrap()
}

fn broken_invariants(report: &Report) -> Vec<&'static str> {
    report.invariants.iter().filter(|invariant| !invariant.holds).map(|invariant| invariant.name).collect()
}

#[test]
fn a_right_shop_passes_and_sells_every_unit() {
    for workers in [1, 3] {
        let report = report_of(Broken::Not, &settings(workers, false));
        assert_eq!(broken_invariants(&report), [""; 0], "{:#?}", report.invariants);
        assert_eq!(report.exit(), Exit::Good, "{}", report.verdict_reason);
        for sale in &report.sales {
            let units = &sale.units;
            assert_eq!((units.sold, units.held, units.free), (units.stock, 0, 0), "{}", sale.sale);
            assert_eq!((units.oversold, units.undersold, units.over_cap), (0, 0, 0));
            assert!(sale.sold_out_ms.is_some() && sale.all_held_ms.is_some());
        }
        let requests = &report.requests;
        assert_eq!(requests.offered, requests.started + requests.unsent);
        assert_eq!(requests.started, requests.completed);
        assert_eq!(requests.started, requests.reserves + requests.confirms + requests.cancels);
        let refused: u64 = requests.refused.values().sum();
        assert_eq!(requests.reserves, requests.held + refused);
        assert_eq!(requests.held, requests.confirmed + requests.cancelled + requests.expired);
        for reason in ["not_open", "not_eligible", "limit_reached", "all_held", "sold_out"] {
            assert!(requests.refused.contains_key(reason), "{reason}");
        }
    }
}

#[test]
fn each_broken_shop_is_found_by_the_invariant_that_it_breaks() {
    for (broken, invariant) in [
        (Broken::Oversells, "no_oversell"),
        (Broken::LeaksHeldUnits, "no_undersell"),
        (Broken::IgnoresTheCap, "cap_holds"),
        (Broken::ConfirmsTwice, "one_end"),
        (Broken::SaysSoldOutTooEarly, "sold_out_is_true"),
        (Broken::LetsEverybodyIn, "audience_holds"),
        (Broken::OpensEarly, "window_holds"),
        (Broken::OneTicketForAll, "tickets_unique"),
        (Broken::ForgetsToJournal, "journal_agrees"),
        (Broken::DeliversTwice, "ledger_agrees"),
        (Broken::MiscountsItself, "audit_agrees"),
        (Broken::LosesCount, "audit_adds_up"),
        (Broken::OneOrderForAll, "orders_unique"),
        (Broken::DigestsSomethingElse, "digests_agree"),
    ] {
        let report = report_of(broken, &settings(2, false));
        let found = broken_invariants(&report);
        assert!(found.contains(&invariant), "{broken:?} was not found by {invariant} but by {found:?}");
        assert_eq!(report.exit(), Exit::InvariantBroken);
        let text = render(&report, Style::default());
        assert!(text.contains("SOLD WRONG") && text.contains(invariant), "{text}");
    }
}

#[test]
fn every_built_in_scenario_sells_every_unit_of_a_right_shop() {
    for (name, _) in built_ins() {
        let scenario = Scenario::find(name).unwrap();
        // A shop behind one lock has no place for a million.
        if scenario.units() > 100_000 {
            continue;
        }
        let faster = Speed(scenario.speed.0 * 4.0);
        let report = report_of(Broken::Not, &settings_of(scenario, faster, 1, false));
        assert_eq!(broken_invariants(&report), [""; 0], "{name}: {:#?}", report.invariants);
        for sale in report.sales.iter().filter(|sale| sale.sale != "coupon") {
            let units = &sale.units;
            let offered = units.stock + units.added - units.withdrawn;
            assert_eq!((units.sold, units.oversold, units.undersold), (offered, 0, 0), "{name}: {}", sale.sale);
        }
    }
}

#[test]
fn the_figures_name_what_is_wrong() {
    let sums = |broken| report_of(broken, &settings(1, false)).sums.units;
    assert!(sums(Broken::Oversells).oversold > 0);
    assert!(sums(Broken::LeaksHeldUnits).undersold > 0);
    assert!(sums(Broken::IgnoresTheCap).over_cap > 0);
}

#[test]
fn the_json_report_has_what_is_promised() {
    let report = report_of(Broken::Not, &settings(1, false));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], "sellout-loadgen/1");
    assert_eq!(json["seed"], 11);
    assert_eq!(json["verdict"], "valid");
    for key in [
        "/scenario",
        "/sales/0/sale",
        "/sales/0/stock",
        "/sales/0/added",
        "/sales/0/withdrawn",
        "/sales/0/sold",
        "/sales/0/held",
        "/sales/0/free",
        "/sales/0/oversold",
        "/sales/0/undersold",
        "/sales/0/over_cap",
        "/sales/0/sold_out_ms",
        "/requests/offered",
        "/requests/started",
        "/requests/completed",
        "/requests/unsent",
        "/requests/held",
        "/requests/confirmed",
        "/requests/cancelled",
        "/requests/expired",
        "/requests/still_held",
        "/requests/unknown",
        "/ending",
        "/requests/refused/all_held",
        "/latency_ns/response/p50",
        "/latency_ns/service/p99_99",
        "/latency_ns/lag/max",
        "/journal/records",
        "/journal/bytes",
        "/ledger/sales",
        "/ledger/missing",
        "/ledger/duplicates",
        "/invariants/0/name",
        "/invariants/0/holds",
        "/clock_cost_ns/clock_read",
        "/generator_cpu_share",
        "/started_at",
    ] {
        assert!(json.pointer(key).is_some_and(|value| !value.is_null()), "{key}");
    }
}

#[test]
fn a_run_that_is_stopped_says_so_and_still_reports() {
    let report = report_of(Broken::Not, &settings(1, true));
    assert!(report.interrupted);
    assert_eq!(report.exit(), Exit::Interrupted);
    let line = render(&report, Style { quiet: true, colour: false });
    assert!(line.starts_with("test: stopped by hand, sold right until then; 0 of"), "{line}");
}

#[test]
fn a_schedule_that_is_not_kept_makes_the_run_generator_limited() {
    let mut settings = settings(1, false);
    settings.lag_bound = Duration::ZERO;
    let report = report_of(Broken::Not, &settings);
    assert_eq!(report.exit(), Exit::GeneratorLimited);
    assert!(!report.latency_ns.of_target);
    assert!(render(&report, Style::default()).contains("not the target's"));
}

#[test]
fn every_confirmation_is_acknowledged_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acks");
    let mut settings = settings(2, false);
    settings.acks = Some(AckLog::append(&path).unwrap());
    let report = report_of(Broken::Not, &settings);
    let acks = read_acks(&path).unwrap();
    assert_eq!(acks.len() as u64, report.requests.confirmed);
}

#[test]
fn an_acknowledgement_that_was_lost_breaks_the_run() {
    let mut settings = settings(1, true);
    settings.earlier_acks = vec![Ack { sale: "mug".to_owned(), order: OrderId(5), payment: "5".to_owned() }];
    let report = report_of(Broken::Not, &settings);
    assert_eq!(broken_invariants(&report), ["acknowledged_kept"]);
}

#[test]
fn a_scenario_that_the_target_cannot_play_is_refused_before_the_run() {
    let text = SCENARIO.replacen("hold = \"8s\"", "hold = \"8s\"\nwaitlist = { room = 10, accept_within = \"2s\" }", 1);
    let scenario = Scenario::parse(&text, "test.toml", Path::new(".")).unwrap();
    let speed = scenario.speed;
    let settings = settings_of(scenario, speed, 1, false);
    let shop = Shop::new(Broken::HasNoWaitlist, Arc::clone(&settings.clock));
    let error = play(&shop, &settings, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("this target has no waitlist"), "{error}");
}

#[test]
fn speed_changes_real_time_and_not_the_crowd() {
    let mut faster = settings(1, false);
    faster.speed = Speed(80.0);
    faster.clock = Arc::new(ScaledClock::standing_at(Timestamp::from_millis(0), faster.speed));
    let (fast, slow) = (report_of(Broken::Not, &faster), report_of(Broken::Not, &settings(1, false)));
    assert_eq!(fast.crowd.visits, slow.crowd.visits);
    assert_eq!(fast.sales[0].units.sold, slow.sales[0].units.sold);
}
