//! How many units were taken at each instant: a step function over real time.

/// A step function, built from intervals in any order.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Instant and change; sorted by [`Timeline::build`].
    changes: Vec<(u64, i64)>,
    /// The level after each change.
    levels: Vec<i64>,
    before: i64,
}

impl Timeline {
    /// A timeline that starts at `before`.
    pub(super) const fn starting_at(before: i64) -> Self {
        Self { changes: Vec::new(), levels: Vec::new(), before }
    }

    /// `units` are taken in `from..until`; for ever if `until` is `u64::MAX`.
    pub(super) fn take(&mut self, units: i64, from: u64, until: u64) {
        if from < until {
            self.changes.push((from, units));
            if until < u64::MAX {
                self.changes.push((until, -units));
            }
        }
    }

    /// Sums up; at one instant what is given back counts before what is taken.
    pub(super) fn build(mut self) -> Self {
        self.changes.sort_unstable();
        let mut level = self.before;
        self.levels = self
            .changes
            .iter()
            .map(|(_, change)| {
                level += change;
                level
            })
            .collect();
        self
    }

    /// The highest level ever, and the first instant at which it was reached.
    pub(super) fn peak(&self) -> (i64, u64) {
        let mut peak = (self.before, 0);
        for (level, (instant, _)) in self.levels.iter().zip(&self.changes) {
            if *level > peak.0 {
                peak = (*level, *instant);
            }
        }
        peak
    }

    /// The first instant at which `level` was reached.
    pub(super) fn first_at(&self, level: i64) -> Option<u64> {
        if self.before >= level {
            return Some(0);
        }
        self.levels.iter().position(|reached| *reached >= level).map(|place| self.changes[place].0)
    }

    /// Since when the level is at least `level`, up to the end.
    pub(super) fn last_since(&self, level: i64) -> Option<u64> {
        let below = self.levels.iter().rposition(|reached| *reached < level);
        match below {
            None if self.before >= level => Some(0),
            None => self.changes.first().map(|(instant, _)| *instant),
            Some(place) => self.changes.get(place + 1).map(|(instant, _)| *instant),
        }
    }

    /// The lowest level in `from..=until`, the level that `from` begins with included.
    pub(super) fn lowest_in(&self, from: u64, until: u64) -> i64 {
        let first = self.changes.partition_point(|(instant, _)| *instant < from);
        let last = self.changes.partition_point(|(instant, _)| *instant <= until);
        let begins_with = first.checked_sub(1).map_or(self.before, |place| self.levels[place]);
        self.levels[first..last].iter().copied().fold(begins_with, i64::min)
    }

    /// The highest level in `from..=until`, the level that `from` begins with included.
    pub(super) fn highest_in(&self, from: u64, until: u64) -> i64 {
        let first = self.changes.partition_point(|(instant, _)| *instant < from);
        let last = self.changes.partition_point(|(instant, _)| *instant <= until);
        let begins_with = first.checked_sub(1).map_or(self.before, |place| self.levels[place]);
        self.levels[first..last].iter().copied().fold(begins_with, i64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Timeline {
        let mut timeline = Timeline::starting_at(1);
        timeline.take(2, 10, 20);
        timeline.take(1, 20, u64::MAX);
        timeline.take(4, 15, 18);
        timeline.build()
    }

    #[test]
    fn the_peak_is_where_intervals_overlap_and_touching_is_not_overlapping() {
        assert_eq!(three().peak(), (7, 15));
        assert_eq!(three().first_at(3), Some(10));
        assert_eq!(three().first_at(8), None);
        assert_eq!(three().last_since(2), Some(20), "at one instant what is given back counts first");
        assert_eq!(three().last_since(3), None);
        assert_eq!(Timeline::starting_at(4).build().last_since(4), Some(0));
    }

    #[test]
    fn a_window_sees_what_it_begins_with_and_what_happens_in_it() {
        let timeline = three();
        assert_eq!(timeline.highest_in(0, 9), 1);
        assert_eq!(timeline.highest_in(12, 14), 3);
        assert_eq!(timeline.highest_in(12, 15), 7);
        assert_eq!(timeline.highest_in(18, 19), 7, "what ends at the window's start may have lasted into it");
        assert_eq!(timeline.highest_in(21, 22), 2);
        assert_eq!((timeline.lowest_in(12, 20), timeline.lowest_in(16, 17)), (1, 7));
    }
}
