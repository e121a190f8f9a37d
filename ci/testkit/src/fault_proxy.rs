//! A network between a client and Redis that fails at an exact byte.
//!
//! What holds:
//! - connections are carried one after the other, and each has at most the one fault that was planned for it;
//! - a fault strikes when the byte behind its offset comes, however the bytes are parted into packets. What stood
//!   before is carried on, what comes after is not;
//! - a connection is cut only when the server has done all that it was told on it, so that whatever comes after comes
//!   after that. That a request arrives later than the client believes is a fault of its own;
//! - what was carried can be looked at, byte by byte; nothing depends on time.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    mem,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The connection ends.
    Cut,
    /// Nothing more comes, until the client gives up. Requests that were held back reach the server with the next
    /// replay, on their own connection; replies never reach anybody.
    Hold,
    /// Before the next byte, everything that was held back arrives, and then, on new connections, every request
    /// that was carried so far: old batches, once more.
    Replay,
}

/// What goes wrong on one connection, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The way whose bytes are counted.
    pub way: Way,
    /// How many bytes pass before.
    pub after: u64,
    /// What then happens.
    pub harm: Harm,
}

/// What was carried over one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes that the server was given.
    pub requests: Vec<u8>,
    /// Bytes that the client was given.
    pub replies: Vec<u8>,
    /// Whether its fault struck.
    pub struck: bool,
}

/// A proxy on a port of its own.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    server: u16,
    plan: VecDeque<Option<Fault>>,
    carried: Vec<Carried>,
    held: Vec<Held>,
    /// The connection that is being carried.
    open: Option<Arc<Line>>,
    stopped: bool,
}

/// Requests on their way, after the client has given up.
#[derive(Debug)]
struct Held {
    line: Arc<Line>,
    bytes: Vec<u8>,
    replies: JoinHandle<()>,
}

/// One connection.
#[derive(Debug)]
struct Line {
    client: TcpStream,
    server: TcpStream,
    /// Its place in what was carried.
    number: usize,
    fault: Option<Fault>,
    /// Nothing is carried any more, neither way.
    dead: AtomicBool,
    shared: Arc<Shared>,
}

#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::must_use_candidate,
    reason = "these are the assertions of tests"
)]
impl FaultProxy {
    /// A proxy before the server on the local port `server`. Without a plan it carries whatever comes.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        shared.lock().server = server;
        let ours = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ours.lock().stopped {
                    return;
                }
                carry(client, &ours);
            }
        });
        Self { port, shared, thread: Some(thread) }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Begins anew: the coming connections have these faults, in turn, and those behind them none. What was carried is
    /// forgotten, what was held back arrives now.
    pub fn plan(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        let held = mem::take(&mut self.shared.at_rest().held);
        held.into_iter().for_each(Held::arrive);
        let mut state = self.shared.lock();
        state.plan = faults.into_iter().collect();
        state.carried.clear();
    }

    /// What was carried since the plan was made, a connection each, when the last one has ended.
    pub fn carried(&self) -> Vec<Carried> {
        self.shared.at_rest().carried.clone()
    }

    /// All that was held back arrives, and all requests that were carried so far arrive again; says how many
    /// connections' requests these were. It waits for the last connection to end.
    pub fn replay(&self) -> usize {
        drop(self.shared.at_rest());
        self.shared.replay()
    }

    /// From now on new connections, and what is replayed, go to another server.
    pub fn lead_to(&self, server: u16) {
        self.shared.lock().server = server;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        let (open, held) = {
            let mut state = self.shared.lock();
            state.stopped = true;
            (state.open.take(), mem::take(&mut state.held))
        };
        for line in open.iter().chain(held.iter().map(|held| &held.line)) {
            line.hang_up();
        }
        // The thread looks at `stopped` when somebody comes.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed, and a drop must not add one.
            let _ = thread.join();
        }
    }
}

impl Shared {
    #[expect(clippy::unwrap_used, reason = "a panic elsewhere is the test's failure")]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The state when no connection is open.
    #[expect(clippy::unwrap_used, reason = "a panic elsewhere is the test's failure")]
    fn at_rest(&self) -> MutexGuard<'_, State> {
        self.idle.wait_while(self.lock(), |state| state.open.is_some()).unwrap()
    }

    fn replay(&self) -> usize {
        let (port, held, carried) = {
            let mut state = self.lock();
            let requests = state.carried.iter().map(|carried| carried.requests.clone());
            let carried: Vec<_> = requests.filter(|requests| !requests.is_empty()).collect();
            (state.server, mem::take(&mut state.held), carried)
        };
        held.into_iter().for_each(Held::arrive);
        for requests in &carried {
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) {
                // A server that hangs up on an old request has done what it wants with it.
                let _ = server.write_all(requests);
                let _ = server.shutdown(Shutdown::Write);
                drain(&server);
            }
        }
        carried.len()
    }
}

impl Held {
    /// The requests arrive, and are done.
    fn arrive(self) {
        self.line.tell_server(&self.bytes);
        // A server that has hung up needs no shutdown.
        let _ = self.line.server.shutdown(Shutdown::Write);
        // A panic in the thread has been printed.
        let _ = self.replies.join();
    }
}

/// Carries one connection to its end.
fn carry(client: TcpStream, shared: &Arc<Shared>) {
    let line = {
        let mut state = shared.lock();
        let fault = state.plan.pop_front().flatten();
        let number = state.carried.len();
        state.carried.push(Carried::default());
        let Ok(server) = TcpStream::connect(("127.0.0.1", state.server)) else { return };
        for stream in [&client, &server] {
            // Without it the bytes are the same, later.
            let _ = stream.set_nodelay(true);
        }
        let (dead, shared) = (AtomicBool::new(false), Arc::clone(shared));
        let line = Arc::new(Line { client, server, number, fault, dead, shared });
        state.open = Some(Arc::clone(&line));
        line
    };
    let other = Arc::clone(&line);
    let replies = thread::spawn(move || other.carry_replies());
    let held = line.carry_requests();
    match held {
        Some(bytes) => shared.lock().held.push(Held { line, bytes, replies }),
        None => {
            // A panic in the thread has been printed, and the test misses its connection.
            let _ = replies.join();
        }
    }
    shared.lock().open = None;
    shared.idle.notify_all();
}

impl Line {
    /// Until the client hangs up. Gives back what the server must not have yet.
    fn carry_requests(&self) -> Option<Vec<u8>> {
        let mut fault = self.fault.filter(|fault| fault.way == Way::Requests);
        let (mut passed, mut buffer, mut held) = (0, vec![0; 16_384], None);
        while let Some(bytes) = receive(&self.client, &mut buffer) {
            if let Some(held) = &mut held {
                Vec::extend_from_slice(held, bytes);
                continue;
            }
            let (before, after) = part(bytes, &mut passed, &mut fault);
            let Some((harm, rest)) = after else {
                self.give_server(before);
                continue;
            };
            self.strike();
            if harm != Harm::Replay {
                // First, so that no answer to what is still given gets through.
                self.die();
            }
            self.tell_server(before);
            match harm {
                Harm::Cut => self.end_requests(),
                Harm::Hold => held = Some(rest.to_vec()),
                Harm::Replay => {
                    self.shared.replay();
                    self.give_server(rest);
                }
            }
        }
        if held.is_none() {
            self.end_requests();
        }
        held
    }

    /// Until the server hangs up.
    fn carry_replies(&self) {
        let mut fault = self.fault.filter(|fault| fault.way == Way::Replies);
        let (mut passed, mut buffer) = (0, vec![0; 16_384]);
        while let Some(bytes) = receive(&self.server, &mut buffer) {
            let (before, after) = part(bytes, &mut passed, &mut fault);
            self.give_client(before);
            let Some((harm, rest)) = after else { continue };
            self.strike();
            match harm {
                Harm::Cut => {
                    self.die();
                    self.end_requests();
                }
                Harm::Hold => self.die(),
                Harm::Replay => {
                    self.shared.replay();
                    self.give_client(rest);
                }
            }
        }
        // A client that has hung up needs no shutdown.
        let _ = self.client.shutdown(Shutdown::Write);
    }

    /// Tells the server that nothing more comes: it does what it has, and hangs up.
    fn end_requests(&self) {
        // A server that has hung up needs no shutdown.
        let _ = self.server.shutdown(Shutdown::Write);
    }

    fn hang_up(&self) {
        for stream in [&self.client, &self.server] {
            // An end that is closed already needs no shutdown.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn strike(&self) {
        self.shared.lock().carried[self.number].struck = true;
    }

    fn die(&self) {
        // Release: what was carried before comes before; pairs with the Acquire in `is_dead`.
        self.dead.store(true, Ordering::Release);
    }

    fn is_dead(&self) -> bool {
        // Acquire: pairs with the Release in `die`.
        self.dead.load(Ordering::Acquire)
    }

    fn give_server(&self, bytes: &[u8]) {
        if !self.is_dead() {
            self.tell_server(bytes);
        }
    }

    fn tell_server(&self, bytes: &[u8]) {
        // A server that has hung up is told of by its own end.
        if (&self.server).write_all(bytes).is_ok() {
            self.shared.lock().carried[self.number].requests.extend_from_slice(bytes);
        }
    }

    fn give_client(&self, bytes: &[u8]) {
        // As for a server.
        if !self.is_dead() && (&self.client).write_all(bytes).is_ok() {
            self.shared.lock().carried[self.number].replies.extend_from_slice(bytes);
        }
    }
}

/// The next bytes; none if the other end has hung up.
fn receive<'a>(mut from: &TcpStream, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    match from.read(buffer) {
        Ok(0) | Err(_) => None,
        Ok(count) => Some(&buffer[..count]),
    }
}

/// Parts `bytes` where the fault strikes, if it does within them; then it is taken.
fn part<'a>(bytes: &'a [u8], passed: &mut u64, fault: &mut Option<Fault>) -> (&'a [u8], Option<(Harm, &'a [u8])>) {
    let from = *passed;
    *passed += bytes.len() as u64;
    match *fault {
        Some(Fault { after, harm, .. }) if after < *passed => {
            *fault = None;
            let (before, rest) = bytes.split_at(usize::try_from(after - from).unwrap_or(bytes.len()));
            (before, Some((harm, rest)))
        }
        _ => (bytes, None),
    }
}

/// Reads until the other end hangs up.
fn drain(from: &TcpStream) {
    let mut buffer = vec![0; 16_384];
    while receive(from, &mut buffer).is_some() {}
}
