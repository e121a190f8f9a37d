//! A small shop behind one lock, as a test target: right, or broken in one way.

mod floor;
mod room;
mod session;

use std::sync::{Arc, Mutex, MutexGuard};

use sellout::Clock;
use sellout_loadgen::{
    clock::ScaledClock,
    scenario::{Change, UnitsPlan},
    target::{
        Ability, AmountTotals, FaceTotals, JournalProof, LedgerProof, MessageProof, Opening, Preparation, ReopenProof,
        Resources, SaleIndex, Target, TargetError, Totals,
    },
};

use self::{floor::Floor, room::Room, session::ShopSession};

/// The one thing that is wrong with a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nothing.
    Not,
    /// It can't do all that a shop may.
    HasNoWaitlist,
    /// It looks at the stock before a unit of it is given away by somebody else.
    Oversells,
    /// Units of holds that ran out never come back.
    LeaksHeldUnits,
    /// It forgets who has a unit.
    IgnoresTheCap,
    /// Each report of a payment is a new sale.
    ConfirmsTwice,
    /// It says "sold out" when units are only on hold.
    SaysSoldOutTooEarly,
    /// It lets in who did not register.
    LetsEverybodyIn,
    /// It sells before it opens.
    OpensEarly,
    /// All holds have the same ticket.
    OneTicketForAll,
    /// It acknowledges a sale that it doesn't write down.
    ForgetsToJournal,
    /// It delivers a sale twice.
    DeliversTwice,
    /// Its own sums are wrong.
    MiscountsItself,
    /// Its own sums lose a unit.
    LosesCount,
    /// All sales have the same order.
    OneOrderForAll,
    /// Its journal's digest is of something else.
    DigestsSomethingElse,
    /// It takes an invitation from whoever has it.
    TakesAnyInvitation,
    /// Its first unit is everybody's.
    SellsOneUnitTwice,
    /// What is sold is another unit than what was held.
    ChangesTheUnit,
    /// An amount is larger than it may be.
    GivesTooMuch,
    /// Its amounts don't add up to the budget.
    LosesACent,
    /// A unit has another amount when it comes back.
    ChangesTheAmount,
    /// It sells the first line of a basket only.
    SellsHalfABasket,
    /// A basket that is refused keeps what it had.
    KeepsHalfABasket,
    /// A newcomer gets a unit that somebody waits for.
    ServesNewcomersFirst,
    /// It offers units to who came last.
    OffersToTheLast,
    /// Units that come back are offered to nobody.
    OffersToNobody,
    /// It sends a message twice.
    RemindsTwice,
    /// It forgets a message.
    ForgetsAConfirmation,
    /// It sends messages in another order than that of their ids.
    MixesUpMessages,
    /// It tells somebody who did not register.
    TellsAStranger,
    /// It sells while it is paused.
    IgnoresThePause,
    /// It says that it added units, and didn't.
    AddsNothing,
    /// It adds more than it was asked to.
    AddsTooMuch,
    /// It goes on with the old limit.
    IgnoresTheNewCap,
    /// What is opened again has other sums.
    ReopensDifferently,
}

/// The shop, and what stands in it.
#[derive(Debug)]
pub(crate) struct Shop {
    broken: Broken,
    clock: Arc<ScaledClock>,
    floor: Arc<Mutex<Floor>>,
}

impl Shop {
    pub(crate) fn new(broken: Broken, clock: Arc<ScaledClock>) -> Self {
        Self { broken, clock, floor: Arc::new(Mutex::new(Floor::new(broken))) }
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap()
    }
}

impl Target for Shop {
    type Session = ShopSession;

    fn name(&self) -> &'static str {
        "shop"
    }

    fn offers(&self, ability: Ability) -> bool {
        ability != Ability::Waitlist || self.broken != Broken::HasNoWaitlist
    }

    fn prepare(&self, plan: &Preparation<'_>) -> Result<Opening, TargetError> {
        let rooms = plan.sales.iter();
        self.floor().rooms = rooms.map(|sale| Room::new(sale, plan, self.broken)).collect();
        Ok(Opening::default())
    }

    fn session(&self) -> ShopSession {
        ShopSession::new(Arc::clone(&self.clock), Arc::clone(&self.floor))
    }

    fn change(&self, change: &Change) -> Result<u64, TargetError> {
        Ok(self.floor().change(self.clock.now(), change))
    }

    fn settle(&self) -> Result<(), TargetError> {
        self.floor().tick(self.clock.now());
        Ok(())
    }

    fn totals(&self, sale: SaleIndex) -> Result<Option<Totals>, TargetError> {
        Ok(Some(self.floor().rooms[sale].totals(self.broken)))
    }

    fn faces(&self, sale: SaleIndex) -> Result<Option<FaceTotals>, TargetError> {
        let floor = self.floor();
        let room = &floor.rooms[sale];
        Ok((room.plan.units != UnitsPlan::Alike)
            .then(|| FaceTotals { units: room.plan.stock.into(), amounts: room.amount_totals() }))
    }

    fn journal(&self) -> Result<Option<JournalProof>, TargetError> {
        let floor = self.floor();
        let digest = if self.broken == Broken::DigestsSomethingElse { 8 } else { 7 };
        let sales: Vec<_> = floor.rooms.iter().flat_map(|room| room.journal.clone()).collect();
        let digests = floor.rooms.iter().map(|room| (room.plan.name.clone(), digest)).collect();
        Ok(Some(JournalProof { records: sales.len() as u64, bytes: 0, sales, digests }))
    }

    fn ledger(&self) -> Result<Option<LedgerProof>, TargetError> {
        let mut sales = self.journal()?.unwrap_or_default().sales;
        if self.broken == Broken::DeliversTwice {
            sales.extend(sales.first().cloned());
        }
        Ok(Some(LedgerProof { sales, digests: Vec::new() }))
    }

    fn messages(&self) -> Result<Option<MessageProof>, TargetError> {
        let mut messages = self.floor().messages.clone();
        if self.broken == Broken::RemindsTwice {
            messages.insert(1, messages[0]);
        }
        if self.broken == Broken::MixesUpMessages {
            let last = messages.len() - 1;
            messages.swap(0, last);
        }
        Ok((!messages.is_empty()).then_some(MessageProof { messages }))
    }

    fn reopened(&self) -> Result<Option<ReopenProof>, TargetError> {
        let floor = self.floor();
        let mut totals: Vec<_> = floor.rooms.iter().map(|room| room.totals(self.broken)).collect();
        if self.broken == Broken::ReopensDifferently {
            totals[0].digest = Some(9);
        }
        let amounts = floor.rooms.iter().enumerate();
        let amounts: Vec<(SaleIndex, AmountTotals)> =
            amounts.filter_map(|(place, room)| Some((place, room.amount_totals()?))).collect();
        Ok(Some(ReopenProof { totals, amounts, ..ReopenProof::default() }))
    }

    fn resources(&self) -> Option<Resources> {
        Some(Resources { sales: self.floor().rooms.len() as u64, resident_bytes: 1 << 20, ..Resources::default() })
    }
}
