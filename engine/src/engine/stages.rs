//! Stages: who may buy, from when, and who may still register.
//!
//! A sale is for everyone, or for those whom its audience names: who is registered for it, or for an earlier sale; who
//! has bought in an earlier sale; who brings an invitation. From `everyone_from` on it is for everyone all the same.
//! A sale that an audience names is older than the sale that names it: there are no circles.
//!
//! Looking takes no lock: registered buyers stand on a roster that only grows, buyers of another sale in its cap table,
//! and an invitation is computed. Registering takes the sale's `admin` lock.

use std::{collections::HashSet, sync::Arc};

use super::{
    answers::{ChangeError, EnrollError, Enrolled, Rejection},
    inner::{Catalogue, Due, EngineInner},
    sale::Sale,
    state::SaleInner,
};
use crate::{
    core::{Buyer, Invitation, Timestamp},
    journal::{Notice, Record},
    spec::Audience,
};

impl Sale {
    /// The refusals that need the buyer: whether the sale is for `buyer` at `now`.
    ///
    /// An invitation that is brought must be right, whoever the sale is for; it lets its buyer in only where the
    /// audience is the invited.
    #[inline]
    pub(super) fn admit_buyer(
        &self,
        buyer: Buyer,
        invitation: Option<&Invitation>,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        if invitation.is_none() && self.inner.spec.audience == Audience::Everyone {
            return Ok(());
        }
        if invitation.is_some_and(|brought| *brought != self.invitation(buyer)) {
            return Err(Rejection::BadInvitation);
        }
        match self.inner.spec.everyone_from {
            _ if self.inner.is_for(buyer, invitation.is_some()) => Ok(()),
            Some(from) if now >= from => Ok(()),
            Some(from) => Err(Rejection::NotEligibleYet { from }),
            None => Err(Rejection::NotEligible),
        }
    }

    /// The invitation of `buyer` to this sale: always the same, for shops that send their own messages.
    pub fn invitation(&self, buyer: impl Into<Buyer>) -> Invitation {
        self.engine.invitations.invite(self.inner.number, buyer.into())
    }

    /// Lets `buyers` buy, where the audience is [`Registered`](Audience::Registered), and sends them the sale's
    /// messages. Durable when it answers; those who are registered already change nothing.
    ///
    /// # Errors
    /// [`ChangeError`] if nobody can be registered now, or the journal doesn't take it.
    pub fn register(&self, buyers: &[Buyer]) -> Result<(), ChangeError> {
        let _turn = self.inner.admin.lock();
        let mut batch = HashSet::new();
        let mut is_new = |buyer: &Buyer| !self.inner.registered.contains(*buyer) && batch.insert(*buyer);
        let buyers: Vec<Buyer> = buyers.iter().copied().filter(|buyer| is_new(buyer)).collect();
        if buyers.is_empty() {
            return Ok(());
        }
        self.inner.registers(self.engine.now()).map_err(|shut| match shut {
            Shut::Before(from) => ChangeError::RegistersLater { from },
            Shut::After(until) => ChangeError::RegistrationOver { until },
        })?;
        let registered = Record::Registered { sale: self.inner.number, buyers };
        self.engine.write(|batch| batch.push(&registered))?;
        if let Record::Registered { buyers, .. } = &registered {
            self.inner.registered.add(buyers);
        }
        Ok(())
    }

    /// Registers one buyer, as [`Sale::register`] does, without waiting for the disk: it is durable with the next
    /// commit, a tick later at most, and stands before every order that rests on it.
    ///
    /// # Errors
    /// [`EnrollError`] if nobody can be registered now, or the journal has stopped. Who is registered is told so at
    /// any time.
    ///
    /// ```
    /// use sellout::{Audience, Engine, Enrolled, SaleSpec};
    ///
    /// let engine = Engine::in_memory();
    /// let sale = engine.create(SaleSpec::new("mx3", 2_099).audience(Audience::Registered))?;
    /// assert_eq!(sale.enroll(7)?, Enrolled::New);
    /// assert_eq!(sale.enroll(7)?, Enrolled::Already);
    /// assert!(sale.reserve(7, 1).is_ok() && sale.reserve(8, 1).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn enroll(&self, buyer: impl Into<Buyer>) -> Result<Enrolled, EnrollError> {
        let buyer = buyer.into();
        if self.inner.registered.contains(buyer) {
            return Ok(Enrolled::Already);
        }
        let turn = self.inner.admin.lock();
        if self.inner.registered.contains(buyer) {
            return Ok(Enrolled::Already);
        }
        self.inner.registers(self.engine.now()).map_err(|shut| match shut {
            Shut::Before(from) => EnrollError::Later { from },
            Shut::After(until) => EnrollError::Over { until },
        })?;
        let journal = self.engine.journal.as_ref();
        let registered = Record::Registered { sale: self.inner.number, buyers: vec![buyer] };
        let position = journal.map(|journal| journal.append(|batch| batch.push(&registered))).transpose()?;
        self.inner.registered.add(&[buyer]);
        drop(turn);
        if let (Some(journal), Some(((), position))) = (journal, position)
            && journal.is_behind(position)
        {
            // Whoever registers many without ever waiting pays here for the memory that it would take.
            journal.commit(position)?;
        }
        Ok(Enrolled::New)
    }
}

/// Why nobody is registered now.
enum Shut {
    /// Registration begins then.
    Before(Timestamp),
    /// It ended then.
    After(Timestamp),
}

impl SaleInner {
    /// Whether the audience has `buyer`.
    fn is_for(&self, buyer: Buyer, invited: bool) -> bool {
        match (&self.spec.audience, &self.named) {
            (Audience::Everyone, _) => true,
            (Audience::Registered, _) => self.registered.contains(buyer),
            (Audience::RegisteredFor(_), Some(named)) => named.registered.contains(buyer),
            (Audience::BuyersOf(_), Some(named)) => named.allocator.has_bought(buyer),
            (Audience::RegisteredFor(_) | Audience::BuyersOf(_), None) => false,
            (Audience::Invited, _) => invited,
        }
    }

    /// The notice on the agenda, if the sale has it.
    fn planned(&self, notice: Notice) -> Option<(Timestamp, u32, Due)> {
        let (at, due) = match notice {
            Notice::Reminder => (self.spec.reminds_at, Due::Reminds),
            Notice::Link => (self.spec.links_at, Due::Links),
        };
        at.map(|at| (at, self.number, due))
    }

    fn registers(&self, now: Timestamp) -> Result<(), Shut> {
        match (self.spec.registers_from, self.spec.registers_until) {
            (Some(from), _) if now < from => Err(Shut::Before(from)),
            (_, Some(until)) if now >= until => Err(Shut::After(until)),
            _ => Ok(()),
        }
    }
}

impl Audience {
    /// The sale that it names, if it names one.
    pub(super) fn named(&self) -> Option<&str> {
        match self {
            Self::RegisteredFor(name) | Self::BuyersOf(name) => Some(name),
            Self::Everyone | Self::Registered | Self::Invited => None,
        }
    }
}

impl Catalogue {
    /// The sale that an audience names, or the name that no sale has.
    pub(super) fn named<'a>(&self, audience: &'a Audience) -> Result<Option<Arc<SaleInner>>, &'a str> {
        let Some(name) = audience.named() else { return Ok(None) };
        let &number = self.by_name.get(name).ok_or(name)?;
        Ok(Some(Arc::clone(&self.sales[number as usize])))
    }

    /// Recovery: the sale's notice was announced before.
    pub(super) fn strike(&mut self, sale: &SaleInner, notice: Notice) {
        if let Some(entry) = sale.planned(notice) {
            self.agenda.remove(&entry);
        }
    }

    /// The sale's notice is due while the sale is over.
    fn withhold(&mut self, sale: &SaleInner, notice: Notice, now: Timestamp) {
        // Whoever moves the window moves it first and looks here then: if that was just now, this look sees it.
        let list = if sale.is_over(now) { &mut self.withheld } else { &mut self.agenda };
        list.extend(sale.planned(notice));
    }

    /// The sale's window was moved: what was withheld is due again.
    pub(super) fn resume(&mut self, sale: &SaleInner) {
        for entry in [Notice::Reminder, Notice::Link].into_iter().filter_map(|notice| sale.planned(notice)) {
            if self.withheld.remove(&entry) {
                self.agenda.insert(entry);
            }
        }
    }
}

impl EngineInner {
    /// Announces a notice whose time has come, unless the sale is over; whether it did.
    pub(super) fn announce(&self, sale: &SaleInner, notice: Notice, now: Timestamp) -> bool {
        if sale.allocator.gate().is_closed() {
            return false;
        }
        if sale.is_over(now) {
            self.catalogue.write().withhold(sale, notice, now);
            return false;
        }
        let announced = Record::Announced { sale: sale.number, notice, at: now };
        // Without a journal there is no outbox. If the journal has stopped it is announced after the next opening.
        self.journal.as_ref().is_some_and(|journal| journal.append(|batch| batch.push(&announced)).is_ok())
    }
}
