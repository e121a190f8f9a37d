//! A blogger's second book, 67 yuan on the cover, sold to subscribers for 18, with 2 books instead of 200. Whoever
//! writes the messages to the readers listens to the engine's events, and knows nothing else of the sale.

use std::{error::Error, sync::Arc, time::Duration};

use sellout::{Audience, Buyer, Engine, Event, EventKind, Events, ManualClock, SaleSpec, Timestamp};

const HOUR: Duration = Duration::from_hours(1);

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let teaser = Timestamp::from_millis(1_394_100_000_000);
    let clock = Arc::new(ManualClock::starting_at(teaser));
    let engine = Engine::options().clock(clock.clone()).stripes(1).secret([6; 32]).in_memory();
    let spec = SaleSpec::new("guijiaoqi-books", 2).opens_at(teaser.plus(HOUR)).audience(Audience::Registered);
    let sale = engine.create(spec)?;
    let subscribers: Vec<Buyer> = (1_001..=1_004).map(Buyer::from).collect();
    sale.register(&subscribers)?;
    let events = engine.subscribe(100);

    println!("-- an hour before: {} subscribers have the link", subscribers.len());
    clock.advance(HOUR);
    engine.tick(engine.now());
    deliver(&events);

    println!("-- three readers click");
    let mut answers = Vec::new();
    sale.reserve_many(&subscribers[..3], &mut answers);
    deliver(&events);

    println!("-- the first pays, the second forgets");
    let holds: Vec<_> = answers.into_iter().flatten().collect();
    holds[0].confirm(88_001)?.wait()?;
    deliver(&events);
    clock.advance(Duration::from_secs(15 * 60 + 2));
    engine.tick(engine.now());
    deliver(&events);

    println!("-- the third tries again, and pays");
    sale.reserve(subscribers[2], 1)?.confirm(88_002)?.wait()?;
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
        EventKind::Opened => format!("to all: {} is open", event.sale),
        EventKind::Held { buyer, deadline, .. } => format!("to {buyer}: your book is put aside, pay by {deadline}"),
        EventKind::Confirmed { buyer, sequence, .. } => {
            format!("to {buyer}: thank you, your order is number {sequence}; its readers also liked the first one")
        }
        EventKind::Cancelled { buyer, .. } => format!("to {buyer}: you have given your book back"),
        EventKind::Expired { buyer, .. } => format!("to {buyer}: your time to pay is over"),
        EventKind::Restocked => "to who waits: a book has come back".to_owned(),
        EventKind::AllHeld => "to who waits: all books are put aside, one may come back".to_owned(),
        EventKind::SoldOut => "to all: sold out".to_owned(),
        _ => format!("to the shop: {:?}", event.kind),
    }
}
