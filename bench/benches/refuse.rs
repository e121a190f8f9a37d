//! What a refusal costs one thread, by its reason.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use sellout::{Engine, PaymentId, Rejection, Sale};
use sellout_bench::crowd::{buyer, sale, spec};

/// Measures refusals of `sale`, all of which must be `expected`.
fn refused(criterion: &mut Criterion, name: &str, sale: &Sale, expected: fn(Rejection) -> bool) {
    let answer = sale.reserve(buyer(0), 1).expect_err("it refuses everybody");
    assert!(expected(answer), "{name}: {answer}");
    let mut number = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            number += 1;
            sale.reserve(buyer(number), 1).err()
        });
    });
}

fn sold_out(criterion: &mut Criterion) {
    let sale = sale(spec(1));
    let hold = sale.reserve(u64::MAX, 1).expect("the only unit is free");
    hold.confirm(PaymentId::from(1)).and_then(sellout::Pending::wait).expect("nothing fails in memory");
    refused(criterion, "refuse, sold out", &sale, |answer| answer == Rejection::SoldOut);
}

fn all_held(criterion: &mut Criterion) {
    let sale = sale(spec(1));
    let _hold = sale.reserve(u64::MAX, 1).expect("the only unit is free");
    refused(criterion, "refuse, all held", &sale, |answer| matches!(answer, Rejection::AllHeld { .. }));
}

fn limit_reached(criterion: &mut Criterion) {
    let sale = sale(spec(1 << 20));
    let _hold = sale.reserve(7, 1).expect("a unit is free");
    criterion.bench_function("refuse, limit reached", |bencher| {
        bencher.iter(|| sale.reserve(7, 1).expect_err("the buyer has a unit"));
    });
}

fn not_open(criterion: &mut Criterion) {
    let engine = Engine::in_memory();
    let later = engine.now().plus(Duration::from_hours(24));
    let sale = engine.create(spec(1_000).opens_at(later)).expect("its rules can be kept");
    refused(criterion, "refuse, not open", &sale, |answer| matches!(answer, Rejection::NotOpen { .. }));
}

fn paused(criterion: &mut Criterion) {
    let sale = sale(spec(1_000));
    sale.pause().expect("nothing fails in memory");
    refused(criterion, "refuse, paused", &sale, |answer| answer == Rejection::Paused);
}

criterion_group!(benches, sold_out, all_held, limit_reached, not_open, paused);
criterion_main!(benches);
