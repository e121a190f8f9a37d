//! One server that let us in.
//!
//! - Connecting and every answer have a time limit.
//! - It never reconnects and never repeats a command.
//! - User and password leave [`Access`] only as the arguments of `AUTH`.

use std::{fmt, io, sync::Arc, time::Duration};

use redis::{Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::timeout;

use super::{
    dial::{Dial, Limits, Wire},
    error::{Context, LedgerError, judge},
};

/// Who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, password, database } = self;
        // In a URL that was mistyped, redis://password@host, the password stands where the user belongs.
        let [user, password] = [user, password].map(|secret| secret.as_ref().map(|_| "***"));
        f.debug_struct("Access").field("user", &user).field("password", &password).field("database", database).finish()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The server's answer, or what became of the connection while we waited for it.
    Answer { error: RedisError, address: Arc<str> },
    /// Nobody could be asked.
    Entry(LedgerError),
}

impl Failure {
    /// Whether the connection is of no use any more, and the command may have run.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Answer { error, .. } => matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse),
            Self::Entry(_) => false,
        }
    }

    /// Whether the server sent us elsewhere, and so did not run the command.
    pub(super) fn is_redirect(&self) -> bool {
        matches!(self, Self::Answer { error, .. } if error.redirect_node().is_some())
    }

    /// Whether the server, or those that it sees, don't make up a cluster.
    pub(super) fn is_cluster_down(&self) -> bool {
        let down = ErrorKind::Server(ServerErrorKind::ClusterDown);
        matches!(self, Self::Answer { error, .. } if error.kind() == down)
    }

    /// Whether the server doesn't know the script, and so did not run it.
    pub(super) fn is_unknown_script(&self) -> bool {
        let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
        matches!(self, Self::Answer { error, .. } if error.kind() == unknown)
    }

    /// In words for whoever runs the ledger.
    pub(super) fn judged(&self, access: &Access, after: Duration, sale: &str) -> LedgerError {
        match self {
            Self::Answer { error, address } => {
                judge(error, &Context { address, secret: access.password.as_deref(), after, sale })
            }
            Self::Entry(error) => error.clone(),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Entry(error)
    }
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
        let refused = |error| Failure::Answer { error, address: Arc::clone(&name) }.judged(access, limits.connect, "");
        let wire = timeout(limits.connect, dial.dial(address)).await.map_err(|_| late()).flatten().map_err(refused)?;
        let mut server = Self { wire, address: Arc::clone(&name), limits };
        // A peer that hangs up at our first word, or says something odd, isn't a Redis: Redis says why.
        let at_the_door = |failure: Failure| match failure.judged(access, limits.response, "") {
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
            chosen.map_err(|failure| failure.judged(access, limits.response, ""))?;
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

    fn failure(&self, error: RedisError) -> Failure {
        Failure::Answer { error, address: Arc::clone(&self.address) }
    }
}

/// The error of an answer that didn't come in time.
fn late() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
