//! One server that let us in.
//!
//! - Connecting and every answer have a time limit.
//! - It never reconnects and never repeats a command.
//! - The password leaves [`Access`] only as the argument of `AUTH`.

use std::{fmt, io, sync::Arc};

use redis::{Cmd, ConnectionAddr, Pipeline, RedisError, RedisResult, Value};
use tokio::time::timeout;

use super::{
    dial::{Dial, Limits, Wire},
    error::{Context, LedgerError, judge},
};

/// Who we are.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, password, database } = self;
        let password = password.as_ref().map(|_| "***");
        f.debug_struct("Access").field("user", user).field("password", &password).field("database", database).finish()
    }
}

/// An error, and the server that it came from.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: RedisError,
    pub(super) address: Arc<str>,
}

/// An open connection to a server that is a Redis and has let us in.
pub(super) struct Server {
    wire: Wire,
    address: Arc<str>,
    limits: Limits,
}

impl Server {
    /// Connects, logs in, and chooses the database.
    pub(super) async fn enter(
        dial: &dyn Dial,
        address: &ConnectionAddr,
        access: &Access,
        limits: Limits,
    ) -> Result<Self, LedgerError> {
        let name: Arc<str> = address.to_string().into();
        let judged = |error: RedisError, after| {
            judge(&error, &Context { address: &name, secret: access.password.as_deref(), after, sale: "" })
        };
        let wire = timeout(limits.connect, dial.dial(address)).await.map_err(|_| late()).flatten();
        let wire = wire.map_err(|error| judged(error, limits.connect))?;
        let mut server = Self { wire, address: Arc::clone(&name), limits };
        // A peer that hangs up at our first word isn't a Redis: Redis says why.
        let at_the_door = |failure: Failure| match judged(failure.error, limits.response) {
            LedgerError::Unreachable { address, .. } => LedgerError::NotRedis { address },
            other => other,
        };
        if let Some(password) = &access.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &access.user {
                auth.arg(user);
            }
            server.ask(auth.arg(password)).await.map_err(at_the_door)?;
        }
        server.ask(&redis::cmd("PING")).await.map_err(at_the_door)?;
        if access.database != 0 {
            let chosen = server.ask(redis::cmd("SELECT").arg(access.database)).await;
            chosen.map_err(|failure| judged(failure.error, limits.response))?;
        }
        Ok(server)
    }

    /// Host and port.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// The answer to one command.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let answer = timeout(self.limits.response, command.query_async(&mut self.wire)).await;
        answer.map_err(|_| late()).flatten().map_err(|error| self.failure(error))
    }

    /// The answers to several commands, sent at once.
    ///
    /// # Errors
    /// The outer error is one of the connection, an inner one the answer to its command.
    pub(super) async fn ask_all(&mut self, commands: &mut Pipeline) -> Result<Vec<RedisResult<Value>>, Failure> {
        let commands = commands.ignore_errors();
        let answers = timeout(self.limits.response, commands.query_async(&mut self.wire)).await;
        answers.map_err(|_| late()).flatten().map_err(|error| self.failure(error))
    }

    pub(super) fn failure(&self, error: RedisError) -> Failure {
        Failure { error, address: Arc::clone(&self.address) }
    }
}

/// The error of an answer that didn't come in time.
fn late() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
