//! The whole engine against a simple oracle, as a state machine: everything that buyers, operators and time do, in any
//! order, with crashes among it, on a disk in memory that loses or tears what was not synced, fails, or is full.
//!
//! ```text
//! ops      plain values; proptest makes them, and shrinks what fails
//! steps    an op is done, and its answer compared with what the oracle says
//! oracle   tickets, rules, lines, orders: what everybody was told, and sums over it
//! reopen   a crash: what may be lost is looked for, and nothing else may be; at the end all is sold
//! ```
//!
//! Properties, after every step, whatever was done and wherever it crashed:
//! 1. units: `stock + added - withdrawn == sold + held + free`, each part as the oracle has it; each unit has one
//!    place; a hold and its order have the units that they were made with; amounts add up to their budget;
//! 2. answers: a unit is given to whoever must have it and to nobody else; who is refused is told the truth: nobody for
//!    want of stock while units are free, nobody for a cap that allows more, "sold out" only if all is sold;
//! 3. ends: cancelled, expired, sold: one of them, when the oracle says so, for a basket as a whole;
//! 4. caps: each buyer has what the oracle says, held, bought and in baskets together;
//! 5. the line: in its order and with its tickets; what comes back is offered to its head, nobody reserves past it, and
//!    after a tick nobody waits while a unit is free and the sale sells; a buyer waits or has an offer;
//! 6. keys: a key has one hold that lives or is sold;
//! 7. cap, window, stock and switches are what operators last made of them.
//!
//! After a crash, too:
//! 8. what was answered to a payment stands: an order has its receipt, a refund stays a refund;
//! 9. the journal's orders are those that were decided, in their sequence, without a gap, at least those that somebody
//!    was told of; its digest is the audit's; nothing is sold that nobody paid;
//! 10. a durable hold is there with a deadline that it had, a durable end stays; a lost hold's token touches nothing;
//! 11. the line is one that there was since the last commit; operators' changes, shippings and who registered are
//!     there;
//! 12. messages that were read once are read again; at the end there is one for each order, shipping and registration;
//! 13. at the end everything that is not sold can be sold.
//!
//! Negative controls: a disk whose sync lies, and an oracle, or an engine, that is changed behind the other's back.
//!
//! The lives are the same in every run; `PROPTEST_CASES=5000 cargo nextest run -p sellout machine` tries others.

mod controls;
mod op;
mod oracle;
mod reopen;
mod steps;

use std::collections::HashMap;

use proptest::{prelude::*, test_runner::RngSeed};

pub(super) use op::lives;
use op::{BUYERS, Crash, Op, SALES};
use oracle::{BASKET, Fate, GRACE, HOLD, Oracle, Order, Shop};

use super::*;
use crate::{
    Amounts, Audience, BasketRules, Baskets, Clock, Durability, Message, MessageKind, Receipt, ShipError, Unit, Units,
    WaitOrder, Waiting, Waitlist,
    core::{allocator::Standing, slots::State},
    journal::{Fault, Flaw, SimDisk},
};

pub(super) const NAMES: [&str; SALES] = ["coats", "seats", "codes", "gifts"];
const BUDGET: u64 = 700;
/// How long an offer stands.
const ACCEPT: Duration = seconds(8);
/// A buyer who comes before the others.
const FIRST: u64 = 99;

/// What is as it is for a whole life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// Of the disk.
    pub(super) seed: u64,
    pub(super) stripes: usize,
    /// Confirmations are acknowledged before they are durable.
    pub(super) buffered: bool,
    /// Every slot was used once: holds get slots that came back.
    pub(super) worn: bool,
}

fn setups() -> impl Strategy<Value = Setup> {
    (any::<u64>(), prop_oneof![Just(1_usize), Just(4)], proptest::bool::weighted(0.25), any::<bool>())
        .prop_map(|(seed, stripes, buffered, worn)| Setup { seed, stripes, buffered, worn })
}

/// The engine and the oracle.
pub(super) struct Machine {
    setup: Setup,
    disk: SimDisk,
    pub(super) world: World,
    oracle: Oracle,
    /// A fault of the disk is about to come.
    armed: bool,
    /// Labels that were given.
    labels: u32,
    /// Messages that were read.
    told: Vec<Message>,
    /// Compactions that made one segment of several, or a shorter one.
    compactions: u64,
}

fn open(disk: &SimDisk, setup: &Setup, now: Timestamp) -> Result<World, OpenError> {
    let clock = Arc::new(ManualClock::starting_at(now));
    let durability = if setup.buffered { Durability::Buffered } else { Durability::Synced };
    let options = Engine::options().clock(clock.clone()).stripes(setup.stripes).durability(durability);
    Ok(World { engine: options.open_on(Arc::new(disk.clone()), compaction::small(now))?, clock })
}

fn basket_rules() -> BasketRules {
    BasketRules::new().hold_for(HOLD).grace(GRACE)
}

/// The four sales: scarce, with a line; for who registered, and growing; with labels and a lottery; gifts of money.
fn specs() -> Vec<SaleSpec> {
    let spec = |number: usize, stock| SaleSpec::new(NAMES[number], stock).hold_for(HOLD).grace(GRACE);
    let line = |order| Waitlist { room: 4, accept_within: ACCEPT, order };
    let labels = Units::Listed(["a", "b"].map(Box::from).into());
    let amounts = Amounts { budget: BUDGET, floor: 1, ceiling: 200, seed: 1 };
    let registered = spec(1, 5).audience(Audience::Registered).everyone_from(START.plus(seconds(90)));
    vec![
        spec(0, 3).cap(2).waitlist(line(WaitOrder::FirstCome)),
        registered.cap(4).largest(3).units(Units::Numbered { first: 1 }).reminds_at(START.plus(seconds(40))),
        spec(2, 2).cap(2).largest(2).units(labels).waitlist(line(WaitOrder::Lottery { seed: 42 })),
        spec(3, 7).cap(4).largest(3).units(Units::Amounts(amounts)),
    ]
}

impl Machine {
    pub(super) fn begin(setup: Setup, disk: SimDisk) -> Self {
        let world = open(&disk, &setup, START).unwrap();
        for spec in specs() {
            world.sale(spec);
        }
        world.engine.baskets(basket_rules()).unwrap();
        let registered = (0..4).chain([FIRST]).collect();
        let oracle = Oracle {
            shops: specs().into_iter().map(Shop::new).collect(),
            tickets: Vec::new(),
            halted: vec![false],
            registered,
            perhaps_registered: BTreeSet::new(),
            keys: HashMap::new(),
            payments: 0,
        };
        let (told, labels, compactions, armed) = (Vec::new(), 0, 0, false);
        let machine = Self { setup, disk, world, oracle, armed, labels, told, compactions };
        let buyers: Vec<_> = machine.oracle.registered.iter().copied().map(Buyer::from).collect();
        machine.sale(1).register(&buyers).unwrap();
        if setup.worn {
            let (sales, baskets) = ([0, 1, 2, 3].map(|number| machine.sale(number)), machine.baskets());
            for _ in 0..sales[0].inner.first_extent().length {
                for sale in &sales {
                    sale.reserve(FIRST, 1).unwrap().cancel().unwrap();
                }
                baskets.reserve(FIRST, &[(&sales[0], 1)]).unwrap().cancel().unwrap();
            }
            machine.world.engine.sync().unwrap();
        }
        machine
    }

    fn now(&self) -> Timestamp {
        self.world.engine.now()
    }

    fn sale(&self, number: usize) -> Sale {
        self.world.engine.sale(NAMES[number]).unwrap()
    }

    fn baskets(&self) -> Baskets {
        self.world.engine.baskets(basket_rules()).unwrap()
    }

    /// The sale in whose slots a hold stands: of a basket, the one of all baskets.
    fn place(&self, place: usize) -> Sale {
        if place < SALES {
            return self.sale(place);
        }
        let engine = Arc::clone(&self.world.engine.inner);
        Sale { inner: engine.sale("*baskets").unwrap(), engine }
    }

    fn has_failed(&self) -> bool {
        self.disk.is_dark() || self.world.engine.has_failed()
    }

    /// The units of a hold, or of a basket; nothing if it has ended unsold.
    fn faces(&self, place: usize, token: &Token) -> Option<Vec<Unit>> {
        if place != BASKET {
            return self.sale(place).units(token).ok();
        }
        Some(self.baskets().lines(token).ok()?.into_iter().flat_map(|line| line.units).collect())
    }

    /// Every token that was given, and where.
    pub(super) fn tokens(&self) -> Vec<(usize, Token)> {
        self.oracle.tickets.iter().map(|ticket| (ticket.place, ticket.token)).collect()
    }

    /// The journal as files.
    pub(super) fn save(&self) -> (tempfile::TempDir, PathBuf) {
        let (parent, dir) = folder();
        std::fs::create_dir(&dir).unwrap();
        for name in self.disk.names() {
            self.disk.with_file(&name, |bytes| std::fs::write(dir.join(&name), bytes).unwrap());
        }
        (parent, dir)
    }

    /// What can be said at any time.
    fn check(&self) {
        let now = self.now();
        for (number, shop) in self.oracle.shops.iter().enumerate() {
            let (sale, rules) = (self.sale(number), shop.rules());
            let audit = sale.audit();
            let (held, sold) = self.oracle.share(number, None);
            let expected = [shop.spec.stock, rules.added, rules.withdrawn, held + sold, self.oracle.free(number)];
            let found = [audit.stock, audit.added, audit.withdrawn, audit.held + audit.sold, audit.free];
            assert_eq!(found, expected.map(u64::from), "the units are not as they must be: {audit}");
            let durable: u32 = shop.orders[..shop.durable].iter().map(|order| order.quantity).sum();
            assert!((u64::from(durable)..=u64::from(sold)).contains(&audit.sold), "{sold} are sold: {audit}");
            check_places(&sale);
            sale.inner.keys.entries().unwrap();
            let spec = sale.spec();
            assert_eq!((spec.cap, spec.opens_at, spec.closes_at), (rules.cap, rules.opens, rules.closes));
            assert_eq!(sale.state(), self.oracle.state(number, now), "{}", sale.name());
            let shares = shares(&sale);
            assert_eq!(shares, self.oracle.shares(number), "what buyers have of {}", sale.name());
            assert!(shares.values().all(|share| *share <= shop.highest), "more than the cap: {shares:?}");
            self.check_line(number);
        }
        let value = self.sale(3).face_value().unwrap();
        assert!(value.holds() && value.budget == BUDGET, "{value:?}");
        assert_eq!(self.world.engine.is_paused(), self.oracle.is_halted());
        let registered = &self.sale(1).inner.registered;
        let ours = self.oracle.registered.union(&self.oracle.perhaps_registered);
        assert!(
            ours.copied().all(|buyer| registered.contains(Buyer::from(buyer))),
            "somebody isn't registered any more"
        );
        assert_eq!(registered.len(), self.oracle.registered.len() + self.oracle.perhaps_registered.len());
        (0..self.oracle.tickets.len()).for_each(|index| self.check_ticket(index));
    }

    fn check_line(&self, number: usize) {
        let (sale, shop) = (self.sale(number), &self.oracle.shops[number]);
        assert_eq!(sale.queue_length(), shop.line().len());
        for (ahead, (_, ticket, buyer)) in (0..).zip(shop.line()) {
            let Waiting::Queued(place) = sale.waiting(*buyer) else { panic!("buyer {buyer} lost the place") };
            assert_eq!((place.ticket, place.ahead), (*ticket, ahead), "buyer {buyer}");
        }
        for buyer in (0..BUYERS).filter(|buyer| !shop.waits(*buyer)) {
            let expected = self.offer(number, buyer).map(|index| &self.oracle.tickets[index]);
            match (sale.waiting(buyer), expected) {
                (Waiting::Offered { token, accept_by }, Some(offer)) => {
                    assert_eq!((token, accept_by), (offer.token, offer.deadline()));
                }
                (Waiting::No | Waiting::PassedOver, None) => {}
                (waiting, offer) => panic!("buyer {buyer} is told {waiting:?}, and not {offer:?}"),
            }
        }
    }

    fn check_ticket(&self, index: usize) {
        let ticket = &self.oracle.tickets[index];
        let fits = match (ticket.fate, self.standing(index)) {
            (Fate::Held, Standing::Held { due, .. }) => {
                self.place(ticket.place).inner.instant(due) == ticket.deadline()
            }
            (Fate::Sold { late: false }, Standing::Confirming(_) | Standing::Sold { .. })
            | (
                Fate::Over | Fate::Refused | Fate::Expired | Fate::PerhapsExpired,
                Standing::Ended(_) | Standing::Gone,
            ) => true,
            // Another hold is in the place of the one that expired, whose slot may be anybody's by now.
            (Fate::Sold { late: true }, standing) => !matches!(standing, Standing::Held { .. }),
            _ => false,
        };
        assert!(fits, "{:?}: {ticket:?}", self.standing(index));
        if matches!(ticket.fate, Fate::Held | Fate::Sold { .. }) {
            let faces = self.faces(ticket.place, &ticket.token);
            assert_eq!(faces.as_ref(), Some(&ticket.faces), "it has other units now: {ticket:?}");
            if let Some(receipt) = ticket.receipt {
                assert_eq!(self.faces(ticket.place, &receipt.order), faces, "by the order's token");
            }
        }
    }
}

/// What each buyer has, slot by slot.
fn shares(sale: &Sale) -> HashMap<Buyer, u32> {
    let (slots, mut shares) = (sale.inner.allocator.slots(), HashMap::new());
    for slot in slots.present().flat_map(|(first, chunk)| (first..).take(chunk.len())) {
        if !matches!(slots.load(slot).state(), State::Free(_) | State::Retired) {
            let share = sale.inner.allocator.share_of(slot);
            *shares.entry(share.buyer).or_insert(0) += share.quantity;
        }
    }
    shares
}

/// So many lives, the same in every run; or as many as `PROPTEST_CASES` says, other ones each time.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return ProptestConfig::default();
    }
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

fn run(setup: Setup, disk: SimDisk, ops: &[Op]) -> u64 {
    let mut machine = Machine::begin(setup, disk);
    for op in ops {
        machine.step(op);
    }
    let compactions = machine.compactions;
    machine.end();
    compactions
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn whatever_is_done_and_wherever_it_crashes_the_engine_is_as_the_oracle_says(
        setup in setups(),
        ops in lives(1..120),
    ) {
        run(setup, SimDisk::new(setup.seed), &ops);
    }
}
