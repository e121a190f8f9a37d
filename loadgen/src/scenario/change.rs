//! Changes of a sale while the crowd is there.

use std::time::Duration;

use crate::target::SaleIndex;

/// A change at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When, counted from the start of the run.
    pub at: Duration,
    /// Which sale; `None` for all of them.
    pub sale: Option<SaleIndex>,
    /// What changes.
    pub what: WhatChanges,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhatChanges {
    /// So many units more.
    Add(u32),
    /// So many units less, or as many as are free.
    Withdraw(u32),
    /// No new hold until it is resumed.
    Pause,
    /// New holds again.
    Resume,
    /// Another limit per buyer.
    Cap(u32),
    /// Another window; what isn't said stays as it is.
    Window {
        /// The new opening, counted from the start of the run.
        opens_at: Option<Duration>,
        /// The new closing.
        closes_at: Option<Duration>,
    },
    /// Everything that was sold until now is shipped.
    Ship,
}

impl WhatChanges {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Withdraw(_) => "withdraw",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cap(_) => "cap",
            Self::Window { .. } => "window",
            Self::Ship => "ship",
        }
    }
}
