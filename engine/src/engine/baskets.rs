//! Baskets: units of several sales under one token, all of them or none.
//!
//! All baskets of an engine stand in the slots of one sale of their own, which nobody sees: it gives them tokens,
//! deadlines, a late book and a place in the journal like those of any hold. The units stand in their own sales, as
//! parts (`core::baskets`). One record of the journal says what becomes of a whole basket, so that no crash parts it:
//!
//! ```text
//! reserve   parts in their sales -> the basket's slot held         BasketHeld, a tick later
//! confirm   basket's slot confirming ... journal ... parts sold    BasketConfirmed: an order in each sale
//! cancel    basket's slot free -> parts free                       its end; an end of any part means the same
//! expire    the same, by a tick                                    BasketExpired, with what was in it
//! ```

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    Engine,
    answers::{CancelError, Cancelled, ConfirmError, CreateError, ExtendError, Rejection},
    events::EventKind,
    faces::Unit,
    inner::{EngineInner, home},
    late::Late,
    pending::Pending,
    sale::{Sale, ended},
    state::SaleInner,
};
use crate::{
    core::{
        Buyer, End, SaleName, Timestamp, Token,
        allocator::{HoldId, Marks, Refusal, Standing},
        baskets::{BasketPart, Line, MOST, Missed, Table, Want, end_parts, take},
    },
    payment::PaymentId,
    spec::SaleSpec,
};

mod book;

pub(super) use book::{Sold, SoldPart, end_all, keep_room, number, quantity, reacquire, write_held, write_sold};

/// What the sale of all baskets is called: no other sale can have that name.
pub(crate) const NAME: &str = "*baskets";
/// How many baskets there may be before the first growth; then there may be twice as many, and so on.
const AT_FIRST: u32 = if cfg!(test) { 40 } else { 60_000 };

/// How long a basket is held.
///
/// ```
/// use sellout::BasketRules;
/// use std::time::Duration;
///
/// let rules = BasketRules::new().hold_for(Duration::from_secs(600));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct BasketRules {
    hold: Duration,
    grace: Duration,
}

impl BasketRules {
    /// Fifteen minutes to pay, and two seconds of grace.
    pub const fn new() -> Self {
        Self { hold: Duration::from_mins(15), grace: Duration::from_secs(2) }
    }

    /// How long a buyer has to pay a basket, whatever its sales say of single holds.
    pub const fn hold_for(mut self, span: Duration) -> Self {
        self.hold = span;
        self
    }

    /// How long after its deadline a basket is still kept for a payment that is on its way.
    pub const fn grace(mut self, span: Duration) -> Self {
        self.grace = span;
        self
    }
}

impl Default for BasketRules {
    fn default() -> Self {
        Self::new()
    }
}

/// Why there is no basket. Nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BasketRejection {
    /// What is wanted of this sale can't be had.
    #[error("{sale}: {why}", sale = sale.as_str())]
    Sale {
        /// The sale.
        sale: SaleName,
        /// Why not.
        why: Rejection,
    },
    /// Nothing is in it.
    #[error("an empty basket: put 1 to {MOST} sales into it")]
    Empty,
    /// More sales than a basket can have.
    #[error("{asked} different sales in one basket: put at most {MOST} into it, and the rest into another one")]
    TooManySales {
        /// How many there are.
        asked: usize,
    },
    /// The sale belongs to another engine.
    #[error("{sale} is a sale of another engine: a basket can't reach beyond its own", sale = sale.as_str())]
    OtherEngine {
        /// The sale.
        sale: SaleName,
    },
    /// Another basket of the same buyer is being decided at this very moment: a double click.
    #[error("another basket of this buyer is under way: its answer counts")]
    AttemptUnderWay,
    /// No baskets are made now: the engine is closed, or its journal has failed.
    #[error("no baskets are made now: the engine is closed or its journal has failed")]
    Stopped,
}

/// Units of one sale in a basket.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BasketLine {
    /// The sale.
    pub sale: Sale,
    /// How many of its units.
    pub quantity: u32,
    /// The number of the order in that sale, once the basket is sold.
    pub order: Option<u64>,
    /// Which units, if the sale's can be told apart.
    pub units: Vec<Unit>,
}

/// The baskets of an engine: see [`Engine::baskets`]. Cheap to clone.
#[derive(Clone)]
pub struct Baskets {
    /// The sale in whose slots baskets stand.
    desk: Sale,
}

/// Units of several sales that wait for one payment. Dropping it changes nothing.
#[derive(Clone, Copy)]
#[must_use = "without its token a basket can only expire"]
pub struct Basket<'a> {
    baskets: &'a Baskets,
    id: HoldId,
    buyer: Buyer,
    deadline: Timestamp,
}

/// What the sale of all baskets has beside what every sale has.
pub(crate) struct Desk {
    pub(crate) table: Table,
    /// Every sale that has ever been in a basket, by number.
    members: ArcSwap<BTreeMap<u32, Arc<SaleInner>>>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), members: ArcSwap::from_pointee(BTreeMap::new()) }
    }

    /// A sale of which there are parts.
    pub(crate) fn member(&self, sale: u32) -> Arc<SaleInner> {
        let members = self.members.load();
        Arc::clone(members.get(&sale).expect("a sale is known before a part of it is entered"))
    }

    pub(crate) fn know(&self, sale: &Arc<SaleInner>) {
        if self.members.load().contains_key(&sale.number) {
            return;
        }
        self.members.rcu(|members| {
            let mut members = BTreeMap::clone(members);
            members.insert(sale.number, Arc::clone(sale));
            members
        });
    }
}

impl SaleInner {
    /// Whether this is the sale of all baskets.
    pub(crate) fn is_desk(&self) -> bool {
        self.desk.is_some()
    }

    pub(crate) fn desk(&self) -> &Desk {
        self.desk.as_ref().expect("the sale of all baskets has a desk")
    }

    /// What is in the basket of `slot`, see [`Table::parts`]; nothing if this is any other sale.
    pub(crate) fn basket_parts(&self, slot: u32) -> Vec<BasketPart> {
        self.desk.as_ref().map_or_else(Vec::new, |desk| desk.table.parts(self.allocator.slots(), slot))
    }
}

impl Engine {
    /// The baskets of this engine. The first call says how long they are held, durably; later ones get the same.
    ///
    /// # Errors
    /// [`CreateError`] if the rules can't be kept, or the journal doesn't take them.
    ///
    /// ```
    /// use sellout::{BasketRules, Confirmation, Engine, SaleSpec};
    ///
    /// let engine = Engine::in_memory();
    /// let day = engine.create(SaleSpec::new("day-ticket", 500).cap(4).largest(4))?;
    /// let camping = engine.create(SaleSpec::new("camping", 90).cap(4).largest(4))?;
    ///
    /// let baskets = engine.baskets(BasketRules::new())?;
    /// let basket = baskets.reserve(7, &[(&day, 2), (&camping, 1)])?;
    /// let paid = baskets.confirm(&basket.token(), 1_001)?.wait()?;
    /// assert!(matches!(paid, Confirmation::Confirmed(receipt) if receipt.quantity == 3));
    /// assert_eq!((day.audit().sold, camping.audit().sold), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn baskets(&self, rules: BasketRules) -> Result<Baskets, CreateError> {
        let desk = |inner| Baskets { desk: Sale { engine: Arc::clone(&self.inner), inner } };
        if let Some(inner) = self.inner.sale(NAME) {
            return Ok(desk(inner));
        }
        let mut spec = SaleSpec::new("baskets", AT_FIRST).hold_for(rules.hold).grace(rules.grace);
        spec.check()?;
        NAME.clone_into(&mut spec.name);
        spec.cap = crate::core::MAX_CAP;
        match self.inner.create_checked(spec) {
            Ok(inner) => Ok(desk(inner)),
            // Somebody else came first.
            Err(CreateError::NameTaken { name }) => match self.inner.sale(NAME) {
                Some(inner) => Ok(desk(inner)),
                None => Err(CreateError::NameTaken { name }),
            },
            Err(error) => Err(error),
        }
    }
}

impl Baskets {
    fn engine(&self) -> &Arc<EngineInner> {
        &self.desk.engine
    }

    /// Puts units of several sales on hold for `buyer`, all of them or none. A sale that is named twice counts once,
    /// with both quantities. Takes no lock; only if there have never been so many baskets and nobody ticks, it waits
    /// for the journal to make room.
    ///
    /// While it is decided others may be told "all held" for the units that it has already, and never "sold out". Of
    /// baskets that want the same units, one gets them.
    ///
    /// # Errors
    /// [`BasketRejection`] says why not, and of which sale.
    pub fn reserve(&self, buyer: impl Into<Buyer>, items: &[(&Sale, u32)]) -> Result<Basket<'_>, BasketRejection> {
        let (buyer, now) = (buyer.into(), self.engine().now());
        let items = self.sorted(items)?;
        for (sale, quantity) in &items {
            sale.may_take(buyer, *quantity, now).map_err(|why| rejected(sale, why))?;
        }
        let (inner, home) = (&self.desk.inner, home());
        let key_epoch = self.engine().keys.key_epoch();
        let place = loop {
            let attempt = inner.allocator.try_for(buyer, 1, Marks::Respected);
            match attempt.and_then(|attempt| inner.allocator.take(attempt, 1, Marks::Respected, home)) {
                Ok(place) => break place,
                Err(Refusal::UnderWay) => return Err(BasketRejection::AttemptUnderWay),
                Err(Refusal::AllHeld { .. } | Refusal::SoldOut { .. }) => self.make_room()?,
                Err(_) => return Err(BasketRejection::Stopped),
            }
        };
        for (sale, _) in &items {
            inner.desk().know(&sale.inner);
            self.engine().activate(&sale.inner);
        }
        self.engine().activate(inner);
        let deadline = now.plus(inner.spec.hold);
        let wants: Vec<Want<'_>> =
            items.iter().map(|(sale, quantity)| want(&sale.inner, *quantity, deadline)).collect();
        let parts = match take(&wants, buyer, Marks::Respected, home, key_epoch) {
            Ok(parts) => parts,
            Err(Missed { place: at, why, restocked }) => {
                inner.allocator.put_back(place, home);
                for at in restocked {
                    items[at].0.publish(EventKind::Restocked);
                }
                let (sale, _) = items[at];
                return Err(rejected(sale, sale.rejection(why, now)));
            }
        };
        let contents = contents(&items, &parts);
        let fill = |slot| inner.desk().table.fill(inner.allocator.slots(), slot, &contents);
        let Ok(made) = inner.allocator.hold_basket(place, inner.offset(now), home, key_epoch, fill) else {
            // The slots of baskets are out of generations; the next tick makes more.
            end_parts(&wants, &parts, home);
            return Err(BasketRejection::AttemptUnderWay);
        };
        let basket = Basket { baskets: self, id: made.id, buyer, deadline: inner.instant(made.due) };
        if !self.engine().hub.is_silent() {
            let (token, deadline) = (basket.token(), basket.deadline);
            for (sale, quantity) in &items {
                sale.publish(EventKind::Held { buyer, quantity: *quantity, token, deadline });
            }
        }
        Ok(basket)
    }

    /// In the order that everybody keeps, each sale once.
    fn sorted<'s>(&self, items: &[(&'s Sale, u32)]) -> Result<Vec<(&'s Sale, u32)>, BasketRejection> {
        let mut sorted: BTreeMap<u32, (&Sale, u32)> = BTreeMap::new();
        for (sale, quantity) in items {
            if !Arc::ptr_eq(&sale.engine, self.engine()) {
                return Err(BasketRejection::OtherEngine { sale: SaleName::new(sale.name()) });
            }
            if *quantity == 0 {
                let largest = sale.inner.allocator.largest();
                return Err(rejected(sale, Rejection::BadQuantity { asked: 0, largest }));
            }
            let (_, sum) = sorted.entry(sale.inner.number).or_insert((sale, 0));
            *sum = sum.saturating_add(*quantity);
        }
        match sorted.len() {
            0 => Err(BasketRejection::Empty),
            asked if asked > MOST => Err(BasketRejection::TooManySales { asked }),
            _ => Ok(sorted.into_values().collect()),
        }
    }

    /// Lets there be twice as many baskets.
    fn make_room(&self) -> Result<(), BasketRejection> {
        if self.desk.inner.allocator.free() > 0 {
            return Ok(());
        }
        let more = u32::try_from(self.desk.inner.allocator.total()).unwrap_or(u32::MAX);
        self.desk.add_stock(more).map_err(|_| BasketRejection::Stopped)
    }

    /// Sells a basket, against one payment: an order in each of its sales, durable together.
    ///
    /// The receipt has the basket's number among baskets, and its units in all sales together; the orders are in
    /// [`Baskets::lines`]. In the ledger their ids are the basket's token with `-1`, `-2` and so on behind it.
    ///
    /// # Errors
    /// As [`Sale::confirm`].
    pub fn confirm(&self, token: &Token, payment: impl Into<PaymentId>) -> Result<Pending, ConfirmError> {
        self.desk.confirm(token, payment)
    }

    /// Ends a basket; all its units are on sale again when this answers. Takes no lock and does no I/O.
    ///
    /// # Errors
    /// [`CancelError`] if the token is no basket's, or the basket had ended before.
    pub fn cancel(&self, token: &Token) -> Result<Cancelled, CancelError> {
        self.cancel_id(self.desk.open_token(token)?)
    }

    fn cancel_id(&self, id: HoldId) -> Result<Cancelled, CancelError> {
        let inner = &self.desk.inner;
        loop {
            let snapshot = match inner.allocator.standing(id) {
                Standing::Held { snapshot, .. } => snapshot,
                standing => return Err(CancelError::Ended(ended(standing))),
            };
            let parts = inner.basket_parts(id.slot);
            if inner.allocator.end(id.slot, snapshot, End::Cancelled, home()).is_ok() {
                end_all(self.engine(), inner.desk(), &parts, End::Cancelled);
                return Ok(Cancelled { quantity: units(&parts) });
            }
        }
    }

    /// Moves a basket's deadline later by `by`.
    ///
    /// # Errors
    /// As [`Sale::extend`].
    pub fn extend(&self, token: &Token, by: Duration) -> Result<Timestamp, ExtendError> {
        self.desk.extend(token, by)
    }

    /// What is in a basket, in the order of its sales' making; how it ended, if it has ended unsold.
    ///
    /// The token of an expired basket that was paid late, and had all again, names what was sold in its place.
    ///
    /// # Errors
    /// [`CancelError`] if the token is no basket's, or the basket has ended unsold.
    pub fn lines(&self, token: &Token) -> Result<Vec<BasketLine>, CancelError> {
        let (mut id, inner) = (self.desk.open_token(token)?, &self.desk.inner);
        loop {
            let standing = inner.allocator.standing(id);
            if matches!(standing, Standing::Ended(End::Expired) | Standing::Gone)
                && let Some(Late::Reacquired(new)) = inner.late.lock().get(id)
            {
                id = new;
                continue;
            }
            if matches!(standing, Standing::Ended(_) | Standing::Gone) {
                return Err(CancelError::Ended(ended(standing)));
            }
            let lines = inner.basket_parts(id.slot).into_iter().map(|part| self.line(part, id.key_epoch)).collect();
            // Ended meanwhile, or still the same: what was read belongs to it only then.
            if !matches!(inner.allocator.standing(id), Standing::Ended(_) | Standing::Gone) {
                return Ok(lines);
            }
        }
    }

    fn line(&self, part: BasketPart, key_epoch: u16) -> BasketLine {
        let inner = self.desk.inner.desk().member(part.line.sale);
        let id = HoldId { slot: part.slot, generation: part.generation, key_epoch };
        let order = match inner.allocator.standing(id) {
            Standing::Sold { sequence, .. } => Some(sequence),
            _ => None,
        };
        let units = inner.units_at(part.slot, part.generation).unwrap_or_default();
        let sale = Sale { engine: Arc::clone(self.engine()), inner };
        BasketLine { sale, quantity: part.line.quantity, order, units }
    }
}

impl Basket<'_> {
    /// The basket's name outside the process.
    #[must_use]
    pub fn token(&self) -> Token {
        self.baskets.desk.token(self.id)
    }

    /// Until when it can be paid, this instant included.
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Who has it.
    #[must_use]
    pub const fn buyer(&self) -> Buyer {
        self.buyer
    }

    /// What is in it; empty if it has ended unsold.
    #[must_use]
    pub fn lines(&self) -> Vec<BasketLine> {
        self.baskets.lines(&self.token()).unwrap_or_default()
    }

    /// Sells it, as [`Baskets::confirm`] does.
    ///
    /// # Errors
    /// As [`Sale::confirm`].
    pub fn confirm(self, payment: impl Into<PaymentId>) -> Result<Pending, ConfirmError> {
        self.baskets.confirm(&self.token(), payment)
    }

    /// Cancels it, as [`Baskets::cancel`] does.
    ///
    /// # Errors
    /// [`CancelError::Ended`] if it had ended before.
    pub fn cancel(self) -> Result<Cancelled, CancelError> {
        self.baskets.cancel_id(self.id)
    }
}

/// What a basket that falls due at `deadline` wants of a sale.
fn want(sale: &SaleInner, quantity: u32, deadline: Timestamp) -> Want<'_> {
    Want { allocator: &sale.allocator, quantity, due: sale.offset(deadline) }
}

fn contents(items: &[(&Sale, u32)], parts: &[HoldId]) -> Vec<BasketPart> {
    let line = |(sale, quantity): &(&Sale, u32)| Line { sale: sale.inner.number, quantity: *quantity };
    let part = |(item, id): (_, &HoldId)| BasketPart { line: line(item), slot: id.slot, generation: id.generation };
    items.iter().zip(parts).map(part).collect()
}

fn units(parts: &[BasketPart]) -> u32 {
    parts.iter().map(|part| part.line.quantity).sum()
}

fn rejected(sale: &Sale, why: Rejection) -> BasketRejection {
    BasketRejection::Sale { sale: SaleName::new(sale.name()), why }
}

impl fmt::Debug for Baskets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Baskets").field("engine", self.engine()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Basket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basket").field("buyer", &self.buyer).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("members", &self.members.load().len()).finish_non_exhaustive()
    }
}
