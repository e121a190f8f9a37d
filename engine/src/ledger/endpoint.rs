//! Where Redis is, and how to be let in.

use std::{fmt, sync::Arc};

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::{dial::Dial, error::LedgerError, server::Access};

/// The port of a sentinel.
const SENTINEL_PORT: &str = "26379";

/// How to find who takes writes.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    Server(ConnectionAddr),
    Sentinels { sentinels: Vec<ConnectionAddr>, primary: String },
    Cluster { seeds: Vec<ConnectionAddr> },
}

/// What a URL says, and how to get there.
pub(super) struct Endpoint {
    pub(super) dial: Arc<dyn Dial>,
    pub(super) route: Route,
    pub(super) access: Access,
}

impl Endpoint {
    /// | URL | what |
    /// |---|---|
    /// | `redis://[user][:password]@host[:port][/database]` | one server |
    /// | `redis-sentinel://[user][:password]@host[:port],host[:port]../primary[/database]` | who the sentinels say |
    /// | `redis-cluster://[user][:password]@host[:port],host[:port]..` | a cluster, known from any of its servers |
    pub(super) fn parse(url: &str, dial: Arc<dyn Dial>) -> Result<Self, LedgerError> {
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            return Err(unusable("TLS isn't built in: put a TLS proxy before Redis"));
        }
        let (route, access) = if let Some(rest) = url.strip_prefix("redis-sentinel://") {
            let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (primary, database) = path.split_once('/').unwrap_or((path, "0"));
            if primary.is_empty() || !primary.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(unusable("it names no primary: redis-sentinel://host:port,host:port/primary"));
            }
            let (sentinels, access) = servers(hosts, SENTINEL_PORT, database)?;
            (Route::Sentinels { sentinels, primary: primary.to_owned() }, access)
        } else if let Some(rest) = url.strip_prefix("redis-cluster://") {
            let hosts = rest.strip_suffix('/').unwrap_or(rest);
            if hosts.contains('/') {
                return Err(unusable("a cluster has one database, without a number"));
            }
            let (seeds, access) = servers(hosts, "6379", "0")?;
            (Route::Cluster { seeds }, access)
        } else {
            redis::parse_redis_url(url).ok_or_else(|| unusable("it doesn't parse"))?;
            let (address, access) = server(url)?;
            (Route::Server(address), access)
        };
        Ok(Self { dial, route, access })
    }
}

fn unusable(reason: &str) -> LedgerError {
    LedgerError::Url { reason: reason.to_owned() }
}

/// Several servers with commas between them, behind one user and password.
fn servers(list: &str, port: &str, database: &str) -> Result<(Vec<ConnectionAddr>, Access), LedgerError> {
    let (before, hosts) = list.rsplit_once('@').map_or(("", list), |(access, hosts)| (access, hosts));
    let at = if before.is_empty() { "" } else { "@" };
    let mut addresses = Vec::new();
    let mut access = Access::default();
    for host in hosts.split(',') {
        if host.is_empty() {
            return Err(unusable("a host is empty"));
        }
        let named = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let host = if named { host.to_owned() } else { format!("{host}:{port}") };
        let (address, entry) = server(&format!("redis://{before}{at}{host}/{database}"))?;
        addresses.push(address);
        access = entry;
    }
    Ok((addresses, access))
}

fn server(url: &str) -> Result<(ConnectionAddr, Access), LedgerError> {
    let info = url.into_connection_info().map_err(|_| unusable("its host, port or database can't be used"))?;
    let settings = info.redis_settings();
    let (user, password) = (settings.username().map(str::to_owned), settings.password().map(str::to_owned));
    Ok((info.addr().clone(), Access { user, password, database: settings.db() }))
}

/// Whom to blame if nobody in particular is to.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |all: &[ConnectionAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.route {
            Route::Server(address) => write!(f, "{address}"),
            Route::Sentinels { sentinels, primary } => write!(f, "{primary} of {}", many(sentinels)),
            Route::Cluster { seeds } => write!(f, "the cluster of {}", many(seeds)),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dial: _, route: _, access } = self;
        f.debug_struct("Endpoint").field("address", &self.to_string()).field("access", access).finish()
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
        let mistyped = format!("{:?}", parse("redis://hunter2@10.0.0.1").unwrap());
        assert!(!mistyped.contains("hunter2"), "{mistyped}");
        for url in [
            "redis://:hunter2@",
            "rediss://:hunter2@h",
            "http://:hunter2@h",
            "redis://:hunter2@h/x",
            "redis-cluster://:hunter2@h/1",
            "redis-cluster://:hunter2@h,",
            "redis-sentinel://:hunter2@h:1",
            "redis-sentinel://:hunter2@h/p/x",
            "hunter2",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn several_servers_stand_in_one_url() {
        let parse = |url| Endpoint::parse(url, Arc::new(Tcp)).unwrap();
        let tcp = |host: &str, port| ConnectionAddr::Tcp(host.to_owned(), port);
        let access = |user: Option<&str>, database| Access {
            user: user.map(str::to_owned),
            password: Some("p@,ss".to_owned()),
            database,
        };
        let cluster = parse("redis-cluster://:p%40%2Css@a:7000,b,10.0.0.1:7002");
        let seeds = vec![tcp("a", 7_000), tcp("b", 6_379), tcp("10.0.0.1", 7_002)];
        assert_eq!((cluster.route, cluster.access), (Route::Cluster { seeds }, access(None, 0)));
        let sentinel = parse("redis-sentinel://shop:p%40%2Css@a,b:5/mymaster/3");
        let sentinels = vec![tcp("a", 26_379), tcp("b", 5)];
        let route = Route::Sentinels { sentinels, primary: "mymaster".to_owned() };
        assert_eq!((sentinel.route, sentinel.access), (route, access(Some("shop"), 3)));
    }
}
