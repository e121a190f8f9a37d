//! Meizu's flash sale of the MX3 inside Weibo, with 3 phones instead of 2,099, in its three stages. Register: get on
//! the list. Exchange: pay a cent for a coupon, a rehearsal of the payment. Grab: 1 April 2014, 10:00 sharp, with the
//! link that was sent to those who had registered. What the buyers hear comes from the outbox.

use std::{cell::RefCell, collections::HashMap, convert::Infallible, error::Error, sync::Arc, time::Duration};

use sellout::{
    Audience, Buyer, Callback, Engine, EnrollError, ManualClock, Message, MessageId, MessageKind, Rejection, SaleSpec,
    Timestamp,
};
use sellout_examples::{beijing, copy};

/// 26 March 2014, 10:00 in Beijing: the sale is announced.
const ANNOUNCED: Timestamp = Timestamp::from_millis(1_395_799_200_000);
/// Midnight of 1 April.
const MIDNIGHT: Timestamp = Timestamp::from_millis(1_396_281_600_000);

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (dir, twin) = (folder.path().join("sales.journal"), folder.path().join("twin.journal"));
    let clock = Arc::new(ManualClock::starting_at(ANNOUNCED));
    let engine = Engine::options().clock(clock.clone()).stripes(1).open(&dir)?;
    let grab = SaleSpec::new("mx3", 3)
        .audience(Audience::Invited)
        .registers_until(MIDNIGHT)
        .reminds_at(at(9, 30))
        .links_at(at(9, 50))
        .opens_at(at(10, 0))
        .everyone_from(at(10, 30));
    let phones = engine.create(grab)?;
    let exchange = SaleSpec::new("coupon", 1_000).audience(Audience::RegisteredFor("mx3".into())).closes_at(at(10, 0));
    let coupons = engine.create(exchange)?;
    let [li, han, zhao, chen, wang] = [1, 2, 3, 4, 5_u64].map(Buyer::from);

    // Whoever keeps the id of the last message, wherever the messages go, has each of them once.
    let links = RefCell::new(HashMap::new());
    let mut mail = Callback::after(MessageId::START, |message: &Message| {
        println!("          to {}: {}", name(message.buyer), text(message));
        if let MessageKind::PurchaseLink { invitation } = message.kind {
            links.borrow_mut().insert(message.buyer, invitation);
        }
        Ok::<_, Infallible>(())
    });
    let mut outbox = engine.outbox()?.expect("there is a journal");

    println!("-- register, from 26 March");
    phones.register(&[li, han, zhao, chen])?;
    println!("          Li, Han, Zhao and Chen are on the list\n-- exchange, a cent for a coupon");
    coupons.reserve(li, 1)?.confirm(1_001)?.wait()?;
    coupons.reserve(han, 1)?.confirm(1_002)?.wait()?;
    outbox.deliver(&mut mail)?;
    println!("          Wang tries: {}", coupons.reserve(wang, 1).expect_err("he isn't registered"));

    println!("-- grab, on 1 April");
    let say = |text: &str| println!("{}  {text}", beijing(engine.now()));
    clock.advance_to(MIDNIGHT);
    if let Err(EnrollError::Over { .. }) = phones.enroll(wang) {
        say("Wang comes too late to register");
    }
    for (instant, what) in [(at(9, 30), "reminders"), (at(9, 50), "links"), (at(10, 0), "it opens")] {
        clock.advance_to(instant);
        engine.tick(engine.now());
        say(what);
        outbox.deliver(&mut mail)?;
    }
    let grab = |buyer, whose| phones.request(buyer).invitation(&links.borrow()[&whose]).reserve();
    let [first, second, third] = [grab(li, li)?, grab(han, han)?, grab(zhao, zhao)?];
    say("Li, Han and Zhao have a phone on hold: all there are");
    if let Err(Rejection::BadInvitation) = grab(wang, li) {
        say("Wang tries with Li's link, in vain: it is good for Li alone");
    }
    first.confirm(2_001)?.wait()?;
    second.cancel()?;
    grab(chen, chen)?.confirm(2_002)?.wait()?;
    say("Li pays; Han gives his phone back, and Chen has it and pays; Zhao can't find his purse");
    outbox.deliver(&mut mail)?;
    clock.advance_to(third.deadline().plus(Duration::from_secs(2)));
    engine.tick(engine.now());
    say("Zhao's time is over, and his phone is back");
    clock.advance_to(at(10, 30));
    phones.reserve(wang, 1)?.confirm(2_003)?.wait()?;
    say("what is left is for everyone: Wang has it and pays");
    (1..=3).try_for_each(|order| phones.ship(order))?;
    outbox.deliver(&mut mail)?;

    println!("-- a second engine, on a copy of the journal");
    copy(&dir, &twin)?;
    let twin = Engine::options().clock(clock).stripes(1).open(&twin)?;
    println!("first:  {}\nsecond: {}", phones.audit(), twin.sale("mx3")?.audit());
    let more = twin.outbox()?.expect("there is a journal").deliver(&mut mail)?;
    println!("messages that the buyers don't have yet: {more}");
    Ok(())
}

fn at(hour: u64, minute: u64) -> Timestamp {
    MIDNIGHT.plus(Duration::from_mins(60 * hour + minute))
}

fn name(buyer: Buyer) -> &'static str {
    ["", "Li", "Han", "Zhao", "Chen", "Wang"][usize::try_from(buyer.as_u128()).expect("1 to 5")]
}

fn text(message: &Message) -> String {
    match message.kind {
        MessageKind::Reminder => format!("the {} sale is near", message.sale),
        MessageKind::PurchaseLink { .. } => "here is your link, good for you alone".to_owned(),
        MessageKind::Confirmation { sequence, .. } => format!("thank you for {} order {sequence}", message.sale),
        MessageKind::ShippingNotice { sequence } => format!("{} order {sequence} is on its way", message.sale),
        _ => format!("{:?}", message.kind),
    }
}
