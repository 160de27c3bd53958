//! A conversation by the Model Context Protocol.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Sandbox, fine};

/// The answers of `voisin mcp` to these lines, after which its input is closed.
pub(crate) fn talk(sandbox: &Sandbox, lines: &[Value]) -> Vec<Value> {
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

pub(crate) fn call(id: u32, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

pub(crate) fn answer_to(lines: &[Value], id: u32) -> &Value {
    let found = lines.iter().find(|line| line["id"] == id);
    found.unwrap_or_else(|| panic!("{id}: {lines:?}"))
}

/// The text of a tool's answer.
pub(crate) fn text_of(lines: &[Value], id: u32) -> &str {
    let content = &answer_to(lines, id)["result"]["content"][0];
    content["text"].as_str().unwrap()
}
