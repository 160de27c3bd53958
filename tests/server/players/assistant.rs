//! The Model Context Protocol, as an assistant uses it.

use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::server::small_library;
use crate::talk::{answer_to, call, talk, text_of};

#[test]
fn an_assistant_is_greeted_and_reads_no_file() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let lines = [
        hello,
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        call(3, "status", json!({})),
        call(5, "show", json!({"track": "../../etc/passwd"})),
    ];
    let answers = talk(&sandbox, &lines);
    let hello = &answer_to(&answers, 1)["result"];
    assert_eq!(hello["protocolVersion"], "2025-06-18");
    assert_eq!(hello["serverInfo"]["name"], "voisin");
    let tools = &answer_to(&answers, 2)["result"]["tools"];
    assert_eq!(tools.as_array().unwrap().len(), 8);
    assert!(text_of(&answers, 3).contains("\"tracks\":6"));
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
