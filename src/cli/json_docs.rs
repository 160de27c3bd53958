//! Compares docs/json.md with the types of answers: each example has the keys and types that its command prints.

use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use voisin_questions::answers::add::AddAnswer;
use voisin_questions::answers::artists::ArtistJson;
use voisin_questions::answers::card::CardJson;
use voisin_questions::answers::checks::{ConfigJson, VerifyJson};
use voisin_questions::answers::clusters::ClustersJson;
use voisin_questions::answers::duplicates::GroupJson;
use voisin_questions::answers::failed::FailureJson;
use voisin_questions::answers::find::FoundJson;
use voisin_questions::answers::genre::{AnswerJson, TrainedJson};
use voisin_questions::answers::genres::{GenreJson, GenresJson};
use voisin_questions::answers::labels::LabelSourceJson;
use voisin_questions::answers::list::PageJson;
use voisin_questions::answers::model::{CheckedJson, ModelJson};
use voisin_questions::answers::playlist::PlaylistJson;
use voisin_questions::answers::remove::RemovedJson;
use voisin_questions::answers::similar::SimilarJson;
use voisin_questions::answers::space::SpaceJson;
use voisin_questions::answers::status::StatusJson;
use voisin_questions::answers::suspects::SuspectJson;
use voisin_questions::answers::walk::WalkJson;
use voisin_questions::schema;

fn answer_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Adds the schema of an answer to a generator.
type ExampleSchema = fn(&mut SchemaGenerator) -> Schema;

/// The first words of commands and the types of their answers; the first that fits counts.
const ANSWERS: [(&str, ExampleSchema); 26] = [
    ("voisin add ", answer_of::<AddAnswer>),
    ("voisin status", answer_of::<StatusJson>),
    ("voisin labels", answer_of::<LabelSourceJson>),
    ("voisin config", answer_of::<ConfigJson>),
    ("voisin failed", answer_of::<Vec<FailureJson>>),
    ("voisin list ", answer_of::<PageJson>),
    ("voisin show", answer_of::<Vec<CardJson<'_>>>),
    ("voisin find", answer_of::<FoundJson<'_>>),
    ("voisin similar 'chaos god' --from",),
    ("voisin similar", answer_of::<SimilarJson>),
    (
        "voisin classify new.mp3 --format",
        answer_of::<Vec<AnswerJson<'_>>>,
    ),
    ("voisin train genre", answer_of::<TrainedJson<'_>>),
    ("voisin suspects", answer_of::<Vec<SuspectJson>>),
    ("voisin genres metal", answer_of::<GenreJson>),
    ("voisin genres", answer_of::<GenresJson>),
    ("voisin artists", answer_of::<Vec<ArtistJson>>),
    ("voisin model list", answer_of::<Vec<ModelJson>>),
    ("voisin space list", answer_of::<Vec<SpaceJson>>),
    ("voisin model check", answer_of::<CheckedJson>),
    ("voisin clusters", answer_of::<ClustersJson<'_>>),
    ("voisin path", answer_of::<WalkJson>),
    ("voisin playlist", answer_of::<PlaylistJson>),
    ("voisin duplicates", answer_of::<Vec<GroupJson>>),
    ("voisin verify", answer_of::<VerifyJson>),
    ("voisin remove", answer_of::<RemovedJson>),
];

/// Differences between an example and the schema of its type.
fn differences(schemas: &Value, schema: &Value, example: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
        return differences(schemas, &schemas[name], example, place);
    }
    // Any field may be null in an example; whether its type is optional is not documented there.
    if example.is_null() {
        return Vec::new();
    }
    if let Some(kinds) = schema["anyOf"].as_array() {
        let kinds = kinds.iter().filter(|kind| kind["type"] != "null");
        let found = kinds.map(|kind| differences(schemas, kind, example, place));
        // The nearest variant, so that faults are reported for that one.
        return found.min_by_key(Vec::len).unwrap_or_default();
    }
    let names = match example {
        Value::Bool(_) => ["boolean", "boolean"],
        Value::Number(_) => ["number", "integer"],
        Value::String(_) => ["string", "string"],
        Value::Array(_) => ["array", "array"],
        _ => ["object", "object"],
    };
    let is_one = |kind: &Value| names.iter().any(|name| kind == name);
    let kind = &schema["type"];
    if !kind.is_null()
        && !is_one(kind)
        && !kind
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(is_one))
    {
        return vec![format!("{place} is {kind}, documented as {}", names[0])];
    }
    let mut found = Vec::new();
    for item in example.as_array().into_iter().flatten() {
        found.extend(differences(schemas, &schema["items"], item, place));
    }
    let (Some(fields), Some(known)) = (example.as_object(), schema["properties"].as_object())
    else {
        return found;
    };
    for (name, value) in fields {
        match known.get(name) {
            Some(schema) => found.extend(differences(
                schemas,
                schema,
                value,
                &format!("{place}.{name}"),
            )),
            // Part of every answer, but no field of its type.
            None if name == "version" => {}
            None => found.push(format!("{place}.{name} is documented and not there")),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten();
    let lacking = required
        .filter_map(Value::as_str)
        .filter(|name| !fields.contains_key(*name));
    found.extend(lacking.map(|name| format!("{place}.{name} is not documented")));
    found
}

#[test]
fn examples_in_the_documents_have_the_keys_of_their_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let text = std::fs::read_to_string(file).unwrap();
    let mut generator = schema::answers("#");
    let types: Vec<(&str, Value)> = ANSWERS
        .iter()
        .map(|(command, answer)| (*command, answer(&mut generator).to_value()))
        .collect();
    let schemas = Value::Object(generator.take_definitions(true));
    let mut compared = 0;
    let mut found = Vec::new();
    for (before, rest) in text.split("```json\n").zip(text.split("```json\n").skip(1)) {
        let command = before.lines().rfind(|line| line.starts_with("    voisin "));
        let command = command.unwrap_or_default().trim();
        let fits = |(start, _): &&(&str, Value)| command.starts_with(*start);
        let Some((_, schema)) = types.iter().find(fits) else {
            continue;
        };
        let example = rest.split("```").next().unwrap_or_default();
        let example: Value = serde_json::from_str(example).unwrap();
        let is_list = schema["type"] == "array";
        let example = if is_list { &example["items"] } else { &example };
        found.extend(differences(&schemas, schema, example, command));
        compared += 1;
    }
    assert!(compared >= 18, "{compared} examples");
    assert_eq!(found, Vec::<String>::new());
}
