//! The Model Context Protocol, as an assistant uses it.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{answered, skipped};
use crate::common::server::small_library;
use crate::common::{Sandbox, code, fine, text};

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
            json!({"seeds": [{"words": "chaos god"}], "limit": 3}),
            "similar|chaos god|--limit|3",
        ),
        (
            "find",
            json!({"query": "loud guitar, no voice", "limit": 2}),
            "find|loud guitar, no voice|--limit|2",
        ),
        (
            "list",
            json!({"genre": ["metal"], "words": true, "after": null}),
            "list|--genre|metal",
        ),
        ("classify", json!({"tracks": [{"id": 1}]}), "classify|id:1"),
        (
            "playlist",
            json!({"seeds": [{"id": 1}], "limit": 4}),
            "playlist|id:1|--limit|4",
        ),
        ("genres", json!({}), "genres"),
        ("status", json!({}), "status"),
        ("show", json!({"id": 1, "words": true}), ""),
    ];
    // An unusable index is rebuilt while the first request waits.
    fs::write(sandbox.path("library/index.bin"), b"this is no index").unwrap();
    let calls = questions
        .iter()
        .map(|(tool, arguments, _)| json!([tool, arguments]))
        .collect();
    let server = ask("library", &Value::Array(calls));
    assert_eq!(server["name"], "voisin");
    assert!(
        server["instructions"]
            .as_str()
            .unwrap()
            .contains("`list` finds ids"),
        "{server}"
    );
    let tools = server["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 8);
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(
            tool["title"]
                .as_str()
                .is_some_and(|text| text != tool["name"]),
            "{tool}"
        );
        assert!(
            tool["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{tool}"
        );
        assert!(
            questions.iter().any(|(name, ..)| tool["name"] == *name),
            "each is tried: {tool}"
        );
    }
    for ((tool, arguments, line), answer) in
        questions.iter().zip(server["answers"].as_array().unwrap())
    {
        assert_eq!(answer["is_error"], false, "{tool} {arguments}: {answer}");
        let structured = &answer["structured"];
        let mut answer: Value = serde_json::from_str(answer["text"].as_str().unwrap()).unwrap();
        assert_eq!(*structured, answer, "{tool}");
        assert!(answer["generation"].as_u64() > Some(0), "{tool}: {answer}");
        if line.is_empty() {
            continue;
        }
        let output = sandbox.run(line.split('|').chain(["--format", "json"]));
        let mut expected: Value = serde_json::from_slice(&output.stdout).unwrap();
        expected.as_object_mut().unwrap().remove("version");
        for name in ["generation", "next", "notes", "total"] {
            if expected.get(name).is_none() {
                answer.as_object_mut().unwrap().remove(name);
            }
        }
        assert_eq!(answer, expected, "{tool} {arguments}");
    }

    let wrong = json!([
        ["similar", {}],
        ["similar", {"seeds": []}],
        ["similar", {"seeds": [{"path": "/etc/passwd"}]}],
        ["similar", {"seeds": [{"id": 1}], "sudo": true}],
        ["list", {"limit": 0}],
        ["show", {}],
        ["show", {"id": "../../etc/passwd"}],
        ["find", {"query": "xyzzy"}],
        ["playlist", {"cluster": 99}],
        ["delete", {}],
    ]);
    let answers = ask("library", &wrong)["answers"].take();
    let answers = answers.as_array().unwrap();
    for (call, answer) in wrong.as_array().unwrap().iter().zip(&answers[..9]) {
        let text = answer["text"].as_str().unwrap();
        assert_eq!(answer["is_error"], true, "{call}: {text}");
        assert!(text.len() > 30 && !text.contains("root:"), "{call}: {text}");
    }
    assert!(
        answers[9]["refused"]
            .as_str()
            .unwrap()
            .contains("there is no tool"),
        "{}",
        answers[9]
    );

    let nowhere = ask(
        "nowhere",
        &json!([["list", {}], ["similar", {"seeds": [{"id": 1}]}]]),
    );
    assert_eq!(nowhere["tools"].as_array().unwrap().len(), 8);
    for answer in nowhere["answers"].as_array().unwrap() {
        let text = answer["text"].as_str().unwrap();
        assert!(
            answer["is_error"] == true && text.contains("voisin add"),
            "{text}"
        );
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
    let garbage = Value::String("this is not the protocol".to_owned());
    let output = talk(
        &["mcp", "--verbose"],
        &[
            hello,
            ready,
            garbage.clone(),
            call(2, "status", json!({})),
            call(3, "similar", json!({"seeds": [{"id": 1}]})),
            call(4, "status", json!([])),
            json!({"jsonrpc": "2.0", "id": 5, "method": "unheard/of"}),
            call(6, "show", json!({"id": 99})),
            call(7, "similar", json!({"seeds": [1]})),
        ],
    );
    let stdout = fine(&output);
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(
        lines.iter().all(|line| line["jsonrpc"] == "2.0"),
        "{stdout}"
    );
    let answer_to = |id: u32| {
        let mut lines = lines.iter();
        let answer = lines.find(|line| line["id"] == id);
        answer.unwrap_or_else(|| panic!("{id}: {stdout}"))
    };
    assert_eq!(answer_to(4)["error"]["code"], -32602, "a wrong type");
    assert_eq!(answer_to(5)["error"]["code"], -32601, "an unknown method");
    let problem = |id: u32| answer_to(id)["result"]["content"][0]["text"].clone();
    let absent = problem(6).to_string();
    assert!(absent.contains("no track has the id 99"), "{absent}");
    let seeds = problem(7).to_string();
    let forms = "seeds[0]: expected one of id, path, words, found 1";
    assert!(seeds.contains(forms), "{seeds}");
    for id in 1..=3 {
        let answer = answer_to(id);
        assert!(
            answer["result"].is_object(),
            "requests before the end are answered: {answer}"
        );
    }
    for lines in [&[][..], &[garbage]] {
        let output = talk(&["mcp"], lines);
        assert_eq!(
            (code(&output), output.stdout.len()),
            (0, 0),
            "{}",
            text(&output.stderr)
        );
    }
    let output = talk(&["mcp"], &[call(1, "status", json!({}))]);
    let refused: Value = serde_json::from_str(&fine(&output)).expect("one line");
    assert!(
        refused["id"] == 1 && refused["error"]["code"].is_number(),
        "without initialize: {refused}"
    );
}
