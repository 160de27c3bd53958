//! Requests of Lyrion's plugin to bliss-mixer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::Running;
use crate::common::server::{Server, read_answer, small_library};
use crate::common::{Sandbox, fine, noise_wav, text};

/// A WAV file with title, artist, album and genre.
pub(super) fn tagged_wav(
    seed: u64,
    title: &str,
    artist: &str,
    album: &str,
    genre: &str,
) -> Vec<u8> {
    let mut file = noise_wav(22_050, 8.0, seed);
    let mut list = b"INFO".to_vec();
    for (name, value) in [
        ("INAM", title),
        ("IART", artist),
        ("IPRD", album),
        ("IGNR", genre),
    ] {
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

/// A request to Lyrion's port: status, head and the paths of the answer.
pub(super) fn lyrion(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, Vec<String>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (status, head, body) = read_answer(&mut stream);
    (
        status,
        head,
        text(&body).lines().map(str::to_owned).collect(),
    )
}

#[test]
fn lyrions_plugin_gets_the_answers_of_bliss_mixer() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    for (seed, title, artist, album, genre) in [
        (1, "One", "Ann", "Red", "Pop;Rock"),
        (2, "Two", "Ann", "Red", "Pop"),
        (3, "Three", "Ben", "Blue", "Pop"),
        (4, "One", "Cid", "Green", "Folk"),
        (5, "Sleigh", "Dot", "White", "Christmas"),
    ] {
        fs::write(
            music.join(format!("{seed}.wav")),
            tagged_wav(seed, title, artist, album, genre),
        )
        .unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let mut server = Server::start(&sandbox, &["--lms", "0"]);
    let line = server.lines.next().unwrap().unwrap();
    let address = line
        .strip_prefix("listening on http://")
        .unwrap()
        .strip_suffix("/api/mix")
        .unwrap()
        .to_owned();
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
        let (status, head, lines) =
            lyrion(&address, "POST", "/api/mix", kind, &question.to_string());
        assert_eq!(status, 200, "{question}: {lines:?}");
        assert!(
            head.contains("content-type: text/plain; charset=utf-8"),
            "{head}"
        );
        lines
    };
    assert_eq!(lyrion(&address, "GET", "/api/ready", "", "").2, ["1"]);
    // Nearest first, below the music folder, without the seed and the played tracks.
    let near: Vec<String> = fine(sandbox.run([
        "similar",
        "chaos god",
        "--limit",
        "all",
        "--format",
        "paths",
    ]))
    .lines()
    .map(|path| {
        Path::new(path)
            .strip_prefix(&music)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    })
    .collect();
    let all = mix(json!({"count": 50}));
    let once = |album: &str| {
        near.iter()
            .find(|path| album.contains(path.as_str()))
            .unwrap()
            .clone()
    };
    let red = once("1.wav 2.wav");
    let expected: Vec<&String> = near
        .iter()
        // an album appears once, a title too
        .filter(|path| !["1.wav", "2.wav"].contains(&path.as_str()) || **path == red)
        .collect();
    assert_eq!(
        all.iter().filter(|path| path.starts_with("metal/")).count(),
        2,
        "{all:?}"
    );
    assert_eq!(all[..2], [expected[0].clone(), expected[1].clone()]);
    assert!(
        all.iter()
            .filter(|path| ["1.wav", "2.wav"].contains(&path.as_str()))
            .count()
            <= 1,
        "an album appears once: {all:?}"
    );
    assert!(
        all.iter()
            .filter(|path| ["1.wav", "4.wav"].contains(&path.as_str()))
            .count()
            <= 1,
        "a title appears once: {all:?}"
    );
    assert_eq!(mix(json!({})), all[..5]);
    assert_eq!(mix(json!({"count": 0})).len(), 1, "one at least");
    let played = mix(json!({"count": 50, "previous": [all[0]]}));
    assert!(!played.contains(&all[0]));
    // An artist that just played does not appear again.
    let army = "metal/muldjord-armygeddon.m4a".to_owned();
    let previous = json!([
        "metal/muldjord-chaos-god.mp3",
        "ambient/maxstack-nebula.ogg"
    ]);
    assert!(mix(json!({"count": 50, "previous": previous})).contains(&army));
    assert!(!mix(json!({"count": 50, "previous": previous, "norepart": 1})).contains(&army));
    let late = json!([
        "ambient/maxstack-nebula.ogg",
        "metal/muldjord-chaos-god.mp3"
    ]);
    assert!(
        mix(json!({"count": 50, "previous": late, "norepart": 1})).contains(&army),
        "only among the last"
    );
    // Nor an album.
    let from_red = |more: Value| {
        let mut question = json!({"tracks": ["3.wav"], "previous": ["1.wav"], "count": 50});
        question
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        mix(question)
    };
    assert!(from_red(json!({})).contains(&"2.wav".to_owned()));
    assert!(!from_red(json!({"norepalb": 3})).contains(&"2.wav".to_owned()));
    // Genres: the group of the seed; for a seed in no group, tracks in no group; patterns; all genres of a song or one.
    let metal =
        mix(json!({"count": 50, "filtergenre": 1, "genregroups": [["Metal", "Rock"], ["Pop"]]}));
    assert!(
        metal.contains(&army) && !metal.iter().any(|path| path.starts_with("ambient/")),
        "{metal:?}"
    );
    assert!(!metal.contains(&"3.wav".to_owned()), "{metal:?}");
    assert_eq!(
        mix(json!({"count": 50, "filtergenre": 1, "genregroups": [["met*"]]})).len(),
        2
    );
    let other = mix(json!({"count": 50, "filtergenre": 1, "genregroups": [["Ambient"], ["P?p"]]}));
    assert!(
        other
            .iter()
            .all(|path| path.starts_with("metal/") || path == "4.wav" || path == "5.wav"),
        "{other:?}"
    );
    let pop = |all: u8| {
        mix(
            json!({"tracks": ["3.wav"], "count": 50, "filtergenre": true, "allgenres": all, "genregroups": [["Pop"], ["Rock"]]}),
        )
    };
    assert!(
        pop(0)
            .iter()
            .any(|path| ["1.wav", "2.wav"].contains(&path.as_str()))
    );
    // All genres of a seed must be in a group; of a candidate, one is enough.
    assert_eq!(pop(1), pop(0));
    let of_both = |all: u8| {
        mix(
            json!({"tracks": ["1.wav"], "count": 50, "filtergenre": 1, "allgenres": all, "genregroups": [["Pop"], ["Rock"]]}),
        )
    };
    assert!(!of_both(0).is_empty() && !of_both(0).iter().any(|path| path.starts_with("ambient/")));
    assert!(
        of_both(1).iter().any(|path| path.starts_with("ambient/")),
        "a seed in no group alone: {:?}",
        of_both(1)
    );
    // Christmas is in December, by local time.
    let date = Command::new("date").arg("+%m").output().unwrap();
    let december = text(&date.stdout).trim() == "12";
    assert!(mix(json!({"count": 50})).contains(&"5.wav".to_owned()));
    assert_eq!(
        mix(json!({"count": 50, "filterxmas": 1})).contains(&"5.wav".to_owned()),
        december
    );
    // Lengths.
    let short = mix(json!({"count": 50, "max": 10}));
    assert!(
        !short.is_empty()
            && short
                .iter()
                .all(|path| path.ends_with(".wav") && !path.contains('/')),
        "{short:?}"
    );
    let long = mix(json!({"count": 50, "min": 10}));
    assert!(
        !long.is_empty() && long.iter().all(|path| path.contains('/')),
        "{long:?}"
    );
    assert!(mix(json!({"count": 50, "min": 600})).is_empty());
    // Tempo.
    let tracks = server.good_get("/api/v1/tracks?limit=100")["tracks"].clone();
    let tempo = |path: &str| {
        let found = tracks.as_array().unwrap().iter().find(|track| {
            track["path"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/{path}"))
        });
        found.unwrap()["tempo"].as_f64()
    };
    let seed_tempo = tempo("metal/muldjord-chaos-god.mp3").unwrap();
    for path in mix(json!({"count": 50, "maxbpmdiff": 20})) {
        assert!((tempo(&path).unwrap() - seed_tempo).abs() <= 20.0, "{path}");
    }
    // Shuffled: others in another order, out of the nearest.
    let mut shuffled = mix(json!({"count": 50, "shuffle": 1}));
    shuffled.sort();
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(shuffled, sorted);
    let orders: std::collections::HashSet<Vec<String>> = (0..8)
        .map(|_| mix(json!({"count": 4, "shuffle": 1})))
        .collect();
    assert!(orders.len() > 1, "chance has a part");
    // Parameters of other comparison methods change nothing.
    assert_eq!(
        mix(json!({"forest": 1, "adaptiveweights": 1, "debug": 1})),
        all[..5]
    );
    // Several seeds; unknown tracks.
    assert!(
        !mix(json!({"tracks": ["1.wav", "ambient/maxstack-nebula.ogg"], "count": 3})).is_empty()
    );
    assert!(mix(json!({"tracks": ["no/such/file.mp3"]})).is_empty());
    assert!(mix(json!({"tracks": ["../../../etc/passwd"]})).is_empty());

    let list = |more: Value| {
        let mut question = json!({
            "count": 50, "filtergenre": 0, "min": 0, "max": 0, "maxbpmdiff": 0, "track": "metal/muldjord-chaos-god.mp3",
            "genregroups": [], "allgenres": 0, "byartist": 0
        });
        question
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, _, lines) = lyrion(&address, "POST", "/api/list", kind, &question.to_string());
        assert_eq!(status, 200);
        lines
    };
    // A title appears once here too, and Christmas in December.
    let second = near
        .iter()
        .rposition(|path| ["1.wav", "4.wav"].contains(&path.as_str()))
        .unwrap();
    let once: Vec<String> = near
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != second)
        .map(|(_, path)| path.clone())
        .collect();
    assert_eq!(list(json!({})), once);
    assert_eq!(
        list(json!({"filterxmas": 1})).contains(&"5.wav".to_owned()),
        december
    );
    assert_eq!(list(json!({"count": 2})), once[..2]);
    assert_eq!(list(json!({"byartist": 1})), [army.as_str()]);
    assert_eq!(
        list(json!({"filtergenre": 1, "genregroups": [["Metal"]]})).len(),
        2
    );
    assert!(list(json!({"min": 600})).is_empty());

    // Foreign pages, hosts, content types and methods; requests that need the token do not exist here.
    let body = json!({"tracks": ["metal/muldjord-chaos-god.mp3"]}).to_string();
    for (method, path, headers, body, expected) in [
        (
            "POST",
            "/api/mix",
            "Content-Type: text/plain\r\n",
            body.as_str(),
            415,
        ),
        (
            "POST",
            "/api/mix",
            "Content-Type: application/json\r\nOrigin: http://evil.example\r\n",
            &body,
            403,
        ),
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
    stream
        .write_all(b"GET /api/ready HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut stream).0, 403);
}

#[test]
fn lyrion_starts_voisin_as_bliss_mixer_and_gets_the_port() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let mixer = sandbox.path("bliss-mixer");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_voisin"), &mixer).unwrap();
    let lyrion_server = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = lyrion_server.local_addr().unwrap().to_string();
    let process = Command::new(&mixer)
        .args([
            "--lms",
            &place,
            "--db",
            "/prefs/bliss.db",
            "--address",
            "127.0.0.1",
            "--logging",
            "debug",
        ])
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
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut bytes = vec![0; 65_536];
    let mut request = String::new();
    while !request.contains("number:") || !request.trim_end().ends_with('}') {
        let n = stream.read(&mut bytes).unwrap();
        assert!(n > 0, "{request}");
        request.push_str(&text(&bytes[..n]));
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        .unwrap();
    assert!(
        request.starts_with("POST /jsonrpc.js HTTP/1.1"),
        "{request}"
    );
    let question: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&question["id"], &question["method"]),
        (&json!(1), &json!("slim.request"))
    );
    let call = &question["params"][1];
    assert_eq!(
        (&question["params"][0], &call[0], &call[1]),
        (&json!(""), &json!("blissmixer"), &json!("port"))
    );
    let port = call[2].as_str().unwrap().strip_prefix("number:").unwrap();
    let address = format!("127.0.0.1:{port}");
    assert_eq!(lyrion(&address, "GET", "/api/ready", "", "").2, ["1"]);
    let body = json!({"tracks": [format!("{}/metal/muldjord-chaos-god.mp3", sandbox.path("music").display()).trim_start_matches('/')], "genregroups": []});
    let found = lyrion(
        &address,
        "POST",
        "/api/mix",
        "Content-Type: application/json\r\n",
        &body.to_string(),
    )
    .2;
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(
        !sandbox.path("library/serve.token").exists(),
        "no token is needed"
    );
}
