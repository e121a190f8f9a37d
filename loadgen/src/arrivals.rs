//! When people come: a rate curve a phase, and the schedule that follows from curve and seed.
//!
//! Arrivals are an open loop: they do not wait for answers. The whole schedule is fixed before the run starts, and is
//! generated lazily and in order, so that its memory does not grow with the number of arrivals.

pub mod curve;
pub mod schedule;
pub mod trace;

pub use curve::{Curve, Segment, Spacing};
pub use schedule::{Arrival, Schedule};
