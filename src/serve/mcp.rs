//! The Model Context Protocol over standard input and output: queries as tools of an assistant, one JSON-RPC message a line.
//!
//! A tool is a query of the table, with the same arguments; its answer names less of each track, since an assistant reads all
//! of it. Nothing that changes a library or a file is a tool.

use std::io::{BufRead, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::ServeError;
use super::state::{LoadModel, Model};
use voisin::questions::queries::{Query, QueryInput, Question, named};
use voisin::{Engine, EngineError};
use voisin_base::text::with_causes;
use voisin_library::Library;

/// The tools: queries of the table.
const TOOLS: [&str; 8] = [
    "similar", "find", "list", "show", "classify", "playlist", "genres", "status",
];

/// The versions of the protocol, the newest first.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

const INSTRUCTIONS: &str = "Answers about the user's own music library, by how the music sounds. Tracks are named by \
    \"id:17\", by their path as the library has it, or by words of artist and title that match only one track; `list` finds \
    ids. `find` takes words for sounds. Nothing is changed by any of these tools.";

/// JSON-RPC's codes of errors.
const PARSE: i64 = -32_700;
const INVALID: i64 = -32_600;
const NO_METHOD: i64 = -32_601;
const PARAMETERS: i64 = -32_602;

/// Fields of a track in a list.
const OF_TRACK: [&str; 11] = [
    "id",
    "title",
    "artist",
    "album",
    "genres",
    "year",
    "seconds",
    "similarity",
    "genre",
    "step",
    "words",
];

/// Serves an assistant until it closes the input.
pub fn assist(
    dir: &Path,
    load_model: LoadModel,
    input: impl BufRead,
    mut output: impl Write,
) -> Result<(), ServeError> {
    let mut assistant = Assistant {
        dir,
        engine: None,
        model: Model::new(load_model),
    };
    for line in input.split(b'\n') {
        let line = line.map_err(ServeError::Assistant)?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if let Some(answer) = assistant.answer(&line) {
            writeln!(output, "{answer}")
                .and_then(|()| output.flush())
                .map_err(ServeError::Assistant)?;
        }
    }
    Ok(())
}

/// An error of the protocol: its code and message.
type Fault = (i64, String);

struct Assistant<'a> {
    dir: &'a Path,
    /// Opened by the first query, since the library may be made later.
    engine: Option<Engine>,
    model: Model,
}

impl Assistant<'_> {
    /// The answer to a line; `None` for a notification or an answer.
    fn answer(&mut self, line: &[u8]) -> Option<Value> {
        let message = match serde_json::from_slice(line) {
            Ok(Value::Object(message)) => message,
            Ok(_) => {
                return Some(failed(
                    &Value::Null,
                    (INVALID, "expected one object".to_owned()),
                ));
            }
            Err(error) => {
                let text = format!("expected a line of JSON: {error}");
                return Some(failed(&Value::Null, (PARSE, text)));
            }
        };
        let id = message.get("id")?.clone();
        let Some(method) = message.get("method") else {
            let is_answer = message.contains_key("result") || message.contains_key("error");
            let fault = (INVALID, "expected a method".to_owned());
            return (!is_answer).then(|| failed(&id, fault));
        };
        let parameters = match message.get("params") {
            None => Ok(Map::new()),
            Some(Value::Object(parameters)) => Ok(parameters.clone()),
            Some(_) => Err((PARAMETERS, "params: expected an object".to_owned())),
        };
        let result = parameters
            .and_then(|parameters| self.result(method.as_str().unwrap_or_default(), parameters));
        Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(fault) => failed(&id, fault),
        })
    }

    fn result(&mut self, method: &str, parameters: Map<String, Value>) -> Result<Value, Fault> {
        match method {
            "initialize" => Ok(hello(&parameters)),
            "ping" => Ok(json!({})),
            "tools/list" => Ok(json!({"tools": tools()})),
            "tools/call" => self.call(parameters),
            _ => Err((NO_METHOD, format!("there is no method {method:?}"))),
        }
    }

    fn call(&mut self, mut parameters: Map<String, Value>) -> Result<Value, Fault> {
        let name = parameters.remove("name").unwrap_or_default();
        let Some(name) = TOOLS.into_iter().find(|tool| name == *tool) else {
            let tools = TOOLS.join(", ");
            let text = format!("there is no tool {name}: expected one of {tools}");
            return Err((PARAMETERS, text));
        };
        let arguments = match parameters.remove("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err((PARAMETERS, "arguments: expected an object".to_owned())),
        };
        let answer = self.ask(name, arguments);
        let is_error = answer.is_err();
        // An error of the tool, not of the protocol, so that the assistant can correct the call.
        let text = answer.unwrap_or_else(|error| with_causes(&error));
        Ok(json!({"content": [{"type": "text", "text": text}], "isError": is_error}))
    }

    fn ask(&mut self, name: &str, arguments: Map<String, Value>) -> Result<String, EngineError> {
        let query = named(name).ok_or(EngineError::Interrupted)?;
        let question = query.read_bounded(arguments)?;
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::from_library(Library::open_to_write_if_possible(self.dir)?),
        };
        let answer = self.answer_of(&*question, &mut engine);
        self.engine = Some(engine);
        answer
    }

    fn answer_of(
        &self,
        question: &dyn Question,
        engine: &mut Engine,
    ) -> Result<String, EngineError> {
        if question.needs().index && engine.follow().is_err() {
            engine.refresh_index()?;
        }
        let model = |library: &Library| self.model.of(library);
        let mut input = QueryInput {
            engine,
            model: &model,
            seeds: None,
            tags: None,
            seed_name: None,
            notes: Vec::new(),
        };
        let answer = question.answer(&mut input)?;
        let mut answer = serde_json::from_slice(&answer).unwrap_or_default();
        shorten(&mut answer, false);
        Ok(answer.to_string())
    }
}

fn failed(id: &Value, (code, message): Fault) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn hello(parameters: &Map<String, Value>) -> Value {
    let wanted = parameters.get("protocolVersion").and_then(Value::as_str);
    let version = VERSIONS.into_iter().find(|known| wanted == Some(known));
    json!({
        "protocolVersion": version.unwrap_or(VERSIONS[0]),
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "voisin", "version": env!("CARGO_PKG_VERSION")},
        "instructions": INSTRUCTIONS,
    })
}

/// Leaves out what is null or empty, and of tracks in lists all but [`OF_TRACK`]; numbers keep three digits.
fn shorten(value: &mut Value, in_list: bool) {
    match value {
        Value::Object(fields) => {
            let is_track = in_list && fields.contains_key("id") && fields.contains_key("title");
            fields.retain(|name, value| {
                let is_empty = value.is_null()
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty);
                !is_empty && (!is_track || OF_TRACK.contains(&name.as_str()))
            });
            fields.values_mut().for_each(|value| shorten(value, false));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, true)),
        Value::Number(number) if number.is_f64() => {
            let rounded = number
                .as_f64()
                .map(|number| (number * 1000.0).round() / 1000.0);
            *value = json!(rounded);
        }
        _ => {}
    }
}

fn tools() -> Vec<Value> {
    let queries = TOOLS.into_iter().filter_map(named);
    let tool = |query: &Query| {
        let mut schema = (query.schema)();
        without_bounds(&mut schema);
        json!({
            "name": query.name,
            "description": query.about,
            "inputSchema": schema,
            "annotations": {"readOnlyHint": true, "openWorldHint": false},
        })
    };
    queries.map(tool).collect()
}

/// Leaves out bounds, which errors name, and what follows the first clause of a description.
fn without_bounds(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for name in ["maxItems", "minItems", "minimum", "maximum", "pattern"] {
                fields.remove(name);
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                let end = text.find(['(', ';', ':', '.']).unwrap_or(text.len());
                text.truncate(end);
                text.truncate(text.trim_end().len());
            }
            fields.values_mut().for_each(without_bounds);
        }
        Value::Array(items) => items.iter_mut().for_each(without_bounds),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_short_enough_to_read_and_documented() {
        let docs = include_str!("../../docs/serve.md");
        let tools = tools();
        assert_eq!(tools.len(), TOOLS.len());
        for tool in TOOLS {
            assert!(docs.contains(&format!("`{tool}`")), "{tool}");
        }
        let length = serde_json::to_string(&tools).unwrap().len();
        assert!(length <= 12_000, "{length} bytes");
    }

    #[test]
    fn ten_tracks_are_short() {
        let track = json!({
            "rank": 1, "id": 12_345, "path": "/home/someone/Music/Artist/Album/01 Title.flac", "artist": "An Artist Of Note",
            "title": "A Title Of Some Length", "album": "An Album Of Songs", "genres": ["Electronic"], "year": 1999,
            "seconds": 254.123_456, "similarity": 0.912_345_6, "scales": {"energy": 5.0}, "percentile": 0.5, "mbid": null,
        });
        let mut answer = json!({"neighbours": vec![track; 10]});
        shorten(&mut answer, false);
        assert_eq!(answer["neighbours"][9]["similarity"], 0.912);
        let length = answer.to_string().len();
        assert!(length <= 2000, "{length} bytes");
    }
}
