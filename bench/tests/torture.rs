//! The torture as its users run it: real processes, real kills, a real Redis.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use sellout_bench::torture::kills::{Plan, Series};
use sellout_testkit::eventually;
use serde_json::Value;
use tempfile::TempDir;

/// A torture with a folder of its own for everything that it leaves behind.
struct Torture {
    folder: TempDir,
}

impl Torture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn journals(&self) -> PathBuf {
        self.folder.path().join("journals")
    }

    fn command(&self, arguments: &str) -> Command {
        fs::create_dir_all(self.journals()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sellout-bench"));
        command.env("TMPDIR", self.journals()).arg("torture").args(arguments.split(' '));
        command.arg("--json").arg(self.folder.path().join("torture.json"));
        command
    }

    /// The report of a torture that ends with `code`, and what it printed.
    #[track_caller]
    fn run(&self, arguments: &str, code: i32) -> (Value, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = String::from_utf8(stdout).unwrap();
        assert_eq!(status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&stderr));
        let report = fs::read(self.folder.path().join("torture.json")).unwrap();
        (serde_json::from_slice(&report).unwrap(), text)
    }
}

#[track_caller]
fn assert_nothing_lost(report: &Value) {
    for figure in ["missing", "twice", "wrong"] {
        assert_eq!(report[figure], 0, "{report}");
    }
}

#[track_caller]
fn assert_some(report: &Value, counts: &[&str]) {
    for what in counts {
        assert!(report["tallies"][0]["counts"][what].as_u64().unwrap() > 0, "{what}: {report}");
    }
}

/// The control ends with 99, and its loss is of this kind; what was lost is kept. The report.
#[track_caller]
fn assert_noticed(arguments: &str, figure: &str) -> Value {
    assert_noticed_by(1, arguments, figure)
}

#[track_caller]
fn assert_noticed_by(seed: u64, arguments: &str, figure: &str) -> Value {
    let torture = Torture::new();
    let (report, text) = torture.run(&format!("{arguments} --seed {seed}"), 99);
    assert!(report[figure].as_u64().unwrap() > 0, "{report}");
    let loss = &report["losses"][0];
    assert!(Path::new(loss["kept"].as_str().unwrap()).join("journal").is_dir(), "{loss}");
    let replay = loss["replay"].as_str().unwrap();
    assert!(
        replay.contains(&format!("--seed {seed} --tries 1")) && text.contains(replay),
        "{replay} is missing from:\n{text}"
    );
    report
}

#[test]
fn two_hundred_kills_on_one_journal_lose_nothing_and_sell_nothing_twice() {
    let torture = Torture::new();
    let (report, text) = torture.run("--only kills --kills 200 --tries 1", 0);
    assert_nothing_lost(&report);
    assert_eq!(report["tallies"][0]["counts"]["kills"], 200);
    assert!(report["tallies"][0]["acknowledged"].as_u64().unwrap() > 200, "{report}");
    assert_some(&report, &["while recovering", "in baskets", "waited for", "paid late", "refunded"]);
    assert!(text.contains("lost: nothing"), "{text}");
    assert_eq!(fs::read_dir(torture.journals()).unwrap().count(), 0, "journals that lost nothing are removed");
}

#[test]
fn a_redis_that_dies_beside_the_process_that_sells_has_every_order_once() {
    let (report, _) = Torture::new().run("--only redis --kills 15 --tries 3 --seed 3", 0);
    assert_nothing_lost(&report);
    assert_eq!((&report["tallies"][0]["tries"], &report["tallies"][0]["counts"]["kills"]), (&3.into(), &45.into()));
    assert_some(&report, &["kills of Redis"]);
}

#[test]
fn redis_fails_over_by_sentinel_and_in_a_cluster_and_has_every_order_once() {
    let (report, _) = Torture::new().run("--only failovers --tries 2", 0);
    assert_nothing_lost(&report);
    let counts = &report["tallies"][0]["counts"];
    assert_eq!((&counts["by sentinel"], &counts["in a cluster"]), (&2.into(), &2.into()), "{report}");
    assert_eq!((&counts["killed"], &counts["stood still"]), (&2.into(), &2.into()), "{report}");
    // Each replica lacked something that its primary had when that was lost, or nothing was tried.
    assert!(counts["lost by Redis"].as_u64().unwrap() >= 4, "{report}");
    assert!(report["tallies"][0]["acknowledged"].as_u64().unwrap() > 4, "{report}");
}

#[test]
fn control_a_failover_after_which_nobody_delivers_is_noticed() {
    for (seed, group) in [(1, "in a cluster"), (2, "by sentinel")] {
        let report = assert_noticed_by(seed, "--only failovers --tries 1 --broken leaves-redis", "missing");
        let counts = &report["tallies"][0]["counts"];
        assert_eq!(counts[group], 1, "{report}");
        // Everything was in Redis before: what it lacks is what the failover has lost, to the last order.
        assert_eq!(report["missing"], counts["lost by Redis"], "{report}");
    }
}

#[test]
fn simulated_lives_and_histories_are_tried_and_counted() {
    let torture = Torture::new();
    let (report, text) = torture.run("--only seeds,histories --tries 25 --seed 90000", 0);
    assert_nothing_lost(&report);
    assert_some(&report, &["steps", "power cuts", "disk faults", "network faults", "Redis faults", "failovers"]);
    assert_some(&report, &["rotten bits", "compactions", "bad tokens"]);
    for tally in report["tallies"].as_array().unwrap() {
        assert_eq!(tally["tries"], 25, "{report}");
    }
    assert!(text.contains("seeds") && text.contains("histories"), "{text}");
}

#[test]
fn control_who_acknowledges_before_the_payment_is_reported_is_noticed() {
    assert_noticed("--only kills --kills 3 --tries 1 --broken ack-before-append", "missing");
}

#[test]
fn control_who_acknowledges_what_is_only_in_memory_is_noticed() {
    assert_noticed("--only kills --kills 3 --tries 1 --broken buffered", "missing");
}

#[test]
fn control_who_sells_again_for_the_same_payment_is_noticed() {
    assert_noticed("--only kills --kills 3 --tries 1 --broken sells-again", "twice");
}

#[test]
fn control_who_ships_what_was_refunded_is_noticed() {
    assert_noticed("--only kills --kills 3 --tries 1 --broken refunds-and-ships", "wrong");
}

#[test]
fn control_a_redis_that_is_left_empty_is_noticed() {
    assert_noticed("--only redis --kills 3 --tries 1 --broken leaves-redis", "missing");
}

#[test]
fn control_a_journal_that_is_put_back_to_an_earlier_state_is_noticed() {
    let mut series = Series::begin(Plan::new(env!("CARGO_BIN_EXE_sellout-bench").into()), 5).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut answered = 0;
    for life in 0.. {
        series.live().unwrap();
        if answered == 0 && series.acknowledged() > 0 {
            // From here on something was promised.
            copy_files(&series.journal(), copy.path());
            answered = series.acknowledged();
        } else if answered > 0 && series.acknowledged() > answered {
            break;
        }
        assert!(life < 100, "nothing is sold");
    }
    assert!(series.is_good());
    copy_files(copy.path(), &series.journal());
    let verdict = series.settle().verdict;
    assert!(verdict.missing > 0, "{verdict:?}");
}

fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Ctrl-C reaches all processes of a terminal's foreground: neither the one that sells nor the Redis may die of it.
#[test]
fn ended_by_hand_it_shows_what_was_tried_so_far() {
    let torture = Torture::new();
    let mut command = torture.command("--only redis --minutes 60");
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("a journal is written", || {
        let folders = fs::read_dir(torture.journals()).unwrap();
        folders.into_iter().any(|folder| folder.unwrap().path().join("journal").is_dir())
    });
    let group = format!("-{}", child.id());
    let interrupted = Command::new("kill").args(["-INT", "--", &group]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("ended by hand") && text.contains("lost: nothing"), "{text}");
    assert_eq!(fs::read_dir(torture.journals()).unwrap().count(), 0, "the journal is removed");
}

#[test]
fn help_teaches_and_a_bad_option_is_refused_with_what_would_be_good() {
    let torture = Torture::new();
    let help = torture.command("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for word in
        ["--minutes", "--seed", "--only", "--kills", "--json", "Examples", "99", "kills", "redis", "seeds", "histories"]
    {
        assert!(help.contains(word), "{word} is missing from:\n{help}");
    }
    for (bad, good) in [("--only kils", "'kills'"), ("--minutes soon", "60 or 0.5"), ("--tries 0", "--tries")] {
        let refused = torture.command(bad).output().unwrap();
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && error.contains(good), "{bad}: {error}");
    }
}
