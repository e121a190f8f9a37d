//! The scenarios that come with the program: files, compiled in.

/// Name and text of every built-in scenario, in the order of the story.
#[must_use]
pub const fn built_ins() -> &'static [(&'static str, &'static str)] {
    &[
        ("meizu-mx3", include_str!("../../scenarios/meizu-mx3.toml")),
        ("guijiaoqi-books", include_str!("../../scenarios/guijiaoqi-books.toml")),
        ("postcards", include_str!("../../scenarios/postcards.toml")),
        ("strawberry-festival", include_str!("../../scenarios/strawberry-festival.toml")),
        ("cash-for-all", include_str!("../../scenarios/cash-for-all.toml")),
        ("device-drops", include_str!("../../scenarios/device-drops.toml")),
        ("every-shop", include_str!("../../scenarios/every-shop.toml")),
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
    use crate::scenario::{AudiencePlan, Scenario, UnitsPlan};

    #[test]
    fn every_built_in_scenario_reads_and_carries_its_own_name() {
        for (name, text) in built_ins() {
            let scenario = Scenario::parse(text, name, Path::new(".")).unwrap();
            assert_eq!(&scenario.name, name);
            assert!(!scenario.story.is_empty());
        }
    }

    #[test]
    fn the_stories_have_their_figures() {
        let units = |name| Scenario::find(name).unwrap().units();
        assert_eq!(units("guijiaoqi-books"), 200);
        assert_eq!(units("postcards"), 1_000);
        assert_eq!(units("cash-for-all"), 1_500_000);
        let shops = Scenario::find("every-shop").unwrap();
        assert_eq!((shops.sales.len(), shops.units()), (400_000, 80_000_000));
        let cash = &Scenario::find("cash-for-all").unwrap().sales[0];
        let UnitsPlan::Amounts(amounts) = &cash.units else { panic!("no amounts") };
        assert_eq!(amounts.budget, u64::from(cash.stock) * 200, "two yuan each");
    }

    #[test]
    fn the_meizu_crowd_is_large_and_comes_in_three_stages() {
        let scenario = Scenario::find("meizu-mx3").unwrap();
        assert_eq!((scenario.sales[0].name.as_str(), scenario.sales[0].stock), ("mx3", 2_099));
        assert_eq!(scenario.stages, ["register", "exchange", "grab"]);
        assert_eq!(scenario.sales[0].audience, AudiencePlan::Invited);
        assert!(scenario.crowd.people >= 250_000 && scenario.visits() >= 500_000.0);
    }

    #[test]
    fn every_built_in_scenario_is_over_in_a_minute_of_running_time() {
        for (name, _) in built_ins() {
            let scenario = Scenario::find(name).unwrap();
            assert!(scenario.gives_up.as_secs_f64() / scenario.speed.0 <= 60.0, "{name}");
        }
    }
}
