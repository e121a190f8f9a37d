//! Kills: a real process sells on a journal, is killed with SIGKILL, and starts again on it, many times in a row.
//!
//! ```text
//! life    the process that sells       seller   one of its threads      shop      what is sold
//! words   what it says, and is asked   process  the same from outside   broken    negative controls
//! book    what it has promised         settle   the end of a series     ledger    a Redis beside it
//! ```
//!
//! What holds: the process says what it promises after the promise is durable, over a pipe; whoever listens keeps
//! that beyond its death, and holds it against the journal after each one. A kill comes after a number of
//! answers and a little later, or while the journal is still being recovered.

mod book;
mod broken;
mod ledger;
mod life;
mod process;
mod seller;
mod settle;
mod shop;
mod words;

use std::{
    path::PathBuf,
    process::Command,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use sellout::JournalReader;
use tempfile::TempDir;

use super::{Dice, TortureError, Tried};
use book::Book;
use ledger::Ledger;
use process::Process;
use words::Word;

pub use broken::Broken;
pub use life::Life;

/// The hidden subcommand of this program that is one [`Life`].
pub const LIFE: &str = "sell-until-killed";
/// How long the process that sells may take until it has answered enough.
const PATIENCE: Duration = Duration::from_mins(2);
/// The most payments of each kind that a life is asked to report again.
const QUESTIONS: usize = 8;

/// How a series is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// The program whose subcommand [`LIFE`] sells.
    pub program: PathBuf,
    /// Threads that sell.
    pub threads: u64,
    /// Whether a Redis gets what is sold, and is killed, too.
    pub redis: bool,
    /// What is done wrong, as a negative control.
    pub broken: Option<Broken>,
}

impl Plan {
    /// Lives of `program`, which sells with two threads.
    #[must_use]
    pub const fn new(program: PathBuf) -> Self {
        Self { program, threads: 2, redis: false, broken: None }
    }
}

/// A series of lives on one journal.
#[derive(Debug)]
pub struct Series {
    plan: Plan,
    seed: u64,
    dice: Dice,
    folder: TempDir,
    book: Book,
    reader: Option<JournalReader>,
    ledger: Option<Ledger>,
    /// How long it took lately from the start of the process until its journal was open.
    opening: Duration,
    lives: u64,
    kills: u64,
    /// Kills that came before the journal was open.
    recovering: u64,
}

/// When a life ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// While the journal is being recovered, after a part of the time that this took lately.
    Recovering { thousandths: u32 },
    /// After so many answers to payments, and a little later.
    Selling { answers: u64, then: Duration },
}

/// Why nobody listens to a life any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It is time for the kill.
    Due,
    /// It has ended by itself.
    Ended,
    /// It answers nothing any more.
    Stuck,
}

impl Series {
    /// A new journal, in a folder for temporary files.
    ///
    /// # Errors
    /// [`TortureError`] if there is no room for it, or no Redis on this machine and one is asked for.
    pub fn begin(plan: Plan, seed: u64) -> Result<Self, TortureError> {
        let folder = tempfile::Builder::new().prefix("sellout-torture-").tempdir().map_err(TortureError::Folder)?;
        let mut dice = Dice::of(seed, &[u64::MAX]);
        let ledger = plan.redis.then(|| Ledger::start(&mut dice)).transpose()?;
        Ok(Self {
            plan,
            seed,
            dice,
            folder,
            book: Book::default(),
            reader: None,
            ledger,
            opening: Duration::from_millis(30),
            lives: 0,
            kills: 0,
            recovering: 0,
        })
    }

    /// The folder of the journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Whether nothing was lost so far.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.book.verdict.is_good()
    }

    /// Orders that were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.book.acknowledged
    }

    /// How often the process was killed so far.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// One life: from its start to its kill, and what is found after it.
    ///
    /// # Errors
    /// [`TortureError::Process`] if the process can't be started or killed.
    pub fn live(&mut self) -> Result<(), TortureError> {
        self.lives += 1;
        let (end, redis_dies) = (self.end(), self.dice.one_in(4));
        // Dice of their own: what is known differs from run to run, when the kills come does not.
        let mut dice = Dice::of(self.seed, &[u64::MAX, self.lives]);
        let questions = self.book.questions(&mut dice, QUESTIONS, self.lives);
        let errors = self.folder.path().join("errors");
        let mut process = Process::start(self.command(), &questions, errors).map_err(TortureError::Process)?;
        let mut opened = false;
        let heard = self.listen(&process.words, end, redis_dies, &mut opened);
        match heard {
            Heard::Due => {
                process.kill().map_err(TortureError::Process)?;
                self.kills += 1;
                self.recovering += u64::from(!opened);
            }
            Heard::Ended => {
                let last = process.last_words();
                self.book.verdict.wrong(|| format!("life {} ended by itself: {last}", self.lives));
            }
            Heard::Stuck => {
                process.kill().map_err(TortureError::Process)?;
                self.book.verdict.wrong(|| format!("life {} answered nothing more for {PATIENCE:?}", self.lives));
            }
        }
        process.words.iter().for_each(|word| {
            self.book.take(word);
        });
        self.look();
        Ok(())
    }

    /// The last opening of the journal, by this process: everything is asked again and sold, and what was lost is
    /// known.
    #[must_use]
    pub fn settle(mut self) -> Tried {
        self.look();
        let journal = self.journal();
        // What was lost stays as it was found.
        if let Some(reader) = &mut self.reader
            && self.book.verdict.is_good()
        {
            let settled = settle::settle(&journal, &mut self.book, reader, self.ledger.as_mut(), self.plan.broken);
            if let Err(why) = settled {
                self.book.verdict.wrong(|| why);
            }
        }
        let Book { acknowledged, in_baskets, offered, late, refunded, verdict, .. } = self.book;
        let mut tried = Tried::new(1, acknowledged, verdict);
        tried.count("kills", self.kills);
        tried.count("while recovering", self.recovering);
        if let Some(ledger) = &self.ledger {
            tried.count("kills of Redis", ledger.kills);
        }
        for (what, times) in
            [("in baskets", in_baskets), ("waited for", offered), ("paid late", late), ("refunded", refunded)]
        {
            tried.count(what, times);
        }
        if !tried.verdict.is_good() {
            self.folder.disable_cleanup(true);
            tried.kept = Some(self.folder.path().to_owned());
        }
        tried
    }

    fn end(&mut self) -> End {
        if self.plan.broken.is_some_and(Broken::is_of_the_seller) {
            // It breaks its promise at once, and does nothing more.
            return End::Selling { answers: 1, then: Duration::ZERO };
        }
        if self.dice.one_in(8) {
            return End::Recovering { thousandths: u32::try_from(self.dice.below(1_000)).unwrap_or(0) };
        }
        End::Selling { answers: 1 + self.dice.below(16), then: Duration::from_micros(self.dice.below(6_000)) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.plan.program);
        command.arg(LIFE).arg("--journal").arg(self.journal());
        for (name, number) in [("--seed", self.seed), ("--number", self.lives), ("--threads", self.plan.threads)] {
            command.arg(name).arg(number.to_string());
        }
        if let Some(ledger) = &self.ledger {
            command.arg("--redis").arg(ledger.url());
        }
        if let Some(broken) = self.plan.broken {
            command.arg("--broken").arg(broken.name());
        }
        command
    }

    /// Takes down what the process says until its end is due.
    fn listen(&mut self, words: &Receiver<Word>, end: End, redis_dies: bool, opened: &mut bool) -> Heard {
        let began = Instant::now();
        let (mut answers, mut ends, mut due) = match end {
            End::Recovering { thousandths } => (0, true, began + self.opening * thousandths / 1_000),
            End::Selling { .. } => (0, false, began + PATIENCE),
        };
        loop {
            let now = Instant::now();
            if now >= due {
                return if ends { Heard::Due } else { Heard::Stuck };
            }
            match words.recv_timeout(due - now) {
                Ok(word) => {
                    if matches!(word, Word::Opened(_)) {
                        (*opened, self.opening) = (true, began.elapsed());
                    }
                    answers += u64::from(self.book.take(word));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Heard::Ended,
            }
            if let End::Selling { answers: enough, then } = end
                && answers >= enough
                && !ends
            {
                if redis_dies && let Some(ledger) = &mut self.ledger {
                    ledger.kill();
                }
                (ends, due) = (true, Instant::now() + then);
            }
        }
    }

    /// Looks at the journal while nobody writes to it.
    fn look(&mut self) {
        if self.reader.is_none() {
            match JournalReader::open(self.journal()) {
                Ok(reader) => self.reader = Some(reader),
                // The very first lives may be too short to make one.
                Err(_) if self.book.acknowledged == 0 => {}
                Err(error) => self.book.verdict.wrong(|| format!("the journal can't be read: {error}")),
            }
        }
        if let Some(reader) = &mut self.reader {
            self.book.read(reader);
        }
    }
}
