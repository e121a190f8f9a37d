//! What it costs one tick to end holds that nobody has paid.

use std::{sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sellout::{Engine, ManualClock, Sale};
use sellout_bench::crowd::{buyer, spec};

const HOLDS: u32 = 100_000;

/// A sale whose holds are all due.
fn overdue() -> Sale {
    let clock = Arc::new(ManualClock::default());
    let engine = Engine::options().clock(clock.clone()).in_memory();
    let sale = engine.create(spec(HOLDS)).expect("its rules can be kept");
    for number in 0..u64::from(HOLDS) {
        let _hold = sale.reserve(buyer(number), 1).expect("a unit is free");
    }
    clock.advance(Duration::from_hours(24));
    sale
}

fn expiry(criterion: &mut Criterion) {
    criterion.bench_function("expire 100 000 holds", |bencher| {
        let tick = |sale: Sale| {
            let ticked = sale.engine().tick(sale.engine().now());
            assert_eq!(ticked.expired, u64::from(HOLDS));
            sale
        };
        bencher.iter_batched(overdue, tick, BatchSize::PerIteration);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = expiry
}
criterion_main!(benches);
