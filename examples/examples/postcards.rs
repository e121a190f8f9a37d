//! A game host's 1,000 signed postcards, open to all, on a journal; and the power goes in the middle of the sale.

use std::{error::Error, fs, io, path::Path, sync::Arc, time::Duration};

use sellout::{Clock, Engine, JournalReader, ManualClock, OpenError, SaleSpec, Timestamp, Token};

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (dir, found) = (folder.path().join("sales.journal"), folder.path().join("found.journal"));
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_400_000_000_000)));

    let engine = open(&clock, &dir)?;
    let sale = engine.create(SaleSpec::new("postcards", 1_000))?;
    let hold = |buyer: u64| sale.reserve(buyer, 1).map(|hold| hold.token());
    let mut tokens = (0..400).map(hold).collect::<Result<Vec<_>, _>>()?;
    // One sync serves all who wait: confirm first, then wait.
    let paid: Vec<_> = tokens[..300].iter().map(|token| sale.confirm(token, 7)).collect::<Result<_, _>>()?;
    for pending in paid {
        pending.wait()?;
    }
    engine.tick(engine.now());
    println!("{}", sale.audit());
    tokens.push(hold(400)?);
    println!("buyer 400 has a hold, and the power goes before the next tick");

    // What a killed process leaves: the files as they are now.
    copy(&dir, &found)?;
    clock.advance(Duration::from_mins(1));
    let engine = open(&clock, &found)?;
    let sale = engine.sale("postcards")?;
    println!("{}", sale.audit());
    let pay = |token: &Token| Ok::<_, Box<dyn Error>>(kind(&sale.confirm(token, 8)?.wait()?));
    println!("buyer 0, whose payment is reported again: {}", pay(&tokens[0])?);
    println!("buyer 300, who had a hold and pays now: {}", pay(&tokens[300])?);
    println!("buyer 400, whose hold was a moment too young: {}", pay(&tokens[400])?);

    engine.close()?;
    let orders = JournalReader::open(&found)?.collect::<Result<Vec<_>, _>>()?;
    println!("the journal has {} orders; the last is number {}", orders.len(), orders[300].1.sequence);
    Ok(())
}

fn open(clock: &Arc<ManualClock>, dir: &Path) -> Result<Engine, OpenError> {
    Engine::options().clock(Arc::clone(clock) as Arc<dyn Clock>).stripes(1).open(dir)
}

/// The answer's name, without the receipt: a journal draws its own secret, so its tokens differ from run to run.
fn kind(answer: &sellout::Confirmation) -> String {
    let text = format!("{answer:?}");
    text.split_once('(').map_or(text.clone(), |(name, _)| name.to_owned())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
