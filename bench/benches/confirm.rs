//! What a confirmation in memory costs one thread.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use sellout::{ConfirmError, Confirmation, Hold, PaymentId, Pending, Sale, Token, TokenError};
use sellout_bench::crowd::{buyer, sale, spec};

/// Holds that are made, outside of the measured time, and then confirmed.
const HOLDS: u32 = 1 << 16;

/// The time that `confirm` takes for `iterations` holds.
fn measured(iterations: u64, mut confirm_all: impl FnMut(&Sale, Vec<Hold<'_>>) -> Duration) -> Duration {
    let part = |start: u64| {
        let sale = sale(spec(HOLDS));
        let hold = |number| sale.reserve(buyer(number), 1).expect("a unit is free");
        let holds = (0..iterations.saturating_sub(start).min(HOLDS.into())).map(hold).collect();
        confirm_all(&sale, holds)
    };
    (0..iterations).step_by(HOLDS as usize).map(part).sum()
}

fn sold(answer: Result<Pending, ConfirmError>) {
    let answer = answer.and_then(Pending::wait).expect("nothing fails in memory");
    assert!(matches!(black_box(answer), Confirmation::Confirmed(_)), "a hold is confirmed once");
}

fn typed(criterion: &mut Criterion) {
    let payment = PaymentId::from(1);
    criterion.bench_function("confirm a typed hold", |bencher| {
        bencher.iter_custom(|iterations| {
            measured(iterations, |_, holds| {
                let begun = Instant::now();
                for hold in holds {
                    sold(hold.confirm(payment));
                }
                begun.elapsed()
            })
        });
    });
}

fn by_token_text(criterion: &mut Criterion) {
    let payment = PaymentId::from(1);
    criterion.bench_function("confirm by token text", |bencher| {
        bencher.iter_custom(|iterations| {
            measured(iterations, |sale, holds| {
                let texts: Vec<String> = holds.iter().map(|hold| hold.token().to_string()).collect();
                let begun = Instant::now();
                for text in &texts {
                    let token: Result<Token, TokenError> = text.parse();
                    sold(token.map_err(ConfirmError::from).and_then(|token| sale.confirm(&token, payment)));
                }
                begun.elapsed()
            })
        });
    });
}

criterion_group!(benches, typed, by_token_text);
criterion_main!(benches);
