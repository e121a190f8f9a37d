//! No secret in what is printed: every public type that is near one is shown in every form, and the text is searched
//! for the secret's bytes as they could stand there: as numbers, hexadecimal, base32 and text.

use data_encoding::{HEXLOWER, HEXUPPER};

use super::*;
use crate::{Audience, FileSink, JournalReader, OpenError, core::token::BASE32};

/// Bytes that show a secret: fewer could stand in a text by chance.
const WINDOW: usize = 5;

/// The spellings of a secret's parts, without white space and in lower case.
fn spellings(secret: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for part in secret.windows(WINDOW) {
        all.push(HEXLOWER.encode(part));
        all.push(part.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
        all.push(part.iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(","));
        all.push(BASE32.encode(part).to_lowercase());
    }
    for word in secret.windows(8) {
        let word: [u8; 8] = word.try_into().unwrap();
        all.extend([u64::from_le_bytes(word), u64::from_be_bytes(word)].map(|word| word.to_string()));
    }
    all
}

/// What was printed, and of what.
#[derive(Default)]
struct Printed(Vec<(&'static str, String)>);

impl Printed {
    fn debug(&mut self, name: &'static str, value: &dyn fmt::Debug) {
        self.0.push((name, format!("{value:?} {value:#?}")));
    }

    fn error(&mut self, name: &'static str, value: &dyn std::error::Error) {
        self.0.push((name, format!("{value} {value:?} {value:#?} {:?}", value.source())));
    }

    /// Whoever shows a part of `secret`.
    fn showing(&self, secret: &[u8]) -> Vec<&'static str> {
        let plain: String = String::from_utf8_lossy(secret).to_lowercase();
        let spellings = spellings(secret);
        let shows = |text: &str| {
            let text: String = text.to_lowercase().split_whitespace().collect();
            text.contains(&plain) || spellings.iter().any(|spelling| text.contains(spelling))
        };
        self.0.iter().filter(|(_, text)| shows(text)).map(|(name, _)| *name).collect()
    }
}

fn secret_of(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("secret")).unwrap()[12..44].to_vec()
}

fn salt_of(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("00000001.journal")).unwrap()[24..32].to_vec()
}

/// Shows all that a user of the engine can get hold of.
fn print_all(dir: &Path, printed: &mut Printed) -> Vec<Token> {
    let options = Engine::options().clock(Arc::new(ManualClock::starting_at(START)));
    printed.debug("Options", &options);
    let engine = options.open(dir).unwrap();
    let events = engine.subscribe(9);
    let (sale, pro) = (
        engine.create(books(9).cap(4).largest(4)).unwrap(),
        engine.create(SaleSpec::new("pro", 9).audience(Audience::Invited)).unwrap(),
    );
    let key = RequestKey::new("7f6c0a52-checkout").unwrap();
    let request = sale.request(engine.buyer(b"li.wei")).key(&key).invitation(&sale.invitation(engine.buyer(b"li.wei")));
    printed.debug("Request", &request);
    let hold = request.reserve().unwrap();
    let (kept, token) = (hold.token(), sale.reserve(8, 2).unwrap().token());
    printed.debug("Hold", &hold);
    printed.debug("Token", &hold.token());
    printed.debug("Invitation", &pro.invitation(7));
    let pending = sale.confirm(&token, 1_001).unwrap();
    printed.debug("Pending", &pending);
    printed.debug("Confirmation", &pending.wait().unwrap());
    printed.debug("Refusal", &pro.reserve(1, 1).unwrap_err());
    printed.error("TokenError", &sale.cancel(&"0".repeat(26).parse().unwrap()).unwrap_err());
    engine.sync().unwrap();
    printed.debug("Engine", &engine);
    printed.debug("Sale", &sale);
    printed.debug("Audit", &engine.audit());
    printed.debug("Events", &events);
    printed.debug("Event", &std::iter::from_fn(|| events.try_next()).collect::<Vec<_>>());
    printed.debug("JournalStats", &engine.journal_stats());
    let source = engine.source().unwrap().unwrap();
    printed.debug("Identity", &source.identity());
    let mut outbox = engine.outbox().unwrap().unwrap();
    let mut messages = Vec::new();
    outbox.read(99, &mut messages).unwrap();
    assert!(!messages.is_empty());
    printed.debug("Message", &messages);
    printed.debug("Outbox", &outbox);
    printed.debug("FileSink", &FileSink::open(dir.with_extension("mail")).unwrap());
    let mut reader = JournalReader::open(dir).unwrap();
    let _first = reader.next().unwrap().unwrap();
    printed.debug("JournalReader", &reader);
    printed.error("in use", &Engine::open(dir).unwrap_err());
    vec![kept, token]
}

/// Opens damaged copies of the folder, and shows what is said about them.
fn print_damage(dir: &Path, printed: &mut Printed) {
    for (name, at) in [("secret", 20), ("secret", 0), ("00000001.journal", 30), ("00000001.journal", 4_200)] {
        let (_parent, copied) = copy(dir);
        let path = copied.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        match Engine::open(&copied) {
            Err(error @ OpenError::Corrupt { .. }) => printed.error("OpenError", &error),
            other => panic!("{name} with another byte at {at}: {other:?}"),
        }
        if let Err(error) = JournalReader::open(&copied).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            printed.error("a reader's OpenError", &error);
        }
    }
}

#[test]
fn nothing_that_can_be_printed_shows_a_secret() {
    let (_parent, dir) = folder();
    let mut printed = Printed::default();
    printed.debug("Options", &Engine::options().secret(*b"thirty-two bytes of a secret....").stripes(1));
    let in_memory = Engine::options().secret(*b"thirty-two bytes of a secret....").in_memory();
    printed.debug("Engine", &in_memory);
    let tokens = print_all(&dir, &mut printed);
    print_damage(&dir, &mut printed);
    let mut secrets = vec![secret_of(&dir), salt_of(&dir), b"thirty-two bytes of a secret....".to_vec()];
    // Whoever reads a whole token in a log can end its hold. An event and a message are the way to tell it.
    secrets.extend(tokens.iter().map(|token| token.to_string().into_bytes()));
    for secret in secrets {
        assert_eq!(printed.showing(&secret), [""; 0]);
    }
}

#[cfg(feature = "redis")]
#[test]
fn nothing_that_can_be_printed_shows_the_password_of_redis() {
    use crate::ledger;

    const PASSWORD: &str = "hunter2-9f31c2";
    let (_parent, dir) = folder();
    let engine = World::open(&dir).engine;
    let mut printed = Printed::default();
    let url = format!("redis://shop:{PASSWORD}@127.0.0.1:1/3");
    let source = engine.source().unwrap().unwrap();
    let redis = ledger::RedisLedger::new(&url, source, ledger::Options::default()).unwrap();
    printed.debug("RedisLedger", &redis);
    printed.debug("status", &redis.status());
    let outbox = engine.outbox().unwrap().unwrap();
    printed.debug("RedisMessages", &ledger::RedisMessages::new(&url, outbox, ledger::Options::default()).unwrap());
    for bad in [format!("redis://:{PASSWORD}@"), format!("rediss://:{PASSWORD}@h"), format!("redis://:{PASSWORD}@h/x")]
    {
        let source = engine.source().unwrap().unwrap();
        printed.error("LedgerError", &ledger::RedisLedger::new(&bad, source, ledger::Options::default()).unwrap_err());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    printed.error("probe", &runtime.block_on(ledger::probe(&url, seconds(20))).unwrap_err());
    assert_eq!(printed.showing(PASSWORD.as_bytes()), [""; 0]);
}

/// A type that shows its secret.
#[derive(Debug)]
#[expect(dead_code, reason = "only its debugging form is looked at")]
struct Careless<T>(&'static str, T);

#[test]
fn control_a_type_that_prints_its_secret_is_caught_in_every_spelling() {
    let secret: [u8; 32] = std::array::from_fn(|place| (place * 7 + 130).to_le_bytes()[0]);
    let hex = HEXUPPER.encode(&secret);
    let mut printed = Printed::default();
    printed.debug("bytes", &Careless("a", secret));
    printed.debug("a part", &Careless("a", secret[9..20].to_vec()));
    printed.debug("hexadecimal", &Careless("a", hex));
    printed.debug("base32", &Careless("a", BASE32.encode(&secret[..20])));
    printed.debug("a word", &Careless("a", u64::from_le_bytes(secret[8..16].try_into().unwrap())));
    printed.0.push(("hexadecimal form", format!("{secret:#04x?}")));
    printed.debug("nothing", &Careless("a", "***"));
    let caught = ["bytes", "a part", "hexadecimal", "base32", "a word", "hexadecimal form"];
    assert_eq!(printed.showing(&secret), caught);
}
