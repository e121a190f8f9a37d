//! What can go wrong between the journal and Redis, in words that say what to do next.
//!
//! No message holds the password: texts that came from Redis are searched for it before they are kept.

use std::time::Duration;

use redis::{ErrorKind, RedisError};

/// Why the ledger can't be reached, or refuses a sale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The URL can't be used.
    #[error(
        "not a Redis URL ({reason}): write redis://[user][:password]@host[:port][/database], \
         redis-sentinel://host:port,host:port/primary or redis-cluster://host:port,host:port"
    )]
    Url {
        /// What is wrong with it, without the URL itself.
        reason: String,
    },
    /// An option can't be kept.
    #[error("a key prefix of {prefix:?}: use 1 to 64 printable ASCII characters without spaces and braces")]
    Prefix {
        /// The prefix as given.
        prefix: String,
    },
    /// The driver's thread or its runtime could not be started.
    #[error("the ledger's thread could not be started ({reason}): raise the process's limits")]
    Thread {
        /// What the operating system said.
        reason: String,
    },
    /// The connection was refused.
    #[error("nobody listens at {address}: start Redis there, or correct the URL")]
    NobodyListens {
        /// Host and port.
        address: String,
    },
    /// The host is unknown or out of reach, or the connection broke.
    #[error("can't talk to {address} ({reason}): check the host name and the network")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the network said.
        reason: String,
    },
    /// No answer in time. The command may still have run.
    #[error("no answer from {address} within {after:?}: check the network and the server's load, or wait longer")]
    TimedOut {
        /// Host and port.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// Something listens there, and it doesn't answer our first word as a Redis does.
    #[error(
        "what listens at {address} hangs up, or doesn't answer as a Redis does: check the port, and whether it \
         expects TLS"
    )]
    NotRedis {
        /// Host and port.
        address: String,
    },
    /// The server wants a password and the URL has none.
    #[error("{address} needs a password: put it into the URL as redis://:password@host")]
    NeedsPassword {
        /// Host and port.
        address: String,
    },
    /// The server doesn't take the password or the user.
    #[error("{address} refused the user or the password: correct them in the URL")]
    WrongPassword {
        /// Host and port.
        address: String,
    },
    /// The server is a replica.
    #[error("{address} is a replica and takes no writes: point the URL at the primary")]
    ReadOnly {
        /// Host and port.
        address: String,
    },
    /// The server still reads its data from disk.
    #[error("{address} is still loading its data: delivery goes on when it is done")]
    Loading {
        /// Host and port.
        address: String,
    },
    /// No server of the cluster answers.
    #[error("no server of the cluster answers ({reason}): delivery goes on by itself when one does")]
    NoNode {
        /// What the last one said.
        reason: String,
    },
    /// The sentinels don't know a primary of that name.
    #[error("the sentinels know no primary called {primary:?}: correct its name in the URL")]
    NoSuchPrimary {
        /// The name in the URL.
        primary: String,
    },
    /// The server belongs to a cluster, and the URL speaks of a single one.
    #[error("{address} belongs to a cluster: write redis-cluster:// in the URL")]
    IsCluster {
        /// Host and port.
        address: String,
    },
    /// The cluster doesn't serve the sale's keys at the moment.
    #[error(
        "sale {sale:?}: the cluster is down ({reason}), or fails over: delivery goes on by itself when it is up; if it \
         stays down, see CLUSTER INFO, and cluster-require-full-coverage"
    )]
    ClusterDown {
        /// The sale.
        sale: String,
        /// Its own words.
        reason: String,
    },
    /// The sale's keys are on their way to another server of the cluster.
    #[error("sale {sale:?}: its slot is being moved to another server: delivery goes on by itself when it is there")]
    Resharding {
        /// The sale.
        sale: String,
    },
    /// The server can't write its snapshot or its log to disk, and takes no writes.
    #[error("{address} can't write to its disk and takes no writes: see its log; delivery goes on by itself")]
    DiskFault {
        /// Host and port.
        address: String,
    },
    /// Too few replicas are connected to the server for it to take writes.
    #[error("{address} lacks replicas (min-replicas-to-write) and takes no writes: delivery goes on by itself")]
    NoReplicas {
        /// Host and port.
        address: String,
    },
    /// Somebody's script runs and runs.
    #[error("{address} is busy with a script: wait for it, or SCRIPT KILL; delivery goes on by itself")]
    Busy {
        /// Host and port.
        address: String,
    },
    /// The user may log in, and may not do what delivery does.
    #[error("{address} forbids it ({reason}): let the user run EVAL, EVALSHA and hash and stream commands on our keys")]
    Forbidden {
        /// Host and port.
        address: String,
        /// Its own words.
        reason: String,
    },
    /// The server's memory is full.
    #[error("redis is out of memory: raise maxmemory, or free some; delivery goes on by itself")]
    OutOfMemory,
    /// One of the sale's keys holds something else.
    #[error("a key of sale {sale:?} holds something that isn't a ledger: move it away; delivery goes on by itself")]
    WrongType {
        /// The sale.
        sale: String,
    },
    /// Anything else that Redis said.
    #[error("redis refused: {message}")]
    Refused {
        /// Its own words.
        message: String,
    },
    /// Redis has more than the journal: the journal is an old copy.
    #[error(
        "sale {sale:?}: redis has {watermark} sales, this journal only {last}: it was restored from an old copy; \
         bring back the newer journal"
    )]
    Ahead {
        /// The sale.
        sale: String,
        /// The last sequence in Redis.
        watermark: u64,
        /// The last sequence in the journal.
        last: u64,
    },
    /// The ledger of this sale belongs to another engine.
    #[error("sale {sale:?}: redis has the sales of engine {found}: use another key prefix, or another sale name")]
    OtherEngine {
        /// The sale.
        sale: String,
        /// The engine it belongs to, as 16 hexadecimal digits.
        found: String,
    },
    /// The journal was opened again, elsewhere, since this process opened it.
    #[error("sale {sale:?}: the journal was opened again as epoch {found}, this is epoch {ours}: stop this process")]
    StaleEpoch {
        /// The sale.
        sale: String,
        /// The epoch in Redis.
        found: String,
        /// The epoch of this process.
        ours: u32,
    },
    /// A copy of the journal was opened as often as this one.
    #[error(
        "sale {sale:?}: another copy of the journal was opened as epoch {ours} too: stop one of the two processes \
         and reconcile their sales"
    )]
    Forked {
        /// The sale.
        sale: String,
        /// The epoch of both.
        ours: u32,
    },
    /// Redis has another record under the same sequence: the histories differ.
    #[error(
        "sale {sale:?}: redis has another sale under sequence {sequence} than this journal: find out which one is \
         right before you remove the other"
    )]
    Conflict {
        /// The sale.
        sale: String,
        /// The first sequence that differs.
        sequence: u64,
    },
    /// The journal could not be read, or gave records out of order.
    #[error("sale {sale:?}: the journal can't be read ({reason}): nothing is lost; delivery tries again")]
    Source {
        /// The sale.
        sale: String,
        /// What the source said.
        reason: String,
    },
}

impl LedgerError {
    /// Whether it concerns the connection, and so every sale.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::NobodyListens { .. }
                | Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::NotRedis { .. }
                | Self::NeedsPassword { .. }
                | Self::WrongPassword { .. }
                | Self::ReadOnly { .. }
                | Self::Loading { .. }
                | Self::NoNode { .. }
                | Self::NoSuchPrimary { .. }
        )
    }
}

/// What an error is judged by besides itself.
pub(super) struct Context<'a> {
    pub(super) address: &'a str,
    pub(super) secret: Option<&'a str>,
    pub(super) after: Duration,
    pub(super) sale: &'a str,
}

/// What `error` means to whoever runs the ledger.
pub(super) fn judge(error: &RedisError, context: &Context<'_>) -> LedgerError {
    let (address, sale) = (context.address.to_owned(), context.sale.to_owned());
    if error.is_timeout() {
        return LedgerError::TimedOut { address, after: context.after };
    }
    if error.is_connection_refusal() {
        return LedgerError::NobodyListens { address };
    }
    match error.kind() {
        // An answer that ends in the middle, as when the connection breaks, doesn't parse.
        ErrorKind::Io | ErrorKind::Parse => {
            return LedgerError::Unreachable { address, reason: redact(&error.to_string(), context.secret) };
        }
        _ => {}
    }
    let detail = error.detail().unwrap_or_default();
    match error_code(error.code().unwrap_or_default(), detail) {
        "NOAUTH" => LedgerError::NeedsPassword { address },
        "WRONGPASS" => LedgerError::WrongPassword { address },
        // A replica that lost its primary says the latter.
        "READONLY" | "MASTERDOWN" => LedgerError::ReadOnly { address },
        "LOADING" => LedgerError::Loading { address },
        "OOM" => LedgerError::OutOfMemory,
        "MISCONF" => LedgerError::DiskFault { address },
        "NOREPLICAS" => LedgerError::NoReplicas { address },
        "BUSY" => LedgerError::Busy { address },
        "NOPERM" => LedgerError::Forbidden { address, reason: redact(detail, context.secret) },
        "MOVED" | "ASK" | "CROSSSLOT" => LedgerError::IsCluster { address },
        "CLUSTERDOWN" => LedgerError::ClusterDown { sale, reason: redact(detail, context.secret) },
        "TRYAGAIN" => LedgerError::Resharding { sale },
        "WRONGTYPE" => LedgerError::WrongType { sale },
        "" => LedgerError::Refused { message: redact(&error.to_string(), context.secret) },
        code => LedgerError::Refused { message: redact(&format!("{code} {detail}"), context.secret) },
    }
}

/// The code of an error, also where an old server (before 7) wraps what a script met: `ERR Error running script
/// ...: -OOM command not allowed`.
fn error_code<'a>(code: &'a str, detail: &str) -> &'a str {
    if code != "ERR" {
        return code;
    }
    let wrapped = ["OOM", "WRONGTYPE", "READONLY", "MISCONF", "NOREPLICAS"];
    wrapped.into_iter().find(|inner| detail.contains(&format!(": -{inner} "))).unwrap_or(code)
}

/// `text` without the password.
fn redact(text: &str, secret: Option<&str>) -> String {
    match secret {
        Some(secret) if !secret.is_empty() => text.replace(secret, "***"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_servers_words_is_struck_out() {
        assert_eq!(redact("unknown command 'hunter2'", Some("hunter2")), "unknown command '***'");
        assert_eq!(redact("as it was", Some("")), "as it was");
    }

    #[test]
    fn what_an_old_server_wraps_is_found() {
        let detail = "Error running script (call to f_1): @user_script:80: -OOM command not allowed";
        assert_eq!(error_code("ERR", detail), "OOM");
        assert_eq!(error_code("ERR", "unknown command"), "ERR");
        assert_eq!(error_code("WRONGTYPE", "Operation against a key"), "WRONGTYPE");
    }
}
