//! Whom a link talks to: one server, or the servers of a cluster.

use redis::{Cmd, Value};

use super::{
    cluster::Cluster,
    dial::Limits,
    endpoint::{Endpoint, Route},
    error::LedgerError,
    sentinel,
    server::{Failure, Server},
};

/// Servers that let us in and take writes.
pub(super) enum Nodes {
    One(Server),
    Many(Cluster),
}

impl Nodes {
    pub(super) async fn open(endpoint: &Endpoint, limits: Limits) -> Result<Self, LedgerError> {
        let Endpoint { dial, route, access } = endpoint;
        let found;
        let address = match route {
            Route::Server(address) => address,
            Route::Sentinels { sentinels, primary } => {
                found = sentinel::primary(&**dial, sentinels, primary, limits).await?;
                &found
            }
            Route::Cluster { seeds } => {
                return Cluster::open(dial.clone(), seeds, access, limits).await.map(Self::Many);
            }
        };
        let mut server = Server::enter(&**dial, address, access, limits).await?;
        // A user without the right to ask for the role may still write; the script then meets READONLY.
        match server.ask(&redis::cmd("ROLE")).await {
            Ok(role) if sentinel::is_replica(&role) => Err(LedgerError::ReadOnly { address: address.to_string() }),
            Err(failure) if failure.is_of_connection() => Err(failure.judged(access, limits.response, "")),
            _ => Ok(Self::One(server)),
        }
    }

    /// The answer to one command, which is about `key`.
    pub(super) async fn ask(&mut self, key: &str, command: &Cmd) -> Result<Value, Failure> {
        match self {
            Self::One(server) => server.ask(command).await,
            Self::Many(cluster) => cluster.ask(key, command).await,
        }
    }

    /// The answers to several commands and their keys, in their order.
    ///
    /// # Errors
    /// The outer error concerns all of them, an inner one only its command.
    pub(super) async fn ask_all(&mut self, commands: &[(String, Cmd)]) -> Result<Vec<Result<Value, Failure>>, Failure> {
        match self {
            Self::Many(cluster) => cluster.ask_all(commands).await,
            Self::One(server) => {
                let mut questions = redis::pipe();
                for (_, command) in commands {
                    questions.add_command(command.clone());
                }
                let answers = server.ask_all(&mut questions).await?;
                let named = |error| Failure::Answer { error, address: server.address().clone() };
                Ok(answers.into_iter().map(|answer| answer.map_err(named)).collect())
            }
        }
    }

    /// Whether `error` ends all delivery over these, and not only that of one sale.
    pub(super) fn are_ended_by(&self, error: &LedgerError) -> bool {
        match self {
            Self::One(_) => error.is_of_connection(),
            Self::Many(_) => matches!(error, LedgerError::NoNode { .. }),
        }
    }
}
