//! What records leave behind, as a rewritten journal tells it, and back.
//!
//! Orders and everything that operators did stay in the journal as they were written. All else is a state of slots,
//! late books and waitlists: it is told once more, as it is at the end, in place of the records that led to it.
//!
//! What holds: whoever replays what stays and then what is carried knows what whoever replays everything knows.

use std::collections::BTreeMap;

use super::{Draft, Image, Recovery, Stage, UNUSED};
use crate::{
    core::{allocator::Share, baskets::BasketPart},
    engine::{
        baskets,
        keys::KeyHash,
        late::{Late, LateBook, Noted, Reason},
    },
    journal::{Carried, CarriedLate, CarriedNote, CarriedSlot, DetailRecord, Record},
};

/// Entries in one record: it stays far below the size of a frame.
const TOGETHER: usize = if cfg!(test) { 5 } else { 1 << 14 };

/// What stands beside a hold: its key, and its units.
type Beside<'a> = (Option<KeyHash>, &'a [u32]);

impl Recovery {
    /// What dropped records have left behind, of one sale.
    pub(super) fn carried(&mut self, sale: u32, carried: Carried) -> Result<(), String> {
        let draft = self.sale(sale)?;
        match carried {
            Carried::Begins { last_ticket, offered } => {
                draft.late = LateBook::new(draft.spec.stock);
                draft.waitlist.begin(last_ticket, offered);
            }
            Carried::Slots { first, slots } => {
                for (slot, carried) in (first..).zip(slots) {
                    draft.carried_slot(slot, carried)?;
                }
            }
            Carried::Detail(detail) => draft.detail(detail)?,
            Carried::Basket { slot, parts } => {
                draft.is_for(true)?;
                draft.slot(slot)?;
                draft.baskets.insert(slot, parts.clone());
                for BasketPart { line, slot, .. } in parts {
                    let member = self.sale(line.sale)?;
                    member.is_for(false)?;
                    member.slot(slot)?;
                }
            }
            Carried::Late(notes) => {
                for late in notes.into_iter().map(noted) {
                    late.lines.iter().try_for_each(|line| self.sale(line.sale)?.is_for(false))?;
                    let draft = self.sale(sale)?;
                    draft.is_for(!late.lines.is_empty() || *draft.name == *baskets::NAME)?;
                    draft.late.restore(late);
                }
            }
            Carried::Places(places) => draft.waitlist.place(places)?,
            Carried::Offers(offers) => draft.waitlist.offer(offers),
            Carried::PassedOver(buyers) => draft.waitlist.pass_over(buyers),
        }
        Ok(())
    }

    /// Forgets what nothing can come of: what was told beside holds that have ended, and offers that are over.
    pub(crate) fn settle(&mut self) {
        self.sales.iter_mut().for_each(Draft::settle);
    }

    /// What there is to carry: settled before.
    pub(crate) fn carry(&self) -> impl Iterator<Item = Record> {
        let each = |(sale, draft)| {
            let record = move |carried| Record::Carried { sale, carried };
            Draft::carry(draft, sale).map(record)
        };
        (0..).zip(&self.sales).filter(|(_, draft)| draft.has_to_carry()).flat_map(each)
    }

    /// What the two know different things of, if there is anything.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let whole = [
            ("the openings", self.incarnations == other.incarnations),
            ("the latest instant", self.latest == other.latest),
            ("whether all sales are halted", self.halted == other.halted),
            ("an unfinished change", self.unfinished == other.unfinished),
            ("how many sales there are", self.sales.len() == other.sales.len()),
        ];
        let differs = |(what, same): &(&'static str, bool)| (!same).then(|| (*what).to_owned());
        whole.iter().find_map(differs).or_else(|| {
            let sales = self.sales.iter().zip(&other.sales);
            sales.filter(|(one, another)| one != another).map(|(one, another)| one.difference(another)).next()
        })
    }
}

impl Draft {
    /// As [`Recovery::difference`], of two drafts that differ.
    fn difference(&self, other: &Self) -> String {
        let parts = [
            ("slots", self.slots == other.slots),
            ("baskets", self.baskets == other.baskets),
            ("units", self.units == other.units),
            ("keys", self.keys == other.keys),
            ("late book", self.late == other.late),
            ("waitlist", self.waitlist == other.waitlist),
            ("orders", self.sequence == other.sequence),
        ];
        let part = parts.iter().find(|(_, same)| !same).map_or("rules", |(part, _)| part);
        format!("the {part} of {}", self.name)
    }

    fn carried_slot(&mut self, slot: u32, carried: CarriedSlot) -> Result<(), String> {
        let image = self.slot(slot)?;
        let is_sold = matches!(image.stage, Stage::Sold(_));
        if is_sold != (carried == CarriedSlot::Sold) {
            return Err(format!("slot {slot} is sold by its order and not as it is carried, or the other way round"));
        }
        match carried {
            CarriedSlot::Sold => {}
            CarriedSlot::Free { generation, end } => {
                *image = Image { generation, stage: Stage::Free(end), ..UNUSED };
            }
            CarriedSlot::Held { generation, key_epoch, buyer, quantity, deadline, part } => {
                let stage = if part { Stage::Part(deadline) } else { Stage::Held(deadline) };
                *image = Image { generation, key_epoch, quantity, buyer, stage };
            }
        }
        Ok(())
    }

    fn settle(&mut self) {
        let Self { slots, keys, units, waitlist, .. } = self;
        let generation = |slot: u32| slots.get(slot as usize).map_or(0, |image| image.generation);
        keys.retain(|slot, (told, _)| *told >= generation(*slot));
        units.settle(generation);
        waitlist.settle(|id, deadline| {
            let image = slots.get(id.slot as usize).filter(|image| image.id(id.slot) == id);
            image.is_some_and(|image| image.stage == Stage::Held(deadline))
        });
    }

    fn has_to_carry(&self) -> bool {
        !self.slots.is_empty() || !self.late.is_unused() || !self.waitlist.is_unused()
    }

    fn carry(&self, sale: u32) -> impl Iterator<Item = Carried> {
        let (last_ticket, offered) = self.waitlist.begun();
        let slots = (0..).step_by(TOGETHER).zip(self.slots.chunks(TOGETHER)).map(|(first, images)| {
            let first = u32::try_from(first).expect("slots are u32");
            Carried::Slots { first, slots: images.iter().map(Image::carry).collect() }
        });
        let held = |(slot, _): &(&u32, _)| matches!(self.slots[**slot as usize].stage, Stage::Held(_));
        let baskets = self.baskets.iter().filter(held);
        let baskets = baskets.map(|(slot, parts)| Carried::Basket { slot: *slot, parts: parts.clone() });
        std::iter::once(Carried::Begins { last_ticket, offered })
            .chain(slots)
            .chain(self.carry_details(sale))
            .chain(baskets)
            .chain(lists(self.late.notes().map(carried_late), Carried::Late))
            .chain(lists(self.waitlist.places(), Carried::Places))
            .chain(lists(self.waitlist.sorted_offers(), Carried::Offers))
            .chain(lists(self.waitlist.sorted_passed_over(), Carried::PassedOver))
    }

    /// What stands beside holds that no order has: beside an order it stays.
    fn carry_details(&self, sale: u32) -> impl Iterator<Item = Carried> {
        let mut details = BTreeMap::<(u32, u32), Beside<'_>>::new();
        for (slot, (generation, key)) in &self.keys {
            details.entry((*slot, *generation)).or_default().0 = Some(*key);
        }
        for (slot, generation, units) in self.units.told() {
            details.entry((slot, generation)).or_default().1 = units;
        }
        let stays = |slot: u32, generation| {
            let image = self.slots[slot as usize];
            matches!(image.stage, Stage::Sold(_)) && image.generation == generation
        };
        details.into_iter().filter(move |((slot, generation), _)| !stays(*slot, *generation)).map(
            move |((slot, generation), (key, units))| {
                Carried::Detail(DetailRecord { sale, slot, generation, key, units: units.to_vec() })
            },
        )
    }
}

impl Image {
    fn carry(&self) -> CarriedSlot {
        let Self { generation, key_epoch, quantity, buyer, stage } = *self;
        let held = |deadline, part| CarriedSlot::Held { generation, key_epoch, buyer, quantity, deadline, part };
        match stage {
            Stage::Free(end) => CarriedSlot::Free { generation, end },
            Stage::Held(deadline) => held(deadline, false),
            Stage::Part(deadline) => held(deadline, true),
            Stage::Sold(_) => CarriedSlot::Sold,
        }
    }
}

/// `items` in lists.
fn lists<T>(items: impl Iterator<Item = T>, list: fn(Vec<T>) -> Carried) -> impl Iterator<Item = Carried> {
    let mut items = items.peekable();
    std::iter::from_fn(move || items.peek().is_some().then(|| list(items.by_ref().take(TOGETHER).collect())))
}

fn carried_late(noted: Noted) -> CarriedLate {
    let Noted { hold, late, lines, in_order } = noted;
    let note = match late {
        Late::Expired(Share { buyer, quantity }) => CarriedNote::Expired { buyer, quantity, lines },
        Late::Reacquired(hold) => CarriedNote::Reacquired(hold),
        Late::Refused(reason) => CarriedNote::Refused { over_cap: reason == Reason::OverCap },
    };
    CarriedLate { hold, in_order, note }
}

fn noted(late: CarriedLate) -> Noted {
    let CarriedLate { hold, in_order, note } = late;
    let (late, lines) = match note {
        CarriedNote::Expired { buyer, quantity, lines } => (Late::Expired(Share { buyer, quantity }), lines),
        CarriedNote::Reacquired(hold) => (Late::Reacquired(hold), Vec::new()),
        CarriedNote::Refused { over_cap } => {
            (Late::Refused(if over_cap { Reason::OverCap } else { Reason::SoldOut }), Vec::new())
        }
    };
    Noted { hold, late, lines, in_order }
}
