//! One connection to Redis, and the four things that are said on it: who are you, how far are you, take this batch,
//! give me these records.
//!
//! - A link never reconnects and never repeats a command: after any error of the connection it is thrown away, so
//!   that whoever opens the next one begins by reading the watermarks.
//! - Connecting and every answer have a time limit.
//! - User and password leave [`Endpoint`] only as the arguments of `AUTH`.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::time::timeout;

use super::{
    error::{Context, LedgerError, judge},
    row::{self, Keys},
};
use crate::{Identity, SoldRecord};

/// How many sales are asked for their watermark in one round trip.
const MARKS_AT_ONCE: usize = 256;

/// Where Redis is, and how to be let in.
pub(super) struct Endpoint {
    client: Client,
    address: String,
    user: Option<String>,
    password: Option<String>,
    database: i64,
}

impl Endpoint {
    pub(super) fn parse(url: &str) -> Result<Self, LedgerError> {
        let unusable = |reason: &str| LedgerError::Url { reason: reason.to_owned() };
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            return Err(unusable("TLS isn't built in: put a TLS proxy before Redis"));
        }
        redis::parse_redis_url(url).ok_or_else(|| unusable("it doesn't parse"))?;
        let info = url.into_connection_info().map_err(|_| unusable("its host, port or database can't be used"))?;
        let access = info.redis_settings();
        let (user, password) = (access.username().map(str::to_owned), access.password().map(str::to_owned));
        let (database, address) = (access.db(), info.addr().to_string());
        // The client connects without a word, so that AUTH and SELECT are ours and their refusals can be told apart.
        let silent = info.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        let client = Client::open(silent).map_err(|_| unusable("its address can't be used"))?;
        Ok(Self { client, address, user, password, database })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, address, user, password, database } = self;
        // In a URL that was mistyped, redis://password@host, the password stands where the user belongs.
        let [user, password] = [user, password].map(|secret| secret.as_ref().map(|_| "***"));
        f.debug_struct("Endpoint")
            .field("address", address)
            .field("user", &user)
            .field("password", &password)
            .field("database", database)
            .finish()
    }
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

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

/// An open connection to a server that is a Redis, lets us in, and takes writes.
pub(super) struct Link<'a> {
    endpoint: &'a Endpoint,
    limits: Limits,
    connection: MultiplexedConnection,
}

impl<'a> Link<'a> {
    pub(super) async fn open(endpoint: &'a Endpoint, limits: Limits) -> Result<Self, LedgerError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits.connect))
            .set_response_timeout(Some(limits.response));
        let late = || LedgerError::TimedOut { address: endpoint.address.clone(), after: limits.connect };
        let opening = endpoint.client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(limits.connect, opening).await.map_err(|_| late())?;
        let context = context(endpoint, limits.connect, "");
        let connection = connection.map_err(|error| judge(&error, &context))?;
        let mut link = Self { endpoint, limits, connection };
        link.enter().await?;
        Ok(link)
    }

    /// Logs in, chooses the database, and makes sure that this is a primary.
    async fn enter(&mut self) -> Result<(), LedgerError> {
        if let Some(password) = &self.endpoint.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &self.endpoint.user {
                auth.arg(user);
            }
            auth.arg(password);
            self.ask::<Value>(&auth, "").await.map_err(Self::at_the_door(self.endpoint))?;
        }
        self.ask::<Value>(&redis::cmd("PING"), "").await.map_err(Self::at_the_door(self.endpoint))?;
        if self.endpoint.database != 0 {
            self.ask::<Value>(redis::cmd("SELECT").arg(self.endpoint.database), "").await?;
        }
        // A user without the right to ask for the role may still write; the script then meets READONLY.
        let role = self.ask::<Vec<Value>>(&redis::cmd("ROLE"), "").await;
        match role {
            Ok(role) => match role.first() {
                Some(Value::BulkString(role)) if role == b"slave" => {
                    Err(LedgerError::ReadOnly { address: self.endpoint.address.clone() })
                }
                _ => Ok(()),
            },
            Err(error) if error.is_of_connection() => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// A peer that hangs up at our first word isn't a Redis: Redis says why.
    fn at_the_door(endpoint: &Endpoint) -> impl Fn(LedgerError) -> LedgerError {
        let address = endpoint.address.clone();
        move |error| match error {
            LedgerError::Unreachable { .. } => LedgerError::NotRedis { address: address.clone() },
            other => other,
        }
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd, sale: &str) -> Result<T, LedgerError> {
        let answer = command.query_async(&mut self.connection).await;
        answer.map_err(|error| self.judge(&error, sale))
    }

    fn judge(&self, error: &RedisError, sale: &str) -> LedgerError {
        judge(error, &context(self.endpoint, self.limits.response, sale))
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
            let mut questions = redis::pipe();
            questions.ignore_errors();
            for sale in some {
                let keys = Keys::new(prefix, sale);
                let fields = ["engine", "epoch", "incarnation", "last", "units"];
                questions.cmd("HMGET").arg(keys.ledger).arg(&fields);
                questions.cmd("HLEN").arg(keys.sales);
            }
            let answers: RedisResult<Vec<RedisResult<Value>>> = questions.query_async(&mut self.connection).await;
            let answers = answers.map_err(|error| self.judge(&error, ""))?;
            let mut answers = answers.into_iter();
            for sale in some {
                let mark = match (answers.next(), answers.next()) {
                    (Some(ledger), Some(length)) => self.mark(sale, ledger, length),
                    _ => Err(LedgerError::NotRedis { address: self.endpoint.address.clone() }),
                };
                match mark {
                    Err(error) if error.is_of_connection() => return Err(error),
                    other => marks.push(other),
                }
            }
        }
        Ok(marks)
    }

    fn mark(&self, sale: &str, ledger: RedisResult<Value>, length: RedisResult<Value>) -> Result<Mark, LedgerError> {
        let ledger = ledger.and_then(|value| Ok(redis::from_redis_value::<[Option<String>; 5]>(value)?));
        let length = length.and_then(|value| Ok(redis::from_redis_value::<u64>(value)?));
        let [engine, epoch, incarnation, last, units] = ledger.map_err(|error| self.judge(&error, sale))?;
        let fields = length.map_err(|error| self.judge(&error, sale))?;
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
        script: &redis::Script,
        keys: &Keys,
        identity: Identity,
        sale: &str,
        records: &[SoldRecord],
    ) -> Result<Taken, LedgerError> {
        let mut call = script.prepare_invoke();
        call.key(&keys.ledger).key(&keys.sales);
        for text in fence(identity) {
            call.arg(text);
        }
        call.arg(records.first().map_or(1, |record| record.sequence).to_string());
        for record in records {
            call.arg(record.sequence.to_string()).arg(record.quantity.to_string()).arg(row::text(record));
        }
        let reply: RedisResult<Vec<String>> = call.invoke_async(&mut self.connection).await;
        let reply = reply.map_err(|error| self.judge(&error, sale))?;
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

    /// Runs a script that concerns no sale.
    pub(super) async fn invoke<T: redis::FromRedisValue>(
        &mut self,
        call: &redis::ScriptInvocation<'_>,
    ) -> Result<T, LedgerError> {
        let answer = call.invoke_async(&mut self.connection).await;
        answer.map_err(|error| self.judge(&error, ""))
    }

    /// The texts that stand under `sequences`.
    pub(super) async fn texts(
        &mut self,
        keys: &Keys,
        sale: &str,
        sequences: &[String],
    ) -> Result<Vec<Option<String>>, LedgerError> {
        self.ask(redis::cmd("HMGET").arg(&keys.sales).arg(sequences), sale).await
    }

    /// One page of all fields and their texts; the cursor 0 begins, and ends, the walk.
    pub(super) async fn walk(
        &mut self,
        keys: &Keys,
        sale: &str,
        cursor: u64,
    ) -> Result<(u64, Vec<(String, String)>), LedgerError> {
        self.ask(redis::cmd("HSCAN").arg(&keys.sales).arg(cursor).arg("COUNT").arg(1_000), sale).await
    }
}

fn context<'a>(endpoint: &'a Endpoint, after: Duration, sale: &'a str) -> Context<'a> {
    Context { address: &endpoint.address, secret: endpoint.password.as_deref(), after, sale }
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
    let endpoint = Endpoint::parse(url)?;
    let limits = Limits { connect: within, response: within };
    match timeout(within, Link::open(&endpoint, limits)).await {
        Ok(opened) => opened.map(drop),
        Err(_) => Err(LedgerError::TimedOut { address: endpoint.address, after: within }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_shows_nowhere() {
        let endpoint = Endpoint::parse("redis://shop:hunter2@10.0.0.1:7000/3").unwrap();
        let shown = format!("{endpoint:?}");
        assert!(!shown.contains("hunter2") && shown.contains("10.0.0.1:7000"), "{shown}");
        let mistyped = format!("{:?}", Endpoint::parse("redis://hunter2@10.0.0.1").unwrap());
        assert!(!mistyped.contains("hunter2"), "{mistyped}");
        for url in ["redis://:hunter2@", "rediss://:hunter2@h", "http://:hunter2@h", "redis://:hunter2@h/x", "hunter2"]
        {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
