//! Redis.
//!
//! What holds: a server listens on 127.0.0.1 only, keeps nothing beyond its folder, and is killed by its pid when it
//! is dropped, or when the test's process ends in any way. A machine without Redis fails the test and says what to
//! install.

use std::{
    io::Read,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a server may take to answer, and any other thing a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The shell outlives neither the server nor us: when our end of its input closes, it kills the server by its pid.
const KEEPER: &str = r#"redis-server "$@" >/dev/null 2>&1 & pid=$!; read _; kill -9 $pid; wait $pid"#;

/// A `redis-server`, without persistence unless its arguments ask for it.
///
/// Its calls panic when something is missing or does not answer: they are a test's own assertions. Dropping
/// it kills the server; so does the end of the test's process.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    password: Option<String>,
    arguments: Vec<String>,
    keeper: Option<Child>,
}

#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::must_use_candidate,
    reason = "these are the assertions of tests: see the type"
)]
impl RedisServer {
    /// A server that answers.
    pub fn start() -> Self {
        Self::start_with(&[], None)
    }

    /// A server with more `arguments` and, if any, a `password`, that answers.
    pub fn start_with(arguments: &[&str], password: Option<&str>) -> Self {
        let started = (0..10).find_map(|_| Self::try_start(free_port(), arguments, password));
        started.expect("redis-server answers on one of ten ports")
    }

    /// A server on `port`; none if somebody else took the port between the look and the bind.
    pub(crate) fn try_start(port: u16, arguments: &[&str], password: Option<&str>) -> Option<Self> {
        let mut server = Self::at(port, arguments, password);
        server.launch();
        server.answers_within(PATIENCE).then_some(server)
    }

    /// A replica of `primary`, in step with it.
    pub fn replica_of(primary: &Self) -> Self {
        let port = primary.port.to_string();
        let replica = Self::start_with(&["--replicaof", "127.0.0.1", &port], None);
        eventually("the replica is in step", || replica.is_in_step());
        replica
    }

    /// Whether it is a replica that is connected to its primary.
    pub fn is_in_step(&self) -> bool {
        self.replication().is_some_and(|told| told.contains("master_link_status:up"))
    }

    /// Whether it is a primary.
    pub fn is_primary(&self) -> bool {
        self.replication().is_some_and(|told| told.contains("role:master"))
    }

    /// What it says about its replication; nothing while it changes its part, and sends its clients away.
    fn replication(&self) -> Option<String> {
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().ok()?;
        redis::cmd("INFO").arg("replication").query(&mut connection).ok()
    }

    /// Cuts a replica off from its primary, as a network that lags without end does: it keeps what it has, and gets
    /// nothing more.
    pub fn fall_behind(&self, primary: &Self) {
        // The primary has no password, and refuses whoever gives one.
        self.tell("CONFIG SET masterauth nobody");
        primary.tell("CLIENT KILL TYPE replica");
        eventually("the replica has lost its primary", || {
            self.replication().is_some_and(|told| told.contains("master_link_status:down"))
        });
    }

    /// Ends [`RedisServer::fall_behind`]: as a replica it follows its primary again.
    pub fn listen_again(&self) {
        // The last word is empty: no password.
        self.tell("CONFIG SET masterauth ");
    }

    /// It does nothing as long as the answer lives, as behind a network that swallows everything, and then goes on
    /// with all that waited.
    #[must_use = "it goes on when this is dropped"]
    pub fn stand_still(&self) -> StandStill {
        let told: String = self.ask("INFO server");
        let process = told.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        let still = StandStill { process: process.unwrap() };
        assert!(still.signal("STOP"), "process {} is ours to stop", still.process);
        still
    }

    /// A server that doesn't run yet; nobody listens on its port.
    pub fn stopped(arguments: &[&str], password: Option<&str>) -> Self {
        Self::at(free_port(), arguments, password)
    }

    fn at(port: u16, arguments: &[&str], password: Option<&str>) -> Self {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        assert!(found.is_ok_and(|status| status.success()), "install redis-server: apt-get install redis-server");
        Self {
            port,
            folder: tempfile::tempdir().unwrap(),
            password: password.map(str::to_owned),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            keeper: None,
        }
    }

    /// Starts it on its port, with what its arguments let it keep, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.answers_within(PATIENCE), "redis-server did not come back on port {}", self.port);
    }

    fn launch(&mut self) {
        let (port, folder) = (self.port.to_string(), self.folder.path());
        let folder = folder.to_str().expect("a temporary folder's path is text");
        let mut arguments = vec!["--bind", "127.0.0.1", "--port", &port, "--dir", folder];
        arguments.extend(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        if let Some(password) = &self.password {
            arguments.extend(["--requirepass", password]);
        }
        arguments.extend(self.arguments.iter().map(String::as_str));
        self.keeper = Some(keep(&arguments));
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().expect("the keeper is ours to wait for");
        }
    }

    /// Whether it was started and not killed.
    pub fn is_running(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether our own server, and not a stranger on the same port, answers.
    fn answers_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(mut connection) = redis::Client::open(self.url()).unwrap().get_connection() {
                let folder: redis::RedisResult<(String, String)> =
                    redis::cmd("CONFIG").arg("GET").arg("dir").query(&mut connection);
                // It says where its folder is while it still reads its log.
                let ready = redis::cmd("PING").query::<String>(&mut connection).is_ok();
                if let Ok((_, folder)) = folder
                    && ready
                {
                    return Path::new(&folder).canonicalize().ok() == self.folder.path().canonicalize().ok();
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, with the password if it has one.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// The answer to a command typed as for `redis-cli`, on a connection of its own.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut question = redis::cmd(words.next().unwrap());
        question.arg(words.collect::<Vec<_>>());
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().unwrap();
        question.query(&mut connection).unwrap()
    }

    /// As [`RedisServer::ask`], whatever the answer.
    pub fn tell(&self, command: &str) {
        let _: redis::Value = self.ask(command);
    }

    /// What `redis-cli` prints for `arguments`.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let mut child = Command::new("redis-cli")
            .args(["-p", &port, "--no-raw"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("install redis-cli: apt-get install redis-tools");
        let mut printed = String::new();
        child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        child.wait().unwrap();
        printed
    }
}

/// A server that stands still.
#[derive(Debug)]
pub struct StandStill {
    process: u32,
}

impl StandStill {
    fn signal(&self, signal: &str) -> bool {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.to_string()]).status();
        sent.is_ok_and(|status| status.success())
    }
}

impl Drop for StandStill {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port on which nobody listens.
#[expect(clippy::unwrap_used, reason = "these are the assertions of tests")]
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Starts `redis-server` with `arguments`; it is gone when the input of the child that is returned closes.
pub(crate) fn keep(arguments: &[&str]) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "keeper"]).args(arguments);
    // A group of its own: Ctrl-C is for whoever started it, who may have something to do with it yet.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell can be started")
}

/// Looks every few milliseconds until `done`.
///
/// # Panics
/// After [`PATIENCE`]: it fails the test.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
