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
    let value = serde_json::from_slice(bytes)
        .map_err(|error| Refused::new("", "a JSON object", format!("none: {error}")))?;
    T::deserialize(Reader {
        value,
        is_query: false,
    })
}

/// A query from the names and values of a query string: `?genre=Jazz&genre=Soul&limit=5`.
///
/// The fields of `filters`, and of an inner `question`, are beside the others.
pub fn from_query<T: DeserializeOwned>(
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<T, Refused> {
    let mut object = Map::new();
    for (name, value) in pairs {
        // Every name gets a list, since only the types know which fields take several.
        let values = object
            .entry(name)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(Value::String(value));
        }
    }
    T::deserialize(Reader {
        value: Value::Object(object),
        is_query: true,
    })
}

/// A query from keyword arguments: named as in a query string, with JSON values, single or in a list. Null values are left
/// out.
pub fn from_arguments<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Refused> {
    T::deserialize(Reader {
        value: Value::Object(lists(arguments)),
        is_query: true,
    })
}

/// Values in lists, as a query string has them.
fn lists(values: Map<String, Value>) -> Map<String, Value> {
    let list = |(name, value)| match value {
        Value::Null => None,
        Value::Array(_) => Some((name, value)),
        value => Some((name, Value::Array(vec![value]))),
    };
    values.into_iter().filter_map(list).collect()
}

/// Fields whose inner fields are beside the others in a query string.
pub(super) const SPREAD: [&str; 2] = ["question", "filters"];
/// Tracks, which a query string cannot hold: the uploaded file takes their place.
const SENT: [&str; 2] = ["seeds", "tracks"];

/// The prefix of the expectation for an unknown field.
const FIELD_OF: &str = "a field of ";

/// A value, or in a query string the texts of all values of one name.
struct Reader {
    value: Value,
    is_query: bool,
}

impl Reader {
    /// The single value.
    fn single(self) -> Result<Value, Refused> {
        match self.value {
            // `?limit=5&limit=9` is an error.
            Value::Array(mut all) if self.is_query => match (all.pop(), all.is_empty()) {
                (Some(only), true) => Ok(only),
                _ => Err(Refused::new("", "one value", "several")),
            },
            value => Ok(value),
        }
    }

    /// The value, with numbers and booleans of a query string parsed.
    fn plain(self) -> Result<Value, Refused> {
        let is_query = self.is_query;
        let value = self.single()?;
        let read = value
            .as_str()
            .filter(|_| is_query)
            // Only numbers and booleans are parsed as JSON:
            // `["a"]` stays a text.
            .and_then(|text| serde_json::from_str(text).ok());
        Ok(read
            .filter(|read: &Value| read.is_number() || read.is_boolean())
            .unwrap_or(value))
    }
}

macro_rules! of_plain_values {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            Reader { value: self.plain()?, is_query: false }.deserialize_any(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let is_query = self.is_query;
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            // Integers first, since serde refuses a float for an integer.
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (_, Some(number)) => visitor.visit_i64(number),
                _ => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.into_iter().enumerate(),
                is_query,
            }),
            Value::Object(fields) => visitor.visit_map(Fields {
                rest: fields.into_iter(),
                next: None,
                is_query,
            }),
        }
    }

    of_plain_values! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let is_query = self.is_query;
        match self.single()? {
            // For example a year, which is text in a query string.
            Value::Number(number) if is_query => visitor.visit_string(number.to_string()),
            value => Reader {
                value,
                is_query: false,
            }
            .deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
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
        // A keyword argument may be an object, which `lists` put into a list of one.
        if self.is_query && self.value.is_array() {
            let value = match self.single()? {
                Value::Object(fields) => Value::Object(lists(fields)),
                value => value,
            };
            self = Self {
                value,
                is_query: true,
            };
        }
        // serde's structures would accept a list as their fields in order.
        if self.value.is_array() {
            return Err(Refused::new("", "an object", "a list"));
        }
        if let (true, Value::Object(given)) = (self.is_query, &mut self.value) {
            // Otherwise serde would miss a required field whose value is in the request's body.
            for name in SENT.into_iter().filter(|name| fields.contains(name)) {
                given
                    .entry(name)
                    .or_insert_with(|| Value::Array(Vec::new()));
            }
        }
        // A query string is flat: fields unknown to this structure go to the inner one. The innermost
        // refuses unknown names.
        let spread = SPREAD.into_iter().find(|name| fields.contains(name));
        if let (true, Some(spread), Value::Object(given)) = (self.is_query, spread, &mut self.value)
        {
            let is_own = |name: &str| name != spread && fields.contains(&name);
            let all = std::mem::take(given);
            let (mut own_fields, others): (Map<_, _>, Map<_, _>) =
                all.into_iter().partition(|(name, _)| is_own(name));
            own_fields.insert(spread.to_owned(), Value::Object(others));
            *given = own_fields;
        }
        let is_spread = self.is_query && spread.is_some();
        self.deserialize_any(visitor).map_err(|mut refused| {
            // The innermost lists its own fields only; for a client all fields are on one level.
            if is_spread && refused.field.is_empty() && refused.expected.starts_with(FIELD_OF) {
                let others = fields
                    .iter()
                    .filter(|name| !SPREAD.contains(name) && !SENT.contains(name));
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
                    is_query: false,
                };
                visitor.visit_enum(MapAccessDeserializer::new(fields))
            }
            Value::Object(fields) if fields.is_empty() => {
                Err(Refused::new("", "one field", "none"))
            }
            Value::Object(_) => Err(Refused::new("", "one field", "several")),
            value => Reader {
                value,
                is_query: false,
            }
            .deserialize_any(visitor)
            // serde expects Rust's name of the type.
            .map_err(|refused| Refused {
                expected: format!("one of {}", variants.join(", ")),
                ..refused
            }),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items {
    items: std::iter::Enumerate<std::vec::IntoIter<Value>>,
    is_query: bool,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some((place, value)) = self.items.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(Reader {
            value,
            is_query: self.is_query,
        });
        read.map(Some)
            .map_err(|refused| refused.inside(&format!("[{place}]")))
    }
}

struct Fields {
    rest: serde_json::map::IntoIter,
    next: Option<(String, Value)>,
    is_query: bool,
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
        let is_spread = self.is_query && SPREAD.contains(&name.as_str());
        let read = seed.deserialize(Reader {
            value,
            is_query: self.is_query,
        });
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
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        from_query(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[test]
    fn a_query_is_read_like_a_body() {
        let request =
            query("genre=Jazz&genre=Soul&query=1999&limit=5&exact=true&least=0.5").unwrap();
        let body = br#"{"query": "1999", "limit": 5, "exact": true, "filters": {"genre": ["Jazz", "Soul"], "least": 0.5}}"#;
        assert_eq!(request, from_json(body).unwrap());
        assert_eq!(query("").unwrap(), from_json(b"{}").unwrap());
    }

    #[test]
    fn arguments_are_read_like_a_body() {
        let arguments = |json: Value| from_arguments::<Asked>(json.as_object().cloned().unwrap());
        let request = arguments(json!({
            "genre": ["Jazz", "Soul"], "query": 1999, "limit": 5, "exact": true, "least": 0.5
        }));
        let body = br#"{"query": "1999", "limit": 5, "exact": true, "filters": {"genre": ["Jazz", "Soul"], "least": 0.5}}"#;
        assert_eq!(request.unwrap(), from_json(body).unwrap());
        let one =
            arguments(json!({"genre": "Jazz", "limit": null, "inner": {"genre": "Soul"}})).unwrap();
        let body = br#"{"filters": {"genre": ["Jazz"], "inner": {"genre": ["Soul"]}}}"#;
        assert_eq!(one, from_json(body).unwrap());
        for (wrong, expected) in [
            (
                json!({"limit": -1}),
                "limit: expected a whole number, found -1",
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
        ] {
            assert_eq!(arguments(wrong).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn refusals_name_the_field_and_both_sides() {
        for (text, expected) in [
            ("limit=-1", ("limit", "a whole number", "-1")),
            ("limit=x", ("limit", "a whole number", "\"x\"")),
            ("limit=1&limit=2", ("limit", "one value", "several")),
            (
                "nonsense=1",
                (
                    "",
                    "a field of inner, genre, least, query, limit, exact",
                    "\"nonsense\"",
                ),
            ),
            ("limit=1e99", ("limit", "a whole number", "1e99")),
            ("least=much", ("least", "a number", "\"much\"")),
            ("exact=1", ("exact", "a boolean", "1")),
        ] {
            let refused = query(text).unwrap_err();
            let found = (
                refused.field.as_str(),
                refused.expected.as_str(),
                refused.found.as_str(),
            );
            assert_eq!(found, expected, "{text}");
        }
        for (body, field) in [
            (r#"{"filters": {"genre": ["a", 2]}}"#, "filters.genre[1]"),
            (r#"{"filters": {"least": "x"}}"#, "filters.least"),
            (r#"{"filters": []}"#, "filters"),
            (r#"{"filters": null}"#, "filters"),
            ("[1]", ""),
            ("{", ""),
        ] {
            assert_eq!(
                from_json::<Asked>(body.as_bytes()).unwrap_err().field,
                field,
                "{body}"
            );
        }
        let nothing = from_json::<Asked>(b"null").unwrap_err().to_string();
        assert_eq!(nothing, "expected an object, found null");
    }
}
