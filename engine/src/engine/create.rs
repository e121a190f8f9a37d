//! Creating sales: one, or hundreds of thousands with one commit.
//!
//! What holds: names and slots are named by one creation at a time; a sale can be found only once the journal has it;
//! of several that are created together all can be found, or none, unless the process dies in between.

use std::{collections::HashSet, sync::Arc};

use super::{
    answers::CreateError,
    faces::write_labels,
    inner::{EngineInner, room},
    state::{Alike, Extent, Origin, SaleInner},
};
use crate::{
    core::token::SLOT_BITS,
    journal::Record,
    spec::{SaleSpec, Units},
};

/// Sales in one append, and sales that are listed while nobody can look one up.
const TOGETHER: usize = 4_096;

impl EngineInner {
    /// Creates a sale.
    pub(crate) fn create_one(&self, spec: SaleSpec) -> Result<Arc<SaleInner>, CreateError> {
        spec.check()?;
        self.create_checked(spec)
    }

    /// Creates a sale whose rules were checked: its name may be one that a user can't choose.
    pub(crate) fn create_checked(&self, spec: SaleSpec) -> Result<Arc<SaleInner>, CreateError> {
        Ok(self.create_all(vec![spec])?.pop().expect("one sale a spec"))
    }

    /// Creates the sales of `specs`, all or none.
    pub(crate) fn create(&self, specs: Vec<SaleSpec>) -> Result<Vec<Arc<SaleInner>>, CreateError> {
        specs.iter().try_for_each(SaleSpec::check)?;
        self.create_all(specs)
    }

    fn create_all(&self, specs: Vec<SaleSpec>) -> Result<Vec<Arc<SaleInner>>, CreateError> {
        let _turn = self.creation.lock();
        self.check_names(&specs)?;
        let (first, mut base) = {
            let catalogue = self.catalogue.read();
            (u32::try_from(catalogue.sales.len()).expect("each sale has slots, and those are u32"), catalogue.next_slot)
        };
        let (at, mut alike) = (self.now(), Alike::default());
        let mut sales = Vec::with_capacity(specs.len());
        for (number, spec) in (first..).zip(specs) {
            let named = self.named(&spec, &sales)?;
            let (name, spec) = alike.split(spec);
            let sale = SaleInner::new(Origin { number, name, spec, at, base }, &self.setting).naming(named);
            let Extent { length, .. } = sale.first_extent();
            if !room(base, length) {
                return Err(CreateError::Full { most: 1 << SLOT_BITS });
            }
            base += length;
            sales.push(Arc::new(sale));
        }
        self.write_created(&sales)?;
        for part in sales.chunks(TOGETHER) {
            let mut catalogue = self.catalogue.write();
            for sale in part {
                catalogue.insert(sale, &[]);
            }
        }
        Ok(sales)
    }

    /// The sale that the audience names: one that is there, or an earlier one of those that are created with it.
    fn named(&self, spec: &SaleSpec, sales: &[Arc<SaleInner>]) -> Result<Option<Arc<SaleInner>>, CreateError> {
        self.catalogue.read().named(&spec.audience).or_else(|name| {
            let earlier = sales.iter().find(|sale| *sale.name == *name).cloned();
            earlier.map(Some).ok_or_else(|| CreateError::NoSuchSale { name: name.to_owned() })
        })
    }

    fn check_names(&self, specs: &[SaleSpec]) -> Result<(), CreateError> {
        let catalogue = self.catalogue.read();
        let mut names = HashSet::with_capacity(specs.len());
        let mut names_of = specs.iter().map(SaleSpec::name);
        match names_of.find(|&name| catalogue.by_name.contains_key(name) || !names.insert(name)) {
            Some(name) => Err(CreateError::NameTaken { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Appends in parts, so that others can append in between, and waits once.
    fn write_created(&self, sales: &[Arc<SaleInner>]) -> Result<(), CreateError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut written = journal.appended();
        for part in sales.chunks(TOGETHER) {
            let ((), end) = journal.append(|batch| {
                for sale in part {
                    let Extent { base, length: slots, .. } = sale.first_extent();
                    let (at, spec) = (sale.base, sale.named_spec());
                    if let Units::Listed(labels) = &spec.units {
                        write_labels(sale.number, labels, batch);
                    }
                    batch.push(&Record::SaleCreated { sale: sale.number, base, slots, at, spec });
                }
            })?;
            written = end;
        }
        Ok(journal.commit(written)?)
    }
}
