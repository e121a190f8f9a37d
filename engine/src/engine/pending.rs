//! A confirmation on its way to the disk: to be waited for, or awaited.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{
    answers::{ConfirmError, Confirmation},
    inner::Durability,
    sale::Sale,
};
use crate::{
    core::allocator::{HoldId, Share, Standing},
    journal::{JournalError, Lsn},
};

/// What a confirmation will say once its record is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// As it stands.
    Known(Confirmation),
    /// Confirmed by an earlier call, whose number is known once that one is durable: only with a journal.
    Earlier(HoldId, Share),
}

/// A confirmation that has been decided and is being made durable.
///
/// [`Pending::wait`] blocks the thread, `.await` needs any executor. Either may write to the disk itself: whoever
/// comes first writes for all who wait, unless a [driver](crate::Engine::drive) does it. Dropping it undoes
/// nothing: the sale stands as soon as it is written.
#[must_use = "the sale is acknowledged only by waiting for it"]
pub struct Pending {
    sale: Sale,
    position: Option<Lsn>,
    verdict: Verdict,
}

impl Pending {
    /// Durable, or never to be.
    pub(crate) fn ready(sale: &Sale, verdict: Verdict) -> Self {
        Self { sale: sale.clone(), position: None, verdict }
    }

    /// Durable once the journal is at `position`.
    pub(crate) fn at(sale: &Sale, position: Lsn, verdict: Verdict) -> Self {
        let known = matches!(verdict, Verdict::Known(_));
        let waits = sale.engine.durability == Durability::Synced || !known;
        Self { sale: sale.clone(), position: waits.then_some(position), verdict }
    }

    /// Waits until it is durable.
    ///
    /// # Errors
    /// [`ConfirmError::OutcomeUnknown`] if the journal failed meanwhile.
    pub fn wait(self) -> Result<Confirmation, ConfirmError> {
        if let (Some(journal), Some(position)) = (&self.sale.engine.journal, self.position) {
            journal.commit(position).map_err(ConfirmError::OutcomeUnknown)?;
        }
        Ok(self.answer())
    }

    /// Whether [`Pending::wait`] would answer without waiting.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let (Some(journal), Some(position)) = (&self.sale.engine.journal, self.position) else { return true };
        journal.is_durable(position) || journal.failure().is_some()
    }

    fn answer(&self) -> Confirmation {
        match self.verdict {
            Verdict::Known(confirmation) => confirmation,
            Verdict::Earlier(id, share) => {
                let sequence = match self.sale.inner.allocator.standing(id) {
                    Standing::Sold { sequence, .. } => sequence,
                    standing => unreachable!("durable, and settled before that: {standing:?}"),
                };
                Confirmation::AlreadyConfirmed(self.sale.receipt(id, share, sequence))
            }
        }
    }
}

impl Future for Pending {
    type Output = Result<Confirmation, ConfirmError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let engine = &self.sale.engine;
        if let (Some(journal), Some(position)) = (&engine.journal, self.position) {
            let unknown = |failure: JournalError| Poll::Ready(Err(ConfirmError::OutcomeUnknown(failure)));
            if !journal.is_durable(position) {
                if journal.register(position, context.waker()) {
                    if engine.wake_driver() {
                        return Poll::Pending;
                    }
                    // Nobody else writes: this task does, for all who wait.
                    if let Err(failure) = journal.commit(position) {
                        return unknown(failure);
                    }
                } else if !journal.is_durable(position)
                    && let Some(failure) = journal.failure()
                {
                    return unknown(failure);
                }
            }
        }
        Poll::Ready(Ok(self.answer()))
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("sale", &self.sale.name())
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}
