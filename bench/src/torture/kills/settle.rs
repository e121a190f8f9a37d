//! The end of a series: everybody is asked again, everybody's time runs out, and the rest is sold.
//!
//! What holds: every payment that was ever reported is reported once more; after that no unit is held, and what is
//! left of the scarce sale can be sold to the last unit: none has leaked.

use std::{path::Path, sync::Arc, time::Duration};

use sellout::{Clock, Engine, JournalReader, ManualClock, Rejection, SystemClock};

use super::{
    book::Book,
    broken::Broken,
    ledger::Ledger,
    shop::{Shop, found},
    words::{Bill, Item, Question, SALES, SCARCE, Word},
};

/// Buyers that no life has: those who take the rest.
const LATE_BUYERS: u64 = 1 << 60;
/// Longer than any hold or offer lasts.
const LONG: Duration = Duration::from_secs(100);
/// Ticks until everybody's time is over: each lets some who wait have an offer.
const TURNS: usize = 10_000;

/// Opens the journal for the last time, and settles it.
pub(super) fn settle(
    journal: &Path,
    book: &mut Book,
    reader: &mut JournalReader,
    ledger: Option<&mut Ledger>,
    broken: Option<Broken>,
) -> Result<(), String> {
    let clock = Arc::new(ManualClock::starting_at(SystemClock::new().now()));
    let engine = Engine::options().clock(Arc::clone(&clock) as Arc<dyn Clock>).open(journal);
    let engine = engine.map_err(|error| format!("the journal can't be opened: {error}"))?;
    book.take(Word::Opened(found(&engine)?));
    let shop = Shop::open(engine).map_err(|error| error.to_string())?;
    let all = book.all_questions();
    ask(&shop, book, all)?;
    come_to_rest(&shop, &clock)?;
    sell_the_rest(&shop, book)?;
    book.read(reader);
    book.take(Word::Opened(found(&shop.engine)?));
    for sale in &shop.sales {
        let audit = sale.audit();
        let sold_out = audit.free == 0 || sale.name() != SALES[SCARCE];
        book.verdict.unless(audit.holds() && audit.held == 0 && sold_out, || format!("at rest: {audit}"));
    }
    match (ledger, broken) {
        (None, _) => {}
        (Some(ledger), Some(Broken::LeavesRedis)) => {
            ledger.settle(&shop.engine, &mut book.verdict);
            ledger.empty();
            ledger.compare(&shop.engine, &mut book.verdict);
        }
        (Some(ledger), _) => ledger.settle(&shop.engine, &mut book.verdict),
    }
    drop(shop);
    let again = JournalReader::open(journal).map_err(|error| format!("the journal can't be read: {error}"))?;
    book.read_again(again);
    Ok(())
}

/// Reports payments, and waits for all of them together.
fn ask(shop: &Shop, book: &mut Book, questions: Vec<Question>) -> Result<(), String> {
    let mut pending = Vec::with_capacity(questions.len());
    for Question { payment, bill, .. } in questions {
        book.take(Word::Pays(payment.clone(), bill.clone()));
        let reported = shop.report(&bill, &payment)?;
        pending.push((payment, bill, reported));
    }
    for (payment, bill, reported) in pending {
        let answered = shop.answer(&bill, reported)?;
        book.take(Word::Heard(payment, answered.answer));
    }
    Ok(())
}

/// Lets time pass until nobody holds anything or waits for it.
fn come_to_rest(shop: &Shop, clock: &ManualClock) -> Result<(), String> {
    for _ in 0..TURNS {
        clock.advance(LONG);
        shop.engine.tick(shop.engine.now());
        let at_rest =
            |sale: &sellout::Sale| sale.audit().held == 0 && (sale.queue_length() == 0 || sale.audit().free == 0);
        if shop.sales.iter().all(at_rest) {
            return Ok(());
        }
    }
    Err(format!("units are held for ever: {:?}", shop.engine.audit()))
}

/// Sells what is left of the scarce sale.
fn sell_the_rest(shop: &Shop, book: &mut Book) -> Result<(), String> {
    let sale = &shop.sales[SCARCE];
    let mut rest = Vec::new();
    for buyer in LATE_BUYERS.. {
        match sale.reserve(buyer, 1) {
            Ok(hold) => {
                let items = vec![Item { sale: SCARCE, quantity: 1 }];
                let bill = Bill { token: hold.token().to_string(), buyer, items, basket: false, offered: false };
                rest.push(Question { payment: format!("rest-{}", rest.len()), bill, in_time_until: None });
            }
            Err(Rejection::AllHeld { .. } | Rejection::SoldOut) => break,
            Err(rejection) => return Err(format!("the rest can't be sold: {rejection}")),
        }
    }
    ask(shop, book, rest)?;
    match sale.reserve(LATE_BUYERS - 1, 1).map(|_| ()) {
        Err(Rejection::SoldOut) => Ok(()),
        other => Err(format!("not sold out at the end: {other:?}, {}", sale.audit())),
    }
}
