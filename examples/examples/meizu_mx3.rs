//! Meizu's flash sale of the MX3 inside Weibo, 1 April 2014, 10:00 sharp, with 3 phones instead of 2,099: only who
//! had registered could buy, each one phone, with fifteen minutes to pay.

use std::{error::Error, sync::Arc, time::Duration};

use sellout::{Audience, Buyer, Confirmation, Engine, Hold, ManualClock, Rejection, SaleSpec, Timestamp};

/// 1 April 2014, 10:00 in Beijing.
const TEN_O_CLOCK: Timestamp = Timestamp::from_millis(1_396_317_600_000);

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(TEN_O_CLOCK.as_millis() - 60_000)));
    let engine = Engine::options().clock(clock.clone()).stripes(1).secret([3; 32]).in_memory();
    let spec = SaleSpec::new("meizu-mx3", 3).opens_at(TEN_O_CLOCK).audience(Audience::Registered);
    let sale = engine.create(spec)?;

    let [li, han, zhao, chen, wang] = ["li", "han", "zhao", "chen", "wang"].map(|name| engine.buyer(name.as_bytes()));
    sale.register(&[li, han, zhao, chen, wang])?;
    let early = told(sale.reserve(chen, 1));
    println!("09:59:00  Chen is early: {early}.");

    clock.advance(Duration::from_mins(1));
    engine.tick(engine.now());
    let stranger = told(sale.reserve(Buyer::from(7), 1));
    println!("10:00:00  A stranger tries: {stranger}.");

    let (first, second, third) = (sale.reserve(li, 1)?, sale.reserve(han, 1)?, sale.reserve(zhao, 1)?);
    println!("10:00:00  Li, Han and Zhao have a phone on hold; Li's link ends in {}.", first.token());
    let twice = told(sale.reserve(li, 1));
    println!("10:00:00  Li wants another one: {twice}.");
    let waits = told(sale.reserve(chen, 1));
    println!("10:00:00  Chen finds none free: {waits}.");

    clock.advance(Duration::from_mins(1));
    if let Confirmation::Confirmed(receipt) = sale.confirm(&first.token(), 1_001)?.wait()? {
        println!("10:01:00  Li has paid: order {}, {} phone.", receipt.sequence, receipt.quantity);
    }
    if let Confirmation::AlreadyConfirmed(receipt) = sale.confirm(&first.token(), 1_001)?.wait()? {
        println!("10:01:00  The provider reports Li's payment again: still order {}.", receipt.sequence);
    }
    let back = second.cancel()?;
    let again = sale.reserve(chen, 1)?;
    println!("10:01:00  Han cancels, {} phone is back, and Chen has it on hold.", back.quantity);
    if let Confirmation::Confirmed(receipt) = again.confirm(1_002)?.wait()? {
        println!("10:01:00  Chen has paid: order {}.", receipt.sequence);
    }

    clock.advance(Duration::from_secs(14 * 60 + 2));
    let ticked = engine.tick(engine.now());
    println!("10:15:02  Zhao has not paid: {} hold has expired.", ticked.expired);
    if let Confirmation::PaidLate(receipt) = sale.confirm(&third.token(), 1_003)?.wait()? {
        println!("10:15:02  Zhao pays after all, and a phone is still free: order {}.", receipt.sequence);
    }
    let sold_out = told(sale.reserve(wang, 1));
    println!("10:15:02  Wang wakes up: {sold_out}.");
    println!("{}", sale.audit());
    Ok(())
}

/// What the shop says.
fn told(answer: Result<Hold<'_>, Rejection>) -> String {
    answer.map_or_else(|rejection| rejection.to_string(), |hold| format!("pay until {}", hold.deadline()))
}
