//! A blogger's second book, 67 yuan on the cover, sold to subscribers for 18, with 2 books instead of 200: a teaser an
//! hour before, then the link, and a waitlist for whoever comes too late. Whoever writes to the readers listens to the
//! engine's events, and knows nothing else of the sale.

use std::{error::Error, sync::Arc, time::Duration};

use sellout::{
    Audience, Buyer, Engine, Event, EventKind, Events, Left, ManualClock, Rejection, SaleSpec, Timestamp, WaitOrder,
    Waiting, Waitlist,
};
use sellout_examples::beijing;

/// 6 March 2014, 19:00 in Beijing.
const OPENS: Timestamp = Timestamp::from_millis(1_394_103_600_000);
const ACCEPT_WITHIN: Duration = Duration::from_mins(2);
/// How long after its deadline a hold is kept, if its sale says nothing else.
const GRACE: Duration = Duration::from_secs(2);

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let teaser = Timestamp::from_millis(OPENS.as_millis() - 3_600_000);
    let clock = Arc::new(ManualClock::starting_at(teaser));
    let engine = Engine::options().clock(clock.clone()).stripes(1).secret([6; 32]).in_memory();
    let waitlist = Waitlist { room: 100, accept_within: ACCEPT_WITHIN, order: WaitOrder::FirstCome };
    let spec = SaleSpec::new("second-book", 2).audience(Audience::Registered).opens_at(OPENS).waitlist(waitlist);
    let sale = engine.create(spec)?;
    let subscribers: Vec<Buyer> = (1_001..=1_005).map(Buyer::from).collect();
    sale.register(&subscribers)?;
    let events = engine.subscribe(100);

    println!("-- an hour before");
    println!("to all subscribers: a new book, at {} sharp", beijing(OPENS));
    clock.advance_to(OPENS);
    engine.tick(engine.now());
    deliver(&events);

    println!("-- two readers are quick, three queue up");
    let first = sale.reserve(1_001, 1)?;
    let forgetful = sale.reserve(1_002, 1)?.deadline();
    deliver(&events);
    for late in &subscribers[2..] {
        println!("to {late}: {} before you", sale.join(*late)?.ahead);
    }
    deliver(&events);

    println!("-- one leaves the queue, the first pays");
    if sale.leave(1_004)? == Left::Place {
        println!("to 1004: you have left the queue");
    }
    if let Waiting::Queued(place) = sale.waiting(1_005) {
        println!("to 1005: {} before you", place.ahead);
    }
    first.confirm(88_001)?.wait()?;
    deliver(&events);

    println!("-- 1002 never pays: her book goes to the head of the queue");
    clock.advance_to(forgetful.plus(GRACE));
    engine.tick(engine.now());
    deliver(&events);
    if let Err(Rejection::AllHeld { .. }) = sale.reserve(1_004, 1) {
        println!("to 1004, who tries to snatch it: all books are put aside");
    }

    println!("-- 1003 is asleep: the next one has it");
    clock.advance(ACCEPT_WITHIN + GRACE);
    engine.tick(engine.now());
    deliver(&events);
    let Waiting::Offered { token, .. } = sale.waiting(1_005) else { return Err("a book was offered".into()) };
    println!("to 1005, who accepts: pay by {}", beijing(sale.accept(&token)?));
    sale.confirm(&token, 88_002)?.wait()?;
    deliver(&events);
    println!("to 1003, who wakes up: {}", sale.join(1_003).expect_err("every book is paid"));
    deliver(&events);
    println!("-- missed events: {}", events.take_missed());
    Ok(())
}

/// Turns what has happened since into messages.
#[expect(clippy::print_stdout, reason = "a story is told")]
fn deliver(events: &Events) {
    while let Some(event) = events.try_next() {
        println!("{}", message(&event));
    }
}

fn message(event: &Event) -> String {
    match event.kind {
        EventKind::Opened => "to all subscribers: the sale is open, here is the link".to_owned(),
        EventKind::Held { buyer, deadline, .. } => {
            format!("to {buyer}: your book is put aside, pay by {}", beijing(deadline))
        }
        EventKind::Confirmed { buyer, sequence, .. } => {
            format!("to {buyer}: thank you, your order is number {sequence}; its readers also liked the first one")
        }
        EventKind::Cancelled { buyer, .. } => format!("to {buyer}: you have given your book back"),
        EventKind::Expired { buyer, .. } => format!("to {buyer}: your time is over"),
        EventKind::Offered { buyer, accept_by, .. } => {
            format!("to {buyer}: a book has come back, say yes or pay by {}", beijing(accept_by))
        }
        EventKind::AllHeld => "to the page: all books are put aside, queue up".to_owned(),
        EventKind::SoldOut => "to the page: sold out".to_owned(),
        _ => format!("to the shop: {:?}", event.kind),
    }
}
