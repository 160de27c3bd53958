//! Numbers, limits and orders of queries, with one grammar everywhere (docs/guide.md): [`FromStr`] on the command line,
//! serde at every other door. A server bounds the work of one request.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::Refused;
use voisin_library::SortBy;

/// Longest list, and most items in a page, that a server returns.
pub const MOST: u32 = 1000;

/// serde's error for a value out of bounds.
pub(crate) fn refusal<E: serde::de::Error>(
    found: impl fmt::Display,
    expected: impl fmt::Display,
) -> E {
    E::custom(format!("invalid value: {found}, expected {expected}"))
}

/// A value that is text over a network, too.
pub(crate) fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err = Refused>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|refused: Refused| refusal(refused.found, refused.expected))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
#[schemars(inline, with = "String")]
pub(crate) struct ListOrder(pub(crate) SortBy);

impl FromStr for ListOrder {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let named = SortBy::ALL.iter().find(|(name, _)| *name == text);
        let scale = || Some(Self(SortBy::Scale(text.parse().ok()?)));
        named
            .map(|(_, by)| Self(*by))
            .or_else(scale)
            .ok_or_else(|| {
                let names: Vec<&str> = SortBy::ALL.iter().map(|(name, _)| *name).collect();
                let expected = format!("one of {}, or a scale such as energy", names.join(", "));
                Refused::text(expected, text)
            })
    }
}

impl fmt::Display for ListOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = SortBy::ALL.iter().find(|(_, by)| *by == self.0);
        match (named, self.0) {
            (None, SortBy::Scale(scale)) => scale.fmt(f),
            (named, _) => f.write_str(named.map_or("", |(name, _)| name)),
        }
    }
}

impl<'de> Deserialize<'de> for ListOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// A limit: a number, or all. A server's limit is at most [`MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit(Option<usize>);

impl Limit {
    pub fn of(self, all: usize) -> usize {
        self.0.map_or(all, |most| most.min(all))
    }

    pub(crate) fn check_bounded(self) -> Result<(), Refused> {
        let most = self.0.unwrap_or(0);
        if (1..=MOST as usize).contains(&most) {
            return Ok(());
        }
        Err(Refused::new(
            "limit",
            format!("1 to {MOST}"),
            most.to_string(),
        ))
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
        Ok(Self::from(u32::deserialize(deserializer)? as usize))
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By the rule above "all" is its maximum.
        self.of(MOST as usize).serialize(serializer)
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MOST})
    }
}

/// A limit per artist or album; `None`: no limit, which users write as 0.
pub(crate) fn limit_of(most: Option<u32>) -> Option<usize> {
    most.filter(|&most| most > 0).map(|most| most as usize)
}

pub(crate) fn share(text: &str) -> Result<f32, Refused> {
    let read = text.trim().parse().ok();
    read.filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| Refused::text("0 to 1", text))
}

pub(crate) fn some_share<'de, D: Deserializer<'de>, T: From<f32>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let share = f32::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&share) {
        Ok(share.into())
    } else {
        Err(refusal(share, "0 to 1"))
    }
}

/// A list with a maximal length over a network.
pub(crate) fn at_most<'de, const LENGTH: usize, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    // The size of the request's body is bounded already.
    let list = Vec::deserialize(deserializer)?;
    if list.len() <= LENGTH {
        Ok(list)
    } else {
        Err(refusal(list.len(), format!("at most {LENGTH}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_all() {
        let limit_of = |text: &str| text.parse::<Limit>().map(|limit| limit.of(100));
        for (text, expected) in [("7", 7), ("0", 100), ("ALL", 100), ("1000", 100)] {
            assert_eq!(limit_of(text), Ok(expected), "{text}");
        }
        for text in ["-1", "some", "", "1.5", "99999999999"] {
            assert!(
                limit_of(text).unwrap_err().expected.contains("\"all\""),
                "{text}"
            );
        }
        let shown = [10, 0].map(|most| Limit::from(most).to_string());
        assert_eq!(shown, ["10", "all"]);
    }

    #[test]
    fn shares_and_orders_are_checked() {
        assert_eq!(share("0.5"), Ok(0.5));
        for text in ["2", "nan", "-0.1", "x"] {
            assert_eq!(share(text).unwrap_err().expected, "0 to 1", "{text}");
        }
        for name in ["bpm", "energy", "calm"] {
            assert_eq!(name.parse::<ListOrder>().unwrap().to_string(), name);
        }
        assert!("enrgy".parse::<ListOrder>().is_err());
    }
}
