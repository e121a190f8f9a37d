//! Where Redis is, and how to be let in.

use std::{fmt, sync::Arc};

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::{dial::Dial, error::LedgerError, server::Access};

/// What a URL says, and how to get there.
pub(super) struct Endpoint {
    pub(super) dial: Arc<dyn Dial>,
    pub(super) address: ConnectionAddr,
    pub(super) access: Access,
}

impl Endpoint {
    pub(super) fn parse(url: &str, dial: Arc<dyn Dial>) -> Result<Self, LedgerError> {
        let unusable = |reason: &str| LedgerError::Url { reason: reason.to_owned() };
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            return Err(unusable("TLS isn't built in: put a TLS proxy before Redis"));
        }
        redis::parse_redis_url(url).ok_or_else(|| unusable("it doesn't parse"))?;
        let info = url.into_connection_info().map_err(|_| unusable("its host, port or database can't be used"))?;
        let settings = info.redis_settings();
        let (user, password) = (settings.username().map(str::to_owned), settings.password().map(str::to_owned));
        let access = Access { user, password, database: settings.db() };
        Ok(Self { dial, address: info.addr().clone(), access })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dial: _, address, access } = self;
        f.debug_struct("Endpoint").field("address", &address.to_string()).field("access", access).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::dial::Tcp, *};

    #[test]
    fn the_password_shows_nowhere() {
        let parse = |url| Endpoint::parse(url, Arc::new(Tcp));
        let endpoint = parse("redis://shop:hunter2@10.0.0.1:7000/3").unwrap();
        let shown = format!("{endpoint:?}");
        assert!(!shown.contains("hunter2") && shown.contains("10.0.0.1:7000"), "{shown}");
        for url in ["redis://:hunter2@", "rediss://:hunter2@h", "http://:hunter2@h", "redis://:hunter2@h/x", "hunter2"]
        {
            let error = parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
