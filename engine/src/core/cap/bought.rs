//! Who has bought: a look into the table for those who only ask.
//!
//! It writes nothing and waits for nobody, and answers right in both directions: who has bought before the look began
//! is found, and who is found has bought.
//!
//! - An entry with bought units never goes away, and its cell never moves.
//! - It was claimed in the first cell of its probe order that was not in use. Every cell before it was seen in use by
//!   the claimer; no used cell is ever empty again, and the reach of its segment covers it. Whoever comes after the
//!   purchase sees at least that, so neither an empty cell nor the reach ends the look too early. A vacant cell must
//!   not end it: the buyer that was there when ours was claimed may have gone since.
//! - An entry is believed only as a live one whose identity was read under its word.

use super::{Buyer, CapTable, Entry, Ordering, Place, State, is};

impl CapTable {
    /// Units that `buyer` has bought.
    ///
    /// # Memory ordering
    /// Who comes after a `settle` of this buyer sees its units.
    pub(crate) fn bought(&self, buyer: Buyer) -> u32 {
        let hash = self.hash(buyer);
        for (number, segment) in self.present().enumerate() {
            // Relaxed: it only rises; who comes after the claim sees it at least as the claim left it.
            let reach = segment.reach.load(Ordering::Relaxed);
            for distance in 0..self.window(number).min(u32::try_from(reach).unwrap_or(u32::MAX)) {
                let position = self.position(hash, Place { segment: number, distance });
                let cell = &segment.cells[position as usize];
                // Acquire: pairs with the Release of `publish`; a live word comes with its identity.
                let entry = Entry(cell[0].load(Ordering::Acquire));
                match entry.state() {
                    State::Empty => return 0,
                    State::Live if is(cell, buyer, entry) => return u32::try_from(entry.bought()).expect("18 bits"),
                    _ => {}
                }
            }
        }
        0
    }
}
