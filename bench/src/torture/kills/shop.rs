//! What is sold, and how a payment is reported: the same for the process that sells and for the one that judges.

use std::time::Duration;

use sellout::{
    BasketRules, Baskets, ConfirmError, Confirmation, CreateError, Engine, NoSuchSale, PaymentId, Pending, Receipt,
    Sale, SaleSpec, Token, Units, WaitOrder, Waitlist,
};

use super::words::{Answer, Bill, Found, Item, Order, PLENTY, SALES, SCARCE, SEATS};

/// Units that a buyer may have, sale by sale.
pub(super) const CAPS: [u32; 3] = [4, 1, 2];
/// Units at the start, sale by sale.
pub(super) const STOCK: [u32; 3] = [200_000, 8, 60_000];
/// How long a hold of the scarce sale lasts: over within the life of a process.
const SOON: Duration = Duration::from_millis(6);
/// How long an offer lasts, and a hold of a seat: over within the life of a process or soon after it.
const LONGER: Duration = Duration::from_millis(40);
/// How long other holds last: they outlive a process, but not many.
const LATER: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_millis(2);

/// The sales and the baskets of one engine.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) engine: Engine,
    pub(super) sales: Vec<Sale>,
    pub(super) baskets: Baskets,
}

/// What was answered to a payment, and whether it had come late.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) late: bool,
}

impl Shop {
    /// Opens the shop: what a process before this one has not created is created now.
    pub(super) fn open(engine: Engine) -> Result<Self, CreateError> {
        let sales = (0..SALES.len()).map(|sale| match engine.sale(SALES[sale]) {
            Ok(sale) => Ok(sale),
            Err(NoSuchSale { .. }) => engine.create(spec(sale)),
        });
        let sales = sales.collect::<Result<_, _>>()?;
        let baskets = engine.baskets(BasketRules::new().hold_for(LATER).grace(GRACE))?;
        Ok(Self { engine, sales, baskets })
    }

    /// Reports a payment; again if another attempt of its buyer is in the way.
    pub(super) fn report(&self, bill: &Bill, payment: &str) -> Result<Pending, String> {
        let token: Token = bill.token.parse().map_err(|error| format!("the token {}: {error}", bill.token))?;
        let payment = PaymentId::new(payment).map_err(|error| error.to_string())?;
        loop {
            let report = || {
                let Bill { basket, .. } = bill;
                if *basket { self.baskets.confirm(&token, payment) } else { self.sale(bill).confirm(&token, payment) }
            };
            match report() {
                Err(ConfirmError::AttemptUnderWay) => {}
                Err(error) => return Err(format!("the payment {payment} was not taken: {error}")),
                Ok(pending) => return Ok(pending),
            }
        }
    }

    /// Waits for the answer to a payment of this bill.
    pub(super) fn answer(&self, bill: &Bill, pending: Pending) -> Result<Answered, String> {
        let confirmation = pending.wait();
        let confirmation = confirmation.map_err(|error| format!("{} was not paid: {error}", bill.token))?;
        let late = matches!(confirmation, Confirmation::PaidLate(_));
        let answer = match confirmation {
            Confirmation::Confirmed(receipt)
            | Confirmation::AlreadyConfirmed(receipt)
            | Confirmation::PaidLate(receipt) => Answer::Sold(self.orders(bill, &receipt)?),
            refund => Answer::Refund(format!("{refund:?}")),
        };
        Ok(Answered { answer, late })
    }

    /// Reports a payment and waits for its answer.
    pub(super) fn pay(&self, bill: &Bill, payment: &str) -> Result<Answered, String> {
        self.answer(bill, self.report(bill, payment)?)
    }

    fn sale(&self, bill: &Bill) -> &Sale {
        &self.sales[bill.items[0].sale]
    }

    fn orders(&self, bill: &Bill, receipt: &Receipt) -> Result<Vec<Order>, String> {
        let Receipt { sequence, order, quantity, .. } = *receipt;
        if !bill.basket {
            let item = Item { quantity, ..bill.items[0] };
            let units = if item.sale == SEATS { self.sale(bill).units(&order) } else { Ok(Vec::new()) };
            let units = units.map_err(|error| format!("the units of the order {order}: {error}"))?;
            let units = units.into_iter().map(|unit| unit.number).collect();
            return Ok(vec![Order { item, sequence, id: order.to_string(), units }]);
        }
        let lines = self.baskets.lines(&order).map_err(|error| format!("the basket {order}: {error}"))?;
        let order = |(place, line): (usize, sellout::BasketLine)| {
            let sale = place_of(line.sale.name())?;
            let units = line.units.into_iter().map(|unit| unit.number).collect();
            let sequence = line.order.ok_or_else(|| format!("a part of the basket {order} has no number"))?;
            let item = Item { sale, quantity: line.quantity };
            Ok(Order { item, sequence, id: format!("{order}-{place}"), units })
        };
        (1..).zip(lines).map(order).collect()
    }
}

/// What an engine that was just opened has.
pub(super) fn found(engine: &Engine) -> Result<Vec<Found>, String> {
    let found = |sale: &Sale| {
        let audit = sale.audit();
        Ok(Found {
            sale: place_of(sale.name())?,
            holds: audit.holds(),
            stock: audit.stock,
            added: audit.added,
            withdrawn: audit.withdrawn,
            sold: audit.sold,
            orders: audit.orders,
            digest: audit.digest.to_string(),
        })
    };
    engine.sales().iter().map(found).collect()
}

/// The place of the sale called `name` in [`SALES`].
pub(super) fn place_of(name: &str) -> Result<usize, String> {
    SALES.iter().position(|known| *known == name).ok_or_else(|| format!("nobody has created a sale called {name}"))
}

fn spec(sale: usize) -> SaleSpec {
    let spec = SaleSpec::new(SALES[sale], STOCK[sale]).cap(CAPS[sale]).grace(GRACE);
    match sale {
        PLENTY => spec.largest(3).hold_for(LATER),
        SCARCE => {
            let line = Waitlist { room: 20, accept_within: LONGER, order: WaitOrder::FirstCome };
            spec.hold_for(SOON).waitlist(line)
        }
        _ => spec.largest(2).hold_for(LONGER).units(Units::Numbered { first: 1 }),
    }
}
