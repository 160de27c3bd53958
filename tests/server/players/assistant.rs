//! The Model Context Protocol, as an assistant uses it.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{answered, skipped};
use crate::common::server::small_library;
use crate::common::{Sandbox, fine};

/// The ids of the tracks in a list of an answer.
fn ids(answer: &Value) -> Vec<&Value> {
    let lists = ["neighbours", "tracks", "items"];
    let list = lists.iter().find_map(|name| answer[name].as_array());
    list.into_iter()
        .flatten()
        .map(|track| &track["id"])
        .collect()
}

#[test]
fn an_assistant_gets_the_command_lines_answers() {
    let python = std::env::var("VOISIN_PLAYERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "from mcp import MCPError"])
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skipped("the protocol's client (PyPI's mcp)");
    }
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/server/players/assistant.py"
    );
    let ask = |library: &str, calls: &Value| -> Value {
        answered(
            Command::new(&python)
                .args([script, env!("CARGO_BIN_EXE_voisin")])
                .env("VOISIN_LIBRARY", sandbox.path(library))
                .env("HOME", sandbox.path("home")),
            calls,
        )
    };
    let questions = [
        (
            "similar",
            json!({"seeds": ["chaos god"], "limit": 3}),
            "similar|chaos god|--limit|3",
        ),
        (
            "find",
            json!({"query": "loud guitar, no voice", "limit": 2}),
            "find|loud guitar, no voice|--limit|2",
        ),
        (
            "list",
            json!({"genre": ["metal"], "after": null}),
            "list|--genre|metal",
        ),
        ("classify", json!({"tracks": ["id:1"]}), "classify|id:1"),
        (
            "playlist",
            json!({"seeds": ["id:1"], "limit": 4}),
            "playlist|id:1|--limit|4",
        ),
        ("genres", json!({}), "genres"),
        ("status", json!({}), "status"),
        ("show", json!({"track": "id:1", "words": true}), "show|id:1"),
    ];
    // An unusable index is rebuilt while the first request waits.
    fs::write(sandbox.path("library/index.bin"), b"this is no index").unwrap();
    let calls = questions
        .iter()
        .map(|(tool, arguments, _)| json!([tool, arguments]))
        .collect();
    let server = ask("library", &Value::Array(calls));
    assert_eq!(server["name"], "voisin");
    let instructions = server["instructions"].as_str().unwrap();
    assert!(instructions.contains("`list` finds ids"), "{server}");
    let tools = server["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 8);
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        let is_tried = questions.iter().any(|(name, ..)| tool["name"] == *name);
        assert!(is_tried, "{tool}");
    }
    for ((tool, arguments, line), answer) in
        questions.iter().zip(server["answers"].as_array().unwrap())
    {
        assert_eq!(answer["is_error"], false, "{tool} {arguments}: {answer}");
        let answer: Value = serde_json::from_str(answer["text"].as_str().unwrap()).unwrap();
        assert!(answer["generation"].as_u64() > Some(0), "{tool}: {answer}");
        let output = sandbox.run(line.split('|').chain(["--format", "json"]));
        let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(ids(&answer), ids(&expected), "{tool} {arguments}");
    }

    let wrong = json!([
        ["similar", {"seeds": [{"path": "/etc/passwd"}]}],
        ["show", {"track": "../../etc/passwd"}],
        ["list", {"limit": 0}],
    ]);
    let answers = ask("library", &wrong)["answers"].take();
    for answer in answers.as_array().unwrap() {
        let text = answer["text"].as_str().unwrap();
        assert_eq!(answer["is_error"], true, "{text}");
        assert!(text.len() > 20 && !text.contains("root:"), "{text}");
    }
    let nowhere = ask(
        "nowhere",
        &json!([["list", {}], ["similar", {"seeds": ["id:1"]}]]),
    );
    for answer in nowhere["answers"].as_array().unwrap() {
        let text = answer["text"].as_str().unwrap();
        let is_named = answer["is_error"] == true && text.contains("voisin add");
        assert!(is_named, "{text}");
    }
    assert!(!sandbox.path("nowhere").exists(), "nothing is made");
}

#[test]
fn an_assistant_reads_only_the_protocol_and_ends_it_by_closing() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let talk = |arguments: &[&str], lines: &[Value]| {
        let mut command = sandbox.command(arguments);
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
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it ends when its input is closed"
        );
        output
    };
    let call = |id: u32, tool: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let line = |text: &str| Value::String(text.to_owned());
    let output = talk(
        &["mcp", "--verbose"],
        &[
            hello,
            ready,
            line("this is not the protocol"),
            line(
                r#"{"jsonrpc": "2.0", "id": 10, "method": "tools/call", "params": {"limit": NaN}}"#,
            ),
            line(r#"{"jsonrpc": "2.0", "id": 11, "method": "half an emoji \ud83d"}"#),
            call(2, "status", json!({})),
            call(
                3,
                "similar",
                json!({"seeds": [{"id": "1", "path": null}], "limit": "2", "genre": "Metal"}),
            ),
            call(4, "status", json!([])),
            json!({"jsonrpc": "2.0", "id": 5, "method": "unheard/of"}),
            call(6, "show", json!({"track": "id:99"})),
            call(7, "similar", json!({"seeds": [true]})),
            call(8, "delete", json!({})),
        ],
    );
    let stdout = fine(&output);
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let answer_to = |id: u32| {
        let mut lines = lines.iter();
        let answer = lines.find(|line| line["id"] == id);
        answer.unwrap_or_else(|| panic!("{id}: {stdout}"))
    };
    let unread = lines.iter().filter(|line| line["error"]["code"] == -32_700);
    assert_eq!(
        unread.filter(|line| line["id"].is_null()).count(),
        3,
        "{stdout}"
    );
    assert_eq!(answer_to(4)["error"]["code"], -32_602, "a wrong type");
    assert_eq!(answer_to(5)["error"]["code"], -32_601, "an unknown method");
    let problem = |id: u32| answer_to(id)["result"]["content"][0]["text"].clone();
    let absent = problem(6).to_string();
    assert!(absent.contains("no track has the id 99"), "{absent}");
    let seeds = problem(7).to_string();
    assert!(seeds.contains("seeds[0]: expected a track"), "{seeds}");
    for id in 1..=3 {
        let answer = answer_to(id);
        assert!(
            answer["result"].is_object() && answer["result"]["isError"] != true,
            "{answer}"
        );
    }
    assert!(
        answer_to(8)["error"]
            .to_string()
            .contains("there is no tool")
    );
}
