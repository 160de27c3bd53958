//! Answers: about uploaded files, in pages, and what is refused.

use std::fs;

use serde_json::{Value, json};

use crate::common::server::{Server, small_library};
use crate::common::{DEMO, Sandbox, fine_json, noise_wav, text};
use crate::doors::of_cli;

#[test]
fn a_file_outside_the_library_is_asked_by_its_bytes() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let file = format!("{DEMO}/held-out/sectoid-war-of-freedom.mp3");
    let bytes = fs::read(&file).unwrap();
    let send = |question: &str, bytes: &[u8]| {
        let path = format!("/api/v1/files/{question}");
        let (status, _, body) = server.send("POST", &path, "Content-Type: audio/mpeg\r\n", bytes);
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    for (question, options) in [
        ("similar?limit=3&genre=Metal", "--limit|3|--genre|Metal"),
        ("similar?from=2&to=8&limit=2", "--from|2|--to|8|--limit|2"),
    ] {
        let (status, answer) = send(question, &bytes);
        assert_eq!(status, 200, "{answer}");
        let expected = of_cli(&sandbox, &format!("similar|{file}|{options}"));
        assert_eq!(answer["neighbours"], expected["neighbours"]);
        assert_eq!(answer["seeds"], json!([{"id": null, "path": "(uploaded)"}]));
    }
    let (status, answer) = send("classify", &bytes);
    assert_eq!(status, 200, "{answer}");
    let expected = of_cli(&sandbox, &format!("classify|{file}"));
    assert_eq!(answer["items"][0]["votes"], expected["items"][0]["votes"]);
    let (status, answer) = send("similar?from=2", &bytes);
    assert!(
        status == 400 && answer.to_string().contains("to: expected a time"),
        "{answer}"
    );
    for question in ["similar", "similar?from=2&to=8", "classify"] {
        for (bytes, expected) in [
            (&b"this is not music"[..], "(uploaded): not an audio file"),
            (&noise_wav(16_000, 0.1, 1), "(uploaded): 0."),
        ] {
            let (status, answer) = send(question, bytes);
            assert_eq!(status, 422, "{answer}");
            assert!(
                answer["detail"].as_str().unwrap().starts_with(expected),
                "{question}: {answer}"
            );
        }
    }
}

#[test]
fn tracks_are_paged_and_filtered() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.good_get(&format!("/api/v1/list?limit=4{after}"));
        seen.extend(
            page["tracks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|track| track["id"].as_i64().unwrap()),
        );
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    let found = server.good_get("/api/v1/list?query=muldjord&limit=1");
    assert_eq!(found["tracks"].as_array().unwrap().len(), 1);
    let rest = server.good_get(&format!(
        "/api/v1/list?query=muldjord&limit=5&after={}",
        found["next"]
    ));
    assert_eq!(
        (rest["tracks"].as_array().unwrap().len(), &rest["next"]),
        (1, &Value::Null)
    );
    let ambient = server.good_get("/api/v1/list?genre=ambient");
    assert_eq!(ambient["tracks"].as_array().unwrap().len(), 3);
    let (status, problem) = server.get("/api/v1/list?genre=polka");
    assert!(
        status == 404
            && problem["detail"]
                .as_str()
                .unwrap()
                .contains("there are Ambient, Metal")
    );
}

#[test]
fn filters_that_mean_nothing_are_refused() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    for (filter, status, reason) in [
        (
            json!({"bpm": "fast"}),
            400,
            "bpm: expected a tempo or a span such as",
        ),
        (
            json!({"tag": ["metal", "guitar:200"]}),
            400,
            "tag[1]: expected a percentile",
        ),
        (json!({"mood": ["calm"]}), 400, "found \"mood\""),
        (json!({"limit": 0}), 400, "limit: expected 1 to 1000"),
        (json!({"artist": ["Nina Simone"]}), 404, "no artist"),
    ] {
        let mut question = json!({"seeds": [{"id": 1}]});
        let fields = filter.as_object().unwrap().clone();
        question.as_object_mut().unwrap().extend(fields);
        let (found, problem) = server.post("/api/v1/similar", &question);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            found == status && detail.contains(reason),
            "{filter}: {found} {problem}"
        );
    }
    assert_eq!(server.get("/api/v1/find?query=xyzzy").0, 404);
}

#[test]
fn a_card_shows_what_the_list_does_and_more() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let list = server.good_get("/api/v1/list");
    for track in list["tracks"].as_array().unwrap() {
        let shown = format!("/api/v1/show?track=id:{}&words=true", track["id"]);
        let one = server.good_get(&shown);
        for name in ["id", "path", "title", "artist", "genres", "seconds"] {
            assert_eq!(one[name], track[name], "{name}");
        }
        assert_eq!(one["places"][0]["state"], "there", "{one}");
        assert!(one["nearest"][0]["id"] != track["id"], "{one}");
        assert!(one["predicted"]["summary"].is_string(), "{one}");
        assert!(one["words"].is_array(), "{one}");
    }
}

#[test]
fn a_track_is_played_whole_and_in_parts() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let list = server.good_get("/api/v1/list");
    for track in list["tracks"].as_array().unwrap() {
        let path = track["path"].as_str().unwrap();
        let whole = fs::read(path).unwrap();
        let audio = format!("/api/v1/tracks/{}/audio", track["id"]);
        let (status, head, body) = server.send("GET", &audio, "", b"");
        assert!(status == 200 && body == whole, "{head}");
        let kind = match path.rsplit('.').next().unwrap() {
            "mp3" => "audio/mpeg",
            "m4a" => "audio/mp4",
            "opus" => "audio/ogg; codecs=opus",
            "ogg" => "audio/ogg",
            _ => "audio/wav",
        };
        assert!(
            head.contains(&format!("content-type: {kind}\r\n")),
            "{head}"
        );
        let length = whole.len();
        let (status, head, body) = server.send("GET", &audio, "Range: bytes=-10\r\n", b"");
        assert!(status == 206 && body == whole[length - 10..], "{head}");
        let place = format!("bytes {}-{}/{length}", length - 10, length - 1);
        assert!(head.contains(&place), "{head}");
        let (status, head, _) = server.send("GET", &audio, "Range: bytes=99999999-\r\n", b"");
        let place = format!("content-range: bytes */{length}");
        assert!(status == 416 && head.contains(&place), "{head}");
        fs::remove_file(path).unwrap();
        let (status, problem) = server.get(&audio);
        assert_eq!((status, &problem["status"]), (404, &json!(404)));
        assert!(problem["next"].as_str().unwrap().contains("put it back"));
    }
}

#[test]
fn the_page_is_served_below_its_path_without_a_token() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let mut server = Server::start(&sandbox, &["--base-path", "/music"]);
    server.token.clear();
    let get = |path: &str| server.send("GET", path, "", b"");
    let (status, head, _) = get("/music");
    assert!(
        status == 308 && head.contains("location: /music/\r\n"),
        "{head}"
    );
    let (status, head, page) = get("/music/");
    assert_eq!(status, 200, "{head}");
    for kept in [
        "content-type: text/html; charset=utf-8\r\n",
        "content-security-policy: default-src 'none'; script-src 'self';",
    ] {
        assert!(head.contains(kept) && !head.contains("unsafe"), "{head}");
    }
    let page = text(&page);
    for rest in page.split("=\"page/").skip(1) {
        let address = rest.split('"').next().unwrap();
        let (status, head, body) = get(&format!("/music/page/{address}"));
        assert!(status == 200 && !body.is_empty(), "{address}: {head}");
        assert!(head.contains("cache-control: no-cache"), "{address}");
    }
    for wrong in [
        "/",
        "/music/page/",
        "/music/page/mod.rs",
        "/music/page/..%2fmod.rs",
    ] {
        assert_eq!(get(wrong).0, 404, "{wrong}");
    }
}

#[test]
fn labels_given_by_hand_are_those_of_the_command_line() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let give = |tracks: Value, genre: Value| {
        let label = json!({"tracks": tracks, "genre": genre});
        server.put("/api/v1/labels", &label)
    };
    let jazz = || give(json!([1, "id:2"]), json!("Jazz")).1["changed"].clone();
    assert_eq!((jazz(), jazz()), (json!(2), json!(0)));
    let by_hand = server.good_get("/api/v1/labels");
    assert_eq!(by_hand["source"], "tags");
    assert_eq!(by_hand["by_hand"].as_array().unwrap().len(), 2);
    assert_eq!(by_hand["by_hand"][1]["genre"], "Jazz");
    let listed = fine_json(sandbox.run(["labels", "--format", "json"]));
    assert_eq!(listed["by_hand"], 2);
    for wrong in [json!(""), json!("x".repeat(300))] {
        assert_eq!(give(json!([1]), wrong).0, 400);
    }
    assert_eq!(give(json!([99]), json!("Jazz")).0, 404);
    assert_eq!(give(json!([1, 2]), Value::Null).1["changed"], 2);
    assert_eq!(server.good_get("/api/v1/labels")["by_hand"], json!([]));
}
