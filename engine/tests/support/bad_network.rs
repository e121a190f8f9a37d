//! A network between the ledger and Redis that loses answers and delivers copies late.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Counts and copies that all connections share.
#[derive(Debug, Default)]
struct Shared {
    answers: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
    healed: AtomicBool,
    /// A batch that was carried out, on its way a second time.
    straggler: Mutex<Option<Vec<u8>>>,
}

/// Forwards connections to a server. Of the answers to large requests (batches) it loses every third and cuts the
/// connection, so that nobody knows whether the batch was taken; a copy of that batch arrives a few batches later.
#[derive(Debug)]
pub(crate) struct BadNetwork {
    port: u16,
    server: u16,
    shared: Arc<Shared>,
}

/// Requests below this size are questions, not batches.
const BATCH_BYTES: usize = 1_000;

impl BadNetwork {
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let network = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let network = Arc::clone(&network);
                thread::spawn(move || carry(&client, server, &network));
            }
        });
        Self { port, server, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on nothing is lost; what is still on its way arrives. Says how many answers were lost and how many
    /// copies came late.
    pub(crate) fn heal(&self) -> (u64, u64) {
        // Relaxed: a flag of its own, nothing is published through it.
        self.shared.healed.store(true, Ordering::Relaxed);
        arrive_late(self.server, &self.shared);
        (self.shared.lost.load(Ordering::Relaxed), self.shared.late.load(Ordering::Relaxed))
    }
}

/// Carries one connection until either end hangs up or an answer gets lost.
fn carry(client: &TcpStream, server_port: u16, shared: &Shared) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { return };
    let request = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            relay(client, &server, |bytes| {
                request.lock().unwrap().extend_from_slice(bytes);
                true
            });
        });
        relay(&server, client, |_| {
            let asked = std::mem::take(&mut *request.lock().unwrap());
            asked.len() < BATCH_BYTES || is_let_through(asked, server_port, shared)
        });
    });
}

fn is_let_through(batch: Vec<u8>, server_port: u16, shared: &Shared) -> bool {
    // Relaxed, here and below: counters of their own; the straggler has its lock.
    let count = shared.answers.fetch_add(1, Ordering::Relaxed);
    if shared.healed.load(Ordering::Relaxed) {
        return true;
    }
    if count % 3 == 2 {
        shared.lost.fetch_add(1, Ordering::Relaxed);
        *shared.straggler.lock().unwrap() = Some(batch);
        return false;
    }
    if count % 3 == 1 {
        arrive_late(server_port, shared);
    }
    true
}

/// The copy that is still on its way arrives.
fn arrive_late(server_port: u16, shared: &Shared) {
    let straggler = shared.straggler.lock().unwrap().take();
    if let (Some(copy), Ok(mut server)) = (straggler, TcpStream::connect(("127.0.0.1", server_port))) {
        let answered = server.write_all(&copy).is_ok() && server.read(&mut [0; 512]).is_ok();
        shared.late.fetch_add(u64::from(answered), Ordering::Relaxed);
    }
}

/// Copies bytes until one end hangs up or `passes` says no, then hangs up both.
fn relay(mut from: &TcpStream, mut to: &TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 16_384];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || !passes(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // An end that is closed already needs no shutdown.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
