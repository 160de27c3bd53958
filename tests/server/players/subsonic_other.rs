//! Subsonic servers that are older or more limited than others: supysonic behind a proxy.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::subsonic::{Supysonic, subsonic, titles};
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, text};

/// The behaviour of the proxy.
#[derive(Default)]
struct Door {
    takes_forms: bool,
    /// Newer clients are refused, as the API has it.
    newest: u32,
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
    let (refusal, folder) = {
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
        (refusal, door.folder.filter(is_in))
    };
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
    assert_eq!(is_ambient("&musicFolderId=7").len(), 3);
    assert!(
        !Door::take_requests(&door).contains_key("search3"),
        "the folder is remembered"
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

    // The list of songs is remembered: each song of an answer is requested alone.
    Door::take_requests(&door);
    let answer = old("getSimilarSongs", &format!("id={}&count=5", id(3)));
    assert_eq!(titles(&answer["similarSongs"]["song"]).len(), 5);
    let requests = Door::take_requests(&door);
    assert_eq!(requests, HashMap::from([("getSong".to_owned(), 5)]));
}

#[test]
fn a_server_that_does_not_answer_is_an_error_of_subsonics() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
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
