//! Pushes, pulls, and killed runs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use voisin::TrackId;
use voisin_library::{Library, OpenMode, TrackTags};

use super::common::{Sandbox, code, fine, json, text};
use super::made::{DIMENSION, synthetic, track};
use super::servers::{Server, programs};
use super::{facts, push, refused, same, sandbox_with};

#[test]
fn a_push_that_is_killed_ends_in_the_same_tables() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(6000);
    let whole = Server::start(&programs);
    let killed = Server::start(&programs);
    let begun = Instant::now();
    push(&sandbox, &whole, &[]);
    let long = begun.elapsed();
    let url = killed.url();
    let mut random = StdRng::seed_from_u64(3);
    let mut kills = 0;
    for _ in 0..20 {
        let mut child = sandbox
            .command(["push", "--to", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(long.mul_f64(random.random_range(0.05..0.8)));
        let is_over = child.try_wait().unwrap().is_some();
        kills += u32::from(!is_over);
        let _ = child.kill();
        child.wait().unwrap();
        if is_over {
            // All tables are dropped, so that there is something to interrupt again; before that, sessions of killed
            // processes end.
            killed.psql(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'voisin'");
            killed.psql(
                "drop table if exists voisin_track, voisin_state, voisin_setting, voisin_gone",
            );
        }
    }
    assert!(kills >= 5, "{kills} of 20 were interrupted");
    // A killed process's lock lasts until the server notices its end.
    for _ in 0..50 {
        if code(&sandbox.run(["push", "--to", &url])) == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let again = push(&sandbox, &killed, &[]);
    assert_eq!(
        (&again["unchanged"], &again["added"], &again["updated"]),
        (&6000.into(), &0.into(), &0.into())
    );
    assert_eq!(killed.tables(), whole.tables());
    assert!(
        killed
            .psql("select indexdef from pg_indexes where indexdef like '%hnsw%'")
            .contains("halfvec_ip_ops")
    );
}

#[test]
fn push_sends_changed_tracks_alone() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(500);
    let counts = |sent: &Value| -> Vec<u64> {
        ["added", "updated", "unchanged", "removed"]
            .iter()
            .map(|key| sent[key].as_u64().unwrap())
            .collect()
    };
    assert_eq!(counts(&push(&sandbox, &server, &[])), [500, 0, 0, 0]);
    let before = server.tables();
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
    assert_eq!(server.tables(), before);

    // A label, a tag, a vector, a removal, a new track.
    assert_eq!(code(&sandbox.run(["labels", "set", "id:10", "Zouk"])), 0);
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
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
    let record = track(100_000, vector.clone());
    library.take_in(&[(None, record)]).unwrap();
    drop(library);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [1, 3, 496, 1]);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
    // Without the note of the last push the contents give the same.
    server.psql("update voisin_state set pushed = null");
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);

    // Another library is refused there, and has a schema of its own.
    let other = Sandbox::new();
    drop(synthetic(&other.path("library"), 20, 9));
    let message = refused(other.run(["push", "--to", &server.url()]));
    assert!(message.contains("holds another library"), "{message}");
    server.psql("create schema second");
    let second = format!("{}&options=-csearch_path%3Dsecond,public", server.url());
    fine(other.run(["push", "--to", &second]));
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
}

#[test]
fn pull_returns_every_record_as_it_was_pushed() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    let url = server.url();
    assert_eq!(code(&sandbox.run(["labels", "set", "id:10", "Zouk"])), 0);
    // Numbers with all digits, and a file whose path is its title.
    let mut odd = track(300, [&[1.0][..], &[0.0; DIMENSION - 1]].concat());
    odd.facts.audio.seconds = 180.036_281_179_138_3;
    odd.facts.files[0].tags.bpm = Some(1e-300 / 3.0);
    odd.facts.files[0].tags.replay_gain = Some(-0.0);
    odd.facts.files[0].tags.title = Some("\"bpm\":\"3\" \\u0000".into());
    Library::open(&sandbox.path("library"), OpenMode::ReadWrite)
        .unwrap()
        .take_in(&[(None, odd)])
        .unwrap();
    push(&sandbox, &server, &[]);
    // As docs/scale.md asks.
    let query = "select f #>> '{record,path}' from voisin_track t, jsonb_array_elements(facts -> 'files') f
        where facts @> '{\"audio\": {\"codec\": \"flac\"}}' and t.year = 1960 and (f #> '{tags,title}') ? 'title 290'";
    assert_eq!(server.psql(query), "/music/0/album 40/290.flac");
    let other = Sandbox::new();
    let pull = |sandbox: &Sandbox| {
        let output = sandbox.run(["pull", "--from", &url, "--format", "json"]);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        json(output)
    };
    assert_eq!(pull(&other)["added"], 301);
    assert_eq!(pull(&other)["added"], 0);
    assert_eq!(
        facts(&other),
        facts(&sandbox),
        "paths of any bytes, NUL in titles, numbers to the last bit"
    );
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
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library.remove_tracks(&[TrackId(1), TrackId(2)]).unwrap();
    drop(library);
    push(&sandbox, &server, &[]);
    pull(&other);
    assert_eq!(
        json(other.run(["status", "--format", "json"]))["tracks"],
        299
    );
    // A database that does not answer leaves no library behind.
    let third = Sandbox::new();
    let nowhere = third.run(["pull", "--from", "postgres://voisin@127.0.0.1:1/none"]);
    assert!(
        code(&nowhere) == 2 && text(&nowhere.stderr).contains("cannot connect to"),
        "{}",
        text(&nowhere.stderr)
    );
    assert!(!third.path("library").exists());
}

/// The printed tables, which Citus can distribute.
#[test]
fn printed_tables_hold_a_library() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    let printed = fine(sandbox.run(["push", "--print-ddl"]));
    server.psql(&printed);
    assert_eq!(push(&sandbox, &server, &[])["added"], 300);
    assert_eq!(push(&sandbox, &server, &[])["unchanged"], 300);
    let url = server.url();
    let ask = |more: &[&str]| {
        let words = ["similar", "title 12", "--genre", "Rock", "--format", "json"];
        json(sandbox.run(words.iter().chain(more)))
    };
    assert!(same(&ask(&[]), &ask(&["--library", &url])));
    // Citus requires that every key includes the distribution column.
    let keys = "select string_agg(pg_get_constraintdef(oid), ', ') from pg_constraint
        where conrelid = 'voisin_track'::regclass and contype in ('p', 'u')";
    assert_eq!(server.psql(keys), "PRIMARY KEY (id)");
}
