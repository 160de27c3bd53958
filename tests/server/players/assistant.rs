//! The Model Context Protocol, as an assistant uses it.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::server::small_library;
use crate::common::{Sandbox, fine, json as json_of};

/// The answers of `voisin mcp` to these lines, after which its input is closed.
fn talk(sandbox: &Sandbox, lines: &[Value]) -> Vec<Value> {
    let mut command = sandbox.command(["mcp", "--verbose"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    for line in lines {
        let line = line
            .as_str()
            .map_or_else(|| line.to_string(), str::to_owned);
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let start = Instant::now();
    let output = process.wait_with_output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "it ends");
    let lines = fine(output);
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

fn call(id: u32, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

fn answer_to(lines: &[Value], id: u32) -> &Value {
    let found = lines.iter().find(|line| line["id"] == id);
    found.unwrap_or_else(|| panic!("{id}: {lines:?}"))
}

/// The text of a tool's answer.
fn text_of(lines: &[Value], id: u32) -> &str {
    let content = &answer_to(lines, id)["result"]["content"][0];
    content["text"].as_str().unwrap()
}

#[test]
fn an_assistants_tools_give_the_command_lines_answers() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let lines = [
        hello,
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        call(3, "status", json!({})),
        // The same at every door: null is not given, "2" is 2, a plain text is a list of one.
        call(
            4,
            "similar",
            json!({"seeds": [{"id": "1", "path": null}], "limit": "2", "genre": "Metal"}),
        ),
        call(5, "show", json!({"track": "../../etc/passwd"})),
    ];
    let answers = talk(&sandbox, &lines);
    let hello = &answer_to(&answers, 1)["result"];
    assert_eq!(hello["protocolVersion"], "2025-06-18");
    assert_eq!(hello["serverInfo"]["name"], "voisin");
    let tools = &answer_to(&answers, 2)["result"]["tools"];
    assert_eq!(tools.as_array().unwrap().len(), 8);
    assert!(text_of(&answers, 3).contains("\"tracks\":6"));
    let similar = [
        "similar", "id:1", "--limit", "2", "--genre", "Metal", "--format", "json",
    ];
    let expected = json_of(sandbox.run(similar));
    let found: Value = serde_json::from_str(text_of(&answers, 4)).unwrap();
    let ids = |answer: &Value| {
        let tracks = answer["neighbours"].as_array().unwrap().iter();
        tracks
            .map(|track| track["id"].clone())
            .collect::<Vec<Value>>()
    };
    assert_eq!(ids(&found), ids(&expected));
    assert_eq!(answer_to(&answers, 5)["result"]["isError"], true);
    assert!(!text_of(&answers, 5).contains("root:"));
}

#[test]
fn an_assistant_is_told_what_is_wrong() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let line = |text: &str| Value::String(text.to_owned());
    let lines = [
        line("this is not the protocol"),
        line(r#"{"jsonrpc": "2.0", "id": 10, "method": "tools/call", "params": {"limit": NaN}}"#),
        line(r#"{"jsonrpc": "2.0", "id": 11, "method": "half an emoji \ud83d"}"#),
        call(4, "status", json!([])),
        json!({"jsonrpc": "2.0", "id": 5, "method": "unheard/of"}),
        call(6, "show", json!({"track": "id:99"})),
        call(7, "similar", json!({"seeds": [true]})),
        call(8, "delete", json!({})),
    ];
    let answers = talk(&sandbox, &lines);
    let unread = answers
        .iter()
        .filter(|line| line["error"]["code"] == -32_700);
    assert_eq!(unread.filter(|line| line["id"].is_null()).count(), 3);
    assert_eq!(answer_to(&answers, 4)["error"]["code"], -32_602);
    assert_eq!(answer_to(&answers, 5)["error"]["code"], -32_601);
    assert!(text_of(&answers, 6).contains("no track has the id 99"));
    assert!(text_of(&answers, 7).contains("seeds[0]: expected a track"));
    let absent = answer_to(&answers, 8)["error"].to_string();
    assert!(absent.contains("there is no tool"), "{absent}");
}
