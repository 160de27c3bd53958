//! The description of the API (`OpenAPI`), from the types of queries and answers.

use axum::http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::api::{Answer, Gone, Invited, MissingPage, OwnRights};
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
    ("post", "/path", answer_of::<Answer<WalkJson>>),
    ("post", "/playlist", answer_of::<Answer<PlaylistJson>>),
    ("get", "/scan", answer_of::<ScanProgress>),
    ("post", "/similar", answer_of::<Answer<SimilarJson>>),
    ("get", "/status", answer_of::<Answer<StatusJson>>),
    ("get", "/suspects", answer_of::<ByTrack<SuspectJson>>),
    ("get", "/tracks", answer_of::<Answer<NextPage<PageJson>>>),
    ("get", "/tracks/{id}", answer_of::<Answer<CardJson<'_>>>),
    ("get", "/words", answer_of::<Answer<WordsJson<'_>>>),
];

/// The summary of each route.
const ABOUT: [(&str, &str, &str); 39] = [
    (
        "get",
        "/albums",
        "Albums, each with its nearest, or those near to the one that is named; as `voisin albums`.",
    ),
    (
        "get",
        "/artists",
        "Artists, each with its nearest, or those near to the one that is named; as `voisin artists`.",
    ),
    (
        "post",
        "/classify",
        "Which genre these tracks are; as `voisin classify`.",
    ),
    (
        "get",
        "/clusters",
        "Groups of tracks that sound alike; as `voisin clusters`. Each page describes all of them, and names `limit` members: of one cluster after the other, then of noise.",
    ),
    ("get", "/devices", "What the device that asks may do."),
    (
        "post",
        "/devices",
        "A code that lets another device in, once: to change things, or to listen.",
    ),
    ("delete", "/devices/{id}", "Signs a device out."),
    (
        "get",
        "/duplicates",
        "Recordings that are there several times, a page at a time; as `voisin duplicates`.",
    ),
    (
        "get",
        "/failed",
        "Files that could not be listened to, and why, a page at a time; as `voisin list --failed`.",
    ),
    (
        "post",
        "/files/classify",
        "Which genre this file is, which need not be in the library.",
    ),
    (
        "post",
        "/files/similar",
        "What sounds like this file, which need not be in the library.",
    ),
    (
        "get",
        "/find",
        "Music by what it sounds like, in words; as `voisin find`.",
    ),
    (
        "get",
        "/genres",
        "How close the genres are to one another, a page at a time; as `voisin genres`.",
    ),
    (
        "get",
        "/health",
        "Whether the server answers. Needs no token.",
    ),
    (
        "get",
        "/labels",
        "Genres given by hand, a page at a time; as `voisin labels`.",
    ),
    (
        "post",
        "/labels",
        "Gives tracks a genre by hand, or takes it away; as `voisin labels set` and `unset`.",
    ),
    (
        "post",
        "/labels/undo",
        "Takes back the last change of a label; as `voisin labels undo`.",
    ),
    (
        "post",
        "/labels/write",
        "Writes labels given by hand into the files of these tracks, over what is there; `voisin tag --undo` takes it back.",
    ),
    (
        "get",
        "/lists",
        "The lists that are kept, and some that are ready to be; as `voisin lists`.",
    ),
    (
        "post",
        "/lists",
        "Tracks as a playlist, with the paths that the library has.",
    ),
    (
        "get",
        "/map",
        "Where each track lies on the map, a page at a time; as `voisin map`.",
    ),
    (
        "delete",
        "/missing",
        "Takes out of the library what is gone; as `voisin remove --missing`.",
    ),
    (
        "get",
        "/missing",
        "Files that are no longer on the disk, a page at a time; as `voisin remove --missing --dry-run`.",
    ),
    ("get", "/openapi.json", "This description."),
    (
        "post",
        "/path",
        "The way from one track to another; as `voisin path`.",
    ),
    (
        "post",
        "/playlist",
        "A list for an evening; as `voisin playlist`.",
    ),
    (
        "delete",
        "/scan",
        "Stops the scan; the tracks in hand are finished first.",
    ),
    (
        "get",
        "/scan",
        "How the scan goes: once, or as events where text/event-stream is accepted.",
    ),
    (
        "post",
        "/scan",
        "Starts `voisin add` of the folders that were named at the start.",
    ),
    ("delete", "/session", "Takes the page's cookie back."),
    (
        "post",
        "/session",
        "Gives the page a cookie for the token or a code.",
    ),
    (
        "post",
        "/similar",
        "What sounds like these tracks; as `voisin similar`.",
    ),
    (
        "get",
        "/status",
        "What the library holds, and the state of its index; as `voisin status`.",
    ),
    (
        "get",
        "/suspects",
        "Labels that look wrong, a page at a time; as `voisin labels suspects`.",
    ),
    (
        "get",
        "/tracks",
        "The tracks, a page at a time; as `voisin list`.",
    ),
    ("get", "/tracks/{id}", "A track."),
    (
        "get",
        "/tracks/{id}/audio",
        "The stored file of a track; ranges are answered.",
    ),
    (
        "get",
        "/tracks/{id}/cover",
        "The picture in a track's file; 204 where there is none.",
    ),
    (
        "get",
        "/words",
        "Every word that is understood; as `voisin find --words`.",
    ),
];

/// A query's parameters.
fn parameters(schema: &Value) -> Vec<Value> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|one| one == name))
    };
    // The id of a track is in the path.
    let fields = fields.filter(|(name, _)| *name != "id");
    fields
        .map(|(name, field)| {
            let mut one =
                json!({"name": name, "in": "query", "required": required(name), "schema": field});
            if field["type"] == "array" {
                one["style"] = "form".into();
                one["explode"] = true.into();
            }
            one
        })
        .collect()
}

/// The description of a route, without its answer.
fn operation(method: &str, path: &str, about: &str) -> Value {
    let mut operation = json!({"summary": about, "responses": {
        "200": {"description": "The answer."},
        "default": {"description": "Why there is none.", "content": {"application/problem+json": {
            "schema": {"$ref": format!("{COMPONENTS}/Problem")}
        }}}
    }});
    let mut named = Vec::new();
    if path.contains("{id}") {
        named.push(json!({"name": "id", "in": "path", "required": true, "schema": {}}));
    }
    let mut queries = TOOLS.iter().chain(&OTHERS);
    let query = queries
        .find(|(.., verb, other, _)| *other == path && verb.as_str().eq_ignore_ascii_case(method));
    match query {
        Some((tool, _, verb, _, schema)) if *verb == Method::POST && !tool.is_empty() => {
            operation["requestBody"] = json!({"required": true, "content": {
                "application/json": {"schema": schema()}
            }});
        }
        Some((.., schema)) => named.extend(parameters(&schema())),
        None => {}
    }
    if path.starts_with("/files/") {
        operation["requestBody"] = json!({"required": true, "content": {
            "application/octet-stream": {"schema": {}}, "audio/*": {"schema": {}}
        }});
    }
    operation["parameters"] = named.into();
    operation
}

/// The description of all routes, from the types of queries and answers.
///
/// - `base`: the path below which the server's routes are
pub(super) fn description(base: &str) -> Value {
    let mut paths = json!({});
    for (method, path, about) in ABOUT {
        paths[path][method] = operation(method, path, about);
    }
    let mut generator = schema::answers(COMPONENTS);
    for (method, path, answer) in ANSWERS {
        let mut answer = answer(&mut generator).to_value();
        schema::tidy_answer(&mut answer);
        paths[path][method]["responses"]["200"]["content"] =
            json!({"application/json": {"schema": answer}});
    }
    let _ = generator.subschema_for::<Problem>();
    let mut schemas = Value::Object(generator.take_definitions(true));
    schema::tidy_answer(&mut schemas);
    for (name, shared) in [
        ("Filters", of_body::<Filters>()),
        ("Named", of_body::<NamedSeed>()),
    ] {
        schemas[name] = shared;
    }
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
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let description = description("");
        let mut routes: Vec<String> = include_str!("api.rs")
            .split(".route(")
            .filter_map(|rest| rest.trim_start().strip_prefix("\"/")?.split_once('"'))
            .map(|(path, _)| format!("/{path}"))
            .collect();
        routes.sort();
        let paths = description["paths"].as_object().unwrap();
        let mut described: Vec<String> = paths.keys().cloned().collect();
        described.sort();
        assert_eq!(described, routes);
        let text = description.to_string();
        for reference in text.split(&format!("{COMPONENTS}/")).skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(
                !description["components"]["schemas"][name].is_null(),
                "{name}"
            );
        }
        assert!(text.len() > 50_000, "{}", text.len());
    }
}
