//! The routes and their description (`OpenAPI`), from the types of queries and answers.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::api::{Answer, OwnRights};
use voisin_base::track::TrackId;
use voisin_http::problem::Problem;
use voisin_http::scan::ScanProgress;
use voisin_questions::answers::card::CardJson;
use voisin_questions::answers::clusters::ClustersJson;
use voisin_questions::answers::duplicates::GroupJson;
use voisin_questions::answers::failed::FailureJson;
use voisin_questions::answers::find::FoundJson;
use voisin_questions::answers::genre::AnswersJson;
use voisin_questions::answers::genres::GenresPart;
use voisin_questions::answers::labels::{HandLabelsJson, LabelsChangedJson};
use voisin_questions::answers::list::PageJson;
use voisin_questions::answers::map::MapPart;
use voisin_questions::answers::page::{NextPage, Page, PageItems};
use voisin_questions::answers::playlist::PlaylistJson;
use voisin_questions::answers::similar::SimilarJson;
use voisin_questions::answers::status::StatusJson;
use voisin_questions::answers::suspects::SuspectJson;
use voisin_questions::answers::walk::WalkJson;
use voisin_questions::explore::{Clusters, Duplicates, PathBetween};
use voisin_questions::genre::{Classify, GenreRelations, Suspects};
use voisin_questions::list::{Find, List, Show};
use voisin_questions::page::{Paged, Plain};
use voisin_questions::playlist::Playlist;
use voisin_questions::schema::{self, of_body, of_query};
use voisin_questions::seed::NamedSeed;
use voisin_questions::{Filters, Similar};

/// The path of shared schemas.
const COMPONENTS: &str = "#/components/schemas";

/// Adds the schema of an answer to a generator.
type AnswerSchema = fn(&mut SchemaGenerator) -> Schema;

fn answer_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A page of a list whose items are tracks.
type ByTrack<T> = Answer<Page<PageItems<'static, T>, TrackId>>;

/// A route below `/api/v1`.
pub(super) struct Route {
    /// `get`, `post` or `delete`.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What it answers, for programs and assistants.
    pub(super) about: &'static str,
    /// The schema of its body, or of its query string.
    pub(super) query: Option<fn() -> Value>,
    answer: Option<AnswerSchema>,
}

/// A route without a query and an answer in JSON.
const fn route(method: &'static str, path: &'static str, about: &'static str) -> Route {
    Route {
        method,
        path,
        about,
        query: None,
        answer: None,
    }
}

impl Route {
    const fn asks(mut self, query: fn() -> Value) -> Self {
        self.query = Some(query);
        self
    }

    const fn answers(mut self, answer: AnswerSchema) -> Self {
        self.answer = Some(answer);
        self
    }
}

/// All routes.
pub(super) static ROUTES: [Route; 29] = [
    route("post", "/classify", "Which genre these tracks are; as `voisin classify`.")
        .asks(of_body::<Classify>)
        .answers(answer_of::<Answer<AnswersJson<'_>>>),
    route(
        "get",
        "/clusters",
        "Groups of tracks that sound alike; as `voisin clusters`. Each page describes all of them, and names `limit` members: of one cluster after the other, then of noise.",
    )
    .asks(of_query::<Paged<Clusters>>)
    .answers(answer_of::<Answer<Page<ClustersJson<'_>, TrackId>>>),
    route(
        "get",
        "/duplicates",
        "Recordings that are there several times, a page at a time; as `voisin duplicates`.",
    )
    .asks(of_query::<Paged<Duplicates>>)
    .answers(answer_of::<ByTrack<GroupJson>>),
    route(
        "get",
        "/failed",
        "Files that could not be listened to, and why, a page at a time.",
    )
    .asks(of_query::<Paged<Plain, usize>>)
    .answers(answer_of::<Answer<Page<PageItems<'static, FailureJson>, usize>>>),
    route(
        "post",
        "/files/classify",
        "Which genre this file is, which need not be in the library.",
    )
    .asks(of_query::<Classify>)
    .answers(answer_of::<Answer<AnswersJson<'_>>>),
    route(
        "post",
        "/files/similar",
        "What sounds like this file, which need not be in the library.",
    )
    .asks(of_query::<Similar>)
    .answers(answer_of::<Answer<SimilarJson>>),
    route("get", "/find", "Music by what it sounds like, in words; as `voisin find`.")
        .asks(of_query::<Find>)
        .answers(answer_of::<Answer<FoundJson<'_>>>),
    route(
        "get",
        "/genres",
        "How close the genres are to one another, a page at a time; as `voisin genres`.",
    )
    .asks(of_query::<Paged<GenreRelations, usize>>)
    .answers(answer_of::<Answer<Page<GenresPart<'_>, usize>>>),
    route("get", "/health", "Whether the server answers. Needs no token."),
    route("get", "/labels", "Genres given by hand, a page at a time; as `voisin labels`.")
        .asks(of_query::<Paged<Plain>>)
        .answers(answer_of::<Answer<HandLabelsJson>>),
    route(
        "post",
        "/labels",
        "Gives tracks a genre by hand, or takes it away; as `voisin labels set` and `unset`.",
    )
    .answers(answer_of::<Answer<LabelsChangedJson>>),
    route("post", "/lists", "Tracks as a playlist, with the paths that the library has."),
    route(
        "get",
        "/map",
        "Where each track lies on the map, a page at a time; as `voisin map`.",
    )
    .asks(of_query::<Paged<Plain, TrackId, 1000>>)
    .answers(answer_of::<Answer<Page<MapPart<'_>, TrackId>>>),
    route("get", "/openapi.json", "This description."),
    route("post", "/path", "The way from one track to another; as `voisin path`.")
        .asks(of_body::<PathBetween>)
        .answers(answer_of::<Answer<WalkJson>>),
    route("post", "/playlist", "A list for an evening; as `voisin playlist`.")
        .asks(of_body::<Playlist>)
        .answers(answer_of::<Answer<PlaylistJson>>),
    route(
        "delete",
        "/scan",
        "Stops the scan; the tracks in hand are finished first.",
    ),
    route(
        "get",
        "/scan",
        "How the scan goes: once, or as events where text/event-stream is accepted.",
    )
    .answers(answer_of::<ScanProgress>),
    route(
        "post",
        "/scan",
        "Starts `voisin add` of the folders that were named at the start.",
    ),
    route("delete", "/session", "Takes the page's cookie back."),
    route("get", "/session", "What the client may do.").answers(answer_of::<OwnRights>),
    route("post", "/session", "Gives the page a cookie for the token."),
    route("post", "/similar", "What sounds like these tracks; as `voisin similar`.")
        .asks(of_body::<Similar>)
        .answers(answer_of::<Answer<SimilarJson>>),
    route(
        "get",
        "/status",
        "What the library holds, and the state of its index; as `voisin status`.",
    )
    .asks(of_query::<Plain>)
    .answers(answer_of::<Answer<StatusJson>>),
    route(
        "get",
        "/suspects",
        "Labels that look wrong, a page at a time; as `voisin labels suspects`.",
    )
    .asks(of_query::<Paged<Suspects>>)
    .answers(answer_of::<ByTrack<SuspectJson>>),
    route("get", "/tracks", "The tracks, a page at a time; as `voisin list`.")
        .asks(of_query::<Paged<List>>)
        .answers(answer_of::<Answer<NextPage<PageJson>>>),
    route("get", "/tracks/{id}", "A track; as `voisin show`.")
        .asks(of_query::<Show>)
        .answers(answer_of::<Answer<CardJson<'_>>>),
    route(
        "get",
        "/tracks/{id}/audio",
        "The stored file of a track; ranges are answered.",
    ),
    route(
        "get",
        "/tracks/{id}/cover",
        "The picture in a track's file; 204 where there is none.",
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

/// The description of a route.
fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({"summary": route.about, "responses": {
        "200": {"description": "The answer."},
        "default": {"description": "Why there is none.", "content": {"application/problem+json": {
            "schema": {"$ref": format!("{COMPONENTS}/Problem")}
        }}}
    }});
    let mut named = Vec::new();
    if route.path.contains("{id}") {
        named.push(json!({"name": "id", "in": "path", "required": true, "schema": {}}));
    }
    let is_file = route.path.starts_with("/files/");
    match route.query {
        Some(query) if route.method == "post" && !is_file => {
            operation["requestBody"] = json!({"required": true, "content": {
                "application/json": {"schema": query()}
            }});
        }
        Some(query) => named.extend(parameters(&query())),
        None => {}
    }
    if is_file {
        operation["requestBody"] = json!({"required": true, "content": {
            "application/octet-stream": {"schema": {}}, "audio/*": {"schema": {}}
        }});
    }
    operation["parameters"] = named.into();
    if let Some(answer) = route.answer {
        let mut answer = answer(generator).to_value();
        schema::tidy_answer(&mut answer);
        operation["responses"]["200"]["content"] = json!({"application/json": {"schema": answer}});
    }
    operation
}

/// The description of all routes, from the types of queries and answers.
///
/// - `base`: the path below which the server's routes are
pub(super) fn description(base: &str) -> Value {
    let mut paths = json!({});
    let mut generator = schema::answers(COMPONENTS);
    for route in &ROUTES {
        paths[route.path][route.method] = operation(route, &mut generator);
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
        assert!(text.len() > 30_000, "{}", text.len());
    }
}
