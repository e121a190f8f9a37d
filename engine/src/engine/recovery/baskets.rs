//! Baskets from the journal.
//!
//! One record says that a basket is held, one that it is sold. Its end may be told by an end of any of its parts, which
//! was written before an order that uses the unit: a basket is held if all its parts are, and otherwise has ended.

use super::{Draft, Image, Recovery, Stage, UNUSED};
use crate::{
    core::{
        Buyer, End,
        allocator::{HoldId, Share},
        baskets::{BasketPart, Line},
    },
    engine::late::Late,
    journal::{BasketConfirmedRecord, BasketHeldRecord},
};

impl Recovery {
    pub(super) fn basket_held(&mut self, held: BasketHeldRecord) -> Result<(), String> {
        let BasketHeldRecord { sale, hold, buyer, deadline, parts } = held;
        let HoldId { slot, generation, key_epoch } = hold;
        self.sale(sale)?.is_for(true)?;
        let image = *self.sale(sale)?.slot(slot)?;
        match image.stage {
            _ if generation < image.generation => return Ok(()),
            Stage::Sold(_) if generation == image.generation => return Ok(()),
            Stage::Sold(sequence) => return Err(format!("slot {slot} is held again after basket {sequence}")),
            _ => {}
        }
        if generation > image.generation {
            self.parts_over(sale, slot, End::Cancelled)?;
        }
        for part in &parts {
            let stage = Stage::Part(deadline);
            let image = Image { generation: part.generation, key_epoch, quantity: part.line.quantity, buyer, stage };
            self.sale(part.line.sale)?.part(part.slot, image)?;
        }
        let desk = self.sale(sale)?;
        *desk.slot(slot)? = Image { generation, key_epoch, quantity: 1, buyer, stage: Stage::Held(deadline) };
        desk.baskets.insert(slot, parts);
        Ok(())
    }

    pub(super) fn basket_confirmed(&mut self, confirmed: BasketConfirmedRecord) -> Result<(), String> {
        let BasketConfirmedRecord { sale, sequence, hold, buyer, replaces, parts, .. } = confirmed;
        let HoldId { slot, generation, key_epoch } = hold;
        self.sale(sale)?.is_for(true)?;
        if self.sale(sale)?.slot(slot)?.generation < generation {
            self.parts_over(sale, slot, End::Cancelled)?;
        }
        let sold = |generation, quantity| Image { generation, key_epoch, quantity, buyer, stage: Stage::Free(None) };
        for (part, order) in &parts {
            let image = sold(part.generation, part.line.quantity);
            let member = self.sale(part.line.sale)?;
            member.is_for(false)?;
            member.sold(part.slot, image, *order)?;
        }
        let desk = self.sale(sale)?;
        desk.sold(slot, sold(generation, 1), sequence)?;
        desk.baskets.insert(slot, parts.into_iter().map(|(part, _)| part).collect());
        if let Some(replaced) = replaces {
            desk.late.set(replaced, Late::Reacquired(hold));
        }
        Ok(())
    }

    pub(super) fn basket_expired(
        &mut self,
        sale: u32,
        hold: HoldId,
        buyer: Buyer,
        lines: Vec<Line>,
    ) -> Result<(), String> {
        lines.iter().try_for_each(|line| self.sale(line.sale)?.is_for(false))?;
        self.sale(sale)?.is_for(true)?;
        self.sale(sale)?.late.expire_basket(hold, Share { buyer, quantity: 1 }, lines);
        self.ended(sale, hold.slot, hold.generation, End::Expired)
    }

    /// The hold of a slot ended, with all that is in it if it is a basket.
    pub(super) fn ended(&mut self, sale: u32, slot: u32, generation: u32, end: End) -> Result<(), String> {
        let draft = self.sale(sale)?;
        if generation >= draft.slot(slot)?.generation {
            draft.remember(slot, generation, end)?;
            self.parts_over(sale, slot, end)?;
        }
        self.sale(sale)?.ended(slot, generation, end)
    }

    /// The basket of a slot is over: its parts are, too, as far as they are still its parts.
    fn parts_over(&mut self, sale: u32, slot: u32, end: End) -> Result<(), String> {
        let parts = self.sale(sale)?.baskets.remove(&slot).unwrap_or_default();
        parts.iter().try_for_each(|part| self.sale(part.line.sale)?.part_over(part, end))
    }

    /// Ends the baskets of which a part has ended: whoever ended it had decided so for the whole.
    pub(crate) fn end_halves(&mut self) -> Result<(), String> {
        let mut halves = Vec::new();
        for (sale, draft) in (0..).zip(&self.sales) {
            for (slot, parts) in &draft.baskets {
                let image = draft.slots[*slot as usize];
                if matches!(image.stage, Stage::Held(_))
                    && let Some(end) = parts.iter().find_map(|part| self.end_of(part))
                {
                    halves.push((sale, *slot, image.generation, end));
                }
            }
        }
        halves.into_iter().try_for_each(|(sale, slot, generation, end)| self.ended(sale, slot, generation, end))
    }

    /// How a part has ended, if it has.
    fn end_of(&self, part: &BasketPart) -> Option<End> {
        let image = self.sales[part.line.sale as usize].slots[part.slot as usize];
        match image.stage {
            Stage::Part(_) if image.generation == part.generation => None,
            Stage::Free(Some(end)) if image.generation == part.generation + 1 => Some(end),
            _ => Some(End::Cancelled),
        }
    }
}

impl Draft {
    /// A part is held. It may have ended before its basket was written.
    fn part(&mut self, slot: u32, part: Image) -> Result<(), String> {
        self.is_for(false)?;
        let image = *self.slot(slot)?;
        match image.stage {
            Stage::Sold(sequence) => Err(format!("slot {slot} is held again after order {sequence}")),
            _ if part.generation < image.generation => Ok(()),
            _ => {
                self.check_units(slot, &part)?;
                *self.slot(slot)? = part;
                Ok(())
            }
        }
    }

    fn part_over(&mut self, part: &BasketPart, end: End) -> Result<(), String> {
        let image = self.slot(part.slot)?;
        if image.generation == part.generation && matches!(image.stage, Stage::Part(_)) {
            *image = Image { generation: part.generation + 1, stage: Stage::Free(Some(end)), ..UNUSED };
        }
        Ok(())
    }

    /// An expired basket may still be paid: what was in it is kept.
    fn remember(&mut self, slot: u32, generation: u32, end: End) -> Result<(), String> {
        let image = *self.slot(slot)?;
        if let (Stage::Held(_), Some(parts)) = (image.stage, self.baskets.get(&slot))
            && end == End::Expired
            && generation == image.generation
        {
            let lines = parts.iter().map(|part| part.line).collect();
            self.late.expire_basket(image.id(slot), image.share(), lines);
        }
        Ok(())
    }
}
