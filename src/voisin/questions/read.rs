//! Reads queries from JSON, a query string or keyword arguments. Errors are data.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::schema::of_body;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The path of the field; empty for the query as a whole.
    pub field: String,
    pub expected: String,
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

    pub(crate) fn text(expected: impl Into<String>, found: &str) -> Self {
        // Truncated, since a client may send megabytes.
        let found = found.chars().take(100).collect::<String>();
        Self::new("", expected, format!("\"{found}\""))
    }

    /// A message of serde: `invalid type: FOUND, expected EXPECTED`, `unknown field FOUND, expected …`, or another.
    fn of_serde(field: String, message: &str) -> Self {
        let (found, expected) = message
            .split_once(", expected ")
            .unwrap_or(("another value", message));
        let found = ["invalid type: ", "invalid value: "]
            .iter()
            .find_map(|prefix| found.strip_prefix(prefix))
            .unwrap_or(found);
        let found = found.chars().take(100).collect::<String>();
        Self::new(field, expected, found)
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

pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refused> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| Refused::new("", "a JSON object", format!("none: {error}")))?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(Refused::new("", "a JSON object", "another value")),
    }
}

/// The fields of a query string: `?genre=Jazz&genre=Soul&limit=5`.
pub fn pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in pairs {
        let value = Value::String(value);
        match object.get_mut(&name) {
            None => {
                object.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    object
}

/// A query from its fields, the same at every door: null is not given, a whole number may be 2.0 or "2", a list of one may be
/// its value, and the fields of `filters` are beside the others.
pub fn from_arguments<T: DeserializeOwned + JsonSchema>(
    mut arguments: Map<String, Value>,
) -> Result<T, Refused> {
    arguments.values_mut().for_each(remove_nulls);
    arguments.retain(|_, value| !value.is_null());
    let mut names = Vec::new();
    let object = nested(&of_body::<T>(), &mut arguments, &mut names);
    if let Some(name) = arguments.keys().next() {
        let expected = match names.as_slice() {
            [] => "no fields".to_owned(),
            names => format!("{FIELD_OF}{}", names.join(", ")),
        };
        return Err(Refused::text(expected, name));
    }
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        // A client does not know the inner object.
        let inner = path.strip_prefix(SPREAD);
        let inner = inner.and_then(|rest| rest.strip_prefix('.'));
        let field = inner.unwrap_or(&path);
        let field = if field == "." { "" } else { field };
        Refused::of_serde(field.to_owned(), &error.inner().to_string())
    })
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

/// The field whose inner fields are beside the others in a query string.
pub(super) const SPREAD: &str = "filters";
/// The beginning of what is expected in place of an unknown field.
const FIELD_OF: &str = "a field of ";

/// The arguments that a schema has, with inner objects and the schema's types; these are removed.
///
/// - `names`: receives the names of all fields
fn nested(
    schema: &Value,
    arguments: &mut Map<String, Value>,
    names: &mut Vec<String>,
) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let given = arguments.remove(name);
        if name == SPREAD {
            if let Some(Value::Object(inner)) = given {
                arguments.extend(inner);
            }
            let inner = nested(field, arguments, names);
            object.insert(name.clone(), Value::Object(inner));
        } else {
            names.push(name.clone());
            object.extend(given.map(|value| (name.clone(), typed(field, value))));
        }
    }
    object
}

/// A value as its schema has it, as far as it can be: a text as a number, 2.0 as 2, a single value as a list.
pub(crate) fn typed(schema: &Value, value: Value) -> Value {
    match (schema["type"].as_str(), value) {
        (Some("array"), Value::Array(values)) => values
            .into_iter()
            .map(|value| typed(&schema["items"], value))
            .collect(),
        (Some("array"), value) => Value::Array(vec![typed(&schema["items"], value)]),
        (Some("integer" | "number" | "boolean"), Value::String(text)) => {
            match serde_json::from_str(&text) {
                Ok(read @ (Value::Number(_) | Value::Bool(_))) => typed(schema, read),
                _ => Value::String(text),
            }
        }
        (Some("integer"), value) if value.is_f64() => {
            // Beyond 2⁵³ a float is no exact number.
            let is_whole = |number: &f64| number.fract() == 0.0 && number.abs() < 9e15;
            let whole = value.as_f64().filter(is_whole);
            whole.map_or(value, |number| Value::from(number as i64))
        }
        // For example a year.
        (Some("string"), Value::Number(number)) => Value::String(number.to_string()),
        (_, value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::questions::Similar;

    fn body(json: &str) -> Result<Similar, Refused> {
        from_arguments(object(json.as_bytes())?)
    }

    #[test]
    fn refusals_name_the_field_and_both_sides() {
        for (name, value, field, found) in [
            ("limit", "-1", "limit", "integer `-1`"),
            ("limit", "x", "limit", "string \"x\""),
            ("nonsense", "1", "", "\"nonsense\""),
            ("from", "much", "from", "string \"much\""),
            ("exact", "1", "exact", "integer `1`"),
        ] {
            let given = pairs([(name.to_owned(), value.to_owned())]);
            let refused = from_arguments::<Similar>(given).unwrap_err();
            let is = (refused.field.as_str(), refused.found.as_str());
            assert_eq!(is, (field, found), "{name}={value}");
        }
        let unknown = body(r#"{"nonsense": 1}"#).unwrap_err().expected;
        assert!(
            unknown.starts_with(FIELD_OF) && unknown.contains("genre"),
            "{unknown}"
        );
        for (json, field) in [
            (r#"{"filters": {"genre": ["a", {}]}}"#, "genre[1]"),
            (r#"{"limit": [1, 2]}"#, "limit"),
            ("[1]", ""),
            ("null", ""),
            ("{", ""),
        ] {
            assert_eq!(body(json).unwrap_err().field, field, "{json}");
        }
    }
}
