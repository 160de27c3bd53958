//! Every question is answered from there as from here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use voisin::Engine;
use voisin::{ContentId, TrackId};
use voisin_library::{Library, OpenMode, TrackFilter, Vectors};
use voisin_postgres::{BackendError, Effort, Postgres, PostgresAddress, TrackStore};
use voisin_questions::LocalOnly;

use super::common::seeds::{QUESTIONS, SeedExample, library_of_examples, run_with_seed};
use super::common::server::Server as Web;
use super::common::{Sandbox, code, fine, fine_json, json, text};
use super::made::{DIMENSION, filters, model, synthetic};
use super::servers::{Cluster, Server, programs};
use super::serving::{ask, ends, words};
use super::{push, refused, same, sandbox_with};

/// Content ids and similarities of the nearest tracks.
fn nearest(
    store: &mut dyn TrackStore,
    contents: &BTreeMap<TrackId, ContentId>,
    query: &[f32],
    filter: &TrackFilter,
    effort: Effort,
) -> Vec<(ContentId, f32)> {
    let found = store.nearest(query, 10, filter, effort).unwrap();
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
            .nearest(&queries[0], vectors.ids.len(), &filter, Effort::Exact)
            .unwrap();
        let fitting: BTreeSet<TrackId> = fitting.iter().map(|found| found.id).collect();
        for (number, query) in queries.iter().enumerate() {
            let all = scanned(&vectors, &fitting, query);
            let similarity: BTreeMap<ContentId, f64> = all
                .iter()
                .map(|(id, similarity)| (local_ids[id], *similarity))
                .collect();
            let expected = nearest(engine, &local_ids, query, &filter, Effort::Exact);
            let exact = nearest(store, &remote_ids, query, &filter, Effort::Exact);
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
            let found = nearest(store, &remote_ids, query, &filter, Effort::Index);
            assert_eq!(found.len(), expected.len(), "{name}: the list is full");
            wanted += expected.len();
            hits += found
                .iter()
                .filter(|(id, _)| exact.iter().any(|(other, _)| other == id))
                .count();
            // The hundredth run of a statement is as good as the first.
            if number == 0 && ["none", "a thousandth"].contains(&name) {
                for run in 2..=100 {
                    let again = nearest(store, &remote_ids, query, &filter, Effort::Index);
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
    let away = store.nearest(
        &[0.125; DIMENSION],
        3,
        &TrackFilter::default(),
        Effort::Index,
    );
    assert!(
        matches!(away, Err(BackendError::Connect { .. })),
        "{away:?}"
    );
    server.up();
    assert_eq!(
        store
            .nearest(
                &[0.125; DIMENSION],
                3,
                &TrackFilter::default(),
                Effort::Index
            )
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn three_shards_answer_as_the_library_does() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(10_000);
    let cluster = Cluster::start(&programs, &sandbox);
    assert_eq!(push(&sandbox, &cluster.coordinator, &[])["added"], 10_000);
    let shares: Vec<usize> = cluster
        .shards
        .iter()
        .enumerate()
        .map(|(i, shard)| {
            shard
                .psql(&format!("select count(*) from voisin_track_{i}"), &[])
                .parse()
                .unwrap()
        })
        .collect();
    assert!(
        shares.iter().sum::<usize>() == 10_000 && shares.iter().all(|&n| n > 3000),
        "{shares:?}"
    );
    cluster.make_indexes();
    let mut engine = Engine::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    let mut store =
        Postgres::open(&PostgresAddress::parse(&cluster.coordinator.url(), true).unwrap()).unwrap();
    assert_eq!(store.shards().len(), 3);
    compare(&mut engine, &mut store);

    // A shard that goes is named, and is back without a new start.
    cluster.shards[1].stop("immediate");
    for _ in 0..2 {
        let away = store.nearest(
            &[0.125; DIMENSION],
            3,
            &TrackFilter::default(),
            Effort::Index,
        );
        let Err(error @ BackendError::Shard { .. }) = away else {
            panic!("{away:?}")
        };
        let message = error.to_string();
        assert!(
            message.contains("voisin_shard_1")
                && message.contains(&cluster.shards[1].port.to_string()),
            "{message}"
        );
    }
    let url = cluster.coordinator.url();
    let output = sandbox.run(["similar", "title 12", "--backend", &url]);
    assert_eq!(code(&output), 2);
    assert!(
        text(&output.stderr).contains("voisin_shard_1"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        text(&output.stderr).lines().count(),
        1,
        "{}",
        text(&output.stderr)
    );
    cluster.shards[1].up();
    assert_eq!(
        store
            .nearest(
                &[0.125; DIMENSION],
                3,
                &TrackFilter::default(),
                Effort::Index
            )
            .unwrap()
            .len(),
        3
    );
    // The width of the shards is an option of their servers.
    store.set_width(64).unwrap();
    let options = cluster.coordinator.psql(
        "select srvoptions from pg_foreign_server order by srvname limit 1",
        &[],
    );
    assert!(
        options.contains("hnsw.ef_search=64") && options.contains("force_custom_plan"),
        "{options}"
    );
    assert_eq!(
        store
            .nearest(
                &[0.125; DIMENSION],
                3,
                &TrackFilter::default(),
                Effort::Index
            )
            .unwrap()
            .len(),
        3
    );
    // A role with read access gets answers, and an error with the owner's statement for the width.
    cluster.coordinator.psql(
        "create role reader login; grant select on all tables in schema public to reader;
         select format('create user mapping for reader server %I options (user ''voisin'', password_required ''false'')',
            srvname) from pg_foreign_server \\gexec",
        &[],
    );
    let reader = cluster.coordinator.url().replace("voisin@", "reader@");
    let ask = |words: &[&str]| sandbox.run(words.iter().chain(&["--backend", &reader]));
    fine(ask(&["similar", "title 12"]));
    let refused = ask(&["eval", "index", "--widths", "40", "--queries", "3"]);
    let stderr = text(&refused.stderr);
    assert_eq!(code(&refused), 2, "{stderr}");
    assert!(
        stderr.contains("owner") && stderr.contains("alter server voisin_shard_0 options"),
        "{stderr}"
    );
    // Changes reach the shards, and a push that is made again sends nothing.
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library.remove_tracks(&[TrackId(5), TrackId(6)]).unwrap();
    drop(library);
    let again = push(&sandbox, &cluster.coordinator, &[]);
    assert_eq!(
        (&again["removed"], &again["unchanged"], &again["added"]),
        (&2.into(), &9998.into(), &0.into())
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
            "similar",
            "title 12",
            "title 13",
            "--min-similarity",
            "0.7",
            "--limit",
            "500",
            "--format",
            "json",
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
        vec![
            "playlist", "--seed", "title 12", "--limit", "12", "--format", "json",
        ],
        vec!["path", "title 12", "title 900", "--format", "json"],
        vec!["similar", "no such song", "--format", "json"],
        vec!["similar", "title", "--format", "json"],
        vec!["similar", "title 12", "--genre", "no such genre"],
        vec!["similar", "title 12", "--artist", "nobody at all"],
    ] {
        let here = sandbox.run(&question);
        let there = sandbox.run(question.iter().copied().chain(["--backend", &url]));
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
    let found = json(sandbox.run(["list", "title 12", "--format", "json", "--backend", &url]));
    let id = format!("id:{}", found["tracks"][0]["id"]);
    let mut command = sandbox.command(["similar", &id, "--format", "json"]);
    let output = command.env("VOISIN_BACKEND", &url).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let status = json(sandbox.run(["status", "--format", "json", "--backend", &url]));
    assert_eq!(
        (&status["tracks"], &status["files"]),
        (&2000.into(), &2000.into())
    );
    assert_eq!(status["index"]["state"], "current");
    // Fewer than all are said to be.
    let few = sandbox.run([
        "playlist",
        "--seed",
        "title 12",
        "--sample",
        "100",
        "--backend",
        &url,
    ]);
    assert!(
        code(&few) == 0 && text(&few.stderr).contains("100 of 2000"),
        "{}",
        text(&few.stderr)
    );
    // Exports are equal except for ids and their order.
    let export = |name: &str, more: &[&str]| {
        let folder = sandbox.path(name);
        let mut words = vec!["export", folder.to_str().unwrap()];
        words.extend(more);
        let output = sandbox.run(words);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        folder
    };
    let rows = |folder: &Path| -> Vec<String> {
        let table = fs::read_to_string(folder.join("tracks.csv")).unwrap();
        let mut rows: Vec<String> = table
            .lines()
            .map(|line| line.splitn(3, ',').last().unwrap().to_owned())
            .collect();
        rows.sort();
        rows
    };
    let here = export("here", &[]);
    let there = export("there", &["--backend", &url]);
    assert_eq!(rows(&there), rows(&here));
    let length = |folder: &Path| fs::metadata(folder.join("vectors.npy")).unwrap().len();
    assert!(length(&there) == length(&here) && length(&there) > 2000 * 4 * DIMENSION as u64);
    if cfg!(feature = "parquet") {
        let there = export("files", &["--format", "parquet", "--backend", &url]);
        let other = Sandbox::new();
        let taken = other.run([
            "add",
            "--from-parquet",
            there.to_str().unwrap(),
            "--format",
            "json",
        ]);
        assert_eq!(json(taken)["added"], 2000);
    }
    for refused in [
        vec!["similar", "title 12", "--unlike", "title 13"],
        vec!["similar", "title 12", "--from", "1", "--to", "5"],
        vec!["similar", "title 12", "--tag", "calm"],
        vec!["classify", "title 12", "--write-tags"],
    ] {
        let output = sandbox.run(refused.iter().copied().chain(["--backend", &url]));
        assert_eq!(code(&output), 2, "{refused:?}: {}", text(&output.stderr));
        assert!(
            text(&output.stderr).contains("pull"),
            "{refused:?}: {}",
            text(&output.stderr)
        );
    }
    // Passwords stay out of sight.
    let secret = format!(
        "postgres://voisin:s3cret@127.0.0.1:{}/postgres",
        server.port
    );
    let refused = sandbox.run(["similar", "title 12", "--backend", &secret]);
    assert_eq!(code(&refused), 2);
    let stderr = text(&refused.stderr);
    assert!(
        stderr.contains("PGPASSFILE") && !stderr.contains("s3cret"),
        "{stderr}"
    );
}

/// Goes through the table of docs/grammar.md, as the same test of a library on this disk does.
#[test]
fn each_form_of_a_seed_means_the_same_in_a_database() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = Sandbox::new();
    let examples = library_of_examples(&sandbox);
    push(&sandbox, &server, &["--windows"]);
    let url = server.url();
    let metal = fs::read_dir(sandbox.path("music/metal")).unwrap();
    let other = metal.map(|entry| entry.unwrap().path()).min().unwrap();
    let other = other.to_str().unwrap();
    for example in &examples {
        for question in QUESTIONS {
            let line = question.replace("{}", &example.written);
            let there = run_with_seed(&sandbox, question, example, &["--backend", &url]);
            let message = text(&there.stderr);
            let is_local = ["composer:bach", "sounds:calm guitar"].contains(&example.form);
            if is_local || question.contains("--from") {
                assert!(
                    code(&there) == 2 && message.contains("pull"),
                    "{line}: {message}"
                );
                continue;
            }
            if example.form == "id:17" {
                assert_eq!(
                    code(&there),
                    1,
                    "{line}: ids are those of the database: {message}"
                );
                continue;
            }
            let here = run_with_seed(&sandbox, question, example, &[]);
            assert_eq!(
                code(&there),
                code(&here),
                "{line}: {}{message}",
                text(&here.stderr)
            );
            let count = |output: &Output| {
                let mut answer = json(output);
                if question.starts_with("similar") {
                    answer = answer["seeds"].take();
                }
                answer.as_array().map(Vec::len)
            };
            assert!(count(&here).is_some(), "{line}: {}", json(&here));
            assert_eq!(count(&there), count(&here), "{line}");
        }
        let is_local = ["composer:bach", "sounds:calm guitar"].contains(&example.form);
        if !is_local && example.form != "id:17" {
            let more = [other, "--format", "json"];
            let here = run_with_seed(&sandbox, "path {}", example, &more);
            let more = [&more[..], &["--backend", url.as_str()][..]].concat();
            let there = run_with_seed(&sandbox, "path {}", example, &more);
            let message = text(&there.stderr);
            let form = example.form;
            assert_eq!(code(&there), code(&here), "path {form}: {message}");
            if example.tracks == 1 {
                let first = |output: &Output| json(output)["tracks"][0]["path"].clone();
                assert_eq!(first(&there), first(&here), "path {form}");
            }
        }
    }
    // An id of the database, from standard input.
    let found = json(sandbox.run(["list", "--format", "json", "--backend", &url]));
    let input = format!("id:{}\n", found["tracks"][0]["id"]);
    let listed = SeedExample {
        form: "-",
        written: "-".to_owned(),
        input,
        tracks: 1,
    };
    for question in [
        "similar {} --format json",
        "show {} --format json",
        "classify {} --format json",
    ] {
        let there = run_with_seed(&sandbox, question, &listed, &["--backend", &url]);
        assert!(
            code(&there) <= 1 && !text(&there.stderr).contains("no track"),
            "{question}: {}",
            text(&there.stderr)
        );
    }
}

#[test]
fn one_trait_two_stores() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let folder = tempfile::tempdir().unwrap();
    let library = synthetic(folder.path(), 60, 4);
    let record = |id: i64| {
        library
            .transfer()
            .record(TrackId(id), true)
            .unwrap()
            .unwrap()
    };
    let tracks: Vec<_> = (1..=50)
        .map(|id| voisin_postgres::StoredTrack {
            record: record(id),
            genres: Vec::new(),
        })
        .collect();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut local = Library::open(elsewhere.path(), OpenMode::Create).unwrap();
    local.set_model(&model()).unwrap();
    let mut engine = Engine::from_library(local);
    let mut postgres = Postgres::open_or_create(
        &PostgresAddress::parse(&server.url(), true).unwrap(),
        &model(),
    )
    .unwrap();
    let stores: [&mut dyn TrackStore; 2] = [&mut engine, &mut postgres];
    for store in stores {
        store.upsert(&tracks).unwrap();
        let first = store.changes(0).unwrap().unwrap();
        assert_eq!((first.added.len(), first.generation > 0), (50, true));
        let raw = &tracks[7].record.vector;
        let query = &store.space().unwrap().centre(raw);
        assert!(
            query.iter().zip(raw).any(|(a, b)| (a - b).abs() > 1e-3),
            "it is relative to something"
        );
        let found = store
            .nearest(query, 5, &TrackFilter::default(), Effort::Exact)
            .unwrap();
        assert!(found.len() == 5 && (found[0].similarity - 1.0).abs() < 2e-4);
        let content = tracks[7].record.facts.audio.content;
        assert_eq!(store.remove(&[content, ContentId([9; 32])]).unwrap(), 1);
        let later = store.changes(first.generation).unwrap().unwrap();
        assert_eq!(
            (later.added.len(), later.removed.as_slice()),
            (0, &[found[0].id][..])
        );
        assert!(store.changes(u64::MAX >> 1).unwrap().is_none());
        store.upsert(&tracks[7..8]).unwrap();
        store.upsert(&tracks[7..8]).unwrap();
        let again = store
            .nearest(query, 60, &TrackFilter::default(), Effort::Exact)
            .unwrap();
        assert_eq!(again.len(), 50, "putting in twice is putting in once");
    }
}

/// `--index-sql` and `eval index --backend`, through the program.
#[test]
fn other_indexes_are_made_and_measured() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    // So many that half of them are too many to be compared with: those are found on a walk through the index.
    let sandbox = sandbox_with(42_000);
    let statement = sandbox.path("index.sql");
    fs::write(
        &statement,
        "create index wide on voisin_track using hnsw (embedding halfvec_ip_ops) with (m = 24, ef_construction = 160)",
    )
    .unwrap();
    let sent = push(
        &sandbox,
        &server,
        &["--index-sql", statement.to_str().unwrap()],
    );
    assert!(sent["index_seconds"].as_f64().unwrap() > 0.0);
    let made = server.psql(
        "select indexdef from pg_indexes where indexdef like '%hnsw%'",
        &[],
    );
    assert!(
        made.contains("wide") && made.contains("m='24'") && made.lines().count() == 1,
        "{made}"
    );

    let url = server.url();
    let measure = |more: &[&str]| {
        let mut words = vec![
            "eval",
            "index",
            "--backend",
            &url,
            "--widths",
            "1,400",
            "--queries",
            "60",
        ];
        words.extend(["--format", "json"]);
        words.extend(more);
        json(sandbox.run(words))
    };
    let found = measure(&["--dry-run"]);
    assert_eq!(
        (&found["tracks"], &found["queries"]),
        (&42_000.into(), &60.into())
    );
    let recall = |i: usize| found["widths"][i]["recall"].as_f64().unwrap();
    assert_eq!(found["exact"]["recall"], 1.0);
    assert!(recall(1) >= 0.99 && recall(0) <= recall(1), "{found}");
    assert!(
        found["local"]["recall"].as_f64().unwrap() >= 0.99,
        "the library here is measured beside it"
    );
    for quality in found["widths"].as_array().unwrap() {
        let number = |name: &str| quality[name].as_f64().unwrap();
        assert!(
            number("p50_ms") > 0.0 && number("p99_ms") >= number("p50_ms"),
            "{quality}"
        );
    }
    // The narrowest of those that reach the recall, in whichever order they are given.
    let mixed = measure(&["--dry-run", "--widths", "200"]);
    let widths = mixed["widths"].as_array().unwrap().iter();
    let narrowest = widths
        .filter(|one| one["recall"].as_f64() >= Some(f64::from(0.99_f32)))
        .filter_map(|one| one["width"].as_u64())
        .min();
    assert_eq!(mixed["kept"].as_u64(), narrowest, "{mixed}");
    for genre in ["Rock", "Jazz", "Zeuhl"] {
        let under = measure(&["--genre", genre]);
        let worst = under["widths"]
            .as_array()
            .unwrap()
            .iter()
            .map(|quality| quality["recall"].as_f64().unwrap());
        assert!(worst.fold(1.0, f64::min) >= 0.99, "{genre}: {under}");
    }
    // Of so many only those near to what is named are fetched, and some that stand for the others.
    let near = fine_json(sandbox.run([
        "similar",
        "title 4321",
        "--limit",
        "400",
        "--format",
        "json",
    ]));
    let near: BTreeSet<&str> = near["neighbours"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["path"].as_str().unwrap())
        .collect();
    assert_eq!(near.len(), 400);
    let list = sandbox.run([
        "playlist",
        "--seed",
        "title 4321",
        "--limit",
        "20",
        "--format",
        "json",
        "--backend",
        &url,
    ]);
    assert!(
        text(&list.stderr).contains("400 nearest tracks of each and a sample of 4000 of 42000"),
        "{}",
        text(&list.stderr)
    );
    let list = fine_json(list);
    let among = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| near.contains(one["path"].as_str().unwrap()));
    assert!(among.count() >= 18, "{list}");
    let here = fine_json(sandbox.run(["show", "title 4321", "--format", "json"]));
    let there =
        fine_json(sandbox.run(["show", "title 4321", "--format", "json", "--backend", &url]));
    let paths = |card: &Value| -> BTreeSet<String> {
        let nearest = card[0]["nearest"].as_array().unwrap();
        nearest.iter().map(|one| one["path"].to_string()).collect()
    };
    assert!(
        paths(&there).intersection(&paths(&here)).count() >= 4,
        "{there} {here}"
    );
    // Of those that pass a filter none is missed for being far.
    let rare = [
        "playlist",
        "title 4321",
        "--genre",
        "Zeuhl",
        "--max-per-artist",
        "0",
        "--limit",
        "30",
    ];
    let paths = |more: &[&str]| -> BTreeSet<String> {
        text(
            &sandbox
                .run(rare.iter().chain(&["--format", "paths"]).chain(more))
                .stdout,
        )
        .lines()
        .map(str::to_owned)
        .collect()
    };
    let here = paths(&[]);
    let there = paths(&["--backend", &url]);
    assert!(
        here.len() == 30 && here.intersection(&there).count() >= 29,
        "{here:?} {there:?}"
    );
    // The server answers from the same tracks as the command line, whatever was asked before, and says so.
    let web = Web::start(&sandbox, &["--backend", &url]);
    ask(
        &web,
        "/api/v1/similar",
        &serde_json::json!({"seeds": [words("title 12")], "limit": 300}),
    );
    let sampled = "the 400 nearest tracks of each and a sample of 4000 of 42000";
    for (path, question, verb) in [
        (
            "/api/v1/playlist",
            serde_json::json!({"seeds": [words("title 4321")], "limit": 20}),
            &["playlist", "title 4321", "--limit", "20"][..],
        ),
        (
            "/api/v1/path",
            ends("title 4321", "title 900"),
            &["path", "title 4321", "title 900"],
        ),
        (
            "/api/v1/classify",
            serde_json::json!({"tracks": [words("title 4321"), words("title 4324")]}),
            &["classify", "title 4321", "title 4324"],
        ),
    ] {
        let line = sandbox.run(verb.iter().chain(&["--format", "json", "--backend", &url]));
        assert!(
            text(&line.stderr).contains(sampled),
            "{}",
            text(&line.stderr)
        );
        let line = fine_json(line);
        let served = ask(&web, path, &question);
        assert!(
            served["notes"][0].as_str().unwrap().contains(sampled),
            "{served}"
        );
        let served = if line.is_array() {
            &served["items"]
        } else {
            &served
        };
        let paths = |answer: &Value| -> Vec<(String, String)> {
            let items = answer
                .get("tracks")
                .unwrap_or(answer)
                .as_array()
                .unwrap()
                .iter();
            items
                .map(|one| (one["path"].to_string(), one["genre"].to_string()))
                .collect()
        };
        assert!(!paths(served).is_empty());
        assert_eq!(paths(served), paths(&line), "{path}");
    }

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
            let there = fine_json(sandbox.run(words.iter().copied().chain(["--backend", &url])));
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

    let unknown = sandbox.run([
        "eval",
        "index",
        "--backend",
        &url,
        "--genre",
        "no such genre",
    ]);
    assert!(refused(unknown).contains("no such genre"));
    let width = || server.psql("select width from voisin_state", &[]);
    assert_eq!(
        width(),
        "100",
        "neither a dry run nor a filter keeps a width"
    );
    let kept = measure(&["--recall", "0.99"])["kept"].clone();
    assert_eq!(
        width(),
        kept.to_string(),
        "the narrowest that is good enough is kept"
    );
}

/// The reason is the same for all callers, the next step is that of each.
#[test]
fn callers_refuse_alike_what_a_database_cannot_answer() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(50);
    let url = server.url();
    push(&sandbox, &server, &[]);
    let web = Web::start(&sandbox, &["--backend", &url]);
    let similar = |field: &str, value: Value| {
        let mut question = serde_json::json!({ "seeds": [words("title 12")] });
        question[field] = value;
        ("similar", question)
    };
    for (reason, option, (verb, question)) in [
        (
            LocalOnly::Unlike,
            ["--unlike", "title 14"],
            similar("unlike", serde_json::json!([words("title 14")])),
        ),
        (
            LocalOnly::Tag,
            ["--tag", "calm"],
            similar("filters", serde_json::json!({ "tag": ["calm"] })),
        ),
        (
            LocalOnly::Composer,
            ["--composer", "Clara"],
            similar("filters", serde_json::json!({ "composer": ["Clara"] })),
        ),
        (
            LocalOnly::Regex,
            ["--regex", "title"],
            similar("filters", serde_json::json!({ "regex": ["title"] })),
        ),
        (
            LocalOnly::Cluster,
            ["--cluster", "1"],
            ("playlist", serde_json::json!({ "cluster": 1 })),
        ),
    ] {
        let seed: &[&str] = if verb == "similar" {
            &["title 12"]
        } else {
            &[]
        };
        let arguments = [&[verb], seed, &option, &["--backend", &url]].concat();
        let message = refused(sandbox.run(&arguments));
        assert!(
            message.contains(&reason.to_string()) && message.contains("voisin pull"),
            "{arguments:?}: {message}"
        );
        let (status, problem) = web.post(&format!("/api/v1/{verb}"), &question);
        assert_eq!(status, 409, "{question}: {problem}");
        assert_eq!(problem["detail"], reason.to_string(), "{question}");
        let next = problem["next"].as_str().unwrap();
        assert!(
            next.contains("a copy of the database"),
            "{question}: {next}"
        );
    }
}
