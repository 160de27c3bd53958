//! Shards are queried in parallel.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use voisin::TrackId;
use voisin_library::{Library, OpenMode, TrackFilter};
use voisin_postgres::{Effort, Postgres, PostgresAddress, TrackStore as _};

use super::common::{fine, fine_json, text};
use super::made::DIMENSION;
use super::servers::{Cluster, Server, programs};
use super::{push, refused, same, sandbox_with};

/// A session that locks a table until it ends.
fn lock(server: &Server, table: &str) -> (Child, ChildStdin) {
    let mut session = Command::new(server.programs.join("psql"))
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &server.port.to_string(),
            "-U",
            "voisin",
            "-d",
            "postgres",
            "-q",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut keys = session.stdin.take().unwrap();
    let sql = format!("begin; lock table {table} in access exclusive mode;\n");
    std::io::Write::write_all(&mut keys, sql.as_bytes()).unwrap();
    until(|| {
        let held =
            "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and
            relation = (select oid from pg_class where relname = 'TABLE')";
        server.psql(&held.replace("TABLE", table), &[]) == "1"
    });
    (session, keys)
}

fn until(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not come to pass within ten seconds");
}

#[test]
fn shards_are_queried_in_parallel() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(600);
    let cluster = Cluster::start(&programs, &sandbox);
    push(&sandbox, &cluster.coordinator, &["--no-index"]);
    let open = |url: &str| Postgres::open(&PostgresAddress::parse(url, true).unwrap()).unwrap();
    let nearest = |store: &mut Postgres, effort| {
        store
            .nearest(&[0.125; DIMENSION], 10, &TrackFilter::default(), effort)
            .unwrap()
    };
    let mut store = open(&cluster.coordinator.url());
    let expected = nearest(&mut store, Effort::Exact);
    assert_eq!(expected.len(), 10);
    for effort in [Effort::Exact, Effort::Index] {
        // No shard can answer; all are queried nevertheless.
        let locks: Vec<_> = (0..3)
            .map(|i| lock(&cluster.shards[i], &format!("voisin_track_{i}")))
            .collect();
        let found = std::thread::scope(|scope| {
            let search = scope.spawn(|| nearest(&mut store, effort));
            let waiting = "select count(*) from pg_stat_activity
                where application_name = 'voisin' and wait_event_type = 'Lock'";
            until(|| {
                cluster
                    .shards
                    .iter()
                    .all(|shard| shard.psql(waiting, &[]) == "1")
            });
            for (mut session, keys) in locks {
                drop(keys);
                session.wait().unwrap();
            }
            search.join().unwrap()
        });
        assert_eq!(found, expected, "{effort:?}");
    }
    // A client without access to the shards gets the same answer through the coordinator.
    cluster.coordinator.psql(
        "create role reader login; grant select on all tables in schema public to reader;
         select format('create user mapping for reader server %I options (user ''voisin'', password_required ''false'')',
            srvname) from pg_foreign_server \\gexec",
        &[],
    );
    let mut through = open(&cluster.coordinator.url().replace("voisin@", "reader@"));
    for effort in [Effort::Exact, Effort::Index] {
        assert_eq!(nearest(&mut through, effort), expected, "{effort:?}");
    }
    // There, too, order and limit reach the shards; from PostgreSQL 15 on they are queried in parallel.
    let vector = format!("[{}]", vec!["0.125"; DIMENSION].join(","));
    let part = |i: usize| {
        format!(
            "(select id, embedding <#> '{vector}' as distance from voisin_track_{i} where true
              order by distance limit 26)"
        )
    };
    let parts: Vec<String> = (0..3).map(part).collect();
    let plan = cluster.coordinator.psql(
        &format!(
            "explain (verbose, costs off) select id, -distance as similarity from ({}) parts
             order by similarity desc, id limit 26",
            parts.join(" union all ")
        ),
        &[],
    );
    assert_eq!(plan.matches("LIMIT 26").count(), 3, "{plan}");
    let version: u32 = cluster
        .coordinator
        .psql("show server_version_num", &[])
        .parse()
        .unwrap();
    assert!(
        version < 150_000 || plan.matches("Async Foreign Scan").count() == 3,
        "{plan}"
    );
    // A reader needs a role on each server, with its password, and no user mapping.
    let passwords = sandbox.path("pgpass");
    let mut lines = String::new();
    for server in cluster.shards.iter().chain([&cluster.coordinator]) {
        server.psql(
            "create role asker login password 's3cret'; grant select on all tables in schema public to asker",
            &[],
        );
    }
    for shard in &cluster.shards {
        let rules = "host all voisin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(shard.folder.join("pg_hba.conf"), rules).unwrap();
        shard.psql("select pg_reload_conf()", &[]);
        lines += &format!("127.0.0.1:{}:postgres:asker:s3cret\n", shard.port);
    }
    fs::write(&passwords, lines).unwrap();
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    let url = cluster.coordinator.url();
    for question in [
        &["similar", "title 12", "--genre", "rock"][..],
        &["similar", "title 12", "--exact"],
        &["list", "--licence", "cc-by"],
        &["show", "title 12"],
        &["playlist", "--seed", "title 12"],
        &["classify", "title 12"],
        &["status"],
    ] {
        let ask = |url: &str| {
            let mut command =
                sandbox.command(
                    question
                        .iter()
                        .chain(&["--format", "json", "--backend", url]),
                );
            command.env("PGPASSFILE", &passwords).output().unwrap()
        };
        let by_asker = fine(ask(&url.replace("voisin@", "asker@"))).replace("asker@", "voisin@");
        assert_eq!(by_asker, fine(ask(&url)), "{question:?}");
    }
    let printed = fine(sandbox.run(["push", "--print-ddl", "partitioned", "--shards", "5"]));
    assert!(
        printed.contains("== shard 4") && printed.contains("modulus 5, remainder 4"),
        "{printed}"
    );
    let refused = sandbox.run(["push", "--shards", "5"]);
    assert!(
        text(&refused.stderr).contains("--print-ddl"),
        "{}",
        text(&refused.stderr)
    );
}

/// Shards require encryption and a password, and each must prove its name.
#[test]
fn shards_are_queried_encrypted_and_with_their_passwords() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(300);
    let cluster = Cluster::start(&programs, &sandbox);
    push(&sandbox, &cluster.coordinator, &["--no-index"]);
    let certificate = cluster.coordinator.encrypt(None);
    cluster
        .shards
        .iter()
        .for_each(|shard| drop(shard.encrypt(Some(&cluster.coordinator))));
    let rules =
        "hostnossl all voisin 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
    let passwords = sandbox.path("pgpass");
    let lines = |of_shards: &str| {
        let line = |server: &Server, password: &str| {
            format!("localhost:{}:*:asker:{password}\n", server.port)
        };
        let of_shards = cluster.shards.iter().map(|shard| line(shard, of_shards));
        let lines = of_shards
            .chain([line(&cluster.coordinator, "first")])
            .collect::<String>();
        fs::write(&passwords, lines).unwrap();
        fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for (server, password) in cluster
        .shards
        .iter()
        .map(|shard| (shard, "of a shard"))
        .chain([(&cluster.coordinator, "first")])
    {
        server.psql(
            &format!(
                "create role asker login password '{password}'; grant select on all tables in schema public to asker"
            ),
            &[],
        );
        fs::write(server.folder.join("pg_hba.conf"), rules).unwrap();
        server.psql("select pg_reload_conf()", &[]);
    }
    let named = |host: &str| {
        for i in 0..3 {
            let sql = format!("alter server voisin_shard_{i} options (set host '{host}')");
            cluster.coordinator.psql(&sql, &[]);
        }
    };
    let url = format!(
        "postgres://asker@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
        cluster.coordinator.port,
        certificate.display()
    );
    let ask = || {
        let words = ["similar", "title 12", "--format", "json", "--backend", &url];
        sandbox
            .command(words)
            .env("PGPASSFILE", &passwords)
            .output()
            .unwrap()
    };
    let expected = fine(sandbox.run([
        "similar",
        "title 12",
        "--format",
        "json",
        "--backend",
        &cluster.coordinator.url(),
    ]));
    named("localhost");
    lines("of a shard");
    assert_eq!(fine(ask()), expected);
    // A client without access to a shard uses the coordinator, which has no password for it either.
    lines("wrong");
    let stderr = refused(ask());
    assert!(
        stderr.contains("user mapping not found for \"asker\""),
        "{stderr}"
    );
    lines("of a shard");
    named("127.0.0.1");
    let stderr = refused(ask());
    assert!(
        stderr.contains("user mapping not found for \"asker\""),
        "{stderr}"
    );
}

/// Sixteen partitions on two servers, of which one moves to a third by the steps of docs/scale.md.
#[test]
fn a_partition_moves_to_another_server() {
    let Some(programs) = programs() else { return };
    let sandbox = sandbox_with(2000);
    let cluster = Cluster::with_partitions(&programs, &sandbox, 16, 2);
    let third = Server::start(&programs);
    push(&sandbox, &cluster.coordinator, &[]);
    cluster.make_indexes();
    let url = cluster.coordinator.url();
    let ask = || {
        ["title 12", "title 345", "title 1999"].map(|name| {
            fine(sandbox.run([
                "similar",
                name,
                "--limit",
                "50",
                "--exact",
                "--format",
                "json",
                "--backend",
                &url,
            ]))
        })
    };
    let before = ask();
    let old = &cluster.shards[1];
    third.psql("create extension vector; create extension pg_trgm", &[]);
    let moves = format!(
        "{bin}/pg_dump --table voisin_track_5 --table voisin_vector_5 'postgres://voisin@127.0.0.1:{}/postgres' |
         {bin}/psql -q -v ON_ERROR_STOP=1 'postgres://voisin@127.0.0.1:{}/postgres'",
        old.port,
        third.port,
        bin = programs.display()
    );
    let moved = Command::new("bash")
        .args(["-o", "pipefail", "-c", &moves])
        .output()
        .unwrap();
    assert!(moved.status.success(), "{}", text(&moved.stderr));
    let port = third.port;
    cluster.coordinator.psql(
        &format!("alter server voisin_shard_5 options (set host '127.0.0.1', set port '{port}')"),
        &[],
    );
    old.psql("drop table voisin_track_5, voisin_vector_5", &[]);
    assert_eq!(ask(), before);
    let indexes = "select count(*) from pg_indexes where tablename = 'voisin_track_5' and indexdef like '%hnsw%'";
    assert_eq!(third.psql(indexes, &[]), "1", "its indexes come along");
    assert!(
        third
            .psql("select count(*) from voisin_track_5", &[])
            .parse::<u32>()
            .unwrap()
            > 80
    );
    // Changes reach it there.
    let mut library = Library::open(&sandbox.path("library"), OpenMode::ReadWrite).unwrap();
    library
        .remove_tracks(&(1..=400).map(TrackId).collect::<Vec<_>>())
        .unwrap();
    drop(library);
    let sent = push(&sandbox, &cluster.coordinator, &[]);
    assert_eq!(
        (&sent["removed"], &sent["unchanged"]),
        (&400.into(), &1600.into()),
        "{sent}"
    );
}

/// Fifty queries of ten kinds: the library on this disk, one server and three shards give the same answers.
#[test]
fn fifty_queries_have_the_same_answers_everywhere() {
    let Some(programs) = programs() else { return };
    // Few enough that the local library is searched exactly.
    let sandbox = sandbox_with(4500);
    let one = Server::start(&programs);
    let cluster = Cluster::start(&programs, &sandbox);
    push(&sandbox, &one, &[]);
    push(&sandbox, &cluster.coordinator, &[]);
    cluster.make_indexes();
    let kinds: [&[&str]; 10] = [
        &["similar", "TRACK"],
        &["similar", "TRACK", "--exact", "--limit", "50"],
        &["similar", "TRACK", "--genre", "jazz"],
        &[
            "similar",
            "TRACK",
            "--exclude-genre",
            "rock",
            "--year",
            "1960-1979",
        ],
        &[
            "similar",
            "TRACK",
            "--max-per-artist",
            "1",
            "--licence",
            "cc-by",
        ],
        &[
            "similar", "TRACK", "--bpm", "90-130", "--folder", "/music/3",
        ],
        &["show", "TRACK"],
        &["list", "--artist", "artist NUMBER", "--sort", "title"],
        &["list", "--genre", "rock", "--sort", "path", "--limit", "30"],
        &["list", "title NUMBER", "--reverse"],
    ];
    let mut total = 0;
    let mut same_one = 0;
    let mut same_shards = 0;
    for number in [12, 345, 1234, 2468, 4001] {
        for kind in kinds {
            let words = kind.iter().map(|word| {
                word.replace("TRACK", &format!("title {number}"))
                    .replace("NUMBER", &(number % 200).to_string())
            });
            let words: Vec<String> = words
                .chain(["--format".to_owned(), "json".to_owned()])
                .collect();
            let ask = |url: Option<String>| {
                let backend = url
                    .into_iter()
                    .flat_map(|url| ["--backend".to_owned(), url]);
                fine_json(sandbox.run(words.iter().cloned().chain(backend)))
            };
            let here = ask(None);
            total += 1;
            for (count, url) in [
                (&mut same_one, one.url()),
                (&mut same_shards, cluster.coordinator.url()),
            ] {
                let there = ask(Some(url));
                if same(&here, &there) {
                    *count += 1;
                } else {
                    eprintln!("{words:?}:\n{here}\n{there}");
                }
            }
        }
    }
    eprintln!(
        "of {total} questions as on this disk: one server {same_one}, three shards {same_shards}"
    );
    assert_eq!((total, same_one, same_shards), (50, 50, 50));
}
