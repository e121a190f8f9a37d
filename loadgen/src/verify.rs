//! The proof: what the replies say, checked without asking the target.
//!
//! Every accepted hold is logged by the worker that asked for it, with the real instants of call and reply. A unit was
//! *certainly* taken from the reply of `reserve` to the call that ended it, and *possibly* taken from the call of
//! `reserve` to the reply that ended it, or to the instant at which it must have expired. No more than the stock may
//! ever be certainly taken; nobody may be refused for want of stock while no more than the rest is possibly taken.
//! Only then are the target's own sums, its journal and its ledger compared with these figures.

mod baskets;
mod books;
mod changes;
mod faces;
pub mod invariant;
pub mod log;
mod messages;
mod people;
mod queue;
mod reopened;
mod sale;
mod timeline;
mod window;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use sellout::Timestamp;

use crate::{
    clock::ScaledClock,
    number::{count, nanos, real},
    scenario::SalePlan,
    target::{
        FaceTotals, JournalProof, LedgerProof, MessageProof, Opening, OrderId, ReopenProof, Resources, SaleIndex,
        Totals,
    },
};

pub use self::{
    books::LedgerFigures,
    faces::{AmountFigures, FaceFigures},
    invariant::{Invariant, Invariants},
    messages::MessageFigures,
    sale::SaleProof,
};
use self::{
    log::{ChangeRecord, HoldRecord, QueueRecord, Registration, SaleLog},
    sale::OfSale,
};

/// How long after deadline and grace a unit must be on sale again, in real time: one tick of the driver, and what the
/// scheduler of a busy machine may take.
pub const EXPIRY_SLACK: Duration = Duration::from_millis(250);

/// What was played, as far as the proof needs it.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The sales.
    pub sales: &'a [SalePlan],
    /// What stood in the shop before.
    pub opening: &'a Opening,
    /// The run's clock.
    pub clock: &'a ScaledClock,
    /// When the last worker stopped, in real nanoseconds since the start.
    pub ended_ns: u64,
    /// What was changed meanwhile.
    pub changes: &'a [ChangeRecord],
    /// Everybody who registered beforehand for the sales that say so, afresh at each call.
    pub registered: &'a dyn Fn() -> Box<dyn Iterator<Item = u64> + 'a>,
    /// When the target had told its sums; from `ended_ns` until then holds ran out that nobody ended.
    pub told_ns: u64,
}

/// What the target says of itself; `None` where it says nothing.
#[derive(Debug, Default)]
pub struct Books {
    /// Its sums, a sale.
    pub totals: Vec<Option<Totals>>,
    /// Its figures of the sales whose units can be told apart.
    pub faces: HashMap<SaleIndex, FaceTotals>,
    /// Its journal.
    pub journal: Option<JournalProof>,
    /// Its ledger.
    pub ledger: Option<LedgerProof>,
    /// Its messages.
    pub messages: Option<MessageProof>,
    /// What a second one tells.
    pub reopened: Option<ReopenProof>,
    /// What its sales cost.
    pub resources: Option<Resources>,
}

/// The proof of a run.
#[derive(Debug)]
pub struct Proof {
    /// The figures of each sale, from the replies.
    pub sales: Vec<SaleProof>,
    /// What was checked, and whether it holds.
    pub invariants: Vec<Invariant>,
    /// The comparison with the ledger, if there is one.
    pub ledger: Option<LedgerFigures>,
    /// The sales whose units can be told apart.
    pub faces: Vec<FaceFigures>,
    /// The messages, if there are any.
    pub messages: Option<MessageFigures>,
}

/// What the workers were told.
#[derive(Debug, Default)]
pub struct Replies {
    /// The accepted holds.
    pub holds: Vec<HoldRecord>,
    /// The summaries of the refusals, a sale.
    pub sales: Vec<SaleLog>,
    /// Who waited.
    pub queues: Vec<QueueRecord>,
    /// Who registered while it ran.
    pub registrations: Vec<Registration>,
}

/// Checks what all workers were told, and then what the target says of itself.
#[must_use]
pub fn verify(scene: &Scene<'_>, mut replies: Replies, books: &Books) -> Proof {
    let mut invariants = Invariants::default();
    for hold in &mut replies.holds {
        hold.settle();
    }
    replies.holds.sort_unstable_by_key(|hold| (hold.sale, hold.buyer, hold.called_ns));
    replies.queues.sort_unstable_by_key(|queue| (queue.sale, queue.place.ticket));
    let Replies { holds, sales: logs, queues, .. } = &replies;
    let (mut sales, mut faces) = (Vec::with_capacity(scene.sales.len()), Vec::new());
    let (mut rest, mut waiting) = (holds.as_slice(), queues.as_slice());
    for (place, log) in logs.iter().enumerate() {
        let (holds, queues);
        (holds, rest) = rest.split_at(rest.partition_point(|hold| hold.sale == place));
        (queues, waiting) = waiting.split_at(waiting.partition_point(|queue| queue.sale == place));
        let of_sale = OfSale { place, holds, queues, log };
        let proof = sale::check(scene, &of_sale, &mut invariants);
        queue::check(scene, &of_sale, &mut invariants);
        faces.extend(faces::check(scene, &of_sale, &proof, books.faces.get(&place), &mut invariants));
        sales.push(proof);
    }
    unique_names(holds, &mut invariants);
    books::check_totals(scene, &sales, &books.totals, &mut invariants);
    if let Some(journal) = &books.journal {
        books::check_journal(scene, holds, journal, &mut invariants);
    }
    let ledger = books.ledger.as_ref().map(|ledger| {
        let known = books.journal.as_ref().map(|journal| journal.sales.as_slice());
        books::check_ledger(scene, holds, known, ledger, &mut invariants)
    });
    books::check_digests(scene, books, &mut invariants);
    baskets::check(scene, holds, books.journal.as_ref(), &mut invariants);
    let messages = books.messages.as_ref().map(|proof| messages::check(scene, &replies, proof, &mut invariants));
    if let Some(reopened) = &books.reopened {
        reopened::check(scene, books, reopened, &mut invariants);
    }
    Proof { sales, invariants: invariants.into_list(), ledger, faces, messages }
}

/// No two holds share a ticket, no two sales an order.
fn unique_names(holds: &[HoldRecord], invariants: &mut Invariants) {
    let mut tickets = HashSet::with_capacity(holds.len());
    let mut orders: HashSet<(usize, OrderId)> = HashSet::new();
    let (mut twice, mut same_order) = (None, None);
    for hold in holds {
        if !tickets.insert((hold.sale, hold.ticket)) {
            twice.get_or_insert_with(|| format!("buyer {} got ticket {:032x} a second time", hold.buyer, hold.ticket));
        }
        if let Some(order) = hold.order
            && !orders.insert((hold.sale, order))
        {
            same_order.get_or_insert_with(|| format!("buyer {} got order {order} a second time", hold.buyer));
        }
    }
    invariants.check("tickets_unique", twice, || format!("{} tickets, all different", tickets.len()));
    invariants.check("orders_unique", same_order, || format!("{} orders, all different", orders.len()));
}

impl fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene")
            .field("sales", &self.sales.len())
            .field("ended_ns", &self.ended_ns)
            .finish_non_exhaustive()
    }
}

impl Scene<'_> {
    /// Whether an earlier run had this sale.
    fn is_resumed(&self, place: usize) -> bool {
        self.opening.sales.get(place).is_some_and(|sale| sale.resumed)
    }

    fn slack_ns() -> u64 {
        nanos(EXPIRY_SLACK)
    }

    /// The instant at which a sale opens: as the scenario says, unless an earlier run fixed it.
    fn opens_at(&self, place: usize) -> Timestamp {
        let before = self.opening.sales.get(place).and_then(|sale| sale.opens_at);
        before.unwrap_or_else(|| self.clock.base().plus(self.sales[place].opens_at))
    }

    /// The instant at which a sale closes, if it does.
    fn closes_at(&self, place: usize) -> Option<Timestamp> {
        let plan = &self.sales[place];
        Some(self.opens_at(place).plus(plan.closes_at?.saturating_sub(plan.opens_at)))
    }

    /// Units that an earlier run sold, and left on hold.
    fn before(&self, place: usize) -> (u64, u64) {
        self.opening.sales.get(place).map_or((0, 0), |sale| (sale.sold(), sale.held))
    }

    /// Real nanoseconds until every hold of an earlier run is over.
    fn earlier_holds_over_ns(&self, place: usize) -> u64 {
        let sale = &self.sales[place];
        self.clock.real_ns(sale.hold + sale.grace).saturating_add(Self::slack_ns())
    }

    /// Sales that an earlier run confirmed.
    fn confirmed_before(&self) -> u64 {
        self.opening.sales.iter().map(|sale| count(sale.confirmed.len())).sum()
    }
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

fn seconds(real_ns: u64) -> String {
    format!("{:.6}s", real(real_ns) / 1e9)
}
