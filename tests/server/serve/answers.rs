//! Answers: equal to those of the command line, in pages, under the names that players use.

use std::fs;

use serde_json::{Value, json};

use crate::common::server::{Server, small_library, some_albums};
use crate::common::{DEMO, Sandbox, code, fine, fine_json, noise_wav, text};

/// An answer without the generation, which the command line does not have.
fn plain(mut answer: Value) -> Value {
    let generation = answer.as_object_mut().unwrap().remove("generation");
    assert!(generation.is_some_and(|generation| generation.as_u64().unwrap() > 0));
    answer
}

/// A list without the fields of pages, which must be complete on this page.
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
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let cli = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        let mut answer = fine_json(sandbox.run(all));
        // the test's reader unwraps a list from its envelope
        match answer.as_object_mut() {
            Some(fields) => {
                fields.remove("version");
                answer
            }
            None => json!({ "items": answer }),
        }
    };
    for (question, arguments) in [
        (
            json!({"seeds": [{"words": "chaos god"}]}),
            vec!["similar", "chaos god"],
        ),
        (
            json!({"seeds": [{"id": 1}, {"id": 2}], "limit": 2}),
            vec!["similar", "id:1", "id:2", "--limit", "2"],
        ),
        (
            json!({"seeds": [{"id": 3}], "unlike": [{"id": 1}], "unlike_weight": 0.25, "search": "exact"}),
            vec![
                "similar",
                "id:3",
                "--unlike",
                "id:1",
                "--unlike-weight",
                "0.25",
                "--exact",
            ],
        ),
        (
            json!({"seeds": [{"id": 1}], "filters": {"genre": ["METAL"]}, "include_seed": true}),
            vec!["similar", "id:1", "--genre", "metal", "--include-seed"],
        ),
        (
            json!({"seeds": [{"words": "chaos god"}], "from": 2.0, "to": 8.0, "limit": 2}),
            vec![
                "similar",
                "chaos god",
                "--from",
                "2",
                "--to",
                "8",
                "--limit",
                "2",
            ],
        ),
    ] {
        assert_eq!(
            plain(server.good("/api/v1/similar", &question)),
            cli(&arguments),
            "{question}"
        );
    }
    // Every filter means the same as on the command line, in every request.
    let metal = music.join("metal");
    let metal = metal.to_str().unwrap();
    for (filters, arguments) in [
        (
            json!({"exclude_genre": ["metal"]}),
            vec!["--exclude-genre", "metal"],
        ),
        (json!({"artist": ["muld"]}), vec!["--artist", "muld"]),
        (
            json!({"exclude_artist": ["Muldjord"]}),
            vec!["--exclude-artist", "muldjord"],
        ),
        (
            json!({"exclude_folder": [metal]}),
            vec!["--exclude-folder", metal],
        ),
        (
            json!({"regex": ["artist:^Muld"]}),
            vec!["--regex", "artist:^Muld"],
        ),
        (json!({"bpm": "60-90"}), vec!["--bpm", "60-90"]),
        (
            json!({"bpm": "60-90", "bpm_exact": true}),
            vec!["--bpm", "60-90", "--bpm-exact"],
        ),
        (json!({"key": ["compatible"]}), vec!["--key", "compatible"]),
        (json!({"key": ["8A", "C,Am"]}), vec!["--key", "8A,C,Am"]),
        (json!({"loudness": "-16.."}), vec!["--loudness", "-16.."]),
        (json!({"licence": ["cc"]}), vec!["--licence", "cc"]),
        (json!({"tag": ["guitar:50"]}), vec!["--tag", "guitar:50"]),
        (json!({"not_tag": ["guitar"]}), vec!["--not-tag", "guitar"]),
        (
            json!({"year": "1990-", "min_duration": 1.0}),
            vec!["--year", "1990-", "--min-duration", "1"],
        ),
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
    for (filters, status, reason) in [
        (
            json!({"bpm": "fast"}),
            400,
            "filters.bpm: expected a tempo or a span such as",
        ),
        (json!({"key": ["H#"]}), 400, "filters.key: expected a key"),
        (
            json!({"tag": ["metal", "guitar:200"]}),
            400,
            "filters.tag[1]: expected a percentile",
        ),
        (
            json!({"min_duration": "long"}),
            400,
            "filters.min_duration: expected a number, found \"long\"",
        ),
        (
            json!({"genre": "metal"}),
            400,
            "filters.genre: expected a list, found \"metal\"",
        ),
        (
            json!({"mood": ["calm"]}),
            400,
            "filters: expected a field of genre, ",
        ),
        (json!({"tag": ["nonsense"]}), 404, "nonsense"),
        (json!({"artist": ["Nina Simone"]}), 404, "no artist"),
        (
            json!({"year": "1999-1990"}),
            400,
            "a span that begins before it ends, such as 1990-1999",
        ),
    ] {
        let (found, problem) = server.post(
            "/api/v1/similar",
            &json!({"seeds": [{"id": 1}], "filters": filters}),
        );
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            found == status && detail.contains(reason),
            "{filters}: {found} {problem}"
        );
    }
    let found = plain(
        server.good_get("/api/v1/find?query=loud%20guitar%2C%20no%20voice&genre=metal&limit=2"),
    );
    assert_eq!(
        found,
        cli(&[
            "find",
            "loud guitar, no voice",
            "--genre",
            "metal",
            "--limit",
            "2"
        ])
    );
    assert_eq!(server.get("/api/v1/find?query=xyzzy").0, 404);
    {
        let path = "words";
        let (status, problem) = server.get(&format!("/api/v1/{path}?limit=1"));
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            status == 400 && detail.contains("found \"limit\""),
            "{path}: {status} {problem}"
        );
    }
    let words = server.good_get("/api/v1/words");
    assert!(
        words["words"]
            .as_array()
            .unwrap()
            .iter()
            .any(|word| word["word"] == "guitar"),
        "{words}"
    );
    let answer = server.good("/api/v1/classify", &json!({"tracks": [{"id": 1}]}));
    assert_eq!(answer["items"], cli(&["classify", "id:1"])["items"]);
    assert!(
        !answer["notes"].as_array().unwrap().is_empty(),
        "the source is named"
    );
    let walk = server.good(
        "/api/v1/path",
        &json!({"from": {"id": 1}, "to": {"id": 5}, "steps": 3}),
    );
    assert_eq!(plain(walk), cli(&["path", "id:1", "id:5", "--steps", "3"]));
    let list = server.good(
        "/api/v1/playlist",
        &json!({"seeds": [{"id": 1}], "limit": 4, "diversity": 0.5}),
    );
    assert_eq!(
        list["items"],
        cli(&["playlist", "id:1", "--limit", "4", "--diversity", "0.5"])["items"]
    );
    let list = server.good(
        "/api/v1/playlist",
        &json!({"filters": {"genre": ["metal"]}, "limit": 3, "max_bpm_step": 200.0, "keep_duplicates": true}),
    );
    let expected = [
        "playlist",
        "--genre",
        "metal",
        "--limit",
        "3",
        "--max-bpm-step",
        "200",
        "--keep-duplicates",
    ];
    assert_eq!(list["items"], cli(&expected)["items"]);
    let (status, _) = server.post(
        "/api/v1/playlist",
        &json!({"seeds": [{"id": 1}], "shuffle": true, "harmonic": true}),
    );
    assert_eq!(status, 400);
    assert_eq!(whole(server.good_get("/api/v1/genres")), cli(&["genres"]));
    assert_eq!(
        whole(server.good_get("/api/v1/clusters"))["clusters"],
        cli(&["clusters"])["clusters"]
    );
    assert_eq!(
        whole(server.good_get("/api/v1/suspects?all=true")),
        cli(&["suspects", "--all"])
    );
    assert_eq!(
        whole(server.good_get("/api/v1/duplicates")),
        json!({"items": []})
    );
    assert_eq!(
        whole(server.good_get("/api/v1/failed")),
        json!({"items": []})
    );
    let map = server.good_get("/api/v1/map");
    assert_eq!(map["tracks"].as_array().unwrap().len(), 6);
    for (query, arguments) in [
        ("genre=metal&words=true", vec!["list", "--genre", "metal"]),
        (
            "sort=bpm&reverse=true&words=true",
            vec!["list", "--sort", "bpm", "--reverse"],
        ),
        (
            "not_tag=guitar&words=true",
            vec!["list", "--not-tag", "guitar"],
        ),
    ] {
        let mut page = plain(server.good_get(&format!("/api/v1/tracks?{query}")));
        assert_eq!(
            page.as_object_mut().unwrap().remove("next"),
            Some(Value::Null)
        );
        assert_eq!(page, cli(&arguments), "{query}");
    }
    let status = server.good_get("/api/v1/status");
    assert_eq!(plain(status), cli(&["status"]));

    // A query for a file outside the library sends its bytes.
    let file = format!("{DEMO}/held-out/sectoid-war-of-freedom.mp3");
    let bytes = fs::read(&file).unwrap();
    let kind = "Content-Type: audio/mpeg\r\n";
    let (status, _, body) = server.send(
        "POST",
        "/api/v1/files/similar?limit=3&genre=Metal",
        kind,
        &bytes,
    );
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let expected = cli(&["similar", &file, "--limit", "3", "--genre", "Metal"]);
    assert_eq!(answer["neighbours"], expected["neighbours"]);
    assert_eq!(answer["seeds"], json!([{"id": null, "path": "(uploaded)"}]));
    let part = "/api/v1/files/similar?from=2&to=8&limit=2";
    let (status, _, body) = server.send("POST", part, kind, &bytes);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let expected = cli(&["similar", &file, "--from", "2", "--to", "8", "--limit", "2"]);
    assert_eq!(answer["neighbours"], expected["neighbours"]);
    assert_eq!(answer["seeds"], json!([{"id": null, "path": "(uploaded)"}]));
    let (status, _, body) = server.send("POST", "/api/v1/files/similar?from=2", kind, &bytes);
    assert!(
        status == 400 && text(&body).contains("to: expected a time"),
        "{}",
        text(&body)
    );
    let (status, _, body) = server.send("POST", "/api/v1/files/classify", kind, &bytes);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let expected = cli(&["classify", &file]);
    assert_eq!(answer["items"][0]["votes"], expected["items"][0]["votes"]);
    for question in ["similar", "similar?from=2&to=8", "classify"] {
        let address = format!("/api/v1/files/{question}");
        for (bytes, expected) in [
            (&b"this is not music"[..], "(uploaded): not an audio file"),
            (&noise_wav(16_000, 0.1, 1), "(uploaded): 0."),
        ] {
            let (status, _, body) = server.send("POST", &address, kind, bytes);
            let answer: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(status, 422, "{answer}");
            assert!(
                answer["detail"].as_str().unwrap().starts_with(expected),
                "{question}: {answer}"
            );
        }
    }
}

#[test]
fn too_few_labels_leave_the_first_guess() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let table = sandbox.path("labels.csv");
    let labelled = music.join("metal/muldjord-chaos-god.mp3");
    fs::write(
        &table,
        format!("path,genre\n{},Zeuhl\n", labelled.display()),
    )
    .unwrap();
    fine(sandbox.run(["labels", table.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    let lacking = "found 1 labelled track of 1 genre, expected at least 4 of 2 genres";
    let request = json!({"tracks": [{"id": 1}, {"id": 4}, {"id": 5}]});
    let answer = server.good("/api/v1/classify", &request);
    assert!(
        answer["notes"][0].as_str().unwrap().contains(lacking),
        "{answer}"
    );
    for item in answer["items"].as_array().unwrap() {
        assert_eq!(
            (&item["source"], &item["labelled_tracks"]),
            (&json!("first_guess"), &json!(1)),
            "{item}"
        );
        assert!(
            item["best"].is_string() && item["best"] != "Zeuhl",
            "{item}"
        );
        let summary = item["summary"].as_str().unwrap();
        let guessed = "a first guess, with 1 labelled track of 1 genre";
        assert!(summary.contains(guessed), "{item}");
    }
    let (status, refused) = server.post(
        "/api/v1/classify",
        &json!({"tracks": [{"id": 1}], "neighbours": 3}),
    );
    assert_eq!(status, 409, "{refused}");
    assert!(refused.to_string().contains(lacking), "{refused}");
    let map = server.good_get("/api/v1/map");
    let genres: Vec<&Value> = map["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| &track["genre"])
        .collect();
    assert_eq!(
        genres.iter().filter(|genre| genre.is_string()).count(),
        1,
        "the label, and no prediction: {map}"
    );
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
    let found = server.good_get("/api/v1/tracks?query=muldjord&limit=1");
    assert_eq!(found["tracks"].as_array().unwrap().len(), 1);
    let rest = server.good_get(&format!(
        "/api/v1/tracks?query=muldjord&limit=5&after={}",
        found["next"]
    ));
    assert_eq!(
        (rest["tracks"].as_array().unwrap().len(), &rest["next"]),
        (1, &Value::Null)
    );
    let ambient = server.good_get("/api/v1/tracks?genre=ambient");
    assert_eq!(ambient["tracks"].as_array().unwrap().len(), 3);
    let (status, problem) = server.get("/api/v1/tracks?genre=polka");
    assert!(
        status == 404
            && problem["detail"]
                .as_str()
                .unwrap()
                .contains("there are Ambient, Metal")
    );
    for track in server.good_get("/api/v1/tracks")["tracks"]
        .as_array()
        .unwrap()
    {
        let one = server.good_get(&format!("/api/v1/tracks/{}", track["id"]));
        for (name, value) in track.as_object().unwrap() {
            assert_eq!(one[name], *value, "{name}");
        }
        // The card of `show`.
        assert_eq!(one["places"][0]["state"], "there", "{one}");
        assert!(one["nearest"][0]["id"] != track["id"], "{one}");
        assert!(one["predicted"]["summary"].is_string(), "{one}");
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
        assert!(
            head.contains(&format!("content-type: {kind}\r\n")),
            "{head}"
        );
        let (status, head, body) = server.send("GET", &audio, "Range: bytes=100-199\r\n", b"");
        assert!(status == 206 && body == whole[100..200], "{head}");
        assert!(
            head.contains(&format!("content-range: bytes 100-199/{}", whole.len())),
            "{head}"
        );
        let (status, _, body) = server.send("GET", &audio, "Range: bytes=-10\r\n", b"");
        assert!(status == 206 && body == whole[whole.len() - 10..]);
        let (status, head, _) = server.send("GET", &audio, "Range: bytes=99999999-\r\n", b"");
        assert!(
            status == 416 && head.contains(&format!("content-range: bytes */{}", whole.len())),
            "{head}"
        );
    }
    fs::remove_file(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    let id = &server.good_get("/api/v1/tracks?query=chaos%20god")["tracks"][0]["id"];
    let (status, problem) = server.get(&format!("/api/v1/tracks/{id}/audio"));
    assert_eq!((status, problem["status"].as_u64()), (404, Some(404)));
    assert!(problem["next"].as_str().unwrap().contains("put it back"));
}

/// All tracks of a list in clusters and out of them.
fn members(answer: &Value) -> Vec<Value> {
    let clusters = answer["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cluster| &cluster["members"]);
    clusters
        .chain([&answer["noise"]])
        .flat_map(|some| some.as_array().unwrap().clone())
        .collect()
}

#[test]
fn artists_and_albums_are_those_of_the_command_line() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    some_albums(&music);
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    let cli = |arguments: &[&str]| json!({"items": fine_json(sandbox.run([arguments, &["--format", "json"]].concat()))});
    for (makers, name) in [("artists", "muldjord"), ("albums", "hits")] {
        let all = whole(server.good_get(&format!("/api/v1/{makers}")));
        assert_eq!(all, cli(&[makers]));
        assert!(all["items"].as_array().unwrap().len() > 2, "{all}");
        let near = whole(server.good_get(&format!("/api/v1/{makers}?name={name}")));
        assert!(
            near["items"][0]["because"][0]["own"]["id"].is_u64(),
            "{near}"
        );
        assert_eq!(near, cli(&[makers, name]));
        for unknown in ["polka", ""] {
            let (status, problem) = server.get(&format!("/api/v1/{makers}?name={unknown}"));
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                status == 404 && detail.contains(&format!("\"voisin {makers}\" lists all")),
                "{problem}"
            );
        }
    }
}

#[test]
fn long_lists_come_in_pages_that_fit_together() {
    type Read = Box<dyn Fn(&Value) -> Vec<Value>>;
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    for (from, to) in [
        ("metal/muldjord-chaos-god.mp3", "copy.mp3"),
        ("metal/muldjord-armygeddon.m4a", "copy.m4a"),
    ] {
        fs::copy(music.join(from), music.join(to)).unwrap();
    }
    for name in ["broken.mp3", "empty.flac"] {
        fs::write(
            music.join(name),
            &b"this is no music"[..16 * usize::from(name.starts_with('b'))],
        )
        .unwrap();
    }
    some_albums(&music);
    assert_eq!(code(&sandbox.run(["add", music.to_str().unwrap()])), 1);
    let server = Server::start(&sandbox, &[]);
    let failed = whole(server.good_get("/api/v1/failed"));
    assert!(
        failed["items"][0]["path"]
            .as_str()
            .unwrap()
            .ends_with("broken.mp3"),
        "{failed}"
    );
    let output = sandbox.run(["failed", "--format", "json"]);
    let mut listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    listed.as_object_mut().unwrap().remove("version");
    assert_eq!(failed, listed);
    server.good(
        "/api/v1/labels",
        &json!({"tracks": [1, 2, 4], "genre": "Jazz"}),
    );
    let field = |name: &'static str| {
        move |answer: &Value| -> Vec<Value> { answer[name].as_array().unwrap().clone() }
    };
    let lists: [(&str, &str, Read); 11] = [
        ("genres", "", Box::new(field("genres"))),
        ("genres", "", Box::new(field("distance"))),
        ("clusters", "", Box::new(members)),
        ("clusters", "&clusters=2", Box::new(members)),
        ("map", "", Box::new(field("tracks"))),
        ("suspects", "&all=true", Box::new(field("items"))),
        ("duplicates", "&rough=true", Box::new(field("items"))),
        ("failed", "", Box::new(field("items"))),
        ("artists", "", Box::new(field("items"))),
        ("albums", "", Box::new(field("items"))),
        ("labels", "", Box::new(field("by_hand"))),
    ];
    for (name, options, read) in &lists {
        let ask = |limit: usize, more: &str| {
            server.get(&format!("/api/v1/{name}?limit={limit}{options}{more}"))
        };
        let (status, all) = ask(1000, "");
        assert_eq!((status, &all["next"]), (200, &Value::Null), "{name}: {all}");
        let expected = read(&all);
        assert!(expected.len() > 1, "{name}: a list to be cut: {all}");
        assert_eq!(all["total"], expected.len(), "{name}");
        for limit in [1, 2, expected.len()] {
            let mut seen = Vec::new();
            let mut more = String::new();
            loop {
                let (status, page) = ask(limit, &more);
                assert_eq!(status, 200, "{name}{more}: {page}");
                assert_eq!(
                    (&page["total"], &page["generation"]),
                    (&all["total"], &all["generation"])
                );
                assert!(
                    (1..=limit).contains(&read(&page).len()),
                    "{name}{more}: {page}"
                );
                seen.extend(read(&page));
                if page["next"].is_null() {
                    break;
                }
                more = format!("&after={}", page["next"]);
            }
            assert_eq!(seen, expected, "{name}, {limit} at a time");
        }
        let (status, problem) = ask(10, "&after=999");
        assert!(
            status == 404 && problem["next"].as_str().unwrap().contains("after"),
            "{name}: {problem}"
        );
        for wrong in [
            ask(0, ""),
            ask(1001, ""),
            ask(1, "&after=x"),
            ask(1, "&after=1&after=2"),
        ] {
            assert_eq!(wrong.0, 400, "{name}: {}", wrong.1);
        }
    }
    // Every page lists all clusters.
    let first = server.good_get("/api/v1/clusters?limit=1");
    let all = server.good_get("/api/v1/clusters");
    let described = |answer: &Value| -> Vec<Value> {
        let clusters = answer["clusters"].as_array().unwrap().iter();
        clusters
            .map(|cluster| json!([cluster["id"], cluster["tracks"], cluster["medoid"]]))
            .collect()
    };
    assert_eq!(described(&first), described(&all));

    // Further pages are of the old state; a new list is of the current one.
    let first = server.good_get("/api/v1/map?limit=4");
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let rest = server.good_get(&format!("/api/v1/map?limit=4&after={}", first["next"]));
    assert_eq!(
        (&rest["generation"], &rest["total"]),
        (&first["generation"], &json!(10))
    );
    let now = server.good_get("/api/v1/map");
    assert_eq!(now["total"], 11);
    assert!(now["generation"].as_u64() > first["generation"].as_u64());
    let rest = server.good_get(&format!("/api/v1/map?limit=4&after={}", first["next"]));
    assert_eq!(
        (&rest["generation"], &rest["total"]),
        (&now["generation"], &json!(11))
    );
}

#[test]
fn the_page_is_served_without_a_token_and_its_queries_answered() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--base-path", "/music"]);
    let plain_get = |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.address
        );
        server.raw(request.as_bytes())
    };
    let (status, head, _) = plain_get("/music");
    assert!(
        status == 308 && head.contains("location: /music/\r\n"),
        "{head}"
    );
    let (status, head, body) = plain_get("/music/");
    let page = text(&body);
    assert!(
        status == 200 && head.contains("content-type: text/html; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(
        head.contains("content-security-policy: default-src 'none'; script-src 'self';"),
        "{head}"
    );
    assert!(!head.contains("unsafe"), "{head}");
    for address in page
        .split("=\"page/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
    {
        let (status, head, body) = plain_get(&format!("/music/page/{address}"));
        assert!(status == 200 && !body.is_empty(), "{address}: {head}");
        // An address with the version in it is never revalidated.
        let is_kept = head.contains("cache-control: public, max-age=31536000, immutable");
        assert_eq!(is_kept, address.contains('/'), "{address}: {head}");
    }
    assert!(page.matches("rel=\"modulepreload\"").count() > 20, "{page}");
    for wrong in [
        "/",
        "/music/page/",
        "/music/page/mod.rs",
        "/music/page/..%2fmod.rs",
        "/music/page/nothing.js",
        "/music/page/0123456789abcdef/nothing.js",
    ] {
        assert_eq!(plain_get(wrong).0, 404, "{wrong}");
    }
    assert_eq!(plain_get("/music/api/v1/labels").0, 401);

    // A file without a picture has none; lists are those of the command line.
    let (status, _, body) = server.send("GET", "/music/api/v1/tracks/1/cover", "", b"");
    assert_eq!((status, body.len()), (204, 0));
    assert_eq!(
        server
            .send("GET", "/music/api/v1/tracks/99/cover", "", b"")
            .0,
        404
    );
    let kind = "Content-Type: application/json\r\n";
    let question = json!({"tracks": [2, 1], "title": "two"}).to_string();
    let (status, head, list) =
        server.send("POST", "/music/api/v1/lists", kind, question.as_bytes());
    assert!(
        status == 200 && head.contains("content-type: audio/x-mpegurl"),
        "{head}"
    );
    let paths =
        [2, 1].map(|id| server.good_get(&format!("/music/api/v1/tracks/{id}"))["path"].clone());
    let written: Vec<Value> = text(&list)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| json!(line))
        .collect();
    assert_eq!(written, paths);

    // Labels are those of `voisin labels`, and can be removed one by one.
    let labels = |genre: Value| {
        server.post(
            "/music/api/v1/labels",
            &json!({"tracks": [1, 2], "genre": genre}),
        )
    };
    assert_eq!(labels(json!("Jazz")).1["changed"], 2);
    assert_eq!(labels(json!("Jazz")).1["changed"], 0);
    let by_hand = server.good_get("/music/api/v1/labels");
    assert_eq!(
        (
            &by_hand["source"],
            by_hand["by_hand"].as_array().unwrap().len()
        ),
        (&json!("tags"), 2)
    );
    assert_eq!(by_hand["by_hand"][1]["genre"], "Jazz");
    assert_eq!(
        fine_json(sandbox.run(["labels", "--format", "json"]))["by_hand"],
        2
    );
    for wrong in [json!(""), json!("x".repeat(300)), json!(17)] {
        assert_eq!(labels(wrong).0, 400);
    }
    assert_eq!(
        server
            .post(
                "/music/api/v1/labels",
                &json!({"tracks": [99], "genre": "Jazz"})
            )
            .0,
        404
    );

    // Written into files only on request, and undone.
    let write = |more: Value| {
        let mut question = json!({"tracks": [1, 2, 3]});
        question
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.good("/music/api/v1/labels/write", &question)
    };
    let files = || {
        paths
            .clone()
            .map(|path| fs::read(path.as_str().unwrap()).unwrap())
    };
    let before = files();
    let would = write(json!({}));
    assert_eq!(
        (&would["run"], would["items"].as_array().unwrap().len()),
        (&Value::Null, 2)
    );
    // Into WAV nothing is written.
    assert_eq!(would["items"][0]["outcome"], "failed");
    assert_eq!(would["items"][1]["outcome"], "would_write");
    assert!(files() == before, "a dry run changes nothing");
    let done = write(json!({"dry_run": false}));
    assert_eq!(
        (&done["items"][1]["outcome"], &done["items"][1]["after"]),
        (&json!("written"), &json!(["Jazz"]))
    );
    assert!(files() != before);
    let again = write(json!({"dry_run": false, "run": done["run"]}));
    assert_eq!(
        (&again["items"][1]["outcome"], &again["run"]),
        (&json!("unchanged"), &done["run"])
    );
    fine(sandbox.run(["undo", &done["run"].to_string()]));
    let genres = fine_json(sandbox.run(["labels", "--format", "json"]));
    assert_eq!(genres["by_hand"], 2, "labels stay where files go back");

    let undone = server.good("/music/api/v1/labels/undo", &json!({}));
    assert_eq!(
        (&undone["before"], &undone["after"]),
        (&json!("Jazz"), &Value::Null)
    );
    server.good("/music/api/v1/labels/undo", &json!({}));
    assert_eq!(server.post("/music/api/v1/labels/undo", &json!({})).0, 409);
    assert_eq!(
        server.good_get("/music/api/v1/labels")["by_hand"],
        json!([])
    );
}
