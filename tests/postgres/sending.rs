//! Pushes, pulls, workers, and killed runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ndarray::Array2;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use voisin::TrackId;
use voisin_library::{Library, OpenMode, TrackFilter, TrackTags, TrackWindows};
use voisin_postgres::{Effort, Postgres, PostgresAddress, TrackStore as _};

use super::common::store::ObjectStoreServer;
use super::common::{Sandbox, code, fine, fine_json, json, noise_wav, six_tracks, text};
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
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'voisin'",
                &[],
            );
            killed.psql(
                "drop table if exists voisin_track, voisin_state, voisin_source, voisin_held, voisin_setting,
                    voisin_gone, voisin_mean, voisin_order, voisin_vector",
                &[],
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
            .psql(
                "select indexdef from pg_indexes where indexdef like '%hnsw%'",
                &[]
            )
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
        .files_mut()
        .attach_file(TrackId(11), &eleventh.files[0].record, &tags)
        .unwrap();
    let mut vector = vec![0.0; DIMENSION];
    vector[3] = 1.0;
    let none = TrackWindows {
        vectors: Array2::default((0, DIMENSION)),
        starts: Vec::new(),
    };
    library
        .replace_vectors(TrackId(12), &vector, &none)
        .unwrap();
    library.remove_tracks(&[TrackId(13)]).unwrap();
    let record = track(100_000, vector.clone());
    library.transfer_mut().take_in(&[(None, record)]).unwrap();
    drop(library);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [1, 3, 496, 1]);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
    // Without the log of pushes the contents give the same.
    server.psql("delete from voisin_source", &[]);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);

    // A second library adds its tracks and removes none of the first's.
    let other = Sandbox::new();
    drop(synthetic(&other.path("library"), 20, 9));
    let mut library = Library::open(&other.path("library"), OpenMode::ReadWrite).unwrap();
    library
        .transfer_mut()
        .take_in(&[(None, track(200_000, vector))])
        .unwrap();
    drop(library);
    let sent = push(&other, &server, &[]);
    assert_eq!(
        counts(&sent),
        [2, 0, 0, 0],
        "track 13 is here and there is no more"
    );
    assert_eq!(sent["of_others"], 19);
    assert_eq!(counts(&push(&sandbox, &server, &[])), [0, 0, 500, 0]);
}

/// Similarity there is relative to the mean of the library that came first, until `--recentre`.
#[test]
fn only_recentre_renews_the_mean() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let url = server.url();
    let sandbox = sandbox_with(300);
    let other = Sandbox::new();
    push(&sandbox, &server, &[]);
    let mean = || {
        server.psql(
            "select encode(mean, 'hex'), generation from voisin_mean",
            &[],
        )
    };
    let similar = || {
        let words = [
            "similar",
            "title 12",
            "--format",
            "json",
            "--limit",
            "20",
            "--backend",
            &url,
        ];
        fine_json(sandbox.run(words))["neighbours"].clone()
    };
    let here = fine_json(sandbox.run(["similar", "title 12", "--format", "json", "--limit", "20"]));
    assert!(same(&similar(), &here["neighbours"]));
    let first = mean();

    // Another library of other music changes neither the mean nor, where it is not among them, the neighbours.
    let mut library = synthetic(&other.path("library"), 0, 2);
    let mut random = StdRng::seed_from_u64(5);
    let far = |random: &mut StdRng| -> Vec<f32> {
        let mut vector: Vec<f32> = (0..DIMENSION)
            .map(|_| random.random_range(-0.2..0.2))
            .collect();
        vector[0] = -3.0;
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter().map(|value| value / norm).collect()
    };
    let records: Vec<_> = (0..300)
        .map(|i| (None, track(200_000 + i, far(&mut random))))
        .collect();
    library.transfer_mut().take_in(&records).unwrap();
    drop(library);
    push(&other, &server, &[]);
    push(&sandbox, &server, &[]);
    assert_eq!(mean(), first);

    let sent = push(&sandbox, &server, &["--recentre"]);
    assert_eq!(
        (&sent["unchanged"], &sent["recentred"]),
        (&300.into(), &600.into())
    );
    assert_ne!(mean(), first);
    let mut store = Postgres::open(&PostgresAddress::parse(&url, true).unwrap()).unwrap();
    let space = store.held_space();
    assert!(space.mean()[0] < -0.3, "{:?}", &space.mean()[..3]);
    // Searches use the raw vectors relative to that mean.
    let ids: Vec<TrackId> = store.changes(0).unwrap().unwrap().added;
    assert_eq!(ids.len(), 600);
    let vectors = server.psql(
        "select encode(vector, 'hex') from voisin_vector order by id",
        &[],
    );
    let vectors: Vec<Vec<f32>> = vectors.lines().map(vector_of_hex).collect();
    for query in vectors
        .iter()
        .step_by(97)
        .map(|vector| space.centre(vector))
    {
        let mut expected: Vec<(TrackId, f32)> = ids
            .iter()
            .zip(&vectors)
            .map(|(id, vector)| {
                (
                    *id,
                    query
                        .iter()
                        .zip(space.centre(vector))
                        .map(|(a, b)| a * b)
                        .sum(),
                )
            })
            .collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        for effort in [Effort::Exact, Effort::Width(400)] {
            let found = store
                .nearest(&query, 5, &TrackFilter::default(), effort)
                .unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found.similarity - expected.1).abs() < 2e-4,
                    "{effort:?}: {found:?} {expected:?}"
                );
            }
        }
    }
    // Answers from there now use the new mean.
    let answer = similar();
    let found = answer.as_array().unwrap();
    assert!(
        found.len() == 20 && found[0]["similarity"].as_f64().unwrap() <= 1.0,
        "{answer}"
    );

    // Tables without a mean are refused by their schema number.
    server.psql("update voisin_state set schema = 1", &[]);
    let stderr = refused(sandbox.run(["push", "--to", &url]));
    assert!(
        stderr.contains("schema 1, expected 5") && stderr.contains("push again"),
        "{stderr}"
    );
}

fn vector_of_hex(hex: &str) -> Vec<f32> {
    let number = |eight: &[u8]| {
        let bits = u32::from_str_radix(std::str::from_utf8(eight).unwrap(), 16).unwrap();
        f32::from_bits(bits.swap_bytes())
    };
    hex.as_bytes().chunks(8).map(number).collect()
}

#[test]
fn pull_returns_every_record_as_it_was_pushed() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    let url = server.url();
    assert_eq!(code(&sandbox.run(["labels", "set", "id:10", "Zouk"])), 0);
    Library::open(&sandbox.path("library"), OpenMode::ReadWrite)
        .unwrap()
        .settings_mut()
        .set_setting("person", Some("composer"))
        .unwrap();
    // Numbers with all digits, and a file whose path is its title.
    let mut odd = track(300, [&[1.0][..], &[0.0; DIMENSION - 1]].concat());
    odd.facts.audio.seconds = 180.036_281_179_138_3;
    odd.facts.files[0].tags.bpm = Some(1e-300 / 3.0);
    odd.facts.files[0].tags.replay_gain = Some(-0.0);
    odd.facts.files[0].tags.title = Some("\"bpm\":\"3\" \\u0000".into());
    Library::open(&sandbox.path("library"), OpenMode::ReadWrite)
        .unwrap()
        .transfer_mut()
        .take_in(&[(None, odd)])
        .unwrap();
    push(&sandbox, &server, &["--windows"]);
    // As docs/scale.md asks.
    let query = "select f #>> '{record,path}' from voisin_track t, jsonb_array_elements(facts -> 'files') f
        where facts @> '{\"audio\": {\"codec\": \"flac\"}}' and t.year = 1960 and (f #> '{tags,title}') ? 'title 290'";
    assert_eq!(server.psql(query, &[]), "/music/0/album 40/290.flac");
    let other = Sandbox::new();
    let pull = |sandbox: &Sandbox| {
        let output = sandbox.run(["pull", "--from", &url, "--format", "json"]);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        json(output)
    };
    assert_eq!(pull(&other)["added"], 301);
    assert_eq!(pull(&other)["added"], 0);
    let person = Library::open(&other.path("library"), OpenMode::ReadOnly)
        .unwrap()
        .settings()
        .setting("person");
    assert_eq!(
        person.unwrap().as_deref(),
        Some("composer"),
        "whom tracks count as by"
    );
    assert_eq!(
        facts(&other),
        facts(&sandbox),
        "paths of any bytes, NUL in titles, numbers to the last bit"
    );
    assert_eq!(
        other.vectors(),
        sandbox.vectors(),
        "vectors to the last bit"
    );
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

/// Music in a folder: the demo's, one file that is not audio, and one twice.
fn music(sandbox: &Sandbox) -> PathBuf {
    let music = six_tracks(sandbox);
    for i in 0..10 {
        fs::write(
            music.join(format!("noise {i}.wav")),
            noise_wav(16_000, 8.0, i),
        )
        .unwrap();
    }
    fs::write(music.join("broken.mp3"), "this is no music").unwrap();
    fs::copy(music.join("noise 3.wav"), music.join("noise 3 again.wav")).unwrap();
    music
}

/// Three workers on one table, one of which is killed as soon as it has a lease. Returns the reports of the others.
fn three_workers(sandbox: &Sandbox, server: &Server, more: &[&str]) -> Vec<Value> {
    let url = server.url();
    let mut words = vec![
        "worker",
        "--jobs",
        &url,
        "--batch",
        "2",
        "--lease",
        "3",
        "--threads",
        "1",
        "--format",
        "json",
    ];
    words.extend(more);
    let start = || {
        sandbox
            .command(&words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut killed = start();
    for _ in 0..600 {
        if server.psql(
            "select count(*) from voisin_job where leased_until is not null",
            &[],
        ) != "0"
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(killed.try_wait().unwrap().is_none(), "it was at work");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let leased =
        "select count(*) from voisin_job where leased_until is not null and done_at is null";
    assert_ne!(server.psql(leased, &[]), "0", "some files were leased");
    let others = [start(), start()];
    others
        .map(|child| json(child.wait_with_output().unwrap()))
        .into()
}

#[test]
fn three_workers_one_killed_all_done_once() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = Sandbox::new();
    let url = server.url();
    let music = music(&sandbox);
    let fill = || {
        let words = [
            "worker",
            "--jobs",
            &url,
            "--add",
            music.to_str().unwrap(),
            "--format",
            "json",
        ];
        json(sandbox.run(words))
    };
    assert_eq!(fill()["added"], 18);
    assert_eq!(fill()["unchanged"], 18, "a second time adds nothing");
    // A path that only another machine has, by SQL.
    server.psql(
        "insert into voisin_job (path) values (convert_to('/nowhere/à.flac', 'UTF8'))",
        &[],
    );

    // Into the tables: the same vectors, to the last bit, as one process adds.
    let alone = Sandbox::new();
    assert_eq!(
        code(&alone.run(["add", music.to_str().unwrap()])),
        1,
        "one file is broken"
    );
    let reports = three_workers(&sandbox, &server, &["--with-windows"]);
    let sum = |key: &str| {
        reports
            .iter()
            .map(|one| one[key].as_u64().unwrap())
            .sum::<u64>()
    };
    let last = reports
        .iter()
        .max_by_key(|one| one["done"].as_u64())
        .unwrap();
    assert_eq!(
        (&last["jobs"], &last["done"], &last["failed"]),
        (&19.into(), &17.into(), &2.into()),
        "{reports:?}"
    );
    assert!(sum("own_done") <= 17, "no file was done twice: {reports:?}");
    let failures = server.psql(
        "select failure from voisin_job where failure is not null order by 1",
        &[],
    );
    assert!(
        failures.contains("No such file") && failures.lines().count() == 2,
        "{failures}"
    );
    let attempts =
        "select attempts from voisin_job where convert_from(path, 'UTF8') like '/nowhere%'";
    assert_eq!(
        server.psql(attempts, &[]),
        "3",
        "a file that another machine may have is tried three times"
    );
    let pulled = Sandbox::new();
    assert_eq!(
        json(pulled.run(["pull", "--from", &url, "--format", "json"]))["added"],
        16
    );
    assert_eq!(pulled.vectors(), alone.vectors());
    let files = json(pulled.run(["status", "--format", "json"]))["files"].clone();
    assert_eq!(files, 17, "a recording in two files is one track");

    // Another kind of ids is refused, and the file stays for others.
    server.psql(
        "update voisin_job set done_at = null, attempts = 0 where path like '%noise 5%'",
        &[],
    );
    let other = refused(sandbox.run(["worker", "--jobs", &url, "--identity", "quick"]));
    assert!(
        other.contains("\"full\"") && other.contains("\"quick\""),
        "{other}"
    );
    let open = "select attempts from voisin_job where done_at is null and leased_until is null";
    assert_eq!(server.psql(open, &[]), "0");

    // Into Parquet files: no row twice, and the same again.
    if cfg!(feature = "parquet") {
        server.psql("delete from voisin_job", &[]);
        fill();
        let output = sandbox.path("vectors");
        three_workers(&sandbox, &server, &["--output", output.to_str().unwrap()]);
        let one = sandbox.path("one");
        let embed = [
            "embed",
            music.to_str().unwrap(),
            "--format",
            "parquet",
            "--output",
            one.to_str().unwrap(),
        ];
        assert_eq!(code(&sandbox.run(embed)), 1);
        let a = Sandbox::new();
        let b = Sandbox::new();
        let take = |sandbox: &Sandbox, folder: &Path| {
            json(sandbox.run([
                "add",
                "--from-parquet",
                folder.to_str().unwrap(),
                "--format",
                "json",
            ]))
        };
        let taken = take(&a, &output);
        assert_eq!(
            (&taken["added"], &taken["unchanged"]),
            (&16.into(), &0.into()),
            "{taken}"
        );
        take(&b, &one);
        assert_eq!(a.vectors(), b.vectors());
    }
}

/// `--status` reports progress, workers and failures; changed files are analysed again.
#[test]
fn workers_report_progress_and_follow_changes() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = Sandbox::new();
    let url = server.url();
    let music = sandbox.path("music");
    let alive = sandbox.path("alive");
    let worker = |more: &[&str]| {
        let words = ["worker", "--jobs", &url, "--format", "json"];
        sandbox.run(words.iter().chain(more))
    };
    let none = worker(&["--status"]);
    assert!(
        code(&none) == 1 && text(&none.stderr).contains("has no queue of files"),
        "{}",
        text(&none.stderr)
    );
    assert_eq!(
        server.psql("select to_regclass('voisin_job') is null", &[]),
        "t",
        "--status creates no table"
    );
    fs::create_dir_all(&music).unwrap();
    let song = |i: u64| music.join(format!("{i}.wav"));
    for i in 0..4 {
        fs::write(song(i), noise_wav(16_000, 8.0, i)).unwrap();
    }
    let broken = music.join("broken.mp3");
    fs::write(&broken, "this is no music").unwrap();
    let folder = music.to_str().unwrap();
    assert_eq!(json(worker(&["--add", folder]))["added"], 5);
    let open = json(worker(&["--status"]));
    assert_eq!(
        (&open["jobs"], &open["done"], &open["seconds_left"]),
        (&5.into(), &0.into(), &Value::Null)
    );

    // A file that another machine has leased.
    server.psql(
        "update voisin_job set worker = 'other 7', attempts = 1, leased_until = now() + interval '2 seconds'
         where path like '%/0.wav'",
        &[],
    );
    let leased = json(worker(&["--status"]));
    assert_eq!(
        (&leased["leased"], &leased["workers"][0]["worker"]),
        (&1.into(), &"other 7".into())
    );
    let until = leased["workers"][0]["until"].as_str().unwrap();
    assert!(until.len() == 20 && until.ends_with('Z'), "{until}");
    assert_eq!(
        code(&worker(&["--alive", alive.to_str().unwrap()])),
        1,
        "one file is broken"
    );
    let beat: u64 = fs::read_to_string(&alive).unwrap().trim().parse().unwrap();
    assert!(beat > 1_700_000_000, "{beat}");
    let done = json(worker(&["--status"]));
    assert_eq!(
        (&done["done"], &done["failed"], &done["leased"]),
        (&4.into(), &1.into(), &0.into())
    );
    assert!(
        done["per_hour"].as_f64().unwrap() > 0.0 && done["seconds_left"] == 0.0,
        "{done}"
    );
    assert_eq!(done["failures"][0]["path"], broken.to_str().unwrap());
    assert!(
        done["failures"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("not an audio file"),
        "{done}"
    );
    let table = fine(sandbox.run(["worker", "--jobs", &url, "--status"]));
    assert!(
        table.starts_with("4 done and 1 failed of 5 files, 0 leased\n"),
        "{table}"
    );
    assert!(
        table.contains("broken.mp3") && table.contains("not an audio file"),
        "{table}"
    );

    // Files with other contents, failed ones too, are analysed again; those with the same contents and time are not.
    fs::write(song(1), noise_wav(16_000, 9.0, 11)).unwrap();
    fs::write(&broken, noise_wav(16_000, 8.0, 12)).unwrap();
    let again = json(worker(&["--add", folder]));
    assert_eq!(
        (&again["added"], &again["changed"], &again["unchanged"]),
        (&0.into(), &2.into(), &3.into())
    );
    let analysed = json(worker(&[]));
    assert_eq!(
        (&analysed["own_done"], &analysed["failed"]),
        (&2.into(), &0.into())
    );
    assert_eq!(json(worker(&["--add", folder]))["unchanged"], 5);
    let recordings = server.psql("select count(*) from voisin_track", &[]);
    assert_eq!(recordings, "5", "the former recording went");

    // A table of an older version has no sizes and times: nothing is analysed again for that.
    server.psql(
        "alter table voisin_job drop column size, drop column mtime_ns",
        &[],
    );
    assert_eq!(json(worker(&["--add", folder]))["unchanged"], 5);
    assert_eq!(json(worker(&["--status"]))["done"], 5);
}

/// A changed file removes its former recording, unless another file or a library has it.
#[test]
fn a_changed_file_removes_its_former_recording() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = Sandbox::new();
    let owner = Sandbox::new();
    let url = server.url();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let song =
        |name: &str, seed: u64| fs::write(music.join(name), noise_wav(16_000, 8.0, seed)).unwrap();
    let analyse = || {
        fine(sandbox.run(["worker", "--jobs", &url, "--add", music.to_str().unwrap()]));
        fine(sandbox.run(["worker", "--jobs", &url, "--with-windows"]));
    };
    let rows = || server.psql("select count(*) from voisin_track", &[]);
    let gone = || {
        server.psql(
            "select count(*), count(*) filter (where barred) from voisin_gone",
            &[],
        )
    };
    let of_b = || {
        let sql = "select cardinality(paths), jsonb_array_length(facts -> 'files'), md5(windows), md5(vector)
            from voisin_track join voisin_vector using (id) where facts::text like '%/b.wav%'";
        server.psql(sql, &[])
    };
    for (name, seed) in [("a.wav", 1), ("b.wav", 1), ("c.wav", 2), ("d.wav", 3)] {
        song(name, seed);
    }
    analyse();
    assert_eq!((rows(), gone()), ("3".to_owned(), "0|0".to_owned()));
    let before = of_b();
    assert!(before.starts_with("2|2|"), "{before}");
    // A library holds one of them, too.
    fine(owner.run(["add", music.join("d.wav").to_str().unwrap()]));
    assert_eq!(push(&owner, &server, &[])["of_others"], 1);
    let follower = Sandbox::new();
    assert_eq!(
        fine_json(follower.run(["pull", "--from", &url, "--format", "json"]))["added"],
        3
    );
    for (name, seed) in [("a.wav", 4), ("c.wav", 5), ("d.wav", 6)] {
        song(name, seed);
    }
    analyse();
    assert_eq!(
        (rows(), gone()),
        ("5".to_owned(), "1|0".to_owned()),
        "that of c.wav alone went"
    );
    assert_eq!(of_b(), before.replacen("2|2|", "1|1|", 1));
    let held = "select count(*) from voisin_held where library <> '' and id in (select id from voisin_track)";
    assert_eq!(server.psql(held, &[]), "1");
    // A pulling library has the new recording of c.wav in place of the former.
    follower.run(["pull", "--from", &url]);
    let contents = |sandbox: &Sandbox| facts(sandbox).into_keys().collect::<Vec<_>>();
    let former = server.psql("select encode(content, 'hex') from voisin_gone", &[]);
    assert!(
        contents(&follower)
            .iter()
            .all(|content| content.to_string() != former)
    );
    // The recording goes with the last of its files.
    song("b.wav", 7);
    analyse();
    assert_eq!((rows(), gone()), ("5".to_owned(), "2|0".to_owned()));
}

/// Music in a bucket, leased through a database, into files of a bucket.
#[test]
fn workers_embed_a_bucket() {
    let Some(programs) = programs() else { return };
    if !cfg!(feature = "parquet") {
        return;
    }
    let Some(store) = ObjectStoreServer::find() else {
        return;
    };
    let server = Server::start(&programs);
    let sandbox = Sandbox::new();
    let url = server.url();
    for i in 0..3 {
        let song = sandbox.path("song.wav");
        fs::write(&song, noise_wav(16_000, 8.0, i)).unwrap();
        store.upload(&song, &format!("music/{i}.wav"));
    }
    let worker = |more: &[&str]| {
        let words: Vec<&str> = ["worker", "--jobs", &url, "--format", "json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        json(store.run(&sandbox, &words))
    };
    assert_eq!(worker(&["--add", "s3://music/music/"])["added"], 3);
    let done = worker(&["--output", "s3://music/vectors"]);
    assert_eq!((&done["done"], &done["failed"]), (&3.into(), &0.into()));
    let taken = json(store.run(
        &sandbox,
        &[
            "add",
            "--from-parquet",
            "s3://music/vectors",
            "--format",
            "json",
        ],
    ));
    assert_eq!(taken["added"], 3);
    // Into the tables, of a file that changed and one that is gone.
    let song = sandbox.path("song.wav");
    fs::write(&song, noise_wav(16_000, 9.0, 7)).unwrap();
    store.upload(&song, "music/1.wav");
    assert_eq!(worker(&["--add", "s3://music/music/"])["changed"], 1);
    store.python("bucket.Object('music/2.wav').delete()");
    server.psql(
        "update voisin_job set done_at = null, attempts = 0 where path like '%2.wav'",
        &[],
    );
    let again = worker(&[]);
    assert_eq!(
        (&again["own_done"], &again["failed"]),
        (&1.into(), &1.into()),
        "{again}"
    );
    assert_eq!(
        worker(&["--status"])["failures"][0]["reason"],
        "there is no such object"
    );
    let pulled = Sandbox::new();
    assert_eq!(
        json(pulled.run(["pull", "--from", &url, "--format", "json"]))["added"],
        1
    );
}

/// The tables for Citus, which no package registry has: on a plain server, without its extension and with a stub of its
/// one function that records its arguments.
#[test]
fn tables_for_citus_hold_a_library() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    let printed = fine(sandbox.run(["push", "--print-ddl", "citus"]));
    let extension = "create extension if not exists citus;\n";
    assert!(
        printed.contains(extension) && !printed.contains("unique (content)"),
        "{printed}"
    );
    server.psql(
        "create function create_distributed_table(what regclass, by text, colocate_with text default 'default')
            returns text language sql as $$ select what::text || ' by ' || by || ' with ' || colocate_with $$",
        &[],
    );
    let divided = "voisin_track by id with default\nvoisin_vector by id with voisin_track";
    assert_eq!(
        server.psql(&printed.replace(extension, ""), &[]).trim(),
        divided
    );
    // Settings within a search's transaction reach Citus' workers by this setting alone.
    assert_eq!(
        server.psql("show citus.propagate_set_commands", &[]),
        "local"
    );
    assert_eq!(push(&sandbox, &server, &[])["added"], 300);
    assert_eq!(push(&sandbox, &server, &[])["unchanged"], 300);
    let url = server.url();
    let ask = |more: &[&str]| {
        let words = ["similar", "title 12", "--genre", "Rock", "--format", "json"];
        json(sandbox.run(words.iter().chain(more)))
    };
    assert!(same(&ask(&[]), &ask(&["--backend", &url])));
    // Citus requires that every key includes the distribution column.
    let keys = "select string_agg(pg_get_constraintdef(oid), ', ') from pg_constraint
        where conrelid = 'voisin_track'::regclass and contype in ('p', 'u')";
    assert_eq!(server.psql(keys, &[]), "PRIMARY KEY (id)");
}
