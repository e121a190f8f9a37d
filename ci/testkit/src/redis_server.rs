//! Redis.
//!
//! What holds: a server listens on 127.0.0.1 only, keeps nothing beyond its folder, and is killed by its pid when it
//! is dropped, or when the test's process ends in any way. A machine without Redis fails the test and says what to
//! install.

use std::{
    io::Read,
    net::TcpListener,
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

/// A `redis-server` without persistence.
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
        for _ in 0..10 {
            let mut server = Self::stopped(arguments, password);
            server.launch();
            if server.answers_within(PATIENCE) {
                return server;
            }
            // Somebody else took the port between our look and its bind.
        }
        panic!("redis-server did not answer on ten ports in a row");
    }

    /// A server that doesn't run yet; nobody listens on its port.
    pub fn stopped(arguments: &[&str], password: Option<&str>) -> Self {
        let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        assert!(found.is_ok_and(|status| status.success()), "install redis-server: apt-get install redis-server");
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Self {
            port: listener.local_addr().unwrap().port(),
            folder: tempfile::tempdir().unwrap(),
            password: password.map(str::to_owned),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            keeper: None,
        }
    }

    /// Starts it, empty, on its port, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.answers_within(PATIENCE), "redis-server did not come back on port {}", self.port);
    }

    fn launch(&mut self) {
        let (port, folder) = (self.port.to_string(), self.folder.path());
        let mut command = Command::new("sh");
        command.args([
            "-c",
            KEEPER,
            "keeper",
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(folder);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.keeper = Some(command.spawn().expect("a shell can be started"));
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().expect("the keeper is ours to wait for");
        }
    }

    /// Whether our own server, and not a stranger on the same port, answers.
    fn answers_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(mut connection) = redis::Client::open(self.url()).unwrap().get_connection() {
                let folder: redis::RedisResult<(String, String)> =
                    redis::cmd("CONFIG").arg("GET").arg("dir").query(&mut connection);
                if let Ok((_, folder)) = folder {
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

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
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
