//! Keys of requests: which hold a buyer's key has made, so that asking twice gives it once.
//!
//! ```text
//! attempts   key  -> under way | made: hold, quantity       at most one entry a slot, and those under way
//! slots      slot -> the latest hold that a key has made there, and the key
//! ```
//!
//! What holds:
//! - Of all who ask with one key at one time, one makes the attempt.
//! - `slots` names a hold before anybody can see it: whoever writes the hold down finds its key.
//! - An entry of `attempts` belongs to the slot of its hold. It goes when the next key makes a hold there; who finds
//!   it before that, and the slot used again without a key, takes it for gone. An attempt that fails leaves nothing.
//! - A lock of a map is held for one step, and never while another is taken.
//!
//! A sale that never sees a key has no maps.

use std::{fmt, hash::Hasher};

use dashmap::{DashMap, Entry};
use once_cell::race::OnceBox;
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::core::{Buyer, allocator::HoldId};

/// What stands for a buyer's key: 128 bits, hashed under a key of the engine's own.
pub(crate) type KeyHash = u128;

/// Hashes what a buyer's request is called.
pub(crate) fn hash(secret: &[u8; 16], buyer: Buyer, text: &str) -> KeyHash {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&buyer.as_u128().to_le_bytes());
    hasher.write(text.as_bytes());
    hasher.finish128().as_u128()
}

/// A hold that a key has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) hold: HoldId,
    pub(crate) quantity: u32,
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    UnderWay,
    Made(Named),
}

struct Maps {
    attempts: DashMap<KeyHash, Attempt>,
    slots: DashMap<u32, (HoldId, KeyHash)>,
}

/// What a look at a key finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    UnderWay,
    Made(Named),
}

/// The keys of one sale.
pub(crate) struct Keys {
    maps: OnceBox<Maps>,
    shards: u32,
}

impl Keys {
    /// The keys of a sale of `stock` units. No memory is taken before the first key.
    pub(crate) fn new(stock: u32) -> Self {
        Self { maps: OnceBox::new(), shards: (stock / 64).next_power_of_two().clamp(2, 64) }
    }

    fn maps(&self) -> &Maps {
        self.maps.get_or_init(|| {
            let shards = self.shards as usize;
            Box::new(Maps { attempts: DashMap::with_shard_amount(shards), slots: DashMap::with_shard_amount(shards) })
        })
    }

    /// What is known of the key.
    pub(crate) fn look(&self, key: KeyHash) -> Seen {
        match self.maps.get().and_then(|maps| maps.attempts.get(&key).map(|attempt| *attempt)) {
            None => Seen::Nothing,
            Some(Attempt::UnderWay) => Seen::UnderWay,
            Some(Attempt::Made(named)) => Seen::Made(named),
        }
    }

    /// Begins the key's attempt, if nothing is known of it but `gone`: a hold whose slot was used again.
    pub(crate) fn begin(&self, key: KeyHash, gone: Option<Named>) -> Option<Begun<'_>> {
        let maps = self.maps();
        match (maps.attempts.entry(key), gone) {
            (Entry::Vacant(place), None) => {
                place.insert(Attempt::UnderWay);
            }
            (Entry::Occupied(mut place), Some(gone)) if *place.get() == Attempt::Made(gone) => {
                place.insert(Attempt::UnderWay);
            }
            _ => return None,
        }
        if let Some(gone) = gone {
            maps.clear(gone.hold);
        }
        Some(Begun { maps, key, named: None })
    }

    /// The key that has made the hold, if one has.
    pub(crate) fn of(&self, slot: u32, generation: u32) -> Option<KeyHash> {
        let (hold, key) = self.maps.get()?.slots.get(&slot).map(|named| *named)?;
        (hold.generation == generation).then_some(key)
    }

    /// Takes up the attempt of the key that has made the hold, if one has: a late payment is about to get other units.
    pub(crate) fn resume(&self, hold: HoldId) -> Option<Begun<'_>> {
        let maps = self.maps.get()?;
        let (named, key) = maps.slots.get(&hold.slot).map(|named| *named)?;
        if named != hold {
            return None;
        }
        let mut attempt = maps.attempts.get_mut(&key)?;
        match *attempt {
            Attempt::Made(named) if named.hold == hold => {
                *attempt = Attempt::UnderWay;
                Some(Begun { maps, key, named: Some(named) })
            }
            // Somebody has asked again: the hold's slot was used again meanwhile.
            _ => None,
        }
    }

    /// Recovery: the key has made the hold, which lives or is sold.
    pub(crate) fn restore(&self, key: KeyHash, named: Named) {
        let maps = self.maps();
        maps.slots.insert(named.hold.slot, (named.hold, key));
        maps.attempts.insert(key, Attempt::Made(named));
    }

    /// At rest: how many entries each map has, if every key's hold has its slot and nothing is under way.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> Result<(usize, usize), String> {
        let Some(maps) = self.maps.get() else { return Ok((0, 0)) };
        let attempts: Vec<_> = maps.attempts.iter().map(|entry| (*entry.key(), *entry.value())).collect();
        for (key, attempt) in &attempts {
            let Attempt::Made(Named { hold, .. }) = attempt else { return Err(format!("{key:x} is under way")) };
            if self.of(hold.slot, hold.generation) != Some(*key) {
                return Err(format!("{key:x} has {hold:?}, and the slot doesn't know"));
            }
        }
        Ok((attempts.len(), maps.slots.len()))
    }

    /// A broken variant: the key is not known any more.
    #[cfg(test)]
    pub(crate) fn forget(&self, key: KeyHash) {
        self.maps().attempts.remove(&key);
    }
}

impl Maps {
    /// The hold's slot has no key any more, unless another key has it.
    fn clear(&self, hold: HoldId) {
        self.slots.remove_if(&hold.slot, |_, (named, _)| *named == hold);
    }

    /// Nothing is known of the key any more, unless it has another hold, or is about to.
    fn forget(&self, key: KeyHash, hold: HoldId) {
        self.attempts.remove_if(&key, |_, attempt| matches!(attempt, Attempt::Made(named) if named.hold == hold));
    }
}

/// An attempt that is under way under its key. Dropped without a hold, it leaves nothing.
pub(crate) struct Begun<'keys> {
    maps: &'keys Maps,
    key: KeyHash,
    named: Option<Named>,
}

impl Begun<'_> {
    /// The attempt has the slot of `hold`, which nobody else can see or end so far.
    pub(crate) fn name(&mut self, hold: HoldId, quantity: u32) {
        if let Some(before) = self.named.replace(Named { hold, quantity }) {
            self.maps.clear(before.hold);
        }
        if let Some((before, other)) = self.maps.slots.insert(hold.slot, (hold, self.key)) {
            self.maps.forget(other, before);
        }
    }
}

/// The attempt is decided.
impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let Some(named) = self.named else {
            self.maps.attempts.remove(&self.key);
            return;
        };
        self.maps.attempts.insert(self.key, Attempt::Made(named));
        // If the hold has ended already and another key's is in its slot, nobody else will ever drop this entry.
        let named_still = self.maps.slots.get(&named.hold.slot).is_some_and(|slot| slot.0 == named.hold);
        if !named_still {
            self.maps.forget(self.key, named.hold);
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("used", &self.maps.get().is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(slot: u32, generation: u32) -> HoldId {
        HoldId { slot, generation, key_epoch: 7 }
    }

    fn made(keys: &Keys, key: KeyHash, hold: HoldId) {
        keys.begin(key, None).expect("nothing is known of the key").name(hold, 1);
    }

    #[test]
    fn a_key_is_hashed_with_its_buyer_under_the_engines_secret() {
        let hashes = [
            hash(&[1; 16], Buyer::from(7), "a"),
            hash(&[1; 16], Buyer::from(8), "a"),
            hash(&[1; 16], Buyer::from(7), "b"),
            hash(&[2; 16], Buyer::from(7), "a"),
        ];
        assert!((0..4).all(|one| (0..one).all(|other| hashes[one] != hashes[other])), "{hashes:x?}");
        assert_eq!(hashes[0], hash(&[1; 16], Buyer::from(7), "a"));
    }

    #[test]
    fn of_two_attempts_with_one_key_one_begins() {
        let keys = Keys::new(9);
        let begun = keys.begin(1, None).unwrap();
        assert!(keys.begin(1, None).is_none());
        assert_eq!((keys.look(1), keys.look(2)), (Seen::UnderWay, Seen::Nothing));
        drop(begun);
        assert_eq!((keys.look(1), keys.entries()), (Seen::Nothing, Ok((0, 0))), "it has failed, and left nothing");
    }

    #[test]
    fn a_hold_is_named_before_its_attempt_is_decided() {
        let keys = Keys::new(9);
        let mut begun = keys.begin(1, None).unwrap();
        begun.name(hold(3, 5), 2);
        assert_eq!((keys.of(3, 5), keys.of(3, 4), keys.look(1)), (Some(1), None, Seen::UnderWay));
        drop(begun);
        assert_eq!(keys.look(1), Seen::Made(Named { hold: hold(3, 5), quantity: 2 }));
    }

    #[test]
    fn the_next_key_in_a_slot_drops_the_one_before() {
        let keys = Keys::new(9);
        made(&keys, 1, hold(0, 0));
        made(&keys, 2, hold(0, 1));
        assert_eq!((keys.look(1), keys.of(0, 1), keys.entries()), (Seen::Nothing, Some(2), Ok((1, 1))));
    }

    #[test]
    fn a_thread_that_stops_before_its_attempt_is_decided_leaves_no_entry_without_a_slot() {
        let keys = Keys::new(9);
        let mut stopped = keys.begin(1, None).unwrap();
        stopped.name(hold(0, 0), 1);
        // Its hold expires, and another key's hold comes into the slot.
        made(&keys, 2, hold(0, 1));
        drop(stopped);
        assert_eq!((keys.look(1), keys.entries()), (Seen::Nothing, Ok((1, 1))));
    }

    #[test]
    fn a_key_whose_hold_is_gone_is_begun_anew_by_one() {
        let keys = Keys::new(9);
        made(&keys, 1, hold(0, 0));
        let gone = Named { hold: hold(0, 0), quantity: 1 };
        assert!(keys.begin(1, Some(Named { hold: hold(0, 9), quantity: 1 })).is_none(), "it has another hold");
        let mut begun = keys.begin(1, Some(gone)).unwrap();
        assert!(keys.begin(1, Some(gone)).is_none() && keys.resume(hold(0, 0)).is_none());
        begun.name(hold(4, 0), 1);
        drop(begun);
        assert_eq!((keys.of(0, 0), keys.of(4, 0), keys.entries()), (None, Some(1), Ok((1, 1))));
    }

    #[test]
    fn a_late_payment_takes_the_key_along_or_leaves_it() {
        let keys = Keys::new(9);
        made(&keys, 1, hold(0, 0));
        assert!(keys.resume(hold(0, 1)).is_none() && keys.resume(hold(1, 0)).is_none());
        let refused = keys.resume(hold(0, 0)).unwrap();
        assert_eq!(keys.look(1), Seen::UnderWay);
        drop(refused);
        assert_eq!(keys.look(1), Seen::Made(Named { hold: hold(0, 0), quantity: 1 }));
        for new in [hold(3, 8), hold(3, 9), hold(0, 1)] {
            let Seen::Made(Named { hold: old, .. }) = keys.look(1) else { panic!("made") };
            keys.resume(old).unwrap().name(new, 1);
            assert_eq!(keys.look(1), Seen::Made(Named { hold: new, quantity: 1 }));
            assert_eq!((keys.of(old.slot, old.generation), keys.entries()), (None, Ok((1, 1))));
        }
    }

    #[test]
    fn a_sale_that_never_sees_a_key_has_no_maps() {
        let keys = Keys::new(1 << 26);
        assert_eq!((keys.look(1), keys.of(0, 0)), (Seen::Nothing, None));
        assert!(keys.resume(hold(0, 0)).is_none() && keys.maps.get().is_none());
    }
}
