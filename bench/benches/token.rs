//! What it costs one thread to make a token's text and to read it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sellout::{Token, TokenError};
use sellout_bench::crowd::{sale, spec};

fn token(criterion: &mut Criterion) {
    let sale = sale(spec(1));
    let hold = sale.reserve(7, 1).expect("the only unit is free");
    let token = hold.token();
    let text = token.to_string();
    criterion.bench_function("token of a hold", |bencher| bencher.iter(|| black_box(hold).token()));
    criterion.bench_function("token to text", |bencher| bencher.iter(|| black_box(token).to_string()));
    criterion.bench_function("token from text", |bencher| {
        bencher.iter(|| -> Result<Token, TokenError> { black_box(text.as_str()).parse() });
    });
    criterion.bench_function("token to text and back", |bencher| {
        bencher.iter(|| -> Result<Token, TokenError> { black_box(token).to_string().parse() });
    });
}

criterion_group!(benches, token);
criterion_main!(benches);
