//! Recovery: from the journal's records back to the sales as they were.
//!
//! Holds are journaled as states of slots, a tick behind; confirmations as they are decided. For one slot the
//! records can only repeat or move on:
//!
//! - a hold or an end of an earlier generation than the slot has is old news;
//! - a confirmation stands for good: an end of the same hold, or a later hold in its slot, is a contradiction;
//! - the sequences of a sale run 1, 2, 3, .. without a gap.
//!
//! A hold that was made in the last tick before a crash may not be there. Its slot then begins the same generation
//! again, but under another key epoch: the lost hold's token is known as genuine and forgotten, and touches nothing.

mod baskets;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    inner::Catalogue,
    late::{Late, LateBook, Reason},
    shipping::Shipped,
    state::{Alike, Changes, Extent, Origin, SaleInner, Setting},
    waitlist::Replayed,
};
use crate::{
    core::{
        Buyer, End, Timestamp,
        allocator::{HoldId, Share},
        baskets::BasketPart,
        permits::Mark,
        slots::State,
    },
    journal::{Change, ConfirmedRecord, HeldRecord, Notice, Record},
    spec::SaleSpec,
};

/// A slot as the journal has it so far.
#[derive(Clone, Copy)]
struct Image {
    generation: u32,
    key_epoch: u16,
    quantity: u32,
    buyer: Buyer,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free(Option<End>),
    Held(Timestamp),
    /// Held in a basket.
    Part(Timestamp),
    Sold(u64),
}

const UNUSED: Image =
    Image { generation: 0, key_epoch: 0, quantity: 0, buyer: Buyer::from_words(0, 0), stage: Stage::Free(None) };

impl Image {
    fn id(&self, slot: u32) -> HoldId {
        HoldId { slot, generation: self.generation, key_epoch: self.key_epoch }
    }

    fn share(&self) -> Share {
        Share { buyer: self.buyer, quantity: self.quantity }
    }
}

/// A sale in the making.
struct Draft {
    name: Arc<str>,
    spec: Arc<SaleSpec>,
    base: Timestamp,
    first: Extent,
    added: Vec<Extent>,
    changes: Changes,
    paused: bool,
    closed: bool,
    sequence: u64,
    registered: Vec<Buyer>,
    announced: Vec<Notice>,
    shipped: Shipped,
    late: LateBook,
    waitlist: Replayed,
    slots: Vec<Image>,
    /// In the sale of all baskets: what is in each, by its slot.
    baskets: BTreeMap<u32, Vec<BasketPart>>,
}

/// What the records have told so far.
#[derive(Default)]
pub(crate) struct Recovery {
    sales: Vec<Draft>,
    alike: Alike,
    incarnations: Vec<u64>,
    latest: Timestamp,
}

impl Recovery {
    /// Takes the next record.
    pub(crate) fn replay(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Opened { incarnation, at, .. } => {
                self.incarnations.push(incarnation);
                self.saw(at);
                Ok(())
            }
            Record::SaleCreated { sale, base, slots, at, spec } => {
                self.saw(at);
                if sale as usize != self.sales.len() {
                    return Err(format!("sale {sale} follows {} others", self.sales.len()));
                }
                let (name, spec) = self.alike.split(spec);
                self.sales.push(Draft::new(name, spec, at, Extent { base, first: 0, length: slots }));
                Ok(())
            }
            Record::SaleChanged { sale, at, change } => {
                self.saw(at);
                self.sale(sale)?.change(change)
            }
            Record::Registered { sale, buyers } => {
                self.sale(sale)?.registered.extend(buyers);
                Ok(())
            }
            Record::Held(held) => self.sale(held.sale)?.held(&held),
            Record::Ended { sale, slot, generation, end, at } => {
                self.saw(at);
                self.ended(sale, slot, generation, end)
            }
            Record::Expired { sale, hold, buyer, quantity, at } => {
                self.saw(at);
                let draft = self.sale(sale)?;
                draft.late.expire(hold, Share { buyer, quantity });
                draft.ended(hold.slot, hold.generation, End::Expired)
            }
            Record::Confirmed(confirmed) => {
                self.saw(confirmed.at);
                self.sale(confirmed.sale)?.confirmed(&confirmed)
            }
            Record::LateRefused { sale, hold, over_cap, at, .. } => {
                self.saw(at);
                let reason = if over_cap { Reason::OverCap } else { Reason::SoldOut };
                self.sale(sale)?.late.set(hold, Late::Refused(reason));
                Ok(())
            }
            Record::BasketHeld(held) => self.basket_held(held),
            Record::BasketConfirmed(confirmed) => {
                self.saw(confirmed.at);
                self.basket_confirmed(confirmed)
            }
            Record::BasketExpired { sale, hold, buyer, lines, at } => {
                self.saw(at);
                self.basket_expired(sale, hold, buyer, lines)
            }
            Record::Queued { sale, ticket, buyer, at } => {
                self.saw(at);
                self.sale(sale)?.waitlist.queued(ticket, buyer)
            }
            Record::Unqueued { sale, ticket, how, at } => {
                self.saw(at);
                let draft = self.sale(sale)?;
                draft.waitlist.unqueued(ticket, how, draft.spec.waitlist.as_ref())
            }
            Record::Announced { sale, notice, at } => {
                self.saw(at);
                self.sale(sale)?.announced(notice)
            }
            Record::Shipped { sale, sequence, at } => {
                self.saw(at);
                self.sale(sale)?.shipped(sequence)
            }
            later => Err(format!("{later:?} is not understood")),
        }
    }

    /// The latest instant that the journal has: time goes on from there.
    pub(crate) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// The openings so far.
    pub(crate) fn take_incarnations(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.incarnations)
    }

    /// Says whether every sale adds up: no more units held and sold than are on offer, no buyer above the cap.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_names()?;
        self.sales.iter().try_for_each(Draft::check)
    }

    /// The sales as they were, and those of them that have holds.
    pub(crate) fn finish(self, setting: &Setting) -> (Catalogue, Vec<Arc<SaleInner>>) {
        let latest = self.latest;
        let mut catalogue = Catalogue::default();
        let (mut active, mut baskets) = (Vec::new(), BTreeSet::new());
        for (number, mut draft) in (0..).zip(self.sales) {
            let members = draft.baskets.values().flatten().map(|part| part.line).chain(draft.late.all_lines());
            baskets.extend(members.map(|line| (number, line.sale)));
            let in_use = !draft.slots.is_empty() || !draft.waitlist.is_empty();
            let (added, announced) = (std::mem::take(&mut draft.added), draft.announced.clone());
            let named = catalogue.named(&draft.spec.audience).expect("names were checked");
            let sale = Arc::new(draft.build(number, latest, setting).naming(named));
            catalogue.insert(&sale, &added);
            for notice in announced {
                catalogue.strike(&sale, notice);
            }
            if in_use {
                sale.note_active();
                sale.list();
                active.push(sale);
            }
        }
        for (desk, member) in baskets {
            catalogue.sales[desk as usize].desk().know(&catalogue.sales[member as usize]);
        }
        (catalogue, active)
    }

    /// Says whether every audience that names a sale names an earlier one.
    fn check_names(&self) -> Result<(), String> {
        if self.sales.iter().all(|draft| draft.spec.audience.named().is_none()) {
            return Ok(());
        }
        let mut earlier = HashSet::new();
        for Draft { spec, .. } in &self.sales {
            if let Some(name) = spec.audience.named().filter(|name| !earlier.contains(name)) {
                return Err(format!("{}: its audience names {name}, which was not there", spec.name));
            }
            earlier.insert(spec.name.as_str());
        }
        Ok(())
    }

    fn saw(&mut self, at: Timestamp) {
        self.latest = self.latest.max(at);
    }

    fn sale(&mut self, number: u32) -> Result<&mut Draft, String> {
        self.sales.get_mut(number as usize).ok_or_else(|| format!("sale {number} was never created"))
    }
}

impl Draft {
    fn new(name: Arc<str>, spec: Arc<SaleSpec>, base: Timestamp, first: Extent) -> Self {
        Self {
            late: LateBook::new(spec.stock),
            name,
            spec,
            base,
            first,
            added: Vec::new(),
            changes: Changes { chunks: 1, ..Changes::default() },
            paused: false,
            closed: false,
            sequence: 0,
            registered: Vec::new(),
            waitlist: Replayed::default(),
            announced: Vec::new(),
            shipped: Shipped::default(),
            slots: Vec::new(),
            baskets: BTreeMap::new(),
        }
    }

    fn change(&mut self, change: Change) -> Result<(), String> {
        match change {
            Change::Added { units } => self.changes.added += u64::from(units),
            Change::Withdrawn { units } => self.changes.withdrawn += u64::from(units),
            Change::Paused => self.paused = true,
            Change::Resumed => self.paused = false,
            Change::Closed => self.closed = true,
            Change::Extent { base, slots } => {
                let first = self.capacity();
                self.added.push(Extent { base, first, length: slots });
                self.changes.chunks += 1;
            }
            later @ (Change::Window { .. } | Change::Cap { .. }) => return Err(format!("{later:?} is not understood")),
        }
        if self.changes.withdrawn > u64::from(self.spec.stock) + self.changes.added {
            return Err(format!("{} units withdrawn, more than there were", self.changes.withdrawn));
        }
        Ok(())
    }

    fn capacity(&self) -> u32 {
        let last = self.added.last().unwrap_or(&self.first);
        last.first + last.length
    }

    fn slot(&mut self, slot: u32) -> Result<&mut Image, String> {
        if slot >= self.capacity() {
            return Err(format!("slot {slot} of {}", self.capacity()));
        }
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, UNUSED);
        }
        Ok(&mut self.slots[index])
    }

    fn held(&mut self, held: &HeldRecord) -> Result<(), String> {
        let HeldRecord { slot, generation, key_epoch, quantity, buyer, deadline, .. } = *held;
        self.waitlist.held(held)?;
        let image = self.slot(slot)?;
        match image.stage {
            _ if generation < image.generation => return Ok(()),
            Stage::Sold(_) if generation == image.generation => return Ok(()),
            Stage::Sold(sequence) => return Err(format!("slot {slot} is held again after order {sequence}")),
            _ => {}
        }
        *image = Image { generation, key_epoch, quantity, buyer, stage: Stage::Held(deadline) };
        Ok(())
    }

    fn ended(&mut self, slot: u32, generation: u32, end: End) -> Result<(), String> {
        let image = self.slot(slot)?;
        if generation < image.generation {
            return Ok(());
        }
        match image.stage {
            Stage::Sold(sequence) => return Err(format!("slot {slot} ended after order {sequence}")),
            Stage::Held(_) if end == End::Expired && generation == image.generation => {
                let (id, share) = (image.id(slot), image.share());
                self.late.expire(id, share);
            }
            _ => {}
        }
        *self.slot(slot)? = Image { generation: generation + 1, stage: Stage::Free(Some(end)), ..UNUSED };
        Ok(())
    }

    fn confirmed(&mut self, confirmed: &ConfirmedRecord) -> Result<(), String> {
        let ConfirmedRecord { slot, generation, key_epoch, sequence, quantity, buyer, replaces, .. } = *confirmed;
        let image = Image { generation, key_epoch, quantity, buyer, stage: Stage::Free(None) };
        self.sold(slot, image, sequence)?;
        if let Some(replaced) = replaces {
            self.late.set(replaced, Late::Reacquired(image.id(slot)));
        }
        Ok(())
    }

    /// The hold `sold` becomes order `sequence`.
    fn sold(&mut self, slot: u32, sold: Image, sequence: u64) -> Result<(), String> {
        if sequence != self.sequence + 1 {
            return Err(format!("order {sequence} follows order {}", self.sequence));
        }
        self.sequence = sequence;
        let image = self.slot(slot)?;
        if sold.generation < image.generation {
            return Err(format!("order {sequence} sells a hold that has ended"));
        }
        if let Stage::Sold(other) = image.stage {
            return Err(format!("order {sequence} sells slot {slot}, which order {other} has"));
        }
        *image = Image { stage: Stage::Sold(sequence), ..sold };
        Ok(())
    }

    fn announced(&mut self, notice: Notice) -> Result<(), String> {
        let planned = match notice {
            Notice::Reminder => self.spec.reminds_at,
            Notice::Link => self.spec.links_at,
        };
        if planned.is_none() || self.announced.contains(&notice) {
            return Err(format!("{}: {notice:?} was announced twice, or never to be", self.spec.name));
        }
        self.announced.push(notice);
        Ok(())
    }

    fn shipped(&mut self, sequence: u64) -> Result<(), String> {
        if sequence == 0 || sequence > self.sequence || !self.shipped.insert(sequence) {
            return Err(format!("order {sequence} of {} was shipped twice, or before it was sold", self.sequence));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let taken = |image: &&Image| !matches!(image.stage, Stage::Free(_));
        let units: u64 = self.slots.iter().filter(taken).map(|image| u64::from(image.quantity)).sum();
        let offered = u64::from(self.spec.stock) + self.changes.added - self.changes.withdrawn;
        if units > offered {
            return Err(format!("{}: {units} units are held or sold, of {offered}", self.name));
        }
        let mut shares: HashMap<Buyer, u64> = HashMap::new();
        for image in self.slots.iter().filter(taken) {
            let share = shares.entry(image.buyer).or_default();
            *share += u64::from(image.quantity);
            if *share > u64::from(self.spec.cap) {
                let (name, buyer, cap) = (&self.name, image.buyer, self.spec.cap);
                return Err(format!("{name}: buyer {buyer} has {share} units, with a cap of {cap}"));
            }
        }
        Ok(())
    }

    /// The sale, with every slot as the journal has it.
    fn build(self, number: u32, latest: Timestamp, setting: &Setting) -> SaleInner {
        let Extent { base, length: first_slots, .. } = self.first;
        let origin = Origin { number, name: self.name, spec: self.spec, at: self.base, base };
        let sale = SaleInner::changed(origin, self.changes, Some(first_slots), setting);
        let fresh = u32::try_from(self.slots.len()).expect("slots are u32");
        if fresh > 0 {
            sale.allocator.restore_slots();
        }
        sale.allocator.restore_fresh(fresh);
        for (slot, image) in (0..).zip(&self.slots) {
            let state = match image.stage {
                Stage::Free(end) => {
                    sale.allocator.restore_free(slot, image.generation, end);
                    continue;
                }
                Stage::Held(deadline) => State::Held { due: sale.offset(deadline) },
                Stage::Part(deadline) => State::Part { due: sale.offset(deadline) },
                Stage::Sold(sequence) => State::Sold { sequence },
            };
            sale.allocator.restore(image.id(slot), image.share(), state);
        }
        for (slot, parts) in &self.baskets {
            sale.desk().table.fill(sale.allocator.slots(), *slot, parts);
        }
        sale.restore_sequence(self.sequence);
        sale.registered.add(&self.registered);
        *sale.late.lock() = self.late;
        *sale.shipped.lock() = self.shipped;
        if self.paused {
            sale.allocator.set(Mark::Paused);
        }
        if self.closed {
            sale.allocator.set(Mark::Closed);
        }
        sale.allocator.mark_sold_out();
        sale.restore_waitlist(self.waitlist);
        // It had opened before: that is no news.
        sale.open_if_due(latest);
        sale
    }
}
