//! The rules of the house, as tests.
//!
//! Each rule is a function from a [`Tree`](tree::Tree) to its complaints. One test asks it about this repository,
//! and a second one, its negative control, shows it a small tree that breaks the rule and expects the complaint.

mod book;
mod layers;
mod modules;
mod orderings;
mod rust;
mod secrets;
mod text;
mod tree;

/// Fails with every complaint, one a line.
fn assert_clean(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} broken:\n{}", complaints.len(), complaints.join("\n"));
}

/// Fails unless the complaints are exactly about these places, each given as the beginning of a complaint.
fn assert_caught(complaints: &[String], places: &[&str]) {
    let met = complaints.len() == places.len()
        && places.iter().all(|place| complaints.iter().any(|complaint| complaint.starts_with(place)));
    assert!(met, "expected complaints about {places:?}, found {complaints:#?}");
}
