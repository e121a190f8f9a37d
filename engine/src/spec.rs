//! What is put on sale: one SKU, in a window, under rules.

use std::{hash::Hasher, sync::Arc, time::Duration};

use siphasher::sip::SipHasher24;

use crate::core::{Buyer, MAX_CAP, MAX_STOCK, Timestamp};

mod units;

pub use units::FaceError;
pub(crate) use units::{check_labels, check_numbers};

/// The longest hold, grace included: 366 days.
pub(crate) const LONGEST_HOLD: Duration = Duration::from_hours(366 * 24);

/// Who may buy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Audience {
    /// Whoever comes.
    #[default]
    Everyone,
    /// Only buyers who were registered with [`Sale::register`](crate::Sale::register).
    Registered,
    /// Only buyers who were registered for the sale of this name, which must be there before.
    RegisteredFor(String),
    /// Only buyers who have bought in the sale of this name, which must be there before.
    BuyersOf(String),
    /// Only buyers who bring their invitation.
    Invited,
}

/// What tells one unit of a sale from another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Units {
    /// Nothing: any unit is as good as any other.
    #[default]
    Alike,
    /// A number, counted up from `first`.
    Numbered {
        /// The first unit's number.
        first: u32,
    },
    /// A label of its own: a seat, a serial, a coupon code; as many as there are units.
    Listed(Arc<[Box<str>]>),
    /// An amount of money; all of them add up to a budget.
    Amounts(Amounts),
}

/// Random amounts that add up to a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// The sum of all amounts, in cents.
    pub budget: u64,
    /// The smallest amount, in cents.
    pub floor: u32,
    /// The largest amount, in cents.
    pub ceiling: u32,
    /// The same seed gives the same amounts.
    pub seed: u64,
}

/// A queue for the time in which every unit is on hold or sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waitlist {
    /// How many may wait at the same time.
    pub room: u32,
    /// How long who is offered a unit has to accept or pay it.
    pub accept_within: Duration,
    /// Who is next.
    pub order: WaitOrder,
}

/// Who is next on a waitlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WaitOrder {
    /// Whoever joined first.
    #[default]
    FirstCome,
    /// Whom the lot falls on, by a rule and a seed that anyone can check.
    Lottery {
        /// The seed, to be published.
        seed: u64,
    },
}

impl WaitOrder {
    /// What `buyer` draws in a lottery with this seed: the lowest is first, and of two that are equal, who joined
    /// first.
    ///
    /// It is SipHash-2-4 with 64 bits under a key of two words, the seed and zero, over the upper and the lower 64
    /// bits of the buyer's number, each as 8 bytes, little endian; the key's words are little endian, too. Anyone can
    /// compute it who knows seed and buyer: publish the seed when the list is closed, or let buyers be known by
    /// [`Engine::buyer`](crate::Engine::buyer), whose numbers nobody can choose.
    #[must_use]
    pub fn draw(seed: u64, buyer: Buyer) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(seed, 0);
        let (high, low) = buyer.words();
        hasher.write(&high.to_le_bytes());
        hasher.write(&low.to_le_bytes());
        hasher.finish()
    }
}

/// The rules of one sale.
///
/// Defaults: one unit a buyer, one unit a hold, fifteen minutes to pay and two seconds of grace, open at once,
/// never closing, open to everyone.
///
/// ```
/// use sellout::{Engine, SaleSpec};
/// use std::time::Duration;
///
/// let engine = Engine::in_memory();
/// let spec = SaleSpec::new("festival", 5_000).cap(4).largest(4).hold_for(Duration::from_secs(600));
/// assert_eq!((spec.cap, spec.opens_at), (4, None));
/// let sale = engine.create(spec)?;
/// # Ok::<(), sellout::CreateError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct SaleSpec {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// Units at the start.
    pub stock: u32,
    /// Units a buyer, held and bought together.
    pub cap: u32,
    /// Units a hold.
    pub largest: u32,
    /// How long a buyer has to pay.
    pub hold: Duration,
    /// How long after its deadline a hold is still kept.
    pub grace: Duration,
    /// From when units may be had.
    pub opens_at: Option<Timestamp>,
    /// From when no new hold is made.
    pub closes_at: Option<Timestamp>,
    /// Who may buy.
    pub audience: Audience,
    /// From when everyone may buy.
    pub everyone_from: Option<Timestamp>,
    /// From when buyers may be registered.
    pub registers_from: Option<Timestamp>,
    /// From when no buyer is registered any more.
    pub registers_until: Option<Timestamp>,
    /// When registered buyers are reminded.
    pub reminds_at: Option<Timestamp>,
    /// When registered buyers get their purchase link.
    pub links_at: Option<Timestamp>,
    /// What tells one unit from another.
    pub units: Units,
    /// A queue for the time in which nothing is free.
    pub waitlist: Option<Waitlist>,
}

/// Why a spec can't become a sale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The name is empty, too long or has other characters.
    #[error("sale name {name:?}: use 1 to 64 of A-Z a-z 0-9 . _ -")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The stock is 0 or beyond what one sale can have.
    #[error("a stock of {stock} can't be sold: use 1 to {MAX_STOCK} units")]
    Stock {
        /// The stock as given.
        stock: u32,
    },
    /// The cap is 0 or beyond what is counted.
    #[error("a cap of {cap} units a buyer: use 1 to {MAX_CAP}")]
    Cap {
        /// The cap as given.
        cap: u32,
    },
    /// One hold could be larger than the cap, or nothing.
    #[error("a largest hold of {largest} units with a cap of {cap} a buyer: use 1 to the cap")]
    Largest {
        /// The largest quantity as given.
        largest: u32,
        /// The cap as given.
        cap: u32,
    },
    /// The hold or its grace is zero, finer than a millisecond, or too long.
    #[error("a hold of {hold:?} with a grace of {grace:?}: use at least 1 ms each and at most 366 days together")]
    Hold {
        /// The hold as given.
        hold: Duration,
        /// The grace as given.
        grace: Duration,
    },
    /// Registration ends before it begins.
    #[error("registration would end at {until}, not after it begins at {from}: move one of them")]
    Registration {
        /// When it would begin.
        from: Timestamp,
        /// When it would end.
        until: Timestamp,
    },
    /// It closes before it opens.
    #[error("the sale would close at {closes_at}, not after it opens at {opens_at}: move one of them")]
    Window {
        /// When it would open.
        opens_at: Timestamp,
        /// When it would close.
        closes_at: Timestamp,
    },
    /// Nobody could wait, or an offer would last no time, or too long together with the grace.
    #[error("a waitlist with room for {room}, and {accept_within:?} to accept: use at least 1, and 1 ms to 366 days")]
    Waitlist {
        /// The room as given.
        room: u32,
        /// The time to accept as given.
        accept_within: Duration,
    },
    /// Its units can't have these faces.
    #[error(transparent)]
    Units(#[from] FaceError),
}

impl SaleSpec {
    /// A sale called `name` of `stock` units, with the defaults for everything else.
    pub fn new(name: impl Into<String>, stock: u32) -> Self {
        Self {
            name: name.into(),
            stock,
            cap: 1,
            largest: 1,
            hold: Duration::from_mins(15),
            grace: Duration::from_secs(2),
            opens_at: None,
            closes_at: None,
            audience: Audience::Everyone,
            everyone_from: None,
            registers_from: None,
            registers_until: None,
            reminds_at: None,
            links_at: None,
            units: Units::Alike,
            waitlist: None,
        }
    }

    /// At most `units` a buyer, held and bought together.
    pub fn cap(mut self, units: u32) -> Self {
        self.cap = units;
        self
    }

    /// At most `units` in one hold. With 1, the default, the sale uses the striped permits.
    pub fn largest(mut self, units: u32) -> Self {
        self.largest = units;
        self
    }

    /// How long a buyer has to pay.
    pub fn hold_for(mut self, span: Duration) -> Self {
        self.hold = span;
        self
    }

    /// How long after its deadline a hold is still kept for a payment that is on its way.
    pub fn grace(mut self, span: Duration) -> Self {
        self.grace = span;
        self
    }

    /// The instant from which units may be had.
    pub fn opens_at(mut self, instant: Timestamp) -> Self {
        self.opens_at = Some(instant);
        self
    }

    /// The instant from which no new hold is made; holds already made may still be paid.
    pub fn closes_at(mut self, instant: Timestamp) -> Self {
        self.closes_at = Some(instant);
        self
    }

    /// Who may buy.
    pub fn audience(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// The instant from which everyone may buy, whatever the audience.
    pub fn everyone_from(mut self, instant: Timestamp) -> Self {
        self.everyone_from = Some(instant);
        self
    }

    /// The instant from which buyers may be registered.
    pub fn registers_from(mut self, instant: Timestamp) -> Self {
        self.registers_from = Some(instant);
        self
    }

    /// The instant from which no buyer is registered any more.
    pub fn registers_until(mut self, instant: Timestamp) -> Self {
        self.registers_until = Some(instant);
        self
    }

    /// When registered buyers are reminded of the sale.
    pub fn reminds_at(mut self, instant: Timestamp) -> Self {
        self.reminds_at = Some(instant);
        self
    }

    /// When registered buyers get their purchase link.
    pub fn links_at(mut self, instant: Timestamp) -> Self {
        self.links_at = Some(instant);
        self
    }

    /// What tells one unit from another: see [`Hold::units`](crate::Hold::units).
    ///
    /// ```
    /// use sellout::{Amounts, Engine, Face, SaleSpec, Units};
    ///
    /// let gifts = Units::Amounts(Amounts { budget: 600_00, floor: 1, ceiling: 200_00, seed: 7 });
    /// let sale = Engine::in_memory().create(SaleSpec::new("gifts", 300).units(gifts))?;
    /// let hold = sale.reserve(7, 1)?;
    /// let [unit] = &hold.units()[..] else { panic!("one unit") };
    /// assert!(matches!(unit.face, Face::Amount(1..=200_00)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn units(mut self, units: Units) -> Self {
        self.units = units;
        self
    }

    /// A queue for the time in which nothing is free.
    pub fn waitlist(mut self, waitlist: Waitlist) -> Self {
        self.waitlist = Some(waitlist);
        self
    }

    /// The sale's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whether the rules can be kept.
    ///
    /// # Errors
    /// [`SpecError`] names the first rule that can't.
    pub fn check(&self) -> Result<(), SpecError> {
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(proper) {
            return Err(SpecError::Name { name: self.name.clone() });
        }
        if self.stock == 0 || self.stock > MAX_STOCK {
            return Err(SpecError::Stock { stock: self.stock });
        }
        if self.cap == 0 || self.cap > MAX_CAP {
            return Err(SpecError::Cap { cap: self.cap });
        }
        if self.largest == 0 || self.largest > self.cap {
            return Err(SpecError::Largest { largest: self.largest, cap: self.cap });
        }
        let millisecond = Duration::from_millis(1);
        let together = self.hold.saturating_add(self.grace);
        if self.hold < millisecond || self.grace < millisecond || together > LONGEST_HOLD {
            return Err(SpecError::Hold { hold: self.hold, grace: self.grace });
        }
        if let (Some(opens_at), Some(closes_at)) = (self.opens_at, self.closes_at)
            && closes_at <= opens_at
        {
            return Err(SpecError::Window { opens_at, closes_at });
        }
        if let Some(Waitlist { room, accept_within, .. }) = self.waitlist
            && (room == 0 || accept_within < millisecond || accept_within.saturating_add(self.grace) > LONGEST_HOLD)
        {
            return Err(SpecError::Waitlist { room, accept_within });
        }
        if let (Some(from), Some(until)) = (self.registers_from, self.registers_until)
            && until <= from
        {
            return Err(SpecError::Registration { from, until });
        }
        self.units.check(self.stock)?;
        Ok(())
    }
}
