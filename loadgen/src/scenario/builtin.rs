//! The scenarios that come with the program: files, compiled in.

/// Name and text of every built-in scenario, in the order of the story.
#[must_use]
pub const fn built_ins() -> &'static [(&'static str, &'static str)] {
    &[
        ("meizu-mx3", include_str!("../../scenarios/meizu-mx3.toml")),
        ("guijiaoqi-books", include_str!("../../scenarios/guijiaoqi-books.toml")),
        ("postcards", include_str!("../../scenarios/postcards.toml")),
    ]
}

/// The text of the built-in scenario `name`.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static str> {
    built_ins().iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::{AudiencePlan, Scenario};

    #[test]
    fn every_built_in_scenario_reads_and_carries_its_own_name() {
        for (name, text) in built_ins() {
            let scenario = Scenario::parse(text, name, Path::new(".")).unwrap();
            assert_eq!(&scenario.name, name);
            assert!(!scenario.story.is_empty());
        }
    }

    #[test]
    fn the_meizu_crowd_is_large_and_not_all_of_it_was_let_in() {
        let scenario = Scenario::find("meizu-mx3").unwrap();
        assert_eq!(scenario.units(), 2_099);
        assert!(scenario.crowd.people >= 250_000);
        assert!(scenario.visits() >= 250_000.0);
        assert!(scenario.crowd.registered.0 < 1.0);
        assert_eq!(scenario.sales[0].audience, AudiencePlan::Registered);
        assert!(scenario.sales[0].registered_beforehand);
    }

    #[test]
    fn every_built_in_scenario_is_over_in_a_minute_of_running_time() {
        for (name, _) in built_ins() {
            let scenario = Scenario::find(name).unwrap();
            assert!(scenario.gives_up.as_secs_f64() / scenario.speed.0 <= 60.0, "{name}");
        }
    }
}
