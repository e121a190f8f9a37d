//! What can happen: plain values, so that a case that fails shrinks to a few of them.
//!
//! Holds are named by how far they lie back, and everything else by a number that is there always: an operation means
//! something whatever was left out before it.

use proptest::{collection::vec, option, prelude::*};

use crate::journal::Fault;

/// How many buyers there are.
pub(in crate::engine::tests) const BUYERS: u64 = 7;
/// How many of the latest holds anything is done with: most of the others have ended long ago.
pub(in crate::engine::tests) const RECENT: usize = 7;
/// How many sales there are.
pub(in crate::engine::tests) const SALES: usize = 4;

/// One step of users, operators, time or fate.
#[derive(Debug, Clone)]
pub(in crate::engine::tests) enum Op {
    Reserve {
        sale: usize,
        buyer: u64,
        quantity: u32,
        key: Option<u8>,
    },
    Many {
        sale: usize,
        buyers: Vec<u64>,
    },
    Basket {
        buyer: u64,
        units: [u32; SALES],
    },
    /// A payment is reported: in time, late, or once more.
    Pay {
        which: usize,
        waits: bool,
    },
    Cancel {
        which: usize,
    },
    Extend {
        which: usize,
        millis: u64,
    },
    Join {
        sale: usize,
        buyer: u64,
    },
    Leave {
        sale: usize,
        buyer: u64,
    },
    Accept {
        sale: usize,
        buyer: u64,
    },
    Enroll {
        buyer: u64,
    },
    Ship {
        sale: usize,
        sequence: u64,
    },
    Add {
        sale: usize,
        units: u32,
    },
    Withdraw {
        sale: usize,
        units: u32,
    },
    Pause {
        sale: usize,
    },
    Resume {
        sale: usize,
    },
    PauseAll,
    ResumeAll,
    Close {
        sale: usize,
    },
    Move {
        sale: usize,
        opens: Option<u64>,
        closes: Option<u64>,
    },
    Cap {
        sale: usize,
        cap: u32,
    },
    Pass {
        millis: u64,
    },
    /// Until a hold falls due, or its grace is over, or a millisecond before that.
    Until {
        which: usize,
        grace: bool,
        early_millis: u64,
    },
    Tick,
    Sync,
    Compact,
    /// The disk's call so many calls from now goes wrong.
    Fault {
        calls: u64,
        fault: Fault,
    },
    Crash(Crash),
    /// The engine is closed and opened again.
    Reopen,
}

/// The process ends, and another one opens what is left.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::tests) struct Crash {
    /// The power goes, and what was not synced is lost or torn; else the process is killed.
    pub(in crate::engine::tests) power: bool,
    pub(in crate::engine::tests) seed: u64,
    /// How long it takes; on a clock that is 20 seconds behind.
    pub(in crate::engine::tests) away_millis: u64,
    /// The power goes again at this call of the opening.
    pub(in crate::engine::tests) again: Option<u64>,
}

/// More often one of those whose units are soon held by others.
fn sales() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![4 => Just(0_usize), 2 => Just(1), 3 => Just(2), 1 => Just(3)]
}

fn crashes() -> impl Strategy<Value = Op> {
    (any::<bool>(), any::<u64>(), 0_u64..50_000, option::weighted(0.3, 1_u64..60))
        .prop_map(|(power, seed, away_millis, again)| Op::Crash(Crash { power, seed, away_millis, again }))
}

fn faults() -> impl Strategy<Value = Op> {
    let fault = prop_oneof![Just(Fault::Crash), Just(Fault::Full), Just(Fault::Error(std::io::ErrorKind::Other))];
    (1_u64..40, fault).prop_map(|(calls, fault)| Op::Fault { calls, fault })
}

/// What buyers do.
fn buyers() -> impl Strategy<Value = Op> {
    let (sale, buyer, which) = (sales(), 0..BUYERS, 0..RECENT);
    prop_oneof![
        14 => (sale.clone(), buyer.clone(), 1_u32..4, option::of(0_u8..2))
            .prop_map(|(sale, buyer, quantity, key)| Op::Reserve { sale, buyer, quantity, key }),
        2 => (sale.clone(), vec(buyer.clone(), 1..6)).prop_map(|(sale, buyers)| Op::Many { sale, buyers }),
        8 => (buyer.clone(), [0_u32..3, 0_u32..3, 0_u32..2, 0_u32..2])
            .prop_map(|(buyer, units)| Op::Basket { buyer, units }),
        9 => (which.clone(), any::<bool>()).prop_map(|(which, waits)| Op::Pay { which, waits }),
        9 => which.clone().prop_map(|which| Op::Cancel { which }),
        2 => (which, 0_u64..9_000).prop_map(|(which, millis)| Op::Extend { which, millis }),
        9 => (sale.clone(), buyer.clone()).prop_map(|(sale, buyer)| Op::Join { sale, buyer }),
        2 => (sale.clone(), buyer.clone()).prop_map(|(sale, buyer)| Op::Leave { sale, buyer }),
        3 => (sale, buyer.clone()).prop_map(|(sale, buyer)| Op::Accept { sale, buyer }),
        2 => buyer.prop_map(|buyer| Op::Enroll { buyer }),
    ]
}

/// What operators do.
fn operators() -> impl Strategy<Value = Op> {
    let sale = sales();
    let span = |range| option::of(range);
    prop_oneof![
        10 => (sale.clone(), 1_u64..4).prop_map(|(sale, sequence)| Op::Ship { sale, sequence }),
        10 => (sale.clone(), 1_u32..40).prop_map(|(sale, units)| Op::Add { sale, units }),
        20 => (sale.clone(), 1_u32..4).prop_map(|(sale, units)| Op::Withdraw { sale, units }),
        10 => sale.clone().prop_map(|sale| Op::Pause { sale }),
        30 => sale.clone().prop_map(|sale| Op::Resume { sale }),
        10 => Just(Op::PauseAll),
        30 => Just(Op::ResumeAll),
        1 => sale.clone().prop_map(|sale| Op::Close { sale }),
        20 => (sale.clone(), span(0_u64..9_000), span(9_000_u64..60_000))
            .prop_map(|(sale, opens, closes)| Op::Move { sale, opens, closes }),
        20 => (sale, 1_u32..5).prop_map(|(sale, cap)| Op::Cap { sale, cap }),
    ]
}

/// What time and fate do.
fn fate() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0_u64..25_000).prop_map(|millis| Op::Pass { millis }),
        3 => (0..RECENT, any::<bool>(), 0_u64..2)
            .prop_map(|(which, grace, early_millis)| Op::Until { which, grace, early_millis }),
        8 => Just(Op::Tick),
        1 => Just(Op::Sync),
        3 => Just(Op::Compact),
        3 => faults(),
        7 => crashes(),
        1 => Just(Op::Reopen),
    ]
}

/// A life of so many operations.
pub(in crate::engine::tests) fn lives(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    vec(prop_oneof![60 => buyers(), 14 => operators(), 27 => fate()], length)
}
