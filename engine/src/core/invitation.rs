//! Invitations: what lets one buyer into one sale, as text that fits into a link.
//!
//! An invitation is a keyed hash, SipHash-2-4 with 128 bits, of the sale's number and the buyer. It is made again
//! whenever it is asked for: none is kept. Its key comes from the engine's secret and no opening, so a link that was
//! sent yesterday is good today; another engine's is not, and neither is another buyer's or another sale's.

use std::{fmt, hash::Hasher, str::FromStr};

use siphasher::sip128::{Hasher128, SipHasher24};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    Buyer,
    token::{BASE32, derive},
};

const TEXT: usize = 26;

/// What lets one buyer into one sale: 26 characters, letters and digits only, upper or lower case.
///
/// It is made by [`Sale::invitation`](crate::Sale::invitation), or comes with a purchase link, and nobody can make or
/// guess one. Whoever has it still has to be its buyer: with another's it is refused.
///
/// ```
/// use sellout::{Audience, Engine, Invitation, SaleSpec};
///
/// let engine = Engine::in_memory();
/// let sale = engine.create(SaleSpec::new("mx3", 2_099).audience(Audience::Invited))?;
/// let link = format!("https://shop.example/mx3?i={}", sale.invitation(7));
///
/// let invitation: Invitation = link[link.len() - 26..].parse()?;
/// assert!(sale.request(7).invitation(&invitation).reserve().is_ok());
/// assert!(sale.request(8).invitation(&invitation).reserve().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Invitation {
    tag: [u8; 16],
}

/// Why a text is no invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// The text doesn't have 26 characters.
    #[error("an invitation has 26 characters, this text has {length}: it was cut or padded on its way")]
    Length {
        /// Characters in the text.
        length: usize,
    },
    /// A character that no invitation has.
    #[error("an invitation has only letters and digits, not what stands at place {at}: it was damaged on its way")]
    Character {
        /// Its place, from 0.
        at: usize,
    },
}

/// Compared in constant time.
impl PartialEq for Invitation {
    fn eq(&self, other: &Self) -> bool {
        self.tag.ct_eq(&other.tag).into()
    }
}

impl Eq for Invitation {}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT];
        BASE32.encode_mut(&self.tag, &mut text);
        f.write_str(str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

/// Shows only the first characters, as a token does.
impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation({:.6}..)", self.to_string())
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        if text.len() != TEXT {
            return Err(InvitationError::Length { length: text.chars().count() });
        }
        let mut tag = [0; 16];
        match BASE32.decode_mut(text.as_bytes(), &mut tag) {
            Ok(16) => Ok(Self { tag }),
            Ok(_) => Err(InvitationError::Length { length: TEXT }),
            Err(partial) => Err(InvitationError::Character { at: partial.error.position }),
        }
    }
}

/// What makes invitations.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct InvitationKey([u8; 16]);

impl InvitationKey {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(derive(secret, b"invitation"))
    }

    /// The invitation of `buyer` to the sale with that number.
    pub(crate) fn invite(&self, sale: u32, buyer: Buyer) -> Invitation {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        let (high, low) = buyer.words();
        for word in [u64::from(sale), high, low] {
            hasher.write(&word.to_le_bytes());
        }
        Invitation { tag: hasher.finish128().as_bytes() }
    }
}

impl fmt::Debug for InvitationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationKey(..)")
    }
}

#[cfg(all(test, not(any(sellout_loom, sellout_shuttle))))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> InvitationKey {
        InvitationKey::new(&[7; 32])
    }

    proptest! {
        #[test]
        fn an_invitation_comes_back_as_itself_through_text_in_any_case(sale in any::<u32>(), number in any::<u64>()) {
            let invitation = key().invite(sale, Buyer::from(number));
            let text = invitation.to_string();
            prop_assert!(text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            for text in [text.clone(), text.to_lowercase(), text.replace('0', "o").replace('1', "I")] {
                prop_assert_eq!(text.parse::<Invitation>(), Ok(invitation));
            }
        }

        #[test]
        fn every_changed_bit_makes_another(sale in any::<u32>(), number in any::<u64>(), bit in 0_usize..128) {
            let invitation = key().invite(sale, Buyer::from(number));
            let mut changed = invitation;
            changed.tag[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(changed, invitation);
        }

        #[test]
        fn any_text_is_an_invitation_or_a_typed_refusal(text in ".{0,40}") {
            let _: Result<Invitation, InvitationError> = text.parse();
        }
    }

    #[test]
    fn another_buyer_sale_or_engine_has_another_one() {
        let theirs = Buyer::keyed(&[1; 16], b"li.wei");
        let [ours, other] = [[7; 32], [8; 32]].map(|secret| InvitationKey::new(&secret));
        let (one, two) = (Buyer::from(1), Buyer::from(2));
        let all = [
            ours.invite(0, one),
            ours.invite(0, two),
            ours.invite(0, theirs),
            ours.invite(1, one),
            other.invite(0, one),
        ];
        for (place, invitation) in all.iter().enumerate() {
            assert!(all[place + 1..].iter().all(|later| later != invitation));
        }
        assert_eq!(ours.invite(0, one), key().invite(0, one));
    }

    #[test]
    fn a_cut_or_padded_text_says_so() {
        assert_eq!("".parse::<Invitation>(), Err(InvitationError::Length { length: 0 }));
        assert_eq!("0".repeat(27).parse::<Invitation>(), Err(InvitationError::Length { length: 27 }));
        assert_eq!(("0".repeat(20) + "!00000").parse::<Invitation>(), Err(InvitationError::Character { at: 20 }));
    }
}
