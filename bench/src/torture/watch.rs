//! The watch: until when it goes on, and what is seen of it meanwhile.

use std::{
    cell::{Cell, RefCell},
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How often a terminal sees something new.
const OFTEN: Duration = Duration::from_millis(200);
/// How often a file does.
const SELDOM: Duration = Duration::from_mins(1);

/// When it is over: by the time, or by hand.
#[derive(Debug, Clone)]
pub(super) struct End {
    until: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl End {
    pub(super) fn is_over(&self) -> bool {
        self.is_stopped() || self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn is_stopped(&self) -> bool {
        // Relaxed: the flag is the whole message.
        self.stop.load(Ordering::Relaxed)
    }
}

/// Says when it is over, and shows what is done until then.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    end: End,
    terminal: bool,
    shown: Cell<Instant>,
    /// What was done before the present try.
    before: RefCell<String>,
}

impl Watch {
    /// Over after `span`, if one is given, or once `stop` is set.
    #[must_use]
    pub fn start(span: Option<Duration>, stop: Arc<AtomicBool>) -> Self {
        let began = Instant::now();
        let until = span.and_then(|span| began.checked_add(span));
        let (terminal, shown) = (io::stderr().is_terminal(), Cell::new(began));
        Self { began, end: End { until, stop }, terminal, shown, before: RefCell::default() }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.is_over()
    }

    /// The same for other threads.
    pub(super) fn end(&self) -> End {
        self.end.clone()
    }

    /// Whether somebody has ended it by hand.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.end.is_stopped()
    }

    /// How long it has gone on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Shows what was done before the present try.
    pub(super) fn show(&self, before: &str) {
        before.clone_into(&mut self.before.borrow_mut());
        self.note(String::new);
    }

    /// Shows how far the present try is, if the last look was long enough ago.
    pub fn note(&self, now: impl FnOnce() -> String) {
        if self.shown.get().elapsed() < if self.terminal { OFTEN } else { SELDOM } {
            return;
        }
        self.shown.set(Instant::now());
        let minutes = self.elapsed().as_secs_f64() / 60.0;
        let line = format!("{minutes:.1} min  {}  {}", self.before.borrow(), now());
        let mut out = io::stderr().lock();
        // Who doesn't see the progress sees the report.
        let _unseen = if self.terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
    }

    /// Takes the progress off the terminal.
    pub(super) fn clear(&self) {
        if self.terminal {
            let _unseen = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
