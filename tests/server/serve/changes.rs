//! Changes while the server runs: files, models, folders, and many concurrent requests.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use voisin_base::track::ContentId;
use voisin_library::{AudioFacts, FileRecord, Library, NewTrack, OpenMode, StoredModel, TrackTags};

use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, fine, noise_wav, text};

#[test]
fn the_server_sees_changes_of_others_and_names_removed_tracks() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let question = json!({"seeds": [{"id": 1}], "limit": 50});
    let count = |answer: &Value| answer["neighbours"].as_array().unwrap().len();
    let before = server.good("/api/v1/similar", &question);
    assert_eq!(count(&before), 5);
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let after = server.good("/api/v1/similar", &question);
    assert_eq!(count(&after), 6, "tracks of another process are found");
    assert!(after["generation"].as_u64() > before["generation"].as_u64());
    fine(sandbox.run(["remove", music.join("noise.wav").to_str().unwrap()]));
    assert_eq!(
        count(&server.good("/api/v1/similar", &question)),
        5,
        "tracks that it removes are gone"
    );

    // An unusable index is rebuilt before a request is answered.
    let index = sandbox.path("library/index.bin");
    drop(server);
    fs::write(&index, b"this is no index").unwrap();
    let server = Server::start(&sandbox, &[]);
    assert_eq!(count(&server.good("/api/v1/similar", &question)), 5);

    // The library disappears, and comes back.
    let here = sandbox.path("library");
    let away = sandbox.path("away");
    fs::rename(&here, &away).unwrap();
    let (status, head, body) = server.send("GET", "/api/v1/list", "", b"");
    assert!(status == 503 && head.contains("retry-after: "), "{head}");
    assert!(text(&body).contains("put it back"), "{}", text(&body));
    assert_eq!(server.get("/api/v1/health").0, 200);
    fs::rename(&away, &here).unwrap();
    assert_eq!(count(&server.good("/api/v1/similar", &question)), 5);
}

#[test]
fn a_damaged_vector_is_reported_and_starts_no_second_build() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let database = rusqlite::Connection::open(sandbox.path("library/voisin.db")).unwrap();
    let nan: Vec<u8> = f32::NAN.to_le_bytes().repeat(200);
    database
        .execute("UPDATE vectors SET vector = ?1 WHERE track = 1", [nan])
        .unwrap();
    drop(database);
    fs::remove_file(sandbox.path("library/index.bin")).unwrap();
    let server = Server::start(&sandbox, &[]);
    let question = json!({"seeds": [{"id": 5}]});
    for _ in 0..3 {
        let (status, problem) = server.post("/api/v1/similar", &question);
        assert_eq!(status, 500, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("200"),
            "{problem}"
        );
    }
    let (status, problem) = server.get("/api/v1/map");
    assert_eq!(status, 500, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("200"),
        "{problem}"
    );
    // A thread reads the log.
    let log = || server.log.lock().unwrap().clone();
    let start = Instant::now();
    while !log().contains("GET /api/v1/map 500") {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(log().matches("the index cannot be built").count(), 1);
    // Once the vector is computed again, the next request starts a build of the index.
    fine(sandbox.run(["add", "--force", music.to_str().unwrap()]));
    server.good("/api/v1/similar", &question);
}

#[test]
fn an_index_that_another_program_cuts_ends_no_server() {
    let sandbox = Sandbox::new();
    made_library(&sandbox, 1000);
    let first = json!({"seeds": [{"id": 1}]});
    Server::start(&sandbox, &[]).good("/api/v1/similar", &first);
    let server = Server::start(&sandbox, &[]);
    server.good("/api/v1/similar", &first);
    let index = fs::OpenOptions::new()
        .write(true)
        .open(sandbox.path("library/index.bin"))
        .unwrap();
    index.set_len(100).unwrap();
    for id in 2..6 {
        let question = json!({"seeds": [{"id": id}], "limit": 3});
        let answer = server.good("/api/v1/similar", &question);
        assert_eq!(answer["neighbours"].as_array().unwrap().len(), 3);
    }
}

/// A library of synthetic tracks in 40 genres, with clusters of uneven sizes.
fn made_library(sandbox: &Sandbox, tracks: usize) {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};
    const DIMENSION: usize = 64;
    let mut random = StdRng::seed_from_u64(1);
    let mut point = |around: &[f32], spread: f32| -> Vec<f32> {
        let moved: Vec<f32> = around
            .iter()
            .map(|value| value + spread * (random.random::<f32>() - 0.5))
            .collect();
        let length = moved.iter().map(|value| value * value).sum::<f32>().sqrt();
        moved.iter().map(|value| value / length).collect()
    };
    let centres: Vec<Vec<f32>> = (0..40).map(|_| point(&[0.0; DIMENSION], 1.0)).collect();
    let mut library = Library::open(&sandbox.path("library"), OpenMode::Create).unwrap();
    let model = StoredModel {
        name: "made".to_owned(),
        fingerprint: "made".to_owned(),
        dimension: DIMENSION,
        manifest_json: "{}".to_owned(),
    };
    library.set_model(&model).unwrap();
    for i in 0..tracks {
        let group = (i * i / 7) % 40;
        let vector = point(&centres[group], 0.5);
        let mut content = [0; 32];
        content[..8].copy_from_slice(&(i as u64).to_le_bytes());
        let track = NewTrack {
            audio: AudioFacts {
                content: ContentId(content),
                seconds: 180.0,
                sample_rate: 44_100,
                channels: 2,
                container: "mp3".to_owned(),
                codec: "mp3".to_owned(),
                packets: 7000,
                damaged_packets: 0,
            },
            file: FileRecord {
                path: format!("/made/{i}.mp3").into(),
                size: 4_000_000 + i as u64,
                mtime_ns: 1_600_000_000_000_000_000,
            },
            tags: TrackTags {
                title: Some(format!("Title {i}")),
                artist: Some(format!("Artist {}", i % 300)),
                genres: vec![format!("Genre {group}")],
                ..TrackTags::default()
            },
            vector,
            logits: Vec::new(),
            descriptors: None,
        };
        library.insert_track(&track).unwrap();
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn quick_queries_do_not_wait_for_whole_library_ones() {
    let sandbox = Sandbox::new();
    made_library(&sandbox, 2000);
    let server = Server::start(&sandbox, &["--threads", "2"]);
    let question = json!({"seeds": [{"id": 1}]});
    server.good("/api/v1/similar", &question);
    // Two of these once took all permits.
    let slow = ["genres", "clusters", "map", "duplicates", "genres"];
    let start = Instant::now();
    let waits = std::thread::scope(|scope| {
        let threads = slow.map(|name| {
            let server = &server;
            scope.spawn(move || {
                let path = format!("/api/v1/{name}");
                // An answer that takes longer than a request may is cached for the next one.
                while server.get(&path).0 == 503 && start.elapsed() < Duration::from_mins(4) {
                    std::thread::sleep(Duration::from_millis(200));
                }
                let (status, answer) = server.get(&path);
                assert_eq!(status, 200, "{path}: {answer}");
            })
        });
        let mut waits = Vec::new();
        while threads.iter().any(|thread| !thread.is_finished()) {
            let asked = Instant::now();
            let quick = if waits.len() % 2 == 0 {
                server.send(
                    "POST",
                    "/api/v1/similar",
                    "Content-Type: application/json\r\n",
                    question.to_string().as_bytes(),
                )
            } else {
                server.send("GET", "/api/v1/status", "", b"")
            };
            assert_eq!(quick.0, 200, "{}", text(&quick.2));
            waits.push(asked.elapsed());
        }
        waits
    });
    assert!(
        waits.len() > 20,
        "{} were answered within {:?}",
        waits.len(),
        start.elapsed()
    );
    let longest = waits.iter().max().unwrap();
    assert!(*longest < Duration::from_secs(2), "{longest:?}");
    // Background work has its own threads, with a low priority.
    #[cfg(target_os = "linux")]
    {
        let mut nice = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", server.process.id())).unwrap() {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            let Some((name, fields)) = stat.rsplit_once(')') else {
                continue;
            };
            if name.contains("(whole-") {
                nice.push(
                    fields
                        .split_whitespace()
                        .nth(16)
                        .unwrap()
                        .parse::<i32>()
                        .unwrap(),
                );
            }
        }
        assert!(
            nice.len() == 2 && nice.iter().all(|&nice| nice >= 5),
            "{nice:?}"
        );
    }
}

/// Opening a pipe blocks until its other end is open.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_blocks_no_request() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let shown = server.good_get("/api/v1/show?track=id:1");
    let path = shown["path"].as_str().unwrap();
    fs::remove_file(path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
    for _ in 0..20 {
        let (status, problem) = server.get("/api/v1/tracks/1/audio");
        assert!(
            status == 404 && problem.to_string().contains("not a file"),
            "{problem}"
        );
    }
    assert_eq!(server.send("GET", "/api/v1/tracks/1/cover", "", b"").0, 204);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_scan_adds_the_folders_named_at_the_start() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &["--folder", music.to_str().unwrap()]);
    let ends = || {
        let start = Instant::now();
        while server.good_get("/api/v1/scan")["state"] == "running" {
            assert!(start.elapsed() < Duration::from_secs(90), "it ends");
            std::thread::sleep(Duration::from_millis(50));
        }
        server.good_get("/api/v1/scan")
    };
    // One starts with the server.
    assert_eq!(ends()["state"], "done");
    let (status, refused) = server.post("/api/v1/scan", &json!({"folder": "/music"}));
    let detail = refused["detail"].as_str().unwrap();
    assert!(status == 400 && detail.contains("\"folder\""), "{refused}");
    let (status, started) = server.post("/api/v1/scan", &json!({}));
    assert_eq!(
        (status, &started["state"]),
        (202, &json!("running")),
        "{started}"
    );
    assert_eq!(
        server.post("/api/v1/scan", &json!({})).0,
        409,
        "one at a time"
    );
    // Events until it ends.
    let (status, head, body) =
        server.send("GET", "/api/v1/scan", "Accept: text/event-stream\r\n", b"");
    assert!(
        status == 200 && head.contains("content-type: text/event-stream"),
        "{head}"
    );
    let body = text(&body);
    assert!(
        body.contains("event: progress\n") && body.contains("\"state\":\"done\""),
        "{body}"
    );
    assert_eq!(server.good_get("/api/v1/scan")["state"], "done");
    assert_eq!(
        server.send("DELETE", "/api/v1/scan", "", b"").0,
        409,
        "there is none"
    );
    // A long scan can be stopped.
    for seed in 10..40 {
        fs::write(
            music.join(format!("{seed}.wav")),
            noise_wav(44_100, 60.0, seed),
        )
        .unwrap();
    }
    assert_eq!(server.post("/api/v1/scan", &json!({})).0, 202);
    let start = Instant::now();
    while server.good_get("/api/v1/scan")["total"] == 0 {
        assert!(start.elapsed() < Duration::from_mins(1), "it begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.send("DELETE", "/api/v1/scan", "", b"").0, 202);
    let stopped = ends();
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
    let server = Server::start(&sandbox, &["--folder", music.to_str().unwrap()]);
    fs::write(music.join("noise.wav"), noise_wav(22_050, 10.0, 3)).unwrap();
    let start = Instant::now();
    while server.good_get("/api/v1/list")["total"] != 7 {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{}",
            server.log.lock().unwrap()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    // The server waits for a disk that is mounted late, where there is a library already.
    let late = sandbox.path("late");
    let server = Server::start(&sandbox, &["--folder", late.to_str().unwrap()]);
    fs::create_dir(&late).unwrap();
    fs::write(late.join("other.wav"), noise_wav(22_050, 10.0, 4)).unwrap();
    let start = Instant::now();
    while server.good_get("/api/v1/list")["total"] != 8 {
        let log = server.log.lock().unwrap().clone();
        assert!(start.elapsed() < Duration::from_mins(1), "{log}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Child processes must end when the server has been killed.
#[cfg(target_os = "linux")]
#[test]
fn watching_ends_with_a_server_that_is_killed() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let mut server = Server::start(&sandbox, &["--folder", music.to_str().unwrap()]);
    let pid = server.process.id();
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children: Vec<u32> = children()
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect();
    assert_eq!(children.len(), 2, "one process scans, another one watches");
    let lives = |child: &u32| {
        fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|line| !line.is_empty())
    };
    // A process that has just begun has no command line for a moment.
    let start = Instant::now();
    while !lives(children.iter().max().unwrap()) {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "no watching process"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let start = Instant::now();
    while children.iter().any(lives) {
        assert!(start.elapsed() < Duration::from_secs(20), "they go on");
        std::thread::sleep(Duration::from_millis(50));
    }
}
