//! Plays and likes, from players and from exports of `ListenBrainz`.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::subsonic::{Supysonic, link, subsonic, titles};
use super::until;
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, code, fine, text};

fn listeners(sandbox: &Sandbox) -> Value {
    let answer: Value =
        serde_json::from_str(&fine(sandbox.run(["heard", "--format", "json"]))).unwrap();
    answer["items"].clone()
}

#[test]
fn songs_that_pass_through_to_a_subsonic_server_count() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let url = format!("http://127.0.0.1:{}", upstream.port);
    assert_eq!(code(&link(&sandbox, &url, "s3cret&")), 0);
    let server = Server::start(
        &sandbox,
        &["--subsonic", &url, "--mix", "variety=0 taste=1"],
    );
    let songs =
        subsonic(&server, "search3", "query=&songCount=100")["searchResult3"]["song"].clone();
    let id_of = |title: &str| {
        let song = songs
            .as_array()
            .unwrap()
            .iter()
            .find(|song| song["title"] == title)
            .unwrap();
        song["id"].as_str().unwrap().to_owned()
    };
    let near = |count: usize| -> Vec<String> {
        let query = format!("id={}&count={count}", id_of("Chaos God"));
        let answer = subsonic(&server, "getSimilarSongs2", &query);
        titles(&answer["similarSongs2"]["song"])
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let before = near(5);
    assert_eq!(before.len(), 5);
    let wait_for = |plays: u64, opinions: u64| {
        let expected = json!([{"listener": "alice", "plays": plays, "opinions": opinions}]);
        until("the play is stored", || listeners(&sandbox) == expected);
    };
    // The track that is playing does not count yet.
    let scrobble = |more: &str| {
        let answer = subsonic(
            &server,
            "scrobble",
            &format!("id={}{more}", id_of(&before[0])),
        );
        assert_eq!(answer["status"], "ok", "{answer}");
    };
    for playing in ["false", "False", "FALSE", "0", "no", "off"] {
        scrobble(&format!("&submission={playing}"));
    }
    let old = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
        - 2 * 86_400_000;
    scrobble(&format!("&time={old}"));
    wait_for(1, 0);
    assert_eq!(near(4), before[..4], "two days ago is long enough ago");
    scrobble("&submission=true");
    wait_for(2, 0);
    let after = near(4);
    assert_eq!(after, before[1..], "tracks played today come later");
    assert_eq!(near(5).len(), 5, "but they are better than silence");
    // One star excludes a song. Stars can be removed, and listeners have separate ones.
    let rate = |title: &str, stars: u8| {
        let answer = subsonic(
            &server,
            "setRating",
            &format!("id={}&rating={stars}", id_of(title)),
        );
        assert_eq!(answer["status"], "ok", "{answer}");
    };
    rate(&before[1], 1);
    wait_for(2, 1);
    assert!(!near(5).contains(&before[1]));
    rate(&before[1], 0);
    wait_for(2, 1);
    until("the star is gone", || near(5).contains(&before[1]));
    let last = before.last().unwrap();
    subsonic(&server, "star", &format!("id={}", id_of(last)));
    wait_for(2, 2);
    let sorted = near(3);
    assert!(sorted.contains(last), "liked: {sorted:?}");
    subsonic(&server, "unstar", &format!("id={}", id_of(last)));
    until("not liked any more", || !near(3).contains(last));
    // A request with a wrong password is not recorded.
    let wrong = format!(
        "/rest/scrobble?u=alice&p=wrong&v=1.8&c=t&f=json&id={}",
        id_of(last)
    );
    assert!(text(&server.send("GET", &wrong, "", b"").2).contains("\"code\":40"));
    until("the log has it", || {
        server
            .log
            .lock()
            .unwrap()
            .contains("scrobble is not stored")
    });
    assert_eq!(listeners(&sandbox)[0]["plays"], 2);
    let forgotten = sandbox.run(["heard", "--forget", "alice"]);
    fine(&forgotten);
    let message = text(&forgotten.stderr);
    assert!(message.contains("plays and opinions of alice"), "{message}");
    assert_eq!(listeners(&sandbox), json!([]));
}

#[test]
fn songs_played_and_liked_on_the_page_count() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--mix", "variety=0 taste=1"]);
    let near = |count: usize| -> Vec<i64> {
        let answer = server.good(
            "/api/v1/mix",
            &json!({"seeds": [{"id": 1}], "limit": count}),
        );
        answer["neighbours"]
            .as_array()
            .unwrap()
            .iter()
            .map(|song| song["id"].as_i64().unwrap())
            .collect()
    };
    let send = |id: i64, method: &str, what: &str, body: &Value| {
        let kind = "Content-Type: application/json\r\n";
        let path = format!("/api/v1/tracks/{id}/{what}");
        server
            .send(method, &path, kind, body.to_string().as_bytes())
            .0
    };
    let like = |id: i64, liked: Value| send(id, "PUT", "liked", &json!({"liked": liked}));
    let liked = |id: i64| server.good_get(&format!("/api/v1/tracks/{id}/liked"))["liked"].clone();
    let before = near(5);
    assert_eq!((before.len(), liked(before[0])), (5, Value::Null));
    assert_eq!(like(before[0], json!(false)), 204);
    assert_eq!(
        (liked(before[0]), near(5).contains(&before[0])),
        (json!(false), false)
    );
    assert_eq!(like(before[0], Value::Null), 204);
    assert_eq!((liked(before[0]), near(5)), (Value::Null, before.clone()));
    assert_eq!(like(before[4], json!(true)), 204);
    assert!(near(3).contains(&before[4]), "liked");
    assert_eq!(like(before[4], Value::Null), 204);
    assert_eq!(send(before[0], "POST", "heard", &json!({})), 204);
    assert_eq!(near(4), before[1..], "tracks played today come later");
    assert_eq!(
        listeners(&sandbox),
        json!([{"listener": "page", "plays": 1, "opinions": 2}])
    );
    assert_eq!(
        (like(99, json!(true)), send(99, "POST", "heard", &json!({}))),
        (404, 404)
    );
    assert_eq!(
        (
            like(1, json!(3)),
            send(1, "POST", "heard", &json!({"at": 1}))
        ),
        (400, 400)
    );
}

#[test]
fn a_listenbrainz_export_counts_except_its_broken_lines() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let list: Value = serde_json::from_str(&fine(
        sandbox.run(["list", "--limit", "all", "--format", "json"]),
    ))
    .unwrap();
    let track = |title: &str| {
        let tracks = list["tracks"].as_array().unwrap();
        tracks
            .iter()
            .find(|track| track["title"] == title)
            .unwrap()
            .clone()
    };
    let mix = |more: &[&str]| -> Vec<String> {
        let options = [
            "mix",
            "chaos god",
            "--variety",
            "0",
            "--limit",
            "3",
            "--format",
            "json",
        ];
        let answer: Value =
            serde_json::from_str(&fine(sandbox.run([&options, more].concat()))).unwrap();
        let songs = answer["neighbours"].as_array().unwrap().iter();
        songs
            .map(|song| song["title"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let before = mix(&[]);
    let about = |title: &str| json!({"artist_name": track(title)["artist"], "track_name": title});
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let listened =
        json!({"listened_at": now - 60, "track_metadata": about(&before[0])}).to_string();
    let nobody = json!({"listened_at": now, "track_metadata": {"artist_name": "Nobody", "track_name": "Nothing"}});
    let hated = json!({"created": now, "score": -1, "track_metadata": about(&before[1])});
    let export = sandbox.path("export");
    fs::create_dir_all(export.join("listens/2026")).unwrap();
    let lines =
        format!("{listened}\n{{broken\n{listened}\n\n{nobody}\n{{\"listened_at\": 5}}\n\u{fffd}\n");
    fs::write(export.join("listens/2026/11.jsonl"), lines).unwrap();
    fs::write(
        export.join("feedback.jsonl"),
        format!("{hated}\n{{\"score\": 7, \"recording_mbid\": \"x\"}}\n"),
    )
    .unwrap();
    let taken = sandbox.run([
        "heard",
        export.to_str().unwrap(),
        "--listener",
        "ann",
        "--format",
        "json",
    ]);
    assert_eq!(
        code(&taken),
        1,
        "some lines are broken: {}",
        text(&taken.stderr)
    );
    let report: Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!(
        (
            &report["plays"],
            &report["opinions"],
            &report["unknown"],
            &report["malformed"]
        ),
        (&json!(2), &json!(1), &json!(1), &json!(4)),
        "{report}"
    );
    assert!(
        text(&taken.stderr).contains("11.jsonl:2: expected a JSON object"),
        "{}",
        text(&taken.stderr)
    );
    assert_eq!(
        listeners(&sandbox),
        json!([{"listener": "ann", "plays": 1, "opinions": 1}]),
        "a repeated play counts once"
    );
    let after = mix(&[]);
    assert!(
        !after.contains(&before[0]) && !after.contains(&before[1]),
        "{before:?} {after:?}"
    );
    assert_eq!(mix(&["--listener", "ben"]), before);
    assert_eq!(mix(&["--taste", "0", "--not-heard", "0"]), before);
    // A list in one file, as older exports are.
    let whole = sandbox.path("listens.json");
    fs::write(
        &whole,
        json!([{"listened_at": 7, "track_metadata": about(&before[2])}]).to_string(),
    )
    .unwrap();
    fine(sandbox.run(["heard", whole.to_str().unwrap(), "--listener", "ann"]));
    assert_eq!(listeners(&sandbox)[0]["plays"], 2);
    // Last.fm's loved tracks as a table.
    let loved = sandbox.path("lovedtracks.csv");
    let artist = track(&before[2])["artist"].clone();
    let row = format!("7,1 Jan 1970,{artist},,\"{}\",", before[2]);
    fs::write(
        &loved,
        format!("uts,utc_time,artist,artist_mbid,track,track_mbid\n{row}\n"),
    )
    .unwrap();
    fine(sandbox.run(["heard", loved.to_str().unwrap(), "--listener", "ann"]));
    assert_eq!(listeners(&sandbox)[0]["opinions"], 2);
    let empty = sandbox.path("empty");
    fs::create_dir_all(&empty).unwrap();
    assert_eq!(code(&sandbox.run(["heard", empty.to_str().unwrap()])), 2);
}
