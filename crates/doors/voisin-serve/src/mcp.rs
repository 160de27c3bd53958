//! The Model Context Protocol over standard input and output: queries of the server as tools of an assistant.
//!
//! A tool is a query of [`api`], with the same arguments and exactly the same JSON; the query's type describes the arguments
//! to the assistant. Nothing that changes a library or a file is a tool.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest,
    CustomResult, ErrorCode, ErrorData, Implementation, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError};
use rmcp::{ServerHandler, ServiceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::api;
use voisin_http::access::Guard;
use voisin_http::peer::Peer;
use voisin_http::problem::Problem;
use voisin_http::scan::ScanProcess;
use voisin_http::state::{LoadModel, OpenElsewhere, Shared, State};
use voisin_http::{ServeError, runtime};
use voisin_questions::Similar;
use voisin_questions::explore::{Clusters, Duplicates, NearArtists, PathBetween};
use voisin_questions::genre::{Classify, GenreRelations, Suspects};
use voisin_questions::list::{Find, List, Show};
use voisin_questions::page::{Paged, Plain};
use voisin_questions::playlist::Playlist;
use voisin_questions::schema::{of_body, of_query};

/// A tool: its name, its title, its route, and the schema of its arguments.
pub(super) type QuestionTool = (
    &'static str,
    &'static str,
    Method,
    &'static str,
    fn() -> Value,
);

pub(super) static TOOLS: [QuestionTool; 15] = [
    (
        "similar",
        "Similar tracks",
        Method::POST,
        "/similar",
        of_body::<Similar>,
    ),
    (
        "find",
        "Music by words for its sound",
        Method::GET,
        "/find",
        of_query::<Find>,
    ),
    (
        "words",
        "Known words for sound",
        Method::GET,
        "/words",
        of_query::<Plain>,
    ),
    (
        "list",
        "Tracks of the library",
        Method::GET,
        "/tracks",
        of_query::<Paged<List>>,
    ),
    ("show", "A track", Method::GET, "/tracks/{id}", of_track),
    (
        "classify",
        "Genre of tracks",
        Method::POST,
        "/classify",
        of_body::<Classify>,
    ),
    (
        "path",
        "A path between two tracks",
        Method::POST,
        "/path",
        of_body::<PathBetween>,
    ),
    (
        "playlist",
        "A playlist around tracks",
        Method::POST,
        "/playlist",
        of_body::<Playlist>,
    ),
    (
        "genres",
        "How close genres are",
        Method::GET,
        "/genres",
        of_query::<Paged<GenreRelations, usize>>,
    ),
    (
        "clusters",
        "Groups that sound alike",
        Method::GET,
        "/clusters",
        of_query::<Paged<Clusters>>,
    ),
    (
        "artists",
        "Artists near to each other",
        Method::GET,
        "/artists",
        of_query::<Paged<NearArtists, usize>>,
    ),
    (
        "albums",
        "Albums near to each other",
        Method::GET,
        "/albums",
        of_query::<Paged<NearArtists, usize>>,
    ),
    (
        "suspects",
        "Labels that look wrong",
        Method::GET,
        "/suspects",
        of_query::<Paged<Suspects>>,
    ),
    (
        "duplicates",
        "Copies",
        Method::GET,
        "/duplicates",
        of_query::<Paged<Duplicates>>,
    ),
    (
        "status",
        "State of the library",
        Method::GET,
        "/status",
        of_query::<Plain>,
    ),
];

/// The arguments of `show`: the id in the path, and the query.
fn of_track() -> Value {
    let mut schema = of_query::<Show>();
    schema["properties"]["id"] = json!({"type": "integer", "minimum": 0});
    schema["required"] = json!(["id"]);
    schema
}

/// Instructions for an assistant.
const INSTRUCTIONS: &str = "Answers about the user's own music library, by how the music sounds. Tracks are named by \
    {\"id\": 17}, by {\"path\": \"...\"} as the library has it, or by {\"words\": \"artist title\"} that match only one \
    track; `list` finds ids. `find` takes words for sounds, which `words` lists. Nothing is changed by any of these tools.";

/// Timeout for an index that must be built; assistants wait for a minute.
const PATIENCE: Duration = Duration::from_secs(45);
/// Interval of retries.
const GLANCE: Duration = Duration::from_millis(200);

/// Serves an assistant until it closes standard input.
///
/// - `elsewhere`: opens the library in a database
/// - `listener`: receives log messages
pub fn assist(
    dir: PathBuf,
    elsewhere: Option<OpenElsewhere>,
    load_model: LoadModel,
    listener: Box<dyn Fn(&str) + Send + Sync>,
) -> Result<(), ServeError> {
    let runtime = runtime()?;
    let (_stopper, stop) = watch::channel(false);
    // Only the parent process sends requests: no token and no scans.
    let scan = ScanProcess::new(None);
    let mut state = State::new(
        dir,
        Guard::default(),
        scan,
        stop,
        load_model,
        listener,
        false,
    )?;
    state.elsewhere = elsewhere;
    let state = Arc::new(state);
    let router = api::router(&state, None)?;
    // Connections to a database must be closed outside of tasks: after the runtime.
    let kept = Arc::clone(&state);
    let assistant = Assistant {
        state,
        questions: TowerToHyperService::new(router),
        tools: tools(),
    };
    let result = runtime.block_on(async {
        let protocol = |reason: String| ServeError::Protocol { reason };
        match assistant.serve(rmcp::transport::stdio()).await {
            Ok(asking) => asking
                .waiting()
                .await
                .map(|_| ())
                .map_err(|error| protocol(error.to_string())),
            // It sent no request.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(protocol(error.to_string())),
        }
    });
    // Running computations have no client any more.
    runtime.shutdown_background();
    drop(kept);
    result
}

struct Assistant {
    state: Shared,
    questions: TowerToHyperService<Router>,
    tools: Vec<Tool>,
}

impl ServerHandler for Assistant {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("voisin", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.clone()))
    }

    /// Called for unknown requests, and for known ones with parameters of a wrong type.
    async fn on_custom_request(
        &self,
        CustomRequest { method, .. }: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let expected = match method.as_str() {
            "tools/call" => "{\"name\": a tool's name, \"arguments\": an object}",
            "tools/list" | "ping" => "an object",
            _ => return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, method, None)),
        };
        let text = format!("params of {method}: expected {expected}, found another type");
        Err(ErrorData::invalid_params(text, None))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some((_, _, method, path, _)) = TOOLS.iter().find(|(name, ..)| *name == call.name)
        else {
            let names: Vec<&str> = TOOLS.iter().map(|(name, ..)| *name).collect();
            let text = format!(
                "there is no tool {:?}: expected one of {}",
                call.name,
                names.join(", ")
            );
            return Err(ErrorData::invalid_params(text, None));
        };
        let mut arguments = call.arguments.unwrap_or_default();
        // Assistants send null for omitted arguments.
        arguments.retain(|_, value| !value.is_null());
        let (problem, answer) = self.send(method, path, arguments).await?;
        Ok(match problem {
            None => {
                let structured = serde_json::from_str(&answer).ok();
                let mut result = CallToolResult::success(vec![ContentBlock::text(answer)]);
                // Both forms: older assistants read only the text.
                result.structured_content = structured;
                result
            }
            // An error of the tool, not of the protocol, so that the assistant can
            // correct the call.
            Some(problem) => CallToolResult::error(vec![ContentBlock::text(problem.in_tools())]),
        }
        .into())
    }
}

impl Assistant {
    /// Sends a request, with retries while the index is being built.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        arguments: JsonObject,
    ) -> Result<(Option<Problem>, String), ErrorData> {
        let fault =
            |error: &dyn std::error::Error| ErrorData::internal_error(error.to_string(), None);
        let (uri, body) = written(method, path, arguments);
        let uri: Uri = uri
            .parse()
            .map_err(|error: axum::http::uri::InvalidUri| fault(&error))?;
        let start = Instant::now();
        loop {
            let mut request = Request::new(Body::from(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            let headers = [
                // Passes the checks of all requests.
                (header::HOST, "localhost"),
                (header::CONTENT_TYPE, "application/json"),
            ];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            request.headers_mut().extend(headers);
            request.extensions_mut().insert(Peer::Unix);
            let answer = hyper::service::Service::call(&self.questions, request);
            let (head, body) = answer.await.map_err(|error| fault(&error))?.into_parts();
            let is_for_later =
                head.status == StatusCode::SERVICE_UNAVAILABLE && self.state.is_building();
            if is_for_later && start.elapsed() < PATIENCE {
                // There is no server loop here that would start the build.
                self.state.start_building();
                tokio::time::sleep(GLANCE).await;
                continue;
            }
            let body = to_bytes(body, usize::MAX)
                .await
                .map_err(|error| fault(&error))?;
            // The body has the next step as a route, which an assistant cannot use.
            let problem = head.extensions.get::<Problem>().cloned();
            return Ok((problem, String::from_utf8_lossy(&body).into_owned()));
        }
    }
}

/// The path and the body of a request.
fn written(method: &Method, path: &str, mut arguments: JsonObject) -> (String, String) {
    fn plain(value: &Value) -> String {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    }
    let mut path = format!("/api/v1{path}");
    if path.contains("{id}") {
        let id = plain(&arguments.remove("id").unwrap_or_default());
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        // In a path a blank is %20, unlike in a form.
        path = path.replace("{id}", &id.replace('+', "%20"));
    }
    if *method == Method::POST {
        return (path, Value::Object(arguments).to_string());
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &arguments {
        match value {
            Value::Array(items) => {
                query.extend_pairs(items.iter().map(|item| (name, plain(item))));
            }
            value => {
                query.append_pair(name, &plain(value));
            }
        }
    }
    (format!("{path}?{}", query.finish()), String::new())
}

/// The descriptions of the tools.
fn tools() -> Vec<Tool> {
    let all: Value = serde_json::from_str(include_str!("openapi.json")).unwrap_or_default();
    let tool = |(name, title, method, path, schema): &QuestionTool| {
        let question = &all["paths"][path][method.as_str().to_ascii_lowercase()];
        let Value::Object(schema) = schema() else {
            return None;
        };
        let mut answer =
            question["responses"]["200"]["content"]["application/json"]["schema"].clone();
        inline(&mut answer, &all["components"]["schemas"]);
        leave_out_descriptions(&mut answer);
        // The protocol requires the type at the top, even for several kinds.
        answer["type"] = "object".into();
        let Value::Object(answer) = answer else {
            return None;
        };
        let summary = question["summary"].as_str().unwrap_or_default().to_owned();
        let hints = ToolAnnotations::new().read_only(true).open_world(false);
        Some(
            Tool::new(*name, summary, Arc::new(schema))
                .with_title(*title)
                .with_raw_output_schema(Arc::new(answer))
                .annotate(hints),
        )
    };
    TOOLS.iter().filter_map(tool).collect()
}

/// Removes the descriptions of answers' fields, since an assistant reads all tools before the first call.
fn leave_out_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A field named `description` has a schema, not a text.
            fields.retain(|name, value| name != "description" || !value.is_string());
            fields.values_mut().for_each(leave_out_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_descriptions),
        _ => {}
    }
}

/// Replaces references in a schema by their definitions.
fn inline(schema: &mut Value, known: &Value) {
    let name = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix("#/components/schemas/"));
    if let Some(referred) = name.and_then(|name| known.get(name)) {
        *schema = referred.clone();
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(|field| inline(field, known)),
        Value::Array(items) => items.iter_mut().for_each(|item| inline(item, known)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_described() {
        let tools = tools();
        assert_eq!(tools.len(), TOOLS.len());
        for tool in tools {
            let schema = Value::Object((*tool.input_schema).clone());
            assert_eq!(schema["type"], "object", "{}", tool.name);
            assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
            let answer = Value::Object((*tool.output_schema.unwrap()).clone());
            assert_eq!(answer["type"], "object", "{}", tool.name);
            assert!(
                !format!("{schema}{answer}").contains("$ref"),
                "{}",
                tool.name
            );
            assert!(
                tool.title.is_some_and(|title| title.len() < 40),
                "{}",
                tool.name
            );
            assert!(
                tool.description.is_some_and(|text| !text.is_empty()),
                "{}",
                tool.name
            );
        }
    }

    #[test]
    fn tools_are_short_enough_to_read_and_documented() {
        let docs = include_str!("../../../../docs/serve.md");
        let undocumented = |tool: &&Tool| !docs.contains(&format!("`{}`", tool.name));
        let tools = tools();
        let missing: Vec<_> = tools
            .iter()
            .filter(undocumented)
            .map(|tool| &tool.name)
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        let length = serde_json::to_string(&tools).unwrap().len();
        assert!(length < 90_000, "{length} bytes");
    }

    #[test]
    fn arguments_become_addresses_and_bodies() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let request = |method, path, arguments| written(&method, path, object(arguments));
        let (uri, body) = request(
            Method::GET,
            "/tracks",
            json!({"genre": ["R&B", "Jazz"], "limit": 5, "words": true}),
        );
        assert_eq!(
            (uri.as_str(), body.as_str()),
            (
                "/api/v1/tracks?genre=R%26B&genre=Jazz&limit=5&words=true",
                ""
            )
        );
        assert_eq!(
            request(Method::GET, "/tracks/{id}", json!({"id": 7})).0,
            "/api/v1/tracks/7?"
        );
        assert_eq!(
            request(Method::GET, "/tracks/{id}", json!({"id": "../x"})).0,
            "/api/v1/tracks/..%2Fx?"
        );
        assert_eq!(
            request(Method::GET, "/tracks/{id}", json!({"id": "ü a+b"})).0,
            "/api/v1/tracks/%C3%BC%20a%2Bb?"
        );
        let (uri, body) = request(Method::POST, "/similar", json!({"seeds": [{"id": 1}]}));
        assert_eq!(
            (uri.as_str(), body.as_str()),
            ("/api/v1/similar", r#"{"seeds":[{"id":1}]}"#)
        );
    }
}
