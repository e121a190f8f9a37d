//! A request for units: who asks, for how many, and by which key, if asking twice is to give one hold.
//!
//! ```text
//! the key's first attempt   answer
//! none, or refused          as `reserve`: a new attempt
//! under way                 AttemptUnderWay
//! has made a hold           the same hold: same token, its present deadline
//! .. that has ended         HoldEnded, and how; a new attempt once the slot was used again
//! .. of another quantity    KeyReused
//! ```
//!
//! A request without a key is `Sale::reserve`: it takes no lock and looks nothing up. One with a key looks into the
//! maps of `keys` before anything else: an answer that was given once is given again when the sale is paused, closed
//! or sold out.

use std::fmt;

use super::{
    answers::Rejection,
    keys::{self, KeyHash, Named, Seen},
    sale::{Hold, Sale, ended},
    waitlist::{JoinError, Place},
};
use crate::{
    core::{
        Buyer, Invitation,
        allocator::{Share, Standing},
    },
    text::{ShortText, Unfit},
};

/// The name that a client gives to one request, to ask twice and buy once: 1 to 64 bytes of printable ASCII.
///
/// A key belongs to one buyer and one sale: two buyers may use the same text.
///
/// ```
/// use sellout::RequestKey;
///
/// let key = RequestKey::new("7f6c0a52-checkout")?;
/// assert_eq!(key.as_str(), "7f6c0a52-checkout");
/// # Ok::<(), sellout::RequestKeyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey(ShortText);

/// Why a text can't be a request's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestKeyError {
    /// It is empty, or longer than 64 bytes.
    #[error("a request's key has 1 to 64 bytes, this one has {length}: use a UUID, or hash it")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// It has a byte that isn't printable ASCII.
    #[error("a request's key is printable ASCII without spaces, this one has byte 0x{byte:02x} at {at}: encode it")]
    Byte {
        /// The offending byte.
        byte: u8,
        /// Its place, from 0.
        at: usize,
    },
}

impl RequestKey {
    /// Takes the client's text.
    ///
    /// # Errors
    /// [`RequestKeyError`] if the text is empty, longer than 64 bytes, or not printable ASCII without spaces.
    pub fn new(text: &str) -> Result<Self, RequestKeyError> {
        ShortText::new(text).map(Self).map_err(|unfit| match unfit {
            Unfit::Length(length) => RequestKeyError::Length { length },
            Unfit::Byte { byte, at } => RequestKeyError::Byte { byte, at },
        })
    }

    /// The client's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestKey({self})")
    }
}

/// A request for units of a sale, made with [`Sale::request`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a request asks for nothing before `reserve`"]
pub struct Request<'sale> {
    sale: &'sale Sale,
    buyer: Buyer,
    quantity: u32,
    invitation: Option<Invitation>,
    key: Option<RequestKey>,
}

impl Sale {
    /// A request of `buyer` for one unit, to be refined and then [reserved](Request::reserve).
    ///
    /// ```
    /// use sellout::{Ended, Engine, Rejection, RequestKey, SaleSpec};
    ///
    /// let engine = Engine::in_memory();
    /// let sale = engine.create(SaleSpec::new("books", 200).cap(4).largest(4))?;
    /// let key = RequestKey::new("7f6c0a52-checkout")?;
    ///
    /// let token = sale.request(7).quantity(2).key(&key).reserve()?.token();
    /// // The answer was lost on its way, and the client asks again.
    /// assert_eq!(sale.request(7).quantity(2).key(&key).reserve()?.token(), token);
    /// assert_eq!(sale.audit().held, 2);
    ///
    /// sale.cancel(&token)?;
    /// let again = sale.request(7).quantity(2).key(&key).reserve();
    /// assert_eq!(again.unwrap_err(), Rejection::HoldEnded { token, how: Ended::Cancelled });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(&self, buyer: impl Into<Buyer>) -> Request<'_> {
        Request { sale: self, buyer: buyer.into(), quantity: 1, invitation: None, key: None }
    }
}

impl<'sale> Request<'sale> {
    /// How many units: by default one.
    pub fn quantity(mut self, quantity: u32) -> Self {
        self.quantity = quantity;
        self
    }

    /// What lets the buyer in, where the sale is for [the invited](crate::Audience::Invited).
    pub fn invitation(mut self, invitation: &Invitation) -> Self {
        self.invitation = Some(*invitation);
        self
    }

    /// The request's name: however often it is asked, it makes one hold, also across a restart.
    ///
    /// A hold that a crash has lost before it was journaled is made anew. A key outlives its hold until the hold's
    /// slot is used again, at most until the next opening of the engine; from then on it makes a new hold.
    pub fn key(mut self, key: &RequestKey) -> Self {
        self.key = Some(*key);
        self
    }

    /// Puts the units on hold. Without a key as [`Sale::reserve`], which takes no lock; with one, a lock of a map is
    /// held for a look-up.
    ///
    /// # Errors
    /// [`Rejection`] says why not. With a key, [`Rejection::AttemptUnderWay`] while the key's first attempt is being
    /// decided, [`Rejection::HoldEnded`] once its hold has ended, and [`Rejection::KeyReused`] if the quantity is
    /// another. A request that was refused leaves nothing: asking again is a new attempt.
    #[inline]
    pub fn reserve(self) -> Result<Hold<'sale>, Rejection> {
        let Self { sale, buyer, quantity, invitation, key } = self;
        match key {
            None => sale.reserve_admitted(buyer, quantity, invitation.as_ref()),
            Some(key) => {
                let key = keys::hash(&sale.engine.request_key, buyer, key.as_str());
                sale.reserve_once(buyer, quantity, invitation.as_ref(), key)
            }
        }
    }

    /// Puts the buyer on the waitlist, as [`Sale::join`] does, with the invitation if there is one. A place is for one
    /// unit, and joining twice gives the same place: quantity and key are not looked at.
    ///
    /// # Errors
    /// As [`Sale::join`].
    pub fn join(self) -> Result<Place, JoinError> {
        self.sale.join_invited(self.buyer, self.invitation.as_ref())
    }
}

impl Sale {
    fn reserve_once(
        &self,
        buyer: Buyer,
        quantity: u32,
        invitation: Option<&Invitation>,
        key: KeyHash,
    ) -> Result<Hold<'_>, Rejection> {
        let keys = &self.inner.keys;
        loop {
            let gone = match keys.look(key) {
                Seen::UnderWay => return Err(Rejection::AttemptUnderWay),
                Seen::Made(named) => match self.again(named, quantity) {
                    Some(answer) => return answer,
                    None => Some(named),
                },
                Seen::Nothing => None,
            };
            // Only now: the cap may have been lowered since the key's hold was made.
            self.check_quantity(quantity)?;
            // Most of a crowd ends here, and leaves nothing in the maps even for a moment.
            self.admit_sale(self.engine.now())?;
            // If that fails, another request with this key came in between.
            if let Some(mut begun) = keys.begin(key, gone) {
                let key_epoch = self.engine.keys.key_epoch();
                let name = |slot| begun.name(self.inner.allocator.next_hold(slot, key_epoch), quantity);
                let made = self.make(buyer, quantity, invitation, name)?;
                drop(begun);
                return Ok(self.held(buyer, quantity, made));
            }
        }
    }

    /// What a key is answered that has made a hold before; nothing if its slot was used again.
    fn again(&self, named: Named, asked: u32) -> Option<Result<Hold<'_>, Rejection>> {
        let Named { hold: id, quantity: first } = named;
        let standing = self.inner.allocator.standing(id);
        Some(match standing {
            Standing::Gone => return None,
            _ if asked != first => Err(Rejection::KeyReused { asked, first }),
            Standing::Held { share: Share { buyer, quantity }, due, .. } => {
                Ok(Hold { sale: self, id, buyer, quantity, deadline: self.inner.instant(due) })
            }
            standing => Err(Rejection::HoldEnded { token: self.token(id), how: ended(standing) }),
        })
    }
}
