//! The scenario file: what TOML may stand in it, and the rules between its values.

mod arrivals;
mod changes;
mod sales;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use self::{
    arrivals::ArrivalsTable,
    changes::ChangeTable,
    sales::{SaleTable, Sales},
};
use super::{
    Arrivals, AudiencePlan, Baskets, Bots, Crowd, DoubleClicks, Messages, Payment, Purpose, Retries, SalePlan,
    Scenario, ScenarioError, Sharing, Waiting,
};
use crate::{
    shown::explained,
    units::{Share, Span, Speed},
};

/// How many hold lengths after the last arrival the last person leaves, unless the file says otherwise.
const HOLDS_UNTIL_GIVING_UP: u32 = 4;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    #[serde(default)]
    story: String,
    speed: Option<Speed>,
    gives_up: Option<Spanned<Span>>,
    sales: Spanned<Vec<Spanned<SaleTable>>>,
    crowd: Spanned<CrowdTable>,
    arrivals: Spanned<Vec<Spanned<ArrivalsTable>>>,
    #[serde(default)]
    retries: Retries,
    #[serde(default)]
    double_clicks: DoubleClicks,
    #[serde(default)]
    bots: Bots,
    baskets: Option<Spanned<Baskets>>,
    #[serde(default)]
    waiting: Waiting,
    sharing: Option<Spanned<Sharing>>,
    #[serde(default)]
    messages: Messages,
    #[serde(default)]
    changes: Vec<Spanned<ChangeTable>>,
    payment: Option<Spanned<Payment>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CrowdTable {
    people: u32,
    registered: Option<Share>,
    quantities: Option<Vec<f64>>,
    sales: Option<BTreeMap<String, f64>>,
}

/// Where rules complain: the file's name and its text.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn wrong<T>(&self, place: &Spanned<T>, problem: impl Into<String>) -> ScenarioError {
        let before = self.text.get(..place.span().start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        ScenarioError::Rule { file: self.name.to_owned(), line, problem: explained(&problem.into()) }
    }
}

/// Reads a scenario; `folder` is where its traces are looked for.
pub(super) fn read(text: &str, name: &str, folder: &Path) -> Result<Scenario, ScenarioError> {
    let file: File = toml::from_str(text)
        .map_err(|error| ScenarioError::Toml { file: name.to_owned(), message: explained(&located(&error)) })?;
    let source = Source { name, text };
    if file.sales.get_ref().is_empty() {
        return Err(source.wrong(&file.sales, "no sale; expected at least one [[sales]]"));
    }
    let mut sales = sales::read(file.sales.get_ref(), file.crowd.get_ref().sales.as_ref(), &source)?;
    let crowd = crowd(&file, &source, &sales.plans)?;
    let (stages, arrivals) = arrivals::read(&file.arrivals, &sales, folder, &source)?;
    registered_beforehand(&mut sales.plans, &arrivals);
    let baskets = baskets(&file, &source, &sales)?;
    let sharing = sharing(&file, &source)?;
    let changes = changes::read(&file.changes, &sales, &source)?;
    let payment = payment(&file, &source)?;
    Ok(Scenario {
        name: proper_name(&file, &source)?,
        gives_up: gives_up(&file, &source, &arrivals, &sales.plans)?,
        story: file.story,
        speed: file.speed.unwrap_or(Speed(1.0)),
        sales: sales.plans,
        crowd,
        stages,
        arrivals,
        retries: file.retries,
        double_clicks: file.double_clicks,
        bots: file.bots,
        baskets,
        waiting: file.waiting,
        sharing,
        messages: file.messages,
        changes,
        payment,
    })
}

/// What is wrong and where; of what is nested too deep the parser doesn't say where.
fn located(error: &toml::de::Error) -> String {
    let hint = if error.span().is_some() { "" } else { "; expected tables and arrays at most 80 deep" };
    format!("{}{hint}", error.to_string().trim_end())
}

/// When the last person leaves.
fn gives_up(
    file: &File,
    source: &Source<'_>,
    arrivals: &[Arrivals],
    sales: &[SalePlan],
) -> Result<Duration, ScenarioError> {
    let first_arrival = arrivals.iter().map(|arrivals| arrivals.curve.starts).fold(f64::INFINITY, f64::min);
    match &file.gives_up {
        Some(span) if span.get_ref().0.as_secs_f64() <= first_arrival => {
            let problem = format!("everybody leaves after {}, before anybody comes; expected more", span.get_ref());
            Err(source.wrong(span, problem))
        }
        Some(span) => Ok(span.get_ref().0),
        None => {
            let longest_hold = sales.iter().map(|sale| sale.hold + sale.grace).max().unwrap_or_default();
            let patience = longest_hold * HOLDS_UNTIL_GIVING_UP;
            let last_arrival = arrivals.iter().map(|arrivals| arrivals.curve.ends()).fold(0.0, f64::max);
            let last_arrival = Duration::try_from_secs_f64(last_arrival).unwrap_or(Duration::MAX);
            Ok(last_arrival.saturating_add(patience))
        }
    }
}

/// A sale that nobody registers for while it runs was registered for before.
fn registered_beforehand(sales: &mut [SalePlan], arrivals: &[Arrivals]) {
    let needed: Vec<_> = sales
        .iter()
        .filter_map(|sale| match sale.audience {
            AudiencePlan::RegisteredFor(other) => Some(other),
            _ => None,
        })
        .collect();
    for (place, sale) in sales.iter_mut().enumerate() {
        let registers_live = arrivals.iter().any(|arrivals| arrivals.purpose == Purpose::RegistersFor(place));
        sale.registered_beforehand = !registers_live && (sale.is_registered_for() || needed.contains(&place));
    }
}

fn proper_name(file: &File, source: &Source<'_>) -> Result<String, ScenarioError> {
    let name = file.name.get_ref();
    let proper = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if name.is_empty() || name.len() > 64 || !name.chars().all(proper) {
        return Err(source.wrong(&file.name, format!("name {name:?}; expected 1 to 64 of A-Z a-z 0-9 . _ -")));
    }
    Ok(name.clone())
}

fn crowd(file: &File, source: &Source<'_>, sales: &[SalePlan]) -> Result<Crowd, ScenarioError> {
    let table = file.crowd.get_ref();
    let wrong = |problem: String| source.wrong(&file.crowd, problem);
    if table.people == 0 {
        return Err(wrong("a crowd of 0 people; expected at least 1".to_owned()));
    }
    let quantities = table.quantities.clone().unwrap_or_else(|| vec![1.0]);
    if !weights_are_proper(&quantities) {
        return Err(wrong("quantities; expected weights of asking for 1, 2, 3, ... units, not all 0".to_owned()));
    }
    let most = quantities.iter().rposition(|weight| *weight > 0.0).unwrap_or_default();
    let largest = sales.iter().map(|sale| sale.largest).max().unwrap_or(1);
    if !u32::try_from(most).is_ok_and(|most| most < largest) {
        let units = most + 1;
        return Err(wrong(format!("some ask for {units} units; expected at most {largest}, the `largest` of a sale")));
    }
    sales::check_weights(file.sales.get_ref(), table.sales.as_ref()).map_err(wrong)?;
    Ok(Crowd { people: table.people, registered: table.registered.unwrap_or(Share(1.0)), quantities })
}

fn payment(file: &File, source: &Source<'_>) -> Result<Payment, ScenarioError> {
    let Some(payment) = &file.payment else { return Ok(Payment::default()) };
    if !weights_are_proper(&payment.get_ref().weights()) {
        return Err(source.wrong(payment, "expected weights of at least 0 for the ways to pay, not all 0"));
    }
    Ok(payment.get_ref().clone())
}

fn baskets(file: &File, source: &Source<'_>, sales: &Sales) -> Result<Baskets, ScenarioError> {
    let Some(spanned) = &file.baskets else { return Ok(Baskets::default()) };
    let baskets = spanned.get_ref();
    let wanted = sales.plans.iter().filter(|sale| sale.weight > 0.0).count();
    if baskets.kinds < 2 || usize::try_from(baskets.kinds).map_or(true, |kinds| kinds > wanted) {
        let problem =
            format!("baskets of up to {} sales; expected 2 to {wanted}, the sales that are wanted", baskets.kinds);
        return Err(source.wrong(spanned, problem));
    }
    if baskets.tickets < baskets.kinds {
        let (tickets, kinds) = (baskets.tickets, baskets.kinds);
        return Err(
            source.wrong(spanned, format!("baskets of {tickets} units of {kinds} sales; expected at least {kinds}"))
        );
    }
    Ok(baskets.clone())
}

fn sharing(file: &File, source: &Source<'_>) -> Result<Sharing, ScenarioError> {
    let Some(spanned) = &file.sharing else { return Ok(Sharing::default()) };
    let draws = spanned.get_ref().draws;
    if !(0.0..=1_000.0).contains(&draws) {
        return Err(source.wrong(spanned, format!("each share draws {draws} people; expected 0 to 1000")));
    }
    Ok(spanned.get_ref().clone())
}

fn weights_are_proper(weights: &[f64]) -> bool {
    weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
        && (f64::MIN_POSITIVE..=f64::MAX).contains(&weights.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{UnitsPlan, WhatChanges};

    const GOOD: &str = r#"
name = "own"
speed = "60x"

[[sales]]
name = "mug"
stock = 10

[crowd]
people = 100

[[arrivals]]
step = { rate = "10/s", lasts = "10s" }

[[arrivals]]
spike = { at = "+5s", visits = 500, plateau = "1s", decay = "2s" }
"#;

    fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        Scenario::parse(text, "own.toml", Path::new("."))
    }

    fn problem(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_scenario_needs_little_and_means_what_it_says() {
        let scenario = parse(GOOD).unwrap();
        assert_eq!(scenario.sales[0].cap, 1);
        assert!((scenario.visits() - 600.0).abs() < 0.001);
        assert!((scenario.arrivals[1].curve.starts - 5.0).abs() < 0.001);
        assert!(scenario.gives_up > Duration::from_mins(15));
    }

    #[test]
    fn phases_follow_each_other_unless_they_say_when() {
        let two = format!("{GOOD}\n[[arrivals]]\nramp = {{ from = 1, to = \"9/s\", lasts = \"4s\" }}\n");
        let scenario = parse(&two).unwrap();
        assert!((scenario.arrivals[2].curve.starts - scenario.arrivals[1].curve.ends()).abs() < 1e-9);
    }

    #[test]
    fn a_broken_file_is_named_by_line_and_by_what_was_expected() {
        for (from, to, line, expected) in [
            ("stock = 10", "stock = ten", 7, "invalid"),
            ("stock = 10", "stcok = 10", 7, "expected one of"),
            ("people = 100", "people = \"many\"", 10, "expected u32"),
            ("\"60x\"", "\"fast\"", 3, "expected"),
            ("\"10/s\"", "\"10 per day\"", 13, "a rate such as"),
            ("lasts = \"10s\"", "lasts = 10", 13, "a span of time"),
            ("step =", "stairs =", 13, "expected one of"),
        ] {
            let problem = problem(from, to);
            assert!(problem.contains(&format!("line {line}")), "{problem}");
            assert!(problem.contains(expected) || problem.contains("is not"), "{problem}");
        }
    }

    #[test]
    fn values_that_contradict_each_other_are_named_by_line() {
        for (from, to, start) in [
            ("stock = 10", "stock = 0", "own.toml:7: a stock of 0"),
            ("stock = 10", "stock = 4000000000", "own.toml:7: a stock of 4000000000"),
            ("stock = 10", "stock = 10\nlargest = 2", "own.toml:5: a largest hold of 2 units with a cap of 1"),
            ("stock = 10", "stock = 10\nhold = \"2years\"", "own.toml:5: a hold of"),
            ("people = 100", "people = 0", "own.toml:9: a crowd of 0"),
            ("people = 100", "people = 100\nsales = { cup = 1 }", "own.toml:9: the crowd wants \"cup\""),
            ("people = 100", "people = 100\nquantities = [0]", "own.toml:9: quantities"),
            ("people = 100", "people = 100\nquantities = [1e308, 1e308]", "own.toml:9: quantities"),
            ("people = 100", "people = 100\nquantities = [1, 0, 1]", "own.toml:9: some ask for 3 units"),
            ("speed = \"60x\"", "gives_up = \"0s\"", "own.toml:3: everybody leaves after 0s"),
            ("\"10/s\", lasts = \"10s\"", "\"1000M/s\", lasts = \"1h\"", "own.toml:12: 3.6000000005e12 visits"),
            ("visits = 500", "visits = 500, peak = 9", "own.toml:15: expected either"),
            ("decay = \"2s\"", "decay = \"0s\"", "own.toml:15: a decay of 0s"),
            ("name = \"own\"", "name = \"o w n\"", "own.toml:2: name"),
        ] {
            let problem = problem(from, to);
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn a_trace_elsewhere_is_refused_and_nothing_of_that_file_is_shown() {
        for file in ["../secret.csv", "/etc/passwd", "a/../../b.csv", "..", "./../x"] {
            let trace = format!("trace = {{ file = {file:?} }}");
            let problem = problem("step = { rate = \"10/s\", lasts = \"10s\" }", &trace);
            assert!(problem.starts_with("own.toml:12: a trace elsewhere"), "{problem}");
        }
        let below = problem("step = { rate = \"10/s\", lasts = \"10s\" }", "trace = { file = \"./no/such.csv\" }");
        assert!(below.contains("no/such.csv"), "{below}");
    }

    #[test]
    fn a_hostile_file_is_refused_by_line_and_shown_in_part() {
        let long = "x".repeat(1_000_000);
        for (from, to, line) in [
            ("stock = 10", "stock = 10\nunits = { seats = { rows = 65_536, per_row = 65_536 } }".to_owned(), 7),
            (
                "stock = 10",
                "stock = 4_000_000_000\nunits = { seats = { rows = 40_000, per_row = 100_000 } }".to_owned(),
                7,
            ),
            ("stock = 10", "stock = 10\nshops = 999_999_999".to_owned(), 8),
            ("stock = 10", format!("stock = \"{long}\""), 7),
            ("stock = 10", "stock = 99999999999999999999999999".to_owned(), 7),
            ("stock = 10", "stock = nan".to_owned(), 7),
            ("people = 100", "people = 100\nquantities = [nan]".to_owned(), 9),
            ("people = 100", "people = 100\nquantities = [inf]".to_owned(), 9),
            ("people = 100", format!("people = 100\nsales = {{ {long} = 1 }}"), 9),
            ("speed = \"60x\"", format!("deep = {}", "[".repeat(100_000)), 3),
            ("speed = \"60x\"", format!("deep = {}", "{a=".repeat(100_000)), 3),
            ("speed = \"60x\"", format!("{}x = 1", "a.".repeat(10_000)), 3),
            ("name = \"own\"", format!("name = \"{long}\""), 2),
        ] {
            let problem = problem(from, &to);
            let deep = problem.contains("recursion limit; expected tables and arrays at most 80 deep");
            let named = problem.contains(&format!("own.toml:{line}:")) || problem.contains(&format!("line {line},"));
            // Line 3 is where the nested ones stand, and the parser does not say so.
            let named = named || (deep && line == 3);
            assert!(named && problem.len() < 4_096, "{problem}");
        }
    }

    #[test]
    fn a_trace_is_looked_for_beside_the_file() {
        let problem = problem("step = { rate = \"10/s\", lasts = \"10s\" }", "trace = { file = \"no.csv\" }");
        assert!(problem.contains("no.csv"), "{problem}");
    }

    #[test]
    fn an_unknown_name_suggests_its_neighbours() {
        let error = |name| Scenario::find(name).unwrap_err().to_string();
        assert!(error("meizu").contains("meizu-mx3"));
        assert!(error("post-cards").contains("postcards"));
        assert!(error("zzz").contains("guijiaoqi-books"));
        assert!(Scenario::find("nowhere.toml").unwrap_err().is_unreadable());
    }

    /// Every key that a story needs.
    const STORY: &str = r#"
name = "story"

[[sales]]
name = "coupon"
stock = 50
audience = "registered"
registers_from = "+0s"
registers_until = "+50s"

[[sales]]
name = "phone"
stock = 20
audience = "invited"
opens_at = "+1m"
everyone_from = "+2m"
reminds_at = "+40s"
links_at = "+55s"
waitlist = { room = 100, accept_within = "30s", order = { lottery = 42 } }

[[sales]]
name = "ticket"
stock = 6
cap = 4
largest = 2
audience = { buyers-of = "coupon" }
units = { seats = { rows = 2, per_row = 3 } }
waitlist = { room = 9, accept_within = "30s" }

[[sales]]
name = "cash"
stock = 100
audience = { registered-for = "phone" }
units = { amounts = { budget = 20_000, floor = 1, ceiling = 900, seed = 7 } }

[[sales]]
name = "shop"
stock = 5
shops = 300
popularity = { hot = 3, share = "60%" }
units = "numbered"

[crowd]
people = 1_000
sales = { ticket = 1, shop = 4 }

[[arrivals]]
stage = "before"
registers_for = "coupon"
step = { rate = "10/s", lasts = "10s" }

[[arrivals]]
registers_for = "phone"
step = { rate = "10/s", lasts = "10s" }

[[arrivals]]
wants = "coupon"
step = { rate = "10/s", lasts = "10s" }

[[arrivals]]
step = { at = "+1m", rate = "10/s", lasts = "10s" }

[baskets]
share = "20%"
kinds = 3
tickets = 4

[waiting]
share = "50%"
leaves = "10%"
pays = "70%"

[sharing]
share = "30%"
draws = 1.5

[messages]
borrowed = "10%"

[[changes]]
at = "+2m"
sale = "phone"
add = 10

[[changes]]
at = "+1m"
all = "pause"

[[changes]]
at = "+3m"
sale = "shop-000007"
opens_at = "+4m"
closes_at = "+9m"
"#;

    fn story_problem(from: &str, to: &str) -> String {
        assert!(STORY.contains(from), "{from}");
        parse(&STORY.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_story_reads_and_its_names_stand_for_sales() {
        let story = parse(STORY).unwrap();
        assert_eq!(story.sales.len(), 304);
        let audiences: Vec<_> = story.sales[..4].iter().map(|sale| sale.audience).collect();
        let expected = [
            AudiencePlan::Registered,
            AudiencePlan::Invited,
            AudiencePlan::BuyersOf(0),
            AudiencePlan::RegisteredFor(1),
        ];
        assert_eq!(audiences, expected);
        assert!(story.sales.iter().all(|sale| !sale.registered_beforehand), "they register while it runs");
        assert_eq!(story.stages, ["before", "register", "sale"]);
        let purposes: Vec<_> = story.arrivals.iter().map(|arrivals| arrivals.purpose).collect();
        let expected = [Purpose::RegistersFor(0), Purpose::RegistersFor(1), Purpose::Wants(0), Purpose::Wishes];
        assert_eq!(purposes, expected);
        let UnitsPlan::Listed(seats) = &story.sales[2].units else { panic!("no seats") };
        assert_eq!((&*seats[0], &*seats[5]), ("row 1 seat 1", "row 2 seat 3"));
        assert_eq!(story.changes[0].what, WhatChanges::Pause, "changes are in the order of their instants");
        assert_eq!(story.changes[2].sale, Some(10));
        assert_eq!(story.needs().len(), 8);
    }

    #[test]
    fn many_sales_alike_share_a_weight_as_their_popularity_says() {
        let story = parse(STORY).unwrap();
        let shops = &story.sales[4..];
        assert_eq!((shops[0].name.as_str(), shops[299].name.as_str()), ("shop-000001", "shop-000300"));
        let sum = |sales: &[SalePlan]| sales.iter().map(|sale| sale.weight).sum::<f64>();
        assert!((sum(shops) - 4.0).abs() < 1e-9);
        assert!((sum(&shops[..3]) - 2.4).abs() < 1e-9);
        let zipf = STORY.replace("{ hot = 3, share = \"60%\" }", "{ zipf = 1.0 }");
        let weights: Vec<_> = parse(&zipf).unwrap().sales[4..6].iter().map(|sale| sale.weight).collect();
        assert!((weights[0] / weights[1] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_story_that_contradicts_itself_is_named_by_line() {
        for (from, to, start) in [
            ("{ buyers-of = \"coupon\" }", "{ buyers-of = \"cup\" }", "own.toml:21: an audience of \"cup\""),
            ("{ buyers-of = \"coupon\" }", "{ buyers-of = \"ticket\" }", "own.toml:21: an audience of \"ticket\""),
            ("links_at = \"+55s\"", "", "own.toml:11: an invited audience that never gets its links"),
            ("per_row = 3", "per_row = 4", "own.toml:23: a stock of 6 with 8 units listed"),
            ("budget = 20_000", "budget = 99", "own.toml:32: a budget of 99"),
            ("room = 9,", "room = 0,", "own.toml:21: a waitlist without room"),
            ("shops = 300", "shops = 0", "own.toml:39: 0 shops"),
            ("hot = 3,", "hot = 300,", "own.toml:40: expected { hot = 20"),
            ("registers_until = \"+50s\"", "registers_until = \"+0s\"", "own.toml:4: a registration that ends"),
            ("audience = \"invited\"", "audience = \"everyone\"", "own.toml:11: everyone_from"),
            ("wants = \"coupon\"", "wants = \"shop\"", "own.toml:56: people come for \"shop\""),
            ("registers_for = \"phone\"", "registers_for = \"ticket\"", "own.toml:52: nobody needs to register"),
            (
                "wants = \"coupon\"",
                "wants = \"coupon\"\npoisson = { rate = 1, lasts = \"1s\" }",
                "own.toml:56: expected one of",
            ),
            ("kinds = 3", "kinds = 1", "own.toml:63: baskets of up to 1 sales"),
            ("tickets = 4", "tickets = 2", "own.toml:63: baskets of 2 units of 3 sales"),
            ("draws = 1.5", "draws = -1", "own.toml:73: each share draws -1"),
            ("add = 10", "add = 10\ncap = 2", "own.toml:80: a change of nothing; expected one of `add`"),
            ("sale = \"shop-000007\"", "sale = \"shop\"", "own.toml:89: a change of \"shop\""),
        ] {
            let problem = story_problem(from, to);
            assert!(problem.starts_with(start), "{problem}");
        }
        let unknown = story_problem("hot = 3,", "hit = 3,");
        assert!(unknown.contains("line 40") && unknown.contains("expected one of"), "{unknown}");
    }
}
