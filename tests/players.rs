//! The players that people use, as processes: supysonic with two clients, MPD, and what Lyrion, Jellyfin and Navidrome ask.
//!
//! What is not installed is skipped with a message, and a failure where the variable CI is set. Which Python has the
//! clients says `VOISIN_PLAYERS_PYTHON`, where npm's subsonic-api lies says `VOISIN_SUBSONIC_API`.

// A test may fail by a panic.
// The files that it makes are called in lower case.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::case_sensitive_file_extension_comparisons)]
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::server::{Server, read_answer, small_library};
use common::{DEMO, Sandbox, code, fine, noise_wav, text};
use serde_json::{Value, json};

/// Says that something cannot be tried here.
fn skipped(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is not installed, and CI must have it");
    eprintln!("SKIPPED: {what} is not installed");
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Subsonic server of Debian with one user, who may hear this music.
struct Supysonic {
    port: u16,
    _process: Running,
}

impl Supysonic {
    fn start(sandbox: &Sandbox, music: &Path) -> Option<Self> {
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
            let output = Command::new("supysonic-cli").args(arguments).current_dir(&folder).output().unwrap();
            assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
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
        let started = Self { port, _process: Running(process) };
        until("supysonic answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(started)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn link(sandbox: &Sandbox, url: &str, password: &str) -> Output {
    let mut command = sandbox.command(["link", url, "--user", "alice", "--format", "json"]);
    command.env("VOISIN_PASSWORD", password).stdin(Stdio::null()).output().unwrap()
}

/// Asks a Subsonic server as alice, and reads its JSON.
fn subsonic(server: &Server, endpoint: &str, query: &str) -> Value {
    let path = format!("/rest/{endpoint}?u=alice&p=s3cret%26&v=1.16.1&c=test&f=json&{query}");
    let (status, _, body) = server.send("GET", &path, "", b"");
    assert_eq!(status, 200, "{endpoint} {query}: {}", text(&body));
    serde_json::from_slice::<Value>(&body).unwrap()["subsonic-response"].clone()
}

fn titles(songs: &Value) -> Vec<&str> {
    songs.as_array().unwrap().iter().map(|song| song["title"].as_str().unwrap()).collect()
}

#[test]
fn a_subsonic_server_knows_what_sounds_alike() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    // One that the library does not have, and one that the server does not have.
    fs::write(music.join("metal/only-there.wav"), noise_wav(22_050, 5.0, 9)).unwrap();
    let Some(upstream) = Supysonic::start(&sandbox, &music) else { return };
    fs::remove_file(music.join("metal/only-there.wav")).unwrap();
    let extra = sandbox.path("extra.wav");
    fs::write(&extra, noise_wav(22_050, 5.0, 4)).unwrap();
    fine(sandbox.run(["add", extra.to_str().unwrap()]));

    // Linking: what fits and what does not is said, and no password is kept.
    let wrong = link(&sandbox, &upstream.url(), "wrong");
    assert_eq!(code(&wrong), 2);
    assert!(text(&wrong.stderr).contains("Wrong username or password"), "{}", text(&wrong.stderr));
    let linked = link(&sandbox, &upstream.url(), "s3cret&");
    assert_eq!(code(&linked), 1, "some did not match: {}", text(&linked.stderr));
    let linked: Value = serde_json::from_slice(&linked.stdout).unwrap();
    assert_eq!(
        (&linked["songs"], &linked["linked"], &linked["unknown_to_server"]),
        (&json!(7), &json!(6), &json!(1))
    );
    assert_eq!(linked["found_by"], json!({"path": 6}));
    let unmatched = &linked["unmatched"];
    assert_eq!(
        (unmatched.as_array().unwrap().len(), &unmatched[0]["path"]),
        (1, &json!("metal/only-there.wav"))
    );
    let shown = fine(sandbox.run(["link"]));
    assert!(shown.contains(&upstream.url()) && shown.contains('6'), "{shown}");
    for entry in fs::read_dir(sandbox.path("library")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
        assert!(!holds(b"s3cret&") && !holds(b"73336372657426"), "no password is kept");
    }

    let server = Server::start(&sandbox, &["--subsonic", &upstream.url(), "--audiomuse", &upstream.url()]);
    let songs = subsonic(&server, "search3.view", "query=&songCount=100")["searchResult3"]["song"].clone();
    let named =
        |title: &str| songs.as_array().unwrap().iter().find(|song| song["title"] == title).unwrap().clone();
    let (first, last) = (named("Chaos God"), named("Nebula"));
    let id = |song: &Value, field: &str| song[field].as_str().unwrap().to_owned();

    // The same as on the command line, of what the server has.
    let expected: Value = serde_json::from_slice(
        &sandbox.run(["similar", "chaos god", "--limit", "6", "--format", "json"]).stdout,
    )
    .unwrap();
    let expected: Vec<(String, f64)> = expected["neighbours"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|near| !near["path"].as_str().unwrap().ends_with("extra.wav"))
        .map(|near| (near["title"].as_str().unwrap().to_owned(), near["similarity"].as_f64().unwrap()))
        .collect();
    assert_eq!(expected.len(), 5);
    let names: Vec<&str> = expected.iter().map(|(title, _)| title.as_str()).collect();
    let query = format!("id={}&count=3", id(&first, "id"));
    let answer = subsonic(&server, "getSimilarSongs.view", &query);
    assert_eq!(titles(&answer["similarSongs"]["song"]), names[..3]);
    assert_eq!(
        answer["similarSongs"]["song"][0]["path"].as_str(),
        named(names[0])["path"].as_str(),
        "as the server describes it"
    );
    assert_eq!(titles(&subsonic(&server, "getSimilarSongs2", &query)["similarSongs2"]["song"]), names[..3]);
    let sonic = subsonic(&server, "getSonicSimilarTracks", &query)["sonicMatch"].clone();
    for (found, (title, similarity)) in sonic.as_array().unwrap().iter().zip(&expected) {
        assert_eq!(found["entry"]["title"], title.as_str());
        assert!((found["similarity"].as_f64().unwrap() - similarity.max(0.0)).abs() < 1e-6, "{found}");
    }
    let path = format!("startSongId={}&endSongId={}&count=4", id(&first, "id"), id(&last, "id"));
    let walk = subsonic(&server, "findSonicPath.view", &path)["sonicMatch"].clone();
    let walk = walk.as_array().unwrap();
    assert!((2..=4).contains(&walk.len()));
    assert_eq!((&walk[0]["entry"]["id"], &walk[walk.len() - 1]["entry"]["id"]), (&first["id"], &last["id"]));
    assert!(walk[0]["similarity"].as_f64().unwrap() > 0.999);
    // An artist and an album stand for their songs.
    for field in ["artistId", "albumId"] {
        let answer = subsonic(&server, "getSimilarSongs2", &format!("id={}&count=2", id(&first, field)));
        let found = titles(&answer["similarSongs2"]["song"]);
        assert!(
            found.len() == 2 && !found.contains(&"Chaos God") && !found.contains(&"Armygeddon"),
            "{found:?}"
        );
    }
    // What the library does not have sounds like nothing.
    let there = songs.as_array().unwrap().iter().find(|song| song["path"] == "metal/only-there.wav").unwrap();
    let answer = subsonic(&server, "getSonicSimilarTracks", &format!("id={}", id(there, "id")));
    assert_eq!((&answer["status"], &answer["sonicMatch"]), (&json!("ok"), &json!([])));

    // Refusals are Subsonic's.
    let unknown = subsonic(&server, "getSimilarSongs", "id=nonsense");
    assert_eq!((&unknown["status"], &unknown["error"]["code"]), (&json!("failed"), &json!(70)), "{unknown}");
    let missing = subsonic(&server, "getSonicSimilarTracks", "count=1");
    assert_eq!(missing["error"]["code"], 10);
    let ask = |path: &str| {
        let (status, head, body) = server.send("GET", path, "", b"");
        (status, head, text(&body))
    };
    for wrong in ["u=alice&p=wrong", "u=bob&p=s3cret%26"] {
        let (_, _, answer) =
            ask(&format!("/rest/getSimilarSongs?{wrong}&v=1.8&c=t&f=json&id={}", id(&first, "id")));
        assert!(answer.contains("\"code\":40"), "{answer}");
    }
    let (_, _, answer) = ask(&format!("/rest/getSimilarSongs?v=1.8&c=t&f=json&id={}", id(&first, "id")));
    assert!(answer.contains("\"code\":10"), "{answer}");
    let (status, head, answer) = ask("/rest/getOpenSubsonicExtensions.view");
    assert!(status == 200 && head.contains("content-type: application/xml"), "{head}");
    assert!(
        answer.contains(r#"<openSubsonicExtensions name="sonicSimilarity"><versions>1</versions>"#),
        "{answer}"
    );
    let (_, head, answer) = ask(&format!(
        "/rest/getSonicSimilarTracks.view?u=alice&p=enc:{}&v=1.8&c=t&f=jsonp&callback=cb&count=1&id={}",
        "s3cret&".bytes().map(|byte| format!("{byte:02x}")).collect::<String>(),
        id(&first, "id")
    ));
    assert!(
        head.contains("javascript") && answer.starts_with("cb({") && answer.contains(names[0]),
        "{head}\n{answer}"
    );
    let form = format!("u=alice&p=s3cret%26&v=1.16.1&c=t&count=1&id={}", id(&first, "id"));
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (_, _, body) = server.send("POST", "/rest/getSonicSimilarTracks.view", kind, form.as_bytes());
    let body = text(&body);
    assert!(body.contains("<sonicMatch><entry ") && body.contains("</entry><similarity>0."), "{body}");
    let long = format!("{form}&x={}", "a".repeat(100_000));
    assert_eq!(server.send("POST", "/rest/getSimilarSongs", kind, long.as_bytes()).0, 413);

    // Everything else is handed on: the song itself, whole and in part, and what the server refuses.
    let whole = fs::read(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    let download = format!("/rest/download.view?u=alice&p=s3cret%26&v=1.8&c=t&id={}", id(&first, "id"));
    let (status, _, body) = server.send("GET", &download, "", b"");
    assert!(status == 200 && body == whole);
    let (status, head, body) = server.send("GET", &download, "Range: bytes=100-199\r\n", b"");
    assert!(status == 206 && body == whole[100..200], "{head}");
    let (_, _, ping) = ask("/rest/ping.view?u=alice&p=wrong&v=1.8&c=t&f=json");
    assert!(ping.contains("\"code\":40"), "{ping}");
    assert_eq!(subsonic(&server, "ping", "")["version"], "1.10.2", "it is the other server that answers");
    let stranger = "GET /rest/ping.view HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(server.raw(stranger.as_bytes()).0, 403, "names are checked here as well");

    // Two clients of others.
    let python = std::env::var("VOISIN_PLAYERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import libopensonic"]).output();
    if has.is_ok_and(|output| output.status.success()) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/opensonic.py");
        let port = server.address.port().to_string();
        let output = Command::new(&python)
            .args([script, "http://127.0.0.1", &port, "alice", "s3cret&"])
            .output()
            .unwrap();
        let answer: Value = serde_json::from_str(&fine(output)).unwrap();
        assert_eq!((&answer["ping"], &answer["songs"]), (&json!(true), &json!(7)));
        assert_eq!(answer["extensions"], json!(["sonicSimilarity"]));
        assert_eq!(answer["similar"], json!(names[..3]));
        assert_eq!(answer["similar2"].as_array().unwrap().len(), 3);
        assert_eq!(answer["of_album"].as_array().unwrap().len(), 3);
        assert_eq!(answer["sonic"][0][0], names[0]);
        assert_eq!(answer["path"][0][0], "Chaos God");
        assert_eq!(
            (&answer["refused"], &answer["unknown"]),
            (&json!("CredentialError"), &json!("DataNotFoundError"))
        );
    } else {
        skipped("py-opensonic");
    }
    match std::env::var("VOISIN_SUBSONIC_API") {
        Ok(folder) if is_installed("node") => {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/subsonic_api.mjs");
            let url = format!("http://{}", server.address);
            let output =
                Command::new("node").args([script, &folder, &url, "alice", "s3cret&"]).output().unwrap();
            let answer: Value = serde_json::from_str(&fine(output)).unwrap();
            for way in [&answer["get"], &answer["post"]] {
                assert_eq!((&way["similar"], &way["similar2"]), (&json!(names[..3]), &json!(names[..3])));
                assert_eq!((&way["sonic"][0][0], &way["bytes"]), (&json!(names[0]), &json!(whole.len())));
                assert_eq!(way["extensions"], json!(["sonicSimilarity"]));
            }
        }
        _ => skipped("subsonic-api"),
    }
    what_audiomuse_is_asked(&server, &first, &last, &names);

    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("GET /rest/getSimilarSongs 200") && !said.contains("s3cret"), "{said}");
    // The server behind goes away: that is said, and what needs it alone fails.
    drop(upstream);
    let answer = subsonic(&server, "getSimilarSongs", &query);
    assert!(answer["error"]["message"].as_str().unwrap().contains("is it running"), "{answer}");
    let (status, _, body) = server.send("GET", "/rest/ping.view", "", b"");
    assert_eq!(status, 502, "{}", text(&body));
    assert_eq!(server.get("/api/v1/status").0, 200);
    let forgotten = sandbox.run(["link", "--forget", "http://nowhere"]);
    assert_eq!(code(&forgotten), 2);
}

#[test]
fn a_subsonic_server_is_reached_by_https_if_its_certificate_is_trusted() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else { return };
    if !is_installed("openssl") || !is_installed("python3") {
        return skipped("openssl or python3");
    }
    let (certificate, key) = (sandbox.path("server.crt"), sandbox.path("server.key"));
    let made = Command::new("openssl")
        .args(["req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/tls_end.py");
    let mut end = Command::new("python3");
    end.arg(script).arg(&certificate).arg(&key).arg(upstream.port.to_string()).stdout(Stdio::piped());
    let mut end = Running(end.spawn().unwrap());
    let mut port = String::new();
    BufReader::new(end.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let url = format!("https://localhost:{}", port.trim());
    let link = |url: &str, trusted: bool| {
        let mut command = sandbox.command(["link", url, "--user", "alice", "--format", "json"]);
        if trusted {
            command.env("SSL_CERT_FILE", &certificate);
        }
        command.env("VOISIN_PASSWORD", "s3cret&").stdin(Stdio::null()).output().unwrap()
    };
    let linked = link(&url, true);
    assert_eq!(code(&linked), 0, "{}", text(&linked.stderr));
    let linked: Value = serde_json::from_slice(&linked.stdout).unwrap();
    assert_eq!((&linked["songs"], &linked["linked"]), (&json!(6), &json!(6)));
    // The password comes from a file, too, or from who sits at the terminal, where nobody sees it.
    let file = sandbox.path("password");
    fs::write(&file, "s3cret&\nmore\n").unwrap();
    let mut command = sandbox.command(["link", &url, "--user", "alice", "--password-file"]);
    fine(command.arg(&file).env("SSL_CERT_FILE", &certificate).output().unwrap());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/at_a_terminal.py");
    let mut command = Command::new("python3");
    command.args([script, "s3cret&", env!("CARGO_BIN_EXE_voisin"), "link", &url, "--user", "alice"]);
    command.env("SSL_CERT_FILE", &certificate).env("VOISIN_LIBRARY", sandbox.path("library"));
    let shown = fine(command.env_remove("VOISIN_PASSWORD").output().unwrap());
    assert!(shown.contains("6 songs of") && !shown.contains("s3cret"), "{shown}");
    // Neither a certificate that nobody here signed, nor one for another name, nor a server without encryption.
    let other_name = url.replace("localhost", "127.0.0.1");
    let plain = upstream.url().replace("http:", "https:");
    for (url, trusted, said) in [
        (&url, false, "SSL_CERT_FILE"),
        (&other_name, true, "certificate"),
        (&plain, true, "is this its address?"),
    ] {
        let refused = link(url, trusted);
        assert_eq!(code(&refused), 2);
        assert!(text(&refused.stderr).contains(said), "{url}: {}", text(&refused.stderr));
    }

    let trusting = [("SSL_CERT_FILE", certificate.as_os_str())];
    let server = Server::start_with(&sandbox, &["--subsonic", &url], &trusting);
    let songs = subsonic(&server, "search3.view", "query=&songCount=100")["searchResult3"]["song"].clone();
    let first = songs.as_array().unwrap().iter().find(|song| song["title"] == "Chaos God").unwrap();
    let id = first["id"].as_str().unwrap();
    let answer = subsonic(&server, "getSimilarSongs", &format!("id={id}&count=3"));
    assert_eq!(titles(&answer["similarSongs"]["song"]).len(), 3);
    let whole = fs::read(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    let download = format!("/rest/download.view?u=alice&p=s3cret%26&v=1.8&c=t&id={id}");
    let (status, head, body) = server.send("GET", &download, "Range: bytes=100-199\r\n", b"");
    assert!(status == 206 && body == whole[100..200], "{head}");
    drop(server);
    let server = Server::start(&sandbox, &["--subsonic", &url]);
    let answer = subsonic(&server, "getSimilarSongs", &format!("id={id}&count=3"));
    assert!(answer["error"]["message"].as_str().unwrap().contains("SSL_CERT_FILE"), "{answer}");
    let (status, problem) = server.get("/rest/ping.view?u=alice&p=s3cret%26&v=1.8&c=t&f=json");
    assert!(status == 502 && problem["detail"].as_str().unwrap().contains("certificate"), "{problem}");
}

/// What plugins for Jellyfin and Ampache ask AudioMuse-AI.
fn what_audiomuse_is_asked(server: &Server, first: &Value, last: &Value, names: &[&str]) {
    let id = |song: &Value| song["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get("/api/health"), (200, json!({"status": "ok"})));
    let near = server.good_get(&format!(
        "/api/similar_tracks?item_id={}&n=3&eliminate_duplicates=true&radius_similarity=true",
        id(first)
    ));
    assert_eq!(titles(&near), names[..3]);
    for (i, found) in near.as_array().unwrap().iter().enumerate() {
        for field in ["item_id", "title", "author", "album", "distance"] {
            assert!(found.get(field).is_some(), "{field}: {found}");
        }
        assert!(i == 0 || found["distance"].as_f64() >= near[i - 1]["distance"].as_f64());
    }
    let by_name = server.good_get("/api/similar_tracks?title=Chaos%20God&artist=Muldjord&n=3");
    assert_eq!(by_name, near);
    let walk = server.good_get(&format!(
        "/api/find_path?start_song_id={}&end_song_id={}&max_steps=4&path_fix_size=false&mood_pct=100",
        id(first),
        id(last)
    ));
    let path = walk["path"].as_array().unwrap();
    assert_eq!((&path[0]["item_id"], &path[path.len() - 1]["item_id"]), (&first["id"], &last["id"]));
    assert!(walk["total_distance"].as_f64().unwrap() > 0.0);
    let artists = server.good_get("/api/similar_artists?artist=Muldjord&n=2&include_component_matches=true");
    assert_eq!(artists[0]["artist"], "Obsidian Shell", "{artists}");
    let matched = &artists[0]["component_matches"][0];
    assert!(matched["artist1_representative_songs"][0]["item_id"].is_string(), "{matched}");
    assert!(artists[0]["divergence"].is_number() && artists[0].get("artist_id").is_some());
    let found = server.good_get("/api/search_tracks?search_query=muldjord&start=0&end=1");
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert!(found[0].get("album_artist").is_some());
    let one = server.good_get(&format!("/api/track?item_id={}", id(first)));
    assert_eq!((&one["title"], &one["author"]), (&json!("Chaos God"), &json!("Muldjord")));
    for (path, status) in [
        ("/api/track?item_id=nonsense", 404),
        ("/api/similar_tracks", 400),
        ("/api/similar_tracks?item_id=x&n=-1", 400),
        ("/api/similar_artists?artist=Nobody", 404),
        ("/api/clustering", 501),
        ("/api/v1/nonsense", 404),
    ] {
        let (found, answer) = server.get(path);
        assert!(found == status && answer["error"].is_string(), "{path}: {found} {answer}");
    }
    let request =
        format!("GET /api/track?item_id=x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    assert_eq!(server.raw(request.as_bytes()).0, 401, "they need the token");
}

/// A server that gives these answers, one a connection, and keeps what it was asked.
fn answering(answers: Vec<(&'static str, Value)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for (status, answer) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut request = String::new();
            let mut bytes = vec![0; 65_536];
            loop {
                let n = stream.read(&mut bytes).unwrap();
                request.push_str(&text(&bytes[..n]));
                let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
                let lower = head.to_ascii_lowercase();
                let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
                if n == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    break;
                }
            }
            let body = answer.to_string();
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
            asked.push(request);
        }
        asked
    });
    (url, thread)
}

#[test]
fn jellyfins_songs_are_linked_by_its_documented_answers() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let item = |id: &str, name: &str, artist: &str, path: &str| {
        json!({
            "Id": id, "Name": name, "Artists": [artist], "AlbumArtist": artist, "RunTimeTicks": 140_000_000_u64,
            "Path": path, "ProviderIds": {}, "Type": "Audio"
        })
    };
    let (url, asked) = answering(vec![
        ("200 OK", json!({"AccessToken": "abc", "User": {"Id": "u1"}})),
        (
            "200 OK",
            json!({"Items": [
                item("0d1e-2f", "Chaos God", "Muldjord", "/media/metal/muldjord-chaos-god.mp3"),
                item("aa", "nebula", "MAXSTACK", "/elsewhere/renamed.ogg"),
                item("bb", "Unknown", "Nobody", "/media/unknown.mp3"),
                {"Name": "without an id"},
            ], "TotalRecordCount": 3}),
        ),
        ("200 OK", json!({"Items": [], "TotalRecordCount": 3})),
        ("204 No Content", Value::Null),
    ]);
    let mut command = sandbox.command(["link", &url, "--jellyfin", "--user", "me", "--format", "json"]);
    let output = command.env("VOISIN_PASSWORD", "s3cret\"").output().unwrap();
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let linked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&linked["songs"], &linked["linked"]), (&json!(3), &json!(2)));
    // Its folders are not ours, as in a container: whole paths do not end alike.
    assert_eq!(linked["found_by"], json!({"tags": 2}));
    assert_eq!(linked["unmatched"][0]["title"], "Unknown");
    let asked = asked.join().unwrap();
    assert!(
        asked[0].starts_with("POST /Users/AuthenticateByName ") && asked[0].contains("\"Pw\":\"s3cret\\\"\""),
        "{}",
        asked[0]
    );
    assert!(
        asked[1].contains("includeItemTypes=Audio") && asked[1].contains("Token=\"abc\""),
        "{}",
        asked[1]
    );
    assert!(asked[3].starts_with("POST /Sessions/Logout "), "{}", asked[3]);
    let server = Server::start(&sandbox, &["--audiomuse", &url]);
    let near = server.good_get("/api/similar_tracks?item_id=0d1e2f&n=3");
    assert_eq!(near[0]["item_id"], "aa", "only what Jellyfin has: {near}");
    let (url, _) = answering(vec![("401 Unauthorized", json!({}))]);
    let mut command = sandbox.command(["link", &url, "--jellyfin", "--user", "me"]);
    let output = command.env("VOISIN_PASSWORD", "wrong").output().unwrap();
    assert!(code(&output) == 2 && text(&output.stderr).contains("refuses"), "{}", text(&output.stderr));
}

/// MPD with its music in `music`, without a sound.
struct Mpd {
    socket: PathBuf,
    conf: PathBuf,
    process: Option<Running>,
}

impl Mpd {
    fn prepare(sandbox: &Sandbox, music: &Path) -> Option<Self> {
        if !is_installed("mpd") || !is_installed("mpc") {
            skipped("mpd or mpc");
            return None;
        }
        let folder = sandbox.path("mpd");
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let socket = folder.join("socket");
        let conf = folder.join("mpd.conf");
        let settings = format!(
            "music_directory \"{}\"\ndb_file \"{}\"\nstate_file \"{}\"\nlog_file \"{}\"\nbind_to_address \"{}\"\nrestore_paused \"no\"\naudio_output {{\n    type \"null\"\n    name \"none\"\n}}\n",
            music.display(),
            at("db"),
            at("state"),
            at("log"),
            socket.display()
        );
        fs::write(&conf, settings).unwrap();
        let mut mpd = Self { socket, conf, process: None };
        mpd.start();
        Some(mpd)
    }

    fn start(&mut self) {
        let process = Command::new("mpd")
            .arg("--no-daemon")
            .arg(&self.conf)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(Running(process.unwrap()));
        until("MPD answers", || self.try_mpc(&["status"]).status.success());
    }

    /// Lets it write down its queue, and end.
    fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
        process.0.wait().unwrap();
    }

    fn try_mpc(&self, arguments: &[&str]) -> Output {
        Command::new("mpc").arg("-h").arg(&self.socket).args(arguments).output().unwrap()
    }

    fn mpc(&self, arguments: &[&str]) -> String {
        fine(self.try_mpc(arguments))
    }

    fn queue(&self) -> Vec<String> {
        self.mpc(&["playlist", "-f", "%file%"]).lines().map(str::to_owned).collect()
    }

    fn voisin(&self, sandbox: &Sandbox, arguments: &[&str]) -> Command {
        let mut command = sandbox.command([&["mpd"], arguments].concat());
        command.env("MPD_HOST", &self.socket);
        command
    }
}

#[test]
fn mpd_plays_on_with_what_sounds_alike() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(mut mpd) = Mpd::prepare(&sandbox, &music) else { return };
    mpd.mpc(&["update", "--wait"]);
    let run = |mpd: &Mpd, arguments: &[&str]| mpd.voisin(&sandbox, arguments).output().unwrap();

    let idle = run(&mpd, &["playlist"]);
    assert_eq!(code(&idle), 1);
    assert!(text(&idle.stderr).contains("MPD plays nothing"), "{}", text(&idle.stderr));

    let (first, other) = ("metal/muldjord-chaos-god.mp3", "ambient/maxstack-nebula.ogg");
    mpd.mpc(&["add", first]);
    mpd.mpc(&["add", other]);
    mpd.mpc(&["repeat", "on"]);
    mpd.mpc(&["play"]);
    let relative = |path: &str| Path::new(path).strip_prefix(&music).unwrap().to_str().unwrap().to_owned();
    let near: Vec<String> = fine(sandbox.run(["similar", "chaos god", "--format", "paths"]))
        .lines()
        .map(relative)
        .filter(|path| path != other)
        .collect();
    fine(run(&mpd, &["similar", "--limit", "2"]));
    assert_eq!(mpd.queue(), [first, &near[0], &near[1], other], "right behind the one that plays");

    // The list takes the others' place; what plays goes on from where it was.
    mpd.mpc(&["seek", "5"]);
    fine(run(&mpd, &["playlist", "--limit", "3", "--genre", "metal"]));
    let queue = mpd.queue();
    assert_eq!((queue.len(), queue[0].as_str()), (3, first), "{queue:?}");
    assert!(queue.iter().all(|file| file.starts_with("metal/")), "{queue:?}");
    assert_eq!(mpd.mpc(&["current", "-f", "%file%"]).trim(), first);
    let status = mpd.mpc(&["status", "%state% %currenttime%"]);
    let seconds = status.trim().rsplit(':').next().unwrap().parse::<u32>().unwrap();
    assert!(status.starts_with("playing") && (5..14).contains(&seconds), "{status}");
    fine(run(&mpd, &["playlist", "--limit", "2", "--keep-queue"]));
    let longer = mpd.queue();
    assert_eq!((longer.len(), &longer[..3]), (5, &queue[..]), "behind the queue, nothing twice");

    mpd.mpc(&["random", "on"]);
    for arguments in [&["playlist"][..], &["similar"], &["follow"]] {
        let refused = run(&mpd, arguments);
        assert_eq!(code(&refused), 2);
        assert!(text(&refused.stderr).contains("mpc random off"), "{}", text(&refused.stderr));
    }
    mpd.mpc(&["random", "off"]);

    // A song that the library does not have is named.
    fs::write(music.join("unknown.wav"), noise_wav(22_050, 30.0, 3)).unwrap();
    mpd.mpc(&["update", "--wait"]);
    mpd.mpc(&["clear"]);
    mpd.mpc(&["add", "unknown.wav"]);
    mpd.mpc(&["play"]);
    let unknown = run(&mpd, &["similar"]);
    assert_eq!(code(&unknown), 1);
    assert!(text(&unknown.stderr).contains("unknown.wav") && text(&unknown.stderr).contains("voisin add"));

    // Following: the queue never runs out, nothing comes twice, and a restart of MPD is got over.
    mpd.mpc(&["clear"]);
    mpd.mpc(&["repeat", "off"]);
    mpd.mpc(&["add", first]);
    mpd.mpc(&["play"]);
    let mut follow = mpd.voisin(&sandbox, &["follow", "--ahead", "2"]);
    let log = fs::File::create(sandbox.path("follow.log")).unwrap();
    let mut follow = Running(follow.stderr(log).spawn().unwrap());
    until("two songs come", || mpd.queue().len() == 3);
    assert_eq!(mpd.queue()[0], first);
    mpd.mpc(&["next"]);
    until("one more comes", || mpd.queue().len() == 4);
    mpd.stop();
    until("the loss is noticed", || {
        fs::read_to_string(sandbox.path("follow.log")).unwrap().contains("MPD is gone")
    });
    mpd.start();
    until("it is back", || fs::read_to_string(sandbox.path("follow.log")).unwrap().contains("there again"));
    mpd.mpc(&["play", "4"]);
    until("all songs of the library come", || mpd.queue().len() == 6);
    let mut all = mpd.queue();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "nothing twice");
    mpd.mpc(&["play", "6"]);
    until("the end is said", || {
        fs::read_to_string(sandbox.path("follow.log")).unwrap().contains("nothing comes twice")
    });
    assert_eq!(mpd.queue().len(), 6);
    Command::new("kill").args(["-INT", &follow.0.id().to_string()]).status().unwrap();
    assert!(follow.0.wait().unwrap().success());
    drop(mpd);
    let gone = sandbox.command(["mpd", "similar", "--host", "127.0.0.1", "--port", "1"]).output().unwrap();
    assert_eq!(code(&gone), 2);
    assert!(text(&gone.stderr).contains("MPD_HOST"), "{}", text(&gone.stderr));
}

/// A WAV file that names title, artist, album and genre.
fn tagged_wav(seed: u64, title: &str, artist: &str, album: &str, genre: &str) -> Vec<u8> {
    let mut file = noise_wav(22_050, 8.0, seed);
    let mut list = b"INFO".to_vec();
    for (name, value) in [("INAM", title), ("IART", artist), ("IPRD", album), ("IGNR", genre)] {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        list.extend(name.as_bytes());
        list.extend((bytes.len() as u32).to_le_bytes());
        list.extend(&bytes);
        list.extend(&[0][..bytes.len() % 2]);
    }
    file.extend(b"LIST");
    file.extend((list.len() as u32).to_le_bytes());
    file.extend(list);
    let length = (file.len() - 8) as u32;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file
}

/// A question to Lyrion's port: status, head and the paths of the answer.
fn lyrion(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, Vec<String>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (status, head, body) = read_answer(&mut stream);
    (status, head, text(&body).lines().map(str::to_owned).collect())
}

#[test]
fn lyrions_plugin_gets_what_bliss_mixer_would_give() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    for (seed, title, artist, album, genre) in [
        (1, "One", "Ann", "Red", "Pop;Rock"),
        (2, "Two", "Ann", "Red", "Pop"),
        (3, "Three", "Ben", "Blue", "Pop"),
        (4, "One", "Cid", "Green", "Folk"),
        (5, "Sleigh", "Dot", "White", "Christmas"),
    ] {
        fs::write(music.join(format!("{seed}.wav")), tagged_wav(seed, title, artist, album, genre)).unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let mut server = Server::start(&sandbox, &["--lms", "0"]);
    let line = server.lines.next().unwrap().unwrap();
    let address =
        line.strip_prefix("listening on http://").unwrap().strip_suffix("/api/mix").unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let kind = "Content-Type: application/json;charset=utf-8\r\n";
    let mix = |more: Value| {
        let mut question = json!({
            "count": 5, "filtergenre": 0, "filterxmas": 0, "min": 0, "max": 0, "maxbpmdiff": 0,
            "tracks": ["metal/muldjord-chaos-god.mp3"], "previous": [], "shuffle": 0, "norepart": 0, "norepalb": 0,
            "forest": 0, "adaptiveweights": 0, "genregroups": [], "allgenres": 0, "debug": 0
        });
        for (name, value) in more.as_object().unwrap() {
            question[name] = value.clone();
        }
        let (status, head, lines) = lyrion(&address, "POST", "/api/mix", kind, &question.to_string());
        assert_eq!(status, 200, "{question}: {lines:?}");
        assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
        lines
    };
    assert_eq!(lyrion(&address, "GET", "/api/ready", "", "").2, ["1"]);
    // Nearest first, below the music folder, neither the seed nor what was played.
    let near: Vec<String> =
        fine(sandbox.run(["similar", "chaos god", "--limit", "all", "--format", "paths"]))
            .lines()
            .map(|path| Path::new(path).strip_prefix(&music).unwrap().to_str().unwrap().to_owned())
            .collect();
    let all = mix(json!({"count": 50}));
    let once = |album: &str| near.iter().find(|path| album.contains(path.as_str())).unwrap().clone();
    let red = once("1.wav 2.wav");
    let expected: Vec<&String> = near
        .iter()
        // an album comes once, a title too
        .filter(|path| !["1.wav", "2.wav"].contains(&path.as_str()) || **path == red)
        .collect();
    assert_eq!(all.iter().filter(|path| path.starts_with("metal/")).count(), 2, "{all:?}");
    assert_eq!(all[..2], [expected[0].clone(), expected[1].clone()]);
    assert!(
        all.iter().filter(|path| ["1.wav", "2.wav"].contains(&path.as_str())).count() <= 1,
        "an album comes once: {all:?}"
    );
    assert!(
        all.iter().filter(|path| ["1.wav", "4.wav"].contains(&path.as_str())).count() <= 1,
        "a title comes once: {all:?}"
    );
    assert_eq!(mix(json!({})), all[..5]);
    assert_eq!(mix(json!({"count": 0})).len(), 1, "one at least");
    let played = mix(json!({"count": 50, "previous": [all[0]]}));
    assert!(!played.contains(&all[0]));
    // An artist that just played does not come again.
    let army = "metal/muldjord-armygeddon.m4a".to_owned();
    let previous = json!(["metal/muldjord-chaos-god.mp3", "ambient/maxstack-nebula.ogg"]);
    assert!(mix(json!({"count": 50, "previous": previous})).contains(&army));
    assert!(!mix(json!({"count": 50, "previous": previous, "norepart": 1})).contains(&army));
    let late = json!(["ambient/maxstack-nebula.ogg", "metal/muldjord-chaos-god.mp3"]);
    assert!(
        mix(json!({"count": 50, "previous": late, "norepart": 1})).contains(&army),
        "only among the last"
    );
    // Nor an album.
    let from_red = |more: Value| {
        let mut question = json!({"tracks": ["3.wav"], "previous": ["1.wav"], "count": 50});
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mix(question)
    };
    assert!(from_red(json!({})).contains(&"2.wav".to_owned()));
    assert!(!from_red(json!({"norepalb": 3})).contains(&"2.wav".to_owned()));
    // Genres: the seed's group; of a seed in no group what is in none; patterns; all genres of a song or one.
    let metal = mix(json!({"count": 50, "filtergenre": 1, "genregroups": [["Metal", "Rock"], ["Pop"]]}));
    assert!(metal.contains(&army) && !metal.iter().any(|path| path.starts_with("ambient/")), "{metal:?}");
    assert!(!metal.contains(&"3.wav".to_owned()), "{metal:?}");
    assert_eq!(mix(json!({"count": 50, "filtergenre": 1, "genregroups": [["met*"]]})).len(), 2);
    let other = mix(json!({"count": 50, "filtergenre": 1, "genregroups": [["Ambient"], ["P?p"]]}));
    assert!(
        other.iter().all(|path| path.starts_with("metal/") || path == "4.wav" || path == "5.wav"),
        "{other:?}"
    );
    let pop = |all: u8| {
        mix(
            json!({"tracks": ["3.wav"], "count": 50, "filtergenre": true, "allgenres": all, "genregroups": [["Pop"], ["Rock"]]}),
        )
    };
    assert!(pop(0).iter().any(|path| ["1.wav", "2.wav"].contains(&path.as_str())));
    assert_eq!(pop(1), ["2.wav"], "a song that is rock as well is left out");
    // Christmas is in December.
    let date = Command::new("date").args(["-u", "+%m"]).output().unwrap();
    let december = text(&date.stdout).trim() == "12";
    assert!(mix(json!({"count": 50})).contains(&"5.wav".to_owned()));
    assert_eq!(mix(json!({"count": 50, "filterxmas": 1})).contains(&"5.wav".to_owned()), december);
    // Lengths.
    let short = mix(json!({"count": 50, "max": 10}));
    assert!(
        !short.is_empty() && short.iter().all(|path| path.ends_with(".wav") && !path.contains('/')),
        "{short:?}"
    );
    let long = mix(json!({"count": 50, "min": 10}));
    assert!(!long.is_empty() && long.iter().all(|path| path.contains('/')), "{long:?}");
    assert!(mix(json!({"count": 50, "min": 600})).is_empty());
    // Tempo.
    let tracks = server.good_get("/api/v1/tracks?limit=100")["tracks"].clone();
    let tempo = |path: &str| {
        let found = tracks
            .as_array()
            .unwrap()
            .iter()
            .find(|track| track["path"].as_str().unwrap().ends_with(&format!("/{path}")));
        found.unwrap()["tempo"].as_f64()
    };
    let own = tempo("metal/muldjord-chaos-god.mp3").unwrap();
    for path in mix(json!({"count": 50, "maxbpmdiff": 20})) {
        assert!((tempo(&path).unwrap() - own).abs() <= 20.0, "{path}");
    }
    // Shuffled: others in another order, out of the nearest.
    let mut shuffled = mix(json!({"count": 50, "shuffle": 1}));
    shuffled.sort();
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(shuffled, sorted);
    let orders: std::collections::HashSet<Vec<String>> =
        (0..8).map(|_| mix(json!({"count": 4, "shuffle": 1}))).collect();
    assert!(orders.len() > 1, "chance has a part");
    // What belongs to another way of comparing changes nothing.
    assert_eq!(mix(json!({"forest": 1, "adaptiveweights": 1, "debug": 1})), all[..5]);
    // Several seeds; CUE sheets; what is not known.
    assert!(!mix(json!({"tracks": ["1.wav", "ambient/maxstack-nebula.ogg"], "count": 3})).is_empty());
    assert_eq!(mix(json!({"tracks": ["metal/muldjord-chaos-god.mp3.CUE_TRACK.3"]})), all[..5]);
    assert!(mix(json!({"tracks": ["no/such/file.mp3"]})).is_empty());
    assert!(mix(json!({"tracks": ["../../../etc/passwd"]})).is_empty());

    let list = |more: Value| {
        let mut question = json!({
            "count": 50, "filtergenre": 0, "min": 0, "max": 0, "maxbpmdiff": 0, "track": "metal/muldjord-chaos-god.mp3",
            "genregroups": [], "allgenres": 0, "byartist": 0
        });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, _, lines) = lyrion(&address, "POST", "/api/list", kind, &question.to_string());
        assert_eq!(status, 200);
        lines
    };
    assert_eq!(list(json!({})), near);
    assert_eq!(list(json!({"count": 2})), near[..2]);
    assert_eq!(list(json!({"byartist": 1})), [army.as_str()]);
    assert_eq!(list(json!({"filtergenre": 1, "genregroups": [["Metal"]]})).len(), 2);
    assert!(list(json!({"min": 600})).is_empty());

    // Strangers: pages, names, types, methods; the token's questions are not here.
    let body = json!({"tracks": ["metal/muldjord-chaos-god.mp3"]}).to_string();
    for (method, path, headers, body, expected) in [
        ("POST", "/api/mix", "Content-Type: text/plain\r\n", body.as_str(), 415),
        ("POST", "/api/mix", "Content-Type: application/json\r\nOrigin: http://evil.example\r\n", &body, 403),
        ("POST", "/api/mix", kind, "{", 400),
        ("POST", "/api/mix", kind, "{\"tracks\": 7}", 400),
        ("GET", "/api/mix", "", "", 405),
        ("GET", "/api/v1/status", "", "", 404),
    ] {
        assert_eq!(
            lyrion(&address, method, path, headers, body).0,
            expected,
            "{method} {path} {headers} {body}"
        );
    }
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /api/ready HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).0, 403);
}

#[test]
fn lyrion_starts_voisin_under_the_name_of_bliss_mixer_and_is_told_the_port() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let mixer = sandbox.path("bliss-mixer");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_voisin"), &mixer).unwrap();
    let lyrion_server = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = lyrion_server.local_addr().unwrap().to_string();
    let process = Command::new(&mixer)
        .args(["--lms", &place, "--db", "/prefs/bliss.db", "--address", "127.0.0.1", "--logging", "debug"])
        .args(["--weights", "1,2,3"])
        .env_clear()
        .env("VOISIN_LIBRARY", sandbox.path("library"))
        .env("HOME", sandbox.path("home"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _process = Running(process);
    let (mut stream, _) = lyrion_server.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = vec![0; 65_536];
    let mut request = String::new();
    while !request.contains("number:") || !request.trim_end().ends_with('}') {
        let n = stream.read(&mut bytes).unwrap();
        assert!(n > 0, "{request}");
        request.push_str(&text(&bytes[..n]));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").unwrap();
    assert!(request.starts_with("POST /jsonrpc.js HTTP/1.1"), "{request}");
    let question: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&question["id"], &question["method"]), (&json!(1), &json!("slim.request")));
    let call = &question["params"][1];
    assert_eq!(
        (&question["params"][0], &call[0], &call[1]),
        (&json!(""), &json!("blissmixer"), &json!("port"))
    );
    let port = call[2].as_str().unwrap().strip_prefix("number:").unwrap();
    let address = format!("127.0.0.1:{port}");
    assert_eq!(lyrion(&address, "GET", "/api/ready", "", "").2, ["1"]);
    let body = json!({"tracks": [format!("{}/metal/muldjord-chaos-god.mp3", sandbox.path("music").display()).trim_start_matches('/')], "genregroups": []});
    let found =
        lyrion(&address, "POST", "/api/mix", "Content-Type: application/json\r\n", &body.to_string()).2;
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(!sandbox.path("library/serve.token").exists(), "nobody is asked for a token");
}

#[test]
fn navidromes_plugin_asks_a_running_server() {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/navidrome/target/voisin.ndp");
    let python = std::env::var("VOISIN_PLAYERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import extism"]).output();
    if !has.is_ok_and(|output| output.status.success()) || !plugin.is_file() {
        skipped("extism, or the plugin (plugins/navidrome/build)");
        return;
    }
    assert!(fs::metadata(&plugin).unwrap().len() < 300_000);
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    fs::write(
        music.join("accents.wav"),
        tagged_wav(7, "Ólafía — \"Ljós\"", "Sigur Rós", "Ágætis", "Ambient"),
    )
    .unwrap();
    // The same recording twice: copies are no neighbours.
    fs::copy(music.join("metal/muldjord-chaos-god.mp3"), music.join("copy.mp3")).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/navidrome.py");
    let call = |url: &str, token: &str, calls: Value| -> Vec<Value> {
        let mut process = Command::new(&python)
            .args([script, plugin.to_str().unwrap(), url, token])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(calls.to_string().as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
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
    let known: Value =
        serde_json::from_slice(&sandbox.run(["similar", "id:1", "--limit", "3", "--format", "json"]).stdout)
            .unwrap();
    assert!(known["seeds"][0]["path"].as_str().is_some());
    let matches = answers[0]["answer"]["matches"].as_array().unwrap();
    assert_eq!(matches.len(), 3, "{}", answers[0]);
    for found in matches {
        assert!(found["song"]["name"].is_string() && found["song"]["durationMs"].is_number(), "{found}");
        assert_ne!(found["song"]["name"], "Chaos God", "a copy is no neighbour");
        assert!((0.0..=1.0).contains(&found["similarity"].as_f64().unwrap()));
        assert!(found["song"].get("path").is_none() && found["song"].get("id").is_none());
    }
    let walk = answers[1]["answer"]["matches"].as_array().unwrap();
    assert_eq!(
        (&walk[0]["song"]["name"], &walk[walk.len() - 1]["song"]["name"]),
        (&json!("Chaos God"), &json!("Nebula"))
    );
    assert_eq!(answers[2]["answer"]["songs"][0]["name"], matches[0]["song"]["name"]);
    assert_eq!(answers[3]["answer"]["songs"].as_array().unwrap().len(), 2, "{}", answers[3]);
    let of_artist = answers[4]["answer"]["songs"].as_array().unwrap();
    assert!(of_artist.iter().all(|song| song["artist"] != "Muldjord"), "{}", answers[4]);
    assert_eq!(answers[5]["answer"]["artists"][0], json!({"name": "Obsidian Shell"}));
    assert_eq!(answers[6]["answer"]["songs"].as_array().unwrap().len(), 1, "{}", answers[6]);
    assert_eq!(answers[7]["answer"], json!({"matches": []}), "nothing is known of it: no error");
    assert_eq!(answers[8]["answer"], json!({"artists": []}));
    assert_eq!(answers[9]["answer"], json!({"songs": []}));
    for answer in &answers {
        assert!(answer["seconds"].as_f64().unwrap() < 2.5, "{answer}");
    }
    let question = json!([["nd_get_sonic_similar_tracks", {"song": chaos, "count": 3}]]);
    let refused = call(&url, "0000000000000000000000000000000000000000", question.clone());
    assert!(refused[0]["error"].as_str().unwrap().contains("401"), "{}", refused[0]);
    assert!(!refused[0].to_string().contains("00000000000000000000"), "no token in an error");
    let down = call("http://127.0.0.1:1", &server.token, question.clone());
    assert!(down[0]["error"].as_str().unwrap().contains("does not answer"), "{}", down[0]);
    // One that takes the question and never answers: an error within two seconds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = call(&format!("http://{}", silent.local_addr().unwrap()), &server.token, question.clone());
    assert!(slow[0]["error"].is_string() && slow[0]["seconds"].as_f64().unwrap() < 3.5, "{}", slow[0]);
    let unset = call("", "", question);
    assert!(unset[0]["error"].as_str().unwrap().contains("setting"), "{}", unset[0]);
}

#[test]
fn a_base_path_is_before_every_question() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--base-path", "/voisin"]);
    assert_eq!(server.get("/voisin/api/v1/health").0, 200);
    assert_eq!(server.good_get("/voisin/api/v1/tracks")["total"], 6);
    let found = server.good("/voisin/api/v1/similar", &json!({"seeds": [{"id": 1}], "limit": 1}));
    assert_eq!(found["neighbours"].as_array().unwrap().len(), 1);
    let description = server.good_get("/voisin/api/v1/openapi.json");
    assert_eq!(description["servers"][0]["url"], "/voisin/api/v1");
    for path in ["/api/v1/tracks", "/api/v1/health", "/voisinapi/v1/tracks", "/voisin/voisin/api/v1/tracks"] {
        assert_eq!(server.get(path).0, 404, "{path}");
    }
    let without = format!(
        "GET /voisin/api/v1/tracks HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    assert_eq!(server.raw(without.as_bytes()).0, 401, "the token is asked for there too");
    let body = json!({"token": server.token}).to_string();
    let (status, head, _) =
        server.send("POST", "/voisin/api/v1/session", "Content-Type: application/json\r\n", body.as_bytes());
    assert!(status == 204 && head.contains("Path=/voisin"), "{head}");
    for wrong in ["voisin", "/a b", "/../x", "//"] {
        let refused = sandbox.run(["serve", "--base-path", wrong, "--show-token"]);
        assert_eq!(code(&refused) == 2, wrong != "//", "{wrong}: {}", text(&refused.stderr));
    }
}

#[test]
fn songs_are_found_by_their_codes_first() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    // Vorbis comments of a FLAC would do; an ID3 tag before the MP3's own packets does as well.
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
    frames
        .extend(frame("UFID", [b"http://musicbrainz.org\0".as_slice(), mbid.as_bytes()].concat().as_slice()));
    let size = frames.len() as u32;
    let mut tag = b"ID3\x03\x00\x00".to_vec();
    tag.extend([21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8));
    tag.extend(frames);
    let old = fs::read(format!("{DEMO}/library/metal/muldjord-chaos-god.mp3")).unwrap();
    let start = if old.starts_with(b"ID3") {
        10 + old[6..10].iter().fold(0, |size, byte| size << 7 | usize::from(*byte))
    } else {
        0
    };
    tag.extend(&old[start..]);
    fs::write(&mp3, tag).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let server = Server::start(&sandbox, &[]);
    let known = server.good_get("/api/v1/tracks?query=chaos%20god")["tracks"][0].clone();
    assert_eq!((&known["mbid"], &known["isrc"]), (&json!(mbid), &json!("DKXXX2100001")), "{known}");
    let ask = |song: Value| server.good("/api/v1/refs/similar", &json!({"songs": [song], "count": 3}));
    let by_mbid = ask(json!({"name": "something else", "mbid": mbid.to_uppercase()}));
    assert_eq!(by_mbid["found_by"], json!(["mbid"]));
    let by_isrc = ask(json!({"name": "something else", "isrc": "dkxxx2100001"}));
    assert_eq!((&by_isrc["found_by"], &by_isrc["matches"]), (&json!(["isrc"]), &by_mbid["matches"]));
    // A code that nothing has is no obstacle.
    let by_tags = ask(json!({"name": "Chaos God", "mbid": "00000000-0000-0000-0000-000000000000"}));
    assert_eq!((&by_tags["found_by"], &by_tags["matches"]), (&json!(["tags"]), &by_mbid["matches"]));
    let by_end = ask(json!({"name": "x", "path": "metal/muldjord-chaos-god.mp3"}));
    assert_eq!((&by_end["found_by"], &by_end["matches"]), (&json!(["path"]), &by_mbid["matches"]));
    // Albums and artists stand for their songs.
    let of_artist =
        server.good("/api/v1/refs/similar", &json!({"artists": [{"name": "MULDJORD"}], "count": 3}));
    let artists: Vec<&Value> =
        of_artist["matches"].as_array().unwrap().iter().map(|found| &found["song"]["artist"]).collect();
    assert!(artists.len() == 3 && artists.iter().all(|artist| **artist != "Muldjord"), "{artists:?}");
    let (status, _) = server.post("/api/v1/refs/similar", &json!({"artists": [{"name": "Nobody"}]}));
    assert_eq!(status, 404);
    let (status, _) = server.post("/api/v1/refs/similar", &json!({"songs": []}));
    assert_eq!(status, 400);
    let near = server.good("/api/v1/refs/artists", &json!({"artist": {"name": "muldjord"}, "count": 1}));
    assert_eq!(near["artists"][0]["name"], "Obsidian Shell");
}

#[cfg(feature = "mcp")]
#[test]
fn an_assistant_gets_what_the_command_line_says() {
    let python = std::env::var("VOISIN_PLAYERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "from mcp import MCPError"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skipped("the protocol's client (PyPI's mcp)");
    }
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/assistant.py");
    let ask = |library: &str, calls: &Value| -> Value {
        let mut process = Command::new(&python)
            .args([script, env!("CARGO_BIN_EXE_voisin")])
            .env("VOISIN_LIBRARY", sandbox.path(library))
            .env("HOME", sandbox.path("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(calls.to_string().as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let questions = [
        ("similar", json!({"seeds": [{"words": "chaos god"}], "limit": 3}), "similar|chaos god|--limit|3"),
        ("similar", json!({"seeds": [{"id": 1}], "filters": {"bpm": "60-130"}}), "similar|id:1|--bpm|60-130"),
        (
            "find",
            json!({"query": "loud guitar, no voice", "limit": 2}),
            "find|loud guitar, no voice|--limit|2",
        ),
        ("list", json!({"genre": ["metal"], "words": true, "after": null}), "list|--genre|metal"),
        ("classify", json!({"tracks": [{"id": 1}]}), "classify|id:1"),
        ("path", json!({"from": {"id": 1}, "to": {"id": 5}, "steps": 3}), "path|id:1|id:5|--steps|3"),
        ("playlist", json!({"seeds": [{"id": 1}], "limit": 4}), "playlist|id:1|--limit|4"),
        ("genres", json!({}), "genres"),
        ("clusters", json!({}), "clusters"),
        ("suspects", json!({"all": true}), "suspects|--all"),
        ("duplicates", json!({}), "duplicates"),
        ("status", json!({}), "status"),
        ("show", json!({"id": 1, "words": true}), ""),
        ("words", json!({}), ""),
    ];
    // An index that is of no use is built while the first question waits.
    fs::write(sandbox.path("library/index.bin"), b"this is no index").unwrap();
    let calls = questions.iter().map(|(tool, arguments, _)| json!([tool, arguments])).collect();
    let heard = ask("library", &Value::Array(calls));
    assert_eq!(heard["name"], "voisin");
    assert!(heard["instructions"].as_str().unwrap().contains("`list` finds ids"), "{heard}");
    let tools = heard["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 13);
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(tool["description"].as_str().is_some_and(|text| !text.is_empty()), "{tool}");
        assert!(questions.iter().any(|(name, ..)| tool["name"] == *name), "each is tried: {tool}");
    }
    for ((tool, arguments, line), answer) in questions.iter().zip(heard["answers"].as_array().unwrap()) {
        assert_eq!(answer["is_error"], false, "{tool} {arguments}: {answer}");
        let mut answer: Value = serde_json::from_str(answer["text"].as_str().unwrap()).unwrap();
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
        ["similar", {"seeds": [{"id": 99}]}],
        ["similar", {"seeds": [{"path": "/etc/passwd"}]}],
        ["similar", {"seeds": [{"id": 1}], "sudo": true}],
        ["list", {"limit": 0}],
        ["list", {"genre": ["polka"]}],
        ["list", {"sudo": true}],
        ["show", {}],
        ["show", {"id": "../../etc/passwd"}],
        ["find", {"query": "xyzzy"}],
        ["playlist", {"cluster": 99}],
        ["delete", {}],
    ]);
    let answers = ask("library", &wrong)["answers"].take();
    let answers = answers.as_array().unwrap();
    for (call, answer) in wrong.as_array().unwrap().iter().zip(&answers[..12]) {
        let text = answer["text"].as_str().unwrap();
        assert_eq!(answer["is_error"], true, "{call}: {text}");
        assert!(text.contains("; next: ") && text.len() > 30, "{call}: {text}");
        assert!(
            !text.contains("/api/v1") && !text.contains("root:"),
            "an assistant has tools: {call}: {text}"
        );
    }
    assert!(answers[12]["refused"].as_str().unwrap().contains("there is no tool"), "{}", answers[12]);

    let nowhere = ask("nowhere", &json!([["list", {}], ["similar", {"seeds": [{"id": 1}]}]]));
    assert_eq!(nowhere["tools"].as_array().unwrap().len(), 13);
    for answer in nowhere["answers"].as_array().unwrap() {
        let text = answer["text"].as_str().unwrap();
        assert!(answer["is_error"] == true && text.contains("voisin add"), "{text}");
    }
    assert!(!sandbox.path("nowhere").exists(), "nothing is made");
}

#[cfg(feature = "mcp")]
#[test]
fn an_assistant_hears_nothing_but_the_protocol_and_ends_it_by_closing() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let talk = |arguments: &[&str], lines: &[Value]| {
        let mut command = sandbox.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        for line in lines {
            let line = line.as_str().map_or_else(|| line.to_string(), str::to_owned);
            writeln!(stdin, "{line}").unwrap();
        }
        drop(stdin);
        let start = Instant::now();
        let output = process.wait_with_output().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20), "it ends when nobody can ask any more");
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
        ],
    );
    let said = fine(&output);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["jsonrpc"] == "2.0"), "{said}");
    for id in 1..=3 {
        let answer = lines.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("{id}: {said}"));
        assert!(answer["result"].is_object(), "what was asked before it closed is answered: {answer}");
    }
    for lines in [&[][..], &[garbage]] {
        let output = talk(&["mcp"], lines);
        assert_eq!((code(&output), output.stdout.len()), (0, 0), "{}", text(&output.stderr));
    }
    let output = talk(&["mcp"], &[call(1, "status", json!({}))]);
    let refused: Value = serde_json::from_str(&fine(&output)).expect("one line");
    assert!(refused["id"] == 1 && refused["error"]["code"].is_number(), "who does not greet: {refused}");
}
