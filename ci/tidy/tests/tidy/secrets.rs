//! Secrets: a type that holds one prints itself by hand, and a tag is compared in constant time.

use crate::{assert_caught, assert_clean, rust::Source, tree::Tree};

/// Types that hold a secret, by the file in which they are.
const HOLDERS: &[(&str, &[&str])] = &[
    ("engine/src/core/token.rs", &["Token", "EpochKeys", "TokenKeys"]),
    ("engine/src/core/invitation.rs", &["Invitation", "InvitationKey"]),
    ("engine/src/core/cap.rs", &["CapTable"]),
    ("engine/src/journal/secret.rs", &["Secret"]),
    ("engine/src/journal/segment.rs", &["Identity", "SegmentReader"]),
    ("engine/src/engine.rs", &["Options"]),
    ("engine/src/engine/inner.rs", &["EngineInner"]),
    ("engine/src/engine/reader.rs", &["JournalReader"]),
    ("engine/src/engine/state.rs", &["Setting"]),
    ("engine/src/ledger/server.rs", &["Access"]),
    ("engine/src/ledger/endpoint.rs", &["Endpoint"]),
];

/// Files in which a tag decides, each with what compares it.
const DECIDERS: &[&str] = &["engine/src/core/token.rs", "engine/src/core/invitation.rs"];

/// The attributes right above the line `at`, joined.
fn attributes<'a>(lines: &[&'a str], at: usize) -> Vec<&'a str> {
    lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with("#[")).copied().collect()
}

fn printed_by_hand(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, names) in HOLDERS {
        let code = tree.text(path).map(|text| Source::new(text).code.clone()).unwrap_or_default();
        let lines: Vec<&str> = code.lines().collect();
        for name in *names {
            let is_it = |line: &&str| {
                let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
                words.by_ref().any(|word| word == "struct") && words.next() == Some(name)
            };
            let Some(at) = lines.iter().position(is_it) else {
                complaints.push(format!("{path}:1: no `struct {name}`: say where that secret is now"));
                continue;
            };
            let derives = |word: &str| attributes(&lines, at).iter().any(|line| line.contains(word));
            if ["Debug", "Serialize"].into_iter().any(derives) {
                complaints.push(format!("{path}:{}: {name} holds a secret: write its `Debug` by hand", at + 1));
            }
        }
    }
    complaints
}

fn constant_time(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in DECIDERS {
        let code = tree.text(path).map(|text| Source::new(text).code.clone()).unwrap_or_default();
        let code = code.split("mod tests").next().unwrap_or_default();
        if !code.contains(".ct_eq(") {
            complaints.push(format!("{path}:1: nothing is compared with `subtle`"));
        }
        for (number, line) in (1..).zip(code.lines()) {
            let compares = line.contains(" == ") || line.contains(" != ");
            if compares && line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "tag") {
                complaints.push(format!("{path}:{number}: a tag is compared with `ct_eq`, in constant time"));
            }
        }
    }
    complaints
}

#[test]
fn holders_of_secrets_print_themselves_by_hand() {
    assert_clean(&printed_by_hand(&Tree::repository()));
}

#[test]
fn a_holder_that_derives_its_form_is_caught() {
    let text = |path: &str, names: &[&str]| {
        let derive = if path.ends_with("server.rs") { "#[derive(Clone, Debug)]" } else { "#[derive(Clone)]" };
        names.iter().map(|name| [derive, "\npub struct ", name, " {}\n"].concat()).collect::<String>()
    };
    let there = HOLDERS.iter().filter(|(path, _)| !path.ends_with("cap.rs"));
    let holders: Vec<_> = there.map(|(path, names)| (*path, text(path, names))).collect();
    let files: Vec<_> = holders.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let expected = ["engine/src/core/cap.rs:1: ", "engine/src/ledger/server.rs:2: "];
    assert_caught(&printed_by_hand(&Tree::of(&files)), &expected);
}

#[test]
fn tags_are_compared_in_constant_time() {
    assert_clean(&constant_time(&Tree::repository()));
}

#[test]
fn a_tag_compared_byte_by_byte_is_caught() {
    let careless = "fn open() {\n    if tag != token.tag {\n    }\n    other.ct_eq(&it);\n}\n";
    let files = [(DECIDERS[0], careless), (DECIDERS[1], "fn eq() {}\n")];
    assert_caught(
        &constant_time(&Tree::of(&files)),
        &["engine/src/core/token.rs:2: ", "engine/src/core/invitation.rs:1: "],
    );
}
