//! Navidrome's plugin, and references to songs.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::lyrion::tagged_wav;
use super::mixes::library_of_one_artist;
use super::{answered, skipped};
use crate::common::server::{Server, small_library};
use crate::common::{DEMO, Sandbox, code, fine, text};

/// The plugin, and a Python that runs it; `None`, with a message, where one of them is missing.
fn plugin_and_python() -> Option<(PathBuf, String)> {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/navidrome/target/voisin.ndp");
    let python = std::env::var("VOISIN_PLAYERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import extism"]).output();
    if !has.is_ok_and(|output| output.status.success()) || !plugin.is_file() {
        skipped("extism, or the plugin (plugins/navidrome/build)");
        return None;
    }
    Some((plugin, python))
}

#[test]
fn navidromes_plugin_queries_a_running_server() {
    let Some((plugin, python)) = plugin_and_python() else {
        return;
    };
    assert!(fs::metadata(&plugin).unwrap().len() < 300_000);
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    fs::write(
        music.join("accents.wav"),
        tagged_wav(7, "Ólafía — \"Ljós\"", "Sigur Rós", "Ágætis", "Ambient"),
    )
    .unwrap();
    // The same recording twice: copies are no neighbours.
    fs::copy(
        music.join("metal/muldjord-chaos-god.mp3"),
        music.join("copy.mp3"),
    )
    .unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/server/players/navidrome.py"
    );
    let call = |url: &str, token: &str, calls: Value| -> Vec<Value> {
        answered(
            Command::new(&python).args([script, plugin.to_str().unwrap(), url, token]),
            &calls,
        )
    };
    let url = format!("http://{}", server.address);
    let chaos = json!({
        "id": "nd-1", "name": "Chaos God", "artists": [{"id": "a", "name": "Muldjord"}], "artist": "Muldjord",
        "album": "", "durationMs": 14_000
    });
    let nebula = json!({"id": "nd-2", "name": "Nebula", "artists": [{"name": "Maxstack"}]});
    let answers = call(
        &url,
        &server.token,
        json!([
            ["nd_get_sonic_similar_tracks", {"song": chaos, "count": 3}],
            ["nd_find_sonic_path", {"startSong": chaos, "endSong": nebula, "count": 4}],
            ["nd_get_similar_songs_by_track", {"id": "nd-1", "name": "chaos god", "artist": "MULDJORD", "count": 2}],
            ["nd_get_similar_songs_by_album", {"id": "x", "name": "agætis", "artist": "sigur ros", "count": 2}],
            ["nd_get_similar_songs_by_artist", {"id": "x", "name": "muldjord", "count": 2}],
            ["nd_get_similar_artists", {"id": "x", "name": "Muldjord", "limit": 2}],
            ["nd_get_similar_songs_by_track", {"id": "x", "name": "olafia ljos", "artist": "Sigur Ros", "count": 1}],
            ["nd_get_sonic_similar_tracks", {"song": {"name": "Not there", "artists": [{"name": "Nobody"}]}, "count": 3}],
            ["nd_get_similar_artists", {"id": "x", "name": "Nobody", "limit": 2}],
            ["nd_get_similar_songs_by_artist", {"id": "x", "name": "Nobody", "count": 2}],
        ]),
    );
    let known: Value = serde_json::from_slice(
        &sandbox
            .run(["similar", "id:1", "--limit", "3", "--format", "json"])
            .stdout,
    )
    .unwrap();
    assert!(known["seeds"][0]["path"].as_str().is_some());
    let matches = answers[0]["answer"]["matches"].as_array().unwrap();
    assert_eq!(matches.len(), 3, "{}", answers[0]);
    for found in matches {
        assert!(
            found["song"]["name"].is_string() && found["song"]["durationMs"].is_number(),
            "{found}"
        );
        assert_ne!(found["song"]["name"], "Chaos God", "a copy is no neighbour");
        assert!((0.0..=1.0).contains(&found["similarity"].as_f64().unwrap()));
        assert!(found["song"].get("path").is_none() && found["song"].get("id").is_none());
    }
    let walk = answers[1]["answer"]["matches"].as_array().unwrap();
    assert_eq!(
        (
            &walk[0]["song"]["name"],
            &walk[walk.len() - 1]["song"]["name"]
        ),
        (&json!("Chaos God"), &json!("Nebula"))
    );
    let ids: Vec<Option<&str>> = walk
        .iter()
        .map(|found| found["song"]["id"].as_str())
        .collect();
    let inner = vec![None; walk.len() - 2];
    assert_eq!(
        ids,
        [vec![Some("nd-1")], inner, vec![Some("nd-2")]].concat(),
        "the ends keep theirs"
    );
    assert_eq!(
        answers[2]["answer"]["songs"][0]["name"],
        matches[0]["song"]["name"]
    );
    assert_eq!(
        answers[3]["answer"]["songs"].as_array().unwrap().len(),
        2,
        "{}",
        answers[3]
    );
    let of_artist = answers[4]["answer"]["songs"].as_array().unwrap();
    assert!(
        of_artist.iter().all(|song| song["artist"] != "Muldjord"),
        "{}",
        answers[4]
    );
    assert_eq!(
        answers[5]["answer"]["artists"][0],
        json!({"name": "Obsidian Shell"})
    );
    assert_eq!(
        answers[6]["answer"]["songs"].as_array().unwrap().len(),
        1,
        "{}",
        answers[6]
    );
    assert_eq!(
        answers[7]["answer"],
        json!({"matches": []}),
        "an unknown song is no error"
    );
    assert_eq!(answers[8]["answer"], json!({"artists": []}));
    assert_eq!(answers[9]["answer"], json!({"songs": []}));
    for answer in &answers {
        assert!(answer["seconds"].as_f64().unwrap() < 2.5, "{answer}");
    }
    let question = json!([["nd_get_sonic_similar_tracks", {"song": chaos, "count": 3}]]);
    let refused = call(
        &url,
        "0000000000000000000000000000000000000000",
        question.clone(),
    );
    assert!(
        refused[0]["error"].as_str().unwrap().contains("401"),
        "{}",
        refused[0]
    );
    assert!(
        !refused[0].to_string().contains("00000000000000000000"),
        "no token in an error"
    );
    let down = call("http://127.0.0.1:1", &server.token, question.clone());
    assert!(
        down[0]["error"]
            .as_str()
            .unwrap()
            .contains("does not answer"),
        "{}",
        down[0]
    );
    // A server that accepts the request and never answers: an error within two seconds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = call(
        &format!("http://{}", silent.local_addr().unwrap()),
        &server.token,
        question.clone(),
    );
    assert!(
        slow[0]["error"].is_string() && slow[0]["seconds"].as_f64().unwrap() < 3.5,
        "{}",
        slow[0]
    );
    let unset = call("", "", question);
    assert!(
        unset[0]["error"].as_str().unwrap().contains("setting"),
        "{}",
        unset[0]
    );
}

#[test]
fn the_form_of_navidromes_plugin_describes_its_mixes() {
    let Some((plugin, python)) = plugin_and_python() else {
        return;
    };
    let sandbox = Sandbox::new();
    library_of_one_artist(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/server/players/navidrome.py"
    );
    let url = format!("http://{}", server.address);
    let ask = |settings: &[&str]| -> Value {
        let question = json!([["nd_get_similar_songs_by_track", {"id": "x", "name": "Song 1", "artist": "Ann", "count": 12}]]);
        let mut command = Command::new(&python);
        command
            .args([script, plugin.to_str().unwrap(), &url, &server.token])
            .args(settings);
        answered::<Vec<Value>>(&mut command, &question).remove(0)
    };
    let by_ann = |settings: &[&str]| {
        let answer = ask(settings);
        let songs = answer["answer"]["songs"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"))
            .clone();
        songs
            .iter()
            .filter(|song| {
                song["artist"]
                    .as_str()
                    .unwrap()
                    .to_lowercase()
                    .starts_with("ann")
            })
            .count()
    };
    assert_eq!(by_ann(&[]), 3);
    assert_eq!(
        by_ann(&[
            "max_per_artist=1",
            "near_only=false",
            "variety=",
            "taste=nonsense"
        ]),
        1
    );
    assert_eq!(by_ann(&["max_per_artist=0"]), 5);
    let refused = ask(&["variety=7"]);
    assert!(
        refused["error"].as_str().unwrap().contains("0 to 1"),
        "{refused}"
    );
}

#[test]
fn a_base_path_precedes_every_route() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--base-path", "/voisin"]);
    assert_eq!(server.get("/voisin/api/v1/health").0, 200);
    assert_eq!(server.good_get("/voisin/api/v1/tracks")["total"], 6);
    let found = server.good(
        "/voisin/api/v1/similar",
        &json!({"seeds": [{"id": 1}], "limit": 1}),
    );
    assert_eq!(found["neighbours"].as_array().unwrap().len(), 1);
    let description = server.good_get("/voisin/api/v1/openapi.json");
    assert_eq!(description["servers"][0]["url"], "/voisin/api/v1");
    for path in [
        "/api/v1/tracks",
        "/api/v1/health",
        "/voisinapi/v1/tracks",
        "/voisin/voisin/api/v1/tracks",
    ] {
        assert_eq!(server.get(path).0, 404, "{path}");
    }
    let without = format!(
        "GET /voisin/api/v1/tracks HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    assert_eq!(
        server.raw(without.as_bytes()).0,
        401,
        "the token is required there too"
    );
    let body = json!({"token": server.token}).to_string();
    let (status, head, _) = server.send(
        "POST",
        "/voisin/api/v1/session",
        "Content-Type: application/json\r\n",
        body.as_bytes(),
    );
    assert!(status == 204 && head.contains("Path=/voisin"), "{head}");
    for wrong in ["voisin", "/a b", "/../x", "//"] {
        let refused = sandbox.run(["serve", "--base-path", wrong, "--show-token"]);
        assert_eq!(
            code(&refused) == 2,
            wrong != "//",
            "{wrong}: {}",
            text(&refused.stderr)
        );
    }
}

#[test]
fn songs_are_found_by_their_codes_first() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    // A FLAC's Vorbis comments would work too; an ID3 tag before the MP3's packets does.
    let mp3 = music.join("metal/muldjord-chaos-god.mp3");
    let frame = |id: &str, content: &[u8]| {
        let mut frame = id.as_bytes().to_vec();
        frame.extend((content.len() as u32).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(content);
        frame
    };
    let mbid = "b1a9c0e9-d987-4042-ae91-78d6a3267d69";
    let mut frames = frame("TIT2", b"\0Chaos God");
    frames.extend(frame("TPE1", b"\0Muldjord"));
    frames.extend(frame("TSRC", b"\0DKXXX2100001"));
    frames.extend(frame(
        "UFID",
        [b"http://musicbrainz.org\0".as_slice(), mbid.as_bytes()]
            .concat()
            .as_slice(),
    ));
    let size = frames.len() as u32;
    let mut tag = b"ID3\x03\x00\x00".to_vec();
    tag.extend([21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8));
    tag.extend(frames);
    let old = fs::read(format!("{DEMO}/library/metal/muldjord-chaos-god.mp3")).unwrap();
    let start = if old.starts_with(b"ID3") {
        10 + old[6..10]
            .iter()
            .fold(0, |size, byte| size << 7 | usize::from(*byte))
    } else {
        0
    };
    tag.extend(&old[start..]);
    fs::write(&mp3, tag).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    let known = server.good_get("/api/v1/tracks?query=chaos%20god")["tracks"][0].clone();
    assert_eq!(
        (&known["mbid"], &known["isrc"]),
        (&json!(mbid), &json!("DKXXX2100001")),
        "{known}"
    );
    let ask = |song: Value| {
        server.good(
            "/api/v1/refs/similar",
            &json!({"songs": [song], "count": 3}),
        )
    };
    let by_mbid = ask(json!({"name": "something else", "mbid": mbid.to_uppercase()}));
    assert_eq!(by_mbid["found_by"], json!(["mbid"]));
    let by_isrc = ask(json!({"name": "something else", "isrc": "dkxxx2100001"}));
    assert_eq!(
        (&by_isrc["found_by"], &by_isrc["matches"]),
        (&json!(["isrc"]), &by_mbid["matches"])
    );
    // An unknown code is ignored.
    let by_tags = ask(json!({"name": "Chaos God", "mbid": "00000000-0000-0000-0000-000000000000"}));
    assert_eq!(
        (&by_tags["found_by"], &by_tags["matches"]),
        (&json!(["tags"]), &by_mbid["matches"])
    );
    let by_end = ask(json!({"name": "x", "path": "metal/muldjord-chaos-god.mp3"}));
    assert_eq!(
        (&by_end["found_by"], &by_end["matches"]),
        (&json!(["path"]), &by_mbid["matches"])
    );
    // Albums and artists stand for their songs.
    let of_artist = server.good(
        "/api/v1/refs/similar",
        &json!({"artists": [{"name": "MULDJORD"}], "count": 3}),
    );
    let artists: Vec<&Value> = of_artist["matches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| &found["song"]["artist"])
        .collect();
    assert!(
        artists.len() == 3 && artists.iter().all(|artist| **artist != "Muldjord"),
        "{artists:?}"
    );
    let (status, _) = server.post(
        "/api/v1/refs/similar",
        &json!({"artists": [{"name": "Nobody"}]}),
    );
    assert_eq!(status, 404);
    for songs in [json!([]), json!([{}])] {
        let (status, _) = server.post("/api/v1/refs/similar", &json!({"songs": songs}));
        assert_eq!(status, 400, "{songs}");
    }
    let near = server.good(
        "/api/v1/refs/artists",
        &json!({"artist": {"name": "muldjord"}, "count": 1}),
    );
    assert_eq!(near["artists"][0]["name"], "Obsidian Shell");
}

#[test]
fn a_title_alone_names_the_songs_that_have_it() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    for (seed, artist) in [(1, "Alpha"), (2, "Beta")] {
        let song = tagged_wav(seed, "Intro", artist, "", "");
        fs::write(music.join(format!("{artist}.wav")), song).unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    let ask = |song: Value| server.post("/api/v1/refs/similar", &json!({"songs": [song]}));
    let (status, problem) = ask(json!({"name": "intro"}));
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 409, "{problem}");
    assert!(
        detail.starts_with("\"intro\" fits 2 tracks:\nid:"),
        "{detail}"
    );
    assert!(
        detail.contains("  Alpha – Intro") && detail.contains("  Beta – Intro"),
        "{detail}"
    );
    assert_eq!(ask(json!({"name": "intro", "artist": "beta"})).0, 200);
}

#[test]
fn a_song_of_several_artists_is_known_by_each_of_them() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    for (seed, artist, title) in [
        (1, "Alpha feat. Beta", "One"),
        (2, "Gamma; Delta", "Two"),
        (3, "Alpha", "Three"),
    ] {
        fs::write(
            music.join(format!("{title}.wav")),
            tagged_wav(seed, title, artist, "", ""),
        )
        .unwrap();
    }
    for (seed, artist) in [(11, "Zeta"), (12, "Eta")] {
        fs::write(
            music.join(format!("{artist}.wav")),
            tagged_wav(seed, artist, artist, "Sampler", ""),
        )
        .unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    for artist in ["alpha", "Beta", "Gamma", "delta", "Gamma; Delta"] {
        let request = json!({"artists": [{"name": artist}], "count": 20});
        let found = server.good("/api/v1/refs/similar", &request);
        assert!(
            found["matches"].as_array().unwrap().len() > 3,
            "{artist}: {found}"
        );
    }
    let near = server.good(
        "/api/v1/refs/similar",
        &json!({"songs": [{"name": "Three"}], "count": 20}),
    );
    let song_named = |title: &str| {
        let all = near["matches"].as_array().unwrap().iter();
        let song = &all
            .clone()
            .find(|found| found["song"]["name"] == title)
            .unwrap()["song"];
        (song["artist"].clone(), song["artists"].clone())
    };
    assert_eq!(
        song_named("One"),
        (
            json!("Alpha feat. Beta"),
            json!([{"name": "Alpha"}, {"name": "Beta"}])
        )
    );
    assert_eq!(
        song_named("Two").1,
        json!([{"name": "Gamma"}, {"name": "Delta"}])
    );
    // Navidrome treats an album without an album artist as a compilation.
    let of_album = |artist: &str| {
        let request = json!({"albums": [{"name": "Sampler", "artist": artist}], "count": 20});
        let (status, found) = server.post("/api/v1/refs/similar", &request);
        (status, found["matches"].as_array().map_or(0, Vec::len))
    };
    for artist in ["Various Artists", "[Unknown Artist]", "Eta"] {
        let (status, found) = of_album(artist);
        assert!(status == 200 && found > 3, "{artist}: {status} {found}");
    }
    assert_eq!(of_album("Epsilon").0, 404);
    // Songs without an album are in an album of this name there.
    for (artist, seeds) in [
        ("Gamma; Delta", vec!["Two"]),
        ("[Unknown Artist]", vec!["One", "Two", "Three"]),
    ] {
        let request =
            json!({"albums": [{"name": "[Unknown Album]", "artist": artist}], "count": 100});
        let found = server.good("/api/v1/refs/similar", &request);
        let found: Vec<&str> = found["matches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["song"]["name"].as_str().unwrap())
            .collect();
        assert!(
            found.contains(&"Zeta") && seeds.iter().all(|seed| !found.contains(seed)),
            "{artist}: {found:?}"
        );
    }
    let near = server.good(
        "/api/v1/refs/artists",
        &json!({"artist": {"name": "Beta"}, "count": 20}),
    );
    let names: Vec<&str> = near["artists"]
        .as_array()
        .unwrap()
        .iter()
        .map(|near| near["name"].as_str().unwrap())
        .collect();
    assert!(
        ["Alpha", "Gamma", "Delta"]
            .iter()
            .all(|name| names.contains(name)),
        "{names:?}"
    );
    assert!(
        !names
            .iter()
            .any(|name| name.contains(';') || name.contains("feat")),
        "{names:?}"
    );
}
