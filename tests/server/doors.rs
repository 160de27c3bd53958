//! Every query of the table through every door (tests/doors.tsv: its name, its fields, the command): by GET, by POST and as an
//! assistant's tool the answer is the command line's. Python's tests read the same table.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, code, text};
use crate::talk::{call, talk, text_of};

/// The answer of a command as JSON, without the version; a list is in `items`.
pub(crate) fn of_cli(sandbox: &Sandbox, command: &str) -> Value {
    let output = sandbox.run(command.split('|').chain(["--format", "json"]));
    assert!(code(&output) <= 1, "{command}: {}", text(&output.stderr));
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer.as_object_mut().unwrap().remove("version");
    if command.starts_with("show|") {
        return answer["items"][0].take();
    }
    answer
}

/// Removes what a command does not print.
fn like(mut answer: Value, expected: &Value) -> Value {
    for name in ["generation", "next", "notes", "total"] {
        if expected.get(name).is_none() {
            answer.as_object_mut().unwrap().remove(name);
        }
    }
    answer
}

/// The fields in an address; `None` for an object, which has no place there.
fn in_address(fields: &Value) -> Option<String> {
    let mut address = String::new();
    for (name, value) in fields.as_object()? {
        let values = value.as_array().cloned();
        for value in values.unwrap_or_else(|| vec![value.clone()]) {
            let text = match value {
                Value::Null => continue,
                Value::Object(_) => return None,
                Value::String(text) => text,
                other => other.to_string(),
            };
            let bytes: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            address.push_str(&format!("&{name}={bytes}"));
        }
    }
    Some(address)
}

/// Whether an answer names nothing but what the whole one has, in numbers of three digits.
fn is_of(short: &Value, whole: &Value) -> bool {
    match (short, whole) {
        (Value::Object(short), Value::Object(whole)) => {
            let mut fields = short.iter();
            fields.all(|(name, value)| whole.get(name).is_some_and(|whole| is_of(value, whole)))
        }
        (Value::Array(short), Value::Array(whole)) => {
            short.len() == whole.len() && short.iter().zip(whole).all(|(a, b)| is_of(a, b))
        }
        (Value::Number(a), Value::Number(b)) => {
            let both = a.as_f64().zip(b.as_f64());
            both.is_some_and(|(a, b)| (a - b).abs() <= 5.1e-4)
        }
        _ => short == whole,
    }
}

#[test]
fn every_door_gives_the_command_lines_answer() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let api = server.good_get("/api/v1/openapi.json")["paths"].clone();
    let mut asked = HashSet::new();
    let mut calls = vec![json!({"jsonrpc": "2.0", "id": 0, "method": "tools/list"})];
    let mut answers = Vec::new();
    for (id, line) in (1..).zip(include_str!("../doors.tsv").lines()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let fields: Value = serde_json::from_str(cells[1]).unwrap();
        let path = format!("/api/v1/{}", cells[0]);
        let answer = server.good(&path, &fields);
        assert!(answer["generation"].as_u64() > Some(0), "{line}: {answer}");
        if let Some(address) = in_address(&fields) {
            let got = server.good_get(&format!("{path}?{address}"));
            assert_eq!(got, answer, "{line}");
        }
        if cells[2] != "-" {
            let expected = of_cli(&sandbox, cells[2]);
            assert_eq!(like(answer.clone(), &expected), expected, "{line}");
        }
        calls.push(call(id, cells[0], fields));
        answers.push((id, cells[0], answer));
        asked.insert(format!("/{}", cells[0]));
    }
    let queries = api.as_object().unwrap().iter();
    let queries = queries.filter(|(_, methods)| !methods["get"]["responses"]["200"].is_null());
    for (query, _) in queries {
        assert!(asked.contains(query), "{query}");
    }
    let found = talk(&sandbox, &calls);
    let tools = found[0]["result"]["tools"].to_string();
    for (id, query, answer) in answers {
        if tools.contains(&format!("\"name\":\"{query}\"")) {
            let short: Value = serde_json::from_str(text_of(&found, id)).unwrap();
            assert!(is_of(&short, &answer), "{query}: {short} {answer}");
        }
    }
}
