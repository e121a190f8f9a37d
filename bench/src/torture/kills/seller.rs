//! One thread that sells: everything of the public API that sells, as its dice fall.
//!
//! What holds: a promise is said after its answer, and what is about to be done before it; no two threads pay one
//! token.

use std::{collections::VecDeque, thread, time::Duration};

use sellout::{BasketRejection, Buyer, Hold, JoinError, Left, Rejection, Sale, Token, Waiting};

use super::{
    broken::Broken,
    life::{Life, say},
    shop::{Answered, Shop},
    words::{Answer, Bill, Item, Order, PLENTY, Question, SCARCE, SEATS, Word},
};
use crate::torture::Dice;

/// Buyers of one life; half of them come in the next one, too.
const BUYERS: u64 = 600;
/// Holds that one thread keeps for later.
const KEPT: usize = 24;

pub(super) struct Seller<'a> {
    life: &'a Life,
    shop: &'a Shop,
    number: u64,
    dice: Dice,
    payments: u64,
    questions: Vec<Question>,
    kept: VecDeque<Bill>,
    /// Who waits for the scarce sale.
    waiting: VecDeque<u64>,
}

impl<'a> Seller<'a> {
    pub(super) fn new(life: &'a Life, shop: &'a Shop, number: u64, questions: Vec<Question>) -> Self {
        let dice = Dice::of(life.seed, &[life.number, number]);
        let (kept, waiting) = (VecDeque::new(), VecDeque::new());
        Self { life, shop, number, dice, payments: 0, questions, kept, waiting }
    }

    /// Sells until the process is killed.
    pub(super) fn sell(&mut self) {
        self.find_who_waits();
        for question in std::mem::take(&mut self.questions) {
            self.ask(&question);
            self.step();
        }
        loop {
            self.step();
        }
    }

    /// Who waited in the life before this one waits on: that is in the journal, too.
    fn find_who_waits(&mut self) {
        let Self { life, shop, number, .. } = *self;
        let first = life.number.saturating_sub(1) * BUYERS;
        let mine = (first..first + 2 * BUYERS).filter(|buyer| buyer % life.threads == number);
        self.waiting.extend(mine.filter(|buyer| {
            matches!(shop.sales[SCARCE].waiting(*buyer), Waiting::Queued(_) | Waiting::Offered { .. })
        }));
    }

    fn step(&mut self) {
        if let Some(broken) = self.life.broken
            && self.sell_broken(broken)
        {
            return;
        }
        match self.dice.below(100) {
            0..22 => self.reserve(PLENTY),
            22..34 => self.reserve(SEATS),
            34..62 => self.reserve(SCARCE),
            62..74 => self.reserve_basket(),
            74..88 => (0..4).for_each(|_| self.look()),
            88..98 => self.pay_kept(),
            98 => self.add(),
            _ => self.withdraw(),
        }
    }

    /// Half of the buyers come in two lives.
    fn buyer(&mut self) -> u64 {
        self.life.number * BUYERS + self.dice.below(2 * BUYERS)
    }

    fn reserve(&mut self, sale: usize) {
        let (buyer, most) = (self.buyer(), [3, 1, 2][sale]);
        let quantity = 1 + u32::try_from(self.dice.below(most)).unwrap_or(0);
        let place = &self.shop.sales[sale];
        match place.reserve(buyer, quantity) {
            Ok(hold) => self.held(sale, hold),
            // Each waits by one thread only, which pays what is offered.
            Err(Rejection::AllHeld { .. }) if sale == SCARCE && buyer % self.life.threads == self.number => {
                self.join(buyer);
            }
            Err(Rejection::SoldOut) if self.dice.one_in(8) => self.add(),
            Err(
                Rejection::AllHeld { .. }
                | Rejection::SoldOut
                | Rejection::LimitReached { .. }
                | Rejection::AttemptUnderWay
                | Rejection::TooFewFree { .. },
            ) => {}
            Err(rejection) => wrong(format!("{} refused {quantity} units: {rejection}", place.name())),
        }
    }

    fn held(&mut self, sale: usize, hold: Hold<'_>) {
        let (token, quantity) = (hold.token(), hold.quantity());
        let items = vec![Item { sale, quantity }];
        let bill = Bill { token: token.to_string(), buyer: number(hold.buyer()), items, basket: false, offered: false };
        let place = &self.shop.sales[sale];
        // Most of the scarce holds run out, and their units go to who waits.
        let at_once = if sale == SCARCE { 4 } else { 10 };
        match self.dice.below(20) {
            fall if fall < at_once => self.pay(&bill),
            4..13 => self.keep(bill),
            13..15 => {
                // As likely as not it is not durable when the process dies: it says nothing.
                let _cancelled = hold.cancel();
            }
            15 => self.cancel(&bill, || place.cancel(&token).is_ok()),
            16 if place.extend(&token, Duration::from_millis(20)).is_ok() => self.pay(&bill),
            17..19 => self.make_durable(bill, hold.deadline().as_millis()),
            _ => {}
        }
    }

    /// Makes a hold durable, and pays it, keeps it for later, or leaves it to the next life.
    fn make_durable(&mut self, bill: Bill, until: u64) {
        self.sync();
        say(&Word::Holds(bill.clone(), until));
        match self.dice.below(3) {
            0 => self.pay(&bill),
            1 => self.keep(bill),
            _ => {}
        }
    }

    /// Cancels, durably; in half of the cases the payment comes all the same.
    fn cancel(&mut self, bill: &Bill, cancel: impl FnOnce() -> bool) {
        say(&Word::Cancels(bill.token.clone()));
        if !cancel() {
            return;
        }
        self.sync();
        say(&Word::Cancelled(bill.token.clone()));
        if self.dice.one_in(2) {
            self.pay(bill);
        }
    }

    fn reserve_basket(&mut self) {
        let shop = self.shop;
        let (buyer, mut items) = (self.buyer(), Vec::new());
        for (sale, most) in [(PLENTY, 3), (SEATS, 2), (SCARCE, 1)] {
            let times = if sale == SCARCE { 6 } else { 2 };
            if self.dice.one_in(times) {
                let quantity = 1 + u32::try_from(self.dice.below(most)).unwrap_or(0);
                items.push(Item { sale, quantity });
            }
        }
        items.sort_unstable_by_key(|item| item.sale);
        let wanted: Vec<(&Sale, u32)> = items.iter().map(|item| (&shop.sales[item.sale], item.quantity)).collect();
        match shop.baskets.reserve(buyer, &wanted) {
            Ok(basket) => {
                let token = basket.token();
                let bill = Bill { token: token.to_string(), buyer, items, basket: true, offered: false };
                match self.dice.below(10) {
                    0..6 => self.pay(&bill),
                    6 => self.keep(bill),
                    7 => self.cancel(&bill, || shop.baskets.cancel(&token).is_ok()),
                    8 => self.make_durable(bill, basket.deadline().as_millis()),
                    _ => {}
                }
            }
            Err(BasketRejection::Empty | BasketRejection::Sale { .. } | BasketRejection::AttemptUnderWay) => {}
            Err(rejection) => wrong(format!("a basket was refused: {rejection}")),
        }
    }

    fn join(&mut self, buyer: u64) {
        match self.shop.sales[SCARCE].join(buyer) {
            Ok(_) => {
                self.waiting.push_back(buyer);
                if self.dice.one_in(3) {
                    self.add();
                }
            }
            Err(JoinError::Journal(error)) => wrong(format!("nobody can wait any more: {error}")),
            Err(_) => {}
        }
    }

    /// Looks after one who waits.
    fn look(&mut self) {
        let Some(buyer) = self.waiting.pop_front() else { return };
        let sale = &self.shop.sales[SCARCE];
        match sale.waiting(buyer) {
            Waiting::Queued(_) if self.dice.one_in(12) => {
                let _gave_up: Result<Left, _> = sale.leave(buyer);
            }
            Waiting::Queued(_) => self.waiting.push_back(buyer),
            Waiting::Offered { token, .. } => {
                let items = vec![Item { sale: SCARCE, quantity: 1 }];
                let bill = Bill { token: token.to_string(), buyer, items, basket: false, offered: true };
                match self.dice.below(4) {
                    0 => self.keep(bill),
                    1 if sale.accept(&token).is_err() => {}
                    _ => self.pay(&bill),
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, bill: Bill) {
        self.kept.push_back(bill);
        if self.kept.len() > KEPT {
            self.pay_kept();
        }
    }

    fn pay_kept(&mut self) {
        if let Some(bill) = self.kept.pop_front() {
            self.pay(&bill);
        }
    }

    fn payment(&mut self) -> String {
        self.payments += 1;
        format!("{}-{}-{}", self.life.number, self.number, self.payments)
    }

    fn pay(&mut self, bill: &Bill) {
        let payment = self.payment();
        say(&Word::Pays(payment.clone(), bill.clone()));
        self.report(payment, bill);
    }

    fn report(&self, payment: String, bill: &Bill) -> Option<Answer> {
        match self.shop.pay(bill, &payment) {
            Ok(Answered { answer, late }) => {
                if late {
                    say(&Word::Late(payment.clone()));
                }
                say(&Word::Heard(payment, answer.clone()));
                Some(answer)
            }
            Err(why) => {
                wrong(why);
                None
            }
        }
    }

    /// Reports a payment that an earlier life left open, or has had an answer to.
    fn ask(&self, question: &Question) {
        let Question { payment, bill, in_time_until } = question;
        say(&Word::Pays(payment.clone(), bill.clone()));
        let before = self.shop.engine.now().as_millis();
        let answer = self.report(payment.clone(), bill);
        let now = self.shop.engine.now().as_millis();
        if let (Some(Answer::Refund(why)), Some(until)) = (answer, in_time_until)
            && now <= *until
        {
            wrong(format!("the durable hold {} is gone between {before} and {now}, due at {until}: {why}", bill.token));
        }
    }

    fn add(&mut self) {
        let units = 1 + u32::try_from(self.dice.below(3)).unwrap_or(0);
        say(&Word::Adds(units));
        match self.shop.sales[SCARCE].add_stock(units) {
            Ok(()) => say(&Word::Added(units)),
            Err(error) => wrong(format!("{units} units were not added: {error}")),
        }
    }

    fn withdraw(&mut self) {
        say(&Word::Withdraws(1));
        match self.shop.sales[SCARCE].withdraw(1) {
            Ok(units) => say(&Word::Withdrawn(units)),
            Err(error) => wrong(format!("a unit was not withdrawn: {error}")),
        }
    }

    fn sync(&self) {
        if let Err(error) = self.shop.engine.sync() {
            wrong(format!("the journal can't be synced: {error}"));
        }
    }

    /// Sells as a broken seller does, where that differs.
    fn sell_broken(&mut self, broken: Broken) -> bool {
        if broken == Broken::LeavesRedis {
            return false;
        }
        let (sale, buyer) = (&self.shop.sales[PLENTY], self.buyer());
        let Ok(hold) = sale.reserve(buyer, 1) else { return true };
        let item = Item { sale: PLENTY, quantity: 1 };
        let bill = |token: Token| {
            let token = token.to_string();
            Bill { token, buyer, items: vec![item], basket: false, offered: false }
        };
        let (payment, first) = (self.payment(), bill(hold.token()));
        say(&Word::Pays(payment.clone(), first.clone()));
        match broken {
            Broken::AckBeforeAppend => {
                let order = Order { item, sequence: 1, id: first.token, units: Vec::new() };
                say(&Word::Heard(payment, Answer::Sold(vec![order])));
                // Whoever hears it kills the process now, before the payment is reported.
                loop {
                    thread::park();
                }
            }
            Broken::SellsAgain => {
                let again = sale.reserve(buyer, 1).map(|hold| self.shop.pay(&bill(hold.token()), &payment));
                if matches!(again, Ok(Ok(Answered { answer: Answer::Sold(_), .. }))) {
                    self.report(payment, &first);
                }
            }
            Broken::RefundsAndShips => {
                if let Ok(Answered { answer: Answer::Sold(_), .. }) = self.shop.pay(&first, &payment) {
                    say(&Word::Heard(payment, Answer::Refund("we are so sorry".to_owned())));
                }
            }
            Broken::Buffered | Broken::LeavesRedis => {
                self.report(payment, &first);
            }
        }
        true
    }
}

fn number(buyer: Buyer) -> u64 {
    u64::try_from(buyer.as_u128()).expect("buyers are known by numbers of 64 bits here")
}

fn wrong(what: String) {
    say(&Word::Wrong(what));
}
