//! Replays sell-out spikes against anything that sells, and says whether it sold right, and how fast.
//!
//! A [`scenario`] says what is sold, who comes when ([`arrivals`]) and how people behave. The [`runner`] plays it in an
//! open loop against a [`target`], on a [`clock`] that may run faster than real time. The proof ([`verify`]) comes from
//! the replies, not from the target's own counters; the [`report`] has it all.
//!
//! The crate is the `loadgen` program's inside: other targets can be plugged in here, the command line is [`cli`].

pub mod arrivals;
mod chance;
pub mod cli;
pub mod clock;
pub mod exit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod measure;
mod number;
mod people;
pub mod play;
pub mod report;
pub mod runner;
pub mod scenario;
mod shown;
pub mod target;
pub mod units;
pub mod verify;
