//! Tokens and invitations in wrong hands, from outside: changed, of another sale or engine, used again, of an earlier
//! opening, and after the folder's secret was replaced.

use super::*;
use crate::{Audience, CancelError, ConfirmError, Ended, ExtendError, Invitation, TokenError};

const SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Every text that differs from this one in one character.
fn misspelt(text: &str) -> impl Iterator<Item = String> {
    (0..text.len()).flat_map(move |place| {
        let others = SYMBOLS.chars().filter(move |symbol| !text[place..].starts_with(*symbol));
        others.map(move |symbol| format!("{}{symbol}{}", &text[..place], &text[place + 1..]))
    })
}

/// Tries to end or move a hold of the sale with each of the texts; those that did.
fn that_do_something(sale: &Sale, texts: impl Iterator<Item = String>) -> Vec<String> {
    let refused = |error: TokenError| matches!(error, TokenError::Forged | TokenError::OtherEngine);
    let tokens = texts.filter_map(|text| Some((text.parse::<Token>().ok()?, text)));
    let does = |token: &Token| {
        let extended = !matches!(sale.extend(token, seconds(1)), Err(ExtendError::Token(error)) if refused(error));
        let paid = !matches!(sale.confirm(token, 9), Err(ConfirmError::Token(error)) if refused(error));
        let cancelled = !matches!(sale.cancel(token), Err(CancelError::Token(error)) if refused(error));
        extended || paid || cancelled
    };
    tokens.filter(|(token, _)| does(token)).map(|(_, text)| text).collect()
}

#[test]
fn a_token_with_any_other_character_ends_no_hold() {
    let world = World::in_memory();
    let sale = world.sale(books(9));
    let tokens: Vec<Token> = (0..9).map(|buyer| hold(&sale, buyer)).collect();
    for token in &tokens {
        assert_eq!(that_do_something(&sale, misspelt(&token.to_string())), [""; 0]);
    }
    assert_eq!((sale.audit().held, sale.audit().sold), (9, 0));
}

#[test]
fn control_a_genuine_token_among_the_guesses_is_found() {
    let world = World::in_memory();
    let sale = world.sale(books(9));
    let token = hold(&sale, 1).to_string();
    let guesses = misspelt(&token).take(100).chain([token.clone()]);
    assert_eq!(that_do_something(&sale, guesses), [token]);
}

#[test]
fn a_token_of_another_sale_or_engine_ends_no_hold() {
    let [ours, theirs] = [World::in_memory(), World::in_memory()];
    let [books_here, cards_here] = ["books", "cards"].map(|name| ours.sale(SaleSpec::new(name, 9)));
    let books_there = theirs.sale(SaleSpec::new("books", 9));
    let (here, there) = (hold(&cards_here, 1), hold(&books_there, 1));
    hold(&books_here, 1);
    let refusal = books_here.cancel(&here).unwrap_err();
    assert!(matches!(refusal, CancelError::Token(TokenError::OtherSale { sale }) if sale.as_str() == "cards"));
    assert_eq!(that_do_something(&books_here, [there.to_string()].into_iter()), [""; 0]);
    assert_eq!((books_here.audit().held, cards_here.audit().held, books_there.audit().held), (1, 1, 1));
}

#[test]
fn a_token_that_was_used_sells_nothing_again_also_after_a_restart() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(2));
    let (paid, cancelled) = (hold(&sale, 1), hold(&sale, 2));
    let Confirmation::Confirmed(receipt) = pay(&sale, &paid) else { panic!("it was held") };
    sale.cancel(&cancelled).unwrap();
    let again = |sale: &Sale| {
        for _ in 0..3 {
            assert!(matches!(pay(sale, &paid), Confirmation::AlreadyConfirmed(same) if same == receipt));
            assert_eq!(sale.cancel(&paid), Err(CancelError::Ended(Ended::Confirmed)));
            assert_eq!(pay(sale, &cancelled), Confirmation::CancelledBefore);
        }
        assert_eq!((sale.audit().sold, sale.audit().free), (1, 1));
    };
    again(&sale);
    // Somebody else's hold comes into the slot: the old token doesn't reach it.
    world.engine.sync().unwrap();
    drop((sale, world));
    let world = World::open(&dir);
    let sale = world.engine.sale("books").unwrap();
    again(&sale);
    // Until no slot is left that was never used: then the one that came back last is taken next.
    for _ in 0..200 {
        sale.cancel(&hold(&sale, 3)).unwrap();
    }
    let stale = hold(&sale, 2);
    sale.cancel(&stale).unwrap();
    let next = hold(&sale, 3);
    assert_eq!(sale.cancel(&stale), Err(CancelError::Ended(Ended::LongAgo)), "its slot was used again");
    assert_eq!(pay(&sale, &stale), Confirmation::HoldForgotten);
    assert_eq!(sale.audit().held, 1);
    assert!(matches!(pay(&sale, &next), Confirmation::Confirmed(_)));
}

#[test]
fn tokens_of_earlier_openings_are_good_until_their_holds_end() {
    let (_parent, dir) = folder();
    let mut tokens: Vec<Token> = Vec::new();
    for opening in 0..6 {
        let world = World::open(&dir);
        let sale = world.engine.sale("books").unwrap_or_else(|_| world.sale(books(9)));
        for token in &tokens {
            sale.extend(token, millis(1)).unwrap();
        }
        tokens.push(hold(&sale, opening));
        world.engine.sync().unwrap();
    }
    let distinct: BTreeSet<String> = tokens.iter().map(|token| token.to_string()[..2].to_owned()).collect();
    assert!(distinct.len() > 1, "each opening has keys of its own, and says so in its tokens: {distinct:?}");
    let world = World::open(&dir);
    let sale = world.engine.sale("books").unwrap();
    for token in &tokens {
        assert!(matches!(pay(&sale, token), Confirmation::Confirmed(_)));
    }
}

/// The secret of another journal is put into the folder, as after the first one has leaked.
fn replace_secret(dir: &Path) {
    let (_parent, other) = folder();
    drop(World::open(&other));
    std::fs::copy(other.join("secret"), dir.join("secret")).unwrap();
}

#[test]
fn a_replaced_secret_voids_tokens_invitations_and_names_and_keeps_every_sale_and_hold() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (sale, invited) = (world.sale(books(3)), world.sale(SaleSpec::new("pro", 3).audience(Audience::Invited)));
    let (paid, held) = (hold(&sale, 1), hold(&sale, 2));
    assert!(matches!(pay(&sale, &paid), Confirmation::Confirmed(_)));
    let (invitation, named): (Invitation, Buyer) = (invited.invitation(7), world.engine.buyer(b"li.wei"));
    let before = world.engine.audit();
    world.engine.sync().unwrap();
    drop((sale, invited, world));
    replace_secret(&dir);

    let world = World::open(&dir);
    let (sale, invited) = (world.engine.sale("books").unwrap(), world.engine.sale("pro").unwrap());
    let mut after = world.engine.audit();
    assert_eq!(after, before, "nothing is lost");
    for old in [paid, held] {
        let refusal = sale.cancel(&old).unwrap_err();
        assert!(matches!(refusal, CancelError::Token(TokenError::Forged | TokenError::OtherEngine)), "{refusal}");
    }
    assert!(invited.request(7).invitation(&invitation).reserve().is_err());
    assert!(invited.request(7).invitation(&invited.invitation(7)).reserve().is_ok());
    assert_ne!(world.engine.buyer(b"li.wei"), named, "names become other buyers");
    // A hold that nobody can pay any more ends by itself.
    world.pass(seconds(70));
    after = world.engine.audit();
    assert_eq!((after[0].sold, after[0].held, after[0].free), (1, 0, 2));
}
