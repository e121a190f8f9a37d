//! The loop that carries sales to Redis.
//!
//! What it holds true:
//! - it trusts no memory of its own across a connection: every connection begins with the watermarks as they are in
//!   Redis, and about once a second they are read again, so that a Redis that lost acknowledged writes is found out;
//! - one batch is in flight, and where it begins is decided only after the answer to the one before;
//! - the first batch of a sale on a connection repeats the record at the watermark, so that the script compares it.
//!   Order ids never repeat, so equal records at the watermark mean equal histories up to it: a restored journal that
//!   has since sold past the watermark is found here;
//! - what goes wrong with one sale pauses that sale, what goes wrong with the connection ends the connection, and
//!   neither is ever given up. Dropping the loop at any point loses nothing.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Options,
    endpoint::Endpoint,
    error::LedgerError,
    link::{Link, Mark, Taken},
    row::Keys,
    script::Script,
    status::{Board, Connection},
};
use crate::{Identity, SaleHead, SoldRecord, Source};

/// Everything that the loop works with.
pub(super) struct Courier<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) source: &'a dyn Source,
    pub(super) options: &'a Options,
    pub(super) board: &'a Board,
    pub(super) script: Script,
}

/// Where delivery of one sale stands on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// The next batch begins after this sequence.
    cursor: u64,
    /// Records up to here are sent again because the sales have fewer fields than the watermark says.
    repair: u64,
}

impl Position {
    /// Where to begin, or to go on, given what Redis has.
    fn after_look(known: Option<Self>, mark: &Mark, identity: Identity) -> Self {
        let whole = mark.fields >= mark.last;
        match known {
            Some(position) if position.cursor < position.repair && mark.last >= position.cursor => position,
            Some(position) if position.cursor == mark.last && whole && mark.belongs_to(identity) => position,
            _ if whole => Self { cursor: mark.last.saturating_sub(1), repair: 0 },
            _ => Self { cursor: 0, repair: mark.last },
        }
    }
}

/// One sale on its way.
#[derive(Debug, Default)]
struct Lane {
    /// Unknown until a look, and again after a fault.
    position: Option<Position>,
    /// Since when, and how long.
    pause: Option<(Instant, Duration)>,
    failures: u32,
}

impl Lane {
    fn is_paused(&self) -> bool {
        self.pause.is_some_and(|(since, span)| since.elapsed() < span)
    }
}

impl Courier<'_> {
    /// Connects, delivers, and begins again, for ever.
    pub(super) async fn run(&self) -> Infallible {
        self.board.connection(Connection::Connecting);
        let mut attempts = 0_u32;
        loop {
            let error = match Link::open(self.endpoint, self.options.limits()).await {
                Ok(link) => self.serve(link, &mut attempts).await,
                Err(error) => error,
            };
            attempts = attempts.saturating_add(1);
            self.board.connection(Connection::Broken { error, attempts });
            sleep(self.options.pause(attempts - 1)).await;
        }
    }

    /// Delivers over `link` until it breaks, and says why it did.
    async fn serve(&self, mut link: Link<'_>, attempts: &mut u32) -> LedgerError {
        let mut lanes = HashMap::new();
        let mut last_look = None;
        loop {
            match self.round(&mut link, &mut lanes, &mut last_look).await {
                Ok(busy) => {
                    *attempts = 0;
                    if !busy {
                        sleep(self.options.poll).await;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    /// Looks where a look is due and hands over at most one batch a sale; true if it handed one over.
    async fn round(
        &self,
        link: &mut Link<'_>,
        lanes: &mut HashMap<String, Lane>,
        last_look: &mut Option<Instant>,
    ) -> Result<bool, LedgerError> {
        let asked = self.board.looks_asked();
        let old = last_look.is_none_or(|look| look.elapsed() >= self.options.look_every);
        let everywhere = old || asked > self.board.looks_done();
        let mut heads = self.source.sold();
        for head in &heads {
            if !lanes.contains_key(&head.name) {
                lanes.insert(head.name.clone(), Lane::default());
            }
        }
        let due = |head: &&SaleHead| {
            let lane = &lanes[&head.name];
            !lane.is_paused() && (everywhere || lane.position.is_none())
        };
        let names: Vec<&str> = heads.iter().filter(due).map(|head| head.name.as_str()).collect();
        if !names.is_empty() {
            let marks = link.marks(&self.options.prefix, &names).await?;
            let marks: HashMap<String, _> = names.into_iter().map(str::to_owned).zip(marks).collect();
            // Asked again, after the watermarks: what is in Redis was durable before it was delivered.
            heads = self.source.sold();
            self.learn(&heads, marks, lanes);
        }
        self.board.connection_is_up();
        if everywhere {
            self.board.looked(asked);
            *last_look = Some(Instant::now());
        }
        let mut busy = false;
        for head in &heads {
            if let Some(lane) = lanes.get_mut(&head.name) {
                busy |= self.advance(link, head, lane).await?;
            }
        }
        Ok(busy)
    }

    /// Takes in what Redis was seen to have.
    fn learn(
        &self,
        heads: &[SaleHead],
        mut marks: HashMap<String, Result<Mark, LedgerError>>,
        lanes: &mut HashMap<String, Lane>,
    ) {
        let identity = self.source.identity();
        for SaleHead { name, last } in heads {
            let (Some(mark), Some(lane)) = (marks.remove(name), lanes.get_mut(name)) else { continue };
            match mark {
                Ok(mark) if mark.last > *last => {
                    let ahead = LedgerError::Ahead { sale: name.clone(), watermark: mark.last, last: *last };
                    self.stumble(name, lane, ahead);
                }
                Ok(mark) => {
                    let position = Position::after_look(lane.position, &mark, identity);
                    lane.position = Some(position);
                    self.board.delivered(name, position.cursor, position.cursor == *last);
                }
                Err(error) => self.stumble(name, lane, error),
            }
        }
    }

    /// Shows `error` and lets the sale rest; afterwards it begins with a look.
    fn stumble(&self, sale: &str, lane: &mut Lane, error: LedgerError) {
        lane.pause = Some((Instant::now(), self.options.pause(lane.failures)));
        lane.failures = lane.failures.saturating_add(1);
        lane.position = None;
        self.board.fault(sale, error);
    }

    /// Hands over the next batch of one sale, if there is one.
    async fn advance(&self, link: &mut Link<'_>, head: &SaleHead, lane: &mut Lane) -> Result<bool, LedgerError> {
        let Some(position) = lane.position.filter(|position| position.cursor < head.last) else { return Ok(false) };
        match self.hand_over(link, head, position.cursor).await {
            Ok((Taken::All, cursor)) => {
                lane.failures = 0;
                lane.position = Some(Position { cursor, ..position });
                self.board.delivered(&head.name, cursor, true);
                Ok(true)
            }
            Ok((Taken::Gap(watermark), _)) => {
                // Between two batches Redis lost what it had acknowledged.
                lane.position = None;
                self.board.delivered(&head.name, watermark, false);
                Ok(true)
            }
            Err(error) if link.is_ended_by(&error) => Err(error),
            Err(error) => {
                self.stumble(&head.name, lane, error);
                Ok(false)
            }
        }
    }

    async fn hand_over(&self, link: &mut Link<'_>, head: &SaleHead, cursor: u64) -> Result<(Taken, u64), LedgerError> {
        let sale = head.name.as_str();
        let mut records = Vec::new();
        let limit = usize::from(self.options.batch.get());
        let unreadable = |reason| LedgerError::Source { sale: sale.to_owned(), reason };
        self.source.read(sale, cursor, limit, &mut records).map_err(unreadable)?;
        let upto = gapless(cursor, &records).map_err(unreadable)?;
        let keys = Keys::new(&self.options.prefix, sale);
        let taken = link.deliver(&self.script, &keys, self.source.identity(), sale, &records).await?;
        Ok((taken, upto))
    }
}

/// The last sequence of `records`, which must follow `cursor` without a gap.
pub(super) fn gapless(cursor: u64, records: &[SoldRecord]) -> Result<u64, String> {
    let mut upto = cursor;
    for record in records {
        if record.sequence != upto + 1 {
            return Err(format!("record {} came after {upto}", record.sequence));
        }
        upto = record.sequence;
    }
    if upto == cursor { Err(format!("no record came after {cursor}")) } else { Ok(upto) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Identity = Identity::new(1, 2, 3);

    fn mark(last: u64, fields: u64) -> Mark {
        Mark { last, fields, ..Mark::default() }
    }

    fn at(cursor: u64, repair: u64) -> Position {
        Position { cursor, repair }
    }

    #[test]
    fn a_connection_begins_with_the_record_at_the_watermark() {
        assert_eq!(Position::after_look(None, &mark(0, 0), OURS), at(0, 0));
        assert_eq!(Position::after_look(None, &mark(90, 90), OURS), at(89, 0));
    }

    #[test]
    fn a_look_that_finds_what_was_delivered_changes_nothing() {
        assert_eq!(Position::after_look(Some(at(90, 0)), &mark(90, 90), OURS), at(90, 0));
    }

    #[test]
    fn a_watermark_that_went_back_or_on_is_followed_with_a_comparison() {
        assert_eq!(Position::after_look(Some(at(90, 0)), &mark(0, 0), OURS), at(0, 0));
        assert_eq!(Position::after_look(Some(at(90, 0)), &mark(40, 40), OURS), at(39, 0));
        assert_eq!(Position::after_look(Some(at(90, 0)), &mark(95, 95), OURS), at(94, 0));
        let other = Mark { epoch: Some("9".to_owned()), ..mark(90, 90) };
        assert_eq!(Position::after_look(Some(at(90, 0)), &other, OURS), at(89, 0));
    }

    #[test]
    fn sales_that_are_gone_under_a_watermark_are_sent_again_from_the_start() {
        assert_eq!(Position::after_look(None, &mark(90, 0), OURS), at(0, 90));
        assert_eq!(Position::after_look(Some(at(90, 0)), &mark(90, 89), OURS), at(0, 90));
        assert_eq!(Position::after_look(Some(at(50, 90)), &mark(90, 50), OURS), at(50, 90));
        assert_eq!(Position::after_look(Some(at(50, 90)), &mark(0, 0), OURS), at(0, 0));
    }

    #[test]
    fn a_source_with_a_gap_is_not_delivered() {
        let sold = |sequence| {
            let payment = crate::PaymentId::from(1);
            SoldRecord::new(sequence, crate::Buyer::from(1), 1, payment, crate::Timestamp::MIN, "o")
        };
        assert_eq!(gapless(4, &[sold(5), sold(6)]), Ok(6));
        assert!(gapless(4, &[sold(6)]).is_err());
        assert!(gapless(4, &[sold(5), sold(5)]).is_err());
        assert!(gapless(4, &[]).is_err());
    }
}
