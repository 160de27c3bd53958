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
use super::openapi::{ROUTES, Route};
use voisin_http::access::Guard;
use voisin_http::peer::Peer;
use voisin_http::problem::Problem;
use voisin_http::scan::ScanProcess;
use voisin_http::state::{LoadModel, Shared, State};
use voisin_http::{ServeError, runtime};

/// The tools: their names, titles and routes.
const TOOLS: [(&str, &str, &str); 8] = [
    ("similar", "Similar tracks", "/similar"),
    ("find", "Music by words for its sound", "/find"),
    ("list", "Tracks of the library", "/tracks"),
    ("show", "A track", "/tracks/{id}"),
    ("classify", "Genre of tracks", "/classify"),
    ("playlist", "A playlist around tracks", "/playlist"),
    ("genres", "How close genres are", "/genres"),
    ("status", "State of the library", "/status"),
];

/// The route of a tool.
fn route_of(name: &str) -> Option<&'static Route> {
    let (.., path) = TOOLS.iter().find(|(tool, ..)| *tool == name)?;
    ROUTES.iter().find(|route| route.path == *path)
}

/// Instructions for an assistant.
const INSTRUCTIONS: &str = "Answers about the user's own music library, by how the music sounds. Tracks are named by \
    {\"id\": 17}, by {\"path\": \"...\"} as the library has it, or by {\"words\": \"artist title\"} that match only one \
    track; `list` finds ids. `find` takes words for sounds. Nothing is changed by any of these tools.";

/// Timeout for an index that must be built; assistants wait for a minute.
const PATIENCE: Duration = Duration::from_secs(45);
/// Interval of retries.
const GLANCE: Duration = Duration::from_millis(200);

/// Serves an assistant until it closes standard input.
///
/// - `listener`: receives log messages
pub fn assist(
    dir: PathBuf,
    load_model: LoadModel,
    listener: Box<dyn Fn(&str) + Send + Sync>,
) -> Result<(), ServeError> {
    let runtime = runtime()?;
    let (_stopper, stop) = watch::channel(false);
    // Only the parent process sends requests: no token and no scans.
    let scan = ScanProcess::new(None);
    let state = State::new(
        dir,
        Guard::default(),
        scan,
        stop,
        load_model,
        listener,
        false,
    )?;
    let state = Arc::new(state);
    let router = api::router(&state, None)?;
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
        let Some(route) = route_of(&call.name) else {
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
        let (problem, answer) = self.send(route, arguments).await?;
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
        route: &Route,
        arguments: JsonObject,
    ) -> Result<(Option<Problem>, String), ErrorData> {
        let fault =
            |error: &dyn std::error::Error| ErrorData::internal_error(error.to_string(), None);
        let (uri, body) = written(route, arguments);
        let uri: Uri = uri
            .parse()
            .map_err(|error: axum::http::uri::InvalidUri| fault(&error))?;
        let start = Instant::now();
        loop {
            let mut request = Request::new(Body::from(body.clone()));
            *request.method_mut() = if route.method == "post" {
                Method::POST
            } else {
                Method::GET
            };
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
fn written(route: &Route, mut arguments: JsonObject) -> (String, String) {
    fn plain(value: &Value) -> String {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    }
    let mut path = format!("/api/v1{}", route.path);
    if path.contains("{id}") {
        let id = plain(&arguments.remove("id").unwrap_or_default());
        let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        // In a path a blank is %20, unlike in a form.
        path = path.replace("{id}", &id.replace('+', "%20"));
    }
    if route.method == "post" {
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
    let tool = |(name, title, path): &(&'static str, &'static str, &str)| {
        let route = route_of(name)?;
        let mut schema = route.query?();
        if path.contains("{id}") {
            schema["properties"]["id"] = json!({"type": "integer", "minimum": 0});
            schema["required"] = json!(["id"]);
        }
        let Value::Object(schema) = schema else {
            return None;
        };
        let hints = ToolAnnotations::new().read_only(true).open_world(false);
        Some(
            Tool::new(*name, route.about, Arc::new(schema))
                .with_title(*title)
                .annotate(hints),
        )
    };
    TOOLS.iter().filter_map(tool).collect()
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
            assert!(!schema.to_string().contains("$ref"), "{}", tool.name);
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
        assert!(length < 30_000, "{length} bytes");
    }

    #[test]
    fn arguments_become_addresses_and_bodies() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let request = |tool, arguments| written(route_of(tool).unwrap(), object(arguments));
        let (uri, body) = request(
            "list",
            json!({"genre": ["R&B", "Jazz"], "limit": 5, "words": true}),
        );
        assert_eq!(
            (uri.as_str(), body.as_str()),
            (
                "/api/v1/tracks?genre=R%26B&genre=Jazz&limit=5&words=true",
                ""
            )
        );
        assert_eq!(request("show", json!({"id": 7})).0, "/api/v1/tracks/7?");
        assert_eq!(
            request("show", json!({"id": "../x"})).0,
            "/api/v1/tracks/..%2Fx?"
        );
        assert_eq!(
            request("show", json!({"id": "ü a+b"})).0,
            "/api/v1/tracks/%C3%BC%20a%2Bb?"
        );
        let (uri, body) = request("similar", json!({"seeds": [{"id": 1}]}));
        assert_eq!(
            (uri.as_str(), body.as_str()),
            ("/api/v1/similar", r#"{"seeds":[{"id":1}]}"#)
        );
    }
}
