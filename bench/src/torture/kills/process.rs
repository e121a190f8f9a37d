//! The process that sells, from outside: started, listened to, and killed.
//!
//! What holds: it is killed with SIGKILL and waited for before its journal is touched by anybody else; every whole
//! line that it wrote is heard, also those that it wrote just before its death; it never outlives this value.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use super::words::{Question, Word};

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Its end tells the process that nobody listens any more.
    _stdin: Option<ChildStdin>,
    errors: PathBuf,
    pub(super) words: Receiver<Word>,
}

impl Process {
    /// Starts `command`, which is asked `questions`. What it complains of goes to the file `errors`.
    pub(super) fn start(mut command: Command, questions: &[Question], errors: PathBuf) -> io::Result<Self> {
        // A group of its own: Ctrl-C is for whoever listens, not for the process.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let mut child = command.spawn()?;
        let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
        if let Some(stdin) = &mut stdin {
            let mut line = serde_json::to_string(questions)?;
            line.push('\n');
            // A process that has ended already is found by whoever listens.
            let _ended = stdin.write_all(line.as_bytes());
        }
        let (sender, words) = mpsc::channel();
        if let Some(stdout) = stdout {
            thread::spawn(move || hear(stdout, &sender));
        }
        Ok(Self { child, _stdin: stdin, errors, words })
    }

    /// Kills it. Everything that it said before is in `words` then, which end.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// How it ended, and the end of its complaints.
    pub(super) fn last_words(&mut self) -> String {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("{status}{}", complaints(&self.errors))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed and waited for before.
        let _gone = self.kill();
    }
}

fn hear(stdout: ChildStdout, words: &mpsc::Sender<Word>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    while stdout.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
        let unread = |error| Word::Wrong(format!("the line {line:?} can't be read: {error}"));
        let word = serde_json::from_str(&line).unwrap_or_else(unread);
        if words.send(word).is_err() {
            return;
        }
        line.clear();
    }
}

fn complaints(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut last: Vec<&str> = text.lines().rev().take(5).collect();
    last.reverse();
    if last.is_empty() { String::new() } else { format!(": {}", last.join(" / ")) }
}
