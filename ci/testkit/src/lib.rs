//! Real servers for the tests of several crates: each on a port of its own, in a folder of its own, and gone when the
//! test is.

mod redis_cluster;
mod redis_sentinels;
mod redis_server;

pub use redis_cluster::RedisCluster;
pub use redis_sentinels::RedisSentinels;
pub use redis_server::{PATIENCE, RedisServer, eventually};
