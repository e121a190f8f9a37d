//! What was changed of a sale while it ran, and what may have been in force at an instant.

use super::{
    Scene,
    log::{ChangeRecord, Exchange},
    signed,
    timeline::Timeline,
};
use crate::scenario::WhatChanges;

/// The changes of one sale, in the order in which they were made.
pub(super) struct Changes<'a> {
    records: Vec<&'a ChangeRecord>,
}

impl<'a> Changes<'a> {
    pub(super) fn of(scene: &Scene<'a>, place: usize) -> Self {
        let concerns = |record: &&ChangeRecord| record.change.sale.is_none_or(|sale| sale == place);
        Self { records: scene.changes.iter().filter(concerns).collect() }
    }

    /// Units added in all.
    pub(super) fn added(&self) -> u64 {
        self.units(|what| matches!(what, WhatChanges::Add(_)))
    }

    /// Units withdrawn in all.
    pub(super) fn withdrawn(&self) -> u64 {
        self.units(|what| matches!(what, WhatChanges::Withdraw(_)))
    }

    fn units(&self, is_so: fn(&WhatChanges) -> bool) -> u64 {
        self.records.iter().filter(|record| is_so(&record.change.what)).map(|record| record.units).sum()
    }

    /// Units that could not be had: before they were added, after they were withdrawn. `from_call` says whether a
    /// change counts from its call or from its reply, for adding and for withdrawing.
    pub(super) fn take_what_is_not_there(&self, timeline: &mut Timeline, added_at: At, withdrawn_at: At) {
        for record in &self.records {
            let units = signed(record.units);
            match record.change.what {
                WhatChanges::Add(_) => timeline.take(units, 0, added_at.of(record.exchange)),
                WhatChanges::Withdraw(_) => timeline.take(units, withdrawn_at.of(record.exchange), u64::MAX),
                _ => {}
            }
        }
    }

    /// Whether the cap was changed.
    pub(super) fn moves_the_cap(&self) -> bool {
        self.records.iter().any(|record| matches!(record.change.what, WhatChanges::Cap(_)))
    }

    /// Every value that may have been in force in `from..=until`, if `first` was at the start.
    pub(super) fn in_force<V: Copy>(
        &self,
        first: V,
        of: impl Fn(WhatChanges) -> Option<V>,
        from: u64,
        until: u64,
    ) -> Vec<V> {
        let (mut value, mut since) = (first, 0);
        let mut values = Vec::new();
        for record in &self.records {
            let Some(next) = of(record.change.what) else { continue };
            if since <= until && record.exchange.replied_ns >= from {
                values.push(value);
            }
            (value, since) = (next, record.exchange.called_ns);
        }
        if since <= until {
            values.push(value);
        }
        values
    }

    /// When the sale was surely paused, by itself or with all others.
    pub(super) fn pauses(&self) -> Vec<Exchange> {
        let mut pauses = Vec::new();
        for (place, record) in self.records.iter().enumerate() {
            if record.change.what != WhatChanges::Pause {
                continue;
            }
            let ends = |later: &&&ChangeRecord| {
                later.change.what == WhatChanges::Resume && later.change.sale == record.change.sale
            };
            let resumed = self.records[place..].iter().find(ends).map_or(u64::MAX, |later| later.exchange.called_ns);
            pauses.push(Exchange { called_ns: record.exchange.replied_ns, replied_ns: resumed });
        }
        pauses
    }
}

/// The end of a request at which it counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Call,
    Reply,
}

impl At {
    const fn of(self, exchange: Exchange) -> u64 {
        match self {
            Self::Call => exchange.called_ns,
            Self::Reply => exchange.replied_ns,
        }
    }
}
