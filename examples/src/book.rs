//! The README and the pages of the book, so that their Rust examples compile and run as doctests.

#[doc = include_str!("../../README.md")]
mod readme {}

#[doc = include_str!("../../docs/src/introduction.md")]
mod introduction {}

#[doc = include_str!("../../docs/src/getting-started.md")]
mod getting_started {}

#[doc = include_str!("../../docs/src/stories.md")]
mod stories {}

#[doc = include_str!("../../docs/src/guarantees.md")]
mod guarantees {}

#[doc = include_str!("../../docs/src/architecture.md")]
mod architecture {}

#[doc = include_str!("../../docs/src/security.md")]
mod security {}

#[doc = include_str!("../../docs/src/operations.md")]
mod operations {}

#[doc = include_str!("../../docs/src/loadgen.md")]
mod loadgen {}

#[doc = include_str!("../../docs/src/faults.md")]
mod faults {}

#[doc = include_str!("../../docs/src/torture.md")]
mod torture {}
