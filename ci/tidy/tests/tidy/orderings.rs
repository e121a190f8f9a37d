//! Every memory ordering has its reason beside it.
//!
//! A *label* is a comment that names the ordering and says what it is for, `// Release: publishes the buyer`. It
//! stands at the end of the line of the access, or above it: at most six lines of code lie between, and none of
//! them is blank or closes a block. So one label may serve a short run of accesses with one purpose. A line with
//! two orderings needs both names.

use std::collections::BTreeSet;

use crate::{
    assert_caught, assert_clean,
    rust::{Source, modules},
    tree::Tree,
};

/// Where the rule holds: every atomic of the library, its tests aside.
const HOME: &str = "engine/src/";

const ORDERINGS: &[&str] = &["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// The most lines of code between a label and its access.
const REACH: usize = 6;

/// The fewest words that a label has after the ordering's name.
const WORDS: usize = 2;

fn labelled(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let tests: BTreeSet<_> = modules(tree).into_iter().filter(|module| module.test).map(|module| module.file).collect();
    let ours = |path: &str| path.starts_with(HOME) && !tests.contains(path);
    for (path, text) in tree.with_extension("rs").filter(|(path, _)| ours(path)) {
        let source = Source::new(text);
        let comments: Vec<_> = source.comments.lines().map(str::trim).collect();
        let code: Vec<_> = source.code.lines().map(str::trim).collect();
        for (line, access) in source.lines() {
            if access.contains("use ") && ["Ordering::{", "Ordering::*"].iter().any(|import| access.contains(import)) {
                complaints.push(format!("{path}:{line}: write `Ordering::` at each access, so that it is found"));
            }
            let label = label(&code, &comments, line - 1);
            for ordering in ORDERINGS.iter().filter(|ordering| uses(access, ordering)) {
                if !gives_reason(&label, ordering) {
                    complaints.push(format!("{path}:{line}: no label says why `{ordering}`"));
                }
            }
        }
    }
    complaints
}

fn uses(code: &str, ordering: &str) -> bool {
    code.match_indices(&format!("Ordering::{ordering}")).count() > 0
}

/// The comments that belong to the access on line `at`, from 0.
fn label(code: &[&str], comments: &[&str], at: usize) -> String {
    let mut label = comments[at].to_owned();
    let mut between = 0;
    for above in (0..at).rev() {
        if code[above].is_empty() {
            if comments[above].is_empty() {
                break;
            }
            label = format!("{} {label}", comments[above]);
        } else {
            between += 1;
            // A comment at the end of an earlier line is that line's own.
            if between > REACH || code[above].starts_with('}') || code[above].ends_with('}') {
                break;
            }
        }
    }
    label
}

fn gives_reason(label: &str, ordering: &str) -> bool {
    let words: Vec<_> = label.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let named = words.iter().position(|word| *word == ordering);
    named.is_some_and(|at| words[at..].iter().filter(|word| !ORDERINGS.contains(word)).count() >= WORDS)
}

#[test]
fn every_ordering_has_its_reason() {
    assert_clean(&labelled(&Tree::repository()));
}

#[test]
fn an_ordering_without_its_reason_is_caught() {
    let text = "\
fn f() {
    // Acquire: pairs with the Release in `g`.
    a.load(Ordering::Acquire);
    a.load(Ordering::Relaxed);
    a.load(Ordering::Relaxed); // Relaxed: a hint only
    // Release: publishes the buyer. Relaxed on failure: nothing was read.
    a.compare_exchange(
        1,
        Ordering::Release,
        Ordering::Relaxed,
    );
    // Says nothing of it.
    a.load(Ordering::SeqCst);
    // AcqRel
    a.swap(1, Ordering::AcqRel);
    // SeqCst: hidden by the blank line.

    a.load(Ordering::SeqCst);
    if b {
        // AcqRel: hidden by the end of its block.
        a.swap(1, Ordering::AcqRel);
    }
    a.swap(1, Ordering::AcqRel);
    // Release: too far away.
    b();
    b();
    b();
    b();
    b();
    b();
    a.store(1, Ordering::Release);
    a.store(1, Ordering::Release);
}
#[cfg(test)]
mod tests { fn g() { a.load(Ordering::SeqCst); } }
use std::sync::atomic::Ordering::{self, Relaxed};
";
    let expected = [4, 13, 15, 18, 23, 32, 36].map(|line| format!("engine/src/core/a.rs:{line}: "));
    let tree = Tree::of(&[("engine/src/core/a.rs", text), ("loadgen/src/a.rs", "a.load(Ordering::SeqCst);\n")]);
    assert_caught(&labelled(&tree), &expected.each_ref().map(String::as_str));
}
