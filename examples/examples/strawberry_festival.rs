//! Tickets of a music festival over the 1 May holiday, of three kinds: day tickets, camping, and seats by name. A
//! family takes all that it wants in one basket, with one token and one payment, or nothing. The stocks are chosen for
//! the story: 4, 2 and 4.

use std::{error::Error, sync::Arc, time::Duration};

use sellout::{
    Basket, BasketLine, BasketRejection, BasketRules, Engine, Face, ManualClock, Rejection, SaleSpec, Timestamp, Units,
};
use sellout_examples::beijing;

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    // 20 April 2014, 12:00 in Beijing.
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_397_966_400_000)));
    let engine = Engine::options().clock(clock.clone()).stripes(1).secret([5; 32]).in_memory();
    let rules = |name: &str, stock| SaleSpec::new(name, stock).cap(4).largest(4);
    let day = engine.create(rules("day-ticket", 4))?;
    let camping = engine.create(rules("camping", 2))?;
    let row = Units::Listed(["A-1", "A-2", "A-3", "A-4"].map(Box::from).into());
    let seats = engine.create(rules("seat", 4).units(row))?;
    let baskets = engine.baskets(BasketRules::new().hold_for(Duration::from_mins(10)))?;
    let say = |text: String| println!("{}  {text}", beijing(engine.now()));

    let lis = baskets.reserve(1, &[(&day, 2), (&camping, 1), (&seats, 2)])?;
    say(format!("the Lis have {}", contents(&lis)));
    say(format!("one token for all of it: {}, to be paid by {}", lis.token(), beijing(lis.deadline())));

    let wangs = baskets.reserve(2, &[(&day, 2), (&seats, 2)])?;
    say(format!("the Wangs have {}", contents(&wangs)));

    let missing = baskets.reserve(3, &[(&camping, 1), (&day, 1)]).expect_err("no day ticket is free");
    say(format!("the Hans want camping and a day ticket: {}", told(&missing)));
    say(format!("nothing was taken for them: {} camping place is still free", camping.audit().free));

    clock.advance(Duration::from_mins(1));
    baskets.confirm(&lis.token(), 7_001)?.wait()?;
    say("the Lis have paid, once for all".to_owned());
    for line in baskets.lines(&lis.token())? {
        let order = line.order.expect("a basket that is sold is an order in each of its sales");
        println!("          {} x {}: order {order}", line.quantity, line.sale.name());
    }

    clock.advance(Duration::from_mins(1));
    say(format!("the Wangs can't come: all {} are back", wangs.cancel()?.quantity));
    let hans = baskets.reserve(3, &[(&camping, 1), (&day, 1), (&day, 1)])?;
    say(format!("the Hans have {}: the same sale twice counts together", contents(&hans)));
    let seated = baskets.reserve(4, &[(&seats, 2)])?;
    say(format!("the Zhaos have {}: the seats that came back", contents(&seated)));
    baskets.confirm(&seated.token(), 7_002)?.wait()?;
    say(format!(
        "the Zhaos have paid, and the Chens want a seat: {}",
        told(&baskets.reserve(5, &[(&seats, 1)]).expect_err("every seat is paid"))
    ));

    clock.advance_to(hans.deadline().plus(Duration::from_secs(2)));
    let expired = engine.tick(engine.now()).expired;
    say(format!("the Hans haven't paid: {expired} basket has expired, and all of it is back"));
    let chens = baskets.reserve(5, &[(&day, 2), (&camping, 1)])?;
    baskets.confirm(&chens.token(), 7_003)?.wait()?;
    say("the Chens take it and pay".to_owned());

    for audit in engine.audit() {
        println!("{audit}");
    }
    Ok(())
}

/// What is in a basket, seats by name.
fn contents(basket: &Basket<'_>) -> String {
    let line = |line: &BasketLine| {
        let labels = line.units.iter().filter_map(|unit| match &unit.face {
            Face::Label(label) => Some(&**label),
            _ => None,
        });
        let labels: Vec<&str> = labels.collect();
        let which = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
        format!("{} x {}{which}", line.quantity, line.sale.name())
    };
    basket.lines().iter().map(line).collect::<Vec<_>>().join(", ")
}

/// What the shop says.
fn told(rejection: &BasketRejection) -> String {
    match rejection {
        BasketRejection::Sale { sale, why: Rejection::AllHeld { next_due, .. } } => {
            format!("{}: all held, ask again at {}", sale.as_str(), beijing(*next_due))
        }
        other => other.to_string(),
    }
}
