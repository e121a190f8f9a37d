//! The fault proxy does what it says, to the byte: otherwise whatever is proved through it is proved by luck.

#![expect(clippy::unwrap_used, reason = "a helper's unwrap is the proof's own failure, as a test's is")]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use sellout_testkit::{Fault, FaultProxy, Harm, RedisServer, Way};

/// A server that says back what it hears, and knows for each connection what that was.
struct Echo {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let ears = Arc::clone(&heard);
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let ears = Arc::clone(&ears);
                let number = {
                    let mut ears = ears.lock().unwrap();
                    ears.push(Vec::new());
                    ears.len() - 1
                };
                thread::spawn(move || {
                    let mut buffer = [0; 512];
                    while let Ok(count @ 1..) = client.read(&mut buffer) {
                        ears.lock().unwrap()[number].extend_from_slice(&buffer[..count]);
                        if client.write_all(&buffer[..count]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

fn fault(way: Way, after: u64, harm: Harm) -> [Option<Fault>; 1] {
    [Some(Fault { way, after, harm })]
}

fn dial(proxy: &FaultProxy) -> TcpStream {
    let url = proxy.url();
    TcpStream::connect(url.strip_prefix("redis://").unwrap()).unwrap()
}

fn text() -> Vec<u8> {
    (0..100).collect()
}

/// Says `text` in pieces, and hears what comes until the other end hangs up, or all has come.
fn converse(proxy: &FaultProxy, pieces: usize) -> Vec<u8> {
    let mut client = dial(proxy);
    for piece in text().chunks(pieces) {
        if client.write_all(piece).is_err() {
            break;
        }
    }
    let (mut heard, mut buffer) = (Vec::new(), [0; 512]);
    while heard.len() < text().len() {
        match client.read(&mut buffer) {
            Ok(count @ 1..) => heard.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    heard
}

#[test]
fn a_cut_lets_exactly_the_bytes_before_it_through() {
    let echo = Echo::start();
    let proxy = FaultProxy::before(echo.port);
    for pieces in [1, 7, 100] {
        for after in 0..text().len() {
            let before = &text()[..after];
            proxy.plan(fault(Way::Requests, after as u64, Harm::Cut));
            let answer = converse(&proxy, pieces);
            assert_eq!(echo.heard().last().unwrap(), before, "the server got other bytes");
            assert!(before.starts_with(&answer), "{answer:?} after {after}");
            let [carried] = &proxy.carried()[..] else { panic!("one connection") };
            assert_eq!((carried.requests.as_slice(), carried.struck), (before, true));

            proxy.plan(fault(Way::Replies, after as u64, Harm::Cut));
            assert_eq!(converse(&proxy, pieces), before, "the client got other bytes");
            let [carried] = &proxy.carried()[..] else { panic!("one connection") };
            assert_eq!((carried.replies.as_slice(), carried.struck), (before, true));
            assert_eq!(carried.requests, *echo.heard().last().unwrap());
        }
        for way in [Way::Requests, Way::Replies] {
            // Where nothing is, nothing is cut.
            proxy.plan(fault(way, 100, Harm::Cut));
            assert_eq!(converse(&proxy, pieces), text());
            assert_eq!(echo.heard().last().unwrap(), &text());
            assert!(!proxy.carried()[0].struck);
        }
    }
}

#[test]
fn a_redis_counts_as_many_bytes_as_the_proxy_says() {
    let server = RedisServer::start();
    let proxy = FaultProxy::before(server.port());
    let counted = || {
        let stats = server.ask::<String>("INFO stats");
        let count = stats.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
        count.unwrap().parse::<u64>().unwrap()
    };
    let (first, second) = (counted(), counted());
    let own = second - first;
    let write = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nsold\r\n";
    let both = format!("{write}*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    for after in 0..=both.len() {
        server.tell("DEL k");
        proxy.plan(fault(Way::Requests, after as u64, Harm::Cut));
        let before = counted();
        let mut client = dial(&proxy);
        client.write_all(both.as_bytes()).unwrap();
        if after == both.len() {
            client.shutdown(Shutdown::Write).unwrap();
        }
        // To the end: the proxy hangs up after the server.
        client.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(counted() - before - own, after as u64, "bytes at the server");
        let found: Option<String> = server.ask("GET k");
        assert_eq!(found.is_some(), after >= write.len(), "the request took effect after {after} bytes");
    }
}

#[test]
fn held_requests_arrive_late_and_held_replies_never() {
    let echo = Echo::start();
    let proxy = FaultProxy::before(echo.port);
    for after in [0, 1, 50, 99] {
        let heard = echo.heard().len();
        proxy.plan(fault(Way::Requests, after as u64, Harm::Hold));
        let mut client = dial(&proxy);
        client.write_all(&text()).unwrap();
        // The client gives up, and comes again.
        drop(client);
        assert_eq!(converse(&proxy, 100), text());
        assert_eq!(proxy.carried()[0].requests, text()[..after], "these were carried");
        assert_eq!(echo.heard()[heard..], [text()[..after].to_vec(), text()], "what was held has not arrived");
        let again = proxy.replay();
        assert_eq!(proxy.carried()[0].requests, text(), "now it has");
        assert_eq!(echo.heard()[heard], text());
        assert_eq!(echo.heard().len() - heard, 2 + again);

        proxy.plan(fault(Way::Replies, after as u64, Harm::Hold));
        let mut client = dial(&proxy);
        client.write_all(&text()).unwrap();
        let mut answer = vec![0; after];
        client.read_exact(&mut answer).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, text()[..after]);
        assert_eq!(echo.heard().last().unwrap(), &text());
    }
}

#[test]
fn a_replay_brings_every_old_request_before_the_next_byte() {
    let (echo, other) = (Echo::start(), Echo::start());
    let proxy = FaultProxy::before(echo.port);
    for way in [Way::Requests, Way::Replies] {
        let heard = echo.heard().len();
        let replayed = Some(Fault { way, after: 40, harm: Harm::Replay });
        proxy.plan([Some(Fault { way: Way::Requests, after: 10, harm: Harm::Hold }), None, replayed]);
        let mut client = dial(&proxy);
        client.write_all(&text()).unwrap();
        drop(client);
        assert_eq!(converse(&proxy, 100), text());
        assert_eq!(converse(&proxy, 100), text(), "a replay is no end");
        let fresh = echo.heard().split_off(heard);
        // Three connections, of which the first arrives late, then its requests as far as they had been carried before,
        // and the others' once more.
        let own = if way == Way::Requests { text()[..40].to_vec() } else { text() };
        assert_eq!(fresh, [text(), text(), text(), text()[..10].to_vec(), text(), own]);
    }
    proxy.plan([]);
    assert_eq!(converse(&proxy, 100), text());
    proxy.lead_to(other.port);
    assert_eq!(proxy.replay(), 1);
    assert_eq!(converse(&proxy, 100), text());
    assert_eq!(other.heard(), [text(), text()], "to the new server");
}
