//! What changes while it runs: files, models, folders, and many who ask at once.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::server::{Server, read_answer, small_library};
use super::common::{Sandbox, code, fine, fine_json, noise_wav, text};

#[test]
fn what_others_change_is_seen_and_what_is_gone_is_said() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let question = json!({"seeds": [{"id": 1}], "include_seed": true, "limit": 50});
    let count = |answer: &Value| answer["neighbours"].as_array().unwrap().len();
    let before = server.good("/api/v1/similar", &question);
    assert_eq!(count(&before), 6);
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let after = server.good("/api/v1/similar", &question);
    assert_eq!(count(&after), 7, "what another process adds is found");
    assert!(after["generation"].as_u64() > before["generation"].as_u64());
    fine(sandbox.run(["remove", music.join("noise.wav").to_str().unwrap()]));
    assert_eq!(count(&server.good("/api/v1/similar", &question)), 6, "what it removes is gone");

    // An index that is of no use is built anew; until then nobody is told an old answer.
    let index = sandbox.path("library/index.bin");
    drop(server);
    fs::write(&index, b"this is no index").unwrap();
    let server = Server::start(&sandbox, &[]);
    let (status, problem) = server.post("/api/v1/similar", &question);
    assert_eq!(status, 503, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("index"), "{problem}");
    let start = Instant::now();
    while server.post("/api/v1/similar", &question).0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "it is built");
        std::thread::sleep(Duration::from_millis(100));
    }

    // The library goes away, and comes back.
    let (here, away) = (sandbox.path("library"), sandbox.path("away"));
    fs::rename(&here, &away).unwrap();
    let (status, head, body) = server.send("GET", "/api/v1/tracks", "", b"");
    assert!(status == 503 && head.contains("retry-after: "), "{head}");
    assert!(text(&body).contains("put it back"), "{}", text(&body));
    assert_eq!(server.get("/api/v1/health").0, 200);
    fs::rename(&away, &here).unwrap();
    assert_eq!(count(&server.good("/api/v1/similar", &question)), 6);
}

#[test]
fn vectors_of_another_model_are_never_mixed_with_those_of_before() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let question = json!({"seeds": [{"id": 1}], "limit": 5});
    let near = |answer: &Value| answer["neighbours"].clone();
    let before = server.good("/api/v1/similar", &question);
    let passage = json!({"seeds": [{"id": 1}], "from": 0.0, "to": 5.0, "limit": 2});
    server.good("/api/v1/similar", &passage);
    fine(sandbox.run(["model", "upgrade", "voisin-2"]));
    // The index may have to be built: then that is said, and nothing is answered from the old one.
    let start = Instant::now();
    let after = loop {
        let (status, answer) = server.post("/api/v1/similar", &question);
        if status == 200 {
            break answer;
        }
        assert!(status == 503 && answer["detail"].as_str().unwrap().contains("index"), "{status} {answer}");
        assert!(start.elapsed() < Duration::from_secs(20), "it is built");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(after["generation"].as_u64() > before["generation"].as_u64());
    let expected = fine_json(sandbox.run(["similar", "id:1", "--limit", "5", "--format", "json"]));
    assert_eq!(near(&after), near(&expected));
    assert_ne!(near(&after), near(&before));
    let passages = server.good("/api/v1/similar", &passage)["passages"].clone();
    let arguments = ["similar", "id:1", "--from", "0", "--to", "5", "--limit", "2", "--format", "json"];
    assert_eq!(passages, fine_json(sandbox.run(arguments))["passages"]);
}

#[test]
fn as_many_compute_as_there_are_threads_and_the_rest_wait_a_little() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &["--threads", "1"]);
    // Each listens for a good while.
    let slow = json!({"seeds": [{"id": 1}], "from": 0.0, "to": 6.0, "limit": 2}).to_string();
    let request = format!(
        "POST /api/v1/similar HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{slow}",
        server.address,
        server.token,
        slow.len()
    );
    let start = Instant::now();
    let mut asked: Vec<TcpStream> = (0..320).map(|_| server.connect()).collect();
    for stream in &mut asked {
        stream.write_all(request.as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    // Music plays on meanwhile.
    let whole = server.send("GET", "/api/v1/tracks/1/audio", "", b"");
    assert!(whole.0 == 200 && start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let mut counts = std::collections::BTreeMap::new();
    for stream in &mut asked {
        let (status, head, body) = read_answer(stream);
        *counts.entry(status).or_insert(0) += 1;
        if status == 503 {
            assert!(head.contains("retry-after: "), "{head}");
            assert!(["too many requests", "took too long"].iter().any(|why| text(&body).contains(why)));
        }
    }
    assert!(counts.keys().all(|status| [200, 503].contains(status)), "{counts:?}");
    assert!(counts[&200] >= 1 && counts[&503] >= 320 - 257, "{counts:?}");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "none waits longer than it may: {:?}",
        start.elapsed()
    );
    assert_eq!(server.good("/api/v1/similar", &json!({"seeds": [{"id": 1}]}))["seeds"][0]["id"], 1);
}

/// Who opens a pipe waits for somebody at its other end.
#[cfg(unix)]
#[test]
fn a_pipe_in_a_files_place_keeps_nobody_waiting() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let path = server.good_get("/api/v1/tracks/1")["path"].as_str().unwrap().to_owned();
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let request = format!(
        "GET /api/v1/tracks/1/audio HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        server.address, server.token
    );
    // More than the server has threads.
    for _ in 0..3 {
        let mut asked: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
        for stream in &mut asked {
            stream.write_all(request.as_bytes()).unwrap();
        }
        for stream in &mut asked {
            let (status, head, body) = read_answer(stream);
            assert!(status == 404 && text(&body).contains("no file"), "{head} {}", text(&body));
        }
    }
    assert_eq!(server.send("GET", "/api/v1/tracks/1/cover", "", b"").0, 204);
    let passage = json!({"seeds": [{"id": 1}], "from": 0.0, "to": 5.0});
    let near = server.good("/api/v1/similar", &passage);
    assert_eq!(
        near["passages"].as_array().unwrap().len(),
        5,
        "by the stored windows of the one that is gone"
    );
    assert_eq!(server.good_get("/api/v1/status")["tracks"], 6);
}

#[test]
fn a_scan_adds_the_folders_named_at_the_start() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &["--folder", music.to_str().unwrap()]);
    assert_eq!(server.good_get("/api/v1/scan")["state"], "idle");
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    let (status, started) = server.post("/api/v1/scan", &json!({}));
    assert_eq!((status, &started["state"]), (202, &json!("running")), "{started}");
    assert_eq!(server.post("/api/v1/scan", &json!({})).0, 409, "one at a time");
    // Events until it ends.
    let (status, head, body) = server.send("GET", "/api/v1/scan", "Accept: text/event-stream\r\n", b"");
    assert!(status == 200 && head.contains("content-type: text/event-stream"), "{head}");
    let body = text(&body);
    assert!(body.contains("event: progress\n") && body.contains("\"state\":\"done\""), "{body}");
    let done = server.good_get("/api/v1/scan");
    assert_eq!((&done["state"], &done["summary"]["added"]), (&json!("done"), &json!(1)), "{done}");
    assert_eq!(server.good_get("/api/v1/tracks")["tracks"].as_array().unwrap().len(), 7);
    assert_eq!(server.send("DELETE", "/api/v1/scan", "", b"").0, 409, "there is none");
    // One that has much to do can be stopped.
    for seed in 10..40 {
        fs::write(music.join(format!("{seed}.wav")), noise_wav(44_100, 60.0, seed)).unwrap();
    }
    assert_eq!(server.post("/api/v1/scan", &json!({})).0, 202);
    let start = Instant::now();
    while server.good_get("/api/v1/scan")["total"] == 0 {
        assert!(start.elapsed() < Duration::from_mins(1), "it begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.send("DELETE", "/api/v1/scan", "", b"").0, 202);
    while server.good_get("/api/v1/scan")["state"] == "running" {
        assert!(start.elapsed() < Duration::from_secs(90), "it ends");
        std::thread::sleep(Duration::from_millis(50));
    }
    let stopped = server.good_get("/api/v1/scan");
    assert_eq!(
        (&stopped["state"], &stopped["summary"]["interrupted"]),
        (&json!("stopped"), &json!(true)),
        "{stopped}"
    );
}

#[test]
fn a_folder_that_is_watched_is_added_to_the_answers() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &["--watch", music.to_str().unwrap()]);
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    let start = Instant::now();
    while server.good_get("/api/v1/tracks")["total"] != 7 {
        assert!(start.elapsed() < Duration::from_mins(1), "{}", server.said.lock().unwrap());
        std::thread::sleep(Duration::from_millis(200));
    }
    let refused = sandbox.run(["serve", "--watch", "/no/such/folder", "--listen", "127.0.0.1:0"]);
    assert!(code(&refused) == 2 && text(&refused.stderr).contains("--watch"), "{}", text(&refused.stderr));
}

/// Whoever holds what the server started must not find it at work after the server has been killed.
#[cfg(target_os = "linux")]
#[test]
fn watching_ends_with_a_server_that_is_killed() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let mut server = Server::start(&sandbox, &["--watch", music.to_str().unwrap()]);
    let pid = server.process.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let watching: u32 = children.trim().parse().expect("one process watches");
    let lives = || fs::read_to_string(format!("/proc/{watching}/cmdline")).is_ok_and(|line| !line.is_empty());
    // A process that has just begun has no command line for a moment.
    let start = Instant::now();
    while !lives() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody watches");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let start = Instant::now();
    while lives() {
        assert!(start.elapsed() < Duration::from_secs(20), "it watches on");
        std::thread::sleep(Duration::from_millis(50));
    }
}
