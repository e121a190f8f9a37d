//! `loadgen list`: the sales that come with the program.

use std::fmt::Write;

use super::console::Console;
use crate::{
    exit::Exit,
    number::whole,
    report::grouped,
    scenario::{Scenario, built_ins},
};

pub(super) fn list(console: &Console) -> Exit {
    let mut text = format!("{:16} {:>8} {:>9} {:>7}  story\n", "name", "units", "crowd", "speed");
    for (name, _) in built_ins() {
        let scenario = Scenario::find(name).expect("a test reads every built-in scenario");
        let (units, crowd) = (grouped(scenario.units()), grouped(whole(scenario.visits().round())));
        let (speed, story) = (scenario.speed.to_string(), &scenario.story);
        writeln!(text, "{name:16} {units:>8} {crowd:>9} {speed:>7}  {story}").expect("writing to a string can't fail");
    }
    console.result(&text);
    Exit::Good
}
