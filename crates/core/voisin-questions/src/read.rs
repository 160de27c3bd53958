//! Parses queries from JSON or a query string. Errors are data.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer as _,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::{Map, Value};

/// A refused field of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The path of the field; empty for the query as a whole.
    pub field: String,
    /// Expected value.
    pub expected: String,
    /// Value found.
    pub found: String,
}

impl Refused {
    pub(crate) fn new(
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// For a value in text form.
    pub(crate) fn text(expected: impl Into<String>, found: &str) -> Self {
        Self::new(
            "",
            expected,
            // Truncated, since a client may send megabytes.
            format!("\"{}\"", found.chars().take(100).collect::<String>()),
        )
    }

    /// The same error, for a value inside a field.
    fn inside(mut self, field: &str) -> Self {
        // `seeds[3].id`, `filters.genre[0]`.
        let dot = if self.field.is_empty() || self.field.starts_with('[') {
            ""
        } else {
            "."
        };
        self.field = format!("{field}{dot}{}", self.field);
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.field.is_empty() { "" } else { ": " };
        write!(
            f,
            "{}{colon}expected {}, found {}",
            self.field, self.expected, self.found
        )
    }
}

impl std::error::Error for Refused {}

impl Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("", message.to_string(), "something else")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_value(found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // Rust's names of types mean nothing to a client.
        let expected = match expected.to_string().as_str() {
            "i32" | "i64" | "u8" | "u32" | "u64" | "usize" => "a whole number".to_owned(),
            "f32" | "f64" => "a number".to_owned(),
            "a sequence" => "a list".to_owned(),
            words => words
                .strip_prefix("struct ")
                .map_or_else(|| words.to_owned(), |_| "an object".to_owned()),
        };
        match found {
            Unexpected::Str(text) => Self::text(expected, text),
            Unexpected::Unsigned(number) => Self::new("", expected, number.to_string()),
            Unexpected::Signed(number) => Self::new("", expected, number.to_string()),
            Unexpected::Float(number) => Self::new("", expected, format!("{number:?}")),
            Unexpected::Bool(flag) => Self::new("", expected, flag.to_string()),
            Unexpected::Seq => Self::new("", expected, "a list"),
            Unexpected::Map => Self::new("", expected, "an object"),
            Unexpected::Unit => Self::new("", expected, "null"),
            other => Self::new("", expected, other.to_string()),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let names = if expected.is_empty() {
            "nothing".to_owned()
        } else {
            expected.join(", ")
        };
        Self::text(format!("{FIELD_OF}{names}"), field)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::text(format!("one of {}", expected.join(", ")), variant)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(field, "a value", "none")
    }
}

/// A query from a JSON object.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    from_arguments(object(bytes)?)
}

/// The fields of a JSON object.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refused> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| Refused::new("", "a JSON object", format!("none: {error}")))?;
    match value {
        Value::Object(fields) => Ok(fields),
        Value::Null => Err(Refused::new("", "an object", "null")),
        _ => Err(Refused::new("", "an object", "another value")),
    }
}

/// The fields of a query string: `?genre=Jazz&genre=Soul&limit=5`.
pub fn pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in pairs {
        let value = Value::String(value);
        match object.remove(&name) {
            None => object.insert(name, value),
            Some(Value::Array(mut values)) => {
                values.push(value);
                object.insert(name, Value::Array(values))
            }
            Some(first) => object.insert(name, Value::Array(vec![first, value])),
        };
    }
    object
}

/// A query from its fields, the same at every door: null is not given, a whole number may be 2.0 or "2", a list of one may be
/// its value, and the fields of `filters` and of an inner `question` are beside the others.
pub fn from_arguments<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Refused> {
    let mut value = Value::Object(arguments);
    remove_nulls(&mut value);
    T::deserialize(Reader(value))
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Fields whose inner fields are beside the others.
pub(super) const SPREAD: [&str; 2] = ["question", "filters"];

/// The prefix of the expectation for an unknown field.
const FIELD_OF: &str = "a field of ";

struct Reader(Value);

impl Reader {
    /// The value, or the only one of a list.
    fn single(self) -> Result<Value, Refused> {
        match self.0 {
            Value::Array(mut all) => match (all.pop(), all.is_empty()) {
                (Some(only), true) => Ok(only),
                _ => Err(Refused::new("", "one value", "several")),
            },
            value => Ok(value),
        }
    }

    /// The value, with the number or boolean of a text.
    fn plain(self) -> Result<Value, Refused> {
        let value = self.single()?;
        let read = value
            .as_str()
            // Only numbers and booleans are parsed as JSON:
            // `["a"]` stays a text.
            .and_then(|text| serde_json::from_str(text).ok());
        Ok(read
            .filter(|read: &Value| read.is_number() || read.is_boolean())
            .unwrap_or(value))
    }

    /// The same, with 2.0 as 2.
    fn whole(self) -> Result<Value, Refused> {
        /// Larger floats are not exact integers.
        const LARGEST: f64 = 9_007_199_254_740_992.0;
        let value = self.plain()?;
        let whole = value
            .as_f64()
            .filter(|number| value.is_f64() && number.fract() == 0.0 && number.abs() < LARGEST);
        Ok(whole.map_or(value, |number| Value::from(number as i64)))
    }
}

macro_rules! of_plain_values {
    ($read:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            Reader(self.$read()?).deserialize_any(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            // Integers first, since serde refuses a float for an integer.
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (_, Some(number)) => visitor.visit_i64(number),
                _ => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            Value::Object(fields) => visitor.visit_map(Fields {
                rest: fields.into_iter(),
                next: None,
            }),
        }
    }

    of_plain_values! { plain: deserialize_bool deserialize_f32 deserialize_f64 }

    of_plain_values! {
        whole: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.single()? {
            // For example a year.
            Value::Number(number) => visitor.visit_string(number.to_string()),
            value => Reader(value).deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_string(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let list = match self.0 {
            Value::Array(items) => items,
            value => vec![value],
        };
        Reader(Value::Array(list)).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        // serde's structures would accept a list as their fields in order.
        if self.0.is_array() {
            return Err(Refused::new("", "an object", "a list"));
        }
        // Fields unknown to this structure go to the inner one. The innermost refuses unknown names.
        let spread = SPREAD.into_iter().find(|name| fields.contains(name));
        if let (Some(spread), Value::Object(given)) = (spread, &mut self.0) {
            let is_own = |name: &str| name != spread && fields.contains(&name);
            let all = std::mem::take(given);
            let (mut own_fields, others): (Map<_, _>, Map<_, _>) =
                all.into_iter().partition(|(name, _)| is_own(name));
            own_fields.insert(spread.to_owned(), Value::Object(others));
            *given = own_fields;
        }
        self.deserialize_any(visitor).map_err(|mut refused| {
            // The innermost lists its own fields only; for a client all fields are on one level.
            if spread.is_some()
                && refused.field.is_empty()
                && refused.expected.starts_with(FIELD_OF)
            {
                let others = fields.iter().filter(|name| !SPREAD.contains(name));
                others.for_each(|name| refused.expected.push_str(&format!(", {name}")));
            }
            refused
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match self.single()? {
            Value::String(text) => visitor.visit_enum(text.into_deserializer()),
            Value::Object(fields) if fields.len() == 1 => {
                let fields = Fields {
                    rest: fields.into_iter(),
                    next: None,
                };
                visitor.visit_enum(MapAccessDeserializer::new(fields))
            }
            Value::Object(fields) if fields.is_empty() => {
                Err(Refused::new("", "one field", "none"))
            }
            Value::Object(_) => Err(Refused::new("", "one field", "several")),
            value => Reader(value)
                .deserialize_any(visitor)
                // serde expects Rust's name of the type.
                .map_err(|refused| Refused {
                    expected: format!("one of {}", variants.join(", ")),
                    ..refused
                }),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct map identifier ignored_any
    }
}

struct Items(std::iter::Enumerate<std::vec::IntoIter<Value>>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some((place, value)) = self.0.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(Reader(value));
        read.map(Some)
            .map_err(|refused| refused.inside(&format!("[{place}]")))
    }
}

struct Fields {
    rest: serde_json::map::IntoIter,
    next: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        self.next = self.rest.next();
        let Some((name, _)) = &self.next else {
            return Ok(None);
        };
        seed.deserialize(StringDeserializer::new(name.clone()))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        // serde requests a value only after a key.
        let (name, value) = self.next.take().unwrap_or_default();
        // The request has no such name, so the path of a refused field begins below it.
        let is_spread = SPREAD.contains(&name.as_str());
        let read = seed.deserialize(Reader(value));
        read.map_err(|refused| {
            if is_spread {
                refused
            } else {
                refused.inside(&name)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        query: Option<String>,
        limit: Option<u32>,
        exact: Option<bool>,
        #[serde(default)]
        filters: AskedFilters,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct AskedFilters {
        inner: Option<Box<AskedFilters>>,
        genre: Vec<String>,
        least: Option<f32>,
    }

    fn query(text: &str) -> Result<Asked, Refused> {
        let given = text.split('&').filter_map(|pair| pair.split_once('='));
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        from_arguments(pairs(given))
    }

    fn body(json: &str) -> Result<Asked, Refused> {
        from_json(json.as_bytes())
    }

    #[test]
    fn every_door_reads_alike() {
        let asked = query("genre=Jazz&genre=Soul&query=1999&limit=5&exact=true&least=0.5").unwrap();
        for same in [
            r#"{"query": "1999", "limit": 5, "exact": true, "genre": ["Jazz", "Soul"], "least": 0.5}"#,
            r#"{"query": 1999, "limit": "5", "exact": "true", "genre": ["Jazz", "Soul"], "least": "0.5"}"#,
            r#"{"query": "1999", "limit": 5.0, "exact": true, "genre": ["Jazz", "Soul"], "least": 0.5, "inner": null,
                "nothing": null}"#,
        ] {
            assert_eq!(asked, body(same).unwrap(), "{same}");
        }
        assert_eq!(query("").unwrap(), body("{}").unwrap());
        let one = body(r#"{"genre": "Jazz", "inner": {"genre": "Soul"}}"#).unwrap();
        let list = body(r#"{"genre": ["Jazz"], "inner": {"genre": ["Soul"]}}"#).unwrap();
        assert_eq!(one, list);
    }

    #[test]
    fn refusals_name_the_field_and_both_sides() {
        for (wrong, expected) in [
            (
                json!({"limit": -1}),
                "limit: expected a whole number, found -1",
            ),
            (
                json!({"limit": 2.5}),
                "limit: expected a whole number, found 2.5",
            ),
            (
                json!({"limit": [1, 2]}),
                "limit: expected one value, found several",
            ),
            (
                json!({"genre": ["Jazz", true]}),
                "genre[1]: expected a string, found true",
            ),
            (
                json!({"least": {}}),
                "least: expected a number, found an object",
            ),
            (
                json!({"gener": 1}),
                "expected a field of inner, genre, least, query, limit, exact, found \"gener\"",
            ),
            (json!({"inner": 1}), "inner: expected an object, found 1"),
            (
                json!({"inner": []}),
                "inner: expected an object, found a list",
            ),
        ] {
            let refused = body(&wrong.to_string()).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
        for (text, expected) in [
            ("limit=x", "limit: expected a whole number, found \"x\""),
            (
                "limit=1&limit=2",
                "limit: expected one value, found several",
            ),
            ("limit=1e99", "limit: expected a whole number, found 1e99"),
            ("least=much", "least: expected a number, found \"much\""),
            ("exact=1", "exact: expected a boolean, found 1"),
        ] {
            assert_eq!(query(text).unwrap_err().to_string(), expected);
        }
        for none in ["null", "[1]", "{"] {
            assert!(body(none).unwrap_err().field.is_empty(), "{none}");
        }
    }
}
