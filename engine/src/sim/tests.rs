//! The simulation finds nothing, and finds every flaw.
//!
//! The seeds are always the same, and so is what happens: a failure is there again in every run.

use super::*;

/// Runs the seeds of `range` and adds up what they tried.
fn run(range: std::ops::Range<u64>) -> Tried {
    let mut sum = Tried::default();
    for seed in range {
        match Simulation::new(seed).run() {
            Ok(tried) => sum += tried,
            Err(lost) => panic!("{lost}"),
        }
    }
    sum
}

/// The first breach of `guarantee` that `flaw` leads to, among a few seeds.
fn breach(flaw: Flaw, guarantee: &str) -> Lost {
    let mut others = Vec::new();
    for seed in 0..30 {
        match Simulation::new(seed).flaw(flaw).run() {
            Err(lost) if lost.what.starts_with(guarantee) => return lost,
            Err(lost) => others.push(lost.what),
            Ok(_) => {}
        }
    }
    panic!("{flaw:?} breaks no {guarantee}, but {others:#?}");
}

#[test]
fn whatever_happens_to_engine_disk_redis_and_clock_no_promise_is_broken() {
    let tried = run(0..200);
    let deaths = [tried.power_cuts, tried.kills, tried.closings, tried.openings_in_vain];
    assert!(deaths.iter().all(|count| *count > 100), "{tried:?}");
    let faults = [tried.disk_faults, tried.redis_faults, tried.network_faults, tried.failovers];
    assert!(faults.iter().all(|count| *count > 100), "{tried:?}");
    let attacks = [tried.strangers, tried.tokens, tried.rots_refused, tried.compactions];
    assert!(attacks.iter().all(|count| *count > 100) && tried.compactions_in_vain > 20, "{tried:?}");
    assert!(tried.orders > 4_000 && tried.refunds > 400 && tried.messages > 10_000, "{tried:?}");
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..10 {
        assert_eq!(Simulation::new(seed).run(), Simulation::new(seed).run());
    }
    assert_ne!(Simulation::new(0).run().unwrap().digest, Simulation::new(1).run().unwrap().digest);
}

#[test]
fn control_a_choice_that_the_seed_does_not_make_gives_another_run() {
    let run = || Simulation::new(3).flaw(Flaw::Unseeded).run().unwrap().digest;
    assert_ne!(run(), run());
}

#[test]
fn a_breach_says_how_to_see_it_again() {
    let lost = breach(Flaw::ShyShop, "G2");
    assert_eq!(lost.simulation.run().unwrap_err(), lost);
    assert!(!lost.story.is_empty());
    let seed = lost.simulation.seed;
    let told = lost.to_string();
    let replay = format!("Simulation::new({seed}).steps(150).faults(true).flaw(Flaw::ShyShop).run()");
    assert!(told.starts_with(&format!("seed {seed}, step {}: G2", lost.step)) && told.ends_with(&replay), "{told}");
}

#[test]
fn control_a_unit_that_is_given_to_two_is_found() {
    assert!(breach(Flaw::OneUnitForTwo, "G1").what.contains("the units of another hold"));
}

#[test]
fn control_a_shop_that_says_sold_out_too_early_is_found() {
    assert!(breach(Flaw::ShyShop, "G2").what.contains("told sold out"));
}

#[test]
fn control_a_cancellation_that_was_told_and_not_made_is_found() {
    assert!(breach(Flaw::UnmadeCancel, "G3").what.contains("the others had ended"));
}

#[test]
fn control_a_disk_whose_sync_lies_is_found() {
    breach(Flaw::LyingDisk, "G4");
}

#[test]
fn control_a_script_that_counts_blindly_is_found() {
    assert!(breach(Flaw::BlindScript, "G5").what.contains("redis counts"));
}

#[test]
fn control_a_ledger_that_does_not_look_again_is_found() {
    assert!(breach(Flaw::NoSecondLook, "G5").what.contains("missing"));
}

#[test]
fn control_a_buyer_with_two_accounts_is_found() {
    assert!(breach(Flaw::SecondAccount, "G6").what.contains("the limit was"));
}

#[test]
fn control_ticks_that_do_not_act_are_found() {
    assert!(breach(Flaw::DeafTick, "G7").what.contains("outlived its deadline"));
}

#[test]
fn control_an_opening_that_takes_rot_for_a_torn_write_is_found() {
    assert!(breach(Flaw::RotForTorn, "G4").what.contains("has rotted, and was taken for a torn write"));
}

#[test]
fn control_a_door_that_makes_an_invitation_for_whoever_asks_is_found() {
    assert!(breach(Flaw::OpenDoor, "G8").what.contains("and it is for (Invited"));
}

#[test]
fn control_a_door_that_takes_a_token_without_its_tag_is_found() {
    assert!(breach(Flaw::UncheckedTag, "G8").what.contains("was taken"));
}

#[test]
fn control_a_door_that_sends_an_old_token_to_the_next_hold_is_found() {
    assert!(breach(Flaw::SlotForToken, "G8").what.contains("an old token"));
}

#[test]
fn control_a_shop_that_serves_another_in_the_line_is_found() {
    assert!(breach(Flaw::JumpedLine, "G12").what.contains("who is first"));
}

#[test]
fn control_a_compaction_that_was_never_synced_is_found() {
    assert!(breach(Flaw::UnsyncedDraft, "G4").what.contains("can't be opened again"));
}
