//! What the disk costs one thread: a confirmation that is waited for, and the way back from the journal.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use sellout::{Confirmation, Engine, PaymentId, Pending, Sale};
use sellout_bench::crowd::{buyer, spec};
use tempfile::TempDir;

const ORDERS: u32 = 100_000;

fn folder() -> TempDir {
    tempfile::tempdir().expect("the folder for temporary files can be written")
}

fn open(dir: &Path, stock: u32) -> Sale {
    let engine = Engine::open(dir).expect("a new journal can be opened");
    engine.create(spec(stock)).expect("its rules can be kept")
}

fn one_at_a_time(criterion: &mut Criterion) {
    let payment = PaymentId::from(1);
    criterion.bench_function("confirm, journaled, one at a time", |bencher| {
        bencher.iter_custom(|iterations| {
            let dir = folder();
            let sale = open(dir.path(), u32::try_from(iterations).expect("fewer syncs than a sale has units"));
            let one = |number| {
                let hold = sale.reserve(buyer(number), 1).expect("a unit is free");
                let begun = Instant::now();
                let answer = hold.confirm(payment).and_then(Pending::wait).expect("the journal takes it");
                assert!(matches!(answer, Confirmation::Confirmed(_)), "a hold is confirmed once");
                begun.elapsed()
            };
            (0..iterations).map(one).sum()
        });
    });
}

fn recovery(criterion: &mut Criterion) {
    let dir = folder();
    let sale = open(dir.path(), ORDERS);
    for number in 0..u64::from(ORDERS) {
        let hold = sale.reserve(buyer(number), 1).expect("a unit is free");
        // Nobody waits for a single one: the journal is synced once, below.
        drop(hold.confirm(PaymentId::from(number)).expect("the journal takes it"));
    }
    sale.engine().sync().expect("the journal is synced");
    drop(sale);
    criterion.bench_function("recover 100 000 orders", |bencher| {
        bencher.iter_custom(|iterations| {
            let one = |_| {
                let begun = Instant::now();
                let engine = Engine::open(dir.path()).expect("the journal is whole");
                let elapsed = begun.elapsed();
                assert_eq!(engine.audit()[0].orders, u64::from(ORDERS));
                elapsed
            };
            (0..iterations).map(one).sum::<Duration>()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = one_at_a_time, recovery
}
criterion_main!(benches);
