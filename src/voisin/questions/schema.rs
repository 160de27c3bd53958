//! JSON schemas of queries, for `OpenAPI` and assistants.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value};

use super::read::SPREAD;

pub(crate) fn of_body<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        // Without references, since each schema is published by itself.
        settings.inline_subschemas = true;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    tidy(&mut schema);
    schema
}

/// The schema of a query as it is asked: its inner fields are beside the others (see `read::SPREAD`).
pub fn of<T: JsonSchema>() -> Value {
    let mut schema = of_body::<T>();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let inner = properties
            .remove(SPREAD)
            .and_then(|mut inner| inner["properties"].as_object_mut().map(std::mem::take));
        properties.extend(inner.into_iter().flatten());
    }
    schema
}

pub fn answers(path: &'static str) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| {
        settings.meta_schema = None;
        settings.definitions_path = path.into();
    });
    settings.into_generator()
}

fn remove_types(fields: &mut Map<String, Value>) {
    for name in ["title", "format"] {
        // A field of this name has a schema, and no text.
        if fields.get(name).is_some_and(Value::is_string) {
            fields.remove(name);
        }
    }
}

pub fn tidy_answer(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            remove_types(fields);
            fields.values_mut().for_each(tidy_answer);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy_answer),
        _ => {}
    }
}

/// Removes formats of numbers, empty defaults, and null beside another type.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            remove_types(fields);
            let is_nothing = |value: &Value| match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.values().all(|field| {
                    matches!(field, Value::Null | Value::Bool(false))
                        || field.as_array().is_some_and(Vec::is_empty)
                }),
                _ => false,
            };
            if fields.get("default").is_some_and(is_nothing) {
                fields.remove("default");
            }
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                // Optional fields need no null.
                types.retain(|type_name| type_name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(kinds)) = fields.get_mut("anyOf") {
                kinds.retain(|kind| kind["type"] != "null");
                if let [only] = kinds.as_slice() {
                    let only: Map<String, Value> = only.as_object().cloned().unwrap_or_default();
                    fields.remove("anyOf");
                    fields.extend(only);
                }
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
