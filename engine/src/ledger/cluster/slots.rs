//! Which server has which of the 16,384 slots.

use std::{collections::BTreeMap, fmt, sync::Arc};

use redis::{ConnectionAddr, Value};

const SLOTS: u16 = 16_384;

/// Host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// None for what isn't TCP.
    pub(super) fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) => Some(Self { host: host.clone(), port: *port }),
            _ => None,
        }
    }

    /// `host:port` in the words of `from`, which leaves out the host if it is its own.
    pub(super) fn parse(text: &str, from: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { &from.host } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    pub(super) fn to_dial(&self) -> ConnectionAddr {
        ConnectionAddr::Tcp(self.host.clone(), self.port)
    }

    pub(super) fn name(&self) -> Arc<str> {
        self.to_string().into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Who has which slots.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Ranges by their last slot; what lies in none of them has no owner.
    ranges: BTreeMap<u16, (u16, Address)>,
    /// Single slots that have moved since.
    moved: BTreeMap<u16, Address>,
    replicas: Vec<Address>,
}

impl Slots {
    /// The answer of `from` to `CLUSTER SLOTS`; None if it is none.
    pub(super) fn read(answer: &Value, from: &Address) -> Option<Self> {
        let mut slots = Self::default();
        for range in array(answer)? {
            let [first, last, primary, replicas @ ..] = array(range)? else { return None };
            let (first, last) = (number(first)?, number(last)?);
            slots.ranges.insert(last, (first, server(primary, from)?));
            slots.replicas.extend(replicas.iter().filter_map(|replica| server(replica, from)));
        }
        Some(slots)
    }

    pub(super) fn owner(&self, slot: u16) -> Option<Address> {
        if let Some(owner) = self.moved.get(&slot) {
            return Some(owner.clone());
        }
        let (_, (first, owner)) = self.ranges.range(slot..).next()?;
        (*first <= slot).then(|| owner.clone())
    }

    pub(super) fn moved(&mut self, slot: u16, to: &Address) {
        self.moved.insert(slot, to.clone());
    }

    /// Everybody that was named.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.ranges.values().map(|(_, owner)| owner).chain(&self.replicas)
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

/// A server as `from` names it; one that doesn't know its own host leaves it out.
fn server(value: &Value, from: &Address) -> Option<Address> {
    let [host, port, ..] = array(value)? else { return None };
    let host = match host {
        Value::BulkString(host) => str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    let host = if host.is_empty() || host == "?" { &from.host } else { host };
    Some(Address { host: host.to_owned(), port: number(port)? })
}

/// The slot of `key`: CRC-16 (XMODEM) of its hash tag, or of all of it.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address { host: "10.0.0.1".to_owned(), port }
    }

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString("id".into())])
    }

    #[test]
    fn a_slot_is_the_checksum_of_the_hash_tag() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        // As the documentation of Redis Cluster, and CLUSTER KEYSLOT, have them.
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("sellout:{mx3}:ledger"), slot("sellout:{mx3}:sales"));
        assert_eq!(slot("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }

    #[test]
    fn who_has_a_slot_is_read_and_followed() {
        let range = |first, last, port| {
            Value::Array(vec![Value::Int(first), Value::Int(last), node("10.0.0.1", port), node("", port + 3)])
        };
        let answer = Value::Array(vec![range(0, 5_460, 1), range(5_461, 9_999, 2)]);
        let mut slots = Slots::read(&answer, &at(9)).unwrap();
        assert_eq!(slots.owner(0), Some(at(1)));
        assert_eq!(slots.owner(5_461), Some(at(2)));
        assert_eq!(slots.owner(10_000), None);
        assert_eq!(slots.addresses().cloned().collect::<Vec<_>>(), [at(1), at(2), at(4), at(5)]);
        slots.moved(5_461, &at(1));
        assert_eq!((slots.owner(5_461), slots.owner(5_462)), (Some(at(1)), Some(at(2))));
        assert!(Slots::read(&Value::Okay, &at(9)).is_none());
    }

    #[test]
    fn who_leaves_out_its_host_means_its_own() {
        assert_eq!(Address::parse("10.0.0.1:7000", &at(1)), Some(at(7_000)));
        assert_eq!(Address::parse(":7000", &at(1)), Some(at(7_000)));
        assert_eq!(Address::parse("10.0.0.1", &at(1)), None);
    }
}
