//! The line: who waits, in the order in which they are served.
//!
//! What holds: a buyer has at most one place; the places are sorted by draw and then by ticket, so that a place is
//! found, and the places before it are counted, by halving; a ticket is given once.

use std::collections::{HashMap, VecDeque};

use crate::{
    core::Buyer,
    spec::{WaitOrder, Waitlist},
};

/// A place on a waitlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Its number in the order of joining: it is given once, and stays while the place does.
    pub ticket: u64,
    /// How many are served before. In a lottery it may rise, too: the lot may fall on somebody who joins later.
    pub ahead: u64,
}

/// Where a place stands: first by the lot, if lots are drawn, then by the ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    draw: u64,
    ticket: u64,
}

/// Who waits.
#[derive(Debug)]
pub(super) struct Line {
    order: WaitOrder,
    places: VecDeque<(Standing, Buyer)>,
    by_buyer: HashMap<Buyer, Standing>,
    next: u64,
}

impl Line {
    /// Nobody waits, and the next ticket is `next`.
    pub(super) fn new(waitlist: &Waitlist, next: u64) -> Self {
        Self { order: waitlist.order, places: VecDeque::new(), by_buyer: HashMap::new(), next }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The ticket that the next to join gets.
    pub(super) fn next_ticket(&self) -> u64 {
        self.next
    }

    /// Puts a buyer who has no place under `ticket`, which is not below the next one's.
    pub(super) fn join(&mut self, ticket: u64, buyer: Buyer) -> Place {
        let draw = match self.order {
            WaitOrder::FirstCome => 0,
            WaitOrder::Lottery { seed } => WaitOrder::draw(seed, buyer),
        };
        let standing = Standing { draw, ticket };
        let ahead = self.ahead(standing);
        self.places.insert(ahead, (standing, buyer));
        self.by_buyer.insert(buyer, standing);
        self.next = self.next.max(ticket + 1);
        Place { ticket, ahead: ahead as u64 }
    }

    /// The buyer's place.
    pub(super) fn place(&self, buyer: Buyer) -> Option<Place> {
        let standing = *self.by_buyer.get(&buyer)?;
        Some(Place { ticket: standing.ticket, ahead: self.ahead(standing) as u64 })
    }

    /// Takes the buyer's place away; its ticket.
    pub(super) fn remove(&mut self, buyer: Buyer) -> Option<u64> {
        let standing = self.by_buyer.remove(&buyer)?;
        self.places.remove(self.ahead(standing));
        Some(standing.ticket)
    }

    /// Who is served next, with the ticket.
    pub(super) fn head(&self) -> Option<(u64, Buyer)> {
        self.places.front().map(|(standing, buyer)| (standing.ticket, *buyer))
    }

    fn ahead(&self, standing: Standing) -> usize {
        self.places.partition_point(|(before, _)| *before < standing)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn waitlist(order: WaitOrder) -> Waitlist {
        Waitlist { room: 100, accept_within: Duration::from_secs(1), order }
    }

    proptest! {
        /// Properties: places are served by draw, then by ticket; `ahead` is the number of those before; who left is
        /// gone, and nobody else.
        #[test]
        fn a_line_is_what_a_sorted_list_is(
            lottery in any::<bool>(),
            steps in proptest::collection::vec((any::<bool>(), 0..20_u64), 0..80),
        ) {
            let order = if lottery { WaitOrder::Lottery { seed: 42 } } else { WaitOrder::FirstCome };
            let mut line = Line::new(&waitlist(order), 1);
            let mut model: Vec<(u64, u64, u64)> = Vec::new();
            for (joins, number) in steps {
                let buyer = Buyer::from(number);
                let at = model.iter().position(|(_, _, other)| *other == number);
                if joins && at.is_none() {
                    let ticket = line.next_ticket();
                    line.join(ticket, buyer);
                    model.push((if lottery { WaitOrder::draw(42, buyer) } else { 0 }, ticket, number));
                    model.sort_unstable();
                } else if !joins {
                    prop_assert_eq!(line.remove(buyer), at.map(|at| model.remove(at).1));
                }
                for (ahead, (_, ticket, number)) in (0..).zip(&model) {
                    prop_assert_eq!(line.place(Buyer::from(*number)), Some(Place { ticket: *ticket, ahead }));
                }
                prop_assert_eq!(line.len(), model.len());
                prop_assert_eq!(line.head(), model.first().map(|(_, ticket, number)| (*ticket, Buyer::from(*number))));
            }
        }
    }
}
