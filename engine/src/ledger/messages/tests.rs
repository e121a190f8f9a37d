//! Messages in a real Redis: the script alone, and behind whatever happens to Redis, the network and the engine; each
//! proof with its negative control, a script that lacks the check in question.

use std::{collections::BTreeMap, num::NonZeroU16, path::Path, sync::Arc};

use sellout_testkit::{Harm, PATIENCE, RedisServer, Way, eventually};

use super::{
    super::{
        dial::Tcp,
        link::Link,
        tests::network::{self, Delivery, Scene, every_cut, mixtures, sweep, undisturbed},
    },
    carrier::{Answer, post, words},
    *,
};
use crate::{Audience, Engine, Identity, ManualClock, Message, SaleSpec, Timestamp};

const START: Timestamp = Timestamp::from_millis(1_775_008_800_000);
const STREAM: &str = "sellout:{messages}:stream";
const OURS: Identity = Identity::new(7, 3, 30);

type Entries = Vec<(String, Vec<String>)>;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// An engine in a folder of its own, with a sale that has sent its links.
struct Shop {
    folder: tempfile::TempDir,
    engine: Engine,
}

impl Shop {
    fn open(dir: &Path) -> Engine {
        Engine::options().clock(Arc::new(ManualClock::starting_at(START))).open(dir).unwrap()
    }

    fn with(buyers: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Self::open(&folder.path().join("j"));
        let sale = engine.create(SaleSpec::new("mx3", 900).audience(Audience::Registered).links_at(START)).unwrap();
        sale.register(&(0..buyers).map(Into::into).collect::<Vec<_>>()).unwrap();
        engine.tick(START);
        Self { folder, engine }
    }

    fn outbox(&self) -> Outbox {
        self.engine.outbox().unwrap().unwrap()
    }

    fn messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        self.outbox().read(usize::MAX, &mut messages).unwrap();
        messages
    }

    /// An order, and so one message more.
    fn sell(&self, buyer: u64) {
        let sale = self.engine.sale("mx3").unwrap();
        sale.reserve(buyer, 1).unwrap().confirm(1).unwrap().wait().unwrap();
    }
}

/// What the stream should have.
fn entries(messages: &[Message]) -> Entries {
    messages.iter().map(|message| (message.id.to_string(), words(message))).collect()
}

fn stream(server: &RedisServer) -> Entries {
    server.ask(&format!("XRANGE {STREAM} - +"))
}

/// Messages that the stream lacks, and those that it has more than once, whatever their ids.
fn faults(stream: &Entries, messages: &[Message]) -> (usize, usize) {
    let mut found = BTreeMap::new();
    for (_, words) in stream {
        *found.entry(words).or_insert(0) += 1;
    }
    let lost = messages.iter().filter(|message| !found.contains_key(&words(message))).count();
    (lost, found.values().map(|count| count - 1).sum())
}

/// A server and one way to hand batches to it.
struct Bench {
    server: RedisServer,
    endpoint: Endpoint,
    script: Script,
}

impl Bench {
    fn new(script: &str) -> Self {
        let server = RedisServer::start();
        let endpoint = Endpoint::parse(&server.url(), Arc::new(Tcp)).unwrap();
        Self { server, endpoint, script: Script::new(script) }
    }

    fn post(&self, whose: Identity, after: MessageId, batch: &[Message]) -> Result<Answer, MessagesError> {
        block_on(async {
            let mut link = Link::open(&self.endpoint, Options::default().limits()).await?;
            post(&mut link, &self.script, &Keys::new("sellout"), whose, after, batch).await
        })
    }
}

/// The script with one piece taken out or changed.
fn broken(from: &str, to: &str) -> String {
    assert_eq!(POST.matches(from).count(), 1, "{from}");
    POST.replace(from, to)
}

/// A script that lets Redis choose the ids.
fn under_its_own_ids() -> String {
    let own = broken("if after(id, last) then", "if true then");
    own.replace("redis.call('XADD', KEYS[2], id,", "redis.call('XADD', KEYS[2], '*',")
}

#[test]
fn a_batch_that_lands_again_or_late_changes_nothing() {
    let all = Shop::with(9).messages();
    let repeats = |script: &str| {
        let bench = Bench::new(script);
        let given = [(0, 0..3), (3, 3..6), (0, 0..3), (2, 2..5), (6, 6..9), (3, 3..6)];
        for (after, batch) in given {
            let after = if after == 0 { MessageId::START } else { all[after - 1].id };
            drop(bench.post(OURS, after, &all[batch]));
        }
        stream(&bench.server)
    };
    assert_eq!(repeats(POST), entries(&all));
    assert_ne!(repeats(&under_its_own_ids()).len(), all.len());
}

#[test]
fn a_batch_that_follows_what_the_stream_lost_is_refused_with_what_it_has() {
    let all = Shop::with(9).messages();
    let leaves_a_gap = |script: &str| {
        let bench = Bench::new(script);
        bench.post(OURS, MessageId::START, &all[..3]).unwrap();
        bench.post(OURS, all[4].id, &all[5..])
    };
    assert_eq!(leaves_a_gap(POST), Ok(Answer::Gap(all[2].id)));
    let blind = leaves_a_gap(&broken("if after(ARGV[4], last) then", "if false then"));
    assert_eq!(blind, Ok(Answer::Last(all[8].id, Vec::new())));
}

#[test]
fn only_the_newest_opening_of_one_journal_may_write() {
    let all = Shop::with(3).messages();
    let later = |script: &str, whose: Identity| {
        let bench = Bench::new(script);
        bench.post(OURS, MessageId::START, &all[..2]).unwrap();
        bench.post(whose, all[1].id, &all[2..])
    };
    let done = Ok(Answer::Last(all[2].id, Vec::new()));
    assert_eq!(later(POST, Identity::new(7, 4, 40)), done);
    let outdated = MessagesError::StaleEpoch { found: "3".to_owned(), ours: 2 };
    assert_eq!(later(POST, Identity::new(7, 2, 20)), Err(outdated));
    assert_eq!(later(POST, Identity::new(7, 3, 31)), Err(MessagesError::Forked { ours: 3 }));
    let other = MessagesError::OtherEngine { found: format!("{:016x}", 7) };
    assert_eq!(later(POST, Identity::new(8, 9, 30)), Err(other));
    assert_eq!(later(&broken("if stored_epoch > epoch then", "if false then"), Identity::new(7, 2, 20)), done);
    assert_eq!(later(&broken("stored[3] ~= incarnation then", "false then"), Identity::new(7, 3, 31)), done);
    let any = broken("if stored[1] and stored[1] ~= engine then", "if false then");
    assert_eq!(later(&any, Identity::new(8, 9, 30)), done);
}

#[test]
fn a_look_says_how_far_it_got_and_with_what_also_when_it_was_trimmed() {
    let all = Shop::with(600).messages();
    let bench = Bench::new(POST);
    let look = || bench.post(OURS, MessageId::START, &[]);
    assert_eq!(look(), Ok(Answer::Last(MessageId::START, Vec::new())));
    assert!(bench.server.ask::<Vec<String>>("KEYS *").is_empty(), "a look writes nothing");
    bench.post(OURS, MessageId::START, &all).unwrap();
    assert_eq!(look(), Ok(Answer::Last(all[599].id, words(&all[599]))));
    bench.server.tell(&format!("XTRIM {STREAM} MAXLEN 0"));
    assert_eq!(look(), Ok(Answer::Last(all[599].id, Vec::new())));
    bench.server.tell(&format!("SET {STREAM} 1"));
    assert_eq!(look(), Err(MessagesError::NotMessages));
}

/// Impatient, so that a test's failures pass quickly.
fn options() -> Options {
    let options = Options::default().retry(Duration::from_millis(1), Duration::from_millis(50));
    let mut options = options.batch(NonZeroU16::new(20).unwrap());
    options.look_every = Duration::from_millis(50);
    options
}

fn deliver(url: &str, shop: &Shop, script: &str) -> MessagesDriver {
    let mut messages = RedisMessages::new(url, shop.outbox(), options()).unwrap();
    messages.script = Script::new(script);
    messages.spawn().unwrap()
}

/// Messages, delivered by the real loop with a script.
struct Letters {
    shop: Shop,
    expected: Vec<Message>,
    script: String,
    /// How long all of it may take.
    patience: Duration,
}

impl Letters {
    fn new(script: &str, patience: Duration) -> Self {
        let shop = Shop::with(5);
        Self { expected: shop.messages(), shop, script: script.to_owned(), patience }
    }

    fn last(scene: &Scene) -> MessageId {
        let last: Vec<(String, Vec<String>)> = scene.ask(&format!("XREVRANGE {STREAM} + - COUNT 1"));
        last.first().map_or(MessageId::START, |(id, _)| id.parse().unwrap())
    }
}

impl Delivery for Letters {
    fn deliver(&self, scene: &Scene, later: u32) -> Result<bool, String> {
        let hour = Duration::from_hours(1);
        let mut options = options().batch(NonZeroU16::new(2).unwrap()).timeouts(PATIENCE, PATIENCE * later);
        options = options.retry(Duration::from_millis(1), Duration::from_millis(4));
        // So that nothing is said that depends on the time it takes.
        (options.poll, options.look_every) = (hour, hour);
        let mut messages = RedisMessages::new(&scene.proxy.url(), self.shop.outbox(), options).unwrap();
        messages.script = Script::new(&self.script);
        messages.board.state.lock().asked = 1;
        let (mut mistaken, mut outcome) = (false, Ok(()));
        let watched = async {
            let started = tokio::time::Instant::now();
            loop {
                let (status, done) = (messages.status(), messages.board.state.lock().done == 1);
                let last = Self::last(scene);
                let claim = match &status {
                    MessagesStatus { delivered, .. } if *delivered > last => {
                        Err(format!("{delivered} is claimed, {last} is there"))
                    }
                    MessagesStatus { fault: Some(fault), .. } => Err(format!("a fault is claimed: {fault}")),
                    _ if started.elapsed() > self.patience => Err(format!("it takes too long: {status:?}")),
                    _ => network::is_mistaken(&status.connection, false),
                };
                outcome = claim.map(|is| mistaken |= is);
                if done || outcome.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        block_on(messages.run(watched));
        outcome.map(|()| mistaken)
    }

    fn judge(&self, scene: &Scene) -> Result<(), String> {
        let found: Entries = scene.ask(&format!("XRANGE {STREAM} - +"));
        match faults(&found, &self.expected) {
            (0, 0) if self.script != POST || found == entries(&self.expected) => Ok(()),
            (0, 0) => Err(format!("not in order, or under other ids: {found:?}")),
            (lost, twice) => Err(format!("{lost} lost, {twice} twice")),
        }
    }
}

#[test]
fn a_connection_that_ends_after_any_byte_delivers_every_message_once() {
    let letters = Letters::new(POST, PATIENCE);
    let said = undisturbed(&letters);
    let faults = [every_cut(&said, Way::Requests), every_cut(&said, Way::Replies)].concat();
    assert!(faults.len() > 3_000, "{}: the script alone has as many", faults.len());
    let flaws = sweep(&letters, &said, &faults);
    assert!(flaws.is_empty(), "{} of {}: {:?}", flaws.len(), faults.len(), &flaws[0]);
}

#[test]
fn cuts_and_old_batches_in_any_mixture_deliver_every_message_once() {
    let letters = Letters::new(POST, PATIENCE);
    let (flaws, struck) = mixtures(&letters, &undisturbed(&letters), &[Harm::Cut, Harm::Replay], 0..60);
    assert!(flaws.is_empty(), "{flaws:?}");
    assert!(struck > 50, "{struck}");
}

#[test]
fn control_a_script_that_lets_redis_choose_the_ids_is_caught_by_a_cut_and_by_a_replay() {
    let letters = Letters::new(&under_its_own_ids(), PATIENCE);
    let said = undisturbed(&letters);
    let flaws = sweep(&letters, &said, &every_cut(&said, Way::Replies));
    assert!(flaws.iter().any(|flaw| !flaw.late), "{flaws:?}");
    assert!(flaws.iter().any(|flaw| flaw.late && flaw.what.ends_with(": 0 lost, 5 twice")), "{flaws:?}");
}

#[test]
fn messages_go_out_as_they_are_made_and_a_trimmed_stream_goes_on() {
    let (server, shop) = (RedisServer::start(), Shop::with(50));
    let driver = deliver(&server.url(), &shop, POST);
    driver.wait_delivered(PATIENCE).unwrap();
    assert_eq!(stream(&server), entries(&shop.messages()));
    server.tell(&format!("XTRIM {STREAM} MAXLEN 5"));
    (0..10).for_each(|buyer| shop.sell(buyer));
    driver.wait_delivered(PATIENCE).unwrap();
    assert_eq!(stream(&server), entries(&shop.messages()[45..]));
    let status = driver.stop();
    assert_eq!((status.connection, status.fault), (Connection::Stopped, None));
    assert_eq!(status.delivered, shop.messages().last().unwrap().id);
}

#[test]
fn a_redis_that_loses_everything_or_its_tail_is_given_it_again() {
    let (mut server, shop) = (RedisServer::start(), Shop::with(300));
    let driver = deliver(&server.url(), &shop, POST);
    driver.wait_delivered(PATIENCE).unwrap();
    server.kill();
    eventually("the loss shows", || matches!(driver.status().connection, Connection::Broken { .. }));
    shop.sell(1);
    assert!(driver.wait_delivered(Duration::from_millis(50)).unwrap_err().cause.is_some());
    server.restart();
    driver.wait_delivered(PATIENCE).unwrap();
    let all = entries(&shop.messages());
    assert_eq!(stream(&server), all);
    // As after a failover: the stream is the one of a moment ago. Nothing new is said, and it is found out.
    for kept in [250, 7, 0] {
        let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        let mut failover = redis::pipe();
        failover.atomic().cmd("DEL").arg(STREAM);
        for (id, words) in &all[..kept] {
            failover.cmd("XADD").arg(STREAM).arg(id).arg(words);
        }
        failover.query::<redis::Value>(&mut connection).unwrap();
        eventually("it is delivered again", || stream(&server) == all);
    }
}

#[test]
fn a_journal_that_is_not_the_newest_delivers_nothing_and_says_so() {
    let (server, shop) = (RedisServer::start(), Shop::with(30));
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    std::fs::create_dir(&old).unwrap();
    for entry in std::fs::read_dir(shop.folder.path().join("j")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), old.join(entry.file_name())).unwrap();
    }
    let driver = deliver(&server.url(), &shop, POST);
    shop.sell(1);
    driver.wait_delivered(PATIENCE).unwrap();
    let last = driver.stop().delivered;
    let before = stream(&server);

    // Opened once more, so that it passes for newer; then it says something else under the same number.
    let restored = Shop { folder, engine: Shop::open(&old) };
    let driver = deliver(&server.url(), &restored, POST);
    eventually("it is refused", || driver.status().fault == Some(MessagesError::Ahead { id: last }));
    (2..9).for_each(|buyer| restored.sell(buyer));
    assert!(driver.wait_delivered(Duration::from_millis(200)).is_err());
    assert_eq!(driver.stop().fault, Some(MessagesError::Ahead { id: last }));

    let stranger = Shop::with(3);
    let driver = deliver(&server.url(), &stranger, POST);
    let found = format!("{:016x}", shop.outbox().identity().engine);
    eventually("it is refused", || driver.status().fault == Some(MessagesError::OtherEngine { found: found.clone() }));
    assert_eq!(stream(&server), before);
}

#[test]
fn what_callers_share_between_threads_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    fn sendable<T: Send>(_: &T) {}
    shared::<RedisMessages>();
    shared::<MessagesDriver>();
    shared::<MessagesError>();
    let shop = Shop::with(0);
    let messages = RedisMessages::new("redis://127.0.0.1:1", shop.outbox(), Options::default()).unwrap();
    sendable(&messages.run(std::future::pending()));
    assert!(RedisMessages::new("redis://h", shop.outbox(), Options::default().prefix("a b")).is_err());
}
