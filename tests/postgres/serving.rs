//! The server and the assistants' tools answer from a database, or from a copy of it, as from the library here.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use voisin::TrackId;
use voisin_library::{Library, OpenMode, TrackTags};

use super::common::server::Server as Web;
use super::common::{Sandbox, code, fine, text};
use super::servers::{Cluster, Server, programs};
use super::{push, same, sandbox_with};

/// The answer of a server, retried while an index is built or a copy is made.
pub(super) fn ask(web: &Web, path: &str, question: &Value) -> Value {
    for _ in 0..200 {
        let (status, answer) = if question.is_null() {
            web.get(path)
        } else {
            web.post(path, question)
        };
        if status != 503 {
            assert_eq!(status, 200, "{path} {question}: {answer}");
            return answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{path}: always busy");
}

pub(super) fn words(words: &str) -> Value {
    serde_json::json!({ "words": words })
}

/// The result of one tool call of `voisin mcp`.
fn assistant(sandbox: &Sandbox, url: &str, tool: &str, arguments: &Value) -> Value {
    let mut command = sandbox.command(["mcp", "--backend", url]);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let hello = serde_json::json!({"protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}});
    for line in [
        serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        serde_json::json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        serde_json::json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}}),
    ] {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let stdout = fine(process.wait_with_output().unwrap());
    let mut lines = stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines
        .find(|line| line["id"] == 2)
        .unwrap_or_else(|| panic!("{stdout}"))["result"]
        .clone()
}

/// The request body of a path between two tracks.
pub(super) fn ends(from: &str, to: &str) -> Value {
    serde_json::json!({ "from": words(from), "to": words(to) })
}

fn id_of(web: &Web, words: &str) -> Option<i64> {
    let found = ask(
        web,
        &format!("/api/v1/tracks?query={}", words.replace(' ', "%20")),
        &Value::Null,
    );
    found["tracks"][0]["id"].as_i64()
}

/// The server answers directly from the database, on one server and on shards: as from the library that was pushed.
#[test]
fn the_server_answers_from_a_database_as_from_a_library() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(3000);
    let server = Server::start(&programs);
    let cluster = Cluster::start(&programs, &sandbox);
    push(&sandbox, &server, &[]);
    push(&sandbox, &cluster.coordinator, &[]);
    let here = Web::start(&sandbox, &[]);
    for (url, alone) in [(server.url(), true), (cluster.coordinator.url(), false)] {
        let there = Web::start(&sandbox, &["--backend", &url]);
        let id = id_of(&there, "title 12").unwrap();
        assert!(id < 1 << 53, "ids that a browser can hold: {id}");
        for (path, question) in [
            (
                "/api/v1/similar",
                serde_json::json!({"seeds": [words("title 12")], "limit": 20}),
            ),
            (
                "/api/v1/similar",
                serde_json::json!({"seeds": [words("title 12"), words("title 900")], "filters": {"genre": ["jazz"]}}),
            ),
            (
                "/api/v1/similar",
                serde_json::json!({"seeds": [{"path": "/music/3/album 3/3.flac"}], "max_per_artist": 1}),
            ),
            (
                "/api/v1/classify",
                serde_json::json!({"tracks": [words("title 12"), words("title 14")]}),
            ),
            (
                "/api/v1/classify",
                serde_json::json!({"tracks": [{"path": "/music/3/album 3/3.flac"}], "neighbours": 5, "other_artists": true}),
            ),
            ("/api/v1/path", ends("title 12", "title 900")),
            (
                "/api/v1/path",
                serde_json::json!({"from": words("title 12"), "to": words("title 900"), "via": [words("title 300")],
                    "steps": 9, "max_per_artist": 2}),
            ),
            (
                "/api/v1/playlist",
                serde_json::json!({"seeds": [words("title 12")], "limit": 12}),
            ),
            (
                "/api/v1/playlist",
                serde_json::json!({"seeds": [words("title 13")], "filters": {"genre": ["jazz"], "year": "1960-1979"},
                    "length": 1800}),
            ),
            (
                "/api/v1/tracks?query=title%207&limit=50&sort=title",
                Value::Null,
            ),
            ("/api/v1/tracks?sort=artist&limit=7", Value::Null),
            (
                "/api/v1/tracks?sort=path&reverse=true&limit=7&genre=rock",
                Value::Null,
            ),
        ] {
            let a = ask(&here, path, &question);
            let b = ask(&there, path, &question);
            assert!(same(&a, &b), "{path} {question}:\n{a}\n{b}");
        }
        // Pages have the same order as here, and ids find tracks.
        let pages = |web: &Web| {
            let mut paths = Vec::new();
            let mut after = String::new();
            for _ in 0..4 {
                let page = ask(
                    web,
                    &format!("/api/v1/tracks?sort=artist&limit=25{after}"),
                    &Value::Null,
                );
                let tracks = page["tracks"].as_array().unwrap().iter();
                paths.extend(tracks.map(|track| track["path"].to_string()));
                after = format!("&after={}", page["next"]);
            }
            paths
        };
        assert_eq!(pages(&there), pages(&here));
        let shown = ask(
            &there,
            &format!("/api/v1/tracks/{id}?words=true"),
            &Value::Null,
        );
        assert!(
            shown["id"] == id && shown["title"].as_str().unwrap().starts_with("title 12"),
            "{shown}"
        );
        assert_eq!(there.get(&format!("/api/v1/tracks/{}", id ^ 1)).0, 404);
        let status = ask(&there, "/api/v1/status", &Value::Null);
        assert_eq!(status["tracks"], 3000, "{status}");
        // Queries over all tracks are refused, with the next step.
        for (path, question) in [
            ("/api/v1/genres", Value::Null),
            ("/api/v1/map", Value::Null),
            ("/api/v1/find?query=calm", Value::Null),
            ("/api/v1/artists", Value::Null),
            ("/api/v1/playlist", serde_json::json!({"cluster": 1})),
        ] {
            let (status, problem) = if question.is_null() {
                there.get(path)
            } else {
                there.post(path, &question)
            };
            assert!(
                status == 409
                    && problem["next"]
                        .as_str()
                        .unwrap()
                        .contains("a copy of the database"),
                "{path}: {problem}"
            );
        }
        if alone {
            // An assistant gets the same answer.
            let question = ends("title 12", "title 900");
            let answer = assistant(&sandbox, &url, "path", &question);
            assert_eq!(
                answer["structuredContent"],
                ask(&there, "/api/v1/path", &question),
                "{answer}"
            );
            let answer = assistant(&sandbox, &url, "genres", &serde_json::json!({}));
            assert!(
                answer["isError"] == true && answer.to_string().contains("a copy of the database"),
                "{answer}"
            );
            // The next query sees a push.
            let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
            let kept = library.track(TrackId(20)).unwrap();
            let tags = TrackTags {
                title: Some("renamed here".into()),
                ..kept.tags
            };
            library
                .files_mut()
                .attach_file(TrackId(20), &kept.files[0].record, &tags)
                .unwrap();
            drop(library);
            push(&sandbox, &server, &[]);
            assert!(id_of(&there, "renamed here").is_some());
            let named = ask(&there, "/api/v1/path", &ends("renamed here", "title 12"));
            assert!(named["tracks"][0]["title"] == "renamed here", "{named}");
            server.stop("immediate");
            for (status, problem) in [
                there.get(&format!("/api/v1/tracks/{id}")),
                there.post("/api/v1/path", &ends("title 12", "title 900")),
                there.post(
                    "/api/v1/classify",
                    &serde_json::json!({"tracks": [words("title 12")]}),
                ),
                there.post(
                    "/api/v1/playlist",
                    &serde_json::json!({"seeds": [words("title 12")]}),
                ),
            ] {
                assert!(
                    status == 503
                        && problem["next"]
                            .as_str()
                            .unwrap()
                            .contains("start the database"),
                    "{problem}"
                );
            }
            server.up();
            ask(&there, &format!("/api/v1/tracks/{id}"), &Value::Null);
            push(&sandbox, &cluster.coordinator, &[]);
        }
    }
}

/// The server answers from a copy that follows the database: as from the library that was pushed.
#[test]
fn the_server_answers_from_a_copy_as_from_a_library() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(600);
    let url = server.url();
    push(&sandbox, &server, &[]);
    let here = Web::start(&sandbox, &[]);
    let copy = sandbox.path("copy");
    let there = Web::start(
        &sandbox,
        &["--backend", &url, "--copy", copy.to_str().unwrap()],
    );
    for (path, question) in [
        (
            "/api/v1/similar",
            serde_json::json!({"seeds": [words("title 12")], "limit": 20}),
        ),
        (
            "/api/v1/similar",
            serde_json::json!({"seeds": [words("title 12")], "filters": {"genre": ["jazz"]}, "search": "exact"}),
        ),
        (
            "/api/v1/classify",
            serde_json::json!({"tracks": [words("title 12")]}),
        ),
        ("/api/v1/path", ends("title 12", "title 300")),
        (
            "/api/v1/playlist",
            serde_json::json!({"seeds": [words("title 12")], "limit": 9}),
        ),
        ("/api/v1/tracks?query=title%207&limit=50", Value::Null),
    ] {
        let a = ask(&here, path, &question);
        let b = ask(&there, path, &question);
        assert!(same(&a, &b), "{path} {question}:\n{a}\n{b}");
    }
    // Refused: audio that is not here, and labels, which belong to the library that is pushed.
    let id = id_of(&there, "title 12").unwrap();
    assert!(id < 1 << 53, "ids that a browser can hold: {id}");
    let (status, problem) = there.get(&format!("/api/v1/tracks/{id}/audio"));
    assert_eq!(status, 404, "{problem}");
    let (status, problem) = there.post(
        "/api/v1/labels",
        &serde_json::json!({"tracks": [id], "genre": "Zouk"}),
    );
    assert!(
        status == 409
            && problem["next"]
                .as_str()
                .unwrap()
                .contains("pushed to the database"),
        "{status} {problem}"
    );

    // A push is visible: a removal, a title, a label.
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library.remove_tracks(&[TrackId(31)]).unwrap();
    let kept = library.track(TrackId(20)).unwrap();
    let tags = TrackTags {
        title: Some("renamed here".into()),
        ..kept.tags
    };
    library
        .files_mut()
        .attach_file(TrackId(20), &kept.files[0].record, &tags)
        .unwrap();
    drop(library);
    assert_eq!(code(&sandbox.run(["labels", "set", "id:20", "Zouk"])), 0);
    push(&sandbox, &server, &[]);
    let seen = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        id_of(&there, "renamed here").is_some()
            && ask(&there, "/api/v1/status", &Value::Null)["tracks"] == 599
    });
    assert!(seen, "{}", there.log.lock().unwrap());
    assert_eq!(id_of(&there, "title 12"), Some(id), "ids stay");
    let labels = ask(&there, "/api/v1/labels", &Value::Null);
    assert!(labels["by_hand"][0]["genre"] == "Zouk", "{labels}");

    // A lost database is an error with the next step, and is noticed when it is back.
    server.stop("immediate");
    let mut away = (0, Value::Null);
    for _ in 0..100 {
        away = there.get("/api/v1/tracks?query=title");
        if away.0 == 503 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (status, problem) = away;
    assert_eq!(status, 503, "{problem}");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("cannot connect"),
        "{problem}"
    );
    assert!(
        problem["next"]
            .as_str()
            .unwrap()
            .contains("start the database"),
        "{problem}"
    );
    server.up();
    ask(&there, "/api/v1/tracks?query=title", &Value::Null);
    assert_eq!(id_of(&there, "title 12"), Some(id));
    // The next start continues the copy, and its ids are the same.
    drop(there);
    let again = Web::start(
        &sandbox,
        &["--backend", &url, "--copy", copy.to_str().unwrap()],
    );
    assert_eq!(
        ask(&again, "/api/v1/labels", &Value::Null)["by_hand"][0]["genre"],
        "Zouk"
    );
    assert_eq!(id_of(&again, "title 12"), Some(id));
    let library_folder = sandbox.path("library");
    let refused = sandbox.run([
        "serve",
        "--backend",
        &url,
        "--no-token",
        "--copy",
        library_folder.to_str().unwrap(),
    ]);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("name another folder"),
        "{}",
        text(&refused.stderr)
    );
    // Without a local library a token file must be named.
    let empty = Sandbox::new();
    let refused = empty.run(["serve", "--backend", &url]);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("--token-file"),
        "{}",
        text(&refused.stderr)
    );
}
