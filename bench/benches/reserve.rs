//! What a hold costs one thread.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use sellout::Buyer;
use sellout_bench::crowd::{buyer, sale, spec};

/// Units of one sale; a new one is made, outside of the measured time, when they are held.
const STOCK: u32 = 1 << 20;

/// Adds up the time of `iterations`, in parts of at most `most`.
fn in_parts(iterations: u64, most: u64, mut part: impl FnMut(u64) -> Duration) -> Duration {
    let parts = (0..iterations).step_by(usize::try_from(most).expect("a stock"));
    parts.map(|start| part(most.min(iterations - start))).sum()
}

fn reserve(criterion: &mut Criterion) {
    criterion.bench_function("reserve", |bencher| {
        bencher.iter_custom(|iterations| {
            in_parts(iterations, STOCK.into(), |count| {
                let sale = sale(spec(STOCK));
                let begun = Instant::now();
                for number in 0..count {
                    let _hold = black_box(sale.reserve(buyer(number), 1).expect("a unit is free"));
                }
                begun.elapsed()
            })
        });
    });
}

fn reserve_many(criterion: &mut Criterion) {
    const BATCH: u64 = 32;
    criterion.bench_function("reserve_many of 32", |bencher| {
        bencher.iter_custom(|iterations| {
            in_parts(iterations, u64::from(STOCK) / BATCH, |count| {
                let sale = sale(spec(STOCK));
                let buyers: Vec<_> = (0..count * BATCH).map(|number| Buyer::from(buyer(number))).collect();
                let mut answers = Vec::with_capacity(32);
                let begun = Instant::now();
                for batch in buyers.chunks(32) {
                    answers.clear();
                    sale.reserve_many(batch, &mut answers);
                    assert!(black_box(&answers).iter().all(Result::is_ok), "units are free");
                }
                begun.elapsed()
            })
        });
    });
}

fn reserve_and_cancel(criterion: &mut Criterion) {
    let sale = sale(spec(1));
    let mut number = 0;
    criterion.bench_function("reserve and cancel the last unit", |bencher| {
        bencher.iter(|| {
            number += 1;
            let hold = sale.reserve(buyer(number), 1).expect("the last unit is free");
            hold.cancel().expect("nobody else ends it")
        });
    });
}

criterion_group!(benches, reserve, reserve_many, reserve_and_cancel);
criterion_main!(benches);
