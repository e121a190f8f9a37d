//! Events: what happened, for whoever draws a live page. Messages to customers come from the outbox.
//!
//! A subscription is a bounded queue. Publishing never waits: an event that finds a queue full is counted there as
//! missed, and the subscriber learns how many. Nobody's events are delayed by another's full queue.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

use crate::core::{Buyer, Timestamp, Token};

/// What happened to a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It opened.
    Opened,
    /// Units were put on hold.
    Held {
        /// For whom.
        buyer: Buyer,
        /// How many.
        quantity: u32,
        /// The hold.
        token: Token,
        /// When it falls due.
        deadline: Timestamp,
    },
    /// A hold was sold, and the sale is on disk if there is a journal.
    Confirmed {
        /// To whom.
        buyer: Buyer,
        /// How many units.
        quantity: u32,
        /// The hold.
        token: Token,
        /// The order's number in the sale.
        sequence: u64,
    },
    /// A hold was cancelled.
    Cancelled {
        /// Whose it was.
        buyer: Buyer,
        /// How many units came back.
        quantity: u32,
    },
    /// A hold expired.
    Expired {
        /// Whose it was.
        buyer: Buyer,
        /// How many units came back.
        quantity: u32,
    },
    /// A unit has come back and is on hold for whoever was first on the waitlist.
    Offered {
        /// For whom.
        buyer: Buyer,
        /// The hold.
        token: Token,
        /// Until when it can be accepted.
        accept_by: Timestamp,
    },
    /// Whoever was first on the waitlist had all that the cap allows, and waits no more.
    PassedOver {
        /// Who.
        buyer: Buyer,
    },
    /// Units are free again after a time in which none was.
    Restocked,
    /// The last free unit was taken; units on hold may come back.
    AllHeld,
    /// Every unit is sold.
    SoldOut,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The sale's name.
    pub sale: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

struct Queue {
    events: ArrayQueue<Event>,
    missed: AtomicU64,
}

/// A subscription to the events of one engine. Dropping it ends it.
#[must_use = "a dropped subscription receives nothing"]
pub struct Events {
    queue: Arc<Queue>,
}

impl Events {
    /// The next event, if one is there. Events of one thread come in the order in which they happened.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.queue.events.pop()
    }

    /// How many events found the queue full since this was last asked.
    #[must_use]
    pub fn take_missed(&self) -> u64 {
        // Relaxed: a count, nothing hangs on it.
        self.queue.missed.swap(0, Ordering::Relaxed)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("waiting", &self.queue.events.len()).finish_non_exhaustive()
    }
}

/// Where events are published.
pub(crate) struct Hub {
    queues: ArcSwap<Vec<Weak<Queue>>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self { queues: ArcSwap::from_pointee(Vec::new()) }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Events {
        let queue = Arc::new(Queue { events: ArrayQueue::new(capacity.max(1)), missed: AtomicU64::new(0) });
        self.queues.rcu(|queues| {
            let living = queues.iter().filter(|queue| queue.strong_count() > 0);
            living.cloned().chain([Arc::downgrade(&queue)]).collect::<Vec<_>>()
        });
        Events { queue }
    }

    /// Whether nobody listens: then an event need not be made.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.queues.load().is_empty()
    }

    #[cold]
    pub(crate) fn publish(&self, event: &Event) {
        for queue in self.queues.load().iter().filter_map(Weak::upgrade) {
            if queue.events.push(event.clone()).is_err() {
                // Relaxed: as in `take_missed`.
                queue.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("subscriptions", &self.queues.load().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(millis: u64) -> Event {
        Event { sale: "books".into(), at: Timestamp::from_millis(millis), kind: EventKind::Opened }
    }

    #[test]
    fn a_full_queue_counts_what_it_missed_and_keeps_the_oldest() {
        let hub = Hub::new();
        let (narrow, wide) = (hub.subscribe(2), hub.subscribe(10));
        for millis in 0..5 {
            hub.publish(&event(millis));
        }
        assert_eq!((narrow.try_next(), narrow.try_next(), narrow.try_next()), (Some(event(0)), Some(event(1)), None));
        assert_eq!((narrow.take_missed(), narrow.take_missed()), (3, 0));
        assert_eq!(std::iter::from_fn(|| wide.try_next()).count(), 5);
    }

    #[test]
    fn a_dropped_subscription_is_forgotten() {
        let hub = Hub::new();
        drop(hub.subscribe(1));
        let _kept = hub.subscribe(1);
        assert_eq!(hub.queues.load().len(), 1);
    }
}
