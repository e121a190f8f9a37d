//! What operators and the world do: stock and rules, compactions, deliveries, faults of Redis, and the end of a
//! process.
//!
//! What holds: a change whose answer is an error is unknown to the oracle until the next opening tells; a process that
//! ends leaves nobody waiting.

use super::{
    Run, millis,
    oracle::{Checked, NAMES, ensure},
    world::Death,
};
use crate::{ChangeError, CompactError, Message, Outbox, Timestamp, Units};

impl Run {
    pub(super) fn stock(&mut self, number: usize) {
        let (sale, units) = (self.sale(number), 1 + self.dice.units(3));
        if self.dice.one_in(2) {
            let withdrawn = sale.withdraw(units);
            self.trace.note(format_args!("{units} of {number} are withdrawn: {withdrawn:?}"));
            let rules = &mut self.oracle.rules[number];
            match withdrawn {
                Ok(units) => rules.withdrawn += units,
                Err(_) => rules.perhaps_withdrawn += units,
            }
            return;
        }
        let labels = matches!(sale.spec().units, Units::Listed(_));
        let added = if labels {
            let from = self.labels;
            self.labels += units;
            sale.add_listed((from..from + units).map(|label| format!("extra-{label}")))
        } else {
            sale.add_stock(units)
        };
        self.trace.note(format_args!("{units} of {number} are added: {added:?}"));
        let rules = &mut self.oracle.rules[number];
        match added {
            Ok(()) => rules.added += units,
            Err(_) => rules.perhaps_added += units,
        }
    }

    /// What operators change.
    pub(super) fn rules(&mut self, number: usize) {
        let sale = self.sale(number);
        let failed = |why: ChangeError| matches!(why, ChangeError::Journal(_));
        match self.dice.below(40) {
            0..8 => {
                let paused = self.dice.one_in(3);
                let done = if paused { sale.pause() } else { sale.resume() };
                self.oracle.rules[number].paused = done.is_ok().then_some(paused);
            }
            8..16 => {
                let halted = self.dice.one_in(3);
                let done = if halted { self.world.engine.pause_all() } else { self.world.engine.resume_all() };
                self.oracle.halted = done.is_ok().then_some(halted);
            }
            16..28 => {
                let now = self.world.engine.now();
                let opens = self.dice.one_in(3).then(|| now.plus(millis(self.dice.below(9_000))));
                let closes = self.dice.one_in(3).then(|| now.plus(millis(9_000 + self.dice.below(60_000))));
                match sale.move_window(opens, closes) {
                    Ok(()) => self.oracle.rules[number].window = Some((opens, closes)),
                    Err(why) if failed(why.clone()) => self.oracle.rules[number].window = None,
                    Err(_) => {}
                }
            }
            28..39 => {
                let cap = 1 + self.dice.units(4);
                let rules = &mut self.oracle.rules[number];
                match sale.set_cap(cap) {
                    Ok(()) => (rules.cap, rules.highest) = (Some(cap), rules.highest.max(cap)),
                    Err(_) => rules.cap = None,
                }
            }
            _ if self.dice.one_in(4) => {
                let closed = sale.close().is_ok();
                let rules = &mut self.oracle.rules[number];
                (rules.closed, rules.perhaps_closed) = (rules.closed || closed, true);
            }
            _ => {}
        }
        self.trace.note(format_args!("rules of {number}: {:?}", self.oracle.rules[number]));
    }

    /// The journal is compacted, now and then while the disk fails, and whoever is reading it reads on.
    pub(super) fn compact(&mut self) -> Checked {
        let mut told = Vec::new();
        let half = 1 + self.dice.place(20).unwrap_or_default();
        let reader = self.world.engine.outbox().ok().flatten();
        let reader = reader.and_then(|mut reader| reader.read(half, &mut told).is_ok().then_some(reader));
        if self.faults && self.dice.one_in(3) {
            self.world.break_disk(80, &mut self.dice);
            self.tried.disk_faults += 1;
        }
        let compacted = self.world.engine.compact();
        self.trace.note(format_args!("compacted: {compacted:?}"));
        match compacted {
            Ok(Some(compacted)) => self.tried.compactions += u64::from(compacted.segments > 0),
            Err(CompactError::Stopped(_) | CompactError::Read(_) | CompactError::Io { .. })
                if !self.world.is_disk_sound() =>
            {
                self.tried.compactions_in_vain += 1;
                if self.dice.one_in(2) {
                    self.world.make_room();
                }
            }
            other => return Err(format!("G4: not compacted: {other:?}")),
        }
        match reader {
            Some(reader) => self.read_on(reader, told),
            None => Ok(()),
        }
    }

    /// Who has read half of the journal before reads the rest.
    fn read_on(&mut self, mut reader: Outbox, mut told: Vec<Message>) -> Checked {
        let mut anew = Vec::new();
        let fresh =
            self.world.engine.outbox().map(|fresh| fresh.map(|mut fresh| fresh.read(usize::MAX - 1, &mut anew)));
        let read = (reader.read(usize::MAX - 1 - told.len(), &mut told), fresh);
        match read {
            (Ok(()), Ok(Some(Ok(())))) => {
                let same = told == anew && told.starts_with(&self.oracle.told);
                ensure!(same, "G5: {} messages were read along, {} anew", told.len(), anew.len());
            }
            other => ensure!(!self.world.is_disk_sound(), "G4: the journal can't be read: {other:?}"),
        }
        if self.world.is_disk_sound() {
            self.sync()?;
            self.orders()?;
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self) {
        let span = millis(self.dice.below(3_000));
        self.world.deliver(span);
        self.tried.deliveries += 1;
        if self.dice.one_in(2) {
            let most = self.dice.place(4).unwrap_or_default();
            self.world.network.server(|server| server.replicate(most));
        }
    }

    /// Something goes wrong with Redis.
    pub(super) fn break_redis(&mut self) {
        self.tried.redis_faults += 1;
        let number = self.dice.place(NAMES.len()).unwrap_or_default();
        let choice = self.dice.below(8);
        self.trace.note(format_args!("redis fault {choice}"));
        let network = &self.world.network;
        match choice {
            0 => {
                let keeps = self.dice.one_in(2);
                network.server(|server| server.restart(keeps));
                self.tried.restarts += 1;
            }
            1 | 2 => {
                network.server(super::redis::Server::fail_over);
                self.tried.failovers += 1;
            }
            3 => network.server(super::redis::Server::flush_scripts),
            4 => {
                network.say_again();
            }
            5 => {
                let which = ["sales", "ledger"][self.dice.place(2).unwrap_or_default()];
                let key = format!("sellout:{{{}}}:{which}", NAMES[number]);
                let overwrites = self.dice.one_in(2);
                network.server(|server| if overwrites { server.overwrite(&key) } else { server.remove(&key) });
                if overwrites {
                    self.overwritten.insert(key);
                }
            }
            6 => network.lose([0, 3, 8][self.dice.place(3).unwrap_or_default()]),
            _ => {
                self.world.trouble(&mut self.dice);
            }
        }
    }

    /// The process ends, and the next one begins.
    pub(super) fn end_of_life(&mut self) -> Checked {
        let failed = self.world.has_failed();
        let death = match self.dice.below(5) {
            0 if !failed => Death::Closed,
            0..3 => Death::Dark,
            _ => Death::Killed,
        };
        self.end_by(death)
    }

    pub(super) fn end_by(&mut self, death: Death) -> Checked {
        self.offered()?;
        if death == Death::Closed {
            // Somebody else may have broken the disk meanwhile: then it was no orderly end.
            let closed = self.world.engine.clone().close();
            ensure!(closed.is_ok() || self.world.has_failed(), "G4: {closed:?}");
            if closed.is_ok() {
                self.all_durable()?;
            }
        }
        let count = match death {
            Death::Closed => &mut self.tried.closings,
            Death::Killed => &mut self.tried.kills,
            Death::Dark => &mut self.tried.power_cuts,
        };
        *count += 1;
        // Nobody waits any more: the handles belong to the process.
        self.oracle.waiting.clear();
        let clock = crate::Clock::now(&*self.world.clock);
        let now = match self.dice.below(6) {
            0 => Timestamp::from_millis(clock.as_millis().saturating_sub(self.dice.below(100_000))),
            1 => clock.plus(millis(self.dice.below(40_000))),
            _ => clock,
        };
        self.trace.note(format_args!("{death:?}, and again at {now}"));
        self.world.end(death, now, self.faults, &mut self.dice)?;
        self.trace.note(format_args!("bits that flipped: {:?}", self.world.rotted));
        self.check()
    }
}
