//! Attacks and mistakes of clients.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[cfg(unix)]
use crate::common::at_a_terminal;
use crate::common::server::{Server, read_answer, small_library};
use crate::common::{Sandbox, code, fine, text};
use crate::players::{is_installed, skipped, until};

#[test]
fn a_password_signs_browsers_in_and_nothing_else() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let file = sandbox.path("passwords");
    let start = |text: &str, mode: u32| {
        fs::write(&file, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let _ = mode;
        ["--sign-in-file", file.to_str().unwrap()].map(str::to_owned)
    };
    let mut wrong = vec![
        ("short\n", 0o600, "at least 10"),
        ("", 0o600, "at least 10"),
        ("a\nb\nc", 0o600, "at least 10"),
    ];
    if cfg!(unix) {
        wrong.push(("violin and drums\n", 0o644, "mode 600"));
    }
    for (contents, mode, expected) in wrong {
        let [option, name] = start(contents, mode);
        let refused = sandbox.run(["serve", "--listen", "127.0.0.1:0", &option, &name]);
        assert!(
            code(&refused) == 2 && text(&refused.stderr).contains(expected),
            "{}",
            text(&refused.stderr)
        );
    }
    let [option, name] = start("violin and drums\r\nonly to listen\n", 0o600);
    let server = Server::start(&sandbox, &[&option, &name]);
    let rights = |word: &str| {
        let browser = Browser::sign_in(&server, &json!({"token": word}))?;
        Ok(browser.ask("GET", "devices", &Value::Null).1["rights"].clone())
    };
    assert_eq!(rights("violin and drums"), Ok(json!("change")));
    assert_eq!(rights("only to listen"), Ok(json!("listen")));
    assert_eq!(rights(&server.token), Ok(json!("change")));
    assert_eq!(rights("violin and drum"), Err(401));
    // Programs authenticate with the token only: a password would be sent with each request.
    let bearer = "GET /api/v1/tracks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer violin and drums\r\n\r\n";
    assert_eq!(server.raw(bearer.as_bytes()).0, 401);
    for _ in 0..5 {
        let _ = rights("guess after guess");
    }
    assert_eq!(
        rights("another guess yet"),
        Err(429),
        "it cannot be tried for long"
    );
    assert_eq!(
        rights("violin and drums"),
        Err(429),
        "the limit applies before the comparison"
    );
    assert_eq!(
        rights(&server.token),
        Ok(json!("change")),
        "the token still works"
    );
    until("it warns", || {
        server.log.lock().unwrap().contains("--hash-password")
    });
}

/// A sign-in attempt, forwarded by a proxy for this address unless it is empty.
fn sign_in_from(server: &Server, address: &str, headers: &str, session: &Value) -> (u16, String) {
    let body = session.to_string();
    let forwarded = if address.is_empty() {
        String::new()
    } else {
        format!("X-Forwarded-For: 6.6.6.6, {address}\r\n")
    };
    let request = format!(
        "POST /api/v1/session HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {forwarded}{headers}Content-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    let (status, head, _) = server.raw(request.as_bytes());
    (status, head)
}

/// Output of `voisin serve --hash-password` for a password on standard input.
fn hashed(sandbox: &Sandbox, password: &str) -> std::process::Output {
    let mut command = sandbox.command(["serve", "--hash-password"]);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(password.as_bytes())
        .unwrap();
    process.wait_with_output().unwrap()
}

#[test]
fn guesses_are_refused_before_they_are_compared() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let short = hashed(&sandbox, "short\n");
    assert!(
        code(&short) == 2 && text(&short.stderr).contains("at least 10"),
        "{}",
        text(&short.stderr)
    );
    let lines = ["summerhouse7", "only to listen"]
        .map(|password| fine(hashed(&sandbox, &format!("{password}\n"))));
    assert!(
        lines[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{}",
        lines[0]
    );
    let file = sandbox.path("passwords");
    let write = |lines: &str| {
        fs::write(&file, lines).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
    };
    let option = ["--sign-in-file", file.to_str().unwrap()];
    write(&lines[0].replace("t=2", "t=1000"));
    let refused = sandbox.run([&["serve", "--listen", "127.0.0.1:0"], &option[..]].concat());
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("--hash-password"),
        "{}",
        text(&refused.stderr)
    );
    write(&lines.concat());
    let server = Server::start(
        &sandbox,
        &[&option[..], &["--trusted-proxy", "127.0.0.1"]].concat(),
    );
    let try_from = |address: &str, session: Value| sign_in_from(&server, address, "", &session).0;
    let password = |word: &str| json!({"token": word});
    assert_eq!(try_from("192.0.2.1", password("summerhouse7")), 204);
    assert_eq!(
        try_from("192.0.2.1", password(lines[0].trim())),
        401,
        "the hash is no password"
    );

    // Eight thousand guesses a minute, the right one among them.
    let mut answers: Vec<u16> = (0..60)
        .map(|at| try_from("192.0.2.66", password(&format!("guess{at:07}"))))
        .collect();
    answers.push(try_from("192.0.2.66", password("summerhouse7")));
    assert_eq!(answers, [vec![401; 5], vec![429; 56]].concat());
    let (_, head) = sign_in_from(&server, "192.0.2.66", "", &password("guess"));
    let wait = head
        .lines()
        .find_map(|line| line.strip_prefix("retry-after: "))
        .unwrap();
    assert!((1..=20).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert_eq!(
        try_from("192.0.2.7", password("only to listen")),
        204,
        "others are let in meanwhile"
    );

    // Wrong codes from a refused address, and from another, do not use up the owner's code.
    let code = server.good("/api/v1/devices", &json!({"rights": "change"}))["code"].clone();
    let wrong = if code == "000 000" {
        "000 001"
    } else {
        "000 000"
    };
    for address in ["192.0.2.66", "2001:db8::66", "2001:db8::67"] {
        for _ in 0..20 {
            assert!(matches!(
                try_from(address, json!({"code": wrong})),
                401 | 429
            ));
        }
    }
    assert_eq!(
        try_from("2001:db8::68", json!({"code": code})),
        429,
        "of the same network"
    );
    let owner = format!("Authorization: Bearer {}\r\n", server.token);
    let (status, _) = sign_in_from(&server, "192.0.2.66", &owner, &json!({"code": wrong}));
    assert_eq!(status, 401, "a device that is signed in waits for nothing");
    // After ten wrong ones from unknown addresses those are delayed too; from the owner's address the next one is
    // checked.
    let strangers =
        (0..30).map(|last| try_from(&format!("203.0.113.{last}"), password("guess after guess")));
    let compared = strangers.filter(|status| *status == 401).count();
    assert!(compared < 10, "{compared}");
    assert_eq!(try_from("192.0.2.1", json!({"code": code})), 204);

    // The documented fail2ban filter matches the log.
    let documented = include_str!("../../../docs/serve.md");
    let filter = documented
        .lines()
        .find_map(|line| line.trim().strip_prefix("failregex = "))
        .unwrap();
    let filter = regex::Regex::new(&filter.replace("<HOST>", r"(?P<host>[0-9a-f:.]+)")).unwrap();
    let log = server.log.lock().unwrap().clone();
    for prefix in ["", " nas voisin[42]: ", "nas voisin[42]: "] {
        let found =
            |line: &str| Some(filter.captures(&format!("{prefix}{line}"))?["host"].to_owned());
        let banned: Vec<String> = log.lines().filter_map(found).collect();
        assert!(
            banned.iter().filter(|host| *host == "192.0.2.66").count() >= 5,
            "{log}"
        );
        assert!(banned.contains(&"2001:db8::66".to_owned()), "{log}");
        assert!(
            !banned.contains(&"6.6.6.6".to_owned()) && !banned.contains(&"192.0.2.7".to_owned()),
            "{log}"
        );
    }
    assert!(
        !log.contains("guess0000001") && !log.contains("summerhouse7"),
        "{log}"
    );
    drop(server);

    // Headers of an untrusted proxy are ignored.
    let server = Server::start(
        &sandbox,
        &[&option[..], &["--trusted-proxy", "192.0.2.5"]].concat(),
    );
    let forged = (0..8)
        .map(|last| sign_in_from(&server, &format!("192.0.2.{last}"), "", &password("guess")).0);
    assert_eq!(
        forged.collect::<Vec<u16>>(),
        [vec![401; 5], vec![429; 3]].concat()
    );
}

#[cfg(unix)]
#[test]
fn a_password_is_hashed_at_a_terminal_without_echo() {
    if !is_installed("python3") {
        return skipped("python3");
    }
    let mut command = at_a_terminal("password: ", "violin and drums\n");
    command.args(["serve", "--hash-password"]);
    let shown = fine(command.output().unwrap());
    assert!(
        shown.contains("$argon2id$") && !shown.contains("violin"),
        "{shown}"
    );
}

#[test]
fn the_pages_cookie_works_only_from_its_own_origin() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(
        &sandbox,
        &[
            "--allow-origin",
            "https://music.example",
            "--allow-host",
            "music.lan",
        ],
    );
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
    assert_eq!(ask("GET", "/api/v1/tracks", &cookie, "").0, 200);
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
        status == 200 && head.contains("access-control-allow-origin: https://music.example"),
        "{head}"
    );
    assert!(
        !head.contains("access-control-allow-credentials"),
        "cookies are for the server's own page: {head}"
    );
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
fn hostile(host: &str, token: &str) -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let auth = format!("Authorization: Bearer {token}\r\n");
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").into_bytes()
    };
    let by_host = |name: &str| get("/api/v1/tracks", &format!("Host: {name}\r\n{auth}"));
    let host_line = format!("Host: {host}\r\n");
    let from = |origin: &str| {
        get(
            "/api/v1/tracks",
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
        ("no host", get("/api/v1/tracks", &auth), &[400]),
        ("no host, of an old client", format!("GET /api/v1/tracks HTTP/1.0\r\n{auth}\r\n").into_bytes(), &[400]),
        ("two hosts", get("/api/v1/tracks", &format!("{host_line}Host: evil.com\r\n{auth}")), &[400]),
        ("another host in the address", get("http://evil.com/api/v1/tracks", &format!("{host_line}{auth}")), &[400, 403]),
        ("a page of a stranger", from("http://evil.com"), &[403]),
        ("a page without an origin of its own", from("null"), &[403]),
        ("another port of this machine", from("http://127.0.0.1:1"), &[403]),
        ("a name that begins like the origin", from(&format!("http://{host}.evil.com")), &[403]),
        ("two origins", get("/api/v1/tracks", &format!("{host_line}{auth}Origin: http://{host}\r\nOrigin: http://evil.com\r\n")), &[403]),
        ("no token", get("/api/v1/tracks", &host_line), &[401]),
        ("an empty token", get("/api/v1/tracks", &format!("{host_line}Authorization: Bearer \r\n")), &[401, 429]),
        ("the wrong kind of token", get("/api/v1/tracks", &format!("{host_line}Authorization: Basic {token}\r\n")), &[401, 429]),
        ("half of the token", get("/api/v1/tracks", &format!("{host_line}Authorization: Bearer {}\r\n", &token[..32])), &[401, 429]),
        ("the token in the address", get(&format!("/api/v1/tracks?token={token}"), &host_line), &[401]),
        ("the token as a cookie", get("/api/v1/tracks", &format!("{host_line}Cookie: voisin={token}\r\n")), &[401, 429]),
        ("another method", format!("PUT /api/v1/tracks HTTP/1.1\r\n{host_line}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("a method of its own", format!("BREW /api/v1/tracks HTTP/1.1\r\n{host_line}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
        ("TRACE", format!("TRACE /api/v1/tracks HTTP/1.1\r\n{host_line}{auth}Connection: close\r\n\r\n").into_bytes(), &[405]),
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
        ("a declared file of 300 MB that is not sent", format!("POST /api/v1/files/similar HTTP/1.1\r\n{host_line}{auth}Content-Type: audio/mpeg\r\nContent-Length: 300000000\r\nConnection: close\r\n\r\n").into_bytes(), &[413]),
        ("declared 10 MB that are not sent", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Content-Length: 10000000\r\nConnection: close\r\n\r\n").into_bytes(), &[413]),
        ("a chunk of another length", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n{one}\r\n").into_bytes(), &[400]),
        ("two lengths", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Content-Length: 20\r\nContent-Length: 5\r\n\r\n{one}").into_bytes(), &[400]),
        ("a length and chunks", format!("POST /api/v1/similar HTTP/1.1\r\n{host_line}{auth}{json}Content-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n").into_bytes(), &[400]),
        ("a path upwards", track("/api/v1/tracks/../../../etc/passwd"), &[404]),
        ("a path upwards, encoded", track("/api/v1/tracks/%2e%2e%2f%2e%2e%2fetc%2fpasswd/audio"), &[400, 404]),
        ("an id with NUL", track("/api/v1/tracks/1%00/audio"), &[400]),
        ("an id that is no text", track("/api/v1/tracks/%ff%fe/audio"), &[400]),
        ("an id that is no number", track("/api/v1/tracks/one"), &[400]),
        ("an id that is not there", track("/api/v1/tracks/999999/audio"), &[404]),
        ("a negative id", track("/api/v1/tracks/-1/audio"), &[404]),
        ("an address of 20 kB", track(&format!("/api/v1/tracks?query={}", "a".repeat(20_000))), &[414]),
        ("65 headers", get("/api/v1/health", &format!("{host_line}{}", &headers[..headers.find("X-63").unwrap_or(0)])), &[431]),
        ("100 headers", get("/api/v1/health", &format!("{host_line}{headers}")), &[431]),
        ("just too long an address", track(&format!("/api/v1/tracks?query={}", "a".repeat(8 * 1024 - 20))), &[414]),
        ("a header of 1 MB", get("/api/v1/health", &format!("{host_line}X-A: {}\r\n", "a".repeat(1_000_000))), &[431, 0]),
        ("a header in the address", track("/api/v1/tracks?query=%0d%0aSet-Cookie:%20voisin=1"), &[200]),
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

/// A guest gets at most a share of every resource, and the owner the rest.
#[cfg(unix)]
#[test]
fn a_guests_slow_uploads_block_no_owner() {
    more_connections();
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    // As many descriptors as most systems give a process.
    let server = Server::start_limited(&sandbox, &["--trusted-proxy", "127.0.0.1"], 1024);
    let code = server.good("/api/v1/devices", &json!({"rights": "listen"}))["code"].clone();
    let guest = Browser::sign_in(&server, &json!({"code": code})).unwrap();
    let cookie = guest.cookie.split(';').next().unwrap().to_owned();
    let begin = |address: &str| {
        let host = server.address;
        let head = format!(
            "POST /api/v1/files/similar HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\n\
             X-Forwarded-For: {address}\r\nContent-Type: audio/mpeg\r\nContent-Length: 190000000\r\n\r\n"
        );
        let mut stream = TcpStream::connect(server.address).ok()?;
        stream
            .write_all(&[head.as_bytes(), &[b'x'; 1000]].concat())
            .ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Some(stream)
    };
    let mut uploads: Vec<TcpStream> = (0..2).filter_map(|_| begin("192.0.2.1")).collect();
    std::thread::sleep(Duration::from_secs(1));
    let (status, head, _) = read_answer(&mut begin("192.0.2.1").unwrap());
    assert!(
        status == 503 && head.contains("retry-after: "),
        "the third of one guest: {head}"
    );
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..40 {
        slow.extend((0..16).filter_map(|_| begin("203.0.113.66")));
        let start = Instant::now();
        let (status, head, _) = server.send("GET", "/api/v1/status", "", b"");
        assert_eq!(status, 200, "beside {} uploads: {head}", slow.len());
        longest = longest.max(start.elapsed());
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let descriptors = format!("/proc/{}/fd", server.process.id());
    if let Ok(open) = fs::read_dir(descriptors) {
        let open = open.count();
        assert!(open < 200, "{open} descriptors");
    }
    // An owner's file is analysed meanwhile.
    let music = fs::read(sandbox.path("music/metal/muldjord-chaos-god.mp3")).unwrap();
    let (status, _, answer) = server.send(
        "POST",
        "/api/v1/files/similar?limit=1",
        "Content-Type: audio/mpeg\r\n",
        &music,
    );
    assert_eq!(status, 200, "{}", text(&answer));
    // An upload that is too slow is refused.
    let (status, head, answer) = read_answer(&mut uploads[0]);
    assert!(
        status == 400 && text(&answer).contains("too slow"),
        "{head} {}",
        text(&answer)
    );
    assert!(begun.elapsed().as_secs() >= 8, "{:?}", begun.elapsed());
    // Then a connection is free again.
    assert!(begin("192.0.2.1").is_some_and(|mut stream| {
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        read_answer(&mut stream).0 == 0
    }));
}

#[test]
fn strangers_get_nothing_and_the_next_good_request_is_answered() {
    more_connections();
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
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

    // Wrong tokens: five tries, then a pause; the right one is answered all the same.
    let wrong = format!(
        "GET /api/v1/tracks HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer wrong\r\nConnection: close\r\n\r\n"
    );
    let last = (0..7)
        .map(|_| server.raw(wrong.as_bytes()))
        .fold(None, |_, answer| Some(answer))
        .unwrap();
    assert!(
        last.0 == 429 && last.1.contains("retry-after: "),
        "{}",
        last.1
    );
    assert_eq!(good(), expected);

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

/// A browser on another device: it sends its cookie and the origin of its page.
struct Browser<'a> {
    server: &'a Server,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn sign_in(server: &'a Server, session: &Value) -> Result<Self, u16> {
        let (status, head) = sign_in_from(server, "", "", session);
        let cookie = head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "));
        match (status, cookie) {
            (204, Some(cookie)) => Ok(Self {
                server,
                cookie: cookie.to_owned(),
            }),
            _ => Err(status),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let host = self.server.address;
        let cookie = self.cookie.split(';').next().unwrap();
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, _, body) = self.server.raw(request.as_bytes());
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

#[test]
fn a_code_admits_one_device_and_a_guest_changes_nothing() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(
        &sandbox,
        &["--no-watch", "--folder", music.to_str().unwrap()],
    );
    let owner = Browser::sign_in(&server, &json!({"token": server.token, "stay": true})).unwrap();
    assert!(
        owner.cookie.contains("; Max-Age="),
        "stays signed in: {}",
        owner.cookie
    );
    let this = owner.ask("GET", "devices", &Value::Null).1;
    assert_eq!(this["rights"], "change");
    assert_eq!(this["devices"].as_array().unwrap().len(), 1, "{this}");

    let code = |rights: &str| {
        let body = json!({"rights": rights, "page": "http://nas.lan:8766/"});
        let (status, given) = owner.ask("POST", "devices", &body);
        assert_eq!((status, &given["rights"]), (200, &json!(rights)), "{given}");
        // "http://nas.lan:8766/#code=482193" has 32 bytes, the most of a code of 25 modules.
        assert_eq!(given["qr_side"], 25 + 8, "{given}");
        given["code"].as_str().unwrap().to_owned()
    };
    let first = code("change");
    let other = Browser::sign_in(&server, &json!({"code": first})).unwrap();
    assert!(!other.cookie.contains("Max-Age"), "{}", other.cookie);
    assert_eq!(
        other.ask("GET", "devices", &Value::Null).1["rights"],
        "change"
    );
    assert_eq!(
        Browser::sign_in(&server, &json!({"code": first})).err(),
        Some(401),
        "valid once"
    );

    let guest = Browser::sign_in(&server, &json!({"code": code("listen")})).unwrap();
    assert_eq!(
        guest.ask("GET", "devices", &Value::Null).1["rights"],
        "listen"
    );
    let question = json!({"seeds": [{"id": 1}]});
    assert_eq!(guest.ask("POST", "similar", &question).0, 200);
    assert_eq!(
        guest.ask("POST", "playlist", &question).0,
        200,
        "its radio plays on"
    );
    assert_eq!(guest.ask("GET", "tracks/1/audio", &Value::Null).0, 200);
    assert_eq!(guest.ask("GET", "scan", &Value::Null).0, 200);
    // A guest sees no path of the server.
    for path in ["tracks", "tracks/1", "status", "missing", "failed"] {
        let (_, answer) = guest.ask("GET", path, &Value::Null);
        assert!(!answer.to_string().contains(":\"/"), "{path}: {answer}");
    }
    let name = guest.ask("GET", "tracks/1", &Value::Null).1["path"].clone();
    let path = server.good_get("/api/v1/tracks/1")["path"].clone();
    assert!(path.as_str().unwrap().ends_with(name.as_str().unwrap()));
    for (method, path, body) in [
        ("POST", "scan", json!({})),
        ("DELETE", "scan", json!({})),
        ("POST", "labels", json!({"tracks": [1], "genre": "Polka"})),
        ("POST", "labels/undo", json!({})),
        ("POST", "labels/write", json!({"tracks": [1]})),
        ("POST", "devices", json!({"rights": "change"})),
        ("POST", "lists", json!({"tracks": [1]})),
        ("DELETE", "missing", Value::Null),
    ] {
        let (status, problem) = guest.ask(method, path, &body);
        assert_eq!(status, 403, "{method} {path}: {problem}");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("search and play"),
            "{problem}"
        );
    }
    assert_eq!(
        owner
            .ask("POST", "labels", &json!({"tracks": [1], "genre": "Metal"}))
            .0,
        200
    );

    // Each device has its own cookie, is listed, and is signed out alone.
    let other = Browser::sign_in(&server, &json!({"code": code("listen")})).unwrap();
    assert_ne!(other.cookie, guest.cookie);
    assert_eq!(
        guest.ask("GET", "devices", &Value::Null).1["devices"],
        json!([])
    );
    let devices = owner.ask("GET", "devices", &Value::Null).1["devices"].clone();
    let devices = devices.as_array().unwrap();
    assert_eq!(devices.len(), 4, "{devices:?}");
    assert!(devices[0]["is_this"] == true && devices[0]["rights"] == "change");
    let id = devices
        .iter()
        .find(|one| one["rights"] == "listen")
        .unwrap()["id"]
        .clone();
    assert_eq!(
        guest
            .ask("DELETE", &format!("devices/{id}"), &Value::Null)
            .0,
        403
    );
    assert_eq!(
        owner
            .ask("DELETE", &format!("devices/{id}"), &Value::Null)
            .0,
        204
    );
    assert_eq!(
        owner
            .ask("DELETE", &format!("devices/{id}"), &Value::Null)
            .0,
        404
    );
    let left: Vec<u16> = [&guest, &other]
        .map(|device| device.ask("GET", "tracks", &Value::Null).0)
        .into();
    assert!(left.contains(&200) && left.contains(&401), "{left:?}");
    let last = if left[0] == 200 { &guest } else { &other };
    assert_eq!(last.ask("DELETE", "session", &Value::Null).0, 204);
    assert_eq!(
        last.ask("GET", "tracks", &Value::Null).0,
        401,
        "signed out for good"
    );
    // A page over TLS gets a secure cookie.
    let by_tls = format!("Origin: https://{}\r\n", server.address);
    let (status, head) = sign_in_from(&server, "", &by_tls, &json!({"code": code("listen")}));
    assert_eq!(status, 204, "{head}");
    assert!(head.contains("; Secure"), "{head}");
    assert!(!guest.cookie.contains("Secure"), "{}", guest.cookie);

    // Guessing is stopped before it can succeed.
    let good = code("change");
    let wrong = if good == "000 000" {
        "000 001"
    } else {
        "000 000"
    };
    for _ in 0..5 {
        assert!(matches!(
            Browser::sign_in(&server, &json!({"code": wrong})).err(),
            Some(401 | 429)
        ));
    }
    assert_eq!(
        Browser::sign_in(&server, &json!({"code": good})).err(),
        Some(429)
    );
    for wrong in [json!({}), json!({"code": "1", "token": "x"})] {
        assert_eq!(
            Browser::sign_in(&server, &wrong).err(),
            Some(400),
            "{wrong}"
        );
    }
}

/// The address of this machine in its network, if it has one. Nothing is sent.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[test]
fn on_a_lan_it_answers_for_its_addresses_and_prints_a_code() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let variables = [
        ("VOISIN_SERVE_LAN", "true".as_ref()),
        ("VOISIN_SERVE_ALLOW_HOST", "music.box,a.b".as_ref()),
    ];
    let mut server = Server::start_with(&sandbox, &[], &variables);
    let line = server.lines.next().unwrap().unwrap();
    let code = line
        .split("type ")
        .nth(1)
        .unwrap()
        .split(" (")
        .next()
        .unwrap()
        .to_owned();
    assert!(line.contains("valid once"), "{line}");
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
    assert!(Browser::sign_in(&server, &json!({"code": code})).is_ok());
    let logs = |words: &str| server.log.lock().unwrap().contains(words);
    until("it warns", || {
        logs("every machine of this network") && logs("connections are not encrypted")
    });
    let refused = sandbox.run(["serve", "--lan", "--no-token"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}

#[test]
fn a_variable_of_no_or_nothing_counts_as_unset() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let started = |variables: &[(&str, &str)]| {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, std::ffi::OsStr::new(value)))
            .collect();
        drop(Server::start_with(&sandbox, &["--no-token"], &variables));
    };
    for no in ["false", "", "no", "0", "off", "No"] {
        started(&[("VOISIN_SERVE_LAN", no), ("VOISIN_SERVE_SIGN_IN_FILE", "")]);
    }
    let command = |value: &str| {
        let mut command = sandbox.command(["serve", "--show-token"]);
        command
            .env("VOISIN_SERVE_NO_TOKEN", value)
            .output()
            .unwrap()
    };
    assert_eq!(fine(command("off")).trim().len(), 64);
    for yes in ["yes", "1", "on", "TRUE"] {
        assert_eq!(command(yes).status.code(), Some(2), "{yes}");
    }
    let wrong = command("perhaps");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("--no-token"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn every_option_can_be_a_variable() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let folder = music.join("metal");
    let token = sandbox.path("key");
    let server = Server::start_with(
        &sandbox,
        &[],
        &[
            ("VOISIN_SERVE_FOLDER", folder.as_os_str()),
            ("VOISIN_SERVE_NO_WATCH", "true".as_ref()),
            ("VOISIN_SERVE_TOKEN_FILE", token.as_os_str()),
            ("VOISIN_SERVE_BASE_PATH", "/v".as_ref()),
            (
                "VOISIN_SERVE_ALLOW_ORIGIN",
                "https://music.example".as_ref(),
            ),
        ],
    );
    let token = std::fs::read_to_string(token).unwrap();
    let headers = format!("X-A: b\r\nAuthorization: Bearer {}\r\n", token.trim());
    let request = format!(
        "POST /v/api/v1/scan HTTP/1.1\r\nHost: {}\r\nOrigin: https://music.example\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n{headers}\r\n{{}}",
        server.address
    );
    let (status, head, body) = server.raw(request.as_bytes());
    assert_eq!(status, 202, "{head} {}", text(&body));
    let help = text(&sandbox.run(["serve", "--help"]).stdout);
    for option in help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--"))
    {
        let name = option.split([' ', '[']).next().unwrap();
        let variable = format!(
            "VOISIN_SERVE_{}",
            name.to_ascii_uppercase().replace('-', "_")
        );
        let is_of_serve = !["backend", "open", "show-token", "hash-password"].contains(&name)
            && help
                .find("Global")
                .is_none_or(|all| help.find(option).unwrap() < all);
        assert!(
            !is_of_serve || help.replace(['\n', ' '], "").contains(&variable),
            "{name}"
        );
    }
}
