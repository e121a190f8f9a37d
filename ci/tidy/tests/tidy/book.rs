//! The book and the other pages: nothing unlisted, no dead link, every example compiled, every proof there.

use crate::{
    assert_caught, assert_clean,
    tree::{Tree, folder, join},
};

const PAGES: &str = "docs/src/";
const SUMMARY: &str = "docs/src/SUMMARY.md";

/// The pages that name a test for each guarantee, and for each fault.
const PROOFS: &str = "docs/src/guarantees.md";
const FAULTS: &str = "docs/src/faults.md";

/// Where the examples of the pages become doctests.
const COMPILED: &str = "examples/src/book.rs";

fn listed(tree: &Tree) -> Vec<String> {
    let links = links(tree.text(SUMMARY).unwrap_or_default());
    let pages = tree.with_extension("md").map(|(path, _)| path);
    let pages = pages.filter(|path| path.starts_with(PAGES) && *path != SUMMARY);
    let is_listed = |page: &str| links.iter().any(|(_, link)| join(folder(SUMMARY), link).as_deref() == Some(page));
    pages.filter(|page| !is_listed(page)).map(|page| format!("{page}: SUMMARY.md does not list it")).collect()
}

fn linked(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.with_extension("md") {
        for (line, link) in links(text) {
            let target = link.split('#').next().unwrap_or_default();
            let outside = link.contains("://") || link.starts_with("mailto:");
            let found = || join(folder(path), target).is_some_and(|file| tree.has(&file));
            if !outside && !target.is_empty() && !found() {
                complaints.push(format!("{path}:{line}: `{link}` leads nowhere"));
            }
        }
    }
    complaints
}

fn compiled(tree: &Tree) -> Vec<String> {
    let source = tree.text(COMPILED).unwrap_or_default();
    let is_page = |path: &str| path == "README.md" || (path.starts_with(PAGES) && path != SUMMARY);
    let pages = tree.with_extension("md").map(|(path, _)| path).filter(|path| is_page(path));
    let left_out = pages.filter(|page| !source.contains(&format!("\"../../{page}\"")));
    left_out.map(|page| format!("{page}: {COMPILED} does not compile its examples")).collect()
}

/// Tests that a page of proofs names and that are not there: an item of a list that begins with a name in code, or any
/// name of several words in code in the last column of a table.
fn proven(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for page in [PROOFS, FAULTS] {
        for (line, text) in (1..).zip(tree.text(page).unwrap_or_default().lines()) {
            let item = text.strip_prefix("- ").map(|item| item.strip_prefix("control: ").unwrap_or(item));
            let listed = item.and_then(|item| item.strip_prefix('`')).and_then(|rest| rest.split('`').next());
            let shown = text.strip_suffix(" |").filter(|_| page == FAULTS).and_then(|row| row.rsplit(" | ").next());
            let shown = shown.into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
            for name in listed.into_iter().chain(shown) {
                let is_test = name.contains('_') && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
                let declared = || tree.with_extension("rs").any(|(_, source)| source.contains(&format!("fn {name}(")));
                if is_test && !declared() {
                    complaints.push(format!("{page}:{line}: no test is called `{name}`"));
                }
            }
        }
    }
    complaints
}

/// The targets of a page's links with their lines from 1, those in code left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (line, text) in (1..).zip(text.lines()) {
        let fence = text.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence {
            continue;
        }
        let prose: String = text.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        let reference = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        found.extend(
            inline.chain(reference).map(|target| (line, target.split(' ').next().unwrap_or_default().to_owned())),
        );
    }
    found
}

#[test]
fn every_page_is_listed() {
    let tree = Tree::repository();
    assert!(tree.has(SUMMARY), "the book has a table of contents");
    assert_clean(&listed(&tree));
}

#[test]
fn an_unlisted_page_is_caught() {
    let tree = Tree::of(&[(SUMMARY, "- [A](a.md)\n"), ("docs/src/a.md", "# A\n"), ("docs/src/b.md", "# B\n")]);
    assert_caught(&listed(&tree), &["docs/src/b.md: "]);
}

#[test]
fn every_link_leads_somewhere() {
    assert_clean(&linked(&Tree::repository()));
}

#[test]
fn a_dead_link_is_caught() {
    let page = "[a](a.md#part) [b](b.md) `[c](c.md)` [d](https://d.example) [e](#e)\n```text\n[f](f.md)\n```\n\
                [g](../src) [h](../../../up.md)\n[i]: i.md\n";
    let tree = Tree::of(&[(SUMMARY, "- [J](j.md)\n"), ("docs/src/a.md", page)]);
    let expected = [
        "docs/src/SUMMARY.md:1: `j.md`",
        "docs/src/a.md:1: `b.md`",
        "docs/src/a.md:5: `../../../up.md`",
        "docs/src/a.md:6: `i.md`",
    ];
    assert_caught(&linked(&tree), &expected);
}

#[test]
fn every_page_is_compiled() {
    assert_clean(&compiled(&Tree::repository()));
}

#[test]
fn a_page_that_is_not_compiled_is_caught() {
    let book = "#[doc = include_str!(\"../../docs/src/a.md\")]\nmod a {}\n";
    let tree = Tree::of(&[(COMPILED, book), ("docs/src/a.md", ""), ("docs/src/b.md", ""), ("README.md", "")]);
    assert_caught(&compiled(&tree), &["docs/src/b.md: ", "README.md: "]);
}

#[test]
fn every_proof_is_there() {
    let tree = Tree::repository();
    let named = tree.text(PROOFS).unwrap_or_default().lines().filter(|line| line.starts_with("- control: ")).count();
    assert!(named > 10, "the page names a control for each guarantee");
    assert_clean(&proven(&tree));
}

#[test]
fn a_proof_that_is_gone_is_caught() {
    let page = "- `it_holds` (loom)\n- control: `it_breaks`\n- `gone_by_now`\n\
                - **Not** `a_name_in_prose`\n- control: `lost_too`\n";
    let table = "| fault | what | shown by |\n| `a_b` goes | x | `it_holds`; control: `it_went` |\n";
    let code = "fn it_holds() {}\nfn it_breaks() {}\n";
    let tree = Tree::of(&[(PROOFS, page), (FAULTS, table), ("a/src/lib.rs", code)]);
    let expected = ["docs/src/guarantees.md:3: ", "docs/src/guarantees.md:5: ", "docs/src/faults.md:2: "];
    assert_caught(&proven(&tree), &expected);
}
