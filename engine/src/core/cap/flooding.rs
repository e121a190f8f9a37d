//! Hash flooding: buyers whose numbers were chosen so that they meet in one place of the table.
//!
//! Whoever registers accounts may choose their numbers. Under a key that is known, numbers that meet are found in no
//! time; under a secret one the same numbers lie as any others do. Cells that a search looks at are counted, nothing is
//! timed.

use super::{CapTable, Found, WINDOW};
use crate::core::Buyer;

const STOCK: u32 = 4_096;

/// As many as are found for one neighbourhood: more than a probe window has cells.
const FLOOD: usize = 3 * WINDOW as usize;

const KNOWN: [u8; 16] = [0; 16];

/// Numbers whose homes are within the same few cells of a table under `key`.
fn that_meet(key: [u8; 16], count: usize) -> Vec<Buyer> {
    let table = CapTable::new(STOCK, key);
    let near = |buyer: &Buyer| table.home(table.hash(*buyer), 0) < 8;
    (0..).map(Buyer::from).filter(near).take(count).collect()
}

/// A table under `key` in which these buyers have a unit each.
fn filled(key: [u8; 16], buyers: &[Buyer]) -> CapTable {
    let table = CapTable::new(STOCK, key);
    for buyer in buyers {
        let attempt = table.begin(*buyer, 1, 1).expect("each comes once");
        table.commit(&attempt, 1);
    }
    table
}

/// How far from its home each buyer's entry lies, in cells and segments, the farthest.
fn farthest(table: &CapTable, buyers: &[Buyer]) -> u32 {
    let distance = |buyer: &Buyer| {
        let hash = table.hash(*buyer);
        let Found::Live(index, _) = table.find(hash, *buyer) else { panic!("{buyer} has an entry") };
        let mut before = 0;
        for segment in 0..table.segments() {
            let window = table.window(segment);
            let at = (0..window).find(|distance| {
                let position = (table.home(hash, segment) + distance) % table.length(segment);
                table.index(segment, position) == index
            });
            match at {
                Some(distance) => return before + distance,
                None => before += window,
            }
        }
        panic!("{buyer} lies beyond its windows")
    };
    buyers.iter().map(distance).max().unwrap_or_default()
}

/// Says whether the buyers flood the table: searches become long, or the table grows though it is nearly empty.
fn check(table: &CapTable, buyers: &[Buyer]) -> Result<(), String> {
    let (farthest, segments) = (farthest(table, buyers), table.segments());
    if segments > 1 || farthest > WINDOW / 4 {
        return Err(format!("{} buyers: {farthest} cells from home, {segments} segments", buyers.len()));
    }
    Ok(())
}

#[test]
fn numbers_chosen_to_meet_under_another_key_lie_as_any_others() {
    let chosen = that_meet(KNOWN, FLOOD);
    for secret in 1..=16 {
        assert_eq!(check(&filled([secret; 16], &chosen), &chosen), Ok(()), "key {secret}");
    }
}

#[test]
fn names_chosen_to_meet_lie_as_any_others_under_the_secret_keys() {
    // Names are hashed into 128 bits under a key of their own before they come here.
    let names: Vec<String> = (0..FLOOD).map(|number| format!("user-{number:032}")).collect();
    let buyers: Vec<Buyer> = names.iter().map(|name| Buyer::keyed(&[9; 16], name.as_bytes())).collect();
    assert_eq!(check(&filled([1; 16], &buyers), &buyers), Ok(()));
}

#[test]
fn control_a_table_whose_key_is_known_is_flooded() {
    let chosen = that_meet(KNOWN, FLOOD);
    let flooded = filled(KNOWN, &chosen);
    assert!(check(&flooded, &chosen).is_err_and(|why| why.contains("segments")));
    assert!(flooded.segments() > 1, "{} buyers of {STOCK} fill every window", chosen.len());
}
