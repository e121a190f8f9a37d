//! The program from outside: what it teaches, what it refuses, and with which exit code.

#![expect(clippy::unwrap_used, reason = "an unwrap in a test is the proof's own failure")]

use assert_cmd::Command;

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
