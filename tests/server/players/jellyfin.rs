//! Jellyfin, by its documented answers.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, code, text};

/// A server that gives these answers, one per connection, and returns the requests.
pub(super) fn answering(
    answers: Vec<(&'static str, Value)>,
) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for (status, answer) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let mut request = String::new();
            let mut bytes = vec![0; 65_536];
            loop {
                let n = stream.read(&mut bytes).unwrap();
                request.push_str(&text(&bytes[..n]));
                let Some((head, body)) = request.split_once("\r\n\r\n") else {
                    continue;
                };
                let lower = head.to_ascii_lowercase();
                let length = lower
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                if n == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    break;
                }
            }
            let body = answer.to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
            requests.push(request);
        }
        requests
    });
    (url, thread)
}

#[test]
fn jellyfins_songs_are_linked_by_its_documented_answers() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let item = |id: &str, name: &str, artist: &str, path: &str| {
        json!({
            "Id": id, "Name": name, "Artists": [artist], "AlbumArtist": artist,
            "ArtistItems": [{"Name": artist, "Id": format!("a-{id}")}], "RunTimeTicks": 140_000_000_u64,
            "Path": path, "ProviderIds": {}, "Type": "Audio"
        })
    };
    let (url, requests) = answering(vec![
        (
            "200 OK",
            json!({"AccessToken": "abc", "User": {"Id": "u1"}}),
        ),
        (
            "200 OK",
            json!({"Items": [
                item("0d1e-2f", "Chaos God", "Muldjord", "/media/metal/muldjord-chaos-god.mp3"),
                item("aa", "nebula", "MAXSTACK", "/elsewhere/renamed.ogg"),
                item("bb", "Unknown", "Nobody", "/media/unknown.mp3"),
                {"Name": "without an id"},
            ], "TotalRecordCount": 3}),
        ),
        ("200 OK", json!({"Items": [], "TotalRecordCount": 3})),
        ("204 No Content", Value::Null),
    ]);
    let mut command = sandbox.command([
        "link",
        &url,
        "--jellyfin",
        "--user",
        "me",
        "--format",
        "json",
    ]);
    let output = command.env("VOISIN_PASSWORD", "s3cret\"").output().unwrap();
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let linked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&linked["songs"], &linked["linked"]),
        (&json!(3), &json!(2))
    );
    // Its folders differ from ours, as in a container: no whole path is a suffix of another.
    assert_eq!(linked["found_by"], json!({"tags": 2}));
    assert_eq!(linked["unmatched"][0]["title"], "Unknown");
    let requests = requests.join().unwrap();
    assert!(
        requests[0].starts_with("POST /Users/AuthenticateByName ")
            && requests[0].contains("\"Pw\":\"s3cret\\\"\""),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].contains("includeItemTypes=Audio") && requests[1].contains("Token=\"abc\""),
        "{}",
        requests[1]
    );
    assert!(
        requests[3].starts_with("POST /Sessions/Logout "),
        "{}",
        requests[3]
    );
    let server = Server::start(&sandbox, &["--audiomuse", &url]);
    let near = server.good_get("/api/similar_tracks?item_id=0d1e2f&n=3");
    assert_eq!(near[0]["item_id"], "aa", "only what Jellyfin has: {near}");
    // Missing tags have the value that AudioMuse-AI uses.
    let library = server.good_get("/api/v1/tracks?query=nebula")["tracks"][0].clone();
    assert_eq!(library["album_artist"], Value::Null);
    assert_eq!(near[0]["album_artist"], "unknown");
    assert_eq!(
        near[0]["album"],
        library["album"].as_str().unwrap_or("unknown")
    );
    // Its plugin requests artists by Jellyfin's ids.
    let artists = server.good_get("/api/similar_artists?artist_id=a0d1e2f&n=10");
    let found: Vec<&Value> = artists
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["artist"])
        .collect();
    let known = artists
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["artist"] == "Maxstack")
        .unwrap();
    assert!(
        !found.contains(&&json!("Muldjord")) && known["artist_id"] == "aaa",
        "{artists}"
    );
    assert_eq!(
        artists,
        server.good_get("/api/similar_artists?artist=a0d1e2f&n=10")
    );
    assert_eq!(
        artists,
        server.good_get("/api/similar_artists?artist=Muldjord&n=10")
    );
    let (url, _) = answering(vec![("401 Unauthorized", json!({}))]);
    let mut command = sandbox.command(["link", &url, "--jellyfin", "--user", "me"]);
    let output = command.env("VOISIN_PASSWORD", "wrong").output().unwrap();
    assert!(
        code(&output) == 2 && text(&output.stderr).contains("refuses"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_list_becomes_a_playlist_of_jellyfin_and_is_renewed() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let session = || {
        let answer = json!({"AccessToken": "abc", "User": {"Id": "u1"}});
        ("200 OK", answer)
    };
    let song = |id: &str, path: &str| json!({"Id": id, "Name": path, "Path": path, "RunTimeTicks": 140_000_000_u64});
    let gone = || ("204 No Content", Value::Null);
    let (url, requests) = answering(vec![
        session(),
        (
            "200 OK",
            json!({"Items": [{"Id": "aa", "Name": "Chaos God", "Artists": ["Muldjord"], "RunTimeTicks": 140_000_000_u64, "Path": "/m/x.mp3"},
                             song("bb", "/m/unknown.mp3")]}),
        ),
        ("200 OK", json!({"Items": []})),
        gone(),
        session(),
        ("200 OK", json!({"Items": []})),
        ("200 OK", json!({"Id": "p1"})),
        gone(),
        session(),
        ("200 OK", json!({"Items": [{"Id": "p1", "Name": "one"}]})),
        gone(),
        gone(),
    ]);
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("VOISIN_PASSWORD", "s3cret").output().unwrap()
    };
    run(&["link", &url, "--jellyfin", "--user", "me"]);
    let kept = run(&["lists", "save", "one", "list", "--sort", "title"]);
    assert_eq!(code(&kept), 0, "{}", text(&kept.stderr));
    let push = [
        "lists",
        "push",
        "one",
        "--server",
        &url,
        "--user",
        "me",
        "--jellyfin",
    ];
    for _ in 0..2 {
        let pushed = run(&push);
        assert_eq!(code(&pushed), 1, "{}", text(&pushed.stderr));
        assert!(
            text(&pushed.stderr).contains("1 song in"),
            "{}",
            text(&pushed.stderr)
        );
    }
    let requests = requests.join().unwrap();
    assert!(
        requests[6].starts_with("POST /Playlists "),
        "{}",
        requests[6]
    );
    let made: Value = serde_json::from_str(requests[6].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        made,
        json!({"Name": "one", "Ids": ["aa"], "UserId": "u1", "MediaType": "Audio"})
    );
    assert!(
        requests[10].starts_with("POST /Playlists/p1 "),
        "{}",
        requests[10]
    );
    assert!(
        requests[10].ends_with(r#"{"Ids":["aa"]}"#),
        "{}",
        requests[10]
    );
}
