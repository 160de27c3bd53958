//! The server as a process: what clients ask it, what strangers try, and what the library does meanwhile.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::server::{Server, read_answer, small_library};
use common::{DEMO, Sandbox, code, fine, fine_json, noise_wav, text};
use serde_json::{Value, json};

/// An answer without what the command line does not say.
fn plain(mut answer: Value) -> Value {
    let generation = answer.as_object_mut().unwrap().remove("generation");
    assert!(generation.is_some_and(|generation| generation.as_u64().unwrap() > 0));
    answer
}

/// A list without what the command line does not say: all of it is on this page.
fn whole(answer: Value) -> Value {
    let mut answer = plain(answer);
    let fields = answer.as_object_mut().unwrap();
    assert_eq!(fields.remove("next"), Some(Value::Null));
    assert!(fields.remove("total").is_some_and(|total| total.is_u64()));
    answer
}

#[test]
fn answers_are_those_of_the_command_line_bit_for_bit() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let cli = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        let mut answer = fine_json(sandbox.run(all));
        // a list is taken out of its envelope by the test's own reader
        match answer.as_object_mut() {
            Some(fields) => {
                fields.remove("version");
                answer
            }
            None => json!({ "items": answer }),
        }
    };
    for (question, arguments) in [
        (json!({"seeds": [{"words": "chaos god"}]}), vec!["similar", "chaos god"]),
        (
            json!({"seeds": [{"id": 1}, {"id": 2}], "limit": 2}),
            vec!["similar", "id:1", "id:2", "--limit", "2"],
        ),
        (
            json!({"seeds": [{"id": 3}], "unlike": [{"id": 1}], "unlike_weight": 0.25, "search": "exact"}),
            vec!["similar", "id:3", "--unlike", "id:1", "--unlike-weight", "0.25", "--exact"],
        ),
        (
            json!({"seeds": [{"id": 1}], "filters": {"genre": ["METAL"]}, "include_seed": true}),
            vec!["similar", "id:1", "--genre", "metal", "--include-seed"],
        ),
        (
            json!({"seeds": [{"words": "chaos god"}], "from": 2.0, "to": 8.0, "limit": 2}),
            vec!["similar", "chaos god", "--from", "2", "--to", "8", "--limit", "2"],
        ),
    ] {
        assert_eq!(plain(server.good("/api/v1/similar", &question)), cli(&arguments), "{question}");
    }
    // Every filter is read as on the command line, whichever question it belongs to.
    for (filters, arguments) in [
        (json!({"exclude_genre": ["metal"]}), vec!["--exclude-genre", "metal"]),
        (json!({"artist": ["muld"]}), vec!["--artist", "muld"]),
        (json!({"exclude_artist": ["Muldjord"]}), vec!["--exclude-artist", "muldjord"]),
        (json!({"bpm": "60-130", "bpm_octave": true}), vec!["--bpm", "60-130", "--bpm-octave"]),
        (json!({"key": ["compatible"]}), vec!["--key", "compatible"]),
        (json!({"key": ["8A", "C,Am"]}), vec!["--key", "8A,C,Am"]),
        (json!({"loudness": "-16.."}), vec!["--loudness", "-16.."]),
        (json!({"licence": ["cc"]}), vec!["--licence", "cc"]),
        (json!({"tag": ["guitar:50"]}), vec!["--tag", "guitar:50"]),
        (json!({"not_tag": ["guitar"]}), vec!["--not-tag", "guitar"]),
        (json!({"year": "1990-", "min_duration": 1.0}), vec!["--year", "1990-", "--min-duration", "1"]),
    ] {
        let question = json!({"seeds": [{"id": 1}], "filters": filters, "limit": 6, "sort": "bpm"});
        let mut all = vec!["similar", "id:1", "--limit", "6", "--sort", "bpm"];
        all.extend(&arguments);
        all.extend(["--format", "json"]);
        let output = sandbox.run(all);
        assert!(code(&output) <= 1, "{}", text(&output.stderr));
        let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = plain(server.good("/api/v1/similar", &question));
        assert_eq!(found["neighbours"], expected["neighbours"], "{filters}");
    }
    for (filters, status, said) in [
        (json!({"bpm": "fast"}), 400, "a tempo or a span such as"),
        (json!({"key": ["H#"]}), 400, "key"),
        (json!({"tag": ["guitar:200"]}), 400, "percentile"),
        (json!({"tag": ["nonsense"]}), 404, "nonsense"),
        (json!({"artist": ["Nina Simone"]}), 404, "no artist"),
        (json!({"year": "1999-1990"}), 400, "year"),
    ] {
        let (found, problem) =
            server.post("/api/v1/similar", &json!({"seeds": [{"id": 1}], "filters": filters}));
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(found == status && detail.contains(said), "{filters}: {found} {problem}");
    }
    let found =
        plain(server.good_get("/api/v1/find?query=loud%20guitar%2C%20no%20voice&genre=metal&limit=2"));
    assert_eq!(found, cli(&["find", "loud guitar, no voice", "--genre", "metal", "--limit", "2"]));
    assert_eq!(server.get("/api/v1/find?query=xyzzy").0, 404);
    let words = server.good_get("/api/v1/words");
    assert!(words["words"].as_array().unwrap().iter().any(|word| word["word"] == "guitar"), "{words}");
    let answer = server.good("/api/v1/classify", &json!({"tracks": [{"id": 1}]}));
    assert_eq!(answer["items"], cli(&["classify", "id:1"])["items"]);
    assert!(!answer["notes"].as_array().unwrap().is_empty(), "who answers is said");
    let walk = server.good("/api/v1/path", &json!({"from": {"id": 1}, "to": {"id": 5}, "steps": 3}));
    assert_eq!(plain(walk), cli(&["path", "id:1", "id:5", "--steps", "3"]));
    let list = server.good("/api/v1/playlist", &json!({"seeds": [{"id": 1}], "limit": 4, "diversity": 0.5}));
    assert_eq!(list["items"], cli(&["playlist", "id:1", "--limit", "4", "--diversity", "0.5"])["items"]);
    let list = server.good(
        "/api/v1/playlist",
        &json!({"filters": {"genre": ["metal"]}, "limit": 3, "max_bpm_step": 200.0, "keep_duplicates": true}),
    );
    let expected =
        ["playlist", "--genre", "metal", "--limit", "3", "--max-bpm-step", "200", "--keep-duplicates"];
    assert_eq!(list["items"], cli(&expected)["items"]);
    let (status, _) =
        server.post("/api/v1/playlist", &json!({"seeds": [{"id": 1}], "shuffle": 1, "harmonic": true}));
    assert_eq!(status, 400);
    assert_eq!(whole(server.good_get("/api/v1/genres")), cli(&["genres"]));
    assert_eq!(whole(server.good_get("/api/v1/clusters"))["clusters"], cli(&["clusters"])["clusters"]);
    assert_eq!(whole(server.good_get("/api/v1/suspects?all=true")), cli(&["suspects", "--all"]));
    assert_eq!(whole(server.good_get("/api/v1/duplicates")), json!({"items": []}));
    let map = server.good_get("/api/v1/map");
    assert_eq!(map["tracks"].as_array().unwrap().len(), 6);
    for (query, arguments) in [
        ("genre=metal&words=true", vec!["list", "--genre", "metal"]),
        ("sort=bpm&reverse=true&words=true", vec!["list", "--sort", "bpm", "--reverse"]),
        ("not_tag=guitar&words=true", vec!["list", "--not-tag", "guitar"]),
    ] {
        let mut page = plain(server.good_get(&format!("/api/v1/tracks?{query}")));
        assert_eq!(page.as_object_mut().unwrap().remove("next"), Some(Value::Null));
        assert_eq!(page, cli(&arguments), "{query}");
    }
    let status = server.good_get("/api/v1/status");
    assert_eq!(plain(status), cli(&["status"]));

    // A file that is not in the library is asked about by its bytes.
    let file = format!("{DEMO}/held-out/sectoid-war-of-freedom.mp3");
    let bytes = fs::read(&file).unwrap();
    let kind = "Content-Type: audio/mpeg\r\n";
    let (status, _, body) = server.send("POST", "/api/v1/files/similar?limit=3&genre=Metal", kind, &bytes);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let expected = cli(&["similar", &file, "--limit", "3", "--genre", "Metal"]);
    assert_eq!(answer["neighbours"], expected["neighbours"]);
    assert_eq!(answer["seeds"], json!([{"id": null, "path": "(uploaded)"}]));
    let (status, _, body) = server.send("POST", "/api/v1/files/classify", kind, &bytes);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let expected = cli(&["classify", &file]);
    assert_eq!(answer["items"][0]["votes"], expected["items"][0]["votes"]);
    let (status, _, body) = server.send("POST", "/api/v1/files/similar", kind, b"this is not music");
    assert_eq!(status, 422, "{}", text(&body));
    assert!(!text(&body).contains("/tmp"), "where the copy lay is nobody's business: {}", text(&body));
}

#[test]
fn tracks_are_paged_filtered_and_played() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.good_get(&format!("/api/v1/tracks?limit=4{after}"));
        seen.extend(page["tracks"].as_array().unwrap().iter().map(|track| track["id"].as_i64().unwrap()));
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    let found = server.good_get("/api/v1/tracks?query=muldjord&limit=1");
    assert_eq!(found["tracks"].as_array().unwrap().len(), 1);
    let rest = server.good_get(&format!("/api/v1/tracks?query=muldjord&limit=5&after={}", found["next"]));
    assert_eq!((rest["tracks"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let ambient = server.good_get("/api/v1/tracks?genre=ambient");
    assert_eq!(ambient["tracks"].as_array().unwrap().len(), 3);
    let (status, problem) = server.get("/api/v1/tracks?genre=polka");
    assert!(status == 404 && problem["detail"].as_str().unwrap().contains("there are Ambient, Metal"));
    for track in server.good_get("/api/v1/tracks")["tracks"].as_array().unwrap() {
        let one = server.good_get(&format!("/api/v1/tracks/{}", track["id"]));
        assert_eq!(plain(one), *track);
        let one = server.good_get(&format!("/api/v1/tracks/{}?words=true", track["id"]));
        assert!(one["words"].is_array(), "{one}");
        let whole = fs::read(track["path"].as_str().unwrap()).unwrap();
        let audio = format!("/api/v1/tracks/{}/audio", track["id"]);
        let (status, head, body) = server.send("GET", &audio, "", b"");
        assert!(status == 200 && body == whole, "{head}");
        let kind = match track["path"].as_str().unwrap().rsplit('.').next().unwrap() {
            "mp3" => "audio/mpeg",
            "m4a" => "audio/mp4",
            "opus" => "audio/ogg; codecs=opus",
            "ogg" => "audio/ogg",
            _ => "audio/wav",
        };
        assert!(head.contains(&format!("content-type: {kind}\r\n")), "{head}");
        let (status, head, body) = server.send("GET", &audio, "Range: bytes=100-199\r\n", b"");
        assert!(status == 206 && body == whole[100..200], "{head}");
        assert!(head.contains(&format!("content-range: bytes 100-199/{}", whole.len())), "{head}");
        let (status, _, body) = server.send("GET", &audio, "Range: bytes=-10\r\n", b"");
        assert!(status == 206 && body == whole[whole.len() - 10..]);
        let (status, head, _) = server.send("GET", &audio, "Range: bytes=99999999-\r\n", b"");
        assert!(status == 416 && head.contains(&format!("content-range: bytes */{}", whole.len())), "{head}");
    }
    fs::remove_file(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    let id = &server.good_get("/api/v1/tracks?query=chaos%20god")["tracks"][0]["id"];
    let (status, problem) = server.get(&format!("/api/v1/tracks/{id}/audio"));
    assert_eq!((status, problem["status"].as_u64()), (404, Some(404)));
    assert!(problem["next"].as_str().unwrap().contains("voisin verify"));
}

/// All tracks of a list in clusters and out of them.
fn members(answer: &Value) -> Vec<Value> {
    let clusters = answer["clusters"].as_array().unwrap().iter().map(|cluster| &cluster["members"]);
    clusters.chain([&answer["noise"]]).flat_map(|some| some.as_array().unwrap().clone()).collect()
}

#[test]
fn long_lists_come_in_pages_that_fit_together() {
    type Read = Box<dyn Fn(&Value) -> Vec<Value>>;
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    for (from, to) in
        [("metal/muldjord-chaos-god.mp3", "copy.mp3"), ("metal/muldjord-armygeddon.m4a", "copy.m4a")]
    {
        fs::copy(music.join(from), music.join(to)).unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    server.good("/api/v1/labels", &json!({"tracks": [1, 2, 4], "genre": "Jazz"}));
    let field =
        |name: &'static str| move |answer: &Value| -> Vec<Value> { answer[name].as_array().unwrap().clone() };
    let lists: [(&str, &str, Read); 8] = [
        ("genres", "", Box::new(field("genres"))),
        ("genres", "", Box::new(field("distance"))),
        ("clusters", "", Box::new(members)),
        ("clusters", "&clusters=2", Box::new(members)),
        ("map", "", Box::new(field("tracks"))),
        ("suspects", "&all=true", Box::new(field("items"))),
        ("duplicates", "&rough=true", Box::new(field("items"))),
        ("labels", "", Box::new(field("by_hand"))),
    ];
    for (name, options, read) in &lists {
        let ask =
            |limit: usize, more: &str| server.get(&format!("/api/v1/{name}?limit={limit}{options}{more}"));
        let (status, all) = ask(1000, "");
        assert_eq!((status, &all["next"]), (200, &Value::Null), "{name}: {all}");
        let expected = read(&all);
        assert!(expected.len() > 1, "{name}: a list to be cut: {all}");
        assert_eq!(all["total"], expected.len(), "{name}");
        for limit in [1, 2, expected.len()] {
            let (mut seen, mut more) = (Vec::new(), String::new());
            loop {
                let (status, page) = ask(limit, &more);
                assert_eq!(status, 200, "{name}{more}: {page}");
                assert_eq!((&page["total"], &page["generation"]), (&all["total"], &all["generation"]));
                assert!((1..=limit).contains(&read(&page).len()), "{name}{more}: {page}");
                seen.extend(read(&page));
                if page["next"].is_null() {
                    break;
                }
                more = format!("&after={}", page["next"]);
            }
            assert_eq!(seen, expected, "{name}, {limit} at a time");
        }
        let (status, problem) = ask(10, "&after=999");
        assert!(status == 404 && problem["next"].as_str().unwrap().contains("after"), "{name}: {problem}");
        for wrong in [ask(0, ""), ask(1001, ""), ask(1, "&after=x"), ask(1, "&after=1&after=2")] {
            assert_eq!(wrong.0, 400, "{name}: {}", wrong.1);
        }
    }
    // Every page says which clusters there are.
    let (first, all) = (server.good_get("/api/v1/clusters?limit=1"), server.good_get("/api/v1/clusters"));
    let described = |answer: &Value| -> Vec<Value> {
        let clusters = answer["clusters"].as_array().unwrap().iter();
        clusters.map(|cluster| json!([cluster["id"], cluster["tracks"], cluster["medoid"]])).collect()
    };
    assert_eq!(described(&first), described(&all));

    // A list goes on as it was; one that begins is of the library now.
    let first = server.good_get("/api/v1/map?limit=4");
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let rest = server.good_get(&format!("/api/v1/map?limit=4&after={}", first["next"]));
    assert_eq!((&rest["generation"], &rest["total"]), (&first["generation"], &json!(6)));
    let now = server.good_get("/api/v1/map");
    assert_eq!(now["total"], 7);
    assert!(now["generation"].as_u64() > first["generation"].as_u64());
    let rest = server.good_get(&format!("/api/v1/map?limit=4&after={}", first["next"]));
    assert_eq!((&rest["generation"], &rest["total"]), (&now["generation"], &json!(7)));
}

#[test]
fn the_page_is_there_without_a_token_and_its_questions_are_answered() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--base-path", "/music"]);
    let plain_get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
        server.raw(request.as_bytes())
    };
    let (status, head, _) = plain_get("/music");
    assert!(status == 308 && head.contains("location: /music/\r\n"), "{head}");
    let (status, head, body) = plain_get("/music/");
    let page = text(&body);
    assert!(status == 200 && head.contains("content-type: text/html; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self';"), "{head}");
    assert!(!head.contains("unsafe"), "{head}");
    for address in page.split("=\"page/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let (status, head, body) = plain_get(&format!("/music/page/{address}"));
        assert!(status == 200 && !body.is_empty(), "{address}: {head}");
    }
    for wrong in
        ["/", "/music/page/", "/music/page/mod.rs", "/music/page/..%2fmod.rs", "/music/page/nothing.js"]
    {
        assert_eq!(plain_get(wrong).0, 404, "{wrong}");
    }
    assert_eq!(plain_get("/music/api/v1/labels").0, 401);

    // A file without a picture has none; lists are those of the command line.
    let (status, _, body) = server.send("GET", "/music/api/v1/tracks/1/cover", "", b"");
    assert_eq!((status, body.len()), (204, 0));
    assert_eq!(server.send("GET", "/music/api/v1/tracks/99/cover", "", b"").0, 404);
    let kind = "Content-Type: application/json\r\n";
    let question = json!({"tracks": [2, 1], "title": "two", "format": "m3u8"}).to_string();
    let (status, head, list) = server.send("POST", "/music/api/v1/lists", kind, question.as_bytes());
    assert!(status == 200 && head.contains("content-type: audio/x-mpegurl"), "{head}");
    let paths = [2, 1].map(|id| server.good_get(&format!("/music/api/v1/tracks/{id}"))["path"].clone());
    let written: Vec<Value> =
        text(&list).lines().filter(|line| !line.starts_with('#')).map(|line| json!(line)).collect();
    assert_eq!(written, paths);

    // Labels are those of `voisin labels`, and go back one by one.
    let labels =
        |genre: Value| server.post("/music/api/v1/labels", &json!({"tracks": [1, 2], "genre": genre}));
    assert_eq!(labels(json!("Jazz")).1["changed"], 2);
    assert_eq!(labels(json!("Jazz")).1["changed"], 0);
    let by_hand = server.good_get("/music/api/v1/labels");
    assert_eq!((&by_hand["source"], by_hand["by_hand"].as_array().unwrap().len()), (&json!("tags"), 2));
    assert_eq!(by_hand["by_hand"][1]["genre"], "Jazz");
    assert_eq!(fine_json(sandbox.run(["labels", "--format", "json"]))["by_hand"], 2);
    for wrong in [json!(""), json!("x".repeat(300)), json!(17)] {
        assert_eq!(labels(wrong).0, 400);
    }
    assert_eq!(server.post("/music/api/v1/labels", &json!({"tracks": [99], "genre": "Jazz"})).0, 404);

    // Into files only where that is asked for, and back again.
    let write = |more: Value| {
        let mut question = json!({"tracks": [1, 2, 3]});
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.good("/music/api/v1/labels/write", &question)
    };
    let files = || paths.clone().map(|path| fs::read(path.as_str().unwrap()).unwrap());
    let before = files();
    let would = write(json!({}));
    assert_eq!((&would["run"], would["items"].as_array().unwrap().len()), (&Value::Null, 2));
    assert_eq!(would["items"][0]["outcome"], "would_write");
    assert!(files() == before, "a dry run changes nothing");
    let done = write(json!({"dry_run": false}));
    assert_eq!(
        (&done["items"][0]["outcome"], &done["items"][0]["after"]),
        (&json!("written"), &json!(["Jazz"]))
    );
    assert!(files() != before);
    let again = write(json!({"dry_run": false, "run": done["run"]}));
    assert_eq!((&again["items"][0]["outcome"], &again["run"]), (&json!("unchanged"), &done["run"]));
    fine(sandbox.run(["undo", &done["run"].to_string()]));
    let genres = fine_json(sandbox.run(["labels", "--format", "json"]));
    assert_eq!(genres["by_hand"], 2, "labels stay where files go back");

    let undone = server.good("/music/api/v1/labels/undo", &json!({}));
    assert_eq!((&undone["before"], &undone["after"]), (&json!("Jazz"), &Value::Null));
    server.good("/music/api/v1/labels/undo", &json!({}));
    assert_eq!(server.post("/music/api/v1/labels/undo", &json!({})).0, 409);
    assert_eq!(server.good_get("/music/api/v1/labels")["by_hand"], json!([]));
}

#[test]
fn songs_are_found_as_players_refer_to_them() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let ask = |song: Value| server.post("/api/v1/refs/similar", &json!({"songs": [song], "count": 3}));
    let known = server.good_get("/api/v1/tracks?query=chaos%20god")["tracks"][0].clone();
    let (status, by_tags) = ask(json!({"name": "CHAOS GOD", "artists": [{"name": "muldjord"}], "id": "x"}));
    assert_eq!(status, 200, "{by_tags}");
    assert_eq!(by_tags["found_by"], json!(["tags"]));
    let nearest = &by_tags["matches"][0];
    assert_eq!(nearest["song"]["artists"][0]["name"], "Muldjord");
    assert!(nearest["song"]["durationMs"].as_u64().unwrap() > 1000);
    let (_, by_path) = ask(json!({"name": "nonsense", "path": known["path"]}));
    assert_eq!((&by_path["found_by"][0], &by_path["matches"]), (&json!("path"), &by_tags["matches"]));
    let (status, problem) = ask(json!({"name": "Chaos God", "artist": "Nina Simone"}));
    assert_eq!(status, 404, "{problem}");
    assert!(problem["next"].as_str().unwrap().contains("voisin add"));
    let ends = json!({"start": {"name": "Chaos God"}, "end": {"name": "Nebula"}, "count": 4});
    let walk = server.good("/api/v1/refs/path", &ends);
    let matches = walk["matches"].as_array().unwrap();
    assert!((2..=4).contains(&matches.len()));
    assert_eq!(matches[0]["song"]["name"], known["title"]);
    assert!(matches[0]["similarity"].as_f64().unwrap() > 0.999);
    assert_eq!(matches.last().unwrap()["song"]["name"], "Nebula");
}

#[test]
fn what_others_change_is_seen_and_what_is_gone_is_said() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let question = json!({"seeds": [{"id": 1}], "include_seed": true, "limit": 50});
    let count = |answer: &Value| answer["neighbours"].as_array().unwrap().len();
    let before = server.good("/api/v1/similar", &question);
    assert_eq!(count(&before), 6);
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let after = server.good("/api/v1/similar", &question);
    assert_eq!(count(&after), 7, "what another process adds is found");
    assert!(after["generation"].as_u64() > before["generation"].as_u64());
    fine(sandbox.run(["remove", music.join("noise.wav").to_str().unwrap()]));
    assert_eq!(count(&server.good("/api/v1/similar", &question)), 6, "what it removes is gone");

    // An index that is of no use is built anew; until then nobody is told an old answer.
    let index = sandbox.path("library/index.bin");
    drop(server);
    fs::write(&index, b"this is no index").unwrap();
    let server = Server::start(&sandbox, &[]);
    let (status, problem) = server.post("/api/v1/similar", &question);
    assert_eq!(status, 503, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("index"), "{problem}");
    let start = Instant::now();
    while server.post("/api/v1/similar", &question).0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "it is built");
        std::thread::sleep(Duration::from_millis(100));
    }

    // The library goes away, and comes back.
    let (here, away) = (sandbox.path("library"), sandbox.path("away"));
    fs::rename(&here, &away).unwrap();
    let (status, head, body) = server.send("GET", "/api/v1/tracks", "", b"");
    assert!(status == 503 && head.contains("retry-after: "), "{head}");
    assert!(text(&body).contains("put it back"), "{}", text(&body));
    assert_eq!(server.get("/api/v1/health").0, 200);
    fs::rename(&away, &here).unwrap();
    assert_eq!(count(&server.good("/api/v1/similar", &question)), 6);
}

#[test]
fn vectors_of_another_model_are_never_mixed_with_those_of_before() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let question = json!({"seeds": [{"id": 1}], "limit": 5});
    let near = |answer: &Value| answer["neighbours"].clone();
    let before = server.good("/api/v1/similar", &question);
    let passage = json!({"seeds": [{"id": 1}], "from": 0.0, "to": 5.0, "limit": 2});
    server.good("/api/v1/similar", &passage);
    fine(sandbox.run(["model", "upgrade", "voisin-2"]));
    // The index may have to be built: then that is said, and nothing is answered from the old one.
    let start = Instant::now();
    let after = loop {
        let (status, answer) = server.post("/api/v1/similar", &question);
        if status == 200 {
            break answer;
        }
        assert!(status == 503 && answer["detail"].as_str().unwrap().contains("index"), "{status} {answer}");
        assert!(start.elapsed() < Duration::from_secs(20), "it is built");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(after["generation"].as_u64() > before["generation"].as_u64());
    let expected = fine_json(sandbox.run(["similar", "id:1", "--limit", "5", "--format", "json"]));
    assert_eq!(near(&after), near(&expected));
    assert_ne!(near(&after), near(&before));
    let passages = server.good("/api/v1/similar", &passage)["passages"].clone();
    let arguments = ["similar", "id:1", "--from", "0", "--to", "5", "--limit", "2", "--format", "json"];
    assert_eq!(passages, fine_json(sandbox.run(arguments))["passages"]);
}

#[test]
fn as_many_compute_as_there_are_threads_and_the_rest_wait_a_little() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--threads", "1"]);
    // Each listens for a good while.
    let slow = json!({"seeds": [{"id": 1}], "from": 0.0, "to": 6.0, "limit": 2}).to_string();
    let request = format!(
        "POST /api/v1/similar HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{slow}",
        server.address,
        server.token,
        slow.len()
    );
    let start = Instant::now();
    let mut asked: Vec<TcpStream> = (0..320).map(|_| server.connect()).collect();
    for stream in &mut asked {
        stream.write_all(request.as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    // Music plays on meanwhile.
    let whole = server.send("GET", "/api/v1/tracks/1/audio", "", b"");
    assert!(whole.0 == 200 && start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let mut counts = std::collections::BTreeMap::new();
    for stream in &mut asked {
        let (status, head, body) = read_answer(stream);
        *counts.entry(status).or_insert(0) += 1;
        if status == 503 {
            assert!(head.contains("retry-after: "), "{head}");
            assert!(["too many requests", "took too long"].iter().any(|why| text(&body).contains(why)));
        }
    }
    assert!(counts.keys().all(|status| [200, 503].contains(status)), "{counts:?}");
    assert!(counts[&200] >= 1 && counts[&503] >= 320 - 257, "{counts:?}");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "none waits longer than it may: {:?}",
        start.elapsed()
    );
    assert_eq!(server.good("/api/v1/similar", &json!({"seeds": [{"id": 1}]}))["seeds"][0]["id"], 1);
}

#[test]
fn a_scan_adds_the_folders_named_at_the_start() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &["--folder", music.to_str().unwrap()]);
    assert_eq!(server.good_get("/api/v1/scan")["state"], "idle");
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    let (status, started) = server.post("/api/v1/scan", &json!({}));
    assert_eq!((status, &started["state"]), (202, &json!("running")), "{started}");
    assert_eq!(server.post("/api/v1/scan", &json!({})).0, 409, "one at a time");
    // Events until it ends.
    let (status, head, body) = server.send("GET", "/api/v1/scan", "Accept: text/event-stream\r\n", b"");
    assert!(status == 200 && head.contains("content-type: text/event-stream"), "{head}");
    let body = text(&body);
    assert!(body.contains("event: progress\n") && body.contains("\"state\":\"done\""), "{body}");
    let done = server.good_get("/api/v1/scan");
    assert_eq!((&done["state"], &done["summary"]["added"]), (&json!("done"), &json!(1)), "{done}");
    assert_eq!(server.good_get("/api/v1/tracks")["tracks"].as_array().unwrap().len(), 7);
    assert_eq!(server.send("DELETE", "/api/v1/scan", "", b"").0, 409, "there is none");
    // One that has much to do can be stopped.
    for seed in 10..40 {
        fs::write(music.join(format!("{seed}.wav")), noise_wav(44_100, 60.0, seed)).unwrap();
    }
    assert_eq!(server.post("/api/v1/scan", &json!({})).0, 202);
    let start = Instant::now();
    while server.good_get("/api/v1/scan")["total"] == 0 {
        assert!(start.elapsed() < Duration::from_mins(1), "it begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.send("DELETE", "/api/v1/scan", "", b"").0, 202);
    while server.good_get("/api/v1/scan")["state"] == "running" {
        assert!(start.elapsed() < Duration::from_secs(90), "it ends");
        std::thread::sleep(Duration::from_millis(50));
    }
    let stopped = server.good_get("/api/v1/scan");
    assert_eq!(
        (&stopped["state"], &stopped["summary"]["interrupted"]),
        (&json!("stopped"), &json!(true)),
        "{stopped}"
    );
}

#[test]
fn a_folder_that_is_watched_is_added_to_the_answers() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &["--watch", music.to_str().unwrap()]);
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    let start = Instant::now();
    while server.good_get("/api/v1/tracks")["total"] != 7 {
        assert!(start.elapsed() < Duration::from_mins(1), "{}", server.said.lock().unwrap());
        std::thread::sleep(Duration::from_millis(200));
    }
    let refused = sandbox.run(["serve", "--watch", "/no/such/folder", "--listen", "127.0.0.1:0"]);
    assert!(code(&refused) == 2 && text(&refused.stderr).contains("--watch"), "{}", text(&refused.stderr));
}

#[cfg(unix)]
#[test]
fn a_server_ends_within_five_seconds_and_finishes_what_it_began() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = sandbox.path("voisin.sock");
    let mut server = Server::start(&sandbox, &["--listen", &format!("unix:{}", socket.display())]);
    assert_eq!(mode(sandbox.path("library/serve.token")), 0o600);
    assert_eq!(mode(socket.clone()), 0o600);
    let shown = fine(sandbox.run(["serve", "--show-token"]));
    assert_eq!((shown.trim(), shown.trim().len()), (server.token.as_str(), 64));
    let mut unix = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let request = format!(
        "GET /api/v1/tracks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        server.token
    );
    unix.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    unix.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Idle connections, one that sends slowly and one that reads slowly do not keep it.
    let _idle = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"GET /api/v1/he").unwrap();
    let mut asked = server.connect();
    let body = json!({"seeds": [{"id": 1}], "from": 0.0, "to": 6.0}).to_string();
    let request = format!(
        "POST /api/v1/similar HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        server.token,
        body.len()
    );
    asked.write_all(request.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    let kill = std::process::Command::new("kill").args(["-TERM", &server.process.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let (status, head, _) = read_answer(&mut asked);
    assert_eq!(status, 200, "an answer under way is finished: {head}");
    let ended = server.process.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5) && ended.success(), "{ended}");
    assert!(!socket.exists(), "its socket goes with it");
    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("POST /api/v1/similar 200"), "{said}");
    assert!(!said.contains(&server.token), "no token in what it says");

    fs::set_permissions(sandbox.path("library/serve.token"), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = sandbox.run(["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("chmod 600"), "{}", text(&refused.stderr));
    let refused = sandbox.run(["serve", "--no-token", "--listen", "0.0.0.0:0"]);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("--no-token"), "{}", text(&refused.stderr));
}

#[cfg(unix)]
#[test]
fn without_a_token_the_rest_holds_and_ctrl_c_ends_it() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let mut open = Server::start(&sandbox, &["--no-token"]);
    let plain =
        |host: &str| format!("GET /api/v1/tracks HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    assert_eq!(open.raw(plain("localhost").as_bytes()).0, 200);
    assert_eq!(open.raw(plain("evil.example").as_bytes()).0, 403);
    let start = Instant::now();
    let kill = std::process::Command::new("kill").args(["-INT", &open.process.id().to_string()]).status();
    assert!(kill.unwrap().success() && open.process.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(5));
    let help = fine(sandbox.run(["serve", "--help"]));
    assert!(help.contains("[default: 127.0.0.1:8766]"), "{help}");
}

#[test]
fn the_page_gets_a_cookie_for_its_token_which_reads_and_changes_only_from_its_own_origin() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server =
        Server::start(&sandbox, &["--allow-origin", "https://music.example", "--allow-host", "music.lan"]);
    let host = server.address.to_string();
    let ask = |method: &str, path: &str, headers: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        server.raw(request.as_bytes())
    };
    let (status, head, _) = ask("POST", "/api/v1/session", "", &json!({"token": server.token}).to_string());
    assert_eq!(status, 204, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    assert!(!cookie.contains(&server.token), "the cookie is not the token");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(ask("GET", "/api/v1/tracks", &cookie, "").0, 200);
    let question = json!({"seeds": [{"id": 1}]}).to_string();
    assert_eq!(ask("POST", "/api/v1/similar", &cookie, &question).0, 403, "no origin");
    let own = format!("{cookie}Origin: http://{host}\r\n");
    assert_eq!(ask("POST", "/api/v1/similar", &own, &question).0, 200);
    let other = format!("{cookie}Origin: https://music.example\r\n");
    let (status, head, _) = ask("POST", "/api/v1/similar", &other, &question);
    assert!(status == 200 && head.contains("access-control-allow-origin: https://music.example"), "{head}");
    assert!(
        !head.contains("access-control-allow-credentials"),
        "cookies are for the server's own page: {head}"
    );
    // An allowed host is answered for; all answers have the headers that browsers need to be careful.
    let request = "GET /api/v1/health HTTP/1.1\r\nHost: music.lan:80\r\nConnection: close\r\n\r\n";
    let (status, head, _) = server.raw(request.as_bytes());
    assert_eq!(status, 200);
    for header in [
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'",
        "referrer-policy: no-referrer",
        "x-frame-options: DENY",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
}

/// What strangers try: the request, and the status that it must end in (0: the connection is closed).
fn hostile(host: &str, token: &str) -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let auth = format!("Authorization: Bearer {token}\r\n");
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").into_bytes()
    };
    let of = |name: &str| get("/api/v1/tracks", &format!("Host: {name}\r\n{auth}"));
    let own = format!("Host: {host}\r\n");
    let from = |origin: &str| get("/api/v1/tracks", &format!("{own}{auth}Origin: {origin}\r\n"));
    let post = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\n{own}{auth}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
            .into_bytes()
    };
    let json = "Content-Type: application/json\r\n";
    let one = r#"{"seeds":[{"id":1}]}"#;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!(r#"{{"seeds":[{}]}}"#, vec![r#"{"id":1}"#; 501].join(","));
    let large = format!(r#"{{"seeds":[{{"words":"{}"}}]}}"#, "a".repeat(10_000_000));
    let headers: String = (0..100).map(|i| format!("X-{i}: 1\r\n")).collect();
    let track = |path: &str| get(path, &format!("{own}{auth}"));
    vec![
        ("a name that begins like the loopback's", of("127.evil.com"), &[403]),
        ("a name that ends like localhost", of("evil.localhost"), &[403]),
        ("a name that begins like localhost", of("localhost.evil.com"), &[403]),
        ("an address in a name", of("127.0.0.1.nip.io"), &[403]),
        ("a short form of the address", of("127.1"), &[403]),
        ("the address as a number", of("2130706433"), &[403]),
        ("every address", of("0.0.0.0"), &[403]),
        ("a user before the host", of("127.0.0.1@evil.com"), &[400, 403]),
        ("no host", get("/api/v1/tracks", &auth), &[400]),
        ("no host, of an old client", format!("GET /api/v1/tracks HTTP/1.0\r\n{auth}\r\n").into_bytes(), &[400]),
        ("two hosts", get("/api/v1/tracks", &format!("{own}Host: evil.com\r\n{auth}")), &[400]),
        ("another host in the address", get("http://evil.com/api/v1/tracks", &format!("{own}{auth}")), &[400, 403]),
        ("a page of a stranger", from("http://evil.com"), &[403]),
        ("a page without an origin of its own", from("null"), &[403]),
        ("another port of this machine", from("http://127.0.0.1:1"), &[403]),
        ("a name that begins like the origin", from(&format!("http://{host}.evil.com")), &[403]),
        ("two origins", get("/api/v1/tracks", &format!("{own}{auth}Origin: http://{host}\r\nOrigin: http://evil.com\r\n")), &[403]),
        ("no token", get("/api/v1/tracks", &own), &[401]),
        ("an empty token", get("/api/v1/tracks", &format!("{own}Authorization: Bearer \r\n")), &[401, 429]),
        ("the wrong kind of token", get("/api/v1/tracks", &format!("{own}Authorization: Basic {token}\r\n")), &[401, 429]),
        ("half of the token", get("/api/v1/tracks", &format!("{own}Authorization: Bearer {}\r\n", &token[..32])), &[401, 429]),
        ("the token in the address", get(&format!("/api/v1/tracks?token={token}"), &own), &[401]),
        ("the token as a cookie", get("/api/v1/tracks", &format!("{own}Cookie: voisin={token}\r\n")), &[401, 429]),
        ("another method", format!("PUT /api/v1/tracks HTTP/1.1\r\n{own}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("a method of its own", format!("BREW /api/v1/tracks HTTP/1.1\r\n{own}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("TRACE", format!("TRACE /api/v1/tracks HTTP/1.1\r\n{own}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("CONNECT", format!("CONNECT evil.com:80 HTTP/1.1\r\n{own}{auth}Connection: close\r\n\r\n").into_bytes(), &[400, 403, 404, 405]),
        ("a form", post("/api/v1/similar", "Content-Type: text/plain\r\n", one), &[415]),
        ("another form", post("/api/v1/similar", "Content-Type: application/x-www-form-urlencoded\r\n", one), &[415]),
        ("a form with a file", post("/api/v1/files/similar", "Content-Type: multipart/form-data; boundary=x\r\n", one), &[415]),
        ("no type", post("/api/v1/similar", "", one), &[415]),
        ("no JSON", post("/api/v1/similar", json, "seeds=1"), &[400]),
        ("JSON of another encoding", post("/api/v1/similar", json, "\u{fffd}\u{0}"), &[400]),
        ("JSON without end", post("/api/v1/similar", json, r#"{"seeds":[{"id":1"#), &[400]),
        ("JSON 100 000 deep", post("/api/v1/similar", json, &deep), &[400]),
        ("an option that there is not", post("/api/v1/similar", json, r#"{"seeds":[{"id":1}],"sudo":true}"#), &[400]),
        ("no seeds", post("/api/v1/similar", json, r#"{"seeds":[]}"#), &[400]),
        ("too many seeds", post("/api/v1/similar", json, &many), &[400]),
        ("too long a list", post("/api/v1/similar", json, r#"{"seeds":[{"id":1}],"limit":1001}"#), &[400]),
        ("a number that is none", post("/api/v1/similar", json, r#"{"seeds":[{"id":1}],"min_similarity":1e999}"#), &[400]),
        ("an id beyond all numbers", post("/api/v1/similar", json, r#"{"seeds":[{"id":99999999999999999999}]}"#), &[400]),
        ("a file of the system", post("/api/v1/similar", json, r#"{"seeds":[{"path":"/etc/passwd"}]}"#), &[404]),
        ("a file as words", post("/api/v1/similar", json, r#"{"seeds":[{"words":"/etc/passwd"}]}"#), &[404]),
        ("a name with NUL", post("/api/v1/similar", json, r#"{"seeds":[{"path":"/m\u0000/x"}]}"#), &[404]),
        ("SQL", post("/api/v1/similar", json, r#"{"seeds":[{"words":"'; DROP TABLE audio; --"}]}"#), &[404]),
        ("a file of labels", post("/api/v1/classify", json, r#"{"tracks":[{"id":1}],"label_from":"/etc/passwd"}"#), &[400]),
        ("a body of 10 MB", post("/api/v1/similar", json, &large), &[413, 0]),
        ("a body just above 1 MiB", post("/api/v1/similar", json, &format!("{}{one}", " ".repeat(1 << 20))), &[413, 0]),
        ("a body that is compressed", post("/api/v1/similar", &format!("{json}Content-Encoding: gzip\r\n"), "\u{1f}\u{8b}\u{8}"), &[400]),
        ("a file of 300 MB that is said and not sent", format!("POST /api/v1/files/similar HTTP/1.1\r\n{own}{auth}Content-Type: audio/mpeg\r\nContent-Length: 300000000\r\nConnection: close\r\n\r\n").into_bytes(), &[413]),
        ("10 MB that are said and not sent", format!("POST /api/v1/similar HTTP/1.1\r\n{own}{auth}{json}Content-Length: 10000000\r\nConnection: close\r\n\r\n").into_bytes(), &[413]),
        ("a chunk of another length", format!("POST /api/v1/similar HTTP/1.1\r\n{own}{auth}{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n{one}\r\n").into_bytes(), &[400]),
        ("two lengths", format!("POST /api/v1/similar HTTP/1.1\r\n{own}{auth}{json}Content-Length: 20\r\nContent-Length: 5\r\n\r\n{one}").into_bytes(), &[400]),
        ("a length and chunks", format!("POST /api/v1/similar HTTP/1.1\r\n{own}{auth}{json}Content-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n").into_bytes(), &[400]),
        ("a path upwards", track("/api/v1/tracks/../../../etc/passwd"), &[404]),
        ("a path upwards, encoded", track("/api/v1/tracks/%2e%2e%2f%2e%2e%2fetc%2fpasswd/audio"), &[400, 404]),
        ("an id with NUL", track("/api/v1/tracks/1%00/audio"), &[400]),
        ("an id that is no text", track("/api/v1/tracks/%ff%fe/audio"), &[400]),
        ("an id that is no number", track("/api/v1/tracks/one"), &[400]),
        ("an id that is not there", track("/api/v1/tracks/999999/audio"), &[404]),
        ("a negative id", track("/api/v1/tracks/-1/audio"), &[404]),
        ("an address of 20 kB", track(&format!("/api/v1/tracks?query={}", "a".repeat(20_000))), &[414]),
        ("65 headers", get("/api/v1/health", &format!("{own}{}", &headers[..headers.find("X-63").unwrap_or(0)])), &[431]),
        ("100 headers", get("/api/v1/health", &format!("{own}{headers}")), &[431]),
        ("just too long an address", track(&format!("/api/v1/tracks?query={}", "a".repeat(8 * 1024 - 20))), &[414]),
        ("a header of 1 MB", get("/api/v1/health", &format!("{own}X-A: {}\r\n", "a".repeat(1_000_000))), &[431, 0]),
        ("a header in the address", track("/api/v1/tracks?query=%0d%0aSet-Cookie:%20voisin=1"), &[200]),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[0, 400]),
        ("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[0, 400, 403, 404, 405, 505]),
    ]
}

/// Lets this process, and the server that it starts, have a thousand connections.
#[cfg(unix)]
fn more_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[cfg(not(unix))]
fn more_connections() {}

#[test]
fn strangers_get_nothing_and_the_next_good_request_is_answered() {
    more_connections();
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let host = server.address.to_string();
    let good = || server.good("/api/v1/similar", &json!({"seeds": [{"id": 1}], "limit": 1}));
    let expected = good();
    for (what, request, allowed) in hostile(&host, &server.token) {
        let (status, head, body) = server.raw(&request);
        assert!(
            allowed.contains(&status),
            "{what}: expected {allowed:?}, found {status}\n{head}\n{}",
            text(&body)
        );
        assert!(!text(&body).contains("root:"), "{what}");
        assert!(!head.to_ascii_lowercase().contains("set-cookie"), "{what}");
        if status >= 400 && head.contains("application/problem+json") {
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert!(!problem["detail"].as_str().unwrap().is_empty(), "{what}: {problem}");
            assert!(!problem["next"].as_str().unwrap().is_empty(), "{what}: {problem}");
        }
        assert_eq!(good(), expected, "after: {what}");
    }

    // Wrong tokens: five tries, then a pause; the right one is answered all the same.
    let wrong = format!(
        "GET /api/v1/tracks HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer wrong\r\nConnection: close\r\n\r\n"
    );
    let last = (0..7).map(|_| server.raw(wrong.as_bytes())).fold(None, |_, answer| Some(answer)).unwrap();
    assert!(last.0 == 429 && last.1.contains("retry-after: "), "{}", last.1);
    assert_eq!(good(), expected);

    // Many connections that say nothing, and some that stop in the middle of a body.
    let idle: Vec<TcpStream> = (0..1000).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
    assert_eq!(idle.len(), 1000);
    assert_eq!(good(), expected, "beside 1000 idle connections");
    drop(idle);
    let begun = Instant::now();
    let mut unfinished: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = server.connect();
            let head = format!(
                "POST /api/v1/similar HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
                server.token
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(good(), expected, "beside unfinished bodies");
    // A head that arrives a byte at a time is not waited for longer than ten seconds.
    let mut slow = server.connect();
    let start = Instant::now();
    let mut ended = false;
    for byte in b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n".iter().cycle() {
        if slow.write_all(&[*byte]).is_err() || start.elapsed() > Duration::from_secs(20) {
            ended = start.elapsed() <= Duration::from_secs(20);
            break;
        }
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(ended, "a slow head keeps its connection");
    assert_eq!(good(), expected, "after a slow head");
    // Nor a body longer than thirty.
    let (status, head, _) = read_answer(&mut unfinished[0]);
    assert!(status == 503 && head.contains("retry-after: "), "{status} {head}");
    assert!((25..36).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    drop(unfinished);
    let said = server.said.lock().unwrap().clone();
    assert!(!said.contains(&server.token), "no token in what it says");
}
