//! Numbers, limits and choices of queries, with one grammar everywhere (docs/grammar.md): [`FromStr`] on the command line,
//! serde over a network, where a server bounds the work of one request.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::QuestionError;
use super::read::Refused;
use voisin_engine::{Engine, measured_scale};
use voisin_library::{ScaleName, SortBy};

/// Longest list, and most items in a page, that a server returns.
pub const MOST: u32 = 1000;

/// serde's error for an invalid value.
pub(crate) fn refusal<E: serde::de::Error>(refused: &Refused, found: Unexpected<'_>) -> E {
    E::invalid_value(found, &refused.expected.as_str())
}

/// Values that are text over a network too, by [`FromStr`] and [`fmt::Display`]. A schema lists their names, if they have some.
macro_rules! text_values {
    ($($name:ident: $schema:tt;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|refused| refusal(&refused, Unexpected::Str(&text)))
            }
        }

        schema! { $name: $schema; }
    )*};
}

macro_rules! schema {
    ($($name:ty: $schema:tt;)*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

pub(crate) use {schema, text_values};

text_values! {
    NeighbourOrder: {"type": "string"};
    ListOrder: {"type": "string"};
}

/// Orders: names of a list, or scales'.
macro_rules! orders {
    ($($(#[$comment:meta])* $name:ident($of:ty) = $all:expr, $scale:expr;)*) => {$(
        $(#[$comment])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub(crate) struct $name(pub(crate) $of);

        impl FromStr for $name {
            type Err = Refused;

            fn from_str(text: &str) -> Result<Self, Refused> {
                let named = $all.iter().find(|(name, _)| *name == text).map(|(_, value)| Self(*value));
                // Names of orders come first, so that a scale
                // called "bpm" does not hide the order bpm.
                let scale = || text.parse().ok().map(|name| Self($scale(SortBy::Scale(name))));
                named.or_else(scale).ok_or_else(|| {
                    let names: Vec<&str> = $all.iter().map(|(name, _)| *name).collect();
                    Refused::text(format!("one of {}, or a scale such as energy", names.join(", ")), text)
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let name = $all.iter().find(|(_, value)| *value == self.0).map(|(name, _)| *name);
                // `From` turns a `SortBy` into an `Option`, so
                // that both kinds of orders are shown alike.
                match (name, Option::from(self.0)) {
                    (None, Some(SortBy::Scale(scale))) => scale.fmt(f),
                    (name, _) => f.write_str(name.unwrap_or_default()),
                }
            }
        }
    )*};
}

/// All orders of neighbours but scales, with their names on the command line.
pub(crate) const NEIGHBOUR_ORDERS: [(&str, Option<SortBy>); 4] = [
    ("similarity", None),
    ("bpm", Some(SortBy::Bpm)),
    ("key", Some(SortBy::Key)),
    ("loudness", Some(SortBy::Loudness)),
];

orders! {
    /// The order of neighbours; `None`: by similarity.
    NeighbourOrder(Option<SortBy>) = NEIGHBOUR_ORDERS, Some;
    /// The order of a list of tracks.
    ListOrder(SortBy) = SortBy::ALL, std::convert::identity;
}

/// Refuses a scale that is not measured and of which no track has a value.
///
/// - `field`: the field that names it
/// - `names`: other values of the field
pub(crate) fn check_scale(
    engine: &Engine,
    field: &str,
    scale: ScaleName,
    names: &[&str],
) -> Result<(), QuestionError> {
    if measured_scale(scale.as_str()).is_some() {
        return Ok(());
    }
    let known = engine.library().scales().scale_names()?;
    // A library without scales may be a part of a database.
    if known.is_empty() || known.contains_key(&scale) {
        return Ok(());
    }
    let names = names.iter().map(|name| (*name).to_owned());
    let names: Vec<String> = names.chain(known.keys().map(ToString::to_string)).collect();
    let expected = format!("one of {}", names.join(", "));
    Err(Refused::new(field, expected, scale.as_str()).into())
}

/// [`check_scale`] of an order.
///
/// - `orders`: all others
pub(crate) fn check_order<T>(
    engine: &Engine,
    by: Option<SortBy>,
    orders: &[(&str, T)],
) -> Result<(), QuestionError> {
    let Some(SortBy::Scale(scale)) = by else {
        return Ok(());
    };
    // A misspelt order is read as the name of a scale, so the message has to name the orders, too.
    let names: Vec<&str> = orders.iter().map(|(name, _)| *name).collect();
    check_scale(engine, "sort", scale, &names)
}

/// A limit: a number, or all. A server's limit is at most [`MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(Option<usize>);

impl Limit {
    /// The limit for a list of `all` items.
    pub fn of(self, all: usize) -> usize {
        self.0.map_or(all, |most| most.min(all))
    }

    /// As [`Limit::of`], but counts the items, which may be slow, only if the limit is all.
    pub fn of_counted<E>(self, all: impl FnOnce() -> Result<usize, E>) -> Result<usize, E> {
        self.0.map_or_else(all, Ok)
    }
}

impl From<usize> for Limit {
    fn from(most: usize) -> Self {
        // 0 means all.
        Self(Some(most).filter(|&most| most > 0))
    }
}

impl FromStr for Limit {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        match text.trim().parse::<u32>() {
            Ok(most) => Ok(Self::from(most as usize)),
            Err(_) if text.trim().eq_ignore_ascii_case("all") => Ok(Self(None)),
            Err(_) => Err(Refused::text("a number, or \"all\" (as 0)", text)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(most) => most.fmt(f),
            None => f.write_str("all"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // No "all" over a network, so that no request makes a server send a whole library.
        let WholeNumber(most) = WholeNumber::<1, MOST, MOST>::deserialize(deserializer)?;
        Ok(Self::from(most as usize))
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By the rule above "all" is its maximum.
        self.of(MOST as usize).serialize(serializer)
    }
}

schema! { Limit: {"type": "integer", "minimum": 1, "maximum": MOST}; }

/// A whole number from `LEAST` to `MOST`, over a network to `FAR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WholeNumber<const LEAST: u32, const MOST: u32, const FAR: u32>(u32);

/// A number of 1 or more.
pub type Count = WholeNumber<1, { u32::MAX }, { u32::MAX }>;

/// A limit per artist or album; `None`: no limit, which users write as 0.
pub(crate) fn limit_of(most: Option<u32>) -> Option<usize> {
    most.filter(|&most| most > 0).map(|most| most as usize)
}

impl<const LEAST: u32, const MOST: u32, const FAR: u32> WholeNumber<LEAST, MOST, FAR> {
    /// The number.
    pub fn get(self) -> usize {
        self.0 as usize
    }

    fn bounds(most: u32) -> String {
        if most == u32::MAX {
            format!("{LEAST} or more")
        } else {
            format!("{LEAST} to {most}")
        }
    }
}

impl<const LEAST: u32, const MOST: u32, const FAR: u32> FromStr for WholeNumber<LEAST, MOST, FAR> {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let number = text
            .trim()
            .parse()
            .ok()
            .filter(|number| (LEAST..=MOST).contains(number));
        number
            .map(Self)
            .ok_or_else(|| Refused::text(Self::bounds(MOST), text))
    }
}

impl<'de, const LEAST: u32, const MOST: u32, const FAR: u32> Deserialize<'de>
    for WholeNumber<LEAST, MOST, FAR>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Wider than the type, so that the error of a too
        // large number names the bounds and no overflow.
        let number = u64::deserialize(deserializer)?;
        let fitting = u32::try_from(number)
            .ok()
            .filter(|number| (LEAST..=FAR).contains(number));
        let refused =
            || D::Error::invalid_value(Unexpected::Unsigned(number), &Self::bounds(FAR).as_str());
        fitting.map(Self).ok_or_else(refused)
    }
}

impl<const LEAST: u32, const MOST: u32, const FAR: u32> JsonSchema
    for WholeNumber<LEAST, MOST, FAR>
{
    fn schema_name() -> Cow<'static, str> {
        format!("Whole_{LEAST}_{FAR}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": LEAST, "maximum": FAR})
    }
}

/// A number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Within<const LEAST: i32, const MOST: i32>(f32);

/// A similarity.
pub type Cosine = Within<-1, 1>;
/// A weight or share.
pub type Fraction = Within<0, 1>;

impl<const LEAST: i32, const MOST: i32> Within<LEAST, MOST> {
    pub(crate) const fn new(number: f32) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }

    fn holds(number: f32) -> bool {
        (LEAST as f32..=MOST as f32).contains(&number)
    }

    fn bounds() -> String {
        format!("{LEAST} to {MOST}")
    }
}

impl<const LEAST: i32, const MOST: i32> fmt::Display for Within<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const LEAST: i32, const MOST: i32> Serialize for Within<LEAST, MOST> {
    /// With the digits of its text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0
            // As text and back: 0.8 as f32 is 0.800000011920929 as f64.
            .to_string()
            .parse()
            .unwrap_or(f64::from(self.0))
            .serialize(serializer)
    }
}

impl<const LEAST: i32, const MOST: i32> FromStr for Within<LEAST, MOST> {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let number = text
            .trim()
            .parse()
            .ok()
            .filter(|&number| Self::holds(number));
        number
            .map(Self)
            .ok_or_else(|| Refused::text(Self::bounds(), text))
    }
}

impl<'de, const LEAST: i32, const MOST: i32> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f32::deserialize(deserializer)?;
        let refused =
            || D::Error::invalid_value(Unexpected::Float(number.into()), &Self::bounds().as_str());
        Some(number)
            .filter(|&number| Self::holds(number))
            .map(Self)
            .ok_or_else(refused)
    }
}

impl<const LEAST: i32, const MOST: i32> JsonSchema for Within<LEAST, MOST> {
    fn schema_name() -> Cow<'static, str> {
        format!("Within_{LEAST}_{MOST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": LEAST, "maximum": MOST})
    }
}

/// A list with a maximal length over a network.
pub(crate) fn at_most<'de, const LENGTH: usize, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    // The size of the request's body is bounded already.
    let list = Vec::deserialize(deserializer)?;
    let refused = |found: &str| {
        D::Error::invalid_value(
            Unexpected::Other(found),
            &format!("at most {LENGTH}").as_str(),
        )
    };
    if list.len() <= LENGTH {
        Ok(list)
    } else {
        Err(refused(&list.len().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_all() {
        let limit_of = |text: &str| text.parse::<Limit>().map(|limit| limit.of(100));
        assert_eq!(
            (
                limit_of("7"),
                limit_of("0"),
                limit_of("all"),
                limit_of("ALL"),
                limit_of("1000")
            ),
            (Ok(7), Ok(100), Ok(100), Ok(100), Ok(100))
        );
        for text in ["-1", "some", "", "1.5", "99999999999"] {
            assert!(
                limit_of(text).unwrap_err().expected.contains("\"all\""),
                "{text}"
            );
        }
        assert_eq!(
            (Limit::from(10).to_string(), Limit::from(0).to_string()),
            ("10".to_owned(), "all".to_owned())
        );
    }

    #[test]
    fn shares_and_cosines_have_bounds() {
        assert_eq!(
            ("-1".parse(), "0.5".parse()),
            (Ok(Within::<-1, 1>(-1.0)), Ok(Within::<0, 1>(0.5)))
        );
        for text in ["2", "nan", "-1.1", "x"] {
            assert_eq!(
                text.parse::<Cosine>().unwrap_err().expected,
                "-1 to 1",
                "{text}"
            );
        }
        assert_eq!("-0.1".parse::<Fraction>().unwrap_err().expected, "0 to 1");
        assert_eq!(
            "0".parse::<Count>().unwrap_err().to_string(),
            "expected 1 or more, found \"0\""
        );
    }
}
