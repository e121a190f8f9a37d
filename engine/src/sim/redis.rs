//! A Redis in memory: the commands and the two scripts that the ledger uses, and what may become of a server.
//!
//! What holds:
//! - every change is an effect, and effects reach the replica in the order in which they were made, those of one
//!   script together: a failover loses the last ones, and never one from the middle;
//! - what is answered is what a real server answers; a test asks both;
//! - a connection belongs to one run of the server, and ends with it.

mod scripts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use redis::{RedisResult, Value};

use scripts::{Known, Script};

/// The identity of a stream's entry.
pub(super) type EntryId = (u64, u64);

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Text(String),
    Hash(BTreeMap<String, String>),
    Stream { last: EntryId, entries: Vec<(EntryId, Vec<String>)> },
}

/// One change of the keys.
#[derive(Debug, Clone)]
enum Effect {
    Set(String, String),
    Delete(String),
    HashSet(String, Vec<(String, String)>),
    Add(String, EntryId, Vec<String>),
}

/// All keys.
#[derive(Debug, Clone, Default)]
struct Keyspace(BTreeMap<String, Entry>);

impl Keyspace {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Set(key, text) => {
                self.0.insert(key, Entry::Text(text));
            }
            Effect::Delete(key) => {
                self.0.remove(&key);
            }
            Effect::HashSet(key, pairs) => {
                let entry = self.0.entry(key).or_insert_with(|| Entry::Hash(BTreeMap::new()));
                if let Entry::Hash(fields) = entry {
                    fields.extend(pairs);
                }
            }
            Effect::Add(key, id, words) => {
                let empty = || Entry::Stream { last: (0, 0), entries: Vec::new() };
                if let Entry::Stream { last, entries } = self.0.entry(key).or_insert_with(empty) {
                    *last = id;
                    entries.push((id, words));
                }
            }
        }
    }

    fn hash(&self, key: &str) -> Result<Option<&BTreeMap<String, String>>, &'static str> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Entry::Hash(fields)) => Ok(Some(fields)),
            Some(_) => Err(WRONG_TYPE),
        }
    }
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// Why a server refuses for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Writes are refused: the memory is used up.
    Full,
    /// It has become a replica.
    ReadOnly,
    /// It reads its data after a start.
    Loading,
    /// Nobody listens.
    Down,
    /// It has another password than the ledger's.
    OtherPassword,
}

/// What a connection knows of its server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    run: u64,
    admitted: bool,
}

/// A primary, its replica, and what hasn't reached that one.
#[derive(Debug, Default)]
pub(super) struct Server {
    keys: Keyspace,
    replica: Keyspace,
    /// What the replica has yet to apply, one script or command each.
    backlog: VecDeque<Vec<Effect>>,
    scripts: BTreeSet<String>,
    run: u64,
    password: Option<String>,
    trouble: Option<Trouble>,
    known: Known,
}

impl Server {
    /// An empty server that lets in who knows `password`; everybody, without one.
    pub(super) fn new(password: Option<&str>) -> Self {
        Self { password: password.map(str::to_owned), ..Self::default() }
    }

    /// A server whose script counts without a look at what is there: a negative control.
    pub(super) fn that_counts_blindly(mut self) -> Self {
        self.known = Known::blind();
        self
    }

    /// A new connection, if somebody listens.
    pub(super) fn accept(&self) -> Option<Session> {
        (self.trouble != Some(Trouble::Down)).then_some(Session { run: self.run, admitted: false })
    }

    /// Whether the connection still stands.
    pub(super) fn has(&self, session: Session) -> bool {
        session.run == self.run && self.trouble != Some(Trouble::Down)
    }

    /// All connections end.
    pub(super) fn hang_up(&mut self) {
        self.run += 1;
    }

    /// From now on it is in `trouble`, or in none.
    pub(super) fn set_trouble(&mut self, trouble: Option<Trouble>) {
        if matches!(trouble, Some(Trouble::Down | Trouble::Loading | Trouble::ReadOnly | Trouble::OtherPassword)) {
            self.hang_up();
        }
        self.trouble = trouble;
    }

    /// It starts again, with what it had, or with nothing.
    pub(super) fn restart(&mut self, keeps: bool) {
        self.hang_up();
        self.scripts.clear();
        if !keeps {
            self.keys = Keyspace::default();
            self.replica = Keyspace::default();
            self.backlog.clear();
        }
    }

    /// The replica applies at most `most` of what it hasn't.
    pub(super) fn replicate(&mut self, most: usize) {
        for effects in self.backlog.drain(..most.min(self.backlog.len())) {
            for effect in effects {
                self.replica.apply(effect);
            }
        }
    }

    /// The primary is gone, and the replica takes its place, with what it has. How many scripts' effects are lost.
    pub(super) fn fail_over(&mut self) -> usize {
        let lost = self.backlog.len();
        self.keys = self.replica.clone();
        self.backlog.clear();
        self.restart(true);
        lost
    }

    pub(super) fn flush_scripts(&mut self) {
        self.scripts.clear();
    }

    /// Somebody else writes a text under `key`.
    pub(super) fn overwrite(&mut self, key: &str) {
        self.write(vec![Effect::Set(key.to_owned(), "not ours".to_owned())]);
    }

    /// Somebody takes `key` away.
    pub(super) fn remove(&mut self, key: &str) {
        self.write(vec![Effect::Delete(key.to_owned())]);
    }

    /// What stands under `key`.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.keys.0.get(key)
    }

    fn write(&mut self, effects: Vec<Effect>) {
        effects.iter().cloned().for_each(|effect| self.keys.apply(effect));
        self.backlog.push_back(effects);
    }

    /// Answers one command.
    pub(super) fn execute(&mut self, session: &mut Session, words: &[String]) -> Value {
        self.answer(session, words).unwrap_or_else(|why| error(&why))
    }

    fn answer(&mut self, session: &mut Session, words: &[String]) -> Result<Value, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [name, arguments @ ..] = words.as_slice() else { return Err("ERR no command".to_owned()) };
        if *name == "AUTH" {
            return self.admit(session, arguments);
        }
        if self.password.is_some() && !session.admitted {
            return Err("NOAUTH Authentication required.".to_owned());
        }
        if self.trouble == Some(Trouble::Loading) {
            return Err("LOADING Redis is loading the dataset in memory".to_owned());
        }
        match (*name, arguments) {
            ("PING", []) => Ok(Value::SimpleString("PONG".to_owned())),
            ("SELECT", [_]) => Ok(Value::Okay),
            ("ROLE", []) if self.trouble == Some(Trouble::ReadOnly) => Ok(texts(["slave", "127.0.0.1", "6379"])),
            ("ROLE", []) => Ok(Value::Array(vec![text("master"), Value::Int(0), Value::Array(Vec::new())])),
            ("HMGET", [key, fields @ ..]) => {
                let hash = self.keys.hash(key)?;
                let find =
                    |field: &&str| hash.and_then(|hash| hash.get(*field)).map_or(Value::Nil, |found| text(found));
                Ok(Value::Array(fields.iter().map(find).collect()))
            }
            ("HLEN", [key]) => {
                let length = self.keys.hash(key)?.map_or(0, BTreeMap::len);
                Ok(Value::Int(i64::try_from(length).expect("far fewer fields")))
            }
            ("HSCAN", [key, _cursor, ..]) => {
                let fields = self.keys.hash(key)?.into_iter().flatten();
                let pairs = fields.flat_map(|(field, value)| [text(field), text(value)]).collect();
                Ok(Value::Array(vec![text("0"), Value::Array(pairs)]))
            }
            ("EVAL", [code, "2", first, second, arguments @ ..]) => {
                let (hash, script) =
                    self.known.of_code(code).ok_or("ERR this server runs the ledger's scripts only")?;
                self.scripts.insert(hash);
                self.run_script(script, [first, second], arguments)
            }
            ("EVALSHA", [hash, "2", first, second, arguments @ ..]) => {
                let script = self.known.script(hash).filter(|_| self.scripts.contains(*hash));
                let script = script.ok_or("NOSCRIPT No matching script. Please use EVAL.")?;
                self.run_script(script, [first, second], arguments)
            }
            _ => Err(format!("ERR unknown command '{name}'")),
        }
    }

    fn admit(&self, session: &mut Session, arguments: &[&str]) -> Result<Value, String> {
        let Some(password) = &self.password else {
            return Err("ERR AUTH <password> called without any password configured for the default user".to_owned());
        };
        session.admitted = self.trouble != Some(Trouble::OtherPassword) && arguments.last() == Some(&password.as_str());
        if session.admitted {
            Ok(Value::Okay)
        } else {
            Err("WRONGPASS invalid username-password pair or user is disabled.".to_owned())
        }
    }

    fn run_script(&mut self, script: Script, keys: [&str; 2], arguments: &[&str]) -> Result<Value, String> {
        let (reply, effects) = self.known.run(script, &self.keys, keys, arguments)?;
        match self.trouble {
            Some(Trouble::Full) if !effects.is_empty() => {
                Err("OOM command not allowed when used memory > 'maxmemory'.".to_owned())
            }
            Some(Trouble::ReadOnly) if !effects.is_empty() => {
                Err("READONLY You can't write against a read only replica.".to_owned())
            }
            _ => {
                if !effects.is_empty() {
                    self.write(effects);
                }
                Ok(texts(&reply))
            }
        }
    }
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn texts<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> Value {
    Value::Array(words.into_iter().map(|word| text(word.as_ref())).collect())
}

/// The error that a server says as `line`, as the client reads it.
fn error(line: &str) -> Value {
    let read: RedisResult<Value> = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
    read.expect("an error has one line")
}
