//! Who is let in: audiences and their invitations, and tokens that nobody was given or that are good no longer.
//!
//! What holds, or is found: nobody outside a sale's audience gets a hold or a place, and nobody inside is kept out; a
//! token that was changed, guessed, brought to another sale, or whose hold has ended, is answered as documented, and
//! touches nothing.

use super::{
    BUYERS, Flaw, Run,
    oracle::{BASKET, Checked, NAMES, Standing, ensure},
};
use crate::{
    AcceptError, CancelError, ConfirmError, ExtendError, Invitation, Rejection, Token, TokenError, UnitsError,
};

/// No payment has this number.
const NO_PAYMENT: u64 = 0;
const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// An invitation that a buyer has brought, and whether it is the right one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brought {
    pub(super) invitation: Invitation,
    pub(super) is_right: bool,
}

impl Run {
    /// Invitations are handed out, once for all lives.
    pub(super) fn invite(&mut self) {
        for (number, sale) in self.world.engine.sales().iter().enumerate().take(NAMES.len()) {
            for buyer in 0..BUYERS {
                self.oracle.invitations.insert((number, buyer), sale.invitation(buyer).to_string());
            }
        }
    }

    /// What `buyer` brings along: nothing, the invitation, or a wrong one.
    pub(super) fn brings(&mut self, number: usize, buyer: u64) -> Option<Brought> {
        let invited = self.oracle.audiences[number].0 == crate::Audience::Invited;
        if !self.dice.one_in(if invited { 2 } else { 8 }) {
            return None;
        }
        let right = self.oracle.invitations[&(number, buyer)].clone();
        let mut text = match self.dice.below(8) {
            0 => self.oracle.invitations[&(number, self.dice.below(BUYERS))].clone(),
            1 => self.oracle.invitations[&(self.dice.place(NAMES.len()).unwrap_or_default(), buyer)].clone(),
            _ => right.clone(),
        };
        if self.dice.one_in(8) {
            text = self.changed(&text);
        }
        let is_right = text == right;
        // Some texts are no invitation at all, and nobody can bring them.
        text.parse().ok().map(|invitation| Brought { invitation, is_right })
    }

    /// With another character somewhere.
    fn changed(&mut self, text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        let at = self.dice.place(text.len()).unwrap_or_default();
        let other = ALPHABET[self.dice.place(ALPHABET.len()).unwrap_or_default()];
        text[at] = if text[at] == other { ALPHABET[usize::from(other == ALPHABET[0])] } else { other };
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Whether who was let in, or is kept out, should be; whoever comes with another's invitation should not.
    pub(super) fn check_door(
        &mut self,
        number: usize,
        buyer: u64,
        brought: Option<Brought>,
        refused: Option<&Rejection>,
    ) -> Checked {
        let is_right = brought.is_none_or(|brought| brought.is_right);
        let admits = self.oracle.admits(number, buyer, brought.is_some(), self.world.engine.now());
        let (name, told) = (NAMES[number], self.oracle.audiences[number].clone());
        match refused {
            None => {
                let stranger = !is_right || admits == Some(false);
                ensure!(!stranger, "G8: buyer {buyer} got into {name} with {brought:?}, and it is for {told:?}");
            }
            Some(Rejection::BadInvitation) => {
                self.tried.strangers += 1;
                ensure!(!is_right, "G8: buyer {buyer} was told that {brought:?} to {name} is bad");
            }
            Some(Rejection::NotEligible | Rejection::NotEligibleYet { .. }) => {
                self.tried.strangers += 1;
                ensure!(admits != Some(true), "G8: buyer {buyer} was kept out of {name}, and it is for {told:?}");
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The token with which a door asks: the one that was brought, if the door is none of the broken ones.
    pub(super) fn through_the_door(&self, token: &Token) -> Token {
        let tickets = &self.oracle.tickets;
        let other = match self.flaw {
            Some(Flaw::UncheckedTag) => {
                let head = |token: &Token| token.as_u128() >> 64;
                tickets.iter().find(|ticket| head(&ticket.token) == head(token))
            }
            Some(Flaw::SlotForToken) => {
                let at = tickets.iter().position(|ticket| ticket.token == *token);
                let old = at.filter(|at| tickets[*at].standing() == Standing::Over);
                old.and_then(|at| {
                    tickets[at..]
                        .iter()
                        .find(|next| next.place == tickets[at].place && next.standing() == Standing::Held)
                })
            }
            _ => None,
        };
        other.map_or(*token, |other| other.token)
    }

    /// Somebody comes with a token that nobody was given, with one of another sale, or with an old one.
    pub(super) fn meddle(&mut self, number: usize) -> Checked {
        let Some(index) = self.pick() else { return Ok(()) };
        let (place, token) = (self.oracle.tickets[index].place, self.oracle.tickets[index].token);
        let before = self.world.engine.audit();
        match self.dice.below(6) {
            0..3 => {
                let text = self.changed(&token.to_string());
                // Some texts are no token at all.
                let Ok(token) = text.parse() else { return Ok(()) };
                for place in [place, number, BASKET] {
                    self.is_unknown(place, &token)?;
                }
            }
            3 => {
                let text: Vec<u8> = (0..25).map(|_| ALPHABET[self.dice.place(32).unwrap_or_default()]).collect();
                let token =
                    format!("{}0", String::from_utf8_lossy(&text)).parse().map_err(|why| format!("G8: {why}"))?;
                self.is_unknown(place, &token)?;
            }
            4 => {
                let other = (place + 1 + self.dice.place(BASKET).unwrap_or_default()) % (BASKET + 1);
                let told = self.refusals(other, &token)?;
                let right = |told: &TokenError| match told {
                    TokenError::Basket => place == BASKET,
                    TokenError::OtherSale { sale } => place != BASKET && sale.as_str() == NAMES[place],
                    _ => false,
                };
                ensure!(told.iter().all(right), "G8: a token of {place} at {other}: {told:?}");
            }
            _ => {
                let old = |index: &usize| self.oracle.tickets[*index].standing() == Standing::Over;
                let Some(index) = (0..=index).rev().find(old) else { return Ok(()) };
                self.is_old(index)?;
            }
        }
        self.tried.tokens += 1;
        let after = self.world.engine.audit();
        ensure!(before == after, "G8: a bad token has touched something: {before:?} became {after:?}");
        Ok(())
    }

    fn is_unknown(&self, place: usize, token: &Token) -> Checked {
        let told = self.refusals(place, token)?;
        let unknown = |told: &TokenError| matches!(told, TokenError::Forged | TokenError::OtherEngine);
        ensure!(told.iter().all(unknown), "G8: {token}, that nobody was given, at {place}: {told:?}");
        Ok(())
    }

    /// What each door of `place` says against the token.
    fn refusals(&self, place: usize, token: &Token) -> Checked<Vec<TokenError>> {
        let mut told = vec![
            match self.report(place, token, NO_PAYMENT) {
                Err(ConfirmError::Token(why)) => Ok(why),
                other => Err(format!("{:?}", other.map(drop))),
            },
            match self.cancel_by(place, token) {
                Err(CancelError::Token(why)) => Ok(why),
                other => Err(format!("{other:?}")),
            },
            match self.extend_by(place, token, super::HOLD) {
                Err(ExtendError::Token(why)) => Ok(why),
                other => Err(format!("{other:?}")),
            },
        ];
        if place != BASKET {
            let token = &self.through_the_door(token);
            told.push(match self.sale(place).accept(token) {
                Err(AcceptError::Token(why)) => Ok(why),
                other => Err(format!("{other:?}")),
            });
            told.push(match self.sale(place).units(token) {
                Err(UnitsError::Token(why)) => Ok(why),
                other => Err(format!("{other:?}")),
            });
        }
        told.into_iter().collect::<Result<_, _>>().map_err(|taken| format!("G8: {token} was taken at {place}: {taken}"))
    }

    /// The token of a hold that has ended unsold.
    fn is_old(&self, index: usize) -> Checked {
        let (place, token) = (self.oracle.tickets[index].place, self.oracle.tickets[index].token);
        let cancelled = self.cancel_by(place, &token);
        ensure!(matches!(cancelled, Err(CancelError::Ended(_))), "G8: an old token has cancelled: {cancelled:?}");
        let extended = self.extend_by(place, &token, super::HOLD);
        ensure!(matches!(extended, Err(ExtendError::Ended(_))), "G8: an old token has extended: {extended:?}");
        if place != BASKET {
            let token = self.through_the_door(&token);
            let accepted = self.sale(place).accept(&token);
            ensure!(matches!(accepted, Err(AcceptError::Ended(_))), "G8: an old token has accepted: {accepted:?}");
            let units = self.sale(place).units(&token);
            ensure!(matches!(units, Err(UnitsError::Ended(_))), "G8: an old token shows units: {units:?}");
        }
        Ok(())
    }
}
