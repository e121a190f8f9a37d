//! Tests of where entries lie.
//!
//! Properties: 1. a claim takes the first cell that is not in use; 2. a cell that is out of generations is never used
//! again, and hides nobody.

use super::*;

/// Every window is the whole table.
const STOCK: u32 = 8;

fn begin(table: &CapTable, buyer: Buyer) -> CellIndex {
    let attempt = table.begin(buyer, 1, 1).expect("has nothing yet");
    let cell = attempt.cell();
    table.commit(&attempt, 1);
    cell
}

fn state(table: &CapTable, cell: CellIndex) -> (State, u64) {
    let entry = Entry(table.cell(cell)[0].load(Ordering::Relaxed));
    (entry.state(), entry.generation())
}

fn distance(table: &CapTable, buyer: Buyer, cell: CellIndex) -> u32 {
    let hash = table.hash(buyer);
    let at = |distance: &u32| table.position(hash, Place { segment: 0, distance: *distance }) == cell.0;
    (0..table.window(0)).find(at).expect("in the window")
}

#[test]
fn a_claim_takes_the_first_cell_that_is_not_in_use() {
    let table = CapTable::new(STOCK, [7; 16]);
    // Nearly full: few searches end at an empty cell.
    let cells: Vec<_> = (0..24).map(|number| begin(&table, Buyer::from(number))).collect();
    for round in 0..24 {
        let free = [0, 7, 13].map(|step| cells[(round + step) % 24]);
        for cell in free {
            table.release(cell, 1);
        }
        let buyer = Buyer::from(100 + round as u64);
        let home = begin(&table, buyer);
        let first = free.iter().map(|cell| distance(&table, buyer, *cell)).min().expect("three");
        assert!(distance(&table, buyer, home) <= first, "{home:?} lies farther than one of {free:?}");
        table.release(home, 1);
        // Back where they were: each cell is used again and again.
        for cell in free {
            take_back(&table, cell);
        }
    }
}

/// Puts an entry of nobody's into a vacant cell.
fn take_back(table: &CapTable, cell: CellIndex) {
    let word = &table.cell(cell)[0];
    let entry = Entry(word.load(Ordering::Relaxed));
    assert_eq!(entry.state(), State::Vacant);
    word.store(Entry::new(State::Live, entry.generation() + 1).with(false, 1, 0).0, Ordering::Relaxed);
}

#[test]
fn a_cell_that_is_out_of_generations_is_never_used_again_and_hides_nobody() {
    let table = CapTable::new(STOCK, [7; 16]);
    let [first, second] = [1, 2].map(Buyer::from);
    let cell = begin(&table, first);
    table.release(cell, 1);
    assert_eq!(state(&table, cell), (State::Vacant, 0));
    table.cell(cell)[0].store(Entry::new(State::Vacant, GENERATION_MASK - 1).0, Ordering::Relaxed);
    assert_eq!(begin(&table, first), cell);
    assert_eq!(state(&table, cell), (State::Live, GENERATION_MASK));
    table.release(cell, 1);
    assert_eq!(state(&table, cell), (State::Retired, GENERATION_MASK));
    let next = begin(&table, first);
    assert_ne!(next, cell);
    assert_eq!(table.begin(first, 1, 1).err(), Some(CapRefusal::Limit { held: 1, bought: 0 }));
    table.settle(next, 1);
    assert_eq!((table.bought(first), table.bought(second), table.totals()), (1, 0, (0, 1)));
    assert_eq!(state(&table, cell), (State::Retired, GENERATION_MASK));
}
