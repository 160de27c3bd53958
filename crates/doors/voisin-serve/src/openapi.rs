//! Generates openapi.json from the types of queries and answers, and tests that it is up to date. `VOISIN_WRITE_DOCS=1`
//! writes it again.

use std::path::Path;

use axum::http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::api::{Answer, Gone, Invited, MissingPage, Noted, OwnRights};
use super::mcp::{QuestionTool, TOOLS};
use voisin_base::track::TrackId;
use voisin_http::problem::Problem;
use voisin_http::scan::ScanProgress;
use voisin_questions::answers::artists::ArtistJson;
use voisin_questions::answers::card::CardJson;
use voisin_questions::answers::clusters::ClustersJson;
use voisin_questions::answers::duplicates::GroupJson;
use voisin_questions::answers::failed::FailureJson;
use voisin_questions::answers::find::{FoundJson, WordsJson};
use voisin_questions::answers::genre::AnswersJson;
use voisin_questions::answers::genres::GenresPart;
use voisin_questions::answers::labels::{
    HandLabelsJson, LabelUndoneJson, LabelsChangedJson, LabelsWrittenJson,
};
use voisin_questions::answers::list::PageJson;
use voisin_questions::answers::map::MapPart;
use voisin_questions::answers::page::{NextPage, Page, PageItems};
use voisin_questions::answers::playlist::PlaylistJson;
use voisin_questions::answers::similar::SimilarJson;
use voisin_questions::answers::status::StatusJson;
use voisin_questions::answers::suspects::SuspectJson;
use voisin_questions::answers::walk::WalkJson;
use voisin_questions::genre::Classify;
use voisin_questions::page::{Paged, Plain};
use voisin_questions::schema::{self, of_body, of_query};
use voisin_questions::seed::NamedSeed;
use voisin_questions::{Filters, Similar};

/// The path of shared schemas.
const COMPONENTS: &str = "#/components/schemas";

/// Queries that are no tools.
const OTHERS: [QuestionTool; 6] = [
    ("", "", Method::GET, "/labels", of_query::<Paged<Plain>>),
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

/// Adds the schema of an answer to a generator.
type AnswerSchema = fn(&mut SchemaGenerator) -> Schema;

fn answer_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A page of a list whose items are tracks, or are named by their index.
type ByTrack<T> = Answer<Page<PageItems<'static, T>, TrackId>>;
type ByPlace<T> = Answer<Page<PageItems<'static, T>, usize>>;

/// The types of the answers.
const ANSWERS: [(&str, &str, AnswerSchema); 28] = [
    ("get", "/albums", answer_of::<ByPlace<ArtistJson>>),
    ("get", "/artists", answer_of::<ByPlace<ArtistJson>>),
    ("post", "/classify", answer_of::<Answer<AnswersJson<'_>>>),
    (
        "get",
        "/clusters",
        answer_of::<Answer<Page<ClustersJson<'_>, TrackId>>>,
    ),
    ("get", "/devices", answer_of::<OwnRights>),
    ("post", "/devices", answer_of::<Invited>),
    ("get", "/duplicates", answer_of::<ByTrack<GroupJson>>),
    ("get", "/failed", answer_of::<ByPlace<FailureJson>>),
    (
        "post",
        "/files/classify",
        answer_of::<Answer<AnswersJson<'_>>>,
    ),
    ("post", "/files/similar", answer_of::<Answer<SimilarJson>>),
    ("get", "/find", answer_of::<Answer<FoundJson<'_>>>),
    (
        "get",
        "/genres",
        answer_of::<Answer<Page<GenresPart<'_>, usize>>>,
    ),
    ("get", "/labels", answer_of::<Answer<HandLabelsJson>>),
    ("post", "/labels", answer_of::<Answer<LabelsChangedJson>>),
    ("post", "/labels/undo", answer_of::<Answer<LabelUndoneJson>>),
    (
        "post",
        "/labels/write",
        answer_of::<Answer<LabelsWrittenJson>>,
    ),
    (
        "get",
        "/map",
        answer_of::<Answer<Page<MapPart<'_>, TrackId>>>,
    ),
    ("delete", "/missing", answer_of::<Answer<Gone>>),
    ("get", "/missing", answer_of::<Answer<MissingPage>>),
    ("post", "/path", answer_of::<Answer<Noted<WalkJson>>>),
    (
        "post",
        "/playlist",
        answer_of::<Answer<Noted<PlaylistJson>>>,
    ),
    ("get", "/scan", answer_of::<ScanProgress>),
    ("post", "/similar", answer_of::<Answer<SimilarJson>>),
    ("get", "/status", answer_of::<Answer<StatusJson>>),
    ("get", "/suspects", answer_of::<ByTrack<SuspectJson>>),
    ("get", "/tracks", answer_of::<Answer<NextPage<PageJson>>>),
    (
        "get",
        "/tracks/{id}",
        answer_of::<Answer<Noted<CardJson<'_>>>>,
    ),
    ("get", "/words", answer_of::<Answer<WordsJson<'_>>>),
];

/// A query's parameters, after those of the path.
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
    let parameter = |(name, field): (&String, &Value)| {
        let mut one =
            json!({"name": name, "in": "query", "required": required(name), "schema": field});
        if field["type"] == "array" {
            one["style"] = "form".into();
            one["explode"] = true.into();
        }
        one
    };
    let fields = fields.filter(|(name, _)| !stands_in_path(name));
    in_path
        .clone()
        .cloned()
        .chain(fields.map(parameter))
        .collect()
}

/// JSON with values deeper than `depth` on one line.
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

/// Removes schemas without references.
fn keep_referenced(description: &mut Value) {
    loop {
        let text = description.to_string();
        let schemas = description["components"]["schemas"]
            .as_object_mut()
            .unwrap();
        let before = schemas.len();
        schemas.retain(|name, _| text.contains(&format!("{COMPONENTS}/{name}\"")));
        if schemas.len() == before {
            return;
        }
    }
}

#[test]
fn the_description_has_the_parameters_of_queries() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/openapi.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    let mut expected = written.clone();
    for (tool, _, method, path, schema_of) in TOOLS.iter().chain(&OTHERS) {
        let question = &mut expected["paths"][path][method.as_str().to_ascii_lowercase()];
        if *method == Method::POST && !tool.is_empty() {
            question["requestBody"]["content"]["application/json"]["schema"] = schema_of();
        } else {
            question["parameters"] = parameters(&question["parameters"], &schema_of());
        }
    }
    let schemas: &mut Map<String, Value> =
        expected["components"]["schemas"].as_object_mut().unwrap();
    schemas.insert("Filters".to_owned(), of_body::<Filters>());
    schemas.insert("Named".to_owned(), of_body::<NamedSeed>());
    let mut generator = schema::answers(COMPONENTS);
    for (method, path, answer) in ANSWERS {
        let answer = answer(&mut generator).to_value();
        expected["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"] =
            answer;
    }
    let _ = generator.subschema_for::<Problem>();
    let definitions = generator.take_definitions(true);
    expected["components"]["schemas"]
        .as_object_mut()
        .unwrap()
        .extend(definitions);
    for (method, path, _) in ANSWERS {
        schema::tidy_answer(&mut expected["paths"][path][method]["responses"]["200"]["content"]);
    }
    schema::tidy_answer(&mut expected["components"]["schemas"]);
    keep_referenced(&mut expected);
    if std::env::var_os("VOISIN_WRITE_DOCS").is_some() {
        std::fs::write(&file, lines(&expected, 3, "") + "\n").unwrap();
        return;
    }
    assert!(
        written == expected,
        "openapi.json is out of date: VOISIN_WRITE_DOCS=1 writes it again"
    );
}
