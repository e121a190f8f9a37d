//! What the tests of several crates share: real servers, each on a port of its own, in a folder of its own, and gone
//! when the test is; and what decides whether concurrent calls were answered rightly.

mod fault_proxy;
pub mod linearizable;
mod redis_cluster;
mod redis_sentinels;
mod redis_server;
pub mod sale_model;

pub use fault_proxy::{Carried, Fault, FaultProxy, Harm, Way};
pub use redis_cluster::RedisCluster;
pub use redis_sentinels::RedisSentinels;
pub use redis_server::{PATIENCE, RedisServer, StandStill, eventually};
