//! Plex, by its documented answers.

use serde_json::{Value, json};

use super::jellyfin::answering;
use crate::common::server::small_library;
use crate::common::{Sandbox, code, fine, text};

fn ok(answer: Value) -> (&'static str, Value) {
    ("200 OK", json!({"MediaContainer": answer}))
}

/// Links two songs of a library, and gives their ids at Plex.
fn linked(sandbox: &Sandbox, more: Vec<(&'static str, Value)>) -> (String, Requests) {
    small_library(sandbox);
    let track = |key: &str, title: &str, artist: &str, file: &str| {
        json!({
            "ratingKey": key, "title": title, "grandparentTitle": artist, "duration": 14_000,
            "Media": [{"Part": [{"file": file}]}]
        })
    };
    let mut answers = vec![
        ok(json!({"Directory": [{"key": "1", "type": "movie"}, {"key": "2", "type": "artist"}]})),
        ok(json!({"Metadata": [
            track("70", "Chaos God", "Muldjord", "/media/metal/muldjord-chaos-god.mp3"),
            track("71", "nebula", "MAXSTACK", "/elsewhere/renamed.ogg"),
            track("72", "Unknown", "Nobody", "/media/unknown.mp3"),
        ]})),
        ok(json!({"Metadata": []})),
    ];
    answers.extend(more);
    let (url, requests) = answering(answers);
    let arguments = ["link", &url, "--plex", "--user", "me", "--format", "json"];
    let output = sandbox
        .command(arguments)
        .env("VOISIN_PASSWORD", "t0ken")
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["songs"], &report["linked"]),
        (&json!(3), &json!(2))
    );
    (url, requests)
}

#[test]
fn a_playlist_that_plex_has_half_filled_is_reported() {
    let sandbox = Sandbox::new();
    let (url, requests) = linked(
        &sandbox,
        vec![
            ok(json!({"machineIdentifier": "m1"})),
            ok(json!({"Metadata": [{"ratingKey": "12", "title": "two"}]})),
            ok(Value::Null),
            ("500 Internal Server Error", Value::Null),
        ],
    );
    fine(sandbox.run(["lists", "save", "two", "list", "--sort", "title"]));
    let arguments = [
        "lists", "push", "two", "--server", &url, "--user", "me", "--plex", "--force",
    ];
    let mut command = sandbox.command(arguments);
    let failed = command.env("VOISIN_PASSWORD", "t0ken").output().unwrap();
    assert!(
        text(&failed.stderr).contains("only a part of its songs there"),
        "{}",
        text(&failed.stderr)
    );
    requests.join().unwrap();
}

type Requests = std::thread::JoinHandle<Vec<String>>;

#[test]
fn a_list_becomes_a_playlist_of_plex_and_is_renewed() {
    let sandbox = Sandbox::new();
    let identity = || ok(json!({"machineIdentifier": "m1"}));
    let (url, requests) = linked(
        &sandbox,
        vec![
            identity(),
            ok(json!({"Metadata": [{"ratingKey": "9", "title": "other"}]})),
            ok(json!({"Metadata": [{"ratingKey": "12"}]})),
            identity(),
            ok(json!({"Metadata": [{"ratingKey": "12", "title": "two"}]})),
            ok(Value::Null),
            ok(Value::Null),
            identity(),
            ok(json!({"Metadata": [{"ratingKey": "13", "title": "more"}]})),
        ],
    );
    for name in ["two", "more"] {
        fine(sandbox.run(["lists", "save", name, "list", "--sort", "title"]));
    }
    let push = |name: &str| {
        let arguments = [
            "lists", "push", name, "--server", &url, "--user", "me", "--plex",
        ];
        let mut command = sandbox.command(arguments);
        command.env("VOISIN_PASSWORD", "t0ken").output().unwrap()
    };
    let made = push("two");
    assert_eq!(code(&made), 1, "{}", text(&made.stderr));
    assert!(
        text(&made.stderr).contains("4 missing there"),
        "{}",
        text(&made.stderr)
    );
    let again = push("two");
    assert_eq!(code(&again), 1, "{}", text(&again.stderr));
    let taken = push("more");
    assert!(
        text(&taken.stderr).contains("already"),
        "{}",
        text(&taken.stderr)
    );
    let requests = requests.join().unwrap();
    assert!(
        requests
            .iter()
            .all(|one| one.contains("x-plex-token: t0ken")),
        "{requests:?}"
    );
    assert!(
        requests[1].starts_with("GET /library/sections/2/all?type=10&"),
        "{}",
        requests[1]
    );
    let songs =
        "uri=server%3A%2F%2Fm1%2Fcom.plexapp.plugins.library%2Flibrary%2Fmetadata%2F70%2C71 ";
    assert!(
        requests[5].starts_with(&format!(
            "POST /playlists?type=audio&smart=0&title=two&{songs}"
        )),
        "{}",
        requests[5]
    );
    assert!(
        requests[8].starts_with("DELETE /playlists/12/items "),
        "{}",
        requests[8]
    );
    assert!(
        requests[9].starts_with(&format!("PUT /playlists/12/items?{songs}")),
        "{}",
        requests[9]
    );
    assert_eq!(requests.len(), 12, "another user's playlist is unchanged");
}
