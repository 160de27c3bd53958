//! Every question is answered from there as from here.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use serde_json::Value;
use voisin::Engine;
use voisin::{ContentId, TrackId};
use voisin_exchange::postgres::{BackendError, Postgres, PostgresAddress};
use voisin_library::{OpenMode, TrackFilter, Vectors};

use super::common::{code, fine_json, json, text};
use super::made::{DIMENSION, filters};
use super::servers::{Server, programs};
use super::{push, refused, same, sandbox_with};

/// Content ids and similarities of the nearest tracks.
fn nearest(
    store: &mut Postgres,
    contents: &BTreeMap<TrackId, ContentId>,
    query: &[f32],
    filter: &TrackFilter,
    exact: bool,
) -> Vec<(ContentId, f32)> {
    let found = store.nearest(query, 10, filter, exact).unwrap();
    found
        .iter()
        .map(|found| (contents[&found.id], found.similarity))
        .collect()
}

fn contents(engine: &Engine) -> (BTreeMap<TrackId, ContentId>, BTreeMap<TrackId, ContentId>) {
    let local: BTreeMap<TrackId, ContentId> = engine
        .library()
        .tracks()
        .unwrap()
        .iter()
        .map(|track| (track.id, track.audio.content))
        .collect();
    let remote = local.values().map(|content| {
        let first = u64::from_be_bytes(*content.0.first_chunk().unwrap());
        (TrackId((first >> 1) as i64), *content)
    });
    let remote = remote.collect();
    (local, remote)
}

/// How far similarities of vectors of 64 numbers of 16 bits are from the true ones at most; the local index has some more bits.
const ROUNDING: f64 = 2e-4;

/// Some tracks by their similarity to a query, nearest first, from its vectors as they are compared.
fn scanned(vectors: &Vectors, fitting: &BTreeSet<TrackId>, query: &[f32]) -> Vec<(TrackId, f64)> {
    let rows = vectors.ids.iter().zip(vectors.values.rows());
    let mut all: Vec<(TrackId, f64)> = rows
        .filter(|(id, _)| fitting.contains(id))
        .map(|(id, row)| {
            (
                *id,
                row.iter()
                    .zip(query)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum(),
            )
        })
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// Compares a database with the library that was sent there: exactly, and through its index.
fn compare(engine: &mut Engine, store: &mut Postgres) {
    let (local_ids, remote_ids) = contents(engine);
    let space = engine.space().unwrap().clone();
    assert_eq!(
        space,
        store.held_space(),
        "the first push brings the library's own mean"
    );
    assert!(space.mean().iter().any(|value| value.abs() > 0.01));
    let mut vectors = engine.library().vectors().unwrap();
    vectors.values = space.centre_rows(vectors.values);
    let queries: Vec<Vec<f32>> = vectors
        .values
        .rows()
        .into_iter()
        .step_by(vectors.ids.len() / 10)
        .map(|row| row.to_vec())
        .collect();
    for (name, filter) in filters() {
        let mut hits = 0;
        let mut wanted = 0;
        let fitting = engine
            .nearest_to(&queries[0], vectors.ids.len(), &filter, true)
            .unwrap();
        let fitting: BTreeSet<TrackId> = fitting.iter().map(|found| found.id).collect();
        for (number, query) in queries.iter().enumerate() {
            let all = scanned(&vectors, &fitting, query);
            let similarity: BTreeMap<ContentId, f64> = all
                .iter()
                .map(|(id, similarity)| (local_ids[id], *similarity))
                .collect();
            let expected: Vec<(ContentId, f32)> = engine
                .nearest_to(query, 10, &filter, true)
                .unwrap()
                .iter()
                .map(|found| (local_ids[&found.id], found.similarity))
                .collect();
            let exact = nearest(store, &remote_ids, query, &filter, true);
            assert_eq!(
                (exact.len(), all.len().min(10)),
                (expected.len(), exact.len()),
                "{name}"
            );
            for (i, (((found, found_similarity), (id, true_similarity)), (_, local_similarity))) in
                exact.iter().zip(&all).zip(&expected).enumerate()
            {
                let off = (f64::from(*found_similarity) - true_similarity).abs();
                assert!(
                    off < ROUNDING,
                    "{name} {i}: {found_similarity} {true_similarity}"
                );
                let apart = f64::from((found_similarity - local_similarity).abs());
                assert!(
                    apart < 2.0 * ROUNDING,
                    "{name} {i}: {found_similarity} {local_similarity}"
                );
                // Another recording only where 16 bits cannot tell which of the two is nearer.
                let other = (similarity[found] - true_similarity).abs();
                assert!(
                    *found == local_ids[id] || other < 2.0 * ROUNDING,
                    "{name} {i}: {found} {id:?}"
                );
            }
            let found = nearest(store, &remote_ids, query, &filter, false);
            assert_eq!(found.len(), expected.len(), "{name}: the list is full");
            wanted += expected.len();
            hits += found
                .iter()
                .filter(|(id, _)| exact.iter().any(|(other, _)| other == id))
                .count();
            // The hundredth run of a statement is as good as the first.
            if number == 0 && ["none", "a thousandth"].contains(&name) {
                for run in 2..=100 {
                    let again = nearest(store, &remote_ids, query, &filter, false);
                    assert_eq!(again, found, "{name}: run {run}");
                }
            }
        }
        assert!(wanted > 0, "{name}: the filter leaves something");
        let recall = hits as f64 / wanted as f64;
        assert!(recall >= 0.99, "{name}: recall@10 {recall}");
    }
}

#[test]
fn one_server_answers_as_the_library_does() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(10_000);
    let sent = push(&sandbox, &server, &["--index-memory", "256"]);
    assert_eq!(sent["added"], 10_000);
    assert!(sent["index_seconds"].as_f64().unwrap() > 0.0);
    let mut engine = Engine::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let mut store = Postgres::open(&PostgresAddress::parse(&server.url(), true).unwrap()).unwrap();
    compare(&mut engine, &mut store);

    // A server that was away is asked again without a word.
    server.stop("immediate");
    let away = store.nearest(&[0.125; DIMENSION], 3, &TrackFilter::default(), false);
    assert!(
        matches!(away, Err(BackendError::Connect { .. })),
        "{away:?}"
    );
    server.up();
    assert_eq!(
        store
            .nearest(&[0.125; DIMENSION], 3, &TrackFilter::default(), false)
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn verbs_answer_from_there_as_from_here() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(2000);
    let url = server.url();
    push(&sandbox, &server, &[]);
    for question in [
        vec!["similar", "title 12", "--format", "json", "--limit", "25"],
        vec!["similar", "title 12", "--exact", "--format", "json"],
        vec![
            "similar", "title 12", "--genre", "zeuhl", "--format", "json",
        ],
        vec![
            "similar",
            "title 12",
            "--artist",
            "artist 17",
            "--limit",
            "all",
            "--format",
            "json",
        ],
        vec![
            "similar",
            "title 12",
            "--max-per-artist",
            "1",
            "--year",
            "1960-1969",
            "--format",
            "json",
        ],
        vec![
            // The graph there leaves some out of so many that are neither near nor far.
            "similar", "title 12", "title 13", "--unlike", "title 14", "--limit", "50", "--exact",
            "--format", "json",
        ],
        vec!["similar", "artist:artist 17", "--format", "json"],
        vec![
            "similar",
            "album:album 3",
            "--bpm",
            "100-120",
            "--key",
            "compatible",
            "--format",
            "json",
        ],
        vec![
            "similar",
            "/music/3/album 3/3.flac",
            "--folder",
            "/music/5",
            "--format",
            "paths",
        ],
        vec![
            "list", "--genre", "jazz", "--sort", "title", "--limit", "20", "--format", "json",
        ],
        vec![
            "list",
            "title",
            "7",
            "--licence",
            "cc-by",
            "--format",
            "json",
        ],
        vec!["list", "--format", "csv", "--sort", "path"],
        vec!["show", "title 12", "--format", "json"],
        vec!["classify", "title 12", "title 14", "--format", "json"],
        vec!["similar", "no such song", "--format", "json"],
        vec!["similar", "title", "--format", "json"],
        vec!["similar", "title 12", "--genre", "no such genre"],
        vec!["similar", "title 12", "--artist", "nobody at all"],
    ] {
        let here = sandbox.run(&question);
        let there = sandbox.run(question.iter().copied().chain(["--library", &url]));
        assert_eq!(
            code(&there),
            code(&here),
            "{question:?}: {}{}",
            text(&here.stderr),
            text(&there.stderr)
        );
        if code(&here) != 0 {
            continue;
        }
        if question.contains(&"json") {
            let here = json(here);
            let there = json(there);
            assert!(same(&here, &there), "{question:?}:\n{here}\n{there}");
        } else {
            let lines = |output: &Output| -> Vec<String> {
                let stdout = text(&output.stdout);
                stdout
                    .lines()
                    .map(|line| {
                        line.split(',')
                            .skip(usize::from(question.contains(&"csv")))
                            .collect()
                    })
                    .collect()
            };
            assert_eq!(lines(&there), lines(&here), "{question:?}");
        }
    }
    // The variable says the same, and an id of there is understood there.
    let found = json(sandbox.run(["list", "title 12", "--format", "json", "--library", &url]));
    let id = format!("id:{}", found["tracks"][0]["id"]);
    let mut command = sandbox.command(["similar", &id, "--format", "json"]);
    let output = command.env("VOISIN_LIBRARY", &url).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
}

/// Of many tracks only those near to what is named are fetched, and some that stand for the others.
#[test]
fn a_large_database_answers_from_a_sample() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    // So many that half of them are too many to be compared with: those are found on a walk through the index.
    let sandbox = sandbox_with(42_000);
    let sent = push(&sandbox, &server, &[]);
    assert!(sent["index_seconds"].as_f64().unwrap() > 0.0);
    let url = server.url();
    let classified = sandbox.run([
        "classify",
        "title 4321",
        "--format",
        "json",
        "--library",
        &url,
    ]);
    assert!(
        text(&classified.stderr)
            .contains("400 nearest tracks of each and a sample of 4000 of 42000"),
        "{}",
        text(&classified.stderr)
    );
    fine_json(classified);
    for genre in ["Rock", "Jazz", "Zeuhl"] {
        let words = [
            "similar",
            "title 4321",
            "--genre",
            genre,
            "--format",
            "paths",
        ];
        let paths = |more: &[&str]| -> BTreeSet<String> {
            let found = sandbox.run(words.iter().chain(more));
            text(&found.stdout).lines().map(str::to_owned).collect()
        };
        let here = paths(&[]);
        let there = paths(&["--library", &url]);
        assert!(
            here.len() == 10 && here.intersection(&there).count() >= 9,
            "{genre}: {here:?} {there:?}"
        );
    }
    let here = fine_json(sandbox.run(["show", "title 4321", "--format", "json"]));
    let there =
        fine_json(sandbox.run(["show", "title 4321", "--format", "json", "--library", &url]));
    let paths = |card: &Value| -> BTreeSet<String> {
        let nearest = card[0]["nearest"].as_array().unwrap();
        nearest.iter().map(|one| one["path"].to_string()).collect()
    };
    assert!(
        paths(&there).intersection(&paths(&here)).count() >= 4,
        "{there} {here}"
    );
    // Lists of more than are put in order at once are in the order of those of this disk.
    for order in [
        "artist", "album", "title", "path", "added", "genre", "year", "time", "bpm", "key",
        "loudness", "size",
    ] {
        for more in [
            &["--limit", "40"][..],
            &["--limit", "40", "--reverse"],
            &["--limit", "70", "--genre", "rock", "--year", "1960-2019"],
        ] {
            let words = ["list", "--sort", order, "--format", "json"]
                .iter()
                .chain(more)
                .copied()
                .collect::<Vec<_>>();
            let here = fine_json(sandbox.run(&words));
            let there = fine_json(sandbox.run(words.iter().copied().chain(["--library", &url])));
            assert_eq!(here["total"], there["total"], "{words:?}");
            // Where the order says nothing of two, ids do, which are others there.
            let by = match order {
                "year" | "loudness" | "key" => order,
                "time" => "seconds",
                "bpm" => "tempo",
                "genre" => "genres",
                "size" => "codec",
                _ => "path",
            };
            let column = |list: &Value| -> Vec<String> {
                list["tracks"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|track| track[by].to_string())
                    .collect()
            };
            assert_eq!(column(&here), column(&there), "{words:?}");
        }
    }
}

#[test]
fn queries_that_a_database_cannot_answer_are_refused() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    let url = server.url();
    push(&sandbox, &server, &[]);
    for words in [
        &["similar", "title 12", "--tag", "calm"][..],
        &["find", "calm"],
        &["add", "."],
    ] {
        let message = refused(sandbox.run(words.iter().chain(&["--library", &url])));
        assert!(message.contains("voisin pull"), "{words:?}: {message}");
    }
}
