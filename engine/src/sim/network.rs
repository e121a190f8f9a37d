//! The way to Redis: what is said may be lost before or after it had its effect, come late, or come twice.
//!
//! What holds:
//! - a question is answered, or cut off, or stays without an answer until who asked gives up;
//! - a question that was given up may still have its effect, any number of questions later, and on another server than
//!   the one that it was meant for;
//! - what happens is decided by the seed.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use redis::{Cmd, ConnectionAddr, Pipeline, RedisError, RedisFuture, RedisResult, Value, aio::ConnectionLike};
use tokio::time::sleep;

use super::{
    dice::Dice,
    redis::{Server, Session},
};
use crate::ledger::dial::{Dial, Dialing, Wire};

/// How many batches are remembered, to be said once more.
const REMEMBERED: usize = 12;

/// What the words of one command are.
type Words = Vec<String>;

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    CutBefore,
    CutAfter,
    Late,
}

#[derive(Debug)]
struct State {
    server: Server,
    dice: Dice,
    /// One question in so many meets a fault; 0 for none.
    one_in: u64,
    /// Given up by who asked, and yet to come.
    late: Vec<Vec<Words>>,
    /// The last batches.
    said: VecDeque<Vec<Words>>,
    faults: u64,
    password: String,
    /// The furthest that was ever answered to each question after a watermark, if that is what who asks is told: a
    /// ledger that relies on its memory. A negative control.
    memory: Option<BTreeMap<Words, (u64, Value)>>,
}

/// How far an answer says that a sale has got.
fn reach(answer: &Value) -> u64 {
    match answer {
        Value::Int(count) => u64::try_from(*count).unwrap_or_default(),
        Value::Array(fields) => match fields.get(3) {
            Some(Value::BulkString(last)) => String::from_utf8_lossy(last).parse().unwrap_or_default(),
            _ => 0,
        },
        _ => 0,
    }
}

impl State {
    fn fate(&mut self) -> Fate {
        if self.one_in == 0 || !self.dice.one_in(self.one_in) {
            return Fate::Answered;
        }
        self.faults += 1;
        [Fate::CutBefore, Fate::CutAfter, Fate::CutAfter, Fate::Late][self.dice.place(4).unwrap_or_default()]
    }

    fn run(&mut self, session: &mut Session, commands: &[Words]) -> Vec<Value> {
        if commands.iter().any(|words| words.first().is_some_and(|name| name.starts_with("EVAL"))) {
            self.said.push_back(commands.to_vec());
            if self.said.len() > REMEMBERED {
                self.said.pop_front();
            }
        }
        let mut answers: Vec<Value> = commands.iter().map(|words| self.server.execute(session, words)).collect();
        if let Some(memory) = &mut self.memory {
            for (words, answer) in commands.iter().zip(&mut answers) {
                if matches!(words[0].as_str(), "HMGET" | "HLEN") {
                    let (furthest, kept) = memory.entry(words.clone()).or_insert((0, Value::Nil));
                    if reach(answer) >= *furthest {
                        (*furthest, *kept) = (reach(answer), answer.clone());
                    }
                    *answer = kept.clone();
                }
            }
        }
        answers
    }

    /// Says `commands` on a connection of their own, and throws the answers away.
    fn say(&mut self, commands: &[Words]) {
        let Some(mut session) = self.server.accept() else { return };
        let auth = ["AUTH".to_owned(), self.password.clone()];
        self.server.execute(&mut session, &auth);
        for words in commands {
            self.server.execute(&mut session, words);
        }
    }

    /// What was given up comes after all.
    fn late_comes(&mut self) {
        if let Some(place) = self.dice.place(self.late.len()) {
            let commands = self.late.swap_remove(place);
            self.say(&commands);
        }
    }
}

/// A Redis and the way to it. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Network(Arc<Mutex<State>>);

impl Network {
    /// The way to `server`, on which nothing is lost yet.
    pub(super) fn new(server: Server, seed: u64, password: &str) -> Self {
        let (late, said, password) = (Vec::new(), VecDeque::new(), password.to_owned());
        let (dice, memory) = (Dice::new(seed), None);
        Self(Arc::new(Mutex::new(State { server, dice, one_in: 0, late, said, faults: 0, password, memory })))
    }

    /// From now on who asks for a watermark is told the furthest that was ever answered: a negative control.
    pub(super) fn rely_on_memory(&self) {
        self.0.lock().memory = Some(BTreeMap::new());
    }

    /// One question in `one_in` meets a fault; 0 for none.
    pub(super) fn lose(&self, one_in: u64) {
        self.0.lock().one_in = one_in;
    }

    /// Faults that questions have met.
    pub(super) fn faults(&self) -> u64 {
        self.0.lock().faults
    }

    /// Does something to the server.
    pub(super) fn server<T>(&self, act: impl FnOnce(&mut Server) -> T) -> T {
        act(&mut self.0.lock().server)
    }

    /// A batch of before is said once more; whether there was one.
    pub(super) fn say_again(&self) -> bool {
        let mut state = self.0.lock();
        let State { dice, said, .. } = &mut *state;
        let Some(place) = dice.place(said.len()) else { return false };
        let commands = said[place].clone();
        state.say(&commands);
        true
    }

    /// Everything that was given up comes now.
    pub(super) fn late_comes(&self) {
        let mut state = self.0.lock();
        while !state.late.is_empty() {
            state.late_comes();
        }
    }

    fn connect(&self) -> RedisResult<Connection> {
        match self.0.lock().server.accept() {
            Some(session) => Ok(Connection { network: self.clone(), session }),
            None => Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        }
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, _address: &'a ConnectionAddr) -> Dialing<'a> {
        Box::pin(async { Ok(Wire::new(self.connect()?)) })
    }
}

/// One connection.
#[derive(Debug)]
struct Connection {
    network: Network,
    session: Session,
}

fn cut() -> RedisError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

impl Connection {
    async fn ask(&mut self, commands: Vec<Words>) -> RedisResult<Vec<Value>> {
        let (fate, there, back) = {
            let mut state = self.network.0.lock();
            if state.dice.one_in(4) {
                state.late_comes();
            }
            let [there, back] = [0; 2].map(|_: u64| Duration::from_millis(state.dice.below(3)));
            (state.fate(), there, back)
        };
        sleep(there).await;
        match fate {
            Fate::Answered => {}
            Fate::CutBefore => return Err(cut()),
            Fate::CutAfter => {
                self.run(&commands)?;
                return Err(cut());
            }
            Fate::Late => {
                self.network.0.lock().late.push(commands);
                // No answer comes: who asks gives up in time.
                return std::future::pending().await;
            }
        }
        let answers = self.run(&commands)?;
        sleep(back).await;
        if self.network.0.lock().server.has(self.session) { Ok(answers) } else { Err(cut()) }
    }

    fn run(&mut self, commands: &[Words]) -> RedisResult<Vec<Value>> {
        let mut state = self.network.0.lock();
        if !state.server.has(self.session) {
            return Err(cut());
        }
        let answers = state.run(&mut self.session, commands);
        Ok(answers)
    }
}

fn words(command: &Cmd) -> Words {
    let word = |argument| match argument {
        redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        // A cursor's place; nothing else is left out of a command.
        _ => "0".to_owned(),
    };
    command.args_iter().map(word).collect()
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let answer = self.ask(vec![words(command)]).await?.pop();
            answer.unwrap_or(Value::Nil).extract_error()
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _offset: usize,
        _count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.ask(pipeline.cmd_iter().map(words).collect()))
    }

    fn get_db(&self) -> i64 {
        0
    }
}
