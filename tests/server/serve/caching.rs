//! Conditional requests, caching and compression.

use std::fs;
use std::io::Read as _;

use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, fine, noise_wav, text};
use flate2::read::GzDecoder;

/// The value of a header of an answer.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        known.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[test]
fn a_player_never_gets_halves_of_two_files() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let track = server.good_get("/api/v1/list?query=chaos")["tracks"][0].clone();
    let audio = format!("/api/v1/tracks/{}/audio", track["id"]);
    let (status, head, whole) = server.send("GET", &audio, "", b"");
    let tag = header(&head, "etag").unwrap().to_owned();
    assert_eq!(
        (status, header(&head, "cache-control")),
        (200, Some("private, no-cache"))
    );

    let with = |more: &str| {
        let (status, _, body) = server.send("GET", &audio, more, b"");
        (status, body.len())
    };
    assert_eq!(with(&format!("If-None-Match: {tag}\r\n")), (304, 0));
    let part = |validator: &str| with(&format!("Range: bytes=10-19\r\nIf-Range: {validator}\r\n"));
    assert_eq!(part(&tag), (206, 10));
    assert_eq!(
        part("\"x\""),
        (200, whole.len()),
        "a part that it does not have"
    );

    // The same song with another tag in its place: a client with the first half gets all of it.
    let place = music.join("metal/muldjord-chaos-god.mp3");
    let retagged = [&whole[..], b"TAG", &[b'x'; 125]].concat();
    fs::write(&place, &retagged).unwrap();
    let length = retagged.len();
    assert_eq!(
        (part(&tag), with(&format!("If-None-Match: {tag}\r\n"))),
        ((200, length), (200, length))
    );
}

#[test]
fn pictures_and_the_page_are_revalidated_before_reuse() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    for path in ["/", "/page/app.js", "/api/v1/tracks/1/cover"] {
        let (status, head, _) = server.send("GET", path, "", b"");
        let tag = header(&head, "etag").unwrap_or_else(|| panic!("{path}: {head}"));
        assert!(matches!(status, 200 | 204), "{path}: {status}");
        let (status, again, body) =
            server.send("GET", path, &format!("If-None-Match: {tag}\r\n"), b"");
        assert_eq!((status, body.len()), (304, 0), "{path}");
        // A browser applies the headers of the last answer to its cached page.
        for name in ["content-security-policy", "cache-control", "etag"] {
            assert_eq!(header(&again, name), header(&head, name), "{path} {name}");
        }
        assert!(
            !header(&head, "cache-control").unwrap().contains("no-store"),
            "{path}"
        );
    }
}

#[test]
fn a_long_answer_that_is_the_same_is_not_sent_again() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let map = |more: &str| {
        let (status, head, _) = server.send("GET", "/api/v1/map", more, b"");
        (status, header(&head, "etag").map(str::to_owned))
    };
    let (_, tag) = map("");
    let known = format!("If-None-Match: {}\r\n", tag.as_deref().unwrap());
    assert_eq!(map(&known), (304, tag.clone()));
    fs::write(music.join("new.wav"), noise_wav(16_000, 8.0, 3)).unwrap();
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let (status, other) = map(&known);
    assert!(
        status == 200 && other != tag,
        "another library, another answer: {status} {other:?}"
    );
    // Errors and short answers are never cached.
    for path in ["/api/v1/show?track=id:99", "/api/v1/health"] {
        let (_, head, _) = server.send("GET", path, "", b"");
        assert_eq!(
            (header(&head, "etag"), header(&head, "cache-control")),
            (None, Some("no-store")),
            "{path}"
        );
    }
}

#[test]
fn a_picture_beside_the_file_is_its_cover() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let tracks = server.good_get("/api/v1/list?genre=metal&limit=1");
    let path = format!("/api/v1/tracks/{}/cover", tracks["tracks"][0]["id"]);
    let png = b"\x89PNG\r\n another".as_slice();
    let cover = |more: &str| {
        let (status, head, body) = server.send("GET", &path, more, b"");
        (
            status,
            header(&head, "content-type").map(str::to_owned),
            header(&head, "etag").unwrap().to_owned(),
            body,
        )
    };
    let (status, _, none, _) = cover("");
    assert_eq!(status, 204);
    let known = |tag: &str| cover(&format!("If-None-Match: {tag}\r\n"));
    fs::write(music.join("metal/Folder.png"), png).unwrap();
    let (status, kind, tag, body) = known(&none);
    assert_eq!(
        (status, kind.as_deref(), body.as_slice()),
        (200, Some("image/png"), png)
    );
    assert_eq!(known(&tag).0, 304);
    // The likelier name is preferred; a file that is not an image is ignored.
    fs::write(music.join("metal/cover.jpg"), "<svg onload='alert(1)'/>").unwrap();
    assert_eq!(known(&tag).0, 204);
}

#[test]
fn long_text_is_compressed_for_clients_that_accept_it() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    for path in ["/page/map-core.js", "/api/v1/list", "/api/v1/openapi.json"] {
        let (_, head, plain) = server.send("GET", path, "", b"");
        assert_eq!(header(&head, "content-encoding"), None, "{path}");
        let (status, head, packed) = server.send("GET", path, "Accept-Encoding: gzip, br\r\n", b"");
        assert_eq!(
            (status, header(&head, "content-encoding")),
            (200, Some("gzip")),
            "{path}"
        );
        assert_eq!(header(&head, "vary"), Some("Accept-Encoding"), "{path}");
        assert!(2 * packed.len() < plain.len(), "{path}");
        let mut unpacked = Vec::new();
        GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert_eq!(text(&unpacked), text(&plain), "{path}");
    }
    // Audio is compressed already, and short answers stay uncompressed.
    for path in ["/api/v1/tracks/1/audio", "/api/v1/health"] {
        let (_, head, _) = server.send("GET", path, "Accept-Encoding: gzip\r\n", b"");
        assert_eq!(header(&head, "content-encoding"), None, "{path}");
    }
}
