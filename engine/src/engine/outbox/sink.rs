//! What a sink owes, and delivery to it.
//!
//! Exactly once is two halves: the outbox gives the same messages under the same ids for ever, and the sink knows the
//! last one that it surely has. What lies behind that is given again, or for the first time; nothing else is.

use super::{Message, MessageId, Outbox};
use crate::{engine::source::Identity, journal::OpenError};

/// Messages handed over at a time.
const TOGETHER: usize = if cfg!(test) { 512 } else { 8_192 };

/// Takes messages, and knows how far it got.
///
/// ```
/// use sellout::{Identity, Message, MessageId, MessageSink};
///
/// /// Sends e-mails, and keeps the last id in the same transaction as the e-mail's own row.
/// struct Mailer {
///     sent: Vec<(MessageId, String)>,
/// }
///
/// impl MessageSink for Mailer {
///     type Error = std::convert::Infallible;
///
///     fn last(&mut self, _whose: Identity) -> Result<MessageId, Self::Error> {
///         Ok(self.sent.last().map_or(MessageId::START, |(id, _)| *id))
///     }
///
///     fn take(&mut self, messages: &[Message]) -> Result<(), Self::Error> {
///         self.sent.extend(messages.iter().map(|message| (message.id, message.to_string())));
///         Ok(())
///     }
/// }
/// ```
pub trait MessageSink {
    /// Why it can't.
    type Error;

    /// The last message of the engine `whose` that it surely has, with all before it; [`MessageId::START`] if it has
    /// none. After a failed [`take`](MessageSink::take) it says how far that got.
    ///
    /// # Errors
    /// If it can't tell, or has the messages of another engine.
    fn last(&mut self, whose: Identity) -> Result<MessageId, Self::Error>;

    /// Takes messages that follow the last one it has, in the order of their ids.
    ///
    /// # Errors
    /// If it hasn't taken all of them for certain. Those that it has taken must be the first of them.
    fn take(&mut self, messages: &[Message]) -> Result<(), Self::Error>;
}

/// A sink that calls a function with each message, for whoever keeps the last id.
///
/// ```
/// use sellout::{Callback, Engine, Message, MessageId, SaleSpec};
/// # let folder = tempfile::tempdir()?;
/// let engine = Engine::open(folder.path().join("sales.journal"))?;
/// let sale = engine.create(SaleSpec::new("books", 200))?;
/// sale.reserve(7, 1)?.confirm(1_001)?.wait()?;
///
/// let mut done = Vec::new();
/// let mut sink = Callback::after(MessageId::START, |message: &Message| {
///     done.push((message.id, message.buyer)); // in one transaction with what is done for it
///     Ok::<_, std::io::Error>(())
/// });
/// engine.outbox()?.expect("there is a journal").deliver(&mut sink)?;
/// assert_eq!(done.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it is called by Outbox::deliver"]
pub struct Callback<F> {
    last: MessageId,
    call: F,
}

impl<F> Callback<F> {
    /// Calls `call` with each message behind `last`, which is the last one for which everything was done.
    pub fn after(last: MessageId, call: F) -> Self {
        Self { last, call }
    }
}

/// A message for which the call fails is the first of the next delivery.
impl<F, E> MessageSink for Callback<F>
where
    F: FnMut(&Message) -> Result<(), E>,
{
    type Error = E;

    fn last(&mut self, _whose: Identity) -> Result<MessageId, E> {
        Ok(self.last)
    }

    fn take(&mut self, messages: &[Message]) -> Result<(), E> {
        for message in messages {
            (self.call)(message)?;
            self.last = message.id;
        }
        Ok(())
    }
}

/// Why the outbox can't go to a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeekError {
    /// The journal has no message of this id, so far.
    #[error("the journal has no message {id}: it was restored from an old copy, or the sink is another's")]
    NoSuchMessage {
        /// The id.
        id: MessageId,
    },
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
}

/// Why not everything was delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliverError<E> {
    /// The journal can't be read, or doesn't have what the sink has.
    #[error(transparent)]
    Outbox(#[from] SeekError),
    /// The sink didn't take it. Nothing is lost by delivering again.
    #[error("not delivered: {0}; deliver again")]
    Sink(E),
}

impl Outbox {
    /// Delivers to `sink` everything that is durable and that it doesn't have; says how many messages it took.
    ///
    /// Call it as often as messages should go out. Whatever happens in between, a crash on either side included, each
    /// message gets into the sink once and in order, as long as the sink tells the truth about its last one.
    ///
    /// # Errors
    /// [`DeliverError`]: nothing is lost, deliver again.
    pub fn deliver<S: MessageSink + ?Sized>(&mut self, sink: &mut S) -> Result<u64, DeliverError<S::Error>> {
        let last = sink.last(self.identity()).map_err(DeliverError::Sink)?;
        self.seek(last)?;
        let (mut taken, mut batch) = (0, Vec::new());
        loop {
            batch.clear();
            self.read(TOGETHER, &mut batch).map_err(SeekError::Journal)?;
            if batch.is_empty() {
                return Ok(taken);
            }
            sink.take(&batch).map_err(DeliverError::Sink)?;
            taken += batch.len() as u64;
        }
    }
}
