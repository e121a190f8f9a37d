//! Stages: parts of a story whose visitors come for something of their own, and whose numbers are told apart.

use crate::{arrivals::Curve, target::SaleIndex};

/// People who come for one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    /// When they come.
    pub curve: Curve,
    /// The place of their stage in [`super::Scenario::stages`].
    pub stage: usize,
    /// What they come for.
    pub purpose: Purpose,
}

/// What people come for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// To buy what each of them wishes.
    #[default]
    Wishes,
    /// To buy from that sale.
    Wants(SaleIndex),
    /// To register for that sale.
    RegistersFor(SaleIndex),
}
