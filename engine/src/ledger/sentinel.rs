//! The primary, as the sentinels name it.
//!
//! They are asked anew for every connection, one after the other until one knows. What they name may be out of date:
//! whoever opens the link makes sure that it is a primary, and the script that it takes writes.

use redis::{ConnectionAddr, Value};

use super::{
    dial::{Dial, Limits},
    error::LedgerError,
    server::{Access, Server},
};

/// Where the primary called `name` is.
pub(super) async fn primary(
    dial: &dyn Dial,
    sentinels: &[ConnectionAddr],
    name: &str,
    limits: Limits,
) -> Result<ConnectionAddr, LedgerError> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(name);
    let nobody = Access::default();
    let mut reason = LedgerError::NoSuchPrimary { primary: name.to_owned() };
    for sentinel in sentinels {
        let answer = match Server::enter(dial, sentinel, &nobody, limits).await {
            Ok(mut server) => {
                server.ask(&question).await.map_err(|failure| failure.judged(&nobody, limits.response, ""))
            }
            Err(error) => Err(error),
        };
        match answer.map(redis::from_redis_value::<Option<(String, u16)>>) {
            Ok(Ok(Some((host, port)))) => return Ok(ConnectionAddr::Tcp(host, port)),
            Ok(Ok(None)) => reason = LedgerError::NoSuchPrimary { primary: name.to_owned() },
            Ok(Err(_)) => reason = LedgerError::NotRedis { address: sentinel.to_string() },
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Whether `role`, the answer to `ROLE`, is a replica's.
pub(super) fn is_replica(role: &Value) -> bool {
    let Value::Array(role) = role else { return false };
    matches!(role.first(), Some(Value::BulkString(role)) if role == b"slave")
}
