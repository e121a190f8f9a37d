//! Recovery: from the journal's records back to the sales as they were.
//!
//! Holds are journaled as states of slots, a tick behind; confirmations as they are decided. For one slot the
//! records can only repeat or move on:
//!
//! - a hold or an end of an earlier generation than the slot has is old news;
//! - a confirmation stands for good: an end of the same hold, or a later hold in its slot, is a contradiction;
//! - the sequences of a sale run 1, 2, 3, .. without a gap;
//! - where units have faces, each hold has its own: see `faces`;
//! - a record that no engine can write is a contradiction, too: see `bounds`.
//!
//! A hold that was made in the last tick before a crash may not be there. Its slot then begins the same generation
//! again, but under another key epoch: the lost hold's token is known as genuine and forgotten, and touches nothing.

mod baskets;
mod bounds;
mod carried;
mod faces;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use faces::{Marks, Told, Unfinished};

use super::{
    inner::Catalogue,
    keys::{KeyHash, Named},
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
        slots::{State, VALUE_MAX},
    },
    journal::{Change, ConfirmedRecord, DetailRecord, HeldRecord, Notice, Record},
    spec::{SaleSpec, Units, check_numbers},
};

/// A slot as the journal has it so far.
#[derive(Clone, Copy, PartialEq, Eq)]
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
#[derive(PartialEq)]
struct Draft {
    name: Arc<str>,
    spec: Arc<SaleSpec>,
    base: Timestamp,
    first: Extent,
    added: Vec<Extent>,
    changes: Changes,
    /// The window, and the cap, as they were changed last; and the highest cap that ever was in force.
    window: Option<(Option<Timestamp>, Option<Timestamp>)>,
    cap: u32,
    highest_cap: u32,
    paused: bool,
    closed: bool,
    sequence: u64,
    registered: Vec<Buyer>,
    announced: Vec<Notice>,
    shipped: Option<Box<Shipped>>,
    late: LateBook,
    waitlist: Replayed,
    slots: Vec<Image>,
    /// In the sale of all baskets: what is in each, by its slot.
    baskets: BTreeMap<u32, Vec<BasketPart>>,
    /// What is told of its units, where they can be told apart.
    units: Told,
    /// Keys that have made holds, by slot, each with the hold's generation.
    keys: HashMap<u32, (u32, KeyHash)>,
}

/// What the records have told so far.
#[derive(Default)]
pub(crate) struct Recovery {
    sales: Vec<Draft>,
    alike: Alike,
    unfinished: Unfinished,
    halted: bool,
    /// The first slot that no sale has.
    next_slot: u32,
    incarnations: Vec<u64>,
    latest: Timestamp,
}

impl Recovery {
    /// Takes the next record.
    pub(crate) fn replay(&mut self, record: Record) -> Result<(), String> {
        bounds::check(&record)?;
        match record {
            Record::Opened { incarnation, at, .. } => {
                self.incarnations.push(incarnation);
                self.ends();
                self.saw(at);
                Ok(())
            }
            Record::SaleCreated { sale, base, slots, at, mut spec } => {
                self.saw(at);
                self.unfinished.complete(sale, &mut spec)?;
                if sale as usize != self.sales.len() {
                    return Err(format!("sale {sale} follows {} others", self.sales.len()));
                }
                bounds::created(&spec, base, slots, self.next_slot)?;
                self.next_slot = base + slots;
                let (name, spec) = self.alike.split(spec);
                self.sales.push(Draft::new(name, spec, at, Extent { base, first: 0, length: slots }));
                Ok(())
            }
            Record::SaleChanged { sale, at, change } => {
                self.saw(at);
                let mut unfinished = std::mem::take(&mut self.unfinished);
                let next_slot = self.next_slot;
                let draft = self.sale(sale)?;
                draft.check_change(change, next_slot)?;
                draft.units.change(&draft.spec, sale, change, &mut unfinished)?;
                draft.change(change);
                self.next_slot = next_slot.max(draft.end());
                self.unfinished = unfinished;
                Ok(())
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
            later => self.replay_later(later),
        }
    }

    /// The kinds that came after the first version.
    fn replay_later(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::UnitsListed { sale, labels } => {
                self.unfinished.listed(sale, labels);
                Ok(())
            }
            Record::UnitsWithdrawn { sale, units } => {
                self.unfinished.withdrawn(sale, units);
                Ok(())
            }
            Record::Detail(detail) => self.sale(detail.sale)?.detail(detail),
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
            Record::Halted { halted, at } => {
                self.saw(at);
                self.halted = halted;
                Ok(())
            }
            Record::Skipped { latest, .. } => {
                self.saw(latest);
                Ok(())
            }
            Record::Carried { sale, carried } => self.carried(sale, carried),
            first => unreachable!("{first:?} is of the first version"),
        }
    }

    /// An opening's records end here. The last append may have been torn, if it was longer than a frame.
    pub(crate) fn ends(&mut self) {
        self.unfinished.forget();
        for draft in &mut self.sales {
            draft.waitlist.ends();
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
        let mut catalogue = Catalogue { halted: self.halted, ..Catalogue::default() };
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

    /// Says whether each sale has a name of its own, and every audience that names one names an earlier one.
    fn check_names(&self) -> Result<(), String> {
        let mut earlier = HashSet::with_capacity(self.sales.len());
        for Draft { name: sale, spec, .. } in &self.sales {
            if let Some(name) = spec.audience.named().filter(|name| !earlier.contains(name)) {
                return Err(format!("{sale}: its audience names {name}, which was not there"));
            }
            if !earlier.insert(&**sale) {
                return Err(format!("two sales are called {sale}"));
            }
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
            window: None,
            cap: spec.cap,
            highest_cap: spec.cap,
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
            shipped: None,
            slots: Vec::new(),
            baskets: BTreeMap::new(),
            units: Told::default(),
            keys: HashMap::new(),
        }
    }

    fn change(&mut self, change: Change) {
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
            Change::Window { opens_at, closes_at } => self.window = Some((opens_at, closes_at)),
            Change::Cap { cap } => (self.cap, self.highest_cap) = (cap, self.highest_cap.max(cap)),
        }
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

    /// What is told of a hold beside its record, and before it.
    fn detail(&mut self, detail: DetailRecord) -> Result<(), String> {
        let DetailRecord { slot, generation, units, key, .. } = detail;
        let image = *self.slot(slot)?;
        if generation < image.generation {
            return Ok(());
        }
        if let Some(key) = key {
            self.keys.insert(slot, (generation, key));
        }
        if units.is_empty() {
            return Ok(());
        }
        if self.spec.units == Units::Alike {
            return Err(format!("slot {slot} has units of a sale whose units are alike"));
        }
        if let Stage::Sold(sequence) = image.stage
            && self.units.of(slot, generation) != units
        {
            return Err(format!("order {sequence} has other units than before"));
        }
        self.units.hold(slot, generation, units);
        Ok(())
    }

    /// Says whether the units of a hold were told, where they can be told apart.
    fn check_units(&self, slot: u32, hold: &Image) -> Result<(), String> {
        let (told, quantity) = (self.units.of(slot, hold.generation).len(), hold.quantity);
        if self.spec.units != Units::Alike && told as u64 != u64::from(quantity) {
            return Err(format!("slot {slot} has {quantity} units, of which {told} are told"));
        }
        Ok(())
    }

    fn held(&mut self, held: &HeldRecord) -> Result<(), String> {
        let HeldRecord { slot, generation, key_epoch, quantity, buyer, deadline, .. } = *held;
        self.is_for(false)?;
        self.waitlist.held(held)?;
        let image = *self.slot(slot)?;
        match image.stage {
            _ if generation < image.generation => return Ok(()),
            Stage::Sold(_) if generation == image.generation => return Ok(()),
            Stage::Sold(sequence) => return Err(format!("slot {slot} is held again after order {sequence}")),
            _ => {}
        }
        let held = Image { generation, key_epoch, quantity, buyer, stage: Stage::Held(deadline) };
        self.check_units(slot, &held)?;
        *self.slot(slot)? = held;
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
        self.is_for(false)?;
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
        let image = *self.slot(slot)?;
        if sold.generation < image.generation {
            return Err(format!("order {sequence} sells a hold that has ended"));
        }
        if let Stage::Sold(other) = image.stage {
            return Err(format!("order {sequence} sells slot {slot}, which order {other} has"));
        }
        self.check_units(slot, &sold)?;
        *self.slot(slot)? = Image { stage: Stage::Sold(sequence), ..sold };
        Ok(())
    }

    fn announced(&mut self, notice: Notice) -> Result<(), String> {
        let planned = match notice {
            Notice::Reminder => self.spec.reminds_at,
            Notice::Link => self.spec.links_at,
        };
        if planned.is_none() || self.announced.contains(&notice) {
            return Err(format!("{}: {notice:?} was announced twice, or never to be", self.name));
        }
        self.announced.push(notice);
        Ok(())
    }

    fn shipped(&mut self, sequence: u64) -> Result<(), String> {
        if sequence == 0 || sequence > self.sequence || !self.shipped.get_or_insert_default().insert(sequence) {
            return Err(format!("order {sequence} of {} was shipped twice, or before it was sold", self.sequence));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let taken = |image: &&Image| !matches!(image.stage, Stage::Free(_));
        let units: u64 = self.slots.iter().filter(taken).map(|image| u64::from(image.quantity)).sum();
        let offered = self.offered();
        if units > offered {
            return Err(format!("{}: {units} units are held or sold, of {offered}", self.name));
        }
        let mut shares: HashMap<Buyer, u64> = HashMap::new();
        for image in self.slots.iter().filter(taken) {
            let share = shares.entry(image.buyer).or_default();
            *share += u64::from(image.quantity);
            // What was legal when it was sold stays: a cap that was lowered takes nothing from anybody.
            if *share > u64::from(self.highest_cap) {
                let (name, buyer, cap) = (&self.name, image.buyer, self.highest_cap);
                return Err(format!("{name}: buyer {buyer} has {share} units, with a cap of {cap}"));
            }
        }
        if let Units::Numbered { first } = self.spec.units {
            let numbers = u64::from(self.spec.stock) + self.changes.added;
            check_numbers(first, numbers).map_err(|error| format!("{}: {error}", self.name))?;
        }
        self.marks().map(|_| ()).map_err(|why| format!("{}: {why}", self.name))
    }

    /// Which units are not free; none are marked where all are alike.
    fn marks(&self) -> Result<Marks, String> {
        let taken = |(_, image): &(u32, &Image)| !matches!(image.stage, Stage::Free(_));
        let living = (0..).zip(&self.slots).filter(taken).map(|(slot, image)| (slot, image.generation));
        self.units.marks(u64::from(self.spec.stock) + self.changes.added, living)
    }

    /// The sale, with every slot as the journal has it.
    fn build(mut self, number: u32, latest: Timestamp, setting: &Setting) -> SaleInner {
        let marks = self.marks().expect("checked before");
        let Extent { base, length: first_slots, .. } = self.first;
        let origin = Origin { number, name: self.name, spec: self.spec, at: self.base, base };
        let sale = SaleInner::changed(origin, self.changes, Some(first_slots), setting);
        let fresh = u32::try_from(self.slots.len()).expect("slots are u32");
        if fresh > 0 {
            sale.allocator.restore_slots();
        }
        sale.allocator.restore_fresh(fresh);
        sale.allocator.restore_free_units(marks.fresh(), marks.free());
        if let Some(faces) = &sale.faces {
            for labels in std::mem::take(&mut self.units.labels) {
                faces.list(labels);
            }
        }
        let due = |deadline| sale.offset(deadline).min(VALUE_MAX);
        for (slot, image) in (0..).zip(&self.slots) {
            let state = match image.stage {
                Stage::Free(end) => {
                    sale.allocator.restore_free(slot, image.generation, end);
                    continue;
                }
                Stage::Held(deadline) => State::Held { due: due(deadline) },
                Stage::Part(deadline) => State::Part { due: due(deadline) },
                Stage::Sold(sequence) => State::Sold { sequence },
            };
            sale.allocator.restore(image.id(slot), image.share(), state);
            sale.allocator.restore_units(slot, self.units.of(slot, image.generation));
            if let Some(&(generation, key)) = self.keys.get(&slot)
                && generation == image.generation
            {
                sale.keys.restore(key, Named { hold: image.id(slot), quantity: image.quantity });
            }
        }
        for (slot, parts) in &self.baskets {
            sale.desk().table.fill(sale.allocator.slots(), *slot, parts);
        }
        sale.restore_sequence(self.sequence);
        sale.registered.add(&self.registered);
        *sale.late.lock() = self.late;
        *sale.shipped.lock() = self.shipped;
        sale.allocator.set_limit(self.cap);
        if let Some((opens_at, closes_at)) = self.window {
            sale.move_window(opens_at, closes_at, latest);
        }
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
