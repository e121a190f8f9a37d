//! What people type: spans ("15m"), instants after the start ("+10s"), rates ("50k/s"), shares ("5%"), speeds ("60x").
//!
//! One small type each, that can only hold what makes sense. They parse from the command line and from a scenario
//! file alike, and their errors say what was expected.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A text that isn't what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {expected}")]
pub struct UnitError {
    given: String,
    expected: &'static str,
}

impl UnitError {
    fn new(given: &str, expected: &'static str) -> Self {
        Self { given: given.to_owned(), expected }
    }
}

/// How long: "15m", "1h 30m", "250ms".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// When, counted from the start of the run: "+10s"; the sign may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub Duration);

/// Visits in a second of scenario time: "200/s", "1.5k/s", "90/m", "12/h"; a bare number is per second.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

/// A part of the whole: "5%" or 0.05, between none and all.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

/// How many seconds of scenario time pass in one real second: "60x".
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Speed(pub f64);

const SPAN: &str = "a span of time such as \"15m\", \"1h 30m\" or \"250ms\"";
const OFFSET: &str = "an instant after the start such as \"+10s\" or \"+1h 30m\"";
const RATE: &str = "a rate such as \"200/s\", \"1.5k/s\", \"90/m\" or \"12/h\"";
const SHARE: &str = "a share between 0 and 1, or a percentage such as \"5%\"";
const SPEED: &str = "a speed between 0.001 and 1000000 such as \"60x\" or \"0.5x\"";

impl Default for Share {
    fn default() -> Self {
        Self(0.0)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        humantime::parse_duration(text.trim()).map(Self).map_err(|_| UnitError::new(text, SPAN))
    }
}

impl FromStr for Offset {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        let span = trimmed.strip_prefix('+').unwrap_or(trimmed);
        humantime::parse_duration(span).map(Self).map_err(|_| UnitError::new(text, OFFSET))
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, RATE);
        let (amount, unit) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            _ => return Err(error()),
        };
        let amount = amount.trim();
        let (digits, factor) = match amount.as_bytes().last() {
            Some(b'k' | b'K') => (&amount[..amount.len() - 1], 1e3),
            Some(b'm' | b'M') => (&amount[..amount.len() - 1], 1e6),
            _ => (amount, 1.0),
        };
        let number: f64 = digits.trim().parse().map_err(|_| error())?;
        Self::checked(number * factor / seconds).ok_or_else(error)
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, SHARE);
        let (digits, whole) = match text.trim().strip_suffix('%') {
            Some(digits) => (digits, 100.0),
            None => (text.trim(), 1.0),
        };
        let number: f64 = digits.trim().parse().map_err(|_| error())?;
        Self::checked(number / whole).ok_or_else(error)
    }
}

impl FromStr for Speed {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, SPEED);
        let trimmed = text.trim();
        let digits = trimmed.strip_suffix(['x', 'X']).unwrap_or(trimmed);
        let number: f64 = digits.parse().map_err(|_| error())?;
        Self::checked(number).ok_or_else(error)
    }
}

impl Rate {
    fn checked(number: f64) -> Option<Self> {
        (0.0..=1e9).contains(&number).then_some(Self(number))
    }
}

impl Share {
    fn checked(number: f64) -> Option<Self> {
        (0.0..=1.0).contains(&number).then_some(Self(number))
    }
}

impl Speed {
    fn checked(number: f64) -> Option<Self> {
        (1e-3..=1e6).contains(&number).then_some(Self(number))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", self.0)
    }
}

/// Reads a unit from a text, or from a number where a number says it all.
struct Reader<T> {
    expected: &'static str,
    of_number: fn(f64) -> Option<T>,
}

impl<T: FromStr<Err = UnitError>> de::Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        (self.of_number)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let error = || E::invalid_value(de::Unexpected::Signed(number), &self);
        let small = i32::try_from(number).map_err(|_| error())?;
        (self.of_number)(f64::from(small)).ok_or_else(error)
    }
}

macro_rules! read_from_file {
    ($($unit:ident, $expected:expr, $of_number:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Reader { expected: $expected, of_number: $of_number })
            }
        }
    )*};
}

read_from_file! {
    Span, SPAN, |_| None;
    Offset, OFFSET, |_| None;
    Rate, RATE, Rate::checked;
    Share, SHARE, Share::checked;
    Speed, SPEED, Speed::checked;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_what_people_type() {
        assert_eq!("15m".parse(), Ok(Span(Duration::from_mins(15))));
        assert_eq!("+1h 30m".parse(), Ok(Offset(Duration::from_mins(90))));
        assert_eq!("+0s".parse(), Ok(Offset(Duration::ZERO)));
        assert_eq!("1.5k/s".parse(), Ok(Rate(1_500.0)));
        assert_eq!("90/m".parse(), Ok(Rate(1.5)));
        assert_eq!("2M".parse(), Ok(Rate(2e6)));
        assert_eq!("5%".parse(), Ok(Share(0.05)));
        assert_eq!("60x".parse(), Ok(Speed(60.0)));
        assert_eq!("0.5".parse(), Ok(Speed(0.5)));
    }

    #[test]
    fn units_refuse_what_makes_no_sense_and_say_what_was_expected() {
        for text in ["", "0x", "-3x", "fast", "infx", "NaNx", "1e9x", "60xx", "1e-9x"] {
            let error = text.parse::<Speed>().unwrap_err();
            assert!(error.to_string().contains("60x"), "{error}");
        }
        for text in ["-1/s", "3/fortnight", "k/s", "inf/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["101%", "1.1", "-0.1", "some"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert!("quarter".parse::<Span>().is_err());
        assert!("tomorrow".parse::<Offset>().is_err());
        assert!("++5s".parse::<Offset>().is_err());
    }
}
