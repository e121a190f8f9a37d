//! Modules: short, with a header, in files that are reached.

use std::collections::BTreeSet;

use crate::{
    assert_caught, assert_clean,
    rust::{Source, modules},
    tree::Tree,
};

/// The most lines of one module, its tests aside.
const LONGEST: usize = 600;

/// Test folders: their length is their own affair.
const TESTS: &[&str] = &["tests/", "benches/", "fuzz/"];

fn short(tree: &Tree) -> Vec<String> {
    let tests: BTreeSet<_> = modules(tree).into_iter().filter(|module| module.test).map(|module| module.file).collect();
    let in_tests =
        |path: &str| TESTS.iter().any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")));
    let long = |(path, text): (&str, &str)| {
        let lines = Source::new(text).lines().count();
        (lines > LONGEST)
            .then(|| format!("{path}: {lines} lines without its tests, at most {LONGEST}: split the concept"))
    };
    tree.with_extension("rs").filter(|(path, _)| !in_tests(path) && !tests.contains(*path)).filter_map(long).collect()
}

fn named_after_themselves(tree: &Tree) -> Vec<String> {
    let unnamed = |path: &str| path.rsplit('/').next() == Some(concat!("mod", ".rs"));
    tree.texts()
        .map(|(path, _)| path)
        .filter(|path| unnamed(path))
        .map(|path| format!("{path}: use foo.rs + foo/"))
        .collect()
}

fn headed(tree: &Tree) -> Vec<String> {
    let has_header = |text: &str| {
        let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        let included = text.starts_with("#![doc = include_str!(");
        included || first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|header| !header.trim().is_empty()))
    };
    let bare = modules(tree).into_iter().filter(|module| tree.text(&module.file).is_some_and(|text| !has_header(text)));
    bare.map(|module| format!("{}: begin with a `//!` header that says what holds in it", module.file)).collect()
}

fn reached(tree: &Tree) -> Vec<String> {
    let reached: BTreeSet<_> = modules(tree).into_iter().map(|module| module.file).collect();
    let sources = tree.with_extension("rs").map(|(path, _)| path);
    let dead = sources
        .filter(|path| path.starts_with("src/") || path.contains("/src/"))
        .filter(|path| !reached.contains(*path));
    dead.map(|path| format!("{path}: no `mod` leads here")).collect()
}

#[test]
fn modules_are_short() {
    assert_clean(&short(&Tree::repository()));
}

#[test]
fn a_long_module_is_caught_and_its_tests_do_not_count() {
    let long = "fn f() {}\n".repeat(LONGEST + 1);
    let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    let tree = Tree::of(&[("a/src/long.rs", &long), ("a/src/tested.rs", &tested), ("a/tests/long.rs", &long)]);
    assert_caught(&short(&tree), &["a/src/long.rs"]);
}

#[test]
fn modules_are_named_after_themselves() {
    assert_clean(&named_after_themselves(&Tree::repository()));
}

#[test]
fn a_nameless_module_is_caught() {
    let tree = Tree::of(&[("a/src/b/mod.rs", "//! B.\n"), ("a/src/c.rs", "//! C.\n")]);
    assert_caught(&named_after_themselves(&tree), &["a/src/b/mod.rs"]);
}

#[test]
fn modules_have_a_header() {
    assert_clean(&headed(&Tree::repository()));
}

#[test]
fn a_module_without_a_header_is_caught() {
    let files = [
        ("a/Cargo.toml", ""),
        ("a/src/lib.rs", "#![no_std]\n//! A.\nmod b;\nmod c;\n"),
        ("a/src/b.rs", "use d;\n"),
        ("a/src/c.rs", "//!\n"),
    ];
    assert_caught(&headed(&Tree::of(&files)), &["a/src/b.rs", "a/src/c.rs"]);
}

#[test]
fn every_source_file_is_reached() {
    assert_clean(&reached(&Tree::repository()));
}

#[test]
fn a_dead_file_is_caught() {
    let files = [
        ("a/Cargo.toml", ""),
        ("a/src/lib.rs", "mod b;\n// mod dead;\n"),
        ("a/src/b.rs", ""),
        ("a/src/dead.rs", ""),
        ("a/src/bin/tool.rs", ""),
    ];
    assert_caught(&reached(&Tree::of(&files)), &["a/src/dead.rs"]);
}
