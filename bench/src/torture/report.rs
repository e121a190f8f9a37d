//! The report: what was tried, and what was lost; a table for people, JSON for tools.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use super::{Kind, Settings, Tried, Verdict, Watch};

/// What was tried of one kind.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// The kind.
    pub kind: Kind,
    /// Tries, each with a seed of its own.
    pub tries: u64,
    /// How long they took.
    pub seconds: f64,
    /// Orders that were acknowledged.
    pub acknowledged: u64,
    /// What was done, and how often, in its order.
    #[serde(serialize_with = "as_map")]
    pub counts: Vec<(&'static str, u64)>,
    /// What was lost.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A try that lost something.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// Its kind.
    pub kind: Kind,
    /// Its first seed.
    pub seed: u64,
    /// The command that makes it again.
    pub replay: String,
    /// What was found.
    pub findings: Vec<String>,
    /// Where it can be looked at.
    pub kept: Option<PathBuf>,
}

/// What was tried, and what was lost.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The seed of the first try of each kind.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was ended by hand.
    pub stopped: bool,
    /// Orders that were acknowledged and are not there.
    pub missing: u64,
    /// Orders that are there more than once.
    pub twice: u64,
    /// Whatever else is wrong.
    pub wrong: u64,
    /// Kind by kind.
    pub tallies: Vec<Tally>,
    /// What was lost.
    pub losses: Vec<Loss>,
}

impl Report {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut kinds = settings.kinds.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let tally = |kind| Tally {
            kind,
            tries: 0,
            seconds: 0.0,
            acknowledged: 0,
            counts: Vec::new(),
            verdict: Verdict::default(),
        };
        Self {
            seed: settings.seed,
            seconds: 0.0,
            stopped: false,
            missing: 0,
            twice: 0,
            wrong: 0,
            tallies: kinds.into_iter().map(tally).collect(),
            losses: Vec::new(),
        }
    }

    /// Whether nothing was lost.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.losses.is_empty()
    }

    /// The place of the kind that is next: of those that may go on, the one that has had the least of its share.
    pub(super) fn next(&self, settings: &Settings) -> Option<usize> {
        let open =
            |tally: &Tally| tally.verdict.is_good() && settings.tries.is_none_or(|tries| tally.tries < tries.get());
        let had = |tally: &Tally| tally.seconds / tally.kind.share();
        let open = self.tallies.iter().enumerate().filter(|(_, tally)| open(tally));
        open.min_by(|(_, one), (_, other)| had(one).total_cmp(&had(other))).map(|(place, _)| place)
    }

    /// The kind at `place`, the seed of its next try, and how many more there may be.
    pub(super) fn turn(&self, settings: &Settings, place: usize) -> (Kind, u64, u64) {
        let tally = &self.tallies[place];
        let most = settings.tries.map_or(u64::MAX, |tries| tries.get() - tally.tries);
        (tally.kind, settings.seed.wrapping_add(tally.tries), most)
    }

    pub(super) fn add(&mut self, settings: &Settings, place: usize, seed: u64, took: Duration, tried: Tried) {
        let Tried { tries, acknowledged, counts, verdict, kept, lost_by } = tried;
        let tally = &mut self.tallies[place];
        tally.tries += tries;
        tally.seconds += took.as_secs_f64();
        tally.acknowledged += acknowledged;
        for (what, times) in counts {
            add_count(&mut tally.counts, what, times);
        }
        self.missing += verdict.missing;
        self.twice += verdict.twice;
        self.wrong += verdict.wrong;
        if !verdict.is_good() {
            let (kind, seed, findings) = (tally.kind, lost_by.unwrap_or(seed), verdict.findings.clone());
            self.losses.push(Loss { kind, seed, replay: replay(settings, kind, seed), findings, kept });
        }
        tally.verdict.add(verdict);
    }

    pub(super) fn end(&mut self, watch: &Watch) {
        (self.seconds, self.stopped) = (watch.elapsed().as_secs_f64(), watch.is_stopped());
        watch.clear();
    }

    /// One line of what was done so far.
    pub(super) fn line(&self) -> String {
        let tried = self.tallies.iter().map(|tally| format!("{} {}", grouped(tally.tries), tally.kind.name()));
        let tried: Vec<_> = tried.collect();
        let lost = self.missing + self.twice + self.wrong;
        format!("{}; lost: {}", tried.join(", "), if lost == 0 { "nothing".to_owned() } else { lost.to_string() })
    }

    /// Writes the table.
    ///
    /// # Errors
    /// What `out` says.
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { seed, seconds, stopped, .. } = self;
        let by_hand = if *stopped { ", ended by hand" } else { "" };
        writeln!(out, "seed {seed}, {:.1} minutes{by_hand}", seconds / 60.0)?;
        writeln!(out)?;
        let (kind, tries, acknowledged) = ("kind", "seeds", "acknowledged");
        writeln!(
            out,
            "{kind:<10} {tries:>10} {acknowledged:>13} {:>8} {:>6} {:>6}  tried",
            "missing", "twice", "wrong"
        )?;
        for Tally { kind, tries, acknowledged, counts, verdict, .. } in &self.tallies {
            let Verdict { missing, twice, wrong, .. } = verdict;
            let counts: Vec<_> = counts.iter().map(|(what, times)| format!("{what} {}", grouped(*times))).collect();
            let (kind, tries, acknowledged) = (kind.name(), grouped(*tries), grouped(*acknowledged));
            write!(out, "{kind:<10} {tries:>10} {acknowledged:>13} {missing:>8} {twice:>6} {wrong:>6}")?;
            writeln!(out, "  {}", counts.join(", "))?;
        }
        writeln!(out)?;
        if self.is_good() {
            return writeln!(out, "lost: nothing");
        }
        let Self { missing, twice, wrong, .. } = self;
        writeln!(out, "lost: {missing} missing, {twice} twice, {wrong} wrong")?;
        for Loss { kind, seed, replay, findings, kept } in &self.losses {
            writeln!(out)?;
            writeln!(out, "{} with seed {seed}:", kind.name())?;
            for finding in findings {
                writeln!(out, "  {finding}")?;
            }
            if let Some(kept) = kept {
                writeln!(out, "  kept in {}", kept.display())?;
            }
            writeln!(out, "  again: {replay}")?;
        }
        Ok(())
    }
}

/// `what` was done `times` more.
pub(super) fn add_count(counts: &mut Vec<(&'static str, u64)>, what: &'static str, times: u64) {
    match counts.iter_mut().find(|(known, _)| *known == what) {
        Some((_, sum)) => *sum += times,
        None => counts.push((what, times)),
    }
}

fn as_map<S: serde::Serializer>(counts: &[(&'static str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().copied())
}

/// The command that tries `kind` with `seed`, and nothing else.
fn replay(settings: &Settings, kind: Kind, seed: u64) -> String {
    let command = "cargo run --release -p sellout-bench -- torture";
    let Settings { threads, kills, broken, .. } = settings;
    let more = match kind {
        Kind::Kills | Kind::Redis => format!(" --kills {kills} --threads {threads}"),
        Kind::Failovers | Kind::Seeds | Kind::Histories => String::new(),
    };
    let broken = broken.map(|broken| format!(" --broken {}", broken.name())).unwrap_or_default();
    format!("{command} --only {} --seed {seed} --tries 1{more}{broken}", kind.name())
}

/// A number with a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    fn tried(tries: u64) -> Tried {
        let mut tried = Tried::new(tries, 1_000, Verdict::default());
        tried.count("kills", 200);
        tried
    }

    fn lost() -> Tried {
        let mut verdict = Verdict::default();
        verdict.missing(2, || "two orders".to_owned());
        Tried { kept: Some("/somewhere".into()), ..Tried::new(1, 10, verdict) }
    }

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        report.show(&mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_kind_has_its_share_of_the_time_and_each_try_a_seed_of_its_own() {
        let kinds = vec![Kind::Kills, Kind::Redis];
        let settings = Settings { seed: 42, kinds, ..Settings::new("bench".into()) };
        let mut report = Report::new(&settings);
        let mut seeds = Vec::new();
        for _ in 0..6 {
            let place = report.next(&settings).expect("it goes on");
            let (kind, seed, _) = report.turn(&settings, place);
            seeds.push((kind.name(), seed));
            report.add(&settings, place, seed, Duration::from_secs(10), tried(1));
        }
        let kills = seeds.iter().filter(|(kind, _)| *kind == "kills").map(|(_, seed)| *seed);
        assert_eq!(kills.collect::<Vec<_>>(), [42, 43, 44, 45], "{seeds:?}");
        assert!(text(&report).contains("kills 800"), "{}", text(&report));
        assert!(text(&report).ends_with("lost: nothing\n"), "{}", text(&report));
    }

    #[test]
    fn enough_tries_are_enough_and_a_kind_that_has_lost_is_not_tried_again() {
        let kinds = vec![Kind::Kills, Kind::Redis];
        let settings = Settings { tries: NonZeroU64::new(2), kinds, ..Settings::new("bench".into()) };
        let mut report = Report::new(&settings);
        report.add(&settings, 0, 1, Duration::ZERO, lost());
        assert_eq!(report.next(&settings), Some(1));
        report.add(&settings, 1, 1, Duration::ZERO, tried(2));
        assert_eq!(report.next(&settings), None);
        assert!(!report.is_good());
        let text = text(&report);
        for line in ["lost: 2 missing, 0 twice, 0 wrong", "missing: two orders", "kept in /somewhere"] {
            assert!(text.contains(line), "{line} is missing from:\n{text}");
        }
        let again =
            "again: cargo run --release -p sellout-bench -- torture --only kills --seed 1 --tries 1 --kills 200";
        assert!(text.contains(again), "{text}");
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn counts_are_a_map_for_tools() {
        let settings = Settings::new("bench".into());
        let mut report = Report::new(&settings);
        report.add(&settings, 0, 1, Duration::ZERO, tried(1));
        let json = serde_json::to_value(&report).expect("plain data");
        assert_eq!(json["tallies"][0]["counts"]["kills"], 200);
        assert_eq!((&json["tallies"][0]["kind"], &json["missing"]), (&"kills".into(), &0.into()));
    }
}
