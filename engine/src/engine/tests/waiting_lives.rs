//! Whole lives of a sale with a waitlist, with crashes in them.
//!
//! Properties, whatever was done and wherever it crashed:
//! 1. the line is what it was when the journal was last committed, in its order and with its tickets;
//! 2. what comes back is offered to the first of the line, one after the other, and nobody reserves past them;
//! 3. a buyer is in the line or has an offer, never both;
//! 4. at any time `stock + added - withdrawn == sold + held + free`;
//! 5. at the end everything can be sold.
//!
//! Negative control: an oracle whose line is in another order is contradicted.

use proptest::prelude::*;

use super::*;
use crate::{JoinError, Left, WaitOrder, Waiting, Waitlist, engine::events::EventKind};

const BUYERS: u64 = 12;
const STOCK: u32 = 3;
const ROOM: u32 = 5;

#[derive(Debug, Clone)]
enum Step {
    Reserve { buyer: u64 },
    Join { buyer: u64 },
    Leave { buyer: u64 },
    Accept { buyer: u64 },
    Confirm { which: usize },
    Cancel { which: usize },
    Add,
    Withdraw,
    Pause,
    Resume,
    Pass { span: u64 },
    Commit,
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    let buyer = 0..BUYERS;
    prop_oneof![
        8 => buyer.clone().prop_map(|buyer| Step::Reserve { buyer }),
        10 => buyer.clone().prop_map(|buyer| Step::Join { buyer }),
        2 => buyer.clone().prop_map(|buyer| Step::Leave { buyer }),
        3 => buyer.prop_map(|buyer| Step::Accept { buyer }),
        1 => any::<usize>().prop_map(|which| Step::Confirm { which }),
        5 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        1 => Just(Step::Add),
        1 => Just(Step::Withdraw),
        1 => Just(Step::Pause),
        3 => Just(Step::Resume),
        8 => (0_u64..9_000).prop_map(|span| Step::Pass { span }),
        1 => Just(Step::Commit),
        3 => Just(Step::Crash),
    ]
}

struct Life {
    world: World,
    dir: PathBuf,
    folders: Vec<tempfile::TempDir>,
    order: WaitOrder,
    tokens: Vec<Token>,
    /// Who waits: what is drawn, the ticket, and who.
    line: Vec<(u64, u64, u64)>,
    /// The line when the journal was last committed.
    durable: Vec<(u64, u64, u64)>,
}

impl Life {
    fn begin(order: WaitOrder) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("j");
        let world = World::open(&dir);
        let waitlist = Waitlist { room: ROOM, accept_within: seconds(8), order };
        let spec = SaleSpec::new("books", STOCK).hold_for(seconds(30)).grace(seconds(2)).waitlist(waitlist);
        world.sale(match order {
            WaitOrder::FirstCome => spec,
            WaitOrder::Lottery { .. } => spec.units(crate::Units::Numbered { first: 1 }),
        });
        let folders = vec![parent];
        Self { world, dir, folders, order, tokens: Vec::new(), line: Vec::new(), durable: Vec::new() }
    }

    fn sale(&self) -> Sale {
        self.world.engine.sale("books").unwrap()
    }

    fn draw(&self, buyer: u64) -> u64 {
        match self.order {
            WaitOrder::FirstCome => 0,
            WaitOrder::Lottery { seed } => WaitOrder::draw(seed, Buyer::from(buyer)),
        }
    }

    fn pick(&self, which: usize) -> Option<Token> {
        let back = which.checked_rem(self.tokens.len().min(6))?;
        Some(self.tokens[self.tokens.len() - 1 - back])
    }

    fn step(&mut self, step: &Step) {
        let sale = self.sale();
        match step {
            Step::Reserve { buyer } => {
                if let Ok(hold) = sale.reserve(*buyer, 1) {
                    assert!(self.line.is_empty(), "buyer {buyer} got a unit past {:?}", self.line);
                    self.tokens.push(hold.token());
                }
            }
            Step::Join { buyer } => self.join(&sale, *buyer),
            Step::Leave { buyer } => {
                let waits = self.line.iter().position(|(_, _, other)| other == buyer);
                let left = sale.leave(*buyer).unwrap();
                assert_eq!(left == Left::Place, waits.is_some());
                if let Some(at) = waits {
                    self.line.remove(at);
                }
            }
            Step::Accept { buyer } => {
                if let Waiting::Offered { token, accept_by } = sale.waiting(*buyer) {
                    assert!(sale.accept(&token).unwrap() > accept_by);
                    assert_eq!(sale.waiting(*buyer), Waiting::No);
                }
            }
            Step::Confirm { which } => {
                if let Some(token) = self.pick(*which) {
                    pay(&sale, &token);
                }
            }
            Step::Cancel { which } => {
                if let Some(token) = self.pick(*which) {
                    let _ended_before = sale.cancel(&token);
                }
            }
            Step::Add => self.durably(|sale| sale.add_stock(1).unwrap()),
            Step::Withdraw => self.durably(|sale| assert!(sale.withdraw(1).unwrap() <= 1)),
            Step::Pause => self.durably(|sale| sale.pause().unwrap()),
            Step::Resume => self.durably(|sale| sale.resume().unwrap()),
            Step::Pass { span } => self.pass(millis(*span)),
            Step::Commit => self.durably(|sale| sale.engine.commit()),
            Step::Crash => self.crash(),
        }
        if let Step::Confirm { .. } = step {
            // Whether it waited for the disk depends on the answer.
            self.durably(|sale| sale.engine.commit());
        }
        self.check();
    }

    fn durably(&mut self, act: impl FnOnce(&Sale)) {
        act(&self.sale());
        self.durable.clone_from(&self.line);
    }

    fn join(&mut self, sale: &Sale, buyer: u64) {
        let waits = self.line.iter().any(|(_, _, other)| *other == buyer);
        match sale.join(buyer) {
            Ok(place) if waits => assert_eq!(sale.waiting(buyer), Waiting::Queued(place)),
            Ok(place) => {
                assert!(self.line.iter().all(|(_, ticket, _)| *ticket < place.ticket), "a ticket came again");
                self.line.push((self.draw(buyer), place.ticket, buyer));
                self.line.sort_unstable();
            }
            Err(JoinError::Full { room }) => assert_eq!(self.line.len(), room as usize),
            Err(JoinError::UnitsFree) => assert!(self.line.is_empty() && sale.audit().free > 0),
            Err(_) => assert!(!waits || sale.state() == SaleState::Paused || sale.audit().held == 0),
        }
    }

    /// Time acts: what is free is offered to the first.
    fn pass(&mut self, span: Duration) {
        let events = self.world.engine.subscribe(1_000);
        let ticked = self.world.pass(span);
        let mut offers = 0;
        while let Some(event) = events.try_next() {
            match event.kind {
                EventKind::Offered { buyer, token, .. } => {
                    let (_, _, head) = self.line.remove(0);
                    assert_eq!(buyer, Buyer::from(head), "somebody else than the head was offered a unit");
                    self.tokens.push(token);
                    offers += 1;
                }
                EventKind::PassedOver { buyer } => panic!("buyer {buyer} has nothing that is in the way"),
                _ => {}
            }
        }
        assert_eq!(ticked.offered, offers);
        let sale = self.sale();
        if sale.state() == SaleState::Open && !self.line.is_empty() {
            assert_eq!(sale.audit().free, 0, "units are free, and {:?} wait", self.line);
        }
        self.durable.clone_from(&self.line);
    }

    /// The process dies; another one opens what is in the folder.
    fn crash(&mut self) {
        let (parent, dir) = copy(&self.dir);
        let now = self.world.engine.now();
        self.world = World::open_at(&dir, now);
        self.dir = dir;
        self.folders.push(parent);
        self.line.clone_from(&self.durable);
    }

    fn check(&self) {
        let sale = self.sale();
        let audit = sale.audit();
        assert!(audit.holds(), "{audit}");
        check_places(&sale);
        assert_eq!(sale.queue_length(), self.line.len());
        for (ahead, (_, ticket, buyer)) in (0..).zip(&self.line) {
            let Waiting::Queued(place) = sale.waiting(*buyer) else { panic!("buyer {buyer} lost the place") };
            assert_eq!((place.ticket, place.ahead), (*ticket, ahead), "buyer {buyer}");
        }
        let waits = |buyer: &u64| self.line.iter().any(|(_, _, other)| other == buyer);
        for buyer in (0..BUYERS).filter(|buyer| !waits(buyer)) {
            assert!(!matches!(sale.waiting(buyer), Waiting::Queued(_)), "buyer {buyer} waits for nothing");
        }
    }

    /// Everybody's time is over, the line is served, and then whoever comes buys the rest.
    fn end(mut self) {
        self.world.engine.sync().unwrap();
        let sale = self.sale();
        sale.resume().unwrap();
        while sale.audit().held > 0 || (!self.line.is_empty() && sale.audit().free > 0) {
            self.pass(seconds(40));
        }
        for buyer in 1_000.. {
            match sale.reserve(buyer, 1) {
                Ok(hold) => assert!(matches!(pay(&sale, &hold.token()), Confirmation::Confirmed(_))),
                Err(rejection) => {
                    assert_eq!(rejection, Rejection::SoldOut);
                    break;
                }
            }
        }
        let audit = sale.audit();
        assert_eq!((audit.free, audit.held), (0, 0), "{audit}");
    }
}

fn live(order: WaitOrder, steps: &[Step]) {
    let mut life = Life::begin(order);
    for step in steps {
        life.step(step);
    }
    life.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_and_wherever_it_crashes_the_line_is_served_in_its_order(
        lottery in any::<bool>(),
        steps in proptest::collection::vec(steps(), 1..90),
    ) {
        live(if lottery { WaitOrder::Lottery { seed: 42 } } else { WaitOrder::FirstCome }, &steps);
    }
}

#[test]
#[should_panic(expected = "somebody else than the head")]
fn control_a_line_in_another_order_is_contradicted() {
    let mut life = Life::begin(WaitOrder::FirstCome);
    for buyer in 0..3 {
        life.step(&Step::Reserve { buyer });
    }
    for buyer in 5..7 {
        life.step(&Step::Join { buyer });
    }
    life.line.reverse();
    life.sale().cancel(&life.tokens[0]).unwrap();
    life.pass(seconds(1));
}
