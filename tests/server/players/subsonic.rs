//! A Subsonic server behind voisin, and its clients.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Running, free_port, is_installed, skipped, until};
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, fine, noise_wav, text};

/// A Subsonic server with one user, who has access to this music.
pub(super) struct Supysonic {
    pub(super) port: u16,
    _process: Running,
}

impl Supysonic {
    pub(super) fn start(sandbox: &Sandbox, music: &Path) -> Option<Self> {
        if !is_installed("supysonic-cli") || !is_installed("supysonic-server") {
            skipped("supysonic");
            return None;
        }
        let folder = sandbox.path("supysonic");
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let settings = format!(
            "[base]\ndatabase_uri = sqlite:///{}\n[webapp]\ncache_dir = {}\nmount_webui = off\n[daemon]\nsocket = {}\nrun_watcher = off\n",
            at("music.db"),
            at("cache"),
            at("socket")
        );
        fs::write(folder.join("supysonic.conf"), settings).unwrap();
        let cli = |arguments: &[&str]| {
            let output = Command::new("supysonic-cli")
                .args(arguments)
                .current_dir(&folder)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}{}",
                text(&output.stdout),
                text(&output.stderr)
            );
        };
        cli(&["user", "add", "alice", "-p", "s3cret&"]);
        cli(&["folder", "add", "music", music.to_str().unwrap()]);
        cli(&["folder", "scan", "-f", "music"]);
        let port = free_port();
        let process = Command::new("supysonic-server")
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self {
            port,
            _process: Running(process),
        };
        until("supysonic answers", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(started)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Sends a request to a Subsonic server as alice, and reads its JSON.
pub(super) fn subsonic(server: &Server, endpoint: &str, query: &str) -> Value {
    let path = format!("/rest/{endpoint}?u=alice&p=s3cret%26&v=1.16.1&c=test&f=json&{query}");
    let (status, _, body) = server.send("GET", &path, "", b"");
    assert_eq!(status, 200, "{endpoint} {query}: {}", text(&body));
    serde_json::from_slice::<Value>(&body).unwrap()["subsonic-response"].clone()
}

pub(super) fn titles(songs: &Value) -> Vec<&str> {
    songs
        .as_array()
        .unwrap()
        .iter()
        .map(|song| song["title"].as_str().unwrap())
        .collect()
}

/// Three different songs near the first one, chosen among all at random.
fn are_three_of(found: &Value, names: &[&str]) {
    let mut found = titles(found);
    found.sort_unstable();
    found.dedup();
    let near = found.iter().all(|title| names.contains(title));
    assert!(found.len() == 3 && near, "{found:?} of {names:?}");
}

/// The song of this title on the server behind.
fn named<'a>(songs: &'a Value, title: &str) -> &'a Value {
    let mut songs = songs.as_array().unwrap().iter();
    songs.find(|song| song["title"] == title).unwrap()
}

/// The server's titles of the songs that the command line finds near the first one.
fn similar(sandbox: &Sandbox, songs: &Value) -> Vec<String> {
    let answer = sandbox.run(["similar", "chaos god", "--format", "json"]);
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let near = answer["neighbours"].as_array().unwrap().iter();
    let titles = near.map(|near| {
        let file = near["path"].as_str().unwrap().rsplit('/').next().unwrap();
        // The server reads no tags of a WAV.
        let mut all = songs.as_array().unwrap().iter();
        let song = all.find(|song| song["path"].as_str().unwrap().ends_with(file));
        song.unwrap()["title"].as_str().unwrap().to_owned()
    });
    titles.collect()
}

fn id_of(song: &Value) -> &str {
    song["id"].as_str().unwrap()
}

fn get(server: &Server, path: &str) -> (u16, String, String) {
    let (status, head, body) = server.send("GET", path, "", b"");
    (status, head, text(&body))
}

#[test]
fn a_subsonic_server_answers_with_similar_songs() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    // One song is only on the server.
    let there = music.join("metal/only-there.wav");
    fs::write(&there, noise_wav(22_050, 5.0, 9)).unwrap();
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    fs::remove_file(there).unwrap();
    let server = Server::start(&sandbox, &["--subsonic", &upstream.url()]);
    let songs = subsonic(&server, "search3.view", "query=&songCount=100");
    let songs = &songs["searchResult3"]["song"];
    let names = similar(&sandbox, songs);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = named(songs, "Chaos God");
    similar_songs_are_near(&server, songs, &names);
    errors_have_subsonics_form(&server, first);
    let whole = fs::read(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    other_requests_are_forwarded(&server, first, &whole);
    another_client_gets_the_same(&server, &names);

    let log = server.log.lock().unwrap().clone();
    assert!(
        log.contains("GET /rest/getSimilarSongs 200") && !log.contains("s3cret"),
        "{log}"
    );
    // Without the server behind, requests that need it fail with a message.
    drop(upstream);
    let answer = subsonic(&server, "getSimilarSongs", &format!("id={}", id_of(first)));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("is it running"), "{answer}");
    assert_eq!(server.get("/api/v1/status").0, 200);
}

fn similar_songs_are_near(server: &Server, songs: &Value, names: &[&str]) {
    let first = named(songs, "Chaos God");
    let query = format!("id={}&count=3", id_of(first));
    for (endpoint, list) in [
        ("getSimilarSongs.view", "similarSongs"),
        ("getSimilarSongs2", "similarSongs2"),
    ] {
        let found = subsonic(server, endpoint, &query)[list]["song"].take();
        are_three_of(&found, names);
        let found = &found[0];
        let described = &named(songs, found["title"].as_str().unwrap())["path"];
        assert_eq!(found["path"], *described, "as the server describes it");
    }
    // An artist and an album stand for their songs.
    for field in ["artistId", "albumId"] {
        let answer = subsonic(
            server,
            "getSimilarSongs2",
            &format!("id={}&count=2", first[field].as_str().unwrap()),
        );
        let found = titles(&answer["similarSongs2"]["song"]);
        assert!(
            found.len() == 2 && !found.contains(&"Chaos God") && !found.contains(&"Armygeddon"),
            "{found:?}"
        );
    }
    // A song outside the library has no similar ones.
    let mut all = songs.as_array().unwrap().iter();
    let there = all.find(|song| song["path"] == "metal/only-there.wav");
    let query = format!("id={}", id_of(there.unwrap()));
    let answer = subsonic(server, "getSimilarSongs", &query);
    assert_eq!(
        (&answer["status"], &answer["similarSongs"]["song"]),
        (&json!("ok"), &json!([]))
    );
}

fn errors_have_subsonics_form(server: &Server, first: &Value) {
    let unknown = subsonic(server, "getSimilarSongs", "id=nonsense");
    assert_eq!(
        (&unknown["status"], &unknown["error"]["code"]),
        (&json!("failed"), &json!(70)),
        "{unknown}"
    );
    let missing = subsonic(server, "getSimilarSongs", "count=1");
    assert_eq!(missing["error"]["code"], 10);
    for wrong in ["u=alice&p=wrong", "u=bob&p=s3cret%26"] {
        let (_, _, answer) = get(
            server,
            &format!(
                "/rest/getSimilarSongs?{wrong}&v=1.8&c=t&f=json&id={}",
                id_of(first)
            ),
        );
        assert!(answer.contains("\"code\":40"), "{answer}");
    }
    let (_, _, answer) = get(
        server,
        &format!("/rest/getSimilarSongs?v=1.8&c=t&f=json&id={}", id_of(first)),
    );
    assert!(answer.contains("\"code\":10"), "{answer}");
    let form = format!(
        "u=alice&p=s3cret%26&v=1.16.1&c=t&count=1&id={}",
        id_of(first)
    );
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (_, _, body) = server.send("POST", "/rest/getSimilarSongs2.view", kind, form.as_bytes());
    let body = text(&body);
    assert!(body.contains("<similarSongs2><song "), "{body}");
}

/// The song itself, whole and in part, and the errors of the server behind.
fn other_requests_are_forwarded(server: &Server, first: &Value, whole: &[u8]) {
    let download = format!(
        "/rest/download.view?u=alice&p=s3cret%26&v=1.8&c=t&id={}",
        id_of(first)
    );
    let (status, _, body) = server.send("GET", &download, "", b"");
    assert!(status == 200 && body == whole);
    let (status, head, body) = server.send("GET", &download, "Range: bytes=100-199\r\n", b"");
    assert!(status == 206 && body == whole[100..200], "{head}");
    let (_, _, ping) = get(server, "/rest/ping.view?u=alice&p=wrong&v=1.8&c=t&f=json");
    assert!(ping.contains("\"code\":40"), "{ping}");
    let ping = subsonic(server, "ping", "");
    assert!(
        ping["status"] == "ok" && ping["type"] != "voisin",
        "it is the other server that answers: {ping}"
    );
    let stranger =
        "GET /rest/ping.view HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(
        server.raw(stranger.as_bytes()).0,
        403,
        "names are checked here as well"
    );
}

/// A client of another project.
fn another_client_gets_the_same(server: &Server, names: &[&str]) {
    let python = std::env::var("VOISIN_PLAYERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "import libopensonic"])
        .output();
    if has.is_ok_and(|output| output.status.success()) {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/server/players/opensonic.py"
        );
        let port = server.address.port().to_string();
        let output = Command::new(&python)
            .args([script, "http://127.0.0.1", &port, "alice", "s3cret&"])
            .output()
            .unwrap();
        let answer: Value = serde_json::from_str(&fine(output)).unwrap();
        assert_eq!(
            (&answer["ping"], &answer["songs"]),
            (&json!(true), &json!(7))
        );
        are_three_of(&answer["similar"], names);
        assert_eq!(answer["similar2"].as_array().unwrap().len(), 3);
        assert_eq!(answer["of_album"].as_array().unwrap().len(), 3);
        assert_eq!(
            (&answer["refused"], &answer["unknown"]),
            (&json!("CredentialError"), &json!("DataNotFoundError"))
        );
    } else {
        skipped("py-opensonic");
    }
}
