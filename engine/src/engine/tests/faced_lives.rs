//! Whole lives of sales whose units have faces, with crashes in them.
//!
//! Properties, whatever was done and wherever it crashed:
//! 1. a unit is free, withdrawn, or in one hold, and in no second place; the free ones are as many as the permits;
//! 2. a hold has the units that it had when it was made, for as long as it lives, and so has its order;
//! 3. amounts add up to their budget;
//! 4. at the end every unit that was not withdrawn is sold, once.
//!
//! Negative control: a unit that is put back while a hold has it is found.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{Amounts, Unit, Units, core::allocator::Standing};

const NAMES: [&str; 2] = ["seats", "gifts"];
const BUDGET: u64 = 700;

#[derive(Debug, Clone)]
enum Step {
    Reserve { sale: usize, buyer: u64, quantity: u32 },
    Confirm { which: usize, waits: bool },
    Cancel { which: usize },
    Extend { which: usize },
    Add { units: u32 },
    Withdraw { units: u32 },
    Pass { span: u64 },
    Tick,
    Sync,
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_usize..2, 0_u64..8, 1_u32..4)
            .prop_map(|(sale, buyer, quantity)| Step::Reserve { sale, buyer, quantity }),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(which, waits)| Step::Confirm { which, waits }),
        6 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        2 => any::<usize>().prop_map(|which| Step::Extend { which }),
        1 => (1_u32..30).prop_map(|units| Step::Add { units }),
        1 => (1_u32..9).prop_map(|units| Step::Withdraw { units }),
        4 => (0_u64..25_000).prop_map(|span| Step::Pass { span }),
        2 => Just(Step::Tick),
        1 => Just(Step::Sync),
        4 => Just(Step::Crash),
    ]
}

struct Life {
    world: World,
    dir: PathBuf,
    folders: Vec<tempfile::TempDir>,
    /// Every hold that was ever made, and the units that it was made with.
    holds: Vec<(usize, Token, Vec<Unit>)>,
    /// Orders that were waited for, with their units.
    orders: HashMap<Token, (usize, Vec<Unit>)>,
}

impl Life {
    fn begin() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("j");
        let world = World::open(&dir);
        let spec =
            |name: &str, stock| SaleSpec::new(name, stock).hold_for(seconds(30)).grace(seconds(2)).cap(4).largest(3);
        world.sale(spec(NAMES[0], 6).units(Units::Numbered { first: 1 }));
        let amounts = Amounts { budget: BUDGET, floor: 1, ceiling: 200, seed: 1 };
        world.sale(spec(NAMES[1], 7).units(Units::Amounts(amounts)));
        Self { world, dir, folders: vec![parent], holds: Vec::new(), orders: HashMap::new() }
    }

    fn sale(&self, sale: usize) -> Sale {
        self.world.engine.sale(NAMES[sale]).unwrap()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Reserve { sale, buyer, quantity } => {
                if let Ok(hold) = self.sale(sale).reserve(buyer, quantity) {
                    assert_eq!(hold.units().len(), quantity as usize);
                    self.holds.push((sale, hold.token(), hold.units()));
                }
            }
            Step::Confirm { which, waits } => {
                if let Some((sale, token)) = self.pick(which) {
                    self.confirm(sale, &token, waits);
                }
            }
            Step::Cancel { which } => {
                if let Some((sale, token)) = self.pick(which) {
                    let _ended_before = self.sale(sale).cancel(&token);
                }
            }
            Step::Extend { which } => {
                if let Some((sale, token)) = self.pick(which) {
                    let _over = self.sale(sale).extend(&token, seconds(5));
                }
            }
            Step::Add { units } => self.sale(0).add_stock(units).unwrap(),
            Step::Withdraw { units } => assert!(self.sale(0).withdraw(units).unwrap() <= units),
            Step::Pass { span } => self.world.clock.advance(millis(span)),
            Step::Tick => {
                self.world.engine.tick(self.world.engine.now());
            }
            Step::Sync => self.world.engine.sync().unwrap(),
            Step::Crash => self.crash(),
        }
        self.check();
    }

    /// One of the latest holds: most of the others have ended long ago.
    fn pick(&self, which: usize) -> Option<(usize, Token)> {
        let back = which.checked_rem(self.holds.len().min(6))?;
        let (sale, token, _) = &self.holds[self.holds.len() - 1 - back];
        Some((*sale, *token))
    }

    fn confirm(&mut self, number: usize, token: &Token, waits: bool) {
        let sale = self.sale(number);
        let Ok(pending) = sale.confirm(token, 1) else { return };
        if !waits {
            return;
        }
        if let Confirmation::Confirmed(receipt)
        | Confirmation::PaidLate(receipt)
        | Confirmation::AlreadyConfirmed(receipt) = pending.wait().unwrap()
        {
            let units = sale.units(&receipt.order).unwrap();
            assert_eq!(sale.units(token).unwrap(), units, "the buyer's own token names them, too");
            let before = self.orders.insert(receipt.order, (number, units.clone()));
            assert!(before.is_none_or(|(_, before)| before == units), "an order has other units now");
        }
    }

    /// The process dies; another one opens what is in the folder.
    fn crash(&mut self) {
        let (parent, dir) = copy(&self.dir);
        let now = self.world.engine.now();
        self.world = World::open_at(&dir, now);
        self.dir = dir;
        self.folders.push(parent);
    }

    fn check(&self) {
        for number in 0..NAMES.len() {
            check_places(&self.sale(number));
        }
        let value = self.sale(1).face_value().unwrap();
        assert!(value.holds() && value.budget == BUDGET, "{value:?}");
        for (sale, token, units) in &self.holds {
            let sale = self.sale(*sale);
            let standing = sale.inner.allocator.standing(sale.open_token(token).unwrap());
            if !matches!(standing, Standing::Ended(_) | Standing::Gone) {
                assert_eq!(sale.units(token).as_ref(), Ok(units), "a hold has other units than it was made with");
            }
        }
        for (order, (sale, units)) in &self.orders {
            assert_eq!(self.sale(*sale).units(order).as_ref(), Ok(units), "an order has other units now");
        }
    }

    /// Everybody's time is over; then whoever comes buys the rest.
    fn end(mut self) {
        self.world.engine.sync().unwrap();
        self.world.pass(seconds(500));
        for number in 0..NAMES.len() {
            for buyer in 1_000.. {
                match self.sale(number).reserve(buyer, 1) {
                    Ok(hold) => {
                        let token = hold.token();
                        self.confirm(number, &token, true);
                    }
                    Err(rejection) => {
                        assert_eq!(rejection, Rejection::SoldOut);
                        break;
                    }
                }
            }
        }
        self.check();
        self.crash();
        self.check();
        let value = self.sale(1).face_value().unwrap();
        assert_eq!(value.sold, BUDGET, "{value:?}");
    }
}

fn live(steps: &[Step]) {
    let mut life = Life::begin();
    for step in steps {
        life.step(step);
    }
    life.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_and_wherever_it_crashes_no_unit_is_in_two_places(
        steps in proptest::collection::vec(steps(), 1..90),
    ) {
        live(&steps);
    }
}

#[test]
#[should_panic(expected = "is in two places")]
fn control_a_unit_that_is_put_back_while_a_hold_has_it_is_found() {
    let mut life = Life::begin();
    life.step(&Step::Reserve { sale: 0, buyer: 1, quantity: 2 });
    let [unit, _] = &life.holds[0].2[..] else { panic!("two units") };
    life.sale(0).inner.allocator.restore_free_units(0, std::iter::once(unit.number));
    life.check();
}
