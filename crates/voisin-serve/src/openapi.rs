//! The description of the interface is held against the types of questions: what openapi.json says of parameters and
//! bodies is what they are read into. `VOISIN_WRITE_DOCS=1` writes it anew.

use std::path::Path;

use serde_json::{Map, Value, json};

use voisin_base::track::TrackId;
use voisin_questions::explore::{Clusters, Duplicates, PathBetween};
use voisin_questions::genre::{Classify, GenreRelations, Suspects};
use voisin_questions::list::{Find, List, Show};
use voisin_questions::page::{Paged, Plain};
use voisin_questions::playlist::Playlist;
use voisin_questions::schema::{of_body, of_query};
use voisin_questions::seed::NamedSeed;
use voisin_questions::{Filters, Similar};

/// Prints the schema of a question.
type PrintSchema = fn() -> Value;

/// Questions that are bodies.
const BODIES: [(&str, PrintSchema); 4] = [
    ("/similar", of_body::<Similar>),
    ("/classify", of_body::<Classify>),
    ("/path", of_body::<PathBetween>),
    ("/playlist", of_body::<Playlist>),
];

/// Questions that are queries.
const QUERIES: [(&str, &str, PrintSchema); 11] = [
    ("/tracks", "get", of_query::<Paged<List>>),
    ("/tracks/{id}", "get", of_query::<Show>),
    ("/find", "get", of_query::<Find>),
    ("/labels", "get", of_query::<Paged<Plain>>),
    ("/genres", "get", of_query::<Paged<GenreRelations, usize>>),
    ("/clusters", "get", of_query::<Paged<Clusters>>),
    ("/map", "get", of_query::<Paged<Plain, TrackId, 1000>>),
    ("/suspects", "get", of_query::<Paged<Suspects>>),
    ("/duplicates", "get", of_query::<Paged<Duplicates>>),
    ("/files/similar", "post", of_query::<Similar>),
    ("/files/classify", "post", of_query::<Classify>),
];

/// A query's parameters, after those that stand in the path.
fn parameters(before: &Value, schema: &Value) -> Value {
    let in_path = before.as_array().into_iter().flatten().filter(|one| one["in"] == "path").cloned();
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
    let of = |(name, field): (&String, &Value)| {
        let mut one = json!({"name": name, "in": "query", "required": required(name), "schema": field});
        if field["type"] == "array" {
            one["style"] = "form".into();
            one["explode"] = true.into();
        }
        one
    };
    in_path.chain(schema["properties"].as_object().into_iter().flatten().map(of)).collect()
}

/// JSON with one line for whatever lies deeper than `depth`.
fn lines(value: &Value, depth: usize, indent: &str) -> String {
    match value {
        Value::Object(fields) if depth > 0 => {
            let inner = format!("{indent}  ");
            let parts = fields.iter().map(|(name, part)| {
                format!("{inner}{}: {}", Value::from(name.as_str()), lines(part, depth - 1, &inner))
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
    for (path, schema) in BODIES {
        expected["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"] = schema();
    }
    for (path, method, schema) in QUERIES {
        let question = &mut expected["paths"][path][method];
        question["parameters"] = parameters(&question["parameters"], &schema());
    }
    let schemas: &mut Map<String, Value> = expected["components"]["schemas"].as_object_mut().unwrap();
    schemas.insert("Filters".to_owned(), of_body::<Filters>());
    schemas.insert("Named".to_owned(), of_body::<NamedSeed>());
    if std::env::var_os("VOISIN_WRITE_DOCS").is_some() {
        std::fs::write(&file, lines(&expected, 3, "") + "\n").unwrap();
        return;
    }
    assert!(written == expected, "openapi.json is out of date: VOISIN_WRITE_DOCS=1 writes it anew");
}
