//! Subsonic servers that are older, slower or more limited than others: supysonic behind a proxy.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::subsonic::{Supysonic, link, subsonic, titles};
use super::{secret_file, until};
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, code, fine, noise_wav, text};

/// The behaviour of the proxy.
#[derive(Default)]
struct Door {
    takes_forms: bool,
    /// Newer clients are refused, as the API has it.
    newest: u32,
    slow: bool,
    /// A music folder and the prefix of its paths, for search3.
    folder: Option<(&'static str, &'static str)>,
    /// How often each endpoint was requested.
    requests: HashMap<String, usize>,
}

impl Door {
    /// Opens a proxy port before another port.
    fn open(before: u16, door: Self) -> (u16, Arc<Mutex<Self>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let door = Arc::new(Mutex::new(door));
        let shared = Arc::clone(&door);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let door = Arc::clone(&shared);
                std::thread::spawn(move || pass(stream, before, &door));
            }
        });
        (port, door)
    }

    fn take_requests(door: &Mutex<Self>) -> HashMap<String, usize> {
        std::mem::take(&mut door.lock().unwrap().requests)
    }
}

fn pass(mut client: TcpStream, port: u16, door: &Mutex<Door>) -> Option<()> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    let (head, body) = loop {
        let n = client.read(&mut piece).ok().filter(|n| *n > 0)?;
        request.extend(&piece[..n]);
        let end = request.windows(4).position(|four| four == b"\r\n\r\n");
        let Some((head, body)) = end.map(|end| (text(&request[..end]), &request[end + 4..])) else {
            continue;
        };
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.clone(), text(body));
        }
    };
    let target = head.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters = format!("{query}&{body}");
    let minor = parameters.split('&').find_map(|pair| {
        pair.strip_prefix("v=1.")?
            .split('.')
            .next()?
            .parse::<u32>()
            .ok()
    });
    let (refusal, slow, folder) = {
        let mut door = door.lock().unwrap();
        let name = path
            .rsplit('/')
            .next()?
            .trim_end_matches(".view")
            .to_owned();
        *door.requests.entry(name).or_default() += 1;
        let refusal = if head.starts_with("POST") && !door.takes_forms {
            Some(("405 Method Not Allowed", "no".to_owned()))
        } else if minor.is_none_or(|minor| minor > door.newest) {
            let error =
                json!({"code": 30, "message": "Incompatible version. Server must upgrade."});
            Some((
                "200 OK",
                json!({"subsonic-response": {"status": "failed", "version": "1.15.0", "error": error}})
                    .to_string(),
            ))
        } else {
            None
        };
        let is_in = |(id, _): &(&str, &str)| {
            path.contains("search3") && parameters.contains(&format!("musicFolderId={id}"))
        };
        (refusal, door.slow, door.folder.filter(is_in))
    };
    if slow {
        std::thread::sleep(Duration::from_secs(8));
    }
    if let Some((status, body)) = refusal {
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        return client.write_all(answer.as_bytes()).ok();
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    // The folder exists only in the proxy: supysonic does not know it.
    let named = folder.map_or_else(String::new, |(id, _)| format!("&musicFolderId={id}"));
    let head = head.replacen(&named, "", 1);
    let body = body.replacen(&named, "", 1);
    let kept = head.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("connection:") && !line.starts_with("content-length:")
    });
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let head = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n");
    server.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let Some((_, begin)) = folder else {
        return std::io::copy(&mut server, &mut client).ok().map(drop);
    };
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    let answer = text(&answer);
    let mut json: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    if let Some(songs) = json["subsonic-response"]["searchResult3"]["song"].as_array_mut() {
        songs.retain(|song| song["path"].as_str().unwrap().starts_with(begin));
    }
    let body = json.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    client
        .write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .ok()
}

#[test]
fn songs_come_from_the_requested_music_folder() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let door = Door {
        newest: 16,
        takes_forms: true,
        folder: Some(("7", "ambient/")),
        ..Door::default()
    };
    let (port, door) = Door::open(upstream.port, door);
    let url = format!("http://127.0.0.1:{port}");
    assert_eq!(code(&link(&sandbox, &url, "s3cret&")), 0);
    let server = Server::start(&sandbox, &["--subsonic", &url]);
    let songs =
        subsonic(&server, "search3", "query=&songCount=100")["searchResult3"]["song"].clone();
    let id = songs
        .as_array()
        .unwrap()
        .iter()
        .find(|song| song["title"] == "Chaos God")
        .unwrap();
    let id = id["id"].as_str().unwrap();
    let is_ambient = |query: &str| -> Vec<bool> {
        let answer = subsonic(
            &server,
            "getSimilarSongs2",
            &format!("id={id}&count=9{query}"),
        );
        let songs = answer["similarSongs2"]["song"].as_array().unwrap().clone();
        songs
            .iter()
            .map(|song| song["path"].as_str().unwrap().starts_with("ambient/"))
            .collect()
    };
    let all = is_ambient("");
    assert!(all.len() == 5 && all.contains(&false));
    let some = is_ambient("&musicFolderId=7");
    assert!(some.len() == 3 && !some.contains(&false), "{some:?}");
    Door::take_requests(&door);
    let sonic = subsonic(
        &server,
        "getSonicSimilarTracks",
        &format!("id={id}&count=9&musicFolderId=7"),
    );
    assert_eq!(sonic["sonicMatch"].as_array().unwrap().len(), 3);
    assert!(
        !Door::take_requests(&door).contains_key("search3"),
        "the folder is remembered"
    );
    // Both ends are the requested ones, outside the folder; the songs between them lie in it.
    let ends: Vec<&Value> = songs
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["path"].as_str().unwrap().starts_with("metal/"))
        .collect();
    let walk = |query: &str| -> Vec<String> {
        let start = ends[0]["id"].as_str().unwrap();
        let end = ends[1]["id"].as_str().unwrap();
        let query = format!("startSongId={start}&endSongId={end}{query}");
        let all = subsonic(&server, "findSonicPath", &query)["sonicMatch"]
            .as_array()
            .unwrap()
            .clone();
        all.iter()
            .map(|one| one["entry"]["path"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = walk("");
    let inside = walk("&musicFolderId=7");
    let inner = |way: &[String]| way[1..way.len() - 1].to_vec();
    let expected: Vec<String> = inner(&all)
        .into_iter()
        .filter(|path| path.starts_with("ambient/"))
        .collect();
    assert!(
        inner(&all).iter().any(|path| path.starts_with("metal/")),
        "{all:?}"
    );
    assert_eq!(
        (inner(&inside), &inside[0], inside.last()),
        (expected, &all[0], all.last())
    );
}

#[test]
fn an_older_server_without_forms_gets_requests_it_accepts() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let (port, door) = Door::open(
        upstream.port,
        Door {
            newest: 15,
            ..Door::default()
        },
    );
    let url = format!("http://127.0.0.1:{port}");
    let linked = link(&sandbox, &url, "s3cret&");
    assert_eq!(code(&linked), 0, "{}", text(&linked.stderr));
    let server = Server::start(&sandbox, &["--subsonic", &url]);
    let old = |endpoint: &str, query: &str| {
        let path = format!("/rest/{endpoint}?u=alice&p=s3cret%26&v=1.13.0&c=test&f=json&{query}");
        let (status, _, body) = server.send("GET", &path, "", b"");
        assert_eq!(status, 200, "{endpoint} {query}: {}", text(&body));
        serde_json::from_slice::<Value>(&body).unwrap()["subsonic-response"].clone()
    };
    let songs = old("search3.view", "query=&songCount=100")["searchResult3"]["song"].clone();
    assert_eq!(songs.as_array().unwrap().len(), 6);
    let id = |at: usize| songs[at]["id"].as_str().unwrap();
    let answer = old("getSimilarSongs2", &format!("id={}&count=5", id(0)));
    let found = titles(&answer["similarSongs2"]["song"]).len();
    assert_eq!(found, 5, "{answer}");
    let none = old("getSimilarSongs2", &format!("id={}&count=0", id(0)));
    assert_eq!(none["similarSongs2"]["song"], json!([]));

    // The next mix needs no request per song: one for the requested song, which also checks the login.
    super::until("all songs are known", || {
        !Door::take_requests(&door).contains_key("search3")
    });
    let answer = old("getSimilarSongs2", &format!("id={}&count=5", id(3)));
    assert_eq!(titles(&answer["similarSongs2"]["song"]).len(), 5);
    let requests = Door::take_requests(&door);
    assert!(requests.values().sum::<usize>() <= 1, "{requests:?}");

    // Both ends of a path are the requested ones, also where the server's song is not linked.
    let ends = format!("startSongId={}&endSongId={}&count=4", id(0), id(5));
    let mut database = sandbox.command(["link", "--forget", &url]);
    assert!(database.output().unwrap().status.success());
    let path = old("findSonicPath", &ends)["sonicMatch"].clone();
    let path: Vec<&str> = path
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["entry"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        (path.first(), path.last()),
        (Some(&id(0)), Some(&id(5))),
        "{path:?}"
    );
    let same = old(
        "findSonicPath",
        &format!("startSongId={0}&endSongId={0}", id(0)),
    );
    assert_eq!(
        same["sonicMatch"].as_array().map(Vec::len),
        Some(1),
        "{same}"
    );
    let unknown = old(
        "findSonicPath",
        &format!("startSongId={}&endSongId=nonsense", id(0)),
    );
    assert_eq!(unknown["error"]["code"], 70, "{unknown}");
}

#[test]
fn a_slow_server_delays_only_requests_that_need_it() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let (port, door) = Door::open(
        upstream.port,
        Door {
            newest: 16,
            takes_forms: true,
            ..Door::default()
        },
    );
    let server = Server::start(
        &sandbox,
        &["--subsonic", &format!("http://127.0.0.1:{port}")],
    );
    door.lock().unwrap().slow = true;
    for _ in 0..2 {
        let begun = Instant::now();
        let answer = subsonic(&server, "getOpenSubsonicExtensions", "");
        assert_eq!(
            answer["openSubsonicExtensions"][0]["name"],
            "sonicSimilarity"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
    }
    drop(upstream);
    door.lock().unwrap().slow = false;
    let server = Server::start(&sandbox, &["--subsonic", "http://127.0.0.1:1"]);
    let answer = subsonic(&server, "ping", "");
    assert_eq!(
        (&answer["status"], &answer["error"]["code"]),
        (&json!("failed"), &json!(0)),
        "{answer}"
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("is it running"),
        "{answer}"
    );
    let form = "u=alice&p=x&v=1.16.1&c=t&f=json";
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (status, _, body) = server.send("POST", "/rest/ping.view", kind, form.as_bytes());
    assert!(
        status == 200 && text(&body).starts_with("{\"subsonic-response\""),
        "{}",
        text(&body)
    );
}

/// A server that answers every request with this head and `hello`, and records the requests.
fn shown_server(head: &'static str) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&requests);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8192];
            let read = stream.read(&mut request).unwrap_or(0);
            noted.lock().unwrap().push_str(&text(&request[..read]));
            let answer = format!("{head}Connection: close\r\nContent-Length: 5\r\n\r\nhello");
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    (url, requests)
}

#[test]
fn forwarded_requests_and_answers_lose_private_headers() {
    let (url, requests) = shown_server(
        "HTTP/1.1 200 OK\r\nSet-Cookie: voisin=mine; Path=/\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\
         Content-Security-Policy: script-src *\r\nClear-Site-Data: \"*\"\r\nRefresh: 0;url=http://evil.example/\r\n\
         Strict-Transport-Security: max-age=999999\r\nLink: <http://evil.example/x>; rel=preload\r\n\
         Access-Control-Allow-Origin: *\r\nService-Worker-Allowed: /\r\nX-Content-Duration: 180.5\r\n\
         Location: http://127.0.0.1:22/\r\nX-Frame-Options: ALLOWALL\r\n",
    );
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--subsonic", &url]);
    // A client's claims of identity, in all headers of proxies, and headers that an answer needs.
    let headers = "Remote-User: admin\r\nX-Forwarded-User: admin\r\nX-Authentik-Username: admin\r\n\
        X-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\n\
        True-Client-IP: 6.6.6.6\r\nX-ND-Authorization: Bearer x\r\nCookie: voisin=1\r\nX-My-Own-Proxys-User: admin\r\n\
        Range: bytes=0-99\r\nIf-None-Match: \"a\"\r\nUser-Agent: DSub\r\nAccept-Encoding: identity\r\n";
    let (status, head, body) = server.send("GET", "/rest/ping.view?u=a&p=b", headers, b"");
    let head = head.to_ascii_lowercase();
    assert_eq!((status, text(&body).as_str()), (200, "hello"), "{head}");
    for gone in [
        "set-cookie",
        "clear-site-data",
        "refresh",
        "strict-transport",
        "link:",
        "access-control",
        "service-worker",
        "location",
        "script-src",
        "allowall",
        "evil",
    ] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    for kept in [
        "content-security-policy: sandbox",
        "etag: \"a\"",
        "content-type: text/html",
        "x-content-duration: 180.5",
    ] {
        assert!(head.contains(kept), "{kept}: {head}");
    }
    let before = std::mem::take(&mut *requests.lock().unwrap());
    assert!(
        before.contains("/rest/ping.view?u=a&p=b") && !before.contains(&server.token),
        "{before}"
    );
    let before = before.to_ascii_lowercase();
    for gone in ["admin", "6.6.6.6", "evil", "bearer", "cookie", "x-nd-"] {
        assert!(!before.contains(gone), "{gone}: {before}");
    }
    for kept in [
        "range: bytes=0-99",
        "if-none-match: \"a\"",
        "user-agent: dsub",
        "accept-encoding: identity",
    ] {
        assert!(before.contains(kept), "{kept}: {before}");
    }
    let forwarded: Vec<&str> = before
        .lines()
        .filter(|line| line.starts_with("x-forwarded-for"))
        .collect();
    assert_eq!(forwarded, ["x-forwarded-for: 127.0.0.1"], "{before}");

    let path = "/rest/ping?u=a&p=b";
    let basic = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic abc\r\n\r\n"
    );
    assert_eq!(server.raw(basic.as_bytes()).0, 200);
    assert!(
        requests
            .lock()
            .unwrap()
            .to_ascii_lowercase()
            .contains("authorization: basic abc"),
        "servers' own"
    );
    requests.lock().unwrap().clear();
    for path in [
        "/rest/../admin/x",
        "/rest/..%2fadmin",
        "/rest/%2e%2e/admin",
        "/rest/%252e%252e/admin",
        "/rest/..;/admin",
        "/rest/..;x=1/settings",
        "/rest/..;",
        "/rest//admin",
        "/rest/./admin",
        "/rest/..\\admin",
        "/rest/a/../../x",
        "/rest/;/..;/index.html",
        "/rest/ping.view/x",
        "/rest/sw.js",
        "/rest/...",
        "/rest/",
        "/rest",
    ] {
        let (status, _, body) = server.send("GET", path, "", b"");
        assert!(
            matches!(status, 400 | 404),
            "{path}: {status} {}",
            text(&body)
        );
    }
    for method in ["PUT", "DELETE", "PATCH", "PROPFIND"] {
        assert_eq!(server.send(method, path, "", b"").0, 405, "{method}");
    }
    assert_eq!(*requests.lock().unwrap(), "", "none of them was forwarded");
}

#[test]
fn a_trusted_proxy_names_the_client_of_a_request() {
    let (url, requests) = shown_server("HTTP/1.1 302 Found\r\nLocation: /rest/getAvatar?id=2\r\n");
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let options = [
        "--subsonic",
        &url,
        "--trusted-proxy",
        "127.0.0.1",
        "--base-path",
        "/v",
    ];
    let server = Server::start(&sandbox, &options);
    let forwarded = "X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n";
    for method in ["getAvatar", "getSimilarSongs"] {
        // The second is answered here, after a login check at the server behind.
        let path = format!("/v/rest/{method}?u=a&p=b&v=1.16.1&c=t&id=1");
        let (_, head, _) = server.send("GET", &path, forwarded, b"");
        let before = std::mem::take(&mut *requests.lock().unwrap()).to_ascii_lowercase();
        let lines = before
            .lines()
            .filter(|line| line.starts_with("x-forwarded-for"));
        let lines: Vec<&str> = lines.collect();
        assert!(
            !lines.is_empty()
                && lines
                    .iter()
                    .all(|line| *line == "x-forwarded-for: 203.0.113.9"),
            "{before}"
        );
        let is_sent_on = head
            .to_ascii_lowercase()
            .contains("location: /v/rest/getavatar?id=2");
        assert_eq!(is_sent_on, method == "getAvatar", "{head}");
    }
}

/// An older server, which lists its extensions only after a login.
#[test]
fn a_failed_login_keeps_the_list_of_extensions() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 8192];
            let read = stream.read(&mut request).unwrap_or(0);
            let is_known = text(&request[..read]).contains("p=right");
            let answer = if is_known {
                json!({"status": "ok", "openSubsonicExtensions": [{"name": "songLyrics", "versions": [1]}]})
            } else {
                json!({"status": "failed", "error": {"code": 40, "message": "Wrong username or password"}})
            };
            let body = json!({"subsonic-response": answer}).to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--subsonic", &url]);
    let offered = |password: &str| -> Vec<String> {
        let path =
            format!("/rest/getOpenSubsonicExtensions?u=alice&p={password}&v=1.16.1&c=t&f=json");
        let (_, _, body) = server.send("GET", &path, "", b"");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let all = answer["subsonic-response"]["openSubsonicExtensions"]
            .as_array()
            .unwrap()
            .clone();
        all.iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(offered("wrong"), ["sonicSimilarity"]);
    assert_eq!(
        offered("right"),
        ["songLyrics", "sonicSimilarity"],
        "the refusal was one stranger's"
    );
    assert_eq!(offered("wrong"), ["songLyrics", "sonicSimilarity"]);
}

#[test]
fn new_songs_are_linked_by_themselves() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let url = upstream.url();
    let arguments = ["--subsonic", &url, "--link-as", "alice"];
    let refused = sandbox.run([&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat());
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("--password-file"),
        "{refused:?}"
    );
    let file = secret_file(sandbox.path("password"), "s3cret&\n");
    let password = ["--password-file", file.to_str().unwrap()];
    let server = Server::start(&sandbox, &[&arguments[..], &password[..]].concat());
    let linked = || {
        let known: Value =
            serde_json::from_slice(&sandbox.run(["link", "--format", "json"]).stdout).unwrap();
        known["items"][0]["songs"].as_u64().unwrap_or(0)
    };
    // Nothing was linked before.
    until("all songs are linked", || linked() == 6);
    // The library adds a song before the server does.
    std::fs::write(music.join("metal/new.wav"), noise_wav(22_050, 8.0, 9)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(linked(), 6, "the server does not have it yet");
    Supysonic::scan(&sandbox);
    until("the new song is linked", || linked() == 7);
    let log = server.log.lock().unwrap().clone();
    assert!(
        log.contains("linked again with") && !log.contains("s3cret"),
        "{log}"
    );
}

#[test]
fn ids_that_the_server_changed_are_linked_again() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let Some(upstream) = Supysonic::start(&sandbox, &music) else {
        return;
    };
    let url = upstream.url();
    fine(link(&sandbox, &url, "s3cret&"));
    // As after an update of the server that gives every song another id.
    let database = rusqlite::Connection::open(sandbox.path("library/voisin.db")).unwrap();
    let now: String = database
        .query_row("SELECT min(item) FROM links", [], |row| row.get(0))
        .unwrap();
    database
        .execute("UPDATE links SET item = 'former-' || item", [])
        .unwrap();
    let file = secret_file(sandbox.path("password"), "s3cret&\n");
    let password = ["--password-file", file.to_str().unwrap()];
    let arguments = ["--subsonic", &url, "--link-as", "alice"];
    let server = Server::start(&sandbox, &[&arguments[..], &password[..]].concat());
    // Requests with a new id are answered meanwhile, by the server's description of the song.
    let answer = subsonic(&server, "getSimilarSongs", &format!("id={now}&count=3"));
    assert_eq!(answer["status"], "ok", "{answer}");
    until("all songs are linked by their new ids", || {
        let sql = "SELECT count(*) FROM links WHERE item LIKE 'former-%'";
        let former: i64 = database.query_row(sql, [], |row| row.get(0)).unwrap();
        former == 0
    });
}
