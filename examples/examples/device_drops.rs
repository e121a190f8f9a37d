//! Phones, boxes and cars, opened together. The crowd is there, and the shop changes the sales under its feet: a second
//! batch, a higher cap, another window, a kill switch, and stock that is taken back. The stocks are chosen for the
//! story.

use std::{error::Error, ops::Range, sync::Arc, time::Duration};

use sellout::{Engine, ManualClock, Rejection, Sale, SaleSpec, Timestamp};
use sellout_examples::beijing;

/// Noon in Beijing.
const NOON: Timestamp = Timestamp::from_millis(1_400_040_000_000);

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let clock = Arc::new(ManualClock::starting_at(after(-1)));
    let engine = Engine::options().clock(clock.clone()).stripes(1).secret([4; 32]).in_memory();
    let rules = |name: &str, stock| SaleSpec::new(name, stock).opens_at(after(0)).closes_at(after(60));
    let sales = engine.create_many(vec![rules("phone", 100), rules("box", 40), rules("car", 5)])?;
    let [phone, tv_box, car] = &sales[..] else { return Err("three sales".into()) };
    // A minute between one thing and the next.
    let say = |text: &str| {
        println!("{}  {text}", beijing(engine.now()));
        clock.advance(Duration::from_mins(1));
        engine.tick(engine.now());
    };

    say(&crowd(phone, 0..10)?);
    say(&crowd(phone, 0..150)?);
    say(&crowd(tv_box, 0..30)?);
    say(&crowd(car, 0..3)?);

    phone.add_stock(30)?;
    say("a second batch: 30 phones more");
    say(&crowd(phone, 100..150)?);

    tv_box.set_cap(2)?;
    say("boxes are left: from now on 2 a buyer");
    say(&crowd(tv_box, 0..15)?);

    car.move_window(Some(after(30)), Some(after(90)))?;
    say(&format!("the car needs time: it goes on at {}, until {}", beijing(after(30)), beijing(after(90))));
    say(&crowd(car, 3..6)?);

    engine.pause_all()?;
    say("the kill switch: the payment provider is down");
    say(&crowd(phone, 150..160)?);
    say(&crowd(tv_box, 30..40)?);
    engine.resume_all()?;
    say("all goes on");

    clock.advance_to(after(30));
    engine.tick(engine.now());
    say("the car is open again, and what was not paid has come back");
    say(&crowd(car, 3..6)?);
    let last = phone.reserve(200, 1)?;
    say(&format!("{} phones are taken off sale, but one is on hold", phone.withdraw(1_000)?));
    last.confirm(1)?.wait()?;
    say("who had it has paid");
    say(&crowd(phone, 201..211)?);

    for audit in engine.audit() {
        println!("{audit}");
    }
    Ok(())
}

fn after(minutes: i64) -> Timestamp {
    Timestamp::from_millis(NOON.as_millis().saturating_add_signed(minutes * 60_000))
}

/// Each of `people` wants one, and half of those who get one pay. Says how it went.
fn crowd(sale: &Sale, people: Range<u64>) -> Result<String, Box<dyn Error>> {
    let asked = people.end - people.start;
    let (mut got, mut paid, mut others) = (0, 0, String::new());
    for buyer in people {
        match sale.reserve(buyer, 1) {
            Ok(hold) if got % 2 == 0 => {
                hold.confirm(buyer)?.wait()?;
                (got, paid) = (got + 1, paid + 1);
            }
            Ok(_) => got += 1,
            Err(rejection) => others = format!(", the others are told: {}", told(rejection)),
        }
    }
    Ok(format!("{}: {asked} ask, {got} get one, {paid} pay{others}", sale.name()))
}

/// What the shop says.
fn told(rejection: Rejection) -> String {
    match rejection {
        Rejection::AllHeld { on_hold, .. } => format!("all are put aside, but {on_hold} may come back"),
        Rejection::NotOpen { opens_at } => format!("it opens at {}", beijing(opens_at)),
        Rejection::Paused => "a moment, please".to_owned(),
        other => other.to_string(),
    }
}
