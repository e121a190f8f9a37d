//! The simulated Redis answers what a real one answers.
//!
//! Random histories of everything that the ledger says are told to both: every answer, and every error's code, is the
//! same. Control: a script that counts blindly is told from the real one.

use redis::{RedisResult, ServerError, Value};
use sellout_testkit::RedisServer;

use super::{super::dice::Dice, *};
use crate::ledger::{DELIVER, POST};

/// A batch for one of two sales, mostly one that could be sent: by one of two engines, at some epoch, from some
/// sequence on, now and then with another text or a gap.
fn batch(dice: &mut Dice) -> Vec<String> {
    let sale = dice.below(2);
    let mut words = vec![DELIVER.to_owned(), "2".to_owned(), format!("{{{sale}}}:l"), format!("{{{sale}}}:s")];
    let engine = if dice.one_in(30) { "f" } else { "e" };
    let (epoch, incarnation) = (1 + dice.below(12) / 5, dice.below(9) / 8);
    let first = 1 + dice.below(7);
    words.extend([engine.to_owned(), epoch.to_string(), incarnation.to_string(), first.to_string()]);
    for sequence in first..first + dice.below(4) {
        let (skips, differs) = (u64::from(dice.one_in(40)), u64::from(dice.one_in(40)));
        words.extend([(sequence + skips).to_string(), (1 + sequence % 3).to_string(), format!("{sequence}/{differs}")]);
    }
    words
}

/// Some messages behind some message.
fn messages(dice: &mut Dice) -> Vec<String> {
    let mut words = vec![POST.to_owned(), "2".to_owned(), "{m}:w".to_owned(), "{m}:s".to_owned()];
    let engine = if dice.one_in(30) { "f" } else { "e" };
    let (epoch, incarnation, after) = (1 + dice.below(12) / 5, dice.below(9) / 8, dice.below(5));
    words.extend([engine.to_owned(), epoch.to_string(), incarnation.to_string(), format!("{after}-{}", dice.below(2))]);
    for record in 1 + after..1 + after + dice.below(3) {
        let count = 2 + 2 * dice.below(2);
        words.extend([format!("{record}-{}", dice.below(2)), count.to_string()]);
        words.extend((0..count).map(|word| format!("w{word}")));
    }
    words
}

/// Something that the ledger, or somebody else, says to Redis.
fn command(dice: &mut Dice) -> Vec<String> {
    let key = ["{0}:l", "{0}:s", "{1}:l", "{1}:s", "{m}:w", "{m}:s"][dice.place(6).unwrap()];
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match dice.below(40) {
        0..18 => [owned(&["EVAL"]), batch(dice)].concat(),
        18..30 => [owned(&["EVAL"]), messages(dice)].concat(),
        30..33 => owned(&["HMGET", key, "engine", "epoch", "incarnation", "last", "units"]),
        33..36 => owned(&["HLEN", key]),
        36 => owned(&["SET", key, "not ours"]),
        37 => owned(&["DEL", key]),
        38 => owned(&["PING"]),
        _ => {
            let mut words = batch(dice);
            let hash = redis::Script::new(&words[0]).get_hash().to_owned();
            words[0] = hash;
            [owned(&["EVALSHA"]), words].concat()
        }
    }
}

/// What was answered, or an error's code.
fn shown(answer: RedisResult<Value>) -> Result<Value, String> {
    answer.and_then(Value::extract_error).map_err(|error| error.code().unwrap_or("none").to_owned())
}

/// How many answers differ, and the first that does.
fn differences(real: &RedisServer, mut model: Server, seed: u64) -> (usize, Option<String>) {
    real.tell("FLUSHALL");
    real.tell("SCRIPT FLUSH");
    let mut connection = redis::Client::open(real.url()).unwrap().get_connection().unwrap();
    let (mut dice, mut session) = (Dice::new(seed), model.accept().unwrap());
    let mut different = Vec::new();
    for _ in 0..400 {
        let words = command(&mut dice);
        let mut question = redis::cmd(&words[0]);
        question.arg(&words[1..]);
        let expected = shown(question.query(&mut connection));
        let answered = match words[0].as_str() {
            "SET" => {
                model.overwrite(&words[1]);
                Ok(Value::Okay)
            }
            "DEL" => {
                let there = i64::from(model.entry(&words[1]).is_some());
                model.remove(&words[1]);
                Ok(Value::Int(there))
            }
            _ => shown(Ok(model.execute(&mut session, &words))),
        };
        if expected != answered {
            different.push(format!("{words:?}: {answered:?} instead of {expected:?}"));
        }
    }
    (different.len(), different.into_iter().next())
}

#[test]
fn the_simulated_redis_answers_as_a_real_one_does() {
    let real = RedisServer::start();
    for seed in 0..8 {
        assert_eq!(differences(&real, Server::new(None), seed), (0, None), "seed {seed}");
    }
}

#[test]
fn control_a_script_that_counts_blindly_is_told_from_the_real_one() {
    let real = RedisServer::start();
    let (different, _) = differences(&real, Server::new(None).that_counts_blindly(), 0);
    assert!(different > 10, "only {different} answers differ");
}

/// A command of a few words.
fn ask(server: &mut Server, session: &mut Session, words: &[&str]) -> Value {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    server.execute(session, &words)
}

fn code(value: Value) -> Option<String> {
    match value {
        Value::ServerError(error) => Some(ServerError::code(&error).to_owned()),
        _ => None,
    }
}

const ONE: [&str; 11] = ["EVAL", DELIVER, "2", "{0}:l", "{0}:s", "e", "1", "1", "1", "1", "1"];

#[test]
fn in_trouble_it_refuses_as_a_server_does() {
    let mut server = Server::new(None);
    let words = [&ONE[..], &["text"]].concat();
    for (trouble, expected) in [(Trouble::Full, "OOM"), (Trouble::ReadOnly, "READONLY"), (Trouble::Loading, "LOADING")]
    {
        server.set_trouble(Some(trouble));
        let mut session = server.accept().unwrap();
        assert_eq!(code(ask(&mut server, &mut session, &words)).as_deref(), Some(expected));
        assert!(server.entry("{0}:s").is_none(), "refused, and written");
    }
    server.set_trouble(Some(Trouble::Down));
    assert!(server.accept().is_none());
}

#[test]
fn a_failover_loses_the_last_effects_and_the_connections() {
    let mut server = Server::new(None);
    let mut session = server.accept().unwrap();
    for (sequence, text) in [("1", "a"), ("2", "b"), ("3", "c")] {
        let words = ["EVAL", DELIVER, "2", "{0}:l", "{0}:s", "e", "1", "1", sequence, sequence, "1", text];
        assert_eq!(code(ask(&mut server, &mut session, &words)), None);
    }
    server.replicate(2);
    assert_eq!(server.fail_over(), 1);
    assert!(!server.has(session));
    let Some(Entry::Hash(sales)) = server.entry("{0}:s") else { panic!("the replica has the first two") };
    assert_eq!(sales.keys().collect::<Vec<_>>(), ["1", "2"]);
}
