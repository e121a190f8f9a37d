//! The loop that carries messages to Redis.
//!
//! What it holds true:
//! - it trusts no memory of its own across a connection: each begins with a look, and about once a second it looks
//!   again, so that a stream that lost its tail is found out;
//! - one batch is in flight, and says behind which message it follows: the script refuses it if the stream isn't there;
//! - a look compares the stream's last entry with the journal's message of that id, as far as it wasn't trimmed. Tokens
//!   and invitations never repeat, so equal entries mean equal histories;
//! - nothing that goes wrong is given up. Dropping the loop at any point loses nothing.

use std::convert::Infallible;

use tokio::time::{Instant, sleep};

use super::{
    super::{
        Connection, LedgerError, Options,
        endpoint::Endpoint,
        link::{Link, fence},
        script::Script,
    },
    Board, MessagesError,
};
use crate::{Message, MessageId, MessageKind, Outbox};

/// The two keys. The braces are a hash tag: both live in one slot of a cluster.
#[derive(Debug)]
pub(super) struct Keys {
    writer: String,
    stream: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { writer: format!("{prefix}:{{messages}}:writer"), stream: format!("{prefix}:{{messages}}:stream") }
    }
}

/// The entry of a message: fields and values in turn.
pub(crate) fn words(message: &Message) -> Vec<String> {
    let mut words = vec!["sale".to_owned(), message.sale.to_string()];
    let mut say = |field: &str, value: String| words.extend([field.to_owned(), value]);
    say("buyer", message.buyer.to_string());
    say("at", message.at.to_string());
    match message.kind {
        MessageKind::Reminder => say("kind", "reminder".to_owned()),
        MessageKind::PurchaseLink { invitation } => {
            say("kind", "link".to_owned());
            say("invitation", invitation.to_string());
        }
        MessageKind::Confirmation { sequence, order, quantity } => {
            say("kind", "confirmation".to_owned());
            say("sequence", sequence.to_string());
            say("quantity", quantity.to_string());
            say("order", order.to_string());
        }
        MessageKind::ShippingNotice { sequence } => {
            say("kind", "shipping".to_owned());
            say("sequence", sequence.to_string());
        }
    }
    words
}

/// What the script answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The stream has everything up to this message; its entry, if it was looked for and is there.
    Last(MessageId, Vec<String>),
    /// The stream has lost what the batch follows: it ends here.
    Gap(MessageId),
}

/// Everything that the loop works with.
pub(super) struct Carrier<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) options: &'a Options,
    pub(super) board: &'a Board,
    pub(super) script: &'a Script,
    pub(super) keys: Keys,
    pub(super) outbox: &'a mut Outbox,
}

impl Carrier<'_> {
    /// Connects, delivers, and begins again, for ever.
    pub(super) async fn run(mut self) -> Infallible {
        self.board.write(|state| state.connection = Connection::Connecting);
        let mut attempts = 0_u32;
        loop {
            let error = match Link::open(self.endpoint, self.options.limits()).await {
                Ok(link) => self.serve(link, &mut attempts).await,
                Err(error) => error,
            };
            attempts = attempts.saturating_add(1);
            self.board.write(|state| state.connection = Connection::Broken { error, attempts });
            sleep(self.options.pause(attempts - 1)).await;
        }
    }

    /// Delivers over `link` until it breaks, and says why it did.
    async fn serve(&mut self, mut link: Link<'_>, attempts: &mut u32) -> LedgerError {
        let mut failures = 0;
        loop {
            match self.deliver_all(&mut link, attempts, &mut failures).await {
                Ok(()) => sleep(self.options.poll).await,
                Err(error) => {
                    if let Some(broken) = error.of_connection() {
                        return broken.clone();
                    }
                    self.board.write(|state| state.fault = Some(error));
                    sleep(self.options.pause(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// Looks, and delivers whatever is durable until the next look is due.
    async fn deliver_all(
        &mut self,
        link: &mut Link<'_>,
        attempts: &mut u32,
        failures: &mut u32,
    ) -> Result<(), MessagesError> {
        let looked = Instant::now();
        let asked = self.board.state.lock().asked;
        let mut last = self.look(link).await?;
        *attempts = 0;
        self.board.write(|state| {
            (state.connection, state.delivered, state.fault) = (Connection::Connected, Some(last), None);
        });
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let limit = usize::from(self.options.batch.get());
            self.outbox
                .read(limit, &mut batch)
                .map_err(|error| MessagesError::Journal { reason: error.to_string() })?;
            if batch.is_empty() {
                if self.board.state.lock().done < asked {
                    self.board.write(|state| state.done = asked);
                }
                if looked.elapsed() >= self.options.look_every || self.board.state.lock().asked > asked {
                    return Ok(());
                }
                sleep(self.options.poll).await;
                continue;
            }
            match post(link, self.script, &self.keys, self.outbox.identity(), last, &batch).await? {
                Answer::Last(now, _) => {
                    last = now;
                    *failures = 0;
                    self.board.write(|state| state.delivered = Some(last));
                }
                // Between two batches Redis lost what it had acknowledged.
                Answer::Gap(_) => return Ok(()),
            }
            if looked.elapsed() >= self.options.look_every {
                return Ok(());
            }
        }
    }

    /// Asks the stream how far it got, and goes there.
    async fn look(&mut self, link: &mut Link<'_>) -> Result<MessageId, MessagesError> {
        let whose = self.outbox.identity();
        let (last, entry) = match post(link, self.script, &self.keys, whose, MessageId::START, &[]).await? {
            Answer::Last(last, entry) => (last, entry),
            Answer::Gap(last) => (last, Vec::new()),
        };
        self.outbox.seek(last)?;
        let differs = |message: Message| !entry.is_empty() && words(&message) != entry;
        if self.outbox.last().is_some_and(differs) {
            return Err(MessagesError::Ahead { id: last });
        }
        Ok(last)
    }
}

/// Hands over a batch that follows `after`; a look, if it is empty.
///
/// After an error of the connection or a timeout it may have been taken or not; handing it over again is harmless.
pub(super) async fn post(
    link: &mut Link<'_>,
    script: &Script,
    keys: &Keys,
    whose: crate::Identity,
    after: MessageId,
    batch: &[Message],
) -> Result<Answer, MessagesError> {
    let mut arguments = Vec::from(fence(whose));
    arguments.push(after.to_string());
    for message in batch {
        let words = words(message);
        arguments.extend([message.id.to_string(), words.len().to_string()]);
        arguments.extend(words);
    }
    let reply = link.run(script, [&keys.writer, &keys.stream], &arguments, "").await;
    let reply: Vec<String> = reply.map_err(|error| match error {
        LedgerError::WrongType { .. } => MessagesError::NotMessages,
        error => MessagesError::Redis(error),
    })?;
    let unexpected = || {
        let message = format!("the script answered {reply:?}");
        MessagesError::Redis(LedgerError::Refused { message })
    };
    let [status, last, detail, entry @ ..] = reply.as_slice() else { return Err(unexpected()) };
    // An id that is none of ours was put there by somebody else.
    let last = last.parse().map_err(|_| MessagesError::NotMessages)?;
    let (found, ours) = (detail.clone(), whose.epoch);
    match status.as_str() {
        "OK" => Ok(Answer::Last(last, entry.to_vec())),
        "GAP" => Ok(Answer::Gap(last)),
        "OTHER_ENGINE" => Err(MessagesError::OtherEngine { found }),
        "STALE_EPOCH" => Err(MessagesError::StaleEpoch { found, ours }),
        "FORKED" => Err(MessagesError::Forked { ours }),
        _ => Err(unexpected()),
    }
}
