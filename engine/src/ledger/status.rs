//! What the ledger knows about itself, for whoever watches it.
//!
//! The courier writes here, everybody else reads; nobody holds the lock across a wait. `delivered` is what Redis was
//! last seen to have, so it can fall: a Redis that lost acknowledged writes is delivered to again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::error::LedgerError;
use crate::SaleHead;

/// The state of the connection to Redis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Connection {
    /// Nobody runs the ledger.
    #[default]
    Stopped,
    /// The first connection is under way.
    Connecting,
    /// Redis answers.
    Connected,
    /// The connection failed; another attempt follows by itself.
    Broken {
        /// Why.
        error: LedgerError,
        /// Attempts that failed in a row.
        attempts: u32,
    },
}

/// How far delivery of one sale has got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaleStatus {
    /// The sale's name.
    pub name: String,
    /// Every record up to this sequence is in Redis, as last seen.
    pub delivered: u64,
    /// Durable records that aren't known to be in Redis.
    pub backlog: u64,
    /// Why delivery of this sale pauses. It is tried again by itself.
    pub fault: Option<LedgerError>,
}

/// What is delivered, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerStatus {
    /// The connection, with its last error.
    pub connection: Connection,
    /// One entry a sale, in the source's order.
    pub sales: Vec<SaleStatus>,
}

impl LedgerStatus {
    /// Durable records of all sales that aren't known to be in Redis.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.sales.iter().map(|sale| sale.backlog).sum()
    }
}

/// Not everything was delivered in time. Nothing is lost: delivery goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backlog} sales were not delivered within {waited:?}{}", because(.cause.as_ref()))]
#[non_exhaustive]
pub struct Undelivered {
    /// Durable records that aren't known to be in Redis.
    pub backlog: u64,
    /// How long was waited.
    pub waited: Duration,
    /// What stands in the way, if anything is known to.
    pub cause: Option<LedgerError>,
}

fn because(cause: Option<&LedgerError>) -> String {
    cause.map_or_else(|| ": wait longer, or look at the status".to_owned(), |cause| format!(": {cause}"))
}

/// What somebody waits for: all of `heads` in Redis, seen there by a look that began after the wait.
#[derive(Debug)]
pub(super) struct Goal {
    heads: Vec<SaleHead>,
    look: u64,
}

#[derive(Debug, Default)]
struct Standing {
    delivered: u64,
    fault: Option<LedgerError>,
}

#[derive(Debug, Default)]
struct State {
    connection: Connection,
    sales: BTreeMap<String, Standing>,
    looks_asked: u64,
    looks_done: u64,
}

impl State {
    fn reached(&self, goal: &Goal) -> bool {
        let there = |head: &SaleHead| {
            let found = self.sales.get(&head.name);
            found.is_some_and(|sale| sale.delivered >= head.last && sale.fault.is_none())
        };
        self.looks_done >= goal.look && goal.heads.iter().all(there)
    }
}

/// Where the courier writes what it sees.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
    revision: watch::Sender<u64>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), revision: watch::Sender::new(0) }
    }

    fn write(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
        self.revision.send_modify(|revision| *revision += 1);
    }

    pub(super) fn connection(&self, connection: Connection) {
        self.write(|state| state.connection = connection);
    }

    /// Redis answers.
    pub(super) fn connection_is_up(&self) {
        if self.state.lock().connection != Connection::Connected {
            self.connection(Connection::Connected);
        }
    }

    /// Redis has `sale` up to `delivered`; `sound` if nothing stands in the way of more.
    pub(super) fn delivered(&self, sale: &str, delivered: u64, sound: bool) {
        self.write(|state| {
            let standing = standing(state, sale);
            standing.delivered = delivered;
            if sound {
                standing.fault = None;
            }
        });
    }

    pub(super) fn fault(&self, sale: &str, fault: LedgerError) {
        self.write(|state| standing(state, sale).fault = Some(fault));
    }

    pub(super) fn looks_asked(&self) -> u64 {
        self.state.lock().looks_asked
    }

    pub(super) fn looks_done(&self) -> u64 {
        self.state.lock().looks_done
    }

    /// Every watermark was read since look number `look` was asked for.
    pub(super) fn looked(&self, look: u64) {
        if self.looks_done() != look {
            self.write(|state| state.looks_done = look);
        }
    }

    pub(super) fn goal(&self, heads: Vec<SaleHead>) -> Goal {
        let mut state = self.state.lock();
        state.looks_asked += 1;
        Goal { heads, look: state.looks_asked }
    }

    pub(super) async fn until(&self, goal: &Goal) {
        let mut changes = self.revision.subscribe();
        while !self.state.lock().reached(goal) {
            // The sender lives as long as `self`: there is always a next change to wait for.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// As [`Board::until`], for a thread; false if it took longer than `within`.
    pub(super) fn until_blocking(&self, goal: &Goal, within: Duration) -> bool {
        let started = Instant::now();
        let mut state = self.state.lock();
        while !state.reached(goal) {
            let left = within.saturating_sub(started.elapsed());
            if left.is_zero() {
                return false;
            }
            self.changed.wait_for(&mut state, left);
        }
        true
    }

    pub(super) fn status(&self, heads: Vec<SaleHead>) -> LedgerStatus {
        let state = self.state.lock();
        let sales = heads.into_iter().map(|head| {
            let (delivered, fault) = match state.sales.get(&head.name) {
                Some(standing) => (standing.delivered, standing.fault.clone()),
                None => (0, None),
            };
            SaleStatus { name: head.name, delivered, backlog: head.last.saturating_sub(delivered), fault }
        });
        LedgerStatus { connection: state.connection.clone(), sales: sales.collect() }
    }
}

impl LedgerStatus {
    /// This status as the reason why a wait of `waited` was in vain.
    pub(super) fn undelivered(self, waited: Duration) -> Undelivered {
        let backlog = self.backlog();
        let fault = self.sales.into_iter().find_map(|sale| sale.fault);
        let broken = match self.connection {
            Connection::Broken { error, .. } => Some(error),
            _ => None,
        };
        Undelivered { backlog, waited, cause: broken.or(fault) }
    }
}

fn standing<'a>(state: &'a mut State, sale: &str) -> &'a mut Standing {
    if !state.sales.contains_key(sale) {
        state.sales.insert(sale.to_owned(), Standing::default());
    }
    state.sales.get_mut(sale).expect("it was just put there")
}
