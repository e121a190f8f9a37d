//! Very many sales in one engine: made together, all or none, small while nobody comes, and opened together.

use super::*;
use crate::{
    CreateError, SpecError,
    engine::state::SaleInner,
    journal::{Fault, JournalOptions, SimDisk},
};

fn shops(count: usize) -> Vec<SaleSpec> {
    (0..count).map(|number| SaleSpec::new(name(number), 200)).collect()
}

fn name(number: usize) -> String {
    format!("shop-{number:06}")
}

fn open(disk: &SimDisk) -> Engine {
    let clock = Arc::new(ManualClock::starting_at(START));
    let sizes = JournalOptions { frame_bytes: 4 << 10, append_bytes: 4 << 10, ..JournalOptions::at(START) };
    Engine::options().clock(clock).open_on(Arc::new(disk.clone()), sizes).unwrap()
}

#[test]
fn many_sales_are_created_with_one_commit_and_found_again() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let syncs = disk.syncs();
    let sales = engine.create_many(shops(5_000)).unwrap();
    let together = disk.syncs() - syncs;
    assert!(together < 5_000 / 20, "{together} syncs: one a frame of 4 KiB, and never one a sale");
    assert_eq!((sales.len(), sales[4_999].name()), (5_000, "shop-004999"));
    pay(&sales[7], &hold(&sales[7], 1));
    let token = hold(&sales[4_999], 1);
    engine.sync().unwrap();
    let engine = open(&disk.after_crash(3));
    assert_eq!(engine.sales().len(), 5_000);
    assert_eq!(engine.sale(&name(7)).unwrap().audit().sold, 1);
    let sale = engine.sale(&name(4_999)).unwrap();
    assert!(matches!(pay(&sale, &token), Confirmation::Confirmed(_)), "its slots are where they were");
    assert!(engine.audit().iter().all(Audit::holds));
}

#[test]
fn control_sales_that_are_created_one_by_one_wait_for_the_disk_each() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let syncs = disk.syncs();
    for spec in shops(50) {
        engine.create(spec).unwrap();
    }
    assert!(disk.syncs() - syncs >= 50);
}

#[test]
fn of_many_sales_all_are_created_or_none() {
    let world = World::in_memory();
    world.sale(SaleSpec::new(name(3), 1));
    assert_eq!(world.engine.create_many(shops(5)).unwrap_err(), CreateError::NameTaken { name: name(3) });
    let twice = [shops(2), shops(1)].concat();
    assert_eq!(world.engine.create_many(twice).unwrap_err(), CreateError::NameTaken { name: name(0) });
    let mut bad = shops(3);
    bad[2] = SaleSpec::new(name(2), 0);
    let refused = world.engine.create_many(bad).unwrap_err();
    assert_eq!(refused, CreateError::Spec(SpecError::Stock { stock: 0 }));
    let too_large = (0..17).map(|number| SaleSpec::new(name(10 + number), crate::MAX_STOCK)).collect();
    assert!(matches!(world.engine.create_many(too_large).unwrap_err(), CreateError::Full { .. }));
    assert_eq!(world.engine.sales().len(), 1);
    assert_eq!(world.engine.create_many(Vec::new()).unwrap().len(), 0);
    assert_eq!(world.engine.create_many(shops(3)).unwrap().len(), 3);
}

#[test]
fn a_crash_while_many_are_created_leaves_the_first_ones_and_the_missing_ones_can_be_created() {
    let mut parts = 0;
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let engine = open(&disk);
        disk.fault_at(disk.calls() + 1 + seed, Fault::Crash);
        let created = engine.create_many(shops(1_000));
        assert_eq!(engine.sales().len(), if created.is_ok() { 1_000 } else { 0 }, "all or none, as long as it runs");
        drop(engine);
        let engine = open(&disk.after_crash(seed));
        let there = engine.sales().len();
        parts += u32::from(there > 0 && there < 1_000);
        assert!(created.is_err() || there == 1_000);
        assert!((0..there).all(|number| engine.sale(&name(number)).is_ok()), "the first ones");
        let missing = shops(1_000).into_iter().filter(|spec| engine.sale(spec.name()).is_err()).collect();
        engine.create_many(missing).unwrap();
        assert_eq!(engine.sales().len(), 1_000);
    }
    assert!(parts > 5, "{parts} crashes left a part: the scene is too small");
}

#[test]
fn sales_that_are_due_together_open_in_one_tick_or_with_their_first_buyer() {
    const COUNT: usize = 10_000;
    let world = World::in_memory();
    let specs = shops(COUNT).into_iter().map(|spec| spec.opens_at(START.plus(seconds(1)))).collect();
    let sales = world.engine.create_many(specs).unwrap();
    assert_eq!(world.pass(millis(999)).opened, 0);
    world.clock.advance(millis(1));
    let _first = hold(&sales[COUNT - 1], 1);
    assert_eq!(world.engine.tick(world.engine.now()).opened, COUNT as u64 - 1);
    assert!(sales.iter().all(|sale| sale.state() == SaleState::Open));
    assert_eq!(world.pass(seconds(1)).opened, 0);
}

#[test]
fn an_idle_sale_is_small_and_shares_its_rules() {
    // Everybody reads the gate; counts of references stand 16 bytes before a sale, the numbers of orders at its end.
    let gate = std::mem::offset_of!(SaleInner, allocator);
    assert!(gate + 16 >= 128 && size_of::<SaleInner>() - gate >= 128 + 48, "{gate}");
    // With its name, its places in the catalogue and the allocator's overhead it takes some 200 bytes more.
    assert!(
        size_of::<SaleInner>() <= 640,
        "{} bytes: what a sale seldom needs goes behind a box",
        size_of::<SaleInner>()
    );
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("j");
    let world = World::open(&dir);
    let other = SaleSpec::new("other", 200).cap(2);
    world.engine.create_many([shops(3), vec![other]].concat()).unwrap();
    let shared = |world: &World| {
        let sales = world.engine.sales();
        let specs: Vec<_> = sales.iter().map(|sale| Arc::as_ptr(&sale.inner.spec)).collect();
        assert!(specs[0] == specs[1] && specs[1] == specs[2] && specs[2] != specs[3]);
    };
    shared(&world);
    drop(world);
    shared(&World::open(&dir));
}

#[test]
fn only_sales_with_orders_are_asked_for_again_and_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("j");
    let names = |engine: &Engine| {
        let sold = engine.source().unwrap().unwrap().sold();
        sold.into_iter().map(|head| (head.name, head.last)).collect::<Vec<_>>()
    };
    {
        let world = World::open(&dir);
        let sales = world.engine.create_many(shops(100)).unwrap();
        assert_eq!(names(&world.engine), []);
        pay(&sales[70], &hold(&sales[70], 1));
        pay(&sales[20], &hold(&sales[20], 1));
        pay(&sales[70], &hold(&sales[70], 2));
        assert_eq!(names(&world.engine), [(name(70), 2), (name(20), 1)]);
        assert_eq!(world.engine.source().unwrap().unwrap().sales().len(), 100);
    }
    let world = World::open(&dir);
    assert_eq!(names(&world.engine), [(name(20), 1), (name(70), 2)]);
}
