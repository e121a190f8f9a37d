//! Every shop has a page, and a small sale on it: 20,000 shops of 200 units in one engine, instead of 400,000. Hardly
//! anybody comes to most of them; one is hot. `sellout-bench shops` measures what an idle one costs.

use std::{error::Error, sync::Arc};

use sellout::{Audit, Engine, ManualClock, Rejection, SaleSpec, SaleState, Timestamp};

const SHOPS: u64 = 20_000;

#[expect(clippy::print_stdout, reason = "a story is told")]
fn main() -> Result<(), Box<dyn Error>> {
    let opens = Timestamp::from_millis(1_400_040_000_000);
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(opens.as_millis() - 1)));
    let engine = Engine::options().clock(clock.clone()).stripes(1).secret([2; 32]).in_memory();

    // One call, and with a journal one commit: all of them, or none.
    let specs = (1..=SHOPS).map(|shop| SaleSpec::new(format!("shop-{shop:05}"), 200).opens_at(opens)).collect();
    let shops = engine.create_many(specs)?;
    println!("{} sales are there, from {} to {}", shops.len(), shops[0].name(), shops[shops.len() - 1].name());

    clock.advance_to(opens);
    println!("one tick opens {} of them", engine.tick(engine.now()).opened);

    // A passer-by in every hundredth shop.
    for (shop, buyer) in shops.iter().step_by(100).zip(1..) {
        let _ = shop.reserve(buyer, 1)?;
    }
    // A crowd in one.
    let hot = engine.sale("shop-00777")?;
    let mut holds = Vec::new();
    let mut refused = 0;
    for buyer in 1..=50_000_u64 {
        match hot.reserve(buyer, 1) {
            Ok(hold) => holds.push(hold),
            Err(Rejection::AllHeld { .. }) => refused += 1,
            Err(other) => return Err(other.into()),
        }
    }
    println!("{}: {} have a unit on hold, {refused} were told that all are held", hot.name(), holds.len());
    for (hold, payment) in holds.into_iter().zip(1_u64..) {
        hold.confirm(payment)?.wait()?;
    }
    let told = hot.reserve(0, 1).expect_err("every unit is paid");
    println!("{}: all have paid, and the next is told: {told}", hot.name());

    let audits = engine.audit();
    let idle = audits.iter().filter(|audit| audit.free == 200).count();
    let open = shops.iter().filter(|shop| shop.state() == SaleState::Open).count();
    println!("{open} sales are open, {idle} of them untouched");
    let sold: u64 = audits.iter().map(|audit| audit.sold).sum();
    let held: u64 = audits.iter().map(|audit| audit.held).sum();
    let free: u64 = audits.iter().map(|audit| audit.free).sum();
    println!("all together: {sold} sold + {held} held + {free} free = {}", sold + held + free);
    println!("every audit holds: {}", audits.iter().all(Audit::holds));
    println!("{}", hot.audit());
    Ok(())
}
