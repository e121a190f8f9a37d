//! The sectors of one file: what is read, what a crash surely leaves, and what it may leave.

use std::collections::BTreeMap;

/// Seeded choices: splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).expect("it is below a size")
    }
}

pub(super) type Sector = Box<[u8]>;

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// What is read.
    pub(super) visible: Vec<u8>,
    /// What a crash surely leaves.
    pub(super) durable: Vec<u8>,
    /// What sectors held since the last sync: a crash may leave any of it.
    pub(super) dirty: BTreeMap<usize, Vec<Sector>>,
    /// As `dirty`, after a failed sync: a later sync passes over it.
    pub(super) clean: BTreeMap<usize, Vec<Sector>>,
}

impl Contents {
    pub(super) fn sector(bytes: &[u8], number: usize, size: usize) -> Sector {
        let mut sector = vec![0; size];
        let start = (number * size).min(bytes.len());
        let end = (start + size).min(bytes.len());
        sector[..end - start].copy_from_slice(&bytes[start..end]);
        sector.into()
    }

    pub(super) fn put(bytes: &mut Vec<u8>, number: usize, sector: &[u8]) {
        let start = number * sector.len();
        let end = start + sector.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(sector);
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize, size: usize) {
        let end = offset + bytes.len();
        if self.visible.len() < end {
            self.visible.resize(end, 0);
        }
        self.visible[offset..end].copy_from_slice(bytes);
        for number in offset / size..end.div_ceil(size) {
            self.dirty.entry(number).or_default().push(Self::sector(&self.visible, number, size));
        }
    }

    pub(super) fn sync(&mut self, size: usize) {
        for number in std::mem::take(&mut self.dirty).into_keys() {
            let sector = Self::sector(&self.visible, number, size);
            Self::put(&mut self.durable, number, &sector);
            self.clean.remove(&number);
        }
        self.durable.truncate(self.visible.len());
    }

    pub(super) fn fail_sync(&mut self) {
        for (number, images) in std::mem::take(&mut self.dirty) {
            self.clean.entry(number).or_default().extend(images);
        }
    }

    pub(super) fn crash(&mut self, dice: &mut Dice) {
        let mut left = self.durable.clone();
        let mut unsynced = std::mem::take(&mut self.clean);
        for (number, images) in std::mem::take(&mut self.dirty) {
            unsynced.entry(number).or_default().extend(images);
        }
        for (number, images) in unsynced {
            // Half of the sectors are lost: a choice of one image in several would seldom lose any.
            if dice.below(2) == 0 {
                Self::put(&mut left, number, &images[dice.below(images.len())]);
            }
        }
        if dice.below(2) == 0 && left.len() < self.visible.len() {
            left.resize(self.visible.len(), 0);
        }
        left.truncate(self.visible.len());
        *self = Self { visible: left.clone(), durable: left, ..Self::default() };
    }
}
