//! What no file may contain.

use crate::{
    assert_caught, assert_clean,
    rust::{Source, is_name},
    tree::Tree,
};

/// The longest line.
const WIDEST: usize = 120;

/// Files that a person writes, by extension; the scripts in `ci` and `.ci` have none.
const WRITTEN: &[&str] = &["css", "html", "js", "lua", "md", "rs", "sh", "toml"];

/// Words of work that isn't done. Put together here so that this file doesn't contain them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Macros and attributes that belong to work in progress, with what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("dbg", "!("), "take it out"),
    (concat!("#[ign", "ore"), "a test runs, or goes"),
    (concat!("#![al", "low("), "allow at the item, with a reason, or in the workspace"),
];

/// Where somebody's machine keeps its files.
const MACHINES: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/tmp", "/w-"), concat!("/wo", "rk/")];

/// How a line of a conflict begins.
const CONFLICT: &[&str] = &["<<<<<<< ", "||||||| ", ">>>>>>> "];

fn is_written(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let script = !name.contains('.') && (path.starts_with("ci/") || path.starts_with(".ci/"));
    script || name.rsplit_once('.').is_some_and(|(_, extension)| WRITTEN.contains(&extension))
}

/// Asks `question` about each line of each written file; an answer is a complaint.
fn each_line(tree: &Tree, question: impl Fn(&str, &str) -> Option<String>) -> Vec<String> {
    let lines = tree
        .texts()
        .filter(|(path, _)| is_written(path))
        .flat_map(|(path, text)| (1..).zip(text.split('\n')).map(move |(number, line)| (path, number, line)));
    lines.filter_map(|(path, number, line)| Some(format!("{path}:{number}: {}", question(path, line)?))).collect()
}

fn finished(tree: &Tree) -> Vec<String> {
    let mut complaints = each_line(tree, |_, line| {
        let mut words = line.split(|c| !is_name(c));
        words.find(|word| UNFINISHED.contains(word)).map(|word| format!("{word}: finish it, or open an issue"))
    });
    for (path, text) in tree.with_extension("rs") {
        for (line, code) in (1..).zip(Source::new(text).code.lines()) {
            let met = FORBIDDEN.iter().filter(|(word, _)| code.contains(word));
            complaints.extend(met.map(|(word, instead)| format!("{path}:{line}: `{word}`: {instead}")));
        }
    }
    complaints
}

fn portable(tree: &Tree) -> Vec<String> {
    each_line(tree, |_, line| {
        let begins = |at: usize| !line[..at].ends_with(|c: char| is_name(c) || matches!(c, '.' | '-' | '}' | ')'));
        let met = |machine: &&&str| line.match_indices(**machine).any(|(at, _)| begins(at));
        MACHINES.iter().find(met).map(|machine| format!("`{machine}` is a path of one machine"))
    })
}

fn merged(tree: &Tree) -> Vec<String> {
    each_line(tree, |_, line| {
        let marker = line == "=======" || CONFLICT.iter().any(|marker| line.starts_with(marker));
        marker.then(|| "a merge was left half done".into())
    })
}

fn trimmed(tree: &Tree) -> Vec<String> {
    let mut complaints = each_line(tree, |_, line| (line.trim_end() != line).then(|| "white space at the end".into()));
    let badly_ended = |text: &str| !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n"));
    let ended = tree.texts().filter(|(path, text)| is_written(path) && badly_ended(text));
    complaints.extend(ended.map(|(path, _)| format!("{path}: end with one newline")));
    complaints
}

/// Rows of tables, links and a manifest's `description` can't be broken.
fn narrow(tree: &Tree) -> Vec<String> {
    each_line(tree, |path, line| {
        let whole = match path.rsplit('.').next() {
            Some("md") => line.starts_with('|') || line.contains("](http"),
            Some("toml") => line.starts_with("description = "),
            _ => false,
        };
        let width = line.chars().count();
        (width > WIDEST && !whole).then(|| format!("{width} characters, at most {WIDEST}"))
    })
}

#[test]
fn nothing_is_unfinished() {
    assert_clean(&finished(&Tree::repository()));
}

#[test]
fn unfinished_work_is_caught() {
    let words: Vec<_> = FORBIDDEN.iter().map(|(word, _)| *word).collect();
    let text = words.join("\n") + "\n// dbg!(x) in a comment, and \"dbg!(x)\" in a text\nlet s = \"dbg!(x)\";\n";
    let note = format!("A {} here.\nTODOS is another word.\n", UNFINISHED[0]);
    let tree = Tree::of(&[("a/src/a.rs", &text), ("docs/a.md", &note)]);
    let expected: Vec<_> = (1..=FORBIDDEN.len()).map(|line| format!("a/src/a.rs:{line}: ")).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).chain(["docs/a.md:1: "]).collect();
    assert_caught(&finished(&tree), &expected);
}

#[test]
fn no_path_is_of_one_machine() {
    assert_clean(&portable(&Tree::repository()));
}

#[test]
fn a_path_of_one_machine_is_caught() {
    let text = format!("cd {}me\ndocs{}me\n", MACHINES[0], MACHINES[1]);
    assert_caught(&portable(&Tree::of(&[("ci/run", &text)])), &["ci/run:1: "]);
}

#[test]
fn every_merge_is_done() {
    assert_clean(&merged(&Tree::repository()));
}

#[test]
fn a_half_done_merge_is_caught() {
    let text = format!("{}ours\na\n{}\nb\n", CONFLICT[0], "=".repeat(7));
    assert_caught(&merged(&Tree::of(&[("a.md", &text)])), &["a.md:1: ", "a.md:3: "]);
}

#[test]
fn lines_and_files_end_cleanly() {
    assert_clean(&trimmed(&Tree::repository()));
}

#[test]
fn loose_ends_are_caught() {
    let tree = Tree::of(&[("a.md", "a \n"), ("b.rs", "b"), ("c.toml", "c\n\n"), ("d.rs", "d\n"), ("e.json", "e")]);
    assert_caught(&trimmed(&tree), &["a.md:1: ", "b.rs: ", "c.toml: "]);
}

#[test]
fn lines_are_narrow() {
    assert_clean(&narrow(&Tree::repository()));
}

#[test]
fn a_wide_line_is_caught() {
    let (wide, most) = ("é".repeat(WIDEST + 1), "é".repeat(WIDEST));
    let tree = Tree::of(&[("a.rs", &wide), ("b.rs", &most), ("c.md", &format!("|{wide}|\n")), ("d.md", &wide)]);
    assert_caught(&narrow(&tree), &["a.rs:1: ", "d.md:1: "]);
}
