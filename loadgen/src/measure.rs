//! Measuring: histograms a worker, merged at the end, and what measuring itself costs.

pub mod cost;
pub mod histogram;

pub use cost::{MeasuringCost, cpu_ns_of_process, cpu_ns_of_thread};
pub use histogram::{Latencies, Percentiles};
