//! The shop under test, as the generator sees it: typed requests, typed answers.
//!
//! A [`Target`] is made once a run and shared; each worker has a [`Session`] of its own. Nothing here knows what is
//! behind it: an engine in this process, a script in Redis, a shop over HTTP. What a target can't do it doesn't
//! [offer](Target::offers), and a scenario that needs it is refused before the run. What a target can't tell (it has no
//! journal, no audit) it says with `None`, and the proof goes on without it.

mod books;
pub mod engine;
mod opening;
mod replies;

pub use self::{
    books::{
        AmountTotals, DeliveredMessage, FaceTotals, JournalProof, JournalledSale, LedgerProof, MessageKind,
        MessageProof, ReopenProof, Resources, TargetError, Totals,
    },
    opening::{Opening, Preparation, SaleOpening},
    replies::{
        AcceptReply, Answer, BasketRefusal, CancelReply, ConfirmReply, Held, HeldBasket, HeldUnit, HeldUnits,
        JoinReply, LeaveReply, Line, OrderId, Place, Refusal, RegisterReply, WaitReply,
    },
};
use crate::scenario::Change;

/// The place of a sale in its scenario.
pub type SaleIndex = usize;

/// Something that not every target can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ability {
    /// Registering while the sale runs.
    Registration,
    /// Audiences that another sale fills, and sales that open for everybody later.
    Audiences,
    /// Invitations that only their buyer can use.
    Invitations,
    /// Reminders, purchase links, confirmations and shipping notices.
    Messages,
    /// Units with a number, a label or an amount.
    Faces,
    /// Queues for units that come back.
    Waitlist,
    /// Several sales in one hold.
    Baskets,
    /// Changes while the sale runs.
    Changes,
}

impl Ability {
    /// What a target without it lacks.
    #[must_use]
    pub const fn lacking(self) -> &'static str {
        match self {
            Self::Registration => "no registration while the sale runs",
            Self::Audiences => "no audience that depends on another sale or on the time",
            Self::Invitations => "no invitations",
            Self::Messages => "no messages",
            Self::Faces => "no units that can be told apart",
            Self::Waitlist => "no waitlist",
            Self::Baskets => "no baskets",
            Self::Changes => "no live changes",
        }
    }
}

/// What can be sold to: made once a run, shared by all workers.
pub trait Target: Sync {
    /// What each worker talks to.
    type Session: Session;

    /// What the target is called in reports.
    fn name(&self) -> &str;

    /// Whether the target can do that; what it can't do is never asked for.
    fn offers(&self, _ability: Ability) -> bool {
        false
    }

    /// Puts `plan` on sale, or finds what an earlier run left of it. Called once, before the clock runs.
    ///
    /// # Errors
    /// [`TargetError`] if the target can't be used.
    fn prepare(&self, plan: &Preparation<'_>) -> Result<Opening, TargetError>;

    /// A session for one worker, made in the worker's own thread.
    fn session(&self) -> Self::Session;

    /// Makes a change while the workers are at work; how many units were added, withdrawn or shipped.
    ///
    /// # Errors
    /// [`TargetError`] if it can't be made.
    fn change(&self, _change: &Change) -> Result<u64, TargetError> {
        Err(not_offered(Ability::Changes))
    }

    /// Ends what has run out, so that the sums of all sales can be told. Called once, after the run, before them.
    ///
    /// # Errors
    /// [`TargetError`] if that fails.
    fn settle(&self) -> Result<(), TargetError> {
        Ok(())
    }

    /// The target's own sums of a sale, if it tells.
    ///
    /// # Errors
    /// [`TargetError`] if it should tell but can't.
    fn totals(&self, _sale: SaleIndex) -> Result<Option<Totals>, TargetError> {
        Ok(None)
    }

    /// The target's own figures of a sale whose units can be told apart, if it tells.
    ///
    /// # Errors
    /// [`TargetError`] if it should tell but can't.
    fn faces(&self, _sale: SaleIndex) -> Result<Option<FaceTotals>, TargetError> {
        Ok(None)
    }

    /// What its journal holds, if it has one. Called once, after the run.
    ///
    /// # Errors
    /// [`TargetError`] if the journal can't be read.
    fn journal(&self) -> Result<Option<JournalProof>, TargetError> {
        Ok(None)
    }

    /// What its ledger holds, if it has one. Called once, after the run; it may wait for deliveries under way.
    ///
    /// # Errors
    /// [`TargetError`] if the ledger can't be read.
    fn ledger(&self) -> Result<Option<LedgerProof>, TargetError> {
        Ok(None)
    }

    /// The messages that it delivered, if it has any. Called once, after the run; it may wait for deliveries under way.
    ///
    /// # Errors
    /// [`TargetError`] if they can't be told.
    fn messages(&self) -> Result<Option<MessageProof>, TargetError> {
        Ok(None)
    }

    /// What a second one tells that is opened on a copy of its journal. Called last.
    ///
    /// # Errors
    /// [`TargetError`] if that can't be tried, or fails.
    fn reopened(&self) -> Result<Option<ReopenProof>, TargetError> {
        Ok(None)
    }

    /// What its sales cost, if it tells.
    fn resources(&self) -> Option<Resources> {
        None
    }
}

/// The error for something that a target doesn't offer.
#[must_use]
pub fn not_offered(ability: Ability) -> TargetError {
    TargetError(format!("this target has {}, and the scenario needs it: use another target", ability.lacking()))
}

/// One worker's connection to the target.
///
/// What belongs to an [`Ability`] that the target doesn't offer is never called, and may be left as it is.
pub trait Session {
    /// What names a hold towards the target.
    type Ticket: Ticket;
    /// A confirmation that is under way.
    type Pending: Pending;

    /// Registers a buyer.
    fn register(&mut self, _sale: SaleIndex, _buyer: u64) -> RegisterReply {
        RegisterReply::Failed
    }

    /// Asks for `quantity` units for `buyer`.
    ///
    /// # Errors
    /// [`Refusal`] says why there are none.
    fn reserve(&mut self, sale: SaleIndex, buyer: u64, quantity: u32) -> Result<Held<Self::Ticket>, Refusal>;

    /// Asks for units with the invitation that the buyer `link_of` got: the target knows which that is. If `link_of`
    /// got none yet, there is nothing to show, and the target asks as in [`Session::reserve`].
    ///
    /// # Errors
    /// [`Refusal`] says why there are none.
    fn reserve_with(
        &mut self,
        sale: SaleIndex,
        buyer: u64,
        quantity: u32,
        _link_of: u64,
    ) -> Result<Held<Self::Ticket>, Refusal> {
        self.reserve(sale, buyer, quantity)
    }

    /// Asks for units of several different sales, all or nothing.
    ///
    /// # Errors
    /// [`BasketRefusal`] says which line could not be had, and why.
    fn reserve_basket(&mut self, _lines: &[Line], _buyer: u64) -> Result<HeldBasket<Self::Ticket>, BasketRefusal> {
        Err(BasketRefusal { line: 0, refusal: Refusal::Failed })
    }

    /// Reports the payment of a hold. It must not wait for a disk or a network if it can be asked later.
    fn confirm(&mut self, sale: SaleIndex, ticket: &Self::Ticket, payment: u64) -> Answer<Self::Pending>;

    /// Gives a hold back.
    fn cancel(&mut self, sale: SaleIndex, ticket: &Self::Ticket) -> CancelReply;

    /// Reports the payment of a basket: one answer and one order for all of it.
    fn confirm_basket(&mut self, _ticket: &Self::Ticket, _payment: u64) -> Answer<Self::Pending> {
        Answer::Now(ConfirmReply::Failed)
    }

    /// Gives a basket back.
    fn cancel_basket(&mut self, _ticket: &Self::Ticket) -> CancelReply {
        CancelReply::Failed
    }

    /// The units of a hold that was sold, if they can be told apart and the target knows them.
    fn units(&mut self, _sale: SaleIndex, _ticket: &Self::Ticket) -> Option<HeldUnits> {
        None
    }

    /// The units of a basket that was sold, a line each in the order of `lines`, if some of them can be told apart and
    /// the target knows them.
    fn units_of_basket(&mut self, _ticket: &Self::Ticket, _lines: &[Line]) -> Option<Vec<HeldUnits>> {
        None
    }

    /// Joins the queue of a sale.
    fn join(&mut self, _sale: SaleIndex, _buyer: u64) -> JoinReply {
        JoinReply::Failed
    }

    /// Leaves the queue of a sale.
    fn leave(&mut self, _sale: SaleIndex, _buyer: u64) -> LeaveReply {
        LeaveReply::Failed
    }

    /// Asks whether it is a buyer's turn.
    fn waiting(&mut self, _sale: SaleIndex, _buyer: u64) -> WaitReply<Self::Ticket> {
        WaitReply::Failed
    }

    /// Accepts an offer, to have the full time to pay.
    fn accept(&mut self, _sale: SaleIndex, _ticket: &Self::Ticket) -> AcceptReply {
        AcceptReply::Failed
    }

    /// Why the last answer was `Failed`, in the target's words; forgotten once told.
    fn take_failure(&mut self) -> Option<String> {
        None
    }
}

/// What names a hold towards the target.
pub trait Ticket: Clone {
    /// The same for equal tickets, and for equal tickets only.
    fn fingerprint(&self) -> u128;
}

/// A confirmation that is under way.
pub trait Pending {
    /// Its outcome, once there is one; never waits.
    fn poll(&mut self) -> Option<ConfirmReply>;
}
