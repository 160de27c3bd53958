//! What an operator does with a database: upgrades, takedowns, libraries that hold the same recordings, indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use voisin::{Engine, TrackId};
use voisin_library::{Library, OpenMode};
use voisin_postgres::{BackendError, Mirror, Postgres, PostgresAddress, put};

use super::common::{Sandbox, code, fine, fine_json, json, text};
use super::servers::{Cluster, Server, programs};
use super::{facts, push, refused, same, sandbox_with};

/// What the catalogue says of the tables: columns, indexes, comments.
fn catalogue(server: &Server) -> BTreeSet<String> {
    let said = server.psql(
        "select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' '
            || coalesce(col_description(table_name::regclass, ordinal_position), '')
         from information_schema.columns where table_name like 'voisin%';
         select indexdef from pg_indexes where tablename like 'voisin%';
         select oid::regclass || ' ' || coalesce(obj_description(oid), '') from pg_class
         where relname like 'voisin%' and relkind = 'r'",
        &[],
    );
    said.lines().map(str::to_owned).collect()
}

/// tests/data/postgres/vN.sql: a database of schema N with twenty tracks of a library and two of a worker.
#[test]
fn an_upgrade_keeps_what_an_older_voisin_sent() {
    let Some(programs) = programs() else { return };
    for (schema, sql) in [
        (2, include_str!("../data/postgres/v2.sql")),
        (3, include_str!("../data/postgres/v3.sql")),
        (4, include_str!("../data/postgres/v4.sql")),
    ] {
        upgrade(&programs, schema, sql);
    }
}

fn upgrade(programs: &Path, schema: u32, sql: &str) {
    let server = Server::start(programs);
    let new = Server::start(programs);
    server.psql(sql, &[]);
    let url = server.url();
    let sandbox = sandbox_with(20);
    // This library is the one that sent them.
    let identity = Library::open(&sandbox.path("library"), OpenMode::ReadOnly)
        .unwrap()
        .transfer()
        .identity()
        .unwrap();
    server.psql(
        &format!(
            "update voisin_track set source = '{identity}' where source <> '';
             update voisin_source set library = '{identity}';
             do $$ begin update voisin_held set library = '{identity}' where library <> '';
             exception when undefined_table then null; end $$"
        ),
        &[],
    );
    let rows = |tables: &str| {
        server.psql(
            &format!(
                "select id, md5(content || coalesce(windows, '') || digest || vector), source, path, genres, words,
                    changed, md5(embedding::text) from {tables} order by id"
            ),
            &[],
        )
    };
    let before = rows("voisin_track");
    for words in [
        &["push", "--to", &url][..],
        &["list", "--backend", &url],
        &["pull", "--from", &url],
    ] {
        let said = refused(sandbox.run(words));
        let expected = format!("schema {schema}, this voisin knows 5");
        assert!(
            said.contains(&expected) && said.contains("push --upgrade"),
            "{said}"
        );
    }
    let upgraded = sandbox.run(["push", "--to", &url, "--upgrade", "--format", "json"]);
    let said = text(&upgraded.stderr);
    let expected = format!("tables of schema {schema} brought forward without their vector index");
    // It is made by the push, which keeps nobody out, and not in the transaction that does.
    assert!(
        code(&upgraded) == 0
            && said.contains(&expected)
            && said.contains("making the vector index"),
        "{said}"
    );
    let sent = json(upgraded);
    assert_eq!(
        (&sent["added"], &sent["removed"]),
        (&0.into(), &0.into()),
        "{sent}"
    );
    assert_eq!(
        rows("voisin_track join voisin_vector using (id)"),
        before,
        "no row is another one"
    );
    let pulled = Sandbox::new();
    assert_eq!(
        fine_json(pulled.run(["pull", "--from", &url, "--format", "json"]))["added"],
        22
    );
    let kept = facts(&pulled);
    assert!(
        facts(&sandbox)
            .iter()
            .all(|(content, facts)| kept.get(content) == Some(facts))
    );
    // One has a title with NUL, which stays as the bytes that it was.
    let queryable = "select count(*), count(*) filter (where facts #>> '{audio,content}' = encode(content, 'hex')
        and (facts #> '{audio,seconds}')::float8 = seconds and (facts #> '{descriptors,tempo}')::float8 = tempo),
        count(*) filter (where facts ? 'hex') from voisin_track";
    assert_eq!(server.psql(queryable, &[]), "22|21|1");
    // The tables are those of a new database.
    push(&sandbox, &new, &[]);
    assert_eq!(catalogue(&server), catalogue(&new));
    // So are the rows that lists are sorted by; those of a worker are here besides.
    let sorted_by = "select * from voisin_order where id in (select id from voisin_track where source <> '') order by id";
    assert_eq!(
        server.psql(sorted_by, &[]),
        new.psql("select * from voisin_order order by id", &[])
    );
    assert_eq!(server.psql("select count(*) from voisin_order", &[]), "22");
    let said = text(&sandbox.run(["push", "--to", &url, "--upgrade"]).stderr);
    assert!(said.contains("no tables of an older voisin"), "{said}");
    // The library holds what it sent, and a worker's tracks are nobody's.
    Library::open(&sandbox.path("library"), OpenMode::ReadWrite)
        .unwrap()
        .remove_tracks(&[TrackId(1), TrackId(2)])
        .unwrap();
    assert_eq!(push(&sandbox, &server, &[])["removed"], 2);
    let left = "select count(*), count(*) filter (where source = '') from voisin_track";
    assert_eq!(server.psql(left, &[]), "20|2");

    for (schema, next) in [(1, "drop the tables"), (99, "use the newer voisin")] {
        server.psql(&format!("update voisin_state set schema = {schema}"), &[]);
        let said = refused(sandbox.run(["push", "--to", &url, "--upgrade"]));
        assert!(
            said.contains(&format!("schema {schema}")) && said.contains(next),
            "{said}"
        );
    }
    assert_eq!(server.psql(left, &[]), "20|2");
}

#[test]
fn a_recording_stays_as_long_as_a_library_holds_it() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let first = sandbox_with(50);
    let second = sandbox_with(20);
    let remove = |sandbox: &Sandbox, ids: &[i64]| {
        let ids: Vec<TrackId> = ids.iter().map(|&id| TrackId(id)).collect();
        Library::open(&sandbox.path("library"), OpenMode::ReadWrite)
            .unwrap()
            .remove_tracks(&ids)
            .unwrap();
    };
    assert_eq!(push(&first, &server, &[])["added"], 50);
    assert_eq!(push(&second, &server, &[])["of_others"], 20);
    remove(&first, &[1, 2, 3, 50]);
    let sent = push(&first, &server, &[]);
    assert_eq!(
        (&sent["removed"], &sent["stayed"]),
        (&1.into(), &3.into()),
        "{sent}"
    );
    let count = || server.psql("select count(*) from voisin_track", &[]);
    assert_eq!(count(), "49");
    // What is left to the second library is as that one has it.
    fine(second.run(["labels", "set", "id:1", "Zouk"]));
    let sent = push(&second, &server, &[]);
    assert_eq!(
        (&sent["updated"], &sent["of_others"]),
        (&3.into(), &17.into()),
        "{sent}"
    );
    assert_eq!(
        server.psql(
            "select count(*) from voisin_track where 'Zouk' = any (genres)",
            &[]
        ),
        "1"
    );
    assert_eq!(push(&second, &server, &[])["unchanged"], 3);
    remove(&second, &[1, 4]);
    let sent = push(&second, &server, &[]);
    assert_eq!(
        (&sent["removed"], &sent["stayed"]),
        (&1.into(), &1.into()),
        "{sent}"
    );
    assert_eq!(count(), "48");
    assert_eq!(push(&first, &server, &[])["unchanged"], 46);
    // A worker's recording outlives the libraries that hold it too.
    let place = PostgresAddress::parse(&server.url(), true).unwrap();
    let engine =
        Engine::from_library(Library::open(&second.path("library"), OpenMode::ReadOnly).unwrap());
    assert_eq!(
        put(&engine, &mut Postgres::open(&place).unwrap(), false).unwrap(),
        18
    );
    remove(&first, &(4..=49).collect::<Vec<_>>());
    push(&first, &server, &[]);
    remove(&second, &(2..=20).filter(|&id| id != 4).collect::<Vec<_>>());
    push(&second, &server, &[]);
    assert_eq!(count(), "18");
}

/// `cp -r` of a library makes another one, which takes nothing of the first one's away; a folder that was moved is the same.
#[test]
fn a_copied_library_is_sent_as_one_of_its_own() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let first = sandbox_with(50);
    let second = Sandbox::new();
    let moved = Sandbox::new();
    push(&first, &server, &["--no-index"]);
    let [from, to, end] = [&first, &second, &moved].map(|sandbox| sandbox.path("library"));
    assert!(
        Command::new("cp")
            .arg("-r")
            .args([&from, &to])
            .status()
            .unwrap()
            .success()
    );
    Library::open(&to, OpenMode::ReadWrite)
        .unwrap()
        .remove_tracks(&[TrackId(1), TrackId(2)])
        .unwrap();
    let url = server.url();
    let words = ["push", "--to", &url, "--no-index", "--format", "json"];
    let sent = second.run(words);
    let said = text(&sent.stderr);
    assert!(
        said.contains("a copy of") && said.contains("identity of its own"),
        "{said}"
    );
    let sent = fine_json(sent);
    assert_eq!(
        (&sent["removed"], &sent["stayed"], &sent["of_others"]),
        (&0.into(), &0.into(), &48.into())
    );
    let again = second.run(words);
    assert!(
        !text(&again.stderr).contains("identity"),
        "once: {}",
        text(&again.stderr)
    );
    let libraries = "select count(distinct library), count(*) from voisin_held";
    assert_eq!(server.psql(libraries, &[]), "2|98");
    // Neither of them takes out what the other one has.
    let mut library = Library::open(&from, OpenMode::ReadWrite).unwrap();
    library.remove_tracks(&[TrackId(1), TrackId(3)]).unwrap();
    drop(library);
    let sent = push(&first, &server, &["--no-index"]);
    assert_eq!(
        (&sent["removed"], &sent["stayed"]),
        (&1.into(), &1.into()),
        "{sent}"
    );
    // One that was moved goes on as it was, as does one that was put elsewhere and whose origin went.
    std::fs::rename(&from, &end).unwrap();
    let sent = push(&moved, &server, &["--no-index"]);
    assert_eq!(
        (&sent["added"], &sent["unchanged"]),
        (&0.into(), &48.into()),
        "{sent}"
    );
    assert!(
        Command::new("cp")
            .arg("-r")
            .args([&end, &from])
            .status()
            .unwrap()
            .success()
    );
    std::fs::remove_dir_all(&end).unwrap();
    assert_eq!(push(&first, &server, &["--no-index"])["unchanged"], 48);
    assert_eq!(
        server.psql("select count(distinct library) from voisin_held", &[]),
        "2"
    );
    // Of a copy on another machine nobody here can know but its owner.
    let sent = first.run(words.iter().chain(&["--new-identity"]));
    assert!(
        text(&sent.stderr).contains("identity of its own"),
        "{}",
        text(&sent.stderr)
    );
    assert_eq!(
        server.psql("select count(distinct library) from voisin_held", &[]),
        "3"
    );
}

#[test]
fn a_copy_that_was_broken_off_goes_on() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(3500);
    push(&sandbox, &server, &["--no-index"]);
    let dir = sandbox.path("copy");
    let place = PostgresAddress::parse(&server.url(), true).unwrap();
    let open = || Mirror::open(Postgres::open(&place).unwrap(), &dir).unwrap();
    let stop = AtomicBool::new(false);
    let ended = open().follow(&stop, &mut |done, of| {
        assert_eq!(of, 3500);
        stop.store(done >= 2000, Ordering::Relaxed);
    });
    assert!(matches!(ended, Err(BackendError::Interrupted)), "{ended:?}");
    let tracks = || {
        Library::open(&dir, OpenMode::ReadOnly)
            .unwrap()
            .status()
            .unwrap()
            .tracks
    };
    assert_eq!(tracks(), 2000);
    // Meanwhile tracks go and change on either side of where it was.
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library
        .remove_tracks(&(1..=100).map(TrackId).collect::<Vec<_>>())
        .unwrap();
    for id in 101..=200 {
        let track = library.track(TrackId(id)).unwrap();
        let tags = voisin_library::TrackTags {
            title: Some(format!("renamed {id}")),
            ..track.tags
        };
        library
            .files_mut()
            .attach_file(TrackId(id), &track.files[0].record, &tags)
            .unwrap();
    }
    drop(library);
    push(&sandbox, &server, &["--no-index"]);
    stop.store(false, Ordering::Relaxed);
    let mut most = 0;
    assert!(open().follow(&stop, &mut |_, of| most = of).unwrap());
    assert!(
        (1400..1600).contains(&most),
        "what was brought is not brought again: {most}"
    );
    assert!(
        !open()
            .follow(&stop, &mut |_, _| panic!("nothing is new"))
            .unwrap()
    );
    let titles = |dir: &Path| {
        let library = Library::open(dir, OpenMode::ReadOnly).unwrap();
        library
            .tracks()
            .unwrap()
            .into_iter()
            .map(|track| track.tags.title)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(titles(&dir), titles(&sandbox.path("library")));
    // Ids are those of the recordings, which fit into a browser's numbers.
    let ids = Library::open(&dir, OpenMode::ReadOnly)
        .unwrap()
        .track_ids()
        .unwrap();
    let there = server.psql("select id >> 10 from voisin_track order by id", &[]);
    assert_eq!(
        ids.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
        there
    );
    // A library that somebody made is no copy, and keeps its tracks.
    let own = sandbox.path("library");
    let refused = Mirror::open(Postgres::open(&place).unwrap(), &own);
    assert!(matches!(refused, Err(BackendError::NoCopy { .. })));
    assert_eq!(
        Library::open(&own, OpenMode::ReadOnly)
            .unwrap()
            .status()
            .unwrap()
            .tracks,
        3400
    );
}

#[test]
fn tracks_that_were_taken_down_stay_away() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(100);
    let follower = Sandbox::new();
    let url = server.url();
    push(&sandbox, &server, &[]);
    assert_eq!(
        fine_json(follower.run(["pull", "--from", &url, "--format", "json"]))["added"],
        100
    );
    let found = fine_json(sandbox.run(["list", "title 12", "--format", "json", "--backend", &url]));
    let id = format!("id:{}", found["tracks"][0]["id"]);
    // A folder, a file, a track; the folder /music/3 holds 3, 13, 23 ... 93, all but the odd ones.
    let words = [
        "remove",
        "--backend",
        &url,
        "/music/3",
        "/music/5/album 5/5.flac",
        &id,
        "--format",
        "json",
    ];
    let would = fine_json(sandbox.run(words.iter().chain(&["--dry-run"])));
    assert_eq!(
        (&would["tracks"], &would["dry_run"]),
        (&12.into(), &true.into()),
        "{would}"
    );
    assert_eq!(would["would_remove"].as_array().unwrap().len(), 12);
    let count = || server.psql("select count(*) from voisin_track", &[]);
    assert_eq!(count(), "100");
    assert_eq!(fine_json(sandbox.run(words))["tracks"], 12);
    assert_eq!(count(), "88");
    let again = sandbox.run(["remove", "--backend", &url, "/music/3"]);
    assert!(code(&again) == 1 && text(&again.stderr).contains("nothing to take down"));
    assert_eq!(
        code(&sandbox.run(["remove", "--backend", &url, &id])),
        1,
        "no such track"
    );

    // Neither the library nor a worker brings it back, and those who follow take it out.
    let sent = push(&sandbox, &server, &[]);
    assert_eq!(
        (&sent["taken_down"], &sent["added"]),
        (&12.into(), &0.into()),
        "{sent}"
    );
    let place = PostgresAddress::parse(&url, true).unwrap();
    let engine =
        Engine::from_library(Library::open(&sandbox.path("library"), OpenMode::ReadOnly).unwrap());
    put(&engine, &mut Postgres::open(&place).unwrap(), false).unwrap();
    assert_eq!(count(), "88");
    fine(follower.run(["pull", "--from", &url]));
    assert_eq!(
        fine_json(follower.run(["status", "--format", "json"]))["tracks"],
        88
    );
    // As the document says it may come back.
    server.psql(
        "update voisin_gone set barred = false where id = (select min(id) from voisin_gone)",
        &[],
    );
    assert_eq!(push(&sandbox, &server, &[])["added"], 1);

    // The variable names no database to take anything out of.
    let mut command = sandbox.command(["remove", "id:1", "--format", "json"]);
    assert_eq!(
        json(command.env("VOISIN_BACKEND", &url).output().unwrap())["tracks"],
        1
    );
    assert_eq!(count(), "89");
}

/// Questions go by indexes, as the server's own counters say.
#[test]
fn words_and_filters_go_by_indexes() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(10_000);
    let url = server.url();
    push(&sandbox, &server, &["--no-index"]);
    server.psql("analyze voisin_track", &[]);
    for (question, index) in [
        (&["list", "title 4321"][..], "words"),
        (&["similar", "title 4321"], "words"),
        (&["list", "--artist", "artist 17"], "artist_keys"),
        (&["list", "--year", "-1950"], "year_min_year_max"),
        (&["list", "--bpm", "100.5-101.2"], "tempo"),
        (&["list", "--bpm", "100.5-101.2", "--bpm-exact"], "tempo"),
        (&["list", "--min-duration", "10:27"], "seconds"),
        (&["list", "--key", "C major"], "key"),
    ] {
        let name = format!("voisin_track_{index}_idx");
        let used = || -> u64 {
            let sql =
                format!("select idx_scan from pg_stat_user_indexes where indexrelname = '{name}'");
            server
                .psql(&sql, &[])
                .parse()
                .unwrap_or_else(|_| panic!("{name}"))
        };
        let before = used();
        fine(sandbox.run(question.iter().chain(&["--backend", &url])));
        // What a session did is counted when it has ended.
        let counted = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            used() > before
        });
        assert!(counted, "{question:?} does not go by {name}");
    }
    // More tracks have these words in others than are fetched of a name; the one that is called so is meant.
    let words = ["show", "title 1", "--format", "json"];
    let here = fine_json(sandbox.run(words));
    let there = fine_json(sandbox.run(words.iter().chain(&["--backend", &url])));
    assert!(
        here[0]["path"] == there[0]["path"] && here[0]["path"].is_string(),
        "{here} {there}"
    );
    // Few that fit are put in order alone, many are met on the way along all.
    for filter in [["--artist", "artist 17"], ["--exclude-artist", "artist 17"]] {
        let words = [
            "list",
            "--sort",
            "title",
            "--reverse",
            "--limit",
            "9",
            "--format",
            "json",
        ];
        let ask = |more: &[&str]| fine_json(sandbox.run(words.iter().chain(&filter).chain(more)));
        let here = ask(&[]);
        let there = ask(&["--backend", &url]);
        assert!(
            same(&here, &there) && here["total"].as_u64() > Some(9),
            "{here} {there}"
        );
    }
}

/// An index of the signs of the vectors' numbers: readers find it in the catalogue, and put its candidates in order.
#[test]
fn a_small_index_is_found_and_its_candidates_are_put_in_order() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(10_000);
    let server = Server::start(&programs);
    let cluster = Cluster::start(&programs, &sandbox);
    let url = server.url();
    let index = || {
        let sql = "select indexdef from pg_indexes where tablename like 'voisin_track%' and indexdef like '%hnsw%'";
        server.psql(sql, &[])
    };
    let bytes = || -> u64 {
        let sql = "select sum(pg_relation_size(indexrelid)) from pg_index
            where pg_get_indexdef(indexrelid) like '%embedding%'";
        server.psql(sql, &[]).parse().unwrap()
    };
    push(&sandbox, &server, &[]);
    assert!(index().contains("halfvec_ip_ops"), "{}", index());
    let large = bytes();
    // One of the other kind takes the place of the one that is there; without the option the kind stays.
    assert!(
        push(&sandbox, &server, &["--index-bits", "1"])["index_seconds"]
            .as_f64()
            .is_some()
    );
    assert!(push(&sandbox, &server, &["--index-bits", "1"])["index_seconds"].is_null());
    assert!(
        push(&sandbox, &server, &["--reindex"])["index_seconds"]
            .as_f64()
            .is_some()
    );
    let small = index();
    assert!(
        small.contains("::bit(64)) bit_hamming_ops") && small.lines().count() == 1,
        "{small}"
    );
    assert!(2 * bytes() < large + large / 2, "{} of {large}", bytes());
    let status = fine(sandbox.run(["status", "--backend", &url]));
    assert!(status.contains("of one bit a number"), "{status}");

    push(&sandbox, &cluster.coordinator, &[]);
    let printed = fine(sandbox.run(["push", "--print-ddl", "partitioned", "--index-bits", "1"]));
    for (i, shard) in cluster.shards.iter().enumerate() {
        let table = format!("-- create index concurrently on voisin_track_{i} ");
        let statement = printed
            .lines()
            .find(|line| line.starts_with(&table))
            .unwrap();
        shard.psql(statement.trim_start_matches("-- "), &[]);
        shard.psql("analyze", &[]);
    }
    for (asked, servers) in [
        (&server, vec![&server]),
        (&cluster.coordinator, cluster.shards.iter().collect()),
    ] {
        let used = || {
            let sql = "select coalesce(sum(idx_scan), 0) from pg_stat_user_indexes
                where pg_get_indexdef(indexrelid) like '%bit_hamming_ops%'";
            servers
                .iter()
                .map(|server| server.psql(sql, &[]).parse::<u64>().unwrap())
                .sum::<u64>()
        };
        let before = used();
        let measured = fine_json(sandbox.run([
            "eval",
            "index",
            "--widths",
            "5,250",
            "--queries",
            "50",
            "--dry-run",
            "--recall",
            "0.5",
            "--format",
            "json",
            "--backend",
            &asked.url(),
        ]));
        let recall = |i: usize| measured["widths"][i]["recall"].as_f64().unwrap();
        // 64 signs say little of 64 numbers; of 256 they are enough (BENCHMARKS.md).
        assert!(
            recall(1) > 0.85 && recall(0) + 0.1 < recall(1),
            "{measured}"
        );
        // What a session did is counted when it has ended.
        let counted = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            used() >= before + 100
        });
        assert!(counted, "{} scans", used() - before);
        // What is found is in the order of all 16 bits.
        let ask = |more: &[&str]| -> BTreeMap<String, String> {
            let url = asked.url();
            let words = ["similar", "title 12", "--format", "json", "--backend", &url];
            let answer = fine_json(sandbox.run(words.iter().chain(more)));
            let found = answer["neighbours"].as_array().unwrap();
            let similarities: Vec<f64> = found
                .iter()
                .map(|one| one["similarity"].as_f64().unwrap())
                .collect();
            assert!(
                similarities.len() == 10 && similarities.is_sorted_by(|a, b| a >= b),
                "{answer}"
            );
            found
                .iter()
                .map(|one| (one["path"].to_string(), one["title"].to_string()))
                .collect()
        };
        let exact = ask(&["--exact"]);
        let found = ask(&[]);
        let both = found
            .keys()
            .filter(|path| exact.contains_key(*path))
            .count();
        assert!(both >= 6, "{both} of {exact:?}: {found:?}");
    }
    // A process that answers for long learns of another index by the generation.
    let generation = || server.psql("select generation from voisin_state", &[]);
    let before = generation();
    push(&sandbox, &server, &["--index-bits", "16"]);
    assert!(
        index().contains("halfvec_ip_ops") && generation() != before,
        "{}",
        index()
    );
}

#[test]
fn an_index_is_made_anew_beside_the_former_one() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(500);
    server.psql("alter system set log_statement = 'ddl'", &[]);
    server.psql("select pg_reload_conf()", &[]);
    assert!(
        push(&sandbox, &server, &[])["index_seconds"]
            .as_f64()
            .is_some()
    );
    // One whose making was broken off.
    server.psql(
        "create index left_over on voisin_track using hnsw (embedding halfvec_ip_ops);
         update pg_index set indisvalid = false where indexrelid = 'left_over'::regclass",
        &[],
    );
    let indexes = || {
        let sql = "select indexrelid, indisvalid from pg_index
            where indrelid = 'voisin_track'::regclass and pg_get_indexdef(indexrelid) like '%hnsw%' order by 1";
        server.psql(sql, &[])
    };
    let before = indexes();
    assert!(
        before.lines().count() == 2 && before.contains("|f"),
        "{before}"
    );
    assert!(
        push(&sandbox, &server, &[])["index_seconds"].is_null(),
        "the one that is there serves"
    );
    assert!(
        push(&sandbox, &server, &["--reindex"])["index_seconds"]
            .as_f64()
            .is_some()
    );
    let after = indexes();
    assert!(
        after.lines().count() == 1 && after.contains("|t") && !before.contains(&after),
        "{after}"
    );
    let log = std::fs::read_to_string(server.folder.join("log")).unwrap();
    assert_eq!(
        log.matches("create index concurrently on voisin_track using hnsw")
            .count(),
        2,
        "{log}"
    );
    fine(sandbox.run(["similar", "title 12", "--backend", &server.url()]));
}

/// Counting all tracks reads the table, and so may an order by id under a filter: of a million that took half a second of each
/// question.
#[test]
fn a_question_neither_counts_nor_orders_all_tracks() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let sandbox = sandbox_with(300);
    push(&sandbox, &server, &[]);
    let url = server.url();
    server.psql("alter system set log_statement = 'all'", &[]);
    server.psql("select pg_reload_conf()", &[]);
    let log_of = |words: &[&str]| {
        let log = || std::fs::read_to_string(server.folder.join("log")).unwrap();
        let before = log().len();
        fine(sandbox.run(words.iter().chain(&["--backend", &url])));
        log()[before..].to_owned()
    };
    for words in [
        &["similar", "title 12"][..],
        &["similar", "title 12", "--exact"],
        &["mix", "title 12"],
    ] {
        let log = log_of(words);
        assert!(
            log.contains("embedding <#> $1") && log.contains("set local jit = off"),
            "{log}"
        );
        assert!(!log.contains("count(*)"), "{words:?}: {log}");
    }
    let log = log_of(&["similar", "title 12", "--genre", "Rock"]);
    assert!(
        log.contains("genre_keys && $1 limit 1") && log.contains("limit 20001"),
        "{log}"
    );
    assert!(!log.contains("count(*) as number"), "{log}");
    // Where the planner expects far more than are compared with, they are not counted; where it is wrong, none is missed.
    server.psql(
        "update pg_class set reltuples = 1e9 where relname = 'voisin_track'",
        &[],
    );
    for (genre, tracks) in [("Rock", 10), ("Zeuhl", 1)] {
        let words = ["similar", "title 12", "--genre", genre, "--format", "json"];
        let log = log_of(&words);
        assert!(
            log.contains("hnsw.iterative_scan = relaxed_order") && !log.contains("limit 20001"),
            "{log}"
        );
        let here = fine_json(sandbox.run(words));
        let there = fine_json(sandbox.run(words.iter().chain(&["--backend", &url])));
        assert!(
            same(&here, &there) && here["neighbours"].as_array().unwrap().len() == tracks,
            "{here} {there}"
        );
    }
    // All that there are must be counted.
    assert!(log_of(&["similar", "title 12", "--limit", "0"]).contains("count(*) as number"));
}
