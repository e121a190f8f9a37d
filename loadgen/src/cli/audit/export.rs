//! The export: every order that can be read, one JSON object a line.
//!
//! What holds: the file has its name only once it is whole and durable, and takes nobody else's. What a crash leaves is
//! called `.unfinished`.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use sellout::SoldRecord;
use serde::Serialize;

/// Where an order was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Origin {
    Journal,
    Redis,
}

#[derive(Serialize)]
struct Line<'a> {
    sale: &'a str,
    sequence: u64,
    buyer: String,
    quantity: u32,
    payment: String,
    at: String,
    /// None if what it is made of is lost.
    order: Option<&'a str>,
    from: Origin,
}

/// Writes `orders` to the new file `path`; says how many.
pub(super) fn export<'a>(
    path: &Path,
    orders: impl Iterator<Item = (&'a str, &'a SoldRecord, Origin)>,
) -> io::Result<u64> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    let draft = tempfile::Builder::new().prefix(&format!("{name}.")).suffix(".unfinished").tempfile_in(folder)?;
    let mut out = BufWriter::new(draft);
    let mut count = 0;
    for (sale, order, from) in orders {
        let line = Line {
            sale,
            sequence: order.sequence,
            buyer: order.buyer.to_string(),
            quantity: order.quantity,
            payment: order.payment.to_string(),
            at: order.at.to_string(),
            order: Some(order.order.as_str()).filter(|id| !id.is_empty()),
            from,
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
        count += 1;
    }
    let draft = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(count)
}
