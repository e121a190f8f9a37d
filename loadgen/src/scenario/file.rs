//! The scenario file: what TOML may stand in it, and the rules between its values.

use std::{collections::BTreeMap, path::Path, time::Duration};

use sellout::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use super::{
    Bots, Crowd, DoubleClicks, Payment, Retries, SalePlan, Scenario, ScenarioError,
    phases::{Meaning, Phase},
};
use crate::{
    arrivals::Curve,
    units::{Offset, Share, Span, Speed},
};

/// How many hold lengths after the last arrival the last person leaves, unless the file says otherwise.
const HOLDS_UNTIL_GIVING_UP: u32 = 4;

/// More first visits than that come to no sale; the instants of more could not be told apart either.
const MOST_VISITS: f64 = 1e12;

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
    arrivals: Spanned<Vec<Spanned<Phase>>>,
    #[serde(default)]
    retries: Retries,
    #[serde(default)]
    double_clicks: DoubleClicks,
    #[serde(default)]
    bots: Bots,
    payment: Option<Spanned<Payment>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaleTable {
    name: String,
    stock: Spanned<u32>,
    cap: Option<u32>,
    largest: Option<u32>,
    hold: Option<Span>,
    grace: Option<Span>,
    opens_at: Option<Offset>,
    closes_at: Option<Offset>,
    #[serde(default)]
    audience: AudienceName,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AudienceName {
    #[default]
    Everyone,
    Registered,
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
        ScenarioError::Rule { file: self.name.to_owned(), line, problem: problem.into() }
    }
}

/// Reads a scenario; `folder` is where its traces are looked for.
pub(super) fn read(text: &str, name: &str, folder: &Path) -> Result<Scenario, ScenarioError> {
    let file: File = toml::from_str(text).map_err(|error| ScenarioError::Toml {
        file: name.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    let source = Source { name, text };
    let sales = sales(&file, &source)?;
    let crowd = crowd(&file, &source, &sales)?;
    let arrivals = arrivals(&file, &source, folder)?;
    let payment = payment(&file, &source)?;
    let last_arrival = arrivals.iter().map(Curve::ends).fold(0.0, f64::max);
    let first_arrival = arrivals.iter().map(|curve| curve.starts).fold(f64::INFINITY, f64::min);
    if let Some(span) = &file.gives_up
        && span.get_ref().0.as_secs_f64() <= first_arrival
    {
        let problem = format!("everybody leaves after {}, before anybody comes; expected more", span.get_ref());
        return Err(source.wrong(span, problem));
    }
    let longest_hold = sales.iter().map(|sale| sale.hold + sale.grace).max().unwrap_or_default();
    let patience = longest_hold * HOLDS_UNTIL_GIVING_UP;
    let last_arrival = Duration::try_from_secs_f64(last_arrival).unwrap_or(Duration::MAX);
    Ok(Scenario {
        name: proper_name(&file, &source)?,
        story: file.story,
        speed: file.speed.unwrap_or(Speed(1.0)),
        gives_up: file.gives_up.map_or_else(|| last_arrival.saturating_add(patience), |span| span.get_ref().0),
        sales,
        crowd,
        arrivals,
        retries: file.retries,
        double_clicks: file.double_clicks,
        bots: file.bots,
        payment,
    })
}

fn proper_name(file: &File, source: &Source<'_>) -> Result<String, ScenarioError> {
    let name = file.name.get_ref();
    let proper = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if name.is_empty() || name.len() > 64 || !name.chars().all(proper) {
        return Err(source.wrong(&file.name, format!("name {name:?}; expected 1 to 64 of A-Z a-z 0-9 . _ -")));
    }
    Ok(name.clone())
}

fn sales(file: &File, source: &Source<'_>) -> Result<Vec<SalePlan>, ScenarioError> {
    if file.sales.get_ref().is_empty() {
        return Err(source.wrong(&file.sales, "no sale; expected at least one [[sales]]"));
    }
    let mut plans: Vec<SalePlan> = Vec::new();
    for spanned in file.sales.get_ref() {
        let table = spanned.get_ref();
        let weight = match &file.crowd.get_ref().sales {
            Some(weights) => weights.get(&table.name).copied().unwrap_or(0.0),
            None => 1.0,
        };
        let cap = table.cap.unwrap_or(1);
        let plan = SalePlan {
            name: table.name.clone(),
            stock: *table.stock.get_ref(),
            cap,
            largest: table.largest.unwrap_or(1),
            hold: table.hold.map_or(Duration::from_mins(15), |span| span.0),
            grace: table.grace.map_or(Duration::from_secs(2), |span| span.0),
            opens_at: table.opens_at.map_or(Duration::ZERO, |at| at.0),
            closes_at: table.closes_at.map(|at| at.0),
            registered_only: table.audience == AudienceName::Registered,
            weight,
        };
        plan.spec(Timestamp::MIN).check().map_err(|error| match error {
            sellout::SpecError::Stock { .. } => source.wrong(&table.stock, error.to_string()),
            error => source.wrong(spanned, error.to_string()),
        })?;
        if plans.iter().any(|other| other.name == plan.name) {
            return Err(source.wrong(spanned, format!("a second sale called {:?}; expected another name", plan.name)));
        }
        plans.push(plan);
    }
    Ok(plans)
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
    if let Some(weights) = &table.sales {
        if let Some(name) = weights.keys().find(|name| sales.iter().all(|sale| &sale.name != *name)) {
            return Err(wrong(format!("the crowd wants {name:?}; expected the name of one of the [[sales]]")));
        }
        if !weights_are_proper(&weights.values().copied().collect::<Vec<_>>()) {
            return Err(wrong("sales; expected a weight of at least 0 a sale, not all 0".to_owned()));
        }
    }
    Ok(Crowd { people: table.people, registered: table.registered.unwrap_or(Share(1.0)), quantities })
}

fn arrivals(file: &File, source: &Source<'_>, folder: &Path) -> Result<Vec<Curve>, ScenarioError> {
    let mut curves: Vec<Curve> = Vec::new();
    for phase in file.arrivals.get_ref() {
        let previous_end = curves.last().map_or(0.0, Curve::ends);
        match phase.get_ref().curve(previous_end, folder)? {
            Meaning::Curve(curve) => curves.push(curve),
            Meaning::Nonsense(problem) => return Err(source.wrong(phase, problem)),
        }
    }
    let visits = curves.iter().map(Curve::visits).sum::<f64>();
    // A sum that is no number is in no range.
    if !(0.0..=MOST_VISITS).contains(&visits) {
        let problem = format!("{visits:e} visits; expected at most {MOST_VISITS:e} in all [[arrivals]] together");
        return Err(source.wrong(&file.arrivals, problem));
    }
    if visits < 1.0 {
        return Err(source.wrong(&file.arrivals, "nobody comes; expected [[arrivals]] with at least one visit"));
    }
    Ok(curves)
}

fn payment(file: &File, source: &Source<'_>) -> Result<Payment, ScenarioError> {
    let Some(payment) = &file.payment else { return Ok(Payment::default()) };
    if !weights_are_proper(&payment.get_ref().weights()) {
        return Err(source.wrong(payment, "expected weights of at least 0 for the ways to pay, not all 0"));
    }
    Ok(payment.get_ref().clone())
}

fn weights_are_proper(weights: &[f64]) -> bool {
    weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
        && (f64::MIN_POSITIVE..=f64::MAX).contains(&weights.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!((scenario.arrivals[1].starts - 5.0).abs() < 0.001);
        assert!(scenario.gives_up > Duration::from_mins(15));
    }

    #[test]
    fn phases_follow_each_other_unless_they_say_when() {
        let two = format!("{GOOD}\n[[arrivals]]\nramp = {{ from = 1, to = \"9/s\", lasts = \"4s\" }}\n");
        let scenario = parse(&two).unwrap();
        assert!((scenario.arrivals[2].starts - scenario.arrivals[1].ends()).abs() < 1e-9);
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
}
