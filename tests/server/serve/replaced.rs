//! Paths whose file was replaced: only the analysed recording is sent or written to.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::server::{Server, small_library};
use crate::common::{Sandbox, fine, fine_json, json as json_of, text};
use voisin_base::track::ContentId;
use voisin_library::{FileRecord, Library, NewTrack, OpenMode};

/// The track of a title, and where its file lies.
fn song(server: &Server, words: &str) -> (Value, PathBuf) {
    let found = server.good_get(&format!("/api/v1/list?query={words}"))["tracks"][0].clone();
    let path = found["path"].as_str().unwrap().into();
    (found["id"].clone(), path)
}

fn audio(server: &Server, id: &Value) -> (u16, Vec<u8>) {
    let (status, _, body) = server.send("GET", &format!("/api/v1/tracks/{id}/audio"), "", b"");
    (status, body)
}

/// Asserts that neither the file nor its cover is sent, and that the error has the reason and the next step.
fn is_refused(server: &Server, id: &Value) {
    let (status, problem) = server.get(&format!("/api/v1/tracks/{id}/audio"));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        status == 409 && detail.contains("not the one that was analysed"),
        "{status}: {problem}"
    );
    assert!(
        problem["next"].as_str().unwrap().contains("voisin add"),
        "{problem}"
    );
    assert_eq!(server.get(&format!("/api/v1/tracks/{id}/cover")).0, 409);
}

/// An `ID3v1` tag: other bytes, the same audio.
fn retag(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.extend(b"TAG");
    bytes.resize(bytes.len() + 125, b'x');
    fs::write(path, bytes).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_in_place_of_a_file_sends_no_other_file() {
    use std::os::unix::fs::symlink;
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let (id, path) = song(&server, "chaos%20god");
    let whole = fs::read(&path).unwrap();
    assert!(audio(&server, &id) == (200, whole.clone()));
    let secret = sandbox.path("secret.txt");
    fs::write(&secret, "of the owner").unwrap();
    let (_, other) = song(&server, "nebula");
    let kept = sandbox.path("kept.mp3");
    fs::rename(&path, &kept).unwrap();
    for target in [&secret, &other] {
        symlink(target, &path).unwrap();
        is_refused(&server, &id);
        fs::remove_file(&path).unwrap();
    }
    // A link to the recording itself plays.
    symlink(&kept, &path).unwrap();
    assert!(audio(&server, &id) == (200, whole));
    // A picture that is a link is not sent, since it may lead out of the folder.
    let picture = b"\x89PNG\r\n\x1a\nof the owner";
    let cover = || server.send("GET", &format!("/api/v1/tracks/{id}/cover"), "", b"");
    fs::write(sandbox.path("private.png"), picture).unwrap();
    symlink(
        sandbox.path("private.png"),
        path.with_file_name("cover.png"),
    )
    .unwrap();
    assert_eq!(cover().0, 204);
    fs::write(path.with_file_name("front.png"), picture).unwrap();
    let (status, _, body) = cover();
    assert!(status == 200 && body == picture, "{status}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn tags_go_into_the_recording_that_was_labelled_or_nowhere() {
    let sandbox = Sandbox::new();
    small_library(&sandbox);
    let server = Server::start(&sandbox, &[]);
    let (id, path) = song(&server, "chaos%20god");
    let (_, other) = song(&server, "ambient%202");
    let table = sandbox.path("genres.csv");
    fs::write(&table, format!("path,genre\n{},Polka\n", path.display())).unwrap();
    let write = || {
        let list = ["--from", table.to_str().unwrap(), "--overwrite"];
        let command = [&["tag", "--format", "json"], &list[..]].concat();
        json_of(sandbox.run(command))[0].clone()
    };
    let kept = fs::read(&path).unwrap();
    fs::copy(&other, &path).unwrap();
    let before = fs::read(&path).unwrap();
    is_refused(&server, &id);
    let item = write();
    assert_eq!(item["outcome"], "failed", "{item}");
    assert!(
        item["reason"]
            .as_str()
            .unwrap()
            .contains("not the one that was analysed"),
        "{item}"
    );
    assert!(
        fs::read(&path).unwrap() == before,
        "another recording got the genre"
    );
    // Nor is a link followed to it.
    #[cfg(unix)]
    {
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert_eq!(write()["outcome"], "failed");
        assert!(
            fs::read(&other).unwrap() == before,
            "the file behind the link got the genre"
        );
    }
    // The same audio with other tags can be written to, and plays after the next scan.
    fs::remove_file(&path).unwrap();
    fs::write(&path, &kept).unwrap();
    retag(&path);
    assert_eq!(audio(&server, &id), (200, fs::read(&path).unwrap()));
    let item = write();
    assert_eq!(item["outcome"], "written", "{item}");
    fine(sandbox.run(["add", path.to_str().unwrap()]));
    assert_eq!(audio(&server, &id), (200, fs::read(&path).unwrap()));
    // Nor is a file restored that has been replaced since.
    let written = fs::read(&path).unwrap();
    fs::write(&path, &before).unwrap();
    let undone = sandbox.run(["tag", "--undo"]);
    assert!(
        text(&undone.stderr).contains("not the one that was analysed"),
        "{}",
        text(&undone.stderr)
    );
    assert!(fs::read(&path).unwrap() == before);
    fs::write(&path, written).unwrap();
    fine(sandbox.run(["tag", "--undo"]));
    // After another add the library has the other recording.
    fs::write(&path, &before).unwrap();
    fine_json(sandbox.run(["add", path.to_str().unwrap(), "--format", "json"]));
    let (id, _) = song(&server, "ambient%202");
    assert_eq!(audio(&server, &id).0, 200);
}

#[test]
fn a_row_of_a_library_sends_nothing_that_is_no_audio() {
    let sandbox = Sandbox::new();
    let music = small_library(&sandbox);
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let known = library.tracks().unwrap()[0].clone();
    let vector = library.vector(known.id).unwrap().unwrap();
    let mut row = |name: &str, bytes: &[u8], number: u8| {
        let path = music.join(name);
        fs::write(&path, bytes).unwrap();
        let mut audio = known.audio.clone();
        audio.content = match number {
            0 => voisin_audio::content_of_path(&path),
            _ => ContentId([number; 32]),
        };
        let file = FileRecord::read(&path).unwrap();
        let vector = vector.clone();
        let tags = known.tags.clone();
        library
            .insert_track(&NewTrack {
                audio,
                file,
                tags,
                vector,
                logits: Vec::new(),
                descriptors: None,
            })
            .unwrap()
    };
    // Bytes in which some packet of an MP3 is found by chance.
    let song = fs::read(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    let mut chance = vec![b'x'; 200_000];
    chance[150_000..160_000].copy_from_slice(&song[20_000..30_000]);
    let strangers = [
        row("secret.txt", b"of the owner", 1),
        row("known-by-its-path", b"of the owner", 0),
        row("chance.bin", &chance, 2),
    ];
    // A song with an imported vector plays: only its path is known.
    let made_elsewhere = row("song.mp3", &song, 0);
    let server = Server::start(&sandbox, &[]);
    for id in strangers {
        is_refused(&server, &json!(id));
    }
    assert!(audio(&server, &json!(made_elsewhere)) == (200, song));
}
