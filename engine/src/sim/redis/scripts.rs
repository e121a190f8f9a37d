//! The ledger's two scripts, as functions of the keys.
//!
//! What holds: a script sees all keys as they are at one instant, and answers what it would change; a status other than
//! OK changes nothing. They say what `deliver.lua` and `post.lua` say: a test compares them on a real server.

use super::{Effect, Entry, EntryId, Keyspace, WRONG_TYPE};
use crate::ledger::{DELIVER, POST};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Deliver,
    Post,
}

/// What a script answers, and what it changes.
type Told = (Vec<String>, Vec<Effect>);

/// That, or an error.
type Outcome = Result<Told, String>;

/// The scripts that a server can be taught.
#[derive(Debug)]
pub(super) struct Known {
    hashes: [(String, Script); 2],
    blind: bool,
}

impl Default for Known {
    fn default() -> Self {
        let hash = |text| redis::Script::new(text).get_hash().to_owned();
        Self { hashes: [(hash(DELIVER), Script::Deliver), (hash(POST), Script::Post)], blind: false }
    }
}

impl Known {
    /// With a script that counts whatever comes as new.
    pub(super) fn blind() -> Self {
        Self { blind: true, ..Self::default() }
    }

    /// The script whose code this is, and its hash, if it is one of the two.
    pub(super) fn of_code(&self, code: &str) -> Option<(String, Script)> {
        let which = match code {
            DELIVER => Script::Deliver,
            POST => Script::Post,
            _ => return None,
        };
        self.hashes.iter().find(|(_, script)| *script == which).cloned()
    }

    pub(super) fn script(&self, hash: &str) -> Option<Script> {
        self.hashes.iter().find(|(known, _)| known == hash).map(|(_, script)| *script)
    }

    pub(super) fn run(&self, script: Script, keys: &Keyspace, names: [&str; 2], arguments: &[&str]) -> Outcome {
        match script {
            Script::Deliver if self.blind => deliver_blindly(keys, names, arguments),
            Script::Deliver => deliver(keys, names, arguments),
            Script::Post => post(keys, names, arguments),
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("ERR {text} is no number"))
}

fn status(status: &str, mark: &str, detail: &str) -> Told {
    (vec![status.to_owned(), mark.to_owned(), detail.to_owned()], Vec::new())
}

/// Who wrote last, as both scripts look at it: nothing, or why they refuse.
fn refused(
    keys: &Keyspace,
    key: &str,
    mark: &str,
    [engine, epoch, incarnation]: [&str; 3],
) -> Result<Option<Told>, String> {
    let stored = keys.hash(key)?;
    let field = |name| stored.and_then(|stored| stored.get(name)).map(String::as_str);
    let stored_epoch = field("epoch").unwrap_or("0");
    Ok(match (field("engine"), field("incarnation")) {
        (Some(other), _) if other != engine => Some(status("OTHER_ENGINE", mark, other)),
        _ if number(stored_epoch)? > number(epoch)? => Some(status("STALE_EPOCH", mark, stored_epoch)),
        (_, Some(other)) if number(stored_epoch)? == number(epoch)? && other != incarnation => {
            Some(status("FORKED", mark, other))
        }
        _ => None,
    })
}

fn deliver(keys: &Keyspace, [ledger, sales]: [&str; 2], arguments: &[&str]) -> Outcome {
    let [engine, epoch, incarnation, first, records @ ..] = arguments else {
        return Err("ERR too few arguments".to_owned());
    };
    let stored = keys.hash(ledger)?;
    let field = |name: &str| stored.and_then(|stored| stored.get(name)).map_or("0", String::as_str);
    let mark = field("last");
    if let Some(refusal) = refused(keys, ledger, mark, [engine, epoch, incarnation])? {
        return Ok(refusal);
    }
    let (last, mut units, mut expected) = (number(mark)?, number(field("units"))?, number(first)?);
    if expected > last + 1 {
        return Ok(status("GAP", mark, first));
    }
    let found = if records.is_empty() { None } else { keys.hash(sales)? };
    let (mut fresh, mut top) = (Vec::new(), mark);
    for record in records.chunks_exact(3) {
        let [sequence, quantity, text] = *record else { continue };
        if number(sequence)? != expected {
            return Err(format!("ERR the batch is not gapless at sequence {sequence}"));
        }
        match found.and_then(|found| found.get(sequence)) {
            None => fresh.push((sequence.to_owned(), text.to_owned())),
            Some(there) if there != text => return Ok(status("CONFLICT", mark, sequence)),
            Some(_) => {}
        }
        if expected > last {
            units += number(quantity)?;
            top = sequence;
        }
        expected += 1;
    }
    let mut effects = Vec::new();
    if !fresh.is_empty() {
        effects.push(Effect::HashSet(sales.to_owned(), fresh));
    }
    let writer = writer([engine, epoch, incarnation]);
    let counts = [("last".to_owned(), top.to_owned()), ("units".to_owned(), units.to_string())];
    effects.push(Effect::HashSet(ledger.to_owned(), writer.into_iter().chain(counts).collect()));
    Ok((vec!["OK".to_owned(), top.to_owned(), String::new()], effects))
}

/// The broken variant: it neither compares nor skips, and counts whatever comes.
fn deliver_blindly(keys: &Keyspace, [ledger, sales]: [&str; 2], arguments: &[&str]) -> Outcome {
    let [engine, epoch, incarnation, _first, records @ ..] = arguments else {
        return Err("ERR too few arguments".to_owned());
    };
    let units = keys.hash(ledger)?.and_then(|stored| stored.get("units")).map_or(Ok(0), |units| number(units))?;
    let (mut units, mut top, mut pairs) = (units, "0", Vec::new());
    for record in records.chunks_exact(3) {
        let [sequence, quantity, text] = *record else { continue };
        (units, top) = (units + number(quantity)?, sequence);
        pairs.push((sequence.to_owned(), text.to_owned()));
    }
    let counts = [("last".to_owned(), top.to_owned()), ("units".to_owned(), units.to_string())];
    let writer = writer([engine, epoch, incarnation]).into_iter().chain(counts).collect();
    let effects = vec![Effect::HashSet(sales.to_owned(), pairs), Effect::HashSet(ledger.to_owned(), writer)];
    Ok((vec!["OK".to_owned(), top.to_owned(), String::new()], effects))
}

fn writer([engine, epoch, incarnation]: [&str; 3]) -> Vec<(String, String)> {
    let fields = [("engine", engine), ("epoch", epoch), ("incarnation", incarnation)];
    fields.into_iter().map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
}

fn entry_id(text: &str) -> Result<EntryId, String> {
    let (record, part) = text.split_once('-').ok_or_else(|| format!("ERR {text} is no id"))?;
    Ok((number(record)?, number(part)?))
}

fn post(keys: &Keyspace, [whose, stream]: [&str; 2], arguments: &[&str]) -> Outcome {
    let [engine, epoch, incarnation, after, rest @ ..] = arguments else {
        return Err("ERR too few arguments".to_owned());
    };
    keys.hash(whose)?;
    let (mut last, newest) = match keys.0.get(stream) {
        None => ((0, 0), None),
        Some(Entry::Stream { last, entries }) => (*last, entries.last()),
        Some(_) => return Err(WRONG_TYPE.to_owned()),
    };
    let mark = format!("{}-{}", last.0, last.1);
    if let Some(refusal) = refused(keys, whose, &mark, [engine, epoch, incarnation])? {
        return Ok(refusal);
    }
    if entry_id(after)? > last {
        return Ok(status("GAP", &mark, after));
    }
    if rest.is_empty() {
        let entry = newest.filter(|(id, _)| *id == last).map_or_else(Vec::new, |(_, words)| words.clone());
        return Ok(([vec!["OK".to_owned(), mark, String::new()], entry].concat(), Vec::new()));
    }
    let mut effects = vec![Effect::HashSet((*whose).to_owned(), writer([engine, epoch, incarnation]))];
    let mut rest = rest;
    while let [id, count, words @ ..] = rest {
        let count = usize::try_from(number(count)?).map_err(|_| "ERR too many words".to_owned())?;
        if words.len() < count {
            return Err("ERR too few words".to_owned());
        }
        let entry = entry_id(id)?;
        if entry > last {
            let words = words[..count].iter().map(|word| (*word).to_owned()).collect();
            effects.push(Effect::Add((*stream).to_owned(), entry, words));
            last = entry;
        }
        rest = &words[count..];
    }
    Ok((vec!["OK".to_owned(), format!("{}-{}", last.0, last.1), String::new()], effects))
}
