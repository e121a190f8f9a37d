//! The engine opened a second time, on a copy of the journal; and what the sales cost in memory.

use std::{fs, path::Path, sync::Arc, time::Instant};

use sellout::{Clock, Engine, Sale};

use super::{amounts, failed, totals};
use crate::target::{ReopenProof, TargetError};

/// Opens a second engine on a copy of `journal` and asks it for its sums, in the order of `sales`.
pub(super) fn reopened(journal: &Path, clock: Arc<dyn Clock>, sales: &[Sale]) -> Result<ReopenProof, TargetError> {
    let copy = tempfile::Builder::new().prefix("loadgen-copy-").tempdir().map_err(failed)?;
    for entry in fs::read_dir(journal).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).map_err(failed)?;
        }
    }
    let begun = Instant::now();
    let engine = Engine::options().clock(clock).open(copy.path()).map_err(failed)?;
    let mut proof = ReopenProof { opened_in: begun.elapsed(), ..ReopenProof::default() };
    engine.tick(engine.now());
    for (place, sale) in sales.iter().enumerate() {
        let again = engine.sale(sale.name()).map_err(failed)?;
        proof.totals.push(totals(&again));
        proof.amounts.extend(amounts(&again).map(|amounts| (place, amounts)));
    }
    Ok(proof)
}

/// Bytes of memory that this process has; 0 where the system doesn't tell.
pub(super) fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * u64::try_from(rustix::param::page_size()).unwrap_or(0)
}
