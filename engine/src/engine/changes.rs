//! What operators change while the crowd is there, besides the stock: the window, the cap, and whether anything sells.
//!
//! What holds: a change is in the journal before it lets anybody have more, so no hold stands there that it would
//! forbid; what takes something away, a pause, acts at once. Both are durable when they answer. A reservation that
//! begins after the answer finds the change; what buyers had before stays theirs.

use super::{Engine, answers::ChangeError, events::EventKind, inner::EngineInner, sale::Sale};
use crate::{
    core::{MAX_CAP, Timestamp, permits::Mark},
    journal::{Change, Record},
    spec::SaleSpec,
};

impl Sale {
    /// The rules as they are in force: those with which the sale was created, with the cap and the window as they were
    /// changed since. The stock is the one at the start; [`Sale::audit`] has the rest.
    pub fn spec(&self) -> SaleSpec {
        let (opens_at, closes_at) = (self.inner.opens_at(), self.inner.closes_at());
        let (cap, largest) = (self.inner.allocator.limit(), self.inner.allocator.largest());
        SaleSpec { cap, largest, opens_at, closes_at, ..self.inner.named_spec() }
    }

    /// Moves the window: from when units may be had, `None` for at once, and from when no more, `None` for never. The
    /// sale may be open, or yet to open, or over by its window; one that opens later than now makes no holds until
    /// then. Holds already made may be paid. Durable when it answers.
    ///
    /// # Errors
    /// [`ChangeError`] if the window makes no sense, the sale was closed for good, or the journal doesn't take it: then
    /// the window stays.
    ///
    /// ```
    /// use sellout::{Engine, Rejection, SaleSpec};
    /// use std::time::Duration;
    ///
    /// let engine = Engine::in_memory();
    /// let sale = engine.create(SaleSpec::new("books", 200))?;
    /// let later = engine.now().plus(Duration::from_secs(600));
    /// sale.move_window(Some(later), None)?;
    /// assert_eq!(sale.reserve(7, 1).unwrap_err(), Rejection::NotOpen { opens_at: later });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn move_window(&self, opens_at: Option<Timestamp>, closes_at: Option<Timestamp>) -> Result<(), ChangeError> {
        let _turn = self.inner.admin.lock();
        let now = self.engine.now();
        if self.inner.allocator.gate().is_closed() {
            return Err(ChangeError::Closed);
        }
        if let (Some(opens_at), Some(closes_at)) = (opens_at, closes_at)
            && closes_at <= opens_at
        {
            return Err(ChangeError::Window { opens_at, closes_at });
        }
        if let Some(closes_at) = closes_at
            && closes_at < now
        {
            return Err(ChangeError::ClosesInThePast { closes_at, now });
        }
        self.engine.write_change(&self.inner, Change::Window { opens_at, closes_at })?;
        let before = self.inner.opens_at();
        let opened = self.inner.move_window(opens_at, closes_at, now);
        let to_come = opens_at.filter(|opens_at| now < *opens_at);
        self.engine.catalogue.write().reschedule(&self.inner, before, to_come);
        if opened {
            self.publish(EventKind::Opened);
        }
        Ok(())
    }

    /// Changes how many units a buyer may have, held and bought together. Lowering it takes nothing from anybody: who
    /// has more gets no more. A hold has at most the cap, and never more than the largest of the sale's rules. Durable
    /// when it answers.
    ///
    /// # Errors
    /// [`ChangeError`] if the cap is 0 or too large, or the journal doesn't take it: then the cap stays.
    pub fn set_cap(&self, cap: u32) -> Result<(), ChangeError> {
        if cap == 0 || cap > MAX_CAP {
            return Err(ChangeError::Cap { cap, most: MAX_CAP });
        }
        let _turn = self.inner.admin.lock();
        self.engine.write_change(&self.inner, Change::Cap { cap })?;
        self.inner.allocator.set_limit(cap);
        Ok(())
    }
}

impl Engine {
    /// The kill switch: no sale makes holds, those that are created meanwhile included, until [`Engine::resume_all`].
    /// Holds already made may be paid. At once, and durable when it answers; the next opening finds all sales paused.
    ///
    /// # Errors
    /// [`ChangeError::Journal`] if the journal doesn't take it; all sales are paused all the same.
    pub fn pause_all(&self) -> Result<(), ChangeError> {
        let _turn = self.inner.halting.lock();
        self.inner.halt(true);
        self.inner.write_halted(true)
    }

    /// Ends [`Engine::pause_all`]. A sale that was paused by itself stays paused. Durable when it answers.
    ///
    /// # Errors
    /// [`ChangeError::Journal`] if the journal doesn't take it; all sales stay paused.
    pub fn resume_all(&self) -> Result<(), ChangeError> {
        let _turn = self.inner.halting.lock();
        self.inner.write_halted(false)?;
        self.inner.halt(false);
        Ok(())
    }

    /// Whether all sales are paused by [`Engine::pause_all`].
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.inner.catalogue.read().halted
    }
}

impl EngineInner {
    /// Marks every sale. A sale that is just being created either is in the list by now or finds the word.
    fn halt(&self, halted: bool) {
        self.catalogue.write().halted = halted;
        for sale in &self.catalogue.read().sales {
            if halted {
                sale.allocator.set(Mark::Halted);
            } else {
                sale.allocator.clear(Mark::Halted);
            }
        }
    }

    fn write_halted(&self, halted: bool) -> Result<(), ChangeError> {
        let at = self.now();
        Ok(self.write(|batch| batch.push(&Record::Halted { halted, at }))?)
    }
}
