//! Pushes, pulls, and killed runs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use voisin::TrackId;
use voisin_library::{Library, OpenMode, TrackTags};

use super::common::{Sandbox, code, fine, fine_json, json, text};
use super::made::{DIMENSION, synthetic, track};
use super::servers::{Server, programs};
use super::{facts, push, refused, same, sandbox_with};

fn counts(sent: &Value) -> Vec<u64> {
    ["added", "updated", "unchanged", "removed"]
        .iter()
        .map(|key| sent[key].as_u64().unwrap())
        .collect()
}

fn open(sandbox: &Sandbox) -> Library {
    Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap()
}

#[test]
fn a_push_that_is_killed_changes_all_or_nothing() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(4000);
    let url = server.url();
    let begun = Instant::now();
    push(&sandbox, &url);
    let long = begun.elapsed();
    let before = server.tables();
    let ids: Vec<TrackId> = (1..=4000).step_by(2).map(TrackId).collect();
    open(&sandbox).remove_tracks(&ids).unwrap();
    for part in [0.1, 0.2, 0.3] {
        let mut child = sandbox
            .command(["push", "--to", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(long.mul_f64(part));
        let _ = child.kill();
        child.wait().unwrap();
        let count = server.psql("select count(*) from voisin_track");
        assert!(count == "2000" || server.tables() == before, "{count}");
    }
    // A killed process's lock lasts until the server notices its end.
    for _ in 0..50 {
        if code(&sandbox.run(["push", "--to", &url])) == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(counts(&push(&sandbox, &url)), [0, 0, 2000, 0]);
}

#[test]
fn push_sends_changed_tracks_alone() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(500);
    let url = server.url();
    assert_eq!(counts(&push(&sandbox, &url)), [500, 0, 0, 0]);
    let before = server.tables();
    assert_eq!(counts(&push(&sandbox, &url)), [0, 0, 500, 0]);
    assert_eq!(server.tables(), before);

    // A label, a tag, a vector, a removal, a new track.
    fine(sandbox.run(["labels", "set", "id:10", "Zouk"]));
    let mut library = open(&sandbox);
    let tags = TrackTags {
        title: Some("renamed".into()),
        ..TrackTags::default()
    };
    let eleventh = library.track(TrackId(11)).unwrap();
    library
        .attach_file(TrackId(11), &eleventh.files[0].record, &tags)
        .unwrap();
    let mut vector = vec![0.0; DIMENSION];
    vector[3] = 1.0;
    library.replace_vector(TrackId(12), &vector, &[]).unwrap();
    library.remove_tracks(&[TrackId(13)]).unwrap();
    library
        .take_in(&[(None, track(100_000, vector.clone()))])
        .unwrap();
    drop(library);
    assert_eq!(counts(&push(&sandbox, &url)), [1, 3, 496, 1]);
    assert_eq!(counts(&push(&sandbox, &url)), [0, 0, 500, 0]);

    // Another library is refused there, and has a schema of its own.
    let other = Sandbox::new();
    drop(synthetic(&other.path("library"), 20, 9));
    let message = refused(other.run(["push", "--to", &url]));
    assert!(message.contains("holds another library"), "{message}");
    server.psql("create schema second");
    let second = format!("{url}&options=-csearch_path%3Dsecond,public");
    assert_eq!(push(&other, &second)["added"], 20);
    assert_eq!(counts(&push(&sandbox, &url)), [0, 0, 500, 0]);
}

#[test]
fn pull_returns_every_record_as_it_was_pushed() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    let url = server.url();
    fine(sandbox.run(["labels", "set", "id:10", "Zouk"]));
    // A recording in two files.
    let mut several = track(300, [&[1.0][..], &[0.0; DIMENSION - 1]].concat());
    let second = track(301, Vec::new()).facts.files;
    several.facts.files.extend(second);
    open(&sandbox).take_in(&[(None, several)]).unwrap();
    push(&sandbox, &url);
    let other = Sandbox::new();
    let pull = || fine_json(other.run(["pull", "--from", &url, "--format", "json"]));
    assert_eq!(pull()["added"], 301);
    assert_eq!(pull()["added"], 0);
    assert_eq!(facts(&other), facts(&sandbox), "paths of any bytes");
    let vectors = |sandbox: &Sandbox| sandbox.vectors().into_values().collect::<Vec<_>>();
    for (pulled, pushed) in vectors(&other).iter().zip(&vectors(&sandbox)) {
        let apart = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs();
        let most = pulled.0.iter().zip(&pushed.0).map(apart);
        assert!(
            most.fold(0.0, f32::max) < 1e-3,
            "vectors at 16 bits a number"
        );
        assert_eq!(pulled.1, pushed.1, "logits to the last bit");
    }
    // Tracks removed there are removed here.
    open(&sandbox)
        .remove_tracks(&[TrackId(1), TrackId(2)])
        .unwrap();
    push(&sandbox, &url);
    pull();
    let status = json(other.run(["status", "--format", "json"]));
    assert_eq!(status["tracks"], 299);
    // A database that does not answer leaves no library behind.
    let third = Sandbox::new();
    let nowhere = third.run(["pull", "--from", "postgres://voisin@127.0.0.1:1/none"]);
    let message = text(&nowhere.stderr);
    assert!(message.contains("cannot connect to"), "{message}");
    assert!(!third.path("library").exists());
}

/// The printed tables, which Citus can distribute.
#[test]
fn printed_tables_hold_a_library() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    server.psql(&fine(sandbox.run(["push", "--print-ddl"])));
    let url = server.url();
    assert_eq!(push(&sandbox, &url)["added"], 300);
    let ask = |more: &[&str]| {
        let words = ["similar", "title 12", "--genre", "Rock", "--format", "json"];
        fine_json(sandbox.run(words.iter().chain(more)))
    };
    assert!(same(&ask(&[]), &ask(&["--library", &url])));
    // Citus requires that every key includes the distribution column.
    let keys = "select string_agg(pg_get_constraintdef(oid), ', ') from pg_constraint
        where conrelid = 'voisin_track'::regclass and contype in ('p', 'u')";
    assert_eq!(server.psql(keys), "PRIMARY KEY (id)");
}
