//! Attacks and mistakes of clients.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::server::{Server, read_answer, small_library};
use crate::common::{Sandbox, code, text};
use crate::players::until;

/// A file of secrets, one a line, that only its owner can read.
fn secrets(sandbox: &Sandbox, lines: &str, mode: u32) -> String {
    let file = sandbox.path("secrets");
    fs::write(&file, lines).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
    let _ = mode;
    file.to_str().unwrap().to_owned()
}

/// The status and head of a request, forwarded by a proxy for this address unless it is empty.
fn ask_from(server: &Server, address: &str, method: &str, path: &str, more: &str) -> (u16, String) {
    let forwarded = if address.is_empty() {
        String::new()
    } else {
        format!("X-Forwarded-For: 6.6.6.6, {address}\r\n")
    };
    let request = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {forwarded}{more}",
        server.address
    );
    let (status, head, _) = server.raw(request.as_bytes());
    (status, head)
}

/// A sign-in attempt.
fn sign_in_from(server: &Server, address: &str, secret: &str) -> (u16, String) {
    let body = json!({"token": secret}).to_string();
    let more = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    ask_from(server, address, "POST", "session", &more)
}

#[test]
fn guesses_are_refused_before_they_are_compared() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let file = secrets(&sandbox, "summerhouse7\r\nonly to listen\n", 0o600);
    let options = ["--token-file", &file, "--trusted-proxy", "127.0.0.1"];
    let server = Server::start(&sandbox, &options);
    let try_from = |address: &str, secret: &str| sign_in_from(&server, address, secret).0;
    assert_eq!(try_from("192.0.2.1", "summerhouse7"), 204);
    // Thousands of guesses, the right one among them.
    let mut answers: Vec<u16> = (0..60)
        .map(|at| try_from("192.0.2.66", &format!("guess{at:07}")))
        .collect();
    answers.push(try_from("192.0.2.66", "summerhouse7"));
    assert_eq!(answers, [vec![401; 5], vec![429; 56]].concat());
    let (status, head) = ask_from(
        &server,
        "192.0.2.66",
        "GET",
        "list",
        "Authorization: Bearer summerhouse7\r\n\r\n",
    );
    assert!(status == 429 && head.contains("retry-after: "), "{head}");
    assert_eq!(
        try_from("192.0.2.7", "only to listen"),
        204,
        "others are let in meanwhile"
    );
    for last in 0..5 {
        assert_eq!(try_from(&format!("2001:db8::{last}"), "guess"), 401);
    }
    assert_eq!(try_from("2001:db8::68", "summerhouse7"), 429, "a network");

    // The documented fail2ban filter matches the log.
    let documented = include_str!("../../../docs/serve.md");
    let filter = documented
        .lines()
        .find_map(|line| line.trim().strip_prefix("failregex = "))
        .unwrap();
    let filter = regex::Regex::new(&filter.replace("<HOST>", r"(?P<host>[0-9a-f:.]+)")).unwrap();
    let log = server.log.lock().unwrap().clone();
    let banned: Vec<&str> = log
        .lines()
        .filter_map(|line| Some(filter.captures(line)?.name("host")?.as_str()))
        .collect();
    let count = |host: &str| banned.iter().filter(|banned| **banned == host).count();
    assert_eq!((count("192.0.2.66"), count("6.6.6.6")), (5, 0), "{log}");
    assert!(
        !log.contains("guess0000001") && !log.contains("summerhouse7"),
        "{log}"
    );
    drop(server);

    // Headers of an untrusted proxy are ignored.
    let options = ["--token-file", &file, "--trusted-proxy", "192.0.2.5"];
    let server = Server::start(&sandbox, &options);
    let forged = (0..8).map(|last| sign_in_from(&server, &format!("192.0.2.{last}"), "guess").0);
    assert_eq!(
        forged.collect::<Vec<u16>>(),
        [vec![401; 5], vec![429; 3]].concat()
    );
}

#[test]
fn a_second_secret_only_reads() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let mut wrong = vec![
        ("short\n", 0o600, "at least 10"),
        ("", 0o600, "at least 10"),
        ("the same one\nthe same one", 0o600, "at least 10"),
    ];
    if cfg!(unix) {
        wrong.push(("violin and drums\n", 0o644, "mode 600"));
    }
    for (lines, mode, expected) in wrong {
        let file = secrets(&sandbox, lines, mode);
        let refused = sandbox.run(["serve", "--listen", "127.0.0.1:0", "--token-file", &file]);
        assert!(
            code(&refused) == 2 && text(&refused.stderr).contains(expected),
            "{}",
            text(&refused.stderr)
        );
    }
    let file = secrets(&sandbox, "violin and drums\nonly to listen\n", 0o600);
    let mut server = Server::start(&sandbox, &["--token-file", &file]);
    let rights = |server: &Server| server.good_get("/api/v1/session")["rights"].clone();
    server.token = "violin and drums".to_owned();
    assert_eq!(rights(&server), "change");
    let polka = json!({"tracks": [1], "genre": "Polka"});
    assert_eq!(server.put("/api/v1/labels", &polka).0, 200);
    server.token = "only to listen".to_owned();
    assert_eq!(rights(&server), "read");
    let question = json!({"seeds": [{"id": 1}]});
    for path in ["similar", "playlist"] {
        server.good(&format!("/api/v1/{path}"), &question);
    }
    for path in ["tracks/1/audio", "scan"] {
        assert_eq!(server.get(&format!("/api/v1/{path}")).0, 200, "{path}");
    }
    let (status, problem) = server.post("/api/v1/scan", &json!({}));
    assert_eq!(status, 403, "{problem}");
    let (status, problem) = server.put("/api/v1/labels", &polka);
    assert_eq!(status, 403, "{problem}");
    assert_eq!(server.send("DELETE", "/api/v1/scan", "", b"").0, 403);
    // Its cookie has its rights, too; and another file of secrets signs out.
    let (_, head) = sign_in_from(&server, "", "only to listen");
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .and_then(|cookie| cookie.split(';').next())
        .unwrap();
    let more = format!("Cookie: {cookie}\r\n\r\n");
    assert_eq!(ask_from(&server, "", "GET", "list", &more).0, 200);
    drop(server);
    let file = secrets(&sandbox, "violin and drums\nanother one\n", 0o600);
    let server = Server::start(&sandbox, &["--token-file", &file]);
    assert_eq!(ask_from(&server, "", "GET", "list", &more).0, 401);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn the_pages_cookie_works_only_from_its_own_origin() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--allow-host", "music.lan"]);
    let host = server.address.to_string();
    let ask = |method: &str, path: &str, headers: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        server.raw(request.as_bytes())
    };
    let (status, head, _) = ask(
        "POST",
        "/api/v1/session",
        "",
        &json!({"token": server.token}).to_string(),
    );
    assert_eq!(status, 204, "{head}");
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"),
        "{cookie}"
    );
    assert!(
        !cookie.contains(&server.token),
        "the cookie is not the token"
    );
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(ask("GET", "/api/v1/list", &cookie, "").0, 200);
    let question = json!({"seeds": [{"id": 1}]}).to_string();
    assert_eq!(
        ask("POST", "/api/v1/similar", &cookie, &question).0,
        403,
        "no origin"
    );
    let same_origin = format!("{cookie}Origin: http://{host}\r\n");
    assert_eq!(
        ask("POST", "/api/v1/similar", &same_origin, &question).0,
        200
    );
    let other = format!("{cookie}Origin: https://music.example\r\n");
    let (status, head, _) = ask("POST", "/api/v1/similar", &other, &question);
    assert!(
        status == 403 && !head.contains("access-control"),
        "cookies are for the server's own page: {head}"
    );
    let by_tls = format!("Origin: https://{host}\r\n");
    let session = json!({"token": server.token, "stay": true}).to_string();
    let (_, head, _) = ask("POST", "/api/v1/session", &by_tls, &session);
    assert!(head.contains("; Max-Age=15552000; Secure"), "{head}");
    // An allowed host is accepted; all answers have the security headers.
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

/// Hostile requests, with the allowed statuses (0: the connection is closed).
#[expect(clippy::too_many_lines, reason = "one scene")]
fn hostile(host: &str, token: &str) -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let auth = format!("Authorization: Bearer {token}\r\n");
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").into_bytes()
    };
    let by_host = |name: &str| get("/api/v1/list", &format!("Host: {name}\r\n{auth}"));
    let host_line = format!("Host: {host}\r\n");
    let other = "X-Forwarded-For: 192.0.2.66\r\n";
    let from = |origin: &str| {
        get(
            "/api/v1/list",
            &format!("{host_line}{auth}Origin: {origin}\r\n"),
        )
    };
    let post = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\n{host_line}{auth}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
            .into_bytes()
    };
    let json = "Content-Type: application/json\r\n";
    let one = r#"{"seeds":[{"id":1}]}"#;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!(r#"{{"seeds":[{}]}}"#, vec![r#"{"id":1}"#; 501].join(","));
    let large = format!(r#"{{"seeds":[{{"words":"{}"}}]}}"#, "a".repeat(10_000_000));
    let headers: String = (0..100).map(|i| format!("X-{i}: 1\r\n")).collect();
    let track = |path: &str| get(path, &format!("{host_line}{auth}"));
    vec![
        ("a name that begins like the loopback's", by_host("127.evil.com"), &[403]),
        ("a name that ends like localhost", by_host("evil.localhost"), &[403]),
        ("a name that begins like localhost", by_host("localhost.evil.com"), &[403]),
        ("an address in a name", by_host("127.0.0.1.nip.io"), &[403]),
        ("a short form of the address", by_host("127.1"), &[403]),
        ("the address as a number", by_host("2130706433"), &[403]),
        ("every address", by_host("0.0.0.0"), &[403]),
        ("a user before the host", by_host("127.0.0.1@evil.com"), &[400, 403]),
        ("no host", get("/api/v1/list", &auth), &[400]),
        ("no host, of an old client", format!("GET /api/v1/list HTTP/1.0\r\n{auth}\r\n").into_bytes(), &[400]),
        ("two hosts", get("/api/v1/list", &format!("{host_line}Host: evil.com\r\n{auth}")), &[400]),
        ("another host in the address", get("http://evil.com/api/v1/list", &format!("{host_line}{auth}")), &[400, 403]),
        ("a page of a stranger", from("http://evil.com"), &[403]),
        ("a page without an origin of its own", from("null"), &[403]),
        ("another port of this machine", from("http://127.0.0.1:1"), &[403]),
        ("a name that begins like the origin", from(&format!("http://{host}.evil.com")), &[403]),
        ("two origins", get("/api/v1/list", &format!("{host_line}{auth}Origin: http://{host}\r\nOrigin: http://evil.com\r\n")), &[403]),
        ("no token", get("/api/v1/list", &host_line), &[401]),
        ("an empty token", get("/api/v1/list", &format!("{host_line}{other}Authorization: Bearer \r\n")), &[401]),
        ("the wrong kind of token", get("/api/v1/list", &format!("{host_line}{other}Authorization: Basic {token}\r\n")), &[401]),
        ("half of the token", get("/api/v1/list", &format!("{host_line}{other}Authorization: Bearer {}\r\n", &token[..32])), &[401]),
        ("the token in the address", get(&format!("/api/v1/list?token={token}"), &host_line), &[401]),
        ("the token as a cookie", get("/api/v1/list", &format!("{host_line}Cookie: voisin={token}\r\n")), &[401]),
        ("another method", format!("PUT /api/v1/list HTTP/1.1\r\n{host_line}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("a method of its own", format!("BREW /api/v1/list HTTP/1.1\r\n{host_line}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("TRACE", format!("TRACE /api/v1/list HTTP/1.1\r\n{host_line}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("CONNECT", format!("CONNECT evil.com:80 HTTP/1.1\r\n{host_line}{auth}Connection: close\r\n\r\n").into_bytes(), &[400, 403, 404, 405]),
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
        ("a number that is none", post("/api/v1/similar", json, r#"{"seeds":[{"id":1}],"from":1e999}"#), &[400]),
        ("an id beyond all numbers", post("/api/v1/similar", json, r#"{"seeds":[{"id":99999999999999999999}]}"#), &[400]),
        ("a file of the system", post("/api/v1/similar", json, r#"{"seeds":[{"path":"/etc/passwd"}]}"#), &[404]),
        ("a file as words", post("/api/v1/similar", json, r#"{"seeds":[{"words":"/etc/passwd"}]}"#), &[404]),
        ("a name with NUL", post("/api/v1/similar", json, r#"{"seeds":[{"path":"/m\u0000/x"}]}"#), &[404]),
        ("SQL", post("/api/v1/similar", json, r#"{"seeds":[{"words":"'; DROP TABLE audio; --"}]}"#), &[404]),
        ("a body of 10 MB", post("/api/v1/similar", json, &large), &[413, 0]),
        ("a body just above 1 MiB", post("/api/v1/similar", json, &format!("{}{one}", " ".repeat(1 << 20))), &[413, 0]),
        ("a body that is compressed", post("/api/v1/similar", &format!("{json}Content-Encoding: gzip\r\n"), "\u{1f}\u{8b}\u{8}"), &[400]),
        ("a declared file of 300 MB that is not sent", format!("POST /api/v1/files/similar HTTP/1.1\r\n{host_line}{auth}Content-Type: audio/mpeg\r\nContent-Length: 300000000\r\nConnection: close\r\n\r\n").into_bytes(), &[413]),
        ("declared 10 MB that are not sent", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Content-Length: 10000000\r\nConnection: close\r\n\r\n").into_bytes(), &[413]),
        ("a chunk of another length", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n{one}\r\n").into_bytes(), &[400]),
        ("two lengths", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Content-Length: 20\r\nContent-Length: 5\r\n\r\n{one}").into_bytes(), &[400]),
        ("a length and chunks", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Content-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n").into_bytes(), &[400]),
        ("a path upwards", track("/api/v1/tracks/../../../etc/passwd"), &[404]),
        ("a path upwards, encoded", track("/api/v1/tracks/%2e%2e%2f%2e%2e%2fetc%2fpasswd/audio"), &[400, 404]),
        ("an id with NUL", track("/api/v1/tracks/1%00/audio"), &[400]),
        ("an id that is no text", track("/api/v1/tracks/%ff%fe/audio"), &[400]),
        ("an id that is no number", track("/api/v1/tracks/one/audio"), &[400]),
        ("an id that is not there", track("/api/v1/tracks/999999/audio"), &[404]),
        ("a negative id", track("/api/v1/tracks/-1/audio"), &[404]),
        ("an address of 20 kB", track(&format!("/api/v1/list?query={}", "a".repeat(20_000))), &[414]),
        ("65 headers", get("/api/v1/health", &format!("{host_line}{}", &headers[..headers.find("X-63").unwrap_or(0)])), &[431]),
        ("100 headers", get("/api/v1/health", &format!("{host_line}{headers}")), &[431]),
        ("just too long an address", track(&format!("/api/v1/list?query={}", "a".repeat(8 * 1024 - 18))), &[414]),
        ("a header of 1 MB", get("/api/v1/health", &format!("{host_line}X-A: {}\r\n", "a".repeat(1_000_000))), &[431, 0]),
        ("a header in the address", track("/api/v1/list?query=%0d%0aSet-Cookie:%20voisin=1"), &[200]),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[0, 400]),
        ("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[0, 400, 403, 404, 405, 505]),
    ]
}

/// Raises the limit of this process and its server to a thousand connections.
#[cfg(unix)]
fn more_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .unwrap();
}

#[cfg(not(unix))]
fn more_connections() {}

/// Clients without a token cannot lock out those with one.
#[test]
fn slow_bodies_without_a_token_shut_nobody_out() {
    more_connections();
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let begin = |length: usize| {
        let head = format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{",
            server.address
        );
        let mut stream = TcpStream::connect(server.address).ok()?;
        stream.write_all(head.as_bytes()).ok()?;
        Some(stream)
    };
    let mut alone = begin(300).unwrap();
    alone
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let start = Instant::now();
    let (status, head, _) = read_answer(&mut alone);
    assert_eq!(status, 400, "{head}");
    assert!(
        (3..10).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
    let mut long = begin(5000).unwrap();
    assert_eq!(read_answer(&mut long).0, 413);

    // More than the allowed connections, each sending a byte a second, and reopened when it is closed.
    let mut slow: Vec<TcpStream> = Vec::new();
    for second in 0..10 {
        slow.retain_mut(|stream| stream.write_all(b" ").is_ok());
        while slow.len() < 560 {
            slow.extend(begin(300));
        }
        let start = Instant::now();
        let (status, head, _) = server.send("GET", "/api/v1/status", "", b"");
        assert_eq!(status, 200, "after {second} s: {head}");
        std::thread::sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
    }
    assert!(slow.len() >= 500, "the attack lasted to the end");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn strangers_get_nothing_and_the_next_good_request_is_answered() {
    more_connections();
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--trusted-proxy", "127.0.0.1"]);
    let host = server.address.to_string();
    let good = || {
        server.good(
            "/api/v1/similar",
            &json!({"seeds": [{"id": 1}], "limit": 1}),
        )
    };
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
            assert!(
                !problem["detail"].as_str().unwrap().is_empty(),
                "{what}: {problem}"
            );
        }
        assert_eq!(good(), expected, "after: {what}");
    }

    // Many idle connections, and some that stop in the middle of a body.
    let idle: Vec<TcpStream> = (0..1000)
        .filter_map(|_| TcpStream::connect(server.address).ok())
        .collect();
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
    // A head that arrives byte by byte has ten seconds.
    let mut slow = server.connect();
    let start = Instant::now();
    let mut ended = false;
    for byte in b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n"
        .iter()
        .cycle()
    {
        if slow.write_all(&[*byte]).is_err() || start.elapsed() > Duration::from_secs(20) {
            ended = start.elapsed() <= Duration::from_secs(20);
            break;
        }
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(ended, "a slow head keeps its connection");
    assert_eq!(good(), expected, "after a slow head");
    // A body has thirty.
    let (status, head, _) = read_answer(&mut unfinished[0]);
    assert!(
        status == 503 && head.contains("retry-after: "),
        "{status} {head}"
    );
    assert!(
        (25..36).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    drop(unfinished);
    let log = server.log.lock().unwrap().clone();
    assert!(!log.contains(&server.token), "no token in the log");
}

/// The address of this machine in its network, if it has one. Nothing is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[test]
fn on_a_lan_it_answers_for_its_addresses() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let mut server = Server::start(&sandbox, &["--lan", "--allow-host", "music.box,a.b"]);
    let ask = |server: &Server, host: &str| {
        let request =
            format!("GET /api/v1/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.raw(request.as_bytes()).0
    };
    for host in ["music.box", "a.b", "localhost"] {
        assert_eq!(ask(&server, host), 200, "{host}");
    }
    for host in ["nas.evil.com", "192.0.2.1:8766", "[2001:db8::1]", "0.0.0.0"] {
        assert_eq!(ask(&server, host), 403, "{host}");
    }
    // Through another address of this machine: only that one is accepted.
    let port = server.address.port();
    if let Some(address) = own_address() {
        server.address = (address, port).into();
        assert_eq!(ask(&server, &format!("{address}:{port}")), 200);
        assert_eq!(ask(&server, "192.0.2.1"), 403);
    }
    let logs = |words: &str| server.log.lock().unwrap().contains(words);
    until("it warns", || {
        logs("every machine of this network") && logs("connections are not encrypted")
    });
    let refused = sandbox.run(["serve", "--lan", "--no-token"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}
