//! What the tests of several crates share: real servers, each on a port of its own, in a folder of its own, and gone
//! when the test is; and what decides whether concurrent calls were answered rightly.

pub mod linearizable;
mod redis_server;
pub mod sale_model;

pub use redis_server::{PATIENCE, RedisServer, eventually};
