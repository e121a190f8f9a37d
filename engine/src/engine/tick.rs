//! The tick: what time does to sales, and what the journal must learn of it.

use std::sync::Arc;

use super::{
    baskets::{self, end_all},
    detail::{Over, detail},
    events::EventKind,
    inner::{Due, EngineInner, home},
    late::Late,
    settle::Settlement,
    state::SaleInner,
};
use crate::{
    core::{
        End, Timestamp,
        allocator::{HoldId, Share},
        baskets::Line,
        slots::{Snapshot, State},
    },
    journal::{Batch, HeldRecord, Notice, Record},
};

/// Slots written in one append: others may append in between.
const TOGETHER: u32 = 8_192;
/// Sales opened between two commits, and taken off the agenda while nobody can look one up.
const OPENED_TOGETHER: usize = 4_096;

/// A hold that has expired; of a basket, with what was in it.
pub(super) struct Expired {
    pub(super) id: HoldId,
    pub(super) share: Share,
    pub(super) lines: Vec<Line>,
}

/// What a tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ticked {
    /// Holds that expired.
    pub expired: u64,
    /// Sales that opened.
    pub opened: u64,
    /// Units that were offered to who waited for them.
    pub offered: u64,
    /// Announcements: reminders and purchase links are on their way.
    pub announced: u64,
}

impl EngineInner {
    /// Opens what is to open, ends what is overdue, and writes down what has changed. A second caller at the same
    /// time finds it done.
    pub(crate) fn tick(&self, now: Timestamp) -> Ticked {
        let mut ticked = Ticked::default();
        let Some(mut active) = self.active.try_lock() else { return ticked };
        self.clock.resync();
        self.act_on_agenda(now, &mut ticked);
        active.extend(self.newly_active());
        for sale in active.iter() {
            ticked.expired += self.expire(sale, now);
            ticked.offered += self.serve(sale, now);
            self.write_changes(sale, now);
            baskets::keep_room(self, sale);
            if let Some(chunks) = sale.allocator.wants_chunks() {
                // If it fails the sale has fewer spare slots than it would like; the next tick tries again.
                let _grown = self.grow(sale, &mut sale.admin.lock(), chunks);
            }
        }
        self.commit();
        ticked
    }

    /// Writes down what has changed in every sale.
    pub(crate) fn write_all_changes(&self) {
        let mut active = self.active.lock();
        active.extend(self.newly_active());
        let now = self.now();
        active.iter().for_each(|sale| self.write_changes(sale, now));
    }

    /// Writes what is pending to the disk. Failures reach those who wait.
    pub(crate) fn commit(&self) {
        if let Some(journal) = &self.journal {
            let _known_to_who_waits = journal.commit(journal.appended());
        }
    }

    /// Does what sales do by themselves, where its time has come. However many sales that are, nobody waits for all of
    /// them: who comes to one that is to open opens it himself.
    fn act_on_agenda(&self, now: Timestamp, ticked: &mut Ticked) {
        loop {
            let due = self.take_due(now);
            for (sale, due) in &due {
                match due {
                    Due::Opens if sale.open_if_due(now) => {
                        ticked.opened += 1;
                        self.publish(sale, EventKind::Opened);
                    }
                    Due::Opens => {}
                    Due::Reminds => ticked.announced += u64::from(self.announce(sale, Notice::Reminder, now)),
                    Due::Links => ticked.announced += u64::from(self.announce(sale, Notice::Link, now)),
                }
            }
            if due.len() < OPENED_TOGETHER {
                return;
            }
            self.commit();
        }
    }

    /// The next entries of the agenda whose time has come.
    fn take_due(&self, now: Timestamp) -> Vec<(Arc<SaleInner>, Due)> {
        if self.catalogue.read().agenda.first().is_none_or(|(at, ..)| *at > now) {
            return Vec::new();
        }
        let mut catalogue = self.catalogue.write();
        let mut taken = Vec::new();
        while taken.len() < OPENED_TOGETHER
            && let Some(&(at, number, due)) = catalogue.agenda.first()
            && at <= now
        {
            catalogue.agenda.pop_first();
            taken.push((Arc::clone(&catalogue.sales[number as usize]), due));
        }
        taken
    }

    /// Ends the sale's overdue holds.
    fn expire(&self, sale: &SaleInner, now: Timestamp) -> u64 {
        let offset = sale.offset(now);
        if sale.allocator.next_due().saturating_add(sale.allocator.rules().grace) > offset {
            return 0;
        }
        let mut expired: Vec<Expired> = Vec::new();
        let restocked = {
            // A late payment that finds its hold expired must find it in the book, too: it waits for this lock.
            let mut book = sale.late.lock();
            let look = |slot| sale.basket_parts(slot);
            sale.allocator.expire(offset, home(), look, |id, share, parts| {
                let lines = parts.iter().map(|part| part.line).collect();
                if let Some(desk) = &sale.desk {
                    end_all(self, desk, &parts, End::Expired);
                    book.expire_basket(id, share, Vec::clone(&lines));
                } else {
                    book.set(id, Late::Expired(share));
                }
                expired.push(Expired { id, share, lines });
            })
        };
        for part in expired.chunks(TOGETHER as usize) {
            self.write_expired(sale, part, now);
        }
        if !self.hub.is_silent() && !sale.is_desk() {
            for Expired { share, .. } in &expired {
                self.publish(sale, EventKind::Expired { buyer: share.buyer, quantity: share.quantity });
            }
            if restocked {
                self.publish(sale, EventKind::Restocked);
            }
        }
        expired.len() as u64
    }

    /// Expired holds are written one by one, although the slots tell their ends too: a slot may be held again by the
    /// next look, and then nothing else says whose the expired hold was.
    pub(super) fn write_expired(&self, sale: &SaleInner, expired: &[Expired], at: Timestamp) {
        let Some(journal) = &self.journal else { return };
        // If the journal has stopped nobody can be confirmed any more, and who tries is told so.
        let _stopped = journal.append(|batch| {
            for Expired { id: hold, share: Share { buyer, quantity }, lines } in expired {
                let (number, hold, buyer) = (sale.number, *hold, *buyer);
                batch.push(&if sale.is_desk() {
                    Record::BasketExpired { sale: number, hold, buyer, lines: lines.clone(), at }
                } else {
                    Record::Expired { sale: number, hold, buyer, quantity: *quantity, at }
                });
            }
        });
    }

    /// Writes down the slots that have changed.
    fn write_changes(&self, sale: &SaleInner, at: Timestamp) {
        let Some(journal) = &self.journal else { return };
        if !sale.allocator.has_changes() {
            return;
        }
        let mut from = Some(0);
        while let Some(start) = from {
            let appended = journal.append(|batch| {
                let mut records = Vec::new();
                let next = sale.allocator.drain_changes(start, TOGETHER, |slot, snapshot, key_epoch, share| {
                    records.extend(change_records(sale, slot, snapshot, key_epoch, share, at));
                });
                // A hold that was just seen may have the unit of one that has ended meanwhile: the end stands first.
                write_ends(sale, at, batch);
                for record in &records {
                    write_change(sale, record, at, batch);
                }
                next
            });
            // If the journal has stopped: as in `write_expired`.
            from = appended.ok().and_then(|(next, _)| next);
        }
    }
}

/// Writes the holds that have ended since ends were last written: before an order, or a withdrawal, that may rest on
/// what they gave back.
pub(super) fn write_ends(sale: &SaleInner, at: Timestamp, batch: &mut Batch<'_, Settlement>) {
    if sale.allocator.has_ends() {
        sale.allocator.drain_ends(|slot, snapshot, key_epoch, share| {
            for record in change_records(sale, slot, snapshot, key_epoch, share, at) {
                write_change(sale, &record, at, batch);
            }
        });
    }
}

/// Writes down what has become of a slot: a basket with all that is in it.
fn write_change(sale: &SaleInner, record: &Record, at: Timestamp, batch: &mut Batch<'_, Settlement>) {
    match record {
        Record::Held(held) if sale.is_desk() => baskets::write_held(sale, held, at, batch),
        record => batch.push(record),
    }
}

/// What the journal must know of a slot; confirmations write themselves.
///
/// Who sees a slot in its next use is told of no end any more, and yet something may rest on what that end gave back:
/// a hold, and an order, replace in the journal what was in the slot before; where neither is written here, the end is.
pub(super) fn change_records(
    sale: &SaleInner,
    slot: u32,
    snapshot: Snapshot,
    key_epoch: u16,
    share: Share,
    at: Timestamp,
) -> impl Iterator<Item = Record> {
    let (number, generation) = (sale.number, snapshot.generation());
    // How it ended doesn't matter: an expired hold has a record of its own.
    let earlier = |generation| Record::Ended { sale: number, slot, generation, end: End::Cancelled, at };
    let before = generation.checked_sub(1).map(earlier);
    let records = match snapshot.state() {
        State::Held { due } => match detail(sale, slot, generation) {
            Err(Over) => [before, None],
            Ok(detail) => {
                let held = Record::Held(HeldRecord {
                    sale: number,
                    slot,
                    generation,
                    key_epoch,
                    buyer: share.buyer,
                    quantity: share.quantity,
                    deadline: sale.instant(due),
                });
                [detail, Some(held)]
            }
        },
        State::Free(Some(end)) => {
            [None, Some(Record::Ended { sale: number, slot, generation: generation - 1, end, at })]
        }
        State::Retired => [None, Some(Record::Ended { sale: number, slot, generation, end: End::Cancelled, at })],
        // A part is written with its basket, which may come later.
        State::Part { .. } => [before, None],
        State::Free(None) | State::Confirming | State::Sold { .. } => [None, None],
    };
    records.into_iter().flatten()
}
