//! What a Subsonic server behind voisin gets of a request, and a client of its answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use super::{Running, is_installed, skipped};
use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, text};

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
#[expect(clippy::too_many_lines, reason = "one scene")]
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
        assert_eq!(
            server.send(method, "/rest/ping", "", b"").0,
            405,
            "{method}"
        );
    }
    assert_eq!(*requests.lock().unwrap(), "", "none of them was forwarded");
}

#[test]
fn a_trusted_proxy_names_the_client_of_a_request() {
    let (url, requests) = shown_server("HTTP/1.1 200 OK\r\n");
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let proxy = ["--trusted-proxy", "127.0.0.1", "--base-path", "/v"];
    let server = Server::start(&sandbox, &[&["--subsonic", &url], &proxy[..]].concat());
    let forwarded = "X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n";
    // The second is answered here, after the server behind has checked the password.
    for method in ["getAvatar", "getSimilarSongs"] {
        let path = format!("/v/rest/{method}?u=a&p=b&v=1.16.1&c=t&id=1");
        server.send("GET", &path, forwarded, b"");
        let before = std::mem::take(&mut *requests.lock().unwrap()).to_ascii_lowercase();
        let lines = before
            .lines()
            .filter(|line| line.starts_with("x-forwarded-for"));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines, ["x-forwarded-for: 203.0.113.9"], "{before}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_server_behind_needs_a_trusted_certificate_for_https() {
    if !is_installed("openssl") || !is_installed("python3") {
        return skipped("openssl or python3");
    }
    let (plain, _) = shown_server("HTTP/1.1 200 OK\r\n");
    let sandbox = Sandbox::new();
    small_library(&sandbox);
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
        .arg(plain.rsplit(':').next().unwrap())
        .stdout(Stdio::piped());
    let mut end = Running(end.spawn().unwrap());
    let mut port = String::new();
    BufReader::new(end.0.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let url = format!("https://localhost:{}", port.trim());
    let trusting = [("SSL_CERT_FILE", certificate.as_os_str())];
    // Refused: an untrusted certificate, one for another name, and a server without encryption.
    let other_name = url.replace("localhost", "127.0.0.1");
    let plain = plain.replace("http:", "https:");
    for (url, trusting, expected) in [
        (&url, &trusting[..], "hello"),
        (&url, &[], "SSL_CERT_FILE"),
        (&other_name, &trusting, "certificate"),
        (&plain, &trusting, "is this its address?"),
    ] {
        let server = Server::start_with(&sandbox, &["--subsonic", url], trusting);
        let (_, _, body) = server.send("GET", "/rest/ping", "", b"");
        assert!(text(&body).contains(expected), "{url}: {}", text(&body));
    }
}
