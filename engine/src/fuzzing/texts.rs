//! What comes from outside as text: none of it panics, has a second spelling, or opens what it should not.

use std::sync::LazyLock;

use crate::{Audience, Buyer, Engine, Invitation, MessageId, PaymentId, RequestKey, Sale, SaleSpec, Token};

/// An engine with a hold and an invitation, and their texts.
struct Shop {
    sale: Sale,
    invited: Sale,
    token: Token,
}

static SHOP: LazyLock<Shop> = LazyLock::new(|| {
    let engine = Engine::options().secret([7; 32]).stripes(1).in_memory();
    let sale = engine.create(SaleSpec::new("mx3", 9)).expect("the rules can be kept");
    let invited = engine.create(SaleSpec::new("pro", 9).audience(Audience::Invited)).expect("the rules can be kept");
    let token = sale.reserve(7, 1).expect("it is free").token();
    Shop { sale, invited, token }
});

/// The input: a byte that says what the rest is, and the text.
///
/// # Panics
/// If it has a second spelling, opens what it should not, or shows a secret.
pub fn texts(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let Ok(text) = str::from_utf8(bytes) else { return };
    match kind % 6 {
        0 => token(text),
        1 => invitation(text),
        2 => {
            if let Ok(id) = text.parse::<MessageId>() {
                assert_eq!(id.to_string(), text, "a second spelling");
            }
        }
        3 => {
            let (key, payment) = (RequestKey::new(text), PaymentId::new(text));
            assert_eq!(key.is_ok(), payment.is_ok());
            if let (Ok(key), Ok(payment)) = (key, payment) {
                assert_eq!((key.as_str(), payment.as_str()), (text, text));
            }
        }
        4 => {
            let named = SaleSpec::new(text, 1).check().is_ok();
            assert!(!named || text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?} is a sale's name");
        }
        _ => url(text),
    }
}

fn token(text: &str) {
    let Ok(token) = text.parse::<Token>() else { return };
    assert_eq!(token.to_string().parse(), Ok(token));
    assert!(token == SHOP.token || SHOP.sale.extend(&token, std::time::Duration::from_millis(1)).is_err(), "{text}");
}

fn invitation(text: &str) {
    let Ok(invitation) = text.parse::<Invitation>() else { return };
    assert_eq!(invitation.to_string().parse(), Ok(invitation));
    for buyer in [7, 8] {
        let own = invitation == SHOP.invited.invitation(Buyer::from(buyer));
        if let Ok(hold) = SHOP.invited.request(buyer).invitation(&invitation).reserve() {
            assert!(own, "{text} lets {buyer} in");
            let _ended = SHOP.invited.cancel(&hold.token());
        }
    }
}

/// A URL with a password in it: what is said about it never shows the password.
#[cfg(feature = "redis")]
fn url(text: &str) {
    const PASSWORD: &str = "hunter2-9f31c2";
    // Who writes the password into a host or a path has told it; what reads URLs passes over tabs and line ends.
    if text.chars().filter(|letter| !letter.is_control()).collect::<String>().contains(PASSWORD) {
        return;
    }
    let (before, after) = text.split_once('\n').unwrap_or((text, "localhost"));
    for url in [
        format!("redis://{before}:{PASSWORD}@{after}"),
        format!("rediss://:{PASSWORD}@{before}{after}"),
        format!("redis+unix:///{before}?pass={PASSWORD}&{after}"),
        format!("valkey://{before}:{PASSWORD}@{after}"),
    ] {
        let shown = crate::ledger::shown(&url);
        assert!(!shown.contains(PASSWORD), "{url} shows its password: {shown}");
    }
}

#[cfg(not(feature = "redis"))]
const fn url(_text: &str) {}
