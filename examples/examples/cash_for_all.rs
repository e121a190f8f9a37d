//! "Cash for money": pay a cent, draw a random amount of cash. 10,000 draws instead of 1,500,000, with the same mean of
//! 2 yuan, and the power goes in the middle. The amounts add up to the budget to the cent, before and after.

use std::{error::Error, ops::Range, path::Path, sync::Arc};

use sellout::{Amounts, Engine, Face, ManualClock, OpenError, Sale, SaleSpec, Timestamp, Token, Unit, Units};
use sellout_examples::copy;

const DRAWS: u32 = 10_000;
/// 20,000.00 yuan: amounts are in cents.
const BUDGET: u64 = 2_000_000;

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (dir, found) = (folder.path().join("cash.journal"), folder.path().join("found.journal"));

    let engine = open(&dir)?;
    let amounts = Amounts { budget: BUDGET, floor: 1, ceiling: 20_000, seed: 2014 };
    let sale = engine.create(SaleSpec::new("cash", DRAWS).units(Units::Amounts(amounts)))?;
    let mut drawn = draw(&sale, 0..6_000)?;
    let undecided = sale.reserve(6_000, 1)?.token();
    engine.tick(engine.now());
    println!("6,000 people have drawn, one has yet to pay the cent, and the power goes");
    tell(&sale);

    copy(&dir, &found)?;
    let engine = open(&found)?;
    let sale = engine.sale("cash")?;
    println!("after the restart");
    tell(&sale);
    sale.confirm(&undecided, 1)?.wait()?;
    drawn.push(undecided);
    drawn.extend(draw(&sale, 6_001..DRAWS)?);
    println!("everybody has drawn");
    tell(&sale);

    let cents = drawn.iter().map(|token| amount(&sale, token)).collect::<Result<Vec<u64>, _>>()?;
    let (least, most) = cents.iter().fold((u64::MAX, 0), |(least, most), &cents| (cents.min(least), cents.max(most)));
    println!("the smallest amount is {}, the largest {}", yuan(least), yuan(most));
    println!("the mean of each tenth of the crowd, from who came first to who came last:");
    let tenths = cents.chunks(cents.len() / 10).map(|tenth| yuan(tenth.iter().sum::<u64>() / tenth.len() as u64));
    println!("{}", tenths.collect::<Vec<_>>().join("  "));
    println!("the sum of what was drawn is {}, the budget {}", yuan(cents.iter().sum()), yuan(BUDGET));
    Ok(())
}

fn open(dir: &Path) -> Result<Engine, OpenError> {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_398_000_000_000)));
    Engine::options().clock(clock).stripes(1).open(dir)
}

/// Each of `people` pays a cent and draws. One sync serves all who wait: confirm first, then wait.
fn draw(sale: &Sale, people: Range<u32>) -> Result<Vec<Token>, Box<dyn Error>> {
    let hold = |buyer| sale.reserve(u64::from(buyer), 1).map(|hold| hold.token());
    let tokens = people.map(hold).collect::<Result<Vec<_>, _>>()?;
    let paid: Vec<_> = tokens.iter().map(|token| sale.confirm(token, 1)).collect::<Result<_, _>>()?;
    for pending in paid {
        pending.wait()?;
    }
    Ok(tokens)
}

/// The amount that an order has drawn, in cents.
fn amount(sale: &Sale, token: &Token) -> Result<u64, Box<dyn Error>> {
    match sale.units(token)?[..] {
        [Unit { face: Face::Amount(cents), .. }] => Ok(cents.into()),
        _ => Err("an order has one amount".into()),
    }
}

/// Where the money is, counted amount by amount.
#[expect(clippy::print_stdout, reason = "a story is told")]
fn tell(sale: &Sale) {
    let value = sale.face_value().expect("its units are amounts");
    let sign = if value.holds() { "=" } else { "IS NOT" };
    let [budget, sold, held, free] = [value.budget, value.sold, value.held, value.free].map(yuan);
    println!("  budget {budget} {sign} {sold} drawn + {held} on hold + {free} still there");
}

fn yuan(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
