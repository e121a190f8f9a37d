//! The stories in the book are what the examples print.

use std::{fs, path::Path, process::Command};

/// What the book shows below the command that runs the example.
fn shown(page: &str, example: &str) -> Option<String> {
    let (_, below) = page.split_once(&format!("--example {example}\n"))?;
    let (_, fence) = below.split_once("```text\n")?;
    fence.split_once("```\n").map(|(text, _)| text.to_owned())
}

fn printed(example: &str) -> String {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let run = ["run", "--quiet", "--locked", "--example", example, "--manifest-path"];
    let output = Command::new(env!("CARGO")).args(run).arg(manifest).output().expect("cargo can be run");
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a story is text")
}

fn compare(example: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/stories.md");
    let page = fs::read_to_string(page).expect("the book has a page of stories");
    let shown = shown(&page, example).expect("the page shows the command and then what it prints");
    assert_eq!(printed(example), shown, "{example}: the book shows something else");
}

#[test]
fn the_book_shows_what_meizu_mx3_prints() {
    compare("meizu_mx3");
}

#[test]
fn the_book_shows_what_guijiaoqi_books_prints() {
    compare("guijiaoqi_books");
}

#[test]
fn the_book_shows_what_postcards_prints() {
    compare("postcards");
}

#[test]
fn the_book_shows_what_strawberry_festival_prints() {
    compare("strawberry_festival");
}

#[test]
fn the_book_shows_what_cash_for_all_prints() {
    compare("cash_for_all");
}

#[test]
fn the_book_shows_what_device_drops_prints() {
    compare("device_drops");
}

#[test]
fn the_book_shows_what_every_shop_prints() {
    compare("every_shop");
}

#[test]
fn another_text_is_caught() {
    let page = "cargo run --example a\n```\n\n```text\none\ntwo\n```\n";
    assert_eq!(shown(page, "a").as_deref(), Some("one\ntwo\n"));
    assert_ne!(shown(page, "a").as_deref(), Some("one\n"));
    assert_eq!(shown(page, "b"), None);
}
