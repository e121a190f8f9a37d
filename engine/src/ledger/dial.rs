//! The ledger's one effect on the world: a connection to a server.
//!
//! Everything above it only sends commands and waits for answers, so whoever brings another [`Dial`] brings another
//! Redis: real by [`Tcp`], simulated in a test. A dial says nothing on the connection, and need not keep time: whoever
//! asks it does.

use std::{fmt, pin::Pin, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisFuture,
    RedisResult, Value, aio::ConnectionLike,
};

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

/// A connection that is coming about.
pub(crate) type Dialing<'a> = Pin<Box<dyn Future<Output = RedisResult<Wire>> + Send + 'a>>;

/// Makes connections.
pub(crate) trait Dial: fmt::Debug + Send + Sync {
    /// A connection to the server at `address`, on which nothing was said yet.
    fn dial<'a>(&'a self, address: &'a ConnectionAddr) -> Dialing<'a>;
}

/// Real connections.
#[derive(Debug)]
pub(crate) struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a ConnectionAddr) -> Dialing<'a> {
        Box::pin(async {
            // Without a word, so that AUTH and SELECT are ours and their refusals can be told apart.
            let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
            let client = Client::open(address.clone().into_connection_info()?.set_redis_settings(silent))?;
            // Who asks keeps the time: two clocks for one wait would give two answers.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            client.get_multiplexed_async_connection_with_config(&config).await.map(Wire::new)
        })
    }
}

/// An open connection.
pub(crate) struct Wire(Box<dyn ConnectionLike + Send>);

impl Wire {
    pub(crate) fn new(connection: impl ConnectionLike + Send + 'static) -> Self {
        Self(Box::new(connection))
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(commands, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}
