//! The proof that Redis has what the journal has: everything is read back and compared, record by record.
//!
//! It shares the keys and the text of a record with delivery, and nothing else: neither its watermarks nor its
//! memory. It writes nothing.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

use super::{
    Options,
    courier::gapless,
    dial::{Dial, Tcp},
    endpoint::Endpoint,
    error::LedgerError,
    link::{Link, Mark},
    row::{self, Keys},
};
use crate::{Identity, SaleHead, SoldRecord, Source};

/// How many records are compared in one round trip.
const PAGE: usize = 1_000;

/// Who delivered a sale last, as Redis says, held against the journal's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Writer {
    /// Nobody so far.
    Nobody,
    /// This engine, in this opening or an earlier one.
    Ours,
    /// Another engine: the orders in Redis are none of this journal.
    OtherEngine {
        /// Which.
        engine: u64,
    },
    /// This engine, in an opening that the journal doesn't know: it is an older copy.
    LaterOpening {
        /// Which.
        epoch: u32,
    },
    /// Another copy of this journal, which was opened as often.
    OtherCopy,
    /// Redis has something else there than what a ledger writes.
    Unreadable,
}

impl Writer {
    fn of(mark: &Mark, ours: Identity) -> Self {
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let Some(engine) = mark.engine.as_deref() else { return Self::Nobody };
        let epoch = mark.epoch.as_deref().and_then(|epoch| epoch.parse::<u32>().ok());
        let incarnation = mark.incarnation.as_deref().and_then(number);
        match (number(engine), epoch, incarnation) {
            (Some(engine), ..) if engine != ours.engine => Self::OtherEngine { engine },
            (Some(_), Some(epoch), Some(_)) if epoch > ours.epoch => Self::LaterOpening { epoch },
            (Some(_), Some(epoch), Some(incarnation)) if epoch == ours.epoch && incarnation != ours.incarnation => {
                Self::OtherCopy
            }
            (Some(_), Some(_), Some(_)) => Self::Ours,
            _ => Self::Unreadable,
        }
    }
}

/// One sale in Redis, held against the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaleComparison {
    /// The sale's name.
    pub sale: String,
    /// Who delivered it last.
    pub writer: Writer,
    /// Records in the journal.
    pub expected: u64,
    /// Fields in Redis.
    pub found: u64,
    /// Sequences of the journal that Redis doesn't have.
    pub missing: u64,
    /// Records in Redis whose order id stands under another sequence too, and fields that aren't a sequence of the
    /// journal at all.
    pub duplicates: u64,
    /// Sequences under which Redis has another record than the journal.
    pub different: u64,
    /// The last sequence that Redis says it has.
    pub watermark: u64,
    /// The units of the journal's records.
    pub expected_units: u64,
    /// The units that Redis says it has.
    pub units: u64,
    /// The digests of the journal's records, added up.
    pub expected_digest: u128,
    /// The digests of the records in Redis, added up, as far as they can be read.
    pub digest: u128,
}

impl SaleComparison {
    /// Whether every record of the journal is in Redis once, as it is, and nothing else, and the sums agree.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.expected == self.found
            && self.missing == 0
            && self.duplicates == 0
            && self.different == 0
            && self.watermark == self.expected
            && self.units == self.expected_units
            && self.digest == self.expected_digest
    }
}

/// Reads back every sale of `source` from the Redis at `url` and compares it with the journal.
///
/// `options` must have the key prefix with which the sales were delivered. `digest` maps a record to a number; they
/// are added up with wrap-around, so the sum doesn't depend on the order and shows a record that came twice.
///
/// Compare at rest: a sale that goes on is shown as it was when its comparison began, and what is sold meanwhile may
/// show in `found` and `watermark`.
///
/// # Errors
/// [`LedgerError`] if Redis or the source can't be read, or a key holds something else than a ledger.
pub async fn verify<D>(
    url: &str,
    source: &dyn Source,
    options: &Options,
    digest: D,
) -> Result<Vec<SaleComparison>, LedgerError>
where
    D: Fn(&SoldRecord) -> u128,
{
    verify_over(Arc::new(Tcp), url, source, options, digest).await
}

/// As [`verify`], over connections that `dial` makes.
pub(crate) async fn verify_over<D>(
    dial: Arc<dyn Dial>,
    url: &str,
    source: &dyn Source,
    options: &Options,
    digest: D,
) -> Result<Vec<SaleComparison>, LedgerError>
where
    D: Fn(&SoldRecord) -> u128,
{
    let endpoint = Endpoint::parse(url, dial)?;
    let mut link = Link::open(&endpoint, options.limits()).await?;
    let mut comparisons = Vec::new();
    for head in source.sales() {
        comparisons.push(compare(&mut link, source, options, &digest, head).await?);
    }
    Ok(comparisons)
}

/// Reads the records of `sale` that the Redis at `url` has under `numbers`, as far as it has them and they can be read:
/// what a damaged journal has lost may still be there. The numbers may end beyond the watermark.
///
/// # Errors
/// [`LedgerError`] if Redis can't be read, or a key holds something else than a ledger.
pub async fn delivered(
    url: &str,
    sale: &str,
    numbers: RangeInclusive<u64>,
    options: &Options,
) -> Result<Vec<SoldRecord>, LedgerError> {
    let endpoint = Endpoint::parse(url, Arc::new(Tcp))?;
    let mut link = Link::open(&endpoint, options.limits()).await?;
    let keys = Keys::new(&options.prefix, sale);
    let mut last = 0;
    for mark in link.marks(&options.prefix, &[sale]).await? {
        last = mark?.last;
    }
    let (mut next, last) = (*numbers.start(), last.min(*numbers.end()));
    let mut records = Vec::new();
    while next <= last {
        let page: Vec<u64> = (next..=last).take(PAGE).collect();
        let sequences: Vec<String> = page.iter().map(u64::to_string).collect();
        let texts = link.texts(&keys, sale, &sequences).await?;
        let found = page.iter().zip(texts).filter_map(|(sequence, text)| row::parse(*sequence, &text?));
        records.extend(found);
        next += page.len() as u64;
    }
    Ok(records)
}

async fn compare<D>(
    link: &mut Link<'_>,
    source: &dyn Source,
    options: &Options,
    digest: &D,
    SaleHead { name, last, .. }: SaleHead,
) -> Result<SaleComparison, LedgerError>
where
    D: Fn(&SoldRecord) -> u128,
{
    let keys = Keys::new(&options.prefix, &name);
    let mut tally = SaleComparison {
        sale: name.clone(),
        writer: Writer::Nobody,
        expected: last,
        found: 0,
        missing: 0,
        duplicates: 0,
        different: 0,
        watermark: 0,
        expected_units: 0,
        units: 0,
        expected_digest: 0,
        digest: 0,
    };
    let mut orders = HashSet::new();
    let mut cursor = 0;
    let mut records = Vec::new();
    while cursor < last {
        records.clear();
        let unreadable = |reason| LedgerError::Source { sale: name.clone(), reason };
        source.read(&name, cursor, PAGE, &mut records).map_err(unreadable)?;
        records.retain(|record| record.sequence <= last);
        cursor = gapless(cursor, &records).map_err(unreadable)?;
        let sequences: Vec<String> = records.iter().map(|record| record.sequence.to_string()).collect();
        let texts = link.texts(&keys, &name, &sequences).await?;
        for (record, text) in records.iter().zip(&texts) {
            tally.expected_units += u64::from(record.quantity);
            tally.expected_digest = tally.expected_digest.wrapping_add(digest(record));
            let Some(text) = text else {
                tally.missing += 1;
                continue;
            };
            tally.different += u64::from(*text != row::text(record));
            let found = row::parse(record.sequence, text);
            tally.digest = tally.digest.wrapping_add(found.as_ref().map_or(0, digest));
            let repeated = found.is_some_and(|found| !orders.insert(row::fingerprint(&found.order)));
            tally.duplicates += u64::from(repeated);
        }
    }
    for mark in link.marks(&options.prefix, &[name.as_str()]).await? {
        let mark = mark?;
        tally.writer = Writer::of(&mark, source.identity());
        (tally.found, tally.watermark, tally.units) = (mark.fields, mark.last, mark.units);
    }
    if tally.found > tally.expected - tally.missing {
        tally.duplicates += strangers(link, source, &keys, &name, last, digest, &mut tally.digest).await?;
    }
    Ok(tally)
}

/// How many fields aren't a sequence of the journal; their records are added to `sum`.
async fn strangers<D>(
    link: &mut Link<'_>,
    source: &dyn Source,
    keys: &Keys,
    sale: &str,
    last: u64,
    digest: &D,
    sum: &mut u128,
) -> Result<u64, LedgerError>
where
    D: Fn(&SoldRecord) -> u128,
{
    // A walk may show a field twice.
    let mut fields = HashSet::new();
    let mut cursor = 0;
    loop {
        let (next, page) = link.walk(keys, sale, cursor).await?;
        for (field, text) in page {
            let sequence = field.parse::<u64>().ok().filter(|number| number.to_string() == field);
            if sequence.is_none_or(|sequence| sequence == 0 || sequence > last) {
                let beyond = sequence.unwrap_or(u64::MAX);
                if fields.insert((beyond, field)) {
                    *sum = sum.wrapping_add(row::parse(beyond, &text).as_ref().map_or(0, digest));
                }
            }
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    // What was sold while we walked is no stranger.
    let newest = source.sold().into_iter().find(|head| head.name == sale).map_or(last, |head| head.last);
    let strangers = fields.iter().filter(|(sequence, _)| *sequence == 0 || *sequence > newest).count();
    Ok(strangers.try_into().unwrap_or(u64::MAX))
}
