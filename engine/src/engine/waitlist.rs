//! The waitlist: who waits while nothing is free, and what becomes of units that come back.
//!
//! ```text
//!           join                     tick                      accept, pay
//!  nobody ---------> queued ahead -----------> offered: a hold -------------> a hold as any other, an order
//!    ^                  | leave                 | leave, lapsed
//!    +------------------+-----------------------+   the unit goes to the next
//! ```
//!
//! What holds:
//! - While somebody is queued, a unit that comes back is for the head of the line: see `core::permits::queue`.
//! - An offer is a hold of the head's with a deadline of its own. It is made, and written down behind the ends of the
//!   holds whose units it may have and together with the leaving of the line, in one append: whatever crashes, a buyer
//!   is in the line or has the offer.
//! - A place stands in the journal before anything that rests on it. It is durable with the next commit.
//! - Only `join`, `leave`, `waiting`, `accept` and `tick` take the list's lock; a full list refuses without it.
//!
//! Lock order: `admin`, the list, then the journal's append lock, then `late`.

mod answers;
mod line;
mod replay;

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    answers::{CancelError, Rejection},
    events::EventKind,
    inner::{EngineInner, home},
    sale::{Sale, ended},
    settle::Settlement,
    state::SaleInner,
    tick::{change_records, write_ends},
};
use crate::{
    core::{
        Buyer, Invitation, Timestamp, Token,
        allocator::{HoldId, Made, Refusal, Standing},
    },
    journal::{Batch, JournalError, Record, Unqueued},
    spec::Waitlist,
};

pub use answers::{AcceptError, JoinError, Left, Waiting};
pub use line::Place;
pub(super) use replay::Replayed;

use line::Line;

/// Offers made in one append: others may append in between.
const TOGETHER: usize = 256;
/// How long a head is waited for whose other attempt is undecided; it takes microseconds, unless its thread is stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// A hold that was offered and not accepted so far.
#[derive(Debug, Clone, Copy)]
struct Offer {
    id: HoldId,
    /// The deadline, as an offset, until which it can be accepted; the hold has another one once it was.
    due: u64,
}

/// What is behind the lock.
#[derive(Debug)]
struct Book {
    line: Line,
    /// Whoever was offered a unit last, and perhaps has it still: looked up by the buyer, believed by the slot.
    offers: HashMap<Buyer, Offer>,
    /// With so many offers, those that are over are thrown out.
    crowded: usize,
    /// Who was at the head and had all that the cap allows; at most as many as there are places.
    passed_over: HashSet<Buyer>,
    /// A head whose other attempt is undecided, and since when.
    undecided: Option<(u64, Timestamp)>,
}

/// The waitlist of one sale.
#[derive(Debug)]
pub(crate) struct WaitState {
    rules: Waitlist,
    /// How many wait.
    length: AtomicUsize,
    book: Mutex<Book>,
}

impl WaitState {
    pub(crate) fn new(rules: Waitlist) -> Self {
        let book = Book {
            line: Line::new(&rules, 1),
            offers: HashMap::new(),
            crowded: 64,
            passed_over: HashSet::new(),
            undecided: None,
        };
        Self { rules, length: AtomicUsize::new(0), book: Mutex::new(book) }
    }

    fn waiting(&self) -> usize {
        // Relaxed: a hint to who has not the lock; who has it wrote the value, or was handed it by the lock.
        self.length.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.waiting() >= self.rules.room as usize
    }

    fn note_length(&self, book: &Book) {
        // Relaxed: as in `waiting`.
        self.length.store(book.line.len(), Ordering::Relaxed);
    }
}

impl Book {
    /// The buyer's offer, if it can still be accepted at `now`.
    fn offer(&self, sale: &SaleInner, buyer: Buyer, now: Timestamp) -> Option<Offer> {
        let offer = self.offers.get(&buyer)?;
        (offer.is_open(sale) && sale.offset(now) <= offer.due).then_some(*offer)
    }

    fn note_offer(&mut self, sale: &SaleInner, buyer: Buyer, offer: Offer) {
        self.offers.insert(buyer, offer);
        if self.offers.len() >= self.crowded {
            self.offers.retain(|_, offer| offer.is_open(sale));
            self.crowded = (2 * self.offers.len()).max(64);
        }
    }

    fn pass_over(&mut self, rules: &Waitlist, buyer: Buyer) {
        if self.passed_over.len() < rules.room as usize {
            self.passed_over.insert(buyer);
        }
    }

    /// Whether the head with this ticket was waited for long enough.
    fn is_out_of_patience(&mut self, ticket: u64, now: Timestamp) -> bool {
        match self.undecided {
            Some((head, since)) if head == ticket => now.since(since) >= PATIENCE,
            _ => {
                self.undecided = Some((ticket, now));
                false
            }
        }
    }
}

impl Offer {
    /// Whether it is a hold with the deadline that it was offered with: neither accepted, nor paid, nor over.
    fn is_open(&self, sale: &SaleInner) -> bool {
        matches!(sale.allocator.standing(self.id), Standing::Held { due, .. } if due == self.due)
    }
}

impl Sale {
    /// Puts `buyer` on the waitlist, for one unit: only while nothing is free. A unit that comes back is offered to
    /// whoever is first, by a tick: [`Sale::waiting`] and [`EventKind::Offered`] tell of it.
    ///
    /// Who is on the list already gets the same place again. The place is durable with the journal's next commit, at
    /// once with [`Engine::sync`](crate::Engine::sync).
    ///
    /// # Errors
    /// [`JoinError`] says why not. A full list says so without a look at who is on it.
    ///
    /// ```
    /// use sellout::{Engine, SaleSpec, WaitOrder, Waiting, Waitlist};
    /// use std::time::Duration;
    ///
    /// let engine = Engine::in_memory();
    /// let waitlist = Waitlist { room: 100, accept_within: Duration::from_secs(120), order: WaitOrder::FirstCome };
    /// let sale = engine.create(SaleSpec::new("books", 1).waitlist(waitlist))?;
    /// let hold = sale.reserve(7, 1)?;
    /// assert_eq!(sale.join(8)?.ahead, 0);
    /// hold.cancel()?;
    /// assert!(sale.reserve(9, 1).is_err(), "it is for buyer 8, and for nobody else");
    /// engine.tick(engine.now());
    /// let Waiting::Offered { token, .. } = sale.waiting(8) else { panic!("a unit has come back") };
    /// let deadline = sale.accept(&token)?;
    /// # assert!(deadline > engine.now());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(&self, buyer: impl Into<Buyer>) -> Result<Place, JoinError> {
        self.join_invited(buyer.into(), None)
    }

    /// `join` with the invitation that the buyer has brought.
    pub(super) fn join_invited(&self, buyer: Buyer, invitation: Option<&Invitation>) -> Result<Place, JoinError> {
        let list = self.inner.waitlist.as_deref().ok_or(JoinError::NoWaitlist)?;
        let now = self.engine.now();
        match self.admit_sale(now) {
            Ok(()) | Err(Rejection::AllHeld { .. }) => {}
            Err(rejection) => return Err(JoinError::Rejected(rejection)),
        }
        if list.is_full() {
            return Err(JoinError::Full { room: list.rules.room });
        }
        self.admit_buyer(buyer, invitation, now).map_err(JoinError::Rejected)?;
        let mut book = list.book.lock();
        if let Some(place) = book.line.place(buyer) {
            return Ok(place);
        }
        if let Some(offer) = book.offer(&self.inner, buyer, now) {
            let (token, accept_by) = (self.token(offer.id), self.inner.instant(offer.due));
            return Err(JoinError::Offered { token, accept_by });
        }
        if list.is_full() {
            return Err(JoinError::Full { room: list.rules.room });
        }
        let allocator = &self.inner.allocator;
        let refused = |refusal| JoinError::Rejected(self.rejection(refusal, now));
        allocator.within_cap(buyer).map_err(refused)?;
        let first = allocator.open_queue().map_err(|refusal| match refusal {
            Refusal::Fewer { .. } => JoinError::UnitsFree,
            refusal => refused(refusal),
        })?;
        let ticket = book.line.next_ticket();
        let queued = Record::Queued { sale: self.inner.number, ticket, buyer, at: now };
        let appended = self.engine.append(|batch| {
            // The buyer may have given back the only unit that the cap allows: its end stands before the place.
            write_ends(&self.inner, now, batch);
            batch.push(&queued);
        });
        if let Err(error) = appended {
            if book.line.len() == 0 {
                allocator.close_queue(home());
            }
            return Err(error.into());
        }
        let place = book.line.join(ticket, buyer);
        book.passed_over.remove(&buyer);
        list.note_length(&book);
        drop(book);
        // What is free may just be withdrawn: then no hold has made the sale active.
        self.engine.activate(&self.inner);
        if first {
            self.publish(EventKind::AllHeld);
        }
        Ok(place)
    }

    /// Takes `buyer` off the waitlist, or gives back what was offered and not accepted; it goes to the next.
    ///
    /// # Errors
    /// [`JournalError`] if the journal doesn't take it: then nothing has changed.
    pub fn leave(&self, buyer: impl Into<Buyer>) -> Result<Left, JournalError> {
        let buyer = buyer.into();
        let Some(list) = self.inner.waitlist.as_deref() else { return Ok(Left::Nothing) };
        let now = self.engine.now();
        let mut book = list.book.lock();
        let Some(Place { ticket, .. }) = book.line.place(buyer) else {
            let Some(offer) = book.offer(&self.inner, buyer, now) else { return Ok(Left::Nothing) };
            return Ok(match self.cancel_hold(offer.id) {
                Ok(_) => Left::Offer,
                Err(CancelError::Ended(_) | CancelError::Token(_)) => Left::Nothing,
            });
        };
        let left = Record::Unqueued { sale: self.inner.number, ticket, how: Unqueued::Left, at: now };
        self.engine.append(|batch| batch.push(&left))?;
        book.line.remove(buyer);
        list.note_length(&book);
        if book.line.len() == 0 && self.inner.allocator.close_queue(home()) {
            self.publish(EventKind::Restocked);
        }
        Ok(Left::Place)
    }

    /// Where `buyer` stands: in the line, with an offer to accept, or neither.
    #[must_use]
    pub fn waiting(&self, buyer: impl Into<Buyer>) -> Waiting {
        let buyer = buyer.into();
        let Some(list) = self.inner.waitlist.as_deref() else { return Waiting::No };
        let book = list.book.lock();
        if let Some(place) = book.line.place(buyer) {
            return Waiting::Queued(place);
        }
        match book.offer(&self.inner, buyer, self.engine.now()) {
            Some(offer) => Waiting::Offered { token: self.token(offer.id), accept_by: self.inner.instant(offer.due) },
            None if book.passed_over.contains(&buyer) => Waiting::PassedOver,
            None => Waiting::No,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn queue_length(&self) -> usize {
        self.inner.waitlist.as_deref().map_or(0, WaitState::waiting)
    }

    /// Accepts what was offered: from now on it is a hold as any other, with the time that every buyer has to pay.
    /// Answers its deadline. Accepting again changes nothing, and answers the same; paying it at once needs no
    /// acceptance, and extending it is one.
    ///
    /// # Errors
    /// [`AcceptError`] if the token isn't this sale's, or the offer has lapsed or ended.
    pub fn accept(&self, token: &Token) -> Result<Timestamp, AcceptError> {
        let id = self.open_token(token)?;
        let list = self.inner.waitlist.as_deref();
        let now = self.engine.now();
        let allocator = &self.inner.allocator;
        let book = list.map(|list| list.book.lock());
        loop {
            let (share, due, snapshot) = match allocator.standing(id) {
                Standing::Held { share, due, snapshot } => (share, due, snapshot),
                standing => return Err(AcceptError::Ended(ended(standing))),
            };
            let accept_by = self.inner.instant(due);
            if now > accept_by {
                return Err(AcceptError::Lapsed { accept_by });
            }
            let offer = book.as_ref().and_then(|book| book.offers.get(&share.buyer));
            if offer.is_none_or(|offer| offer.id != id || offer.due != due) {
                return Ok(accept_by);
            }
            // Another due time, if only by a millisecond: that is how an accepted offer is known.
            let asked = allocator.due(self.inner.offset(now)).max(due + 1);
            if allocator.extend(id.slot, snapshot, asked) {
                return Ok(self.inner.instant(asked));
            }
        }
    }
}

impl EngineInner {
    /// Appends what `build` pushes, durable with the next commit; nothing without a journal.
    fn append(&self, build: impl FnOnce(&mut Batch<'_, Settlement>)) -> Result<(), JournalError> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.append(build).map(|_| ()))
    }

    /// Offers what has come back to whoever is first in the sale's line; how many offers.
    pub(super) fn serve(&self, sale: &SaleInner, now: Timestamp) -> u64 {
        let Some(list) = sale.waitlist.as_deref() else { return 0 };
        if list.waiting() == 0 || sale.is_over(now) {
            return 0;
        }
        let (mut offered, mut more) = (0, true);
        while more && sale.allocator.serves_queue() {
            let mut book = list.book.lock();
            let mut events = Vec::new();
            let appended = match &self.journal {
                None => {
                    more = self.serve_some(sale, list, &mut book, now, None, &mut events);
                    Ok(())
                }
                Some(journal) => journal
                    .append(|batch| more = self.serve_some(sale, list, &mut book, now, Some(batch), &mut events))
                    .map(|_| ()),
            };
            // If the journal has stopped, nothing was offered, and nobody could pay.
            more &= appended.is_ok();
            list.note_length(&book);
            if book.line.len() == 0 && sale.allocator.close_queue(home()) {
                events.push(EventKind::Restocked);
            }
            drop(book);
            offered += events.iter().filter(|event| matches!(event, EventKind::Offered { .. })).count() as u64;
            for event in events {
                self.publish(sale, event);
            }
        }
        offered
    }

    /// Serves the first of the line; true if there may be more to do. Under the append lock, if there is a journal.
    fn serve_some(
        &self,
        sale: &SaleInner,
        list: &WaitState,
        book: &mut Book,
        now: Timestamp,
        batch: Option<&mut Batch<'_, Settlement>>,
        events: &mut Vec<EventKind>,
    ) -> bool {
        let within = u64::try_from(list.rules.accept_within.as_millis()).unwrap_or(u64::MAX);
        let due = sale.offset(now).saturating_add(within);
        let mut records = Vec::new();
        let unqueued = |ticket, how| Record::Unqueued { sale: sale.number, ticket, how, at: now };
        let mut more = true;
        while more && records.len() < TOGETHER {
            let Some((ticket, buyer)) = book.line.head() else {
                more = false;
                break;
            };
            match sale.allocator.offer(buyer, due, home(), self.keys.key_epoch()) {
                Ok(Made { id, due }) => {
                    let snapshot = sale.allocator.slots().load(id.slot);
                    let share = sale.allocator.share_of(id.slot);
                    records.push(unqueued(ticket, Unqueued::Offered));
                    records.extend(change_records(sale, id.slot, snapshot, id.key_epoch, share, now));
                    book.line.remove(buyer);
                    book.note_offer(sale, buyer, Offer { id, due });
                    let (token, accept_by) = (self.token(sale, id), sale.instant(due));
                    events.push(EventKind::Offered { buyer, token, accept_by });
                }
                Err(Refusal::UnderWay) if !book.is_out_of_patience(ticket, now) => more = false,
                Err(Refusal::Limit { .. } | Refusal::UnderWay) => {
                    records.push(unqueued(ticket, Unqueued::PassedOver));
                    book.line.remove(buyer);
                    book.pass_over(&list.rules, buyer);
                    events.push(EventKind::PassedOver { buyer });
                }
                Err(_) => more = false,
            }
        }
        if let Some(batch) = batch {
            // What these offers use was given back by holds that ended: their ends stand before them.
            write_ends(sale, now, batch);
            for record in &records {
                batch.push(record);
            }
        }
        more
    }
}

impl SaleInner {
    /// Recovery: who waits, and who has an offer. After the slots are back.
    pub(super) fn restore_waitlist(&self, replayed: Replayed) {
        let Some(list) = self.waitlist.as_deref() else { return };
        let mut book = list.book.lock();
        book.line = replayed.line(&list.rules);
        for (buyer, id, deadline) in replayed.offers() {
            let offer = Offer { id, due: self.offset(deadline) };
            if offer.is_open(self) {
                book.note_offer(self, buyer, offer);
            }
        }
        book.passed_over = replayed.passed_over;
        list.note_length(&book);
        if book.line.len() > 0 {
            self.allocator.restore_queue();
        }
    }
}

/// The waitlist of a sale that has one.
pub(super) fn of(rules: Option<Waitlist>) -> Option<Box<WaitState>> {
    rules.map(|rules| Box::new(WaitState::new(rules)))
}
