//! The outbox: messages to buyers, read from the journal.
//!
//! A message is no record of its own: what the journal says happened makes the messages, the same ones under the same
//! ids whenever it is read. So nothing is kept for a sink that is away, and nothing can be lost between a record and
//! its message. A sink says how far it got, and is given what follows.
//!
//! ```text
//! journal ---- tail, up to what is durable ---> mailing ---> messages ---> sink
//!                                                  ^                        |
//!                                                  +---- the last id -------+
//!
//! mailing   from records to messages        file   a sink: lines in a file
//! message   what is said, and its id        sink   what a sink owes, and delivery
//! ```

mod file;
mod mailing;
mod message;
mod sink;

use std::{fmt, sync::Arc};

use super::{inner::EngineInner, settle::Settlement, source::Identity};
use crate::{
    core::Buyer,
    journal::{Journal, Notice, OpenError, Record, Tail},
    spec::Audience,
};

pub use file::{FileSink, FileSinkError};
pub use message::{Message, MessageId, MessageIdError, MessageKind};
pub use sink::{Callback, DeliverError, MessageSink, SeekError};

use mailing::{Draft, List, Mailing, What};

/// The messages of an engine, in the order in which they are due. Made by [`Engine::outbox`](crate::Engine::outbox).
///
/// - Whom a sale's reminders and purchase links go to follows from its audience: those who are registered for the
///   sale that [`RegisteredFor`](crate::Audience::RegisteredFor) names; those who have bought in the sale that
///   [`BuyersOf`](crate::Audience::BuyersOf) names; in all other sales those who are registered for the sale itself.
/// - They go out at [`reminds_at`](crate::SaleSpec::reminds_at) and [`links_at`](crate::SaleSpec::links_at), with
///   the first tick from then on; while the sale is over they wait for its window to be moved. Who registers, or
///   buys for the first time, after that gets them then.
/// - A confirmation follows every order, and a shipping notice every [`Sale::ship`](crate::Sale::ship).
///
/// It begins with the journal's first message. It reads only what is durable, and keeps the engine alive.
///
/// ```
/// use sellout::{Engine, FileSink, SaleSpec};
/// # let folder = tempfile::tempdir()?;
/// # let (dir, file) = (folder.path().join("sales.journal"), folder.path().join("messages.tsv"));
/// let engine = Engine::open(&dir)?;
/// let sale = engine.create(SaleSpec::new("books", 200))?;
/// sale.reserve(7, 1)?.confirm(1_001)?.wait()?;
///
/// let mut outbox = engine.outbox()?.expect("there is a journal");
/// let mut sink = FileSink::open(&file)?;
/// assert_eq!(outbox.deliver(&mut sink)?, 1);
/// assert_eq!(outbox.deliver(&mut sink)?, 0);
/// assert!(std::fs::read_to_string(&file)?.contains("\tbooks\t7\tconfirmation\t1\t1\t"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "messages go out as they are read or delivered"]
pub struct Outbox {
    engine: Arc<EngineInner>,
    tail: Tail,
    frame: Vec<Record>,
    /// The place in the frame of the record that is taken next, and its number.
    next: usize,
    number: u64,
    /// The number of the record that was taken last; 0 before the first.
    current: u64,
    /// The part of that record's messages that is given next.
    part: u32,
    mailing: Mailing,
}

impl Outbox {
    pub(super) fn open(engine: &Arc<EngineInner>) -> Result<Option<Self>, OpenError> {
        let Some(journal) = &engine.journal else { return Ok(None) };
        let (engine, tail, mailing) = (Arc::clone(engine), journal.tail()?, Mailing::default());
        Ok(Some(Self { engine, tail, frame: Vec::new(), next: 0, number: 1, current: 0, part: 0, mailing }))
    }

    /// Appends the next messages to `out`, at most `limit`, in the order of their ids; none if all were given.
    ///
    /// # Errors
    /// [`OpenError`] if the journal can't be read; nothing is left out by asking again.
    pub fn read(&mut self, limit: usize, out: &mut Vec<Message>) -> Result<(), OpenError> {
        let full = out.len().saturating_add(limit);
        while out.len() < full {
            if let Some(draft) = self.mailing.part(self.part) {
                out.push(self.message(MessageId { record: self.current, part: self.part }, draft));
                self.part += 1;
            } else if !self.step()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes to behind the message `after`, so that it is the last one that counts as given; to the beginning for
    /// [`MessageId::START`].
    ///
    /// Forwards it reads what lies between; backwards it begins again at the journal's beginning.
    ///
    /// # Errors
    /// [`SeekError`] if the journal has no such message, or can't be read.
    pub fn seek(&mut self, after: MessageId) -> Result<(), SeekError> {
        if after.record < self.current {
            (self.tail, self.mailing) = (self.journal().tail()?, Mailing::default());
            (self.next, self.number, self.current, self.part) = (0, 1, 0, 0);
            self.frame.clear();
        }
        if after == MessageId::START {
            return Ok(());
        }
        while self.current < after.record {
            if !self.step()? {
                return Err(SeekError::NoSuchMessage { id: after });
            }
        }
        if self.mailing.part(after.part).is_none() {
            return Err(SeekError::NoSuchMessage { id: after });
        }
        self.part = after.part + 1;
        Ok(())
    }

    /// The message that was given last, or gone to.
    #[must_use]
    pub fn last(&self) -> Option<Message> {
        let part = self.part.checked_sub(1)?;
        let draft = self.mailing.part(part)?;
        Some(self.message(MessageId { record: self.current, part }, draft))
    }

    /// Whose messages these are.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.engine.identity()
    }

    fn journal(&self) -> &Journal<Settlement> {
        self.engine.journal.as_ref().expect("an outbox is made for a journal")
    }

    /// Takes the next durable record; false if there is none.
    fn step(&mut self) -> Result<bool, OpenError> {
        while self.next == self.frame.len() {
            self.next = 0;
            let before = self.tail.position().lsn();
            let durable = self.journal().durable();
            if !self.tail.next_frame(Some(durable), &mut self.frame)? {
                return Ok(false);
            }
            self.number = before.0 + 1;
        }
        let (number, record) = (self.number, &self.frame[self.next]);
        let span = record.span();
        if span == 0 {
            // It has no number, and makes no messages.
            self.next += 1;
            return Ok(true);
        }
        if let Record::SaleCreated { sale, spec, .. } = record {
            let notices = [(Notice::Reminder, spec.reminds_at), (Notice::Link, spec.links_at)];
            let count = notices.iter().filter(|(_, at)| at.is_some()).count();
            if count > 0 {
                // The sale that it names was created before, and is just being put into the catalogue.
                let Some(list) = self.list(*sale, &spec.audience) else { return Ok(false) };
                let past = if self.mailing.keeps(list) { Vec::new() } else { self.past(list, *sale, number)? };
                self.mailing.plan(*sale, list, count, past);
            }
        }
        self.mailing.take(record);
        (self.current, self.part) = (number + span - 1, 0);
        (self.next, self.number) = (self.next + 1, number + span);
        Ok(true)
    }

    /// Whom the notices of `sale` go to; unknown while the sale that its audience names isn't in the catalogue.
    fn list(&self, sale: u32, audience: &Audience) -> Option<List> {
        let number = |name: &str| self.engine.catalogue.read().by_name.get(name).copied();
        match audience {
            Audience::RegisteredFor(name) => number(name).map(List::Registered),
            Audience::BuyersOf(name) => number(name).map(List::Buyers),
            Audience::Everyone | Audience::Registered | Audience::Invited => Some(List::Registered(sale)),
        }
    }

    /// Who is on `list` before record `number`, which creates `sale`.
    fn past(&self, list: List, sale: u32, number: u64) -> Result<Vec<Buyer>, OpenError> {
        let named = match list {
            List::Registered(named) if named != sale => named,
            List::Registered(_) => return Ok(Vec::new()),
            List::Buyers(named) => return Ok(self.mailing.buyers(named).to_vec()),
        };
        let journal = self.journal();
        let (mut tail, mut frame, mut past) = (journal.tail()?, Vec::new(), Vec::new());
        loop {
            let mut at = tail.position().lsn().0;
            if at + 1 >= number || !tail.next_frame(Some(journal.durable()), &mut frame)? {
                return Ok(past);
            }
            for record in &frame {
                at += record.span();
                match record {
                    Record::Registered { sale, buyers } if *sale == named && at < number => past.extend(buyers),
                    _ => {}
                }
            }
        }
    }

    fn message(&self, id: MessageId, draft: Draft) -> Message {
        let catalogue = self.engine.catalogue.read();
        let Draft { sale: number, buyer, at, what } = draft;
        let kind = match what {
            What::Notice(Notice::Reminder) => MessageKind::Reminder,
            What::Notice(Notice::Link) => {
                MessageKind::PurchaseLink { invitation: self.engine.invitations.invite(number, buyer) }
            }
            What::Order { sequence, quantity, of, hold } => {
                let order = self.engine.token(&catalogue.sales[of as usize], hold);
                MessageKind::Confirmation { sequence, order, quantity }
            }
            What::Shipped { sequence } => MessageKind::ShippingNotice { sequence },
        };
        Message { id, sale: Arc::clone(&catalogue.sales[number as usize].name), buyer, at, kind }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("engine", &self.engine)
            .field("record", &self.current)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}
