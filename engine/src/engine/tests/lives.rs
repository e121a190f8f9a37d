//! Whole lives of an engine, with crashes in them.
//!
//! A crash takes the journal's folder as it is: everything written is there, what was only in memory is gone.
//!
//! Properties, whatever was done and wherever it crashed:
//! 1. every answer to a payment that was waited for stands: an order keeps its receipt, a refund stays a refund;
//! 2. at any time `stock + added - withdrawn == sold + held + free`, and no buyer has more than the highest cap so far;
//! 3. the journal has the orders 1, 2, 3, .. without a gap, and the digest that the audit has;
//! 4. a hold that was made durable and not touched since is there with its deadline; one that was lost touches nothing;
//! 5. at the end everything that is not sold can be sold;
//! 6. the cap, the window and the kill switch are what operators last made of them.
//!
//! Negative control: an oracle that remembers an order too many is contradicted.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{BasketRules, Baskets, ConfirmError, ExtendError, JournalReader, Receipt};

const BUYERS: u64 = 8;
const HOLD: Duration = seconds(30);
const GRACE: Duration = seconds(2);

#[derive(Debug, Clone)]
enum Step {
    Reserve { sale: usize, buyer: u64, quantity: u32 },
    ReserveMany { buyers: Vec<u64> },
    Basket { buyer: u64, quantities: [u32; 2] },
    Confirm { which: usize, waits: bool },
    Cancel { which: usize },
    Extend { which: usize },
    Add { sale: usize, units: u32 },
    Withdraw { sale: usize, units: u32 },
    Pause { sale: usize },
    Resume { sale: usize },
    Move { sale: usize, opens: Option<u64>, closes: Option<u64> },
    Cap { sale: usize, cap: u32 },
    PauseAll,
    ResumeAll,
    Pass { span: u64 },
    Tick,
    Sync,
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    let sale = 0_usize..2;
    prop_oneof![
        12 => (sale.clone(), 0..BUYERS, 1_u32..4)
            .prop_map(|(sale, buyer, quantity)| Step::Reserve { sale, buyer, quantity }),
        2 => proptest::collection::vec(0..BUYERS, 1..6).prop_map(|buyers| Step::ReserveMany { buyers }),
        5 => (0..BUYERS, [1_u32..3, 1_u32..4])
            .prop_map(|(buyer, quantities)| Step::Basket { buyer, quantities }),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(which, waits)| Step::Confirm { which, waits }),
        6 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        2 => any::<usize>().prop_map(|which| Step::Extend { which }),
        1 => (sale.clone(), 1_u32..40).prop_map(|(sale, units)| Step::Add { sale, units }),
        1 => (sale.clone(), 1_u32..9).prop_map(|(sale, units)| Step::Withdraw { sale, units }),
        1 => sale.clone().prop_map(|sale| Step::Pause { sale }),
        3 => sale.clone().prop_map(|sale| Step::Resume { sale }),
        2 => (sale.clone(), proptest::option::of(0_u64..9_000), proptest::option::of(9_000_u64..60_000))
            .prop_map(|(sale, opens, closes)| Step::Move { sale, opens, closes }),
        2 => (sale, 1_u32..6).prop_map(|(sale, cap)| Step::Cap { sale, cap }),
        1 => Just(Step::PauseAll),
        3 => Just(Step::ResumeAll),
        4 => (0_u64..25_000).prop_map(|span| Step::Pass { span }),
        2 => Just(Step::Tick),
        1 => Just(Step::Sync),
        4 => Just(Step::Crash),
    ]
}

/// A hold as its buyer knows it.
#[derive(Debug, Clone, Copy)]
struct Known {
    sale: usize,
    token: Token,
    deadline: Timestamp,
    /// It is in the journal, and nothing was done to it since.
    kept: bool,
    /// It was neither ended nor written.
    fresh: bool,
}

struct Life {
    world: World,
    dir: PathBuf,
    folders: Vec<tempfile::TempDir>,
    holds: Vec<Known>,
    /// What was answered to payments, and waited for.
    answers: HashMap<Token, (usize, Confirmation)>,
    /// Confirmations that nobody waits for.
    unwaited: Vec<(usize, Token)>,
    /// The highest cap so far, sale by sale.
    highest: [u32; 2],
}

const NAMES: [&str; 2] = ["single", "several"];
/// Where a sale's number stands, for a hold that is a basket.
const BASKET: usize = NAMES.len();

impl Life {
    fn begin() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("j");
        let world = World::open(&dir);
        world.sale(SaleSpec::new(NAMES[0], 3).cap(2).largest(2).hold_for(HOLD).grace(GRACE));
        let numbered = crate::Units::Numbered { first: 1 };
        world.sale(SaleSpec::new(NAMES[1], 5).cap(4).largest(3).hold_for(HOLD).grace(GRACE).units(numbered));
        world.engine.baskets(BasketRules::new().hold_for(HOLD).grace(GRACE)).unwrap();
        let (holds, answers, unwaited) = (Vec::new(), HashMap::new(), Vec::new());
        Self { world, dir, folders: vec![parent], holds, answers, unwaited, highest: [2, 4] }
    }

    fn sale(&self, sale: usize) -> Sale {
        self.world.engine.sale(NAMES[sale]).unwrap()
    }

    fn baskets(&self) -> Baskets {
        self.world.engine.baskets(BasketRules::new()).unwrap()
    }

    fn report(&self, sale: usize, token: &Token, payment: u64) -> Result<Pending, ConfirmError> {
        if sale == BASKET { self.baskets().confirm(token, payment) } else { self.sale(sale).confirm(token, payment) }
    }

    fn extend(&self, sale: usize, token: &Token, by: Duration) -> Result<Timestamp, ExtendError> {
        if sale == BASKET { self.baskets().extend(token, by) } else { self.sale(sale).extend(token, by) }
    }

    fn know(&mut self, sale: usize, token: Token, deadline: Timestamp) {
        self.holds.push(Known { sale, token, deadline, kept: false, fresh: true });
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Reserve { sale, buyer, quantity } => {
                let number = *sale;
                let sale = self.sale(number);
                let quantity = if number == 0 { 1 } else { *quantity };
                if let Ok(hold) = sale.reserve(*buyer, quantity) {
                    self.know(number, hold.token(), hold.deadline());
                }
            }
            Step::ReserveMany { buyers } => {
                let (sale, mut answers) = (self.sale(0), Vec::new());
                sale.reserve_many(&buyers.iter().copied().map(Buyer::from).collect::<Vec<_>>(), &mut answers);
                for hold in answers.into_iter().flatten() {
                    self.know(0, hold.token(), hold.deadline());
                }
            }
            Step::Basket { buyer, quantities: [single, several] } => {
                let (first, second, baskets) = (self.sale(0), self.sale(1), self.baskets());
                if let Ok(basket) = baskets.reserve(*buyer, &[(&second, *several), (&first, *single)]) {
                    self.know(BASKET, basket.token(), basket.deadline());
                }
            }
            Step::Confirm { which, waits } => self.confirm(*which, *waits),
            Step::Cancel { which } => {
                if let Some((sale, token)) = self.pick(*which) {
                    let _ended_before =
                        if sale == BASKET { self.baskets().cancel(&token) } else { self.sale(sale).cancel(&token) };
                }
            }
            Step::Extend { which } => {
                if let Some((sale, token)) = self.pick(*which) {
                    let _over = self.extend(sale, &token, seconds(5));
                }
            }
            // The first sale stays scarce, the second one grows beyond its first slots.
            Step::Add { sale: 0, .. } => self.sale(0).add_stock(1).unwrap(),
            Step::Add { sale, units } => self.sale(*sale).add_stock(*units).unwrap(),
            Step::Withdraw { sale: 0, .. } => assert!(self.sale(0).withdraw(1).unwrap() <= 1),
            Step::Withdraw { sale, units } => assert!(self.sale(*sale).withdraw(*units).unwrap() <= *units),
            Step::Pause { sale } => self.sale(*sale).pause().unwrap(),
            Step::Resume { sale } => self.sale(*sale).resume().unwrap(),
            Step::Move { sale, opens, closes } => {
                let now = self.world.engine.now();
                let [opens, closes] = [opens, closes].map(|span| span.map(|span| now.plus(millis(span))));
                self.sale(*sale).move_window(opens, closes).unwrap();
            }
            Step::Cap { sale, cap } => {
                self.sale(*sale).set_cap(*cap).unwrap();
                self.highest[*sale] = self.highest[*sale].max(*cap);
            }
            Step::PauseAll => self.world.engine.pause_all().unwrap(),
            Step::ResumeAll => self.world.engine.resume_all().unwrap(),
            Step::Pass { span } => self.world.clock.advance(millis(*span)),
            Step::Tick => {
                self.world.engine.tick(self.world.engine.now());
                self.written();
            }
            Step::Sync => {
                self.world.engine.sync().unwrap();
                self.written();
            }
            Step::Crash => self.crash(),
        }
        self.check();
    }

    /// A hold, of which from now on nothing is known for sure.
    fn pick(&mut self, which: usize) -> Option<(usize, Token)> {
        // One of the latest: most of the others have ended long ago.
        let back = which.checked_rem(self.holds.len().min(6))?;
        let at = self.holds.len() - 1 - back;
        let hold = &mut self.holds[at];
        (hold.kept, hold.fresh) = (false, false);
        Some((hold.sale, hold.token))
    }

    fn written(&mut self) {
        for hold in &mut self.holds {
            hold.kept |= hold.fresh;
            hold.fresh = false;
        }
    }

    fn confirm(&mut self, which: usize, waits: bool) {
        let Some((number, token)) = self.pick(which) else { return };
        let pending = match self.report(number, &token, which as u64) {
            Ok(pending) => pending,
            Err(error) => return assert_eq!(error, ConfirmError::AttemptUnderWay),
        };
        if !waits {
            drop(pending);
            self.unwaited.push((number, token));
            return;
        }
        let answer = pending.wait().unwrap();
        if let Some((_, before)) = self.answers.insert(token, (number, answer)) {
            assert_same(before, answer);
        }
    }

    /// The process dies; another one opens what is in the folder.
    fn crash(&mut self) {
        let (parent, dir) = copy(&self.dir);
        let now = self.world.engine.now();
        let rules = |engine: &Engine| (engine.is_paused(), [0, 1].map(|sale| engine.sale(NAMES[sale]).unwrap().spec()));
        let before = rules(&self.world.engine);
        self.world = World::open_at(&dir, now);
        assert_eq!(rules(&self.world.engine), before, "what operators made of it");
        self.dir = dir;
        self.folders.push(parent);
        self.check();
        let now = self.world.engine.now();
        for hold in &self.holds {
            if hold.kept && now <= hold.deadline {
                let there = self.extend(hold.sale, &hold.token, Duration::ZERO);
                assert_eq!(there, Ok(hold.deadline), "a durable hold");
            }
            if hold.fresh && now <= hold.deadline {
                // Lost, or written together with another's end; never somebody else's.
                match self.extend(hold.sale, &hold.token, Duration::ZERO) {
                    Ok(deadline) => assert_eq!(deadline, hold.deadline),
                    Err(refusal) => assert!(matches!(refusal, ExtendError::Ended(_)), "{refusal}"),
                }
            }
        }
        self.holds.iter_mut().for_each(|hold| hold.fresh = false);
        let answers: Vec<_> = self.answers.iter().map(|(token, (sale, answer))| (*token, *sale, *answer)).collect();
        for (token, sale, before) in answers {
            let now = self.report(sale, &token, 1).unwrap().wait().unwrap();
            assert_same(before, now);
        }
        // What nobody waited for is there, or can still be paid, or is gone: a second report finds out.
        for (sale, token) in std::mem::take(&mut self.unwaited) {
            if let Ok(pending) = self.report(sale, &token, 7) {
                let answer = pending.wait().unwrap();
                if let Some((_, before)) = self.answers.insert(token, (sale, answer)) {
                    assert_same(before, answer);
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        for audit in self.world.engine.audit() {
            assert!(audit.holds(), "{audit}");
        }
        self.world.engine.sales().iter().for_each(check_places);
    }

    /// The journal's orders, sale by sale.
    fn orders(&self) -> Vec<Vec<SoldRecord>> {
        let mut orders = vec![Vec::new(); NAMES.len()];
        for order in JournalReader::open(&self.dir).unwrap() {
            let (name, order) = order.unwrap();
            orders[NAMES.iter().position(|known| *known == name).unwrap()].push(order);
        }
        orders
    }

    /// Everybody's time is over; then whoever comes buys the rest.
    fn end(mut self) {
        self.world.engine.sync().unwrap();
        for number in 0..NAMES.len() {
            self.sale(number).resume().unwrap();
            self.sale(number).move_window(None, None).unwrap();
        }
        self.world.engine.resume_all().unwrap();
        self.world.pass(seconds(500));
        for number in 0..NAMES.len() {
            let sale = self.sale(number);
            assert_eq!(sale.audit().held, 0, "every hold has ended");
            for buyer in 1_000.. {
                match sale.reserve(buyer, 1) {
                    Ok(hold) => assert!(matches!(pay(&sale, &hold.token()), Confirmation::Confirmed(_))),
                    Err(rejection) => {
                        assert_eq!(rejection, Rejection::SoldOut);
                        break;
                    }
                }
            }
        }
        self.crash();
        for (number, orders) in self.orders().iter().enumerate() {
            let audit = self.sale(number).audit();
            assert_eq!((audit.free, audit.held), (0, 0), "{audit}");
            let (mut digest, mut shares) = (Digest::default(), HashMap::new());
            for (sequence, order) in (1..).zip(orders) {
                assert_eq!(order.sequence, sequence);
                digest.add(order.sequence, order.buyer, order.quantity);
                *shares.entry(order.buyer).or_insert(0) += order.quantity;
            }
            assert_eq!((digest, orders.len() as u64), (audit.digest, audit.orders));
            let cap = self.highest[number];
            assert!(shares.values().all(|share| *share <= cap), "{shares:?}");
        }
    }
}

/// What was answered once, and waited for, is answered for ever.
#[track_caller]
fn assert_same(before: Confirmation, now: Confirmation) {
    let receipt = |confirmation| match confirmation {
        Confirmation::Confirmed(receipt)
        | Confirmation::AlreadyConfirmed(receipt)
        | Confirmation::PaidLate(receipt) => Some(receipt),
        _ => None::<Receipt>,
    };
    match (receipt(before), now) {
        (Some(first), Confirmation::AlreadyConfirmed(again)) => assert_eq!(first, again),
        (Some(_), _) => panic!("an order is gone: {before:?}, and now {now:?}"),
        (None, _) => assert_eq!(receipt(now), None, "a refund was sold after all: {before:?}, and now {now:?}"),
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
    fn whatever_is_done_and_wherever_it_crashes_what_was_answered_stands(
        steps in proptest::collection::vec(steps(), 1..90),
    ) {
        live(&steps);
    }
}

#[test]
#[should_panic(expected = "an order is gone")]
fn control_an_order_that_the_journal_never_had_is_missed() {
    let mut life = Life::begin();
    life.step(&Step::Reserve { sale: 0, buyer: 1, quantity: 1 });
    let Known { token, .. } = life.holds[0];
    let receipt = Receipt { sequence: 1, order: token, buyer: Buyer::from(1), quantity: 1 };
    life.answers.insert(token, (0, Confirmation::Confirmed(receipt)));
    life.crash();
}
