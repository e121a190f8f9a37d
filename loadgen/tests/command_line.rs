//! The program from outside: what it teaches, what it refuses, and with which exit code.

#![expect(clippy::unwrap_used, reason = "an unwrap in a test is the proof's own failure")]

use assert_cmd::Command;
use sellout_testkit::RedisServer;

fn loadgen(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("loadgen").unwrap().args(arguments).env_remove("LOADGEN_REDIS").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn scenario_file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn help_teaches_by_examples() {
    let (code, stdout, _) = loadgen(&["--help"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("loadgen run meizu-mx3") && stdout.contains("Exit codes"));
    let (code, stdout, _) = loadgen(&["run", "--help"]);
    assert_eq!(code, 0);
    for word in ["--speed", "--seed", "--journal", "--redis", "--output", "[[arrivals]]", "LOADGEN_REDIS"] {
        assert!(stdout.contains(word), "{word}");
    }
}

const PASSWORD: &str = "hunter2-9f31c2";

/// A sale that is over at once.
const MUGS: &str = r#"
name = "mugs"
speed = "1000x"

[[sales]]
name = "mug"
stock = 5

[crowd]
people = 20

[[arrivals]]
step = { rate = "20/s", lasts = "1s" }

[payment]
at_once = 1
"#;

#[test]
fn a_password_of_redis_is_in_no_help_error_or_report() {
    let server = RedisServer::start_with(&[], Some(PASSWORD));
    let (good, nobody) = (server.url(), format!("redis://:{PASSWORD}@127.0.0.1:1"));
    assert!(good.contains(PASSWORD));
    let (folder, mugs) = scenario_file(MUGS);
    let report = folder.path().join("r.json");
    let report = report.to_str().unwrap();
    let note = "can be read by every user";
    for (by_variable, url, code) in [(false, &good, 0), (true, &good, 0), (false, &nobody, 1), (true, &nobody, 1)] {
        let mut command = Command::cargo_bin("loadgen").unwrap();
        command.args(["run", &mugs, "-o", report, "--redis-prefix", &format!("p{by_variable}")]);
        command.args(["--redis-wait", if code == 0 { "30s" } else { "1ms" }]);
        if by_variable {
            command.env("LOADGEN_REDIS", url);
        } else {
            command.env_remove("LOADGEN_REDIS").args(["--redis", url]);
        }
        let output = command.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
        assert!(!stdout.contains(PASSWORD) && !stderr.contains(PASSWORD), "{stdout}{stderr}");
        if code == 0 {
            let written = std::fs::read_to_string(report).unwrap();
            assert!(!written.contains(PASSWORD), "{written}");
            assert_eq!(written.contains("redis://***@127.0.0.1"), !by_variable, "the rest of the URL is there");
            assert_eq!(stderr.contains(note), !by_variable, "{stderr}");
        }
    }
    let mut help = Command::cargo_bin("loadgen").unwrap();
    let help = help.args(["run", "--help"]).env("LOADGEN_REDIS", &good).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("LOADGEN_REDIS") && !help.contains(PASSWORD), "{help}");
}

#[test]
fn list_shows_every_built_in_sale() {
    let (code, stdout, stderr) = loadgen(&["list"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for words in [
        ["meizu-mx3", "2,099"],
        ["guijiaoqi-books", "200"],
        ["postcards", "1,000"],
        ["strawberry-festival", "10,000"],
        ["cash-for-all", "1,500,000"],
        ["device-drops", "9,300"],
        ["every-shop", "80,000,000"],
    ] {
        assert!(stdout.lines().any(|line| words.iter().all(|word| line.contains(word))), "{stdout}");
    }
}

#[test]
fn wrong_usage_is_named_and_exits_2() {
    let (_folder, broken) = scenario_file("name = \"x\"\nspeed = \n");
    let (_folder, unknown_key) = scenario_file("name = \"x\"\nspede = \"60x\"\n");
    for (arguments, expected) in [
        (vec!["run", "meizu"], "did you mean meizu-mx3"),
        (vec!["run", "meizu-mx3", "--speed", "fast"], "60x"),
        (vec!["run", "meizu-mx3", "--speed", "0x"], "60x"),
        (vec!["run", "meizu-mx3", "--seed", "x"], "--seed"),
        (vec!["run", "meizu-mx3", "--threads", "0"], "--threads"),
        (vec!["run", "meizu-mx3", "-o", "r.pdf"], ".json"),
        (vec!["run", &broken], "line 2"),
        (vec!["run", &unknown_key], "line 2"),
        (vec!["run"], "SCENARIO"),
        (vec!["sell"], "sell"),
        (vec![], "Usage"),
    ] {
        let (code, _, stderr) = loadgen(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}

#[test]
fn what_the_machine_refuses_exits_1() {
    let missing_folder = ["run", "meizu-mx3", "-o", "no/such/folder/r.json"];
    for (arguments, expected) in [
        (missing_folder.to_vec(), "no/such/folder"),
        (vec!["run", "nowhere.toml"], "nowhere.toml"),
        (vec!["run", "meizu-mx3", "--acks", "no/such/folder/acks"], "no/such/folder/acks"),
    ] {
        let (code, _, stderr) = loadgen(&arguments);
        assert_eq!(code, 1, "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}
