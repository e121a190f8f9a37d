//! The command line: what it explains, what it refuses, and what it writes.

use assert_cmd::{Command, cargo::cargo_bin_cmd};

fn sellout_bench(arguments: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("sellout-bench");
    command.args(arguments);
    command
}

/// Standard output and standard error of a call that ended with `code`.
fn texts(arguments: &[&str], code: i32) -> (String, String) {
    let assert = sellout_bench(arguments).assert().code(code);
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_names_every_option_and_every_row() {
    let (help, _) = texts(&["ratios", "--help"], 0);
    for word in ["--quick", "--only", "--output", "control", "Exit status"] {
        assert!(help.contains(word), "{word} is missing from:\n{help}");
    }
    for row in sellout_bench::rows::NAMES {
        assert!(help.contains(row), "{row} is missing from:\n{help}");
    }
    assert!(texts(&["--help"], 0).0.contains("ratios"));
}

#[test]
fn a_bad_option_is_refused_with_what_would_be_good() {
    let (out, error) = texts(&["ratios", "--only", "acept"], 2);
    assert!(out.is_empty() && error.contains("'accept'"), "{error}");
    assert!(texts(&["ratios", "--qick"], 2).1.contains("--quick"));
    assert!(texts(&[], 2).1.contains("Usage"));
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_is_measured() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let file = dir.path().join("no such folder").join("ratios.json");
    let (out, error) = texts(&["ratios", "--quick", "-o", file.to_str().expect("text")], 1);
    assert!(out.is_empty(), "{out}");
    assert!(error.contains("ratios.json") && error.contains("-o"), "{error}");
}
