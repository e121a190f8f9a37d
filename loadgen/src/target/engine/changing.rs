//! Changes of the engine's sales while the workers are at work.

use std::thread;

use sellout::{ChangeError, Engine, Sale, ShipError};

use super::{failed, shop::Shop};
use crate::{
    number::index,
    scenario::{Change, WhatChanges},
    target::TargetError,
};

/// So many orders are shipped at once: each waits for the disk, and they share the waiting.
const SHIPPERS: usize = 16;

/// Makes a change; how many units it was about.
pub(super) fn change(engine: &Engine, shop: &Shop, change: &Change) -> Result<u64, TargetError> {
    let Some(place) = change.sale else {
        let done = if change.what == WhatChanges::Pause { engine.pause_all() } else { engine.resume_all() };
        return done.map(|()| 0).map_err(failed);
    };
    let sale = shop.sales.get(place).ok_or_else(|| TargetError("there is no such sale".to_owned()))?;
    match change.what {
        WhatChanges::Add(units) => add(sale, units).map(|()| u64::from(units)),
        WhatChanges::Withdraw(units) => sale.withdraw(units).map(u64::from),
        WhatChanges::Pause => sale.pause().map(|()| 0),
        WhatChanges::Resume => sale.resume().map(|()| 0),
        WhatChanges::Cap(cap) => sale.set_cap(cap).map(|()| 0),
        WhatChanges::Window { opens_at, closes_at } => {
            let at = |moved: Option<std::time::Duration>, before| moved.map(|at| shop.base.plus(at)).or(before);
            sale.move_window(at(opens_at, sale.opens_at()), at(closes_at, sale.closes_at())).map(|()| 0)
        }
        WhatChanges::Ship => return ship(sale),
    }
    .map_err(failed)
}

/// Adds units; where they are listed, labels of their own.
fn add(sale: &Sale, units: u32) -> Result<(), ChangeError> {
    match sale.add_stock(units) {
        Err(ChangeError::NeedsLabels) => {
            let before = sale.audit();
            let first = before.stock + before.added + 1;
            sale.add_listed((0..u64::from(units)).map(|more| format!("added {}", first + more)))
        }
        done => done,
    }
}

/// Ships every order that there is.
fn ship(sale: &Sale) -> Result<u64, TargetError> {
    let orders = sale.audit().orders;
    let each = index(orders).div_ceil(SHIPPERS).max(1);
    let sequences: Vec<u64> = (1..=orders).collect();
    let ship_some = |some: &[u64]| -> Result<u64, ShipError> {
        let mut shipped = 0;
        for sequence in some {
            match sale.ship(*sequence) {
                Ok(()) => shipped += 1,
                // An earlier run did, or its order is not durable yet.
                Err(ShipError::ShippedBefore { .. } | ShipError::NoSuchOrder { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(shipped)
    };
    let shipped = thread::scope(|scope| {
        let shippers: Vec<_> = sequences.chunks(each).map(|some| scope.spawn(move || ship_some(some))).collect();
        shippers.into_iter().map(|shipper| shipper.join().expect("shipping does not panic")).collect::<Vec<_>>()
    });
    shipped.into_iter().sum::<Result<u64, ShipError>>().map_err(failed)
}
