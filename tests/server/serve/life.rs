//! Start and end of the server.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::server::{Server, read_answer, small_library};
#[cfg(target_os = "linux")]
use crate::common::six_tracks;
use crate::common::{Sandbox, code, fine, text};
#[cfg(target_os = "linux")]
use crate::players::until;

#[cfg(unix)]
#[test]
fn a_new_library_and_password_are_readable_by_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let library = fs::metadata(sandbox.path("library")).unwrap();
    assert_eq!(library.permissions().mode() & 0o777, 0o700);
    let password = sandbox.path("password");
    fs::write(&password, "s3cret and long\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--token-file"];
    let refused = sandbox.command(serve).arg(&password).output().unwrap();
    assert!(
        text(&refused.stderr).contains("found mode 644"),
        "{}",
        text(&refused.stderr)
    );
}

#[cfg(unix)]
#[test]
fn a_server_ends_within_five_seconds_and_finishes_what_it_began() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let mut server = Server::start(&sandbox, &[]);
    // Idle connections, a slow sender and a slow reader do not delay it.
    let _idle = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"GET /api/v1/he").unwrap();
    let mut stream = server.connect();
    let body = fs::read(music.join("ambient/maxstack-nebula.ogg")).unwrap();
    let request = format!(
        "POST /api/v1/files/similar HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: audio/ogg\r\nContent-Length: {}\r\n\r\n",
        server.address,
        server.token,
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &server.process.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let (status, head, _) = read_answer(&mut stream);
    assert_eq!(status, 200, "an answer under way is finished: {head}");
    let ended = server.process.wait().unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(5) && ended.success(),
        "{ended}"
    );
    let log = server.log.lock().unwrap().clone();
    assert!(log.contains("POST /api/v1/files/similar 200"), "{log}");
    assert!(!log.contains(&server.token), "no token in the log");
}

#[cfg(unix)]
#[test]
fn a_token_is_its_owners_and_needed_where_others_can_connect() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let file = sandbox.path("library/serve.token");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let shown = fine(sandbox.run(["serve", "--show-token"]));
    assert_eq!(
        (shown.trim(), shown.trim().len()),
        (server.token.as_str(), 64)
    );
    drop(server);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = |sandbox: &Sandbox, arguments: &[&str], reason: &str| {
        let refused = sandbox.run([&["serve"], arguments].concat());
        let message = text(&refused.stderr);
        assert!(
            code(&refused) == 2 && message.contains(reason),
            "{arguments:?}: {message}"
        );
    };
    refused(&sandbox, &["--listen", "127.0.0.1:0"], "chmod 600");
    refused(
        &sandbox,
        &["--no-token", "--listen", "0.0.0.0:0"],
        "--no-token",
    );
    let elsewhere = Sandbox::new();
    refused(&elsewhere, &["--show-token"], "");
    assert!(!elsewhere.path("library").exists());
}

#[test]
fn without_a_token_hosts_are_checked() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let open = Server::start(&sandbox, &["--no-token"]);
    let plain = |host: &str| {
        format!("GET /api/v1/list HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    assert_eq!(open.raw(plain("localhost").as_bytes()).0, 200);
    assert_eq!(open.raw(plain("evil.example").as_bytes()).0, 403);
}

#[cfg(target_os = "linux")]
#[test]
fn the_first_start_makes_a_library_where_add_would() {
    let sandbox = Sandbox::new();
    let refused = sandbox
        .command(["serve", "--folder", "/no/such/folder"])
        .env("VOISIN_LIBRARY", "")
        .output();
    assert_eq!(code(&refused.unwrap()), 2);
    assert!(
        !sandbox.path("home").exists(),
        "what is refused makes nothing"
    );

    let mut server = Server::start_with(&sandbox, &[], &[("VOISIN_LIBRARY", "".as_ref())]);
    let shown = sandbox
        .command(["serve", "--show-token"])
        .env("VOISIN_LIBRARY", "")
        .output();
    server.token = fine(shown.unwrap()).trim().to_owned();
    // The log is read from another stream than the address, so it may arrive later.
    until("a library is made", || {
        let log = server.log.lock().unwrap();
        log.contains("created an empty library in")
    });
    let library = sandbox.path("home/.local/share/voisin");
    let status = server.good_get("/api/v1/status");
    assert_eq!(
        (&status["tracks"], status["library"].as_str()),
        (&json!(0), library.to_str()),
        "{status}"
    );
    assert_eq!(server.good_get("/api/v1/list")["total"], 0);
    // Requests that need tracks fail with the next step.
    for (path, next) in [("/api/v1/genres", "voisin add"), ("/api/v1/map", "")] {
        let (status, problem) = server.get(path);
        assert!((400..500).contains(&status), "{path}: {status} {problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(next),
            "{path}: {problem}"
        );
    }

    // Without a folder, `add` adds music.
    let (status, refused) = server.post("/api/v1/scan", &json!({}));
    assert!(
        status == 409
            && refused["next"]
                .as_str()
                .unwrap()
                .contains("a folder to scan"),
        "{refused}"
    );
    let music = six_tracks(&sandbox);
    let add = sandbox
        .command(["add", music.to_str().unwrap()])
        .env("VOISIN_LIBRARY", "")
        .output();
    fine(add.unwrap());
    assert_eq!(server.good_get("/api/v1/list")["total"], 6);
}
