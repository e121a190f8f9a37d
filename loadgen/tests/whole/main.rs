//! The program as its users run it: with a real Redis, killed in the middle, and where something is in its way.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

mod damaged;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use sellout_testkit::{RedisServer, eventually};
use serde_json::Value;
use tempfile::TempDir;

/// A sale of 400 to 3,000 people, some of whom never pay, over in some two seconds.
const SCENARIO: &str = r#"
name = "small"
speed = "30x"

[[sales]]
name = "mug"
stock = 400
hold = "15s"
grace = "1s"
audience = "registered"

[crowd]
people = 3_000
registered = "90%"

[[arrivals]]
spike = { at = "+1s", visits = 3_000, plateau = "10s", decay = "5s" }

[retries]
share = "30%"
every = "5s"
on = ["not-open", "all-held", "attempt-under-way"]

[payment]
at_once = 80
never = 10
twice = 10
delay = "10s"
returning_pay = true
"#;

/// A folder with the scenario in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("small.toml"), SCENARIO).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        // However slow the machine is: what is proved here is not a latency.
        command.current_dir(self.folder.path()).env_remove("LOADGEN_REDIS").args(arguments);
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        let output = self.command(&["run", "small.toml", "--lag-bound", "1h", "-o", "r.json"]).args(more).output();
        output.unwrap()
    }

    fn audit(&self) -> Output {
        self.command(&["audit", "--journal", "j", "--acks", "acks"]).output().unwrap()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("r.json")).unwrap()).unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_sold_right(place: &Place, output: &Output) -> Value {
    assert_eq!(code(output), 0, "{}{}", String::from_utf8_lossy(&output.stdout), errors(output));
    let report = place.report();
    let sale = &report["sales"][0];
    assert_eq!((&sale["sold"], &sale["held"], &sale["free"]), (&400.into(), &0.into(), &0.into()), "{sale}");
    assert!(report["invariants"].as_array().unwrap().iter().all(|invariant| invariant["holds"] == true));
    report
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn every_sale_is_in_redis_once() {
    let (place, server) = (Place::new(), RedisServer::start());
    let output = place.run(&["--redis", &server.url()]);
    let report = assert_sold_right(&place, &output);
    let ledger = &report["ledger"];
    assert_eq!((&ledger["sales"], &ledger["missing"], &ledger["duplicates"]), (&400.into(), &0.into(), &0.into()));
    assert_eq!(server.ask::<u64>("HLEN sellout:{mug}:sales"), 400);
    assert_eq!(server.ask::<u64>("HGET sellout:{mug}:ledger last"), 400);
}

#[test]
fn a_redis_that_comes_late_gets_everything() {
    let (place, mut server) = (Place::new(), RedisServer::stopped(&[], None));
    let mut run = place.command(&["run", "small.toml", "--lag-bound", "1h", "-o", "r.json", "--redis", &server.url()]);
    let mut run = run.args(["--journal", "j"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the sale has begun", || place.path("j/00000001.journal").exists());
    server.restart();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(place.report()["ledger"]["sales"], 400);
    assert_eq!(server.ask::<u64>("HLEN sellout:{mug}:sales"), 400);
}

#[test]
fn a_redis_that_never_comes_fails_the_run_and_loses_nothing() {
    let (place, mut server) = (Place::new(), RedisServer::stopped(&[], None));
    let output = place.run(&["--redis", &server.url(), "--redis-wait", "100ms", "--journal", "j"]);
    assert_eq!(code(&output), 1, "{}", errors(&output));
    let line = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(line.starts_with("small: COULD NOT FINISH: "), "{line}");
    assert_eq!(place.report()["ending"], "could-not-finish");
    assert!(errors(&output).contains("nobody listens") && errors(&output).contains("journal j"), "{}", errors(&output));
    server.restart();
    let again = place.run(&["--redis", &server.url(), "--journal", "j"]);
    assert_sold_right(&place, &again);
    assert_eq!(server.ask::<u64>("HLEN sellout:{mug}:sales"), 400);
}

#[test]
fn a_redis_that_cannot_be_used_is_told_before_anything_is_sold() {
    let (place, server) = (Place::new(), RedisServer::start_with(&[], Some("hush")));
    for (url, words) in [
        (format!("redis://127.0.0.1:{}", server.port()), "needs a password"),
        (format!("redis://:wrong@127.0.0.1:{}", server.port()), "refused"),
        ("http://127.0.0.1".to_owned(), "redis://"),
    ] {
        let output = place.run(&["--redis", &url, "--journal", "j"]);
        assert_eq!(code(&output), 1, "{url}");
        assert!(errors(&output).contains(words), "{url}: {}", errors(&output));
        assert!(!errors(&output).contains("wrong@") && !errors(&output).contains("hush"), "{}", errors(&output));
    }
    assert_sold_right(&place, &place.run(&["--redis", &server.url(), "--journal", "k"]));
    let other = place.run(&["--redis", &server.url(), "--journal", "l"]);
    assert_eq!(code(&other), 1);
    assert!(errors(&other).contains("from another journal"), "{}", errors(&other));
    assert_sold_right(&place, &place.run(&["--redis", &server.url(), "--redis-prefix", "two", "--journal", "l"]));
}

/// Kills a run once it has acknowledged some orders; how many lines its acks have.
fn killed_in_the_middle(place: &Place) -> usize {
    let mut run = place.command(&["run", "small.toml", "--journal", "j", "--acks", "acks", "--speed", "10x"]);
    let mut run: Child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("orders are acknowledged", || lines(&place.path("acks")) >= 40);
    run.kill().unwrap();
    run.wait().unwrap();
    lines(&place.path("acks"))
}

#[test]
fn a_run_killed_in_the_middle_has_lost_nothing_acknowledged_and_sells_the_rest() {
    let place = Place::new();
    let acknowledged = killed_in_the_middle(&place);
    assert!((40..400).contains(&acknowledged), "{acknowledged}");
    assert_eq!(code(&place.audit()), 0, "{}", String::from_utf8_lossy(&place.audit().stdout));
    let again = place.run(&["--journal", "j", "--acks", "acks"]);
    let report = assert_sold_right(&place, &again);
    let sold_before = usize::try_from(report["sales"][0]["sold_before"].as_u64().unwrap()).unwrap();
    assert!(sold_before >= acknowledged, "{sold_before}");
    assert_eq!(code(&place.audit()), 0);
    // What was in the journal when the first run was killed, and not acknowledged yet, is sold all the same.
    let never_told = sold_before - acknowledged;
    assert_eq!(lines(&place.path("acks")), 400 - never_told, "each other order was acknowledged once");
}

#[test]
fn control_an_acknowledgement_that_the_journal_lacks_is_found() {
    let place = Place::new();
    killed_in_the_middle(&place);
    let acks = fs::read_to_string(place.path("acks")).unwrap();
    let first = acks.lines().next().unwrap();
    let order = first.split(',').nth(1).unwrap();
    let never = order.chars().rev().collect::<String>();
    fs::write(place.path("acks"), acks.replacen(order, &never, 1)).unwrap();
    let audit = place.audit();
    assert_eq!(code(&audit), 99, "{}", String::from_utf8_lossy(&audit.stdout));
}

#[test]
fn an_audit_explains_every_difference_between_journal_and_redis_and_repairs_what_is_missing() {
    let (place, server) = (Place::new(), RedisServer::start());
    let url = server.url();
    assert_sold_right(&place, &place.run(&["--journal", "j", "--redis", &url]));
    let audit = |more: &[&str]| {
        let output = place.command(&["audit", "--journal", "j", "--redis", &url]).args(more).output().unwrap();
        (code(&output), String::from_utf8(output.stdout.clone()).unwrap() + &errors(&output))
    };
    let (exit, said) = audit(&[]);
    assert!(exit == 0 && said.contains("orders are in Redis, each once"), "{said}");

    server.tell("HDEL sellout:{mug}:sales 7 8");
    let (exit, said) = audit(&[]);
    assert!(exit == 99 && said.contains("2 missing: --repair"), "{said}");
    let (exit, said) = audit(&["--repair"]);
    assert!(exit == 0 && said.contains("2 orders are missing in Redis: delivering them"), "{said}");
    assert_eq!(audit(&[]).0, 0);

    // What nobody can tell from here is said, and left as it is, with and without a repair.
    server.tell("HSET sellout:{mug}:sales 7 changed");
    server.tell("HSET sellout:{mug}:sales stranger row");
    for more in [&[][..], &["--repair", "--redis-wait", "2s"]] {
        let (exit, said) = audit(more);
        assert!(exit == 99 && said.contains("1 other than in the journal"), "{said}");
        assert!(said.contains("1 there twice or under a number that the journal has not"), "{said}");
    }
    server.tell("FLUSHALL");
    assert_eq!(audit(&["--repair"]).0, 0, "everything is delivered again");
    server.tell("HSET sellout:{mug}:ledger units 1");
    let (exit, said) = audit(&[]);
    assert!(exit == 99 && said.contains("somebody has changed that"), "{said}");
    drop(server);
    assert_eq!(audit(&[]).0, 1, "nobody listens");
}

#[test]
fn an_audit_of_a_damaged_journal_names_the_place_and_tells_what_stands_before_it() {
    let place = Place::new();
    assert_sold_right(&place, &place.run(&["--journal", "j"]));
    let file = place.path("j").join("00000001.journal");
    let mut bytes = fs::read(&file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[4_096 + (used - 4_096) / 2] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let output = place.command(&["audit", "--journal", "j"]).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(code(&output), 99, "{said}");
    assert!(said.contains("BROKEN journal_reads: ") && said.contains("00000001.journal"), "{said}");
    assert!(said.contains("units sold in"), "{said}");
    assert!(fs::read(&file).unwrap() == bytes, "an audit changes nothing");
}

#[test]
fn a_journal_that_another_process_has_open_is_refused() {
    let place = Place::new();
    assert_sold_right(&place, &place.run(&["--journal", "j"]));
    let ours = sellout::Engine::open(place.path("j")).unwrap();
    let theirs = place.run(&["--journal", "j"]);
    assert_eq!(code(&theirs), 1);
    assert!(errors(&theirs).contains("is in use: stop the process"), "{}", errors(&theirs));
    ours.close().unwrap();
    assert_eq!(code(&place.command(&["audit", "--journal", "j"]).output().unwrap()), 0);
}

#[test]
fn a_journal_of_another_stock_is_refused_before_anything_is_sold() {
    let place = Place::new();
    assert_sold_right(&place, &place.run(&["--journal", "j"]));
    fs::write(place.path("small.toml"), SCENARIO.replace("stock = 400", "stock = 500")).unwrap();
    let other = place.run(&["--journal", "j"]);
    assert_eq!(code(&other), 1);
    assert!(errors(&other).contains("with 400 units, the scenario with 500"), "{}", errors(&other));
}

#[test]
fn a_run_that_is_terminated_writes_its_report() {
    let place = Place::new();
    let mut run = place.command(&["run", "small.toml", "--acks", "acks", "--speed", "10x", "-o", "r.json"]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the sale has begun", || lines(&place.path("acks")) > 0);
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(105));
    let report = place.report();
    assert_eq!((&report["ending"], &report["interrupted"]), (&"stopped-by-hand".into(), &true.into()));
    let number = |name: &str| report["requests"][name].as_u64().unwrap();
    let ended = number("confirmed") + number("cancelled") + number("expired") + number("unknown");
    assert_eq!(number("held"), ended + number("still_held"));
    let units = |name: &str| report["sales"][0][name].as_u64().unwrap();
    assert_eq!(units("stock"), units("sold") + units("held") + units("free"));
}

#[test]
fn a_run_that_ends_while_its_holds_run_out_is_not_called_wrong() {
    let place = Place::new();
    // Everybody gets a unit within a second, nobody pays; a hold is over a tenth of a real second after the end.
    let text = SCENARIO.replace("at_once = 80", "at_once = 0").replace("never = 10", "never = 1");
    let text =
        text.replace("twice = 10", "twice = 0").replace("speed = \"30x\"", "speed = \"100x\"\ngives_up = \"15s\"");
    fs::write(place.path("small.toml"), text).unwrap();
    for _ in 0..3 {
        let output = place.run(&[]);
        // Right; or too slow to be measured, on a machine that is busy with other tests.
        assert!(matches!(code(&output), 0 | 4), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_crowd_that_nobody_could_serve_is_counted_and_not_waited_for() {
    let place = Place::new();
    let text = SCENARIO.replace("visits = 3_000", "visits = 4_000_000_000");
    let text = text.replace("speed = \"30x\"", "speed = \"1000x\"\ngives_up = \"20s\"");
    fs::write(place.path("small.toml"), text).unwrap();
    let output = place.command(&["run", "small.toml", "-o", "r.json"]).output().unwrap();
    assert_eq!(code(&output), 4, "{}", errors(&output));
    let requests = &place.report()["requests"];
    assert!(requests["unsent"].as_u64().unwrap() > 1_000_000_000, "{requests}");
    let sum = requests["started"].as_u64().unwrap() + requests["unsent"].as_u64().unwrap();
    assert_eq!(requests["offered"], sum);
}

#[test]
fn what_is_in_the_way_of_a_journal_is_named() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let file = place.run(&["--journal", "file"]);
    assert_eq!((code(&file), errors(&file).contains("not a folder")), (1, true), "{}", errors(&file));
    let nowhere = place.run(&["--journal", "no/where"]);
    assert_eq!((code(&nowhere), errors(&nowhere).contains("no/where")), (1, true), "{}", errors(&nowhere));

    let mut first = place.command(&["run", "small.toml", "--journal", "j", "--acks", "acks"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the sale has begun", || lines(&place.path("acks")) > 0);
    let second = place.run(&["--journal", "j"]);
    assert_eq!((code(&second), errors(&second).contains("is in use")), (1, true), "{}", errors(&second));
    first.kill().unwrap();
    first.wait().unwrap();

    let segment = place.path("j/00000001.journal");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 99;
    fs::write(&segment, bytes).unwrap();
    let newer = place.run(&["--journal", "j"]);
    assert_eq!((code(&newer), errors(&newer).contains("format 99")), (1, true), "{}", errors(&newer));
}

/// A sale whose units come back, and people who wait for them; over in some three seconds.
const QUEUE: &str = r#"
name = "queue"
speed = "30x"

[[sales]]
name = "book"
stock = 60
hold = "20s"
grace = "1s"
audience = "registered"
reminds_at = "+1s"
links_at = "+2s"
opens_at = "+4s"
units = "numbered"
waitlist = { room = 200, accept_within = "12s" }

[crowd]
people = 1_000
registered = "90%"

[[arrivals]]
spike = { at = "+4s", visits = 800, plateau = "5s", decay = "5s" }

[waiting]
share = "60%"
leaves = "5%"
pays = "70%"
every = "2s"

[payment]
at_once = 66
never = 30
cancel = 4
delay = "5s"
"#;

#[test]
fn what_comes_back_goes_to_who_waits_and_everything_is_sold_although_many_never_pay() {
    let place = Place::new();
    fs::write(place.path("small.toml"), QUEUE).unwrap();
    let output = place.run(&[]);
    assert_eq!(code(&output), 0, "{}{}", String::from_utf8_lossy(&output.stdout), errors(&output));
    let report = place.report();
    assert_eq!((&report["sales"][0]["sold"], &report["sales"][0]["free"]), (&60.into(), &0.into()));
    assert!(report["waitlist"]["paid"].as_u64().unwrap() > 0, "{}", report["waitlist"]);
    assert!(report["invariants"].as_array().unwrap().iter().any(|known| known["name"] == "waitlist_in_order"));
}

#[test]
fn the_engine_plays_everything_that_a_story_may_have() {
    let place = Place::new();
    fs::write(place.path("small.toml"), include_str!("../selling/stories.toml")).unwrap();
    let output = place.run(&[]);
    assert_eq!(code(&output), 0, "{}{}", String::from_utf8_lossy(&output.stdout), errors(&output));
    let report = place.report();
    for key in ["messages", "baskets", "sharing", "resources", "reopened"] {
        assert!(report[key].is_object(), "{key}");
    }
    assert_eq!((&report["messages"]["missing"], &report["messages"]["twice"]), (&0.into(), &0.into()));
}
