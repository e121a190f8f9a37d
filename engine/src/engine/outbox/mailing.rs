//! The mailing: from records to messages.
//!
//! Holds true: the messages of a record, and their order, follow from the records up to it and from nothing else, so
//! they are the same whenever the journal is read.
//!
//! Kept, at most: who is on a list of which a notice is still to come; who has bought, for shipping notices and for
//! notices to the buyers of a sale. The messages of an announcement are made one by one, from its list.

use std::collections::{HashMap, HashSet};

use crate::{
    core::{Buyer, Timestamp, allocator::HoldId},
    engine::orders::Order,
    journal::{Notice, Record},
};

/// Whom notices go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum List {
    /// Who is registered for this sale.
    Registered(u32),
    /// Who has bought in this sale.
    Buyers(u32),
}

/// What is said to one buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) sale: u32,
    pub(super) buyer: Buyer,
    pub(super) at: Timestamp,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Notice(Notice),
    /// An order; its hold, or its basket, is one of the sale `of`.
    Order {
        sequence: u64,
        quantity: u32,
        of: u32,
        hold: HoldId,
    },
    Shipped {
        sequence: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Announcement {
    sale: u32,
    notice: Notice,
    at: Timestamp,
}

impl Announcement {
    fn to(self, buyer: Buyer) -> Draft {
        Draft { sale: self.sale, buyer, at: self.at, what: What::Notice(self.notice) }
    }
}

/// A list, and the notices that go to it.
#[derive(Debug, Default)]
struct Roll {
    /// Notices that are planned and not announced yet.
    to_come: usize,
    /// Who is on it so far, in order; only while a notice is to come.
    buyers: Vec<Buyer>,
    /// Who is on a list of buyers: they may buy again.
    seen: HashSet<Buyer>,
    /// What was announced: who comes later gets it then.
    announced: Vec<Announcement>,
}

/// The messages of the record that was taken last.
#[derive(Debug, Default)]
enum Work {
    #[default]
    Nothing,
    /// One for everybody on the list.
    All(List, Announcement),
    /// These.
    These(Vec<Draft>),
}

#[derive(Debug, Default)]
pub(super) struct Mailing {
    rolls: HashMap<List, Roll>,
    /// The list of each sale that has notices.
    plans: HashMap<u32, List>,
    /// Who bought, by the order's number.
    orders: HashMap<u32, Vec<Buyer>>,
    work: Work,
}

impl Mailing {
    /// Whether it knows who is on `list`.
    pub(super) fn keeps(&self, list: List) -> bool {
        self.rolls.get(&list).is_some_and(|roll| roll.to_come > 0)
    }

    /// Who has bought in `sale`, order by order.
    pub(super) fn buyers(&self, sale: u32) -> &[Buyer] {
        self.orders.get(&sale).map_or(&[], Vec::as_slice)
    }

    /// A sale is created that will have `notices` for `list`, on which is `past` unless that is kept already.
    pub(super) fn plan(&mut self, sale: u32, list: List, notices: usize, past: Vec<Buyer>) {
        let roll = self.rolls.entry(list).or_default();
        if roll.to_come == 0 {
            roll.buyers = past;
            if matches!(list, List::Buyers(_)) {
                let mut seen = HashSet::new();
                roll.buyers.retain(|buyer| seen.insert(*buyer));
                roll.seen = seen;
            }
        }
        roll.to_come += notices;
        self.plans.insert(sale, list);
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, record: &Record) {
        self.finish();
        self.work = match record {
            Record::Registered { sale, buyers } => Work::These(self.arrivals(List::Registered(*sale), buyers)),
            Record::Announced { sale, notice, at } => self.announce(*sale, *notice, *at),
            Record::Confirmed(_) | Record::BasketConfirmed(_) => {
                Work::These(Order::all_in(record).flat_map(|order| self.order(&order)).collect())
            }
            Record::Shipped { sale, sequence, at } => {
                let place = usize::try_from(sequence - 1).expect("orders are never more than units");
                let buyer = self.buyers(*sale).get(place).copied();
                let what = What::Shipped { sequence: *sequence };
                Work::These(buyer.map(|buyer| Draft { sale: *sale, buyer, at: *at, what }).into_iter().collect())
            }
            _ => Work::Nothing,
        };
    }

    /// The last record's message number `part`, from 0; none if it has fewer.
    pub(super) fn part(&self, part: u32) -> Option<Draft> {
        let part = part as usize;
        match &self.work {
            Work::Nothing => None,
            Work::All(list, announcement) => self.rolls[list].buyers.get(part).map(|buyer| announcement.to(*buyer)),
            Work::These(drafts) => drafts.get(part).copied(),
        }
    }

    /// The last record has no more messages to give.
    fn finish(&mut self) {
        if let Work::All(list, announcement) = std::mem::take(&mut self.work)
            && let Some(roll) = self.rolls.get_mut(&list)
        {
            roll.announced.push(announcement);
            roll.to_come -= 1;
            if roll.to_come == 0 {
                roll.buyers = Vec::new();
            }
        }
    }

    fn announce(&self, sale: u32, notice: Notice, at: Timestamp) -> Work {
        let announcement = Announcement { sale, notice, at };
        self.plans.get(&sale).map_or(Work::Nothing, |list| Work::All(*list, announcement))
    }

    /// An order: its confirmation, and the notices that its buyer had to buy for.
    fn order(&mut self, order: &Order) -> Vec<Draft> {
        let Order { sale, sequence, buyer, quantity, at, .. } = *order;
        self.orders.entry(sale).or_default().push(buyer);
        let (of, hold) = order.hold();
        let mut drafts = vec![Draft { sale, buyer, at, what: What::Order { sequence, quantity, of, hold } }];
        drafts.extend(self.arrivals(List::Buyers(sale), &[buyer]));
        drafts
    }

    /// Buyers come onto a list: what was announced to it before goes to them now.
    fn arrivals(&mut self, list: List, buyers: &[Buyer]) -> Vec<Draft> {
        let mut drafts = Vec::new();
        let Some(roll) = self.rolls.get_mut(&list) else { return drafts };
        for &buyer in buyers {
            if matches!(list, List::Buyers(_)) && !roll.seen.insert(buyer) {
                continue;
            }
            if roll.to_come > 0 {
                roll.buyers.push(buyer);
            }
            drafts.extend(roll.announced.iter().map(|announcement| announcement.to(buyer)));
        }
        drafts
    }
}
