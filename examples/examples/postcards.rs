//! A game host's 1,000 signed postcards, numbered by hand, open to all, on a journal; and the power goes in the middle
//! of the sale.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use sellout::{
    Clock, Confirmation, Engine, Face, JournalReader, ManualClock, OpenError, RequestKey, Sale, SaleSpec, Timestamp,
    Token, Unit, Units,
};
use sellout_examples::copy;

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (dir, found) = (folder.path().join("sales.journal"), folder.path().join("found.journal"));
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_400_000_000_000)));

    let engine = open(&clock, &dir)?;
    let sale = engine.create(SaleSpec::new("postcards", 1_000).units(Units::Numbered { first: 1 }))?;
    let mut tokens = (0..400).map(|buyer| hold(&sale, buyer)).collect::<Result<Vec<_>, _>>()?;
    // One sync serves all who wait: confirm first, then wait.
    let paid: Vec<_> = tokens[..300].iter().map(|token| sale.confirm(token, 7)).collect::<Result<_, _>>()?;
    for pending in paid {
        pending.wait()?;
    }
    engine.tick(engine.now());
    println!("{}", sale.audit());
    println!("buyer 300 has card {} on hold", card(&sale, &tokens[300])?);
    tokens.push(hold(&sale, 400)?);
    println!("buyer 400 has card {} on hold, and the power goes before the next tick", card(&sale, &tokens[400])?);

    // What a killed process leaves: the files as they are now.
    copy(&dir, &found)?;
    clock.advance(Duration::from_mins(1));
    let engine = open(&clock, &found)?;
    let sale = engine.sale("postcards")?;
    println!("-- a minute later");
    println!("{}", sale.audit());
    println!("buyer 0, whose payment is reported again: {}", pay(&sale, &tokens[0])?);
    println!("buyer 400, whose hold was a moment too young, pays: {}", pay(&sale, &tokens[400])?);
    let again = hold(&sale, 300)?;
    let same = if again == tokens[300] { "the same hold" } else { "another hold" };
    println!("buyer 300, whose browser asks again with its key: {same}, card {}", card(&sale, &again)?);
    println!("buyer 300 pays: {}, card {}", pay(&sale, &again)?, card(&sale, &again)?);

    let before = card(&sale, &tokens[301])?;
    println!("-- a quarter of an hour later: {} holds have expired", expire(&engine, &clock));
    println!("buyer 301 had card {before}, and pays too late: {}", pay(&sale, &tokens[301])?);
    println!("what was free could be had: buyer 301 now has card {}", card(&sale, &tokens[301])?);
    println!("{}", sale.audit());

    engine.close()?;
    let orders = JournalReader::open(&found)?.collect::<Result<Vec<_>, _>>()?;
    println!("the journal has {} orders; the last is number {}", orders.len(), orders[301].1.sequence);
    Ok(())
}

fn open(clock: &Arc<ManualClock>, dir: &Path) -> Result<Engine, OpenError> {
    Engine::options().clock(Arc::clone(clock) as Arc<dyn Clock>).stripes(1).open(dir)
}

/// A hold for `buyer`, whose browser sends the same key however often it asks.
fn hold(sale: &Sale, buyer: u64) -> Result<Token, Box<dyn Error>> {
    let key = RequestKey::new(&format!("checkout-of-{buyer}"))?;
    Ok(sale.request(buyer).key(&key).reserve()?.token())
}

/// The number of the card that a hold or an order has.
fn card(sale: &Sale, token: &Token) -> Result<u32, Box<dyn Error>> {
    match sale.units(token)?[..] {
        [Unit { face: Face::Number(number), .. }] => Ok(number),
        _ => Err("one card a buyer".into()),
    }
}

/// Says how a payment was answered, without the receipt: a journal draws its own secret, so its tokens differ from run
/// to run.
fn pay(sale: &Sale, token: &Token) -> Result<&'static str, Box<dyn Error>> {
    Ok(match sale.confirm(token, 8)?.wait()? {
        Confirmation::Confirmed(_) => "sold",
        Confirmation::AlreadyConfirmed(_) => "sold before",
        Confirmation::PaidLate(_) => "sold all the same",
        Confirmation::HoldForgotten => "that hold is forgotten: a refund",
        _ => "a refund",
    })
}

fn expire(engine: &Engine, clock: &ManualClock) -> u64 {
    clock.advance(Duration::from_secs(15 * 60 + 2));
    engine.tick(engine.now()).expired
}
