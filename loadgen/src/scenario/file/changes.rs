//! `[[changes]]`: one instant and one change each.

use serde::Deserialize;
use toml::Spanned;

use super::{Source, sales::Sales};
use crate::{
    scenario::{Change, ScenarioError, WhatChanges},
    units::Offset,
};

const EXPECTED: &str = "expected one of `add`, `withdraw`, `pause`, `resume`, `cap`, `ships`, or `opens_at` and \
                        `closes_at`, of a `sale`; or `all = \"pause\"` or `all = \"resume\"`";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeTable {
    at: Offset,
    sale: Option<String>,
    all: Option<AllName>,
    add: Option<u32>,
    withdraw: Option<u32>,
    #[serde(default)]
    pause: bool,
    #[serde(default)]
    resume: bool,
    cap: Option<u32>,
    opens_at: Option<Offset>,
    closes_at: Option<Offset>,
    #[serde(default)]
    ships: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AllName {
    Pause,
    Resume,
}

impl ChangeTable {
    /// What is said; only one thing can be.
    fn what(&self) -> Option<WhatChanges> {
        let window = (self.opens_at.is_some() || self.closes_at.is_some()).then(|| WhatChanges::Window {
            opens_at: self.opens_at.map(|at| at.0),
            closes_at: self.closes_at.map(|at| at.0),
        });
        let all = self.all.map(|all| match all {
            AllName::Pause => WhatChanges::Pause,
            AllName::Resume => WhatChanges::Resume,
        });
        let said = [
            self.add.filter(|units| *units > 0).map(WhatChanges::Add),
            self.withdraw.filter(|units| *units > 0).map(WhatChanges::Withdraw),
            self.pause.then_some(WhatChanges::Pause),
            self.resume.then_some(WhatChanges::Resume),
            self.cap.filter(|cap| *cap > 0).map(WhatChanges::Cap),
            self.ships.then_some(WhatChanges::Ship),
            window,
            all,
        ];
        let mut said = said.into_iter().flatten();
        let only = said.next()?;
        (said.next().is_none() && self.all.is_some() != self.sale.is_some()).then_some(only)
    }
}

/// Reads the changes, in the order of their instants.
pub(super) fn read(
    tables: &[Spanned<ChangeTable>],
    sales: &Sales,
    source: &Source<'_>,
) -> Result<Vec<Change>, ScenarioError> {
    let mut changes = Vec::with_capacity(tables.len());
    for spanned in tables {
        let table = spanned.get_ref();
        let what = table.what().ok_or_else(|| source.wrong(spanned, format!("a change of nothing; {EXPECTED}")))?;
        let sale = match &table.sale {
            None => None,
            Some(name) => Some(sales.place(name).ok_or_else(|| {
                source.wrong(spanned, format!("a change of {name:?}; expected the name of one of the [[sales]]"))
            })?),
        };
        changes.push(Change { at: table.at.0, sale, what });
    }
    changes.sort_by_key(|change| change.at);
    Ok(changes)
}
