//! One life of the process that sells: it opens the journal, says what it found, and sells until it is killed.
//!
//! What holds: it never ends by itself while somebody listens, and it ends when nobody does any more.

use std::{
    convert::Infallible,
    fmt,
    io::{self, BufRead, Write},
    panic,
    path::PathBuf,
    process, thread,
};

use sellout::{Driver, Durability, Engine};

use super::{
    broken::Broken,
    seller::Seller,
    shop::{Shop, found},
    words::{Question, Word},
};
use crate::torture::delivery;

/// What the process that sells is told on its command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Life {
    /// The journal
    #[arg(long)]
    pub(super) journal: PathBuf,

    /// Whence its dice come
    #[arg(long)]
    pub(super) seed: u64,

    /// Which life of its series it is
    #[arg(long)]
    pub(super) number: u64,

    /// Threads that sell
    #[arg(long)]
    pub(super) threads: u64,

    /// The Redis that gets what is sold
    #[arg(long)]
    pub(super) redis: Option<String>,

    /// What it does wrong
    #[arg(long)]
    pub(super) broken: Option<Broken>,
}

impl Life {
    /// Lives it: the questions come by the standard input, what happens goes to the standard output.
    ///
    /// # Errors
    /// Why it could not go on, as text. That was said to who listens, too.
    pub fn live(&self) -> Result<Infallible, String> {
        self.sell().inspect_err(|why| say(&Word::Wrong(why.clone())))
    }

    fn sell(&self) -> Result<Infallible, String> {
        end_with_first_panic();
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(|error| text(&error))?;
        let questions: Vec<Question> = serde_json::from_str(&line).map_err(|error| text(&error))?;
        thread::spawn(end_with_parent);
        let durability = if self.broken == Some(Broken::Buffered) { Durability::Buffered } else { Durability::Synced };
        let engine = Engine::options().durability(durability).open(&self.journal).map_err(|error| text(&error))?;
        say(&Word::Opened(found(&engine)?));
        let shop = Shop::open(engine).map_err(|error| text(&error))?;
        let _ledger = match &self.redis {
            None => None,
            Some(url) => Some(delivery::deliver(url, &shop.engine)?),
        };
        // Without ticks nothing is written that nobody waits for.
        let _driver: Option<Driver> = (self.broken != Some(Broken::Buffered)).then(|| shop.engine.drive());
        let mut questions = Some(questions);
        thread::scope(|scope| {
            for number in 0..self.threads {
                let mut seller = Seller::new(self, &shop, number, questions.take().unwrap_or_default());
                scope.spawn(move || seller.sell());
            }
        });
        Err("nobody sells any more".to_owned())
    }
}

/// Says one word, with one write. Who has nobody to talk to ends.
pub(super) fn say(word: &Word) {
    let mut line = serde_json::to_string(word).expect("words are plain data");
    line.push('\n');
    let mut out = io::stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}

/// Waits for the end of the standard input, and ends the process then: whoever started it is gone.
fn end_with_parent() {
    // What else may come is nothing that it knows: only the end counts.
    let _ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
    process::exit(0);
}

/// A panic of one thread ends the process: it is not hidden by the others, which go on.
fn end_with_first_panic() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        told(panic);
        process::exit(101);
    }));
}

fn text(error: &dyn fmt::Display) -> String {
    error.to_string()
}
