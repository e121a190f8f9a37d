//! A journal of format 1, with every kind of record that format 1 had, opens, tells everything, and is continued.

use super::{compaction::open_small, *};
use crate::JournalReader;

/// When its last record was written.
const NOW: Timestamp = Timestamp::from_millis(1_775_008_927_000);
const FILES: [(&str, &[u8]); 4] = [
    ("secret", include_bytes!("../../../tests/data/format-1/secret")),
    ("00000001.journal", include_bytes!("../../../tests/data/format-1/00000001.journal")),
    ("00000002.journal", include_bytes!("../../../tests/data/format-1/00000002.journal")),
    ("00000003.journal", include_bytes!("../../../tests/data/format-1/00000003.journal")),
];

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

fn written_by_format_1() -> (tempfile::TempDir, PathBuf) {
    let (parent, dir) = folder();
    std::fs::create_dir(&dir).unwrap();
    for (name, bytes) in FILES {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    (parent, dir)
}

/// What format 1 had written, as it was printed when it was written.
fn check(world: &World, dir: &Path) {
    let audits: Vec<_> = world.engine.audit().iter().map(ToString::to_string).collect();
    let expected = [
        "books: 4 + 300 added - 4 withdrawn = 3 sold + 3 held + 294 free, digest 721943b883fdd7fe37e7ea5951d927ee",
        "seats: 3 + 0 added - 0 withdrawn = 1 sold + 2 held + 0 free, digest 4eb1c49ef82aca1bed134876f2a09584",
        "gold: 5 + 0 added - 1 withdrawn = 2 sold + 1 held + 1 free, digest a97880a64d14333125bb7e2ef406b8c4",
        "closed: 1 + 0 added - 0 withdrawn = 0 sold + 0 held + 1 free, digest 00000000000000000000000000000000",
    ];
    assert_eq!(audits, expected);
    let sale = |name: &str| world.engine.sale(name).unwrap();
    let (books, seats, gold) = (sale("books"), sale("seats"), sale("gold"));
    assert_eq!((books.spec().cap, sale("closed").state()), (3, SaleState::Closed));
    assert_eq!(seats.waiting(6), Waiting::No, "accepted");
    assert!(matches!(seats.waiting(8), Waiting::Offered { .. }));
    for (ahead, (buyer, ticket)) in (0..).zip([(12, 14), (13, 15)]) {
        let Waiting::Queued(place) = seats.waiting(buyer) else { panic!("{buyer} waits") };
        assert_eq!((place.ticket, place.ahead), (ticket, ahead));
    }
    let confirmed = |answer, wanted| matches!(answer, Confirmation::AlreadyConfirmed(it) if it.sequence == wanted);
    assert!(confirmed(pay(&books, &token("TC671SDPWQW884QGNC3WFMF0Q4")), 1));
    assert!(confirmed(pay(&books, &token("TC0QAE46WJMKC57GE0KWBCRG8C")), 3), "paid late");
    assert!(confirmed(pay(&seats, &token("TC6WRY0D372FCNTX83APB50JNC")), 1));
    assert_eq!(pay(&seats, &token("TC1Z6RPRG6PP6HR8NS1C3DRYYR")), Confirmation::PaidLateSoldOut);
    let baskets = world.engine.baskets(BasketRules::new()).unwrap();
    let basket = |text| baskets.confirm(&token(text), 7).unwrap().wait().unwrap();
    assert!(confirmed(basket("TC6GSY9VFJ2G1YZRPVQEXW5FNW"), 1));
    assert_eq!(baskets.lines(&token("TCB81KVB698TKWP5Y7FJ5FV4MG")).unwrap().len(), 2, "held");
    assert!(books.extend(&token("TCEN03WR73G0WH4X6REMKDBPN8"), Duration::ZERO).is_ok(), "held");
    assert!(matches!(books.ship(1), Err(ShipError::ShippedBefore { .. })));
    assert!(matches!(gold.ship(2), Err(ShipError::NoSuchOrder { .. })));
    let mut messages = Vec::new();
    world.engine.outbox().unwrap().unwrap().read(13, &mut messages).unwrap();
    let ids: Vec<_> = messages.iter().map(|message| message.id.to_string()).collect();
    let expected =
        ["10-0", "13-0", "17-0", "17-1", "21-0", "21-1", "21-2", "21-3", "21-4", "21-5", "21-6", "26-0", "27-0"];
    assert_eq!(ids, expected);
    assert_eq!(
        messages[11].to_string(),
        "26-0\t2026-04-01T02:01:03Z\tbooks\t3\tconfirmation\t3\t1\tTC01MD5EVR2NSF1K9ZXBGR3JVW"
    );
    let orders = JournalReader::open(dir).unwrap().map(|order| order.unwrap().1.order);
    let expected = [
        "TC671SDPWQW884QGNC3WFMF0Q4",
        "TC6WRY0D372FCNTX83APB50JNC",
        "TC6GSY9VFJ2G1YZRPVQEXW5FNW-1",
        "TC6GSY9VFJ2G1YZRPVQEXW5FNW-2",
        "TC01MD5EVR2NSF1K9ZXBGR3JVW",
    ];
    assert_eq!(orders.take(5).collect::<Vec<_>>(), expected);
}

#[test]
fn a_journal_of_the_first_format_opens_is_continued_and_compacted() {
    let (_parent, dir) = written_by_format_1();
    let world = open_small(&dir, NOW);
    check(&world, &dir);
    let books = world.engine.sale("books").unwrap();
    let compacted = world.engine.compact().unwrap().unwrap();
    assert_eq!(compacted.segments, 2, "{compacted:?}");
    check(&world, &dir);
    drop((books, world));
    let world = open_small(&dir, NOW);
    check(&world, &dir);
    let books = world.engine.sale("books").unwrap();
    let held = token("TCEN03WR73G0WH4X6REMKDBPN8");
    assert!(matches!(pay(&books, &held), Confirmation::Confirmed(receipt) if receipt.sequence == 4));
    let new = hold(&books, 20);
    assert!(matches!(pay(&books, &new), Confirmation::Confirmed(receipt) if receipt.sequence == 5));
    assert!(world.engine.audit().iter().all(Audit::holds));
}
