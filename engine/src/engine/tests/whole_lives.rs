//! Whole lives of one engine in which everything is used at once: baskets over sales with faces, keys and waitlists,
//! live changes, the kill switch, messages, compactions, and crashes.
//!
//! Properties, whatever was done and wherever it crashed:
//! 1. every answer to a payment that was waited for stands; durable holds are there with their deadlines and units;
//! 2. at any time every unit has one place, no buyer has more than the highest cap so far, and a basket is whole;
//! 3. a key has one hold that lives or is sold;
//! 4. nobody gets a unit past those who wait; after a tick nobody waits while a unit is free and the sale sells;
//! 5. "sold out" is said only if everything is sold, "all held" only if nothing is free but for those who wait;
//! 6. messages are the same whenever they are read, one for each order, and one reminder for whoever registered;
//! 7. the cap, the window and the kill switch are what operators last made of them;
//! 8. at the end everything can be sold, and the journal has the orders that the audit has.
//!
//! Negative control: a basket of which a part is given back is found.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    BasketRules, Baskets, ConfirmError, ExtendError, JoinError, JournalReader, Message, MessageKind, Receipt,
    RequestKey, Unit, Units, WaitOrder, Waiting, Waitlist,
    core::{allocator::Standing, slots::State},
    engine::events::EventKind,
};

const BUYERS: u64 = 9;
const HOLD: Duration = seconds(30);
const GRACE: Duration = seconds(2);
pub(super) const NAMES: [&str; 3] = ["coats", "seats", "codes"];
const CAPS: [u32; 3] = [2, 3, 2];
/// Where a sale's number stands, for a hold that is a basket.
const BASKET: usize = NAMES.len();

#[derive(Debug, Clone)]
pub(super) enum Step {
    Reserve { sale: usize, buyer: u64, quantity: u32, key: Option<u64> },
    Many { sale: usize, buyers: Vec<u64> },
    Basket { buyer: u64, quantities: [u32; 3] },
    Confirm { which: usize, waits: bool },
    Cancel { which: usize },
    Extend { which: usize },
    Join { sale: usize, buyer: u64 },
    Leave { sale: usize, buyer: u64 },
    Accept { sale: usize, buyer: u64 },
    Enroll { buyer: u64 },
    Ship { sale: usize, sequence: u64 },
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
    Compact,
    Crash,
}

pub(super) fn steps() -> impl Strategy<Value = Step> {
    let (sale, buyer) = (0..NAMES.len(), 0..BUYERS);
    let key = proptest::option::of(0_u64..2);
    let span = |range| proptest::option::of(range);
    prop_oneof![
        14 => (sale.clone(), buyer.clone(), 1_u32..4, key)
            .prop_map(|(sale, buyer, quantity, key)| Step::Reserve { sale, buyer, quantity, key }),
        2 => (sale.clone(), proptest::collection::vec(buyer.clone(), 1..6))
            .prop_map(|(sale, buyers)| Step::Many { sale, buyers }),
        8 => (buyer.clone(), [0_u32..3, 0_u32..3, 0_u32..2])
            .prop_map(|(buyer, quantities)| Step::Basket { buyer, quantities }),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(which, waits)| Step::Confirm { which, waits }),
        9 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        2 => any::<usize>().prop_map(|which| Step::Extend { which }),
        8 => (sale.clone(), buyer.clone()).prop_map(|(sale, buyer)| Step::Join { sale, buyer }),
        2 => (sale.clone(), buyer.clone()).prop_map(|(sale, buyer)| Step::Leave { sale, buyer }),
        3 => (sale.clone(), buyer.clone()).prop_map(|(sale, buyer)| Step::Accept { sale, buyer }),
        2 => buyer.prop_map(|buyer| Step::Enroll { buyer }),
        1 => (sale.clone(), 1_u64..4).prop_map(|(sale, sequence)| Step::Ship { sale, sequence }),
        2 => (sale.clone(), 1_u32..3).prop_map(|(sale, units)| Step::Add { sale, units }),
        2 => (sale.clone(), 1_u32..3).prop_map(|(sale, units)| Step::Withdraw { sale, units }),
        1 => sale.clone().prop_map(|sale| Step::Pause { sale }),
        3 => sale.clone().prop_map(|sale| Step::Resume { sale }),
        2 => (sale.clone(), span(0_u64..9_000), span(9_000_u64..60_000))
            .prop_map(|(sale, opens, closes)| Step::Move { sale, opens, closes }),
        2 => (sale, 1_u32..5).prop_map(|(sale, cap)| Step::Cap { sale, cap }),
        1 => Just(Step::PauseAll),
        3 => Just(Step::ResumeAll),
        5 => (0_u64..25_000).prop_map(|span| Step::Pass { span }),
        7 => Just(Step::Tick),
        1 => Just(Step::Sync),
        3 => Just(Step::Compact),
        5 => Just(Step::Crash),
    ]
}

/// A hold as its buyer knows it.
#[derive(Debug, Clone)]
struct Known {
    sale: usize,
    token: Token,
    deadline: Timestamp,
    units: Vec<Unit>,
    /// It is in the journal, and nothing was done to it since.
    kept: bool,
    /// It was neither ended nor written.
    fresh: bool,
}

pub(super) struct Life {
    pub(super) world: World,
    pub(super) dir: PathBuf,
    folders: Vec<tempfile::TempDir>,
    holds: Vec<Known>,
    /// What was answered to payments, and waited for.
    answers: HashMap<Token, (usize, Confirmation)>,
    /// Confirmations that nobody waits for.
    unwaited: Vec<(usize, Token)>,
    /// The latest hold of a key.
    keys: HashMap<(usize, u64, u64), Token>,
    /// Messages that were read.
    told: Vec<Message>,
    /// The highest cap so far, sale by sale.
    highest: [u32; 3],
    /// Labels that were given.
    labels: u32,
}

fn rules() -> BasketRules {
    BasketRules::new().hold_for(HOLD).grace(GRACE)
}

/// One stripe: slots that came back are used again.
fn open(dir: &Path, now: Timestamp) -> World {
    compaction::open_small(dir, now)
}

impl Life {
    pub(super) fn begin() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("j");
        let world = open(&dir, START);
        let line = |order| Waitlist { room: 4, accept_within: seconds(8), order };
        let spec = |number: usize, stock| {
            let spec = SaleSpec::new(NAMES[number], stock).hold_for(HOLD).grace(GRACE);
            spec.cap(CAPS[number]).largest(CAPS[number])
        };
        let labels = Units::Listed(["a", "b"].map(Box::from).into());
        world.sale(spec(0, 3).waitlist(line(WaitOrder::FirstCome)));
        world.sale(spec(1, 4).units(Units::Numbered { first: 1 }).reminds_at(START.plus(seconds(40))));
        world.sale(spec(2, 2).units(labels).waitlist(line(WaitOrder::Lottery { seed: 42 })));
        let baskets = world.engine.baskets(rules()).unwrap();
        let life = Self {
            world,
            dir,
            folders: vec![parent],
            holds: Vec::new(),
            answers: HashMap::new(),
            unwaited: Vec::new(),
            keys: HashMap::new(),
            told: Vec::new(),
            highest: CAPS,
            labels: 0,
        };
        // Slots that were never used come first: from now on those that came back are used.
        let sales = [0, 1, 2].map(|number| life.sale(number));
        for _ in 0..sales[0].inner.first_extent().length {
            for sale in &sales {
                sale.reserve(99, 1).unwrap().cancel().unwrap();
            }
            baskets.reserve(99, &[(&sales[0], 1)]).unwrap().cancel().unwrap();
        }
        life.world.engine.sync().unwrap();
        life
    }

    fn sale(&self, sale: usize) -> Sale {
        self.world.engine.sale(NAMES[sale]).unwrap()
    }

    fn baskets(&self) -> Baskets {
        self.world.engine.baskets(rules()).unwrap()
    }

    fn report(&self, sale: usize, token: &Token, payment: u64) -> Result<Pending, ConfirmError> {
        if sale == BASKET { self.baskets().confirm(token, payment) } else { self.sale(sale).confirm(token, payment) }
    }

    fn extend(&self, sale: usize, token: &Token, by: Duration) -> Result<Timestamp, ExtendError> {
        if sale == BASKET { self.baskets().extend(token, by) } else { self.sale(sale).extend(token, by) }
    }

    /// The units of a hold, or of a basket; nothing if it has ended unsold.
    fn units(&self, sale: usize, token: &Token) -> Option<Vec<Unit>> {
        if sale != BASKET {
            return self.sale(sale).units(token).ok();
        }
        Some(self.baskets().lines(token).ok()?.into_iter().flat_map(|line| line.units).collect())
    }

    fn know(&mut self, sale: usize, token: Token, deadline: Timestamp) {
        let units = self.units(sale, &token).unwrap();
        self.holds.push(Known { sale, token, deadline, units, kept: false, fresh: true });
    }

    /// Every token that was given.
    pub(super) fn tokens(&self) -> Vec<(usize, Token)> {
        self.holds.iter().map(|hold| (hold.sale, hold.token)).collect()
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Reserve { sale, buyer, quantity, key } => self.reserve(*sale, *buyer, *quantity, *key),
            Step::Many { sale: number, buyers } => {
                let (sale, mut answers) = (self.sale(*number), Vec::new());
                sale.reserve_many(&buyers.iter().copied().map(Buyer::from).collect::<Vec<_>>(), &mut answers);
                for hold in answers.into_iter().flatten() {
                    assert_eq!(sale.queue_length(), 0, "somebody got a unit past those who wait");
                    self.know(*number, hold.token(), hold.deadline());
                }
            }
            Step::Basket { buyer, quantities } => {
                let (sales, baskets) = ([0, 1, 2].map(|number| self.sale(number)), self.baskets());
                let items: Vec<_> = sales.iter().zip(*quantities).filter(|(_, quantity)| *quantity > 0).collect();
                if let Ok(basket) = baskets.reserve(*buyer, &items) {
                    assert!(items.iter().all(|(sale, _)| sale.queue_length() == 0), "a basket past those who wait");
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
            Step::Join { sale, buyer } => self.join(*sale, *buyer),
            Step::Leave { sale, buyer } => {
                self.touched(*sale, *buyer);
                let _left = self.sale(*sale).leave(*buyer).unwrap();
            }
            Step::Accept { sale, buyer } => {
                if let Some(token) = self.touched(*sale, *buyer) {
                    self.sale(*sale).accept(&token).unwrap();
                    assert_eq!(self.sale(*sale).waiting(*buyer), Waiting::No);
                }
            }
            Step::Enroll { buyer } => assert!(self.sale(1).enroll(*buyer).is_ok()),
            Step::Ship { sale, sequence } => {
                let _no_order_or_twice = self.sale(*sale).ship(*sequence);
            }
            Step::Add { sale: 2, units } => {
                let labels = (0..*units).map(|unit| format!("{}", self.labels + unit));
                self.sale(2).add_listed(labels).unwrap();
                self.labels += units;
            }
            Step::Add { sale, units } => self.sale(*sale).add_stock(*units).unwrap(),
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
            Step::Tick => self.tick(),
            Step::Sync => {
                self.world.engine.sync().unwrap();
                self.written();
            }
            Step::Compact => {
                self.world.engine.compact().unwrap();
            }
            Step::Crash => self.crash(),
        }
        self.check();
    }

    fn reserve(&mut self, number: usize, buyer: u64, quantity: u32, key: Option<u64>) {
        let sale = self.sale(number);
        let request = sale.request(buyer).quantity(quantity);
        let answer = match key {
            None => request.reserve(),
            Some(key) => request.key(&RequestKey::new(&format!("key-{key}")).unwrap()).reserve(),
        };
        match answer {
            Ok(hold) => {
                let (token, deadline) = (hold.token(), hold.deadline());
                let again = self.holds.iter().any(|known| known.token == token);
                assert!(again || sale.queue_length() == 0, "buyer {buyer} got a unit past those who wait");
                assert_eq!((hold.buyer(), hold.quantity()), (Buyer::from(buyer), quantity));
                if let Some(key) = key
                    && let Some(before) = self.keys.insert((number, buyer, key), token)
                    && before != token
                {
                    let standing = sale.inner.allocator.standing(sale.open_token(&before).unwrap());
                    assert!(matches!(standing, Standing::Gone | Standing::Ended(_)), "a key has two: {standing:?}");
                }
                if !again {
                    self.know(number, token, deadline);
                }
            }
            Err(Rejection::SoldOut) => {
                let audit = sale.audit();
                assert_eq!((audit.free, audit.held), (0, 0), "said to be sold out: {audit}");
            }
            Err(Rejection::AllHeld { .. }) => {
                let audit = sale.audit();
                assert!(audit.held + audit.free > 0, "said to be held: {audit}");
                assert!(audit.free == 0 || sale.queue_length() > 0, "said to be held: {audit}");
            }
            Err(Rejection::AttemptUnderWay) => panic!("nobody else is there"),
            Err(_) => {}
        }
    }

    fn join(&mut self, number: usize, buyer: u64) {
        let sale = self.sale(number);
        match sale.join(buyer) {
            Ok(place) => assert_eq!(sale.waiting(buyer), Waiting::Queued(place)),
            Err(JoinError::UnitsFree) => assert!(sale.queue_length() == 0 && sale.audit().free > 0),
            Err(JoinError::Rejected(Rejection::SoldOut)) => {
                let audit = sale.audit();
                assert_eq!((audit.free, audit.held), (0, 0), "said to be sold out: {audit}");
            }
            Err(JoinError::Rejected(Rejection::AttemptUnderWay)) => panic!("nobody else is there"),
            Err(_) => {}
        }
    }

    /// What the buyer was offered, of which from now on nothing is known for sure.
    fn touched(&mut self, sale: usize, buyer: u64) -> Option<Token> {
        let Waiting::Offered { token, .. } = self.sale(sale).waiting(buyer) else { return None };
        if let Some(known) = self.holds.iter_mut().find(|known| known.token == token) {
            (known.kept, known.fresh) = (false, false);
        }
        Some(token)
    }

    /// A hold, of which from now on nothing is known for sure.
    fn pick(&mut self, which: usize) -> Option<(usize, Token)> {
        // One of the latest: most of the others have ended long ago.
        let back = which.checked_rem(self.holds.len().min(7))?;
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
            Err(error) => panic!("nobody else is there: {error}"),
        };
        if waits {
            self.answered(number, token, pending.wait().unwrap());
        } else {
            drop(pending);
            self.unwaited.push((number, token));
        }
    }

    fn answered(&mut self, number: usize, token: Token, answer: Confirmation) {
        if let Some((_, before)) = self.answers.insert(token, (number, answer)) {
            assert_same(before, answer);
        }
    }

    /// Time acts, and once more: what a basket of this tick gave back is offered by the next one.
    fn tick(&mut self) {
        let events = self.world.engine.subscribe(1_000);
        for _ in 0..2 {
            self.world.engine.tick(self.world.engine.now());
        }
        self.written();
        while let Some(event) = events.try_next() {
            if let EventKind::Offered { token, accept_by, buyer } = event.kind {
                let number = NAMES.iter().position(|name| **name == *event.sale).unwrap();
                let limit = self.sale(number).spec().cap;
                let share = shares(&self.sale(number))[&buyer];
                assert!(share <= limit, "buyer {buyer} was offered a unit, and has {share} with a cap of {limit}");
                self.know(number, token, accept_by);
            }
        }
        self.written();
        for sale in self.world.engine.sales() {
            let audit = sale.audit();
            let stuck = sale.state() == SaleState::Open && sale.queue_length() > 0 && audit.free > 0;
            assert!(!stuck, "{} wait, and units are free: {audit}", sale.queue_length());
        }
    }

    /// The process dies; another one opens what is in the folder.
    fn crash(&mut self) {
        self.read_messages();
        let (parent, dir) = copy(&self.dir);
        let now = self.world.engine.now();
        let rules = |engine: &Engine| (engine.is_paused(), NAMES.map(|name| engine.sale(name).unwrap().spec()));
        let before = rules(&self.world.engine);
        self.world = open(&dir, now);
        assert_eq!(rules(&self.world.engine), before, "what operators made of it");
        self.dir = dir;
        self.folders.push(parent);
        self.check();
        self.read_messages();
        let now = self.world.engine.now();
        for hold in &self.holds {
            if hold.kept && now <= hold.deadline {
                let there = self.extend(hold.sale, &hold.token, Duration::ZERO);
                assert_eq!(there, Ok(hold.deadline), "a durable hold: {hold:?}");
                assert_eq!(self.units(hold.sale, &hold.token).as_ref(), Some(&hold.units), "{hold:?}");
            }
            if hold.fresh && now <= hold.deadline {
                // Lost, or written together with another's end; never somebody else's.
                match self.extend(hold.sale, &hold.token, Duration::ZERO) {
                    Ok(deadline) => {
                        assert_eq!(deadline, hold.deadline);
                        assert_eq!(self.units(hold.sale, &hold.token).as_ref(), Some(&hold.units), "{hold:?}");
                    }
                    Err(refusal) => assert!(matches!(refusal, ExtendError::Ended(_)), "{refusal}"),
                }
            }
        }
        self.holds.iter_mut().for_each(|hold| hold.fresh = false);
        let answers: Vec<_> = self.answers.iter().map(|(token, (sale, answer))| (*token, *sale, *answer)).collect();
        for (token, sale, before) in answers {
            assert_same(before, self.report(sale, &token, 1).unwrap().wait().unwrap());
        }
        // What nobody waited for is there, or can still be paid, or is gone: a second report finds out.
        for (sale, token) in std::mem::take(&mut self.unwaited) {
            let answer = self.report(sale, &token, 7).unwrap().wait().unwrap();
            self.answered(sale, token, answer);
        }
        self.check();
    }

    /// Messages that were read once are read again.
    fn read_messages(&mut self) {
        let (mut outbox, mut told) = (self.world.engine.outbox().unwrap().unwrap(), Vec::new());
        outbox.read(usize::MAX - 1, &mut told).unwrap();
        assert!(told.starts_with(&self.told), "{told:?} was before {:?}", self.told);
        self.told = told;
    }

    fn check(&self) {
        for (number, sale) in (0..).zip(self.world.engine.sales()) {
            let audit = sale.audit();
            assert!(audit.holds(), "{audit}");
            check_places(&sale);
            sale.inner.keys.entries().unwrap();
            let (shares, cap) = (shares(&sale), self.highest[number]);
            assert!(shares.values().all(|share| *share <= cap), "{} with a cap of {cap}: {shares:?}", sale.name());
        }
        self.check_baskets();
    }

    /// Every basket is whole, and every part belongs to one.
    fn check_baskets(&self) {
        let desk = self.world.engine.inner.sale("*baskets").unwrap();
        let mut parts = 0;
        for (slot, _) in living(&desk) {
            let inside = desk.basket_parts(slot);
            assert!(!inside.is_empty(), "nothing is in the basket of slot {slot}");
            let basket = desk.allocator.slots().load(slot).state();
            for part in inside {
                let sale = desk.desk().member(part.line.sale);
                let snapshot = sale.allocator.slots().load(part.slot);
                let there = matches!(
                    (basket, snapshot.state()),
                    (State::Sold { .. }, State::Sold { .. })
                        | (State::Held { .. } | State::Confirming, State::Part { .. })
                );
                assert!(there && snapshot.generation() == part.generation, "{basket:?} has {snapshot:?}");
                parts += usize::from(matches!(snapshot.state(), State::Part { .. }));
            }
        }
        let all: usize = self
            .world
            .engine
            .sales()
            .iter()
            .map(|sale| living(&sale.inner))
            .map(|living| living.filter(|(_, state)| matches!(state, State::Part { .. })).count())
            .sum();
        assert_eq!(parts, all, "parts of no basket");
    }

    /// The journal's orders, sale by sale.
    fn orders(&self) -> [Vec<SoldRecord>; 3] {
        let mut orders = [const { Vec::new() }; 3];
        for order in JournalReader::open(&self.dir).unwrap() {
            let (name, order) = order.unwrap();
            orders[NAMES.iter().position(|known| *known == name).unwrap()].push(order);
        }
        orders
    }

    /// Everybody's time is over; then whoever comes buys the rest.
    pub(super) fn end(mut self) {
        self.world.engine.sync().unwrap();
        for number in 0..NAMES.len() {
            self.sale(number).resume().unwrap();
            self.sale(number).move_window(None, None).unwrap();
            self.sale(number).set_cap(self.highest[number]).unwrap();
        }
        self.world.engine.resume_all().unwrap();
        let waits = |life: &Self| {
            life.world
                .engine
                .sales()
                .iter()
                .any(|sale| sale.audit().held > 0 || (sale.queue_length() > 0 && sale.audit().free > 0))
        };
        for turn in 0.. {
            assert!(turn < 30, "it doesn't come to rest");
            self.world.clock.advance(seconds(100));
            self.tick();
            if !waits(&self) {
                break;
            }
        }
        for number in 0..NAMES.len() {
            let sale = self.sale(number);
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
        let mut confirmed = 0;
        for (number, orders) in self.orders().iter().enumerate() {
            let audit = self.sale(number).audit();
            assert_eq!((audit.free, audit.held), (0, 0), "{audit}");
            let mut digest = Digest::default();
            for (sequence, order) in (1..).zip(orders) {
                assert_eq!(order.sequence, sequence);
                digest.add(order.sequence, order.buyer, order.quantity);
                let told = self.told.iter().filter(|message| {
                    *message.sale == *NAMES[number]
                        && message.buyer == order.buyer
                        && matches!(message.kind, MessageKind::Confirmation { sequence, quantity, .. }
                            if (sequence, quantity) == (order.sequence, order.quantity))
                });
                assert_eq!(told.count(), 1, "{order:?}");
            }
            confirmed += orders.len();
            assert_eq!((digest, orders.len() as u64), (audit.digest, audit.orders));
        }
        let count = |wanted: fn(&MessageKind) -> bool| self.told.iter().filter(|told| wanted(&told.kind)).count();
        assert_eq!(count(|kind| matches!(kind, MessageKind::Confirmation { .. })), confirmed);
        assert_eq!(count(|kind| matches!(kind, MessageKind::Reminder)), self.sale(1).inner.registered.len());
    }
}

/// Slots of the sale that are neither free nor used up.
fn living(sale: &state::SaleInner) -> impl Iterator<Item = (u32, State)> {
    let slots = sale.allocator.slots();
    let all = slots.present().flat_map(|(first, chunk)| (first..).take(chunk.len()));
    all.map(|slot| (slot, slots.load(slot).state()))
        .filter(|(_, state)| !matches!(state, State::Free(_) | State::Retired))
}

/// What each buyer has.
fn shares(sale: &Sale) -> HashMap<Buyer, u32> {
    let mut shares = HashMap::new();
    for (slot, _) in living(&sale.inner) {
        let share = sale.inner.allocator.share_of(slot);
        *shares.entry(share.buyer).or_insert(0) += share.quantity;
    }
    shares
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_used_together_and_wherever_it_crashes_everything_adds_up(
        steps in proptest::collection::vec(steps(), 1..120),
    ) {
        let mut life = Life::begin();
        for step in &steps {
            life.step(step);
        }
        life.end();
    }
}

#[test]
#[should_panic(expected = "has Free")]
fn control_a_basket_of_which_a_part_is_given_back_is_found() {
    let mut life = Life::begin();
    life.step(&Step::Basket { buyer: 1, quantities: [1, 1, 0] });
    let sale = life.sale(0);
    let (slot, _) = living(&sale.inner).next().unwrap();
    sale.inner.allocator.end_part(slot, crate::core::End::Cancelled, 0);
    life.check();
}
