//! A way to Redis, and the three things that are said on it: how far are you, take this batch, give me these records.
//!
//! A link never repeats a command that may have run. After an error that ends it, it is thrown away; after one of a
//! sale, that sale begins again. Either way whoever goes on begins by reading the watermark.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::time::timeout;

use super::{
    dial::{Limits, Tcp},
    endpoint::Endpoint,
    error::LedgerError,
    nodes::Nodes,
    row::{self, Keys},
    script::Script,
    server::Failure,
};
use crate::{Identity, SoldRecord};

/// How many sales are asked for their watermark in one round trip.
const MARKS_AT_ONCE: usize = 256;

/// What Redis has of one sale.
#[derive(Debug, Default)]
pub(super) struct Mark {
    pub(super) engine: Option<String>,
    pub(super) epoch: Option<String>,
    pub(super) incarnation: Option<String>,
    /// The watermark.
    pub(super) last: u64,
    /// The units up to the watermark.
    pub(super) units: u64,
    /// How many fields the sales have.
    pub(super) fields: u64,
}

impl Mark {
    /// Whether `identity` was the last to write here, or nobody has.
    pub(super) fn belongs_to(&self, identity: Identity) -> bool {
        let [engine, epoch, incarnation] = fence(identity);
        let same = |found: &Option<String>, ours: String| found.as_ref().is_none_or(|found| *found == ours);
        same(&self.engine, engine) && same(&self.epoch, epoch) && same(&self.incarnation, incarnation)
    }
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of it is there.
    All,
    /// Redis lost what came before: it has records up to this watermark only.
    Gap(u64),
}

/// The texts by which the script tells ledgers apart.
pub(super) fn fence(identity: Identity) -> [String; 3] {
    let Identity { engine, epoch, incarnation } = identity;
    [format!("{engine:016x}"), epoch.to_string(), format!("{incarnation:016x}")]
}

/// A way to servers that are a Redis, let us in, and take writes.
pub(super) struct Link<'a> {
    endpoint: &'a Endpoint,
    limits: Limits,
    nodes: Nodes,
}

impl<'a> Link<'a> {
    pub(super) async fn open(endpoint: &'a Endpoint, limits: Limits) -> Result<Self, LedgerError> {
        let nodes = Nodes::open(endpoint, limits).await?;
        Ok(Self { endpoint, limits, nodes })
    }

    /// Whether the link is of no use after `error`; if not, it is a matter of one sale.
    pub(super) fn is_ended_by(&self, error: &LedgerError) -> bool {
        self.nodes.are_ended_by(error)
    }

    async fn ask<T>(&mut self, key: &str, command: &redis::Cmd, sale: &str) -> Result<T, LedgerError>
    where
        T: redis::FromRedisValue,
    {
        let answer = self.nodes.ask(key, command).await;
        self.read(answer, sale)
    }

    fn read<T: redis::FromRedisValue>(&self, answer: Result<Value, Failure>, sale: &str) -> Result<T, LedgerError> {
        let value = answer.map_err(|failure| self.judged(&failure, sale))?;
        redis::from_redis_value(value).map_err(|_| LedgerError::NotRedis { address: self.endpoint.to_string() })
    }

    fn judged(&self, failure: &Failure, sale: &str) -> LedgerError {
        failure.judged(&self.endpoint.access, self.limits.response, sale)
    }

    /// What Redis has of each sale, in the order of `sales`.
    ///
    /// # Errors
    /// The outer error concerns the connection, an inner one only its sale.
    pub(super) async fn marks(
        &mut self,
        prefix: &str,
        sales: &[&str],
    ) -> Result<Vec<Result<Mark, LedgerError>>, LedgerError> {
        let mut marks = Vec::with_capacity(sales.len());
        for some in sales.chunks(MARKS_AT_ONCE) {
            let mut questions = Vec::with_capacity(2 * some.len());
            for sale in some {
                let keys = Keys::new(prefix, sale);
                let mut ledger = redis::cmd("HMGET");
                ledger.arg(&keys.ledger).arg(&["engine", "epoch", "incarnation", "last", "units"]);
                let mut length = redis::cmd("HLEN");
                length.arg(&keys.sales);
                questions.extend([(keys.ledger, ledger), (keys.sales, length)]);
            }
            let answers = self.nodes.ask_all(&questions).await.map_err(|failure| self.judged(&failure, ""))?;
            let mut answers = answers.into_iter();
            for sale in some {
                let mark = match (answers.next(), answers.next()) {
                    (Some(ledger), Some(length)) => self.mark(sale, ledger, length),
                    _ => Err(LedgerError::NotRedis { address: self.endpoint.to_string() }),
                };
                match mark {
                    Err(error) if self.is_ended_by(&error) => return Err(error),
                    other => marks.push(other),
                }
            }
        }
        Ok(marks)
    }

    fn mark(
        &self,
        sale: &str,
        ledger: Result<Value, Failure>,
        length: Result<Value, Failure>,
    ) -> Result<Mark, LedgerError> {
        let [engine, epoch, incarnation, last, units] = self.read::<[Option<String>; 5]>(ledger, sale)?;
        let fields = self.read(length, sale)?;
        let number = |text: Option<String>| text.map_or(Some(0), |text| text.parse::<u64>().ok());
        let (Some(last), Some(units)) = (number(last), number(units)) else {
            return Err(LedgerError::WrongType { sale: sale.to_owned() });
        };
        Ok(Mark { engine, epoch, incarnation, last, units, fields })
    }

    /// Hands over a gapless batch.
    ///
    /// After an error of the connection or a timeout it may have been taken or not; handing it over again is harmless.
    pub(super) async fn deliver(
        &mut self,
        script: &Script,
        keys: &Keys,
        identity: Identity,
        sale: &str,
        records: &[SoldRecord],
    ) -> Result<Taken, LedgerError> {
        let mut arguments = Vec::with_capacity(4 + 3 * records.len());
        arguments.extend(fence(identity));
        arguments.push(records.first().map_or(1, |record| record.sequence).to_string());
        for record in records {
            arguments.extend([record.sequence.to_string(), record.quantity.to_string(), row::text(record)]);
        }
        let reply: Vec<String> = self.run(script, [&keys.ledger, &keys.sales], &arguments, sale).await?;
        let [status, watermark, detail] = reply.as_slice() else {
            return Err(LedgerError::Refused { message: format!("the script answered {reply:?}") });
        };
        let (sale, ours, found) = (sale.to_owned(), identity.epoch, detail.clone());
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match status.as_str() {
            "OK" => Ok(Taken::All),
            "GAP" => Ok(Taken::Gap(number(watermark))),
            "OTHER_ENGINE" => Err(LedgerError::OtherEngine { sale, found }),
            "STALE_EPOCH" => Err(LedgerError::StaleEpoch { sale, found, ours }),
            "FORKED" => Err(LedgerError::Forked { sale, ours }),
            "CONFLICT" => Err(LedgerError::Conflict { sale, sequence: number(detail) }),
            _ => Err(LedgerError::Refused { message: format!("the script answered {reply:?}") }),
        }
    }

    /// Runs a script on its two keys, which concern `sale`.
    ///
    /// A server that doesn't know the script has not run it, so saying it in full repeats nothing.
    pub(super) async fn run<T: redis::FromRedisValue>(
        &mut self,
        script: &Script,
        keys: [&str; 2],
        arguments: &[String],
        sale: &str,
    ) -> Result<T, LedgerError> {
        let mut answer = self.nodes.ask(keys[0], &script.known(keys, arguments)).await;
        if answer.as_ref().is_err_and(Failure::is_unknown_script) {
            answer = self.nodes.ask(keys[0], &script.taught(keys, arguments)).await;
        }
        self.read(answer, sale)
    }

    /// The texts that stand under `sequences`.
    pub(super) async fn texts(
        &mut self,
        keys: &Keys,
        sale: &str,
        sequences: &[String],
    ) -> Result<Vec<Option<String>>, LedgerError> {
        self.ask(&keys.sales, redis::cmd("HMGET").arg(&keys.sales).arg(sequences), sale).await
    }

    /// One page of all fields and their texts; the cursor 0 begins, and ends, the walk.
    pub(super) async fn walk(
        &mut self,
        keys: &Keys,
        sale: &str,
        cursor: u64,
    ) -> Result<(u64, Vec<(String, String)>), LedgerError> {
        self.ask(&keys.sales, redis::cmd("HSCAN").arg(&keys.sales).arg(cursor).arg("COUNT").arg(1_000), sale).await
    }
}

/// Tries whether the ledger could work with the Redis at `url`: somebody listens, it is a Redis, it lets us in, and it
/// takes writes. It writes nothing.
///
/// # Errors
/// [`LedgerError`] tells these apart, among others: [`Url`](LedgerError::Url),
/// [`NobodyListens`](LedgerError::NobodyListens), [`NeedsPassword`](LedgerError::NeedsPassword),
/// [`WrongPassword`](LedgerError::WrongPassword), [`ReadOnly`](LedgerError::ReadOnly),
/// [`NotRedis`](LedgerError::NotRedis) and [`TimedOut`](LedgerError::TimedOut).
pub async fn probe(url: &str, within: Duration) -> Result<(), LedgerError> {
    let endpoint = Endpoint::parse(url, Arc::new(Tcp))?;
    let limits = Limits { connect: within, response: within };
    match timeout(within, Link::open(&endpoint, limits)).await {
        Ok(opened) => opened.map(drop),
        Err(_) => Err(LedgerError::TimedOut { address: endpoint.to_string(), after: within }),
    }
}
