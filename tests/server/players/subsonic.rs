//! Subsonic servers and their clients, and the API of AudioMuse-AI.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{Running, free_port, is_installed, secret_file, skipped, until};
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, at_a_terminal, code, fine, noise_wav, text};

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

    /// Starts a scan.
    pub(super) fn scan(sandbox: &Sandbox) {
        let mut cli = Command::new("supysonic-cli");
        let output = cli
            .args(["folder", "scan", "-f", "music"])
            .current_dir(sandbox.path("supysonic"))
            .output();
        assert!(output.unwrap().status.success());
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

pub(super) fn link(sandbox: &Sandbox, url: &str, password: &str) -> Output {
    let mut command = sandbox.command(["link", url, "--user", "alice", "--format", "json"]);
    command
        .env("VOISIN_PASSWORD", password)
        .stdin(Stdio::null())
        .output()
        .unwrap()
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

/// The library's songs on a server behind voisin.
struct Linked {
    server: Server,
    /// As the server behind describes them.
    songs: Value,
    /// The songs nearest to the first one: the server's title, the library's, and the similarity.
    similar: Vec<(String, String, f64)>,
}

impl Linked {
    fn new(sandbox: &Sandbox, server: Server) -> Self {
        let songs = subsonic(&server, "search3.view", "query=&songCount=100");
        let songs = songs["searchResult3"]["song"].clone();
        let answer = sandbox.run(["similar", "chaos god", "--limit", "6", "--format", "json"]);
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
        let mut similar = Vec::new();
        for near in answer["neighbours"].as_array().unwrap() {
            let file = near["path"].as_str().unwrap().rsplit('/').next().unwrap();
            // The only one that the server lacks.
            if file == "extra.wav" {
                continue;
            }
            // The server reads no tags of a WAV.
            let mut all = songs.as_array().unwrap().iter();
            let song = all.find(|song| song["path"].as_str().unwrap().ends_with(file));
            similar.push((
                song.unwrap()["title"].as_str().unwrap().to_owned(),
                near["title"].as_str().unwrap().to_owned(),
                near["similarity"].as_f64().unwrap(),
            ));
        }
        assert_eq!(similar.len(), 5);
        Self {
            server,
            songs,
            similar,
        }
    }

    fn named(&self, title: &str) -> &Value {
        let mut songs = self.songs.as_array().unwrap().iter();
        songs.find(|song| song["title"] == title).unwrap()
    }

    fn first(&self) -> &Value {
        self.named("Chaos God")
    }

    fn last(&self) -> &Value {
        self.named("Nebula")
    }

    fn names(&self) -> Vec<&str> {
        self.similar.iter().map(|near| near.0.as_str()).collect()
    }
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
    // One song is only on the server, one only in the library.
    fs::write(
        music.join("metal/only-there.wav"),
        noise_wav(22_050, 5.0, 9),
    )
    .unwrap();
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    fs::remove_file(music.join("metal/only-there.wav")).unwrap();
    let extra = sandbox.path("extra.wav");
    fs::write(&extra, noise_wav(22_050, 5.0, 4)).unwrap();
    fine(sandbox.run(["add", extra.to_str().unwrap()]));

    linking_stores_no_password(&sandbox, &upstream);
    let server = Server::start(
        &sandbox,
        &[
            "--subsonic",
            &upstream.url(),
            "--audiomuse",
            &upstream.url(),
        ],
    );
    let linked = Linked::new(&sandbox, server);
    similar_songs_are_the_command_lines(&linked);
    errors_have_subsonics_form(&linked.server, linked.first(), linked.names()[0]);
    let whole = fs::read(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    other_requests_are_forwarded(&linked.server, linked.first(), &whole);
    other_clients_get_the_same(&linked.server, &linked.names(), whole.len());
    let own_titles: Vec<&str> = linked.similar.iter().map(|near| near.1.as_str()).collect();
    audiomuse_answers_as_its_plugins_ask(
        &linked.server,
        linked.first(),
        linked.last(),
        &own_titles,
    );

    let log = linked.server.log.lock().unwrap().clone();
    assert!(
        log.contains("GET /rest/getSimilarSongs 200") && !log.contains("s3cret"),
        "{log}"
    );
    // Without the server behind, requests that need it fail with a message.
    drop(upstream);
    let (_, _, answer) = get(
        &linked.server,
        &format!(
            "/rest/getSimilarSongs?u=alice&p=enc:00&v=1.8&c=t&f=json&count=3&id={}",
            id_of(linked.first())
        ),
    );
    assert!(
        answer.contains("\"code\":0") && answer.contains("is it running"),
        "{answer}"
    );
    let (status, _, body) = linked.server.send("GET", "/rest/ping.view", "", b"");
    assert!(
        status == 200 && text(&body).contains("is it running"),
        "{}",
        text(&body)
    );
    assert_eq!(linked.server.get("/api/v1/status").0, 200);
    let forgotten = sandbox.run(["link", "--forget", "http://nowhere"]);
    assert_eq!(code(&forgotten), 2);
}

/// Linking reports matched and unmatched songs, and stores no password.
fn linking_stores_no_password(sandbox: &Sandbox, upstream: &Supysonic) {
    let wrong = link(sandbox, &upstream.url(), "wrong");
    assert_eq!(code(&wrong), 2);
    assert!(
        text(&wrong.stderr).contains("Wrong username or password"),
        "{}",
        text(&wrong.stderr)
    );
    let linked = link(sandbox, &upstream.url(), "s3cret&");
    assert_eq!(
        code(&linked),
        1,
        "some did not match: {}",
        text(&linked.stderr)
    );
    let linked: Value = serde_json::from_slice(&linked.stdout).unwrap();
    assert_eq!(
        (
            &linked["songs"],
            &linked["linked"],
            &linked["unknown_to_server"]
        ),
        (&json!(7), &json!(6), &json!(1))
    );
    assert_eq!(linked["found_by"], json!({"path": 6}));
    let unmatched = &linked["unmatched"];
    assert_eq!(
        (unmatched.as_array().unwrap().len(), &unmatched[0]["path"]),
        (1, &json!("metal/only-there.wav"))
    );
    let shown = fine(sandbox.run(["link"]));
    assert!(
        shown.contains(&upstream.url()) && shown.contains('6'),
        "{shown}"
    );
    for entry in fs::read_dir(sandbox.path("library")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
        assert!(
            !holds(b"s3cret&") && !holds(b"73336372657426"),
            "no password is kept"
        );
    }
}

fn similar_songs_are_the_command_lines(linked: &Linked) {
    let server = &linked.server;
    let first = linked.first();
    let last = linked.last();
    let names = linked.names();
    let query = format!("id={}&count=3", id_of(first));
    let answer = subsonic(server, "getSimilarSongs.view", &query);
    assert_eq!(titles(&answer["similarSongs"]["song"]), names[..3]);
    assert_eq!(
        answer["similarSongs"]["song"][0]["path"].as_str(),
        linked.named(names[0])["path"].as_str(),
        "as the server describes it"
    );
    assert_eq!(
        titles(&subsonic(server, "getSimilarSongs2", &query)["similarSongs2"]["song"]),
        names[..3]
    );
    let sonic = subsonic(server, "getSonicSimilarTracks", &query)["sonicMatch"].clone();
    for (found, (title, _, similarity)) in sonic.as_array().unwrap().iter().zip(&linked.similar) {
        assert_eq!(found["entry"]["title"], title.as_str());
        assert!(
            (found["similarity"].as_f64().unwrap() - similarity.max(0.0)).abs() < 1e-6,
            "{found}"
        );
    }
    let path = format!(
        "startSongId={}&endSongId={}&count=4",
        id_of(first),
        id_of(last)
    );
    let walk = subsonic(server, "findSonicPath.view", &path)["sonicMatch"].clone();
    let walk = walk.as_array().unwrap();
    assert!((2..=4).contains(&walk.len()));
    assert_eq!(
        (
            &walk[0]["entry"]["id"],
            &walk[walk.len() - 1]["entry"]["id"]
        ),
        (&first["id"], &last["id"])
    );
    assert!(walk[0]["similarity"].as_f64().unwrap() > 0.999);
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
    let there = linked
        .songs
        .as_array()
        .unwrap()
        .iter()
        .find(|song| song["path"] == "metal/only-there.wav")
        .unwrap();
    let answer = subsonic(
        server,
        "getSonicSimilarTracks",
        &format!("id={}", id_of(there)),
    );
    assert_eq!(
        (&answer["status"], &answer["sonicMatch"]),
        (&json!("ok"), &json!([]))
    );
}

fn errors_have_subsonics_form(server: &Server, first: &Value, nearest: &str) {
    let unknown = subsonic(server, "getSimilarSongs", "id=nonsense");
    assert_eq!(
        (&unknown["status"], &unknown["error"]["code"]),
        (&json!("failed"), &json!(70)),
        "{unknown}"
    );
    let missing = subsonic(server, "getSonicSimilarTracks", "count=1");
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
    let (status, head, answer) = get(server, "/rest/getOpenSubsonicExtensions.view");
    assert!(
        status == 200 && head.contains("content-type: application/xml"),
        "{head}"
    );
    assert!(
        answer.contains(r#"<openSubsonicExtensions name="sonicSimilarity"><versions>1</versions>"#),
        "{answer}"
    );
    let (_, head, answer) = get(
        server,
        &format!(
            "/rest/getSonicSimilarTracks.view?u=alice&p=enc:{}&v=1.8&c=t&f=jsonp&callback=cb&count=1&id={}",
            "s3cret&"
                .bytes()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
            id_of(first)
        ),
    );
    assert!(
        head.contains("javascript") && answer.starts_with("cb({") && answer.contains(nearest),
        "{head}\n{answer}"
    );
    let form = format!(
        "u=alice&p=s3cret%26&v=1.16.1&c=t&count=1&id={}",
        id_of(first)
    );
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (_, _, body) = server.send(
        "POST",
        "/rest/getSonicSimilarTracks.view",
        kind,
        form.as_bytes(),
    );
    let body = text(&body);
    assert!(
        body.contains("<sonicMatch><entry ") && body.contains("</entry><similarity>0."),
        "{body}"
    );
    let long = format!("{form}&x={}", "a".repeat(100_000));
    assert_eq!(
        server
            .send("POST", "/rest/getSimilarSongs", kind, long.as_bytes())
            .0,
        413
    );
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

/// Two clients of other projects.
fn other_clients_get_the_same(server: &Server, names: &[&str], length: usize) {
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
            let script = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/server/players/subsonic_api.mjs"
            );
            let url = format!("http://{}", server.address);
            let output = Command::new("node")
                .args([script, &folder, &url, "alice", "s3cret&"])
                .output()
                .unwrap();
            let answer: Value = serde_json::from_str(&fine(output)).unwrap();
            for way in [&answer["get"], &answer["post"]] {
                assert_eq!(
                    (&way["similar"], &way["similar2"]),
                    (&json!(names[..3]), &json!(names[..3]))
                );
                assert_eq!(
                    (&way["sonic"][0][0], &way["bytes"]),
                    (&json!(names[0]), &json!(length))
                );
                assert_eq!(way["extensions"], json!(["sonicSimilarity"]));
            }
        }
        _ => skipped("subsonic-api"),
    }
}

#[test]
fn a_subsonic_server_needs_a_trusted_certificate_for_https() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    if !is_installed("openssl") || !is_installed("python3") {
        return skipped("openssl or python3");
    }
    let certificate = sandbox.path("server.crt");
    let key = sandbox.path("server.key");
    let made = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-x509",
            "-days",
            "2",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/server/players/tls_end.py"
    );
    let mut end = Command::new("python3");
    end.arg(script)
        .arg(&certificate)
        .arg(&key)
        .arg(upstream.port.to_string())
        .stdout(Stdio::piped());
    let mut end = Running(end.spawn().unwrap());
    let mut port = String::new();
    BufReader::new(end.0.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let url = format!("https://localhost:{}", port.trim());
    let link = |url: &str, trusted: bool| {
        let mut command = sandbox.command(["link", url, "--user", "alice", "--format", "json"]);
        if trusted {
            command.env("SSL_CERT_FILE", &certificate);
        }
        command
            .env("VOISIN_PASSWORD", "s3cret&")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let linked = link(&url, true);
    assert_eq!(code(&linked), 0, "{}", text(&linked.stderr));
    let linked: Value = serde_json::from_slice(&linked.stdout).unwrap();
    assert_eq!(
        (&linked["songs"], &linked["linked"]),
        (&json!(6), &json!(6))
    );
    // The password is read from a file, or at a terminal without echo.
    let file = secret_file(sandbox.path("password"), "s3cret&\nmore\n");
    let mut command = sandbox.command(["link", &url, "--user", "alice", "--password-file"]);
    fine(
        command
            .arg(&file)
            .env("SSL_CERT_FILE", &certificate)
            .output()
            .unwrap(),
    );
    let mut command = at_a_terminal("password: ", "s3cret&\n");
    command
        .args(["link", &url, "--user", "alice"])
        .env("SSL_CERT_FILE", &certificate)
        .env("VOISIN_LIBRARY", sandbox.path("library"));
    let shown = fine(command.env_remove("VOISIN_PASSWORD").output().unwrap());
    assert!(
        shown.contains("6 songs of") && !shown.contains("s3cret"),
        "{shown}"
    );
    // Refused: an untrusted certificate, one for another name, and a server without encryption.
    let other_name = url.replace("localhost", "127.0.0.1");
    let plain = upstream.url().replace("http:", "https:");
    for (url, trusted, expected) in [
        (&url, false, "SSL_CERT_FILE"),
        (&other_name, true, "certificate"),
        (&plain, true, "is this its address?"),
    ] {
        let refused = link(url, trusted);
        assert_eq!(code(&refused), 2);
        assert!(
            text(&refused.stderr).contains(expected),
            "{url}: {}",
            text(&refused.stderr)
        );
    }

    let trusting = [("SSL_CERT_FILE", certificate.as_os_str())];
    let server = Server::start_with(&sandbox, &["--subsonic", &url], &trusting);
    let songs =
        subsonic(&server, "search3.view", "query=&songCount=100")["searchResult3"]["song"].clone();
    let first = songs
        .as_array()
        .unwrap()
        .iter()
        .find(|song| song["title"] == "Chaos God")
        .unwrap();
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
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("SSL_CERT_FILE"),
        "{answer}"
    );
    let refused = subsonic(&server, "ping", "");
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("certificate"),
        "{refused}"
    );
}

/// Requests of plugins for Jellyfin and Ampache to AudioMuse-AI.
fn audiomuse_answers_as_its_plugins_ask(
    server: &Server,
    first: &Value,
    last: &Value,
    names: &[&str],
) {
    assert_eq!(server.get("/api/health"), (200, json!({"status": "ok"})));
    let near = server.good_get(&format!(
        "/api/similar_tracks?item_id={}&n=3&eliminate_duplicates=true&radius_similarity=true",
        id_of(first)
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
        id_of(first),
        id_of(last)
    ));
    let path = walk["path"].as_array().unwrap();
    assert_eq!(
        (&path[0]["item_id"], &path[path.len() - 1]["item_id"]),
        (&first["id"], &last["id"])
    );
    assert!(walk["total_distance"].as_f64().unwrap() > 0.0);
    let farthest = server.good_get(&format!("/api/max_distance?item_id={}", id_of(first)));
    let all = server.good_get(&format!(
        "/api/similar_tracks?item_id={}&n=500&eliminate_duplicates=false",
        id_of(first)
    ));
    let last_of_all = all.as_array().unwrap().last().unwrap();
    assert_eq!(
        farthest["farthest_item_id"], last_of_all["item_id"],
        "{farthest} {all}"
    );
    let apart =
        farthest["max_distance"].as_f64().unwrap() - last_of_all["distance"].as_f64().unwrap();
    assert!(apart.abs() < 1e-3, "{farthest} {last_of_all}");
    let artists =
        server.good_get("/api/similar_artists?artist=Muldjord&n=2&include_component_matches=true");
    assert_eq!(artists[0]["artist"], "Obsidian Shell", "{artists}");
    let matched = &artists[0]["component_matches"][0];
    assert!(
        matched["artist1_representative_songs"][0]["item_id"].is_string(),
        "{matched}"
    );
    assert!(
        artists[0]["divergence"].is_number() && artists[0]["artist_id"].is_string(),
        "{artists}"
    );
    let artist_id = first["artistId"].as_str().unwrap();
    let by_id = server.good_get(&format!(
        "/api/similar_artists?artist={artist_id}&n=2&include_component_matches=true"
    ));
    assert_eq!(by_id, artists);
    let found = server.good_get("/api/search_tracks?search_query=muldjord&start=0&end=1");
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert!(found[0].get("album_artist").is_some());
    let one = server.good_get(&format!("/api/track?item_id={}", id_of(first)));
    assert_eq!(
        (&one["title"], &one["author"]),
        (&json!("Chaos God"), &json!("Muldjord"))
    );
    assert_eq!(server.get("/api/active_tasks"), (200, json!({})));
    // Blends, words, and the nearest under another name; numbers may be strings.
    let item = |song: &Value, op: &str| json!({"id": id_of(song), "op": op, "type": "song"});
    let alone = server.good(
        "/api/alchemy",
        &json!({"items": [item(first, "ADD")], "n": "3"}),
    );
    assert_eq!(titles(&alone["results"]), names[..3]);
    let subtracted = json!({"id": near[0]["item_id"], "op": "SUBTRACT"});
    let without = server.good(
        "/api/alchemy",
        &json!({"items": [item(first, "ADD"), subtracted], "n": 5}),
    );
    assert_ne!(titles(&without["results"])[0], names[0], "{without}");
    let artist = json!({"items": [{"id": "Muldjord", "op": "add", "type": "artist"}], "n": 3});
    let of_artist = server.good("/api/alchemy", &artist);
    assert!(
        titles(&of_artist["results"])
            .iter()
            .all(|title| *title != "Chaos God"),
        "{of_artist}"
    );
    let near_again = server.good(
        "/api/hyperbolic/similar",
        &json!({"item_id": id_of(first), "limit": 3}),
    );
    assert_eq!(
        (&near_again["results"], &near_again["count"]),
        (&near, &json!(3))
    );
    let calm = server.good("/api/clap/search", &json!({"query": "calm", "n": 2}));
    let ours = server.good_get("/api/v1/find?query=calm&limit=2")["tracks"].clone();
    let title_of = |one: &Value| one["title"].as_str().unwrap().to_owned();
    let ours: Vec<String> = ours.as_array().unwrap().iter().map(title_of).collect();
    assert_eq!(titles(&calm["results"]), ours);
    assert!(
        calm["results"][0]["similarity"].as_f64().unwrap() > 0.0 && calm["count"] == 2,
        "{calm}"
    );
    for (path, body, status) in [
        ("alchemy", json!({"items": []}), 400),
        ("alchemy", json!({"items": [{"id": "x", "op": "ADD"}]}), 404),
        (
            "alchemy",
            json!({"items": [{"id": "x", "op": "ADD", "type": "mood"}]}),
            501,
        ),
        ("alchemy", json!({"items": [{"id": "x", "op": "MIX"}]}), 400),
        (
            "hyperbolic/similar",
            json!({"item_id": id_of(first), "mode": "roots"}),
            501,
        ),
        ("hyperbolic/similar", json!({"item_id": "x"}), 404),
        ("clap/search", json!({"query": "xyzzy"}), 404),
        ("clap/search", json!({"n": 3}), 400),
    ] {
        let (found, answer) = server.post(&format!("/api/{path}"), &body);
        assert!(
            found == status && answer["error"].is_string(),
            "{path} {body}: {found} {answer}"
        );
    }
    // Requests of tagging programs.
    let score = server.good_get(&format!("/external/get_score?id={}", id_of(first)));
    let track = server.good_get("/api/v1/tracks?query=chaos+god")["tracks"][0].clone();
    assert!(
        track["tempo"].is_number() && track["key"].is_string(),
        "{track}"
    );
    let key = track["key"].as_str().unwrap();
    let scale = if key.ends_with('m') { "minor" } else { "major" };
    assert_eq!(
        (
            &score["item_id"],
            &score["tempo"],
            &score["key"],
            &score["scale"]
        ),
        (
            &first["id"],
            &track["tempo"],
            &json!(key.trim_end_matches('m')),
            &json!(scale)
        )
    );
    let energy = track["scales"]["energy"].as_f64().unwrap() / 100.0;
    let answered = score["energy"].as_f64().unwrap();
    assert!((answered - energy).abs() < 1e-6, "{answered} {energy}");
    let vector =
        server.good_get(&format!("/external/get_embedding?id={}", id_of(first)))["embedding"]
            .clone();
    let numbers: Vec<f64> = vector
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect();
    let length: f64 = numbers.iter().map(|x| x * x).sum();
    assert!(
        numbers.len() >= 200 && (length - 1.0).abs() < 1e-3,
        "{} {length}",
        numbers.len()
    );
    assert_eq!(
        server.good_get("/external/search?title=chaos&artist=muldjord")[0]["item_id"],
        first["id"]
    );
    for (path, status) in [
        ("/api/track?item_id=nonsense", 404),
        ("/api/similar_tracks", 400),
        ("/api/max_distance", 400),
        ("/api/max_distance?item_id=x", 404),
        ("/api/similar_tracks?item_id=x&n=-1", 400),
        ("/api/similar_artists?artist=Nobody", 404),
        ("/api/clustering", 501),
        ("/api/similar_artists?artist_id=x", 404),
        ("/api/find_path?start_song_id=x&end_song_id=x", 400),
        ("/api/similar_artists", 400),
        ("/external/get_score?id=x", 404),
        ("/external/get_embedding", 400),
        ("/external/else", 501),
        ("/api/v1/nonsense", 404),
    ] {
        let (found, answer) = server.get(path);
        assert!(
            found == status && answer["error"].is_string(),
            "{path}: {found} {answer}"
        );
    }
    for path in ["/api/track?item_id=x", "/external/search?title=x"] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.address
        );
        assert_eq!(server.raw(request.as_bytes()).0, 401, "they need the token");
    }
}
