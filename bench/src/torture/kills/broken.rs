//! Negative controls: sellers that break a promise, for the sake of those who must notice.

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Broken {
    /// A payment is acknowledged before it is reported; the kill comes in between.
    AckBeforeAppend,
    /// A payment is acknowledged before its order is written to a file.
    Buffered,
    /// A payment is taken as new when it is reported again.
    SellsAgain,
    /// A payment is refunded, and its units are shipped all the same.
    RefundsAndShips,
    /// What Redis has lost is not delivered again.
    LeavesRedis,
}

impl Broken {
    /// Whether it is the process that sells that does it.
    pub(super) fn is_of_the_seller(self) -> bool {
        self != Self::LeavesRedis
    }

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeAppend => "ack-before-append",
            Self::Buffered => "buffered",
            Self::SellsAgain => "sells-again",
            Self::RefundsAndShips => "refunds-and-ships",
            Self::LeavesRedis => "leaves-redis",
        }
    }
}
