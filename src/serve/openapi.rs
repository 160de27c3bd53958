//! The description of all routes (`OpenAPI`), from the types of queries and answers.

use schemars::SchemaGenerator;
use serde_json::{Value, json};

use super::problem::Problem;
use voisin::questions::queries::{QUERIES, Query};
use voisin::questions::schema;

/// The path of shared schemas.
const COMPONENTS: &str = "#/components/schemas";

/// The routes that are no queries.
const OTHERS: [(&str, &str, &str); 12] = [
    (
        "get",
        "/health",
        "Whether the server answers. Needs no token.",
    ),
    ("get", "/openapi.json", "This description."),
    ("get", "/session", "What the client may do."),
    ("post", "/session", "Gives the page a cookie for the token."),
    (
        "get",
        "/scan",
        "How the scan goes; as events until it ends.",
    ),
    (
        "post",
        "/scan",
        "Starts `voisin add` of the server's folders.",
    ),
    (
        "delete",
        "/scan",
        "Stops the scan after the tracks in hand.",
    ),
    (
        "put",
        "/labels",
        "Gives tracks a genre by hand, or takes it away.",
    ),
    (
        "get",
        "/tracks/{id}/audio",
        "The file of a track, with ranges.",
    ),
    (
        "get",
        "/tracks/{id}/cover",
        "The picture of a track, or 204.",
    ),
    ("post", "/files/similar", "What sounds like this file."),
    ("post", "/files/classify", "Which genre this file is."),
];

/// A query's parameters in an address.
fn parameters(schema: &Value) -> Vec<Value> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let required = |name: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|one| one == name))
    };
    let parameter = |(name, field): (&String, &Value)| json!({"name": name, "in": "query", "required": required(name), "schema": field});
    fields.map(parameter).collect()
}

fn responses(answer: Option<Value>) -> Value {
    let good = match answer {
        Some(answer) => json!({"200": {
            "description": "The answer.", "content": {"application/json": {"schema": answer}}
        }}),
        None => json!({"2XX": {"description": "The answer."}}),
    };
    let mut all = good;
    all["default"] = json!({"description": "Why there is none.", "content": {
        "application/problem+json": {"schema": {"$ref": format!("{COMPONENTS}/Problem")}}
    }});
    all
}

/// A query by GET and by POST.
fn operations(query: &Query, generator: &mut SchemaGenerator) -> Value {
    let mut schema = (query.schema)();
    let parameters = parameters(&schema);
    // In a body null is a field that is not given.
    let fields = schema["properties"].as_object_mut().into_iter().flatten();
    fields.for_each(|(_, field)| *field = json!({"anyOf": [field.take(), {"type": "null"}]}));
    let mut answer = (query.answer)(generator).to_value();
    schema::tidy_answer(&mut answer);
    let about = format!("{}; as `voisin {}`.", query.about, query.name);
    let responses = responses(Some(answer));
    json!({
        "get": {"summary": about, "parameters": parameters, "responses": responses},
        "post": {"summary": about, "requestBody": {"content": {"application/json": {"schema": schema}}},
            "responses": responses},
    })
}

/// The description of all routes.
///
/// - `base`: the path below which the server's routes are
pub(super) fn description(base: &str) -> Value {
    let mut paths = json!({});
    let mut generator = schema::answers(COMPONENTS);
    for query in &QUERIES {
        paths[format!("/{}", query.name)] = operations(query, &mut generator);
    }
    for (method, path, about) in OTHERS {
        let id =
            json!([{"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}}]);
        let mut operation = json!({"summary": about, "responses": responses(None)});
        if path.contains("{id}") {
            operation["parameters"] = id;
        }
        paths[path][method] = operation;
    }
    let _ = generator.subschema_for::<Problem>();
    let mut schemas = Value::Object(generator.take_definitions(true));
    schema::tidy_answer(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "voisin",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
            "description": "Answers of a voisin library. Each says of which state of the library it is (`generation`)."
        },
        "servers": [{"url": format!("{base}/api/v1")}],
        "security": [{"token": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "voisin"}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let description = description("");
        let text = description.to_string();
        for reference in text.split(&format!("{COMPONENTS}/")).skip(1) {
            let name = reference.split('"').next().unwrap();
            let schema = &description["components"]["schemas"][name];
            assert!(!schema.is_null(), "{name}");
        }
    }
}
