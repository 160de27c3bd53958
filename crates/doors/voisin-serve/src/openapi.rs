//! The description of the interface is held against the types of questions: what openapi.json says of parameters and
//! bodies is what they are read into. `VOISIN_WRITE_DOCS=1` writes it anew.

use std::path::Path;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::mcp::{QuestionTool, TOOLS};
use voisin_base::track::TrackId;
use voisin_questions::genre::Classify;
use voisin_questions::page::{Paged, Plain};
use voisin_questions::saved::SavedQuestion;
use voisin_questions::schema::{of_body, of_query};
use voisin_questions::seed::NamedSeed;
use voisin_questions::{Filters, Mixing, Similar};

/// Questions that are no tools: queries.
const OTHERS: [QuestionTool; 8] = [
    ("", "", Method::GET, "/labels", of_query::<Paged<Plain>>),
    ("", "", Method::GET, "/heard", of_query::<Paged<Plain>>),
    ("", "", Method::GET, "/liked", of_query::<Paged<Plain>>),
    (
        "",
        "",
        Method::GET,
        "/failed",
        of_query::<Paged<Plain, usize>>,
    ),
    (
        "",
        "",
        Method::GET,
        "/missing",
        of_query::<Paged<Plain, usize>>,
    ),
    (
        "",
        "",
        Method::GET,
        "/map",
        of_query::<Paged<Plain, TrackId, 1000>>,
    ),
    ("", "", Method::POST, "/files/similar", of_query::<Similar>),
    (
        "",
        "",
        Method::POST,
        "/files/classify",
        of_query::<Classify>,
    ),
];

/// A query's parameters, after those that stand in the path.
fn parameters(before: &Value, schema: &Value) -> Value {
    let in_path = before
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| one["in"] == "path");
    let stands_in_path = |name: &str| in_path.clone().any(|one| one["name"] == name);
    let fields = schema["properties"].as_object().into_iter().flatten();
    let required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|one| one == name))
    };
    let of = |(name, field): (&String, &Value)| {
        let mut one =
            json!({"name": name, "in": "query", "required": required(name), "schema": field});
        if field["type"] == "array" {
            one["style"] = "form".into();
            one["explode"] = true.into();
        }
        one
    };
    let fields = fields.filter(|(name, _)| !stands_in_path(name));
    in_path.clone().cloned().chain(fields.map(of)).collect()
}

/// JSON with one line for whatever lies deeper than `depth`.
fn lines(value: &Value, depth: usize, indent: &str) -> String {
    match value {
        Value::Object(fields) if depth > 0 => {
            let inner = format!("{indent}  ");
            let parts = fields.iter().map(|(name, part)| {
                format!(
                    "{inner}{}: {}",
                    Value::from(name.as_str()),
                    lines(part, depth - 1, &inner)
                )
            });
            format!("{{\n{}\n{indent}}}", parts.collect::<Vec<_>>().join(",\n"))
        }
        plain => plain.to_string(),
    }
}

#[test]
fn the_description_says_what_questions_take() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/openapi.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    let mut expected = written.clone();
    for (tool, _, method, path, schema) in TOOLS.iter().chain(&OTHERS) {
        let question = &mut expected["paths"][path][method.as_str().to_ascii_lowercase()];
        if *method == Method::POST && !tool.is_empty() {
            question["requestBody"]["content"]["application/json"]["schema"] = schema();
        } else {
            question["parameters"] = parameters(&question["parameters"], &schema());
        }
    }
    expected["paths"]["/lists/{name}"]["put"]["requestBody"]["content"]["application/json"]["schema"] =
        of_body::<SavedQuestion>();
    let schemas: &mut Map<String, Value> =
        expected["components"]["schemas"].as_object_mut().unwrap();
    schemas.insert("Filters".to_owned(), of_body::<Filters>());
    schemas.insert("Mixing".to_owned(), of_body::<Mixing>());
    schemas.insert("Named".to_owned(), of_body::<NamedSeed>());
    if std::env::var_os("VOISIN_WRITE_DOCS").is_some() {
        std::fs::write(&file, lines(&expected, 3, "") + "\n").unwrap();
        return;
    }
    assert!(
        written == expected,
        "openapi.json is out of date: VOISIN_WRITE_DOCS=1 writes it anew"
    );
}
