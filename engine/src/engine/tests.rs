//! Black-box proofs of the engine on a manual clock, in memory and on a journal.

mod answers;
mod baskets;
mod beside;
mod changes;
mod compaction;
mod disk_faults;
mod faces;
mod forging;
mod journaled;
mod keys;
mod live;
mod machine;
mod messages;
mod older;
mod paid_late;
mod salvage;
mod seams;
mod secrets;
mod shops;
mod stages;
mod waitlist;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::*;
use crate::{Confirmation, ManualClock, PaymentId, Rejection, SaleSpec, Token, core::allocator::Whereabouts};

const START: Timestamp = Timestamp::from_millis(1_775_008_800_000);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// An engine and the clock that moves it.
struct World {
    engine: Engine,
    clock: Arc<ManualClock>,
}

impl World {
    fn in_memory() -> Self {
        let clock = Arc::new(ManualClock::starting_at(START));
        Self { engine: Engine::options().clock(clock.clone()).in_memory(), clock }
    }

    fn open(dir: &Path) -> Self {
        let clock = Arc::new(ManualClock::starting_at(START));
        Self { engine: Engine::options().clock(clock.clone()).open(dir).unwrap(), clock }
    }

    fn open_at(dir: &Path, now: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::starting_at(now));
        Self { engine: Engine::options().clock(clock.clone()).open(dir).unwrap(), clock }
    }

    fn sale(&self, spec: SaleSpec) -> Sale {
        self.engine.create(spec).unwrap()
    }

    /// Moves the clock and lets time act.
    fn pass(&self, span: Duration) -> Ticked {
        self.clock.advance(span);
        self.engine.tick(self.engine.now())
    }
}

/// A folder for a journal; it goes with the first of the two.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("sales.journal");
    (parent, dir)
}

/// The folder as a killed process would leave it: what was written, without a goodbye.
fn copy(dir: &Path) -> (tempfile::TempDir, PathBuf) {
    let (parent, to) = folder();
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    (parent, to)
}

/// Confirms and waits.
fn pay(sale: &Sale, token: &Token) -> Confirmation {
    sale.confirm(token, PaymentId::from(1)).unwrap().wait().unwrap()
}

fn hold(sale: &Sale, buyer: u64) -> Token {
    sale.reserve(buyer, 1).unwrap().token()
}

fn books(stock: u32) -> SaleSpec {
    SaleSpec::new("books", stock).hold_for(seconds(60)).grace(seconds(2))
}

/// Where units can be told apart: each has one place, and the free ones are as many as the permits.
#[track_caller]
fn check_places(sale: &Sale) {
    let (mut all, mut free) = (BTreeSet::new(), 0);
    sale.inner.allocator.each_unit(|whereabouts, unit| {
        assert!(all.insert(unit), "unit {unit} is in two places");
        free += u64::from(whereabouts == Whereabouts::Free);
    });
    let audit = sale.audit();
    let offered = audit.stock + audit.added - audit.withdrawn;
    let expected = if sale.inner.faces.is_some() { (audit.free, offered) } else { (0, 0) };
    assert_eq!((free, all.len() as u64), expected, "{audit}");
}
