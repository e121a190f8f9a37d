//! The file of acknowledged confirmations: what a shop has promised, outside of the shop.
//!
//! One line an acknowledgement, `sale,order,payment`, written with a plain write right after the poll round that saw
//! it. What stands here and not in the journal after a crash is a broken promise.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use crate::{number::count, target::OrderId};

/// The file, shared by all workers.
#[derive(Debug)]
pub struct AckLog {
    file: Mutex<File>,
    failure: Mutex<Option<String>>,
}

/// One acknowledged confirmation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ack {
    /// The sale's name.
    pub sale: String,
    /// The order.
    pub order: OrderId,
    /// The payment.
    pub payment: String,
}

impl AckLog {
    /// Opens the file for appending; it is made if it isn't there, and loses a last line that was never whole.
    ///
    /// # Errors
    /// The system's error if it can't be written.
    pub fn append(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(count(whole))?;
        }
        Ok(Self { file: Mutex::new(file), failure: Mutex::new(None) })
    }

    /// Writes whole lines, in one write; empties `lines`.
    pub(super) fn write(&self, lines: &mut String) {
        let written = {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(lines.as_bytes())
        };
        lines.clear();
        if let Err(error) = written {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| format!("the acknowledgements can't be written: {error}"));
        }
    }

    /// Why writing failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads the acknowledgements in `path`; a last line without its end was never written whole and is left out.
///
/// # Errors
/// The system's error, or one that names the line that can't be understood.
pub fn read_acks(path: &Path) -> io::Result<Vec<Ack>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut acks = Vec::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let ack = parse(line.trim_end()).ok_or_else(|| {
            let place = acks.len() + 1;
            io::Error::new(io::ErrorKind::InvalidData, format!("line {place}: expected `sale,order,payment`"))
        })?;
        acks.push(ack);
        line.clear();
    }
    Ok(acks)
}

fn parse(line: &str) -> Option<Ack> {
    let mut fields = line.split(',');
    let (sale, order, payment) = (fields.next()?, fields.next()?, fields.next()?);
    let order = order.parse().ok()?;
    fields.next().is_none().then(|| Ack { sale: sale.to_owned(), order, payment: payment.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_come_back_and_a_torn_last_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acks");
        let log = AckLog::append(&path).unwrap();
        log.write(&mut format!("mx3,{},77\n", OrderId(10)));
        log.write(&mut "mx3,000".to_owned());
        let ack = |order, payment: &str| Ack { sale: "mx3".into(), order: OrderId(order), payment: payment.into() };
        assert_eq!(read_acks(&path).unwrap(), [ack(10, "77")]);
        let log = AckLog::append(&path).unwrap();
        log.write(&mut format!("mx3,{},78\n", OrderId(11)));
        assert_eq!(read_acks(&path).unwrap(), [ack(10, "77"), ack(11, "78")]);
    }

    #[test]
    fn a_line_that_is_no_acknowledgement_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acks");
        std::fs::write(&path, format!("mx3,{},77\nmx3;1\n", OrderId(10))).unwrap();
        assert!(read_acks(&path).unwrap_err().to_string().contains("line 2"));
    }
}
