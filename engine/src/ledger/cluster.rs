//! A Redis Cluster: as many servers as have slots, and each command to the one that has its key's.
//!
//! What it holds true:
//! - a command is sent again only if a server said that it did not run it: it moved, or asks at another's. After any
//!   other error nobody sends it again but the courier, who looks before;
//! - a server that breaks is a matter of the sales whose slots it has. Which server has which slots is asked again
//!   after each such error, of the servers in turn, so that one that was cut off from the others isn't believed for
//!   ever. Only if none of them answers, the cluster is away;
//! - a server that can't be reached is let rest for as long as it took to find out, so that the sales of the others
//!   have at least every other moment.

mod slots;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use redis::{Cmd, ConnectionAddr, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

use super::{
    dial::{Dial, Limits},
    error::LedgerError,
    server::{Access, Failure, Server},
};

use slots::{Address, Slots, slot};

/// How often one command may be told to go elsewhere: once for a slot that moved, once for a key on its way, and
/// the same again.
const REDIRECTS: usize = 4;

/// The shortest rest of a server that can't be reached.
const SHORT_REST: Duration = Duration::from_millis(100);

/// The way to one server.
enum Node {
    Up(Server),
    /// Unreachable; not tried again before then.
    Down(Instant, LedgerError),
}

/// The servers of a cluster.
pub(super) struct Cluster {
    dial: Arc<dyn Dial>,
    access: Access,
    limits: Limits,
    /// Whom to ask about the slots: those in the URL, then all that were heard of since.
    known: Vec<Address>,
    /// Where to begin next time.
    turn: usize,
    slots: Slots,
    /// Whether the slots must be asked for before they are used.
    stale: bool,
    nodes: HashMap<Address, Node>,
}

impl Cluster {
    /// Asks the servers in `seeds` who has which slots.
    pub(super) async fn open(
        dial: Arc<dyn Dial>,
        seeds: &[ConnectionAddr],
        access: &Access,
        limits: Limits,
    ) -> Result<Self, LedgerError> {
        let known = seeds.iter().filter_map(Address::of).collect();
        let (access, slots, nodes) = (access.clone(), Slots::default(), HashMap::new());
        let mut cluster = Self { dial, access, limits, known, turn: 0, slots, stale: true, nodes };
        cluster.ask_who_has_what().await?;
        Ok(cluster)
    }

    /// The answer to one command, which is about `key`.
    pub(super) async fn ask(&mut self, key: &str, command: &Cmd) -> Result<Value, Failure> {
        self.ask_who_has_what().await?;
        let slot = slot(key);
        let mut target = self.owner(slot).ok_or_else(no_owner)?;
        let mut asking = false;
        for _ in 0..=REDIRECTS {
            let answer =
                if asking { self.ask_as_a_guest(&target, command).await } else { self.ask_at(&target, command).await };
            let failure = match answer {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let Some((moved, to)) = redirect(&failure, &target) else { return Err(failure) };
            if moved {
                self.slots.moved(slot, &to);
                self.stale = true;
            }
            (target, asking) = (to, !moved);
        }
        Err(unserved(ServerErrorKind::TryAgain, "it is sent from one server to the other"))
    }

    /// The answers to several commands and their keys, in their order.
    pub(super) async fn ask_all(&mut self, commands: &[(String, Cmd)]) -> Result<Vec<Result<Value, Failure>>, Failure> {
        self.ask_who_has_what().await?;
        let mut answers: Vec<Result<Value, Failure>> = commands.iter().map(|_| Err(no_owner())).collect();
        let mut groups = BTreeMap::<Address, Vec<usize>>::new();
        for (index, (key, _)) in commands.iter().enumerate() {
            if let Some(owner) = self.owner(slot(key)) {
                groups.entry(owner).or_default().push(index);
            }
        }
        for (owner, indexes) in groups {
            let mut questions = redis::pipe();
            for index in &indexes {
                questions.add_command(commands[*index].1.clone());
            }
            let asked = match self.node(&owner).await {
                Ok(server) => server.ask_all(&mut questions).await,
                Err(error) => Err(error.into()),
            };
            match asked {
                Ok(found) => {
                    for (index, answer) in indexes.into_iter().zip(found) {
                        answers[index] = answer.map_err(|error| Failure::Answer { error, address: owner.name() });
                    }
                }
                Err(failure) => {
                    self.broken(&owner, &failure);
                    for index in indexes {
                        answers[index] = Err(failure.clone());
                    }
                }
            }
        }
        for (answer, (key, command)) in answers.iter_mut().zip(commands) {
            if answer.as_ref().is_err_and(Failure::is_redirect) {
                *answer = self.ask(key, command).await;
            }
        }
        Ok(answers)
    }

    /// Who has a slot. If nobody has, as while its shard fails over, that is asked again.
    fn owner(&mut self, slot: u16) -> Option<Address> {
        let owner = self.slots.owner(slot);
        self.stale |= owner.is_none();
        owner
    }

    async fn ask_at(&mut self, target: &Address, command: &Cmd) -> Result<Value, Failure> {
        let answer = self.node(target).await?.ask(command).await;
        answer.inspect_err(|failure| self.broken(target, failure))
    }

    /// Asks a server that is about to get the slot, and has some of its keys.
    async fn ask_as_a_guest(&mut self, target: &Address, command: &Cmd) -> Result<Value, Failure> {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let answers = self.node(target).await?.ask_all(&mut both).await;
        let answers = answers.inspect_err(|failure| self.broken(target, failure))?;
        let answer =
            answers.into_iter().nth(1).unwrap_or_else(|| Err((ErrorKind::Parse, "an answer is missing").into()));
        answer.map_err(|error| Failure::Answer { error, address: target.name() })
    }

    /// Forgets a connection that broke, and asks again who has which slots.
    fn broken(&mut self, target: &Address, failure: &Failure) {
        self.stale |= failure.is_cluster_down();
        if failure.is_of_connection() {
            self.nodes.remove(target);
            self.stale = true;
        }
    }

    /// The connection to a server.
    async fn node(&mut self, target: &Address) -> Result<&mut Server, LedgerError> {
        let open = match self.nodes.get(target) {
            Some(Node::Up(_)) => false,
            Some(Node::Down(until, error)) if Instant::now() < *until => return Err(error.clone()),
            _ => true,
        };
        if open {
            let started = Instant::now();
            let node = match Server::enter(&*self.dial, &target.to_dial(), &self.access, self.limits).await {
                Ok(server) => Node::Up(server),
                Err(error) => Node::Down(Instant::now() + started.elapsed().max(SHORT_REST), error),
            };
            self.stale |= matches!(node, Node::Down(..));
            self.nodes.insert(target.clone(), node);
        }
        match self.nodes.get_mut(target) {
            Some(Node::Up(server)) => Ok(server),
            Some(Node::Down(_, error)) => Err(error.clone()),
            None => Err(LedgerError::NoNode { reason: target.to_string() }),
        }
    }

    /// Learns who has which slots, if that isn't known.
    async fn ask_who_has_what(&mut self) -> Result<(), LedgerError> {
        if !self.stale {
            return Ok(());
        }
        let mut reason = LedgerError::NoNode { reason: "the URL names none".to_owned() };
        for offset in 0..self.known.len() {
            let at = (self.turn + offset) % self.known.len();
            let target = self.known[at].clone();
            let found = match self.node(&target).await {
                Ok(server) => server.ask(redis::cmd("CLUSTER").arg("SLOTS")).await,
                Err(error) => Err(error.into()),
            };
            match found {
                Ok(value) => {
                    if let Some(slots) = Slots::read(&value, &target) {
                        let new = slots.addresses().filter(|address| !self.known.contains(address));
                        let new: Vec<_> = new.cloned().collect();
                        self.known.extend(new);
                        (self.slots, self.stale, self.turn) = (slots, false, at + 1);
                        return Ok(());
                    }
                    reason = LedgerError::NotRedis { address: target.to_string() };
                }
                Err(failure) => {
                    self.broken(&target, &failure);
                    reason = failure.judged(&self.access, self.limits.response, "");
                }
            }
        }
        Err(match reason {
            // The cause is the same for all of them, and says what to do.
            LedgerError::NeedsPassword { .. } | LedgerError::WrongPassword { .. } | LedgerError::Refused { .. } => {
                reason
            }
            other => LedgerError::NoNode { reason: other.to_string() },
        })
    }
}

/// Where `failure`, the answer of `from`, sends us, and whether the slot has moved there for good.
fn redirect(failure: &Failure, from: &Address) -> Option<(bool, Address)> {
    let Failure::Answer { error, .. } = failure else { return None };
    let (to, _) = error.redirect_node()?;
    let moved = error.kind() == ErrorKind::Server(ServerErrorKind::Moved);
    Some((moved, Address::parse(to, from)?))
}

fn no_owner() -> Failure {
    unserved(ServerErrorKind::ClusterDown, "nobody has the slot")
}

fn unserved(kind: ServerErrorKind, why: &str) -> Failure {
    let error = RedisError::from((ErrorKind::Server(kind), "not served", why.to_owned()));
    Failure::Answer { error, address: "the cluster".into() }
}
