//! A contest: ours against others, measured in turn, so that what slows the machine slows both.
//!
//! Every other one runs once; the fastest of them stays. Then a round is A B B A: two pairs of neighbours, one in
//! each order. The ratio is the median over all pairs.

use std::fmt;

use crate::stats::{Estimate, estimate, median};

/// Something that can be measured.
pub struct Subject {
    /// What it is called in the report.
    pub name: &'static str,
    /// One run from the start: operations a second.
    rate: Box<dyn Fn() -> f64>,
}

impl Subject {
    /// A subject called `name`; `rate` runs it once and says how many operations a second it did.
    pub fn new(name: &'static str, rate: impl Fn() -> f64 + 'static) -> Self {
        Self { name, rate: Box::new(rate) }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Ours, and those with whom it is compared.
#[derive(Debug)]
pub struct Contest {
    /// What is done.
    pub name: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// On how many threads at once.
    pub threads: usize,
    /// Ours.
    pub ours: Subject,
    /// The others: the best of them counts.
    pub others: Vec<Subject>,
}

/// How a contest came out.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// What was done.
    pub name: &'static str,
    /// What was counted.
    pub unit: &'static str,
    /// On how many threads at once.
    pub threads: usize,
    /// Ours: the median of its runs.
    pub ours: f64,
    /// The best of the others: the median of its runs.
    pub other: f64,
    /// Which of the others that was.
    pub other_name: &'static str,
    /// Ours by the other: the median over pairs of neighbours.
    pub ratio: f64,
    /// The lower end of the ratio's 95% interval.
    pub low: f64,
    /// The upper end of the ratio's 95% interval.
    pub high: f64,
}

impl Contest {
    /// Measures it over `rounds` rounds.
    ///
    /// # Panics
    /// If there is nobody to compare with, or no round.
    #[must_use]
    pub fn hold(&self, rounds: usize) -> Row {
        let (ours, other) = (&self.ours, self.best());
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            a.push((ours.rate)());
            b.push((other.rate)());
            b.push((other.rate)());
            a.push((ours.rate)());
        }
        let pairs: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
        let Estimate { median: ratio, low, high } = estimate(&pairs);
        Row {
            name: self.name,
            unit: self.unit,
            threads: self.threads,
            ours: median(&a),
            other: median(&b),
            other_name: other.name,
            ratio,
            low,
            high,
        }
    }

    /// The fastest of the others in one run each; a single one runs all the same, to get warm.
    fn best(&self) -> &Subject {
        let measured = self.others.iter().map(|other| (other, (other.rate)()));
        let best = measured.max_by(|(_, left), (_, right)| left.total_cmp(right));
        best.expect("a contest has somebody to compare with").0
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    fn contest(log: &Rc<RefCell<String>>) -> Contest {
        let subject = |name: &'static str, rate: f64| {
            let log = Rc::clone(log);
            Subject::new(name, move || {
                log.borrow_mut().push_str(name);
                rate
            })
        };
        let others = vec![subject("C", 2.0), subject("B", 4.0)];
        Contest { name: "test", unit: "a second", threads: 1, ours: subject("A", 6.0), others }
    }

    #[test]
    fn the_best_of_the_others_is_compared_in_turn() {
        let log = Rc::default();
        let row = contest(&log).hold(2);
        assert_eq!(
            *log.borrow(),
            "CB" /* who is best */
                .to_owned()
                + "ABBA"
                + "ABBA"
        );
        assert_eq!((row.other_name, row.ours, row.other), ("B", 6.0, 4.0));
        assert_eq!((row.ratio, row.low, row.high), (1.5, 1.5, 1.5));
    }

    #[test]
    fn a_machine_that_slows_down_does_not_change_the_ratio() {
        let speed = Rc::new(RefCell::new(1.0));
        let subject = |name, rate: f64| {
            let speed = Rc::clone(&speed);
            Subject::new(name, move || {
                *speed.borrow_mut() *= 0.9;
                rate * *speed.borrow()
            })
        };
        let others = vec![subject("B", 1.0)];
        let row = Contest { name: "test", unit: "", threads: 1, ours: subject("A", 3.0), others }.hold(5);
        assert!((row.ratio - 3.0).abs() < 0.05, "{row:?}");
    }
}
